/* tokenizer.json and tokenizer_config.json, rebuilt from a vocabulary that came out of a GGUF.
 *
 * A GGUF lacks the normalizer, the pre-tokenizer's regex, the decoder and the post-processor;
 * for pre = glm4 all of them are known, so the rebuilt file gives the same ids.  Its layout is
 * that of the tokenizers library (two spaces, vocabulary by id, merges as pairs), so that a
 * model goes to GGUF and back with the same bytes of tokenizer.json. */
#include "models/vocab.h"
#include "base/error.h"
#include "base/text.h"
#include <string.h>

static const char glm4_middle[] =
    "  \"normalizer\": null,\n"
    "  \"pre_tokenizer\": {\n"
    "    \"type\": \"Sequence\",\n"
    "    \"pretokenizers\": [\n"
    "      {\n"
    "        \"type\": \"Split\",\n"
    "        \"pattern\": {\n"
    "          \"Regex\": \"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|"
    "\\\\p{N}{1,3}| ?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|"
    "\\\\s+(?!\\\\S)|\\\\s+\"\n"
    "        },\n"
    "        \"behavior\": \"Isolated\",\n"
    "        \"invert\": false\n"
    "      },\n"
    "      {\n"
    "        \"type\": \"ByteLevel\",\n"
    "        \"add_prefix_space\": false,\n"
    "        \"trim_offsets\": true,\n"
    "        \"use_regex\": false\n"
    "      }\n"
    "    ]\n"
    "  },\n"
    "  \"post_processor\": {\n"
    "    \"type\": \"ByteLevel\",\n"
    "    \"add_prefix_space\": true,\n"
    "    \"trim_offsets\": false,\n"
    "    \"use_regex\": true\n"
    "  },\n"
    "  \"decoder\": {\n"
    "    \"type\": \"ByteLevel\",\n"
    "    \"add_prefix_space\": true,\n"
    "    \"trim_offsets\": true,\n"
    "    \"use_regex\": true\n"
    "  },\n"
    "  \"model\": {\n"
    "    \"type\": \"BPE\",\n"
    "    \"dropout\": null,\n"
    "    \"unk_token\": null,\n"
    "    \"continuing_subword_prefix\": null,\n"
    "    \"end_of_word_suffix\": null,\n"
    "    \"fuse_unk\": false,\n"
    "    \"byte_fallback\": false,\n"
    "    \"ignore_merges\": false,\n";

static int is_added(uint8_t type)
{
    return type == TOKEN_CONTROL || type == TOKEN_USER;
}

/* Texts go into JSON: they must be UTF-8, and a NUL would be cut off by many readers. */
static glmq_status check_text(const glmq_vocab_text *t, const char *what, size_t i, glmq_error *err)
{
    if (glmq_utf8_valid(t->s, t->len) && !memchr(t->s, '\0', t->len)) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s %zu is no text that JSON can hold", what, i);
}

static void quote(glmq_text *out, const glmq_vocab_text *t)
{
    glmq_json_quote(out, t->s, t->len);
}

static glmq_status add_added_tokens(glmq_text *out, const glmq_vocab *v, glmq_error *err)
{
    const char *separator = "\n";
    glmq_text_add(out, "  \"added_tokens\": [");
    for (size_t i = 0; i < v->count; i++) {
        if (!is_added(v->types[i])) continue;
        GLMQ_TRY(check_text(&v->tokens[i], "token", i, err));
        glmq_text_printf(out, "%s    {\n      \"id\": %zu,\n      \"content\": ", separator, i);
        quote(out, &v->tokens[i]);
        glmq_text_printf(out,
                         ",\n      \"single_word\": false,\n      \"lstrip\": false,\n"
                         "      \"rstrip\": false,\n      \"normalized\": false,\n"
                         "      \"special\": %s\n    }",
                         v->types[i] == TOKEN_CONTROL ? "true" : "false");
        separator = ",\n";
    }
    glmq_text_add(out, *separator == ',' ? "\n  ],\n" : "],\n");
    return GLMQ_OK;
}

static glmq_status add_vocab(glmq_text *out, const glmq_vocab *v, glmq_error *err)
{
    const char *separator = "\n";
    glmq_text_add(out, "    \"vocab\": {");
    for (size_t i = 0; i < v->count; i++) {
        if (is_added(v->types[i]) || v->types[i] == TOKEN_UNUSED) continue;
        GLMQ_TRY(check_text(&v->tokens[i], "token", i, err));
        glmq_text_printf(out, "%s      ", separator);
        quote(out, &v->tokens[i]);
        glmq_text_printf(out, ": %zu", i);
        separator = ",\n";
    }
    glmq_text_add(out, *separator == ',' ? "\n    },\n" : "},\n");
    return GLMQ_OK;
}

static glmq_status add_merges(glmq_text *out, const glmq_vocab *v, glmq_error *err)
{
    glmq_text_add(out, "    \"merges\": [");
    for (size_t i = 0; i < v->merge_count; i++) {
        const glmq_vocab_text *m = &v->merges[i];
        const char *space = memchr(m->s, ' ', m->len);
        const size_t left = space ? (size_t)(space - m->s) : 0;
        GLMQ_TRY(check_text(m, "merge", i, err));
        if (left == 0 || left + 1 == m->len || memchr(space + 1, ' ', m->len - left - 1))
            return glmq_fail(err, GLMQ_E_FORMAT, "merge %zu is no pair", i);
        glmq_text_add(out, i ? ",\n      [\n        " : "\n      [\n        ");
        glmq_json_quote(out, m->s, left);
        glmq_text_add(out, ",\n        ");
        glmq_json_quote(out, space + 1, m->len - left - 1);
        glmq_text_add(out, "\n      ]");
    }
    glmq_text_add(out, v->merge_count ? "\n    ]\n" : "]\n");
    return GLMQ_OK;
}

