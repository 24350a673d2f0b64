/* Names of tensors, as data: one table per architecture serves reading and writing.
 *
 * A pattern is literal text with {L} (layer) and {E} (expert), decimal without leading
 * zeros.  A Hugging Face row names the module or parameter without ".weight" where it is
 * a weight ("model.layers.{L}.mlp.experts.{E}.gate_proj"), and in full where it is not
 * ("….q_proj.bias", "….mlp.gate.e_score_correction_bias"): `leaf` says which.  GGUF rows
 * are full array names ("blk.{L}.attn_q.weight"), so all of them are leaves. */
#ifndef GLMQ_MODELS_NAMES_H
#define GLMQ_MODELS_NAMES_H

#include "glmq/graph.h"
#include "hparams.h"

typedef enum glmq_ecosystem { NAMES_HF, NAMES_GGUF } glmq_ecosystem;

/* How one stored array becomes tensors. */
typedef enum glmq_split {
    SPLIT_NONE,
    SPLIT_EXPERTS,         /* [E, rows, cols]: one tensor per expert                  */
    SPLIT_EXPERTS_GATE_UP, /* [E, 2I, cols]: gate rows, then up rows, per expert      */
    SPLIT_QKV,             /* q, k, v rows one after the other                        */
    SPLIT_K_B,             /* kv_b's K half, transposed per head                      */
    SPLIT_V_B              /* kv_b's V half                                           */
} glmq_split;

typedef enum glmq_where {
    WHERE_TOP,   /* no layer                                                        */
    WHERE_LAYER, /* every layer, MTP included                                       */
    WHERE_MTP    /* MTP layers only                                                 */
} glmq_where;

typedef struct glmq_name_row {
    const char *pattern;
    glmq_ecosystem eco;
    glmq_role role;
    glmq_split split;
    glmq_where where;
    uint8_t leaf;  /* the pattern is a full array name, not a module               */
    uint8_t alias; /* read, never written                                          */
} glmq_name_row;

typedef struct glmq_name_match {
    const glmq_name_row *row;
    int32_t layer, expert;
} glmq_name_match;

/* A matcher made from an architecture's table (hashes the literal parts, so that
 * 60,000 names cost 60,000 lookups).  NULL when out of memory. */
typedef struct glmq_names glmq_names;
glmq_names *glmq_names_open(const glmq_arch *arch);
void glmq_names_close(glmq_names *n);

/* Matches an array or module name (`len` bytes).  For NAMES_HF give the module ("….q_proj")
 * or the full name of a leaf.  Returns 1 or 0. */
int glmq_names_match(const glmq_names *n, glmq_ecosystem eco, const char *name, size_t len,
                     glmq_name_match *out);

/* Does an array name, with whatever suffix its format adds ("….q_proj.weight_packed"),
 * belong to the model? */
int glmq_names_known(const glmq_names *n, const char *name, size_t len);

/* Why an array that is no weight is dropped ("rotary tables are computed"); NULL: it is not
 * one of those. */
const char *glmq_names_useless(const char *name, size_t len);

/* The name to write for a role, without ".weight" for modules; the logical name of a
 * tensor is the NAMES_HF one plus ".weight" (leaf: as it is).  Returns the length, 0 when
 * the ecosystem has no place for it.  `split` picks the row (K_B and V_B have the same
 * role). */
size_t glmq_names_print(const glmq_arch *arch, glmq_ecosystem eco, glmq_role role, glmq_split split,
                        int32_t layer, int32_t expert, char *out, size_t cap);
const glmq_name_row *glmq_names_row(const glmq_arch *arch, glmq_ecosystem eco, glmq_role role,
                                    glmq_split split);
#endif
