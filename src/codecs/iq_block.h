/* The codebook types: 256 weights a block, in eight groups of 32, each group four times 8.
 *
 *   IQ2_XXS  66 bytes   d (4 grid bytes, 28 bits of signs, 4 of scale)[8]
 *   IQ2_XS   74         d (9 bits of grid, 7 of signs)[32] sc[8]
 *   IQ2_S    82         d qs[32] signs[32] qh[8] sc[8]
 *   IQ3_XXS  98         d qs[64] (28 bits of signs, 4 of scale)[8]
 *   IQ3_S   110         d qs[64] qh[8] signs[32] sc[4]
 *   IQ1_S    50         d qs[32] qh[8] (of 16 bits)
 *   IQ1_M    56         qs[32] qh[16] sc[8], d in the high nibbles of sc
 *   IQ4_NL   18         d qs[16]: 32 weights; codes name one of 16 values
 *   IQ4_XS  136         d sh sl[4] qs[128]: the same values, scales of 6 bits
 *
 * Weights are (scale * magnitude) * sign, each product rounded; IQ1: scale * (digit + delta). */
#ifndef GLMQ_CODECS_IQ_BLOCK_H
#define GLMQ_CODECS_IQ_BLOCK_H

#include "base/hd.h"
#include "base/num.h"
#include "base/safe.h"
#include "iq_tables.h"

/* ---- digits and signs ---- */

GLMQ_HD float iq_minus(float x, unsigned signs, int j)
{
    return signs >> j & 1 ? -x : x;
}

/* Seven stored signs; the eighth makes the number of minus signs even. */
GLMQ_HD unsigned iq_signs(unsigned seven)
{
    unsigned odd = seven;
    odd ^= odd >> 4;
    odd ^= odd >> 2;
    odd ^= odd >> 1;
    return seven | (odd & 1) << 7;
}

/* Eight digits of two bits: 8, 25, 43. */
GLMQ_HD void iq2_put(unsigned entry, unsigned signs, float scale, float *w)
{
    const float scaled[4] = { scale * 8, scale * 25, scale * 43, 0 };
    for (int j = 0; j < 8; j++) w[j] = iq_minus(scaled[entry >> 2 * j & 3], signs, j);
}

/* Four digits of three bits: 4, 12, 20 … 52, 62. */
GLMQ_HD void iq3_xxs_put(unsigned entry, unsigned signs, float scale, float *w)
{
    for (int j = 0; j < 4; j++) {
        const int digit = (int)(entry >> 3 * j & 7);
        w[j] = iq_minus(scale * (float)(4 + 8 * digit + (digit == 7 ? 2 : 0)), signs, j);
    }
}

/* Four digits of three bits: 1, 3, 5 … 15. */
GLMQ_HD void iq3_s_put(unsigned entry, unsigned signs, float scale, float *w)
{
    for (int j = 0; j < 4; j++)
        w[j] = iq_minus(scale * (float)(1 + 2 * (int)(entry >> 3 * j & 7)), signs, j);
}

/* Eight digits of two bits: -1, 0, 1. */
GLMQ_HD void iq1_put(unsigned entry, float delta, float scale, float *w)
{
    const float scaled[4] = { scale * (-1 + delta), scale * delta, scale * (1 + delta), 0 };
    for (int j = 0; j < 8; j++) w[j] = scaled[entry >> 2 * j & 3];
}

/* ---- two bits ---- */

GLMQ_HD float iq2_scale(float d, unsigned code)
{
    return d * (0.5f + (float)code) * 0.25f;
}

GLMQ_HD void iq2_xxs_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));

    for (int g = 0; g < 8; g++) {
        const uint8_t *at = block + 2 + 8 * g;
        const uint32_t rest = load_le32(at + 4);
        for (int l = 0; l < 4; l++)
            iq2_put(iq2xxs_grid[at[l]], iq_signs(rest >> 7 * l & 127), iq2_scale(d, rest >> 28),
                    w + 32 * g + 8 * l);
    }
}

GLMQ_HD void iq2_xs_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));

    for (int i = 0; i < 32; i++) {
        const unsigned v = load_le16(block + 2 + 2 * i), sc = block[66 + i / 4];
        iq2_put(iq2xs_grid[v & 511], iq_signs(v >> 9), iq2_scale(d, i & 2 ? sc >> 4 : sc & 15),
                w + 8 * i);
    }
}

