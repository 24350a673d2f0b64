/* quantization_config of compressed-tensors: which scheme a module has, and checkpoints that
 * hold several. */
#include "base/mem.h"
#include "codecs/ctpack.h"
#include "readers/ct_config.h"
#include "unit/reader_files.h"

static const char head[] = "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{";

/* ---- the config alone ---- */

/* Expected: match_targets() of compressed-tensors 0.20. */
static void names_win_over_patterns_and_those_over_classes(void **state)
{
    static const char config[] = "{\"config_groups\":{"
                                 "\"z\":{\"targets\":[\"Linear\"],\"weights\":{}},"
                                 "\"a\":{\"targets\":[\"re:.*up\"],\"weights\":{}},"
                                 "\"b\":{\"targets\":[\"m.up_proj\",\"re:n\"],\"weights\":{}},"
                                 "\"c\":{\"targets\":[\"re:.*u\",\"lm_head\"],\"weights\":{}},"
                                 "\"k\":{\"targets\":[\"lm_head\",\"m.up_proj\"],\"weights\":null},"
                                 "\"d\":{\"targets\":[\"lm_head\"],\"weights\":{}},"
                                 "\"W4A16\":[\"Embedding\"]}}";
    static const struct {
        const char *module, *scheme;
        glmq_role role;
    } cases[] = {
        { "m.up_proj", "b", GLMQ_ROLE_MLP_UP }, { "o.up_proj", "c", GLMQ_ROLE_MLP_UP },
        { "n.up_proj", "c", GLMQ_ROLE_MLP_UP }, { "o.down_proj", "z", GLMQ_ROLE_MLP_DOWN },
        { "lm_head", "d", GLMQ_ROLE_LM_HEAD },  { "model.embed_tokens", "W4A16", GLMQ_ROLE_EMBED },
        { "nn.down", "b", GLMQ_ROLE_OTHER },
    };
    cJSON *q = cJSON_Parse(config);
    glmq_error err;
    ct_config c;
    (void)state;
    if (ct_config_open(&c, q, &err)) fail_msg("%s", err.msg);
    assert_int_equal(c.count, 6);
    assert_true(c.targeted);
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        const glmq_module m = { .name = cases[i].module, .name_len = strlen(cases[i].module) };
        const ct_scheme *s;
        assert_int_equal(ct_config_scheme(&c, &m, cases[i].role, &s, NULL), GLMQ_OK);
        assert_non_null(s);
        assert_string_equal(s->name, cases[i].scheme);
    }
    ct_config_close(&c);
    cJSON_Delete(q);
}

static void ignore_takes_names_and_patterns(void **state)
{
    static const struct {
        const char *module;
        int ignored;
    } cases[] = {
        { "lm_head", 1 },
        { "model.lm_head", 0 },
        { "model.layers.1.mlp", 1 },
        { "model.layers.10.mlp", 1 }, /* no end anchor, '.' is any character */
        { "model.layers.20.mlp", 0 },
    };
    cJSON *q = cJSON_Parse("{\"ignore\":[\"lm_head\",\"re:model.layers.1.*\",7]}");
    ct_config c;
    (void)state;
    assert_int_equal(ct_config_open(&c, q, NULL), GLMQ_OK);
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        const glmq_module m = { .name = cases[i].module, .name_len = strlen(cases[i].module) };
        int yes;
        assert_int_equal(ct_config_ignores(&c, &m, &yes, NULL), GLMQ_OK);
        assert_int_equal(yes, cases[i].ignored);
    }
    ct_config_close(&c);
    cJSON_Delete(q);
}

