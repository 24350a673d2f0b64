/* The full validation: what only data shows.  Each test damages one value of a converted
 * sample and finds exactly that. */
#include "verify_files.h"
#include "verify/check.h"

static const char expert[] = "model.layers.1.mlp.experts.2.up_proj.weight";
static const char bias[] = "model.layers.1.mlp.gate.e_score_correction_bias";

static glmq_check check(const char *name)
{
    const glmq_digest_options opt = { .jobs = 3 };
    glmq_check c = { 0 };
    glmq_error err;
    opened o = open_named(name);

    if (glmq_check_run(&c, o.g, &opt, &err)) fail_msg("%s", err.msg);
    /* Names point into the graph: copied, so that it may be closed. */
    for (size_t i = 0; i < c.count; i++)
        if (c.at[i].tensor) c.at[i].tensor = glmq_arena_strdup(&c.arena, c.at[i].tensor);
    shut(&o);
    return c;
}

/* The checkpoint has this problem, at this tensor, and no other of that severity. */
static void has_only(const char *name, glmq_severity severity, const char *code, const char *tensor,
                     const char *message)
{
    glmq_check c = check(name);
    size_t others = 0, found = 0;

    for (size_t i = 0; i < c.count; i++) {
        if (c.at[i].severity != severity) continue;
        if (strcmp(c.at[i].code, code) != 0) {
            others++;
            continue;
        }
        found++;
        if (tensor) assert_string_equal(c.at[i].tensor, tensor);
        if (!strstr(c.at[i].message, message)) fail_msg("\"%s\"", c.at[i].message);
    }
    assert_int_equal(found, 1);
    assert_int_equal(others, 0);
    glmq_check_free(&c);
}

static void finds_nothing_in_a_sound_checkpoint(void **state)
{
    static const char *const targets[] = { "bf16", "gptq:bits=8,group=32,asym", "gguf:Q5_1",
                                           "compressed-tensors:int4,channel" };
    char name[16] = "sound0";
    (void)state;
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++, name[5]++) {
        convert_sample(name, targets[i]);
        glmq_check c = check(name);
        assert_int_equal(c.errors, 0);
        for (size_t k = 0; k < c.count; k++)
            if (c.at[k].severity != GLMQ_NOTE)
                fail_msg("%s: %s: %s", targets[i], c.at[k].code, c.at[k].message);
        glmq_check_free(&c);
    }
}

static void finds_a_scale_that_is_not_finite(void **state)
{
    const uint8_t nan[2] = { 0xc0, 0x7f }; /* BF16 */
    (void)state;
    convert_sample("nan", "compressed-tensors:int4,group=32");
    patch("nan", expert, GLMQ_SLOT_SCALES, 2 * (5 * 2 + 1), nan, 2); /* 2 groups a row */
    has_only("nan", GLMQ_ERROR, "scale-not-finite", expert,
             "1 of 128 scales are NaN or infinite; the first is number 11");
}

static void finds_an_infinite_scale_of_gptq(void **state)
{
    const uint8_t inf[2] = { 0x00, 0x7c }; /* F16 */
    (void)state;
    convert_sample("gptqinf", "gptq:bits=4,group=32");
    patch("gptqinf", expert, GLMQ_SLOT_SCALES, 2, inf, 2);
    has_only("gptqinf", GLMQ_ERROR, "scale-not-finite", expert, "the first is number 1");
}

static void finds_an_infinite_scale_inside_gguf_blocks(void **state)
{
    const uint8_t inf[2] = { 0x00, 0x7c }; /* F16 */
    (void)state;
    convert_sample("inf.gguf", "gguf:Q8_0");
    patch("inf.gguf", expert, GLMQ_SLOT_CODES, 34 * (7 * 2), inf, 2); /* blocks of 34 bytes */
    has_only("inf.gguf", GLMQ_ERROR, "scale-not-finite", expert, "row 7, group 0");
}

static void warns_of_a_scale_of_zero_under_codes(void **state)
{
    const uint8_t zero[2] = { 0 };
    (void)state;
    convert_sample("zero", "compressed-tensors:int4,group=32");
    patch("zero", expert, GLMQ_SLOT_SCALES, 0, zero, 2);
    has_only("zero", GLMQ_WARNING, "scale-zero", expert, "row 0, group 0");
}

static void finds_a_group_number_out_of_range(void **state)
{
    const int32_t far = 99;
    (void)state;
    convert_sample("g_idx", "gptq:bits=4,group=32");
    patch("g_idx", expert, GLMQ_SLOT_PERM, 4 * 10, &far, 4);
    has_only("g_idx", GLMQ_ERROR, "bad-tensor", expert, "99");
}

static void warns_of_groups_that_are_not_even(void **state)
{
    const int32_t one = 1;
    (void)state;
    convert_sample("uneven", "gptq:bits=4,group=32");
    patch("uneven", expert, GLMQ_SLOT_PERM, 4 * 10, &one, 4);
    has_only("uneven", GLMQ_WARNING, "uneven-groups", expert, "2 of 2 groups");
}

static void finds_a_norm_that_is_not_finite(void **state)
{
    const uint8_t nan[2] = { 0xff, 0xff };
    (void)state;
    convert_sample("norm", "bf16");
    patch("norm", "model.norm.weight", GLMQ_SLOT_CODES, 6, nan, 2);
    has_only("norm", GLMQ_ERROR, "value-not-finite", "model.norm.weight", "1 of 64 values");
}

static void finds_a_routing_bias_that_was_rounded(void **state)
{
    const float rounded[] = { 6.875f, 6.875f, 6.90625f, 6.8125f }; /* BF16 values, F32 */
    (void)state;
    convert_sample("bias", "bf16");
    patch("bias", bias, GLMQ_SLOT_CODES, 0, rounded, sizeof rounded);
    has_only("bias", GLMQ_ERROR, "router-bias-collapsed", bias, "4 values, 3 distinct");
}

static void warns_of_a_routing_bias_that_may_have_been_rounded(void **state)
{
    const float rounded[] = { 6.875f, 6.84375f, 6.90625f, 6.8125f };
    (void)state;
    convert_sample("bias2", "bf16");
    patch("bias2", bias, GLMQ_SLOT_CODES, 0, rounded, sizeof rounded);
    has_only("bias2", GLMQ_WARNING, "router-bias-rounded", bias, "each of the 4 values");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_nothing_in_a_sound_checkpoint),
        cmocka_unit_test(finds_a_scale_that_is_not_finite),
        cmocka_unit_test(finds_an_infinite_scale_of_gptq),
        cmocka_unit_test(finds_an_infinite_scale_inside_gguf_blocks),
        cmocka_unit_test(warns_of_a_scale_of_zero_under_codes),
        cmocka_unit_test(finds_a_group_number_out_of_range),
        cmocka_unit_test(warns_of_groups_that_are_not_even),
        cmocka_unit_test(finds_a_norm_that_is_not_finite),
        cmocka_unit_test(finds_a_routing_bias_that_was_rounded),
        cmocka_unit_test(warns_of_a_routing_bias_that_may_have_been_rounded),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
