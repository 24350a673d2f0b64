/* Names and patterns in order: see patterns.h. */
#include "patterns.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/regex.h"
#include "base/strmap.h"
#include <string.h>

typedef struct {
    uint32_t order, value;
    glmq_regex *re;
} pattern;

struct glmq_patterns {
    glmq_arena arena;
    glmq_strmap names; /* -> order << 32 | value */
    pattern *at;
    size_t count;
    uint32_t order;
    uint64_t steps;
};

int glmq_key_is_pattern(const char *key)
{
    return strpbrk(key, "\\^$*+([") != NULL;
}

glmq_patterns *glmq_patterns_new(void)
{
    return glmq_alloc_zero(1, sizeof(glmq_patterns));
}

void glmq_patterns_free(glmq_patterns *p)
{
    if (!p) return;
    for (size_t i = 0; i < p->count; i++) glmq_regex_close(p->at[i].re);
    glmq_free(p->at);
    glmq_strmap_free(&p->names);
    glmq_arena_free(&p->arena);
    glmq_free(p);
}

static glmq_status add_name(glmq_patterns *p, const char *text, uint32_t value, glmq_error *err)
{
    const char *name = glmq_arena_strdup(&p->arena, text);
    const uint64_t what = (uint64_t)p->order << 32 | value;

    if (!name || glmq_strmap_add(&p->names, name, strlen(name), what, NULL) < 0)
        return glmq_fail(err, GLMQ_E_NOMEM, "%u names", p->order);
    p->order++;
    return GLMQ_OK;
}

static glmq_status add_pattern(glmq_patterns *p, glmq_pattern_kind kind, const char *text,
                               uint32_t value, glmq_error *err)
{
    pattern *grown;

    if (p->count == GLMQ_PATTERNS_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "more than %d patterns", GLMQ_PATTERNS_MAX);
    grown = glmq_realloc(p->at, (p->count + 1) * sizeof *grown);
    if (!grown) return glmq_fail(err, GLMQ_E_NOMEM, "%zu patterns", p->count);
    p->at = grown;
    grown[p->count] = (pattern){ .order = p->order, .value = value };
    GLMQ_TRY(glmq_regex_open(&grown[p->count].re, text,
                             kind == PATTERN_MATCH ? REGEX_MATCH : REGEX_SEARCH, &p->steps, err));
    p->count++;
    p->order++;
    return GLMQ_OK;
}

glmq_status glmq_patterns_add(glmq_patterns *p, glmq_pattern_kind kind, const char *text,
                              uint32_t value, glmq_error *err)
{
    char literal[GLMQ_NAME_MAX];

    if (kind == PATTERN_EXACT) return add_name(p, text, value, err);
    if (glmq_regex_literal(text, literal, sizeof literal)) return add_name(p, literal, value, err);
    return add_pattern(p, kind, text, value, err);
}

glmq_status glmq_patterns_find(glmq_patterns *p, const char *name, size_t len, int *found,
                               uint32_t *value, glmq_error *err)
{
    uint64_t exact = 0;

    *found = glmq_strmap_get(&p->names, name, len, &exact);
    if (*found && value) *value = (uint32_t)exact;
    for (size_t i = 0; i < p->count; i++) {
        const pattern *at = &p->at[i];
        int yes;

        if (*found && at->order > exact >> 32) break;
        GLMQ_TRY(glmq_regex_test(at->re, name, len, &yes, err));
        if (!yes) continue;
        *found = 1;
        if (value) *value = at->value;
        break;
    }
    return GLMQ_OK;
}
