/* Whole conversions to GGUF through the public interface. */
#include "gguf_file.h"

#include "base/strmap.h"
#include "codecs/codec.h"
#include "glmq/glmq.h"
#include "io/out.h"
#include "sha256.h"
#include "writers/gguf_out.h"
#include "writers/writer.h"

/* ---- options of --to ---- */

static void knows_file_types_in_any_case(void **state)
{
    glmq_target t = { 0 };
    (void)state;
    assert_int_equal(glmq_writer_gguf.target(&t, "", NULL), GLMQ_OK);
    assert_int_equal(t.file_type, -1);
    assert_null(t.enc.codec);
    assert_int_equal(glmq_writer_gguf.target(&t, "q8_0,split=2G", NULL), GLMQ_OK);
    assert_int_equal(t.file_type, 7);
    assert_int_equal(glmq_encoding_dtype(&t.enc), GLMQ_DT_Q8_0);
    assert_true(t.split_size == 2000000000u);
    assert_int_equal(glmq_writer_gguf.target(&t, "BF16,rule=peer", NULL), GLMQ_OK);
    assert_int_equal(t.file_type, 32);
    assert_int_equal(t.rule_peer, 1);
}

static void refuses_words_it_does_not_know(void **state)
{
    static const struct {
        const char *options;
        glmq_status status;
        const char *says;
    } cases[] = {
        { "Q4_K_M", GLMQ_E_UNSUPPORTED, "no encoder for Q4_K_M; there are auto, F32," },
        { "Q8_O", GLMQ_E_ARG, "unknown option 'Q8_O'; the nearest is 'Q8_0'" },
        { "split=0", GLMQ_E_ARG, "is no size" },
        { "split=many", GLMQ_E_ARG, "is no size" },
        { "auto,,Q8_0", GLMQ_E_ARG, "options" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        glmq_target t = { 0 };
        glmq_error err = { 0 };
        assert_int_equal(glmq_writer_gguf.target(&t, cases[i].options, &err), cases[i].status);
        if (!strstr(err.msg, cases[i].says)) fail_msg("case %zu says: %s", i, err.msg);
    }
}

static void finds_the_type_that_can_stand_for_both(void **state)
{
    (void)state;
    assert_int_equal(glmq_gguf_wider(GLMQ_DT_Q4_0, GLMQ_DT_Q8_0), GLMQ_DT_Q8_0);
    assert_int_equal(glmq_gguf_wider(GLMQ_DT_BF16, GLMQ_DT_Q4_0), GLMQ_DT_BF16);
    assert_int_equal(glmq_gguf_wider(GLMQ_DT_BF16, GLMQ_DT_F16), GLMQ_DT_F32);
    assert_int_equal(glmq_gguf_wider(GLMQ_DT_Q6_K, GLMQ_DT_Q6_K), GLMQ_DT_Q6_K);
    assert_int_equal(glmq_gguf_wider(GLMQ_DT_Q6_K, GLMQ_DT_Q4_0), GLMQ_DT_F32);
}

/* ---- conversions ---- */

typedef struct converted {
    glmq_source *src;
    glmq_graph *graph;
    glmq_recipe *recipe;
    char dir[256];
    glmq_source *out;
    glmq_catalog *cat; /* of the result */
} converted;

static glmq_status convert(converted *c, const char *from, const char *to, const char *name,
                           const glmq_plan_options *opt, glmq_error *err)
{
    glmq_plan *plan = NULL;
    char dst[512];
    glmq_status st;
    memset(c, 0, sizeof *c);
    fresh_folder(c->dir);
    snprintf(dst, sizeof dst, "%s/%s", c->dir, name);
    st = glmq_source_open(&c->src, from, NULL, err);
    if (!st) st = glmq_graph_open(&c->graph, c->src, NULL, err);
    if (!st) st = glmq_recipe_open(&c->recipe, to, err);
    if (!st) st = glmq_plan_open(&plan, c->graph, c->recipe, dst, opt, err);
    if (!st) st = glmq_run(plan, NULL, NULL, err);
    glmq_plan_close(plan);
    if (!st) st = glmq_source_open(&c->out, dst, NULL, err);
    if (!st) st = glmq_catalog_open(&c->cat, c->out, NULL, err);
    return st;
}

static void done(converted *c)
{
    glmq_catalog_close(c->cat);
    glmq_source_close(c->out);
    glmq_recipe_close(c->recipe);
    glmq_graph_close(c->graph);
    glmq_source_close(c->src);
    glmq_out_remove_tree(c->dir, NULL);
}

static void must_convert(converted *c, const char *from, const char *to, const char *name,
                         const glmq_plan_options *opt)
{
    glmq_error err = { 0 };
    if (convert(c, from, to, name, opt, &err)) fail_msg("%s to %s: %s", from, to, err.msg);
}

static const char *fixture(char path[1024], const char *name)
{
    snprintf(path, 1024, "%s/%s", getenv("GLMQ_FIXTURES"), name);
    return path;
}

static const char *sample(char path[1024])
{
    const char *samples = getenv("GLMQ_SAMPLES");
    snprintf(path, 1024, "%s/glm4-moe-tiny", samples ? samples : "samples");
    return path;
}

static const glmq_array *array_of(const converted *c, const char *name)
{
    const glmq_array *a = glmq_catalog_find(c->cat, name, strlen(name));
    if (!a) fail_msg("%s is missing", name);
    return a;
}

static uint8_t *bytes_of(const converted *c, const glmq_array *a)
{
    uint8_t *data = malloc(a->bytes ? a->bytes : 1);
    assert_non_null(data);
    assert_int_equal(glmq_source_read(c->out, a->file, a->offset, data, a->bytes, NULL), GLMQ_OK);
    return data;
}

/* The type, shape and bytes that llama.cpp's own tools make of the same model. */
static void assert_as_listed(const converted *c, const cJSON *entry)
{
    const glmq_array *a = array_of(c, entry->string);
    const cJSON *ne = cJSON_GetObjectItem(entry, "ne");
    const char *type = glmq_json_string(entry, "type");
    uint8_t *data;
    char hex[65];
    if (strcmp(glmq_dtype_info_of((glmq_dtype)a->dtype)->ggml_name, type))
        fail_msg("%s is %s, not %s", a->name, glmq_dtype_name((glmq_dtype)a->dtype), type);
    assert_int_equal(a->rank, cJSON_GetArraySize(ne));
    for (int d = 0; d < a->rank; d++)
        assert_int_equal(a->dims[a->rank - 1 - d], cJSON_GetArrayItem(ne, d)->valuedouble);
    data = bytes_of(c, a);
    sha256_hex(data, a->bytes, hex);
    if (strcmp(hex, glmq_json_string(entry, "sha256_raw"))) fail_msg("%s: other bytes", a->name);
    free(data);
}

static cJSON *expected(const char *folder_name)
{
    char path[1024];
    size_t len;
    char *text;
    cJSON *root = NULL;
    snprintf(path, sizeof path, "%s/%s/expected.json", getenv("GLMQ_FIXTURES"), folder_name);
    text = slurp(path, &len);
    assert_int_equal(glmq_json_parse(&root, text, len, 0, NULL), GLMQ_OK);
    free(text);
    return root;
}

static void makes_the_bytes_of_llama_cpp(void **state)
{
    static const struct {
        const char *from, *to, *as;
    } cases[] = {
        { "glm47-bf16", "gguf:BF16", "glm47-gguf-bf16" },
        { "glm47-bf16", "gguf:auto", "glm47-gguf-bf16" },
        { "glm47-bf16", "gguf:Q8_0", "glm47-gguf-q8_0" },
        { "glm5-bf16", "gguf:BF16", "glm5-gguf-bf16" },
        { "glm5-bf16", "gguf:Q8_0", "glm5-gguf-q8_0" },
    };
    (void)state;
    skip_without_fixtures();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cJSON *list = expected(cases[i].as);
        char path[1024];
        converted c;
        must_convert(&c, fixture(path, cases[i].from), cases[i].to, "out.gguf", NULL);
        assert_int_equal(c.cat->count, cJSON_GetArraySize(list));
        for (const cJSON *e = list->child; e; e = e->next) assert_as_listed(&c, e);
        cJSON_Delete(list);
        done(&c);
    }
}

