/* The laws that every registered codec keeps, over encodings and shapes that stress its
 * packing.  A codec that no row of `encodings` uses fails the first test. */
#include "base/cpu.h"
#include "base/num.h"
#include "codecs/fp4.h"
#include "codecs/kernels.h"
#include "unit/book_cases.h"
#include "unit/codec_cases.h"
#include <math.h>
#include <sys/mman.h>
#include <sys/wait.h>

/* `steps`: a decoded weight is off by at most this many steps of its group, a step being the
 * group's span (0 included) over 2^bits - 1; for plain floats: of relative error 2^-bits.
 * `stable`: encoding what was decoded gives the same bytes. */
typedef struct conformance {
    const char *codec;
    int bits;
    uint32_t group;
    int group_rows, zero_kind;
    glmq_dtype scale;
    int variant, act_order, stable;
    float steps;
} conformance;

static const conformance encodings[] = {
    { "f32", 0, 0, 1, 0, 0, 0, 0, 1, 0 },
    { "f16", 11, 0, 1, 0, 0, 0, 0, 1, 1 },
    { "bf16", 8, 0, 1, 0, 0, 0, 0, 1, 1 },
    { "gptq", 2, 32, 1, GLMQ_ZERO_MID, GLMQ_DT_F16, 0, 0, 1, 1.6f },
    { "gptq", 3, 32, 1, GLMQ_ZERO_MID, GLMQ_DT_F16, 1, 0, 1, 1.2f },
    { "gptq", 4, 64, 1, GLMQ_ZERO_MID, GLMQ_DT_F16, 1, 0, 1, 1.1f },
    { "gptq", 8, 0, 1, GLMQ_ZERO_MID, GLMQ_DT_BF16, 1, 0, 1, 1.4f },
    { "gptq", 2, 16, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 1, 0, 0, 1.6f },
    { "gptq", 3, 0, 1, GLMQ_ZERO_STORED, GLMQ_DT_F32, 1, 0, 0, 1.2f },
    { "gptq", 4, 24, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 1, 0, 0, 1.1f },
    { "gptq", 4, 32, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 0, 1, 0, 1.1f },
    { "gptq", 8, 128, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 1, 1, 0, 1.6f },
    { "gptq", 2, 32, 1, GLMQ_ZERO_STORED, GLMQ_DT_BF16, 0, 1, 0, 1.9f },
    { "gptq", 3, 32, 1, GLMQ_ZERO_STORED, GLMQ_DT_F32, 0, 1, 0, 1.2f },
    { "gptq", 3, 32, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 2, 0, 0, 1.2f },
    { "gptq", 5, 32, 1, GLMQ_ZERO_MID, GLMQ_DT_F16, 2, 0, 1, 1.1f },
    { "gptq", 5, 64, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 2, 1, 0, 1.1f },
    { "gptq", 6, 0, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 2, 0, 0, 1.2f },
    { "gptq", 7, 32, 1, GLMQ_ZERO_STORED, GLMQ_DT_F32, 2, 0, 0, 1.2f },
    { "awq", 4, 32, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 0, 0, 0, 1.1f },
    { "awq", 4, 16, 1, GLMQ_ZERO_STORED, GLMQ_DT_F32, 0, 0, 0, 1.1f },
    { "awq", 4, 24, 1, GLMQ_ZERO_STORED, GLMQ_DT_BF16, 0, 0, 0, 1.4f },
    { "awq", 4, 0, 1, GLMQ_ZERO_MID, GLMQ_DT_F16, 0, 0, 1, 1.1f },
    { "ctpack", 2, 0, 1, GLMQ_ZERO_MID, GLMQ_DT_F16, 0, 0, 0, 1.1f },
    { "ctpack", 3, 0, 1, GLMQ_ZERO_STORED, GLMQ_DT_BF16, 0, 0, 0, 1.2f },
    { "ctpack", 4, 4, 1, GLMQ_ZERO_MID, GLMQ_DT_BF16, 0, 0, 0, 1.2f },
    { "ctpack", 4, 4, 1, GLMQ_ZERO_STORED, GLMQ_DT_BF16, 0, 0, 0, 1.2f },
    { "ctpack", 4, 4, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 1, 0, 0, 1.2f },
    { "ctpack", 4, 4, 1, GLMQ_ZERO_MID, GLMQ_DT_F32, 2, 1, 0, 1.2f },
    { "ctpack", 2, 16, 1, GLMQ_ZERO_MID, GLMQ_DT_F16, 0, 0, 0, 1.1f },
    { "ctpack", 3, 16, 1, GLMQ_ZERO_STORED, GLMQ_DT_BF16, 0, 0, 0, 1.2f },
    { "ctpack", 4, 32, 1, GLMQ_ZERO_STORED, GLMQ_DT_BF16, 0, 0, 0, 1.2f },
    { "ctpack", 8, 16, 1, GLMQ_ZERO_STORED, GLMQ_DT_F32, 0, 0, 0, 1.2f },
    { "ctpack", 5, 0, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 0, 0, 0, 1.2f },
    { "ctpack", 6, 4, 1, GLMQ_ZERO_STORED, GLMQ_DT_F32, 0, 0, 0, 1.2f },
    { "ctpack", 7, 4, 1, GLMQ_ZERO_STORED, GLMQ_DT_F32, 0, 0, 0, 1.2f },
    { "ctpack", 3, 4, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 4, 0, 0, 1.2f },
    { "ctpack", 5, 0, 1, GLMQ_ZERO_STORED, GLMQ_DT_F32, 4, 1, 0, 1.2f },
    { "ctpack", 6, 4, 1, GLMQ_ZERO_MID, GLMQ_DT_BF16, 6, 0, 0, 1.2f },
    { "ctpack", 7, 4, 1, GLMQ_ZERO_STORED, GLMQ_DT_F32, 4, 0, 0, 1.2f },
    { "ctpack", 8, 4, 1, GLMQ_ZERO_STORED, GLMQ_DT_F32, 0, 0, 0, 1.2f },
    { "ctpack", 8, 0, 0, GLMQ_ZERO_STORED, GLMQ_DT_F32, 0, 0, 0, 1.2f },
    { "ctpack", 4, 0, 0, GLMQ_ZERO_MID, GLMQ_DT_BF16, 0, 0, 0, 1.2f },
    { "ctint", 8, 0, 1, GLMQ_ZERO_MID, GLMQ_DT_F32, 0, 0, 0, 1.1f },
    { "ctint", 8, 0, 0, GLMQ_ZERO_STORED, GLMQ_DT_F32, 0, 0, 0, 1.2f },
    { "ctint", 4, 4, 1, GLMQ_ZERO_STORED, GLMQ_DT_F16, 0, 1, 0, 1.2f },
    { "q4_0", 4, 32, 1, GLMQ_ZERO_MID, 0, 0, 0, 1, 1.1f },
    { "q4_1", 4, 32, 1, GLMQ_ZERO_STORED, 0, 0, 0, 0, 0.6f },
    { "q5_0", 5, 32, 1, GLMQ_ZERO_MID, 0, 0, 0, 1, 1.1f },
    { "q5_1", 5, 32, 1, GLMQ_ZERO_STORED, 0, 0, 0, 0, 0.6f },
    { "q8_0", 8, 32, 1, GLMQ_ZERO_MID, 0, 0, 0, 1, 1.1f },
    /* four-bit floats: codes are no even steps, and a power of two may be twice the best scale */
    { "fp4", 4, 16, 1, GLMQ_ZERO_MID, GLMQ_DT_F8_E4M3, FP4_MODELOPT, 0, 0, 2 },
    { "fp4", 4, 16, 1, GLMQ_ZERO_MID, GLMQ_DT_F8_E4M3, FP4_CT, 0, 0, 2 },
    { "fp4", 4, 32, 1, GLMQ_ZERO_MID, GLMQ_DT_U8, FP4_CT, 0, 0, 2 },
    { "fp4", 4, 32, 1, GLMQ_ZERO_MID, GLMQ_DT_F8_E8M0, FP4_INV, 0, 0, 2 },
    { "mxfp4", 4, 0, 1, GLMQ_ZERO_MID, 0, 0, 0, 0, 2 },
    { "nvfp4", 4, 0, 1, GLMQ_ZERO_MID, 0, 0, 0, 0, 2 },
    { "tq3", 2, 8, 1, GLMQ_ZERO_MID, GLMQ_DT_F32, 0, 0, 0, 3.0f },
    { "tq3", 3, 64, 1, GLMQ_ZERO_MID, GLMQ_DT_F32, 0, 0, 0, 3.0f },
    { "tq3", 3, 128, 1, GLMQ_ZERO_MID, GLMQ_DT_F32, 2, 0, 0, 3.0f },
    { "tq3", 4, 256, 1, GLMQ_ZERO_MID, GLMQ_DT_F32, 0, 0, 0, 3.0f },
    { "tq3", 2, 1024, 1, GLMQ_ZERO_MID, GLMQ_DT_BF16, 0, 0, 0, 3.0f },
    { "tq3", 5, 32, 1, GLMQ_ZERO_MID, GLMQ_DT_F32, 1, 0, 0, 8.0f },
    /* decoded only: the laws of encoders do not apply */
    { "fp8", 8, 24, 5, 0, GLMQ_DT_BF16, 0, 0, 0, 0 },
    { "fp8", 8, 0, 1, 0, GLMQ_DT_F16, 0, 0, 0, 0 },
    { "q8_1", 8, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "q2_k", 2, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "q3_k", 3, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "q4_k", 4, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "q5_k", 5, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "q6_k", 6, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "q8_k", 8, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "iq2_xxs", 2, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "iq2_xs", 2, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "iq2_s", 2, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "iq3_xxs", 3, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "iq3_s", 3, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "iq1_s", 1, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "iq1_m", 1, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "iq4_nl", 4, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "iq4_xs", 4, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "tq1_0", 2, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "tq2_0", 2, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "q1_0", 1, 0, 1, 0, 0, 0, 0, 0, 0 },
    { "q2_0", 2, 0, 1, 0, 0, 0, 0, 0, 0 },
    /* bits of a code; variant: how it is stored (vq), which of a few geometries (aqlm) */
    { "vq", 8, 32, 1, 0, GLMQ_DT_F16, VQ_I32, 0, 0, 0 },
    { "vq", 12, 4, 1, 0, GLMQ_DT_F16, VQ_U8, 0, 0, 0 },
    { "vq", 7, 0, 1, 0, GLMQ_DT_F32, VQ_TURNED, 0, 0, 0 },
    { "vq", 11, 8, 1, 0, GLMQ_DT_BF16, VQ_EACH_U16, 0, 0, 0 },
    { "vq", 5, 4, 1, 0, GLMQ_DT_F16, VQ_EACH_I8, 0, 0, 0 },
    { "aqlm", 8, 0, 1, 0, GLMQ_DT_F16, 0, 0, 0, 0 },
    { "aqlm", 9, 0, 1, 0, GLMQ_DT_BF16, 1, 0, 0, 0 },
    { "aqlm", 5, 0, 1, 0, GLMQ_DT_F32, 2, 0, 0, 0 },
    { "aqlm", 8, 0, 1, 0, GLMQ_DT_F32, 0, 0, 0, 0 },
    { "aqlm", 16, 0, 1, 0, GLMQ_DT_BF16, 0, 0, 0, 0 },
    { "aqlm", 16, 0, 1, 0, GLMQ_DT_F16, 3, 0, 0, 0 },
    { "aqlm", 8, 0, 1, 0, GLMQ_DT_BF16, 3, 0, 0, 0 },
    { "aqlm", 7, 0, 1, 0, GLMQ_DT_F16, 4, 0, 0, 0 },
};

