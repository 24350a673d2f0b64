/* glmq_verify(): pairs the tensors (or stored arrays) of two checkpoints, compares them on
 * several threads, and tells the results in order. */
#include "compare.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "base/text.h"
#include "models/roles.h"
#include "ordered.h"
#include "readers/catalog.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One thing to compare: a tensor, or at level bytes a stored array. */
typedef struct pair {
    const char *name;
    const glmq_tensor *a, *b;
    const glmq_array *array_a, *array_b;
} pair;

typedef struct verify {
    const glmq_graph *a, *b;
    const glmq_verify_options *opt;
    glmq_verify_result *result;
    pair *pairs;
    size_t count, capacity;
    glmq_compare_row **rows; /* per pair, between its worker and its turn          */
    glmq_comparer *comparers;
    int workers;
    glmq_permutations permutations;
    glmq_digest_entry *digests_a, *digests_b;
    size_t digest_count;
} verify;

int glmq_is_weight(const glmq_tensor *t)
{
    return glmq_role_class_of(t->role) != ROLE_SCALE;
}

int glmq_tensor_matches(const glmq_tensor *t, const char *glob)
{
    return !glob || glmq_glob(glob, t->name) || glmq_glob(glob, glmq_role_name(t->role));
}

void *glmq_comparer_scratch(glmq_comparer *c, size_t bytes)
{
    if (bytes > c->capacity) {
        glmq_free(c->buffer);
        c->buffer = glmq_alloc(bytes);
        c->capacity = c->buffer ? bytes : 0;
    }
    return c->buffer;
}

static glmq_status open_comparers(verify *v, glmq_error *err)
{
    v->comparers = glmq_alloc_zero((size_t)v->workers, sizeof *v->comparers);
    if (!v->comparers) return glmq_fail(err, GLMQ_E_NOMEM, "%d comparers", v->workers);
    for (int i = 0; i < v->workers; i++) {
        glmq_comparer *c = &v->comparers[i];
        *c = (glmq_comparer){
            .a = v->a,
            .b = v->b,
            .ta = glmq_tensor_fetch_new(),
            .tb = glmq_tensor_fetch_new(),
            .pa = glmq_fetch_new(),
            .pb = glmq_fetch_new(),
            .ha = glmq_hash_new(),
            .hb = glmq_hash_new(),
            .permutations = &v->permutations,
        };
        if (!c->ta || !c->tb || !c->pa || !c->pb || !c->ha || !c->hb)
            return glmq_fail(err, GLMQ_E_NOMEM, "%d comparers", v->workers);
    }
    return GLMQ_OK;
}

static void close_comparers(verify *v)
{
    for (int i = 0; v->comparers && i < v->workers; i++) {
        glmq_comparer *c = &v->comparers[i];
        glmq_tensor_fetch_free(c->ta);
        glmq_tensor_fetch_free(c->tb);
        glmq_fetch_free(c->pa);
        glmq_fetch_free(c->pb);
        glmq_hash_free(c->ha);
        glmq_hash_free(c->hb);
        glmq_free(c->buffer);
    }
    glmq_free(v->comparers);
}

static glmq_status add_pair(verify *v, const pair *p, glmq_error *err)
{
    if (v->count == v->capacity) {
        const size_t capacity = v->capacity ? 2 * v->capacity : 1024;
        pair *grown = glmq_realloc(v->pairs, capacity * sizeof *grown);
        if (!grown) return glmq_fail(err, GLMQ_E_NOMEM, "list of %zu tensors", capacity);
        v->pairs = grown;
        v->capacity = capacity;
    }
    v->pairs[v->count++] = *p;
    return GLMQ_OK;
}

static glmq_status pair_tensors(verify *v, glmq_error *err)
{
    for (size_t i = 0; i < glmq_graph_count(v->a); i++) {
        const glmq_tensor *t = glmq_graph_tensor(v->a, i);
        const pair p = { .name = t->name, .a = t, .b = glmq_graph_find(v->b, t->name) };
        if (glmq_is_weight(t) && glmq_tensor_matches(t, v->opt->glob))
            GLMQ_TRY(add_pair(v, &p, err));
    }
    for (size_t i = 0; i < glmq_graph_count(v->b); i++) {
        const glmq_tensor *t = glmq_graph_tensor(v->b, i);
        const pair p = { .name = t->name, .b = t };
        if (glmq_is_weight(t) && glmq_tensor_matches(t, v->opt->glob) &&
            !glmq_graph_find(v->a, t->name))
            GLMQ_TRY(add_pair(v, &p, err));
    }
    return GLMQ_OK;
}

