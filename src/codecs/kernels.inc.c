/* The hot loops, compiled once per instruction-set level (kernels_base.c, _avx2.c,
 * _avx512.c) under the name KERNELS.  Plain loops that compilers vectorize unaided: floats
 * see one operation per element, reductions are of integers, so every level and compiler
 * gives the same bits.  What no compiler vectorizes, lookups, is in files of its own. */
#include "block.h"
#include "kernels.h"
#include "lanes.h"
#include "q4_0_block.h"
#include "q4_1_block.h"
#include "q5_0_block.h"
#include "q5_1_block.h"
#include "q8_0_block.h"
#include "tq3_kernels.inc.c"

/* ---- plain floats ---- */

static void widen_f16_each(const uint8_t *restrict src, size_t n, float *restrict w)
{
    for (size_t i = 0; i < n; i++) w[i] = f32_from_f16(load_le16(src + 2 * i));
}

/* The machine's own conversion where there is one; it has other rules for NaN only. */
static void widen_f16(const uint8_t *restrict src, size_t n, float *restrict w)
{
    size_t i = 0;
#ifdef HAVE_LANES
    for (; i + 32 <= n; i += 32) {
        const lanes_f a = lanes_get_f16(src + 2 * i), b = lanes_get_f16(src + 2 * i + 32);
        lanes_put(a, w + i);
        lanes_put(b, w + i + 16);
        if (lanes_either_nan(a, b)) widen_f16_each(src + 2 * i, 32, w + i);
    }
#endif
    widen_f16_each(src + 2 * i, n - i, w + i);
}

static void widen_bf16(const uint8_t *restrict src, size_t n, float *restrict w)
{
    for (size_t i = 0; i < n; i++) w[i] = f32_from_bf16(load_le16(src + 2 * i));
}

static void widen_f32(const uint8_t *restrict src, size_t n, float *restrict w)
{
    memcpy(w, src, n * sizeof *w);
}

static void narrow_f16_each(const float *restrict w, size_t n, uint8_t *restrict dst)
{
    for (size_t i = 0; i < n; i++) store_le16(dst + 2 * i, f16_from_f32(w[i]));
}

static void narrow_f16(const float *restrict w, size_t n, uint8_t *restrict dst)
{
    size_t i = 0;
#ifdef HAVE_LANES
    for (; i + 16 <= n; i += 16) {
        const lanes_f v = lanes_get(w + i);
        lanes_put_f16(v, dst + 2 * i);
        if (lanes_any_nan(v)) narrow_f16_each(w + i, 16, dst + 2 * i);
    }
#endif
    narrow_f16_each(w + i, n - i, dst + 2 * i);
}

static void narrow_bf16(const float *restrict w, size_t n, uint8_t *restrict dst)
{
    for (size_t i = 0; i < n; i++) store_le16(dst + 2 * i, bf16_from_f32(w[i]));
}

static void narrow_f32(const float *restrict w, size_t n, uint8_t *restrict dst)
{
    memcpy(dst, w, n * sizeof *w);
}

/* A power of two that does not overflow may go into the scale: the product is the same. */
static void scale_e4m3(const uint8_t *restrict q, size_t n, float s, float *restrict w)
{
    size_t i = 0;
#ifdef HAVE_LANES
    const int fits = s > -0x1p119f && s < 0x1p119f;
    for (; fits && i + 16 <= n; i += 16)
        lanes_put(lanes_times(lanes_from_e4m3(load_16(q + i)), s * 256.0f), w + i);
#endif
    for (; i < n; i++) w[i] = f32_from_e4m3(q[i]) * s;
}

/* ---- bit streams ---- */

/* Any width: code i is bits [bits * i, bits * i + bits) of the stream. */
static inline void unpack_stream(const uint8_t *src, size_t first, size_t n, unsigned bits,
                                 uint8_t *q)
{
    const unsigned mask = (1u << bits) - 1;
    for (size_t i = first; i < n; i++) {
        const size_t at = i * bits / 8;
        const unsigned shift = (unsigned)(i * bits % 8);
        unsigned v = src[at];
        if (shift + bits > 8) v |= (unsigned)src[at + 1] << 8;
        q[i] = (uint8_t)(v >> shift & mask);
    }
}

