/* Typed access to the key-values of a GGUF.  The container (gguf.c) has checked every
 * length and every type number, so nothing here can run out of the value's bytes. */
#include "readers/gguf_kv.h"
#include "base/mem.h"
#include "base/safe.h"
#include "base/strmap.h"

static const struct {
    const char *name;
    uint32_t bytes; /* of a scalar; 0: has a length of its own */
} types[GGUF_TYPES] = {
    [GGUF_U8] = { "u8", 1 },         [GGUF_I8] = { "i8", 1 },     [GGUF_U16] = { "u16", 2 },
    [GGUF_I16] = { "i16", 2 },       [GGUF_U32] = { "u32", 4 },   [GGUF_I32] = { "i32", 4 },
    [GGUF_F32] = { "f32", 4 },       [GGUF_BOOL] = { "bool", 1 }, [GGUF_STRING] = { "string", 0 },
    [GGUF_ARRAY] = { "array", 0 },   [GGUF_U64] = { "u64", 8 },   [GGUF_I64] = { "i64", 8 },
    [GGUF_F64] = { "f64", 8 },
};

uint32_t glmq_gguf_type_bytes(uint32_t type)
{
    return type < GGUF_TYPES ? types[type].bytes : 0;
}

const char *glmq_gguf_type_name(uint32_t type)
{
    return type < GGUF_TYPES ? types[type].name : "unknown";
}

const glmq_gguf_value *glmq_gguf_get(const glmq_gguf *g, const char *key)
{
    uint64_t i;
    if (!g || !g->by_key || !glmq_strmap_get(g->by_key, key, strlen(key), &i)) return NULL;
    return &g->values[i];
}

int glmq_gguf_item_i64(const glmq_gguf_value *v, uint64_t i, int64_t *out)
{
    const uint32_t type = v->type == GGUF_ARRAY ? v->item : v->type;
    const uint32_t bytes = glmq_gguf_type_bytes(type);
    const uint8_t *p;
    if (i >= v->count || !bytes) return 0;
    p = v->data + i * bytes;
    switch (type) {
    case GGUF_U8: *out = p[0]; return 1;
    case GGUF_I8: *out = (int8_t)p[0]; return 1;
    case GGUF_BOOL: *out = p[0] != 0; return 1; /* the peers read any byte but 0 as true */
    case GGUF_U16: *out = load_le16(p); return 1;
    case GGUF_I16: *out = (int16_t)load_le16(p); return 1;
    case GGUF_U32: *out = load_le32(p); return 1;
    case GGUF_I32: *out = (int32_t)load_le32(p); return 1;
    case GGUF_I64: *out = (int64_t)load_le64(p); return 1;
    case GGUF_U64:
        if (load_le64(p) > INT64_MAX) return 0;
        *out = (int64_t)load_le64(p);
        return 1;
    default: return 0;
    }
}

int glmq_gguf_u64(const glmq_gguf *g, const char *key, uint64_t *out)
{
    const glmq_gguf_value *v = glmq_gguf_get(g, key);
    int64_t i;
    if (!v || v->type == GGUF_ARRAY || v->type == GGUF_BOOL) return 0;
    if (v->type == GGUF_U64) {
        *out = load_le64(v->data);
        return 1;
    }
    if (!glmq_gguf_item_i64(v, 0, &i) || i < 0) return 0;
    *out = (uint64_t)i;
    return 1;
}

int glmq_gguf_f64(const glmq_gguf *g, const char *key, double *out)
{
    const glmq_gguf_value *v = glmq_gguf_get(g, key);
    float f;
    if (v && v->type == GGUF_F32) {
        memcpy(&f, v->data, sizeof f);
        *out = f;
        return 1;
    }
    if (!v || v->type != GGUF_F64) return 0;
    memcpy(out, v->data, sizeof *out);
    return 1;
}

int glmq_gguf_bool(const glmq_gguf *g, const char *key, int *out)
{
    const glmq_gguf_value *v = glmq_gguf_get(g, key);
    if (!v || (v->type != GGUF_BOOL && v->type != GGUF_U8)) return 0;
    *out = v->data[0] != 0;
    return 1;
}

int glmq_gguf_string(const glmq_gguf *g, const char *key, const char **s, size_t *len)
{
    const glmq_gguf_value *v = glmq_gguf_get(g, key);
    if (!v || v->type != GGUF_STRING) return 0;
    *len = (size_t)load_le64(v->data);
    *s = (const char *)v->data + 8;
    return 1;
}

int glmq_gguf_next_string(const glmq_gguf_value *v, uint64_t *at, const char **s, size_t *len)
{
    if (v->type != GGUF_ARRAY || v->item != GGUF_STRING || *at >= v->bytes) return 0;
    *len = (size_t)load_le64(v->data + *at);
    *s = (const char *)v->data + *at + 8;
    *at += 8 + *len;
    return 1;
}
