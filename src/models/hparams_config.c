/* config.json and generation_config.json, made from the metadata of a GGUF: the keys of the
 * published file in their order (glmq_arch.config), values by the table of hyper-parameters. */
#include "base/error.h"
#include "base/mem.h"
#include "hparams_table.h"
#include "readers/gguf_kv.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The shortest text that reads back as the same float32, as Python prints it: a GGUF keeps
 * 1e-05 as 9.99999975e-06. */
static void add_real(glmq_text *out, double v)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (strtof(text, NULL) == (float)v) break;
    }
    glmq_text_add(out, text);
    if (!strpbrk(text, ".en")) glmq_text_add(out, ".0");
}

/* A real that is published as a whole number where it is one (rope_theta). */
static void add_whole_or_real(glmq_text *out, double v)
{
    if (v >= 0 && v < 1e15 && v == (double)(uint64_t)v)
        glmq_text_printf(out, "%llu", (unsigned long long)v);
    else
        add_real(out, v);
}

static void add_count(glmq_text *out, uint64_t v)
{
    glmq_text_printf(out, "%llu", (unsigned long long)v);
}

/* ---- values that no row of the table holds ---- */

static void architectures(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    (void)kv;
    glmq_text_printf(out, "[\n    \"%s\"\n  ]", h->arch->hf_class);
}

static void model_type(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    (void)kv;
    glmq_text_printf(out, "\"%s\"", h->arch->model_type);
}

static void dtype(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    (void)h, (void)kv;
    glmq_text_add(out, "\"bfloat16\"");
}

static void pad_token_id(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    uint64_t id;
    (void)h;
    if (glmq_gguf_u64(kv, "tokenizer.ggml.padding_token_id", &id))
        add_count(out, id);
    else
        glmq_text_add(out, "null");
}

/* GLM stops at <|endoftext|>, <|user|> and <|observation|>: eos, eot and eom of a GGUF. */
static void eos_token_id(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    static const char *const keys[] = { "tokenizer.ggml.eos_token_id",
                                        "tokenizer.ggml.eot_token_id",
                                        "tokenizer.ggml.eom_token_id" };
    uint64_t id[3];
    size_t n = 0;
    (void)h;
    for (size_t i = 0; i < GLMQ_COUNT(keys); i++) {
        int seen = 0;
        if (!glmq_gguf_u64(kv, keys[i], &id[n])) continue;
        for (size_t j = 0; j < n; j++) seen |= id[j] == id[n];
        n += !seen;
    }
    if (n == 0) glmq_text_add(out, "null");
    for (size_t i = 0; i < n; i++) {
        glmq_text_add(out, i ? ",\n    " : "[\n    ");
        add_count(out, id[i]);
    }
    if (n) glmq_text_add(out, "\n  ]");
}

static void head_dim(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    (void)kv; /* MLA has no such thing; the class takes it for the rotary width */
    add_count(out, h->arch->mla ? h->qk_rope : h->head_dim);
}

static void qk_head_dim(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    (void)kv;
    add_count(out, h->qk_nope + h->qk_rope);
}

static void q_lora_rank(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    (void)kv;
    if (h->q_lora)
        add_count(out, h->q_lora);
    else
        glmq_text_add(out, "null");
}

static void rope_theta(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    (void)kv;
    add_whole_or_real(out, h->rope_theta);
}

static void rope_parameters(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    (void)kv;
    glmq_text_add(out, "{\n    \"rope_theta\": ");
    add_whole_or_real(out, h->rope_theta);
    glmq_text_add(out, ",\n    \"rope_type\": \"default\"\n  }");
}

static void layer_words(glmq_text *out, const uint8_t *flags, uint64_t n, const char *yes,
                        const char *no)
{
    for (uint64_t i = 0; i < n; i++)
        glmq_text_printf(out, "%s    \"%s\"", i ? ",\n" : "[\n", flags[i] ? yes : no);
    glmq_text_add(out, "\n  ]");
}

static void indexer_types(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    (void)kv;
    layer_words(out, h->indexer_full, h->layers, "full", "shared");
}

static void mlp_layer_types(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv)
{
    (void)kv;
    layer_words(out, h->layer_sparse, h->layers, "sparse", "dense");
}

