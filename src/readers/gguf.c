/* The GGUF container (versions 2 and 3), whole or in parts: key-values and arrays.
 *
 *   "GGUF"  u32 version  u64 arrays  u64 keys
 *   key     string; u32 type; value                               x keys
 *   info    string name; u32 n_dims; u64 ne[]; u32 type; u64 offset  x arrays
 *   zeros up to a multiple of the alignment: the data section; offsets count from there
 *
 * A string is a u64 length and bytes.  Nothing in the header is aligned and nothing says
 * how long it is, so it is read in growing pieces and walked with one cursor; every length
 * is held against the bytes left in the file before it is used.  While the buffer can
 * still move, places in it are kept as offsets. */
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include "readers/catalog.h"
#include "readers/gguf_kv.h"
#include <stdio.h>
#include <stdlib.h>

enum {
    FIRST_READ = 1 << 20,
    HEAD_BYTES = 24,    /* magic, version, two counts          */
    KEY_BYTES_MIN = 14, /* one byte of key, one byte of value  */
    INFO_BYTES_MIN = 24,
    DIMS_MAX = 4,
    NAME_BYTES_MAX = 63, /* ggml keeps names in 64 bytes       */
    ALIGNMENT = 32       /* unless general.alignment says else */
};
static const uint64_t STRING_MAX = UINT64_C(1) << 30; /* ggml's own limits */
static const uint64_t ITEMS_MAX = UINT64_C(1) << 30;

typedef struct header {
    const glmq_source *source;
    size_t file;
    uint64_t size; /* of the file                                 */
    uint8_t *buf;
    uint64_t have, at; /* bytes in `buf`; the cursor                  */
} header;

typedef struct piece {
    uint64_t at, len;
} piece;

/* What a key-value lacks until the buffer stands still. */
typedef struct place {
    uint64_t key, data;
} place;

typedef struct info {
    piece name;
    uint64_t ne[DIMS_MAX];
    uint64_t offset, bytes;
    uint32_t dims, type;
    size_t number; /* in the file's own order */
    glmq_dtype dtype;
} info;

/* One file of a model.  The public face comes first: the catalog keeps only that. */
typedef struct part {
    glmq_gguf kv;
    glmq_strmap keys;
    header in;
    place *places;
    info *infos;
    uint64_t info_count, data;
} part;

static void part_close(part *p)
{
    if (!p) return;
    glmq_strmap_free(&p->keys);
    glmq_free(p->kv.values);
    glmq_free(p->in.buf);
    glmq_free(p->places);
    glmq_free(p->infos);
    glmq_free(p);
}

void glmq_gguf_close(glmq_gguf *g)
{
    part_close((part *)g);
}

/* ---- the cursor ---- */

static glmq_status read_on(header *h, uint64_t end, glmq_error *err)
{
    uint64_t want = h->have ? h->have * 2 : FIRST_READ;
    uint8_t *buf;
    glmq_status st;
    if (want < end) want = end;
    if (want > h->size) want = h->size;
    buf = glmq_realloc(h->buf, (size_t)want);
    if (!buf) return glmq_fail(err, GLMQ_E_NOMEM, "header of %" PRIu64 " bytes", want);
    h->buf = buf;
    st =
        glmq_source_read(h->source, h->file, h->have, buf + h->have, (size_t)(want - h->have), err);
    if (st) return st;
    h->have = want;
    return GLMQ_OK;
}

/* Makes the next `bytes` bytes readable at the cursor. */
static glmq_status need(header *h, uint64_t bytes, const char *what, glmq_error *err)
{
    if (!in_range(h->at, bytes, h->size))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: %" PRIu64 " bytes at %" PRIu64 ", the file ends at %" PRIu64, what,
                         bytes, h->at, h->size);
    return h->at + bytes > h->have ? read_on(h, h->at + bytes, err) : GLMQ_OK;
}

static glmq_status take_u32(header *h, const char *what, uint32_t *out, glmq_error *err)
{
    GLMQ_TRY(need(h, 4, what, err));
    *out = load_le32(h->buf + h->at);
    h->at += 4;
    return GLMQ_OK;
}

static glmq_status take_u64(header *h, const char *what, uint64_t *out, glmq_error *err)
{
    GLMQ_TRY(need(h, 8, what, err));
    *out = load_le64(h->buf + h->at);
    h->at += 8;
    return GLMQ_OK;
}

