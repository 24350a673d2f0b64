/* Vector quantization with a shared codebook.  For a matrix of N rows and K columns, a codebook
 * of `entries` runs of d weights, and groups of g columns (d divides g, g divides K):
 *
 *   CODES   a row's K/d codes of b bits each: a stream, lowest bits first, padded to whole 32-bit
 *           words and stored as I32, U32, I8 or U8 [N, …]; or one code in each 16- or 8-bit
 *           element [N, K/d]; or the words the other way round [words, N]
 *   SCALES  F16 [N, K/g], not negative; BF16 and F32 are seen too
 *
 *   w = entry[code][i] * scale    one rounding in F32, none where both are halves
 *
 * The codebook is no slot: it lies outside, once for all tensors (encoding.tables). */
#include "vq.h"
#include "base/error.h"
#include "base/num.h"
#include "base/safe.h"
#include "codes.h"
#include "ints.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- forms ---- */

static const struct form {
    glmq_dtype dtype;
    uint8_t bytes; /* of an element              */
    uint8_t each;  /* an element holds one code  */
    const char *text;
} forms[VQ_FORMS] = {
    [VQ_I32] = { GLMQ_DT_I32, 4, 0, "" },
    [VQ_U32] = { GLMQ_DT_U32, 4, 0, ",u32" },
    [VQ_I8] = { GLMQ_DT_I8, 1, 0, ",i8" },
    [VQ_U8] = { GLMQ_DT_U8, 1, 0, ",u8" },
    [VQ_EACH_I16] = { GLMQ_DT_I16, 2, 1, ",each=i16" },
    [VQ_EACH_U16] = { GLMQ_DT_U16, 2, 1, ",each=u16" },
    [VQ_EACH_I8] = { GLMQ_DT_I8, 1, 1, ",each=i8" },
    [VQ_EACH_U8] = { GLMQ_DT_U8, 1, 1, ",each=u8" },
    [VQ_TURNED] = { GLMQ_DT_I32, 4, 0, ",turned" },
};

glmq_dtype vq_form_dtype(vq_form form)
{
    return forms[form].dtype;
}

uint64_t vq_form_elements(vq_form form, unsigned bits, uint64_t codes)
{
    return forms[form].each ? codes : ceil_div_u64(codes * bits, 32) * (4 / forms[form].bytes);
}

static const vq_book *book_of(const glmq_encoding *e)
{
    return e->tables;
}

/* ---- layout ---- */

static glmq_status check_params(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                                glmq_error *err)
{
    const vq_book *k = book_of(e);

    if (!k || k->entries < 2 || k->width == 0 || e->bits == 0 || e->bits > VQ_BITS_MAX ||
        k->entries > 1u << e->bits)
        return glmq_fail(err, GLMQ_E_FORMAT, "vq: codes of %u bits for %u entries of %u weights",
                         e->bits, k ? k->entries : 0, k ? k->width : 0);
    if (e->variant >= VQ_FORMS || (forms[e->variant].each && e->bits > 8 * forms[e->variant].bytes))
        return glmq_fail(err, GLMQ_E_FORMAT, "vq: codes of %u bits in form %u", e->bits,
                         e->variant);
    if (!glmq_dtype_is_float((glmq_dtype)e->scale_dtype))
        return glmq_fail(err, GLMQ_E_FORMAT, "vq: scales of type %s",
                         glmq_dtype_name((glmq_dtype)e->scale_dtype));
    if (rows == 0 || cols == 0 || rows > UINT64_MAX / 64 || cols > INT32_MAX)
        return glmq_fail(err, rows && cols ? GLMQ_E_LIMIT : GLMQ_E_FORMAT,
                         "vq: a matrix of %" PRIu64 " x %" PRIu64, rows, cols);
    return GLMQ_OK;
}

static glmq_status vq_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols, glmq_layout *out,
                             glmq_error *err)
{
    const vq_book *k = book_of(e);
    const vq_form form = (vq_form)e->variant;
    glmq_slot_layout codes = { .rank = 2, .dims = { rows }, .stripe_rows = 1 };
    uint64_t group, elements;

    *out = (glmq_layout){ .row_quantum = 1 };
    GLMQ_TRY(check_params(e, rows, cols, err));
    group = e->group ? e->group : cols;
    if (cols % k->width || cols % group || group % k->width)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "vq: %" PRIu64 " columns, entries of %u, groups of %" PRIu64
                         ": each must be a multiple of the one before it in size",
                         cols, k->width, group);
    elements = vq_form_elements(form, e->bits, cols / k->width);
    codes.dtype = forms[form].dtype;
    codes.dims[1] = elements;
    if (form == VQ_TURNED)
        codes = (glmq_slot_layout){ codes.dtype, .rank = 2, .dims = { elements, rows } };
    GLMQ_TRY(ints_slot(out, GLMQ_SLOT_CODES, codes, 1, "vq", err));
    return ints_slot(out, GLMQ_SLOT_SCALES,
                     (glmq_slot_layout){ (glmq_dtype)e->scale_dtype, .rank = 2,
                                         .dims = { rows, cols / group }, .stripe_rows = 1 },
                     1, "vq", err);
}

