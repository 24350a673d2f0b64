/* Reports of a comparison: collected row by row, printed as text, JSON or a page. */
#ifndef GLMQ_VERIFY_REPORT_H
#define GLMQ_VERIFY_REPORT_H

#include "glmq/verify.h"
#include "base/arena.h"
#include <stdio.h>

/* A tensor's row, kept: strings live in the report's arena or in the graphs. */
typedef struct glmq_report_row {
    glmq_difference d;
    char *from, *to; /* encodings; "" where there is none                       */
} glmq_report_row;

/* One line of the summary: tensors of one role that went from one encoding to another. */
typedef struct glmq_report_role {
    glmq_role role;
    const char *from, *to;
    uint64_t tensors, exact;
    double max_rmse, max_relative, max_abs, min_cosine;
} glmq_report_role;

typedef struct glmq_report {
    glmq_arena arena;
    glmq_verify_level level;
    const char *source, *result; /* as the user named them                        */
    glmq_verify_result total;
    glmq_report_row *rows;
    size_t count, capacity;
    glmq_report_role *roles;
    size_t role_count, role_capacity;
    double max_rmse_allowed; /* negative: no threshold                        */
    uint64_t over;           /* rows over the threshold                       */
    int failed;              /* out of memory while collecting                */
} glmq_report;               /* { .level, .source, .result, .max_rmse_allowed = -1 } is ready */

/* For glmq_verify_options.each: adds a row (user is the report). */
void glmq_report_add(void *user, const glmq_difference *d);
void glmq_report_free(glmq_report *r);

/* Nothing missing or extra, and: under the threshold where there is one, else exact. */
int glmq_report_passes(const glmq_report *r);

/* Each returns -1 when out of memory or when writing failed.  `all`: every row, not only
 * those that differ. */
int glmq_report_text(const glmq_report *r, int all, FILE *out);
int glmq_report_json(const glmq_report *r, FILE *out);
int glmq_report_html(const glmq_report *r, FILE *out);

/* The same members inside an object that is open. */
struct glmq_json_out;
int glmq_report_json_members(const glmq_report *r, struct glmq_json_out *j);

/* Writes a report file: a page, or JSON. */
glmq_status glmq_report_save(const glmq_report *r, const char *path, int html, glmq_error *err);
#endif
