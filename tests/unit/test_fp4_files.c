/* Checkpoints of four-bit floats: what readers take and refuse. */
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "codecs/fp4.h"
#include "codecs/fp8.h"
#include "glmq/graph.h"
#include "models/graph.h"
#include "readers/catalog.h"
#include "unit/convert_files.h"
#include "unit/fp4_models.h"
#include <math.h>

/* ---- readers: small models bent by hand ---- */

static const glmq_part *part_of_up(const opened *o)
{
    return &glmq_graph_find(o->g, up_weight)->part[0];
}

static void modelopt_is_read_with_and_without_a_config(void **state)
{
    static const char *const configs[] = {
        MODELOPT("NVFP4"), MODELOPT("nvfp4"), MODELOPT("NVFP4_AWQ"),
        "{\"producer\":{\"name\":\"modelopt\"},\"quantization\":{"
        "\"quant_algo\":\"NVFP4\",\"exclude_modules\":[]}}",
        NULL
    };
    (void)state;
    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        checkpoint c = modelopt_model(configs[i]);
        opened o = must_open(&c);
        float w[16 * 32];

        assert_string_equal(glmq_graph_format(o.g), "nvfp4");
        assert_int_equal(part_of_up(&o)->enc.variant, FP4_MODELOPT);
        assert_int_equal(part_of_up(&o)->span[GLMQ_SLOT_INPUT_SCALE].bytes, 4);
        assert_int_equal(glmq_graph_dropped_count(o.g), 0);
        assert_int_equal(problem(o.g, "config-missing") != NULL, configs[i] == NULL);
        assert_null(problem(o.g, "config-mismatch"));
        assert_int_equal(glmq_tensor_decode(o.g, glmq_graph_find(o.g, up_weight), 0, 16, w, &o.err),
                         GLMQ_OK);
        for (int k = 0; k < 16 * 32; k++) assert_true(fabsf(w[k]) <= 3);
        shut(&o);
        discard(&c);
    }
}

