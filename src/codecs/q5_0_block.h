/* Q5_0: 32 weights in 22 bytes.
 *
 *   byte  0..1    d      IEEE half, little-endian
 *   byte  2..5    qh     bit j: the fifth bit of weight j
 *   byte  6..21   qs     weight j in the low nibble of qs[j], weight j+16 in the high
 *
 *   w = (float)(q - 16) * d         5 + 11 bits: the product is exact in F32
 *
 * Encoding is ggml's: d = m / -16, m the first weight of largest magnitude; the codes come
 * from the unrounded d. */
#ifndef GLMQ_CODECS_Q5_0_BLOCK_H
#define GLMQ_CODECS_Q5_0_BLOCK_H

#include "block.h"

enum { Q5_0_BYTES = 22 };

GLMQ_HD void q5_0_get_block(const uint8_t *block, uint8_t *q)
{
    nibbles_get(block + 6, q);
    fifth_bits_get(block + 2, q);
}

GLMQ_HD void q5_0_put_block(const uint8_t *q, uint8_t *block)
{
    nibbles_put(q, block + 6);
    fifth_bits_put(q, block + 2);
}

GLMQ_HD void q5_0_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));
    uint8_t q[BLOCK_WEIGHTS];
    q5_0_get_block(block, q);
    for (int j = 0; j < BLOCK_WEIGHTS; j++) w[j] = (float)(q[j] - 16) * d;
}

GLMQ_HD void q5_0_encode_block(const float *w, uint8_t *block)
{
    const float d = block_extreme(w) / -16.0f;
    uint8_t q[BLOCK_WEIGHTS];
    block_round_up(w, 0.0f, block_inverse(d), 16.5f, 31, q);
    store_le16(block, f16_from_f32(d));
    q5_0_put_block(q, block);
}
#endif
