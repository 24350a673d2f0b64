/* The GGUF container: the vector of the specification, one file per defect with its legal
 * twins (gguf_defects.h), split models, typed access to key-values. */
#include "gguf_defects.h"
#include "base/safe.h"
#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static opened open_bytes(bytes b)
{
    folder f = folder_make();
    char path[128];
    opened o;
    folder_bytes(&f, "x.gguf", b);
    snprintf(path, sizeof path, "%s/x.gguf", f.path);
    o = open_path(path, NULL);
    folder_remove(&f);
    return o;
}

static const glmq_array *array(const opened *o, const char *name)
{
    return glmq_catalog_find(o->cat, name, strlen(name));
}

/* Specification, section 7: F32 {1.0, -2.0} called t. */
static const uint8_t minimal[160] = {
    0x47, 0x47, 0x55, 0x46, 0x03, 0,    0,    0,    0x01, 0,    0,    0,    0,    0,    0,    0,
    0x01, 0,    0,    0,    0,    0,    0,    0,    0x14, 0,    0,    0,    0,    0,    0,    0,
    0x67, 0x65, 0x6e, 0x65, 0x72, 0x61, 0x6c, 0x2e, 0x61, 0x72, 0x63, 0x68, 0x69, 0x74, 0x65, 0x63,
    0x74, 0x75, 0x72, 0x65, 0x08, 0,    0,    0,    0x01, 0,    0,    0,    0,    0,    0,    0,
    0x78, 0x01, 0,    0,    0,    0,    0,    0,    0,    0x74, 0x01, 0,    0,    0,    0x02, 0,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
    0x00, 0x00, 0x80, 0x3f, 0x00, 0x00, 0x00, 0xc0,
};

static bytes minimal_file(size_t len)
{
    bytes b = { 0 };
    put(&b, minimal, len);
    return b;
}

static void reads_the_vector_of_the_specification(void **state)
{
    opened o = open_bytes(minimal_file(sizeof minimal));
    const glmq_array *t;
    const char *s;
    size_t len;
    uint8_t raw[8];
    (void)state;
    assert_int_equal(o.status, GLMQ_OK);
    assert_int_equal(o.cat->container, CONTAINER_GGUF);
    assert_int_equal(o.cat->count, 1);
    t = array(&o, "t");
    assert_non_null(t);
    assert_int_equal(t->dtype, GLMQ_DT_F32);
    assert_int_equal(t->rank, 1);
    assert_int_equal(t->dims[0], 2);
    assert_int_equal(t->offset, 128);
    assert_int_equal(t->bytes, 8);
    assert_int_equal(glmq_gguf_string(o.cat->gguf, "general.architecture", &s, &len), 1);
    assert_int_equal(len, 1);
    assert_memory_equal(s, "x", 1);
    assert_int_equal(o.cat->gguf->alignment, 32);
    (void)raw;
    close_all(&o);
}

static void accepts_the_vector_without_its_last_padding(void **state)
{
    opened o = open_bytes(minimal_file(136));
    (void)state;
    assert_int_equal(o.status, GLMQ_OK);
    close_all(&o);
}

static void refuses_the_vector_cut_at_every_byte(void **state)
{
    (void)state;
    for (size_t len = 0; len < 136; len++) {
        opened o = open_bytes(minimal_file(len));
        assert_int_equal(o.status, GLMQ_E_FORMAT);
        assert_null(o.cat);
        assert_non_null(strstr(o.err.msg, "x.gguf"));
        close_all(&o);
    }
}

static void refuses_a_richer_file_cut_at_every_byte(void **state)
{
    bytes whole = gguf_with(FINE);
    (void)state;
    /* the last array is 68 bytes and its padding 28 */
    for (size_t len = 0; len < whole.len - 28; len++) {
        bytes cut = { 0 };
        opened o;
        put(&cut, whole.data, len);
        o = open_bytes(cut);
        assert_int_equal(o.status, GLMQ_E_FORMAT);
        close_all(&o);
    }
    free(whole.data);
}

