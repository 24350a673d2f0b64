/* The loops of hashing; hash_base.c, hash_avx2.c and hash_avx512.c include this file.
 *
 * xxHash's own header is compiled in, because the packaged library is built for the oldest
 * machine and XXH3 is three times as fast with wide registers.  Its state has one layout. */
#include "base/hash_kernels.h"
#include <stdint.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static void add(void *state, const void *data, size_t len)
{
    XXH3_128bits_update(state, data, len);
}

/* No branches, so that it becomes three compares and blends per vector. */
static void canonical_bits(uint32_t *bits, const float *w, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t b, magnitude, zeroed;
        memcpy(&b, w + i, sizeof b);
        magnitude = b & 0x7fffffffu;
        zeroed = magnitude ? b : 0;
        bits[i] = magnitude > 0x7f800000u ? 0x7fc00000u : zeroed;
    }
}

/* Is any of them a zero with a sign, or no number? */
static int any_variant(const float *w, size_t n)
{
    uint32_t any = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t b;
        memcpy(&b, w + i, sizeof b);
        any |= (uint32_t)(b == 0x80000000u) | (uint32_t)((b & 0x7fffffffu) > 0x7f800000u);
    }
    return any != 0;
}

/* Runs that are canonical already, nearly all, are hashed where they lie. */
static void add_values(void *state, const float *w, size_t n)
{
    uint32_t bits[2048]; /* 8 KiB: stays in L1 beside the state */
    while (n) {
        const size_t some = n < 2048 ? n : 2048;
        const void *canonical = w;
        if (any_variant(w, some)) {
            canonical_bits(bits, w, some);
            canonical = bits;
        }
        XXH3_128bits_update(state, canonical, some * sizeof *w);
        w += some;
        n -= some;
    }
}

const glmq_hash_kernels HASH_KERNELS = { add, add_values };
