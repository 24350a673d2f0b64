/* What makes a graph whole: shapes from the hyper-parameters, every tensor that must exist,
 * every array accounted for.
 *
 * Tensors and expectations are walked in the same order (layer, role, expert), so the check
 * is one merge of two sorted sequences; gaps are counted, never walked, because the counts
 * come from a file. */
#include "graph.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include "readers/catalog.h"
#include "roles.h"
#include <stdlib.h>
#include <string.h>

enum { LISTED_MAX = 10000 }; /* problems of one kind that are told one by one */

/* ---- shapes and expectations, as data ---- */

/* clang-format off */
typedef enum { /* lengths that shapes are made of */
    D_ONE, D_H, D_V, D_Q, D_KV, D_HD, D_O, D_RQ, D_QB, D_KVA, D_RK, D_KVB, D_IQ, D_AD, D_AN,
    D_D, D_I, D_E, D_S, D_2H, D_COUNT
} dim;

enum { /* what must hold of model and layer for a role to exist */
    N_TOP = 1 << 0, N_LAYER = 1 << 1, N_MTP = 1 << 2, N_SPARSE = 1 << 3, N_DENSE = 1 << 4,
    N_FULL = 1 << 5, N_GQA = 1 << 6, N_MLA = 1 << 7, N_DSA = 1 << 8, N_BIAS = 1 << 9,
    N_QK_NORM = 1 << 10, N_Q_LORA = 1 << 11, N_Q_DIRECT = 1 << 12, N_SHARED = 1 << 13,
    N_OPTIONAL = 1 << 14 /* of the role, not of the model */
};
/* clang-format on */

