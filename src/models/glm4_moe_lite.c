/* glm4_moe_lite: GLM-4.7-Flash.  MLA; in a GGUF it is called deepseek2. */
#include "hparams_table.h"
#include "names_table.h"

static const glmq_name_row names[] = {
    NAMES_HF_COMMON, NAMES_HF_MLA, NAMES_GGUF_COMMON, NAMES_GGUF_MLA, { .pattern = NULL },
};

static const glmq_config_key config[] = {
    { "architectures", NULL },
    { "attention_bias", NULL },
    { "attention_dropout", "0.0" },
    { "pad_token_id", NULL },
    { "eos_token_id", NULL },
    { "hidden_act", "\"silu\"" },
    { "hidden_size", NULL },
    { "intermediate_size", NULL },
    { "max_position_embeddings", NULL },
    { "mlp_layer_types", NULL },
    { "model_type", NULL },
    { "moe_intermediate_size", NULL },
    { "topk_method", "\"noaux_tc\"" },
    { "norm_topk_prob", NULL },
    { "num_attention_heads", NULL },
    { "n_group", NULL },
    { "topk_group", NULL },
    { "n_routed_experts", NULL },
    { "n_shared_experts", NULL },
    { "routed_scaling_factor", NULL },
    { "num_experts_per_tok", NULL },
    { "first_k_dense_replace", NULL },
    { "num_hidden_layers", NULL },
    { "num_key_value_heads", NULL },
    { "num_nextn_predict_layers", NULL },
    { "partial_rotary_factor", "1.0" },
    { "rms_norm_eps", NULL },
    { "rope_scaling", "null" },
    { "rope_theta", NULL },
    { "tie_word_embeddings", NULL },
    { "dtype", NULL },
    { "q_lora_rank", NULL },
    { "kv_lora_rank", NULL },
    { "qk_nope_head_dim", NULL },
    { "qk_rope_head_dim", NULL },
    { "v_head_dim", NULL },
    { "vocab_size", NULL },
    { NULL, NULL },
};

const glmq_arch glmq_arch_glm4_moe_lite = {
    .model = GLMQ_GLM4_MOE_LITE,
    .hf_class = "Glm4MoeLiteForCausalLM",
    .model_type = "glm4_moe_lite",
    .gguf = "deepseek2",
    .mla = 1,
    .names = names,
    .config = config,
};
