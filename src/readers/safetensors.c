/* The header of a safetensors file.
 *
 *   u64 n;  n bytes of JSON;  the data, to the end of the file
 *   { "__metadata__": { key: string }, name: { "dtype", "shape", "data_offsets": [begin, end] } }
 *
 * Offsets count from the start of the data.  The arrays tile it: no holes, no overlap,
 * nothing behind the last.  The JSON door refuses duplicate keys, so an array or field that
 * is there twice never comes this far. */
#include "readers/safetensors.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include <stdlib.h>

enum { PREFIX = 8 };

void glmq_st_header_free(glmq_st_header *h)
{
    cJSON_Delete(h->tree);
    glmq_arena_free(&h->arena);
    *h = (glmq_st_header){ 0 };
}

/* The text of the header, as long as the file is; the caller frees it. */
static glmq_status read_text(const glmq_source *src, uint32_t file, char **out, size_t *len,
                             glmq_error *err)
{
    const uint64_t size = glmq_source_size(src, file);
    uint8_t prefix[PREFIX];
    uint64_t n;
    glmq_status st;

    *out = NULL;
    if (size < PREFIX)
        return glmq_fail(err, GLMQ_E_FORMAT, "%" PRIu64 " bytes, a header takes at least %d", size,
                         PREFIX);
    GLMQ_TRY(glmq_source_read(src, file, 0, prefix, sizeof prefix, err));
    n = load_le64(prefix);
    if (memcmp(prefix, "GGUF", 4) == 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "a GGUF file, in spite of its name");
    if (n > GLMQ_HEADER_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "header says %" PRIu64 " bytes, at most %d", n,
                         GLMQ_HEADER_MAX);
    if (!in_range(PREFIX, n, size))
        return glmq_fail(err, GLMQ_E_FORMAT, "header says %" PRIu64 " bytes, the file has %" PRIu64,
                         n, size);
    *out = glmq_alloc((size_t)n + 1);
    if (!*out) return glmq_fail(err, GLMQ_E_NOMEM, "header of %" PRIu64 " bytes", n);
    st = glmq_source_read(src, file, PREFIX, *out, (size_t)n, err);
    if (st) {
        glmq_free(*out);
        *out = NULL;
        return st;
    }
    (*out)[n] = '\0';
    *len = (size_t)n;
    return GLMQ_OK;
}

static const cJSON *field(const cJSON *object, const char *name)
{
    for (const cJSON *f = object->child; f; f = f->next)
        if (strcmp(f->string, name) == 0) return f;
    return NULL;
}

/* ---- one array ---- */

static glmq_status take_dtype(const cJSON *node, glmq_array *a, glmq_error *err)
{
    const char *text = cJSON_GetStringValue(field(node, "dtype"));
    if (!text) return glmq_fail(err, GLMQ_E_FORMAT, "no dtype");
    a->dtype = (uint8_t)glmq_dtype_from_st(text, strlen(text));
    if (a->dtype == GLMQ_DT_NONE) return glmq_fail(err, GLMQ_E_FORMAT, "unknown dtype %s", text);
    return GLMQ_OK;
}

/* The shape, and how many elements it has. */
static glmq_status take_shape(glmq_st_header *h, const cJSON *node, glmq_array *a,
                              uint64_t *elements, glmq_error *err)
{
    const cJSON *shape = field(node, "shape");
    uint64_t dims[GLMQ_RANK_MAX], *copy;
    if (!cJSON_IsArray(shape)) return glmq_fail(err, GLMQ_E_FORMAT, "no shape");
    *elements = 1;
    for (const cJSON *d = shape->child; d; d = d->next) {
        if (a->rank == GLMQ_RANK_MAX)
            return glmq_fail(err, GLMQ_E_LIMIT, "more than %d dimensions", GLMQ_RANK_MAX);
        if (!glmq_json_u64(d, &dims[a->rank]))
            return glmq_fail(err, GLMQ_E_FORMAT, "dimension %d is no whole number", a->rank);
        if (mul_u64(*elements, dims[a->rank], elements))
            return glmq_fail(err, GLMQ_E_FORMAT, "the shape overflows 64 bits");
        a->rank++;
    }
    copy = glmq_arena_alloc(&h->arena, a->rank * sizeof *copy);
    if (a->rank && !copy) return glmq_fail(err, GLMQ_E_NOMEM, "shape");
    if (a->rank) memcpy(copy, dims, a->rank * sizeof *copy);
    a->dims = copy;
    return GLMQ_OK;
}

/* Offsets, still counted from the start of the data. */
static glmq_status take_offsets(const cJSON *node, glmq_array *a, glmq_error *err)
{
    const cJSON *offsets = field(node, "data_offsets");
    const cJSON *begin = cJSON_IsArray(offsets) ? offsets->child : NULL;
    uint64_t end;
    if (!begin || !begin->next || begin->next->next)
        return glmq_fail(err, GLMQ_E_FORMAT, "data_offsets is not two numbers");
    if (!glmq_json_u64(begin, &a->offset) || !glmq_json_u64(begin->next, &end))
        return glmq_fail(err, GLMQ_E_FORMAT, "data_offsets are no whole numbers");
    if (end < a->offset)
        return glmq_fail(err, GLMQ_E_FORMAT, "data ends at %" PRIu64 ", before it begins at %" PRIu64,
                         end, a->offset);
    a->bytes = end - a->offset;
    return GLMQ_OK;
}

