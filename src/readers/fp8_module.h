/* FP8 modules are the same in two kinds of checkpoints. */
#ifndef GLMQ_READERS_FP8_MODULE_H
#define GLMQ_READERS_FP8_MODULE_H

#include "reader.h"

/* Adds a module whose `plain` is E4M3 and whose SCALES slot is its scale.  `block`: rows and
 * columns of a block, where the config names any (NULL: none does). */
glmq_status glmq_hf_add_fp8(glmq_graph *g, const glmq_catalog *cat, const glmq_module *m,
                            const uint64_t block[2], glmq_error *err);
#endif
