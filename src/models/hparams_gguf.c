/* Hyper-parameters and GGUF metadata: read, written, and turned into a config.json.
 *
 * Most keys are copied by the table (hparams_table.h).  The rest is derived:
 *
 *   block_count = layers + kept MTP layers
 *   glm4_moe    rope.dimension_count = head_dim * partial_rotary
 *               attention.value_length = attention.key_length = head_dim
 *   MLA         attention.key_length = kv_lora + qk_rope, .value_length = kv_lora,
 *               .key_length_mla = qk_nope + qk_rope, .value_length_mla = v_head,
 *               .head_count_kv = 1: the latent is the one key-value head
 *   MLA with kv_b unsplit: no *_mla keys, .key_length = qk_nope + qk_rope,
 *               .value_length = v_head, .head_count_kv = heads */
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "hparams_table.h"
#include "readers/gguf_kv.h"
#include "writers/layout.h"
#include <stdlib.h>
#include <string.h>

enum { GATING_SIGMOID = 2, KEY_MAX = 128 };

#define F(name) offsetof(glmq_hparams, name)

/* The key behind the architecture's prefix. */
static const char *full_key(char out[KEY_MAX], const glmq_arch *arch, const char *suffix)
{
    const size_t n = strlen(arch->gguf), m = strlen(suffix);
    if (n + m + 2 > KEY_MAX) return ""; /* our own tables are shorter */
    memcpy(out, arch->gguf, n);
    out[n] = '.';
    memcpy(out + n + 1, suffix, m + 1);
    return out;
}

/* ---- reading ---- */

/* A scalar, or an array with a value per layer that are all the same.  *found says whether
 * the key is there. */
static glmq_status get_count(const glmq_gguf *kv, const char *key, uint64_t *out, int *found,
                             glmq_error *err)
{
    const glmq_gguf_value *v = glmq_gguf_get(kv, key);
    int64_t first, item;
    *found = v != NULL;
    if (!v) return GLMQ_OK;
    if (v->type != GGUF_ARRAY) {
        if (glmq_gguf_u64(kv, key, out)) return GLMQ_OK;
        return glmq_fail(err, GLMQ_E_FORMAT, "%s is no count", key);
    }
    if (!glmq_gguf_item_i64(v, 0, &first) || first < 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s is no list of counts", key);
    for (uint64_t i = 1; i < v->count; i++)
        if (!glmq_gguf_item_i64(v, i, &item) || item != first)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                             "%s[%" PRIu64 "] differs from %s[0] = %lld: one value for all layers "
                             "is expected",
                             key, i, key, (long long)first);
    *out = (uint64_t)first;
    return GLMQ_OK;
}

static glmq_status check_count(const glmq_hp_row *row, const char *key, uint64_t n, glmq_error *err)
{
    if ((double)n <= row->max && (n > 0 || row->flags & HP_MAY_BE_0)) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " is not in %d..%.0f", key, n,
                     row->flags & HP_MAY_BE_0 ? 0 : 1, row->max);
}

/* What llama.cpp takes where a key is absent; every other key must be there. */
static const struct {
    size_t field;
    double value;
} absent[] = {
    { F(mtp_layers), 0 },   { F(groups), 1 },    { F(groups_used), 1 },    { F(dense_layers), 0 },
    { F(q_lora), 0 },       { F(head_dim), 0 },  { F(shared_experts), 0 }, { F(rope_theta), 1e4 },
    { F(routed_scale), 1 }, { F(norm_topk), 0 }, { F(vocab), 0 },          { F(v_head), 0 },
};

static glmq_status take_absent(glmq_hparams *h, const glmq_hp_row *row, const char *key,
                               glmq_error *err)
{
    void *field = (char *)h + row->field;
    for (size_t i = 0; i < GLMQ_COUNT(absent); i++) {
        if (absent[i].field != row->field) continue;
        if (row->type == HP_REAL)
            *(double *)field = absent[i].value;
        else if (row->type == HP_FLAG)
            *(int *)field = absent[i].value != 0;
        else
            *(uint64_t *)field = (uint64_t)absent[i].value;
        return GLMQ_OK;
    }
    return glmq_fail(err, GLMQ_E_FORMAT, "%s is missing", key);
}

