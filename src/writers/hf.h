/* What the Hugging Face writers share: arrays per slot, the modules that a
 * quantization_config speaks of, config.json, side files. */
#ifndef GLMQ_WRITERS_HF_H
#define GLMQ_WRITERS_HF_H

#include "base/text.h"
#include "convert/plan.h"
#include "glmq/graph.h"

/* ---- hf.c ---- */

/* Adds the arrays and items of every tensor: quantized ones as MODULE.suffix for each slot
 * of their codec, plain ones under their logical name. */
glmq_status glmq_hf_plan_tensors(glmq_plan *p, glmq_error *err);

/* What config.json shall say. */
typedef struct glmq_hf_config {
    enum { HF_QUANT_NONE, HF_QUANT_SET, HF_QUANT_KEEP } quant;
    const char *quant_text; /* SET: the JSON text of quantization_config               */
    glmq_dtype dtype;       /* dtype of a plain model; NONE: leave what it says         */
} glmq_hf_config;

/* config.json (spliced, or rebuilt from a GGUF), tokenizer files, generation config, chat
 * template, and every other side file that speaks of the model and not of its encoding. */
glmq_status glmq_hf_plan_side_files(glmq_plan *p, const glmq_hf_config *config, glmq_error *err);

/* Appends `INDENT"KEY": ["PREFIXentry", …]`, an entry a line, `step` spaces further in. */
void glmq_hf_add_list(glmq_text *t, const char *key, const char *const *list, size_t count,
                      const char *prefix, const char *indent, int step);

/* ---- tq_config.c ---- */

/* tq_config.json, where a copy of TurboQuant tensors makes the source's untrue. */
glmq_status glmq_hf_plan_tq_config(glmq_plan *p, glmq_error *err);

/* ---- hf_config.c ---- */

/* config.json of the target into *out (empty when neither source nor target has one). */
glmq_status glmq_hf_config_text(glmq_text *out, const glmq_plan *p, const glmq_hf_config *config,
                                glmq_error *err);
/* Tokenizer, chat template and generation config out of a GGUF's metadata. */
glmq_status glmq_hf_plan_gguf_files(glmq_plan *p, glmq_error *err);

/* ---- hf_modules.c ---- */

/* Module paths (no ".weight") of the plain matrices that a quantized checkpoint keeps, and
 * "….experts" where all of a layer's are kept (loaders ask for the parent); in name order.
 * The list is in the plan's arena. */
glmq_status glmq_hf_kept_modules(glmq_plan *p, const char ***list, size_t *count, glmq_error *err);

/* The encodings of the target's modules, most frequent first, without what `same` takes for
 * equal. */
enum { HF_GROUP_NONE = -2, HF_GROUP_KEPT = -1 };
typedef struct glmq_hf_groups {
    int32_t *of; /* per graph tensor: HF_GROUP_…, or an encoding below        */
    glmq_encoding *encoding;
    size_t count;
} glmq_hf_groups;
glmq_status glmq_hf_group(glmq_plan *p, glmq_hf_groups *out,
                          int (*same)(const glmq_encoding *, const glmq_encoding *),
                          glmq_error *err);

/* Anchored regular expressions that match the modules of one group and no other, also under
 * the names of parents and fused modules that serving engines look up. */
glmq_status glmq_hf_patterns(glmq_plan *p, const glmq_hf_groups *groups, int32_t group,
                             const char ***list, size_t *count, glmq_error *err);

/* Notes in the reason of each tensor that it is encoded unlike one that serving engines
 * fuse it with (q/k/v, gate/up). */
glmq_status glmq_hf_note_unlike(glmq_plan *p, glmq_error *err);
#endif
