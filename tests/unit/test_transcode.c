/* Moving codes: what is carried, what is refused and why, and what the judge says. */
#include "base/num.h"
#include "codec_cases.h"
#include "codecs/ctpack.h"
#include "codecs/gptq.h"
#include "codecs/transcode.h"
#include <math.h>

enum { ROWS = 48, COLS = 256, WIDE = 2304 }; /* wide: in no loop's one go, 72 groups of 32 */

static glmq_encoding ct(int bits, uint32_t group, int zero_kind, glmq_dtype scale)
{
    return int_encoding("ctpack", bits, group, zero_kind, scale, CT_ZERO_PACKED);
}

/* Ten codes of three bits to a word. */
static glmq_encoding loose(int bits, uint32_t group)
{
    return int_encoding("ctpack", bits, group, GLMQ_ZERO_STORED, GLMQ_DT_F16,
                        CT_ZERO_PACKED | CT_LOOSE);
}

static glmq_encoding gptq(int bits, uint32_t group, int zero_kind, int version)
{
    return int_encoding("gptq", bits, group, zero_kind, GLMQ_DT_F16, version);
}

static glmq_encoding awq(uint32_t group, int zero_kind)
{
    return int_encoding("awq", 4, group, zero_kind, GLMQ_DT_F16, 0);
}

/* Weights encoded in `e`. */
static tensor encoded_as(glmq_encoding e, uint64_t cols, float size, uint32_t seed)
{
    tensor t = make_tensor(e, ROWS, cols);
    float *w = make_weights(ROWS * cols, size, seed);
    encode_all(&t, w);
    free(w);
    return t;
}

static tensor encoded(glmq_encoding e, float size, uint32_t seed)
{
    return encoded_as(e, COLS, size, seed);
}

static tensor encoded_wide(glmq_encoding e, float size, uint32_t seed)
{
    return encoded_as(e, WIDE, size, seed);
}

/* The answer without codes must be the same unless only codes can fail. */
static glmq_status ask(const tensor *from, const tensor *to, glmq_error *err)
{
    glmq_codes c = codes_of(from);
    uint8_t *q = c.q;
    glmq_status st;
    c.q = NULL;
    st = to->enc.codec->put_codes(&to->enc, &c, whole(to), NULL, err);
    c.q = q;
    free_codes(&c);
    return st;
}

static void assert_same_values(const tensor *a, const tensor *b)
{
    const uint64_t n = a->rows * a->cols;
    float *x = malloc(n * sizeof *x), *y = malloc(n * sizeof *y);
    assert_true(x && y);
    decode_all(a, x);
    decode_all(b, y);
    for (uint64_t i = 0; i < n; i++) assert_true(x[i] == y[i]); /* -0 is 0 */
    free(x);
    free(y);
}

static void assert_moves(const tensor *from, tensor *to)
{
    glmq_error err;
    if (ask(from, to, &err) || transcode(from, to, &err)) fail_msg("%s", err.msg);
    assert_same_values(from, to);
}

/* Refused with this very reason, asked with codes and (when `small`) without. */
static void assert_refused(const tensor *from, glmq_encoding e, int small, const char *reason)
{
    tensor to = make_tensor(e, ROWS, COLS);
    glmq_error err;
    assert_int_equal(transcode(from, &to, &err), GLMQ_E_INEXACT);
    assert_string_equal(err.msg, reason);
    assert_int_equal(ask(from, &to, &err), small ? GLMQ_E_INEXACT : GLMQ_OK);
    if (small) assert_string_equal(err.msg, reason);
    free_tensor(&to);
}

/* ---- what is carried ---- */

static void a_triangle_ends_with_the_bytes_it_began_with(void **state)
{
    tensor a = encoded(ct(4, 32, GLMQ_ZERO_MID, GLMQ_DT_BF16), 0.05f, 1);
    tensor b = make_tensor(array_encoding("q4_0"), ROWS, COLS);
    tensor c = make_tensor(gptq(4, 32, GLMQ_ZERO_MID, GPTQ_V1), ROWS, COLS);
    tensor d = make_tensor(a.enc, ROWS, COLS);
    (void)state;
    assert_moves(&a, &b);
    assert_moves(&b, &c);
    assert_moves(&c, &d);
    assert_same_bytes(&a, &d);
    for (int i = 0; i < COLS / 32 * ROWS / 8; i++)
        assert_int_equal(load_le32(c.bufs.buf[GLMQ_SLOT_ZEROS] + 4 * i), 0x77777777);
    free_tensor(&a);
    free_tensor(&b);
    free_tensor(&c);
    free_tensor(&d);
}

/* Words of one go as words, or are unpacked where the other has no such: rows longer than what
 * is unpacked at a time. */
