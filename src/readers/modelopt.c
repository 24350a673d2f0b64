/* ModelOpt checkpoints.  A linear layer M has M.weight and beside it
 *
 *   NVFP4    weight U8 [N, K/2]    weight_scale F8_E4M3 [N, K/16]   weight_scale_2 F32
 *   MXFP4    weight U8 [N, K/2]    weight_scale U8 [N, K/32]
 *   FP8      weight F8_E4M3        weight_scale F32: one, [N], or 128 x 128 blocks
 *   MXFP8    weight F8_E4M3        weight_scale U8 [N, K/32]
 *
 * and M.input_scale F32 where activations have a fixed scale.  The arrays decide module by
 * module; hf_quant_config.json and config.json are held against them. */
#include "modelopt.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "base/text.h"
#include "codecs/fp4.h"
#include "fp4_module.h"
#include "fp8_module.h"
#include "tally.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

static const glmq_slot_name slots[] = {
    { "weight_scale", GLMQ_SLOT_SCALES, 0 },
    { "weight_scale_2", GLMQ_SLOT_GLOBAL, 0 },
    { "input_scale", GLMQ_SLOT_INPUT_SCALE, 0 },
};

typedef enum kind { KIND_NONE, KIND_NVFP4, KIND_MXFP4, KIND_FP8, KIND_MXFP8 } kind;

/* What a quant_algo stores.  The first stands for those that are unknown and say nothing. */
static const struct {
    const char *algo;
    kind kind;
    int activations; /* needs an input_scale per module */
} algos[] = {
    { "", KIND_NONE, 0 },
    { "NVFP4", KIND_NVFP4, 1 },
    { "W4A16_NVFP4", KIND_NVFP4, 0 },
    { "NVFP4_AWQ", KIND_NVFP4, 0 },
    { "NVFP4_SVD", KIND_NVFP4, 0 },
    { "W4A8_NVFP4_FP8", KIND_NVFP4, 0 },
    { "W4A8_MXFP4_FP8", KIND_MXFP4, 0 },
    { "W4A16_MXFP4", KIND_MXFP4, 0 },
    { "MXFP4", KIND_MXFP4, 0 },
    { "FP8", KIND_FP8, 0 },
    { "FP8_PER_CHANNEL_PER_TOKEN", KIND_FP8, 0 },
    { "FP8_PB_WO", KIND_FP8, 0 },
    { "FP8_PB_REAL", KIND_FP8, 0 },
    { "MXFP8", KIND_MXFP8, 0 },
};

typedef struct {
    glmq_graph *g;
    const glmq_catalog *cat;
    const cJSON *q;       /* the object that has quant_algo                              */
    const cJSON *exclude; /* modules that stay in floats                                 */
    size_t algo;          /* of all modules, a row of algos                              */
    int mixed;            /* the config describes each module by itself                  */
    glmq_strmap layers;   /* … of glmq_modelopt_layers()                                 */
    glmq_tally excluded, forgotten, unlike, no_input;
} job;

/* ---- the configuration ---- */

/* The quantization may be described one level further down. */
static const cJSON *description(const glmq_catalog *cat)
{
    const cJSON *inner = cJSON_GetObjectItemCaseSensitive(cat->quant, "quantization");
    return cJSON_IsObject(inner) ? inner : cat->quant;
}

const char *glmq_modelopt_algo(const glmq_catalog *cat)
{
    const char *algo = glmq_json_string(cat->quant, "quant_algo");
    return algo ? algo : glmq_json_string(description(cat), "quant_algo");
}

glmq_status glmq_modelopt_layers(const glmq_catalog *cat, glmq_strmap *layers, glmq_error *err)
{
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(description(cat), "quantized_layers"),
                *one;

    *layers = (glmq_strmap){ 0 };
    if (!cJSON_IsObject(list)) return GLMQ_OK;
    cJSON_ArrayForEach(one, list)
    {
        if (glmq_strmap_add(layers, one->string, strlen(one->string), (uintptr_t)one, NULL) >= 0)
            continue;
        glmq_strmap_free(layers);
        return glmq_fail(err, GLMQ_E_NOMEM, "quantized_layers");
    }
    return GLMQ_OK;
}

int glmq_modelopt_layer(const glmq_strmap *layers, const char *module, size_t len,
                        const char **algo)
{
    uint64_t at;

    if (!glmq_strmap_get(layers, module, len, &at)) return 0;
    *algo = glmq_json_string((const cJSON *)(uintptr_t)at, "quant_algo");
    return 1;
}

int glmq_modelopt_is(const glmq_catalog *cat)
{
    const char *method = glmq_json_string(cat->quant, "quant_method");
    const char *producer = glmq_json_string(cat->quant, "producer.name");

    if (method) return strncmp(method, "modelopt", 8) == 0;
    if (producer && strcmp(producer, "modelopt") == 0) return 1;
    return glmq_modelopt_algo(cat) != NULL;
}

