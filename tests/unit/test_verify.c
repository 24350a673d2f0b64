/* glmq_verify: numbers worked out by hand, what counts as equal, order, permutations. */
#include "base/mem.h"
#include "verify/check.h"
#include "verify/report.h"
#include "verify_files.h"
#include <math.h>

/* ---- what was told ---- */

enum { TOLD_MAX = 512 };

typedef struct told {
    glmq_difference d[TOLD_MAX];
    char name[TOLD_MAX][128], note[TOLD_MAX][256], owner[TOLD_MAX][128]; /* copies: graphs close */
    size_t count;
    glmq_verify_result total;
    glmq_status status;
    glmq_error err;
} told;

static void take(void *user, const glmq_difference *d)
{
    told *t = user;
    assert_true(t->count < TOLD_MAX);
    t->d[t->count] = *d;
    snprintf(t->name[t->count], sizeof t->name[0], "%s", d->name);
    if (d->a) snprintf(t->owner[t->count], sizeof t->owner[0], "%s", d->a->name);
    snprintf(t->note[t->count], sizeof t->note[0], "%s", d->note ? d->note : "");
    t->count++;
}

static told *compare(const char *a, const char *b, glmq_verify_options opt)
{
    static told t;
    opened x = open_named(a), y = open_named(b);

    memset(&t, 0, sizeof t);
    opt.each = take;
    opt.user = &t;
    t.status = glmq_verify(x.g, y.g, &opt, &t.total, &t.err);
    shut(&x);
    shut(&y);
    return &t;
}

static const glmq_verify_options values = { .level = GLMQ_VERIFY_VALUES };
static const glmq_verify_options codes = { .level = GLMQ_VERIFY_CODES };
static const glmq_verify_options bytes = { .level = GLMQ_VERIFY_BYTES };

/* ---- values ---- */

static const float one_to_four[] = { 1, 2, 3, 4 };

static void sums_up_one_difference(void **state)
{
    static const float other[] = { 1, 2, 3, 5 };
    (void)state;
    write_loose("a.safetensors", &(matrix){ "w", 2, 2, one_to_four }, 1);
    write_loose("b.safetensors", &(matrix){ "w", 2, 2, other }, 1);
    const told *t = compare("a.safetensors", "b.safetensors", values);

    assert_int_equal(t->status, GLMQ_OK);
    assert_int_equal(t->count, 1);
    assert_int_equal(t->d[0].exact, 0);
    assert_true(t->d[0].rmse == 0.5);                     /* sqrt(1 / 4)      */
    assert_true(t->d[0].relative_rmse == sqrt(1.0 / 30)); /* 1 + 4 + 9 + 16   */
    assert_true(t->d[0].max_abs == 1);
    assert_int_equal(t->d[0].max_index, 3);
    assert_true(t->d[0].cosine == 34 / sqrt(30.0 * 39)); /* 1 + 4 + 9 + 20   */
    assert_true(t->d[0].snr_db == 10 * log10(30.0));
    assert_int_equal(t->total.differ, 1);
    assert_true(t->total.max_rmse == 0.5);
    assert_string_not_equal(t->total.digest_a, t->total.digest_b);
}

static void takes_zeros_of_either_sign_and_any_nan_for_equal(void **state)
{
    const float a[] = { 0.0f, NAN, 1, INFINITY }, b[] = { -0.0f, -NAN, 1, INFINITY };
    (void)state;
    write_loose("a.safetensors", &(matrix){ "w", 4, 0, a }, 1);
    write_loose("b.safetensors", &(matrix){ "w", 4, 0, b }, 1);
    const told *t = compare("a.safetensors", "b.safetensors", values);

    assert_int_equal(t->d[0].exact, 1);
    assert_int_equal(t->d[0].nonfinite_a, 2);
    assert_int_equal(t->d[0].nonfinite_b, 2);
    assert_true(t->d[0].rmse == 0 && t->d[0].cosine == 1 && isinf(t->d[0].snr_db));
    assert_string_equal(t->total.digest_a, t->total.digest_b);
}