static void packed_codes_move_between_packings(void **state)
{
    const struct {
        glmq_encoding a, b;
    } pairs[] = {
        { ct(4, 64, GLMQ_ZERO_MID, GLMQ_DT_F16), ct(4, 32, GLMQ_ZERO_MID, GLMQ_DT_F16) },
        { ct(4, 0, GLMQ_ZERO_MID, GLMQ_DT_F16), gptq(4, 0, GLMQ_ZERO_MID, GPTQ_V1) },
        { ct(8, 64, GLMQ_ZERO_MID, GLMQ_DT_F16), gptq(8, 32, GLMQ_ZERO_MID, GPTQ_V2) },
        { ct(4, 64, GLMQ_ZERO_STORED, GLMQ_DT_F16), gptq(8, 64, GLMQ_ZERO_STORED, GPTQ_V2) },
        { ct(3, 32, GLMQ_ZERO_STORED, GLMQ_DT_F16), gptq(4, 32, GLMQ_ZERO_STORED, GPTQ_V1) },
        { ct(3, 64, GLMQ_ZERO_STORED, GLMQ_DT_F16), loose(3, 64) },
        { array_encoding("q4_0"), ct(4, 32, GLMQ_ZERO_STORED, GLMQ_DT_F16) },
        { array_encoding("q4_0"), gptq(4, 32, GLMQ_ZERO_MID, GPTQ_V1) },
        { array_encoding("q4_0"), gptq(8, 32, GLMQ_ZERO_MID, GPTQ_V2) },
        { array_encoding("q4_0"), array_encoding("q4_1") },
        { array_encoding("q4_0"), awq(32, GLMQ_ZERO_MID) },
        { awq(64, GLMQ_ZERO_STORED), ct(4, 64, GLMQ_ZERO_STORED, GLMQ_DT_F16) },
        { awq(32, GLMQ_ZERO_STORED), gptq(8, 32, GLMQ_ZERO_STORED, GPTQ_V1) },
        { ct(3, 32, GLMQ_ZERO_MID, GLMQ_DT_F16), array_encoding("q4_0") },
        { ct(2, 32, GLMQ_ZERO_MID, GLMQ_DT_F16), array_encoding("q4_1") },
        { ct(4, 32, GLMQ_ZERO_MID, GLMQ_DT_F16), array_encoding("q4_1") },
    };
    glmq_error err;
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        tensor a = encoded_wide(pairs[i].a, 0.25f, 6), b = make_tensor(pairs[i].b, ROWS, WIDE);
        tensor c = make_tensor(pairs[i].a, ROWS, WIDE);
        if (transcode(&a, &b, &err) || transcode(&b, &c, &err)) fail_msg("%s", err.msg);
        assert_same_bytes(&a, &c);
        assert_same_values(&a, &b);
        free_tensor(&a);
        free_tensor(&b);
        free_tensor(&c);
    }
}

/* ---- the proof by codes ---- */

/* The values of codes that moved are those that the source decodes, but for the sign of zeros. */
static void check_values(const tensor *from, const glmq_codes *moved)
{
    const size_t n = (size_t)(from->rows * from->cols), some = (size_t)(3 * from->cols);
    float *w = malloc(n * sizeof *w), *direct = malloc(n * sizeof *w);

    assert_true(w && direct);
    decode_all(from, direct);
    for (size_t i = 0; i < n; i++)
        if (direct[i] == 0) direct[i] = 0;
    if (glmq_transcode_values(&from->enc, from->cols, moved, 0, from->rows, w)) {
        assert_memory_equal(w, direct, n * sizeof *w);
        assert_int_equal(glmq_transcode_values(&from->enc, from->cols, moved, 2, 3, direct), 1);
        assert_memory_equal(w + 2 * from->cols, direct, some * sizeof *w);
    }
    free(w);
    free(direct);
}

/* 1: the codes come back as they were; with a slot to spoil, a byte of it at the front, in the
 * middle or at the end, and any of the three goes unseen. */
static int returns(const tensor *from, tensor *to, int spoil)
{
    void *scratch = malloc(glmq_transcode_scratch(&from->enc, &to->enc, from->rows, from->cols));
    const uint64_t bytes = spoil < 0 ? 0 : to->layout.slot[spoil].bytes;
    const uint64_t at[] = { 5, bytes / 2, bytes - 1 };
    glmq_codes moved;
    glmq_error err;
    int same = 0;

    assert_non_null(scratch);
    if (glmq_transcode_tile(&from->enc, &from->bufs, &to->enc, &to->bufs, whole(from), whole(to),
                            scratch, &moved, &err))
        fail_msg("%s", err.msg);
    check_values(from, &moved);
    for (int i = 0; i < (spoil < 0 ? 1 : 3); i++) {
        if (spoil >= 0) to->bufs.buf[spoil][at[i]] ^= 0x10;
        same |=
            glmq_transcode_returned(&from->enc, &to->enc, &to->bufs, whole(to), scratch, &moved);
        if (spoil >= 0) to->bufs.buf[spoil][at[i]] ^= 0x10;
    }
    free(scratch);
    return same;
}

static void codes_that_come_back_prove_the_values(void **state)
{
    tensor a = encoded_wide(ct(4, 32, GLMQ_ZERO_MID, GLMQ_DT_BF16), 0.05f, 1);
    tensor b = make_tensor(array_encoding("q4_0"), ROWS, WIDE);
    tensor c = make_tensor(gptq(4, 32, GLMQ_ZERO_MID, GPTQ_V1), ROWS, WIDE);
    (void)state;
    assert_true(returns(&a, &b, -1));
    assert_false(returns(&a, &b, GLMQ_SLOT_CODES));
    assert_true(returns(&a, &c, -1));
    assert_false(returns(&a, &c, GLMQ_SLOT_CODES));
    assert_false(returns(&a, &c, GLMQ_SLOT_SCALES));
    assert_true(returns(&c, &a, -1));
    assert_true(returns(&b, &a, -1));
    assert_false(returns(&b, &a, GLMQ_SLOT_CODES));
    assert_false(returns(&c, &a, GLMQ_SLOT_CODES));
    free_tensor(&a);
    free_tensor(&b);
    free_tensor(&c);
}

