/* quantization_config of compressed-tensors: see ct_config.h.
 *
 * A target is the name of a module, "re:" and a pattern that its name begins with, or the name
 * of a class; of classes a checkpoint knows Linear and Embedding only. */
#include "ct_config.h"
#include "base/error.h"
#include "base/mem.h"
#include "patterns.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char re[] = "re:";

static int is_pattern(const char *target)
{
    return strncmp(target, re, sizeof re - 1) == 0;
}

/* ---- schemes ---- */

static glmq_status read_strategy(const cJSON *args, ct_scheme *s, glmq_error *err)
{
    static const struct {
        const char *word;
        ct_strategy strategy;
    } words[] = {
        { "group", STRATEGY_GROUP },
        { "channel", STRATEGY_CHANNEL },
        { "tensor", STRATEGY_TENSOR },
    };
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(args, "group_size");
    const char *word = glmq_json_string(args, "strategy");

    s->group = 0;
    if (glmq_json_u64(size, &s->group)) {
        s->strategy = STRATEGY_GROUP;
        if (s->group == 0 || s->group > UINT32_MAX)
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: group_size %" PRIu64, s->name, s->group);
    } else {
        s->strategy = cJSON_IsNumber(size) ? STRATEGY_CHANNEL : STRATEGY_TENSOR;
    }
    if (!word) return GLMQ_OK;
    s->strategy = STRATEGY_OTHER;
    for (size_t i = 0; i < GLMQ_COUNT(words); i++)
        if (strcmp(word, words[i].word) == 0) s->strategy = words[i].strategy;
    return GLMQ_OK;
}

/* [rows, columns], or "128x128". */
static void read_block(const cJSON *size, uint64_t block[2])
{
    char end;

    block[0] = block[1] = 0;
    if (cJSON_IsString(size) &&
        sscanf(size->valuestring, "%5" SCNu64 "x%9" SCNu64 "%c", &block[0], &block[1], &end) == 2)
        return;
    if (!cJSON_IsArray(size) || cJSON_GetArraySize(size) != 2 ||
        !glmq_json_u64(cJSON_GetArrayItem(size, 0), &block[0]) ||
        !glmq_json_u64(cJSON_GetArrayItem(size, 1), &block[1]))
        block[0] = 0;
}

/* Floats: only a block's size cannot be told from the arrays. */
static glmq_status read_fp8(const cJSON *args, ct_scheme *s, glmq_error *err)
{
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(args, "block_structure");
    const char *word = glmq_json_string(args, "strategy");

    s->type = CT_FP8;
    s->block[0] = s->block[1] = 128;
    if (word && strcmp(word, "group") == 0) {
        s->block[0] = 1;
        size = cJSON_GetObjectItemCaseSensitive(args, "group_size");
        if (!glmq_json_u64(size, &s->block[1])) s->block[1] = 0;
    } else if (cJSON_IsArray(size) || cJSON_IsString(size)) {
        read_block(size, s->block);
    } else if (!word || strcmp(word, "block") != 0) {
        s->block[0] = s->block[1] = 0;
        return GLMQ_OK;
    }
    if (s->block[0] == 0 || s->block[0] > UINT16_MAX || s->block[1] == 0 ||
        s->block[1] > UINT32_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: the blocks are not two sizes", s->name);
    return GLMQ_OK;
}

/* Four-bit floats: 16 columns to a scale (NVFP4), or 32 (MXFP4). */
static glmq_status read_fp4(const cJSON *args, ct_scheme *s, glmq_error *err)
{
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(args, "group_size");

    if (s->bits != 4)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "%s: compressed-tensors floats of %" PRIu64
                         " bits are not read by this version",
                         s->name, s->bits);
    s->type = CT_FP4;
    s->strategy = STRATEGY_GROUP;
    if (!glmq_json_u64(size, &s->group)) s->group = 0;
    if (s->group == 16 || s->group == 32) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT, "%s: group_size %" PRIu64 ", expected 16 or 32", s->name,
                     s->group);
}

