/* base: memory, text, hashes, maps, errors, the choice of instruction set. */
#include "base/arena.h"
#include "base/cpu.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/hash_kernels.h"
#include "base/mem.h"
#include "base/safe.h"
#include "base/strmap.h"
#include "base/text.h"
#include "glmq/glmq.h"
#include "base/num.h"
#include "support.h"
#include <math.h>

/* ---- arena, allocator ---- */

static void arena_pieces_are_zeroed_aligned_and_apart(void **state)
{
    glmq_arena a = { .block_bytes = 1024 };
    unsigned char *p[200];
    (void)state;
    for (size_t i = 0; i < 200; i++) {
        p[i] = glmq_arena_alloc(&a, i * 7);
        assert_non_null(p[i]);
        assert_int_equal((uintptr_t)p[i] % 16, 0);
        for (size_t j = 0; j < i * 7; j++) assert_int_equal(p[i][j], 0);
        memset(p[i], (int)i, i * 7);
    }
    for (size_t i = 0; i < 200; i++)
        for (size_t j = 0; j < i * 7; j++) assert_int_equal(p[i][j], i);
    glmq_arena_free(&a);
    assert_null(a.head);
}

static void arena_refuses_a_size_that_overflows(void **state)
{
    glmq_arena a = { 0 };
    (void)state;
    assert_null(glmq_arena_alloc(&a, SIZE_MAX));
    assert_null(glmq_arena_alloc(&a, SIZE_MAX - 20));
    glmq_arena_free(&a);
}

static void arena_copies_and_prints_text(void **state)
{
    glmq_arena a = { 0 };
    (void)state;
    assert_string_equal(glmq_arena_strndup(&a, "layers", 5), "layer");
    assert_string_equal(glmq_arena_strdup(&a, ""), "");
    assert_string_equal(glmq_arena_printf(&a, "model.layers.%d.%s", 3, "mlp"),
                        "model.layers.3.mlp");
    glmq_arena_free(&a);
}

static void the_nth_allocation_can_be_made_to_fail_once(void **state)
{
    void *p[3];
    (void)state;
    glmq_fail_alloc_at(2);
    p[0] = glmq_alloc(8);
    p[1] = glmq_alloc_zero(2, 8);
    p[2] = glmq_strdup("x");
    assert_non_null(p[0]);
    assert_null(p[1]);
    assert_non_null(p[2]);
    glmq_free(p[0]);
    glmq_free(p[2]);
    glmq_fail_alloc_at(0);
}

static void zero_bytes_are_an_allocation_too(void **state)
{
    void *p = glmq_alloc(0), *q = glmq_alloc_zero(0, 0);
    (void)state;
    assert_non_null(p);
    assert_non_null(q);
    glmq_free(p);
    glmq_free(q);
    glmq_free(NULL);
}

static void large_allocations_begin_at_a_cache_line(void **state)
{
    (void)state;
    for (size_t bytes = 4096; bytes < 5000; bytes += 61) {
        uint8_t *p = glmq_alloc(bytes);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 64, 0);
        memset(p, 1, bytes);
        glmq_free(p);
    }
}

/* ---- safe ---- */

static void checked_arithmetic_leaves_the_result_alone_on_overflow(void **state)
{
    uint64_t v = 7;
    (void)state;
    assert_int_equal(add_u64(UINT64_MAX, 1, &v), 1);
    assert_int_equal(mul_u64(1ull << 32, 1ull << 32, &v), 1);
    assert_int_equal(align_u64(UINT64_MAX - 3, 32, &v), 1);
    assert_int_equal(v, 7);
    assert_int_equal(align_u64(33, 32, &v), 0);
    assert_int_equal(v, 64);
    assert_true(in_range(4, 4, 8));
    assert_false(in_range(5, 4, 8));
    assert_false(in_range(9, 0, 8));
    assert_false(in_range(1, UINT64_MAX, 8));
}

/* ---- text ---- */

static void text_grows_and_formats(void **state)
{
    glmq_text t = { 0 };
    (void)state;
    for (int i = 0; i < 1000; i++) glmq_text_printf(&t, "%d,", i % 10);
    assert_int_equal(t.len, 2000);
    assert_memory_equal(t.data, "0,1,2,3,", 8);
    glmq_text_printf(&t, "%0500d", 7); /* longer than what is kept in reserve */
    assert_int_equal(t.len, 2500);
    assert_string_equal(t.data + 2495, "00007");
    assert_false(t.failed);
    glmq_text_free(&t);
}

