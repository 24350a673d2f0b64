/* Recipes: targets, rules, files of rules, presets. */
#include "support.h"
#include "build_files.h"
#include "convert/plan.h"
#include "convert/presets.h"
#include "writers/writer.h"

/* A graph of tensors that exist by name, role and layer only. */
static glmq_tensor tensors[] = {
    { .name = "model.embed_tokens.weight", .role = GLMQ_ROLE_EMBED, .layer = -1, .expert = -1 },
    { .name = "model.layers.0.self_attn.o_proj.weight",
      .role = GLMQ_ROLE_ATTN_O,
      .layer = 0,
      .expert = -1 },
    { .name = "model.layers.3.mlp.experts.17.down_proj.weight",
      .role = GLMQ_ROLE_EXPERTS_DOWN,
      .layer = 3,
      .expert = 17 },
    { .name = "model.layers.12.mlp.experts.17.up_proj.weight",
      .role = GLMQ_ROLE_EXPERTS_UP,
      .layer = 12,
      .expert = 17 },
};
static glmq_graph graph = { .tensors = tensors, .count = 4 };

static glmq_recipe *open_recipe(const char *to)
{
    glmq_recipe *r;
    glmq_error err;
    assert_int_equal(glmq_recipe_open(&r, to, &err), GLMQ_OK);
    return r;
}

static glmq_want ask(const glmq_recipe *r, int tensor)
{
    glmq_want want;
    glmq_error err;
    assert_int_equal(glmq_recipe_apply(r, &graph, &tensors[tensor], &want, &err), GLMQ_OK);
    return want;
}

static void without_rules_everything_is_the_default(void **state)
{
    glmq_recipe *r = open_recipe("bf16");
    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_int_equal(ask(r, i).kind, WANT_DEFAULT);
        assert_string_equal(ask(r, i).rule, "default");
    }
    glmq_recipe_close(r);
}

static void the_last_rule_that_matches_wins(void **state)
{
    glmq_recipe *r = open_recipe("gguf");
    glmq_error err;
    (void)state;
    assert_int_equal(glmq_recipe_set(r, "experts.*=q8_0", &err), GLMQ_OK);
    assert_int_equal(glmq_recipe_set(r, "experts.down=q4_0", &err), GLMQ_OK);
    assert_int_equal(ask(r, 2).kind, WANT_ENC);
    assert_string_equal(glmq_codec_name(ask(r, 2).enc.codec), "q4_0");
    assert_string_equal(ask(r, 2).rule, "--set experts.down=q4_0");
    assert_string_equal(glmq_codec_name(ask(r, 3).enc.codec), "q8_0");
    assert_int_equal(ask(r, 0).kind, WANT_DEFAULT);
    assert_int_equal(glmq_recipe_keep(r, "*experts.17*", &err), GLMQ_OK);
    assert_int_equal(ask(r, 2).kind, WANT_KEEP);
    assert_int_equal(ask(r, 3).kind, WANT_KEEP);
    glmq_recipe_close(r);
}

static void a_glob_matches_the_whole_name_and_crosses_dots(void **state)
{
    glmq_recipe *r = open_recipe("gguf");
    glmq_error err;
    (void)state;
    assert_int_equal(glmq_recipe_keep(r, "model.layers.3.*down_proj.weight", &err), GLMQ_OK);
    assert_int_equal(glmq_recipe_keep(r, "model.layers.12.mlp.experts", &err), GLMQ_OK);
    assert_int_equal(ask(r, 2).kind, WANT_KEEP);
    assert_int_equal(ask(r, 3).kind, WANT_DEFAULT);
    glmq_recipe_close(r);
}

static void an_unknown_target_names_the_nearest(void **state)
{
    glmq_recipe *r;
    glmq_error err;
    (void)state;
    assert_int_equal(glmq_recipe_open(&r, "gguff", &err), GLMQ_E_ARG);
    assert_null(r);
    assert_string_equal(err.msg, "--to: unknown format 'gguff'; the nearest is 'gguf'");
    assert_int_equal(glmq_recipe_open(&r, "bf16:", &err), GLMQ_E_ARG);
}

