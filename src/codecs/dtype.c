/* The one table of element types: see dtype.h. */
#include "dtype.h"
#include "base/mem.h"
#include "base/safe.h"
#include <string.h>

/* Plain types: `bits` of an element.  Block types: `block` elements in `bytes` bytes. */
#define PLAIN(st, ggml, id, width, order)                                                          \
    {                                                                                              \
        .st_name = st, .ggml_name = ggml, .ggml_id = id, .block = 1, .bits = width,                \
        .bytes = (width) / 8, .st_order = order                                                    \
    }
#define BLOCK(ggml, id, elements, size)                                                            \
    {                                                                                              \
        .ggml_name = ggml, .ggml_id = id, .block = elements, .bytes = size                         \
    }

static const glmq_dtype_info table[GLMQ_DT_COUNT] = {
    [GLMQ_DT_NONE] = { .ggml_id = -1 },
    [GLMQ_DT_BOOL] = PLAIN("BOOL", NULL, -1, 8, 0),
    [GLMQ_DT_F4] = PLAIN("F4", NULL, -1, 4, 1),
    [GLMQ_DT_F6_E2M3] = PLAIN("F6_E2M3", NULL, -1, 6, 2),
    [GLMQ_DT_F6_E3M2] = PLAIN("F6_E3M2", NULL, -1, 6, 3),
    [GLMQ_DT_U8] = PLAIN("U8", NULL, -1, 8, 4),
    [GLMQ_DT_I8] = PLAIN("I8", "i8", 24, 8, 5),
    [GLMQ_DT_F8_E5M2] = PLAIN("F8_E5M2", NULL, -1, 8, 6),
    [GLMQ_DT_F8_E4M3] = PLAIN("F8_E4M3", NULL, -1, 8, 7),
    [GLMQ_DT_F8_E8M0] = PLAIN("F8_E8M0", NULL, -1, 8, 8),
    [GLMQ_DT_F8_E4M3FNUZ] = PLAIN("F8_E4M3FNUZ", NULL, -1, 8, 9),
    [GLMQ_DT_F8_E5M2FNUZ] = PLAIN("F8_E5M2FNUZ", NULL, -1, 8, 10),
    [GLMQ_DT_I16] = PLAIN("I16", "i16", 25, 16, 11),
    [GLMQ_DT_U16] = PLAIN("U16", NULL, -1, 16, 12),
    [GLMQ_DT_F16] = PLAIN("F16", "f16", 1, 16, 13),
    [GLMQ_DT_BF16] = PLAIN("BF16", "bf16", 30, 16, 14),
    [GLMQ_DT_I32] = PLAIN("I32", "i32", 26, 32, 15),
    [GLMQ_DT_U32] = PLAIN("U32", NULL, -1, 32, 16),
    [GLMQ_DT_F32] = PLAIN("F32", "f32", 0, 32, 17),
    [GLMQ_DT_C64] = PLAIN("C64", NULL, -1, 64, 18),
    [GLMQ_DT_F64] = PLAIN("F64", "f64", 28, 64, 19),
    [GLMQ_DT_I64] = PLAIN("I64", "i64", 27, 64, 20),
    [GLMQ_DT_U64] = PLAIN("U64", NULL, -1, 64, 21),
    [GLMQ_DT_Q4_0] = BLOCK("q4_0", 2, 32, 18),
    [GLMQ_DT_Q4_1] = BLOCK("q4_1", 3, 32, 20),
    [GLMQ_DT_Q5_0] = BLOCK("q5_0", 6, 32, 22),
    [GLMQ_DT_Q5_1] = BLOCK("q5_1", 7, 32, 24),
    [GLMQ_DT_Q8_0] = BLOCK("q8_0", 8, 32, 34),
    [GLMQ_DT_Q8_1] = BLOCK("q8_1", 9, 32, 36),
    [GLMQ_DT_Q2_K] = BLOCK("q2_K", 10, 256, 84),
    [GLMQ_DT_Q3_K] = BLOCK("q3_K", 11, 256, 110),
    [GLMQ_DT_Q4_K] = BLOCK("q4_K", 12, 256, 144),
    [GLMQ_DT_Q5_K] = BLOCK("q5_K", 13, 256, 176),
    [GLMQ_DT_Q6_K] = BLOCK("q6_K", 14, 256, 210),
    [GLMQ_DT_Q8_K] = BLOCK("q8_K", 15, 256, 292),
    [GLMQ_DT_IQ2_XXS] = BLOCK("iq2_xxs", 16, 256, 66),
    [GLMQ_DT_IQ2_XS] = BLOCK("iq2_xs", 17, 256, 74),
    [GLMQ_DT_IQ3_XXS] = BLOCK("iq3_xxs", 18, 256, 98),
    [GLMQ_DT_IQ1_S] = BLOCK("iq1_s", 19, 256, 50),
    [GLMQ_DT_IQ4_NL] = BLOCK("iq4_nl", 20, 32, 18),
    [GLMQ_DT_IQ3_S] = BLOCK("iq3_s", 21, 256, 110),
    [GLMQ_DT_IQ2_S] = BLOCK("iq2_s", 22, 256, 82),
    [GLMQ_DT_IQ4_XS] = BLOCK("iq4_xs", 23, 256, 136),
    [GLMQ_DT_IQ1_M] = BLOCK("iq1_m", 29, 256, 56),
    [GLMQ_DT_TQ1_0] = BLOCK("tq1_0", 34, 256, 54),
    [GLMQ_DT_TQ2_0] = BLOCK("tq2_0", 35, 256, 66),
    [GLMQ_DT_MXFP4] = BLOCK("mxfp4", 39, 32, 17),
    [GLMQ_DT_NVFP4] = BLOCK("nvfp4", 40, 64, 36),
    [GLMQ_DT_Q1_0] = BLOCK("q1_0", 41, 128, 18),
    [GLMQ_DT_Q2_0] = BLOCK("q2_0", 42, 64, 18),
};

