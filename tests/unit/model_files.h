/* For tests of the graph: tiny checkpoints of the three models, put together by hand from
 * the tables of spec "forward", then bent as the test likes, and written to a folder. */
#ifndef TESTS_MODEL_FILES_H
#define TESTS_MODEL_FILES_H

#include "support.h"
#include <inttypes.h>

typedef struct stored {
    char name[160];
    char dtype[8];
    int rank;
    uint64_t dims[3];
    uint8_t *data;
    size_t bytes;
} stored;

typedef struct checkpoint {
    stored *at;
    size_t count;
    char *config; /* JSON; NULL: none */
    char folder[256];
} checkpoint;

static inline size_t dtype_bytes(const char *dtype)
{
    if (strcmp(dtype, "I64") == 0) return 8;
    if (strcmp(dtype, "F32") == 0 || strcmp(dtype, "I32") == 0) return 4;
    return strchr(dtype, '8') ? 1 : 2;
}

/* Adds an array; its bytes count up, in BF16 and F32 always finite numbers. */
static inline stored *add(checkpoint *c, const char *dtype, const char *name, int rank, uint64_t a,
                          uint64_t b, uint64_t d)
{
    const uint64_t dims[3] = { a, b, d };
    const size_t each = dtype_bytes(dtype);
    stored *s;

    c->at = realloc(c->at, (c->count + 1) * sizeof *c->at);
    assert_non_null(c->at);
    s = &c->at[c->count++];
    memset(s, 0, sizeof *s);
    snprintf(s->name, sizeof s->name, "%s", name);
    snprintf(s->dtype, sizeof s->dtype, "%s", dtype);
    s->rank = rank;
    s->bytes = each;
    for (int i = 0; i < rank; i++) {
        s->dims[i] = dims[i];
        s->bytes *= dims[i];
    }
    s->data = calloc(1, s->bytes + 1);
    assert_non_null(s->data);
    for (size_t i = 0; i < s->bytes; i++)
        s->data[i] = i % each == each - 1 ? 0x3c : (uint8_t)(i * 7 + c->count);
    return s;
}

static inline stored *find(checkpoint *c, const char *name)
{
    for (size_t i = 0; i < c->count; i++)
        if (strcmp(c->at[i].name, name) == 0) return &c->at[i];
    fail_msg("no array %s", name);
    return NULL;
}

static inline void take_away(checkpoint *c, const char *name)
{
    stored *s = find(c, name);

    free(s->data);
    *s = c->at[--c->count];
}

/* Takes away all arrays whose name begins so; returns how many. */
static inline size_t take_away_all(checkpoint *c, const char *begin)
{
    size_t n = 0;

    for (size_t i = 0; i < c->count;) {
        if (strncmp(c->at[i].name, begin, strlen(begin)) == 0) {
            free(c->at[i].data);
            c->at[i] = c->at[--c->count];
            n++;
        } else {
            i++;
        }
    }
    return n;
}

static inline void reshape(stored *s, int rank, uint64_t a, uint64_t b)
{
    const uint64_t dims[2] = { a, b };

    s->rank = rank;
    s->bytes = dtype_bytes(s->dtype);
    for (int i = 0; i < rank; i++) {
        s->dims[i] = dims[i];
        s->bytes *= dims[i];
    }
    s->data = realloc(s->data, s->bytes + 1);
    assert_non_null(s->data);
    memset(s->data, 0, s->bytes);
}

/* Replaces the first `from` in the config by `to`. */
static inline void edit_config(checkpoint *c, const char *from, const char *to)
{
    const char *at = strstr(c->config, from);
    char *text;

    assert_non_null(at);
    text = malloc(strlen(c->config) + strlen(to) + 1);
    assert_non_null(text);
    sprintf(text, "%.*s%s%s", (int)(at - c->config), c->config, to, at + strlen(from));
    free(c->config);
    c->config = text;
}

