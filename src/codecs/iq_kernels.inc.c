/* The codebook types, whole runs of blocks (layouts and arithmetic: iq_block.h).  Part of
 * kernels.inc.c; where there are no lanes, block after block.
 *
 * A codebook entry is a string of digits: sixteen weights take one shift for their digits and
 * one lookup for scale times value.  Scales are a table, too: a code of 3 or 4 bits names one. */
#include "iq_block.h"
#include "lanes.h"

#ifdef HAVE_LANES

enum { IQ_SCALES = 16 };

/* 0.5 + code, 1 + 2 code */
static const float iq_half_up[16] = { 0.5f, 1.5f, 2.5f,  3.5f,  4.5f,  5.5f,  6.5f,  7.5f,
                                      8.5f, 9.5f, 10.5f, 11.5f, 12.5f, 13.5f, 14.5f, 15.5f };
static const float iq_odd[16] = { 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31 };

/* Bit 7 of each byte is set where that makes the number of ones even. */
static inline uint32_t iq_even(uint32_t sevens)
{
    uint32_t odd = sevens ^ sevens >> 4;
    odd ^= odd >> 2;
    odd ^= odd >> 1;
    return sevens | (odd & 0x01010101) << 7;
}

/* Four runs of seven bits, a byte each. */
static inline uint32_t iq_signs_of_28(uint32_t v)
{
    v = (v & 0x3fff) | (v & 0x0fffc000) << 2;
    return iq_even((v & 0x007f007f) | (v & 0x3f803f80) << 1);
}

/* ---- two bits ---- */

static const float iq2_values[16] = { 8, 25, 43, 0, 8, 25, 43, 0, 8, 25, 43, 0, 8, 25, 43, 0 };

static inline void iq2_scales(const uint8_t *d, float scale[IQ_SCALES])
{
    lanes_put(lanes_times(lanes_scaled(iq_half_up, half_at(d)), 0.25f), scale);
}

static inline void iq2_put_16(uint32_t a, uint32_t b, unsigned signs, lanes_f table, float *w)
{
    const lanes_i digits = lanes_shift_each(lanes_all(a | b << 16), digits_of_2);
    lanes_put(lanes_flip(lanes_look_4(table, digits), signs), w);
}

static void decode_iq2_xxs(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 66) {
        float scale[IQ_SCALES];
        iq2_scales(src, scale);
        for (const uint8_t *p = src + 2; p < src + 66; p += 8, w += 32) {
            const uint32_t rest = load_le32(p + 4), signs = iq_signs_of_28(rest);
            const lanes_f table = lanes_scaled(iq2_values, scale[rest >> 28]);
            iq2_put_16(iq2xxs_grid[p[0]], iq2xxs_grid[p[1]], signs, table, w);
            iq2_put_16(iq2xxs_grid[p[2]], iq2xxs_grid[p[3]], signs >> 16, table, w + 16);
        }
    }
}

/* The high seven bits of four words, a byte each. */
static inline uint32_t iq2_xs_signs(uint64_t words)
{
    uint64_t v = words >> 9 & UINT64_C(0x007f007f007f007f);
    v = (v | v >> 8) & UINT64_C(0x0000ffff0000ffff);
    return iq_even((uint32_t)(v | v >> 16));
}

static void decode_iq2_xs(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 74) {
        float scale[IQ_SCALES];
        iq2_scales(src, scale);
        for (int g = 0; g < 8; g++, w += 32) {
            const uint64_t v = load_le64(src + 2 + 8 * g);
            const uint32_t signs = iq2_xs_signs(v);
            const unsigned sc = src[66 + g];
            iq2_put_16(iq2xs_grid[v & 511], iq2xs_grid[v >> 16 & 511], signs,
                       lanes_scaled(iq2_values, scale[sc & 15]), w);
            iq2_put_16(iq2xs_grid[v >> 32 & 511], iq2xs_grid[v >> 48 & 511], signs >> 16,
                       lanes_scaled(iq2_values, scale[sc >> 4]), w + 16);
        }
    }
}

