/* Logical rows of a tensor <-> rows of the stored matrices that hold them (glmq_cut). */
#ifndef GLMQ_CONVERT_CUTS_H
#define GLMQ_CONVERT_CUTS_H

#include "glmq/graph.h"

/* Does the part store the tensor's rows as they are? */
int glmq_cut_is_whole(const glmq_part *p, uint64_t rows);
int glmq_cut_equal(const glmq_cut *a, const glmq_cut *b);
/* Rows that one head takes in the stored matrix; `cols` are the tensor's. */
uint64_t glmq_cut_head_rows(const glmq_part *p, uint64_t cols);
/* The stored row at which logical row `row` begins: a head's first row, unless whole. */
uint64_t glmq_cut_row(const glmq_part *p, uint64_t rows, uint64_t cols, uint64_t row);

/* The smallest run of logical rows that is whole heads and whole quanta in every part of both
 * sides; at most all rows. */
uint64_t glmq_cut_step(const glmq_tensor *t, const glmq_part *to, uint8_t parts);

/* Values of `n` logical rows, from a head on, at `w` -> the part's own rows at `g`, and back. */
void glmq_cut_gather(const glmq_part *p, uint64_t cols, uint64_t n, const float *w, float *g);
void glmq_cut_scatter(const glmq_part *p, uint64_t cols, uint64_t n, const float *g, float *w);
#endif
