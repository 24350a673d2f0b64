/* Q4_1: 32 weights in 20 bytes.
 *
 *   byte  0..1    d      IEEE half, little-endian
 *   byte  2..3    m      IEEE half
 *   byte  4..19   qs     weight j in the low nibble of qs[j], weight j+16 in the high
 *
 *   w = q * d + m        the product is exact, the sum rounds once
 *
 * Encoding is ggml's: m the least weight, d = (greatest - m) / 15, codes from the unrounded
 * d and m. */
#ifndef GLMQ_CODECS_Q4_1_BLOCK_H
#define GLMQ_CODECS_Q4_1_BLOCK_H

#include "block.h"

enum { Q4_1_BYTES = 20 };

GLMQ_HD void q4_1_get_block(const uint8_t *block, uint8_t *q)
{
    nibbles_get(block + 4, q);
}

GLMQ_HD void q4_1_put_block(const uint8_t *q, uint8_t *block)
{
    nibbles_put(q, block + 4);
}

GLMQ_HD void q4_1_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block)), m = f32_from_f16(load_le16(block + 2));
    for (int j = 0; j < 16; j++) {
        const int q = block[4 + j];
        w[j] = (float)(q & 15) * d + m;
        w[j + 16] = (float)(q >> 4) * d + m;
    }
}

GLMQ_HD void q4_1_encode_block(const float *w, uint8_t *block)
{
    float m, span;
    block_range(w, &m, &span);
    const float d = span / 15.0f;
    uint8_t q[BLOCK_WEIGHTS];
    block_round_up(w, m, block_inverse(d), 0.5f, 15, q);
    store_le16(block, f16_from_f32(d));
    store_le16(block + 2, f16_from_f32(m));
    q4_1_put_block(q, block);
}
#endif
