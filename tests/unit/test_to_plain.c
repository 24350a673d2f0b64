/* Every fixture checkpoint to plain floats: in F32 the digests stay, in BF16 and F16 every
 * value is the source's, rounded once. */
#include "unit/expected.h"
#include "unit/fixture_list.h"
#include "base/num.h"
#include "codecs/codec.h"
#include "io/out.h"
#include "verify/digest.h"

static void must_run(const glmq_graph *g, const char *to, const char *dst, glmq_run_result *r)
{
    const glmq_plan_options opt = { 0 };
    const glmq_run_options how = { 0 };
    glmq_recipe *recipe = NULL;
    glmq_plan *plan = NULL;
    glmq_error err;

    if (glmq_recipe_open(&recipe, to, &err) || glmq_plan_open(&plan, g, recipe, dst, &opt, &err) ||
        glmq_run(plan, &how, r, &err))
        fail_msg("to %s: %s", to, err.msg);
    glmq_plan_close(plan);
    glmq_recipe_close(recipe);
}

static float *decode(const glmq_graph *g, const glmq_tensor *t)
{
    float *w = malloc((size_t)(t->rows * t->cols) * sizeof *w + 1);
    glmq_error err;

    assert_non_null(w);
    if (glmq_tensor_decode(g, t, 0, t->rows, w, &err)) fail_msg("%s", err.msg);
    return w;
}

/* A value of the dtype, rounded once by the test's own rounding. */
static float rounded(const char *dtype, float w)
{
    uint32_t bits = (uint32_t)round_bf16(w) << 16;
    float out = w;

    if (strcmp(dtype, "F16") == 0) return f32_from_f16(round_f16(w));
    if (strcmp(dtype, "BF16") == 0) memcpy(&out, &bits, sizeof out);
    return out;
}

/* By value: a tensor may come from its codes or from its values, so that 0 may lose its sign. */
static void must_be_rounded_once(const glmq_graph *from, const glmq_graph *to, const char *dtype,
                                 const glmq_tensor *t)
{
    const glmq_tensor *u = glmq_graph_find(to, t->name);
    const size_t n = (size_t)(t->rows * t->cols);
    float *have, *want;

    if (!u) fail_msg("no %s in the result", t->name);
    assert_int_equal(u->rank, t->rank);
    assert_int_equal(u->rows * u->cols, n);
    if (t->role == GLMQ_ROLE_ROUTER_BIAS) dtype = "F32"; /* is never narrowed */
    assert_string_equal(glmq_dtype_name(glmq_encoding_dtype(&u->part[0].enc)), dtype);
    want = decode(from, t);
    have = decode(to, u);
    for (size_t i = 0; i < n; i++)
        if (have[i] != rounded(dtype, want[i]))
            fail_msg("%s: value %zu is %a, not %a in %s", t->name, i, (double)have[i],
                     (double)want[i], dtype);
    free(have);
    free(want);
}

/* What was written, read again. */
static void must_have_digest(const glmq_graph *g, const struct listed *f)
{
    const glmq_digest_options opt = { 0 };
    char(*hex)[33], model[33], want[33];
    glmq_error err;

    listed_model(f, want);
    if (glmq_digest_tensors(g, &opt, &hex, model, &err)) fail_msg("%s", err.msg);
    assert_string_equal(model, want);
    glmq_free(hex);
}

static void check_rounded(const struct listed *f, const glmq_graph *from, const char *dst,
                          const char *dtype)
{
    const glmq_graph_options opt = { .allow_incomplete = f->incomplete };
    glmq_source *src;
    glmq_graph *to;
    glmq_error err;

    if (glmq_source_open(&src, dst, NULL, &err) || glmq_graph_open(&to, src, &opt, &err))
        fail_msg("%s in %s: %s", f->name, dtype, err.msg);
    assert_int_equal(glmq_graph_count(to), glmq_graph_count(from));
    if (strcmp(dtype, "F32") == 0)
        must_have_digest(to, f);
    else
        for (size_t i = 0; i < glmq_graph_count(from); i++)
            must_be_rounded_once(from, to, dtype, glmq_graph_tensor(from, i));
    glmq_graph_close(to);
    glmq_source_close(src);
}

static void convert_all(const char *to, const char *dtype)
{
    if (!fixtures_or_skip()) skip();
    for (size_t i = 0; i < GLMQ_COUNT(fixture_list); i++) {
        char dir[256], dst[300], model[33];
        glmq_run_result r;
        listed_open o;
        glmq_error err;

        if (!open_listed(&fixture_list[i], &o)) continue;
        listed_model(&fixture_list[i], model);
        fresh_folder(dir);
        snprintf(dst, sizeof dst, "%s/out", dir);
        must_run(o.g, to, dst, &r);
        assert_string_equal(r.source_digest, model);
        if (strcmp(to, "f32") == 0) assert_string_equal(r.result_digest, model);
        check_rounded(&fixture_list[i], o.g, dst, dtype);
        assert_int_equal(glmq_out_remove_tree(dir, &err), GLMQ_OK);
        close_listed(&o);
    }
}

static void any_to_f32_keeps_the_digests(void **state)
{
    (void)state;
    convert_all("f32", "F32");
}

static void any_to_bf16_rounds_once(void **state)
{
    (void)state;
    convert_all("bf16", "BF16");
}

static void any_to_f16_rounds_once(void **state)
{
    (void)state;
    convert_all("f16", "F16");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_to_f32_keeps_the_digests),
        cmocka_unit_test(any_to_bf16_rounds_once),
        cmocka_unit_test(any_to_f16_rounds_once),
    };
    return cmocka_run_group_tests_name("to plain floats", tests, NULL, NULL);
}
