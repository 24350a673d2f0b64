/* AQLM: sums of entries of several codebooks that belong to one matrix.  For N rows and K
 * columns, M codebooks of 2^b entries, each `out` rows by `in` columns:
 *
 *   CODES   [N/out, K/in, M]        I8, I16 or I32, signed: code & (2^b - 1) is the entry
 *   BOOK    [M, 2^b, out, in]       F16; BF16 and F32 are seen too
 *   SCALES  [N/out, 1, 1, 1]        F16, …; [N/out, K/in, 1, 1] has one for each place
 *
 *   w = ((0 + entry 0) + entry 1 + …) * scale    in F32, in the order of the codebooks */
#include "aqlm.h"
#include "base/error.h"
#include "base/num.h"
#include "base/safe.h"
#include "codes.h"
#include "ints.h"
#include <stdio.h>
#include <string.h>

static const aqlm_shape *shape_of(const glmq_encoding *e)
{
    return e->tables;
}

/* ---- layout ---- */

/* Bits of a type of codes; 0: it is none. */
static unsigned code_bits(glmq_dtype dtype)
{
    if (dtype == GLMQ_DT_I8) return 8;
    return dtype == GLMQ_DT_I16 ? 16 : dtype == GLMQ_DT_I32 ? 32 : 0;
}

static glmq_status check_params(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                                glmq_error *err)
{
    const aqlm_shape *a = shape_of(e);

    if (!a || a->books == 0 || a->in == 0 || a->out == 0 || a->bits == 0 || a->bits > AQLM_BITS_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "aqlm: %u codebooks of %u bits, groups of %u x %u",
                         a ? a->books : 0, a ? a->bits : 0, a ? a->out : 0, a ? a->in : 0);
    if ((uint64_t)a->books * a->in > AQLM_FLOATS_MAX || (uint64_t)a->books << a->bits > UINT32_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "aqlm: %u codebooks of %u bits, %u columns", a->books,
                         a->bits, a->in);
    if (a->bits > code_bits((glmq_dtype)a->code_dtype))
        return glmq_fail(err, GLMQ_E_FORMAT, "aqlm: codes of %u bits stored as %s", a->bits,
                         glmq_dtype_name((glmq_dtype)a->code_dtype));
    if (!glmq_dtype_is_float((glmq_dtype)a->book_dtype) ||
        !glmq_dtype_is_float((glmq_dtype)e->scale_dtype))
        return glmq_fail(err, GLMQ_E_FORMAT, "aqlm: codebooks of type %s, scales of type %s",
                         glmq_dtype_name((glmq_dtype)a->book_dtype),
                         glmq_dtype_name((glmq_dtype)e->scale_dtype));
    if (rows == 0 || cols == 0 || rows % a->out || cols % a->in)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "aqlm: a matrix of %" PRIu64 " x %" PRIu64 " in groups of %u x %u", rows,
                         cols, a->out, a->in);
    if (cols > INT32_MAX || rows > UINT64_MAX / 64)
        return glmq_fail(err, GLMQ_E_LIMIT, "aqlm: %" PRIu64 " x %" PRIu64, rows, cols);
    return GLMQ_OK;
}

static glmq_status aqlm_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                               glmq_layout *out, glmq_error *err)
{
    const aqlm_shape *a = shape_of(e);
    uint64_t down, across;

    *out = (glmq_layout){ .row_quantum = a && a->out ? a->out : 1 };
    GLMQ_TRY(check_params(e, rows, cols, err));
    down = rows / a->out;
    across = cols / a->in;
    GLMQ_TRY(
        ints_slot(out, GLMQ_SLOT_CODES,
                  (glmq_slot_layout){ (glmq_dtype)a->code_dtype, .rank = 3,
                                      .dims = { down, across, a->books }, .stripe_rows = a->out },
                  1, "aqlm", err));
    GLMQ_TRY(ints_slot(out, GLMQ_SLOT_SCALES,
                       (glmq_slot_layout){ (glmq_dtype)e->scale_dtype, .rank = 4,
                                           .dims = { down, a->by_place ? across : 1, 1, 1 },
                                           .stripe_rows = a->out },
                       1, "aqlm", err));
    return ints_slot(
        out, GLMQ_SLOT_BOOK,
        (glmq_slot_layout){ (glmq_dtype)a->book_dtype, .rank = 4,
                            .dims = { a->books, UINT64_C(1) << a->bits, a->out, a->in } },
        0, "aqlm", err);
}

/* ---- what could not be decoded ---- */

