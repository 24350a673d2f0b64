/* quantization_config of compressed-tensors: schemes, and which of them a module has. */
#ifndef GLMQ_READERS_CT_CONFIG_H
#define GLMQ_READERS_CT_CONFIG_H

#include "reader.h"

typedef enum { STRATEGY_GROUP, STRATEGY_CHANNEL, STRATEGY_TENSOR, STRATEGY_OTHER } ct_strategy;
typedef enum { CT_INT, CT_FP8, CT_FP4 } ct_type;

/* The weights' ARGS of one config group. */
typedef struct ct_scheme {
    const char *name;
    ct_type type;
    uint64_t bits, group;
    ct_strategy strategy;
    int symmetric;
    uint64_t block[2]; /* FP8: rows and columns of a block; 0: none */
} ct_scheme;

enum { CT_SCHEMES_MAX = 64 };

typedef struct ct_config {
    ct_scheme schemes[CT_SCHEMES_MAX];
    size_t count;
    int targeted;                /* every scheme says for which modules it is     */
    int fake;                    /* quantization_status: not compressed yet       */
    int loose;                   /* of a release before 0.17                      */
    struct glmq_patterns *names; /* targets but class names -> number of a scheme */
    struct glmq_patterns *ignored;
    int linear, embedding; /* schemes of those classes; -1: none            */
} ct_config;

/* `q` may be NULL.  Whatever the status, *c is to be closed.  GLMQ_E_UNSUPPORTED: it names
 * what changes stored weights or the forward pass beyond our codecs. */
glmq_status ct_config_open(ct_config *c, const cJSON *q, glmq_error *err);
void ct_config_close(ct_config *c);

/* The scheme that names the module, in the order of the reference: exact names, patterns,
 * classes; each in alphabetical order, whatever the config's.  *scheme NULL: none does.  Errors
 * are those of the patterns (patterns.h), here and below. */
glmq_status ct_config_scheme(const ct_config *c, const glmq_module *m, glmq_role role,
                             const ct_scheme **scheme, glmq_error *err);
/* Is it on the list of those that stay as they are? */
glmq_status ct_config_ignores(const ct_config *c, const glmq_module *m, int *yes, glmq_error *err);
#endif
