/* GPTQ checkpoints as GPTQModel writes them: MODULE.qweight .scales .qzeros .g_idx, and the
 * same quantization config in config.json and in quantize_config.json. */
#include "codecs/gptq.h"
#include "base/error.h"
#include "base/json.h"
#include "glmq/glmq.h"
#include "writers/hf.h"
#include "writers/int_target.h"
#include "writers/layout.h"
#include "writers/writer.h"
#include <string.h>

static const char *const refused[] = { NULL };

static const glmq_int_format format = {
    .name = "gptq",
    .options = "bits=4 (2, 3, 4, 8), group=128 (-1: whole row), sym or asym, v1 or v2, "
               "rule=best or peer",
    .refused = refused,
    .scale_dtype = GLMQ_DT_F16,
    .act_order = GLMQ_ACT_TRIVIAL, /* several loaders insist on a g_idx */
};

/* ---- quantization_config ---- */

static int same_params(const glmq_encoding *a, const glmq_encoding *b)
{
    return a->bits == b->bits && a->group == b->group && a->zero_kind == b->zero_kind;
}

static void add_group_size(glmq_text *t, const glmq_encoding *e)
{
    if (e->group)
        glmq_text_printf(t, "\"group_size\": %" PRIu32, e->group);
    else
        glmq_text_add(t, "\"group_size\": -1");
}

static const char *sym_word(const glmq_encoding *e)
{
    return e->zero_kind == GLMQ_ZERO_MID ? "true" : "false";
}

/* One entry of "dynamic": what modules of a group are, in the words that differ from the
 * base (NULL: not quantized). */
static void add_rule(glmq_text *t, const char *indent, const char *pattern, const glmq_encoding *e,
                     const glmq_encoding *base)
{
    const char *comma = "";
    glmq_text key = { 0 };
    glmq_text_printf(&key, "%s%s", e ? "+:" : "-:", pattern);
    glmq_text_printf(t, "\n%s    ", indent);
    if (!key.failed) glmq_json_quote(t, key.data, key.len);
    t->failed |= key.failed;
    glmq_text_free(&key);
    glmq_text_add(t, ": {");
    if (e && e->bits != base->bits) {
        glmq_text_printf(t, "\"bits\": %d", e->bits);
        comma = ", ";
    }
    if (e && e->group != base->group) {
        glmq_text_add(t, comma);
        add_group_size(t, e);
        comma = ", ";
    }
    if (e && e->zero_kind != base->zero_kind)
        glmq_text_printf(t, "%s\"sym\": %s", comma, sym_word(e));
    glmq_text_add(t, "}");
}

/* The first match wins, and no two patterns match one module: the order is free. */
static glmq_status add_dynamic(glmq_text *t, const char *indent, glmq_plan *p,
                               const glmq_hf_groups *groups, const glmq_encoding *base,
                               glmq_error *err)
{
    size_t rules = 0;
    glmq_text_add(t, "\"dynamic\": {");
    for (int32_t k = HF_GROUP_KEPT; k < (int32_t)groups->count; k++) {
        const char **patterns;
        size_t count;
        if (k == 0) continue; /* the base */
        GLMQ_TRY(glmq_hf_patterns(p, groups, k, &patterns, &count, err));
        for (size_t i = 0; i < count; i++) {
            if (rules++) glmq_text_add(t, ",");
            add_rule(t, indent, patterns[i], k < 0 ? NULL : &groups->encoding[k], base);
        }
    }
    if (rules) glmq_text_printf(t, "\n%s  ", indent);
    glmq_text_add(t, "}");
    return GLMQ_OK;
}

/* desc_act speaks of any module, lm_head of that one. */
static void look(const glmq_plan *p, const glmq_hf_groups *groups, int *desc_act, int *lm_head)
{
    *desc_act = *lm_head = 0;
    for (size_t i = 0; i < p->graph->count; i++) {
        if (groups->of[i] < 0) continue;
        *desc_act |= p->want[i].enc.act_order == GLMQ_ACT_ORDER;
        *lm_head |= p->graph->tensors[i].role == GLMQ_ROLE_LM_HEAD;
    }
}

/* GPTQModel loads asymmetric v1 zeros only from writers that it knows to subtract on the
 * packed word, which is what the codec does: the second entry says so. */
