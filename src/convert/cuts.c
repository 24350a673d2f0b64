/* Cuts: kv_b of a GGUF stores the K rows of every head in one matrix, turned round, and the V
 * rows in another.  Tiles are whole heads, so that what is logical order there is logical
 * order here. */
#include "convert/cuts.h"
#include "base/safe.h"
#include "codecs/codec.h"
#include <string.h>

int glmq_cut_is_whole(const glmq_part *p, uint64_t rows)
{
    return p->cut.heads == 1 && p->cut.first == 0 && p->cut.count == rows && !p->cut.transposed;
}

int glmq_cut_equal(const glmq_cut *a, const glmq_cut *b)
{
    return a->heads == b->heads && a->stride == b->stride && a->first == b->first &&
           a->count == b->count && !a->transposed == !b->transposed;
}

uint64_t glmq_cut_head_rows(const glmq_part *p, uint64_t cols)
{
    return p->cut.transposed ? cols : p->cut.count;
}

uint64_t glmq_cut_row(const glmq_part *p, uint64_t rows, uint64_t cols, uint64_t row)
{
    if (glmq_cut_is_whole(p, rows)) return row;
    return row / p->cut.stride * glmq_cut_head_rows(p, cols);
}

static uint64_t gcd_of(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

/* Widens `step` to what a part needs; all rows when that is no smaller. */
static uint64_t widen(const glmq_tensor *t, const glmq_part *p, uint64_t step)
{
    glmq_layout l;
    uint64_t quantum = 1, unit;
    if (!p->enc.codec->layout(&p->enc, p->rows, p->cols, &l, NULL) && l.row_quantum)
        quantum = l.row_quantum;
    unit = quantum;
    if (!glmq_cut_is_whole(p, t->rows)) {
        const uint64_t head = glmq_cut_head_rows(p, t->cols);
        if (mul_u64(quantum / gcd_of(quantum, head ? head : 1), p->cut.stride, &unit))
            return t->rows;
    }
    if (unit == 0 || mul_u64(step / gcd_of(step, unit), unit, &step)) return t->rows;
    return step < t->rows ? step : t->rows;
}

uint64_t glmq_cut_step(const glmq_tensor *t, const glmq_part *to, uint8_t parts)
{
    uint64_t step = 1;
    for (uint8_t i = 0; i < t->parts; i++) step = widen(t, &t->part[i], step);
    for (uint8_t i = 0; i < parts; i++) step = widen(t, &to[i], step);
    return step ? step : 1;
}

void glmq_cut_gather(const glmq_part *p, uint64_t cols, uint64_t n, const float *w, float *g)
{
    const glmq_cut *cut = &p->cut;
    for (uint64_t at = cut->first; at < n; at += cut->stride) {
        const float *head = w + at * cols;
        if (!cut->transposed)
            memcpy(g, head, (size_t)(cut->count * cols) * sizeof *g);
        else
            for (uint64_t r = 0; r < cut->count; r++)
                for (uint64_t c = 0; c < cols; c++) g[c * cut->count + r] = head[r * cols + c];
        g += cut->count * cols;
    }
}

void glmq_cut_scatter(const glmq_part *p, uint64_t cols, uint64_t n, const float *g, float *w)
{
    const glmq_cut *cut = &p->cut;
    for (uint64_t at = cut->first; at < n; at += cut->stride) {
        float *head = w + at * cols;
        if (!cut->transposed)
            memcpy(head, g, (size_t)(cut->count * cols) * sizeof *g);
        else
            for (uint64_t r = 0; r < cut->count; r++)
                for (uint64_t c = 0; c < cols; c++) head[r * cols + c] = g[c * cut->count + r];
        g += cut->count * cols;
    }
}
