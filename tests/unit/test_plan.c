/* Plans: lists, byte ranges, travel, refusals, digest. */
#include "convert_files.h"
#include "base/mem.h"
#include "models/graph.h"

static char sample[1024], dst[300];

static int set_up(void **state)
{
    const char *samples = getenv("GLMQ_SAMPLES");
    (void)state;
    if (!samples) return -1;
    path_in(sample, samples, "glm4-moe-tiny");
    snprintf(dst, sizeof dst, "/tmp/glmq-test-never-made-%d", (int)getpid());
    return 0;
}

static void a_plan_knows_every_file_to_the_byte(void **state)
{
    static const char *const targets[] = { "bf16", "f32", "gguf:Q8_0", "gptq:group=32",
                                           "compressed-tensors:int8,group=32" };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(targets); i++) {
        conversion c;
        char out[256], path[1024];
        uint64_t sum = 0;
        struct stat is;
        fresh_folder(out);
        path_in(path, out, "result");
        assert_int_equal(conversion_plan(&c, sample, targets[i], path, NULL), GLMQ_OK);
        assert_false(glmq_out_exists(path));
        assert_int_equal(glmq_run(c.plan, NULL, NULL, &c.err), GLMQ_OK);
        for (size_t f = 0; f < glmq_plan_file_count(c.plan); f++) {
            char file[1024];
            snprintf(file, sizeof file, "%s/%s", path, glmq_plan_file_name(c.plan, f));
            assert_int_equal(stat(file, &is), 0);
            assert_int_equal(is.st_size, glmq_plan_file_bytes(c.plan, f));
            sum += (uint64_t)is.st_size;
        }
        assert_int_equal(sum, glmq_plan_write_bytes(c.plan));
        /* … and the manifest */
        assert_int_equal(count_files(path), glmq_plan_file_count(c.plan) + 1);
        conversion_close(&c);
        assert_int_equal(glmq_out_remove_tree(out, NULL), GLMQ_OK);
    }
}

static void every_item_has_travel_rule_and_memory(void **state)
{
    conversion c;
    (void)state;
    assert_int_equal(conversion_plan(&c, sample, "gguf:Q8_0", dst, NULL), GLMQ_OK);
    assert_int_equal(c.plan->items.count + c.plan->dropped.count, glmq_graph_count(c.graph));
    for (size_t i = 0; i < c.plan->items.count; i++) {
        const glmq_item *it = &c.plan->items.at[i];
        uint64_t bytes = 0;
        assert_non_null(it->rule);
        assert_true(it->peak > 0 && it->peak < glmq_plan_peak_bytes(c.plan));
        for (uint32_t k = 0; k < it->pieces; k++) bytes += c.plan->pieces.at[it->piece + k].bytes;
        assert_int_equal(bytes, it->bytes);
        if (it->travel == GLMQ_RECODE) assert_non_null(it->reason);
    }
    conversion_close(&c);
}

static void the_same_source_and_options_give_the_same_digest(void **state)
{
    conversion a, b;
    const glmq_plan_options more = { .jobs = 7, .memory = 1ull << 30 };
    const glmq_plan_options other = { .shard_size = 100000 };
    (void)state;
    assert_int_equal(conversion_plan(&a, sample, "bf16", dst, NULL), GLMQ_OK);
    assert_int_equal(conversion_plan(&b, sample, "bf16", "/tmp/elsewhere-never-made", &more),
                     GLMQ_OK);
    assert_string_equal(glmq_plan_digest(a.plan), glmq_plan_digest(b.plan));
    conversion_close(&b);
    assert_int_equal(conversion_plan(&b, sample, "bf16", dst, &other), GLMQ_OK);
    assert_string_not_equal(glmq_plan_digest(a.plan), glmq_plan_digest(b.plan));
    conversion_close(&b);
    assert_int_equal(conversion_plan(&b, sample, "f16", dst, NULL), GLMQ_OK);
    assert_string_not_equal(glmq_plan_digest(a.plan), glmq_plan_digest(b.plan));
    conversion_close(&b);
    conversion_close(&a);
}

static void an_item_that_does_not_fit_the_memory_is_named(void **state)
{
    conversion c;
    const glmq_plan_options little = { .memory = 1000 };
    (void)state;
    assert_int_equal(conversion_plan(&c, sample, "bf16", dst, &little), GLMQ_E_ARG);
    assert_null(c.plan);
    assert_non_null(strstr(c.err.msg, "bytes of memory, --memory allows 1000"));
    conversion_close(&c);
}