static void text_that_ran_out_of_memory_stays_failed(void **state)
{
    glmq_text t = { 0 };
    (void)state;
    glmq_text_add(&t, "abc");
    glmq_fail_alloc_at(1);
    for (int i = 0; i < 100; i++) glmq_text_add(&t, "0123456789");
    glmq_fail_alloc_at(0);
    assert_true(t.failed);
    assert_true(t.len < 1003);
    glmq_text_free(&t);
}

static void a_glob_matches_the_whole_and_stars_cross_dots(void **state)
{
    (void)state;
    assert_true(glmq_glob("experts.*", "experts.down"));
    assert_true(glmq_glob("model.*.weight", "model.layers.3.mlp.gate.weight"));
    assert_true(glmq_glob("*", ""));
    assert_true(glmq_glob("a?c*e", "abcdde"));
    assert_true(glmq_glob("*ab", "aab"));
    assert_false(glmq_glob("experts", "experts.down"));
    assert_false(glmq_glob("?", ""));
    assert_false(glmq_glob("*.bias", "x.bias_"));
}

static void a_glob_full_of_stars_ends_soon(void **state)
{
    char s[4001];
    (void)state;
    memset(s, 'a', 4000);
    s[4000] = '\0';
    assert_false(glmq_glob("*a*a*a*a*a*a*a*a*a*a*a*a*b", s));
}

static void controls_and_bad_utf8_are_escaped(void **state)
{
    static const char s[] = "a\n\x1b[2J\x7f\xc3\xa4\xc2\x85\xff\xed\xa0\x80z";
    char out[128];
    (void)state;
    glmq_escape(out, sizeof out, s, sizeof s - 1);
    assert_string_equal(out, "a\\x0a\\x1b[2J\\x7f\xc3\xa4\\xc2\\x85\\xff\\xed\\xa0\\x80z");
}

static void an_escape_never_overruns_nor_cuts_a_character(void **state)
{
    char out[6];
    (void)state;
    assert_int_equal(glmq_escape(out, sizeof out, "abcd\xc3\xa4", 6), 4);
    assert_string_equal(out, "abcd");
    assert_int_equal(glmq_escape(out, sizeof out, "ab\n", 3), 2);
    assert_string_equal(out, "ab");
    assert_int_equal(glmq_escape(out, 1, "a", 1), 0);
    assert_string_equal(out, "");
}

static void utf8_is_judged_by_the_standard(void **state)
{
    static const struct {
        const char *s;
        int valid;
    } cases[] = {
        { "plain ascii that is longer than eight", 1 },
        { "\xc3\xa4", 1 },
        { "\xe2\x82\xac", 1 },
        { "\xf0\x9f\x98\x80", 1 },
        { "\xf4\x8f\xbf\xbf", 1 },
        { "\xc0\x80", 0 },
        { "\xc1\xbf", 0 },
        { "\xe0\x9f\xbf", 0 },
        { "\xed\xa0\x80", 0 },
        { "\xf0\x8f\xbf\xbf", 0 },
        { "\xf4\x90\x80\x80", 0 },
        { "\xf5\x80\x80\x80", 0 },
        { "\x80", 0 },
        { "\xe2\x82", 0 },
        { "12345678\xff", 0 },
    };
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(cases); i++)
        assert_int_equal(glmq_utf8_valid(cases[i].s, strlen(cases[i].s)), cases[i].valid);
}

static const char *word_at(size_t i)
{
    static const char *const words[] = { "overwrite", "resume", "transcode", "memory", "to" };
    return i < GLMQ_COUNT(words) ? words[i] : NULL;
}

static void the_nearest_word_is_found_or_none(void **state)
{
    (void)state;
    assert_string_equal(glmq_nearest("overwite", word_at), "overwrite");
    assert_string_equal(glmq_nearest("ressume", word_at), "resume");
    assert_string_equal(glmq_nearest("memroy", word_at), "memory");
    assert_null(glmq_nearest("quantize", word_at));
}

static void sizes_are_parsed_strictly(void **state)
{
    uint64_t v = 0;
    (void)state;
    assert_int_equal(glmq_parse_size("5000", &v), 0);
    assert_int_equal(v, 5000);
    assert_int_equal(glmq_parse_size("2GiB", &v), 0);
    assert_int_equal(v, 2147483648u);
    assert_int_equal(glmq_parse_size("512M", &v), 0);
    assert_int_equal(v, 512000000);
    assert_int_equal(glmq_parse_size("1TiB", &v), 0);
    assert_int_equal(v, 1099511627776);
    assert_int_equal(glmq_parse_size("", &v), -1);
    assert_int_equal(glmq_parse_size("-1", &v), -1);
    assert_int_equal(glmq_parse_size("5 G", &v), -1);
    assert_int_equal(glmq_parse_size("5Gi", &v), -1);
    assert_int_equal(glmq_parse_size("18446744073709551616", &v), -1);
    assert_int_equal(glmq_parse_size("18446744073709551615K", &v), -1);
}

