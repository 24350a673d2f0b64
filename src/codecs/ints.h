/* Integer codecs: packed codes, a scale and perhaps a zero point per group.  GPTQ and
 * compressed-tensors differ only in where things lie; a map says where, and the rest is
 * common: decode, encode, codes in and out. */
#ifndef GLMQ_CODECS_INTS_H
#define GLMQ_CODECS_INTS_H

#include "codec.h"
#include "codes.h"

typedef enum ints_zeros { INTS_MID, INTS_PACKED, INTS_BYTES } ints_zeros;
typedef enum ints_rule { RULE_GPTQ, RULE_CT } ints_rule;

/* Where the parts of a tile lie.  Pointers are those of the tile's first row; strides are in
 * elements.  Bit streams of codes run along the columns, those of zeros along the rows. */
typedef struct ints_map {
    const char *name;
    uint64_t rows, cols;
    uint32_t group, groups;
    unsigned bits;
    unsigned frame; /* bits of the codes view; 8 for codes stored as bytes */
    ints_rule rule;

    uint8_t *codes;
    int code_bytes;               /* a signed byte each, rows adjacent                   */
    unsigned loose;               /* codes and zeros per word, where none straddles words  */
    int planar;                   /* codes and zeros in planes: see planar.h              */
    int interleaved;              /* AWQ: 8 rows to a word, of codes and of zeros; codes
                                   * points to the buffer's own first row                */
    uint64_t code_row, code_word; /* from row to row, from word to word                  */

    uint8_t *scales;
    float_kind scale_kind;
    uint64_t scale_row, scale_group;

    uint8_t *zeros; /* for packed ones: the buffer's own first row         */
    ints_zeros zero_kind;
    uint64_t zero_first; /* packed, interleaved: number of the tile's first row */
    uint64_t zero_word, zero_row, zero_group;
    int minus_one; /* stored less one (GPTQ v1)                           */
    int unmasked;  /* … and a zero is the field plus one, up to 2^bits    */

    uint8_t *perm; /* NULL: columns are in order                          */
} ints_map;

/* Codes of a tile: NULL in buffers that have none, for a view of the small arrays. */
static inline uint8_t *ints_codes(const glmq_bufs *b, uint64_t offset)
{
    uint8_t *p = b->buf[GLMQ_SLOT_CODES];
    return p ? p + offset : NULL;
}

/* Rows whose packed zeros fill whole words, and the words they fill. */
uint64_t ints_zero_rows(unsigned bits);
uint64_t ints_zero_words(unsigned bits);

void ints_decode(const ints_map *m, float *w);
void ints_encode(const ints_map *m, const float *w);
void ints_get(const ints_map *m, glmq_codes *codes);
/* What an encoding holds, for ints_put and ints_fit. */
codes_target ints_target(const glmq_encoding *e, const char *name, uint64_t cols);
glmq_status ints_put(const ints_map *m, const codes_target *to, const glmq_codes *codes,
                     glmq_tile t, glmq_error *err);
/* The small arrays alone, without a map's pointers. */
glmq_status ints_fit(const codes_target *to, const glmq_codes *codes, glmq_tile t, glmq_error *err);

/* Group numbers of columns in order, or those of `perm` (a whole slot). */
void ints_put_perm(uint8_t *slot, uint64_t cols, uint32_t group, const int32_t *perm);

/* Checks a stored permutation and brings negative entries (-1 is the last group) into
 * range, in place.  *trivial: it says what the order of columns says. */
glmq_status ints_check_perm(const char *name, uint8_t *slot, uint64_t cols, uint32_t group,
                            uint32_t groups, int *trivial, glmq_error *err);

/* Fills one slot of a layout, whose stripes take `array_rows` of its first dimension;
 * GLMQ_E_LIMIT on overflow. */
glmq_status ints_slot(glmq_layout *l, int slot, glmq_slot_layout s, uint64_t array_rows,
                      const char *name, glmq_error *err);
/* Parameters that every integer codec shares: bits, scale dtype, columns. */
glmq_status ints_check_params(const glmq_encoding *e, const char *name, unsigned widths,
                              uint64_t rows, uint64_t cols, glmq_error *err);
/* "bits=4,group=128,sym,scale=F16,act-order"; returns the length. */
size_t ints_print(const glmq_encoding *e, char *text, size_t cap);
#endif
