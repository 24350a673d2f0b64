/* TQ3, the native checkpoints of TurboQuant.  For a matrix of N rows and K columns in G groups:
 *
 *   CODES   U8  [N * G, B], or [N, G * B]    B bytes of indices per group
 *   SCALES  F32 [N, G]                       norms; F16 and BF16 are read too
 *
 * The last group of a row is stored whole, whatever K is.  Book and rotation are stored
 * nowhere: they follow from group, bits and seed.  The arithmetic is in tq3_block.h. */
#include "tq3.h"
#include "base/error.h"
#include "base/safe.h"
#include "codes.h"
#include "ints.h"
#include "kernels.h"
#include "tq3_tables.h"
#include <stdio.h>
#include <string.h>

enum { PACKED_WIDTHS = 1 << 2 | 1 << 3 | 1 << 4, NORMS = 256 };

uint64_t tq3_group_bytes(uint32_t group, unsigned bits)
{
    return bits < 8 && PACKED_WIDTHS >> bits & 1 ? (uint64_t)group / 8 * bits : 0;
}

static uint64_t bytes_of(const glmq_encoding *e)
{
    return e->variant & TQ3_BYTES ? e->group : tq3_group_bytes(e->group, e->bits);
}

/* ---- the rotation: signs from a Mersenne Twister, as its authors seed it ---- */

enum { MT_WORDS = 624, MT_MIDDLE = 397 };

typedef struct twister {
    uint32_t word[MT_WORDS];
    size_t at;
} twister;

static void twister_seed(twister *t, uint32_t seed)
{
    t->word[0] = seed;
    for (uint32_t i = 1; i < MT_WORDS; i++)
        t->word[i] = 1812433253u * (t->word[i - 1] ^ t->word[i - 1] >> 30) + i;
    t->at = MT_WORDS;
}

static void twister_turn(twister *t)
{
    for (size_t i = 0; i < MT_WORDS; i++) {
        const uint32_t next = t->word[(i + 1) % MT_WORDS];
        const uint32_t y = (t->word[i] & 0x80000000u) | (next & 0x7fffffffu);
        t->word[i] = t->word[(i + MT_MIDDLE) % MT_WORDS] ^ y >> 1 ^ (y & 1 ? 0x9908b0dfu : 0);
    }
    t->at = 0;
}

static uint32_t twister_draw(twister *t)
{
    uint32_t y;

    if (t->at == MT_WORDS) twister_turn(t);
    y = t->word[t->at++];
    y ^= y >> 11;
    y ^= y << 7 & 0x9d2c5680u;
    y ^= y << 15 & 0xefc60000u;
    return y ^ y >> 18;
}

void tq3_signs(uint64_t seed, uint32_t group, uint8_t *bits)
{
    twister t;

    twister_seed(&t, (uint32_t)seed);
    memset(bits, 0, group / 4);
    for (uint32_t i = 0; i < 2 * group; i++)
        bits[i / 8] = (uint8_t)(bits[i / 8] | (twister_draw(&t) & 1) << i % 8);
}

void tq3_book(uint32_t group, unsigned bits, float *book)
{
    const uint32_t n = 1u << bits, half = n / 2, odd = group & 0xaaaaaaaau ? 1 : 0;
    const uint32_t *upper = tq3_books[odd] + half - 1;
    float scale = 1; /* a power of two: products are exact */

    for (uint32_t g = group; g > 128; g /= 4) scale /= 2;
    for (uint32_t g = group; g < 64; g *= 4) scale *= 2;
    for (uint32_t i = 0; i < TQ3_BOOK; i++) {
        const uint32_t k = i % n;
        book[i] = k < half ? -f32_from_bits(upper[half - 1 - k]) : f32_from_bits(upper[k - half]);
        book[i] *= scale;
    }
}

/* sqrt(group), correctly rounded. */
static float root_of(uint32_t group)
{
    float root = 1;

    for (; group >= 4; group /= 4) root *= 2;
    return group == 2 ? root * 0x1.6a09e6p+0f : root;
}

/* A thread decodes tile after tile with the same signs: it keeps the last ones it drew. */
static const uint8_t *signs_of(uint64_t seed, uint32_t group)
{
    static _Thread_local struct {
        uint32_t seed, group;
        uint8_t bits[TQ3_GROUP_MAX / 4];
    } last;

    if (last.group != group || last.seed != (uint32_t)seed) {
        tq3_signs(seed, group, last.bits);
        last.group = group;
        last.seed = (uint32_t)seed;
    }
    return last.bits;
}

