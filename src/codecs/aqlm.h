/* AQLM parameters that its reader names: encoding.tables is an aqlm_shape. */
#ifndef GLMQ_CODECS_AQLM_H
#define GLMQ_CODECS_AQLM_H

#include "codec.h"

typedef struct aqlm_shape {
    uint32_t books;     /* codebooks, M                                                 */
    uint32_t in, out;   /* columns and rows of an entry                                 */
    uint8_t bits;       /* of a code: a codebook has 2^bits entries                     */
    uint8_t code_dtype; /* glmq_dtype: I8, I16 or I32                                   */
    uint8_t book_dtype; /* F16, BF16 or F32                                             */
    uint8_t by_place;   /* a scale for each entry of a row, not one for all of them     */
} aqlm_shape;

/* AQLM_FLOATS_MAX: of the entries, in all codebooks, that make one place of a row. */
enum { AQLM_BITS_MAX = 31, AQLM_FLOATS_MAX = 4096 };
#endif