static glmq_status take_string(header *h, const char *what, piece *out, glmq_error *err)
{
    uint64_t len = 0;
    GLMQ_TRY(take_u64(h, what, &len, err));
    if (len > STRING_MAX && in_range(h->at, len, h->size))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: length %" PRIu64 ", at most %" PRIu64, what, len,
                         STRING_MAX);
    GLMQ_TRY(need(h, len, what, err));
    *out = (piece){ h->at, len };
    h->at += len;
    return GLMQ_OK;
}

/* ---- key-values ---- */

static glmq_status take_items(header *h, const glmq_gguf_value *v, glmq_error *err)
{
    const uint64_t each = v->item == GGUF_STRING ? 8 : glmq_gguf_type_bytes(v->item);
    piece s;
    if (v->count > (h->size - h->at) / each)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "array of %" PRIu64 " %ss at %" PRIu64 ", the file ends at %" PRIu64,
                         v->count, glmq_gguf_type_name(v->item), h->at, h->size);
    if (v->count > ITEMS_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "array of %" PRIu64 " elements, at most %" PRIu64,
                         v->count, ITEMS_MAX);
    if (v->item != GGUF_STRING) {
        GLMQ_TRY(need(h, v->count * each, "array", err));
        h->at += v->count * each;
        return GLMQ_OK;
    }
    for (uint64_t i = 0; i < v->count; i++) GLMQ_TRY(take_string(h, "string of an array", &s, err));
    return GLMQ_OK;
}

static glmq_status take_array_head(header *h, glmq_gguf_value *v, glmq_error *err)
{
    GLMQ_TRY(take_u32(h, "element type", &v->item, err));
    GLMQ_TRY(take_u64(h, "element count", &v->count, err));
    if (v->item == GGUF_ARRAY) return glmq_fail(err, GLMQ_E_FORMAT, "array of arrays");
    if (v->item >= GGUF_TYPES)
        return glmq_fail(err, GLMQ_E_FORMAT, "element type %" PRIu32 ", known are 0 to %d", v->item,
                         GGUF_TYPES - 1);
    return GLMQ_OK;
}

static glmq_status take_value(header *h, glmq_gguf_value *v, uint64_t *data, glmq_error *err)
{
    piece s;
    GLMQ_TRY(take_u32(h, "value type", &v->type, err));
    if (v->type >= GGUF_TYPES)
        return glmq_fail(err, GLMQ_E_FORMAT, "value type %" PRIu32 ", known are 0 to %d", v->type,
                         GGUF_TYPES - 1);
    v->count = 1;
    if (v->type == GGUF_ARRAY) GLMQ_TRY(take_array_head(h, v, err));
    *data = h->at;
    if (v->type == GGUF_ARRAY) {
        GLMQ_TRY(take_items(h, v, err));
    } else if (v->type == GGUF_STRING) {
        GLMQ_TRY(take_string(h, "string", &s, err));
    } else {
        GLMQ_TRY(need(h, glmq_gguf_type_bytes(v->type), "value", err));
        h->at += glmq_gguf_type_bytes(v->type);
    }
    v->bytes = h->at - *data;
    return GLMQ_OK;
}

/* A key as far as a message shows it. */
static int shown(uint64_t len)
{
    return len < 100 ? (int)len : 100;
}

static glmq_status take_keys(part *p, uint64_t count, glmq_error *err)
{
    header *h = &p->in;
    p->kv.values = glmq_alloc_zero((size_t)count, sizeof *p->kv.values);
    p->places = glmq_alloc_zero((size_t)count, sizeof *p->places);
    if (count && (!p->kv.values || !p->places))
        return glmq_fail(err, GLMQ_E_NOMEM, "%" PRIu64 " keys", count);
    for (uint64_t i = 0; i < count; i++) {
        glmq_gguf_value *v = &p->kv.values[i];
        piece key = { 0, 0 };
        glmq_status st = take_string(h, "key", &key, err);
        if (st) return glmq_within(err, st, "key %" PRIu64 " of %" PRIu64, i, count);
        if (!key.len)
            return glmq_fail(err, GLMQ_E_FORMAT, "key %" PRIu64 " of %" PRIu64 " is empty", i,
                             count);
        st = take_value(h, v, &p->places[i].data, err);
        if (st)
            return glmq_within(err, st, "key %.*s", shown(key.len), (const char *)h->buf + key.at);
        p->places[i].key = key.at;
        v->key_len = (size_t)key.len;
        p->kv.count = (size_t)i + 1;
    }
    return GLMQ_OK;
}

