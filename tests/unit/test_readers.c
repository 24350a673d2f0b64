/* Readers of quantized Hugging Face folders: what the arrays say, what the configuration
 * may say, and everything that must be refused by name. */
#include "glmq/graph.h"
#include "codecs/gptq.h"
#include "models/graph.h"
#include "unit/reader_files.h"

static const char up[] = "model.layers.1.mlp.experts.1.up_proj"; /* 16 x 32 */
static const char up_weight[] = "model.layers.1.mlp.experts.1.up_proj.weight";
static const char o_proj[] = "model.layers.2.self_attn.o_proj"; /* 32 x 20 */
static const char router[] = "model.layers.1.mlp.gate";         /* 4 x 32  */

#define GPTQ "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":8,\"sym\":true}"
#define CT_GROUP(args)                                                                             \
    "{\"quant_method\":\"compressed-tensors\",\"format\":\"pack-quantized\","                      \
    "\"quantization_status\":\"compressed\",\"config_groups\":{\"group_0\":{"                      \
    "\"targets\":[\"Linear\"],\"weights\":{" args "}}}}"
#define CT_FLOAT(args)                                                                             \
    "{\"quant_method\":\"compressed-tensors\",\"format\":\"float-quantized\","                     \
    "\"quantization_status\":\"compressed\",\"config_groups\":{\"group_0\":{"                      \
    "\"targets\":[\"Linear\"],\"weights\":{\"num_bits\":8,\"type\":\"float\"," args "}}}}"
#define CT_G8                                                                                      \
    CT_GROUP("\"num_bits\":4,\"type\":\"int\",\"symmetric\":true,\"group_size\":8,"                \
             "\"strategy\":\"group\"")

static checkpoint gptq_model(const char *config)
{
    checkpoint c = make_model(LITE, 4);

    set_quantization(&c, config);
    to_gptq(&c, up, 4, 8, 0);
    return c;
}

static checkpoint ct_model(const char *config)
{
    checkpoint c = make_model(LITE, 4);

    set_quantization(&c, config);
    to_ct(&c, up, 4, 8);
    return c;
}

/* ---- GPTQ ---- */

static void gptq_parameters_come_from_shapes(void **state)
{
    checkpoint c = gptq_model(GPTQ);
    opened o;
    const glmq_encoding *e;

    (void)state;
    to_gptq(&c, "model.layers.1.mlp.experts.2.up_proj", 8, 16, 0); /* not what the config says */
    to_gptq(&c, o_proj, 4, 0, 1); /* 20 columns: a word half full */
    to_gptq(&c, router, 4, 8, 0);
    o = must_open(&c);
    assert_string_equal(glmq_graph_format(o.g), "gptq");
    e = encoding_of(&o, up_weight);
    assert_int_equal(e->bits, 4);
    assert_int_equal(e->group, 8);
    assert_int_equal(e->zero_kind, GLMQ_ZERO_MID);
    assert_int_equal(e->variant, GPTQ_V1);
    assert_int_equal(e->act_order, GLMQ_ACT_NONE);
    e = encoding_of(&o, "model.layers.1.mlp.experts.2.up_proj.weight");
    assert_int_equal(e->bits, 8);
    assert_int_equal(e->group, 16);
    assert_non_null(problem(o.g, "config-bits"));
    assert_non_null(problem(o.g, "config-group"));
    e = encoding_of(&o, "model.layers.2.self_attn.o_proj.weight");
    assert_int_equal(e->group, 0);
    assert_int_equal(e->act_order, GLMQ_ACT_TRIVIAL);
    assert_int_equal(encoding_of(&o, "model.layers.1.mlp.gate.weight")->bits, 4);
    shut(&o);
    discard(&c);
}

/* Exceptions that say so make some modules of a symmetric checkpoint asymmetric. */
static void gptq_tells_asymmetric_exceptions_by_their_zeros(void **state)
{
    static const char config[] = "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":8,"
                                 "\"sym\":true,\"dynamic\":{\"+:.*3.up_proj\":{\"sym\":false}}}";
    checkpoint c = gptq_model(config);
    opened o;

    (void)state;
    to_gptq(&c, "model.layers.1.mlp.experts.2.up_proj", 8, 16, 0);
    to_gptq(&c, "model.layers.1.mlp.experts.3.up_proj", 4, 8, 0);
    fill32(find_in(&c, "model.layers.1.mlp.experts.3.up_proj", "qzeros"), 0x76777777);
    o = must_open(&c);
    assert_int_equal(encoding_of(&o, up_weight)->zero_kind, GLMQ_ZERO_MID);
    assert_int_equal(encoding_of(&o, "model.layers.1.mlp.experts.2.up_proj.weight")->zero_kind,
                     GLMQ_ZERO_MID);
    assert_int_equal(encoding_of(&o, "model.layers.1.mlp.experts.3.up_proj.weight")->zero_kind,
                     GLMQ_ZERO_STORED);
    shut(&o);
    discard(&c);
}

