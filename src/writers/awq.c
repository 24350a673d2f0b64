/* AWQ checkpoints in gemm packing, as AutoAWQ writes them: MODULE.qweight .scales .qzeros, all
 * of 4 bits in groups of one size, and a quantization config without exceptions: modules are
 * AWQ's or, by a list of pieces of names, plain. */
#include "base/error.h"
#include "base/json.h"
#include "writers/hf.h"
#include "writers/int_target.h"
#include "writers/layout.h"
#include "writers/writer.h"
#include <string.h>

static const char *const refused[] = { NULL };

static const glmq_int_format format = {
    .name = "awq",
    .options = "group=128 (-1: whole row), asym or sym, rule=best or peer",
    .refused = refused,
    .scale_dtype = GLMQ_DT_F16,
    .only_bits = 4,
    .no_order = 1,
    .whole_groups = 1,
    .order_note = "AWQ has no place for activation order (--unpermute takes it off down_proj)",
};

/* ---- quantization_config ---- */

static int same_group(const glmq_encoding *a, const glmq_encoding *b)
{
    return a->group == b->group && a->zero_kind == b->zero_kind;
}

/* Zero points are stored for symmetric modules too: one that is not makes all asymmetric. */
static glmq_status config_text(glmq_text *t, glmq_plan *p, const glmq_hf_groups *groups,
                               glmq_error *err)
{
    const glmq_encoding *base = groups->count ? &groups->encoding[0] : &p->target.enc;
    int asym = base->zero_kind == GLMQ_ZERO_STORED;
    const char **kept;
    size_t count;

    for (size_t k = 0; k < groups->count; k++)
        asym |= groups->encoding[k].zero_kind == GLMQ_ZERO_STORED;
    GLMQ_TRY(glmq_hf_kept_modules(p, &kept, &count, err));
    glmq_text_add(t, "{\n    \"bits\": 4,\n");
    if (base->group)
        glmq_text_printf(t, "    \"group_size\": %" PRIu32 ",\n", base->group);
    else
        glmq_text_add(t, "    \"group_size\": -1,\n");
    glmq_hf_add_list(t, "modules_to_not_convert", kept, count, "", "    ", 2);
    glmq_text_printf(t,
                     ",\n    \"quant_method\": \"awq\",\n"
                     "    \"version\": \"gemm\",\n"
                     "    \"zero_point\": %s\n  }",
                     asym ? "true" : "false");
    return t->failed ? glmq_fail(err, GLMQ_E_NOMEM, "quantization_config") : GLMQ_OK;
}

/* ---- what the config cannot say ---- */

/* All groups are of one size: there is one number for them. */
static glmq_status check_groups(const glmq_plan *p, glmq_error *err)
{
    const glmq_tensor *first = NULL;
    uint32_t group = 0;

    for (size_t i = 0; i < p->graph->count; i++) {
        const glmq_encoding *e = &p->want[i].enc;
        if (p->want[i].dropped || e->codec != p->target.enc.codec) continue;
        if (!first) {
            first = &p->graph->tensors[i];
            group = e->group;
        }
        if (e->group == group) continue;
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "%s has groups of %" PRIu32 ", %s of %" PRIu32
                         " (0: the whole row): an AWQ checkpoint has one size, give it as group=",
                         p->graph->tensors[i].name, e->group, first->name, group);
    }
    return GLMQ_OK;
}

/* A piece of a name keeps every module with that piece plain: so no kept module's name may
 * be one of a quantized module's. */
static glmq_status note_hidden(glmq_plan *p, glmq_error *err)
{
    const char **kept;
    size_t count;

    GLMQ_TRY(glmq_hf_kept_modules(p, &kept, &count, err));
    for (size_t i = 0; i < p->graph->count; i++) {
        glmq_want *w = &p->want[i];
        if (w->dropped || w->enc.codec != p->target.enc.codec) continue;
        for (size_t k = 0; k < count; k++) {
            if (!strstr(p->graph->tensors[i].name, kept[k])) continue;
            w->reason = "loaders take it for plain: the name of a kept module is a piece of its";
            break;
        }
    }
    return GLMQ_OK;
}

/* ---- the writer ---- */

static glmq_status awq_target(glmq_target *t, const char *options, glmq_error *err)
{
    return glmq_int_target(&format, t, options, err);
}

static glmq_status awq_choose(const glmq_target *t, const glmq_graph *g, const glmq_tensor *tensor,
                              glmq_want *want, glmq_error *err)
{
    return glmq_int_choose(&format, t, g, tensor, want, err);
}

static glmq_status awq_fit(const glmq_plan *p, glmq_error *err)
{
    GLMQ_TRY(glmq_int_fit(&format, p, err));
    return check_groups(p, err);
}

static glmq_status awq_plan(glmq_plan *p, glmq_error *err)
{
    const char *scales = glmq_int_scale_note(p);
    const glmq_st_meta meta = { "glmq.scale_dtype", scales };
    glmq_text text = { 0 };
    glmq_hf_groups groups;
    glmq_status st;

    GLMQ_TRY(glmq_hf_note_unlike(p, err));
    GLMQ_TRY(note_hidden(p, err));
    GLMQ_TRY(glmq_hf_group(p, &groups, same_group, err));
    GLMQ_TRY(glmq_hf_plan_tensors(p, err));
    GLMQ_TRY(glmq_safetensors_layout(p, &meta, scales != NULL, err));
    st = config_text(&text, p, &groups, err);
    if (!st)
        st = glmq_hf_plan_side_files(
            p, &(glmq_hf_config){ .quant = HF_QUANT_SET, .quant_text = text.data }, err);
    glmq_text_free(&text);
    return st;
}

const glmq_writer glmq_writer_awq = {
    .name = "awq",
    .about = "AWQ safetensors, gemm packing (AutoAWQ, vLLM, transformers)",
    .options = "group=128,asym or sym",
    .target = awq_target,
    .choose = awq_choose,
    .fit = awq_fit,
    .plan = awq_plan,
};
