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

/* Twice the E2M1 value; there is no minus zero. */
GLMQ_HD float fp4_twice(int code)
{
    const int8_t value[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };
    return (float)value[code];
}

/* n weights from the low nibbles of n bytes, n from the high ones. */
GLMQ_HD void fp4_put(const uint8_t *qs, int n, float scale, float *w)
{
    for (int j = 0; j < n; j++) {
        w[j] = fp4_twice(qs[j] & 15) * scale;
        w[j + n] = fp4_twice(qs[j] >> 4) * scale;
    }
}

GLMQ_HD void mxfp4_decode_block(const uint8_t *block, float *w)
{
    const uint32_t e = block[0];
    fp4_put(block + 1, 16, f32_from_bits(e < 2 ? 0x00200000u << e : (e - 1) << 23), w);
}

#endif
