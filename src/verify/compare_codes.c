/* Level codes: the same integers, scales and zeros, whatever their packing.
 *
 * Two codes views are compared element by element, in the frame that they share: q - zero
 * and the scale of the element's group.  So groups of 128 equal groups of 32 that repeat
 * their scale, and 4-bit codes equal the same integers in an 8-bit format.  A view with
 * real offsets (Q4_1) equals one with zero points when each offset is exactly
 * -zero * scale. */
#include "base/error.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "codecs/codec.h"
#include "codecs/fp4.h"
#include "compare.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One side's view of a tile. */
typedef struct view {
    glmq_fetch *fetch;
    const glmq_part *part;
    const glmq_encoding *enc; /* as the data resolved it                                */
    glmq_codes codes;
    uint32_t groups;
} view;

static int is_whole(const glmq_cut *c, uint64_t rows)
{
    return !c->transposed && c->first == 0 && c->count == c->stride && c->heads * c->count == rows;
}

/* A tensor that is one stored matrix, the right way round, whose codec has a codes view. */
static int may_have_view(const glmq_tensor *t)
{
    const glmq_part *p = &t->part[0];
    return t->parts == 1 && is_whole(&p->cut, t->rows) && p->enc.codec && p->enc.codec->get_codes;
}

static glmq_status open_view(view *v, const glmq_graph *g, const glmq_tensor *t, glmq_error *err)
{
    const glmq_source *src = glmq_graph_source(g);

    v->part = &t->part[0];
    GLMQ_TRY(glmq_within(err, glmq_fetch_open(v->fetch, src, v->part, err), "%s: %s",
                         glmq_source_path(src), t->name));
    v->enc = glmq_fetch_encoding(v->fetch);
    v->groups = glmq_encoding_groups(v->enc, v->part->cols);
    return GLMQ_OK;
}

