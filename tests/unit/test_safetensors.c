/* The safetensors container: every verdict of the reference parser (tests/data), and the
 * policy that makes one checkpoint of a folder of shards. */
#include "build_files.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const glmq_array *array(const opened *o, const char *name)
{
    return glmq_catalog_find(o->cat, name, strlen(name));
}

static const char *home(const opened *o, const char *name)
{
    const glmq_array *a = array(o, name);
    return a ? glmq_source_name(o->src, a->file) : NULL;
}

static void expect(const opened *o, glmq_status status, const char *text)
{
    if (o->status != status || !strstr(o->err.msg, text)) print_error("%s\n", o->err.msg);
    assert_int_equal(o->status, status);
    assert_non_null(strstr(o->err.msg, text));
}

static void expect_ok(const opened *o)
{
    if (o->status) print_error("%s\n", o->err.msg);
    assert_int_equal(o->status, GLMQ_OK);
}

/* ---- the verdicts ---- */

static void data_path(char *path, size_t cap, const char *name, const char *ending)
{
    const char *data = getenv("GLMQ_DATA");
    snprintf(path, cap, "%s/safetensors-cases/%s%s", data ? data : "tests/data", name, ending);
}

static cJSON *read_verdicts(void)
{
    char path[512], *text;
    FILE *in;
    long len;
    cJSON *tree;
    data_path(path, sizeof path, "verdicts", ".json");
    in = fopen(path, "rb");
    assert_non_null(in);
    fseek(in, 0, SEEK_END);
    len = ftell(in);
    rewind(in);
    text = malloc((size_t)len);
    assert_int_equal(fread(text, 1, (size_t)len, in), len);
    fclose(in);
    tree = cJSON_ParseWithLength(text, (size_t)len);
    free(text);
    assert_non_null(tree);
    return tree;
}

static void same_arrays(const opened *o, const cJSON *expected)
{
    size_t n = 0;
    for (const cJSON *e = expected->child; e; e = e->next, n++) {
        const glmq_array *a = array(o, e->string);
        int rank = 0;
        assert_non_null(a);
        assert_string_equal(glmq_dtype_name((glmq_dtype)a->dtype), e->child->valuestring);
        for (const cJSON *d = e->child->next->child; d; d = d->next, rank++)
            assert_true(rank < a->rank && (double)a->dims[rank] == d->valuedouble);
        assert_int_equal(rank, a->rank);
    }
    assert_int_equal(n, o->cat->count);
}

static void meets_every_verdict_of_the_reference(void **state)
{
    cJSON *verdicts = read_verdicts();
    int good = 0, bad = 0, duplicates = 0;
    (void)state;
    for (const cJSON *v = verdicts->child; v; v = v->next) {
        /* The reference lets the last of two equal names win; its format forbids them. */
        const int duplicate = strncmp(v->string, "dup_key", 7) == 0;
        const int ok = cJSON_IsTrue(cJSON_GetObjectItem(v, "ok")) && !duplicate;
        char path[512];
        opened o;
        data_path(path, sizeof path, v->string, ".safetensors");
        o = open_path(path, NULL);
        if ((o.status == GLMQ_OK) != ok) print_error("%s: %s\n", v->string, o.err.msg);
        assert_int_equal(o.status, ok ? GLMQ_OK : GLMQ_E_FORMAT);
        if (ok)
            same_arrays(&o, cJSON_GetObjectItem(v, "tensors"));
        else
            assert_non_null(strstr(o.err.msg, v->string)); /* names the file */
        if (duplicate) assert_non_null(strstr(o.err.msg, "duplicate key \"a\""));
        good += ok;
        bad += !ok && !duplicate;
        duplicates += duplicate;
        close_all(&o);
    }
    assert_int_equal(good, 18);
    assert_int_equal(bad, 31);
    assert_int_equal(duplicates, 2);
    cJSON_Delete(verdicts);
}

static void finds_the_data_behind_the_header(void **state)
{
    char path[512];
    opened o;
    uint8_t raw[8];
    (void)state;
    data_path(path, sizeof path, "ok_unsorted_header", ".safetensors");
    o = open_path(path, NULL);
    expect_ok(&o);
    assert_string_equal(o.cat->arrays[0].name, "a");
    assert_string_equal(o.cat->arrays[1].name, "b");
    assert_int_equal(glmq_source_size(o.src, 0) - array(&o, "a")->offset, 8);
    assert_int_equal(glmq_source_read(o.src, 0, array(&o, "b")->offset, raw, 4, NULL), GLMQ_OK);
    assert_memory_equal(raw, "\4\5\6\7", 4);
    close_all(&o);
}

