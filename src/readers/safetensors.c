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
    glmq_free(h->arrays);
    glmq_free(h->meta);
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

/* ---- the JSON, which the door has accepted: walked in place, without a tree ---- */

typedef struct slice {
    const char *s;
    size_t len;
} slice;

static slice value_of(slice object, const glmq_json_member *m)
{
    return (slice){ object.s + m->value_begin, m->value_end - m->value_begin };
}

/* The string at `quote` in the header's arena; NULL when memory is out. */
static char *keep_string(glmq_st_header *h, const char *quote, size_t most)
{
    char *own = glmq_arena_alloc(&h->arena, most + 1);
    if (own) own[glmq_json_unescape(quote, own, most)] = '\0';
    return own;
}

/* Behind white space, and behind one comma. */
static const char *skip(const char *p, const char *end)
{
    for (int commas = 0; p < end; p++)
        if (!strchr(" \t\r\n", *p) && (*p != ',' || commas++)) break;
    return p;
}

/* Reads "[1, 2, 3]": the number of elements, or -1 - i when element i is no plain whole
 * number up to 2^53.  No more than `most` are stored or counted. */
static int whole_numbers(slice array, uint64_t *out, int most)
{
    const char *const end = array.s + array.len - 1; /* the bracket */
    const char *p = skip(array.s + 1, end);
    int n = 0;
    for (; p < end && n < most; p = skip(p, end), n++) {
        const char *const begin = p;
        uint64_t v = 0;
        for (; p < end && *p >= '0' && *p <= '9' && p - begin < 17; p++)
            v = v * 10 + (uint64_t)(*p - '0');
        if (p == begin || !strchr(" \t\r\n,]", *p) || v > UINT64_C(1) << 53) return -1 - n;
        out[n] = v;
    }
    return n;
}

/* ---- one array ---- */

enum { FIELD_DTYPE, FIELD_SHAPE, FIELD_OFFSETS, FIELDS };
static const char *const field_names[FIELDS] = { "dtype", "shape", "data_offsets" };

/* The known members of an object; absent ones are left empty. */
static void find_fields(slice object, slice field[FIELDS])
{
    glmq_json_member m;
    size_t at = 0;
    while (glmq_json_next(object.s, object.len, &at, &m)) {
        char name[16];
        const size_t len = glmq_json_unescape(object.s + m.begin, name, sizeof name);
        for (int f = 0; f < FIELDS; f++)
            if (len == strlen(field_names[f]) && memcmp(name, field_names[f], len) == 0)
                field[f] = value_of(object, &m);
    }
}

static glmq_status take_dtype(slice field, glmq_array *a, glmq_error *err)
{
    char name[32];
    size_t len;
    if (!field.len || *field.s != '"') return glmq_fail(err, GLMQ_E_FORMAT, "no dtype");
    len = glmq_json_unescape(field.s, name, sizeof name);
    a->dtype = (uint8_t)(len > sizeof name ? GLMQ_DT_NONE : glmq_dtype_from_st(name, len));
    if (a->dtype == GLMQ_DT_NONE)
        return glmq_fail(err, GLMQ_E_FORMAT, "unknown dtype %.*s",
                         (int)(len < sizeof name ? len : sizeof name), name);
    return GLMQ_OK;
}

/* The shape, and how many elements it has. */
static glmq_status take_shape(glmq_st_header *h, slice field, glmq_array *a, uint64_t *elements,
                              glmq_error *err)
{
    uint64_t dims[GLMQ_RANK_MAX + 1], *copy;
    int rank;
    if (!field.len || *field.s != '[') return glmq_fail(err, GLMQ_E_FORMAT, "no shape");
    rank = whole_numbers(field, dims, GLMQ_RANK_MAX + 1);
    if (rank < 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "dimension %d is no whole number", -1 - rank);
    if (rank > GLMQ_RANK_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "more than %d dimensions", GLMQ_RANK_MAX);
    *elements = 1;
    for (int d = 0; d < rank; d++)
        if (mul_u64(*elements, dims[d], elements))
            return glmq_fail(err, GLMQ_E_FORMAT, "the shape overflows 64 bits");
    copy = glmq_arena_alloc(&h->arena, (size_t)rank * sizeof *copy);
    if (!copy) return glmq_fail(err, GLMQ_E_NOMEM, "shape");
    memcpy(copy, dims, (size_t)rank * sizeof *copy);
    a->dims = copy;
    a->rank = (uint8_t)rank;
    return GLMQ_OK;
}

/* Offsets, still counted from the start of the data. */
static glmq_status take_offsets(slice field, glmq_array *a, glmq_error *err)
{
    uint64_t range[3];
    int n;
    if (!field.len || *field.s != '[') return glmq_fail(err, GLMQ_E_FORMAT, "no data_offsets");
    n = whole_numbers(field, range, 3);
    if (n < 0) return glmq_fail(err, GLMQ_E_FORMAT, "data_offsets are no whole numbers");
    if (n != 2) return glmq_fail(err, GLMQ_E_FORMAT, "data_offsets is not two numbers");
    if (range[1] < range[0])
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "data ends at %" PRIu64 ", before it begins at %" PRIu64, range[1],
                         range[0]);
    a->offset = range[0];
    a->bytes = range[1] - range[0];
    return GLMQ_OK;
}

