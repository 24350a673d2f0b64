/* The simple GGUF block types, 32 weights a block: layouts in *_block.h.  Rows are whole
 * numbers of blocks, blocks and rows adjacent.
 *
 * In the codes view the x_0 types are symmetric and the x_1 types have real offsets. */
#include "base/error.h"
#include "base/safe.h"
#include "block.h"
#include "ints.h"
#include "q4_0_block.h"
#include "q4_1_block.h"
#include "q5_0_block.h"
#include "q5_1_block.h"
#include "q8_0_block.h"

typedef struct block_type {
    const char *name;
    block_kind kind;
    glmq_dtype dtype;
    uint8_t bits, has_offset;
    uint16_t bytes;
} block_type;

static glmq_status block_layout(const block_type *b, uint64_t rows, uint64_t cols, glmq_layout *out,
                                glmq_error *err)
{
    *out = (glmq_layout){ .row_quantum = 1 };
    if (cols == 0 || cols % BLOCK_WEIGHTS)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " columns, not a multiple of %d",
                         b->name, cols, BLOCK_WEIGHTS);
    if (cols > INT32_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: %" PRIu64 " columns", b->name, cols);
    return ints_slot(out, GLMQ_SLOT_CODES,
                     (glmq_slot_layout){ b->dtype, .rank = 2, .dims = { rows, cols },
                                         .stripe_rows = rows ? 1 : 0 },
                     1, b->name, err);
}

static uint8_t *first_block(const block_type *b, const glmq_bufs *bufs, glmq_tile t)
{
    return bufs->buf[GLMQ_SLOT_CODES] + (t.row - bufs->row0) * (t.cols / BLOCK_WEIGHTS) * b->bytes;
}

static size_t blocks_of(glmq_tile t)
{
    return (size_t)(t.rows * (t.cols / BLOCK_WEIGHTS));
}

static void block_decode(const block_type *b, const glmq_bufs *bufs, glmq_tile t, float *w)
{
    glmq_kernels_now()->decode[b->dtype](first_block(b, bufs, t), blocks_of(t), w);
}

static void block_encode(const block_type *b, glmq_tile t, const float *w, const glmq_bufs *bufs)
{
    glmq_kernels_now()->block_encode[b->kind](w, blocks_of(t), first_block(b, bufs, t));
}

/* The halves that begin at `at` in each block, as floats. */
static void get_halves(const block_type *b, const uint8_t *at, size_t blocks, float *v)
{
    uint8_t run[CODES_RUN * 2];

    for (size_t i = 0, n; i < blocks; i += n, at += n * b->bytes) {
        n = blocks - i < CODES_RUN ? blocks - i : CODES_RUN;
        for (size_t k = 0; k < n; k++) memcpy(run + 2 * k, at + k * b->bytes, 2);
        glmq_kernels_now()->widen[FLOAT_F16](run, n, v + i);
    }
}

/* Four bits lie in nibbles, 16 bytes at the end of a block. */
static int has_nibbles(const block_type *b)
{
    return b->bits == 4;
}

static size_t first_nibbles(const block_type *b)
{
    return b->bytes - BLOCK_WEIGHTS / 2;
}

static void block_get(const block_type *b, const glmq_bufs *bufs, glmq_tile t, glmq_codes *codes)
{
    const glmq_kernels *k = glmq_kernels_now();
    const size_t blocks = blocks_of(t);
    const uint8_t *p = first_block(b, bufs, t);
    const int16_t zero = (int16_t)(b->has_offset ? 0 : 1 << (b->bits - 1));

    codes->kind = GLMQ_CODES_INT;
    codes->bits = b->bits;
    codes->no_zero = !b->has_offset;
    codes->has_offset = b->has_offset;
    codes->group = BLOCK_WEIGHTS;
    codes->groups = (uint32_t)(t.cols / BLOCK_WEIGHTS);
    codes->perm = NULL;
    codes->lut = NULL;
    codes->global = 1;
    codes->divides = 0;
    codes->stream = NULL;
    get_halves(b, p, blocks, codes->scale);
    if (b->has_offset) get_halves(b, p + 2, blocks, codes->offset);
    for (size_t i = 0; i < blocks; i++) {
        codes->zero[i] = zero;
        if (!b->has_offset) codes->offset[i] = 0;
    }
    if (!codes->q) return;
    if (!codes->stream_will_do || !has_nibbles(b)) {
        k->block_get[b->kind](p, blocks, codes->q);
        return;
    }
    k->halves_to_stream(p + first_nibbles(b), b->bytes, blocks, codes->q);
    codes->stream = codes->q;
}

static codes_target block_target(const block_type *b, uint64_t cols)
{
    return (codes_target){
        .name = b->name,
        .bits = b->bits,
        .zeros = b->has_offset ? CODES_OFFSET : CODES_MID,
        .scale = FLOAT_F16,
        .group = BLOCK_WEIGHTS,
        .groups = (uint32_t)(cols / BLOCK_WEIGHTS),
    };
}

