/* Checkpoints of four-bit floats: what readers take and refuse, and chains of conversions that
 * must come back to the same bytes. */
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "codecs/fp4.h"
#include "codecs/fp8.h"
#include "glmq/graph.h"
#include "models/graph.h"
#include "readers/catalog.h"
#include "unit/convert_files.h"
#include "unit/model_files.h"
#include <math.h>

/* ---- readers: small models bent by hand ---- */

typedef struct opened {
    glmq_source *src;
    glmq_graph *g;
    glmq_status status;
    glmq_error err;
} opened;

static opened open_model(checkpoint *c)
{
    opened o = { 0 };

    assert_int_equal(glmq_source_open(&o.src, save(c), NULL, &o.err), GLMQ_OK);
    o.status = glmq_graph_open(&o.g, o.src, NULL, &o.err);
    return o;
}

static void shut(opened *o)
{
    glmq_graph_close(o->g);
    glmq_source_close(o->src);
}

static opened must_open(checkpoint *c)
{
    opened o = open_model(c);
    if (o.status) fail_msg("%s", o.err.msg);
    return o;
}

static void must_refuse(checkpoint *c, glmq_status status, const char *words)
{
    opened o = open_model(c);

    if (o.status != status || !strstr(o.err.msg, words))
        fail_msg("%s, expected %s; \"%s\", expected \"%s\"", glmq_status_name(o.status),
                 glmq_status_name(status), o.status ? o.err.msg : "", words);
    shut(&o);
    discard(c);
}

static void must_not_decode(checkpoint *c, const char *tensor, const char *words)
{
    opened o = must_open(c);
    char hex[33];

    if (glmq_tensor_digest(o.g, glmq_graph_find(o.g, tensor), hex, &o.err) != GLMQ_E_FORMAT ||
        !strstr(o.err.msg, words) || !strstr(o.err.msg, tensor))
        fail_msg("\"%s\", expected \"%s\"", o.err.msg, words);
    shut(&o);
    discard(c);
}

static const glmq_problem *problem(const glmq_graph *g, const char *code)
{
    for (size_t i = 0; i < glmq_graph_problem_count(g); i++)
        if (strcmp(glmq_graph_problem(g, i)->code, code) == 0) return glmq_graph_problem(g, i);
    return NULL;
}

static stored *in(checkpoint *c, const char *module, const char *leaf)
{
    char name[200];
    snprintf(name, sizeof name, "%s.%s", module, leaf);
    return find(c, name);
}

static stored *put_in(checkpoint *c, const char *module, const char *leaf, const char *dtype,
                      int rank, uint64_t a, uint64_t b)
{
    char name[200];
    snprintf(name, sizeof name, "%s.%s", module, leaf);
    return add(c, dtype, name, rank, a, b, 0);
}

static void take_from(checkpoint *c, const char *module, const char *leaf)
{
    char name[200];
    snprintf(name, sizeof name, "%s.%s", module, leaf);
    take_away(c, name);
}

static void set_float(stored *s, float f)
{
    memcpy(s->data, &f, 4);
}

static void set_quantization(checkpoint *c, const char *json)
{
    char text[2048];
    snprintf(text, sizeof text, "\"hidden_act\":\"silu\",\"quantization_config\":%s", json);
    edit_config(c, "\"hidden_act\":\"silu\"", text);
}

static const char up[] = "model.layers.1.mlp.experts.1.up_proj"; /* 16 x 32 */
static const char up_weight[] = "model.layers.1.mlp.experts.1.up_proj.weight";

/* A module as ModelOpt stores NVFP4: every block scale 1, 0.5 for all of it. */
static void to_modelopt(checkpoint *c, const char *module)
{
    const stored *w = in(c, module, "weight");
    const uint64_t rows = w->dims[0], cols = w->dims[1];
    stored *s;

    take_from(c, module, "weight");
    put_in(c, module, "weight", "U8", 2, rows, cols / 2);
    s = put_in(c, module, "weight_scale", "F8_E4M3", 2, rows, cols / 16);
    memset(s->data, 0x38, s->bytes);
    set_float(put_in(c, module, "weight_scale_2", "F32", 0, 0, 0), 0.5f);
    set_float(put_in(c, module, "input_scale", "F32", 0, 0, 0), 0.25f);
}

