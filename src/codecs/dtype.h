/* The one table of element types: safetensors' names, ggml's ids, block sizes. */
#ifndef GLMQ_CODECS_DTYPE_H
#define GLMQ_CODECS_DTYPE_H

#include "glmq/encoding.h"

typedef struct glmq_dtype_info {
    const char *st_name;   /* safetensors' spelling, NULL where it has none        */
    const char *ggml_name; /* ggml's own spelling ("bf16", "q4_K"), NULL if none   */
    int ggml_id;           /* -1 if none                                           */
    uint16_t block;        /* elements per block; 1 for plain types                */
    uint16_t bits;         /* of one plain element; 0 for block types              */
    uint16_t bytes;        /* per block; 0 for plain types under 8 bits            */
    uint8_t st_order;      /* rank in the safetensors writer's dtype order         */
} glmq_dtype_info;

const glmq_dtype_info *glmq_dtype_info_of(glmq_dtype dtype);
glmq_dtype glmq_dtype_from_st(const char *name, size_t len); /* NONE if unknown */
glmq_dtype glmq_dtype_from_ggml(uint32_t id);                /* NONE if unknown or removed */
/* Why a ggml id is refused: "removed from ggml (was Q4_2)", "IQ4_KS of ik_llama.cpp", … */
const char *glmq_ggml_id_why(uint32_t id);

/* F32, F16 or BF16: what weights are in that nobody quantized, and most scales. */
int glmq_dtype_is_float(glmq_dtype dtype);

/* Bytes of `count` elements; 1 on overflow or when they do not fill whole bytes/blocks. */
int glmq_dtype_bytes(glmq_dtype dtype, uint64_t count, uint64_t *bytes);
#endif
