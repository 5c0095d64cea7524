/* The virtual CPU of the stand-in: as much of arm64 as a guest needs that loads, stores and calls its hypervisor. */
#include "standin.h"

#define HV_REG_PC 31
#define HV_REG_CPSR 34
#define HV_EXIT_REASON_EXCEPTION 1

/* Exception classes of the syndrome, ESR_EL2 in the Arm Architecture Reference Manual. */
#define EC_UNKNOWN 0x00u
#define EC_HVC 0x16u
#define EC_INSTRUCTION_ABORT 0x20u
#define EC_DATA_ABORT 0x24u

struct exit {
    uint32_t reason;
    struct {
        uint64_t syndrome, virtual_address, physical_address;
    } exception;
};

static struct {
    bool exists;
    uint64_t registers[HV_REG_CPSR + 1];
    struct exit exit;
} vcpu;

hv_return_t hv_vcpu_create(uint64_t *id, struct exit **exit, void *config) {
    (void)config;
    if (vcpu.exists)
        return HV_BUSY;
    vcpu.exists = true;
    *id = 0;
    *exit = &vcpu.exit;
    return HV_SUCCESS;
}

hv_return_t hv_vcpu_destroy(uint64_t id) {
    if (id || !vcpu.exists)
        return HV_BAD_ARGUMENT;
    vcpu.exists = false;
    return HV_SUCCESS;
}

hv_return_t hv_vcpu_set_reg(uint64_t id, uint32_t number, uint64_t value) {
    if (id || !vcpu.exists || number > HV_REG_CPSR)
        return HV_BAD_ARGUMENT;
    vcpu.registers[number] = value;
    return HV_SUCCESS;
}

hv_return_t hv_vcpu_get_reg(uint64_t id, uint32_t number, uint64_t *value) {
    if (id || !vcpu.exists || number > HV_REG_CPSR)
        return HV_BAD_ARGUMENT;
    *value = vcpu.registers[number];
    return HV_SUCCESS;
}

static hv_return_t leave(uint32_t class, uint32_t detail, uint64_t address) {
    uint64_t syndrome = (uint64_t)class << 26 | 1u << 25 | detail;
    vcpu.exit = (struct exit){HV_EXIT_REASON_EXCEPTION, {syndrome, address, address}};
    return HV_SUCCESS;
}

hv_return_t hv_vcpu_run(uint64_t id) {
    if (id || !vcpu.exists)
        return HV_BAD_ARGUMENT;
    for (;;) {
        uint64_t *pc = &vcpu.registers[HV_REG_PC];
        uint32_t code;
        if (*pc % 4 || !standin_access(*pc, &code, sizeof code, HV_MEMORY_EXEC))
            return leave(EC_INSTRUCTION_ABORT, 0, *pc);
        uint64_t *value = &vcpu.registers[code & 31], *base = &vcpu.registers[code >> 5 & 31];
        uint64_t address = *base + 8 * (code >> 10 & 0xfff);
        bool is_named = (code & 31) != 31 && (code >> 5 & 31) != 31; /* number 31 is no register of this file */
        bool is_load = is_named && (code & 0xffc00000) == 0xf9400000;  /* LDR Xt, [Xn, #imm] */
        bool is_store = is_named && (code & 0xffc00000) == 0xf9000000; /* STR Xt, [Xn, #imm] */
        if (is_load || is_store) {
            if (address % 8 || !standin_access(address, value, 8, is_load ? HV_MEMORY_READ : HV_MEMORY_WRITE))
                return leave(EC_DATA_ABORT, is_store << 6, address);
            *pc += 4;
        } else if ((code & 0xffe0001f) == 0xd4000002) { /* HVC #imm */
            *pc += 4;
            return leave(EC_HVC, code >> 5 & 0xffff, 0);
        } else {
            return leave(EC_UNKNOWN, 0, 0);
        }
    }
}
