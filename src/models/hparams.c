/* Hyper-parameters: the table, and config.json read by it. */
#include "hparams_table.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include <math.h>
#include <string.h>

enum { DIM_MAX = 1 << 24, MTP_MAX = 64 };

#define F(name) offsetof(glmq_hparams, name)

/* Fallbacks are those of the published model classes, in the order glm4_moe,
 * glm4_moe_lite, glm_moe_dsa. */
/* clang-format off */
const glmq_hp_row glmq_hp_rows[] = {
    { F(hidden), HP_COUNT, { "hidden_size" }, "hidden_size", "embedding_length", HP_ALL,
      HP_REQUIRED, { 0 }, DIM_MAX },
    { F(layers), HP_COUNT, { "num_hidden_layers" }, "num_hidden_layers", NULL, HP_ALL,
      HP_REQUIRED, { 0 }, GLMQ_LAYERS_MAX - MTP_MAX },
    { F(mtp_layers), HP_COUNT, { "num_nextn_predict_layers", "num_mtp_layers" },
      "num_nextn_predict_layers", "nextn_predict_layers", HP_ALL, HP_MAY_BE_0, { 1, 1, 1 },
      MTP_MAX },
    { F(vocab), HP_COUNT, { "vocab_size" }, "vocab_size", "vocab_size", HP_ALL, HP_REQUIRED,
      { 0 }, DIM_MAX },
    { F(heads), HP_COUNT, { "num_attention_heads" }, "num_attention_heads",
      "attention.head_count", HP_ALL, HP_REQUIRED, { 0 }, 65536 },
    { F(kv_heads), HP_COUNT, { "num_key_value_heads" }, "num_key_value_heads",
      "attention.head_count_kv", HP_GLM4, 0, { 8 }, 65536 },
    { F(head_dim), HP_COUNT, { "head_dim" }, "head_dim", "attention.key_length", HP_GLM4,
      HP_MAY_BE_0, { 0 }, 65536 },
    { F(intermediate), HP_COUNT, { "intermediate_size" }, "intermediate_size",
      "feed_forward_length", HP_ALL, HP_REQUIRED, { 0 }, DIM_MAX },
    { F(moe_intermediate), HP_COUNT, { "moe_intermediate_size" }, "moe_intermediate_size",
      "expert_feed_forward_length", HP_ALL, HP_REQUIRED, { 0 }, DIM_MAX },
    { F(experts), HP_COUNT, { "n_routed_experts", "num_local_experts", "num_experts" },
      "n_routed_experts", "expert_count", HP_ALL, HP_REQUIRED, { 0 }, GLMQ_EXPERTS_MAX },
    { F(experts_used), HP_COUNT, { "num_experts_per_tok" }, "num_experts_per_tok",
      "expert_used_count", HP_ALL, 0, { 8, 4, 8 }, GLMQ_EXPERTS_MAX },
    { F(shared_experts), HP_COUNT, { "n_shared_experts" }, "n_shared_experts",
      "expert_shared_count", HP_ALL, HP_MAY_BE_0, { 1, 1, 1 }, 4096 },
    { F(groups), HP_COUNT, { "n_group" }, "n_group", "expert_group_count", HP_ALL, 0,
      { 1, 1, 1 }, GLMQ_EXPERTS_MAX },
    { F(groups_used), HP_COUNT, { "topk_group" }, "topk_group", "expert_group_used_count",
      HP_ALL, 0, { 1, 1, 1 }, GLMQ_EXPERTS_MAX },
    { F(dense_layers), HP_COUNT, { "first_k_dense_replace" }, "first_k_dense_replace",
      "leading_dense_block_count", HP_ALL, HP_MAY_BE_0, { 1, 1, 3 }, GLMQ_LAYERS_MAX },
    { F(max_positions), HP_COUNT, { "max_position_embeddings" }, "max_position_embeddings",
      "context_length", HP_ALL, 0, { 131072, 202752, 202752 }, 4294967295.0 },
    { F(q_lora), HP_COUNT, { "q_lora_rank" }, "q_lora_rank", "attention.q_lora_rank", HP_MLA,
      HP_NULL_ZERO | HP_MAY_BE_0, { 0, 768, 2048 }, DIM_MAX },
    { F(kv_lora), HP_COUNT, { "kv_lora_rank" }, "kv_lora_rank", "attention.kv_lora_rank", HP_MLA,
      0, { 0, 512, 512 }, DIM_MAX },
    { F(qk_nope), HP_COUNT, { "qk_nope_head_dim" }, "qk_nope_head_dim", NULL, HP_MLA, 0,
      { 0, 192, 192 }, 65536 },
    { F(qk_rope), HP_COUNT, { "qk_rope_head_dim" }, "qk_rope_head_dim", "rope.dimension_count",
      HP_MLA, 0, { 0, 64, 64 }, 65536 },
    { F(v_head), HP_COUNT, { "v_head_dim" }, "v_head_dim", "attention.value_length_mla", HP_MLA,
      0, { 0, 256, 256 }, 65536 },
    { F(index_heads), HP_COUNT, { "index_n_heads" }, "index_n_heads",
      "attention.indexer.head_count", HP_DSA, 0, { 0, 0, 32 }, 65536 },
    { F(index_dim), HP_COUNT, { "index_head_dim" }, "index_head_dim",
      "attention.indexer.key_length", HP_DSA, 0, { 0, 0, 128 }, 65536 },
    { F(index_topk), HP_COUNT, { "index_topk" }, "index_topk", "attention.indexer.top_k", HP_DSA,
      0, { 0, 0, 2048 }, 4294967295.0 },
    { F(index_topk_freq), HP_COUNT, { "index_topk_freq" }, "index_topk_freq", NULL, HP_DSA,
      HP_MAY_BE_0, { 0, 0, 1 }, GLMQ_LAYERS_MAX },
    { F(index_skip_topk_offset), HP_COUNT, { "index_skip_topk_offset" },
      "index_skip_topk_offset", NULL, HP_DSA, HP_MAY_BE_0, { 0, 0, 2 }, GLMQ_LAYERS_MAX },
    { F(rope_theta), HP_REAL, { "rope_parameters.rope_theta", "rope_theta" }, "rope_theta",
      "rope.freq_base", HP_ALL, 0, { 1e4, 1e6, 1e6 }, 0 },
    { F(partial_rotary), HP_REAL,
      { "rope_parameters.partial_rotary_factor", "partial_rotary_factor" },
      "partial_rotary_factor", NULL, HP_GLM4, 0, { 0.5 }, 0 },
    { F(rms_eps), HP_REAL, { "rms_norm_eps" }, "rms_norm_eps",
      "attention.layer_norm_rms_epsilon", HP_ALL, 0, { 1e-5, 1e-5, 1e-5 }, 0 },
    { F(routed_scale), HP_REAL, { "routed_scaling_factor" }, "routed_scaling_factor",
      "expert_weights_scale", HP_ALL, 0, { 1.0, 1.8, 2.5 }, 0 },
    { F(norm_topk), HP_FLAG, { "norm_topk_prob" }, "norm_topk_prob", "expert_weights_norm",
      HP_ALL, 0, { 1, 1, 1 }, 0 },
    { F(attention_bias), HP_FLAG, { "attention_bias" }, "attention_bias", NULL, HP_ALL, 0,
      { 0 }, 0 },
    { F(qk_norm), HP_FLAG, { "use_qk_norm" }, "use_qk_norm", NULL, HP_GLM4, 0, { 0 }, 0 },
    { F(tied), HP_FLAG, { "tie_word_embeddings" }, "tie_word_embeddings", NULL, HP_ALL, 0,
      { 0 }, 0 },
};
/* clang-format on */
const size_t glmq_hp_row_count = GLMQ_COUNT(glmq_hp_rows);