static void refuses_a_file_cut_at_every_byte(void **state)
{
    static const char header[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}";
    (void)state;
    for (size_t len = 0; len < 8 + sizeof header - 1 + 4; len++) {
        bytes b = safetensors(header, 4);
        folder f = folder_make();
        opened o;
        b.len = len;
        folder_bytes(&f, "x.safetensors", b);
        o = open_folder(&f);
        expect(&o, GLMQ_E_FORMAT, "x.safetensors");
        close_all(&o);
    }
}

static void refuses_what_exceeds_the_limits(void **state)
{
    char name[1200], header[2048];
    folder f = folder_make();
    opened o;
    (void)state;
    memset(name, 'n', sizeof name);
    name[1025] = '\0';
    snprintf(header, sizeof header,
             "{\"%s\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}", name);
    folder_bytes(&f, "x.safetensors", safetensors(header, 1));
    o = open_folder(&f);
    expect(&o, GLMQ_E_LIMIT, "a name of 1025 bytes");
    close_all(&o);

    f = folder_make();
    folder_bytes(
        &f, "x.safetensors",
        safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,"
                    "1,1,1,1,1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,1]}}",
                    1));
    o = open_folder(&f);
    expect(&o, GLMQ_E_LIMIT, "more than 32 dimensions");
    close_all(&o);
}

static void keeps_the_metadata_of_all_shards(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    folder_bytes(&f, "a.safetensors", safetensors("{\"__metadata__\":{\"format\":\"pt\"}}", 0));
    folder_bytes(&f, "b.safetensors",
                 safetensors("{\"__metadata__\":{\"glmq.scale_dtype\":\"BF16\"}}", 0));
    o = open_folder(&f);
    expect_ok(&o);
    assert_string_equal(glmq_catalog_meta(o.cat, "format"), "pt");
    assert_string_equal(glmq_catalog_meta(o.cat, "glmq.scale_dtype"), "BF16");
    assert_null(glmq_catalog_meta(o.cat, "absent"));
    close_all(&o);
}

/* ---- which files are the checkpoint ---- */

#define INDEX(map) "{\"metadata\":{\"total_size\":2},\"weight_map\":{" map "}}"

static void without_an_index_all_files_are_shards(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    SHARD(&f, "b.safetensors", "x", "y");
    SHARD(&f, "a.safetensors", "z");
    folder_text(&f, "notes.txt", "no shard");
    SHARD(&f, "vq_codebooks.safetensors", "x"); /* has a role of its own */
    o = open_folder(&f);
    expect_ok(&o);
    assert_int_equal(o.cat->count, 3);
    assert_int_equal(o.cat->shard_count, 2);
    assert_int_equal(o.cat->problem_count, 0);
    assert_string_equal(home(&o, "z"), "a.safetensors");
    assert_string_equal(o.cat->arrays[0].name, "z"); /* in the order of the files */
    close_all(&o);
}

static void without_an_index_a_name_in_two_shards_is_refused(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    SHARD(&f, "a.safetensors", "x");
    SHARD(&f, "b.safetensors", "x");
    o = open_folder(&f);
    expect(&o, GLMQ_E_FORMAT, "x is there twice, in a.safetensors and in b.safetensors");
    close_all(&o);
}

static void model_safetensors_is_the_checkpoint_when_there_is_no_index(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    SHARD(&f, "consolidated.safetensors", "model.x", "lm_head.weight");
    SHARD(&f, "model.safetensors", "model.x", "lm_head.weight");
    o = open_folder(&f);
    expect_ok(&o);
    assert_int_equal(o.cat->shard_count, 1);
    assert_string_equal(home(&o, "model.x"), "model.safetensors");
    assert_string_equal(problem(&o, "file-ignored")->file, "consolidated.safetensors");
    assert_int_equal(problem(&o, "file-ignored")->severity, GLMQ_NOTE);
    close_all(&o);
}

