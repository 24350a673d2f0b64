/* Decoding of integer codecs: see ints.h.
 *
 * Four ways to the same values.  Of any map: codes are unpacked to bytes, block by block, and
 * then scaled.  Where the machine has loops for it, packed words are scaled as they are: the
 * streams and bytes of rows; nibbles of eight rows (AWQ); and columns of sixteen rows where the
 * groups of columns are scattered (GPTQ's activation order). */
#include "base/num.h"
#include "base/safe.h"
#include "ints_parts.h"
#include <string.h>

enum { TABLE = 512 }; /* groups of a row held as floats */

/* ---- by bytes ---- */

static void decode_row(const ints_map *m, uint64_t r, uint64_t c, size_t n, const uint8_t *q,
                       float *w)
{
    const glmq_kernels *k = glmq_kernels_now();
    for (size_t i = 0, run; i < n; i += run) {
        const uint64_t g = (c + i) / m->group;
        run = ints_group_run(m, c + i, n - i);
        k->scale(q + i, run, ints_zero_at(m, r, g), ints_scale_at(m, r, g), w + i);
    }
}

/* Permuted columns: each has its own group, so a row's scales and zeros are made floats once
 * and looked up.  Rows of more groups than TABLE pay for each column. */
typedef struct group_table {
    float scale[ROWS][TABLE], zero[ROWS][TABLE];
} group_table;

static void fill_table(const ints_map *m, uint64_t r, uint64_t rows, group_table *t)
{
    for (uint32_t g = 0; g < m->groups; g++)
        for (uint64_t i = 0; i < rows; i++) {
            t->scale[i][g] = ints_scale_at(m, r + i, g);
            t->zero[i][g] = (float)ints_zero_at(m, r + i, g);
        }
}

static void decode_columns(const ints_map *m, uint64_t r, uint64_t c, size_t n, const uint8_t *q,
                           float *w)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t g = load_le32(m->perm + 4 * (c + i));
        w[i] = (float)(q[i] - ints_zero_at(m, r, g)) * ints_scale_at(m, r, g);
    }
}

static void decode_permuted(const ints_map *m, uint64_t first, float *w)
{
    const glmq_kernels *k = glmq_kernels_now();
    const uint64_t step = ints_block_rows(m);
    uint8_t q[ROWS * CODES_CHUNK];
    group_table table;

    for (uint64_t r = first; r < m->rows; r += step) {
        const uint64_t rows = least(step, m->rows - r);
        if (m->groups <= TABLE) fill_table(m, r, rows, &table);
        for (uint64_t c = 0; c < m->cols; c += CODES_CHUNK) {
            const size_t n = (size_t)least(CODES_CHUNK, m->cols - c);
            ints_load_codes(m, r, rows, c, n, q, CODES_CHUNK);
            for (uint64_t i = 0; i < rows; i++) {
                float *at = w + (r + i) * m->cols + c;
                if (m->groups <= TABLE)
                    k->scale_by(q + i * CODES_CHUNK, n, m->perm + 4 * c, table.zero[i],
                                table.scale[i], at);
                else
                    decode_columns(m, r + i, c, n, q + i * CODES_CHUNK, at);
            }
        }
    }
}

/* A chunk of whole groups: scales and zeros of its rows, made floats and ints together. */
enum { GROUP_LEAST = 16, CHUNK_GROUPS = CODES_CHUNK / GROUP_LEAST };
typedef struct chunk_table {
    float scale[ROWS][CHUNK_GROUPS];
    int32_t zero[ROWS][CHUNK_GROUPS];
} chunk_table;

static int in_whole_groups(const ints_map *m, uint64_t c, size_t n)
{
    return m->group >= GROUP_LEAST && c % m->group == 0 && n % m->group == 0;
}

static void fill_scales(const ints_map *m, uint64_t r, uint64_t rows, uint64_t g, size_t groups,
                        chunk_table *t)
{
    const glmq_kernels *k = glmq_kernels_now();
    const size_t each = float_bytes(m->scale_kind);
    float column[ROWS];

    if (m->scale_group == 1) { /* a row's scales lie side by side */
        for (uint64_t i = 0; i < rows; i++)
            k->widen[m->scale_kind](m->scales + each * ((r + i) * m->scale_row + g), groups,
                                    t->scale[i]);
        return;
    }
    for (size_t j = 0; j < groups; j++) {
        if (m->scale_row == 1) /* those of a group do */
            k->widen[m->scale_kind](m->scales + each * (r + (g + j) * m->scale_group), rows,
                                    column);
        for (uint64_t i = 0; i < rows; i++)
            t->scale[i][j] = m->scale_row == 1 ? column[i] : ints_scale_at(m, r + i, g + j);
    }
}