/* The buffer stands still from here on. */
static glmq_status settle_keys(part *p, glmq_error *err)
{
    p->kv.by_key = &p->keys;
    for (size_t i = 0; i < p->kv.count; i++) {
        glmq_gguf_value *v = &p->kv.values[i];
        int added;
        v->key = (const char *)p->in.buf + p->places[i].key;
        v->data = p->in.buf + p->places[i].data;
        added = glmq_strmap_add(&p->keys, v->key, v->key_len, i, NULL);
        if (added < 0) return glmq_fail(err, GLMQ_E_NOMEM, "%zu keys", p->kv.count);
        if (!added)
            return glmq_fail(err, GLMQ_E_FORMAT, "key %.*s is there twice", shown(v->key_len),
                             v->key);
    }
    return GLMQ_OK;
}

static glmq_status find_alignment(part *p, glmq_error *err)
{
    const glmq_gguf_value *v = glmq_gguf_get(&p->kv, "general.alignment");
    uint32_t a = ALIGNMENT;
    if (v && v->type != GGUF_U32)
        return glmq_fail(err, GLMQ_E_FORMAT, "general.alignment has type %s, expected u32",
                         glmq_gguf_type_name(v->type));
    if (v) a = load_le32(v->data);
    if (!a || (a & (a - 1)))
        return glmq_fail(err, GLMQ_E_FORMAT, "general.alignment is %" PRIu32 ", no power of two",
                         a);
    p->kv.alignment = a;
    return GLMQ_OK;
}

/* ---- arrays ---- */

static glmq_status take_info(header *h, info *t, glmq_error *err)
{
    GLMQ_TRY(take_string(h, "name", &t->name, err));
    if (t->name.len > NAME_BYTES_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "name of %" PRIu64 " bytes, at most %d", t->name.len,
                         NAME_BYTES_MAX);
    GLMQ_TRY(take_u32(h, "number of dimensions", &t->dims, err));
    if (t->dims > DIMS_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "%" PRIu32 " dimensions, at most %d", t->dims,
                         DIMS_MAX);
    for (uint32_t d = 0; d < DIMS_MAX; d++) t->ne[d] = 1;
    for (uint32_t d = 0; d < t->dims; d++) GLMQ_TRY(take_u64(h, "dimension", &t->ne[d], err));
    GLMQ_TRY(take_u32(h, "type", &t->type, err));
    return take_u64(h, "offset", &t->offset, err);
}

static glmq_status take_infos(part *p, uint64_t count, glmq_error *err)
{
    p->infos = glmq_alloc_zero((size_t)count, sizeof *p->infos);
    if (count && !p->infos) return glmq_fail(err, GLMQ_E_NOMEM, "%" PRIu64 " arrays", count);
    for (uint64_t i = 0; i < count; i++) {
        glmq_status st = take_info(&p->in, &p->infos[i], err);
        if (st) return glmq_within(err, st, "array %" PRIu64 " of %" PRIu64, i, count);
        p->infos[i].number = (size_t)i;
        p->info_count = i + 1;
    }
    return GLMQ_OK;
}

static glmq_status size_info(info *t, glmq_error *err)
{
    const glmq_dtype_info *type;
    uint64_t elements = 1, count = 1;
    t->dtype = glmq_dtype_from_ggml(t->type);
    if (t->dtype == GLMQ_DT_NONE) {
        const char *why = glmq_ggml_id_why(t->type);
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "type %" PRIu32 ": %s", t->type,
                         why ? why : "unknown");
    }
    type = glmq_dtype_info_of(t->dtype);
    for (int d = 0; d < DIMS_MAX; d++) {
        /* The largest of the products that any reader forms, a dimension of 0 or not. */
        if (t->ne[d] > INT64_MAX || mul_u64(elements, t->ne[d] ? t->ne[d] : 1, &elements) ||
            elements > INT64_MAX)
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "shape %" PRIu64 "x%" PRIu64 "x%" PRIu64 "x%" PRIu64 " overflows",
                             t->ne[0], t->ne[1], t->ne[2], t->ne[3]);
        count *= t->ne[d];
    }
    if (t->ne[0] % type->block)
        return glmq_fail(err, GLMQ_E_FORMAT, "%" PRIu64 " columns, %s has blocks of %d", t->ne[0],
                         type->ggml_name, type->block);
    if (glmq_dtype_bytes(t->dtype, count, &t->bytes))
        return glmq_fail(err, GLMQ_E_FORMAT, "%" PRIu64 " elements of %s overflow", count,
                         type->ggml_name);
    return GLMQ_OK;
}

