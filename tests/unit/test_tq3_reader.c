/* TurboQuant checkpoints: every way that arrays and configuration are spelled, and what is
 * refused or told. */
#include "base/mem.h"
#include "codecs/tq3.h"
#include "models/graph.h"
#include "readers/catalog.h"
#include "unit/convert_files.h"
#include "unit/model_files.h"
#include "verify/check.h"

/* ---- helpers ---- */

#define GROUP  16
#define CONFIG "{\"format\":\"tq3_native\",\"bits\":3,\"group_size\":16"

static const char up[] = "model.layers.1.mlp.experts.2.up_proj";
static const char up_weight[] = "model.layers.1.mlp.experts.2.up_proj.weight";
static const char up_packed[] = "model.layers.1.mlp.experts.2.up_proj.weight.tq_packed";
static const char up_norms[] = "model.layers.1.mlp.experts.2.up_proj.weight.tq_norms";

typedef struct {
    glmq_source *src;
    glmq_graph *g;
    glmq_status status;
    glmq_error err;
} opened;

static opened open_model(checkpoint *c, const char *config)
{
    opened o = { 0 };

    save(c);
    if (config) write_file(c->folder, "tq_config.json", config, strlen(config));
    assert_int_equal(glmq_source_open(&o.src, c->folder, NULL, &o.err), GLMQ_OK);
    o.status = glmq_graph_open(&o.g, o.src, NULL, &o.err);
    return o;
}

static void shut(opened *o)
{
    glmq_graph_close(o->g);
    glmq_source_close(o->src);
}

static opened must_open(checkpoint *c, const char *config)
{
    opened o = open_model(c, config);
    if (o.status) fail_msg("%s: %s", config ? config : "no config", o.err.msg);
    return o;
}

static void must_refuse(checkpoint *c, const char *config, glmq_status status, const char *words)
{
    opened o = open_model(c, config);

    if (o.status != status || !strstr(o.err.msg, words))
        fail_msg("%s, expected %s; \"%s\", expected \"%s\"", glmq_status_name(o.status),
                 glmq_status_name(status), o.status ? o.err.msg : "", words);
    shut(&o);
    discard(c);
}

static const glmq_problem *problem(const glmq_graph *g, const char *code)
{
    for (size_t i = 0; i < glmq_graph_problem_count(g); i++)
        if (strcmp(glmq_graph_problem(g, i)->code, code) == 0) return glmq_graph_problem(g, i);
    return NULL;
}

static const glmq_encoding *encoding_of(const opened *o, const char *tensor)
{
    const glmq_tensor *t = glmq_graph_find(o->g, tensor);
    assert_non_null(t);
    return &t->part[0].enc;
}

static void digest(const opened *o, const char *tensor, char hex[33])
{
    const glmq_tensor *t = glmq_graph_find(o->g, tensor);
    glmq_error err;
    assert_non_null(t);
    if (glmq_tensor_digest(o->g, t, hex, &err)) fail_msg("%s", err.msg);
}

static void set_norms(stored *s, float norm)
{
    for (size_t i = 0; i + 4 <= s->bytes; i += 4) memcpy(s->data + i, &norm, 4);
}

/* A stored matrix in groups of GROUP: codes count up, norms differ. */
static void pack(checkpoint *c, const char *base, uint64_t rows, uint64_t cols, unsigned bits)
{
    const uint64_t groups = (cols + GROUP - 1) / GROUP;
    char name[200];
    stored *norms;

    snprintf(name, sizeof name, "%s.tq_packed", base);
    add(c, "U8", name, 2, rows * groups, GROUP / 8 * bits, 0);
    snprintf(name, sizeof name, "%s.tq_norms", base);
    norms = add(c, "F32", name, 2, rows, groups, 0);
    for (uint64_t i = 0; i < rows * groups; i++) {
        const float norm = 0.25f + (float)i;
        memcpy(norms->data + 4 * i, &norm, 4);
    }
}

/* MODULE.weight in TurboQuant. */
static void to_tq3(checkpoint *c, const char *module, unsigned bits)
{
    char name[200];
    const stored *w;
    uint64_t rows, cols;

    snprintf(name, sizeof name, "%s.weight", module);
    w = find(c, name);
    rows = w->dims[0];
    cols = w->dims[1];
    take_away(c, name);
    pack(c, name, rows, cols, bits);
}

