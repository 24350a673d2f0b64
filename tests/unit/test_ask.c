/* Questions that scales and zero points answer: the same answers as trying it out, and no codes
 * read for them. */
#include "convert/ask.h"
#include "convert/move.h"
#include "convert_files.h"
#include "base/mem.h"
#include <fcntl.h>

static const char *const targets[] = { "gptq:group=32",
                                       "gptq:group=64,asym",
                                       "gptq:bits=8,group=32",
                                       "awq:group=32",
                                       "compressed-tensors:int4,group=32",
                                       "compressed-tensors:int8,channel",
                                       "gguf:q4_0",
                                       "gguf:q4_1",
                                       "gguf:q8_0" };

typedef struct tally {
    size_t asked, same, recoded;
} tally;

/* Asks every open question of a plan both ways. */
static void ask_all(const char *source, const char *target, tally *t)
{
    conversion c;
    char dst[300];
    snprintf(dst, sizeof dst, "/tmp/glmq-test-never-made-%d%s", (int)getpid(),
             strncmp(target, "gguf", 4) == 0 ? ".gguf" : "");
    if (conversion_plan(&c, source, target, dst, NULL) == GLMQ_OK) {
        glmq_asker *a = glmq_asker_new(c.plan);
        glmq_mover *m = glmq_mover_new(c.plan);
        assert_true(a && m);
        for (size_t i = 0; i < c.plan->items.count; i++) {
            char why[160] = "", tried[160] = "";
            glmq_travel said = GLMQ_NEAR, is = GLMQ_NEAR;
            if (c.plan->items.at[i].travel != GLMQ_MAYBE_CODES) continue;
            t->asked++;
            if (!glmq_ask(a, i, why, &said)) continue;
            assert_int_equal(glmq_move_probe(m, i, tried, &is, &c.err), GLMQ_OK);
            assert_int_equal(said, is);
            assert_string_equal(why, tried);
            t->same += said == GLMQ_SAME_CODES;
            t->recoded += said == GLMQ_RECODE;
        }
        glmq_asker_free(a);
        glmq_mover_free(m);
    }
    conversion_close(&c);
}

/* The sample in a format of integers. */
static void make_ints(char out[256], const char *to)
{
    char sample[1024], path[1024];
    glmq_error err;
    path_in(sample, getenv("GLMQ_SAMPLES"), "glm4-moe-tiny");
    fresh_folder(out);
    path_in(path, out, "ints");
    if (convert(sample, path, to, NULL, NULL, NULL, &err)) fail_msg("%s", err.msg);
}

static void answers_are_those_of_trying(void **state)
{
    static const char *const data[] = { "ct-int4-asym-g32", "ct-int3-loose",  "ct-int8-channel",
                                        "ct-mixed",         "gptq-4-asym-v1", "gptq-8-v2",
                                        "gptq-planar",      "gptq-mixed",     "gptq-4-actorder-v1",
                                        "awq-asym-g32",     "awq-sym-g16" };
    static const char *const ints[] = { "compressed-tensors:int4,group=32",
                                        "compressed-tensors:int4,group=32,asym",
                                        "compressed-tensors:int8,channel", "gptq:group=32",
                                        "awq:group=32,asym" };
    tally t = { 0 };
    char path[1024], out[256];
    (void)state;
    for (size_t k = 0; k < GLMQ_COUNT(targets); k++)
        for (size_t i = 0; i < GLMQ_COUNT(data); i++) {
            snprintf(path, sizeof path, "%s/checkpoints/%s", getenv("GLMQ_DATA"), data[i]);
            ask_all(path, targets[k], &t);
        }
    for (size_t i = 0; i < GLMQ_COUNT(ints); i++) {
        make_ints(out, ints[i]);
        path_in(path, out, "ints");
        for (size_t k = 0; k < GLMQ_COUNT(targets); k++) ask_all(path, targets[k], &t);
        assert_int_equal(glmq_out_remove_tree(out, NULL), GLMQ_OK);
    }
    assert_true(t.same > 100 && t.recoded > 100);
    assert_true(t.same + t.recoded < t.asked); /* where codes decide, it does not say */
}

