/* The codecs against values that others worked out: tests/vectors (any new file there is
 * picked up), the fixtures' golden blocks, and what the peers' quantizers stored. */
#include "base/error.h"
#include "base/json.h"
#include "base/num.h"
#include "book_cases.h"
#include "codec_cases.h"
#include "codecs/fp4.h"
#include <dirent.h>
#include <math.h>

static glmq_dtype dtype_of(const char *name)
{
    return glmq_dtype_from_st(name, strlen(name));
}

/* ---- scalar floats ---- */

/* (-1)^s 2^(e-15) (1 + m/1024), or 2^-14 m/1024 below. */
static double half_value(unsigned h)
{
    const double m = h & 1023;
    const int e = (int)(h >> 10 & 31);
    const double v = e ? ldexp(1 + m / 1024, e - 15) : ldexp(m / 1024, -14);
    return h & 0x8000 ? -v : v;
}

static void every_half_widens_exactly_and_comes_back(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x10000; h++) {
        const float f = f32_from_f16((uint16_t)h);
        if ((h & 0x7fff) > 0x7c00) {
            assert_true(isnan(f));
            assert_int_equal(f16_from_f32(f), (h & 0x8000) | 0x7e00);
            continue;
        }
        if ((h & 0x7fff) == 0x7c00)
            assert_true(isinf(f));
        else
            assert_true((double)f == half_value(h));
        assert_int_equal(f16_from_f32(f), h);
        assert_int_equal(signbit(f) != 0, h >> 15);
    }
}

/* Between neighbours: below the middle down, above it up, the middle to the even one. */
static void halves_round_to_nearest_even(void **state)
{
    (void)state;
    for (unsigned h = 0; h < 0x7bff; h++) {
        const float mid = (float)((half_value(h) + half_value(h + 1)) / 2); /* 12 bits: exact */
        assert_int_equal(f16_from_f32(mid), h + (h & 1));
        assert_int_equal(f16_from_f32(nextafterf(mid, 0)), h);
        assert_int_equal(f16_from_f32(nextafterf(mid, 1e9f)), h + 1);
        assert_int_equal(f16_from_f32(-mid), 0x8000 | (h + (h & 1)));
    }
    assert_int_equal(f16_from_f32(65519.996f), 0x7bff);
    assert_int_equal(f16_from_f32(65520.0f), 0x7c00);
    assert_int_equal(f16_from_f32(-INFINITY), 0xfc00);
    assert_int_equal(f16_from_f32(0x1p-25f), 0);
    assert_int_equal(f16_from_f32(-0x1p-25f), 0x8000);
}

static void bfloat16_rounds_to_nearest_even(void **state)
{
    (void)state;
    for (unsigned b = 0; b < 0x7f80; b++) {
        const uint32_t low = b << 16;
        assert_int_equal(bits_from_f32(f32_from_bf16((uint16_t)b)), low);
        assert_int_equal(bf16_from_f32(f32_from_bits(low)), b);
        assert_int_equal(bf16_from_f32(f32_from_bits(low | 0x7fff)), b);
        assert_int_equal(bf16_from_f32(f32_from_bits(low | 0x8000)), b + (b & 1));
        assert_int_equal(bf16_from_f32(f32_from_bits(low | 0x8001)), b + 1);
    }
    assert_int_equal(bf16_from_f32(f32_from_bits(0xff800001)), 0xffc0);
    assert_int_equal(bf16_from_f32(f32_from_bits(0x7fffffff)), 0x7fc0);
}

/* ---- element types and encodings as values ---- */

