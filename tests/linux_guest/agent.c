// The hands of the checks in the guest. It reads a command a line, does it, and answers in a line:
//
//   call NAME ARGUMENT...        a system call                                 -> = result
//   load ADDRESS LENGTH          bytes of memory                               -> = hexadecimal digits
//   store ADDRESS DIGITS         the same, the other way                       -> = 0
//   crc ADDRESS PAGES STRIDE N   CRC-32 of N pages, each STRIDE pages further  -> = sum
//   touch ADDRESS PAGES STRIDE N the same pages, a byte of each                -> = nanoseconds
//   read FD PAGES STRIDE N       the same pages of a file, each whole, by pread -> = nanoseconds
//   files FIRST COUNT FOLDER     the whole of files that are named by numbers   -> = nanoseconds
//   upgrade READERS PATH         a first store into a page that others read    -> = 0, or what a reader met
//   shell SCRIPT                 busybox's shell                               -> = exit status, output in hexadecimal digits
//
// A system call that fails is answered "! errno", an access that faults "~ signal". An argument is a number, 'text up to
// the next space, or $digits: a structure, in memory that is there until the next command.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define CALLS(each) \
    each(chmod) each(chown) each(close) each(copy_file_range) each(faccessat2) each(fallocate) each(fcntl) each(flock) \
    each(fsync) each(ftruncate) each(getdents64) each(getxattr) each(link) each(listxattr) each(lseek) each(mkdir) \
    each(mknod) each(mmap) each(mount) each(msync) each(munmap) each(open) each(pread64) each(pwrite64) each(read) \
    each(readlink) each(reboot) each(removexattr) each(rename) each(renameat2) each(rmdir) each(setresgid) each(setresuid) \
    each(setxattr) each(statfs) each(statx) each(symlink) each(sync) each(truncate) each(umount2) each(unlink) \
    each(utimensat) each(write)

#define ENTRY(name) {#name, SYS_##name},
static const struct {
    const char *name;
    long number;
} calls[] = {CALLS(ENTRY)};

enum { PAGE = 4096, LINE = 4096, OUTPUT = 2048, ARGUMENTS = 6 };

static FILE *host;
static sigjmp_buf fault;

static void on_fault(int number)
{
    siglongjmp(fault, number);
}

static uint32_t crc_table[256];

static void make_crc_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t value = i;
        for (int bit = 0; bit < 8; bit++)
            value = value & 1 ? 0xEDB88320u ^ value >> 1 : value >> 1;
        crc_table[i] = value;
    }
}

static uint32_t crc(const volatile uint8_t *memory, uint64_t pages, uint64_t stride, uint64_t visits)
{
    uint32_t sum = ~0u;
    for (uint64_t visit = 0; visit < visits; visit++) {
        const volatile uint8_t *page = memory + visit * stride % pages * PAGE;
        for (int i = 0; i < PAGE; i++)
            sum = crc_table[(sum ^ page[i]) & 0xFF] ^ sum >> 8;
    }
    return ~sum;
}

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static uint64_t touch(const volatile uint8_t *memory, uint64_t pages, uint64_t stride, uint64_t visits)
{
    uint64_t start = now();
    for (uint64_t visit = 0; visit < visits; visit++)
        (void)memory[visit * stride % pages * PAGE];
    return now() - start;
}

static char buffer[1 << 20];

static uint64_t read_pages(int file, uint64_t pages, uint64_t stride, uint64_t visits)
{
    uint64_t start = now();
    for (uint64_t visit = 0; visit < visits; visit++)
        if (pread(file, buffer, PAGE, (off_t)(visit * stride % pages * PAGE)) != PAGE)
            return 0;
    return now() - start;
}

// 0 for a file that can't be read: no time that anyone can have measured.
static uint64_t read_files(uint64_t first, uint64_t count, const char *folder)
{
    uint64_t start = now();
    for (uint64_t i = first; i < first + count; i++) {
        char path[LINE];
        snprintf(path, sizeof path, "%s/%05llu", folder, (unsigned long long)i);
        int file = open(path, O_RDONLY);
        ssize_t got;
        while ((got = read(file, buffer, sizeof buffer)) > 0)
            ;
        if (got < 0 || close(file) != 0)
            return 0;
    }
    return now() - start;
}

