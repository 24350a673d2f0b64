/* The metadata of a GGUF: general.*, the architecture's keys, the tokenizer.
 *
 * From a Hugging Face folder they are made as llama.cpp's converter makes them; from a GGUF
 * they are copied, except what the conversion changes: types, layout of kv_b, MTP layers,
 * parts. */
#include "base/error.h"
#include "base/mem.h"
#include "models/vocab.h"
#include "readers/gguf_kv.h"
#include "writers/gguf_out.h"
#include "writers/int_target.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { QUANTIZATION_VERSION = 2 };

static void put_text(glmq_gguf_kv *kv, const char *key, const char *s)
{
    glmq_gguf_put_string(kv, key, s, strlen(s));
}

/* ---- general.* ---- */

static const struct {
    const char *json, *gguf;
    int real;
} sampling[] = {
    { "top_k", "general.sampling.top_k", 0 },
    { "top_p", "general.sampling.top_p", 1 },
    { "min_p", "general.sampling.min_p", 1 },
    { "temperature", "general.sampling.temp", 1 },
};

static void put_sampling(glmq_gguf_kv *kv, const cJSON *config)
{
    for (size_t i = 0; i < GLMQ_COUNT(sampling); i++) {
        const cJSON *node = glmq_json_get(config, sampling[i].json);
        uint64_t n;
        if (!cJSON_IsNumber(node)) continue;
        if (sampling[i].real)
            glmq_gguf_put_f32(kv, sampling[i].gguf, (float)node->valuedouble);
        else if (glmq_json_u64(node, &n) && n <= INT32_MAX)
            glmq_gguf_put_i32(kv, sampling[i].gguf, (int32_t)n);
    }
}

/* The last component of config's _name_or_path, or of the source's own path. */
static void put_name(glmq_gguf_kv *kv, const glmq_graph *g)
{
    const char *path = glmq_catalog_text(g->catalog, "_name_or_path");
    size_t len, start;
    if (!path || !*path) path = glmq_source_path(g->source);
    len = strlen(path);
    while (len && path[len - 1] == '/') len--;
    for (start = len; start && path[start - 1] != '/'; start--) {
    }
    if (len - start > 0 && path[start] != '.')
        glmq_gguf_put_string(kv, "general.name", path + start, len - start);
}

/* 3.6M, 106B: two digits at least, as llama.cpp names sizes. */
static void put_size_label(glmq_gguf_kv *kv, const glmq_plan *p)
{
    static const struct {
        double above, unit;
        char suffix;
    } units[] = {
        { 1e12, 1e-12, 'T' },
        { 1e9, 1e-9, 'B' },
        { 1e6, 1e-6, 'M' },
        { -1, 1e-3, 'K' },
    };
    double shared = 0, one_expert = 0, v;
    uint64_t experts = 0;
    char text[64];
    size_t u = 0;
    for (size_t i = 0; i < p->arrays.count; i++) {
        const glmq_plan_array *a = &p->arrays.at[i];
        double size = 1;
        const int stack = strstr(a->name, "_exps.") != NULL;
        for (int d = stack; d < a->rank; d++) size *= (double)a->dims[d];
        if (stack)
            one_expert += size, experts = a->dims[0];
        else
            shared += size;
    }
    while (shared + one_expert <= units[u].above) u++;
    v = (shared + one_expert) * units[u].unit;
    snprintf(text, sizeof text, "%.*f%c",
             rint(v) >= 1 && rint(v) < 10 ? 1
             : rint(v) < 1                ? 2
                                          : 0,
             v, units[u].suffix);
    if (experts) {
        char label[96];
        snprintf(label, sizeof label, "%llux%s", (unsigned long long)experts, text);
        put_text(kv, "general.size_label", label);
    } else {
        put_text(kv, "general.size_label", text);
    }
}

static void weigh(double weights[GLMQ_DT_COUNT], unsigned dtype, int rank, const uint64_t *dims)
{
    double size = 1;
    for (int d = 0; d < rank; d++) size *= (double)dims[d];
    if (rank > 1 && dtype < GLMQ_DT_COUNT) weights[dtype] += size;
}

static glmq_dtype most_of(const double weights[GLMQ_DT_COUNT])
{
    glmq_dtype most = GLMQ_DT_F32;
    for (size_t d = 0; d < GLMQ_DT_COUNT; d++)
        if (weights[d] > weights[most]) most = (glmq_dtype)d;
    return most;
}

