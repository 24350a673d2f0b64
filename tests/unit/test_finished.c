/* --resume of a run that was killed right behind its commit: it is found finished. */
#include "convert_files.h"
#include "base/mem.h"

static char sample[1024], root[256];

static int set_up(void **state)
{
    const char *samples = getenv("GLMQ_SAMPLES");
    (void)state;
    if (!samples) return -1;
    path_in(sample, samples, "glm4-moe-tiny");
    fresh_folder(root);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    return glmq_out_remove_tree(root, NULL) ? -1 : 0;
}

static const struct {
    const char *to, *name, *other_to;
} targets[] = {
    { "gptq:group=32", "out", "gptq:group=64" },
    { "gguf:q8_0", "out.gguf", "gguf:q4_0" },
};

static glmq_status resume(const char *dst, const char *to, glmq_run_result *r, glmq_error *err)
{
    const glmq_run_options opt = { .resume = 1 };
    return convert(sample, dst, to, NULL, &opt, r, err);
}

static void the_same_command_finds_its_result(void **state)
{
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(targets); i++) {
        char dst[1024];
        glmq_run_result first, again;
        glmq_error err;

        path_in(dst, root, targets[i].name);
        assert_int_equal(convert(sample, dst, targets[i].to, NULL, NULL, &first, &err), GLMQ_OK);
        assert_int_equal(resume(dst, targets[i].to, &again, &err), GLMQ_OK);
        assert_true(again.resumed > 0);
        again.resumed = first.resumed;
        assert_memory_equal(&again, &first, sizeof first);
    }
}

static void another_command_does_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(targets); i++) {
        char dst[1024];
        glmq_error err;

        path_in(dst, root, targets[i].name);
        assert_int_equal(convert(sample, dst, targets[i].to, NULL, NULL, NULL, &err), GLMQ_OK);
        assert_int_equal(resume(dst, targets[i].other_to, NULL, &err), GLMQ_E_EXISTS);
        assert_non_null(strstr(err.msg, "exists; --overwrite replaces it"));
        assert_int_equal(convert(sample, dst, targets[i].to, NULL, NULL, NULL, &err),
                         GLMQ_E_EXISTS); /* nobody asked to resume */
    }
}

/* A file that is too short, or no manifest: it is not known to be this result. */
static void a_result_that_is_not_whole_is_not_taken_for_it(void **state)
{
    char dst[1024], manifest[1100], config[1100];
    glmq_error err;

    (void)state;
    path_in(dst, root, "out");
    path_in(manifest, dst, "glmq-manifest.json");
    path_in(config, dst, "config.json");
    assert_int_equal(convert(sample, dst, "gptq:group=32", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_int_equal(truncate(config, 10), 0);
    assert_int_equal(resume(dst, "gptq:group=32", NULL, &err), GLMQ_E_EXISTS);
    assert_int_equal(glmq_out_remove_tree(dst, NULL), GLMQ_OK);
    assert_int_equal(convert(sample, dst, "gptq:group=32", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_int_equal(truncate(manifest, 100), 0);
    assert_int_equal(resume(dst, "gptq:group=32", NULL, &err), GLMQ_E_EXISTS);
    assert_int_equal(unlink(manifest), 0);
    assert_int_equal(resume(dst, "gptq:group=32", NULL, &err), GLMQ_E_EXISTS);
}

/* A single file is renamed out of its folder, which goes last. */
static void what_a_commit_left_behind_is_cleared_up(void **state)
{
    char dst[1024], partial[1100], path[1200];
    glmq_error err;

    (void)state;
    path_in(dst, root, "out.gguf");
    snprintf(partial, sizeof partial, "%s.partial", dst);
    assert_int_equal(convert(sample, dst, "gguf:q8_0", NULL, NULL, NULL, &err), GLMQ_OK);
    assert_int_equal(mkdir(partial, 0777), 0);
    write_file(partial, "journal", "lines", 5);
    write_file(partial, "lock", "", 0);
    assert_int_equal(resume(dst, "gguf:q8_0", NULL, &err), GLMQ_OK);
    assert_false(glmq_out_exists(partial));

    assert_int_equal(mkdir(partial, 0777), 0); /* a run that was to overwrite it is kept */
    write_file(partial, "journal", "lines", 5);
    write_file(partial, "out.gguf", "", 0);
    assert_int_equal(resume(dst, "gguf:q8_0", NULL, &err), GLMQ_E_EXISTS);
    path_in(path, partial, "journal");
    assert_true(glmq_out_exists(path));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_same_command_finds_its_result),
        TEST(another_command_does_not),
        TEST(a_result_that_is_not_whole_is_not_taken_for_it),
        TEST(what_a_commit_left_behind_is_cleared_up),
    };
    return cmocka_run_group_tests_name("finished", tests, NULL, NULL);
}
