/* The catalog: arrays by name, and the metadata around them.  Which container a source
 * holds is decided here; the containers themselves are shards.c with safetensors.c, and
 * gguf.c. */
#include "readers/catalog.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include "base/text.h"
#include "readers/gguf_kv.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- arrays ---- */

static glmq_status room_for_array(glmq_catalog *cat, glmq_error *err)
{
    const size_t capacity = cat->capacity ? cat->capacity * 2 : 256;
    glmq_array *wide;
    if (cat->count < cat->capacity) return GLMQ_OK;
    if (cat->count == GLMQ_ARRAYS_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "more than %d arrays", GLMQ_ARRAYS_MAX);
    wide = glmq_realloc(cat->arrays, capacity * sizeof *wide);
    if (!wide) return glmq_fail(err, GLMQ_E_NOMEM, "%zu arrays", capacity);
    cat->arrays = wide;
    cat->capacity = capacity;
    return GLMQ_OK;
}

glmq_status glmq_catalog_add(glmq_catalog *cat, const glmq_array *a, glmq_error *err)
{
    const size_t len = strlen(a->name);
    glmq_array *own;
    uint64_t *dims, old = 0;
    char *name;
    int added;

    GLMQ_TRY(room_for_array(cat, err));
    name = glmq_arena_strndup(&cat->arena, a->name, len);
    dims = glmq_arena_alloc(&cat->arena, a->rank * sizeof *dims);
    added = name ? glmq_strmap_add(&cat->by_name, name, len, cat->count, &old) : -1;
    if (added < 0 || (a->rank && !dims)) return glmq_fail(err, GLMQ_E_NOMEM, "array %s", a->name);
    if (!added) {
        return glmq_fail(err, GLMQ_E_FORMAT, "array %s is there twice, in %s and in %s", a->name,
                         glmq_source_name(cat->source, cat->arrays[old].file),
                         glmq_source_name(cat->source, a->file));
    }
    if (a->rank) memcpy(dims, a->dims, a->rank * sizeof *dims);
    own = &cat->arrays[cat->count++];
    *own = *a;
    own->name = name;
    own->dims = dims;
    return GLMQ_OK;
}

const glmq_array *glmq_catalog_find(const glmq_catalog *cat, const char *name, size_t len)
{
    uint64_t i;
    return glmq_strmap_get(&cat->by_name, name, len, &i) ? &cat->arrays[i] : NULL;
}

