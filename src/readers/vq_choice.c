/* Choosing by the statistic V, where a configuration is silent: only the codes are read, and
 * of them only as many groups as make V reliable. */
#include "vq_choice.h"
#include "base/error.h"
#include "base/mem.h"
#include "models/fetch.h"
#include <math.h>

enum { ROWS = 64, ENOUGH = 2 * VQ_POWER_GROUPS };

int vq_form_of(const glmq_array *a, const vq_tier *tier, uint64_t rows, uint64_t cols, int turned,
               vq_form *form)
{
    if (a->rank != 2 || cols % tier->width) return 0;
    for (int f = 0; f < VQ_FORMS; f++) {
        const uint64_t n = vq_form_elements((vq_form)f, tier->code_bits, cols / tier->width);
        const int round = f == VQ_TURNED;

        if (a->dtype != vq_form_dtype((vq_form)f) || round != (turned != 0)) continue;
        if (a->dims[round] != rows || a->dims[!round] != n) continue;
        *form = (vq_form)f;
        return 1;
    }
    return 0;
}

typedef struct measure {
    const glmq_graph *g;
    glmq_fetch *fetch;
    vq_book book;
    double *power;
    vq_power sums;
} measure;

static glmq_status add_rows(measure *m, const glmq_part *part, glmq_error *err)
{
    for (uint64_t row = 0; row < part->rows && m->sums.groups < ENOUGH; row += ROWS) {
        const uint64_t rows = part->rows - row < ROWS ? part->rows - row : ROWS;
        const glmq_tile t = { row, rows, part->cols, part->rows };
        glmq_bufs bufs;

        GLMQ_TRY(glmq_fetch_rows(m->fetch, row, rows, &bufs, err));
        for (uint64_t r = 0; r < rows; r++)
            vq_power_add(&m->sums, m->power, &part->enc, &bufs, t, row + r);
    }
    return GLMQ_OK;
}

static glmq_status add_tensor(measure *m, const glmq_catalog *cat, const glmq_part *like,
                              const vq_found *found, glmq_error *err)
{
    const glmq_array *codes = &cat->arrays[like->span[GLMQ_SLOT_CODES].array];
    glmq_part part = *like;
    vq_form form = (vq_form)like->enc.variant;

    vq_form_of(codes, found->tier, like->rows, like->cols, like->enc.variant == VQ_TURNED, &form);
    part.enc.variant = (uint8_t)form;
    part.enc.bits = found->tier->code_bits;
    part.enc.tables = &m->book;
    GLMQ_TRY(glmq_fetch_open(m->fetch, m->g->source, &part, err));
    return add_rows(m, &part, err);
}

static glmq_status add_all(measure *m, const glmq_catalog *cat, const vq_book *book,
                           const vq_found *found, glmq_error *err)
{
    vq_power_table(&m->book, m->power);
    for (size_t i = 0; i < m->g->count && m->sums.groups < ENOUGH; i++)
        if (m->g->tensors[i].part->enc.tables == book)
            GLMQ_TRY(add_tensor(m, cat, m->g->tensors[i].part, found, err));
    return GLMQ_OK;
}

glmq_status vq_choice_measure(const glmq_graph *g, const glmq_catalog *cat, const vq_book *book,
                              const vq_found *found, double *v, uint64_t *groups, glmq_error *err)
{
    measure m = { .g = g,
                  .fetch = glmq_fetch_new(),
                  .book = { .name = found->array,
                            .entries = found->tier->entries,
                            .width = found->tier->width,
                            .bits = found->tier->code_bits,
                            .values = found->values },
                  .power = glmq_alloc(found->tier->entries * sizeof(double)) };
    glmq_status st;

    if (m.fetch && m.power)
        st = add_all(&m, cat, book, found, err);
    else
        st = glmq_fail(err, GLMQ_E_NOMEM, "codebook %s", found->array);
    *v = st ? (double)INFINITY : vq_power_value(&m.sums);
    *groups = m.sums.groups;
    glmq_fetch_free(m.fetch);
    glmq_free(m.power);
    return st == GLMQ_E_FORMAT ? GLMQ_OK : st; /* then it is not this one */
}

/* The least V, if it is clearly less than the next.  One bit does not tell right from wrong
 * clearly enough. */
int vq_choice_best(const vq_found *found, const double *v, size_t count)
{
    int best = -1;
    double next = (double)INFINITY;

    for (size_t i = 0; i < count; i++) {
        if (isnan(v[i])) return -1;
        if (best < 0 || v[i] < v[best]) {
            if (best >= 0 && v[best] < next) next = v[best];
            best = (int)i;
        } else if (v[i] < next) {
            next = v[i];
        }
    }
    if (best < 0 || !isfinite(v[best]) || !(v[best] <= 0.7 * next)) return -1;
    if (!isfinite(next)) return best; /* the codes fit no other */
    return log2((double)found[best].tier->entries) / found[best].tier->width < 1.25 ? -1 : best;
}
