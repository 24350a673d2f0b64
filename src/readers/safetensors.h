/* The header of one safetensors file. */
#ifndef GLMQ_READERS_SAFETENSORS_H
#define GLMQ_READERS_SAFETENSORS_H

#include "catalog.h"

typedef struct glmq_st_header {
    glmq_array *arrays; /* in the order of their offsets; names and dims are the header's */
    size_t count, capacity;
    glmq_meta *meta;
    size_t meta_count, meta_capacity;
    glmq_arena arena;
} glmq_st_header;

/* Reads and checks the header of a file.  Breaking any rule of the format is GLMQ_E_FORMAT.
 * Whatever the status, *h is to be freed. */
glmq_status glmq_st_header_read(glmq_st_header *h, const glmq_source *src, uint32_t file,
                                glmq_error *err);
void glmq_st_header_free(glmq_st_header *h);
#endif
