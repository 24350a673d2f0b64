/* A source tensor with its rows or columns in another order, as stored bytes in memory. */
#ifndef GLMQ_CONVERT_PERMUTED_H
#define GLMQ_CONVERT_PERMUTED_H

#include "base/hash.h"
#include "models/fetch.h"

typedef struct glmq_permuted {
    glmq_encoding enc; /* as check() resolved it                              */
    glmq_bufs bufs;    /* all rows                                            */
    uint8_t *slot[GLMQ_SLOTS];
    glmq_codes codes;   /* of the source: q, scale, zero, offset are owned     */
    glmq_codes ordered; /* one tile in the new order: likewise                 */
} glmq_permuted;

/* Reads `from` whole through `raw` and stores it as `as`, the same matrix without activation
 * order: row i is row rows[i] of the source, column i is column cols[i]; NULL: as they are.
 * *digest is that of the source's values in their own order.  Codes, scales and zeros are the
 * same ones. */
glmq_status glmq_permuted_open(glmq_permuted *x, glmq_fetch *raw, const glmq_source *src,
                               const glmq_part *from, const glmq_part *as, const int32_t *rows,
                               const int32_t *cols, glmq_digest *digest, glmq_error *err);
void glmq_permuted_close(glmq_permuted *x);
/* Memory it takes, the fetch's included. */
uint64_t glmq_permuted_bytes(const glmq_part *from);
#endif