static checkpoint tq3_model(void)
{
    checkpoint c = make_model(LITE, 4);
    to_tq3(&c, up, 3);
    return c;
}

static void rename_array(checkpoint *c, const char *from, const char *to)
{
    snprintf(find(c, from)->name, sizeof c->at->name, "%s", to);
}

/* ---- what is read ---- */

static void reads_groups_and_width(void **state)
{
    static const char *const modules[] = { "model.layers.0.self_attn.o_proj",
                                           "model.layers.0.self_attn.kv_b_proj",
                                           "model.layers.1.mlp.gate", "model.layers.3.eh_proj" };
    static const uint64_t cols[] = { 20, 8, 32, 64 };
    checkpoint c = tq3_model();
    opened o;

    (void)state;
    for (size_t i = 0; i < 4; i++) to_tq3(&c, modules[i], 4);
    o = must_open(&c, CONFIG ",\"sensitive_bits\":4,\"sensitive_patterns\":[\"attn\",\"mlp.gate.\","
                             "\"eh_proj\"],\"compressed_layers\":5,\"later\":[1]}");
    assert_string_equal(glmq_graph_format(o.g), "tq3");
    assert_null(problem(o.g, "config-bits"));
    assert_null(problem(o.g, "config-count"));
    assert_null(problem(o.g, "config-seed"));
    assert_int_equal(encoding_of(&o, up_weight)->bits, 3);
    assert_int_equal(encoding_of(&o, up_weight)->group, 16);
    assert_int_equal(encoding_of(&o, up_weight)->seed, 42);
    for (size_t i = 0; i < 4; i++) { /* padded rows have the width of the model */
        char name[200];
        snprintf(name, sizeof name, "%s.weight", modules[i]);
        assert_int_equal(encoding_of(&o, name)->bits, 4);
        assert_int_equal(glmq_graph_find(o.g, name)->cols, cols[i]);
    }
    shut(&o);
    discard(&c);
}

/* The bytes of a group decide; the config is told to be wrong. */
static void the_width_is_that_of_the_bytes(void **state)
{
    static const struct {
        unsigned stored;
        const char *config;
        int told;
    } cases[] = {
        { 3, "}", 0 },
        { 2, "}", 1 },
        { 4, "}", 1 },
        { 4, ",\"sensitive_bits\":4}", 1 }, /* up_proj is not one of the usual ones */
        { 3, ",\"sensitive_bits\":4}", 0 },
        { 4, ",\"sensitive_bits\":4,\"sensitive_patterns\":\"up_\"}", 0 },
        { 3, ",\"sensitive_bits\":4,\"sensitive_patterns\":\"up_\"}", 1 },
        { 4, ",\"sensitive_bits\":4,\"sensitive_patterns\":[\"UP\",\"up_proj.weight\"]}", 0 },
        { 3, ",\"sensitive_bits\":4,\"sensitive_patterns\":[]}", 0 },
        { 3, ",\"sensitive_bits\":null,\"sensitive_patterns\":[\"up_proj\"]}", 0 },
        { 3, ",\"sensitive_patterns\":{\"a\":1}}", 0 }, /* no width, no matter */
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = make_model(LITE, 4);
        char config[300];
        opened o;

        to_tq3(&c, up, cases[i].stored);
        snprintf(config, sizeof config, "%s%s", CONFIG, cases[i].config);
        o = must_open(&c, config);
        assert_int_equal(encoding_of(&o, up_weight)->bits, cases[i].stored);
        if ((problem(o.g, "config-bits") != NULL) != cases[i].told) fail_msg("%s", config);
        shut(&o);
        discard(&c);
    }
}

/* The usual patterns stand where none are given. */
static void down_and_o_projections_are_sensitive(void **state)
{
    checkpoint c = make_model(LITE, 4);
    opened o;

    (void)state;
    to_tq3(&c, "model.layers.1.mlp.shared_experts.down_proj", 4);
    to_tq3(&c, "model.layers.1.self_attn.o_proj", 4);
    o = must_open(&c, CONFIG ",\"sensitive_bits\":4,\"sensitive_patterns\":null}");
    assert_null(problem(o.g, "config-bits"));
    shut(&o);
    discard(&c);
}

