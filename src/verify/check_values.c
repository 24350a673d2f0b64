/* The values of what no codes view bounds: plain tensors, and encodings whose codes say nothing
 * by themselves (K- and I-quants, rotations, codebooks).  Matrices are streamed in tiles. */
#include "base/error.h"
#include "base/num.h"
#include "check_parts.h"
#include "compare.h"
#include <math.h>
#include <stdlib.h>

static const float f16_max = 65504;

/* ---- vectors: norms, biases, the routing bias, KV-cache scales ---- */

static int by_value(const void *x, const void *y)
{
    const float a = *(const float *)x, b = *(const float *)y;
    return a < b ? -1 : a > b;
}

/* The routing bias decides which experts run by differences in its last bits: rounded to BF16
 * once, most of its values coincide.  (That it is stored in less than F32 is said on opening.) */
static glmq_status check_router_bias(const glmq_tensor *t, float *w, size_t n, glmq_found **list,
                                     glmq_error *err)
{
    size_t distinct = 1, rounded = 0;

    for (size_t i = 0; i < n; i++)
        rounded +=
            f32_from_bf16(bf16_from_f32(w[i])) == w[i] || f32_from_f16(f16_from_f32(w[i])) == w[i];
    qsort(w, n, sizeof *w, by_value);
    for (size_t i = 1; i < n; i++) distinct += w[i] != w[i - 1];
    if (rounded < n || n < 2 || distinct == 1) return GLMQ_OK;
    if (distinct < n)
        return glmq_found_add(list, err, GLMQ_ERROR, "router-bias-collapsed",
                              "%zu values, %zu distinct, each exactly a 16-bit float: the routing "
                              "bias was rounded once",
                              n, distinct);
    if (glmq_encoding_dtype(&t->part[0].enc) != GLMQ_DT_F32) return GLMQ_OK;
    return glmq_found_add(list, err, GLMQ_WARNING, "router-bias-rounded",
                          "each of the %zu values is exactly a 16-bit float: the routing bias may "
                          "have been rounded",
                          n);
}

static glmq_status look_at_vector(const glmq_tensor *t, float *w, size_t n, glmq_found **list,
                                  glmq_error *err)
{
    const int scale = !glmq_is_weight(t);
    size_t unfinite = 0, unpositive = 0;

    for (size_t i = 0; i < n; i++) {
        unfinite += isfinite(w[i]) ? 0 : 1;
        unpositive += w[i] > 0 ? 0 : 1;
    }
    if (unfinite)
        return glmq_found_add(list, err, GLMQ_ERROR, "value-not-finite",
                              "%zu of %zu values are NaN or infinite", unfinite, n);
    if (scale && unpositive)
        return glmq_found_add(list, err, GLMQ_ERROR, "scale-not-positive",
                              "%zu of %zu values are not positive", unpositive, n);
    if (t->role == GLMQ_ROLE_ROUTER_BIAS) return check_router_bias(t, w, n, list, err);
    return GLMQ_OK;
}

enum { VECTOR_MAX = 1 << 22 };

static int is_vector(const glmq_tensor *t)
{
    return t->rank == 1 && t->cols <= VECTOR_MAX;
}

static glmq_status check_vector(glmq_checker *c, const glmq_tensor *t, glmq_found **list,
                                glmq_error *err)
{
    const size_t n = (size_t)(t->rows * t->cols);
    float *w = glmq_checker_scratch(c, n * sizeof *w);

    if (!w) return glmq_fail(err, GLMQ_E_NOMEM, "%zu values", n);
    GLMQ_TRY(glmq_tensor_fetch_rows(c->tensor_fetch, 0, t->rows, w, err));
    return look_at_vector(t, w, n, list, err);
}

/* ---- matrices ---- */

typedef struct extent {
    uint64_t nan, infinite, first; /* first: the first of both, row-major                 */
    float amax;                    /* of the finite ones                                  */
} extent;

