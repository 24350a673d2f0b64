/* Every plain and integer fixture, decoded through the graph, against what the format's own
 * tool decodes: SHA-256 of every tensor (expected.json) and, bit for bit, the tensors of
 * expected.safetensors. */
#include "base/mem.h"
#include "glmq/graph.h"
#include "models/graph.h"
#include "readers/catalog.h"
#include "unit/expected.h"
#include "support.h"

typedef struct {
    char path[512];
    glmq_source *src;
    glmq_graph *g;
    cJSON *expected; /* expected.json: NULL where there is none */
    glmq_source *values_src;
    glmq_catalog *values; /* expected.safetensors                    */
} fixture;

/* ---- the fixture ---- */

static int open_fixture(fixture *f, const char *name, int allow_incomplete)
{
    const glmq_graph_options opt = { .allow_incomplete = allow_incomplete };
    const char *root = fixtures_or_skip();
    char path[600];
    glmq_error err;

    memset(f, 0, sizeof *f);
    if (!root) return 0;
    snprintf(f->path, sizeof f->path, "%s/%s", root, name);
    if (glmq_source_open(&f->src, f->path, NULL, &err) ||
        glmq_graph_open(&f->g, f->src, &opt, &err))
        fail_msg("%s: %s", name, err.msg);
    snprintf(path, sizeof path, "%s/expected.json", f->path);
    if (access(path, R_OK) == 0) f->expected = read_json(path);
    snprintf(path, sizeof path, "%s/expected.safetensors", f->path);
    if (access(path, R_OK) == 0 && (glmq_source_open(&f->values_src, path, NULL, &err) ||
                                    glmq_catalog_open(&f->values, f->values_src, NULL, &err)))
        fail_msg("%s: %s", path, err.msg);
    return 1;
}

static void shut(fixture *f)
{
    cJSON_Delete(f->expected);
    glmq_catalog_close(f->values);
    glmq_source_close(f->values_src);
    glmq_graph_close(f->g);
    glmq_source_close(f->src);
}

static float *decode(const fixture *f, const glmq_tensor *t)
{
    float *w = malloc((size_t)(t->rows * t->cols) * sizeof *w + 1);
    glmq_error err;

    assert_non_null(w);
    if (glmq_tensor_decode(f->g, t, 0, t->rows, w, &err)) fail_msg("%s", err.msg);
    return w;
}

/* An array of expected.safetensors; the caller frees it. */
static uint8_t *expected_bytes(const fixture *f, const glmq_array *a)
{
    uint8_t *data = malloc(a->bytes + 1);
    glmq_error err;

    assert_non_null(data);
    if (glmq_source_read(f->values_src, a->file, a->offset, data, (size_t)a->bytes, &err))
        fail_msg("%s: %s", a->name, err.msg);
    return data;
}

static void must_equal(const fixture *f, const glmq_array *a, const float *w, size_t n)
{
    size_t bytes;
    uint8_t *have = round_to(glmq_dtype_name((glmq_dtype)a->dtype), w, n, &bytes);
    uint8_t *want = expected_bytes(f, a);

    assert_int_equal(bytes, a->bytes);
    if (memcmp(have, want, bytes) != 0) fail_msg("%s differs", a->name);
    free(have);
    free(want);
}

/* ---- formats of Hugging Face folders ---- */

