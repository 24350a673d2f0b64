/* The registered codecs, encodings as values, and the choice of the hot loops. */
#include "base/mem.h"
#include "base/safe.h"
#include "codec.h"
#include "kernels.h"
#include <stdio.h>
#include <string.h>

static const glmq_codec *const codecs[] = {
#define X(symbol) &glmq_codec_##symbol,
#include "table.h"
#undef X
};

size_t glmq_codec_count(void)
{
    return GLMQ_COUNT(codecs);
}

const glmq_codec *glmq_codec_at(size_t i)
{
    return i < GLMQ_COUNT(codecs) ? codecs[i] : NULL;
}

const glmq_codec *glmq_codec_find(const char *name)
{
    for (size_t i = 0; i < GLMQ_COUNT(codecs); i++)
        if (strcmp(codecs[i]->name, name) == 0) return codecs[i];
    return NULL;
}

const char *glmq_codec_name(const glmq_codec *codec)
{
    return codec->name;
}

const char *glmq_codec_about(const glmq_codec *codec)
{
    return codec->about;
}

/* ---- encodings that are one array of one dtype; `variant` holds the dtype ---- */

typedef struct array_encoding {
    glmq_dtype dtype;
    const glmq_codec *codec;
    uint8_t bits, group, zero_kind;
} array_encoding;

static const array_encoding arrays[] = {
    { GLMQ_DT_F32, &glmq_codec_f32, 32, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_F16, &glmq_codec_f16, 16, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_BF16, &glmq_codec_bf16, 16, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_Q4_0, &glmq_codec_q4_0, 4, 32, GLMQ_ZERO_MID },
    { GLMQ_DT_Q4_1, &glmq_codec_q4_1, 4, 32, GLMQ_ZERO_STORED },
    { GLMQ_DT_Q5_0, &glmq_codec_q5_0, 5, 32, GLMQ_ZERO_MID },
    { GLMQ_DT_Q5_1, &glmq_codec_q5_1, 5, 32, GLMQ_ZERO_STORED },
    { GLMQ_DT_Q8_0, &glmq_codec_q8_0, 8, 32, GLMQ_ZERO_MID },
    { GLMQ_DT_MXFP4, &glmq_codec_mxfp4, 4, 32, GLMQ_ZERO_MID },
    { GLMQ_DT_NVFP4, &glmq_codec_nvfp4, 4, 16, GLMQ_ZERO_MID },
    /* no codes view: no group */
    { GLMQ_DT_Q8_1, &glmq_codec_q8_1, 8, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_Q2_K, &glmq_codec_q2_k, 2, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_Q3_K, &glmq_codec_q3_k, 3, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_Q4_K, &glmq_codec_q4_k, 4, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_Q5_K, &glmq_codec_q5_k, 5, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_Q6_K, &glmq_codec_q6_k, 6, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_Q8_K, &glmq_codec_q8_k, 8, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_IQ2_XXS, &glmq_codec_iq2_xxs, 2, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_IQ2_XS, &glmq_codec_iq2_xs, 2, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_IQ2_S, &glmq_codec_iq2_s, 2, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_IQ3_XXS, &glmq_codec_iq3_xxs, 3, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_IQ3_S, &glmq_codec_iq3_s, 3, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_IQ1_S, &glmq_codec_iq1_s, 1, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_IQ1_M, &glmq_codec_iq1_m, 1, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_IQ4_NL, &glmq_codec_iq4_nl, 4, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_IQ4_XS, &glmq_codec_iq4_xs, 4, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_TQ1_0, &glmq_codec_tq1_0, 2, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_TQ2_0, &glmq_codec_tq2_0, 2, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_Q1_0, &glmq_codec_q1_0, 1, 0, GLMQ_ZERO_MID },
    { GLMQ_DT_Q2_0, &glmq_codec_q2_0, 2, 0, GLMQ_ZERO_MID },
};

enum { PLAIN_ARRAYS = 3 };

glmq_encoding glmq_encoding_of_dtype(glmq_dtype dtype)
{
    for (size_t i = 0; i < GLMQ_COUNT(arrays); i++)
        if (arrays[i].dtype == dtype)
            return (glmq_encoding){
                .codec = arrays[i].codec,
                .group = arrays[i].group,
                .group_rows = 1,
                .bits = arrays[i].bits,
                .scale_dtype = arrays[i].group ? GLMQ_DT_F16 : GLMQ_DT_NONE,
                .zero_kind = arrays[i].zero_kind,
                .variant = (uint8_t)dtype,
            };
    return (glmq_encoding){ .group_rows = 1, .variant = (uint8_t)dtype };
}

