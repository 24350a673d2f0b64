/* What configs say of single modules: names and patterns in order, and GPTQ and AutoRound
 * checkpoints that are read by them. */
#include "readers/overrides.h"
#include "base/limits.h"
#include "base/mem.h"
#include "codecs/gptq.h"
#include "readers/patterns.h"
#include "unit/reader_files.h"

/* ---- patterns ---- */

static int find_name(glmq_patterns *p, const char *name)
{
    uint32_t value = 0;
    int found;

    assert_int_equal(glmq_patterns_find(p, name, strlen(name), &found, &value, NULL), GLMQ_OK);
    return found ? (int)value : -1;
}

static void the_first_pattern_wins_whatever_its_kind(void **state)
{
    glmq_patterns *p = glmq_patterns_new();
    (void)state;
    assert_int_equal(glmq_patterns_add(p, PATTERN_MATCH, ".*mlp\\.up", 1, NULL), GLMQ_OK);
    assert_int_equal(glmq_patterns_add(p, PATTERN_MATCH, "^a\\.mlp\\.up_proj$", 2, NULL), GLMQ_OK);
    assert_int_equal(glmq_patterns_add(p, PATTERN_EXACT, "a.mlp.gate_proj", 3, NULL), GLMQ_OK);
    assert_int_equal(glmq_patterns_add(p, PATTERN_SEARCH, "gate_proj", 4, NULL), GLMQ_OK);
    assert_int_equal(glmq_patterns_add(p, PATTERN_EXACT, "b.mlp.gate_proj", 5, NULL), GLMQ_OK);
    assert_int_equal(find_name(p, "a.mlp.up_proj"), 1);
    assert_int_equal(find_name(p, "a.mlp.gate_proj"), 3);
    assert_int_equal(find_name(p, "b.mlp.gate_proj"), 4);
    assert_int_equal(find_name(p, "a.mlp.down_proj"), -1);
    assert_int_equal(glmq_patterns_add(p, PATTERN_MATCH, "(", 7, NULL), GLMQ_E_FORMAT);
    assert_int_equal(find_name(p, "a.mlp.up_proj"), 1);
    glmq_patterns_free(p);
}

static void names_are_many_patterns_are_limited(void **state)
{
    glmq_patterns *p = glmq_patterns_new();
    char name[64];
    (void)state;
    for (uint32_t i = 0; i < 20000; i++) {
        snprintf(name, sizeof name, "^model\\.layers\\.%u\\.mlp$", i);
        assert_int_equal(glmq_patterns_add(p, PATTERN_MATCH, name, i, NULL), GLMQ_OK);
    }
    assert_int_equal(find_name(p, "model.layers.19999.mlp"), 19999);
    for (uint32_t i = 0; i < GLMQ_PATTERNS_MAX; i++) {
        snprintf(name, sizeof name, "model.layers.%u", i);
        assert_int_equal(glmq_patterns_add(p, PATTERN_MATCH, name, i, NULL), GLMQ_OK);
    }
    assert_int_equal(glmq_patterns_add(p, PATTERN_MATCH, "x.y", 0, NULL), GLMQ_E_LIMIT);
    glmq_patterns_free(p);
}

/* ---- the words of a config ---- */