/* Every tensor that the tool decoded; and no other one is quantized. */
static void check_integers(const char *name, const char *format, int allow_incomplete,
                           size_t *quantized)
{
    const cJSON *entry;
    fixture f;

    *quantized = 0;
    if (!open_fixture(&f, name, allow_incomplete)) skip();
    assert_string_equal(glmq_graph_format(f.g), format);
    cJSON_ArrayForEach(entry, cJSON_GetObjectItem(f.expected, "tensors"))
    {
        const glmq_tensor *t = glmq_graph_find(f.g, entry->string);
        const char *dtype = cJSON_GetObjectItem(entry, "dtype")->valuestring;
        const char *want = cJSON_GetObjectItem(entry, "sha256")->valuestring;
        const glmq_array *a;
        float *w;

        if (!t) fail_msg("%s: no %s", name, entry->string);
        check_shape(entry, t);
        w = decode(&f, t);
        must_hash(t->name, dtype, w, (size_t)(t->rows * t->cols), want);
        a = glmq_catalog_find(f.values, t->name, strlen(t->name));
        if (a) must_equal(&f, a, w, (size_t)(t->rows * t->cols));
        free(w);
    }
    for (size_t i = 0; i < f.values->count; i++)
        if (!glmq_graph_find(f.g, f.values->arrays[i].name))
            fail_msg("%s: no %s", name, f.values->arrays[i].name);
    for (size_t i = 0; i < glmq_graph_count(f.g); i++)
        *quantized += !glmq_encoding_is_plain(&glmq_graph_tensor(f.g, i)->part[0].enc);
    assert_int_equal(*quantized, cJSON_GetArraySize(cJSON_GetObjectItem(f.expected, "tensors")));
    shut(&f);
}

static size_t count_problems(const glmq_graph *g, const char *code)
{
    size_t n = 0;
    for (size_t i = 0; i < glmq_graph_problem_count(g); i++)
        n += strcmp(glmq_graph_problem(g, i)->code, code) == 0;
    return n;
}

static void compressed_tensors_g32(void **state)
{
    size_t n;
    (void)state;
    check_integers("glm47-compressed-tensors-g32", "compressed-tensors", 0, &n);
    assert_int_equal(n, 104);
}

static void compressed_tensors_g128(void **state)
{
    fixture f;
    size_t n;

    (void)state;
    check_integers("glm47-compressed-tensors-g128", "compressed-tensors", 0, &n);
    assert_int_equal(n, 69);
    if (!open_fixture(&f, "glm47-compressed-tensors-g128", 0)) skip();
    assert_int_equal(count_problems(f.g, "mtp-absent"), 1);
    shut(&f);
}

static void compressed_tensors_asymmetric(void **state)
{
    static const char name[] = "glm47flash-compressed-tensors-asym-g32-layer1";
    fixture f;
    size_t n;

    (void)state;
    check_integers(name, "compressed-tensors", 1, &n);
    assert_int_equal(n, 33);
    if (!open_fixture(&f, name, 1)) skip();
    assert_int_equal(count_problems(f.g, "missing-tensor"),
                     135 - 39 - 44); /* all, what is stored, MTP */
    assert_int_equal(count_problems(f.g, "mtp-absent"), 1);
    shut(&f);
}

static void gptq_with_act_order(void **state)
{
    size_t n;
    (void)state;
    check_integers("glm47flash-gptq-actorder", "gptq", 0, &n);
    assert_int_equal(n, 72);
}

static void gptq_of_autoround_pruned(void **state)
{
    fixture f;
    size_t n;

    (void)state;
    check_integers("glm5-gptq-autoround-reap", "gptq", 0, &n);
    assert_int_equal(n, 90);
    if (!open_fixture(&f, "glm5-gptq-autoround-reap", 0)) skip();
    assert_int_equal(f.g->hp->experts, 6);
    assert_int_equal(count_problems(f.g, "mtp-absent"), 0);
    assert_non_null(glmq_graph_find(f.g, "model.layers.3.eh_proj.weight"));
    shut(&f);
}

static void awq_gemm(void **state)
{
    static const char name[] = "glm47flash-awq-g32-layer1";
    fixture f;
    size_t n;

    (void)state;
    check_integers(name, "awq", 1, &n);
    assert_int_equal(n, 32); /* 8 experts and a shared one of 3 each, 5 of attention */
    if (!open_fixture(&f, name, 1)) skip();
    assert_int_equal(count_problems(f.g, "config-group"), 0);
    assert_int_equal(count_problems(f.g, "config-modules"), 0);
    shut(&f);
}

/* ---- FP8 and FP4 ---- */

