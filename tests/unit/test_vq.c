/* Mixed-bit VQ checkpoints: the fixture against what the peer's code decodes, the ways in which
 * a codebook is found, and what is refused or warned of. */
#include "base/fault.h"
#include "base/mem.h"
#include "base/num.h"
#include "codecs/vq.h"
#include "readers/catalog.h"
#include "unit/convert_files.h"
#include "unit/edit_files.h"
#include "unit/expected.h"
#include "verify/check.h"
#include <math.h>

/* ---- the fixture ---- */

static const char *fixture_or_skip(const char *file)
{
    static char path[600];
    const char *root = fixtures_or_skip();

    if (!root) return NULL;
    snprintf(path, sizeof path, "%s/glm5-vq%s%s", root, *file ? "/" : "", file);
    return path;
}

static const char *data_folder(void)
{
    static char path[600];
    snprintf(path, sizeof path, "%s/checkpoints/vq-mixed", getenv("GLMQ_DATA"));
    return path;
}

/* The model's digest, with codebooks from a folder. */
static void digest_with(const char *path, const char *codebooks, char hex[33])
{
    opened_graph o = graph_open(path, codebooks, 0);
    const glmq_digest_options opt = { 0 };
    char(*each)[33] = NULL;
    glmq_error err;

    if (o.status) fail_msg("%s", o.err.msg);
    if (glmq_digest_tensors(o.g, &opt, &each, hex, &err)) fail_msg("%s", err.msg);
    glmq_free(each);
    graph_shut(&o);
}

static float *decoded(const glmq_graph *g, const glmq_tensor *t)
{
    float *w = malloc((size_t)(t->rows * t->cols) * sizeof *w);
    glmq_error err;

    assert_non_null(w);
    if (glmq_tensor_decode(g, t, 0, t->rows, w, &err)) fail_msg("%s", err.msg);
    return w;
}

static void every_tensor_is_what_the_peer_decodes(void **state)
{
    const char *path = fixture_or_skip("");
    char file[700];
    opened_graph o;
    cJSON *expected;
    const cJSON *entry;
    int quantized = 0;
    (void)state;

    if (!path) skip();
    o = graph_open(path, NULL, 0);
    if (o.status) fail_msg("%s", o.err.msg);
    assert_string_equal(glmq_graph_format(o.g), "vq");
    snprintf(file, sizeof file, "%s/expected.json", path);
    expected = read_json(file);
    cJSON_ArrayForEach(entry, cJSON_GetObjectItem(expected, "sha256_f32"))
    {
        const glmq_tensor *t = glmq_graph_find(o.g, entry->string);
        float *w;
        if (!t) fail_msg("no %s", entry->string);
        w = decoded(o.g, t);
        must_hash(t->name, "F32", w, (size_t)(t->rows * t->cols), entry->valuestring);
        free(w);
    }
    for (size_t i = 0; i < glmq_graph_count(o.g); i++)
        quantized += !glmq_encoding_is_plain(&glmq_graph_tensor(o.g, i)->part[0].enc);
    assert_int_equal(quantized, cJSON_GetArraySize(cJSON_GetObjectItem(expected, "sha256_f32")));
    cJSON_Delete(expected);
    graph_shut(&o);
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
    static const char *const targets[] = { "f32", "bf16", "f16", "gguf:Q8_0", "same" };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(targets); i++) {
        char dir[256], dst[300];
        glmq_run_result r;
        glmq_error err;

        fresh_folder(dir);
        snprintf(dst, sizeof dst, "%s/out", dir);
        if (convert(data_folder(), dst, targets[i], NULL, NULL, &r, &err))
            fail_msg("%s: %s", targets[i], err.msg);
        if (strcmp(targets[i], "f32") == 0 || strcmp(targets[i], "same") == 0)
            assert_string_equal(r.source_digest, r.result_digest);
        if (strcmp(targets[i], "same") == 0)
            assert_int_equal(r.tensors[GLMQ_SAME_BYTES], r.tensors[GLMQ_SAME_BYTES] +
                                                             r.tensors[GLMQ_RECODE] +
                                                             r.tensors[GLMQ_SAME_CODES]);
        glmq_out_remove_tree(dir, NULL);
    }
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

/* ---- where codebooks are found ---- */

