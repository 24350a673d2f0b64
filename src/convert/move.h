/* Moving one item: stored source bytes -> stored target bytes, with the proof of how it went. */
#ifndef GLMQ_CONVERT_MOVE_H
#define GLMQ_CONVERT_MOVE_H

#include "base/hash.h"
#include "convert/plan.h"
#include "io/outbox.h"

/* What is known of a finished item: the manifest and the journal need no more. */
typedef struct glmq_done {
    uint8_t finished;
    uint8_t travel;               /* glmq_travel, settled                                    */
    const char *reason;           /* why it was recoded after all; NULL: the plan's           */
    glmq_digest source, result;   /* of canonical values, in logical order                  */
    double rmse, max_abs, snr_db; /* snr_db: INFINITY when exact                          */
} glmq_done;

/* Where an item's bytes go: one output per file of the plan, NULL where the file is a link to
 * the source's own (then nothing is written, only proved). */
typedef struct glmq_move_to {
    glmq_out *const *file;
    glmq_outbox *box; /* the worker's own; bytes may still be in it when glmq_move returns */
    const volatile int *cancel; /* of the caller, and the run's own; either may be NULL   */
    const int *stop;
    int probe; /* write nothing: ask whether the codes would fit           */
} glmq_move_to;

/* One worker's buffers; reused from item to item. */
typedef struct glmq_mover glmq_mover;
glmq_mover *glmq_mover_new(const glmq_plan *p);
void glmq_mover_free(glmq_mover *m);

/* Carries item `i` out: writes its pieces, fills *done and the digests of its pieces
 * (`piece` has the item's `pieces` entries).  GLMQ_E_FORMAT: weights that are not finite;
 * GLMQ_E_INEXACT: --transcode=require, or a float that overflows F16. */
glmq_status glmq_move(glmq_mover *m, size_t i, const glmq_move_to *to, glmq_done *done,
                      glmq_digest *piece, glmq_error *err);

/* How would item `i` travel?  Reads, writes nothing; GLMQ_RECODE: `why` says why. */
glmq_status glmq_move_probe(glmq_mover *m, size_t i, char why[160], glmq_travel *travel,
                            glmq_error *err);

/* Memory an item needs while it moves, and what a run needs whatever it moves. */
uint64_t glmq_move_peak(const glmq_plan *p, const glmq_item *it);
uint64_t glmq_run_base_bytes(const glmq_plan *p);
#endif
