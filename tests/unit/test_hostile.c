/* Files that were made to hurt.  The classes, and where each is tested; "here" is this file.
 *
 *   class                                       safetensors and its JSON       GGUF
 *   a  count or length beyond the file          verdicts (header_len_*)        BAD_*_HUGE, _BEYOND, _NEGATIVE
 *   b  product or sum wraps                     verdicts (shape_*overflow)     BAD_*_WRAPS, BAD_DIMS_*, BAD_BYTES_WRAP
 *   c  too many dimensions                      test_safetensors (limits)      BAD_DIMS_5, BAD_DIMS_HUGE
 *   d  dimension zero or negative               verdicts (zero_dim, negative)  FINE_ZERO_DIM, BAD_DIM_NEGATIVE
 *   e  offset astray, overlap, gap              verdicts (hole, overlap, …)    BAD_OFFSET_*, BAD_OVERLAP, FINE_GAP
 *   f  duplicate key or name, escapes too       verdicts (dup_*), here         BAD_KEY_TWICE*, BAD_NAME_TWICE
 *   g  type unknown or removed                  verdicts (unknown_dtype)       BAD_TYPE_*
 *   h  bad UTF-8, NUL, ESC, paths, links        verdicts, here, indexes in     BAD_NAME_WITH_NUL,
 *                                               test_safetensors               FINE_STRING_NOT_UTF8, here
 *   i  JSON depth, size, numbers                here, test_json                -
 *   j  counts used as indexes                   layers, experts: test_graph;   split numbers: test_gguf_container;
 *                                               g_idx: test_readers            layers: test_hparams_gguf
 *   k  companion of the wrong shape             test_readers                   -
 *   l  cut at every byte                        test_safetensors               test_gguf_container
 *   m  changes or shrinks while it is open      here                           here
 *   n  sparse and huge files                    here                           here
 *   o  output onto input                        test_run, test_plan            the same
 *   p  more than 2^31 elements                  here (offsets, 64 bits)        here
 *
 * verdicts: tests/data/safetensors-cases.  FINE_ and BAD_ words: gguf_defects.h. */
#include "gguf_defects.h"
#include "base/mem.h"
#include <setjmp.h>
#include <stdarg.h>
#include <sys/resource.h>
#include <cmocka.h>

static opened open_header(const char *header, size_t data)
{
    folder f = folder_make();
    folder_bytes(&f, "x.safetensors", safetensors(header, data));
    return open_folder(&f);
}

static void refused(const char *header, size_t data, const char *text)
{
    opened o = open_header(header, data);
    if (!o.status || !strstr(o.err.msg, text)) print_error("%s\n-> %s\n", header, o.err.msg);
    assert_int_equal(o.status, GLMQ_E_FORMAT);
    assert_non_null(strstr(o.err.msg, text));
    close_all(&o);
}

/* ---- f ---- */

static void names_that_differ_only_in_escapes_are_the_same(void **state)
{
    (void)state;
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
            "\"\\u0061\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
            2, "duplicate key \"a\"");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],"
            "\"data_off\\u0073ets\":[0,1]}}",
            1, "duplicate key \"data_offsets\"");
    refused("{\"__metadata__\":{},\"__metadata_\\u005f\":{}}", 0, "duplicate key \"__metadata__\"");
}

/* ---- h ---- */

static void names_with_a_nul_are_refused(void **state)
{
    (void)state;
    refused("{\"a\\u0000b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1,
            "\\u0000");
}

static int is_clean(const char *s)
{
    for (; *s; s++)
        if ((unsigned char)*s < 0x20 || *s == 0x7f) return 0;
    return 1;
}

static void messages_carry_no_control_characters(void **state)
{
    static const char esc[] = "{\"\\u001b[31mred\\nline\":{\"dtype\":\"U8\",\"shape\":[2],"
                              "\"data_offsets\":[0,1]}}";
    opened o = open_header(esc, 1);
    folder f;
    (void)state;
    assert_int_equal(o.status, GLMQ_E_FORMAT);
    assert_true(is_clean(o.err.msg));
    assert_non_null(strstr(o.err.msg, "\\x1b[31mred\\x0aline"));
    close_all(&o);

    f = folder_make(); /* the same in a problem */
    SHARD(&f, "model.safetensors", "x");
    SHARD(&f, "other.safetensors", "\\u001b[31mred");
    o = open_folder(&f);
    assert_int_equal(o.status, GLMQ_OK);
    assert_true(is_clean(problem(&o, "file-ignored")->message));
    assert_non_null(strstr(problem(&o, "file-ignored")->message, "\\x1b[31mred"));
    close_all(&o);
}

