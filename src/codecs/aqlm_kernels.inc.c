/* The hot loop of AQLM, a part of kernels.inc.c. */
#include "aqlm.h"

/* The wanted row of the entry that code m of a place names. */
static inline const uint8_t *aqlm_entry(const aqlm_run *r, const uint8_t *codes, size_t m)
{
    const uint8_t *p = codes + m * r->code_bytes;
    const uint32_t code = r->code_bytes == 1   ? *p
                          : r->code_bytes == 2 ? load_le16(p)
                                               : load_le32(p);
    const size_t entry = (m << r->bits) + (code & ((UINT32_C(1) << r->bits) - 1));
    return r->books + entry * r->stride;
}

#ifdef HAVE_LANES
/* Entries are widened where they are used, so that a codebook takes no more of the cache than
 * of the file.  All of it is inlined: what a run has as constants is constant in the loop. */
#define AQLM_INLINE __attribute__((always_inline)) static inline

/* Finite values: a NaN would get the machine's bits. */
AQLM_INLINE __m256 aqlm_eight(const uint8_t *p, float_kind kind)
{
    if (kind == FLOAT_F16) return _mm256_cvtph_ps(load_16(p));
    if (kind == FLOAT_BF16)
        return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(load_16(p)), 16));
    return _mm256_loadu_ps((const float *)(const void *)p);
}

AQLM_INLINE float aqlm_one(const uint8_t *p, float_kind kind)
{
    if (kind == FLOAT_F16) return half_at(p);
    return kind == FLOAT_BF16 ? f32_from_bf16(load_le16(p)) : f32_from_bits(load_le32(p));
}

AQLM_INLINE void aqlm_place(const aqlm_run *r, const uint8_t *codes, float s, float *w)
{
    const size_t each = float_bytes(r->kind);
    size_t i = 0;

    for (; i + 8 <= r->width; i += 8) {
        __m256 sum = _mm256_setzero_ps();
        for (size_t m = 0; m < r->terms; m++)
            sum = _mm256_add_ps(sum, aqlm_eight(aqlm_entry(r, codes, m) + i * each, r->kind));
        _mm256_storeu_ps(w + i, _mm256_mul_ps(sum, _mm256_set1_ps(s)));
    }
    for (; i < r->width; i++) {
        float sum = 0.0f;
        for (size_t m = 0; m < r->terms; m++)
            sum += aqlm_one(aqlm_entry(r, codes, m) + i * each, r->kind);
        w[i] = sum * s;
    }
}

AQLM_INLINE void aqlm_places(const aqlm_run *r, size_t n, float *w)
{
    for (size_t j = 0; j < n; j++)
        aqlm_place(r, r->codes + j * r->terms * r->code_bytes, r->scales[j * r->scale_step],
                   w + j * r->width);
}

/* Entries of one row of eight, codes of whole bytes, one scale. */
AQLM_INLINE void aqlm_usual(const aqlm_run *r, float_kind kind, unsigned code_bytes, size_t terms,
                            size_t n, float *w)
{
    const float s = *r->scales;
    const aqlm_run run = { .books = r->books,
                           .stride = 8 * float_bytes(kind),
                           .kind = kind,
                           .bits = 8 * code_bytes,
                           .code_bytes = code_bytes,
                           .terms = terms,
                           .width = 8,
                           .codes = r->codes,
                           .scales = &s };
    aqlm_places(&run, n, w);
}

AQLM_INLINE void aqlm_kind(const aqlm_run *r, float_kind kind, size_t n, float *w)
{
    aqlm_run run = *r;
    const int usual = run.width == 8 && run.stride == 8 * float_bytes(kind) &&
                      run.bits == 8 * run.code_bytes && !run.scale_step;

    run.kind = kind;
    if (usual && run.code_bytes == 1 && run.terms == 2)
        aqlm_usual(&run, kind, 1, 2, n, w);
    else if (usual && run.code_bytes == 1 && run.terms == 1)
        aqlm_usual(&run, kind, 1, 1, n, w);
    else if (usual && run.code_bytes == 2 && run.terms == 2)
        aqlm_usual(&run, kind, 2, 2, n, w);
    else if (usual && run.code_bytes == 2 && run.terms == 1)
        aqlm_usual(&run, kind, 2, 1, n, w);
    else
        aqlm_places(&run, n, w);
}

static void aqlm_sums(const aqlm_run *r, size_t n, float *w)
{
    if (r->kind == FLOAT_F16)
        aqlm_kind(r, FLOAT_F16, n, w);
    else if (r->kind == FLOAT_BF16)
        aqlm_kind(r, FLOAT_BF16, n, w);
    else
        aqlm_kind(r, FLOAT_F32, n, w);
}

#else
/* Term m of n places, one after the other; a usual `bytes` is a constant to the loop. */
static inline void aqlm_gather(const aqlm_run *r, const uint8_t *codes, size_t m, size_t n,
                               size_t bytes, uint8_t *restrict out)
{
    for (size_t j = 0; j < n; j++)
        memcpy(out + j * bytes, aqlm_entry(r, codes + j * r->terms * r->code_bytes, m), bytes);
}

static inline void aqlm_scale(size_t width, const float *restrict scales, size_t step, size_t n,
                              float *restrict w)
{
    for (size_t j = 0; j < n; j++)
        for (size_t i = 0; i < width; i++) w[j * width + i] *= scales[j * step];
}

/* Term by term over as many places as fit, in loops that compilers vectorize. */
static void aqlm_some(const aqlm_run *r, const uint8_t *codes, const float *scales, size_t n,
                      float *restrict w)
{
    void (*const widen[FLOAT_KINDS])(const uint8_t *, size_t, float *) = { widen_f16, widen_bf16,
                                                                           widen_f32 };
    const size_t bytes = r->width * float_bytes(r->kind), floats = n * r->width;
    uint8_t stored[4 * AQLM_FLOATS_MAX];
    float term[AQLM_FLOATS_MAX];

    for (size_t i = 0; i < floats; i++) w[i] = 0.0f;
    for (size_t m = 0; m < r->terms; m++) {
        if (bytes == 16)
            aqlm_gather(r, codes, m, n, 16, stored);
        else
            aqlm_gather(r, codes, m, n, bytes, stored);
        widen[r->kind](stored, floats, term);
        for (size_t i = 0; i < floats; i++) w[i] += term[i];
    }
    if (r->width == 8)
        aqlm_scale(8, scales, r->scale_step, n, w);
    else
        aqlm_scale(r->width, scales, r->scale_step, n, w);
}

static void aqlm_sums(const aqlm_run *r, size_t n, float *w)
{
    const size_t fit = 512 / r->width, most = fit ? fit : 1; /* stays in the nearest cache */
    for (size_t j = 0; j < n; j += most)
        aqlm_some(r, r->codes + j * r->terms * r->code_bytes, r->scales + j * r->scale_step,
                  n - j < most ? n - j : most, w + j * r->width);
}
#endif