/* Writes the folder (a new one the first time): config.json and model.safetensors. */
static inline const char *save(checkpoint *c)
{
    size_t cap = 256 * (c->count + 1), n = 0, offset = 0;
    char *header = malloc(cap);
    char path[512];
    uint64_t len;
    FILE *f;

    assert_non_null(header);
    if (!c->folder[0]) fresh_folder(c->folder);
    n += (size_t)sprintf(header + n, "{");
    for (size_t i = 0; i < c->count; i++) {
        const stored *s = &c->at[i];

        n += (size_t)sprintf(header + n, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i ? "," : "",
                             s->name, s->dtype);
        for (int d = 0; d < s->rank; d++)
            n += (size_t)sprintf(header + n, "%s%" PRIu64, d ? "," : "", s->dims[d]);
        n +=
            (size_t)sprintf(header + n, "],\"data_offsets\":[%zu,%zu]}", offset, offset + s->bytes);
        offset += s->bytes;
        assert_true(n + 400 < cap + 400);
    }
    n += (size_t)sprintf(header + n, "}");
    len = n;
    snprintf(path, sizeof path, "%s/model.safetensors", c->folder);
    f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(&len, 8, 1, f);
    fwrite(header, 1, n, f);
    for (size_t i = 0; i < c->count; i++) fwrite(c->at[i].data, 1, c->at[i].bytes, f);
    assert_int_equal(fclose(f), 0);
    free(header);
    if (c->config) write_file(c->folder, "config.json", c->config, strlen(c->config));
    return c->folder;
}

