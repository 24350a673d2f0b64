/* What the integer codecs have in common: see ints.h.
 *
 * Codes are unpacked in blocks of ROWS rows by CODES_CHUNK columns on the stack.  Where the
 * file stores the input dimension first (GPTQ) such a block is a transpose of 32-bit words:
 * ROWS words side by side are one cache line of it.  Decoding is in ints_decode.c, zero points
 * are in ints_zeros.c. */
#include "ints.h"
#include "base/error.h"
#include "base/num.h"
#include "base/safe.h"
#include "ints_parts.h"
#include "ints_rule.h"
#include "planar.h"
#include <stdio.h>
#include <string.h>

enum {
    WORDS = CODES_CHUNK / 4, /* of a chunk of 8-bit codes                                */
    SMALL_ROWS = 32          /* of scales and zeros put together: most that share a word */
};

/* ---- scales, one by one ---- */

float ints_scale_at(const ints_map *m, uint64_t r, uint64_t g)
{
    const uint64_t i = r * m->scale_row + g * m->scale_group;
    if (m->scale_kind == FLOAT_F16) return f32_from_f16(load_le16(m->scales + 2 * i));
    if (m->scale_kind == FLOAT_BF16) return f32_from_bf16(load_le16(m->scales + 2 * i));
    return f32_from_bits(load_le32(m->scales + 4 * i));
}

static void set_scale(const ints_map *m, uint64_t r, uint64_t g, float s)
{
    const size_t each = float_bytes(m->scale_kind);
    glmq_kernels_now()->narrow[m->scale_kind](
        &s, 1, m->scales + each * (r * m->scale_row + g * m->scale_group));
}

/* ---- codes, in blocks ---- */

static size_t words_of(const ints_map *m, size_t n)
{
    return (n * m->bits + 31) / 32;
}

uint64_t ints_block_rows(const ints_map *m)
{
    if (m->interleaved) return ROWS;
    return m->code_bytes || m->code_word == 1 ? 1 : ROWS;
}

/* One nibble of each of n adjacent words. */
static void take_nibbles(const uint32_t *word, size_t n, unsigned at, uint8_t *q)
{
    for (size_t k = 0; k < n; k++) q[k] = (uint8_t)(word[k] >> at & 15);
}

/* AWQ: row 8k + i of a column is a nibble of word k of that column.  The words of a block are
 * gathered once, each for its 8 rows. */
static void load_interleaved(const ints_map *m, uint64_t r, uint64_t rows, uint64_t c, size_t n,
                             uint8_t *q, uint64_t stride)
{
    enum { SPAN = ROWS / 8 + 1 }; /* words of ROWS rows that begin anywhere */
    const uint64_t first = m->zero_first + r, base = first / 8;
    const uint64_t words = (first + rows - 1) / 8 - base + 1;
    const uint8_t *p = m->codes + 4 * (base + c * m->code_word);
    uint32_t turned[SPAN][CODES_CHUNK];

    for (size_t k = 0; k < n; k++)
        for (uint64_t i = 0; i < words; i++)
            turned[i][k] = load_le32(p + 4 * (k * m->code_word + i));
    for (uint64_t i = 0; i < rows; i++)
        take_nibbles(turned[(first + i) / 8 - base], n, ints_nibble_at(first + i), q + i * stride);
}

/* Whole words: tiles begin at a multiple of 8 rows, and the matrix ends at one. */
static void store_interleaved(const ints_map *m, uint64_t r, uint64_t rows, uint64_t c, size_t n,
                              const uint8_t *const *q)
{
    for (uint64_t i = 0; i + 8 <= rows; i += 8) {
        uint8_t *p = m->codes + 4 * ((m->zero_first + r + i) / 8 + c * m->code_word);

        for (size_t k = 0; k < n; k++) {
            uint32_t word = 0;
            for (unsigned j = 0; j < 8; j++) word |= (uint32_t)q[i + j][k] << ints_nibble_at(j);
            store_le32(p + 4 * k * m->code_word, word);
        }
    }
}

