/* Mixed-bit VQ checkpoints: the fixture against what the peer's code decodes, what becomes of
 * them, and whether codes and codebooks belong together. */
#include "base/num.h"
#include "codecs/vq.h"
#include "unit/book_fixture.h"
#include "unit/convert_files.h"
#include "unit/expected.h"
#include "unit/vq_files.h"
#include "verify/check.h"
#include <math.h>

/* ---- the fixture ---- */

static void every_tensor_is_what_the_peer_decodes(void **state)
{
    const char *path = fixture_or_skip("");
    (void)state;

    if (!path) skip();
    assert_listed_values(path, "vq");
}

/* "NAME": the F32 values; "NAME@f16": those of the peer's path in halves, the exact product
 * rounded once. */
static void kept_values_are_equal_bit_for_bit(void **state)
{
    const char *path = fixture_or_skip("");
    edited values = { 0 };
    opened_graph o;
    (void)state;

    if (!path) skip();
    edit_load_file(&values, path, "expected.safetensors");
    o = graph_open(path, NULL, 0);
    if (o.status) fail_msg("%s", o.err.msg);
    assert_int_equal(values.count, 13);
    for (size_t i = 0; i < values.count; i++) {
        const edited_array *a = &values.at[i];
        char name[200];
        const glmq_tensor *t;
        size_t bytes;
        uint8_t *have;
        float *w;

        snprintf(name, sizeof name, "%.*s", (int)strcspn(a->name, "@"), a->name);
        t = glmq_graph_find(o.g, name);
        assert_non_null(t);
        w = decoded(o.g, t);
        have = round_to(a->dtype, w, (size_t)(t->rows * t->cols), &bytes);
        assert_int_equal(bytes, a->bytes);
        if (memcmp(have, a->data, bytes) != 0) fail_msg("%s differs", a->name);
        free(have);
        free(w);
    }
    graph_shut(&o);
    edit_close(&values);
}

/* The fixture as artifacts are published: no table in the config, no codebooks in the folder. */
static void make_published(const char *from, char folder[256])
{
    static const char *const files[] = { "model-00001-of-00002.safetensors",
                                         "model-00002-of-00002.safetensors",
                                         "model.safetensors.index.json", "config-no-table.json" };
    fresh_folder(folder);
    for (size_t i = 0; i < GLMQ_COUNT(files); i++) {
        char path[700];
        size_t len;
        char *data;
        snprintf(path, sizeof path, "%s/%s", from, files[i]);
        data = slurp(path, &len);
        write_file(folder, i == 3 ? "config.json" : files[i], data, len);
        free(data);
    }
}

static void published_configs_and_pt_files_decode_alike(void **state)
{
    const char *path = fixture_or_skip("");
    char folder[256], books[700], want[33], have[33];
    opened_graph o;
    (void)state;

    if (!path) skip();
    digest_with(path, NULL, want);
    snprintf(books, sizeof books, "%s/codebooks_pt", path);
    make_published(path, folder);
    digest_with(folder, books, have);
    assert_string_equal(have, want);
    o = graph_open(folder, books, 0);
    assert_non_null(graph_problem(&o, "codebook-outside"));
    graph_shut(&o);
    glmq_out_remove_tree(folder, NULL);
}

static void a_missing_codebook_is_named_and_the_rest_is_listed(void **state)
{
    const char *path = fixture_or_skip("");
    const glmq_tensor *t;
    glmq_error err;
    char folder[256];
    float row[256];
    opened_graph o;
    (void)state;

    if (!path) skip();
    make_published(path, folder);
    o = graph_open(folder, NULL, 0);
    assert_int_equal(o.status, GLMQ_E_FORMAT);
    assert_non_null(strstr(o.err.msg, "codebook cb3 of the 11 tensors of 3 bits is missing: 4096 "
                                      "entries (K) of 4 floats (d)"));
    assert_non_null(strstr(o.err.msg, "vq_codebook_d4_better.pt"));
    assert_non_null(strstr(o.err.msg, "vq_codebook_d8_k256_m1.pt"));
    graph_shut(&o);

    o = graph_open(folder, NULL, 1);
    if (o.status) fail_msg("%s", o.err.msg);
    assert_int_equal(glmq_graph_count(o.g), 101);
    assert_non_null(graph_problem(&o, "missing-codebook"));
    t = glmq_graph_find(o.g, "model.layers.1.mlp.experts.0.gate_proj.weight");
    assert_int_equal(glmq_tensor_decode(o.g, t, 0, 1, row, &err), GLMQ_E_FORMAT);
    assert_non_null(strstr(err.msg, "codebook cb2 (256 entries of 4) was not found"));
    graph_shut(&o);
    glmq_out_remove_tree(folder, NULL);
}

