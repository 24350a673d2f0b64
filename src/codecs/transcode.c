/* Codes -> codes: what the encodings alone say about a move, and the move of one tile. */
#include "transcode.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "ctpack.h"
#include "fp4.h"
#include "gptq.h"
#include "kernels.h"
#include <stdio.h>
#include <string.h>

/* ---- cuts ---- */

typedef enum cut_relation { CUT_SAME, CUT_ROWS, CUT_TURNED } cut_relation;

static int is_whole(const glmq_cut *c)
{
    return !c->transposed && c->first == 0 && c->count == c->stride;
}

static cut_relation relate(const glmq_cut *a, const glmq_cut *b)
{
    if (is_whole(a) && is_whole(b)) return CUT_SAME;
    if (a->heads == b->heads && a->stride == b->stride && a->first == b->first &&
        a->count == b->count && a->transposed == b->transposed)
        return CUT_SAME;
    return a->transposed || b->transposed ? CUT_TURNED : CUT_ROWS;
}

static int quantum_divides(uint64_t quantum, const glmq_cut *c)
{
    return is_whole(c) ||
           (c->stride % quantum == 0 && c->first % quantum == 0 && c->count % quantum == 0);
}

/* Can tiles start wherever the cuts make them start? */
static int rows_fall(const glmq_part *part, const glmq_cut *a, const glmq_cut *b, uint64_t *quantum)
{
    glmq_layout l;
    *quantum = 1;
    if (part->enc.codec->layout(&part->enc, part->rows, part->cols, &l, NULL)) return 0;
    *quantum = l.row_quantum;
    return quantum_divides(*quantum, a) && quantum_divides(*quantum, b);
}

/* Rows lie one by one in every slot: any of them can be copied as bytes. */
static int is_row_striped(const glmq_part *part)
{
    glmq_layout l;
    if (part->enc.codec->layout(&part->enc, part->rows, part->cols, &l, NULL)) return 0;
    for (int i = 0; i < GLMQ_SLOTS; i++)
        if (l.slot[i].dtype != GLMQ_DT_NONE && l.slot[i].stripe_rows != 1) return 0;
    return 1;
}

/* ---- what is certain between two codes views ---- */

static int has_offset(const glmq_encoding *e)
{
    return e->codec == &glmq_codec_q4_1 || e->codec == &glmq_codec_q5_1;
}

static int is_tensor_wide(const glmq_encoding *e)
{
    return e->group == 0 && e->group_rows == 0;
}

/* Bits of the codes view. */
static int frame_of(const glmq_encoding *e)
{
    return e->codec == &glmq_codec_ctint ? 8 : e->bits;
}

static int scales_certain(const glmq_encoding *from, const glmq_encoding *to)
{
    return from->scale_dtype == to->scale_dtype || to->scale_dtype == GLMQ_DT_F32;
}

static int groups_certain(const glmq_encoding *from, const glmq_encoding *to, uint64_t cols)
{
    if (is_tensor_wide(to)) return is_tensor_wide(from);
    return glmq_encoding_group(from, cols) % glmq_encoding_group(to, cols) == 0;
}

/* Zero points that need not be among the codes. */
static int has_wide_zeros(const glmq_encoding *e)
{
    if (e->codec == &glmq_codec_gptq) return e->variant == GPTQ_V1_OR; /* 2^bits */
    return e->codec == &glmq_codec_ctpack && e->zero_kind == GLMQ_ZERO_STORED &&
           (e->variant & CT_ZERO_I8);
}

/* Every q - zero that the source can hold, against what the target can. */
static int zeros_certain(const glmq_encoding *from, const glmq_encoding *to)
{
    const int stored = from->zero_kind == GLMQ_ZERO_STORED, bits = frame_of(from);

    if (has_offset(from) || has_offset(to))
        return has_offset(from) && has_offset(to) && from->bits <= to->bits;
    if ((from->codec == &glmq_codec_gptq || from->codec == &glmq_codec_awq) && !stored)
        return 0; /* check() may find other zeros */
    if (has_wide_zeros(from)) return 0;
    if (to->zero_kind == GLMQ_ZERO_STORED) return bits <= to->bits;
    return bits + stored <= to->bits; /* -2^b < q - zero < 2^b takes b + 1 bits */
}