/* The first tensor that each stored array belongs to. */
static const glmq_tensor **owners(const glmq_graph *g)
{
    const size_t arrays = g->catalog->count;
    const glmq_tensor **of = glmq_alloc_zero(arrays ? arrays : 1, sizeof *of);

    for (size_t i = 0; of && i < glmq_graph_count(g); i++) {
        const glmq_tensor *t = glmq_graph_tensor(g, i);
        for (int p = 0; p < t->parts; p++) {
            for (int s = 0; s < GLMQ_SLOTS; s++) {
                const glmq_span *span = &t->part[p].span[s];
                if (span->bytes && span->array < arrays && !of[span->array]) of[span->array] = t;
            }
        }
    }
    return of;
}

static glmq_status pair_arrays_of(verify *v, const glmq_tensor **of_a, const glmq_tensor **of_b,
                                  glmq_error *err)
{
    const glmq_catalog *a = v->a->catalog, *b = v->b->catalog;

    for (size_t i = 0; i < a->count; i++) {
        const glmq_array *x = &a->arrays[i];
        const glmq_array *y = glmq_catalog_find(b, x->name, strlen(x->name));
        const pair p = { .name = x->name,
                         .array_a = x,
                         .array_b = y,
                         .a = of_a[i],
                         .b = y ? of_b[y - b->arrays] : NULL };
        if (!v->opt->glob || (p.a && glmq_tensor_matches(p.a, v->opt->glob)))
            GLMQ_TRY(add_pair(v, &p, err));
    }
    for (size_t i = 0; i < b->count; i++) {
        const glmq_array *y = &b->arrays[i];
        const pair p = { .name = y->name, .array_b = y, .b = of_b[i] };
        if (!glmq_catalog_find(a, y->name, strlen(y->name)) &&
            (!v->opt->glob || (p.b && glmq_tensor_matches(p.b, v->opt->glob))))
            GLMQ_TRY(add_pair(v, &p, err));
    }
    return GLMQ_OK;
}

static glmq_status pair_arrays(verify *v, glmq_error *err)
{
    const glmq_tensor **of_a = NULL, **of_b = NULL;
    glmq_status st;

    if (v->a->catalog->container != v->b->catalog->container)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "stored bytes of %s and of %s cannot be compared; levels codes and "
                         "values can",
                         glmq_graph_format(v->a), glmq_graph_format(v->b));
    of_a = owners(v->a);
    of_b = owners(v->b);
    st = of_a && of_b ? pair_arrays_of(v, of_a, of_b, err)
                      : glmq_fail(err, GLMQ_E_NOMEM, "list of stored arrays");
    glmq_free(of_a);
    glmq_free(of_b);
    return st;
}

/* ---- one pair ---- */

enum { RANGE_CHUNK = 1 << 20 };

glmq_status glmq_compare_ranges(glmq_comparer *c, const glmq_span *a, const glmq_span *b,
                                int *equal, uint64_t *at, glmq_error *err)
{
    uint8_t *x = glmq_comparer_scratch(c, 2 * (size_t)RANGE_CHUNK), *y = x + RANGE_CHUNK;

    *equal = 0;
    *at = a->bytes < b->bytes ? a->bytes : b->bytes;
    if (!x) return glmq_fail(err, GLMQ_E_NOMEM, "two buffers of %d bytes", RANGE_CHUNK);
    if (a->bytes != b->bytes) return GLMQ_OK;
    for (uint64_t off = 0; off < a->bytes; off += RANGE_CHUNK) {
        const uint64_t left = a->bytes - off;
        const size_t len = left < RANGE_CHUNK ? (size_t)left : (size_t)RANGE_CHUNK;
        GLMQ_TRY(glmq_source_read(glmq_graph_source(c->a), a->file, a->offset + off, x, len, err));
        GLMQ_TRY(glmq_source_read(glmq_graph_source(c->b), b->file, b->offset + off, y, len, err));
        if (memcmp(x, y, len) == 0) continue;
        size_t i = 0;
        while (x[i] == y[i]) i++;
        *at = off + i;
        return GLMQ_OK;
    }
    *equal = 1;
    return GLMQ_OK;
}