/* `first` stands at a byte boundary. */
static inline void pack_stream(const uint8_t *q, size_t first, size_t n, unsigned bits,
                               uint8_t *dst)
{
    unsigned held = 0, have = 0;
    uint8_t *out = dst + first * bits / 8;
    for (size_t i = first; i < n; i++) {
        held |= (unsigned)q[i] << have;
        have += bits;
        for (; have >= 8; have -= 8, held >>= 8) *out++ = (uint8_t)held;
    }
    if (have) *out = (uint8_t)held;
}

/* Eight codes are `bits` bytes: one 64-bit word holds them all. */
static inline void unpack_eights(const uint8_t *restrict src, size_t n, unsigned bits,
                                 uint8_t *restrict q)
{
    const uint64_t mask = (UINT64_C(1) << bits) - 1;
    size_t i = 0;
    for (; i + 8 <= n && (i + 8) * bits / 8 + 8 - bits <= (n * bits + 7) / 8; i += 8) {
        const uint64_t v = load_le64(src + i * bits / 8);
        for (unsigned j = 0; j < 8; j++) q[i + j] = (uint8_t)(v >> (bits * j) & mask);
    }
    unpack_stream(src, i, n, bits, q);
}

static inline void pack_eights(const uint8_t *restrict q, size_t n, unsigned bits,
                               uint8_t *restrict dst)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t v = 0;
        for (unsigned j = 0; j < 8; j++) v |= (uint64_t)q[i + j] << (bits * j);
        memcpy(dst + i * bits / 8, &v, bits);
    }
    pack_stream(q, i, n, bits, dst);
}

static void unpack_2(const uint8_t *restrict src, size_t n, uint8_t *restrict q)
{
    for (size_t i = 0; i < n / 4; i++) {
        q[4 * i] = src[i] & 3;
        q[4 * i + 1] = src[i] >> 2 & 3;
        q[4 * i + 2] = src[i] >> 4 & 3;
        q[4 * i + 3] = src[i] >> 6;
    }
    unpack_stream(src, n / 4 * 4, n, 2, q);
}

static void pack_2(const uint8_t *restrict q, size_t n, uint8_t *restrict dst)
{
    for (size_t i = 0; i < n / 4; i++)
        dst[i] = (uint8_t)(q[4 * i] | q[4 * i + 1] << 2 | q[4 * i + 2] << 4 | q[4 * i + 3] << 6);
    pack_stream(q, n / 4 * 4, n, 2, dst);
}

/* Thirty-two codes out of sixteen bytes, and back. */
#ifdef HAVE_LANES
enum { NIBBLES = 32 };

static inline void spread_nibbles(const uint8_t *src, uint8_t *q)
{
    const __m256i v = _mm256_cvtepu8_epi16(load_16(src));
    const __m256i both = _mm256_or_si256(v, _mm256_slli_epi16(v, 4));
    _mm256_storeu_si256((__m256i *)(void *)q, _mm256_and_si256(both, _mm256_set1_epi8(15)));
}

static inline void join_nibbles(const uint8_t *q, uint8_t *dst)
{
    const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)q);
    const __m256i pairs = _mm256_maddubs_epi16(v, _mm256_set1_epi16(0x1001)); /* low + 16 high */
    const __m256i bytes = _mm256_packus_epi16(pairs, pairs);
    const __m256i joined = _mm256_permute4x64_epi64(bytes, 0x08);
    _mm_storeu_si128((__m128i *)(void *)dst, _mm256_castsi256_si128(joined));
}
#else
enum { NIBBLES = 2 };

static inline void spread_nibbles(const uint8_t *src, uint8_t *q)
{
    q[0] = *src & 15;
    q[1] = *src >> 4;
}

static inline void join_nibbles(const uint8_t *q, uint8_t *dst)
{
    *dst = (uint8_t)(q[0] | q[1] << 4);
}
#endif

static void unpack_4(const uint8_t *restrict src, size_t n, uint8_t *restrict q)
{
    size_t i = 0;
    for (; i + NIBBLES <= n; i += NIBBLES) spread_nibbles(src + i / 2, q + i);
    for (; i < n; i++) q[i] = src[i / 2] >> i % 2 * 4 & 15;
}

static void pack_4(const uint8_t *restrict q, size_t n, uint8_t *restrict dst)
{
    size_t i = 0;
    for (; i + NIBBLES <= n; i += NIBBLES) join_nibbles(q + i, dst + i / 2);
    for (; i + 2 <= n; i += 2) dst[i / 2] = (uint8_t)(q[i] | q[i + 1] << 4);
    if (n & 1) dst[n / 2] = q[n - 1];
}