/* ---- codes ---- */

static uint64_t codes_per_row(const glmq_encoding *e, uint64_t cols)
{
    return cols / book_of(e)->width;
}

/* A striped slot's bytes of a row. */
static const uint8_t *row_of(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, uint64_t row)
{
    const vq_form form = (vq_form)e->variant;
    const uint64_t elements = vq_form_elements(form, e->bits, codes_per_row(e, t.cols));
    return b->buf[GLMQ_SLOT_CODES] + (row - b->row0) * elements * forms[form].bytes;
}

/* Words stored [words, rows]: those of one row, gathered. */
static void gather_words(const glmq_bufs *b, glmq_tile t, uint64_t row, uint64_t word, size_t words,
                         uint8_t *out)
{
    for (size_t i = 0; i < words; i++)
        memcpy(out + 4 * i, b->buf[GLMQ_SLOT_CODES] + 4 * ((word + i) * t.of_rows + row), 4);
}

void vq_get_codes(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, uint64_t row,
                  uint64_t first, size_t n, uint16_t *q)
{
    const glmq_kernels *k = glmq_kernels_now();
    const vq_form form = (vq_form)e->variant;
    uint8_t words[VQ_RUN * VQ_BITS_MAX / 8];

    if (form == VQ_TURNED) {
        gather_words(b, t, row, first * e->bits / 32, (n * e->bits + 31) / 32, words);
        k->unpack_wide(words, n, e->bits, q);
    } else if (forms[form].each) {
        const unsigned bytes = forms[form].bytes;
        k->unpack_wide(row_of(e, b, t, row) + first * bytes, n, 8 * bytes, q);
    } else {
        k->unpack_wide(row_of(e, b, t, row) + first * e->bits / 8, n, e->bits, q);
    }
}

int vq_has_stray_bits(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, uint64_t row)
{
    const uint64_t bits = codes_per_row(e, t.cols) * e->bits, words = ceil_div_u64(bits, 32);
    uint32_t last;

    if (bits % 32 == 0 || forms[e->variant].each) return 0;
    if (e->variant == VQ_TURNED)
        last = load_le32(b->buf[GLMQ_SLOT_CODES] + 4 * ((words - 1) * t.of_rows + row));
    else
        last = load_le32(row_of(e, b, t, row) + 4 * (words - 1));
    return last >> bits % 32 != 0;
}

/* ---- what could not be decoded ---- */

static glmq_status vq_check(glmq_encoding *e, const glmq_bufs *b, uint64_t rows, uint64_t cols,
                            glmq_error *err)
{
    const vq_book *k = book_of(e);

    (void)b, (void)rows, (void)cols;
    if (k->values) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "vq: its codebook %s (%u entries of %u) was not found: see --vq-codebooks",
                     k->name, k->entries, k->width);
}

static glmq_status check_codes(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t,
                               glmq_error *err)
{
    const uint64_t codes = codes_per_row(e, t.cols);
    const uint32_t entries = book_of(e)->entries;
    uint16_t q[VQ_RUN];

    for (uint64_t r = t.row; r < t.row + t.rows; r++)
        for (uint64_t c = 0; c < codes; c += VQ_RUN) {
            const size_t n = codes - c < VQ_RUN ? (size_t)(codes - c) : (size_t)VQ_RUN;
            vq_get_codes(e, b, t, r, c, n, q);
            for (size_t i = 0; i < n; i++)
                if (q[i] >= entries)
                    return glmq_fail(err, GLMQ_E_FORMAT,
                                     "vq: code %u of row %" PRIu64 ", number %" PRIu64
                                     ": the codebook has %u entries",
                                     q[i], r, c + i, entries);
        }
    return GLMQ_OK;
}

static const uint8_t *scales_of(const glmq_encoding *e, const glmq_bufs *b, uint64_t row,
                                uint64_t groups)
{
    const size_t each = float_bytes(codes_float_kind((glmq_dtype)e->scale_dtype));
    return b->buf[GLMQ_SLOT_SCALES] + (row - b->row0) * groups * each;
}

