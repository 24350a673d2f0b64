/* The graph's inside: what readers build and writers read.  Public face: glmq/graph.h. */
#ifndef GLMQ_MODELS_GRAPH_H
#define GLMQ_MODELS_GRAPH_H

#include "base/arena.h"
#include "base/strmap.h"
#include "codecs/codec.h"
#include "glmq/graph.h"
#include "hparams.h"
#include "names.h"

struct glmq_catalog;

typedef enum glmq_array_fate { FATE_UNKNOWN, FATE_USED, FATE_DROPPED } glmq_array_fate;

struct glmq_graph {
    glmq_arena arena;
    const glmq_source *source;
    struct glmq_catalog *catalog; /* owned                                              */
    const struct glmq_reader *reader;
    glmq_hparams *hp;  /* NULL for loose files without a config              */
    glmq_names *names; /* NULL likewise                                      */
    glmq_tensor *tensors;
    size_t count, capacity;
    glmq_strmap by_name;
    uint8_t *fate;              /* glmq_array_fate per catalog array                  */
    const char **fate_reason;   /* why dropped                                        */
    uint8_t source_scale_dtype; /* dtype the scales had before a format narrowed or   */
                                /* widened them without loss (metadata key
                                     "glmq.scale_dtype"); NONE where unknown            */
    char tables[33];            /* digest of shared tables (codebooks); "": none      */
    int quantized;              /* some tensor is not plain                           */
    glmq_problem *problems;
    size_t problem_count, problem_capacity;
    glmq_dropped *dropped;
    size_t dropped_count;
    size_t used_count; /* arrays that are slots; with dropped_count: all     */
    int allow_incomplete, tolerate;
    glmq_strmap unreadable;   /* names of tensors that were left out                 */
    const char *vq_codebooks; /* of the options, while opening; then NULL                */
};

/* For readers.  Adds one stored matrix of a tensor.  `name_row`/`layer`/`expert` say which
 * tensor; `part` brings encoding, rows, cols, cut and spans.  A second part of the same
 * tensor (k_b and v_b) joins the first; the same part twice is GLMQ_E_FORMAT.  Marks the
 * arrays of the spans as used. */
glmq_status glmq_graph_add(glmq_graph *g, glmq_role role, int32_t layer, int32_t expert,
                           uint8_t rank, const glmq_part *part, glmq_error *err);
/* A tensor the table does not know, under its own name (role OTHER). */
glmq_status glmq_graph_add_other(glmq_graph *g, const char *name, uint8_t rank,
                                 const glmq_part *part, glmq_error *err);
/* Keeps rows [row, row + rows) of a part whose slots hold more: moves its spans.
 * GLMQ_E_UNSUPPORTED when a slot cannot be cut there. */
glmq_status glmq_part_slice(glmq_part *part, uint64_t row, uint64_t rows, glmq_error *err);

/* An array that is no tensor's slot: `reason` is kept, not copied. */
void glmq_graph_drop(glmq_graph *g, size_t array, const char *reason);
/* A stored tensor that cannot be read, `st` and *err say why: becomes an error "bad-tensor" or
 * "missing-companion" among the problems.  Returns what is no fault of the file. */
glmq_status glmq_graph_leave_out(glmq_graph *g, const char *name, const char *file, glmq_status st,
                                 glmq_error *err);
/* Notes a problem; tensor, file and the message are copied. */
glmq_status glmq_graph_note(glmq_graph *g, glmq_severity severity, const char *code,
                            const char *tensor, const char *file, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

/* After all tensors were added: sorts, checks conservation (every array used or dropped
 * with a reason), completeness against the hyper-parameters, shapes.  Missing tensors are
 * GLMQ_E_FORMAT, or problems "missing-tensor" when allow_incomplete.  A whole MTP layer
 * that is absent is a warning "mtp-absent". */
glmq_status glmq_graph_finish(glmq_graph *g, glmq_error *err);

/* The number of a tensor by what it is (the graph is sorted by layer, role, expert); the count
 * of tensors: there is none. */
size_t glmq_graph_find_role(const glmq_graph *g, int32_t layer, glmq_role role, int32_t expert);

/* The files that hold a tensor, each once: "a.safetensors, b.safetensors". */
void glmq_tensor_files(const glmq_graph *g, const glmq_tensor *t, char *text, size_t cap);

/* Shape of a role under these hyper-parameters; 0 when the model has no such tensor. */
int glmq_role_shape(const glmq_hparams *h, glmq_role role, uint8_t *rank, uint64_t *rows,
                    uint64_t *cols);
#endif
