/* A little hypervisor with the ABI of Apple's Hypervisor.framework, for tests on Linux.
 *
 * It is stricter than its model where its model's headers leave things open: a range is unmapped as it was mapped or not
 * at all, and a call without a VM, which is undefined there, is refused and counted. Functions named standin_* are for
 * the test: to read the book and the log, to have calls fail, to load and store as a guest would. */
#define _GNU_SOURCE
#include "standin.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_RANGES 1024
#define MAX_CALLS 65536

struct range {
    uint64_t host, ipa, size, flags;
};

enum operation { CREATE, DESTROY, MAP, UNMAP, PROTECT };

struct call {
    uint64_t operation;
    struct range range; /* as asked for; of an unmap or a protect, with the host address of the range it names */
    uint64_t backed;    /* whether, at that moment, this process had readable and writable memory there */
    uint64_t code;      /* hv_return_t, as an unsigned number of 32 bits */
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    uint64_t page_size;
    bool vm, denied;
    struct range ranges[MAX_RANGES];
    size_t range_count;
    struct call calls[MAX_CALLS];
    size_t call_count, calls_without_vm;
    size_t until_failure, failures;
    hv_return_t failure;
} state;

/* Whether one memory area of this process, readable and writable, holds the range: hv_vm_map wants a single region. */
static bool is_backed(uint64_t host, uint64_t size) {
    FILE *maps = fopen("/proc/self/maps", "re");
    char line[512], access[5];
    uint64_t start, end;
    bool found = false;
    while (maps && !found && fgets(line, sizeof line, maps))
        found = sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s", &start, &end, access) == 3 && start <= host &&
                host + size <= end && access[0] == 'r' && access[1] == 'w';
    if (maps)
        fclose(maps);
    return found;
}

static bool is_aligned(const struct range *range) {
    uint64_t all = range->host | range->ipa | range->size;
    return range->size && all % state.page_size == 0 && range->ipa + range->size > range->ipa;
}

static struct range *find(uint64_t ipa, uint64_t size) {
    for (size_t i = 0; i < state.range_count; i++)
        if (state.ranges[i].ipa == ipa && state.ranges[i].size == size)
            return &state.ranges[i];
    return NULL;
}

static bool overlaps(const struct range *asked) {
    for (size_t i = 0; i < state.range_count; i++)
        if (state.ranges[i].ipa < asked->ipa + asked->size && asked->ipa < state.ranges[i].ipa + state.ranges[i].size)
            return true;
    return false;
}

static hv_return_t record(enum operation operation, struct range range, hv_return_t code) {
    if (state.call_count == MAX_CALLS)
        abort();
    bool backed = range.host && is_backed(range.host, range.size);
    state.calls[state.call_count++] = (struct call){operation, range, backed, (uint32_t)code};
    return code;
}

/* What a call that changes memory is answered before it is even looked at. */
static hv_return_t admit(void) {
    if (!state.vm) {
        state.calls_without_vm++;
        return HV_NO_DEVICE;
    }
    if (state.until_failure > 1 || !state.failures) {
        state.until_failure -= state.until_failure > 1;
        return HV_SUCCESS;
    }
    state.failures--;
    return state.failure;
}

/* The framework. */

hv_return_t hv_vm_create(void *config) {
    (void)config;
    pthread_mutex_lock(&lock);
    hv_return_t code = record(CREATE, (struct range){0}, state.denied ? HV_DENIED : state.vm ? HV_BUSY : HV_SUCCESS);
    state.vm = !state.denied;
    pthread_mutex_unlock(&lock);
    return code;
}

hv_return_t hv_vm_destroy(void) {
    pthread_mutex_lock(&lock);
    hv_return_t code = record(DESTROY, (struct range){0}, state.vm ? HV_SUCCESS : HV_NO_DEVICE);
    state.vm = false;
    state.range_count = 0;
    pthread_mutex_unlock(&lock);
    return code;
}

hv_return_t hv_vm_map(void *address, hv_ipa_t ipa, size_t size, hv_memory_flags_t flags) {
    struct range range = {(uintptr_t)address, ipa, size, flags};
    pthread_mutex_lock(&lock);
    hv_return_t code = admit();
    if (!code && (!is_aligned(&range) || !flags || flags & ~7ull || overlaps(&range) || !is_backed(range.host, size)))
        code = HV_BAD_ARGUMENT;
    if (!code && state.range_count == MAX_RANGES)
        code = HV_NO_RESOURCES;
    if (!code)
        state.ranges[state.range_count++] = range;
    record(MAP, range, code);
    pthread_mutex_unlock(&lock);
    return code;
}

