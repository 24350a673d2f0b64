/* A growing text buffer, and the few text tools that several files need. */
#ifndef GLMQ_BASE_TEXT_H
#define GLMQ_BASE_TEXT_H

#include <stddef.h>
#include <stdint.h>

typedef struct glmq_text {
    char *data; /* always terminated once something was added; NULL before */
    size_t len, cap;
    int failed; /* out of memory: later calls do nothing                  */
} glmq_text;    /* all zero: empty and ready */

void glmq_text_add(glmq_text *t, const char *s);
void glmq_text_add_n(glmq_text *t, const void *s, size_t n);
void glmq_text_printf(glmq_text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void glmq_text_free(glmq_text *t);

/* Does `glob` ('*' any run, '?' one byte) match the whole of `s`? */
int glmq_glob(const char *glob, const char *s);

/* Copies `s` with control characters and ill-formed UTF-8 escaped as \xNN. */
size_t glmq_escape(char *dst, size_t cap, const char *s, size_t len);

/* Is this well-formed UTF-8? */
int glmq_utf8_valid(const char *s, size_t len);

/* The candidate nearest to `word` by edit distance, or NULL when none is near.
 * Candidates come from `at(i)` for i = 0 … until NULL. */
const char *glmq_nearest(const char *word, const char *(*at)(size_t i));

/* "2GiB", "512M", "5000": bytes, or powers of 1000 (K M G T) or 1024 (KiB …).
 * Returns 0, or -1 when it is no size. */
int glmq_parse_size(const char *s, uint64_t *bytes);
#endif