enum { ENCODINGS = sizeof encodings / sizeof *encodings };

/* Whole and ragged words, one chunk and several, one block of rows and several. */
static const struct {
    uint64_t rows, cols;
} shapes[] = { { 1, 32 }, { 7, 96 },  { 32, 256 }, { 33, 320 }, { 64, 1056 },
               { 5, 36 }, { 19, 20 }, { 7, 768 },  { 18, 4128 } };

enum { SHAPES = sizeof shapes / sizeof *shapes, MOST = 18 * 4128 };

static glmq_encoding encoding_of(const conformance *c)
{
    glmq_encoding e;
    if (strcmp(c->codec, "vq") == 0) return vq_sample(c->bits, c->group, c->scale, c->variant);
    if (strcmp(c->codec, "aqlm") == 0) return aqlm_sample(c->bits, c->scale, c->variant);
    if (c->scale == GLMQ_DT_NONE) return array_encoding(c->codec);
    e = int_encoding(c->codec, c->bits, c->group, c->zero_kind, c->scale, c->variant);
    e.group_rows = (uint16_t)c->group_rows;
    e.act_order = (uint8_t)c->act_order;
    if (c->scale == GLMQ_DT_F8_E4M3) /* for weights up to 0.1 */
        e.scalar = bits_from_f32(c->variant == FP4_CT ? 26880.0f : 0.1f / 2688);
    return e;
}