/* A GGUF of one F32 {2} array, under any name. */
static bytes gguf_named(const char *name, size_t len, uint64_t elements, uint64_t offset)
{
    bytes b = { 0 };
    put(&b, "GGUF", 4);
    put_u32(&b, 3);
    put_u64(&b, 1);
    put_u64(&b, 0);
    put_u64(&b, len);
    put(&b, name, len);
    put_u32(&b, 1);
    put_u64(&b, elements);
    put_u32(&b, 0);
    put_u64(&b, offset);
    put_zeros(&b, (size_t)(pad_to(b.len, 32) - b.len));
    return b;
}

static void gguf_names_are_escaped_in_messages(void **state)
{
    folder f = folder_make();
    opened o;
    (void)state;
    folder_bytes(&f, "x.gguf", gguf_named("\x1b]0;title\x07\xff", 11, 2, 1));
    o = open_folder(&f);
    assert_int_equal(o.status, GLMQ_E_FORMAT);
    assert_true(is_clean(o.err.msg));
    assert_non_null(strstr(o.err.msg, "\\x1b]0;title\\x07\\xff: offset 1"));
    close_all(&o);
}

/* ---- i ---- */

static void numbers_must_be_plain_whole_ones(void **state)
{
    static const char *const bad[] = {
        "1.0",  "1e0",  "1E+0",  "-0", "-1", "9007199254740993", "18446744073709551616",
        "true", "null", "\"1\"", "[1]"
    };
    char header[256];
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        snprintf(header, sizeof header,
                 "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,%s]}}", bad[i]);
        refused(header, 1, "data_offsets are no whole numbers");
        snprintf(header, sizeof header,
                 "{\"a\":{\"dtype\":\"U8\",\"shape\":[%s],\"data_offsets\":[0,1]}}", bad[i]);
        refused(header, 1, "dimension 0 is no whole number");
    }
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[01],\"data_offsets\":[0,1]}}", 1,
            "malformed number");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[NaN],\"data_offsets\":[0,1]}}", 1, "json");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[+1],\"data_offsets\":[0,1]}}", 1, "json");
}

static char *repeat(const char *before, char c, size_t n, const char *after)
{
    char *text = malloc(strlen(before) + n + strlen(after) + 1);
    if (!text) abort();
    strcpy(text, before);
    memset(text + strlen(before), c, n);
    strcpy(text + strlen(before) + n, after);
    return text;
}

static void deep_and_long_json_is_refused_quickly(void **state)
{
    char *deep = repeat("{\"a\":", '[', 100000, "");
    char *digits =
        repeat("{\"a\":{\"dtype\":\"U8\",\"shape\":[", '1', 100000, "],\"data_offsets\":[0,1]}}");
    (void)state;
    refused(deep, 0, "json: depth 65");
    refused(digits, 1, "json: number of more than 63 characters");
    free(deep);
    free(digits);
}

static long peak_kib(void)
{
    struct rusage r;
    getrusage(RUSAGE_SELF, &r);
    return r.ru_maxrss;
}