static void fill_chunk(const ints_map *m, uint64_t r, uint64_t rows, uint64_t g, size_t groups,
                       chunk_table *t)
{
    fill_scales(m, r, rows, g, groups, t);
    for (uint64_t i = 0; i < rows; i++) ints_zeros_of(m, r + i, g, groups, t->zero[i]);
}

static void decode_block(const ints_map *m, uint64_t r, uint64_t rows, uint64_t c, size_t n,
                         const uint8_t *q, float *w)
{
    const glmq_kernels *k = glmq_kernels_now();
    const size_t groups = in_whole_groups(m, c, n) ? n / m->group : 0;
    chunk_table t;

    if (groups) fill_chunk(m, r, rows, c / m->group, groups, &t);
    for (uint64_t i = 0; i < rows; i++) {
        float *at = w + (r + i) * m->cols + c;
        if (groups)
            k->scale_groups(q + i * CODES_CHUNK, groups, m->group, t.zero[i], t.scale[i], at);
        else
            decode_row(m, r + i, c, n, q + i * CODES_CHUNK, at);
    }
}

/* The rows from `first` on. */
static void decode_bytes(const ints_map *m, uint64_t first, float *w)
{
    const uint64_t step = ints_block_rows(m);
    uint8_t q[ROWS * CODES_CHUNK];

    if (m->perm) {
        decode_permuted(m, first, w);
        return;
    }
    for (uint64_t r = first; r < m->rows; r += step) {
        const uint64_t rows = least(step, m->rows - r);
        for (uint64_t c = 0; c < m->cols; c += CODES_CHUNK) {
            const size_t n = (size_t)least(CODES_CHUNK, m->cols - c);
            ints_load_codes(m, r, rows, c, n, q, CODES_CHUNK);
            decode_block(m, r, rows, c, n, q, w);
        }
    }
}

/* ---- by packed words ---- */

enum { PIECE_WORDS = 1024, PIECE_GROUPS = 128 };

/* One bit stream for each row, without gaps, in words that are adjacent or not. */
static int is_stream(const ints_map *m)
{
    return !m->code_bytes && !m->interleaved && !m->planar && !m->loose;
}

/* Columns to a piece of a row: whole groups, or in one group, and whole words.  Long pieces,
 * for what is written in short ones to memory far apart is written slowly.  0: groups are no
 * whole sixteens, or do not fit. */
static size_t piece_of(const ints_map *m)
{
    const size_t codes = m->interleaved ? PIECE_WORDS * 4 : PIECE_WORDS * 32 / m->bits;
    const size_t most = codes / 32 * 32, group = m->group;
    size_t cols = least(most / group, PIECE_GROUPS) * group;

    if (m->perm || group % 16 || m->cols % group) return 0;
    if (cols == 0) return m->groups == 1 || group % most == 0 ? most : 0;
    while (cols * m->bits % 32) cols -= group;
    return cols;
}

typedef void (*groups_loop)(const uint8_t *src, size_t groups, size_t group, const int32_t *zero,
                            const float *s, size_t step, float *w);

/* For streams and bytes; NULL: there is none. */
static groups_loop loop_of(const ints_map *m)
{
    const glmq_kernels *k = glmq_kernels_now();
    if (!piece_of(m)) return NULL;
    if (m->code_bytes) return k->signed_groups;
    return is_stream(m) ? k->stream_groups[m->bits] : NULL;
}

/* Rows whose words lie side by side. */
static int is_turned(const ints_map *m)
{
    return !m->code_bytes && m->code_word != 1;
}

static const uint8_t *codes_at(const ints_map *m, uint64_t r, uint64_t c)
{
    if (m->code_bytes) return m->codes + r * m->code_row + c;
    return m->codes + 4 * (r * m->code_row + c * m->bits / 32 * m->code_word);
}

/* Scales and zeros of a piece's groups: those of a row side by side, or those of a group, as
 * they are stored.  row and group: from one to the next. */
typedef struct piece_table {
    float scale[ROWS * PIECE_GROUPS];
    int32_t zero[ROWS * PIECE_GROUPS];
    size_t row, group;
} piece_table;