static glmq_status read_row(glmq_hparams *h, const glmq_gguf *kv, const glmq_hp_row *row,
                            glmq_error *err)
{
    char name[KEY_MAX];
    const char *key = full_key(name, h->arch, row->gguf);
    void *field = (char *)h + row->field;
    int found = 0;

    if (row->type == HP_COUNT) {
        GLMQ_TRY(get_count(kv, key, field, &found, err));
        if (!found) return take_absent(h, row, key, err);
        return check_count(row, key, *(uint64_t *)field, err);
    }
    if (!glmq_gguf_get(kv, key)) return take_absent(h, row, key, err);
    if (row->type == HP_REAL ? glmq_gguf_f64(kv, key, field) : glmq_gguf_bool(kv, key, field))
        return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT, "%s is no %s", key,
                     row->type == HP_REAL ? "number" : "flag");
}

/* A count that is no row of the table; `fallback` where it is absent (0: it must be there). */
static glmq_status read_extra(const glmq_hparams *h, const glmq_gguf *kv, const char *suffix,
                              uint64_t fallback, uint64_t max, uint64_t *out, glmq_error *err)
{
    char name[KEY_MAX];
    const char *key = full_key(name, h->arch, suffix);
    int found = 0;
    *out = 0;
    GLMQ_TRY(get_count(kv, key, out, &found, err));
    if (!found) *out = fallback;
    if (!found && !fallback) return glmq_fail(err, GLMQ_E_FORMAT, "%s is missing", key);
    if (*out == 0 || *out > max)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " is not in 1..%" PRIu64, key, *out,
                         max);
    return GLMQ_OK;
}

/* deepseek2 is also DeepSeek's and others'; what we take for GLM has GLM's pre-tokenizer. */
static glmq_status find_arch(const glmq_arch **out, const glmq_gguf *kv, glmq_error *err)
{
    char word[64];
    const char *s, *pre;
    size_t len, pre_len;
    *out = NULL;
    if (!glmq_gguf_string(kv, "general.architecture", &s, &len))
        return glmq_fail(err, GLMQ_E_FORMAT, "general.architecture is missing");
    if (len < sizeof word) {
        memcpy(word, s, len);
        word[len] = '\0';
        *out = glmq_arch_by_gguf(word);
    }
    if (!*out)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "architecture \"%.*s\", known are glm4moe, deepseek2 (of GLM-4.7-Flash) "
                         "and glm-dsa",
                         (int)(len < 64 ? len : 64), s);
    if ((*out)->model == GLMQ_GLM4_MOE_LITE &&
        glmq_gguf_string(kv, "tokenizer.ggml.pre", &pre, &pre_len) &&
        (pre_len != 4 || memcmp(pre, "glm4", 4)))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "architecture deepseek2 with tokenizer.ggml.pre \"%.*s\": not a GLM model",
                         (int)(pre_len < 64 ? pre_len : 64), pre);
    return GLMQ_OK;
}

/* A missing key means sigmoid: every GLM routes so (llama.cpp guesses by other keys). */
static glmq_status check_gating(const glmq_hparams *h, const glmq_gguf *kv, glmq_error *err)
{
    char name[KEY_MAX];
    uint64_t gating;
    const char *key = full_key(name, h->arch, "expert_gating_func");
    if (!glmq_gguf_u64(kv, key, &gating) || gating == 0 || gating == GATING_SIGMOID) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s is %" PRIu64 ", only %d (sigmoid) is known", key,
                     gating, GATING_SIGMOID);
}

