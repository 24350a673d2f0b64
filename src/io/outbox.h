/* Writes of one worker that wait until their file is free: while another worker writes to it,
 * this one goes on computing. */
#ifndef GLMQ_IO_OUTBOX_H
#define GLMQ_IO_OUTBOX_H

#include "io/out.h"

enum { GLMQ_OUTBOX_BYTES = 2048 * 1024 }; /* what a box holds of them */

typedef struct glmq_outbox glmq_outbox;
glmq_outbox *glmq_outbox_new(void);
void glmq_outbox_free(glmq_outbox *b); /* what waits is lost */

/* Writes now if the file is free, with all that waits for it, in the order it came; otherwise
 * keeps a copy.  Waits for the file only when the box is full. */
glmq_status glmq_outbox_write(glmq_outbox *b, glmq_out *file, uint64_t off, const void *data,
                              size_t len, glmq_error *err);
/* Writes all that waits. */
glmq_status glmq_outbox_flush(glmq_outbox *b, glmq_error *err);
int glmq_outbox_is_empty(const glmq_outbox *b);
#endif