/* As compressed-tensors does: divided by 2. */
static void to_ct(checkpoint *c, const char *module)
{
    const stored *w = in(c, module, "weight");
    const uint64_t rows = w->dims[0], cols = w->dims[1];
    stored *s;

    take_from(c, module, "weight");
    put_in(c, module, "weight_packed", "U8", 2, rows, cols / 2);
    s = put_in(c, module, "weight_scale", "F8_E4M3", 2, rows, cols / 16);
    memset(s->data, 0x38, s->bytes);
    set_float(put_in(c, module, "weight_global_scale", "F32", 1, 1, 0), 2.0f);
    set_float(put_in(c, module, "input_global_scale", "F32", 1, 1, 0), 4.0f);
}

#define MODELOPT(algo)                                                                             \
    "{\"quant_method\":\"modelopt\",\"quant_algo\":\"" algo "\",\"ignore\":[\"lm_head\"]}"

static checkpoint modelopt_model(const char *config)
{
    checkpoint c = make_model(LITE, 4);
    if (config) set_quantization(&c, config);
    to_modelopt(&c, up);
    return c;
}

static checkpoint ct_model(void)
{
    checkpoint c = make_model(LITE, 4);
    set_quantization(&c, "{\"quant_method\":\"compressed-tensors\","
                         "\"format\":\"nvfp4-pack-quantized\",\"config_groups\":{\"group_0\":{"
                         "\"targets\":[\"Linear\"],\"format\":\"nvfp4-pack-quantized\","
                         "\"weights\":{\"num_bits\":4,\"type\":\"float\",\"group_size\":16,"
                         "\"strategy\":\"tensor_group\"}}}}");
    to_ct(&c, up);
    return c;
}

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
    take_from(&c, up, "input_scale");
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
    take_from(c, up, "weight_scale");
}

static void lacks_global(checkpoint *c)
{
    take_from(c, up, "weight_scale_2");
}

static void lacks_weight(checkpoint *c)
{
    take_from(c, up, "weight");
}

static void scales_are_tiled(checkpoint *c)
{
    take_from(c, up, "weight_scale");
    put_in(c, up, "weight_scale", "U8", 1, 512, 0);
}

static void scales_are_padded(checkpoint *c)
{
    reshape(in(c, up, "weight_scale"), 2, 128, 4);
}

static void global_is_half(checkpoint *c)
{
    take_from(c, up, "weight_scale_2");
    put_in(c, up, "weight_scale_2", "BF16", 0, 0, 0);
}

static void global_is_a_list(checkpoint *c)
{
    reshape(in(c, up, "weight_scale_2"), 1, 2, 0);
}

static void weight_is_wide(checkpoint *c)
{
    reshape(in(c, up, "weight"), 2, 16, 17);
}

static void weight_is_float(checkpoint *c)
{
    take_from(c, up, "weight");
    put_in(c, up, "weight", "BF16", 2, 16, 32);
}

static void input_is_a_row(checkpoint *c)
{
    reshape(in(c, up, "input_scale"), 1, 32, 0);
}

static void has_awq(checkpoint *c)
{
    put_in(c, up, "pre_quant_scale", "F32", 1, 32, 0);
}

static void has_svd(checkpoint *c)
{
    put_in(c, up, "svdquant_lora_a", "BF16", 2, 4, 32);
}

static void has_amax(checkpoint *c)
{
    put_in(c, up, "weight_quantizer._amax", "F32", 1, 1, 0);
}

static void has_state(checkpoint *c)
{
    put_in(c, up, "input_quantizer._pre_quant_scale", "F32", 1, 32, 0);
}