static void fill_piece(const ints_map *m, uint64_t r, uint64_t rows, uint64_t g, size_t groups,
                       piece_table *t)
{
    const glmq_kernels *k = glmq_kernels_now();
    const size_t each = float_bytes(m->scale_kind);
    const int across = m->scale_row == 1 && m->scale_group > 1;

    t->row = across ? 1 : PIECE_GROUPS;
    t->group = across ? ROWS : 1;
    for (size_t j = 0; across && j < groups; j++) {
        k->widen[m->scale_kind](m->scales + each * (r + (g + j) * m->scale_group), rows,
                                t->scale + ROWS * j);
        ints_zeros_across(m, r, rows, g + j, t->zero + ROWS * j);
    }
    for (uint64_t i = 0; !across && i < rows; i++) {
        float *scale = t->scale + PIECE_GROUPS * i;
        if (m->scale_group <= 1)
            k->widen[m->scale_kind](m->scales + each * ((r + i) * m->scale_row + g), groups, scale);
        for (size_t j = 0; m->scale_group > 1 && j < groups; j++)
            scale[j] = ints_scale_at(m, r + i, g + j);
        ints_zeros_of(m, r + i, g, groups, t->zero + PIECE_GROUPS * i);
    }
}

/* Words of neighbouring rows lie side by side in memory, those of a row far apart.  So the
 * lines for the next LINES blocks of rows are asked for together, a part of the words by each
 * block before them. */
static void fetch_words(const ints_map *m, uint64_t r, uint64_t first, uint64_t words)
{
    enum { LINES = 4 };
    const uint64_t block = (m->zero_first + r) / ROWS, part = block % LINES;
    const uint64_t ahead = (block - part + LINES) * ROWS - m->zero_first;
    const uint64_t begin = first + words * part / LINES, end = first + words * (part + 1) / LINES;

    if (m->zero_first + ahead + LINES * ROWS > m->code_word) return;
    for (uint64_t i = begin; i < end; i++)
        for (uint64_t k = 0; k < LINES; k++)
            __builtin_prefetch(m->codes + 4 * (ahead + k * ROWS + i * m->code_word), 0, 2);
}

/* Rows [r, r + rows) of n columns: words side by side are turned into streams first. */
static void decode_piece(const ints_map *m, uint64_t r, uint64_t rows, uint64_t c, size_t n,
                         float *w)
{
    const glmq_kernels *k = glmq_kernels_now();
    const size_t span = m->group < n ? m->group : n, groups = n / span, words = n * m->bits / 32;
    const uint8_t *src = codes_at(m, r, c);
    const groups_loop loop = loop_of(m);
    uint8_t turned[ROWS * PIECE_WORDS * 4];
    piece_table t;

    if (is_turned(m)) k->transpose[4](src, m->code_word, words, rows, turned, PIECE_WORDS);
    fill_piece(m, r, rows, c / m->group, groups, &t);
    for (uint64_t i = 0; i < rows; i++) {
        if (is_turned(m)) fetch_words(m, r, c * m->bits / 32 + i * words / ROWS, words / ROWS);
        loop(is_turned(m) ? turned + i * PIECE_WORDS * 4 : src, groups, span, t.zero + i * t.row,
             t.scale + i * t.row, t.group, w + (r + i) * m->cols + c);
    }
}

static void decode_streams(const ints_map *m, float *w)
{
    const uint64_t step = ints_block_rows(m);
    const size_t piece = piece_of(m);

    for (uint64_t r = 0; r < m->rows; r += step)
        for (uint64_t c = 0; c < m->cols; c += piece)
            decode_piece(m, r, least(step, m->rows - r), c, (size_t)least(piece, m->cols - c), w);
}

/* ---- by interleaved nibbles ---- */

static int by_nibbles(const ints_map *m)
{
    return m->interleaved && piece_of(m) && glmq_kernels_now()->nibble_groups;
}

enum { SPAN = ROWS / 8 + 1, AHEAD = 64 }; /* words of ROWS rows that begin anywhere */