static void unpack_8(const uint8_t *restrict src, size_t n, uint8_t *restrict q)
{
    memcpy(q, src, n);
}

static void pack_8(const uint8_t *restrict q, size_t n, uint8_t *restrict dst)
{
    memcpy(dst, q, n);
}

#define STREAM(bits)                                                                               \
    static void unpack_##bits(const uint8_t *src, size_t n, uint8_t *q)                            \
    {                                                                                              \
        unpack_eights(src, n, bits, q);                                                            \
    }                                                                                              \
    static void pack_##bits(const uint8_t *q, size_t n, uint8_t *dst)                              \
    {                                                                                              \
        pack_eights(q, n, bits, dst);                                                              \
    }
STREAM(3)
STREAM(5)
STREAM(6)
STREAM(7)
#undef STREAM

/* Three bytes hold any code of up to 16 bits; the last ones are taken byte by byte. */
static inline void unpack_any(const uint8_t *restrict src, size_t n, unsigned bits,
                              uint16_t *restrict q)
{
    const size_t bytes = (n * bits + 7) / 8;
    const uint32_t mask = (1u << bits) - 1;
    for (size_t i = 0; i < n; i++) {
        const size_t at = i * bits / 8;
        uint32_t v = src[at];
        if (at + 1 < bytes) v |= (uint32_t)src[at + 1] << 8;
        if (at + 2 < bytes) v |= (uint32_t)src[at + 2] << 16;
        q[i] = (uint16_t)(v >> i * bits % 8 & mask);
    }
}

static void unpack_wide(const uint8_t *restrict src, size_t n, unsigned bits, uint16_t *restrict q)
{
    size_t i = 0;
    if (bits == 8)
        for (; i < n; i++) q[i] = src[i];
    else if (bits == 16)
        for (; i < n; i++) q[i] = load_le16(src + 2 * i);
    else if (bits == 12) /* four codes in six bytes, spread over eight */
        for (; i + 8 <= n; i += 4) {
            const uint64_t v = load_le64(src + i / 4 * 6);
            store_le64((uint8_t *)(q + i), (v & 0xfff) | (v & 0xfff000) << 4 |
                                               (v & UINT64_C(0xfff000000)) << 8 |
                                               (v & UINT64_C(0xfff000000000)) << 12);
        }
    else
        for (; i + 8 <= n && i / 8 * bits + bits + 8 <= (n * bits + 7) / 8; i += 8)
            for (unsigned j = 0; j < 8; j++) {
                const uint64_t v = load_le64(src + i / 8 * bits + j * bits / 8);
                q[i + j] = (uint16_t)(v >> j * bits % 8 & ((1u << bits) - 1));
            }
    unpack_any(src + i / 8 * bits + i % 8 * bits / 8, n - i, bits, q + i);
}

/* ---- rows to columns ---- */

enum { SIDE = 16, HALF_SIDE = 8 }; /* words: a cache line; halves */

#ifdef HAVE_LANES

static void turn_words(const uint8_t *restrict src, size_t src_stride, uint8_t *restrict dst,
                       size_t dst_stride)
{
    lanes_f v[SIDE];
    for (size_t i = 0; i < SIDE; i++)
        v[i] = lanes_get((const float *)(const void *)(src + i * src_stride));
    lanes_turn(v);
    for (size_t i = 0; i < SIDE; i++) lanes_put(v[i], (float *)(void *)(dst + i * dst_stride));
}

static void turn_halves(const uint8_t *restrict src, size_t src_stride, uint8_t *restrict dst,
                        size_t dst_stride)
{
    __m128i v[HALF_SIDE];
    for (size_t i = 0; i < HALF_SIDE; i++) v[i] = load_16(src + i * src_stride);
    turn_8_halves(v);
    for (size_t i = 0; i < HALF_SIDE; i++)
        _mm_storeu_si128((__m128i *)(void *)(dst + i * dst_stride), v[i]);
}

#else

static void turn_words(const uint8_t *restrict src, size_t src_stride, uint8_t *restrict dst,
                       size_t dst_stride)
{
    uint32_t square[SIDE][SIDE], line[SIDE];
    for (size_t i = 0; i < SIDE; i++) memcpy(square[i], src + i * src_stride, sizeof line);
    for (size_t j = 0; j < SIDE; j++) {
        for (size_t i = 0; i < SIDE; i++) line[i] = square[i][j];
        memcpy(dst + j * dst_stride, line, sizeof line);
    }
}

