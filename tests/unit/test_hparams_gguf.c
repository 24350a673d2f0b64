/* Hyper-parameters and GGUF metadata, and the config.json made from them. */
#include "gguf_file.h"
#include "models/hparams_table.h"

static const char *const models[][2] = {
    { "glm47-bf16", "glm47-gguf-q8_0/glm47-q8_0.gguf" },
    { "glm47flash-bf16", "glm47flash-gguf-q4_k_m/glm47flash-q4_k_m.gguf" },
    { "glm5-bf16", "glm5-gguf-q4_k_m/glm5-q4_k_m.gguf" },
};
enum { MODELS = sizeof models / sizeof *models };

static cJSON *fixture_config(const char *model)
{
    char path[1024];
    size_t len;
    char *text;
    cJSON *root = NULL;
    snprintf(path, sizeof path, "%s/%s/config.json", getenv("GLMQ_FIXTURES"), model);
    text = slurp(path, &len);
    assert_int_equal(glmq_json_parse(&root, text, len, 0, NULL), GLMQ_OK);
    free(text);
    return root;
}

static void from_fixture(glmq_hparams *h, glmq_arena *arena, const char *model)
{
    cJSON *config = fixture_config(model);
    assert_int_equal(glmq_hparams_from_config(h, arena, config, NULL), GLMQ_OK);
    cJSON_Delete(config);
}

/* Every field of the table but those that metadata cannot hold. */
static void assert_same_hparams(const glmq_hparams *a, const glmq_hparams *b, int all)
{
    assert_ptr_equal(a->arch, b->arch);
    for (size_t i = 0; i < glmq_hp_row_count; i++) {
        const glmq_hp_row *row = &glmq_hp_rows[i];
        const char *x = (const char *)a + row->field, *y = (const char *)b + row->field;
        const int lost = row->field == offsetof(glmq_hparams, attention_bias) ||
                         row->field == offsetof(glmq_hparams, qk_norm) ||
                         row->field == offsetof(glmq_hparams, tied) ||
                         row->field == offsetof(glmq_hparams, index_topk_freq) ||
                         row->field == offsetof(glmq_hparams, index_skip_topk_offset);
        if (lost && !all) continue;
        if (row->type == HP_COUNT)
            assert_int_equal(*(const uint64_t *)x, *(const uint64_t *)y);
        else if (row->type == HP_FLAG)
            assert_int_equal(*(const int *)x, *(const int *)y);
        else
            assert_true((float)*(const double *)x == (float)*(const double *)y);
    }
    assert_memory_equal(a->layer_sparse, b->layer_sparse, a->layers);
    if (a->arch->dsa) assert_memory_equal(a->indexer_full, b->indexer_full, a->layers);
}

static void reads_what_the_config_says(void **state)
{
    (void)state;
    skip_without_fixtures();
    for (size_t i = 0; i < MODELS; i++) {
        glmq_arena arena = { 0 };
        glmq_hparams config, meta;
        glmq_error err = { 0 };
        gguf_file f = gguf_fixture_open(models[i][1]);
        from_fixture(&config, &arena, models[i][0]);
        if (glmq_hparams_from_gguf(&meta, &arena, f.cat->gguf, &err)) fail_msg("%s", err.msg);
        assert_same_hparams(&config, &meta, 0);
        gguf_file_close(&f);
        glmq_arena_free(&arena);
    }
}

static int is_general(const glmq_gguf_value *v)
{
    return v->key_len > 8 && (!memcmp(v->key, "general.", 8) || !memcmp(v->key, "tokenize", 8));
}

/* Value by value, types included; what the converter leaves out for Flash is the gating
 * function, which llama.cpp would then have to guess. */
