/* FP8: E4M3 codes, row-major, times a scale.  For a matrix of N rows and K columns:
 *
 *   CODES   F8_E4M3 [N, K]
 *   SCALES  F32, F16, BF16, or E8M0 (as U8, too): a multiplier
 *             blocks      [ceil(N/rows), ceil(K/cols)]    the last ones may be short
 *             channels    [N, 1]
 *             a tensor    [1]
 *
 *   w = code * scale    one rounding, in F32 (subnormals kept)
 *
 * Scales belong to blocks of rows and are few: they are read in one go. */
#include "fp8.h"
#include "base/error.h"
#include "base/num.h"
#include "base/safe.h"
#include "ints.h"
#include "kernels.h"
#include <stdio.h>

static uint64_t blocks(uint64_t n, uint64_t each)
{
    return each ? ceil_div_u64(n, each) : 1;
}

static int is_scale(glmq_dtype dtype)
{
    return glmq_dtype_is_float(dtype) || dtype == GLMQ_DT_F8_E8M0 || dtype == GLMQ_DT_U8;
}

static glmq_status fp8_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                              glmq_layout *out, glmq_error *err)
{
    const glmq_dtype dtype = (glmq_dtype)e->scale_dtype;

    *out = (glmq_layout){ .row_quantum = 1 };
    if (!is_scale(dtype))
        return glmq_fail(err, GLMQ_E_FORMAT, "fp8: scales of type %s", glmq_dtype_name(dtype));
    if (rows == 0 || cols == 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "fp8: an empty matrix, %" PRIu64 " x %" PRIu64, rows,
                         cols);
    GLMQ_TRY(ints_slot(
        out, GLMQ_SLOT_CODES,
        (glmq_slot_layout){ GLMQ_DT_F8_E4M3, .rank = 2, .dims = { rows, cols }, .stripe_rows = 1 },
        1, "fp8", err));
    return ints_slot(
        out, GLMQ_SLOT_SCALES,
        (glmq_slot_layout){ dtype, .rank = 2,
                            .dims = { blocks(rows, e->group_rows), blocks(cols, e->group) } },
        0, "fp8", err);
}

static float scale_at(const glmq_encoding *e, const uint8_t *scales, uint64_t i)
{
    switch (e->scale_dtype) {
    case GLMQ_DT_F16: return f32_from_f16(load_le16(scales + 2 * i));
    case GLMQ_DT_BF16: return f32_from_bf16(load_le16(scales + 2 * i));
    case GLMQ_DT_F32: return f32_from_bits(load_le32(scales + 4 * i));
    default: return f32_from_e8m0(scales[i]);
    }
}

static glmq_status fp8_check(glmq_encoding *e, const glmq_bufs *b, uint64_t rows, uint64_t cols,
                             glmq_error *err)
{
    const uint64_t across = blocks(cols, e->group), n = across * blocks(rows, e->group_rows);
    const uint8_t *scales = b->buf[GLMQ_SLOT_SCALES];

    if (!scales) return glmq_fail(err, GLMQ_E_FORMAT, "fp8: no scales are stored");
    for (uint64_t i = 0; i < n; i++) {
        const float s = scale_at(e, scales, i);
        if (!is_finite_f32(s) || !(s > 0))
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "fp8: scale %g of block %" PRIu64 ", %" PRIu64
                             " is no finite positive number",
                             (double)s, i / across, i % across);
    }
    return GLMQ_OK;
}

static void fp8_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w)
{
    const uint8_t *codes = b->buf[GLMQ_SLOT_CODES] + (t.row - b->row0) * t.cols;
    const uint64_t across = blocks(t.cols, e->group), each = e->group ? e->group : t.cols;

    for (uint64_t r = 0; r < t.rows; r++) {
        const uint64_t block = e->group_rows ? (t.row + r) / e->group_rows : 0;
        const uint8_t *q = codes + r * t.cols;
        float *at = w + r * t.cols;

        for (uint64_t g = 0; g < across; g++) {
            const float s = scale_at(e, b->buf[GLMQ_SLOT_SCALES], block * across + g);
            const uint64_t c = g * each, n = t.cols - c < each ? t.cols - c : each;
            glmq_kernels_now()->scale_e4m3(q + c, (size_t)n, s, at + c);
        }
    }
}

static size_t fp8_print(const glmq_encoding *e, char *text, size_t cap)
{
    const char *scale = glmq_dtype_name(
        (glmq_dtype)(e->scale_dtype == GLMQ_DT_U8 ? GLMQ_DT_F8_E8M0 : e->scale_dtype));
    const char *u8 = e->scale_dtype == GLMQ_DT_U8 ? ",u8" : "";
    const char *name = e->variant == FP8_SCALE_INV ? ",inv" : "";
    int n;

    if (e->group)
        n = snprintf(text, cap, "block=%ux%u,scale=%s%s%s", e->group_rows, e->group, scale, u8,
                     name);
    else
        n = snprintf(text, cap, "%s,scale=%s%s%s", e->group_rows ? "channel" : "tensor", scale, u8,
                     name);
    return n < 0 ? 0 : (size_t)n;
}

const glmq_codec glmq_codec_fp8 = {
    .name = "fp8",
    .about = "E4M3 floats with a scale per block, channel or tensor",
    .layout = fp8_layout,
    .check = fp8_check,
    .decode = fp8_decode,
    .print = fp8_print,
};