/* MAYBE_CODES, with what it hangs on; or SAME_CODES. */
static glmq_travel judge_codes(const glmq_part *from, const glmq_part *to, char why[160])
{
    const glmq_encoding *a = &from->enc, *b = &to->enc;
    const int ordered = a->act_order == GLMQ_ACT_ORDER;

    if (ordered && !b->act_order)
        snprintf(why, 160, "hangs on the columns being in order after all (act-order)");
    else if (ordered && glmq_encoding_group(a, from->cols) != glmq_encoding_group(b, to->cols))
        snprintf(why, 160,
                 "hangs on the columns being in order after all (act-order, other groups)");
    else if (ordered && b->codec != &glmq_codec_gptq && a->codec == &glmq_codec_gptq)
        snprintf(why, 160, "hangs on the groups of the permuted columns being full");
    else if (!scales_certain(a, b))
        snprintf(why, 160, "hangs on every %s scale having an exact %s",
                 glmq_dtype_name((glmq_dtype)a->scale_dtype),
                 glmq_dtype_name((glmq_dtype)b->scale_dtype));
    else if (!groups_certain(a, b, from->cols))
        snprintf(why, 160, "hangs on groups of %" PRIu32 " sharing scales in groups of %" PRIu32,
                 glmq_encoding_group(a, from->cols), glmq_encoding_group(b, to->cols));
    else if (!zeros_certain(a, b))
        snprintf(why, 160, "hangs on codes and zero points fitting %s", b->codec->name);
    else
        return GLMQ_SAME_CODES;
    return GLMQ_MAYBE_CODES;
}

/* ---- four-bit floats ---- */

/* What holds, and what it hangs on, from one kind of global scale to another. */
static const struct fp4_move {
    fp4_global from, to;
    glmq_travel travel;
    const char *why;
} fp4_moves[] = {
    { FP4_NO_GLOBAL, FP4_NO_GLOBAL, GLMQ_SAME_CODES, "" },
    { FP4_MULTIPLIES, FP4_MULTIPLIES, GLMQ_SAME_CODES, "" },
    { FP4_DIVIDES, FP4_DIVIDES, GLMQ_SAME_CODES, "" },
    { FP4_MULTIPLIES, FP4_DIVIDES, GLMQ_NEAR, "its global scale is stored as the reciprocal" },
    { FP4_DIVIDES, FP4_MULTIPLIES, GLMQ_NEAR, "its global scale is stored as the reciprocal" },
    { FP4_NO_GLOBAL, FP4_MULTIPLIES, GLMQ_MAYBE_CODES, "hangs on how far its scales are apart" },
    { FP4_NO_GLOBAL, FP4_DIVIDES, GLMQ_MAYBE_CODES, "hangs on how far its scales are apart" },
    { FP4_MULTIPLIES, FP4_NO_GLOBAL, GLMQ_MAYBE_CODES, "hangs on its scales being powers of two" },
    { FP4_DIVIDES, FP4_NO_GLOBAL, GLMQ_MAYBE_CODES, "hangs on its scales being powers of two" },
};

static glmq_travel judge_fp4(const glmq_encoding *from, const glmq_encoding *to, char why[160])
{
    const fp4_global a = fp4_global_of(from), b = fp4_global_of(to);

    if (a == FP4_NOT || b == FP4_NOT) {
        snprintf(why, 160, "codes of %s are no codes of %s", from->codec->name, to->codec->name);
        return GLMQ_RECODE;
    }
    if (a == b && to->scalar) {
        snprintf(why, 160, "hangs on its scales under the global scale of its neighbours");
        return GLMQ_MAYBE_CODES;
    }
    for (size_t i = 0; i < GLMQ_COUNT(fp4_moves); i++) {
        if (fp4_moves[i].from != a || fp4_moves[i].to != b) continue;
        snprintf(why, 160, "%s", fp4_moves[i].why);
        return fp4_moves[i].travel;
    }
    return GLMQ_RECODE;
}

