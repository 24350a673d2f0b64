/* Decoded tensors against the hashes of expected.json files: one rounding to the dtype that
 * a tool decodes to, then SHA-256. */
#ifndef GLMQ_TESTS_EXPECTED_H
#define GLMQ_TESTS_EXPECTED_H

#include "base/json.h"
#include "base/safe.h"
#include "glmq/graph.h"
#include "unit/sha256.h"
#include "support.h"

static inline cJSON *read_json(const char *path)
{
    glmq_error err;
    cJSON *json = NULL;
    size_t len;
    char *text = slurp(path, &len);

    if (glmq_json_parse(&json, text, len, 0, &err)) fail_msg("%s: %s", path, err.msg);
    free(text);
    return json;
}

/* ---- one rounding, written down here once more ---- */

static inline uint16_t round_bf16(float f)
{
    uint32_t bits;

    memcpy(&bits, &f, 4);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

/* To nearest even, by the value of the two neighbours. */
static inline uint16_t round_f16(float f)
{
    uint32_t bits;
    int exponent, shift;
    uint64_t mantissa, half, rest;
    uint16_t sign, out;

    memcpy(&bits, &f, 4);
    sign = (uint16_t)(bits >> 16 & 0x8000);
    exponent = (int)(bits >> 23 & 0xff) - 127;
    mantissa = (bits & 0x7fffff) | 0x800000;
    if ((bits & 0x7fffffff) == 0 || exponent < -26) return sign;
    assert_true(exponent < 128); /* no Inf, no NaN in the fixtures */
    shift = exponent < -14 ? 13 + (-14 - exponent) : 13;
    half = UINT64_C(1) << (shift - 1);
    rest = mantissa & (2 * half - 1);
    mantissa >>= shift;
    if (rest > half || (rest == half && (mantissa & 1))) mantissa++;
    out = exponent < -14 ? (uint16_t)mantissa
                         : (uint16_t)(mantissa + ((uint64_t)(exponent + 14) << 10));
    return (uint16_t)(sign | (out > 0x7c00 ? 0x7c00 : out));
}

/* `n` values in the dtype named, as bytes; the caller frees them. */
static inline uint8_t *round_to(const char *dtype, const float *w, size_t n, size_t *bytes)
{
    uint8_t *out = malloc(n * 4 + 1);

    assert_non_null(out);
    *bytes = n * (strcmp(dtype, "F32") == 0 ? 4 : 2);
    for (size_t i = 0; i < n; i++) {
        if (strcmp(dtype, "F32") == 0) memcpy(out + 4 * i, &w[i], 4);
        if (strcmp(dtype, "BF16") == 0) store_le16(out + 2 * i, round_bf16(w[i]));
        if (strcmp(dtype, "F16") == 0) store_le16(out + 2 * i, round_f16(w[i]));
    }
    return out;
}

static inline void must_hash(const char *name, const char *dtype, const float *w, size_t n,
                             const char *want)
{
    char hex[65];
    size_t bytes;
    uint8_t *data = round_to(dtype, w, n, &bytes);

    sha256_hex(data, bytes, hex);
    free(data);
    if (strcmp(hex, want) != 0) fail_msg("%s in %s: %s, expected %s", name, dtype, hex, want);
}

static inline void check_shape(const cJSON *entry, const glmq_tensor *t)
{
    const cJSON *shape = cJSON_GetObjectItem(entry, "shape");

    assert_int_equal(cJSON_GetArraySize(shape), 2);
    assert_int_equal(cJSON_GetArrayItem(shape, 0)->valueint, t->rows);
    assert_int_equal(cJSON_GetArrayItem(shape, 1)->valueint, t->cols);
}
#endif