static void zero_points_that_come_back_are_part_of_the_proof(void **state)
{
    tensor a = encoded_wide(ct(4, 32, GLMQ_ZERO_STORED, GLMQ_DT_F16), 0.05f, 2);
    tensor b = make_tensor(gptq(4, 32, GLMQ_ZERO_STORED, GPTQ_V2), ROWS, WIDE);
    (void)state;
    assert_true(returns(&a, &b, -1));
    assert_false(returns(&a, &b, GLMQ_SLOT_ZEROS));
    free_tensor(&a);
    free_tensor(&b);
}

static void views_that_differ_leave_the_proof_to_the_values(void **state)
{
    tensor a = encoded_wide(ct(4, 128, GLMQ_ZERO_MID, GLMQ_DT_BF16), 0.05f, 3);
    tensor b = make_tensor(array_encoding("q4_0"), ROWS, WIDE);
    (void)state;
    assert_false(returns(&a, &b, -1)); /* groups of 128 and of 32 */
    assert_same_values(&a, &b);
    free_tensor(&a);
    free_tensor(&b);
    a = encoded_wide(ct(3, 64, GLMQ_ZERO_STORED, GLMQ_DT_F16), 0.05f, 3);
    b = make_tensor(loose(3, 64), ROWS, WIDE);
    assert_false(returns(&a, &b, -1)); /* words of other codes */
    assert_same_values(&a, &b);
    free_tensor(&a);
    free_tensor(&b);
}

static void zeros_of_negative_scales_have_no_sign(void **state)
{
    tensor a = encoded_wide(ct(4, 32, GLMQ_ZERO_MID, GLMQ_DT_BF16), 0.05f, 4);
    tensor b = make_tensor(a.enc, ROWS, WIDE);
    (void)state;
    a.bufs.buf[GLMQ_SLOT_SCALES][1] |= 0x80; /* a negative scale: its zeros are -0 */
    assert_true(returns(&a, &b, -1));
    free_tensor(&a);
    free_tensor(&b);
}

static void wide_groups_repeat_their_scale_and_join_again(void **state)
{
    tensor a = encoded(gptq(4, 128, GLMQ_ZERO_MID, GPTQ_V1), 0.05f, 2);
    tensor b = make_tensor(array_encoding("q4_0"), ROWS, COLS);
    tensor c = make_tensor(a.enc, ROWS, COLS);
    (void)state;
    assert_moves(&a, &b);
    assert_moves(&b, &c);
    assert_same_bytes(&a, &c);
    free_tensor(&a);
    free_tensor(&b);
    free_tensor(&c);
}

/* GPTQ v2 and compressed-tensors with half scales are transposes, word for word. */
static void gptq_v2_is_compressed_tensors_turned_round(void **state)
{
    tensor a = encoded(gptq(4, 32, GLMQ_ZERO_STORED, GPTQ_V2), 0.05f, 3);
    tensor b = make_tensor(ct(4, 32, GLMQ_ZERO_STORED, GLMQ_DT_F16), ROWS, COLS);
    (void)state;
    assert_moves(&a, &b);
    for (int r = 0; r < ROWS; r++)
        for (int i = 0; i < COLS / 8; i++)
            assert_int_equal(load_le32(a.bufs.buf[GLMQ_SLOT_CODES] + 4 * (i * ROWS + r)),
                             load_le32(b.bufs.buf[GLMQ_SLOT_CODES] + 4 * (r * (COLS / 8) + i)));
    for (int i = 0; i < ROWS / 8; i++)
        for (int g = 0; g < COLS / 32; g++)
            assert_int_equal(load_le32(a.bufs.buf[GLMQ_SLOT_ZEROS] + 4 * (g * (ROWS / 8) + i)),
                             load_le32(b.bufs.buf[GLMQ_SLOT_ZEROS] + 4 * (i * (COLS / 32) + g)));
    free_tensor(&a);
    free_tensor(&b);
}

/* GPTQ v1 takes one from all fields of a word at once, and leaves the fields of no row empty. */
static void zeros_of_the_last_rows_fill_no_more_than_theirs(void **state)
{
    tensor a = make_tensor(ct(4, 32, GLMQ_ZERO_STORED, GLMQ_DT_F16), 12, 64);
    tensor b = make_tensor(gptq(4, 32, GLMQ_ZERO_STORED, GPTQ_V1), 12, 64);
    glmq_error err;
    (void)state;
    for (int s = 0; s < GLMQ_SLOTS; s++)
        if (a.bufs.buf[s]) memset(a.bufs.buf[s], 0, a.layout.slot[s].bytes);
    if (transcode(&a, &b, &err)) fail_msg("%s", err.msg);
    for (int g = 0; g < 2; g++) {
        assert_int_equal(load_le32(b.bufs.buf[GLMQ_SLOT_ZEROS] + 8 * g), 0xeeeeeeef);
        assert_int_equal(load_le32(b.bufs.buf[GLMQ_SLOT_ZEROS] + 8 * g + 4), 0x0000eeef);
    }
    free_tensor(&a);
    free_tensor(&b);
}

