/* An inspection as one JSON object, written as it comes: a row of 60,000 tensors is never
 * held.  The keys are the contract's; sections add keys of their own. */
#include "base/error.h"
#include "base/mem.h"
#include "common.h"
#include "glmq/glmq.h"
#include "inspect.h"
#include "meaning.h"
#include "models/hparams.h"
#include "readers/catalog.h"
#include "verify/compare.h"
#include "verify/print.h"
#include <string.h>

static void json_count(glmq_json_out *j, const char *key, const glmq_hparams *h, uint64_t value)
{
    if (h)
        glmq_json_uint(j, key, value);
    else
        glmq_json_null(j, key);
}

static void json_head(glmq_json_out *j, const glmq_inspection *in)
{
    const glmq_graph *g = in->graph;
    const glmq_hparams *h = g->hp;
    const glmq_facts *f = &in->facts;

    glmq_json_str(j, "glmq", glmq_version());
    glmq_json_str(j, "path", in->path);
    glmq_json_str(j, "format", glmq_graph_format(g));
    glmq_json_str(j, "architecture", glmq_graph_architecture(g));
    glmq_json_str(j, "model_type", glmq_graph_model_type(g));
    glmq_json_uint(j, "parameters", f->parameters);
    glmq_json_uint(j, "bytes", f->bytes);
    glmq_json_real(j, "bits_per_weight", glmq_bits_per_weight((double)f->bytes, f->parameters));
    json_count(j, "layers", h, h ? h->layers : 0);
    json_count(j, "mtp_layers", h, f->mtp_layers);
    json_count(j, "experts", h, h ? h->experts : 0);
    json_count(j, "experts_per_token", h, h ? h->experts_used : 0);
    if (in->model_digest[0]) glmq_json_str(j, "digest", in->model_digest);
}

static void json_shards(glmq_json_out *j, const glmq_inspection *in)
{
    const glmq_catalog *cat = in->graph->catalog;
    const glmq_source *src = glmq_graph_source(in->graph);

    glmq_json_begin(j, "shards", '[');
    for (size_t i = 0; i < cat->shard_count; i++) {
        glmq_json_begin(j, NULL, '{');
        glmq_json_str(j, "file", glmq_source_name(src, cat->shards[i]));
        glmq_json_uint(j, "bytes", glmq_source_size(src, cat->shards[i]));
        glmq_json_uint(j, "tensors", in->facts.shard_tensors[cat->shards[i]]);
        if (in->shard_digests) glmq_json_str(j, "xxh3_128", in->shard_digests[i]);
        glmq_json_end(j);
    }
    glmq_json_end(j);
}

static void json_roles(glmq_json_out *j, const glmq_inspection *in)
{
    glmq_json_begin(j, "roles", '[');
    for (size_t i = 0; i < in->facts.count; i++) {
        const glmq_fact_row *r = &in->facts.rows[i];
        glmq_json_begin(j, NULL, '{');
        glmq_json_str(j, "role", glmq_role_name(r->role));
        glmq_json_str(j, "encoding", r->encoding);
        glmq_json_uint(j, "tensors", r->tensors);
        glmq_json_uint(j, "parameters", r->parameters);
        glmq_json_uint(j, "bytes", r->bytes);
        glmq_json_real(j, "bits_per_weight",
                       glmq_bits_per_weight((double)r->bytes + r->shared, r->parameters));
        glmq_json_end(j);
    }
    glmq_json_end(j);
}

static void json_number_or_null(glmq_json_out *j, const char *key, int32_t value)
{
    if (value < 0)
        glmq_json_null(j, key);
    else
        glmq_json_int(j, key, value);
}

