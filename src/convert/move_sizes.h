/* How much of a tensor is moved at a time: chunks (one read, one write) of tiles (one F32 copy). */
#ifndef GLMQ_CONVERT_MOVE_SIZES_H
#define GLMQ_CONVERT_MOVE_SIZES_H

#include "convert/plan.h"

/* --unpermute: its rows or columns come in another order. */
int glmq_item_permuted(const glmq_item *it);
/* One stored matrix with the tensor's own rows: it can be decoded where it lies. */
int glmq_tensor_direct(const glmq_tensor *t);

uint64_t glmq_move_tile_rows(const glmq_tensor *t, uint64_t step);
uint64_t glmq_move_chunk_rows(const glmq_tensor *t, const glmq_item *it, uint64_t tile_rows);
/* Bytes of a target slot's buffer for a chunk; stored rows of a part behind logical ones. */
uint64_t glmq_slot_buffer(const glmq_slot_layout *l, uint64_t rows);
uint64_t glmq_part_rows(const glmq_tensor *t, const glmq_part *p, uint64_t rows);
#endif
