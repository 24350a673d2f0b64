/* Four-bit floats: what the libraries stored and read (fixtures), global scales and their
 * reciprocals, and codes moved under scales of another kind. */
#include "base/error.h"
#include "base/num.h"
#include "codec_cases.h"
#include "codecs/fp4.h"
#include "codecs/transcode.h"
#include "readers/catalog.h"
#include <math.h>

/* ---- fp4-vectors.safetensors: one awkward matrix, by every library ---- */

typedef struct vectors {
    glmq_source *src;
    glmq_catalog *cat;
} vectors;

static vectors open_vectors(void)
{
    const char *root = fixtures_or_skip();
    vectors v = { 0 };
    char path[600];
    glmq_error err;

    if (!root) skip();
    snprintf(path, sizeof path, "%s/fp4-vectors.safetensors", root);
    if (glmq_source_open(&v.src, path, NULL, &err) || glmq_catalog_open(&v.cat, v.src, NULL, &err))
        fail_msg("%s", err.msg);
    return v;
}

static void close_vectors(vectors *v)
{
    glmq_catalog_close(v->cat);
    glmq_source_close(v->src);
}

/* The bytes of "SET.NAME"; the caller frees them. */
static uint8_t *bytes_of(const vectors *v, const char *set, const char *name, uint64_t *n)
{
    char full[96];
    const glmq_array *a;
    uint8_t *data;

    snprintf(full, sizeof full, "%s%s%s", set, *set ? "." : "", name);
    a = glmq_catalog_find(v->cat, full, strlen(full));
    if (!a) fail_msg("no %s", full);
    data = malloc(a->bytes + 1);
    assert_non_null(data);
    assert_int_equal(glmq_source_read(v->src, a->file, a->offset, data, (size_t)a->bytes, NULL),
                     GLMQ_OK);
    *n = a->bytes;
    return data;
}

enum { ROWS = 48, COLS = 256 };

static const struct library {
    const char *set, *codes, *scales, *global;
    int variant;
    uint32_t group;
    int bf16; /* decoded to BF16 */
} libraries[] = {
    { "mo_nvfp4", "weight", "weight_scale", "weight_scale_2", FP4_MODELOPT, 16, 0 },
    { "ct_nvfp4", "weight_packed", "weight_scale", "weight_global_scale", FP4_CT, 16, 1 },
    { "mo_mxfp4", "blocks", "scales", NULL, FP4_MODELOPT, 32, 0 },
    { "ct_mxfp4", "weight_packed", "weight_scale", NULL, FP4_CT, 32, 1 },
    { "cast", "weight", "weight_scale", "weight_scale_2", FP4_MODELOPT, 16, 0 },
};

static void load_slot(tensor *t, int slot, const vectors *v, const char *set, const char *name)
{
    uint64_t n;
    uint8_t *data;

    if (!name) return;
    data = bytes_of(v, set, name, &n);
    assert_int_equal(n, t->layout.slot[slot].bytes);
    memcpy(t->bufs.buf[slot], data, n);
    free(data);
}

static tensor load_set(const vectors *v, const struct library *l)
{
    tensor t =
        make_tensor(l->group == 16 ? fp4_nvfp4(l->variant) : fp4_mxfp4(l->variant), ROWS, COLS);

    load_slot(&t, GLMQ_SLOT_CODES, v, l->set, l->codes);
    load_slot(&t, GLMQ_SLOT_SCALES, v, l->set, l->scales);
    load_slot(&t, GLMQ_SLOT_GLOBAL, v, l->set, l->global);
    return t;
}

static void decodes_what_every_library_stored(void **state)
{
    vectors v = open_vectors();
    float w[ROWS * COLS];
    (void)state;

    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        const struct library *l = &libraries[i];
        tensor t = load_set(&v, l);
        uint64_t n;
        uint8_t *want = bytes_of(&v, l->set, "decoded", &n);

        assert_int_equal(n, ROWS * COLS * (l->bf16 ? 2 : 4));
        decode_all(&t, w);
        for (size_t k = 0; k < ROWS * COLS; k++) {
            const uint32_t have = l->bf16 ? bf16_from_f32(w[k]) : bits_from_f32(w[k]);
            const uint32_t wanted = l->bf16 ? load_le16(want + 2 * k) : load_le32(want + 4 * k);
            if (have != wanted) fail_msg("%s: weight %zu: %08x, %08x", l->set, k, have, wanted);
        }
        free(want);
        free_tensor(&t);
    }
    close_vectors(&v);
}