static void turn_halves(const uint8_t *restrict src, size_t src_stride, uint8_t *restrict dst,
                        size_t dst_stride)
{
    for (size_t i = 0; i < HALF_SIDE; i++)
        for (size_t j = 0; j < HALF_SIDE; j++)
            memcpy(dst + j * dst_stride + 2 * i, src + i * src_stride + 2 * j, 2);
}

#endif

/* In squares of `side` elements of `each` bytes: both sides stay in a few cache lines. */
static inline void turn(const uint8_t *restrict src, size_t src_stride, size_t rows, size_t cols,
                        uint8_t *restrict dst, size_t dst_stride, size_t each, size_t side,
                        void (*square)(const uint8_t *, size_t, uint8_t *, size_t))
{
    const size_t whole_rows = rows / side * side, whole_cols = cols / side * side;

    src_stride *= each;
    dst_stride *= each;
    for (size_t r = 0; r < whole_rows; r += side)
        for (size_t c = 0; c < whole_cols; c += side)
            square(src + r * src_stride + each * c, src_stride, dst + c * dst_stride + each * r,
                   dst_stride);
    for (size_t r = 0; r < rows; r++)
        for (size_t c = r < whole_rows ? whole_cols : 0; c < cols; c++)
            memcpy(dst + c * dst_stride + each * r, src + r * src_stride + each * c, each);
}

static void transpose_words(const uint8_t *restrict src, size_t src_stride, size_t rows,
                            size_t cols, uint8_t *restrict dst, size_t dst_stride)
{
    turn(src, src_stride, rows, cols, dst, dst_stride, 4, SIDE, turn_words);
}

static void transpose_halves(const uint8_t *restrict src, size_t src_stride, size_t rows,
                             size_t cols, uint8_t *restrict dst, size_t dst_stride)
{
    turn(src, src_stride, rows, cols, dst, dst_stride, 2, HALF_SIDE, turn_halves);
}

enum { NIBBLE_RUN = 16 }; /* squares of eight columns at a time */

/* Nibble i of word k becomes nibble k of word i, in each of the squares: halves of the square
 * change places, then halves of those. */
static inline void turn_nibbles(uint32_t w[8][NIBBLE_RUN])
{
    static const uint32_t kept[3] = { 0x0000ffff, 0x00ff00ff, 0x0f0f0f0f };
    for (size_t stage = 0, apart = 4; apart; stage++, apart /= 2)
        for (size_t k = 0; k < 8; k++)
            for (size_t i = 0; !(k & apart) && i < NIBBLE_RUN; i++) {
                const uint32_t a = w[k][i], b = w[k + apart][i], low = kept[stage];
                w[k][i] = (a & low) | (b & low) << 4 * apart;
                w[k + apart][i] = (a >> 4 * apart & low) | (b & ~low);
            }
}

static void nibbles_to_streams(const uint8_t *restrict src, size_t stride, size_t cols,
                               const uint8_t order[8], uint8_t *restrict dst, size_t row)
{
    uint32_t w[8][NIBBLE_RUN] = { 0 };
    for (size_t c = 0; c < cols; c += 8 * NIBBLE_RUN) {
        const size_t n = cols - c < 8 * NIBBLE_RUN ? (cols - c) / 8 : NIBBLE_RUN;
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < 8; k++) w[k][i] = load_le32(src + 4 * (c + 8 * i + k) * stride);
        turn_nibbles(w);
        for (size_t k = 0; k < 8; k++) memcpy(dst + k * row + c / 2, w[order[k]], 4 * n);
    }
}

static void nibbles_from_streams(const uint8_t *restrict src, size_t row, size_t cols,
                                 const uint8_t order[8], uint8_t *restrict dst, size_t stride)
{
    uint32_t w[8][NIBBLE_RUN] = { 0 };
    for (size_t c = 0; c < cols; c += 8 * NIBBLE_RUN) {
        const size_t n = cols - c < 8 * NIBBLE_RUN ? (cols - c) / 8 : NIBBLE_RUN;
        for (size_t k = 0; k < 8; k++) memcpy(w[order[k]], src + k * row + c / 2, 4 * n);
        turn_nibbles(w);
        for (size_t i = 0; i < n; i++)
            for (size_t k = 0; k < 8; k++) store_le32(dst + 4 * (c + 8 * i + k) * stride, w[k][i]);
    }
}

