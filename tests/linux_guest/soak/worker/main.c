// One of the processes that use the share: worker NUMBER SEED, in the directory where the share is mounted. It works until
// the host sets `stop` in its page, /tmp/worker.NUMBER.
#define _GNU_SOURCE
#include "worker.h"
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct page *page;
int self;
static uint64_t state;
static sigjmp_buf fault;
static volatile sig_atomic_t copying;

void wrong(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(page->wrong, sizeof page->wrong, format, arguments);
    va_end(arguments);
    _exit(1);
}

uint64_t dice(uint64_t sides) // xorshift64*
{
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return (state * 2685821657736338717u >> 16) % sides;
}

// What a full disk is refused with; and then what a name or a file may meet that the host has moved, removed or cut.
static const int errnos[MOST_ERRNOS] = {ENOSPC, ENOENT, ESTALE, EIO};

long count(enum kind kind, long result, enum allowed allowed, const char *what)
{
    if (result != -1) {
        page->done[kind]++;
        return result;
    }
    for (int i = 0; i < (allowed == NOTHING ? 0 : allowed == FULL_DISK ? 1 : MOST_ERRNOS); i++) {
        if (errno == errnos[i]) {
            page->refused[i]++;
            return -1;
        }
    }
    wrong("%s: %m", what);
}

static void on_fault(int number)
{
    if (!copying)
        wrong("signal %d outside of any access to a file", number);
    siglongjmp(fault, number);
}

int copy(void *to, const void *from, size_t length)
{
    if (sigsetjmp(fault, 1) != 0) {
        copying = 0;
        page->faults++;
        return 0;
    }
    copying = 1;
    memcpy(to, from, length);
    copying = 0;
    return 1;
}

static void start(const char *number, const char *seed)
{
    char path[32];
    self = atoi(number);
    state = (strtoull(seed, NULL, 0) * 64 + (uint64_t)self + 1) * 0x9E3779B97F4A7C15u;
    snprintf(path, sizeof path, "/tmp/worker.%d", self);
    int file = open(path, O_RDWR | O_CREAT, 0600);
    if (file < 0 || ftruncate(file, PAGE) != 0)
        exit(1);
    page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        exit(1);
    signal(SIGBUS, on_fault);
    signal(SIGSEGV, on_fault);
}

int main(int arguments, char **words)
{
    if (arguments != 3)
        return 1;
    start(words[1], words[2]);
    open_still();
    open_common();
    open_own();
    while (!page->stop) {
        switch (dice(8)) {
        case 0:
            use_still();
            break;
        case 1:
            use_common();
            break;
        case 2:
        case 3:
        case 4:
            use_own();
            break;
        default:
            use_contested();
        }
    }
    sum_up_own();
    page->ended = 1;
    return 0;
}
