/* The tokenizer as data: read from tokenizer.json and its neighbours, or from GGUF metadata.
 * Writing is in vocab_write.c (tokenizer.json) and writers/gguf_vocab.c.
 *
 * Only byte-level BPE exists among GLM models ("gpt2" in GGUF's words).  Token texts stay in
 * its alphabet (a space is U+0120); added tokens are plain text. */
#include "models/vocab.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/strmap.h"
#include "readers/gguf_kv.h"
#include <stdlib.h>
#include <string.h>

static glmq_status no_memory(glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_NOMEM, "vocabulary: out of memory");
}

static glmq_status allocate(glmq_vocab *v, glmq_arena *arena, uint64_t count, glmq_error *err)
{
    if (count == 0) return glmq_fail(err, GLMQ_E_FORMAT, "vocabulary: no tokens");
    if (count > GLMQ_TOKENS_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "vocabulary of %" PRIu64 " tokens, the limit is %d",
                         count, GLMQ_TOKENS_MAX);
    v->count = (size_t)count;
    v->tokens = glmq_arena_alloc(arena, v->count * sizeof *v->tokens);
    v->types = glmq_arena_alloc(arena, v->count);
    return v->tokens && v->types ? GLMQ_OK : no_memory(err);
}

/* Maps every text to its id.  Two ids with one text could not be told apart. */
static glmq_status index_tokens(const glmq_vocab *v, glmq_strmap *map, glmq_error *err)
{
    for (size_t i = 0; i < v->count; i++) {
        uint64_t old = 0;
        const int added = glmq_strmap_add(map, v->tokens[i].s, v->tokens[i].len, i, &old);
        if (added < 0) return no_memory(err);
        if (added == 0)
            return glmq_fail(err, GLMQ_E_FORMAT, "tokens %" PRIu64 " and %zu are both \"%.*s\"",
                             old, i, (int)(v->tokens[i].len < 64 ? v->tokens[i].len : 64),
                             v->tokens[i].s);
    }
    return GLMQ_OK;
}

/* ---- tokenizer.json ---- */

static glmq_status copy_text(glmq_vocab_text *out, glmq_arena *arena, const char *s, size_t len,
                             glmq_error *err)
{
    out->s = glmq_arena_strndup(arena, s, len);
    out->len = len;
    return out->s ? GLMQ_OK : no_memory(err);
}

static glmq_status place(glmq_vocab *v, glmq_arena *arena, const char *text, const cJSON *id,
                         uint8_t type, glmq_error *err)
{
    glmq_vocab_text *t;
    uint64_t n;
    if (!glmq_json_u64(id, &n))
        return glmq_fail(err, GLMQ_E_FORMAT, "token \"%s\": its id is no whole number", text);
    if (n >= v->count)
        return glmq_fail(err, GLMQ_E_FORMAT, "token \"%s\" has id %" PRIu64 ", the model has %zu",
                         text, n, v->count);
    t = &v->tokens[n];
    v->types[n] = type;
    if (!t->s) return copy_text(t, arena, text, strlen(text), err);
    if (type != TOKEN_NORMAL && strcmp(t->s, text) == 0) return GLMQ_OK; /* also in model.vocab */
    return glmq_fail(err, GLMQ_E_FORMAT, "tokens \"%s\" and \"%s\" have the same id %" PRIu64, t->s,
                     text, n);
}

/* llama.cpp's converter takes a text like <|user|> for a control token whatever the flag. */
static uint8_t added_type(const cJSON *token, const char *text)
{
    const size_t len = strlen(text);
    const int framed = len >= 4 && !strncmp(text, "<|", 2) && !strcmp(text + len - 2, "|>");
    return framed || cJSON_IsTrue(glmq_json_get(token, "special")) ? TOKEN_CONTROL : TOKEN_USER;
}