/* 8 rows to a word, the even ones in the low half; one word of codes and of zeros for each
 * column and group. */
static void awq_words_hold_rows_in_their_own_order(void **state)
{
    tensor t = make_tensor(awq(2, GLMQ_ZERO_STORED), 8, 2);
    glmq_codes c;
    (void)state;
    store_le32(t.bufs.buf[GLMQ_SLOT_CODES], 0x75316420);     /* column 0: row r has code r */
    store_le32(t.bufs.buf[GLMQ_SLOT_CODES] + 4, 0xfdb9eca8); /* column 1: 8 + r */
    store_le32(t.bufs.buf[GLMQ_SLOT_ZEROS], 0x8ace9bdf);     /* row r has 15 - r */
    for (int r = 0; r < 8; r++) store_le16(t.bufs.buf[GLMQ_SLOT_SCALES] + 2 * r, 0x3c00);
    c = codes_of(&t);
    for (int r = 0; r < 8; r++) {
        assert_int_equal(c.q[2 * r], r);
        assert_int_equal(c.q[2 * r + 1], 8 + r);
        assert_int_equal(c.zero[r], 15 - r);
    }
    free_codes(&c);
    free_tensor(&t);
}

static void an_awq_tensor_is_symmetric_only_if_its_zeros_are(void **state)
{
    tensor t = make_tensor(awq(32, GLMQ_ZERO_MID), ROWS, COLS);
    glmq_encoding e = t.enc;
    glmq_error err;
    (void)state;
    memset(t.bufs.buf[GLMQ_SLOT_ZEROS], 0x88, t.layout.slot[GLMQ_SLOT_ZEROS].bytes);
    assert_int_equal(e.codec->check(&e, &t.bufs, ROWS, COLS, &err), GLMQ_OK);
    assert_int_equal(e.zero_kind, GLMQ_ZERO_MID);
    t.bufs.buf[GLMQ_SLOT_ZEROS][t.layout.slot[GLMQ_SLOT_ZEROS].bytes - 1] = 0x87;
    assert_int_equal(e.codec->check(&e, &t.bufs, ROWS, COLS, &err), GLMQ_OK);
    assert_int_equal(e.zero_kind, GLMQ_ZERO_STORED);
    free_tensor(&t);
}

/* Every pair here can hold the same integers; the values must be equal both ways. */
static void integers_move_between_formats_and_back(void **state)
{
    const glmq_encoding q8 = array_encoding("q8_0");
    const glmq_encoding int8 = int_encoding("ctint", 8, 32, GLMQ_ZERO_MID, GLMQ_DT_F16, 0);
    const struct {
        glmq_encoding from, to;
        int back;
    } pairs[] = {
        { gptq(4, 64, GLMQ_ZERO_STORED, GPTQ_V1), gptq(4, 64, GLMQ_ZERO_STORED, GPTQ_V2), 1 },
        { gptq(2, 64, GLMQ_ZERO_STORED, GPTQ_V1), ct(2, 32, GLMQ_ZERO_STORED, GLMQ_DT_F16), 1 },
        { gptq(8, 128, GLMQ_ZERO_STORED, GPTQ_V1), ct(8, 128, GLMQ_ZERO_STORED, GLMQ_DT_F32), 1 },
        { gptq(8, 32, GLMQ_ZERO_MID, GPTQ_V1), q8, 1 },
        { gptq(4, 128, GLMQ_ZERO_STORED, GPTQ_V1), q8, 0 },
        { gptq(2, 0, GLMQ_ZERO_MID, GPTQ_V2), q8, 1 },
        { ct(4, 0, GLMQ_ZERO_MID, GLMQ_DT_BF16), array_encoding("q5_0"), 1 },
        { ct(3, 64, GLMQ_ZERO_STORED, GLMQ_DT_BF16), array_encoding("q4_0"), 0 },
        { ct(8, 0, GLMQ_ZERO_MID, GLMQ_DT_BF16), gptq(8, 0, GLMQ_ZERO_MID, GPTQ_V1), 1 },
        { q8, int8, 1 },
        { q8, ct(8, 32, GLMQ_ZERO_STORED, GLMQ_DT_F16), 1 },
        { int8, ct(8, 32, GLMQ_ZERO_MID, GLMQ_DT_F16), 1 },
        { int_encoding("ctint", 4, 64, GLMQ_ZERO_STORED, GLMQ_DT_BF16, 0),
          ct(4, 64, GLMQ_ZERO_STORED, GLMQ_DT_F16), 1 },
        { ct(4, 64, GLMQ_ZERO_STORED, GLMQ_DT_F16),
          int_encoding("ctpack", 4, 64, GLMQ_ZERO_STORED, GLMQ_DT_F16, CT_ZERO_I8 | CT_SHAPE_I32),
          1 },
        { awq(32, GLMQ_ZERO_STORED), gptq(4, 32, GLMQ_ZERO_STORED, GPTQ_V2), 1 },
        { awq(64, GLMQ_ZERO_STORED), ct(4, 64, GLMQ_ZERO_STORED, GLMQ_DT_F16), 1 },
        { awq(0, GLMQ_ZERO_MID), ct(4, 0, GLMQ_ZERO_MID, GLMQ_DT_F16), 1 },
        { awq(128, GLMQ_ZERO_STORED), q8, 0 },
        { array_encoding("q4_0"), awq(32, GLMQ_ZERO_MID), 1 },
        { array_encoding("q4_0"), array_encoding("q4_1"), 1 },
        { array_encoding("q4_0"), array_encoding("q8_0"), 1 },
        { array_encoding("q4_1"), array_encoding("q5_1"), 1 },
    };
    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        tensor a = encoded(pairs[i].from, 0.25f, (uint32_t)i);
        tensor b = make_tensor(pairs[i].to, ROWS, COLS), c = make_tensor(pairs[i].from, ROWS, COLS);
        assert_moves(&a, &b);
        if (pairs[i].back) {
            assert_moves(&b, &c);
            assert_same_bytes(&a, &c);
        }
        free_tensor(&a);
        free_tensor(&b);
        free_tensor(&c);
    }
}

