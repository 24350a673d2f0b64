/* --unpermute: activation order of down_proj removed without touching a number.
 *
 * The columns of down are the rows of gate and up.  Sorted by the group they belong to, down's
 * columns need no g_idx any more; gate's and up's rows follow.  The block's output is the same
 * sum in another order.  Writers and the judge see a shadow of the graph in which this has been
 * done; the run finds the original and the order in the plan. */
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "convert/cuts.h"
#include "convert/plan.h"
#include <stdlib.h>
#include <string.h>

static const struct block_roles {
    glmq_role down, gate, up;
} blocks[] = {
    { GLMQ_ROLE_EXPERTS_DOWN, GLMQ_ROLE_EXPERTS_GATE, GLMQ_ROLE_EXPERTS_UP },
    { GLMQ_ROLE_SHARED_DOWN, GLMQ_ROLE_SHARED_GATE, GLMQ_ROLE_SHARED_UP },
    { GLMQ_ROLE_MLP_DOWN, GLMQ_ROLE_MLP_GATE, GLMQ_ROLE_MLP_UP },
};

static const struct block_roles *roles_of(const glmq_tensor *down)
{
    for (size_t i = 0; i < GLMQ_COUNT(blocks); i++)
        if (blocks[i].down == down->role) return &blocks[i];
    return NULL;
}

typedef struct place {
    int32_t layer, expert;
    glmq_role role;
    uint32_t tensor;
} place;

static int by_place(const void *a, const void *b)
{
    const place *x = a, *y = b;
    if (x->layer != y->layer) return x->layer < y->layer ? -1 : 1;
    if (x->role != y->role) return x->role < y->role ? -1 : 1;
    return x->expert < y->expert ? -1 : x->expert > y->expert;
}

/* The tensor of another role in the same block, or -1; `rows` it must have, whole. */
static int64_t partner(const glmq_graph *g, const place *order, const glmq_tensor *down,
                       glmq_role role)
{
    const place key = { down->layer, down->expert, role, 0 };
    const place *at = bsearch(&key, order, g->count, sizeof *order, by_place);
    const glmq_tensor *t = at ? &g->tensors[at->tensor] : NULL;
    if (!t || t->parts != 1 || t->rows != down->cols || !glmq_cut_is_whole(&t->part[0], t->rows))
        return -1;
    return at->tensor;
}

/* Columns of each group must be `group` in number: those are the order, else none. */
static int sort_columns(const uint8_t *g_idx, uint64_t cols, uint32_t group, int32_t *order,
                        uint32_t *next)
{
    const uint64_t groups = cols / group;
    for (uint64_t i = 0; i < groups; i++) next[i] = 0;
    for (uint64_t c = 0; c < cols; c++) {
        const uint32_t g = load_le32(g_idx + 4 * c);
        if (g >= groups || next[g] == group) return -1;
        order[(uint64_t)g * group + next[g]++] = (int32_t)c;
    }
    return 0;
}

static glmq_status read_order(glmq_plan *p, const glmq_part *q, int32_t **out, glmq_error *err)
{
    const glmq_span *s = &q->span[GLMQ_SLOT_PERM];
    uint8_t *g_idx;
    uint32_t *next;
    glmq_status st = GLMQ_OK;
    *out = NULL;
    if (!q->enc.group || q->cols % q->enc.group || s->bytes != 4 * q->cols) return GLMQ_OK;
    g_idx = glmq_alloc((size_t)s->bytes);
    next = glmq_alloc((size_t)(q->cols / q->enc.group + 1) * sizeof *next);
    *out = glmq_arena_alloc(&p->arena, (size_t)q->cols * sizeof **out);
    if (!g_idx || !next || !*out) st = glmq_fail(err, GLMQ_E_NOMEM, "the order of columns");
    if (!st)
        st = glmq_source_read(p->graph->source, s->file, s->offset, g_idx, (size_t)s->bytes, err);
    if (!st && sort_columns(g_idx, q->cols, q->enc.group, *out, next)) *out = NULL;
    glmq_free(g_idx);
    glmq_free(next);
    return st;
}

/* The shadow of down: the same matrix, without activation order. */
static glmq_status straighten(glmq_plan *p, glmq_tensor *down, glmq_error *err)
{
    glmq_part *q = glmq_arena_alloc(&p->arena, sizeof *q);
    if (!q) return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    *q = down->part[0];
    q->enc.act_order = GLMQ_ACT_NONE;
    q->span[GLMQ_SLOT_PERM] = (glmq_span){ 0 };
    down->part = q;
    return GLMQ_OK;
}

static glmq_status unpermute_one(glmq_plan *p, const place *order, uint32_t i, glmq_error *err)
{
    glmq_tensor *down = &p->shadow.tensors[i];
    const struct block_roles *roles = roles_of(down);
    int32_t *columns;
    int64_t gate, up;
    if (!roles || down->parts != 1 || down->part[0].enc.act_order != GLMQ_ACT_ORDER) return GLMQ_OK;
    if (!glmq_cut_is_whole(&down->part[0], down->rows)) return GLMQ_OK;
    gate = partner(p->graph, order, down, roles->gate);
    up = partner(p->graph, order, down, roles->up);
    if (gate < 0 || up < 0) return GLMQ_OK;
    GLMQ_TRY(glmq_within(err, read_order(p, &down->part[0], &columns, err), "%s", down->name));
    if (!columns) return GLMQ_OK;
    p->col_perm[i] = columns;
    p->row_perm[gate] = p->row_perm[up] = columns;
    return straighten(p, down, err);
}

static glmq_status make_shadow(glmq_plan *p, glmq_error *err)
{
    const size_t n = p->graph->count;
    p->shadow = *p->graph;
    p->shadow.tensors = glmq_arena_alloc(&p->arena, (n + 1) * sizeof *p->shadow.tensors);
    p->row_perm = glmq_arena_alloc(&p->arena, (n + 1) * sizeof *p->row_perm);
    p->col_perm = glmq_arena_alloc(&p->arena, (n + 1) * sizeof *p->col_perm);
    if (!p->shadow.tensors || !p->row_perm || !p->col_perm)
        return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    memcpy(p->shadow.tensors, p->graph->tensors, n * sizeof *p->shadow.tensors);
    return GLMQ_OK;
}

glmq_status glmq_plan_unpermute(glmq_plan *p, glmq_error *err)
{
    const size_t n = p->graph->count;
    glmq_status st = GLMQ_OK;
    place *order;
    GLMQ_TRY(make_shadow(p, err));
    order = glmq_alloc((n + 1) * sizeof *order);
    if (!order) return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    for (uint32_t i = 0; i < n; i++) {
        const glmq_tensor *t = &p->graph->tensors[i];
        order[i] = (place){ t->layer, t->expert, t->role, i };
    }
    qsort(order, n, sizeof *order, by_place);
    for (uint32_t i = 0; i < n && !st; i++) st = unpermute_one(p, order, i, err);
    glmq_free(order);
    if (!st) p->graph = &p->shadow;
    return st;
}
