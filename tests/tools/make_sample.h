/* What the two files of make_sample share. */
#ifndef MAKE_SAMPLE_H
#define MAKE_SAMPLE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <strings.h>

enum { GLM4_MOE, GLM4_MOE_LITE, GLM_MOE_DSA, ARCHS };

typedef struct model {
    uint64_t hidden, layers, dense_layers, mtp, experts, moe, dense, vocab;
    uint64_t heads, kv_heads, head_dim;          /* grouped-query attention */
    uint64_t q_lora, kv_lora, nope, rope, v_dim; /* latent attention        */
    uint64_t index_heads, index_dim;
    uint64_t shards, seed, bias;
    int arch, dtype, fill;
    const char *out;
} model;

extern const char *const arch_types[ARCHS], *const arch_classes[ARCHS];

void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));
FILE *create(const model *m, const char *name);
void finish(FILE *f);
int has_indexer(const model *m, int layer);

/* make_sample_side.c: the tokenizer and the small JSON files */
unsigned vocabulary(void);    /* tokens, added ones included         */
unsigned special_first(void); /* id of the first added token         */
unsigned special_id(const char *content);
void write_arch_config(const model *m, FILE *f);
void write_side_files(const model *m);
#endif
