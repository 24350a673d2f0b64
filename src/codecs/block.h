/* What the GGUF blocks of 32 weights share: extremes, codes, nibbles and fifth bits.
 *
 * A scale that overflows a half is stored as infinity, as ggml does: every weight of the block
 * then decodes to no finite number, and whoever encoded can see it. */
#ifndef GLMQ_CODECS_BLOCK_H
#define GLMQ_CODECS_BLOCK_H

#include "base/hd.h"
#include "base/num.h"
#include "base/safe.h"

enum { BLOCK_WEIGHTS = 32 };

/* Maps a float to an integer of the same order (-0 just below +0): integer reductions
 * vectorize, float ones would have to keep their order.  It is its own inverse. */
GLMQ_HD int32_t ordered_from_bits(uint32_t bits)
{
    const int32_t i = (int32_t)bits;
    return i ^ (int32_t)((uint32_t)(i >> 31) >> 1);
}

GLMQ_HD float block_amax(const float *w)
{
    uint32_t most = 0;
    for (int j = 0; j < BLOCK_WEIGHTS; j++) {
        const uint32_t mag = bits_from_f32(w[j]) & 0x7fffffff;
        most = mag > most ? mag : most;
    }
    return f32_from_bits(most);
}

GLMQ_HD void block_extremes(const float *w, float *lo, float *hi)
{
    int32_t least = INT32_MAX, most = INT32_MIN;
    for (int j = 0; j < BLOCK_WEIGHTS; j++) {
        const int32_t k = ordered_from_bits(bits_from_f32(w[j]));
        least = k < least ? k : least;
        most = k > most ? k : most;
    }
    *lo = f32_from_bits((uint32_t)ordered_from_bits((uint32_t)least));
    *hi = f32_from_bits((uint32_t)ordered_from_bits((uint32_t)most));
}

/* The first weight of largest magnitude, with its sign; +0 when all are zero. */
GLMQ_HD float block_extreme(const float *w)
{
    float lo, hi;
    block_extremes(w, &lo, &hi);
    if (hi == 0.0f && lo == 0.0f) return 0.0f;
    if (hi != -lo) return hi > -lo ? hi : lo;
    for (int j = 0; j < BLOCK_WEIGHTS; j++)
        if (w[j] == hi || w[j] == lo) return w[j];
    return hi;
}

/* The least weight (of zeros, the first one's sign) and the distance to the greatest. */
GLMQ_HD void block_range(const float *w, float *lo, float *span)
{
    float hi;
    block_extremes(w, lo, &hi);
    for (int j = 0; *lo == 0.0f && j < BLOCK_WEIGHTS; j++)
        if (w[j] == 0.0f) {
            *lo = w[j];
            break;
        }
    *span = hi - *lo;
    if (*span == 0.0f) *span = 0.0f; /* +0 */
}

GLMQ_HD float block_inverse(float d)
{
    return d != 0.0f ? 1.0f / d : 0.0f;
}

/* q = trunc((w - base) * id + up), at most `most`; 0 where that is no small number (the
 * inverse of a subnormal is infinite). */
GLMQ_HD void block_round_up(const float *w, float base, float id, float up, int most, uint8_t *q)
{
    for (int j = 0; j < BLOCK_WEIGHTS; j++) {
        float v = (w[j] - base) * id + up;
        v = v > 0.0f && v < 127.0f ? v : 0.0f;
        const int t = (int)v;
        q[j] = (uint8_t)(t < most ? t : most);
    }
}

GLMQ_HD void nibbles_get(const uint8_t *qs, uint8_t *q)
{
    for (int j = 0; j < 16; j++) {
        q[j] = qs[j] & 15;
        q[j + 16] = qs[j] >> 4;
    }
}

GLMQ_HD void nibbles_put(const uint8_t *q, uint8_t *qs)
{
    for (int j = 0; j < 16; j++) qs[j] = (uint8_t)((q[j] & 15) | q[j + 16] << 4);
}

/* Bit j of the four bytes is bit 4 of q[j].  Eight at a time: one multiplication spreads
 * or gathers a byte's bits. */
GLMQ_HD void fifth_bits_get(const uint8_t *qh, uint8_t *q)
{
    for (int i = 0; i < 4; i++) {
        const uint64_t spread =
            (qh[i] * UINT64_C(0x0101010101010101)) & UINT64_C(0x8040201008040201);
        const uint64_t ones =
            (spread + UINT64_C(0x7f7f7f7f7f7f7f7f)) >> 7 & UINT64_C(0x0101010101010101);
        store_le64(q + 8 * i, load_le64(q + 8 * i) | ones << 4);
    }
}

GLMQ_HD void fifth_bits_put(const uint8_t *q, uint8_t *qh)
{
    for (int i = 0; i < 4; i++) {
        const uint64_t ones = load_le64(q + 8 * i) >> 4 & UINT64_C(0x0101010101010101);
        qh[i] = (uint8_t)(ones * UINT64_C(0x0102040810204080) >> 56);
    }
}
#endif
