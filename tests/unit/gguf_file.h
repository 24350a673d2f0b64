/* For tests of GGUF metadata: key-values put into a file without tensors and read back by
 * the container's own reader; and the fixtures. */
#ifndef GLMQ_TESTS_GGUF_FILE_H
#define GLMQ_TESTS_GGUF_FILE_H

#include "support.h"

#include "build_files.h"
#include "readers/gguf_kv.h"
#include "writers/gguf_out.h"

typedef struct gguf_file {
    glmq_source *src;
    glmq_catalog *cat;
    folder dir; /* empty path: a fixture */
} gguf_file;

static inline gguf_file gguf_path_open(const char *path)
{
    gguf_file f = { 0 };
    glmq_error err = { 0 };
    if (glmq_source_open(&f.src, path, NULL, &err) ||
        glmq_catalog_open(&f.cat, f.src, NULL, &err)) {
        fprintf(stderr, "%s: %s\n", path, err.msg);
        abort();
    }
    return f;
}

/* Takes the key-values: *kv is empty afterwards. */
static inline gguf_file gguf_file_open(glmq_gguf_kv *kv)
{
    const folder dir = folder_make();
    char path[128];
    bytes b = { 0 };
    gguf_file f;
    put(&b, "GGUF", 4);
    put_u32(&b, 3);
    put_u64(&b, 0);
    put_u64(&b, kv->count);
    put(&b, kv->data.data, kv->data.len);
    put_zeros(&b, (32 - b.len % 32) % 32);
    folder_bytes(&dir, "meta.gguf", b);
    glmq_text_free(&kv->data);
    kv->count = 0;
    snprintf(path, sizeof path, "%s/meta.gguf", dir.path);
    f = gguf_path_open(path);
    f.dir = dir;
    return f;
}

static inline gguf_file gguf_fixture_open(const char *name)
{
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", getenv("GLMQ_FIXTURES"), name);
    return gguf_path_open(path);
}

static inline void gguf_file_close(gguf_file *f)
{
    glmq_catalog_close(f->cat);
    glmq_source_close(f->src);
    if (f->dir.path[0]) folder_remove(&f->dir);
}

#define skip_without_fixtures()                                                                    \
    do {                                                                                           \
        if (!fixtures_or_skip()) skip();                                                           \
    } while (0)

#endif
