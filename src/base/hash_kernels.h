/* The loops of hashing, compiled once per instruction set.  All work on the same state. */
#ifndef GLMQ_BASE_HASH_KERNELS_H
#define GLMQ_BASE_HASH_KERNELS_H

#include "base/cpu.h"
#include <stddef.h>

typedef struct glmq_hash_kernels {
    void (*add)(void *state, const void *data, size_t len);
    void (*add_values)(void *state, const float *w, size_t n);
} glmq_hash_kernels;

extern const glmq_hash_kernels glmq_hash_base, glmq_hash_avx2, glmq_hash_avx512;

/* Those of a level that the machine has. */
const glmq_hash_kernels *glmq_hash_kernels_at(glmq_isa_level level);
#endif
