/* Q4_0: 32 weights in 18 bytes.
 *
 *   byte  0..1    d      IEEE half, little-endian
 *   byte  2..17   qs     weight j in the low nibble of qs[j], weight j+16 in the high
 *
 *   w = (float)(q - 8) * d          4 + 11 bits: the product is exact in F32
 *
 * Encoding is ggml's: d = m / -8, m the first weight of largest magnitude; the codes come
 * from the unrounded d. */
#ifndef GLMQ_CODECS_Q4_0_BLOCK_H
#define GLMQ_CODECS_Q4_0_BLOCK_H

#include "block.h"

enum { Q4_0_BYTES = 18 };

GLMQ_HD void q4_0_get_block(const uint8_t *block, uint8_t *q)
{
    nibbles_get(block + 2, q);
}

GLMQ_HD void q4_0_put_block(const uint8_t *q, uint8_t *block)
{
    nibbles_put(q, block + 2);
}

GLMQ_HD void q4_0_decode_block(const uint8_t *block, float *w)
{
    const float d = f32_from_f16(load_le16(block));
    for (int j = 0; j < 16; j++) {
        const int q = block[2 + j];
        w[j] = (float)((q & 15) - 8) * d;
        w[j + 16] = (float)((q >> 4) - 8) * d;
    }
}

GLMQ_HD void q4_0_encode_block(const float *w, uint8_t *block)
{
    const float d = block_extreme(w) / -8.0f;
    uint8_t q[BLOCK_WEIGHTS];
    block_round_up(w, 0.0f, block_inverse(d), 8.5f, 15, q);
    store_le16(block, f16_from_f32(d));
    q4_0_put_block(q, block);
}
#endif