static void an_mtp_file_that_the_index_forgot_is_taken_and_reported(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    SHARD(&f, "model-00001-of-00001.safetensors", "model.layers.0.x.weight",
          "model.layers.0.y.weight");
    SHARD(&f, "mtp.safetensors", "model.layers.1.eh_proj.weight", "model.layers.1.enorm.weight");
    folder_text(&f, "model.safetensors.index.json",
                INDEX("\"model.layers.0.x.weight\":\"model-00001-of-00001.safetensors\","
                      "\"model.layers.0.y.weight\":\"model-00001-of-00001.safetensors\""));
    o = open_folder(&f);
    expect_ok(&o);
    assert_int_equal(o.cat->count, 4);
    assert_int_equal(o.cat->shard_count, 2);
    assert_string_equal(home(&o, "model.layers.1.eh_proj.weight"), "mtp.safetensors");
    assert_int_equal(o.cat->problem_count, 1);
    assert_string_equal(problem(&o, "not-in-index")->file, "mtp.safetensors");
    assert_string_equal(problem(&o, "not-in-index")->tensor, "model.layers.1.eh_proj.weight");
    assert_int_equal(problem(&o, "not-in-index")->severity, GLMQ_WARNING);
    close_all(&o);
}

static int knows_x(void *user, const char *name, size_t len)
{
    ++*(int *)user;
    return len == 1 && name[0] == 'x';
}

static void the_caller_says_which_names_belong(void **state)
{
    int asked = 0;
    const glmq_catalog_options opt = { .known = knows_x, .user = &asked };
    folder f = folder_make();
    opened o;
    (void)state;
    SHARD(&f, "model.safetensors", "a");
    SHARD(&f, "one.safetensors", "x");
    SHARD(&f, "two.safetensors", "model.y");
    o = open_path(f.path, &opt);
    folder_remove(&f);
    expect_ok(&o);
    assert_string_equal(home(&o, "x"), "one.safetensors");
    assert_null(array(&o, "model.y"));
    assert_int_equal(asked, 2);
    assert_null(o.cat->options);
    close_all(&o);
}

static void files_that_repeat_the_weights_or_are_foreign_are_left_alone(void **state)
{
    static const char *const left[] = { "adapter.safetensors", "broken.safetensors",
                                        "decoded.safetensors", "empty.safetensors" };
    folder f = folder_make();
    opened o;
    (void)state;
    SHARD(&f, "model.safetensors", "model.q.qweight", "model.q.scales", "model.n.weight.tq_packed",
          "model.gate.weight");
    SHARD(&f, "adapter.safetensors", "base_model.lora_A.weight");
    SHARD(&f, "decoded.safetensors", "model.q.weight", "model.z.weight"); /* of q's codes */
    folder_text(&f, "broken.safetensors", "no header");
    folder_bytes(&f, "empty.safetensors", safetensors("{}", 0));
    SHARD(&f, "extra.safetensors", "model.gate.e_score_correction_bias", "model.q.bias");
    o = open_folder(&f);
    expect_ok(&o);
    assert_int_equal(o.cat->count, 6);
    assert_string_equal(home(&o, "model.gate.e_score_correction_bias"), "extra.safetensors");
    assert_int_equal(o.cat->problem_count, GLMQ_COUNT(left));
    for (size_t i = 0; i < GLMQ_COUNT(left); i++) {
        assert_string_equal(o.cat->problems[i].code, "file-ignored");
        assert_string_equal(o.cat->problems[i].file, left[i]);
    }
    assert_non_null(strstr(o.cat->problems[1].message, "not readable"));
    assert_int_equal(o.cat->problems[1].severity, GLMQ_WARNING);
    assert_non_null(strstr(o.cat->problems[2].message, "model.q.weight"));
    close_all(&o);
}

static void an_array_that_its_shards_index_lacks_is_used_and_reported(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    SHARD(&f, "a.safetensors", "x", "y", "z");
    folder_text(&f, "model.safetensors.index.json",
                INDEX("\"x\":\"a.safetensors\",\"z\":\"a.safetensors\""));
    o = open_folder(&f);
    expect_ok(&o);
    assert_non_null(array(&o, "y"));
    assert_string_equal(problem(&o, "not-in-index")->tensor, "y");
    assert_int_equal(o.cat->problem_count, 1); /* total_size counts x and z */
    close_all(&o);
}