static glmq_status take_array(glmq_st_header *h, slice object, glmq_array *a, glmq_error *err)
{
    slice field[FIELDS] = { { NULL, 0 } };
    uint64_t elements = 0, bytes;
    if (*object.s != '{') return glmq_fail(err, GLMQ_E_FORMAT, "is no object");
    find_fields(object, field);
    GLMQ_TRY(take_dtype(field[FIELD_DTYPE], a, err));
    GLMQ_TRY(take_shape(h, field[FIELD_SHAPE], a, &elements, err));
    GLMQ_TRY(take_offsets(field[FIELD_OFFSETS], a, err));
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

/* Makes room for one more; NULL when memory is out. */
static void *room(void *list, size_t count, size_t *capacity, size_t each)
{
    const size_t wide = *capacity ? *capacity * 2 : 64;
    void *grown;
    if (count < *capacity) return list;
    grown = glmq_realloc(list, wide * each);
    if (grown) *capacity = wide;
    return grown;
}

static glmq_status take_meta(glmq_st_header *h, slice object, uint32_t file, glmq_error *err)
{
    glmq_json_member m;
    size_t at = 0;
    if (*object.s == 'n') return GLMQ_OK; /* null */
    if (*object.s != '{') return glmq_fail(err, GLMQ_E_FORMAT, "__metadata__ is no object");
    while (glmq_json_next(object.s, object.len, &at, &m)) {
        const char *key = keep_string(h, object.s + m.begin, m.value_begin - m.begin);
        const slice v = value_of(object, &m);
        glmq_meta *wide = room(h->meta, h->meta_count, &h->meta_capacity, sizeof *wide);
        const char *value;
        if (wide) h->meta = wide;
        if (!key || !wide) return glmq_fail(err, GLMQ_E_NOMEM, "__metadata__");
        if (*v.s != '"')
            return glmq_fail(err, GLMQ_E_FORMAT, "__metadata__: %.200s is no string", key);
        value = keep_string(h, v.s, v.len);
        if (!value) return glmq_fail(err, GLMQ_E_NOMEM, "__metadata__");
        h->meta[h->meta_count++] = (glmq_meta){ key, value, file };
    }
    return GLMQ_OK;
}

static glmq_status take_member(glmq_st_header *h, slice text, const glmq_json_member *m,
                               uint32_t file, glmq_error *err)
{
    char name[GLMQ_NAME_MAX + 1];
    const size_t len = glmq_json_unescape(text.s + m->begin, name, GLMQ_NAME_MAX);
    glmq_array *wide, *a;
    if (len > GLMQ_NAME_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "%.60s…: a name of %zu bytes, at most %d", name, len,
                         GLMQ_NAME_MAX);
    name[len] = '\0';
    if (strcmp(name, "__metadata__") == 0) return take_meta(h, value_of(text, m), file, err);
    wide = room(h->arrays, h->count, &h->capacity, sizeof *wide);
    if (!wide) return glmq_fail(err, GLMQ_E_NOMEM, "%zu arrays", h->count);
    h->arrays = wide;
    a = &h->arrays[h->count];
    *a = (glmq_array){ .name = glmq_arena_strndup(&h->arena, name, len), .file = file };
    if (!a->name) return glmq_fail(err, GLMQ_E_NOMEM, "%zu arrays", h->count);
    if (h->count++ == GLMQ_ARRAYS_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "more than %d arrays", GLMQ_ARRAYS_MAX);
    return glmq_within(err, take_array(h, value_of(text, m), a, err), "%.200s", name);
}

static glmq_status take_members(glmq_st_header *h, slice text, uint32_t file, glmq_error *err)
{
    glmq_json_member m;
    size_t at = 0;
    GLMQ_TRY(glmq_json_check(text.s, text.len, 0, err));
    if (text.s[strspn(text.s, " \t\r\n")] != '{')
        return glmq_fail(err, GLMQ_E_FORMAT, "the header is no JSON object");
    while (glmq_json_next(text.s, text.len, &at, &m)) GLMQ_TRY(take_member(h, text, &m, file, err));
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
                             "%.200s: data begins at %" PRIu64
                             ", the array before it ends at %" PRIu64,
                             a->name, a->offset, at);
        if (a->bytes > data_bytes - at)
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "%.200s: %" PRIu64 " bytes at %" PRIu64
                             " of the data, which has %" PRIu64,
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
    if (!st) st = take_members(h, (slice){ text, len }, file, err);
    glmq_free(text);
    if (st) return st;
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