/* As resolved by GPTQModel 7.6.0 (dynamic_get) and AutoRound 0.15 (get_layer_config). */
static void every_way_of_saying_is_understood(void **state)
{
    static const struct {
        const char *config, *module;
        uint64_t bits;
        int64_t group;
        int sym, plain;
    } cases[] = {
        { "{\"dynamic\":{\"+:.*up\":{\"bits\":8},\".*up_proj\":{\"bits\":2}}}", "a.up_proj", 8, 0,
          -1, 0 },
        { "{\"dynamic\":{\"-:.*up\":{},\"+:.*up_proj\":{\"bits\":2}}}", "a.up_proj", 0, 0, -1, 1 },
        { "{\"dynamic\":{\"up_proj\":{\"bits\":2}}}", "a.up_proj", 0, 0, -1, 0 },
        { "{\"dynamic\":{\"a.up\":{\"bits\":2,\"group_size\":-1,\"sym\":false}}}", "a.up_proj", 2,
          -1, 0, 0 },
        { "{\"extra_config\":{\".*up.*\":{\"bits\":8},\"a.up_proj\":{\"bits\":2}}}", "a.up_proj", 2,
          0, -1, 0 },
        { "{\"extra_config\":{\"up\":{\"bits\":16,\"data_type\":\"float\"}}}", "a.up_proj", 16, 0,
          -1, 1 },
        { "{\"extra_config\":{\"*up\":{\"bits\":16}}}", "a.up_proj", 0, 0, -1, 0 }, /* no regex */
        { "{\"extra_config\":{\"up\":{},\"_proj$\":{\"group_size\":32}}}", "a.up_proj", 0, 32, -1,
          0 },
        { "{\"modules_in_block_to_quantize\":[[\"q_proj\",\"k_proj\"],[\"o_proj\"]]}", "a.up_proj",
          0, 0, -1, 1 },
        { "{\"modules_in_block_to_quantize\":[[\"q_proj\"],[\"mlp.up_proj\"]]}", "a.mlp.up_proj", 0,
          0, -1, 0 },
        { "{\"modules_in_block_to_quantize\":[]}", "a.up_proj", 0, 0, -1, 0 },
        { "{\"modules_to_not_convert\":[\"b\",\"up_proj\"]}", "a.up_proj", 0, 0, -1, 1 },
        { "{\"modules_to_not_convert\":null,\"dynamic\":null,\"extra_config\":null}", "a.up_proj",
          0, 0, -1, 0 },
    };
    checkpoint c = { 0 };
    glmq_source *src;
    glmq_catalog *cat;
    (void)state;
    add(&c, "BF16", "a.up_proj.weight", 2, 4, 4, 0);
    assert_int_equal(glmq_source_open(&src, save(&c), NULL, NULL), GLMQ_OK);
    assert_int_equal(glmq_catalog_open(&cat, src, NULL, NULL), GLMQ_OK);
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        const glmq_module m = { .name = cases[i].module, .name_len = strlen(cases[i].module) };
        cJSON *q = cJSON_Parse(cases[i].config);
        glmq_overrides *o;
        glmq_override says;
        glmq_error err;
        if (glmq_overrides_open(&o, cat, q, &err)) fail_msg("%s", err.msg);
        assert_int_equal(glmq_overrides_of(o, &m, &says, NULL), GLMQ_OK);
        if (says.bits != cases[i].bits || says.group != cases[i].group ||
            says.sym != cases[i].sym || says.plain != cases[i].plain)
            fail_msg("%s: bits %d, group %d, sym %d, plain %d", cases[i].config, (int)says.bits,
                     (int)says.group, says.sym, says.plain);
        glmq_overrides_close(o);
        cJSON_Delete(q);
    }
    glmq_catalog_close(cat);
    glmq_source_close(src);
    discard(&c);
}

/* ---- checkpoints ---- */

static const char up[] = "model.layers.1.mlp.experts.1.up_proj"; /* 16 x 32 */
static const char two[] = "model.layers.1.mlp.experts.2.up_proj";
static const char o_proj[] = "model.layers.2.self_attn.o_proj"; /* 32 x 20 */

/* 4 bits in groups of 8, but for one expert: 8 bits in groups of 16. */
static checkpoint mixed_model(const char *config)
{
    checkpoint c = make_model(LITE, 4);

    set_quantization(&c, config);
    to_gptq(&c, up, 4, 8, 0);
    to_gptq(&c, two, 8, 16, 0);
    return c;
}

#define BASE "\"bits\":4,\"group_size\":8,\"sym\":true"

static void an_exception_explains_a_module(void **state)
{
    static const char *const configs[] = {
        "{\"quant_method\":\"gptq\"," BASE ",\"dynamic\":{\"+:.*experts\\\\.2\\\\.up\":"
        "{\"bits\":8,\"group_size\":16}}}",
        "{\"quant_method\":\"auto-round\"," BASE ",\"extra_config\":{\"experts\\\\.2\\\\.up\":"
        "{\"bits\":8,\"group_size\":16}}}",
        "{\"quant_method\":\"auto-round\"," BASE ",\"extra_config\":"
        "{\"model.layers.1.mlp.experts.2.up_proj\":{\"bits\":8,\"group_size\":16}}}",
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(configs); i++) {
        checkpoint c = mixed_model(configs[i]);
        opened o = must_open(&c);
        char name[128];

        snprintf(name, sizeof name, "%s.weight", two);
        assert_int_equal(encoding_of(&o, name)->bits, 8);
        assert_int_equal(encoding_of(&o, name)->group, 16);
        assert_null(problem(o.g, "config-bits"));
        assert_null(problem(o.g, "config-group"));
        assert_null(problem(o.g, "config-modules"));
        shut(&o);
        discard(&c);
    }
}

