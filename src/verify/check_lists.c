/* Ignore lists of a quantization config against the tensors that are stored.
 *
 * What is stored decides; but serving engines go by the list, so an entry that matches no
 * module, and a plain matrix that no entry covers, are worth a warning.  An entry is a module
 * path, the path of a parent, a class name, "re:PATTERN" (matched from the start, not to
 * the end), or a glob (ModelOpt's). */
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/strmap.h"
#include "base/text.h"
#include "check.h"
#include "models/graph.h"
#include "models/roles.h"
#include "readers/catalog.h"
#include <regex.h>
#include <stdio.h>
#include <string.h>

/* Where ecosystems keep the list. */
static const char *const list_keys[] = { "ignore", "modules_to_not_convert", "ignored_layers",
                                         "exclude_modules" };

/* Modules that engines make by joining stored ones. */
static const struct {
    const char *fused, *stored;
} joined[] = {
    { "qkv_proj", "q_proj" },
    { "qkv_proj", "k_proj" },
    { "qkv_proj", "v_proj" },
    { "gate_up_proj", "gate_proj" },
    { "gate_up_proj", "up_proj" },
    { "fused_qkv_a_proj", "q_a_proj" },
    { "fused_qkv_a_proj", "kv_a_proj_with_mqa" },
};

typedef struct module {
    const char *name; /* without ".weight" */
    int plain;        /* not quantized, though it is a linear layer to engines      */
    int covered;
} module;

typedef struct lists {
    glmq_check *check;
    const glmq_graph *graph;
    const char *file;
    module *modules;
    size_t count;
    glmq_strmap paths; /* modules and their parents -> 1 + module, or 0 for parents  */
} lists;

static int is_matrix(const glmq_tensor *t)
{
    return t->rank == 2 && t->role != GLMQ_ROLE_OTHER;
}

/* Roles that no engine takes for a linear layer, so that no list need name them. */
static int is_linear(glmq_role role)
{
    return role != GLMQ_ROLE_EMBED && role != GLMQ_ROLE_MTP_EMBED && role != GLMQ_ROLE_ROUTER;
}

static glmq_status no_memory(glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_NOMEM, "list of modules");
}

/* "a.b.c" and, as parents, "a.b" and "a". */
static glmq_status add_paths(lists *l, const char *name, uint64_t number, glmq_error *err)
{
    size_t len = strlen(name);

    if (glmq_strmap_add(&l->paths, name, len, number, NULL) < 0) return no_memory(err);
    while (len > 0) {
        if (name[--len] != '.') continue;
        const int added = glmq_strmap_add(&l->paths, name, len, 0, NULL);
        if (added < 0) return no_memory(err);
        if (added == 0) break; /* and so are its parents */
    }
    return GLMQ_OK;
}

static glmq_status collect(lists *l, glmq_error *err)
{
    const size_t n = glmq_graph_count(l->graph);

    l->modules = glmq_alloc_zero(n ? n : 1, sizeof *l->modules);
    if (!l->modules) return no_memory(err);
    for (size_t i = 0; i < n; i++) {
        const glmq_tensor *t = glmq_graph_tensor(l->graph, i);
        const char *dot = strrchr(t->name, '.');
        if (!is_matrix(t) || !dot || strcmp(dot, ".weight") != 0) continue;
        module *m = &l->modules[l->count++];
        m->name = glmq_arena_strndup(&l->check->arena, t->name, (size_t)(dot - t->name));
        if (!m->name) return no_memory(err);
        m->plain = glmq_encoding_is_plain(&t->part[0].enc) && is_linear(t->role);
        GLMQ_TRY(add_paths(l, m->name, l->count, err));
    }
    return GLMQ_OK;
}

/* Marks the modules at or under `path`. */
static void cover_below(lists *l, const char *path, size_t len)
{
    for (size_t i = 0; i < l->count; i++) {
        const char *name = l->modules[i].name;
        if (strncmp(name, path, len) == 0 && (!name[len] || name[len] == '.'))
            l->modules[i].covered = 1;
    }
}

static int match_stored(lists *l, const char *path)
{
    uint64_t number;

    if (!glmq_strmap_get(&l->paths, path, strlen(path), &number)) return 0;
    if (number)
        l->modules[number - 1].covered = 1;
    else
        cover_below(l, path, strlen(path));
    return 1;
}

/* A path as it is, or as the modules that it joins. */
static int match_path(lists *l, const char *entry)
{
    char path[512];
    const size_t len = strlen(entry);
    int found = match_stored(l, entry);

    for (size_t i = 0; i < GLMQ_COUNT(joined) && !found; i++) {
        const size_t n = strlen(joined[i].fused);
        if (len < n || strcmp(entry + len - n, joined[i].fused) != 0) continue;
        snprintf(path, sizeof path, "%.*s%s", (int)(len - n), entry, joined[i].stored);
        found |= match_stored(l, path);
    }
    return found;
}

