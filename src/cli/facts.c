/* Counting a checkpoint. */
#include "facts.h"
#include "base/error.h"
#include "base/mem.h"
#include "readers/catalog.h"
#include "verify/compare.h"
#include <stdlib.h>
#include <string.h>

void glmq_tensor_encoding_text(const glmq_tensor *t, char text[GLMQ_ENCODING_TEXT])
{
    size_t n = glmq_encoding_print(&t->part[0].enc, text, GLMQ_ENCODING_TEXT);

    if (t->parts < 2 || glmq_encoding_equal(&t->part[0].enc, &t->part[1].enc) ||
        n + 2 > GLMQ_ENCODING_TEXT)
        return;
    text[n++] = '+';
    glmq_encoding_print(&t->part[1].enc, text + n, GLMQ_ENCODING_TEXT - n);
}

uint64_t glmq_tensor_parameters(const glmq_tensor *t)
{
    return t->rows * t->cols; /* bounded when the graph was built */
}

double glmq_tensor_shared(const glmq_tensor *t)
{
    double bytes = 0;

    for (int i = 0; i < t->parts; i++) {
        const glmq_encoding *e = &t->part[i].enc;
        if (e->codec && e->codec->share)
            bytes += e->codec->share(e, t->part[i].rows * t->part[i].cols);
    }
    return bytes;
}

double glmq_bits_per_weight(double bytes, uint64_t parameters)
{
    return parameters ? 8 * bytes / (double)parameters : 0;
}

const char *glmq_tensor_shard(const glmq_graph *g, const glmq_tensor *t)
{
    return glmq_source_name(glmq_graph_source(g), t->part[0].span[GLMQ_SLOT_CODES].file);
}

static glmq_fact_row *row_for(glmq_facts *f, const glmq_tensor *t)
{
    char text[GLMQ_ENCODING_TEXT];

    glmq_tensor_encoding_text(t, text);
    for (size_t i = f->count; i-- > 0;)
        if (f->rows[i].role == t->role && strcmp(f->rows[i].encoding, text) == 0)
            return &f->rows[i];
    if (f->count == f->capacity) {
        const size_t capacity = f->capacity ? 2 * f->capacity : 64;
        glmq_fact_row *grown = glmq_realloc(f->rows, capacity * sizeof *grown);
        if (!grown) return NULL;
        f->rows = grown;
        f->capacity = capacity;
    }
    f->rows[f->count] = (glmq_fact_row){ .role = t->role };
    memcpy(f->rows[f->count].encoding, text, sizeof text);
    return &f->rows[f->count++];
}

static glmq_status add_tensor(glmq_facts *f, const glmq_tensor *t, glmq_error *err)
{
    const uint64_t bytes = glmq_tensor_bytes(t), parameters = glmq_tensor_parameters(t);
    glmq_fact_row *row;

    if (t->role != GLMQ_ROLE_CODEBOOK) f->bytes += bytes; /* else it is in its users' shares */
    if (!glmq_is_weight(t)) return GLMQ_OK;
    row = row_for(f, t);
    if (!row) return glmq_fail(err, GLMQ_E_NOMEM, "counting tensors");
    row->tensors++;
    row->parameters += parameters;
    row->bytes += bytes;
    row->shared += glmq_tensor_shared(t);
    f->tensors++;
    f->parameters += parameters;
    f->shard_tensors[t->part[0].span[GLMQ_SLOT_CODES].file]++;
    return GLMQ_OK;
}

/* Layers with a tensor of their own; the order of a graph keeps a layer's together. */
static void count_mtp(glmq_facts *f)
{
    int32_t last = -1;
    for (size_t i = 0; i < glmq_graph_count(f->graph); i++) {
        const glmq_tensor *t = glmq_graph_tensor(f->graph, i);
        if (!t->mtp || t->layer == last) continue;
        f->mtp_layers++;
        last = t->layer;
    }
}

static int by_role(const void *x, const void *y)
{
    const glmq_fact_row *a = x, *b = y;
    if (a->role != b->role) return a->role < b->role ? -1 : 1;
    return strcmp(a->encoding, b->encoding);
}

glmq_status glmq_facts_open(glmq_facts *f, const glmq_graph *g, glmq_error *err)
{
    const size_t files = glmq_source_count(glmq_graph_source(g));
    double shared = 0;

    *f = (glmq_facts){ .graph = g };
    f->shard_tensors = glmq_alloc_zero(files ? files : 1, sizeof *f->shard_tensors);
    if (!f->shard_tensors) return glmq_fail(err, GLMQ_E_NOMEM, "counting tensors");
    for (size_t i = 0; i < glmq_graph_count(g); i++)
        GLMQ_TRY(add_tensor(f, glmq_graph_tensor(g, i), err));
    for (size_t i = 0; i < glmq_graph_problem_count(g); i++)
        f->problems[glmq_graph_problem(g, i)->severity]++;
    count_mtp(f);
    for (size_t i = 0; i < f->count; i++) shared += f->rows[i].shared;
    f->bytes += (uint64_t)(shared + 0.5); /* the shares of a table add up to the whole of it */
    if (f->count) qsort(f->rows, f->count, sizeof *f->rows, by_role);
    return GLMQ_OK;
}

void glmq_facts_close(glmq_facts *f)
{
    glmq_free(f->rows);
    glmq_free(f->shard_tensors);
    *f = (glmq_facts){ 0 };
}