static void element_types_have_the_sizes_of_their_formats(void **state)
{
    static const struct {
        const char *name;
        uint32_t id;
        uint64_t count, bytes;
    } types[] = {
        { "F32", 0, 3, 12 },        { "F16", 1, 3, 6 },       { "Q4_0", 2, 64, 36 },
        { "Q8_0", 8, 64, 68 },      { "Q6_K", 14, 512, 420 }, { "IQ1_M", 29, 256, 56 },
        { "BF16", 30, 5, 10 },      { "TQ1_0", 34, 256, 54 }, { "MXFP4", 39, 64, 34 },
        { "NVFP4", 40, 128, 72 },   { "Q1_0", 41, 128, 18 },  { "Q2_0", 42, 64, 18 },
        { "IQ2_XXS", 16, 256, 66 }, { "IQ4_NL", 20, 32, 18 }, { "IQ4_XS", 23, 256, 136 },
    };
    uint64_t bytes;
    (void)state;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const glmq_dtype d = glmq_dtype_from_ggml(types[i].id);
        assert_string_equal(glmq_dtype_name(d), types[i].name);
        assert_int_equal(glmq_dtype_bytes(d, types[i].count, &bytes), 0);
        assert_int_equal(bytes, types[i].bytes);
    }
    assert_int_equal(glmq_dtype_bytes(GLMQ_DT_Q4_0, 33, &bytes), 1);
    assert_int_equal(glmq_dtype_bytes(GLMQ_DT_F4, 3, &bytes), 1); /* half a byte over */
    assert_int_equal(glmq_dtype_bytes(GLMQ_DT_F6_E2M3, 4, &bytes), 0);
    assert_int_equal(bytes, 3);
    assert_int_equal(glmq_dtype_bytes(GLMQ_DT_F64, UINT64_MAX / 4, &bytes), 1);
    assert_int_equal(dtype_of("F8_E4M3"), GLMQ_DT_F8_E4M3);
    assert_int_equal(dtype_of("bf16"), GLMQ_DT_NONE); /* names are case-sensitive */
    assert_int_equal(dtype_of("Q4_0"), GLMQ_DT_NONE); /* no type of safetensors */
}

static void foreign_type_ids_are_explained(void **state)
{
    static const uint32_t refused[] = { 4, 5, 31, 33, 36, 38, 43, 97, 144, 202, UINT32_MAX };
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        assert_int_equal(glmq_dtype_from_ggml(refused[i]), GLMQ_DT_NONE);
    assert_string_equal(glmq_ggml_id_why(4), "removed from ggml (was Q4_2)");
    assert_string_equal(glmq_ggml_id_why(144),
                        "IQ4_KS of ik_llama.cpp; upstream ggml has no such type");
    assert_string_equal(glmq_ggml_id_why(210),
                        "a row-interleaved type of ik_llama.cpp; upstream ggml has no such type");
    assert_string_equal(glmq_ggml_id_why(4711), "unknown to ggml");
}

static void encodings_print_all_that_tells_them_apart(void **state)
{
    glmq_encoding e = int_encoding("gptq", 4, 128, GLMQ_ZERO_MID, GLMQ_DT_F16, 1);
    char text[96];
    (void)state;
    assert_int_equal(glmq_encoding_print(&e, text, sizeof text), 38);
    assert_string_equal(text, "gptq:bits=4,group=128,sym,scale=F16,v1");
    e = int_encoding("ctpack", 8, 0, GLMQ_ZERO_STORED, GLMQ_DT_BF16, 1);
    e.act_order = GLMQ_ACT_ORDER;
    glmq_encoding_print(&e, text, sizeof text);
    assert_string_equal(text, "ctpack:bits=8,group=channel,asym,scale=BF16,act-order,zeros=I8");
    assert_int_equal(glmq_encoding_print(&e, text, 10), 62); /* cut, and the length it would take */
    assert_string_equal(text, "ctpack:bi");
    e = glmq_encoding_of_dtype(GLMQ_DT_I8);
    glmq_encoding_print(&e, text, sizeof text);
    assert_string_equal(text, "I8");
    e = fp4_nvfp4(FP4_CT);
    glmq_encoding_print(&e, text, sizeof text);
    assert_string_equal(text, "fp4:nvfp4,compressed-tensors");
    e.scalar = 1; /* no part of what it is */
    const glmq_encoding same = fp4_nvfp4(FP4_CT);
    assert_true(glmq_encoding_equal(&e, &same));
    e = fp4_mxfp4(FP4_MODELOPT);
    e.scale_dtype = GLMQ_DT_F8_E8M0;
    glmq_encoding_print(&e, text, sizeof text);
    assert_string_equal(text, "fp4:mxfp4,modelopt,scale=F8_E8M0");
    assert_true(glmq_encoding_bpw(&e, 4, 64) == 4.25);
    e = array_encoding("q5_1");
    assert_int_equal(glmq_encoding_dtype(&e), GLMQ_DT_Q5_1);
    assert_true(glmq_encoding_bpw(&e, 4, 64) == 6.0);
}

/* ---- tests/vectors ---- */