static void encodes_as_the_libraries_do(void **state)
{
    vectors v = open_vectors();
    float w[ROWS * COLS];
    glmq_stats stats = { .bf16 = 1 };
    uint64_t n;
    uint8_t *source = bytes_of(&v, "", "W", &n);
    (void)state;

    for (size_t k = 0; k < ROWS * COLS; k++) {
        w[k] = f32_from_bf16(load_le16(source + 2 * k));
        stats.amax = fmaxf(stats.amax, fabsf(w[k]));
    }
    for (size_t i = 0; i < sizeof libraries / sizeof *libraries; i++) {
        const struct library *l = &libraries[i];
        tensor want = load_set(&v, l), t = make_tensor(want.enc, ROWS, COLS);

        if (strcmp(l->set, "cast") != 0 && strcmp(l->set, "mo_mxfp4") != 0) { /* not our rule */
            t.enc.codec->encode(&t.enc, &stats, whole(&t), w, &t.bufs);
            assert_same_bytes(&t, &want);
        }
        free_tensor(&t);
        free_tensor(&want);
    }
    free(source);
    close_vectors(&v);
}

/* One row of a tensor as a tensor. */
static tensor row_of(const tensor *t, uint64_t r)
{
    tensor one = make_tensor(t->enc, 1, t->cols);

    for (int s = 0; s < GLMQ_SLOTS; s++) {
        const uint64_t each = t->layout.slot[s].stripe_bytes;
        if (!t->bufs.buf[s]) continue;
        if (t->layout.slot[s].stripe_rows)
            memcpy(one.bufs.buf[s], t->bufs.buf[s] + r * each, each);
        else
            memcpy(one.bufs.buf[s], t->bufs.buf[s], t->layout.slot[s].bytes);
    }
    return one;
}

/* ModelOpt's cast of the MXFP4 matrix: where it is exact ours is, too; where it is not, there is
 * none.  (It drops the sign of zeros, and a block of zeros may have any scale.) */
static void mxfp4_becomes_nvfp4_where_modelopt_can_cast_it(void **state)
{
    vectors v = open_vectors();
    tensor mx = load_set(&v, &libraries[3]), cast = load_set(&v, &libraries[4]);
    int exact = 0, inexact = 0;
    (void)state;

    for (uint64_t r = 0; r < ROWS; r++) {
        tensor from = row_of(&mx, r), want = row_of(&cast, r), to = make_tensor(cast.enc, 1, COLS);
        float a[COLS], b[COLS], c[COLS];
        int same = 1;
        glmq_status st;

        to.enc.scalar = load_le32(cast.bufs.buf[GLMQ_SLOT_GLOBAL]);
        decode_all(&from, a);
        decode_all(&want, b);
        for (int k = 0; k < COLS; k++) same &= a[k] == b[k];
        st = transcode(&from, &to, NULL);
        assert_int_equal(st, same ? GLMQ_OK : GLMQ_E_INEXACT);
        if (same) {
            decode_all(&to, c);
            for (int k = 0; k < COLS; k++) assert_true(a[k] == c[k]);
        }
        exact += same;
        inexact += !same;
        free_tensor(&from);
        free_tensor(&want);
        free_tensor(&to);
    }
    assert_true(exact > 40 && inexact > 0);
    free_tensor(&mx);
    free_tensor(&cast);
    close_vectors(&v);
}

/* ---- global scales ---- */

/* gs of a BF16 model is a BF16 number: every one of them comes back. */
static void a_divisor_of_bfloat16_comes_back(void **state)
{
    (void)state;
    for (uint32_t b = 0x3a00; b < 0x4b00; b++) {
        const uint32_t bits = b << 16, there = fp4_reciprocal(bits, FP4_MULTIPLIES);
        assert_true(fp4_are_reciprocal(bits, there) && fp4_are_reciprocal(there, bits));
        assert_int_equal(fp4_reciprocal(there, FP4_DIVIDES), bits);
    }
}