static void gptq_decodes_what_is_stored(void **state)
{
    checkpoint c = gptq_model(GPTQ);
    opened o = must_open(&c);
    const uint8_t *words = find_in(&c, up, "qweight")->data;
    float w[16 * 32];

    (void)state;
    assert_int_equal(glmq_tensor_decode(o.g, glmq_graph_find(o.g, up_weight), 3, 7, w, &o.err),
                     GLMQ_OK);
    for (int r = 0; r < 7; r++)
        for (int k = 0; k < 32; k++) { /* word (k / 8, n), field k % 8 */
            uint32_t word;
            memcpy(&word, words + 4 * (k / 8 * 16 + r + 3), 4);
            assert_true(w[r * 32 + k] == 0.5f * (float)((int)(word >> 4 * (k % 8) & 15) - 8));
        }
    shut(&o);
    discard(&c);
}

static void gptq_knows_its_spellings(void **state)
{
    static const struct {
        const char *config;
        int variant, zero_kind;
    } cases[] = {
        { "{\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":8}", GPTQ_V1, GLMQ_ZERO_MID },
        { "{\"quant_method\":\"gptqmodel\",\"bits\":4,\"group_size\":8,\"sym\":false,"
          "\"checkpoint_format\":\"gptq_v2\"}",
          GPTQ_V2, GLMQ_ZERO_STORED },
        { "{\"quant_method\":\"auto-round\",\"bits\":4,\"group_size\":8,\"sym\":true,"
          "\"packing_format\":\"auto_round:auto_gptq\"}",
          GPTQ_V1, GLMQ_ZERO_MID },
        { "{\"quant_method\":\"intel/auto-round\",\"bits\":4,\"group_size\":8,\"sym\":false,"
          "\"packing_format\":\"auto_round\"}",
          GPTQ_V2, GLMQ_ZERO_STORED },
        { "{\"quant_method\":\"autoround\",\"bits\":4,\"group_size\":8,\"sym\":true,"
          "\"packing_format\":\"auto_round:gptqmodel\"}",
          GPTQ_V2, GLMQ_ZERO_MID },
        { "{\"quant_method\":\"auto-round\",\"bits\":4,\"group_size\":8,\"sym\":true,"
          "\"packing_format\":\"auto_round:exllamav2\"}",
          GPTQ_V2, GLMQ_ZERO_MID },
        { "{\"method\":\"gptq\",\"wbits\":4,\"q_group_size\":8,\"zero_point\":true,"
          "\"format\":\"gptq\"}",
          GPTQ_V1, GLMQ_ZERO_STORED },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = gptq_model(cases[i].config);
        opened o = must_open(&c);

        if (encoding_of(&o, up_weight)->variant != cases[i].variant ||
            encoding_of(&o, up_weight)->zero_kind != cases[i].zero_kind)
            fail_msg("%s", cases[i].config);
        shut(&o);
        discard(&c);
    }
}

