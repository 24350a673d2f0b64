/* Makes a small checkpoint of a GLM architecture, deterministically: the one kept in
 * samples/, shapes for tests, and large ones for benchmarks.  Plain stdio, nothing of the
 * library, so that it can vouch for it.
 *
 *   make_sample [--arch glm4_moe] [--hidden 64] ... OUT
 *
 * A shard: u64 header length, JSON header padded with spaces to 8, data; F32 tensors first,
 * then the others, each by name. */
#include "make_sample.h"
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *const arch_types[ARCHS] = { "glm4_moe", "glm4_moe_lite", "glm_moe_dsa" };
const char *const arch_classes[ARCHS] = {
    "Glm4MoeForCausalLM",
    "Glm4MoeLiteForCausalLM",
    "GlmMoeDsaForCausalLM",
};

enum { FILL_RANDOM, FILL_REPEAT, FILL_SPARSE, FILLS };
static const char *const fills[FILLS] = { "random", "repeat", "sparse" };
enum { DT_BF16, DT_F16, DT_F32, DTS };
static const char *const dtypes[DTS] = { "BF16", "F16", "F32" };
static const char *const dtype_words[DTS] = { "bfloat16", "float16", "float32" };

typedef struct tensor {
    char name[120];
    uint64_t rows, cols; /* rows 0: a vector of cols */
    int f32;
    double mean, spread;
    uint64_t begin, end; /* in its shard */
} tensor;

static tensor *tensors;
static size_t tensor_count, tensor_cap;

void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fputs("make_sample: ", stderr);
    vfprintf(stderr, format, args);
    fputc('\n', stderr);
    va_end(args);
    exit(1);
}

FILE *create(const model *m, const char *name)
{
    char path[4096];
    FILE *f;
    if ((size_t)snprintf(path, sizeof path, "%s/%s", m->out, name) >= sizeof path)
        die("%s: the path is too long", m->out);
    f = fopen(path, "wb");
    if (!f) die("%s: %s", path, strerror(errno));
    return f;
}

void finish(FILE *f)
{
    if (ferror(f) || fclose(f)) die("cannot write: %s", strerror(errno));
}

/* ---- what the model has ---- */

static tensor *add(uint64_t rows, uint64_t cols, const char *format, ...)
{
    va_list args;
    tensor *t;
    if (tensor_count == tensor_cap) {
        tensor_cap = tensor_cap ? tensor_cap * 2 : 1024;
        tensors = realloc(tensors, tensor_cap * sizeof *tensors);
        if (!tensors) die("out of memory");
    }
    t = &tensors[tensor_count++];
    memset(t, 0, sizeof *t);
    t->rows = rows;
    t->cols = cols;
    va_start(args, format);
    vsnprintf(t->name, sizeof t->name, format, args);
    va_end(args);
    /* vectors: norms are near 1; matrices keep the size of what goes through them */
    t->mean = rows ? 0 : 1;
    t->spread = rows ? 1 : 0.1;
    while (rows && t->spread * t->spread * (double)cols > 1) t->spread /= 2;
    return t;
}

static void add_bias(uint64_t n, const char *name, int layer)
{
    tensor *t = add(0, n, "model.layers.%d.%s", layer, name);
    t->mean = 0;
}

static void add_gqa(const model *m, int l)
{
    const uint64_t q = m->heads * m->head_dim, kv = m->kv_heads * m->head_dim;
    add(q, m->hidden, "model.layers.%d.self_attn.q_proj.weight", l);
    add(kv, m->hidden, "model.layers.%d.self_attn.k_proj.weight", l);
    add(kv, m->hidden, "model.layers.%d.self_attn.v_proj.weight", l);
    add(m->hidden, q, "model.layers.%d.self_attn.o_proj.weight", l);
    if (m->bias) {
        add_bias(q, "self_attn.q_proj.bias", l);
        add_bias(kv, "self_attn.k_proj.bias", l);
        add_bias(kv, "self_attn.v_proj.bias", l);
    }
    add(0, m->head_dim, "model.layers.%d.self_attn.q_norm.weight", l);
    add(0, m->head_dim, "model.layers.%d.self_attn.k_norm.weight", l);
}

