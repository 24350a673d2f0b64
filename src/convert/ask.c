#include "convert/ask.h"
#include "base/mem.h"
#include "codecs/transcode.h"
#include "convert/cuts.h"
#include "convert/way.h"
#include "models/fetch.h"
#include <stdio.h>

enum { SMALL_BYTES = 128 * 1024 }; /* of scales and zeros at a time */

struct glmq_asker {
    const glmq_plan *plan;
    glmq_fetch *fetch;
    void *scratch;
    size_t capacity;
};

glmq_asker *glmq_asker_new(const glmq_plan *p)
{
    glmq_asker *a = glmq_alloc_zero(1, sizeof *a);
    if (!a) return NULL;
    a->plan = p;
    a->fetch = glmq_fetch_new();
    if (a->fetch) return a;
    glmq_free(a);
    return NULL;
}

void glmq_asker_free(glmq_asker *a)
{
    if (!a) return;
    glmq_fetch_free(a->fetch);
    glmq_free(a->scratch);
    glmq_free(a);
}

/* Can what lies beside the codes be read by itself? */
static int has_scales_apart(const glmq_part *p)
{
    glmq_layout l;
    return p->enc.codec && !p->enc.codec->layout(&p->enc, p->rows, p->cols, &l, NULL) &&
           l.slot[GLMQ_SLOT_SCALES].dtype != GLMQ_DT_NONE;
}

/* One matrix whose codes go as they are into one other, row for row. */
static int is_plain_move(const glmq_plan *p, const glmq_item *it)
{
    const glmq_tensor *t = &p->graph->tensors[it->tensor];
    const glmq_part *to = &it->part[0];
    glmq_layout l;

    if (t->parts != 1 || it->parts != 1 || it->row_perm || it->col_perm) return 0;
    if (!glmq_cut_is_whole(&t->part[0], t->rows) || !glmq_cut_equal(&t->part[0].cut, &to->cut))
        return 0;
    if (!to->enc.codec || to->enc.codec->layout(&to->enc, to->rows, to->cols, &l, NULL)) return 0;
    return glmq_way_choose(p, it, 0, &l).way == WAY_CODES;
}

/* Rows to ask for at a time: whole quanta of both sides. */
static uint64_t rows_at_a_time(const glmq_tensor *t, const glmq_item *it)
{
    const uint64_t step = glmq_cut_step(t, it->part, it->parts);
    const size_t per_step = glmq_transcode_ask_scratch(&t->part[0].enc, step, t->cols);
    const uint64_t rows = per_step < SMALL_BYTES ? SMALL_BYTES / per_step * step : step;
    return rows < t->rows ? rows : t->rows;
}

static int reserve(glmq_asker *a, size_t bytes)
{
    if (bytes <= a->capacity) return 0;
    glmq_free(a->scratch);
    a->capacity = 0;
    a->scratch = glmq_alloc(bytes);
    if (!a->scratch) return 1;
    a->capacity = bytes;
    return 0;
}

int glmq_ask(glmq_asker *a, size_t item, char why[160], glmq_travel *travel)
{
    const glmq_item *it = &a->plan->items.at[item];
    const glmq_tensor *t = &a->plan->graph->tensors[it->tensor];
    const glmq_part *from = &t->part[0];
    const glmq_encoding *enc;
    uint64_t step;
    glmq_error err;

    if (!is_plain_move(a->plan, it) || !has_scales_apart(from) ||
        !glmq_transcode_codes_fit(&from->enc, &it->part[0].enc) ||
        glmq_fetch_open_small(a->fetch, a->plan->graph->source, from, NULL))
        return 0;
    enc = glmq_fetch_encoding(a->fetch); /* its zeros may be others than the config says */
    step = rows_at_a_time(t, it);
    if (!glmq_transcode_codes_fit(enc, &it->part[0].enc) ||
        reserve(a, glmq_transcode_ask_scratch(enc, step, t->cols)))
        return 0;
    for (uint64_t row = 0; row < t->rows; row += step) {
        const uint64_t rows = t->rows - row < step ? t->rows - row : step;
        const glmq_tile tile = { row, rows, t->cols, t->rows };
        glmq_status st;
        glmq_bufs in;
        if (glmq_fetch_rows(a->fetch, row, rows, &in, NULL)) return 0;
        st = glmq_transcode_ask(enc, &in, &it->part[0].enc, tile, a->scratch, &err);
        if (st && st != GLMQ_E_INEXACT) return 0;
        if (!st) continue;
        snprintf(why, 160, "%.159s", err.msg);
        *travel = GLMQ_RECODE;
        return 1;
    }
    *travel = GLMQ_SAME_CODES;
    return 1;
}
