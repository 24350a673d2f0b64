/* GGUF as bytes: key-values, tensor infos, alignment, parts.
 *
 *   "GGUF"  u32 version  u64 tensors  u64 key-values
 *   key-values:   string key, u32 type, value
 *   infos:        string name, u32 n_dims, u64 ne[n_dims] (contiguous first), u32 type, u64 offset
 *   zeros up to a multiple of 32, then the tensors, each padded to 32 (the last one too)
 *
 * A string is its u64 length and its bytes.  A tensor is never cut across parts; every part
 * is a GGUF of its own, the metadata are in the first one only. */
#include "base/error.h"
#include "base/safe.h"
#include "codecs/dtype.h"
#include "readers/gguf_kv.h"
#include "writers/gguf_out.h"
#include <string.h>

enum { GGUF_VERSION = 3, GGUF_ALIGN = 32, GGUF_NAME_MAX = 63, GGUF_PARTS_MAX = 65535 };

/* ---- key-values ---- */

static void append_u32(glmq_text *t, uint32_t v)
{
    uint8_t b[4];
    store_le32(b, v);
    glmq_text_add_n(t, b, sizeof b);
}

static void append_u64(glmq_text *t, uint64_t v)
{
    uint8_t b[8];
    store_le64(b, v);
    glmq_text_add_n(t, b, sizeof b);
}

static void add_string(glmq_text *t, const char *s, size_t len)
{
    append_u64(t, len);
    glmq_text_add_n(t, s, len);
}

void glmq_gguf_add_string(glmq_gguf_kv *kv, const char *s, size_t len)
{
    add_string(&kv->data, s, len);
}

static void put_key(glmq_gguf_kv *kv, const char *key, size_t len, uint32_t type)
{
    add_string(&kv->data, key, len);
    append_u32(&kv->data, type);
    kv->count++;
}

void glmq_gguf_put_u16(glmq_gguf_kv *kv, const char *key, uint16_t v)
{
    uint8_t b[2];
    store_le16(b, v);
    put_key(kv, key, strlen(key), GGUF_U16);
    glmq_text_add_n(&kv->data, b, sizeof b);
}

void glmq_gguf_put_u32(glmq_gguf_kv *kv, const char *key, uint32_t v)
{
    put_key(kv, key, strlen(key), GGUF_U32);
    append_u32(&kv->data, v);
}

void glmq_gguf_put_i32(glmq_gguf_kv *kv, const char *key, int32_t v)
{
    put_key(kv, key, strlen(key), GGUF_I32);
    append_u32(&kv->data, (uint32_t)v);
}

void glmq_gguf_put_f32(glmq_gguf_kv *kv, const char *key, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    put_key(kv, key, strlen(key), GGUF_F32);
    append_u32(&kv->data, bits);
}

void glmq_gguf_put_bool(glmq_gguf_kv *kv, const char *key, int v)
{
    const char b = v != 0;
    put_key(kv, key, strlen(key), GGUF_BOOL);
    glmq_text_add_n(&kv->data, &b, 1);
}

void glmq_gguf_put_string(glmq_gguf_kv *kv, const char *key, const char *s, size_t len)
{
    put_key(kv, key, strlen(key), GGUF_STRING);
    add_string(&kv->data, s, len);
}

void glmq_gguf_put_array(glmq_gguf_kv *kv, const char *key, uint32_t type, uint64_t n)
{
    put_key(kv, key, strlen(key), GGUF_ARRAY);
    append_u32(&kv->data, type);
    append_u64(&kv->data, n);
}

void glmq_gguf_put_value(glmq_gguf_kv *kv, const struct glmq_gguf_value *v)
{
    put_key(kv, v->key, v->key_len, v->type);
    if (v->type == GGUF_ARRAY) {
        append_u32(&kv->data, v->item);
        append_u64(&kv->data, v->count);
    }
    glmq_text_add_n(&kv->data, v->data, (size_t)v->bytes);
}

/* ---- layout ---- */

static glmq_status no_memory(glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_NOMEM, "GGUF header: out of memory");
}

/* Bytes of an array in the file, padding included. */
static glmq_status padded(const glmq_plan_array *a, uint64_t *bytes, glmq_error *err)
{
    if (align_u64(a->bytes, GGUF_ALIGN, bytes))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: %" PRIu64 " bytes", a->name, a->bytes);
    return GLMQ_OK;
}

static glmq_status check_array(const glmq_plan_array *a, glmq_error *err)
{
    if (strlen(a->name) > GGUF_NAME_MAX)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: a name in a GGUF has at most %d bytes",
                         a->name, GGUF_NAME_MAX);
    if (glmq_dtype_info_of(a->dtype)->ggml_id < 0)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: GGUF has no type %s", a->name,
                         glmq_dtype_name(a->dtype));
    return GLMQ_OK;
}

/* Deals the arrays to parts in their order; a new part begins when the next array would go
 * over the limit.  Sets a->file to the part and returns the number of parts. */
static glmq_status deal(glmq_plan *p, uint64_t split_size, uint32_t *parts, glmq_error *err)
{
    uint64_t filled = 0, bytes = 0;
    uint32_t part = 0;
    for (size_t i = 0; i < p->arrays.count; i++) {
        glmq_plan_array *a = &p->arrays.at[i];
        GLMQ_TRY(check_array(a, err));
        GLMQ_TRY(padded(a, &bytes, err));
        if (split_size && filled && (bytes > split_size || filled > split_size - bytes)) {
            part++;
            filled = 0;
        }
        if (add_u64(filled, bytes, &filled))
            return glmq_fail(err, GLMQ_E_LIMIT, "the tensors' bytes overflow 64 bits");
        a->file = part;
    }
    if (part >= GGUF_PARTS_MAX)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "split=%" PRIu64 " makes %u parts, more than %d",
                         split_size, part + 1, GGUF_PARTS_MAX);
    *parts = part + 1;
    return GLMQ_OK;
}