/* The small checkpoint, and its codebooks from `books` on. */
static edited load_small(size_t *books)
{
    edited e = edit_load(data_folder());
    *books = e.count;
    edit_load_file(&e, data_folder(), "books.safetensors");
    return e;
}

static void write_small(edited *e, size_t books, const char *books_file)
{
    fresh_folder(e->folder);
    edit_write_config(e);
    edit_write_file(e, 0, books_file ? books : e->count, "model.safetensors");
    if (books_file) edit_write_file(e, books, e->count, books_file);
}

static void codebooks_are_found_by_the_usual_name_and_in_shards(void **state)
{
    static const char *const files[] = { "vq_codebooks.safetensors", NULL };
    char want[33], have[33];
    (void)state;

    digest_with(data_folder(), NULL, want);
    for (size_t i = 0; i < GLMQ_COUNT(files); i++) {
        size_t books;
        edited e = load_small(&books);
        cJSON_DeleteItemFromObject(edit_config(&e, "quantization_config.vq"), "codebooks_file");
        write_small(&e, books, files[i]);
        digest_with(e.folder, NULL, have);
        assert_string_equal(have, want);
        edit_close(&e);
    }
}

/* Those among the shards go along with `same`, and are no tensors of any other result. */
static void codebooks_in_shards_are_carried_by_same_alone(void **state)
{
    size_t books, found = 0;
    edited e = load_small(&books), b = { 0 };
    char dst[300], path[400];
    glmq_run_result r;
    glmq_error err;
    (void)state;

    write_small(&e, books, NULL);
    for (int same = 0; same < 2; same++) {
        snprintf(dst, sizeof dst, "%s-%d", e.folder, same);
        if (convert(e.folder, dst, same ? "same" : "bf16", NULL, NULL, &r, &err))
            fail_msg("%s", err.msg);
        snprintf(path, sizeof path, "%s/model-00001-of-00001.safetensors", dst);
        edit_load_file(
            &b, dst, access(path, R_OK) ? "model.safetensors" : "model-00001-of-00001.safetensors");
        found = 0;
        for (size_t i = 0; i < b.count; i++) found += strncmp(b.at[i].name, "book.", 5) == 0;
        assert_int_equal(found, same ? 3 : 0);
        edit_close(&b);
        glmq_out_remove_tree(dst, NULL);
    }
    edit_close(&e);
}

static void a_folder_given_may_hold_safetensors(void **state)
{
    size_t books;
    edited e = load_small(&books);
    char want[33], have[33];
    (void)state;

    digest_with(data_folder(), NULL, want);
    fresh_folder(e.folder);
    edit_write_config(&e);
    edit_write_file(&e, 0, books, "model.safetensors");
    digest_with(e.folder, data_folder(), have);
    assert_string_equal(have, want);
    edit_close(&e);
}

static void expect_refusal(edited *e, size_t books, glmq_status status, const char *text)
{
    opened_graph o;

    write_small(e, books, "books.safetensors");
    o = graph_open(e->folder, NULL, 0);
    if (!o.status || !strstr(o.err.msg, text)) print_error("-> %s\n", o.status ? o.err.msg : "OK");
    assert_int_equal(o.status, status);
    assert_non_null(strstr(o.err.msg, text));
    graph_shut(&o);
    edit_close(e);
}

static void codebooks_of_another_size_or_not_finite_are_refused(void **state)
{
    size_t books;
    edited e = load_small(&books);
    edited_array *a = edit_find(&e, "book.2");
    (void)state;

    a->dims[1] = 50;
    a->dims[2] = 16;
    expect_refusal(&e, books, GLMQ_E_FORMAT,
                   "books.safetensors: codebook book.2 is F16 [1, 50, 16], the tier of 2 bits has "
                   "200 entries of 4");
    e = load_small(&books);
    store_le16(edit_find(&e, "book.3")->data + 6, 0x7e00);
    expect_refusal(&e, books, GLMQ_E_FORMAT,
                   "codebook book.3 of the tier of 3 bits holds what is no finite number");
    e = load_small(&books);
    cJSON_SetValuestring(edit_config(&e, "quantization_config.vq.codebooks_file"), "../x");
    expect_refusal(&e, books, GLMQ_E_FORMAT, "codebooks_file \"../x\" is no plain file name");
}

/* ---- malformed modules ---- */

