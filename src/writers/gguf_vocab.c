/* The tokenizer's key-values of a GGUF: tokenizer.ggml.* and tokenizer.chat_template. */
#include "base/error.h"
#include "models/vocab.h"
#include "readers/gguf_kv.h"
#include "writers/gguf_out.h"
#include <string.h>

static void put_texts(glmq_gguf_kv *kv, const char *key, const glmq_vocab_text *at, size_t n)
{
    glmq_gguf_put_array(kv, key, GGUF_STRING, n);
    for (size_t i = 0; i < n; i++) glmq_gguf_add_string(kv, at[i].s, at[i].len);
}

static void put_types(glmq_gguf_kv *kv, const glmq_vocab *v)
{
    glmq_gguf_put_array(kv, "tokenizer.ggml.token_type", GGUF_I32, v->count);
    for (size_t i = 0; i < v->count; i++) {
        const uint8_t item[4] = { v->types[i] };
        glmq_text_add_n(&kv->data, item, sizeof item);
    }
}

static void put_specials(glmq_gguf_kv *kv, const glmq_vocab *v)
{
    const struct {
        const char *key;
        int64_t id;
    } specials[] = {
        { "tokenizer.ggml.eos_token_id", v->eos },
        { "tokenizer.ggml.padding_token_id", v->pad },
        { "tokenizer.ggml.bos_token_id", v->bos },
        { "tokenizer.ggml.eot_token_id", v->eot },
        { "tokenizer.ggml.unknown_token_id", v->unk },
        { "tokenizer.ggml.eom_token_id", v->eom },
    };
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++)
        if (specials[i].id >= 0) glmq_gguf_put_u32(kv, specials[i].key, (uint32_t)specials[i].id);
    if (v->add_bos >= 0) glmq_gguf_put_bool(kv, "tokenizer.ggml.add_bos_token", v->add_bos);
    if (v->add_eos >= 0) glmq_gguf_put_bool(kv, "tokenizer.ggml.add_eos_token", v->add_eos);
}

static void put_templates(glmq_gguf_kv *kv, const glmq_vocab *v)
{
    glmq_text key = { 0 };
    if (v->template_count)
        glmq_gguf_put_array(kv, "tokenizer.chat_templates", GGUF_STRING, v->template_count);
    for (size_t i = 0; i < v->template_count; i++)
        glmq_gguf_add_string(kv, v->templates[i].name, strlen(v->templates[i].name));
    for (size_t i = 0; i < v->template_count && !key.failed; i++) {
        key.len = 0;
        glmq_text_printf(&key, "tokenizer.chat_template.%s", v->templates[i].name);
        if (!key.failed)
            glmq_gguf_put_string(kv, key.data, v->templates[i].text, v->templates[i].len);
    }
    if (key.failed) kv->data.failed = 1;
    glmq_text_free(&key);
    if (v->chat_template)
        glmq_gguf_put_string(kv, "tokenizer.chat_template", v->chat_template, v->chat_template_len);
}

glmq_status glmq_vocab_to_gguf(struct glmq_gguf_kv *kv, const glmq_vocab *v, glmq_error *err)
{
    glmq_gguf_put_string(kv, "tokenizer.ggml.model", v->model, strlen(v->model));
    if (v->pre) glmq_gguf_put_string(kv, "tokenizer.ggml.pre", v->pre, strlen(v->pre));
    put_texts(kv, "tokenizer.ggml.tokens", v->tokens, v->count);
    put_types(kv, v);
    put_texts(kv, "tokenizer.ggml.merges", v->merges, v->merge_count);
    put_specials(kv, v);
    put_templates(kv, v);
    return kv->data.failed ? glmq_fail(err, GLMQ_E_NOMEM, "tokenizer metadata: out of memory")
                           : GLMQ_OK;
}