/* ws2 is a BF16 number over 2688. */
static void a_multiplier_of_modelopt_comes_back(void **state)
{
    (void)state;
    for (uint32_t b = 0x3800; b < 0x4600; b++) {
        const uint32_t bits = bits_from_f32(f32_from_bf16((uint16_t)b) / 2688);
        const uint32_t there = fp4_reciprocal(bits, FP4_DIVIDES);
        assert_true(fp4_are_reciprocal(bits, there));
        assert_int_equal(fp4_reciprocal(there, FP4_MULTIPLIES), bits);
    }
}

static void numbers_without_a_reciprocal_have_none(void **state)
{
    static const uint32_t none[] = { 0, 0x80000000, 0xbf800000, 0x7f800000, 0x7fc00000, 1 };
    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof *none; i++) {
        assert_int_equal(fp4_reciprocal(none[i], FP4_DIVIDES), 0);
        assert_int_equal(fp4_reciprocal(none[i], FP4_MULTIPLIES), 0);
        assert_false(fp4_are_reciprocal(none[i], 0x3f800000));
    }
    assert_false(fp4_are_reciprocal(0x40000000, 0x3f000002)); /* two units away */
    assert_true(fp4_are_reciprocal(0x40000000, 0x3f000001));
}

/* ---- scales of another kind ---- */

static void set_global(tensor *t, float global)
{
    store_le32(t->bufs.buf[GLMQ_SLOT_GLOBAL], bits_from_f32(global));
}

/* One group of 32 columns: two scales, and the same code in each half. */
static tensor nvfp4_group(uint8_t a, uint8_t code_a, uint8_t b, uint8_t code_b, float global)
{
    tensor t = make_tensor(fp4_nvfp4(FP4_MODELOPT), 1, 32);

    t.bufs.buf[GLMQ_SLOT_SCALES][0] = a;
    t.bufs.buf[GLMQ_SLOT_SCALES][1] = b;
    memset(t.bufs.buf[GLMQ_SLOT_CODES], code_a * 0x11, 8);
    memset(t.bufs.buf[GLMQ_SLOT_CODES] + 8, code_b * 0x11, 8);
    set_global(&t, global);
    return t;
}

/* Expects scale 2^(e - 127) and the codes of both halves; e < 0: refused. */
static void expect_mxfp4(tensor from, int e, uint8_t code_a, uint8_t code_b)
{
    tensor to = make_tensor(fp4_mxfp4(FP4_CT), 1, 32);
    glmq_error err;
    const glmq_status st = transcode(&from, &to, &err);

    assert_int_equal(st, e < 0 ? GLMQ_E_INEXACT : GLMQ_OK);
    if (!st) {
        assert_int_equal(to.bufs.buf[GLMQ_SLOT_SCALES][0], e);
        assert_int_equal(to.bufs.buf[GLMQ_SLOT_CODES][0], code_a * 0x11);
        assert_int_equal(to.bufs.buf[GLMQ_SLOT_CODES][8], code_b * 0x11);
    }
    free_tensor(&from);
    free_tensor(&to);
}

static void nvfp4_becomes_mxfp4_where_both_halves_agree(void **state)
{
    (void)state;
    expect_mxfp4(nvfp4_group(0x38, 7, 0x38, 9, 1), 127, 7, 9);     /* 1 and 1: as they are     */
    expect_mxfp4(nvfp4_group(0x38, 7, 0x38, 9, 0.25f), 125, 7, 9); /* … under 2^-2             */
    expect_mxfp4(nvfp4_group(0x01, 7, 0x01, 9, 1), 118, 7, 9);     /* 2^-9, a subnormal of E4M3 */
    expect_mxfp4(nvfp4_group(0x40, 6, 0x38, 5, 1), 128, 6, 3);     /* 2 and 1: 3 becomes 1.5   */
    expect_mxfp4(nvfp4_group(0x40, 13, 0x38, 3, 1), 127, 15, 3);   /* 1.5 has no half: -3 doubled */
    expect_mxfp4(nvfp4_group(0x40, 6, 0x38, 1, 1), -1, 0, 0);      /* 8 and half of 0.5: none  */
    expect_mxfp4(nvfp4_group(0x40, 0, 0x38, 7, 1), 127, 0, 7);     /* zeros fit any scale      */
    expect_mxfp4(nvfp4_group(0x3c, 8, 0x38, 7, 1), 127, 8, 7);     /* … and keep their sign    */
    expect_mxfp4(nvfp4_group(0x3c, 2, 0x38, 7, 1), -1, 0, 0);      /* 1.5 is no power of two   */
    expect_mxfp4(nvfp4_group(0x38, 7, 0x38, 9, 0.75f), -1, 0, 0);  /* nor is 0.75              */
    expect_mxfp4(nvfp4_group(0x38, 7, 0x38, 9, 0x1p-127f), -1, 0, 0); /* out of range           */
}