/* d = 0.25, m = -6 * 0.25: the zero point is 6. */
static void offsets_that_are_multiples_become_zero_points(void **state)
{
    tensor a = encoded(array_encoding("q4_1"), 1, 4);
    tensor b = make_tensor(gptq(4, 32, GLMQ_ZERO_STORED, GPTQ_V1), ROWS, COLS);
    tensor c = make_tensor(a.enc, ROWS, COLS);
    (void)state;
    for (int i = 0; i < ROWS * COLS / 32; i++) {
        store_le16(a.bufs.buf[0] + 20 * i, f16_from_f32(0.25f));
        store_le16(a.bufs.buf[0] + 20 * i + 2, f16_from_f32(i % 5 ? -1.5f : 0.0f));
    }
    assert_moves(&a, &b);
    assert_moves(&b, &c);
    assert_same_bytes(&a, &c);
    store_le16(a.bufs.buf[0] + 20 * (COLS / 32 * 3 + 2) + 2, f16_from_f32(-1.4f));
    assert_refused(&a, b.enc, 1,
                   "offset -1.40039062 of row 3, group 2 is no multiple of its scale 0.25");
    free_tensor(&a);
    free_tensor(&b);
    free_tensor(&c);
}

static void permuted_columns_move_where_a_permutation_is_stored(void **state)
{
    glmq_encoding e = gptq(4, 64, GLMQ_ZERO_STORED, GPTQ_V1);
    glmq_encoding f = ct(4, 64, GLMQ_ZERO_STORED, GLMQ_DT_F16);
    e.act_order = f.act_order = 1;
    tensor a = encoded(e, 0.05f, 5), b = make_tensor(f, ROWS, COLS), c = make_tensor(e, ROWS, COLS);
    (void)state;
    for (int i = 0; i < COLS; i++) { /* every fourth column; stored from the end in part */
        const int g = i % 4;
        store_le32(a.bufs.buf[GLMQ_SLOT_PERM] + 4 * i, (uint32_t)(i < 8 ? g - 4 : g));
    }
    assert_int_equal(e.codec->check(&a.enc, &a.bufs, ROWS, COLS, NULL), GLMQ_OK);
    assert_int_equal(a.enc.act_order, 1);
    assert_int_equal(load_le32(a.bufs.buf[GLMQ_SLOT_PERM]), 0); /* -4 of 4 groups */
    assert_moves(&a, &b);
    assert_moves(&b, &c);
    assert_same_bytes(&a, &c);
    assert_refused(&a, array_encoding("q8_0"), 1,
                   "columns are permuted (act-order) and q8_0 stores them in order");
    assert_refused(&a, gptq(4, 64, GLMQ_ZERO_STORED, GPTQ_V1), 1,
                   "columns are permuted (act-order) and gptq stores them in order");
    store_le32(a.bufs.buf[GLMQ_SLOT_PERM], 1);
    assert_refused(&a, f, 1,
                   "group 0 of the permuted columns has 63 members, and "
                   "compressed-tensors needs 64");
    assert_moves(&a, &c); /* GPTQ needs no full groups */
    free_tensor(&a);
    free_tensor(&b);
    free_tensor(&c);
}

/* ---- what is refused ---- */

/* In a tile that is not the first, of a row that is not unpacked in one go. */
static void a_code_is_refused_by_its_place_in_the_tensor(void **state)
{
    const uint64_t at = 20 * WIDE + 300;
    tensor a = encoded_wide(ct(8, 32, GLMQ_ZERO_MID, GLMQ_DT_F16), 0.05f, 15);
    tensor b = make_tensor(gptq(4, 32, GLMQ_ZERO_MID, GPTQ_V1), ROWS, WIDE);
    void *scratch = malloc(glmq_transcode_scratch(&a.enc, &b.enc, 16, WIDE));
    const glmq_tile tile = { 16, 16, WIDE, ROWS };
    glmq_codes moved;
    glmq_error err;
    (void)state;
    assert_non_null(scratch);
    memset(a.bufs.buf[GLMQ_SLOT_CODES], 128, ROWS * WIDE);
    assert_int_equal(
        glmq_transcode_tile(&a.enc, &a.bufs, &b.enc, &b.bufs, tile, tile, scratch, &moved, &err),
        GLMQ_OK);
    a.bufs.buf[GLMQ_SLOT_CODES][at] = 137;
    assert_int_equal(
        glmq_transcode_tile(&a.enc, &a.bufs, &b.enc, &b.bufs, tile, tile, scratch, &moved, &err),
        GLMQ_E_INEXACT);
    assert_string_equal(err.msg, "code 9 of row 20, column 300 does not fit the 4 bits of gptq");
    free(scratch);
    free_tensor(&a);
    free_tensor(&b);
}

