/* Activation order, told from what is stored. */
#ifndef GLMQ_READERS_PERM_H
#define GLMQ_READERS_PERM_H

#include "catalog.h"

/* What `g_idx` (NULL: not stored) says, as a glmq_act_order.  Many writers store a trivial
 * one, and configs say desc_act wrongly either way: only its values tell.  An array of
 * another type or length counts as an order: its codec refuses it later.  One that holds -1
 * alone says nothing (compressed-tensors). */
glmq_status glmq_perm_look(const glmq_catalog *cat, const glmq_array *g_idx, uint64_t cols,
                           uint32_t group, uint8_t *act_order, glmq_error *err);
#endif
