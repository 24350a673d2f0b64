/* TurboQuant: the generator of signs, books, bit streams and groups against values that the
 * format's package gives, and every tensor of the fixtures. */
#include "base/cpu.h"
#include "base/mem.h"
#include "codec_cases.h"
#include "codecs/kernels.h"
#include "codecs/tq3.h"
#include "glmq/graph.h"
#include "readers/catalog.h"
#include "unit/expected.h"
#include <math.h>

static void must_be_hex(const void *data, size_t len, const char *want)
{
    assert_int_equal(strlen(want), 2 * len);
    for (size_t i = 0; i < len; i++) {
        char hex[3];
        snprintf(hex, sizeof hex, "%02x", ((const uint8_t *)data)[i]);
        if (memcmp(hex, want + 2 * i, 2) != 0)
            fail_msg("byte %zu: %s, not %.2s", i, hex, want + 2 * i);
    }
}

static void from_hex(const char *hex, uint8_t *out)
{
    for (size_t i = 0; hex[2 * i]; i++) {
        unsigned v;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
        out[i] = (uint8_t)v;
    }
}

/* ---- signs ---- */

static void draws_signs_as_torch_does(void **state)
{
    static const struct {
        uint64_t seed;
        uint32_t group;
        const char *s1, *s2;
    } cases[] = {
        { 42, 8, "22", "42" },
        { 42, 16, "2242", "d73f" },
        { 42, 32, "2242d73f", "177cab01" },
        { 42, 64, "2242d73f177cab01", "f6ba4affe75f6b65" },
        { 42, 128, "2242d73f177cab01f6ba4affe75f6b65", "07d021a85ce6402438d201c5cbbf2514" },
        { 42, 256, "2242d73f177cab01f6ba4affe75f6b6507d021a85ce6402438d201c5cbbf2514",
          "26ceab17e2897d893dd3ac5836c9bc75027bf31b7ea93e9a3e53a5aaab248ab4" },
        { 7, 128, "f52ac44c6623bc626c57ffee2f2f2f74", "c23ba36e0e40cc135f73795a97fb34ca" },
        /* only the lowest 32 bits count */
        { (UINT64_C(5) << 32) + 42, 16, "2242", "d73f" },
    };
    uint8_t bits[TQ3_GROUP_MAX / 4];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const size_t bytes = cases[i].group / 8;
        tq3_signs(cases[i].seed, cases[i].group, bits);
        must_be_hex(bits, bytes, cases[i].s1);
        must_be_hex(bits + bytes, bytes, cases[i].s2);
    }
}

/* ---- books ---- */

static void has_the_books_of_the_package(void **state)
{
    static const struct {
        unsigned bits;
        uint32_t group, upper[8];
    } cases[] = {
        { 2, 128, { 0x3d2400e7, 0x3e08ab6b } },
        { 2, 64, { 0x3d67ef9e, 0x3e4147ae } },
        { 2, 256, { 0x3ce7ef9e, 0x3dc147ae } },
        { 3, 128, { 0x3cb1778c, 0x3d88d9fa, 0x3df345ff, 0x3e42c596 } },
        { 3, 64, { 0x3cfaf9e9, 0x3dc18986, 0x3e2c0531, 0x3e89b977 } },
        { 3, 256, { 0x3c7af9e9, 0x3d418986, 0x3dac0531, 0x3e09b977 } },
        { 4,
          128,
          { 0x3c3669ec, 0x3d09e98b, 0x3d69b0e4, 0x3da7f06a, 0x3de059fc, 0x3e10d520, 0x3e39af1a,
            0x3e75ed5a } },
        { 4,
          64,
          { 0x3c80fc6b, 0x3d430993, 0x3da53e96, 0x3ded8074, 0x3e1ea3f6, 0x3e4cd2f9, 0x3e834c65,
            0x3eade592 } },
        { 4,
          256,
          { 0x3c00fc6b, 0x3cc30993, 0x3d253e96, 0x3d6d8074, 0x3d9ea3f6, 0x3dccd2f9, 0x3e034c65,
            0x3e2de592 } },
    };
    float book[TQ3_BOOK];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const unsigned half = 1u << (cases[i].bits - 1);
        tq3_book(cases[i].group, cases[i].bits, book);
        for (unsigned k = 0; k < half; k++) {
            assert_int_equal(bits_from_f32(book[half + k]), cases[i].upper[k]);
            assert_int_equal(bits_from_f32(book[half - 1 - k]), cases[i].upper[k] | 0x80000000u);
        }
        assert_memory_equal(book, book + 2 * half, 2 * half * sizeof *book); /* and again */
    }
}

