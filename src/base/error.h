/* Making and passing errors.  The record itself is public: glmq/error.h. */
#ifndef GLMQ_BASE_ERROR_H
#define GLMQ_BASE_ERROR_H

#include "glmq/error.h"
#include <inttypes.h>

/* Fills *err (may be NULL) and returns `status`.  Control characters that came from a
 * file are escaped. */
glmq_status glmq_fail(glmq_error *err, glmq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Likewise where an array that belongs to others is not stored: the problem's code says so. */
glmq_status glmq_fail_missing(glmq_error *err, glmq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* GLMQ_E_IO with errno and its text behind the message. */
glmq_status glmq_fail_sys(glmq_error *err, int sys, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "context: " in front of an error's message when `status` is not GLMQ_OK;
 * returns `status`. */
glmq_status glmq_within(glmq_error *err, glmq_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define GLMQ_TRY(call)                                                                             \
    do {                                                                                           \
        glmq_status try_ = (call);                                                                 \
        if (try_) return try_;                                                                     \
    } while (0)
#endif
