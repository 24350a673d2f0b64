/* The plan's inside: what recipe.c and the writers fill, plan.c completes, run.c does. */
#ifndef GLMQ_CONVERT_PLAN_H
#define GLMQ_CONVERT_PLAN_H

#include "base/arena.h"
#include "base/strmap.h"
#include "base/text.h"
#include "codecs/codec.h"
#include "glmq/plan.h"
#include "models/graph.h"

struct glmq_writer;

enum { GLMQ_JOBS_MAX = 256 }; /* threads of a run */

enum { GIVEN_BITS, GIVEN_GROUP, GIVEN_ZERO };

/* --to, parsed. */
typedef struct glmq_target {
    const struct glmq_writer *writer;
    glmq_encoding enc;   /* what the writer's quantized tensors get; codec NULL: each
                                 tensor decides (gguf:auto, same)                       */
    int file_type;       /* GGUF: llama.cpp's ftype id; -1: auto                    */
    uint64_t split_size; /* GGUF split=; 0: one file                                */
    uint8_t scale_dtype; /* compressed-tensors scale=; NONE: as the source has it   */
    int rule_peer;       /* rule=peer                                               */
    unsigned given;      /* 1 << GIVEN_…: parameters that --to named; the others follow
                                 a quantized source                                      */
    char text[256];      /* as given, for the manifest                              */
} glmq_target;

/* What one tensor shall become. */
typedef enum glmq_want_kind { WANT_DEFAULT, WANT_KEEP, WANT_ENC } glmq_want_kind;
typedef struct glmq_want {
    glmq_want_kind kind;   /* before choose(): what the rules said                    */
    glmq_encoding enc;     /* after choose(): the encoding in the target              */
    int dropped;           /* MTP dropped, no place in the target, …                  */
    const char *reason;    /* why dropped, or why this encoding                       */
    const char *rule;      /* which rule chose it ("--set experts.*=q8_0", "default") */
    uint32_t input_scalar; /* bits of the activation scale to store; 0: the source's own  */
    int rescaled;          /* codes go under a global scale that is not their own         */
    int exact_scale;       /* the global scale that is turned over is a power of two      */
} glmq_want;

typedef enum glmq_file_kind { FILE_SAFETENSORS, FILE_GGUF } glmq_file_kind;

typedef struct glmq_plan_file {
    const char *name;
    glmq_file_kind kind;
    uint64_t bytes;  /* whole file                                              */
    uint8_t *header; /* everything before the data                              */
    uint64_t header_bytes;
} glmq_plan_file;

typedef struct glmq_plan_array {
    const char *name;
    glmq_dtype dtype;
    uint8_t rank;
    uint64_t dims[4]; /* PyTorch order                                           */
    uint32_t file;
    uint64_t offset, bytes; /* absolute in its file                                    */
} glmq_plan_array;

/* One tensor and everything it writes; one worker does it. */
typedef struct glmq_item {
    uint32_t tensor; /* in the graph                                            */
    uint8_t parts;
    glmq_part *part;    /* spans: file and array numbers of the plan               */
    glmq_travel travel; /* of the whole item: the worst of its parts               */
    const char *reason, *rule;
    uint64_t bytes; /* written                                                 */
    uint64_t peak;  /* memory while it is done                                 */
    uint32_t piece; /* the first of its pieces                                 */
    uint32_t pieces;
    const int32_t *row_perm; /* --unpermute: target row i is source row row_perm[i]     */
    const int32_t *col_perm; /* likewise for columns; NULL: none                        */
} glmq_item;

/* One slot of one part of an item: a byte range of an output file. */
typedef struct glmq_piece {
    uint64_t offset, bytes; /* absolute in its file                                    */
    uint32_t item, array, file;
    uint8_t part, slot;
} glmq_piece;

typedef struct glmq_plan_text {
    const char *name;
    const char *data;
    size_t len;
} glmq_plan_text;
typedef struct glmq_plan_copy {
    uint32_t file;
    const char *name;
    uint64_t bytes;
} glmq_plan_copy;
typedef struct glmq_narrowed {
    const char *name;
    const char *from, *to;
} glmq_narrowed;

#define GLMQ_LIST(type)                                                                            \
    struct {                                                                                       \
        type *at;                                                                                  \
        size_t count, capacity;                                                                    \
    }