/* So many codes to a word, the rest of it empty. */
static void load_loose(const ints_map *m, uint64_t r, uint64_t c, size_t n, uint8_t *q)
{
    const uint8_t *p = m->codes + 4 * r * m->code_row;
    const uint32_t mask = (1u << m->bits) - 1;

    for (size_t i = 0; i < n; i++) {
        const uint64_t at = c + i;
        q[i] = (uint8_t)(load_le32(p + 4 * (at / m->loose)) >> at % m->loose * m->bits & mask);
    }
}

static void store_loose(const ints_map *m, uint64_t r, uint64_t c, size_t n, const uint8_t *q)
{
    uint8_t *p = m->codes + 4 * r * m->code_row;

    for (size_t i = 0; i < n; i++) {
        const uint64_t at = c + i;
        const uint32_t code = (uint32_t)q[i] << at % m->loose * m->bits;
        const uint32_t word = at % m->loose ? load_le32(p + 4 * (at / m->loose)) : 0;
        store_le32(p + 4 * (at / m->loose), word | code);
    }
}

void ints_load_codes(const ints_map *m, uint64_t r, uint64_t rows, uint64_t c, size_t n, uint8_t *q,
                     uint64_t stride)
{
    const glmq_kernels *k = glmq_kernels_now();
    uint8_t turned[ROWS * WORDS * 4];
    const uint8_t *p;

    if (m->interleaved) {
        load_interleaved(m, r, rows, c, n, q, stride);
        return;
    }
    if (m->code_bytes) {
        p = m->codes + r * m->code_row + c;
        for (size_t i = 0; i < n; i++) q[i] = p[i] ^ 0x80;
        return;
    }
    if (m->loose) {
        load_loose(m, r, c, n, q);
        return;
    }
    p = m->codes + 4 * (r * m->code_row + c * m->bits / 32 * m->code_word);
    if (m->code_word == 1) {
        k->unpack[m->bits](p, n, q);
        return;
    }
    k->transpose[4](p, m->code_word, words_of(m, n), rows, turned, WORDS);
    for (uint64_t i = 0; i < rows; i++) {
        if (m->planar)
            planar_unpack(turned + i * WORDS * 4, n, m->bits, q + i * stride);
        else
            k->unpack[m->bits](turned + i * WORDS * 4, n, q + i * stride);
    }
}

/* A row's codes as whole words. */
static void pack_words(const ints_map *m, const uint8_t *q, size_t n, uint8_t *dst)
{
    const size_t words = words_of(m, n);
    if (m->planar) {
        planar_pack(q, n, m->bits, dst);
        return;
    }
    store_le32(dst + 4 * (words - 1), 0); /* bits of no code */
    glmq_kernels_now()->pack[m->bits](q, n, dst);
}

/* Rows of whole words without a gap, lowest bits first; a step apart each way. */
static int has_plain_words(const ints_map *m)
{
    return !m->interleaved && !m->code_bytes && !m->loose && !m->planar &&
           m->cols * m->bits % 32 == 0;
}

/* Whole words of AWQ, eight rows each. */
static int has_nibble_squares(const ints_map *m)
{
    return m->interleaved && m->cols % 8 == 0 && m->rows % 8 == 0 && m->zero_first % 8 == 0;
}

/* Words stay words, turned where they are stored by columns.  1: that was all. */
static int store_stream(const ints_map *m, const glmq_codes *codes)
{
    const glmq_kernels *k = glmq_kernels_now();
    const size_t words = words_of(m, m->cols), row = 4 * words;

    if (!codes->stream || codes->bits != m->bits) return 0;
    if (has_nibble_squares(m))
        for (uint64_t r = 0; r < m->rows; r += 8)
            k->nibbles_from_streams(codes->stream + r * row, row, m->cols, ints_nibble_of,
                                    m->codes + (m->zero_first + r) / 2, m->code_word);
    else if (!has_plain_words(m))
        return 0;
    else if (m->code_word == 1)
        memcpy(m->codes, codes->stream, m->rows * row);
    else
        k->transpose[4](codes->stream, words, m->rows, words, m->codes, m->code_word);
    return 1;
}