/* ---- conversions ---- */

static void everything_converts_to_floats_and_gguf(void **state)
{
    (void)state;
    assert_converts(data_folder());
}

static void same_keeps_arrays_config_and_codebooks(void **state)
{
    char dir[256], dst[300], path[1024], other[1024], digest[33], want[33];
    edited a, b;
    glmq_run_result r;
    glmq_error err;
    (void)state;

    fresh_folder(dir);
    snprintf(dst, sizeof dst, "%s/out", dir);
    if (convert(data_folder(), dst, "same", NULL, NULL, &r, &err)) fail_msg("%s", err.msg);
    path_in(path, data_folder(), "books.safetensors");
    path_in(other, dst, "books.safetensors");
    assert_true(same_contents(path, other));
    a = edit_load(data_folder());
    snprintf(path, sizeof path, "%s/model-00001-of-00001.safetensors", dst);
    memset(&b, 0, sizeof b);
    edit_load_file(&b, dst,
                   access(path, R_OK) ? "model.safetensors" : "model-00001-of-00001.safetensors");
    assert_int_equal(a.count, b.count);
    for (size_t i = 0; i < a.count; i++) {
        const edited_array *x = edit_find(&b, a.at[i].name);
        assert_string_equal(x->dtype, a.at[i].dtype);
        assert_int_equal(x->bytes, a.at[i].bytes);
        assert_memory_equal(x->data, a.at[i].data, x->bytes);
    }
    digest_of(data_folder(), want);
    digest_of(dst, digest);
    assert_string_equal(digest, want);
    edit_close(&a);
    edit_close(&b);
    glmq_out_remove_tree(dir, NULL);
}

static void other_targets_leave_the_codebooks_behind(void **state)
{
    char dir[256], dst[300], path[1024];
    glmq_run_result r;
    glmq_error err;
    (void)state;

    fresh_folder(dir);
    snprintf(dst, sizeof dst, "%s/out", dir);
    if (convert(data_folder(), dst, "bf16", NULL, NULL, &r, &err)) fail_msg("%s", err.msg);
    path_in(path, dst, "books.safetensors");
    assert_int_not_equal(access(path, F_OK), 0);
    glmq_out_remove_tree(dir, NULL);
}

/* ---- silent configurations ---- */

/* Removes what the config says of the experts. */
static void silence(edited *e)
{
    cJSON *extra = edit_config(e, "quantization_config.extra_config");
    for (cJSON *m = extra->child, *next; m; m = next) {
        next = m->next;
        if (strstr(m->string, "experts.") && !strstr(m->string, "shared"))
            cJSON_DeleteItemFromObject(extra, m->string);
    }
}

static void shapes_tell_the_tier_where_the_config_is_silent(void **state)
{
    size_t books;
    edited e = load_small(&books);
    char want[33], have[33];
    opened_graph o;
    (void)state;

    digest_with(data_folder(), NULL, want);
    silence(&e);
    write_small(&e, books, "books.safetensors");
    digest_with(e.folder, NULL, have);
    assert_string_equal(have, want);
    o = graph_open(e.folder, NULL, 0);
    assert_non_null(graph_problem(&o, "config-silent"));
    graph_shut(&o);
    edit_close(&e);
}

/* Rows of a codebook in another order. */
static void shuffle(uint8_t *book, size_t entries, size_t bytes)
{
    uint8_t row[64];
    for (size_t i = 0, k = 7; i < entries; i++, k = (k * 69069 + 1) % 65536) {
        uint8_t *a = book + i * bytes, *b = book + k % entries * bytes;
        memcpy(row, a, bytes);
        memcpy(a, b, bytes);
        memcpy(b, row, bytes);
    }
}

/* The fixture's files in a folder of our own, its codebooks as given. */
static void make_fixture(const char *from, edited *books, char folder[256])
{
    char path[700];
    size_t len;
    char *data;

    make_published(from, folder);
    snprintf(path, sizeof path, "%s/config.json", from);
    data = slurp(path, &len);
    write_file(folder, "config.json", data, len);
    free(data);
    snprintf(books->folder, sizeof books->folder, "%s", folder);
    edit_write_file(books, 0, books->count, "vq_codebooks.safetensors");
}

