/* A plan: every output byte range, known before any weight is read. */
#ifndef GLMQ_PLAN_H
#define GLMQ_PLAN_H

#include "recipe.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct glmq_plan glmq_plan;

/* How a tensor travels; see cli.md.  MAYBE_CODES prints as "same-codes?": it hangs on
 * the values of the scales, and the run (or a deep plan) settles it. */
typedef enum glmq_travel {
    GLMQ_SAME_BYTES,
    GLMQ_SAME_CODES,
    GLMQ_MAYBE_CODES,
    GLMQ_NEAR,
    GLMQ_RECODE
} glmq_travel;

GLMQ_API const char *glmq_travel_name(glmq_travel t);

typedef enum glmq_transcode_mode {
    GLMQ_TRANSCODE_AUTO,
    GLMQ_TRANSCODE_REQUIRE,
    GLMQ_TRANSCODE_NEVER
} glmq_transcode_mode;

typedef enum glmq_mtp_mode { GLMQ_MTP_KEEP, GLMQ_MTP_DROP, GLMQ_MTP_REQUIRE } glmq_mtp_mode;
typedef enum glmq_mla_mode { GLMQ_MLA_SPLIT, GLMQ_MLA_FUSED } glmq_mla_mode;

typedef struct glmq_plan_options {
    uint64_t memory;     /* byte budget; 0: 2 GiB                                  */
    int jobs;            /* threads, to 256; 0: as processors; fewer with little memory */
    uint64_t shard_size; /* 0: 5 GB                                                */
    glmq_transcode_mode transcode;
    glmq_mtp_mode mtp;
    glmq_mla_mode mla;
    int deep;      /* read the scales and settle every "same-codes?"         */
    int unpermute; /* act-order of down_proj removed by permuting gate and up */
    int link;      /* hard-link files that need no change                    */
} glmq_plan_options;

/* Plans the conversion of `g` under `r` to `dst`.  Both must outlive the plan. */
GLMQ_API glmq_status glmq_plan_open(glmq_plan **out, const glmq_graph *g, const glmq_recipe *r,
                                    const char *dst, const glmq_plan_options *opt, glmq_error *err);
GLMQ_API void glmq_plan_close(glmq_plan *p);

GLMQ_API size_t glmq_plan_file_count(const glmq_plan *p);
GLMQ_API const char *glmq_plan_file_name(const glmq_plan *p, size_t i);
GLMQ_API uint64_t glmq_plan_file_bytes(const glmq_plan *p, size_t i);
GLMQ_API uint64_t glmq_plan_write_bytes(const glmq_plan *p);
GLMQ_API uint64_t glmq_plan_read_bytes(const glmq_plan *p);
GLMQ_API uint64_t glmq_plan_peak_bytes(const glmq_plan *p);

/* XXH3-128 of the plan's canonical text: the identity of a run. */
GLMQ_API const char *glmq_plan_digest(const glmq_plan *p);

#ifdef __cplusplus
}
#endif
#endif
