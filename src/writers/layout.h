/* Containers for writers: from planned arrays to headers and offsets. */
#ifndef GLMQ_WRITERS_LAYOUT_H
#define GLMQ_WRITERS_LAYOUT_H

#include "convert/plan.h"

/* ---- safetensors.c ----
 * Spreads all arrays of the plan over shards of at most shard_size bytes (an array is never
 * cut), orders each shard as the reference writer does (dtype descending, then name), makes
 * headers ({"__metadata__":{"format":"pt", …}}, padded to 8), sets file, offset of every
 * array, and adds model.safetensors.index.json when there is more than one shard. */
typedef struct glmq_st_meta {
    const char *key, *value;
} glmq_st_meta;
glmq_status glmq_safetensors_layout(glmq_plan *p, const glmq_st_meta *meta, size_t n,
                                    glmq_error *err);

/* Metadata that differ from shard to shard: `value` fills the texts of both keys (an empty one
 * is left out) for a shard as numbered in the arrays' `file`; they take at most `array_bytes`
 * for each array of it. */
typedef struct glmq_st_shard_meta {
    const char *key[2];
    glmq_status (*value)(const void *user, const glmq_plan *p, uint32_t shard, glmq_text value[2],
                         glmq_error *err);
    const void *user;
    uint64_t array_bytes;
} glmq_st_shard_meta;
glmq_status glmq_safetensors_layout_with(glmq_plan *p, const glmq_st_meta *meta, size_t n,
                                         const glmq_st_shard_meta *per_shard, glmq_error *err);

/* ---- gguf.c ---- key-values to write, and the layout of one or many parts. */
typedef struct glmq_gguf_kv {
    glmq_text data; /* encoded key-values                                               */
    uint64_t count;
} glmq_gguf_kv;
void glmq_gguf_put_u16(glmq_gguf_kv *kv, const char *key, uint16_t v);
void glmq_gguf_put_u32(glmq_gguf_kv *kv, const char *key, uint32_t v);
void glmq_gguf_put_i32(glmq_gguf_kv *kv, const char *key, int32_t v);
void glmq_gguf_put_f32(glmq_gguf_kv *kv, const char *key, float v);
void glmq_gguf_put_bool(glmq_gguf_kv *kv, const char *key, int v);
void glmq_gguf_put_string(glmq_gguf_kv *kv, const char *key, const char *s, size_t len);
/* Array of n elements of `type`; the caller then appends the elements to kv->data. */
void glmq_gguf_put_array(glmq_gguf_kv *kv, const char *key, uint32_t type, uint64_t n);
/* A value as it was read (GGUF to GGUF). */
struct glmq_gguf_value;
void glmq_gguf_put_value(glmq_gguf_kv *kv, const struct glmq_gguf_value *v);

/* Places the arrays (in the plan's order) into one file named `name`, or into parts
 * "<prefix>-00001-of-0000N.gguf" of at most split_size bytes of tensor data. */
glmq_status glmq_gguf_layout(glmq_plan *p, const char *name, uint64_t split_size,
                             const glmq_gguf_kv *kv, glmq_error *err);
#endif
