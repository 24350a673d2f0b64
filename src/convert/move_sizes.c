/* How much of a tensor is moved at a time, and the memory that takes. */
#include "convert/move_sizes.h"
#include "codecs/transcode.h"
#include "convert/cuts.h"
#include "convert/move.h"
#include "convert/permuted.h"
#include "convert/share.h"
#include "models/fetch.h"

enum { TILE_BYTES = 64 * 1024, CHUNK_BYTES = 256 * 1024 };

int glmq_item_permuted(const glmq_item *it)
{
    return it->row_perm || it->col_perm;
}

int glmq_tensor_direct(const glmq_tensor *t)
{
    return t->parts == 1 && glmq_cut_is_whole(&t->part[0], t->rows);
}

uint64_t glmq_move_tile_rows(const glmq_tensor *t, uint64_t step)
{
    const uint64_t row_bytes = t->cols * sizeof(float);
    const uint64_t fit = row_bytes ? TILE_BYTES / row_bytes : 1;
    const uint64_t rows = fit < step ? step : fit / step * step;
    return rows < t->rows ? rows : t->rows;
}

/* As many tiles as fit a chunk, on whichever side is larger. */
uint64_t glmq_move_chunk_rows(const glmq_tensor *t, const glmq_item *it, uint64_t tile_rows)
{
    const uint64_t in = glmq_tensor_bytes(t), bytes = in > it->bytes ? in : it->bytes;
    const uint64_t per_row = t->rows ? bytes / t->rows + 1 : 1;
    const uint64_t fit = CHUNK_BYTES / per_row;
    const uint64_t rows = fit < tile_rows ? tile_rows : fit / tile_rows * tile_rows;
    if (glmq_item_permuted(it)) return t->rows;
    return rows < t->rows ? rows : t->rows;
}

/* Bytes a target slot's buffer takes: the whole slot, or the stripes of a chunk. */
uint64_t glmq_slot_buffer(const glmq_slot_layout *l, uint64_t rows)
{
    uint64_t off, bytes;
    if (l->dtype == GLMQ_DT_NONE || !l->stripe_rows) return l->bytes;
    glmq_slot_range(l, 0, rows, &off, &bytes);
    return bytes < l->bytes ? bytes : l->bytes;
}

uint64_t glmq_part_rows(const glmq_tensor *t, const glmq_part *p, uint64_t rows)
{
    const uint64_t n = glmq_cut_row(p, t->rows, t->cols, rows);
    return n < p->rows ? n : p->rows;
}

uint64_t glmq_move_peak(const glmq_plan *p, const glmq_item *it)
{
    const glmq_tensor *t = &p->graph->tensors[it->tensor];
    const uint64_t tile = glmq_move_tile_rows(t, glmq_cut_step(t, it->part, it->parts));
    const uint64_t chunk = glmq_move_chunk_rows(t, it, tile);
    uint64_t peak = 3 * tile * t->cols * sizeof(float);
    if (glmq_item_permuted(it))
        peak += glmq_permuted_bytes(&p->original->tensors[it->tensor].part[0]);
    for (uint8_t i = 0; i < t->parts; i++) {
        peak += glmq_fetch_peak(&t->part[i], glmq_part_rows(t, &t->part[i], chunk));
        if (!glmq_tensor_direct(t))
            peak += glmq_fetch_peak(&t->part[i], glmq_part_rows(t, &t->part[i], tile));
    }
    for (uint8_t k = 0; k < it->parts; k++) {
        const glmq_part *q = &it->part[k];
        glmq_layout l;
        if (q->enc.codec->layout(&q->enc, q->rows, q->cols, &l, NULL)) continue;
        for (int s = 0; s < GLMQ_SLOTS; s++)
            peak += glmq_slot_buffer(&l.slot[s], glmq_part_rows(t, q, chunk));
        peak += glmq_transcode_scratch(&t->part[0].enc, &q->enc, tile, t->cols);
    }
    return peak + glmq_share_peak(p, it);
}

/* Threads, buffers of the C library, boxes of writes, and what the graph and the plan already
 * take. */
uint64_t glmq_run_base_bytes(const glmq_plan *p)
{
    return (16ull << 20) + (uint64_t)p->options.jobs * GLMQ_OUTBOX_BYTES + p->pieces.count * 330 +
           p->graph->count * 1200;
}