/* ---- errors ---- */

static void an_error_names_its_context_from_outside_in(void **state)
{
    glmq_error err;
    glmq_status st = glmq_fail(&err, GLMQ_E_FORMAT, "shape %dx%d", 3, 4);
    (void)state;
    st = glmq_within(&err, st, "tensor %s", "q\x1b");
    st = glmq_within(&err, st, "file");
    assert_int_equal(st, GLMQ_E_FORMAT);
    assert_int_equal(err.status, GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "file: tensor q\\x1b: shape 3x4");
    assert_int_equal(glmq_within(&err, GLMQ_OK, "nothing"), GLMQ_OK);
    assert_string_equal(err.msg, "file: tensor q\\x1b: shape 3x4");
}

static void a_missing_companion_is_told_by_its_code(void **state)
{
    glmq_error err;
    glmq_status st = glmq_fail_missing(&err, GLMQ_E_FORMAT, "%s", "x.scales");
    (void)state;
    assert_int_equal(glmq_within(&err, st, "file"), GLMQ_E_FORMAT);
    assert_string_equal(err.code, "missing-companion");
    assert_string_equal(err.msg, "file: x.scales");
    glmq_fail(&err, GLMQ_E_FORMAT, "x is missing"); /* words do not count */
    assert_null(err.code);
    glmq_fail_missing(&err, GLMQ_E_FORMAT, "x");
    glmq_fail_sys(&err, 2, "y");
    assert_null(err.code);
}

static void a_system_error_keeps_errno_and_its_text(void **state)
{
    glmq_error err;
    (void)state;
    assert_int_equal(glmq_fail_sys(&err, 2, "%s", "x"), GLMQ_E_IO);
    assert_int_equal(err.sys, 2);
    assert_string_equal(err.msg, "x: No such file or directory");
    assert_int_equal(glmq_fail(NULL, GLMQ_E_ARG, "nobody listens"), GLMQ_E_ARG);
}

static void a_long_message_is_cut_and_terminated(void **state)
{
    char name[3000];
    glmq_error err;
    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    glmq_fail(&err, GLMQ_E_FORMAT, "%s", name);
    assert_int_equal(strlen(err.msg), sizeof err.msg - 1);
    for (int i = 0; i < 3; i++) glmq_within(&err, GLMQ_E_FORMAT, "%s", name);
    assert_true(strlen(err.msg) < sizeof err.msg);
    glmq_fail_sys(&err, 28, "%s", name);
    assert_true(strlen(err.msg) < sizeof err.msg);
}

static void every_status_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = GLMQ_OK; i <= GLMQ_E_CANCELLED; i++)
        for (int j = GLMQ_OK; j < i; j++)
            assert_string_not_equal(glmq_status_name((glmq_status)i),
                                    glmq_status_name((glmq_status)j));
    assert_string_equal(glmq_status_name((glmq_status)99), "unknown");
    assert_string_equal(glmq_version(), GLMQ_VERSION);
}

/* ---- hashes ---- */

/* Values of the reference implementation (xxhash's own Python binding). */
static void digests_are_xxh3_128_in_canonical_form(void **state)
{
    unsigned char bytes[1280];
    char hex[33];
    glmq_hash *h = glmq_hash_new();
    glmq_digest d = glmq_hash_of("", 0);
    (void)state;
    glmq_digest_hex(&d, hex);
    assert_string_equal(hex, "99aa06d3014798d86001c324468d497f");
    d = glmq_hash_of("glmq", 4);
    glmq_digest_hex(&d, hex);
    assert_string_equal(hex, "9791b5b8ed3e985ec5822d08f473eb78");
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (unsigned char)i;
    assert_non_null(h);
    for (size_t i = 0; i < sizeof bytes; i += 128) glmq_hash_add(h, bytes + i, 128);
    d = glmq_hash_get(h);
    glmq_digest_hex(&d, hex);
    assert_string_equal(hex, "d92ab3a1cb0542a74844b009e164352e");
    glmq_hash_free(h);
}

