/* What the configuration of a VQ checkpoint says: tiers, and which module has which. */
#ifndef GLMQ_READERS_VQ_CONFIG_H
#define GLMQ_READERS_VQ_CONFIG_H

#include "catalog.h"
#include "codecs/vq.h"

/* One way of quantizing: so many bits a weight from such a codebook. */
typedef struct vq_tier {
    char bits[16];        /* per weight, in words: "1", "1.5"                           */
    uint32_t width;       /* d                                                          */
    uint32_t entries;     /* K                                                          */
    uint8_t code_bits;    /* of a code                                                  */
    const char *codebook; /* the array's name                                           */
} vq_tier;

enum { VQ_TIERS_MAX = 64 };

typedef struct vq_config {
    glmq_arena *arena;          /* for names that are made                                  */
    const cJSON *quant;         /* quantization_config; NULL: none                          */
    const cJSON *table;         /* its "vq", or config.json's (stacked experts); NULL: none */
    const char *file;           /* that `quant` or `table` came from, for messages          */
    const char *codebooks_file; /* NULL: not stated                                         */
    const char *codes_suffix, *scales_suffix; /* NULL: not stated                            */
    uint64_t norm_group;        /* columns per scale; 0: not stated                         */
    int turned;                 /* codes are stored [words, rows]                           */
    vq_tier tier[VQ_TIERS_MAX]; /* of the table, or the usual ones                          */
    size_t tiers;
    const cJSON **entry; /* of extra_config (or of the table's modules), numbered            */
    size_t entries;
    struct vq_pattern *pattern; /* keys that are regular expressions                          */
    size_t patterns;
    uint64_t steps;      /* that matching them took                                              */
    glmq_strmap by_name; /* -> number                                                        */
    glmq_strmap by_tail; /* what follows ".layers." -> number                                */
} vq_config;

/* GLMQ_E_FORMAT and GLMQ_E_UNSUPPORTED name the key.  Whatever the status, to be closed. */
glmq_status vq_config_open(vq_config *c, const glmq_catalog *cat, glmq_arena *arena,
                           glmq_error *err);
void vq_config_close(vq_config *c);

/* Is there a sign of VQ in the configuration? */
int vq_config_speaks(const glmq_catalog *cat);

/* The entry whose key is the module's path, or the same behind ".layers."; NULL: none is. */
const cJSON *vq_config_find(const vq_config *c, const char *name, size_t len);
/* The entry whose key is a regular expression that matches the whole path; NULL: none does. */
glmq_status vq_config_match(vq_config *c, const char *name, size_t len, const cJSON **out,
                            glmq_error *err);
/* Does an entry say that its module is vector-quantized? */
int vq_entry_is_marked(const vq_config *c, const cJSON *entry);

/* The tier of a marked module, its own parameters put in, and its columns per scale (0: not
 * stated anywhere; UINT64_MAX: the whole row). */
glmq_status vq_config_tier(const vq_config *c, const cJSON *entry, vq_tier *tier, uint64_t *group,
                           glmq_error *err);
/* Columns per scale of a module that nothing is said of. */
uint64_t vq_config_group(const vq_config *c, const cJSON *entry);
#endif
