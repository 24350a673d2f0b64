/* Reordering a tensor without touching a number.  What is stored row by row is copied row by
 * row; what packs rows or columns together goes through its codes, whole, and back into its
 * own encoding. */
#include "convert/permuted.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include <string.h>

enum { TILE_VALUES = 64 * 1024 };

static glmq_status no_memory(glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_NOMEM, "a tensor in another order");
}

static void free_codes(glmq_codes *c)
{
    glmq_free(c->q);
    glmq_free(c->scale);
    glmq_free(c->zero);
    glmq_free(c->offset);
    *c = (glmq_codes){ 0 };
}

void glmq_permuted_close(glmq_permuted *x)
{
    for (int s = 0; s < GLMQ_SLOTS; s++) glmq_free(x->slot[s]);
    free_codes(&x->codes);
    free_codes(&x->ordered);
    *x = (glmq_permuted){ 0 };
}

static glmq_status make_codes(glmq_codes *c, uint64_t rows, uint64_t cols, uint32_t groups,
                              glmq_error *err)
{
    c->q = glmq_alloc((size_t)(rows * cols));
    c->scale = glmq_alloc((size_t)(rows * groups) * sizeof *c->scale);
    c->zero = glmq_alloc((size_t)(rows * groups) * sizeof *c->zero);
    c->offset = glmq_alloc((size_t)(rows * groups) * sizeof *c->offset);
    return c->q && c->scale && c->zero && c->offset ? GLMQ_OK : no_memory(err);
}

/* Rows per pass: quanta of both layouts, as long as everything stays in the cache. */
static uint64_t pass_rows(const glmq_part *p, uint64_t quantum)
{
    const uint64_t fit = p->cols < TILE_VALUES ? TILE_VALUES / (p->cols ? p->cols : 1) : 1;
    return fit < quantum ? quantum : fit / quantum * quantum;
}

/* The digest of the source's values, in order. */
static glmq_status digest_source(glmq_permuted *x, glmq_fetch *raw, const glmq_bufs *in,
                                 const glmq_part *from, glmq_digest *digest, glmq_error *err)
{
    const glmq_encoding *enc = glmq_fetch_encoding(raw);
    const uint64_t step = pass_rows(from, glmq_fetch_layout(raw)->row_quantum);
    float *w = glmq_alloc((size_t)(step * from->cols) * sizeof *w);
    glmq_hash *h = glmq_hash_new();
    (void)x;
    if (w && h) {
        for (uint64_t row = 0; row < from->rows; row += step) {
            const uint64_t n = from->rows - row < step ? from->rows - row : step;
            enc->codec->decode(enc, in, (glmq_tile){ row, n, from->cols, from->rows }, w);
            glmq_hash_add_values(h, w, (size_t)(n * from->cols));
        }
        *digest = glmq_hash_get(h);
    }
    const int failed = !w || !h;
    glmq_free(w);
    glmq_hash_free(h);
    return failed ? no_memory(err) : GLMQ_OK;
}

/* ---- row by row ---- */

static int is_row_by_row(const glmq_layout *l, const glmq_part *from)
{
    for (int s = 0; s < GLMQ_SLOTS; s++)
        if (l->slot[s].dtype != GLMQ_DT_NONE && from->span[s].bytes && l->slot[s].stripe_rows != 1)
            return 0;
    return 1;
}

static void copy_rows(glmq_permuted *x, const glmq_layout *l, const glmq_bufs *in,
                      const glmq_part *from, const int32_t *rows)
{
    for (int s = 0; s < GLMQ_SLOTS; s++) {
        const uint64_t each = l->slot[s].stripe_bytes;
        if (!x->slot[s]) continue;
        for (uint64_t r = 0; r < from->rows; r++)
            memcpy(x->slot[s] + r * each, in->buf[s] + (uint64_t)rows[r] * each, (size_t)each);
    }
}

/* ---- through codes ---- */

/* One tile of the source's codes, in the new order, with the source's own group of columns. */
static void order_tile(glmq_permuted *x, const glmq_part *as, const int32_t *rows,
                       const int32_t *cols, uint64_t row, uint64_t n)
{
    const glmq_codes *c = &x->codes;
    glmq_codes o = *c;
    o.q = x->ordered.q;
    o.scale = x->ordered.scale;
    o.zero = x->ordered.zero;
    o.offset = x->ordered.offset;
    if (cols) o.perm = NULL; /* the new order is that of the groups */
    for (uint64_t i = 0; i < n; i++) {
        const uint64_t from = rows ? (uint64_t)rows[row + i] : row + i;
        const uint8_t *q = c->q + from * as->cols;
        uint8_t *to = o.q + i * as->cols;
        if (cols)
            for (uint64_t k = 0; k < as->cols; k++) to[k] = q[cols[k]];
        else
            memcpy(to, q, (size_t)as->cols);
        memcpy(o.scale + i * c->groups, c->scale + from * c->groups, c->groups * sizeof *o.scale);
        memcpy(o.zero + i * c->groups, c->zero + from * c->groups, c->groups * sizeof *o.zero);
        memcpy(o.offset + i * c->groups, c->offset + from * c->groups,
               c->groups * sizeof *o.offset);
    }
    x->ordered = o;
}

