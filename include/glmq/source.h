/* A source is a checkpoint's bytes: a folder or a single file, opened
 * read-only.  It knows names and sizes, nothing about tensors (see graph.h).
 *
 * A folder's files are those directly in it (no sub-folders).  A single .gguf
 * part of a split model brings its siblings.  Nothing is mapped: a file that
 * shrinks or changes under us is an error code, never a signal.
 *
 * Threads: after glmq_source_open() returns, every function taking a const
 * source may be called from any number of threads at once. */
#ifndef GLMQ_SOURCE_H
#define GLMQ_SOURCE_H

#include "error.h"
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct glmq_source glmq_source;

typedef struct glmq_source_options {
    const char *scratch;    /* where compressed members go; NULL: next to the archive */
    uint64_t scratch_limit; /* bytes; 0: the free space less 5 % */
} glmq_source_options;

/* Opens `path`.  `opt` may be NULL.  On success *out is the caller's, to be given
 * to glmq_source_close(); on failure *out is NULL.  A path that does not exist is
 * GLMQ_E_IO. */
GLMQ_API glmq_status glmq_source_open(glmq_source **out, const char *path,
                                      const glmq_source_options *opt, glmq_error *err);
GLMQ_API void glmq_source_close(glmq_source *src);

/* The path as given; whether it is one file (or the parts of one split file). */
GLMQ_API const char *glmq_source_path(const glmq_source *src);
GLMQ_API int glmq_source_is_file(const glmq_source *src);

/* Files are numbered 0..count-1 in byte order of their names.  The strings live
 * as long as the source.  `stamp` is the modification time in nanoseconds. */
GLMQ_API size_t glmq_source_count(const glmq_source *src);
GLMQ_API const char *glmq_source_name(const glmq_source *src, size_t file);
GLMQ_API uint64_t glmq_source_size(const glmq_source *src, size_t file);
GLMQ_API int64_t glmq_source_stamp(const glmq_source *src, size_t file);

/* The number of the file called `name`, or -1. */
GLMQ_API long glmq_source_find(const glmq_source *src, const char *name);

/* Reads exactly `len` bytes at `off`.  A range outside the file as it was opened is
 * GLMQ_E_FORMAT (the input lied about itself), a short read is GLMQ_E_IO (the file
 * shrank since). */
GLMQ_API glmq_status glmq_source_read(const glmq_source *src, size_t file, uint64_t off, void *dst,
                                      size_t len, glmq_error *err);

/* Tells the system that a range will be read soon.  Never fails. */
GLMQ_API void glmq_source_prefetch(const glmq_source *src, size_t file, uint64_t off, uint64_t len);

/* GLMQ_E_IO when a file's size or modification time is no longer what it was. */
GLMQ_API glmq_status glmq_source_unchanged(const glmq_source *src, glmq_error *err);

#ifdef __cplusplus
}
#endif
#endif