static void judges_every_defect(void **state)
{
    (void)state;
    for (int d = 0; d < DEFECT_COUNT; d++) {
        opened o = open_bytes(gguf_with((defect)d));
        if (o.status != defects[d].status) print_error("%s: %s\n", defects[d].word, o.err.msg);
        assert_int_equal(o.status, defects[d].status);
        if (o.status) {
            if (!strstr(o.err.msg, defects[d].text))
                print_error("%s: %s\n", defects[d].word, o.err.msg);
            assert_non_null(strstr(o.err.msg, defects[d].text));
            assert_null(o.cat);
        } else if (defects[d].text) {
            assert_non_null(problem(&o, defects[d].text));
        } else {
            assert_int_equal(o.cat->problem_count, 0);
        }
        close_all(&o);
    }
}

static void gives_shapes_as_pytorch_counts_them(void **state)
{
    opened o = open_bytes(gguf_with(FINE));
    const glmq_array *two, *three;
    (void)state;
    assert_int_equal(o.status, GLMQ_OK);
    two = array(&o, "two"); /* ne {3, 6, 1}: [6, 3] */
    assert_int_equal(two->rank, 2);
    assert_int_equal(two->dims[0], 6);
    assert_int_equal(two->dims[1], 3);
    assert_int_equal(two->dtype, GLMQ_DT_F16);
    three = array(&o, "three");
    assert_int_equal(three->rank, 2);
    assert_int_equal(three->dims[0], 2);
    assert_int_equal(three->dims[1], 32);
    assert_int_equal(three->dtype, GLMQ_DT_Q8_0);
    assert_int_equal(three->bytes, 68);
    close_all(&o);

    o = open_bytes(gguf_with(FINE_NO_DIMS));
    assert_int_equal(array(&o, "one")->rank, 1);
    assert_int_equal(array(&o, "one")->dims[0], 1);
    close_all(&o);
}

static void orders_arrays_by_their_place(void **state)
{
    opened o = open_bytes(gguf_with(FINE_REORDERED));
    (void)state;
    assert_string_equal(o.cat->arrays[0].name, "two");
    assert_string_equal(o.cat->arrays[1].name, "one");
    assert_string_equal(o.cat->arrays[2].name, "three");
    assert_ptr_equal(array(&o, "one"), &o.cat->arrays[1]);
    close_all(&o);
}

static void finds_the_data_at_other_alignments(void **state)
{
    opened o = open_bytes(gguf_with(FINE_ALIGNMENT_64));
    const uint64_t one = array(&o, "one")->offset;
    (void)state;
    assert_int_equal(o.cat->gguf->alignment, 64);
    assert_int_equal(one % 64, 0);
    assert_int_equal(array(&o, "two")->offset, one + 64);
    assert_int_equal(array(&o, "three")->offset, one + 128);
    close_all(&o);
    o = open_bytes(gguf_with(FINE_ALIGNMENT_1));
    assert_int_equal(array(&o, "three")->offset, array(&o, "one")->offset + 44);
    close_all(&o);
}

/* ---- typed access ---- */

static void put_every_type(bytes *b)
{
    put_key(b, "u8", GGUF_U8), put(b, "\xff", 1);
    put_key(b, "i8", GGUF_I8), put(b, "\xff", 1);
    put_key(b, "u16", GGUF_U16), put(b, "\xff\xff", 2);
    put_key(b, "i16", GGUF_I16), put(b, "\xfe\xff", 2);
    put_key(b, "u32", GGUF_U32), put_u32(b, UINT32_MAX);
    put_key(b, "i32", GGUF_I32), put_u32(b, 5);
    put_key(b, "f32", GGUF_F32), put_u32(b, 0x3727c5ac); /* 1e-5f */
    put_key(b, "bool", GGUF_BOOL), put(b, "\1", 1);
    put_key(b, "u64", GGUF_U64), put_u64(b, UINT64_MAX);
    put_key(b, "i64", GGUF_I64), put_u64(b, 1 << 30);
    put_key(b, "f64", GGUF_F64), put_u64(b, UINT64_C(0x3ff8000000000000)); /* 1.5 */
}