static void what_cannot_be_read_is_refused_by_name(void **state)
{
    static const struct {
        const char *config, *words;
        glmq_status status;
    } cases[] = {
        { "{\"ignore\":[\"re:(\"]}", "ignore: pattern \"(\": missing closing parenthesis",
          GLMQ_E_FORMAT },
        { "{\"config_groups\":{\"g\":{\"targets\":[\"re:a[\"],\"weights\":{}}}}",
          "config_groups: pattern \"a[\": missing terminating ]", GLMQ_E_FORMAT },
        { "{\"config_groups\":[[\"Linear\"]]}", "config_groups: not an object", GLMQ_E_FORMAT },
        { "{\"config_groups\":{\"g\":{\"weights\":{\"group_size\":0}}}}",
          "config_groups: g: group_size 0", GLMQ_E_FORMAT },
        { "{\"config_groups\":{\"g\":{\"weights\":{\"type\":\"float\",\"strategy\":\"block\","
          "\"block_structure\":\"128x\"}}}}",
          "g: the blocks are not two sizes", GLMQ_E_FORMAT },
        { "{\"config_groups\":{\"g\":{\"format\":\"marlin-24\",\"weights\":{}}}}",
          "g: compressed-tensors format \"marlin-24\"", GLMQ_E_UNSUPPORTED },
        { "{\"sparsity_config\":{\"format\":\"sparse-24-bitmask\"}}", "sparse-24-bitmask",
          GLMQ_E_UNSUPPORTED },
        { "{\"transform_config\":{\"config_groups\":{\"R1\":{\"type\":\"hadamard\"}}}}",
          "transform_config (\"R1\") changes the forward pass", GLMQ_E_UNSUPPORTED },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        cJSON *q = cJSON_Parse(cases[i].config);
        glmq_error err = { 0 };
        ct_config c;
        assert_non_null(q);
        if (ct_config_open(&c, q, &err) != cases[i].status || !strstr(err.msg, cases[i].words))
            fail_msg("%s: \"%s\"", cases[i].config, err.msg);
        ct_config_close(&c);
        cJSON_Delete(q);
    }
}

static void sixty_four_groups_are_read_and_no_more(void **state)
{
    (void)state;
    for (int n = CT_SCHEMES_MAX; n <= CT_SCHEMES_MAX + 1; n++) {
        cJSON *q = cJSON_CreateObject(), *groups = cJSON_AddObjectToObject(q, "config_groups");
        ct_config c;
        char name[16];
        for (int i = 0; i < n; i++) {
            snprintf(name, sizeof name, "g%d", i);
            cJSON_AddObjectToObject(cJSON_AddObjectToObject(groups, name), "weights");
        }
        assert_int_equal(ct_config_open(&c, q, NULL), n > CT_SCHEMES_MAX ? GLMQ_E_LIMIT : GLMQ_OK);
        ct_config_close(&c);
        cJSON_Delete(q);
    }
}

static void blocks_are_lists_or_words(void **state)
{
    cJSON *q = cJSON_Parse(
        "{\"config_groups\":{"
        "\"a\":{\"weights\":{\"type\":\"float\",\"strategy\":\"block\","
        "\"block_structure\":\"64x32\"}},"
        "\"b\":{\"weights\":{\"type\":\"float\",\"block_structure\":[16,48]}},"
        "\"c\":{\"weights\":{\"type\":\"float\",\"strategy\":\"group\",\"group_size\":64}},"
        "\"d\":{\"weights\":{\"type\":\"float\",\"strategy\":\"channel\"}},"
        "\"FP8_BLOCK\":[]}}");
    static const uint64_t expected[][2] = {
        { 64, 32 }, { 16, 48 }, { 1, 64 }, { 0 }, { 128, 128 }
    };
    ct_config c;
    (void)state;
    assert_int_equal(ct_config_open(&c, q, NULL), GLMQ_OK);
    assert_int_equal(c.count, GLMQ_COUNT(expected));
    for (size_t i = 0; i < GLMQ_COUNT(expected); i++) {
        assert_int_equal(c.schemes[i].type, CT_FP8);
        assert_memory_equal(c.schemes[i].block, expected[i], sizeof expected[i]);
    }
    ct_config_close(&c);
    cJSON_Delete(q);
}

static void every_allocation_may_fail(void **state)
{
    cJSON *q = cJSON_Parse("{\"ignore\":[\"re:a\",\"b\"],\"config_groups\":{\"g\":{\"targets\":"
                           "[\"Linear\",\"re:x\"],\"weights\":{}}}}");
    glmq_status st;
    long n = 0;
    (void)state;
    do {
        ct_config c;
        glmq_fail_alloc_at(++n);
        st = ct_config_open(&c, q, NULL);
        glmq_fail_alloc_at(0);
        ct_config_close(&c);
        assert_true(st == GLMQ_OK || st == GLMQ_E_NOMEM);
    } while (st);
    assert_true(n > 10);
    cJSON_Delete(q);
}

/* ---- checkpoints ---- */

static const char up[] = "model.layers.1.mlp.experts.1.up_proj"; /* 16 x 32 */
static const char up_weight[] = "model.layers.1.mlp.experts.1.up_proj.weight";

