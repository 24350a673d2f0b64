/* What glmq-convert prints of a plan. */
#ifndef GLMQ_CLI_PLAN_H
#define GLMQ_CLI_PLAN_H

#include "convert/plan.h"
#include <stdio.h>

/* A table by role, or (`all`) by tensor; files, what is dropped or narrowed, the costs. */
glmq_status glmq_plan_print(const glmq_plan *p, int all, FILE *out, glmq_error *err);
glmq_status glmq_plan_print_json(const glmq_plan *p, FILE *out, glmq_error *err);

/* The encodings that the plan chose, as a recipe file that --recipe reads. */
glmq_status glmq_plan_save_recipe(const glmq_plan *p, const char *path, glmq_error *err);

/* "q4_0" or, for a tensor in two encodings, "f32+q4_0". */
void glmq_parts_text(const glmq_part *part, int parts, char *text, size_t cap);
#endif
