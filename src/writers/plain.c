/* Plain floats in safetensors: bf16, f16, f32.  Everything takes that type but the routing
 * bias (F32 always: in BF16 most tokens would be routed elsewhere), KV-cache scales, which
 * are no weights, and stored integers. */
#include "base/error.h"
#include "models/roles.h"
#include "writers/hf.h"
#include "writers/int_target.h"
#include "writers/layout.h"
#include "writers/writer.h"

static glmq_status plain_target(glmq_target *t, const char *options, glmq_error *err)
{
    if (options && *options)
        return glmq_fail(err, GLMQ_E_ARG, "%s takes no options, \"%s\" given", t->writer->name,
                         options);
    t->file_type = -1;
    return glmq_encoding_parse(t->writer->name, &t->enc, err);
}

static glmq_status plain_choose(const glmq_target *t, const glmq_graph *g,
                                const glmq_tensor *tensor, glmq_want *want, glmq_error *err)
{
    const glmq_role_class class = glmq_role_class_of(tensor->role);
    const int quantized = glmq_tensor_quantized(tensor);
    const glmq_encoding from = glmq_tensor_plain(tensor);
    (void)g, (void)err;
    if (class == ROLE_ROUTER_BIAS)
        want->enc = glmq_encoding_of_dtype(GLMQ_DT_F32);
    else if (want->kind == WANT_ENC)
        return GLMQ_OK;
    else if (want->kind == WANT_KEEP || class == ROLE_SCALE ||
             (!quantized && !glmq_encoding_is_plain(&from)))
        want->enc = from;
    else
        want->enc = t->enc;
    return GLMQ_OK;
}

static glmq_status plain_fit(const glmq_plan *p, glmq_error *err)
{
    for (size_t i = 0; i < p->graph->count; i++) {
        const glmq_encoding *e = &p->want[i].enc;
        const glmq_dtype dtype = glmq_encoding_dtype(e);
        char text[128];
        if (p->want[i].dropped || (dtype != GLMQ_DT_NONE && glmq_dtype_info_of(dtype)->st_name))
            continue;
        glmq_encoding_print(e, text, sizeof text);
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: a %s checkpoint cannot store %s",
                         p->graph->tensors[i].name, p->target.writer->name, text);
    }
    return GLMQ_OK;
}

static glmq_status plain_plan(glmq_plan *p, glmq_error *err)
{
    const glmq_hf_config config = { .quant = HF_QUANT_NONE,
                                    .dtype = glmq_encoding_dtype(&p->target.enc) };
    GLMQ_TRY(glmq_hf_plan_tensors(p, err));
    GLMQ_TRY(glmq_safetensors_layout(p, NULL, 0, err));
    return glmq_hf_plan_side_files(p, &config, err);
}

#define PLAIN(word, text)                                                                          \
    const glmq_writer glmq_writer_##word = {                                                       \
        .name = #word,                                                                             \
        .about = text,                                                                             \
        .options = "",                                                                             \
        .target = plain_target,                                                                    \
        .choose = plain_choose,                                                                    \
        .fit = plain_fit,                                                                          \
        .plan = plain_plan,                                                                        \
    }

PLAIN(bf16, "BF16 safetensors");
PLAIN(f16, "F16 safetensors");
PLAIN(f32, "F32 safetensors");