#define GATE  "model.layers.1.mlp.experts.0.gate_proj" /* 2 bits, d 4, 200 entries, U8 */
#define UP    "model.layers.1.mlp.experts.0.up_proj"   /* 3 bits, d 2, 60 entries, each U8 */
#define DOWN  "model.layers.1.mlp.experts.0.down_proj" /* 1.5 bits, d 4, 64 entries, I32 */
#define ENTRY "quantization_config.extra_config.language_model."

static void marked_modules_must_be_codes_and_scales(void **state)
{
    size_t books;
    edited e = load_small(&books);
    (void)state;

    snprintf(edit_find(&e, GATE ".scales")->name, 200, "%s", UP ".bias");
    expect_refusal(&e, books, GLMQ_E_FORMAT, GATE ": marked as vq in the config");
    e = load_small(&books);
    snprintf(edit_find(&e, GATE ".vq_codes")->name, 200, "%s", GATE ".weight");
    expect_refusal(&e, books, GLMQ_E_FORMAT, "stored are " GATE ".scales, " GATE ".weight");
}

static void zeros_beside_a_marked_module_are_refused(void **state)
{
    const uint64_t dims[4] = { 3, 8 };
    size_t books;
    edited e = edit_load(data_folder());
    (void)state;

    edit_add(&e, GATE ".qzeros", "I32", 2, dims, NULL, 96);
    books = e.count;
    edit_load_file(&e, data_folder(), "books.safetensors");
    expect_refusal(&e, books, GLMQ_E_FORMAT, GATE ".qzeros");
}

static void shapes_that_do_not_fit_say_what_would(void **state)
{
    size_t books;
    edited e = load_small(&books);
    edited_array *a = edit_find(&e, DOWN ".vq_codes");
    (void)state;

    cJSON_SetNumberValue(cJSON_GetObjectItem(edit_config(&e, ENTRY DOWN), "bits"), 2);
    expect_refusal(&e, books, GLMQ_E_FORMAT, "; the data would fit the tier of 1.5 bits");
    e = load_small(&books);
    a = edit_find(&e, DOWN ".vq_codes");
    a->dims[0] = 3;
    a->dims[1] = 96;
    expect_refusal(&e, books, GLMQ_E_FORMAT,
                   "they are stored the other way round, which vq.packing \"lsb-first-t\" would "
                   "say");
    e = load_small(&books);
    cJSON_SetNumberValue(edit_config(&e, "quantization_config.vq.norm_group"), 16);
    expect_refusal(&e, books, GLMQ_E_FORMAT, "right for a norm_group of 32");
    e = load_small(&books);
    cJSON_SetNumberValue(edit_config(&e, "quantization_config.vq.norm_group"), 24);
    expect_refusal(&e, books, GLMQ_E_FORMAT, "norm_group 24: d must divide");
    e = load_small(&books);
    cJSON_SetNumberValue(edit_config(&e, "quantization_config.vq.norm_group"), 2);
    expect_refusal(&e, books, GLMQ_E_FORMAT, "d 4, norm_group 2: d must divide");
    e = load_small(&books);
    snprintf(edit_find(&e, GATE ".vq_codes")->dtype, 12, "F16");
    edit_find(&e, GATE ".vq_codes")->dims[1] /= 2;
    expect_refusal(&e, books, GLMQ_E_FORMAT, GATE ".vq_codes: F16 [64, 12]");
}

static void a_transposed_layout_is_read_when_the_config_says_so(void **state)
{
    size_t books;
    edited e = load_small(&books);
    cJSON *vq = edit_config(&e, "quantization_config.vq");
    char want[33], have[33];
    (void)state;

    digest_with(data_folder(), NULL, want);
    cJSON_SetValuestring(cJSON_GetObjectItem(vq, "packing"), "lsb-first-t");
    for (size_t i = 0; i < books; i++) {
        edited_array *a = &e.at[i];
        const size_t len = strlen(a->name);
        const uint64_t rows = a->dims[0];
        uint8_t *turned;
        uint64_t words;

        if (strcmp(a->name + len - 9, ".vq_codes") != 0) continue;
        if (strstr(a->name, "up_proj")) { /* a code an element: pack 6 bits */
            const uint64_t n = a->dims[1], row = (n * 6 + 31) / 32 * 4;
            uint8_t *packed = calloc(rows, row);
            for (uint64_t r = 0; r < rows; r++)
                for (uint64_t k = 0; k < n * 6; k++)
                    packed[r * row + k / 8] |=
                        (uint8_t)((a->data[r * n + k / 6] >> k % 6 & 1) << k % 8);
            free(a->data);
            a->data = packed;
            a->bytes = rows * row;
        }
        words = a->bytes / rows / 4;
        turned = malloc(a->bytes);
        for (uint64_t r = 0; r < rows; r++)
            for (uint64_t w = 0; w < words; w++)
                memcpy(turned + 4 * (w * rows + r), a->data + 4 * (r * words + w), 4);
        free(a->data);
        a->data = turned;
        snprintf(a->dtype, sizeof a->dtype, "I32");
        a->dims[0] = words;
        a->dims[1] = rows;
    }
    write_small(&e, books, "books.safetensors");
    digest_with(e.folder, NULL, have);
    assert_string_equal(have, want);
    edit_close(&e);
}

