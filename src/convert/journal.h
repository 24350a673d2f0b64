/* The journal of a run: which items are durable, and all that is known of them.
 *
 *   first line   glmq-journal 1 PLAN-DIGEST
 *   then         CHECK item INDEX BYTES TRAVEL SOURCE RESULT RMSE MAX SNR PIECES REASON
 *
 * CHECK are 16 hex digits of the XXH3-128 of the rest of the line; PIECES are the digests of
 * the item's pieces, joined by commas; REASON is "-" or text to the end of the line. */
#ifndef GLMQ_CONVERT_JOURNAL_H
#define GLMQ_CONVERT_JOURNAL_H

#include "convert/move.h"

/* What a run knows: one `done` per item, one digest per piece of the plan. */
typedef struct glmq_results {
    glmq_done *done;
    glmq_digest *piece;
    glmq_arena arena; /* reasons */
} glmq_results;

typedef struct glmq_journal glmq_journal;

/* A new, empty journal. */
glmq_status glmq_journal_create(glmq_journal **out, const char *path, const glmq_plan *p,
                                glmq_error *err);
/* An earlier run's: fills `known` with the items it lists, and goes on behind the last whole
 * line.  Another plan's journal is GLMQ_E_EXISTS. */
glmq_status glmq_journal_open(glmq_journal **out, const char *path, const glmq_plan *p,
                              glmq_results *known, glmq_error *err);
void glmq_journal_close(glmq_journal *j);

/* Adds one durable item; lines are on disk after glmq_journal_sync(). */
glmq_status glmq_journal_add(glmq_journal *j, const glmq_plan *p, size_t item,
                             const glmq_results *r, glmq_error *err);
glmq_status glmq_journal_sync(glmq_journal *j, glmq_error *err);

glmq_status glmq_results_open(glmq_results *r, const glmq_plan *p, glmq_error *err);
void glmq_results_close(glmq_results *r);
#endif
