/* GGUF types that are only decoded: ggml's own bytes and floats (fixture), and the constant
 * blocks of the specification. */
#include "glmq/graph.h"
#include "readers/catalog.h"
#include "unit/codec_cases.h"
#include "unit/sha256.h"

/* ---- constant blocks ---- */

/* Byte i is 37 i + 11; d is 0.25 at `d`, dmin or m 0.125 at `dmin` (-1: there is none). */
typedef struct vector {
    const char *codec;
    size_t block, bytes;
    int d, dmin;
    const char *sha256; /* of the decoded floats, first 16 bytes */
    float first[6];
} vector;

static const vector vectors[] = {
    { "q4_0",
      32,
      18,
      0,
      -1,
      "f99e3784e0737ee072fe06a31bcc767c",
      { -0.75f, 0.5f, 1.75f, -1, 0.25f, 1.5f } },
    { "q4_1",
      32,
      20,
      0,
      2,
      "c5abef0f0ca635b39f9c6a41f8513419",
      { 3.875f, 1.125f, 2.375f, 3.625f, 0.875f, 2.125f } },
    { "q5_0",
      32,
      22,
      0,
      -1,
      "6f1f55ba08ac1ae20881673e6113fd40",
      { 2.25f, -0.5f, 0.75f, -2, 3.25f, -3.5f } },
    { "q5_1",
      32,
      24,
      0,
      2,
      "b93406c482b045ef016aa21fed16f3b0",
      { 4.875f, 6.125f, 7.375f, 4.625f, 5.875f, 3.125f } },
    { "q8_0",
      32,
      34,
      0,
      -1,
      "80b32ca43926d21e6af224ad4f718f9a",
      { 21.25f, 30.5f, -24.25f, -15, -5.75f, 3.5f } },
    { "q2_k",
      256,
      84,
      80,
      82,
      "da771d41ae90d1f15754b6dd2c520ae6",
      { 8.25f, 0, 2.75f, 5.5f, 8.25f, 0 } },
    { "q3_k",
      256,
      110,
      108,
      -1,
      "50c828871eadcb0623def08926fd238b",
      { 20.25f, -27, 6.75f, -13.5f, 20.25f, -27 } },
    { "q4_k",
      256,
      144,
      0,
      2,
      "ada27ee672f54d04cc0dc276f8a12d34",
      { 78.875f, -6.375f, 32.375f, 71.125f, 109.875f, 24.625f } },
    { "q5_k",
      256,
      176,
      0,
      2,
      "a9b487cfce7e91ef0658e937006151db",
      { 202.875f, -6.375f, 156.375f, 71.125f, 233.875f, 24.625f } },
    { "q6_k",
      256,
      210,
      208,
      -1,
      "8b3c99074bfdb17bf32888ce35b912a1",
      { -357.75f, 424, 145.75f, -132.5f, -410.75f, 371 } },
    { "iq2_xxs",
      256,
      66,
      0,
      -1,
      "03b04d446a3af39d238e624f812bff3b",
      { -14.78125f, 14.78125f, 8.59375f, -8.59375f, 8.59375f, -2.75f } },
    { "iq2_xs",
      256,
      74,
      0,
      -1,
      "82e64177239aa7b8c47619e0bf117679",
      { -2.75f, 8.59375f, -2.75f, -14.78125f, -2.75f, -8.59375f } },
    { "iq2_s",
      256,
      82,
      0,
      -1,
      "5ba25905665a184073cf04448b07eb9e",
      { -36.28125f, 21.09375f, -6.75f, 6.75f, -6.75f, -36.28125f } },
    { "iq3_xxs",
      256,
      98,
      0,
      -1,
      "591037a1b1f8333d2bc738346678f793",
      { -3.25f, 2.25f, -1.75f, 0.75f, -3.875f, 1.75f } },
    { "iq3_s",
      256,
      110,
      0,
      -1,
      "222fba5c2dbdee41eb3d7534a6e8fe18",
      { -20.25f, 60.75f, -87.75f, -47.25f, -87.75f, -47.25f } },
    { "iq1_s",
      256,
      50,
      0,
      -1,
      "2318204d1e31bf32f7f4910e7f2dbb87",
      { -0.65625f, 0.09375f, 0.84375f, 0.84375f, 0.84375f, 0.09375f } },
    { "iq1_m",
      256,
      56,
      -1,
      -1,
      "a0107af9e94932815d7ccc82db5e6642",
      { -0.09375f, 0.65625f, -0.09375f, -0.09375f, 0.65625f, -0.09375f } },
    { "iq4_nl",
      32,
      18,
      0,
      -1,
      "77bc9bb82483ba77b9a71ac84cec7e49",
      { -8.75f, 6.25f, 28.25f, -12.25f, 3.25f, 22.25f } },
    { "iq4_xs",
      256,
      136,
      0,
      -1,
      "fdf0914863872dedbfe59780fb7485bd",
      { 16.25f, -0.25f, -17.25f, 20.75f, 2.5f, -13.25f } },
    { "tq1_0",
      256,
      54,
      52,
      -1,
      "2bfbf3754d64d1708c723a4f191a5050",
      { -0.25f, -0.25f, -0.25f, 0, 0, 0.25f } },
    { "tq2_0",
      256,
      66,
      64,
      -1,
      "4ac29d59075fe0ee1f5037e1832da22c",
      { 0.5f, -0.25f, 0, 0.25f, 0.5f, -0.25f } },
    { "mxfp4",
      32,
      17,
      -1,
      -1,
      "3330129a1f9233ad1f74680aba9d4715",
      { 0, 0.1875f, -0.0625f, -0.375f, 0.125f, -0.03125f } },
    { "nvfp4", 64, 36, -1, -1, "896a724317b766f9f680e990530895ee", { -6, 2, -0.5f, -4, 1.5f, 0 } },
    { "q1_0",
      128,
      18,
      0,
      -1,
      "f247e05fc3b50b0b07df2a9f10fcba84",
      { 0.25f, -0.25f, 0.25f, -0.25f, 0.25f, -0.25f } },
    { "q2_0", 64, 18, 0, -1, "48f8714ef6bad560eaafd89282972aae", { 0, 0, 0, 0, 0.25f, 0.25f } },
};

