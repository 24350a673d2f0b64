/* kill -9 at fifty random points of a run, then resume: the same bytes, each time.
 *
 * The child is killed after a delay drawn from the time that a whole run takes; some are killed
 * several times over before they are let through. */
#include "unit/convert_files.h"
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

enum { POINTS = 50 }; /* of each kind */

static char sample[1024];

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static uint32_t draw(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* One run in a child, killed after `delay` seconds (< 0: never).  Its exit status, or -1 when
 * it was killed. */
static int run_child(const char *out, const char *to, double delay)
{
    int status;
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        const glmq_run_options resume = { .resume = 1 };
        const glmq_plan_options opt = { .jobs = 2, .shard_size = 200000 };
        _exit((int)convert(sample, out, to, &opt, &resume, NULL, NULL));
    }
    if (delay >= 0) {
        const struct timespec t = { (time_t)delay, (long)((delay - (double)(time_t)delay) * 1e9) };
        nanosleep(&t, NULL);
        kill(pid, SIGKILL);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* `name` ends in .gguf: a single file, with its manifest beside it. */
static void kill_and_resume(const char *to, const char *name, uint32_t seed, int points)
{
    char root[256], folder[2][1024], out[2][1100], partial[1200];
    double whole;
    int killed = 0, resumed = 0;
    const int is_file = strstr(name, ".gguf") != NULL;
    fresh_folder(root);
    for (int i = 0; i < 2; i++) {
        path_in(folder[i], root, i ? "killed" : "reference");
        assert_int_equal(mkdir(folder[i], 0777), 0);
        snprintf(out[i], sizeof out[i], "%s/%s", folder[i], name);
    }
    snprintf(partial, sizeof partial, "%s.partial", out[1]);
    whole = now();
    assert_int_equal(run_child(out[0], to, -1), GLMQ_OK);
    whole = now() - whole;
    while (killed < points) {
        int kills = 1 + (int)(draw(&seed) % 3);
        while (kills-- > 0 && !glmq_out_exists(out[1])) {
            const int hit =
                run_child(out[1], to, whole * (double)(draw(&seed) % 1000) / 1000) == -1;
            killed += hit;
            resumed += hit && glmq_out_exists(partial);
            if (!hit) whole *= 0.8; /* it was done before: runs have become faster */
        }
        /* what bears the final name is complete, whenever the blow fell: also behind the commit */
        assert_int_equal(run_child(out[1], to, -1), GLMQ_OK);
        assert_false(glmq_out_exists(partial));
        assert_true(is_file ? same_folder(folder[0], folder[1]) : same_folder(out[0], out[1]));
        assert_int_equal(glmq_out_remove_tree(folder[1], NULL), GLMQ_OK);
        assert_int_equal(mkdir(folder[1], 0777), 0);
    }
    printf("%s: %d killed, %d of them with work left behind\n", to, killed, resumed);
    assert_int_equal(glmq_out_remove_tree(root, NULL), GLMQ_OK);
}

static void a_killed_copy_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    kill_and_resume("bf16", "result", 1, POINTS);
}

static void a_killed_quantization_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    kill_and_resume("gptq:group=32", "result", 2, POINTS);
}

static void a_killed_file_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    kill_and_resume("gguf:Q8_0", "result.gguf", 3, POINTS);
}

static int set_up(void **state)
{
    const char *samples = getenv("GLMQ_SAMPLES");
    (void)state;
    if (!samples) return -1;
    path_in(sample, samples, "glm4-moe-tiny");
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_killed_copy_goes_on_to_the_same_bytes),
        cmocka_unit_test(a_killed_quantization_goes_on_to_the_same_bytes),
        cmocka_unit_test(a_killed_file_goes_on_to_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, set_up, NULL);
}
