/* Activation order, told from what is stored. */
#ifndef GLMQ_READERS_PERM_H
#define GLMQ_READERS_PERM_H

#include "catalog.h"

/* Is `g_idx` (may be NULL) more than the order of the columns, group by group?  Many writers
 * store a trivial one, and config files say desc_act wrongly either way: only its values
 * tell.  An array of another type or length counts as an order: its codec refuses it later.
 * One that holds -1 alone says "none" (compressed-tensors). */
glmq_status glmq_perm_ordered(const glmq_catalog *cat, const glmq_array *g_idx, uint64_t cols,
                              uint32_t group, uint8_t *ordered, glmq_error *err);
#endif