const glmq_dtype_info *glmq_dtype_info_of(glmq_dtype dtype)
{
    return &table[(unsigned)dtype < GLMQ_DT_COUNT ? dtype : GLMQ_DT_NONE];
}

/* Upper-case spellings of the types that only GGUF knows. */
static const char *const block_names[GLMQ_DT_COUNT] = {
    [GLMQ_DT_Q4_0] = "Q4_0",       [GLMQ_DT_Q4_1] = "Q4_1",     [GLMQ_DT_Q5_0] = "Q5_0",
    [GLMQ_DT_Q5_1] = "Q5_1",       [GLMQ_DT_Q8_0] = "Q8_0",     [GLMQ_DT_Q8_1] = "Q8_1",
    [GLMQ_DT_Q2_K] = "Q2_K",       [GLMQ_DT_Q3_K] = "Q3_K",     [GLMQ_DT_Q4_K] = "Q4_K",
    [GLMQ_DT_Q5_K] = "Q5_K",       [GLMQ_DT_Q6_K] = "Q6_K",     [GLMQ_DT_Q8_K] = "Q8_K",
    [GLMQ_DT_IQ2_XXS] = "IQ2_XXS", [GLMQ_DT_IQ2_XS] = "IQ2_XS", [GLMQ_DT_IQ3_XXS] = "IQ3_XXS",
    [GLMQ_DT_IQ1_S] = "IQ1_S",     [GLMQ_DT_IQ4_NL] = "IQ4_NL", [GLMQ_DT_IQ3_S] = "IQ3_S",
    [GLMQ_DT_IQ2_S] = "IQ2_S",     [GLMQ_DT_IQ4_XS] = "IQ4_XS", [GLMQ_DT_IQ1_M] = "IQ1_M",
    [GLMQ_DT_TQ1_0] = "TQ1_0",     [GLMQ_DT_TQ2_0] = "TQ2_0",   [GLMQ_DT_MXFP4] = "MXFP4",
    [GLMQ_DT_NVFP4] = "NVFP4",     [GLMQ_DT_Q1_0] = "Q1_0",     [GLMQ_DT_Q2_0] = "Q2_0",
};

const char *glmq_dtype_name(glmq_dtype dtype)
{
    const glmq_dtype_info *info = glmq_dtype_info_of(dtype);
    if (info->st_name) return info->st_name;
    return info->ggml_name ? block_names[dtype] : "none";
}

