/* What the parts of the full validation share: check.c walks the tensors, the others look. */
#ifndef GLMQ_VERIFY_CHECK_PARTS_H
#define GLMQ_VERIFY_CHECK_PARTS_H

#include "check.h"
#include "models/fetch.h"
#include "models/graph.h"

/* One problem of one tensor, from its worker to its turn. */
typedef struct glmq_found {
    struct glmq_found *next;
    glmq_severity severity;
    const char *code;
    char message[320];
} glmq_found;

/* What a tensor has to do with others, for check_model.c. */
typedef struct glmq_checked {
    glmq_found *found;
    int has_global; /* its encoding has a scale for the whole tensor              */
    float global;   /* 1 where none is stored                                     */
    char hex[33];   /* of an indexer's tensors: the digest                        */
} glmq_checked;

/* A thread's tools. */
typedef struct glmq_checker {
    const glmq_graph *graph;
    glmq_fetch *fetch;
    glmq_tensor_fetch *tensor_fetch;
    uint8_t *buffer;
    size_t capacity;
} glmq_checker;

/* At least `bytes` of scratch, or NULL. */
void *glmq_checker_scratch(glmq_checker *c, size_t bytes);

/* Adds a problem to a tensor's list. */
glmq_status glmq_found_add(glmq_found **list, glmq_error *err, glmq_severity severity,
                           const char *code, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* What the data is to blame for becomes a problem; anything else ends the check. */
int glmq_check_is_problem(glmq_status st);

/* check_codes.c: codes, scales, zero points and whatever else a quantized part stores.  *usable
 * 0: it cannot be decoded. */
glmq_status glmq_check_part(glmq_checker *c, const glmq_part *part, glmq_checked *out, int *usable,
                            glmq_error *err);

/* Bytes that this takes beside the fetch, at most but for rows of more than a mebibyte. */
enum { GLMQ_CHECK_PART_PEAK = 4 << 20 };

/* check_values.c: the values themselves, of what no codes view bounds. */
glmq_status glmq_check_values(glmq_checker *c, const glmq_tensor *t, glmq_found **list,
                              glmq_error *err);
/* Bytes that this takes beside the fetch. */
uint64_t glmq_check_values_peak(const glmq_tensor *t);

/* check_model.c: tensors against each other. */
glmq_status glmq_check_model(glmq_check *c, const glmq_graph *g, const glmq_checked *checked,
                             glmq_error *err);
int glmq_check_is_indexer(glmq_role role);
#endif
