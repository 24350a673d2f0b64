/* Modules of four-bit floats are the same in several kinds of checkpoints. */
#ifndef GLMQ_READERS_FP4_MODULE_H
#define GLMQ_READERS_FP4_MODULE_H

#include "reader.h"

/* Adds a module whose codes (two to a byte) are `codes`: E4M3 scales make it NVFP4, E8M0 ones
 * MXFP4.  `variant`: FP4_MODELOPT, FP4_CT or FP4_INV. */
glmq_status glmq_hf_add_fp4(glmq_graph *g, const glmq_catalog *cat, const glmq_module *m,
                            const glmq_array *codes, int variant, glmq_error *err);
#endif
