// To be preloaded: makes chosen system calls of the mapper fail, in ways that the kernel may choose too.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum call { PLACE, CLEAR, REFILL, PROBE, RESERVE, FREE, SET_SLOT, DELETE_SLOT, CAPABILITY, QUERY, KVM, CALLS, OTHER = CALLS };
enum effect { KEEP, EMPTY, INTRUDE };

// Of the calls that cover `address` (0 for all), `skip` are let through, then `times` fail.
struct plan {
    unsigned long skip, times;
    int error;
    enum effect effect;
    uintptr_t address;
};

struct arguments {
    uintptr_t address;
    size_t length;
    int protection, flags;
};

// struct kvm_userspace_memory_region of linux/kvm.h.
struct region {
    uint32_t slot, flags;
    uint64_t guest_phys_addr, memory_size, userspace_addr;
};

static struct plan plans[CALLS];
static unsigned long counts[CALLS];
static struct arguments last[CALLS];
static struct region last_region;
static void *intruder;
static long page_size;

enum { INTRUDER_BYTE = 0xA5 };

void fault_plan(int call, const struct plan *plan) { plans[call] = *plan; }
unsigned long fault_count(int call) { return counts[call]; }
struct arguments fault_last(int call) { return last[call]; }
struct region fault_last_region(void) { return last_region; }
void *fault_intruder(void) { return intruder; }
void fault_page_size(long size) { page_size = size; }

static bool fails(enum call call, uintptr_t address, size_t length)
{
    struct plan *plan = &plans[call];
    counts[call]++;
    if (!plan->times || (plan->address && (plan->address < address || plan->address >= address + length)))
        return false;
    if (plan->skip) {
        plan->skip--;
        return false;
    }
    plan->times--;
    return true;
}

static void *raw_mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

static enum call classify(int protection, int flags, int fd)
{
    if (flags & MAP_FIXED_NOREPLACE)
        return REFILL;
    if (flags & MAP_FIXED)
        return fd >= 0 ? PLACE : CLEAR;
    if (fd >= 0)
        return flags & MAP_SHARED ? PROBE : OTHER;
    return protection == PROT_NONE ? RESERVE : OTHER;
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    enum call call = classify(protection, flags, fd);
    if (call == OTHER || !fails(call, (uintptr_t)address, length)) {
        if (call != OTHER)
            last[call] = (struct arguments){(uintptr_t)address, length, protection, flags};
        return raw_mmap(address, length, protection, flags, fd, offset);
    }
    struct plan *plan = &plans[call];
    if (plan->effect != KEEP)
        syscall(SYS_munmap, address, length);
    if (plan->effect == INTRUDE) {
        int fixed = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE;
        const size_t page = getauxval(AT_PAGESZ);
        intruder = raw_mmap(plan->address ? (void *)plan->address : address, page, PROT_READ | PROT_WRITE, fixed, -1, 0);
        memset(intruder, INTRUDER_BYTE, page);
    }
    errno = plan->error;
    return MAP_FAILED;
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    return mmap(address, length, protection, flags, fd, offset);
}

int munmap(void *address, size_t length)
{
    if (fails(FREE, (uintptr_t)address, length)) {
        errno = plans[FREE].error;
        return -1;
    }
    return (int)syscall(SYS_munmap, address, length);
}

// KVM_SET_USER_MEMORY_REGION with a size of 0 deletes a memslot; PROCMAP_QUERY asks for a VMA.
int ioctl(int fd, unsigned long request, ...)
{
    va_list arguments;
    va_start(arguments, request);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);
    const unsigned long set_region = 0x4020ae46, check_extension = 0xae03, query = 0xc0686611, kvm = 0xae;
    // A signal comes: the call is interrupted (EINTR), or without an error is made all the same.
    if ((request >> 8 & 0xff) == kvm && fails(KVM, 0, SIZE_MAX)) {
        raise(SIGALRM);
        if (plans[KVM].error) {
            errno = plans[KVM].error;
            return -1;
        }
    }
    enum call call = OTHER;
    if (request == set_region)
        call = ((const struct region *)argument)->memory_size ? SET_SLOT : DELETE_SLOT;
    else if (request == check_extension)
        call = CAPABILITY;
    else if (request == query)
        call = QUERY;
    if (call != OTHER && fails(call, 0, SIZE_MAX)) {
        errno = plans[call].error;
        return -1;
    }
    if (call == SET_SLOT)
        last_region = *(const struct region *)argument;
    return (int)syscall(SYS_ioctl, fd, request, argument);
}

long sysconf(int name)
{
    if (name == _SC_PAGESIZE && page_size)
        return page_size;
    long (*real)(int) = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");
    return real(name);
}
