/* Codes of four-bit floats under scales of another kind, keeping every value: MXFP4 <-> NVFP4,
 * and NVFP4 under another global scale.
 *
 * A scale that the target does not have may be near enough: halving it doubles the codes, and
 * code * 2^j is a code again where the row below has one. */
#include "base/mem.h"
#include "base/num.h"
#include "fp4_map.h"
#include <math.h>
#include <string.h>

enum { SHIFT_MAX = 3, NO_CODE = 0xff };

/* The code of magnitude 2^j times that of m. */
static int shifted(int m, int j)
{
    static const uint8_t twice[8] = { 0, 2, 4, 5, 6, 7, NO_CODE, NO_CODE };
    static const uint8_t half[8] = { 0, NO_CODE, 1, NO_CODE, 2, 3, 4, 5 };

    for (; j > 0 && m != NO_CODE; j--) m = twice[m];
    for (; j < 0 && m != NO_CODE; j++) m = half[m];
    return m;
}

/* Shifts one run of codes into g->out; 0 when one of them has no place. */
static int shift_run(fp4_group *g, uint32_t run, int j)
{
    const uint8_t *q = g->q + run * g->each;
    uint8_t *out = g->out + run * g->each;
    int to[8];

    if (j > SHIFT_MAX || j < -SHIFT_MAX) return 0;
    for (int m = 0; m < 8; m++) to[m] = shifted(m, j);
    for (uint32_t i = 0; i < g->each; i++) {
        if (to[q[i] & 7] == NO_CODE) return 0;
        out[i] = (uint8_t)((q[i] & 8) | to[q[i] & 7]);
    }
    return 1;
}

static int is_zero(const fp4_group *g, uint32_t run)
{
    for (uint32_t i = 0; i < g->each; i++)
        if (g->q[run * g->each + i] & 7) return 0;
    return 1;
}

/* k of 2^k; 0: it is no power of two. */
static int exponent(double s, int *k)
{
    if (!(s > 0) || !isfinite(s) || frexp(s, k) != 0.5) return 0;
    --*k;
    return 1;
}

enum { POWER_MIN = -126, POWER_MAX = 127, BIAS = 127 };

static int try_power(fp4_group *g, const int *k, const int *zero, int to)
{
    if (to < POWER_MIN || to > POWER_MAX) return 0;
    for (uint32_t r = 0; r < g->runs; r++)
        if (!zero[r] && !shift_run(g, r, k[r] - to)) return 0;
    g->byte = (uint8_t)(to + BIAS);
    return 1;
}

int fp4_fit_power(fp4_group *g)
{
    int k[2] = { 0, 0 }, zero[2] = { 1, 1 }, most = INT32_MIN;

    memcpy(g->out, g->q, (size_t)g->runs * g->each);
    g->byte = 0;
    for (uint32_t r = 0; r < g->runs; r++) {
        const int power = exponent(g->scale[r], &k[r]);
        zero[r] = is_zero(g, r);
        if (!power && !zero[r]) return 0;
        if (!zero[r] && k[r] > most) most = k[r];
        if (zero[r] && power && k[r] >= POWER_MIN && k[r] <= POWER_MAX)
            g->byte = (uint8_t)(k[r] + BIAS); /* of no use, and kept */
    }
    if (most == INT32_MIN) return 1;
    for (int j = 0; j <= SHIFT_MAX; j++)
        if (try_power(g, k, zero, most - j) || try_power(g, k, zero, most + j)) return 1;
    return 0;
}

/* The byte of scale / unit, where that is one; 0 stands for 0, too. */
static uint8_t e4m3_of(double scale, double unit)
{
    const uint8_t byte = e4m3_from_f32((float)(scale / unit));
    return (double)f32_from_e4m3(byte) * unit == scale && byte < 0x7f ? byte : 0;
}

int fp4_fit_e4m3(fp4_group *g, double unit)
{
    static const int order[] = { 0, 1, -1, 2, -2, 3, -3 };

    if (is_zero(g, 0)) {
        memcpy(g->out, g->q, g->each);
        g->byte = e4m3_of(g->scale[0], unit);
        if (!g->byte) g->byte = 0x38; /* 1: any will do */
        return 1;
    }
    for (size_t i = 0; i < GLMQ_COUNT(order); i++) {
        g->byte = e4m3_of(ldexp(g->scale[0], -order[i]), unit);
        if (g->byte && shift_run(g, 0, order[i])) return 1;
    }
    return 0;
}
