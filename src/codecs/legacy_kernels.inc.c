/* The simple GGUF types, whole runs of blocks (layouts and arithmetic: q*_block.h).  Part of
 * kernels.inc.c; where there are no lanes, block after block.
 *
 * Four bits pick their weight from a table that was scaled before; five bits are joined as
 * bytes, and then widened and scaled. */
#include "lanes.h"
#include "q4_0_block.h"
#include "q4_1_block.h"
#include "q5_0_block.h"
#include "q5_1_block.h"
#include "q8_0_block.h"

#ifdef HAVE_LANES

static const float q4_0_values[16] = { -8, -7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7 };
static const float q4_1_values[16] = { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 };

/* 16 bytes: weights of the low nibbles, then those of the high ones. */
static inline void put_nibbles(__m128i bytes, lanes_f table, float *w)
{
    const lanes_i codes = lanes_bytes(bytes);
    lanes_put(lanes_look_16(table, codes), w);
    lanes_put(lanes_look_16(table, lanes_shift(codes, 4)), w + 16);
}

static void decode_q4_0(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += Q4_0_BYTES, w += BLOCK_WEIGHTS)
        put_nibbles(load_16(src + 2), lanes_scaled(q4_0_values, half_at(src)), w);
}

static void decode_q4_1(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += Q4_1_BYTES, w += BLOCK_WEIGHTS) {
        const lanes_f products = lanes_scaled(q4_1_values, half_at(src));
        put_nibbles(load_16(src + 4), lanes_plus(products, half_at(src + 2)), w);
    }
}

/* 16 in each byte whose bit of qh is set. */
static inline __m256i fifth_bits(uint32_t qh)
{
    const __m256i byte =
        _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
    const __m256i bit = _mm256_set1_epi64x((int64_t)UINT64_C(0x8040201008040201));
    const __m256i spread = _mm256_shuffle_epi8(_mm256_set1_epi32((int)qh), byte);
    const __m256i set = _mm256_cmpeq_epi8(_mm256_and_si256(spread, bit), bit);
    return _mm256_and_si256(set, _mm256_set1_epi8(16));
}

static inline __m256i q5_codes(uint32_t qh, __m128i bytes)
{
    const __m256i both = _mm256_set_m128i(_mm_srli_epi16(bytes, 4), bytes);
    return _mm256_or_si256(_mm256_and_si256(both, _mm256_set1_epi8(15)), fifth_bits(qh));
}

static void decode_q5_0(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += Q5_0_BYTES, w += BLOCK_WEIGHTS) {
        const __m256i q = q5_codes(load_le32(src + 2), load_16(src + 6));
        const float d = half_at(src);
        k_put(_mm256_sub_epi8(q, _mm256_set1_epi8(16)), (const float[2]){ d, d }, w);
    }
}

static void decode_q5_1(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += Q5_1_BYTES, w += BLOCK_WEIGHTS) {
        const __m256i q = q5_codes(load_le32(src + 4), load_16(src + 8));
        const float d = half_at(src), m = half_at(src + 2);
        for (int h = 0; h < 2; h++) {
            const lanes_f codes = lanes_float(lanes_bytes(k_half(q, h)));
            lanes_put(lanes_plus(lanes_times(codes, d), m), w + 16 * h);
        }
    }
}

static void decode_q8_0(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += Q8_0_BYTES, w += BLOCK_WEIGHTS) {
        const float d = half_at(src);
        k_put(load_32(src + 2), (const float[2]){ d, d }, w);
    }
}

/* The largest magnitude of 32 weights, in the order of their bits. */
static inline float largest_of_32(const __m256 v[4])
{
    const __m256i mag = _mm256_set1_epi32(INT32_MAX);
    __m256i most = _mm256_setzero_si256();
    __m128i m;
    for (int i = 0; i < 4; i++)
        most = _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(v[i]), mag));
    m = _mm_max_epi32(_mm256_castsi256_si128(most), _mm256_extracti128_si256(most, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1));
    return f32_from_bits((uint32_t)_mm_cvtsi128_si32(m));
}

/* Rounded half away from zero; 0 where that is no signed byte.  The rest is exact, and what a
 * comparison yields is -1. */
static inline __m256i round_away(__m256 v)
{
    const __m256 half = _mm256_set1_ps(0.5f), less = _mm256_set1_ps(-0.5f);
    const __m256 fits = _mm256_and_ps(_mm256_cmp_ps(v, _mm256_set1_ps(-128.0f), _CMP_GT_OQ),
                                      _mm256_cmp_ps(v, _mm256_set1_ps(128.0f), _CMP_LT_OQ));
    const __m256 some = _mm256_and_ps(v, fits);
    const __m256i t = _mm256_cvttps_epi32(some);
    const __m256 rest = _mm256_sub_ps(some, _mm256_cvtepi32_ps(t));
    const __m256i up = _mm256_castps_si256(_mm256_cmp_ps(rest, half, _CMP_GE_OQ));
    const __m256i down = _mm256_castps_si256(_mm256_cmp_ps(rest, less, _CMP_LE_OQ));
    return _mm256_add_epi32(_mm256_sub_epi32(t, up), down);
}

static void encode_q8_0(const float *restrict w, size_t blocks, uint8_t *restrict dst)
{
    const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
    for (size_t i = 0; i < blocks; i++, w += BLOCK_WEIGHTS, dst += Q8_0_BYTES) {
        const __m256 v[4] = { _mm256_loadu_ps(w), _mm256_loadu_ps(w + 8), _mm256_loadu_ps(w + 16),
                              _mm256_loadu_ps(w + 24) };
        const float d = largest_of_32(v) / 127.0f;
        const __m256 id = _mm256_set1_ps(block_inverse(d));
        const __m256i a = _mm256_packs_epi32(round_away(_mm256_mul_ps(v[0], id)),
                                             round_away(_mm256_mul_ps(v[1], id)));
        const __m256i b = _mm256_packs_epi32(round_away(_mm256_mul_ps(v[2], id)),
                                             round_away(_mm256_mul_ps(v[3], id)));
        const __m256i q = _mm256_permutevar8x32_epi32(_mm256_packs_epi16(a, b), order);
        _mm256_storeu_si256((__m256i *)(void *)(dst + 2), q);
        store_le16(dst, f16_from_f32(d));
    }
}

#else

ENCODE_BLOCKS(q8_0, Q8_0_BYTES)
BLOCK_AFTER_BLOCK(q4_0, BLOCK_WEIGHTS, Q4_0_BYTES)
BLOCK_AFTER_BLOCK(q4_1, BLOCK_WEIGHTS, Q4_1_BYTES)
BLOCK_AFTER_BLOCK(q5_0, BLOCK_WEIGHTS, Q5_0_BYTES)
BLOCK_AFTER_BLOCK(q5_1, BLOCK_WEIGHTS, Q5_1_BYTES)
BLOCK_AFTER_BLOCK(q8_0, BLOCK_WEIGHTS, Q8_0_BYTES)

#endif