/* Scatters the groups of an act-order tensor, evenly where the columns allow it. */
static void scatter(tensor *t)
{
    const uint32_t groups = glmq_encoding_groups(&t->enc, t->cols);
    if (!t->enc.act_order) return;
    for (uint64_t i = 0; i < t->cols; i++)
        store_le32(t->bufs.buf[GLMQ_SLOT_PERM] + 4 * i, (uint32_t)((i * 7 + i / groups) % groups));
}

/* Weights encoded; where there is no encoder, bytes of a fixed sequence. */
static void fill(tensor *t, const float *w)
{
    uint32_t x = (uint32_t)(t->rows * t->cols);
    if (t->enc.codec->encode) {
        encode_all(t, w);
        return;
    }
    for (uint64_t i = 0; i < t->layout.slot[GLMQ_SLOT_CODES].bytes; i++) {
        x = x * 1664525u + 1013904223u;
        t->bufs.buf[GLMQ_SLOT_CODES][i] = (uint8_t)(x >> 24);
    }
    if (t->enc.tables) fill_books(t);
}

typedef void (*law_fn)(const conformance *, tensor *, const float *);

/* Runs a law over every encoding and shape that the codec accepts. */
static void for_each(law_fn law, int encoders_only)
{
    for (size_t i = 0; i < ENCODINGS; i++) {
        int used = 0;
        if (encoders_only && !encoding_of(&encodings[i]).codec->encode) continue;
        for (size_t k = 0; k < SHAPES; k++) {
            const glmq_encoding e = encoding_of(&encodings[i]);
            glmq_layout l;
            if (e.codec->layout(&e, shapes[k].rows, shapes[k].cols, &l, NULL)) continue;
            tensor t = make_tensor(e, shapes[k].rows, shapes[k].cols);
            float *w = make_weights(t.rows * t.cols, 0.1f, (uint32_t)(i * 16 + k));
            for (uint64_t j = 0; j < t.cols && t.rows > 2; j++) w[t.cols + j] = 0; /* a zero row */
            law(&encodings[i], &t, w);
            free(w);
            free_tensor(&t);
            used = 1;
        }
        assert_true(used);
    }
}