typedef struct tables {
    float book[TQ3_BOOK];
    uint32_t signs[2 * TQ3_GROUP_MAX];
} tables;

static tq3_rotation rotation_of(const glmq_encoding *e, tables *t)
{
    const uint8_t *signs = signs_of(e->seed, e->group);

    tq3_book(e->group, e->bits, t->book);
    for (uint32_t i = 0; i < 2 * e->group; i++)
        t->signs[i] = signs[i / 8] >> i % 8 & 1 ? 0 : 0x80000000u;
    return (tq3_rotation){
        .group = e->group,
        .bits = e->bits,
        .stored_bits = e->variant & TQ3_BYTES ? 8 : e->bits,
        .root = root_of(e->group),
        .book = t->book,
        .s1 = t->signs,
        .s2 = t->signs + e->group,
    };
}

/* ---- layout and check ---- */

static glmq_status check_params(const glmq_encoding *e, glmq_error *err)
{
    if (e->group & (e->group - 1) || e->group < TQ3_GROUP_MIN)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "tq3: groups of %u, expected a power of two from %d on", e->group,
                         TQ3_GROUP_MIN);
    if (e->group > TQ3_GROUP_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "tq3: groups of %u, at most %d", e->group,
                         TQ3_GROUP_MAX);
    if (e->bits < 1 || e->bits > TQ3_BITS_MAX || !bytes_of(e))
        return glmq_fail(err, GLMQ_E_FORMAT, "tq3: %u bits", e->bits);
    return GLMQ_OK;
}

static glmq_status tq3_layout(const glmq_encoding *e, uint64_t rows, uint64_t cols,
                              glmq_layout *out, glmq_error *err)
{
    const uint64_t groups = e->group ? ceil_div_u64(cols, e->group) : 0;
    glmq_slot_layout codes = { GLMQ_DT_U8, .rank = 2, .stripe_rows = 1 };
    const int by_row = e->variant & TQ3_BY_ROW;

    *out = (glmq_layout){ .row_quantum = 1 };
    GLMQ_TRY(ints_check_params(e, "tq3", 0x1fe, rows, cols, err));
    GLMQ_TRY(check_params(e, err));
    codes.dims[1] = bytes_of(e) * (by_row ? groups : 1); /* cols are 31 bits */
    if (mul_u64(rows, by_row ? 1 : groups, &codes.dims[0]))
        return glmq_fail(err, GLMQ_E_LIMIT, "tq3: size overflows 64 bits");
    GLMQ_TRY(ints_slot(out, GLMQ_SLOT_CODES, codes, by_row ? 1 : groups, "tq3", err));
    return ints_slot(out, GLMQ_SLOT_SCALES,
                     (glmq_slot_layout){ (glmq_dtype)e->scale_dtype, .rank = 2,
                                         .dims = { rows, groups }, .stripe_rows = 1 },
                     1, "tq3", err);
}

/* Bit streams hold no index that is too large; bytes may. */
static glmq_status tq3_check_rows(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t,
                                  glmq_error *err)
{
    const uint64_t row = ceil_div_u64(t.cols, e->group) * e->group;
    const uint8_t *codes = b->buf[GLMQ_SLOT_CODES];

    if (!(e->variant & TQ3_BYTES)) return GLMQ_OK;
    for (uint64_t i = (t.row - b->row0) * row, end = i + t.rows * row; i < end; i++)
        if (codes[i] >> e->bits)
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "index %u of row %" PRIu64 ", group %" PRIu64
                             " is outside the book of %d",
                             codes[i], b->row0 + i / row, i % row / e->group, 1 << e->bits);
    return GLMQ_OK;
}

/* ---- decode ---- */

typedef struct job {
    tables tab;
    tq3_rotation r;
    const glmq_kernels *k;
    float_kind kind; /* of the norms */
    float bounds[TQ3_BOOK];
} job;

static void job_open(job *j, const glmq_encoding *e)
{
    j->r = rotation_of(e, &j->tab);
    j->k = glmq_kernels_now();
    j->kind = codes_float_kind((glmq_dtype)e->scale_dtype);
}

/* A run of whole groups in the buffers. */
typedef struct run {
    uint8_t *codes, *norms;
} run;

static run skip(const job *j, run at, uint64_t groups)
{
    at.codes += groups * tq3_bytes(&j->r);
    at.norms += groups * float_bytes(j->kind);
    return at;
}

