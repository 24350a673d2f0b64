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

#else

BLOCK_AFTER_BLOCK(q4_0, BLOCK_WEIGHTS, Q4_0_BYTES)
BLOCK_AFTER_BLOCK(q4_1, BLOCK_WEIGHTS, Q4_1_BYTES)
BLOCK_AFTER_BLOCK(q5_0, BLOCK_WEIGHTS, Q5_0_BYTES)
BLOCK_AFTER_BLOCK(q5_1, BLOCK_WEIGHTS, Q5_1_BYTES)
BLOCK_AFTER_BLOCK(q8_0, BLOCK_WEIGHTS, Q8_0_BYTES)

#endif