static void has_double_scale(checkpoint *c)
{
    put_in(c, up, "weight_quantizer._double_scale", "F32", 0, 0, 0);
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
        memcpy(in(&c, up, cases[i].leaf)->data, &cases[i].bits, 4);
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

        memcpy(in(&c, up, "input_scale")->data, &bad[i], 4);
        snprintf(dst, sizeof dst, "%s-out", save(&c));
        assert_int_equal(conversion_plan(&v, c.folder, "compressed-tensors:nvfp4", dst, NULL),
                         GLMQ_E_FORMAT);
        assert_non_null(strstr(v.err.msg, "up_proj.weight: its activation scale"));
        conversion_close(&v);
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
    take_from(&c, up, "weight_global_scale");
    must_refuse(&c, GLMQ_E_FORMAT, "up_proj.weight_global_scale is missing");
    c = ct_model();
    take_from(&c, up, "weight_scale");
    must_refuse(&c, GLMQ_E_FORMAT, "up_proj.weight_packed: its block scales are missing");
    c = ct_model();
    put_in(&c, up, "weight", "BF16", 2, 16, 32);
    must_refuse(&c, GLMQ_E_FORMAT, "both");
    c = ct_model();
    edit_config(&c, "\"group_size\":16", "\"group_size\":32");
    must_refuse(&c, GLMQ_E_FORMAT, "four-bit floats in groups of 16, the config has none");
    c = ct_model();
    edit_config(&c, "\"group_size\":16", "\"group_size\":24");
    must_refuse(&c, GLMQ_E_FORMAT, "group_size 24");
    c = ct_model();
    in(&c, up, "weight_scale")->data[3] = 0x7f;
    must_not_decode(&c, up_weight, "not");
}

static void experts_in_i8_of_an_fp8_checkpoint_are_mxfp4(void **state)
{
    checkpoint c = make_model(LITE, 4);
    stored *s;
    opened o;
    (void)state;

    set_quantization(&c, "{\"quant_method\":\"fp8\",\"weight_block_size\":[128,128]}");
    take_from(&c, up, "weight");
    put_in(&c, up, "weight", "I8", 2, 16, 16);
    s = put_in(&c, up, "weight_scale_inv", "F8_E8M0", 2, 16, 1);
    memset(s->data, 0x7f, s->bytes);
    o = must_open(&c);
    assert_int_equal(part_of_up(&o)->enc.variant, FP4_INV);
    assert_int_equal(part_of_up(&o)->enc.group, 32);
    shut(&o);
    in(&c, up, "weight_scale_inv")->data[5] = 0xff;
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
    take_from(&c, up, "weight");
    put_in(&c, up, "weight", "F8_E4M3", 2, 16, 32);
    s = put_in(&c, up, "weight_scale", "F32", 2, 1, 1);
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
}

/* ---- chains ---- */

static const char *data(const char *name)
{
    static char path[2][1024];
    static int turn;
    turn ^= 1;
    snprintf(path[turn], sizeof path[turn], "%s/checkpoints/%s", getenv("GLMQ_DATA"), name);
    return path[turn];
}

typedef struct work {
    char folder[64];
} work;

static work new_work(void)
{
    work w = { "/tmp/glmq-fp4-XXXXXX" };
    assert_non_null(mkdtemp(w.folder));
    return w;
}

static void end_work(work *w)
{
    assert_int_equal(glmq_out_remove_tree(w->folder, NULL), GLMQ_OK);
}

static const char *at(const work *w, const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", w->folder, name);
    return path[turn];
}

/* How many tensors travelled so, and whether the digests of both models are equal. */
typedef struct trip {
    uint64_t near, recode;
    int equal;
} trip;

static trip go(const char *src, const char *dst, const char *to)
{
    glmq_run_result r;
    glmq_error err;
    trip t;

    if (convert(src, dst, to, NULL, NULL, &r, &err)) fail_msg("%s -> %s: %s", src, to, err.msg);
    t.near = r.tensors[GLMQ_NEAR];
    t.recode = r.tensors[GLMQ_RECODE];
    t.equal = strcmp(r.source_digest, r.result_digest) == 0;
    return t;
}

static uint8_t *array_bytes(const glmq_catalog *cat, const glmq_array *a)
{
    uint8_t *p = malloc(a->bytes + 1);
    assert_non_null(p);
    assert_int_equal(glmq_source_read(cat->source, a->file, a->offset, p, (size_t)a->bytes, NULL),
                     GLMQ_OK);
    return p;
}