static void another_global_scale_is_taken_where_it_is_exact(void **state)
{
    tensor from = nvfp4_group(0x38, 7, 0x01, 2, 0.3f), to = make_tensor(from.enc, 1, 32);
    float a[32], b[32];
    (void)state;

    decode_all(&from, a);
    to.enc.scalar = bits_from_f32(0.6f); /* twice: 1 becomes 0.5, 2^-9 goes into the codes */
    assert_int_equal(transcode(&from, &to, NULL), GLMQ_OK);
    assert_int_equal(to.bufs.buf[GLMQ_SLOT_SCALES][0], 0x30);
    assert_int_equal(to.bufs.buf[GLMQ_SLOT_SCALES][1], 0x01);
    assert_int_equal(to.bufs.buf[GLMQ_SLOT_CODES][8], 0x11);
    assert_int_equal(load_le32(to.bufs.buf[GLMQ_SLOT_GLOBAL]), bits_from_f32(0.6f));
    decode_all(&to, b);
    for (int i = 0; i < 32; i++) assert_true(a[i] == b[i]);
    to.enc.scalar = bits_from_f32(0.7f);
    assert_int_equal(transcode(&from, &to, NULL), GLMQ_E_INEXACT);
    free_tensor(&from);
    free_tensor(&to);
}

static void codes_move_between_the_kinds_of_global_scale(void **state)
{
    tensor from = nvfp4_group(0x7e, 7, 0x00, 8, 1.0f / 2688), to, back;
    (void)state;

    to = make_tensor(fp4_nvfp4(FP4_CT), 1, 32);
    back = make_tensor(from.enc, 1, 32);
    assert_int_equal(transcode(&from, &to, NULL), GLMQ_OK);
    assert_int_equal(load_le32(to.bufs.buf[GLMQ_SLOT_GLOBAL]), bits_from_f32(2688));
    assert_memory_equal(to.bufs.buf[GLMQ_SLOT_CODES], from.bufs.buf[GLMQ_SLOT_CODES], 16);
    assert_memory_equal(to.bufs.buf[GLMQ_SLOT_SCALES], from.bufs.buf[GLMQ_SLOT_SCALES], 2);
    assert_int_equal(transcode(&to, &back, NULL), GLMQ_OK);
    assert_same_bytes(&from, &back);
    free_tensor(&from);
    free_tensor(&to);
    free_tensor(&back);
}

/* GGUF: bit 7 of a scale means nothing, and its NaN is a 0; both are gone after a move. */
static void scales_of_gguf_lose_what_means_nothing(void **state)
{
    tensor from = make_tensor(array_encoding("nvfp4"), 1, 64), to;
    static const uint8_t d[4] = { 0xb8, 0x7f, 0xff, 0x7e };
    float a[64], b[64];
    (void)state;

    memcpy(from.bufs.buf[0], d, 4);
    memset(from.bufs.buf[0] + 4, 0x21, 32);
    set_global(&from, 1);
    to = make_tensor(fp4_nvfp4(FP4_MODELOPT), 1, 64);
    assert_int_equal(transcode(&from, &to, NULL), GLMQ_OK);
    assert_memory_equal(to.bufs.buf[GLMQ_SLOT_SCALES], ((uint8_t[]){ 0x38, 0, 0, 0x7e }), 4);
    decode_all(&from, a);
    decode_all(&to, b);
    for (int i = 0; i < 64; i++) assert_true(a[i] == b[i]);
    assert_true(a[0] == 0.5f && a[8] == 1.0f && a[16] == 0 && a[63] == 448.0f);
    free_tensor(&from);
    free_tensor(&to);
}

