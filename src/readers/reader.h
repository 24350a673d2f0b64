/* A reader turns a catalog into a graph.  It never decodes. */
#ifndef GLMQ_READERS_READER_H
#define GLMQ_READERS_READER_H

#include "catalog.h"
#include "models/graph.h"

typedef struct glmq_reader {
    const char *name, *about;
    glmq_container container;              /* the only one it is asked about  */
    int (*probe)(const glmq_catalog *cat); /* 0 not mine … 100 certain        */
    glmq_status (*open)(glmq_graph *g, const glmq_catalog *cat, glmq_error *err);
} glmq_reader;

#define X(symbol) extern const glmq_reader glmq_reader_##symbol;
#include "table.h"
#undef X

size_t glmq_reader_count(void);
const glmq_reader *glmq_reader_at(size_t i);
const glmq_reader *glmq_reader_find(const char *name);

/* ---- modules: arrays of a Hugging Face checkpoint grouped by parameter ---- */

typedef struct glmq_slot_name {
    const char *suffix; /* "qweight": the array is MODULE.qweight                        */
    uint8_t slot;
    uint8_t required; /* of a quantized module                                         */
} glmq_slot_name;

typedef struct glmq_module {
    const char *name; /* module path without the suffix (length name_len), or the   */
    size_t name_len;  /* full name of an array that is no slot                      */
    int quantized;    /* has slot arrays of the table                               */
    const glmq_array *slot[GLMQ_SLOTS]; /* NULL where absent                             */
    const glmq_array *plain;            /* MODULE.weight, or the array itself            */
} glmq_module;

/* Groups the catalog's arrays by module; calls `each` once per module in catalog order.
 * A module with both a plain weight and codes, or one that lacks a required slot, is
 * GLMQ_E_FORMAT naming the array. */
glmq_status glmq_modules_each(const glmq_catalog *cat, const glmq_slot_name *slots, size_t n,
                              glmq_status (*each)(void *user, const glmq_module *m,
                                                  glmq_error *err),
                              void *user, glmq_error *err);

/* The shape that the model gives a module ("….q_proj"): 1, or 0 when it does not know it. */
int glmq_hf_module_shape(const glmq_graph *g, const glmq_module *m, uint64_t *rows, uint64_t *cols);

/* The module's name, cut to what fits. */
void glmq_module_text(const glmq_module *m, char *text, size_t cap);
/* Is the module in a config's list of modules that stay as they are?  Entries are runs
 * of whole components of a name ("lm_head", "layers.0.mlp"). */
int glmq_module_listed(const glmq_module *m, const cJSON *list);

/* Does some array of the checkpoint end in ".suffix"?  `dtype` NONE: of whatever type. */
int glmq_catalog_has_suffix(const glmq_catalog *cat, const char *suffix, glmq_dtype dtype);

/* ---- arrays ---- */

/* Where an array lies, as a slot of a part. */
glmq_span glmq_hf_span(const glmq_catalog *cat, const glmq_array *a);
/* Its dimensions, "2, 3"; returns `text`. */
const char *glmq_array_shape(const glmq_array *a, char text[96]);
/* Drops an array, and notes why; `reason` is kept, not copied. */
glmq_status glmq_hf_drop(glmq_graph *g, const glmq_catalog *cat, const glmq_array *a,
                         glmq_severity severity, const char *reason, glmq_error *err);

/* What can be read off a Hugging Face array of plain numbers with this name, or why not:
 * GLMQ_E_UNSUPPORTED names the format that a companion suffix belongs to. */
glmq_status glmq_hf_refuse_companion(const glmq_array *a, glmq_error *err);

/* Adds a plain (unquantized) array to the graph by the name table: per-expert, fused 3-D,
 * everything.  Unknown names become role OTHER. */
glmq_status glmq_hf_add_plain(glmq_graph *g, const glmq_catalog *cat, const glmq_array *a,
                              glmq_error *err);
/* The same in a checkpoint whose codes have scales called `scale` beside them: here a weight of
 * codes is one whose scales are missing. */
glmq_status glmq_hf_add_unscaled(glmq_graph *g, const glmq_catalog *cat, const glmq_array *a,
                                 const char *scale, glmq_error *err);
/* Adds the experts that lie below each other in `all`, `per` rows for each tensor: of one kind,
 * or of each expert gate and then up, as the row of `m` says. */
glmq_status glmq_hf_add_stack(glmq_graph *g, const glmq_name_match *m, const glmq_part *all,
                              uint64_t experts, uint64_t per, glmq_error *err);
/* Adds a quantized module whose encoding and shape the reader has worked out. */
glmq_status glmq_hf_add_module(glmq_graph *g, const glmq_catalog *cat, const glmq_module *m,
                               const glmq_encoding *enc, uint64_t rows, uint64_t cols,
                               glmq_error *err);
#endif