static double tail(double x)
{
    return 0.5 * erfc(x / sqrt(2));
}

/* Probability of [a, b], out of the tail that keeps its digits. */
static double mass(double a, double b)
{
    return a > 0 ? tail(a) - tail(b) : tail(-b) - tail(-a);
}

static double density(double x)
{
    return isinf(x) ? 0 : exp(-x * x / 2) / sqrt(2 * acos(-1));
}

static double quantile(double p)
{
    double lo = -10, hi = 10;
    for (int i = 0; i < 200; i++) {
        const double mid = (lo + hi) / 2;
        if (tail(-mid) < p)
            lo = mid;
        else
            hi = mid;
    }
    return (lo + hi) / 2;
}

/* 100 rounds of Lloyd's algorithm for N(0, 1 / group). */
static void lloyd(unsigned bits, uint32_t group, double *book)
{
    const unsigned n = 1u << bits;
    const double sigma = 1 / sqrt((double)group);
    double bound[257] = { 0 };

    bound[0] = -INFINITY;
    bound[n] = INFINITY;
    for (unsigned i = 1; i < n; i++) bound[i] = sigma * quantile((double)i / n);
    for (int round = 0; round < 100; round++) {
        for (unsigned i = 0; i < n; i++) {
            const double a = bound[i] / sigma, b = bound[i + 1] / sigma;
            book[i] = sigma * (density(a) - density(b)) / mass(a, b);
        }
        for (unsigned i = 1; i < n; i++) bound[i] = (book[i - 1] + book[i]) / 2;
    }
}

static void books_of_other_groups_follow_from_lloyd(void **state)
{
    float book[TQ3_BOOK];
    double want[TQ3_BOOK];

    (void)state;
    for (uint32_t group = 8; group <= TQ3_GROUP_MAX; group *= 2)
        for (unsigned bits = 3; bits <= TQ3_BITS_MAX; bits++) {
            tq3_book(group, bits, book);
            lloyd(bits, group, want);
            for (unsigned i = 0; i < 1u << bits; i++)
                if (book[i] != (float)want[i])
                    fail_msg("%u bits, groups of %u, %u: %a, not %a", bits, group, i,
                             (double)book[i], want[i]);
        }
    for (uint32_t group = 8; group <= TQ3_GROUP_MAX; group *= 2) {
        tq3_book(group, 1, book);
        assert_true(book[1] == (float)sqrt(2 / (acos(-1) * group)) && book[0] == -book[1]);
        tq3_book(group, 2, book);
        assert_true(book[2] == (float)(0.453 / sqrt((double)group)));
        assert_true(book[3] == (float)(1.51 / sqrt((double)group)));
    }
}

/* ---- bit streams ---- */

static void indices_are_a_stream_of_bits(void **state)
{
    static const struct {
        unsigned bits, count;
        uint8_t index[16];
        const char *bytes;
    } cases[] = {
        { 3, 8, { 0, 1, 2, 3, 4, 5, 6, 7 }, "88c6fa" },
        { 3, 8, { 7 }, "070000" },
        { 3, 8, { 0, 0, 7 }, "c00100" },
        { 3, 8, { 0, 0, 0, 0, 0, 7 }, "008003" },
        { 3, 8, { 5, 2, 6, 1, 7, 3, 0, 4 }, "95f381" },
        { 4, 16, { 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15 }, "1032547698badcfe" },
        { 2, 8, { 0, 1, 2, 3, 3, 2, 1, 0 }, "e41b" },
        { 8, 3, { 200, 0, 255 }, "c800ff" },
    };
    uint8_t packed[8];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        from_hex(cases[i].bytes, packed);
        for (unsigned k = 0; k < cases[i].count; k++)
            assert_int_equal(tq3_index(packed, cases[i].bits, k), cases[i].index[k]);
    }
}

