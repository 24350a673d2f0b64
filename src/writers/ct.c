/* compressed-tensors checkpoints, described by quantization_config:
 *   pack-quantized        MODULE.weight_packed .weight_scale .weight_zero_point .weight_shape
 *                         .weight_g_idx
 *   nvfp4-pack-quantized  MODULE.weight_packed .weight_scale .weight_global_scale
 *                         .input_global_scale
 *   mxfp4-pack-quantized  MODULE.weight_packed .weight_scale */
#include "base/error.h"
#include "base/json.h"
#include "codecs/ctpack.h"
#include "codecs/fp4.h"
#include "readers/catalog.h"
#include "writers/fp4_scales.h"
#include "writers/hf.h"
#include "writers/int_target.h"
#include "writers/layout.h"
#include "writers/writer.h"
#include <stdio.h>
#include <string.h>

/* The release whose layout is written: loaders go by it to unpack odd bit widths.  0.19 dropped
 * activation order by group. */
#define CT_VERSION       "0.19.0"
#define CT_VERSION_ORDER "0.18.0"

static const char *const refused[] = { "fp8", "block", NULL };

static const glmq_int_format format = {
    .name = "compressed-tensors",
    .options = "int4 (int2, int3, int8), group=128 or channel or tensor, sym or asym, "
               "scale=bf16 or f16 or f32, rule=best or peer",
    .refused = refused,
    .whole_tensor = 1,
    .whole_groups = 1,
    .order_note = "columns in activation order: compressed-tensors 0.19 and later do not load them "
                  "(--unpermute takes it off down_proj)",
};

/* Four-bit floats have no options but these two words. */
static const glmq_int_format floats = {
    .name = "compressed-tensors",
    .options = "nvfp4 or mxfp4, rule=best or peer",
    .refused = refused,
    .floats = 1,
};

static const glmq_int_format *format_of(const glmq_target *t)
{
    return t->enc.codec == &glmq_codec_fp4 ? &floats : &format;
}

static const char *format_word(const glmq_encoding *e)
{
    switch (fp4_global_of(e)) {
    case FP4_NOT: return "pack-quantized";
    case FP4_NO_GLOBAL: return "mxfp4-pack-quantized";
    default: return "nvfp4-pack-quantized";
    }
}

/* ---- quantization_config ---- */

static int same_args(const glmq_encoding *a, const glmq_encoding *b)
{
    return a->codec == b->codec && a->bits == b->bits && a->group == b->group &&
           (a->group_rows == 0) == (b->group_rows == 0) && a->zero_kind == b->zero_kind &&
           a->act_order == b->act_order;
}

/* Activations of NVFP4 are quantized in the kernel, group by group under one stored scale. */
static void add_float_args(glmq_text *t, const char *key, const glmq_encoding *e, int activations)
{
    const int nv = fp4_global_of(e) != FP4_NO_GLOBAL;
    glmq_text_printf(t,
                     "        \"%s\": {\n"
                     "          \"actorder\": null,\n"
                     "          \"block_structure\": null,\n"
                     "          \"dynamic\": %s,\n"
                     "          \"group_size\": %" PRIu32 ",\n"
                     "          \"num_bits\": 4,\n"
                     "          \"observer\": null,\n"
                     "          \"observer_kwargs\": {},\n"
                     "          \"scale_dtype\": \"%s\",\n"
                     "          \"strategy\": \"%s\",\n"
                     "          \"symmetric\": true,\n"
                     "          \"type\": \"float\",\n"
                     "          \"zp_dtype\": null\n"
                     "        }",
                     key, activations ? "\"local\"" : "false", e->group,
                     nv ? "torch.float8_e4m3fn" : "torch.uint8", nv ? "tensor_group" : "group");
}

/* The arguments of a scheme, every key said: releases before 0.20 want them all. */
static void add_args(glmq_text *t, const glmq_encoding *e)
{
    const char *strategy = e->group ? "group" : e->group_rows ? "channel" : "tensor";
    const int sym = e->zero_kind == GLMQ_ZERO_MID;
    char size[16] = "null";
    if (e->group) snprintf(size, sizeof size, "%" PRIu32, e->group);
    glmq_text_printf(t,
                     "        \"weights\": {\n"
                     "          \"actorder\": %s,\n"
                     "          \"block_structure\": null,\n"
                     "          \"dynamic\": false,\n"
                     "          \"group_size\": %s,\n"
                     "          \"num_bits\": %d,\n"
                     "          \"observer\": null,\n"
                     "          \"observer_kwargs\": {},\n"
                     "          \"scale_dtype\": null,\n"
                     "          \"strategy\": \"%s\",\n"
                     "          \"symmetric\": %s,\n"
                     "          \"type\": \"int\",\n"
                     "          \"zp_dtype\": %s\n"
                     "        }\n",
                     e->act_order ? "\"group\"" : "null", size, e->bits, strategy,
                     sym ? "true" : "false", sym ? "null" : "\"torch.int8\"");
}

