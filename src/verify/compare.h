/* Inside of glmq_verify(): what its three levels share. */
#ifndef GLMQ_VERIFY_COMPARE_H
#define GLMQ_VERIFY_COMPARE_H

#include "base/arena.h"
#include "base/hash.h"
#include "base/strmap.h"
#include "glmq/verify.h"
#include "models/fetch.h"
#include "models/graph.h"

/* Row i of `b` is row rows[i] of `a`; likewise columns.  NULL: in order. */
typedef struct glmq_permutation {
    const uint32_t *rows, *cols;
    uint64_t row_count, col_count;
} glmq_permutation;

/* The permutations of a checkpoint's manifest, by tensor name. */
typedef struct glmq_permutations {
    glmq_arena arena;
    glmq_strmap by_tensor; /* logical name -> number                              */
    glmq_permutation *at;
    size_t count, capacity;
} glmq_permutations;

/* Reads those beside or in the source of `b`; none is fine. */
glmq_status glmq_permutations_open(glmq_permutations *p, const glmq_graph *b, glmq_error *err);
void glmq_permutations_close(glmq_permutations *p);
/* NULL: the tensor stays in order. */
const glmq_permutation *glmq_permutation_of(const glmq_permutations *p, const char *tensor);

/* One comparison, from its worker to the caller. */
typedef struct glmq_compare_row {
    glmq_difference d;
    char note[256];
} glmq_compare_row;

/* A thread's tools, made once and reused. */
typedef struct glmq_comparer {
    const glmq_graph *a, *b;
    glmq_tensor_fetch *ta, *tb;
    glmq_fetch *pa, *pb;
    glmq_hash *ha, *hb;
    uint8_t *buffer; /* tiles                                               */
    size_t capacity;
    const glmq_permutations *permutations;
} glmq_comparer;

/* At least `bytes` of scratch, or NULL. */
void *glmq_comparer_scratch(glmq_comparer *c, size_t bytes);

/* Each fills row->d (exact, compared, the statistics, note) for one pair.  *comparable of
 * compare_codes is 0 when the two have no common codes view: compare values then. */
glmq_status glmq_compare_values(glmq_comparer *c, glmq_compare_row *row, glmq_error *err);
glmq_status glmq_compare_codes(glmq_comparer *c, glmq_compare_row *row, int *comparable,
                               glmq_error *err);
glmq_status glmq_compare_ranges(glmq_comparer *c, const glmq_span *a, const glmq_span *b,
                                int *equal, uint64_t *at, glmq_error *err);

/* Bytes that comparing this pair takes. */
uint64_t glmq_compare_peak(const glmq_tensor *a, const glmq_tensor *b, int permuted);
uint64_t glmq_compare_tile_rows(const glmq_tensor *a, const glmq_tensor *b);

/* Is a tensor one of the model's weights?  KV-cache scales are not: they belong to one. */
int glmq_is_weight(const glmq_tensor *t);
/* Does GLOB (NULL: everything) match the tensor's name or role? */
int glmq_tensor_matches(const glmq_tensor *t, const char *glob);
#endif