extern const glmq_arch glmq_arch_glm4_moe, glmq_arch_glm4_moe_lite, glmq_arch_glm_moe_dsa;

static const glmq_arch *const archs[GLMQ_MODELS] = {
    &glmq_arch_glm4_moe,
    &glmq_arch_glm4_moe_lite,
    &glmq_arch_glm_moe_dsa,
};

const glmq_hp_row *glmq_hp_row_of(size_t field)
{
    for (size_t i = 0; i < glmq_hp_row_count; i++)
        if (glmq_hp_rows[i].field == field) return &glmq_hp_rows[i];
    return NULL;
}

const glmq_arch *glmq_arch_by_model_type(const char *model_type)
{
    for (size_t i = 0; i < GLMQ_COUNT(archs); i++)
        if (strcmp(archs[i]->model_type, model_type) == 0) return archs[i];
    return NULL;
}

const glmq_arch *glmq_arch_by_gguf(const char *architecture)
{
    for (size_t i = 0; i < GLMQ_COUNT(archs); i++)
        if (strcmp(archs[i]->gguf, architecture) == 0) return archs[i];
    return NULL;
}

const glmq_arch *glmq_arch_by_class(const char *hf_class)
{
    for (size_t i = 0; i < GLMQ_COUNT(archs); i++)
        if (strcmp(archs[i]->hf_class, hf_class) == 0) return archs[i];
    return NULL;
}