/* A tree of this would take 2.4 GB. */
static void a_header_of_millions_of_numbers_costs_no_more_than_its_text(void **state)
{
    enum { NUMBERS = 30000000 };
    static const char before[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[1";
    const size_t len = sizeof before - 1;
    const long peak = peak_kib();
    char *text = malloc(len + 2 * (size_t)NUMBERS + 64);
    (void)state;
    if (!text) abort();
    memcpy(text, before, len);
    for (size_t i = 0; i < NUMBERS; i++) memcpy(text + len + 2 * i, ",1", 2);
    strcpy(text + len + 2 * (size_t)NUMBERS, "],\"data_offsets\":[0,1]}}");
    {
        opened o = open_header(text, 1);
        assert_int_equal(o.status, GLMQ_E_LIMIT);
        assert_non_null(strstr(o.err.msg, "a: more than 32 dimensions"));
        close_all(&o);
    }
    free(text);
    assert_true(peak_kib() - peak < 600 * 1024); /* the text, its file's copy, sanitizers */
}

static void a_config_of_too_many_values_is_refused_before_its_tree_is_built(void **state)
{
    enum { NUMBERS = 8000000 };
    char *text = malloc(2 * (size_t)NUMBERS + 64);
    folder f = folder_make();
    opened o;
    (void)state;
    if (!text) abort();
    strcpy(text, "{\"a\":[1");
    for (size_t i = 0; i < NUMBERS; i++) memcpy(text + 7 + 2 * i, ",1", 2);
    strcpy(text + 7 + 2 * (size_t)NUMBERS, "]}");
    folder_text(&f, "config.json", text);
    free(text);
    SHARD(&f, "model.safetensors", "x");
    o = open_folder(&f);
    assert_int_equal(o.status, GLMQ_E_LIMIT);
    assert_non_null(strstr(o.err.msg, "config.json: json: 8000003 values, at most 8000000"));
    close_all(&o);
}

static void members_of_the_wrong_kind_are_refused(void **state)
{
    (void)state;
    refused("{\"a\":[]}", 0, "a: is no object");
    refused("{\"a\":null}", 0, "a: is no object");
    refused("{\"a\":{\"dtype\":1,\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "a: no dtype");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":{},\"data_offsets\":[0,1]}}", 1, "a: no shape");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":{}}}", 1, "no data_offsets");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[]}}", 1, "not two numbers");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, "not two numbers");
    refused("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", 1, "a: no data_offsets");
    refused("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, "a: no shape");
    refused("{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "a: no dtype");
    refused("\"text\"", 0, "no JSON object");
    refused("null", 0, "no JSON object");
    refused("{} {}", 0, "trailing text");
    refused("\xef\xbb\xbf{}", 0, "json");
}

/* ---- m ---- */

static void shrinks(const char *name, bytes b)
{
    folder f = folder_make();
    char path[128];
    glmq_source *src;
    glmq_catalog *cat;
    glmq_error err;
    folder_bytes(&f, name, b);
    snprintf(path, sizeof path, "%s/%s", f.path, name);
    assert_int_equal(glmq_source_open(&src, f.path, NULL, &err), GLMQ_OK);
    assert_int_equal(truncate(path, 9), 0);
    assert_int_equal(glmq_catalog_open(&cat, src, NULL, &err), GLMQ_E_IO);
    assert_null(cat);
    assert_non_null(strstr(err.msg, name));
    glmq_source_close(src);
    folder_remove(&f);
}

static void a_file_that_shrinks_is_an_io_error(void **state)
{
    (void)state;
    shrinks("x.safetensors",
            safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1));
    shrinks("x.gguf", gguf_with(FINE));
}

/* ---- memory and reads that fail, one call after the other ---- */

/* Opens the path with the n-th fallible call failing, for every n.  Returns how many. */
static long fail_each_call(const char *path)
{
    glmq_source *src = NULL;
    for (long n = 1;; n++) {
        glmq_catalog *cat = NULL;
        glmq_error err = { 0 };
        glmq_status st;
        assert_int_equal(glmq_source_open(&src, path, NULL, NULL), GLMQ_OK);
        glmq_fail_alloc_at(n);
        st = glmq_catalog_open(&cat, src, NULL, &err);
        glmq_fail_alloc_at(0);
        glmq_catalog_close(cat);
        glmq_source_close(src);
        if (!st) return n;
        assert_null(cat);
        assert_true(st == GLMQ_E_NOMEM || st == GLMQ_E_IO);
        assert_true(err.status == st && err.msg[0]);
    }
}

static void every_call_that_fails_is_an_error_and_leaks_nothing(void **state)
{
    folder f = folder_make();
    (void)state;
    SHARD(&f, "a.safetensors", "x", "y");
    SHARD(&f, "b.safetensors", "x", "z");
    SHARD(&f, "mtp.safetensors", "model.m.weight");
    SHARD(&f, "other.safetensors", "x");
    folder_text(&f, "broken.safetensors", "no header");
    folder_bytes(&f, "meta.safetensors", safetensors("{\"__metadata__\":{\"a\":\"b\"}}", 0));
    folder_text(&f, "config.json", "{\"quantization_config\":{\"bits\":4}}");
    folder_text(&f, "quantize_config.json", "{\"bits\":8}");
    folder_text(&f, "model.safetensors.index.json",
                "{\"metadata\":{\"total_size\":9},\"weight_map\":{\"x\":\"a.safetensors\","
                "\"z\":\"b.safetensors\"}}");
    assert_true(fail_each_call(f.path) > 30);
    folder_remove(&f);

    f = folder_make();
    folder_bytes(&f, "m.gguf", gguf_with(FINE_GAP));
    assert_true(fail_each_call(f.path) > 8);
    folder_remove(&f);
}

/* ---- n, p ---- */

/* A sparse file: `b`, then nothing up to `size`. */
static opened open_sparse(const char *name, bytes b, uint64_t size)
{
    folder f = folder_make();
    char path[128];
    folder_bytes(&f, name, b);
    snprintf(path, sizeof path, "%s/%s", f.path, name);
    if (truncate(path, (off_t)size)) abort();
    return open_folder(&f);
}