static void the_index_decides_between_two_arrays_of_one_name(void **state)
{
    static const char *const maps[] = {
        INDEX("\"x\":\"a.safetensors\",\"y\":\"b.safetensors\""),
        INDEX("\"x\":\"b.safetensors\",\"y\":\"b.safetensors\""),
    };
    static const char *const homes[] = { "a.safetensors", "b.safetensors" };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        folder f = folder_make();
        opened o;
        SHARD(&f, "a.safetensors", "x", "w");
        SHARD(&f, "b.safetensors", "x", "y");
        folder_text(&f, "model.safetensors.index.json",
                    i ? "{\"weight_map\":{\"w\":\"a.safetensors\",\"x\":\"b.safetensors\","
                        "\"y\":\"b.safetensors\"}}"
                      : maps[i]);
        o = open_folder(&f);
        expect_ok(&o);
        assert_string_equal(home(&o, "x"), homes[i]);
        assert_string_equal(array(&o, "x")->name, "x");
        assert_non_null(problem(&o, "duplicate-array"));
        close_all(&o);
    }
}

static void a_wrong_total_size_is_a_note(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    SHARD(&f, "a.safetensors", "x", "y", "z");
    folder_text(&f, "model.safetensors.index.json",
                INDEX("\"x\":\"a.safetensors\",\"y\":\"a.safetensors\",\"z\":\"a.safetensors\""));
    o = open_folder(&f);
    expect_ok(&o);
    assert_int_equal(o.cat->problem_count, 1);
    assert_int_equal(problem(&o, "total-size")->severity, GLMQ_NOTE);
    assert_non_null(strstr(problem(&o, "total-size")->message, "is 2, its arrays take 3 bytes"));
    close_all(&o);
}

static folder truncated_download(void)
{
    folder f = folder_make();
    SHARD(&f, "a.safetensors", "x");
    folder_text(&f, "model.safetensors.index.json",
                INDEX("\"x\":\"a.safetensors\",\"y\":\"b.safetensors\""));
    return f;
}

static void a_missing_shard_is_an_error_that_names_file_and_array(void **state)
{
    const glmq_catalog_options opt = { .allow_incomplete = 1 };
    folder f = truncated_download();
    opened o = open_folder(&f);
    (void)state;
    expect(&o, GLMQ_E_FORMAT, "promises y in b.safetensors, which does not exist");
    close_all(&o);

    f = truncated_download();
    o = open_path(f.path, &opt);
    folder_remove(&f);
    expect_ok(&o);
    assert_int_equal(problem(&o, "missing-shard")->severity, GLMQ_ERROR);
    assert_string_equal(problem(&o, "missing-shard")->file, "b.safetensors");
    assert_string_equal(problem(&o, "missing-shard")->tensor, "y");
    close_all(&o);
}

static void a_shard_that_lacks_a_promised_array_is_an_error(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    SHARD(&f, "a.safetensors", "x");
    folder_text(&f, "model.safetensors.index.json",
                INDEX("\"x\":\"a.safetensors\",\"y\":\"a.safetensors\""));
    o = open_folder(&f);
    expect(&o, GLMQ_E_FORMAT, "promises y in a.safetensors, which lacks it");
    close_all(&o);
}

static void a_stale_index_is_reported_when_the_files_hold_everything(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    SHARD(&f, "model.safetensors", "x", "y"); /* merged; the index is older */
    folder_text(&f, "model.safetensors.index.json",
                INDEX("\"x\":\"model-00001-of-00002.safetensors\","
                      "\"y\":\"model-00002-of-00002.safetensors\""));
    o = open_folder(&f);
    expect_ok(&o);
    assert_int_equal(o.cat->count, 2);
    assert_int_equal(o.cat->problem_count, 1);
    assert_int_equal(problem(&o, "index-stale")->severity, GLMQ_WARNING);
    assert_non_null(strstr(problem(&o, "index-stale")->message, "2 arrays are in other files"));
    close_all(&o);

    f = folder_make(); /* one of two shards was renamed; its names are no model's, but the index's */
    SHARD(&f, "a.safetensors", "x");
    SHARD(&f, "renamed.safetensors", "y");
    folder_text(&f, "model.safetensors.index.json",
                INDEX("\"x\":\"a.safetensors\",\"y\":\"b.safetensors\""));
    o = open_folder(&f);
    expect_ok(&o);
    assert_string_equal(home(&o, "y"), "renamed.safetensors");
    assert_non_null(problem(&o, "index-stale"));
    close_all(&o);
}

