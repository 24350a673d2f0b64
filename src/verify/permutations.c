/* The orders that glmq-convert --unpermute left in the manifest of a checkpoint:
 *
 *   "tensors": [ { "name": NAME, "row_permutation": [ … ], "column_permutation": [ … ] }, … ]
 *
 * Row i of the result is row row_permutation[i] of the source; likewise columns. */
#include "base/error.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "compare.h"
#include "readers/catalog.h"
#include <stdio.h>
#include <string.h>

static const char manifest_name[] = "glmq-manifest.json";

/* A single file's manifest lies beside it, as FILE.glmq-manifest.json. */
static glmq_status read_beside(const char *path, char **out, size_t *len, glmq_error *err)
{
    glmq_text name = { 0 };
    char *text = NULL;
    FILE *f;
    size_t n = 0;

    glmq_text_printf(&name, "%s.%s", path, manifest_name);
    f = name.failed ? NULL : fopen(name.data, "rb");
    glmq_text_free(&name);
    if (!f) return GLMQ_OK; /* none: nothing was permuted */
    text = glmq_alloc((size_t)GLMQ_HEADER_MAX + 1);
    if (text) n = fread(text, 1, (size_t)GLMQ_HEADER_MAX + 1, f);
    fclose(f);
    if (!text) return glmq_fail(err, GLMQ_E_NOMEM, "%s of %s", manifest_name, path);
    if (n > GLMQ_HEADER_MAX) {
        glmq_free(text);
        return glmq_fail(err, GLMQ_E_LIMIT, "%s.%s: more than %d bytes", path, manifest_name,
                         GLMQ_HEADER_MAX);
    }
    text[n] = '\0';
    *out = text;
    *len = n;
    return GLMQ_OK;
}

static glmq_status read_manifest(const glmq_source *src, char **out, size_t *len, glmq_error *err)
{
    *out = NULL;
    *len = 0;
    if (glmq_source_is_file(src)) return read_beside(glmq_source_path(src), out, len, err);
    return glmq_catalog_side_file(src, manifest_name, out, len, err);
}

/* A permutation: every number 0 … n - 1 once. */
static glmq_status read_order(glmq_permutations *p, const cJSON *list, const uint32_t **out,
                              uint64_t *count, glmq_error *err)
{
    const size_t n = (size_t)cJSON_GetArraySize(list);
    uint32_t *order = glmq_arena_alloc(&p->arena, n * sizeof *order + 1);
    uint8_t *seen = glmq_alloc_zero(n + 1, 1);
    const cJSON *item;
    size_t i = 0;
    glmq_status st = GLMQ_OK;

    if (!order || !seen) st = glmq_fail(err, GLMQ_E_NOMEM, "an order of %zu", n);
    if (!st) {
        cJSON_ArrayForEach(item, list)
        {
            uint64_t value;
            if (!glmq_json_u64(item, &value) || value >= n || seen[value]) {
                st = glmq_fail(err, GLMQ_E_FORMAT, "entry %zu of an order of %zu is no new index",
                               i, n);
                break;
            }
            seen[value] = 1;
            order[i++] = (uint32_t)value;
        }
    }
    glmq_free(seen);
    *out = order;
    *count = n;
    return st;
}

static glmq_status add(glmq_permutations *p, const cJSON *tensor, glmq_error *err)
{
    const char *name = glmq_json_string(tensor, "name");
    const cJSON *rows = glmq_json_get(tensor, "row_permutation");
    const cJSON *cols = glmq_json_get(tensor, "column_permutation");
    glmq_permutation *at;

    if (!name || (!cJSON_IsArray(rows) && !cJSON_IsArray(cols))) return GLMQ_OK;
    if (p->count == p->capacity) {
        const size_t capacity = p->capacity ? 2 * p->capacity : 64;
        glmq_permutation *grown = glmq_realloc(p->at, capacity * sizeof *grown);
        if (!grown) return glmq_fail(err, GLMQ_E_NOMEM, "%zu orders", capacity);
        p->at = grown;
        p->capacity = capacity;
    }
    at = &p->at[p->count];
    *at = (glmq_permutation){ 0 };
    if (cJSON_IsArray(rows)) GLMQ_TRY(read_order(p, rows, &at->rows, &at->row_count, err));
    if (cJSON_IsArray(cols)) GLMQ_TRY(read_order(p, cols, &at->cols, &at->col_count, err));
    name = glmq_arena_strdup(&p->arena, name);
    if (!name || glmq_strmap_add(&p->by_tensor, name, strlen(name), p->count, NULL) < 0)
        return glmq_fail(err, GLMQ_E_NOMEM, "%zu orders", p->count);
    p->count++;
    return GLMQ_OK;
}

static glmq_status add_all(glmq_permutations *p, const char *text, size_t len, glmq_error *err)
{
    cJSON *root = NULL;
    const cJSON *tensor;
    glmq_status st = glmq_json_parse(&root, text, len, 0, err);

    if (!st) {
        cJSON_ArrayForEach(tensor, glmq_json_get(root, "tensors"))
        {
            st = add(p, tensor, err);
            if (st) break;
        }
    }
    cJSON_Delete(root);
    return st;
}

glmq_status glmq_permutations_open(glmq_permutations *p, const glmq_graph *b, glmq_error *err)
{
    const glmq_source *src = glmq_graph_source(b);
    char *text;
    size_t len;
    glmq_status st = read_manifest(src, &text, &len, err);

    /* Manifests are large and orders rare: the text is parsed only when it speaks of one. */
    if (!st && text && strstr(text, "_permutation\"")) st = add_all(p, text, len, err);
    glmq_free(text);
    return glmq_within(err, st, "%s: %s", glmq_source_path(src), manifest_name);
}

void glmq_permutations_close(glmq_permutations *p)
{
    glmq_strmap_free(&p->by_tensor);
    glmq_free(p->at);
    glmq_arena_free(&p->arena);
    *p = (glmq_permutations){ 0 };
}

const glmq_permutation *glmq_permutation_of(const glmq_permutations *p, const char *tensor)
{
    uint64_t i;
    return glmq_strmap_get(&p->by_tensor, tensor, strlen(tensor), &i) ? &p->at[i] : NULL;
}
