/* Names: what each architecture's table makes of published names, and the way back. */
#include "models/names.h"
#include "models/roles.h"
#include "support.h"

typedef struct {
    const char *model, *name;
    glmq_role role;
    int layer, expert;
    glmq_split split;
} sample;

static const sample hf[] = {
    { "glm4_moe", "model.embed_tokens", GLMQ_ROLE_EMBED, -1, -1, SPLIT_NONE },
    { "glm4_moe", "lm_head", GLMQ_ROLE_LM_HEAD, -1, -1, SPLIT_NONE },
    { "glm4_moe", "model.layers.0.mlp.gate_proj", GLMQ_ROLE_MLP_GATE, 0, -1, SPLIT_NONE },
    { "glm4_moe", "model.layers.91.mlp.gate", GLMQ_ROLE_ROUTER, 91, -1, SPLIT_NONE },
    { "glm4_moe", "model.layers.91.mlp.gate.e_score_correction_bias", GLMQ_ROLE_ROUTER_BIAS, 91, -1,
      SPLIT_NONE },
    { "glm4_moe", "model.layers.3.mlp.experts.159.down_proj", GLMQ_ROLE_EXPERTS_DOWN, 3, 159,
      SPLIT_NONE },
    { "glm4_moe", "model.layers.3.mlp.experts.gate_up_proj", GLMQ_ROLE_EXPERTS_GATE, 3, -1,
      SPLIT_EXPERTS_GATE_UP },
    { "glm4_moe", "model.layers.3.self_attn.q_proj.bias", GLMQ_ROLE_ATTN_Q_BIAS, 3, -1,
      SPLIT_NONE },
    { "glm4_moe", "model.layers.3.self_attn.k_norm", GLMQ_ROLE_ATTN_K_NORM, 3, -1, SPLIT_NONE },
    { "glm4_moe", "model.layers.92.eh_proj", GLMQ_ROLE_MTP_EH_PROJ, 92, -1, SPLIT_NONE },
    { "glm4_moe", "model.layers.92.shared_head.head", GLMQ_ROLE_MTP_HEAD, 92, -1, SPLIT_NONE },
    { "glm4_moe", "model.layers.92.embed_tokens", GLMQ_ROLE_MTP_EMBED, 92, -1, SPLIT_NONE },
    { "glm4_moe", "model.layers.7.self_attn.k_proj.k_scale", GLMQ_ROLE_ATTN_K_SCALE, 7, -1,
      SPLIT_NONE },
    { "glm4_moe_lite", "model.layers.1.self_attn.kv_a_proj_with_mqa", GLMQ_ROLE_ATTN_KV_A, 1, -1,
      SPLIT_NONE },
    { "glm4_moe_lite", "model.layers.1.self_attn.kv_b_proj", GLMQ_ROLE_ATTN_KV_B, 1, -1,
      SPLIT_NONE },
    { "glm4_moe_lite", "model.layers.1.self_attn.q_proj", GLMQ_ROLE_ATTN_Q, 1, -1, SPLIT_NONE },
    { "glm_moe_dsa", "model.layers.78.self_attn.indexer.wq_b", GLMQ_ROLE_INDEXER_Q_B, 78, -1,
      SPLIT_NONE },
    { "glm_moe_dsa", "model.layers.0.self_attn.indexer.k_norm.bias", GLMQ_ROLE_INDEXER_K_NORM_BIAS,
      0, -1, SPLIT_NONE },
    { "glm_moe_dsa", "model.layers.0.self_attn.wk", GLMQ_ROLE_INDEXER_K, 0, -1, SPLIT_NONE },
};

