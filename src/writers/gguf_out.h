/* What the files of the GGUF writer share: gguf.c (the plan), gguf_types.c (which type a
 * tensor gets), gguf_meta.c (metadata), gguf_layout.c (bytes of headers, offsets). */
#ifndef GLMQ_WRITERS_GGUF_OUT_H
#define GLMQ_WRITERS_GGUF_OUT_H

#include "writers/layout.h"

/* The element of an array of strings: u64 length and bytes. */
void glmq_gguf_add_string(glmq_gguf_kv *kv, const char *s, size_t len);

/* ---- gguf_types.c ---- */

/* --to gguf:…  (writer.h: target and choose). */
glmq_status glmq_gguf_target(glmq_target *t, const char *options, glmq_error *err);
glmq_status glmq_gguf_choose(const glmq_target *t, const glmq_graph *g, const glmq_tensor *tensor,
                             glmq_want *want, glmq_error *err);
/* What attn_k_b gets, whose rows run along the head's K dimension: `cut` is its cut. */
glmq_status glmq_gguf_choose_k_b(const glmq_target *t, const glmq_graph *g,
                                 const glmq_tensor *tensor, const glmq_cut *cut, glmq_want *want,
                                 glmq_error *err);
/* The type that can stand for both, where one stack needs a single type. */
glmq_dtype glmq_gguf_wider(glmq_dtype a, glmq_dtype b);

/* ---- gguf_meta.c ---- */

/* All metadata of the plan's single file or first part. */
glmq_status glmq_gguf_metadata(glmq_plan *p, int keep_mtp, glmq_gguf_kv *kv, glmq_error *err);
#endif
