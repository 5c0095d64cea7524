// What the parts of a worker share: its page, which the host reads, its dice, and what the words of files say.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { PAGE = 4096, OWN_FILES = 4, MOST_ERRNOS = 4 };

enum kind { LOAD, STORE, READ, WRITE, APPEND, CREATE, RENAME, UNLINK, TRUNCATE, ALLOCATE, SYNC, LIST, KINDS };

// guest_work.py has the same structure.
struct page {
    volatile uint64_t stop, ended;
    uint64_t done[KINDS];
    uint64_t refused[MOST_ERRNOS]; // in the order of `errnos`
    uint64_t faults; // SIGBUS
    uint64_t gone;   // pages that QEMU found gone: see gone_pages.c
    struct {
        uint64_t inode, size, sum;
    } own[OWN_FILES];
    char wrong[256];
};

extern struct page *page;
extern int self;

// Tells the host what is wrong, and ends the worker.
__attribute__((noreturn, format(printf, 1, 2))) void wrong(const char *format, ...);

uint64_t dice(uint64_t sides);

// Counts an operation by its result, which is -1 if it failed: that is right only for the errnos that are allowed. Returns
// the result.
enum allowed { NOTHING, FULL_DISK, CONTEST };
long count(enum kind kind, long result, enum allowed allowed, const char *what);

// Copies from or to a mapping: 0 if that was SIGBUS.
int copy(void *to, const void *from, size_t length);

// Each aligned word of a file has the file's inode number in the low 24 bits, then the number of the word in the file in 24
// bits, and a version in the rest. So a byte says whether it belongs there, be it the guest's or the host's.
void stamp(uint8_t *bytes, uint64_t inode, uint64_t offset, size_t length, uint16_t version);

enum looseness {
    ANY_VERSION,
    MAY_BE_GONE, // zeros where the file was made longer, and a page that is gone, are right as well
};

void check(const uint8_t *bytes, uint64_t inode, uint64_t offset, size_t length, enum looseness looseness, const char *what);

uint32_t crc(const uint8_t *bytes, size_t length);

void open_still(void);
void use_still(void);
void open_common(void);
void use_common(void);
void open_own(void);
void use_own(void);
void sum_up_own(void);
void use_contested(void);