/* Every array of a is in b: type, shape and bytes; and b has no others. */
static void must_be_same_arrays(const char *a, const char *b)
{
    glmq_source *sa, *sb;
    glmq_catalog *ca, *cb;

    assert_int_equal(glmq_source_open(&sa, a, NULL, NULL), GLMQ_OK);
    assert_int_equal(glmq_source_open(&sb, b, NULL, NULL), GLMQ_OK);
    assert_int_equal(glmq_catalog_open(&ca, sa, NULL, NULL), GLMQ_OK);
    assert_int_equal(glmq_catalog_open(&cb, sb, NULL, NULL), GLMQ_OK);
    assert_int_equal(ca->count, cb->count);
    for (size_t i = 0; i < ca->count; i++) {
        const glmq_array *x = &ca->arrays[i], *y = glmq_catalog_find(cb, x->name, strlen(x->name));
        uint8_t *p, *q;
        if (!y) fail_msg("%s: no %s", b, x->name);
        assert_int_equal(x->dtype, y->dtype);
        assert_int_equal(x->rank, y->rank);
        for (int d = 0; d < x->rank; d++) assert_int_equal(x->dims[d], y->dims[d]);
        p = array_bytes(ca, x);
        q = array_bytes(cb, y);
        if (memcmp(p, q, x->bytes) != 0) fail_msg("%s differs", x->name);
        free(p);
        free(q);
    }
    glmq_catalog_close(ca);
    glmq_catalog_close(cb);
    glmq_source_close(sa);
    glmq_source_close(sb);
}

static const struct chain {
    const char *from, *there, *back;
    int near, lost; /* the way there is only near; some tensors cannot go this way */
} chains[] = {
    { "modelopt-nvfp4", "nvfp4", "nvfp4", 0, 0 },
    { "modelopt-nvfp4", "compressed-tensors:nvfp4", "nvfp4", 1, 0 },
    { "modelopt-w4a16", "compressed-tensors:nvfp4", "nvfp4", 1, 0 },
    { "modelopt-w4a16", "gguf:NVFP4", "nvfp4", 0, 0 },
    { "ct-nvfp4", "nvfp4", "compressed-tensors:nvfp4", 1, 0 },
    { "ct-nvfp4a16", "nvfp4", "compressed-tensors:nvfp4", 1, 0 },
    { "ct-nvfp4", "gguf:NVFP4", "compressed-tensors:nvfp4", 1, 0 },
    { "ct-mxfp4", "gguf", "mxfp4", 0, 0 },
    { "ct-mxfp4", "gguf:MXFP4", "compressed-tensors:mxfp4", 0, 0 },
    { "ct-mxfp4", "nvfp4", "mxfp4", 0, 0 },
    { "ct-mxfp4", "compressed-tensors:nvfp4", "mxfp4", 0, 0 },
};

static void chains_come_back_to_the_same_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof chains / sizeof *chains; i++) {
        const struct chain *c = &chains[i];
        work w = new_work();
        trip t;

        print_message("%s -> %s -> %s\n", c->from, c->there, c->back);
        t = go(data(c->from), at(&w, "there"), c->there);
        assert_int_equal(t.recode, 0);
        assert_int_equal(t.near > 0, c->near);
        assert_int_equal(t.equal, !c->near);
        t = go(at(&w, "there"), at(&w, "back"), c->back);
        assert_int_equal(t.recode, 0);
        must_be_same_arrays(data(c->from), at(&w, "back"));
        end_work(&w);
    }
}

/* The next number that the rule alone does not bring back. */
static uint32_t next_lost(uint32_t bits)
{
    while (fp4_reciprocal(fp4_reciprocal(bits, FP4_DIVIDES), FP4_MULTIPLIES) == bits) bits++;
    return bits;
}

