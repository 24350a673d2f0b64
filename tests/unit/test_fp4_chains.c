/* Chains of conversions of four-bit floats: they must come back to the same bytes, or to what is
 * said of them. */
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "codecs/fp4.h"
#include "glmq/graph.h"
#include "models/graph.h"
#include "readers/catalog.h"
#include "unit/convert_files.h"
#include "unit/fp4_models.h"
#include <math.h>

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

    set_float(find_in(&c, up, "weight_scale_2"), f32_from_bits(next_lost(0x3a83126f)));
    set_float(find_in(&c, up, "input_scale"), f32_from_bits(next_lost(0x3f8147ae)));
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

        to_ct_nvfp4(&c, gate); /* up has 2 */
        set_float(find_in(&c, gate, "weight_global_scale"), gates[i]);
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

static void must_hold(const char *path, const char *module, const char *leaf, const uint8_t *want,
                      size_t n)
{
    char name[200];
    glmq_source *src;
    glmq_catalog *cat;
    const glmq_array *a;
    uint8_t *p;

    snprintf(name, sizeof name, "%s.%s", module, leaf);
    assert_int_equal(glmq_source_open(&src, path, NULL, NULL), GLMQ_OK);
    assert_int_equal(glmq_catalog_open(&cat, src, NULL, NULL), GLMQ_OK);
    a = glmq_catalog_find(cat, name, strlen(name));
    if (!a) fail_msg("%s: no %s", path, name);
    assert_true(a->bytes >= n);
    p = array_bytes(cat, a);
    if (memcmp(p, want, n) != 0) fail_msg("%s: %s differs", path, name);
    free(p);
    glmq_catalog_close(cat);
    glmq_source_close(src);
}

static const char gate_module[] = "model.layers.1.mlp.experts.1.gate_proj";

/* Where the other scale is no power of two away, the codes stay (-0 is one of them) and block
 * scales are what one rounding makes of them, from 2^-9 up; 0 stays 0. */
static void codes_stay_under_a_scale_that_is_forced_upon_them(void **state)
{
    static const uint8_t codes[] = { 0x18, 0x8f, 0x70, 0xe2 };
    /* 1, 448, 2^-9, 0, 16 over 3, times 2 */
    static const uint8_t scales[] = { 0x38, 0x7e, 0x01, 0x00, 0x58 };
    static const uint8_t rounded[] = { 0x33, 0x79, 0x01, 0x00, 0x53 };
    checkpoint c = ct_model();
    work w = new_work();
    trip t;
    (void)state;

    to_ct_nvfp4(&c, gate_module); /* up has 2 */
    set_float(find_in(&c, gate_module, "weight_global_scale"), 3.0f);
    memcpy(find_in(&c, gate_module, "weight_packed")->data, codes, sizeof codes);
    memcpy(find_in(&c, gate_module, "weight_scale")->data, scales, sizeof scales);
    save(&c);
    t = go(c.folder, at(&w, "mo"), "nvfp4");
    assert_int_equal(t.recode, 1);
    assert_false(t.equal);
    must_hold(at(&w, "mo"), gate_module, "weight", codes, sizeof codes);
    must_hold(at(&w, "mo"), gate_module, "weight_scale", rounded, sizeof rounded);
    discard(&c);
    end_work(&w);
}

/* A reciprocal that is no exact number does not keep scales from moving by powers of two. */
static void a_power_of_two_apart_is_near_across_reciprocals(void **state)
{
    static const uint8_t codes[] = { 0x18, 0x8f, 0x70, 0xe2 };
    static const uint8_t scales[] = { 0x38, 0x7e, 0x21 }, quarter[] = { 0x28, 0x6e, 0x11 };
    checkpoint c = modelopt_model(MODELOPT("NVFP4"));
    work w = new_work();
    trip t;
    (void)state;

    to_modelopt(&c, gate_module);
    set_float(find_in(&c, gate_module, "weight_scale_2"), 0.3f);
    set_float(find_in(&c, up, "weight_scale_2"), 4 * 0.3f);
    memcpy(find_in(&c, gate_module, "weight")->data, codes, sizeof codes);
    memcpy(find_in(&c, gate_module, "weight_scale")->data, scales, sizeof scales);
    save(&c);
    t = go(c.folder, at(&w, "ct"), "compressed-tensors:nvfp4");
    assert_int_equal(t.recode, 0);
    assert_true(
        number_at(at(&w, "ct"), "model.layers.1.mlp.experts.1.gate_proj.weight_global_scale") ==
        number_at(at(&w, "ct"), "model.layers.1.mlp.experts.1.up_proj.weight_global_scale"));
    must_hold(at(&w, "ct"), gate_module, "weight_packed", codes, sizeof codes);
    must_hold(at(&w, "ct"), gate_module, "weight_scale", quarter, sizeof quarter);
    discard(&c);
    end_work(&w);
}

