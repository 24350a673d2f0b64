/* The one array of a PyTorch .pt file, without a pickle machine. */
#ifndef GLMQ_READERS_TORCH_PT_H
#define GLMQ_READERS_TORCH_PT_H

#include "glmq/encoding.h"

enum { GLMQ_TORCH_MAX = 1 << 28 }; /* bytes of a file that is worth reading */

typedef struct glmq_torch_array {
    glmq_dtype dtype;    /* F16, BF16, F32 or F64                     */
    const uint8_t *data; /* in the file's bytes                       */
    uint64_t bytes;
} glmq_torch_array;

/* Finds the floats [entries, width] in a file that torch.save() wrote.  It must hold exactly
 * one array that they could be; anything else is GLMQ_E_FORMAT, with what is there. */
glmq_status glmq_torch_find(const uint8_t *file, size_t len, uint64_t entries, uint64_t width,
                            glmq_torch_array *out, glmq_error *err);
#endif
