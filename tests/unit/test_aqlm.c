/* AQLM checkpoints: the fixture and the single modules of ten geometries against what the aqlm
 * package decodes, and what is refused. */
#include "base/mem.h"
#include "base/num.h"
#include "codecs/aqlm.h"
#include "unit/book_fixture.h"
#include "unit/codec_cases.h"
#include "unit/convert_files.h"
#include "unit/edit_files.h"
#include "unit/expected.h"
#include <math.h>

static const char *data_folder(void)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/checkpoints/aqlm-3x6", getenv("GLMQ_DATA"));
    return path;
}

/* ---- the fixture ---- */

static void every_tensor_is_what_the_package_decodes(void **state)
{
    const char *root = fixtures_or_skip();
    char path[600];
    (void)state;

    if (!root) skip();
    snprintf(path, sizeof path, "%s/glm47flash-aqlm", root);
    assert_listed_values(path, "aqlm");
}

/* expected.safetensors: F32 values; "NAME@f16" goes through halves twice (the sum, and its
 * product with the scale), which glmq does not, so only the F32 ones can be equal. */
static void kept_values_are_equal_bit_for_bit(void **state)
{
    const char *root = fixtures_or_skip();
    edited values = { 0 };
    char path[600];
    opened_graph o;
    size_t compared = 0;
    (void)state;

    if (!root) skip();
    snprintf(path, sizeof path, "%s/glm47flash-aqlm", root);
    edit_load_file(&values, path, "expected.safetensors");
    o = graph_open(path, NULL, 0);
    if (o.status) fail_msg("%s", o.err.msg);
    for (size_t i = 0; i < values.count; i++) {
        const edited_array *a = &values.at[i];
        const glmq_tensor *t = glmq_graph_find(o.g, a->name);
        float *w;

        if (!t || strcmp(a->dtype, "F32") != 0) continue;
        w = decoded(o.g, t);
        assert_int_equal(a->bytes, 4 * t->rows * t->cols);
        if (memcmp(w, a->data, a->bytes) != 0) fail_msg("%s differs", a->name);
        free(w);
        compared++;
    }
    assert_true(compared >= 5);
    graph_shut(&o);
    edit_close(&values);
}

/* ---- single modules ---- */

static edited_array *of(edited *e, const char *id, const char *what)
{
    char name[200];
    snprintf(name, sizeof name, "%s.%s", id, what);
    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->at[i].name, name) == 0) return &e->at[i];
    return NULL;
}

/* The codebook, or one that is given by its rows: the others are 0. */
static void fill_book(edited *e, const char *id, tensor *t)
{
    const edited_array *book = of(e, id, "codebooks"), *rows = of(e, id, "codebook_rows");
    const edited_array *some = of(e, id, "codebooks_sparse");
    uint8_t *to = t->bufs.buf[GLMQ_SLOT_BOOK];

    if (book) {
        assert_int_equal(book->bytes, t->layout.slot[GLMQ_SLOT_BOOK].bytes);
        memcpy(to, book->data, book->bytes);
        return;
    }
    assert_non_null(some);
    memset(to, 0, t->layout.slot[GLMQ_SLOT_BOOK].bytes);
    for (size_t i = 0; i < rows->bytes / 4; i++) {
        const size_t each = some->bytes / (rows->bytes / 4);
        memcpy(to + load_le32(rows->data + 4 * i) * each, some->data + i * each, each);
    }
}

static int number(const cJSON *o, const char *key)
{
    return cJSON_GetObjectItem(o, key)->valueint;
}

