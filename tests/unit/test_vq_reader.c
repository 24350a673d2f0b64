/* Reading VQ checkpoints: where codebooks are found, other layouts, and what is refused. */
#include "base/fault.h"
#include "unit/convert_files.h"
#include "unit/vq_files.h"

/* ---- where codebooks are found ---- */

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
    e = load_small(&books); /* where it was searched for, each place once */
    cJSON_SetValuestring(edit_config(&e, "quantization_config.vq.codebooks_file"),
                         "vq_codebooks.safetensors");
    expect_refusal(&e, books, GLMQ_E_FORMAT,
                   "it is neither in vq_codebooks.safetensors, nor in the shards");
}

/* ---- malformed modules ---- */

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
    cJSON_SetValuestring(edit_config(&e, "quantization_config.vq.packing"), "lsb-first-t");
    expect_refusal(&e, books, GLMQ_E_FORMAT,
                   "they are stored the other way round, which vq.packing \"lsb-first\" would say");
    e = load_small(&books);
    a = edit_find(&e, DOWN ".vq_codes"); /* three dimensions are no stack by themselves */
    a->rank = 3;
    a->dims[2] = a->dims[1];
    a->dims[1] = a->dims[0];
    a->dims[0] = 1;
    expect_refusal(&e, books, GLMQ_E_FORMAT, "expected two matrices");
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
    store_le16(edit_find(&e, DOWN ".scales")->data + 2 * (2 * 70 + 1), 0x7c00); /* past a tile */
    expect_bad_data(&e, books, DOWN ".weight", "the scale of row 70, group 1 is not finite");
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

/* One pattern in place of six entries; a name still wins over it. */
static void patterns_name_modules_by_their_whole_path(void **state)
{
    size_t books;
    edited e = load_small(&books);
    cJSON *extra = edit_config(&e, "quantization_config.extra_config");
    char want[33], have[33];
    (void)state;

    digest_with(data_folder(), NULL, want);
    for (cJSON *m = extra->child, *next; m; m = next) {
        next = m->next;
        if (strstr(m->string, "experts.") && strstr(m->string, "down_proj") &&
            !strstr(m->string, "shared"))
            cJSON_DeleteItemFromObject(extra, m->string);
    }
    cJSON *wrong = cJSON_AddObjectToObject(extra, ".*experts\\.\\d+\\.down"); /* not to the end */
    cJSON_AddNumberToObject(wrong, "bits", 2);
    cJSON_AddStringToObject(wrong, "format", "vq");
    cJSON *all = cJSON_AddObjectToObject(extra, ".*experts\\.\\d+\\.(gate|down)_proj");
    cJSON_AddNumberToObject(all, "bits", 1.5);
    cJSON_AddStringToObject(all, "format", "vq");
    cJSON_AddNumberToObject(cJSON_AddObjectToObject(extra, "(no expression"), "bits", 3);
    write_small(&e, books, "books.safetensors");
    digest_with(e.folder, NULL, have);
    assert_string_equal(have, want);
    opened_graph o = graph_open(e.folder, NULL, 0);
    assert_null(graph_problem(&o, "config-silent"));
    graph_shut(&o);
    edit_close(&e);
}

/* The spine, too: what a pattern says of it is compared, and the 16 bits of all are not. */
static void patterns_name_modules_of_the_spine(void **state)
{
    static const char key[] = ".*self_attn\\.o_proj";
    static const struct {
        int bits;
        const char *problem;
    } says[] = { { 4, NULL }, { 8, key } };
    (void)state;

    for (size_t i = 0; i < GLMQ_COUNT(says); i++) {
        size_t books;
        edited e = load_small(&books);
        cJSON *extra = edit_config(&e, "quantization_config.extra_config"), *all;
        int found = 0;

        for (cJSON *m = extra->child, *next; m; m = next) {
            next = m->next;
            if (strstr(m->string, "self_attn.o_proj")) cJSON_DeleteItemFromObject(extra, m->string);
        }
        all = cJSON_AddObjectToObject(extra, key);
        cJSON_AddNumberToObject(all, "bits", says[i].bits);
        cJSON_AddNumberToObject(all, "group_size", 32);
        cJSON_AddBoolToObject(all, "sym", 0);
        /* one that would make all of it vq is too wide */
        cJSON_AddStringToObject(cJSON_AddObjectToObject(extra, ".*kv_b_proj"), "format", "vq");
        write_small(&e, books, "books.safetensors");
        opened_graph o = graph_open(e.folder, NULL, 0);
        if (o.status) fail_msg("%s", o.err.msg);
        for (size_t k = 0; k < glmq_graph_problem_count(o.g); k++)
            found += strncmp(glmq_graph_problem(o.g, k)->code, "config-", 7) == 0;
        assert_int_equal(found, says[i].problem != NULL);
        graph_shut(&o);
        edit_close(&e);
    }
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

int main(void)
{
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test(patterns_name_modules_by_their_whole_path),
        cmocka_unit_test(patterns_name_modules_of_the_spine),
        cmocka_unit_test(mlx_affine_spines_are_named),
        cmocka_unit_test(spine_modules_need_all_their_arrays),
        cmocka_unit_test(stacked_experts_decode_as_single_ones_do),
        cmocka_unit_test(many_entries_are_looked_up_quickly),
        cmocka_unit_test(every_failure_is_a_clean_error),
    };
    return cmocka_run_group_tests_name("vq_reader", tests, NULL, NULL);
}