static void the_index_of_another_checkpoint_in_a_turboquant_folder_is_ignored(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    SHARD(&f, "model.safetensors", "x.weight.tq_packed", "x.weight.tq_norms");
    folder_text(&f, "tq_config.json", "{}");
    folder_text(&f, "model.safetensors.index.json",
                INDEX("\"x.weight\":\"model-00001-of-00001.safetensors\""));
    o = open_folder(&f);
    expect_ok(&o);
    assert_int_equal(o.cat->count, 2);
    assert_non_null(problem(&o, "index-stale"));
    close_all(&o);
}

static void indexes_that_lead_elsewhere_or_make_no_sense_are_refused(void **state)
{
    static const struct {
        const char *index, *text;
    } bad[] = {
        { INDEX("\"x\":\"../a.safetensors\""), "no plain file name" },
        { INDEX("\"x\":\"/etc/a.safetensors\""), "no plain file name" },
        { INDEX("\"x\":\"sub/a.safetensors\""), "no plain file name" },
        { INDEX("\"x\":\"sub\\\\a.safetensors\""), "no plain file name" },
        { INDEX("\"x\":\"..safetensors\""), "no plain file name" },
        { INDEX("\"x\":\"pytorch_model.bin\""), "no .safetensors file" },
        { INDEX("\"x\":\"\""), "no .safetensors file" },
        { INDEX("\"x\":7"), "the file of x is no string" },
        { INDEX("\"x\":\"a.safetensors\",\"\\u0078\":\"a.safetensors\""), "duplicate key" },
        { "{\"weight_map\":[]}", "no weight_map" },
        { "[]", "no weight_map" },
        { "{}", "no weight_map" },
        { "", "json" },
        { "{\"weight_map\":{}} x", "json" },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(bad); i++) {
        folder f = folder_make();
        opened o;
        SHARD(&f, "a.safetensors", "x");
        folder_text(&f, "model.safetensors.index.json", bad[i].index);
        o = open_folder(&f);
        expect(&o, GLMQ_E_FORMAT, bad[i].text);
        expect(&o, GLMQ_E_FORMAT, "model.safetensors.index.json");
        close_all(&o);
    }
}

static void links_are_followed_and_dangling_ones_are_missing(void **state)
{
    folder blobs = folder_make(), f = truncated_download();
    char target[128], link[128];
    opened o;
    (void)state;
    SHARD(&blobs, "blob", "y");
    snprintf(target, sizeof target, "%s/blob", blobs.path);
    snprintf(link, sizeof link, "%s/b.safetensors", f.path);
    assert_int_equal(symlink(target, link), 0);
    o = open_path(f.path, NULL);
    expect_ok(&o);
    assert_string_equal(home(&o, "y"), "b.safetensors");
    close_all(&o);
    folder_remove(&blobs);
    o = open_folder(&f);
    expect(&o, GLMQ_E_FORMAT, "b.safetensors, which does not exist");
    close_all(&o);
}

/* ---- one file, other containers, nothing ---- */

static void a_folder_without_a_container_says_what_was_looked_for(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    folder_text(&f, "README.md", "hello");
    o = open_folder(&f);
    expect(&o, GLMQ_E_FORMAT, "no *.safetensors and no *.gguf among its 1 files");
    close_all(&o);
}

static void a_single_file_is_told_by_its_content(void **state)
{
    folder f = folder_make();
    char path[128];
    opened o;
    (void)state;
    SHARD(&f, "weights", "x");
    snprintf(path, sizeof path, "%s/weights", f.path);
    o = open_path(path, NULL);
    expect_ok(&o);
    assert_int_equal(o.cat->container, CONTAINER_SAFETENSORS);
    close_all(&o);

    folder_text(&f, "weights", "PK\3\4 and more of a zip");
    o = open_path(path, NULL);
    expect(&o, GLMQ_E_FORMAT, "neither GGUF nor safetensors");
    close_all(&o);

    folder_put(&f, "weights", "GGUF\3\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
               32);
    o = open_path(path, NULL);
    expect_ok(&o);
    assert_int_equal(o.cat->container, CONTAINER_GGUF);
    close_all(&o);
    folder_remove(&f);
}

