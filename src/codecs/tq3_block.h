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
#include <math.h>
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

/* ---- encode ----
 *
 *   n = |x|;  v = H S1 (x / n);  index = bounds below v / sqrt(group) * S2
 *   norm = n / |H S2 book[index] / sqrt(group)|    so that lengths come out right */

/* Eight sums, one for every eighth number, added up in order: what torch does on x86. */
GLMQ_HD float tq3_length(const float *v, uint32_t n, float root)
{
    float lane[8] = { 0 };
    for (uint32_t i = 0; i < n; i += 8)
        for (uint32_t j = 0; j < 8; j++) {
            const float x = v[i + j] / root;
            lane[j] += x * x;
        }
    for (uint32_t j = 1; j < 8; j++) lane[0] += lane[j];
    return sqrtf(lane[0]);
}

/* v = S1 x / n; returns n, the length of x. */
GLMQ_HD float tq3_unit(const tq3_rotation *r, const float *x, float *v)
{
    const float n = tq3_length(x, r->group, 1), d = n > 0 ? n : 1;
    for (uint32_t k = 0; k < r->group; k++) v[k] = tq3_flip(x[k] / d, r->s1[k]);
    return n;
}

/* How many of the 2^bits - 1 bounds lie below y. */
GLMQ_HD unsigned tq3_choose(const float *bounds, unsigned bits, float y)
{
    unsigned i = 0;
    for (unsigned step = 1u << (bits - 1); step; step /= 2)
        i += bounds[i + step - 1] < y ? step : 0;
    return i;
}

/* Indices of the transformed v, packed; and v = S2 book[index]. */
GLMQ_HD void tq3_store(const tq3_rotation *r, const float *bounds, float *v, uint8_t *packed)
{
    unsigned held = 0, have = 0;
    for (uint32_t k = 0; k < r->group; k++) {
        const unsigned i = tq3_choose(bounds, r->bits, tq3_flip(v[k] / r->root, r->s2[k]));
        v[k] = tq3_flip(r->book[i], r->s2[k]);
        held |= i << have;
        for (have += r->stored_bits; have >= 8; have -= 8, held >>= 8) *packed++ = (uint8_t)held;
    }
}

/* `length` is that of x, v what its indices stand for, transformed. */
GLMQ_HD float tq3_norm(const tq3_rotation *r, const float *v, float length)
{
    const float have = tq3_length(v, r->group, r->root);
    return length / (have > 0 ? have : 1);
}
#endif