/* The first zero point of the first tensor of codes, 7 (stored less one), becomes 6. */
static void change_a_zero(const char *folder)
{
    conversion c;
    char file[1024];
    uint8_t word[1];
    int fd, done = 0;
    assert_int_equal(conversion_open(&c, folder, "same", NULL), GLMQ_OK);
    path_in(file, folder, "model.safetensors");
    fd = open(file, O_RDWR);
    assert_true(fd >= 0);
    for (size_t i = 0; !done && i < c.graph->count; i++) {
        const glmq_span *s = &c.graph->tensors[i].part[0].span[GLMQ_SLOT_ZEROS];
        if (!s->bytes) continue;
        assert_int_equal(pread(fd, word, 1, (off_t)s->offset), 1);
        assert_int_equal(word[0], 0x77);
        word[0] = 0x76;
        assert_int_equal(pwrite(fd, word, 1, (off_t)s->offset), 1);
        done = 1;
    }
    assert_true(done);
    close(fd);
    conversion_close(&c);
}

/* A tensor is called symmetric and is not: only its codes tell whether they fit around another
 * middle.  All others are answered. */
static void zeros_that_the_config_does_not_tell_of_leave_it_to_the_codes(void **state)
{
    char path[1024], out[256], why[160];
    size_t silent = 0, said = 0;
    glmq_travel travel;
    glmq_asker *a;
    conversion c;
    (void)state;
    make_ints(out, "gptq:group=32");
    path_in(path, out, "ints");
    change_a_zero(path);
    assert_int_equal(conversion_plan(&c, path, "gguf:q4_0", "/tmp/glmq-test-never-made.gguf", NULL),
                     GLMQ_OK);
    a = glmq_asker_new(c.plan);
    assert_non_null(a);
    for (size_t i = 0; i < c.plan->items.count; i++) {
        if (c.plan->items.at[i].travel != GLMQ_MAYBE_CODES) continue;
        if (glmq_ask(a, i, why, &travel))
            said++;
        else
            silent++;
    }
    assert_int_equal(silent, 1);
    assert_true(said > 0);
    glmq_asker_free(a);
    conversion_close(&c);
    assert_int_equal(glmq_out_remove_tree(out, NULL), GLMQ_OK);
}

/* Bytes that this process has read, or -1 where the system does not tell. */
static long long bytes_read(void)
{
    long long n = -1;
    FILE *f = fopen("/proc/self/io", "r");
    if (!f) return -1;
    if (fscanf(f, "rchar: %lld", &n) != 1) n = -1;
    fclose(f);
    return n;
}

static void codes_are_not_read_for_it(void **state)
{
    long long codes = 0, before, after;
    char path[1024], out[256], why[160];
    glmq_travel travel;
    glmq_asker *a;
    conversion c;
    (void)state;
    make_ints(out, "compressed-tensors:int4,group=32");
    path_in(path, out, "ints");
    assert_int_equal(conversion_plan(&c, path, "gptq", "/tmp/glmq-test-never-made", NULL), GLMQ_OK);
    a = glmq_asker_new(c.plan);
    assert_non_null(a);
    before = bytes_read();
    if (before < 0) skip();
    for (size_t i = 0; i < c.plan->items.count; i++) {
        const glmq_item *it = &c.plan->items.at[i];
        if (it->travel != GLMQ_MAYBE_CODES) continue;
        assert_int_equal(glmq_ask(a, i, why, &travel), 1);
        codes += (long long)c.graph->tensors[it->tensor].part[0].span[GLMQ_SLOT_CODES].bytes;
    }
    after = bytes_read();
    assert_true(codes > 0 && after - before < codes / 4); /* a BF16 scale to 32 codes: an eighth */
    glmq_asker_free(a);
    conversion_close(&c);
    assert_int_equal(glmq_out_remove_tree(out, NULL), GLMQ_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_those_of_trying),
        cmocka_unit_test(zeros_that_the_config_does_not_tell_of_leave_it_to_the_codes),
        cmocka_unit_test(codes_are_not_read_for_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