static size_t find_algo(const char *algo)
{
    for (size_t i = 1; algo && i < GLMQ_COUNT(algos); i++)
        if (strcasecmp(algo, algos[i].algo) == 0) return i;
    return 0;
}

static glmq_status note(job *j, glmq_severity severity, const char *code, const char *message,
                        const char *what, glmq_error *err)
{
    if (glmq_graph_note(j->g, severity, code, NULL, j->cat->quant_file, "%s%s", message, what))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

/* A cache in eight bits changes the forward pass and no weight; without scales they are 1. */
static glmq_status note_kv_cache(job *j, glmq_error *err)
{
    const char *algo = glmq_json_string(j->q, "kv_cache_quant_algo");
    const cJSON *scheme = cJSON_GetObjectItemCaseSensitive(j->q, "kv_cache_scheme");

    if (!algo && !cJSON_IsObject(scheme)) return GLMQ_OK;
    return note(j, GLMQ_NOTE, "kv-cache-quantized", "serving engines are told to quantize the KV ",
                "cache", err);
}

static glmq_status read_config(job *j, glmq_error *err)
{
    static const char *const lists[] = { "exclude_modules", "ignore" };

    if (!j->cat->quant)
        return note(j, GLMQ_WARNING, "config-missing",
                    "no quantization config: ", "what is stored decides alone", err);
    j->q = description(j->cat);
    for (size_t i = 0; i < GLMQ_COUNT(lists) && !j->exclude; i++) {
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(j->q, lists[i]);
        if (cJSON_IsArray(list)) j->exclude = list;
    }
    j->mixed = cJSON_IsObject(cJSON_GetObjectItemCaseSensitive(j->q, "quantized_layers"));
    GLMQ_TRY(glmq_modelopt_layers(j->cat, &j->layers, err));
    j->algo = find_algo(glmq_modelopt_algo(j->cat));
    return note_kv_cache(j, err);
}

/* An entry is a module's name, or a glob; old ones are a part of a name. */
static int is_excluded(const job *j, const glmq_module *m)
{
    const cJSON *entry;
    char name[256];

    glmq_module_text(m, name, sizeof name);
    cJSON_ArrayForEach(entry, j->exclude)
    {
        if (cJSON_IsString(entry) && glmq_glob(entry->valuestring, name)) return 1;
    }
    return glmq_module_listed(m, j->exclude);
}

/* ---- stored against described ---- */

static void compare(job *j, const glmq_module *m, kind stored)
{
    size_t algo = j->algo;

    if (!j->q) return;
    if (j->mixed) {
        const char *text = NULL;
        if (!glmq_modelopt_layer(&j->layers, m->name, m->name_len, &text))
            glmq_tally_add(&j->excluded, m->name, m->name_len);
        algo = find_algo(text);
    } else if (is_excluded(j, m)) {
        glmq_tally_add(&j->excluded, m->name, m->name_len);
        return;
    }
    if (algos[algo].kind != KIND_NONE && algos[algo].kind != stored)
        glmq_tally_add(&j->unlike, m->name, m->name_len);
    if (algos[algo].kind == stored && algos[algo].activations && !m->slot[GLMQ_SLOT_INPUT_SCALE])
        glmq_tally_add(&j->no_input, m->name, m->name_len);
}

/* A layer in floats that the config says is quantized. */
static void compare_plain(job *j, const char *name)
{
    const size_t len = strlen(name), tail = strlen(".weight");
    const char *algo;

    if (glmq_ends_with(name, ".weight") && glmq_modelopt_layer(&j->layers, name, len - tail, &algo))
        glmq_tally_add(&j->forgotten, name, len - tail);
}

static glmq_status note_all(const job *j, glmq_error *err)
{
    const char *file = j->cat->quant_file;

    GLMQ_TRY(glmq_tally_note(&j->excluded, j->g, GLMQ_WARNING, "config-modules", file, err,
                             "are quantized, which the config denies"));
    GLMQ_TRY(glmq_tally_note(&j->forgotten, j->g, GLMQ_WARNING, "config-modules", file, err,
                             "are stored in floats, which the config does not say"));
    GLMQ_TRY(glmq_tally_note(&j->unlike, j->g, GLMQ_WARNING, "config-mismatch", file, err,
                             "are stored in another format than the config says"));
    return glmq_tally_note(&j->no_input, j->g, GLMQ_WARNING, "input-scale-missing", file, err,
                           "have no input_scale, which quant_algo NVFP4 needs");
}

/* ---- modules ---- */

/* State that was never exported, or that belongs to a forward pass which is none of a linear
 * layer's. */
static glmq_status refuse_state(const glmq_catalog *cat, glmq_error *err)
{
    static const struct {
        const char *part, *why;
    } refused[] = {
        { ".pre_quant_scale", "a scale on the layer's input (AWQ), which has to be folded first" },
        { ".svdquant_lora_", "a low-rank part beside the codes, which has to be merged first" },
        { "_amax", "a quantizer's state: the checkpoint was saved, but not exported" },
        { "weight_quantizer.", "a quantizer's state: the checkpoint was saved, but not exported" },
        { "input_quantizer.", "a quantizer's state: the checkpoint was saved, but not exported" },
        { "._double_scale", "a quantizer's state: the checkpoint was saved, but not exported" },
    };

    for (size_t i = 0; i < cat->count; i++)
        for (size_t k = 0; k < GLMQ_COUNT(refused); k++)
            if (strstr(cat->arrays[i].name, refused[k].part))
                return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: %s", cat->arrays[i].name,
                                 refused[k].why);
    return GLMQ_OK;
}

