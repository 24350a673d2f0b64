/* Hugging Face writers share this: arrays per slot, config.json, side files. */
#ifndef GLMQ_WRITERS_HF_H
#define GLMQ_WRITERS_HF_H

#include "base/text.h"
#include "convert/plan.h"
#include "glmq/graph.h"

/* Suffix of a slot's array ("qweight"; "weight" for the plain case). */
typedef struct glmq_hf_slots { const char *suffix[GLMQ_SLOTS]; } glmq_hf_slots;

/* Adds the arrays and items of every tensor: quantized ones by `slots` of the codec, plain
 * ones under their logical name. */
glmq_status glmq_hf_plan_tensors(glmq_plan *p, const glmq_hf_slots *slots, glmq_error *err);

/* config.json (spliced, or rebuilt from a GGUF), tokenizer files, generation config, chat
 * template.  `quantization_config` is JSON text, or NULL to remove it. */
glmq_status glmq_hf_plan_side_files(glmq_plan *p, const char *quantization_config, glmq_error *err);

/* Module paths (no ".weight") of the plain 2-D tensors that a quantized checkpoint keeps,
 * in name order; the list is in the plan's arena. */
glmq_status glmq_hf_kept_modules(glmq_plan *p, const char ***list, size_t *count, glmq_error *err);
#endif
