/* Tensors that share one global scale (NVFP4): those that serving engines fuse, or that a
 * quantizer calibrates together, because they read the same input. */
#ifndef GLMQ_CONVERT_SHARE_H
#define GLMQ_CONVERT_SHARE_H

#include "convert/plan.h"

enum { GLMQ_SHARE_MAX = 4 };

/* The tensors that share the global scale of tensor `i` in the target, itself among them.
 * `fused`: only those that serving engines fuse. */
size_t glmq_share_members(const glmq_plan *p, size_t i, const glmq_encoding *to, int fused,
                          uint32_t member[GLMQ_SHARE_MAX]);

/* What it takes to look at them; one thread uses it at a time. */
typedef struct glmq_share glmq_share;
glmq_share *glmq_share_new(void);
void glmq_share_free(glmq_share *s);

/* The largest weight of all of them. */
glmq_status glmq_share_amax(glmq_share *s, const glmq_plan *p, size_t i, const glmq_encoding *to,
                            glmq_stats *stats, glmq_error *err);
/* to->scalar for codes that come without a global scale (MXFP4): the one under which the
 * largest block scale of all of them is 256.  Left alone where codes bring their own. */
glmq_status glmq_share_scalar(glmq_share *s, const glmq_plan *p, size_t i, glmq_encoding *to,
                              glmq_error *err);
/* Memory that looking at the tensors of an item may take. */
uint64_t glmq_share_peak(const glmq_plan *p, const glmq_item *it);
#endif
