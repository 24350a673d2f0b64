/* What the files of the GGUF writer share: gguf.c (the plan), gguf_types.c (which type a
 * tensor gets), gguf_meta.c (metadata), gguf_layout.c (bytes of headers, offsets). */
#ifndef GLMQ_WRITERS_GGUF_OUT_H
#define GLMQ_WRITERS_GGUF_OUT_H

#include "convert/plan.h"
#include "readers/catalog.h"
#include "writers/layout.h"

/* The element of an array of strings: u64 length and bytes. */
void glmq_gguf_add_string(glmq_gguf_kv *kv, const char *s, size_t len);

/* ---- gguf_types.c ---- */

/* --to gguf:…, and the choice for a tensor: see writer.h. */
glmq_status glmq_gguf_target(glmq_target *t, const char *options, glmq_error *err);
glmq_status glmq_gguf_choose(const glmq_target *t, const glmq_graph *g, const glmq_tensor *x,
                             glmq_want *want, glmq_error *err);

/* kv_b is stored as two arrays or as one, each with a type of its own; every other tensor is
 * a whole. */
typedef enum glmq_gguf_half { GGUF_WHOLE, GGUF_V_B, GGUF_K_B } glmq_gguf_half;
glmq_status glmq_gguf_choose_half(const glmq_target *t, const glmq_graph *g, const glmq_tensor *x,
                                  glmq_gguf_half half, glmq_want *want, glmq_error *err);

/* The type that can stand for both, where one stack needs a single type. */
glmq_dtype glmq_gguf_wider(glmq_dtype a, glmq_dtype b);
/* llama.cpp's file type of a model that is mostly of this type. */
int glmq_gguf_file_type(glmq_dtype dtype);

/* ---- gguf_meta.c ---- */

/* All metadata of the single file or the first part, once the plan's arrays are there.
 * `keep`: see glmq_hparams_to_gguf. */
glmq_status glmq_gguf_metadata(glmq_plan *p, int keep, glmq_gguf_kv *kv, glmq_error *err);
#endif
