/* Four-bit floats, wherever they lie: decode, codes out and in. */
#include "fp4_map.h"
#include "base/error.h"
#include "base/num.h"
#include "base/safe.h"
#include "fp4_block.h"
#include "kernels.h"
#include <math.h>
#include <string.h>

uint8_t *fp4_map_at(const fp4_lane *l, uint64_t r, uint32_t g)
{
    const uint32_t in_block = g & ((1u << l->log) - 1);
    return l->base + r * l->row + (g >> l->log) * l->block + l->first + in_block * l->each;
}

float fp4_map_global(const fp4_map *m)
{
    return m->global_at ? f32_from_bits(load_le32(m->global_at)) : 1.0f;
}

/* ---- out ---- */

enum { RUN = 256 }; /* groups at a time */

/* The bytes of the scales of groups [g, g + n) of a row, n <= RUN, made plain: a GGUF's have no
 * sign, and no NaN but 0. */
static void gather(const fp4_map *m, uint64_t r, uint32_t g, uint32_t n, uint8_t *bytes)
{
    const uint8_t *at = fp4_map_at(&m->scales, r, g);

    if (m->scales.log == 0 && m->scales.block == 1)
        memcpy(bytes, at, n);
    else if (m->scales.log == 0)
        for (uint32_t i = 0; i < n; i++) bytes[i] = at[i * m->scales.block];
    else /* whole blocks of four */
        for (uint32_t i = 0; i < n; i += 4, at += m->scales.block) memcpy(bytes + i, at, 4);
    if (!m->ue4m3) return;
    for (uint32_t i = 0; i < n; i++) {
        const uint8_t e = bytes[i] & 0x7f;
        bytes[i] = e == 0x7f ? 0 : e;
    }
}

/* Scales times `by`. */
static void load_scales(const fp4_map *m, uint64_t r, uint32_t g, uint32_t n, float by, float *s)
{
    uint8_t bytes[RUN];

    gather(m, r, g, n, bytes);
    if (!m->powers)
        glmq_kernels_now()->scale_e4m3(bytes, n, by, s);
    else
        for (uint32_t i = 0; i < n; i++)
            s[i] = bytes[i] == 0xff ? INFINITY : f32_from_e8m0(bytes[i]);
}

/* Groups [g, g + n) of a row, codes a byte each: all of them, or those of one block. */
static void unpack(const fp4_map *m, uint64_t r, uint32_t g, uint32_t n, uint8_t *q)
{
    const glmq_kernels *k = glmq_kernels_now();
    const uint32_t per = 1u << m->codes.log;

    if (!m->halves) {
        k->unpack[4](fp4_map_at(&m->codes, r, g), (size_t)n * m->group, q);
        return;
    }
    for (uint32_t i = 0, some; i < n; i += some) { /* groups lie side by side within a block */
        some = per - (g + i) % per;
        if (some > n - i) some = n - i;
        k->halves_get(fp4_map_at(&m->codes, r, g + i), some, m->group / 2, q + i * m->group);
    }
}

/* The order of operations is each tool's own: scale times (or over) the global one, rounded,
 * then times the value, rounded. */
void fp4_map_decode(const fp4_map *m, glmq_tile t, float *w)
{
    const float global = fp4_map_global(m);
    const float by = m->global == FP4_MULTIPLIES ? global : 1.0f;
    fp4_run run = { .block = m->codes.block,
                    .each = m->codes.each,
                    .per = (size_t)1 << m->codes.log,
                    .group = m->group,
                    .halves = m->halves,
                    .plus_zero = m->plus_zero };
    float s[RUN];

    for (uint64_t r = 0; r < t.rows; r++)
        for (uint32_t g = 0, n; g < m->groups; g += n) {
            n = m->groups - g < RUN ? m->groups - g : RUN;
            load_scales(m, r, g, n, by, s);
            for (uint32_t i = 0; m->global == FP4_DIVIDES && i < n; i++) s[i] = s[i] / global;
            run.codes = fp4_map_at(&m->codes, r, g);
            run.groups = n;
            glmq_kernels_now()->scale_fp4(&run, s, w);
            w += (size_t)n * m->group;
        }
}

void fp4_map_pack(const fp4_map *m, const uint8_t *q, uint8_t *to)
{
    if (m->halves)
        glmq_kernels_now()->halves_put(q, 1, m->group / 2, to);
    else
        glmq_kernels_now()->pack[4](q, m->group, to);
}

/* A whole row. */
static void pack_row(const fp4_map *m, uint64_t r, const uint8_t *q)
{
    const glmq_kernels *k = glmq_kernels_now();
    const uint32_t per = 1u << m->codes.log;

    if (!m->halves) {
        k->pack[4](q, (size_t)m->groups * m->group, fp4_map_at(&m->codes, r, 0));
        return;
    }
    for (uint32_t g = 0; g < m->groups; g += per)
        k->halves_put(q + (size_t)g * m->group, per, m->group / 2, fp4_map_at(&m->codes, r, g));
}

