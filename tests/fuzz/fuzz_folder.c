/* A folder of the fuzzer's own, and everything that glmq-inspect does with a checkpoint in it. */
#include "fuzz_folder.h"
#include "fuzz.h"
#include "glmq/glmq.h"
#include "readers/reader.h"
#include "verify/check.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char folder[64];
static const char *const all_files[] = { FUZZ_FILES };

static void remove_folder(void)
{
    fuzz_clear();
    rmdir(folder);
}

const char *fuzz_folder(void)
{
    if (folder[0]) return folder;
    /* memory where there is some: thousands of small files a second */
    strcpy(folder,
           access("/dev/shm", W_OK) == 0 ? "/dev/shm/glmq-fuzz-XXXXXX" : "/tmp/glmq-fuzz-XXXXXX");
    if (!mkdtemp(folder)) fuzz_broken("no folder to work in");
    atexit(remove_folder);
    return folder;
}

static void path_of(char path[128], const char *name)
{
    snprintf(path, 128, "%s/%s", fuzz_folder(), name);
}

void fuzz_clear(void)
{
    char path[128];
    for (size_t i = 0; i < sizeof all_files / sizeof *all_files; i++) {
        path_of(path, all_files[i]);
        unlink(path);
    }
}

void fuzz_put(const char *name, const void *data, size_t len)
{
    char path[128];
    FILE *f;

    path_of(path, name);
    f = fopen(path, "wb");
    if (!f || (len && fwrite(data, 1, len, f) != len) || fclose(f)) fuzz_broken(path);
}

/* A graph that opened can be printed, looked at and decoded without another thought. */
static void walk(const glmq_graph *g)
{
    enum { DECODED = 4, FLOATS = 1 << 16 };
    static float w[FLOATS];
    int decoded = 0;
    char text[128], hex[33];
    glmq_error err;

    for (size_t i = 0; i < glmq_graph_count(g); i++) {
        const glmq_tensor *t = glmq_graph_tensor(g, i);

        if (!t->name || !t->parts) fuzz_broken("a tensor without a name or without parts");
        if (glmq_graph_find(g, t->name) != t) fuzz_broken("a tensor that is not found by its name");
        for (int p = 0; p < t->parts; p++)
            if (!glmq_encoding_print(&t->part[p].enc, text, sizeof text))
                fuzz_broken("an encoding without a name");
        if (decoded == DECODED || t->cols > FLOATS || t->role == GLMQ_ROLE_OTHER) continue;
        decoded++;
        (void)glmq_tensor_decode(g, t, t->rows - 1, 1, w, &err);
        if (t->rows * t->cols <= FLOATS) (void)glmq_tensor_digest(g, t, hex, &err);
    }
}

static void check(const glmq_graph *g)
{
    const glmq_digest_options opt = { .jobs = 1 };
    glmq_check c = { 0 };
    glmq_error err;

    if (glmq_check_run(&c, g, &opt, &err) == GLMQ_E_IO) fuzz_broken(err.msg);
    for (size_t i = 0; i < c.count; i++)
        if (!c.at[i].code[0] || !c.at[i].message[0]) fuzz_broken("a problem without words");
    glmq_check_free(&c);
}

/* Nothing is written; but configs are edited and every array is laid out. */
static void plan(const glmq_graph *g)
{
    static const char *const targets[] = { "bf16", "gptq", "gguf:Q8_0" };
    const glmq_plan_options opt = { .jobs = 1 };
    char dst[128];
    glmq_error err = { .status = GLMQ_OK };

    snprintf(dst, sizeof dst, "%s/out", fuzz_folder());
    for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
        glmq_recipe *recipe = NULL;
        glmq_plan *plan = NULL;

        if (glmq_recipe_open(&recipe, targets[i], &err)) fuzz_broken(err.msg);
        err.msg[0] = '\0';
        if (glmq_plan_open(&plan, g, recipe, dst, &opt, &err) && !err.msg[0])
            fuzz_broken("no plan, and no message");
        glmq_plan_close(plan);
        glmq_recipe_close(recipe);
    }
}

static void open_with(const char *from, int tolerate)
{
    const glmq_graph_options opt = {
        .from = from, .allow_incomplete = 1, .vq_codebooks = fuzz_folder(), .tolerate = tolerate
    };
    glmq_error err = { .status = GLMQ_OK };
    glmq_source *src = NULL;
    glmq_graph *g = NULL;

    if (glmq_source_open(&src, fuzz_folder(), NULL, &err)) fuzz_broken(err.msg);
    if (glmq_graph_open(&g, src, &opt, &err)) {
        if (!err.msg[0]) fuzz_broken("a refusal without a message");
        if (g) fuzz_broken("a graph in spite of an error");
    } else {
        walk(g);
        if (tolerate)
            check(g);
        else
            plan(g);
    }
    glmq_graph_close(g);
    glmq_source_close(src);
}

void fuzz_open_checkpoint(unsigned reader)
{
    const size_t n = glmq_reader_count() + 1;
    const char *from = reader % n ? glmq_reader_at(reader % n - 1)->name : NULL;

    open_with(from, 0);
    open_with(from, 1);
}
