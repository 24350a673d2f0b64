/* Vector quantization with a codebook that many tensors share: what its reader and its checks
 * need to know.
 *
 * encoding.bits: bits of a code; encoding.group: columns per scale; encoding.variant: how codes
 * are stored; encoding.tables: a vq_book. */
#ifndef GLMQ_CODECS_VQ_H
#define GLMQ_CODECS_VQ_H

#include "codec.h"

/* `entries` runs of `width` weights.  Owned by the graph; equal to another book when the
 * entries are. */
typedef struct vq_book {
    const char *name;    /* as the config calls it ("cb3")                               */
    uint32_t entries;    /* K                                                            */
    uint32_t width;      /* d                                                            */
    uint8_t bits;        /* of a code, at least log2(entries)                            */
    const float *values; /* entries x width, finite; NULL: the book was not found        */
    uint64_t bytes;      /* that it takes where it is stored                             */
    uint64_t weights;    /* of all tensors that use it: they share its bytes             */
} vq_book;

enum { VQ_BITS_MAX = 16 };

/* How a row's codes are stored: one stream, lowest bits first, or one code an element. */
typedef enum vq_form {
    VQ_I32, /* streams, a row in whole 32-bit words          */
    VQ_U32,
    VQ_I8,
    VQ_U8,
    VQ_EACH_I16, /* an unsigned code an element                   */
    VQ_EACH_U16,
    VQ_EACH_I8,
    VQ_EACH_U8,
    VQ_TURNED, /* streams of words, stored [words, rows]        */
    VQ_FORMS
} vq_form;

glmq_dtype vq_form_dtype(vq_form form);
/* Elements that a row of `codes` codes takes. */
uint64_t vq_form_elements(vq_form form, unsigned bits, uint64_t codes);

/* Codes [first, first + n) of a row, n <= VQ_RUN and first a multiple of it.  `b` holds the
 * row. */
enum { VQ_RUN = 512 };
void vq_get_codes(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, uint64_t row,
                  uint64_t first, size_t n, uint16_t *q);

/* Bits of a row's last word that belong to no code and are not 0?  `row` as above. */
int vq_has_stray_bits(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, uint64_t row);

/* ---- do codes and codebook belong together? ----
 *
 * Groups of weights have the same power before they are quantized, so the power of a group's
 * entries (their squares, summed) varies less from group to group than that of entries drawn
 * at random.  V is the quotient of the two variances: 1 for a wrong codebook or layout. */
typedef struct vq_power {
    double sum, squares;           /* of a group's power, over the groups             */
    double code_sum, code_squares; /* of an entry's power, over the codes             */
    uint64_t groups, codes;
} vq_power;

/* power[k]: that of entry k, less the mean of all (a shift that V does not see). */
void vq_power_table(const vq_book *book, double *power);
/* Adds the groups of a row; whole groups only. */
void vq_power_add(vq_power *p, const double *power, const glmq_encoding *e, const glmq_bufs *b,
                  glmq_tile t, uint64_t row);
void vq_power_join(vq_power *p, const vq_power *more);
/* V; NaN when the codes say nothing (fewer than two groups, or one code alone). */
double vq_power_value(const vq_power *p);

enum { VQ_POWER_GROUPS = 10000 }; /* groups from which on V can be relied on */
/* The greatest V of a book that belongs to its codes; infinite where V does not tell. */
double vq_power_limit(const vq_book *book, const vq_power *p);
#endif