static const struct {
    uint8_t rank, rows, cols;
    unsigned needs;
} shapes[GLMQ_ROLE_COUNT] = {
    [GLMQ_ROLE_EMBED] = { 2, D_V, D_H, N_TOP },
    [GLMQ_ROLE_NORM] = { 1, D_ONE, D_H, N_TOP },
    [GLMQ_ROLE_LM_HEAD] = { 2, D_V, D_H, N_TOP },
    [GLMQ_ROLE_ATTN_NORM] = { 1, D_ONE, D_H, N_LAYER },
    [GLMQ_ROLE_FFN_NORM] = { 1, D_ONE, D_H, N_LAYER },
    [GLMQ_ROLE_ATTN_Q] = { 2, D_Q, D_H, N_LAYER | N_Q_DIRECT },
    [GLMQ_ROLE_ATTN_K] = { 2, D_KV, D_H, N_LAYER | N_GQA },
    [GLMQ_ROLE_ATTN_V] = { 2, D_KV, D_H, N_LAYER | N_GQA },
    [GLMQ_ROLE_ATTN_O] = { 2, D_H, D_O, N_LAYER },
    [GLMQ_ROLE_ATTN_Q_BIAS] = { 1, D_ONE, D_Q, N_LAYER | N_GQA | N_BIAS },
    [GLMQ_ROLE_ATTN_K_BIAS] = { 1, D_ONE, D_KV, N_LAYER | N_GQA | N_BIAS },
    [GLMQ_ROLE_ATTN_V_BIAS] = { 1, D_ONE, D_KV, N_LAYER | N_GQA | N_BIAS },
    [GLMQ_ROLE_ATTN_O_BIAS] = { 1, D_ONE, D_H, N_LAYER | N_MLA | N_BIAS },
    [GLMQ_ROLE_ATTN_Q_NORM] = { 1, D_ONE, D_HD, N_LAYER | N_GQA | N_QK_NORM },
    [GLMQ_ROLE_ATTN_K_NORM] = { 1, D_ONE, D_HD, N_LAYER | N_GQA | N_QK_NORM },
    [GLMQ_ROLE_ATTN_Q_A] = { 2, D_RQ, D_H, N_LAYER | N_MLA | N_Q_LORA },
    [GLMQ_ROLE_ATTN_Q_A_BIAS] = { 1, D_ONE, D_RQ, N_LAYER | N_MLA | N_Q_LORA | N_BIAS },
    [GLMQ_ROLE_ATTN_Q_A_NORM] = { 1, D_ONE, D_RQ, N_LAYER | N_MLA | N_Q_LORA },
    [GLMQ_ROLE_ATTN_Q_B] = { 2, D_QB, D_RQ, N_LAYER | N_MLA | N_Q_LORA },
    [GLMQ_ROLE_ATTN_KV_A] = { 2, D_KVA, D_H, N_LAYER | N_MLA },
    [GLMQ_ROLE_ATTN_KV_A_BIAS] = { 1, D_ONE, D_KVA, N_LAYER | N_MLA | N_BIAS },
    [GLMQ_ROLE_ATTN_KV_A_NORM] = { 1, D_ONE, D_RK, N_LAYER | N_MLA },
    [GLMQ_ROLE_ATTN_KV_B] = { 2, D_KVB, D_RK, N_LAYER | N_MLA },
    [GLMQ_ROLE_ATTN_K_SCALE] = { 1, D_ONE, D_ONE, N_LAYER | N_OPTIONAL },
    [GLMQ_ROLE_ATTN_V_SCALE] = { 1, D_ONE, D_ONE, N_LAYER | N_OPTIONAL },
    [GLMQ_ROLE_INDEXER_Q_B] = { 2, D_IQ, D_RQ, N_LAYER | N_DSA | N_FULL },
    [GLMQ_ROLE_INDEXER_K] = { 2, D_AD, D_H, N_LAYER | N_DSA | N_FULL },
    [GLMQ_ROLE_INDEXER_K_NORM] = { 1, D_ONE, D_AD, N_LAYER | N_DSA | N_FULL },
    [GLMQ_ROLE_INDEXER_K_NORM_BIAS] = { 1, D_ONE, D_AD, N_LAYER | N_DSA | N_FULL },
    [GLMQ_ROLE_INDEXER_WEIGHTS] = { 2, D_AN, D_H, N_LAYER | N_DSA | N_FULL },
    [GLMQ_ROLE_MLP_GATE] = { 2, D_D, D_H, N_LAYER | N_DENSE },
    [GLMQ_ROLE_MLP_UP] = { 2, D_D, D_H, N_LAYER | N_DENSE },
    [GLMQ_ROLE_MLP_DOWN] = { 2, D_H, D_D, N_LAYER | N_DENSE },
    [GLMQ_ROLE_ROUTER] = { 2, D_E, D_H, N_LAYER | N_SPARSE },
    [GLMQ_ROLE_ROUTER_BIAS] = { 1, D_ONE, D_E, N_LAYER | N_SPARSE },
    [GLMQ_ROLE_EXPERTS_GATE] = { 2, D_I, D_H, N_LAYER | N_SPARSE },
    [GLMQ_ROLE_EXPERTS_UP] = { 2, D_I, D_H, N_LAYER | N_SPARSE },
    [GLMQ_ROLE_EXPERTS_DOWN] = { 2, D_H, D_I, N_LAYER | N_SPARSE },
    [GLMQ_ROLE_SHARED_GATE] = { 2, D_S, D_H, N_LAYER | N_SPARSE | N_SHARED },
    [GLMQ_ROLE_SHARED_UP] = { 2, D_S, D_H, N_LAYER | N_SPARSE | N_SHARED },
    [GLMQ_ROLE_SHARED_DOWN] = { 2, D_H, D_S, N_LAYER | N_SPARSE | N_SHARED },
    [GLMQ_ROLE_MTP_ENORM] = { 1, D_ONE, D_H, N_LAYER | N_MTP },
    [GLMQ_ROLE_MTP_HNORM] = { 1, D_ONE, D_H, N_LAYER | N_MTP },
    [GLMQ_ROLE_MTP_EH_PROJ] = { 2, D_H, D_2H, N_LAYER | N_MTP },
    [GLMQ_ROLE_MTP_NORM] = { 1, D_ONE, D_H, N_LAYER | N_MTP },
    [GLMQ_ROLE_MTP_EMBED] = { 2, D_V, D_H, N_LAYER | N_MTP | N_OPTIONAL },
    [GLMQ_ROLE_MTP_HEAD] = { 2, D_V, D_H, N_LAYER | N_MTP | N_OPTIONAL },
};

