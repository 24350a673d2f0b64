/* The checkpoints of tests/data, packed by the formats' own packages
 * (tests/peers/make_data.py, make_fp4.py, make_tq3.py): every tensor against what those packages decode, and the same
 * weights after every exact conversion. */
#include "base/mem.h"
#include "codecs/codec.h"
#include "unit/convert_files.h"
#include "unit/expected.h"

static const struct {
    const char *name, *format;
} checkpoints[] = {
    { "ct-int4-asym-g32", "compressed-tensors" },
    { "ct-int8-channel", "compressed-tensors" },
    { "ct-int4-g16", "compressed-tensors" },
    { "gptq-4-actorder-v1", "gptq" },
    { "gptq-4-asym-v1", "gptq" },
    { "gptq-8-v2", "gptq" },
    { "gptq-2-asym-v2", "gptq" },
    { "ct-nvfp4", "compressed-tensors" },
    { "ct-nvfp4a16", "compressed-tensors" },
    { "ct-mxfp4", "compressed-tensors" },
    { "gptoss-mxfp4", "mxfp4" },
    { "modelopt-nvfp4", "nvfp4" },
    { "modelopt-w4a16", "nvfp4" },
    { "modelopt-mixed", "nvfp4" },
    { "vq-mixed", "vq" },
    { "aqlm-3x6", "aqlm" },
    /* make_mixed.py */
    { "ct-mixed", "compressed-tensors" },
    { "ct-int3-loose", "compressed-tensors" },
    { "gptq-mixed", "gptq" },
    { "gptq-planar", "gptq" },
    { "awq-asym-g32", "awq" },
    { "awq-sym-g16", "awq" },
    { "tq3-g64-mixed", "tq3" },
    { "tq3-fused", "tq3" },
};

static const char *path_of(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/checkpoints/%s", getenv("GLMQ_DATA"), name);
    return path;
}

static void check_tensor(const glmq_graph *g, const cJSON *entry)
{
    const glmq_tensor *t = glmq_graph_find(g, entry->string);
    glmq_error err;
    float *w;

    if (!t) fail_msg("no %s", entry->string);
    check_shape(entry, t);
    w = malloc((size_t)(t->rows * t->cols) * sizeof *w);
    assert_non_null(w);
    if (glmq_tensor_decode(g, t, 0, t->rows, w, &err)) fail_msg("%s", err.msg);
    must_hash(t->name, cJSON_GetObjectItem(entry, "dtype")->valuestring, w,
              (size_t)(t->rows * t->cols), cJSON_GetObjectItem(entry, "sha256")->valuestring);
    free(w);
}

static void every_tensor_is_what_the_tools_decode(void **state)
{
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(checkpoints); i++) {
        char file[1100];
        glmq_source *src;
        glmq_graph *g;
        glmq_error err;
        cJSON *expected;
        const cJSON *entry, *list;
        int quantized = 0;

        if (glmq_source_open(&src, path_of(checkpoints[i].name), NULL, &err) ||
            glmq_graph_open(&g, src, NULL, &err))
            fail_msg("%s: %s", checkpoints[i].name, err.msg);
        assert_string_equal(glmq_graph_format(g), checkpoints[i].format);
        snprintf(file, sizeof file, "%s/expected.json", path_of(checkpoints[i].name));
        expected = read_json(file);
        list = cJSON_GetObjectItem(expected, "tensors");
        cJSON_ArrayForEach(entry, list) check_tensor(g, entry);
        for (size_t t = 0; t < glmq_graph_count(g); t++)
            quantized += !glmq_encoding_is_plain(&glmq_graph_tensor(g, t)->part[0].enc);
        assert_true(quantized >= 12);
        assert_int_equal(quantized, cJSON_GetArraySize(list));
        cJSON_Delete(expected);
        glmq_graph_close(g);
        glmq_source_close(src);
    }
}

