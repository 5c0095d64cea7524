// A worker's own files, which nobody else touches: each has to have what its shadow in memory has. They have no holes, so
// that a full disk refuses an operation, and takes no page away.
#define _GNU_SOURCE
#include "worker.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MOST = 2 * 1024 * 1024 + 64 * PAGE, LONGEST = 16 * 1024 };

struct own {
    int fd; // -1 if there is no such file now
    uint64_t inode;
    char path[48];
    uint8_t *memory, *shadow;
    size_t size;
};

static struct own files[OWN_FILES];
static uint8_t bytes[LONGEST];

static void new_path(char *path, size_t length)
{
    static unsigned last;
    snprintf(path, length, "own/%d/%06u", self, last++);
}

void open_own(void)
{
    char folder[32], path[64 + NAME_MAX];
    snprintf(folder, sizeof folder, "own/%d", self);
    DIR *names = opendir(folder);
    if (names == NULL)
        wrong("%s: %m", folder);
    for (struct dirent *entry; (entry = readdir(names)) != NULL;) {
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (entry->d_name[0] != '.' && unlink(path) != 0)
            wrong("%s, which an earlier worker has left: %m", path);
    }
    closedir(names);
    for (int i = 0; i < OWN_FILES; i++)
        files[i] = (struct own){.fd = -1, .shadow = malloc(MOST)};
}

