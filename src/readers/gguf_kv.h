/* GGUF key-values, read.  Typed getters accept every integer type that fits. */
#ifndef GLMQ_READERS_GGUF_KV_H
#define GLMQ_READERS_GGUF_KV_H

#include "glmq/error.h"
#include <stddef.h>
#include <stdint.h>

enum {
    GGUF_U8,
    GGUF_I8,
    GGUF_U16,
    GGUF_I16,
    GGUF_U32,
    GGUF_I32,
    GGUF_F32,
    GGUF_BOOL,
    GGUF_STRING,
    GGUF_ARRAY,
    GGUF_U64,
    GGUF_I64,
    GGUF_F64,
    GGUF_TYPES
};

typedef struct glmq_gguf_value {
    const char *key;
    size_t key_len;
    uint32_t type, item; /* item: element type of an array                           */
    uint64_t count;      /* elements; 1 for scalars                                  */
    const uint8_t *data; /* as in the file: strings are u64 length + bytes           */
    uint64_t bytes;
} glmq_gguf_value;

typedef struct glmq_gguf {
    uint32_t version, alignment;
    glmq_gguf_value *values; /* in file order                                           */
    size_t count;
    struct glmq_strmap *by_key;
} glmq_gguf;

const glmq_gguf_value *glmq_gguf_get(const glmq_gguf *g, const char *key);
int glmq_gguf_u64(const glmq_gguf *g, const char *key,
                  uint64_t *out); /* 1, or 0: absent or no such integer */
int glmq_gguf_f64(const glmq_gguf *g, const char *key, double *out);
int glmq_gguf_bool(const glmq_gguf *g, const char *key, int *out);
int glmq_gguf_string(const glmq_gguf *g, const char *key, const char **s, size_t *len);
/* Walks an array of strings: *at starts at 0; returns 0 at the end. */
int glmq_gguf_next_string(const glmq_gguf_value *v, uint64_t *at, const char **s, size_t *len);
/* Element i of a numeric array or (i = 0) a scalar. */
int glmq_gguf_item_i64(const glmq_gguf_value *v, uint64_t i, int64_t *out);
/* Bytes of a scalar value type (0: string, array, unknown), and its name ("u32"). */
uint32_t glmq_gguf_type_bytes(uint32_t type);
const char *glmq_gguf_type_name(uint32_t type);
void glmq_gguf_close(glmq_gguf *g); /* the one that a catalog owns                      */
#endif