/* The label of a GGUF whose weights are mostly of this type too: IQ3_M says more than IQ3_S. */
static int source_file_type(const glmq_plan *p, glmq_dtype most, uint32_t *type)
{
    const glmq_catalog *cat = p->graph->catalog;
    double weights[GLMQ_DT_COUNT] = { 0 };
    uint64_t number;
    if (!cat->gguf || !glmq_gguf_u64(cat->gguf, "general.file_type", &number) ||
        number > UINT32_MAX)
        return 0;
    for (size_t i = 0; i < cat->count; i++)
        weigh(weights, cat->arrays[i].dtype, cat->arrays[i].rank, cat->arrays[i].dims);
    *type = (uint32_t)number;
    return most_of(weights) == most;
}

/* The file type is a label: that of the type with the most weights. */
static uint32_t file_type(const glmq_plan *p)
{
    double weights[GLMQ_DT_COUNT] = { 0 };
    glmq_dtype most;
    uint32_t type;
    if (p->target.file_type >= 0) return (uint32_t)p->target.file_type;
    for (size_t i = 0; i < p->arrays.count; i++)
        weigh(weights, p->arrays.at[i].dtype, p->arrays.at[i].rank, p->arrays.at[i].dims);
    most = most_of(weights);
    return source_file_type(p, most, &type) ? type : (uint32_t)glmq_gguf_file_type(most);
}

/* The dtype that the scales had before they became halves: a GGUF cannot say it otherwise. */
static glmq_dtype scales_were(const glmq_plan *p)
{
    uint8_t was = p->graph->source_scale_dtype;
    for (size_t i = 0; i < p->graph->count && !p->graph->source_scale_dtype; i++) {
        const glmq_tensor *x = &p->graph->tensors[i];
        const uint8_t had = x->part[0].enc.scale_dtype;
        if (p->want[i].dropped || !glmq_tensor_quantized(x) || !had ||
            glmq_encoding_dtype(&x->part[0].enc) || had == GLMQ_DT_F8_E4M3 ||
            had == GLMQ_DT_F8_E8M0 || had == GLMQ_DT_U8) /* scales that never become halves */
            continue;
        if (was && was != had) return GLMQ_DT_NONE; /* no one answer */
        was = had;
    }
    return (glmq_dtype)was;
}

static void put_label(glmq_gguf_kv *kv, const glmq_plan *p)
{
    const glmq_dtype was = scales_were(p);
    glmq_gguf_put_u32(kv, "general.quantization_version", QUANTIZATION_VERSION);
    glmq_gguf_put_u32(kv, "general.file_type", file_type(p));
    if (was) put_text(kv, "glmq.scale_dtype", glmq_dtype_name(was));
}

/* ---- from a Hugging Face folder ---- */

static const char *const side_names[] = { "tokenizer.json", "tokenizer_config.json",
                                          "generation_config.json", "chat_template.jinja" };
enum { TOKENIZER, TOKENIZER_CONFIG, GENERATION_CONFIG, CHAT_TEMPLATE, SIDE_FILES };

typedef struct side_files {
    char *text[SIDE_FILES];
    size_t len[SIDE_FILES];
} side_files;

static glmq_status read_side_files(side_files *s, const glmq_source *src, glmq_error *err)
{
    for (int i = 0; i < SIDE_FILES; i++)
        GLMQ_TRY(glmq_catalog_side_file(src, side_names[i], &s->text[i], &s->len[i], err));
    return GLMQ_OK;
}

static void free_side_files(side_files *s)
{
    for (int i = 0; i < SIDE_FILES; i++) glmq_free(s->text[i]);
}

static glmq_status put_generation(glmq_gguf_kv *kv, const side_files *s, glmq_error *err)
{
    cJSON *config = NULL;
    glmq_status st;
    if (!s->text[GENERATION_CONFIG]) return GLMQ_OK;
    st = glmq_json_parse(&config, s->text[GENERATION_CONFIG], s->len[GENERATION_CONFIG], 0, err);
    if (!st) put_sampling(kv, config);
    cJSON_Delete(config);
    return glmq_within(err, st, "generation_config.json");
}