static void ten_geometries_decode_bit_for_bit(void **state)
{
    const char *root = fixtures_or_skip();
    edited e = { 0 };
    char path[600], file[700];
    cJSON *cases;
    const cJSON *c;
    int count = 0;
    (void)state;

    if (!root) skip();
    snprintf(path, sizeof path, "%s/aqlm-vectors", root);
    snprintf(file, sizeof file, "%s/vectors.json", path);
    cases = read_json(file);
    edit_load_file(&e, path, "vectors.safetensors");
    cJSON_ArrayForEach(c, cases)
    {
        const edited_array *codes = of(&e, c->string, "codes"), *want;
        const aqlm_shape shape = {
            .books = (uint32_t)number(c, "num_codebooks"),
            .bits = (uint8_t)number(c, "nbits_per_codebook"),
            .in = (uint32_t)number(c, "in_group_size"),
            .out = (uint32_t)number(c, "out_group_size"),
            .code_dtype = (uint8_t)glmq_dtype_from_st(codes->dtype, strlen(codes->dtype)),
            .book_dtype = GLMQ_DT_F16,
        };
        const glmq_encoding enc = { .codec = &glmq_codec_aqlm,
                                    .bits = shape.bits,
                                    .group_rows = 1,
                                    .scale_dtype = GLMQ_DT_F16,
                                    .tables = &shape };
        tensor t = make_tensor(enc, (uint64_t)number(c, "out_features"),
                               (uint64_t)number(c, "in_features"));
        float *w = malloc(t.rows * t.cols * sizeof *w);
        glmq_error err;

        assert_int_equal(codes->bytes, t.layout.slot[GLMQ_SLOT_CODES].bytes);
        memcpy(t.bufs.buf[GLMQ_SLOT_CODES], codes->data, codes->bytes);
        memcpy(t.bufs.buf[GLMQ_SLOT_SCALES], of(&e, c->string, "scales")->data,
               of(&e, c->string, "scales")->bytes);
        fill_book(&e, c->string, &t);
        if (enc.codec->check(&t.enc, &t.bufs, t.rows, t.cols, &err)) fail_msg("%s", err.msg);
        decode_all(&t, w);
        want = of(&e, c->string, "expected_f32");
        assert_int_equal(want->bytes, t.rows * t.cols * 4);
        if (memcmp(w, want->data, want->bytes) != 0) fail_msg("%s differs", c->string);
        free(w);
        free_tensor(&t);
        count++;
    }
    assert_int_equal(count, 10);
    cJSON_Delete(cases);
    edit_close(&e);
}

/* ---- conversions ---- */

static void everything_converts_to_floats_and_gguf(void **state)
{
    (void)state;
    assert_converts(data_folder());
}

static void same_keeps_every_array(void **state)
{
    char dir[256], dst[300], path[400];
    edited a, b = { 0 };
    glmq_run_result r;
    glmq_error err;
    (void)state;

    fresh_folder(dir);
    snprintf(dst, sizeof dst, "%s/out", dir);
    if (convert(data_folder(), dst, "same", NULL, NULL, &r, &err)) fail_msg("%s", err.msg);
    a = edit_load(data_folder());
    snprintf(path, sizeof path, "%s/model-00001-of-00001.safetensors", dst);
    edit_load_file(&b, dst,
                   access(path, R_OK) ? "model.safetensors" : "model-00001-of-00001.safetensors");
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        const edited_array *x = edit_find(&b, a.at[i].name);
        assert_string_equal(x->dtype, a.at[i].dtype);
        assert_int_equal(x->rank, a.at[i].rank);
        for (int d = 0; d < x->rank; d++) assert_int_equal(x->dims[d], a.at[i].dims[d]);
        assert_int_equal(x->bytes, a.at[i].bytes);
        assert_memory_equal(x->data, a.at[i].data, x->bytes);
    }
    edit_close(&a);
    edit_close(&b);
    glmq_out_remove_tree(dir, NULL);
}

/* ---- what is refused ---- */

#define Q "model.layers.1.self_attn.q_proj" /* 3 codebooks of 6 bits, 2 x 4 */

static void expect_refusal(edited *e, glmq_status status, const char *text)
{
    glmq_status st;
    const char *msg = edit_refusal(e, &st);

    if (!strstr(msg, text)) fail_msg("-> %s", msg);
    assert_int_equal(st, status);
    edit_close(e);
}

