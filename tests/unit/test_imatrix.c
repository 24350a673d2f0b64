/* Importance matrices of llama.cpp in both forms: values as numpy computes them
 * (tests/data/imatrix, made by make_imatrix.py), files that lie, and models they fit. */
#include "readers/imatrix.h"
#include "base/mem.h"
#include "models/graph.h"
#include "readers/catalog.h"
#include "support.h"
#include "unit/expected.h"
/* after what has parameters of its names */
#include "unit/build_files.h"
#include "unit/model_files.h"
#include <math.h>

static const char *data_path(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/imatrix/%s", getenv("GLMQ_DATA"), name);
    return path;
}

/* ---- what is in it ---- */

static void check_entry(const glmq_imatrix *im, const cJSON *want)
{
    const glmq_imatrix_entry *e = glmq_imatrix_find(im, want->string);
    float *w;
    glmq_error err;

    if (!e) fail_msg("no %s", want->string);
    assert_int_equal(e->values, cJSON_GetObjectItem(want, "values")->valuedouble);
    assert_int_equal(e->matrices, cJSON_GetObjectItem(want, "matrices")->valuedouble);
    assert_int_equal(e->unseen, cJSON_GetObjectItem(want, "unseen")->valuedouble);
    w = malloc(e->values * sizeof *w);
    assert_non_null(w);
    if (glmq_imatrix_read(im, e, 0, e->values, w, &err)) fail_msg("%s", err.msg);
    must_hash(want->string, "F32", w, e->values, cJSON_GetObjectItem(want, "sha256")->valuestring);
    for (uint64_t i = 0; i + 3 <= e->values; i += 7) { /* from anywhere */
        float some[3];
        assert_int_equal(glmq_imatrix_read(im, e, i, 3, some, NULL), GLMQ_OK);
        assert_memory_equal(some, w + i, sizeof some);
    }
    assert_int_equal(glmq_imatrix_read(im, e, e->values - 1, 2, w, NULL), GLMQ_E_ARG);
    free(w);
}

static void both_forms_hold_what_numpy_computes(void **state)
{
    cJSON *expected = read_json(data_path("expected.json"));
    const cJSON *file, *entry;
    (void)state;
    cJSON_ArrayForEach(file, expected)
    {
        const int gguf = strstr(file->string, ".gguf") != NULL;
        const glmq_imatrix_facts *f;
        glmq_imatrix *im;
        glmq_source *src;
        glmq_error err;

        assert_int_equal(glmq_source_open(&src, data_path(file->string), NULL, NULL), GLMQ_OK);
        assert_int_equal(glmq_imatrix_probe(src), 1);
        if (glmq_imatrix_open(&im, src, &err)) fail_msg("%s", err.msg);
        f = glmq_imatrix_facts_of(im);
        assert_int_equal(f->entries, cJSON_GetArraySize(file));
        assert_int_equal(f->gguf, gguf);
        assert_int_equal(f->chunks, 4);
        assert_int_equal(f->chunk_size, gguf ? 512 : 0);
        assert_int_equal(f->dataset_count, gguf ? 2 : 1);
        assert_string_equal(f->datasets[0], "wiki.train.raw");
        assert_int_equal(f->unseen, gguf ? 3 : 0);
        cJSON_ArrayForEach(entry, file) check_entry(im, entry);
        assert_int_equal(glmq_imatrix_check(im, NULL), GLMQ_OK);
        assert_null(glmq_imatrix_at(im, f->entries));
        assert_null(glmq_imatrix_find(im, "blk.9.attn_q.weight"));
        glmq_imatrix_close(im);
        glmq_source_close(src);
    }
    cJSON_Delete(expected);
}

static void checkpoints_are_no_importance_matrices(void **state)
{
    glmq_source *src;
    char path[1024];
    (void)state;
    snprintf(path, sizeof path, "%s/glm4-moe-tiny", getenv("GLMQ_SAMPLES"));
    assert_int_equal(glmq_source_open(&src, path, NULL, NULL), GLMQ_OK);
    assert_int_equal(glmq_imatrix_probe(src), 0);
    glmq_source_close(src);
    snprintf(path, sizeof path, "%s/checkpoints/ct-mixed/model.safetensors", getenv("GLMQ_DATA"));
    assert_int_equal(glmq_source_open(&src, path, NULL, NULL), GLMQ_OK);
    assert_int_equal(glmq_imatrix_probe(src), 0);
    glmq_source_close(src);
}