/* ---- vectors ---- */

static glmq_encoding tq3(unsigned bits, uint32_t group)
{
    glmq_encoding e = int_encoding("tq3", (int)bits, group, GLMQ_ZERO_MID, GLMQ_DT_F32, 0);
    e.seed = 42;
    return e;
}

static void must_decode(unsigned bits, uint64_t rows, uint64_t cols, const char *packed,
                        const uint32_t *norms, const uint32_t *first, const char *hash)
{
    tensor t = make_tensor(tq3(bits, 128), rows, cols);
    const uint64_t groups = rows * ((cols + 127) / 128);
    float *w = malloc(rows * cols * sizeof *w);
    char hex[65];

    assert_non_null(w);
    assert_int_equal(strlen(packed), 2 * t.layout.slot[GLMQ_SLOT_CODES].bytes);
    from_hex(packed, t.bufs.buf[GLMQ_SLOT_CODES]);
    for (uint64_t i = 0; i < groups; i++)
        store_le32(t.bufs.buf[GLMQ_SLOT_SCALES] + 4 * i, norms[i]);
    decode_all(&t, w);
    for (int i = 0; first && i < 8; i++) assert_int_equal(bits_from_f32(w[i]), first[i]);
    sha256_hex((const uint8_t *)w, rows * cols * 4, hex);
    assert_string_equal(hex, hash);
    free(w);
    free_tensor(&t);
}

static void decodes_one_row_of_each_width(void **state)
{
    (void)state;
    must_decode(3, 1, 128,
                "0ac17160a6749b47d2a614afe137721a5991a4d2ad9cdb729b6cb66a292959b6"
                "8925b849e2a4d89a072ea6528a454029",
                (const uint32_t[]){ 0x40e94972 },
                (const uint32_t[]){ 0xbf5aa388, 0xbecf7438, 0x3e4be259, 0x3f4851fc, 0xbee8e624,
                                    0x3e82647d, 0x3f36f521, 0xbf735760 },
                "64b555255e924f73d9a6cac3a572a17040aa48cdb5080683e808bb1497581468");
    must_decode(4, 1, 128,
                "250869788173356a766d88c88c55c3a7827f876875884b9988347ab678bdaa68"
                "66d58dbaa49a5435746377948b817754944735cd747d91268c349a840a224834",
                (const uint32_t[]){ 0x40def686 },
                (const uint32_t[]){ 0xbf6f542f, 0xbe9b5445, 0x3e23cc2b, 0x3f488d87, 0xbf10ec7b,
                                    0x3ddc4fdb, 0x3f07e380, 0xbf76e49a },
                "38758c14bd836abc7cd6447d21c7e53d7d1942ddfe7ff6d5cb7920e2ca2af924");
    must_decode(2, 1, 128, "2166486175ea5b9c7869a5a60ad6b66ad5aba91544958a5559f175181b9a0216",
                (const uint32_t[]){ 0x40f05bb1 },
                (const uint32_t[]){ 0xbf814c35, 0xbe2352c9, 0x3e35786c, 0x3f50b0e5, 0xbe59c3b3,
                                    0x3eb5786c, 0x3f9c84ac, 0xbf5e4d20 },
                "25d5539032ced22d255a744ec6180c8dc398f9843bed5b32bb7b5c7f71b26ab9");
}

/* A minus zero and a residue of 5e-9: the order of operations shows. */
static void keeps_the_order_of_operations(void **state)
{
    char packed[97];

    (void)state;
    memset(packed, 'f', 96);
    packed[96] = '\0';
    must_decode(3, 1, 128, packed, (const uint32_t[]){ 0x3f800000 },
                (const uint32_t[]){ 0x3ece9632, 0x3e09b977, 0x3d89b977, 0x3d89b976, 0x3d89b977,
                                    0x3e4e9632, 0x80000000, 0x31b504f3 },
                "4cf0f7d6e1ba795a50e621133c26793e2b51835dd46dc52c6ad56f3f3352b787");
}

