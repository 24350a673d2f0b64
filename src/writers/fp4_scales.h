/* What writers of NVFP4 share: the scales of whole tensors, worked out when the plan is made.
 *
 * A scale that the target stores as its reciprocal would not always come back; so the source's
 * own bits go along in the metadata, as text:
 *   glmq.nvfp4_scalars         8 hex digits for each NVFP4 tensor (of that file), by name
 *   glmq.nvfp4_input_scalars   the same of their activation scales
 *   glmq.nvfp4_scalars_kind    "multiplier" or "divisor": what the source had
 * 00000000 stands for a tensor that had none. */
#ifndef GLMQ_WRITERS_FP4_SCALES_H
#define GLMQ_WRITERS_FP4_SCALES_H

#include "base/text.h"
#include "convert/plan.h"
#include "writers/layout.h"

typedef struct glmq_fp4_scales {
    uint32_t *origin, *origin_input; /* per graph tensor: bits for the metadata; 0: none    */
    const char *kind;                /* of those; NULL: there are none                      */
    int inputs;                      /* every tensor has an activation scale                */
} glmq_fp4_scales;

enum glmq_fp4_for {
    FP4_FOR_ENGINES, /* tensors that serving engines fuse shall have one scale, if the source is
                      * foreign                                                            */
    FP4_FOR_GGUF,    /* each keeps its own                                                  */
    FP4_FOR_COPY     /* everything stays as it is; only what the metadata say is gathered    */
};

/* For every NVFP4 tensor of the target: sets want->enc.scalar where the target's number is not
 * the source's, and what becomes of activation scales (p->input_scales: all have one). */
glmq_status glmq_fp4_plan_scales(glmq_plan *p, enum glmq_fp4_for what, glmq_fp4_scales *out,
                                 glmq_error *err);

/* Metadata of the shards of a checkpoint, beside the keys in `meta`. */
glmq_status glmq_fp4_layout(glmq_plan *p, const glmq_fp4_scales *s, const glmq_st_meta *meta,
                            size_t n, glmq_error *err);
/* The same as key-values of a GGUF. */
glmq_status glmq_fp4_put_kv(const glmq_plan *p, const glmq_fp4_scales *s, glmq_gguf_kv *kv,
                            glmq_error *err);
#endif