static glmq_status finish(const glmq_text *out, const char *name, glmq_error *err)
{
    return out->failed ? glmq_fail(err, GLMQ_E_NOMEM, "%s: out of memory", name) : GLMQ_OK;
}

glmq_status glmq_vocab_to_tokenizer_json(glmq_text *out, const glmq_vocab *v, glmq_error *err)
{
    if (!v->pre || strcmp(v->pre, "glm4"))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "tokenizer.ggml.pre is %s: tokenizer.json can be rebuilt for glm4 only",
                         v->pre ? v->pre : "absent");
    glmq_text_add(out, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n"
                       "  \"padding\": null,\n");
    GLMQ_TRY(add_added_tokens(out, v, err));
    glmq_text_add(out, glm4_middle);
    GLMQ_TRY(add_vocab(out, v, err));
    GLMQ_TRY(add_merges(out, v, err));
    glmq_text_add(out, "  }\n}");
    return finish(out, "tokenizer.json", err);
}

/* ---- tokenizer_config.json ---- */

static glmq_status add_decoder_table(glmq_text *out, const glmq_vocab *v, glmq_error *err)
{
    const char *separator = "\n";
    glmq_text_add(out, "  \"added_tokens_decoder\": {");
    for (size_t i = 0; i < v->count; i++) {
        if (!is_added(v->types[i])) continue;
        GLMQ_TRY(check_text(&v->tokens[i], "token", i, err));
        glmq_text_printf(out, "%s    \"%zu\": {\n      \"content\": ", separator, i);
        quote(out, &v->tokens[i]);
        glmq_text_printf(out,
                         ",\n      \"lstrip\": false,\n      \"normalized\": false,\n"
                         "      \"rstrip\": false,\n      \"single_word\": false,\n"
                         "      \"special\": %s\n    }",
                         v->types[i] == TOKEN_CONTROL ? "true" : "false");
        separator = ",\n";
    }
    glmq_text_add(out, *separator == ',' ? "\n  },\n" : "},\n");
    return GLMQ_OK;
}

static void add_special_list(glmq_text *out, const glmq_vocab *v)
{
    const char *separator = "\n";
    glmq_text_add(out, "  \"additional_special_tokens\": [");
    for (size_t i = 0; i < v->count; i++) {
        if (v->types[i] != TOKEN_CONTROL) continue;
        glmq_text_printf(out, "%s    ", separator);
        quote(out, &v->tokens[i]);
        separator = ",\n";
    }
    glmq_text_add(out, *separator == ',' ? "\n  ],\n" : "],\n");
}

static void add_named(glmq_text *out, const glmq_vocab *v, const char *key, int64_t id)
{
    if (id < 0 || (uint64_t)id >= v->count || !is_added(v->types[id])) return;
    glmq_text_printf(out, "  \"%s\": ", key);
    quote(out, &v->tokens[id]);
    glmq_text_add(out, ",\n");
}

/* The default template is a file of its own (chat_template.jinja), unless there are several. */
static glmq_status add_templates(glmq_text *out, const glmq_vocab *v, glmq_error *err)
{
    if (v->template_count == 0) return GLMQ_OK;
    glmq_text_add(out, "  \"chat_template\": [");
    for (size_t i = 0; i <= v->template_count; i++) {
        const int first = i == v->template_count; /* the default one comes last */
        const char *name = first ? "default" : v->templates[i].name;
        const glmq_vocab_text text = { first ? v->chat_template : v->templates[i].text,
                                       first ? v->chat_template_len : v->templates[i].len };
        const glmq_vocab_text key = { name, strlen(name) };
        if (!text.s) continue;
        GLMQ_TRY(check_text(&text, "chat template", i, err));
        GLMQ_TRY(check_text(&key, "name of chat template", i, err));
        glmq_text_add(out, i ? ",\n    {\n      \"name\": " : "\n    {\n      \"name\": ");
        quote(out, &key);
        glmq_text_add(out, ",\n      \"template\": ");
        quote(out, &text);
        glmq_text_add(out, "\n    }");
    }
    glmq_text_add(out, "\n  ],\n");
    return GLMQ_OK;
}

glmq_status glmq_vocab_to_tokenizer_config(glmq_text *out, const glmq_vocab *v, glmq_error *err)
{
    glmq_text_add(out, "{\n");
    if (v->add_bos == 1) glmq_text_add(out, "  \"add_bos_token\": true,\n");
    if (v->add_eos == 1) glmq_text_add(out, "  \"add_eos_token\": true,\n");
    GLMQ_TRY(add_decoder_table(out, v, err));
    add_special_list(out, v);
    GLMQ_TRY(add_templates(out, v, err));
    glmq_text_add(out, "  \"clean_up_tokenization_spaces\": false,\n"
                       "  \"do_lower_case\": false,\n");
    add_named(out, v, "eos_token", v->eos);
    glmq_text_add(out, "  \"extra_special_tokens\": {},\n"
                       "  \"model_input_names\": [\n    \"input_ids\",\n"
                       "    \"attention_mask\"\n  ],\n");
    if (v->max_length)
        glmq_text_printf(out, "  \"model_max_length\": %llu,\n", (unsigned long long)v->max_length);
    add_named(out, v, "pad_token", v->pad);
    glmq_text_add(out, "  \"padding_side\": \"left\",\n  \"remove_space\": false,\n"
                       "  \"tokenizer_class\": \"PreTrainedTokenizerFast\"\n}\n");
    return finish(out, "tokenizer_config.json", err);
}