static void expect_bad_data(edited *e, size_t books, const char *tensor, const char *text)
{
    opened_graph o;
    float *w;
    const glmq_tensor *t;
    glmq_error err;
    char dst[300];

    write_small(e, books, "books.safetensors");
    o = graph_open(e->folder, NULL, 0);
    if (o.status) fail_msg("%s", o.err.msg);
    t = glmq_graph_find(o.g, tensor);
    w = malloc((size_t)(t->rows * t->cols) * sizeof *w);
    assert_int_equal(glmq_tensor_decode(o.g, t, 0, t->rows, w, &err), GLMQ_E_FORMAT);
    if (!strstr(err.msg, text)) fail_msg("%s", err.msg);
    assert_non_null(strstr(err.msg, tensor));
    free(w);
    graph_shut(&o);
    snprintf(dst, sizeof dst, "%s-out", e->folder);
    assert_int_equal(convert(e->folder, dst, "bf16", NULL, NULL, NULL, &err), GLMQ_E_FORMAT);
    assert_int_not_equal(access(dst, F_OK), 0);
    snprintf(dst, sizeof dst, "%s-out.partial", e->folder);
    if (access(dst, F_OK) == 0) glmq_out_remove_tree(dst, NULL);
    edit_close(e);
}

static void codes_outside_the_codebook_are_refused(void **state)
{
    size_t books;
    edited e = load_small(&books);
    (void)state;

    edit_find(&e, GATE ".vq_codes")->data[24 * 5 + 7] = 200; /* 24 codes of a byte a row */
    expect_bad_data(&e, books, GATE ".weight",
                    "code 200 of row 5, number 7: the codebook has 200 entries");
    e = load_small(&books);
    edit_find(&e, UP ".vq_codes")->data[48] = 60;
    expect_bad_data(&e, books, UP ".weight", "code 60 of row 1, number 0");
}

static void bad_scales_are_refused(void **state)
{
    size_t books;
    edited e = load_small(&books);
    (void)state;

    store_le16(edit_find(&e, DOWN ".scales")->data + 2 * (2 * 9 + 1), 0x8001); /* [96, 2] */
    expect_bad_data(&e, books, DOWN ".weight", "of row 9, group 1 is negative");
    e = load_small(&books);
    store_le16(edit_find(&e, DOWN ".scales")->data, 0x7c00);
    expect_bad_data(&e, books, DOWN ".weight", "is not finite");
    e = load_small(&books);
    store_le16(edit_find(&e, DOWN ".scales")->data, 0x8000); /* -0 is no negative number */
    write_small(&e, books, "books.safetensors");
    char hex[33];
    digest_with(e.folder, NULL, hex);
    assert_int_equal(strlen(hex), 32);
    edit_close(&e);
}

