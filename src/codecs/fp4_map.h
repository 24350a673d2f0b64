/* Where the parts of a matrix of four-bit floats lie: the codecs differ in nothing else, and
 * the rest (codes in and out, decode, encode) is common.  As ints.h is for integers. */
#ifndef GLMQ_CODECS_FP4_MAP_H
#define GLMQ_CODECS_FP4_MAP_H

#include "fp4.h"

/* One piece of every group.  A block has 2^log groups: group g of row r lies at
 * base + r * row + (g >> log) * block + first + (g mod 2^log) * each. */
typedef struct fp4_lane {
    uint8_t *base;
    uint64_t row, block, first, each;
    uint32_t log;
} fp4_lane;

typedef struct fp4_map {
    const char *name;
    uint32_t group, groups; /* columns per scale, scales per row                        */
    fp4_global global;
    int halves;             /* the second half of a group in the high nibbles; or the next column */
    int plus_zero;          /* code 8 is +0                                              */
    int ue4m3;              /* E4M3 without sign; the code of NaN is 0 (GGUF)            */
    int powers;             /* scales are E8M0                                           */
    uint8_t *global_at;     /* NULL: not stored, 1                                       */
    fp4_lane scales, codes; /* of the tile's first row                                */
} fp4_map;

uint8_t *fp4_map_at(const fp4_lane *l, uint64_t r, uint32_t g);
/* A code for each column of a group, as the group stores them. */
void fp4_map_pack(const fp4_map *m, const uint8_t *q, uint8_t *to);
/* The stored global scale. */
float fp4_map_global(const fp4_map *m);

void fp4_map_decode(const fp4_map *m, glmq_tile t, float *w);
void fp4_map_get(const fp4_map *m, glmq_tile t, glmq_codes *codes);
/* e->scalar: bits of the global scale to store; 0: the one of the codes. */
glmq_status fp4_map_put(const fp4_map *m, const glmq_encoding *e, const glmq_codes *codes,
                        glmq_tile t, glmq_error *err);

/* ---- fp4_fit.c: codes under scales of another kind ---- */

/* One group of the target out of `n` runs of codes (1, or the two halves of 32), each with its
 * true scale as a double.  *byte and the codes are those to store; 0: there are none that keep
 * every value.  `unit`: the target's global scale as a multiplier. */
typedef struct fp4_group {
    uint32_t runs, each; /* runs of `each` columns                                         */
    double scale[2];     /* 0: unknown because it is of no use                              */
    const uint8_t *q;
    uint8_t out[32], byte;
} fp4_group;
int fp4_fit_power(fp4_group *g);
int fp4_fit_e4m3(fp4_group *g, double unit);
#endif