static uint64_t gcd(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* A tile of about `rows` rows that both sides can start. */
static uint64_t common_tile(const view *a, const view *b, uint64_t rows)
{
    const uint64_t qa = glmq_fetch_layout(a->fetch)->row_quantum;
    const uint64_t qb = glmq_fetch_layout(b->fetch)->row_quantum;
    const uint64_t step = qa && qb ? qa / gcd(qa, qb) * qb : 1;
    return ceil_div_u64(rows ? rows : 1, step) * step;
}

static uint64_t small_count(const view *v, uint64_t rows)
{
    return rows * v->groups;
}

/* Scratch of one side: scales and offsets, then zeros, then codes, each 16-byte aligned. */
static uint64_t view_bytes(const view *v, uint64_t rows)
{
    const uint64_t small = small_count(v, rows);
    return 2 * ((small * 4 + 15) & ~UINT64_C(15)) + ((small * 2 + 15) & ~UINT64_C(15)) +
           ((rows * v->part->cols + 15) & ~UINT64_C(15));
}

static uint8_t *place_view(view *v, uint64_t rows, uint8_t *at)
{
    const uint64_t small = small_count(v, rows);
    const uint64_t floats = (small * 4 + 15) & ~UINT64_C(15);

    v->codes.scale = (float *)(void *)at;
    v->codes.offset = (float *)(void *)(at + floats);
    v->codes.zero = (int16_t *)(void *)(at + 2 * floats);
    v->codes.q = at + 2 * floats + ((small * 2 + 15) & ~UINT64_C(15));
    return at + view_bytes(v, rows);
}

static glmq_status load_view(view *v, uint64_t row, uint64_t rows, glmq_error *err)
{
    const glmq_tile tile = {
        .row = row, .rows = rows, .cols = v->part->cols, .of_rows = v->part->rows
    };
    glmq_bufs bufs;

    GLMQ_TRY(glmq_fetch_rows(v->fetch, row, rows, &bufs, err));
    v->enc->codec->get_codes(v->enc, &bufs, tile, &v->codes);
    return GLMQ_OK;
}

static int same_float(float a, float b)
{
    return a == b || (isnan(a) && isnan(b));
}

static uint64_t group_of(const glmq_codes *c, uint64_t col)
{
    return c->perm ? (uint64_t)c->perm[col] : col / c->group;
}

static int same_table(const glmq_codes *a, const glmq_codes *b)
{
    if (a->bits != b->bits) return 0;
    for (int i = 0; i < 1 << a->bits; i++)
        if (!same_float(a->lut[i], b->lut[i])) return 0;
    return 1;
}

/* Do the two views speak of the same kind of codes?  *near: but for a global scale that one of
 * them stores as its reciprocal. */
static int same_frame(const glmq_codes *a, const glmq_codes *b, int *near)
{
    *near = 0;
    if (a->kind != b->kind) return 0;
    if (a->kind == GLMQ_CODES_INT) return 1;
    if (!same_table(a, b)) return 0;
    if (a->divides == b->divides) return same_float(a->global, b->global);
    *near = (double)a->global * (double)b->global != 1.0;
    return !*near || fp4_are_reciprocal(bits_from_f32(a->global), bits_from_f32(b->global));
}

/* One element: its group's scale, zero and offset, and its code. */
typedef struct element {
    float scale, offset;
    int q, zero, has_offset;
} element;

static element element_at(const view *v, uint64_t r, uint64_t c)
{
    const glmq_codes *k = &v->codes;
    const uint64_t i = r * v->groups + group_of(k, c);
    return (element){
        .scale = k->scale[i],
        .offset = k->has_offset ? k->offset[i] : 0,
        .q = k->q[r * v->part->cols + c],
        .zero = k->kind == GLMQ_CODES_INT ? k->zero[i] : 0,
        .has_offset = k->has_offset,
    };
}

/* Do scale, zero and offset mean the same on both sides?  If so, *delta is what the codes
 * must differ by: zero points may lie in frames of unlike width. */
static int same_group(element a, element b, int *delta)
{
    *delta = 0;
    if (!same_float(a.scale, b.scale)) return 0;
    if (a.has_offset && b.has_offset) return same_float(a.offset, b.offset);
    if (!a.has_offset && !b.has_offset) {
        *delta = a.zero - b.zero;
        return 1;
    }
    const element real = a.has_offset ? a : b, point = a.has_offset ? b : a;
    return (double)real.offset == -(double)point.zero * (double)point.scale;
}

/* The column behind the last of this column's group, as far as it runs on without a break. */
static uint64_t run_end(const view *v, uint64_t col)
{
    const uint64_t end = v->codes.perm ? col + 1 : (col / v->codes.group + 1) * v->codes.group;
    return end < v->part->cols ? end : v->part->cols;
}

/* The first column of a row that differs, or the number of columns. */
static uint64_t first_difference(const view *a, const view *b, uint64_t r)
{
    const uint64_t cols = a->part->cols;
    const uint8_t *qa = a->codes.q + r * cols, *qb = b->codes.q + r * cols;

    for (uint64_t c = 0; c < cols;) {
        const uint64_t ea = run_end(a, c), eb = run_end(b, c), end = ea < eb ? ea : eb;
        int delta;
        if (!same_group(element_at(a, r, c), element_at(b, r, c), &delta)) return c;
        for (; c < end; c++)
            if (qa[c] - qb[c] != delta) return c;
    }
    return cols;
}

static void note_element(glmq_compare_row *row, uint64_t r, uint64_t c, element a, element b)
{
    snprintf(row->note, sizeof row->note,
             "row %" PRIu64 " column %" PRIu64 ": code %d, zero %d, scale %.9g against code %d, "
             "zero %d, scale %.9g",
             r, c, a.q, a.zero, (double)a.scale, b.q, b.zero, (double)b.scale);
}

/* Compares one tile; returns 0 at the first difference, which it notes. */
static int same_tile(const view *a, const view *b, uint64_t row, uint64_t rows,
                     glmq_compare_row *out)
{
    const uint64_t cols = a->part->cols;
    for (uint64_t r = 0; r < rows; r++) {
        const uint64_t c = first_difference(a, b, r);
        if (c == cols) continue;
        out->d.max_index = (row + r) * cols + c;
        note_element(out, row + r, c, element_at(a, r, c), element_at(b, r, c));
        return 0;
    }
    return 1;
}

static glmq_status walk(glmq_comparer *c, view *a, view *b, glmq_compare_row *row, int *comparable,
                        glmq_error *err)
{
    const uint64_t total = a->part->rows;
    int near = 0;
    const uint64_t step = common_tile(a, b, glmq_compare_tile_rows(row->d.a, row->d.b));
    const uint64_t tile = step < total ? step : total;
    uint8_t *scratch =
        glmq_comparer_scratch(c, (size_t)(view_bytes(a, tile) + view_bytes(b, tile)));

    if (!scratch) return glmq_fail(err, GLMQ_E_NOMEM, "%s: two tiles of codes", row->d.name);
    place_view(b, tile, place_view(a, tile, scratch));
    for (uint64_t r = 0; r < total; r += tile) {
        const uint64_t rows = tile < total - r ? tile : total - r;
        GLMQ_TRY(load_view(a, r, rows, err));
        GLMQ_TRY(load_view(b, r, rows, err));
        *comparable = same_frame(&a->codes, &b->codes, &near);
        if (!*comparable) return GLMQ_OK;
        row->d.exact = same_tile(a, b, r, rows, row);
        if (!row->d.exact) break;
    }
    if (!row->d.exact || !near) return GLMQ_OK;
    *comparable = 0; /* whether the values are the same, too, only they can tell */
    snprintf(row->note, sizeof row->note,
             "near: the same codes and block scales, the global scales %.9g and %.9g are "
             "reciprocals",
             (double)a->codes.global, (double)b->codes.global);
    return GLMQ_OK;
}

/* Codes of two tensors without a codes view, in one encoding: their stored bytes. */
static glmq_status compare_stored(glmq_comparer *c, glmq_compare_row *row, glmq_error *err)
{
    const glmq_tensor *a = row->d.a, *b = row->d.b;

    row->d.exact = 1;
    for (int p = 0; p < a->parts && row->d.exact; p++) {
        for (int s = 0; s < GLMQ_SLOTS && row->d.exact; s++) {
            uint64_t at = 0;
            GLMQ_TRY(glmq_compare_ranges(c, &a->part[p].span[s], &b->part[p].span[s], &row->d.exact,
                                         &at, err));
            if (!row->d.exact)
                snprintf(row->note, sizeof row->note, "stored bytes differ from byte %" PRIu64, at);
        }
    }
    return GLMQ_OK;
}

static int same_cut(const glmq_cut *a, const glmq_cut *b)
{
    return a->heads == b->heads && a->stride == b->stride && a->first == b->first &&
           a->count == b->count && a->transposed == b->transposed;
}

/* Both stored alike, in an encoding whose codes only its bytes show.  (Plain floats have
 * values, where -0 is 0 and a NaN a NaN.) */
static int same_storage(const glmq_tensor *a, const glmq_tensor *b)
{
    if (a->parts != b->parts) return 0;
    for (int i = 0; i < a->parts; i++) {
        const glmq_encoding *enc = &a->part[i].enc;
        if (glmq_encoding_is_plain(enc) || !glmq_encoding_equal(enc, &b->part[i].enc) ||
            !same_cut(&a->part[i].cut, &b->part[i].cut))
            return 0;
    }
    return 1;
}

glmq_status glmq_compare_codes(glmq_comparer *c, glmq_compare_row *row, int *comparable,
                               glmq_error *err)
{
    view a = { .fetch = c->pa }, b = { .fetch = c->pb };
    const int permuted = glmq_permutation_of(c->permutations, row->d.a->name) != NULL;

    *comparable = 0;
    row->d.compared = 1;
    if (!permuted && may_have_view(row->d.a) && may_have_view(row->d.b)) {
        *comparable = 1;
        GLMQ_TRY(open_view(&a, c->a, row->d.a, err));
        GLMQ_TRY(open_view(&b, c->b, row->d.b, err));
        return walk(c, &a, &b, row, comparable, err);
    }
    if (permuted || !same_storage(row->d.a, row->d.b)) return GLMQ_OK;
    *comparable = 1;
    return compare_stored(c, row, err);
}