static glmq_status read_layers(glmq_hparams *h, const glmq_gguf *kv, glmq_error *err)
{
    uint64_t blocks = 0;
    GLMQ_TRY(read_extra(h, kv, "block_count", 0, GLMQ_LAYERS_MAX, &blocks, err));
    if (blocks <= h->mtp_layers)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "block_count %" PRIu64 " with %" PRIu64 " nextn_predict_layers leaves no "
                         "layer",
                         blocks, h->mtp_layers);
    h->layers = blocks - h->mtp_layers;
    return check_count(HP_ROW(layers), "block_count", h->layers, err);
}

static glmq_status read_vocab_size(glmq_hparams *h, const glmq_gguf *kv, glmq_error *err)
{
    const glmq_gguf_value *tokens = glmq_gguf_get(kv, "tokenizer.ggml.tokens");
    if (h->vocab) return GLMQ_OK;
    if (!tokens || tokens->type != GGUF_ARRAY)
        return glmq_fail(err, GLMQ_E_FORMAT, "neither %s.vocab_size nor tokenizer.ggml.tokens",
                         h->arch->gguf);
    h->vocab = tokens->count;
    return check_count(HP_ROW(vocab), "tokenizer.ggml.tokens", h->vocab, err);
}

static glmq_status read_gqa(glmq_hparams *h, const glmq_gguf *kv, glmq_error *err)
{
    const uint64_t dim = h->head_dim ? h->head_dim : h->hidden / h->heads;
    uint64_t value = 0, rotary = 0;
    if (dim == 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "%" PRIu64 " heads of %" PRIu64 " columns", h->heads,
                         h->hidden);
    GLMQ_TRY(read_extra(h, kv, "attention.value_length", dim, 65536, &value, err));
    GLMQ_TRY(read_extra(h, kv, "rope.dimension_count", dim, dim, &rotary, err));
    if (value != dim)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "attention.value_length %" PRIu64 " differs from key_length %" PRIu64,
                         value, dim);
    h->head_dim = dim;
    h->partial_rotary = (double)rotary / (double)dim;
    return GLMQ_OK;
}

/* The head dimensions: from the *_mla keys, or in a file with kv_b unsplit from the others. */
static glmq_status read_mla(glmq_hparams *h, const glmq_gguf *kv, glmq_error *err)
{
    char name[KEY_MAX];
    const int split = glmq_gguf_get(kv, full_key(name, h->arch, "attention.key_length_mla")) != 0;
    uint64_t key = 0;
    GLMQ_TRY(read_extra(h, kv, split ? "attention.key_length_mla" : "attention.key_length", 0,
                        2 * 65536, &key, err));
    if (key <= h->qk_rope)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "heads of %" PRIu64 " columns with %" PRIu64 " rotated leave no others",
                         key, h->qk_rope);
    h->qk_nope = key - h->qk_rope;
    if (h->v_head == 0)
        GLMQ_TRY(read_extra(h, kv, "attention.value_length", 0, 65536, &h->v_head, err));
    return check_count(HP_ROW(qk_nope), "qk_nope_head_dim", h->qk_nope, err);
}

/* Without the key llama.cpp goes by the context: long means the pattern of GLM-5.2. */
static uint8_t indexer_default(uint64_t layer, uint64_t context)
{
    return context < 1048576 || layer < 2 || (layer - 2) % 4 == 0;
}

static glmq_status read_indexer(glmq_hparams *h, glmq_arena *arena, const glmq_gguf *kv,
                                glmq_error *err)
{
    char name[KEY_MAX];
    const char *key = full_key(name, h->arch, "attention.indexer.types");
    const glmq_gguf_value *v = glmq_gguf_get(kv, key);
    int64_t full;
    if (v && (v->type != GGUF_ARRAY || v->count != h->layers))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s has %" PRIu64 " entries, the model %" PRIu64 " layers", key,
                         v->type == GGUF_ARRAY ? v->count : 0, h->layers);
    h->indexer_full = glmq_arena_alloc(arena, (size_t)h->layers);
    if (!h->indexer_full) return glmq_fail(err, GLMQ_E_NOMEM, "%s", key);
    for (uint64_t l = 0; l < h->layers; l++) {
        if (!v) {
            h->indexer_full[l] = indexer_default(l, h->max_positions);
            continue;
        }
        if (!glmq_gguf_item_i64(v, l, &full))
            return glmq_fail(err, GLMQ_E_FORMAT, "%s[%" PRIu64 "] is no flag", key, l);
        h->indexer_full[l] = full != 0;
    }
    return GLMQ_OK;
}