static void for_all(law_fn law)
{
    for_each(law, 0);
}

static void for_encoders(law_fn law)
{
    for_each(law, 1);
}

/* ---- laws ---- */

static void every_codec_is_under_test(void **state)
{
    (void)state;
    for (size_t i = 0; i < glmq_codec_count(); i++) {
        int found = !glmq_codec_at(i)->encode; /* only read: its own tests, its fixtures */
        for (size_t k = 0; k < ENCODINGS; k++)
            found |= strcmp(encodings[k].codec, glmq_codec_name(glmq_codec_at(i))) == 0;
        if (!found) fail_msg("%s has no row in this test", glmq_codec_name(glmq_codec_at(i)));
    }
}

static void layouts_refuse_what_overflows(void **state)
{
    static const uint64_t huge[][2] = {
        { UINT64_MAX, UINT64_MAX },
        { UINT64_MAX, 32 },
        { 32, UINT64_MAX & ~UINT64_C(31) },
        { UINT64_C(1) << 62, 1024 },
        { UINT64_C(1) << 32, UINT64_C(1) << 40 },
    };
    (void)state;
    for (size_t i = 0; i < ENCODINGS; i++) {
        const glmq_encoding e = encoding_of(&encodings[i]);
        for (size_t k = 0; k < sizeof huge / sizeof *huge; k++) {
            glmq_layout l;
            const glmq_status st = e.codec->layout(&e, huge[k][0], huge[k][1], &l, NULL);
            assert_true(st == GLMQ_E_LIMIT || st == GLMQ_E_FORMAT);
        }
    }
}

/* The span of the weights that share a scale with (r, c), zero included. */
static float span_of(const tensor *t, const float *w, uint64_t r, uint64_t c)
{
    const int all = t->enc.group == 0 && t->enc.group_rows == 0;
    const uint64_t group = t->enc.group ? t->enc.group : t->cols;
    const uint64_t begin = all ? 0 : r * t->cols + c / group * group;
    uint64_t end = all ? t->rows * t->cols : begin + group;
    float lo = 0, hi = 0;
    if (!all && end > (r + 1) * t->cols) end = (r + 1) * t->cols;
    for (uint64_t i = begin; i < end; i++) {
        if (w[i] < lo) lo = w[i];
        if (w[i] > hi) hi = w[i];
    }
    return t->enc.zero_kind == GLMQ_ZERO_MID ? 2 * fmaxf(hi, -lo) : hi - lo;
}

static void is_near(const conformance *c, tensor *t, const float *w)
{
    float *v = malloc(t->rows * t->cols * sizeof *v);
    const int plain = glmq_encoding_is_plain(&t->enc);
    const uint64_t group = t->enc.group ? t->enc.group : t->cols;
    float span = 0;
    encode_all(t, w);
    decode_all(t, v);
    for (uint64_t i = 0; i < t->rows * t->cols; i++) {
        if (i % t->cols % group == 0 && (t->enc.group_rows || i == 0))
            span = span_of(t, w, i / t->cols, i % t->cols);
        const float step =
            plain ? fabsf(w[i]) * ldexpf(1, -c->bits) : span / (float)((1 << c->bits) - 1);
        const float bound = c->steps * step + (plain && c->bits ? 0x1p-25f : 0);
        if (!(fabsf(v[i] - w[i]) <= bound))
            fail_msg("%s %d bits: %g became %g, %g allowed", c->codec, c->bits, (double)w[i],
                     (double)v[i], (double)bound);
    }
    free(v);
}

