/* For tests of plan and run: a whole conversion in one call, and folders compared. */
#ifndef GLMQ_TESTS_CONVERT_FILES_H
#define GLMQ_TESTS_CONVERT_FILES_H

#include "support.h"
#include "base/hash.h"
#include "convert/plan.h"
#include "glmq/glmq.h"
#include "io/out.h"
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* A checkpoint, opened as far as its plan. */
typedef struct conversion {
    glmq_source *source;
    glmq_graph *graph;
    glmq_recipe *recipe;
    glmq_plan *plan;
    glmq_error err;
} conversion;

static inline void conversion_close(conversion *c)
{
    glmq_plan_close(c->plan);
    glmq_recipe_close(c->recipe);
    glmq_graph_close(c->graph);
    glmq_source_close(c->source);
    c->plan = NULL;
    c->recipe = NULL;
    c->graph = NULL;
    c->source = NULL;
}

/* Opens source and graph, and the recipe of `to` with rules `set` (NULL: none). */
static inline glmq_status conversion_open(conversion *c, const char *src, const char *to,
                                          const char *set)
{
    glmq_status st;
    memset(c, 0, sizeof *c);
    st = glmq_source_open(&c->source, src, NULL, &c->err);
    if (!st) st = glmq_graph_open(&c->graph, c->source, NULL, &c->err);
    if (!st) st = glmq_recipe_open(&c->recipe, to, &c->err);
    if (!st && set) st = glmq_recipe_set(c->recipe, set, &c->err);
    return st;
}

static inline glmq_status conversion_plan(conversion *c, const char *src, const char *to,
                                          const char *dst, const glmq_plan_options *opt)
{
    glmq_status st = conversion_open(c, src, to, NULL);
    if (!st) st = glmq_plan_open(&c->plan, c->graph, c->recipe, dst, opt, &c->err);
    return st;
}

/* All of it.  The error is left in *err. */
static inline glmq_status convert(const char *src, const char *dst, const char *to,
                                  const glmq_plan_options *plan, const glmq_run_options *opt,
                                  glmq_run_result *result, glmq_error *err)
{
    conversion c;
    glmq_status st = conversion_plan(&c, src, to, dst, plan);
    if (!st) st = glmq_run(c.plan, opt, result, &c.err);
    if (err) *err = c.err;
    conversion_close(&c);
    return st;
}

static inline int same_contents(const char *a, const char *b)
{
    size_t n = 0, m = 0;
    char *x = slurp(a, &n), *y = slurp(b, &m);
    const int same = n == m && memcmp(x, y, n) == 0;
    free(x);
    free(y);
    return same;
}

static inline int count_files(const char *folder)
{
    int n = 0;
    struct dirent *e;
    DIR *d = opendir(folder);
    if (!d) return -1;
    while ((e = readdir(d))) n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* Do two folders hold the same files with the same bytes?  Names the first that differs. */
static inline int same_folder(const char *a, const char *b)
{
    char x[1024], y[1024];
    int same = count_files(a) == count_files(b) && count_files(a) > 0;
    struct dirent *e;
    DIR *d = opendir(a);
    if (!d) return 0;
    while ((e = readdir(d))) {
        if (e->d_name[0] == '.') continue;
        snprintf(x, sizeof x, "%s/%s", a, e->d_name);
        snprintf(y, sizeof y, "%s/%s", b, e->d_name);
        if (same_contents(x, y)) continue;
        printf("differs: %s\n", y);
        same = 0;
    }
    closedir(d);
    return same;
}

static inline void path_in(char out[1024], const char *folder, const char *name)
{
    snprintf(out, 1024, "%s/%s", folder, name);
}

/* The digest of a checkpoint's canonical values, "" when it cannot be opened. */
static inline void digest_of(const char *path, char hex[33])
{
    glmq_source *source = NULL;
    glmq_graph *graph = NULL;
    glmq_digest_entry *entries = NULL;
    glmq_digest d;
    size_t n;
    hex[0] = '\0';
    if (!glmq_source_open(&source, path, NULL, NULL) &&
        !glmq_graph_open(&graph, source, NULL, NULL)) {
        n = glmq_graph_count(graph);
        entries = calloc(n, sizeof *entries);
        for (size_t i = 0; entries && i < n; i++) {
            const glmq_tensor *t = glmq_graph_tensor(graph, i);
            entries[i].name = t->name;
            if (glmq_tensor_digest(graph, t, entries[i].hex, NULL)) entries[i].hex[0] = '\0';
        }
        d = glmq_digest_model(entries, n);
        glmq_digest_hex(&d, hex);
    }
    free(entries);
    glmq_graph_close(graph);
    glmq_source_close(source);
}
#endif
