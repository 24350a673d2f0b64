/* Level values: both tensors decoded in tiles, side by side.
 *
 * Sums run over the elements in row-major order in f64, so that they do not depend on the
 * tiles.  Elements that are not finite on both sides are counted and left out of them. */
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "compare.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct sums {
    double aa, bb, ab, dd, max;
    uint64_t max_index, nonfinite_a, nonfinite_b, counted;
} sums;

static void add_unfinite(sums *s, float a, float b)
{
    s->nonfinite_a += isfinite(a) ? 0 : 1;
    s->nonfinite_b += isfinite(b) ? 0 : 1;
}

/* Elements first … first + n - 1 of the tensor. */
static void add_tile(sums *s, const float *a, const float *b, uint64_t first, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        const double x = (double)a[i], y = (double)b[i], d = x - y;
        if (!isfinite(d)) { /* finite floats never overflow f64 */
            add_unfinite(s, a[i], b[i]);
            continue;
        }
        s->counted++;
        s->aa += x * x;
        s->bb += y * y;
        s->ab += x * y;
        s->dd += d * d;
        if (fabs(d) > s->max) {
            s->max = fabs(d);
            s->max_index = first + i;
        }
    }
}

static void finish_sums(const sums *s, glmq_difference *d)
{
    const double n = s->counted ? (double)s->counted : 1;

    d->rmse = sqrt(s->dd / n);
    d->relative_rmse = s->dd > 0 ? (s->aa > 0 ? sqrt(s->dd / s->aa) : INFINITY) : 0;
    d->max_abs = s->max;
    d->max_index = s->max_index;
    d->cosine = s->dd > 0 ? (s->aa > 0 && s->bb > 0 ? s->ab / sqrt(s->aa * s->bb) : 0) : 1;
    d->snr_db = s->dd > 0 ? (s->aa > 0 ? 10 * log10(s->aa / s->dd) : -INFINITY) : INFINITY;
    d->nonfinite_a = s->nonfinite_a;
    d->nonfinite_b = s->nonfinite_b;
}

/* Logical rows of `a` in the order of `b`. */
typedef struct ordered_rows {
    glmq_tensor_fetch *fetch;
    const glmq_tensor *t;
    const glmq_permutation *perm; /* NULL: as stored                                      */
    float *whole;                 /* the tensor, where rows or columns moved               */
} ordered_rows;

static glmq_status check_permutation(const char *what, const uint32_t *index, uint64_t count,
                                     uint64_t expected, glmq_error *err)
{
    if (!index || count == expected) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "the manifest's order of %s has %" PRIu64 " entries, expected %" PRIu64, what,
                     count, expected);
}

static glmq_status check_permutations(const glmq_permutation *p, const glmq_tensor *t,
                                      glmq_error *err)
{
    GLMQ_TRY(check_permutation("rows", p->rows, p->row_count, t->rows, err));
    return check_permutation("columns", p->cols, p->col_count, t->cols, err);
}

static glmq_status open_rows(ordered_rows *o, glmq_error *err)
{
    const glmq_permutation *p = o->perm;

    if (!p) return GLMQ_OK;
    GLMQ_TRY(glmq_within(err, check_permutations(p, o->t, err), "%s", o->t->name));
    o->whole = glmq_alloc((size_t)(o->t->rows * o->t->cols * sizeof(float)));
    if (!o->whole) return glmq_fail(err, GLMQ_E_NOMEM, "%s: its F32 values", o->t->name);
    return glmq_tensor_fetch_rows(o->fetch, 0, o->t->rows, o->whole, err);
}

static glmq_status read_rows(ordered_rows *o, uint64_t row, uint64_t rows, float *w,
                             glmq_error *err)
{
    const uint64_t cols = o->t->cols;

    if (!o->perm) return glmq_tensor_fetch_rows(o->fetch, row, rows, w, err);
    for (uint64_t r = 0; r < rows; r++) {
        const uint64_t from = o->perm->rows ? o->perm->rows[row + r] : row + r;
        const float *src = o->whole + from * cols;
        float *dst = w + r * cols;
        if (!o->perm->cols) memcpy(dst, src, (size_t)cols * sizeof *dst);
        for (uint64_t c = 0; o->perm->cols && c < cols; c++) dst[c] = src[o->perm->cols[c]];
    }
    return GLMQ_OK;
}

