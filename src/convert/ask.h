/* How one item travels, from its scales and zero points alone: for a deep plan, which would
 * otherwise read every code. */
#ifndef GLMQ_CONVERT_ASK_H
#define GLMQ_CONVERT_ASK_H

#include "convert/plan.h"

typedef struct glmq_asker glmq_asker;
glmq_asker *glmq_asker_new(const glmq_plan *p); /* NULL: no memory */
void glmq_asker_free(glmq_asker *a);

/* 1: *travel is what it will be, and `why` it is a recode.  0: more has to be read, or something
 * is wrong with what was; the item must be probed (move.h). */
int glmq_ask(glmq_asker *a, size_t item, char why[160], glmq_travel *travel);
#endif