static int by_place(const void *a, const void *b)
{
    const glmq_array *x = a, *y = b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* Brings the arrays into their final order, after which names point at them anew. */
static glmq_status settle(glmq_catalog *cat, glmq_error *err)
{
    size_t i = 1;
    while (i < cat->count && by_place(&cat->arrays[i - 1], &cat->arrays[i]) < 0) i++;
    if (i >= cat->count) return GLMQ_OK;
    qsort(cat->arrays, cat->count, sizeof *cat->arrays, by_place);
    glmq_strmap_free(&cat->by_name);
    for (i = 0; i < cat->count; i++) {
        const char *name = cat->arrays[i].name;
        if (glmq_strmap_add(&cat->by_name, name, strlen(name), i, NULL) < 0)
            return glmq_fail(err, GLMQ_E_NOMEM, "%zu arrays", cat->count);
    }
    return GLMQ_OK;
}

/* ---- problems ---- */

/* NULL stays NULL; *failed when memory is out. */
static const char *copy(glmq_catalog *cat, const char *s, int *failed)
{
    const char *own = s ? glmq_arena_strdup(&cat->arena, s) : NULL;
    if (s && !own) *failed = 1;
    return own;
}

glmq_status glmq_catalog_note(glmq_catalog *cat, glmq_severity severity, const char *code,
                              const char *tensor, const char *file, const char *format, ...)
{
    char raw[1024], clean[2048];
    glmq_problem p = { .severity = severity, .code = code };
    va_list args;
    int len, failed = 0;

    if (cat->problem_count == cat->problem_capacity) {
        const size_t capacity = cat->problem_capacity ? cat->problem_capacity * 2 : 16;
        glmq_problem *wide = glmq_realloc(cat->problems, capacity * sizeof *wide);
        if (!wide) return GLMQ_E_NOMEM;
        cat->problems = wide;
        cat->problem_capacity = capacity;
    }
    va_start(args, format);
    len = vsnprintf(raw, sizeof raw, format, args);
    va_end(args);
    if (len < 0) len = 0;
    if ((size_t)len >= sizeof raw) len = (int)sizeof raw - 1;
    glmq_escape(clean, sizeof clean, raw, (size_t)len);
    p.tensor = copy(cat, tensor, &failed);
    p.file = copy(cat, file, &failed);
    p.message = copy(cat, clean, &failed);
    if (failed) return GLMQ_E_NOMEM;
    cat->problems[cat->problem_count++] = p;
    return GLMQ_OK;
}

/* ---- config.json and its companions ---- */

glmq_status glmq_catalog_side_file(const glmq_source *src, const char *name, char **out,
                                   size_t *len, glmq_error *err)
{
    const long file = glmq_source_find(src, name);
    uint64_t size;
    char *text;
    glmq_status st;

    *out = NULL;
    *len = 0;
    if (file < 0) return GLMQ_OK;
    size = glmq_source_size(src, (size_t)file);
    if (size > GLMQ_HEADER_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: %" PRIu64 " bytes, at most %d", name, size,
                         GLMQ_HEADER_MAX);
    text = glmq_alloc((size_t)size + 1);
    if (!text) return glmq_fail(err, GLMQ_E_NOMEM, "%s: %" PRIu64 " bytes", name, size);
    st = glmq_source_read(src, (size_t)file, 0, text, (size_t)size, err);
    if (st) {
        glmq_free(text);
        return glmq_within(err, st, "%s", name);
    }
    text[size] = '\0';
    *out = text;
    *len = (size_t)size;
    return GLMQ_OK;
}

static glmq_status load_config(glmq_catalog *cat, glmq_error *err)
{
    GLMQ_TRY(glmq_catalog_side_file(cat->source, "config.json", &cat->config_text, &cat->config_len,
                                    err));
    if (!cat->config_text) return GLMQ_OK;
    GLMQ_TRY(glmq_within(err,
                         glmq_json_parse(&cat->config, cat->config_text, cat->config_len, 0, err),
                         "config.json"));
    if (!cJSON_IsObject(cat->config))
        return glmq_fail(err, GLMQ_E_FORMAT, "config.json is no JSON object");
    return GLMQ_OK;
}

/* What a copy of the quantization config must agree on; the spellings are synonyms. */
static const struct {
    const char *name, *keys[3];
} agreed[] = {
    { "bits", { "bits", "w_bit", "wbits" } },
    { "group_size", { "group_size", "q_group_size" } },
    { "sym", { "sym" } },
    { "zero_point", { "zero_point" } },
    { "desc_act", { "desc_act" } },
    { "format", { "checkpoint_format", "format" } },
    { "packing_format", { "packing_format" } },
    { "quant_algo", { "quant_algo", "quantization.quant_algo" } },
    { "exclude_modules", { "exclude_modules", "quantization.exclude_modules", "ignore" } },
};

static const cJSON *agreed_value(const cJSON *config, size_t row)
{
    const cJSON *v = NULL;
    for (size_t k = 0; k < GLMQ_COUNT(agreed[row].keys) && agreed[row].keys[k] && !v; k++)
        v = glmq_json_get(config, agreed[row].keys[k]);
    return v;
}

static glmq_status compare_quant(glmq_catalog *cat, const cJSON *other, const char *file)
{
    for (size_t row = 0; row < GLMQ_COUNT(agreed); row++) {
        const cJSON *a = agreed_value(cat->quant, row), *b = agreed_value(other, row);
        if (!a || !b || cJSON_Compare(a, b, 1)) continue;
        GLMQ_TRY(glmq_catalog_note(cat, GLMQ_WARNING, "quant-config-differs", NULL, file,
                                   "%s differs from %s, which is used", agreed[row].name,
                                   cat->quant_file));
    }
    return GLMQ_OK;
}

/* One of the files that quantizers write beside config.json: the quantization config itself
 * when config.json has none, else a copy that may be stale. */
static glmq_status load_quant_copy(glmq_catalog *cat, const char *file, glmq_error *err)
{
    char *text = NULL;
    size_t len = 0;
    cJSON *tree = NULL;
    glmq_error why = { 0 };
    glmq_status st = glmq_catalog_side_file(cat->source, file, &text, &len, err);
    if (st || !text) return st;
    st = glmq_json_parse(&tree, text, len, 0, &why);
    glmq_free(text);
    if (!st && !cJSON_IsObject(tree)) st = glmq_fail(&why, GLMQ_E_FORMAT, "no JSON object");
    if (!st && !cat->quant) {
        cat->quant = tree;
        cat->quant_owned = 1;
        cat->quant_file = file;
        return GLMQ_OK;
    }
    if (!st)
        st = compare_quant(cat, tree, file);
    else if (st != GLMQ_E_NOMEM && cat->quant)
        st = glmq_catalog_note(cat, GLMQ_WARNING, "quant-config-differs", NULL, file,
                               "not readable (%s), %s is used", why.msg, cat->quant_file);
    cJSON_Delete(tree);
    return st ? glmq_fail(err, st, "%s: %s", file, why.msg[0] ? why.msg : "out of memory")
              : GLMQ_OK;
}

static glmq_status load_quant(glmq_catalog *cat, glmq_error *err)
{
    static const char *const keys[] = { "quantization_config", "compression_config" };
    static const char *const files[] = { "quantize_config.json", "quant_config.json",
                                         "quantization_config.json", "hf_quant_config.json" };
    for (size_t i = 0; i < GLMQ_COUNT(keys) && !cat->quant; i++) {
        cJSON *node = cJSON_GetObjectItemCaseSensitive(cat->config, keys[i]);
        if (!node || cJSON_IsNull(node)) continue;
        if (!cJSON_IsObject(node))
            return glmq_fail(err, GLMQ_E_FORMAT, "config.json: %s is no object", keys[i]);
        cat->quant = node;
        cat->quant_file = "config.json";
    }
    for (size_t i = 0; i < GLMQ_COUNT(files); i++) GLMQ_TRY(load_quant_copy(cat, files[i], err));
    return GLMQ_OK;
}

const char *glmq_catalog_text(const glmq_catalog *cat, const char *config_path)
{
    return cat->config ? glmq_json_string(cat->config, config_path) : NULL;
}

const char *glmq_catalog_meta(const glmq_catalog *cat, const char *key)
{
    for (size_t i = 0; i < cat->meta_count; i++)
        if (strcmp(cat->meta[i].key, key) == 0) return cat->meta[i].value;
    return NULL;
}

/* ---- which container ---- */

int glmq_ends_with(const char *s, const char *tail)
{
    const size_t n = strlen(s), t = strlen(tail);
    return n >= t && strcmp(s + n - t, tail) == 0;
}

/* A single file: what its first bytes say. */
static glmq_status sniff(glmq_catalog *cat, glmq_error *err)
{
    const char *name = glmq_source_name(cat->source, 0);
    const uint64_t size = glmq_source_size(cat->source, 0);
    uint8_t head[9] = { 0 };
    const size_t have = size < sizeof head ? (size_t)size : sizeof head;
    GLMQ_TRY(glmq_source_read(cat->source, 0, 0, head, have, err));
    if (have >= 4 && memcmp(head, "GGUF", 4) == 0) {
        cat->container = CONTAINER_GGUF;
        return GLMQ_OK;
    }
    cat->container = CONTAINER_SAFETENSORS;
    if (glmq_ends_with(name, ".safetensors")) return GLMQ_OK;
    if (have == sizeof head && load_le64(head) <= GLMQ_HEADER_MAX && head[8] == '{') return GLMQ_OK;
    if (glmq_ends_with(name, ".gguf")) { /* gguf.c says what is wrong with it */
        cat->container = CONTAINER_GGUF;
        return GLMQ_OK;
    }
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s: neither GGUF nor safetensors: %" PRIu64
                     " bytes that begin with %02x %02x %02x %02x",
                     name, size, head[0], head[1], head[2], head[3]);
}

