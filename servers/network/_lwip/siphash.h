/* SipHash-2-4 of whole 64-bit words (Aumasson and Bernstein, "SipHash: a fast short-input PRF", 2012): who lacks the key can
 * neither guess what it gives nor find out the key from what it gave. A word's bytes are those of a little-endian one. */
#ifndef SEL4PY_LWIP_SIPHASH_H
#define SEL4PY_LWIP_SIPHASH_H

#include <stdint.h>

static inline uint64_t siphash_rotated(uint64_t word, unsigned by)
{
    return word << by | word >> (64 - by);
}

static inline void siphash_rounds(uint64_t v[4], unsigned count)
{
    while (count--) {
        v[0] += v[1], v[2] += v[3];
        v[1] = siphash_rotated(v[1], 13) ^ v[0], v[3] = siphash_rotated(v[3], 16) ^ v[2];
        v[0] = siphash_rotated(v[0], 32);
        v[2] += v[1], v[0] += v[3];
        v[1] = siphash_rotated(v[1], 17) ^ v[2], v[3] = siphash_rotated(v[3], 21) ^ v[0];
        v[2] = siphash_rotated(v[2], 32);
    }
}

static inline void siphash_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    siphash_rounds(v, 2);
    v[0] ^= word;
}

static inline uint64_t siphash(const uint64_t key[2], const uint64_t *words, unsigned count)
{
    uint64_t v[4] = {
        key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573,
    };
    for (unsigned at = 0; at < count; at++)
        siphash_word(v, words[at]);
    siphash_word(v, (uint64_t)count * sizeof *words << 56); /* how many bytes they were, in eight bits */
    v[2] ^= 0xFF;
    siphash_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

#endif
