/* What the tests of VQ share: the fixture, and the small checkpoint of tests/data taken apart. */
#ifndef TESTS_VQ_FILES_H
#define TESTS_VQ_FILES_H

#include "base/mem.h"
#include "unit/edit_files.h"
#include "verify/digest.h"

#define GATE "model.layers.1.mlp.experts.0.gate_proj" /* 2 bits, d 4, 200 entries, U8 */
#define UP   "model.layers.1.mlp.experts.0.up_proj"   /* 3 bits, d 2, 60 entries, each U8 */
#define DOWN "model.layers.1.mlp.experts.0.down_proj" /* 1.5 bits, d 4, 64 entries, I32 */

static inline const char *fixture_or_skip(const char *file)
{
    static char path[600];
    const char *root = fixtures_or_skip();

    if (!root) return NULL;
    snprintf(path, sizeof path, "%s/glm5-vq%s%s", root, *file ? "/" : "", file);
    return path;
}

static inline const char *data_folder(void)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/checkpoints/vq-mixed", getenv("GLMQ_DATA"));
    return path;
}

/* The model's digest, with codebooks from a folder. */
static inline void digest_with(const char *path, const char *codebooks, char hex[33])
{
    opened_graph o = graph_open(path, codebooks, 0);
    const glmq_digest_options opt = { 0 };
    char(*each)[33] = NULL;
    glmq_error err;

    if (o.status) fail_msg("%s", o.err.msg);
    if (glmq_digest_tensors(o.g, &opt, &each, hex, &err)) fail_msg("%s", err.msg);
    glmq_free(each);
    graph_shut(&o);
}

/* The small checkpoint, and its codebooks from `books` on. */
static inline edited load_small(size_t *books)
{
    edited e = edit_load(data_folder());
    *books = e.count;
    edit_load_file(&e, data_folder(), "books.safetensors");
    return e;
}

static inline void write_small(edited *e, size_t books, const char *books_file)
{
    fresh_folder(e->folder);
    edit_write_config(e);
    edit_write_file(e, 0, books_file ? books : e->count, "model.safetensors");
    if (books_file) edit_write_file(e, books, e->count, books_file);
}
#endif
