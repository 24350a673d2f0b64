/* GPTQ: codes packed along the columns, zeros along the rows, everything stored with the
 * input dimension first.  For a matrix of N rows and K columns, b bits, G groups:
 *
 *   CODES   I32 [ceil(K*b/32), N]    word (j, n): bits [32j, 32j+32) of row n's stream of codes
 *   ZEROS   I32 [G, ceil(N*b/32)]    a stream of zeros per group; v1 stores them less one
 *   SCALES  F16 [G, N]               of either sign; BF16 and F32 are seen too
 *   PERM    I32 [K]                  the group of each column, where act_order says so
 *
 *   w = (float)(q - zero) * scale    exact in F32 for half scales
 *
 * Both streams may be cut in planes (planar.h): always for 5, 6 and 7 bits.
 *
 * No slot can be cut by rows.  The row quantum keeps zeros of a word, and the words of a
 * cache line, in one tile. */
#include "gptq.h"
#include "base/error.h"
#include "base/safe.h"
#include "ints.h"
#include "planar.h"
#include <stdio.h>
#include <string.h>

enum { WIDTHS = 1 << 2 | 1 << 3 | 1 << 4 | 1 << 8, CACHE_LINE_ROWS = 16 };

static int is_planar(const glmq_encoding *e)
{
    return e->variant == GPTQ_PLANAR;
}

static glmq_status gptq_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                               glmq_layout *out, glmq_error *err)
{
    const uint64_t quantum = ints_zero_rows(e->bits ? e->bits : 1);
    uint64_t words, zero_words;
    uint32_t groups;

    *out = (glmq_layout){ .row_quantum = quantum < CACHE_LINE_ROWS ? CACHE_LINE_ROWS : quantum };
    GLMQ_TRY(ints_check_params(e, "gptq", is_planar(e) ? PLANAR_WIDTHS : WIDTHS, rows, cols, err));
    if (32 % e->bits && (rows % 32 || cols % 32))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "gptq: %d-bit matrix of %" PRIu64 " x %" PRIu64 ", not multiples of 32",
                         e->bits, rows, cols);
    words = ceil_div_u64(cols * e->bits, 32);
    zero_words = ceil_div_u64(rows * e->bits, 32);
    groups = glmq_encoding_groups(e, cols);
    GLMQ_TRY(ints_slot(out, GLMQ_SLOT_CODES,
                       (glmq_slot_layout){ GLMQ_DT_I32, .rank = 2, .dims = { words, rows } }, 0,
                       "gptq", err));
    GLMQ_TRY(ints_slot(
        out, GLMQ_SLOT_SCALES,
        (glmq_slot_layout){ (glmq_dtype)e->scale_dtype, .rank = 2, .dims = { groups, rows } }, 0,
        "gptq", err));
    GLMQ_TRY(ints_slot(out, GLMQ_SLOT_ZEROS,
                       (glmq_slot_layout){ GLMQ_DT_I32, .rank = 2, .dims = { groups, zero_words } },
                       0, "gptq", err));
    if (!e->act_order) return GLMQ_OK;
    return ints_slot(out, GLMQ_SLOT_PERM,
                     (glmq_slot_layout){ GLMQ_DT_I32, .rank = 1, .dims = { cols } }, 0, "gptq",
                     err);
}

static ints_map gptq_map(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t)
{
    const size_t each = float_bytes(codes_float_kind((glmq_dtype)e->scale_dtype));
    return (ints_map){
        .name = "gptq",
        .rows = t.rows,
        .cols = t.cols,
        .group = glmq_encoding_group(e, t.cols),
        .groups = glmq_encoding_groups(e, t.cols),
        .bits = e->bits,
        .frame = e->bits,
        .rule = RULE_GPTQ,
        .planar = is_planar(e),
        .codes = ints_codes(b, 4 * t.row),
        .code_row = 1,
        .code_word = t.of_rows,
        .scales = b->buf[GLMQ_SLOT_SCALES] + each * t.row,
        .scale_kind = codes_float_kind((glmq_dtype)e->scale_dtype),
        .scale_row = 1,
        .scale_group = t.of_rows,
        .zeros = b->buf[GLMQ_SLOT_ZEROS],
        .zero_kind = e->zero_kind == GLMQ_ZERO_STORED ? INTS_PACKED : INTS_MID,
        .zero_first = t.row,
        .zero_word = 1,
        .zero_group = ceil_div_u64(t.of_rows * e->bits, 32),
        .minus_one = e->variant == GPTQ_V1 || e->variant == GPTQ_V1_OR,
        .unmasked = e->variant == GPTQ_V1_OR,
        .perm = e->act_order ? b->buf[GLMQ_SLOT_PERM] : NULL,
    };
}

