/* What the values of a config mean to glmq: one table, for the keys of config.json and for
 * those of GGUF. */
#include "meaning.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/safe.h"
#include "readers/catalog.h"
#include "readers/gguf_kv.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct meaning {
    const char *hf, *gguf; /* gguf: behind "<architecture>."; NULL: has none */
    const char *text;
} meanings[] = {
    { "architectures", NULL, "the model's class" },
    { "model_type", NULL, "which architecture's tables apply" },
    { "hidden_size", "embedding_length", "width of the hidden state" },
    { "num_hidden_layers", NULL, "layers before the MTP layers" },
    { NULL, "block_count", "layers, MTP layers included" },
    { "num_nextn_predict_layers", "nextn_predict_layers", "MTP layers after the others" },
    { "num_mtp_layers", NULL, "MTP layers after the others" },
    { "vocab_size", "vocab_size", "rows of embedding and output table" },
    { "max_position_embeddings", "context_length", "longest context; no tensor hangs on it" },
    { "num_attention_heads", "attention.head_count", "query heads" },
    { "num_key_value_heads", "attention.head_count_kv", "key and value heads; MLA: no shape" },
    { "head_dim", NULL, "width of a head; MLA: not used" },
    { NULL, "attention.key_length", "width of a key head" },
    { NULL, "attention.value_length", "width of a value head" },
    { NULL, "attention.key_length_mla", "width of a key head before the latent: nope + rope" },
    { "v_head_dim", "attention.value_length_mla", "width of a value head" },
    { "q_lora_rank", "attention.q_lora_rank", "rank of the query projection" },
    { "kv_lora_rank", "attention.kv_lora_rank", "rank of the key-value latent" },
    { "qk_nope_head_dim", NULL, "key columns without position" },
    { "qk_rope_head_dim", "rope.dimension_count", "key columns with position" },
    { "attention_bias", NULL, "attention projections have biases" },
    { "use_qk_norm", NULL, "query and key heads are normalized" },
    { "intermediate_size", "feed_forward_length", "width of a dense MLP" },
    { "moe_intermediate_size", "expert_feed_forward_length", "width of an expert" },
    { "n_routed_experts", "expert_count", "experts per layer" },
    { "num_local_experts", NULL, "experts per layer" },
    { "num_experts", NULL, "experts per layer" },
    { "num_experts_per_tok", "expert_used_count", "experts that a token uses" },
    { "n_shared_experts", "expert_shared_count", "experts that every token uses, as one MLP" },
    { "first_k_dense_replace", "leading_dense_block_count", "dense layers at the start" },
    { "mlp_layer_types", NULL, "dense or sparse, per layer; wins over first_k_dense_replace" },
    { "n_group", "expert_group_count", "groups of experts in the choice" },
    { "topk_group", "expert_group_used_count", "groups that may be chosen" },
    { "norm_topk_prob", "expert_weights_norm", "routing weights are made to sum to 1" },
    { "routed_scaling_factor", "expert_weights_scale", "factor on the routed experts" },
    { "scoring_func", "expert_gating_func", "how routing scores are made: sigmoid" },
    { "topk_method", NULL, "how experts are chosen: noaux_tc" },
    { "hidden_act", NULL, "activation: silu" },
    { "rms_norm_eps", "attention.layer_norm_rms_epsilon", "epsilon of the norms" },
    { "rope_theta", "rope.freq_base", "base of the rotary frequencies" },
    { "rope_parameters", NULL, "base, kind and share of the rotary positions" },
    { "rope_scaling", NULL, "must be null or default" },
    { "partial_rotary_factor", NULL, "share of a head that is rotated" },
    { "index_topk", "attention.indexer.top_k", "tokens that the sparse attention keeps" },
    { "index_n_heads", "attention.indexer.head_count", "heads of the indexer" },
    { "index_head_dim", "attention.indexer.key_length", "width of an indexer head" },
    { "indexer_types", "attention.indexer.types",
      "full or shared, per layer: which have an indexer" },
    { "index_topk_freq", NULL, "every how many layers an indexer is full" },
    { "index_skip_topk_offset", NULL, "full indexers at the start" },
    { "tie_word_embeddings", NULL, "the output table is the embedding" },
    { "torch_dtype", NULL, "dtype of plain tensors; what is stored decides" },
    { "dtype", NULL, "dtype of plain tensors; what is stored decides" },
    { "quantization_config", NULL, "how to read quantized tensors; what is stored decides" },
    { "compression_config", NULL, "how to read quantized tensors; what is stored decides" },
};