static int same_value(const glmq_gguf_value *a, const glmq_gguf_value *b)
{
    return a && b && a->type == b->type && a->item == b->item && a->bytes == b->bytes &&
           memcmp(a->data, b->data, a->bytes) == 0;
}

/* All of it, but the name that the converter makes of the folder's. */
static void makes_the_metadata_of_llama_cpp(void **state)
{
    char path[1024];
    converted c;
    gguf_file f;
    (void)state;
    skip_without_fixtures();
    f = gguf_fixture_open("glm47-gguf-q8_0/glm47-q8_0.gguf");
    must_convert(&c, fixture(path, "glm47-bf16"), "gguf:Q8_0", "out.gguf", NULL);
    for (size_t i = 0; i < f.cat->gguf->count; i++) {
        const glmq_gguf_value *v = &f.cat->gguf->values[i];
        char key[256];
        snprintf(key, sizeof key, "%.*s", (int)v->key_len, v->key);
        if (strcmp(key, "general.name") && !same_value(v, glmq_gguf_get(c.cat->gguf, key)))
            fail_msg("%s is missing or differs", key);
    }
    assert_int_equal(c.cat->gguf->count, f.cat->gguf->count);
    assert_memory_equal(c.cat->gguf->values[0].key, "general.architecture", 20);
    done(&c);
    gguf_file_close(&f);
}