/* The number of ids, where config.json does not say it: the largest and one. */
static uint64_t count_ids(const cJSON *vocab, const cJSON *added)
{
    uint64_t count = 0, n;
    for (const cJSON *c = vocab ? vocab->child : NULL; c; c = c->next)
        if (glmq_json_u64(c, &n) && n >= count) count = n + 1;
    for (const cJSON *c = added ? added->child : NULL; c; c = c->next)
        if (glmq_json_u64(glmq_json_get(c, "id"), &n) && n >= count) count = n + 1;
    return count;
}

static glmq_status pad_tokens(glmq_vocab *v, glmq_arena *arena, glmq_error *err)
{
    for (size_t i = 0; i < v->count; i++) {
        if (v->tokens[i].s) continue;
        v->tokens[i].s = glmq_arena_printf(arena, "[PAD%zu]", i);
        if (!v->tokens[i].s) return no_memory(err);
        v->tokens[i].len = strlen(v->tokens[i].s);
        v->types[i] = TOKEN_UNUSED;
    }
    return GLMQ_OK;
}

static glmq_status read_tokens(glmq_vocab *v, glmq_arena *arena, const cJSON *root,
                               uint64_t vocab_size, glmq_error *err)
{
    const cJSON *vocab = glmq_json_get(root, "model.vocab");
    const cJSON *added = glmq_json_get(root, "added_tokens");
    if (!cJSON_IsObject(vocab))
        return glmq_fail(err, GLMQ_E_FORMAT, "model.vocab is absent, or no object");
    if (added && !cJSON_IsNull(added) && !cJSON_IsArray(added))
        return glmq_fail(err, GLMQ_E_FORMAT, "added_tokens is no array");
    GLMQ_TRY(allocate(v, arena, vocab_size ? vocab_size : count_ids(vocab, added), err));
    for (const cJSON *c = vocab->child; c; c = c->next)
        GLMQ_TRY(place(v, arena, c->string, c, TOKEN_NORMAL, err));
    for (const cJSON *c = added ? added->child : NULL; c; c = c->next) {
        const char *text = glmq_json_string(c, "content");
        if (!text) return glmq_fail(err, GLMQ_E_FORMAT, "an added token has no content");
        GLMQ_TRY(place(v, arena, text, glmq_json_get(c, "id"), added_type(c, text), err));
    }
    return pad_tokens(v, arena, err);
}

/* Appends a part of a merge; a space inside it is written as the byte alphabet does. */
static void add_part(glmq_text *t, const char *part)
{
    for (; *part; part++) {
        if (*part == ' ')
            glmq_text_add(t, "\xc4\xa0"); /* U+0120 */
        else
            glmq_text_add_n(t, part, 1);
    }
}

static glmq_status read_merge(glmq_text *text, const cJSON *m, size_t number, glmq_error *err)
{
    text->len = 0;
    if (cJSON_IsString(m)) {
        const char *space = strchr(m->valuestring, ' ');
        if (!space || space == m->valuestring || !space[1] || strchr(space + 1, ' '))
            return glmq_fail(err, GLMQ_E_FORMAT, "merge %zu \"%s\" is no pair", number,
                             m->valuestring);
        glmq_text_add(text, m->valuestring);
    } else if (cJSON_IsArray(m) && cJSON_GetArraySize(m) == 2 && cJSON_IsString(m->child) &&
               cJSON_IsString(m->child->next) && *m->child->valuestring &&
               *m->child->next->valuestring) {
        add_part(text, m->child->valuestring);
        glmq_text_add(text, " ");
        add_part(text, m->child->next->valuestring);
    } else {
        return glmq_fail(err, GLMQ_E_FORMAT, "merge %zu is neither a text nor a pair of texts",
                         number);
    }
    return text->failed ? no_memory(err) : GLMQ_OK;
}