static void an_encoding_is_a_dtype_or_a_format_with_options(void **state)
{
    glmq_encoding e;
    glmq_error err;
    (void)state;
    assert_int_equal(glmq_encoding_parse("bf16", &e, &err), GLMQ_OK);
    assert_int_equal(glmq_encoding_dtype(&e), GLMQ_DT_BF16);
    assert_int_equal(glmq_encoding_parse("Q5_1", &e, &err), GLMQ_OK);
    assert_int_equal(glmq_encoding_dtype(&e), GLMQ_DT_Q5_1);
    assert_int_equal(glmq_encoding_parse("gguf:q8_0", &e, &err), GLMQ_OK);
    assert_int_equal(glmq_encoding_dtype(&e), GLMQ_DT_Q8_0);
    assert_int_equal(glmq_encoding_parse("gptq:bits=8,group=32,asym,v2", &e, &err), GLMQ_OK);
    assert_string_equal(glmq_codec_name(e.codec), "gptq");
    assert_int_equal(e.bits, 8);
    assert_int_equal(e.group, 32);
    assert_int_equal(e.zero_kind, GLMQ_ZERO_STORED);
    assert_int_equal(glmq_encoding_parse("gptq:group=-1", &e, &err), GLMQ_OK);
    assert_int_equal(e.group, 0);
    assert_int_equal(e.bits, 4);
    assert_int_equal(glmq_encoding_parse("compressed-tensors:int8,channel,scale=f32", &e, &err),
                     GLMQ_OK);
    assert_string_equal(glmq_codec_name(e.codec), "ctpack");
    assert_int_equal(e.bits, 8);
    assert_int_equal(e.group, 0);
    assert_int_equal(e.scale_dtype, GLMQ_DT_F32);
}

static void a_wrong_encoding_names_the_nearest_word(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "q4_O", "unknown encoding 'q4_O'; the nearest is 'q4_0'" },
        { "gptq:grup=32", "gptq: unknown option 'grup=32'; the nearest is 'group='" },
        { "gptq:bits=5", "gptq: '5' is no value of bits" },
        { "gptq:group=0", "gptq: '0' is no value of group" },
        { "gptq:group=12x", "gptq: '12x' is no value of group" },
        { "gptq:symm", "gptq: unknown option 'symm'; the nearest is 'sym'" },
        { "gptq:sym,", "gptq: the list of options ends in a comma" },
        { "compressed-tensors:bits=4",
          "compressed-tensors: unknown option 'bits=4'; the nearest is 'bits='" },
    };
    glmq_encoding e;
    glmq_error err;
    (void)state;
    for (size_t i = 0; i + 1 < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(glmq_encoding_parse(cases[i].text, &e, &err), GLMQ_E_ARG);
        assert_string_equal(err.msg, cases[i].message);
    }
    assert_int_equal(glmq_encoding_parse("compressed-tensors:bits=4", &e, &err), GLMQ_E_ARG);
}

static void a_rule_that_can_match_nothing_is_refused(void **state)
{
    glmq_recipe *r = open_recipe("bf16");
    glmq_error err;
    (void)state;
    assert_int_equal(glmq_recipe_keep(r, "indexer.k", &err), GLMQ_OK); /* a role of others */
    assert_int_equal(glmq_recipe_check(r, &graph, &err), GLMQ_OK);
    assert_int_equal(glmq_recipe_keep(r, "expert.down", &err), GLMQ_OK);
    assert_int_equal(glmq_recipe_check(r, &graph, &err), GLMQ_E_ARG);
    assert_string_equal(err.msg, "--keep expert.down: no tensor and no role matches; the nearest "
                                 "role is 'experts.down'");
    glmq_recipe_close(r);
}

static glmq_status load_text(glmq_recipe *r, const char *text, glmq_error *err)
{
    folder f = folder_make();
    char path[128];
    glmq_status st;
    folder_put(&f, "rules.json", text, strlen(text));
    snprintf(path, sizeof path, "%s/rules.json", f.path);
    st = glmq_recipe_load(r, path, err);
    folder_remove(&f);
    return st;
}

static void a_file_has_rules_by_role_layer_and_name(void **state)
{
    glmq_recipe *r = open_recipe("gguf");
    glmq_error err;
    (void)state;
    assert_int_equal(load_text(r,
                               "{\"rules\":[{\"role\":\"experts.*\",\"to\":\"q8_0\"},"
                               "{\"role\":\"experts.*\",\"layers\":\"0-2,10-\",\"to\":\"same\"},"
                               "{\"name\":\"*embed*\",\"to\":\"f32\",\"comment\":\"why\"}]}",
                               &err),
                     GLMQ_OK);
    assert_string_equal(glmq_codec_name(ask(r, 2).enc.codec), "q8_0");
    assert_int_equal(ask(r, 3).kind, WANT_KEEP);
    assert_string_equal(glmq_codec_name(ask(r, 0).enc.codec), "f32");
    assert_int_equal(ask(r, 1).kind, WANT_DEFAULT);
    /* the bare list, and one layer as a number */
    assert_int_equal(load_text(r, "[{\"layers\":0,\"to\":\"f16\"}]", &err), GLMQ_OK);
    assert_string_equal(glmq_codec_name(ask(r, 1).enc.codec), "f16");
    assert_string_equal(glmq_codec_name(ask(r, 0).enc.codec), "f32");
    glmq_recipe_close(r);
}