static const sample gguf[] = {
    { "glm4_moe", "token_embd.weight", GLMQ_ROLE_EMBED, -1, -1, SPLIT_NONE },
    { "glm4_moe", "output.weight", GLMQ_ROLE_LM_HEAD, -1, -1, SPLIT_NONE },
    { "glm4_moe", "blk.9.post_attention_norm.weight", GLMQ_ROLE_FFN_NORM, 9, -1, SPLIT_NONE },
    { "glm4_moe_lite", "blk.9.ffn_norm.weight", GLMQ_ROLE_FFN_NORM, 9, -1, SPLIT_NONE },
    { "glm4_moe", "blk.9.ffn_gate_exps.weight", GLMQ_ROLE_EXPERTS_GATE, 9, -1, SPLIT_EXPERTS },
    { "glm4_moe", "blk.9.ffn_gate_up_exps.weight", GLMQ_ROLE_EXPERTS_GATE, 9, -1,
      SPLIT_EXPERTS_GATE_UP },
    { "glm4_moe", "blk.9.ffn_up.127.weight", GLMQ_ROLE_EXPERTS_UP, 9, 127, SPLIT_NONE },
    { "glm4_moe", "blk.9.ffn_up.weight", GLMQ_ROLE_MLP_UP, 9, -1, SPLIT_NONE },
    { "glm4_moe", "blk.9.attn_qkv.bias", GLMQ_ROLE_ATTN_Q_BIAS, 9, -1, SPLIT_QKV },
    { "glm4_moe", "blk.9.exp_probs_b.bias", GLMQ_ROLE_ROUTER_BIAS, 9, -1, SPLIT_NONE },
    { "glm4_moe_lite", "blk.9.attn_k_b.weight", GLMQ_ROLE_ATTN_KV_B, 9, -1, SPLIT_K_B },
    { "glm4_moe_lite", "blk.9.attn_v_b.weight", GLMQ_ROLE_ATTN_KV_B, 9, -1, SPLIT_V_B },
    { "glm4_moe_lite", "blk.9.attn_kv_b.weight", GLMQ_ROLE_ATTN_KV_B, 9, -1, SPLIT_NONE },
    { "glm_moe_dsa", "blk.9.indexer.proj.weight", GLMQ_ROLE_INDEXER_WEIGHTS, 9, -1, SPLIT_NONE },
    { "glm_moe_dsa", "blk.78.nextn.shared_head_norm.weight", GLMQ_ROLE_MTP_NORM, 78, -1,
      SPLIT_NONE },
};

static void check(const sample *s, glmq_ecosystem eco)
{
    glmq_names *n = glmq_names_open(glmq_arch_by_model_type(s->model));
    glmq_name_match m;

    assert_non_null(n);
    if (!glmq_names_match(n, eco, s->name, strlen(s->name), &m)) fail_msg("%s: no match", s->name);
    assert_string_equal(glmq_role_name(m.row->role), glmq_role_name(s->role));
    assert_int_equal(m.layer, s->layer);
    assert_int_equal(m.expert, s->expert);
    assert_int_equal(m.row->split, s->split);
    glmq_names_close(n);
}

static void knows_published_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof hf / sizeof *hf; i++) check(&hf[i], NAMES_HF);
    for (size_t i = 0; i < sizeof gguf / sizeof *gguf; i++) check(&gguf[i], NAMES_GGUF);
}

static void leaves_other_names_alone(void **state)
{
    static const char *const others[] = {
        "",
        ".",
        "model",
        "model.layers.0",
        "model.layers.00.mlp.gate",
        "model.layers.-1.mlp.gate",
        "model.layers.4096.mlp.gate",
        "model.layers.99999999999.mlp.gate",
        "model.layers.{L}.mlp.gate",
        "model.layers.1.mlp.experts.{E}.up_proj",
        "model.layers.1.mlp.experts.65536.up_proj",
        "model.layers.1.mlp.experts.01.up_proj",
        "model.layers.1.mlp.experts..up_proj",
        "Model.layers.1.mlp.gate",
        "model.layers.1.mlp.gate.",
        "blk.1.attn_q.weight",
        "model.layers.1.self_attn.kv_b_proj",
        "model.layers.1.2.mlp.gate",
    };
    glmq_names *n = glmq_names_open(glmq_arch_by_model_type("glm4_moe"));
    char long_name[4096];
    glmq_name_match m;

    (void)state;
    assert_non_null(n);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        if (glmq_names_match(n, NAMES_HF, others[i], strlen(others[i]), &m))
            fail_msg("%s should not match", others[i]);
    memset(long_name, 'a', sizeof long_name);
    assert_int_equal(glmq_names_match(n, NAMES_HF, long_name, sizeof long_name, &m), 0);
    glmq_names_close(n);
}