static const struct slot_name {
    const char *name;
    int slot;
} slot_names[] = {
    { "codes", GLMQ_SLOT_CODES }, { "scales", GLMQ_SLOT_SCALES }, { "zeros", GLMQ_SLOT_ZEROS },
    { "perm", GLMQ_SLOT_PERM },   { "shape", GLMQ_SLOT_SHAPE },   { "global", GLMQ_SLOT_GLOBAL },
    { "book", GLMQ_SLOT_BOOK },
};

static uint8_t *hex_bytes(const char *hex, size_t *len)
{
    uint8_t *out = malloc(strlen(hex) / 2 + 1);
    assert_non_null(out);
    *len = strlen(hex) / 2;
    for (size_t i = 0; i < *len; i++) {
        unsigned v;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &v), 1);
        out[i] = (uint8_t)v;
    }
    return out;
}

static int number_of(const cJSON *node, const char *key)
{
    uint64_t v = 0;
    const cJSON *n = glmq_json_get(node, key);
    return n && glmq_json_u64(n, &v) ? (int)v : 0;
}

/* NVFP4 and MXFP4 of safetensors; `variant`: whose they are. */
static glmq_encoding fp4_case(const cJSON *e)
{
    const int variant = number_of(e, "variant");
    return number_of(e, "group") == 16 ? fp4_nvfp4(variant) : fp4_mxfp4(variant);
}

/* Blocks, rows (group 0) or the whole tensor (group_rows 0). */
static glmq_encoding fp8_case(const cJSON *e)
{
    glmq_encoding enc = int_encoding("fp8", 8, (uint32_t)number_of(e, "group"), GLMQ_ZERO_MID,
                                     dtype_of(glmq_json_string(e, "scale")), 0);
    enc.group_rows = (uint16_t)number_of(e, "group_rows");
    return enc;
}

static glmq_encoding case_encoding(const cJSON *e)
{
    const char *codec = glmq_json_string(e, "codec"), *zeros = glmq_json_string(e, "zeros");
    glmq_encoding enc;
    if (strcmp(codec, "fp4") == 0) return fp4_case(e);
    if (strcmp(codec, "fp8") == 0) return fp8_case(e);
    if (is_book_case(e)) return book_case(e);
    if (!zeros) return array_encoding(codec);
    enc = int_encoding(codec, number_of(e, "bits"), (uint32_t)number_of(e, "group"),
                       strcmp(zeros, "mid") ? GLMQ_ZERO_STORED : GLMQ_ZERO_MID,
                       dtype_of(glmq_json_string(e, "scale")), number_of(e, "variant"));
    enc.act_order = (uint8_t)number_of(e, "act_order");
    enc.seed = (uint64_t)number_of(e, "seed");
    return enc;
}

/* Fills the slots that the case lists; they must be those of the layout, to the byte. */
static void load_slots(tensor *t, const cJSON *slots)
{
    for (size_t i = 0; i < sizeof slot_names / sizeof *slot_names; i++) {
        const char *hex = glmq_json_string(slots, slot_names[i].name);
        uint8_t *to = t->bufs.buf[slot_names[i].slot], *bytes;
        size_t len;
        if (!hex) continue;
        bytes = hex_bytes(hex, &len);
        assert_non_null(to);
        assert_int_equal(len, t->layout.slot[slot_names[i].slot].bytes);
        memcpy(to, bytes, len);
        free(bytes);
    }
}

static void check_values(const cJSON *c, const float *w, size_t n)
{
    const char *values = glmq_json_string(c, "values");
    const char *rounded = glmq_json_string(c, "rounded.bits");
    const char *dtype = glmq_json_string(c, "rounded.dtype");
    uint8_t *want;
    size_t len;

    if (values) {
        want = hex_bytes(values, &len);
        assert_int_equal(len, n * 4);
        assert_memory_equal(w, want, len);
        free(want);
    }
    if (!rounded) return;
    want = hex_bytes(rounded, &len);
    assert_int_equal(len, n * 2);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(dtype_of(dtype) == GLMQ_DT_F16 ? f16_from_f32(w[i]) : bf16_from_f32(w[i]),
                         load_le16(want + 2 * i));
    free(want);
}

static void encode_with_stats(tensor *t, const float *w, int bf16)
{
    glmq_stats stats = { .bf16 = bf16 };
    for (uint64_t i = 0; i < t->rows * t->cols; i++) stats.amax = fmaxf(stats.amax, fabsf(w[i]));
    t->enc.codec->encode(&t->enc, &stats, whole(t), w, &t->bufs);
}

