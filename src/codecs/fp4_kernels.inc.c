/* Blocks of four-bit floats, whole runs of them (layouts and arithmetic: fp4_block.h).  Part of
 * kernels.inc.c; where there are no lanes, block after block. */
#include "fp4_block.h"
#include "lanes.h"

#ifdef HAVE_LANES

/* Twice the E2M1 values; there is no minus zero. */
static const float fp4_values[16] = { 0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12 };

static void decode_mxfp4(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    for (size_t i = 0; i < blocks; i++, src += 17, w += 32) {
        const lanes_f table = lanes_scaled(fp4_values, mxfp4_scale(src[0]));
        const lanes_i codes = lanes_bytes(load_16(src + 1));
        lanes_put(lanes_look_16(table, codes), w);
        lanes_put(lanes_look_16(table, lanes_shift(codes, 4)), w + 16);
    }
}

/* Eight bytes twice: low nibbles, then high ones. */
static void decode_nvfp4(const uint8_t *restrict src, size_t blocks, float *restrict w)
{
    static const uint32_t nibble[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 4, 4, 4, 4, 4, 4, 4, 4 };
    for (size_t i = 0; i < blocks; i++, src += 36) {
        for (int s = 0; s < 4; s++, w += 16) {
            const lanes_f table = lanes_scaled(fp4_values, nvfp4_scale(src[s]) * 0.5f);
            const __m128i bytes = _mm_set1_epi64x((int64_t)load_le64(src + 4 + 8 * s));
            lanes_put(lanes_look_16(table, lanes_shift_each(lanes_bytes(bytes), nibble)), w);
        }
    }
}

#else

BLOCK_AFTER_BLOCK(mxfp4, 32, 17)
BLOCK_AFTER_BLOCK(nvfp4, 64, 36)

#endif