/* ---- integers <-> floats ---- */

static void scale(const uint8_t *restrict q, size_t n, int zero, float s, float *restrict w)
{
    for (size_t i = 0; i < n; i++) w[i] = (float)(q[i] - zero) * s;
}

static void plus_zero(float *w, size_t n)
{
    for (size_t i = 0; i < n; i++) w[i] += 0.0f;
}

/* The usual group lengths are constants, so that their loops unroll. */
static void scale_groups(const uint8_t *restrict q, size_t groups, size_t group,
                         const int32_t *restrict zero, const float *restrict s, float *restrict w)
{
    for (size_t g = 0; g < groups; g++) {
        if (group == 32)
            for (size_t i = 0; i < 32; i++) w[i] = (float)(q[i] - zero[g]) * s[g];
        else if (group == 128)
            for (size_t i = 0; i < 128; i++) w[i] = (float)(q[i] - zero[g]) * s[g];
        else
            for (size_t i = 0; i < group; i++) w[i] = (float)(q[i] - zero[g]) * s[g];
        q += group;
        w += group;
    }
}

/* Eight bytes at a time: both lengths are multiples. */
static const uint64_t LOW_NIBBLES = UINT64_C(0x0f0f0f0f0f0f0f0f);

static void halves_get(const uint8_t *restrict src, size_t groups, size_t half, uint8_t *restrict q)
{
    for (size_t g = 0; g < groups; g++, src += half, q += 2 * half)
        for (size_t i = 0; i < half; i += 8) {
            const uint64_t v = load_le64(src + i);
            store_le64(q + i, v & LOW_NIBBLES);
            store_le64(q + half + i, v >> 4 & LOW_NIBBLES);
        }
}

static void halves_put(const uint8_t *restrict q, size_t groups, size_t half, uint8_t *restrict dst)
{
    for (size_t g = 0; g < groups; g++, dst += half, q += 2 * half)
        for (size_t i = 0; i < half; i += 8)
            store_le64(dst + i, load_le64(q + i) | load_le64(q + half + i) << 4);
}

static void halves_to_stream(const uint8_t *restrict src, size_t stride, size_t groups,
                             uint8_t *restrict stream)
{
    for (size_t g = 0; g < groups; g++, src += stride, stream += 16) {
#ifdef HAVE_LANES
        const __m128i low = _mm_set1_epi8(15), weight = _mm_set1_epi16(0x1001), v = load_16(src);
        const __m128i first = _mm_maddubs_epi16(_mm_and_si128(v, low), weight);
        const __m128i second = _mm_maddubs_epi16(_mm_and_si128(_mm_srli_epi16(v, 4), low), weight);
        _mm_storeu_si128((__m128i *)(void *)stream, _mm_packus_epi16(first, second));
#else
        for (size_t i = 0; i < 8; i++) {
            stream[i] = (uint8_t)((src[2 * i] & 15) | src[2 * i + 1] << 4);
            stream[8 + i] = (uint8_t)(src[2 * i] >> 4 | (src[2 * i + 1] & 0xf0));
        }
#endif
    }
}

static void halves_from_stream(const uint8_t *restrict stream, size_t groups, uint8_t *restrict dst,
                               size_t stride)
{
    for (size_t g = 0; g < groups; g++, stream += 16, dst += stride) {
#ifdef HAVE_LANES
        const __m128i low = _mm_set1_epi8(15), v = load_16(stream);
        const __m128i even = _mm_and_si128(v, low);
        const __m128i odd = _mm_and_si128(_mm_srli_epi16(v, 4), low);
        const __m128i first = _mm_unpacklo_epi8(even, odd), second = _mm_unpackhi_epi8(even, odd);
        _mm_storeu_si128((__m128i *)(void *)dst, _mm_or_si128(first, _mm_slli_epi16(second, 4)));
#else
        for (size_t i = 0; i < 8; i++) {
            dst[2 * i] = (uint8_t)((stream[i] & 15) | stream[8 + i] << 4);
            dst[2 * i + 1] = (uint8_t)(stream[i] >> 4 | (stream[8 + i] & 0xf0));
        }
#endif
    }
}

static void scale_by(const uint8_t *restrict q, size_t n, const uint8_t *restrict group,
                     const float *restrict zero, const float *restrict s, float *restrict w)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t g = load_le32(group + 4 * i);
        w[i] = ((float)q[i] - zero[g]) * s[g];
    }
}

