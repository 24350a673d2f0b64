/* Fetch: stored bytes of a tensor -> tiles of codes or canonical F32 values.  The one
 * place that reads weights: run, verify, inspect and the digest go through it.
 *
 * A fetch holds the uncut slots of one part (read once, checked once) and a buffer for
 * one tile.  One thread uses a fetch at a time; it can be reused for another part. */
#ifndef GLMQ_MODELS_FETCH_H
#define GLMQ_MODELS_FETCH_H

#include "codecs/codec.h"
#include "glmq/graph.h"

typedef struct glmq_fetch glmq_fetch;

glmq_fetch *glmq_fetch_new(void);
void glmq_fetch_free(glmq_fetch *f);

/* Opens one part: lays it out, checks spans against the layout, reads the uncut slots,
 * runs the codec's check. */
glmq_status glmq_fetch_open(glmq_fetch *f, const glmq_source *src, const glmq_part *part,
                            glmq_error *err);
/* Likewise without the codes, of an encoding of integers with a slot for scales: rows come with
 * no codes, for the view of the small arrays. */
glmq_status glmq_fetch_open_small(glmq_fetch *f, const glmq_source *src, const glmq_part *part,
                                  glmq_error *err);
/* NVFP4's activation scale, which no layout has: GLMQ_E_FORMAT where it is not finite and
 * positive.  Other encodings, and parts without one, are fine. */
glmq_status glmq_fetch_check_input(const glmq_source *src, const glmq_part *part, glmq_error *err);
/* The encoding as check() resolved it, and the layout. */
const glmq_encoding *glmq_fetch_encoding(const glmq_fetch *f);
const glmq_layout *glmq_fetch_layout(const glmq_fetch *f);
/* Stored rows [row, row + rows) of the part (row a multiple of the row quantum): bytes. */
glmq_status glmq_fetch_rows(glmq_fetch *f, uint64_t row, uint64_t rows, glmq_bufs *out,
                            glmq_error *err);
/* Stored rows as canonical values, [rows, part->cols]. */
glmq_status glmq_fetch_stored(glmq_fetch *f, uint64_t row, uint64_t rows, float *w,
                              glmq_error *err);

/* All parts of a tensor, as logical rows. */
typedef struct glmq_tensor_fetch glmq_tensor_fetch;
glmq_tensor_fetch *glmq_tensor_fetch_new(void);
void glmq_tensor_fetch_free(glmq_tensor_fetch *f);
glmq_status glmq_tensor_fetch_open(glmq_tensor_fetch *f, const glmq_source *src,
                                   const glmq_tensor *t, glmq_error *err);
/* Logical rows [row, row + rows) as canonical values, any row and count. */
glmq_status glmq_tensor_fetch_rows(glmq_tensor_fetch *f, uint64_t row, uint64_t rows, float *w,
                                   glmq_error *err);
/* How many logical rows to ask for at a time: a good tile (F32 copy in L2), a multiple of
 * every part's quantum and, for cut tensors, of a whole head. */
uint64_t glmq_tensor_tile_rows(const glmq_tensor *t);
/* Upper bound of the bytes that fetching this part needs beside the caller's tile. */
uint64_t glmq_fetch_peak(const glmq_part *part, uint64_t tile_rows);
#endif