static void run_case(const cJSON *c)
{
    const glmq_encoding e = case_encoding(glmq_json_get(c, "encoding"));
    tensor t = make_tensor(e, (uint64_t)number_of(c, "rows"), (uint64_t)number_of(c, "cols"));
    tensor made = make_tensor(e, t.rows, t.cols);
    const char *input = glmq_json_string(c, "input");
    float *w = malloc(t.rows * t.cols * sizeof *w);
    glmq_error err;

    load_slots(&t, glmq_json_get(c, "slots"));
    if (e.codec->check && e.codec->check(&t.enc, &t.bufs, t.rows, t.cols, &err))
        fail_msg("%s", err.msg);
    decode_all(&t, w);
    check_values(c, w, t.rows * t.cols);
    if (input) {
        size_t len;
        uint8_t *from = hex_bytes(input, &len);
        assert_int_equal(len, t.rows * t.cols * 4);
        memcpy(w, from, len);
        encode_with_stats(&made, w, number_of(c, "bf16"));
        assert_same_bytes(&t, &made);
        free(from);
    }
    free(w);
    free_tensor(&t);
    free_tensor(&made);
}

static int run_file(const char *folder, const char *name)
{
    char path[1024];
    size_t len;
    char *text;
    cJSON *root = NULL;
    const cJSON *c;
    int count = 0;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    text = slurp(path, &len);
    assert_int_equal(glmq_json_parse(&root, text, len, 0, NULL), GLMQ_OK);
    cJSON_ArrayForEach(c, glmq_json_get(root, "cases"))
    {
        print_message("%s: %s\n", name, glmq_json_string(c, "name"));
        run_case(c);
        count++;
    }
    cJSON_Delete(root);
    free(text);
    return count;
}

static void codecs_agree_with_every_vector(void **state)
{
    const char *root = getenv("GLMQ_SOURCE_DIR");
    char folder[512];
    struct dirent *d;
    DIR *dir;
    int count = 0;
    (void)state;

    snprintf(folder, sizeof folder, "%s/tests/vectors", root && *root ? root : ".");
    dir = opendir(folder);
    assert_non_null(dir);
    while ((d = readdir(dir))) {
        const char *dot = strrchr(d->d_name, '.');
        if (dot && strcmp(dot, ".json") == 0) count += run_file(folder, d->d_name);
    }
    closedir(dir);
    assert_true(count >= 50);
}

/* ---- fixtures: safetensors files read in a few lines ---- */

typedef struct arrays {
    char *data;
    cJSON *header;
    const uint8_t *base;
} arrays;

static arrays open_arrays(const char *folder, const char *name)
{
    char path[1024];
    size_t len;
    arrays a;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    a.data = slurp(path, &len);
    const uint64_t header = load_le64(a.data);
    assert_true(header < len);
    assert_int_equal(glmq_json_parse(&a.header, a.data + 8, (size_t)header, 0, NULL), GLMQ_OK);
    a.base = (const uint8_t *)a.data + 8 + header;
    return a;
}

static void close_arrays(arrays *a)
{
    cJSON_Delete(a->header);
    free(a->data);
}

static const uint8_t *array_named(const arrays *a, const char *name, uint64_t dims[2],
                                  glmq_dtype *dtype)
{
    const cJSON *entry = cJSON_GetObjectItemCaseSensitive(a->header, name);
    uint64_t begin;
    if (!entry) return NULL;
    const cJSON *shape = glmq_json_get(entry, "shape");
    for (int i = 0; i < 2; i++) {
        dims[i] = 1;
        if (i < cJSON_GetArraySize(shape)) glmq_json_u64(cJSON_GetArrayItem(shape, i), &dims[i]);
    }
    *dtype = dtype_of(glmq_json_string(entry, "dtype"));
    glmq_json_u64(cJSON_GetArrayItem(glmq_json_get(entry, "data_offsets"), 0), &begin);
    return a->base + begin;
}

static const uint8_t *golden(const arrays *a, const char *type, const char *what, uint64_t *bytes)
{
    char name[64];
    uint64_t dims[2];
    glmq_dtype dtype;
    snprintf(name, sizeof name, "%s.%s", type, what);
    const uint8_t *p = array_named(a, name, dims, &dtype);
    assert_non_null(p);
    assert_int_equal(glmq_dtype_bytes(dtype, dims[0] * dims[1], bytes), 0);
    return p;
}