static inline void gauge_one(gauge_sums *g, size_t lane, float a, float b)
{
    const double e = (double)b - (double)a, m = e < 0 ? -e : e;
    g->error2[lane] += e * e;
    g->signal2[lane] += (double)a * (double)a;
    g->max[lane] = m > g->max[lane] ? m : g->max[lane];
}

#ifdef HAVE_LANES

/* Four lanes of the eight. */
typedef struct gauge_four {
    __m256d error2, signal2, max;
} gauge_four;

static inline gauge_four gauge_get(const gauge_sums *g, size_t lane)
{
    return (gauge_four){ _mm256_loadu_pd(g->error2 + lane), _mm256_loadu_pd(g->signal2 + lane),
                         _mm256_loadu_pd(g->max + lane) };
}

static inline void gauge_put(gauge_four f, gauge_sums *g, size_t lane)
{
    _mm256_storeu_pd(g->error2 + lane, f.error2);
    _mm256_storeu_pd(g->signal2 + lane, f.signal2);
    _mm256_storeu_pd(g->max + lane, f.max);
}

static inline gauge_four gauge_step(gauge_four f, const float *a, const float *b)
{
    const __m256d x = _mm256_cvtps_pd(_mm_loadu_ps(a)), y = _mm256_cvtps_pd(_mm_loadu_ps(b));
    const __m256d e = _mm256_sub_pd(y, x);
    f.error2 = _mm256_add_pd(f.error2, _mm256_mul_pd(e, e));
    f.signal2 = _mm256_add_pd(f.signal2, _mm256_mul_pd(x, x));
    f.max = _mm256_max_pd(_mm256_andnot_pd(_mm256_set1_pd(-0.0), e), f.max); /* NaN: the old */
    return f;
}

static size_t gauge_eights(const float *a, const float *b, size_t n, gauge_sums *g)
{
    gauge_four low = gauge_get(g, 0), high = gauge_get(g, 4);
    size_t i = 0;
    for (; i + GAUGE_LANES <= n; i += GAUGE_LANES) {
        low = gauge_step(low, a + i, b + i);
        high = gauge_step(high, a + i + 4, b + i + 4);
    }
    gauge_put(low, g, 0);
    gauge_put(high, g, 4);
    return i;
}

#else

static size_t gauge_eights(const float *a, const float *b, size_t n, gauge_sums *g)
{
    size_t i = 0;
    for (; i + GAUGE_LANES <= n; i += GAUGE_LANES)
        for (size_t k = 0; k < GAUGE_LANES; k++) gauge_one(g, k, a[i + k], b[i + k]);
    return i;
}

#endif

static void gauge(const float *a, const float *b, size_t n, gauge_sums *sums)
{
    for (size_t i = gauge_eights(a, b, n, sums); i < n; i++)
        gauge_one(sums, i % GAUGE_LANES, a[i], b[i]);
}

static void extremes(const float *restrict w, size_t n, float *lo, float *hi)
{
    int32_t least = INT32_MAX, most = INT32_MIN;
    for (size_t i = 0; i < n; i++) {
        const int32_t k = ordered_from_bits(bits_from_f32(w[i]));
        least = k < least ? k : least;
        most = k > most ? k : most;
    }
    *lo = f32_from_bits((uint32_t)ordered_from_bits((uint32_t)least));
    *hi = f32_from_bits((uint32_t)ordered_from_bits((uint32_t)most));
}

static inline float clamp(float v, float lo, float hi)
{
    v = v > lo ? v : lo;
    return v < hi ? v : hi;
}

/* Clamping before rounding keeps round_even in its range; the bounds are integers. */
static void quantize(const float *restrict w, size_t n, float s, int zero, int most,
                     uint8_t *restrict q)
{
    const float lo = (float)-zero, hi = (float)(most - zero);
    for (size_t i = 0; i < n; i++)
        q[i] = (uint8_t)((int)round_even(clamp(w[i] / s, lo, hi)) + zero);
}

/* To a type's precision and back in one step; no NaN comes here. */
static inline float as_f16(float v)
{
    const uint32_t bits = bits_from_f32(v), mag = bits & 0x7fffffff;
    const uint32_t normal = (mag + 0xfff + (mag >> 13 & 1)) & ~0x1fffu;
    const uint32_t small = bits_from_f32((f32_from_bits(mag) + 0.5f) - 0.5f);
    uint32_t r = mag < 0x38800000 ? small : normal;
    r = mag >= 0x477ff000 ? 0x7f800000 : r;
    return f32_from_bits((bits & 0x80000000) | r);
}

