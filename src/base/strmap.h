/* A hash map from byte strings to numbers.  Keys are borrowed, not copied. */
#ifndef GLMQ_BASE_STRMAP_H
#define GLMQ_BASE_STRMAP_H

#include <stddef.h>
#include <stdint.h>

typedef struct glmq_strmap {
    struct strmap_slot *slots;
    size_t count, capacity;
} glmq_strmap; /* all zero: empty and ready */

/* Adds key -> value.  Returns 1 if it was new, 0 if the key was there (its value
 * stays, and is stored in *old when old is not NULL), -1 when out of memory. */
int glmq_strmap_add(glmq_strmap *m, const char *key, size_t len, uint64_t value, uint64_t *old);
/* Returns 1 and the value, or 0. */
int glmq_strmap_get(const glmq_strmap *m, const char *key, size_t len, uint64_t *value);
void glmq_strmap_free(glmq_strmap *m);
#endif
