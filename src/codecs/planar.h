/* Planar packing (GPTQ's gptq_p): 32 codes of b bits are b words, cut in planes.
 *
 *   b = 3: low 2 bits, then the top bit      5: low 4, top bit
 *   b = 6: low 4 bits, then the top 2        7: low 4, next 2, top bit
 *
 * A plane of width w is w words; word i holds codes 32/w * i …, lowest bits first. */
#ifndef GLMQ_CODECS_PLANAR_H
#define GLMQ_CODECS_PLANAR_H

#include <stddef.h>
#include <stdint.h>

enum { PLANAR_RUN = 32, PLANAR_WIDTHS = 1 << 3 | 1 << 5 | 1 << 6 | 1 << 7 };

/* n codes, a multiple of 32; words adjacent. */
void planar_unpack(const uint8_t *src, size_t n, unsigned bits, uint8_t *q);
void planar_pack(const uint8_t *q, size_t n, unsigned bits, uint8_t *dst);
/* Code i of the 32 whose words lie `stride` words apart from `src` on. */
unsigned planar_code(const uint8_t *src, uint64_t stride, unsigned bits, unsigned i);
#endif