/* hparams.c bounds every factor, so that no product overflows. */
static uint64_t dim_of(const glmq_hparams *h, dim d)
{
    const int mla = h->arch->mla;

    switch (d) {
    case D_ONE: return 1;
    case D_H: return h->hidden;
    case D_V: return h->vocab;
    case D_Q: return h->heads * (mla ? h->qk_nope + h->qk_rope : h->head_dim);
    case D_KV: return h->kv_heads * h->head_dim;
    case D_HD: return h->head_dim;
    case D_O: return h->heads * (mla ? h->v_head : h->head_dim);
    case D_RQ: return h->q_lora;
    case D_QB: return h->heads * (h->qk_nope + h->qk_rope);
    case D_KVA: return h->kv_lora + h->qk_rope;
    case D_RK: return h->kv_lora;
    case D_KVB: return h->heads * (h->qk_nope + h->v_head);
    case D_IQ: return h->index_heads * h->index_dim;
    case D_AD: return h->index_dim;
    case D_AN: return h->index_heads;
    case D_D: return h->intermediate;
    case D_I: return h->moe_intermediate;
    case D_E: return h->experts;
    case D_S: return h->shared_experts * h->moe_intermediate;
    case D_2H: return 2 * h->hidden;
    case D_COUNT: break;
    }
    return 0;
}

/* What holds of the model (and, layer >= 0, of that layer). */
static unsigned traits(const glmq_hparams *h, int64_t layer)
{
    const int mtp = layer >= 0 && (uint64_t)layer >= h->layers;
    unsigned t = h->arch->mla ? N_MLA : N_GQA;

    if (h->arch->dsa) t |= N_DSA;
    if (h->attention_bias) t |= N_BIAS;
    if (h->qk_norm) t |= N_QK_NORM;
    if (h->shared_experts) t |= N_SHARED;
    t |= h->arch->mla && h->q_lora ? N_Q_LORA : N_Q_DIRECT;
    if (layer < 0) return t | N_TOP;
    if (mtp) return t | N_LAYER | N_MTP | N_SPARSE | N_FULL;
    t |= N_LAYER | (h->layer_sparse[layer] ? N_SPARSE : N_DENSE);
    return h->indexer_full && h->indexer_full[layer] ? t | N_FULL : t;
}

/* Must this tensor exist, given that its layer does?  2: optional. */
static int expected_with(const glmq_hparams *h, glmq_role role, unsigned have)
{
    const unsigned needs = shapes[role].needs;

    if (needs == 0 || (needs & ~(unsigned)N_OPTIONAL & ~have)) return 0;
    if (needs & N_OPTIONAL || (role == GLMQ_ROLE_LM_HEAD && h->tied)) return 2;
    return 1;
}

int glmq_role_shape(const glmq_hparams *h, glmq_role role, uint8_t *rank, uint64_t *rows,
                    uint64_t *cols)
{
    if ((unsigned)role >= GLMQ_ROLE_COUNT || shapes[role].needs == 0) return 0;
    *rank = shapes[role].rank;
    *rows = dim_of(h, (dim)shapes[role].rows);
    *cols = dim_of(h, (dim)shapes[role].cols);
    return *rows != 0 && *cols != 0;
}

/* ---- order ---- */

typedef struct {
    uint64_t key;
    const char *name;
    size_t index;
} order;

static uint64_t key_of(int64_t layer, int role, int64_t expert)
{
    return (uint64_t)(layer + 1) << 32 | (uint64_t)role << 24 | (uint64_t)(expert + 1);
}

static int by_key(const void *a, const void *b)
{
    const order *x = a, *y = b;
    const int by_name = x->key == y->key ? strcmp(x->name, y->name) : 0;

    if (x->key != y->key) return x->key < y->key ? -1 : 1;
    if (by_name) return by_name;
    return x->index < y->index ? -1 : x->index > y->index;
}

static glmq_status sort_tensors(glmq_graph *g, glmq_error *err)
{
    order *o = glmq_alloc((g->count + 1) * sizeof *o);
    glmq_tensor *sorted = glmq_alloc((g->count + 1) * sizeof *sorted);

    if (!o || !sorted) {
        glmq_free(o);
        glmq_free(sorted);
        return glmq_fail(err, GLMQ_E_NOMEM, "order of %zu tensors", g->count);
    }
    for (size_t i = 0; i < g->count; i++) {
        const glmq_tensor *t = &g->tensors[i];
        o[i] = (order){ key_of(t->layer, (int)t->role, t->expert), t->name, i };
    }
    qsort(o, g->count, sizeof *o, by_key);
    for (size_t i = 0; i < g->count; i++) sorted[i] = g->tensors[o[i].index];
    glmq_free(o);
    glmq_free(g->tensors);
    g->tensors = sorted;
    g->capacity = g->count + 1;
    return GLMQ_OK;
}

