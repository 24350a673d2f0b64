/* Recipes that are compiled in: rules under a short word. */
#ifndef GLMQ_CONVERT_PRESETS_H
#define GLMQ_CONVERT_PRESETS_H

#include <stddef.h>

typedef struct glmq_preset {
    const char *name, *about;
    const char *json; /* as --recipe reads it; also a file under samples/recipes */
} glmq_preset;

const glmq_preset *glmq_preset_at(size_t i); /* NULL behind the last */
const glmq_preset *glmq_preset_find(const char *name);
#endif