/* ---- files that lie ---- */

/* Opens bytes as a file; the status of opening and of reading all values. */
static glmq_status open_bytes(bytes b, glmq_error *err)
{
    const folder dir = folder_make();
    glmq_source *src;
    glmq_imatrix *im = NULL;
    glmq_status st;
    char path[300];

    folder_bytes(&dir, "x", b);
    snprintf(path, sizeof path, "%s/x", dir.path);
    assert_int_equal(glmq_source_open(&src, path, NULL, NULL), GLMQ_OK);
    st = glmq_imatrix_open(&im, src, err);
    if (!st) st = glmq_imatrix_check(im, err);
    if (st) assert_non_null(strstr(err->msg, "/x: "));
    glmq_imatrix_close(im);
    glmq_source_close(src);
    folder_remove(&dir);
    return st;
}

static void must_refuse(bytes b, const char *words)
{
    glmq_error err = { 0 };
    const glmq_status st = open_bytes(b, &err);

    if (st != GLMQ_E_FORMAT || !strstr(err.msg, words))
        fail_msg("%d \"%s\", expected \"%s\"", st, err.msg, words);
}

static void put_entry(bytes *b, const char *name, int32_t calls, int32_t values, size_t n,
                      float value)
{
    put_u32(b, (uint32_t)strlen(name));
    put(b, name, strlen(name));
    put_u32(b, (uint32_t)calls);
    put_u32(b, (uint32_t)values);
    for (size_t i = 0; i < n; i++) put(b, &value, 4);
}

static bytes dat(uint32_t entries)
{
    bytes b = { 0 };
    put_u32(&b, entries);
    return b;
}

#define Q "blk.0.attn_q.weight"

static void a_dat_that_lies_is_refused(void **state)
{
    bytes b = dat(0);
    (void)state;
    must_refuse(b, "an importance matrix without entries");
    must_refuse(dat(0xffffffff), "number of entries -1, expected 0 to");
    must_refuse(dat(1), "entry 0: the file ends before its length of a name (offset 4)");
    b = dat(1);
    put_u32(&b, 30);
    put(&b, Q, 5);
    must_refuse(b, "entry 0: length of a name 30, expected 0 to 5 (offset 4)");
    b = dat(1);
    put_entry(&b, "", 1, 1, 1, 1);
    must_refuse(b, "an entry without a name");
    b = dat(1);
    put_u32(&b, 3);
    put(&b, "a\0b", 3);
    put_zeros(&b, 16);
    must_refuse(b, "a zero byte in a name (offset 8)");
    b = dat(1);
    put_entry(&b, Q, -3, 1, 1, 1);
    must_refuse(b, "entry 0: " Q ": number of calls -3");
    b = dat(1);
    put_entry(&b, Q, 1, 5, 4, 1);
    must_refuse(b, "entry 0: " Q ": number of values 5, expected 0 to 4");
    b = dat(1);
    put_entry(&b, Q, 1, -1, 4, 1);
    must_refuse(b, "number of values -1");
    b = dat(1);
    put_entry(&b, Q, 1, 0, 0, 1);
    must_refuse(b, Q ": an entry without values");
    b = dat(2);
    put_entry(&b, Q, 1, 2, 2, 1);
    put_entry(&b, Q, 1, 2, 2, 1);
    must_refuse(b, "entry 1: " Q ": two entries of that name");
    b = dat(2);
    put_entry(&b, Q, 1, 2, 2, 1);
    must_refuse(b, "entry 1: the file ends before its length of a name");
    b = dat(1);
    put_entry(&b, Q, 1, 2, 2, NAN);
    must_refuse(b, Q ": value 0 is negative or no finite number");
    b = dat(1);
    put_entry(&b, Q, 1, 2, 2, -1);
    must_refuse(b, Q ": value 0 is negative or no finite number");
    b = dat(1);
    put_entry(&b, Q, 1, 2, 2, 1);
    put_u32(&b, 7);
    put_u32(&b, 100);
    must_refuse(b, "length of the data set's name 100, expected 0 to 0");
    b = dat(1);
    put_entry(&b, Q, 1, 2, 2, 1);
    put_u32(&b, 7);
    put_u32(&b, 1);
    put(&b, "abc", 3);
    must_refuse(b, "2 bytes behind its end");
}

/* Older writers stop after the entries, or after the number of chunks; no calls: the values
 * are means already. */
