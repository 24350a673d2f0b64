/* What the codec tests share: encodings by name, and tensors held in memory. */
#ifndef TESTS_CODEC_CASES_H
#define TESTS_CODEC_CASES_H

#include "base/safe.h"
#include "codecs/codec.h"
#include "codecs/transcode.h"
#include "support.h"

/* A tensor with all its slots. */
typedef struct tensor {
    glmq_encoding enc;
    glmq_layout layout;
    glmq_bufs bufs;
    uint64_t rows, cols;
} tensor;

static inline glmq_encoding int_encoding(const char *codec, int bits, uint32_t group, int zero_kind,
                                         glmq_dtype scale, int variant)
{
    return (glmq_encoding){
        .codec = glmq_codec_find(codec),
        .bits = (uint8_t)bits,
        .group = group,
        .group_rows = 1,
        .zero_kind = (uint8_t)zero_kind,
        .scale_dtype = (uint8_t)scale,
        .variant = (uint8_t)variant,
    };
}

static inline glmq_encoding array_encoding(const char *codec)
{
    for (int d = 1; d < GLMQ_DT_COUNT; d++) {
        const glmq_encoding e = glmq_encoding_of_dtype((glmq_dtype)d);
        if (e.codec && strcmp(e.codec->name, codec) == 0) return e;
    }
    fail_msg("no codec %s", codec);
    return (glmq_encoding){ 0 };
}

/* Every slot allocated and filled with a byte that no test expects. */
static inline tensor make_tensor(glmq_encoding e, uint64_t rows, uint64_t cols)
{
    tensor t = { .enc = e, .rows = rows, .cols = cols };
    glmq_error err;
    assert_non_null(e.codec);
    if (e.codec->layout(&e, rows, cols, &t.layout, &err)) fail_msg("%s", err.msg);
    for (int s = 0; s < GLMQ_SLOTS; s++) {
        if (t.layout.slot[s].dtype == GLMQ_DT_NONE) continue;
        t.bufs.buf[s] = malloc(t.layout.slot[s].bytes);
        assert_non_null(t.bufs.buf[s]);
        memset(t.bufs.buf[s], 0xa5, t.layout.slot[s].bytes);
    }
    return t;
}

static inline void free_tensor(tensor *t)
{
    for (int s = 0; s < GLMQ_SLOTS; s++) free(t->bufs.buf[s]);
}

static inline glmq_tile whole(const tensor *t)
{
    return (glmq_tile){ 0, t->rows, t->cols, t->rows };
}

/* All of a tensor, through its codes. */
static inline glmq_status transcode(const tensor *from, tensor *to, glmq_error *err)
{
    void *scratch = malloc(glmq_transcode_scratch(&from->enc, &to->enc, from->rows, from->cols));
    glmq_codes moved;
    glmq_status st;
    assert_non_null(scratch);
    st = glmq_transcode_tile(&from->enc, &from->bufs, &to->enc, &to->bufs, whole(from), whole(to),
                             scratch, &moved, err);
    free(scratch);
    return st;
}

static inline void encode_all(tensor *t, const float *w)
{
    t->enc.codec->encode(&t->enc, NULL, whole(t), w, &t->bufs);
}

static inline void decode_all(const tensor *t, float *w)
{
    t->enc.codec->decode(&t->enc, &t->bufs, whole(t), w);
}

static inline void assert_same_bytes(const tensor *a, const tensor *b)
{
    for (int s = 0; s < GLMQ_SLOTS; s++) {
        assert_int_equal(a->layout.slot[s].bytes, b->layout.slot[s].bytes);
        if (a->bufs.buf[s])
            assert_memory_equal(a->bufs.buf[s], b->bufs.buf[s], a->layout.slot[s].bytes);
    }
}

/* The codes view of rows [row, row + rows); free_codes() releases it. */
static inline glmq_codes make_codes(const tensor *t, uint64_t rows)
{
    const size_t groups = (size_t)rows * glmq_encoding_groups(&t->enc, t->cols);
    glmq_codes c = { 0 };
    c.q = malloc(rows * t->cols);
    c.scale = malloc(groups * sizeof *c.scale);
    c.zero = malloc(groups * sizeof *c.zero);
    c.offset = malloc(groups * sizeof *c.offset);
    assert_true(c.q && c.scale && c.zero && c.offset);
    return c;
}

static inline void free_codes(glmq_codes *c)
{
    free(c->q);
    free(c->scale);
    free(c->zero);
    free(c->offset);
}

static inline glmq_codes codes_of(const tensor *t)
{
    glmq_codes c = make_codes(t, t->rows);
    t->enc.codec->get_codes(&t->enc, &t->bufs, whole(t), &c);
    return c;
}

/* Weights of a fixed sequence, about -1..1 times `size`. */
static inline float *make_weights(uint64_t n, float size, uint32_t seed)
{
    float *w = malloc(n * sizeof *w);
    assert_non_null(w);
    for (uint64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        w[i] = ((float)(seed >> 8) / 8388608.0f - 1.0f) * size;
    }
    return w;
}
#endif
