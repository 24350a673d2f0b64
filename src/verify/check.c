/* The full validation of a checkpoint's data. */
#include "check.h"
#include "base/error.h"
#include "base/mem.h"
#include "check_parts.h"
#include "ordered.h"
#include <stdarg.h>
#include <stdio.h>

typedef struct run {
    glmq_check *check;
    const glmq_graph *graph;
    const glmq_digest_options *opt;
    glmq_checker *checkers;
    int workers;
    glmq_checked *checked; /* by tensor */
} run;

/* ---- the list ---- */

glmq_status glmq_check_add(glmq_check *c, glmq_severity severity, const char *code,
                           const char *tensor, const char *file, const char *format, ...)
{
    char message[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (c->count == c->capacity) {
        const size_t capacity = c->capacity ? 2 * c->capacity : 64;
        glmq_problem *grown = glmq_realloc(c->at, capacity * sizeof *grown);
        if (!grown) return GLMQ_E_NOMEM;
        c->at = grown;
        c->capacity = capacity;
    }
    const glmq_problem p = {
        .severity = severity,
        .code = code,
        .tensor = tensor,
        .file = file,
        .message = glmq_arena_strdup(&c->arena, message),
    };
    if (!p.message) return GLMQ_E_NOMEM;
    c->at[c->count++] = p;
    c->errors += severity == GLMQ_ERROR ? 1 : 0;
    return GLMQ_OK;
}

void glmq_check_free(glmq_check *c)
{
    glmq_free(c->at);
    glmq_arena_free(&c->arena);
    *c = (glmq_check){ 0 };
}

glmq_status glmq_found_add(glmq_found **list, glmq_error *err, glmq_severity severity,
                           const char *code, const char *format, ...)
{
    glmq_found *f = glmq_alloc_zero(1, sizeof *f);
    va_list args;

    if (!f) return glmq_fail(err, GLMQ_E_NOMEM, "a problem's text");
    f->severity = severity;
    f->code = code;
    va_start(args, format);
    vsnprintf(f->message, sizeof f->message, format, args);
    va_end(args);
    while (*list) list = &(*list)->next;
    *list = f;
    return GLMQ_OK;
}

int glmq_check_is_problem(glmq_status st)
{
    return st == GLMQ_E_FORMAT || st == GLMQ_E_LIMIT || st == GLMQ_E_UNSUPPORTED;
}

void *glmq_checker_scratch(glmq_checker *c, size_t bytes)
{
    if (bytes > c->capacity) {
        glmq_free(c->buffer);
        c->buffer = glmq_alloc(bytes);
        c->capacity = c->buffer ? bytes : 0;
    }
    return c->buffer;
}

/* ---- a tensor ---- */

/* What decides where tokens go is small, and costs the most when it is quantized. */
static const struct {
    glmq_role role;
    const char *code, *message;
} precious[] = {
    { GLMQ_ROLE_ROUTER, "router-quantized",
      "the router is quantized, which costs more than any other tensor" },
    { GLMQ_ROLE_INDEXER_WEIGHTS, "indexer-quantized",
      "the indexer's head weights are quantized: they decide which tokens are attended to" },
};

static glmq_status look_at_precious(const glmq_tensor *t, glmq_found **list, glmq_error *err)
{
    for (size_t i = 0; i < GLMQ_COUNT(precious); i++)
        if (precious[i].role == t->role && !glmq_encoding_is_plain(&t->part[0].enc))
            return glmq_found_add(list, err, GLMQ_WARNING, precious[i].code, "%s",
                                  precious[i].message);
    return GLMQ_OK;
}

/* What of an indexer another layer may hold as well. */
static glmq_status take_digest(const glmq_graph *g, const glmq_tensor *t, glmq_checked *out,
                               glmq_error *err)
{
    glmq_status st;

    if (!glmq_check_is_indexer(t->role)) return GLMQ_OK;
    st = glmq_tensor_digest(g, t, out->hex, err);
    if (st) out->hex[0] = '\0';
    return glmq_check_is_problem(st) ? GLMQ_OK : st; /* told already */
}

static glmq_status check_tensor(void *user, int worker, size_t i, glmq_error *err)
{
    run *r = user;
    glmq_checker *c = &r->checkers[worker];
    const glmq_tensor *t = glmq_graph_tensor(r->graph, i);
    glmq_checked *out = &r->checked[i];
    int all = 1;

    if (glmq_check_lacks_book(&t->part[0])) return GLMQ_OK;
    for (int p = 0; p < t->parts; p++) {
        int usable;
        GLMQ_TRY(glmq_check_part(c, &t->part[p], out, &usable, err));
        all &= usable;
    }
    GLMQ_TRY(look_at_precious(t, &out->found, err));
    if (!all) return GLMQ_OK; /* its parts have said why */
    GLMQ_TRY(glmq_check_values(c, t, &out->found, err));
    return take_digest(r->graph, t, out, err);
}

static uint64_t tensor_peak(void *user, size_t i)
{
    const run *r = user;
    const glmq_tensor *t = glmq_graph_tensor(r->graph, i);
    uint64_t peak = GLMQ_CHECK_PART_PEAK + glmq_check_values_peak(t);

    for (int p = 0; p < t->parts; p++)
        peak += glmq_fetch_peak(&t->part[p], glmq_tensor_tile_rows(t));
    return glmq_check_is_indexer(t->role) ? 2 * peak : peak; /* for the digest, once more */
}

static glmq_status take_found(void *user, size_t i, glmq_error *err)
{
    run *r = user;
    const glmq_tensor *t = glmq_graph_tensor(r->graph, i);
    const glmq_source *src = glmq_graph_source(r->graph);
    const char *file = glmq_source_name(src, t->part[0].span[GLMQ_SLOT_CODES].file);

    for (const glmq_found *f = r->checked[i].found; f; f = f->next)
        if (glmq_check_add(r->check, f->severity, f->code, t->name, file, "%s", f->message))
            return glmq_fail(err, GLMQ_E_NOMEM, "list of problems");
    if (r->opt->each) r->opt->each(r->opt->user, i + 1, glmq_graph_count(r->graph));
    return GLMQ_OK;
}

/* ---- the whole ---- */

static glmq_status open_run(run *r, glmq_error *err)
{
    const size_t n = glmq_graph_count(r->graph);

    r->workers = glmq_workers(r->opt->jobs, n);
    r->checkers = glmq_alloc_zero((size_t)r->workers, sizeof *r->checkers);
    r->checked = glmq_alloc_zero(n ? n : 1, sizeof *r->checked);
    if (!r->checkers || !r->checked)
        return glmq_fail(err, GLMQ_E_NOMEM, "lists for %zu tensors", n);
    for (int i = 0; i < r->workers; i++) {
        r->checkers[i].graph = r->graph;
        r->checkers[i].fetch = glmq_fetch_new();
        r->checkers[i].tensor_fetch = glmq_tensor_fetch_new();
        if (!r->checkers[i].fetch || !r->checkers[i].tensor_fetch)
            return glmq_fail(err, GLMQ_E_NOMEM, "%d buffers", r->workers);
    }
    return GLMQ_OK;
}

static void close_run(run *r)
{
    for (int i = 0; r->checkers && i < r->workers; i++) {
        glmq_fetch_free(r->checkers[i].fetch);
        glmq_tensor_fetch_free(r->checkers[i].tensor_fetch);
        glmq_free(r->checkers[i].buffer);
    }
    for (size_t i = 0; r->checked && i < glmq_graph_count(r->graph); i++) {
        while (r->checked[i].found) {
            glmq_found *next = r->checked[i].found->next;
            glmq_free(r->checked[i].found);
            r->checked[i].found = next;
        }
    }
    glmq_free(r->checkers);
    glmq_free(r->checked);
}

static glmq_status take_known(glmq_check *c, const glmq_graph *g, glmq_error *err)
{
    for (size_t i = 0; i < glmq_graph_problem_count(g); i++) {
        const glmq_problem *p = glmq_graph_problem(g, i);
        if (glmq_check_add(c, p->severity, p->code, p->tensor, p->file, "%s", p->message))
            return glmq_fail(err, GLMQ_E_NOMEM, "list of problems");
    }
    for (size_t i = 0; i < glmq_graph_dropped_count(g); i++) {
        const glmq_dropped *d = glmq_graph_dropped(g, i);
        if (glmq_check_add(c, GLMQ_NOTE, "array-not-used", d->name, NULL, "%s", d->reason))
            return glmq_fail(err, GLMQ_E_NOMEM, "list of problems");
    }
    return GLMQ_OK;
}

glmq_status glmq_check_run(glmq_check *c, const glmq_graph *g, const glmq_digest_options *opt,
                           glmq_error *err)
{
    run r = { .check = c, .graph = g, .opt = opt };
    glmq_status st = take_known(c, g, err);

    if (!st) st = glmq_check_lists(c, g, err);
    if (!st) st = open_run(&r, err);
    if (!st) {
        const glmq_ordered job = {
            .count = glmq_graph_count(g),
            .workers = r.workers,
            .memory = opt->memory,
            .peak = tensor_peak,
            .work = check_tensor,
            .done = take_found,
            .user = &r,
            .cancel = opt->cancel,
        };
        st = glmq_ordered_run(&job, err);
    }
    if (!st) st = glmq_check_model(c, g, r.checked, err);
    if (!st) st = glmq_check_vq(c, g, opt, err);
    close_run(&r);
    return st;
}
