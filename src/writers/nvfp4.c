/* NVFP4 checkpoints as ModelOpt exports them: MODULE.weight .weight_scale .weight_scale_2
 * .input_scale, described by hf_quant_config.json and by quantization_config in config.json.
 *
 * The activation scales come from running the model: they are carried where the source has one
 * for every layer, else the checkpoint is one of 16-bit activations (W4A16_NVFP4). */
#include "base/error.h"
#include "base/json.h"
#include "codecs/fp4.h"
#include "readers/catalog.h"
#include "writers/fp4_scales.h"
#include "writers/hf.h"
#include "writers/int_target.h"
#include "writers/layout.h"
#include "writers/writer.h"
#include <string.h>

/* The release of ModelOpt whose layout this is. */
#define PRODUCER "{\"name\": \"modelopt\", \"version\": \"0.47.0\"}"

static const char *const refused[] = { NULL };

static const glmq_int_format format = {
    .name = "nvfp4",
    .options = "kv=none or fp8, rule=best or peer",
    .refused = refused,
    .floats = 1,
};

/* ---- the configuration ---- */

/* The cache in FP8: as --to says, else as the source's config does. */
static int kv_is_fp8(const glmq_plan *p)
{
    const cJSON *quant = p->graph->catalog->quant;
    const cJSON *inner = cJSON_GetObjectItemCaseSensitive(quant, "quantization");
    const char *algo = glmq_json_string(quant, "kv_cache_quant_algo");
    uint64_t bits = 0;

    if (strstr(p->target.text, "kv=fp8")) return 1;
    if (strstr(p->target.text, "kv=none")) return 0;
    if (!algo && inner) algo = glmq_json_string(inner, "kv_cache_quant_algo");
    if (algo) return strcmp(algo, "FP8") == 0;
    return glmq_json_u64(glmq_json_get(quant, "kv_cache_scheme.num_bits"), &bits) && bits == 8;
}

static const char *algo_of(const glmq_plan *p)
{
    return p->input_scales ? "NVFP4" : "W4A16_NVFP4";
}

/* hf_quant_config.json */
static void own_file(glmq_text *t, const glmq_plan *p, const char **list, size_t count)
{
    glmq_text_printf(t,
                     "{\n    \"producer\": " PRODUCER ",\n"
                     "    \"quantization\": {\n"
                     "        \"quant_algo\": \"%s\",\n"
                     "        \"kv_cache_quant_algo\": %s,\n"
                     "        \"group_size\": 16,\n",
                     algo_of(p), kv_is_fp8(p) ? "\"FP8\"" : "null");
    glmq_hf_add_list(t, "exclude_modules", list, count, "", "        ", 4);
    glmq_text_add(t, "\n    }\n}\n");
}

static void add_args(glmq_text *t, const char *key)
{
    glmq_text_printf(t,
                     "        \"%s\": {\"dynamic\": false, \"num_bits\": 4, \"type\": \"float\", "
                     "\"group_size\": 16},\n",
                     key);
}

/* quantization_config of config.json */
static void in_config(glmq_text *t, const glmq_plan *p, const char **list, size_t count)
{
    glmq_text_add(t, "{\n    \"config_groups\": {\n      \"group_0\": {\n");
    if (p->input_scales) add_args(t, "input_activations");
    add_args(t, "weights");
    glmq_text_add(t, "        \"targets\": [\"Linear\"]\n      }\n    },\n");
    glmq_hf_add_list(t, "ignore", list, count, "", "    ", 4);
    glmq_text_printf(t, ",\n    \"quant_algo\": \"%s\",\n", algo_of(p));
    if (kv_is_fp8(p))
        glmq_text_add(t, "    \"kv_cache_scheme\": {\"dynamic\": false, \"num_bits\": 8, \"type\": "
                         "\"float\"},\n");
    glmq_text_add(t, "    \"producer\": " PRODUCER ",\n    \"quant_method\": \"modelopt\"\n  }");
}

static glmq_status plan_configs(glmq_plan *p, glmq_error *err)
{
    glmq_text own = { 0 }, inner = { 0 };
    const char **list;
    size_t count;
    glmq_status st;

    GLMQ_TRY(glmq_hf_kept_modules(p, &list, &count, err));
    own_file(&own, p, list, count);
    in_config(&inner, p, list, count);
    st =
        own.failed || inner.failed ? glmq_fail(err, GLMQ_E_NOMEM, "hf_quant_config.json") : GLMQ_OK;
    if (!st)
        st = glmq_hf_plan_side_files(
            p, &(glmq_hf_config){ .quant = HF_QUANT_SET, .quant_text = inner.data }, err);
    if (!st) st = glmq_plan_add_text(p, "hf_quant_config.json", own.data, own.len, err);
    glmq_text_free(&own);
    glmq_text_free(&inner);
    return st;
}

/* ---- the writer ---- */

static glmq_status nvfp4_target(glmq_target *t, const char *options, glmq_error *err)
{
    return glmq_int_target(&format, t, options, err);
}

static glmq_status nvfp4_choose(const glmq_target *t, const glmq_graph *g,
                                const glmq_tensor *tensor, glmq_want *want, glmq_error *err)
{
    return glmq_int_choose(&format, t, g, tensor, want, err);
}

/* ModelOpt's NVFP4 config has one format for all modules. */
static glmq_status nvfp4_fit(const glmq_plan *p, glmq_error *err)
{
    for (size_t i = 0; i < p->graph->count; i++)
        if (!p->want[i].dropped && fp4_global_of(&p->want[i].enc) == FP4_NO_GLOBAL)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: an nvfp4 checkpoint cannot store MXFP4",
                             p->graph->tensors[i].name);
    return glmq_int_fit(&format, p, err);
}

static glmq_status nvfp4_plan(glmq_plan *p, glmq_error *err)
{
    glmq_fp4_scales scales;
    GLMQ_TRY(glmq_hf_note_unlike(p, err));
    GLMQ_TRY(glmq_fp4_plan_scales(p, FP4_FOR_ENGINES, &scales, err));
    GLMQ_TRY(glmq_hf_plan_tensors(p, err));
    GLMQ_TRY(glmq_fp4_layout(p, &scales, NULL, 0, err));
    return plan_configs(p, err);
}

const glmq_writer glmq_writer_nvfp4 = {
    .name = "nvfp4",
    .about = "NVFP4 safetensors in ModelOpt's layout (TensorRT-LLM, vLLM, SGLang)",
    .options = "kv=none or fp8",
    .target = nvfp4_target,
    .choose = nvfp4_choose,
    .fit = nvfp4_fit,
    .plan = nvfp4_plan,
};