static glmq_status through_codes(glmq_permuted *x, glmq_fetch *raw, const glmq_bufs *in,
                                 const glmq_layout *l, const glmq_part *as, const int32_t *rows,
                                 const int32_t *cols, glmq_error *err)
{
    const glmq_encoding *enc = glmq_fetch_encoding(raw);
    const uint32_t groups = glmq_encoding_groups(enc, as->cols);
    const uint64_t step = pass_rows(as, l->row_quantum);
    const glmq_tile all = { 0, as->rows, as->cols, as->rows };
    GLMQ_TRY(make_codes(&x->codes, as->rows, as->cols, groups, err));
    GLMQ_TRY(make_codes(&x->ordered, step < as->rows ? step : as->rows, as->cols, groups, err));
    memset(x->codes.zero, 0, (size_t)(as->rows * groups) * sizeof *x->codes.zero);
    memset(x->codes.offset, 0, (size_t)(as->rows * groups) * sizeof *x->codes.offset);
    enc->codec->get_codes(enc, in, all, &x->codes);
    for (uint64_t row = 0; row < as->rows; row += step) {
        const uint64_t n = as->rows - row < step ? as->rows - row : step;
        glmq_bufs out = { .row0 = 0 };
        memcpy(out.buf, x->slot, sizeof out.buf);
        order_tile(x, as, rows, cols, row, n);
        GLMQ_TRY(as->enc.codec->put_codes(&as->enc, &x->ordered,
                                          (glmq_tile){ row, n, as->cols, as->rows }, &out, err));
    }
    return GLMQ_OK;
}

/* ---- the whole ---- */

static glmq_status make_slots(glmq_permuted *x, const glmq_layout *l, const glmq_part *as,
                              glmq_error *err)
{
    for (int s = 0; s < GLMQ_SLOTS; s++) {
        if (l->slot[s].dtype == GLMQ_DT_NONE || !as->span[s].bytes) continue;
        if (l->slot[s].bytes > SIZE_MAX) return glmq_fail(err, GLMQ_E_LIMIT, "a slot's size");
        x->slot[s] = glmq_alloc_zero(1, (size_t)l->slot[s].bytes);
        if (!x->slot[s]) return no_memory(err);
    }
    memcpy(x->bufs.buf, x->slot, sizeof x->bufs.buf);
    return GLMQ_OK;
}

static glmq_status reorder(glmq_permuted *x, glmq_fetch *raw, const glmq_bufs *in,
                           const glmq_part *from, const glmq_part *as, const int32_t *rows,
                           const int32_t *cols, glmq_error *err)
{
    glmq_layout l;
    GLMQ_TRY(as->enc.codec->layout(&as->enc, as->rows, as->cols, &l, err));
    if (l.row_quantum == 0) l.row_quantum = 1;
    GLMQ_TRY(make_slots(x, &l, as, err));
    if (rows && !cols && is_row_by_row(&l, from))
        copy_rows(x, &l, in, from, rows);
    else if (from->enc.codec->get_codes && as->enc.codec->put_codes)
        GLMQ_TRY(through_codes(x, raw, in, &l, as, rows, cols, err));
    else
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "--unpermute: %s cannot be reordered",
                         glmq_codec_name(from->enc.codec));
    x->enc = as->enc;
    if (!x->enc.codec->check) return GLMQ_OK;
    return x->enc.codec->check(&x->enc, &x->bufs, as->rows, as->cols, err);
}

glmq_status glmq_permuted_open(glmq_permuted *x, glmq_fetch *raw, const glmq_source *src,
                               const glmq_part *from, const glmq_part *as, const int32_t *rows,
                               const int32_t *cols, glmq_digest *digest, glmq_error *err)
{
    glmq_bufs in;
    glmq_status st;
    glmq_permuted_close(x);
    st = glmq_fetch_open(raw, src, from, err);
    if (!st) st = glmq_fetch_rows(raw, 0, from->rows, &in, err);
    if (!st) st = digest_source(x, raw, &in, from, digest, err);
    if (!st) st = reorder(x, raw, &in, from, as, rows, cols, err);
    free_codes(&x->codes);
    free_codes(&x->ordered);
    return st;
}

uint64_t glmq_permuted_bytes(const glmq_part *from)
{
    const uint64_t groups = glmq_encoding_groups(&from->enc, from->cols);
    uint64_t bytes = from->rows * from->cols + from->rows * groups * 10 + 4ull * TILE_VALUES * 4;
    for (int s = 0; s < GLMQ_SLOTS; s++) bytes += 2 * from->span[s].bytes;
    return bytes;
}
