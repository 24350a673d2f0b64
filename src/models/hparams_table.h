/* THE table of hyper-parameters: one row per field of glmq_hparams, used by the readers of
 * config.json (hparams.c) and of GGUF metadata (hparams_gguf.c), and by both writers. */
#ifndef GLMQ_MODELS_HPARAMS_TABLE_H
#define GLMQ_MODELS_HPARAMS_TABLE_H

#include "hparams.h"
#include <stddef.h>

typedef enum glmq_hp_type {
    HP_COUNT, /* uint64_t field */
    HP_REAL,  /* double field   */
    HP_FLAG   /* int field      */
} glmq_hp_type;

enum { /* glmq_hp_row.models, and config keys: a bit per glmq_model */
       HP_GLM4 = 1 << GLMQ_GLM4_MOE,
       HP_LITE = 1 << GLMQ_GLM4_MOE_LITE,
       HP_DSA = 1 << GLMQ_GLM_MOE_DSA,
       HP_MLA = HP_LITE | HP_DSA,
       HP_ALL = HP_GLM4 | HP_MLA
};

enum {                   /* glmq_hp_row.flags */
       HP_REQUIRED = 1,  /* config.json must have it                              */
       HP_NULL_ZERO = 2, /* null means 0, not "absent"                            */
       HP_MAY_BE_0 = 4   /* a count that may be 0                                 */
};

enum { HP_ALIASES = 3 };

typedef struct glmq_hp_row {
    size_t field; /* offset in glmq_hparams                                   */
    glmq_hp_type type;
    const char *hf[HP_ALIASES]; /* keys of config.json, "a.b" nested; the first that is there */
    const char *published;      /* the key that a writer uses                               */
    const char *gguf;           /* key behind "<architecture>."; NULL: derived, see below   */
    unsigned models, flags;
    double fallback[GLMQ_MODELS]; /* the value when the key is absent and not required      */
    double max;                   /* of a count                                               */
} glmq_hp_row;

/* GGUF keys that are derived, not copied: layers = block_count - nextn_predict_layers;
 * partial_rotary (glm4_moe) = rope.dimension_count / head_dim; qk_nope =
 * attention.key_length_mla - rope.dimension_count; kv_heads of MLA = heads; vocab without
 * its key = tokens of the tokenizer; attention_bias, qk_norm, tied: from the tensors. */
extern const glmq_hp_row glmq_hp_rows[];
extern const size_t glmq_hp_row_count;

/* The row of a field: HP_ROW(rope_theta). */
const glmq_hp_row *glmq_hp_row_of(size_t field);
#define HP_ROW(name) glmq_hp_row_of(offsetof(glmq_hparams, name))

/* The keys of a published config.json in their order, per architecture (glmq_arch.config,
 * ends with a NULL key).  `json` is a literal; NULL: the value of the row whose `published`
 * key this is, or one that the writer makes itself (eos_token_id, indexer_types, …). */
typedef struct glmq_config_key {
    const char *key, *json;
} glmq_config_key;

/* What follows from the fields once they are read (both readers end with it): checks the
 * counts against each other, fills kv_heads of MLA models and, where they are still NULL,
 * layer_sparse (from dense_layers) and indexer_full (from freq and offset). */
glmq_status glmq_hparams_complete(glmq_hparams *h, glmq_arena *arena, glmq_error *err);
#endif