static glmq_status place_info(const part *p, const info *t, glmq_error *err)
{
    uint64_t begin;
    if (t->offset % p->kv.alignment)
        return glmq_fail(err, GLMQ_E_FORMAT, "offset %" PRIu64 ", no multiple of %" PRIu32,
                         t->offset, p->kv.alignment);
    if (add_u64(p->data, t->offset, &begin) || !in_range(begin, t->bytes, p->in.size))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%" PRIu64 " bytes at %" PRIu64 " of the data, which has %" PRIu64,
                         t->bytes, t->offset, p->in.size - p->data);
    return GLMQ_OK;
}

static const char *info_name(const part *p, const info *t)
{
    return (const char *)p->in.buf + t->name.at;
}

static int by_offset(const void *a, const void *b)
{
    const info *x = a, *y = b;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

/* Sorts by offset and refuses ranges that two arrays share. */
static glmq_status part_overlaps(part *p, glmq_error *err)
{
    const info *last = NULL;
    qsort(p->infos, (size_t)p->info_count, sizeof *p->infos, by_offset);
    for (uint64_t i = 0; i < p->info_count; i++) {
        const info *t = &p->infos[i];
        if (!t->bytes) continue;
        if (last && t->offset < last->offset + last->bytes)
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "%.*s at %" PRIu64 " overlaps %.*s at %" PRIu64 " with %" PRIu64
                             " bytes",
                             (int)t->name.len, info_name(p, t), t->offset, (int)last->name.len,
                             info_name(p, last), last->offset, last->bytes);
        last = t;
    }
    return GLMQ_OK;
}

/* Is every array where ggml's own reader wants it: behind the one before it, in the order
 * of the header?  *end becomes where the data ends then.  Called before sorting. */
static const info *first_astray(const part *p, uint64_t *end)
{
    uint64_t at = 0;
    for (uint64_t i = 0; i < p->info_count; i++) {
        const info *t = &p->infos[i];
        *end = at;
        if (t->offset != at || add_u64(at, t->bytes, &at) || align_u64(at, p->kv.alignment, &at))
            return t;
    }
    *end = at;
    return NULL;
}

/* Things that other readers refuse or that may hide something: told, not fatal. */
static glmq_status note_layout(glmq_catalog *cat, const part *p)
{
    const char *file = glmq_source_name(cat->source, p->in.file);
    uint64_t end = 0;
    const info *t = first_astray(p, &end);
    if (t) {
        char *name = glmq_arena_strndup(&cat->arena, info_name(p, t), (size_t)t->name.len);
        return glmq_catalog_note(cat, GLMQ_WARNING, "gguf-gaps", name, file,
                                 "data is not gap-free: %.*s at %" PRIu64 ", expected %" PRIu64
                                 "; other readers refuse this",
                                 (int)t->name.len, info_name(p, t), t->offset, end);
    }
    if (p->in.size - p->data > end)
        return glmq_catalog_note(cat, GLMQ_WARNING, "trailing-bytes", NULL, file,
                                 "%" PRIu64 " bytes behind the last array",
                                 p->in.size - p->data - end);
    return GLMQ_OK;
}

static glmq_status check_infos(glmq_catalog *cat, part *p, glmq_error *err)
{
    for (uint64_t i = 0; i < p->info_count; i++) {
        info *t = &p->infos[i];
        const char *name = info_name(p, t);
        glmq_status st;
        if (memchr(name, 0, (size_t)t->name.len))
            return glmq_fail(err, GLMQ_E_FORMAT, "array %" PRIu64 ": a NUL in its name", i);
        st = size_info(t, err);
        if (!st) st = place_info(p, t, err);
        if (st) return glmq_within(err, st, "%.*s", (int)t->name.len, name);
    }
    if (note_layout(cat, p)) return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return part_overlaps(p, err);
}

/* ---- one file ---- */