static void prints_the_names_that_writers_use(void **state)
{
    static const struct {
        const char *model, *name;
        glmq_ecosystem eco;
        glmq_role role;
        glmq_split split;
        int layer, expert;
    } cases[] = {
        { "glm4_moe", "model.layers.45.mlp.experts.127.up_proj", NAMES_HF, GLMQ_ROLE_EXPERTS_UP,
          SPLIT_NONE, 45, 127 },
        { "glm4_moe", "lm_head", NAMES_HF, GLMQ_ROLE_LM_HEAD, SPLIT_NONE, -1, -1 },
        { "glm_moe_dsa", "model.layers.0.self_attn.indexer.wk", NAMES_HF, GLMQ_ROLE_INDEXER_K,
          SPLIT_NONE, 0, -1 },
        { "glm4_moe", "blk.45.ffn_up_exps.weight", NAMES_GGUF, GLMQ_ROLE_EXPERTS_UP, SPLIT_EXPERTS,
          45, -1 },
        { "glm4_moe", "blk.1.post_attention_norm.weight", NAMES_GGUF, GLMQ_ROLE_FFN_NORM,
          SPLIT_NONE, 1, -1 },
        { "glm_moe_dsa", "blk.1.attn_k_b.weight", NAMES_GGUF, GLMQ_ROLE_ATTN_KV_B, SPLIT_K_B, 1,
          -1 },
        { "glm_moe_dsa", "blk.1.attn_v_b.weight", NAMES_GGUF, GLMQ_ROLE_ATTN_KV_B, SPLIT_V_B, 1,
          -1 },
        { "glm4_moe_lite", "blk.47.nextn.eh_proj.weight", NAMES_GGUF, GLMQ_ROLE_MTP_EH_PROJ,
          SPLIT_NONE, 47, -1 },
        { "glm4_moe", "", NAMES_HF, GLMQ_ROLE_ATTN_KV_B, SPLIT_NONE, 1, -1 },
        { "glm4_moe_lite", "", NAMES_GGUF, GLMQ_ROLE_ATTN_O_BIAS, SPLIT_NONE, 1, -1 },
    };
    char text[128], small[8];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const glmq_arch *arch = glmq_arch_by_model_type(cases[i].model);
        const size_t n = glmq_names_print(arch, cases[i].eco, cases[i].role, cases[i].split,
                                          cases[i].layer, cases[i].expert, text, sizeof text);
        assert_int_equal(n, strlen(cases[i].name));
        if (n) assert_string_equal(text, cases[i].name);
        if (n)
            assert_int_equal(glmq_names_print(arch, cases[i].eco, cases[i].role, cases[i].split,
                                              cases[i].layer, cases[i].expert, small,
                                              n < sizeof small ? n : sizeof small),
                             0);
    }
}

static void knows_names_with_a_suffix(void **state)
{
    static const char *const known[] = {
        "model.layers.1.mlp.gate_proj.weight_packed",
        "model.layers.1.mlp.gate_proj.weight",
        "model.layers.1.mlp.gate_proj.g_idx",
        "model.layers.3.eh_proj.weight",
        "lm_head.weight",
        "model.layers.1.mlp.gate.e_score_correction_bias",
    };
    static const char *const unknown[] = {
        "consolidated.weight", "model.layers.1.mlp.nothing.weight", "lora_A.weight", "weight", "",
    };
    glmq_names *n = glmq_names_open(glmq_arch_by_model_type("glm4_moe"));

    (void)state;
    assert_non_null(n);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_true(glmq_names_known(n, known[i], strlen(known[i])));
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        assert_false(glmq_names_known(n, unknown[i], strlen(unknown[i])));
    glmq_names_close(n);
}

static void every_role_has_its_own_name(void **state)
{
    glmq_role found;

    (void)state;
    for (int r = 0; r < GLMQ_ROLE_COUNT; r++) {
        assert_true(glmq_role_find(glmq_role_name((glmq_role)r), &found));
        assert_int_equal(found, r);
    }
    assert_false(glmq_role_find("experts", &found));
    assert_true(glmq_role_is_matrix(GLMQ_ROLE_ROUTER));
    assert_false(glmq_role_is_matrix(GLMQ_ROLE_ROUTER_BIAS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(knows_published_names),
        cmocka_unit_test(leaves_other_names_alone),
        cmocka_unit_test(prints_the_names_that_writers_use),
        cmocka_unit_test(knows_names_with_a_suffix),
        cmocka_unit_test(every_role_has_its_own_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