static glmq_status read_merges(glmq_vocab *v, glmq_arena *arena, const cJSON *merges,
                               glmq_error *err)
{
    glmq_text text = { 0 };
    glmq_status st = GLMQ_OK;
    size_t i = 0;
    if (!cJSON_IsArray(merges))
        return glmq_fail(err, GLMQ_E_FORMAT, "model.merges is absent, or no array");
    v->merge_count = (size_t)cJSON_GetArraySize(merges);
    if (v->merge_count > GLMQ_TOKENS_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "%zu merges, the limit is %d", v->merge_count,
                         GLMQ_TOKENS_MAX);
    v->merges = glmq_arena_alloc(arena, v->merge_count * sizeof *v->merges);
    if (!v->merges) return no_memory(err);
    for (const cJSON *m = merges->child; m && !st; m = m->next, i++) {
        st = read_merge(&text, m, i, err);
        if (!st) st = copy_text(&v->merges[i], arena, text.data, text.len, err);
    }
    glmq_text_free(&text);
    return st;
}

/* Does the template of a post-processor put `token` first (or last)?  -1: no template. */
static int template_adds(const cJSON *root, int last, const char *token)
{
    const cJSON *post = glmq_json_get(root, "post_processor");
    const cJSON *list = glmq_json_get(post, "processors");
    for (const cJSON *p = list ? list->child : post; p; p = list ? p->next : NULL) {
        const char *type = glmq_json_string(p, "type");
        const cJSON *single = glmq_json_get(p, "single");
        const int n = cJSON_GetArraySize(single);
        const char *id;
        if (!type || strcmp(type, "TemplateProcessing") || n < 2) continue;
        id = glmq_json_string(cJSON_GetArrayItem(single, last ? n - 1 : 0), "SpecialToken.id");
        return id && token && strcmp(id, token) == 0;
    }
    return -1;
}

/* ---- tokenizer_config.json, chat_template.jinja ---- */

/* "eos_token": "…", or the older { "content": "…" }. */
static const char *special_text(const cJSON *config, const char *key)
{
    const cJSON *node = glmq_json_get(config, key);
    const char *s = cJSON_IsString(node) ? node->valuestring : glmq_json_string(node, "content");
    return s;
}

static int64_t id_of(const glmq_strmap *map, const char *text)
{
    uint64_t id;
    return text && glmq_strmap_get(map, text, strlen(text), &id) ? (int64_t)id : -1;
}

/* `stated` is tokenizer_config's own word, which wins over the post-processor's template. */
static int adds(const cJSON *root, const cJSON *stated, int last, const char *token)
{
    if (cJSON_IsBool(stated)) return cJSON_IsTrue(stated);
    return template_adds(root, last, token) == 1;
}

static void read_specials(glmq_vocab *v, const glmq_strmap *map, const cJSON *root,
                          const cJSON *config)
{
    const char *eos = special_text(config, "eos_token");
    const char *bos = special_text(config, "bos_token");
    if (!eos) eos = "<|endoftext|>";
    if (!bos) bos = "[gMASK]";
    v->eos = id_of(map, eos);
    v->pad = id_of(map, special_text(config, "pad_token"));
    v->bos = id_of(map, "[gMASK]");
    v->eot = id_of(map, "<|user|>");
    v->unk = id_of(map, "<|endoftext|>");
    v->eom = id_of(map, "<|observation|>");
    if (v->bos < 0) v->bos = id_of(map, bos);
    v->add_bos = adds(root, glmq_json_get(config, "add_bos_token"), 0, bos);
    v->add_eos = adds(root, glmq_json_get(config, "add_eos_token"), 1, eos);
}

