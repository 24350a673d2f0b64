/* What glmq-inspect knows of a checkpoint without reading data: counted once, printed as a
 * screen or as JSON. */
#ifndef GLMQ_CLI_FACTS_H
#define GLMQ_CLI_FACTS_H

#include "models/graph.h"

enum { GLMQ_ENCODING_TEXT = 128 };

/* Tensors of one role in one encoding. */
typedef struct glmq_fact_row {
    glmq_role role;
    char encoding[GLMQ_ENCODING_TEXT];
    uint64_t tensors, parameters, bytes;
    double shared; /* bytes of tables outside of the tensors, as far as they fall to these  */
} glmq_fact_row;

typedef struct glmq_facts {
    const glmq_graph *graph;
    uint64_t tensors, parameters, bytes; /* of the weights; companions included in bytes,  */
                                         /* and shared tables, once                        */
    uint64_t mtp_layers;                 /* that are stored                                */
    uint64_t problems[3];                /* by glmq_severity                               */
    glmq_fact_row *rows;                 /* by role                                        */
    size_t count, capacity;
    uint64_t *shard_tensors; /* per file of the source                         */
} glmq_facts;

glmq_status glmq_facts_open(glmq_facts *f, const glmq_graph *g, glmq_error *err);
void glmq_facts_close(glmq_facts *f);

/* The encoding of a tensor, as printed ("q4_0", or "f32+q4_0" for one in two). */
void glmq_tensor_encoding_text(const glmq_tensor *t, char text[GLMQ_ENCODING_TEXT]);
uint64_t glmq_tensor_parameters(const glmq_tensor *t);
/* Bytes of tables that the tensor shares with others (codebooks), as far as they fall to it. */
double glmq_tensor_shared(const glmq_tensor *t);
double glmq_bits_per_weight(double bytes, uint64_t parameters);
/* The file that a tensor's codes lie in. */
const char *glmq_tensor_shard(const glmq_graph *g, const glmq_tensor *t);
#endif
