/* Plain floats: F32, F16, BF16, row-major.  The canonical value is the widened one. */
#include "base/error.h"
#include "codec.h"
#include "ints.h"
#include "kernels.h"

static glmq_status plain_layout(glmq_dtype dtype, uint64_t rows, uint64_t cols, glmq_layout *out,
                                glmq_error *err)
{
    *out = (glmq_layout){ .row_quantum = 1 };
    return ints_slot(
        out, GLMQ_SLOT_CODES,
        (glmq_slot_layout){ dtype, .rank = 2, .dims = { rows, cols }, .stripe_rows = rows ? 1 : 0 },
        1, "plain", err);
}

static uint8_t *first_row(float_kind kind, const glmq_bufs *b, glmq_tile t)
{
    return b->buf[GLMQ_SLOT_CODES] + (t.row - b->row0) * t.cols * float_bytes(kind);
}

#define PLAIN(symbol, DTYPE, KIND, text)                                                           \
    static glmq_status symbol##_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,       \
                                       glmq_layout *out, glmq_error *err)                          \
    {                                                                                              \
        (void)e; /* no parameters */                                                               \
        return plain_layout(DTYPE, rows, cols, out, err);                                          \
    }                                                                                              \
    static void symbol##_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w) \
    {                                                                                              \
        (void)e;                                                                                   \
        glmq_kernels_now()->widen[KIND](first_row(KIND, b, t), (size_t)(t.rows * t.cols), w);      \
    }                                                                                              \
    static void symbol##_encode(const glmq_encoding *e, const glmq_stats *stats, glmq_tile t,      \
                                const float *w, glmq_bufs *b)                                      \
    {                                                                                              \
        (void)e, (void)stats;                                                                      \
        glmq_kernels_now()->narrow[KIND](w, (size_t)(t.rows * t.cols), first_row(KIND, b, t));     \
    }                                                                                              \
    const glmq_codec glmq_codec_##symbol = {                                                       \
        .name = #symbol,                                                                           \
        .about = text,                                                                             \
        .layout = symbol##_layout,                                                                 \
        .decode = symbol##_decode,                                                                 \
        .encode = symbol##_encode,                                                                 \
    };

PLAIN(f32, GLMQ_DT_F32, FLOAT_F32, "plain 32-bit floats")
PLAIN(f16, GLMQ_DT_F16, FLOAT_F16, "plain half floats")
PLAIN(bf16, GLMQ_DT_BF16, FLOAT_BF16, "plain bfloat16")