uint64_t glmq_hparams_experts(const glmq_hparams *h, int64_t layer)
{
    if (layer < 0) return 0;
    if ((uint64_t)layer >= h->layers) return h->experts;
    if (!h->layer_sparse[layer]) return 0;
    return h->layer_experts ? h->layer_experts[layer] : h->experts;
}

/* ---- values of config.json ---- */

static glmq_status read_count(const cJSON *node, const glmq_hp_row *row, uint64_t *out,
                              glmq_error *err)
{
    if (!glmq_json_u64(node, out))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: not a whole number", row->hf[0]);
    if ((double)*out > row->max || (*out == 0 && !(row->flags & HP_MAY_BE_0)))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " is not in %d..%.0f", row->hf[0], *out,
                         row->flags & HP_MAY_BE_0 ? 0 : 1, row->max);
    return GLMQ_OK;
}

static glmq_status read_value(void *field, const cJSON *node, const glmq_hp_row *row,
                              glmq_error *err)
{
    switch (row->type) {
    case HP_COUNT: return read_count(node, row, field, err);
    case HP_REAL:
        if (!cJSON_IsNumber(node) || !isfinite(node->valuedouble))
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: not a number", row->hf[0]);
        *(double *)field = node->valuedouble;
        return GLMQ_OK;
    case HP_FLAG:
        if (!cJSON_IsBool(node))
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: not true or false", row->hf[0]);
        *(int *)field = cJSON_IsTrue(node) != 0;
        return GLMQ_OK;
    }
    return GLMQ_OK;
}

static void set_value(void *field, glmq_hp_type type, double v)
{
    switch (type) {
    case HP_COUNT: *(uint64_t *)field = (uint64_t)v; break;
    case HP_REAL: *(double *)field = v; break;
    case HP_FLAG: *(int *)field = v != 0; break;
    }
}

/* The first spelling that is there; null counts as absent unless it means 0. */
static const cJSON *find_value(const cJSON *config, const glmq_hp_row *row)
{
    for (size_t i = 0; i < HP_ALIASES && row->hf[i]; i++) {
        const cJSON *node = glmq_json_get(config, row->hf[i]);
        if (node && (!cJSON_IsNull(node) || row->flags & HP_NULL_ZERO)) return node;
    }
    return NULL;
}

static glmq_status read_row(glmq_hparams *h, const cJSON *config, const glmq_hp_row *row,
                            glmq_error *err)
{
    void *field = (char *)h + row->field;
    const cJSON *node = find_value(config, row);

    if (!node) {
        if (row->flags & HP_REQUIRED)
            return glmq_fail(err, GLMQ_E_FORMAT, "%s is missing", row->hf[0]);
        set_value(field, row->type, row->fallback[h->arch->model]);
        return GLMQ_OK;
    }
    if (cJSON_IsNull(node)) {
        set_value(field, row->type, 0);
        return GLMQ_OK;
    }
    return read_value(field, node, row, err);
}

/* ---- what we do not follow is refused, never ignored ---- */

