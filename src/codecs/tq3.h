/* TurboQuant: what the codec and its reader share. */
#ifndef GLMQ_CODECS_TQ3_H
#define GLMQ_CODECS_TQ3_H

#include "codec.h"
#include "tq3_block.h"

/* Of glmq_encoding.variant, a set.  The number of bits of an encoding is that of the indices,
 * its seed that of the rotation. */
enum {
    TQ3_BYTES = 1, /* an index takes a byte                                            */
    TQ3_BY_ROW = 2 /* codes are [rows, groups * bytes], not [rows * groups, bytes]     */
};

/* Bytes of a group in a bit stream; 0: that many bits are only stored as bytes. */
uint64_t tq3_group_bytes(uint32_t group, unsigned bits);

/* The first 2 * group draws of the generator: bit 1 means +1.  The first `group` bits are S1,
 * LSB first. */
void tq3_signs(uint64_t seed, uint32_t group, uint8_t *bits);

/* The book of 2^bits numbers (1 to 8 bits), repeated up to TQ3_BOOK. */
void tq3_book(uint32_t group, unsigned bits, float *book);
#endif