struct glmq_plan {
    glmq_arena arena;
    const glmq_graph *graph;    /* what is converted: the source's, or its shadow          */
    const glmq_graph *original; /* as the source has it                                  */
    glmq_graph shadow;          /* --unpermute: the source without act-order of down_proj   */
    const int32_t **row_perm, **col_perm; /* --unpermute: per tensor, or NULL             */
    const glmq_recipe *recipe;
    glmq_target target;
    glmq_plan_options options;
    const char *dst;
    int dst_is_file; /* a single .gguf                                          */
    glmq_want *want; /* per graph tensor                                        */
    GLMQ_LIST(glmq_plan_file) files;
    GLMQ_LIST(glmq_plan_array) arrays;
    GLMQ_LIST(glmq_item) items;
    GLMQ_LIST(glmq_piece) pieces;     /* of all items: by item, part, slot               */
    GLMQ_LIST(glmq_plan_text) texts;  /* config.json, index, …                          */
    GLMQ_LIST(glmq_plan_copy) copies; /* side files carried as they are                 */
    GLMQ_LIST(glmq_dropped) dropped;
    GLMQ_LIST(glmq_narrowed) narrowed;
    int input_scales; /* the target has a place for the activation scales of its tensors   */
    uint64_t read_bytes, write_bytes, peak_bytes;
    glmq_strmap strings; /* reasons and rules, each kept once               */
    glmq_strmap names;   /* of everything that will lie in the target       */
    char digest[33];
};

/* For writers.  Strings and parts are copied into the arena.  Names of files are plain (no
 * folders) and given once; the run's own names are refused.  A carried side file that bears the
 * manifest's name is left out: the run writes its own.  Tensors whose want says `dropped` are
 * listed by plan.c: the writer only skips them. */
glmq_status glmq_plan_add_file(glmq_plan *p, const char *name, glmq_file_kind kind, uint32_t *file,
                               glmq_error *err);
glmq_status glmq_plan_add_array(glmq_plan *p, const glmq_plan_array *a, uint32_t *array,
                                glmq_error *err);
/* The item's parts name arrays in span[].array; file, offset and bytes of the spans follow
 * from the arrays once layout is done: span.offset is given relative to the array. */
glmq_status glmq_plan_add_item(glmq_plan *p, uint32_t tensor, const glmq_part *parts, uint8_t n,
                               glmq_error *err);
glmq_status glmq_plan_add_text(glmq_plan *p, const char *name, const char *data, size_t len,
                               glmq_error *err);
glmq_status glmq_plan_add_copy(glmq_plan *p, uint32_t source_file, const char *name,
                               glmq_error *err);
glmq_status glmq_plan_drop(glmq_plan *p, const char *name, const char *reason, glmq_error *err);
/* A string in the plan's arena, each text once; NULL when out of memory. */
const char *glmq_plan_intern(glmq_plan *p, const char *s);

/* For plan.c, once the writer has laid out its arrays: spans become absolute, pieces are
 * listed, and every array is found to be filled exactly. */
glmq_status glmq_plan_resolve(glmq_plan *p, glmq_error *err);
/* Settles every MAYBE_CODES item by reading its scales (settle.c). */
glmq_status glmq_plan_settle(glmq_plan *p, glmq_error *err);
/* --unpermute (unpermute.c): replaces the graph by its shadow and finds the orders. */
glmq_status glmq_plan_unpermute(glmq_plan *p, glmq_error *err);
/* Seconds the run would take, from a short measurement on this machine (estimate.c). */
GLMQ_API double glmq_plan_estimate(const glmq_plan *p);

/* recipe.c: what the rules say about a tensor (kind, enc and rule of *want). */
glmq_status glmq_recipe_apply(const glmq_recipe *r, const glmq_graph *g, const glmq_tensor *t,
                              glmq_want *want, glmq_error *err);
const glmq_target *glmq_recipe_target(const glmq_recipe *r);
/* A rule of the command line that could match nothing is GLMQ_E_ARG and names the nearest. */
glmq_status glmq_recipe_check(const glmq_recipe *r, const glmq_graph *g, glmq_error *err);
/* enc.c: one ENC of --set: "bf16", "q6_k", "gptq:bits=4,group=32", …  For writers too:
 * parses the comma-separated options of int formats.  What the text does not say is the
 * format's default; scale_dtype NONE: not said. */
glmq_status glmq_encoding_parse(const char *text, glmq_encoding *enc, glmq_error *err);
#endif
