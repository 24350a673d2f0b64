/* Recipes: the target of --to, and an ordered list of rules of which the last that matches a
 * tensor wins.  Rules come from --set, --keep and --recipe, in the order they were given. */
#include "glmq/recipe.h"
#include "base/error.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "convert/plan.h"
#include "convert/presets.h"
#include "models/roles.h"
#include "writers/writer.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct layer_range {
    int32_t first, last;
} layer_range;

typedef struct rule {
    const char *text;              /* as given: the manifest quotes it                    */
    const char *any, *role, *name; /* globs; any: name or role.  NULL: not asked          */
    layer_range *layers;           /* NULL: every layer, and what has none                 */
    size_t layer_count;
    glmq_want_kind kind;
    glmq_encoding enc;
} rule;

struct glmq_recipe {
    glmq_arena arena;
    glmq_target target;
    GLMQ_LIST(rule) rules;
};

/* ---- the target ---- */

static const char *writer_word(size_t i)
{
    return i < glmq_writer_count() ? glmq_writer_at(i)->name : NULL;
}

static glmq_status parse_target(glmq_target *t, const char *to, glmq_error *err)
{
    char word[sizeof t->text];
    const size_t n = strcspn(to, ":");
    const char *near;
    if (strlen(to) >= sizeof t->text)
        return glmq_fail(err, GLMQ_E_ARG, "a target of %zu characters", strlen(to));
    if (to[n] == ':' && !to[n + 1])
        return glmq_fail(err, GLMQ_E_ARG, "%s nothing behind the colon", to);
    memcpy(word, to, n);
    word[n] = '\0';
    *t = (glmq_target){ .writer = glmq_writer_find(word), .file_type = -1 };
    memcpy(t->text, to, strlen(to) + 1);
    if (t->writer) return t->writer->target(t, to[n] ? to + n + 1 : "", err);
    near = glmq_nearest(word, writer_word);
    if (near)
        return glmq_fail(err, GLMQ_E_ARG, "unknown format '%s'; the nearest is '%s'", word, near);
    return glmq_fail(err, GLMQ_E_ARG, "unknown format '%s'", word);
}

glmq_status glmq_recipe_open(glmq_recipe **out, const char *to, glmq_error *err)
{
    glmq_status st;
    glmq_recipe *r = glmq_alloc_zero(1, sizeof *r);
    *out = NULL;
    if (!r) return glmq_fail(err, GLMQ_E_NOMEM, "a recipe");
    st = glmq_within(err, parse_target(&r->target, to, err), "--to");
    if (st) {
        glmq_recipe_close(r);
        return st;
    }
    *out = r;
    return GLMQ_OK;
}

void glmq_recipe_close(glmq_recipe *r)
{
    if (!r) return;
    glmq_free(r->rules.at);
    glmq_arena_free(&r->arena);
    glmq_free(r);
}

const glmq_target *glmq_recipe_target(const glmq_recipe *r)
{
    return &r->target;
}

/* ---- rules ---- */

static glmq_status add_rule(glmq_recipe *r, const rule *add, glmq_error *err)
{
    if (r->rules.count == r->rules.capacity) {
        const size_t capacity = r->rules.capacity ? r->rules.capacity * 2 : 16;
        rule *at = glmq_realloc(r->rules.at, capacity * sizeof *at);
        if (!at) return glmq_fail(err, GLMQ_E_NOMEM, "%zu rules", capacity);
        r->rules.at = at;
        r->rules.capacity = capacity;
    }
    r->rules.at[r->rules.count++] = *add;
    return GLMQ_OK;
}

/* What stands behind '=' or "to": "same" keeps, "default" leaves it to the target. */
static glmq_status parse_to(const char *to, rule *out, glmq_error *err)
{
    out->kind = WANT_ENC;
    if (strcmp(to, "same") == 0) out->kind = WANT_KEEP;
    if (strcmp(to, "default") == 0) out->kind = WANT_DEFAULT;
    return out->kind == WANT_ENC ? glmq_encoding_parse(to, &out->enc, err) : GLMQ_OK;
}