/* ---- parts ---- */

static const char *array_of(const glmq_graph *g, const glmq_part *p)
{
    for (int i = 0; i < GLMQ_SLOTS; i++)
        if (p->span[i].bytes) return g->catalog->arrays[p->span[i].array].name;
    return "?";
}

/* Two stored matrices of one tensor: the halves of kv_b, or the same tensor twice. */
static glmq_status join(glmq_graph *g, glmq_tensor *to, const glmq_tensor *from, glmq_error *err)
{
    const glmq_cut *a = &to->part[0].cut, *b = &from->part[0].cut;
    const glmq_tensor *low = a->first <= b->first ? to : from;
    const glmq_tensor *high = low == to ? from : to;
    glmq_part *both;

    if (to->parts != 1 || a->heads != b->heads || a->stride != b->stride ||
        to->cols != from->cols || low->part[0].cut.first != 0 ||
        low->part[0].cut.count != high->part[0].cut.first)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s is stored twice, as %s and %s", to->name,
                         array_of(g, to->part), array_of(g, from->part));
    both = glmq_arena_alloc(&g->arena, GLMQ_PARTS_MAX * sizeof *both);
    if (!both) return glmq_fail(err, GLMQ_E_NOMEM, "%s", to->name);
    both[0] = low->part[0];
    both[1] = high->part[0];
    to->part = both;
    to->parts = 2;
    return GLMQ_OK;
}

/* Are all rows of the tensor stored? */
static int is_whole(const glmq_tensor *t)
{
    uint64_t rows = 0;

    for (int i = 0; i < t->parts; i++) rows += t->part[i].cut.count;
    return rows == t->part[0].cut.stride;
}

/* A tensor of which only a part is stored cannot be used. */
static glmq_status refuse_half(glmq_graph *g, const glmq_tensor *t, glmq_error *err)
{
    if (!g->allow_incomplete)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: only %s is stored, its other half is missing",
                         t->name, array_of(g, t->part));
    for (int i = 0; i < GLMQ_SLOTS; i++)
        if (t->part[0].span[i].bytes)
            glmq_graph_drop(g, t->part[0].span[i].array, "the other half of the tensor is missing");
    return GLMQ_OK;
}

static glmq_status join_parts(glmq_graph *g, glmq_error *err)
{
    size_t n = 0;

    for (size_t i = 0; i < g->count; i++) {
        glmq_tensor *last = n ? &g->tensors[n - 1] : NULL;

        if (last && strcmp(last->name, g->tensors[i].name) == 0)
            GLMQ_TRY(join(g, last, &g->tensors[i], err));
        else
            g->tensors[n++] = g->tensors[i];
    }
    g->count = n;
    n = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (is_whole(&g->tensors[i]))
            g->tensors[n++] = g->tensors[i];
        else
            GLMQ_TRY(refuse_half(g, &g->tensors[i], err));
    }
    g->count = n;
    return GLMQ_OK;
}

static glmq_status index_names(glmq_graph *g, glmq_error *err)
{
    for (size_t i = 0; i < g->count; i++) {
        const glmq_tensor *t = &g->tensors[i];
        const int added = glmq_strmap_add(&g->by_name, t->name, strlen(t->name), i, NULL);

        if (added < 0) return glmq_fail(err, GLMQ_E_NOMEM, "names of %zu tensors", g->count);
        if (added == 0) return glmq_fail(err, GLMQ_E_FORMAT, "%s is stored twice", t->name);
    }
    return GLMQ_OK;
}

/* ---- shapes ---- */