/* The frequency and offset that give these types, for config.json; 1 and 2 (all full, the
 * published default) where no small pair does: the list itself decides. */
static void infer_indexer_rule(glmq_hparams *h)
{
    h->index_topk_freq = 1;
    h->index_skip_topk_offset = 2;
    for (uint64_t freq = 1; freq <= 16; freq++) {
        for (uint64_t skip = 2; skip <= 16; skip++) {
            uint64_t l = 0;
            while (l < h->layers &&
                   h->indexer_full[l] == (l + 1 <= skip || (l + 1 - skip) % freq == 0))
                l++;
            if (l < h->layers) continue;
            h->index_topk_freq = freq;
            h->index_skip_topk_offset = skip;
            return;
        }
    }
}

glmq_status glmq_hparams_from_gguf(glmq_hparams *h, glmq_arena *arena, const struct glmq_gguf *kv,
                                   glmq_error *err)
{
    memset(h, 0, sizeof *h);
    GLMQ_TRY(find_arch(&h->arch, kv, err));
    for (size_t i = 0; i < glmq_hp_row_count; i++) {
        const glmq_hp_row *row = &glmq_hp_rows[i];
        if (row->gguf && row->models & (1u << h->arch->model)) GLMQ_TRY(read_row(h, kv, row, err));
    }
    GLMQ_TRY(read_layers(h, kv, err));
    GLMQ_TRY(read_vocab_size(h, kv, err));
    GLMQ_TRY(check_gating(h, kv, err));
    GLMQ_TRY(h->arch->mla ? read_mla(h, kv, err) : read_gqa(h, kv, err));
    if (h->arch->dsa) {
        GLMQ_TRY(read_indexer(h, arena, kv, err));
        infer_indexer_rule(h);
    }
    return glmq_hparams_complete(h, arena, err);
}

/* ---- writing GGUF keys ---- */

static void put_count(glmq_gguf_kv *kv, const glmq_hparams *h, const char *suffix, uint64_t v)
{
    char name[KEY_MAX];
    glmq_gguf_put_u32(kv, full_key(name, h->arch, suffix), (uint32_t)v);
}

static void put_row(glmq_gguf_kv *kv, const glmq_hparams *h, const glmq_hp_row *row)
{
    char name[KEY_MAX];
    const char *key = full_key(name, h->arch, row->gguf);
    const void *field = (const char *)h + row->field;
    switch (row->type) {
    case HP_COUNT: put_count(kv, h, row->gguf, *(const uint64_t *)field); break;
    case HP_REAL: glmq_gguf_put_f32(kv, key, (float)*(const double *)field); break;
    case HP_FLAG: glmq_gguf_put_bool(kv, key, *(const int *)field); break;
    }
}

/* Rows of the table that llama.cpp's converter leaves out in these cases. */
static int left_out(const glmq_hparams *h, const glmq_hp_row *row, unsigned what)
{
    if (row->field == F(mtp_layers)) return 1; /* put_layers */
    if (row->field == F(vocab)) return !h->arch->mla;
    if (row->field == F(q_lora)) return h->q_lora == 0;
    if (row->field == F(v_head)) return (what & GLMQ_GGUF_FUSED_KV_B) != 0;
    return 0;
}

static void put_attention(glmq_gguf_kv *kv, const glmq_hparams *h, unsigned what)
{
    const int fused = (what & GLMQ_GGUF_FUSED_KV_B) != 0;
    if (!h->arch->mla) {
        put_count(kv, h, "attention.value_length", h->head_dim);
        put_count(kv, h, "rope.dimension_count",
                  (uint64_t)((double)h->head_dim * h->partial_rotary));
        return;
    }
    put_count(kv, h, "attention.head_count_kv", fused ? h->heads : 1);
    put_count(kv, h, "attention.key_length", (fused ? h->qk_nope : h->kv_lora) + h->qk_rope);
    put_count(kv, h, "attention.value_length", fused ? h->v_head : h->kv_lora);
    if (!fused) put_count(kv, h, "attention.key_length_mla", h->qk_nope + h->qk_rope);
}