/* A folder: GGUF if it has such files and nothing that makes it a Hugging Face checkpoint
 * (loose *.safetensors may lie beside a GGUF). */
static glmq_status look_around(glmq_catalog *cat, glmq_error *err)
{
    const size_t count = glmq_source_count(cat->source);
    int gguf = 0, tensors = 0, model = 0;
    const char *pickle = NULL;
    for (size_t i = 0; i < count; i++) {
        const char *name = glmq_source_name(cat->source, i);
        const int loose = glmq_ends_with(name, ".safetensors");
        if (!pickle && (glmq_ends_with(name, ".pth") || glmq_ends_with(name, ".bin")))
            pickle = name;
        gguf |= glmq_ends_with(name, ".gguf");
        tensors |= loose;
        model |= loose && strncmp(name, "model", 5) == 0;
        model |= strcmp(name, "config.json") == 0;
        model |= strcmp(name, "model.safetensors.index.json") == 0;
    }
    if (!gguf && !tensors && pickle)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "no *.safetensors and no *.gguf; %s is a pickle, of training or of an old "
                         "export, which is not read: export it to safetensors",
                         pickle);
    if (!gguf && !tensors)
        return glmq_fail(
            err, GLMQ_E_FORMAT, "no *.safetensors and no *.gguf among its %zu files%s%s", count,
            count ? ", the first is " : "", count ? glmq_source_name(cat->source, 0) : "");
    cat->container = gguf && !(tensors && model) ? CONTAINER_GGUF : CONTAINER_SAFETENSORS;
    return GLMQ_OK;
}