static void drops_the_columns_that_fill_a_group(void **state)
{
    (void)state;
    must_decode(3, 2, 200,
                "0b437162374eed02ae24275349d78ad3e7a6e252f5c4ca0fec4e8f624991e376"
                "964bd84e5abcf9a505018ab669d5424e7c9f445e6b8542e72b9794cd953caf65"
                "ac8a1b5d55935c69d3d46a8ee96152f54c2897ae5acf2b52565aec58726a28b3"
                "72adae5c18722dc73ac06a69ab184d65c8515b254572c8edab113a12466eb618"
                "6bae167575b16c6d76cd1b45b39a492e8d30ba5814b1dc9c8c3b357172c76cd5"
                "f3ad729291745356e35fb6f024b54b9d8e732a6e1ca78ca99db124138edcb251",
                (const uint32_t[]){ 0x406063f2, 0x401ef5d4, 0x4063062a, 0x40266226 }, NULL,
                "09dd57f6ffcab2ad7455829da0e86a46a4e319f0fbdd7b7fd50bd917548f2598");
}

/* ---- the same bits at every level ---- */

enum { MANY = 2 * TQ3_GROUP_MAX };

static tq3_rotation rotation(uint32_t group, unsigned bits, unsigned stored, float *book,
                             uint32_t *signs)
{
    static uint8_t drawn[TQ3_GROUP_MAX / 4];

    tq3_book(group, bits, book);
    tq3_signs(1, group, drawn);
    for (uint32_t i = 0; i < 2 * group; i++) signs[i] = drawn[i / 8] >> i % 8 & 1 ? 0 : 0x80000000u;
    return (tq3_rotation){
        .group = group,
        .bits = (uint8_t)bits,
        .stored_bits = (uint8_t)stored,
        .root = (float)sqrt((double)group),
        .book = book,
        .s1 = signs,
        .s2 = signs + group,
    };
}

/* `packed` has no byte behind the last group: a sanitizer sees who reads it. */
static void compare_levels(const tq3_rotation *r, size_t groups)
{
    static float want[MANY], have[MANY], norm[MANY / 8];
    uint8_t *packed = malloc(groups * tq3_bytes(r));
    uint32_t x = r->group + r->stored_bits;

    assert_non_null(packed);
    for (size_t i = 0; i < groups * tq3_bytes(r); i++)
        packed[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 24);
    for (size_t i = 0; i < groups; i++) norm[i] = 0.3f + (float)i;
    glmq_kernels_base.tq3_decode(r, packed, norm, groups, want);
    for (int level = 0; level <= (int)glmq_isa_of_machine(); level++) {
        memset(have, 0xff, sizeof have);
        glmq_kernels_at((glmq_isa_level)level)->tq3_decode(r, packed, norm, groups, have);
        if (memcmp(have, want, groups * r->group * sizeof *have) != 0)
            fail_msg("groups of %u, %u bits: %s differs", r->group, r->stored_bits,
                     glmq_isa_name((glmq_isa_level)level));
    }
    free(packed);
}

static void every_level_gives_the_same_bits(void **state)
{
    static const unsigned widths[][2] = { { 2, 2 }, { 3, 3 }, { 4, 4 }, { 3, 8 }, { 8, 8 } };
    float book[TQ3_BOOK];
    static uint32_t signs[2 * TQ3_GROUP_MAX];

    (void)state;
    for (uint32_t group = TQ3_GROUP_MIN; group <= TQ3_GROUP_MAX; group *= 2)
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            const tq3_rotation r = rotation(group, widths[i][0], widths[i][1], book, signs);
            compare_levels(&r, 1);
            compare_levels(&r, MANY / group < 200 ? MANY / group : 200);
        }
}

/* ---- what is refused ---- */

