/* A run that was killed right behind its commit: nothing is left to resume. */
#ifndef GLMQ_CONVERT_FINISHED_H
#define GLMQ_CONVERT_FINISHED_H

#include "convert/plan.h"
#include "glmq/run.h"

/* 1: what lies at the plan's destination is the result of this very plan: its manifest says so,
 * and every file of the plan has its size.  *out is then what that run had to say. */
int glmq_finished(const glmq_plan *p, glmq_run_result *out);
#endif
