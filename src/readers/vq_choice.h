/* Which of several codebooks do the codes belong to? */
#ifndef GLMQ_READERS_VQ_CHOICE_H
#define GLMQ_READERS_VQ_CHOICE_H

#include "vq_books.h"

/* How the codes of a tensor are stored under a tier: 1 and the form, or 0.  `a`: the codes of
 * `rows` rows and `cols` columns. */
int vq_form_of(const glmq_array *a, const vq_tier *tier, uint64_t rows, uint64_t cols, int turned,
               vq_form *form);

/* V (vq.h) of the tensors whose encoding.tables is `book`, if it were `found`; *groups: of how
 * many.  INFINITY when a code lies outside of it. */
glmq_status vq_choice_measure(const glmq_graph *g, const glmq_catalog *cat, const vq_book *book,
                              const vq_found *found, double *v, uint64_t *groups, glmq_error *err);

/* The number of the one that is meant, or -1: it cannot be told. */
int vq_choice_best(const vq_found *found, const double *v, size_t count);
#endif