static glmq_status compare_shape(const glmq_graph *g, const glmq_tensor *t, glmq_error *err)
{
    const uint64_t experts = glmq_hparams_experts(g->hp, t->layer);
    uint64_t rows, cols;
    uint8_t rank;

    if (!glmq_role_shape(g->hp, t->role, &rank, &rows, &cols)) return GLMQ_OK;
    if (t->role == GLMQ_ROLE_ROUTER) rows = experts;
    if (t->role == GLMQ_ROLE_ROUTER_BIAS) cols = experts;
    if (t->rank == rank && t->rows == rows && t->cols == cols) return GLMQ_OK;
    if (t->role == GLMQ_ROLE_ROUTER && t->cols == cols)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: rows for %" PRIu64 " experts, the config has %" PRIu64, t->name,
                         t->rows, rows);
    if (rank == 1)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: shape %" PRIu64 " x %" PRIu64 ", expected %" PRIu64, t->name, t->rows,
                         t->cols, cols);
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s: shape %" PRIu64 " x %" PRIu64 ", expected %" PRIu64 " x %" PRIu64,
                     t->name, t->rows, t->cols, rows, cols);
}

/* A tensor that contradicts the config ends it all, or is a problem and stays as it is. */
static glmq_status refuse(glmq_graph *g, const glmq_tensor *t, glmq_status st, glmq_error *err)
{
    if (st != GLMQ_E_FORMAT || !g->tolerate) return st;
    if (glmq_graph_note(g, GLMQ_ERROR, "bad-tensor", t->name, NULL, "%s", err->msg))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

static glmq_status check_shape(glmq_graph *g, const glmq_tensor *t, glmq_error *err)
{
    return refuse(g, t, compare_shape(g, t, err), err);
}

/* ---- completeness ---- */

typedef struct {
    glmq_graph *g;
    size_t at;        /* the next tensor                                      */
    uint64_t missing; /* in all                                               */
    uint64_t listed;
    const char *first; /* name of the first missing one                        */
} walk;

static const char *name_at(glmq_graph *g, glmq_role role, int64_t layer, int64_t expert)
{
    const glmq_arch *arch = g->hp->arch;
    const glmq_name_row *row = glmq_names_row(arch, NAMES_HF, role, SPLIT_NONE);
    char text[256];

    if (!row || !glmq_names_print(arch, NAMES_HF, role, SPLIT_NONE, (int32_t)layer, (int32_t)expert,
                                  text, sizeof text))
        return NULL;
    return glmq_arena_printf(&g->arena, "%s%s", text, row->leaf ? "" : ".weight");
}

/* Experts [from, to) of a role (or the one tensor: -1, 0) are not there. */
static glmq_status miss(walk *w, glmq_role role, int64_t layer, int64_t from, int64_t to,
                        glmq_error *err)
{
    w->missing += (uint64_t)(to - from);
    for (int64_t e = from; e < to && w->listed < LISTED_MAX; e++, w->listed++) {
        const char *name = name_at(w->g, role, layer, e);
        uint64_t told;

        if (!name) return glmq_fail(err, GLMQ_E_NOMEM, "missing tensors");
        if (glmq_strmap_get(&w->g->unreadable, name, strlen(name), &told)) continue;
        if (!w->first) w->first = name;
        if (!w->g->allow_incomplete) break;
        if (glmq_graph_note(w->g, GLMQ_ERROR, "missing-tensor", name, NULL, "tensor is missing"))
            return glmq_fail(err, GLMQ_E_NOMEM, "missing tensors");
    }
    return GLMQ_OK;
}

/* The next tensor if its key is below `end`. */
static const glmq_tensor *next_below(const walk *w, uint64_t end)
{
    const glmq_tensor *t;

    if (w->at >= w->g->count) return NULL;
    t = &w->g->tensors[w->at];
    return key_of(t->layer, (int)t->role, t->expert) < end ? t : NULL;
}

/* A tensor where the configuration has none.  What cannot hurt is kept and told. */
static glmq_status unexpected(glmq_graph *g, const glmq_tensor *t, glmq_error *err)
{
    const glmq_role_class c = glmq_role_class_of(t->role);
    const uint64_t layers = g->hp->layers, mtp = g->hp->mtp_layers;
    glmq_status st = GLMQ_OK;

    if (t->role >= GLMQ_ROLE_INDEXER_Q_B && t->role <= GLMQ_ROLE_INDEXER_WEIGHTS) {
        if (t->role == GLMQ_ROLE_INDEXER_Q_B)
            st = glmq_graph_note(g, GLMQ_NOTE, "indexer-unused", t->name, NULL,
                                 "layer %d shares its selection, its own indexer is not used",
                                 t->layer);
        return st ? glmq_fail(err, st, "problems") : GLMQ_OK;
    }
    if (t->layer >= 0 && (uint64_t)t->layer >= layers + mtp)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: the model has %" PRIu64 " layers and %" PRIu64 " MTP layers", t->name,
                         layers, mtp);
    if (c == ROLE_EXPERT && glmq_hparams_experts(g->hp, t->layer) > 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: layer %d has %" PRIu64 " experts by the config",
                         t->name, t->layer, glmq_hparams_experts(g->hp, t->layer));
    if (c != ROLE_BIAS && c != ROLE_NORM)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: the config has no such tensor in layer %d",
                         t->name, t->layer);
    st = glmq_graph_note(g, GLMQ_WARNING, "unexpected-tensor", t->name, NULL,
                         "stored, though the config has no such tensor there");
    return st ? glmq_fail(err, st, "problems") : GLMQ_OK;
}

