/* What a quantization config says of single modules, against the tensors that are stored.
 *
 * What is stored decides; but serving engines go by these lists, so an entry that speaks of no
 * module, and a plain matrix that no entry keeps, are worth a warning.  An entry is a module's
 * path, the path of a parent, a piece of one, a class name, a glob or a regular expression,
 * by the habits of whoever wrote the list. */
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/regex.h"
#include "base/strmap.h"
#include "base/text.h"
#include "check.h"
#include "models/graph.h"
#include "models/roles.h"
#include "readers/catalog.h"
#include "readers/patterns.h"
#include <stdio.h>
#include <string.h>

typedef struct lists lists;
typedef glmq_status match(lists *l, const char *entry, int keeps, int *found, glmq_error *err);
static match match_ignored, match_piece, match_start, match_parameter, match_signed, match_key,
    match_search;

/* Where ecosystems keep them. */
static const struct list_kind {
    const char *key;
    match *match;
    int keeps;  /* what an entry speaks of stays plain                                   */
    int closed; /* what no entry speaks of stays plain                                   */
} kinds[] = {
    { "ignore", match_ignored, 1, 0 },               /* compressed-tensors, ModelOpt          */
    { "exclude_modules", match_piece, 1, 0 },        /* ModelOpt; older engines: pieces       */
    { "ignored_layers", match_piece, 1, 0 },         /* FP8                                   */
    { "modules_to_not_convert", match_start, 1, 0 }, /* transformers, AWQ     */
    { "linear_weights_not_to_quantize", match_parameter, 1, 0 }, /* AQLM                  */
    { "dynamic", match_signed, 0, 0 },                           /* GPTQModel             */
    { "extra_config", match_key, 0, 0 },                         /* AutoRound             */
    { "quantized_layers", match_key, 0, 1 },                     /* ModelOpt, mixed       */
    { "modules_in_block_to_quantize", match_search, 0, 1 },      /* optimum               */
};

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
    const char *name; /* without ".weight"                                              */
    int plain;        /* not quantized, though it is a linear layer to engines          */
    int covered;
} module;

/* Slow comparisons, entries times modules, that all lists may take: seconds. */
static const uint64_t tries_max = UINT64_C(1) << 26;

struct lists {
    glmq_check *check;
    const glmq_graph *graph;
    const char *file;
    module *modules;
    size_t count;
    glmq_strmap paths; /* modules and their parents -> 1 + module, or 0 for parents     */
    uint64_t tries, steps;
    size_t untried; /* entries that were too costly                                     */
};

/* Roles that no engine takes for a linear layer, so that no list need name them. */
static int is_linear(const glmq_tensor *t)
{
    return t->rank == 2 && t->role != GLMQ_ROLE_OTHER && t->role != GLMQ_ROLE_EMBED &&
           t->role != GLMQ_ROLE_MTP_EMBED && t->role != GLMQ_ROLE_ROUTER;
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
        const size_t len = strlen(t->name), tail = strlen(".weight");
        const int weight = glmq_ends_with(t->name, ".weight");
        module *m = &l->modules[l->count++];

        m->name = glmq_arena_strndup(&l->check->arena, t->name, weight ? len - tail : len);
        if (!m->name) return no_memory(err);
        m->plain = glmq_encoding_is_plain(&t->part[0].enc) && is_linear(t);
        GLMQ_TRY(add_paths(l, m->name, l->count, err));
    }
    return GLMQ_OK;
}

/* ---- ways to match: *found, and with `keeps` the modules are marked ---- */

/* May an entry be held against every module? */
static int may_try(lists *l)
{
    if (l->tries + l->count > tries_max) {
        l->untried++;
        return 0;
    }
    l->tries += l->count;
    return 1;
}

/* Marks the modules at or under `path`. */
static void cover_below(lists *l, const char *path, size_t len)
{
    if (!may_try(l)) return;
    for (size_t i = 0; i < l->count; i++) {
        const char *name = l->modules[i].name;
        if (strncmp(name, path, len) == 0 && (!name[len] || name[len] == '.'))
            l->modules[i].covered = 1;
    }
}

static int match_stored(lists *l, const char *path, int keeps)
{
    uint64_t number;

    if (!glmq_strmap_get(&l->paths, path, strlen(path), &number)) return 0;
    if (keeps && number) l->modules[number - 1].covered = 1;
    if (keeps && !number) cover_below(l, path, strlen(path));
    return 1;
}