/* The tile's codes as they are packed, if that will do.  Words that lie by columns are turned
 * into the room of q. */
static void get_stream(const ints_map *m, glmq_codes *codes)
{
    const glmq_kernels *k = glmq_kernels_now();
    const size_t words = words_of(m, m->cols), row = 4 * words;
    const int squares = has_nibble_squares(m);

    codes->stream = NULL;
    if (!codes->q || !codes->stream_will_do || !(squares || has_plain_words(m))) return;
    codes->stream = !squares && m->code_word == 1 ? m->codes : codes->q;
    if (squares)
        for (uint64_t r = 0; r < m->rows; r += 8)
            k->nibbles_to_streams(m->codes + (m->zero_first + r) / 2, m->code_word, m->cols,
                                  ints_nibble_of, codes->q + r * row, row);
    else if (m->code_word != 1)
        k->transpose[4](m->codes, m->code_word, words, m->rows, codes->q, words);
}

/* q[i]: the codes of row r + i, in the frame of `bits`. */
static void store_codes(const ints_map *m, uint64_t r, uint64_t rows, uint64_t c, size_t n,
                        const uint8_t *const *q)
{
    uint8_t turned[ROWS * WORDS * 4];
    uint8_t *p;

    if (m->interleaved) {
        store_interleaved(m, r, rows, c, n, q);
        return;
    }
    if (m->code_bytes) {
        const uint8_t half = (uint8_t)(1u << (m->bits - 1));
        p = m->codes + r * m->code_row + c;
        for (size_t i = 0; i < n; i++) p[i] = (uint8_t)(q[0][i] - half);
        return;
    }
    if (m->loose) {
        store_loose(m, r, c, n, q[0]);
        return;
    }
    p = m->codes + 4 * (r * m->code_row + c * m->bits / 32 * m->code_word);
    if (m->code_word == 1) {
        pack_words(m, q[0], n, p);
        return;
    }
    for (uint64_t i = 0; i < rows; i++) pack_words(m, q[i], n, turned + i * WORDS * 4);
    glmq_kernels_now()->transpose[4](turned, WORDS, rows, words_of(m, n), p, m->code_word);
}

/* ---- encode ---- */

static void encode_scales(const ints_map *m, const float *w)
{
    const uint64_t step = ints_shared_rows(m);
    int zero[32];

    if (m->scale_row == 0) { /* one for the tensor, which is the tile */
        const float s = ints_choose_scale(m, w, (size_t)(m->rows * m->cols), zero);
        set_scale(m, 0, 0, s);
        ints_set_zeros(m, 0, 0, zero, 1);
        return;
    }
    for (uint64_t r = 0; r < m->rows; r += step) {
        const uint64_t rows = least(step, m->rows - r);
        for (uint64_t g = 0; g < m->groups; g++) {
            const uint64_t c = g * m->group;
            const size_t n = (size_t)least(m->group, m->cols - c);
            for (uint64_t i = 0; i < rows; i++)
                set_scale(m, r + i, g,
                          ints_choose_scale(m, w + (r + i) * m->cols + c, n, &zero[i]));
            ints_set_zeros(m, r, g, zero, rows);
        }
    }
}