static void codes_choose_among_codebooks_without_a_name(void **state)
{
    const char *path = fixture_or_skip("");
    edited books = { 0 };
    edited_array *a;
    char folder[256], want[33], have[33];
    opened_graph o;
    (void)state;

    if (!path) skip();
    digest_with(path, NULL, want);
    edit_load_file(&books, path, "vq_codebooks.safetensors");
    a = edit_find(&books, "cb3");
    snprintf(a->name, sizeof a->name, "second");
    const edited_array second = *a;
    a = edit_add(&books, "first", "F16", 2, second.dims, second.data, second.bytes);
    shuffle(a->data, 4096, 8);
    make_fixture(path, &books, folder);
    o = graph_open(folder, NULL, 0);
    if (o.status) fail_msg("%s", o.err.msg);
    assert_non_null(graph_problem(&o, "codebook-chosen"));
    assert_non_null(strstr(graph_problem(&o, "codebook-chosen")->message, "belong to second"));
    graph_shut(&o);
    digest_with(folder, NULL, have);
    assert_string_equal(have, want);

    a = edit_find(&books, "second"); /* two wrong ones cannot be told apart */
    shuffle(a->data, 4096, 8);
    shuffle(a->data, 4095, 8);
    glmq_out_remove_tree(folder, NULL);
    make_fixture(path, &books, folder);
    o = graph_open(folder, NULL, 0);
    assert_int_equal(o.status, GLMQ_E_FORMAT);
    assert_non_null(strstr(o.err.msg, "does not say which of 2 codebooks is theirs"));
    graph_shut(&o);
    edit_close(&books);
}

/* ---- --check ---- */

static size_t check_finds(const char *path, const char *code, glmq_severity severity, int *problems)
{
    const glmq_digest_options opt = { 0 };
    opened_graph o = graph_open(path, NULL, 0);
    glmq_check c = { 0 };
    size_t n = 0;
    glmq_error err;

    if (o.status) fail_msg("%s", o.err.msg);
    if (glmq_check_run(&c, o.g, &opt, &err)) fail_msg("%s", err.msg);
    *problems = 0;
    for (size_t i = 0; i < c.count; i++) {
        n += strcmp(c.at[i].code, code) == 0 && c.at[i].severity == severity;
        *problems += c.at[i].severity != GLMQ_NOTE;
    }
    glmq_check_free(&c);
    graph_shut(&o);
    return n;
}

static void good_checkpoints_pass_the_check(void **state)
{
    const char *path = fixture_or_skip("");
    int problems;
    (void)state;

    check_finds(data_folder(), "", GLMQ_ERROR, &problems);
    assert_int_equal(problems, 0);
    if (!path) skip();
    check_finds(path, "", GLMQ_ERROR, &problems);
    assert_int_equal(problems, 0);
}

static void codebooks_of_other_codes_are_suspected(void **state)
{
    static const struct {
        const char *name;
        size_t entries, bytes;
    } tiers[] = { { "cb1", 256, 16 }, { "cb2", 256, 8 }, { "cb3", 4096, 8 } };
    const char *path = fixture_or_skip("");
    (void)state;

    if (!path) skip();
    for (size_t i = 0; i < GLMQ_COUNT(tiers); i++) {
        edited books = { 0 };
        char folder[256];
        int problems;

        edit_load_file(&books, path, "vq_codebooks.safetensors");
        shuffle(edit_find(&books, tiers[i].name)->data, tiers[i].entries, tiers[i].bytes);
        make_fixture(path, &books, folder);
        assert_int_equal(check_finds(folder, "codebook-mismatch", GLMQ_WARNING, &problems), 1);
        assert_int_equal(problems, 1);
        edit_close(&books);
    }
}

/* Measured on codes of normally distributed weights, with books fitted to them. */
static void v_is_asked_only_what_it_tells(void **state)
{
    static const struct {
        uint32_t entries, width;
        uint64_t each; /* codes to a group */
        double right;  /* V of codes that belong to the book */
    } cases[] = {
        { 4096, 4, 32, 0.10 }, { 256, 4, 32, 0.32 }, { 16, 2, 16, 0.40 },  { 64, 4, 2, 0.66 },
        { 3, 1, 8, 0.70 },     { 6, 2, 2, 0.84 },    { 256, 8, 16, 0.88 }, { 16, 4, 16, 0.98 },
        { 64, 8, 4, 0.97 },    { 4, 2, 2, 1.02 },    { 256, 4, 1, 1.00 },
    };
    (void)state;

    for (size_t i = 0; i < GLMQ_COUNT(cases); i++) {
        const vq_book book = { .entries = cases[i].entries, .width = cases[i].width };
        const vq_power p = { .groups = 20000, .codes = 20000 * cases[i].each };
        const double limit = vq_power_limit(&book, &p);

        if (limit <= cases[i].right || (cases[i].right < 0.9 && limit >= 0.95))
            fail_msg("%u entries of %u: %f", book.entries, book.width, limit);
    }
}

