/* Plain checkpoints: F32, F16 and BF16 arrays under the names of the model.  The format is
 * named after the type that most bytes have; the others may be mixed in. */
#include "base/error.h"
#include "reader.h"

/* The plain type with the most bytes; BF16 when there is none. */
static glmq_dtype dominating(const glmq_catalog *cat)
{
    uint64_t bf16 = 0, f16 = 0, f32 = 0;

    for (size_t i = 0; i < cat->count; i++) {
        const glmq_array *a = &cat->arrays[i];
        if (a->dtype == GLMQ_DT_BF16) bf16 += a->bytes;
        if (a->dtype == GLMQ_DT_F16) f16 += a->bytes;
        if (a->dtype == GLMQ_DT_F32) f32 += a->bytes;
    }
    if (f32 > bf16 && f32 > f16) return GLMQ_DT_F32;
    return f16 > bf16 ? GLMQ_DT_F16 : GLMQ_DT_BF16;
}

static int probe_for(const glmq_catalog *cat, glmq_dtype dtype)
{
    return dominating(cat) == dtype ? 20 : 0;
}

static int bf16_probe(const glmq_catalog *cat)
{
    return probe_for(cat, GLMQ_DT_BF16);
}

static int f16_probe(const glmq_catalog *cat)
{
    return probe_for(cat, GLMQ_DT_F16);
}

static int f32_probe(const glmq_catalog *cat)
{
    return probe_for(cat, GLMQ_DT_F32);
}

static glmq_status plain_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    for (size_t i = 0; i < cat->count; i++)
        GLMQ_TRY(glmq_hf_add_plain(g, cat, &cat->arrays[i], err));
    if (cat->quant && glmq_graph_note(g, GLMQ_WARNING, "config-quantization", NULL, cat->quant_file,
                                      "a quantization config, but no quantized array"))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

const glmq_reader glmq_reader_bf16 = {
    .name = "bf16",
    .about = "plain BF16 safetensors",
    .probe = bf16_probe,
    .open = plain_open,
};

const glmq_reader glmq_reader_f16 = {
    .name = "f16",
    .about = "plain F16 safetensors",
    .probe = f16_probe,
    .open = plain_open,
};

const glmq_reader glmq_reader_f32 = {
    .name = "f32",
    .about = "plain F32 safetensors",
    .probe = f32_probe,
    .open = plain_open,
};
