// Counts the system calls that the calling thread makes: a forked child watches it with ptrace(2).
//
// Nothing else sees all of them: a preloaded library misses those that libc makes by itself.
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { LIMIT = 4096 };

// Shared with the watcher.
static struct watch {
    int error;          // why there is nothing to see
    unsigned made;      // how many calls, of which the first LIMIT are kept
    long calls[LIMIT];  // their numbers
} *watch;
static pid_t watcher;

// Marks both ends of what is recorded, and makes sure that the watcher sees them. Nobody else asks for it.
static const long mark = SYS_getpgid;

static void record(pid_t thread)
{
    bool recording = false;
    for (int signal = 0;;) {
        int status;
        if (ptrace(PTRACE_SYSCALL, thread, 0, signal) || waitpid(thread, &status, __WALL) < 0 || !WIFSTOPPED(status))
            return;
        signal = WSTOPSIG(status);
        if (signal != (SIGTRAP | 0x80)) {
            if (status >> 16)
                signal = 0; // the kernel speaks to the watcher, not to the thread
            continue;
        }
        signal = 0;
        struct __ptrace_syscall_info info;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, thread, sizeof info, &info) < 0 || info.op != PTRACE_SYSCALL_INFO_ENTRY)
            continue;
        long call = (long)info.entry.nr;
        if (call == mark && recording)
            return;
        if (call == mark)
            recording = true;
        else if (recording && watch->made++ < LIMIT)
            watch->calls[watch->made - 1] = call;
    }
}

// Starts the watcher. Returns 0, or why it can't be.
int trace_start(void)
{
    pid_t thread = gettid();
    int ready[2], allowed[2];
    if (!watch)
        watch = mmap(NULL, sizeof *watch, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (watch == MAP_FAILED || pipe(ready) || pipe(allowed))
        return errno;
    watch->made = 0;
    watch->error = 0;
    watcher = fork();
    if (watcher == 0) {
        char byte;
        int status;
        bool seized = read(allowed[0], &byte, 1) == 1 &&
                      !ptrace(PTRACE_SEIZE, thread, 0, PTRACE_O_TRACESYSGOOD) &&
                      !ptrace(PTRACE_INTERRUPT, thread, 0, 0);
        if (!seized)
            watch->error = errno;
        byte = write(ready[1], "", 1) == 1;
        if (seized && byte && waitpid(thread, &status, __WALL) == thread)
            record(thread);
        _exit(0); // which lets go of the thread
    }
    prctl(PR_SET_PTRACER, watcher, 0, 0, 0); // needed where Yama restricts ptrace, unknown elsewhere
    char byte;
    bool started = watcher > 0 && write(allowed[1], "", 1) == 1 && read(ready[0], &byte, 1) == 1;
    int error = started ? watch->error : errno;
    for (int end = 0; end < 2; end++) {
        close(ready[end]);
        close(allowed[end]);
    }
    if (error)
        waitpid(watcher, NULL, 0);
    else
        syscall(mark, 0);
    return error;
}

// Stops it. Returns how many calls there were.
unsigned trace_stop(void)
{
    syscall(mark, 0);
    waitpid(watcher, NULL, 0);
    return watch->made;
}

// The name of one of them, or NULL where it has none here.
const char *trace_call(unsigned index)
{
    static const struct { long number; const char *name; } names[] = {
        {SYS_mmap, "mmap"},
        {SYS_munmap, "munmap"},
        {SYS_madvise, "madvise"},
        {SYS_fstat, "fstat"},
        {SYS_fstatfs, "fstatfs"},
#ifdef SYS_fstatfs64
        {SYS_fstatfs64, "fstatfs"}, // on 64-bit POWER
#endif
        {SYS_newfstatat, "fstat"}, // libc's way to make it, in some versions
        {SYS_openat, "openat"},
        {SYS_close, "close"},
        {SYS_ioctl, "ioctl"},
        {SYS_futex, "futex"},
        {SYS_brk, "brk"},
    };
    for (size_t i = 0; index < LIMIT && i < sizeof names / sizeof *names; i++)
        if (names[i].number == watch->calls[index])
            return names[i].name;
    return NULL;
}

long trace_number(unsigned index)
{
    return watch->calls[index];
}