int has_indexer(const model *m, int l)
{
    return m->arch == GLM_MOE_DSA && (l < 2 || l % 4 == 2 || (uint64_t)l >= m->layers);
}

static void add_mla(const model *m, int l)
{
    const uint64_t h = m->heads;
    add(m->q_lora, m->hidden, "model.layers.%d.self_attn.q_a_proj.weight", l);
    add(0, m->q_lora, "model.layers.%d.self_attn.q_a_layernorm.weight", l);
    add(h * (m->nope + m->rope), m->q_lora, "model.layers.%d.self_attn.q_b_proj.weight", l);
    add(m->kv_lora + m->rope, m->hidden, "model.layers.%d.self_attn.kv_a_proj_with_mqa.weight", l);
    add(0, m->kv_lora, "model.layers.%d.self_attn.kv_a_layernorm.weight", l);
    add(h * (m->nope + m->v_dim), m->kv_lora, "model.layers.%d.self_attn.kv_b_proj.weight", l);
    add(m->hidden, h * m->v_dim, "model.layers.%d.self_attn.o_proj.weight", l);
    if (m->bias) {
        add_bias(m->q_lora, "self_attn.q_a_proj.bias", l);
        add_bias(m->kv_lora + m->rope, "self_attn.kv_a_proj_with_mqa.bias", l);
        add_bias(m->hidden, "self_attn.o_proj.bias", l);
    }
    if (!has_indexer(m, l)) return;
    add(m->index_heads * m->index_dim, m->q_lora, "model.layers.%d.self_attn.indexer.wq_b.weight",
        l);
    add(m->index_dim, m->hidden, "model.layers.%d.self_attn.indexer.wk.weight", l);
    add(0, m->index_dim, "model.layers.%d.self_attn.indexer.k_norm.weight", l);
    add_bias(m->index_dim, "self_attn.indexer.k_norm.bias", l);
    add(m->index_heads, m->hidden, "model.layers.%d.self_attn.indexer.weights_proj.weight", l);
}

static void add_mlp(const model *m, int l, const char *where, uint64_t width)
{
    add(width, m->hidden, "model.layers.%d.mlp.%sgate_proj.weight", l, where);
    add(width, m->hidden, "model.layers.%d.mlp.%sup_proj.weight", l, where);
    add(m->hidden, width, "model.layers.%d.mlp.%sdown_proj.weight", l, where);
}

static void add_moe(const model *m, int l)
{
    tensor *t;
    add(m->experts, m->hidden, "model.layers.%d.mlp.gate.weight", l);
    t = add(0, m->experts, "model.layers.%d.mlp.gate.e_score_correction_bias", l);
    t->f32 = 1;
    t->mean = 6.9; /* close together, far from 0: as published, and hard on narrow types */
    for (uint64_t e = 0; e < m->experts; e++) {
        char where[40];
        snprintf(where, sizeof where, "experts.%" PRIu64 ".", e);
        add_mlp(m, l, where, m->moe);
    }
    add_mlp(m, l, "shared_experts.", m->moe);
}

static void add_layer(const model *m, int l)
{
    add(0, m->hidden, "model.layers.%d.input_layernorm.weight", l);
    add(0, m->hidden, "model.layers.%d.post_attention_layernorm.weight", l);
    if (m->arch == GLM4_MOE)
        add_gqa(m, l);
    else
        add_mla(m, l);
    if ((uint64_t)l < m->dense_layers)
        add_mlp(m, l, "", m->dense);
    else
        add_moe(m, l);
}