static void a_gguf_beside_loose_safetensors_is_the_model(void **state)
{
    static const char empty[32] = "GGUF\3";
    folder f = folder_make();
    opened o;
    (void)state;
    folder_put(&f, "m.gguf", empty, sizeof empty);
    SHARD(&f, "expected.safetensors", "x");
    o = open_folder(&f);
    expect_ok(&o);
    assert_int_equal(o.cat->container, CONTAINER_GGUF);
    assert_string_equal(problem(&o, "file-ignored")->file, "expected.safetensors");
    close_all(&o);

    f = folder_make();
    folder_put(&f, "m.gguf", empty, sizeof empty);
    SHARD(&f, "model.safetensors", "x");
    o = open_folder(&f);
    expect_ok(&o);
    assert_int_equal(o.cat->container, CONTAINER_SAFETENSORS);
    assert_string_equal(problem(&o, "file-ignored")->file, "m.gguf");
    close_all(&o);
}

/* ---- config.json ---- */

static opened open_with(const char *config, const char *copy_name, const char *copy)
{
    folder f = folder_make();
    SHARD(&f, "model.safetensors", "x");
    if (config) folder_text(&f, "config.json", config);
    if (copy) folder_text(&f, copy_name, copy);
    return open_folder(&f);
}

static void keeps_config_json_as_text_and_as_tree(void **state)
{
    static const char config[] = "{ \"model_type\": \"glm4_moe\", \"eps\": 1.0 }\n";
    opened o = open_with(config, NULL, NULL);
    (void)state;
    expect_ok(&o);
    assert_string_equal(o.cat->config_text, config);
    assert_int_equal(o.cat->config_len, sizeof config - 1);
    assert_string_equal(glmq_catalog_text(o.cat, "model_type"), "glm4_moe");
    assert_null(glmq_catalog_text(o.cat, "eps"));
    assert_null(o.cat->quant);
    close_all(&o);
}

static void the_quantization_config_is_found_wherever_it_is(void **state)
{
    static const struct {
        const char *config, *name, *copy, *from;
    } places[] = {
        { "{\"quantization_config\":{\"bits\":4}}", "", NULL, "config.json" },
        { "{\"compression_config\":{\"bits\":4}}", "", NULL, "config.json" },
        { "{}", "quantize_config.json", "{\"bits\":4}", "quantize_config.json" },
        { "{\"quantization_config\":null}", "quant_config.json", "{\"bits\":4}",
          "quant_config.json" },
        { NULL, "quantization_config.json", "{\"bits\":4}", "quantization_config.json" },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(places); i++) {
        opened o = open_with(places[i].config, places[i].name, places[i].copy);
        uint64_t bits;
        expect_ok(&o);
        assert_string_equal(o.cat->quant_file, places[i].from);
        assert_true(glmq_json_u64(glmq_json_get(o.cat->quant, "bits"), &bits) && bits == 4);
        assert_int_equal(o.cat->problem_count, 0);
        close_all(&o);
    }
}

static void a_stale_copy_of_the_quantization_config_is_reported(void **state)
{
    static const char config[] =
        "{\"quantization_config\":{\"bits\":4,\"group_size\":128,\"sym\":true,"
        "\"checkpoint_format\":\"gptq\"}}";
    static const struct {
        const char *copy, *text;
    } copies[] = {
        { "{\"bits\":8}", "bits differs" },
        { "{\"w_bit\":8}", "bits differs" },
        { "{\"q_group_size\":32}", "group_size differs" },
        { "{\"sym\":false}", "sym differs" },
        { "{\"format\":\"gptq_v2\"}", "format differs" },
        { "{\"bits\":", "not readable" },
        { "[1]", "not readable" },
    };
    opened o;
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(copies); i++) {
        o = open_with(config, "quantize_config.json", copies[i].copy);
        expect_ok(&o);
        assert_string_equal(o.cat->quant_file, "config.json");
        assert_int_equal(problem(&o, "quant-config-differs")->severity, GLMQ_WARNING);
        assert_non_null(strstr(problem(&o, "quant-config-differs")->message, copies[i].text));
        close_all(&o);
    }
    o = open_with(config, "quantize_config.json",
                  "{\"bits\":4,\"sym\":true,\"desc_act\":true,\"x\":1}");
    expect_ok(&o);
    assert_int_equal(o.cat->problem_count, 0);
    close_all(&o);
}

static void refuses_a_config_that_is_none(void **state)
{
    static const struct {
        const char *config, *text;
    } bad[] = {
        { "[]", "config.json is no JSON object" },
        { "{\"a\":1,\"a\":2}", "config.json: json: duplicate key \"a\"" },
        { "{\"quantization_config\":4}", "quantization_config is no object" },
        { "\xef\xbb\xbf{}", "config.json: json" },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(bad); i++) {
        opened o = open_with(bad[i].config, NULL, NULL);
        expect(&o, GLMQ_E_FORMAT, bad[i].text);
        close_all(&o);
    }
}

