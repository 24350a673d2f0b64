/* Roles and their properties.  The list itself is public: glmq/graph.h. */
#ifndef GLMQ_MODELS_ROLES_H
#define GLMQ_MODELS_ROLES_H

#include "glmq/graph.h"

typedef enum glmq_role_class {
    ROLE_TABLE,       /* embedding and output tables                                  */
    ROLE_NORM,        /* vectors; F32 in a GGUF                                       */
    ROLE_BIAS,        /* vectors; F32 in a GGUF                                       */
    ROLE_LINEAR,      /* matrices that quantizers quantize                            */
    ROLE_EXPERT,      /* routed experts: likewise                                     */
    ROLE_PROJECTION,  /* mtp.eh_proj: a matrix that presets keep                      */
    ROLE_ROUTER,      /* small matrices that decide routing: kept; F32 in a GGUF      */
    ROLE_ROUTER_BIAS, /* F32 everywhere, always                                       */
    ROLE_SCALE,       /* KV-cache scales, codebooks: no weights of their own          */
    ROLE_OTHER
} glmq_role_class;

glmq_role_class glmq_role_class_of(glmq_role role);
int glmq_role_find(const char *name, glmq_role *out); /* 1 or 0 */
int glmq_role_is_matrix(glmq_role role);

/* Matrices of one layer (and expert) that read the same input: serving engines make one matrix
 * of them, so that they must share a global scale. */
enum { GLMQ_FUSED_MAX = 3 };
typedef struct glmq_fused {
    uint8_t count;
    glmq_role role[GLMQ_FUSED_MAX];
    const char *what; /* "gate and up"                                  */
    const char *name; /* of the fused module; NULL: all experts are one */
} glmq_fused;

/* NULL behind the last. */
const glmq_fused *glmq_fused_at(size_t i);
/* The row in which `role` comes first, or NULL. */
const glmq_fused *glmq_fused_first(glmq_role role);
#endif
