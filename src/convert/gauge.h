/* How far one run of values is from another. */
#ifndef GLMQ_CONVERT_GAUGE_H
#define GLMQ_CONVERT_GAUGE_H

#include "codecs/kernels.h"

typedef struct glmq_gauge {
    gauge_sums sums;
    uint64_t count;
} glmq_gauge;

void glmq_gauge_add(glmq_gauge *g, const float *a, const float *b, size_t n);
void glmq_gauge_read(const glmq_gauge *g, double *rmse, double *max_abs, double *snr_db);

/* Equal as digests see it: -0 is +0, every NaN is the same. */
int glmq_values_equal(const float *a, const float *b, size_t n);
/* Index of the first value that is NaN or infinite, or n. */
size_t glmq_find_nonfinite(const float *w, size_t n);
/* Index of the first weight that is further from its source than a few roundings, and one unit
 * in the last place of a factor, can carry it; or n. */
size_t glmq_find_far(const float *w, const float *r, size_t n);
/* Index of the first finite weight beyond the range of F16 that came back wrong by more than
 * half of itself, or n. */
size_t glmq_find_lost(const float *w, const float *r, size_t n);
#endif
