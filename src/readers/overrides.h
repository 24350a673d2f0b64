/* What a GPTQ or AutoRound config says of single modules, in its several ways:
 *
 *   dynamic                       GPTQModel: "+:PATTERN" or "-:PATTERN", the first that matches
 *   extra_config                  AutoRound: names, and patterns that are searched for
 *   modules_in_block_to_quantize  optimum: pieces of names; the others stay plain
 *   modules_to_not_convert        transformers: pieces of names that stay plain */
#ifndef GLMQ_READERS_OVERRIDES_H
#define GLMQ_READERS_OVERRIDES_H

#include "reader.h"

typedef struct glmq_overrides glmq_overrides;

typedef struct glmq_override {
    const char *key; /* what said so; NULL: nothing does           */
    uint64_t bits;   /* 0: not said                                */
    int64_t group;   /* -1: the whole row; 0: not said             */
    int sym;         /* 1, 0; -1: not said                         */
    int plain;       /* not quantized                              */
    int searched;    /* by a pattern that is found anywhere        */
} glmq_override;

/* `q`: the quantization config, which outlives it; may be NULL. */
glmq_status glmq_overrides_open(glmq_overrides **out, const glmq_catalog *cat, const cJSON *q,
                                glmq_error *err);
void glmq_overrides_close(glmq_overrides *o);

/* What is said of a module.  Errors are those of its patterns (patterns.h). */
glmq_status glmq_overrides_of(glmq_overrides *o, const glmq_module *m, glmq_override *out,
                              glmq_error *err);
/* Does any entry say that some modules are asymmetric? */
int glmq_overrides_asym(const glmq_overrides *o);

/* The numbers of an entry, or of the whole config, under any of their names. */
void glmq_override_read(const cJSON *entry, glmq_override *out);
/* Is this quant_method AutoRound's?  (It packs as GPTQ, or as AWQ.) */
int glmq_is_auto_round(const char *method);
#endif