static void put_layers(glmq_gguf_kv *kv, const glmq_hparams *h, unsigned what)
{
    const int mtp = what & GLMQ_GGUF_KEEP_MTP && h->mtp_layers;
    put_count(kv, h, "block_count", h->layers + (mtp ? h->mtp_layers : 0));
    if (mtp) put_count(kv, h, "nextn_predict_layers", h->mtp_layers);
}

static glmq_status fits_gguf(const glmq_hparams *h, glmq_error *err)
{
    for (uint64_t l = 0; l < h->layers; l++) {
        if (h->layer_sparse[l] != (l >= h->dense_layers))
            return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                             "layer %" PRIu64 " is %s: a GGUF can only say that the first %" PRIu64
                             " layers are dense",
                             l, h->layer_sparse[l] ? "sparse" : "dense", h->dense_layers);
        if (h->layer_sparse[l] && glmq_hparams_experts(h, (int64_t)l) != h->experts)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                             "layer %" PRIu64 " has %" PRIu64 " experts, others %" PRIu64
                             ": a GGUF has one number for all",
                             l, glmq_hparams_experts(h, (int64_t)l), h->experts);
    }
    return GLMQ_OK;
}

glmq_status glmq_hparams_to_gguf(struct glmq_gguf_kv *kv, const glmq_hparams *h, int keep,
                                 glmq_error *err)
{
    const unsigned what = (unsigned)keep;
    char name[KEY_MAX];
    GLMQ_TRY(fits_gguf(h, err));
    put_layers(kv, h, what);
    for (size_t i = 0; i < glmq_hp_row_count; i++) {
        const glmq_hp_row *row = &glmq_hp_rows[i];
        if (row->gguf && row->models & (1u << h->arch->model) && !left_out(h, row, what))
            put_row(kv, h, row);
    }
    put_attention(kv, h, what);
    put_count(kv, h, "expert_gating_func", GATING_SIGMOID);
    if (h->arch->dsa) {
        glmq_gguf_put_array(kv, full_key(name, h->arch, "attention.indexer.types"), GGUF_BOOL,
                            h->layers);
        glmq_text_add_n(&kv->data, h->indexer_full, (size_t)h->layers);
    }
    return kv->data.failed ? glmq_fail(err, GLMQ_E_NOMEM, "GGUF metadata: out of memory") : GLMQ_OK;
}

int glmq_hparams_own_key(const glmq_hparams *h, const char *key, size_t len)
{
    static const char *const derived[] = {
        "block_count",
        "nextn_predict_layers",
        "attention.head_count_kv",
        "attention.key_length",
        "attention.value_length",
        "attention.key_length_mla",
        "attention.value_length_mla",
        "rope.dimension_count",
        "expert_gating_func",
        "attention.indexer.types",
    };
    const size_t prefix = strlen(h->arch->gguf);
    const char *suffix;
    if (len <= prefix + 1 || memcmp(key, h->arch->gguf, prefix) || key[prefix] != '.') return 0;
    suffix = key + prefix + 1;
    len -= prefix + 1;
    for (size_t i = 0; i < GLMQ_COUNT(derived); i++)
        if (strlen(derived[i]) == len && memcmp(derived[i], suffix, len) == 0) return 1;
    for (size_t i = 0; i < glmq_hp_row_count; i++) {
        const glmq_hp_row *row = &glmq_hp_rows[i];
        if (row->gguf && row->models & (1u << h->arch->model) && strlen(row->gguf) == len &&
            memcmp(row->gguf, suffix, len) == 0)
            return 1;
    }
    return 0;
}
