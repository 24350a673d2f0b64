/* What a config says of single modules: see overrides.h. */
#include "overrides.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "patterns.h"
#include <string.h>
#include <strings.h>

struct glmq_overrides {
    glmq_patterns *rules; /* -> number of an entry                            */
    glmq_patterns *only;  /* modules_in_block_to_quantize; NULL: says nothing */
    const cJSON *except;  /* modules_to_not_convert                           */
    glmq_override *entries;
    size_t count, capacity;
    int asym;
};

/* ---- numbers ---- */

static int64_t read_group(const cJSON *node)
{
    if (!cJSON_IsNumber(node)) return 0;
    if (node->valuedouble == -1.0) return -1;
    return node->valuedouble >= 1 && node->valuedouble <= UINT32_MAX ? (int64_t)node->valuedouble
                                                                     : 0;
}

/* sym, or the opposite of zero_point. */
static int read_sym(const cJSON *q)
{
    const cJSON *sym = cJSON_GetObjectItemCaseSensitive(q, "sym");
    const cJSON *zero = cJSON_GetObjectItemCaseSensitive(q, "zero_point");

    if (cJSON_IsBool(sym)) return cJSON_IsTrue(sym) != 0;
    return cJSON_IsBool(zero) ? cJSON_IsFalse(zero) != 0 : -1;
}

void glmq_override_read(const cJSON *entry, glmq_override *out)
{
    static const char *const bits[] = { "bits", "w_bit", "wbits" };
    static const char *const group[] = { "group_size", "q_group_size" };

    if (!glmq_json_u64(glmq_json_first(entry, bits, GLMQ_COUNT(bits)), &out->bits)) out->bits = 0;
    out->group = read_group(glmq_json_first(entry, group, GLMQ_COUNT(group)));
    out->sym = read_sym(entry);
    out->plain = out->bits >= 16;
    out->searched = 0;
}

int glmq_is_auto_round(const char *method)
{
    static const char *const words[] = { "auto-round", "autoround", "intel/auto-round",
                                         "auto_round" };

    for (size_t i = 0; i < GLMQ_COUNT(words); i++)
        if (strcasecmp(method, words[i]) == 0) return 1;
    return 0;
}

/* ---- entries ---- */

static glmq_status add_entry(glmq_overrides *o, const cJSON *entry, uint32_t *number,
                             glmq_error *err)
{
    if (o->count == o->capacity) {
        const size_t more = o->capacity ? 2 * o->capacity : 16;
        glmq_override *grown = glmq_realloc(o->entries, more * sizeof *grown);
        if (!grown) return glmq_fail(err, GLMQ_E_NOMEM, "%zu exceptions", o->count);
        o->entries = grown;
        o->capacity = more;
    }
    *number = (uint32_t)o->count;
    glmq_override_read(entry, &o->entries[o->count]);
    o->entries[o->count].key = entry->string;
    o->asym |= o->entries[o->count].sym == 0;
    o->count++;
    return GLMQ_OK;
}

static glmq_status add_dynamic(glmq_overrides *o, const cJSON *dynamic, glmq_error *err)
{
    const cJSON *entry;

    cJSON_ArrayForEach(entry, dynamic)
    {
        const char *key = entry->string;
        const int minus = strncmp(key, "-:", 2) == 0;
        uint32_t number = 0;

        GLMQ_TRY(add_entry(o, entry, &number, err));
        o->entries[number].plain |= minus;
        key += minus || strncmp(key, "+:", 2) == 0 ? 2 : 0;
        GLMQ_TRY(glmq_patterns_add(o->rules, PATTERN_MATCH, key, number, err));
    }
    return GLMQ_OK;
}

/* Is the key the name of a stored module?  Then it is no pattern. */
static int is_module(const glmq_catalog *cat, const char *key)
{
    static const char *const arrays[] = { ".qweight", ".weight" };
    char name[GLMQ_NAME_MAX + 16];
    const size_t len = strlen(key);

    if (len > GLMQ_NAME_MAX) return 0;
    for (size_t i = 0; i < GLMQ_COUNT(arrays); i++) {
        memcpy(name, key, len);
        strcpy(name + len, arrays[i]);
        if (glmq_catalog_find(cat, name, strlen(name))) return 1;
    }
    return 0;
}

/* Names first, whatever the order.  A key that is no regular expression either is skipped, as
 * AutoRound does. */