/* A call on a range that was mapped: `flags` 0 takes it away. */
static hv_return_t change(enum operation operation, hv_ipa_t ipa, size_t size, hv_memory_flags_t flags) {
    pthread_mutex_lock(&lock);
    hv_return_t code = admit();
    struct range *found = find(ipa, size);
    struct range range = {found ? found->host : 0, ipa, size, flags};
    if (!code && (!found || !is_aligned(&range) || flags & ~7ull))
        code = HV_BAD_ARGUMENT;
    record(operation, range, code);
    if (!code && flags)
        found->flags = flags;
    else if (!code)
        *found = state.ranges[--state.range_count];
    pthread_mutex_unlock(&lock);
    return code;
}

hv_return_t hv_vm_unmap(hv_ipa_t ipa, size_t size) { return change(UNMAP, ipa, size, 0); }

hv_return_t hv_vm_protect(hv_ipa_t ipa, size_t size, hv_memory_flags_t flags) {
    return flags ? change(PROTECT, ipa, size, flags) : HV_BAD_ARGUMENT;
}

/* The guest. */

bool standin_access(hv_ipa_t ipa, void *local, size_t size, hv_memory_flags_t access) {
    bool done = true;
    pthread_mutex_lock(&lock);
    for (size_t moved = 0; done && moved < size;) {
        struct iovec here = {(char *)local + moved, 0}, there;
        for (size_t i = 0; i < state.range_count; i++) {
            struct range range = state.ranges[i];
            uint64_t inside = ipa + moved - range.ipa;
            if (inside < range.size && range.flags & access) {
                uint64_t left = range.size - inside;
                here.iov_len = left < size - moved ? left : size - moved;
                there = (struct iovec){(char *)(uintptr_t)range.host + inside, here.iov_len};
            }
        }
        ssize_t (*copy)(pid_t, const struct iovec *, unsigned long, const struct iovec *, unsigned long, unsigned long) =
            access == HV_MEMORY_WRITE ? process_vm_writev : process_vm_readv;
        done = here.iov_len && copy(getpid(), &here, 1, &there, 1, 0) == (ssize_t)here.iov_len;
        moved += here.iov_len;
    }
    pthread_mutex_unlock(&lock);
    return done;
}

/* The test. */

/* Forgets everything, and has no VM. */
void standin_reset(uint64_t page_size) {
    pthread_mutex_lock(&lock);
    memset(&state, 0, sizeof state);
    state.page_size = page_size;
    pthread_mutex_unlock(&lock);
}

/* The program lacks the entitlement from now on: it is denied a VM. */
void standin_deny(void) {
    pthread_mutex_lock(&lock);
    state.denied = true;
    pthread_mutex_unlock(&lock);
}

/* Has `count` calls that change memory fail with `code`, from the `nth` on, counted from 1. */
void standin_fail(size_t nth, size_t count, hv_return_t code) {
    pthread_mutex_lock(&lock);
    state.until_failure = nth;
    state.failures = count;
    state.failure = code;
    pthread_mutex_unlock(&lock);
}

static size_t copy_out(void *to, size_t room, const void *from, const size_t *count, size_t item) {
    pthread_mutex_lock(&lock);
    size_t all = *count;
    memcpy(to, from, (all < room ? all : room) * item);
    pthread_mutex_unlock(&lock);
    return all;
}

/* The number of ranges that the guest has; as many as there is room for are copied out. */
size_t standin_ranges(struct range *ranges, size_t room) {
    return copy_out(ranges, room, state.ranges, &state.range_count, sizeof *ranges);
}

/* The number of calls so far; as many as there is room for are copied out. */
size_t standin_calls(struct call *calls, size_t room) {
    return copy_out(calls, room, state.calls, &state.call_count, sizeof *calls);
}

/* The number of calls that found no VM, or a destroyed one. */
size_t standin_calls_without_vm(void) {
    pthread_mutex_lock(&lock);
    size_t count = state.calls_without_vm;
    pthread_mutex_unlock(&lock);
    return count;
}