static glmq_status read_template_list(glmq_vocab *v, glmq_arena *arena, const cJSON *list,
                                      glmq_error *err)
{
    const int n = cJSON_GetArraySize(list);
    v->templates = glmq_arena_alloc(arena, (size_t)n * sizeof *v->templates);
    if (!v->templates) return no_memory(err);
    for (const cJSON *c = list->child; c; c = c->next) {
        const char *name = glmq_json_string(c, "name"), *text = glmq_json_string(c, "template");
        glmq_vocab_template *t = &v->templates[v->template_count];
        if (!name || !text)
            return glmq_fail(err, GLMQ_E_FORMAT, "chat_template: an entry lacks name or template");
        t->name = glmq_arena_strdup(arena, name);
        t->text = glmq_arena_strdup(arena, text);
        if (!t->name || !t->text) return no_memory(err);
        t->len = strlen(text);
        if (strcmp(name, "default") == 0) {
            v->chat_template = t->text;
            v->chat_template_len = t->len;
        } else {
            v->template_count++;
        }
    }
    return GLMQ_OK;
}

static glmq_status read_template(glmq_vocab *v, glmq_arena *arena, const glmq_vocab_files *files,
                                 const cJSON *config, glmq_error *err)
{
    const cJSON *node = glmq_json_get(config, "chat_template");
    const char *text = files->chat_template;
    size_t len = files->chat_template_len;
    if (!text && cJSON_IsArray(node)) return read_template_list(v, arena, node, err);
    if (!text && cJSON_IsString(node)) {
        text = node->valuestring;
        len = strlen(text);
    }
    if (!text) return GLMQ_OK;
    v->chat_template = glmq_arena_strndup(arena, text, len);
    v->chat_template_len = len;
    return v->chat_template ? GLMQ_OK : no_memory(err);
}

static glmq_status parse_file(cJSON **out, const char *text, size_t len, const char *name,
                              glmq_error *err)
{
    if (!text) return GLMQ_OK;
    return glmq_within(err, glmq_json_parse(out, text, len, 0, err), "%s", name);
}

static glmq_status from_json(glmq_vocab *v, glmq_arena *arena, const glmq_vocab_files *files,
                             const cJSON *root, const cJSON *config, uint64_t vocab_size,
                             glmq_error *err)
{
    const char *type = glmq_json_string(root, "model.type");
    glmq_strmap map = { 0 };
    glmq_status st;
    if (type && strcmp(type, "BPE"))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "tokenizer.json: model type %s, only BPE is known", type);
    st = read_tokens(v, arena, root, vocab_size, err);
    if (!st) st = read_merges(v, arena, glmq_json_get(root, "model.merges"), err);
    if (!st) st = index_tokens(v, &map, err);
    st = glmq_within(err, st, "tokenizer.json");
    if (!st) {
        read_specials(v, &map, root, config);
        glmq_json_u64(glmq_json_get(config, "model_max_length"), &v->max_length);
        st = glmq_within(err, read_template(v, arena, files, config, err), "tokenizer_config.json");
    }
    glmq_strmap_free(&map);
    return st;
}

glmq_status glmq_vocab_from_files(glmq_vocab *v, glmq_arena *arena, const glmq_vocab_files *files,
                                  uint64_t vocab_size, glmq_error *err)
{
    cJSON *root = NULL, *config = NULL;
    glmq_status st;
    *v = (glmq_vocab){ .model = "gpt2", .pre = "glm4" };
    if (!files->tokenizer) return glmq_fail(err, GLMQ_E_FORMAT, "there is no tokenizer.json");
    st = parse_file(&root, files->tokenizer, files->tokenizer_len, "tokenizer.json", err);
    if (!st)
        st = parse_file(&config, files->tokenizer_config, files->tokenizer_config_len,
                        "tokenizer_config.json", err);
    if (!st) st = from_json(v, arena, files, root, config, vocab_size, err);
    cJSON_Delete(root);
    cJSON_Delete(config);
    return st;
}

/* ---- GGUF ---- */

static glmq_status gguf_strings(glmq_vocab_text *out, size_t n, glmq_arena *arena,
                                const glmq_gguf_value *v, glmq_error *err)
{
    uint64_t at = 0;
    const char *s;
    size_t len;
    for (size_t i = 0; i < n; i++) {
        if (!glmq_gguf_next_string(v, &at, &s, &len))
            return glmq_fail(err, GLMQ_E_FORMAT, "%.*s: %zu strings, expected %zu", (int)v->key_len,
                             v->key, i, n);
        GLMQ_TRY(copy_text(&out[i], arena, s, len, err));
    }
    return GLMQ_OK;
}