static void must_have_hash(const cJSON *entry, const char *key, const char *dtype,
                           const glmq_tensor *t, const float *w)
{
    const char *want = glmq_json_string(entry, key);
    if (want) must_hash(t->name, dtype, w, (size_t)(t->rows * t->cols), want);
}

/* Bit for bit what a tool decodes, in F32 and rounded to BF16; returns the quantized. */
static size_t check_floats(const char *name, const char *format, const char *folder)
{
    const cJSON *entry;
    size_t quantized = 0, listed = 0;
    char path[600];
    fixture f;

    if (!open_fixture(&f, name, 0)) skip();
    if (folder) { /* a loose file beside what is expected of it */
        snprintf(path, sizeof path, "%s/%s/expected.json", fixtures_or_skip(), folder);
        f.expected = read_json(path);
    }
    assert_string_equal(glmq_graph_format(f.g), format);
    cJSON_ArrayForEach(entry, cJSON_GetObjectItem(f.expected, "tensors"))
    {
        const glmq_tensor *t = glmq_graph_find(f.g, entry->string);
        const glmq_array *a;
        float *w;

        if (!t) fail_msg("%s: no %s", name, entry->string);
        check_shape(entry, t);
        w = decode(&f, t);
        must_have_hash(entry, "sha256_f32", "F32", t, w);
        must_have_hash(entry, "sha256_bf16", "BF16", t, w);
        a = f.values ? glmq_catalog_find(f.values, t->name, strlen(t->name)) : NULL;
        if (a) must_equal(&f, a, w, (size_t)(t->rows * t->cols));
        listed++;
        free(w);
    }
    for (size_t i = 0; i < glmq_graph_count(f.g); i++)
        quantized += !glmq_encoding_is_plain(&glmq_graph_tensor(f.g, i)->part[0].enc);
    assert_true(listed >= quantized);
    shut(&f);
    return quantized;
}

static void fp8_in_blocks(void **state)
{
    fixture f;

    (void)state;
    assert_int_equal(check_floats("glm47-fp8-block", "fp8", NULL), 100);
    if (!open_fixture(&f, "glm47-fp8-block", 0)) skip();
    assert_int_equal(count_problems(f.g, "config-modules"), 0);
    assert_int_equal(glmq_graph_dropped_count(f.g), 0);
    shut(&f);
}

static void fp8_in_short_blocks(void **state)
{
    (void)state;
    assert_int_equal(check_floats("fp8-block-ragged/ragged.safetensors", "fp8", "fp8-block-ragged"),
                     10);
}

/* What a good fixture has to tell: that expected.safetensors is no shard, and perhaps `note`. */
static void check_quiet(const char *name, const char *note)
{
    fixture f;

    if (!open_fixture(&f, name, 0)) skip();
    for (size_t i = 0; i < glmq_graph_problem_count(f.g); i++) {
        const glmq_problem *p = glmq_graph_problem(f.g, i);
        if (strcmp(p->code, "file-ignored") != 0 && (!note || strcmp(p->code, note) != 0))
            fail_msg("%s: %s: %s", name, p->code, p->message);
    }
    assert_int_equal(glmq_graph_dropped_count(f.g), 0);
    shut(&f);
}

static void nvfp4_of_modelopt(void **state)
{
    (void)state;
    assert_int_equal(check_floats("glm5-nvfp4-modelopt", "nvfp4", NULL), 78);
    check_quiet("glm5-nvfp4-modelopt", "kv-cache-quantized");
}

static void nvfp4_of_compressed_tensors(void **state)
{
    static const char name[] = "glm47flash-nvfp4-compressed-tensors";

    (void)state;
    assert_int_equal(check_floats(name, "compressed-tensors", NULL), 72);
    check_quiet(name, NULL);
}

/* ---- plain ---- */

