/* Verify: proves that two checkpoints hold the same model, or says by how much not. */
#ifndef GLMQ_VERIFY_H
#define GLMQ_VERIFY_H

#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum glmq_verify_level {
    GLMQ_VERIFY_BYTES, /* stored arrays of two checkpoints in the same container     */
    GLMQ_VERIFY_CODES, /* integers, scales and zeros, whatever their packing; values  */
                       /* where a side has no codes                                  */
    GLMQ_VERIFY_VALUES /* canonical values                                           */
} glmq_verify_level;

/* One tensor's comparison (level bytes: one stored array's).  Sums are f64 in element
 * order, over the elements that are finite on both sides. */
typedef struct glmq_difference {
    const char *name;
    const glmq_tensor *a, *b; /* NULL: missing on that side.  Level bytes: the tensor */
                              /* that the stored array belongs to, or NULL         */
    int missing, extra;       /* only in a; only in b                              */
    int exact;                /* the digests (bytes, codes) are equal              */
    int compared;             /* 0: shapes differ, or one is missing               */
    double rmse, relative_rmse, max_abs, cosine, snr_db; /* snr_db: INFINITY if exact */
    uint64_t max_index; /* row-major element of the largest difference       */
    uint64_t nonfinite_a, nonfinite_b;
    char digest_a[33], digest_b[33];
    const char *note; /* why it is not exact, or could not be compared; may be NULL */
} glmq_difference;

typedef struct glmq_verify_options {
    glmq_verify_level level;
    int jobs;         /* threads; 0: as many as processors */
    uint64_t memory;  /* byte budget; 0: 2 GiB             */
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

/* Compares `a` and `b`.  Differences are a result, not a failure.  Where b's checkpoint has
 * a glmq-manifest.json with permutations (glmq-convert --unpermute), a's rows and columns are
 * compared in that order.  Level bytes on unlike containers is GLMQ_E_UNSUPPORTED; data that
 * a codec refuses is GLMQ_E_FORMAT. */
GLMQ_API glmq_status glmq_verify(const glmq_graph *a, const glmq_graph *b,
                                 const glmq_verify_options *opt, glmq_verify_result *result,
                                 glmq_error *err);

#ifdef __cplusplus
}
#endif
#endif