static void leaves_what_is_not_finite_out_of_the_sums(void **state)
{
    const float a[] = { NAN, 3, 4 }, b[] = { 1, 3, 6 };
    (void)state;
    write_loose("a.safetensors", &(matrix){ "w", 3, 0, a }, 1);
    write_loose("b.safetensors", &(matrix){ "w", 3, 0, b }, 1);
    const told *t = compare("a.safetensors", "b.safetensors", values);

    assert_int_equal(t->d[0].exact, 0);
    assert_int_equal(t->d[0].nonfinite_a, 1);
    assert_int_equal(t->d[0].nonfinite_b, 0);
    assert_true(t->d[0].rmse == sqrt(4.0 / 2));
    assert_int_equal(t->d[0].max_index, 2);
}

static void names_what_is_missing_extra_or_of_another_shape(void **state)
{
    const matrix a[] = { { "both", 2, 2, one_to_four },
                         { "only_a", 4, 0, one_to_four },
                         { "turned", 1, 4, one_to_four } };
    const matrix b[] = { { "both", 2, 2, one_to_four },
                         { "only_b", 4, 0, one_to_four },
                         { "turned", 4, 1, one_to_four } };
    (void)state;
    write_loose("a.safetensors", a, 3);
    write_loose("b.safetensors", b, 3);
    const told *t = compare("a.safetensors", "b.safetensors", values);

    assert_int_equal(t->count, 4);
    assert_int_equal(t->total.exact, 1);
    assert_int_equal(t->total.missing, 1);
    assert_int_equal(t->total.extra, 1);
    assert_int_equal(t->total.differ, 1);
    assert_string_equal(t->name[3], "only_b"); /* what only b has comes last */
    assert_int_equal(t->d[3].extra, 1);
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->name[i], "only_a") == 0) assert_int_equal(t->d[i].missing, 1);
        if (strcmp(t->name[i], "turned") == 0)
            assert_string_equal(t->note[i], "shapes differ: 1 x 4 and 4 x 1");
    }
}

static void gives_the_same_rows_in_the_same_order_on_any_number_of_threads(void **state)
{
    (void)state;
    convert_sample("q4.gguf", "gguf:Q4_0");
    convert_sample("q8.gguf", "gguf:Q8_0");
    glmq_verify_options opt = values;
    opt.jobs = 1;
    const told one = *compare("q4.gguf", "q8.gguf", opt);
    opt.jobs = 7;
    const told *many = compare("q4.gguf", "q8.gguf", opt);

    assert_int_equal(one.status, GLMQ_OK);
    assert_true(one.count > 70);
    assert_int_equal(one.count, many->count);
    for (size_t i = 0; i < one.count; i++) {
        assert_string_equal(one.name[i], many->name[i]);
        assert_true(one.d[i].rmse == many->d[i].rmse && one.d[i].cosine == many->d[i].cosine);
    }
}

static void stops_when_told_to(void **state)
{
    const volatile int stop = 1;
    glmq_verify_options opt = values;
    (void)state;
    opt.cancel = &stop;
    write_loose("a.safetensors", &(matrix){ "w", 2, 2, one_to_four }, 1);
    assert_int_equal(compare("a.safetensors", "a.safetensors", opt)->status, GLMQ_E_CANCELLED);
}

static void refuses_a_tensor_that_no_budget_holds(void **state)
{
    glmq_verify_options opt = values;
    (void)state;
    opt.memory = 16;
    write_loose("a.safetensors", &(matrix){ "w", 2, 2, one_to_four }, 1);
    const told *t = compare("a.safetensors", "a.safetensors", opt);
    assert_int_equal(t->status, GLMQ_E_ARG);
    assert_non_null(strstr(t->err.msg, "--memory is 16"));
}