static opened open_every_type(void)
{
    bytes b = { 0 };
    put(&b, "GGUF", 4);
    put_u32(&b, 3);
    put_u64(&b, 0);
    put_u64(&b, 11);
    put_every_type(&b);
    put_zeros(&b, (size_t)(pad_to(b.len, 32) - b.len));
    return open_bytes(b);
}

static void integers_come_from_any_type_that_fits(void **state)
{
    opened o = open_every_type();
    const glmq_gguf *g = o.cat->gguf;
    uint64_t v;
    (void)state;
    assert_true(glmq_gguf_u64(g, "u8", &v) && v == 255);
    assert_true(glmq_gguf_u64(g, "u16", &v) && v == 65535);
    assert_true(glmq_gguf_u64(g, "u32", &v) && v == UINT32_MAX);
    assert_true(glmq_gguf_u64(g, "i32", &v) && v == 5);
    assert_true(glmq_gguf_u64(g, "u64", &v) && v == UINT64_MAX);
    assert_true(glmq_gguf_u64(g, "i64", &v) && v == 1 << 30);
    assert_false(glmq_gguf_u64(g, "i8", &v));  /* -1 */
    assert_false(glmq_gguf_u64(g, "i16", &v)); /* -2 */
    assert_false(glmq_gguf_u64(g, "f32", &v));
    assert_false(glmq_gguf_u64(g, "bool", &v));
    assert_false(glmq_gguf_u64(g, "absent", &v));
    close_all(&o);
}

static void reals_flags_and_items_have_their_types(void **state)
{
    opened o = open_every_type();
    const glmq_gguf *g = o.cat->gguf;
    double d;
    int flag;
    int64_t i;
    (void)state;
    assert_true(glmq_gguf_f64(g, "f32", &d) && d == (double)1e-5f);
    assert_true(glmq_gguf_f64(g, "f64", &d) && d == 1.5);
    assert_false(glmq_gguf_f64(g, "u32", &d));
    assert_true(glmq_gguf_bool(g, "bool", &flag) && flag == 1);
    assert_true(glmq_gguf_bool(g, "u8", &flag) && flag == 1);
    assert_false(glmq_gguf_bool(g, "u32", &flag));
    assert_true(glmq_gguf_item_i64(glmq_gguf_get(g, "i8"), 0, &i) && i == -1);
    assert_true(glmq_gguf_item_i64(glmq_gguf_get(g, "i16"), 0, &i) && i == -2);
    assert_false(glmq_gguf_item_i64(glmq_gguf_get(g, "i16"), 1, &i));
    assert_false(glmq_gguf_item_i64(glmq_gguf_get(g, "u64"), 0, &i)); /* does not fit */
    close_all(&o);
}

static void walks_arrays(void **state)
{
    opened o = open_bytes(gguf_with(FINE));
    const glmq_gguf_value *words = glmq_gguf_get(o.cat->gguf, "x.words");
    const glmq_gguf_value *numbers = glmq_gguf_get(o.cat->gguf, "x.numbers");
    const char *s;
    size_t len;
    uint64_t at = 0;
    int64_t i;
    (void)state;
    assert_int_equal(words->count, 2);
    assert_true(glmq_gguf_next_string(words, &at, &s, &len));
    assert_int_equal(len, 5);
    assert_memory_equal(s, "first", 5);
    assert_true(glmq_gguf_next_string(words, &at, &s, &len));
    assert_int_equal(len, 0);
    assert_false(glmq_gguf_next_string(words, &at, &s, &len));
    at = 0;
    assert_false(glmq_gguf_next_string(numbers, &at, &s, &len));
    assert_true(glmq_gguf_item_i64(numbers, 1, &i) && i == -2);
    assert_false(glmq_gguf_item_i64(numbers, 3, &i));
    assert_false(glmq_gguf_string(o.cat->gguf, "x.words", &s, &len));
    close_all(&o);
}