/* Any number comes back, though its reciprocal's reciprocal is another one: it is noted. */
static void any_scale_comes_back(void **state)
{
    checkpoint c = modelopt_model(MODELOPT("NVFP4"));
    work w = new_work();
    trip t;
    (void)state;

    set_float(in(&c, up, "weight_scale_2"), f32_from_bits(next_lost(0x3a83126f)));
    set_float(in(&c, up, "input_scale"), f32_from_bits(next_lost(0x3f8147ae)));
    save(&c);
    t = go(c.folder, at(&w, "ct"), "compressed-tensors:nvfp4");
    assert_int_equal(t.recode, 0);
    go(at(&w, "ct"), at(&w, "mo"), "nvfp4");
    must_be_same_arrays(c.folder, at(&w, "mo"));
    /* and by way of one that has the same kind of number, which carries the note on */
    go(at(&w, "ct"), at(&w, "ct2"), "compressed-tensors:nvfp4");
    go(at(&w, "ct2"), at(&w, "mo2"), "nvfp4");
    must_be_same_arrays(c.folder, at(&w, "mo2"));
    go(at(&w, "ct"), at(&w, "ct3"), "same");
    go(at(&w, "ct3"), at(&w, "mo3"), "nvfp4");
    must_be_same_arrays(c.folder, at(&w, "mo3"));
    discard(&c);
    end_work(&w);
}

static float number_at(const char *path, const char *name)
{
    glmq_source *src;
    glmq_catalog *cat;
    const glmq_array *a;
    uint8_t *p;
    float f;

    assert_int_equal(glmq_source_open(&src, path, NULL, NULL), GLMQ_OK);
    assert_int_equal(glmq_catalog_open(&cat, src, NULL, NULL), GLMQ_OK);
    a = glmq_catalog_find(cat, name, strlen(name));
    if (!a) fail_msg("%s: no %s", path, name);
    p = array_bytes(cat, a);
    f = f32_from_bits(load_le32(p));
    free(p);
    glmq_catalog_close(cat);
    glmq_source_close(src);
    return f;
}

/* Engines take one scale for gate and up: a foreign source that has two gets the wider one,
 * exactly where the other is a power of two away. */
static void fused_tensors_get_one_scale(void **state)
{
    static const char gate[] = "model.layers.1.mlp.experts.1.gate_proj";
    static const float gates[] = { 2.0f, 1.0f, 3.0f };
    static const uint64_t recoded[] = { 0, 0, 1 };
    (void)state;

    for (size_t i = 0; i < 3; i++) {
        checkpoint c = ct_model();
        work w = new_work();
        trip t;

        to_ct(&c, gate); /* up has 2 */
        set_float(in(&c, gate, "weight_global_scale"), gates[i]);
        save(&c);
        t = go(c.folder, at(&w, "mo"), "nvfp4");
        assert_int_equal(t.recode, recoded[i]);
        assert_true(
            number_at(at(&w, "mo"), "model.layers.1.mlp.experts.1.gate_proj.weight_scale_2") ==
            number_at(at(&w, "mo"), "model.layers.1.mlp.experts.1.up_proj.weight_scale_2"));
        discard(&c);
        end_work(&w);
    }
}

/* One layer without an activation scale: none is written, and the config says so. */
static void activation_scales_come_along_or_not_at_all(void **state)
{
    static const char gate[] = "model.layers.1.mlp.experts.1.gate_proj";
    checkpoint c = modelopt_model(MODELOPT("NVFP4"));
    work w = new_work();
    size_t len;
    char *text;
    (void)state;

    to_modelopt(&c, gate);
    save(&c);
    go(c.folder, at(&w, "all"), "compressed-tensors:nvfp4");
    assert_true(number_at(at(&w, "all"),
                          "model.layers.1.mlp.experts.1.up_proj.input_global_scale") == 4.0f);
    take_from(&c, gate, "input_scale");
    save(&c);
    go(c.folder, at(&w, "none"), "nvfp4");
    text = slurp(at(&w, "none/hf_quant_config.json"), &len);
    assert_non_null(strstr(text, "\"W4A16_NVFP4\""));
    free(text);
    text = slurp(at(&w, "none/glmq-manifest.json"), &len);
    assert_non_null(strstr(text, "up_proj.input_scale"));
    free(text);
    discard(&c);
    end_work(&w);
}

