/* The one allocator.  Every allocation of the library goes through it, so that a test
 * can make the n-th one fail. */
#ifndef GLMQ_BASE_MEM_H
#define GLMQ_BASE_MEM_H

#include <stddef.h>

/* NULL when out of memory; 0 bytes is fine.  4 KiB and more begin at a cache line: vectors of
 * rows whose stride is one then do not straddle two. */
void *glmq_alloc(size_t bytes);
void *glmq_alloc_zero(size_t count, size_t each);
void *glmq_realloc(void *p, size_t bytes);
char *glmq_strdup(const char *s);
void glmq_free(void *p);

/* The n-th call from now fails (1: the next); 0: none.  For tests.  The same counter
 * covers the calls that src/io makes of the system (see fault.h). */
void glmq_fail_alloc_at(long n);

#define GLMQ_COUNT(a) (sizeof(a) / sizeof((a)[0]))
#endif