/* The files of the container that was not chosen. */
static glmq_status note_others(glmq_catalog *cat, glmq_error *err)
{
    const int gguf = cat->container == CONTAINER_GGUF;
    for (size_t i = 0; i < glmq_source_count(cat->source); i++) {
        const char *name = glmq_source_name(cat->source, i);
        if (!glmq_ends_with(name, gguf ? ".safetensors" : ".gguf")) continue;
        if (glmq_catalog_note(cat, GLMQ_NOTE, "file-ignored", NULL, name,
                              "the checkpoint is in the %s files", gguf ? ".gguf" : ".safetensors"))
            return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    }
    return GLMQ_OK;
}

static glmq_status fill(glmq_catalog *cat, glmq_error *err)
{
    const int single = glmq_source_is_file(cat->source);
    GLMQ_TRY(single ? sniff(cat, err) : look_around(cat, err));
    if (cat->container == CONTAINER_GGUF) {
        GLMQ_TRY(glmq_gguf_open(cat, err));
    } else {
        GLMQ_TRY(load_config(cat, err));
        GLMQ_TRY(load_quant(cat, err));
        GLMQ_TRY(glmq_safetensors_open(cat, err));
    }
    if (!single) GLMQ_TRY(note_others(cat, err));
    return settle(cat, err);
}

glmq_status glmq_catalog_open(glmq_catalog **out, const glmq_source *src,
                              const glmq_catalog_options *opt, glmq_error *err)
{
    glmq_catalog *cat = glmq_alloc_zero(1, sizeof *cat);
    glmq_status st;
    *out = NULL;
    if (!cat) return glmq_fail(err, GLMQ_E_NOMEM, "catalog");
    cat->source = src;
    cat->options = opt;
    st = fill(cat, err);
    cat->options = NULL;
    if (st) {
        glmq_catalog_close(cat);
        return glmq_within(err, st, "%s", glmq_source_path(src));
    }
    *out = cat;
    return GLMQ_OK;
}

void glmq_catalog_close(glmq_catalog *cat)
{
    if (!cat) return;
    if (cat->quant_owned) cJSON_Delete(cat->quant);
    cJSON_Delete(cat->config);
    glmq_free(cat->config_text);
    glmq_gguf_close(cat->gguf);
    glmq_strmap_free(&cat->by_name);
    glmq_free(cat->arrays);
    glmq_free(cat->problems);
    glmq_free(cat->meta);
    glmq_arena_free(&cat->arena);
    glmq_free(cat);
}
