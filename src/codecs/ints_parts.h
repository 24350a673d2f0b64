/* Between ints.c and ints_decode.c: scales, zeros and codes of a map. */
#ifndef GLMQ_CODECS_INTS_PARTS_H
#define GLMQ_CODECS_INTS_PARTS_H

#include "ints.h"

enum { ROWS = 16 }; /* of a block: their words, side by side, are a cache line */

static inline uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Columns that lie in one group, from c on and at most n. */
static inline size_t ints_group_run(const ints_map *m, uint64_t c, size_t n)
{
    return (size_t)least(m->group - c % m->group, n);
}

float ints_scale_at(const ints_map *m, uint64_t r, uint64_t g);
/* In the frame of the codes view. */
int ints_zero_at(const ints_map *m, uint64_t r, uint64_t g);
/* Those of groups [g, g + groups). */
void ints_zeros_of(const ints_map *m, uint64_t r, uint64_t g, size_t groups, int32_t *zero);
/* Those of rows [r, r + rows) of one group. */
void ints_zeros_across(const ints_map *m, uint64_t r, uint64_t rows, uint64_t g, int32_t *zero);

/* How a tile is walked: row-major codes in single rows, the others in blocks. */
uint64_t ints_block_rows(const ints_map *m);
/* Codes of rows [r, r + rows) and columns [c, c + n), in the frame of the codes view. */
void ints_load_codes(const ints_map *m, uint64_t r, uint64_t rows, uint64_t c, size_t n, uint8_t *q,
                     uint64_t stride);
/* Where row 8k + i of a word of interleaved nibbles begins. */
unsigned ints_nibble_at(uint64_t row);
#endif