static void tiers_must_make_sense(void **state)
{
    static const struct {
        const char *path;
        double value;
        const char *text;
    } bad[] = {
        { "quantization_config.vq.tiers.2.K", 1, "vq.tiers.2: K is out of range" },
        { "quantization_config.vq.tiers.2.K", 65537, "vq.tiers.2: K is out of range" },
        { "quantization_config.vq.tiers.2.d", 0, "vq.tiers.2: d is out of range" },
        { "quantization_config.vq.tiers.2.d", 2.5, "vq.tiers.2: d is out of range" },
        { ENTRY GATE ".bits", 7, "d 4, norm" },
        { ENTRY GATE ".d", 8, "has d 8, the tier of these bits has d 4" },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(bad); i++) {
        size_t books;
        edited e = load_small(&books);
        cJSON *node =
            strstr(bad[i].path, "extra_config")
                ? cJSON_GetObjectItem(edit_config(&e, ENTRY GATE), strrchr(bad[i].path, '.') + 1)
                : edit_config(&e, bad[i].path);
        assert_non_null(node);
        cJSON_SetNumberValue(node, bad[i].value);
        if (i == 4) { /* 28 bits a code: no number of entries */
            expect_refusal(&e, books, GLMQ_E_FORMAT, "K is not stated");
            continue;
        }
        expect_refusal(&e, books, GLMQ_E_FORMAT, bad[i].text);
    }
}

static void patterns_are_refused_where_they_would_decide(void **state)
{
    size_t books;
    edited e = load_small(&books);
    cJSON *extra = edit_config(&e, "quantization_config.extra_config");
    cJSON *entry = cJSON_DetachItemFromObject(extra, "language_model." GATE);
    (void)state;

    cJSON_AddItemToObject(extra, "model\\.layers\\.1\\.mlp\\.experts\\.0\\.gate.*", entry);
    expect_refusal(&e, books, GLMQ_E_UNSUPPORTED, "extra_config has the pattern");
}

static void mlx_affine_spines_are_named(void **state)
{
    const uint64_t dims[4] = { 4, 4 };
    size_t books;
    edited e = edit_load(data_folder());
    (void)state;

    edit_add(&e, "model.layers.1.self_attn.x.biases", "F16", 2, dims, NULL, 32);
    books = e.count;
    edit_load_file(&e, data_folder(), "books.safetensors");
    expect_refusal(&e, books, GLMQ_E_UNSUPPORTED, "MLX's affine quantization");
}

static void spine_modules_need_all_their_arrays(void **state)
{
    size_t books;
    edited e = edit_load(data_folder());
    (void)state;

    edit_drop(&e, "model.layers.0.mlp.gate_proj.qzeros");
    books = e.count;
    edit_load_file(&e, data_folder(), "books.safetensors");
    expect_refusal(&e, books, GLMQ_E_FORMAT, "model.layers.0.mlp.gate_proj.qzeros is missing");
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

/* ---- stacked experts ---- */

/* A row of codes that are an element each, as a stream. */
static void pack_row(const uint8_t *codes, uint64_t n, unsigned bits, uint8_t *out)
{
    for (uint64_t k = 0; k < n * bits; k++)
        out[k / 8] |= (uint8_t)((codes[k / bits] >> k % bits & 1) << k % 8);
}

/* One matrix of a stack: codes as I32 [experts, rows, words], scales [experts, rows, groups]. */
static void stack(edited *to, edited *from, int layer, const char *proj, int experts)
{
    for (int s = 0; s < 2; s++) {
        const char *suffix = s ? "scales" : "vq_codes";
        char name[200];
        edited_array *all = NULL;

        for (int x = 0; x < experts; x++) {
            const edited_array *a;
            uint64_t row, dims[4];

            snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%d.%s.%s", layer, x, proj,
                     suffix);
            a = edit_find(from, name);
            const int each = !s && strcmp(proj, "up_proj") == 0;
            row = a->bytes / a->dims[0];
            if (each) row = (row * 6 + 31) / 32 * 4;
            dims[0] = (uint64_t)experts;
            dims[1] = a->dims[0];
            dims[2] = row / (s ? 2 : 4);
            snprintf(name, sizeof name, "model.layers.%d.mlp.switch_mlp.%s.%s", layer, proj,
                     s ? "vq_scales" : "vq_codes");
            if (!all)
                all = edit_add(to, name, s ? "F16" : "I32", 3, dims, NULL,
                               (size_t)(row * dims[1] * dims[0]));
            for (uint64_t r = 0; r < dims[1]; r++) {
                uint8_t *out = all->data + ((uint64_t)x * dims[1] + r) * row;
                if (each)
                    pack_row(a->data + r * a->dims[1], a->dims[1], 6, out);
                else
                    memcpy(out, a->data + r * row, row);
            }
        }
    }
}

