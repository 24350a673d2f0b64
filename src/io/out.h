/* Output files: preallocated, written at final offsets, made durable, renamed.
 * The only place that writes files.  Every system call goes through a shim that tests
 * can make fail (glmq_fail_alloc_at counts them too). */
#ifndef GLMQ_IO_OUT_H
#define GLMQ_IO_OUT_H

#include "glmq/error.h"
#include <stddef.h>
#include <stdint.h>

typedef struct glmq_out glmq_out; /* one open output file */

/* Opens (creates) a file below a folder for writing and reading back, and reserves
 * `bytes` on disk, so that a full disk shows here and not later.  An existing file is
 * kept and brought to that size (resume). */
glmq_status glmq_out_open(glmq_out **out, const char *path, uint64_t bytes, glmq_error *err);
/* From now on whole blocks go past the page cache (O_DIRECT), where the file system can; the
 * ends of a write that are no whole blocks do not.  Not being able to is no failure. */
glmq_status glmq_out_direct(glmq_out *f, glmq_error *err);
glmq_status glmq_out_write(glmq_out *f, uint64_t off, const void *data, size_t len,
                           glmq_error *err);
glmq_status glmq_out_read(glmq_out *f, uint64_t off, void *data, size_t len, glmq_error *err);
glmq_status glmq_out_sync(glmq_out *f, glmq_error *err); /* fdatasync */
/* A thread's turn to write: systems let one at a time into a file, and let the others spin.
 * 0: another has it, and `wait` was 0.  Writing without it is allowed. */
int glmq_out_take_turn(glmq_out *f, int wait);
void glmq_out_end_turn(glmq_out *f);
void glmq_out_close(glmq_out *f);

/* A whole small file: written, fsynced, in place of what was there. */
glmq_status glmq_out_file(const char *path, const void *data, size_t len, glmq_error *err);

glmq_status glmq_out_mkdir(const char *path, glmq_error *err); /* fine if it exists        */
glmq_status glmq_out_sync_dir(const char *path, glmq_error *err);
glmq_status glmq_out_rename(const char *from, const char *to, glmq_error *err);
/* Removes a folder and the plain files and folders in it; follows no links. */
glmq_status glmq_out_remove_tree(const char *path, glmq_error *err);
/* Likewise, the file `mark` in it after all else: what is left when the work is cut short can
 * still be told by it. */
glmq_status glmq_out_remove_marked(const char *path, const char *mark, glmq_error *err);
/* A second name for the same file; GLMQ_E_UNSUPPORTED where the two cannot be one (another
 * device, a file system without links, links not allowed to us). */
glmq_status glmq_out_link(const char *from, const char *to, glmq_error *err);
int glmq_out_exists(const char *path); /* any kind, links not followed */
/* Bytes free for us on the file system that would hold `path` (which need not exist). */
glmq_status glmq_out_space(const char *path, uint64_t *bytes, glmq_error *err);
/* Takes an exclusive lock on `path` (created); GLMQ_E_EXISTS when another process has it. */
glmq_status glmq_out_lock(const char *path, int *fd, glmq_error *err);
#endif
