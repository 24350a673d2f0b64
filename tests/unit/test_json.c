/* base/json: the strict door, lookups, quoting and splicing. */
#include "base/json.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "support.h"

static glmq_status parse(const char *text, size_t len, glmq_error *err)
{
    cJSON *root;
    glmq_status st = glmq_json_parse(&root, text, len, 0, err);
    assert_true((st == GLMQ_OK) == (root != NULL));
    cJSON_Delete(root);
    return st;
}

static void good_documents_are_accepted(void **state)
{
    static const char *const good[] = {
        "{}",
        "[]",
        " \t\r\n{ } \n",
        "null",
        "true",
        "false",
        "0",
        "-0",
        "-1.5e+3",
        "1E5",
        "\"\"",
        "{\"a\":[1,2,{\"b\":[]}],\"c\":{}}",
        "[[],[[]],{}]",
        "\"\\u00e4\\ud83d\\ude00\\n\\/\"",
        "{\"a\":1,\"A\":2}",
        "[\"\xf0\x9f\x98\x80\", \"\x7f\"]",
        "[{\"a\":1},{\"a\":1}]",
        "{\"a\":{\"a\":{\"a\":1}}}",
    };
    glmq_error err;
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(good); i++)
        assert_int_equal(parse(good[i], strlen(good[i]), &err), GLMQ_OK);
}

static void bad_documents_are_refused_with_the_offset(void **state)
{
    static const struct {
        const char *text, *message;
    } bad[] = {
        { "", "json: the text ends too early (offset 0)" },
        { " ", "json: the text ends too early (offset 1)" },
        { "\xef\xbb\xbf{}", "json: expected a value (offset 0)" },
        { "{}x", "json: trailing text (offset 2)" },
        { "{} {}", "json: trailing text (offset 3)" },
        { "[1,]", "json: expected a value (offset 3)" },
        { "[1 2]", "json: expected ',' or ']' (offset 3)" },
        { "{\"a\" 1}", "json: expected ':' (offset 5)" },
        { "{\"a\":1,}", "json: expected a key (offset 7)" },
        { "{a:1}", "json: expected a key (offset 1)" },
        { "{\"a\":1]", "json: expected ',' or '}' (offset 6)" },
        { "[1}", "json: expected ',' or ']' (offset 2)" },
        { "[", "json: the text ends too early (offset 1)" },
        { "{\"a\":[1", "json: the text ends too early (offset 7)" },
        { "]", "json: expected a value (offset 0)" },
        { "[01]", "json: malformed number (offset 1)" },
        { "[-]", "json: malformed number (offset 1)" },
        { "[1.]", "json: malformed number (offset 1)" },
        { "[.5]", "json: expected a value (offset 1)" },
        { "[+1]", "json: expected a value (offset 1)" },
        { "[1e]", "json: malformed number (offset 1)" },
        { "[1e+]", "json: malformed number (offset 1)" },
        { "[0x10]", "json: expected ',' or ']' (offset 2)" },
        { "[NaN]", "json: expected a value (offset 1)" },
        { "[Infinity]", "json: expected a value (offset 1)" },
        { "[tru]", "json: expected a value (offset 1)" },
        { "nul", "json: expected a value (offset 0)" },
        { "'a'", "json: expected a value (offset 0)" },
        { "/* c */{}", "json: expected a value (offset 0)" },
        { "\"a", "json: unterminated string (offset 0)" },
        { "\"a\\", "json: bad escape (offset 2)" },
        { "\"a\nb\"", "json: control character in a string (offset 2)" },
        { "\"\\x41\"", "json: bad escape (offset 1)" },
        { "\"\\u12g4\"", "json: bad \\u escape (offset 1)" },
        { "\"\\u12", "json: bad \\u escape (offset 1)" },
        { "\"\\u0000\"", "json: \\u0000 (offset 1)" },
        { "\"\\ud800\"", "json: lone surrogate (offset 1)" },
        { "\"\\udc00\\ud800\"", "json: lone surrogate (offset 1)" },
        { "\"\\ud800\\u0041\"", "json: lone surrogate (offset 1)" },
        { "\"\xff\"", "json: ill-formed UTF-8 in a string (offset 0)" },
        { "[\"\xed\xa0\x80\"]", "json: ill-formed UTF-8 in a string (offset 1)" },
        { "{\"a\":1,\"a\":2}", "json: duplicate key \"a\" (offset 10)" },
        { "{\"a\":1,\"\\u0061\":2}", "json: duplicate key \"a\" (offset 15)" },
        { "{\"\\n\":1,\"\\u000a\":2}", "json: duplicate key \"\\x0a\" (offset 16)" },
    };
    glmq_error err;
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(bad); i++) {
        assert_int_equal(parse(bad[i].text, strlen(bad[i].text), &err), GLMQ_E_FORMAT);
        assert_string_equal(err.msg, bad[i].message);
    }
}