/* The small checkpoint with its experts stacked: config, names and shapes of that layout. */
static edited load_stacked(void)
{
    static const struct {
        const char *proj;
        double bits;
        int d, entries, nbits;
    } tiers[] = { { "gate_proj", 2, 4, 200, 8 },
                  { "up_proj", 3, 2, 60, 6 },
                  { "down_proj", 1.5, 4, 64, 6 } };
    edited from = edit_load(data_folder()), e = { .config = from.config };
    cJSON *vq = cJSON_AddObjectToObject(e.config, "vq"), *modules;

    cJSON_DeleteItemFromObject(e.config, "quantization_config");
    cJSON_AddStringToObject(vq, "codebooks_file", "books.safetensors");
    modules = cJSON_AddObjectToObject(vq, "modules");
    for (size_t i = 0; i < from.count; i++)
        if (!strstr(from.at[i].name, ".experts."))
            edit_add(&e, from.at[i].name, from.at[i].dtype, from.at[i].rank, from.at[i].dims,
                     from.at[i].data, from.at[i].bytes);
    for (int layer = 1; layer <= 2; layer++)
        for (size_t i = 0; i < GLMQ_COUNT(tiers); i++) {
            char name[200];
            cJSON *m;
            snprintf(name, sizeof name, "language_model.model.layers.%d.mlp.switch_mlp.%s", layer,
                     tiers[i].proj);
            m = cJSON_AddObjectToObject(modules, name);
            cJSON_AddNumberToObject(m, "vq_bits", tiers[i].bits);
            cJSON_AddNumberToObject(m, "d", tiers[i].d);
            cJSON_AddNumberToObject(m, "K", tiers[i].entries);
            cJSON_AddNumberToObject(m, "nbits", tiers[i].nbits);
            cJSON_AddNumberToObject(m, "norm_group", 32);
            stack(&e, &from, layer, tiers[i].proj, 3);
        }
    from.config = NULL;
    edit_close(&from);
    return e;
}

static void stacked_experts_decode_as_single_ones_do(void **state)
{
    edited e = load_stacked(), books = { 0 };
    opened_graph one = graph_open(data_folder(), NULL, 0), all;
    char dst[300];
    int compared = 0;
    glmq_error err;
    (void)state;

    edit_load_file(&books, data_folder(), "books.safetensors");
    snprintf(edit_find(&books, "book.1.5")->name, 200, "cb1.5");
    snprintf(edit_find(&books, "book.2")->name, 200, "cb2");
    snprintf(edit_find(&books, "book.3")->name, 200, "cb3");
    edit_write(&e);
    snprintf(books.folder, sizeof books.folder, "%s", e.folder);
    edit_write_file(&books, 0, books.count, "books.safetensors");
    all = graph_open(e.folder, NULL, 0);
    if (all.status) fail_msg("%s", all.err.msg);
    for (size_t i = 0; i < glmq_graph_count(one.g); i++) {
        const glmq_tensor *t = glmq_graph_tensor(one.g, i);
        const glmq_tensor *u = glmq_graph_find(all.g, t->name);
        char a[33], b[33];

        assert_non_null(u);
        assert_int_equal(t->role, u->role);
        if (!strstr(t->name, ".experts.")) continue;
        assert_int_equal(glmq_tensor_digest(one.g, t, a, NULL), GLMQ_OK);
        if (glmq_tensor_digest(all.g, u, b, &err)) fail_msg("%s", err.msg);
        assert_string_equal(a, b);
        compared++;
    }
    assert_int_equal(compared, 18);
    snprintf(dst, sizeof dst, "%s-same", e.folder);
    assert_int_equal(convert(e.folder, dst, "same", NULL, NULL, NULL, &err), GLMQ_E_UNSUPPORTED);
    assert_non_null(strstr(err.msg, "stacked in model.layers.1.mlp.switch_mlp.gate_proj.vq_codes"));
    graph_shut(&one);
    graph_shut(&all);
    books.folder[0] = '\0';
    edit_close(&books);
    edit_close(&e);
}

/* ---- 60,000 entries ---- */

