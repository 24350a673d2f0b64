/* What tests share: where things lie, and folders of their own to work in. */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* The folder of the fixtures, or NULL after saying "skipped". */
static inline const char *fixtures_or_skip(void)
{
    const char *path = getenv("GLMQ_FIXTURES");
    if (path && *path && access(path, R_OK) == 0) return path;
    puts("skipped: no fixtures (GLMQ_FIXTURES)");
    return NULL;
}

/* A fresh folder below TMPDIR; the caller removes it. */
static inline void fresh_folder(char path[256])
{
    const char *tmp = getenv("TMPDIR");
    snprintf(path, 256, "%s/glmq-test-XXXXXX", tmp && *tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(path));
}

static inline void write_file(const char *folder, const char *name, const void *data, size_t len)
{
    char path[1024];
    FILE *f;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
}

/* The whole of a file, terminated; the caller frees it. */
static inline char *slurp(const char *path, size_t *len)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    char *data;
    assert_non_null(f);
    assert_int_equal(fstat(fileno(f), &st), 0);
    data = malloc((size_t)st.st_size + 1);
    assert_non_null(data);
    *len = fread(data, 1, (size_t)st.st_size, f);
    assert_int_equal(*len, st.st_size);
    data[*len] = '\0';
    fclose(f);
    return data;
}
#endif
