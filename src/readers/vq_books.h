/* Where the codebooks of a VQ checkpoint are. */
#ifndef GLMQ_READERS_VQ_BOOKS_H
#define GLMQ_READERS_VQ_BOOKS_H

#include "reader.h"
#include "vq_config.h"

/* A codebook that was found, finite and of the tier's size. */
typedef struct vq_found {
    const vq_tier *tier;
    const char *file, *array;  /* where, for messages                                */
    const float *values;       /* the graph's                                        */
    uint64_t bytes;            /* as stored                                          */
    uint8_t in_shard, outside; /* an array of a shard; not in the checkpoint's folder */
} vq_found;

typedef struct vq_books {
    glmq_graph *g;
    const glmq_catalog *cat;
    const vq_config *config;
    glmq_source *folder; /* the one of --vq-codebooks, once it is needed                */
} vq_books;

enum { VQ_FOUND_MAX = 8 };

/* Looks for a tier's codebook: in the file that the config names, in vq_codebooks.safetensors,
 * in the shards, in the folder given.  The first of these places that has it ends the search.
 * *count: 0 where nothing is; more than 1 where a place has several of the right size and none
 * of the right name.  A codebook of the right name and another size is GLMQ_E_FORMAT. */
glmq_status vq_books_find(vq_books *b, const vq_tier *tier, vq_found found[VQ_FOUND_MAX],
                          size_t *count, glmq_error *err);
void vq_books_close(vq_books *b);

/* Is this array of a shard a codebook, by its name? */
int vq_is_book(const vq_config *c, const glmq_array *a);
/* The file that the config names for codebooks, unless it is the usual one; else NULL. */
const char *vq_books_other_file(const vq_config *c);
/* The name of the .pt file in which a tier's codebook is expected. */
void vq_pt_name(const vq_tier *tier, char *text, size_t cap);
#endif
