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
 * glmq_transcode_scratch() says for the tile's rows.  *moved is the source's view, valid until
 * the scratch or the source's buffers change. */
glmq_status glmq_transcode_tile(const glmq_encoding *from, const glmq_bufs *in,
                                const glmq_encoding *to, glmq_bufs *out, glmq_tile in_tile,
                                glmq_tile out_tile, void *scratch, glmq_codes *moved,
                                glmq_error *err);
/* Would it work?  Scales and zero points decide alone where the codes fit whatever they are:
 * glmq_transcode_codes_fit(), of a source as check() resolved it.  One may then ask with a
 * scratch of glmq_transcode_ask_scratch() bytes and, if its scales have a slot of their own,
 * buffers without codes. */
int glmq_transcode_codes_fit(const glmq_encoding *from, const glmq_encoding *to);
glmq_status glmq_transcode_ask(const glmq_encoding *from, const glmq_bufs *in,
                               const glmq_encoding *to, glmq_tile tile, void *scratch,
                               glmq_error *err);
size_t glmq_transcode_ask_scratch(const glmq_encoding *from, uint64_t rows, uint64_t cols);
/* Right after glmq_transcode_tile(), with the same scratch: reads the codes back out of the target.  1: they are
 * the source's in the same frame, so that the values are the same too; 0: the views do not
 * compare one to one, or differ, and only the values can tell. */
int glmq_transcode_returned(const glmq_encoding *from, const glmq_encoding *to,
                            const glmq_bufs *out, glmq_tile out_tile, void *scratch,
                            const glmq_codes *moved);
/* The source's values of n rows of that tile, from its row `first` on, out of the codes that
 * moved: canonical, no zero has a sign.  0: its decoder has to give them. */
int glmq_transcode_values(const glmq_encoding *from, uint64_t cols, const glmq_codes *moved,
                          uint64_t first, uint64_t n, float *w);
size_t glmq_transcode_scratch(const glmq_encoding *from, const glmq_encoding *to, uint64_t rows,
                              uint64_t cols);
#endif
