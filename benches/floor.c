// The system calls that a mapper is made of, as plainly as C can make them: what the figures are ratios to.
//
// "Obvious" is what one would write first: a hole is put back with the flags that the window was reserved with, so that
// it merges with its neighbours.
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HOLE = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, DISTINCT = MAP_PRIVATE | MAP_ANONYMOUS };

// Addresses for a window, at a multiple of `alignment`; MAP_FAILED where there is no room.
void *reserve(size_t size, size_t alignment)
{
    char *wider = mmap(NULL, size + alignment, PROT_NONE, HOLE, -1, 0);
    if (wider == MAP_FAILED)
        return wider;
    char *window = (char *)(((uintptr_t)wider + alignment - 1) / alignment * alignment);
    if (window > wider)
        munmap(wider, window - wider);
    munmap(window + size, wider + alignment - window);
    return window;
}

int release(void *window, size_t size)
{
    return munmap(window, size);
}

static int place(char *at, size_t length, int fd, int writable)
{
    int access = PROT_READ | (writable ? PROT_WRITE : 0);
    return mmap(at, length, access, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED;
}

static int clear(char *at, size_t length, int kind)
{
    return mmap(at, length, PROT_NONE, kind | MAP_FIXED, -1, 0) == MAP_FAILED;
}

// What is to be done at each of `count` offsets of a window.
struct work {
    char *window;
    const uint64_t *offsets;
    size_t count;
    size_t length;
    int fd;
};

int places(const struct work *work, int writable)
{
    for (size_t i = 0; i < work->count; i++)
        if (place(work->window + work->offsets[i], work->length, work->fd, writable))
            return -1;
    return 0;
}

int clears(const struct work *work)
{
    for (size_t i = 0; i < work->count; i++)
        if (clear(work->window + work->offsets[i], work->length, HOLE))
            return -1;
    return 0;
}

// The obvious pair: set up, remove. With `touched`, one page is read in between.
int pairs(const struct work *work, int touched)
{
    for (size_t i = 0; i < work->count; i++) {
        char *at = work->window + work->offsets[i];
        if (place(at, work->length, work->fd, 0))
            return -1;
        if (touched)
            *(volatile char *)at;
        if (clear(at, work->length, HOLE))
            return -1;
    }
    return 0;
}

// The pair with the mapper's own system calls: the file is looked at first, and the hole does not merge, since those
// around it are obvious ones.
int bare_pairs(const struct work *work)
{
    struct stat status;
    for (size_t i = 0; i < work->count; i++) {
        char *at = work->window + work->offsets[i];
        if (fstat(work->fd, &status) || !S_ISREG(status.st_mode))
            return -1;
        if (place(at, work->length, work->fd, 0) || clear(at, work->length, DISTINCT))
            return -1;
    }
    return 0;
}

// The pair of a file that is held by an O_PATH descriptor: looked at, opened by /proc/self/fd, of which `descriptors` is
// one, and looked at again; the mapping keeps it.
int opening_pairs(const struct work *work, int descriptors, int path_fd)
{
    struct stat status;
    for (size_t i = 0; i < work->count; i++) {
        char name[16], *at = work->window + work->offsets[i];
        snprintf(name, sizeof name, "%d", path_fd);
        if (fstat(path_fd, &status) || !S_ISREG(status.st_mode))
            return -1;
        int fd = openat(descriptors, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        if (fd < 0 || fstat(fd, &status) || place(at, work->length, fd, 0) || close(fd))
            return -1;
        if (clear(at, work->length, HOLE))
            return -1;
    }
    return 0;
}

static int set_slot(int vm, uint64_t guest_address, void *host_address, uint64_t length)
{
    struct kvm_userspace_memory_region region = {
        .slot = 1,
        .flags = KVM_MEM_READONLY,
        .guest_phys_addr = guest_address,
        .memory_size = length,
        .userspace_addr = (uintptr_t)host_address,
    };
    return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region);
}

// The pair of a VMM without a window: the mapping lies anywhere, and gets a memslot of its own.
int slot_pairs(const struct work *work, int vm, uint64_t base)
{
    for (size_t i = 0; i < work->count; i++) {
        void *at = mmap(NULL, work->length, PROT_READ, MAP_SHARED, work->fd, 0);
        if (at == MAP_FAILED || set_slot(vm, base + work->offsets[i], at, work->length))
            return -1;
        if (set_slot(vm, base + work->offsets[i], at, 0) || munmap(at, work->length))
            return -1;
    }
    return 0;
}

// A book of mappings that is searched from end to end: nothing but their ranges, packed.
struct book {
    size_t live;
    struct { uint64_t start, end; } *ranges;
};

static int overlaps(const struct book *book, uint64_t start, uint64_t end)
{
    for (size_t i = 0; i < book->live; i++)
        if (book->ranges[i].start < end && start < book->ranges[i].end)
            return 1;
    return 0;
}

int scanning_places(const struct work *work, const struct book *book)
{
    for (size_t i = 0; i < work->count; i++) {
        uint64_t offset = work->offsets[i];
        if (overlaps(book, offset, offset + work->length) || place(work->window + offset, work->length, work->fd, 0))
            return -1;
    }
    return 0;
}

// A guest's first touch: one word of each `stride` bytes is read, or written.
void touch(char *at, size_t length, size_t stride, int writing)
{
    for (size_t i = 0; i < length; i += stride) {
        volatile uint64_t *word = (volatile uint64_t *)(at + i);
        if (writing)
            *word = i;
        else
            *word;
    }
}

// Brings in the pages of a mapping (Linux 5.14).
int populate(char *at, size_t length)
{
    return madvise(at, length, MADV_POPULATE_READ);
}

// Holds mmap_lock for long, again and again, until told to stop: by changing the access to very many pages, which are
// the same `length` bytes of memory mapped `times` times.
int hold(size_t length, size_t times, volatile int *holding, const volatile int *stop)
{
    int memory = memfd_create("crowded", MFD_CLOEXEC);
    char *crowded = mmap(NULL, length * times, PROT_NONE, HOLE, -1, 0);
    int failed = memory < 0 || ftruncate(memory, length) || crowded == MAP_FAILED;
    for (size_t i = 0; i < times && !failed; i++) {
        int flags = MAP_SHARED | MAP_FIXED | MAP_POPULATE;
        failed = mmap(crowded + i * length, length, PROT_READ, flags, memory, 0) == MAP_FAILED;
    }
    *holding = 1;
    while (!failed && !*stop)
        failed = mprotect(crowded, length * times, PROT_NONE) || mprotect(crowded, length * times, PROT_READ);
    if (crowded != MAP_FAILED)
        munmap(crowded, length * times);
    close(memory);
    return failed;
}
