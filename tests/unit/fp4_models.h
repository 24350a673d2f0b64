/* Small models with one module of four-bit floats, bent by hand. */
#ifndef GLMQ_TESTS_FP4_MODELS_H
#define GLMQ_TESTS_FP4_MODELS_H

#include "unit/reader_files.h"

static inline void set_float(stored *s, float f)
{
    memcpy(s->data, &f, 4);
}

static const char up[] = "model.layers.1.mlp.experts.1.up_proj"; /* 16 x 32 */
static const char up_weight[] = "model.layers.1.mlp.experts.1.up_proj.weight";

/* A module as ModelOpt stores NVFP4: every block scale 1, 0.5 for all of it. */
static inline void to_modelopt(checkpoint *c, const char *module)
{
    const stored *w = find_in(c, module, "weight");
    const uint64_t rows = w->dims[0], cols = w->dims[1];
    stored *s;

    remove_from(c, module, "weight");
    add_to(c, module, "weight", "U8", 2, rows, cols / 2);
    s = add_to(c, module, "weight_scale", "F8_E4M3", 2, rows, cols / 16);
    memset(s->data, 0x38, s->bytes);
    set_float(add_to(c, module, "weight_scale_2", "F32", 0, 0, 0), 0.5f);
    set_float(add_to(c, module, "input_scale", "F32", 0, 0, 0), 0.25f);
}

/* As compressed-tensors does: divided by 2. */
static inline void to_ct_nvfp4(checkpoint *c, const char *module)
{
    const stored *w = find_in(c, module, "weight");
    const uint64_t rows = w->dims[0], cols = w->dims[1];
    stored *s;

    remove_from(c, module, "weight");
    add_to(c, module, "weight_packed", "U8", 2, rows, cols / 2);
    s = add_to(c, module, "weight_scale", "F8_E4M3", 2, rows, cols / 16);
    memset(s->data, 0x38, s->bytes);
    set_float(add_to(c, module, "weight_global_scale", "F32", 1, 1, 0), 2.0f);
    set_float(add_to(c, module, "input_global_scale", "F32", 1, 1, 0), 4.0f);
}

#define MODELOPT(algo)                                                                             \
    "{\"quant_method\":\"modelopt\",\"quant_algo\":\"" algo "\",\"ignore\":[\"lm_head\"]}"

static inline checkpoint modelopt_model(const char *config)
{
    checkpoint c = make_model(LITE, 4);
    if (config) set_quantization(&c, config);
    to_modelopt(&c, up);
    return c;
}

static inline checkpoint ct_model(void)
{
    checkpoint c = make_model(LITE, 4);
    set_quantization(&c, "{\"quant_method\":\"compressed-tensors\","
                         "\"format\":\"nvfp4-pack-quantized\",\"config_groups\":{\"group_0\":{"
                         "\"targets\":[\"Linear\"],\"format\":\"nvfp4-pack-quantized\","
                         "\"weights\":{\"num_bits\":4,\"type\":\"float\",\"group_size\":16,"
                         "\"strategy\":\"tensor_group\"}}}}");
    to_ct_nvfp4(&c, up);
    return c;
}
#endif