static void decode_iq2_s(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 82) {
        float scale[IQ_SCALES];
        iq2_scales(src, scale);
        for (int g = 0; g < 8; g++, w += 32) {
            const uint8_t *q = src + 2 + 4 * g;
            const unsigned high = src[66 + g], sc = src[74 + g];
            const uint32_t signs = load_le32(q + 32);
            iq2_put_16(iq2s_grid[q[0] | (high << 8 & 0x300)], iq2s_grid[q[1] | (high << 6 & 0x300)],
                       signs, lanes_scaled(iq2_values, scale[sc & 15]), w);
            iq2_put_16(iq2s_grid[q[2] | (high << 4 & 0x300)], iq2s_grid[q[3] | (high << 2 & 0x300)],
                       signs >> 16, lanes_scaled(iq2_values, scale[sc >> 4]), w + 16);
        }
    }
}

/* ---- three bits ---- */

static const float iq3_xxs_values[16] = { 4, 12, 20, 28, 36, 44, 52, 62,
                                          4, 12, 20, 28, 36, 44, 52, 62 };
static const float iq3_s_values[16] = { 1, 3, 5, 7, 9, 11, 13, 15, 1, 3, 5, 7, 9, 11, 13, 15 };

/* Entries of 12 bits, two to a half. */
static inline void iq3_put_16(uint32_t a, uint32_t b, unsigned signs, lanes_f table, float *w)
{
    const lanes_i digits = lanes_shift_each(lanes_halves(a, b), digits_of_3);
    lanes_put(lanes_flip(lanes_look_8(table, digits), signs), w);
}

static inline uint32_t iq3_xxs_two(const uint8_t *q)
{
    return iq3xxs_grid[q[0]] | (uint32_t)iq3xxs_grid[q[1]] << 12;
}

static void decode_iq3_xxs(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 98) {
        float scale[IQ_SCALES];
        lanes_put(lanes_times(lanes_scaled(iq_half_up, half_at(src)), 0.5f), scale);
        for (int g = 0; g < 8; g++, w += 32) {
            const uint8_t *q = src + 2 + 8 * g;
            const uint32_t rest = load_le32(src + 66 + 4 * g), signs = iq_signs_of_28(rest);
            const lanes_f table = lanes_scaled(iq3_xxs_values, scale[rest >> 28]);
            iq3_put_16(iq3_xxs_two(q), iq3_xxs_two(q + 2), signs, table, w);
            iq3_put_16(iq3_xxs_two(q + 4), iq3_xxs_two(q + 6), signs >> 16, table, w + 16);
        }
    }
}

/* The ninth bits of the two are the lowest of `high`. */
static inline uint32_t iq3_s_two(const uint8_t *q, unsigned high)
{
    return iq3s_grid[q[0] | (high << 8 & 256)] | (uint32_t)iq3s_grid[q[1] | (high << 7 & 256)]
                                                     << 12;
}

static inline void iq3_s_put_32(const uint8_t *q, unsigned high, uint32_t signs, float scale,
                                float *w)
{
    const lanes_f table = lanes_scaled(iq3_s_values, scale);
    iq3_put_16(iq3_s_two(q, high), iq3_s_two(q + 2, high >> 2), signs, table, w);
    iq3_put_16(iq3_s_two(q + 4, high >> 4), iq3_s_two(q + 6, high >> 6), signs >> 16, table,
               w + 16);
}

static void decode_iq3_s(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 110) {
        float scale[IQ_SCALES];
        lanes_put(lanes_scaled(iq_odd, half_at(src)), scale);
        for (int k = 0; k < 4; k++, w += 64) {
            const uint8_t *q = src + 2 + 16 * k, *high = src + 66 + 2 * k;
            const uint8_t *signs = src + 74 + 8 * k;
            const unsigned sc = src[106 + k];
            iq3_s_put_32(q, high[0], load_le32(signs), scale[sc & 15], w);
            iq3_s_put_32(q + 8, high[1], load_le32(signs + 4), scale[sc >> 4], w + 32);
        }
    }
}

/* ---- one bit and a half ---- */

/* Digit - 1 + delta; bit k of the index says that the delta of half k is minus. */
#define IQ1_LESS -1.125f, -0.125f, 0.875f, 0
#define IQ1_MORE -0.875f, 0.125f, 1.125f, 0
static const float iq1_values[4][16] = {
    { IQ1_MORE, IQ1_MORE, IQ1_MORE, IQ1_MORE },
    { IQ1_LESS, IQ1_LESS, IQ1_MORE, IQ1_MORE },
    { IQ1_MORE, IQ1_MORE, IQ1_LESS, IQ1_LESS },
    { IQ1_LESS, IQ1_LESS, IQ1_LESS, IQ1_LESS },
};

