// Files whose size and name nobody changes: `still`, which are only read, and `common`, which all workers and the host
// write to all the time. No call may fail here, and no page be gone.
#define _GNU_SOURCE
#include "worker.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STILL_FILES = 16, COMMON_FILES = 4 };

struct file {
    int fd;
    uint64_t inode, size;
    uint8_t *memory;
};

static struct file still[STILL_FILES], common[COMMON_FILES];

static void open_file(struct file *file, const char *folder, int number, int is_writable)
{
    char path[32];
    struct stat status;
    snprintf(path, sizeof path, "%s/%02d", folder, number);
    file->fd = open(path, is_writable ? O_RDWR : O_RDONLY);
    if (file->fd < 0 || fstat(file->fd, &status) != 0)
        wrong("%s cannot be opened: %m", path);
    file->inode = status.st_ino;
    file->size = (uint64_t)status.st_size;
    file->memory = mmap(NULL, file->size, PROT_READ | (is_writable ? PROT_WRITE : 0), MAP_SHARED, file->fd, 0);
    if (file->memory == MAP_FAILED)
        wrong("%s cannot be mapped: %m", path);
}

void open_still(void)
{
    for (int i = 0; i < STILL_FILES; i++)
        open_file(&still[i], "still", i, 0);
}

void open_common(void)
{
    for (int i = 0; i < COMMON_FILES; i++)
        open_file(&common[i], "common", i, 1);
}

// A part of a file, as a load or pread has it.
static void look(const struct file *file, uint64_t offset, size_t length, uint8_t *bytes)
{
    if (length > file->size - offset)
        length = (size_t)(file->size - offset);
    if (dice(2) == 0) {
        if (!copy(bytes, file->memory + offset, length))
            wrong("SIGBUS in a file that nobody has cut, at %llu of inode %llu", (unsigned long long)offset,
                  (unsigned long long)file->inode);
        count(LOAD, 0, NOTHING, "load");
    } else if (count(READ, pread(file->fd, bytes, length, (off_t)offset), NOTHING, "pread") != (long)length) {
        wrong("pread of a file that nobody has cut is short, at %llu of inode %llu", (unsigned long long)offset,
              (unsigned long long)file->inode);
    }
    check(bytes, file->inode, offset, length, ANY_VERSION, "a file that nobody has cut");
}

void use_still(void)
{
    static uint8_t bytes[4 * PAGE], expected[4 * PAGE];
    const struct file *file = &still[dice(STILL_FILES)];
    uint64_t offset = dice(file->size / PAGE) * PAGE;
    look(file, offset, PAGE, bytes);
    stamp(expected, file->inode, offset, PAGE, 0);
    if (memcmp(bytes, expected, file->size - offset < PAGE ? (size_t)(file->size - offset) : PAGE) != 0)
        wrong("a file that nobody has written to has changed, at %llu of inode %llu", (unsigned long long)offset,
              (unsigned long long)file->inode);
}

void use_common(void)
{
    static uint8_t bytes[PAGE];
    const struct file *file = &common[dice(COMMON_FILES)];
    uint64_t offset = dice(file->size / 8) * 8;
    size_t length = 8 * (size_t)(1 + dice(64));
    if (length > file->size - offset)
        length = (size_t)(file->size - offset);
    switch (dice(4)) {
    case 0:
        stamp(bytes, file->inode, offset, length, (uint16_t)dice(65536));
        if (!copy(file->memory + offset, bytes, length))
            wrong("SIGBUS at a store to a file that nobody has cut, at %llu of inode %llu", (unsigned long long)offset,
                  (unsigned long long)file->inode);
        count(STORE, 0, NOTHING, "store");
        break;
    case 1:
        stamp(bytes, file->inode, offset, length, (uint16_t)dice(65536));
        if (count(WRITE, pwrite(file->fd, bytes, length, (off_t)offset), NOTHING, "pwrite") != (long)length)
            wrong("pwrite to a file that nobody has cut is short");
        break;
    default:
        look(file, offset / PAGE * PAGE, PAGE, bytes);
    }
}
