/* TurboQuant (TQ3): a group of 2^k weights is a vector of length `norm`, turned by a random
 * rotation and coded coordinate by coordinate.  Indices are an LSB-first bit stream of 2, 3 or
 * 4 bits, or a byte each; they choose from one book, ascending and symmetric.
 *
 *   v = book[index] * S2;  v = H v;  w = v / sqrt(group) * S1 * norm
 *
 * S1, S2 are diagonals of +-1; H is the Walsh-Hadamard transform, sums and differences of
 * pairs 1, 2, 4, … apart.  Each step is rounded to F32, in this order; a sign is no rounding. */
#ifndef GLMQ_CODECS_TQ3_BLOCK_H
#define GLMQ_CODECS_TQ3_BLOCK_H

#include "base/hd.h"
#include "base/num.h"
#include <stddef.h>

enum { TQ3_GROUP_MIN = 8, TQ3_GROUP_MAX = 8192, TQ3_BITS_MAX = 8, TQ3_BOOK = 256 };

/* What all groups of a tensor share. */
typedef struct tq3_rotation {
    uint32_t group;
    uint8_t bits;        /* of an index                                              */
    uint8_t stored_bits; /* it takes: bits, or 8                                      */
    float root;          /* sqrt(group)                                              */
    const float *book;   /* 2^bits numbers, repeated up to TQ3_BOOK                   */
    const uint32_t *s1;  /* `group` F32 sign bits: 0x80000000 for -1                  */
    const uint32_t *s2;
} tq3_rotation;

GLMQ_HD float tq3_flip(float v, uint32_t sign)
{
    return f32_from_bits(bits_from_f32(v) ^ sign);
}

/* Bytes of a group of indices. */
GLMQ_HD size_t tq3_bytes(const tq3_rotation *r)
{
    return (size_t)r->group / 8 * r->stored_bits;
}

GLMQ_HD unsigned tq3_index(const uint8_t *packed, unsigned bits, size_t k)
{
    const size_t at = k * bits / 8;
    const unsigned shift = (unsigned)(k * bits % 8);
    unsigned v = packed[at];
    if (shift + bits > 8) v |= (unsigned)packed[at + 1] << 8;
    return v >> shift & ((1u << bits) - 1);
}

GLMQ_HD void tq3_transform(float *v, uint32_t group)
{
    for (uint32_t h = 1; h < group; h *= 2)
        for (uint32_t i = 0; i < group; i += 2 * h)
            for (uint32_t j = i; j < i + h; j++) {
                const float a = v[j], b = v[j + h];
                v[j] = a + b;
                v[j + h] = a - b;
            }
}

GLMQ_HD void tq3_decode_group(const tq3_rotation *r, const uint8_t *packed, float norm, float *w)
{
    for (uint32_t k = 0; k < r->group; k++)
        w[k] = tq3_flip(r->book[tq3_index(packed, r->stored_bits, k)], r->s2[k]);
    tq3_transform(w, r->group);
    for (uint32_t k = 0; k < r->group; k++) w[k] = tq3_flip(w[k] / r->root, r->s1[k]) * norm;
}
#endif
