/* Q5_1: 32 weights in 24 bytes.
 *
 *   byte  0..1    d      IEEE half, little-endian
 *   byte  2..3    m      IEEE half
 *   byte  4..7    qh     bit j: the fifth bit of weight j
 *   byte  8..23   qs     weight j in the low nibble of qs[j], weight j+16 in the high
 *
 *   w = q * d + m        the product is exact, the sum rounds once
 *
 * Encoding is ggml's: m the least weight, d = (greatest - m) / 31, codes from the unrounded
 * d and m. */
#ifndef GLMQ_CODECS_Q5_1_BLOCK_H
#define GLMQ_CODECS_Q5_1_BLOCK_H

#include "block.h"

enum { Q5_1_BYTES = 24 };

GLMQ_HD void q5_1_get_block(const uint8_t *block, uint8_t *q)
{
    nibbles_get(block + 8, q);
    fifth_bits_get(block + 4, q);
}

GLMQ_HD void q5_1_put_block(const uint8_t *q, uint8_t *block)
{
    nibbles_put(q, block + 8);
    fifth_bits_put(q, block + 4);
}

GLMQ_HD void q5_1_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block)), m = f32_from_f16(load_le16(block + 2));
    uint8_t q[BLOCK_WEIGHTS];
    q5_1_get_block(block, q);
    for (int j = 0; j < BLOCK_WEIGHTS; j++) w[j] = (float)q[j] * d + m;
}

GLMQ_HD void q5_1_encode_block(const float *w, uint8_t *block)
{
    float m, span;
    block_range(w, &m, &span);
    const float d = span / 31.0f;
    uint8_t q[BLOCK_WEIGHTS];
    block_round_up(w, m, block_inverse(d), 0.5f, 31, q);
    store_le16(block, f16_from_f32(d));
    store_le16(block + 2, f16_from_f32(m));
    q5_1_put_block(q, block);
}
#endif
