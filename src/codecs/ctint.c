/* compressed-tensors int-quantized and naive-quantized.  For a matrix of N rows, K columns:
 *
 *   CODES   I8 [N, K]                signed; fewer bits keep to their range
 *   SCALES, ZEROS (I8), PERM         see ct.c
 *
 *   w = (float)(q - zero) * scale
 *
 * The codes view is that of 8 bits whatever `bits` says: bytes may hold any value. */
#include "base/error.h"
#include "ct.h"

enum { WIDTHS = 0x1fc }; /* 2..8 */

static glmq_status ctint_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                                glmq_layout *out, glmq_error *err)
{
    *out = (glmq_layout){ .row_quantum = 1 };
    GLMQ_TRY(ints_check_params(e, "ctint", WIDTHS, rows, cols, err));
    GLMQ_TRY(ints_slot(
        out, GLMQ_SLOT_CODES,
        (glmq_slot_layout){ GLMQ_DT_I8, .rank = 2, .dims = { rows, cols }, .stripe_rows = 1 }, 1,
        "ctint", err));
    return ct_layout_small(e, rows, cols, 1, "ctint", out, err);
}

static ints_map ctint_map(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t)
{
    ints_map m = ct_map(e, b, t, 1);

    m.name = "ctint";
    m.frame = 8;
    m.codes = ints_codes(b, t.cols * (t.row - b->row0));
    m.code_bytes = 1;
    m.code_row = t.cols;
    return m;
}

static glmq_status ctint_check(glmq_encoding *e, const glmq_bufs *b, uint64_t rows, uint64_t cols,
                               glmq_error *err)
{
    (void)rows;
    return ct_check_perm(e, b, cols, "ctint", err);
}

static void ctint_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w)
{
    const ints_map m = ctint_map(e, b, t);
    ints_decode(&m, w);
}

static void ctint_encode(const glmq_encoding *e, const glmq_stats *stats, glmq_tile t,
                         const float *w, glmq_bufs *b)
{
    const ints_map m = ctint_map(e, b, t);
    (void)stats;
    ct_put_perm(e, b, t, NULL);
    ints_encode(&m, w);
}

static void ctint_get(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, glmq_codes *codes)
{
    const ints_map m = ctint_map(e, b, t);
    ints_get(&m, codes);
}

static glmq_status ctint_put(const glmq_encoding *e, const glmq_codes *codes, glmq_tile t,
                             glmq_bufs *b, glmq_error *err)
{
    const codes_target to = ct_target(e, t.cols, "compressed-tensors");
    ints_map m;

    if (!codes->q) return ints_fit(&to, codes, t, err);
    m = ctint_map(e, b, t);
    ct_put_perm(e, b, t, codes->perm);
    return ints_put(&m, &to, codes, t, err);
}

const glmq_codec glmq_codec_ctint = {
    .name = "ctint",
    .about = "up to 8-bit integers, one signed byte each (compressed-tensors int-quantized)",
    .layout = ctint_layout,
    .check = ctint_check,
    .decode = ctint_decode,
    .encode = ctint_encode,
    .get_codes = ctint_get,
    .put_codes = ctint_put,
    .print = ints_print,
};