static glmq_status walk(glmq_comparer *c, ordered_rows *a, const glmq_tensor *tb, sums *s,
                        glmq_error *err)
{
    const uint64_t tile = glmq_compare_tile_rows(a->t, tb), cols = tb->cols;
    float *wa = glmq_comparer_scratch(c, (size_t)(2 * tile * cols * sizeof(float)));

    if (!wa) return glmq_fail(err, GLMQ_E_NOMEM, "%s: two tiles of values", tb->name);
    float *wb = wa + tile * cols;
    for (uint64_t row = 0; row < tb->rows; row += tile) {
        const uint64_t rows = tile < tb->rows - row ? tile : tb->rows - row, n = rows * cols;
        GLMQ_TRY(glmq_within(err, read_rows(a, row, rows, wa, err), "%s",
                             glmq_source_path(glmq_graph_source(c->a))));
        GLMQ_TRY(glmq_within(err, glmq_tensor_fetch_rows(c->tb, row, rows, wb, err), "%s",
                             glmq_source_path(glmq_graph_source(c->b))));
        glmq_hash_add_values(c->ha, wa, (size_t)n);
        glmq_hash_add_values(c->hb, wb, (size_t)n);
        add_tile(s, wa, wb, row * cols, n);
    }
    return GLMQ_OK;
}

static glmq_status open_side(glmq_tensor_fetch *f, const glmq_graph *g, const glmq_tensor *t,
                             glmq_error *err)
{
    const glmq_source *src = glmq_graph_source(g);
    return glmq_within(err, glmq_tensor_fetch_open(f, src, t, err), "%s", glmq_source_path(src));
}

glmq_status glmq_compare_values(glmq_comparer *c, glmq_compare_row *row, glmq_error *err)
{
    glmq_difference *d = &row->d;
    ordered_rows a = { .fetch = c->ta, .t = d->a };
    sums s = { 0 };
    glmq_status st;

    a.perm = glmq_permutation_of(c->permutations, d->a->name);
    GLMQ_TRY(open_side(c->ta, c->a, d->a, err));
    GLMQ_TRY(open_side(c->tb, c->b, d->b, err));
    glmq_hash_reset(c->ha);
    glmq_hash_reset(c->hb);
    st = glmq_within(err, open_rows(&a, err), "%s", glmq_source_path(glmq_graph_source(c->a)));
    if (!st) st = walk(c, &a, d->b, &s, err);
    glmq_free(a.whole);
    if (st) return st;

    glmq_digest ha = glmq_hash_get(c->ha), hb = glmq_hash_get(c->hb);
    glmq_digest_hex(&ha, d->digest_a);
    glmq_digest_hex(&hb, d->digest_b);
    finish_sums(&s, d);
    d->compared = 1;
    d->exact = glmq_digest_equal(&ha, &hb);
    if (a.perm) snprintf(row->note, sizeof row->note, "in the order of the manifest's permutation");
    return GLMQ_OK;
}

uint64_t glmq_compare_tile_rows(const glmq_tensor *a, const glmq_tensor *b)
{
    const uint64_t ta = glmq_tensor_tile_rows(a), tb = glmq_tensor_tile_rows(b);
    uint64_t tile = ta > tb ? ta : tb;

    if (tile < 1) tile = 1;
    return tile < b->rows ? tile : b->rows;
}

static uint64_t side_peak(const glmq_tensor *t, uint64_t tile)
{
    uint64_t sum = 0;
    for (int i = 0; i < t->parts; i++) sum += glmq_fetch_peak(&t->part[i], tile);
    return sum;
}

/* Graph building has bounded rows * cols * 8 (safe.h), so these sums do not wrap. */
uint64_t glmq_compare_peak(const glmq_tensor *a, const glmq_tensor *b, int permuted)
{
    const uint64_t tile = glmq_compare_tile_rows(a, b);
    uint64_t peak = side_peak(a, tile) + side_peak(b, tile);

    peak += 4 * tile * b->cols * sizeof(float); /* values, or both sides' codes */
    if (permuted) peak += a->rows * a->cols * sizeof(float);
    return peak;
}