static void encode_row(const ints_map *m, uint64_t r, uint64_t c, size_t n, const float *w,
                       uint8_t *q)
{
    const glmq_kernels *k = glmq_kernels_now();
    const int half = 1 << (m->bits - 1), frame = (1 << (m->frame - 1)) - half;

    for (size_t i = 0, run; i < n; i += run) {
        const uint64_t g = (c + i) / m->group;
        const float s = ints_scale_at(m, r, g);
        const int zero = ints_zero_at(m, r, g) - frame;
        run = ints_group_run(m, c + i, n - i);
        if (m->rule == RULE_GPTQ)
            k->quantize(w + i, run, s, zero, 2 * half - 1, q + i);
        else
            k->quantize_in[m->scale_kind](w + i, run, s, zero - half, half, q + i);
    }
}

void ints_encode(const ints_map *m, const float *w)
{
    const uint64_t step = ints_block_rows(m);
    uint8_t q[ROWS][CODES_CHUNK];
    const uint8_t *row[ROWS];

    encode_scales(m, w);
    for (uint64_t r = 0; r < m->rows; r += step) {
        const uint64_t rows = least(step, m->rows - r);
        for (uint64_t c = 0; c < m->cols; c += CODES_CHUNK) {
            const size_t n = (size_t)least(CODES_CHUNK, m->cols - c);
            for (uint64_t i = 0; i < rows; i++) {
                encode_row(m, r + i, c, n, w + (r + i) * m->cols + c, q[i]);
                row[i] = q[i];
            }
            store_codes(m, r, rows, c, n, row);
        }
    }
}

/* ---- the codes view ---- */

/* Scales of all rows where those of a group lie side by side: turned in blocks, and widened
 * row by row. */
static void get_turned_scales(const ints_map *m, float *scale)
{
    const glmq_kernels *k = glmq_kernels_now();
    const size_t each = float_bytes(m->scale_kind);
    uint8_t block[ROWS][CODES_RUN * 4];

    for (uint64_t r = 0; r < m->rows; r += ROWS) {
        const uint64_t rows = least(ROWS, m->rows - r);
        for (uint32_t g = 0; g < m->groups; g += CODES_RUN) {
            const size_t groups = (size_t)least(CODES_RUN, m->groups - g);
            k->transpose[each](m->scales + each * (r + g * m->scale_group), m->scale_group, groups,
                               rows, block[0], sizeof block[0] / each);
            for (uint64_t i = 0; i < rows; i++)
                k->widen[m->scale_kind](block[i], groups, scale + (r + i) * m->groups + g);
        }
    }
}

static void get_scales(const ints_map *m, float *scale)
{
    const glmq_kernels *k = glmq_kernels_now();
    const size_t each = float_bytes(m->scale_kind);

    if (m->scale_group != 1 && m->scale_row == 1) {
        get_turned_scales(m, scale);
        return;
    }
    for (uint64_t r = 0; r < m->rows; r++)
        if (m->scale_group == 1)
            k->widen[m->scale_kind](m->scales + each * r * m->scale_row, m->groups,
                                    scale + r * m->groups);
        else
            for (uint32_t g = 0; g < m->groups; g++)
                scale[r * m->groups + g] = ints_scale_at(m, r, g);
}

void ints_get(const ints_map *m, glmq_codes *codes)
{
    const uint64_t step = ints_block_rows(m);
    const uint64_t chunk = step == 1 ? m->cols : CODES_CHUNK;

    codes->kind = GLMQ_CODES_INT;
    codes->bits = (uint8_t)m->frame;
    codes->has_offset = 0;
    codes->group = m->group;
    codes->groups = m->groups;
    codes->perm = (const int32_t *)(const void *)m->perm; /* uncut slots are aligned */
    codes->lut = NULL;
    codes->global = 1;
    codes->divides = 0;
    get_scales(m, codes->scale);
    ints_get_zeros(m, codes);
    get_stream(m, codes);
    if (!codes->q || codes->stream) return;
    for (uint64_t r = 0; r < m->rows; r += step)
        for (uint64_t c = 0; c < m->cols; c += chunk)
            ints_load_codes(m, r, least(step, m->rows - r), c, (size_t)least(chunk, m->cols - c),
                            codes->q + r * m->cols + c, m->cols);
}