static void gptq_refuses_other_layouts_by_name(void **state)
{
    static const char *const cases[][2] = {
        { "{\"quant_method\":\"gptq\",\"bits\":4,\"checkpoint_format\":\"marlin\"}", "marlin" },
        { "{\"quant_method\":\"gptq\",\"bits\":4,\"checkpoint_format\":\"bitblas\"}", "bitblas" },
        { "{\"quant_method\":\"gptq\",\"bits\":4,\"format\":\"exl3\"}", "exl3" },
        { "{\"quant_method\":\"gptq\",\"bits\":4,\"is_marlin_format\":true}", "marlin" },
        { "{\"quant_method\":\"gptq\",\"bits\":4,\"pack_dtype\":\"int16\"}", "int16" },
        { "{\"quant_method\":\"awq\",\"bits\":4,\"version\":\"gemv\"}", "gemv" },
        { "{\"quant_method\":\"awq\",\"bits\":4,\"version\":\"gemv_fast\"}", "gemv_fast" },
        { "{\"quant_method\":\"awq\",\"bits\":4,\"format\":\"llm-awq\"}", "llm-awq" },
        { "{\"quant_method\":\"awq\",\"bits\":8,\"version\":\"gemm\"}", "8 bits" },
        { "{\"quant_method\":\"auto-round\",\"packing_format\":\"auto_round:llm_compressor\"}",
          "llm_compressor" },
        { "{\"quant_method\":\"auto-round\",\"data_type\":\"nv_fp\"}", "nv_fp" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = gptq_model(cases[i][0]);
        must_refuse(&c, GLMQ_E_UNSUPPORTED, cases[i][1]);
    }
}

/* ---- AWQ ---- */

#define AWQ "{\"quant_method\":\"awq\",\"bits\":4,\"group_size\":8,\"version\":\"gemm\""

/* A module in AWQ gemm: zeros of 8, scales of 0.5. */
static void to_awq(checkpoint *c, const char *module, uint64_t group)
{
    const stored *w = find_in(c, module, "weight");
    const uint64_t rows = w->dims[0], cols = w->dims[1];

    remove_from(c, module, "weight");
    add_to(c, module, "qweight", "I32", 2, cols, rows / 8);
    fill32(add_to(c, module, "qzeros", "I32", 2, cols / group, rows / 8), 0x88888888);
    fill16(add_to(c, module, "scales", "F16", 2, cols / group, rows), 0x3800);
}

static checkpoint awq_model(const char *config)
{
    checkpoint c = make_model(LITE, 4);

    if (config) set_quantization(&c, config);
    to_awq(&c, up, 8);
    return c;
}

/* The shapes decide, whatever the config says or does not. */
static void awq_is_told_by_its_shapes(void **state)
{
    static const struct {
        const char *config;
        int zero_kind;
        const char *problem;
    } cases[] = {
        { AWQ "}", GLMQ_ZERO_STORED, NULL },
        { AWQ ",\"zero_point\":false}", GLMQ_ZERO_MID, NULL },
        { AWQ ",\"modules_to_not_convert\":[\"experts.1\"]}", GLMQ_ZERO_STORED, "config-modules" },
        { AWQ ",\"modules_to_not_convert\":[\"experts.1.up\",\"lm_head\"]}", GLMQ_ZERO_STORED,
          NULL },
        { "{\"quant_method\":\"awq\",\"w_bit\":4,\"q_group_size\":16}", GLMQ_ZERO_STORED,
          "config-group" },
        { "{\"quant_method\":\"auto-round\",\"packing_format\":\"auto_round:auto_awq\","
          "\"bits\":4,\"group_size\":8,\"sym\":true}",
          GLMQ_ZERO_MID, NULL },
        { GPTQ, GLMQ_ZERO_MID, "config-method" },
        { NULL, GLMQ_ZERO_STORED, "config-missing" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = awq_model(cases[i].config);
        opened o = must_open(&c);
        const glmq_encoding *e = encoding_of(&o, up_weight);

        assert_string_equal(glmq_graph_format(o.g), "awq");
        assert_string_equal(glmq_codec_name(e->codec), "awq");
        assert_int_equal(e->bits, 4);
        assert_int_equal(e->group, 8);
        assert_int_equal(e->zero_kind, cases[i].zero_kind);
        for (size_t k = 0; k < sizeof cases / sizeof *cases; k++)
            if (cases[k].problem)
                assert_int_equal(problem(o.g, cases[k].problem) != NULL,
                                 cases[i].problem && !strcmp(cases[i].problem, cases[k].problem));
        shut(&o);
        discard(&c);
    }
}

static void awq_checks_its_arrays(void **state)
{
    static const struct {
        const char *leaf;
        uint64_t rows, cols;
        const char *words;
    } cases[] = {
        { "qzeros", 4, 1, "qzeros: shape 4 x 1, expected 4 x 2" },
        { "qzeros", 3, 2, "qzeros: shape 3 x 2, expected 4 x 2" },
        { "qweight", 40, 2, "40, expected 16 x 32" },
        { "scales", 5, 16, "scales: 5 groups for 32 columns" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = awq_model(AWQ "}");

        reshape(find_in(&c, up, cases[i].leaf), 2, cases[i].rows, cases[i].cols);
        must_refuse(&c, GLMQ_E_FORMAT, cases[i].words);
    }
}

static void gptq_tells_copies_that_differ(void **state)
{
    static const char copy[] = "{\"bits\":8,\"group_size\":8,\"sym\":true}";
    checkpoint c = gptq_model(GPTQ);
    opened o;

    (void)state;
    save(&c);
    write_file(c.folder, "quantize_config.json", copy, strlen(copy));
    o = must_open(&c);
    assert_non_null(problem(o.g, "config-copy"));
    assert_string_equal(problem(o.g, "config-copy")->file, "quantize_config.json");
    shut(&o);
    discard(&c);
}

typedef void (*bend)(checkpoint *c);

static void lacks_scales(checkpoint *c)
{
    remove_from(c, up, "scales");
}

static void lacks_zeros(checkpoint *c)
{
    remove_from(c, up, "qzeros");
}

static void lacks_codes(checkpoint *c)
{
    remove_from(c, up, "qweight");
}

static void has_both(checkpoint *c)
{
    add_to(c, up, "weight", "BF16", 2, 16, 32);
}

static void flat_codes(checkpoint *c)
{
    reshape(find_in(c, up, "qweight"), 1, 64, 0);
}

static void short_codes(checkpoint *c)
{
    reshape(find_in(c, up, "qweight"), 2, 9, 16);
}

static void wide_scales(checkpoint *c)
{
    reshape(find_in(c, up, "scales"), 2, 4, 17);
}

static void few_zeros(checkpoint *c)
{
    reshape(find_in(c, up, "qzeros"), 2, 3, 2);
}

static void float_codes(checkpoint *c)
{
    strcpy(find_in(c, up, "qweight")->dtype, "F32");
}

static void odd_groups(checkpoint *c)
{
    reshape(find_in(c, up, "scales"), 2, 5, 16);
}

static void short_g_idx(checkpoint *c)
{
    add_to(c, up, "g_idx", "I32", 1, 31, 0);
}

static void planar(checkpoint *c)
{
    reshape(find_in(c, up, "qweight"), 2, 6, 16);
}

static void int_scales(checkpoint *c)
{
    stored *s = find_in(c, up, "scales");
    strcpy(s->dtype, "I32");
    reshape(s, 2, 4, 16);
}

static void gptq_refuses_malformed_modules_by_name(void **state)
{
    static const struct {
        bend bend;
        glmq_status status;
        const char *words;
    } cases[] = {
        { lacks_scales, GLMQ_E_FORMAT, "up_proj.scales is missing" },
        { lacks_zeros, GLMQ_E_FORMAT, "up_proj.qzeros is missing" },
        { lacks_codes, GLMQ_E_FORMAT, "up_proj.qweight is missing" },
        { has_both, GLMQ_E_FORMAT, "both model.layers.1.mlp.experts.1.up_proj.weight" },
        { flat_codes, GLMQ_E_FORMAT, "up_proj.qweight: not a matrix" },
        { short_codes, GLMQ_E_FORMAT, "up_proj.qweight: 9 rows" },
        { wide_scales, GLMQ_E_FORMAT, "up_proj.qweight: 16 columns" },
        { few_zeros, GLMQ_E_FORMAT, "up_proj.qzeros: shape 3 x 2, expected 4 x 2" },
        { float_codes, GLMQ_E_FORMAT, "up_proj.qweight: dtype F32, expected I32" },
        { odd_groups, GLMQ_E_FORMAT, "up_proj.scales: 5 groups for 32 columns" },
        { short_g_idx, GLMQ_E_FORMAT, "up_proj.g_idx: shape 31, expected 32" },
        { int_scales, GLMQ_E_FORMAT, "up_proj.scales: dtype I32" },
        { planar, GLMQ_E_FORMAT, "6-bit matrix of 16 x 32, not multiples of 32" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = gptq_model(GPTQ);
        cases[i].bend(&c);
        must_refuse(&c, cases[i].status, cases[i].words);
    }
}

static void gptq_refuses_bad_data_by_name(void **state)
{
    checkpoint c = gptq_model(GPTQ);

    (void)state;
    fill16(find_in(&c, up, "scales"), 0x7e00); /* NaN */
    must_not_decode(&c, up_weight, "scale 0 is not finite");
    c = gptq_model(GPTQ);
    fill32(add_to(&c, up, "g_idx", "I32", 1, 32, 0), 4); /* groups 0 … 3 */
    must_not_decode(&c, up_weight, "g_idx");
    c = gptq_model(GPTQ);
    fill32(add_to(&c, up, "g_idx", "I32", 1, 32, 0), 0x80000000);
    must_not_decode(&c, up_weight, "g_idx");
}

static void reads_loose_gptq_modules(void **state)
{
    checkpoint c = { 0 };
    opened o;

    (void)state;
    add(&c, "BF16", "some.linear.weight", 2, 64, 96, 0);
    to_gptq(&c, "some.linear", 8, 32, 0);
    o = must_open(&c);
    assert_int_equal(glmq_graph_count(o.g), 1);
    assert_int_equal(encoding_of(&o, "some.linear.weight")->bits, 8);
    assert_int_equal(encoding_of(&o, "some.linear.weight")->group, 32);
    assert_int_equal(glmq_graph_tensor(o.g, 0)->cols, 96);
    assert_non_null(problem(o.g, "config-missing"));
    shut(&o);
    discard(&c);
}

/* ---- compressed-tensors ---- */

static void ct_parameters_come_from_shapes(void **state)
{
    checkpoint c = ct_model(CT_G8);
    const char *const two = "model.layers.1.mlp.experts.2.up_proj";
    const glmq_encoding *e;
    opened o;

    (void)state;
    to_ct(&c, two, 8, 0);
    o = must_open(&c);
    assert_string_equal(glmq_graph_format(o.g), "compressed-tensors");
    e = encoding_of(&o, up_weight);
    assert_string_equal(glmq_codec_name(e->codec), "ctpack");
    assert_int_equal(e->bits, 4);
    assert_int_equal(e->group, 8);
    assert_int_equal(e->scale_dtype, GLMQ_DT_BF16);
    assert_int_equal(e->zero_kind, GLMQ_ZERO_MID);
    e = encoding_of(&o, "model.layers.1.mlp.experts.2.up_proj.weight");
    assert_int_equal(e->bits, 8);
    assert_int_equal(e->group, 0);
    assert_int_equal(e->group_rows, 1);
    assert_non_null(problem(o.g, "config-mismatch"));
    shut(&o);
    discard(&c);
}

static void ct_decodes_integers_of_a_byte_each(void **state)
{
    checkpoint c = make_model(LITE, 4);
    stored *codes;
    float w[16 * 32];
    opened o;

    (void)state;
    set_quantization(&c, CT_GROUP("\"num_bits\":8,\"group_size\":null,\"strategy\":\"channel\""));
    remove_from(&c, up, "weight");
    codes = add_to(&c, up, "weight", "I8", 2, 16, 32);
    for (size_t i = 0; i < codes->bytes; i++) codes->data[i] = (uint8_t)(i * 5);
    fill16(add_to(&c, up, "weight_scale", "BF16", 2, 16, 1), 0x3e80); /* 0.25 */
    add_to(&c, up, "input_scale", "F32", 1, 1, 0);
    o = must_open(&c);
    assert_string_equal(glmq_codec_name(encoding_of(&o, up_weight)->codec), "ctint");
    assert_null(problem(o.g, "config-mismatch"));
    assert_int_equal(glmq_graph_find(o.g, up_weight)->part[0].span[GLMQ_SLOT_INPUT_SCALE].bytes, 4);
    codes = find_in(&c, up, "weight");
    assert_int_equal(glmq_tensor_decode(o.g, glmq_graph_find(o.g, up_weight), 0, 16, w, &o.err),
                     GLMQ_OK);
    for (int i = 0; i < 16 * 32; i++) assert_true(w[i] == 0.25f * (float)(int8_t)codes->data[i]);
    shut(&o);
    discard(&c);
}

static void ct_takes_one_scale_for_the_tensor(void **state)
{
    checkpoint c = ct_model(CT_GROUP("\"num_bits\":4,\"strategy\":\"tensor\""));
    opened o;

    (void)state;
    reshape(find_in(&c, up, "weight_scale"), 1, 1, 0);
    fill16(find_in(&c, up, "weight_scale"), 0x3f00);
    o = must_open(&c);
    assert_int_equal(encoding_of(&o, up_weight)->group_rows, 0);
    assert_null(problem(o.g, "config-mismatch"));
    shut(&o);
    discard(&c);
}

static void ct_takes_rows_shorter_than_a_group(void **state)
{
    checkpoint c = ct_model(CT_GROUP("\"num_bits\":4,\"group_size\":128,\"strategy\":\"group\""));
    opened o;

    (void)state;
    reshape(find_in(&c, up, "weight_scale"), 2, 16, 1);
    o = must_open(&c);
    assert_int_equal(encoding_of(&o, up_weight)->group, 128);
    assert_null(problem(o.g, "config-mismatch"));
    shut(&o);
    discard(&c);
}

static void ct_takes_both_forms_of_zero_points(void **state)
{
    static const char config[] = CT_GROUP("\"num_bits\":4,\"symmetric\":false,\"group_size\":8");
    checkpoint c = ct_model(config);
    float packed[16 * 32], bytes[16 * 32];
    opened o;

    (void)state;
    fill32(add_to(&c, up, "weight_zero_point", "I32", 2, 2, 4), 0x55555555); /* 5 - 8 */
    o = must_open(&c);
    assert_int_equal(encoding_of(&o, up_weight)->zero_kind, GLMQ_ZERO_STORED);
    assert_int_equal(
        glmq_tensor_decode(o.g, glmq_graph_find(o.g, up_weight), 0, 16, packed, &o.err), GLMQ_OK);
    shut(&o);
    remove_from(&c, up, "weight_zero_point");
    memset(add_to(&c, up, "weight_zero_point", "I8", 2, 16, 4)->data, -3, 64);
    o = must_open(&c);
    assert_int_equal(glmq_tensor_decode(o.g, glmq_graph_find(o.g, up_weight), 0, 16, bytes, &o.err),
                     GLMQ_OK);
    assert_memory_equal(packed, bytes, sizeof packed);
    shut(&o);
    remove_from(&c, up, "weight_zero_point");
    must_refuse(&c, GLMQ_E_FORMAT, "up_proj.weight_zero_point is missing");
}

static void ct_takes_both_widths_of_weight_shape(void **state)
{
    static const int32_t shape[2] = { 16, 32 }, wrong[2] = { 16, 31 };
    checkpoint c = ct_model(CT_G8);
    char wide[33], narrow[33];
    opened o = must_open(&c);

    (void)state;
    assert_int_equal(glmq_tensor_digest(o.g, glmq_graph_find(o.g, up_weight), wide, &o.err),
                     GLMQ_OK);
    shut(&o);
    remove_from(&c, up, "weight_shape");
    memcpy(add_to(&c, up, "weight_shape", "I32", 1, 2, 0)->data, shape, sizeof shape);
    o = must_open(&c);
    assert_int_equal(glmq_tensor_digest(o.g, glmq_graph_find(o.g, up_weight), narrow, &o.err),
                     GLMQ_OK);
    assert_string_equal(narrow, wide);
    shut(&o);
    memcpy(find_in(&c, up, "weight_shape")->data, wrong, sizeof wrong);
    must_not_decode(&c, up_weight, "weight_shape says 16 x 31");
}

static void ct_picks_the_group_that_agrees(void **state)
{
    static const char two[] = "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{"
                              "\"a\":{\"weights\":{\"num_bits\":8,\"group_size\":16}},"
                              "\"b\":{\"weights\":{\"num_bits\":4,\"group_size\":8}}}}";
    checkpoint c = ct_model(two);
    opened o;

    (void)state;
    to_ct(&c, "model.layers.1.mlp.experts.2.up_proj", 8, 16);
    o = must_open(&c);
    assert_int_equal(encoding_of(&o, up_weight)->bits, 4);
    assert_int_equal(encoding_of(&o, "model.layers.1.mlp.experts.2.up_proj.weight")->bits, 8);
    assert_int_equal(glmq_graph_problem_count(o.g), 0);
    shut(&o);
    to_ct(&c, "model.layers.1.mlp.experts.3.up_proj", 8, 8);
    must_refuse(&c, GLMQ_E_FORMAT, "experts.3.up_proj: no config group describes its arrays");
}

static void ct_reads_weights_not_compressed_yet(void **state)
{
    checkpoint c = make_model(LITE, 4);
    opened o;

    (void)state;
    set_quantization(&c, "{\"quant_method\":\"compressed-tensors\",\"quantization_status\":"
                         "\"frozen\",\"config_groups\":{}}");
    add_to(&c, up, "weight_scale", "BF16", 2, 16, 1);
    o = must_open(&c);
    assert_true(glmq_encoding_is_plain(encoding_of(&o, up_weight)));
    assert_int_equal(glmq_graph_dropped_count(o.g), 1);
    shut(&o);
    edit_config(&c, "frozen", "compressed");
    must_refuse(&c, GLMQ_E_FORMAT, "up_proj.weight_scale");
}

static void ct_refuses_other_formats_by_name(void **state)
{
    static const char *const cases[][2] = {
        { "{\"quant_method\":\"compressed-tensors\",\"format\":\"mxfp6-pack-quantized\"}",
          "mxfp6-pack-quantized" },
        { "{\"quant_method\":\"compressed-tensors\",\"format\":\"marlin-24\"}", "marlin-24" },
        { "{\"quant_method\":\"compressed-tensors\",\"sparsity_config\":{\"format\":"
          "\"sparse-24-bitmask\"}}",
          "sparse-24-bitmask" },
        { "{\"quant_method\":\"compressed-tensors\",\"transform_config\":{\"config_groups\":"
          "{\"R1\":{}}}}",
          "transform_config" },
        { CT_GROUP("\"num_bits\":6,\"type\":\"float\",\"group_size\":32"), "6 bits" },
        { "{\"quant_method\":\"compressed-tensors\",\"config_groups\":{\"MXFP6\":[\"Linear\"]}}",
          "MXFP6" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = ct_model(cases[i][0]);
        must_refuse(&c, GLMQ_E_UNSUPPORTED, cases[i][1]);
    }
}

static void ct_refuses_float_codes_under_integer_scales(void **state)
{
    checkpoint c = ct_model(CT_G8);
    stored *s = find_in(&c, up, "weight_packed");

    (void)state;
    strcpy(s->dtype, "U8");
    reshape(s, 2, 16, 16);
    must_refuse(&c, GLMQ_E_FORMAT, "up_proj.weight_scale: dtype BF16, expected F8_E4M3");
}

static void ct_lacks_scale(checkpoint *c)
{
    remove_from(c, up, "weight_scale");
}

static void ct_lacks_shape(checkpoint *c)
{
    remove_from(c, up, "weight_shape");
}

static void ct_lacks_codes(checkpoint *c)
{
    remove_from(c, up, "weight_packed");
}

static void ct_flat_codes(checkpoint *c)
{
    reshape(find_in(c, up, "weight_packed"), 1, 64, 0);
}

static void ct_few_rows(checkpoint *c)
{
    reshape(find_in(c, up, "weight_packed"), 2, 15, 4);
}

static void ct_wide(checkpoint *c)
{
    reshape(find_in(c, up, "weight_packed"), 2, 16, 9);
}

static void ct_groups(checkpoint *c)
{
    reshape(find_in(c, up, "weight_scale"), 2, 16, 5);
}

static void ct_scale_rows(checkpoint *c)
{
    reshape(find_in(c, up, "weight_scale"), 2, 15, 4);
}

static void ct_scale_type(checkpoint *c)
{
    strcpy(find_in(c, up, "weight_scale")->dtype, "I16");
}

static void ct_zeros(checkpoint *c)
{
    add_to(c, up, "weight_zero_point", "I32", 2, 3, 4);
}

static void ct_refuses_malformed_modules_by_name(void **state)
{
    static const struct {
        bend bend;
        const char *words;
    } cases[] = {
        { ct_lacks_scale, "up_proj.weight_scale is missing" },
        { ct_lacks_shape, "up_proj.weight_shape is missing" },
        { ct_lacks_codes, "up_proj.weight_scale: its weight is missing" },
        { has_both, "both model.layers.1.mlp.experts.1.up_proj.weight" },
        { ct_flat_codes, "up_proj.weight_packed: 1 dimensions" },
        { ct_few_rows, "up_proj.weight_packed: 15 rows, expected 16" },
        { ct_wide, "up_proj.weight_packed: 9 words" },
        { ct_groups, "up_proj.weight_scale: 5 groups" },
        { ct_scale_rows, "up_proj.weight_scale: 15 x 4" },
        { ct_scale_type, "up_proj.weight_scale: dtype I16" },
        { ct_zeros, "up_proj.weight_zero_point: shape 3 x 4, expected 2 x 4" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = ct_model(CT_G8);
        cases[i].bend(&c);
        must_refuse(&c, GLMQ_E_FORMAT, cases[i].words);
    }
}

static void ct_refuses_bad_data_by_name(void **state)
{
    const int64_t wrong[2] = { 16, 31 };
    checkpoint c = ct_model(CT_G8);
    stored *s;

    (void)state;
    s = find_in(&c, up, "weight_scale");
    s->data[2 * 13] = 0x80, s->data[2 * 13 + 1] = 0x7f; /* Inf, row 3 */
    must_not_decode(&c, up_weight, "the scale of row 3, group 1 is not finite");
    c = ct_model(CT_G8);
    memcpy(find_in(&c, up, "weight_shape")->data, wrong, sizeof wrong);
    must_not_decode(&c, up_weight, "weight_shape says 16 x 31");
    c = ct_model(CT_G8);
    fill32(add_to(&c, up, "weight_g_idx", "I32", 1, 32, 0), 0); /* one group takes all */
    must_not_decode(&c, up_weight, "g_idx");
}

static void ct_takes_an_unused_g_idx(void **state)
{
    checkpoint c = ct_model(CT_G8);
    char with[33], without[33];
    opened o = must_open(&c);

    (void)state;
    assert_int_equal(glmq_tensor_digest(o.g, glmq_graph_find(o.g, up_weight), without, &o.err),
                     GLMQ_OK);
    shut(&o);
    fill32(add_to(&c, up, "weight_g_idx", "I32", 1, 32, 0), 0xffffffff);
    o = must_open(&c);
    assert_int_equal(glmq_tensor_digest(o.g, glmq_graph_find(o.g, up_weight), with, &o.err),
                     GLMQ_OK);
    assert_string_equal(with, without);
    shut(&o);
    discard(&c);
}

static void reads_loose_ct_modules(void **state)
{
    checkpoint c = { 0 };
    opened o;

    (void)state;
    add(&c, "BF16", "some.linear.weight", 2, 6, 40, 0);
    to_ct(&c, "some.linear", 4, 8);
    o = must_open(&c);
    assert_int_equal(glmq_graph_tensor(o.g, 0)->rows, 6);
    assert_int_equal(glmq_graph_tensor(o.g, 0)->cols, 40);
    assert_int_equal(encoding_of(&o, "some.linear.weight")->group, 8);
    shut(&o);
    discard(&c);
}

/* ---- FP8 ---- */

#define FP8 "{\"quant_method\":\"fp8\",\"fmt\":\"e4m3\",\"weight_block_size\":[10,12]"

/* `up` (16 x 32) in E4M3, all of them 1.0, with a scale of this name, type and shape. */
static checkpoint fp8_model(const char *config, const char *name, const char *dtype, int rank,
                            uint64_t a, uint64_t b)
{
    checkpoint c = make_model(LITE, 4);
    stored *s;

    if (config) set_quantization(&c, config);
    remove_from(&c, up, "weight");
    s = add_to(&c, up, "weight", "F8_E4M3", 2, 16, 32);
    memset(s->data, 0x38, s->bytes);
    s = add_to(&c, up, name, dtype, rank, a, b);
    if (strcmp(dtype, "F32") == 0) fill32(s, 0x3f000000);
    if (strcmp(dtype, "BF16") == 0) fill16(s, 0x3f00);
    if (strcmp(dtype, "F8_E8M0") == 0 || strcmp(dtype, "U8") == 0) memset(s->data, 126, s->bytes);
    return c;
}

/* Every scale is 0.5, and so is every weight. */
static void fp8_has_scales_of_many_shapes(void **state)
{
    static const struct {
        const char *config, *name, *dtype;
        int rank;
        uint64_t a, b;
        unsigned group_rows, group;
        const char *format;
    } cases[] = {
        { FP8 "}", "weight_scale_inv", "F32", 2, 2, 3, 10, 12, "fp8" },
        { FP8 "}", "weight_scale", "BF16", 2, 2, 3, 10, 12, "fp8" },
        { FP8 "}", "weight_scale_inv", "F8_E8M0", 2, 2, 3, 10, 12, "fp8" },
        { FP8 "}", "weight_scale_inv", "U8", 2, 2, 3, 10, 12, "fp8" },
        { FP8 "}", "weight_scale", "F32", 0, 0, 0, 0, 0, "fp8" },
        { "{\"quant_method\":\"fp8\",\"weight_block_size\":null}", "weight_scale", "F32", 1, 1, 0,
          0, 0, "fp8" },
        { "{\"quant_method\":\"fp8\",\"weight_block_size\":[1,16]}", "weight_scale_inv", "F32", 2,
          16, 2, 1, 16, "fp8" },
        { NULL, "weight_scale_inv", "F32", 2, 1, 1, 128, 128, "fp8" },
        { NULL, "weight_scale", "F32", 2, 16, 1, 1, 0, "fp8" },
        { "{\"quant_method\":\"modelopt\",\"quant_algo\":\"FP8\"}", "weight_scale", "F32", 0, 0, 0,
          0, 0, "fp8" },
        { "{\"quant_method\":\"modelopt\",\"quant_algo\":\"FP8_PER_CHANNEL_PER_TOKEN\"}",
          "weight_scale", "F32", 1, 16, 0, 1, 0, "fp8" },
        { CT_FLOAT("\"strategy\":\"channel\""), "weight_scale", "BF16", 2, 16, 1, 1, 0,
          "compressed-tensors" },
        { CT_FLOAT("\"strategy\":\"tensor\""), "weight_scale", "F32", 1, 1, 0, 0, 0,
          "compressed-tensors" },
        { CT_FLOAT("\"strategy\":\"block\",\"block_structure\":[10,12]"), "weight_scale", "BF16", 2,
          2, 3, 10, 12, "compressed-tensors" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = fp8_model(cases[i].config, cases[i].name, cases[i].dtype, cases[i].rank,
                                 cases[i].a, cases[i].b);
        opened o = must_open(&c);
        const glmq_tensor *t = glmq_graph_find(o.g, up_weight);
        float w[16 * 32];

        assert_string_equal(glmq_graph_format(o.g), cases[i].format);
        assert_int_equal(t->part[0].enc.group_rows, cases[i].group_rows);
        assert_int_equal(t->part[0].enc.group, cases[i].group);
        assert_int_equal(glmq_tensor_decode(o.g, t, 0, 16, w, &o.err), GLMQ_OK);
        for (int k = 0; k < 16 * 32; k++) assert_true(w[k] == 0.5f);
        shut(&o);
        discard(&c);
    }
}

static void fp8_refuses_other_shapes_and_types(void **state)
{
    static const struct {
        const char *config, *name;
        int rank;
        uint64_t a, b;
        glmq_status status;
        const char *words;
    } cases[] = {
        { FP8 "}", "weight_scale_inv", 2, 1, 3, GLMQ_E_FORMAT, "1 x 3 scales for 16 x 32 weights" },
        { FP8 "}", "weight_scale_inv", 2, 2, 4, GLMQ_E_FORMAT, "in blocks of 10 x 12" },
        { "{\"quant_method\":\"fp8\",\"weight_block_size\":[0,12]}", "weight_scale_inv", 2, 2, 3,
          GLMQ_E_FORMAT, "weight_block_size" },
        { "{\"quant_method\":\"fp8\",\"fmt\":\"e5m2\"}", "weight_scale_inv", 2, 2, 3,
          GLMQ_E_UNSUPPORTED, "e5m2" },
        { CT_FLOAT("\"strategy\":\"channel\""), "weight_scale", 2, 2, 3, GLMQ_E_FORMAT,
          "2 x 3 scales" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c =
            fp8_model(cases[i].config, cases[i].name, "F32", cases[i].rank, cases[i].a, cases[i].b);
        must_refuse(&c, cases[i].status, cases[i].words);
    }
}

static void fp8_refuses_values_that_are_no_numbers(void **state)
{
    static const uint32_t scales[] = { 0, 0x7f800000, 0x7fc00000, 0xbf000000 };

    (void)state;
    for (size_t i = 0; i < sizeof scales / sizeof *scales; i++) {
        checkpoint c = fp8_model(FP8 "}", "weight_scale_inv", "F32", 2, 2, 3);
        memcpy(find_in(&c, up, "weight_scale_inv")->data + 8, &scales[i], 4);
        must_not_decode(&c, up_weight, "scale");
    }
    for (int sign = 0; sign < 256; sign += 128) {
        checkpoint c = fp8_model(FP8 "}", "weight_scale_inv", "F32", 2, 2, 3);
        find_in(&c, up, "weight")->data[7 * 32 + 5] = (uint8_t)(0x7f + sign);
        must_not_decode(&c, up_weight, "f of row 7, column 5 is not a number");
    }
    {
        checkpoint c = fp8_model(FP8 "}", "weight_scale_inv", "F8_E8M0", 2, 2, 3);
        find_in(&c, up, "weight_scale_inv")->data[5] = 0xff;
        must_not_decode(&c, up_weight, "block 1, 2");
    }
}

static void fp8_tells_modules_that_the_config_denies(void **state)
{
    checkpoint c = fp8_model(FP8 ",\"activation_scheme\":\"static\",\"modules_to_not_convert\":["
                                 "\"lm_head\",\"model.layers.1.mlp.experts.1.up_proj\"]}",
                             "weight_scale_inv", "F32", 2, 2, 3);
    opened o;

    (void)state;
    fill32(add_to(&c, up, "input_scale", "F32", 1, 1, 0), 0x3f000000);
    o = must_open(&c);
    assert_non_null(problem(o.g, "config-modules"));
    assert_int_not_equal(glmq_graph_find(o.g, up_weight)->part[0].span[GLMQ_SLOT_INPUT_SCALE].bytes,
                         0);
    shut(&o);
    discard(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gptq_parameters_come_from_shapes),
        cmocka_unit_test(gptq_tells_asymmetric_exceptions_by_their_zeros),
        cmocka_unit_test(gptq_decodes_what_is_stored),
        cmocka_unit_test(gptq_knows_its_spellings),
        cmocka_unit_test(gptq_refuses_other_layouts_by_name),
        cmocka_unit_test(awq_is_told_by_its_shapes),
        cmocka_unit_test(awq_checks_its_arrays),
        cmocka_unit_test(fp8_has_scales_of_many_shapes),
        cmocka_unit_test(fp8_refuses_other_shapes_and_types),
        cmocka_unit_test(fp8_refuses_values_that_are_no_numbers),
        cmocka_unit_test(fp8_tells_modules_that_the_config_denies),
        cmocka_unit_test(gptq_tells_copies_that_differ),
        cmocka_unit_test(gptq_refuses_malformed_modules_by_name),
        cmocka_unit_test(gptq_refuses_bad_data_by_name),
        cmocka_unit_test(reads_loose_gptq_modules),
        cmocka_unit_test(ct_parameters_come_from_shapes),
        cmocka_unit_test(ct_decodes_integers_of_a_byte_each),
        cmocka_unit_test(ct_takes_one_scale_for_the_tensor),
        cmocka_unit_test(ct_takes_rows_shorter_than_a_group),
        cmocka_unit_test(ct_takes_both_forms_of_zero_points),
        cmocka_unit_test(ct_takes_both_widths_of_weight_shape),
        cmocka_unit_test(ct_picks_the_group_that_agrees),
        cmocka_unit_test(ct_reads_weights_not_compressed_yet),
        cmocka_unit_test(ct_refuses_other_formats_by_name),
        cmocka_unit_test(ct_refuses_float_codes_under_integer_scales),
        cmocka_unit_test(ct_refuses_malformed_modules_by_name),
        cmocka_unit_test(ct_refuses_bad_data_by_name),
        cmocka_unit_test(ct_takes_an_unused_g_idx),
        cmocka_unit_test(reads_loose_ct_modules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