static void reads_headers_longer_than_one_piece(void **state)
{
    enum { WORDS = 150000 };
    bytes b = { 0 };
    opened o;
    const glmq_gguf_value *words;
    const char *s;
    char expected[32];
    size_t len;
    uint64_t at = 0;
    (void)state;
    put(&b, "GGUF", 4);
    put_u32(&b, 3);
    put_u64(&b, 0);
    put_u64(&b, 2);
    put_array_head(&b, "tokenizer.ggml.tokens", GGUF_STRING, WORDS);
    for (int i = 0; i < WORDS; i++) {
        snprintf(expected, sizeof expected, "token number %d", i);
        put_string(&b, expected);
    }
    put_key_u32(&b, "last", 1);
    put_zeros(&b, (size_t)(pad_to(b.len, 32) - b.len));
    assert_true(b.len > 3u << 20);
    o = open_bytes(b);
    assert_int_equal(o.status, GLMQ_OK);
    words = glmq_gguf_get(o.cat->gguf, "tokenizer.ggml.tokens");
    for (int i = 0; i < WORDS; i++) {
        assert_true(glmq_gguf_next_string(words, &at, &s, &len));
        snprintf(expected, sizeof expected, "token number %d", i);
        if (len != strlen(expected) || memcmp(s, expected, len)) fail_msg("word %d", i);
    }
    assert_non_null(glmq_gguf_get(o.cat->gguf, "last"));
    close_all(&o);
}

/* ---- split models ---- */

/* A part: split.no, split.count, split.tensors.count; one F32 {1} array called `name`. */
static bytes part_file(uint16_t no, uint16_t count, int32_t total, const char *name)
{
    bytes b = { 0 };
    put(&b, "GGUF", 4);
    put_u32(&b, 3);
    put_u64(&b, name ? 1 : 0);
    put_u64(&b, 3);
    put_key(&b, "split.no", GGUF_U16);
    put(&b, &no, 2);
    put_key(&b, "split.count", GGUF_U16);
    put(&b, &count, 2);
    put_key(&b, "split.tensors.count", GGUF_I32);
    put(&b, &total, 4);
    if (name) {
        put_string(&b, name);
        put_u32(&b, 1);
        put_u64(&b, 1);
        put_u32(&b, 0);
        put_u64(&b, 0);
    }
    put_zeros(&b, (size_t)(pad_to(b.len, 32) - b.len));
    if (name) put_zeros(&b, 32);
    return b;
}

static void reads_all_parts_from_any_of_them(void **state)
{
    static const char *const from[] = { "", "/m-00001-of-00003.gguf", "/m-00003-of-00003.gguf" };
    folder f = folder_make();
    (void)state;
    folder_bytes(&f, "m-00001-of-00003.gguf", part_file(0, 3, 2, NULL));
    folder_bytes(&f, "m-00002-of-00003.gguf", part_file(1, 3, 2, "a"));
    folder_bytes(&f, "m-00003-of-00003.gguf", part_file(2, 3, 99, "b")); /* stale total */
    for (size_t i = 0; i < 3; i++) {
        char path[128];
        opened o;
        snprintf(path, sizeof path, "%s%s", f.path, from[i]);
        o = open_path(path, NULL);
        assert_int_equal(o.status, GLMQ_OK);
        assert_int_equal(o.cat->count, 2);
        assert_int_equal(o.cat->shard_count, 3);
        assert_int_equal(array(&o, "a")->file, 1);
        assert_int_equal(array(&o, "b")->file, 2);
        close_all(&o);
    }
    folder_remove(&f);
}

static void split_count_of_one_or_none_is_a_single_file(void **state)
{
    (void)state;
    for (uint16_t count = 0; count < 2; count++) {
        opened o = open_bytes(part_file(0, count, 1, "a"));
        assert_int_equal(o.status, GLMQ_OK);
        assert_int_equal(o.cat->count, 1);
        close_all(&o);
    }
}

typedef struct made_part {
    const char *file;
    uint16_t no, count;
    int32_t total;
    const char *array;
} made_part;