static void answer_hex(const volatile uint8_t *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        fprintf(host, "%02x", bytes[i]);
    fputc('\n', host);
}

static size_t from_hex(const char *digits, volatile uint8_t *bytes)
{
    size_t length = 0;
    unsigned value;
    for (; sscanf(digits + 2 * length, "%2x", &value) == 1; length++)
        bytes[length] = value;
    return length;
}

// The next argument of a line, which strtok has begun to take apart.
static const char *word(void)
{
    const char *text = strtok(NULL, " ");
    return text ? text : "";
}

static uint64_t number(void)
{
    const char *text = word();
    return text[0] == '-' ? (uint64_t)strtoll(text, NULL, 0) : strtoull(text, NULL, 0);
}

static void do_call(void)
{
    static uint8_t structures[ARGUMENTS][LINE / 2];
    const char *name = word();
    long arguments[ARGUMENTS] = {0};
    for (int i = 0; i < ARGUMENTS; i++) {
        const char *text = word();
        if (text[0] == '\'')
            arguments[i] = (long)(text + 1);
        else if (text[0] == '$')
            arguments[i] = (from_hex(text + 1, structures[i]), (long)structures[i]);
        else
            arguments[i] = text[0] == '-' ? strtoll(text, NULL, 0) : (long)strtoull(text, NULL, 0);
    }
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if (strcmp(calls[i].name, name) == 0) {
            long *a = arguments;
            long result = syscall(calls[i].number, a[0], a[1], a[2], a[3], a[4], a[5]);
            fprintf(host, result == -1 ? "! %ld\n" : "= %ld\n", result == -1 ? (long)errno : result);
            return;
        }
    }
    fprintf(host, "! %d\n", ENOSYS);
}

// What readers and the writer of `upgrade` share.
struct race {
    volatile int stop;
    volatile uint64_t looks[8];
};

// Reads the first word of a page until it is told to stop. Its exit status is 1 if the word was zero after it had been
// seen, 3 if it was zero at first.
static void look(const char *path, struct race *race, int self)
{
    signal(SIGBUS, SIG_DFL);
    signal(SIGSEGV, SIG_DFL);
    int file = open(path, O_RDONLY);
    const volatile uint64_t *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, file, 0);
    if (page == MAP_FAILED)
        _exit(2);
    int seen = 0, lost = 0, late = 0;
    while (!race->stop) {
        uint64_t word = *page;
        seen |= word != 0;
        lost |= seen && word == 0;
        late |= !seen;
        race->looks[self]++;
    }
    _exit(lost ? 1 : late ? 3 : 0);
}

static int is_alive(pid_t child)
{
    siginfo_t ended = {0};
    return waitid(P_PID, child, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid == 0;
}

static void wait_for_looks(const struct race *race, int readers, const pid_t *children)
{
    for (int i = 0; i < readers; i++)
        for (uint64_t before = race->looks[i]; race->looks[i] < before + 1000 && is_alive(children[i]);)
            sched_yield();
}

static void do_upgrade(void)
{
    int readers = number() % 8, worst = 0;
    const char *path = word();
    pid_t children[8];
    struct race *race = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int file = open(path, O_RDWR);
    volatile uint8_t *page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (race == MAP_FAILED || page == MAP_FAILED) {
        fprintf(host, "! %d\n", errno);
        return;
    }
    for (int i = 0; i < readers; i++)
        if ((children[i] = fork()) == 0)
            look(path, race, i);
    wait_for_looks(race, readers, children);
    page[PAGE - 1] = 0xA5; // only now does the kernel want the range writable
    wait_for_looks(race, readers, children);
    race->stop = 1;
    for (int i = 0; i < readers; i++) {
        int status;
        if (waitpid(children[i], &status, 0) == children[i] && status != 0)
            worst = status;
    }
    close(file);
    munmap((void *)page, PAGE);
    munmap(race, PAGE);
    fprintf(host, "= %d\n", worst);
}

static void do_shell(const char *script)
{
    static uint8_t output[OUTPUT], rest[OUTPUT];
    int ends[2], status;
    if (pipe(ends) != 0) {
        fprintf(host, "! %d\n", errno);
        return;
    }
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], 1);
        dup2(ends[1], 2);
        close(ends[0]);
        close(ends[1]);
        execl("/bin/busybox", "sh", "-c", script, NULL);
        _exit(127);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t n = 1; n > 0;) {
        n = length < OUTPUT ? read(ends[0], output + length, OUTPUT - length) : read(ends[0], rest, OUTPUT);
        if (n > 0 && length < OUTPUT)
            length += n;
    }
    close(ends[0]);
    waitpid(child, &status, 0);
    fprintf(host, "= %d ", status);
    answer_hex(output, length);
}

