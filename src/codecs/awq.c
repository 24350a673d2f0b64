/* AWQ gemm: 4-bit codes and zeros packed along the output dimension, in an order of its own.
 * For a matrix of N rows and K columns, G groups:
 *
 *   CODES   I32 [K, N/8]    word (k, c): rows 8c + 0 2 4 6 1 3 5 7, lowest bits first
 *   ZEROS   I32 [G, N/8]    likewise, and as they are: nothing is subtracted
 *   SCALES  F16 [G, N]      BF16 and F32 are seen too
 *
 *   w = (float)(q - zero) * scale    exact in F32 for half scales
 *
 * No slot can be cut by rows.  Zeros are stored for symmetric tensors too. */
#include "base/error.h"
#include "base/safe.h"
#include "ints.h"

enum { BITS = 4, PER_WORD = 8 };

static glmq_status awq_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                              glmq_layout *out, glmq_error *err)
{
    const uint64_t words = rows / PER_WORD;
    const uint32_t groups = glmq_encoding_groups(e, cols);

    *out = (glmq_layout){ .row_quantum = PER_WORD };
    GLMQ_TRY(ints_check_params(e, "awq", 1 << BITS, rows, cols, err));
    if (rows % PER_WORD)
        return glmq_fail(err, GLMQ_E_FORMAT, "awq: %" PRIu64 " rows, no multiple of %d", rows,
                         PER_WORD);
    if (e->act_order)
        return glmq_fail(err, GLMQ_E_FORMAT, "awq: it has no place for activation order");
    GLMQ_TRY(ints_slot(out, GLMQ_SLOT_CODES,
                       (glmq_slot_layout){ GLMQ_DT_I32, .rank = 2, .dims = { cols, words } }, 0,
                       "awq", err));
    GLMQ_TRY(ints_slot(
        out, GLMQ_SLOT_SCALES,
        (glmq_slot_layout){ (glmq_dtype)e->scale_dtype, .rank = 2, .dims = { groups, rows } }, 0,
        "awq", err));
    return ints_slot(out, GLMQ_SLOT_ZEROS,
                     (glmq_slot_layout){ GLMQ_DT_I32, .rank = 2, .dims = { groups, words } }, 0,
                     "awq", err);
}

static ints_map awq_map(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t)
{
    const size_t each = float_bytes(codes_float_kind((glmq_dtype)e->scale_dtype));
    return (ints_map){
        .name = "awq",
        .rows = t.rows,
        .cols = t.cols,
        .group = glmq_encoding_group(e, t.cols),
        .groups = glmq_encoding_groups(e, t.cols),
        .bits = BITS,
        .frame = BITS,
        .rule = RULE_GPTQ,
        .codes = b->buf[GLMQ_SLOT_CODES],
        .interleaved = 1,
        .code_word = t.of_rows / PER_WORD,
        .scales = b->buf[GLMQ_SLOT_SCALES] + each * t.row,
        .scale_kind = codes_float_kind((glmq_dtype)e->scale_dtype),
        .scale_row = 1,
        .scale_group = t.of_rows,
        .zeros = b->buf[GLMQ_SLOT_ZEROS],
        .zero_kind = e->zero_kind == GLMQ_ZERO_STORED ? INTS_PACKED : INTS_MID,
        .zero_first = t.row,
        .zero_word = 1,
        .zero_group = t.of_rows / PER_WORD,
    };
}

/* A tensor that is called symmetric and is not is taken as stored. */
static glmq_status awq_check(glmq_encoding *e, const glmq_bufs *b, uint64_t rows, uint64_t cols,
                             glmq_error *err)
{
    const uint8_t *zeros = b->buf[GLMQ_SLOT_ZEROS];
    const uint64_t words = rows / PER_WORD * glmq_encoding_groups(e, cols);

    if (!zeros) return glmq_fail(err, GLMQ_E_FORMAT, "awq: no zero points are stored");
    for (uint64_t i = 0; i < words && e->zero_kind == GLMQ_ZERO_MID; i++)
        if (load_le32(zeros + 4 * i) != 0x88888888) e->zero_kind = GLMQ_ZERO_STORED;
    return GLMQ_OK;
}

static void awq_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w)
{
    const ints_map m = awq_map(e, b, t);
    ints_decode(&m, w);
}

static void awq_encode(const glmq_encoding *e, const glmq_stats *stats, glmq_tile t, const float *w,
                       glmq_bufs *b)
{
    const ints_map m = awq_map(e, b, t);
    (void)stats;
    ints_encode(&m, w);
}

static void awq_get(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, glmq_codes *codes)
{
    const ints_map m = awq_map(e, b, t);
    ints_get(&m, codes);
}

static glmq_status awq_put(const glmq_encoding *e, const glmq_codes *codes, glmq_tile t,
                           glmq_bufs *b, glmq_error *err)
{
    const codes_target to = ints_target(e, "awq", t.cols);
    ints_map m;

    if (!codes->q) return ints_fit(&to, codes, t, err);
    m = awq_map(e, b, t);
    return ints_put(&m, &to, codes, t, err);
}

const glmq_codec glmq_codec_awq = {
    .name = "awq",
    .about = "4-bit integers in groups, packed along the output dimension (AWQ gemm)",
    .takes_stream = 1,
    .layout = awq_layout,
    .check = awq_check,
    .decode = awq_decode,
    .encode = awq_encode,
    .get_codes = awq_get,
    .put_codes = awq_put,
    .print = ints_print,
};
