/* MXFP4 is written as compressed-tensors stores it: `mxfp4` is `compressed-tensors:mxfp4`. */
#include "base/error.h"
#include "base/text.h"
#include "writers/writer.h"

static glmq_status target(glmq_target *t, const char *options, glmq_error *err)
{
    glmq_text text = { 0 };
    glmq_status st;

    glmq_text_printf(&text, "mxfp4%s%s", options && *options ? "," : "", options ? options : "");
    st = text.failed ? glmq_fail(err, GLMQ_E_NOMEM, "mxfp4: options")
                     : glmq_writer_ct.target(t, text.data, err);
    glmq_text_free(&text);
    return st;
}

static glmq_status choose(const glmq_target *t, const glmq_graph *g, const glmq_tensor *tensor,
                          glmq_want *want, glmq_error *err)
{
    return glmq_writer_ct.choose(t, g, tensor, want, err);
}

static glmq_status fit(const glmq_plan *p, glmq_error *err)
{
    return glmq_writer_ct.fit(p, err);
}

static glmq_status plan(glmq_plan *p, glmq_error *err)
{
    return glmq_writer_ct.plan(p, err);
}

const glmq_writer glmq_writer_mxfp4 = {
    .name = "mxfp4",
    .about = "MXFP4 safetensors, as compressed-tensors stores it",
    .options = "",
    .target = target,
    .choose = choose,
    .fit = fit,
    .plan = plan,
};