static void refuses_what_is_no_encoding(void **state)
{
    static const struct {
        uint32_t group;
        int bits, variant;
        glmq_dtype norms;
        glmq_status status;
    } cases[] = {
        { 4, 3, 0, GLMQ_DT_F32, GLMQ_E_FORMAT },
        { 0, 3, 0, GLMQ_DT_F32, GLMQ_E_FORMAT },
        { 96, 3, 0, GLMQ_DT_F32, GLMQ_E_FORMAT },
        { 16384, 3, 0, GLMQ_DT_F32, GLMQ_E_LIMIT },
        { 128, 5, 0, GLMQ_DT_F32, GLMQ_E_FORMAT },
        { 128, 0, TQ3_BYTES, GLMQ_DT_F32, GLMQ_E_FORMAT },
        { 128, 3, 0, GLMQ_DT_U8, GLMQ_E_FORMAT },
        { 128, 5, TQ3_BYTES, GLMQ_DT_F32, GLMQ_OK },
        { 8192, 4, 0, GLMQ_DT_BF16, GLMQ_OK },
    };
    glmq_layout l;

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const glmq_encoding e = int_encoding("tq3", cases[i].bits, cases[i].group, GLMQ_ZERO_MID,
                                             cases[i].norms, cases[i].variant);
        assert_int_equal(e.codec->layout(&e, 3, 200, &l, NULL), cases[i].status);
    }
}

static void refuses_bytes_outside_the_book(void **state)
{
    glmq_encoding e = tq3(3, 32);
    glmq_error err;
    tensor t;

    (void)state;
    e.variant = TQ3_BYTES;
    t = make_tensor(e, 4, 40);
    memset(t.bufs.buf[GLMQ_SLOT_CODES], 7, t.layout.slot[GLMQ_SLOT_CODES].bytes);
    assert_int_equal(e.codec->check_rows(&e, &t.bufs, whole(&t), &err), GLMQ_OK);
    t.bufs.buf[GLMQ_SLOT_CODES][2 * 64 + 33] = 8;
    assert_int_equal(e.codec->check_rows(&e, &t.bufs, whole(&t), &err), GLMQ_E_FORMAT);
    assert_non_null(strstr(err.msg, "index 8 of row 2, group 1 is outside the book of 8"));
    free_tensor(&t);
}

static void encodings_tell_all_parameters(void **state)
{
    glmq_encoding e = tq3(3, 128);
    char text[96];

    (void)state;
    glmq_encoding_print(&e, text, sizeof text);
    assert_string_equal(text, "tq3:bits=3,group=128,seed=42");
    assert_true(glmq_encoding_bpw(&e, 4, 256) == 3.25);
    assert_true(glmq_encoding_bpw(&e, 4, 64) == 6.5); /* half a group is stored whole */
    e.variant = TQ3_BYTES | TQ3_BY_ROW;
    e.scale_dtype = GLMQ_DT_F16;
    glmq_encoding_print(&e, text, sizeof text);
    assert_string_equal(text, "tq3:bits=3,group=128,seed=42,scale=F16,bytes,by-row");
}

/* ---- fixtures ---- */

static const char *sha256_of(const cJSON *entry, const char *dtype)
{
    return cJSON_GetObjectItem(cJSON_GetObjectItem(entry, dtype), "sha256")->valuestring;
}

