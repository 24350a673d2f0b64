/* Error records: one line of text, built without allocating. */
#include "base/error.h"
#include "base/mem.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const char *const status_names[] = {
    [GLMQ_OK] = "ok",
    [GLMQ_E_IO] = "io",
    [GLMQ_E_NOMEM] = "no-memory",
    [GLMQ_E_DEVICE] = "device",
    [GLMQ_E_ARG] = "usage",
    [GLMQ_E_FORMAT] = "format",
    [GLMQ_E_LIMIT] = "limit",
    [GLMQ_E_UNSUPPORTED] = "unsupported",
    [GLMQ_E_INEXACT] = "inexact",
    [GLMQ_E_MISMATCH] = "mismatch",
    [GLMQ_E_EXISTS] = "exists",
    [GLMQ_E_CANCELLED] = "cancelled",
};

const char *glmq_status_name(glmq_status status)
{
    const size_t i = (size_t)status;
    return i < GLMQ_COUNT(status_names) ? status_names[i] : "unknown";
}

/* Formats into `text` and escapes what came from a file. */
static void format_clean(char *text, size_t cap, const char *format, va_list args)
{
    char raw[sizeof((glmq_error *)0)->msg];
    int len = vsnprintf(raw, sizeof raw, format, args);
    if (len < 0) len = 0;
    if ((size_t)len >= sizeof raw) len = (int)sizeof raw - 1;
    glmq_escape(text, cap, raw, (size_t)len);
}

static glmq_status fill(glmq_error *err, glmq_status status, int sys, const char *code,
                        const char *format, va_list args)
{
    if (!err) return status;
    err->status = status;
    err->sys = sys;
    err->code = code;
    format_clean(err->msg, sizeof err->msg, format, args);
    return status;
}

glmq_status glmq_fail(glmq_error *err, glmq_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, status, 0, NULL, format, args);
    va_end(args);
    return status;
}

glmq_status glmq_fail_missing(glmq_error *err, glmq_status status, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    fill(err, status, 0, "missing-companion", format, args);
    va_end(args);
    return status;
}

/* strerror's text by number, without its static buffer. */
static const char *sys_text(int sys, char *buf, size_t cap)
{
#if defined(__GLIBC__)
    return strerror_r(sys, buf, cap);
#else
    if (strerror_r(sys, buf, cap)) snprintf(buf, cap, "errno %d", sys);
    return buf;
#endif
}

glmq_status glmq_fail_sys(glmq_error *err, int sys, const char *format, ...)
{
    va_list args;
    char buf[128];
    size_t used;
    if (!err) return GLMQ_E_IO;
    va_start(args, format);
    fill(err, GLMQ_E_IO, sys, NULL, format, args);
    va_end(args);
    used = strlen(err->msg);
    snprintf(err->msg + used, sizeof err->msg - used, ": %s", sys_text(sys, buf, sizeof buf));
    return GLMQ_E_IO;
}

glmq_status glmq_within(glmq_error *err, glmq_status status, const char *format, ...)
{
    char context[sizeof err->msg];
    size_t front, behind;
    va_list args;
    if (!status || !err) return status;

    va_start(args, format);
    format_clean(context, sizeof context - 2, format, args);
    va_end(args);
    front = strlen(context);
    context[front++] = ':';
    context[front++] = ' ';
    behind = strlen(err->msg);
    if (behind > sizeof err->msg - 1 - front) behind = sizeof err->msg - 1 - front;
    memmove(err->msg + front, err->msg, behind);
    memcpy(err->msg, context, front);
    err->msg[front + behind] = '\0';
    return status;
}