static void a_short_dat_is_read(void **state)
{
    for (int tail = 0; tail < 3; tail++) {
        bytes b = dat(1);
        glmq_error err = { 0 };
        (void)state;
        put_entry(&b, Q, 0, 2, 2, 0.25f);
        if (tail > 0) put_u32(&b, 7);
        if (tail > 1) put_u32(&b, 0);
        if (open_bytes(b, &err)) fail_msg("%s", err.msg);
    }
}

/* A copy of sample.gguf with every `from` made `to`, of one length. */
static bytes gguf_with(const char *from, const char *to)
{
    const size_t n = strlen(from);
    bytes b = { 0 };
    size_t len, hits = 0;
    char *data = slurp(data_path("sample.gguf"), &len);

    for (char *p = data; (p = memmem(p, (size_t)(data + len - p), from, n)); p += n, hits++)
        memcpy(p, to, n);
    assert_true(hits > 0);
    put(&b, data, len);
    free(data);
    return b;
}

/* … with the first number of an array changed. */
static bytes gguf_number(const char *array, float value)
{
    bytes b = { 0 };
    glmq_source *src;
    glmq_catalog *cat;
    size_t len;
    char *data = slurp(data_path("sample.gguf"), &len);

    assert_int_equal(glmq_source_open(&src, data_path("sample.gguf"), NULL, NULL), GLMQ_OK);
    assert_int_equal(glmq_catalog_open(&cat, src, NULL, NULL), GLMQ_OK);
    memcpy(data + glmq_catalog_find(cat, array, strlen(array))->offset, &value, 4);
    glmq_catalog_close(cat);
    glmq_source_close(src);
    put(&b, data, len);
    free(data);
    return b;
}

static void a_gguf_that_lies_is_refused(void **state)
{
    glmq_error err;
    (void)state;
    must_refuse(gguf_with("imatrix\x10", "imatriz\x10"), "general.type is not \"imatrix\"");
    must_refuse(gguf_with("blk.0.attn_q.weight.in_sum2", "blk.0.attn_q.weightx.in_sum"),
                "blk.0.attn_q.weight.in_sum2 is missing");
    must_refuse(gguf_with("blk.0.attn_q.weight.in_sum2", "blk.0.attn_q.weight.in_sumX"),
                "blk.0.attn_q.weight.in_sumX: no part of an importance matrix");
    must_refuse(gguf_with("attn_k.weight.counts", "attn_k.weight.in_sum"),
                "blk.0.attn_k.weight.counts is missing");
    must_refuse(gguf_number("blk.0.attn_k.weight.counts", INFINITY),
                "blk.0.attn_k.weight.counts: count 0 is no finite number");
    must_refuse(gguf_number("blk.0.attn_k.weight.in_sum2", NAN),
                "blk.0.attn_k.weight: value 0 is negative or no finite number");
    must_refuse(gguf_number("blk.0.attn_k.weight.counts", 1e-45f), /* the mean overflows */
                "blk.0.attn_k.weight: value 0 is negative or no finite number");
    assert_int_equal(open_bytes(gguf_number("blk.0.attn_k.weight.counts", -1), &err), GLMQ_OK);
}

/* ---- models ---- */

static void put_ones(bytes *b, const char *name, int32_t values)
{
    put_entry(b, name, 1, values, (size_t)values, 1);
}

/* hidden 32, 4 experts of 16, 2 heads of nope 12, kv rank 8 */
static bytes lite_dat(int32_t q_a, int32_t down, int32_t k_b)
{
    bytes b = dat(6);
    put_ones(&b, "blk.1.attn_q_a.weight", q_a);
    put_ones(&b, "blk.1.ffn_down_exps.weight", down);
    put_ones(&b, "blk.1.attn_k_b.weight", k_b);
    put_ones(&b, "blk.1.attn_v_b.weight", 2 * 8);
    put_ones(&b, "token_embd.weight", 5); /* never weighed */
    put_ones(&b, "blk.77.attn_q_a.weight", 32);
    return b;
}