static run run_of(const job *j, const glmq_bufs *b, glmq_tile t)
{
    const run first = { b->buf[GLMQ_SLOT_CODES], b->buf[GLMQ_SLOT_SCALES] };
    return skip(j, first, (t.row - b->row0) * ceil_div_u64(t.cols, j->r.group));
}

static void decode_groups(const job *j, run at, uint64_t groups, float *w)
{
    float norm[NORMS];

    while (groups) {
        const size_t n = groups < NORMS ? (size_t)groups : NORMS;
        j->k->widen[j->kind](at.norms, n, norm);
        j->k->tq3_decode(&j->r, at.codes, norm, n, w);
        at = skip(j, at, n);
        w += n * j->r.group;
        groups -= n;
    }
}

/* A row whose last group is longer than what is left of the row. */
static void decode_row(const job *j, run at, uint64_t cols, float *w)
{
    const uint64_t whole = cols / j->r.group;
    float last[TQ3_GROUP_MAX];

    decode_groups(j, at, whole, w);
    decode_groups(j, skip(j, at, whole), 1, last);
    memcpy(w + whole * j->r.group, last, (size_t)(cols % j->r.group) * sizeof *w);
}

static void tq3_decode(const glmq_encoding *e, const glmq_bufs *b, glmq_tile t, float *w)
{
    const uint64_t groups = ceil_div_u64(t.cols, e->group);
    run at;
    job j;

    job_open(&j, e);
    at = run_of(&j, b, t);
    if (t.cols % e->group == 0) {
        decode_groups(&j, at, t.rows * groups, w);
        return;
    }
    for (uint64_t r = 0; r < t.rows; r++)
        decode_row(&j, skip(&j, at, r * groups), t.cols, w + r * t.cols);
}

/* ---- encode: the rule of the format's own writer ---- */

static void encode_groups(const job *j, const float *w, uint64_t groups, run at)
{
    float norm[NORMS];

    while (groups) {
        const size_t n = groups < NORMS ? (size_t)groups : NORMS;
        j->k->tq3_encode(&j->r, j->bounds, w, n, at.codes, norm);
        j->k->narrow[j->kind](norm, n, at.norms);
        at = skip(j, at, n);
        w += n * j->r.group;
        groups -= n;
    }
}

/* The last group of a row is filled up with zeros. */
static void encode_row(const job *j, const float *w, uint64_t cols, run at)
{
    const uint64_t whole = cols / j->r.group;
    float last[TQ3_GROUP_MAX];

    memset(last, 0, j->r.group * sizeof *last);
    memcpy(last, w + whole * j->r.group, (size_t)(cols % j->r.group) * sizeof *w);
    encode_groups(j, w, whole, at);
    encode_groups(j, last, 1, skip(j, at, whole));
}

static void tq3_encode(const glmq_encoding *e, const glmq_stats *stats, glmq_tile t, const float *w,
                       glmq_bufs *b)
{
    const uint64_t groups = ceil_div_u64(t.cols, e->group);
    run at;
    job j;

    (void)stats;
    job_open(&j, e);
    for (uint32_t i = 0; i + 1 < 1u << e->bits; i++)
        j.bounds[i] = (j.r.book[i] + j.r.book[i + 1]) / 2;
    at = run_of(&j, b, t);
    if (t.cols % e->group == 0) {
        encode_groups(&j, w, t.rows * groups, at);
        return;
    }
    for (uint64_t r = 0; r < t.rows; r++)
        encode_row(&j, w + r * t.cols, t.cols, skip(&j, at, r * groups));
}

static size_t tq3_print(const glmq_encoding *e, char *text, size_t cap)
{
    const char *scale = e->scale_dtype == GLMQ_DT_F32 ? "" : ",scale=";
    const int n =
        snprintf(text, cap, "bits=%u,group=%u,seed=%" PRIu64 "%s%s%s%s", e->bits, e->group, e->seed,
                 scale, *scale ? glmq_dtype_name((glmq_dtype)e->scale_dtype) : "",
                 e->variant & TQ3_BYTES ? ",bytes" : "", e->variant & TQ3_BY_ROW ? ",by-row" : "");
    return n < 0 ? 0 : (size_t)n;
}

const glmq_codec glmq_codec_tq3 = {
    .name = "tq3",
    .about = "rotated groups with a normal book, 1 to 8 bits (TurboQuant)",
    .layout = tq3_layout,
    .check_rows = tq3_check_rows,
    .decode = tq3_decode,
    .encode = tq3_encode,
    .print = tq3_print,
};