/* Tensors of one role in one layer, experts [0, experts) wanted. */
static glmq_status walk_experts(walk *w, glmq_role role, int64_t layer, int64_t experts,
                                glmq_error *err)
{
    const uint64_t end = key_of(layer, (int)role, experts);
    const glmq_tensor *t;
    int64_t wanted = 0;

    while ((t = next_below(w, end)) != NULL) {
        if (t->expert > wanted) GLMQ_TRY(miss(w, role, layer, wanted, t->expert, err));
        GLMQ_TRY(check_shape(w->g, t, err));
        wanted = t->expert + 1;
        w->at++;
    }
    return wanted < experts ? miss(w, role, layer, wanted, experts, err) : GLMQ_OK;
}

static glmq_status walk_role(walk *w, glmq_role role, int64_t layer, unsigned have, glmq_error *err)
{
    const int expected = expected_with(w->g->hp, role, have);
    const uint64_t end = key_of(layer, (int)role + 1, -1);
    const glmq_tensor *t;

    if (expected && glmq_role_class_of(role) == ROLE_EXPERT) {
        GLMQ_TRY(walk_experts(w, role, layer, (int64_t)glmq_hparams_experts(w->g->hp, layer), err));
    } else if (expected) {
        t = next_below(w, end);
        if (!t) return expected == 1 ? miss(w, role, layer, -1, 0, err) : GLMQ_OK;
        GLMQ_TRY(check_shape(w->g, t, err));
        w->at++;
    }
    while ((t = next_below(w, end)) != NULL) {
        if (t->role != GLMQ_ROLE_OTHER && t->role != GLMQ_ROLE_CODEBOOK)
            GLMQ_TRY(refuse(w->g, t, unexpected(w->g, t, err), err));
        GLMQ_TRY(check_shape(w->g, t, err));
        w->at++;
    }
    return GLMQ_OK;
}

static glmq_status walk_layer(walk *w, int64_t layer, glmq_error *err)
{
    const unsigned have = traits(w->g->hp, layer);

    for (int r = 0; r < GLMQ_ROLE_COUNT; r++)
        GLMQ_TRY(walk_role(w, (glmq_role)r, layer, have, err));
    return GLMQ_OK;
}

/* A stored MTP layer that the config does not count counts all the same. */
static glmq_status adopt_mtp(glmq_graph *g, glmq_error *err)
{
    glmq_hparams *h = g->hp;

    for (size_t i = g->count; i-- > 0;) {
        const glmq_tensor *t = &g->tensors[i];
        if (t->layer < 0 || (uint64_t)t->layer < h->layers + h->mtp_layers) break;
        if (t->role != GLMQ_ROLE_MTP_EH_PROJ) continue;
        if (glmq_graph_note(g, GLMQ_WARNING, "mtp-undeclared", t->name, NULL,
                            "the config counts %" PRIu64 " MTP layers, layer %d is another",
                            h->mtp_layers, t->layer))
            return glmq_fail(err, GLMQ_E_NOMEM, "problems");
        h->mtp_layers = (uint64_t)t->layer + 1 - h->layers;
        break;
    }
    return GLMQ_OK;
}