glmq_status glmq_recipe_set(glmq_recipe *r, const char *text, glmq_error *err)
{
    const char *eq = strchr(text, '=');
    rule add = { 0 };
    if (!eq || eq == text || !eq[1])
        return glmq_fail(err, GLMQ_E_ARG, "--set '%s': expected GLOB=ENCODING", text);
    GLMQ_TRY(glmq_within(err, parse_to(eq + 1, &add, err), "--set '%s'", text));
    add.text = glmq_arena_printf(&r->arena, "--set %s", text);
    add.any = glmq_arena_strndup(&r->arena, text, (size_t)(eq - text));
    if (!add.text || !add.any) return glmq_fail(err, GLMQ_E_NOMEM, "a rule");
    return add_rule(r, &add, err);
}

glmq_status glmq_recipe_keep(glmq_recipe *r, const char *glob, glmq_error *err)
{
    rule add = { .kind = WANT_KEEP };
    if (!*glob) return glmq_fail(err, GLMQ_E_ARG, "--keep: an empty pattern");
    add.text = glmq_arena_printf(&r->arena, "--keep %s", glob);
    add.any = glmq_arena_strdup(&r->arena, glob);
    if (!add.text || !add.any) return glmq_fail(err, GLMQ_E_NOMEM, "a rule");
    return add_rule(r, &add, err);
}

/* ---- a file of rules ---- */

static const char *role_word(size_t i)
{
    return i < GLMQ_ROLE_COUNT ? glmq_role_name((glmq_role)i) : NULL;
}

static int is_a_role(const char *glob)
{
    for (size_t i = 0; i < GLMQ_ROLE_COUNT; i++)
        if (glmq_glob(glob, role_word(i))) return 1;
    return 0;
}

static glmq_status no_such_role(const char *glob, glmq_error *err)
{
    const char *near = glmq_nearest(glob, role_word);
    if (near)
        return glmq_fail(err, GLMQ_E_ARG, "no role matches '%s'; the nearest is '%s'", glob, near);
    return glmq_fail(err, GLMQ_E_ARG, "no role matches '%s'", glob);
}

/* One layer number at *p; -1 when there is none. */
static int32_t layer_number(const char **p)
{
    char *end;
    unsigned long n;
    if (**p < '0' || **p > '9') return -1;
    n = strtoul(*p, &end, 10);
    *p = end;
    return n < GLMQ_LAYERS_MAX ? (int32_t)n : -1;
}

/* "3-77", "0,1,92", "5-": into an array of the arena. */
static glmq_status parse_layers(glmq_recipe *r, const char *text, rule *out, glmq_error *err)
{
    const char *p = text;
    size_t most = 1;
    for (const char *c = text; *c; c++) most += *c == ',';
    out->layers = glmq_arena_alloc(&r->arena, most * sizeof *out->layers);
    if (!out->layers) return glmq_fail(err, GLMQ_E_NOMEM, "a rule");
    for (;;) {
        layer_range *range = &out->layers[out->layer_count++];
        range->first = range->last = layer_number(&p);
        if (range->first >= 0 && *p == '-') {
            p++;
            range->last = *p == ',' || !*p ? INT32_MAX : layer_number(&p);
        }
        if (range->first < 0 || range->last < range->first) break;
        if (!*p) return GLMQ_OK;
        if (*p++ != ',') break;
    }
    return glmq_fail(err, GLMQ_E_ARG, "\"layers\": '%s' is no list such as \"0,3-77\"", text);
}

/* "layers" may also be one number. */
static glmq_status rule_layers(glmq_recipe *r, const cJSON *node, rule *out, glmq_error *err)
{
    char text[32];
    uint64_t n;
    if (cJSON_IsString(node)) return parse_layers(r, node->valuestring, out, err);
    if (!glmq_json_u64(node, &n))
        return glmq_fail(err, GLMQ_E_ARG, "\"layers\" is neither a string nor a number");
    snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    return parse_layers(r, text, out, err);
}