void fp4_map_get(const fp4_map *m, glmq_tile t, glmq_codes *codes)
{
    const size_t count = (size_t)(t.rows * m->groups);

    codes->kind = GLMQ_CODES_LUT;
    codes->bits = 4;
    codes->no_zero = codes->has_offset = 0;
    codes->group = m->group;
    codes->groups = m->groups;
    codes->perm = NULL;
    codes->stream = NULL;
    codes->lut = e2m1_values;
    codes->global = fp4_map_global(m);
    codes->divides = m->global == FP4_DIVIDES;
    memset(codes->offset, 0, count * sizeof *codes->offset);
    memset(codes->zero, 0, count * sizeof *codes->zero);
    for (uint64_t r = 0; r < t.rows; r++) {
        float *s = codes->scale + r * m->groups;
        for (uint32_t g = 0; g < m->groups; g += RUN)
            load_scales(m, r, g, m->groups - g < RUN ? m->groups - g : RUN, 1.0f, s + g);
        if (codes->q) unpack(m, r, 0, m->groups, codes->q + r * m->groups * m->group);
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

/* Is the target's global scale the codes' own (or its reciprocal) times a power of two?  Then
 * that is how far block scales are apart, though the reciprocal is no exact number. */
static int is_power_apart(const move *m, fp4_global had, uint32_t global, double *apart)
{
    const int turned = had != m->to->global;
    const uint32_t own = turned ? fp4_reciprocal(global, m->to->global) : global;
    int own_exp, exp;

    if (had == FP4_NO_GLOBAL || !fp4_is_scale(own)) return 0;
    frexp((double)f32_from_bits(own), &own_exp);
    frexp((double)f32_from_bits(m->global), &exp);
    for (int k = own_exp - exp - 1; k <= own_exp - exp + 1; k++) {
        const uint32_t moved = bits_from_f32(ldexpf(f32_from_bits(m->global), k));
        if (moved != own && !(turned && fp4_are_reciprocal(moved, global))) continue;
        *apart = ldexp(1, m->to->global == FP4_DIVIDES ? -k : k);
        return 1;
    }
    return 0;
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
    if (!m->copy && (m->unit == 0 || m->had == 0)) {
        m->unit = 1;
        if (is_power_apart(m, had, global, &m->had)) return GLMQ_OK;
        return glmq_fail(err, GLMQ_E_INEXACT, "a global scale that divides is no power of two");
    }
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

/* A row whose scales are all stored as they are; 0: one of them cannot be. */
static int copy_row(const move *m, uint64_t r)
{
    const glmq_codes *c = m->from;

    for (uint32_t g = 0; g < m->to->groups; g++)
        if (!store_scale(m, c->scale[r * c->groups + g], fp4_map_at(&m->to->scales, r, g)))
            return 0;
    pack_row(m->to, r, c->q + r * c->groups * c->group);
    return 1;
}

static glmq_status put_group(const move *m, glmq_tile t, uint64_t r, uint32_t g, glmq_error *err)
{
    const glmq_codes *c = m->from;
    fp4_group fit;

    if (m->had == 0 || !fit_group(m, r, g, &fit))
        return glmq_fail(err, GLMQ_E_INEXACT,
                         "row %" PRIu64 ", columns from %" PRIu32
                         ": no scale and codes of %s are equal to those under the scale %g",
                         t.row + r, g * m->to->group, m->to->name,
                         (double)c->scale[r * c->groups + g * m->to->group / c->group]);
    *fp4_map_at(&m->to->scales, r, g) = fit.byte;
    fp4_map_pack(m->to, fit.out, fp4_map_at(&m->to->codes, r, g));
    return GLMQ_OK;
}

/* Block scales under another global one, as near as they get, in the order of operations that
 * tools have: the codes stay. */
static void round_row(const fp4_map *to, uint32_t global, const glmq_codes *c, uint64_t r)
{
    const float least = 0.001953125f, most = 448.0f, g = f32_from_bits(global);

    for (uint32_t i = 0; i < to->groups; i++) {
        const float s = c->scale[r * c->groups + i];
        const float whole = c->divides ? s / c->global : s * c->global;
        float moved = to->global == FP4_DIVIDES ? whole * g : whole / g;
        if (moved < least) moved = least;
        if (moved > most) moved = most;
        *fp4_map_at(&to->scales, r, i) = s > 0 ? e4m3_from_f32(moved) : 0;
    }
    pack_row(to, r, c->q + r * c->groups * c->group);
}

static glmq_status put_rounded(const fp4_map *to, uint32_t global, const glmq_codes *codes,
                               glmq_tile t, glmq_error *err)
{
    if (to->global == FP4_NO_GLOBAL || kind_of(codes) == FP4_NO_GLOBAL || !fp4_is_scale(global))
        return glmq_fail(err, GLMQ_E_INEXACT, "no global scales on both sides");
    for (uint64_t r = 0; codes->q && r < t.rows; r++) round_row(to, global, codes, r);
    if (codes->q && to->global_at) store_le32(to->global_at, global);
    return GLMQ_OK;
}

glmq_status fp4_map_put(const fp4_map *to, const glmq_encoding *e, const glmq_codes *codes,
                        glmq_tile t, glmq_error *err)
{
    move m = { .to = to, .from = codes };

    if (codes->kind != GLMQ_CODES_LUT || codes->bits != 4)
        return glmq_fail(err, GLMQ_E_INEXACT, "integers, and %s stores four-bit floats", to->name);
    if (e->rescale) return put_rounded(to, e->scalar, codes, t, err);
    GLMQ_TRY(plan_global(&m, e->scalar, err));
    if (!codes->q) return GLMQ_OK; /* whether the scales fit hangs on the codes */
    for (uint64_t r = 0; r < t.rows; r++) {
        if (m.copy && copy_row(&m, r)) continue;
        for (uint32_t g = 0; g < to->groups; g++) GLMQ_TRY(put_group(&m, t, r, g, err));
    }
    if (to->global_at && to->global != FP4_NO_GLOBAL) store_le32(to->global_at, m.global);
    return GLMQ_OK;
}