static void exact_hops_keep_the_digest(void **state)
{
    static const struct {
        const char *from, *to;
    } hops[] = {
        { "ct-int4-asym-g32", "gptq" },
        { "ct-int4-asym-g32", "f32" },
        { "ct-int8-channel", "gptq:v2" },
        { "ct-int4-g16", "gptq" },
        { "gptq-4-actorder-v1", "compressed-tensors" },
        { "gptq-4-actorder-v1", "gptq:v2" },
        { "gptq-4-asym-v1", "compressed-tensors" },
        { "gptq-8-v2", "compressed-tensors" },
        { "gptq-2-asym-v2", "gptq:v1" },
        { "gptq-2-asym-v2", "compressed-tensors" },
        { "ct-nvfp4", "f32" },
        { "ct-mxfp4", "f32" },
        { "gptoss-mxfp4", "f32" },
        { "modelopt-nvfp4", "f32" },
        { "modelopt-mixed", "f32" },
        { "modelopt-mixed", "same" },
        { "modelopt-nvfp4", "same" },
        { "ct-mixed", "f32" },
        { "ct-mixed", "same" },
        { "ct-int3-loose", "same" },
        { "ct-int3-loose", "compressed-tensors" },
        { "ct-int3-loose", "gptq" },
        { "gptq-mixed", "compressed-tensors" },
        { "gptq-mixed", "gptq:v2" },
        { "gptq-planar", "same" },
        { "gptq-planar", "gptq" },
        { "gptq-planar", "compressed-tensors" },
        { "awq-asym-g32", "gptq" },
        { "awq-sym-g16", "compressed-tensors" },
        { "ct-int4-asym-g32", "awq" },
        { "gptq-4-asym-v1", "awq" },
        { "gptq-2-asym-v2", "awq" },
        { "ct-int3-loose", "awq" },
        { "tq3-g64-mixed", "f32" },
        { "tq3-g64-mixed", "same" },
        { "tq3-fused", "f32" },
        { "tq3-fused", "same" },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(hops); i++) {
        char dir[] = "/tmp/glmq-data-XXXXXX", dst[64];
        glmq_run_result r;
        glmq_error err;

        assert_non_null(mkdtemp(dir));
        snprintf(dst, sizeof dst, "%s/out", dir);
        if (convert(path_of(hops[i].from), dst, hops[i].to, NULL, NULL, &r, &err))
            fail_msg("%s -> %s: %s", hops[i].from, hops[i].to, err.msg);
        if (r.tensors[GLMQ_RECODE] || strcmp(r.source_digest, r.result_digest) != 0)
            fail_msg("%s -> %s: not exact", hops[i].from, hops[i].to);
        assert_int_equal(glmq_out_remove_tree(dir, &err), GLMQ_OK);
    }
}

/* The same codes, scales and zeros in every packing that holds them, and back. */
static void chains_end_with_the_bytes_they_began_with(void **state)
{
    static const struct {
        const char *from, *hops[5];
    } chains[] = {
        { "awq-asym-g32", { "gptq", "compressed-tensors", "gptq:v2", "awq" } },
        { "awq-sym-g16", { "compressed-tensors", "gptq:v2", "awq" } },
        { "awq-sym-g16", { "gptq", "awq" } },
        { "awq-asym-g32", { "same", "awq" } },
        { "gptq-4-asym-v1", { "awq", "compressed-tensors", "awq", "gptq" } },
        { "ct-int4-asym-g32", { "awq", "gptq:v2", "awq", "compressed-tensors" } },
        { "ct-int4-g16", { "awq", "compressed-tensors" } },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(chains); i++) {
        char dir[] = "/tmp/glmq-data-XXXXXX", src[1100], dst[64], last[80];
        glmq_error err;

        assert_non_null(mkdtemp(dir));
        snprintf(src, sizeof src, "%s", path_of(chains[i].from));
        for (size_t k = 0; k < GLMQ_COUNT(chains[i].hops) && chains[i].hops[k]; k++) {
            glmq_run_result r;
            snprintf(dst, sizeof dst, "%s/%zu", dir, k);
            if (convert(src, dst, chains[i].hops[k], NULL, NULL, &r, &err))
                fail_msg("%s -> %s: %s", src, chains[i].hops[k], err.msg);
            if (r.tensors[GLMQ_RECODE]) fail_msg("%s -> %s: recoded", src, chains[i].hops[k]);
            snprintf(src, sizeof src, "%s", dst);
        }
        snprintf(src, sizeof src, "%s/model.safetensors", path_of(chains[i].from));
        snprintf(last, sizeof last, "%s/model.safetensors", dst);
        if (!same_contents(src, last)) fail_msg("%s: other bytes", chains[i].from);
        assert_int_equal(glmq_out_remove_tree(dir, &err), GLMQ_OK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_is_what_the_tools_decode),
        cmocka_unit_test(exact_hops_keep_the_digest),
        cmocka_unit_test(chains_end_with_the_bytes_they_began_with),
    };
    return cmocka_run_group_tests_name("data", tests, NULL, NULL);
}
