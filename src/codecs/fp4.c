/* Four-bit floats of Hugging Face checkpoints.  For a matrix of N rows and K columns:
 *
 *              NVFP4                             MXFP4
 *   CODES      U8 [N, K/2]                       likewise; I8 in checkpoints of DeepSeek's kind
 *   SCALES     F8_E4M3 [N, K/16]                 U8 or F8_E8M0 [N, K/32]
 *   GLOBAL     F32, one number                   none
 *
 * The low nibble is the even column.  w = (scale * global) * value, or (scale / global) * value
 * where the global scale divides, each rounded in F32. */
#include "fp4.h"
#include "base/error.h"
#include "base/num.h"
#include "base/safe.h"
#include "fp4_encode.h"
#include "fp4_map.h"
#include "ints.h"
#include <stdio.h>

enum { NV_GROUP = 16, MX_GROUP = 32 };

/* ---- encodings ---- */

glmq_encoding fp4_nvfp4(int variant)
{
    return (glmq_encoding){ .codec = &glmq_codec_fp4,
                            .group = NV_GROUP,
                            .group_rows = 1,
                            .bits = 4,
                            .scale_dtype = GLMQ_DT_F8_E4M3,
                            .variant = (uint8_t)variant };
}

glmq_encoding fp4_mxfp4(int variant)
{
    return (glmq_encoding){ .codec = &glmq_codec_fp4,
                            .group = MX_GROUP,
                            .group_rows = 1,
                            .bits = 4,
                            .scale_dtype = GLMQ_DT_U8,
                            .variant = (uint8_t)variant };
}

fp4_global fp4_global_of(const glmq_encoding *enc)
{
    if (enc->codec == &glmq_codec_mxfp4) return FP4_NO_GLOBAL;
    if (enc->codec == &glmq_codec_nvfp4) return FP4_MULTIPLIES;
    if (enc->codec != &glmq_codec_fp4) return FP4_NOT;
    if (enc->group != NV_GROUP) return FP4_NO_GLOBAL;
    return enc->variant == FP4_CT ? FP4_DIVIDES : FP4_MULTIPLIES;
}

int fp4_has_global(const glmq_encoding *enc)
{
    const fp4_global kind = fp4_global_of(enc);
    return kind == FP4_MULTIPLIES || kind == FP4_DIVIDES;
}

/* ---- global scales ---- */

int fp4_is_scale(uint32_t bits)
{
    return bits > 0 && bits < 0x7f800000;
}

int fp4_are_reciprocal(uint32_t a, uint32_t b)
{
    const uint32_t r = bits_from_f32(1.0f / f32_from_bits(a));

    if (!fp4_is_scale(a) || !fp4_is_scale(b) || !fp4_is_scale(r)) return 0;
    if (bits_from_f32(1.0f / f32_from_bits(b)) == a) return 1;
    return r == b || r + 1 == b || r == b + 1;
}

/* What llm-compressor stores for a BF16 model is a BF16 number; what ModelOpt stores is one
 * divided by 2688. */
static float usual(float r, fp4_global to)
{
    if (to == FP4_DIVIDES) return f32_from_bf16(bf16_from_f32(r));
    return f32_from_bf16(bf16_from_f32(r * 2688.0f)) / 2688.0f;
}

uint32_t fp4_reciprocal(uint32_t bits, fp4_global to)
{
    const float x = f32_from_bits(bits), r = 1.0f / x, c = usual(r, to);

    if (!fp4_is_scale(bits) || !fp4_is_scale(bits_from_f32(r))) return 0;
    return bits_from_f32(1.0f / c == x ? c : r);
}

/* ---- layout and check ---- */

static glmq_status check_params(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                                glmq_error *err)
{
    const int nv = e->group == NV_GROUP && e->scale_dtype == GLMQ_DT_F8_E4M3;
    const int mx =
        e->group == MX_GROUP && (e->scale_dtype == GLMQ_DT_U8 || e->scale_dtype == GLMQ_DT_F8_E8M0);

    if (!nv && !mx)
        return glmq_fail(err, GLMQ_E_FORMAT, "fp4: groups of %u with scales of type %s", e->group,
                         glmq_dtype_name((glmq_dtype)e->scale_dtype));
    if (rows == 0 || cols == 0 || cols % e->group)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "fp4: %" PRIu64 " rows of %" PRIu64 " columns, not a multiple of %u", rows,
                         cols, e->group);
    if (cols > INT32_MAX) return glmq_fail(err, GLMQ_E_LIMIT, "fp4: %" PRIu64 " columns", cols);
    return GLMQ_OK;
}

static glmq_status fp4_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                              glmq_layout *out, glmq_error *err)
{
    const glmq_dtype codes = e->variant == FP4_INV ? GLMQ_DT_I8 : GLMQ_DT_U8;

    *out = (glmq_layout){ .row_quantum = 1 };
    GLMQ_TRY(check_params(e, rows, cols, err));
    GLMQ_TRY(ints_slot(
        out, GLMQ_SLOT_CODES,
        (glmq_slot_layout){ codes, .rank = 2, .dims = { rows, cols / 2 }, .stripe_rows = 1 }, 1,
        "fp4", err));
    GLMQ_TRY(ints_slot(out, GLMQ_SLOT_SCALES,
                       (glmq_slot_layout){ (glmq_dtype)e->scale_dtype, .rank = 2,
                                           .dims = { rows, cols / e->group }, .stripe_rows = 1 },
                       1, "fp4", err));
    if (fp4_global_of(e) == FP4_NO_GLOBAL) return GLMQ_OK;
    return ints_slot(out, GLMQ_SLOT_GLOBAL, /* ModelOpt's is a number, the other's a list of one */
                     (glmq_slot_layout){ GLMQ_DT_F32, .rank = e->variant == FP4_CT, .dims = { 1 } },
                     0, "fp4", err);
}