static void refused_with(const made_part *parts, size_t n, const char *text)
{
    folder f = folder_make();
    opened o;
    for (size_t i = 0; i < n; i++)
        folder_bytes(&f, parts[i].file,
                     part_file(parts[i].no, parts[i].count, parts[i].total, parts[i].array));
    o = open_folder(&f);
    if (o.status && !strstr(o.err.msg, text)) print_error("%s\n", o.err.msg);
    assert_int_equal(o.status, GLMQ_E_FORMAT);
    assert_non_null(strstr(o.err.msg, text));
    close_all(&o);
}
#define REFUSED(text, ...)                                                                         \
    refused_with((const made_part[]){ __VA_ARGS__ },                                               \
                 sizeof((const made_part[]){ __VA_ARGS__ }) / sizeof(made_part), text)

static void refuses_parts_that_do_not_belong_together(void **state)
{
    (void)state;
    REFUSED("m-00002-of-00002.gguf is missing", { "m-00001-of-00002.gguf", 0, 2, 2, "a" });
    REFUSED("opened by its first part", { "m-00002-of-00002.gguf", 1, 2, 2, "b" });
    REFUSED("must be called", { "m.gguf", 0, 2, 2, "a" });
    REFUSED("m-00002-of-00003.gguf is missing", { "m-00001-of-00003.gguf", 0, 3, 2, "a" },
            { "m-00003-of-00003.gguf", 2, 3, 2, "b" });
    REFUSED("split.no is 5, expected 1", { "m-00001-of-00002.gguf", 0, 2, 2, "a" },
            { "m-00002-of-00002.gguf", 5, 2, 2, "b" });
    REFUSED("split.tensors.count is 3, the parts hold 2", { "m-00001-of-00002.gguf", 0, 2, 3, "a" },
            { "m-00002-of-00002.gguf", 1, 2, 3, "b" });
    REFUSED("array a is there twice", { "m-00001-of-00002.gguf", 0, 2, 2, "a" },
            { "m-00002-of-00002.gguf", 1, 2, 2, "a" });
    REFUSED("must be called", { "m-00001-of-00002.gguf", 0, 3, 2, "a" },
            { "m-00002-of-00002.gguf", 1, 3, 2, "b" });
    REFUSED("split.count says one file", { "m-00001-of-00002.gguf", 0, 0, 2, "a" },
            { "m-00002-of-00002.gguf", 1, 0, 2, "b" });
    REFUSED("more than one GGUF model", { "m.gguf", 0, 0, 1, "a" }, { "n.gguf", 0, 0, 1, "a" });
    REFUSED("more than one GGUF model", { "m-00001-of-00002.gguf", 0, 2, 2, "a" },
            { "n-00002-of-00002.gguf", 1, 2, 2, "b" });
    REFUSED("is missing (split.count is 65535", { "m-00001-of-65535.gguf", 0, 65535, 2, "a" });
}

static void a_missing_part_can_be_allowed(void **state)
{
    const glmq_catalog_options opt = { .allow_incomplete = 1 };
    folder f = folder_make();
    opened o;
    (void)state;
    folder_bytes(&f, "m-00001-of-00003.gguf", part_file(0, 3, 3, "a"));
    folder_bytes(&f, "m-00003-of-00003.gguf", part_file(2, 3, 3, "c"));
    o = open_path(f.path, &opt);
    folder_remove(&f);
    assert_int_equal(o.status, GLMQ_OK);
    assert_int_equal(o.cat->count, 2);
    assert_non_null(problem(&o, "missing-shard"));
    assert_int_equal(problem(&o, "missing-shard")->severity, GLMQ_ERROR);
    close_all(&o);
}

/* ---- real files ---- */

static const char *fixtures(void)
{
    const char *path = getenv("GLMQ_FIXTURES");
    if (path && *path && access(path, R_OK) == 0) return path;
    print_message("skipped: no fixtures\n");
    skip();
    return NULL;
}