static const char *const rule_keys[] = { "role", "name", "layers", "to", "comment" };

static const char *rule_key(size_t i)
{
    return i < GLMQ_COUNT(rule_keys) ? rule_keys[i] : NULL;
}

static glmq_status check_keys(const cJSON *object, glmq_error *err)
{
    for (const cJSON *node = object->child; node; node = node->next) {
        size_t i = 0;
        const char *near;
        while (i < GLMQ_COUNT(rule_keys) && strcmp(node->string, rule_keys[i])) i++;
        if (i < GLMQ_COUNT(rule_keys)) continue;
        near = glmq_nearest(node->string, rule_key);
        return glmq_fail(err, GLMQ_E_ARG, "unknown key \"%s\"%s%s%s", node->string,
                         near ? "; the nearest is \"" : "", near ? near : "", near ? "\"" : "");
    }
    return GLMQ_OK;
}

/* A member that must be a string if it is there: *out NULL when it is not. */
static glmq_status text_member(glmq_recipe *r, const cJSON *object, const char *key,
                               const char **out, glmq_error *err)
{
    const cJSON *node = cJSON_GetObjectItemCaseSensitive(object, key);
    *out = NULL;
    if (!node) return GLMQ_OK;
    if (!cJSON_IsString(node) || !node->valuestring[0])
        return glmq_fail(err, GLMQ_E_ARG, "\"%s\" is no text", key);
    *out = glmq_arena_strdup(&r->arena, node->valuestring);
    return *out ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "a rule");
}

static glmq_status load_rule(glmq_recipe *r, const cJSON *object, glmq_error *err)
{
    const cJSON *layers;
    const char *to;
    rule add = { 0 };
    char *text;
    if (!cJSON_IsObject(object)) return glmq_fail(err, GLMQ_E_ARG, "not an object");
    GLMQ_TRY(check_keys(object, err));
    GLMQ_TRY(text_member(r, object, "role", &add.role, err));
    GLMQ_TRY(text_member(r, object, "name", &add.name, err));
    GLMQ_TRY(text_member(r, object, "to", &to, err));
    if (!to) return glmq_fail(err, GLMQ_E_ARG, "\"to\" is missing");
    if (add.role && !is_a_role(add.role)) return no_such_role(add.role, err);
    layers = cJSON_GetObjectItemCaseSensitive(object, "layers");
    if (layers) GLMQ_TRY(rule_layers(r, layers, &add, err));
    GLMQ_TRY(parse_to(to, &add, err));
    text = cJSON_PrintUnformatted(object);
    add.text = text ? glmq_arena_strdup(&r->arena, text) : NULL;
    cJSON_free(text);
    if (!add.text) return glmq_fail(err, GLMQ_E_NOMEM, "a rule");
    return add_rule(r, &add, err);
}

static glmq_status load_rules(glmq_recipe *r, const char *text, size_t len, glmq_error *err)
{
    cJSON *root = NULL;
    const cJSON *list;
    size_t i = 0;
    glmq_status st = glmq_json_parse(&root, text, len, 0, err);
    if (st) return st;
    list = cJSON_IsArray(root) ? root : cJSON_GetObjectItemCaseSensitive(root, "rules");
    if (!cJSON_IsArray(list))
        st = glmq_fail(err, GLMQ_E_ARG, "neither a list of rules nor an object with \"rules\"");
    for (const cJSON *node = st ? NULL : list->child; node && !st; node = node->next, i++)
        st = glmq_within(err, load_rule(r, node, err), "rule %zu", i + 1);
    cJSON_Delete(root);
    return st;
}