static glmq_status check_scales(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t,
                                glmq_error *err)
{
    const uint64_t groups = glmq_encoding_groups(e, t.cols), n = t.rows * groups;
    const uint8_t *p = scales_of(e, b, t.row, groups);
    const float_kind kind = codes_float_kind((glmq_dtype)e->scale_dtype);
    const size_t each = float_bytes(kind);
    float s[VQ_RUN];

    for (uint64_t i = 0; i < n; i += VQ_RUN) {
        const size_t run = n - i < VQ_RUN ? (size_t)(n - i) : (size_t)VQ_RUN;
        glmq_kernels_now()->widen[kind](p + each * i, run, s);
        for (size_t k = 0; k < run; k++)
            if (!(s[k] >= 0) || !is_finite_f32(s[k]))
                return glmq_fail(err, GLMQ_E_FORMAT,
                                 "vq: scale %g of row %" PRIu64 ", group %" PRIu64
                                 " is negative or no number",
                                 (double)s[k], t.row + (i + k) / groups, (i + k) % groups);
    }
    return GLMQ_OK;
}

static glmq_status vq_check_rows(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t,
                                 glmq_error *err)
{
    const unsigned held = forms[e->variant].each ? 8u * forms[e->variant].bytes : e->bits;

    if (!b->buf[GLMQ_SLOT_CODES] || !b->buf[GLMQ_SLOT_SCALES])
        return glmq_fail(err, GLMQ_E_FORMAT, "vq: no codes, or no scales");
    GLMQ_TRY(check_scales(e, b, t, err));
    return book_of(e)->entries == 1u << held ? GLMQ_OK : check_codes(e, b, t, err);
}

/* ---- decode ---- */

/* The scale of each of codes [first, first + n): `per` of them share one. */
static void spread_scales(const float *scale, uint64_t first, size_t n, uint64_t per, float *out)
{
    uint64_t left = per - first % per;

    for (size_t i = 0; i < n; left = per, scale++) {
        const size_t end = left < n - i ? i + (size_t)left : n;
        const float s = *scale;
        for (; i < end; i++) out[i] = s;
    }
}

static void vq_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w)
{
    const glmq_kernels *k = glmq_kernels_now();
    const vq_book *book = book_of(e);
    const uint64_t codes = codes_per_row(e, t.cols), groups = glmq_encoding_groups(e, t.cols);
    const uint64_t per = codes / groups;
    const float_kind kind = codes_float_kind((glmq_dtype)e->scale_dtype);
    const size_t each = float_bytes(kind);
    float scale[VQ_RUN + 1], spread[VQ_RUN];
    uint16_t q[VQ_RUN];

    for (uint64_t r = t.row; r < t.row + t.rows; r++) {
        const uint8_t *scales = scales_of(e, b, r, groups);
        for (uint64_t c = 0; c < codes; c += VQ_RUN) {
            const size_t n = codes - c < VQ_RUN ? (size_t)(codes - c) : (size_t)VQ_RUN;
            const uint64_t g = c / per;
            vq_get_codes(e, b, t, r, c, n, q);
            k->widen[kind](scales + each * g, (size_t)((c + n - 1) / per - g + 1), scale);
            spread_scales(scale, c, n, per, spread);
            k->book_scale(book->values, book->width, q, n, spread, w);
            w += n * book->width;
        }
    }
}

/* ---- the rest ---- */

static size_t vq_print(const glmq_encoding *e, char *text, size_t cap)
{
    const vq_book *k = book_of(e);
    char group[16] = "channel";
    int n;

    if (e->group) snprintf(group, sizeof group, "%u", e->group);
    n = snprintf(text, cap, "bits=%.4g,d=%u,entries=%u,group=%s,scale=%s%s",
                 (double)e->bits / k->width, k->width, k->entries, group,
                 glmq_dtype_name((glmq_dtype)e->scale_dtype), forms[e->variant].text);
    return n < 0 ? 0 : (size_t)n;
}

static int vq_same_tables(const void *x, const void *y)
{
    const vq_book *a = x, *b = y;

    return a->entries == b->entries && a->width == b->width && a->bits == b->bits && a->values &&
           b->values &&
           memcmp(a->values, b->values, (size_t)a->entries * a->width * sizeof *a->values) == 0;
}

static double vq_share(const glmq_encoding *e, uint64_t weights)
{
    const vq_book *k = book_of(e);
    return k->weights ? (double)k->bytes * (double)weights / (double)k->weights : 0;
}

const glmq_codec glmq_codec_vq = {
    .name = "vq",
    .about = "runs of weights from a codebook that many tensors share, a scale per group",
    .layout = vq_layout,
    .check = vq_check,
    .check_rows = vq_check_rows,
    .decode = vq_decode,
    .print = vq_print,
    .same_tables = vq_same_tables,
    .share = vq_share,
};
