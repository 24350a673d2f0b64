/* The plain rules of ModelOpt, llm-compressor and ggml for four-bit floats, in their own order
 * of operations. */
#include "fp4_encode.h"
#include "base/num.h"
#include "base/safe.h"
#include "fp4_block.h"
#include <math.h>

enum { NV = 16, MX = 32 };

static const float MOST = 6.0f, RANGE = 2688.0f; /* of a code; of a code under an E4M3 scale */

static float amax_of(const float *w, int n)
{
    float most = 0;
    for (int i = 0; i < n; i++) most = fabsf(w[i]) > most ? fabsf(w[i]) : most;
    return most;
}

static float to_bf16(float x)
{
    return f32_from_bf16(bf16_from_f32(x));
}

/* The nearest code, ties to the even one, no further than 6.  Zero has no sign, but what is
 * below zero and rounds to it does. */
static uint8_t nearest(float q)
{
    const float a = fabsf(q);
    const int m = (a > 0.25f) + (a >= 0.75f) + (a > 1.25f) + (a >= 1.75f) + (a > 2.5f) +
                  (a >= 3.5f) + (a > 5.0f);
    return (uint8_t)((q < 0) << 3 | m);
}

static void divide(const float *w, int n, float d, uint8_t *q)
{
    for (int i = 0; i < n; i++) q[i] = nearest(w[i] / d);
}

/* ---- ModelOpt ---- */

/* A matrix of zeros has any scale. */
float fp4_modelopt_global(float amax)
{
    const float global = amax / RANGE;
    return fp4_is_scale(bits_from_f32(global)) ? global : 1.0f;
}

uint8_t fp4_group_modelopt(const fp4_rule *r, const float *w, uint8_t *q)
{
    float s = amax_of(w, NV) / (MOST * r->global);
    uint8_t byte;

    if (s == 0) s = 1.0f;
    if (s < 0x1p-9f) s = 0x1p-9f;
    byte = e4m3_from_f32(s < 448.0f ? s : 448.0f);
    divide(w, NV, f32_from_e4m3(byte) * r->global, q);
    return byte;
}

/* ---- llm-compressor ---- */

float fp4_ct_global(float amax, int bf16)
{
    const float inverse = 1.0f / amax;
    const float global = bf16 ? to_bf16(to_bf16(inverse) * RANGE) : inverse * RANGE;
    return fp4_is_scale(bits_from_f32(global)) ? global : 1.0f;
}

uint8_t fp4_group_ct(const fp4_rule *r, const float *w, uint8_t *q)
{
    const float most = amax_of(w, NV) / MOST, t = r->bf16 ? to_bf16(most) : most;
    uint8_t byte = e4m3_from_f32(r->global * t);

    if (byte == 0) byte = 0x20; /* 0.125 */
    divide(w, NV, f32_from_e4m3(byte) / r->global, q);
    return byte;
}

/* amax = m 2^x, 1 <= m < 2: the power above from m = 1.75 on, else the one below. */
uint8_t fp4_group_ct_mx(const fp4_rule *r, const float *w, uint8_t *q)
{
    const uint32_t bits = bits_from_f32(amax_of(w, MX));
    const int e = (int)(bits >> 23) + ((bits & 0x7fffff) >= 0x600000) - 2;
    const uint8_t byte = (uint8_t)(bits < 0x00800000 || e < 0 ? 0 : e);
    (void)r;
    divide(w, MX, f32_from_e8m0(byte), q);
    return byte;
}

/* ---- ggml ---- */

/* The code whose value is nearest, the first of two: the smaller magnitude, and never -0. */
static void search(const float *w, int n, float half, uint8_t *q)
{
    for (int i = 0; i < n; i++) {
        float least = INFINITY;
        q[i] = 0;
        for (uint8_t k = 0; k < 16; k++) {
            const float error = fabsf(e2m1_twice[k] * half - w[i]);
            if (!(error < least)) continue;
            least = error;
            q[i] = k;
        }
    }
}

/* Half up, not half even; from 256 on everything is 448; below 2^-10 nothing is left. */
static uint8_t ue4m3(float v)
{
    const uint32_t bits = bits_from_f32(v);
    const int e = (int)(bits >> 23) - 120;

    if (!(v > 0)) return 0;
    if (e <= 0) {
        const int m = (int)(v * 512.0f + 0.5f);
        return (uint8_t)(m > 7 ? 7 : m);
    }
    if (e >= 15) return 0x7e;
    const uint32_t rounded = ((uint32_t)e << 3 | (bits >> 20 & 7)) + (bits >> 19 & 1);
    return (uint8_t)(rounded >> 3 >= 15 ? 0x7e : rounded);
}

uint8_t fp4_group_ggml(const fp4_rule *r, const float *w, uint8_t *q)
{
    const uint8_t byte = ue4m3(amax_of(w, NV) / MOST);
    (void)r;
    search(w, NV, f32_from_e4m3(byte) * 0.5f, q);
    return byte;
}

/* log2f as ggml calls it: just below a power of two it rounds up. */
uint8_t fp4_group_ggml_mx(const fp4_rule *r, const float *w, uint8_t *q)
{
    const float amax = amax_of(w, MX);
    const int e = amax < 0x1p-125f ? 0 : (int)floorf(log2f(amax)) - 2 + 127;
    const uint8_t byte = (uint8_t)(e > 0 ? e : 0);
    (void)r;
    search(w, MX, mxfp4_scale(byte), q);
    return byte;
}

/* ---- all of them ---- */

void fp4_map_encode(const fp4_map *m, const fp4_rule *rule, glmq_tile t, const float *w)
{
    uint8_t q[MX];

    for (uint64_t r = 0; r < t.rows; r++)
        for (uint32_t g = 0; g < m->groups; g++, w += m->group) {
            *fp4_map_at(&m->scales, r, g) = rule->group(rule, w, q);
            fp4_map_pack(m, q, fp4_map_at(&m->codes, r, g));
        }
    if (m->global_at && m->global != FP4_NO_GLOBAL)
        store_le32(m->global_at, bits_from_f32(rule->global));
}