static void add_mtp(const model *m, int l)
{
    add_layer(m, l);
    add(0, m->hidden, "model.layers.%d.enorm.weight", l);
    add(0, m->hidden, "model.layers.%d.hnorm.weight", l);
    add(m->hidden, 2 * m->hidden, "model.layers.%d.eh_proj.weight", l);
    add(0, m->hidden, "model.layers.%d.shared_head.norm.weight", l);
    if (m->arch == GLM_MOE_DSA) return; /* GLM-5 shares the tables */
    add(m->vocab, m->hidden, "model.layers.%d.embed_tokens.weight", l);
    add(m->vocab, m->hidden, "model.layers.%d.shared_head.head.weight", l);
}

static void add_model(const model *m)
{
    add(m->vocab, m->hidden, "lm_head.weight");
    add(m->vocab, m->hidden, "model.embed_tokens.weight")->spread = 1;
    for (uint64_t l = 0; l < m->layers; l++) add_layer(m, (int)l);
    add(0, m->hidden, "model.norm.weight");
    for (uint64_t l = 0; l < m->mtp; l++) add_mtp(m, (int)(m->layers + l));
}

/* ---- numbers ---- */

static uint64_t next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

/* Four uniform 16-bit numbers added: bell-shaped, exact, the same on every machine. */
static float bell(uint64_t *state, const tensor *t)
{
    const uint64_t r = next(state);
    const double sum = (double)(r & 0xffff) + (double)(r >> 16 & 0xffff) +
                       (double)(r >> 32 & 0xffff) + (double)(r >> 48) - 131070.0;
    return (float)(t->mean + t->spread * (sum / 37836.0)); /* 65535 / sqrt(3) */
}

static uint16_t to_bf16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}

/* Values here are below 65504 in size; those below half's normal range become 0. */
static uint16_t to_f16(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    const uint32_t sign = u >> 16 & 0x8000, magnitude = u & 0x7fffffff;
    if (magnitude < 0x38800000) return (uint16_t)sign;
    return (uint16_t)(sign | ((magnitude - 0x38000000 + 0xfff + (magnitude >> 13 & 1)) >> 13));
}

static size_t width_of(const model *m, const tensor *t)
{
    return t->f32 || m->dtype == DT_F32 ? 4 : 2;
}

static uint64_t elements(const tensor *t)
{
    return (t->rows ? t->rows : 1) * t->cols;
}

/* Fills `n` values of `t` into `buf`. */
static void fill(const model *m, const tensor *t, uint64_t *state, unsigned char *buf, size_t n)
{
    const size_t width = width_of(m, t);
    for (size_t i = 0; i < n; i++) {
        const float f = bell(state, t);
        const uint16_t half = m->dtype == DT_F16 ? to_f16(f) : to_bf16(f);
        memcpy(buf + i * width, width == 4 ? (const void *)&f : (const void *)&half, width);
    }
}

enum { CHUNK = 1 << 18 };

static void write_values(const model *m, const tensor *t, FILE *f)
{
    static unsigned char buf[CHUNK * 4];
    uint64_t state = m->seed, left = elements(t);
    const size_t width = width_of(m, t);
    for (const char *p = t->name; *p; p++) state = (state ^ (unsigned char)*p) * 0x100000001b3u;
    for (uint64_t done = 0; left; done++) {
        const size_t n = left < CHUNK ? (size_t)left : CHUNK;
        if (!done || m->fill == FILL_RANDOM) fill(m, t, &state, buf, n);
        if (fwrite(buf, width, n, f) != n) die("cannot write: %s", strerror(errno));
        left -= n;
    }
}

/* ---- shards ---- */

static int file_order(const void *a, const void *b)
{
    const tensor *s = a, *t = b;
    return s->f32 != t->f32 ? t->f32 - s->f32 : strcmp(s->name, t->name);
}