static void values_hash_alike_for_zeros_and_nans_of_any_kind(void **state)
{
    static const uint32_t written[] = { 0x3f800000, 0x80000000, 0xffc00001,
                                        0x7f800001, 0xff800000, 0x80000001 };
    static const uint32_t meant[] = { 0x3f800000, 0x00000000, 0x7fc00000,
                                      0x7fc00000, 0xff800000, 0x80000001 };
    float many[6 * 1000];
    uint32_t same[6 * 1000];
    glmq_hash *h = glmq_hash_new();
    glmq_digest a, b;
    (void)state;
    assert_non_null(h);
    for (size_t i = 0; i < 1000; i++) {
        memcpy(many + 6 * i, written, sizeof written);
        memcpy(same + 6 * i, meant, sizeof meant);
    }
    glmq_hash_add_values(h, many, 17); /* split anywhere */
    glmq_hash_add_values(h, many + 17, 6000 - 17);
    a = glmq_hash_get(h);
    b = glmq_hash_of(same, sizeof same);
    assert_true(glmq_digest_equal(&a, &b));
    glmq_hash_reset(h);
    a = glmq_hash_get(h);
    b = glmq_hash_of(NULL, 0);
    assert_true(glmq_digest_equal(&a, &b));
    glmq_hash_free(h);
    glmq_hash_free(NULL);
}

/* Lengths that leave XXH3's inner buffer at every kind of place. */
static void every_instruction_set_hashes_alike(void **state)
{
    const glmq_isa_level best = glmq_isa_of_machine();
    glmq_digest want, have;
    float w[5000];
    (void)state;
    for (size_t i = 0; i < GLMQ_COUNT(w); i++) w[i] = i % 7 ? (float)i * -0.37f : -0.0f;
    for (int level = ISA_BASE; level <= (int)best; level++) {
        const glmq_hash_kernels *k = glmq_hash_kernels_at((glmq_isa_level)level);
        glmq_hash *h = glmq_hash_new();
        for (size_t n = 0; n < 3000; n += 13) {
            k->add_values(h, w, n);
            k->add(h, (const char *)w + n, n);
        }
        have = glmq_hash_get(h);
        if (level == ISA_BASE) want = have;
        assert_true(glmq_digest_equal(&want, &have));
        glmq_hash_free(h);
    }
}

static void a_digest_survives_its_text(void **state)
{
    glmq_digest d, e = glmq_hash_of("x", 1);
    char hex[33];
    (void)state;
    glmq_digest_hex(&e, hex);
    assert_int_equal(glmq_digest_parse(hex, &d), 0);
    assert_true(glmq_digest_equal(&d, &e));
    assert_int_equal(glmq_digest_parse("", &d), -1);
    assert_int_equal(glmq_digest_parse("99aa06d3014798d86001c324468d497", &d), -1);
    assert_int_equal(glmq_digest_parse("99aa06d3014798d86001c324468d497f0", &d), -1);
    assert_int_equal(glmq_digest_parse("99AA06d3014798d86001c324468d497f", &d), -1);
}

static void the_model_digest_sorts_its_lines(void **state)
{
    static const char lines[] =
        "a\t99aa06d3014798d86001c324468d497f\nb\t9791b5b8ed3e985ec5822d08f473eb78\n";
    glmq_digest_entry e[2] = {
        { "b", "9791b5b8ed3e985ec5822d08f473eb78" },
        { "a", "99aa06d3014798d86001c324468d497f" },
    };
    glmq_digest d = glmq_digest_model(e, 2), expected = glmq_hash_of(lines, sizeof lines - 1);
    (void)state;
    assert_true(glmq_digest_equal(&d, &expected));
}

/* ---- map ---- */

static void a_map_keeps_the_first_value_of_each_key(void **state)
{
    static char keys[20000][8];
    glmq_strmap m = { 0 };
    uint64_t v = 0;
    (void)state;
    assert_int_equal(glmq_strmap_get(&m, "k", 1, &v), 0);
    for (size_t i = 0; i < 20000; i++) {
        const size_t len = (size_t)snprintf(keys[i], sizeof keys[i], "%zu", i);
        assert_int_equal(glmq_strmap_add(&m, keys[i], len, i, NULL), 1);
    }
    assert_int_equal(m.count, 20000);
    assert_int_equal(glmq_strmap_add(&m, "777", 3, 1, &v), 0);
    assert_int_equal(v, 777);
    for (size_t i = 0; i < 20000; i++) {
        assert_int_equal(glmq_strmap_get(&m, keys[i], strlen(keys[i]), &v), 1);
        assert_int_equal(v, i);
    }
    assert_int_equal(glmq_strmap_get(&m, "777x", 4, &v), 0);
    assert_int_equal(glmq_strmap_get(&m, "20000", 5, &v), 0);
    glmq_strmap_free(&m);
}