/* Magnitudes order like their bits: infinity and NaN are the largest. */
static uint32_t largest_bits(const float *w, uint64_t n)
{
    uint32_t most = 0;

    for (uint64_t i = 0; i < n; i++) {
        const uint32_t bits = bits_from_f32(w[i]) & 0x7fffffff;
        most = bits > most ? bits : most;
    }
    return most;
}

static void count_unfinite(extent *x, const float *w, uint64_t at, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (isfinite(w[i])) {
            x->amax = fabsf(w[i]) > x->amax ? fabsf(w[i]) : x->amax;
            continue;
        }
        if (x->nan + x->infinite == 0) x->first = at + i;
        x->nan += isnan(w[i]) ? 1 : 0;
        x->infinite += isnan(w[i]) ? 0 : 1;
    }
}

static void look_at_values(extent *x, const float *w, uint64_t at, uint64_t n)
{
    const uint32_t most = largest_bits(w, n);

    if (most >= 0x7f800000)
        count_unfinite(x, w, at, n);
    else if (f32_from_bits(most) > x->amax)
        x->amax = f32_from_bits(most);
}

static glmq_status tell_values(const extent *x, const glmq_tensor *t, glmq_found **list,
                               glmq_error *err)
{
    const glmq_dtype dtype = glmq_encoding_dtype(&t->part[0].enc);

    if (x->nan + x->infinite)
        return glmq_found_add(
            list, err, GLMQ_ERROR, "value-not-finite",
            "%" PRIu64 " values are NaN and %" PRIu64 " infinite%s; the first at row %" PRIu64
            ", column %" PRIu64,
            x->nan, x->infinite,
            x->infinite && dtype == GLMQ_DT_F16 ? " (F16 holds nothing beyond 65504)" : "",
            x->first / t->cols, x->first % t->cols);
    if (x->amax > f16_max)
        return glmq_found_add(list, err, GLMQ_NOTE, "beyond-f16",
                              "magnitudes up to %g, F16 holds 65504 at most", (double)x->amax);
    return GLMQ_OK;
}

static int has_codes_view(const glmq_tensor *t)
{
    for (int p = 0; p < t->parts; p++) {
        const glmq_encoding *e = &t->part[p].enc;
        if (glmq_encoding_is_plain(e) || !e->codec || !e->codec->get_codes) return 0;
    }
    return 1;
}

static uint64_t tile_rows(const glmq_tensor *t)
{
    const uint64_t tile = glmq_tensor_tile_rows(t);
    return tile < t->rows ? tile : t->rows;
}

static glmq_status check_matrix(glmq_checker *c, const glmq_tensor *t, glmq_found **list,
                                glmq_error *err)
{
    const uint64_t tile = tile_rows(t);
    extent x = { 0 };
    float *w;

    w = glmq_checker_scratch(c, (size_t)(tile * t->cols) * sizeof *w);
    if (!w) return glmq_fail(err, GLMQ_E_NOMEM, "a tile of %" PRIu64 " rows", tile);
    for (uint64_t row = 0; row < t->rows; row += tile) {
        const uint64_t rows = tile < t->rows - row ? tile : t->rows - row;
        GLMQ_TRY(glmq_tensor_fetch_rows(c->tensor_fetch, row, rows, w, err));
        look_at_values(&x, w, row * t->cols, rows * t->cols);
    }
    return tell_values(&x, t, list, err);
}

uint64_t glmq_check_values_peak(const glmq_tensor *t)
{
    return (is_vector(t) ? t->cols : tile_rows(t) * t->cols) * sizeof(float);
}

glmq_status glmq_check_values(glmq_checker *c, const glmq_tensor *t, glmq_found **list,
                              glmq_error *err)
{
    glmq_status st;

    if (!is_vector(t) && has_codes_view(t)) return GLMQ_OK;
    st = glmq_tensor_fetch_open(c->tensor_fetch, c->graph->source, t, err);
    if (!st) st = is_vector(t) ? check_vector(c, t, list, err) : check_matrix(c, t, list, err);
    if (!glmq_check_is_problem(st)) return st;
    return glmq_found_add(list, err, GLMQ_ERROR, "bad-tensor", "%s", err->msg);
}
