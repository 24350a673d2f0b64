/* What the two integer codecs of compressed-tensors share.  For N rows, K columns, G groups:
 *
 *   SCALES  [N, G], channel [N, 1], tensor [1]      F16, BF16 or F32
 *   ZEROS   I32 [ceil(N*b/32), G]: a stream along the rows per group; or I8 like SCALES
 *   PERM    I32 [K]: the group of each column (actorder "group") */
#include "ct.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "ctpack.h"

int ct_is_tensor(const glmq_encoding *e)
{
    return e->group == 0 && e->group_rows == 0;
}

unsigned ct_loose(const glmq_encoding *e)
{
    return e->variant & CT_LOOSE ? 32u / e->bits : 0;
}

static uint64_t zero_rows(const glmq_encoding *e)
{
    return ct_loose(e) ? ct_loose(e) : ints_zero_rows(e->bits);
}

static uint64_t zero_words(const glmq_encoding *e, uint64_t rows)
{
    return ct_loose(e) ? ceil_div_u64(rows, ct_loose(e)) : ceil_div_u64(rows * e->bits, 32);
}

static glmq_status layout_zeros(const glmq_encoding *e, uint64_t rows, uint64_t groups,
                                int zero_bytes, const char *name, glmq_layout *out, glmq_error *err)
{
    const int tensor = ct_is_tensor(e);
    const uint64_t step = zero_rows(e);

    if (tensor)
        return ints_slot(out, GLMQ_SLOT_ZEROS,
                         (glmq_slot_layout){ GLMQ_DT_I8, .rank = 1, .dims = { 1 } }, 0, name, err);
    if (zero_bytes)
        return ints_slot(
            out, GLMQ_SLOT_ZEROS,
            (glmq_slot_layout){ GLMQ_DT_I8, .rank = 2, .dims = { rows, groups }, .stripe_rows = 1 },
            1, name, err);
    out->row_quantum = step;
    return ints_slot(out, GLMQ_SLOT_ZEROS,
                     (glmq_slot_layout){ GLMQ_DT_I32, .rank = 2,
                                         .dims = { zero_words(e, rows), groups },
                                         .stripe_rows = step },
                     ct_loose(e) ? 1 : ints_zero_words(e->bits), name, err);
}

glmq_status ct_layout_small(const glmq_encoding *e, uint64_t rows, uint64_t cols, int zero_bytes,
                            const char *name, glmq_layout *out, glmq_error *err)
{
    const uint32_t groups = glmq_encoding_groups(e, cols);
    const int tensor = ct_is_tensor(e);

    if (e->group && cols > e->group && cols % e->group)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " columns, not a multiple of group %u",
                         name, cols, e->group);
    out->row_quantum = tensor ? rows : 1; /* the scale of a tensor needs all of it */
    GLMQ_TRY(ints_slot(out, GLMQ_SLOT_SCALES,
                       (glmq_slot_layout){ (glmq_dtype)e->scale_dtype, .rank = tensor ? 1 : 2,
                                           .dims = { tensor ? 1 : rows, groups },
                                           .stripe_rows = tensor ? 0 : 1 },
                       1, name, err));
    if (e->zero_kind == GLMQ_ZERO_STORED)
        GLMQ_TRY(layout_zeros(e, rows, groups, zero_bytes, name, out, err));
    if (!e->act_order) return GLMQ_OK;
    return ints_slot(out, GLMQ_SLOT_PERM,
                     (glmq_slot_layout){ GLMQ_DT_I32, .rank = 1, .dims = { cols } }, 0, name, err);
}

ints_map ct_map(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, int zero_bytes)
{
    const int tensor = ct_is_tensor(e), bytes = zero_bytes || tensor;
    const uint64_t row = tensor ? 0 : t.row - b->row0, groups = glmq_encoding_groups(e, t.cols);
    const uint64_t each = float_bytes(codes_float_kind((glmq_dtype)e->scale_dtype)),
                   step = zero_rows(e);
    uint8_t *zeros = e->zero_kind == GLMQ_ZERO_STORED ? b->buf[GLMQ_SLOT_ZEROS] : NULL;

    if (zeros && bytes) zeros += row * groups;
    return (ints_map){
        .rows = t.rows,
        .cols = t.cols,
        .group = glmq_encoding_group(e, t.cols),
        .groups = (uint32_t)groups,
        .bits = e->bits,
        .frame = e->bits,
        .rule = RULE_CT,
        .loose = ct_loose(e),
        .scales = b->buf[GLMQ_SLOT_SCALES] + each * row * groups,
        .scale_kind = codes_float_kind((glmq_dtype)e->scale_dtype),
        .scale_row = tensor ? 0 : groups,
        .scale_group = tensor ? 0 : 1,
        .zeros = zeros,
        .zero_kind = !zeros  ? INTS_MID
                     : bytes ? INTS_BYTES
                             : INTS_PACKED,
        .zero_first = t.row - b->row0 / step * step,
        .zero_word = groups,
        .zero_row = tensor ? 0 : groups,
        .zero_group = tensor ? 0 : 1,
        .perm = e->act_order ? b->buf[GLMQ_SLOT_PERM] : NULL,
    };
}

codes_target ct_target(const glmq_encoding *e, uint64_t cols, const char *name)
{
    codes_target to = ints_target(e, name, cols);
    to.even = 1;
    to.one_scale = (uint8_t)ct_is_tensor(e);
    return to;
}

/* The reference sorts columns by g_idx and cuts runs of `group`: the same as one group number
 * per column only when every group is full. */
static glmq_status check_full(const uint8_t *perm, uint64_t cols, uint32_t group, uint32_t groups,
                              const char *name, glmq_error *err)
{
    uint32_t *members = glmq_alloc_zero(groups, sizeof *members);
    glmq_status st = GLMQ_OK;

    if (!members) return glmq_fail(err, GLMQ_E_NOMEM, "%u groups", groups);
    for (uint64_t c = 0; c < cols; c++) members[load_le32(perm + 4 * c)]++;
    for (uint32_t g = 0; g < groups && !st; g++)
        if (members[g] != group)
            st = glmq_fail(err, GLMQ_E_FORMAT, "%s: group %u of g_idx has %u columns, expected %u",
                           name, g, members[g], group);
    glmq_free(members);
    return st;
}

glmq_status ct_check_perm(glmq_encoding *e, const glmq_bufs *b, uint64_t cols, const char *name,
                          glmq_error *err)
{
    const uint32_t groups = glmq_encoding_groups(e, cols), group = glmq_encoding_group(e, cols);
    uint8_t *perm = b->buf[GLMQ_SLOT_PERM];
    int trivial = 1;

    if (!e->act_order) return GLMQ_OK;
    if (!perm) return glmq_fail_missing(err, GLMQ_E_FORMAT, "%s: act-order without a g_idx", name);
    for (uint64_t c = 0; c < cols; c++)
        if (load_le32(perm + 4 * c) == UINT32_MAX) {
            e->act_order = 0;
            return GLMQ_OK;
        }
    GLMQ_TRY(ints_check_perm(name, perm, cols, group, groups, &trivial, err));
    GLMQ_TRY(check_full(perm, cols, group, groups, name, err));
    if (trivial) e->act_order = 0;
    return GLMQ_OK;
}

void ct_put_perm(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, const int32_t *perm)
{
    if (e->act_order && b->buf[GLMQ_SLOT_PERM] && t.row == 0)
        ints_put_perm(b->buf[GLMQ_SLOT_PERM], t.cols, glmq_encoding_group(e, t.cols), perm);
}