static inline void iq1_put_16(uint32_t a, uint32_t b, lanes_f table, float *w)
{
    lanes_put(lanes_look_4(table, lanes_shift_each(lanes_all(a | b << 16), digits_of_2)), w);
}

static void decode_iq1_s(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 50) {
        float scale[IQ_SCALES];
        lanes_put(lanes_scaled(iq_odd, half_at(src)), scale);
        for (int g = 0; g < 8; g++, w += 32) {
            const uint8_t *q = src + 2 + 4 * g;
            const unsigned high = load_le16(src + 34 + 2 * g);
            const lanes_f table = lanes_scaled(iq1_values[(high >> 15) * 3], scale[high >> 12 & 7]);
            iq1_put_16(iq1s_grid[q[0] | (high << 8 & 0x700)], iq1s_grid[q[1] | (high << 5 & 0x700)],
                       table, w);
            iq1_put_16(iq1s_grid[q[2] | (high << 2 & 0x700)], iq1s_grid[q[3] | (high >> 1 & 0x700)],
                       table, w + 16);
        }
    }
}

/* The half that lies in the high nibbles of the scales. */
static inline uint16_t iq1_m_scale(const uint8_t *sc)
{
    return (uint16_t)(sc[1] >> 4 | (sc[3] & 0xf0) | (sc[5] & 0xf0) << 4 | (sc[7] & 0xf0) << 8);
}

static inline void iq1_m_put_16(const uint8_t *q, unsigned high, float scale, float *w)
{
    const unsigned less = (high >> 3 & 1) | (high >> 6 & 2);
    iq1_put_16(iq1s_grid[q[0] | (high << 8 & 0x700)], iq1s_grid[q[1] | (high << 4 & 0x700)],
               lanes_scaled(iq1_values[less], scale), w);
}

static void decode_iq1_m(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 56) {
        float scale[IQ_SCALES];
        lanes_put(lanes_scaled(iq_odd, _cvtsh_ss(iq1_m_scale(src + 48))), scale);
        for (int k = 0; k < 4; k++, w += 64) {
            const uint8_t *q = src + 8 * k, *high = src + 32 + 4 * k;
            const unsigned sc = load_le16(src + 48 + 2 * k);
            iq1_m_put_16(q, high[0], scale[sc & 7], w);
            iq1_m_put_16(q + 2, high[1], scale[sc >> 3 & 7], w + 16);
            iq1_m_put_16(q + 4, high[2], scale[sc >> 6 & 7], w + 32);
            iq1_m_put_16(q + 6, high[3], scale[sc >> 9 & 7], w + 48);
        }
    }
}

/* ---- four bits that name values ---- */

static const float iq4_values[16] = { -127, -104, -83, -65, -49, -35, -22, -10,
                                      1,    13,   25,  38,  53,  69,  89,  113 };

static inline void iq4_put_32(const uint8_t *qs, float scale, float *w)
{
    const lanes_f table = lanes_scaled(iq4_values, scale);
    const lanes_i codes = lanes_bytes(load_16(qs));
    lanes_put(lanes_look_16(table, codes), w);
    lanes_put(lanes_look_16(table, lanes_shift(codes, 4)), w + 16);
}

static void decode_iq4_nl(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++)
        iq4_put_32(src + 18 * i + 2, half_at(src + 18 * i), w + 32 * i);
}

static void decode_iq4_xs(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 136) {
        const float d = half_at(src);
        const unsigned high = load_le16(src + 2);
        const uint32_t low = load_le32(src + 4);
        for (int g = 0; g < 8; g++, w += 32) {
            const int code = (int)((low >> 4 * g & 15) | (high >> 2 * g & 3) << 4);
            iq4_put_32(src + 8 + 16 * g, d * (float)(code - 32), w);
        }
    }
}

#else

BLOCK_AFTER_BLOCK(iq2_xxs, 256, 66)
BLOCK_AFTER_BLOCK(iq2_xs, 256, 74)
BLOCK_AFTER_BLOCK(iq2_s, 256, 82)
BLOCK_AFTER_BLOCK(iq3_xxs, 256, 98)
BLOCK_AFTER_BLOCK(iq3_s, 256, 110)
BLOCK_AFTER_BLOCK(iq1_s, 256, 50)
BLOCK_AFTER_BLOCK(iq1_m, 256, 56)
BLOCK_AFTER_BLOCK(iq4_nl, 32, 18)
BLOCK_AFTER_BLOCK(iq4_xs, 256, 136)

#endif