static void says_which_scale_has_no_exact_half(void **state)
{
    tensor a = encoded(ct(4, 32, GLMQ_ZERO_MID, GLMQ_DT_BF16), 0.05f, 6);
    (void)state;
    store_le16(a.bufs.buf[GLMQ_SLOT_SCALES] + 2 * (5 * (COLS / 32) + 2), bf16_from_f32(3.1e-8f));
    assert_refused(&a, array_encoding("q4_0"), 1,
                   "scale 3.09664756e-08 of row 5, group 2 has no exact F16");
    store_le16(a.bufs.buf[GLMQ_SLOT_SCALES] + 2 * (5 * (COLS / 32) + 2), 0x7f80);
    assert_refused(&a, array_encoding("q4_0"), 1, "scale of row 5, group 2 is not finite");
    free_tensor(&a);
}

static void refuses_half_scales_that_a_bfloat16_cannot_hold(void **state)
{
    tensor a = encoded(array_encoding("q4_0"), 0.05f, 7);
    (void)state;
    store_le16(a.bufs.buf[0], 0x3c01);
    assert_refused(&a, ct(4, 32, GLMQ_ZERO_MID, GLMQ_DT_BF16), 1,
                   "scale 1.00097656 of row 0, group 0 has no exact BF16");
    free_tensor(&a);
}

static void refuses_groups_that_would_have_to_share(void **state)
{
    tensor a = encoded(array_encoding("q8_0"), 0.05f, 8);
    glmq_error err;
    tensor to = make_tensor(gptq(8, 64, GLMQ_ZERO_MID, GPTQ_V1), ROWS, COLS);
    (void)state;
    assert_int_equal(ask(&a, &to, &err), GLMQ_E_INEXACT);
    assert_non_null(strstr(err.msg, "of row 0, groups 0 and 1 would share one group of 64"));
    free_tensor(&a);
    free_tensor(&to);
}

/* Zeros differ from group to group, but the integers may fit a symmetric format. */
static void recentres_groups_whose_integers_fit(void **state)
{
    tensor a = encoded(int_encoding("ctint", 4, 32, GLMQ_ZERO_STORED, GLMQ_DT_F16, 0), 0.05f, 9);
    tensor b = make_tensor(array_encoding("q4_0"), ROWS, COLS);
    (void)state;
    for (int i = 0; i < ROWS * COLS; i++) /* zeros of -3 .. 3, codes of zero - 8 .. zero + 7 */
        a.bufs.buf[GLMQ_SLOT_CODES][i] = (uint8_t)(i / 32 % 7 - 3 + i * 5 % 16 - 8);
    for (int i = 0; i < ROWS * COLS / 32; i++)
        a.bufs.buf[GLMQ_SLOT_ZEROS][i] = (uint8_t)(i % 7 - 3);
    assert_moves(&a, &b);
    a.bufs.buf[GLMQ_SLOT_CODES][COLS + 33] = 100; /* group 9: its zero is -1 */
    assert_refused(&a, b.enc, 0, "code 101 of row 1, column 33 does not fit the 4 bits of q4_0");
    free_tensor(&a);
    free_tensor(&b);
}

static void refuses_zero_points_outside_the_bits(void **state)
{
    tensor a = encoded(int_encoding("ctint", 8, 64, GLMQ_ZERO_STORED, GLMQ_DT_F16, 0), 0.05f, 10);
    (void)state;
    memset(a.bufs.buf[GLMQ_SLOT_ZEROS], 0, ROWS * COLS / 64);
    memset(a.bufs.buf[GLMQ_SLOT_CODES], 0, ROWS * COLS);
    a.bufs.buf[GLMQ_SLOT_ZEROS][7] = 9;
    assert_refused(&a, ct(4, 64, GLMQ_ZERO_STORED, GLMQ_DT_F16), 1,
                   "zero point 17 of row 1, group 3 does not fit 4 bits");
    free_tensor(&a);
}

static void one_scale_for_the_tensor_needs_all_rows_alike(void **state)
{
    glmq_encoding e = ct(8, 0, GLMQ_ZERO_MID, GLMQ_DT_F32);
    tensor a = encoded(e, 0.05f, 11);
    (void)state;
    e.group_rows = 0;
    tensor b = make_tensor(e, ROWS, COLS);
    for (int r = 0; r < ROWS; r++) store_le32(a.bufs.buf[GLMQ_SLOT_SCALES] + 4 * r, 0x3c000000);
    assert_moves(&a, &b);
    assert_int_equal(b.layout.slot[GLMQ_SLOT_SCALES].bytes, 4);
    store_le32(a.bufs.buf[GLMQ_SLOT_SCALES] + 4 * 7, 0x3d000000);
    assert_refused(&a, e, 1,
                   "scales 0.0078125 of row 0 and 0.03125 of row 7 differ, and "
                   "compressed-tensors has one for the tensor");
    free_tensor(&a);
    free_tensor(&b);
}