/* Without a tokenizer the file still loads: llama.cpp then takes ids only. */
static glmq_status put_tokenizer(glmq_plan *p, glmq_gguf_kv *kv, const side_files *s,
                                 glmq_error *err)
{
    const glmq_vocab_files files = {
        .tokenizer = s->text[TOKENIZER],
        .tokenizer_len = s->len[TOKENIZER],
        .tokenizer_config = s->text[TOKENIZER_CONFIG],
        .tokenizer_config_len = s->len[TOKENIZER_CONFIG],
        .chat_template = s->text[CHAT_TEMPLATE],
        .chat_template_len = s->len[CHAT_TEMPLATE],
    };
    glmq_arena arena = { 0 };
    glmq_vocab vocab;
    glmq_status st;
    if (!files.tokenizer) {
        put_text(kv, "tokenizer.ggml.model", "none");
        if (!p->graph->hp->arch->mla) {
            char key[64];
            snprintf(key, sizeof key, "%s.vocab_size", p->graph->hp->arch->gguf);
            glmq_gguf_put_u32(kv, key, (uint32_t)p->graph->hp->vocab);
        }
        return glmq_plan_drop(p, "tokenizer", "the source has no tokenizer.json", err);
    }
    st = glmq_vocab_from_files(&vocab, &arena, &files, p->graph->hp->vocab, err);
    if (!st) st = glmq_vocab_to_gguf(kv, &vocab, err);
    glmq_arena_free(&arena);
    return st;
}

static glmq_status from_folder(glmq_plan *p, int keep, glmq_gguf_kv *kv, const side_files *s,
                               glmq_error *err)
{
    const glmq_graph *g = p->graph;
    put_text(kv, "general.architecture", g->hp->arch->gguf);
    put_text(kv, "general.type", "model");
    GLMQ_TRY(put_generation(kv, s, err));
    put_name(kv, g);
    put_size_label(kv, p);
    GLMQ_TRY(glmq_hparams_to_gguf(kv, g->hp, keep, err));
    GLMQ_TRY(put_tokenizer(p, kv, s, err));
    put_label(kv, p);
    return GLMQ_OK;
}

/* ---- from a GGUF ---- */

static int is_key(const glmq_gguf_value *v, const char *key)
{
    return strlen(key) == v->key_len && memcmp(v->key, key, v->key_len) == 0;
}

/* Keys that this file has its own values for, or none. */
static int is_replaced(const glmq_gguf_value *v)
{
    static const char *const keys[] = {
        "general.architecture",     "general.alignment",      "general.quantization_version",
        "general.file_type",        "glmq.scale_dtype",       "glmq.nvfp4_scalars",
        "glmq.nvfp4_input_scalars", "glmq.nvfp4_scalars_kind"
    };
    for (size_t i = 0; i < GLMQ_COUNT(keys); i++)
        if (is_key(v, keys[i])) return 1;
    return v->key_len >= 6 && memcmp(v->key, "split.", 6) == 0;
}

static glmq_status from_gguf(glmq_plan *p, int keep, glmq_gguf_kv *kv, glmq_error *err)
{
    const glmq_hparams *h = p->graph->hp;
    const glmq_gguf *src = p->graph->catalog->gguf;
    int put = 0;
    put_text(kv, "general.architecture", h->arch->gguf);
    for (size_t i = 0; i < src->count; i++) {
        const glmq_gguf_value *v = &src->values[i];
        const int own = glmq_hparams_own_key(h, v->key, v->key_len);
        if (own && !put++) GLMQ_TRY(glmq_hparams_to_gguf(kv, h, keep, err));
        if (!own && !is_replaced(v)) glmq_gguf_put_value(kv, v);
    }
    if (!put) GLMQ_TRY(glmq_hparams_to_gguf(kv, h, keep, err));
    put_label(kv, p);
    return GLMQ_OK;
}

glmq_status glmq_gguf_metadata(glmq_plan *p, int keep, glmq_gguf_kv *kv, glmq_error *err)
{
    side_files s = { 0 };
    glmq_status st;
    if (p->graph->catalog->gguf) {
        st = from_gguf(p, keep, kv, err);
    } else {
        st = read_side_files(&s, p->graph->source, err);
        if (!st) st = from_folder(p, keep, kv, &s, err);
        free_side_files(&s);
    }
    if (st || !kv->data.failed) return st;
    return glmq_fail(err, GLMQ_E_NOMEM, "GGUF metadata: out of memory");
}