/* expected.json: every array with its file, type, ne, absolute offset and bytes. */
static void compare_expected(const char *name, size_t shards)
{
    char path[512];
    opened o;
    char *text;
    size_t len, n = 0;
    glmq_error err;
    cJSON *expected;
    snprintf(path, sizeof path, "%s/%s", fixtures(), name);
    o = open_path(path, NULL);
    if (o.status) print_error("%s\n", o.err.msg);
    assert_int_equal(o.status, GLMQ_OK);
    assert_int_equal(o.cat->container, CONTAINER_GGUF);
    assert_int_equal(o.cat->shard_count, shards);
    assert_int_equal(glmq_catalog_side_file(o.src, "expected.json", &text, &len, &err), GLMQ_OK);
    expected = cJSON_ParseWithLength(text, len);
    for (const cJSON *e = expected->child; e; e = e->next) {
        const glmq_array *a;
        const cJSON *ne = glmq_json_get(e, "ne");
        uint64_t v, elements = 1;
        if (!cJSON_IsObject(e) || !ne) continue;
        n++;
        a = array(&o, e->string);
        assert_non_null(a);
        assert_string_equal(glmq_source_name(o.src, a->file), glmq_json_string(e, "file"));
        assert_true(glmq_json_u64(glmq_json_get(e, "offset"), &v) && v == a->offset);
        assert_true(glmq_json_u64(glmq_json_get(e, "nbytes"), &v) && v == a->bytes);
        for (const cJSON *d = ne->child; d; d = d->next)
            if (glmq_json_u64(d, &v)) elements *= v;
        assert_true(glmq_json_u64(ne->child, &v) && v == a->dims[a->rank - 1]);
        for (int d = 0; d < a->rank; d++) assert_int_equal(elements % a->dims[d], 0);
        for (int d = 0; d < a->rank; d++) elements /= a->dims[d];
        assert_int_equal(elements, 1);
    }
    assert_true(n > 0);
    assert_int_equal(n, o.cat->count);
    cJSON_Delete(expected);
    free(text);
    close_all(&o);
}

static void finds_every_array_of_real_files(void **state)
{
    (void)state;
    compare_expected("glm47-gguf-q4_k_m-split", 3);
    compare_expected("glm47-gguf-q8_0", 1);
    compare_expected("glm5-gguf-q4_k_m", 1);
    compare_expected("glm47flash-gguf-q4_k_m", 1);
}

/* With a folder as argument: writes every made file there, as seeds for the fuzzer. */
static int write_seeds(const char *path)
{
    folder f = { 0 };
    snprintf(f.path, sizeof f.path, "%s", path);
    for (int d = 0; d < DEFECT_COUNT; d++) folder_bytes(&f, defects[d].word, gguf_with((defect)d));
    folder_bytes(&f, "minimal", minimal_file(sizeof minimal));
    folder_bytes(&f, "part", part_file(0, 2, 2, "a"));
    return 0;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_vector_of_the_specification),
        cmocka_unit_test(accepts_the_vector_without_its_last_padding),
        cmocka_unit_test(refuses_the_vector_cut_at_every_byte),
        cmocka_unit_test(refuses_a_richer_file_cut_at_every_byte),
        cmocka_unit_test(judges_every_defect),
        cmocka_unit_test(gives_shapes_as_pytorch_counts_them),
        cmocka_unit_test(orders_arrays_by_their_place),
        cmocka_unit_test(finds_the_data_at_other_alignments),
        cmocka_unit_test(integers_come_from_any_type_that_fits),
        cmocka_unit_test(reals_flags_and_items_have_their_types),
        cmocka_unit_test(walks_arrays),
        cmocka_unit_test(reads_headers_longer_than_one_piece),
        cmocka_unit_test(reads_all_parts_from_any_of_them),
        cmocka_unit_test(split_count_of_one_or_none_is_a_single_file),
        cmocka_unit_test(refuses_parts_that_do_not_belong_together),
        cmocka_unit_test(a_missing_part_can_be_allowed),
        cmocka_unit_test(finds_every_array_of_real_files),
    };
    if (argc == 2) return write_seeds(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