enum { VECTORS = sizeof vectors / sizeof *vectors };

static void fill_block(const vector *v, uint8_t *b)
{
    static const uint8_t iq1_m[] = { 0x39, 0x02, 0x7a, 0x05, 0xc4, 0x43, 0xb1, 0x32 };
    static const uint8_t nvfp4[] = { 0x38, 0x01, 0x7e, 0x7f };
    for (size_t i = 0; i < v->bytes; i++) b[i] = (uint8_t)(37 * i + 11);
    if (v->d >= 0) store_le16(b + v->d, 0x3400);
    if (v->dmin >= 0) store_le16(b + v->dmin, 0x3000);
    if (strcmp(v->codec, "iq1_m") == 0) memcpy(b + 48, iq1_m, sizeof iq1_m);
    if (strcmp(v->codec, "mxfp4") == 0) b[0] = 0x7b;
    if (strcmp(v->codec, "nvfp4") == 0) memcpy(b, nvfp4, sizeof nvfp4);
}

static void decode_blocks(const char *codec, const uint8_t *bytes, size_t len, uint64_t rows,
                          uint64_t cols, float *w)
{
    tensor t = make_tensor(array_encoding(codec), rows, cols);
    assert_int_equal(t.layout.slot[GLMQ_SLOT_CODES].bytes, len);
    memcpy(t.bufs.buf[GLMQ_SLOT_CODES], bytes, len);
    free(t.bufs.buf[GLMQ_SLOT_GLOBAL]); /* NVFP4: the tensor's scale lies elsewhere, 1 if nowhere */
    t.bufs.buf[GLMQ_SLOT_GLOBAL] = NULL;
    decode_all(&t, w);
    free_tensor(&t);
}

static void constant_blocks_decode_as_in_ggml(void **state)
{
    (void)state;
    for (size_t i = 0; i < VECTORS; i++) {
        const vector *v = &vectors[i];
        uint8_t *block = malloc(v->bytes); /* exactly: a sanitizer sees a read behind it */
        float w[256];
        char hex[65];
        assert_non_null(block);
        fill_block(v, block);
        decode_blocks(v->codec, block, v->bytes, 1, v->block, w);
        for (int k = 0; k < 6; k++)
            if (w[k] != v->first[k])
                fail_msg("%s: weight %d is %g, expected %g", v->codec, k, (double)w[k],
                         (double)v->first[k]);
        sha256_hex(w, v->block * sizeof *w, hex);
        hex[32] = '\0';
        if (strcmp(hex, v->sha256) != 0) fail_msg("%s: %s, expected %s", v->codec, hex, v->sha256);
        free(block);
    }
}

/* Of the types that no tool writes, ggml decodes Q8_K; both are d times a signed byte. */
static void types_for_activations_are_scale_times_byte(void **state)
{
    uint8_t q8_k[292] = { 0 }, q8_1[36] = { 0 };
    float w[256];
    (void)state;
    store_le32(q8_k, 0x3dcccccd); /* 0.1 */
    q8_k[4] = 3;
    q8_k[259] = 0x80;
    decode_blocks("q8_k", q8_k, sizeof q8_k, 1, 256, w);
    assert_true(w[0] == 0.1f * 3 && w[1] == 0 && w[255] == 0.1f * -128);
    store_le16(q8_1, 0x3400);
    store_le16(q8_1 + 2, 0x7c00); /* the sum is not looked at */
    q8_1[4] = 0xff;
    q8_1[35] = 100;
    decode_blocks("q8_1", q8_1, sizeof q8_1, 1, 32, w);
    assert_true(w[0] == -0.25f && w[1] == 0 && w[31] == 25);
}

