/* Encodings: how the numbers of a tensor are stored.
 *
 * A codec is a family (one row of src/codecs/table.h); an encoding is a codec
 * plus parameters, a small value that is copied, compared and printed.
 *
 * A quantized tensor is stored in up to GLMQ_SLOTS arrays, its slots: codes,
 * scales, zero points, … */
#ifndef GLMQ_ENCODING_H
#define GLMQ_ENCODING_H

#include "error.h"
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Element types of stored arrays: those of safetensors first, then those that only
 * GGUF knows.  One table (src/codecs/dtype.c) has their names, ids and sizes. */
typedef enum glmq_dtype {
    GLMQ_DT_NONE = 0,
    GLMQ_DT_BOOL,
    GLMQ_DT_F4,
    GLMQ_DT_F6_E2M3,
    GLMQ_DT_F6_E3M2,
    GLMQ_DT_U8,
    GLMQ_DT_I8,
    GLMQ_DT_F8_E5M2,
    GLMQ_DT_F8_E4M3,
    GLMQ_DT_F8_E8M0,
    GLMQ_DT_F8_E4M3FNUZ,
    GLMQ_DT_F8_E5M2FNUZ,
    GLMQ_DT_I16,
    GLMQ_DT_U16,
    GLMQ_DT_F16,
    GLMQ_DT_BF16,
    GLMQ_DT_I32,
    GLMQ_DT_U32,
    GLMQ_DT_F32,
    GLMQ_DT_C64,
    GLMQ_DT_F64,
    GLMQ_DT_I64,
    GLMQ_DT_U64,
    /* GGUF block types; the enum order is that of ggml's ids */
    GLMQ_DT_Q4_0,
    GLMQ_DT_Q4_1,
    GLMQ_DT_Q5_0,
    GLMQ_DT_Q5_1,
    GLMQ_DT_Q8_0,
    GLMQ_DT_Q8_1,
    GLMQ_DT_Q2_K,
    GLMQ_DT_Q3_K,
    GLMQ_DT_Q4_K,
    GLMQ_DT_Q5_K,
    GLMQ_DT_Q6_K,
    GLMQ_DT_Q8_K,
    GLMQ_DT_IQ2_XXS,
    GLMQ_DT_IQ2_XS,
    GLMQ_DT_IQ3_XXS,
    GLMQ_DT_IQ1_S,
    GLMQ_DT_IQ4_NL,
    GLMQ_DT_IQ3_S,
    GLMQ_DT_IQ2_S,
    GLMQ_DT_IQ4_XS,
    GLMQ_DT_IQ1_M,
    GLMQ_DT_TQ1_0,
    GLMQ_DT_TQ2_0,
    GLMQ_DT_MXFP4,
    GLMQ_DT_NVFP4,
    GLMQ_DT_Q1_0,
    GLMQ_DT_Q2_0,
    GLMQ_DT_COUNT
} glmq_dtype;

/* safetensors' name ("BF16"), or ggml's ("Q4_0") where safetensors has none. */
GLMQ_API const char *glmq_dtype_name(glmq_dtype dtype);

enum {
    GLMQ_SLOT_CODES, /* the codes; also the whole of a plain or a GGUF tensor */
    GLMQ_SLOT_SCALES,
    GLMQ_SLOT_ZEROS,
    GLMQ_SLOT_PERM,        /* g_idx: the group of each column                       */
    GLMQ_SLOT_SHAPE,       /* the true shape, where the format stores it            */
    GLMQ_SLOT_GLOBAL,      /* a scale for the whole tensor                          */
    GLMQ_SLOT_INPUT_SCALE, /* activation scale: carried, never decoded              */
    GLMQ_SLOT_BOOK,        /* codebook                                              */
    GLMQ_SLOTS
};

typedef struct glmq_codec glmq_codec;

/* What the zero points of an integer encoding are. */
typedef enum glmq_zero_kind {
    GLMQ_ZERO_MID,   /* symmetric: 2^(bits-1), whatever a zero slot says  */
    GLMQ_ZERO_STORED /* asymmetric: read from the zero slot               */
} glmq_zero_kind;

/* Is a group number stored for each column (g_idx, the PERM slot)? */
typedef enum glmq_act_order {
    GLMQ_ACT_NONE,   /* no                                                            */
    GLMQ_ACT_ORDER,  /* yes, and the columns of a group are scattered                 */
    GLMQ_ACT_TRIVIAL /* yes, but it says what the order of the columns says           */
} glmq_act_order;

typedef struct glmq_encoding {
    const glmq_codec *codec;
    uint32_t group;      /* columns per scale; 0: the whole row                        */
    uint16_t group_rows; /* rows per scale: 1; 128 for FP8 blocks; 0: the whole tensor */
    uint8_t bits;
    uint8_t scale_dtype; /* glmq_dtype of the scale slot                               */
    uint8_t zero_kind;   /* glmq_zero_kind                                             */
    uint8_t act_order;   /* glmq_act_order; not 0: a PERM slot is stored               */
    uint8_t variant;     /* the codec's own: GPTQ v1 or v2, …                          */
    uint32_t scalar;     /* bits of the F32 scale of the whole tensor that a target is to
                          * store (FP4); 0: the codes say it.  No part of what the encoding
                          * is: equal encodings may differ here                        */
    uint8_t rescale;     /* under that scale codes stay, and block scales are rounded.  Likewise */
    uint64_t seed;       /* rotations                                                  */
    const void *tables;  /* codebooks, sign vectors; owned by the graph                */
} glmq_encoding;

/* The registered codecs, in the order of the table. */
GLMQ_API size_t glmq_codec_count(void);
GLMQ_API const glmq_codec *glmq_codec_at(size_t i);
GLMQ_API const glmq_codec *glmq_codec_find(const char *name); /* NULL if unknown */
GLMQ_API const char *glmq_codec_name(const glmq_codec *codec);
GLMQ_API const char *glmq_codec_about(const glmq_codec *codec);

/* Writes a stable description such as "gptq:bits=4,group=128,sym" into `text`
 * (always terminated); returns its length.  Equal encodings give equal text. */
GLMQ_API size_t glmq_encoding_print(const glmq_encoding *enc, char *text, size_t cap);
GLMQ_API int glmq_encoding_equal(const glmq_encoding *a, const glmq_encoding *b);

#ifdef __cplusplus
}
#endif
#endif