static void json_tensor(glmq_json_out *j, const glmq_inspection *in, size_t i)
{
    const glmq_tensor *t = glmq_graph_tensor(in->graph, i);
    const uint64_t bytes = glmq_tensor_bytes(t);
    char encoding[GLMQ_ENCODING_TEXT];

    glmq_json_begin(j, NULL, '{');
    glmq_json_str(j, "name", t->name);
    glmq_json_str(j, "role", glmq_role_name(t->role));
    json_number_or_null(j, "layer", t->layer);
    json_number_or_null(j, "expert", t->expert);
    glmq_json_begin(j, "shape", '[');
    if (t->rank == 2) glmq_json_uint(j, NULL, t->rows);
    glmq_json_uint(j, NULL, t->rank == 2 ? t->cols : t->rows * t->cols);
    glmq_json_end(j);
    glmq_tensor_encoding_text(t, encoding);
    glmq_json_str(j, "encoding", encoding);
    glmq_json_real(
        j, "bits_per_weight",
        glmq_bits_per_weight((double)bytes + glmq_tensor_shared(t), glmq_tensor_parameters(t)));
    glmq_json_uint(j, "bytes", bytes);
    glmq_json_str(j, "shard", glmq_tensor_shard(in->graph, t));
    if (in->tensor_digests && in->tensor_digests[i][0])
        glmq_json_str(j, "digest", in->tensor_digests[i]);
    glmq_json_end(j);
}

static void json_tensors(glmq_json_out *j, const glmq_inspection *in)
{
    glmq_json_begin(j, "tensors", '[');
    for (size_t i = 0; i < glmq_graph_count(in->graph); i++) {
        const glmq_tensor *t = glmq_graph_tensor(in->graph, i);
        if (glmq_is_weight(t) && glmq_tensor_matches(t, in->tensors)) json_tensor(j, in, i);
    }
    glmq_json_end(j);
}

static void json_problem(glmq_json_out *j, const glmq_problem *p)
{
    glmq_json_begin(j, NULL, '{');
    glmq_json_str(j, "severity", glmq_severity_name(p->severity));
    glmq_json_str(j, "code", p->code);
    glmq_json_str(j, "tensor", p->tensor);
    glmq_json_str(j, "file", p->file);
    glmq_json_str(j, "message", p->message);
    glmq_json_end(j);
}

/* The check begins with the graph's own. */
static void json_problems(glmq_json_out *j, const glmq_inspection *in)
{
    glmq_json_begin(j, "problems", '[');
    for (size_t i = 0; in->checked && i < in->check.count; i++) json_problem(j, &in->check.at[i]);
    for (size_t i = 0; !in->checked && i < glmq_graph_problem_count(in->graph); i++)
        json_problem(j, glmq_graph_problem(in->graph, i));
    glmq_json_end(j);
}

static void json_config(void *user, const glmq_setting *s)
{
    glmq_json_out *j = user;

    glmq_json_begin(j, NULL, '{');
    glmq_json_str(j, "key", s->key);
    if (s->type)
        glmq_json_str(j, "value", s->value);
    else
        glmq_json_raw(j, "value", s->value); /* it is JSON already */
    glmq_json_str(j, "meaning", s->meaning);
    glmq_json_end(j);
}

static void json_metadata(void *user, const glmq_setting *s)
{
    glmq_json_out *j = user;

    glmq_json_begin(j, NULL, '{');
    if (s->file) glmq_json_str(j, "file", s->file);
    glmq_json_str(j, "key", s->key);
    if (s->type) glmq_json_str(j, "type", s->type);
    glmq_json_str(j, "value", s->value);
    glmq_json_end(j);
}

static glmq_status json_sections(glmq_json_out *j, const glmq_inspection *in, glmq_error *err)
{
    if (in->config) {
        glmq_json_begin(j, "config", '[');
        GLMQ_TRY(glmq_each_setting(in->graph, json_config, j, err));
        glmq_json_end(j);
    }
    if (in->metadata) {
        glmq_json_begin(j, "metadata", '[');
        GLMQ_TRY(glmq_each_metadata(in->graph, json_metadata, j, err));
        glmq_json_end(j);
    }
    if (in->diffed) {
        glmq_json_begin(j, "diff", '{');
        if (glmq_report_json_members(&in->diff, j))
            return glmq_fail(err, GLMQ_E_NOMEM, "printing the differences");
        glmq_json_end(j);
    }
    return GLMQ_OK;
}

glmq_status glmq_inspection_json(const glmq_inspection *in, FILE *out, glmq_error *err)
{
    glmq_json_out j = { .file = out };
    glmq_status st;

    glmq_json_begin(&j, NULL, '{');
    json_head(&j, in);
    json_shards(&j, in);
    json_roles(&j, in);
    json_tensors(&j, in);
    json_problems(&j, in);
    st = json_sections(&j, in, err);
    glmq_json_end(&j);
    if (glmq_json_close(&j) && !st) st = glmq_fail(err, GLMQ_E_IO, "writing failed");
    return st;
}
