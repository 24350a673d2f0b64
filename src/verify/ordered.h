/* Work on many things with several threads, results in order.
 *
 * Things are handed out in order; `done` is called in order, one call at a time, as soon
 * as all before it are done.  So whatever `done` prints or sums does not depend on the
 * number of threads.  Each thing takes its peak from a byte budget before it starts. */
#ifndef GLMQ_VERIFY_ORDERED_H
#define GLMQ_VERIFY_ORDERED_H

#include "glmq/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct glmq_ordered {
    size_t count;
    int workers;     /* glmq_workers(); `work` sees 0 … workers - 1              */
    uint64_t memory; /* 0: 2 GiB                                                */
    uint64_t (*peak)(void *user, size_t i); /* bytes; NULL: none worth counting          */
    glmq_status (*work)(void *user, int worker, size_t i, glmq_error *err);
    glmq_status (*done)(void *user, size_t i, glmq_error *err); /* may be NULL            */
    void *user;
    const volatile int *cancel; /* may be NULL                                           */
} glmq_ordered;

/* How many threads for `count` things; jobs 0: as many as processors. */
int glmq_workers(int jobs, size_t count);

/* The error of the first thing (in order) that failed; no thing after a failed one is
 * begun.  GLMQ_E_ARG when one thing needs more than the whole budget. */
glmq_status glmq_ordered_run(const glmq_ordered *o, glmq_error *err);
#endif