static glmq_status check_format(const char *name, const char *format, glmq_error *err)
{
    static const char *const known[] = {
        "pack-quantized",       "int-quantized",   "naive-quantized",
        "float-quantized",      "mxfp8-quantized", "nvfp4-pack-quantized",
        "mxfp4-pack-quantized", "dense",           "mixed-precision",
    };

    for (size_t i = 0; i < GLMQ_COUNT(known); i++)
        if (strcmp(format, known[i]) == 0) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                     "%s: compressed-tensors format \"%s\" is not read by this version", name,
                     format);
}

static glmq_status read_scheme(const cJSON *group, ct_scheme *s, glmq_error *err)
{
    const cJSON *args = cJSON_GetObjectItemCaseSensitive(group, "weights");
    const cJSON *bits = cJSON_GetObjectItemCaseSensitive(args, "num_bits");
    const cJSON *sym = cJSON_GetObjectItemCaseSensitive(args, "symmetric");
    const char *type = glmq_json_string(args, "type");
    const char *format = glmq_json_string(group, "format");

    *s = (ct_scheme){ .name = group->string, .bits = 8, .symmetric = !cJSON_IsFalse(sym) };
    if (format) GLMQ_TRY(check_format(group->string, format, err));
    if (bits && !glmq_json_u64(bits, &s->bits)) s->bits = 0;
    if (type && strcmp(type, "float") == 0 && s->bits == 8) return read_fp8(args, s, err);
    if (type && strcmp(type, "float") == 0) return read_fp4(args, s, err);
    if (type && strcmp(type, "int") != 0)
        return glmq_fail(
            err, GLMQ_E_UNSUPPORTED,
            "%s: compressed-tensors weights of type \"%s\" are not read by this version",
            group->string, type);
    return read_strategy(args, s, err);
}

/* A group may be a preset's name with a list of targets. */
static glmq_status read_preset(const cJSON *group, ct_scheme *s, glmq_error *err)
{
    static const ct_scheme presets[] = {
        { "W4A16", CT_INT, 4, 128, STRATEGY_GROUP, 1, { 0 } },
        { "W4A16_ASYM", CT_INT, 4, 128, STRATEGY_GROUP, 0, { 0 } },
        { "W8A16", CT_INT, 8, 128, STRATEGY_GROUP, 1, { 0 } },
        { "W8A8", CT_INT, 8, 0, STRATEGY_CHANNEL, 1, { 0 } },
        { "INT8", CT_INT, 8, 0, STRATEGY_CHANNEL, 1, { 0 } },
        { "W4AFP8", CT_INT, 4, 128, STRATEGY_GROUP, 1, { 0 } },
        { "W4A8", CT_INT, 4, 128, STRATEGY_GROUP, 1, { 0 } },
        { "FP8", CT_FP8, 8, 0, STRATEGY_TENSOR, 1, { 0 } },
        { "FP8_DYNAMIC", CT_FP8, 8, 0, STRATEGY_CHANNEL, 1, { 0 } },
        { "FP8_BLOCK", CT_FP8, 8, 0, STRATEGY_OTHER, 1, { 128, 128 } },
        { "NVFP4", CT_FP4, 4, 16, STRATEGY_GROUP, 1, { 0 } },
        { "NVFP4A16", CT_FP4, 4, 16, STRATEGY_GROUP, 1, { 0 } },
        { "MXFP4", CT_FP4, 4, 32, STRATEGY_GROUP, 1, { 0 } },
        { "MXFP4A16", CT_FP4, 4, 32, STRATEGY_GROUP, 1, { 0 } },
        { "MXFP4XFP8", CT_FP4, 4, 32, STRATEGY_GROUP, 1, { 0 } },
        { "MXFP8", CT_FP8, 8, 0, STRATEGY_GROUP, 1, { 1, 32 } },
        { "MXFP8A16", CT_FP8, 8, 0, STRATEGY_GROUP, 1, { 1, 32 } },
    };

    for (size_t i = 0; i < GLMQ_COUNT(presets); i++) {
        if (strcmp(group->string, presets[i].name) != 0) continue;
        *s = presets[i];
        return GLMQ_OK;
    }
    return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                     "compressed-tensors preset \"%s\" is not read by this version", group->string);
}