static glmq_status fit(bytes b, const glmq_graph *g, glmq_imatrix_fit *out, glmq_error *err)
{
    const folder dir = folder_make();
    glmq_source *src;
    glmq_imatrix *im = NULL;
    glmq_status st;
    char path[300];

    folder_bytes(&dir, "x", b);
    snprintf(path, sizeof path, "%s/x", dir.path);
    assert_int_equal(glmq_source_open(&src, path, NULL, NULL), GLMQ_OK);
    if (glmq_imatrix_open(&im, src, err)) fail_msg("%s", err->msg);
    st = glmq_imatrix_fit_model(im, g, out, err);
    if (!st) {
        const glmq_tensor *t = glmq_graph_find(g, "model.layers.1.mlp.experts.3.down_proj.weight");
        uint64_t first;
        assert_non_null(t);
        assert_ptr_equal(glmq_imatrix_of(im, g, t, &first), glmq_imatrix_at(im, 1));
        assert_int_equal(first, 3 * 16);
        assert_null(glmq_imatrix_of(im, g, glmq_graph_tensor(g, 0), &first) &&
                    !strstr(glmq_graph_tensor(g, 0)->name, "embed"));
    }
    glmq_imatrix_close(im);
    glmq_source_close(src);
    folder_remove(&dir);
    return st;
}

static void entries_belong_to_tensors_and_experts(void **state)
{
    checkpoint c = make_model(LITE, 4);
    glmq_source *src;
    glmq_graph *g;
    glmq_imatrix_fit f;
    glmq_error err;
    (void)state;
    assert_int_equal(glmq_source_open(&src, save(&c), NULL, NULL), GLMQ_OK);
    assert_int_equal(glmq_graph_open(&g, src, NULL, &err), GLMQ_OK);
    if (fit(lite_dat(32, 4 * 16, 2 * 12), g, &f, &err)) fail_msg("%s", err.msg);
    assert_int_equal(f.covered, 1 + 4); /* q_a, four experts */
    assert_int_equal(f.unknown, 1);
    assert_true(f.tensors > 20);
    assert_int_equal(fit(lite_dat(48, 4 * 16, 2 * 12), g, &f, &err), GLMQ_E_FORMAT);
    assert_non_null(
        strstr(err.msg, "blk.1.attn_q_a.weight: 48 values, the model's tensor needs 32"));
    assert_int_equal(fit(lite_dat(32, 8 * 16, 2 * 12), g, &f, &err), GLMQ_E_FORMAT);
    assert_non_null(
        strstr(err.msg, "ffn_down_exps.weight: 128 values, the model's tensor needs 64"));
    assert_int_equal(fit(lite_dat(32, 4 * 16, 12), g, &f, &err), GLMQ_E_FORMAT);
    assert_non_null(strstr(err.msg, "attn_k_b.weight: 12 values, the model's tensor needs 24"));
    glmq_graph_close(g);
    glmq_source_close(src);
    discard(&c);
}

static void every_allocation_may_fail(void **state)
{
    static const char *const files[] = { "sample.gguf", "sample.dat" };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(files); i++) {
        glmq_status st;
        glmq_source *src;
        long n = 0;
        assert_int_equal(glmq_source_open(&src, data_path(files[i]), NULL, NULL), GLMQ_OK);
        do {
            glmq_imatrix *im;
            glmq_fail_alloc_at(++n);
            st = glmq_imatrix_open(&im, src, NULL);
            if (!st) st = glmq_imatrix_check(im, NULL);
            glmq_fail_alloc_at(0);
            glmq_imatrix_close(im);
            assert_true(st == GLMQ_OK || st == GLMQ_E_NOMEM || st == GLMQ_E_IO);
        } while (st);
        assert_true(n > 5);
        glmq_source_close(src);
    }
}

/* llama.cpp counts the tokens of a stack that all of them go through once (attn_k_b). */
static void one_count_serves_a_stack_of_matrices(void **state)
{
    static const char name[] = "blk.1.ffn_down_exps.weight.counts";
    size_t len;
    char *data = slurp(data_path("sample.gguf"), &len);
    char *info = memmem(data, len, name, sizeof name - 1);
    bytes b = { 0 };
    glmq_error err;
    const uint64_t dims[2] = { 1, 1 };

    (void)state;
    assert_non_null(info);
    info += sizeof name - 1 + 4; /* behind the name and the number of dimensions */
    memcpy(info, dims, sizeof dims);
    put(&b, data, len);
    free(data);
    if (open_bytes(b, &err)) fail_msg("%s", err.msg);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_forms_hold_what_numpy_computes),
        cmocka_unit_test(checkpoints_are_no_importance_matrices),
        cmocka_unit_test(a_dat_that_lies_is_refused),
        cmocka_unit_test(a_short_dat_is_read),
        cmocka_unit_test(a_gguf_that_lies_is_refused),
        cmocka_unit_test(entries_belong_to_tensors_and_experts),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(one_count_serves_a_stack_of_matrices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
