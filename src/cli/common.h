/* What the three programs share: their common options, opening a checkpoint, messages,
 * signals. */
#ifndef GLMQ_CLI_COMMON_H
#define GLMQ_CLI_COMMON_H

#include "args.h"
#include "glmq/graph.h"

typedef enum glmq_progress_mode {
    PROGRESS_AUTO,
    PROGRESS_BAR,
    PROGRESS_JSON,
    PROGRESS_NONE
} glmq_progress_mode;

typedef struct glmq_common {
    const char *from;
    const char *vq_codebooks; /* NULL: VQ_CODEBOOKS_DIR of the environment */
    int jobs;                 /* 0: as many as processors */
    uint64_t memory;          /* 0: 2 GiB                 */
    int progress;             /* glmq_progress_mode       */
    int json, quiet, verbose;
} glmq_common;

/* Rows of the option table; `type` is the program's settings, with a glmq_common `common`. */
/* clang-format off */
#define GLMQ_COMMON_OPTIONS(type)                                                              \
    { "from", 0, "FORMAT", glmq_take_text, offsetof(type, common.from), NULL,                  \
      "read the source as FORMAT (default: by its content)" },                                 \
    { "jobs", 'j', "N", glmq_take_count, offsetof(type, common.jobs), NULL,                    \
      "threads (default: as many as processors)" },                                            \
    { "memory", 0, "SIZE", glmq_take_size, offsetof(type, common.memory), NULL,                \
      "cap on resident memory (default 2GiB)" },                                               \
    { "progress", 0, "WHEN", glmq_take_word, offsetof(type, common.progress),                  \
      "auto|bar|json|none", "auto, bar, json or none, on stderr" },                            \
    { "json", 0, NULL, glmq_take_flag, offsetof(type, common.json), NULL,                      \
      "print the result as JSON" },                                                            \
    { "quiet", 'q', NULL, glmq_take_flag, offsetof(type, common.quiet), NULL,                  \
      "only results and errors" },                                                             \
    { "verbose", 'v', NULL, glmq_take_more, offsetof(type, common.verbose), NULL,              \
      "say more" },                                                                            \
    { "vq-codebooks", 0, "DIR", glmq_take_text, offsetof(type, common.vq_codebooks), NULL,     \
      "codebooks that a VQ checkpoint left out (or VQ_CODEBOOKS_DIR)" },                       \
    { "list-formats", 0, NULL, glmq_take_formats, 0, NULL, "formats, and their options" },     \
    { "man", 0, NULL, glmq_take_man, 0, NULL, NULL },                                          \
    { "completion", 0, NULL, glmq_take_completion, 0, NULL, NULL },                            \
    { "help", 'h', NULL, glmq_take_help, 0, NULL, "this text" },                               \
    { "version", 0, NULL, glmq_take_version, 0, NULL, "the version" }
/* clang-format on */

/* A checkpoint, opened.  The source outlives the graph. */
typedef struct glmq_checkpoint {
    glmq_source *source;
    glmq_graph *graph;
} glmq_checkpoint;

/* What `allow_incomplete` may be; only --check wants to see what is broken. */
enum { GLMQ_OPEN_WHOLE, GLMQ_OPEN_INCOMPLETE, GLMQ_OPEN_BROKEN };

/* Opens `path`.  What the contract names but this version cannot read (URLs, archives) is
 * GLMQ_E_UNSUPPORTED.  Messages begin with the path. */
glmq_status glmq_checkpoint_open(glmq_checkpoint *c, const char *path, const char *from,
                                 const glmq_common *common, int allow_incomplete, glmq_error *err);
void glmq_checkpoint_close(glmq_checkpoint *c);

/* GLMQ_E_UNSUPPORTED where `format` ("nvfp4", "fp8:block=128"; may be NULL) is a word of the
 * contract that this version does not have. */
glmq_status glmq_refuse_later_format(const char *option, const char *format, glmq_error *err);

/* "glmq-convert: message" on stderr. */
void glmq_say(const glmq_program *p, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Ends a program: prints the error of a failed status, makes sure that stdout arrived.
 * Returns the exit status. */
int glmq_finish(const glmq_program *p, glmq_status st, const glmq_error *err);

/* A flag that SIGINT and SIGTERM set; a second signal kills.  SIGXFSZ is ignored, so that a
 * file size limit is an error code. */
const volatile int *glmq_catch_signals(void);

/* "note", "warning", "error". */
const char *glmq_severity_name(glmq_severity severity);

/* May this stream have colours?  (A terminal; NO_COLOR is not set.) */
int glmq_may_paint(FILE *f);
/* A terminal that can draw a line anew: a bar has no colour, NO_COLOR leaves it. */
int glmq_may_draw(FILE *f);
#endif
