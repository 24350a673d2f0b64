/* The modules of a target as its quantization_config speaks of them: which are kept, which
 * have which encoding, and the patterns that name them.
 *
 * Serving engines do not look up the names that a file has only: they ask for
 * "….mlp.experts" (one fused module), "….qkv_proj", "….gate_up_proj".  A list that names
 * leaves alone is then read as "quantized", and the load fails or, worse, does not. */
#include "writers/hf.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "models/roles.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a tensor's module path (the name without ".weight"); 0: it is no module. */
static size_t module_len(const glmq_tensor *x)
{
    const size_t len = strlen(x->name);
    if (x->rank != 2 || len <= 7 || strcmp(x->name + len - 7, ".weight") != 0) return 0;
    return len - 7;
}

/* "….experts" of "….experts.17.gate_proj". */
static size_t experts_len(const glmq_tensor *x)
{
    size_t len = module_len(x);
    for (int dots = 0; len > 0 && dots < 2; len--) dots += x->name[len - 1] == '.';
    return len;
}

static int is_expert(const glmq_tensor *x)
{
    return glmq_role_class_of(x->role) == ROLE_EXPERT && x->expert >= 0 && module_len(x) > 0;
}

/* The end of the run of one layer's experts that starts at `i` (roles follow one another). */
static size_t experts_end(const glmq_graph *g, size_t i)
{
    size_t end = i;
    while (end < g->count && is_expert(&g->tensors[end]) &&
           g->tensors[end].layer == g->tensors[i].layer)
        end++;
    return end;
}

/* ---- lists of strings in the arena ---- */

typedef struct names {
    const char **at;
    size_t count, capacity;
} names;

static glmq_status push(glmq_plan *p, names *n, const char *text, glmq_error *err)
{
    if (text && n->count == n->capacity) {
        const size_t capacity = n->capacity ? 2 * n->capacity : 64;
        const char **at = glmq_arena_alloc(&p->arena, capacity * sizeof *at);
        if (at && n->count) memcpy(at, n->at, n->count * sizeof *at);
        n->at = at;
        n->capacity = capacity;
    }
    if (!text || !n->at) return glmq_fail(err, GLMQ_E_NOMEM, "list of %zu modules", n->count);
    n->at[n->count++] = text;
    return GLMQ_OK;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* ---- kept modules ---- */

static int kept(const glmq_plan *p, size_t i)
{
    const glmq_dtype dtype = glmq_encoding_dtype(&p->want[i].enc);
    return !p->want[i].dropped && dtype != GLMQ_DT_NONE && module_len(&p->graph->tensors[i]) > 0;
}

static glmq_status push_kept(glmq_plan *p, names *out, size_t i, size_t len, glmq_error *err)
{
    return push(p, out, glmq_arena_strndup(&p->arena, p->graph->tensors[i].name, len), err);
}

glmq_status glmq_hf_kept_modules(glmq_plan *p, const char ***list, size_t *count, glmq_error *err)
{
    const glmq_graph *g = p->graph;
    names out = { 0 };
    for (size_t i = 0, end; i < g->count; i = end) {
        size_t of_run = 0;
        end = experts_end(g, i);
        if (end == i) end++;
        for (size_t k = i; k < end; k++) {
            if (!kept(p, k)) continue;
            of_run++;
            GLMQ_TRY(push_kept(p, &out, k, module_len(&g->tensors[k]), err));
        }
        if (is_expert(&g->tensors[i]) && of_run == end - i)
            GLMQ_TRY(push_kept(p, &out, i, experts_len(&g->tensors[i]), err));
    }
    if (out.count) qsort(out.at, out.count, sizeof *out.at, by_text);
    *list = out.at;
    *count = out.count;
    return GLMQ_OK;
}

/* ---- groups ---- */

typedef struct tally {
    size_t tensors;
    int32_t first;
} tally;

static int by_tensors(const void *x, const void *y)
{
    const tally *a = x, *b = y;
    if (a->tensors != b->tensors) return a->tensors > b->tensors ? -1 : 1;
    return a->first < b->first ? -1 : a->first > b->first;
}

/* Numbers the distinct encodings in the order of their first tensors. */
static glmq_status number(glmq_plan *p, glmq_hf_groups *out, tally *t, size_t most,
                          int (*same)(const glmq_encoding *, const glmq_encoding *),
                          glmq_error *err)
{
    for (size_t i = 0; i < p->graph->count; i++) {
        const glmq_encoding *e = &p->want[i].enc;
        size_t k = 0;
        out->of[i] = kept(p, i) ? HF_GROUP_KEPT : HF_GROUP_NONE;
        if (p->want[i].dropped || glmq_encoding_dtype(e) != GLMQ_DT_NONE) continue;
        while (k < out->count && !same(&out->encoding[k], e)) k++;
        if (k == most)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "more than %zu encodings in one checkpoint",
                             most);
        if (k == out->count) {
            t[k] = (tally){ 0, (int32_t)k };
            out->encoding[out->count++] = *e;
        }
        t[k].tensors++;
        out->of[i] = (int32_t)k;
    }
    return GLMQ_OK;
}