static glmq_status only_word(const cJSON *config, const char *key, const char *word,
                             glmq_error *err)
{
    const cJSON *node = glmq_json_get(config, key);

    if (!node || cJSON_IsNull(node)) return GLMQ_OK;
    if (!cJSON_IsString(node)) return glmq_fail(err, GLMQ_E_FORMAT, "%s: not a string", key);
    if (strcmp(node->valuestring, word) == 0) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s \"%s\", only \"%s\" is known", key,
                     node->valuestring, word);
}

static glmq_status check_words(const cJSON *config, glmq_error *err)
{
    static const struct {
        const char *key, *word;
    } words[] = {
        { "hidden_act", "silu" },
        { "scoring_func", "sigmoid" },
        { "topk_method", "noaux_tc" },
        { "rope_parameters.rope_type", "default" },
        { "rope_parameters.type", "default" },
        { "rope_scaling.rope_type", "default" },
        { "rope_scaling.type", "default" },
    };
    uint64_t freq;

    for (size_t i = 0; i < GLMQ_COUNT(words); i++)
        GLMQ_TRY(only_word(config, words[i].key, words[i].word, err));
    if (glmq_json_u64(glmq_json_get(config, "moe_layer_freq"), &freq) && freq != 1)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "moe_layer_freq %" PRIu64 ", only 1 is known",
                         freq);
    return GLMQ_OK;
}

static glmq_status find_arch(const glmq_arch **out, const cJSON *config, glmq_error *err)
{
    const char *type = glmq_json_string(config, "model_type");
    const cJSON *class = cJSON_GetArrayItem(glmq_json_get(config, "architectures"), 0);

    *out = type ? glmq_arch_by_model_type(type) : NULL;
    if (!type && cJSON_IsString(class)) {
        type = class->valuestring;
        *out = glmq_arch_by_class(type);
    }
    if (*out) return GLMQ_OK;
    if (!type) return glmq_fail(err, GLMQ_E_FORMAT, "model_type is missing");
    return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                     "model \"%s\", known are glm4_moe, glm4_moe_lite, glm_moe_dsa", type);
}

/* ---- lists with an entry per layer ---- */

/* Which of two words each entry of the list `key` is: 1 for `yes`, 0 for `no`. */
static glmq_status read_words(uint8_t *out, uint64_t n, const cJSON *list, const char *key,
                              const char *yes, const char *no, glmq_error *err)
{
    const cJSON *node;
    uint64_t i = 0;

    if ((uint64_t)cJSON_GetArraySize(list) != n)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s has %d entries, the model %" PRIu64 " layers", key,
                         cJSON_GetArraySize(list), n);
    cJSON_ArrayForEach(node, list)
    {
        const char *word = cJSON_IsString(node) ? node->valuestring : "";
        if (strcmp(word, yes) != 0 && strcmp(word, no) != 0)
            return glmq_fail(err, GLMQ_E_FORMAT, "%s[%" PRIu64 "]: \"%s\", neither %s nor %s", key,
                             i, word, yes, no);
        out[i++] = strcmp(word, yes) == 0;
    }
    return GLMQ_OK;
}

static glmq_status read_pattern_text(uint8_t *out, uint64_t n, const char *text, glmq_error *err)
{
    if (strlen(text) != n)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "index_topk_pattern has %zu entries, the model %" PRIu64 " layers",
                         strlen(text), n);
    for (uint64_t i = 0; i < n; i++) {
        if (text[i] != 'F' && text[i] != 'S')
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "index_topk_pattern[%" PRIu64 "]: \"%c\", neither F nor S", i,
                             text[i]);
        out[i] = text[i] == 'F';
    }
    return GLMQ_OK;
}

static glmq_status read_indexer_types(glmq_hparams *h, glmq_arena *arena, const cJSON *config,
                                      glmq_error *err)
{
    const cJSON *types = glmq_json_get(config, "indexer_types");
    const cJSON *pattern = glmq_json_get(config, "index_topk_pattern");
    uint8_t *full;

    if (!cJSON_IsArray(types) && !cJSON_IsArray(pattern) && !cJSON_IsString(pattern))
        return GLMQ_OK; /* by frequency and offset: glmq_hparams_complete */
    full = glmq_arena_alloc(arena, (size_t)h->layers);
    if (!full) return glmq_fail(err, GLMQ_E_NOMEM, "indexer_types");
    h->indexer_full = full;
    if (cJSON_IsArray(types))
        return read_words(full, h->layers, types, "indexer_types", "full", "shared", err);
    if (cJSON_IsString(pattern))
        return read_pattern_text(full, h->layers, pattern->valuestring, err);
    return read_words(full, h->layers, pattern, "index_topk_pattern", "F", "S", err);
}