static void reads_an_index_per_byte(void **state)
{
    checkpoint c = tq3_model();
    stored *s = find(&c, up_packed);
    opened o;
    glmq_error err;
    char hex[33];

    (void)state;
    reshape(s, 2, s->dims[0], GROUP);
    memset(s->data, 31, s->bytes);
    o = must_open(&c, "{\"bits\":5,\"group_size\":16}");
    assert_int_equal(encoding_of(&o, up_weight)->bits, 5);
    assert_int_equal(encoding_of(&o, up_weight)->variant, TQ3_BYTES);
    assert_null(problem(o.g, "config-bits"));
    digest(&o, up_weight, hex);
    shut(&o);

    s->data[3 * 32 + 17] = 32; /* row 3, group 1 */
    o = must_open(&c, "{\"bits\":5,\"group_size\":16}");
    assert_int_equal(glmq_tensor_digest(o.g, glmq_graph_find(o.g, up_weight), hex, &err),
                     GLMQ_E_FORMAT);
    assert_non_null(strstr(err.msg, "index 32 of row 3, group 1 is outside the book of 32"));
    shut(&o);
    discard(&c);
}

/* Names without ".weight", codes by row: the same weights. */
static void reads_other_spellings(void **state)
{
    checkpoint c = tq3_model();
    opened o = must_open(&c, CONFIG "}");
    char want[33], have[33];
    stored *s;

    (void)state;
    digest(&o, up_weight, want);
    shut(&o);
    rename_array(&c, up_packed, "model.layers.1.mlp.experts.2.up_proj.tq_packed");
    rename_array(&c, up_norms, "model.layers.1.mlp.experts.2.up_proj.tq_norms");
    o = must_open(&c, CONFIG "}");
    digest(&o, up_weight, have);
    assert_string_equal(have, want);
    shut(&o);

    s = find(&c, "model.layers.1.mlp.experts.2.up_proj.tq_packed");
    s->dims[0] = 16;
    s->dims[1] = 12;
    o = must_open(&c, CONFIG "}");
    assert_int_equal(encoding_of(&o, up_weight)->variant, TQ3_BY_ROW);
    digest(&o, up_weight, have);
    assert_string_equal(have, want);
    shut(&o);
    discard(&c);
}

static void reads_half_norms_and_tells(void **state)
{
    checkpoint c = tq3_model();
    stored *s = find(&c, up_norms);
    opened o;
    float w[32];

    (void)state;
    strcpy(s->dtype, "F16");
    reshape(s, 2, 16, 2); /* zeros */
    o = must_open(&c, CONFIG "}");
    assert_string_equal(problem(o.g, "norms-narrow")->tensor, up_norms);
    assert_int_equal(glmq_tensor_decode(o.g, glmq_graph_find(o.g, up_weight), 0, 1, w, &o.err),
                     GLMQ_OK);
    assert_true(w[0] == 0 && w[31] == 0);
    shut(&o);
    discard(&c);
}

