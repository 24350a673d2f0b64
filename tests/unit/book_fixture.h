/* Checkpoints with codebooks whose folder has an expected.json: {"sha256_f32": {NAME: HEX}}. */
#ifndef TESTS_UNIT_BOOK_FIXTURE_H
#define TESTS_UNIT_BOOK_FIXTURE_H

#include "unit/edit_files.h"
#include "unit/expected.h"

static inline float *decoded(const glmq_graph *g, const glmq_tensor *t)
{
    float *w = malloc((size_t)(t->rows * t->cols) * sizeof *w);
    glmq_error err;

    assert_non_null(w);
    if (glmq_tensor_decode(g, t, 0, t->rows, w, &err)) fail_msg("%s", err.msg);
    return w;
}

/* Opens as `format`; every quantized tensor is listed, and has the values that are. */
static inline void assert_listed_values(const char *path, const char *format)
{
    char file[700];
    opened_graph o = graph_open(path, NULL, 0);
    cJSON *expected;
    const cJSON *hashes, *entry;
    int quantized = 0;

    if (o.status) fail_msg("%s", o.err.msg);
    assert_string_equal(glmq_graph_format(o.g), format);
    snprintf(file, sizeof file, "%s/expected.json", path);
    expected = read_json(file);
    hashes = cJSON_GetObjectItem(expected, "sha256_f32");
    cJSON_ArrayForEach(entry, hashes)
    {
        const glmq_tensor *t = glmq_graph_find(o.g, entry->string);
        float *w;
        if (!t) fail_msg("no %s", entry->string);
        w = decoded(o.g, t);
        must_hash(t->name, "F32", w, (size_t)(t->rows * t->cols), entry->valuestring);
        free(w);
    }
    for (size_t i = 0; i < glmq_graph_count(o.g); i++)
        quantized += !glmq_encoding_is_plain(&glmq_graph_tensor(o.g, i)->part[0].enc);
    assert_int_equal(quantized, cJSON_GetArraySize(hashes));
    cJSON_Delete(expected);
    graph_shut(&o);
}
#endif