static void decoded_weights_are_within_the_bound(void **state)
{
    (void)state;
    for_encoders(is_near);
}

static void is_stable(const conformance *c, tensor *t, const float *w)
{
    float *v = malloc(t->rows * t->cols * sizeof *v);
    tensor again;
    if (c->stable) {
        again = make_tensor(t->enc, t->rows, t->cols);
        encode_all(t, w);
        decode_all(t, v);
        encode_all(&again, v);
        assert_same_bytes(t, &again);
        free_tensor(&again);
    }
    free(v);
}

static void encoding_the_decoded_changes_nothing(void **state)
{
    (void)state;
    for_encoders(is_stable);
}

static void is_identity(const conformance *c, tensor *t, const float *w)
{
    tensor again = make_tensor(t->enc, t->rows, t->cols);
    glmq_codes codes;
    glmq_error err;
    if (!t->enc.codec->get_codes) {
        assert_true(glmq_encoding_is_plain(&t->enc) || !t->enc.codec->encode ||
                    strcmp(c->codec, "tq3") == 0); /* rotated: its codes are no weights' */
        free_tensor(&again);
        return;
    }
    fill(t, w);
    if (t->enc.group && t->cols % t->enc.group == 0) scatter(t);
    codes = codes_of(t);
    if (t->enc.codec->put_codes(&t->enc, &codes, whole(t), &again.bufs, &err))
        fail_msg("%s", err.msg);
    assert_same_bytes(t, &again);
    free_codes(&codes);
    free_tensor(&again);
}

static void putting_back_the_codes_is_the_identity(void **state)
{
    (void)state;
    for_all(is_identity);
}

/* What the view says of one element.  (Tools disagree about the sign of a zero code.) */
static float value_of(const glmq_codes *k, uint64_t i, uint64_t g)
{
    const float product = (float)(k->q[i] - k->zero[g]) * k->scale[g];
    if (k->kind == GLMQ_CODES_LUT)
        return k->lut[k->q[i]] * (k->divides ? k->scale[g] / k->global : k->scale[g] * k->global);
    return k->has_offset ? product + k->offset[g] : product;
}

static void is_view(const conformance *c, tensor *t, const float *w)
{
    float *v = malloc(t->rows * t->cols * sizeof *v);
    glmq_codes k;
    (void)c;
    fill(t, w);
    scatter(t);
    if (t->enc.codec->get_codes) {
        decode_all(t, v);
        k = codes_of(t);
        assert_int_equal(k.groups, glmq_encoding_groups(&t->enc, t->cols));
        for (uint64_t i = 0; i < t->rows * t->cols; i++) {
            const uint64_t r = i / t->cols, col = i % t->cols;
            const uint64_t g = r * k.groups + (k.perm ? (uint64_t)k.perm[col] : col / k.group);
            const float x = value_of(&k, i, g);
            const int same = k.kind == GLMQ_CODES_LUT ? x == v[i] : !memcmp(&x, &v[i], sizeof x);
            if (!same) fail_msg("%g is decoded as %g", (double)x, (double)v[i]);
            assert_true(k.q[i] < 1 << k.bits);
            if (k.no_zero) assert_int_equal(k.zero[g], 1 << (k.bits - 1));
        }
        free_codes(&k);
    }
    free(v);
}

static void the_codes_view_has_the_decoded_values(void **state)
{
    (void)state;
    for_all(is_view);
}

/* The buffers of rows from `row` on: cut slots begin at its stripe. */
static glmq_bufs bufs_from(const tensor *t, uint64_t row)
{
    glmq_bufs b = { .row0 = row };
    for (int s = 0; s < GLMQ_SLOTS; s++) {
        uint64_t off = 0, bytes;
        if (!t->bufs.buf[s]) continue;
        if (t->layout.slot[s].stripe_rows)
            glmq_slot_range(&t->layout.slot[s], row, 1, &off, &bytes);
        b.buf[s] = t->bufs.buf[s] + off;
    }
    return b;
}

static glmq_tile tile_at(const tensor *t, uint64_t row, uint64_t rows)
{
    return (glmq_tile){ row, t->rows - row < rows ? t->rows - row : rows, t->cols, t->rows };
}