static void configs_that_contradict_the_arrays_are_refused(void **state)
{
    static const struct {
        const char *key, *text;
        int value; /* 0: not stated */
    } bad[] = {
        { "nbits_per_codebook", "for a nbits_per_codebook of 6, the config says 8", 8 },
        { "num_codebooks", "for a num_codebooks of 3, the config says 2", 2 },
        { "out_group_size", "for a out_group_size of 2, the config says 1", 1 },
        { "in_group_size", "for a in_group_size of 4, the config says 16", 16 },
        { "in_group_size", "of 4, the config does not state it, which means 8", 0 },
        { "nbits_per_codebook", "of 6, the config does not state it, which means 16", 0 },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(bad); i++) {
        edited e = edit_load(data_folder());
        cJSON *q = edit_config(&e, "quantization_config");

        if (bad[i].value)
            cJSON_SetNumberValue(cJSON_GetObjectItem(q, bad[i].key), bad[i].value);
        else
            cJSON_DeleteItemFromObject(q, bad[i].key);
        expect_refusal(&e, GLMQ_E_FORMAT, bad[i].text);
    }
}

static void missing_and_misshapen_arrays_are_refused(void **state)
{
    static const char *const needed[] = { "codes", "codebooks", "scales" };
    edited e;
    edited_array *a;
    (void)state;

    for (int i = 0; i < 3; i++) {
        char name[100];
        snprintf(name, sizeof name, Q ".%s", needed[i]);
        e = edit_load(data_folder());
        edit_drop(&e, name);
        snprintf(name, sizeof name, Q ".%s is missing", needed[i]);
        expect_refusal(&e, GLMQ_E_FORMAT, name);
    }
    e = edit_load(data_folder());
    a = edit_find(&e, Q ".codebooks");
    a->rank = 3;
    a->dims[2] = 8;
    expect_refusal(&e, GLMQ_E_FORMAT, Q ".codebooks [3, 64, 8]: expected [codebooks, 2^bits");
    e = edit_load(data_folder());
    a = edit_find(&e, Q ".codebooks");
    a->dims[0] = 4;
    a->dims[1] = 48;
    expect_refusal(&e, GLMQ_E_FORMAT, Q ".codebooks [4, 48, 2, 4]: expected");
    e = edit_load(data_folder());
    snprintf(edit_find(&e, Q ".codebooks")->dtype, 12, "I16");
    expect_refusal(&e, GLMQ_E_FORMAT, "codebooks of type I16");
    e = edit_load(data_folder());
    snprintf(edit_find(&e, Q ".codes")->dtype, 12, "U8");
    expect_refusal(&e, GLMQ_E_FORMAT, "codes of 6 bits stored as U8");
    e = edit_load(data_folder());
    a = edit_find(&e, Q ".scales");
    a->dims[1] = a->dims[0];
    a->dims[0] = 1;
    expect_refusal(&e, GLMQ_E_FORMAT, Q ".scales [1, ");
}

static void codes_saved_after_a_cpu_pass_are_told_apart(void **state)
{
    edited e = edit_load(data_folder());
    edited_array *a = edit_find(&e, "model.layers.0.mlp.gate_proj.codes"); /* [64, 16, 3] */
    const uint64_t rows = a->dims[0];
    (void)state;

    a->dims[0] = a->dims[1];
    a->dims[1] = rows;
    expect_refusal(&e, GLMQ_E_FORMAT, "it was saved after a forward pass on a CPU");
}

static void the_state_of_training_is_refused(void **state)
{
    static const char *const tails[] = { "codes", "codebooks", "scales" };
    edited e = edit_load(data_folder());
    (void)state;

    for (int i = 0; i < 3; i++) {
        char name[100];
        snprintf(name, sizeof name, Q ".%s", tails[i]);
        snprintf(edit_find(&e, name)->name, 200, Q ".quantized_weight.%s", tails[i]);
    }
    expect_refusal(&e, GLMQ_E_UNSUPPORTED, "the state of AQLM's training");
}

static void expect_bad_data(edited *e, const char *text)
{
    const glmq_tensor *t;
    opened_graph o;
    glmq_error err;
    float row[256];

    edit_write(e);
    o = graph_open(e->folder, NULL, 0);
    if (o.status) fail_msg("%s", o.err.msg);
    t = glmq_graph_find(o.g, Q ".weight");
    assert_int_equal(glmq_tensor_decode(o.g, t, 0, 2, row, &err), GLMQ_E_FORMAT);
    if (!strstr(err.msg, text) || !strstr(err.msg, Q ".weight")) fail_msg("%s", err.msg);
    graph_shut(&o);
    edit_close(e);
}