/* Values are the arrays' own; digests of a widened copy cannot be had otherwise. */
static void check_plain(const char *name, size_t tensors)
{
    fixture f;

    if (!open_fixture(&f, name, 0)) skip();
    assert_int_equal(glmq_graph_count(f.g), tensors);
    assert_int_equal(f.g->used_count, tensors);
    assert_int_equal(glmq_graph_dropped_count(f.g), 0);
    for (size_t i = 0; i < glmq_graph_count(f.g); i++) {
        const glmq_tensor *t = glmq_graph_tensor(f.g, i);
        const glmq_array *a = glmq_catalog_find(f.g->catalog, t->name, strlen(t->name));
        uint8_t *raw = malloc(a->bytes + 1), *have;
        float *w = decode(&f, t);
        glmq_error err;
        size_t bytes;

        assert_non_null(raw);
        assert_int_equal(glmq_source_read(f.src, a->file, a->offset, raw, (size_t)a->bytes, &err),
                         GLMQ_OK);
        have =
            round_to(glmq_dtype_name((glmq_dtype)a->dtype), w, (size_t)(t->rows * t->cols), &bytes);
        assert_int_equal(bytes, a->bytes);
        assert_memory_equal(have, raw, bytes);
        free(have);
        free(raw);
        free(w);
    }
    shut(&f);
}

static void plain_bf16_of_all_three(void **state)
{
    (void)state;
    check_plain("glm47-bf16", 141); /* 106 + 20 + 12 + 3 arrays by the headers */
    check_plain("glm47flash-bf16", 135);
    check_plain("glm5-bf16", 148);
}

/* ---- GGUF ---- */

/* kv_b has each head's rows of k, then those of v; attn_k_b holds the former transposed.  Takes
 * `kv_b`. */
static float *half_of_kv_b(const glmq_hparams *h, float *kv_b, int k, size_t *n)
{
    const size_t no = h->qk_nope, vd = h->v_head, lora = h->kv_lora;
    const size_t rows = k ? lora : vd, cols = k ? no : lora;
    float *half = malloc(h->heads * rows * cols * sizeof *half);

    assert_non_null(half);
    *n = h->heads * rows * cols;
    for (size_t i = 0; i < *n; i++) {
        const size_t head = i / (rows * cols), r = i / cols % rows, c = i % cols;
        const size_t row = head * (no + vd) + (k ? c : no + r);
        half[i] = kv_b[row * lora + (k ? r : c)];
    }
    free(kv_b);
    return half;
}

/* Logical tensors of a GGUF name, joined in the order of its rows; the caller frees them. */
static float *join(const fixture *f, const char *gguf, size_t *n)
{
    float *all = NULL;
    glmq_name_match m;

    *n = 0;
    if (!glmq_names_match(f->g->names, NAMES_GGUF, gguf, strlen(gguf), &m))
        fail_msg("%s is no name of the model", gguf);
    for (size_t i = 0; i < glmq_graph_count(f->g); i++) {
        const glmq_tensor *t = glmq_graph_tensor(f->g, i);
        float *w;

        if (t->role != m.row->role || t->layer != m.layer) continue;
        w = decode(f, t);
        if (m.row->split == SPLIT_K_B || m.row->split == SPLIT_V_B)
            return half_of_kv_b(f->g->hp, w, m.row->split == SPLIT_K_B, n);
        all = realloc(all, (*n + (size_t)(t->rows * t->cols)) * sizeof *all);
        assert_non_null(all);
        memcpy(all + *n, w, (size_t)(t->rows * t->cols) * sizeof *all);
        *n += (size_t)(t->rows * t->cols);
        free(w);
    }
    return all;
}

static size_t elements(const cJSON *entry)
{
    const cJSON *ne;
    size_t n = 1;

    cJSON_ArrayForEach(ne, cJSON_GetObjectItem(entry, "ne")) n *= (size_t)ne->valueint;
    return n;
}