static void is_tileable(const conformance *c, tensor *t, const float *w)
{
    tensor again = make_tensor(t->enc, t->rows, t->cols),
           moved = make_tensor(t->enc, t->rows, t->cols);
    float *a = malloc(t->rows * t->cols * sizeof *a), *b = malloc(t->rows * t->cols * sizeof *b);
    (void)c;
    fill(t, w);
    for (uint64_t r = 0; t->enc.codec->encode && r < t->rows; r += t->layout.row_quantum) {
        glmq_bufs at = bufs_from(&again, r);
        t->enc.codec->encode(&t->enc, NULL, tile_at(t, r, t->layout.row_quantum), w + r * t->cols,
                             &at);
    }
    if (t->enc.codec->encode) assert_same_bytes(t, &again);
    scatter(t);
    decode_all(t, a);
    for (uint64_t r = 0; r < t->rows; r += 3) { /* any row may be asked for */
        const glmq_bufs at = bufs_from(t, r);
        t->enc.codec->decode(&t->enc, &at, tile_at(t, r, 3), b + r * t->cols);
    }
    assert_memory_equal(a, b, t->rows * t->cols * sizeof *a);
    for (uint64_t r = 0; t->enc.codec->get_codes && r < t->rows; r += t->layout.row_quantum) {
        const glmq_bufs from = bufs_from(t, r);
        glmq_bufs to = bufs_from(&moved, r);
        const glmq_tile tile = tile_at(t, r, t->layout.row_quantum);
        glmq_codes k = make_codes(t, tile.rows);
        t->enc.codec->get_codes(&t->enc, &from, tile, &k);
        if (!t->enc.act_order)
            assert_int_equal(t->enc.codec->put_codes(&t->enc, &k, tile, &to, NULL), GLMQ_OK);
        free_codes(&k);
    }
    if (t->enc.codec->get_codes && !t->enc.act_order) assert_same_bytes(t, &moved);
    free(a);
    free(b);
    free_tensor(&again);
    free_tensor(&moved);
}

static void tiles_in_any_split_give_the_same_bytes(void **state)
{
    (void)state;
    for_all(is_tileable);
}

/* ---- codes that stay packed ---- */

/* Code i of a stream. */
static unsigned code_at(const glmq_codes *k, uint64_t i)
{
    const uint64_t bit = i * k->bits;
    unsigned code = 0;
    for (uint64_t b = bit; b < bit + k->bits; b++)
        code |= (unsigned)(k->stream[b / 8] >> b % 8 & 1) << (b - bit);
    return code;
}

static void assert_packed(const glmq_codes *packed, const glmq_codes *plain, glmq_tile tile)
{
    assert_null(plain->stream); /* not asked for */
    for (uint64_t i = 0; packed->stream && i < tile.rows * tile.cols; i++)
        assert_int_equal(code_at(packed, i), plain->q[i]);
}

/* Tile by tile: a stream has the codes, and gives the bytes that it came from. */
static void is_packed(const conformance *c, tensor *t, const float *w)
{
    tensor back = make_tensor(t->enc, t->rows, t->cols);
    const glmq_codec *codec = t->enc.codec;
    const int puts = codec->takes_stream && !t->enc.act_order;
    const uint64_t step = 2 * t->layout.row_quantum;
    (void)c;
    fill(t, w);
    scatter(t);
    for (uint64_t r = 0; codec->get_codes && r < t->rows; r += step) {
        const glmq_bufs from = bufs_from(t, r);
        glmq_bufs to = bufs_from(&back, r);
        const glmq_tile tile = tile_at(t, r, step);
        glmq_codes plain = make_codes(t, tile.rows), packed = make_codes(t, tile.rows);
        packed.stream_will_do = 1;
        codec->get_codes(&t->enc, &from, tile, &plain);
        codec->get_codes(&t->enc, &from, tile, &packed);
        assert_packed(&packed, &plain, tile);
        if (puts) assert_int_equal(codec->put_codes(&t->enc, &packed, tile, &to, NULL), GLMQ_OK);
        free_codes(&plain);
        free_codes(&packed);
    }
    if (puts) assert_same_bytes(t, &back);
    free_tensor(&back);
}