static void many_entries_are_looked_up_quickly(void **state)
{
    size_t books;
    edited e = load_small(&books);
    cJSON *extra = edit_config(&e, "quantization_config.extra_config"), *last = extra->child;
    char want[33], have[33], name[100];
    (void)state;

    digest_with(data_folder(), NULL, want);
    while (last->next) last = last->next;
    for (int i = 0; i < 60000; i++) { /* cJSON's own adding looks at every name */
        cJSON *m = cJSON_CreateObject();
        snprintf(name, sizeof name, "model.layers.%d.mlp.experts.%d.gate_proj", 100 + i / 256,
                 i % 256);
        m->string = cJSON_malloc(strlen(name) + 1);
        strcpy(m->string, name);
        cJSON_AddNumberToObject(m, "bits", 1);
        cJSON_AddStringToObject(m, "format", "vq");
        last->next = m;
        m->prev = last;
        last = m;
    }
    extra->child->prev = last;
    write_small(&e, books, "books.safetensors");
    digest_with(e.folder, NULL, have);
    assert_string_equal(have, want);
    edit_close(&e);
}

/* ---- allocations and reads that fail ---- */

static glmq_status open_and_decode(const char *path, const char *codebooks, glmq_error *err)
{
    const glmq_graph_options opt = { .vq_codebooks = codebooks };
    glmq_source *src = NULL;
    glmq_graph *g = NULL;
    float row[96];
    glmq_status st = glmq_source_open(&src, path, NULL, err);

    if (!st) st = glmq_graph_open(&g, src, &opt, err);
    if (!st) st = glmq_tensor_decode(g, glmq_graph_find(g, GATE ".weight"), 0, 1, row, err);
    glmq_graph_close(g);
    glmq_source_close(src);
    return st;
}

/* Most of them are the graph's, of which a sample will do. */
static void every_failure_is_a_clean_error(void **state)
{
    size_t books;
    edited e = load_small(&books);
    (void)state;

    fresh_folder(e.folder);
    edit_write_config(&e);
    edit_write_file(&e, 0, books, "model.safetensors");
    for (long n = 1;; n += 1 + n / 40) {
        glmq_error err = { 0 };
        glmq_status st;
        int through;

        glmq_fail_alloc_at(n);
        st = open_and_decode(e.folder, data_folder(), &err);
        through = glmq_fault_pending();
        glmq_fail_alloc_at(0);
        if (through) {
            if (st) fail_msg("%s", err.msg);
            break;
        }
        if (!st) continue; /* it did no harm */
        assert_true(st == GLMQ_E_NOMEM || st == GLMQ_E_IO);
        assert_true(err.msg[0] != '\0');
    }
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
        cmocka_unit_test(codebooks_are_found_by_the_usual_name_and_in_shards),
        cmocka_unit_test(codebooks_in_shards_are_carried_by_same_alone),
        cmocka_unit_test(a_folder_given_may_hold_safetensors),
        cmocka_unit_test(codebooks_of_another_size_or_not_finite_are_refused),
        cmocka_unit_test(marked_modules_must_be_codes_and_scales),
        cmocka_unit_test(zeros_beside_a_marked_module_are_refused),
        cmocka_unit_test(shapes_that_do_not_fit_say_what_would),
        cmocka_unit_test(a_transposed_layout_is_read_when_the_config_says_so),
        cmocka_unit_test(codes_outside_the_codebook_are_refused),
        cmocka_unit_test(bad_scales_are_refused),
        cmocka_unit_test(tiers_must_make_sense),
        cmocka_unit_test(patterns_are_refused_where_they_would_decide),
        cmocka_unit_test(mlx_affine_spines_are_named),
        cmocka_unit_test(spine_modules_need_all_their_arrays),
        cmocka_unit_test(shapes_tell_the_tier_where_the_config_is_silent),
        cmocka_unit_test(codes_choose_among_codebooks_without_a_name),
        cmocka_unit_test(good_checkpoints_pass_the_check),
        cmocka_unit_test(codebooks_of_other_codes_are_suspected),
        cmocka_unit_test(bad_codes_and_padding_are_problems_of_their_tensor),
        cmocka_unit_test(runs_of_full_zero_fields_are_suspicious),
        cmocka_unit_test(stacked_experts_decode_as_single_ones_do),
        cmocka_unit_test(many_entries_are_looked_up_quickly),
        cmocka_unit_test(every_failure_is_a_clean_error),
        cmocka_unit_test(bits_per_weight_count_the_codebook),
        cmocka_unit_test(equal_books_are_equal_encodings),
    };
    return cmocka_run_group_tests_name("vq", tests, NULL, NULL);
}