/* The word of zeros that all are 2^(bits-1), as v2 stores it, or v1. */
static uint32_t middle_word(unsigned bits, int planar, int minus_one, uint64_t word)
{
    const uint32_t field = (1u << (bits - 1)) - (uint32_t)minus_one;
    uint64_t stream = 0;
    if (planar) {
        uint8_t run[PLANAR_RUN], packed[4 * BITS_MAX];
        memset(run, (int)field, sizeof run);
        planar_pack(run, PLANAR_RUN, bits, packed);
        return load_le32(packed + 4 * (word % bits));
    }
    if (32 % bits == 0) {
        for (unsigned i = 0; i < 32; i += bits) stream |= (uint64_t)field << i;
        return (uint32_t)stream;
    }
    for (unsigned i = 0; i < 32 * bits; i += bits) /* the three words of 32 3-bit fields */
        if (i / 32 == word % bits || (i + bits - 1) / 32 == word % bits) {
            const int at = (int)i - 32 * (int)(word % bits);
            stream |= at >= 0 ? (uint64_t)field << at : (uint64_t)field >> -at;
        }
    return (uint32_t)stream;
}

/* Are all zeros stored as one of the two constants?  Bits of no row do not count. */
static int is_middle(const glmq_encoding *e, const uint8_t *zeros, uint64_t rows, uint64_t groups,
                     int minus_one)
{
    const uint64_t words = ceil_div_u64(rows * e->bits, 32), tail = rows * e->bits % 32;

    for (uint64_t i = 0; i < words; i++) {
        const uint32_t want = middle_word(e->bits, is_planar(e), minus_one, i);
        const uint32_t used = i + 1 == words && tail ? (1u << tail) - 1 : UINT32_MAX;
        for (uint64_t g = 0; g < groups; g++)
            if ((load_le32(zeros + 4 * (g * words + i)) ^ want) & used) return 0;
    }
    return 1;
}

/* Some exporters write the zeros of symmetric tensors in the other version's form: either
 * constant means the middle.  Other zeros under a "sym" label are taken as stored. */
static glmq_status gptq_check(glmq_encoding *e, const glmq_bufs *b, uint64_t rows, uint64_t cols,
                              glmq_error *err)
{
    const uint32_t groups = glmq_encoding_groups(e, cols);
    const uint8_t *zeros = b->buf[GLMQ_SLOT_ZEROS];
    int trivial = 1;

    if (!zeros) return glmq_fail_missing(err, GLMQ_E_FORMAT, "gptq: no zero points are stored");
    if (e->zero_kind == GLMQ_ZERO_MID && !is_middle(e, zeros, rows, groups, 0) &&
        !is_middle(e, zeros, rows, groups, 1))
        e->zero_kind = GLMQ_ZERO_STORED;
    if (!e->act_order) return GLMQ_OK;
    if (!b->buf[GLMQ_SLOT_PERM])
        return glmq_fail_missing(err, GLMQ_E_FORMAT, "gptq: act-order without a g_idx");
    GLMQ_TRY(ints_check_perm("gptq", b->buf[GLMQ_SLOT_PERM], cols, glmq_encoding_group(e, cols),
                             groups, &trivial, err));
    if (trivial) e->act_order = 0;
    return GLMQ_OK;
}

static void gptq_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w)
{
    const ints_map m = gptq_map(e, b, t);
    ints_decode(&m, w);
}

static void put_perm(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, const int32_t *perm)
{
    if (e->act_order && b->buf[GLMQ_SLOT_PERM] && t.row == 0)
        ints_put_perm(b->buf[GLMQ_SLOT_PERM], t.cols, glmq_encoding_group(e, t.cols), perm);
}

static void gptq_encode(const glmq_encoding *e, const glmq_stats *stats, glmq_tile t,
                        const float *w, glmq_bufs *b)
{
    ints_map m = gptq_map(e, b, t);
    (void)stats;
    m.perm = NULL;
    put_perm(e, b, t, NULL);
    ints_encode(&m, w);
}

static void gptq_get(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, glmq_codes *codes)
{
    const ints_map m = gptq_map(e, b, t);
    ints_get(&m, codes);
}

static glmq_status gptq_put(const glmq_encoding *e, const glmq_codes *codes, glmq_tile t,
                            glmq_bufs *b, glmq_error *err)
{
    const codes_target to = ints_target(e, "gptq", t.cols);
    ints_map m;

    if (!codes->q) return ints_fit(&to, codes, t, err);
    m = gptq_map(e, b, t);
    put_perm(e, b, t, codes->perm);
    return ints_put(&m, &to, codes, t, err);
}

static size_t gptq_print(const glmq_encoding *e, char *text, size_t cap)
{
    const size_t n = ints_print(e, text, cap);
    const int more = snprintf(n < cap ? text + n : NULL, n < cap ? cap - n : 0, ",%s",
                              e->variant == GPTQ_V1      ? "v1"
                              : e->variant == GPTQ_V1_OR ? "v1-or"
                              : is_planar(e)             ? "planar"
                                                         : "v2");
    return n + (size_t)more;
}

const glmq_codec glmq_codec_gptq = {
    .name = "gptq",
    .about = "2 to 8-bit integers in groups, input dimension first (GPTQ, AutoRound)",
    .takes_stream = 1,
    .layout = gptq_layout,
    .check = gptq_check,
    .decode = gptq_decode,
    .encode = gptq_encode,
    .get_codes = gptq_get,
    .put_codes = gptq_put,
    .print = gptq_print,
};
