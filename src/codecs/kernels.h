/* The hot loops of the codecs.  kernels.inc.c and the files it includes are compiled once per
 * instruction-set level; every level gives the same bits. */
#ifndef GLMQ_CODECS_KERNELS_H
#define GLMQ_CODECS_KERNELS_H

#include "base/cpu.h"
#include "dtype.h"
#include "tq3_block.h"
#include <stddef.h>
#include <stdint.h>

enum { BITS_MAX = 8, GAUGE_LANES = 8 };

/* Running sums of how far values are from others; all zero: nothing seen.  Value i of a call
 * goes to lane i % GAUGE_LANES: a fixed order of additions that compilers can vectorize. */
typedef struct gauge_sums {
    double error2[GAUGE_LANES], signal2[GAUGE_LANES], max[GAUGE_LANES];
} gauge_sums;

/* Float types of scales and plain tensors, in tables. */
typedef enum float_kind { FLOAT_F16, FLOAT_BF16, FLOAT_F32, FLOAT_KINDS } float_kind;

/* Bytes that one takes. */
static inline size_t float_bytes(float_kind kind)
{
    return kind == FLOAT_F32 ? 4 : 2;
}

/* GGUF blocks of 32 weights, in tables. */
typedef enum block_kind {
    BLOCK_Q4_0,
    BLOCK_Q4_1,
    BLOCK_Q5_0,
    BLOCK_Q5_1,
    BLOCK_Q8_0,
    BLOCK_KINDS
} block_kind;

/* A row's groups of four-bit floats (E2M1), of 16 or 32 columns: the bytes of group g are at
 * codes + g / per * block + g % per * each. */
typedef struct fp4_run {
    const uint8_t *codes;
    size_t block, each, per;
    size_t groups, group;
    int halves;    /* the first half of a group in the low nibbles; or every even column */
    int plus_zero; /* code 8 is +0                                                      */
} fp4_run;

/* A row of AQLM: place j is (0 + entry 0 + entry 1 + …) * scales[j * scale_step], the entries
 * being those of `terms` codebooks, one after the other, that its `terms` codes name.  Of each
 * entry `width` finite values are wanted, from its first byte on. */
typedef struct aqlm_run {
    const uint8_t *books;
    size_t stride; /* bytes from an entry to the next */
    float_kind kind;
    unsigned bits, code_bytes;
    size_t terms, width;
    const uint8_t *codes;
    const float *scales;
    size_t scale_step; /* 0: one for all */
} aqlm_run;

