/* ModelOpt's checkpoints: one reader under the names of three formats. */
#ifndef GLMQ_READERS_MODELOPT_H
#define GLMQ_READERS_MODELOPT_H

#include "base/strmap.h"
#include "reader.h"

/* Does the quantization config say that ModelOpt made it? */
int glmq_modelopt_is(const glmq_catalog *cat);
/* quant_algo, wherever it stands; NULL: nowhere. */
const char *glmq_modelopt_algo(const glmq_catalog *cat);
/* The modules of a config that describes each by itself; free the map.  `algo` of a module's
 * name: 0 if the config has none such. */
glmq_status glmq_modelopt_layers(const glmq_catalog *cat, glmq_strmap *layers, glmq_error *err);
int glmq_modelopt_layer(const glmq_strmap *layers, const char *module, size_t len,
                        const char **algo);
glmq_status glmq_modelopt_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err);
#endif
