/* Four-bit floats: groups wherever they lie, and whole runs of MXFP4 blocks (layouts and
 * arithmetic: fp4_block.h).  Part of kernels.inc.c. */
#include "fp4_block.h"
#include "lanes.h"

/* With a code 8 that is +0. */
static const float e2m1_plus_zero[16] = { 0, 0.5f,  1,  1.5f,  2,  3,  4,  6,
                                          0, -0.5f, -1, -1.5f, -2, -3, -4, -6 };

static inline const float *e2m1_table(const fp4_run *r)
{
    return r->plus_zero ? e2m1_plus_zero : e2m1_values;
}

#ifdef HAVE_LANES

/* Bytes to lanes, low nibble first: 8 bytes in pairs of columns, or as two halves. */
static inline lanes_i e2m1_pairs(const uint8_t *q)
{
    static const uint32_t nibble[16] = { 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4, 0, 4 };
    const __m128i bytes = _mm_cvtsi64_si128((int64_t)load_le64(q));
    return lanes_shift_each(lanes_bytes(_mm_unpacklo_epi8(bytes, bytes)), nibble);
}

static inline lanes_i e2m1_halves(const uint8_t *q)
{
    static const uint32_t nibble[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4 };
    return lanes_shift_each(lanes_bytes(_mm_set1_epi64x((int64_t)load_le64(q))), nibble);
}

static inline void e2m1_put_halves_32(const uint8_t *q, lanes_f table, float *w)
{
    const lanes_i codes = lanes_bytes(load_16(q));
    lanes_put(lanes_look_16(table, codes), w);
    lanes_put(lanes_look_16(table, lanes_shift(codes, 4)), w + 16);
}

static inline void e2m1_put(const fp4_run *r, const uint8_t *q, lanes_f table, float *w)
{
    if (r->halves && r->group == 32) {
        e2m1_put_halves_32(q, table, w);
        return;
    }
    for (size_t c = 0; c < r->group; c += 16)
        lanes_put(lanes_look_16(table, r->halves ? e2m1_halves(q) : e2m1_pairs(q + c / 2)), w + c);
}

static inline void e2m1_put_scaled(const fp4_run *r, const uint8_t *q, float s, float *w)
{
    e2m1_put(r, q, lanes_scaled(e2m1_table(r), s), w);
}

/* Blocks have half the scale and twice the value. */
static void decode_mxfp4(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 17, w += 32)
        e2m1_put_halves_32(src + 1, lanes_scaled(e2m1_twice, mxfp4_scale(src[0])), w);
}

#else

static inline void e2m1_put_scaled(const fp4_run *r, const uint8_t *q, float s, float *w)
{
    const size_t half = r->group / 2, next = r->halves ? 1 : 2, high = r->halves ? half : 1;
    const float *value = e2m1_table(r);
    float scaled[16];
    for (int k = 0; k < 16; k++) scaled[k] = value[k] * s;
    for (size_t j = 0; j < half; j++) {
        w[next * j] = scaled[q[j] & 15];
        w[next * j + high] = scaled[q[j] >> 4];
    }
}

BLOCK_AFTER_BLOCK(mxfp4, 32, 17)

#endif

static void scale_fp4(const fp4_run *r, const float *restrict s, float *restrict w)
{
    const uint8_t *block = r->codes;
    size_t k = 0;
    for (size_t g = 0; g < r->groups; g++, w += r->group) {
        e2m1_put_scaled(r, block + k * r->each, s[g], w);
        if (++k == r->per) {
            k = 0;
            block += r->block;
        }
    }
}