static void do_line(char *line)
{
    int signal_number = sigsetjmp(fault, 1);
    if (signal_number != 0) {
        fprintf(host, "~ %d\n", signal_number);
        return;
    }
    const char *command = strtok(line, " ");
    if (command == NULL)
        return;
    if (strcmp(command, "call") == 0) {
        do_call();
    } else if (strcmp(command, "shell") == 0) {
        do_shell(line + sizeof "shell");
    } else if (strcmp(command, "upgrade") == 0) {
        do_upgrade();
    } else if (strcmp(command, "load") == 0) {
        volatile uint8_t *memory = (uint8_t *)number();
        static uint8_t copy[LINE];
        size_t length = number();
        for (size_t i = 0; i < length && i < LINE; i++)
            copy[i] = memory[i]; // before a word of the answer is said: this may fault
        fputs("= ", host);
        answer_hex(copy, length < LINE ? length : LINE);
    } else if (strcmp(command, "store") == 0) {
        volatile uint8_t *memory = (uint8_t *)number();
        from_hex(word(), memory);
        fputs("= 0\n", host);
    } else if (strcmp(command, "crc") == 0) {
        const volatile uint8_t *memory = (uint8_t *)number();
        uint64_t pages = number(), stride = number(), visits = number();
        fprintf(host, "= %u\n", crc(memory, pages, stride, visits));
    } else if (strcmp(command, "touch") == 0) {
        const volatile uint8_t *memory = (uint8_t *)number();
        uint64_t pages = number(), stride = number(), visits = number();
        fprintf(host, "= %llu\n", (unsigned long long)touch(memory, pages, stride, visits));
    } else if (strcmp(command, "read") == 0) {
        int file = (int)number();
        uint64_t pages = number(), stride = number(), visits = number();
        fprintf(host, "= %llu\n", (unsigned long long)read_pages(file, pages, stride, visits));
    } else if (strcmp(command, "files") == 0) {
        uint64_t first = number(), files = number();
        fprintf(host, "= %llu\n", (unsigned long long)read_files(first, files, word()));
    } else {
        fprintf(host, "! %d\n", EINVAL);
    }
}

int main(int count, char **arguments)
{
    static char line[LINE];
    struct termios terminal;
    int port = count == 2 ? open(arguments[1], O_RDWR | O_CLOEXEC | O_NOCTTY) : -1;
    if (port < 0 || tcgetattr(port, &terminal) != 0)
        return 1;
    cfmakeraw(&terminal);
    tcsetattr(port, TCSANOW, &terminal);
    FILE *commands = fdopen(port, "r");
    host = fdopen(fcntl(port, F_DUPFD_CLOEXEC, 0), "w");
    signal(SIGBUS, on_fault);
    signal(SIGSEGV, on_fault);
    umask(0);
    make_crc_table();
    for (fputs("ready\n", host); fflush(host) == 0 && fgets(line, sizeof line, commands);) {
        line[strcspn(line, "\n")] = 0;
        do_line(line);
    }
    return 1;
}
