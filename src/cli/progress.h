/* Progress on stderr: a line that redraws itself, or JSON lines. */
#ifndef GLMQ_CLI_PROGRESS_H
#define GLMQ_CLI_PROGRESS_H

#include "common.h"
#include "glmq/run.h"
#include "verify/report.h"

typedef struct glmq_meter {
    int mode;              /* glmq_progress_mode; AUTO is settled by glmq_meter_begin       */
    const char *verb;      /* "converting"                                                 */
    double started, shown; /* seconds on the monotonic clock                               */
    uint64_t done, total;
    int counts; /* JSON events of glmq_meter_count, too: where no run has told its own */
    int open;   /* a bar is on the line                                         */
} glmq_meter;

/* `quiet` silences a bar, not the JSON lines that were asked for. */
void glmq_meter_begin(glmq_meter *m, int mode, int quiet, const char *verb);
/* For glmq_run_options.progress (user is the meter). */
void glmq_meter_event(void *user, const glmq_progress *p);
/* Without a run: `done` of `total` tensors or files are done. */
void glmq_meter_count(glmq_meter *m, uint64_t done, uint64_t total);
/* Clears the bar; a failure is an "error" event.  Before any message is printed. */
void glmq_meter_end(glmq_meter *m, const glmq_error *err);

/* A report that fills while a meter counts: glmq_verify_options.each and its user. */
typedef struct glmq_report_meter {
    glmq_report *report;
    glmq_meter meter;
    uint64_t done, total; /* tensors; total is about                                     */
} glmq_report_meter;
void glmq_report_meter_add(void *user, const glmq_difference *d);
#endif
