/* The tensor graph: what a checkpoint means.
 *
 * An *array* is what a file stores ("….qweight"); a *tensor* is what the model
 * means ("layer 3, expert 17, gate").  Several arrays make one tensor (GPTQ), one
 * array holds many tensors (GGUF ffn_gate_exps).  Every tensor has the name, role
 * and [rows, cols] shape of the published BF16 model, whatever the file stores.
 *
 * A graph is frozen once opened: any number of threads may read it.  All memory is
 * one arena; every pointer lives until glmq_graph_close(). */
#ifndef GLMQ_GRAPH_H
#define GLMQ_GRAPH_H

#include "encoding.h"
#include "source.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct glmq_graph glmq_graph;

/* Roles.  X(enum, name, class): the names are those of the command line. */
/* clang-format off */
#define GLMQ_ROLES(X)                                                  \
    X(EMBED, "embed", TABLE)                                           \
    X(NORM, "norm", NORM)                                              \
    X(LM_HEAD, "lm_head", TABLE)                                       \
    X(ATTN_NORM, "attention.norm", NORM)                               \
    X(FFN_NORM, "ffn.norm", NORM)                                      \
    X(ATTN_Q, "attention.q", LINEAR)                                   \
    X(ATTN_K, "attention.k", LINEAR)                                   \
    X(ATTN_V, "attention.v", LINEAR)                                   \
    X(ATTN_O, "attention.o", LINEAR)                                   \
    X(ATTN_Q_BIAS, "attention.q_bias", BIAS)                           \
    X(ATTN_K_BIAS, "attention.k_bias", BIAS)                           \
    X(ATTN_V_BIAS, "attention.v_bias", BIAS)                           \
    X(ATTN_O_BIAS, "attention.o_bias", BIAS)                           \
    X(ATTN_Q_NORM, "attention.q_norm", NORM)                           \
    X(ATTN_K_NORM, "attention.k_norm", NORM)                           \
    X(ATTN_Q_A, "attention.q_a", LINEAR)                               \
    X(ATTN_Q_A_BIAS, "attention.q_a_bias", BIAS)                       \
    X(ATTN_Q_A_NORM, "attention.q_a_norm", NORM)                       \
    X(ATTN_Q_B, "attention.q_b", LINEAR)                               \
    X(ATTN_KV_A, "attention.kv_a", LINEAR)                             \
    X(ATTN_KV_A_BIAS, "attention.kv_a_bias", BIAS)                     \
    X(ATTN_KV_A_NORM, "attention.kv_a_norm", NORM)                     \
    X(ATTN_KV_B, "attention.kv_b", LINEAR)                             \
    X(ATTN_K_SCALE, "attention.k_scale", SCALE)                        \
    X(ATTN_V_SCALE, "attention.v_scale", SCALE)                        \
    X(INDEXER_Q_B, "indexer.q_b", LINEAR)                              \
    X(INDEXER_K, "indexer.k", LINEAR)                                  \
    X(INDEXER_K_NORM, "indexer.k_norm", NORM)                          \
    X(INDEXER_K_NORM_BIAS, "indexer.k_norm_bias", BIAS)                \
    X(INDEXER_WEIGHTS, "indexer.weights", ROUTER)                      \
    X(MLP_GATE, "mlp.gate", LINEAR)                                    \
    X(MLP_UP, "mlp.up", LINEAR)                                        \
    X(MLP_DOWN, "mlp.down", LINEAR)                                    \
    X(ROUTER, "router", ROUTER)                                        \
    X(ROUTER_BIAS, "router.bias", ROUTER_BIAS)                         \
    X(EXPERTS_GATE, "experts.gate", EXPERT)                            \
    X(EXPERTS_UP, "experts.up", EXPERT)                                \
    X(EXPERTS_DOWN, "experts.down", EXPERT)                            \
    X(SHARED_GATE, "shared.gate", LINEAR)                              \
    X(SHARED_UP, "shared.up", LINEAR)                                  \
    X(SHARED_DOWN, "shared.down", LINEAR)                              \
    X(MTP_ENORM, "mtp.enorm", NORM)                                    \
    X(MTP_HNORM, "mtp.hnorm", NORM)                                    \
    X(MTP_EH_PROJ, "mtp.eh_proj", PROJECTION)                          \
    X(MTP_NORM, "mtp.norm", NORM)                                      \
    X(MTP_EMBED, "mtp.embed", TABLE)                                   \
    X(MTP_HEAD, "mtp.head", TABLE)                                     \
    X(CODEBOOK, "codebook", SCALE)                                     \
    X(OTHER, "other", OTHER)
/* clang-format on */

typedef enum glmq_role {
#define X(e, name, class) GLMQ_ROLE_##e,
    GLMQ_ROLES(X)
#undef X
        GLMQ_ROLE_COUNT
} glmq_role;

GLMQ_API const char *glmq_role_name(glmq_role role);

