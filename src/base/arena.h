/* An arena: many small pieces that live and die together. */
#ifndef GLMQ_BASE_ARENA_H
#define GLMQ_BASE_ARENA_H

#include <stddef.h>

typedef struct glmq_arena {
    struct arena_block *head;
    size_t block_bytes; /* 0: 64 KiB */
} glmq_arena;           /* all zero: empty and ready */

/* Zeroed, 16-byte aligned memory; NULL when out of memory. */
void *glmq_arena_alloc(glmq_arena *a, size_t bytes);
char *glmq_arena_strdup(glmq_arena *a, const char *s);
char *glmq_arena_strndup(glmq_arena *a, const char *s, size_t len);
char *glmq_arena_printf(glmq_arena *a, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void glmq_arena_free(glmq_arena *a);
#endif