static inline float as_bf16(float v)
{
    const uint32_t bits = bits_from_f32(v);
    return f32_from_bits((bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000);
}

static inline float as_f32(float v)
{
    return v;
}

#define QUANTIZE_IN(type)                                                                          \
    static void quantize_in_##type(const float *restrict w, size_t n, float s, int zero, int half, \
                                   uint8_t *restrict q)                                            \
    {                                                                                              \
        const float z = (float)zero, lo = (float)-half, hi = (float)(half - 1);                    \
        for (size_t i = 0; i < n; i++) {                                                           \
            const float v = as_##type(as_##type(w[i] / s) + z);                                    \
            q[i] = (uint8_t)((int)round_even(clamp(v, lo, hi)) + half);                            \
        }                                                                                          \
    }
QUANTIZE_IN(f16)
QUANTIZE_IN(bf16)
QUANTIZE_IN(f32)
#undef QUANTIZE_IN

static int shift(const uint8_t *restrict q, size_t n, int add, int most, uint8_t *restrict out)
{
    const uint16_t a = (uint16_t)add, top = (uint16_t)most;
    uint16_t bad = 0;
    for (size_t i = 0; i < n; i++) {
        const uint16_t v = (uint16_t)(q[i] + a);
        bad |= (uint16_t)(v > top);
        out[i] = (uint8_t)v;
    }
    return bad;
}

/* ---- codebooks ---- */

static inline void scale_entries(const float *restrict book, size_t width,
                                 const uint16_t *restrict q, size_t n, const float *restrict s,
                                 float *restrict w)
{
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < width; i++) w[j * width + i] = book[q[j] * width + i] * s[j];
}

/* The usual widths are constants, so that an entry is a vector or two. */
static void book_scale(const float *book, size_t width, const uint16_t *q, size_t n, const float *s,
                       float *w)
{
    if (width == 4)
        scale_entries(book, 4, q, n, s, w);
    else if (width == 8)
        scale_entries(book, 8, q, n, s, w);
    else
        scale_entries(book, width, q, n, s, w);
}

/* ---- GGUF blocks ---- */

#define ENCODE_BLOCKS(type, BYTES)                                                                 \
    static void encode_##type(const float *restrict w, size_t blocks, uint8_t *restrict dst)       \
    {                                                                                              \
        for (size_t i = 0; i < blocks; i++)                                                        \
            type##_encode_block(w + i * BLOCK_WEIGHTS, dst + i * BYTES);                           \
    }
ENCODE_BLOCKS(q4_0, Q4_0_BYTES)
ENCODE_BLOCKS(q4_1, Q4_1_BYTES)
ENCODE_BLOCKS(q5_0, Q5_0_BYTES)
ENCODE_BLOCKS(q5_1, Q5_1_BYTES)

#define BLOCKS(type, BYTES)                                                                        \
    static void get_##type(const uint8_t *restrict src, size_t blocks, uint8_t *restrict q)        \
    {                                                                                              \
        for (size_t i = 0; i < blocks; i++)                                                        \
            type##_get_block(src + i * BYTES, q + i * BLOCK_WEIGHTS);                              \
    }                                                                                              \
    static void put_##type(const uint8_t *restrict q, size_t blocks, uint8_t *restrict dst)        \
    {                                                                                              \
        for (size_t i = 0; i < blocks; i++)                                                        \
            type##_put_block(q + i * BLOCK_WEIGHTS, dst + i * BYTES);                              \
    }
BLOCKS(q4_0, Q4_0_BYTES)
BLOCKS(q4_1, Q4_1_BYTES)
BLOCKS(q5_0, Q5_0_BYTES)
BLOCKS(q5_1, Q5_1_BYTES)
BLOCKS(q8_0, Q8_0_BYTES)
#undef BLOCKS

#define BLOCK_AFTER_BLOCK(type, WEIGHTS, BYTES)                                                    \
    static void decode_##type(const uint8_t *restrict src, size_t blocks, float *restrict w)       \
    {                                                                                              \
        for (size_t i = 0; i < blocks; i++)                                                        \
            type##_decode_block(src + i * (BYTES), w + i * (WEIGHTS));                             \
    }
