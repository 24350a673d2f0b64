/* Hyper-parameters, from config.json or from GGUF metadata, by one table
 * (hparams.c): field, type, Hugging Face keys, GGUF key, which models, default. */
#ifndef GLMQ_MODELS_HPARAMS_H
#define GLMQ_MODELS_HPARAMS_H

#include "base/arena.h"
#include "base/json.h"
#include "glmq/error.h"
#include <stdint.h>

typedef enum glmq_model {
    GLMQ_GLM4_MOE,
    GLMQ_GLM4_MOE_LITE,
    GLMQ_GLM_MOE_DSA,
    GLMQ_MODELS
} glmq_model;

/* One architecture: identity and structure.  The three rows live in glm4_moe.c,
 * glm4_moe_lite.c and glm_moe_dsa.c, with the name tables. */
typedef struct glmq_arch {
    glmq_model model;
    const char *hf_class;   /* "Glm4MoeForCausalLM"      */
    const char *model_type; /* "glm4_moe"                */
    const char *gguf;       /* "glm4moe"                 */
    int mla, dsa;
    const struct glmq_name_row *names;    /* names.h; ends with a NULL pattern */
    const struct glmq_config_key *config; /* hparams_table.h; ends with a NULL key */
} glmq_arch;

const glmq_arch *glmq_arch_by_model_type(const char *model_type); /* NULL if unknown */
const glmq_arch *glmq_arch_by_gguf(const char *architecture);
const glmq_arch *glmq_arch_by_class(const char *hf_class);

typedef struct glmq_hparams {
    const glmq_arch *arch;
    uint64_t hidden, layers, mtp_layers, vocab, heads, kv_heads, head_dim;
    uint64_t intermediate, moe_intermediate, experts, experts_used, shared_experts;
    uint64_t groups, groups_used, dense_layers, max_positions;
    uint64_t q_lora, kv_lora, qk_nope, qk_rope, v_head;
    uint64_t index_heads, index_dim, index_topk;
    uint64_t index_topk_freq, index_skip_topk_offset;
    double rope_theta, partial_rotary, rms_eps, routed_scale;
    int norm_topk, attention_bias, qk_norm, tied;
    uint8_t *indexer_full;   /* `layers` entries, dsa only: 1 full, 0 shared            */
    uint8_t *layer_sparse;   /* `layers` entries: 1 MoE, 0 dense                        */
    uint64_t *layer_experts; /* `layers` entries, or NULL: `experts` in every layer   */
} glmq_hparams;

/* From config.json.  GLMQ_E_FORMAT names the key that is missing or absurd (counts are
 * bounded by limits.h before anything is sized by them), GLMQ_E_UNSUPPORTED another
 * architecture, rope type, scoring function or activation. */
glmq_status glmq_hparams_from_config(glmq_hparams *h, glmq_arena *arena, const cJSON *config,
                                     glmq_error *err);

/* Routed experts of a layer (MTP layers included); 0 for a dense one. */
uint64_t glmq_hparams_experts(const glmq_hparams *h, int64_t layer);

struct glmq_gguf;
glmq_status glmq_hparams_from_gguf(glmq_hparams *h, glmq_arena *arena, const struct glmq_gguf *kv,
                                   glmq_error *err);

/* A config.json made from hyper-parameters (a GGUF has none): the published keys, f32
 * values in the shortest text that reads back the same. */
glmq_status glmq_hparams_to_config(glmq_text *out, const glmq_hparams *h,
                                   const struct glmq_gguf *kv, glmq_error *err);

/* Likewise generation_config.json: stop tokens and sampling. */
glmq_status glmq_hparams_to_generation_config(glmq_text *out, const glmq_hparams *h,
                                              const struct glmq_gguf *kv, glmq_error *err);

/* The architecture keys of a GGUF, through a sink (see writers/layout.h).  `keep` is a set
 * of: */
enum {
    GLMQ_GGUF_KEEP_MTP = 1,  /* the MTP layers are in the file                         */
    GLMQ_GGUF_FUSED_KV_B = 2 /* attn_kv_b is one tensor                                */
};
struct glmq_gguf_kv;
glmq_status glmq_hparams_to_gguf(struct glmq_gguf_kv *kv, const glmq_hparams *h, int keep,
                                 glmq_error *err);
/* Is this a key that glmq_hparams_to_gguf writes, or leaves out on purpose?  1 or 0. */
int glmq_hparams_own_key(const glmq_hparams *h, const char *key, size_t len);
#endif