/* Short words such as "lm_head" or "mlp.gate" match inside a path, as transformers does. */
static int match_inside(lists *l, const char *entry)
{
    int found = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (!strstr(l->modules[i].name, entry)) continue;
        l->modules[i].covered = 1;
        found = 1;
    }
    return found;
}

/* Is this a pattern that means the same to POSIX as to Python?  Counted repeats are left out
 * too: regcomp() multiplies them, and the pattern is a stranger's. */
static int is_simple_pattern(const char *pattern)
{
    if (strlen(pattern) > 256 || strchr(pattern, '{') || strstr(pattern, "(?")) return 0;
    for (const char *p = pattern; (p = strchr(p, '\\')) != NULL; p += 2)
        if (!p[1] || (p[1] >= '0' && p[1] <= '9') || (p[1] >= 'A' && p[1] <= 'Z') ||
            (p[1] >= 'a' && p[1] <= 'z'))
            return 0;
    return 1;
}

/* 1, 0, or -1: not a pattern that can be tried. */
static int match_pattern(lists *l, const char *pattern)
{
    char anchored[300];
    regex_t re;
    int found = 0;

    if (!is_simple_pattern(pattern)) return -1;
    snprintf(anchored, sizeof anchored, "^(%s)", pattern);
    if (regcomp(&re, anchored, REG_EXTENDED | REG_NOSUB)) return -1;
    for (size_t i = 0; i < l->count; i++) {
        if (regexec(&re, l->modules[i].name, 0, NULL, 0)) continue;
        l->modules[i].covered = 1;
        found = 1;
    }
    regfree(&re);
    return found;
}

static int match_glob(lists *l, const char *entry)
{
    int found = 0;
    for (size_t i = 0; i < l->count; i++) {
        if (!glmq_glob(entry, l->modules[i].name)) continue;
        l->modules[i].covered = 1;
        found = 1;
    }
    return found;
}

static int is_class_name(const char *entry)
{
    return entry[0] >= 'A' && entry[0] <= 'Z';
}

static glmq_status look_at_entry(lists *l, const char *key, const char *entry, glmq_error *err)
{
    int found;

    if (is_class_name(entry) || !*entry) return GLMQ_OK;
    if (strncmp(entry, "re:", 3) == 0)
        found = match_pattern(l, entry + 3);
    else if (strchr(entry, '*'))
        found = match_glob(l, entry);
    else
        found = match_path(l, entry) || (strcmp(key, "ignore") != 0 && match_inside(l, entry));
    if (found) return GLMQ_OK;
    if (glmq_check_add(l->check, GLMQ_WARNING, "ignore-matches-nothing", NULL, l->file,
                       "%s: '%s' matches no module", key, entry))
        return no_memory(err);
    return GLMQ_OK;
}

/* Plain matrices that a serving engine would look for in quantized form. */
static glmq_status look_at_rest(lists *l, glmq_error *err)
{
    const char *first = NULL;
    size_t rest = 0;

    for (size_t i = 0; i < l->count; i++) {
        if (!l->modules[i].plain || l->modules[i].covered) continue;
        if (!rest++) first = l->modules[i].name;
    }
    if (!rest) return GLMQ_OK;
    if (glmq_check_add(l->check, GLMQ_WARNING, "kept-not-ignored", NULL, l->file,
                       "%zu matrices are not quantized and no entry covers them; the first is %s",
                       rest, first))
        return no_memory(err);
    return GLMQ_OK;
}

static glmq_status look_at_lists(lists *l, const cJSON *quant, glmq_error *err)
{
    int any = 0;

    for (size_t k = 0; k < GLMQ_COUNT(list_keys); k++) {
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(quant, list_keys[k]);
        const cJSON *entry;
        if (!cJSON_IsArray(list)) continue;
        any = 1;
        cJSON_ArrayForEach(entry, list)
        {
            if (!cJSON_IsString(entry)) continue;
            GLMQ_TRY(look_at_entry(l, list_keys[k], entry->valuestring, err));
        }
    }
    return any ? look_at_rest(l, err) : GLMQ_OK;
}

glmq_status glmq_check_lists(glmq_check *c, const glmq_graph *g, glmq_error *err)
{
    const glmq_catalog *cat = g->catalog;
    const cJSON *inner = cJSON_GetObjectItemCaseSensitive(cat->quant, "quantization");
    lists l = { .check = c, .graph = g, .file = cat->quant_file };
    glmq_status st;

    if (!cat->quant) return GLMQ_OK;
    st = collect(&l, err);
    if (!st) st = look_at_lists(&l, cJSON_IsObject(inner) ? inner : cat->quant, err);
    glmq_free(l.modules);
    glmq_strmap_free(&l.paths);
    return st;
}
