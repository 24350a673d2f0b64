/* The destination: DST.partial while a run goes on, DST after its commit. */
#ifndef GLMQ_CONVERT_PLACE_H
#define GLMQ_CONVERT_PLACE_H

#include "convert/journal.h"
#include "glmq/run.h"
#include "io/out.h"

typedef struct glmq_place {
    const glmq_plan *plan;
    char *partial;   /* DST.partial                                               */
    int lock;        /* held while the run goes on; -1: not held                  */
    int resumed;     /* there is a journal to go on from                          */
    glmq_out **file; /* one per file of the plan; NULL: linked to the source's own */
    uint8_t *linked;
    int finished;          /* DST is the result of this plan: there is nothing to resume */
    glmq_run_result found; /* … and what became of it                                    */
} glmq_place;

/* Checks DST against SRC and what exists, then makes or takes over DST.partial, locked.
 * GLMQ_E_ARG: the two overlap; GLMQ_E_EXISTS: something is there that was not to be touched;
 * GLMQ_E_IO: the disk is too full. */
glmq_status glmq_place_open(glmq_place *d, const glmq_plan *p, const glmq_run_options *opt,
                            glmq_error *err);
/* Opens every output file at its full size.  A fresh run's folder goes where that fails. */
glmq_status glmq_place_files(glmq_place *d, const glmq_run_options *opt, glmq_error *err);
/* Headers, texts, side files, the manifest; everything durable; the one rename. */
glmq_status glmq_place_commit(glmq_place *d, const glmq_run_options *opt, const glmq_results *r,
                              glmq_error *err);
/* Removes DST.partial of a fresh run that would fail again in the same way.  Of one that goes
 * on from an earlier run nothing is removed. */
void glmq_place_abandon(glmq_place *d);
/* Lets go of what is held.  DST.partial stays. */
void glmq_place_close(glmq_place *d);

/* PARTIAL/NAME; the caller frees it; NULL when out of memory. */
char *glmq_place_path(const glmq_place *d, const char *name);
#endif