/* No place beside the tensor: only a scale of 1 can go there. */
static void a_scale_needs_a_place(void **state)
{
    tensor from = nvfp4_group(0x38, 1, 0x38, 1, 0.5f), wide = make_tensor(from.enc, 1, 64),
           to = make_tensor(array_encoding("nvfp4"), 1, 64);
    glmq_error err;
    (void)state;

    memset(wide.bufs.buf[GLMQ_SLOT_SCALES], 0x38, 4);
    set_global(&wide, 0.5f);
    free(to.bufs.buf[GLMQ_SLOT_GLOBAL]);
    to.bufs.buf[GLMQ_SLOT_GLOBAL] = NULL;
    assert_int_equal(transcode(&wide, &to, &err), GLMQ_E_INEXACT);
    assert_string_equal(err.msg, "no place for the global scale 0.5");
    set_global(&wide, 1);
    assert_int_equal(transcode(&wide, &to, &err), GLMQ_OK);
    free_tensor(&from);
    free_tensor(&wide);
    free_tensor(&to);
}

static void mxfp4_of_gguf_with_no_number_for_a_scale_does_not_move(void **state)
{
    tensor from = make_tensor(array_encoding("mxfp4"), 1, 32),
           to = make_tensor(fp4_mxfp4(1), 1, 32);
    (void)state;

    memset(from.bufs.buf[0], 0x11, 17);
    from.bufs.buf[0][0] = 0xff;
    assert_int_equal(transcode(&from, &to, NULL), GLMQ_E_INEXACT);
    from.bufs.buf[0][0] = 0;
    assert_int_equal(transcode(&from, &to, NULL), GLMQ_OK);
    assert_int_equal(to.bufs.buf[GLMQ_SLOT_SCALES][0], 0);
    free_tensor(&from);
    free_tensor(&to);
}

static void integers_are_no_four_bit_floats(void **state)
{
    tensor from = make_tensor(int_encoding("ctpack", 4, 32, GLMQ_ZERO_MID, GLMQ_DT_BF16, 0), 1, 32),
           to = make_tensor(fp4_mxfp4(FP4_CT), 1, 32);
    float w[32] = { 1 };
    glmq_error err;
    (void)state;

    encode_all(&from, w);
    assert_int_equal(transcode(&from, &to, &err), GLMQ_E_INEXACT);
    assert_int_equal(transcode(&to, &from, &err), GLMQ_E_INEXACT);
    free_tensor(&from);
    free_tensor(&to);
}

/* ---- what is refused ---- */

static void scales_that_are_no_numbers_are_refused(void **state)
{
    static const struct {
        uint8_t byte;
        const char *msg;
    } cases[] = {
        { 0x7f, "scale 0x7f of row 0, group 1 is not a number" },
        { 0xff, "scale 0xff of row 0, group 1 is not a number" },
        { 0x80, "scale 0x80 of row 0, group 1 is negative" },
        { 0xb8, "scale 0xb8 of row 0, group 1 is negative" },
    };
    static const uint32_t globals[] = { 0, 0x80000000, 0xbf800000, 0x7f800000, 0x7fc00000 };
    tensor t = nvfp4_group(0x38, 1, 0x38, 1, 1);
    glmq_error err;
    (void)state;

    assert_int_equal(t.enc.codec->check_rows(&t.enc, &t.bufs, whole(&t), &err), GLMQ_OK);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        t.bufs.buf[GLMQ_SLOT_SCALES][1] = cases[i].byte;
        assert_int_equal(t.enc.codec->check_rows(&t.enc, &t.bufs, whole(&t), &err), GLMQ_E_FORMAT);
        assert_string_equal(err.msg, cases[i].msg);
    }
    for (size_t i = 0; i < sizeof globals / sizeof *globals; i++) {
        store_le32(t.bufs.buf[GLMQ_SLOT_GLOBAL], globals[i]);
        assert_int_equal(t.enc.codec->check(&t.enc, &t.bufs, 1, 32, &err), GLMQ_E_FORMAT);
        assert_non_null(strstr(err.msg, "no finite positive number"));
    }
    free_tensor(&t);
    t = make_tensor(fp4_mxfp4(FP4_CT), 1, 32);
    t.bufs.buf[GLMQ_SLOT_SCALES][0] = 0xff;
    assert_int_equal(t.enc.codec->check_rows(&t.enc, &t.bufs, whole(&t), &err), GLMQ_E_FORMAT);
    t.bufs.buf[GLMQ_SLOT_SCALES][0] = 0xfe;
    assert_int_equal(t.enc.codec->check_rows(&t.enc, &t.bufs, whole(&t), &err), GLMQ_OK);
    free_tensor(&t);
}