static void a_file_with_a_slip_is_refused_with_the_rule(void **state)
{
    static const struct {
        const char *text, *message;
    } cases[] = {
        { "{}", "neither a list of rules nor an object with \"rules\"" },
        { "[1]", "rule 1: not an object" },
        { "[{\"role\":\"*\",\"to\":\"same\"},{\"role\":\"*\"}]", "rule 2: \"to\" is missing" },
        { "[{\"rolle\":\"*\",\"to\":\"same\"}]",
          "rule 1: unknown key \"rolle\"; the nearest is \"role\"" },
        { "[{\"role\":\"router.bia\",\"to\":\"same\"}]",
          "rule 1: no role matches 'router.bia'; the nearest is 'router.bias'" },
        { "[{\"layers\":\"7-3\",\"to\":\"same\"}]",
          "rule 1: \"layers\": '7-3' is no list such as \"0,3-77\"" },
        { "[{\"layers\":\"3,\",\"to\":\"same\"}]",
          "rule 1: \"layers\": '3,' is no list such as \"0,3-77\"" },
        { "[{\"layers\":true,\"to\":\"same\"}]",
          "rule 1: \"layers\" is neither a string nor a number" },
        { "[{\"to\":\"q9\"}]", NULL },
        { "[{\"to\":\"same\"}] x", NULL },
        { "", NULL },
    };
    glmq_recipe *r = open_recipe("bf16");
    glmq_error err;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *end;
        assert_int_not_equal(load_text(r, cases[i].text, &err), GLMQ_OK);
        if (!cases[i].message) continue;
        end = strstr(err.msg, "rules.json: ");
        assert_non_null(end);
        assert_string_equal(end + 12, cases[i].message);
    }
    assert_int_equal(glmq_recipe_load(r, "/no/such/file.json", &err), GLMQ_E_IO);
    glmq_recipe_close(r);
}

static void every_preset_loads_and_lies_under_samples(void **state)
{
    const char *samples = getenv("GLMQ_SAMPLES");
    glmq_error err;
    (void)state;
    assert_non_null(glmq_preset_at(0));
    for (size_t i = 0; glmq_preset_at(i); i++) {
        const glmq_preset *p = glmq_preset_at(i);
        glmq_recipe *r = open_recipe("gguf");
        char path[1024], text[4096] = "";
        FILE *f;
        assert_int_equal(glmq_recipe_load(r, p->name, &err), GLMQ_OK);
        glmq_recipe_close(r);
        if (!samples) continue;
        snprintf(path, sizeof path, "%s/recipes/%s.json", samples, p->name);
        f = fopen(path, "rb");
        assert_non_null(f);
        assert_true(fread(text, 1, sizeof text - 1, f) > 0);
        fclose(f);
        assert_string_equal(text, p->json);
    }
}

static void experts_only_keeps_all_but_the_experts(void **state)
{
    glmq_recipe *r = open_recipe("gguf");
    glmq_error err;
    (void)state;
    assert_int_equal(glmq_recipe_load(r, "experts-only", &err), GLMQ_OK);
    assert_int_equal(ask(r, 0).kind, WANT_KEEP);
    assert_int_equal(ask(r, 1).kind, WANT_KEEP);
    assert_int_equal(ask(r, 2).kind, WANT_DEFAULT);
    glmq_recipe_close(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(without_rules_everything_is_the_default),
        cmocka_unit_test(the_last_rule_that_matches_wins),
        cmocka_unit_test(a_glob_matches_the_whole_name_and_crosses_dots),
        cmocka_unit_test(an_unknown_target_names_the_nearest),
        cmocka_unit_test(an_encoding_is_a_dtype_or_a_format_with_options),
        cmocka_unit_test(a_wrong_encoding_names_the_nearest_word),
        cmocka_unit_test(a_rule_that_can_match_nothing_is_refused),
        cmocka_unit_test(a_file_has_rules_by_role_layer_and_name),
        cmocka_unit_test(a_file_with_a_slip_is_refused_with_the_rule),
        cmocka_unit_test(every_preset_loads_and_lies_under_samples),
        cmocka_unit_test(experts_only_keeps_all_but_the_experts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
