/* Between ints.c, ints_decode.c and ints_zeros.c: scales, zeros and codes of a map. */
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
/* Those of all rows. */
void ints_get_zeros(const ints_map *m, glmq_codes *codes);

/* Rows whose zeros share words: writing begins at the first of them. */
uint64_t ints_shared_rows(const ints_map *m);
/* Zeros of rows [r, r + n) of group g, n at most those that share words; fields of no row are 0.
 * In the frame of `bits`. */
void ints_set_zeros(const ints_map *m, uint64_t r, uint64_t g, const int *zero, uint64_t n);
/* Those of rows [r, r + rows), groups [g, g + n). */
void ints_put_zeros(const ints_map *m, uint64_t r, uint64_t rows, uint32_t g, uint32_t n,
                    const int16_t zero[][CODES_RUN]);
/* Those of a symmetric tensor, where they are stored; rows that share words. */
void ints_put_middle(const ints_map *m, uint64_t r, uint64_t rows);

/* How a tile is walked: row-major codes in single rows, the others in blocks. */
uint64_t ints_block_rows(const ints_map *m);
/* Codes of rows [r, r + rows) and columns [c, c + n), in the frame of the codes view. */
void ints_load_codes(const ints_map *m, uint64_t r, uint64_t rows, uint64_t c, size_t n, uint8_t *q,
                     uint64_t stride);
/* AWQ's order of the 8 rows of a word: the nibble of each. */
static const uint8_t ints_nibble_of[8] = { 0, 4, 1, 5, 2, 6, 3, 7 };

/* The bit at which a row's nibble begins. */
static inline unsigned ints_nibble_at(uint64_t row)
{
    return 4u * ints_nibble_of[row % 8];
}
#endif
