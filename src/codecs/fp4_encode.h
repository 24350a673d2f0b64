/* Plain rules of the quantizers of four-bit floats, one group at a time: the scale's byte is
 * returned, q[] gets a code for each weight. */
#ifndef GLMQ_CODECS_FP4_ENCODE_H
#define GLMQ_CODECS_FP4_ENCODE_H

#include "fp4_map.h"

/* The global scale that a tool chooses for this largest weight (of all that share it). */
float fp4_modelopt_global(float amax);
float fp4_ct_global(float amax, int bf16);

typedef struct fp4_rule {
    uint8_t (*group)(const struct fp4_rule *, const float *w, uint8_t *q);
    float global;
    int bf16; /* llm-compressor calculates in the weights' own type */
} fp4_rule;

uint8_t fp4_group_modelopt(const fp4_rule *r, const float *w, uint8_t *q); /* 16 weights */
uint8_t fp4_group_ct(const fp4_rule *r, const float *w, uint8_t *q);       /* 16         */
uint8_t fp4_group_ct_mx(const fp4_rule *r, const float *w, uint8_t *q);    /* 32         */
uint8_t fp4_group_ggml(const fp4_rule *r, const float *w, uint8_t *q);     /* 16         */
uint8_t fp4_group_ggml_mx(const fp4_rule *r, const float *w, uint8_t *q);  /* 32         */

void fp4_map_encode(const fp4_map *m, const fp4_rule *rule, glmq_tile t, const float *w);
#endif