static void a_raw_zero_byte_is_refused_wherever_it_stands(void **state)
{
    static const char inside[] = "\"a\0b\"", between[] = "[1,\0 2]", behind[] = "{}\0";
    (void)state;
    assert_int_equal(parse(inside, sizeof inside - 1, NULL), GLMQ_E_FORMAT);
    assert_int_equal(parse(between, sizeof between - 1, NULL), GLMQ_E_FORMAT);
    assert_int_equal(parse(behind, sizeof behind - 1, NULL), GLMQ_E_FORMAT);
}

static void every_cut_of_a_document_is_refused(void **state)
{
    static const char text[] =
        "{\"a\": [1.5e3, true, null, \"\\ud83d\\ude00\xc3\xa4\"], \"b\": {\"c\": false}}";
    (void)state;
    for (size_t len = 0; len < sizeof text - 1; len++) {
        char *exact = malloc(len ? len : 1); /* so that reading past it shows */
        assert_non_null(exact);
        memcpy(exact, text, len);
        assert_int_equal(parse(exact, len, NULL), GLMQ_E_FORMAT);
        free(exact);
    }
    assert_int_equal(parse(text, sizeof text - 1, NULL), GLMQ_OK);
}

static void depth_ends_at_the_limit(void **state)
{
    char text[2 * GLMQ_JSON_DEPTH + 2];
    glmq_error err;
    (void)state;
    memset(text, '[', GLMQ_JSON_DEPTH);
    memset(text + GLMQ_JSON_DEPTH, ']', GLMQ_JSON_DEPTH);
    assert_int_equal(parse(text, 2 * GLMQ_JSON_DEPTH, &err), GLMQ_OK);
    memset(text, '[', GLMQ_JSON_DEPTH + 1);
    memset(text + GLMQ_JSON_DEPTH + 1, ']', GLMQ_JSON_DEPTH + 1);
    assert_int_equal(parse(text, 2 * GLMQ_JSON_DEPTH + 2, &err), GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "json: depth 65, at most 64 (offset 64)");
}

static void duplicates_are_found_in_big_objects_and_allowed_on_request(void **state)
{
    glmq_text t = { 0 };
    glmq_error err;
    cJSON *root;
    (void)state;
    glmq_text_add(&t, "{");
    for (int i = 0; i < 5000; i++) glmq_text_printf(&t, "\"k%d\":{\"dtype\":1,\"shape\":2},", i);
    t.data[t.len - 1] = '}';
    assert_int_equal(parse(t.data, t.len, &err), GLMQ_OK);
    t.data[t.len - 1] = ',';
    glmq_text_add(&t, "\"k\\u0034711\":3}"); /* k4711 */
    assert_int_equal(parse(t.data, t.len, &err), GLMQ_E_FORMAT);
    assert_non_null(strstr(err.msg, "duplicate key \"k4711\""));
    assert_int_equal(glmq_json_parse(&root, t.data, t.len, GLMQ_JSON_ALLOW_DUPLICATES, &err),
                     GLMQ_OK);
    cJSON_Delete(root);
    glmq_text_free(&t);
}

static void a_number_of_a_hundred_thousand_digits_is_refused(void **state)
{
    char *text = malloc(100000);
    glmq_error err;
    (void)state;
    assert_non_null(text);
    memset(text, '7', 100000);
    assert_int_equal(parse(text, 100000, &err), GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "json: number of more than 63 characters (offset 0)");
    free(text);
}