static void little_memory_means_fewer_threads(void **state)
{
    const glmq_plan_options many = { .jobs = 4000, .memory = 32u << 20 };
    conversion c;
    (void)state;
    assert_int_equal(conversion_plan(&c, sample, "bf16", dst, &many), GLMQ_OK);
    assert_true(glmq_plan_peak_bytes(c.plan) <= many.memory);
    conversion_close(&c);
}

static void require_refuses_and_counts_before_anything_is_written(void **state)
{
    conversion c;
    const glmq_plan_options require = { .transcode = GLMQ_TRANSCODE_REQUIRE };
    (void)state;
    assert_int_equal(conversion_plan(&c, sample, "gptq:group=32", dst, &require), GLMQ_E_INEXACT);
    assert_non_null(strstr(c.err.msg, "--transcode=require: "));
    assert_non_null(strstr(c.err.msg, " tensors would be recoded: model.layers."));
    assert_false(glmq_out_exists(dst));
    conversion_close(&c);
    assert_int_equal(conversion_plan(&c, sample, "gguf", dst, &require), GLMQ_OK);
    conversion_close(&c);
}

/* BF16 values of weights as random as the sample's do not all fit F16's range of exponents,
 * but BF16 that came out of F16 would: only reading them tells. */
static void a_deep_plan_settles_every_question(void **state)
{
    conversion c;
    const glmq_plan_options deep = { .deep = 1 };
    size_t asked = 0;
    (void)state;
    assert_int_equal(conversion_plan(&c, sample, "f16", dst, NULL), GLMQ_OK);
    for (size_t i = 0; i < c.plan->items.count; i++)
        asked += c.plan->items.at[i].travel == GLMQ_MAYBE_CODES;
    assert_true(asked > 0);
    conversion_close(&c);
    assert_int_equal(conversion_plan(&c, sample, "f16", dst, &deep), GLMQ_OK);
    for (size_t i = 0; i < c.plan->items.count; i++)
        assert_int_not_equal(c.plan->items.at[i].travel, GLMQ_MAYBE_CODES);
    conversion_close(&c);
}

static void destinations_that_make_no_sense_are_refused(void **state)
{
    conversion c;
    (void)state;
    assert_int_equal(conversion_plan(&c, sample, "bf16", "/tmp/x.gguf", NULL), GLMQ_E_ARG);
    conversion_close(&c);
    assert_int_equal(conversion_plan(&c, sample, "bf16", "/tmp/x.tar.zst", NULL),
                     GLMQ_E_UNSUPPORTED);
    conversion_close(&c);
    assert_int_equal(conversion_plan(&c, sample, "bf16", "", NULL), GLMQ_E_ARG);
    conversion_close(&c);
}

static void mtp_that_is_required_must_be_there(void **state)
{
    conversion c;
    const glmq_plan_options drop = { .mtp = GLMQ_MTP_DROP };
    size_t mtp = 0;
    (void)state;
    assert_int_equal(conversion_plan(&c, sample, "bf16", dst, &drop), GLMQ_OK);
    for (size_t i = 0; i < glmq_graph_count(c.graph); i++)
        mtp += glmq_graph_tensor(c.graph, i)->mtp;
    assert_int_equal(c.plan->dropped.count, mtp);
    for (size_t i = 0; i < c.plan->dropped.count; i++)
        assert_string_equal(c.plan->dropped.at[i].reason, "--mtp=drop");
    conversion_close(&c);
}

/* ---- the lists, by hand ---- */

static glmq_plan *empty_plan(const glmq_graph *g)
{
    glmq_plan *p = glmq_alloc_zero(1, sizeof *p);
    assert_non_null(p);
    p->graph = g;
    return p;
}

static void names_in_the_target_are_plain_and_given_once(void **state)
{
    glmq_graph g = { .count = 0 };
    glmq_plan *p = empty_plan(&g);
    uint32_t file;
    glmq_error err;
    (void)state;
    assert_int_equal(glmq_plan_add_file(p, "a.safetensors", FILE_SAFETENSORS, &file, &err),
                     GLMQ_OK);
    assert_int_equal(glmq_plan_add_text(p, "config.json", "{}", 2, &err), GLMQ_OK);
    assert_int_equal(glmq_plan_add_text(p, "config.json", "{}", 2, &err), GLMQ_E_UNSUPPORTED);
    assert_int_equal(glmq_plan_add_text(p, "a.safetensors", "", 0, &err), GLMQ_E_UNSUPPORTED);
    assert_int_equal(glmq_plan_add_text(p, "../etc", "", 0, &err), GLMQ_E_FORMAT);
    assert_int_equal(glmq_plan_add_text(p, "..", "", 0, &err), GLMQ_E_FORMAT);
    assert_int_equal(glmq_plan_add_text(p, "", "", 0, &err), GLMQ_E_FORMAT);
    assert_int_equal(glmq_plan_add_text(p, "journal", "", 0, &err), GLMQ_E_UNSUPPORTED);
    glmq_plan_close(p);
}