static const glmq_gguf_value *string_array(const glmq_gguf *kv, const char *key)
{
    const glmq_gguf_value *v = glmq_gguf_get(kv, key);
    return v && v->type == GGUF_ARRAY && v->item == GGUF_STRING ? v : NULL;
}

static glmq_status gguf_types(glmq_vocab *v, const glmq_gguf *kv, glmq_error *err)
{
    const glmq_gguf_value *types = glmq_gguf_get(kv, "tokenizer.ggml.token_type");
    memset(v->types, TOKEN_NORMAL, v->count);
    if (!types) return GLMQ_OK;
    if (types->type != GGUF_ARRAY || types->count != v->count)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "tokenizer.ggml.token_type has %" PRIu64 " entries, there are %zu tokens",
                         types->count, v->count);
    for (size_t i = 0; i < v->count; i++) {
        int64_t t;
        if (!glmq_gguf_item_i64(types, i, &t) || t < TOKEN_NORMAL || t > TOKEN_BYTE)
            return glmq_fail(err, GLMQ_E_FORMAT, "tokenizer.ggml.token_type[%zu] is no token type",
                             i);
        v->types[i] = (uint8_t)t;
    }
    return GLMQ_OK;
}

static glmq_status gguf_merges(glmq_vocab *v, glmq_arena *arena, const glmq_gguf *kv,
                               glmq_error *err)
{
    const glmq_gguf_value *m = string_array(kv, "tokenizer.ggml.merges");
    if (!m) return glmq_fail(err, GLMQ_E_FORMAT, "tokenizer.ggml.merges is absent, or no strings");
    if (m->count > GLMQ_TOKENS_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "%" PRIu64 " merges, the limit is %d", m->count,
                         GLMQ_TOKENS_MAX);
    v->merge_count = (size_t)m->count;
    v->merges = glmq_arena_alloc(arena, v->merge_count * sizeof *v->merges);
    if (!v->merges) return no_memory(err);
    return gguf_strings(v->merges, v->merge_count, arena, m, err);
}

/* An id of all ones is how some tools say "none". */
static glmq_status gguf_special(const glmq_vocab *v, const glmq_gguf *kv, const char *key,
                                int64_t *out, glmq_error *err)
{
    uint64_t id;
    *out = -1;
    if (!glmq_gguf_u64(kv, key, &id) || id == UINT32_MAX) return GLMQ_OK;
    if (id >= v->count)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s is %" PRIu64 ", there are %zu tokens", key, id,
                         v->count);
    *out = (int64_t)id;
    return GLMQ_OK;
}

static glmq_status gguf_specials(glmq_vocab *v, const glmq_gguf *kv, glmq_error *err)
{
    const struct {
        const char *key;
        int64_t *id;
    } specials[] = {
        { "tokenizer.ggml.bos_token_id", &v->bos },
        { "tokenizer.ggml.eos_token_id", &v->eos },
        { "tokenizer.ggml.padding_token_id", &v->pad },
        { "tokenizer.ggml.unknown_token_id", &v->unk },
        { "tokenizer.ggml.eot_token_id", &v->eot },
        { "tokenizer.ggml.eom_token_id", &v->eom },
    };
    for (size_t i = 0; i < sizeof specials / sizeof specials[0]; i++)
        GLMQ_TRY(gguf_special(v, kv, specials[i].key, specials[i].id, err));
    if (!glmq_gguf_bool(kv, "tokenizer.ggml.add_bos_token", &v->add_bos)) v->add_bos = -1;
    if (!glmq_gguf_bool(kv, "tokenizer.ggml.add_eos_token", &v->add_eos)) v->add_eos = -1;
    return GLMQ_OK;
}