/* ---- targets ---- */

typedef struct target {
    const char *text;
    uint32_t scheme;
} target;

typedef struct targets {
    target *at;
    size_t count;
} targets;

static glmq_status collect(targets *t, const cJSON *list, uint32_t scheme, glmq_error *err)
{
    const cJSON *item;
    target *grown =
        glmq_realloc(t->at, (t->count + (size_t)cJSON_GetArraySize(list) + 1) * sizeof *grown);

    if (!grown) return glmq_fail(err, GLMQ_E_NOMEM, "%zu targets", t->count);
    t->at = grown;
    cJSON_ArrayForEach(item, list)
    {
        if (cJSON_IsString(item)) grown[t->count++] = (target){ item->valuestring, scheme };
    }
    return GLMQ_OK;
}

/* Of two groups with the same target the later one counts. */
static int by_rank(const void *x, const void *y)
{
    const target *a = x, *b = y;
    const int kind = (strstr(a->text, re) != NULL) - (strstr(b->text, re) != NULL);
    const int text = strcmp(a->text, b->text);

    if (kind) return kind;
    return text ? text : a->scheme < b->scheme ? 1 : -1;
}

static glmq_status add_targets(ct_config *c, targets *t, glmq_error *err)
{
    if (t->count) qsort(t->at, t->count, sizeof *t->at, by_rank);
    for (size_t i = 0; i < t->count; i++) {
        const char *text = t->at[i].text;
        const uint32_t scheme = t->at[i].scheme;

        if (is_pattern(text)) {
            GLMQ_TRY(glmq_patterns_add(c->names, PATTERN_MATCH, text + sizeof re - 1, scheme, err));
            continue;
        }
        GLMQ_TRY(glmq_patterns_add(c->names, PATTERN_EXACT, text, scheme, err));
        if (c->linear < 0 && strcmp(text, "Linear") == 0) c->linear = (int)scheme;
        if (c->embedding < 0 && strcmp(text, "Embedding") == 0) c->embedding = (int)scheme;
    }
    return GLMQ_OK;
}

static glmq_status read_groups(ct_config *c, targets *t, const cJSON *groups, glmq_error *err)
{
    const cJSON *group;

    if (groups && !cJSON_IsNull(groups) && !cJSON_IsObject(groups))
        return glmq_fail(err, GLMQ_E_FORMAT, "not an object");
    cJSON_ArrayForEach(group, groups)
    {
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(group, "targets");
        const cJSON *args = cJSON_GetObjectItemCaseSensitive(group, "weights");
        ct_scheme *s = &c->schemes[c->count];

        if (cJSON_IsArray(group)) list = group;
        if (list != group && !cJSON_IsObject(args)) continue;
        if (c->count == CT_SCHEMES_MAX)
            return glmq_fail(err, GLMQ_E_LIMIT, "more than %d config groups", CT_SCHEMES_MAX);
        GLMQ_TRY(list == group ? read_preset(group, s, err) : read_scheme(group, s, err));
        c->targeted &= cJSON_IsArray(list) && list->child;
        GLMQ_TRY(collect(t, list, (uint32_t)c->count++, err));
    }
    return GLMQ_OK;
}

static glmq_status read_ignore(ct_config *c, const cJSON *list, glmq_error *err)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, list)
    {
        const char *text = cJSON_IsString(item) ? item->valuestring : "";

        if (is_pattern(text))
            GLMQ_TRY(glmq_patterns_add(c->ignored, PATTERN_MATCH, text + sizeof re - 1, 0, err));
        else if (*text)
            GLMQ_TRY(glmq_patterns_add(c->ignored, PATTERN_EXACT, text, 0, err));
    }
    return GLMQ_OK;
}