/* ---- what check finds out ---- */

static void zeros_of_the_other_version_mean_the_middle(void **state)
{
    tensor t = encoded(gptq(4, 64, GLMQ_ZERO_MID, GPTQ_V1), 0.05f, 12);
    (void)state;
    memset(t.bufs.buf[GLMQ_SLOT_ZEROS], 0x88, t.layout.slot[GLMQ_SLOT_ZEROS].bytes);
    assert_int_equal(t.enc.codec->check(&t.enc, &t.bufs, ROWS, COLS, NULL), GLMQ_OK);
    assert_int_equal(t.enc.zero_kind, GLMQ_ZERO_MID);
    t.bufs.buf[GLMQ_SLOT_ZEROS][3] = 0x98;
    assert_int_equal(t.enc.codec->check(&t.enc, &t.bufs, ROWS, COLS, NULL), GLMQ_OK);
    assert_int_equal(t.enc.zero_kind, GLMQ_ZERO_STORED);
    free_tensor(&t);
}

static void a_g_idx_in_order_is_no_act_order(void **state)
{
    glmq_encoding e = gptq(4, 64, GLMQ_ZERO_MID, GPTQ_V1);
    glmq_error err;
    (void)state;
    e.act_order = 1;
    tensor t = encoded(e, 0.05f, 13);
    assert_int_equal(e.codec->check(&t.enc, &t.bufs, ROWS, COLS, &err), GLMQ_OK);
    assert_int_equal(t.enc.act_order, 0);
    t.enc.act_order = 1;
    store_le32(t.bufs.buf[GLMQ_SLOT_PERM] + 4 * 9, 4);
    assert_int_equal(e.codec->check(&t.enc, &t.bufs, ROWS, COLS, &err), GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "gptq: g_idx 4 of column 9, there are 4 groups");
    store_le32(t.bufs.buf[GLMQ_SLOT_PERM] + 4 * 9, (uint32_t)-5);
    assert_int_equal(e.codec->check(&t.enc, &t.bufs, ROWS, COLS, &err), GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "gptq: g_idx -5 of column 9, there are 4 groups");
    free_tensor(&t);
}

static void a_minus_one_in_weight_g_idx_says_not_used(void **state)
{
    glmq_encoding e = ct(4, 64, GLMQ_ZERO_MID, GLMQ_DT_BF16);
    glmq_error err;
    (void)state;
    e.act_order = 1;
    tensor t = encoded(e, 0.05f, 14);
    memset(t.bufs.buf[GLMQ_SLOT_PERM], 0xff, 4);
    assert_int_equal(e.codec->check(&t.enc, &t.bufs, ROWS, COLS, &err), GLMQ_OK);
    assert_int_equal(t.enc.act_order, 0);
    t.enc.act_order = 1;
    store_le32(t.bufs.buf[GLMQ_SLOT_PERM], 1);
    assert_int_equal(e.codec->check(&t.enc, &t.bufs, ROWS, COLS, &err), GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "ctpack: group 0 of g_idx has 63 columns, expected 64");
    store_le64(t.bufs.buf[GLMQ_SLOT_SHAPE], 49);
    assert_int_equal(e.codec->check(&t.enc, &t.bufs, ROWS, COLS, &err), GLMQ_E_FORMAT);
    assert_string_equal(err.msg, "ctpack: weight_shape says 49 x 256, the model has 48 x 256");
    free_tensor(&t);
}

/* ---- the judge ---- */

static glmq_part part_of(glmq_encoding e, glmq_cut cut)
{
    return (glmq_part){ .enc = e, .rows = cut.heads * cut.count, .cols = 256, .cut = cut };
}

static const glmq_cut all = { 1, 448, 0, 448, 0 }, head_v = { 4, 112, 48, 64, 0 },
                      head_k = { 4, 112, 0, 48, 1 };

static void assert_judged(glmq_encoding from, glmq_cut a, glmq_encoding to, glmq_cut b,
                          glmq_travel travel, const char *reason)
{
    const glmq_part p = part_of(from, a), q = part_of(to, b);
    char why[160];
    assert_int_equal(glmq_transcode_judge(&p, &q, why), travel);
    assert_string_equal(why, reason);
}