/* Which rows of a tensor a stored matrix holds, and which way round.  The tensor's
 * rows are `heads` stripes of `stride` rows; the stored matrix has `count` rows of
 * each stripe, from row `first` on: [heads * count, cols].  Transposed, it stores
 * each stripe's [count, cols] block as [cols, count]: [heads * cols, count].
 * The plain case is { 1, rows, 0, rows, 0 }: the tensor itself. */
typedef struct glmq_cut {
    uint64_t heads, stride, first, count;
    int transposed;
} glmq_cut;

/* Where a slot's bytes lie. */
typedef struct glmq_span {
    uint64_t offset, bytes; /* bytes 0: the slot is not stored                   */
    uint32_t file;
    uint32_t array; /* number of the stored array (catalog or plan)      */
} glmq_span;

/* A stored matrix: `rows` x `cols` as its codec sees it. */
typedef struct glmq_part {
    glmq_encoding enc;
    uint64_t rows, cols;
    glmq_cut cut;
    glmq_span span[GLMQ_SLOTS];
} glmq_part;

enum { GLMQ_PARTS_MAX = 2 }; /* kv_b out of a GGUF: k_b transposed, v_b */

typedef struct glmq_tensor {
    const char *name; /* logical: the published Hugging Face per-expert name   */
    glmq_role role;
    int32_t layer, expert; /* -1 where it does not apply                           */
    uint8_t rank;          /* of the logical shape: 1 or 2                         */
    uint8_t mtp;           /* belongs to a multi-token-prediction layer            */
    uint8_t parts;
    uint64_t rows, cols; /* logical; a vector of n is 1 x n with rank 1          */
    glmq_part *part;     /* `parts` of them                                      */
} glmq_tensor;

typedef enum glmq_severity { GLMQ_NOTE, GLMQ_WARNING, GLMQ_ERROR } glmq_severity;

/* Something found wrong or noteworthy.  `code` is a stable kebab-case word. */
typedef struct glmq_problem {
    glmq_severity severity;
    const char *code, *tensor, *file, *message; /* tensor, file: NULL where none  */
} glmq_problem;

/* A stored array that is no tensor's slot, and why it is not carried. */
typedef struct glmq_dropped {
    const char *name, *reason;
} glmq_dropped;

typedef struct glmq_graph_options {
    const char *from;         /* reader to use, NULL: detect                       */
    int allow_incomplete;     /* missing tensors are a problem, not an error       */
    const char *vq_codebooks; /* folder with codebooks that a VQ checkpoint lacks; */
                              /* NULL: none.  Read while the graph is opened only   */
    int tolerate;             /* with allow_incomplete: stored tensors that cannot be   */
                              /* read are problems, too, and left out                   */
} glmq_graph_options;

/* Opens `src` and builds its graph.  `src` must outlive the graph. */
GLMQ_API glmq_status glmq_graph_open(glmq_graph **out, const glmq_source *src,
                                     const glmq_graph_options *opt, glmq_error *err);
GLMQ_API void glmq_graph_close(glmq_graph *g);

GLMQ_API const glmq_source *glmq_graph_source(const glmq_graph *g);
GLMQ_API const char *glmq_graph_format(const glmq_graph *g);       /* the reader's name     */
GLMQ_API const char *glmq_graph_architecture(const glmq_graph *g); /* "Glm4MoeForCausalLM"  */
GLMQ_API const char *glmq_graph_model_type(const glmq_graph *g);   /* "glm4_moe"            */

/* Tensors come in a fixed order: by layer (layerless first), role, expert. */
GLMQ_API size_t glmq_graph_count(const glmq_graph *g);
GLMQ_API const glmq_tensor *glmq_graph_tensor(const glmq_graph *g, size_t i);
GLMQ_API const glmq_tensor *glmq_graph_find(const glmq_graph *g, const char *name);

GLMQ_API size_t glmq_graph_problem_count(const glmq_graph *g);
GLMQ_API const glmq_problem *glmq_graph_problem(const glmq_graph *g, size_t i);
GLMQ_API size_t glmq_graph_dropped_count(const glmq_graph *g);
GLMQ_API const glmq_dropped *glmq_graph_dropped(const glmq_graph *g, size_t i);

/* Bytes that a tensor takes in its files, companions included. */
GLMQ_API uint64_t glmq_tensor_bytes(const glmq_tensor *t);

/* Decodes rows [row, row + rows) to canonical F32 values, row-major.  May be called
 * from any number of threads.  Data that a codec's check refuses is GLMQ_E_FORMAT. */
GLMQ_API glmq_status glmq_tensor_decode(const glmq_graph *g, const glmq_tensor *t, uint64_t row,
                                        uint64_t rows, float *out, glmq_error *err);

/* XXH3-128 of a tensor's canonical values, as 32 lowercase hex digits and a NUL. */
GLMQ_API glmq_status glmq_tensor_digest(const glmq_graph *g, const glmq_tensor *t, char hex[33],
                                        glmq_error *err);

#ifdef __cplusplus
}
#endif
#endif