static glmq_status check_version(uint32_t version, glmq_error *err)
{
    if (version == 2 || version == 3) return GLMQ_OK;
    if (version && !(version & 0xffff))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "a big-endian file (version %08" PRIx32 ")",
                         version);
    if (version == 0) return glmq_fail(err, GLMQ_E_FORMAT, "version 0, expected 2 or 3");
    return glmq_fail(err, GLMQ_E_UNSUPPORTED, "version %" PRIu32 ", expected 2 or 3", version);
}

/* A count must fit the limit, and the bytes left even if every record is the smallest. */
static glmq_status check_count(const header *h, const char *what, uint64_t count, uint64_t limit,
                               uint64_t each, glmq_error *err)
{
    if (count > (h->size - h->at) / each)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "header says %" PRIu64 " %s, the file has %" PRIu64 " bytes", count, what,
                         h->size);
    if (count > limit)
        return glmq_fail(err, GLMQ_E_LIMIT, "%" PRIu64 " %s, at most %" PRIu64, count, what, limit);
    return GLMQ_OK;
}

static glmq_status read_part(glmq_catalog *cat, part *p, glmq_error *err)
{
    header *h = &p->in;
    uint64_t arrays, keys;
    uint8_t *buf;
    GLMQ_TRY(need(h, HEAD_BYTES, "header", err));
    if (memcmp(h->buf, "GGUF", 4))
        return glmq_fail(err, GLMQ_E_FORMAT, "begins with %02x %02x %02x %02x, not with GGUF",
                         h->buf[0], h->buf[1], h->buf[2], h->buf[3]);
    p->kv.version = load_le32(h->buf + 4);
    arrays = load_le64(h->buf + 8);
    keys = load_le64(h->buf + 16);
    h->at = HEAD_BYTES;
    GLMQ_TRY(check_version(p->kv.version, err));
    GLMQ_TRY(check_count(h, "keys", keys, GLMQ_GGUF_KEYS_MAX, KEY_BYTES_MIN, err));
    GLMQ_TRY(check_count(h, "arrays", arrays, GLMQ_ARRAYS_MAX, INFO_BYTES_MIN, err));
    GLMQ_TRY(take_keys(p, keys, err));
    GLMQ_TRY(check_count(h, "arrays", arrays, GLMQ_ARRAYS_MAX, INFO_BYTES_MIN, err));
    GLMQ_TRY(take_infos(p, arrays, err));

    buf = glmq_realloc(h->buf, (size_t)h->at); /* what was read ahead goes */
    if (buf) h->buf = buf;
    GLMQ_TRY(settle_keys(p, err));
    GLMQ_TRY(find_alignment(p, err));
    if (align_u64(h->at, p->kv.alignment, &p->data) || p->data > h->size)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "data begins at %" PRIu64 ", the file ends at %" PRIu64, p->data, h->size);
    return check_infos(cat, p, err);
}

static glmq_status open_part(glmq_catalog *cat, uint32_t file, part **out, glmq_error *err)
{
    part *p = glmq_alloc_zero(1, sizeof *p);
    glmq_status st;
    *out = NULL;
    if (!p) return glmq_fail(err, GLMQ_E_NOMEM, "gguf");
    p->in = (header){ .source = cat->source,
                      .file = file,
                      .size = glmq_source_size(cat->source, file) };
    st = read_part(cat, p, err);
    if (st) {
        part_close(p);
        /* A read that fails names the file itself. */
        return st == GLMQ_E_IO ? st
                               : glmq_within(err, st, "%s", glmq_source_name(cat->source, file));
    }
    *out = p;
    return GLMQ_OK;
}

/* Dimensions as PyTorch counts them: outermost first, without the 1s in front. */
static uint8_t torch_dims(const info *t, uint64_t dims[DIMS_MAX])
{
    uint8_t rank = (uint8_t)(t->dims ? t->dims : 1);
    while (rank > 1 && t->ne[rank - 1] == 1) rank--;
    for (uint8_t d = 0; d < rank; d++) dims[d] = t->ne[rank - 1 - d];
    return rank;
}

static glmq_status add_arrays(glmq_catalog *cat, const part *p, glmq_error *err)
{
    char name[NAME_BYTES_MAX + 1];
    for (uint64_t i = 0; i < p->info_count; i++) {
        const info *t = &p->infos[i];
        uint64_t dims[DIMS_MAX];
        glmq_array a = { .name = name,
                         .dims = dims,
                         .offset = p->data + t->offset,
                         .bytes = t->bytes,
                         .file = (uint32_t)p->in.file,
                         .dtype = (uint8_t)t->dtype };
        memcpy(name, info_name(p, t), (size_t)t->name.len);
        name[t->name.len] = '\0';
        a.rank = torch_dims(t, dims);
        GLMQ_TRY(glmq_catalog_add(cat, &a, err));
    }
    return GLMQ_OK;
}

