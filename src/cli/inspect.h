/* What glmq-inspect was asked for and found, and how it is printed. */
#ifndef GLMQ_CLI_INSPECT_H
#define GLMQ_CLI_INSPECT_H

#include "facts.h"
#include "verify/check.h"
#include "verify/report.h"
#include <stdio.h>

typedef struct glmq_inspection {
    const char *path;
    const glmq_graph *graph;
    glmq_facts facts;
    const char *tensors, *digest; /* globs; NULL: not asked for                      */
    int shards, config, metadata; /* asked for                                       */
    int checked, diffed, verbose;
    char (*tensor_digests)[33]; /* by tensor; NULL: not taken                      */
    char (*shard_digests)[33];  /* by shard; NULL: not taken                       */
    char model_digest[33];
    glmq_check check;
    glmq_report diff;
} glmq_inspection;

glmq_status glmq_inspection_text(const glmq_inspection *in, FILE *out, glmq_error *err);
glmq_status glmq_inspection_json(const glmq_inspection *in, FILE *out, glmq_error *err);
void glmq_inspection_free(glmq_inspection *in);
#endif