glmq_status glmq_hf_group(glmq_plan *p, glmq_hf_groups *out,
                          int (*same)(const glmq_encoding *, const glmq_encoding *),
                          glmq_error *err)
{
    enum { MOST = 256 };
    const size_t tensors = p->graph->count;
    tally t[MOST];
    int32_t rank[MOST];
    glmq_encoding sorted[MOST];

    *out = (glmq_hf_groups){
        .of = glmq_arena_alloc(&p->arena, tensors * sizeof *out->of),
        .encoding = glmq_arena_alloc(&p->arena, MOST * sizeof *out->encoding),
    };
    if (!out->of || !out->encoding)
        return glmq_fail(err, GLMQ_E_NOMEM, "groups of %zu tensors", tensors);
    GLMQ_TRY(number(p, out, t, MOST, same, err));
    qsort(t, out->count, sizeof *t, by_tensors);
    for (size_t k = 0; k < out->count; k++) {
        sorted[k] = out->encoding[t[k].first];
        rank[t[k].first] = (int32_t)k;
    }
    memcpy(out->encoding, sorted, out->count * sizeof *sorted);
    for (size_t i = 0; i < tensors; i++)
        if (out->of[i] >= 0) out->of[i] = rank[out->of[i]];
    return GLMQ_OK;
}

/* ---- partners ---- */

static int alike(const glmq_want *a, const glmq_want *b)
{
    const int plain_a = glmq_encoding_dtype(&a->enc) != GLMQ_DT_NONE;
    const int plain_b = glmq_encoding_dtype(&b->enc) != GLMQ_DT_NONE;
    return plain_a && plain_b ? 1 : glmq_encoding_equal(&a->enc, &b->enc);
}

static glmq_status note_unlike(glmq_plan *p, size_t with, size_t i, glmq_error *err)
{
    glmq_want *w = &p->want[i];
    const char *reason = glmq_arena_printf(
        &p->arena, "%s%sunlike %s, with which serving engines fuse it", w->reason ? w->reason : "",
        w->reason ? "; " : "", glmq_role_name(p->graph->tensors[with].role));
    if (reason) reason = glmq_plan_intern(p, reason);
    if (!reason) return glmq_fail(err, GLMQ_E_NOMEM, "%s", p->graph->tensors[i].name);
    w->reason = reason;
    return GLMQ_OK;
}

glmq_status glmq_hf_note_unlike(glmq_plan *p, glmq_error *err)
{
    const glmq_graph *g = p->graph;
    for (size_t i = 0; i < g->count; i++) {
        const glmq_fused *f = glmq_fused_first(g->tensors[i].role);
        if (!f || p->want[i].dropped) continue;
        for (size_t k = 1; k < f->count; k++) {
            const glmq_tensor *x = &g->tensors[i];
            const size_t other = glmq_graph_find_role(g, x->layer, f->role[k], x->expert);
            if (other == g->count || p->want[other].dropped) continue;
            if (!alike(&p->want[i], &p->want[other])) GLMQ_TRY(note_unlike(p, i, other, err));
        }
    }
    return GLMQ_OK;
}

