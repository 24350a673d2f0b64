/* The K-quants: 256 weights a block, scales of their own for runs of 16 or 32 weights, these in
 * turn in units of one half (or two) per block; and two types that ggml keeps for activations.
 *
 *   Q2_K   84 bytes   sc[16] qs[64] d dmin               w = (d*sc)*q - dmin*mn, runs of 16
 *   Q3_K  110         hmask[32] qs[64] sc[12] d          w = (d*(sc - 32))*(q - 4), runs of 16
 *   Q4_K  144         d dmin sc[12] qs[128]              w = (d*sc)*q - dmin*mn, runs of 32
 *   Q5_K  176         d dmin sc[12] qh[32] qs[128]       the same, with fifth bits
 *   Q6_K  210         ql[128] qh[64] sc[16] d            w = (d*sc)*(q - 32), runs of 16
 *   Q8_K  292         d (F32) q[256] sums[16]            w = d*q
 *   Q8_1   36         d sum q[32]                        w = d*q
 *
 * Every product and difference is rounded once, in the order written. */
#ifndef GLMQ_CODECS_K_BLOCK_H
#define GLMQ_CODECS_K_BLOCK_H

#include "base/hd.h"
#include "base/num.h"
#include "base/safe.h"

enum { K_WEIGHTS = 256 };

/* Run k of 16: its two bits are at `shift` of 16 bytes; 32 bytes hold 128 weights. */
GLMQ_HD const uint8_t *k_pairs(const uint8_t *qs, int k, int *shift)
{
    *shift = k % 8 / 2 * 2;
    return qs + k / 8 * 32 + k % 2 * 16;
}

GLMQ_HD void q2_k_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block + 80)), dmin = f32_from_f16(load_le16(block + 82));

    for (int k = 0; k < 16; k++, w += 16) {
        const float step = d * (float)(block[k] & 15), least = dmin * (float)(block[k] >> 4);
        int shift;
        const uint8_t *q = k_pairs(block + 16, k, &shift);
        for (int l = 0; l < 16; l++) w[l] = step * (float)(q[l] >> shift & 3) - least;
    }
}

/* Scale k of 16, 6 bits: the low four lie in the first eight bytes, the high two behind. */
GLMQ_HD int q3_k_scale(const uint8_t *sc, int k)
{
    const int low = k < 8 ? sc[k] & 15 : sc[k - 8] >> 4;
    return (low | (sc[8 + k % 4] >> k / 4 * 2 & 3) << 4) - 32;
}

GLMQ_HD void q3_k_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block + 108));

    for (int k = 0; k < 16; k++, w += 16) {
        const float step = d * (float)q3_k_scale(block + 96, k);
        const uint8_t *high = block + k % 2 * 16;
        int shift;
        const uint8_t *q = k_pairs(block + 32, k, &shift);
        for (int l = 0; l < 16; l++)
            w[l] = step * (float)(((q[l] >> shift & 3) | (high[l] >> k / 2 & 1) << 2) - 4);
    }
}

/* Scale and minimum of run j of 8, 6 bits each, in 12 bytes. */
GLMQ_HD void k_scale_min(const uint8_t *s, int j, int *scale, int *least)
{
    if (j < 4) {
        *scale = s[j] & 63;
        *least = s[j + 4] & 63;
    } else {
        *scale = (s[j + 4] & 15) | s[j - 4] >> 6 << 4;
        *least = s[j + 4] >> 4 | s[j] >> 6 << 4;
    }
}

/* Q4_K, and Q5_K where qh is not NULL. */
GLMQ_HD void k_decode_runs(const uint8_t *block, const uint8_t *qh, const uint8_t *qs, float *w)
{
    const float d = f32_from_f16(load_le16(block)), dmin = f32_from_f16(load_le16(block + 2));

    for (int j = 0; j < 8; j++, w += 32) {
        int scale, least;
        k_scale_min(block + 4, j, &scale, &least);
        const float step = d * (float)scale, low = dmin * (float)least;
        for (int l = 0; l < 32; l++) {
            const int byte = qs[j / 2 * 32 + l], high = qh ? (qh[l] >> j & 1) << 4 : 0;
            w[l] = step * (float)((j & 1 ? byte >> 4 : byte & 15) | high) - low;
        }
    }
}

GLMQ_HD void q4_k_decode_block(const uint8_t *block, float *w)
{
    k_decode_runs(block, NULL, block + 16, w);
}

GLMQ_HD void q5_k_decode_block(const uint8_t *block, float *w)
{
    k_decode_runs(block, block + 16, block + 48, w);
}

GLMQ_HD void q6_k_decode_block(const uint8_t *block, float *w)
{
    const uint8_t *ql = block, *qh = block + 128, *sc = block + 192;
    const float d = f32_from_f16(load_le16(block + 208));

    for (int k = 0; k < 16; k++, w += 16) {
        const int half = k / 8, quarter = k % 8 / 2, from = k % 2 * 16;
        const uint8_t *low = ql + 64 * half + 32 * (quarter & 1) + from,
                      *high = qh + 32 * half + from;
        const float step = d * (float)(int8_t)sc[k];
        for (int l = 0; l < 16; l++) {
            const int q = (low[l] >> quarter / 2 * 4 & 15) | (high[l] >> 2 * quarter & 3) << 4;
            w[l] = step * (float)(q - 32);
        }
    }
}

GLMQ_HD void q8_k_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_bits(load_le32(block));
    for (int i = 0; i < K_WEIGHTS; i++) w[i] = d * (float)(int8_t)block[4 + i];
}

GLMQ_HD void q8_1_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));
    for (int i = 0; i < 32; i++) w[i] = d * (float)(int8_t)block[4 + i];
}
#endif