static void writes_what_the_converter_of_llama_cpp_writes(void **state)
{
    (void)state;
    skip_without_fixtures();
    for (size_t i = 0; i < MODELS; i++) {
        glmq_arena arena = { 0 };
        glmq_gguf_kv kv = { 0 };
        glmq_hparams h;
        size_t architecture_keys = 0;
        gguf_file theirs = gguf_fixture_open(models[i][1]), ours;
        from_fixture(&h, &arena, models[i][0]);
        assert_int_equal(glmq_hparams_to_gguf(&kv, &h, GLMQ_GGUF_KEEP_MTP, NULL), GLMQ_OK);
        ours = gguf_file_open(&kv);
        for (size_t k = 0; k < theirs.cat->gguf->count; k++) {
            const glmq_gguf_value *want = &theirs.cat->gguf->values[k], *have;
            char key[128];
            if (is_general(want)) continue;
            architecture_keys++;
            snprintf(key, sizeof key, "%.*s", (int)want->key_len, want->key);
            have = glmq_gguf_get(ours.cat->gguf, key);
            if (!have) fail_msg("%s is missing", key);
            if (have->type != want->type || have->bytes != want->bytes ||
                memcmp(have->data, want->data, want->bytes))
                fail_msg("%s differs", key);
            assert_true(glmq_hparams_own_key(&h, want->key, want->key_len));
        }
        assert_int_equal(ours.cat->gguf->count,
                         architecture_keys + !strcmp(h.arch->gguf, "deepseek2"));
        gguf_file_close(&ours);
        gguf_file_close(&theirs);
        glmq_arena_free(&arena);
    }
}

/* ---- small models made here ---- */

static const char lite[] =
    "{\"architectures\":[\"Glm4MoeLiteForCausalLM\"],\"model_type\":\"glm4_moe_lite\","
    "\"hidden_size\":64,\"num_hidden_layers\":2,\"vocab_size\":100,\"num_attention_heads\":2,"
    "\"intermediate_size\":96,\"moe_intermediate_size\":32,\"n_routed_experts\":4,"
    "\"num_experts_per_tok\":2,\"q_lora_rank\":null,\"kv_lora_rank\":48,\"qk_nope_head_dim\":24,"
    "\"qk_rope_head_dim\":8,\"v_head_dim\":40,\"num_nextn_predict_layers\":1,"
    "\"routed_scaling_factor\":1.8,\"rope_theta\":1000000}";

static void from_text(glmq_hparams *h, glmq_arena *arena, const char *text)
{
    cJSON *config = NULL;
    glmq_error err = { 0 };
    assert_int_equal(glmq_json_parse(&config, text, strlen(text), 0, NULL), GLMQ_OK);
    if (glmq_hparams_from_config(h, arena, config, &err)) fail_msg("%s", err.msg);
    cJSON_Delete(config);
}

static gguf_file file_of(const glmq_hparams *h, int keep)
{
    glmq_gguf_kv kv = { 0 };
    glmq_gguf_put_string(&kv, "general.architecture", h->arch->gguf, strlen(h->arch->gguf));
    assert_int_equal(glmq_hparams_to_gguf(&kv, h, keep, NULL), GLMQ_OK);
    return gguf_file_open(&kv);
}

static uint64_t count_in(const gguf_file *f, const char *key)
{
    uint64_t v = 999999;
    assert_true(glmq_gguf_u64(f->cat->gguf, key, &v));
    return v;
}

static void counts_the_mtp_layer_only_where_it_is_kept(void **state)
{
    glmq_arena arena = { 0 };
    glmq_hparams h, back;
    gguf_file f;
    (void)state;
    from_text(&h, &arena, lite);
    f = file_of(&h, 0);
    assert_int_equal(count_in(&f, "deepseek2.block_count"), 2);
    assert_null(glmq_gguf_get(f.cat->gguf, "deepseek2.nextn_predict_layers"));
    assert_int_equal(glmq_hparams_from_gguf(&back, &arena, f.cat->gguf, NULL), GLMQ_OK);
    assert_int_equal(back.layers, 2);
    assert_int_equal(back.mtp_layers, 0);
    gguf_file_close(&f);
    f = file_of(&h, GLMQ_GGUF_KEEP_MTP);
    assert_int_equal(count_in(&f, "deepseek2.block_count"), 3);
    assert_int_equal(count_in(&f, "deepseek2.nextn_predict_layers"), 1);
    assert_int_equal(glmq_hparams_from_gguf(&back, &arena, f.cat->gguf, NULL), GLMQ_OK);
    assert_same_hparams(&h, &back, 0);
    assert_int_equal(back.q_lora, 0);
    gguf_file_close(&f);
    glmq_arena_free(&arena);
}

