/* A run: carries out a plan.
 *
 * Everything is written below DST.partial/ and appears under its own name by one
 * rename at the end.  A journal makes an interrupted run resumable; the result is
 * the same bytes whatever the number of threads and interruptions. */
#ifndef GLMQ_RUN_H
#define GLMQ_RUN_H

#include "plan.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct glmq_progress {
    enum { GLMQ_RUN_START, GLMQ_RUN_TENSOR, GLMQ_RUN_SHARD, GLMQ_RUN_DONE } event;
    uint64_t done_bytes, total_bytes; /* of output                                  */
    const char *name;                 /* tensor or shard; NULL for the others       */
    const char *travel;               /* how that tensor travelled                  */
    double seconds;                   /* since the start                            */
} glmq_progress;

typedef struct glmq_run_options {
    int resume, overwrite;
    int direct;                                           /* O_DIRECT output */
    void (*progress)(void *user, const glmq_progress *p); /* one call at a time      */
    void *user;
    const volatile int *cancel; /* polled per tile; not 0: stop, resumable; may be NULL */
} glmq_run_options;

typedef struct glmq_run_result {
    uint64_t tensors[5];    /* by glmq_travel                                     */
    uint64_t resumed;       /* items that an earlier run had finished             */
    char source_digest[33]; /* of the models: equal when every tensor was exact   */
    char result_digest[33];
} glmq_run_result;

/* `result` may be NULL. */
GLMQ_API glmq_status glmq_run(const glmq_plan *plan, const glmq_run_options *opt,
                              glmq_run_result *result, glmq_error *err);

#ifdef __cplusplus
}
#endif
#endif