static void bad_codes_and_padding_are_problems_of_their_tensor(void **state)
{
    size_t books;
    edited e = load_small(&books);
    int problems;
    (void)state;

    edit_find(&e, GATE ".vq_codes")->data[3] = 255;
    store_le16(edit_find(&e, DOWN ".scales")->data, 0x7e00);
    write_small(&e, books, "books.safetensors");
    assert_int_equal(check_finds(e.folder, "bad-tensor", GLMQ_ERROR, &problems), 1);
    assert_int_equal(problems, 2); /* and scale-not-finite, once */
    edit_close(&e);
}

/* Zero points 8 8 0 8 8 8 8 8 as the packer that ORs stores them. */
static void runs_of_full_zero_fields_are_suspicious(void **state)
{
    size_t books;
    edited e = load_small(&books);
    int problems;
    opened_graph o;
    float w[96];
    (void)state;

    store_le32(edit_find(&e, "model.layers.0.mlp.gate_proj.qzeros")->data, 0xffffff77);
    write_small(&e, books, "books.safetensors");
    assert_int_equal(check_finds(e.folder, "qzeros-run", GLMQ_WARNING, &problems), 1);
    o = graph_open(e.folder, NULL, 0);
    {
        const glmq_tensor *t = glmq_graph_find(o.g, "model.layers.0.mlp.gate_proj.weight");
        const edited_array *codes = edit_find(&e, "model.layers.0.mlp.gate_proj.qweight");
        const edited_array *scales = edit_find(&e, "model.layers.0.mlp.gate_proj.scales");
        const int q = codes->data[4 * 2] & 15; /* row 2, column 0: the zero is 16 */
        glmq_error err;

        if (glmq_tensor_decode(o.g, t, 2, 1, w, &err)) fail_msg("%s", err.msg);
        assert_true(w[0] == (float)(q - 16) * f32_from_f16(load_le16(scales->data + 2 * 2)));
    }
    graph_shut(&o);
    edit_close(&e);
}

/* ---- encodings as values ---- */

static void bits_per_weight_count_the_codebook(void **state)
{
    opened_graph o = graph_open(data_folder(), NULL, 0);
    const glmq_tensor *t = glmq_graph_find(o.g, GATE ".weight");
    const double weights = 6 * 64 * 96, share = 8.0 * 200 * 4 * 2 / weights;
    double bpw;
    char text[128];
    (void)state;

    bpw = glmq_encoding_bpw(&t->part[0].enc, t->rows, t->cols);
    assert_true(fabs(bpw - (2 + 0.5 + share)) < 1e-9);
    glmq_encoding_print(&t->part[0].enc, text, sizeof text);
    assert_string_equal(text, "vq:bits=2,d=4,entries=200,group=32,scale=F16,u8");
    graph_shut(&o);
}

/* Two graphs hold the same book: their tensors are in the same encoding. */
static void equal_books_are_equal_encodings(void **state)
{
    opened_graph a = graph_open(data_folder(), NULL, 0), b = graph_open(data_folder(), NULL, 0);
    const glmq_tensor *t = glmq_graph_find(a.g, GATE ".weight");
    const glmq_tensor *u = glmq_graph_find(b.g, GATE ".weight");
    const glmq_tensor *v = glmq_graph_find(b.g, UP ".weight");
    (void)state;

    assert_ptr_not_equal(t->part[0].enc.tables, u->part[0].enc.tables);
    assert_true(glmq_encoding_equal(&t->part[0].enc, &u->part[0].enc));
    assert_false(glmq_encoding_equal(&t->part[0].enc, &v->part[0].enc));
    graph_shut(&a);
    graph_shut(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_tensor_is_what_the_peer_decodes),
        cmocka_unit_test(kept_values_are_equal_bit_for_bit),
        cmocka_unit_test(published_configs_and_pt_files_decode_alike),
        cmocka_unit_test(a_missing_codebook_is_named_and_the_rest_is_listed),
        cmocka_unit_test(everything_converts_to_floats_and_gguf),
        cmocka_unit_test(same_keeps_arrays_config_and_codebooks),
        cmocka_unit_test(other_targets_leave_the_codebooks_behind),
        cmocka_unit_test(shapes_tell_the_tier_where_the_config_is_silent),
        cmocka_unit_test(codes_choose_among_codebooks_without_a_name),
        cmocka_unit_test(good_checkpoints_pass_the_check),
        cmocka_unit_test(codebooks_of_other_codes_are_suspected),
        cmocka_unit_test(v_is_asked_only_what_it_tells),
        cmocka_unit_test(bad_codes_and_padding_are_problems_of_their_tensor),
        cmocka_unit_test(runs_of_full_zero_fields_are_suspicious),
        cmocka_unit_test(bits_per_weight_count_the_codebook),
        cmocka_unit_test(equal_books_are_equal_encodings),
    };
    return cmocka_run_group_tests_name("vq", tests, NULL, NULL);
}
