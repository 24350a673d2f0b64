/* Every fixture checkpoint, and the digests that tests/peers/make_digests.py made of it without
 * glmq: tests/digests/NAME.txt, lines "TENSOR<TAB>DIGEST" by the bytes of the names, the
 * model's last. */
#ifndef TESTS_FIXTURE_LIST_H
#define TESTS_FIXTURE_LIST_H

#include "base/mem.h"
#include "base/safe.h"
#include "glmq/glmq.h"
#include "support.h"

static const struct listed {
    const char *name;
    const char *file;   /* inside the folder; NULL: the folder itself            */
    const char *format; /* the reader's name                                     */
    int incomplete;     /* made with --allow-incomplete in mind                  */
} fixture_list[] = {
    { .name = "fp8-block-ragged", .file = "ragged.safetensors", .format = "fp8" },
    { .name = "glm47-bf16", .format = "bf16" },
    { .name = "glm47-compressed-tensors-g128", .format = "compressed-tensors" },
    { .name = "glm47-compressed-tensors-g32", .format = "compressed-tensors" },
    { .name = "glm47-fp8-block", .format = "fp8" },
    { .name = "glm47-gguf-q4_k_m-split", .format = "gguf" },
    { .name = "glm47-gguf-q8_0", .format = "gguf" },
    { .name = "glm47flash-aqlm", .format = "aqlm" },
    { .name = "glm47flash-awq-g32-layer1", .format = "awq", .incomplete = 1 },
    { .name = "glm47flash-bf16", .format = "bf16" },
    { .name = "glm47flash-compressed-tensors-asym-g32-layer1",
      .format = "compressed-tensors",
      .incomplete = 1 },
    { .name = "glm47flash-gguf-q4_k_m", .format = "gguf" },
    { .name = "glm47flash-gptq-actorder", .format = "gptq" },
    { .name = "glm47flash-nvfp4-compressed-tensors", .format = "compressed-tensors" },
    { .name = "glm47flash-tq3", .format = "tq3" },
    { .name = "glm47flash-tq3-mixed", .format = "tq3" },
    { .name = "glm5-bf16", .format = "bf16" },
    { .name = "glm5-gguf-q4_k_m", .format = "gguf" },
    { .name = "glm5-gptq-autoround-reap", .format = "gptq" },
    { .name = "glm5-nvfp4-modelopt", .format = "nvfp4" },
    { .name = "glm5-tq3", .format = "tq3" },
    { .name = "glm5-tq3-v07", .format = "tq3" },
    { .name = "glm5-vq", .format = "vq" },
};

/* A fixture as a path; NULL where it is not at hand. */
static inline const char *listed_path(const struct listed *f)
{
    static char path[1024];
    const char *root = getenv("GLMQ_FIXTURES");

    snprintf(path, sizeof path, "%s/%s%s%s", root, f->name, f->file ? "/" : "",
             f->file ? f->file : "");
    return access(path, R_OK) == 0 ? path : NULL;
}

typedef struct listed_open {
    glmq_source *src;
    glmq_graph *g;
} listed_open;

/* Opens the fixture as its row says: 0 where it is absent. */
static inline int open_listed(const struct listed *f, listed_open *o)
{
    const glmq_graph_options opt = { .allow_incomplete = f->incomplete };
    const char *path = listed_path(f);
    glmq_error err;
    glmq_status st;

    memset(o, 0, sizeof *o);
    if (!path) {
        printf("skipped: no fixture %s\n", f->name);
        return 0;
    }
    assert_int_equal(glmq_source_open(&o->src, path, NULL, &err), GLMQ_OK);
    st = glmq_graph_open(&o->g, o->src, &opt, &err);
    if (st) fail_msg("%s: %s", f->name, err.msg);
    assert_string_equal(glmq_graph_format(o->g), f->format);
    return 1;
}

static inline void close_listed(listed_open *o)
{
    glmq_graph_close(o->g);
    glmq_source_close(o->src);
}

/* The text of the fixture's list; the caller frees it. */
static inline char *listed_digests(const struct listed *f)
{
    char path[1024];
    size_t len;

    snprintf(path, sizeof path, "%s/tests/digests/%s.txt", getenv("GLMQ_SOURCE_DIR"), f->name);
    return slurp(path, &len);
}

/* Cuts the next line of *at in two: 0 at the end. */
static inline int next_digest(char **at, char **name, char **hex)
{
    char *tab = strchr(*at, '\t'), *end = strchr(*at, '\n');

    if (!tab || !end || tab > end) return 0;
    *tab = *end = '\0';
    *name = *at;
    *hex = tab + 1;
    *at = end + 1;
    return 1;
}

/* The model's digest by the list. */
static inline void listed_model(const struct listed *f, char model[33])
{
    char *text = listed_digests(f), *at = text, *name, *hex;

    model[0] = '\0';
    while (next_digest(&at, &name, &hex))
        if (strcmp(name, "model") == 0) snprintf(model, 33, "%s", hex);
    free(text);
}
#endif