static void the_config_is_held_against_what_is_stored(void **state)
{
    static const struct {
        const char *config, *code;
    } cases[] = {
        { MODELOPT("FP8"), "config-mismatch" },
        { "{\"quant_method\":\"modelopt\",\"quant_algo\":\"NVFP4\",\"ignore\":[\"model.layers.1*\"]"
          "}",
          "config-modules" },
        { "{\"quant_method\":\"modelopt\",\"quant_algo\":\"MIXED_PRECISION\",\"quantized_layers\":{"
          "}}",
          "config-modules" },
        { "{\"quant_method\":\"modelopt\",\"quant_algo\":\"MIXED_PRECISION\",\"quantized_layers\":{"
          "\"model.layers.1.mlp.experts.1.up_proj\":{\"quant_algo\":\"FP8\"}}}",
          "config-mismatch" },
        { "{\"quant_method\":\"modelopt\",\"quant_algo\":\"MIXED_PRECISION\",\"quantized_layers\":{"
          "\"model.layers.1.mlp.experts.1.up_proj\":{\"quant_algo\":\"NVFP4\"},"
          "\"model.layers.1.mlp.experts.1.gate_proj\":{\"quant_algo\":\"NVFP4\"}}}",
          "config-modules" },
        { "{\"quant_method\":\"modelopt\",\"quant_algo\":\"NVFP4\",\"kv_cache_scheme\":{}}",
          "kv-cache-quantized" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = modelopt_model(cases[i].config);
        opened o = must_open(&c);
        if (!problem(o.g, cases[i].code)) fail_msg("case %zu: no %s", i, cases[i].code);
        shut(&o);
        discard(&c);
    }
}

static void a_layer_without_its_activation_scale_is_told(void **state)
{
    checkpoint c = modelopt_model(MODELOPT("NVFP4"));
    opened o;
    (void)state;
    remove_from(&c, up, "input_scale");
    o = must_open(&c);
    assert_non_null(problem(o.g, "input-scale-missing"));
    shut(&o);
    edit_config(&c, "NVFP4", "W4A16_NVFP4");
    o = must_open(&c);
    assert_null(problem(o.g, "input-scale-missing"));
    shut(&o);
    discard(&c);
}

typedef void (*bend_fn)(checkpoint *);

static void lacks_scale(checkpoint *c)
{
    remove_from(c, up, "weight_scale");
}

static void lacks_global(checkpoint *c)
{
    remove_from(c, up, "weight_scale_2");
}

static void lacks_all(checkpoint *c)
{
    remove_from(c, up, "weight_scale");
    remove_from(c, up, "weight_scale_2");
    remove_from(c, up, "input_scale");
}

static void lacks_weight(checkpoint *c)
{
    remove_from(c, up, "weight");
}

static void scales_are_tiled(checkpoint *c)
{
    remove_from(c, up, "weight_scale");
    add_to(c, up, "weight_scale", "U8", 1, 512, 0);
}

static void scales_are_padded(checkpoint *c)
{
    reshape(find_in(c, up, "weight_scale"), 2, 128, 4);
}

static void global_is_half(checkpoint *c)
{
    remove_from(c, up, "weight_scale_2");
    add_to(c, up, "weight_scale_2", "BF16", 0, 0, 0);
}

static void global_is_a_list(checkpoint *c)
{
    reshape(find_in(c, up, "weight_scale_2"), 1, 2, 0);
}

static void weight_is_wide(checkpoint *c)
{
    reshape(find_in(c, up, "weight"), 2, 16, 17);
}

static void weight_is_float(checkpoint *c)
{
    remove_from(c, up, "weight");
    add_to(c, up, "weight", "BF16", 2, 16, 32);
}

static void input_is_a_row(checkpoint *c)
{
    reshape(find_in(c, up, "input_scale"), 1, 32, 0);
}

static void has_awq(checkpoint *c)
{
    add_to(c, up, "pre_quant_scale", "F32", 1, 32, 0);
}

static void has_svd(checkpoint *c)
{
    add_to(c, up, "svdquant_lora_a", "BF16", 2, 4, 32);
}

static void has_amax(checkpoint *c)
{
    add_to(c, up, "weight_quantizer._amax", "F32", 1, 1, 0);
}

static void has_state(checkpoint *c)
{
    add_to(c, up, "input_quantizer._pre_quant_scale", "F32", 1, 32, 0);
}

static void has_double_scale(checkpoint *c)
{
    add_to(c, up, "weight_quantizer._double_scale", "F32", 0, 0, 0);
}

static void malformed_modelopt_is_refused_by_name(void **state)
{
    static const struct {
        bend_fn bend;
        glmq_status status;
        const char *words;
    } cases[] = {
        { lacks_scale, GLMQ_E_FORMAT, "up_proj.weight: its block scales are missing" },
        { lacks_global, GLMQ_E_FORMAT, "up_proj.weight_scale_2 is missing" },
        { lacks_weight, GLMQ_E_FORMAT, "its weight is missing" },
        { lacks_all, GLMQ_E_FORMAT, "up_proj.weight: U8 without the arrays" },
        { scales_are_tiled, GLMQ_E_FORMAT, "up_proj.weight_scale: 1 dimensions" },
        { scales_are_padded, GLMQ_E_FORMAT,
          "up_proj.weight_scale: 128 x 4 scales, expected 16 x 2: padded or tiled" },
        { global_is_half, GLMQ_E_FORMAT, "up_proj.weight_scale_2: dtype BF16, expected F32" },
        { global_is_a_list, GLMQ_E_FORMAT, "up_proj.weight_scale_2: shape 2" },
        { weight_is_wide, GLMQ_E_FORMAT, "up_proj" },
        { weight_is_float, GLMQ_E_FORMAT, "up_proj.weight: dtype BF16, though" },
        { input_is_a_row, GLMQ_E_FORMAT, "up_proj.input_scale" },
        { has_awq, GLMQ_E_UNSUPPORTED, "up_proj.pre_quant_scale: a scale on the layer's input" },
        { has_svd, GLMQ_E_UNSUPPORTED, "up_proj.svdquant_lora_a: a low-rank part" },
        { has_amax, GLMQ_E_UNSUPPORTED, "a quantizer's state" },
        { has_state, GLMQ_E_UNSUPPORTED, "a quantizer's state" },
        { has_double_scale, GLMQ_E_UNSUPPORTED, "a quantizer's state" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = modelopt_model(MODELOPT("NVFP4"));
        cases[i].bend(&c);
        must_refuse(&c, cases[i].status, cases[i].words);
    }
}

static void bad_numbers_are_refused_where_they_are_read(void **state)
{
    static const struct {
        const char *leaf;
        uint32_t bits;
        const char *words;
    } cases[] = {
        { "weight_scale", 0x38387f38, "scale" },
        { "weight_scale", 0x383838ff, "scale" },
        { "weight_scale", 0x38388038, "negative" },
        { "weight_scale_2", 0, "no finite positive number" },
        { "weight_scale_2", 0xbf000000, "no finite positive number" },
        { "weight_scale_2", 0x7f800000, "no finite positive number" },
        { "weight_scale_2", 0x7fc00000, "no finite positive number" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = modelopt_model(MODELOPT("NVFP4"));
        memcpy(find_in(&c, up, cases[i].leaf)->data, &cases[i].bits, 4);
        must_not_decode(&c, up_weight, cases[i].words);
    }
}

static void bad_activation_scales_are_refused_before_anything_is_written(void **state)
{
    static const uint32_t bad[] = { 0, 0xbf800000, 0x7f800000, 0x7fc00000 };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        checkpoint c = modelopt_model(MODELOPT("NVFP4"));
        conversion v;
        char dst[300];

        memcpy(find_in(&c, up, "input_scale")->data, &bad[i], 4);
        snprintf(dst, sizeof dst, "%s-out", save(&c));
        assert_int_equal(conversion_plan(&v, c.folder, "compressed-tensors:nvfp4", dst, NULL),
                         GLMQ_E_FORMAT);
        assert_non_null(strstr(v.err.msg, "up_proj.weight: its activation scale"));
        conversion_close(&v);
        discard(&c);
    }
}

static void a_bad_activation_scale_is_refused_where_the_target_drops_it(void **state)
{
    static const uint32_t bad[] = { 0, 0xbf800000, 0x7f800000, 0x7fc00000 };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        checkpoint c = modelopt_model(MODELOPT("NVFP4"));
        char dst[300], partial[320];
        glmq_error err;

        memcpy(find_in(&c, up, "input_scale")->data, &bad[i], 4);
        snprintf(dst, sizeof dst, "%s-out", save(&c));
        snprintf(partial, sizeof partial, "%s.partial", dst);
        assert_int_equal(convert(c.folder, dst, "bf16", NULL, NULL, NULL, &err), GLMQ_E_FORMAT);
        assert_non_null(strstr(err.msg, "up_proj.weight: its input scale"));
        assert_int_equal(glmq_out_exists(dst) + glmq_out_exists(partial), 0);
        discard(&c);
    }
}

static void malformed_compressed_tensors_is_refused_by_name(void **state)
{
    checkpoint c = ct_model();
    opened o = must_open(&c);
    (void)state;

    assert_int_equal(part_of_up(&o)->enc.variant, FP4_CT);
    assert_int_equal(glmq_graph_problem_count(o.g), 0);
    shut(&o);
    discard(&c);

    c = ct_model();
    remove_from(&c, up, "weight_global_scale");
    must_refuse(&c, GLMQ_E_FORMAT, "up_proj.weight_global_scale is missing");
    c = ct_model();
    remove_from(&c, up, "weight_scale");
    must_refuse(&c, GLMQ_E_FORMAT, "up_proj.weight_packed: its block scales are missing");
    c = ct_model();
    add_to(&c, up, "weight", "BF16", 2, 16, 32);
    must_refuse(&c, GLMQ_E_FORMAT, "both");
    c = ct_model();
    edit_config(&c, "\"group_size\":16", "\"group_size\":32");
    must_refuse(&c, GLMQ_E_FORMAT, "four-bit floats in groups of 16, the config has none");
    c = ct_model();
    edit_config(&c, "\"group_size\":16", "\"group_size\":24");
    must_refuse(&c, GLMQ_E_FORMAT, "group_size 24");
    c = ct_model();
    find_in(&c, up, "weight_scale")->data[3] = 0x7f;
    must_not_decode(&c, up_weight, "not");
}

static void experts_in_i8_of_an_fp8_checkpoint_are_mxfp4(void **state)
{
    checkpoint c = make_model(LITE, 4);
    stored *s;
    opened o;
    (void)state;

    set_quantization(&c, "{\"quant_method\":\"fp8\",\"weight_block_size\":[128,128]}");
    remove_from(&c, up, "weight");
    add_to(&c, up, "weight", "I8", 2, 16, 16);
    s = add_to(&c, up, "weight_scale_inv", "F8_E8M0", 2, 16, 1);
    memset(s->data, 0x7f, s->bytes);
    o = must_open(&c);
    assert_int_equal(part_of_up(&o)->enc.variant, FP4_INV);
    assert_int_equal(part_of_up(&o)->enc.group, 32);
    shut(&o);
    find_in(&c, up, "weight_scale_inv")->data[5] = 0xff;
    must_not_decode(&c, up_weight, "not a number");
}

/* ModelOpt's blocks have two dimensions of one between the others. */
static void fp8_blocks_of_modelopt_are_spread(void **state)
{
    checkpoint c = make_model(LITE, 4);
    stored *s;
    opened o;
    (void)state;

    set_quantization(&c, MODELOPT("fp8_pb_wo"));
    remove_from(&c, up, "weight");
    add_to(&c, up, "weight", "F8_E4M3", 2, 16, 32);
    s = add_to(&c, up, "weight_scale", "F32", 2, 1, 1);
    set_float(s, 0.5f);
    o = must_open(&c);
    assert_string_equal(glmq_graph_format(o.g), "fp8");
    assert_int_equal(part_of_up(&o)->enc.group, 128);
    shut(&o);
    discard(&c);
}

static void stacks_of_gpt_oss_are_cut_or_refused(void **state)
{
    static const char blocks[] = "model.layers.1.mlp.experts.down_proj_blocks";
    static const char scales[] = "model.layers.1.mlp.experts.down_proj_scales";
    checkpoint c = make_model(LITE, 4);
    (void)state;

    set_quantization(&c, "{\"quant_method\":\"mxfp4\"}");
    add(&c, "U8", blocks, 3, 4, 32, 16);
    must_refuse(&c, GLMQ_E_FORMAT, "down_proj_blocks: its scales are missing");
    c = make_model(LITE, 4);
    set_quantization(&c, "{\"quant_method\":\"mxfp4\"}");
    add(&c, "U8", blocks, 3, 4, 32, 16);
    add(&c, "U8", scales, 3, 4, 32, 1);
    must_refuse(&c, GLMQ_E_FORMAT, "down_proj_blocks: no U8 of shape");
    c = make_model(LITE, 4);
    set_quantization(&c, "{\"quant_method\":\"mxfp4\"}");
    add(&c, "U8", scales, 3, 4, 32, 1);
    must_refuse(&c, GLMQ_E_FORMAT, "down_proj_scales: its blocks are missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(modelopt_is_read_with_and_without_a_config),
        cmocka_unit_test(the_config_is_held_against_what_is_stored),
        cmocka_unit_test(a_layer_without_its_activation_scale_is_told),
        cmocka_unit_test(malformed_modelopt_is_refused_by_name),
        cmocka_unit_test(bad_numbers_are_refused_where_they_are_read),
        cmocka_unit_test(bad_activation_scales_are_refused_before_anything_is_written),
        cmocka_unit_test(a_bad_activation_scale_is_refused_where_the_target_drops_it),
        cmocka_unit_test(malformed_compressed_tensors_is_refused_by_name),
        cmocka_unit_test(experts_in_i8_of_an_fp8_checkpoint_are_mxfp4),
        cmocka_unit_test(fp8_blocks_of_modelopt_are_spread),
        cmocka_unit_test(stacks_of_gpt_oss_are_cut_or_refused),
    };
    return cmocka_run_group_tests_name("fp4 files", tests, NULL, NULL);
}