static glmq_status read_layer_types(glmq_hparams *h, glmq_arena *arena, const cJSON *config,
                                    glmq_error *err)
{
    const cJSON *types = glmq_json_get(config, "mlp_layer_types");

    if (!cJSON_IsArray(types) || h->arch->model == GLMQ_GLM4_MOE) {
        /* glm4_moe_lite's class has one dense layer, whatever first_k_dense_replace says */
        if (h->arch->model == GLMQ_GLM4_MOE_LITE) h->dense_layers = 1;
        return GLMQ_OK;
    }
    h->layer_sparse = glmq_arena_alloc(arena, (size_t)h->layers);
    if (!h->layer_sparse) return glmq_fail(err, GLMQ_E_NOMEM, "mlp_layer_types");
    GLMQ_TRY(
        read_words(h->layer_sparse, h->layers, types, "mlp_layer_types", "sparse", "dense", err));
    h->dense_layers = 0;
    while (h->dense_layers < h->layers && !h->layer_sparse[h->dense_layers]) h->dense_layers++;
    return GLMQ_OK;
}

/* moe_sparsity_config of compressed-tensors: experts removed layer by layer. */
static glmq_status read_layer_experts(glmq_hparams *h, glmq_arena *arena, const cJSON *config,
                                      glmq_error *err)
{
    const cJSON *moe = glmq_json_get(config, "quantization_config.moe_sparsity_config");
    const cJSON *counts = glmq_json_get(moe, "num_experts");
    const char *method = glmq_json_string(moe, "method");
    const cJSON *node;
    uint64_t i = 0;

    if (!cJSON_IsObject(moe) || !moe->child) return GLMQ_OK;
    if (!method || strcmp(method, "prune") != 0)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "moe_sparsity_config method \"%s\", only \"prune\" is known",
                         method ? method : "");
    if (!cJSON_IsArray(counts) || (uint64_t)cJSON_GetArraySize(counts) != h->layers)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "moe_sparsity_config.num_experts has %d entries, the model %" PRIu64
                         " layers",
                         cJSON_GetArraySize(counts), h->layers);
    h->layer_experts = glmq_arena_alloc(arena, (size_t)h->layers * sizeof *h->layer_experts);
    if (!h->layer_experts) return glmq_fail(err, GLMQ_E_NOMEM, "moe_sparsity_config");
    cJSON_ArrayForEach(node, counts)
    {
        uint64_t n = h->experts;
        if (!cJSON_IsNull(node) && (!glmq_json_u64(node, &n) || n == 0 || n > GLMQ_EXPERTS_MAX))
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "moe_sparsity_config.num_experts[%" PRIu64 "]: not in 1..%d", i,
                             GLMQ_EXPERTS_MAX);
        h->layer_experts[i++] = n;
    }
    return GLMQ_OK;
}

/* ---- what follows ---- */

static glmq_status fill_layers(glmq_hparams *h, glmq_arena *arena, glmq_error *err)
{
    if (!h->layer_sparse) {
        h->layer_sparse = glmq_arena_alloc(arena, (size_t)h->layers);
        if (!h->layer_sparse) return glmq_fail(err, GLMQ_E_NOMEM, "layers");
        for (uint64_t l = 0; l < h->layers; l++) h->layer_sparse[l] = l >= h->dense_layers;
    }
    if (h->arch->dsa && !h->indexer_full) {
        const uint64_t freq = h->index_topk_freq ? h->index_topk_freq : 1;
        const uint64_t skip = h->index_skip_topk_offset;

        h->indexer_full = glmq_arena_alloc(arena, (size_t)h->layers);
        if (!h->indexer_full) return glmq_fail(err, GLMQ_E_NOMEM, "layers");
        /* full when max(l - offset + 1, 0) is a multiple of freq */
        for (uint64_t l = 0; l < h->layers; l++)
            h->indexer_full[l] = l + 1 <= skip || (l + 1 - skip) % freq == 0;
    }
    return GLMQ_OK;
}

