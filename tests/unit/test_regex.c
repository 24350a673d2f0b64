/* base/regex: Python's answers, and patterns that want to run for ever. */
#include "base/regex.h"
#include "base/limits.h"
#include "base/mem.h"
#include "support.h"
#include <stdio.h>
#include <time.h>

static int test(const char *pattern, glmq_regex_mode mode, const char *text)
{
    glmq_regex *re;
    glmq_error err;
    int yes = -1;

    if (glmq_regex_open(&re, pattern, mode, NULL, &err)) fail_msg("%s", err.msg);
    if (glmq_regex_test(re, text, strlen(text), &yes, &err)) fail_msg("%s", err.msg);
    glmq_regex_close(re);
    return yes;
}

/* The expected columns are what Python 3.11's re.match and re.search say. */
static void says_what_python_says(void **state)
{
    static const struct {
        const char *pattern, *text;
        int match, search;
    } cases[] = {
        { "model.layers.1.*", "model.layers.10.mlp.gate", 1, 1 },
        { "model\\.layers\\.1\\.", "model.layers.10.mlp.gate", 0, 0 },
        { "mlp", "model.layers.0.mlp.up_proj", 0, 1 },
        { ".*mlp.gate$", "model.layers.3.mlp.gate", 1, 1 },
        { ".*mlp.gate$", "model.layers.3.mlp.gate_proj", 0, 0 },
        { "^mlp", "model.mlp", 0, 0 },
        { ".*layers\\.(0|1|2)\\.", "model.layers.2.x", 1, 1 },
        { ".*\\.experts\\.\\d+\\.(gate|up)_proj", "model.layers.3.mlp.experts.17.up_proj", 1, 1 },
        { "model(?!.*experts).*proj", "model.layers.3.mlp.experts.17.up_proj", 0, 0 },
        { "(?<=mlp\\.)gate", "model.layers.3.mlp.gate", 0, 1 },
        { "(?P<a>lm)_(?P=a)", "lm_lm", 1, 1 },
        { "(?i)LM_HEAD", "lm_head", 1, 1 },
        { "a{2,3}$", "aaaa", 0, 1 },
        { "", "lm_head", 1, 1 },
        { "lm_head$", "lm_head\n", 1, 1 },
        { "lm_head|model", "x.model", 0, 1 },
        { "^.{3}$",
          "\xc3\xa4"
          "b\xe2\x82\xac",
          1, 1 }, /* characters, not bytes */
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        assert_int_equal(test(cases[i].pattern, REGEX_MATCH, cases[i].text), cases[i].match);
        assert_int_equal(test(cases[i].pattern, REGEX_SEARCH, cases[i].text), cases[i].search);
    }
}

static void the_length_counts_not_the_terminator(void **state)
{
    glmq_regex *re;
    int yes;
    (void)state;
    assert_int_equal(glmq_regex_open(&re, "mlp$", REGEX_SEARCH, NULL, NULL), GLMQ_OK);
    assert_int_equal(glmq_regex_test(re, "a.mlp.up", 5, &yes, NULL), GLMQ_OK);
    assert_int_equal(yes, 1);
    assert_int_equal(glmq_regex_test(re, "a.mlp.up", 8, &yes, NULL), GLMQ_OK);
    assert_int_equal(yes, 0);
    assert_int_equal(glmq_regex_test(re, "\xff\xfe", 2, &yes, NULL), GLMQ_OK);
    assert_int_equal(yes, 0);
    glmq_regex_close(re);
}

static void a_broken_pattern_is_refused_with_its_place(void **state)
{
    static const struct {
        const char *pattern, *message;
    } bad[] = {
        { "mlp.(gate", "pattern \"mlp.(gate\": missing closing parenthesis (at byte 9)" },
        { "*.mlp", "pattern \"*.mlp\": quantifier does not follow a repeatable item (at byte 0)" },
        { "a\\", "pattern \"a\\\": \\ at end of pattern (at byte 2)" },
        { "[z-a]", "pattern \"[z-a]\": range out of order in character class (at byte 3)" },
    };
    glmq_regex *re = (glmq_regex *)&re;
    glmq_error err;
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(bad); i++) {
        assert_int_equal(glmq_regex_open(&re, bad[i].pattern, REGEX_MATCH, NULL, &err),
                         GLMQ_E_FORMAT);
        assert_string_equal(err.msg, bad[i].message);
        assert_null(re);
    }
    assert_int_equal(glmq_regex_open(&re, "\xc3(", REGEX_MATCH, NULL, &err), GLMQ_E_FORMAT);
    assert_int_equal(glmq_regex_open(&re, "\\C", REGEX_MATCH, NULL, &err), GLMQ_E_FORMAT);
}

static void an_endless_pattern_is_refused(void **state)
{
    char *pattern = malloc(GLMQ_PATTERN_MAX + 2);
    glmq_regex *re;
    glmq_error err;
    (void)state;
    memset(pattern, 'a', GLMQ_PATTERN_MAX + 1);
    pattern[GLMQ_PATTERN_MAX + 1] = '\0';
    assert_int_equal(glmq_regex_open(&re, pattern, REGEX_MATCH, NULL, &err), GLMQ_E_FORMAT);
    pattern[GLMQ_PATTERN_MAX] = '\0';
    assert_int_equal(glmq_regex_open(&re, pattern, REGEX_MATCH, NULL, &err), GLMQ_OK);
    glmq_regex_close(re);
    memset(pattern, '(', 2000);
    pattern[2000] = '\0';
    assert_int_equal(glmq_regex_open(&re, pattern, REGEX_MATCH, NULL, &err), GLMQ_E_FORMAT);
    free(pattern);
    assert_int_equal(
        glmq_regex_open(&re, "(((a{1000}){1000}){1000}){1000}", REGEX_MATCH, NULL, &err),
        GLMQ_E_FORMAT);
}