/* Every allocation made to fail in turn, until one run gets through without. */
static void survives_any_allocation_that_fails(void **state)
{
    const matrix a[] = { { "w", 2, 2, one_to_four }, { "x", 4, 0, one_to_four } };
    const matrix b[] = { { "w", 2, 2, one_to_four }, { "y", 4, 0, one_to_four } };
    const glmq_digest_options one_job = { .jobs = 1 };
    glmq_status st = GLMQ_E_NOMEM;
    glmq_error err;
    (void)state;
    write_loose("a.safetensors", a, 2);
    write_loose("b.safetensors", b, 2);
    opened x = open_named("a.safetensors"), y = open_named("b.safetensors");
    for (long n = 1; st; n++) {
        glmq_report report = { .source = "a", .result = "b", .max_rmse_allowed = -1 };
        glmq_verify_options opt = {
            .level = GLMQ_VERIFY_VALUES, .jobs = 1, .each = glmq_report_add, .user = &report
        };
        glmq_check c = { 0 };
        glmq_fail_alloc_at(n);
        st = glmq_verify(x.g, y.g, &opt, &report.total, &err);
        if (!st) st = glmq_check_run(&c, x.g, &one_job, &err);
        if (!st && report.failed) st = GLMQ_E_NOMEM;
        glmq_fail_alloc_at(0);
        assert_true(st == GLMQ_OK || st == GLMQ_E_NOMEM);
        glmq_report_free(&report);
        glmq_check_free(&c);
        assert_true(n < 10000);
    }
    shut(&x);
    shut(&y);
}

/* ---- permutations ---- */

static void write_permuted(const char *manifest)
{
    static const float a[] = { 1, 2, 3, 4, 5, 6 }; /* rows (1 2 3), (4 5 6) */
    static const float b[] = { 6, 4, 5, 3, 1, 2 }; /* row i is a's 1 - i, column j is a's 2, 0, 1 */
    char path[256];
    mkdir(in_work("permuted", path), 0700);
    write_loose("a.safetensors", &(matrix){ "w", 2, 3, a }, 1);
    write_loose("permuted/model.safetensors", &(matrix){ "w", 2, 3, b }, 1);
    write_text("permuted/glmq-manifest.json", manifest);
}

static void follows_the_manifest_s_orders(void **state)
{
    (void)state;
    write_permuted("{\"tensors\":[{\"name\":\"w\",\"row_permutation\":[1,0],"
                   "\"column_permutation\":[2,0,1]}]}");
    const told *t = compare("a.safetensors", "permuted", values);
    assert_int_equal(t->status, GLMQ_OK);
    assert_int_equal(t->d[0].exact, 1);
    assert_int_equal(compare("a.safetensors", "permuted", codes)->d[0].exact, 1);
}

static void refuses_an_order_that_is_no_permutation(void **state)
{
    static const char *const bad[] = {
        "{\"tensors\":[{\"name\":\"w\",\"row_permutation\":[1,1]}]}",
        "{\"tensors\":[{\"name\":\"w\",\"row_permutation\":[0,2]}]}",
        "{\"tensors\":[{\"name\":\"w\",\"row_permutation\":[0,1,2]}]}",
        "{\"tensors\":[{\"name\":\"w\",\"column_permutation\":[0,-1,1]}]}",
        "{\"tensors\":[{\"name\":\"w\",\"row_permutation\":[0,1]",
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_permuted(bad[i]);
        assert_int_equal(compare("a.safetensors", "permuted", values)->status, GLMQ_E_FORMAT);
    }
}

/* ---- codes and bytes ---- */

static const char expert[] = "model.layers.1.mlp.experts.2.up_proj.weight";

static const glmq_difference *row_of(const told *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++)
        if (strcmp(t->name[i], name) == 0) return &t->d[i];
    return NULL;
}