static void ggml_blocks_decode_and_encode_as_ggml_does(void **state)
{
    static const char *const types[] = { "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "mxfp4", "nvfp4" };
    const char *fixtures = fixtures_or_skip();
    uint64_t dims[2], bytes;
    glmq_dtype dtype;
    (void)state;

    if (!fixtures) skip();
    arrays a = open_arrays(fixtures, "ggml-types.safetensors");
    const uint8_t *input = array_named(&a, "input", dims, &dtype);
    float *w = malloc(dims[0] * dims[1] * sizeof *w);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        tensor t = make_tensor(array_encoding(types[i]), dims[0], dims[1]);
        memcpy(w, input, dims[0] * dims[1] * 4);
        encode_all(&t, w);
        const uint8_t *want = golden(&a, types[i], "bytes", &bytes);
        assert_int_equal(bytes, t.layout.slot[GLMQ_SLOT_CODES].bytes);
        assert_memory_equal(t.bufs.buf[GLMQ_SLOT_CODES], want, bytes);
        decode_all(&t, w);
        want = golden(&a, types[i], "float", &bytes);
        assert_memory_equal(w, want, bytes);
        free_tensor(&t);
    }
    free(w);
    close_arrays(&a);
}

/* ---- fixtures: what compressed-tensors made of BF16 weights ---- */

enum { SHARDS = 8 };

typedef struct checkpoint {
    arrays shard[SHARDS];
    int count;
} checkpoint;

static checkpoint open_checkpoint(const char *fixtures, const char *name)
{
    char folder[512];
    checkpoint c = { .count = 0 };
    struct dirent *d;
    DIR *dir;
    snprintf(folder, sizeof folder, "%s/%s", fixtures, name);
    dir = opendir(folder);
    assert_non_null(dir);
    while ((d = readdir(dir)))
        if (strncmp(d->d_name, "model", 5) == 0 && strstr(d->d_name, ".safetensors") &&
            !strstr(d->d_name, ".json")) {
            assert_true(c.count < SHARDS);
            c.shard[c.count++] = open_arrays(folder, d->d_name);
        }
    closedir(dir);
    return c;
}

static void close_checkpoint(checkpoint *c)
{
    for (int i = 0; i < c->count; i++) close_arrays(&c->shard[i]);
}

static const uint8_t *find_array(const checkpoint *c, const char *module, const char *what,
                                 uint64_t dims[2], glmq_dtype *dtype)
{
    char name[256];
    snprintf(name, sizeof name, "%s.%s", module, what);
    for (int i = 0; i < c->count; i++) {
        const uint8_t *p = array_named(&c->shard[i], name, dims, dtype);
        if (p) return p;
    }
    return NULL;
}

/* Encodes the BF16 weight of one module: every stored array must come out. */
static void check_module(const checkpoint *plain, const checkpoint *ct, const char *module)
{
    static const struct {
        const char *name;
        int slot;
    } stored[] = { { "weight_packed", GLMQ_SLOT_CODES },
                   { "weight_scale", GLMQ_SLOT_SCALES },
                   { "weight_zero_point", GLMQ_SLOT_ZEROS },
                   { "weight_shape", GLMQ_SLOT_SHAPE } };
    uint64_t shape[2], dims[2], groups[2];
    glmq_dtype dtype, scale;
    const uint8_t *w = find_array(plain, module, "weight", shape, &dtype);

    assert_non_null(w);
    assert_int_equal(dtype, GLMQ_DT_BF16);
    assert_non_null(find_array(ct, module, "weight_scale", groups, &scale));
    const int asym = find_array(ct, module, "weight_zero_point", dims, &dtype) != NULL;
    tensor t = make_tensor(int_encoding("ctpack", 4, (uint32_t)(shape[1] / groups[1]),
                                        asym ? GLMQ_ZERO_STORED : GLMQ_ZERO_MID, scale, 0),
                           shape[0], shape[1]);
    float *values = malloc(shape[0] * shape[1] * sizeof *values);
    for (uint64_t i = 0; i < shape[0] * shape[1]; i++)
        values[i] = f32_from_bf16(load_le16(w + 2 * i));
    encode_all(&t, values);
    for (size_t i = 0; i < sizeof stored / sizeof *stored; i++) {
        const uint8_t *want = find_array(ct, module, stored[i].name, dims, &dtype);
        if (!want) continue;
        assert_int_equal(t.layout.slot[stored[i].slot].dims[0], dims[0]);
        assert_memory_equal(t.bufs.buf[stored[i].slot], want, t.layout.slot[stored[i].slot].bytes);
    }
    free(values);
    free_tensor(&t);
}