static void copies_a_gguf_array_by_array(void **state)
{
    char path[1024];
    converted c;
    gguf_file f;
    (void)state;
    skip_without_fixtures();
    f = gguf_fixture_open("glm47-gguf-q8_0/glm47-q8_0.gguf");
    must_convert(&c, fixture(path, "glm47-gguf-q8_0/glm47-q8_0.gguf"), "gguf:auto", "out.gguf",
                 NULL);
    assert_int_equal(c.cat->count, f.cat->count);
    for (size_t i = 0; i < f.cat->count; i++) {
        const glmq_array *want = &f.cat->arrays[i], *have = array_of(&c, want->name);
        uint8_t *a = malloc(want->bytes), *b = bytes_of(&c, have);
        assert_int_equal(have->dtype, want->dtype);
        assert_int_equal(have->bytes, want->bytes);
        assert_int_equal(glmq_source_read(f.src, want->file, want->offset, a, want->bytes, NULL),
                         GLMQ_OK);
        assert_memory_equal(a, b, want->bytes);
        free(a);
        free(b);
    }
    for (size_t i = 0; i < f.cat->gguf->count; i++) {
        const glmq_gguf_value *v = &f.cat->gguf->values[i];
        char key[256];
        snprintf(key, sizeof key, "%.*s", (int)v->key_len, v->key);
        if (!same_value(v, glmq_gguf_get(c.cat->gguf, key))) fail_msg("%s differs", key);
    }
    done(&c);
    gguf_file_close(&f);
}

static void keeps_integer_codes_where_a_type_holds_them(void **state)
{
    char path[1024];
    converted c;
    (void)state;
    skip_without_fixtures();
    must_convert(&c, fixture(path, "glm47-compressed-tensors-g32"), "gguf:auto", "out.gguf", NULL);
    assert_int_equal(array_of(&c, "blk.1.ffn_gate_exps.weight")->dtype, GLMQ_DT_Q4_0);
    assert_int_equal(array_of(&c, "blk.1.attn_q.weight")->dtype, GLMQ_DT_Q4_0);
    assert_int_equal(array_of(&c, "output.weight")->dtype, GLMQ_DT_BF16);
    assert_int_equal(array_of(&c, "blk.1.exp_probs_b.bias")->dtype, GLMQ_DT_F32);
    assert_int_equal(array_of(&c, "blk.1.attn_norm.weight")->dtype, GLMQ_DT_F32);
    done(&c);
}

static void refuses_fused_kv_b_where_llama_cpp_has_none(void **state)
{
    const glmq_plan_options fused = { .mla = GLMQ_MLA_FUSED };
    glmq_error err = { 0 };
    char path[1024];
    converted c;
    (void)state;
    skip_without_fixtures();
    assert_int_equal(convert(&c, fixture(path, "glm5-bf16"), "gguf:BF16", "out.gguf", &fused, &err),
                     GLMQ_E_UNSUPPORTED);
    done(&c);
    must_convert(&c, fixture(path, "glm47flash-bf16"), "gguf:BF16", "out.gguf", &fused);
    assert_int_equal(array_of(&c, "blk.0.attn_kv_b.weight")->rank, 2);
    assert_null(glmq_catalog_find(c.cat, "blk.0.attn_k_b.weight", 21));
    assert_null(glmq_gguf_get(c.cat->gguf, "deepseek2.attention.key_length_mla"));
    done(&c);
}

/* ---- on the sample, which is always there ---- */

