/* Importance matrices on the command line. */
#ifndef GLMQ_CLI_IMATRIX_H
#define GLMQ_CLI_IMATRIX_H

#include "common.h"

/* Prints what the file `path` holds, as text or as JSON, if it is an importance matrix; with
 * `check` all its values are read.  *handled 0: it is none, nothing was done. */
glmq_status glmq_imatrix_show(const char *path, int json, int check, int *handled, glmq_error *err);

/* --imatrix FILE of a conversion: reads it, compares it with the model, says what it covers.
 * No encoder weighs columns yet, which is said too. */
glmq_status glmq_imatrix_consider(const glmq_program *p, const char *path, const glmq_graph *g,
                                  int quiet, glmq_error *err);
#endif