static void shard_name(const model *m, uint64_t shard, char *name, size_t cap)
{
    if (m->shards == 1)
        snprintf(name, cap, "model.safetensors");
    else
        snprintf(name, cap, "model-%05" PRIu64 "-of-%05" PRIu64 ".safetensors", shard + 1,
                 m->shards);
}

static void write_header(const model *m, const tensor *t, size_t n, FILE *f)
{
    char *text = NULL;
    size_t len = 0, pad;
    FILE *h = open_memstream(&text, &len);
    if (!h) die("out of memory");
    fprintf(h, "{\"__metadata__\":{\"format\":\"pt\"}");
    for (size_t i = 0; i < n; i++) {
        fprintf(h, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[", t[i].name,
                t[i].f32 ? "F32" : dtypes[m->dtype]);
        if (t[i].rows) fprintf(h, "%" PRIu64 ",", t[i].rows);
        fprintf(h, "%" PRIu64 "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", t[i].cols,
                t[i].begin, t[i].end);
    }
    fputc('}', h);
    finish(h);
    pad = (8 - len % 8) % 8;
    for (int i = 0; i < 8; i++) fputc((int)((len + pad) >> (8 * i) & 255), f);
    fwrite(text, 1, len, f);
    fprintf(f, "%*s", (int)pad, "");
    free(text);
}

static void write_shard(const model *m, uint64_t shard, tensor *t, size_t n)
{
    char name[64];
    uint64_t off = 0;
    FILE *f;
    qsort(t, n, sizeof *t, file_order);
    for (size_t i = 0; i < n; i++) {
        t[i].begin = off;
        off = t[i].end = off + elements(&t[i]) * width_of(m, &t[i]);
    }
    shard_name(m, shard, name, sizeof name);
    f = create(m, name);
    write_header(m, t, n, f);
    if (m->fill == FILL_SPARSE) {
        if (fseeko(f, (off_t)off - 1, SEEK_CUR) || fputc(0, f))
            die("cannot write: %s", strerror(errno));
    } else {
        for (size_t i = 0; i < n; i++) write_values(m, &t[i], f);
    }
    finish(f);
}

/* Cuts the list into shards of about the same size; each gets at least one tensor. */
static void write_shards(const model *m)
{
    uint64_t total = 0, done = 0;
    size_t first = 0;
    char name[64];
    FILE *index = m->shards > 1 ? create(m, "model.safetensors.index.json") : NULL;

    for (size_t i = 0; i < tensor_count; i++)
        total += elements(&tensors[i]) * width_of(m, &tensors[i]);
    if (m->shards > tensor_count) die("more shards than tensors (%zu)", tensor_count);
    if (index)
        fprintf(index,
                "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n  \"weight_map\": {",
                total);
    for (uint64_t s = 0; s < m->shards; s++) {
        size_t end = first;
        const size_t reserved = (size_t)(m->shards - 1 - s);
        do {
            done += elements(&tensors[end]) * width_of(m, &tensors[end]);
            end++;
        } while (end < tensor_count - reserved &&
                 (s + 1 == m->shards ||
                  (double)done < (double)total * (double)(s + 1) / (double)m->shards));
        write_shard(m, s, tensors + first, end - first);
        shard_name(m, s, name, sizeof name);
        for (size_t i = first; index && i < end; i++)
            fprintf(index, "%s\n    \"%s\": \"%s\"", i ? "," : "", tensors[i].name, name);
        first = end;
    }
    if (!index) return;
    fputs("\n  }\n}\n", index);
    finish(index);
}

/* ---- config.json ---- */

static void write_config(const model *m)
{
    FILE *f = create(m, "config.json");
    const unsigned first = special_first();
    fprintf(f, "{\n  \"architectures\": [\n    \"%s\"\n  ],\n", arch_classes[m->arch]);
    fprintf(f, "  \"attention_bias\": %s,\n  \"attention_dropout\": 0.0,\n",
            m->bias ? "true" : "false");
    fprintf(f, "  \"pad_token_id\": %u,\n", first);
    fprintf(f, "  \"eos_token_id\": [\n    %u,\n    %u,\n    %u\n  ],\n", first,
            special_id("<|user|>"), special_id("<|observation|>"));
    fputs("  \"hidden_act\": \"silu\",\n", f);
    fprintf(f, "  \"hidden_size\": %" PRIu64 ",\n", m->hidden);
    fputs("  \"initializer_range\": 0.02,\n", f);
    fprintf(f, "  \"intermediate_size\": %" PRIu64 ",\n", m->dense);
    fputs("  \"max_position_embeddings\": 4096,\n", f);
    fprintf(f, "  \"model_type\": \"%s\",\n", arch_types[m->arch]);
    fprintf(f, "  \"moe_intermediate_size\": %" PRIu64 ",\n", m->moe);
    fputs("  \"norm_topk_prob\": true,\n", f);
    fprintf(f, "  \"num_attention_heads\": %" PRIu64 ",\n", m->heads);
    fputs("  \"n_group\": 1,\n  \"topk_group\": 1,\n", f);
    fprintf(f, "  \"n_routed_experts\": %" PRIu64 ",\n", m->experts);
    fputs("  \"n_shared_experts\": 1,\n", f);
    fprintf(f, "  \"routed_scaling_factor\": %s,\n", m->arch == GLM4_MOE_LITE ? "1.8" : "2.5");
    fprintf(f, "  \"num_experts_per_tok\": %" PRIu64 ",\n",
            m->experts < 2 ? m->experts : (uint64_t)2);
    fprintf(f, "  \"first_k_dense_replace\": %" PRIu64 ",\n", m->dense_layers);
    fprintf(f, "  \"num_hidden_layers\": %" PRIu64 ",\n", m->layers);
    fprintf(f, "  \"num_key_value_heads\": %" PRIu64 ",\n",
            m->arch == GLM4_MOE ? m->kv_heads : m->heads);
    fputs("  \"rms_norm_eps\": 1e-05,\n", f);
    fprintf(f, "  \"num_nextn_predict_layers\": %" PRIu64 ",\n", m->mtp);
    fputs("  \"tie_word_embeddings\": false,\n", f);
    fprintf(f, "  \"dtype\": \"%s\",\n", dtype_words[m->dtype]);
    write_arch_config(m, f);
    fprintf(f, "  \"use_cache\": true,\n  \"vocab_size\": %" PRIu64 "\n}\n", m->vocab);
    finish(f);
}

/* ---- options ---- */

#define DEFAULTS                                                                                   \
    {                                                                                              \
        .hidden = 64, .layers = 2, .dense_layers = 1, .mtp = 1, .experts = 4, .moe = 64,           \
        .dense = 128, .vocab = 352, .heads = 4, .kv_heads = 2, .head_dim = 32, .q_lora = 64,       \
        .kv_lora = 32, .nope = 32, .rope = 16, .v_dim = 32, .index_heads = 2, .index_dim = 32,     \
        .shards = 1, .seed = 1, .bias = 2                                                          \
    }

#define NUMBER(word, field)                                                                        \
    {                                                                                              \
        word, offsetof(model, field)                                                               \
    }
static const struct number {
    const char *word;
    size_t at;
} numbers[] = {
    NUMBER("hidden", hidden),
    NUMBER("layers", layers),
    NUMBER("dense-layers", dense_layers),
    NUMBER("mtp", mtp),
    NUMBER("experts", experts),
    NUMBER("moe", moe),
    NUMBER("dense", dense),
    NUMBER("vocab", vocab),
    NUMBER("heads", heads),
    NUMBER("kv-heads", kv_heads),
    NUMBER("head-dim", head_dim),
    NUMBER("q-lora", q_lora),
    NUMBER("kv-lora", kv_lora),
    NUMBER("nope", nope),
    NUMBER("rope", rope),
    NUMBER("v-dim", v_dim),
    NUMBER("index-heads", index_heads),
    NUMBER("index-dim", index_dim),
    NUMBER("shards", shards),
    NUMBER("seed", seed),
    NUMBER("bias", bias),
};
enum { NUMBERS = sizeof numbers / sizeof *numbers };

static uint64_t number(const char *word, const char *text)
{
    char *end;
    const unsigned long long v = strtoull(text, &end, 10);
    if (end == text || *end || *text == '-') die("--%s: \"%s\" is no number", word, text);
    return v;
}

static int word(const char *option, const char *text, const char *const *words, int n)
{
    for (int i = 0; i < n; i++)
        if (strcasecmp(text, words[i]) == 0) return i;
    die("--%s: unknown word \"%s\"", option, text);
    return 0;
}

static void usage(void)
{
    puts("usage: make_sample [--NAME VALUE]... OUT\n"
         "  --arch glm4_moe|glm4_moe_lite|glm_moe_dsa   --dtype bf16|f16|f32\n"
         "  --fill random|repeat|sparse   (repeat: blocks of 256 Ki values; sparse: zeros, as "
         "holes)\n"
         "  -n, --seed N; numbers:");
    for (int i = 0; i < NUMBERS; i++) printf("  --%s", numbers[i].word);
    putchar('\n');
    exit(0);
}

static void parse(int argc, char **argv, model *m)
{
    struct option options[NUMBERS + 5] = { 0 };
    int c;
    for (int i = 0; i < NUMBERS; i++)
        options[i] = (struct option){ numbers[i].word, required_argument, NULL, 1000 + i };
    options[NUMBERS] = (struct option){ "arch", required_argument, NULL, 'a' };
    options[NUMBERS + 1] = (struct option){ "dtype", required_argument, NULL, 't' };
    options[NUMBERS + 2] = (struct option){ "fill", required_argument, NULL, 'f' };
    options[NUMBERS + 3] = (struct option){ "help", no_argument, NULL, 'h' };
    while ((c = getopt_long(argc, argv, "n:", options, NULL)) != -1) {
        if (c >= 1000) {
            const uint64_t v = number(numbers[c - 1000].word, optarg);
            memcpy((char *)m + numbers[c - 1000].at, &v, sizeof v);
        } else if (c == 'n') {
            m->seed = number("seed", optarg);
        } else if (c == 'a') {
            m->arch = word("arch", optarg, arch_types, ARCHS);
        } else if (c == 't') {
            m->dtype = word("dtype", optarg, dtypes, DTS);
        } else if (c == 'f') {
            m->fill = word("fill", optarg, fills, FILLS);
        } else if (c == 'h') {
            usage();
        } else {
            exit(2);
        }
    }
    if (optind + 1 != argc) die("one folder is needed; see --help");
    m->out = argv[optind];
}

/* Enough for what the arithmetic above takes for granted. */
static void check(model *m)
{
    for (int i = 0; i < NUMBERS; i++) {
        uint64_t v;
        memcpy(&v, (const char *)m + numbers[i].at, sizeof v);
        if (numbers[i].at != offsetof(model, seed) && v > 1 << 24)
            die("--%s is too large", numbers[i].word);
    }
    if (m->bias == 2) m->bias = m->arch == GLM4_MOE; /* as published */
    if (!m->hidden || !m->layers || !m->experts || !m->shards) die("sizes must not be 0");
    if (m->vocab < vocabulary()) die("--vocab: at least %u", vocabulary());
}

int main(int argc, char **argv)
{
    model m = DEFAULTS;
    parse(argc, argv, &m);
    check(&m);
    if (mkdir(m.out, 0777) && errno != EEXIST) die("%s: %s", m.out, strerror(errno));
    add_model(&m);
    write_shards(&m);
    write_config(&m);
    write_side_files(&m);
    free(tensors);
    return 0;
}