/* A row's scales and offsets, into its blocks. */
static glmq_status put_small(const block_type *b, const codes_target *to, const glmq_codes *codes,
                             glmq_tile t, uint64_t r, uint8_t *row, glmq_error *err)
{
    const size_t bytes = b->bytes;
    codes_small small;

    for (uint32_t g = 0; g < to->groups; g += CODES_RUN) {
        const uint32_t n = to->groups - g < CODES_RUN ? to->groups - g : CODES_RUN;
        uint8_t *block = row + g * bytes;
        GLMQ_TRY(codes_small_run(to, codes, t, r, g, n, &small, err));
        for (uint32_t k = 0; k < n; k++) memcpy(block + k * bytes, small.stored_scale + 2 * k, 2);
        if (!b->has_offset) continue;
        for (uint32_t k = 0; k < n; k++)
            memcpy(block + k * bytes + 2, small.stored_offset + 2 * k, 2);
    }
    return GLMQ_OK;
}

/* A row of the same codes, still packed or not.  1: that was all. */
static int put_unchanged(const block_type *b, const codes_target *to, const glmq_codes *codes,
                         uint64_t at, uint8_t *row)
{
    const glmq_kernels *k = glmq_kernels_now();

    if (!codes_unchanged(to, codes)) return 0;
    if (!codes->stream)
        k->block_put[b->kind](codes->q + at, to->groups, row);
    else if (has_nibbles(b) && codes->bits == b->bits)
        k->halves_from_stream(codes->stream + at / 2, to->groups, row + first_nibbles(b), b->bytes);
    else
        return 0;
    return 1;
}

static glmq_status put_row(const block_type *b, const codes_target *to, const glmq_codes *codes,
                           glmq_tile t, uint64_t r, uint8_t *row, glmq_error *err)
{
    uint8_t room[CODES_CHUNK];
    const uint8_t *q;

    GLMQ_TRY(put_small(b, to, codes, t, r, row, err)); /* asks for zeros that codes_row trusts */
    if (put_unchanged(b, to, codes, r * t.cols, row)) return GLMQ_OK;
    for (uint64_t c = 0; c < t.cols; c += CODES_CHUNK) {
        const size_t n = (size_t)(t.cols - c < CODES_CHUNK ? t.cols - c : CODES_CHUNK);
        GLMQ_TRY(codes_row(to, codes, t, r, c, n, room, &q, err));
        glmq_kernels_now()->block_put[b->kind](q, n / BLOCK_WEIGHTS,
                                               row + c / BLOCK_WEIGHTS * b->bytes);
    }
    return GLMQ_OK;
}

static glmq_status block_put(const block_type *b, const glmq_codes *codes, glmq_tile t,
                             const glmq_bufs *bufs, glmq_error *err)
{
    const codes_target to = block_target(b, t.cols);
    const uint64_t row_bytes = to.groups * b->bytes;
    uint8_t *first;

    if (!codes->q) return ints_fit(&to, codes, t, err);
    GLMQ_TRY(codes_fit(&to, codes, t, err));
    first = first_block(b, bufs, t);
    for (uint64_t r = 0; r < t.rows; r++)
        GLMQ_TRY(put_row(b, &to, codes, t, r, first + r * row_bytes, err));
    return GLMQ_OK;
}

#define BLOCK(symbol, NAME, width, offsets, text)                                                  \
    static const block_type symbol = { #symbol, BLOCK_##NAME, GLMQ_DT_##NAME,                      \
                                       width,   offsets,      NAME##_BYTES };                      \
    static glmq_status symbol##_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,       \
                                       glmq_layout *out, glmq_error *err)                          \
    {                                                                                              \
        (void)e; /* no parameters */                                                               \
        return block_layout(&symbol, rows, cols, out, err);                                        \
    }                                                                                              \
    static void symbol##_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w) \
    {                                                                                              \
        (void)e;                                                                                   \
        block_decode(&symbol, b, t, w);                                                            \
    }                                                                                              \
    static void symbol##_encode(const glmq_encoding *e, const glmq_stats *stats, glmq_tile t,      \
                                const float *w, glmq_bufs *b)                                      \
    {                                                                                              \
        (void)e, (void)stats;                                                                      \
        block_encode(&symbol, t, w, b);                                                            \
    }                                                                                              \
    static void symbol##_get(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t,              \
                             glmq_codes *codes)                                                    \
    {                                                                                              \
        (void)e;                                                                                   \
        block_get(&symbol, b, t, codes);                                                           \
    }                                                                                              \
    static glmq_status symbol##_put(const glmq_encoding *e, const glmq_codes *codes, glmq_tile t,  \
                                    glmq_bufs *b, glmq_error *err)                                 \
    {                                                                                              \
        (void)e;                                                                                   \
        return block_put(&symbol, codes, t, b, err);                                               \
    }                                                                                              \
    const glmq_codec glmq_codec_##symbol = {                                                       \
        .name = #symbol,                                                                           \
        .about = text,                                                                             \
        .takes_stream = (width) == 4,                                                              \
        .layout = symbol##_layout,                                                                 \
        .decode = symbol##_decode,                                                                 \
        .encode = symbol##_encode,                                                                 \
        .get_codes = symbol##_get,                                                                 \
        .put_codes = symbol##_put,                                                                 \
    };

BLOCK(q4_0, Q4_0, 4, 0, "4-bit symmetric, groups of 32, half scales (GGUF)")
BLOCK(q4_1, Q4_1, 4, 1, "4-bit with offsets, groups of 32, half scales (GGUF)")
BLOCK(q5_0, Q5_0, 5, 0, "5-bit symmetric, groups of 32, half scales (GGUF)")
BLOCK(q5_1, Q5_1, 5, 1, "5-bit with offsets, groups of 32, half scales (GGUF)")
BLOCK(q8_0, Q8_0, 8, 0, "8-bit symmetric, groups of 32, half scales (GGUF)")
