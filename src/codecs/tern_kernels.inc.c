/* Ternary and binary types, whole runs of blocks (layouts and arithmetic: tern_block.h).  Part
 * of kernels.inc.c; where there are no lanes, block after block. */
#include "lanes.h"
#include "tern_block.h"

#ifdef HAVE_LANES

/* What a digit stands for, before its product with the scale. */
static const float tern_values[16] = { -1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2, -1, 0, 1, 2 };

/* The digits of 16 bytes; bytes times three keep the lower digits as the new byte. */
static inline void tq1_0_put(lanes_i bytes, int digits, size_t apart, lanes_f table, float *w)
{
    for (int n = 0; n < digits; n++, w += apart) {
        const lanes_i three = lanes_add(bytes, lanes_add(bytes, bytes));
        lanes_put(lanes_look_4(table, lanes_shift(three, 8)), w);
        bytes = lanes_and(three, 0xff);
    }
}

/* Four bytes: all first digits, then all second ones. */
static inline void tq1_0_put_last(const uint8_t *src, lanes_f table, float *w)
{
    static const uint32_t power[16] = { 1, 1, 1, 1, 3, 3, 3, 3, 9, 9, 9, 9, 27, 27, 27, 27 };
    const lanes_i bytes = lanes_bytes(_mm_set1_epi32((int)load_le32(src)));
    tq1_0_put(lanes_and(lanes_times_each(bytes, power), 0xff), 1, 16, table, w);
}

static void decode_tq1_0(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 54, w += 256) {
        const lanes_f table = lanes_scaled(tern_values, half_at(src + 52));
        tq1_0_put(lanes_bytes(load_16(src)), 5, 32, table, w);
        tq1_0_put(lanes_bytes(load_16(src + 16)), 5, 32, table, w + 16);
        tq1_0_put(lanes_bytes(load_16(src + 32)), 5, 16, table, w + 160);
        tq1_0_put_last(src + 48, table, w + 240);
    }
}

static void decode_tq2_0(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 66, w += 256) {
        const lanes_f table = lanes_scaled(tern_values, half_at(src + 64));
        for (int k = 0; k < 4; k++) {
            const lanes_i codes = lanes_bytes(load_16(src + 16 * k));
            float *at = w + 128 * (k / 2) + 16 * (k % 2);
            for (unsigned n = 0; n < 4; n++)
                lanes_put(lanes_look_4(table, lanes_shift(codes, 2 * n)), at + 32 * n);
        }
    }
}

/* No product: a NaN stays as it is. */
static void decode_q1_0(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 18) {
        const lanes_f d = lanes_same(f32_from_f16(load_le16(src)));
        for (int k = 0; k < 8; k++, w += 16)
            lanes_put(lanes_flip(d, ~(unsigned)load_le16(src + 2 + 2 * k)), w);
    }
}

static void decode_q2_0(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 18) {
        const lanes_f table = lanes_scaled(tern_values, half_at(src));
        for (int k = 0; k < 4; k++, w += 16) {
            const lanes_i four = lanes_all(load_le32(src + 2 + 4 * k));
            lanes_put(lanes_look_4(table, lanes_shift_each(four, digits_of_2)), w);
        }
    }
}

#else

BLOCK_AFTER_BLOCK(tq1_0, 256, 54)
BLOCK_AFTER_BLOCK(tq2_0, 256, 66)
BLOCK_AFTER_BLOCK(q1_0, 128, 18)
BLOCK_AFTER_BLOCK(q2_0, 64, 18)

#endif
