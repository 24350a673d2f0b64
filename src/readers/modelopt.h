/* ModelOpt's checkpoints: one reader under the names of three formats. */
#ifndef GLMQ_READERS_MODELOPT_H
#define GLMQ_READERS_MODELOPT_H

#include "reader.h"

/* Does the quantization config say that ModelOpt made it? */
int glmq_modelopt_is(const glmq_catalog *cat);
/* quant_algo, wherever it stands; NULL: nowhere. */
const char *glmq_modelopt_algo(const glmq_catalog *cat);
glmq_status glmq_modelopt_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err);
#endif