static void whole_numbers_are_told_from_all_others(void **state)
{
    static const struct {
        const char *path;
        int whole;
        uint64_t value;
    } cases[] = {
        { "a", 1, 0 },          { "b", 1, 9007199254740992 },
        { "c", 0, 0 },          { "d", 0, 0 },
        { "e", 0, 0 },          { "f", 0, 0 },
        { "g", 0, 0 },          { "h", 0, 0 },
        { "i", 1, 4294967296 }, { "j.k", 0, 0 },
        { "j.l", 1, 7 },        { "m", 0, 0 },
        { "n", 0, 0 },          { "absent", 0, 0 },
    };
    static const char text[] =
        "{\"a\":0,\"b\":9007199254740992,\"c\":9007199254740993,\"d\":1.0,\"e\":1e3,\"f\":-1,"
        "\"g\":-0,\"h\":18446744073709551616,\"i\":4294967296,\"j\":{\"k\":[2.5],\"l\":7},\"m\":"
        "\"1\","
        "\"n\":true}";
    cJSON *root;
    uint64_t v;
    (void)state;
    assert_int_equal(glmq_json_parse(&root, text, sizeof text - 1, 0, NULL), GLMQ_OK);
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        v = 0;
        assert_int_equal(glmq_json_u64(glmq_json_get(root, cases[i].path), &v), cases[i].whole);
        if (cases[i].whole) assert_int_equal(v, cases[i].value);
    }
    assert_true(glmq_json_get(root, "d")->valuedouble == 1.0);
    assert_true(cJSON_IsNumber(glmq_json_get(root, "d")));
    cJSON_Delete(root);
}

static void paths_lead_to_nested_members(void **state)
{
    static const char text[] = "{\"q\":{\"quant_method\":\"gptq\",\"bits\":4},\"quant\":1}";
    cJSON *root;
    (void)state;
    assert_int_equal(glmq_json_parse(&root, text, sizeof text - 1, 0, NULL), GLMQ_OK);
    assert_string_equal(glmq_json_string(root, "q.quant_method"), "gptq");
    assert_null(glmq_json_string(root, "q.bits"));
    assert_null(glmq_json_get(root, "q.quant"));
    assert_null(glmq_json_get(root, "quant.x"));
    assert_null(glmq_json_get(NULL, "x"));
    assert_ptr_equal(glmq_json_get(root, ""), root);
    cJSON_Delete(root);
}

static void quoting_escapes_what_json_demands_and_no_more(void **state)
{
    glmq_text t = { 0 };
    (void)state;
    glmq_json_quote(&t, "a\"\\/\n\x01\x7f\xc3\xa4\0z", 11);
    assert_string_equal(t.data, "\"a\\\"\\\\/\\n\\u0001\x7f\xc3\xa4\\u0000z\"");
    glmq_text_free(&t);
    glmq_json_quote(&t, "", 0);
    assert_string_equal(t.data, "\"\"");
    glmq_text_free(&t);
}

/* ---- splicing ---- */

static void splice(const char *before, const char *key, const char *value, const char *after)
{
    glmq_text t = { 0 };
    glmq_text_add(&t, before);
    assert_int_equal(glmq_json_splice(&t, key, value, NULL), GLMQ_OK);
    assert_string_equal(t.data, after);
    assert_int_equal(parse(t.data, t.len, NULL), GLMQ_OK);
    glmq_text_free(&t);
}

static void a_spliced_value_leaves_every_other_byte(void **state)
{
    (void)state;
    splice("{\"a\": 1.0,\n  \"b\" :  [1, {\"b\": 2}] ,\"c\":1e-05}\n", "b", "true",
           "{\"a\": 1.0,\n  \"b\" :  true ,\"c\":1e-05}\n");
    splice("{\"a\":\"x,}\\\"\",\"b\":1}", "b", "2", "{\"a\":\"x,}\\\"\",\"b\":2}");
    splice("{\"a\":1}", "a", "{\"n\": 1}", "{\"a\":{\"n\": 1}}");
    splice("{\"\\u0061\":1}", "a", "3", "{\"\\u0061\":3}");
    splice("{\"x\":{\"a\":1},\"a\":-2.5e1 }", "a", "0", "{\"x\":{\"a\":1},\"a\":0 }");
}

static void a_new_member_comes_last_and_is_spaced_like_the_others(void **state)
{
    (void)state;
    splice("{\n  \"a\": 1,\n  \"b\": 2\n}\n", "c", "[3]",
           "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": [3]\n}\n");
    splice("{\"a\":1}", "b", "2", "{\"a\":1,\"b\": 2}");
    splice("{}", "a", "1", "{\"a\": 1}");
    splice(" { } ", "q\"", "null", " {\"q\\\"\": null } ");
}