static void a_map_takes_keys_with_zero_bytes_and_the_empty_key(void **state)
{
    glmq_strmap m = { 0 };
    uint64_t v;
    (void)state;
    assert_int_equal(glmq_strmap_add(&m, "a\0b", 3, 1, NULL), 1);
    assert_int_equal(glmq_strmap_add(&m, "a\0c", 3, 2, NULL), 1);
    assert_int_equal(glmq_strmap_add(&m, "", 0, 3, NULL), 1);
    assert_int_equal(glmq_strmap_get(&m, "a\0c", 3, &v), 1);
    assert_int_equal(v, 2);
    assert_int_equal(glmq_strmap_get(&m, "", 0, &v), 1);
    assert_int_equal(v, 3);
    glmq_strmap_free(&m);
}

/* ---- instruction set ---- */

static void the_level_is_fixed_and_never_above_what_was_asked(void **state)
{
    const glmq_isa_level level = glmq_isa(); /* main() set GLMQ_ISA=base */
    (void)state;
    assert_int_equal(level, ISA_BASE);
    setenv("GLMQ_ISA", "avx2", 1);
    assert_int_equal(glmq_isa(), ISA_BASE);
    assert_string_equal(glmq_isa_name(ISA_AVX512), "avx512");
}

/* Every E4M3 and E8M0 code, by the formula of the format. */
static void narrow_floats_widen_exactly(void **state)
{
    (void)state;
    for (int q = 0; q < 256; q++) {
        const int e = q >> 3 & 15, m = q & 7;
        const float mag = e ? ldexpf((float)(8 + m), e - 10) : ldexpf((float)m, -9);
        const float want = q & 128 ? -mag : mag, have = f32_from_e4m3((uint8_t)q);

        if ((q & 127) == 127)
            assert_false(is_finite_f32(have));
        else
            assert_int_equal(bits_from_f32(have), bits_from_f32(want));
        if (q == 255)
            assert_false(is_finite_f32(f32_from_e8m0(255)));
        else
            assert_int_equal(bits_from_f32(f32_from_e8m0((uint8_t)q)),
                             bits_from_f32(ldexpf(1, q - 127)));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(narrow_floats_widen_exactly),
        cmocka_unit_test(arena_pieces_are_zeroed_aligned_and_apart),
        cmocka_unit_test(arena_refuses_a_size_that_overflows),
        cmocka_unit_test(arena_copies_and_prints_text),
        cmocka_unit_test(the_nth_allocation_can_be_made_to_fail_once),
        cmocka_unit_test(zero_bytes_are_an_allocation_too),
        cmocka_unit_test(large_allocations_begin_at_a_cache_line),
        cmocka_unit_test(checked_arithmetic_leaves_the_result_alone_on_overflow),
        cmocka_unit_test(text_grows_and_formats),
        cmocka_unit_test(text_that_ran_out_of_memory_stays_failed),
        cmocka_unit_test(a_glob_matches_the_whole_and_stars_cross_dots),
        cmocka_unit_test(a_glob_full_of_stars_ends_soon),
        cmocka_unit_test(controls_and_bad_utf8_are_escaped),
        cmocka_unit_test(an_escape_never_overruns_nor_cuts_a_character),
        cmocka_unit_test(utf8_is_judged_by_the_standard),
        cmocka_unit_test(the_nearest_word_is_found_or_none),
        cmocka_unit_test(sizes_are_parsed_strictly),
        cmocka_unit_test(an_error_names_its_context_from_outside_in),
        cmocka_unit_test(a_missing_companion_is_told_by_its_code),
        cmocka_unit_test(a_system_error_keeps_errno_and_its_text),
        cmocka_unit_test(a_long_message_is_cut_and_terminated),
        cmocka_unit_test(every_status_has_a_name_of_its_own),
        cmocka_unit_test(digests_are_xxh3_128_in_canonical_form),
        cmocka_unit_test(values_hash_alike_for_zeros_and_nans_of_any_kind),
        cmocka_unit_test(every_instruction_set_hashes_alike),
        cmocka_unit_test(a_digest_survives_its_text),
        cmocka_unit_test(the_model_digest_sorts_its_lines),
        cmocka_unit_test(a_map_keeps_the_first_value_of_each_key),
        cmocka_unit_test(a_map_takes_keys_with_zero_bytes_and_the_empty_key),
        cmocka_unit_test(the_level_is_fixed_and_never_above_what_was_asked),
    };
    setenv("GLMQ_ISA", "base", 1);
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
