/* The full validation behind glmq-inspect --check: what opening a checkpoint cannot see
 * because it reads no data.  Every quantized tensor's companions are read and looked at;
 * nothing is decoded but vectors. */
#ifndef GLMQ_VERIFY_CHECK_H
#define GLMQ_VERIFY_CHECK_H

#include "base/arena.h"
#include "digest.h"
#include "glmq/graph.h"

typedef struct glmq_check {
    glmq_arena arena;
    glmq_problem *at; /* the graph's own problems first, then by tensor            */
    size_t count, capacity;
    size_t errors; /* of severity GLMQ_ERROR                                    */
} glmq_check;

/* `opt` gives jobs, memory, cancel and each; its glob is not used.  A problem of the data is
 * a row of the list; a status other than GLMQ_OK means that the check could not be made. */
glmq_status glmq_check_run(glmq_check *c, const glmq_graph *g, const glmq_digest_options *opt,
                           glmq_error *err);
void glmq_check_free(glmq_check *c);

/* For the parts of the check. */
glmq_status glmq_check_add(glmq_check *c, glmq_severity severity, const char *code,
                           const char *tensor, const char *file, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* check_lists.c: entries of the config's ignore lists that match nothing, and what no entry
 * covers. */
glmq_status glmq_check_lists(glmq_check *c, const glmq_graph *g, glmq_error *err);
/* check_vq.c: do codes and codebooks belong together; zeros that a faulty packer spoiled. */
glmq_status glmq_check_vq(glmq_check *c, const glmq_graph *g, const glmq_digest_options *opt,
                          glmq_error *err);
/* Does the part use a codebook that was not found?  The graph's problems say it once for all. */
int glmq_check_lacks_book(const glmq_part *part);
#endif