/* The first group takes every linear; the others name theirs: names win over the class. */
static glmq_status add_group(glmq_text *t, glmq_plan *p, const glmq_hf_groups *groups, int32_t k,
                             glmq_error *err)
{
    static const char *const every[] = { "Linear" };
    const glmq_encoding *e = &groups->encoding[k];
    const char *const *targets = every;
    const char **patterns;
    size_t count = 1;
    if (k > 0) {
        GLMQ_TRY(glmq_hf_patterns(p, groups, k, &patterns, &count, err));
        targets = patterns;
    }
    glmq_text_printf(t,
                     "%s\n      \"group_%" PRId32 "\": {\n"
                     "        \"format\": \"%s\",\n",
                     k ? "," : "", k, format_word(e));
    if (p->input_scales && fp4_global_of(e) == FP4_DIVIDES)
        add_float_args(t, "input_activations", e, 1);
    else
        glmq_text_add(t, "        \"input_activations\": null");
    glmq_text_add(t, ",\n        \"output_activations\": null,\n");
    glmq_hf_add_list(t, "targets", targets, count, k ? "re:" : "", "        ", 2);
    glmq_text_add(t, ",\n");
    if (fp4_global_of(e) == FP4_NOT) {
        add_args(t, e);
    } else {
        add_float_args(t, "weights", e, 0);
        glmq_text_add(t, "\n");
    }
    glmq_text_add(t, "      }");
    return GLMQ_OK;
}

/* The scheme of the KV cache, when the source has one and its scales come along. */
static void add_kv_scheme(glmq_text *t, const glmq_plan *p)
{
    const cJSON *scheme = glmq_json_get(p->graph->catalog->quant, "kv_cache_scheme");
    int scales = 0;
    char *text;
    for (size_t i = 0; i < p->graph->count && !scales; i++)
        scales = p->graph->tensors[i].role == GLMQ_ROLE_ATTN_K_SCALE && !p->want[i].dropped;
    text = scales && cJSON_IsObject(scheme) ? cJSON_PrintUnformatted(scheme) : NULL;
    glmq_text_printf(t, "    \"kv_cache_scheme\": %s,\n", text ? text : "null");
    cJSON_free(text);
}

/* One word for all groups, where there is one. */
static const char *common_format(const glmq_plan *p, const glmq_hf_groups *groups)
{
    const char *word = format_word(groups->count ? &groups->encoding[0] : &p->target.enc);
    for (size_t k = 1; k < groups->count; k++)
        if (format_word(&groups->encoding[k]) != word) return "mixed-precision";
    return word;
}

static glmq_status config_text(glmq_text *t, glmq_plan *p, const glmq_hf_groups *groups,
                               glmq_error *err)
{
    const char **ignore;
    size_t count;
    int order = 0;
    for (size_t k = 0; k < groups->count; k++)
        order |= groups->encoding[k].act_order == GLMQ_ACT_ORDER;
    GLMQ_TRY(glmq_hf_kept_modules(p, &ignore, &count, err));
    glmq_text_add(t, "{\n    \"config_groups\": {");
    for (int32_t k = 0; k < (int32_t)groups->count; k++) GLMQ_TRY(add_group(t, p, groups, k, err));
    glmq_text_add(t, groups->count ? "\n    },\n" : "},\n");
    glmq_text_printf(t,
                     "    \"format\": \"%s\",\n"
                     "    \"global_compression_ratio\": null,\n",
                     common_format(p, groups));
    glmq_hf_add_list(t, "ignore", ignore, count, "", "    ", 2);
    glmq_text_add(t, ",\n");
    add_kv_scheme(t, p);
    glmq_text_add(t, "    \"quant_method\": \"compressed-tensors\",\n"
                     "    \"quantization_status\": \"compressed\",\n"
                     "    \"sparsity_config\": {},\n"
                     "    \"transform_config\": {},\n");
    glmq_text_printf(t, "    \"version\": \"%s\"\n  }", order ? CT_VERSION_ORDER : CT_VERSION);
    return t->failed ? glmq_fail(err, GLMQ_E_NOMEM, "quantization_config") : GLMQ_OK;
}

/* ---- the writer ---- */

static glmq_status ct_target(glmq_target *t, const char *options, glmq_error *err)
{
    const int four =
        options && (strncmp(options, "nvfp4", 5) == 0 || !strncmp(options, "mxfp4", 5));
    return glmq_int_target(four ? &floats : &format, t, options, err);
}

static glmq_status ct_choose(const glmq_target *t, const glmq_graph *g, const glmq_tensor *tensor,
                             glmq_want *want, glmq_error *err)
{
    return glmq_int_choose(format_of(t), t, g, tensor, want, err);
}

static glmq_status ct_fit(const glmq_plan *p, glmq_error *err)
{
    return glmq_int_fit(format_of(&p->target), p, err);
}

static glmq_status ct_plan(glmq_plan *p, glmq_error *err)
{
    const char *note = format_of(&p->target)->floats ? NULL : glmq_int_scale_note(p);
    const glmq_st_meta meta = { "glmq.scale_dtype", note };
    glmq_text text = { 0 };
    glmq_fp4_scales scales;
    glmq_hf_groups groups;
    glmq_status st;
    GLMQ_TRY(glmq_hf_note_unlike(p, err));
    GLMQ_TRY(glmq_fp4_plan_scales(p, FP4_FOR_ENGINES, &scales, err));
    GLMQ_TRY(glmq_hf_group(p, &groups, same_args, err));
    GLMQ_TRY(glmq_hf_plan_tensors(p, err));
    GLMQ_TRY(glmq_fp4_layout(p, &scales, &meta, note != NULL, err));
    st = config_text(&text, p, &groups, err);
    if (!st)
        st = glmq_hf_plan_side_files(
            p, &(glmq_hf_config){ .quant = HF_QUANT_SET, .quant_text = text.data }, err);
    glmq_text_free(&text);
    return st;
}

const glmq_writer glmq_writer_ct = {
    .name = "compressed-tensors",
    .about = "compressed-tensors safetensors, pack-quantized (vLLM, transformers)",
    .options = "int4 (int2, int3, int8),group=128 or channel or tensor,sym or asym,scale=DTYPE; "
               "nvfp4; mxfp4",
    .target = ct_target,
    .choose = ct_choose,
    .fit = ct_fit,
    .plan = ct_plan,
};