static glmq_status add_extra(glmq_overrides *o, const glmq_catalog *cat, const cJSON *extra,
                             int names, glmq_error *err)
{
    const cJSON *entry;

    cJSON_ArrayForEach(entry, extra)
    {
        glmq_error why = { 0 };
        glmq_status st;
        uint32_t number = 0;

        if (is_module(cat, entry->string) != names || !entry->child) continue;
        GLMQ_TRY(add_entry(o, entry, &number, err));
        o->entries[number].searched = !names;
        st = glmq_patterns_add(o->rules, names ? PATTERN_EXACT : PATTERN_SEARCH, entry->string,
                               number, &why);
        if (st && st != GLMQ_E_FORMAT) return glmq_fail(err, st, "%s", why.msg);
    }
    return GLMQ_OK;
}

/* A list of names, or of lists of them. */
static glmq_status add_only(glmq_patterns *p, const cJSON *list, glmq_error *err)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, list)
    {
        if (cJSON_IsArray(item)) GLMQ_TRY(add_only(p, item, err));
        if (cJSON_IsString(item))
            GLMQ_TRY(glmq_patterns_add(p, PATTERN_SEARCH, item->valuestring, 0, err));
    }
    return GLMQ_OK;
}

static glmq_status within(glmq_error *err, glmq_status st, const char *key)
{
    return glmq_within(err, st, "%s", key);
}

static glmq_status make(glmq_overrides *o, const glmq_catalog *cat, const cJSON *q, glmq_error *err)
{
    static const char only[] = "modules_in_block_to_quantize";
    const cJSON *extra = cJSON_GetObjectItemCaseSensitive(q, "extra_config");
    const cJSON *dynamic = cJSON_GetObjectItemCaseSensitive(q, "dynamic");
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(q, only);

    o->rules = glmq_patterns_new();
    if (!o->rules) return glmq_fail(err, GLMQ_E_NOMEM, "exceptions");
    o->except = cJSON_GetObjectItemCaseSensitive(q, "modules_to_not_convert");
    if (cJSON_IsObject(extra))
        GLMQ_TRY(within(err, add_extra(o, cat, extra, 1, err), "extra_config"));
    if (cJSON_IsObject(dynamic)) GLMQ_TRY(within(err, add_dynamic(o, dynamic, err), "dynamic"));
    if (cJSON_IsObject(extra))
        GLMQ_TRY(within(err, add_extra(o, cat, extra, 0, err), "extra_config"));
    if (!cJSON_IsArray(list) || !list->child) return GLMQ_OK;
    o->only = glmq_patterns_new();
    if (!o->only) return glmq_fail(err, GLMQ_E_NOMEM, "%s", only);
    return within(err, add_only(o->only, list, err), only);
}

glmq_status glmq_overrides_open(glmq_overrides **out, const glmq_catalog *cat, const cJSON *q,
                                glmq_error *err)
{
    glmq_overrides *o = glmq_alloc_zero(1, sizeof *o);
    glmq_status st;

    *out = NULL;
    if (!o) return glmq_fail(err, GLMQ_E_NOMEM, "exceptions");
    st = make(o, cat, q, err);
    if (st) {
        glmq_overrides_close(o);
        return st;
    }
    *out = o;
    return GLMQ_OK;
}

void glmq_overrides_close(glmq_overrides *o)
{
    if (!o) return;
    glmq_patterns_free(o->rules);
    glmq_patterns_free(o->only);
    glmq_free(o->entries);
    glmq_free(o);
}

int glmq_overrides_asym(const glmq_overrides *o)
{
    return o->asym;
}

glmq_status glmq_overrides_of(glmq_overrides *o, const glmq_module *m, glmq_override *out,
                              glmq_error *err)
{
    uint32_t number = 0;
    int found;

    *out = (glmq_override){ .sym = -1 };
    GLMQ_TRY(glmq_patterns_find(o->rules, m->name, m->name_len, &found, &number, err));
    if (found) {
        *out = o->entries[number];
        return GLMQ_OK;
    }
    if (glmq_module_listed(m, o->except)) {
        out->plain = 1;
        out->key = "modules_to_not_convert";
        return GLMQ_OK;
    }
    if (!o->only) return GLMQ_OK;
    GLMQ_TRY(glmq_patterns_find(o->only, m->name, m->name_len, &found, NULL, err));
    if (found) return GLMQ_OK;
    out->plain = 1;
    out->key = "modules_in_block_to_quantize";
    return GLMQ_OK;
}