static int same_shape(const glmq_array *a, const glmq_array *b)
{
    return a->dtype == b->dtype && a->rank == b->rank &&
           memcmp(a->dims, b->dims, a->rank * sizeof *a->dims) == 0;
}

static glmq_status compare_arrays(glmq_comparer *c, const pair *p, glmq_compare_row *row,
                                  glmq_error *err)
{
    const glmq_array *a = p->array_a, *b = p->array_b;
    const glmq_span sa = { .file = a->file, .offset = a->offset, .bytes = a->bytes };
    const glmq_span sb = { .file = b->file, .offset = b->offset, .bytes = b->bytes };
    uint64_t at = 0;

    if (!same_shape(a, b)) {
        snprintf(row->note, sizeof row->note, "dtype or shape differ: %s and %s",
                 glmq_dtype_name((glmq_dtype)a->dtype), glmq_dtype_name((glmq_dtype)b->dtype));
        return GLMQ_OK;
    }
    row->d.compared = 1;
    GLMQ_TRY(glmq_compare_ranges(c, &sa, &sb, &row->d.exact, &at, err));
    if (!row->d.exact)
        snprintf(row->note, sizeof row->note, "differs from byte %" PRIu64 " of %" PRIu64, at,
                 sa.bytes);
    return GLMQ_OK;
}

static glmq_status compare_tensors(verify *v, glmq_comparer *c, const pair *p,
                                   glmq_compare_row *row, glmq_error *err)
{
    const glmq_tensor *a = p->a, *b = p->b;
    int comparable = 0;

    if (a->rank != b->rank || a->rows != b->rows || a->cols != b->cols) {
        snprintf(row->note, sizeof row->note,
                 "shapes differ: %" PRIu64 " x %" PRIu64 " and %" PRIu64 " x %" PRIu64, a->rows,
                 a->cols, b->rows, b->cols);
        return GLMQ_OK;
    }
    if (v->opt->level == GLMQ_VERIFY_CODES) GLMQ_TRY(glmq_compare_codes(c, row, &comparable, err));
    if (comparable && row->d.exact) return GLMQ_OK;

    GLMQ_TRY(glmq_compare_values(c, row, err)); /* and by how much codes that differ matter */
    if (comparable) row->d.exact = 0;
    if (row->d.exact && strncmp(row->note, "near", 4) == 0) row->note[0] = '\0';
    return GLMQ_OK;
}

static void no_difference(glmq_difference *d)
{
    d->cosine = 1;
    d->snr_db = INFINITY;
}

static glmq_status compare_one(void *user, int worker, size_t i, glmq_error *err)
{
    verify *v = user;
    const pair *p = &v->pairs[i];
    const int arrays = v->opt->level == GLMQ_VERIFY_BYTES;
    glmq_compare_row *row = glmq_alloc_zero(1, sizeof *row);

    if (!row) return glmq_fail(err, GLMQ_E_NOMEM, "%s: its comparison", p->name);
    v->rows[i] = row; /* this thread's until it returns */
    row->d = (glmq_difference){ .name = p->name, .a = p->a, .b = p->b };
    row->d.missing = arrays ? !p->array_b : !p->b;
    row->d.extra = arrays ? !p->array_a : !p->a;
    no_difference(&row->d);
    if (row->d.missing || row->d.extra) return GLMQ_OK;
    if (arrays) return compare_arrays(&v->comparers[worker], p, row, err);
    return compare_tensors(v, &v->comparers[worker], p, row, err);
}

static uint64_t pair_peak(void *user, size_t i)
{
    const verify *v = user;
    const pair *p = &v->pairs[i];

    if (v->opt->level == GLMQ_VERIFY_BYTES || !p->a || !p->b) return 2 * (uint64_t)RANGE_CHUNK;
    return glmq_compare_peak(p->a, p->b, glmq_permutation_of(&v->permutations, p->name) != NULL);
}

