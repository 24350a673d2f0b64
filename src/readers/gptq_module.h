/* Modules of GPTQ in the checkpoint of another format (the 4-bit spine of a VQ checkpoint). */
#ifndef GLMQ_READERS_GPTQ_MODULE_H
#define GLMQ_READERS_GPTQ_MODULE_H

#include "reader.h"

typedef struct glmq_gptq_modules glmq_gptq_modules;

/* Zero points are v1 from a packer that ORs (GPTQ_V1_OR), unless packing_format says v2.
 * Whatever the status, to be ended. */
glmq_status glmq_gptq_begin(glmq_gptq_modules **out, glmq_graph *g, const glmq_catalog *cat,
                            glmq_error *err);
/* A module with slots as in GPTQ: one that lacks a required one is GLMQ_E_FORMAT.  `entry`: what
 * the config says of it (NULL: nothing), and whether it was found by a pattern: one that is
 * not true is noted then, not refused. */
glmq_status glmq_gptq_add(glmq_gptq_modules *modules, const glmq_module *m, const cJSON *entry,
                          int searched, glmq_error *err);
/* Notes what the config says otherwise. */
glmq_status glmq_gptq_finish(const glmq_gptq_modules *modules, glmq_error *err);
void glmq_gptq_end(glmq_gptq_modules *modules);
#endif
