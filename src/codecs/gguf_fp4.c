/* MXFP4 and NVFP4 of GGUF: see fp4_block.h for the blocks.
 *
 * Half of an NVFP4 tensor is a number in an array beside it (the slot GLOBAL; not stored: 1),
 * which llama.cpp multiplies into the product.  Here it is part of the weight, in ModelOpt's order
 * of operations, so that a ModelOpt checkpoint and its copy in GGUF have the same values. */
#include "base/error.h"
#include "base/num.h"
#include "base/safe.h"
#include "fp4_block.h"
#include "fp4_encode.h"
#include "fp4_map.h"
#include "gguf_blocks.h"

enum { MX_WEIGHTS = 32, MX_BYTES = 17, NV_WEIGHTS = 64, NV_GROUP = 16, NV_BYTES = 36 };

/* Codes in and out of a type, by its map. */
#define CODES_VIEW(type)                                                                           \
    static void type##_get(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t,                \
                           glmq_codes *codes)                                                      \
    {                                                                                              \
        const fp4_map m = type##_map(b, t);                                                        \
        (void)e;                                                                                   \
        fp4_map_get(&m, t, codes);                                                                 \
    }                                                                                              \
    static glmq_status type##_put(const glmq_encoding *e, const glmq_codes *codes, glmq_tile t,    \
                                  glmq_bufs *b, glmq_error *err)                                   \
    {                                                                                              \
        const fp4_map m = type##_map(codes->q ? b : NULL, t);                                      \
        return fp4_map_put(&m, e, codes, t, err);                                                  \
    }

/* ---- MXFP4 ---- */

static glmq_status mxfp4_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                                glmq_layout *out, glmq_error *err)
{
    (void)e;
    return gguf_blocks_layout(GLMQ_DT_MXFP4, rows, cols, out, err);
}

static void mxfp4_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w)
{
    (void)e;
    gguf_blocks_decode(GLMQ_DT_MXFP4, b, t, w);
}

static fp4_map mxfp4_map(const glmq_bufs *b, glmq_tile t)
{
    const uint64_t row = t.cols / MX_WEIGHTS * MX_BYTES;
    uint8_t *base = b ? b->buf[GLMQ_SLOT_CODES] + (t.row - b->row0) * row : NULL;

    return (fp4_map){
        .name = "MXFP4",
        .group = MX_WEIGHTS,
        .groups = (uint32_t)(t.cols / MX_WEIGHTS),
        .global = FP4_NO_GLOBAL,
        .halves = 1,
        .plus_zero = 1,
        .powers = 1,
        .scales = { .base = base, .row = row, .block = MX_BYTES },
        .codes = { .base = base, .row = row, .block = MX_BYTES, .first = 1 },
    };
}

CODES_VIEW(mxfp4)

static void mxfp4_encode(const glmq_encoding *e, const glmq_stats *stats, glmq_tile t,
                         const float *w, glmq_bufs *b)
{
    const fp4_map m = mxfp4_map(b, t);
    const fp4_rule rule = { .group = fp4_group_ggml_mx };
    (void)e, (void)stats;
    fp4_map_encode(&m, &rule, t, w);
}

const glmq_codec glmq_codec_mxfp4 = {
    .name = "mxfp4",
    .about = "4-bit floats, power-of-two scales, groups of 32 (GGUF)",
    .layout = mxfp4_layout,
    .decode = mxfp4_decode,
    .encode = mxfp4_encode,
    .get_codes = mxfp4_get,
    .put_codes = mxfp4_put,
};

/* ---- NVFP4 ---- */

static glmq_status nvfp4_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                                glmq_layout *out, glmq_error *err)
{
    (void)e;
    GLMQ_TRY(gguf_blocks_layout(GLMQ_DT_NVFP4, rows, cols, out, err));
    out->slot[GLMQ_SLOT_GLOBAL] =
        (glmq_slot_layout){ GLMQ_DT_F32, .rank = 1, .optional = 1, .dims = { 1 }, .bytes = 4 };
    return GLMQ_OK;
}

static glmq_status nvfp4_check(glmq_encoding *e, const glmq_bufs *b, uint64_t rows, uint64_t cols,
                               glmq_error *err)
{
    const uint8_t *global = b->buf[GLMQ_SLOT_GLOBAL];

    (void)e, (void)rows, (void)cols;
    if (!global || fp4_is_scale(load_le32(global))) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT, "the scale %g beside it is no finite positive number",
                     (double)f32_from_bits(load_le32(global)));
}

static fp4_map nvfp4_map(const glmq_bufs *b, glmq_tile t)
{
    const uint64_t row = t.cols / NV_WEIGHTS * NV_BYTES;
    uint8_t *base = b ? b->buf[GLMQ_SLOT_CODES] + (t.row - b->row0) * row : NULL;
    static uint8_t nowhere[4]; /* a question about the small arrays alone: nothing is stored */

    return (fp4_map){
        .name = "NVFP4",
        .group = NV_GROUP,
        .groups = (uint32_t)(t.cols / NV_GROUP),
        .global = FP4_MULTIPLIES,
        .halves = 1,
        .plus_zero = 1,
        .ue4m3 = 1,
        .global_at = b ? b->buf[GLMQ_SLOT_GLOBAL] : nowhere,
        .scales = { .base = base, .row = row, .block = NV_BYTES, .each = 1, .log = 2 },
        .codes = { .base = base, .row = row, .block = NV_BYTES, .first = 4, .each = 8, .log = 2 },
    };
}

static void nvfp4_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w)
{
    const fp4_map m = nvfp4_map(b, t);
    (void)e;
    fp4_map_decode(&m, t, w);
}

CODES_VIEW(nvfp4)

/* ggml's own rule has no scale for the tensor. */
static void nvfp4_encode(const glmq_encoding *e, const glmq_stats *stats, glmq_tile t,
                         const float *w, glmq_bufs *b)
{
    const fp4_map m = nvfp4_map(b, t);
    const int scaled = e->scalar && m.global_at;
    const fp4_rule rule = { .group = scaled ? fp4_group_modelopt : fp4_group_ggml,
                            .global = scaled ? f32_from_bits(e->scalar) : 1.0f };
    (void)stats;
    fp4_map_encode(&m, &rule, t, w);
}

const glmq_codec glmq_codec_nvfp4 = {
    .name = "nvfp4",
    .about = "4-bit floats, E4M3 scales, groups of 16, and a scale of the tensor (GGUF)",
    .layout = nvfp4_layout,
    .check = nvfp4_check,
    .decode = nvfp4_decode,
    .encode = nvfp4_encode,
    .get_codes = nvfp4_get,
    .put_codes = nvfp4_put,
};