static void what_is_not_finite_is_refused(void **state)
{
    edited e = edit_load(data_folder());
    (void)state;

    store_le16(edit_find(&e, Q ".codebooks")->data + 2 * ((64 + 3) * 8 + 5), 0x7e00);
    expect_bad_data(&e, "entry 3 of codebook 1 is no finite number");
    e = edit_load(data_folder());
    store_le16(edit_find(&e, Q ".scales")->data, 0xfc00);
    expect_bad_data(&e, "scale 0 is not finite");
}

/* Negative scales are nothing special: the format's own encoder does not write them, its
 * decoder does not mind. */
static void scales_may_be_negative(void **state)
{
    edited e = edit_load(data_folder());
    opened_graph a, b;
    float x[64], y[64];
    (void)state;

    edit_find(&e, Q ".scales")->data[1] ^= 0x80;
    edit_write(&e);
    a = graph_open(data_folder(), NULL, 0);
    b = graph_open(e.folder, NULL, 0);
    assert_int_equal(glmq_tensor_decode(a.g, glmq_graph_find(a.g, Q ".weight"), 0, 1, x, NULL),
                     GLMQ_OK);
    assert_int_equal(glmq_tensor_decode(b.g, glmq_graph_find(b.g, Q ".weight"), 0, 1, y, NULL),
                     GLMQ_OK);
    for (int i = 0; i < 64; i++) assert_true(x[i] == -y[i]);
    graph_shut(&a);
    graph_shut(&b);
    edit_close(&e);
}

/* A scale for each place: all of a row equal to the row's own give the same weights. */
static void scales_per_place_are_used_and_reported(void **state)
{
    edited e = edit_load(data_folder());
    edited_array *a = edit_find(&e, Q ".scales"), *codes = edit_find(&e, Q ".codes");
    const uint64_t rows = a->dims[0], across = codes->dims[1];
    uint8_t *wide = malloc(rows * across * 2);
    char x[33], y[33];
    opened_graph o, p;
    (void)state;

    for (uint64_t r = 0; r < rows; r++)
        for (uint64_t c = 0; c < across; c++)
            memcpy(wide + 2 * (r * across + c), a->data + 2 * r, 2);
    free(a->data);
    a->data = wide;
    a->bytes = rows * across * 2;
    a->dims[1] = across;
    edit_write(&e);
    o = graph_open(data_folder(), NULL, 0);
    p = graph_open(e.folder, NULL, 0);
    if (p.status) fail_msg("%s", p.err.msg);
    assert_non_null(graph_problem(&p, "scale-per-place"));
    glmq_tensor_digest(o.g, glmq_graph_find(o.g, Q ".weight"), x, NULL);
    glmq_tensor_digest(p.g, glmq_graph_find(p.g, Q ".weight"), y, NULL);
    assert_string_equal(x, y);
    graph_shut(&o);
    graph_shut(&p);
    edit_close(&e);
}

static void a_list_that_denies_a_module_is_reported(void **state)
{
    edited e = edit_load(data_folder());
    opened_graph o;
    (void)state;

    cJSON_AddItemToArray(edit_config(&e, "quantization_config.linear_weights_not_to_quantize"),
                         cJSON_CreateString(Q ".weight"));
    edit_write(&e);
    o = graph_open(e.folder, NULL, 0);
    assert_non_null(graph_problem(&o, "config-modules"));
    assert_non_null(strstr(graph_problem(&o, "config-modules")->message, Q " and 0 others"));
    graph_shut(&o);
    edit_close(&e);
}