static void finds_the_same_codes_in_other_packings(void **state)
{
    static const struct {
        const char *name, *to;
    } others[] = { { "codes.gguf", "gguf" }, { "codes-gptq", "gptq" } };
    char path[256];
    (void)state;
    convert_sample("codes", "compressed-tensors:int4,group=32,scale=F16");
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        convert(in_work("codes", path), others[i].name, others[i].to);
        const told *t = compare("codes", others[i].name, codes);
        assert_int_equal(t->status, GLMQ_OK);
        assert_true(t->count > 70);
        assert_int_equal(t->total.exact, t->count);
        assert_ptr_not_equal(row_of(t, expert)->a, NULL);
    }
    /* Not the same codes: another rule chose them. */
    convert_sample("codes8", "gptq:bits=8,group=32");
    assert_int_equal(row_of(compare("codes", "codes8", codes), expert)->exact, 0);
}

static void names_the_code_that_differs(void **state)
{
    const uint8_t flipped = 0xff;
    (void)state;
    convert_sample("ct1", "compressed-tensors:int4,group=32");
    convert_sample("ct2", "compressed-tensors:int4,group=32");
    assert_int_equal(compare("ct1", "ct2", codes)->total.differ, 0);
    assert_int_equal(compare("ct1", "ct2", bytes)->total.differ, 0);

    /* Row 3 of 64 columns takes 32 bytes; byte 5 of it holds columns 10 and 11. */
    patch("ct2", expert, GLMQ_SLOT_CODES, 3 * 32 + 5, &flipped, 1);
    const told *t = compare("ct1", "ct2", codes);
    assert_int_equal(t->total.differ, 1);
    const glmq_difference *d = row_of(t, expert);
    assert_int_equal(d->exact, 0);
    assert_non_null(strstr(t->note[d - t->d], "row 3 column 1"));
    assert_true(d->rmse > 0); /* and by how much that matters */

    t = compare("ct1", "ct2", bytes);
    assert_int_equal(t->total.differ, 1);
    d = row_of(t, "model.layers.1.mlp.experts.2.up_proj.weight_packed");
    assert_int_equal(d->exact, 0);
    assert_string_equal(t->owner[d - t->d], expert);
}

static void finds_a_changed_scale_under_the_same_codes(void **state)
{
    const uint8_t one[2] = { 0x80, 0x3f }; /* BF16 1.0 */
    (void)state;
    convert_sample("s1", "compressed-tensors:int4,group=32");
    convert_sample("s2", "compressed-tensors:int4,group=32");
    patch("s2", expert, GLMQ_SLOT_SCALES, 0, one, 2);
    const told *t = compare("s1", "s2", codes);
    assert_int_equal(t->total.differ, 1);
    assert_non_null(strstr(t->note[row_of(t, expert) - t->d], "row 0 column 0"));
}

static void cannot_compare_bytes_of_unlike_containers(void **state)
{
    (void)state;
    convert_sample("c.gguf", "gguf");
    write_loose("a.safetensors", &(matrix){ "w", 2, 2, one_to_four }, 1);
    assert_int_equal(compare("c.gguf", "a.safetensors", bytes)->status, GLMQ_E_UNSUPPORTED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sums_up_one_difference),
        cmocka_unit_test(takes_zeros_of_either_sign_and_any_nan_for_equal),
        cmocka_unit_test(leaves_what_is_not_finite_out_of_the_sums),
        cmocka_unit_test(names_what_is_missing_extra_or_of_another_shape),
        cmocka_unit_test(gives_the_same_rows_in_the_same_order_on_any_number_of_threads),
        cmocka_unit_test(stops_when_told_to),
        cmocka_unit_test(refuses_a_tensor_that_no_budget_holds),
        cmocka_unit_test(survives_any_allocation_that_fails),
        cmocka_unit_test(follows_the_manifest_s_orders),
        cmocka_unit_test(refuses_an_order_that_is_no_permutation),
        cmocka_unit_test(finds_the_same_codes_in_other_packings),
        cmocka_unit_test(names_the_code_that_differs),
        cmocka_unit_test(finds_a_changed_scale_under_the_same_codes),
        cmocka_unit_test(cannot_compare_bytes_of_unlike_containers),
    };
    return cmocka_run_group_tests(tests, make_work, remove_work);
}
