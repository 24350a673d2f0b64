/* Which GGUF type a tensor gets, by tensors made here. */
#include "support.h"

#include "codecs/codec.h"
#include "writers/gguf_out.h"

typedef struct model {
    glmq_hparams hp;
    glmq_catalog cat;
    glmq_graph g;
    glmq_tensor head[1];
    uint8_t full[3];
} model;

/* A graph of no tensors but an output table. */
static void make(model *m, const char *type, uint64_t experts)
{
    memset(m, 0, sizeof *m);
    m->hp.arch = glmq_arch_by_model_type(type);
    m->hp.layers = 3;
    m->hp.experts = experts;
    m->hp.qk_nope = 64;
    m->full[0] = 1;
    m->hp.indexer_full = m->full;
    m->head[0] = (glmq_tensor){ .role = GLMQ_ROLE_LM_HEAD, .layer = -1 };
    m->g.hp = &m->hp;
    m->g.catalog = &m->cat;
    m->g.tensors = m->head;
    m->g.count = 1;
}

static glmq_encoding gptq(uint8_t bits, uint32_t group, int asymmetric, int act_order)
{
    glmq_encoding e = { .codec = glmq_codec_find("gptq"),
                        .bits = bits,
                        .group = group,
                        .group_rows = 1,
                        .scale_dtype = GLMQ_DT_F16 };
    e.zero_kind = asymmetric ? GLMQ_ZERO_STORED : GLMQ_ZERO_MID;
    e.act_order = (uint8_t)act_order;
    return e;
}

/* Chooses for one tensor of 64 rows; *want says what the rules said. */
static glmq_status choose(model *m, const char *to, glmq_role role, const glmq_encoding *from,
                          uint64_t cols, glmq_want *want, glmq_error *err)
{
    glmq_part part = { .enc = *from, .rows = 64, .cols = cols, .cut = { 1, 64, 0, 64, 0 } };
    const glmq_tensor x = { .name = "x",
                            .role = role,
                            .layer = 1,
                            .expert = -1,
                            .rank = 2,
                            .parts = 1,
                            .rows = 64,
                            .cols = cols,
                            .part = &part };
    glmq_target t = { .file_type = -1 };
    assert_int_equal(glmq_gguf_target(&t, to, err), GLMQ_OK);
    return glmq_gguf_choose(&t, &m->g, &x, want, err);
}

static glmq_dtype chosen(model *m, const char *to, glmq_role role, const glmq_encoding *from,
                         uint64_t cols, const char **reason)
{
    glmq_want want = { 0 };
    glmq_error err = { 0 };
    if (choose(m, to, role, from, cols, &want, &err)) fail_msg("%s", err.msg);
    assert_false(want.dropped);
    *reason = want.reason;
    return glmq_encoding_dtype(&want.enc);
}

static void finds_the_type_that_holds_the_integers(void **state)
{
    static const struct {
        uint8_t bits, asymmetric, act_order;
        uint32_t group;
        uint64_t cols;
        glmq_dtype to;
        int explained;
    } cases[] = {
        { 4, 0, 0, 32, 128, GLMQ_DT_Q4_0, 0 }, { 4, 0, 0, 128, 128, GLMQ_DT_Q4_0, 0 },
        { 4, 0, 0, 0, 96, GLMQ_DT_Q4_0, 0 },   { 4, 1, 0, 32, 128, GLMQ_DT_Q8_0, 0 },
        { 8, 0, 0, 32, 128, GLMQ_DT_Q8_0, 0 }, { 4, 0, 1, 32, 128, GLMQ_DT_Q8_0, 1 },
        { 4, 0, 0, 40, 160, GLMQ_DT_Q8_0, 1 }, { 4, 0, 0, 40, 40, GLMQ_DT_F16, 1 },
        { 4, 0, 0, 16, 128, GLMQ_DT_Q8_0, 1 },
    };
    model m;
    const char *why;
    (void)state;
    make(&m, "glm4_moe", 160);
    m.g.quantized = 1;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const glmq_encoding e =
            gptq(cases[i].bits, cases[i].group, cases[i].asymmetric, cases[i].act_order);
        assert_int_equal(chosen(&m, "auto", GLMQ_ROLE_ATTN_Q, &e, cases[i].cols, &why),
                         cases[i].to);
        assert_int_equal(why != NULL, cases[i].explained);
    }
}

/* Some tools store a g_idx that says what the order of the columns says. */
static void does_not_mind_a_trivial_g_idx(void **state)
{
    const glmq_encoding e = gptq(4, 32, 0, GLMQ_ACT_TRIVIAL);
    model m;
    const char *why;
    (void)state;
    make(&m, "glm4_moe", 160);
    m.g.quantized = 1;
    assert_int_equal(chosen(&m, "auto", GLMQ_ROLE_ATTN_Q, &e, 128, &why), GLMQ_DT_Q4_0);
}

