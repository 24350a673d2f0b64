/* The K-quants and the 8-bit activation types, whole runs of blocks (layouts and arithmetic:
 * k_block.h).  Part of kernels.inc.c; where there are no lanes, block after block.
 *
 * Codes are cut out of 32 bytes at a time, as bytes; then sixteen at a time become floats, are
 * multiplied by the scale of their run, and lose its minimum: each step rounds as in k_block.h. */
#include "k_block.h"
#include "lanes.h"

#ifdef HAVE_LANES

enum { K_RUNS = 16 };

static inline __m256i load_32(const uint8_t *p)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* `mask` of each byte, after a shift to the right. */
static inline __m256i k_bits(__m256i bytes, int shift, int mask)
{
    return _mm256_and_si256(_mm256_srli_epi16(bytes, shift), _mm256_set1_epi8((char)mask));
}

/* The same bits, shifted up again by `at`, joined to `low`. */
static inline __m256i k_join(__m256i low, __m256i high, int at)
{
    return _mm256_or_si256(low, _mm256_slli_epi16(high, at));
}

static inline __m128i k_half(__m256i codes, int upper)
{
    return upper ? _mm256_extracti128_si256(codes, 1) : _mm256_castsi256_si128(codes);
}

/* Scales of 16 runs: bytes times d. */
static inline void k_steps(lanes_i bytes, float d, float step[K_RUNS])
{
    lanes_put(lanes_times(lanes_float(bytes), d), step);
}

/* 32 weights of two runs. */
static inline void k_put_less(__m256i q, const float step[2], const float low[2], float *w)
{
    for (int h = 0; h < 2; h++) {
        const lanes_f codes = lanes_float(lanes_bytes(k_half(q, h)));
        lanes_put(lanes_less(lanes_times(codes, step[h]), low[h]), w + 16 * h);
    }
}

/* Signed codes. */
static inline void k_put(__m256i q, const float step[2], float *w)
{
    for (int h = 0; h < 2; h++)
        lanes_put(lanes_times(lanes_float(lanes_signed(k_half(q, h))), step[h]), w + 16 * h);
}

static void decode_q2_k(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 84) {
        const lanes_i pairs = lanes_bytes(load_16(src));
        float step[K_RUNS], low[K_RUNS];
        k_steps(lanes_and(pairs, 15), half_at(src + 80), step);
        k_steps(lanes_shift(pairs, 4), half_at(src + 82), low);
        for (int k = 0; k < 8; k++, w += 32) {
            const __m256i q = k_bits(load_32(src + 16 + k / 4 * 32), k % 4 * 2, 3);
            k_put_less(q, step + 2 * k, low + 2 * k, w);
        }
    }
}

/* The 16 scales of Q3_K: low nibbles of eight bytes, then the high ones; four bytes of pairs
 * of bits behind them, each for runs k, k + 4, k + 8 and k + 12. */
static inline __m128i q3_k_scales(const uint8_t *sc)
{
    const uint64_t low = load_le64(sc), nibbles = UINT64_C(0x0f0f0f0f0f0f0f0f);
    const uint32_t high = load_le32(sc + 8), pairs = 0x03030303;
    const uint64_t first = (high & pairs) | (uint64_t)(high >> 2 & pairs) << 32;
    const uint64_t last = (high >> 4 & pairs) | (uint64_t)(high >> 6 & pairs) << 32;
    const uint64_t a = (low & nibbles) | first << 4, b = (low >> 4 & nibbles) | last << 4;
    return _mm_sub_epi8(_mm_set_epi64x((int64_t)b, (int64_t)a), _mm_set1_epi8(32));
}

static void decode_q3_k(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 110) {
        const __m256i fours = _mm256_set1_epi8(4), high = load_32(src);
        float step[K_RUNS];
        k_steps(lanes_signed(q3_k_scales(src + 96)), half_at(src + 108), step);
        for (int k = 0; k < 8; k++, w += 32) {
            const __m256i two = k_bits(load_32(src + 32 + k / 4 * 32), k % 4 * 2, 3);
            const __m256i q = k_join(two, k_bits(high, k, 1), 2);
            k_put(_mm256_sub_epi8(q, fours), step + 2 * k, w);
        }
    }
}