glmq_dtype glmq_dtype_from_st(const char *name, size_t len)
{
    for (int d = 0; d < GLMQ_DT_COUNT; d++)
        if (table[d].st_name && strlen(table[d].st_name) == len &&
            memcmp(table[d].st_name, name, len) == 0)
            return (glmq_dtype)d;
    return GLMQ_DT_NONE;
}

glmq_dtype glmq_dtype_from_ggml(uint32_t id)
{
    for (int d = 1; d < GLMQ_DT_COUNT; d++)
        if (table[d].ggml_id >= 0 && (uint32_t)table[d].ggml_id == id) return (glmq_dtype)d;
    return GLMQ_DT_NONE;
}

typedef struct foreign_id {
    uint32_t id;
    const char *why;
} foreign_id;

/* Ids of removed types, and of the fork ik_llama.cpp: its own types, and from 202 on the
 * row-interleaved forms, at the original id + 200. */
#define REMOVED(name) "removed from ggml (was " name ")"
#define FORK(name)    name " of ik_llama.cpp; upstream ggml has no such type"

static const foreign_id foreign[] = {
    { 4, REMOVED("Q4_2") },        { 5, REMOVED("Q4_3") },
    { 31, REMOVED("Q4_0_4_4") },   { 32, REMOVED("Q4_0_4_8") },
    { 33, REMOVED("Q4_0_8_8") },   { 36, REMOVED("IQ4_NL_4_4") ", or I2_S of ik_llama.cpp" },
    { 37, REMOVED("IQ4_NL_4_8") }, { 38, REMOVED("IQ4_NL_8_8") },
    { 97, FORK("Q8_0_X4") },       { 98, FORK("Q8_1_X4") },
    { 99, FORK("Q8_2_X4") },       { 133, FORK("Q6_0") },
    { 134, FORK("IQ1_BN") },       { 135, FORK("IQ2_BN") },
    { 136, FORK("Q8_K64") },       { 137, FORK("IQ2_K") },
    { 138, FORK("IQ3_K") },        { 139, FORK("IQ4_K") },
    { 140, FORK("IQ5_K") },        { 141, FORK("IQ6_K") },
    { 144, FORK("IQ4_KS") },       { 145, FORK("IQ2_KS") },
    { 146, FORK("IQ4_KSS") },      { 147, FORK("Q8_K16") },
    { 148, FORK("Q8_K32") },       { 149, FORK("Q8_KR8") },
    { 150, FORK("Q8_K128") },      { 151, FORK("Q8_KV") },
    { 152, FORK("IQ5_KS") },       { 153, FORK("IQ2_KT") },
    { 154, FORK("IQ3_KT") },       { 155, FORK("IQ4_KT") },
    { 156, FORK("IQ3_KS") },       { 157, FORK("IQ2_KL") },
    { 158, FORK("IQ1_KT") },
};

const char *glmq_ggml_id_why(uint32_t id)
{
    for (size_t i = 0; i < GLMQ_COUNT(foreign); i++)
        if (foreign[i].id == id) return foreign[i].why;
    if ((id >= 202 && id <= 233) || (id >= 335 && id <= 353) || (id >= 397 && id <= 399))
        return "a row-interleaved type of ik_llama.cpp; upstream ggml has no such type";
    return "unknown to ggml";
}

int glmq_dtype_is_float(glmq_dtype dtype)
{
    return dtype == GLMQ_DT_F32 || dtype == GLMQ_DT_F16 || dtype == GLMQ_DT_BF16;
}

int glmq_dtype_bytes(glmq_dtype dtype, uint64_t count, uint64_t *bytes)
{
    const glmq_dtype_info *info = glmq_dtype_info_of(dtype);
    uint64_t total;

    if (info->block == 0) return 1; /* NONE */
    if (info->bits == 0) {
        if (count % info->block) return 1;
        return mul_u64(count / info->block, info->bytes, bytes);
    }
    if (mul_u64(count, info->bits, &total) || total % 8) return 1;
    *bytes = total / 8;
    return 0;
}