#include "aqlm_kernels.inc.c"
#include "fp4_kernels.inc.c"
#include "iq_kernels.inc.c"
#include "k_kernels.inc.c"
#include "legacy_kernels.inc.c"
#include "int_kernels.inc.c"
#include "tern_kernels.inc.c"
#undef BLOCK_AFTER_BLOCK
#undef ENCODE_BLOCKS

const glmq_kernels KERNELS = {
    .widen = { widen_f16, widen_bf16, widen_f32 },
    .narrow = { narrow_f16, narrow_bf16, narrow_f32 },
    .scale_e4m3 = scale_e4m3,
    .scale_fp4 = scale_fp4,
    .unpack = { NULL, NULL, unpack_2, unpack_3, unpack_4, unpack_5, unpack_6, unpack_7, unpack_8 },
    .pack = { NULL, NULL, pack_2, pack_3, pack_4, pack_5, pack_6, pack_7, pack_8 },
    .unpack_wide = unpack_wide,
    .transpose = { [2] = transpose_halves, [4] = transpose_words },
    .scale = scale,
    .scale_groups = scale_groups,
    .scale_by = scale_by,
    .plus_zero = plus_zero,
    .halves_get = halves_get,
    .halves_put = halves_put,
    .nibbles_to_streams = nibbles_to_streams,
    .nibbles_from_streams = nibbles_from_streams,
    .halves_to_stream = halves_to_stream,
    .halves_from_stream = halves_from_stream,
#ifdef HAVE_LANES
    .stream_groups = { [2] = stream_groups_2, [3] = stream_groups_3, [4] = stream_groups_4,
                       [8] = stream_groups_8 },
    .signed_groups = signed_groups,
    .nibble_groups = nibble_groups,
    .turned = { [2] = turned_2, [3] = turned_3, [4] = turned_4, [8] = turned_8 },
#endif
    .gauge = gauge,
    .extremes = extremes,
    .quantize = quantize,
    .quantize_in = { quantize_in_f16, quantize_in_bf16, quantize_in_f32 },
    .shift = shift,
    .book_scale = book_scale,
    .aqlm_sums = aqlm_sums,
    .block_encode = { encode_q4_0, encode_q4_1, encode_q5_0, encode_q5_1, encode_q8_0 },
    .block_get = { get_q4_0, get_q4_1, get_q5_0, get_q5_1, get_q8_0 },
    .block_put = { put_q4_0, put_q4_1, put_q5_0, put_q5_1, put_q8_0 },
    .tq3_decode = tq3_decode,
    .tq3_encode = tq3_encode,
    .decode = {
        [GLMQ_DT_Q4_0] = decode_q4_0,
        [GLMQ_DT_Q4_1] = decode_q4_1,
        [GLMQ_DT_Q5_0] = decode_q5_0,
        [GLMQ_DT_Q5_1] = decode_q5_1,
        [GLMQ_DT_Q8_0] = decode_q8_0,
        [GLMQ_DT_Q8_1] = decode_q8_1,
        [GLMQ_DT_Q2_K] = decode_q2_k,
        [GLMQ_DT_Q3_K] = decode_q3_k,
        [GLMQ_DT_Q4_K] = decode_q4_k,
        [GLMQ_DT_Q5_K] = decode_q5_k,
        [GLMQ_DT_Q6_K] = decode_q6_k,
        [GLMQ_DT_Q8_K] = decode_q8_k,
        [GLMQ_DT_IQ2_XXS] = decode_iq2_xxs,
        [GLMQ_DT_IQ2_XS] = decode_iq2_xs,
        [GLMQ_DT_IQ2_S] = decode_iq2_s,
        [GLMQ_DT_IQ3_XXS] = decode_iq3_xxs,
        [GLMQ_DT_IQ3_S] = decode_iq3_s,
        [GLMQ_DT_IQ1_S] = decode_iq1_s,
        [GLMQ_DT_IQ1_M] = decode_iq1_m,
        [GLMQ_DT_IQ4_NL] = decode_iq4_nl,
        [GLMQ_DT_IQ4_XS] = decode_iq4_xs,
        [GLMQ_DT_TQ1_0] = decode_tq1_0,
        [GLMQ_DT_TQ2_0] = decode_tq2_0,
        [GLMQ_DT_MXFP4] = decode_mxfp4,
        [GLMQ_DT_Q1_0] = decode_q1_0,
        [GLMQ_DT_Q2_0] = decode_q2_0,
    },
};