static void columns_fill_whole_groups(void **state)
{
    const glmq_encoding nv = fp4_nvfp4(FP4_CT), mx = fp4_mxfp4(FP4_CT);
    glmq_encoding odd = nv;
    glmq_layout l;
    glmq_error err;
    (void)state;

    assert_int_equal(nv.codec->layout(&nv, 3, 48, &l, &err), GLMQ_OK);
    assert_int_equal(l.slot[GLMQ_SLOT_SCALES].dims[1], 3);
    assert_int_equal(mx.codec->layout(&mx, 3, 48, &l, &err), GLMQ_E_FORMAT);
    assert_int_equal(nv.codec->layout(&nv, 3, 40, &l, &err), GLMQ_E_FORMAT);
    assert_int_equal(nv.codec->layout(&nv, 0, 16, &l, &err), GLMQ_E_FORMAT);
    odd.group = 8;
    assert_int_equal(odd.codec->layout(&odd, 3, 48, &l, &err), GLMQ_E_FORMAT);
}

/* ---- the judge ---- */

static void judged(glmq_encoding from, glmq_encoding to, glmq_travel travel, const char *why)
{
    const glmq_part p = { .enc = from, .rows = 4, .cols = 64, .cut = { 1, 4, 0, 4, 0 } };
    const glmq_part q = { .enc = to, .rows = 4, .cols = 64, .cut = { 1, 4, 0, 4, 0 } };
    char reason[160];

    assert_int_equal(glmq_transcode_judge(&p, &q, reason), travel);
    assert_string_equal(reason, why);
}

static void moves_are_judged_by_their_global_scales(void **state)
{
    const glmq_encoding mo = fp4_nvfp4(FP4_MODELOPT), ct = fp4_nvfp4(FP4_CT),
                        mx = fp4_mxfp4(FP4_CT), gguf = array_encoding("nvfp4"),
                        gguf_mx = array_encoding("mxfp4"), q4 = array_encoding("q4_0");
    glmq_encoding shared = mo;
    (void)state;

    shared.scalar = 1;
    judged(mo, mo, GLMQ_SAME_BYTES, "");
    judged(mo, gguf, GLMQ_SAME_CODES, "");
    judged(gguf, mo, GLMQ_SAME_CODES, "");
    judged(mo, ct, GLMQ_NEAR, "its global scale is stored as the reciprocal");
    judged(ct, gguf, GLMQ_NEAR, "its global scale is stored as the reciprocal");
    judged(mx, gguf_mx, GLMQ_SAME_CODES, "");
    judged(mx, mo, GLMQ_MAYBE_CODES, "hangs on how far its scales are apart");
    judged(ct, mx, GLMQ_MAYBE_CODES, "hangs on its scales being powers of two");
    judged(gguf, shared, GLMQ_MAYBE_CODES,
           "hangs on its scales under the global scale of its neighbours");
    judged(q4, mo, GLMQ_RECODE, "codes of q4_0 are no codes of fp4");
    judged(mx, q4, GLMQ_RECODE, "codes of fp4 are no codes of q4_0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decodes_what_every_library_stored),
        cmocka_unit_test(encodes_as_the_libraries_do),
        cmocka_unit_test(mxfp4_becomes_nvfp4_where_modelopt_can_cast_it),
        cmocka_unit_test(a_divisor_of_bfloat16_comes_back),
        cmocka_unit_test(a_multiplier_of_modelopt_comes_back),
        cmocka_unit_test(numbers_without_a_reciprocal_have_none),
        cmocka_unit_test(nvfp4_becomes_mxfp4_where_both_halves_agree),
        cmocka_unit_test(another_global_scale_is_taken_where_it_is_exact),
        cmocka_unit_test(codes_move_between_the_kinds_of_global_scale),
        cmocka_unit_test(scales_of_gguf_lose_what_means_nothing),
        cmocka_unit_test(a_scale_needs_a_place),
        cmocka_unit_test(mxfp4_of_gguf_with_no_number_for_a_scale_does_not_move),
        cmocka_unit_test(integers_are_no_four_bit_floats),
        cmocka_unit_test(scales_that_are_no_numbers_are_refused),
        cmocka_unit_test(columns_fill_whole_groups),
        cmocka_unit_test(moves_are_judged_by_their_global_scales),
    };
    return cmocka_run_group_tests_name("fp4", tests, NULL, NULL);
}
