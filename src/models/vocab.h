/* The tokenizer as data, from tokenizer.json (+ tokenizer_config.json,
 * generation_config.json, chat_template.jinja) or from GGUF metadata, and back. */
#ifndef GLMQ_MODELS_VOCAB_H
#define GLMQ_MODELS_VOCAB_H

#include "base/arena.h"
#include "base/json.h"
#include "glmq/error.h"
#include <stdint.h>

enum { TOKEN_NORMAL = 1, TOKEN_UNKNOWN, TOKEN_CONTROL, TOKEN_USER, TOKEN_UNUSED, TOKEN_BYTE };

typedef struct glmq_vocab_text {
    const char *s;
    size_t len;
} glmq_vocab_text;

typedef struct glmq_vocab_template {
    const char *name, *text;
    size_t len;
} glmq_vocab_template;

typedef struct glmq_vocab {
    const char *model, *pre; /* "gpt2", "glm4"                                          */
    size_t count;            /* tokens, padded to the model's vocab_size                */
    glmq_vocab_text *tokens;
    uint8_t *types;
    size_t merge_count;
    glmq_vocab_text *merges; /* "a b"                                                   */
    int64_t bos, eos, pad, unk, eot, eom; /* -1: none                                    */
    int add_bos, add_eos;      /* -1: not stated                                          */
    const char *chat_template; /* NULL: none                                             */
    size_t chat_template_len;
    size_t template_count; /* further templates, by name                              */
    glmq_vocab_template *templates;
    uint64_t max_length; /* model_max_length; 0: not known                          */
} glmq_vocab;

/* JSON texts as read from the files; NULL where a file is absent.  `vocab_size` pads the
 * tokens with "[PAD{id}]" of type UNUSED (0: as many as there are); an id beyond it is
 * GLMQ_E_FORMAT.  Everything the vocab points to is in the arena. */
typedef struct glmq_vocab_files {
    const char *tokenizer, *tokenizer_config, *generation_config, *chat_template;
    size_t tokenizer_len, tokenizer_config_len, generation_config_len, chat_template_len;
} glmq_vocab_files;
glmq_status glmq_vocab_from_files(glmq_vocab *v, glmq_arena *arena, const glmq_vocab_files *files,
                                  uint64_t vocab_size, glmq_error *err);

/* From tokenizer.ggml.* and tokenizer.chat_template*.  GLMQ_E_UNSUPPORTED when the metadata
 * hold no byte-level BPE ("gpt2"). */
struct glmq_gguf;
glmq_status glmq_vocab_from_gguf(glmq_vocab *v, glmq_arena *arena, const struct glmq_gguf *kv,
                                 glmq_error *err);

struct glmq_gguf_kv;
glmq_status glmq_vocab_to_gguf(struct glmq_gguf_kv *kv, const glmq_vocab *v, glmq_error *err);

/* tokenizer.json rebuilt (pre = glm4 only, else GLMQ_E_UNSUPPORTED), tokenizer_config.json. */
glmq_status glmq_vocab_to_tokenizer_json(glmq_text *out, const glmq_vocab *v, glmq_error *err);
glmq_status glmq_vocab_to_tokenizer_config(glmq_text *out, const glmq_vocab *v, glmq_error *err);
#endif