static checkpoint ct_model(const char *groups, const char *rest)
{
    checkpoint c = make_model(LITE, 4);
    char config[2000];

    snprintf(config, sizeof config, "%s%s}%s}", head, groups, rest);
    set_quantization(&c, config);
    to_ct(&c, up, 4, 8);
    return c;
}

#define INT4 "\"weights\":{\"num_bits\":4,\"group_size\":8}"
#define INT8 "\"weights\":{\"num_bits\":8,\"group_size\":16}"

/* One group of 32 columns: of 32, or of the 64 that the module's own scheme says. */
static void the_own_scheme_settles_what_shapes_leave_open(void **state)
{
    checkpoint c = ct_model("\"a\":{\"targets\":[\"Linear\"],\"weights\":{\"num_bits\":4,"
                            "\"group_size\":32}},\"b\":{\"targets\":[\"re:.*2.up_proj\"],"
                            "\"weights\":{\"num_bits\":4,\"group_size\":64}},"
                            "\"c\":{\"targets\":[\"re:.*1.up_proj\"]," INT4 "}",
                            "");
    opened o;

    (void)state;
    to_ct(&c, "model.layers.1.mlp.experts.2.up_proj", 4, 32);
    to_ct(&c, "model.layers.1.mlp.experts.3.up_proj", 4, 32);
    o = must_open(&c);
    assert_int_equal(encoding_of(&o, up_weight)->group, 8);
    assert_int_equal(encoding_of(&o, "model.layers.1.mlp.experts.2.up_proj.weight")->group, 64);
    assert_int_equal(encoding_of(&o, "model.layers.1.mlp.experts.3.up_proj.weight")->group, 32);
    assert_int_equal(glmq_graph_problem_count(o.g), 0);
    shut(&o);
    discard(&c);
}

static void another_scheme_is_noted_and_none_refused(void **state)
{
    checkpoint c = ct_model("\"a\":{\"targets\":[\"re:.*up\"]," INT8 "},"
                            "\"b\":{\"targets\":[\"Linear\"]," INT4 "}",
                            "");
    opened o = must_open(&c);

    (void)state;
    assert_int_equal(encoding_of(&o, up_weight)->bits, 4);
    assert_non_null(problem(o.g, "config-mismatch"));
    assert_string_equal(problem(o.g, "config-mismatch")->message,
                        "model.layers.1.mlp.experts.1.up_proj and 0 others do not agree with a in "
                        "bits");
    shut(&o);
    to_ct(&c, "model.layers.1.mlp.experts.2.up_proj", 8, 8);
    must_refuse(&c, GLMQ_E_FORMAT, "experts.2.up_proj: no config group describes its arrays");
}

static void modules_that_the_config_denies_are_read_and_noted(void **state)
{
    static const char *const cases[][2] = {
        { "\"b\":{\"targets\":[\"Linear\"]," INT4 "}", ",\"ignore\":[\"re:.*up_proj\"]" },
        { "\"b\":{\"targets\":[\"re:.*down\"]," INT4 "}", "" },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        checkpoint c = ct_model(cases[i][0], cases[i][1]);
        opened o = must_open(&c);

        assert_int_equal(encoding_of(&o, up_weight)->bits, 4);
        assert_int_equal(encoding_of(&o, up_weight)->group, 8);
        assert_int_equal(glmq_graph_problem_count(o.g), 1);
        assert_non_null(problem(o.g, "config-modules"));
        shut(&o);
        discard(&c);
    }
}

