/* A writer plans the files of one ecosystem.  It never touches the disk. */
#ifndef GLMQ_WRITERS_WRITER_H
#define GLMQ_WRITERS_WRITER_H

#include "convert/plan.h"
#include "models/graph.h"

typedef struct glmq_writer {
    const char *name, *about, *options; /* options: one line for --list-formats          */
    /* Parses what follows "name:" of --to and fills the target's defaults. */
    glmq_status (*target)(glmq_target *t, const char *options, glmq_error *err);
    /* Turns "--set GLOB=ENC"'s ENC into an encoding request; NULL: the common parser. */
    /* Chooses the encoding of one tensor (after the rules spoke): fills want->enc. */
    glmq_status (*choose)(const glmq_target *t, const glmq_graph *g, const glmq_tensor *tensor,
                          glmq_want *want, glmq_error *err);
    /* Refuses what the ecosystem cannot express, before anything is planned. */
    glmq_status (*fit)(const glmq_plan *p, glmq_error *err);
    /* Adds files, arrays, items, texts and copies to the plan. */
    glmq_status (*plan)(glmq_plan *p, glmq_error *err);
} glmq_writer;

#define X(symbol) extern const glmq_writer glmq_writer_##symbol;
#include "table.h"
#undef X

size_t glmq_writer_count(void);
const glmq_writer *glmq_writer_at(size_t i);
const glmq_writer *glmq_writer_find(const char *name);
#endif