/* Experts below each other under every name that is in use. */
static void takes_fused_experts_apart(void **state)
{
    static const struct {
        const char *gate_up, *down;
    } names[] = {
        { "experts.gate_up_proj", "experts.down_proj" },
        { "experts.gate_up_proj.weight", "experts.down_proj.weight" },
        { "experts.w13_weight", "experts.w2_weight" },
        { "experts.w13", "experts.w2" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        checkpoint c = make_model(LITE, 4);
        char base[160], hex[33];
        const glmq_tensor *t;
        opened o;

        take_away_all(&c, "model.layers.1.mlp.experts.");
        snprintf(base, sizeof base, "model.layers.1.mlp.%s", names[i].gate_up);
        pack(&c, base, 4 * 2 * 16, 32, 3);
        snprintf(base, sizeof base, "model.layers.1.mlp.%s", names[i].down);
        pack(&c, base, 4 * 32, 16, 3);
        o = must_open(&c, CONFIG "}");
        t = glmq_graph_find(o.g, up_weight); /* rows 2 * 32 + 16 on, two groups each */
        assert_int_equal(t->rows, 16);
        assert_int_equal(t->part[0].span[GLMQ_SLOT_CODES].bytes, 16 * 2 * 6);
        assert_int_equal(t->part[0].span[GLMQ_SLOT_SCALES].offset -
                             glmq_graph_find(o.g, "model.layers.1.mlp.experts.0.gate_proj.weight")
                                 ->part[0]
                                 .span[GLMQ_SLOT_SCALES]
                                 .offset,
                         (2 * 32 + 16) * 2 * 4);
        digest(&o, up_weight, hex);
        digest(&o, "model.layers.1.mlp.experts.3.down_proj.weight", hex);
        shut(&o);
        discard(&c);
    }
}

static void reads_the_stacked_experts_of_mlx(void **state)
{
    checkpoint c = make_model(LITE, 4);
    opened o;

    (void)state;
    take_away_all(&c, "model.layers.1.mlp.experts.");
    pack(&c, "model.layers.1.mlp.switch_mlp.gate_proj.weight", 4 * 16, 32, 3);
    pack(&c, "model.layers.1.mlp.switch_mlp.up_proj.weight", 4 * 16, 32, 3);
    pack(&c, "model.layers.1.mlp.switch_mlp.down_proj.weight", 4 * 32, 16, 3);
    o = must_open(&c, CONFIG "}");
    assert_int_equal(encoding_of(&o, up_weight)->bits, 3);
    assert_int_equal(glmq_graph_find(o.g, up_weight)->rows, 16);
    shut(&o);
    discard(&c);
}

/* ---- the configuration ---- */

static void reads_the_config_of_release_0_6(void **state)
{
    static const char text[] = "\"hidden_act\":\"silu\",\"quantization_config\":{\"quant_method\":"
                               "\"turboquant\",\"bits\":3,\"group_size\":16,\"sensitive_bits\":4}";
    checkpoint c = tq3_model();
    opened o;

    (void)state;
    edit_config(&c, "\"hidden_act\":\"silu\"", text);
    to_tq3(&c, "model.layers.1.self_attn.o_proj", 4);
    o = must_open(&c, NULL);
    assert_int_equal(encoding_of(&o, up_weight)->group, 16);
    assert_null(problem(o.g, "config-bits"));
    shut(&o);
    edit_config(&c, "\"group_size\":16", "\"group_size\":64"); /* the file of its own wins */
    o = must_open(&c, CONFIG ",\"sensitive_bits\":4}");
    assert_int_equal(encoding_of(&o, up_weight)->group, 16);
    assert_null(problem(o.g, "config-method"));
    shut(&o);
    edit_config(&c, "turboquant", "fp8");
    o = must_open(&c, CONFIG ",\"sensitive_bits\":4}");
    assert_string_equal(glmq_graph_format(o.g), "tq3");
    assert_non_null(problem(o.g, "config-method"));
    shut(&o);
    discard(&c);
}

static void seeds_have_64_bits_and_a_sign(void **state)
{
    static const struct {
        const char *text;
        uint64_t seed;
    } cases[] = {
        { "0", 0 },
        { "9223372036854775807", INT64_MAX },
        { "18446744073709551615", UINT64_MAX },
        { "-1", UINT64_MAX },
        { "null", 42 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = tq3_model();
        char config[200];
        opened o;

        snprintf(config, sizeof config, "%s,\"quantizer_seed\":%s}", CONFIG, cases[i].text);
        o = must_open(&c, config);
        assert_true(encoding_of(&o, up_weight)->seed == cases[i].seed);
        assert_int_equal(problem(o.g, "config-seed") != NULL, cases[i].seed != 42);
        shut(&o);
        discard(&c);
    }
}

static void tells_what_the_config_gets_wrong(void **state)
{
    checkpoint c = tq3_model();
    opened o = must_open(&c, CONFIG ",\"compressed_layers\":7}");

    (void)state;
    assert_non_null(strstr(problem(o.g, "config-count")->message, "is 7, 1 are there"));
    shut(&o);
    discard(&c);
    c = make_model(LITE, 4);
    o = must_open(&c, "{\"bits\":3}"); /* nothing is packed */
    assert_non_null(problem(o.g, "config-group"));
    shut(&o);
    discard(&c);
}

static void refuses_a_config_that_makes_no_sense(void **state)
{
    static const struct {
        const char *config;
        glmq_status status;
        const char *words;
    } cases[] = {
        { NULL, GLMQ_E_FORMAT, "tq_config.json is missing" },
        { "[]", GLMQ_E_FORMAT, "tq_config.json is no JSON object" },
        { "{\"bits\":3,}", GLMQ_E_FORMAT, "tq_config.json: " },
        { "{\"format\":\"tq4\",\"group_size\":16}", GLMQ_E_UNSUPPORTED, "format tq4" },
        { "{\"format\":3,\"group_size\":16}", GLMQ_E_UNSUPPORTED, "is no string" },
        { "{\"group_size\":96}", GLMQ_E_UNSUPPORTED, "group_size 96 is no power of two" },
        { "{\"group_size\":4}", GLMQ_E_FORMAT, "group_size is no number from 8 to 8192" },
        { "{\"group_size\":16.0}", GLMQ_E_FORMAT, "group_size" },
        { "{\"group_size\":\"16\"}", GLMQ_E_FORMAT, "group_size" },
        { "{\"group_size\":18446744073709551616}", GLMQ_E_FORMAT, "group_size" },
        { "{\"bits\":9,\"group_size\":16}", GLMQ_E_FORMAT, "bits is no number from 1 to 8" },
        { "{\"bits\":0,\"group_size\":16}", GLMQ_E_FORMAT, "bits" },
        { CONFIG ",\"sensitive_bits\":\"4\"}", GLMQ_E_FORMAT, "sensitive_bits" },
        { CONFIG ",\"sensitive_bits\":4,\"sensitive_patterns\":{}}", GLMQ_E_FORMAT,
          "sensitive_patterns is no list" },
        { CONFIG ",\"sensitive_bits\":4,\"sensitive_patterns\":[\"a\",1]}", GLMQ_E_FORMAT,
          "an entry that is no string" },
        { CONFIG ",\"quantizer_seed\":1.5}", GLMQ_E_FORMAT, "quantizer_seed 1.5" },
        { CONFIG ",\"quantizer_seed\":18446744073709551616}", GLMQ_E_FORMAT, "quantizer_seed" },
        { CONFIG ",\"quantizer_seed\":\"42\"}", GLMQ_E_FORMAT, "quantizer_seed" },
        { CONFIG ",\"orig_in_dims\":[]}", GLMQ_E_FORMAT, "orig_in_dims is no object" },
        { CONFIG ",\"orig_in_dims\":{\"a\":-1}}", GLMQ_E_FORMAT, "the width of a" },
        { CONFIG ",\"orig_in_dims\":{\"model.layers.1.mlp.experts.2.up_proj.weight\":0}}",
          GLMQ_E_FORMAT, "the width of model.layers.1.mlp.experts.2.up_proj.weight" },
        { CONFIG ",\"orig_in_dims\":{\"model.layers.1.mlp.experts.2.up_proj.weight\":33}}",
          GLMQ_E_FORMAT, "orig_in_dims says 33 columns, stored are 2 groups of 16" },
        { CONFIG ",\"orig_in_dims\":{\"model.layers.1.mlp.experts.2.up_proj.weight\":16}}",
          GLMQ_E_FORMAT, "orig_in_dims says 16 columns" },
        { CONFIG ",\"orig_in_dims\":{\"model.layers.1.mlp.experts.2.up_proj.weight\":20}}",
          GLMQ_E_FORMAT, "orig_in_dims says 20 columns, the model 32" },
        { "{\"bits\":3,\"group_size\":32}", GLMQ_E_FORMAT, "no width fits" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = tq3_model();
        must_refuse(&c, cases[i].config, cases[i].status, cases[i].words);
    }
}

/* Widths of what the model does not know are those of the config, or whole groups. */
static void unknown_matrices_have_the_width_of_the_config(void **state)
{
    checkpoint c = tq3_model();
    opened o;

    (void)state;
    pack(&c, "extra.a.weight", 3, 40, 3);
    pack(&c, "extra.b", 3, 40, 3);
    pack(&c, "extra.c.weight", 3, 40, 3);
    o = must_open(&c, CONFIG ",\"orig_in_dims\":{\"extra.a.weight\":40,\"extra.b.weight\":41}}");
    assert_int_equal(glmq_graph_find(o.g, "extra.a.weight")->cols, 40);
    assert_int_equal(glmq_graph_find(o.g, "extra.b.weight")->cols, 41);
    assert_int_equal(glmq_graph_find(o.g, "extra.c.weight")->cols, 48);
    shut(&o);
    discard(&c);
}

/* ---- arrays that are wrong ---- */

typedef void (*bend)(checkpoint *c);

static void lacks_norms(checkpoint *c)
{
    take_away(c, up_norms);
}

static void lacks_codes(checkpoint *c)
{
    take_away(c, up_packed);
}

static void has_both(checkpoint *c)
{
    add(c, "BF16", up_weight, 2, 16, 32, 0);
}

static void has_both_spellings(checkpoint *c)
{
    pack(c, up, 16, 32, 3);
}

static void signed_codes(checkpoint *c)
{
    strcpy(find(c, up_packed)->dtype, "I8");
}

static void integer_norms(checkpoint *c)
{
    strcpy(find(c, up_norms)->dtype, "I32");
}

static void flat_norms(checkpoint *c)
{
    reshape(find(c, up_norms), 1, 32, 0);
}

static void no_groups(checkpoint *c)
{
    reshape(find(c, up_norms), 2, 16, 0);
}

static void half_a_group(checkpoint *c)
{
    reshape(find(c, up_packed), 2, 31, 6);
}

static void odd_bytes(checkpoint *c)
{
    reshape(find(c, up_packed), 2, 32, 5);
}

static void strange_shape(checkpoint *c)
{
    reshape(find(c, up_packed), 2, 8, 24);
}

static void too_many_rows(checkpoint *c)
{
    reshape(find(c, up_packed), 2, 34, 6);
    reshape(find(c, up_norms), 2, 17, 2);
}

static void too_many_groups(checkpoint *c)
{
    reshape(find(c, up_packed), 2, 48, 6);
    reshape(find(c, up_norms), 2, 16, 3);
}

static void quantized_norm(checkpoint *c)
{
    take_away(c, "model.norm.weight");
    pack(c, "model.norm.weight", 1, 32, 3);
}

static void uneven_experts(checkpoint *c)
{
    take_away_all(c, "model.layers.1.mlp.experts.");
    pack(c, "model.layers.1.mlp.experts.gate_up_proj", 4 * 2 * 16 + 1, 32, 3);
    pack(c, "model.layers.1.mlp.experts.down_proj", 4 * 32, 16, 3);
}

static void a_dump(checkpoint *c)
{
    add(c, "U8", "model.layers.0.self_attn.o_proj.packed_weight", 2, 64, 6, 0);
}

static void dumped_signs(checkpoint *c)
{
    add(c, "F32", "model.layers.0.self_attn.o_proj.tq_signs1", 1, 16, 0, 0);
}

static void a_learned_rotation(checkpoint *c)
{
    add(c, "F32", "model.layers.0.self_attn.o_proj.rotation", 2, 16, 16, 0);
}

static void refuses_arrays_that_make_no_sense(void **state)
{
    static const struct {
        bend how;
        glmq_status status;
        const char *words;
    } cases[] = {
        { lacks_norms, GLMQ_E_FORMAT, "up_proj.weight.tq_packed is stored without its tq_norms" },
        { lacks_codes, GLMQ_E_FORMAT, "up_proj.weight.tq_norms is stored without its tq_packed" },
        { has_both, GLMQ_E_FORMAT, "both model.layers.1.mlp.experts.2.up_proj.weight and" },
        { has_both_spellings, GLMQ_E_FORMAT, "are the same thing twice" },
        { signed_codes, GLMQ_E_FORMAT, "tq_packed: dtype I8, expected U8" },
        { integer_norms, GLMQ_E_FORMAT, "tq_norms: dtype I32, expected F32" },
        { flat_norms, GLMQ_E_FORMAT, "tq_norms: not a matrix" },
        { no_groups, GLMQ_E_FORMAT, "tq_norms: not a matrix" },
        { half_a_group, GLMQ_E_FORMAT, "186 bytes for 32 groups of 16: no width fits" },
        { odd_bytes, GLMQ_E_FORMAT, "160 bytes for 32 groups of 16: no width fits" },
        { strange_shape, GLMQ_E_FORMAT, "8 rows, expected 32 or 16" },
        { too_many_rows, GLMQ_E_FORMAT, "17 x 2 groups of 16, expected 16 x 32 weights" },
        { too_many_groups, GLMQ_E_FORMAT, "16 x 3 groups of 16, expected 16 x 32 weights" },
        { quantized_norm, GLMQ_E_FORMAT, "model.norm" },
        { uneven_experts, GLMQ_E_FORMAT, "129 x 2 groups of 16, expected 128 x 32" },
        { a_dump, GLMQ_E_UNSUPPORTED, "a dump of TurboQuant's memory" },
        { dumped_signs, GLMQ_E_UNSUPPORTED, "a dump of TurboQuant's memory" },
        { a_learned_rotation, GLMQ_E_UNSUPPORTED, "a learned rotation" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        checkpoint c = tq3_model();
        cases[i].how(&c);
        must_refuse(&c, CONFIG "}", cases[i].status, cases[i].words);
    }
}

static void drops_the_scales_of_an_fp8_source(void **state)
{
    checkpoint c = tq3_model();
    opened o;

    (void)state;
    add(&c, "F16", "model.layers.1.mlp.experts.2.up_proj.weight_scale_inv", 2, 1, 1, 0);
    add(&c, "F16", "model.layers.1.mlp.experts.2.up_proj.input_scale", 1, 1, 0, 0);
    o = must_open(&c, CONFIG "}");
    assert_string_equal(glmq_graph_format(o.g), "tq3");
    assert_string_equal(problem(o.g, "scale-leftover")->tensor,
                        "model.layers.1.mlp.experts.2.up_proj.weight_scale_inv");
    assert_non_null(strstr(problem(o.g, "scale-leftover")->message, "1 scales"));
    assert_int_equal(glmq_graph_dropped_count(o.g), 2);
    shut(&o);
    discard(&c);
}

/* ---- values ---- */

static size_t count_found(const opened *o, const char *code)
{
    const glmq_digest_options opt = { .jobs = 1 };
    glmq_check c = { 0 };
    glmq_error err;
    size_t n = 0;

    if (glmq_check_run(&c, o->g, &opt, &err)) fail_msg("%s", err.msg);
    for (size_t i = 0; i < c.count; i++) n += strcmp(c.at[i].code, code) == 0;
    glmq_check_free(&c);
    return n;
}

static void norms_are_finite_and_should_be_positive(void **state)
{
    checkpoint c = tq3_model();
    stored *norms = find(&c, up_norms);
    char hex[33];
    opened o;

    (void)state;
    set_norms(norms, -1);
    o = must_open(&c, CONFIG "}");
    digest(&o, up_weight, hex); /* decoded as it is */
    assert_int_equal(count_found(&o, "norm-negative"), 1);
    shut(&o);
    memcpy(norms->data + 12, (const uint8_t[]){ 0, 0, 0xc0, 0x7f }, 4);
    o = must_open(&c, CONFIG "}");
    assert_int_equal(glmq_tensor_digest(o.g, glmq_graph_find(o.g, up_weight), hex, &o.err),
                     GLMQ_E_FORMAT);
    assert_non_null(strstr(o.err.msg, "the scale of row 1, group 1 is not finite"));
    assert_int_equal(count_found(&o, "scale-not-finite"), 1);
    shut(&o);
    discard(&c);
}

static void check_finds_a_byte_outside_the_book(void **state)
{
    checkpoint c = tq3_model();
    stored *s = find(&c, up_packed);
    opened o;

    (void)state;
    reshape(s, 2, s->dims[0], GROUP);
    s->data[100] = 8;
    o = must_open(&c, CONFIG "}");
    assert_int_equal(count_found(&o, "bad-tensor"), 1);
    shut(&o);
    discard(&c);
}

static void halves_that_overflow_are_refused(void **state)
{
    checkpoint c = tq3_model();
    char dir[256], out[300];
    glmq_error err;
    glmq_run_result r;
    opened o;

    (void)state;
    set_norms(find(&c, up_norms), 1e6f);
    o = must_open(&c, CONFIG "}");
    shut(&o);
    fresh_folder(dir);
    snprintf(out, sizeof out, "%s/f16", dir);
    assert_int_equal(convert(c.folder, out, "f16", NULL, NULL, &r, &err), GLMQ_E_INEXACT);
    assert_non_null(strstr(err.msg, up_weight));
    snprintf(out, sizeof out, "%s/f32", dir);
    assert_int_equal(convert(c.folder, out, "f32", NULL, NULL, &r, &err), GLMQ_OK);
    assert_string_equal(r.source_digest, r.result_digest);
    assert_int_equal(glmq_out_remove_tree(dir, NULL), GLMQ_OK);
    discard(&c);
}

/* ---- copies ---- */

static const char *data_path(const char *name)
{
    static char path[1024];
    snprintf(path, sizeof path, "%s/checkpoints/%s", getenv("GLMQ_DATA"), name);
    return path;
}

/* Packed rows are moved; what names and counts them is written anew. */
static void copies_fused_experts_as_single_ones(void **state)
{
    char dir[256], out[300], file[400];
    glmq_run_result r;
    glmq_source *src;
    glmq_graph *g;
    glmq_error err;
    size_t len;
    char *text;

    (void)state;
    fresh_folder(dir);
    snprintf(out, sizeof out, "%s/out", dir);
    if (convert(data_path("tq3-fused"), out, "same", NULL, NULL, &r, &err)) fail_msg("%s", err.msg);
    assert_int_equal(glmq_source_open(&src, out, NULL, &err), GLMQ_OK);
    assert_int_equal(glmq_graph_open(&g, src, NULL, &err), GLMQ_OK);
    assert_int_equal(r.tensors[GLMQ_SAME_BYTES], glmq_graph_count(g));
    assert_null(problem(g, "config-count"));
    assert_non_null(glmq_catalog_find(g->catalog, up_packed, strlen(up_packed)));
    glmq_graph_close(g);
    glmq_source_close(src);
    snprintf(file, sizeof file, "%s/tq_config.json", out);
    text = slurp(file, &len);
    assert_non_null(strstr(text, "\"compressed_layers\": 45,"));
    assert_non_null(strstr(text, "\"model.layers.1.mlp.experts.2.down_proj.weight\": 96"));
    assert_null(strstr(text, "experts.down_proj\""));
    free(text);
    assert_int_equal(glmq_out_remove_tree(dir, &err), GLMQ_OK);
}

static void copies_the_config_as_it_is_where_it_holds(void **state)
{
    char dir[256], out[300], from[1100], to[400];
    glmq_run_result r;
    glmq_error err;

    (void)state;
    fresh_folder(dir);
    snprintf(out, sizeof out, "%s/out", dir);
    snprintf(from, sizeof from, "%s/tq_config.json", data_path("tq3-g64-mixed"));
    snprintf(to, sizeof to, "%s/tq_config.json", out);
    if (convert(data_path("tq3-g64-mixed"), out, "same", NULL, NULL, &r, &err))
        fail_msg("%s", err.msg);
    assert_true(same_contents(from, to));
    assert_int_equal(glmq_out_remove_tree(dir, &err), GLMQ_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_groups_and_width),
        cmocka_unit_test(the_width_is_that_of_the_bytes),
        cmocka_unit_test(down_and_o_projections_are_sensitive),
        cmocka_unit_test(reads_an_index_per_byte),
        cmocka_unit_test(reads_other_spellings),
        cmocka_unit_test(reads_half_norms_and_tells),
        cmocka_unit_test(takes_fused_experts_apart),
        cmocka_unit_test(reads_the_stacked_experts_of_mlx),
        cmocka_unit_test(reads_the_config_of_release_0_6),
        cmocka_unit_test(seeds_have_64_bits_and_a_sign),
        cmocka_unit_test(tells_what_the_config_gets_wrong),
        cmocka_unit_test(refuses_a_config_that_makes_no_sense),
        cmocka_unit_test(unknown_matrices_have_the_width_of_the_config),
        cmocka_unit_test(refuses_arrays_that_make_no_sense),
        cmocka_unit_test(drops_the_scales_of_an_fp8_source),
        cmocka_unit_test(norms_are_finite_and_should_be_positive),
        cmocka_unit_test(check_finds_a_byte_outside_the_book),
        cmocka_unit_test(halves_that_overflow_are_refused),
        cmocka_unit_test(copies_fused_experts_as_single_ones),
        cmocka_unit_test(copies_the_config_as_it_is_where_it_holds),
    };
    return cmocka_run_group_tests_name("tq3_reader", tests, NULL, NULL);
}
