/* The graph: hyper-parameters, order, completeness, shapes, conservation, fetch. */
#include "glmq/graph.h"
#include "base/arena.h"
#include "models/graph.h"
#include "models/hparams_table.h"
#include "unit/model_files.h"

/* ---- helpers ---- */

typedef struct {
    glmq_source *src;
    glmq_graph *g;
    glmq_status status;
    glmq_error err;
} opened;

static opened open_folder(const char *path, int allow_incomplete)
{
    const glmq_graph_options opt = { .allow_incomplete = allow_incomplete };
    opened o = { 0 };

    assert_int_equal(glmq_source_open(&o.src, path, NULL, &o.err), GLMQ_OK);
    o.status = glmq_graph_open(&o.g, o.src, &opt, &o.err);
    return o;
}

static void shut(opened *o)
{
    glmq_graph_close(o->g);
    glmq_source_close(o->src);
}

/* Opens what must open. */
static opened must_open(checkpoint *c, int allow_incomplete)
{
    opened o = open_folder(save(c), allow_incomplete);
    if (o.status) fail_msg("%s", o.err.msg);
    return o;
}

/* Opens what must be refused, with these words in the message; ends the checkpoint. */
static void must_refuse(checkpoint *c, glmq_status status, const char *words)
{
    opened o = open_folder(save(c), 0);

    if (o.status != status || !strstr(o.err.msg, words))
        fail_msg("status %s, expected %s; \"%s\", expected \"%s\"", glmq_status_name(o.status),
                 glmq_status_name(status), o.err.msg, words);
    assert_null(o.g);
    shut(&o);
    discard(c);
}

static const glmq_problem *problem(const glmq_graph *g, const char *code)
{
    for (size_t i = 0; i < glmq_graph_problem_count(g); i++)
        if (strcmp(glmq_graph_problem(g, i)->code, code) == 0) return glmq_graph_problem(g, i);
    return NULL;
}

static size_t problems(const glmq_graph *g, const char *code)
{
    size_t n = 0;
    for (size_t i = 0; i < glmq_graph_problem_count(g); i++)
        n += strcmp(glmq_graph_problem(g, i)->code, code) == 0;
    return n;
}