static const char *meaning_of(const char *key, size_t len, int gguf)
{
    for (size_t i = 0; i < GLMQ_COUNT(meanings); i++) {
        const char *known = gguf ? meanings[i].gguf : meanings[i].hf;
        if (known && strlen(known) == len && memcmp(known, key, len) == 0) return meanings[i].text;
    }
    return NULL;
}

/* ---- config.json ---- */

/* A slice of JSON text without line feeds and the spaces behind them. */
static void squeeze(glmq_text *t, const char *s, size_t len)
{
    int in_string = 0, space = 0;

    for (size_t i = 0; i < len; i++) {
        if (!in_string && strchr(" \t\r\n", s[i])) {
            space = 1;
            continue;
        }
        if (space && t->len && !strchr("[{", t->data[t->len - 1]) && !strchr("]}", s[i]))
            glmq_text_add(t, " ");
        space = 0;
        if (in_string && s[i] == '\\' && i + 1 < len)
            glmq_text_add_n(t, &s[i++], 1);
        else if (s[i] == '"')
            in_string = !in_string;
        glmq_text_add_n(t, &s[i], 1);
    }
}

static glmq_status each_config_key(const glmq_catalog *cat,
                                   void (*each)(void *, const glmq_setting *), void *user,
                                   glmq_error *err)
{
    const cJSON *item;

    cJSON_ArrayForEach(item, cat->config)
    {
        glmq_json_member at;
        glmq_text value = { 0 };
        if (!glmq_json_find(cat->config_text, cat->config_len, item->string, &at)) continue;
        squeeze(&value, cat->config_text + at.value_begin, at.value_end - at.value_begin);
        const int failed = value.failed;
        const glmq_setting s = { .key = item->string,
                                 .value = value.data,
                                 .file = "config.json",
                                 .meaning = meaning_of(item->string, strlen(item->string), 0) };
        if (!failed) each(user, &s);
        glmq_text_free(&value);
        if (failed) return glmq_fail(err, GLMQ_E_NOMEM, "config.json: %s", item->string);
    }
    return GLMQ_OK;
}

/* ---- GGUF ---- */

enum { ITEMS_SHOWN = 8 };

/* The shortest text that reads back as the same number. */
static void add_real(glmq_text *t, double x, int is_float)
{
    char text[40];

    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        const double back = strtod(text, NULL);
        if (is_float ? (float)back == (float)x : back == x) break;
    }
    glmq_text_add(t, text);
}

static void add_number(glmq_text *t, const glmq_gguf_value *v, uint32_t type, uint64_t i)
{
    int64_t n;

    if (type == GGUF_F32) {
        float f;
        memcpy(&f, v->data + i * sizeof f, sizeof f);
        add_real(t, (double)f, 1);
    } else if (type == GGUF_F64) {
        double d;
        memcpy(&d, v->data + i * sizeof d, sizeof d);
        add_real(t, d, 0);
    } else if (type == GGUF_BOOL) {
        glmq_text_add(t, v->data[i] ? "true" : "false");
    } else if (glmq_gguf_item_i64(v, i, &n)) {
        glmq_text_printf(t, "%" PRId64, n);
    } else {
        uint64_t u; /* a u64 over the largest i64 */
        memcpy(&u, v->data + i * sizeof u, sizeof u);
        glmq_text_printf(t, "%" PRIu64, u);
    }
}

