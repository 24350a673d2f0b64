/* The catalog: every stored array of a checkpoint by name, and its metadata.  Made by the
 * containers (safetensors.c, gguf.c); readers turn it into a graph. */
#ifndef GLMQ_READERS_CATALOG_H
#define GLMQ_READERS_CATALOG_H

#include "base/arena.h"
#include "base/json.h"
#include "base/strmap.h"
#include "codecs/dtype.h"
#include "glmq/graph.h"

typedef enum glmq_container { CONTAINER_SAFETENSORS, CONTAINER_GGUF } glmq_container;

typedef struct glmq_array {
    const char *name;       /* unescaped; may hold any bytes but NUL                    */
    const uint64_t *dims;   /* PyTorch order: outermost first                           */
    uint64_t offset, bytes; /* absolute in its file                                     */
    uint32_t file;          /* number in the source                                     */
    uint8_t dtype, rank;
} glmq_array;

/* One key of safetensors' __metadata__. */
typedef struct glmq_meta {
    const char *key, *value;
    uint32_t file;
} glmq_meta;

typedef struct glmq_catalog {
    glmq_arena arena;
    const glmq_source *source;
    glmq_container container;
    glmq_array *arrays; /* in the order of files and, within one, of offsets       */
    size_t count, capacity;
    glmq_strmap by_name; /* -> index                                                */
    uint32_t *shards;    /* files that hold arrays                                  */
    size_t shard_count;
    glmq_meta *meta; /* safetensors __metadata__, all shards                    */
    size_t meta_count;
    char *config_text; /* config.json as it is; NULL: none                        */
    size_t config_len;
    cJSON *config;          /* parsed; NULL: none                                      */
    cJSON *quant;           /* the quantization config: a reference into `config`, or  */
    int quant_owned;        /* a parsed side file when that has none (then owned)      */
    const char *quant_file; /* where `quant` came from                                 */
    struct glmq_gguf *gguf; /* key-values of a GGUF; NULL otherwise                    */
    glmq_problem *problems; /* found while opening; taken over by the graph            */
    size_t problem_count, problem_capacity;
    const struct glmq_catalog_options *options; /* while opening; then NULL              */
    struct glmq_graph *tolerant; /* while a reader works: takes note of modules that it  */
                                 /* cannot read; NULL: they are errors                   */
} glmq_catalog;

/* What the caller knows and the containers do not.  `known` says whether an array name
 * (with whatever suffix its format adds: "….q_proj.weight_packed") belongs to the model;
 * it decides about *.safetensors files that the index forgot.  NULL: names that start with
 * "model." or "lm_head" belong. */
typedef struct glmq_catalog_options {
    int (*known)(void *user, const char *name, size_t len);
    void *user;
    int allow_incomplete; /* a shard that is missing is a problem, not an error          */
} glmq_catalog_options;

/* Opens whatever containers the source holds (content decides, never the name).  `opt` may
 * be NULL.  A source without a container is GLMQ_E_FORMAT. */
glmq_status glmq_catalog_open(glmq_catalog **out, const glmq_source *src,
                              const glmq_catalog_options *opt, glmq_error *err);
void glmq_catalog_close(glmq_catalog *cat);

const glmq_array *glmq_catalog_find(const glmq_catalog *cat, const char *name, size_t len);
const char *glmq_catalog_text(const glmq_catalog *cat,
                              const char *config_path); /* string or NULL */
const char *glmq_catalog_meta(const glmq_catalog *cat, const char *key);
glmq_status glmq_catalog_note(glmq_catalog *cat, glmq_severity severity, const char *code,
                              const char *tensor, const char *file, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
/* Adds an array (name and dims are copied); a name seen before is GLMQ_E_FORMAT. */
glmq_status glmq_catalog_add(glmq_catalog *cat, const glmq_array *a, glmq_error *err);
/* A whole side file (config.json, tokenizer.json, …), terminated, at most GLMQ_HEADER_MAX
 * bytes; *out NULL when there is none.  The caller frees it (glmq_free). */
glmq_status glmq_catalog_side_file(const glmq_source *src, const char *name, char **out,
                                   size_t *len, glmq_error *err);

int glmq_ends_with(const char *s, const char *tail);

/* Is this *.safetensors file no shard, but one that the quantization claims (codebooks)? */
int glmq_catalog_has_role(const glmq_catalog *cat, const char *name);

/* ---- containers ---- */

/* Shards from the index and from the folder; files that are left over. */
glmq_status glmq_safetensors_open(glmq_catalog *cat, glmq_error *err);
/* All parts of a GGUF. */
glmq_status glmq_gguf_open(glmq_catalog *cat, glmq_error *err);
#endif
