/* Verify: proves that two checkpoints hold the same model, or says by how much not. */
#ifndef GLMQ_VERIFY_H
#define GLMQ_VERIFY_H

#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum glmq_verify_level { GLMQ_VERIFY_BYTES, GLMQ_VERIFY_CODES, GLMQ_VERIFY_VALUES } glmq_verify_level;

/* One tensor's comparison.  Sums are f64 in element order. */
typedef struct glmq_difference {
    const char *name;
    const glmq_tensor *a, *b;   /* NULL: missing on that side                        */
    int exact;                  /* the digests are equal (bytes, codes: those are)   */
    int compared;               /* 0: shapes differ, or one is missing               */
    double rmse, relative_rmse, max_abs, cosine, snr_db; /* snr_db: INFINITY if exact */
    uint64_t max_index;         /* row-major element of the largest difference       */
    uint64_t nonfinite_a, nonfinite_b;
    char digest_a[33], digest_b[33];
    const char *note;           /* why it is not exact, or could not be compared; may be NULL */
} glmq_difference;

typedef struct glmq_verify_options {
    glmq_verify_level level;
    int jobs;        /* threads; 0: as many as processors */
    uint64_t memory; /* byte budget; 0: 2 GiB             */
    const char *glob; /* only tensors whose name or role matches; NULL: all */
    /* Called once per tensor, in the order of the graph of `a` and then what only `b`
     * has; one call at a time. */
    void (*each)(void *user, const glmq_difference *d);
    void *user;
    const volatile int *cancel; /* may be NULL */
} glmq_verify_options;

typedef struct glmq_verify_result {
    uint64_t tensors, exact, differ, missing, extra;
    double max_rmse, max_abs, min_cosine;
    char digest_a[33], digest_b[33]; /* of the models; level values only */
} glmq_verify_result;

/* Compares `a` and `b`.  Differences are a result, not a failure. */
GLMQ_API glmq_status glmq_verify(const glmq_graph *a, const glmq_graph *b,
                                 const glmq_verify_options *opt, glmq_verify_result *result,
                                 glmq_error *err);

#ifdef __cplusplus
}
#endif
#endif
