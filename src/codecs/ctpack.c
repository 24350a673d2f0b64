/* compressed-tensors pack-quantized.  For a matrix of N rows and K columns, b bits:
 *
 *   CODES   I32 [N, ceil(K*b/32)]    a bit stream of codes per row, least bit first; or
 *           I32 [N, ceil(K/p)]       p = floor(32/b) codes per word (CT_LOOSE)
 *   SHAPE   I64 [2] = N, K           (I32 is seen)
 *   SCALES, ZEROS, PERM              see ct.c
 *
 *   w = (float)(q - zero) * scale    codes and zeros are stored plus 2^(b-1): unsigned */
#include "ctpack.h"
#include "base/error.h"
#include "base/safe.h"
#include "ct.h"
#include <stdio.h>

enum { WIDTHS = 0x1fc }; /* 2..8 */

static int zero_bytes(const glmq_encoding *e)
{
    return (e->variant & CT_ZERO_I8) != 0;
}

static glmq_dtype shape_dtype(const glmq_encoding *e)
{
    return e->variant & CT_SHAPE_I32 ? GLMQ_DT_I32 : GLMQ_DT_I64;
}

static uint64_t row_words(const glmq_encoding *e, uint64_t cols)
{
    return ct_loose(e) ? ceil_div_u64(cols, ct_loose(e)) : ceil_div_u64(cols * e->bits, 32);
}

static glmq_status ctpack_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                                 glmq_layout *out, glmq_error *err)
{
    *out = (glmq_layout){ .row_quantum = 1 };
    GLMQ_TRY(ints_check_params(e, "ctpack", WIDTHS, rows, cols, err));
    GLMQ_TRY(ints_slot(out, GLMQ_SLOT_CODES,
                       (glmq_slot_layout){ GLMQ_DT_I32, .rank = 2,
                                           .dims = { rows, row_words(e, cols) }, .stripe_rows = 1 },
                       1, "ctpack", err));
    GLMQ_TRY(ints_slot(out, GLMQ_SLOT_SHAPE,
                       (glmq_slot_layout){ shape_dtype(e), .rank = 1, .dims = { 2 } }, 0, "ctpack",
                       err));
    return ct_layout_small(e, rows, cols, zero_bytes(e), "ctpack", out, err);
}

static ints_map ctpack_map(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t)
{
    const uint64_t words = row_words(e, t.cols);
    ints_map m = ct_map(e, b, t, zero_bytes(e));

    m.name = "ctpack";
    m.codes = ints_codes(b, 4 * words * (t.row - b->row0));
    m.code_row = words;
    m.code_word = 1;
    return m;
}

static uint64_t shape_at(const glmq_encoding *e, const uint8_t *p, int i)
{
    return shape_dtype(e) == GLMQ_DT_I32 ? load_le32(p + 4 * i) : load_le64(p + 8 * i);
}

static glmq_status ctpack_check(glmq_encoding *e, const glmq_bufs *b, uint64_t rows, uint64_t cols,
                                glmq_error *err)
{
    const uint8_t *shape = b->buf[GLMQ_SLOT_SHAPE];

    if (shape && (shape_at(e, shape, 0) != rows || shape_at(e, shape, 1) != cols))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "ctpack: weight_shape says %" PRIu64 " x %" PRIu64
                         ", the model has %" PRIu64 " x %" PRIu64,
                         shape_at(e, shape, 0), shape_at(e, shape, 1), rows, cols);
    return ct_check_perm(e, b, cols, "ctpack", err);
}

static void put_shape(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t)
{
    uint8_t *p = b->buf[GLMQ_SLOT_SHAPE];

    if (!p || t.row) return;
    if (shape_dtype(e) == GLMQ_DT_I32) {
        store_le32(p, (uint32_t)t.of_rows);
        store_le32(p + 4, (uint32_t)t.cols);
        return;
    }
    store_le64(p, t.of_rows);
    store_le64(p + 8, t.cols);
}

static void ctpack_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w)
{
    const ints_map m = ctpack_map(e, b, t);
    ints_decode(&m, w);
}

static void ctpack_encode(const glmq_encoding *e, const glmq_stats *stats, glmq_tile t,
                          const float *w, glmq_bufs *b)
{
    const ints_map m = ctpack_map(e, b, t);
    (void)stats;
    put_shape(e, b, t);
    ct_put_perm(e, b, t, NULL);
    ints_encode(&m, w);
}

static void ctpack_get(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, glmq_codes *codes)
{
    const ints_map m = ctpack_map(e, b, t);
    ints_get(&m, codes);
}

static glmq_status ctpack_put(const glmq_encoding *e, const glmq_codes *codes, glmq_tile t,
                              glmq_bufs *b, glmq_error *err)
{
    const codes_target to = ct_target(e, t.cols, "compressed-tensors");
    ints_map m;

    if (!codes->q) return ints_fit(&to, codes, t, err);
    m = ctpack_map(e, b, t);
    put_shape(e, b, t);
    ct_put_perm(e, b, t, codes->perm);
    return ints_put(&m, &to, codes, t, err);
}

static size_t ctpack_print(const glmq_encoding *e, char *text, size_t cap)
{
    const size_t n = ints_print(e, text, cap);
    const int more = snprintf(n < cap ? text + n : NULL, n < cap ? cap - n : 0, "%s%s%s",
                              e->zero_kind == GLMQ_ZERO_STORED && zero_bytes(e) ? ",zeros=I8" : "",
                              e->variant & CT_SHAPE_I32 ? ",shape=I32" : "",
                              e->variant & CT_LOOSE ? ",loose" : "");
    return n + (size_t)more;
}

const glmq_codec glmq_codec_ctpack = {
    .name = "ctpack",
    .about = "2 to 8-bit integers packed in words (compressed-tensors pack-quantized)",
    .takes_stream = 1,
    .layout = ctpack_layout,
    .check = ctpack_check,
    .decode = ctpack_decode,
    .encode = ctpack_encode,
    .get_codes = ctpack_get,
    .put_codes = ctpack_put,
    .print = ctpack_print,
};