static void check_checkpoint(const char *plain_name, const char *ct_name, int at_least)
{
    const char *fixtures = fixtures_or_skip();
    const cJSON *entry;
    int count = 0;

    if (!fixtures) skip();
    checkpoint plain = open_checkpoint(fixtures, plain_name);
    checkpoint ct = open_checkpoint(fixtures, ct_name);
    for (int i = 0; i < ct.count; i++) cJSON_ArrayForEach(entry, ct.shard[i].header)
        {
            char module[256];
            const char *end = strstr(entry->string, ".weight_packed");
            if (!end) continue;
            snprintf(module, sizeof module, "%.*s", (int)(end - entry->string), entry->string);
            check_module(&plain, &ct, module);
            count++;
        }
    assert_true(count >= at_least);
    close_checkpoint(&plain);
    close_checkpoint(&ct);
}

static void encodes_int4_groups_of_32_as_compressed_tensors_does(void **state)
{
    (void)state;
    check_checkpoint("glm47-bf16", "glm47-compressed-tensors-g32", 50);
}

static void encodes_int4_groups_of_128_as_compressed_tensors_does(void **state)
{
    (void)state;
    check_checkpoint("glm47-bf16", "glm47-compressed-tensors-g128", 50);
}

static void encodes_asymmetric_int4_as_compressed_tensors_does(void **state)
{
    (void)state;
    check_checkpoint("glm47flash-bf16", "glm47flash-compressed-tensors-asym-g32-layer1", 20);
}

/* Tiles that begin and end inside of blocks, against the formula. */
static void fp8_rows_are_scaled_by_the_block_they_lie_in(void **state)
{
    glmq_encoding e = int_encoding("fp8", 8, 8, GLMQ_ZERO_MID, GLMQ_DT_F32, 0);
    float w[3 * 19];
    tensor t;

    (void)state;
    e.group_rows = 4;
    t = make_tensor(e, 11, 19);
    assert_int_equal(t.layout.slot[GLMQ_SLOT_SCALES].bytes, 4 * 3 * 3);
    memset(t.bufs.buf[GLMQ_SLOT_CODES], 0x3c, 11 * 19); /* 1.5 */
    for (uint32_t i = 0; i < 9; i++)                    /* 2^i */
        store_le32(t.bufs.buf[GLMQ_SLOT_SCALES] + 4 * i, (127 + i) << 23);
    for (uint64_t r = 0; r < 11; r += 3) {
        const uint64_t n = r + 3 > 11 ? 11 - r : 3;
        glmq_bufs b = t.bufs;

        b.row0 = r;
        b.buf[GLMQ_SLOT_CODES] += r * 19;
        e.codec->decode(&e, &b, (glmq_tile){ r, n, 19, 11 }, w);
        for (uint64_t i = 0; i < n * 19; i++)
            assert_true(w[i] == 1.5f * (float)(1 << ((r + i / 19) / 4 * 3 + i % 19 / 8)));
    }
    free_tensor(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fp8_rows_are_scaled_by_the_block_they_lie_in),
        cmocka_unit_test(every_half_widens_exactly_and_comes_back),
        cmocka_unit_test(halves_round_to_nearest_even),
        cmocka_unit_test(bfloat16_rounds_to_nearest_even),
        cmocka_unit_test(element_types_have_the_sizes_of_their_formats),
        cmocka_unit_test(foreign_type_ids_are_explained),
        cmocka_unit_test(encodings_print_all_that_tells_them_apart),
        cmocka_unit_test(codecs_agree_with_every_vector),
        cmocka_unit_test(ggml_blocks_decode_and_encode_as_ggml_does),
        cmocka_unit_test(encodes_int4_groups_of_32_as_compressed_tensors_does),
        cmocka_unit_test(encodes_int4_groups_of_128_as_compressed_tensors_does),
        cmocka_unit_test(encodes_asymmetric_int4_as_compressed_tensors_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
