/* Bytes as a file that lives in memory, and the walk over what a container made of them. */
#include "fuzz.h"
#include "readers/catalog.h"
#include "readers/gguf_kv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

void fuzz_broken(const char *what)
{
    fprintf(stderr, "broken: %s\n", what);
    abort();
}

/* Every array lies inside its file and has the bytes that its shape takes. */
static void walk_arrays(const glmq_source *src, const glmq_catalog *cat)
{
    uint64_t end = 0;
    for (size_t i = 0; i < cat->count; i++) {
        const glmq_array *a = &cat->arrays[i];
        uint64_t elements = 1, bytes;
        if (a->offset > glmq_source_size(src, a->file) ||
            a->bytes > glmq_source_size(src, a->file) - a->offset)
            fuzz_broken("an array outside its file");
        for (int d = 0; d < a->rank; d++) elements *= a->dims[d];
        if (glmq_dtype_bytes((glmq_dtype)a->dtype, elements, &bytes) || bytes != a->bytes)
            fuzz_broken("an array of another size than its shape");
        if (glmq_catalog_find(cat, a->name, strlen(a->name)) != a)
            fuzz_broken("an array that is not found by its name");
        if (a->bytes && a->offset < end) fuzz_broken("two arrays share bytes");
        if (a->bytes) end = a->offset + a->bytes;
    }
}

static uint64_t walk_value(const glmq_gguf_value *v)
{
    uint64_t at = 0, sum = v->bytes;
    const char *s;
    size_t len;
    int64_t n;
    for (size_t i = 0; i < v->key_len; i++) sum += (uint8_t)v->key[i];
    for (uint64_t i = 0; i < v->bytes; i++) sum += v->data[i];
    while (glmq_gguf_next_string(v, &at, &s, &len))
        for (size_t i = 0; i < len; i++) sum += (uint8_t)s[i];
    for (uint64_t i = 0; glmq_gguf_item_i64(v, i, &n); i++) sum += (uint64_t)n;
    return sum;
}

static void walk_keys(const glmq_gguf *g)
{
    static const char *const keys[] = { "general.architecture", "x.count", "x.flag", "split.no" };
    volatile uint64_t sum = 0;
    uint64_t u;
    double f;
    int flag;
    const char *s;
    size_t len;
    for (size_t i = 0; i < g->count; i++) sum += walk_value(&g->values[i]);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (glmq_gguf_u64(g, keys[i], &u)) sum += u;
        if (glmq_gguf_f64(g, keys[i], &f)) sum += f > 0;
        if (glmq_gguf_bool(g, keys[i], &flag)) sum += (uint64_t)flag;
        if (glmq_gguf_string(g, keys[i], &s, &len)) sum += len;
    }
    (void)sum; /* volatile: every byte is really read */
}

void fuzz_catalog(const uint8_t *data, size_t len)
{
    char path[64];
    glmq_source *src = NULL;
    glmq_catalog *cat = NULL;
    glmq_error err;
    const int fd = memfd_create("fuzz", 0);
    if (fd < 0 || (len && write(fd, data, len) != (ssize_t)len)) fuzz_broken("no memfd");
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (glmq_source_open(&src, path, NULL, &err)) fuzz_broken(err.msg);
    if (glmq_catalog_open(&cat, src, NULL, &err)) {
        if (!err.msg[0]) fuzz_broken("a refusal without a message");
    } else {
        walk_arrays(src, cat);
        if (cat->gguf) walk_keys(cat->gguf);
    }
    glmq_catalog_close(cat);
    glmq_source_close(src);
    close(fd);
}
