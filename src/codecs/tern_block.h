/* Ternary and binary weights.
 *
 *   TQ1_0   256 weights in 54 bytes   qs[48] qh[4] d    five (four in qh) base-3 digits a byte
 *   TQ2_0   256           in 66       qs[64] d          two bits: -1, 0, 1 (and 2)
 *   Q1_0    128           in 18       d qs[16]          one bit: -d, d
 *   Q2_0     64           in 18       d qs[16]          two bits: -1, 0, 1, 2 */
#ifndef GLMQ_CODECS_TERN_BLOCK_H
#define GLMQ_CODECS_TERN_BLOCK_H

#include "base/hd.h"
#include "base/num.h"
#include "base/safe.h"

/* `digits` base-3 digits of each of `bytes` bytes: all first ones, then all second ones, …  A
 * byte is the number's fraction in units of 1/256: times three, the first digit is in front. */
GLMQ_HD void tq1_0_run(const uint8_t *src, int bytes, int digits, float d, float *w)
{
    uint8_t rest[32];
    for (int m = 0; m < bytes; m++) rest[m] = src[m];
    for (int n = 0; n < digits; n++)
        for (int m = 0; m < bytes; m++) {
            const int three = rest[m] * 3;
            rest[m] = (uint8_t)three;
            w[bytes * n + m] = (float)((three >> 8) - 1) * d;
        }
}

GLMQ_HD void tq1_0_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block + 52));
    tq1_0_run(block, 32, 5, d, w);
    tq1_0_run(block + 32, 16, 5, d, w + 160);
    tq1_0_run(block + 48, 4, 4, d, w + 240);
}

/* In each half of the bytes: all lowest codes, then all second ones, … */
GLMQ_HD void tq2_0_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block + 64));
    for (int n = 0; n < 8; n++)
        for (int m = 0; m < 32; m++)
            w[32 * n + m] = (float)((block[n / 4 * 32 + m] >> n % 4 * 2 & 3) - 1) * d;
}

GLMQ_HD void q1_0_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));
    for (int i = 0; i < 128; i++) w[i] = block[2 + i / 8] >> i % 8 & 1 ? d : -d;
}

GLMQ_HD void q2_0_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));
    for (int i = 0; i < 64; i++) w[i] = (float)((block[2 + i / 4] >> i % 4 * 2 & 3) - 1) * d;
}
#endif
