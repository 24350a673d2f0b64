/* Modules of which the same is to be said: one problem for all of them. */
#ifndef GLMQ_READERS_TALLY_H
#define GLMQ_READERS_TALLY_H

#include "models/graph.h"

typedef struct glmq_tally {
    uint64_t count;
    char first[160]; /* the name of the first, cut to what fits */
} glmq_tally;        /* all zero: none */

void glmq_tally_add(glmq_tally *t, const char *name, size_t len);

/* Notes "FIRST and N others …", nothing where there are none.  GLMQ_E_NOMEM. */
glmq_status glmq_tally_note(const glmq_tally *t, glmq_graph *g, glmq_severity severity,
                            const char *code, const char *file, glmq_error *err, const char *format,
                            ...) __attribute__((format(printf, 7, 8)));
#endif