/* One BF16 tensor of 2 x 4, and an array for it. */
static glmq_status resolve(uint64_t array_bytes, uint64_t offset, uint64_t second_at,
                           glmq_error *err)
{
    glmq_tensor tensors[2] = { { .name = "one", .parts = 1, .rows = 2, .cols = 4 },
                               { .name = "two", .parts = 1, .rows = 2, .cols = 4 } };
    glmq_graph g = { .tensors = tensors, .count = 2 };
    glmq_plan *p = empty_plan(&g);
    glmq_part part = {
        .enc = glmq_encoding_of_dtype(GLMQ_DT_BF16), .rows = 2, .cols = 4, .cut = { 1, 2, 0, 2, 0 }
    };
    glmq_plan_array array = { .name = "w",
                              .dtype = GLMQ_DT_BF16,
                              .rank = 2,
                              .dims = { 2, 4 },
                              .offset = 64,
                              .bytes = array_bytes };
    uint32_t file, at;
    glmq_status st;
    assert_int_equal(glmq_plan_add_file(p, "f", FILE_SAFETENSORS, &file, err), GLMQ_OK);
    p->files.at[file].bytes = 4096;
    assert_int_equal(glmq_plan_add_array(p, &array, &at, err), GLMQ_OK);
    part.span[GLMQ_SLOT_CODES].array = at;
    part.span[GLMQ_SLOT_CODES].offset = offset;
    assert_int_equal(glmq_plan_add_item(p, 0, &part, 1, err), GLMQ_OK);
    if (second_at) {
        array.offset = second_at;
        array.name = "v";
        array.bytes = 16;
        assert_int_equal(glmq_plan_add_array(p, &array, &at, err), GLMQ_OK);
        part.span[GLMQ_SLOT_CODES].array = at;
        part.span[GLMQ_SLOT_CODES].offset = 0;
        assert_int_equal(glmq_plan_add_item(p, 1, &part, 1, err), GLMQ_OK);
    }
    st = glmq_plan_resolve(p, err);
    if (!st) {
        assert_int_equal(p->items.at[0].part[0].span[0].offset, 64 + offset);
        assert_int_equal(p->items.at[0].bytes, 16);
    }
    glmq_plan_close(p);
    return st;
}

static void spans_become_ranges_of_files(void **state)
{
    glmq_error err;
    (void)state;
    assert_int_equal(resolve(16, 0, 0, &err), GLMQ_OK);
    assert_int_equal(resolve(16, 0, 80, &err), GLMQ_OK);
}

static void an_array_must_be_filled_once_and_whole(void **state)
{
    glmq_error err;
    (void)state;
    assert_int_equal(resolve(32, 0, 0, &err), GLMQ_E_ARG);
    assert_string_equal(err.msg, "w: 16 of 32 bytes are planned for");
    assert_int_equal(resolve(16, 1, 0, &err), GLMQ_E_ARG);
    assert_int_equal(resolve(16, 0, 72, &err), GLMQ_E_ARG);
    assert_string_equal(err.msg, "w and v: planned over each other");
}

/* ---- size ---- */

static void the_estimate_is_a_sensible_number(void **state)
{
    conversion c;
    double estimate;
    (void)state;
    assert_int_equal(conversion_plan(&c, sample, "gguf", dst, NULL), GLMQ_OK);
    estimate = glmq_plan_estimate(c.plan);
    assert_true(estimate > 0 && estimate < 60);
    conversion_close(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_knows_every_file_to_the_byte),
        cmocka_unit_test(every_item_has_travel_rule_and_memory),
        cmocka_unit_test(the_same_source_and_options_give_the_same_digest),
        cmocka_unit_test(an_item_that_does_not_fit_the_memory_is_named),
        cmocka_unit_test(little_memory_means_fewer_threads),
        cmocka_unit_test(require_refuses_and_counts_before_anything_is_written),
        cmocka_unit_test(a_deep_plan_settles_every_question),
        cmocka_unit_test(destinations_that_make_no_sense_are_refused),
        cmocka_unit_test(mtp_that_is_required_must_be_there),
        cmocka_unit_test(names_in_the_target_are_plain_and_given_once),
        cmocka_unit_test(spans_become_ranges_of_files),
        cmocka_unit_test(an_array_must_be_filled_once_and_whole),
        cmocka_unit_test(the_estimate_is_a_sensible_number),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
