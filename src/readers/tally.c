/* See tally.h. */
#include "tally.h"
#include "base/error.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void glmq_tally_add(glmq_tally *t, const char *name, size_t len)
{
    const size_t n = len < sizeof t->first ? len : sizeof t->first - 1;

    if (t->count++) return;
    memcpy(t->first, name, n);
    t->first[n] = '\0';
}

glmq_status glmq_tally_note(const glmq_tally *t, glmq_graph *g, glmq_severity severity,
                            const char *code, const char *file, glmq_error *err, const char *format,
                            ...)
{
    char what[512];
    va_list args;

    if (t->count == 0) return GLMQ_OK;
    va_start(args, format);
    vsnprintf(what, sizeof what, format, args);
    va_end(args);
    if (glmq_graph_note(g, severity, code, NULL, file, "%s and %" PRIu64 " others %s", t->first,
                        t->count - 1, what))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}
