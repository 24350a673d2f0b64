/* Codes -> codes, or codes -> f32 -> codes: the one place that decides. */
#ifndef GLMQ_CODECS_TRANSCODE_H
#define GLMQ_CODECS_TRANSCODE_H

#include "codec.h"
#include "glmq/graph.h"
#include "glmq/plan.h"

/* What the encodings and cuts alone say about a move.  SAME_BYTES: stored bytes are
 * copied stripe by stripe.  SAME_CODES: certain (a widened float; Q4_0 to an int4 group
 * of 32).  MAYBE_CODES: hangs on the data.  RECODE: impossible, with the reason (static
 * or in `why`, which holds 160 bytes). */
glmq_travel glmq_transcode_judge(const glmq_part *from, const glmq_part *to, char why[160]);

/* Moves one tile through the codes view.  GLMQ_E_INEXACT: the target cannot hold them;
 * the caller starts the tensor again through f32.  `scratch` is of the size that
 * glmq_transcode_scratch() says for the tile's rows. */
glmq_status glmq_transcode_tile(const glmq_encoding *from, const glmq_bufs *in,
                                const glmq_encoding *to, glmq_bufs *out, glmq_tile in_tile,
                                glmq_tile out_tile, void *scratch, glmq_error *err);
size_t glmq_transcode_scratch(const glmq_encoding *from, const glmq_encoding *to, uint64_t rows,
                              uint64_t cols);
#endif