/* expected.safetensors has "NAME", or "NAME#lastN": its last N rows. */
static void check_sample(const fixture *f, const char *name, const cJSON *entry, const float *w,
                         size_t n)
{
    const cJSON *ne = cJSON_GetObjectItem(entry, "ne");
    const char *sample = glmq_json_string(entry, "sample");
    const glmq_array *a;
    char key[160];
    int last = 0;

    if (!sample) return;
    snprintf(key, sizeof key, "%s", name);
    if (sscanf(sample, "last %d rows", &last) == 1)
        snprintf(key, sizeof key, "%s#last%d", name, last);
    a = glmq_catalog_find(f->values, key, strlen(key));
    if (!a) return;
    if (last) w += n - (size_t)last * (size_t)cJSON_GetArrayItem(ne, 0)->valueint;
    if (last) n = (size_t)last * (size_t)cJSON_GetArrayItem(ne, 0)->valueint;
    must_equal(f, a, w, n);
}

/* Every array of the file. */
static void check_gguf(const char *name, const char *model_type, size_t logical)
{
    const cJSON *entry;
    size_t tensors = 0;
    fixture f;

    if (!open_fixture(&f, name, 0)) skip();
    assert_string_equal(glmq_graph_format(f.g), "gguf");
    assert_string_equal(glmq_graph_model_type(f.g), model_type);
    assert_int_equal(glmq_graph_count(f.g), logical);
    cJSON_ArrayForEach(entry, f.expected)
    {
        size_t n;
        float *w = join(&f, entry->string, &n);

        assert_int_equal(n, elements(entry));
        must_hash(entry->string, "F32", w, n,
                  cJSON_GetObjectItem(entry, "sha256_f32")->valuestring);
        check_sample(&f, entry->string, entry, w, n);
        free(w);
        tensors++;
    }
    assert_int_equal(tensors, f.g->catalog->count);
    assert_int_equal(f.g->used_count, tensors);
    shut(&f);
}

static void gguf_q8_0(void **state)
{
    (void)state;
    check_gguf("glm47-gguf-q8_0", "glm4_moe", 141); /* as glm47-bf16 */
}

static void gguf_k_quants(void **state)
{
    (void)state;
    check_gguf("glm47-gguf-q4_k_m-split", "glm4_moe", 141);
    check_gguf("glm47flash-gguf-q4_k_m", "glm4_moe_lite", 135);
    check_gguf("glm5-gguf-q4_k_m", "glm_moe_dsa", 148);
}

/* The names, roles and shapes of a GGUF are those of the model it was made from. */
static void gguf_is_the_same_model(void **state)
{
    fixture a, b;

    (void)state;
    if (!open_fixture(&a, "glm47-bf16", 0) || !open_fixture(&b, "glm47-gguf-q8_0", 0)) skip();
    assert_int_equal(glmq_graph_count(a.g), glmq_graph_count(b.g));
    for (size_t i = 0; i < glmq_graph_count(a.g); i++) {
        const glmq_tensor *x = glmq_graph_tensor(a.g, i), *y = glmq_graph_tensor(b.g, i);

        assert_string_equal(x->name, y->name);
        assert_int_equal(x->role, y->role);
        assert_int_equal(x->rank, y->rank);
        assert_int_equal(x->rows, y->rows);
        assert_int_equal(x->cols, y->cols);
        assert_int_equal(x->mtp, y->mtp);
    }
    shut(&a);
    shut(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_bf16_of_all_three),
        cmocka_unit_test(compressed_tensors_g32),
        cmocka_unit_test(compressed_tensors_g128),
        cmocka_unit_test(compressed_tensors_asymmetric),
        cmocka_unit_test(gptq_with_act_order),
        cmocka_unit_test(gptq_of_autoround_pruned),
        cmocka_unit_test(awq_gemm),
        cmocka_unit_test(fp8_in_blocks),
        cmocka_unit_test(fp8_in_short_blocks),
        cmocka_unit_test(nvfp4_of_modelopt),
        cmocka_unit_test(nvfp4_of_compressed_tensors),
        cmocka_unit_test(gguf_q8_0),
        cmocka_unit_test(gguf_k_quants),
        cmocka_unit_test(gguf_is_the_same_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
