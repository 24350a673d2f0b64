/* Integer codes with a scale and a zero per group, straight from the packed words.  Part of
 * kernels.inc.c; where there are no lanes: none, and codes are unpacked to bytes first.
 *
 * Up to four bits pick their weight from the table of a group, (t - zero) * s for every code t.
 * Where words of many rows lie side by side, lanes are rows: sixteen columns of them are scaled,
 * and then turned. */
#include "lanes.h"

#ifdef HAVE_LANES

/* Every code of a width; lookups of three bits read four, those of two in each quarter. */
static const uint8_t codes_of[5][16] = {
    [2] = { 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3 },
    [3] = { 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7 },
    [4] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 },
};

static inline lanes_f times_less(__m128i codes, int32_t zero, float s)
{
    const lanes_i q = lanes_add(lanes_bytes(codes), lanes_all((uint32_t)-zero));
    return lanes_times(lanes_float(q), s);
}

static inline lanes_f codes_less(unsigned bits, int32_t zero)
{
    return lanes_float(lanes_add(lanes_bytes(load_16(codes_of[bits])), lanes_all((uint32_t)-zero)));
}

/* 16 codes of a stream; above a code stand bits of others. */
static inline lanes_i take_16(const uint8_t *src, unsigned bits)
{
    if (bits == 2) return lanes_shift_each(lanes_all(load_le32(src)), digits_of_2);
    if (bits == 3)
        return lanes_shift_each(lanes_halves(load_le32(src), load_le32(src + 2) >> 8), digits_of_3);
    return lanes_shift_each(lanes_halves(load_le32(src), load_le32(src + 4)), digits_of_4);
}

static inline lanes_f look_up(lanes_f table, lanes_i index, unsigned bits)
{
    if (bits == 2) return lanes_look_4(table, index);
    return bits == 3 ? lanes_look_8(table, index) : lanes_look_16(table, index);
}

static inline void stream_groups(unsigned bits, const uint8_t *restrict src, size_t groups,
                                 size_t group, const int32_t *restrict zero,
                                 const float *restrict s, size_t step, float *restrict w)
{
    int32_t less = *zero; /* mostly that of all */
    lanes_f base = codes_less(bits, less);
    for (size_t g = 0; g < groups; g++) {
        if (zero[g * step] != less) base = codes_less(bits, less = zero[g * step]);
        const lanes_f table = lanes_times(base, s[g * step]);
        for (size_t i = 0; i < group; i += 16, w += 16, src += 2 * bits)
            lanes_put(look_up(table, take_16(src, bits), bits), w);
    }
}

static void stream_groups_8(const uint8_t *restrict src, size_t groups, size_t group,
                            const int32_t *restrict zero, const float *restrict s, size_t step,
                            float *restrict w)
{
    for (size_t g = 0; g < groups; g++)
        for (size_t i = 0; i < group; i += 16, w += 16, src += 16)
            lanes_put(times_less(load_16(src), zero[g * step], s[g * step]), w);
}

static void signed_groups(const uint8_t *restrict src, size_t groups, size_t group,
                          const int32_t *restrict zero, const float *restrict s, size_t step,
                          float *restrict w)
{
    for (size_t g = 0; g < groups; g++) {
        const float scale = s[g * step];
        const lanes_i less = lanes_all((uint32_t)(128 - zero[g * step]));
        for (size_t i = 0; i < group; i += 16, w += 16, src += 16) {
            const lanes_i q = lanes_signed(load_16(src));
            lanes_put(lanes_times(lanes_float(lanes_add(q, less)), scale), w);
        }
    }
}

static void nibble_groups(const uint32_t *restrict word, unsigned at, size_t groups, size_t group,
                          const int32_t *restrict zero, const float *restrict s, size_t step,
                          float *restrict w)
{
    for (size_t g = 0; g < groups; g++) {
        const lanes_f table = lanes_times(codes_less(4, zero[g * step]), s[g * step]);
        for (size_t i = 0; i < group; i += 16, w += 16, word += 16)
            lanes_put(lanes_look_16(table, lanes_shift(lanes_words(word), at)), w);
    }
}

/* ---- words side by side ---- */

/* 8 columns of 16 rows, whose codes begin at bit `at` of the words at `src`; a code may end in
 * the next words. */
static inline void turned_columns(unsigned bits, const uint8_t *src, size_t stride, unsigned at,
                                  const uint32_t *group, const float *zero, const float *scale,
                                  lanes_f v[8])
{
    for (unsigned k = 0; k < 8; k++) {
        const unsigned bit = at + k * bits, by = bit % 32;
        const uint8_t *p = src + bit / 32 * stride;
        lanes_i q = lanes_shift(lanes_words_at(p), by);
        if (by + bits > 32) q = lanes_or(q, lanes_shift_up(lanes_words_at(p + stride), 32 - by));
        v[k] = lanes_float(lanes_and(q, (1u << bits) - 1));
        v[k] = lanes_times_all(lanes_less_all(v[k], zero + 16 * group[k]), scale + 16 * group[k]);
    }
}

static inline void turned_square(unsigned bits, const uint8_t *src, size_t stride, unsigned at,
                                 const uint32_t *group, const float *zero, const float *scale,
                                 float *w, size_t w_stride)
{
    lanes_f v[16];
    turned_columns(bits, src, stride, at, group, zero, scale, v);
    turned_columns(bits, src, stride, at + 8 * bits, group + 8, zero, scale, v + 8);
    lanes_turn(v);
    for (size_t i = 0; i < 16; i++) lanes_put(v[i], w + i * w_stride);
}

static inline void turned(unsigned bits, const uint8_t *src, size_t stride, size_t cols,
                          const uint32_t *group, const float *zero, const float *scale, float *w,
                          size_t w_stride)
{
    for (size_t c = 0; c < cols; c += 16, src += bits / 2 * stride)
        turned_square(bits, src, stride, 0, group + c, zero, scale, w + c, w_stride);
}

/* Three bits: every other square begins in the middle of words. */
static inline void turned_odd(const uint8_t *src, size_t stride, size_t cols, const uint32_t *group,
                              const float *zero, const float *scale, float *w, size_t w_stride)
{
    for (size_t c = 0; c < cols; c += 16)
        turned_square(3, src + c / 32 * 3 * stride + c % 32 / 16 * stride, stride,
                      (unsigned)(c % 32), group + c, zero, scale, w + c, w_stride);
}

#define WIDTH(bits)                                                                                \
    static void turned_##bits(const uint8_t *restrict src, size_t stride, size_t cols,             \
                              const uint32_t *restrict group, const float *restrict zero,          \
                              const float *restrict scale, float *restrict w, size_t w_stride)     \
    {                                                                                              \
        if (bits == 3)                                                                             \
            turned_odd(src, stride, cols, group, zero, scale, w, w_stride);                        \
        else                                                                                       \
            turned(bits, src, stride, cols, group, zero, scale, w, w_stride);                      \
    }
#define NARROW(bits)                                                                               \
    static void stream_groups_##bits(const uint8_t *restrict src, size_t groups, size_t group,     \
                                     const int32_t *restrict zero, const float *restrict s,        \
                                     size_t step, float *restrict w)                               \
    {                                                                                              \
        stream_groups(bits, src, groups, group, zero, s, step, w);                                 \
    }                                                                                              \
    WIDTH(bits)
NARROW(2)
NARROW(3)
NARROW(4)
WIDTH(8)
#undef NARROW
#undef WIDTH

#endif