/* Integers with a slot for scales: scales and zeros without the codes' buffer. */
static void is_small(const conformance *c, tensor *t, const float *w)
{
    glmq_codes all, small;
    glmq_bufs bufs;
    (void)c;
    fill(t, w);
    scatter(t);
    if (!t->enc.codec->get_codes || !t->bufs.buf[GLMQ_SLOT_SCALES]) return;
    all = codes_of(t);
    small = make_codes(t, t->rows);
    if (all.kind == GLMQ_CODES_INT) {
        uint8_t *q = small.q;
        const size_t n = (size_t)t->rows * all.groups;
        bufs = t->bufs;
        bufs.buf[GLMQ_SLOT_CODES] = NULL;
        small.q = NULL;
        t->enc.codec->get_codes(&t->enc, &bufs, whole(t), &small);
        small.q = q;
        assert_memory_equal(small.scale, all.scale, n * sizeof *small.scale);
        assert_memory_equal(small.zero, all.zero, n * sizeof *small.zero);
        assert_null(small.stream);
    }
    free_codes(&all);
    free_codes(&small);
}

static void the_small_view_needs_no_codes(void **state)
{
    (void)state;
    for_all(is_small);
}

static void packed_codes_are_the_codes(void **state)
{
    (void)state;
    for_all(is_packed);
}

/* ---- instruction-set levels: one process each, results side by side ---- */

static uint8_t *pen; /* where the child writes next */

static void note(const void *data, size_t len)
{
    memcpy(pen, data, len);
    pen += len;
}

static void write_results(const conformance *c, tensor *t, const float *w)
{
    float *v = malloc(t->rows * t->cols * sizeof *v);
    (void)c;
    fill(t, w);
    scatter(t);
    for (int s = 0; s < GLMQ_SLOTS; s++)
        if (t->bufs.buf[s]) note(t->bufs.buf[s], t->layout.slot[s].bytes);
    decode_all(t, v);
    note(v, t->rows * t->cols * sizeof *v);
    if (t->enc.codec->get_codes) {
        glmq_codes k = codes_of(t);
        note(k.q, t->rows * t->cols);
        free_codes(&k);
    }
    free(v);
}

/* Every half and bfloat16, and floats of all exponents, NaN and infinity among them. */
static void write_plain_extremes(void)
{
    tensor h = make_tensor(array_encoding("f16"), 64, 1024),
           b = make_tensor(array_encoding("bf16"), 64, 1024);
    float *w = malloc(65536 * sizeof *w);
    for (uint32_t i = 0; i < 65536; i++) {
        store_le16(h.bufs.buf[0] + 2 * i, (uint16_t)i);
        store_le16(b.bufs.buf[0] + 2 * i, (uint16_t)i);
    }
    decode_all(&h, w);
    note(w, 65536 * sizeof *w);
    decode_all(&b, w);
    note(w, 65536 * sizeof *w);
    for (uint32_t i = 0; i < 65536; i++) {
        const uint32_t bits = i * 65536 + i * 2654435761u % 65536;
        memcpy(&w[i], &bits, sizeof bits);
    }
    encode_all(&h, w);
    note(h.bufs.buf[0], 131072);
    encode_all(&b, w);
    note(b.bufs.buf[0], 131072);
    free(w);
    free_tensor(&h);
    free_tensor(&b);
}

/* Errors of all sizes, NaN and infinity among them, over a run that is no whole of lanes. */
static void write_gauge(void)
{
    enum { COUNT = 1003 };
    float a[COUNT], b[COUNT];
    gauge_sums sums = { 0 };
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint32_t bits = i * 2654435761u;
        memcpy(&a[i], &bits, sizeof bits);
        b[i] = i % 3 ? a[i] * 1.01f : -a[i];
    }
    glmq_kernels_now()->gauge(a, b, 77, &sums); /* finite and not */
    note(&sums, sizeof sums);
    sums = (gauge_sums){ 0 };
    for (int i = 0; i < COUNT; i++)
        a[i] = (float)(i * 37 % 101) / 50.0f, b[i] = a[i] + (float)(i % 7) / 4096;
    glmq_kernels_now()->gauge(a, b, COUNT, &sums);
    glmq_kernels_now()->gauge(b, a, 5, &sums);
    note(&sums, sizeof sums);
}

/* Groups of awkward size: tiny, huge, and mixed weights. */
static void write_extreme_groups(void)
{
    static const float sizes[] = { 1e-39f, 1e-30f, 1e-7f, 1e5f, 1e30f, 3e38f };
    for (size_t i = 0; i < ENCODINGS; i++)
        for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
            if (!encoding_of(&encodings[i]).codec->encode) continue;
            tensor t = make_tensor(encoding_of(&encodings[i]), 32, 128);
            float *w = make_weights(32 * 128, sizes[k], (uint32_t)k);
            for (int j = 0; j < 32 * 128; j += 5) w[j] = j % 2 ? -0.0f : w[j] * 1e-3f;
            encode_all(&t, w);
            for (int s = 0; s < GLMQ_SLOTS; s++)
                if (t.bufs.buf[s]) note(t.bufs.buf[s], t.layout.slot[s].bytes);
            free(w);
            free_tensor(&t);
        }
}