/* A path as it is, or as the modules that it joins. */
static int match_path(lists *l, const char *entry, int keeps)
{
    char path[512];
    const size_t len = strlen(entry);
    int found = match_stored(l, entry, keeps);

    for (size_t i = 0; i < GLMQ_COUNT(joined) && !found; i++) {
        const size_t n = strlen(joined[i].fused);
        if (len < n || len > sizeof path / 2 || strcmp(entry + len - n, joined[i].fused) != 0)
            continue;
        snprintf(path, sizeof path, "%.*s%s", (int)(len - n), entry, joined[i].stored);
        found |= match_stored(l, path, keeps);
    }
    return found;
}

typedef int test_name(const char *pattern, const char *name);

static int has_piece(const char *piece, const char *name)
{
    return strstr(name, piece) != NULL;
}

/* Every module by a test.  An entry that is too costly is given the benefit of the doubt. */
static int match_each(lists *l, test_name *test, const char *entry, int keeps)
{
    int found = 0;

    if (!may_try(l)) return 1;
    for (size_t i = 0; i < l->count; i++) {
        if (!test(entry, l->modules[i].name)) continue;
        if (keeps) l->modules[i].covered = 1;
        found = 1;
    }
    return found;
}

/* Every module by a regular expression; one that is none, or too costly, likewise. */
static glmq_status match_regex(lists *l, const char *pattern, glmq_regex_mode mode, int keeps,
                               int *found, glmq_error *err)
{
    glmq_error why = { 0 };
    glmq_regex *re;
    glmq_status st = glmq_regex_open(&re, pattern, mode, &l->steps, &why);

    *found = 0;
    for (size_t i = 0; i < l->count && !st; i++) {
        const char *name = l->modules[i].name;
        int yes = 0;
        st = glmq_regex_test(re, name, strlen(name), &yes, &why);
        *found |= yes;
        if (yes && keeps) l->modules[i].covered = 1;
    }
    glmq_regex_close(re);
    if (!st) return GLMQ_OK;
    if (st == GLMQ_E_NOMEM) return no_memory(err);
    *found = 1;
    if (st == GLMQ_E_LIMIT) l->untried++;
    if (st == GLMQ_E_FORMAT &&
        glmq_check_add(l->check, GLMQ_WARNING, "bad-pattern", NULL, l->file, "%s", why.msg))
        return no_memory(err);
    return GLMQ_OK;
}

/* "Linear", "Glm4MoeRouter": engines know their classes, this file cannot. */
static int is_class_name(const char *entry)
{
    return entry[0] >= 'A' && entry[0] <= 'Z';
}

static glmq_status match_ignored(lists *l, const char *entry, int keeps, int *found,
                                 glmq_error *err)
{
    *found = is_class_name(entry) || !*entry;
    if (*found) return GLMQ_OK;
    if (strncmp(entry, "re:", 3) == 0)
        return match_regex(l, entry + 3, REGEX_MATCH, keeps, found, err);
    *found = match_path(l, entry, keeps);
    if (!*found && strpbrk(entry, "*?")) *found = match_each(l, glmq_glob, entry, keeps);
    return GLMQ_OK;
}

/* Short words such as "lm_head" or "mlp.gate" match inside a path, as transformers does. */
static glmq_status match_piece(lists *l, const char *entry, int keeps, int *found, glmq_error *err)
{
    GLMQ_TRY(match_ignored(l, entry, keeps, found, err));
    if (!*found) *found = match_each(l, has_piece, entry, keeps);
    return GLMQ_OK;
}

/* Newer releases of transformers take the same entries for patterns of how a name begins
 * ("model.layers.*.self_attn"). */
static glmq_status match_start(lists *l, const char *entry, int keeps, int *found, glmq_error *err)
{
    GLMQ_TRY(match_piece(l, entry, keeps, found, err));
    if (*found || !strpbrk(entry, "\\^$*+([|")) return GLMQ_OK;
    return match_regex(l, entry, REGEX_MATCH, keeps, found, err);
}

static glmq_status match_parameter(lists *l, const char *entry, int keeps, int *found,
                                   glmq_error *err)
{
    char path[512];
    const size_t len = strlen(entry), tail = strlen(".weight");

    if (!glmq_ends_with(entry, ".weight") || len >= sizeof path)
        return match_ignored(l, entry, keeps, found, err);
    memcpy(path, entry, len - tail);
    path[len - tail] = '\0';
    return match_ignored(l, path, keeps, found, err);
}

