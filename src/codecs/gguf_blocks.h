/* GGUF types that are only decoded: rows of whole blocks, a kernel for each (kernels.h). */
#ifndef GLMQ_CODECS_GGUF_BLOCKS_H
#define GLMQ_CODECS_GGUF_BLOCKS_H

#include "codec.h"

/* Block sizes are those of the table of element types. */
glmq_status gguf_blocks_layout(glmq_dtype dtype, uint64_t rows, uint64_t cols, glmq_layout *out,
                               glmq_error *err);
void gguf_blocks_decode(glmq_dtype dtype, const glmq_bufs *bufs, glmq_tile t, float *w);

/* The codec `symbol` of GLMQ_DT_NAME, from the kernel of that type. */
#define GGUF_DECODED(symbol, NAME, text)                                                           \
    static glmq_status symbol##_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,       \
                                       glmq_layout *out, glmq_error *err)                          \
    {                                                                                              \
        (void)e; /* no parameters */                                                               \
        return gguf_blocks_layout(GLMQ_DT_##NAME, rows, cols, out, err);                           \
    }                                                                                              \
    static void symbol##_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w) \
    {                                                                                              \
        (void)e;                                                                                   \
        gguf_blocks_decode(GLMQ_DT_##NAME, b, t, w);                                               \
    }                                                                                              \
    const glmq_codec glmq_codec_##symbol = {                                                       \
        .name = #symbol,                                                                           \
        .about = text,                                                                             \
        .layout = symbol##_layout,                                                                 \
        .decode = symbol##_decode,                                                                 \
    };
#endif
