/* Statuses and the error record.
 *
 * Every call that can fail returns a glmq_status and takes a caller-owned
 * glmq_error as its last argument.  The error may be NULL.  There is no
 * thread-local state: an error belongs to whoever passed it. */
#ifndef GLMQ_ERROR_H
#define GLMQ_ERROR_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(GLMQ_BUILD) && defined(__GNUC__)
#define GLMQ_API __attribute__((visibility("default")))
#else
#define GLMQ_API
#endif

typedef enum glmq_status {
    GLMQ_OK = 0,
    GLMQ_E_IO,          /* the system failed: read, write, disk full           */
    GLMQ_E_NOMEM,       /* out of memory                                       */
    GLMQ_E_DEVICE,      /* a GPU error                                         */
    GLMQ_E_ARG,         /* wrong usage                                         */
    GLMQ_E_FORMAT,      /* the input is malformed, truncated or incomplete     */
    GLMQ_E_LIMIT,       /* the input exceeds a limit of limits.h               */
    GLMQ_E_UNSUPPORTED, /* understood, but glmq or the target cannot do it     */
    GLMQ_E_INEXACT,     /* the target cannot hold the same codes               */
    GLMQ_E_MISMATCH,    /* a check or a comparison found differences           */
    GLMQ_E_EXISTS,      /* the output exists, or belongs to another run        */
    GLMQ_E_CANCELLED    /* stopped on request; resumable                       */
} glmq_status;

typedef struct glmq_error {
    glmq_status status;
    int sys;          /* errno behind a GLMQ_E_IO, else 0                      */
    const char *code; /* of the problem that --check makes of it, or NULL      */
    char msg[1024];   /* one line, terminated, no full stop                    */
} glmq_error;

/* A fixed word for a status ("format", "io", …).  Never NULL. */
GLMQ_API const char *glmq_status_name(glmq_status status);

#ifdef __cplusplus
}
#endif
#endif