static const struct {
    const char *key;
    void (*add)(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv);
} makers[] = {
    { "architectures", architectures },
    { "model_type", model_type },
    { "torch_dtype", dtype },
    { "dtype", dtype },
    { "pad_token_id", pad_token_id },
    { "eos_token_id", eos_token_id },
    { "head_dim", head_dim },
    { "qk_head_dim", qk_head_dim },
    { "q_lora_rank", q_lora_rank },
    { "rope_theta", rope_theta },
    { "rope_parameters", rope_parameters },
    { "indexer_types", indexer_types },
    { "mlp_layer_types", mlp_layer_types },
};

/* ---- the file ---- */

static glmq_status add_row(glmq_text *out, const glmq_hparams *h, const char *key, glmq_error *err)
{
    for (size_t i = 0; i < glmq_hp_row_count; i++) {
        const glmq_hp_row *row = &glmq_hp_rows[i];
        const void *field = (const char *)h + row->field;
        if (strcmp(row->published, key)) continue;
        switch (row->type) {
        case HP_COUNT: add_count(out, *(const uint64_t *)field); break;
        case HP_REAL: add_real(out, *(const double *)field); break;
        case HP_FLAG: glmq_text_add(out, *(const int *)field ? "true" : "false"); break;
        }
        return GLMQ_OK;
    }
    return glmq_fail(err, GLMQ_E_UNSUPPORTED, "config.json: nothing is known about %s", key);
}

static glmq_status add_value(glmq_text *out, const glmq_hparams *h, const glmq_gguf *kv,
                             const glmq_config_key *k, glmq_error *err)
{
    if (k->json) {
        glmq_text_add(out, k->json);
        return GLMQ_OK;
    }
    for (size_t i = 0; i < GLMQ_COUNT(makers); i++) {
        if (strcmp(makers[i].key, k->key)) continue;
        makers[i].add(out, h, kv);
        return GLMQ_OK;
    }
    return add_row(out, h, k->key, err);
}

glmq_status glmq_hparams_to_config(glmq_text *out, const glmq_hparams *h,
                                   const struct glmq_gguf *kv, glmq_error *err)
{
    for (const glmq_config_key *k = h->arch->config; k->key; k++) {
        glmq_text_printf(out, "%s  \"%s\": ", k == h->arch->config ? "{\n" : ",\n", k->key);
        GLMQ_TRY(add_value(out, h, kv, k, err));
    }
    glmq_text_add(out, "\n}\n");
    return out->failed ? glmq_fail(err, GLMQ_E_NOMEM, "config.json: out of memory") : GLMQ_OK;
}

static const struct {
    const char *gguf, *key;
} sampling[] = {
    { "general.sampling.temp", "temperature" },
    { "general.sampling.top_p", "top_p" },
    { "general.sampling.min_p", "min_p" },
};

glmq_status glmq_hparams_to_generation_config(glmq_text *out, const glmq_hparams *h,
                                              const struct glmq_gguf *kv, glmq_error *err)
{
    uint64_t k;
    double v;
    int samples = 0;
    glmq_text_add(out, "{\n  \"_from_model_config\": true,\n  \"eos_token_id\": ");
    eos_token_id(out, h, kv);
    glmq_text_add(out, ",\n  \"pad_token_id\": ");
    pad_token_id(out, h, kv);
    for (size_t i = 0; i < GLMQ_COUNT(sampling); i++) {
        if (!glmq_gguf_f64(kv, sampling[i].gguf, &v)) continue;
        glmq_text_printf(out, ",\n  \"%s\": ", sampling[i].key);
        add_real(out, v);
        samples = 1;
    }
    if (glmq_gguf_u64(kv, "general.sampling.top_k", &k)) {
        glmq_text_printf(out, ",\n  \"top_k\": %llu", (unsigned long long)k);
        samples = 1;
    }
    if (samples) glmq_text_add(out, ",\n  \"do_sample\": true");
    glmq_text_add(out, "\n}\n");
    return out->failed ? glmq_fail(err, GLMQ_E_NOMEM, "generation_config.json: out of memory")
                       : GLMQ_OK;
}
