/* Half, bfloat16 and E4M3 <-> F32, E8M0 -> F32, exact, by integer arithmetic and IEEE
 * operations only: every compiler, ISA level and device gives the same bits, and loops around
 * these functions vectorize.
 *
 * Widening is exact.  Narrowing rounds once, to nearest even, keeps subnormals, overflows
 * to infinity, and gives a NaN as sign | 0x7e00 (half) or sign | 0x7fc0 (bfloat16). */
#ifndef GLMQ_BASE_NUM_H
#define GLMQ_BASE_NUM_H

#include "hd.h"
#include <stdint.h>
#include <string.h>

GLMQ_HD float f32_from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

GLMQ_HD uint32_t bits_from_f32(float f)
{
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    return bits;
}

/* Exponent and mantissa, read as an F32, are 2^112 too small; the product is exact, and
 * turns half subnormals into normal F32 numbers.  2^112 is 0x77800000. */
GLMQ_HD float f32_from_f16(uint16_t h)
{
    const uint32_t shifted = (uint32_t)(h & 0x7fff) << 13;
    const uint32_t finite = bits_from_f32(f32_from_bits(shifted) * f32_from_bits(0x77800000));
    const uint32_t special = (h & 0x7c00) == 0x7c00 ? 0x7f800000u : 0;
    return f32_from_bits(finite | special | (uint32_t)(h & 0x8000) << 16);
}

/* Normal halves: round in the integers, the carry may run into the exponent.  Below 2^-14:
 * adding 0.5 makes the F32 unit the half's own (2^-24), and the adder rounds. */
GLMQ_HD uint16_t f16_from_f32(float f)
{
    const uint32_t bits = bits_from_f32(f), sign = bits >> 16 & 0x8000, mag = bits & 0x7fffffff;
    const uint32_t normal = (mag + 0xfff + (mag >> 13 & 1) - (112u << 23)) >> 13;
    const uint32_t small = bits_from_f32(f32_from_bits(mag) + 0.5f) - 0x3f000000;
    uint32_t h = mag < 0x38800000 ? small : normal;
    h = mag >= 0x477ff000 ? 0x7c00 : h;
    h = mag > 0x7f800000 ? 0x7e00 : h;
    return (uint16_t)(sign | h);
}

GLMQ_HD float f32_from_bf16(uint16_t b)
{
    return f32_from_bits((uint32_t)b << 16);
}

GLMQ_HD uint16_t bf16_from_f32(float f)
{
    const uint32_t bits = bits_from_f32(f);
    const uint32_t rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const uint32_t nan = (bits >> 16 & 0x8000) | 0x7fc0;
    return (uint16_t)((bits & 0x7fffffff) > 0x7f800000 ? nan : rounded);
}

/* As f32_from_f16: 2^120 (0x7b800000) too small.  No infinity; 0x7f and 0xff are NaN. */
GLMQ_HD float f32_from_e4m3(uint8_t q)
{
    const uint32_t shifted = (uint32_t)(q & 0x7f) << 20;
    const uint32_t finite = bits_from_f32(f32_from_bits(shifted) * f32_from_bits(0x7b800000));
    const uint32_t mag = (q & 0x7f) == 0x7f ? 0x7fc00000u : finite;
    return f32_from_bits(mag | (uint32_t)(q & 0x80) << 24);
}

/* As f16_from_f32, but beyond 448 it stays at 448: there is no infinity.  Below 2^-6: adding
 * 2^14 (0x46800000) makes the F32 unit that of E4M3, 2^-9. */
GLMQ_HD uint8_t e4m3_from_f32(float f)
{
    const uint32_t bits = bits_from_f32(f), sign = bits >> 24 & 0x80, mag = bits & 0x7fffffff;
    const uint32_t normal = (mag + 0x7ffff + (mag >> 20 & 1) - (120u << 23)) >> 20;
    const uint32_t small =
        bits_from_f32(f32_from_bits(mag) + f32_from_bits(0x46800000)) - 0x46800000;
    uint32_t q = mag < 0x3c800000 ? small : normal;
    q = mag > 0x43e00000 ? 0x7e : q;
    q = mag > 0x7f800000 ? 0x7f : q;
    return (uint8_t)(sign | q);
}

/* 2^(q - 127): 0 is an F32 subnormal, 0xff is NaN. */
GLMQ_HD float f32_from_e8m0(uint8_t q)
{
    const uint32_t normal = q == 0xff ? 0x7fc00000u : (uint32_t)q << 23;
    return f32_from_bits(q ? normal : 0x00400000u);
}

/* The nearest integer, ties to even, as a float; |x| below 2^22. */
GLMQ_HD float round_even(float x)
{
    return (x + 12582912.0f) - 12582912.0f; /* 1.5 * 2^23: the unit is 1 */
}

/* What any operation makes of a signalling NaN; other floats as they are. */
GLMQ_HD float quiet_f32(float f)
{
    const uint32_t bits = bits_from_f32(f), nan = (bits & 0x7fffffff) > 0x7f800000;
    return f32_from_bits(bits | nan << 22);
}

GLMQ_HD int is_finite_f32(float f)
{
    return (bits_from_f32(f) & 0x7f800000) != 0x7f800000;
}
#endif
