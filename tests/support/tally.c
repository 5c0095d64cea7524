// To be preloaded: counts allocations, and calls that wait for the kernel while they keep the interpreter to themselves.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static unsigned long allocations, attached;

unsigned long tally_allocations(void) { return allocations; }
unsigned long tally_attached(void) { return attached; }

// glibc's own names for what stands behind malloc(3) and the like.
void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);
void *__libc_memalign(size_t, size_t);

static void count(void) { __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED); }

void *malloc(size_t size)
{
    count();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    count();
    return __libc_calloc(number, size);
}

void *realloc(void *memory, size_t size)
{
    count();
    return __libc_realloc(memory, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size)
{
    count();
    *memory = __libc_memalign(alignment, size);
    return *memory ? 0 : 12; // ENOMEM
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset)
{
    static int (*is_attached)(void);
    if (flags & MAP_FIXED) { // a mapper's: nobody else replaces mappings
        if (!is_attached)
            *(void **)&is_attached = dlsym(RTLD_DEFAULT, "PyGILState_Check");
        if (is_attached && is_attached())
            __atomic_fetch_add(&attached, 1, __ATOMIC_RELAXED);
    }
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset)
    __attribute__((alias("mmap")));