static void leaves_plain_what_the_maker_left_plain(void **state)
{
    const glmq_encoding bf16 = glmq_encoding_of_dtype(GLMQ_DT_BF16), e = gptq(4, 32, 0, 0);
    model m;
    const char *why;
    (void)state;
    make(&m, "glm4_moe", 160);
    m.g.quantized = 1;
    assert_int_equal(chosen(&m, "Q4_0", GLMQ_ROLE_LM_HEAD, &bf16, 128, &why), GLMQ_DT_BF16);
    assert_int_equal(chosen(&m, "Q4_0", GLMQ_ROLE_ROUTER, &bf16, 128, &why), GLMQ_DT_F32);
    assert_int_equal(chosen(&m, "Q4_0", GLMQ_ROLE_ROUTER, &e, 128, &why), GLMQ_DT_Q4_0);
    assert_int_equal(chosen(&m, "BF16", GLMQ_ROLE_ATTN_Q, &e, 128, &why), GLMQ_DT_BF16);
}

/* gguf-glm.md 5: Q6_K for output.weight, Q8_0 for v and k of models with 8 experts. */
static void follows_the_rules_of_llama_cpp_for_a_plain_source(void **state)
{
    static const struct {
        const char *to;
        uint64_t experts;
        glmq_role role;
        uint64_t cols;
        glmq_dtype is;
    } cases[] = {
        { "Q4_0", 160, GLMQ_ROLE_LM_HEAD, 128, GLMQ_DT_Q8_0 },
        { "Q4_0", 160, GLMQ_ROLE_EMBED, 128, GLMQ_DT_Q4_0 },
        { "Q4_0", 160, GLMQ_ROLE_ATTN_V, 128, GLMQ_DT_Q4_0 },
        { "Q4_0", 8, GLMQ_ROLE_ATTN_V, 128, GLMQ_DT_Q8_0 },
        { "Q5_1", 8, GLMQ_ROLE_ATTN_K, 128, GLMQ_DT_Q8_0 },
        { "Q5_1", 8, GLMQ_ROLE_ATTN_Q, 128, GLMQ_DT_Q5_1 },
        { "Q4_1", 160, GLMQ_ROLE_ROUTER, 128, GLMQ_DT_F32 },
        { "Q4_1", 160, GLMQ_ROLE_SHARED_UP, 128, GLMQ_DT_Q4_1 },
        { "Q4_1", 160, GLMQ_ROLE_SHARED_UP, 72, GLMQ_DT_F16 },
        { "F16", 160, GLMQ_ROLE_SHARED_UP, 72, GLMQ_DT_F16 },
        { "F16", 8, GLMQ_ROLE_ATTN_V, 128, GLMQ_DT_F16 },
        { "auto", 8, GLMQ_ROLE_ATTN_V, 128, GLMQ_DT_BF16 },
    };
    const glmq_encoding bf16 = glmq_encoding_of_dtype(GLMQ_DT_BF16);
    model m;
    const char *why;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make(&m, "glm4_moe", cases[i].experts);
        if (chosen(&m, cases[i].to, cases[i].role, &bf16, cases[i].cols, &why) != cases[i].is)
            fail_msg("case %zu", i);
    }
    make(&m, "glm4_moe", 160);
    m.g.count = 0; /* tied: the embedding is the output table too */
    assert_int_equal(chosen(&m, "Q4_0", GLMQ_ROLE_EMBED, &bf16, 128, &why), GLMQ_DT_Q8_0);
}

static void keeps_vectors_f32_whatever_a_rule_says(void **state)
{
    const glmq_encoding bf16 = glmq_encoding_of_dtype(GLMQ_DT_BF16);
    glmq_part part = { .enc = bf16, .rows = 1, .cols = 64, .cut = { 1, 1, 0, 1, 0 } };
    const glmq_tensor x = { .name = "x",
                            .role = GLMQ_ROLE_ATTN_NORM,
                            .layer = 1,
                            .expert = -1,
                            .rank = 1,
                            .parts = 1,
                            .rows = 1,
                            .cols = 64,
                            .part = &part };
    glmq_want want = { .kind = WANT_ENC, .enc = glmq_encoding_of_dtype(GLMQ_DT_Q8_0) };
    glmq_target t = { .file_type = -1 };
    model m;
    (void)state;
    make(&m, "glm4_moe", 160);
    assert_int_equal(glmq_gguf_choose(&t, &m.g, &x, &want, NULL), GLMQ_OK);
    assert_int_equal(glmq_encoding_dtype(&want.enc), GLMQ_DT_F32);
    assert_non_null(want.reason);
}