static void map(struct own *file)
{
    file->memory = mmap(NULL, MOST, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
    if (file->memory == MAP_FAILED)
        wrong("%s cannot be mapped: %m", file->path);
}

static void create(struct own *file)
{
    struct stat status;
    new_path(file->path, sizeof file->path);
    file->fd = (int)count(CREATE, open(file->path, O_RDWR | O_CREAT | O_EXCL, 0644), FULL_DISK, "create");
    if (file->fd < 0)
        return;
    if (fstat(file->fd, &status) != 0)
        wrong("fstat of a new file: %m");
    file->inode = status.st_ino;
    file->size = 0;
    map(file);
}

static void compare(const struct own *file, const uint8_t *found, size_t offset, size_t length, const char *how)
{
    for (size_t i = 0; i < length; i++)
        if (found[i] != file->shadow[offset + i])
            wrong("%s, inode %llu, %zu bytes: by %s %#x at %zu, not %#x", file->path, (unsigned long long)file->inode,
                  file->size, how, found[i], offset + i, file->shadow[offset + i]);
}

static void load(const struct own *file, size_t offset, size_t length)
{
    if (!copy(bytes, file->memory + offset, length))
        wrong("SIGBUS at %zu of %s, which has %zu bytes", offset, file->path, file->size);
    compare(file, bytes, offset, length, "load");
}

static void read_back(const struct own *file, size_t offset, size_t length)
{
    long got = count(READ, pread(file->fd, bytes, length, (off_t)offset), NOTHING, "pread");
    size_t expected = length < file->size - offset ? length : file->size - offset;
    if (got != (long)expected)
        wrong("%s: pread gives %ld bytes at %zu of %zu", file->path, got, offset, file->size);
    compare(file, bytes, offset, expected, "read");
}

static void look_at_all(const struct own *file)
{
    for (size_t at = 0; at < file->size; at += LONGEST) {
        load(file, at, LONGEST < file->size - at ? LONGEST : file->size - at);
        read_back(file, at, LONGEST);
    }
}

// What a write has written is in the file, as much as it says.
static void wrote(struct own *file, size_t offset, long written)
{
    if (written <= 0)
        return;
    memcpy(file->shadow + offset, bytes, (size_t)written);
    if (file->size < offset + (size_t)written)
        file->size = offset + (size_t)written;
}

static void append(struct own *file, size_t length)
{
    int fd = open(file->path, O_WRONLY | O_APPEND);
    if (fd < 0)
        wrong("%s cannot be opened again: %m", file->path);
    stamp(bytes, file->inode, file->size, length, (uint16_t)dice(65536));
    wrote(file, file->size, count(APPEND, write(fd, bytes, length), FULL_DISK, "append"));
    close(fd);
}

static void resize(struct own *file, size_t size)
{
    if (count(TRUNCATE, ftruncate(file->fd, (off_t)size), NOTHING, "ftruncate") != 0)
        return;
    if (size > file->size)
        memset(file->shadow + file->size, 0, size - file->size);
    file->size = size;
}

static void allocate(struct own *file, size_t length)
{
    if (length == 0 || count(ALLOCATE, fallocate(file->fd, 0, (off_t)file->size, (off_t)length), FULL_DISK, "fallocate") != 0)
        return;
    memset(file->shadow + file->size, 0, length);
    file->size += length;
}

static void rename_it(struct own *file)
{
    char before[sizeof file->path];
    memcpy(before, file->path, sizeof before);
    new_path(file->path, sizeof file->path);
    if (count(RENAME, rename(before, file->path), FULL_DISK, "rename") != 0)
        memcpy(file->path, before, sizeof before);
}

static void open_again(struct own *file)
{
    munmap(file->memory, MOST);
    close(file->fd);
    file->fd = open(file->path, O_RDWR);
    if (file->fd < 0)
        wrong("%s cannot be opened again: %m", file->path);
    map(file);
}

static void drop(struct own *file)
{
    count(UNLINK, unlink(file->path), NOTHING, "unlink");
    look_at_all(file); // it is there as long as it is open
    munmap(file->memory, MOST);
    close(file->fd);
    file->fd = -1;
}

// Half of the time near the end, where pages are cut.
static size_t place(const struct own *file)
{
    size_t near = file->size < 2 * PAGE ? file->size : 2 * PAGE;
    return (size_t)(dice(2) == 0 ? dice(file->size) : file->size - near + dice(near));
}

void use_own(void)
{
    struct own *file = &files[dice(OWN_FILES)];
    if (file->fd < 0) {
        create(file);
        return;
    }
    size_t length = 1 + (size_t)dice(LONGEST), room = MOST - file->size;
    if (file->size == 0 || dice(4) == 0) {
        append(file, length < room ? length : room);
        return;
    }
    size_t at = place(file), within = length < file->size - at ? length : file->size - at;
    switch (dice(32)) {
    case 0:
        resize(file, (size_t)dice(file->size));
        break;
    case 1: // to the end of a page that is there: a longer file would have a hole
        resize(file, (file->size + PAGE - 1) / PAGE * PAGE);
        break;
    case 2:
        allocate(file, room < (size_t)(256 * PAGE) ? room : (size_t)dice(256 * PAGE));
        break;
    case 3:
        rename_it(file);
        break;
    case 4:
        open_again(file);
        break;
    case 5:
        if (dice(8) == 0)
            drop(file);
        break;
    case 6:
        count(SYNC, fsync(file->fd), NOTHING, "fsync");
        break;
    case 7:
        count(SYNC, msync(file->memory, file->size, MS_SYNC), NOTHING, "msync");
        break;
    case 8 ... 13:
        length = length < MOST - at ? length : MOST - at;
        stamp(bytes, file->inode, at, length, (uint16_t)dice(65536));
        wrote(file, at, count(WRITE, pwrite(file->fd, bytes, length, (off_t)at), FULL_DISK, "pwrite"));
        break;
    case 14 ... 19:
        stamp(bytes, file->inode, at, within, (uint16_t)dice(65536));
        if (!copy(file->memory + at, bytes, within))
            wrong("SIGBUS at a store to %zu of %s, which has %zu bytes", at, file->path, file->size);
        memcpy(file->shadow + at, bytes, within);
        count(STORE, 0, NOTHING, "store");
        break;
    case 20 ... 25:
        read_back(file, at, length);
        break;
    default:
        load(file, at, within);
        count(LOAD, 0, NOTHING, "load");
    }
}

void sum_up_own(void)
{
    for (int i = 0; i < OWN_FILES; i++) {
        struct own *file = &files[i];
        if (file->fd < 0)
            continue;
        look_at_all(file);
        page->own[i].inode = file->inode;
        page->own[i].size = file->size;
        page->own[i].sum = crc(file->shadow, file->size);
    }
}
