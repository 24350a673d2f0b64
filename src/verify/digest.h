/* Digests of many tensors or files, on several threads. */
#ifndef GLMQ_VERIFY_DIGEST_H
#define GLMQ_VERIFY_DIGEST_H

#include "glmq/graph.h"

typedef struct glmq_digest_options {
    const char *glob;           /* names or roles; NULL: all                             */
    int jobs;                   /* 0: as many as processors                              */
    uint64_t memory;            /* 0: 2 GiB                                              */
    const volatile int *cancel; /* may be NULL                                           */
    void (*each)(void *user, size_t done, size_t total); /* one call at a time; may be NULL */
    void *user;
} glmq_digest_options;

/* hex[i]: the digest of tensor i, "" where it is no weight or GLOB does not match.  The
 * list is the caller's (glmq_free).  `model` is "" unless every weight was digested. */
glmq_status glmq_digest_tensors(const glmq_graph *g, const glmq_digest_options *opt,
                                char (**hex)[33], char model[33], glmq_error *err);

/* XXH3-128 of whole files, by their numbers in the source. */
glmq_status glmq_digest_files(const glmq_source *src, const uint32_t *files, size_t count,
                              const glmq_digest_options *opt, char (**hex)[33], glmq_error *err);
#endif
