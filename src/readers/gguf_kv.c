/* Typed access to the key-values of a GGUF.  The container (gguf.c) has checked every
 * length and every type number, so nothing here can run out of the value's bytes. */
#include "readers/gguf_kv.h"
#include "base/mem.h"
#include "base/safe.h"
#include "base/strmap.h"

typedef enum kind { NO_INTEGER, UNSIGNED, SIGNED, FLAG } kind;

static const struct {
    const char *name;
    uint8_t bytes; /* of a scalar; 0: has a length of its own */
    uint8_t kind;
} types[GGUF_TYPES] = {
    [GGUF_U8] = { "u8", 1, UNSIGNED },           [GGUF_I8] = { "i8", 1, SIGNED },
    [GGUF_U16] = { "u16", 2, UNSIGNED },         [GGUF_I16] = { "i16", 2, SIGNED },
    [GGUF_U32] = { "u32", 4, UNSIGNED },         [GGUF_I32] = { "i32", 4, SIGNED },
    [GGUF_F32] = { "f32", 4, NO_INTEGER },       [GGUF_BOOL] = { "bool", 1, FLAG },
    [GGUF_STRING] = { "string", 0, NO_INTEGER }, [GGUF_ARRAY] = { "array", 0, NO_INTEGER },
    [GGUF_U64] = { "u64", 8, UNSIGNED },         [GGUF_I64] = { "i64", 8, SIGNED },
    [GGUF_F64] = { "f64", 8, NO_INTEGER },
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
    const uint32_t bytes = glmq_gguf_type_bytes(type), unused = 64 - 8 * bytes;
    uint64_t u = 0;
    if (i >= v->count || !bytes || types[type].kind == NO_INTEGER) return 0;
    memcpy(&u, v->data + i * bytes, bytes);
    if (types[type].kind == SIGNED) {
        *out = (int64_t)(u << unused) >> unused;
        return 1;
    }
    if (u > INT64_MAX) return 0;
    /* The peers read any byte but 0 as true. */
    *out = types[type].kind == FLAG ? u != 0 : (int64_t)u;
    return 1;
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
