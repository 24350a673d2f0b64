/* For tests of containers: bytes put together by hand, and folders of small files. */
#ifndef GLMQ_TESTS_BUILD_FILES_H
#define GLMQ_TESTS_BUILD_FILES_H

#include "readers/catalog.h"
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct bytes {
    uint8_t *data;
    size_t len, cap;
} bytes;

static inline void put(bytes *b, const void *data, size_t len)
{
    if (b->len + len > b->cap) {
        b->cap = (b->len + len) * 2 + 64;
        b->data = realloc(b->data, b->cap);
        if (!b->data) abort();
    }
    if (len) memcpy(b->data + b->len, data, len);
    b->len += len;
}

static inline void put_zeros(bytes *b, size_t n)
{
    const uint8_t zero = 0;
    while (n--) put(b, &zero, 1);
}

static inline void put_u32(bytes *b, uint32_t v)
{
    put(b, &v, sizeof v);
}

static inline void put_u64(bytes *b, uint64_t v)
{
    put(b, &v, sizeof v);
}

/* A GGUF string. */
static inline void put_string(bytes *b, const char *s)
{
    put_u64(b, strlen(s));
    put(b, s, strlen(s));
}

/* A safetensors file: length, header, `data` bytes 0, 1, 2, … */
static inline bytes safetensors(const char *header, size_t data)
{
    bytes b = { 0 };
    put_u64(&b, strlen(header));
    put(&b, header, strlen(header));
    for (size_t i = 0; i < data; i++) {
        const uint8_t v = (uint8_t)i;
        put(&b, &v, 1);
    }
    return b;
}

typedef struct folder {
    char path[64];
} folder;

static inline folder folder_make(void)
{
    folder f = { "/tmp/glmq-test-XXXXXX" };
    if (!mkdtemp(f.path)) abort();
    return f;
}

static inline void folder_put(const folder *f, const char *name, const void *data, size_t len)
{
    char path[512];
    FILE *out;
    snprintf(path, sizeof path, "%s/%s", f->path, name);
    out = fopen(path, "wb");
    if (!out || (len && fwrite(data, 1, len, out) != len) || fclose(out)) abort();
}

static inline void folder_text(const folder *f, const char *name, const char *text)
{
    folder_put(f, name, text, strlen(text));
}

static inline void folder_bytes(const folder *f, const char *name, bytes b)
{
    folder_put(f, name, b.data, b.len);
    free(b.data);
}

/* Adds a shard of one-byte arrays: the names, ended by NULL. */
static inline void folder_shard(const folder *f, const char *file, const char *const *names)
{
    char header[4096];
    size_t n = 0;
    int at = snprintf(header, sizeof header, "{");
    for (; names[n]; n++)
        at += snprintf(header + at, sizeof header - (size_t)at,
                       "%s\"%s\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[%zu,%zu]}",
                       n ? "," : "", names[n], n, n + 1);
    snprintf(header + at, sizeof header - (size_t)at, "}");
    folder_bytes(f, file, safetensors(header, n));
}
#define SHARD(f, file, ...) folder_shard(f, file, (const char *const[]){ __VA_ARGS__, NULL })

static inline void folder_remove(const folder *f)
{
    DIR *dir = opendir(f->path);
    for (struct dirent *e; dir && (e = readdir(dir));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            if (unlinkat(dirfd(dir), e->d_name, 0)) abort();
    if (dir) closedir(dir);
    rmdir(f->path);
}

/* A source and its catalog. */
typedef struct opened {
    glmq_source *src;
    glmq_catalog *cat;
    glmq_status status;
    glmq_error err;
} opened;

static inline opened open_path(const char *path, const glmq_catalog_options *opt)
{
    opened o = { 0 };
    o.status = glmq_source_open(&o.src, path, NULL, &o.err);
    if (!o.status) o.status = glmq_catalog_open(&o.cat, o.src, opt, &o.err);
    return o;
}

static inline void close_all(opened *o)
{
    glmq_catalog_close(o->cat);
    glmq_source_close(o->src);
}

/* Opens what lies in the folder and removes the folder. */
static inline opened open_folder(folder *f)
{
    opened o = open_path(f->path, NULL);
    folder_remove(f);
    return o;
}

/* The first problem of that code, or NULL. */
static inline const glmq_problem *problem(const opened *o, const char *code)
{
    for (size_t i = 0; o->cat && i < o->cat->problem_count; i++)
        if (strcmp(o->cat->problems[i].code, code) == 0) return &o->cat->problems[i];
    return NULL;
}
#endif
