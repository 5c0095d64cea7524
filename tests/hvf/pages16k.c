/* Preloaded into a program, shows it the 16 KiB pages of Apple silicon on a kernel whose pages are smaller: sysconf says
 * so, and memory is mapped and unmapped at multiples of them alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE 16384ul

long sysconf(int name) {
    long (*original)(int) = (long (*)(int))dlsym(RTLD_NEXT, "sysconf");
    return name == _SC_PAGESIZE ? (long)PAGE : original(name);
}

int getpagesize(void) { return PAGE; }

static void *map(uintptr_t address, size_t length, int protection, int flags, int fd, off_t offset) {
    return (void *)syscall(SYS_mmap, address, length, protection, flags, fd, offset);
}

static void unmap(uintptr_t start, uintptr_t end) {
    if (start < end)
        syscall(SYS_munmap, start, end - start);
}

void *mmap(void *address, size_t length, int protection, int flags, int fd, off_t offset) {
    uintptr_t wanted = (uintptr_t)address;
    int fixed = flags & (MAP_FIXED | MAP_FIXED_NOREPLACE);
    if (offset % PAGE || (fixed && wanted % PAGE)) {
        errno = EINVAL;
        return MAP_FAILED;
    }
    if (fixed)
        return map(wanted, length, protection, flags, fd, offset);
    void *room = map(0, length + PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (room == MAP_FAILED)
        return room;
    uintptr_t start = (uintptr_t)room, aligned = (start + PAGE - 1) & -PAGE, small = 4095;
    void *mapped = map(aligned, length, protection, flags | MAP_FIXED, fd, offset);
    int saved = errno;
    uintptr_t end = mapped == MAP_FAILED ? aligned : (aligned + length + small) & ~small;
    unmap(start, aligned);
    unmap(end, (start + length + PAGE + small) & ~small);
    errno = saved;
    return mapped;
}

void *mmap64(void *address, size_t length, int protection, int flags, int fd, off_t offset)
    __attribute__((alias("mmap")));

int munmap(void *address, size_t length) {
    if ((uintptr_t)address % PAGE) {
        errno = EINVAL;
        return -1;
    }
    return (int)syscall(SYS_munmap, address, length);
}
