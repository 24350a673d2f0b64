/* Four-bit floats, wherever they lie: decode, codes out and in. */
#include "fp4_map.h"
#include "base/error.h"
#include "base/num.h"
#include "base/safe.h"
#include <math.h>

/* The values of both codes of a byte, low nibble first; Z: the value of code 8. */
#define LOW(Z, h)                                                                                  \
    { 0.0f, h }, { 0.5f, h }, { 1.0f, h }, { 1.5f, h }, { 2.0f, h }, { 3.0f, h }, { 4.0f, h },     \
        { 6.0f, h }, { Z, h }, { -0.5f, h }, { -1.0f, h }, { -1.5f, h }, { -2.0f, h },             \
        { -3.0f, h }, { -4.0f, h },                                                                \
    {                                                                                              \
        -6.0f, h                                                                                   \
    }
#define PAIRS(Z)                                                                                   \
    {                                                                                              \
        LOW(Z, 0.0f), LOW(Z, 0.5f), LOW(Z, 1.0f), LOW(Z, 1.5f), LOW(Z, 2.0f), LOW(Z, 3.0f),        \
            LOW(Z, 4.0f), LOW(Z, 6.0f), LOW(Z, Z), LOW(Z, -0.5f), LOW(Z, -1.0f), LOW(Z, -1.5f),    \
            LOW(Z, -2.0f), LOW(Z, -3.0f), LOW(Z, -4.0f), LOW(Z, -6.0f)                             \
    }
static const float pairs[2][256][2] = { PAIRS(-0.0f), PAIRS(0.0f) };

static const float values[16] = { 0.0f,  0.5f,  1.0f,  1.5f,  2.0f,  3.0f,  4.0f,  6.0f,
                                  -0.0f, -0.5f, -1.0f, -1.5f, -2.0f, -3.0f, -4.0f, -6.0f };

uint8_t *fp4_map_at(const fp4_lane *l, uint64_t r, uint32_t g)
{
    return l->base + r * l->row + g / l->per * l->block + l->first + g % l->per * l->each;
}

float fp4_map_scale(const fp4_map *m, uint8_t byte)
{
    if (m->powers) return byte == 0xff ? INFINITY : f32_from_e8m0(byte);
    if (!m->ue4m3) return f32_from_e4m3(byte);
    return (byte & 0x7f) == 0x7f ? 0.0f : f32_from_e4m3(byte & 0x7f);
}

float fp4_map_global(const fp4_map *m)
{
    return m->global_at ? f32_from_bits(load_le32(m->global_at)) : 1.0f;
}

/* ---- out ---- */

/* The order of operations is each tool's own: scale times (or over) the global one, rounded,
 * then times the value, rounded. */
static float full_scale(const fp4_map *m, float global, uint8_t byte)
{
    const float s = fp4_map_scale(m, byte);
    if (m->global == FP4_MULTIPLIES) return s * global;
    return m->global == FP4_DIVIDES ? s / global : s;
}

void fp4_map_decode(const fp4_map *m, glmq_tile t, float *w)
{
    const float(*value)[2] = pairs[m->plus_zero != 0];
    const float global = fp4_map_global(m);
    const uint32_t half = m->group / 2;

    for (uint64_t r = 0; r < t.rows; r++)
        for (uint32_t g = 0; g < m->groups; g++, w += m->group) {
            const float s = full_scale(m, global, *fp4_map_at(&m->scales, r, g));
            const uint8_t *q = fp4_map_at(&m->codes, r, g);
            if (m->halves)
                for (uint32_t j = 0; j < half; j++) {
                    w[j] = value[q[j]][0] * s;
                    w[j + half] = value[q[j]][1] * s;
                }
            else
                for (uint32_t j = 0; j < half; j++) {
                    w[2 * j] = value[q[j]][0] * s;
                    w[2 * j + 1] = value[q[j]][1] * s;
                }
        }
}

static void unpack(const fp4_map *m, const uint8_t *from, uint8_t *q)
{
    const uint32_t half = m->group / 2;

    for (uint32_t j = 0; j < half; j++) {
        q[m->halves ? j : 2 * j] = from[j] & 15;
        q[m->halves ? j + half : 2 * j + 1] = from[j] >> 4;
    }
}

void fp4_map_pack(const fp4_map *m, const uint8_t *q, uint8_t *to)
{
    const uint32_t half = m->group / 2;

    for (uint32_t j = 0; j < half; j++)
        to[j] = m->halves ? (uint8_t)(q[j] | q[j + half] << 4)
                          : (uint8_t)(q[2 * j] | q[2 * j + 1] << 4);
}

void fp4_map_get(const fp4_map *m, glmq_tile t, glmq_codes *codes)
{
    codes->kind = GLMQ_CODES_LUT;
    codes->bits = 4;
    codes->no_zero = codes->has_offset = 0;
    codes->group = m->group;
    codes->groups = m->groups;
    codes->perm = NULL;
    codes->lut = values;
    codes->global = fp4_map_global(m);
    codes->divides = m->global == FP4_DIVIDES;
    for (uint64_t r = 0; r < t.rows; r++)
        for (uint32_t g = 0; g < m->groups; g++) {
            const uint64_t i = r * m->groups + g;
            codes->scale[i] = fp4_map_scale(m, *fp4_map_at(&m->scales, r, g));
            codes->offset[i] = 0;
            codes->zero[i] = 0;
            if (codes->q) unpack(m, fp4_map_at(&m->codes, r, g), codes->q + i * m->group);
        }
}

/* ---- in ---- */

