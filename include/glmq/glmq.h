/* libglmq: read, convert and verify GLM mixture-of-experts checkpoints. */
#ifndef GLMQ_GLMQ_H
#define GLMQ_GLMQ_H

#include "encoding.h"
#include "error.h"
#include "graph.h"
#include "plan.h"
#include "recipe.h"
#include "run.h"
#include "source.h"
#include "verify.h"

#define GLMQ_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/* The version of the library at run time. */
GLMQ_API const char *glmq_version(void);

#ifdef __cplusplus
}
#endif
#endif
