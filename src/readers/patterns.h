/* The names and patterns of one config, in order: which of them speaks of a module?  Each is
 * compiled once; "^one\.name$" and plain names are looked up, not tried. */
#ifndef GLMQ_READERS_PATTERNS_H
#define GLMQ_READERS_PATTERNS_H

#include "glmq/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct glmq_patterns glmq_patterns;

typedef enum glmq_pattern_kind {
    PATTERN_EXACT, /* the name                                        */
    PATTERN_MATCH, /* a regular expression, from the name's beginning */
    PATTERN_SEARCH /* … anywhere in the name                          */
} glmq_pattern_kind;

/* Is a key of AutoRound's extra_config a pattern (as AutoRound tells it), and not a name? */
int glmq_key_is_pattern(const char *key);

glmq_patterns *glmq_patterns_new(void); /* NULL: out of memory */
void glmq_patterns_free(glmq_patterns *p);

/* Puts a pattern behind those that are there; `text` is copied, `value` is what it is for.
 * GLMQ_E_FORMAT: no regular expression. */
glmq_status glmq_patterns_add(glmq_patterns *p, glmq_pattern_kind kind, const char *text,
                              uint32_t value, glmq_error *err);

/* Does any match?  *value: the first one's (may be NULL).  One thread at a time.  GLMQ_E_LIMIT:
 * it takes too many steps to tell (regex.h). */
glmq_status glmq_patterns_find(glmq_patterns *p, const char *name, size_t len, int *found,
                               uint32_t *value, glmq_error *err);
#endif
