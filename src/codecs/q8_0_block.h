/* Q8_0: 32 weights in 34 bytes.
 *
 *   byte  0..1    d      IEEE half, little-endian
 *   byte  2..33   qs     signed bytes, weight j in qs[j]
 *
 *   w = (float)q * d                8 + 11 bits: the product is exact in F32
 *
 * As unsigned codes: q + 128.  Encoding is ggml's: d = amax / 127, codes from the unrounded
 * d, rounded half away from zero. */
#ifndef GLMQ_CODECS_Q8_0_BLOCK_H
#define GLMQ_CODECS_Q8_0_BLOCK_H

#include "block.h"

enum { Q8_0_BYTES = 34 };

GLMQ_HD void q8_0_get_block(const uint8_t *block, uint8_t *q)
{
    for (int j = 0; j < BLOCK_WEIGHTS; j++) q[j] = block[2 + j] ^ 0x80;
}

GLMQ_HD void q8_0_put_block(const uint8_t *q, uint8_t *block)
{
    for (int j = 0; j < BLOCK_WEIGHTS; j++) block[2 + j] = q[j] ^ 0x80;
}

GLMQ_HD void q8_0_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));
    for (int j = 0; j < BLOCK_WEIGHTS; j++) w[j] = (float)(int8_t)block[2 + j] * d;
}

GLMQ_HD void q8_0_encode_block(const float *w, uint8_t *block)
{
    const float d = block_amax(w) / 127.0f, id = block_inverse(d);
    for (int j = 0; j < BLOCK_WEIGHTS; j++) {
        float v = w[j] * id;
        v = v > -128.0f && v < 128.0f ? v : 0.0f; /* a subnormal d has no inverse */
        const int t = (int)v;
        const float rest = v - (float)t; /* exact */
        block[2 + j] = (uint8_t)(t + (rest >= 0.5f) - (rest <= -0.5f));
    }
    store_le16(block, f16_from_f32(d));
}
#endif