codes_target ints_target(const glmq_encoding *e, const char *name, uint64_t cols)
{
    return (codes_target){
        .name = name,
        .bits = e->bits,
        .zeros = e->zero_kind == GLMQ_ZERO_STORED ? CODES_STORED : CODES_MID,
        .scale = codes_float_kind((glmq_dtype)e->scale_dtype),
        .perm = e->act_order == GLMQ_ACT_ORDER,
        .group = glmq_encoding_group(e, cols),
        .groups = glmq_encoding_groups(e, cols),
    };
}

glmq_status ints_fit(const codes_target *to, const glmq_codes *codes, glmq_tile t, glmq_error *err)
{
    codes_small small;

    GLMQ_TRY(codes_fit(to, codes, t, err));
    for (uint64_t r = 0; r < t.rows; r++)
        for (uint32_t g = 0; g < to->groups; g += CODES_RUN)
            GLMQ_TRY(codes_small_run(to, codes, t, r, g, (uint32_t)least(CODES_RUN, to->groups - g),
                                     &small, err));
    return GLMQ_OK;
}

/* Stored scales of rows [r, r + rows), groups [g, g + n), a row of `stored` for each. */
static void put_scales(const ints_map *m, uint64_t r, uint64_t rows, uint32_t g, uint32_t n,
                       const uint8_t stored[][CODES_RUN * 4])
{
    const size_t each = float_bytes(m->scale_kind);
    uint8_t *p = m->scales + each * (r * m->scale_row + g * m->scale_group);

    if (m->scale_group > 1)
        glmq_kernels_now()->transpose[each](stored[0], sizeof stored[0] / each, rows, n, p,
                                            m->scale_group);
    else
        for (uint64_t i = 0; i < rows; i++)
            memcpy(p + each * i * m->scale_row, stored[i], n * each);
}

/* Scales and zeros of at most SMALL_ROWS rows: the scales of a group are then written side by
 * side where they lie so. */
static glmq_status put_small(const ints_map *m, const codes_target *to, const glmq_codes *codes,
                             glmq_tile t, uint64_t r, uint64_t rows, glmq_error *err)
{
    uint8_t stored[SMALL_ROWS][CODES_RUN * 4];
    int16_t zero[SMALL_ROWS][CODES_RUN];
    codes_small small;

    for (uint32_t g = 0; g < m->groups; g += CODES_RUN) {
        const uint32_t n = (uint32_t)least(CODES_RUN, m->groups - g);
        for (uint64_t i = 0; i < rows; i++) {
            GLMQ_TRY(codes_small_run(to, codes, t, r + i, g, n, &small, err));
            memcpy(stored[i], small.stored_scale, n * float_bytes(m->scale_kind));
            memcpy(zero[i], small.zero, n * sizeof *small.zero);
        }
        put_scales(m, r, rows, g, n, stored);
        if (m->zero_kind != INTS_MID) ints_put_zeros(m, r, rows, g, n, zero);
    }
    for (uint64_t i = 0; m->zero_kind == INTS_MID && i < rows; i += ints_shared_rows(m))
        ints_put_middle(m, r + i, least(ints_shared_rows(m), rows - i));
    return GLMQ_OK;
}

glmq_status ints_put(const ints_map *m, const codes_target *to, const glmq_codes *codes,
                     glmq_tile t, glmq_error *err)
{
    const uint64_t step = ints_block_rows(m);
    const uint64_t small_step = SMALL_ROWS / ints_shared_rows(m) * ints_shared_rows(m);
    uint8_t room[ROWS][CODES_CHUNK];
    const uint8_t *row[ROWS];

    GLMQ_TRY(codes_fit(to, codes, t, err));
    for (uint64_t r = 0; r < m->rows; r += small_step)
        GLMQ_TRY(put_small(m, to, codes, t, r, least(small_step, m->rows - r), err));
    if (codes_unchanged(to, codes) && store_stream(m, codes)) return GLMQ_OK;
    for (uint64_t r = 0; r < m->rows; r += step) {
        const uint64_t rows = least(step, m->rows - r);
        for (uint64_t c = 0; c < m->cols; c += CODES_CHUNK) {
            const size_t n = (size_t)least(CODES_CHUNK, m->cols - c);
            for (uint64_t i = 0; i < rows; i++)
                GLMQ_TRY(codes_row(to, codes, t, r + i, c, n, room[i], &row[i], err));
            store_codes(m, r, rows, c, n, row);
        }
    }
    return GLMQ_OK;
}

