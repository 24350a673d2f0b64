/* Sixteen weights at a time, for decoders that look values up: one AVX-512 register, or two of
 * AVX2.  Only where the compiler was told to use them (HAVE_LANES).
 *
 * A code of a few bits picks its value from a table that was multiplied by the scale before:
 * the product is the one that a weight by itself would have got. */
#ifndef GLMQ_CODECS_LANES_H
#define GLMQ_CODECS_LANES_H

#ifdef __AVX2__
#define HAVE_LANES 1

#include "base/num.h"
#include "base/safe.h"
#include <immintrin.h>

/* A half; a signalling NaN is made quiet, as the product with it would. */
static inline float half_at(const uint8_t *p)
{
    return _cvtsh_ss(load_le16(p));
}

static inline __m128i load_16(const uint8_t *p)
{
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline void put_f16(__m256 lo, __m256 hi, uint8_t *p)
{
    __m128i *to = (__m128i *)(void *)p;
    _mm_storeu_si128(to, _mm256_cvtps_ph(lo, _MM_FROUND_TO_NEAREST_INT));
    _mm_storeu_si128(to + 1, _mm256_cvtps_ph(hi, _MM_FROUND_TO_NEAREST_INT));
}

/* Where digits of two bits begin in a word, and eight of three or four bits in each of two. */
static const uint32_t digits_of_2[16] = {
    0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
};
static const uint32_t digits_of_3[16] = { 0, 3, 6, 9, 12, 15, 18, 21, 0, 3, 6, 9, 12, 15, 18, 21 };
static const uint32_t digits_of_4[16] = {
    0, 4, 8, 12, 16, 20, 24, 28, 0, 4, 8, 12, 16, 20, 24, 28
};

/* Eight rows of eight become columns. */
static inline void turn_8(__m256 v[8])
{
    __m256 a[8], b[8];
    for (int i = 0; i < 8; i += 2) {
        a[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        b[i] = _mm256_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm256_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm256_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (int i = 0; i < 4; i++) {
        v[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
        v[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
    }
}

/* Eight rows of eight halves become columns. */
static inline void turn_8_halves(__m128i v[8])
{
    __m128i a[8], b[8];
    for (int i = 0; i < 4; i++) { /* rows i and i + 4, column by column */
        a[2 * i] = _mm_unpacklo_epi16(v[i], v[i + 4]);
        a[2 * i + 1] = _mm_unpackhi_epi16(v[i], v[i + 4]);
    }
    for (int i = 0; i < 4; i++) { /* every other row */
        b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
        b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
    }
    for (int i = 0; i < 4; i++) { /* all */
        v[2 * i] = _mm_unpacklo_epi16(b[i], b[i + 4]);
        v[2 * i + 1] = _mm_unpackhi_epi16(b[i], b[i + 4]);
    }
}

#ifdef __AVX512BW__

typedef __m512i lanes_i;
typedef __m512 lanes_f;

static inline lanes_i lanes_all(uint32_t v)
{
    return _mm512_set1_epi32((int)v);
}

/* a in lanes 0..7, b in lanes 8..15. */
static inline lanes_i lanes_halves(uint32_t a, uint32_t b)
{
    return _mm512_mask_set1_epi32(_mm512_set1_epi32((int)a), 0xff00, (int)b);
}

static inline lanes_i lanes_bytes(__m128i bytes)
{
    return _mm512_cvtepu8_epi32(bytes);
}

static inline lanes_i lanes_shift(lanes_i v, unsigned by)
{
    return _mm512_srli_epi32(v, by);
}

static inline lanes_i lanes_shift_each(lanes_i v, const uint32_t by[16])
{
    return _mm512_srlv_epi32(v, _mm512_loadu_si512(by));
}

static inline lanes_i lanes_words(const uint32_t *p)
{
    return _mm512_loadu_si512(p);
}

static inline lanes_i lanes_words_at(const uint8_t *p)
{
    return _mm512_loadu_si512(p);
}

static inline lanes_i lanes_or(lanes_i a, lanes_i b)
{
    return _mm512_or_si512(a, b);
}

static inline lanes_i lanes_shift_up(lanes_i v, unsigned by)
{
    return _mm512_slli_epi32(v, by);
}

static inline lanes_f lanes_less_all(lanes_f v, const float s[16])
{
    return _mm512_sub_ps(v, _mm512_loadu_ps(s));
}

static inline lanes_f lanes_times_all(lanes_f v, const float s[16])
{
    return _mm512_mul_ps(v, _mm512_loadu_ps(s));
}

/* Quarters of two or four rows: 0 and 2 of a, of b; 1 and 3. */
static inline __m512 quarters(__m512 a, __m512 b, int odd)
{
    return odd ? _mm512_shuffle_f32x4(a, b, 0xdd) : _mm512_shuffle_f32x4(a, b, 0x88);
}

/* Sixteen rows of sixteen become columns: squares of four within quarters, then quarters. */
static inline void lanes_turn(lanes_f v[16])
{
    __m512 a[16], b[16];
    for (int i = 0; i < 16; i += 2) {
        a[i] = _mm512_unpacklo_ps(v[i], v[i + 1]);
        a[i + 1] = _mm512_unpackhi_ps(v[i], v[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) { /* b[i + k]: column 4q + k of rows i..i+3 in quarter q */
        b[i] = _mm512_shuffle_ps(a[i], a[i + 2], 0x44);
        b[i + 1] = _mm512_shuffle_ps(a[i], a[i + 2], 0xee);
        b[i + 2] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0x44);
        b[i + 3] = _mm512_shuffle_ps(a[i + 1], a[i + 3], 0xee);
    }
    for (int k = 0; k < 4; k++)
        for (int odd = 0; odd < 2; odd++) { /* columns k and 8 + k, or 4 + k and 12 + k */
            const __m512 x = quarters(b[k], b[4 + k], odd), y = quarters(b[8 + k], b[12 + k], odd);
            v[4 * odd + k] = quarters(x, y, 0);
            v[4 * odd + k + 8] = quarters(x, y, 1);
        }
}

static inline lanes_i lanes_and(lanes_i a, uint32_t mask)
{
    return _mm512_and_si512(a, lanes_all(mask));
}

static inline lanes_i lanes_add(lanes_i a, lanes_i b)
{
    return _mm512_add_epi32(a, b);
}

/* Products below 2^16. */
static inline lanes_i lanes_times_each(lanes_i a, const uint32_t b[16])
{
    return _mm512_mullo_epi16(a, _mm512_loadu_si512(b));
}

static inline lanes_f lanes_same(float v)
{
    return _mm512_set1_ps(v);
}

static inline lanes_f lanes_scaled(const float values[16], float s)
{
    return _mm512_mul_ps(_mm512_loadu_ps(values), _mm512_set1_ps(s));
}

static inline lanes_f lanes_times(lanes_f v, float s)
{
    return _mm512_mul_ps(v, _mm512_set1_ps(s));
}

static inline lanes_f lanes_less(lanes_f v, float s)
{
    return _mm512_sub_ps(v, _mm512_set1_ps(s));
}

static inline lanes_f lanes_plus(lanes_f v, float s)
{
    return _mm512_add_ps(v, _mm512_set1_ps(s));
}

static inline lanes_i lanes_signed(__m128i bytes)
{
    return _mm512_cvtepi8_epi32(bytes);
}

static inline lanes_f lanes_float(lanes_i v)
{
    return _mm512_cvtepi32_ps(v);
}

/* The entry that the low two bits name, among the four of the lane's own quarter. */
static inline lanes_f lanes_look_4(lanes_f table, lanes_i code)
{
    return _mm512_permutevar_ps(table, code);
}

/* … the low three bits; entries 8..15 are 0..7 once more. */
static inline lanes_f lanes_look_8(lanes_f table, lanes_i code)
{
    return _mm512_permutexvar_ps(code, table);
}

/* … the low four bits. */
static inline lanes_f lanes_look_16(lanes_f table, lanes_i code)
{
    return _mm512_permutexvar_ps(code, table);
}

/* Minus where the lane's bit is set. */
static inline lanes_f lanes_flip(lanes_f v, unsigned signs)
{
    const __m512i bits = _mm512_castps_si512(v), sign = _mm512_set1_epi32(INT32_MIN);
    return _mm512_castsi512_ps(_mm512_mask_xor_epi32(bits, (__mmask16)signs, bits, sign));
}

static inline lanes_f lanes_get(const float *w)
{
    return _mm512_loadu_ps(w);
}

static inline void lanes_put(lanes_f v, float *w)
{
    _mm512_storeu_ps(w, v);
}

static inline int lanes_any_nan(lanes_f v)
{
    return _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q) != 0;
}

static inline int lanes_either_nan(lanes_f a, lanes_f b)
{
    return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q) != 0;
}

/* Halves, as the machine converts them: only NaN is not as in base/num.h. */
static inline lanes_f lanes_from_f16(__m256i halves)
{
    return _mm512_cvtph_ps(halves);
}

static inline void lanes_put_f16(lanes_f v, uint8_t *p)
{
    put_f16(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1), p);
}

#else

typedef struct lanes_i {
    __m256i lo, hi;
} lanes_i;

typedef struct lanes_f {
    __m256 lo, hi;
} lanes_f;

static inline lanes_i lanes_halves(uint32_t a, uint32_t b)
{
    return (lanes_i){ _mm256_set1_epi32((int)a), _mm256_set1_epi32((int)b) };
}

static inline lanes_i lanes_all(uint32_t v)
{
    return lanes_halves(v, v);
}

static inline lanes_i lanes_bytes(__m128i bytes)
{
    return (lanes_i){ _mm256_cvtepu8_epi32(bytes),
                      _mm256_cvtepu8_epi32(_mm_unpackhi_epi64(bytes, bytes)) };
}

static inline lanes_i lanes_shift(lanes_i v, unsigned by)
{
    return (lanes_i){ _mm256_srli_epi32(v.lo, (int)by), _mm256_srli_epi32(v.hi, (int)by) };
}

static inline __m256i load_8_words(const uint32_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

static inline lanes_i lanes_shift_each(lanes_i v, const uint32_t by[16])
{
    return (lanes_i){ _mm256_srlv_epi32(v.lo, load_8_words(by)),
                      _mm256_srlv_epi32(v.hi, load_8_words(by + 8)) };
}

static inline lanes_i lanes_words(const uint32_t *p)
{
    return (lanes_i){ load_8_words(p), load_8_words(p + 8) };
}

static inline lanes_i lanes_words_at(const uint8_t *p)
{
    const __m256i *at = (const __m256i *)(const void *)p;
    return (lanes_i){ _mm256_loadu_si256(at), _mm256_loadu_si256(at + 1) };
}

static inline lanes_i lanes_or(lanes_i a, lanes_i b)
{
    return (lanes_i){ _mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi) };
}

static inline lanes_i lanes_shift_up(lanes_i v, unsigned by)
{
    return (lanes_i){ _mm256_slli_epi32(v.lo, (int)by), _mm256_slli_epi32(v.hi, (int)by) };
}

static inline lanes_f lanes_less_all(lanes_f v, const float s[16])
{
    return (lanes_f){ _mm256_sub_ps(v.lo, _mm256_loadu_ps(s)),
                      _mm256_sub_ps(v.hi, _mm256_loadu_ps(s + 8)) };
}

static inline lanes_f lanes_times_all(lanes_f v, const float s[16])
{
    return (lanes_f){ _mm256_mul_ps(v.lo, _mm256_loadu_ps(s)),
                      _mm256_mul_ps(v.hi, _mm256_loadu_ps(s + 8)) };
}

static inline lanes_i lanes_and(lanes_i a, uint32_t mask)
{
    const __m256i m = _mm256_set1_epi32((int)mask);
    return (lanes_i){ _mm256_and_si256(a.lo, m), _mm256_and_si256(a.hi, m) };
}

static inline lanes_i lanes_add(lanes_i a, lanes_i b)
{
    return (lanes_i){ _mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi) };
}

static inline lanes_i lanes_times_each(lanes_i a, const uint32_t b[16])
{
    return (lanes_i){ _mm256_mullo_epi16(a.lo, load_8_words(b)),
                      _mm256_mullo_epi16(a.hi, load_8_words(b + 8)) };
}

static inline lanes_f lanes_same(float v)
{
    return (lanes_f){ _mm256_set1_ps(v), _mm256_set1_ps(v) };
}

static inline lanes_f lanes_times(lanes_f v, float s)
{
    const __m256 m = _mm256_set1_ps(s);
    return (lanes_f){ _mm256_mul_ps(v.lo, m), _mm256_mul_ps(v.hi, m) };
}

static inline lanes_f lanes_less(lanes_f v, float s)
{
    const __m256 m = _mm256_set1_ps(s);
    return (lanes_f){ _mm256_sub_ps(v.lo, m), _mm256_sub_ps(v.hi, m) };
}

static inline lanes_f lanes_plus(lanes_f v, float s)
{
    const __m256 m = _mm256_set1_ps(s);
    return (lanes_f){ _mm256_add_ps(v.lo, m), _mm256_add_ps(v.hi, m) };
}

static inline lanes_i lanes_signed(__m128i bytes)
{
    return (lanes_i){ _mm256_cvtepi8_epi32(bytes),
                      _mm256_cvtepi8_epi32(_mm_unpackhi_epi64(bytes, bytes)) };
}

static inline lanes_f lanes_float(lanes_i v)
{
    return (lanes_f){ _mm256_cvtepi32_ps(v.lo), _mm256_cvtepi32_ps(v.hi) };
}

static inline lanes_f lanes_scaled(const float values[16], float s)
{
    return lanes_times((lanes_f){ _mm256_loadu_ps(values), _mm256_loadu_ps(values + 8) }, s);
}

static inline lanes_f lanes_look_4(lanes_f table, lanes_i code)
{
    return (lanes_f){ _mm256_permutevar_ps(table.lo, code.lo),
                      _mm256_permutevar_ps(table.hi, code.hi) };
}

static inline lanes_f lanes_look_8(lanes_f table, lanes_i code)
{
    return (lanes_f){ _mm256_permutevar8x32_ps(table.lo, code.lo),
                      _mm256_permutevar8x32_ps(table.lo, code.hi) };
}

/* Bit 3 chooses the half of the table. */
static inline __m256 look_16(lanes_f table, __m256i code)
{
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(table.lo, code),
                            _mm256_permutevar8x32_ps(table.hi, code),
                            _mm256_castsi256_ps(_mm256_slli_epi32(code, 28)));
}

static inline lanes_f lanes_look_16(lanes_f table, lanes_i code)
{
    return (lanes_f){ look_16(table, code.lo), look_16(table, code.hi) };
}

static inline __m256 flip_8(__m256 v, __m256i signs, __m256i up)
{
    const __m256i minus =
        _mm256_and_si256(_mm256_sllv_epi32(signs, up), _mm256_set1_epi32(INT32_MIN));
    return _mm256_xor_ps(v, _mm256_castsi256_ps(minus));
}

static inline lanes_f lanes_flip(lanes_f v, unsigned signs)
{
    const __m256i all = _mm256_set1_epi32((int)signs);
    return (lanes_f){ flip_8(v.lo, all, _mm256_setr_epi32(31, 30, 29, 28, 27, 26, 25, 24)),
                      flip_8(v.hi, all, _mm256_setr_epi32(23, 22, 21, 20, 19, 18, 17, 16)) };
}

static inline lanes_f lanes_get(const float *w)
{
    return (lanes_f){ _mm256_loadu_ps(w), _mm256_loadu_ps(w + 8) };
}

static inline void lanes_put(lanes_f v, float *w)
{
    _mm256_storeu_ps(w, v.lo);
    _mm256_storeu_ps(w + 8, v.hi);
}

static inline int lanes_any_nan(lanes_f v)
{
    const __m256 lo = _mm256_cmp_ps(v.lo, v.lo, _CMP_UNORD_Q);
    const __m256 hi = _mm256_cmp_ps(v.hi, v.hi, _CMP_UNORD_Q);
    return _mm256_movemask_ps(_mm256_or_ps(lo, hi)) != 0;
}

static inline int lanes_either_nan(lanes_f a, lanes_f b)
{
    const __m256 lo = _mm256_cmp_ps(a.lo, b.lo, _CMP_UNORD_Q);
    const __m256 hi = _mm256_cmp_ps(a.hi, b.hi, _CMP_UNORD_Q);
    return _mm256_movemask_ps(_mm256_or_ps(lo, hi)) != 0;
}

static inline lanes_f lanes_from_f16(__m256i halves)
{
    return (lanes_f){ _mm256_cvtph_ps(_mm256_castsi256_si128(halves)),
                      _mm256_cvtph_ps(_mm256_extracti128_si256(halves, 1)) };
}

static inline void lanes_put_f16(lanes_f v, uint8_t *p)
{
    put_f16(v.lo, v.hi, p);
}

/* Sixteen rows of sixteen become columns. */
static inline void lanes_turn(lanes_f v[16])
{
    __m256 square[4][8]; /* rows 0..7, columns 0..7 and 8..15; rows 8..15 */
    for (int i = 0; i < 16; i++) {
        square[i / 8 * 2][i % 8] = v[i].lo;
        square[i / 8 * 2 + 1][i % 8] = v[i].hi;
    }
    for (int i = 0; i < 4; i++) turn_8(square[i]);
    for (int i = 0; i < 8; i++) {
        v[i] = (lanes_f){ square[0][i], square[2][i] };
        v[i + 8] = (lanes_f){ square[1][i], square[3][i] };
    }
}

#endif

static inline lanes_f lanes_get_f16(const uint8_t *p)
{
    return lanes_from_f16(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

/* E4M3, but 2^8 too small: its exponent and mantissa, read as a half.  NaN would be 1.875
 * (0x3f80) and becomes the NaN 0x7e00. */
static inline lanes_f lanes_from_e4m3(__m128i codes)
{
    const __m256i most = _mm256_set1_epi16(0x3f80), sign_too = _mm256_set1_epi16((int16_t)0xbf80);
    const __m256i shifted = _mm256_slli_epi16(_mm256_cvtepi8_epi16(codes), 7);
    const __m256i nan = _mm256_cmpeq_epi16(_mm256_and_si256(shifted, most), most);
    const __m256i change = _mm256_and_si256(nan, _mm256_set1_epi16(0x3f80 ^ 0x7e00));
    return lanes_from_f16(_mm256_xor_si256(_mm256_and_si256(shifted, sign_too), change));
}
#endif
#endif