/* How the codes of one tile go into a map. */
typedef struct move {
    const fp4_map *to;
    const glmq_codes *from;
    uint32_t global; /* bits to store                                                       */
    int copy;        /* scales as they are                                                  */
    double had;      /* the codes' global scale as a multiplier                             */
    double unit;     /* the target's                                                        */
} move;

static int is_power(float x)
{
    return (bits_from_f32(x) & 0x7fffff) == 0;
}

static fp4_global kind_of(const glmq_codes *c)
{
    if (c->group > 16) return FP4_NO_GLOBAL;
    return c->divides ? FP4_DIVIDES : FP4_MULTIPLIES;
}

static int same_scale(const move *m, fp4_global had, uint32_t global)
{
    if (had == FP4_NO_GLOBAL || m->from->group != m->to->group) return 0;
    return had == m->to->global ? m->global == global : fp4_are_reciprocal(m->global, global);
}

/* Which global scale is stored, and whether block scales stay. */
static glmq_status plan_global(move *m, uint32_t scalar, glmq_error *err)
{
    const fp4_global had = kind_of(m->from);
    const uint32_t global = bits_from_f32(m->from->global);

    m->unit = m->had = 1;
    if (had == FP4_DIVIDES)
        m->had = is_power(m->from->global) ? 1 / (double)m->from->global : 0;
    else
        m->had = (double)m->from->global;
    m->copy = had == m->to->global;
    if (m->to->global == FP4_NO_GLOBAL) return GLMQ_OK;
    m->global = scalar;
    if (!scalar && had != FP4_NO_GLOBAL)
        m->global = had == m->to->global ? global : fp4_reciprocal(global, m->to->global);
    if (!fp4_is_scale(m->global))
        return glmq_fail(err, GLMQ_E_INEXACT, "%s has no global scale for %g", m->to->name,
                         (double)m->from->global);
    if (!m->to->global_at && m->global != bits_from_f32(1.0f))
        return glmq_fail(err, GLMQ_E_INEXACT, "no place for the global scale %g",
                         (double)f32_from_bits(m->global));
    m->copy = same_scale(m, had, global);
    m->unit = (double)f32_from_bits(m->global);
    if (m->to->global == FP4_DIVIDES) m->unit = is_power((float)m->unit) ? 1 / m->unit : 0;
    if (!m->copy && (m->unit == 0 || m->had == 0))
        return glmq_fail(err, GLMQ_E_INEXACT, "a global scale that divides is no power of two");
    return GLMQ_OK;
}

/* The byte of a block scale that the target's type has. */
static int store_scale(const move *m, float scale, uint8_t *byte)
{
    const uint32_t bits = bits_from_f32(scale);

    if (m->to->powers) {
        *byte = (uint8_t)(bits >> 23);
        if (bits == 0x00400000) return 1; /* 2^-127: its byte is 0 */
        return bits >> 23 > 0 && bits >> 23 < 255 && is_power(scale);
    }
    *byte = e4m3_from_f32(scale);
    return *byte < 0x7f && f32_from_e4m3(*byte) == scale;
}

/* Group `g` of a row, from one group of the codes or from two. */
static int fit_group(const move *m, uint64_t r, uint32_t g, fp4_group *out)
{
    const glmq_codes *c = m->from;
    const uint32_t wide = m->to->group > c->group,
                   first = wide ? g * 2 : g * m->to->group / c->group;

    *out = (fp4_group){ .runs = wide ? 2 : 1, .q = c->q + (r * m->to->groups + g) * m->to->group };
    out->each = m->to->group / out->runs;
    for (uint32_t i = 0; i < out->runs; i++)
        out->scale[i] = (double)c->scale[r * c->groups + first + i] * m->had;
    return m->to->powers ? fp4_fit_power(out) : fp4_fit_e4m3(out, m->unit);
}

static glmq_status put_group(const move *m, glmq_tile t, uint64_t r, uint32_t g, glmq_error *err)
{
    const glmq_codes *c = m->from;
    uint8_t *scale = fp4_map_at(&m->to->scales, r, g), *codes = fp4_map_at(&m->to->codes, r, g);
    fp4_group fit;

    if (m->copy && store_scale(m, c->scale[r * c->groups + g], scale)) {
        fp4_map_pack(m->to, c->q + (r * c->groups + g) * m->to->group, codes);
        return GLMQ_OK;
    }
    if (m->had == 0 || !fit_group(m, r, g, &fit))
        return glmq_fail(err, GLMQ_E_INEXACT,
                         "row %" PRIu64 ", columns from %" PRIu32
                         ": no scale and codes of %s are equal to those under the scale %g",
                         t.row + r, g * m->to->group, m->to->name,
                         (double)c->scale[r * c->groups + g * m->to->group / c->group]);
    *scale = fit.byte;
    fp4_map_pack(m->to, fit.out, codes);
    return GLMQ_OK;
}

glmq_status fp4_map_put(const fp4_map *to, uint32_t scalar, const glmq_codes *codes, glmq_tile t,
                        glmq_error *err)
{
    move m = { .to = to, .from = codes };

    if (codes->kind != GLMQ_CODES_LUT || codes->bits != 4)
        return glmq_fail(err, GLMQ_E_INEXACT, "integers, and %s stores four-bit floats", to->name);
    GLMQ_TRY(plan_global(&m, scalar, err));
    if (!codes->q) return GLMQ_OK; /* whether the scales fit hangs on the codes */
    for (uint64_t r = 0; r < t.rows; r++)
        for (uint32_t g = 0; g < to->groups; g++) GLMQ_TRY(put_group(&m, t, r, g, err));
    if (to->global_at && to->global != FP4_NO_GLOBAL) store_le32(to->global_at, m.global);
    return GLMQ_OK;
}
