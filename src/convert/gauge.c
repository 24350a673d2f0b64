/* How far one run of values is from another: root mean square, largest, signal to noise. */
#include "convert/gauge.h"
#include <math.h>
#include <string.h>

enum { BLOCK = 1024 };

void glmq_gauge_add(glmq_gauge *g, const float *a, const float *b, size_t n)
{
    glmq_kernels_now()->gauge(a, b, n, &g->sums);
    g->count += n;
}

void glmq_gauge_read(const glmq_gauge *g, double *rmse, double *max_abs, double *snr_db)
{
    double error2 = 0, signal2 = 0, max = 0;
    for (int k = 0; k < GAUGE_LANES; k++) {
        error2 += g->sums.error2[k];
        signal2 += g->sums.signal2[k];
        max = g->sums.max[k] > max ? g->sums.max[k] : max;
    }
    *rmse = g->count ? sqrt(error2 / (double)g->count) : 0;
    *max_abs = max;
    *snr_db = error2 > 0 ? 10 * log10(signal2 / error2) : (double)INFINITY;
}

static int block_equal(const float *a, const float *b, size_t n)
{
    int differ = 0;
    for (size_t i = 0; i < n; i++) differ |= !(a[i] == b[i]);
    if (!differ) return 1;
    for (size_t i = 0; i < n; i++)
        if (!(a[i] == b[i]) && !(isnan(a[i]) && isnan(b[i]))) return 0;
    return 1;
}

int glmq_values_equal(const float *a, const float *b, size_t n)
{
    if (memcmp(a, b, n * sizeof *a) == 0) return 1; /* nearly always; else zeros may differ */
    for (size_t i = 0; i < n; i += BLOCK)
        if (!block_equal(a + i, b + i, n - i < BLOCK ? n - i : BLOCK)) return 0;
    return 1;
}

size_t glmq_find_nonfinite(const float *w, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK) {
        const size_t some = n - i < BLOCK ? n - i : BLOCK;
        uint32_t bad = 0;
        for (size_t k = 0; k < some; k++) {
            uint32_t bits;
            memcpy(&bits, w + i + k, sizeof bits);
            bad |= (bits & 0x7f800000u) == 0x7f800000u;
        }
        for (size_t k = 0; bad && k < some; k++)
            if (!isfinite(w[i + k])) return i + k;
    }
    return n;
}

static int is_near(float w, float r)
{
    return fabsf(r - w) <= fabsf(w) * 0x1p-21f + 0x1p-146f;
}

/* Counted first: that loop has no way out, and compilers vectorize it. */
size_t glmq_find_far(const float *w, const float *r, size_t n)
{
    size_t far = 0, i = 0;
    for (size_t k = 0; k < n; k++) far += !is_near(w[k], r[k]);
    if (far == 0) return n;
    while (is_near(w[i], r[i])) i++;
    return i;
}

static int any_beyond_f16(const float *w, size_t n)
{
    const uint32_t most = 0x477fe000u; /* 65504 */
    uint32_t beyond = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, w + i, sizeof bits);
        beyond |= (bits & 0x7fffffffu) > most;
    }
    return beyond != 0;
}

size_t glmq_find_lost(const float *w, const float *r, size_t n)
{
    for (size_t i = 0; i < n; i += BLOCK) {
        const size_t some = n - i < BLOCK ? n - i : BLOCK;
        if (!any_beyond_f16(w + i, some)) continue;
        for (size_t k = i; k < i + some; k++)
            if (isfinite(w[k]) && fabsf(w[k]) > 65504.0f &&
                !(fabsf(r[k] - w[k]) <= fabsf(w[k]) / 2))
                return k;
    }
    return n;
}
