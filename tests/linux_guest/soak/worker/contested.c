// Files that workers and host cut, make longer, rename, replace and remove under each other's hands. A file that is open
// shows its own bytes all the same, zeros where it was made longer, or that a page is gone.
#define _GNU_SOURCE
#include "worker.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES = 12, HELD = 6, MAPPED = 4 * 1024 * 1024, MOST = 3 * 1024 * 1024, LONGEST = 8 * 1024 };

struct held {
    int fd;
    uint64_t inode;
    uint8_t *memory; // NULL if nothing is held
};

static struct held all[HELD];
static uint8_t bytes[LONGEST];

static void choose_path(char *path, size_t length)
{
    snprintf(path, length, "contested/%c/%02d", (char)('a' + dice(2)), (int)dice(NAMES));
}

static void let_go(struct held *file)
{
    if (file->memory != NULL) {
        munmap(file->memory, MAPPED);
        close(file->fd);
    }
    file->memory = NULL;
}

static void hold(struct held *file, int fd)
{
    struct stat status;
    let_go(file);
    if (fstat(fd, &status) != 0) {
        count(LIST, -1, CONTEST, "fstat of a contested file");
        close(fd);
        return;
    }
    void *memory = mmap(NULL, MAPPED, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (memory == MAP_FAILED)
        wrong("a contested file cannot be mapped: %m");
    *file = (struct held){fd, status.st_ino, memory};
}

static void write_at(const struct held *file, enum kind kind, uint64_t offset)
{
    size_t length = 8 * (size_t)(1 + dice(LONGEST / 8));
    stamp(bytes, file->inode, offset, length, (uint16_t)dice(65536));
    count(kind, pwrite(file->fd, bytes, length, (off_t)offset), CONTEST, "pwrite to a contested file");
}

static void choose_another(struct held *file)
{
    char path[32];
    choose_path(path, sizeof path);
    int is_new = dice(3) == 0;
    int fd = open(path, O_RDWR | (is_new ? O_CREAT : 0), 0644);
    if (is_new || fd < 0)
        count(CREATE, fd, CONTEST, "open of a contested name");
    if (fd >= 0)
        hold(file, fd);
    if (is_new && file->memory != NULL)
        write_at(file, WRITE, dice(MOST / 8) * 8);
}

static void list(void)
{
    char folder[] = "contested/a", path[64 + NAME_MAX];
    struct stat status;
    folder[sizeof folder - 2] += (char)dice(2);
    DIR *names = opendir(folder);
    count(LIST, names == NULL ? -1 : 0, CONTEST, "opendir of a contested directory");
    if (names == NULL)
        return;
    for (struct dirent *entry; (entry = readdir(names)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (stat(path, &status) != 0)
            count(LIST, -1, CONTEST, "stat of a contested name");
    }
    closedir(names);
}

static void change_names(void)
{
    char path[32], other[32];
    choose_path(path, sizeof path);
    choose_path(other, sizeof other);
    if (dice(3) == 0)
        count(UNLINK, unlink(path), CONTEST, "unlink of a contested name");
    else
        count(RENAME, rename(path, other), CONTEST, "rename of a contested name");
}

static void use(const struct held *file)
{
    uint64_t block = dice(MOST / PAGE) * PAGE, offset = dice(MOST / 8) * 8;
    struct stat status;
    long got;
    switch (dice(10)) {
    case 0 ... 2:
        if (copy(bytes, file->memory + block, PAGE)) {
            check(bytes, file->inode, block, PAGE, MAY_BE_GONE, "load of a contested file");
            count(LOAD, 0, CONTEST, "load");
        }
        break;
    case 3 ... 4:
        stamp(bytes, file->inode, offset, 512, (uint16_t)dice(65536));
        if (copy(file->memory + offset, bytes, 512))
            count(STORE, 0, CONTEST, "store");
        break;
    case 5 ... 6:
        got = count(READ, pread(file->fd, bytes, PAGE, (off_t)block), CONTEST, "pread of a contested file");
        if (got > 0)
            check(bytes, file->inode, block, (size_t)got, MAY_BE_GONE, "pread of a contested file");
        break;
    case 7:
        write_at(file, WRITE, offset);
        break;
    case 8:
        if (fstat(file->fd, &status) == 0 && status.st_size < MOST)
            write_at(file, APPEND, (uint64_t)status.st_size / 8 * 8);
        break;
    default:
        if (dice(2) == 0)
            count(TRUNCATE, ftruncate(file->fd, (off_t)offset), CONTEST, "ftruncate of a contested file");
        else
            count(SYNC, msync(file->memory, MAPPED, MS_SYNC), CONTEST, "msync of a contested file");
    }
}

void use_contested(void)
{
    struct held *file = &all[dice(HELD)];
    uint64_t what = dice(16);
    if (what == 0)
        list();
    else if (what == 1)
        change_names();
    else if (what < 5 || file->memory == NULL)
        choose_another(file);
    else
        use(file);
}
