/* config.json of a Hugging Face target, and the tokenizer's files out of a GGUF.
 *
 * A config.json that exists is spliced, never printed anew: what is not ours keeps its
 * bytes (transformers tells 1.0 from 1). */
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "models/hparams.h"
#include "models/vocab.h"
#include "readers/catalog.h"
#include "writers/hf.h"
#include <string.h>

/* ---- config.json ---- */

/* torch's word for a dtype, as a JSON string. */
static const char *torch_word(glmq_dtype dtype)
{
    switch (dtype) {
    case GLMQ_DT_BF16: return "\"bfloat16\"";
    case GLMQ_DT_F16: return "\"float16\"";
    case GLMQ_DT_F32: return "\"float32\"";
    default: return NULL;
    }
}

static glmq_status replace_if_there(glmq_text *t, const char *key, const char *value,
                                    glmq_error *err)
{
    glmq_json_member m;
    if (!glmq_json_find(t->data, t->len, key, &m)) return GLMQ_OK;
    if (m.value_end - m.value_begin == strlen(value) &&
        memcmp(t->data + m.value_begin, value, strlen(value)) == 0)
        return GLMQ_OK;
    return glmq_json_splice(t, key, value, err);
}

/* Are there MTP layers in the source, and none in the target? */
static int mtp_dropped(const glmq_plan *p)
{
    size_t had = 0, kept = 0;
    for (size_t i = 0; i < p->graph->count; i++) {
        had += p->graph->tensors[i].mtp;
        kept += p->graph->tensors[i].mtp && !p->want[i].dropped;
    }
    return p->options.mtp == GLMQ_MTP_DROP || (had && !kept);
}

/* A config.json made from a GGUF says bfloat16; the token table tells an F16 model. */
static int is_f16(const glmq_plan *p)
{
    for (size_t i = 0; i < p->graph->count; i++)
        if (p->graph->tensors[i].role == GLMQ_ROLE_EMBED)
            return glmq_encoding_dtype(&p->want[i].enc) == GLMQ_DT_F16;
    return 0;
}

static glmq_status edit(glmq_text *t, const glmq_plan *p, const glmq_hf_config *config,
                        glmq_error *err)
{
    const int made = !p->graph->catalog->config_text && p->graph->catalog->gguf;
    const char *word = torch_word(
        config->dtype == GLMQ_DT_NONE && made && is_f16(p) ? GLMQ_DT_F16 : config->dtype);
    if (config->quant != HF_QUANT_KEEP) {
        GLMQ_TRY(glmq_json_splice(t, "compression_config", NULL, err));
        GLMQ_TRY(glmq_json_splice(t, "quantization_config",
                                  config->quant == HF_QUANT_SET ? config->quant_text : NULL, err));
    }
    if (word) {
        GLMQ_TRY(replace_if_there(t, "torch_dtype", word, err));
        GLMQ_TRY(replace_if_there(t, "dtype", word, err));
    }
    return mtp_dropped(p) ? replace_if_there(t, "num_nextn_predict_layers", "0", err) : GLMQ_OK;
}

glmq_status glmq_hf_config_text(glmq_text *out, const glmq_plan *p, const glmq_hf_config *config,
                                glmq_error *err)
{
    const glmq_catalog *cat = p->graph->catalog;
    if (cat->config_text) {
        glmq_text_add_n(out, cat->config_text, cat->config_len);
    } else if (cat->gguf && p->graph->hp) {
        GLMQ_TRY(glmq_hparams_to_config(out, p->graph->hp, cat->gguf, err));
    } else {
        if (config->quant != HF_QUANT_SET) return GLMQ_OK; /* loose files stay without one */
        glmq_text_add(out, "{\n}\n");
    }
    if (out->failed) return glmq_fail(err, GLMQ_E_NOMEM, "config.json");
    return glmq_within(err, edit(out, p, config, err), "config.json");
}

/* ---- out of a GGUF ---- */

/* Ends a text: hands it to the plan under `name` and frees it. */
static glmq_status give(glmq_plan *p, const char *name, glmq_text *t, glmq_error *err)
{
    const glmq_status st = t->failed ? glmq_fail(err, GLMQ_E_NOMEM, "%s", name)
                                     : glmq_plan_add_text(p, name, t->data, t->len, err);
    glmq_text_free(t);
    return st;
}

static glmq_status plan_tokenizer(glmq_plan *p, const glmq_vocab *v, glmq_error *err)
{
    glmq_text t = { 0 };
    glmq_status st = glmq_vocab_to_tokenizer_json(&t, v, err);
    if (st == GLMQ_E_UNSUPPORTED) {
        const char *why = glmq_arena_printf(&p->arena,
                                            "cannot be rebuilt from the metadata: "
                                            "pre-tokenizer \"%s\", only \"glm4\" is known",
                                            v->pre ? v->pre : "");
        glmq_text_free(&t);
        return why ? glmq_plan_drop(p, "tokenizer.json", why, err)
                   : glmq_fail(err, GLMQ_E_NOMEM, "tokenizer.json");
    }
    if (st) {
        glmq_text_free(&t);
        return st;
    }
    GLMQ_TRY(give(p, "tokenizer.json", &t, err));
    st = glmq_vocab_to_tokenizer_config(&t, v, err);
    if (!st) return give(p, "tokenizer_config.json", &t, err);
    glmq_text_free(&t);
    return st;
}

static glmq_status plan_generation(glmq_plan *p, glmq_error *err)
{
    glmq_text t = { 0 };
    const glmq_status st =
        glmq_hparams_to_generation_config(&t, p->graph->hp, p->graph->catalog->gguf, err);
    if (!st) return give(p, "generation_config.json", &t, err);
    glmq_text_free(&t);
    return st;
}

glmq_status glmq_hf_plan_gguf_files(glmq_plan *p, glmq_error *err)
{
    glmq_vocab v;
    const glmq_status st = glmq_vocab_from_gguf(&v, &p->arena, p->graph->catalog->gguf, err);
    if (st == GLMQ_E_UNSUPPORTED)
        return glmq_plan_drop(p, "tokenizer.json", "the metadata hold no byte-level BPE vocabulary",
                              err);
    if (st) return st;
    GLMQ_TRY(plan_tokenizer(p, &v, err));
    GLMQ_TRY(plan_generation(p, err));
    if (!v.chat_template) return GLMQ_OK;
    return glmq_plan_add_text(p, "chat_template.jinja", v.chat_template, v.chat_template_len, err);
}
