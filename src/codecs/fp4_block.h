/* Blocks of four-bit floats (E2M1) of GGUF: of a group, the first half in the low nibbles.
 *
 *   MXFP4   32 weights in 17 bytes   e qs[16]          scale 2^(e - 127)
 *   NVFP4   64          in 36        d[4] qs[32]       scales E4M3 without sign, groups of 16
 *
 * The code's value is taken twice and the scale by half, as ggml does: both are exact. */
#ifndef GLMQ_CODECS_FP4_BLOCK_H
#define GLMQ_CODECS_FP4_BLOCK_H

#include "base/hd.h"
#include "base/num.h"
#include "base/safe.h"

/* What the codes stand for, and twice that where -0 is +0: all are whole then. */
static const float e2m1_values[16] = { 0,     0.5f,  1,  1.5f,  2,  3,  4,  6,
                                       -0.0f, -0.5f, -1, -1.5f, -2, -3, -4, -6 };
static const float e2m1_twice[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

/* n weights from the low nibbles of n bytes, n from the high ones: twice the E2M1 values times
 * the scale.  There is no minus zero.  (The table is its own: it also runs on devices.) */
GLMQ_HD void fp4_put(const uint8_t *qs, int n, float scale, float *w)
{
    const int8_t value[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
    float scaled[16];
    for (int k = 0; k < 16; k++) scaled[k] = (float)value[k] * scale;
    for (int j = 0; j < n; j++) {
        w[j] = scaled[qs[j] & 15];
        w[j + n] = scaled[qs[j] >> 4];
    }
}

/* Half of 2^(byte - 127). */
GLMQ_HD float mxfp4_scale(uint8_t byte)
{
    const uint32_t e = byte;
    return f32_from_bits(e < 2 ? 0x00200000u << e : (e - 1) << 23);
}

GLMQ_HD void mxfp4_decode_block(const uint8_t *block, float *w)
{
    fp4_put(block + 1, 16, mxfp4_scale(block[0]), w);
}

#endif