static void drops_the_mtp_layer_from_tensors_and_metadata(void **state)
{
    const glmq_plan_options drop = { .mtp = GLMQ_MTP_DROP };
    char path[1024], name[64];
    uint64_t with, without;
    converted c;
    (void)state;
    must_convert(&c, sample(path), "gguf:auto", "out.gguf", NULL);
    assert_true(glmq_gguf_u64(c.cat->gguf, "glm4moe.block_count", &with));
    snprintf(name, sizeof name, "blk.%d.nextn.eh_proj.weight", (int)with - 1);
    array_of(&c, name);
    done(&c);
    must_convert(&c, sample(path), "gguf:auto", "out.gguf", &drop);
    assert_true(glmq_gguf_u64(c.cat->gguf, "glm4moe.block_count", &without));
    assert_int_equal(without, with - 1);
    assert_null(glmq_gguf_get(c.cat->gguf, "glm4moe.nextn_predict_layers"));
    assert_null(glmq_catalog_find(c.cat, name, strlen(name)));
    done(&c);
}

static size_t parts_in(const converted *c)
{
    size_t n = 0;
    for (size_t i = 0; i < glmq_source_count(c->out); i++) {
        const char *name = glmq_source_name(c->out, i);
        const size_t len = strlen(name);
        n += len > 5 && !strcmp(name + len - 5, ".gguf");
    }
    return n;
}

static void splits_into_parts_of_the_size_asked_for(void **state)
{
    const uint64_t limit = 100000;
    char path[1024];
    converted whole, split;
    uint64_t filled[64] = { 0 };
    size_t parts;
    (void)state;
    must_convert(&whole, sample(path), "gguf:auto", "out.gguf", NULL);
    must_convert(&split, sample(path), "gguf:auto,split=100K", "model", NULL);
    parts = parts_in(&split);
    assert_in_range(parts, 2, 64);
    assert_int_equal(split.cat->count, whole.cat->count);
    for (size_t i = 0; i < whole.cat->count; i++) {
        const glmq_array *a = &whole.cat->arrays[i], *b = array_of(&split, a->name);
        uint8_t *x = bytes_of(&whole, a), *y = bytes_of(&split, b);
        assert_int_equal(a->bytes, b->bytes);
        assert_memory_equal(x, y, a->bytes);
        filled[b->file % 64] += b->bytes;
        if (b->bytes > limit) filled[b->file % 64] = 0; /* larger than a part: alone in one */
        free(x);
        free(y);
    }
    for (size_t i = 0; i < 64; i++) assert_true(filled[i] <= limit);
    done(&whole);
    done(&split);
}

/* split.no and split.count u16, split.tensors.count i32; all else in the first part only. */
static void says_in_each_part_which_it_is(void **state)
{
    char path[1024], file[600];
    converted c;
    size_t parts;
    (void)state;
    must_convert(&c, sample(path), "gguf:auto,split=100K", "model", NULL);
    parts = parts_in(&c);
    for (size_t i = 0; i < parts; i++) {
        uint8_t head[24], *key;
        size_t len;
        snprintf(file, sizeof file, "%s/model/model-%05zu-of-%05zu.gguf", c.dir, i + 1, parts);
        key = (uint8_t *)slurp(file, &len);
        memcpy(head, key, sizeof head);
        assert_memory_equal(head, "GGUF\3\0\0\0", 8);
        if (i) assert_int_equal(head[16], 3); /* key-values */
        if (i) assert_memory_equal(key + 24, "\x08\0\0\0\0\0\0\0split.no\2\0\0\0", 20);
        if (i) assert_int_equal(key[44], i);
        free(key);
    }
    done(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_file_types_in_any_case),
        cmocka_unit_test(refuses_words_it_does_not_know),
        cmocka_unit_test(finds_the_type_that_can_stand_for_both),
        cmocka_unit_test(makes_the_bytes_of_llama_cpp),
        cmocka_unit_test(makes_the_metadata_of_llama_cpp),
        cmocka_unit_test(copies_a_gguf_array_by_array),
        cmocka_unit_test(keeps_integer_codes_where_a_type_holds_them),
        cmocka_unit_test(refuses_fused_kv_b_where_llama_cpp_has_none),
        cmocka_unit_test(drops_the_mtp_layer_from_tensors_and_metadata),
        cmocka_unit_test(splits_into_parts_of_the_size_asked_for),
        cmocka_unit_test(says_in_each_part_which_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
