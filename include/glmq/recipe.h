/* A recipe: which encoding each tensor shall have in the target.
 *
 * It is a target ("gguf:Q8_0", "compressed-tensors:int4,group=32", "bf16") and an
 * ordered list of rules; the last rule that matches a tensor wins. */
#ifndef GLMQ_RECIPE_H
#define GLMQ_RECIPE_H

#include "graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct glmq_recipe glmq_recipe;

/* Parses "--to".  Unknown formats and options are GLMQ_E_ARG and name the nearest. */
GLMQ_API glmq_status glmq_recipe_open(glmq_recipe **out, const char *to, glmq_error *err);
GLMQ_API void glmq_recipe_close(glmq_recipe *r);

/* "GLOB=ENC": GLOB matches a logical name or a role as a whole, '*' crosses dots. */
GLMQ_API glmq_status glmq_recipe_set(glmq_recipe *r, const char *rule, glmq_error *err);
/* Keeps matching tensors in their source precision. */
GLMQ_API glmq_status glmq_recipe_keep(glmq_recipe *r, const char *glob, glmq_error *err);
/* Appends the rules of a JSON file: { "rules": [ {"role": GLOB, "layers": "3-77",
 * "name": GLOB, "to": ENC}, … ] } or the bare list. */
GLMQ_API glmq_status glmq_recipe_load(glmq_recipe *r, const char *path, glmq_error *err);

#ifdef __cplusplus
}
#endif
#endif