static inline void discard(checkpoint *c)
{
    static const char *const names[] = { "model.safetensors", "config.json", "mtp.safetensors",
                                         "quantize_config.json", "tq_config.json" };
    char path[512];

    for (size_t i = 0; i < c->count; i++) free(c->at[i].data);
    for (size_t i = 0; i < sizeof names / sizeof *names && c->folder[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", c->folder, names[i]);
        unlink(path);
    }
    if (c->folder[0]) rmdir(c->folder);
    free(c->at);
    free(c->config);
    memset(c, 0, sizeof *c);
}

/* ---- the models: H 32, A 2, I 16, D 48, V 64; 3 layers, the first one dense, 1 MTP ---- */

enum { T_H = 32, T_V = 64, T_D = 48, T_I = 16, T_LAYERS = 3 };

static inline void add_layer(checkpoint *c, int l, const char *name, int rank, uint64_t a,
                             uint64_t b)
{
    char full[160];

    snprintf(full, sizeof full, "model.layers.%d.%s", l, name);
    add(c, strstr(name, "e_score") ? "F32" : "BF16", full, rank, a, b, 0);
}

static inline void add_mlp(checkpoint *c, int l, const char *prefix, uint64_t width)
{
    char name[96];

    snprintf(name, sizeof name, "%sgate_proj.weight", prefix);
    add_layer(c, l, name, 2, width, T_H);
    snprintf(name, sizeof name, "%sup_proj.weight", prefix);
    add_layer(c, l, name, 2, width, T_H);
    snprintf(name, sizeof name, "%sdown_proj.weight", prefix);
    add_layer(c, l, name, 2, T_H, width);
}

static inline void add_moe(checkpoint *c, int l, int experts)
{
    char name[96];

    add_layer(c, l, "mlp.gate.weight", 2, (uint64_t)experts, T_H);
    add_layer(c, l, "mlp.gate.e_score_correction_bias", 1, (uint64_t)experts, 0);
    for (int e = 0; e < experts; e++) {
        snprintf(name, sizeof name, "mlp.experts.%d.", e);
        add_mlp(c, l, name, T_I);
    }
    add_mlp(c, l, "mlp.shared_experts.", T_I);
}

static inline void add_gqa(checkpoint *c, int l) /* A 2, KV 1, hd 16, biases, q/k norm */
{
    add_layer(c, l, "self_attn.q_proj.weight", 2, 32, T_H);
    add_layer(c, l, "self_attn.k_proj.weight", 2, 16, T_H);
    add_layer(c, l, "self_attn.v_proj.weight", 2, 16, T_H);
    add_layer(c, l, "self_attn.q_proj.bias", 1, 32, 0);
    add_layer(c, l, "self_attn.k_proj.bias", 1, 16, 0);
    add_layer(c, l, "self_attn.v_proj.bias", 1, 16, 0);
    add_layer(c, l, "self_attn.q_norm.weight", 1, 16, 0);
    add_layer(c, l, "self_attn.k_norm.weight", 1, 16, 0);
    add_layer(c, l, "self_attn.o_proj.weight", 2, T_H, 32);
}

static inline void add_mla(checkpoint *c, int l) /* rq 24, rk 8, no 12, ro 4, vd 10 */
{
    add_layer(c, l, "self_attn.q_a_proj.weight", 2, 24, T_H);
    add_layer(c, l, "self_attn.q_a_layernorm.weight", 1, 24, 0);
    add_layer(c, l, "self_attn.q_b_proj.weight", 2, 32, 24);
    add_layer(c, l, "self_attn.kv_a_proj_with_mqa.weight", 2, 12, T_H);
    add_layer(c, l, "self_attn.kv_a_layernorm.weight", 1, 8, 0);
    add_layer(c, l, "self_attn.kv_b_proj.weight", 2, 44, 8);
    add_layer(c, l, "self_attn.o_proj.weight", 2, T_H, 20);
}

static inline void add_indexer(checkpoint *c, int l) /* An 2, Ad 6 */
{
    add_layer(c, l, "self_attn.indexer.wq_b.weight", 2, 12, 24);
    add_layer(c, l, "self_attn.indexer.wk.weight", 2, 6, T_H);
    add_layer(c, l, "self_attn.indexer.k_norm.weight", 1, 6, 0);
    add_layer(c, l, "self_attn.indexer.k_norm.bias", 1, 6, 0);
    add_layer(c, l, "self_attn.indexer.weights_proj.weight", 2, 2, T_H);
}

static inline void add_mtp(checkpoint *c, int l)
{
    add_layer(c, l, "enorm.weight", 1, T_H, 0);
    add_layer(c, l, "hnorm.weight", 1, T_H, 0);
    add_layer(c, l, "eh_proj.weight", 2, T_H, 2 * T_H);
    add_layer(c, l, "shared_head.norm.weight", 1, T_H, 0);
}

typedef enum { GLM4, LITE, DSA } which;

/* One decoder layer; layers from T_LAYERS on are MTP layers. */
static inline void add_decoder(checkpoint *c, which model, int l, int experts)
{
    add_layer(c, l, "input_layernorm.weight", 1, T_H, 0);
    add_layer(c, l, "post_attention_layernorm.weight", 1, T_H, 0);
    if (model == GLM4)
        add_gqa(c, l);
    else
        add_mla(c, l);
    if (model == DSA && l != 2) add_indexer(c, l);
    if (l == 0)
        add_mlp(c, l, "mlp.", T_D);
    else
        add_moe(c, l, experts);
    if (l >= T_LAYERS) add_mtp(c, l);
}

static inline checkpoint make_model(which model, int experts)
{
    static const char *const special[] = {
        "\"model_type\":\"glm4_moe\",\"num_key_value_heads\":1,\"head_dim\":16,"
        "\"attention_bias\":true,\"use_qk_norm\":true,\"partial_rotary_factor\":0.5",
        "\"model_type\":\"glm4_moe_lite\",\"num_key_value_heads\":2,\"q_lora_rank\":24,"
        "\"kv_lora_rank\":8,\"qk_nope_head_dim\":12,\"qk_rope_head_dim\":4,\"v_head_dim\":10",
        "\"model_type\":\"glm_moe_dsa\",\"num_key_value_heads\":2,\"q_lora_rank\":24,"
        "\"kv_lora_rank\":8,\"qk_nope_head_dim\":12,\"qk_rope_head_dim\":4,\"v_head_dim\":10,"
        "\"index_n_heads\":2,\"index_head_dim\":6,\"index_topk\":4,"
        "\"indexer_types\":[\"full\",\"full\",\"shared\"]",
    };
    checkpoint c = { 0 };

    c.config = malloc(2048);
    assert_non_null(c.config);
    snprintf(c.config, 2048,
             "{%s,\"hidden_size\":32,\"num_hidden_layers\":3,\"num_nextn_predict_layers\":1,"
             "\"vocab_size\":64,\"num_attention_heads\":2,\"intermediate_size\":48,"
             "\"moe_intermediate_size\":16,\"n_routed_experts\":%d,\"num_experts_per_tok\":2,"
             "\"n_shared_experts\":1,\"first_k_dense_replace\":1,\"rms_norm_eps\":1e-05,"
             "\"rope_theta\":1000000,\"routed_scaling_factor\":2.5,\"norm_topk_prob\":true,"
             "\"tie_word_embeddings\":false,\"hidden_act\":\"silu\"}",
             special[model], experts);
    add(&c, "BF16", "model.embed_tokens.weight", 2, T_V, T_H, 0);
    add(&c, "BF16", "model.norm.weight", 1, T_H, 0, 0);
    add(&c, "BF16", "lm_head.weight", 2, T_V, T_H, 0);
    for (int l = 0; l <= T_LAYERS; l++) add_decoder(&c, model, l, experts);
    return c;
}
#endif