/* ---- real checkpoints ---- */

static void opens_the_fixtures_without_their_test_data(void **state)
{
    static const struct {
        const char *name;
        size_t shards;
        int in_index; /* all arrays are */
    } known[] = {
        { "glm47-bf16", 4, 1 },
        { "glm47-compressed-tensors-g32", 4, 1 },
        { "glm47-compressed-tensors-g128", 1, 1 },
        { "glm47flash-bf16", 4, 1 },
        { "glm47flash-gptq-actorder", 1, 1 },
        { "glm47flash-compressed-tensors-asym-g32-layer1", 1, 1 },
        { "glm47flash-tq3", 1, 1 },
        { "glm5-bf16", 4, 1 },
        { "glm5-gptq-autoround-reap", 2, 1 },
        { "glm5-nvfp4-modelopt", 3, 1 },
        { "glm5-vq", 2, 1 },
    };
    const char *root = getenv("GLMQ_FIXTURES");
    (void)state;
    if (!root || !*root || access(root, R_OK)) {
        print_message("skipped: no fixtures\n");
        skip();
        return;
    }
    for (size_t i = 0; i < GLMQ_COUNT(known); i++) {
        char path[512];
        opened o;
        snprintf(path, sizeof path, "%s/%s", root, known[i].name);
        o = open_path(path, NULL);
        expect_ok(&o);
        if (o.cat->shard_count != known[i].shards) print_error("%s\n", known[i].name);
        assert_int_equal(o.cat->shard_count, known[i].shards);
        assert_true(o.cat->count > 20);
        if (known[i].in_index) assert_null(problem(&o, "not-in-index"));
        for (size_t a = 0; a < o.cat->count; a++) {
            const char *file = glmq_source_name(o.src, o.cat->arrays[a].file);
            assert_int_equal(strncmp(file, "model", 5) && strncmp(file, "mtp.", 4), 0);
        }
        close_all(&o);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meets_every_verdict_of_the_reference),
        cmocka_unit_test(finds_the_data_behind_the_header),
        cmocka_unit_test(refuses_a_file_cut_at_every_byte),
        cmocka_unit_test(refuses_what_exceeds_the_limits),
        cmocka_unit_test(keeps_the_metadata_of_all_shards),
        cmocka_unit_test(without_an_index_all_files_are_shards),
        cmocka_unit_test(without_an_index_a_name_in_two_shards_is_refused),
        cmocka_unit_test(model_safetensors_is_the_checkpoint_when_there_is_no_index),
        cmocka_unit_test(an_mtp_file_that_the_index_forgot_is_taken_and_reported),
        cmocka_unit_test(the_caller_says_which_names_belong),
        cmocka_unit_test(files_that_repeat_the_weights_or_are_foreign_are_left_alone),
        cmocka_unit_test(an_array_that_its_shards_index_lacks_is_used_and_reported),
        cmocka_unit_test(the_index_decides_between_two_arrays_of_one_name),
        cmocka_unit_test(a_wrong_total_size_is_a_note),
        cmocka_unit_test(a_missing_shard_is_an_error_that_names_file_and_array),
        cmocka_unit_test(a_shard_that_lacks_a_promised_array_is_an_error),
        cmocka_unit_test(a_stale_index_is_reported_when_the_files_hold_everything),
        cmocka_unit_test(the_index_of_another_checkpoint_in_a_turboquant_folder_is_ignored),
        cmocka_unit_test(indexes_that_lead_elsewhere_or_make_no_sense_are_refused),
        cmocka_unit_test(links_are_followed_and_dangling_ones_are_missing),
        cmocka_unit_test(a_folder_without_a_container_says_what_was_looked_for),
        cmocka_unit_test(a_single_file_is_told_by_its_content),
        cmocka_unit_test(a_gguf_beside_loose_safetensors_is_the_model),
        cmocka_unit_test(keeps_config_json_as_text_and_as_tree),
        cmocka_unit_test(the_quantization_config_is_found_wherever_it_is),
        cmocka_unit_test(a_stale_copy_of_the_quantization_config_is_reported),
        cmocka_unit_test(refuses_a_config_that_is_none),
        cmocka_unit_test(opens_the_fixtures_without_their_test_data),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