/* ---- permutations ---- */

void ints_put_perm(uint8_t *slot, uint64_t cols, uint32_t group, const int32_t *perm)
{
    for (uint64_t c = 0; c < cols; c++)
        store_le32(slot + 4 * c, perm ? (uint32_t)perm[c] : (uint32_t)(c / group));
}

glmq_status ints_check_perm(const char *name, uint8_t *slot, uint64_t cols, uint32_t group,
                            uint32_t groups, int *trivial, glmq_error *err)
{
    *trivial = 1;
    for (uint64_t c = 0; c < cols; c++) {
        const int64_t stored = (int32_t)load_le32(slot + 4 * c);
        const int64_t g = stored < 0 ? stored + groups : stored;
        if (g < 0 || g >= groups)
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "%s: g_idx %" PRId64 " of column %" PRIu64 ", there are %u groups",
                             name, stored, c, groups);
        store_le32(slot + 4 * c, (uint32_t)g);
        if ((uint64_t)g != c / group) *trivial = 0;
    }
    return GLMQ_OK;
}

/* ---- parameters ---- */

glmq_status ints_slot(glmq_layout *l, int slot, glmq_slot_layout s, uint64_t array_rows,
                      const char *name, glmq_error *err)
{
    uint64_t count = 1;

    for (int i = 0; i < s.rank; i++)
        if (mul_u64(count, s.dims[i], &count))
            return glmq_fail(err, GLMQ_E_LIMIT, "%s: size overflows 64 bits", name);
    if (glmq_dtype_bytes(s.dtype, count, &s.bytes))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: size overflows 64 bits", name);
    if (s.stripe_rows) s.stripe_bytes = s.bytes / s.dims[0] * array_rows;
    l->slot[slot] = s;
    return GLMQ_OK;
}

glmq_status ints_check_params(const glmq_encoding *e, const char *name, unsigned widths,
                              uint64_t rows, uint64_t cols, glmq_error *err)
{
    if (e->bits > 8 || !(widths >> e->bits & 1))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %u bits", name, e->bits);
    if (!glmq_dtype_is_float((glmq_dtype)e->scale_dtype))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: scales of type %s", name,
                         glmq_dtype_name((glmq_dtype)e->scale_dtype));
    if (rows == 0 || cols == 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: an empty matrix, %" PRIu64 " x %" PRIu64, name,
                         rows, cols);
    if (cols > INT32_MAX || rows > UINT64_MAX / 64)
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: %" PRIu64 " x %" PRIu64, name, rows, cols);
    return GLMQ_OK;
}

size_t ints_print(const glmq_encoding *e, char *text, size_t cap)
{
    char group[16] = "channel";
    int n;

    if (e->group)
        snprintf(group, sizeof group, "%u", e->group);
    else if (e->group_rows == 0)
        snprintf(group, sizeof group, "tensor");
    n = snprintf(text, cap, "bits=%u,group=%s,%s,scale=%s%s", e->bits, group,
                 e->zero_kind == GLMQ_ZERO_MID ? "sym" : "asym",
                 glmq_dtype_name((glmq_dtype)e->scale_dtype),
                 e->act_order == GLMQ_ACT_ORDER ? ",act-order" : "");
    return n < 0 ? 0 : (size_t)n;
}