static glmq_status check_mtp(walk *w, glmq_error *err)
{
    glmq_graph *g = w->g;
    const uint64_t layers = g->hp->layers, mtp = g->hp->mtp_layers;

    if (mtp == 0) return GLMQ_OK;
    if (!next_below(w, UINT64_MAX)) {
        if (glmq_graph_note(g, GLMQ_WARNING, "mtp-absent", NULL, NULL,
                            "the config counts %" PRIu64 " MTP layers, none is stored", mtp))
            return glmq_fail(err, GLMQ_E_NOMEM, "problems");
        return GLMQ_OK;
    }
    for (uint64_t l = layers; l < layers + mtp; l++) GLMQ_TRY(walk_layer(w, (int64_t)l, err));
    return GLMQ_OK;
}

static glmq_status check_complete(glmq_graph *g, glmq_error *err)
{
    walk w = { .g = g };
    const glmq_tensor *rest;

    GLMQ_TRY(adopt_mtp(g, err));
    for (int64_t l = -1; l < (int64_t)g->hp->layers; l++) GLMQ_TRY(walk_layer(&w, l, err));
    GLMQ_TRY(check_mtp(&w, err));
    rest = next_below(&w, UINT64_MAX);
    if (rest) return refuse(g, rest, unexpected(g, rest, err), err);
    if (w.missing == 0) return GLMQ_OK;
    if (!g->allow_incomplete)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s is missing (%" PRIu64 " tensors in all)", w.first,
                         w.missing);
    if (w.missing > w.listed &&
        glmq_graph_note(g, GLMQ_ERROR, "missing-tensor", NULL, NULL, "%" PRIu64 " more are missing",
                        w.missing - w.listed))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

/* ---- conservation, and what is worth telling ---- */

static glmq_status account(glmq_graph *g, glmq_error *err)
{
    const size_t count = g->catalog->count;
    size_t dropped = 0;

    g->used_count = 0;
    for (size_t i = 0; i < count; i++) {
        if (g->fate[i] == FATE_UNKNOWN)
            return glmq_fail(err, GLMQ_E_FORMAT, "array %s belongs to no tensor",
                             g->catalog->arrays[i].name);
        if (g->fate[i] == FATE_DROPPED)
            dropped++;
        else
            g->used_count++;
    }
    g->dropped = glmq_alloc((dropped + 1) * sizeof *g->dropped);
    if (!g->dropped) return glmq_fail(err, GLMQ_E_NOMEM, "%zu dropped arrays", dropped);
    for (size_t i = 0; i < count; i++)
        if (g->fate[i] == FATE_DROPPED)
            g->dropped[g->dropped_count++] =
                (glmq_dropped){ g->catalog->arrays[i].name, g->fate_reason[i] };
    return GLMQ_OK;
}

static glmq_status note_tensor(glmq_graph *g, const glmq_tensor *t, size_t *others)
{
    const glmq_dtype dtype = glmq_encoding_dtype(&t->part[0].enc);

    if (!glmq_encoding_is_plain(&t->part[0].enc)) g->quantized = 1;
    if (t->role == GLMQ_ROLE_ROUTER_BIAS && dtype != GLMQ_DT_F32)
        return glmq_graph_note(g, GLMQ_ERROR, "router-bias-narrowed", t->name, NULL,
                               "stored as %s, published as F32: experts may be chosen otherwise",
                               dtype == GLMQ_DT_NONE ? "a quantized encoding"
                                                     : glmq_dtype_name(dtype));
    if (t->role == GLMQ_ROLE_OTHER && g->hp && (*others)++ < LISTED_MAX)
        return glmq_graph_note(g, GLMQ_WARNING, "unknown-tensor", t->name, NULL,
                               "no tensor of %s; carried as it is", g->hp->arch->model_type);
    return GLMQ_OK;
}

glmq_status glmq_graph_finish(glmq_graph *g, glmq_error *err)
{
    size_t others = 0;

    GLMQ_TRY(sort_tensors(g, err));
    GLMQ_TRY(join_parts(g, err));
    GLMQ_TRY(index_names(g, err));
    if (g->hp) GLMQ_TRY(check_complete(g, err));
    for (size_t i = 0; i < g->count; i++)
        if (note_tensor(g, &g->tensors[i], &others))
            return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return account(g, err);
}