static void a_removed_member_takes_its_comma_along(void **state)
{
    (void)state;
    splice("{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}", "a", NULL,
           "{\n  \"b\": 2,\n  \"c\": 3\n}");
    splice("{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}", "b", NULL,
           "{\n  \"a\": 1,\n  \"c\": 3\n}");
    splice("{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}", "c", NULL,
           "{\n  \"a\": 1,\n  \"b\": 2\n}");
    splice("{\"a\":{\"b\":[]}}", "a", NULL, "{}");
    splice("{\"a\":1}", "b", NULL, "{\"a\":1}");
}

static void a_member_is_found_by_its_unescaped_name_at_the_top_only(void **state)
{
    static const char text[] = "{\"x\":{\"k\":1},\"y\":[\"k\",\"]}\"],\"\\u006b\" : \"v\"}";
    glmq_json_member m;
    (void)state;
    assert_int_equal(glmq_json_find(text, sizeof text - 1, "k", &m), 1);
    assert_int_equal(m.begin, strstr(text, "\"\\u006b") - text);
    assert_memory_equal(text + m.value_begin, "\"v\"", m.value_end - m.value_begin);
    assert_int_equal(glmq_json_find(text, sizeof text - 1, "v", &m), 0);
    assert_int_equal(glmq_json_find("[1]", 3, "k", &m), 0);
}

static void splicing_what_is_no_object_is_an_error(void **state)
{
    glmq_text t = { 0 };
    (void)state;
    assert_int_equal(glmq_json_splice(&t, "a", "1", NULL), GLMQ_E_FORMAT);
    glmq_text_add(&t, "[1]");
    assert_int_equal(glmq_json_splice(&t, "a", "1", NULL), GLMQ_E_FORMAT);
    glmq_text_free(&t);
}

static void the_sample_config_comes_back_from_an_edit_and_its_undoing(void **state)
{
    const char *samples = getenv("GLMQ_SAMPLES");
    char path[1024], *before;
    glmq_text t = { 0 };
    size_t len;
    (void)state;
    if (!samples) {
        puts("skipped: no samples (GLMQ_SAMPLES)");
        skip();
    }
    snprintf(path, sizeof path, "%s/glm4-moe-tiny/config.json", samples);
    before = slurp(path, &len);
    glmq_text_add_n(&t, before, len);
    assert_int_equal(
        glmq_json_splice(&t, "quantization_config", "{\"quant_method\": \"gptq\"}", NULL), GLMQ_OK);
    assert_int_equal(glmq_json_splice(&t, "quantization_config", NULL, NULL), GLMQ_OK);
    assert_int_equal(t.len, len);
    assert_memory_equal(t.data, before, len);
    glmq_text_free(&t);
    free(before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_documents_are_accepted),
        cmocka_unit_test(bad_documents_are_refused_with_the_offset),
        cmocka_unit_test(a_raw_zero_byte_is_refused_wherever_it_stands),
        cmocka_unit_test(every_cut_of_a_document_is_refused),
        cmocka_unit_test(depth_ends_at_the_limit),
        cmocka_unit_test(duplicates_are_found_in_big_objects_and_allowed_on_request),
        cmocka_unit_test(a_number_of_a_hundred_thousand_digits_is_refused),
        cmocka_unit_test(whole_numbers_are_told_from_all_others),
        cmocka_unit_test(paths_lead_to_nested_members),
        cmocka_unit_test(quoting_escapes_what_json_demands_and_no_more),
        cmocka_unit_test(a_spliced_value_leaves_every_other_byte),
        cmocka_unit_test(a_new_member_comes_last_and_is_spaced_like_the_others),
        cmocka_unit_test(a_removed_member_takes_its_comma_along),
        cmocka_unit_test(a_member_is_found_by_its_unescaped_name_at_the_top_only),
        cmocka_unit_test(splicing_what_is_no_object_is_an_error),
        cmocka_unit_test(the_sample_config_comes_back_from_an_edit_and_its_undoing),
    };
    return cmocka_run_group_tests_name("json", tests, NULL, NULL);
}
