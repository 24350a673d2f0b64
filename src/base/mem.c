/* The one allocator, and the countdown to the call that a test wants to fail. */
#include "base/mem.h"
#include "base/fault.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { LINE = 64, LARGE = 4096 };

static atomic_long countdown; /* 0: nothing fails */

void glmq_fail_alloc_at(long n)
{
    atomic_store(&countdown, n);
}

int glmq_fault(void)
{
    if (atomic_load_explicit(&countdown, memory_order_relaxed) <= 0) return 0;
    return atomic_fetch_sub(&countdown, 1) == 1;
}

int glmq_fault_pending(void)
{
    return atomic_load(&countdown) > 0;
}

void *glmq_alloc(size_t bytes)
{
    void *p;
    if (glmq_fault()) return NULL;
    if (bytes >= LARGE) return posix_memalign(&p, LINE, bytes) ? NULL : p;
    return malloc(bytes ? bytes : 1);
}

void *glmq_alloc_zero(size_t count, size_t each)
{
    if (glmq_fault()) return NULL;
    return calloc(count ? count : 1, each ? each : 1);
}

void *glmq_realloc(void *p, size_t bytes)
{
    if (glmq_fault()) return NULL;
    return realloc(p, bytes ? bytes : 1);
}

char *glmq_strdup(const char *s)
{
    const size_t bytes = strlen(s) + 1;
    char *copy = glmq_alloc(bytes);
    if (copy) memcpy(copy, s, bytes);
    return copy;
}

void glmq_free(void *p)
{
    free(p);
}
