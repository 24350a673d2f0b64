/* The full validation of checkpoints put together by hand: companions that are missing or
 * misshapen, values of every kind of storage, and what tensors are to each other. */
#include "unit/model_files.h"
#include "glmq/glmq.h"
#include "readers/reader.h"
#include "verify/check.h"

static const char up[] = "model.layers.1.mlp.experts.0.up_proj.weight";

typedef struct checked {
    glmq_source *src;
    glmq_graph *g;
    glmq_check c;
} checked;

/* Opens as glmq-inspect --check does. */
static checked check(checkpoint *c)
{
    const glmq_graph_options how = { .allow_incomplete = 1, .tolerate = 1 };
    const glmq_digest_options opt = { .jobs = 2 };
    checked x = { 0 };
    glmq_error err;

    if (glmq_source_open(&x.src, save(c), NULL, &err) || glmq_graph_open(&x.g, x.src, &how, &err) ||
        glmq_check_run(&x.c, x.g, &opt, &err))
        fail_msg("%s", err.msg);
    return x;
}

static void finish(checked *x, checkpoint *c)
{
    glmq_check_free(&x->c);
    glmq_graph_close(x->g);
    glmq_source_close(x->src);
    discard(c);
}

static size_t count(const checked *x, const char *code)
{
    size_t n = 0;
    for (size_t i = 0; i < x->c.count; i++) n += strcmp(x->c.at[i].code, code) == 0;
    return n;
}

