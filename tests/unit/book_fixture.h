/* Checkpoints with codebooks whose folder has an expected.json: {"sha256_f32": {NAME: HEX}}. */
#ifndef TESTS_UNIT_BOOK_FIXTURE_H
#define TESTS_UNIT_BOOK_FIXTURE_H

#include "unit/convert_files.h"
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

/* To every kind of target; what holds the values has their digest, and `same` the bytes. */
static inline void assert_converts(const char *folder)
{
    static const char *const targets[] = { "f32", "bf16", "f16", "gguf:Q8_0", "same" };
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        const int same = strcmp(targets[i], "same") == 0;
        char dir[256], dst[300];
        glmq_run_result r;
        glmq_error err;

        fresh_folder(dir);
        snprintf(dst, sizeof dst, "%s/out", dir);
        if (convert(folder, dst, targets[i], NULL, NULL, &r, &err))
            fail_msg("%s: %s", targets[i], err.msg);
        if (same || strcmp(targets[i], "f32") == 0)
            assert_string_equal(r.source_digest, r.result_digest);
        if (same) assert_int_equal(r.tensors[GLMQ_RECODE] + r.tensors[GLMQ_SAME_CODES], 0);
        glmq_out_remove_tree(dir, NULL);
    }
}
#endif