static float bf16(const uint8_t *p)
{
    const uint32_t bits = (uint32_t)(p[0] | p[1] << 8) << 16;
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* ---- hyper-parameters ---- */

static glmq_status read_config(const char *text, glmq_hparams *h, glmq_arena *a, glmq_error *err)
{
    cJSON *json = NULL;
    glmq_status st = glmq_json_parse(&json, text, strlen(text), 0, err);

    assert_int_equal(st, GLMQ_OK);
    st = glmq_hparams_from_config(h, a, json, err);
    cJSON_Delete(json);
    return st;
}

#define GLM52                                                                                      \
    "\"model_type\":\"glm_moe_dsa\",\"hidden_size\":6144,\"num_hidden_layers\":78,"                \
    "\"vocab_size\":154880,\"num_attention_heads\":64,\"intermediate_size\":12288,"                \
    "\"moe_intermediate_size\":2048,\"n_routed_experts\":256,\"num_experts_per_tok\":8,"           \
    "\"head_dim\":192,\"first_k_dense_replace\":3"

/* spec forward 4.2: freq 4, offset 3 gives 0,1,2,6,10,…,74, 21 layers. */
static void tells_full_indexers_by_frequency_and_offset(void **state)
{
    glmq_arena a = { 0 };
    glmq_hparams h;
    glmq_error err;
    int full = 0;

    (void)state;
    assert_int_equal(
        read_config("{" GLM52 ",\"index_topk_freq\":4,\"index_skip_topk_offset\":3}", &h, &a, &err),
        GLMQ_OK);
    for (int l = 0; l < 78; l++) {
        assert_int_equal(h.indexer_full[l], l < 3 || (l >= 6 && (l - 6) % 4 == 0));
        full += h.indexer_full[l];
    }
    assert_int_equal(full, 21);
    assert_int_equal(read_config("{" GLM52 "}", &h, &a, &err), GLMQ_OK); /* GLM-5: all */
    for (int l = 0; l < 78; l++) assert_int_equal(h.indexer_full[l], 1);
    glmq_arena_free(&a);
}

static void takes_the_published_defaults(void **state)
{
    glmq_arena a = { 0 };
    glmq_hparams h;
    glmq_error err;

    (void)state;
    assert_int_equal(read_config("{" GLM52 ",\"rope_parameters\":{\"rope_theta\":8000000,"
                                 "\"rope_type\":\"default\"},\"rope_theta\":5}",
                                 &h, &a, &err),
                     GLMQ_OK);
    assert_true(h.rope_theta == 8e6); /* rope_parameters first */
    assert_int_equal(h.q_lora, 2048);
    assert_int_equal(h.kv_lora, 512);
    assert_int_equal(h.qk_nope, 192);
    assert_int_equal(h.qk_rope, 64); /* not head_dim */
    assert_int_equal(h.v_head, 256);
    assert_int_equal(h.index_heads, 32);
    assert_int_equal(h.mtp_layers, 1);
    assert_true(h.routed_scale == 2.5);
    assert_int_equal(h.layer_sparse[2], 0);
    assert_int_equal(h.layer_sparse[3], 1);
    glmq_arena_free(&a);
}

static void names_the_key_that_is_wrong(void **state)
{
    static const struct {
        const char *config, *words;
        glmq_status status;
    } cases[] = {
        { "{}", "model_type is missing", GLMQ_E_FORMAT },
        { "{\"model_type\":\"llama\"}", "\"llama\"", GLMQ_E_UNSUPPORTED },
        { "{\"model_type\":\"glm_moe_dsa\"}", "hidden_size is missing", GLMQ_E_FORMAT },
        { "{" GLM52 ",\"n_group\":3}", "n_group 3", GLMQ_E_FORMAT },
        { "{" GLM52 ",\"n_group\":0}", "n_group: 0", GLMQ_E_FORMAT },
        { "{" GLM52 ",\"q_lora_rank\":1e300}", "q_lora_rank", GLMQ_E_FORMAT },
        { "{" GLM52 ",\"q_lora_rank\":null}", "q_lora_rank", GLMQ_E_FORMAT },
        { "{" GLM52 ",\"kv_lora_rank\":-3}", "kv_lora_rank", GLMQ_E_FORMAT },
        { "{" GLM52 ",\"v_head_dim\":\"256\"}", "v_head_dim", GLMQ_E_FORMAT },
        { "{" GLM52 ",\"indexer_types\":[\"full\"]}", "indexer_types has 1", GLMQ_E_FORMAT },
        { "{" GLM52 ",\"scoring_func\":\"softmax\"}", "scoring_func", GLMQ_E_UNSUPPORTED },
        { "{" GLM52 ",\"topk_method\":\"greedy\"}", "topk_method", GLMQ_E_UNSUPPORTED },
        { "{" GLM52 ",\"hidden_act\":\"gelu\"}", "hidden_act", GLMQ_E_UNSUPPORTED },
        { "{" GLM52 ",\"rope_scaling\":{\"type\":\"yarn\"}}", "yarn", GLMQ_E_UNSUPPORTED },
        { "{" GLM52 ",\"rope_parameters\":{\"rope_type\":\"yarn\"}}", "yarn", GLMQ_E_UNSUPPORTED },
        { "{" GLM52 ",\"quantization_config\":{\"moe_sparsity_config\":{\"method\":\"novice\"}}}",
          "novice", GLMQ_E_UNSUPPORTED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        glmq_arena a = { 0 };
        glmq_hparams h;
        glmq_error err;
        const glmq_status st = read_config(cases[i].config, &h, &a, &err);

        if (st != cases[i].status || !strstr(err.msg, cases[i].words))
            fail_msg("case %zu: %s, \"%s\"", i, glmq_status_name(st), st ? err.msg : "");
        glmq_arena_free(&a);
    }
}

static void refuses_absurd_counts_before_using_them(void **state)
{
    checkpoint c = make_model(GLM4, 4);

    (void)state;
    edit_config(&c, "\"num_hidden_layers\":3", "\"num_hidden_layers\":9007199254740992");
    must_refuse(&c, GLMQ_E_FORMAT, "num_hidden_layers");
}

/* ---- whole models ---- */

static void builds_each_of_the_three_models(void **state)
{
    static const char *const types[] = { "glm4_moe", "glm4_moe_lite", "glm_moe_dsa" };

    (void)state;
    for (int m = 0; m < 3; m++) {
        checkpoint c = make_model((which)m, 4);
        opened o = must_open(&c, 0);

        assert_int_equal(glmq_graph_count(o.g), c.count);
        assert_string_equal(glmq_graph_model_type(o.g), types[m]);
        assert_string_equal(glmq_graph_format(o.g), "bf16");
        assert_int_equal(glmq_graph_problem_count(o.g), 0);
        assert_int_equal(glmq_graph_dropped_count(o.g), 0);
        assert_int_equal(o.g->used_count, c.count);
        for (size_t i = 0; i < c.count; i++) {
            const glmq_tensor *t = glmq_graph_find(o.g, c.at[i].name);

            if (!t) fail_msg("%s was lost", c.at[i].name);
            assert_int_equal(t->rank, c.at[i].rank);
            assert_int_equal(t->rows, c.at[i].rank == 2 ? c.at[i].dims[0] : 1);
            assert_int_equal(t->cols, c.at[i].dims[c.at[i].rank - 1]);
            assert_int_equal(t->mtp, strstr(c.at[i].name, "layers.3.") != NULL);
            assert_int_equal(glmq_tensor_bytes(t), c.at[i].bytes);
        }
        shut(&o);
        discard(&c);
    }
}

static void keeps_tensors_in_order(void **state)
{
    checkpoint c = make_model(DSA, 12); /* experts 10, 11 sort behind 9, not behind 1 */
    opened o = must_open(&c, 0);

    (void)state;
    for (size_t i = 1; i < glmq_graph_count(o.g); i++) {
        const glmq_tensor *a = glmq_graph_tensor(o.g, i - 1), *b = glmq_graph_tensor(o.g, i);
        const int rising = a->layer != b->layer ? a->layer < b->layer
                           : a->role != b->role ? a->role < b->role
                                                : a->expert < b->expert;
        if (!rising) fail_msg("%s before %s", a->name, b->name);
    }
    shut(&o);
    discard(&c);
}

static void cuts_fused_experts_apart(void **state)
{
    checkpoint c = make_model(LITE, 4);
    stored *gate_up, *down;
    const glmq_tensor *t;
    float w[T_I * T_H];
    opened o;

    (void)state;
    for (int e = 0; e < 4; e++) {
        char name[96];
        snprintf(name, sizeof name, "model.layers.2.mlp.experts.%d.", e);
        assert_int_equal(take_away_all(&c, name), 3);
    }
    add(&c, "BF16", "model.layers.2.mlp.experts.gate_up_proj", 3, 4, 2 * T_I, T_H);
    add(&c, "BF16", "model.layers.2.mlp.experts.down_proj", 3, 4, T_H, T_I);
    o = must_open(&c, 0);
    gate_up = find(&c, "model.layers.2.mlp.experts.gate_up_proj");
    down = find(&c, "model.layers.2.mlp.experts.down_proj");
    t = glmq_graph_find(o.g, "model.layers.2.mlp.experts.3.up_proj.weight");
    assert_non_null(t);
    assert_int_equal(glmq_tensor_decode(o.g, t, 0, T_I, w, &o.err), GLMQ_OK);
    for (int i = 0; i < T_I * T_H; i++)
        assert_true(w[i] == bf16(gate_up->data + 2 * ((3 * 2 + 1) * T_I * T_H + i)));
    t = glmq_graph_find(o.g, "model.layers.2.mlp.experts.1.down_proj.weight");
    assert_non_null(t);
    assert_int_equal(glmq_tensor_decode(o.g, t, 0, T_H, w, &o.err), GLMQ_OK);
    for (int i = 0; i < T_I * T_H; i++)
        assert_true(w[i] == bf16(down->data + 2 * (1 * T_I * T_H + i)));
    shut(&o);
    /* both forms of one layer */
    add(&c, "BF16", "model.layers.2.mlp.experts.0.gate_proj.weight", 2, T_I, T_H, 0);
    must_refuse(&c, GLMQ_E_FORMAT, "stored twice");
}

static void digests_are_of_the_values(void **state)
{
    checkpoint c = make_model(LITE, 4);
    opened o = must_open(&c, 0);
    const glmq_tensor *t = glmq_graph_find(o.g, "model.norm.weight");
    char hex[33], again[33];
    stored *s;

    (void)state;
    assert_int_equal(glmq_tensor_digest(o.g, t, hex, &o.err), GLMQ_OK);
    assert_int_equal(strlen(hex), 32);
    shut(&o);
    s = find(&c, "model.norm.weight"); /* the same values as F32 */
    s->data = realloc(s->data, 2 * s->bytes);
    for (size_t i = T_H; i-- > 0;) {
        const float f = bf16(s->data + 2 * i);
        memcpy(s->data + 4 * i, &f, 4);
    }
    strcpy(s->dtype, "F32");
    s->bytes *= 2;
    o = must_open(&c, 0);
    t = glmq_graph_find(o.g, "model.norm.weight");
    assert_int_equal(glmq_tensor_digest(o.g, t, again, &o.err), GLMQ_OK);
    assert_string_equal(hex, again);
    shut(&o);
    discard(&c);
}

/* ---- what is missing, or too much ---- */

static void names_a_missing_tensor(void **state)
{
    checkpoint c = make_model(GLM4, 4);

    (void)state;
    take_away(&c, "model.layers.2.mlp.experts.3.up_proj.weight");
    must_refuse(&c, GLMQ_E_FORMAT, "model.layers.2.mlp.experts.3.up_proj.weight is missing");
}

static void tells_missing_tensors_when_allowed(void **state)
{
    checkpoint c = make_model(DSA, 4);
    opened o;

    (void)state;
    take_away_all(&c, "model.layers.1.mlp.experts.2.");
    take_away(&c, "model.layers.0.self_attn.indexer.wk.weight");
    o = must_open(&c, 1);
    assert_int_equal(problems(o.g, "missing-tensor"), 4);
    assert_string_equal(problem(o.g, "missing-tensor")->tensor,
                        "model.layers.0.self_attn.indexer.wk.weight");
    assert_int_equal(problem(o.g, "missing-tensor")->severity, GLMQ_ERROR);
    assert_int_equal(glmq_graph_count(o.g), c.count);
    shut(&o);
    discard(&c);
}

static void counts_huge_gaps_without_walking_them(void **state)
{
    checkpoint c = make_model(GLM4, 4);
    opened o;

    (void)state;
    take_away_all(&c, "model.layers.1.mlp.gate.");
    take_away_all(&c, "model.layers.2.mlp.gate.");
    take_away_all(&c, "model.layers.3.");
    edit_config(&c, "\"num_hidden_layers\":3", "\"num_hidden_layers\":4000");
    edit_config(&c, "\"n_routed_experts\":4", "\"n_routed_experts\":65536");
    o = must_open(&c, 1);
    assert_true(problems(o.g, "missing-tensor") < 20000);
    shut(&o);
    discard(&c);
}

static void a_whole_mtp_layer_may_be_absent(void **state)
{
    checkpoint c = make_model(DSA, 4);
    opened o;

    (void)state;
    assert_true(take_away_all(&c, "model.layers.3.") > 20);
    o = must_open(&c, 0);
    assert_non_null(problem(o.g, "mtp-absent"));
    assert_int_equal(problem(o.g, "mtp-absent")->severity, GLMQ_WARNING);
    shut(&o);
    discard(&c);
}

static void half_an_mtp_layer_is_refused(void **state)
{
    checkpoint c = make_model(DSA, 4);

    (void)state;
    take_away(&c, "model.layers.3.enorm.weight");
    must_refuse(&c, GLMQ_E_FORMAT, "model.layers.3.enorm.weight is missing");
}

static void mtp_tables_are_optional(void **state)
{
    checkpoint c = make_model(LITE, 4);
    opened o;

    (void)state;
    add_layer(&c, 3, "embed_tokens.weight", 2, T_V, T_H);
    add_layer(&c, 3, "shared_head.head.weight", 2, T_V, T_H);
    o = must_open(&c, 0);
    assert_int_equal(glmq_graph_problem_count(o.g), 0);
    assert_int_equal(glmq_graph_find(o.g, "model.layers.3.embed_tokens.weight")->role,
                     GLMQ_ROLE_MTP_EMBED);
    shut(&o);
    discard(&c);
}

static void takes_two_mtp_layers_or_none(void **state)
{
    checkpoint c = make_model(GLM4, 4);
    opened o;

    (void)state;
    add_decoder(&c, GLM4, 4, 4);
    edit_config(&c, "predict_layers\":1", "predict_layers\":2");
    o = must_open(&c, 0);
    assert_int_equal(glmq_graph_problem_count(o.g), 0);
    shut(&o);
    edit_config(&c, "predict_layers\":2", "predict_layers\":0");
    o = must_open(&c, 0); /* stored all the same: they count */
    assert_non_null(problem(o.g, "mtp-undeclared"));
    assert_int_equal(o.g->hp->mtp_layers, 2);
    shut(&o);
    take_away_all(&c, "model.layers.3.");
    take_away_all(&c, "model.layers.4.");
    o = must_open(&c, 0);
    assert_int_equal(glmq_graph_problem_count(o.g), 0);
    shut(&o);
    discard(&c);
}

static void finds_mtp_that_the_index_forgot(void **state)
{
    static const char index[] = "model.safetensors.index.json";
    checkpoint c = make_model(GLM4, 4), mtp = { 0 };
    char path[512], from[512], text[16384];
    size_t n;
    opened o;

    (void)state;
    take_away_all(&c, "model.layers.3.");
    add_decoder(&mtp, GLM4, 3, 4);
    save(&mtp);
    save(&c);
    snprintf(from, sizeof from, "%s/model.safetensors", mtp.folder);
    snprintf(path, sizeof path, "%s/mtp.safetensors", c.folder);
    assert_int_equal(rename(from, path), 0);
    n = (size_t)snprintf(text, sizeof text, "{\"metadata\":{},\"weight_map\":{");
    for (size_t i = 0; i < c.count; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s\"%s\":\"model.safetensors\"",
                              i ? "," : "", c.at[i].name);
    snprintf(text + n, sizeof text - n, "}}");
    write_file(c.folder, index, text, strlen(text));
    o = open_folder(c.folder, 0);
    if (o.status) fail_msg("%s", o.err.msg);
    assert_int_equal(glmq_graph_count(o.g), c.count + mtp.count);
    assert_null(problem(o.g, "mtp-absent"));
    assert_int_equal(glmq_graph_problem_count(o.g), 1);
    shut(&o);
    snprintf(path, sizeof path, "%s/%s", c.folder, index);
    unlink(path);
    discard(&mtp);
    discard(&c);
}

static void keeps_indexers_of_shared_layers(void **state)
{
    checkpoint c = make_model(DSA, 4);
    opened o;

    (void)state;
    add_indexer(&c, 2);
    o = must_open(&c, 0);
    assert_int_equal(problems(o.g, "indexer-unused"), 1);
    assert_int_equal(problem(o.g, "indexer-unused")->severity, GLMQ_NOTE);
    assert_int_equal(glmq_graph_count(o.g), c.count);
    shut(&o);
    discard(&c);
}

static void names_both_shapes(void **state)
{
    checkpoint c = make_model(LITE, 4);

    (void)state;
    reshape(find(&c, "model.layers.1.self_attn.kv_b_proj.weight"), 2, 40, 8);
    must_refuse(&c, GLMQ_E_FORMAT, "kv_b_proj.weight: shape 40 x 8, expected 44 x 8");
}

static void counts_experts_against_the_config(void **state)
{
    checkpoint c = make_model(LITE, 6);

    (void)state;
    edit_config(&c, "\"n_routed_experts\":6", "\"n_routed_experts\":4");
    must_refuse(&c, GLMQ_E_FORMAT, "rows for 6 experts, the config has 4");
}

static void opens_pruned_models_layer_by_layer(void **state)
{
    checkpoint c = make_model(LITE, 6);
    opened o;

    (void)state;
    take_away_all(&c, "model.layers.2.mlp.experts.4.");
    take_away_all(&c, "model.layers.2.mlp.experts.5.");
    reshape(find(&c, "model.layers.2.mlp.gate.weight"), 2, 4, T_H);
    reshape(find(&c, "model.layers.2.mlp.gate.e_score_correction_bias"), 1, 4, 0);
    edit_config(&c, "\"hidden_act\":\"silu\"",
                "\"hidden_act\":\"silu\",\"quantization_config\":{\"moe_sparsity_config\":"
                "{\"method\":\"prune\",\"num_experts\":[null,null,4]}}");
    o = must_open(&c, 0);
    assert_int_equal(glmq_graph_count(o.g), c.count);
    shut(&o);
    edit_config(&c, "[null,null,4]", "[null,4,4]");
    must_refuse(&c, GLMQ_E_FORMAT, "model.layers.1.mlp");
}

static void tied_tables_need_no_lm_head(void **state)
{
    checkpoint c = make_model(GLM4, 4);
    opened o;

    (void)state;
    take_away(&c, "lm_head.weight");
    edit_config(&c, "embeddings\":false", "embeddings\":true");
    o = must_open(&c, 0);
    shut(&o);
    edit_config(&c, "embeddings\":true", "embeddings\":false");
    must_refuse(&c, GLMQ_E_FORMAT, "lm_head.weight is missing");
}

static void accounts_for_every_array(void **state)
{
    checkpoint c = make_model(GLM4, 4);
    opened o;

    (void)state;
    add(&c, "F32", "model.layers.0.self_attn.rotary_emb.inv_freq", 1, 8, 0, 0);
    add(&c, "BF16", "model.layers.0.self_attn.strange.weight", 2, 4, 4, 0);
    add(&c, "I64", "model.strange_counter", 1, 1, 0, 0);
    o = must_open(&c, 0);
    assert_int_equal(glmq_graph_dropped_count(o.g), 2);
    assert_int_equal(o.g->used_count, c.count - 2);
    assert_string_equal(glmq_graph_dropped(o.g, 0)->name,
                        "model.layers.0.self_attn.rotary_emb.inv_freq");
    assert_non_null(glmq_graph_dropped(o.g, 0)->reason);
    assert_string_equal(problem(o.g, "unknown-tensor")->tensor,
                        "model.layers.0.self_attn.strange.weight");
    assert_int_equal(glmq_graph_find(o.g, "model.layers.0.self_attn.strange.weight")->role,
                     GLMQ_ROLE_OTHER);
    shut(&o);
    discard(&c);
}

static void says_that_a_router_bias_was_narrowed(void **state)
{
    checkpoint c = make_model(GLM4, 4);
    stored *s = find(&c, "model.layers.1.mlp.gate.e_score_correction_bias");
    opened o;

    (void)state;
    strcpy(s->dtype, "BF16");
    reshape(s, 1, 4, 0);
    o = must_open(&c, 0);
    assert_int_equal(problem(o.g, "router-bias-narrowed")->severity, GLMQ_ERROR);
    shut(&o);
    discard(&c);
}

static void carries_kv_scales(void **state)
{
    checkpoint c = make_model(GLM4, 4);
    opened o;

    (void)state;
    add(&c, "F32", "model.layers.1.self_attn.k_proj.k_scale", 0, 0, 0, 0);
    add(&c, "F32", "model.layers.1.self_attn.v_scale", 1, 1, 0, 0);
    o = must_open(&c, 0);
    assert_int_equal(glmq_graph_problem_count(o.g), 0);
    assert_int_equal(glmq_graph_find(o.g, "model.layers.1.self_attn.k_scale")->role,
                     GLMQ_ROLE_ATTN_K_SCALE);
    shut(&o);
    discard(&c);
}

static void opens_loose_files_under_their_own_names(void **state)
{
    checkpoint c = { 0 };
    opened o;

    (void)state;
    add(&c, "BF16", "a.weight", 2, 3, 5, 0);
    add(&c, "F32", "b", 1, 7, 0, 0);
    o = must_open(&c, 0);
    assert_int_equal(glmq_graph_count(o.g), 2);
    assert_int_equal(glmq_graph_find(o.g, "a.weight")->rows, 3);
    assert_string_equal(glmq_graph_architecture(o.g), "unknown");
    assert_non_null(problem(o.g, "architecture-unknown"));
    shut(&o);
    discard(&c);
}

static void refuses_companions_of_other_formats_by_name(void **state)
{
    static const char unread[] = "which this version does not read";
    static const char read[] = "which the other arrays are not of";
    static const struct {
        const char *suffix, *format, *why;
    } cases[] = {
        { "W_q", "HQQ", unread },
        { "packed_weight", "a dump of TurboQuant's memory", unread },
        { "codes", "AQLM", read },
        { "SCB", "bitsandbytes", unread },
        { "pre_quant_scale", "ModelOpt's AWQ", unread },
        { "vq_scales", "VQ", read },
        { "trellis", "EXL3", unread },
        { "absmax", "bitsandbytes", unread },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = make_model(GLM4, 4);
        char name[128], words[256];

        snprintf(name, sizeof name, "model.layers.0.mlp.up_proj.%s", cases[i].suffix);
        snprintf(words, sizeof words, "%s: belongs to %s, %s", name, cases[i].format, cases[i].why);
        add(&c, "F32", name, 1, 1, 0, 0);
        must_refuse(&c, GLMQ_E_UNSUPPORTED, words);
    }
}

static void refuses_weights_in_foreign_types(void **state)
{
    checkpoint c = make_model(GLM4, 4);
    stored *s = find(&c, "model.layers.0.mlp.up_proj.weight");

    (void)state;
    strcpy(s->dtype, "F8_E4M3");
    s->bytes /= 2;
    must_refuse(&c, GLMQ_E_UNSUPPORTED, "model.layers.0.mlp.up_proj.weight: F8_E4M3");
}

static void unknown_readers_name_the_nearest(void **state)
{
    checkpoint c = make_model(GLM4, 4);
    glmq_graph_options opt = { .from = "gtpq" };
    opened o = { 0 };

    (void)state;
    assert_int_equal(glmq_source_open(&o.src, save(&c), NULL, &o.err), GLMQ_OK);
    assert_int_equal(glmq_graph_open(&o.g, o.src, &opt, &o.err), GLMQ_E_ARG);
    assert_non_null(strstr(o.err.msg, "gptq"));
    assert_null(o.g);
    opt.from = "gguf";
    assert_int_equal(glmq_graph_open(&o.g, o.src, &opt, &o.err), GLMQ_E_ARG);
    opt.from = "f16"; /* a plain reader takes all plain types */
    assert_int_equal(glmq_graph_open(&o.g, o.src, &opt, &o.err), GLMQ_OK);
    shut(&o);
    discard(&c);
}

static void decodes_any_run_of_rows(void **state)
{
    checkpoint c = make_model(LITE, 4);
    opened o = must_open(&c, 0);
    const glmq_tensor *t = glmq_graph_find(o.g, "model.embed_tokens.weight");
    const stored *s = find(&c, "model.embed_tokens.weight");
    float w[T_V * T_H];

    (void)state;
    for (uint64_t row = 0; row < T_V; row += 5) {
        const uint64_t rows = row + 7 <= T_V ? 7 : T_V - row;
        assert_int_equal(glmq_tensor_decode(o.g, t, row, rows, w, &o.err), GLMQ_OK);
        for (uint64_t i = 0; i < rows * T_H; i++)
            assert_true(w[i] == bf16(s->data + 2 * (row * T_H + i)));
    }
    assert_int_equal(glmq_tensor_decode(o.g, t, T_V - 1, 2, w, &o.err), GLMQ_E_ARG);
    assert_int_equal(glmq_tensor_decode(o.g, t, UINT64_MAX, 2, w, &o.err), GLMQ_E_ARG);
    shut(&o);
    discard(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tells_full_indexers_by_frequency_and_offset),
        cmocka_unit_test(takes_the_published_defaults),
        cmocka_unit_test(names_the_key_that_is_wrong),
        cmocka_unit_test(refuses_absurd_counts_before_using_them),
        cmocka_unit_test(builds_each_of_the_three_models),
        cmocka_unit_test(keeps_tensors_in_order),
        cmocka_unit_test(cuts_fused_experts_apart),
        cmocka_unit_test(digests_are_of_the_values),
        cmocka_unit_test(names_a_missing_tensor),
        cmocka_unit_test(tells_missing_tensors_when_allowed),
        cmocka_unit_test(counts_huge_gaps_without_walking_them),
        cmocka_unit_test(a_whole_mtp_layer_may_be_absent),
        cmocka_unit_test(half_an_mtp_layer_is_refused),
        cmocka_unit_test(mtp_tables_are_optional),
        cmocka_unit_test(takes_two_mtp_layers_or_none),
        cmocka_unit_test(finds_mtp_that_the_index_forgot),
        cmocka_unit_test(keeps_indexers_of_shared_layers),
        cmocka_unit_test(names_both_shapes),
        cmocka_unit_test(counts_experts_against_the_config),
        cmocka_unit_test(opens_pruned_models_layer_by_layer),
        cmocka_unit_test(tied_tables_need_no_lm_head),
        cmocka_unit_test(accounts_for_every_array),
        cmocka_unit_test(says_that_a_router_bias_was_narrowed),
        cmocka_unit_test(carries_kv_scales),
        cmocka_unit_test(opens_loose_files_under_their_own_names),
        cmocka_unit_test(refuses_companions_of_other_formats_by_name),
        cmocka_unit_test(refuses_weights_in_foreign_types),
        cmocka_unit_test(unknown_readers_name_the_nearest),
        cmocka_unit_test(decodes_any_run_of_rows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