static kind kind_stored(const glmq_module *m)
{
    const glmq_array *w = m->plain, *s = m->slot[GLMQ_SLOT_SCALES];
    const int e8m0 = s && (s->dtype == GLMQ_DT_U8 || s->dtype == GLMQ_DT_F8_E8M0);

    if (!w) return KIND_NONE;
    if (w->dtype == GLMQ_DT_U8) return e8m0 ? KIND_MXFP4 : KIND_NVFP4;
    if (w->dtype == GLMQ_DT_F8_E4M3 || w->dtype == GLMQ_DT_F8_E5M2)
        return e8m0 ? KIND_MXFP8 : KIND_FP8;
    return KIND_NONE;
}

/* The companions of a weight in floats: an activation scale says nothing of it, a weight's own
 * scale contradicts it. */
static glmq_status add_floats(job *j, const glmq_module *m, glmq_error *err)
{
    const glmq_array *s =
        m->slot[GLMQ_SLOT_SCALES] ? m->slot[GLMQ_SLOT_SCALES] : m->slot[GLMQ_SLOT_GLOBAL];
    const glmq_array *input = m->slot[GLMQ_SLOT_INPUT_SCALE];

    if (!m->plain)
        return glmq_fail_missing(err, GLMQ_E_FORMAT, "%s: its weight is missing",
                                 (s ? s : input)->name);
    if (s)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, though %s is stored", m->plain->name,
                         glmq_dtype_name((glmq_dtype)m->plain->dtype), s->name);
    GLMQ_TRY(glmq_hf_drop(j->g, j->cat, input, GLMQ_NOTE,
                          "an activation scale of a weight stored in floats", err));
    return glmq_hf_add_plain(j->g, j->cat, m->plain, err);
}

static glmq_status add_module(void *user, const glmq_module *m, glmq_error *err)
{
    static const uint64_t blocks[2] = { 128, 128 }, rows_of_32[2] = { 1, 32 };
    job *j = user;
    const kind stored = kind_stored(m);

    if (!m->quantized) {
        compare_plain(j, m->plain->name);
        return glmq_hf_add_plain(j->g, j->cat, m->plain, err);
    }
    if (stored == KIND_NONE) return add_floats(j, m, err);
    compare(j, m, stored);
    if (stored == KIND_NVFP4 || stored == KIND_MXFP4)
        return glmq_hf_add_fp4(j->g, j->cat, m, m->plain, FP4_MODELOPT, err);
    return glmq_hf_add_fp8(j->g, j->cat, m, stored == KIND_MXFP8 ? rows_of_32 : blocks, err);
}

glmq_status glmq_modelopt_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    job j = { .g = g, .cat = cat };
    glmq_status st = refuse_state(cat, err);

    if (!st) st = read_config(&j, err);
    if (!st) st = glmq_modules_each(cat, slots, GLMQ_COUNT(slots), add_module, &j, err);
    if (!st) st = note_all(&j, err);
    glmq_strmap_free(&j.layers);
    return st;
}

/* ---- the reader ---- */

static int nvfp4_probe(const glmq_catalog *cat)
{
    const char *algo = glmq_modelopt_algo(cat);
    const int stored = glmq_catalog_has_suffix(cat, "weight_scale_2", GLMQ_DT_NONE);

    if (glmq_modelopt_is(cat)) return stored || (algo && strcasestr(algo, "NVFP4")) ? 95 : 0;
    return stored ? 75 : 0;
}

static glmq_status nvfp4_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    const int packed = glmq_catalog_has_suffix(cat, "weight_packed", GLMQ_DT_NONE);
    return packed ? glmq_reader_ct.open(g, cat, err) : glmq_modelopt_open(g, cat, err);
}

const glmq_reader glmq_reader_nvfp4 = {
    .name = "nvfp4",
    .about = "ModelOpt safetensors: NVFP4, also mixed with FP8",
    .probe = nvfp4_probe,
    .open = nvfp4_open,
};