static void describes_whole_heads_where_kv_b_is_one_tensor(void **state)
{
    glmq_arena arena = { 0 };
    glmq_hparams h, back;
    gguf_file f;
    (void)state;
    from_text(&h, &arena, lite);
    f = file_of(&h, GLMQ_GGUF_KEEP_MTP | GLMQ_GGUF_FUSED_KV_B);
    assert_null(glmq_gguf_get(f.cat->gguf, "deepseek2.attention.key_length_mla"));
    assert_null(glmq_gguf_get(f.cat->gguf, "deepseek2.attention.value_length_mla"));
    assert_int_equal(count_in(&f, "deepseek2.attention.key_length"), 32);
    assert_int_equal(count_in(&f, "deepseek2.attention.value_length"), 40);
    assert_int_equal(count_in(&f, "deepseek2.attention.head_count_kv"), 2);
    assert_int_equal(glmq_hparams_from_gguf(&back, &arena, f.cat->gguf, NULL), GLMQ_OK);
    assert_same_hparams(&h, &back, 0);
    gguf_file_close(&f);
    glmq_arena_free(&arena);
}

static void refuses_layers_that_a_gguf_cannot_describe(void **state)
{
    glmq_arena arena = { 0 };
    glmq_gguf_kv kv = { 0 };
    glmq_hparams h;
    glmq_error err;
    (void)state;
    from_text(&h, &arena, lite);
    h.layer_sparse[0] = 1;
    h.layer_sparse[1] = 0;
    assert_int_equal(glmq_hparams_to_gguf(&kv, &h, 0, &err), GLMQ_E_UNSUPPORTED);
    glmq_text_free(&kv.data);
    glmq_arena_free(&arena);
}

/* ---- metadata that other tools wrote, or nobody should have ---- */

typedef void edit(glmq_gguf_kv *kv);

static const char *const common[] = {
    "context_length", "embedding_length",  "feed_forward_length",        "attention.head_count",
    "expert_count",   "expert_used_count", "expert_feed_forward_length",
};
static const uint32_t common_values[] = { 4096, 64, 96, 2, 4, 2, 32 };

/* glm4moe with 3 layers, but for the key `without`. */
static void put_glm4(glmq_gguf_kv *kv, const char *without)
{
    char key[128];
    glmq_gguf_put_string(kv, "general.architecture", "glm4moe", 7);
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
        snprintf(key, sizeof key, "glm4moe.%s", common[i]);
        if (strcmp(without, common[i])) glmq_gguf_put_u32(kv, key, common_values[i]);
    }
    if (strcmp(without, "attention.head_count_kv"))
        glmq_gguf_put_u32(kv, "glm4moe.attention.head_count_kv", 1);
    if (strcmp(without, "block_count")) glmq_gguf_put_u32(kv, "glm4moe.block_count", 3);
    if (strcmp(without, "vocab_size")) glmq_gguf_put_u32(kv, "glm4moe.vocab_size", 100);
    glmq_gguf_put_f32(kv, "glm4moe.attention.layer_norm_rms_epsilon", 1e-5f);
}

static glmq_status read_kv(glmq_gguf_kv *kv, glmq_hparams *h, glmq_error *err)
{
    glmq_arena arena = { 0 };
    gguf_file f = gguf_file_open(kv);
    const glmq_status st = glmq_hparams_from_gguf(h, &arena, f.cat->gguf, err);
    gguf_file_close(&f);
    glmq_arena_free(&arena);
    return st;
}

static void takes_llama_cpps_defaults_for_absent_keys(void **state)
{
    glmq_gguf_kv kv = { 0 };
    glmq_hparams h;
    glmq_error err = { 0 };
    (void)state;
    put_glm4(&kv, "");
    if (read_kv(&kv, &h, &err)) fail_msg("%s", err.msg);
    assert_int_equal(h.layers, 3);
    assert_int_equal(h.mtp_layers, 0);
    assert_int_equal(h.dense_layers, 0);
    assert_int_equal(h.head_dim, 32);
    assert_true(h.partial_rotary == 1.0);
    assert_true(h.rope_theta == 10000.0);
    assert_int_equal(h.norm_topk, 0);
}