static void check_tensor(const glmq_graph *g, const cJSON *entry, const glmq_catalog *values,
                         const glmq_source *src)
{
    const glmq_tensor *t = glmq_graph_find(g, entry->string);
    const glmq_array *a = glmq_catalog_find(values, entry->string, strlen(entry->string));
    const size_t n = t ? (size_t)(t->rows * t->cols) : 0;
    float *w = malloc(n * sizeof *w + 1), *want;
    glmq_error err;

    if (!t) fail_msg("no %s", entry->string);
    assert_non_null(w);
    if (glmq_tensor_decode(g, t, 0, t->rows, w, &err)) fail_msg("%s", err.msg);
    if (strcmp(cJSON_GetObjectItem(entry, "kind")->valuestring, "plain") == 0) {
        must_hash(t->name, "F16", w, n, sha256_of(entry, "stored"));
    } else {
        check_shape(entry, t);
        assert_int_equal(t->part[0].enc.bits, cJSON_GetObjectItem(entry, "bits")->valueint);
        must_hash(t->name, "F32", w, n, sha256_of(entry, "f32"));
        must_hash(t->name, "F16", w, n, sha256_of(entry, "f16"));
        must_hash(t->name, "BF16", w, n, sha256_of(entry, "bf16"));
    }
    if (a) {
        want = malloc(a->bytes);
        assert_int_equal(a->bytes, n * 4);
        assert_int_equal(glmq_source_read(src, a->file, a->offset, want, a->bytes, &err), GLMQ_OK);
        assert_memory_equal(w, want, a->bytes);
        free(want);
    }
    free(w);
}

static size_t count_problems(const glmq_graph *g, const char *code)
{
    size_t n = 0;
    for (size_t i = 0; i < glmq_graph_problem_count(g); i++)
        n += strcmp(glmq_graph_problem(g, i)->code, code) == 0;
    return n;
}

static void check_fixture(const char *name, int packed, int stale, uint64_t files)
{
    const char *root = fixtures_or_skip();
    glmq_source *src, *values_src;
    glmq_catalog *values;
    glmq_graph *g;
    glmq_error err;
    char path[600];
    const cJSON *entry;
    cJSON *expected;
    int quantized = 0;

    if (!root) skip();
    snprintf(path, sizeof path, "%s/%s", root, name);
    if (glmq_source_open(&src, path, NULL, &err) || glmq_graph_open(&g, src, NULL, &err))
        fail_msg("%s", err.msg);
    assert_string_equal(glmq_graph_format(g), "tq3");
    assert_int_equal(count_problems(g, "index-stale"), stale);
    assert_int_equal(count_problems(g, "router-bias-narrowed"), 3);
    assert_int_equal(glmq_graph_problem_count(g), 3 + stale);
    snprintf(path, sizeof path, "%s/%s/expected/expected.safetensors", root, name);
    if (glmq_source_open(&values_src, path, NULL, &err) ||
        glmq_catalog_open(&values, values_src, NULL, &err))
        fail_msg("%s", err.msg);
    snprintf(path, sizeof path, "%s/%s/expected/expected.json", root, name);
    expected = read_json(path);
    cJSON_ArrayForEach(entry, cJSON_GetObjectItem(expected, "tensors"))
    {
        check_tensor(g, entry, values, values_src);
        quantized += strcmp(cJSON_GetObjectItem(entry, "kind")->valuestring, "tq") == 0;
    }
    assert_int_equal(quantized, packed);
    assert_int_equal(glmq_graph_count(g),
                     cJSON_GetArraySize(cJSON_GetObjectItem(expected, "tensors")));
    for (size_t i = 0; i < glmq_graph_count(g); i++)
        quantized -= !glmq_encoding_is_plain(&glmq_graph_tensor(g, i)->part[0].enc);
    assert_int_equal(quantized, 0);
    assert_true(glmq_source_count(src) > files);
    cJSON_Delete(expected);
    glmq_catalog_close(values);
    glmq_source_close(values_src);
    glmq_graph_close(g);
    glmq_source_close(src);
}

static void sharded_with_a_pair_in_two_files(void **state)
{
    (void)state;
    check_fixture("glm5-tq3", 108, 0, 5);
}

static void written_by_release_0_7(void **state)
{
    (void)state;
    check_fixture("glm5-tq3-v07", 117, 0, 1);
}

static void one_file_beside_a_stale_index(void **state)
{
    (void)state;
    check_fixture("glm47flash-tq3", 108, 1, 1);
}

static void mixed_widths_and_padded_rows(void **state)
{
    (void)state;
    check_fixture("glm47flash-tq3-mixed", 108, 1, 1);
}

/* ---- encoding: the bytes of the format's own writer ---- */