/* ---- the judge ---- */

static glmq_travel recode(char why[160], const char *what, const char *name)
{
    snprintf(why, 160, "%s %s", what, name);
    return GLMQ_RECODE;
}

static glmq_travel judge_plain(const glmq_part *from, const glmq_part *to, cut_relation cut,
                               char why[160])
{
    const glmq_dtype a = glmq_encoding_dtype(&from->enc), b = glmq_encoding_dtype(&to->enc);

    if (!glmq_encoding_is_plain(&from->enc)) {
        if (b == GLMQ_DT_F32) return GLMQ_SAME_CODES; /* holds every decoded value */
        return recode(why, "decoded values are rounded to", glmq_dtype_name(b));
    }
    if (!glmq_encoding_is_plain(&to->enc)) return recode(why, "quantized from", glmq_dtype_name(a));
    if (a == b) return cut == CUT_TURNED ? GLMQ_SAME_CODES : GLMQ_SAME_BYTES;
    if (b == GLMQ_DT_F32) return GLMQ_SAME_CODES;
    snprintf(why, 160, "hangs on every value having an exact %s", glmq_dtype_name(b));
    return GLMQ_MAYBE_CODES;
}

static glmq_travel judge_ints(const glmq_part *from, const glmq_part *to, cut_relation cut,
                              char why[160])
{
    const glmq_codec *a = from->enc.codec, *b = to->enc.codec;
    const int same = glmq_encoding_equal(&from->enc, &to->enc);
    uint64_t quantum;

    if (same && !to->enc.scalar &&
        (cut == CUT_SAME || (cut == CUT_ROWS && is_row_striped(from) && is_row_striped(to))))
        return GLMQ_SAME_BYTES;
    if (cut == CUT_TURNED) return recode(why, "stored the other way round than", a->name);
    if (!a->get_codes || !b->put_codes)
        return recode(why, "no codes view in", a->get_codes ? b->name : a->name);
    if (cut == CUT_ROWS && (!rows_fall(from, &from->cut, &to->cut, &quantum) ||
                            !rows_fall(to, &from->cut, &to->cut, &quantum))) {
        snprintf(why, 160,
                 "rows of a head do not fall on the %" PRIu64 " rows that %s keeps together",
                 quantum, quantum > 1 ? "the packing" : b->name);
        return GLMQ_RECODE;
    }
    if (fp4_global_of(&from->enc) != FP4_NOT || fp4_global_of(&to->enc) != FP4_NOT)
        return judge_fp4(&from->enc, &to->enc, why);
    return judge_codes(from, to, why);
}

glmq_travel glmq_transcode_judge(const glmq_part *from, const glmq_part *to, char why[160])
{
    const cut_relation cut = relate(&from->cut, &to->cut);

    why[0] = '\0';
    if (!from->enc.codec || !to->enc.codec) {
        if (cut == CUT_SAME && glmq_encoding_equal(&from->enc, &to->enc)) return GLMQ_SAME_BYTES;
        return recode(
            why, "nothing here decodes",
            glmq_dtype_name(glmq_encoding_dtype(from->enc.codec ? &to->enc : &from->enc)));
    }
    if (glmq_encoding_is_plain(&from->enc) || glmq_encoding_is_plain(&to->enc))
        return judge_plain(from, to, cut, why);
    return judge_ints(from, to, cut, why);
}

/* ---- one tile ---- */

/* Scales, offsets, zeros, codes: each 16-byte aligned. */
typedef struct scratch_plan {
    uint64_t offset, zero, q, bytes;
} scratch_plan;