static glmq_status take_array(glmq_st_header *h, const cJSON *node, glmq_array *a, glmq_error *err)
{
    uint64_t elements, bytes;
    if (strlen(a->name) > GLMQ_NAME_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "a name of %zu bytes, at most %d", strlen(a->name),
                         GLMQ_NAME_MAX);
    if (!cJSON_IsObject(node)) return glmq_fail(err, GLMQ_E_FORMAT, "is no object");
    GLMQ_TRY(take_dtype(node, a, err));
    GLMQ_TRY(take_shape(h, node, a, &elements, err));
    GLMQ_TRY(take_offsets(node, a, err));
    if (glmq_dtype_bytes((glmq_dtype)a->dtype, elements, &bytes))
        return glmq_fail(err, GLMQ_E_FORMAT, "%" PRIu64 " elements of %s are no whole bytes",
                         elements, glmq_dtype_name((glmq_dtype)a->dtype));
    if (bytes != a->bytes)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "dtype and shape take %" PRIu64 " bytes, the offsets span %" PRIu64, bytes,
                         a->bytes);
    return GLMQ_OK;
}

/* ---- all of them ---- */

static glmq_status take_meta(glmq_st_header *h, const cJSON *node, uint32_t file, glmq_error *err)
{
    size_t n = 0;
    if (cJSON_IsNull(node)) return GLMQ_OK;
    if (!cJSON_IsObject(node)) return glmq_fail(err, GLMQ_E_FORMAT, "__metadata__ is no object");
    for (const cJSON *m = node->child; m; m = m->next) n++;
    h->meta = glmq_arena_alloc(&h->arena, n * sizeof *h->meta);
    if (n && !h->meta) return glmq_fail(err, GLMQ_E_NOMEM, "__metadata__");
    for (const cJSON *m = node->child; m; m = m->next) {
        if (!cJSON_IsString(m))
            return glmq_fail(err, GLMQ_E_FORMAT, "__metadata__: %s is no string", m->string);
        h->meta[h->meta_count++] = (glmq_meta){ m->string, m->valuestring, file };
    }
    return GLMQ_OK;
}

static glmq_status take_members(glmq_st_header *h, uint32_t file, glmq_error *err)
{
    size_t n = 0;
    for (const cJSON *m = h->tree->child; m; m = m->next) n++;
    if (n > GLMQ_ARRAYS_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "%zu arrays, at most %d", n, GLMQ_ARRAYS_MAX);
    h->arrays = glmq_arena_alloc(&h->arena, n * sizeof *h->arrays);
    if (n && !h->arrays) return glmq_fail(err, GLMQ_E_NOMEM, "%zu arrays", n);
    for (const cJSON *m = h->tree->child; m; m = m->next) {
        glmq_array *a = &h->arrays[h->count];
        if (strcmp(m->string, "__metadata__") == 0) {
            GLMQ_TRY(take_meta(h, m, file, err));
            continue;
        }
        *a = (glmq_array){ .name = m->string, .file = file };
        GLMQ_TRY(glmq_within(err, take_array(h, m, a, err), "%.200s", a->name));
        h->count++;
    }
    return GLMQ_OK;
}

static int by_range(const void *a, const void *b)
{
    const glmq_array *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

/* The arrays must tile the data; then their offsets become those of the file. */
static glmq_status tile(glmq_st_header *h, uint64_t data, uint64_t data_bytes, glmq_error *err)
{
    uint64_t at = 0;
    if (h->count) qsort(h->arrays, h->count, sizeof *h->arrays, by_range);
    for (size_t i = 0; i < h->count; i++) {
        glmq_array *a = &h->arrays[i];
        if (a->offset != at)
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "%.200s: data begins at %" PRIu64 ", the array before it ends at %" PRIu64,
                             a->name, a->offset, at);
        if (a->bytes > data_bytes - at)
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "%.200s: %" PRIu64 " bytes at %" PRIu64 " of the data, which has %" PRIu64,
                             a->name, a->bytes, at, data_bytes);
        at += a->bytes;
        a->offset += data;
    }
    if (at != data_bytes)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "the arrays take %" PRIu64 " bytes, the file has %" PRIu64 " for them", at,
                         data_bytes);
    return GLMQ_OK;
}

static glmq_status read_header(glmq_st_header *h, const glmq_source *src, uint32_t file,
                               glmq_error *err)
{
    char *text = NULL;
    size_t len = 0;
    glmq_status st = read_text(src, file, &text, &len, err);
    if (!st) st = glmq_json_parse(&h->tree, text, len, 0, err);
    glmq_free(text);
    if (st) return st;
    if (!cJSON_IsObject(h->tree))
        return glmq_fail(err, GLMQ_E_FORMAT, "the header is no JSON object");
    GLMQ_TRY(take_members(h, file, err));
    return tile(h, PREFIX + len, glmq_source_size(src, file) - PREFIX - len, err);
}

glmq_status glmq_st_header_read(glmq_st_header *h, const glmq_source *src, uint32_t file,
                                glmq_error *err)
{
    glmq_status st;
    *h = (glmq_st_header){ 0 };
    st = read_header(h, src, file, err);
    /* A read that fails names the file itself. */
    return st == GLMQ_E_IO ? st : glmq_within(err, st, "%s", glmq_source_name(src, file));
}