static int is_text(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* There is this problem, once, at this tensor, with these words. */
static void has(const checked *x, glmq_severity severity, const char *code, const char *tensor,
                const char *words)
{
    size_t n = 0;

    for (size_t i = 0; i < x->c.count; i++) {
        const glmq_problem *p = &x->c.at[i];
        if (strcmp(p->code, code) || !is_text(p->tensor, tensor) || !strstr(p->message, words))
            continue;
        assert_int_equal(p->severity, severity);
        n++;
    }
    if (n == 1) return;
    for (size_t i = 0; i < x->c.count; i++)
        print_message("%s: %s: %s\n", x->c.at[i].code, x->c.at[i].tensor, x->c.at[i].message);
    fail_msg("%zu times %s with \"%s\"", n, code, words);
}

/* Nothing worse than a note. */
static void is_clean(const checked *x)
{
    for (size_t i = 0; i < x->c.count; i++)
        if (x->c.at[i].severity != GLMQ_NOTE)
            fail_msg("%s: %s", x->c.at[i].code, x->c.at[i].message);
}

/* Puts `quant` into the config, as its quantization_config. */
static void say_quantized(checkpoint *c, const char *quant)
{
    char text[1200];

    snprintf(text, sizeof text, "{\"quantization_config\":%s,", quant);
    edit_config(c, "{", text);
}

/* Stores a matrix as FP8 with one scale a block of 16 x 16. */
static void to_fp8(checkpoint *c, const char *name)
{
    const stored was = *find(c, name);
    char scale[200];

    take_away(c, name);
    stored *w = add(c, "F8_E4M3", name, 2, was.dims[0], was.dims[1], 0);
    for (size_t i = 0; i < w->bytes; i++) w->data[i] = (uint8_t)(i % 0x70 + 1); /* no NaN */
    snprintf(scale, sizeof scale, "%s_scale_inv", name);
    add(c, "F32", scale, 2, (was.dims[0] + 15) / 16, (was.dims[1] + 15) / 16, 0);
}

static const char fp8[] = "{\"quant_method\":\"fp8\",\"weight_block_size\":[16,16]}";

static checkpoint make_fp8(void)
{
    checkpoint c = make_model(GLM4, 2);

    say_quantized(&c, fp8);
    to_fp8(&c, up);
    to_fp8(&c, "model.layers.1.mlp.experts.1.up_proj.weight");
    return c;
}

static stored *scale_of(checkpoint *c, const char *name)
{
    char scale[200];
    snprintf(scale, sizeof scale, "%s_scale_inv", name);
    return find(c, scale);
}

static void sound_models_are_clean(void **state)
{
    checkpoint c[] = { make_model(GLM4, 2), make_model(LITE, 2), make_model(DSA, 2), make_fp8() };

    (void)state;
    for (size_t i = 0; i < sizeof c / sizeof *c; i++) {
        checked x = check(&c[i]);
        is_clean(&x);
        finish(&x, &c[i]);
    }
}

/* ---- companions ---- */

static void tells_a_missing_scale_and_looks_at_the_rest(void **state)
{
    checkpoint c = make_fp8();
    char scale[200];

    (void)state;
    snprintf(scale, sizeof scale, "%s_scale_inv", up);
    take_away(&c, scale);
    find(&c, "model.norm.weight")->data[3] = 0x7f; /* 0x7f.. is NaN */
    find(&c, "model.norm.weight")->data[2] = 0xc0;
    checked x = check(&c);
    has(&x, GLMQ_ERROR, "missing-companion", up, "up_proj.weight_scale_inv is missing");
    has(&x, GLMQ_ERROR, "value-not-finite", "model.norm.weight", "1 of 32 values");
    assert_int_equal(count(&x, "missing-tensor"), 0); /* it is there, after all */
    assert_null(glmq_graph_find(x.g, up));
    finish(&x, &c);
}

static void tells_a_missing_weight(void **state)
{
    checkpoint c = make_fp8();

    (void)state;
    take_away(&c, up);
    checked x = check(&c);
    has(&x, GLMQ_ERROR, "missing-companion", up, "its weight is missing");
    finish(&x, &c);
}

static void tells_a_misshapen_scale(void **state)
{
    checkpoint c = make_fp8();

    (void)state;
    reshape(scale_of(&c, up), 2, 3, 3);
    checked x = check(&c);
    has(&x, GLMQ_ERROR, "bad-tensor", up, "3 x 3 scales for 16 x 32 weights");
    assert_int_equal(x.c.errors, 1);
    finish(&x, &c);
}

static void tells_a_tensor_of_another_shape(void **state)
{
    checkpoint c = make_model(GLM4, 2);

    (void)state;
    reshape(find(&c, up), 2, 16, 16);
    checked x = check(&c);
    has(&x, GLMQ_ERROR, "bad-tensor", up, "shape 16 x 16, expected 16 x 32");
    assert_int_equal(x.c.errors, 1);
    finish(&x, &c);
}

static void tells_an_expert_too_many(void **state)
{
    static const char third[] = "model.layers.1.mlp.experts.2.up_proj.weight";
    checkpoint c = make_model(GLM4, 2);

    (void)state;
    add(&c, "BF16", third, 2, 16, 32, 0);
    checked x = check(&c);
    has(&x, GLMQ_ERROR, "bad-tensor", third, "layer 1 has 2 experts by the config");
    finish(&x, &c);
}

static void refuses_it_all_when_not_told_to_tolerate(void **state)
{
    const glmq_graph_options how = { .allow_incomplete = 1 };
    checkpoint c = make_fp8();
    glmq_source *src;
    glmq_graph *g;
    glmq_error err;

    (void)state;
    reshape(scale_of(&c, up), 2, 3, 3);
    assert_int_equal(glmq_source_open(&src, save(&c), NULL, &err), GLMQ_OK);
    assert_int_equal(glmq_graph_open(&g, src, &how, &err), GLMQ_E_FORMAT);
    assert_non_null(strstr(err.msg, "3 x 3 scales"));
    glmq_source_close(src);
    discard(&c);
}

static void tells_zero_and_unfinite_scales_of_fp8(void **state)
{
    static const char other[] = "model.layers.1.mlp.experts.1.up_proj.weight";
    const uint8_t nan[4] = { 0, 0, 0xc0, 0x7f };
    checkpoint c = make_fp8();

    (void)state;
    memset(scale_of(&c, up)->data + 4, 0, 4); /* of the second block */
    memcpy(scale_of(&c, other)->data, nan, 4);
    checked x = check(&c);
    has(&x, GLMQ_ERROR, "scale-not-positive", up, "block 0, 1 is no finite positive number");
    has(&x, GLMQ_ERROR, "scale-not-finite", other,
        "1 of 2 scales are NaN or infinite; the first is number 0");
    assert_int_equal(x.c.errors, 2);
    finish(&x, &c);
}

static void tells_a_code_that_is_no_number(void **state)
{
    checkpoint c = make_fp8();

    (void)state;
    find(&c, up)->data[32 * 2 + 5] = 0xff;
    checked x = check(&c);
    has(&x, GLMQ_ERROR, "bad-tensor", up, "code 0xff of row 2, column 5 is not a number");
    finish(&x, &c);
}

/* ---- values ---- */

static void tells_values_that_are_not_finite(void **state)
{
    checkpoint c = make_model(GLM4, 2);
    stored *w = find(&c, "lm_head.weight");

    (void)state;
    w->data[2 * (32 * 5 + 7)] = 0x80; /* row 5, column 7: BF16 infinity */
    w->data[2 * (32 * 5 + 7) + 1] = 0xff;
    w->data[2 * (32 * 6) + 1] = 0x7f; /* 0x7f.. with a mantissa: NaN */
    w->data[2 * (32 * 6)] = 0xc1;
    checked x = check(&c);
    has(&x, GLMQ_ERROR, "value-not-finite", "lm_head.weight",
        "1 values are NaN and 1 infinite; the first at row 5, column 7");
    finish(&x, &c);
}

static void says_that_f16_overflowed(void **state)
{
    checkpoint c = make_model(GLM4, 2);
    stored *w = find(&c, "lm_head.weight");

    (void)state;
    strcpy(w->dtype, "F16");
    w->data[0] = 0;
    w->data[1] = 0x7c;
    checked x = check(&c);
    has(&x, GLMQ_ERROR, "value-not-finite", "lm_head.weight", "F16 holds nothing beyond 65504");
    finish(&x, &c);
}

static void notes_what_f16_could_not_hold(void **state)
{
    checkpoint c = make_model(GLM4, 2);
    stored *w = find(&c, "lm_head.weight");

    (void)state;
    w->data[0] = 0x80; /* BF16 65536 */
    w->data[1] = 0x47;
    checked x = check(&c);
    has(&x, GLMQ_NOTE, "beyond-f16", "lm_head.weight", "magnitudes up to 65536");
    is_clean(&x);
    finish(&x, &c);
}

static void tells_of_a_routing_bias_in_bf16(void **state)
{
    static const char bias[] = "model.layers.1.mlp.gate.e_score_correction_bias";
    checkpoint c = make_model(GLM4, 4);
    stored *w = find(&c, bias);

    (void)state;
    strcpy(w->dtype, "BF16");
    w->bytes = 8;
    memcpy(w->data, (uint8_t[]){ 0x00, 0x41, 0x00, 0x41, 0x01, 0x41, 0x01, 0x41 }, 8);
    checked x = check(&c);
    has(&x, GLMQ_ERROR, "router-bias-narrowed", bias, "stored as BF16, published as F32");
    has(&x, GLMQ_ERROR, "router-bias-collapsed", bias, "4 values, 2 distinct");
    finish(&x, &c);
}

static void warns_of_quantized_routers_and_indexers(void **state)
{
    static const char router[] = "model.layers.1.mlp.gate.weight";
    static const char weights[] = "model.layers.1.self_attn.indexer.weights_proj.weight";
    checkpoint c = make_model(DSA, 2);

    (void)state;
    say_quantized(&c, fp8);
    to_fp8(&c, router);
    to_fp8(&c, weights);
    checked x = check(&c);
    has(&x, GLMQ_WARNING, "router-quantized", router, "the router is quantized");
    has(&x, GLMQ_WARNING, "indexer-quantized", weights, "are quantized");
    finish(&x, &c);
}

/* ---- global scales ---- */

/* Stores a matrix as ModelOpt's NVFP4, with this scale for all of it. */
static void to_nvfp4(checkpoint *c, const char *name, float global)
{
    const stored was = *find(c, name);
    char scale[200];
    stored *w;

    take_away(c, name);
    add(c, "U8", name, 2, was.dims[0], was.dims[1] / 2, 0);
    snprintf(scale, sizeof scale, "%s_scale", name);
    w = add(c, "F8_E4M3", scale, 2, was.dims[0], was.dims[1] / 16, 0);
    memset(w->data, 0x38, w->bytes);
    snprintf(scale, sizeof scale, "%s_scale_2", name);
    memcpy(add(c, "F32", scale, 0, 0, 0, 0)->data, &global, 4);
}

static checkpoint make_nvfp4(float gate, float up0, float up1)
{
    checkpoint c = make_model(GLM4, 2);

    say_quantized(&c, "{\"quant_method\":\"modelopt\",\"quant_algo\":\"NVFP4\"}");
    to_nvfp4(&c, "model.layers.1.mlp.experts.0.gate_proj.weight", gate);
    to_nvfp4(&c, up, up0);
    to_nvfp4(&c, "model.layers.1.mlp.experts.1.gate_proj.weight", gate);
    to_nvfp4(&c, "model.layers.1.mlp.experts.1.up_proj.weight", up1);
    to_nvfp4(&c, "model.layers.1.self_attn.q_proj.weight", gate);
    to_nvfp4(&c, "model.layers.1.self_attn.k_proj.weight", gate);
    to_nvfp4(&c, "model.layers.1.self_attn.v_proj.weight", up0);
    return c;
}

static void equal_global_scales_are_clean(void **state)
{
    checkpoint c;

    (void)state;
    c = make_nvfp4(0.5f, 0.5f, 0.5f);
    checked x = check(&c);
    assert_int_equal(count(&x, "global-scales-unequal"), 0);
    assert_int_equal(x.c.errors, 0);
    finish(&x, &c);
}

static void tells_the_worst_of_unequal_global_scales(void **state)
{
    checkpoint c;

    (void)state;
    c = make_nvfp4(0.5f, 1.0f, 4.0f);
    checked x = check(&c);
    assert_int_equal(count(&x, "global-scales-unequal"), 2);
    has(&x, GLMQ_WARNING, "global-scales-unequal", "model.layers.1.mlp.experts.1.gate_proj.weight",
        "of gate and up differ in 2 of 2 places in layer 1, here by a factor of 8");
    has(&x, GLMQ_WARNING, "global-scales-unequal", "model.layers.1.self_attn.q_proj.weight",
        "of q, k and v differ in 1 of 1 places in layer 1, here by a factor of 2");
    finish(&x, &c);
}

static void tells_a_global_scale_of_zero(void **state)
{
    checkpoint c;

    (void)state;
    c = make_nvfp4(0.5f, 0.0f, 0.5f);
    checked x = check(&c);
    has(&x, GLMQ_ERROR, "scale-not-positive", up, "1 of 1 values of its global scale");
    finish(&x, &c);
}

static void tells_a_zero_block_scale_under_fp4_codes(void **state)
{
    checkpoint c;
    char scale[200];

    (void)state;
    c = make_nvfp4(0.5f, 0.5f, 0.5f);
    snprintf(scale, sizeof scale, "%s_scale", up);
    find(&c, scale)->data[3] = 0; /* row 1, second block */
    find(&c, scale)->data[4] = 0; /* row 2, first block, whose codes are zeros */
    memset(find(&c, up)->data + 2 * 16, 0x80, 8);
    checked x = check(&c);
    has(&x, GLMQ_WARNING, "scale-zero", up,
        "1 scales are 0 though codes of their group are not; "
        "the first at row 1, group 1");
    finish(&x, &c);
}

/* ---- indexers ---- */

static void copy_indexer(checkpoint *c, int from, int to)
{
    static const char *const parts[] = { "wq_b.weight", "wk.weight", "k_norm.weight", "k_norm.bias",
                                         "weights_proj.weight" };
    char a[128], b[128];

    for (size_t i = 0; i < 5; i++) {
        snprintf(a, sizeof a, "model.layers.%d.self_attn.indexer.%s", from, parts[i]);
        snprintf(b, sizeof b, "model.layers.%d.self_attn.indexer.%s", to, parts[i]);
        memcpy(find(c, b)->data, find(c, a)->data, find(c, a)->bytes);
    }
}

static void tells_of_an_indexer_that_is_stored_twice(void **state)
{
    checkpoint c = make_model(DSA, 2);

    (void)state;
    copy_indexer(&c, 0, 1);
    checked x = check(&c);
    has(&x, GLMQ_WARNING, "indexer-duplicated", "model.layers.1.self_attn.indexer.wq_b.weight",
        "layer 1 stores the indexer of layer 0 once more");
    finish(&x, &c);
}

static void tells_of_a_copy_in_a_layer_that_shares(void **state)
{
    checkpoint c = make_model(DSA, 2);

    (void)state;
    add_indexer(&c, 2); /* the config says "shared" */
    copy_indexer(&c, 1, 2);
    checked x = check(&c);
    has(&x, GLMQ_NOTE, "indexer-unused", "model.layers.2.self_attn.indexer.wq_b.weight",
        "layer 2 shares its selection");
    has(&x, GLMQ_WARNING, "indexer-duplicated", "model.layers.2.self_attn.indexer.wq_b.weight",
        "layer 2 stores the indexer of layer 1 once more");
    finish(&x, &c);
}

static void one_value_makes_another_indexer(void **state)
{
    checkpoint c = make_model(DSA, 2);

    (void)state;
    copy_indexer(&c, 0, 1);
    find(&c, "model.layers.1.self_attn.indexer.k_norm.bias")->data[0] ^= 1;
    checked x = check(&c);
    is_clean(&x);
    finish(&x, &c);
}

/* ---- MTP ---- */

static void warns_of_a_promised_mtp_layer(void **state)
{
    checkpoint c = make_model(GLM4, 2);

    (void)state;
    assert_true(take_away_all(&c, "model.layers.3.") > 10);
    checked x = check(&c);
    has(&x, GLMQ_WARNING, "mtp-absent", NULL, "the config counts 1 MTP layers, none is stored");
    assert_int_equal(x.c.errors, 0);
    finish(&x, &c);
}

/* ---- lists ---- */

static checked check_quant(checkpoint *c, const char *quant)
{
    say_quantized(c, quant);
    to_fp8(c, up);
    return check(c);
}

static void tells_entries_that_match_nothing(void **state)
{
    static const struct {
        const char *key, *good, *bad, *code, *words;
    } cases[] = {
        { "ignore", "[\"lm_head\",\"re:.*mlp\\\\.gate$\",\"model.layers.3*\",\"Linear\"]",
          "[\"lm_heed\"]", "ignore-matches-nothing", "ignore: 'lm_heed' matches no module" },
        { "exclude_modules", "[\"lm_head\",\"*self_attn*\",\"mlp.gate\",\"model.norm\"]",
          "[\"*self_atn*\"]", "ignore-matches-nothing", "'*self_atn*'" },
        { "modules_to_not_convert",
          "[\"shared_experts\",\"model.layers.0.mlp.gate_up_proj\",\"model.layers.*.self_attn\"]",
          "[\"model.layers.9.mlp\"]", "ignore-matches-nothing", "'model.layers.9.mlp'" },
        { "linear_weights_not_to_quantize", "[\"lm_head.weight\",\"model.norm.weight\"]",
          "[\"model.nurm.weight\"]", "ignore-matches-nothing", "'model.nurm.weight'" },
        { "dynamic", "{\"-:.*shared\":{},\"+:.*\\\\.up_proj\":{\"bits\":8}}", "{\"-:.*sharde\":{}}",
          "override-matches-nothing", "dynamic: '-:.*sharde'" },
        { "extra_config", "{\"model.layers.0.mlp.up_proj\":{\"bits\":8},\".*o_proj\":{\"bits\":4}}",
          "{\"model.layers.0.mlp.upp\":{\"bits\":8}}", "override-matches-nothing",
          "extra_config: 'model.layers.0.mlp.upp'" },
        { "quantized_layers", "{\"model.layers.0.mlp.up_proj\":{}}", "{\"model.layers.7.mlp\":{}}",
          "override-matches-nothing", "'model.layers.7.mlp'" },
        { "modules_in_block_to_quantize", "[[\"q_proj\"],[\"up_proj\"]]", "[[\"q_prjo\"]]",
          "override-matches-nothing", "'q_prjo'" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        for (int bad = 0; bad < 2; bad++) {
            checkpoint c = make_model(GLM4, 2);
            char quant[600];
            snprintf(quant, sizeof quant,
                     "{\"quant_method\":\"fp8\",\"weight_block_size\":[16,16],\"%s\":%s}",
                     cases[i].key, bad ? cases[i].bad : cases[i].good);
            checked x = check_quant(&c, quant);
            if (bad) has(&x, GLMQ_WARNING, cases[i].code, NULL, cases[i].words);
            if (!bad && count(&x, cases[i].code)) fail_msg("%s", quant);
            finish(&x, &c);
        }
    }
}

static void reads_the_lists_inside_of_quantization(void **state)
{
    checkpoint c = make_model(GLM4, 2);
    checked x = check_quant(&c, "{\"quant_method\":\"fp8\",\"weight_block_size\":[16,16],"
                                "\"quantization\":{\"exclude_modules\":[\"nowhere\"]}}");

    (void)state;
    has(&x, GLMQ_WARNING, "ignore-matches-nothing", NULL, "'nowhere'");
    finish(&x, &c);
}

static void tells_a_pattern_that_is_none(void **state)
{
    checkpoint c = make_model(GLM4, 2);
    checked x = check_quant(&c, "{\"quant_method\":\"fp8\",\"weight_block_size\":[16,16],"
                                "\"ignore\":[\"re:(\"]}");

    (void)state;
    has(&x, GLMQ_WARNING, "bad-pattern", NULL, "(");
    assert_int_equal(count(&x, "ignore-matches-nothing"), 0);
    finish(&x, &c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_models_are_clean),
        cmocka_unit_test(tells_a_missing_scale_and_looks_at_the_rest),
        cmocka_unit_test(tells_a_missing_weight),
        cmocka_unit_test(tells_a_misshapen_scale),
        cmocka_unit_test(tells_a_tensor_of_another_shape),
        cmocka_unit_test(tells_an_expert_too_many),
        cmocka_unit_test(refuses_it_all_when_not_told_to_tolerate),
        cmocka_unit_test(tells_zero_and_unfinite_scales_of_fp8),
        cmocka_unit_test(tells_a_code_that_is_no_number),
        cmocka_unit_test(tells_values_that_are_not_finite),
        cmocka_unit_test(says_that_f16_overflowed),
        cmocka_unit_test(notes_what_f16_could_not_hold),
        cmocka_unit_test(tells_of_a_routing_bias_in_bf16),
        cmocka_unit_test(warns_of_quantized_routers_and_indexers),
        cmocka_unit_test(equal_global_scales_are_clean),
        cmocka_unit_test(tells_the_worst_of_unequal_global_scales),
        cmocka_unit_test(tells_a_global_scale_of_zero),
        cmocka_unit_test(tells_a_zero_block_scale_under_fp4_codes),
        cmocka_unit_test(tells_of_an_indexer_that_is_stored_twice),
        cmocka_unit_test(tells_of_a_copy_in_a_layer_that_shares),
        cmocka_unit_test(one_value_makes_another_indexer),
        cmocka_unit_test(warns_of_a_promised_mtp_layer),
        cmocka_unit_test(tells_entries_that_match_nothing),
        cmocka_unit_test(reads_the_lists_inside_of_quantization),
        cmocka_unit_test(tells_a_pattern_that_is_none),
    };
    return cmocka_run_group_tests_name("check of models", tests, NULL, NULL);
}