/* ---- the parts of a model ---- */

/* "<prefix>-00002-of-00003.gguf". */
typedef struct split_name {
    size_t prefix;   /* bytes of it                              */
    uint64_t no, of; /* 1-based; of == 0: not the name of a part */
} split_name;

static split_name parse_split(const char *name)
{
    static const char mold[] = "-#####-of-#####.gguf";
    const size_t len = strlen(name), tail = sizeof mold - 1;
    split_name s = { .prefix = len };
    uint64_t number[2] = { 0, 0 };
    int k = 0;
    if (len < tail) return s;
    for (size_t i = 0; i < tail; i++) {
        const char c = name[len - tail + i];
        if (mold[i] == '#') {
            if (c < '0' || c > '9') return s;
            number[k] = number[k] * 10 + (uint64_t)(c - '0');
        } else {
            if (c != mold[i]) return s;
            if (mold[i] == 'o') k = 1;
        }
    }
    return (split_name){ len - tail, number[0], number[1] };
}

typedef struct parts {
    uint32_t *file; /* in the order of their numbers */
    size_t count;
    split_name name; /* of the first                 */
} parts;

static int is_candidate(const glmq_source *src, size_t file)
{
    return glmq_source_is_file(src) || glmq_ends_with(glmq_source_name(src, file), ".gguf");
}

static glmq_status not_one_model(const glmq_source *src, const parts *all, const char *why,
                                 glmq_error *err)
{
    const char *second = all->count > 1 ? glmq_source_name(src, all->file[1]) : "";
    return glmq_fail(err, GLMQ_E_FORMAT, "%s: %zu files (%s, %s%s); name one of them", why,
                     all->count, glmq_source_name(src, all->file[0]), second,
                     all->count > 2 ? ", …" : "");
}

/* Names sort by number, so the order of the source is that of the parts. */
static glmq_status choose_parts(const glmq_catalog *cat, parts *all, glmq_error *err)
{
    const glmq_source *src = cat->source;
    const size_t count = glmq_source_count(src);
    all->file = glmq_alloc_zero(count ? count : 1, sizeof *all->file);
    if (!all->file) return glmq_fail(err, GLMQ_E_NOMEM, "%zu files", count);
    for (size_t i = 0; i < count; i++)
        if (is_candidate(src, i)) all->file[all->count++] = (uint32_t)i;
    if (!all->count) return glmq_fail(err, GLMQ_E_FORMAT, "no .gguf file");
    all->name = parse_split(glmq_source_name(src, all->file[0]));
    for (size_t i = 1; i < all->count; i++) {
        const char *first = glmq_source_name(src, all->file[0]);
        const char *name = glmq_source_name(src, all->file[i]);
        const split_name s = parse_split(name);
        if (!s.of || s.of != all->name.of || s.prefix != all->name.prefix ||
            strncmp(name, first, s.prefix))
            return not_one_model(src, all, "more than one GGUF model", err);
    }
    return GLMQ_OK;
}

/* Of `missing` parts, `no` is the first. */
static glmq_status missing_part(glmq_catalog *cat, const parts *all, uint64_t missing, uint64_t no,
                                glmq_error *err)
{
    const char *name = glmq_source_name(cat->source, all->file[0]);
    const int prefix = (int)all->name.prefix, of = (int)all->name.of;
    if (!cat->options || !cat->options->allow_incomplete)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%.*s-%05d-of-%05d.gguf is missing (split.count is %d, %zu files found)",
                         prefix, name, (int)no, of, of, all->count);
    if (glmq_catalog_note(cat, GLMQ_ERROR, "missing-shard", NULL, NULL,
                          "%.*s-%05d-of-%05d.gguf is missing (%" PRIu64 " of %d parts are)", prefix,
                          name, (int)no, of, missing, of))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