static void a_list_of_plain_weights_is_a_list_of_names(void **state)
{
    static const char key[] = "linear_weights_not_to_quantize";
    edited e = edit_load(data_folder());
    cJSON *q = edit_config(&e, "quantization_config");
    (void)state;

    cJSON_AddItemToArray(cJSON_GetObjectItem(q, key), cJSON_CreateNumber(1));
    expect_refusal(&e, GLMQ_E_FORMAT, "not_to_quantize has an entry that is no string");
    e = edit_load(data_folder());
    q = edit_config(&e, "quantization_config");
    cJSON_ReplaceItemInObject(q, key, cJSON_CreateString("lm_head.weight"));
    expect_refusal(&e, GLMQ_E_FORMAT, "not_to_quantize is no list");
}

static void without_a_config_the_arrays_say_it_all(void **state)
{
    edited e = edit_load(data_folder());
    char want[33], have[33];
    opened_graph o;
    (void)state;

    cJSON_DeleteItemFromObject(e.config, "quantization_config");
    edit_write(&e);
    o = graph_open(e.folder, NULL, 0);
    if (o.status) fail_msg("%s", o.err.msg);
    assert_string_equal(glmq_graph_format(o.g), "aqlm");
    assert_non_null(graph_problem(&o, "config-missing"));
    graph_shut(&o);
    digest_of(data_folder(), want);
    digest_of(e.folder, have);
    assert_string_equal(have, want);
    edit_close(&e);
}

static void bits_per_weight_are_those_of_the_formula(void **state)
{
    opened_graph o = graph_open(data_folder(), NULL, 0);
    const glmq_tensor *t = glmq_graph_find(o.g, Q ".weight");
    const double weights = (double)(t->rows * t->cols);
    double bpw;
    char text[128];
    (void)state;

    /* codes take whole bytes: 8 bits each, not 6 */
    bpw = glmq_encoding_bpw(&t->part[0].enc, t->rows, t->cols);
    assert_true(fabs(bpw - (3 * 8 / 8.0 + 3 * 64 * 8 * 16 / weights +
                            16 / (2.0 * (double)t->cols))) < 1e-9);
    glmq_encoding_print(&t->part[0].enc, text, sizeof text);
    assert_string_equal(text, "aqlm:codebooks=3,bits=6,in=4,out=2,book=F16,scale=F16");
    graph_shut(&o);
}

static void folders_of_pickles_are_refused_by_name(void **state)
{
    char folder[256];
    glmq_source *src = NULL;
    glmq_graph *g = NULL;
    glmq_error err;
    (void)state;

    fresh_folder(folder);
    write_file(folder, "0.pth", "PK", 2);
    write_file(folder, "not_quantized_weights.pt", "PK", 2);
    assert_int_equal(glmq_source_open(&src, folder, NULL, &err), GLMQ_OK);
    assert_int_equal(glmq_graph_open(&g, src, NULL, &err), GLMQ_E_FORMAT);
    assert_non_null(strstr(err.msg, "0.pth is a pickle"));
    glmq_source_close(src);
    glmq_out_remove_tree(folder, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_is_what_the_package_decodes),
        cmocka_unit_test(kept_values_are_equal_bit_for_bit),
        cmocka_unit_test(ten_geometries_decode_bit_for_bit),
        cmocka_unit_test(everything_converts_to_floats_and_gguf),
        cmocka_unit_test(same_keeps_every_array),
        cmocka_unit_test(configs_that_contradict_the_arrays_are_refused),
        cmocka_unit_test(missing_and_misshapen_arrays_are_refused),
        cmocka_unit_test(codes_saved_after_a_cpu_pass_are_told_apart),
        cmocka_unit_test(the_state_of_training_is_refused),
        cmocka_unit_test(what_is_not_finite_is_refused),
        cmocka_unit_test(scales_may_be_negative),
        cmocka_unit_test(scales_per_place_are_used_and_reported),
        cmocka_unit_test(a_list_that_denies_a_module_is_reported),
        cmocka_unit_test(a_list_of_plain_weights_is_a_list_of_names),
        cmocka_unit_test(without_a_config_the_arrays_say_it_all),
        cmocka_unit_test(bits_per_weight_are_those_of_the_formula),
        cmocka_unit_test(folders_of_pickles_are_refused_by_name),
    };
    return cmocka_run_group_tests_name("aqlm", tests, NULL, NULL);
}
