/* Config and metadata of a checkpoint, with what each value means to glmq. */
#ifndef GLMQ_CLI_MEANING_H
#define GLMQ_CLI_MEANING_H

#include "models/graph.h"

/* One value: `value` is JSON text for a config.json, plain text for a GGUF. */
typedef struct glmq_setting {
    const char *key, *value, *meaning; /* meaning: NULL where glmq only carries it        */
    const char *type;                  /* of a GGUF value; NULL otherwise                  */
    const char *file;
} glmq_setting;

/* Calls `each` for every member of config.json, or for the architecture's keys of a GGUF. */
glmq_status glmq_each_setting(const glmq_graph *g, void (*each)(void *user, const glmq_setting *s),
                              void *user, glmq_error *err);
/* Likewise for safetensors' __metadata__, or all keys of a GGUF. */
glmq_status glmq_each_metadata(const glmq_graph *g, void (*each)(void *user, const glmq_setting *s),
                               void *user, glmq_error *err);
#endif
