/* FP8 checkpoints: what glmq_encoding.variant says. */
#ifndef GLMQ_CODECS_FP8_H
#define GLMQ_CODECS_FP8_H

/* The name of the scales: weight_scale, or weight_scale_inv.  Both multiply. */
enum { FP8_SCALE, FP8_SCALE_INV };
#endif