static glmq_status fp4_check(glmq_encoding *e, const glmq_bufs *b, uint64_t rows, uint64_t cols,
                             glmq_error *err)
{
    const uint8_t *global = b->buf[GLMQ_SLOT_GLOBAL];

    (void)rows, (void)cols;
    if (fp4_global_of(e) == FP4_NO_GLOBAL) return GLMQ_OK;
    if (!global) return glmq_fail(err, GLMQ_E_FORMAT, "fp4: no global scale is stored");
    if (fp4_is_scale(load_le32(global))) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT, "the global scale %g is no finite positive number",
                     (double)f32_from_bits(load_le32(global)));
}

/* E4M3 without NaN and sign, E8M0 without NaN. */
static glmq_status fp4_check_rows(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t,
                                  glmq_error *err)
{
    const uint64_t across = t.cols / e->group, n = t.rows * across;
    const uint8_t *s = b->buf[GLMQ_SLOT_SCALES] + (t.row - b->row0) * across;
    const uint8_t most = e->group == NV_GROUP ? 0x7e : 0xfe;

    for (uint64_t i = 0; i < n; i++)
        if (s[i] > most)
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "scale 0x%02x of row %" PRIu64 ", group %" PRIu64 " is %s", s[i],
                             t.row + i / across, i % across,
                             (s[i] | 0x80) == 0xff ? "not a number" : "negative");
    return GLMQ_OK;
}

/* ---- the matrix as a map ---- */

static fp4_map fp4_map_of(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t)
{
    const uint64_t groups = t.cols / e->group, row = b ? t.row - b->row0 : 0;
    static uint8_t nowhere[4]; /* a question about the small arrays alone: nothing is stored */
    fp4_map m = {
        .name = e->group == NV_GROUP ? "NVFP4" : "MXFP4",
        .group = e->group,
        .groups = (uint32_t)groups,
        .global = fp4_global_of(e),
        .plus_zero = e->variant == FP4_MODELOPT && e->group == NV_GROUP, /* its MXFP4 has a -0 */
        .powers = e->group == MX_GROUP,
        .global_at = b ? b->buf[GLMQ_SLOT_GLOBAL] : nowhere,
        .scales = { .row = groups, .block = 1 },
        .codes = { .row = t.cols / 2, .block = e->group / 2 },
    };

    if (!b) return m;
    m.scales.base = b->buf[GLMQ_SLOT_SCALES] + row * groups;
    m.codes.base = b->buf[GLMQ_SLOT_CODES] + row * (t.cols / 2);
    return m;
}

static void fp4_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w)
{
    const fp4_map m = fp4_map_of(e, b, t);
    fp4_map_decode(&m, t, w);
}

static void fp4_get(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, glmq_codes *codes)
{
    const fp4_map m = fp4_map_of(e, b, t);
    fp4_map_get(&m, t, codes);
}

static glmq_status fp4_put(const glmq_encoding *e, const glmq_codes *codes, glmq_tile t,
                           glmq_bufs *b, glmq_error *err)
{
    const fp4_map m = fp4_map_of(e, codes->q ? b : NULL, t);
    return fp4_map_put(&m, e, codes, t, err);
}

/* The scale that was settled, else that of the largest weight. */
static void fp4_encode(const glmq_encoding *e, const glmq_stats *stats, glmq_tile t, const float *w,
                       glmq_bufs *b)
{
    const fp4_map m = fp4_map_of(e, b, t);
    const float amax = stats ? stats->amax : 0;
    fp4_rule rule = { .group = fp4_group_ct_mx, .bf16 = stats && stats->bf16 };

    if (m.global == FP4_MULTIPLIES) {
        rule.group = fp4_group_modelopt;
        rule.global = e->scalar ? f32_from_bits(e->scalar) : fp4_modelopt_global(amax);
    } else if (m.global == FP4_DIVIDES) {
        rule.group = fp4_group_ct;
        rule.global = e->scalar ? f32_from_bits(e->scalar) : fp4_ct_global(amax, rule.bf16);
    }
    fp4_map_encode(&m, &rule, t, w);
}

static size_t fp4_print(const glmq_encoding *e, char *text, size_t cap)
{
    static const char *const whose[] = { "modelopt", "compressed-tensors", "inv", "blocks" };
    const char *e8m0 = e->scale_dtype == GLMQ_DT_F8_E8M0 ? ",scale=F8_E8M0" : "";
    const int n = snprintf(text, cap, "%s,%s%s", e->group == NV_GROUP ? "nvfp4" : "mxfp4",
                           whose[e->variant & 3], e8m0);
    return n < 0 ? 0 : (size_t)n;
}

const glmq_codec glmq_codec_fp4 = {
    .name = "fp4",
    .about = "NVFP4 and MXFP4 of safetensors: 4-bit floats, a scale per 16 or 32",
    .needs = GLMQ_NEEDS_AMAX,
    .layout = fp4_layout,
    .check = fp4_check,
    .check_rows = fp4_check_rows,
    .decode = fp4_decode,
    .encode = fp4_encode,
    .get_codes = fp4_get,
    .put_codes = fp4_put,
    .print = fp4_print,
};
