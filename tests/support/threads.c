// Work for threads that must run at full speed, without Python's interpreter lock.
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

// Asks the kernel for memory all the time, and counts how often it lands in [low, high).
struct visitor {
    volatile int stop;
    uintptr_t low, high;
    volatile unsigned long rounds;
    unsigned long landed;
};

void visit(struct visitor *self)
{
    static const size_t sizes[] = {4096, 8192, 2 << 20, 4 << 20};
    while (!self->stop) {
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            void *memory = mmap(NULL, sizes[i], PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
            if (memory == MAP_FAILED)
                continue;
            uintptr_t start = (uintptr_t)memory;
            if (start < self->high && start + sizes[i] > self->low)
                self->landed++;
            munmap(memory, sizes[i]);
        }
        self->rounds++;
    }
}

// Reads a range all the time, and counts the reads that fault and those that find a zero byte.
struct watcher {
    volatile int stop;
    volatile uintptr_t address;  // of the range, 0 for none
    size_t length;
    volatile unsigned long looks;
    unsigned long faults, zeros;
};

void watch(struct watcher *self)
{
    static char buffer[4 << 16]; // four of the largest pages
    while (!self->stop) {
        uintptr_t address = self->address;
        if (!address)
            continue;
        struct iovec here = {buffer, self->length}, there = {(void *)address, self->length};
        if (process_vm_readv(getpid(), &here, 1, &there, 1, 0) != (ssize_t)self->length) {
            self->faults++;
        } else {
            for (size_t i = 0; i < self->length; i++) {
                if (!buffer[i]) {
                    self->zeros++;
                    break;
                }
            }
        }
        if (address == self->address)
            self->looks++;
    }
}