static void add_info(glmq_text *t, const glmq_plan_array *a, uint64_t offset)
{
    add_string(t, a->name, strlen(a->name));
    append_u32(t, a->rank);
    for (int d = a->rank; d-- > 0;) append_u64(t, a->dims[d]);
    append_u32(t, (uint32_t)glmq_dtype_info_of(a->dtype)->ggml_id);
    append_u64(t, offset);
}

/* The infos of a part's arrays [first, end); offsets count from the data section. */
static glmq_status add_infos(glmq_text *t, glmq_plan *p, size_t first, size_t end,
                             uint64_t *data_bytes, glmq_error *err)
{
    uint64_t offset = 0, bytes = 0;
    for (size_t i = first; i < end; i++) {
        glmq_plan_array *a = &p->arrays.at[i];
        add_info(t, a, offset);
        a->offset = offset;
        GLMQ_TRY(padded(a, &bytes, err));
        offset += bytes; /* deal() has summed them */
    }
    *data_bytes = offset;
    return GLMQ_OK;
}

static glmq_status build_header(glmq_text *t, glmq_plan *p, const glmq_gguf_kv *kv, size_t first,
                                size_t end, uint64_t *data_bytes, glmq_error *err)
{
    static const char zeros[GGUF_ALIGN];
    glmq_text_add(t, "GGUF");
    append_u32(t, GGUF_VERSION);
    append_u64(t, end - first);
    append_u64(t, kv->count);
    glmq_text_add_n(t, kv->data.data, kv->data.len);
    GLMQ_TRY(add_infos(t, p, first, end, data_bytes, err));
    if (t->len % GGUF_ALIGN) glmq_text_add_n(t, zeros, GGUF_ALIGN - t->len % GGUF_ALIGN);
    return t->failed || kv->data.failed ? no_memory(err) : GLMQ_OK;
}

/* One file: its header, and the absolute offsets of its arrays. */
static glmq_status place_file(glmq_plan *p, const char *name, const glmq_gguf_kv *kv, size_t first,
                              size_t end, glmq_error *err)
{
    glmq_text t = { 0 };
    uint64_t data_bytes = 0, total;
    uint32_t file;
    glmq_plan_file *f;
    glmq_status st = build_header(&t, p, kv, first, end, &data_bytes, err);
    if (!st) st = glmq_plan_add_file(p, name, FILE_GGUF, &file, err);
    if (st) goto done;
    f = &p->files.at[file];
    if (add_u64(t.len, data_bytes, &total)) {
        st = glmq_fail(err, GLMQ_E_LIMIT, "%s: its size overflows 64 bits", name);
        goto done;
    }
    f->header = glmq_arena_alloc(&p->arena, t.len);
    if (!f->header) {
        st = no_memory(err);
        goto done;
    }
    memcpy(f->header, t.data, t.len);
    f->header_bytes = t.len;
    f->bytes = total;
    for (size_t i = first; i < end; i++) {
        p->arrays.at[i].file = file;
        p->arrays.at[i].offset += t.len;
    }
done:
    glmq_text_free(&t);
    return st;
}

static glmq_status place_part(glmq_plan *p, const char *prefix, const glmq_gguf_kv *kv,
                              uint32_t part, uint32_t parts, size_t first, size_t end,
                              glmq_error *err)
{
    glmq_gguf_kv own = { 0 };
    glmq_status st;
    const char *name =
        glmq_arena_printf(&p->arena, "%s-%05u-of-%05u.gguf", prefix, part + 1, parts);
    if (!name) return no_memory(err);
    if (part == 0) {
        glmq_text_add_n(&own.data, kv->data.data, kv->data.len);
        own.count = kv->count;
        own.data.failed |= kv->data.failed;
    }
    glmq_gguf_put_u16(&own, "split.no", (uint16_t)part);
    glmq_gguf_put_u16(&own, "split.count", (uint16_t)parts);
    glmq_gguf_put_i32(&own, "split.tensors.count", (int32_t)p->arrays.count);
    st = place_file(p, name, &own, first, end, err);
    glmq_text_free(&own.data);
    return st;
}

glmq_status glmq_gguf_layout(glmq_plan *p, const char *name, uint64_t split_size,
                             const glmq_gguf_kv *kv, glmq_error *err)
{
    const size_t len = strlen(name), ending = len > 5 && !strcmp(name + len - 5, ".gguf") ? 5 : 0;
    const char *prefix = glmq_arena_strndup(&p->arena, name, len - ending);
    uint32_t parts = 0;
    size_t first = 0, end;
    if (!prefix) return no_memory(err);
    GLMQ_TRY(deal(p, split_size, &parts, err));
    if (parts == 1) {
        const char *single = ending ? name : glmq_arena_printf(&p->arena, "%s.gguf", prefix);
        return single ? place_file(p, single, kv, 0, p->arrays.count, err) : no_memory(err);
    }
    for (uint32_t part = 0; part < parts; part++, first = end) {
        for (end = first; end < p->arrays.count && p->arrays.at[end].file == part; end++) {
        }
        GLMQ_TRY(place_part(p, prefix, kv, part, parts, first, end, err));
    }
    return GLMQ_OK;
}
