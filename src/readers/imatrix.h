/* Importance matrices of llama.cpp: per weight matrix and input column the mean of squared
 * activations, by GGUF names.  Two forms, told by content:
 *
 *   GGUF   general.type "imatrix"; per tensor NAME.in_sum2 F32 [matrices, columns] and
 *          NAME.counts F32 [matrices, 1]; imatrix.datasets, .chunk_count, .chunk_size
 *   .dat   i32 entries; each: i32 length, name, i32 calls, i32 values, F32 values;
 *          then perhaps i32 chunks, i32 length, data set
 *
 * A real one takes a gigabyte: entries are read when they are asked for.  Threads: after
 * opening, every function may be called from any number of threads at once. */
#ifndef GLMQ_READERS_IMATRIX_H
#define GLMQ_READERS_IMATRIX_H

#include "glmq/graph.h"

typedef struct glmq_imatrix glmq_imatrix;

typedef struct glmq_imatrix_entry {
    const char *name;    /* "blk.3.ffn_gate_exps.weight"                                 */
    uint64_t values;     /* all of them                                                  */
    uint64_t matrices;   /* with a count each; 1 where all experts share one (.dat)      */
    uint64_t unseen;     /* matrices that saw no token                                   */
    const float *counts; /* `matrices` of them                                           */
    uint64_t offset;     /* of the values, in the file                                   */
} glmq_imatrix_entry;

typedef struct glmq_imatrix_facts {
    int gguf; /* else .dat                                             */
    size_t entries;
    const char *const *datasets;
    size_t dataset_count;
    uint64_t chunks, chunk_size; /* 0: not said                                   */
    uint64_t unseen;             /* matrices, of all entries                      */
} glmq_imatrix_facts;

/* Does a source that is one file hold an importance matrix?  Reads a few bytes. */
int glmq_imatrix_probe(const glmq_source *src);

/* `src` must outlive it.  Messages begin with the source's path. */
glmq_status glmq_imatrix_open(glmq_imatrix **out, const glmq_source *src, glmq_error *err);
void glmq_imatrix_close(glmq_imatrix *im);

const glmq_imatrix_facts *glmq_imatrix_facts_of(const glmq_imatrix *im);
const glmq_imatrix_entry *glmq_imatrix_at(const glmq_imatrix *im, size_t i);
const glmq_imatrix_entry *glmq_imatrix_find(const glmq_imatrix *im, const char *name);

/* Importance of `n` columns, from value `first` of the entry on: sums divided by their
 * matrix's count, 1 for a matrix that saw nothing.  A value that is no finite number, or
 * negative, is GLMQ_E_FORMAT. */
glmq_status glmq_imatrix_read(const glmq_imatrix *im, const glmq_imatrix_entry *e, uint64_t first,
                              uint64_t n, float *out, glmq_error *err);
/* Reads all values once. */
glmq_status glmq_imatrix_check(const glmq_imatrix *im, glmq_error *err);

/* ---- beside a model ---- */

/* The entry of a tensor, and the first of the tensor's own values in it; NULL: none.  (kv_b
 * that GGUF has in two halves has no entry of its own.) */
const glmq_imatrix_entry *glmq_imatrix_of(const glmq_imatrix *im, const glmq_graph *g,
                                          const glmq_tensor *t, uint64_t *first);

typedef struct glmq_imatrix_fit {
    size_t tensors;       /* matrices of the model that encoders may weigh            */
    size_t covered;       /* of those                                                 */
    size_t unknown;       /* entries that name no tensor of the model                 */
    const char *stranger; /* the first of those                                      */
} glmq_imatrix_fit;

/* GLMQ_E_FORMAT: an entry has another number of values than the model has columns (and
 * experts): it is another model's. */
glmq_status glmq_imatrix_fit_model(const glmq_imatrix *im, const glmq_graph *g,
                                   glmq_imatrix_fit *out, glmq_error *err);
#endif