/* 20 columns of 3 bits take two words in both packings; 32 columns three words, or four. */
static void codes_of_old_releases_do_not_straddle_words(void **state)
{
    static const struct {
        const char *version;
        uint64_t cols, words;
        int loose;
    } cases[] = {
        { "0.16.2", 20, 2, CT_LOOSE }, { "0.17.0", 20, 2, 0 }, { "1.0.0", 20, 2, 0 },
        { "0.17.0", 32, 4, CT_LOOSE }, { "0.16.2", 32, 3, 0 },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        char rest[64];
        const char *name = cases[i].cols == 20 ? "model.layers.2.self_attn.o_proj" : up;
        checkpoint c = make_model(LITE, 4);
        char config[512], weight[128];
        opened o;

        snprintf(rest, sizeof rest, ",\"version\":\"%s\"", cases[i].version);
        snprintf(
            config, sizeof config,
            "%s\"a\":{\"targets\":[\"Linear\"],\"weights\":{\"num_bits\":3,\"group_size\":-1}}}"
            "%s}",
            head, rest);
        set_quantization(&c, config);
        to_ct(&c, name, 3, 0);
        reshape(find_in(&c, name, "weight_packed"), 2, find_in(&c, name, "weight_packed")->dims[0],
                cases[i].words);
        o = must_open(&c);
        snprintf(weight, sizeof weight, "%s.weight", name);
        assert_int_equal(encoding_of(&o, weight)->bits, 3);
        assert_int_equal(encoding_of(&o, weight)->variant & CT_LOOSE, cases[i].loose);
        assert_int_equal(glmq_graph_problem_count(o.g), 0);
        shut(&o);
        discard(&c);
    }
}

#define ASYM4 "\"weights\":{\"num_bits\":4,\"group_size\":8,\"symmetric\":false}"

static void companions_that_the_scheme_demands_are_missed_by_name(void **state)
{
    static const struct {
        const char *groups, *leaf, *dtype, *words;
    } cases[] = {
        { "\"a\":{\"targets\":[\"re:.*up\"]," ASYM4 "},\"b\":{\"targets\":[\"Linear\"]," INT8 "}",
          NULL, NULL, "up_proj.weight_zero_point is missing, the config says asymmetric" },
        { "\"a\":{\"targets\":[\"Linear\"]," INT4 "}", "weight", "I8",
          "down_proj.weight_scale is missing, the weight is I8" },
        { "\"a\":{\"targets\":[\"Linear\"]," INT4 "}", "weight", "F8_E4M3",
          "down_proj.weight_scale is missing, the weight is F8_E4M3" },
    };
    static const char down[] = "model.layers.1.mlp.experts.1.down_proj";
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        checkpoint c = ct_model(cases[i].groups, "");
        if (cases[i].leaf) {
            const stored *w = find_in(&c, down, cases[i].leaf);
            const uint64_t rows = w->dims[0], cols = w->dims[1];

            remove_from(&c, down, cases[i].leaf);
            add_to(&c, down, cases[i].leaf, cases[i].dtype, 2, rows, cols);
        }
        must_refuse(&c, GLMQ_E_FORMAT, cases[i].words);
    }
}

/* Releases before 0.9 stored zero points in the middle; any other belies the config. */
static void zero_points_of_a_symmetric_scheme_are_noted_unless_in_the_middle(void **state)
{
    static const struct {
        const char *dtype;
        uint64_t rows;
        uint8_t byte;
        size_t problems;
    } cases[] = {
        { "I32", 2, 0x88, 0 },
        { "I32", 2, 0x89, 1 },
        { "I8", 16, 0, 0 },
        { "I8", 16, 0xff, 1 },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        checkpoint c = ct_model("\"a\":{\"targets\":[\"Linear\"]," INT4 "}", "");
        stored *z = add_to(&c, up, "weight_zero_point", cases[i].dtype, 2, cases[i].rows, 4);
        opened o;

        memset(z->data, cases[i].byte, z->bytes);
        o = must_open(&c);
        assert_int_equal(glmq_graph_problem_count(o.g), cases[i].problems);
        if (cases[i].problems)
            assert_non_null(strstr(problem(o.g, "config-mismatch")->message,
                                   "in symmetry: zero points are stored"));
        shut(&o);
        discard(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_win_over_patterns_and_those_over_classes),
        cmocka_unit_test(ignore_takes_names_and_patterns),
        cmocka_unit_test(what_cannot_be_read_is_refused_by_name),
        cmocka_unit_test(sixty_four_groups_are_read_and_no_more),
        cmocka_unit_test(blocks_are_lists_or_words),
        cmocka_unit_test(every_allocation_may_fail),
        cmocka_unit_test(the_own_scheme_settles_what_shapes_leave_open),
        cmocka_unit_test(another_scheme_is_noted_and_none_refused),
        cmocka_unit_test(modules_that_the_config_denies_are_read_and_noted),
        cmocka_unit_test(codes_of_old_releases_do_not_straddle_words),
        cmocka_unit_test(companions_that_the_scheme_demands_are_missed_by_name),
        cmocka_unit_test(zero_points_of_a_symmetric_scheme_are_noted_unless_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
