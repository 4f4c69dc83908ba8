/* The Internet checksum, 8 bytes at a time: sums of 16-bit words may be made of wider ones and folded (RFC 1071). */
#include <stdint.h>
#include <string.h>

uint16_t shim_checksum(const void *data, int length);

/* As lwIP wants it: not inverted, in the order in which the bytes lie in memory. */
uint16_t shim_checksum(const void *data, int length)
{
    const unsigned char *at = data;
    uint64_t sum = 0, word;
    for (; length >= 8; at += 8, length -= 8) {
        memcpy(&word, at, 8);
        sum += word;
        sum += sum < word; /* the carry comes back in below */
    }
    if (length > 0) {
        word = 0;
        memcpy(&word, at, (size_t)length);
        sum += word;
        sum += sum < word;
    }
    sum = (sum & 0xFFFFFFFF) + (sum >> 32);
    sum = (sum & 0xFFFFFFFF) + (sum >> 32);
    sum = (sum & 0xFFFF) + (sum >> 16);
    sum = (sum & 0xFFFF) + (sum >> 16);
    return (uint16_t)sum;
}