static void refuses_an_encoding_that_no_gguf_has(void **state)
{
    const glmq_encoding bf16 = glmq_encoding_of_dtype(GLMQ_DT_BF16);
    glmq_want want = { .kind = WANT_ENC, .enc = gptq(4, 32, 0, 0) };
    glmq_error err = { 0 };
    model m;
    (void)state;
    make(&m, "glm4_moe", 160);
    assert_int_equal(choose(&m, "auto", GLMQ_ROLE_ATTN_Q, &bf16, 64, &want, &err),
                     GLMQ_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "a GGUF cannot store gptq:"));
}

static void drops_what_llama_cpp_would_not_load(void **state)
{
    static const glmq_role gone[] = { GLMQ_ROLE_ATTN_K_SCALE, GLMQ_ROLE_OTHER,
                                      GLMQ_ROLE_INDEXER_K };
    const glmq_encoding bf16 = glmq_encoding_of_dtype(GLMQ_DT_BF16);
    glmq_error err = { 0 };
    model m;
    (void)state;
    make(&m, "glm_moe_dsa", 160);
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        glmq_want want = { 0 };
        assert_int_equal(choose(&m, "auto", gone[i], &bf16, 64, &want, &err), GLMQ_OK);
        assert_true(want.dropped);
        assert_non_null(want.reason);
    }
    m.full[1] = 1; /* the indexer of a full layer stays */
    {
        glmq_want want = { 0 };
        assert_int_equal(choose(&m, "auto", GLMQ_ROLE_INDEXER_K, &bf16, 64, &want, &err), GLMQ_OK);
        assert_false(want.dropped);
    }
}

/* Dropping a bias would change the model without a word. */
static void refuses_a_bias_that_llama_cpp_has_no_place_for(void **state)
{
    const glmq_encoding bf16 = glmq_encoding_of_dtype(GLMQ_DT_BF16);
    glmq_want want = { 0 };
    glmq_error err = { 0 };
    model m;
    (void)state;
    make(&m, "glm4_moe_lite", 64);
    assert_int_equal(choose(&m, "auto", GLMQ_ROLE_ATTN_Q_A_BIAS, &bf16, 64, &want, &err),
                     GLMQ_E_UNSUPPORTED);
    assert_string_equal(err.msg, "llama.cpp's deepseek2 has no attention.q_a_bias");
}

/* attn_k_b of a quantized kv_b: only F32 holds what its transposed codes decode to. */
static void stores_the_transposed_half_of_quantized_kv_b_as_f32(void **state)
{
    glmq_part part = {
        .enc = gptq(4, 32, 0, 0), .rows = 64, .cols = 64, .cut = { 1, 64, 0, 64, 0 }
    };
    const glmq_tensor x = { .name = "x",
                            .role = GLMQ_ROLE_ATTN_KV_B,
                            .layer = 1,
                            .expert = -1,
                            .rank = 2,
                            .parts = 1,
                            .rows = 64,
                            .cols = 64,
                            .part = &part };
    glmq_target t = { .file_type = -1 };
    glmq_want k = { 0 }, v = { 0 };
    model m;
    (void)state;
    make(&m, "glm_moe_dsa", 160);
    m.g.quantized = 1;
    assert_int_equal(glmq_gguf_choose_half(&t, &m.g, &x, GGUF_K_B, &k, NULL), GLMQ_OK);
    assert_int_equal(glmq_gguf_choose_half(&t, &m.g, &x, GGUF_V_B, &v, NULL), GLMQ_OK);
    assert_int_equal(glmq_encoding_dtype(&k.enc), GLMQ_DT_F32);
    assert_int_equal(glmq_encoding_dtype(&v.enc), GLMQ_DT_Q4_0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_type_that_holds_the_integers),
        cmocka_unit_test(does_not_mind_a_trivial_g_idx),
        cmocka_unit_test(leaves_plain_what_the_maker_left_plain),
        cmocka_unit_test(follows_the_rules_of_llama_cpp_for_a_plain_source),
        cmocka_unit_test(keeps_vectors_f32_whatever_a_rule_says),
        cmocka_unit_test(refuses_an_encoding_that_no_gguf_has),
        cmocka_unit_test(drops_what_llama_cpp_would_not_load),
        cmocka_unit_test(refuses_a_bias_that_llama_cpp_has_no_place_for),
        cmocka_unit_test(stores_the_transposed_half_of_quantized_kv_b_as_f32),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