/* Experts that lie in one array stay there. */
static void stacks_of_gpt_oss_are_kept_by_same(void **state)
{
    work w = new_work();
    trip t;
    (void)state;

    t = go(data("gptoss-mxfp4"), at(&w, "same"), "same");
    assert_true(t.equal && t.recode == 0);
    must_be_same_arrays(data("gptoss-mxfp4"), at(&w, "same"));
    end_work(&w);
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
    remove_from(&c, gate, "input_scale");
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

/* ModelOpt's NVFP4 with FP8 activations has the activation scale of FP8, however the algorithm is
 * spelled and wherever it stands. */
static void activation_scales_of_fp8_become_those_of_nvfp4(void **state)
{
    static const char mixed[] =
        "{\"quant_method\":\"modelopt\",\"quant_algo\":\"MIXED_PRECISION\",\"quantized_layers\":{"
        "\"model.layers.1.mlp.experts.1.up_proj\":{\"quant_algo\":\"W4A8_NVFP4_FP8\"}}}";
    static const char *const configs[] = {
        MODELOPT("W4A8_NVFP4_FP8"),
        MODELOPT("w4a8_nvfp4_fp8"),
        mixed,
    };
    (void)state;

    for (size_t i = 0; i < sizeof configs / sizeof *configs; i++) {
        checkpoint c = modelopt_model(configs[i]);
        work w = new_work();
        save(&c);
        go(c.folder, at(&w, "mo"), "nvfp4");
        assert_true(number_at(at(&w, "mo"), "model.layers.1.mlp.experts.1.up_proj.input_scale") ==
                    0.25f * 448.0f / 2688.0f);
        discard(&c);
        end_work(&w);
    }
}

/* A global scale that is a power of two is turned over without loss: the plan knows. */
static void powers_of_two_are_turned_over_exactly(void **state)
{
    const glmq_plan_options deep = { .deep = 1 };
    static const float scales[] = { 0.5f, 0.3f };
    static const glmq_travel travels[] = { GLMQ_SAME_CODES, GLMQ_NEAR };
    (void)state;

    for (size_t i = 0; i < 2; i++) {
        checkpoint c = modelopt_model(MODELOPT("NVFP4"));
        work w = new_work();
        conversion v;
        set_float(find_in(&c, up, "weight_scale_2"), scales[i]);
        save(&c);
        assert_int_equal(
            conversion_plan(&v, c.folder, "compressed-tensors:nvfp4", at(&w, "ct"), &deep),
            GLMQ_OK);
        for (size_t k = 0; k < v.plan->items.count; k++) {
            const glmq_item *it = &v.plan->items.at[k];
            if (strcmp(v.graph->tensors[it->tensor].name, up_weight) == 0)
                assert_int_equal(it->travel, travels[i]);
        }
        conversion_close(&v);
        discard(&c);
        end_work(&w);
    }
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
        cmocka_unit_test(chains_come_back_to_the_same_bytes),
        cmocka_unit_test(any_scale_comes_back),
        cmocka_unit_test(fused_tensors_get_one_scale),
        cmocka_unit_test(codes_stay_under_a_scale_that_is_forced_upon_them),
        cmocka_unit_test(a_power_of_two_apart_is_near_across_reciprocals),
        cmocka_unit_test(stacks_of_gpt_oss_are_kept_by_same),
        cmocka_unit_test(activation_scales_come_along_or_not_at_all),
        cmocka_unit_test(activation_scales_of_fp8_become_those_of_nvfp4),
        cmocka_unit_test(powers_of_two_are_turned_over_exactly),
        cmocka_unit_test(floats_hold_the_decoded_values),
        cmocka_unit_test(plain_weights_become_what_the_tools_made),
    };
    return cmocka_run_group_tests_name("fp4 chains", tests, NULL, NULL);
}