/* 1: it does not fit memory. */
static int plan_scratch(const glmq_encoding *from, uint64_t rows, uint64_t cols, scratch_plan *p)
{
    uint64_t small, floats, shorts, codes;

    if (mul_u64(rows, glmq_encoding_groups(from, cols), &small) || mul_u64(rows, cols, &codes) ||
        mul_u64(small, 4, &floats) || align_u64(floats, 16, &floats) ||
        align_u64(small * 2, 16, &shorts) || align_u64(codes, 16, &codes))
        return 1;
    p->offset = floats;
    if (add_u64(floats, floats, &p->zero) || add_u64(p->zero, shorts, &p->q) ||
        add_u64(p->q, codes, &p->bytes))
        return 1;
    return p->bytes > SIZE_MAX / 2;
}

/* Two views: the source's, and the target's as it comes back.  They are compared only where
 * their groups are the same, so both fit the same plan. */
size_t glmq_transcode_scratch(const glmq_encoding *from, const glmq_encoding *to, uint64_t rows,
                              uint64_t cols)
{
    scratch_plan p;
    (void)to;
    return plan_scratch(from, rows, cols, &p) ? SIZE_MAX : 2 * (size_t)p.bytes;
}

static glmq_codes view_in(uint8_t *at, const scratch_plan *p, int stream_will_do)
{
    return (glmq_codes){
        .scale = (float *)(void *)at,
        .offset = (float *)(void *)(at + p->offset),
        .zero = (int16_t *)(void *)(at + p->zero),
        .q = at + p->q,
        .stream_will_do = (uint8_t)stream_will_do,
    };
}

glmq_status glmq_transcode_tile(const glmq_encoding *from, const glmq_bufs *in,
                                const glmq_encoding *to, glmq_bufs *out, glmq_tile in_tile,
                                glmq_tile out_tile, void *scratch, glmq_codes *moved,
                                glmq_error *err)
{
    scratch_plan p;

    if (!from->codec->get_codes || !to->codec->put_codes)
        return glmq_fail(err, GLMQ_E_INEXACT, "no codes view in %s",
                         from->codec->get_codes ? to->codec->name : from->codec->name);
    if (in_tile.rows != out_tile.rows || in_tile.cols != out_tile.cols ||
        plan_scratch(from, in_tile.rows, in_tile.cols, &p))
        return glmq_fail(err, GLMQ_E_ARG,
                         "a tile of %" PRIu64 " x %" PRIu64 " to one of %" PRIu64 " x %" PRIu64,
                         in_tile.rows, in_tile.cols, out_tile.rows, out_tile.cols);
    *moved = view_in(scratch, &p, to->codec->takes_stream);
    from->codec->get_codes(from, in, in_tile, moved);
    return to->codec->put_codes(to, moved, out_tile, out, err);
}

/* ---- asking the small arrays ---- */

int glmq_transcode_codes_fit(const glmq_encoding *from, const glmq_encoding *to)
{
    const int stored = from->zero_kind == GLMQ_ZERO_STORED, bits = frame_of(from);

    if (!from->codec->get_codes || !to->codec->put_codes || has_offset(from) ||
        fp4_global_of(from) != FP4_NOT || fp4_global_of(to) != FP4_NOT)
        return 0;
    if (to->zero_kind == GLMQ_ZERO_STORED || has_offset(to)) return bits <= to->bits;
    return !(stored && has_wide_zeros(from)) && bits + stored <= to->bits; /* recentred */
}

size_t glmq_transcode_ask_scratch(const glmq_encoding *from, uint64_t rows, uint64_t cols)
{
    scratch_plan p;
    return plan_scratch(from, rows, cols, &p) ? SIZE_MAX : (size_t)p.q;
}

glmq_status glmq_transcode_ask(const glmq_encoding *from, const glmq_bufs *in,
                               const glmq_encoding *to, glmq_tile tile, void *scratch,
                               glmq_error *err)
{
    glmq_codes small;
    scratch_plan p;

    if (plan_scratch(from, tile.rows, tile.cols, &p))
        return glmq_fail(err, GLMQ_E_LIMIT, "a tile of %" PRIu64 " x %" PRIu64, tile.rows,
                         tile.cols);
    small = view_in(scratch, &p, 0);
    small.q = NULL;
    from->codec->get_codes(from, in, tile, &small);
    return to->codec->put_codes(to, &small, tile, NULL, err);
}

