/* What the two integer codecs of compressed-tensors share: ct strategies and maps. */
#ifndef GLMQ_CODECS_CT_H
#define GLMQ_CODECS_CT_H

#include "ints.h"

/* One scale for the whole tensor. */
int ct_is_tensor(const glmq_encoding *e);

/* Codes per word where none straddles words (CT_LOOSE), else 0. */
unsigned ct_loose(const glmq_encoding *e);

/* Slots SCALES, ZEROS (as bytes or packed) and PERM, and the row quantum. */
glmq_status ct_layout_small(const glmq_encoding *e, uint64_t rows, uint64_t cols, int zero_bytes,
                            const char *name, glmq_layout *out, glmq_error *err);
/* A map without codes. */
ints_map ct_map(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, int zero_bytes);
codes_target ct_target(const glmq_encoding *e, uint64_t cols, const char *name);
/* Checks a permutation: every group full.  A -1 in it says that it is not used. */
glmq_status ct_check_perm(glmq_encoding *e, const glmq_bufs *b, uint64_t cols, const char *name,
                          glmq_error *err);
void ct_put_perm(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, const int32_t *perm);
#endif