static void add_array(glmq_text *t, const glmq_gguf_value *v)
{
    const char *s;
    size_t len;
    uint64_t i = 0, at = 0;

    glmq_text_add(t, "[");
    if (v->item == GGUF_STRING)
        for (; i < ITEMS_SHOWN && glmq_gguf_next_string(v, &at, &s, &len); i++) {
            glmq_text_add(t, i ? ", " : "");
            glmq_json_quote(t, s, len);
        }
    else if (v->item != GGUF_ARRAY)
        for (; i < ITEMS_SHOWN && i < v->count; i++) {
            glmq_text_add(t, i ? ", " : "");
            add_number(t, v, v->item, i);
        }
    glmq_text_printf(t, i < v->count ? "%s… %" PRIu64 " in all]" : "%s]", i ? ", " : "", v->count);
}

/* A string's bytes lie behind its length. */
static void value_text(glmq_text *t, const glmq_gguf_value *v)
{
    if (v->type == GGUF_ARRAY)
        add_array(t, v);
    else if (v->type == GGUF_STRING)
        glmq_text_add_n(t, v->data + 8, (size_t)load_le64(v->data));
    else
        add_number(t, v, v->type, 0);
}

static glmq_status tell_value(const glmq_gguf_value *v, const char *meaning,
                              void (*each)(void *, const glmq_setting *), void *user,
                              glmq_error *err)
{
    glmq_text text = { 0 }, key = { 0 }; /* a GGUF's keys are not terminated */
    char type[32];

    if (v->type == GGUF_ARRAY)
        snprintf(type, sizeof type, "[%s]", glmq_gguf_type_name(v->item));
    else
        snprintf(type, sizeof type, "%s", glmq_gguf_type_name(v->type));
    value_text(&text, v);
    glmq_text_add_n(&key, v->key, v->key_len);
    const int failed = text.failed || key.failed;
    const glmq_setting s = { .key = key.data ? key.data : "",
                             .type = type,
                             .meaning = meaning,
                             .value = text.data ? text.data : "" };
    if (!failed) each(user, &s);
    glmq_text_free(&text);
    glmq_text_free(&key);
    return failed ? glmq_fail(err, GLMQ_E_NOMEM, "a metadata key") : GLMQ_OK;
}

glmq_status glmq_each_setting(const glmq_graph *g, void (*each)(void *user, const glmq_setting *s),
                              void *user, glmq_error *err)
{
    const glmq_catalog *cat = g->catalog;
    const char *architecture;
    size_t len;

    if (!cat->gguf) return cat->config ? each_config_key(cat, each, user, err) : GLMQ_OK;
    if (!glmq_gguf_string(cat->gguf, "general.architecture", &architecture, &len)) return GLMQ_OK;
    for (size_t i = 0; i < cat->gguf->count; i++) {
        const glmq_gguf_value *v = &cat->gguf->values[i];
        if (v->key_len <= len || memcmp(v->key, architecture, len) != 0 || v->key[len] != '.')
            continue;
        GLMQ_TRY(
            tell_value(v, meaning_of(v->key + len + 1, v->key_len - len - 1, 1), each, user, err));
    }
    return GLMQ_OK;
}

glmq_status glmq_each_metadata(const glmq_graph *g, void (*each)(void *user, const glmq_setting *s),
                               void *user, glmq_error *err)
{
    const glmq_catalog *cat = g->catalog;

    for (size_t i = 0; cat->gguf && i < cat->gguf->count; i++)
        GLMQ_TRY(tell_value(&cat->gguf->values[i], NULL, each, user, err));
    for (size_t i = 0; !cat->gguf && i < cat->meta_count; i++) {
        const glmq_setting s = { .key = cat->meta[i].key,
                                 .value = cat->meta[i].value,
                                 .file = glmq_source_name(cat->source, cat->meta[i].file) };
        each(user, &s);
    }
    return GLMQ_OK;
}