/* ---- the proof ---- */

/* Scale times (code less zero), one product: the same bits from every codec.  (Views with an
 * offset, and four-bit floats, round twice, in an order of the codec's own.) */
static int is_one_product(const glmq_encoding *e)
{
    return e->codec->get_codes && !has_offset(e) && !e->act_order && fp4_global_of(e) == FP4_NOT;
}

static int same_codes(const glmq_codes *a, const glmq_codes *b, glmq_tile t)
{
    const size_t n = (size_t)(t.rows * t.cols);

    if (!a->stream != !b->stream) return 0;
    return a->stream ? memcmp(a->stream, b->stream, n * a->bits / 8) == 0
                     : memcmp(a->q, b->q, n) == 0;
}

int glmq_transcode_returned(const glmq_encoding *from, const glmq_encoding *to,
                            const glmq_bufs *out, glmq_tile t, void *scratch,
                            const glmq_codes *moved)
{
    const uint32_t groups = glmq_encoding_groups(from, t.cols);
    glmq_codes is;
    scratch_plan p;

    if (!is_one_product(from) || !is_one_product(to) || frame_of(from) != frame_of(to) ||
        glmq_encoding_group(from, t.cols) != glmq_encoding_group(to, t.cols) ||
        plan_scratch(from, t.rows, t.cols, &p))
        return 0;
    is = view_in((uint8_t *)scratch + p.bytes, &p, moved->stream != NULL);
    to->codec->get_codes(to, out, t, &is);
    return is.kind == GLMQ_CODES_INT &&
           memcmp(is.scale, moved->scale, (size_t)(t.rows * groups) * sizeof *is.scale) == 0 &&
           memcmp(is.zero, moved->zero, (size_t)(t.rows * groups) * sizeof *is.zero) == 0 &&
           same_codes(moved, &is, t);
}

/* Integers times positive ones are +0, or of a sign and a size.  Asked of the bits, from those of
 * the smallest float above zero to those of the largest: compilers vectorize that. */
static int all_positive(const float *scale, size_t n)
{
    uint32_t bad = 0;
    for (size_t i = 0; i < n; i++) bad |= (uint32_t)(bits_from_f32(scale[i]) - 1 > 0x7f7ffffe);
    return !bad;
}

/* The values of one row, some groups at a time. */
static void scale_row(const glmq_codes *c, uint64_t r, float *w)
{
    enum { RUN = 64 };
    const glmq_kernels *k = glmq_kernels_now();
    const uint64_t group = c->group;
    int32_t zero[RUN];

    for (uint32_t g = 0, n; g < c->groups; g += n) {
        const uint64_t first = r * c->groups + g, at = first * group;
        n = c->groups - g < RUN ? c->groups - g : RUN;
        for (uint32_t i = 0; i < n; i++) zero[i] = c->zero[first + i];
        if (c->stream)
            k->stream_groups[c->bits](c->stream + at * c->bits / 8, n, group, zero,
                                      c->scale + first, 1, w + g * group);
        else
            k->scale_groups(c->q + at, n, group, zero, c->scale + first, w + g * group);
    }
}

int glmq_transcode_values(const glmq_encoding *from, uint64_t cols, const glmq_codes *moved,
                          uint64_t first, uint64_t rows, float *w)
{
    const glmq_kernels *k = glmq_kernels_now();
    const float *scale = moved->scale + first * moved->groups;

    if (!is_one_product(from) || cols % moved->group) return 0;
    if (moved->stream && (moved->group % 16 || !k->stream_groups[moved->bits])) return 0;
    for (uint64_t r = 0; r < rows; r++) scale_row(moved, first + r, w + r * cols);
    if (!all_positive(scale, (size_t)(rows * moved->groups)))
        k->plus_zero(w, (size_t)(rows * cols)); /* no NaN is there: scales that moved are finite */
    return 1;
}