/* CPU seconds of matching a pattern with up to `names` names; the status of the last. */
static double burn(const char *pattern, glmq_regex_mode mode, size_t names, glmq_status *st,
                   glmq_error *err)
{
    const clock_t begin = clock();
    glmq_regex *re;
    int yes;

    if (glmq_regex_open(&re, pattern, mode, NULL, err)) fail_msg("%s", err->msg);
    *st = GLMQ_OK;
    for (size_t i = 0; i < names && !*st; i++) {
        char name[256];
        snprintf(name, sizeof name, "model.layers.%zu.mlp.experts.%zu.aaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                 i / 256, i % 256);
        *st = glmq_regex_test(re, name, strlen(name), &yes, err);
    }
    glmq_regex_close(re);
    return (double)(clock() - begin) / CLOCKS_PER_SEC;
}

static void hostile_patterns_end_soon(void **state)
{
    static const char *const hostile[] = {
        "(.*a+)+$x",          "(a|aa)+$.",         "(x+x+)+y|(.*)*!", "(.*)(.*)e$",
        "(.*)(.*)(.*)(.*)e$", "(?:(?:a|b|.)*)*e$", "(.)(?R)?\\1e",    "(a|.)+e$",
    };
    glmq_error err;
    glmq_status st;
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(hostile); i++)
        for (int mode = REGEX_MATCH; mode <= REGEX_SEARCH; mode++) {
            const double took = burn(hostile[i], (glmq_regex_mode)mode, 60000, &st, &err);
            print_message("%s: %.2f s, %s\n", hostile[i], took, st ? err.msg : "ok");
            assert_true(took < 60); /* a slow machine under a sanitizer */
            assert_true(st == GLMQ_OK || st == GLMQ_E_LIMIT);
        }
    burn(hostile[0], REGEX_MATCH, 1, &st, &err);
    assert_int_equal(st, GLMQ_E_LIMIT);
    assert_non_null(
        strstr(err.msg, "pattern \"(.*a+)+$x\": matching \"model.layers.0.mlp.experts.0."));
    assert_non_null(strstr(err.msg, "takes too long"));
}

static void patterns_of_one_config_count_together(void **state)
{
    static const char text[] = "model.layers.0.mlp.experts.0.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    uint64_t steps = 0;
    glmq_regex *a, *b;
    int yes;
    (void)state;
    assert_int_equal(glmq_regex_open(&a, "model", REGEX_MATCH, &steps, NULL), GLMQ_OK);
    assert_int_equal(glmq_regex_open(&b, "model", REGEX_MATCH, &steps, NULL), GLMQ_OK);
    assert_int_equal(glmq_regex_test(a, text, sizeof text - 1, &yes, NULL), GLMQ_OK);
    const uint64_t once = steps;
    assert_true(once > 0);
    assert_int_equal(glmq_regex_test(b, text, sizeof text - 1, &yes, NULL), GLMQ_OK);
    assert_int_equal(steps, 2 * once);
    steps = UINT64_C(1) << 40;
    assert_int_equal(glmq_regex_test(a, text, sizeof text - 1, &yes, NULL), GLMQ_E_LIMIT);
    glmq_regex_close(a);
    glmq_regex_close(b);
}

static void literals_are_told_from_patterns(void **state)
{
    char text[32];
    (void)state;
    assert_int_equal(glmq_regex_literal("^model\\.layers\\.3\\.mlp$", text, sizeof text), 1);
    assert_string_equal(text, "model.layers.3.mlp");
    assert_int_equal(glmq_regex_literal("^lm_head$", text, sizeof text), 1);
    assert_string_equal(text, "lm_head");
    assert_int_equal(glmq_regex_literal("^lm_head", text, sizeof text), 0);
    assert_int_equal(glmq_regex_literal("lm_head$", text, sizeof text), 0);
    assert_int_equal(glmq_regex_literal("^a.b$", text, sizeof text), 0);
    assert_int_equal(glmq_regex_literal("^a\\d$", text, sizeof text), 0);
    assert_int_equal(glmq_regex_literal("^a$|b$", text, sizeof text), 0);
    assert_int_equal(glmq_regex_literal("^a\\$", text, sizeof text), 0);
    assert_int_equal(glmq_regex_literal("^a\\", text, sizeof text), 0);
    assert_int_equal(
        glmq_regex_literal("^abcdefghijklmnopqrstuvwxyzabcdefghijk$", text, sizeof text), 0);
}

static void every_allocation_may_fail(void **state)
{
    long n = 0;
    glmq_status st;
    (void)state;
    do {
        glmq_regex *re;
        int yes;
        glmq_fail_alloc_at(++n);
        st = glmq_regex_open(&re, "(a|b)*c", REGEX_SEARCH, NULL, NULL);
        if (!st) st = glmq_regex_test(re, "ababababc", 9, &yes, NULL);
        glmq_fail_alloc_at(0);
        glmq_regex_close(re);
        assert_true(st == GLMQ_OK || st == GLMQ_E_NOMEM);
    } while (st);
    assert_true(n > 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(says_what_python_says),
        cmocka_unit_test(the_length_counts_not_the_terminator),
        cmocka_unit_test(a_broken_pattern_is_refused_with_its_place),
        cmocka_unit_test(an_endless_pattern_is_refused),
        cmocka_unit_test(hostile_patterns_end_soon),
        cmocka_unit_test(patterns_of_one_config_count_together),
        cmocka_unit_test(literals_are_told_from_patterns),
        cmocka_unit_test(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