/* ---- the whole ---- */

/* Things that change the stored weights or the forward pass beyond our codecs. */
static glmq_status refuse_others(const cJSON *q, glmq_error *err)
{
    static const char *const refused[] = {
        "marlin-24",
        "sparse-bitmask",
        "sparse-24-bitmask",
        "mxfp6-pack-quantized",
    };
    const char *format = glmq_json_string(q, "format");
    const char *sparse = glmq_json_string(q, "sparsity_config.format");
    const cJSON *transforms = glmq_json_get(q, "transform_config.config_groups");

    for (size_t i = 0; format && i < GLMQ_COUNT(refused); i++)
        if (strcmp(format, refused[i]) == 0)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                             "compressed-tensors format \"%s\" is not read by this version",
                             format);
    if (sparse && strcmp(sparse, "dense") != 0)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "compressed-tensors sparsity \"%s\" is not read by this version", sparse);
    if (transforms && transforms->child)
        return glmq_fail(
            err, GLMQ_E_UNSUPPORTED,
            "compressed-tensors transform_config (\"%s\") changes the forward pass, it "
            "is not read here",
            transforms->child->string ? transforms->child->string : "");
    return GLMQ_OK;
}

/* Did codes of 3, 5, 6 and 7 bits not straddle words yet? */
static int is_before_0_17(const char *version)
{
    unsigned major, minor;
    return version && sscanf(version, "%4u.%4u", &major, &minor) == 2 && major == 0 && minor < 17;
}

static glmq_status read_all(ct_config *c, targets *t, const cJSON *q, glmq_error *err)
{
    const char *status = glmq_json_string(q, "quantization_status");
    const char *format = glmq_json_string(q, "format");

    c->names = glmq_patterns_new();
    c->ignored = glmq_patterns_new();
    if (!c->names || !c->ignored) return glmq_fail(err, GLMQ_E_NOMEM, "config groups");
    if (!q) return GLMQ_OK;
    GLMQ_TRY(refuse_others(q, err));
    c->fake = (status && strcmp(status, "compressed") != 0) ||
              (format && (strcmp(format, "fakequant") == 0 || strcmp(format, "dense") == 0));
    c->loose = is_before_0_17(glmq_json_string(q, "version"));
    GLMQ_TRY(glmq_within(
        err, read_groups(c, t, cJSON_GetObjectItemCaseSensitive(q, "config_groups"), err),
        "config_groups"));
    GLMQ_TRY(glmq_within(err, add_targets(c, t, err), "config_groups"));
    return glmq_within(err, read_ignore(c, cJSON_GetObjectItemCaseSensitive(q, "ignore"), err),
                       "ignore");
}

glmq_status ct_config_open(ct_config *c, const cJSON *q, glmq_error *err)
{
    targets t = { 0 };
    glmq_status st;

    *c = (ct_config){ .targeted = 1, .linear = -1, .embedding = -1 };
    st = read_all(c, &t, q, err);
    glmq_free(t.at);
    return st;
}

void ct_config_close(ct_config *c)
{
    glmq_patterns_free(c->names);
    glmq_patterns_free(c->ignored);
}

glmq_status ct_config_scheme(const ct_config *c, const glmq_module *m, glmq_role role,
                             const ct_scheme **scheme, glmq_error *err)
{
    const int embedding = role == GLMQ_ROLE_EMBED || role == GLMQ_ROLE_MTP_EMBED;
    const int class = embedding ? c->embedding : c->linear;
    uint32_t number = 0;
    int found;

    GLMQ_TRY(glmq_patterns_find(c->names, m->name, m->name_len, &found, &number, err));
    *scheme = found ? &c->schemes[number] : class >= 0 ? &c->schemes[class] : NULL;
    return GLMQ_OK;
}

glmq_status ct_config_ignores(const ct_config *c, const glmq_module *m, int *yes, glmq_error *err)
{
    return glmq_patterns_find(c->ignored, m->name, m->name_len, yes, NULL, err);
}