/* Values of any checkpoint as floats; the digest of F32 is that of the codes. */
static void floats_hold_the_decoded_values(void **state)
{
    static const char *const from[] = { "modelopt-nvfp4", "modelopt-mixed", "ct-nvfp4", "ct-mxfp4",
                                        "gptoss-mxfp4" };
    (void)state;
    for (size_t i = 0; i < sizeof from / sizeof *from; i++) {
        work w = new_work();
        assert_true(go(data(from[i]), at(&w, "f32"), "f32").equal);
        go(data(from[i]), at(&w, "bf16"), "bf16");
        go(data(from[i]), at(&w, "f16"), "f16");
        end_work(&w);
    }
}

/* The plain rules, tensor by tensor what ModelOpt and llm-compressor made of the same weights. */
static void plain_weights_become_what_the_tools_made(void **state)
{
    static const struct {
        const char *from, *fixture, *to;
        int mtp;
    } cases[] = {
        { "glm47flash-bf16", "glm47flash-nvfp4-compressed-tensors", "compressed-tensors:nvfp4", 3 },
        { "glm5-bf16", "glm5-nvfp4-modelopt", "nvfp4", 3 },
    };
    const char *root = fixtures_or_skip();
    (void)state;

    if (!root) skip();
    for (size_t k = 0; k < 2; k++) {
        work w = new_work();
        char src[600], want[600], mtp[32];
        glmq_source *sa, *sb;
        glmq_catalog *ca, *cb;
        size_t same = 0;

        snprintf(src, sizeof src, "%s/%s", root, cases[k].from);
        snprintf(want, sizeof want, "%s/%s", root, cases[k].fixture);
        snprintf(mtp, sizeof mtp, "model.layers.%d.", cases[k].mtp);
        go(src, at(&w, "out"), cases[k].to);
        assert_int_equal(glmq_source_open(&sa, want, NULL, NULL), GLMQ_OK);
        assert_int_equal(glmq_source_open(&sb, at(&w, "out"), NULL, NULL), GLMQ_OK);
        assert_int_equal(glmq_catalog_open(&ca, sa, NULL, NULL), GLMQ_OK);
        assert_int_equal(glmq_catalog_open(&cb, sb, NULL, NULL), GLMQ_OK);
        for (size_t i = 0; i < ca->count; i++) {
            const glmq_array *x = &ca->arrays[i];
            const glmq_array *y = glmq_catalog_find(cb, x->name, strlen(x->name));
            uint8_t *p, *q;
            if (strstr(x->name, "input_") || strncmp(x->name, mtp, strlen(mtp)) == 0 ||
                strstr(x->name, "indexer.weights_proj")) /* kept in floats here */
                continue;
            if (!y) fail_msg("no %s", x->name);
            p = array_bytes(ca, x);
            q = array_bytes(cb, y);
            if (x->bytes != y->bytes || memcmp(p, q, x->bytes) != 0) fail_msg("%s", x->name);
            same++;
            free(p);
            free(q);
        }
        assert_true(same > 200);
        glmq_catalog_close(ca);
        glmq_catalog_close(cb);
        glmq_source_close(sa);
        glmq_source_close(sb);
        end_work(&w);
    }
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
        cmocka_unit_test(malformed_compressed_tensors_is_refused_by_name),
        cmocka_unit_test(experts_in_i8_of_an_fp8_checkpoint_are_mxfp4),
        cmocka_unit_test(fp8_blocks_of_modelopt_are_spread),
        cmocka_unit_test(stacks_of_gpt_oss_are_cut_or_refused),
        cmocka_unit_test(chains_come_back_to_the_same_bytes),
        cmocka_unit_test(any_scale_comes_back),
        cmocka_unit_test(fused_tensors_get_one_scale),
        cmocka_unit_test(activation_scales_come_along_or_not_at_all),
        cmocka_unit_test(floats_hold_the_decoded_values),
        cmocka_unit_test(plain_weights_become_what_the_tools_made),
    };
    return cmocka_run_group_tests_name("fp4 files", tests, NULL, NULL);
}