static void a_huge_sparse_file_costs_no_memory(void **state)
{
    const uint64_t huge = UINT64_C(1) << 40;
    const long before = peak_kib();
    bytes b = { 0 };
    opened o;
    (void)state;

    put(&b, "GGUF", 4); /* 2^20 keys, all zeros: the first is empty */
    put_u32(&b, 3);
    put_u64(&b, 0);
    put_u64(&b, 1 << 20);
    o = open_sparse("x.gguf", b, huge);
    assert_int_equal(o.status, GLMQ_E_FORMAT);
    close_all(&o);

    b = (bytes){ 0 };
    put(&b, "GGUF", 4);
    put_u32(&b, 3);
    put_u64(&b, 0);
    put_u64(&b, (1 << 20) + 1);
    o = open_sparse("x.gguf", b, huge);
    assert_int_equal(o.status, GLMQ_E_LIMIT);
    close_all(&o);

    b = (bytes){ 0 };
    put(&b, "GGUF", 4); /* one array of a million million strings */
    put_u32(&b, 3);
    put_u64(&b, 0);
    put_u64(&b, 1);
    put_array_head(&b, "x", GGUF_STRING, UINT64_C(1) << 36);
    o = open_sparse("x.gguf", b, huge);
    assert_int_equal(o.status, GLMQ_E_LIMIT);
    close_all(&o);

    b = (bytes){ 0 };
    put_u64(&b, 100000000); /* a header of NULs */
    put(&b, "{}", 2);
    o = open_sparse("x.safetensors", b, huge);
    assert_int_equal(o.status, GLMQ_E_FORMAT);
    assert_non_null(strstr(o.err.msg, "trailing text"));
    close_all(&o);
    assert_true(peak_kib() - before < 400 * 1024); /* the header itself, and little else */
}

static void arrays_of_more_than_2_to_the_32_elements_keep_their_size(void **state)
{
    const uint64_t elements = UINT64_C(6442450944); /* 256 x 2 x 2048 x 6144 */
    opened o;
    (void)state;
    o = open_sparse("x.safetensors",
                    safetensors("{\"a\":{\"dtype\":\"BF16\",\"shape\":[256,4096,6144],"
                                "\"data_offsets\":[0,12884901888]}}",
                                0),
                    UINT64_C(12884901888) + 8 + 77);
    if (o.status) print_error("%s\n", o.err.msg);
    assert_int_equal(o.status, GLMQ_OK);
    assert_true(o.cat->arrays[0].bytes == 2 * elements);
    close_all(&o);

    o = open_sparse("x.gguf", gguf_named("a", 1, elements, 0), 4 * elements + 96);
    if (o.status) print_error("%s\n", o.err.msg);
    assert_int_equal(o.status, GLMQ_OK);
    assert_true(o.cat->arrays[0].bytes == 4 * elements);
    close_all(&o);
}

/* ---- duplicate keys must not cost quadratic time ---- */

static void a_million_keys_are_read_in_linear_time(void **state)
{
    enum { KEYS = 1 << 20 };
    folder f = folder_make();
    bytes b = { 0 };
    opened o;
    (void)state;
    put(&b, "GGUF", 4);
    put_u32(&b, 3);
    put_u64(&b, 0);
    put_u64(&b, KEYS);
    for (uint32_t i = 0; i < KEYS; i++) {
        char key[16];
        snprintf(key, sizeof key, "k%u", i);
        put_key(&b, key, GGUF_U8);
        put(&b, "", 1);
    }
    put_zeros(&b, (size_t)(pad_to(b.len, 32) - b.len));
    folder_bytes(&f, "x.gguf", b);
    o = open_folder(&f);
    assert_int_equal(o.status, GLMQ_OK);
    assert_int_equal(o.cat->gguf->count, KEYS);
    assert_non_null(glmq_gguf_get(o.cat->gguf, "k1048575"));
    close_all(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_that_differ_only_in_escapes_are_the_same),
        cmocka_unit_test(names_with_a_nul_are_refused),
        cmocka_unit_test(messages_carry_no_control_characters),
        cmocka_unit_test(gguf_names_are_escaped_in_messages),
        cmocka_unit_test(numbers_must_be_plain_whole_ones),
        cmocka_unit_test(deep_and_long_json_is_refused_quickly),
        cmocka_unit_test(a_header_of_millions_of_numbers_costs_no_more_than_its_text),
        cmocka_unit_test(a_config_of_too_many_values_is_refused_before_its_tree_is_built),
        cmocka_unit_test(members_of_the_wrong_kind_are_refused),
        cmocka_unit_test(a_file_that_shrinks_is_an_io_error),
        cmocka_unit_test(every_call_that_fails_is_an_error_and_leaks_nothing),
        cmocka_unit_test(a_huge_sparse_file_costs_no_memory),
        cmocka_unit_test(arrays_of_more_than_2_to_the_32_elements_keep_their_size),
        cmocka_unit_test(a_million_keys_are_read_in_linear_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