static void add_meta(glmq_text *t, const char *indent, const glmq_hf_groups *groups)
{
    for (size_t k = 0; k < groups->count; k++) {
        const glmq_encoding *e = &groups->encoding[k];
        if (e->zero_kind == GLMQ_ZERO_MID || e->variant != GPTQ_V1) continue;
        glmq_text_printf(
            t, "%s  \"meta\": {\"quantizer\": [\"glmq:" GLMQ_VERSION "\", \"gptqmodel:0.9.0\"]},\n",
            indent);
        return;
    }
}

static glmq_status config_text(glmq_text *t, const char *indent, glmq_plan *p,
                               const glmq_hf_groups *groups, glmq_error *err)
{
    const glmq_encoding *base = groups->count ? &groups->encoding[0] : &p->target.enc;
    int desc_act, lm_head;
    look(p, groups, &desc_act, &lm_head);
    glmq_text_printf(t, "{\n%s  \"bits\": %d,\n%s  \"checkpoint_format\": \"%s\",\n", indent,
                     base->bits, indent, base->variant == GPTQ_V1 ? "gptq" : "gptq_v2");
    glmq_text_printf(t, "%s  \"desc_act\": %s,\n%s  ", indent, desc_act ? "true" : "false", indent);
    GLMQ_TRY(add_dynamic(t, indent, p, groups, base, err));
    glmq_text_printf(t, ",\n%s  ", indent);
    add_group_size(t, base);
    glmq_text_printf(t, ",\n%s  \"lm_head\": %s,\n", indent, lm_head ? "true" : "false");
    add_meta(t, indent, groups);
    glmq_text_printf(t, "%s  \"pack_dtype\": \"int32\",\n", indent);
    glmq_text_printf(t, "%s  \"quant_method\": \"gptq\",\n%s  \"sym\": %s\n%s}", indent, indent,
                     sym_word(base), indent);
    return t->failed ? glmq_fail(err, GLMQ_E_NOMEM, "quantization_config") : GLMQ_OK;
}

/* ---- the writer ---- */

static glmq_status gptq_target(glmq_target *t, const char *options, glmq_error *err)
{
    return glmq_int_target(&format, t, options, err);
}

static glmq_status gptq_choose(const glmq_target *t, const glmq_graph *g, const glmq_tensor *tensor,
                               glmq_want *want, glmq_error *err)
{
    return glmq_int_choose(&format, t, g, tensor, want, err);
}

static glmq_status gptq_fit(const glmq_plan *p, glmq_error *err)
{
    return glmq_int_fit(&format, p, err);
}

static glmq_status plan_configs(glmq_plan *p, const glmq_hf_groups *groups, glmq_error *err)
{
    glmq_text inner = { 0 }, outer = { 0 };
    glmq_status st = config_text(&inner, "  ", p, groups, err);
    if (!st) st = config_text(&outer, "", p, groups, err);
    if (!st)
        st = glmq_hf_plan_side_files(
            p, &(glmq_hf_config){ .quant = HF_QUANT_SET, .quant_text = inner.data }, err);
    glmq_text_add(&outer, "\n");
    if (!st && outer.failed) st = glmq_fail(err, GLMQ_E_NOMEM, "quantize_config.json");
    if (!st) st = glmq_plan_add_text(p, "quantize_config.json", outer.data, outer.len, err);
    glmq_text_free(&inner);
    glmq_text_free(&outer);
    return st;
}

static glmq_status gptq_plan(glmq_plan *p, glmq_error *err)
{
    const char *scales = glmq_int_scale_note(p);
    const glmq_st_meta meta = { "glmq.scale_dtype", scales };
    glmq_hf_groups groups;
    GLMQ_TRY(glmq_hf_note_unlike(p, err));
    GLMQ_TRY(glmq_hf_group(p, &groups, same_params, err));
    GLMQ_TRY(glmq_hf_plan_tensors(p, err));
    GLMQ_TRY(glmq_safetensors_layout(p, &meta, scales != NULL, err));
    return plan_configs(p, &groups, err);
}

const glmq_writer glmq_writer_gptq = {
    .name = "gptq",
    .about = "GPTQ safetensors (GPTQModel, vLLM, transformers)",
    .options = "bits=4,group=128,sym,v1",
    .target = gptq_target,
    .choose = gptq_choose,
    .fit = gptq_fit,
    .plan = gptq_plan,
};