typedef struct glmq_kernels {
    void (*widen[FLOAT_KINDS])(const uint8_t *src, size_t n, float *w);
    void (*narrow[FLOAT_KINDS])(const float *w, size_t n, uint8_t *dst);
    /* E4M3 codes times one scale. */
    void (*scale_e4m3)(const uint8_t *q, size_t n, float s, float *w);
    /* E2M1 codes times the scale of each group. */
    void (*scale_fp4)(const fp4_run *r, const float *s, float *w);

    /* n codes of 2..8 bits <-> an LSB-first bit stream.  Packing writes whole bytes, unused
     * bits 0; unpacking reads no byte behind the last code's. */
    void (*unpack[BITS_MAX + 1])(const uint8_t *src, size_t n, uint8_t *q);
    void (*pack[BITS_MAX + 1])(const uint8_t *q, size_t n, uint8_t *dst);

    /* Likewise n codes of 1..16 bits, into 16 bits each. */
    void (*unpack_wide)(const uint8_t *src, size_t n, unsigned bits, uint16_t *q);

    /* Groups of 2 * half codes whose first half lies in the low nibbles <-> codes. */
    void (*halves_get)(const uint8_t *src, size_t groups, size_t half, uint8_t *q);
    void (*halves_put)(const uint8_t *q, size_t groups, size_t half, uint8_t *dst);
    /* Groups of 32 such codes, `stride` bytes apart <-> their bit stream. */
    void (*halves_to_stream)(const uint8_t *src, size_t stride, size_t groups, uint8_t *stream);
    void (*halves_from_stream)(const uint8_t *stream, size_t groups, uint8_t *dst, size_t stride);

    /* dst[c][r] = src[r][c], by the bytes of an element: [2] and [4].  Strides in elements. */
    void (*transpose[5])(const uint8_t *src, size_t src_stride, size_t rows, size_t cols,
                         uint8_t *dst, size_t dst_stride);

    /* Eight rows of nibbles that share words, one word a column, `stride` words apart: row i is
     * at bit 4 * order[i] <-> the bit streams of the rows, `row` bytes apart.  Columns are a
     * multiple of 8. */
    void (*nibbles_to_streams)(const uint8_t *src, size_t stride, size_t cols,
                               const uint8_t order[8], uint8_t *dst, size_t row);
    void (*nibbles_from_streams)(const uint8_t *src, size_t row, size_t cols,
                                 const uint8_t order[8], uint8_t *dst, size_t stride);

    /* w = (q - zero) * s: one zero and scale for all; those of `groups` whole groups of `group`
     * codes one after the other; those of each code's group (I32). */
    void (*scale)(const uint8_t *q, size_t n, int zero, float s, float *w);
    void (*scale_groups)(const uint8_t *q, size_t groups, size_t group, const int32_t *zero,
                         const float *s, float *w);
    void (*scale_by)(const uint8_t *q, size_t n, const uint8_t *group, const float *zero,
                     const float *s, float *w);

    /* Zeros with a sign become those without. */
    void (*plus_zero)(float *w, size_t n);

    /* w = (q - zero) * s from packed codes; NULL where a level or a width has no such loop.
     * At least one group, of whole sixteens: of a bit stream; of signed bytes, which are codes
     * less 128; of the nibble at bit `at` of each word.  Zeros and scales are `step` apart. */
    void (*stream_groups[BITS_MAX + 1])(const uint8_t *src, size_t groups, size_t group,
                                        const int32_t *zero, const float *s, size_t step, float *w);
    void (*signed_groups)(const uint8_t *src, size_t groups, size_t group, const int32_t *zero,
                          const float *s, size_t step, float *w);
    void (*nibble_groups)(const uint32_t *word, unsigned at, size_t groups, size_t group,
                          const int32_t *zero, const float *s, size_t step, float *w);
    /* 16 rows of whole sixteens of columns: streams whose words lie side by side, `stride`
     * bytes from one word of them all to the next.  Column c uses zero and scale
     * [16 * group[c] + row]. */
    void (*turned[BITS_MAX + 1])(const uint8_t *src, size_t stride, size_t cols,
                                 const uint32_t *group, const float *zero, const float *scale,
                                 float *w, size_t w_stride);

    /* How far each b is from its a. */
    void (*gauge)(const float *a, const float *b, size_t n, gauge_sums *sums);

    /* The least and the greatest of n > 0 floats. */
    void (*extremes)(const float *w, size_t n, float *lo, float *hi);

    /* q = clamp(round_even(w / s) + zero, 0, most). */
    void (*quantize)(const float *w, size_t n, float s, int zero, int most, uint8_t *q);
    /* q = round_even(clamp(w / s + zero, -half, half - 1)) + half, quotient and sum each
     * rounded to the scale's type.  zero is signed. */
    void (*quantize_in[FLOAT_KINDS])(const float *w, size_t n, float s, int zero, int half,
                                     uint8_t *q);

    /* out = q + add; returns nonzero when any is not in 0..most. */
    int (*shift)(const uint8_t *q, size_t n, int add, int most, uint8_t *out);

    /* w[j][i] = book[q[j]][i] * s[j], for n entries of `width` floats. */
    void (*book_scale)(const float *book, size_t width, const uint16_t *q, size_t n, const float *s,
                       float *w);
    /* n places of a row of AQLM. */
    void (*aqlm_sums)(const aqlm_run *r, size_t n, float *w);

    void (*block_encode[BLOCK_KINDS])(const float *w, size_t blocks, uint8_t *dst);
    /* Codes only: scales and offsets of the blocks are left alone. */
    void (*block_get[BLOCK_KINDS])(const uint8_t *src, size_t blocks, uint8_t *q);
    void (*block_put[BLOCK_KINDS])(const uint8_t *q, size_t blocks, uint8_t *dst);

    /* Whole groups one after the other, norm[g] that of group g. */
    void (*tq3_decode)(const tq3_rotation *r, const uint8_t *packed, const float *norm,
                       size_t groups, float *w);
    /* `bounds`: the 2^bits - 1 numbers between those of the book. */
    void (*tq3_encode)(const tq3_rotation *r, const float *bounds, const float *w, size_t groups,
                       uint8_t *packed, float *norm);

    /* Whole GGUF blocks of every type. */
    void (*decode[GLMQ_DT_COUNT])(const uint8_t *src, size_t blocks, float *w);
} glmq_kernels;

extern const glmq_kernels glmq_kernels_base;
#ifdef __x86_64__
extern const glmq_kernels glmq_kernels_avx2;
extern const glmq_kernels glmq_kernels_avx512;
#endif

/* Those of a level, and those of the level in use. */
const glmq_kernels *glmq_kernels_at(glmq_isa_level level);
const glmq_kernels *glmq_kernels_now(void);
#endif