/* A chunk's words: those of a column far from the next one's. */
static void gather(const ints_map *m, uint64_t first, uint64_t words, uint64_t c, size_t n,
                   uint32_t out[SPAN][PIECE_WORDS * 4])
{
    const uint8_t *p = m->codes + 4 * (first / 8 + c * m->code_word);

    for (size_t k = 0; k < n; k++, p += 4 * m->code_word) {
        if (c + k + AHEAD < m->cols) __builtin_prefetch(p + 4 * AHEAD * m->code_word);
        for (uint64_t i = 0; i < words; i++) out[i][k] = load_le32(p + 4 * i);
    }
}

static void decode_nibbles(const ints_map *m, float *w)
{
    const glmq_kernels *k = glmq_kernels_now();
    const size_t piece = piece_of(m);
    uint32_t word[SPAN][PIECE_WORDS * 4];
    piece_table t;

    for (uint64_t r = 0; r < m->rows; r += ROWS) {
        const uint64_t rows = least(ROWS, m->rows - r), first = m->zero_first + r;
        const uint64_t words = (first + rows - 1) / 8 - first / 8 + 1;
        for (uint64_t c = 0; c < m->cols; c += piece) {
            const size_t n = (size_t)least(piece, m->cols - c);
            const size_t span = m->group < n ? m->group : n;
            gather(m, first, words, c, n, word);
            fill_piece(m, r, rows, c / m->group, n / span, &t);
            for (uint64_t i = 0; i < rows; i++)
                k->nibble_groups(word[(first + i) / 8 - first / 8], ints_nibble_at(first + i),
                                 n / span, span, t.zero + i * t.row, t.scale + i * t.row, t.group,
                                 w + (r + i) * m->cols + c);
        }
    }
}

/* ---- by columns of scattered groups ---- */

/* Zeros and scales of ROWS rows, group after group. */
typedef struct turned_table {
    float scale[TABLE][ROWS], zero[TABLE][ROWS];
} turned_table;

enum { NARROW = 1024, LINE = 4 * ROWS }; /* columns of a piece, bytes of a line */

static int by_turning(const ints_map *m)
{
    return is_stream(m) && m->perm && m->code_word != 1 && m->groups <= TABLE &&
           m->cols % 16 == 0 && glmq_kernels_now()->turned[m->bits];
}

static void fill_turned(const ints_map *m, uint64_t r, turned_table *t)
{
    const size_t each = float_bytes(m->scale_kind);
    int32_t zero[TABLE];

    for (size_t j = 0; j < m->groups; j++)
        glmq_kernels_now()->widen[m->scale_kind](m->scales + each * (r + j * m->scale_group), ROWS,
                                                 t->scale[j]);
    for (uint64_t i = 0; i < ROWS; i++) {
        ints_zeros_of(m, r + i, 0, m->groups, zero);
        for (size_t j = 0; j < m->groups; j++) t->zero[j][i] = (float)zero[j];
    }
}

/* The words of a piece, ROWS of each, from lines far apart to lines side by side: all are on
 * their way at once. */
static void gather_lines(const ints_map *m, uint64_t r, uint64_t c, size_t words, uint8_t *out)
{
    const uint8_t *p = m->codes + 4 * (r + c * m->bits / 32 * m->code_word);

    for (size_t i = 0; i < words; i++, p += 4 * m->code_word) memcpy(out + LINE * i, p, LINE);
}

/* Whole blocks of ROWS rows; returns how many rows they are. */
static uint64_t decode_turned(const ints_map *m, float *w)
{
    const glmq_kernels *k = glmq_kernels_now();
    uint8_t line[NARROW / 4 * LINE];
    uint32_t group[NARROW];
    turned_table table;
    uint64_t r = 0;

    for (; r + ROWS <= m->rows; r += ROWS) {
        fill_turned(m, r, &table);
        for (uint64_t c = 0; c < m->cols; c += NARROW) {
            const size_t n = (size_t)least(NARROW, m->cols - c), words = (n * m->bits + 31) / 32;
            memcpy(group, m->perm + 4 * c, n * sizeof *group);
            gather_lines(m, r, c, words, line);
            fetch_words(m, r, c * m->bits / 32, words);
            k->turned[m->bits](line, LINE, n, group, table.zero[0], table.scale[0],
                               w + r * m->cols + c, m->cols);
        }
    }
    return r;
}

void ints_decode(const ints_map *m, float *w)
{
    if (loop_of(m))
        decode_streams(m, w);
    else if (by_nibbles(m))
        decode_nibbles(m, w);
    else if (by_turning(m))
        decode_bytes(m, decode_turned(m, w), w);
    else
        decode_bytes(m, 0, w);
}