/* The 8 scales, then the 8 minima, of Q4_K and Q5_K: see k_scale_min(). */
static inline __m128i q4_k_scales(const uint8_t *s)
{
    const uint32_t a = load_le32(s), b = load_le32(s + 4), c = load_le32(s + 8);
    const uint32_t sixes = 0x3f3f3f3f, nibbles = 0x0f0f0f0f, pairs = 0x03030303;
    const uint32_t scales = (c & nibbles) | (a >> 6 & pairs) << 4;
    const uint32_t least = (c >> 4 & nibbles) | (b >> 6 & pairs) << 4;
    return _mm_setr_epi32((int)(a & sixes), (int)scales, (int)(b & sixes), (int)least);
}

/* 32 weights of one run. */
static inline void k_put_run(__m256i q, float step, float low, float *w)
{
    k_put_less(q, (const float[2]){ step, step }, (const float[2]){ low, low }, w);
}

static void decode_q4_k(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 144) {
        const lanes_i scales = lanes_bytes(q4_k_scales(src + 4));
        float step[K_RUNS], low[K_RUNS];
        k_steps(scales, half_at(src), step);
        k_steps(scales, half_at(src + 2), low);
        for (int k = 0; k < 8; k += 2, w += 64) {
            const __m256i pairs = load_32(src + 16 + 16 * k);
            k_put_run(k_bits(pairs, 0, 15), step[k], low[8 + k], w);
            k_put_run(k_bits(pairs, 4, 15), step[k + 1], low[9 + k], w + 32);
        }
    }
}

static void decode_q5_k(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 176) {
        const lanes_i scales = lanes_bytes(q4_k_scales(src + 4));
        const __m256i high = load_32(src + 16);
        float step[K_RUNS], low[K_RUNS];
        k_steps(scales, half_at(src), step);
        k_steps(scales, half_at(src + 2), low);
        for (int k = 0; k < 8; k++, w += 32) {
            const __m256i nibble = k_bits(load_32(src + 48 + k / 2 * 32), k % 2 * 4, 15);
            k_put_run(k_join(nibble, k_bits(high, k, 1), 4), step[k], low[8 + k], w);
        }
    }
}

static void decode_q6_k(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 210) {
        const __m256i middle = _mm256_set1_epi8(32);
        float step[K_RUNS];
        k_steps(lanes_signed(load_16(src + 192)), half_at(src + 208), step);
        for (int k = 0; k < 8; k++, w += 32) {
            const uint8_t *ql = src + k / 4 * 64 + k % 2 * 32, *qh = src + 128 + k / 4 * 32;
            const __m256i nibble = k_bits(load_32(ql), k % 4 / 2 * 4, 15);
            const __m256i q = k_join(nibble, k_bits(load_32(qh), k % 4 * 2, 3), 4);
            k_put(_mm256_sub_epi8(q, middle), step + 2 * k, w);
        }
    }
}

static void decode_q8_k(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 292) {
        const float d = f32_from_bits(load_le32(src));
        for (int k = 0; k < K_WEIGHTS; k += 32, w += 32)
            k_put(load_32(src + 4 + k), (const float[2]){ d, d }, w);
    }
}

static void decode_q8_1(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 36, w += 32) {
        const float d = half_at(src);
        k_put(load_32(src + 4), (const float[2]){ d, d }, w);
    }
}

#else

BLOCK_AFTER_BLOCK(q8_1, 32, 36)
BLOCK_AFTER_BLOCK(q2_k, K_WEIGHTS, 84)
BLOCK_AFTER_BLOCK(q3_k, K_WEIGHTS, 110)
BLOCK_AFTER_BLOCK(q4_k, K_WEIGHTS, 144)
BLOCK_AFTER_BLOCK(q5_k, K_WEIGHTS, 176)
BLOCK_AFTER_BLOCK(q6_k, K_WEIGHTS, 210)
BLOCK_AFTER_BLOCK(q8_k, K_WEIGHTS, 292)

#endif