glmq_dtype glmq_encoding_dtype(const glmq_encoding *enc)
{
    if (!enc->codec) return (glmq_dtype)enc->variant;
    for (size_t i = 0; i < GLMQ_COUNT(arrays); i++)
        if (arrays[i].codec == enc->codec) return arrays[i].dtype;
    return GLMQ_DT_NONE;
}

int glmq_encoding_is_plain(const glmq_encoding *enc)
{
    for (size_t i = 0; i < PLAIN_ARRAYS; i++)
        if (arrays[i].codec == enc->codec) return 1;
    return 0;
}

/* ---- encodings as values ---- */

size_t glmq_encoding_print(const glmq_encoding *enc, char *text, size_t cap)
{
    const char *name = enc->codec ? enc->codec->name : glmq_dtype_name(glmq_encoding_dtype(enc));
    const size_t n = strlen(name);

    if (!enc->codec || !enc->codec->print) {
        snprintf(text, cap, "%s", name);
        return n;
    }
    snprintf(text, cap, "%s:", name);
    return n + 1 +
           enc->codec->print(enc, n + 1 < cap ? text + n + 1 : NULL, n + 1 < cap ? cap - n - 1 : 0);
}

static int same_tables(const glmq_encoding *a, const glmq_encoding *b)
{
    if (a->tables == b->tables) return 1;
    return a->tables && b->tables && a->codec->same_tables &&
           a->codec->same_tables(a->tables, b->tables);
}

int glmq_encoding_equal(const glmq_encoding *a, const glmq_encoding *b)
{
    if (a->codec != b->codec) return 0;
    if (glmq_encoding_dtype(a) != GLMQ_DT_NONE || !a->codec)
        return glmq_encoding_dtype(a) == glmq_encoding_dtype(b);
    return a->group == b->group && a->group_rows == b->group_rows && a->bits == b->bits &&
           a->scale_dtype == b->scale_dtype && a->zero_kind == b->zero_kind &&
           a->act_order == b->act_order && a->variant == b->variant && a->seed == b->seed &&
           same_tables(a, b);
}

double glmq_encoding_bpw(const glmq_encoding *enc, uint64_t rows, uint64_t cols)
{
    const glmq_dtype_info *info = glmq_dtype_info_of(glmq_encoding_dtype(enc));
    glmq_layout l;
    double bytes = 0;

    if (!enc->codec)
        return info->bits ? info->bits : info->block ? 8.0 * info->bytes / info->block : 0;
    if (rows == 0 || cols == 0 || enc->codec->layout(enc, rows, cols, &l, NULL)) return 0;
    for (int i = 0; i < GLMQ_SLOTS; i++) bytes += (double)l.slot[i].bytes;
    if (enc->codec->share) bytes += enc->codec->share(enc, rows * cols);
    return 8 * bytes / ((double)rows * (double)cols);
}

uint32_t glmq_encoding_group(const glmq_encoding *enc, uint64_t cols)
{
    return enc->group && enc->group < cols ? enc->group : (uint32_t)cols;
}

uint32_t glmq_encoding_groups(const glmq_encoding *enc, uint64_t cols)
{
    const uint64_t n = enc->group ? ceil_div_u64(cols, enc->group) : 1;
    return n > UINT32_MAX ? UINT32_MAX : (uint32_t)n;
}

void glmq_slot_range(const glmq_slot_layout *s, uint64_t row, uint64_t rows, uint64_t *off,
                     uint64_t *bytes)
{
    uint64_t end;

    *off = 0;
    *bytes = s->bytes;
    if (s->stripe_rows == 0) return;
    *off = row / s->stripe_rows * s->stripe_bytes;
    end = ceil_div_u64(row + rows, s->stripe_rows) * s->stripe_bytes;
    if (end > s->bytes) end = s->bytes; /* the last stripe may be short */
    if (*off > end) *off = end;
    *bytes = end - *off;
}

/* ---- hot loops ---- */

const glmq_kernels *glmq_kernels_at(glmq_isa_level level)
{
#ifdef __x86_64__
    if (level == ISA_AVX512) return &glmq_kernels_avx512;
    if (level == ISA_AVX2) return &glmq_kernels_avx2;
#endif
    (void)level;
    return &glmq_kernels_base;
}

const glmq_kernels *glmq_kernels_now(void)
{
    return glmq_kernels_at(glmq_isa());
}