static glmq_status aqlm_check(glmq_encoding *e, const glmq_bufs *b, uint64_t rows, uint64_t cols,
                              glmq_error *err)
{
    enum { RUN = 512 };
    const aqlm_shape *a = shape_of(e);
    const float_kind kind = codes_float_kind((glmq_dtype)a->book_dtype);
    const size_t each = float_bytes(kind);
    const uint64_t entry = (uint64_t)a->out * a->in, book = entry << a->bits, n = book * a->books;
    const uint8_t *p = b->buf[GLMQ_SLOT_BOOK];
    float v[RUN];

    (void)rows, (void)cols;
    if (!p) return glmq_fail(err, GLMQ_E_FORMAT, "aqlm: no codebooks are stored");
    for (uint64_t i = 0; i < n; i += RUN) {
        const size_t run = n - i < RUN ? (size_t)(n - i) : (size_t)RUN;
        glmq_kernels_now()->widen[kind](p + each * i, run, v);
        for (size_t k = 0; k < run; k++)
            if (!is_finite_f32(v[k]))
                return glmq_fail(err, GLMQ_E_FORMAT,
                                 "aqlm: entry %" PRIu64 " of codebook %" PRIu64
                                 " is no finite number",
                                 (i + k) % book / entry, (i + k) / book);
    }
    return GLMQ_OK;
}

/* ---- decode ---- */

/* Scales that are widened at a time where each place has its own. */
enum { SCALES = 512 };

/* One row of `across` places; `scales` are those of its group of rows. */
static void decode_row(const glmq_encoding *e, aqlm_run *r, const uint8_t *scales, uint64_t across,
                       float *w)
{
    const glmq_kernels *k = glmq_kernels_now();
    const float_kind kind = codes_float_kind((glmq_dtype)e->scale_dtype);
    const uint64_t most = shape_of(e)->by_place ? SCALES : across;
    float s[SCALES];

    r->scales = s;
    r->scale_step = shape_of(e)->by_place;
    for (uint64_t c = 0; c < across; c += most) {
        const size_t n = (size_t)(across - c < most ? across - c : most);
        k->widen[kind](scales + c * float_bytes(kind), r->scale_step ? n : 1, s);
        k->aqlm_sums(r, n, w + c * r->width);
        r->codes += n * r->terms * r->code_bytes;
    }
}

static void aqlm_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w)
{
    const aqlm_shape *a = shape_of(e);
    const float_kind kind = codes_float_kind((glmq_dtype)a->book_dtype);
    const size_t scale_bytes = float_bytes(codes_float_kind((glmq_dtype)e->scale_dtype));
    const size_t row_bytes = float_bytes(kind) * a->in;
    const uint64_t across = t.cols / a->in, scales = a->by_place ? across : 1;
    aqlm_run r = { .stride = row_bytes * a->out,
                   .kind = kind,
                   .bits = a->bits,
                   .code_bytes = code_bits((glmq_dtype)a->code_dtype) / 8,
                   .terms = a->books,
                   .width = a->in };

    for (uint64_t i = 0; i < t.rows; i++) {
        const uint64_t row = t.row + i, group = row / a->out - b->row0 / a->out;

        r.books = b->buf[GLMQ_SLOT_BOOK] + row % a->out * row_bytes;
        r.codes = b->buf[GLMQ_SLOT_CODES] + group * across * r.terms * r.code_bytes;
        decode_row(e, &r, b->buf[GLMQ_SLOT_SCALES] + group * scales * scale_bytes, across,
                   w + i * t.cols);
    }
}

/* ---- the rest ---- */

static size_t aqlm_print(const glmq_encoding *e, char *text, size_t cap)
{
    const aqlm_shape *a = shape_of(e);
    const int n = snprintf(
        text, cap, "codebooks=%u,bits=%u,in=%u,out=%u,book=%s,scale=%s%s", a->books, a->bits, a->in,
        a->out, glmq_dtype_name((glmq_dtype)a->book_dtype),
        glmq_dtype_name((glmq_dtype)e->scale_dtype), a->by_place ? ",scale-per-place" : "");
    return n < 0 ? 0 : (size_t)n;
}

static int aqlm_same_tables(const void *x, const void *y)
{
    const aqlm_shape *a = x, *b = y;

    return a->books == b->books && a->in == b->in && a->out == b->out && a->bits == b->bits &&
           a->code_dtype == b->code_dtype && a->book_dtype == b->book_dtype &&
           a->by_place == b->by_place;
}

const glmq_codec glmq_codec_aqlm = {
    .name = "aqlm",
    .about = "sums of entries of the matrix's own codebooks, a scale per row",
    .layout = aqlm_layout,
    .check = aqlm_check,
    .decode = aqlm_decode,
    .print = aqlm_print,
    .same_tables = aqlm_same_tables,
};