/* The whole file, which is small: at most 16 MiB. */
static glmq_status read_text(const char *path, glmq_text *out, glmq_error *err)
{
    char buf[16384];
    size_t n;
    glmq_status st = GLMQ_OK;
    FILE *f = fopen(path, "rbe");
    if (!f) return glmq_fail_sys(err, errno, "%s", path);
    while ((n = fread(buf, 1, sizeof buf, f)) > 0 && out->len < 16u << 20)
        glmq_text_add_n(out, buf, n);
    if (ferror(f))
        st = glmq_fail_sys(err, errno, "%s", path);
    else if (n)
        st = glmq_fail(err, GLMQ_E_LIMIT, "%s: longer than 16 MiB", path);
    else if (out->failed)
        st = glmq_fail(err, GLMQ_E_NOMEM, "%s", path);
    fclose(f);
    return st;
}

static const char *preset_word(size_t i)
{
    const glmq_preset *preset = glmq_preset_at(i);
    return preset ? preset->name : NULL;
}

/* A word without a dot or slash that names no file was meant to be a preset. */
static glmq_status no_such_preset(const char *word, glmq_error *err)
{
    const char *near = glmq_nearest(word, preset_word);
    return glmq_fail(err, GLMQ_E_ARG, "%s: no such file, and no preset%s%s%s", word,
                     near ? "; the nearest is '" : "", near ? near : "", near ? "'" : "");
}

glmq_status glmq_recipe_load(glmq_recipe *r, const char *path, glmq_error *err)
{
    const glmq_preset *preset = glmq_preset_find(path);
    glmq_text text = { 0 };
    glmq_status st;
    if (preset) return load_rules(r, preset->json, strlen(preset->json), err);
    if (!strpbrk(path, "./") && access(path, F_OK)) return no_such_preset(path, err);
    st = read_text(path, &text, err);
    if (!st)
        st = glmq_within(err, load_rules(r, text.data ? text.data : "", text.len, err), "%s", path);
    glmq_text_free(&text);
    return st;
}

/* ---- applying ---- */

static int layer_matches(const rule *u, int32_t layer)
{
    if (!u->layers) return 1;
    for (size_t i = 0; i < u->layer_count; i++)
        if (layer >= u->layers[i].first && layer <= u->layers[i].last) return 1;
    return 0;
}

static int matches(const rule *u, const glmq_tensor *t)
{
    const char *role = glmq_role_name(t->role);
    if (!layer_matches(u, t->layer)) return 0;
    if (u->any && !glmq_glob(u->any, role) && !glmq_glob(u->any, t->name)) return 0;
    if (u->role && !glmq_glob(u->role, role)) return 0;
    return !u->name || glmq_glob(u->name, t->name);
}

glmq_status glmq_recipe_apply(const glmq_recipe *r, const glmq_graph *g, const glmq_tensor *t,
                              glmq_want *want, glmq_error *err)
{
    (void)g, (void)err;
    *want = (glmq_want){ .kind = WANT_DEFAULT, .rule = "default" };
    for (size_t i = r->rules.count; i-- > 0;) {
        const rule *u = &r->rules.at[i];
        if (!matches(u, t)) continue;
        want->kind = u->kind;
        want->enc = u->enc;
        want->rule = u->text;
        break;
    }
    return GLMQ_OK;
}

/* A role that this model does not have is fine; a word that is neither role nor tensor is
 * a slip of the pen. */
glmq_status glmq_recipe_check(const glmq_recipe *r, const glmq_graph *g, glmq_error *err)
{
    for (size_t i = 0; i < r->rules.count; i++) {
        const rule *u = &r->rules.at[i];
        size_t k = 0;
        if (!u->any || is_a_role(u->any)) continue;
        while (k < g->count && !glmq_glob(u->any, g->tensors[k].name)) k++;
        if (k == g->count) {
            const char *near = glmq_nearest(u->any, role_word);
            return glmq_fail(err, GLMQ_E_ARG, "%s: no tensor and no role matches%s%s%s", u->text,
                             near ? "; the nearest role is '" : "", near ? near : "",
                             near ? "'" : "");
        }
    }
    return GLMQ_OK;
}
