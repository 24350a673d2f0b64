/* Digests on several threads. */
#include "digest.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/mem.h"
#include "compare.h"
#include "ordered.h"
#include <string.h>

typedef struct digests {
    const glmq_graph *graph;
    const glmq_source *source;
    const uint32_t *list; /* numbers of tensors or files                            */
    size_t count;
    char (*hex)[33]; /* tensors: by number; files: by place in the list        */
    const glmq_digest_options *opt;
} digests;

static glmq_status tell(void *user, size_t i, glmq_error *err)
{
    const digests *d = user;
    (void)err;
    if (d->opt->each) d->opt->each(d->opt->user, i + 1, d->count);
    return GLMQ_OK;
}

static glmq_status run(digests *d, const glmq_ordered *what, glmq_error *err)
{
    glmq_ordered job = *what;

    job.count = d->count;
    job.workers = glmq_workers(d->opt->jobs, d->count);
    job.memory = d->opt->memory;
    job.done = tell;
    job.user = d;
    job.cancel = d->opt->cancel;
    return glmq_ordered_run(&job, err);
}

/* ---- tensors ---- */

static uint64_t tensor_peak(void *user, size_t i)
{
    const digests *d = user;
    const glmq_tensor *t = glmq_graph_tensor(d->graph, d->list[i]);
    const uint64_t tile = glmq_tensor_tile_rows(t);
    uint64_t peak = tile * t->cols * sizeof(float);

    for (int p = 0; p < t->parts; p++) peak += glmq_fetch_peak(&t->part[p], tile);
    return peak;
}

static glmq_status tensor_digest(void *user, int worker, size_t i, glmq_error *err)
{
    const digests *d = user;
    const glmq_tensor *t = glmq_graph_tensor(d->graph, d->list[i]);
    (void)worker;
    return glmq_within(err, glmq_tensor_digest(d->graph, t, d->hex[d->list[i]], err), "%s",
                       glmq_source_path(d->source));
}

static glmq_status model_digest(const digests *d, char model[33], glmq_error *err)
{
    glmq_digest_entry *entries = glmq_alloc_zero(d->count ? d->count : 1, sizeof *entries);

    if (!entries) return glmq_fail(err, GLMQ_E_NOMEM, "digests of %zu tensors", d->count);
    for (size_t i = 0; i < d->count; i++) {
        entries[i].name = glmq_graph_tensor(d->graph, d->list[i])->name;
        memcpy(entries[i].hex, d->hex[d->list[i]], sizeof entries[i].hex);
    }
    const glmq_digest all = glmq_digest_model(entries, d->count);
    glmq_digest_hex(&all, model);
    glmq_free(entries);
    return GLMQ_OK;
}

glmq_status glmq_digest_tensors(const glmq_graph *g, const glmq_digest_options *opt,
                                char (**hex)[33], char model[33], glmq_error *err)
{
    const glmq_ordered what = { .peak = tensor_peak, .work = tensor_digest };
    const size_t n = glmq_graph_count(g);
    uint32_t *list = glmq_alloc((n ? n : 1) * sizeof *list);
    digests d = { .graph = g, .source = glmq_graph_source(g), .list = list, .opt = opt };
    size_t weights = 0;
    glmq_status st;

    model[0] = '\0';
    d.hex = glmq_alloc_zero(n ? n : 1, sizeof *d.hex);
    for (size_t i = 0; list && i < n; i++) {
        const glmq_tensor *t = glmq_graph_tensor(g, i);
        if (!glmq_is_weight(t)) continue;
        weights++;
        if (glmq_tensor_matches(t, opt->glob)) list[d.count++] = (uint32_t)i;
    }
    st = list && d.hex ? run(&d, &what, err)
                       : glmq_fail(err, GLMQ_E_NOMEM, "digests of %zu tensors", n);
    if (!st && d.count == weights) st = model_digest(&d, model, err);
    glmq_free(list);
    if (st) {
        glmq_free(d.hex);
        d.hex = NULL;
    }
    *hex = d.hex;
    return st;
}

/* ---- files ---- */

enum { FILE_CHUNK = 1 << 20 };

static glmq_status add_file(const digests *d, uint32_t file, glmq_hash *h, uint8_t *chunk,
                            glmq_error *err)
{
    const uint64_t size = glmq_source_size(d->source, file);

    for (uint64_t off = 0; off < size; off += FILE_CHUNK) {
        const size_t len = size - off < FILE_CHUNK ? (size_t)(size - off) : (size_t)FILE_CHUNK;
        if (d->opt->cancel && *d->opt->cancel)
            return glmq_fail(err, GLMQ_E_CANCELLED, "interrupted");
        GLMQ_TRY(glmq_source_read(d->source, file, off, chunk, len, err));
        glmq_hash_add(h, chunk, len);
    }
    return GLMQ_OK;
}

static glmq_status file_digest(void *user, int worker, size_t i, glmq_error *err)
{
    const digests *d = user;
    glmq_hash *h = glmq_hash_new();
    uint8_t *chunk = glmq_alloc(FILE_CHUNK);
    glmq_status st;

    (void)worker;
    st = h && chunk ? add_file(d, d->list[i], h, chunk, err)
                    : glmq_fail(err, GLMQ_E_NOMEM, "a buffer of %d bytes", FILE_CHUNK);
    if (!st) {
        const glmq_digest all = glmq_hash_get(h);
        glmq_digest_hex(&all, d->hex[i]);
    }
    glmq_hash_free(h);
    glmq_free(chunk);
    return st;
}

glmq_status glmq_digest_files(const glmq_source *src, const uint32_t *files, size_t count,
                              const glmq_digest_options *opt, char (**hex)[33], glmq_error *err)
{
    const glmq_ordered what = { .work = file_digest };
    digests d = { .source = src, .list = files, .count = count, .opt = opt };

    *hex = NULL;
    d.hex = glmq_alloc_zero(count ? count : 1, sizeof *d.hex);
    if (!d.hex) return glmq_fail(err, GLMQ_E_NOMEM, "digests of %zu files", count);
    const glmq_status st = run(&d, &what, err);
    if (st)
        glmq_free(d.hex);
    else
        *hex = d.hex;
    return st;
}
