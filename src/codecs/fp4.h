/* Four-bit floats (E2M1): what the codecs fp4, mxfp4 and nvfp4, readers and writers share.
 *
 * A code is sign << 3 | m, |value| = 0, 0.5, 1, 1.5, 2, 3, 4, 6 for m = 0 .. 7.  MXFP4 has a
 * power of two for every 32 columns; NVFP4 an E4M3 number for every 16, and one F32 number for
 * the matrix, which multiplies (ModelOpt, GGUF) or divides (compressed-tensors). */
#ifndef GLMQ_CODECS_FP4_H
#define GLMQ_CODECS_FP4_H

#include "codec.h"

/* glmq_encoding.variant of the codec fp4: whose arrays they are. */
enum {
    FP4_MODELOPT, /* weight, weight_scale, weight_scale_2: multiplies, code 8 is +0 in NVFP4 */
    FP4_CT,       /* weight_packed, weight_scale, weight_global_scale: divides, code 8 is -0 */
    FP4_INV,      /* weight (I8), weight_scale_inv: DeepSeek's                               */
    FP4_BLOCKS    /* …_blocks, …_scales of all experts: gpt-oss                             */
};

/* The scale of the whole matrix. */
typedef enum fp4_global { FP4_NOT, FP4_NO_GLOBAL, FP4_MULTIPLIES, FP4_DIVIDES } fp4_global;

/* FP4_NOT: this encoding has no four-bit floats. */
fp4_global fp4_global_of(const glmq_encoding *enc);
/* Is it NVFP4, which has a scale of the whole matrix? */
int fp4_has_global(const glmq_encoding *enc);
/* NVFP4 as ModelOpt or compressed-tensors store it; MXFP4 likewise. */
glmq_encoding fp4_nvfp4(int variant);
glmq_encoding fp4_mxfp4(int variant);

/* The number that the other kind stores for this one: its reciprocal, and of the two that give
 * this one back the one that `to`'s own tool would have made.  0: there is none (bits in and
 * out). */
uint32_t fp4_reciprocal(uint32_t bits, fp4_global to);
/* Is each of the two the other's reciprocal, to one unit in the last place? */
int fp4_are_reciprocal(uint32_t a, uint32_t b);
/* Is it finite and positive? */
int fp4_is_scale(uint32_t bits);
#endif