static void judges_plain_floats(void **state)
{
    const glmq_encoding f32 = array_encoding("f32"), f16 = array_encoding("f16"),
                        bf16 = array_encoding("bf16"), q4 = array_encoding("q4_0"),
                        q4_k = array_encoding("q4_k"),
                        nvfp4 = glmq_encoding_of_dtype(GLMQ_DT_NVFP4);
    (void)state;
    assert_judged(bf16, all, bf16, all, GLMQ_SAME_BYTES, "");
    assert_judged(bf16, all, bf16, head_v, GLMQ_SAME_BYTES, "");
    assert_judged(bf16, all, bf16, head_k, GLMQ_SAME_CODES, "");
    assert_judged(bf16, all, f32, all, GLMQ_SAME_CODES, "");
    assert_judged(f32, all, bf16, all, GLMQ_MAYBE_CODES,
                  "hangs on every value having an exact BF16");
    assert_judged(bf16, all, q4, all, GLMQ_RECODE, "quantized from BF16");
    assert_judged(q4, all, f16, all, GLMQ_RECODE, "decoded values are rounded to F16");
    assert_judged(q4, all, f32, head_k, GLMQ_SAME_CODES, "");
    assert_judged(nvfp4, all, nvfp4, all, GLMQ_SAME_BYTES, "");
    assert_judged(nvfp4, all, q4, all, GLMQ_RECODE, "codes of nvfp4 are no codes of q4_0");
    assert_judged(q4_k, all, q4_k, all, GLMQ_SAME_BYTES, "");
    assert_judged(q4_k, all, q4_k, head_v, GLMQ_SAME_BYTES, "");
    assert_judged(q4_k, all, q4_k, head_k, GLMQ_RECODE, "stored the other way round than q4_k");
    assert_judged(q4_k, all, q4, all, GLMQ_RECODE, "no codes view in q4_k");
    assert_judged(q4_k, all, f32, head_k, GLMQ_SAME_CODES, "");
}

static void judges_integers(void **state)
{
    const glmq_encoding q4 = array_encoding("q4_0"), q8 = array_encoding("q8_0");
    const glmq_encoding half = ct(4, 32, GLMQ_ZERO_MID, GLMQ_DT_F16);
    const glmq_encoding wide = ct(4, 128, GLMQ_ZERO_MID, GLMQ_DT_F16);
    const glmq_encoding brain = ct(4, 32, GLMQ_ZERO_MID, GLMQ_DT_BF16);
    const glmq_encoding asym = ct(4, 32, GLMQ_ZERO_STORED, GLMQ_DT_F16);
    glmq_encoding order = gptq(4, 32, GLMQ_ZERO_MID, GPTQ_V1);
    (void)state;
    order.act_order = 1;
    assert_judged(q4, all, q4, all, GLMQ_SAME_BYTES, "");
    assert_judged(q4, all, q4, head_v, GLMQ_SAME_BYTES, "");
    assert_judged(half, all, half, head_v, GLMQ_SAME_CODES, ""); /* weight_shape differs */
    assert_judged(q4, all, half, all, GLMQ_SAME_CODES, "");
    assert_judged(wide, all, q4, all, GLMQ_SAME_CODES, "");
    assert_judged(asym, all, q8, all, GLMQ_SAME_CODES, "");
    assert_judged(q4, all, wide, all, GLMQ_MAYBE_CODES,
                  "hangs on groups of 32 sharing scales in groups of 128");
    assert_judged(brain, all, q4, all, GLMQ_MAYBE_CODES,
                  "hangs on every BF16 scale having an exact F16");
    assert_judged(asym, all, q4, all, GLMQ_MAYBE_CODES,
                  "hangs on codes and zero points fitting q4_0");
    assert_judged(order, all, q4, all, GLMQ_MAYBE_CODES,
                  "hangs on the columns being in order after all (act-order)");
    assert_judged(q4, all, q4, head_k, GLMQ_RECODE, "stored the other way round than q4_0");
    assert_judged(asym, all, asym, (glmq_cut){ 4, 112, 0, 44, 0 }, GLMQ_RECODE,
                  "rows of a head do not fall on the 8 rows that the packing keeps together");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_triangle_ends_with_the_bytes_it_began_with),
        cmocka_unit_test(packed_codes_move_between_packings),
        cmocka_unit_test(codes_that_come_back_prove_the_values),
        cmocka_unit_test(zero_points_that_come_back_are_part_of_the_proof),
        cmocka_unit_test(views_that_differ_leave_the_proof_to_the_values),
        cmocka_unit_test(zeros_of_negative_scales_have_no_sign),
        cmocka_unit_test(wide_groups_repeat_their_scale_and_join_again),
        cmocka_unit_test(gptq_v2_is_compressed_tensors_turned_round),
        cmocka_unit_test(zeros_of_the_last_rows_fill_no_more_than_theirs),
        cmocka_unit_test(awq_words_hold_rows_in_their_own_order),
        cmocka_unit_test(an_awq_tensor_is_symmetric_only_if_its_zeros_are),
        cmocka_unit_test(integers_move_between_formats_and_back),
        cmocka_unit_test(offsets_that_are_multiples_become_zero_points),
        cmocka_unit_test(permuted_columns_move_where_a_permutation_is_stored),
        cmocka_unit_test(a_code_is_refused_by_its_place_in_the_tensor),
        cmocka_unit_test(says_which_scale_has_no_exact_half),
        cmocka_unit_test(refuses_half_scales_that_a_bfloat16_cannot_hold),
        cmocka_unit_test(refuses_groups_that_would_have_to_share),
        cmocka_unit_test(recentres_groups_whose_integers_fit),
        cmocka_unit_test(refuses_zero_points_outside_the_bits),
        cmocka_unit_test(one_scale_for_the_tensor_needs_all_rows_alike),
        cmocka_unit_test(zeros_of_the_other_version_mean_the_middle),
        cmocka_unit_test(a_g_idx_in_order_is_no_act_order),
        cmocka_unit_test(a_minus_one_in_weight_g_idx_says_not_used),
        cmocka_unit_test(judges_plain_floats),
        cmocka_unit_test(judges_integers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
