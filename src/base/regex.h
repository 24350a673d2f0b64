/* Regular expressions of other people's configs, by PCRE2: what GPTQModel uses, and to module
 * names the same as Python's re.
 *
 * The patterns are a stranger's: matching is counted in steps, and a pattern that needs too
 * many of them is an error, never minutes. */
#ifndef GLMQ_BASE_REGEX_H
#define GLMQ_BASE_REGEX_H

#include "glmq/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct glmq_regex glmq_regex;

/* Python's re.match (begins at the first byte, may end anywhere) and re.search. */
typedef enum glmq_regex_mode { REGEX_MATCH, REGEX_SEARCH } glmq_regex_mode;

/* GLMQ_E_FORMAT with the place where it is wrong.  `out` is the caller's.  `steps`: where all
 * patterns of one config count together, 0 at first; NULL: this one counts alone. */
glmq_status glmq_regex_open(glmq_regex **out, const char *pattern, glmq_regex_mode mode,
                            uint64_t *steps, glmq_error *err);
void glmq_regex_close(glmq_regex *re);

/* Does the pattern match?  One thread at a time.  Bytes that are no UTF-8 match nothing.
 * GLMQ_E_LIMIT: this text, or all texts so far, took too many steps. */
glmq_status glmq_regex_test(glmq_regex *re, const char *text, size_t len, int *yes,
                            glmq_error *err);

/* The one string that "^literal$" matches, its escapes resolved, into `out` (terminated);
 * returns 1, or 0: it is longer than `cap` allows, or matches other strings too. */
int glmq_regex_literal(const char *pattern, char *out, size_t cap);
#endif
