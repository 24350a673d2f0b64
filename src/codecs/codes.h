/* Fitting a codes view into another encoding: the same integers, scales and zeros, checked
 * value by value.  What put_codes of every integer codec is made of. */
#ifndef GLMQ_CODECS_CODES_H
#define GLMQ_CODECS_CODES_H

#include "codec.h"
#include "kernels.h"

/* What a target holds.  Codes and zeros are unsigned in a frame of `bits`, 0 .. 2^bits - 1,
 * whose middle 2^(bits-1) is the zero of a symmetric target. */
typedef enum codes_zeros { CODES_MID, CODES_STORED, CODES_OFFSET } codes_zeros;

typedef struct codes_target {
    const char *name;
    uint8_t bits;
    codes_zeros zeros;
    float_kind scale;       /* type of scales and offsets                             */
    uint8_t perm;           /* it stores a permutation                                */
    uint8_t even;           /* … whose groups must have exactly `group` members       */
    uint8_t one_scale;      /* a single scale for all rows                            */
    uint32_t group, groups; /* columns per scale, scales per row                      */
} codes_target;

float_kind codes_float_kind(glmq_dtype dtype); /* F16, BF16, F32 */

/* Can the target hold the codes' kind, permutation and scales at all?  Small arrays only. */
glmq_status codes_fit(const codes_target *to, const glmq_codes *from, glmq_tile t, glmq_error *err);

/* A run of the target's scales, for groups [g, g + n) of a row, n <= CODES_RUN. */
enum { CODES_RUN = 64 };

typedef struct codes_small {
    float scale[CODES_RUN], offset[CODES_RUN];
    int16_t zero[CODES_RUN];
    uint8_t stored_scale[CODES_RUN * 4], stored_offset[CODES_RUN * 4]; /* as the target's type */
} codes_small;

glmq_status codes_small_run(const codes_target *to, const glmq_codes *from, glmq_tile t, uint64_t r,
                            uint32_t g, uint32_t n, codes_small *out, glmq_error *err);

/* Do the codes go as they are, all of them? */
int codes_unchanged(const codes_target *to, const glmq_codes *from);

/* Codes of columns [col, col + n) of row r in the target's frame; n <= CODES_CHUNK, col a multiple
 * of 32.  *q is `room`, or points into from->q where nothing changes and nothing is packed. */
enum { CODES_CHUNK = 256 };

glmq_status codes_row(const codes_target *to, const glmq_codes *from, glmq_tile t, uint64_t r,
                      uint64_t col, size_t n, uint8_t *room, const uint8_t **q, glmq_error *err);
#endif
