/* Rows that several architectures' name tables share.  Each macro expands to rows of
 * glmq_name_row: pattern, ecosystem, role, split, where, leaf, alias. */
#ifndef GLMQ_MODELS_NAMES_TABLE_H
#define GLMQ_MODELS_NAMES_TABLE_H

#include "names.h"

/* clang-format off */
#define HF_TOP(name, role) { name, NAMES_HF, GLMQ_ROLE_##role, SPLIT_NONE, WHERE_TOP, 0, 0 }
#define HF_ROW(name, role) \
    { "model.layers.{L}." name, NAMES_HF, GLMQ_ROLE_##role, SPLIT_NONE, WHERE_LAYER, 0, 0 }
#define HF_LEAF(name, role) \
    { "model.layers.{L}." name, NAMES_HF, GLMQ_ROLE_##role, SPLIT_NONE, WHERE_LAYER, 1, 0 }
#define HF_ALIAS(name, role) \
    { "model.layers.{L}." name, NAMES_HF, GLMQ_ROLE_##role, SPLIT_NONE, WHERE_LAYER, 0, 1 }
#define HF_LEAF_ALIAS(name, role) \
    { "model.layers.{L}." name, NAMES_HF, GLMQ_ROLE_##role, SPLIT_NONE, WHERE_LAYER, 1, 1 }
#define HF_FUSED(name, role, split) \
    { "model.layers.{L}." name, NAMES_HF, GLMQ_ROLE_##role, split, WHERE_LAYER, 1, 1 }
#define HF_STACKED(name, role) \
    { "model.layers.{L}." name, NAMES_HF, GLMQ_ROLE_##role, SPLIT_EXPERTS, WHERE_LAYER, 0, 1 }
#define HF_MTP(name, role) \
    { "model.layers.{L}." name, NAMES_HF, GLMQ_ROLE_##role, SPLIT_NONE, WHERE_MTP, 0, 0 }

#define GG_TOP(name, role) { name, NAMES_GGUF, GLMQ_ROLE_##role, SPLIT_NONE, WHERE_TOP, 1, 0 }
#define GG_ROW(name, role) \
    { "blk.{L}." name, NAMES_GGUF, GLMQ_ROLE_##role, SPLIT_NONE, WHERE_LAYER, 1, 0 }
#define GG_ALIAS(name, role) \
    { "blk.{L}." name, NAMES_GGUF, GLMQ_ROLE_##role, SPLIT_NONE, WHERE_LAYER, 1, 1 }
#define GG_SPLIT(name, role, split) \
    { "blk.{L}." name, NAMES_GGUF, GLMQ_ROLE_##role, split, WHERE_LAYER, 1, 0 }
#define GG_SPLIT_ALIAS(name, role, split) \
    { "blk.{L}." name, NAMES_GGUF, GLMQ_ROLE_##role, split, WHERE_LAYER, 1, 1 }
#define GG_MTP(name, role) \
    { "blk.{L}.nextn." name, NAMES_GGUF, GLMQ_ROLE_##role, SPLIT_NONE, WHERE_MTP, 1, 0 }

/* What every GLM MoE model has, Hugging Face side. */
#define NAMES_HF_COMMON                                                    \
    HF_TOP("model.embed_tokens", EMBED),                                   \
    HF_TOP("model.norm", NORM),                                            \
    HF_TOP("lm_head", LM_HEAD),                                            \
    HF_ROW("mlp.experts.{E}.gate_proj", EXPERTS_GATE),                     \
    HF_ROW("mlp.experts.{E}.up_proj", EXPERTS_UP),                         \
    HF_ROW("mlp.experts.{E}.down_proj", EXPERTS_DOWN),                     \
    HF_FUSED("mlp.experts.gate_up_proj", EXPERTS_GATE, SPLIT_EXPERTS_GATE_UP), \
    HF_FUSED("mlp.experts.down_proj", EXPERTS_DOWN, SPLIT_EXPERTS),        \
    HF_FUSED("mlp.experts.w13_weight", EXPERTS_GATE, SPLIT_EXPERTS_GATE_UP), \
    HF_FUSED("mlp.experts.w2_weight", EXPERTS_DOWN, SPLIT_EXPERTS),        \
    HF_FUSED("mlp.experts.w13", EXPERTS_GATE, SPLIT_EXPERTS_GATE_UP),      \
    HF_FUSED("mlp.experts.w2", EXPERTS_DOWN, SPLIT_EXPERTS),               \
    HF_STACKED("mlp.switch_mlp.gate_proj", EXPERTS_GATE),                  \
    HF_STACKED("mlp.switch_mlp.up_proj", EXPERTS_UP),                      \
    HF_STACKED("mlp.switch_mlp.down_proj", EXPERTS_DOWN),                  \
    HF_ROW("input_layernorm", ATTN_NORM),                                  \
    HF_ROW("post_attention_layernorm", FFN_NORM),                          \
    HF_ROW("self_attn.o_proj", ATTN_O),                                    \
    HF_LEAF("self_attn.o_proj.bias", ATTN_O_BIAS),                         \
    HF_LEAF("self_attn.k_scale", ATTN_K_SCALE),                            \
    HF_LEAF("self_attn.v_scale", ATTN_V_SCALE),                            \
    HF_LEAF_ALIAS("self_attn.k_proj.k_scale", ATTN_K_SCALE),               \
    HF_LEAF_ALIAS("self_attn.v_proj.v_scale", ATTN_V_SCALE),               \
    HF_LEAF_ALIAS("self_attn.attn.k_scale", ATTN_K_SCALE),                 \
    HF_LEAF_ALIAS("self_attn.attn.v_scale", ATTN_V_SCALE),                 \
    HF_ROW("mlp.gate_proj", MLP_GATE),                                     \
    HF_ROW("mlp.up_proj", MLP_UP),                                         \
    HF_ROW("mlp.down_proj", MLP_DOWN),                                     \
    HF_ROW("mlp.gate", ROUTER),                                            \
    HF_LEAF("mlp.gate.e_score_correction_bias", ROUTER_BIAS),              \
    HF_LEAF_ALIAS("mlp.e_score_correction_bias", ROUTER_BIAS),             \
    HF_ROW("mlp.shared_experts.gate_proj", SHARED_GATE),                   \
    HF_ROW("mlp.shared_experts.up_proj", SHARED_UP),                       \
    HF_ROW("mlp.shared_experts.down_proj", SHARED_DOWN),                   \
    HF_MTP("enorm", MTP_ENORM),                                            \
    HF_MTP("hnorm", MTP_HNORM),                                            \
    HF_MTP("eh_proj", MTP_EH_PROJ),                                        \
    HF_MTP("shared_head.norm", MTP_NORM),                                  \
    HF_MTP("embed_tokens", MTP_EMBED),                                     \
    HF_MTP("shared_head.head", MTP_HEAD)

/* The MLA attention of glm4_moe_lite and glm_moe_dsa. */
#define NAMES_HF_MLA                                                       \
    HF_ROW("self_attn.q_proj", ATTN_Q),                                    \
    HF_ROW("self_attn.q_a_proj", ATTN_Q_A),                                \
    HF_LEAF("self_attn.q_a_proj.bias", ATTN_Q_A_BIAS),                     \
    HF_ROW("self_attn.q_a_layernorm", ATTN_Q_A_NORM),                      \
    HF_ROW("self_attn.q_b_proj", ATTN_Q_B),                                \
    HF_ROW("self_attn.kv_a_proj_with_mqa", ATTN_KV_A),                     \
    HF_LEAF("self_attn.kv_a_proj_with_mqa.bias", ATTN_KV_A_BIAS),          \
    HF_ROW("self_attn.kv_a_layernorm", ATTN_KV_A_NORM),                    \
    HF_ROW("self_attn.kv_b_proj", ATTN_KV_B)

#define NAMES_GGUF_COMMON                                                  \
    GG_TOP("token_embd.weight", EMBED),                                    \
    GG_TOP("output_norm.weight", NORM),                                    \
    GG_TOP("output.weight", LM_HEAD),                                      \
    GG_SPLIT("ffn_gate_exps.weight", EXPERTS_GATE, SPLIT_EXPERTS),         \
    GG_SPLIT("ffn_up_exps.weight", EXPERTS_UP, SPLIT_EXPERTS),             \
    GG_SPLIT("ffn_down_exps.weight", EXPERTS_DOWN, SPLIT_EXPERTS),         \
    GG_SPLIT_ALIAS("ffn_gate_up_exps.weight", EXPERTS_GATE, SPLIT_EXPERTS_GATE_UP), \
    GG_ALIAS("ffn_gate.{E}.weight", EXPERTS_GATE),                         \
    GG_ALIAS("ffn_up.{E}.weight", EXPERTS_UP),                             \
    GG_ALIAS("ffn_down.{E}.weight", EXPERTS_DOWN),                         \
    GG_ROW("attn_norm.weight", ATTN_NORM),                                 \
    GG_ROW("attn_output.weight", ATTN_O),                                  \
    GG_ROW("ffn_gate.weight", MLP_GATE),                                   \
    GG_ROW("ffn_up.weight", MLP_UP),                                       \
    GG_ROW("ffn_down.weight", MLP_DOWN),                                   \
    GG_ROW("ffn_gate_inp.weight", ROUTER),                                 \
    GG_ROW("exp_probs_b.bias", ROUTER_BIAS),                               \
    GG_ALIAS("exp_probs_b", ROUTER_BIAS),                                  \
    GG_ALIAS("exp_probs_b.weight", ROUTER_BIAS),                           \
    GG_ROW("ffn_gate_shexp.weight", SHARED_GATE),                          \
    GG_ROW("ffn_up_shexp.weight", SHARED_UP),                              \
    GG_ROW("ffn_down_shexp.weight", SHARED_DOWN),                          \
    GG_MTP("enorm.weight", MTP_ENORM),                                     \
    GG_MTP("hnorm.weight", MTP_HNORM),                                     \
    GG_MTP("eh_proj.weight", MTP_EH_PROJ),                                 \
    GG_MTP("shared_head_norm.weight", MTP_NORM),                           \
    GG_MTP("embed_tokens.weight", MTP_EMBED),                              \
    GG_MTP("shared_head_head.weight", MTP_HEAD)

#define NAMES_GGUF_MLA                                                     \
    GG_ROW("ffn_norm.weight", FFN_NORM),                                   \
    GG_ROW("attn_q.weight", ATTN_Q),                                       \
    GG_ROW("attn_q_a.weight", ATTN_Q_A),                                   \
    GG_ROW("attn_q_a_norm.weight", ATTN_Q_A_NORM),                         \
    GG_ROW("attn_q_b.weight", ATTN_Q_B),                                   \
    GG_ROW("attn_kv_a_mqa.weight", ATTN_KV_A),                             \
    GG_ROW("attn_kv_a_norm.weight", ATTN_KV_A_NORM),                       \
    GG_SPLIT("attn_k_b.weight", ATTN_KV_B, SPLIT_K_B),                     \
    GG_SPLIT("attn_v_b.weight", ATTN_KV_B, SPLIT_V_B),                     \
    GG_ROW("attn_kv_b.weight", ATTN_KV_B)
/* clang-format on */

#endif