/* The shape leaves the group open: 20 columns are one group of 20, 24 or 128. */
static void an_exception_settles_what_the_shape_leaves_open(void **state)
{
    checkpoint c = mixed_model("{\"quant_method\":\"gptq\"," BASE ",\"dynamic\":{"
                               "\".*o_proj\":{\"group_size\":24},\".*\":{}}}");
    opened o;

    (void)state;
    to_gptq(&c, o_proj, 4, 24, 0);
    o = must_open(&c);
    assert_int_equal(encoding_of(&o, "model.layers.2.self_attn.o_proj.weight")->group, 24);
    assert_non_null(problem(o.g, "config-bits")); /* expert 2: nothing says 8 */
    shut(&o);
    discard(&c);
}

static void an_exception_that_is_not_true_is_refused(void **state)
{
    static const char *const cases[][2] = {
        { "{\"quant_method\":\"gptq\"," BASE ",\"dynamic\":{\".*experts.1.up\":{\"bits\":8}}}",
          "up_proj.qweight: its shape is that of bits 4, the config says 8 (\".*experts.1.up\")" },
        { "{\"quant_method\":\"gptq\"," BASE
          ",\"dynamic\":{\"+:.*experts.2.up\":{\"bits\":8,\"group_size\":8}}}",
          "up_proj.scales: its shape is that of group_size 16, the config says 8 "
          "(\"+:.*experts.2.up\")" },
        { "{\"quant_method\":\"gptq\"," BASE ",\"dynamic\":{\".*1.up\":{\"group_size\":-1}}}",
          "up_proj.scales: its shape is that of group_size 8, the config says -1 (\".*1.up\")" },
        { "{\"quant_method\":\"auto-round\"," BASE
          ",\"extra_config\":{\"model.layers.1.mlp.experts.1.up_proj\":{\"bits\":2}}}",
          "up_proj.qweight: its shape is that of bits 4, the config says 2 "
          "(\"model.layers.1.mlp.experts.1.up_proj\")" },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        checkpoint c = mixed_model(cases[i][0]);
        must_refuse(&c, GLMQ_E_FORMAT, cases[i][1]);
    }
}

/* AutoRound adds MTP modules without a look at its patterns. */
static void a_searched_pattern_that_is_not_true_is_noted(void **state)
{
    checkpoint c = mixed_model("{\"quant_method\":\"auto-round\"," BASE
                               ",\"extra_config\":{\"up_proj\":{\"bits\":8,\"group_size\":16}}}");
    opened o = must_open(&c);

    (void)state;
    assert_int_equal(encoding_of(&o, "model.layers.1.mlp.experts.1.up_proj.weight")->bits, 4);
    assert_int_equal(encoding_of(&o, "model.layers.1.mlp.experts.1.up_proj.weight")->group, 8);
    assert_int_equal(encoding_of(&o, "model.layers.1.mlp.experts.2.up_proj.weight")->bits, 8);
    assert_non_null(problem(o.g, "config-mismatch"));
    assert_string_equal(problem(o.g, "config-mismatch")->message,
                        "model.layers.1.mlp.experts.1.up_proj and 0 others are not stored as the "
                        "config says (\"up_proj\")");
    shut(&o);
    discard(&c);
}

static void a_broken_or_endless_pattern_is_refused_by_name(void **state)
{
    static const struct {
        const char *config, *words;
        glmq_status status;
    } cases[] = {
        { "{\"quant_method\":\"gptq\"," BASE ",\"dynamic\":{\"-:.*(up\":{}}}",
          "config.json: dynamic: pattern \".*(up\": missing closing parenthesis (at byte 5)",
          GLMQ_E_FORMAT },
        { "{\"quant_method\":\"gptq\"," BASE ",\"modules_in_block_to_quantize\":[[\"*\"]]}",
          "config.json: modules_in_block_to_quantize: pattern \"*\": quantifier", GLMQ_E_FORMAT },
        { "{\"quant_method\":\"gptq\"," BASE ",\"dynamic\":{\"(.*.*)+j$x\":{}}}", "takes too long",
          GLMQ_E_LIMIT },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        checkpoint c = mixed_model(cases[i].config);
        must_refuse(&c, cases[i].status, cases[i].words);
    }
}

