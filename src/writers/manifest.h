/* glmq-manifest.json: what became of every tensor, byte range and file.  The same run gives
 * the same bytes: there is no time and no machine in it. */
#ifndef GLMQ_WRITERS_MANIFEST_H
#define GLMQ_WRITERS_MANIFEST_H

#include "convert/journal.h"

#define GLMQ_MANIFEST_NAME "glmq-manifest.json"
/* Behind the head, which says what the whole run came to. */
#define GLMQ_MANIFEST_TENSORS "\"tensors\":["

/* Digests of the files: those with tensors, then texts, then copies, as the plan numbers
 * them (glmq_plan_file_name). */
glmq_status glmq_manifest_write(const char *path, const glmq_plan *p, const glmq_results *r,
                                const glmq_digest *file, glmq_error *err);

/* Digest of a file with tensors: its header, then its pieces' digests in file order. */
glmq_status glmq_manifest_file_digests(const glmq_plan *p, const glmq_results *r, glmq_digest *file,
                                       glmq_error *err);

/* Digests of the source's and the result's tensors as models. */
glmq_status glmq_manifest_model_digests(const glmq_plan *p, const glmq_results *r, char source[33],
                                        char result[33], glmq_error *err);
#endif