static void accepts_other_integer_types_and_equal_values_per_layer(void **state)
{
    static const uint8_t heads[] = { 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0 };
    glmq_gguf_kv kv = { 0 };
    glmq_hparams h;
    glmq_error err = { 0 };
    (void)state;
    put_glm4(&kv, "attention.head_count_kv");
    glmq_gguf_put_array(&kv, "glm4moe.attention.head_count_kv", GGUF_U32, 3);
    glmq_text_add_n(&kv.data, heads, sizeof heads);
    glmq_gguf_put_u16(&kv, "glm4moe.leading_dense_block_count", 1);
    if (read_kv(&kv, &h, &err)) fail_msg("%s", err.msg);
    assert_int_equal(h.kv_heads, 1);
    assert_int_equal(h.dense_layers, 1);
}

static void names_the_required_key_that_is_missing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
        glmq_gguf_kv kv = { 0 };
        glmq_hparams h;
        glmq_error err = { 0 };
        char says[128];
        put_glm4(&kv, common[i]);
        assert_int_equal(read_kv(&kv, &h, &err), GLMQ_E_FORMAT);
        snprintf(says, sizeof says, "glm4moe.%s is missing", common[i]);
        assert_string_equal(err.msg, says);
    }
}

static void blocks(glmq_gguf_kv *kv)
{
    glmq_gguf_put_u32(kv, "glm4moe.nextn_predict_layers", 3);
}

static void gating(glmq_gguf_kv *kv)
{
    glmq_gguf_put_u32(kv, "glm4moe.expert_gating_func", 1);
}

static void rotary(glmq_gguf_kv *kv)
{
    glmq_gguf_put_u32(kv, "glm4moe.rope.dimension_count", 64);
}

static void wrong_type(glmq_gguf_kv *kv)
{
    glmq_gguf_put_string(kv, "glm4moe.rope.freq_base", "1e6", 3);
}

static void dense(glmq_gguf_kv *kv)
{
    glmq_gguf_put_u32(kv, "glm4moe.leading_dense_block_count", 4000000000u);
}

static void experts(glmq_gguf_kv *kv)
{
    glmq_gguf_put_u32(kv, "glm4moe.expert_group_count", 3);
}

static void refuses_values_that_cannot_be(void **state)
{
    static const struct {
        edit *add;
        glmq_status status;
        const char *says;
    } cases[] = {
        { blocks, GLMQ_E_FORMAT, "block_count 3 with 3 nextn_predict_layers leaves no layer" },
        { gating, GLMQ_E_UNSUPPORTED, "expert_gating_func is 1, only 2 (sigmoid) is known" },
        { rotary, GLMQ_E_FORMAT, "glm4moe.rope.dimension_count: 64 is not in 1..32" },
        { wrong_type, GLMQ_E_FORMAT, "glm4moe.rope.freq_base is no number" },
        { dense, GLMQ_E_FORMAT, "glm4moe.leading_dense_block_count: 4000000000 is not in" },
        { experts, GLMQ_E_FORMAT, "n_group 3 does not divide" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        glmq_gguf_kv kv = { 0 };
        glmq_hparams h;
        glmq_error err = { 0 };
        put_glm4(&kv, "");
        cases[i].add(&kv);
        assert_int_equal(read_kv(&kv, &h, &err), cases[i].status);
        if (!strstr(err.msg, cases[i].says)) fail_msg("case %zu says: %s", i, err.msg);
    }
}

static void refuses_other_architectures(void **state)
{
    glmq_gguf_kv kv = { 0 };
    glmq_hparams h;
    glmq_error err = { 0 };
    (void)state;
    glmq_gguf_put_string(&kv, "general.architecture", "llama", 5);
    assert_int_equal(read_kv(&kv, &h, &err), GLMQ_E_UNSUPPORTED);
    glmq_gguf_put_string(&kv, "general.architecture", "deepseek2", 9);
    glmq_gguf_put_string(&kv, "tokenizer.ggml.pre", "deepseek-v3", 11);
    assert_int_equal(read_kv(&kv, &h, &err), GLMQ_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "not a GLM model"));
    glmq_gguf_put_u32(&kv, "x", 1);
    assert_int_equal(read_kv(&kv, &h, &err), GLMQ_E_FORMAT);
}

