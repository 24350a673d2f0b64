/* What the GGUF types that are only decoded share. */
#include "gguf_blocks.h"
#include "base/error.h"
#include "base/safe.h"
#include "ints.h"
#include "kernels.h"

glmq_status gguf_blocks_layout(glmq_dtype dtype, uint64_t rows, uint64_t cols, glmq_layout *out,
                               glmq_error *err)
{
    const uint64_t block = glmq_dtype_info_of(dtype)->block;
    const char *name = glmq_dtype_name(dtype);

    *out = (glmq_layout){ .row_quantum = 1 };
    if (cols == 0 || cols % block)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " columns, not a multiple of %" PRIu64,
                         name, cols, block);
    if (cols > INT32_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: %" PRIu64 " columns", name, cols);
    return ints_slot(
        out, GLMQ_SLOT_CODES,
        (glmq_slot_layout){ dtype, .rank = 2, .dims = { rows, cols }, .stripe_rows = rows ? 1 : 0 },
        1, name, err);
}

void gguf_blocks_decode(glmq_dtype dtype, const glmq_bufs *bufs, glmq_tile t, float *w)
{
    const glmq_dtype_info *info = glmq_dtype_info_of(dtype);
    const uint64_t per_row = t.cols / info->block, blocks = t.rows * per_row;
    const uint8_t *src = bufs->buf[GLMQ_SLOT_CODES] + (t.row - bufs->row0) * per_row * info->bytes;

    glmq_kernels_now()->decode[dtype](src, (size_t)blocks, w);
}