/* "-:PATTERN" keeps what it matches, "+:PATTERN" and "PATTERN" quantize it otherwise. */
static glmq_status match_signed(lists *l, const char *entry, int keeps, int *found, glmq_error *err)
{
    const int sign = (entry[0] == '-' || entry[0] == '+') && entry[1] == ':';

    return match_regex(l, entry + (sign ? 2 : 0), REGEX_MATCH, keeps || (sign && entry[0] == '-'),
                       found, err);
}

/* A name, whatever stands before its "layers", or else a pattern. */
static glmq_status match_key(lists *l, const char *entry, int keeps, int *found, glmq_error *err)
{
    const char *layers = strstr(entry, ".layers.");
    char path[512];

    *found = match_path(l, entry, keeps);
    if (!*found && glmq_key_is_pattern(entry))
        return match_regex(l, entry, REGEX_SEARCH, keeps, found, err);
    if (!*found && layers && strlen(layers) < sizeof path - 8) {
        snprintf(path, sizeof path, "model%s", layers);
        *found = match_path(l, path, keeps);
    }
    return GLMQ_OK;
}

static glmq_status match_search(lists *l, const char *entry, int keeps, int *found, glmq_error *err)
{
    return match_regex(l, entry, REGEX_SEARCH, keeps, found, err);
}

/* ---- the lists ---- */

static glmq_status look_at_entry(lists *l, const struct list_kind *kind, const char *entry,
                                 int keeps, glmq_error *err)
{
    int found;

    GLMQ_TRY(kind->match(l, entry, keeps, &found, err));
    if (found) return GLMQ_OK;
    if (glmq_check_add(l->check, GLMQ_WARNING,
                       kind->keeps ? "ignore-matches-nothing" : "override-matches-nothing", NULL,
                       l->file, "%s: '%s' matches no module", kind->key, entry))
        return no_memory(err);
    return GLMQ_OK;
}

/* Does an object's entry say that its modules are not quantized? */
static int says_plain(const cJSON *entry)
{
    uint64_t bits;
    return glmq_json_u64(glmq_json_get(entry, "bits"), &bits) && bits >= 16;
}

/* Strings of a list or of lists in it; the keys of an object. */
static glmq_status look_at_list(lists *l, const struct list_kind *kind, const cJSON *list,
                                glmq_error *err)
{
    const int keys = cJSON_IsObject(list);
    const cJSON *entry;

    cJSON_ArrayForEach(entry, list)
    {
        if (keys)
            GLMQ_TRY(look_at_entry(l, kind, entry->string, says_plain(entry), err));
        else if (cJSON_IsString(entry))
            GLMQ_TRY(look_at_entry(l, kind, entry->valuestring, kind->keeps, err));
        else if (cJSON_IsArray(entry))
            GLMQ_TRY(look_at_list(l, kind, entry, err));
    }
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
    int any = 0, closed = says_plain(quant);

    for (size_t k = 0; k < GLMQ_COUNT(kinds); k++) {
        const cJSON *list = glmq_json_get(quant, kinds[k].key);
        if (!cJSON_IsArray(list) && !cJSON_IsObject(list)) continue;
        any |= kinds[k].keeps;
        closed |= kinds[k].closed && list->child;
        GLMQ_TRY(look_at_list(l, &kinds[k], list, err));
    }
    if (l->untried && glmq_check_add(l->check, GLMQ_NOTE, "entries-not-tried", NULL, l->file,
                                     "%zu entries take too long to hold against %zu modules",
                                     l->untried, l->count))
        return no_memory(err);
    return any && !closed && !l->untried ? look_at_rest(l, err) : GLMQ_OK;
}

glmq_status glmq_check_lists(glmq_check *c, const glmq_graph *g, glmq_error *err)
{
    const glmq_catalog *cat = g->catalog;
    const cJSON *inner = glmq_json_get(cat->quant, "quantization"); /* ModelOpt */
    lists l = { .check = c, .graph = g, .file = cat->quant_file };
    glmq_status st;

    if (!cat->quant) return GLMQ_OK;
    st = collect(&l, err);
    if (!st) st = look_at_lists(&l, cJSON_IsObject(inner) ? inner : cat->quant, err);
    glmq_free(l.modules);
    glmq_strmap_free(&l.paths);
    return st;
}