/* What is stored decides; that the config denies it is said. */
static void modules_that_the_config_denies_are_read_and_noted(void **state)
{
    static const struct {
        const char *config;
        int warning;
    } cases[] = {
        { "{\"quant_method\":\"gptq\"," BASE ",\"dynamic\":{\"-:.*up_proj\":{}}}", 1 },
        { "{\"quant_method\":\"auto-round\"," BASE ",\"extra_config\":{\"up\":{\"bits\":16}}}", 1 },
        { "{\"quant_method\":\"gptq\"," BASE ",\"modules_to_not_convert\":[\"up_proj\"]}", 1 },
        { "{\"quant_method\":\"gptq\"," BASE ",\"modules_in_block_to_quantize\":[[\"q_proj\"]]}",
          0 },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        checkpoint c = mixed_model(cases[i].config);
        opened o = must_open(&c);

        assert_int_equal(encoding_of(&o, "model.layers.1.mlp.experts.1.up_proj.weight")->bits, 4);
        assert_non_null(problem(o.g, "config-modules"));
        assert_int_equal(problem(o.g, "config-modules")->severity,
                         cases[i].warning ? GLMQ_WARNING : GLMQ_NOTE);
        assert_non_null(strstr(problem(o.g, "config-modules")->message, "experts.1.up_proj"));
        shut(&o);
        discard(&c);
    }
}

/* Columns of a module that the model does not know follow from the bits. */
static void a_loose_module_follows_its_exception(void **state)
{
    checkpoint c = mixed_model("{\"quant_method\":\"gptq\"," BASE
                               ",\"dynamic\":{\".*linear\":{\"bits\":2,\"sym\":false}}}");
    opened o;

    (void)state;
    add(&c, "BF16", "some.linear.weight", 2, 24, 96, 0); /* 24 rows: zeros do not tell */
    to_gptq(&c, "some.linear", 2, 8, 0);
    o = must_open(&c);
    assert_int_equal(encoding_of(&o, "some.linear.weight")->bits, 2);
    assert_int_equal(encoding_of(&o, "some.linear.weight")->zero_kind, GLMQ_ZERO_STORED);
    assert_int_equal(glmq_graph_find(o.g, "some.linear.weight")->cols, 96);
    shut(&o);
    discard(&c);
}

/* ---- planes ---- */

static void planes_are_told_by_label_and_width(void **state)
{
    static const struct {
        const char *format;
        int bits, variant;
    } cases[] = {
        { "gptq", 3, GPTQ_V1 },       { "gptq_p", 3, GPTQ_PLANAR }, { "gptq_p", 4, GPTQ_V2 },
        { "gptq_p", 8, GPTQ_V2 },     { "gptq", 5, GPTQ_PLANAR },   { "gptq_v2", 6, GPTQ_PLANAR },
        { "gptq_p", 7, GPTQ_PLANAR },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        checkpoint c = make_model(LITE, 4);
        char config[256];
        opened o;

        snprintf(config, sizeof config,
                 "{\"quant_method\":\"gptq\",\"bits\":%d,\"group_size\":32,\"sym\":true,"
                 "\"checkpoint_format\":\"%s\"}",
                 cases[i].bits, cases[i].format);
        set_quantization(&c, config);
        add(&c, "BF16", "some.linear.weight", 2, 32, 64, 0);
        to_gptq(&c, "some.linear", cases[i].bits, 32, 0);
        o = must_open(&c);
        assert_int_equal(encoding_of(&o, "some.linear.weight")->bits, cases[i].bits);
        assert_int_equal(encoding_of(&o, "some.linear.weight")->variant, cases[i].variant);
        shut(&o);
        discard(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_pattern_wins_whatever_its_kind),
        cmocka_unit_test(names_are_many_patterns_are_limited),
        cmocka_unit_test(every_way_of_saying_is_understood),
        cmocka_unit_test(an_exception_explains_a_module),
        cmocka_unit_test(an_exception_settles_what_the_shape_leaves_open),
        cmocka_unit_test(an_exception_that_is_not_true_is_refused),
        cmocka_unit_test(a_searched_pattern_that_is_not_true_is_noted),
        cmocka_unit_test(a_broken_or_endless_pattern_is_refused_by_name),
        cmocka_unit_test(modules_that_the_config_denies_are_read_and_noted),
        cmocka_unit_test(a_loose_module_follows_its_exception),
        cmocka_unit_test(planes_are_told_by_label_and_width),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