GLMQ_HD void iq2_s_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));

    for (int i = 0; i < 32; i++) {
        const unsigned high = block[66 + i / 4], sc = block[74 + i / 4];
        const unsigned entry = block[2 + i] | (high << (8 - 2 * (i % 4)) & 0x300);
        iq2_put(iq2s_grid[entry], block[34 + i], iq2_scale(d, i & 2 ? sc >> 4 : sc & 15),
                w + 8 * i);
    }
}

/* ---- three bits ---- */

GLMQ_HD void iq3_xxs_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));

    for (int i = 0; i < 32; i++) {
        const uint32_t rest = load_le32(block + 66 + i / 4 * 4);
        const unsigned signs = iq_signs(rest >> 7 * (i % 4) & 127);
        const float scale = d * (0.5f + (float)(rest >> 28)) * 0.5f;
        iq3_xxs_put(iq3xxs_grid[block[2 + 2 * i]], signs, scale, w + 8 * i);
        iq3_xxs_put(iq3xxs_grid[block[3 + 2 * i]], signs >> 4, scale, w + 8 * i + 4);
    }
}

GLMQ_HD void iq3_s_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));

    for (int i = 0; i < 32; i++) {
        const int g = i / 4, l = i % 4;
        const unsigned high = block[66 + g], signs = block[74 + i];
        const unsigned code = g & 1 ? block[106 + g / 2] >> 4 : block[106 + g / 2] & 15;
        const float scale = d * (float)(1 + 2 * code);
        iq3_s_put(iq3s_grid[block[2 + 2 * i] | (high << (8 - 2 * l) & 256)], signs, scale,
                  w + 8 * i);
        iq3_s_put(iq3s_grid[block[3 + 2 * i] | (high << (7 - 2 * l) & 256)], signs >> 4, scale,
                  w + 8 * i + 4);
    }
}

/* ---- one bit and a half ---- */

GLMQ_HD void iq1_s_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));

    for (int i = 0; i < 32; i++) {
        const unsigned high = load_le16(block + 34 + i / 4 * 2);
        const unsigned entry = block[2 + i] | (high >> 3 * (i % 4) & 7) << 8;
        iq1_put(iq1s_grid[entry], high & 0x8000 ? -0.125f : 0.125f,
                d * (float)(2 * (high >> 12 & 7) + 1), w + 8 * i);
    }
}

GLMQ_HD void iq1_m_decode_block(const uint8_t *block, float *w)
{
    const uint8_t *qh = block + 32, *sc = block + 48;
    const unsigned half = (unsigned)load_le16(sc) >> 12 | (load_le16(sc + 2) >> 8 & 0xf0) |
                          (load_le16(sc + 4) >> 4 & 0xf00) | (load_le16(sc + 6) & 0xf000);
    const float d = f32_from_f16((uint16_t)half);

    for (int i = 0; i < 32; i++) {
        const int g = i / 4;
        const unsigned code = load_le16(sc + g / 2 * 2) >> (6 * (g % 2) + (i & 2 ? 3 : 0)) & 7;
        const unsigned high = i & 1 ? qh[i / 2] >> 4 : qh[i / 2] & 15;
        iq1_put(iq1s_grid[block[i] | (high & 7) << 8], high & 8 ? -0.125f : 0.125f,
                d * (float)(2 * code + 1), w + 8 * i);
    }
}

/* ---- four bits that name values ---- */

/* 16 weights in the low nibbles, the 16 behind them in the high ones. */
GLMQ_HD void iq4_put(const uint8_t *qs, float scale, float *w)
{
    const int8_t value[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                               1,    13,   25,  38,  53,  69,  89,  113 };
    float scaled[16];
    for (int k = 0; k < 16; k++) scaled[k] = scale * (float)value[k];
    for (int j = 0; j < 16; j++) {
        w[j] = scaled[qs[j] & 15];
        w[j + 16] = scaled[qs[j] >> 4];
    }
}

/* A product with 1 is one that compilers leave out: NaN is made quiet before. */
GLMQ_HD void iq4_nl_decode_block(const uint8_t *block, float *w)
{
    iq4_put(block + 2, quiet_f32(f32_from_f16(load_le16(block))), w);
}

GLMQ_HD void iq4_xs_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));
    const unsigned sh = load_le16(block + 2);

    for (int g = 0; g < 8; g++) {
        const unsigned low = block[4 + g / 2] >> 4 * (g % 2) & 15;
        const int scale = (int)(low | (sh >> 2 * g & 3) << 4) - 32;
        iq4_put(block + 8 + 16 * g, d * (float)scale, w + 32 * g);
    }
}
#endif