enum { RESULT_BYTES = 160 << 20 };

static uint8_t *results_at(const char *level, size_t *len)
{
    uint8_t *map =
        mmap(NULL, RESULT_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    int status;
    pid_t child;
    assert_true(map != MAP_FAILED);
    child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setenv("GLMQ_ISA", level, 1);
        pen = map + 16;
        for_all(write_results);
        write_plain_extremes();
        write_gauge();
        write_extreme_groups();
        store_le64(map, (uint64_t)(pen - map));
        store_le64(map + 8, (uint64_t)glmq_isa());
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    *len = (size_t)load_le64(map);
    return map;
}

/* Must run first: the level is chosen once in a process. */
static void all_instruction_sets_give_the_same_bits(void **state)
{
    size_t want, len;
    uint8_t *base = results_at("base", &want);
    (void)state;
    assert_true(want > 1 << 20);
    for (int level = ISA_AVX2; level < ISA_LEVELS; level++) {
        uint8_t *other = results_at(glmq_isa_name((glmq_isa_level)level), &len);
        if (load_le64(other + 8) != (uint64_t)level)
            print_message("skipped: this machine has no %s\n",
                          glmq_isa_name((glmq_isa_level)level));
        assert_int_equal(len, want);
        for (size_t i = 16; i < len; i++)
            if (base[i] != other[i])
                fail_msg("%s differs from base at byte %zu", glmq_isa_name((glmq_isa_level)level),
                         i);
        munmap(other, RESULT_BYTES);
    }
    munmap(base, RESULT_BYTES);
}

/* No encoder writes a scale of 0 (but ggml's own for a zero block), NaN or infinity … */
static void is_finite(const conformance *c, tensor *t, const float *w)
{
    float *v = malloc(t->rows * t->cols * sizeof *v);
    static const float sizes[] = { 0, 1e-44f, 1e-30f, 1e4f };
    for (size_t k = 0; k < sizeof sizes / sizeof *sizes; k++) {
        for (uint64_t i = 0; i < t->rows * t->cols; i++) v[i] = w[i] * 10 * sizes[k];
        if (glmq_encoding_is_plain(&t->enc)) continue;
        encode_all(t, v);
        decode_all(t, v);
        for (uint64_t i = 0; i < t->rows * t->cols; i++)
            if (!isfinite(v[i])) fail_msg("%s: weight %d is not finite", c->codec, (int)i);
        if (c->scale == GLMQ_DT_NONE || !t->enc.codec->get_codes) continue;
        glmq_codes codes = codes_of(t);
        for (uint64_t i = 0; i < t->rows * codes.groups; i++)
            assert_true(isfinite(codes.scale[i]) && codes.scale[i] != 0);
        free_codes(&codes);
    }
    free(v);
}

static void no_scale_is_zero_or_infinite(void **state)
{
    (void)state;
    for_encoders(is_finite);
}

/* … but where the type cannot hold it: that must show in every weight of the group. */
static void is_seen(const conformance *c, tensor *t, const float *w)
{
    const int half = c->scale == GLMQ_DT_F16 || (c->scale == GLMQ_DT_NONE && c->group);
    float *v = malloc(t->rows * t->cols * sizeof *v);
    memcpy(v, w, t->rows * t->cols * sizeof *v);
    for (uint64_t i = 0; i < t->cols; i++) v[i] = i % 2 ? 3e38f : -2e38f;
    encode_all(t, v);
    decode_all(t, v);
    for (uint64_t i = 0; i < t->cols && half; i++)
        if (isfinite(v[i])) fail_msg("%s: weight %d is %g", c->codec, (int)i, (double)v[i]);
    free(v);
}

static void an_overflowing_scale_shows_in_the_weights(void **state)
{
    (void)state;
    for_encoders(is_seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_instruction_sets_give_the_same_bits),
        cmocka_unit_test(every_codec_is_under_test),
        cmocka_unit_test(layouts_refuse_what_overflows),
        cmocka_unit_test(decoded_weights_are_within_the_bound),
        cmocka_unit_test(encoding_the_decoded_changes_nothing),
        cmocka_unit_test(putting_back_the_codes_is_the_identity),
        cmocka_unit_test(the_codes_view_has_the_decoded_values),
        cmocka_unit_test(tiles_in_any_split_give_the_same_bytes),
        cmocka_unit_test(packed_codes_are_the_codes),
        cmocka_unit_test(the_small_view_needs_no_codes),
        cmocka_unit_test(no_scale_is_zero_or_infinite),
        cmocka_unit_test(an_overflowing_scale_shows_in_the_weights),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