static void must_encode(const glmq_graph *g, const glmq_tensor *t, const glmq_tensor *from,
                        const glmq_graph *source)
{
    tensor made = make_tensor(t->part[0].enc, t->rows, t->cols);
    float *w = malloc(t->rows * t->cols * sizeof *w);
    glmq_error err;

    assert_non_null(w);
    assert_int_equal(from->rows, t->rows);
    assert_int_equal(from->cols, t->cols);
    if (glmq_tensor_decode(source, from, 0, from->rows, w, &err)) fail_msg("%s", err.msg);
    encode_all(&made, w);
    for (int s = GLMQ_SLOT_CODES; s <= GLMQ_SLOT_SCALES; s++) {
        const glmq_span *at = &t->part[0].span[s];
        uint8_t *want = malloc(at->bytes);
        assert_non_null(want);
        assert_int_equal(at->bytes, made.layout.slot[s].bytes);
        assert_int_equal(glmq_source_read(glmq_graph_source(g), at->file, at->offset, want,
                                          (size_t)at->bytes, &err),
                         GLMQ_OK);
        if (memcmp(want, made.bufs.buf[s], at->bytes) != 0) fail_msg("%s, slot %d", t->name, s);
        free(want);
    }
    free(w);
    free_tensor(&made);
}

static void encodes_as_the_writer_did(void **state)
{
    static const struct {
        const char *name, *source;
    } pairs[] = {
        { "glm5-tq3", "glm5-bf16" },
        { "glm5-tq3-v07", "glm5-bf16" },
        { "glm47flash-tq3", "glm47flash-bf16" },
        { "glm47flash-tq3-mixed", "glm47flash-bf16" },
    };
    const char *root = fixtures_or_skip();
    int count = 0;

    (void)state;
    if (!root) skip();
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        glmq_source *src, *source_src;
        glmq_graph *g, *source;
        glmq_error err;
        char path[600];

        snprintf(path, sizeof path, "%s/%s", root, pairs[i].name);
        if (glmq_source_open(&src, path, NULL, &err) || glmq_graph_open(&g, src, NULL, &err))
            fail_msg("%s", err.msg);
        snprintf(path, sizeof path, "%s/%s", root, pairs[i].source);
        if (glmq_source_open(&source_src, path, NULL, &err) ||
            glmq_graph_open(&source, source_src, NULL, &err))
            fail_msg("%s", err.msg);
        for (size_t k = 0; k < glmq_graph_count(g); k++) {
            const glmq_tensor *t = glmq_graph_tensor(g, k);
            const glmq_tensor *from = glmq_graph_find(source, t->name);
            if (glmq_encoding_is_plain(&t->part[0].enc)) continue;
            assert_non_null(from);
            must_encode(g, t, from, source);
            count++;
        }
        glmq_graph_close(source);
        glmq_graph_close(g);
        glmq_source_close(source_src);
        glmq_source_close(src);
    }
    assert_int_equal(count, 108 + 117 + 108 + 108);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draws_signs_as_torch_does),
        cmocka_unit_test(has_the_books_of_the_package),
        cmocka_unit_test(books_of_other_groups_follow_from_lloyd),
        cmocka_unit_test(indices_are_a_stream_of_bits),
        cmocka_unit_test(decodes_one_row_of_each_width),
        cmocka_unit_test(keeps_the_order_of_operations),
        cmocka_unit_test(drops_the_columns_that_fill_a_group),
        cmocka_unit_test(every_level_gives_the_same_bits),
        cmocka_unit_test(refuses_what_is_no_encoding),
        cmocka_unit_test(refuses_bytes_outside_the_book),
        cmocka_unit_test(encodings_tell_all_parameters),
        cmocka_unit_test(sharded_with_a_pair_in_two_files),
        cmocka_unit_test(written_by_release_0_7),
        cmocka_unit_test(one_file_beside_a_stale_index),
        cmocka_unit_test(mixed_widths_and_padded_rows),
        cmocka_unit_test(encodes_as_the_writer_did),
    };
    return cmocka_run_group_tests_name("tq3", tests, NULL, NULL);
}
