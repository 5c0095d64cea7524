// Preloaded into QEMU, which would die of SIGBUS where a guest touches a page that the host has cut off a file, or for which
// the disk has no room. A page of bytes that no file has is put there instead, and the guest goes on: it sees that the page
// is gone, until the range is mapped again. (KVM has exits for this: docs/how-to/coherence.md.)
#define _GNU_SOURCE
#include <dlfcn.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, GONE = 0xDB };

typedef int set_action(int, const struct sigaction *, struct sigaction *);
typedef int set_mask(int, const sigset_t *, sigset_t *);
static set_action *real_action;
static set_mask *real_mask;

static void show_gone_page(int number, siginfo_t *fault, void *context)
{
    (void)context;
    void *place = (void *)((uintptr_t)fault->si_addr & ~(uintptr_t)(PAGE - 1));
    void *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (fault->si_code == BUS_ADRERR && page != MAP_FAILED) {
        memset(page, GONE, PAGE);
        if (mremap(page, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, place) == place) {
            static const char line[] = "a page is gone\n";
            (void)!write(2, line, sizeof line - 1);
            return;
        }
    }
    struct sigaction die = {.sa_handler = SIG_DFL};
    real_action(number, &die, NULL);
}

__attribute__((constructor)) static void start(void)
{
    real_action = (set_action *)dlsym(RTLD_NEXT, "sigaction");
    real_mask = (set_mask *)dlsym(RTLD_NEXT, "pthread_sigmask");
    struct sigaction action = {.sa_sigaction = show_gone_page, .sa_flags = SA_SIGINFO};
    real_action(SIGBUS, &action, NULL);
}

// QEMU has a handler of its own, for broken memory, in one thread, and has all others block the signal.

int sigaction(int number, const struct sigaction *action, struct sigaction *before)
{
    return real_action(number, number == SIGBUS ? NULL : action, before);
}

int pthread_sigmask(int how, const sigset_t *signals, sigset_t *before)
{
    sigset_t others;
    if (signals != NULL) {
        others = *signals;
        if (how != SIG_UNBLOCK)
            sigdelset(&others, SIGBUS);
        signals = &others;
    }
    return real_mask(how, signals, before);
}
