// What the words of files say, and whether they say what they should.
#include "worker.h"
#include <string.h>

enum { GONE = 0xDB }; // gone_pages.c has the same

static uint64_t word_at(uint64_t inode, uint64_t offset, uint16_t version)
{
    return (inode & 0xFFFFFF) | (offset / 8 & 0xFFFFFF) << 24 | (uint64_t)version << 48;
}

void stamp(uint8_t *bytes, uint64_t inode, uint64_t offset, size_t length, uint16_t version)
{
    for (size_t i = 0; i < length; i++)
        bytes[i] = (uint8_t)(word_at(inode, offset + i, version) >> (offset + i) % 8 * 8);
}

static int is_right(uint8_t byte, uint8_t expected, enum looseness looseness)
{
    return byte == expected || (looseness == MAY_BE_GONE && (byte == 0 || byte == GONE));
}

void check(const uint8_t *bytes, uint64_t inode, uint64_t offset, size_t length, enum looseness looseness, const char *what)
{
    for (size_t i = 0; i < length; i++) {
        uint64_t at = offset + i, found;
        if (at % 8 == 0 && length - i >= 8) {
            memcpy(&found, bytes + i, 8);
            if ((found ^ word_at(inode, at, 0)) << 16 == 0) {
                i += 7;
                continue;
            }
        }
        uint8_t expected = (uint8_t)(word_at(inode, at, 0) >> at % 8 * 8);
        if (at % 8 < 6 && !is_right(bytes[i], expected, looseness)) {
            uint64_t around = 0;
            memcpy(&around, bytes + i - (i >= at % 8 ? at % 8 : 0), length >= 8 ? 8 : length);
            wrong("%s: inode %llu has %#llx in the word at %llu, where %#llx and any upper 16 bits belong", what,
                  (unsigned long long)inode, (unsigned long long)around, (unsigned long long)(at / 8 * 8),
                  (unsigned long long)word_at(inode, at, 0));
        }
    }
    if (length >= 8 && bytes[0] == GONE && memcmp(bytes, bytes + 1, 7) == 0)
        page->gone++;
}

uint32_t crc(const uint8_t *bytes, size_t length)
{
    static uint32_t table[256];
    for (uint32_t i = 0; table[255] == 0; i = (i + 1) % 256) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] & 1 ? 0xEDB88320u ^ table[i] >> 1 : table[i] >> 1;
    }
    uint32_t sum = ~0u;
    for (size_t i = 0; i < length; i++)
        sum = table[(sum ^ bytes[i]) & 0xFF] ^ sum >> 8;
    return ~sum;
}
