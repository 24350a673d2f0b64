/* Small checkpoints on disk for the tests of src/verify: a loose safetensors file with F32
 * tensors, and the sample checkpoint converted. */
#ifndef GLMQ_TESTS_VERIFY_FILES_H
#define GLMQ_TESTS_VERIFY_FILES_H

#include "glmq/glmq.h"
#include "io/out.h"
#include "models/graph.h"
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

static char work[64]; /* this test program's folder */

static inline int make_work(void **state)
{
    (void)state;
    strcpy(work, "/tmp/glmq-verify-XXXXXX");
    return mkdtemp(work) ? 0 : -1;
}

static inline int remove_work(void **state)
{
    (void)state;
    return glmq_out_remove_tree(work, NULL) ? -1 : 0;
}

static inline char *in_work(const char *name, char path[256])
{
    snprintf(path, 256, "%s/%s", work, name);
    return path;
}

/* One matrix of a loose file. */
typedef struct matrix {
    const char *name;
    int rows, cols; /* cols 0: a vector */
    const float *w;
} matrix;

/* Writes NAME, a safetensors file with F32 matrices one after the other. */
static inline void write_loose(const char *name, const matrix *m, int count)
{
    char path[256], header[4096] = "{";
    size_t n = 1, at = 0;
    FILE *f = fopen(in_work(name, path), "wb");

    assert_non_null(f);
    for (int i = 0; i < count; i++) {
        const size_t bytes = (size_t)m[i].rows * (size_t)(m[i].cols ? m[i].cols : 1) * 4;
        char shape[32];
        snprintf(shape, sizeof shape, m[i].cols ? "%d,%d" : "%d", m[i].rows, m[i].cols);
        n += (size_t)snprintf(
            header + n, sizeof header - n,
            "%s\"%s\":{\"dtype\":\"F32\",\"shape\":[%s],\"data_offsets\":[%zu,%zu]}", i ? "," : "",
            m[i].name, shape, at, at + bytes);
        at += bytes;
    }
    header[n++] = '}';
    while (n % 8) header[n++] = ' ';
    const uint64_t len = n;
    fwrite(&len, 8, 1, f);
    fwrite(header, 1, n, f);
    for (int i = 0; i < count; i++)
        fwrite(m[i].w, 4, (size_t)m[i].rows * (size_t)(m[i].cols ? m[i].cols : 1), f);
    assert_int_equal(fclose(f), 0);
}

static inline void write_text(const char *name, const char *text)
{
    char path[256];
    FILE *f = fopen(in_work(name, path), "wb");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

typedef struct opened {
    glmq_source *src;
    glmq_graph *g;
} opened;

static inline opened open_at(const char *path)
{
    const glmq_graph_options opt = { .allow_incomplete = 1 };
    opened o = { 0 };
    glmq_error err;
    if (glmq_source_open(&o.src, path, NULL, &err) || glmq_graph_open(&o.g, o.src, &opt, &err))
        fail_msg("%s", err.msg);
    return o;
}

static inline opened open_named(const char *name)
{
    char path[256];
    return open_at(in_work(name, path));
}

static inline void shut(opened *o)
{
    glmq_graph_close(o->g);
    glmq_source_close(o->src);
}

/* Converts the checkpoint at `src` to NAME. */
static inline void convert(const char *src, const char *name, const char *to)
{
    char dst[256];
    glmq_recipe *r = NULL;
    glmq_plan *p = NULL;
    glmq_error err;
    opened o = open_at(src);

    if (glmq_recipe_open(&r, to, &err) ||
        glmq_plan_open(&p, o.g, r, in_work(name, dst), NULL, &err) || glmq_run(p, NULL, NULL, &err))
        fail_msg("%s", err.msg);
    glmq_plan_close(p);
    glmq_recipe_close(r);
    shut(&o);
}

static inline void convert_sample(const char *name, const char *to)
{
    const char *samples = getenv("GLMQ_SAMPLES");
    char src[512];

    if (!samples) skip();
    snprintf(src, sizeof src, "%s/glm4-moe-tiny", samples);
    convert(src, name, to);
}

/* Overwrites bytes of one slot of a tensor of the checkpoint NAME, `at` bytes into it. */
static inline void patch(const char *name, const char *tensor, int slot, uint64_t at,
                         const void *bytes, size_t len)
{
    char path[256], file[1024];
    opened o = open_named(name);
    const glmq_tensor *t = glmq_graph_find(o.g, tensor);
    assert_non_null(t);
    const glmq_span *s = &t->part[0].span[slot];
    assert_true(at + len <= s->bytes);
    if (glmq_source_is_file(o.src))
        snprintf(file, sizeof file, "%s", in_work(name, path));
    else
        snprintf(file, sizeof file, "%s/%s", in_work(name, path), glmq_source_name(o.src, s->file));
    const int fd = open(file, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, (off_t)(s->offset + at)), (ssize_t)len);
    close(fd);
    shut(&o);
}
#endif
