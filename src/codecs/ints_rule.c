/* The plain rules of the formats' own quantizers: see ints_rule.h.
 *
 * A scale that overflows its type is stored as infinity: the group's weights then decode to no
 * finite numbers, and whoever encoded can see it. */
#include "ints_rule.h"
#include "base/num.h"

/* compressed-tensors' stand-in for a scale of 0: the type's epsilon */
static const float float_epsilon[FLOAT_KINDS] = { 0x1p-10f, 0x1p-7f, 0x1p-23f };

static float round_to(float_kind kind, float v)
{
    if (kind == FLOAT_F16) return f32_from_f16(f16_from_f32(v));
    return kind == FLOAT_BF16 ? f32_from_bf16(bf16_from_f32(v)) : v;
}

/* GPTQ tools floor scales at 1e-5. */
static float gptq_scale(float_kind kind, float s)
{
    if (s >= 0 && s < 1e-5f) s = 1e-5f;
    if (s < 0 && s > -1e-5f) s = -1e-5f;
    return round_to(kind, s);
}

/* AutoRound's rule: the weight of largest magnitude, `peak`, becomes -2^(bits-1). */
static float rule_gptq_sym(const ints_map *m, float peak)
{
    return peak == 0 ? 1.0f : gptq_scale(m->scale_kind, peak / -(float)(1 << (m->bits - 1)));
}

/* A zero of 0 would borrow in v1's packed words, and loaders that add field by field would
 * misread it: there the codes start at 1. */
static float rule_gptq_asym(const ints_map *m, float lo, float hi, int *zero)
{
    const int most = (1 << m->bits) - 1;
    float s;

    *zero = 1 << (m->bits - 1);
    if (lo == 0 && hi == 0) return 1.0f;
    s = gptq_scale(m->scale_kind, (hi - lo) / (float)most);
    if (!is_finite_f32(s)) return s;
    const float z = -lo / s;
    *zero = z < (float)most ? (int)round_even(z) : most;
    if (!m->minus_one || *zero) return s;
    *zero = 1;
    return gptq_scale(m->scale_kind, hi / (float)(most - 1));
}

/* compressed-tensors' min-max observer; every operation rounds to the scale's type. */
static float rule_ct(const ints_map *m, float lo, float hi, int *zero)
{
    const float_kind t = m->scale_kind;
    const int half = 1 << (m->bits - 1), steps = 2 * half - 1;
    float s, z;

    *zero = half;
    if (m->zero_kind == INTS_MID) {
        s = round_to(t, (hi > -lo ? hi : -lo) / ((float)steps / 2));
        return s == 0 ? float_epsilon[t] : s;
    }
    s = round_to(t, round_to(t, hi - lo) / (float)steps);
    if (s == 0) s = float_epsilon[t];
    z = round_to(t, (float)-half - round_to(t, lo / s));
    if (z > (float)(half - 1)) z = (float)(half - 1);
    *zero = half + (z > (float)-half ? (int)round_even(z) : -half);
    return s;
}

/* The first weight of largest magnitude. */
static float peak_of(const float *w, size_t n, float lo, float hi)
{
    if (hi != -lo) return hi > -lo ? hi : lo;
    for (size_t i = 0; i < n; i++)
        if (w[i] == hi || w[i] == lo) return w[i];
    return hi;
}

/* Scale and zero of the n weights of a group; the zero in the frame of `bits`. */
float ints_choose_scale(const ints_map *m, const float *w, size_t n, int *zero)
{
    float lo, hi;

    glmq_kernels_now()->extremes(w, n, &lo, &hi);
    *zero = 1 << (m->bits - 1);
    if (m->rule == RULE_GPTQ && m->zero_kind == INTS_MID)
        return rule_gptq_sym(m, peak_of(w, n, lo, hi));
    if (lo > 0) lo = 0;
    if (hi < 0) hi = 0;
    return m->rule == RULE_GPTQ ? rule_gptq_asym(m, lo, hi, zero) : rule_ct(m, lo, hi, zero);
}