/* tokenizer.chat_templates lists the names of those that are not the default. */
static glmq_status gguf_templates(glmq_vocab *v, glmq_arena *arena, const glmq_gguf *kv,
                                  glmq_error *err)
{
    const glmq_gguf_value *names = string_array(kv, "tokenizer.chat_templates");
    const char *s;
    size_t len;
    if (glmq_gguf_string(kv, "tokenizer.chat_template", &s, &len)) {
        v->chat_template = glmq_arena_strndup(arena, s, len);
        v->chat_template_len = len;
        if (!v->chat_template) return no_memory(err);
    }
    if (!names || names->count > GLMQ_TOKENS_MAX) return GLMQ_OK;
    v->templates = glmq_arena_alloc(arena, (size_t)names->count * sizeof *v->templates);
    if (!v->templates) return no_memory(err);
    for (uint64_t at = 0; glmq_gguf_next_string(names, &at, &s, &len);) {
        glmq_vocab_template *t = &v->templates[v->template_count];
        const char *key = glmq_arena_printf(arena, "tokenizer.chat_template.%.*s",
                                            (int)(len < GLMQ_NAME_MAX ? len : GLMQ_NAME_MAX), s);
        t->name = glmq_arena_strndup(arena, s, len);
        if (!key || !t->name) return no_memory(err);
        if (!glmq_gguf_string(kv, key, &s, &len)) continue;
        t->text = glmq_arena_strndup(arena, s, len);
        t->len = len;
        if (!t->text) return no_memory(err);
        v->template_count++;
    }
    return GLMQ_OK;
}

static glmq_status gguf_name(const char **out, glmq_arena *arena, const glmq_gguf *kv,
                             const char *key, glmq_error *err)
{
    const char *s;
    size_t len;
    *out = NULL;
    if (!glmq_gguf_string(kv, key, &s, &len)) return GLMQ_OK;
    *out = glmq_arena_strndup(arena, s, len);
    return *out ? GLMQ_OK : no_memory(err);
}

static void gguf_max_length(glmq_vocab *v, glmq_arena *arena, const glmq_gguf *kv)
{
    const char *arch;
    size_t len;
    if (glmq_gguf_string(kv, "general.architecture", &arch, &len) && len < 64) {
        const char *key = glmq_arena_printf(arena, "%.*s.context_length", (int)len, arch);
        if (key) glmq_gguf_u64(kv, key, &v->max_length);
    }
}

glmq_status glmq_vocab_from_gguf(glmq_vocab *v, glmq_arena *arena, const struct glmq_gguf *kv,
                                 glmq_error *err)
{
    const glmq_gguf_value *tokens = string_array(kv, "tokenizer.ggml.tokens");
    *v = (glmq_vocab){ 0 };
    GLMQ_TRY(gguf_name(&v->model, arena, kv, "tokenizer.ggml.model", err));
    GLMQ_TRY(gguf_name(&v->pre, arena, kv, "tokenizer.ggml.pre", err));
    if (!v->model || strcmp(v->model, "gpt2"))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "tokenizer.ggml.model is %s, only gpt2 (byte-level BPE) is known",
                         v->model ? v->model : "absent");
    if (!tokens)
        return glmq_fail(err, GLMQ_E_FORMAT, "tokenizer.ggml.tokens is absent, or no strings");
    GLMQ_TRY(allocate(v, arena, tokens->count, err));
    GLMQ_TRY(gguf_strings(v->tokens, v->count, arena, tokens, err));
    GLMQ_TRY(gguf_types(v, kv, err));
    GLMQ_TRY(gguf_merges(v, arena, kv, err));
    GLMQ_TRY(gguf_specials(v, kv, err));
    GLMQ_TRY(gguf_templates(v, arena, kv, err));
    gguf_max_length(v, arena, kv);
    return GLMQ_OK;
}
