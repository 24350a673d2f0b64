/* One tensor as a NumPy file, or its stored bytes. */
#ifndef GLMQ_CLI_DUMP_H
#define GLMQ_CLI_DUMP_H

#include "models/graph.h"

/* Both refuse a file that exists (GLMQ_E_EXISTS), and leave none behind on failure. */
glmq_status glmq_dump_values(const glmq_graph *g, const glmq_tensor *t, const char *path,
                             glmq_error *err);
/* PATH.codes, PATH.scales, …: a file per stored slot; PATH.0.codes for a tensor in parts. */
glmq_status glmq_dump_stored(const glmq_graph *g, const glmq_tensor *t, const char *path,
                             glmq_error *err);
#endif