/* ---- config.json ---- */

/* Values that the published file and ours may spell differently. */
static void assert_config_has(const cJSON *ours, const cJSON *theirs)
{
    static const char *const not_in_a_gguf[] = { "transformers_version",
                                                 "initializer_range",
                                                 "index_share_for_mtp_iteration",
                                                 "head_dim",
                                                 "index_topk_freq",
                                                 "index_skip_topk_offset" };
    for (const cJSON *c = theirs->child; c; c = c->next) {
        const cJSON *o = cJSON_GetObjectItemCaseSensitive(ours, c->string);
        int skip_it = 0;
        for (size_t i = 0; i < sizeof not_in_a_gguf / sizeof *not_in_a_gguf; i++)
            skip_it |= !strcmp(c->string, not_in_a_gguf[i]);
        if (skip_it) continue;
        if (!o) fail_msg("%s is missing", c->string);
        if (!cJSON_Compare(o, c, 1)) fail_msg("%s differs", c->string);
    }
}

static void makes_the_published_config(void **state)
{
    (void)state;
    skip_without_fixtures();
    for (size_t i = 0; i < MODELS; i++) {
        glmq_arena arena = { 0 };
        glmq_hparams h, back;
        glmq_text out = { 0 };
        cJSON *ours = NULL, *theirs = fixture_config(models[i][0]);
        gguf_file f = gguf_fixture_open(models[i][1]);
        assert_int_equal(glmq_hparams_from_gguf(&h, &arena, f.cat->gguf, NULL), GLMQ_OK);
        h.attention_bias = h.qk_norm = !h.arch->mla; /* the reader sees it by the tensors */
        assert_int_equal(glmq_hparams_to_config(&out, &h, f.cat->gguf, NULL), GLMQ_OK);
        assert_int_equal(glmq_json_parse(&ours, out.data, out.len, 0, NULL), GLMQ_OK);
        assert_config_has(ours, theirs);
        assert_int_equal(glmq_hparams_from_config(&back, &arena, ours, NULL), GLMQ_OK);
        assert_same_hparams(&h, &back, 1);
        cJSON_Delete(ours);
        cJSON_Delete(theirs);
        glmq_text_free(&out);
        gguf_file_close(&f);
        glmq_arena_free(&arena);
    }
}

static void prints_reals_in_the_shortest_text_of_their_float(void **state)
{
    glmq_arena arena = { 0 };
    glmq_hparams h;
    glmq_text out = { 0 };
    glmq_gguf none = { 0 };
    (void)state;
    from_text(&h, &arena, lite);
    h.rms_eps = (double)1e-5f;
    h.routed_scale = 2;
    h.rope_theta = 8e6;
    assert_int_equal(glmq_hparams_to_config(&out, &h, &none, NULL), GLMQ_OK);
    assert_non_null(strstr(out.data, "\"rms_norm_eps\": 1e-05,"));
    assert_non_null(strstr(out.data, "\"routed_scaling_factor\": 2.0,"));
    assert_non_null(strstr(out.data, "\"rope_theta\": 8000000,"));
    assert_non_null(strstr(out.data, "\"q_lora_rank\": null,"));
    assert_non_null(strstr(out.data, "\"eos_token_id\": null,"));
    glmq_text_free(&out);
    glmq_arena_free(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_the_config_says),
        cmocka_unit_test(writes_what_the_converter_of_llama_cpp_writes),
        cmocka_unit_test(counts_the_mtp_layer_only_where_it_is_kept),
        cmocka_unit_test(describes_whole_heads_where_kv_b_is_one_tensor),
        cmocka_unit_test(refuses_layers_that_a_gguf_cannot_describe),
        cmocka_unit_test(takes_llama_cpps_defaults_for_absent_keys),
        cmocka_unit_test(accepts_other_integer_types_and_equal_values_per_layer),
        cmocka_unit_test(names_the_required_key_that_is_missing),
        cmocka_unit_test(refuses_values_that_cannot_be),
        cmocka_unit_test(refuses_other_architectures),
        cmocka_unit_test(makes_the_published_config),
        cmocka_unit_test(prints_reals_in_the_shortest_text_of_their_float),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
