/* For tests of the Hugging Face readers: a checkpoint of model_files.h whose modules are made
 * quantized ones, opened or refused. */
#ifndef TESTS_READER_FILES_H
#define TESTS_READER_FILES_H

#include "glmq/graph.h"
#include "models/graph.h"
#include "unit/model_files.h"

typedef struct {
    glmq_source *src;
    glmq_graph *g;
    glmq_status status;
    glmq_error err;
} opened;

static inline opened open_model(checkpoint *c)
{
    opened o = { 0 };

    assert_int_equal(glmq_source_open(&o.src, save(c), NULL, &o.err), GLMQ_OK);
    o.status = glmq_graph_open(&o.g, o.src, NULL, &o.err);
    return o;
}

static inline void shut(opened *o)
{
    glmq_graph_close(o->g);
    glmq_source_close(o->src);
}

static inline opened must_open(checkpoint *c)
{
    opened o = open_model(c);
    if (o.status) fail_msg("%s", o.err.msg);
    return o;
}

static inline void must_refuse(checkpoint *c, glmq_status status, const char *words)
{
    opened o = open_model(c);

    if (o.status != status || !strstr(o.err.msg, words))
        fail_msg("%s, expected %s; \"%s\", expected \"%s\"", glmq_status_name(o.status),
                 glmq_status_name(status), o.status ? o.err.msg : "", words);
    shut(&o);
    discard(c);
}

/* What opens, but holds data that cannot be decoded. */
static inline void must_not_decode(checkpoint *c, const char *tensor, const char *words)
{
    opened o = must_open(c);
    const glmq_tensor *t = glmq_graph_find(o.g, tensor);
    char hex[33];

    assert_non_null(t);
    if (glmq_tensor_digest(o.g, t, hex, &o.err) != GLMQ_E_FORMAT || !strstr(o.err.msg, words) ||
        !strstr(o.err.msg, tensor))
        fail_msg("\"%s\", expected \"%s\"", o.err.msg, words);
    shut(&o);
    discard(c);
}

static inline const glmq_problem *problem(const glmq_graph *g, const char *code)
{
    for (size_t i = 0; i < glmq_graph_problem_count(g); i++)
        if (strcmp(glmq_graph_problem(g, i)->code, code) == 0) return glmq_graph_problem(g, i);
    return NULL;
}

static inline void set_quantization(checkpoint *c, const char *json)
{
    char text[2048];

    snprintf(text, sizeof text, "\"hidden_act\":\"silu\",\"quantization_config\":%s", json);
    edit_config(c, "\"hidden_act\":\"silu\"", text);
}

static inline stored *add_to(checkpoint *c, const char *module, const char *leaf, const char *dtype,
                             int rank, uint64_t a, uint64_t b)
{
    char name[200];

    snprintf(name, sizeof name, "%s.%s", module, leaf);
    return add(c, dtype, name, rank, a, b, 0);
}

static inline void remove_from(checkpoint *c, const char *module, const char *leaf)
{
    char name[200];

    snprintf(name, sizeof name, "%s.%s", module, leaf);
    take_away(c, name);
}

static inline stored *find_in(checkpoint *c, const char *module, const char *leaf)
{
    char name[200];

    snprintf(name, sizeof name, "%s.%s", module, leaf);
    return find(c, name);
}

static inline void fill32(stored *s, uint32_t word)
{
    for (size_t i = 0; i + 4 <= s->bytes; i += 4) memcpy(s->data + i, &word, 4);
}

static inline void fill16(stored *s, uint16_t word)
{
    for (size_t i = 0; i + 2 <= s->bytes; i += 2) memcpy(s->data + i, &word, 2);
}

/* A module in GPTQ: v1, symmetric 4-bit zeros, scales of 0.5; codes count up. */
static inline void to_gptq(checkpoint *c, const char *module, int bits, uint64_t group, int g_idx)
{
    const stored *w = find_in(c, module, "weight");
    const uint64_t rows = w->dims[0], cols = w->dims[1], b = (uint64_t)bits;
    const uint64_t groups = group ? (cols + group - 1) / group : 1;

    remove_from(c, module, "weight");
    add_to(c, module, "qweight", "I32", 2, (cols * b + 31) / 32, rows);
    fill32(add_to(c, module, "qzeros", "I32", 2, groups, (rows * b + 31) / 32),
           bits == 4 ? 0x77777777 : 0x7f7f7f7f);
    fill16(add_to(c, module, "scales", "F16", 2, groups, rows), 0x3800);
    if (!g_idx) return;
    add_to(c, module, "g_idx", "I32", 1, cols, 0);
    for (uint64_t i = 0; i < cols; i++) {
        const int32_t g = (int32_t)(group ? i / group : 0);
        memcpy(find_in(c, module, "g_idx")->data + 4 * i, &g, 4);
    }
}

/* A module in compressed-tensors pack-quantized, symmetric, BF16 scales of 0.5. */
static inline void to_ct(checkpoint *c, const char *module, int bits, uint64_t group)
{
    const stored *w = find_in(c, module, "weight");
    const uint64_t rows = w->dims[0], cols = w->dims[1], b = (uint64_t)bits;
    stored *s;

    remove_from(c, module, "weight");
    add_to(c, module, "weight_packed", "I32", 2, rows, (cols * b + 31) / 32);
    fill16(add_to(c, module, "weight_scale", "BF16", 2, rows, group ? cols / group : 1), 0x3f00);
    s = add_to(c, module, "weight_shape", "I64", 1, 2, 0);
    memcpy(s->data, &rows, 8);
    memcpy(s->data + 8, &cols, 8);
}

static inline const glmq_encoding *encoding_of(const opened *o, const char *tensor)
{
    const glmq_tensor *t = glmq_graph_find(o->g, tensor);

    if (!t) fail_msg("no %s", tensor);
    return &t->part[0].enc;
}
#endif