static glmq_status check_experts(const glmq_hparams *h, glmq_error *err)
{
    if (h->groups > h->experts || h->experts % h->groups)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "n_group %" PRIu64 " does not divide n_routed_experts %" PRIu64, h->groups,
                         h->experts);
    if (h->groups > 1 && h->experts / h->groups < 2)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "n_group %" PRIu64 " leaves less than 2 of %" PRIu64 " experts a group",
                         h->groups, h->experts);
    if (h->groups_used > h->groups)
        return glmq_fail(err, GLMQ_E_FORMAT, "topk_group %" PRIu64 " exceeds n_group %" PRIu64,
                         h->groups_used, h->groups);
    if (h->experts_used > h->experts / h->groups * h->groups_used)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "num_experts_per_tok %" PRIu64 " exceeds the %" PRIu64
                         " experts to choose from",
                         h->experts_used, h->experts / h->groups * h->groups_used);
    return GLMQ_OK;
}

static glmq_status check_gqa(glmq_hparams *h, glmq_error *err)
{
    if (h->heads % h->kv_heads)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "num_attention_heads %" PRIu64
                         " is no multiple of num_key_value_heads %" PRIu64,
                         h->heads, h->kv_heads);
    if (h->head_dim == 0) {
        if (h->hidden % h->heads)
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "hidden_size %" PRIu64
                             " is no multiple of num_attention_heads %" PRIu64
                             ", and head_dim is missing",
                             h->hidden, h->heads);
        h->head_dim = h->hidden / h->heads;
    }
    if (!(h->partial_rotary > 0 && h->partial_rotary <= 1) ||
        (uint64_t)((double)h->head_dim * h->partial_rotary) % 2)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "partial_rotary_factor %g of head_dim %" PRIu64 " is no even width",
                         h->partial_rotary, h->head_dim);
    return GLMQ_OK;
}

static glmq_status check_mla(const glmq_hparams *h, glmq_error *err)
{
    if (h->qk_rope % 2)
        return glmq_fail(err, GLMQ_E_FORMAT, "qk_rope_head_dim %" PRIu64 " is odd", h->qk_rope);
    if (!h->arch->dsa) return GLMQ_OK;
    if (h->q_lora == 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "q_lora_rank is 0, the indexer needs it");
    if (h->qk_rope > h->index_dim)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "qk_rope_head_dim %" PRIu64 " exceeds index_head_dim %" PRIu64, h->qk_rope,
                         h->index_dim);
    if (!h->indexer_full[0])
        return glmq_fail(err, GLMQ_E_FORMAT, "indexer_types: layer 0 is shared, not full");
    return GLMQ_OK;
}

glmq_status glmq_hparams_complete(glmq_hparams *h, glmq_arena *arena, glmq_error *err)
{
    GLMQ_TRY(fill_layers(h, arena, err));
    GLMQ_TRY(check_experts(h, err));
    if (!h->arch->mla) return check_gqa(h, err);
    h->kv_heads = h->heads;
    return check_mla(h, err);
}

glmq_status glmq_hparams_from_config(glmq_hparams *h, glmq_arena *arena, const cJSON *config,
                                     glmq_error *err)
{
    memset(h, 0, sizeof *h);
    GLMQ_TRY(find_arch(&h->arch, config, err));
    GLMQ_TRY(check_words(config, err));
    for (size_t i = 0; i < glmq_hp_row_count; i++)
        if (glmq_hp_rows[i].models & (1u << h->arch->model))
            GLMQ_TRY(read_row(h, config, &glmq_hp_rows[i], err));
    GLMQ_TRY(read_layer_types(h, arena, config, err));
    if (h->arch->dsa) GLMQ_TRY(read_indexer_types(h, arena, config, err));
    GLMQ_TRY(read_layer_experts(h, arena, config, err));
    return glmq_hparams_complete(h, arena, err);
}