/* ---- the results, in order ---- */

static void add_digest(glmq_digest_entry *list, size_t i, const char *name, const char *hex)
{
    list[i].name = name;
    memcpy(list[i].hex, hex, sizeof list[i].hex);
}

static void add_result(verify *v, const glmq_difference *d)
{
    glmq_verify_result *r = v->result;

    r->tensors++;
    r->missing += (uint64_t)d->missing;
    r->extra += (uint64_t)d->extra;
    if (d->exact)
        r->exact++;
    else if (!d->missing && !d->extra)
        r->differ++;
    if (!d->compared) return;
    if (d->rmse > r->max_rmse) r->max_rmse = d->rmse;
    if (d->max_abs > r->max_abs) r->max_abs = d->max_abs;
    if (d->cosine < r->min_cosine) r->min_cosine = d->cosine;
    if (!d->digest_a[0] || v->opt->level != GLMQ_VERIFY_VALUES) return;
    add_digest(v->digests_a, v->digest_count, d->name, d->digest_a);
    add_digest(v->digests_b, v->digest_count++, d->name, d->digest_b);
}

static glmq_status tell(void *user, size_t i, glmq_error *err)
{
    verify *v = user;
    glmq_compare_row *row = v->rows[i];

    (void)err;
    v->rows[i] = NULL;
    if (row->note[0]) row->d.note = row->note;
    add_result(v, &row->d);
    if (v->opt->each) v->opt->each(v->opt->user, &row->d);
    glmq_free(row);
    return GLMQ_OK;
}

static void sum_digests(verify *v)
{
    if (v->opt->level != GLMQ_VERIFY_VALUES) return;
    const glmq_digest a = glmq_digest_model(v->digests_a, v->digest_count);
    const glmq_digest b = glmq_digest_model(v->digests_b, v->digest_count);
    glmq_digest_hex(&a, v->result->digest_a);
    glmq_digest_hex(&b, v->result->digest_b);
}

static glmq_status open_lists(verify *v, glmq_error *err)
{
    const size_t n = v->count ? v->count : 1;

    v->rows = glmq_alloc_zero(n, sizeof *v->rows);
    v->digests_a = glmq_alloc_zero(n, sizeof *v->digests_a);
    v->digests_b = glmq_alloc_zero(n, sizeof *v->digests_b);
    if (!v->rows || !v->digests_a || !v->digests_b)
        return glmq_fail(err, GLMQ_E_NOMEM, "results of %zu tensors", v->count);
    return GLMQ_OK;
}

static glmq_status run(verify *v, glmq_error *err)
{
    const glmq_verify_options *opt = v->opt;

    GLMQ_TRY(opt->level == GLMQ_VERIFY_BYTES ? pair_arrays(v, err) : pair_tensors(v, err));
    GLMQ_TRY(glmq_permutations_open(&v->permutations, v->b, err));
    v->workers = glmq_workers(opt->jobs, v->count);
    GLMQ_TRY(open_comparers(v, err));
    GLMQ_TRY(open_lists(v, err));
    const glmq_ordered job = {
        .count = v->count,
        .workers = v->workers,
        .memory = opt->memory,
        .peak = pair_peak,
        .work = compare_one,
        .done = tell,
        .user = v,
        .cancel = opt->cancel,
    };
    GLMQ_TRY(glmq_ordered_run(&job, err));
    sum_digests(v);
    return GLMQ_OK;
}

glmq_status glmq_verify(const glmq_graph *a, const glmq_graph *b, const glmq_verify_options *opt,
                        glmq_verify_result *result, glmq_error *err)
{
    const glmq_verify_options defaults = { .level = GLMQ_VERIFY_VALUES };
    verify v = { .a = a, .b = b, .opt = opt ? opt : &defaults, .result = result };

    *result = (glmq_verify_result){ .min_cosine = 1 };
    const glmq_status st = run(&v, err);
    for (size_t i = 0; v.rows && i < v.count; i++) glmq_free(v.rows[i]);
    glmq_free(v.rows);
    glmq_free(v.digests_a);
    glmq_free(v.digests_b);
    glmq_free(v.pairs);
    close_comparers(&v);
    glmq_permutations_close(&v.permutations);
    return st;
}