/* ---- patterns ---- */

static void add_escaped(glmq_text *t, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (strchr(".^$*+?()[]{}|\\", s[i])) glmq_text_add(t, "\\");
        glmq_text_add_n(t, s + i, 1);
    }
}

/* "^" + the first `len` bytes of the name, escaped, + tail + "$" */
static glmq_status push_pattern(glmq_plan *p, names *out, const char *name, size_t len,
                                const char *tail, glmq_error *err)
{
    glmq_text t = { 0 };
    const char *kept_text = NULL;
    glmq_text_add(&t, "^");
    add_escaped(&t, name, len);
    glmq_text_add(&t, tail);
    glmq_text_add(&t, "$");
    if (!t.failed) kept_text = glmq_arena_strdup(&p->arena, t.data);
    glmq_text_free(&t);
    return push(p, out, kept_text, err);
}

/* The fused name, when tensor i is the first of a family that is wholly in the group. */
static glmq_status push_fused(glmq_plan *p, names *out, const glmq_hf_groups *groups, size_t i,
                              glmq_error *err)
{
    const glmq_tensor *x = &p->graph->tensors[i];
    const glmq_fused *f = glmq_fused_first(x->role);
    size_t parent = module_len(x);
    char tail[64] = "";
    if (!f || !f->name) return GLMQ_OK;
    for (size_t k = 1; k < f->count; k++) {
        const size_t other = glmq_graph_find_role(p->graph, x->layer, f->role[k], x->expert);
        if (other == p->graph->count || groups->of[other] != groups->of[i]) return GLMQ_OK;
    }
    while (parent && x->name[parent - 1] != '.') parent--;
    strncat(tail, f->name, sizeof tail - 1);
    return push_pattern(p, out, x->name, parent, tail, err);
}

/* One layer's experts, tensors [i, end): one pattern when all are in the group, one for each
 * projection that is, else each by its name. */
static glmq_status push_experts(glmq_plan *p, names *out, const glmq_hf_groups *groups, size_t i,
                                size_t end, int32_t group, glmq_error *err)
{
    const glmq_tensor *x = p->graph->tensors;
    size_t in = 0;
    for (size_t k = i; k < end; k++) in += groups->of[k] == group;
    if (in == 0) return GLMQ_OK;
    if (in == end - i) return push_pattern(p, out, x[i].name, experts_len(&x[i]), "(\\..+)?", err);
    for (size_t stop = i; i < end; i = stop) {
        size_t leaf = module_len(&x[i]);
        char tail[GLMQ_NAME_MAX];
        for (in = 0; stop < end && x[stop].role == x[i].role; stop++)
            in += groups->of[stop] == group;
        while (leaf && x[i].name[leaf - 1] != '.') leaf--;
        snprintf(tail, sizeof tail, "\\.\\d+\\.%.*s", (int)(module_len(&x[i]) - leaf),
                 x[i].name + leaf);
        if (in == stop - i) {
            GLMQ_TRY(push_pattern(p, out, x[i].name, experts_len(&x[i]), tail, err));
            continue;
        }
        for (size_t k = i; k < stop; k++)
            if (groups->of[k] == group)
                GLMQ_TRY(push_pattern(p, out, x[k].name, module_len(&x[k]), "", err));
    }
    return GLMQ_OK;
}

glmq_status glmq_hf_patterns(glmq_plan *p, const glmq_hf_groups *groups, int32_t group,
                             const char ***list, size_t *count, glmq_error *err)
{
    const glmq_graph *g = p->graph;
    names out = { 0 };
    for (size_t i = 0; i < g->count;) {
        const size_t end = experts_end(g, i);
        if (end > i) {
            GLMQ_TRY(push_experts(p, &out, groups, i, end, group, err));
            i = end;
            continue;
        }
        if (groups->of[i] == group) {
            const glmq_tensor *x = &g->tensors[i];
            GLMQ_TRY(push_pattern(p, &out, x->name, module_len(x), "", err));
            GLMQ_TRY(push_fused(p, &out, groups, i, err));
        }
        i++;
    }
    *list = out.at;
    *count = out.count;
    return GLMQ_OK;
}