/* Every number from 1 to the count of part 0, each once.  *whole: none is missing. */
static glmq_status check_names(glmq_catalog *cat, const parts *all, uint64_t split_count,
                               int *whole, glmq_error *err)
{
    uint64_t gap = 0, no = 1;
    *whole = 1;
    if (split_count <= 1 && all->count > 1)
        return not_one_model(cat->source, all, "split.count says one file", err);
    if (split_count <= 1) return GLMQ_OK;
    if (all->name.no != 1 || all->name.of != split_count)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: the first of %" PRIu64 " parts must be called …-00001-of-%05" PRIu64
                         ".gguf",
                         glmq_source_name(cat->source, all->file[0]), split_count, split_count);
    for (size_t i = 0; i < all->count; i++, no++) {
        const split_name s = parse_split(glmq_source_name(cat->source, all->file[i]));
        if (!gap && s.no != no) gap = no;
    }
    if (!gap && all->count < split_count) gap = no;
    *whole = !gap;
    return gap ? missing_part(cat, all, split_count - all->count, gap, err) : GLMQ_OK;
}

static glmq_status check_number(const part *p, const char *name, uint64_t expected, glmq_error *err)
{
    uint64_t no = 0;
    if (!glmq_gguf_u64(&p->kv, "split.no", &no))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: split.no is absent", name);
    if (no != expected)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: split.no is %" PRIu64 ", expected %" PRIu64, name,
                         no, expected);
    return GLMQ_OK;
}

/* Part 0 keeps its key-values for the catalog; the others only bring arrays. */
static glmq_status add_first(glmq_catalog *cat, const parts *all, uint64_t *split_count,
                             glmq_error *err)
{
    const char *name = glmq_source_name(cat->source, all->file[0]);
    uint64_t no = 0;
    part *p = NULL;
    GLMQ_TRY(open_part(cat, all->file[0], &p, err));
    cat->gguf = &p->kv;
    *split_count = 0;
    glmq_gguf_u64(&p->kv, "split.count", split_count);
    glmq_gguf_u64(&p->kv, "split.no", &no);
    if (*split_count > 1 && no)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: part %" PRIu64 " of %" PRIu64
                         "; a split model is opened by its first part",
                         name, no + 1, *split_count);
    if (*split_count > 99999)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: split.count is %" PRIu64, name, *split_count);
    GLMQ_TRY(*split_count > 1 ? check_number(p, name, 0, err) : GLMQ_OK);
    return add_arrays(cat, p, err);
}

static glmq_status add_other(glmq_catalog *cat, const parts *all, size_t i, glmq_error *err)
{
    const char *name = glmq_source_name(cat->source, all->file[i]);
    part *p = NULL;
    glmq_status st;
    GLMQ_TRY(open_part(cat, all->file[i], &p, err));
    st = check_number(p, name, parse_split(name).no - 1, err);
    if (!st) st = add_arrays(cat, p, err);
    part_close(p);
    return st;
}

static glmq_status check_total(const glmq_catalog *cat, glmq_error *err)
{
    uint64_t total = 0;
    if (!glmq_gguf_u64(cat->gguf, "split.tensors.count", &total))
        return glmq_fail(err, GLMQ_E_FORMAT, "split.tensors.count is absent");
    if (total != cat->count)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "split.tensors.count is %" PRIu64 ", the parts hold %zu arrays", total,
                         cat->count);
    return GLMQ_OK;
}

static glmq_status open_all(glmq_catalog *cat, const parts *all, glmq_error *err)
{
    uint64_t split_count = 0;
    int whole = 1;
    GLMQ_TRY(add_first(cat, all, &split_count, err));
    GLMQ_TRY(check_names(cat, all, split_count, &whole, err));
    for (size_t i = 1; i < all->count; i++) GLMQ_TRY(add_other(cat, all, i, err));
    if (split_count > 1 && whole) GLMQ_TRY(check_total(cat, err));
    cat->shards = glmq_arena_alloc(&cat->arena, all->count * sizeof *cat->shards);
    if (!cat->shards) return glmq_fail(err, GLMQ_E_NOMEM, "%zu parts", all->count);
    memcpy(cat->shards, all->file, all->count * sizeof *cat->shards);
    cat->shard_count = all->count;
    return GLMQ_OK;
}

glmq_status glmq_gguf_open(glmq_catalog *cat, glmq_error *err)
{
    parts all = { 0 };
    glmq_status st = choose_parts(cat, &all, err);
    if (!st) st = open_all(cat, &all, err);
    glmq_free(all.file);
    return st;
}
