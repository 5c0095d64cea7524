/* What the two halves of the stand-in share. Names and numbers are those of the headers of Hypervisor.framework for
 * Apple silicon: hv_error.h, hv_vm_types.h, hv_vcpu_types.h. */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int32_t hv_return_t;
typedef uint64_t hv_ipa_t;
typedef uint64_t hv_memory_flags_t;

#define HV_CODE(number) ((hv_return_t)(0xfae94000u | (number)))
#define HV_SUCCESS 0
#define HV_BUSY HV_CODE(2)
#define HV_BAD_ARGUMENT HV_CODE(3)
#define HV_NO_RESOURCES HV_CODE(5)
#define HV_NO_DEVICE HV_CODE(6)
#define HV_DENIED HV_CODE(7)
#define HV_FAULT HV_CODE(8)

#define HV_MEMORY_READ 1u
#define HV_MEMORY_WRITE 2u
#define HV_MEMORY_EXEC 4u

/* Moves bytes between `local` and the guest's memory, if all of it is mapped with this access. */
bool standin_access(hv_ipa_t ipa, void *local, size_t size, hv_memory_flags_t access);