static void every_type_of_ggml_is_decoded(void **state)
{
    (void)state;
    for (int d = GLMQ_DT_Q4_0; d < GLMQ_DT_COUNT; d++) {
        const glmq_encoding e = glmq_encoding_of_dtype((glmq_dtype)d);
        if (!e.codec) fail_msg("no codec for %s", glmq_dtype_name((glmq_dtype)d));
        assert_int_equal(glmq_encoding_dtype(&e), d);
    }
}

static void columns_fill_whole_blocks(void **state)
{
    glmq_layout l;
    glmq_error err;
    glmq_encoding e = glmq_encoding_of_dtype(GLMQ_DT_Q4_K);
    (void)state;
    assert_int_equal(e.codec->layout(&e, 3, 512, &l, &err), GLMQ_OK);
    assert_int_equal(l.slot[GLMQ_SLOT_CODES].bytes, 3 * 2 * 144);
    assert_int_equal(l.slot[GLMQ_SLOT_CODES].stripe_bytes, 2 * 144);
    assert_int_equal(e.codec->layout(&e, 3, 288, &l, &err), GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "Q4_K: 288 columns, not a multiple of 256");
}

/* ---- the fixture ---- */

static uint8_t *array_bytes(const glmq_source *src, const glmq_array *a)
{
    uint8_t *data = malloc(a->bytes + 1);
    glmq_error err;
    assert_non_null(data);
    if (glmq_source_read(src, a->file, a->offset, data, (size_t)a->bytes, &err))
        fail_msg("%s: %s", a->name, err.msg);
    return data;
}

/* "q4_K.im" -> "q4_k": our names are in lower case. */
static void codec_name(const char *key, char name[32])
{
    size_t n = 0;
    while (key[n] && key[n] != '.' && n < 31) {
        name[n] = (char)(key[n] >= 'A' && key[n] <= 'Z' ? key[n] + 32 : key[n]);
        n++;
    }
    name[n] = '\0';
}

/* `a` is KEY.float; the codes are KEY.bytes. */
static void check_floats(const glmq_source *src, const glmq_catalog *cat, const glmq_array *a)
{
    const size_t stem = strlen(a->name) - strlen("float");
    const uint64_t cols = a->dims[1], rows = a->dims[0];
    char key[64], name[32];
    const glmq_array *codes;
    uint8_t *bytes, *want;
    float *w = malloc((size_t)(rows * cols) * sizeof *w);

    assert_non_null(w);
    snprintf(key, sizeof key, "%.*sbytes", (int)stem, a->name);
    codes = glmq_catalog_find(cat, key, strlen(key));
    if (!codes) fail_msg("no %s", key);
    codec_name(key, name);
    bytes = array_bytes(src, codes);
    want = array_bytes(src, a);
    decode_blocks(name, bytes, (size_t)codes->bytes, rows, cols, w);
    assert_int_equal(a->bytes, rows * cols * sizeof *w);
    if (memcmp(w, want, (size_t)a->bytes) != 0) fail_msg("%s differs", a->name);
    free(w);
    free(bytes);
    free(want);
}

static void ggml_decodes_its_own_blocks_to_the_same_bits(void **state)
{
    const char *root = fixtures_or_skip();
    glmq_source *src;
    glmq_catalog *cat = NULL;
    glmq_error err;
    char path[600];
    size_t checked = 0;

    (void)state;
    if (!root) skip();
    snprintf(path, sizeof path, "%s/ggml-types.safetensors", root);
    if (access(path, R_OK)) skip();
    if (glmq_source_open(&src, path, NULL, &err) || glmq_catalog_open(&cat, src, NULL, &err))
        fail_msg("%s: %s", path, err.msg);
    for (size_t i = 0; i < cat->count; i++) {
        const char *tail = strrchr(cat->arrays[i].name, '.');
        if (!tail || strcmp(tail, ".float") != 0) continue;
        check_floats(src, cat, &cat->arrays[i]);
        checked++;
    }
    assert_true(checked >= 2 * 20);
    print_message("%zu arrays\n", checked);
    glmq_catalog_close(cat);
    glmq_source_close(src);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(constant_blocks_decode_as_in_ggml),
        cmocka_unit_test(types_for_activations_are_scale_times_byte),
        cmocka_unit_test(every_type_of_ggml_is_decoded),
        cmocka_unit_test(columns_fill_whole_blocks),
        cmocka_unit_test(ggml_decodes_its_own_blocks_to_the_same_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
