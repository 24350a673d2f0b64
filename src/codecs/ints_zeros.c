/* Zero points of the integer codecs: one by one, a row's, a tile's.
 *
 * Packed ones share 32-bit words with those of the next rows: eight rows of four bits.  The usual
 * ones, of a width that fills words, are handled a word of every group at a time. */
#include "base/safe.h"
#include "ints_parts.h"
#include "planar.h"
#include <string.h>

/* ---- out of a tile ---- */

/* GPTQ v1 subtracts one from every field of a word at once, borrows and all; three bits,
 * which straddle words, field by field. */
static uint32_t ones_of(unsigned bits)
{
    return bits == 2 ? 0x55555555 : bits == 4 ? 0x11111111 : 0x01010101;
}

static int fills_words(unsigned bits)
{
    return 32 % bits == 0;
}

uint64_t ints_zero_rows(unsigned bits)
{
    return fills_words(bits) ? 32 / bits : 32;
}

uint64_t ints_zero_words(unsigned bits)
{
    return fills_words(bits) ? 1 : bits;
}

uint64_t ints_shared_rows(const ints_map *m)
{
    return m->loose ? m->loose : ints_zero_rows(m->bits);
}

static unsigned bit_in_word(const ints_map *m, uint64_t bit)
{
    return m->interleaved ? ints_nibble_at(bit / 4) : (unsigned)(bit % 32);
}

static int packed_zero(const ints_map *m, uint64_t r, uint64_t g)
{
    const uint64_t bit = (m->zero_first + r) * m->bits;
    const unsigned at = bit_in_word(m, bit), mask = (1u << m->bits) - 1;
    const uint8_t *p = m->zeros + 4 * (bit / 32 * m->zero_word + g * m->zero_group);
    uint32_t v;

    if (m->loose) {
        const uint64_t row = m->zero_first + r, word = row / m->loose;
        v = load_le32(m->zeros + 4 * (word * m->zero_word + g * m->zero_group));
        return (int)(v >> row % m->loose * m->bits & mask);
    }
    if (m->planar) {
        const uint64_t row = m->zero_first + r, word = row / PLANAR_RUN * m->bits;
        return (int)planar_code(m->zeros + 4 * (word * m->zero_word + g * m->zero_group),
                                m->zero_word, m->bits, (unsigned)(row % PLANAR_RUN));
    }
    v = load_le32(p);
    if (fills_words(m->bits)) {
        if (m->unmasked) return (int)(v >> at & mask) + 1;
        if (m->minus_one) v += ones_of(m->bits);
        return (int)(v >> at & mask);
    }
    v >>= at;
    if (at + m->bits > 32) v |= load_le32(p + 4 * m->zero_word) << (32 - at);
    if (m->unmasked) return (int)(v & mask) + 1;
    return (int)((v + (m->minus_one ? 1 : 0)) & mask);
}

int ints_zero_at(const ints_map *m, uint64_t r, uint64_t g)
{
    const int half = 1 << (m->frame - 1);
    if (m->zero_kind == INTS_PACKED) return packed_zero(m, r, g);
    if (m->zero_kind == INTS_BYTES)
        return (int8_t)m->zeros[r * m->zero_row + g * m->zero_group] + half;
    return half;
}

/* Packed zeros that are within one word each, and no wider than their field. */
static int has_simple_zeros(const ints_map *m)
{
    return m->zero_kind == INTS_PACKED && fills_words(m->bits) && !m->planar && !m->loose &&
           !m->unmasked;
}

/* What is to be added to their words, so that fields hold them. */
static uint32_t taken_off(const ints_map *m)
{
    return m->minus_one ? ones_of(m->bits) : 0;
}

static uint8_t *zero_word_at(const ints_map *m, uint64_t bit, uint64_t g)
{
    return m->zeros + 4 * (bit / 32 * m->zero_word + g * m->zero_group);
}

void ints_zeros_of(const ints_map *m, uint64_t r, uint64_t g, size_t groups, int32_t *zero)
{
    const uint64_t bit = (m->zero_first + r) * m->bits;
    const uint32_t mask = (1u << m->bits) - 1, more = taken_off(m);
    const unsigned at = bit_in_word(m, bit);
    const uint8_t *p;

    if (!has_simple_zeros(m)) {
        for (size_t i = 0; i < groups; i++) zero[i] = ints_zero_at(m, r, g + i);
        return;
    }
    p = zero_word_at(m, bit, g);
    for (size_t i = 0; i < groups; i++)
        zero[i] = (int32_t)((load_le32(p + 4 * i * m->zero_group) + more) >> at & mask);
}

void ints_zeros_across(const ints_map *m, uint64_t r, uint64_t rows, uint64_t g, int32_t *zero)
{
    const uint32_t mask = (1u << m->bits) - 1, more = taken_off(m);

    for (uint64_t i = 0; !has_simple_zeros(m) && i < rows; i++) zero[i] = ints_zero_at(m, r + i, g);
    for (uint64_t i = 0; has_simple_zeros(m) && i < rows; i++) {
        const uint64_t bit = (m->zero_first + r + i) * m->bits;
        const uint32_t word = load_le32(zero_word_at(m, bit, g));
        zero[i] = (int32_t)((word + more) >> bit_in_word(m, bit) & mask);
    }
}

/* Groups [g, g + n) of all rows; the words of a group are read once for the rows that share them. */
static void unpack_zeros(const ints_map *m, uint32_t g, uint32_t n, int16_t *zero)
{
    const uint32_t mask = (1u << m->bits) - 1, more = taken_off(m);
    uint32_t word[CODES_RUN];
    uint64_t held = UINT64_MAX;

    for (uint64_t r = 0; r < m->rows; r++, zero += m->groups) {
        const uint64_t bit = (m->zero_first + r) * m->bits;
        const unsigned at = bit_in_word(m, bit);
        const uint8_t *p = zero_word_at(m, bit, g);

        for (uint32_t k = 0; bit / 32 != held && k < n; k++)
            word[k] = load_le32(p + 4 * k * m->zero_group) + more;
        held = bit / 32;
        for (uint32_t k = 0; k < n; k++) zero[k] = (int16_t)(word[k] >> at & mask);
    }
}

void ints_get_zeros(const ints_map *m, glmq_codes *codes)
{
    const size_t count = (size_t)(m->rows * m->groups);
    const int16_t half = (int16_t)(1 << (m->frame - 1));
    int others = 0;

    if (m->zero_kind == INTS_MID)
        for (size_t i = 0; i < count; i++) codes->zero[i] = half;
    else if (has_simple_zeros(m))
        for (uint32_t g = 0; g < m->groups; g += CODES_RUN)
            unpack_zeros(m, g, (uint32_t)least(CODES_RUN, m->groups - g), codes->zero + g);
    else
        for (uint64_t r = 0; r < m->rows; r++)
            for (uint32_t g = 0; g < m->groups; g++)
                codes->zero[r * m->groups + g] = (int16_t)ints_zero_at(m, r, g);
    for (size_t i = 0; i < count; i++) others |= codes->zero[i] ^ half;
    codes->no_zero = !others;
}

/* ---- into a tile ---- */

void ints_set_zeros(const ints_map *m, uint64_t r, uint64_t g, const int *zero, uint64_t n)
{
    const uint64_t words = m->loose ? 1 : ints_zero_words(m->bits);
    uint32_t word[BITS_MAX + 1] = { 0 };
    uint8_t run[PLANAR_RUN] = { 0 };
    uint8_t *p;

    if (m->zero_kind == INTS_MID && !m->zeros) return;
    if (m->zero_kind == INTS_BYTES) {
        for (uint64_t i = 0; i < n; i++)
            m->zeros[(r + i) * m->zero_row + g * m->zero_group] =
                (uint8_t)(zero[i] - (1 << (m->bits - 1)));
        return;
    }
    for (uint64_t i = 0; i < n; i++) {
        const unsigned bit = m->interleaved ? ints_nibble_at(i) : (unsigned)i * m->bits;
        const unsigned mask = (1u << m->bits) - 1;
        const int less = m->minus_one && words > 1;
        const uint64_t v = (uint64_t)((unsigned)(zero[i] - less) & mask) << bit % 32;
        word[bit / 32] |= (uint32_t)v;
        word[bit / 32 + 1] |= (uint32_t)(v >> 32);
        run[i] = (uint8_t)zero[i];
    }
    if (m->planar) planar_pack(run, PLANAR_RUN, m->bits, (uint8_t *)word);
    if (m->minus_one && words == 1) {
        const uint32_t used = n * m->bits == 32 ? UINT32_MAX : (1u << n * m->bits) - 1;
        word[0] = (word[0] - (ones_of(m->bits) & used)) & used;
    }
    p = m->zeros +
        4 * ((m->zero_first + r) / ints_shared_rows(m) * words * m->zero_word + g * m->zero_group);
    for (uint64_t i = 0; i < words && (uint64_t)i * 32 < n * m->bits; i++)
        store_le32(p + 4 * i * m->zero_word, word[i]);
}

/* The zeros of a symmetric tensor, where they are stored: every group's words are alike. */
void ints_put_middle(const ints_map *m, uint64_t r, uint64_t rows)
{
    uint8_t *p;
    int zero[32] = { 0 };

    if (!m->zeros) return;
    for (uint64_t i = 0; i < rows; i++) zero[i] = 1 << (m->bits - 1);
    ints_set_zeros(m, r, 0, zero, rows);
    p = m->zeros + 4 * ((m->zero_first + r) * m->bits / 32 * m->zero_word);
    for (uint64_t i = 0; i * 32 < rows * m->bits; i++, p += 4 * m->zero_word)
        for (uint32_t g = 1; g < m->groups; g++) memcpy(p + 4 * g * m->zero_group, p, 4);
}

/* Rows [r, r + rows) that share words, groups [g, g + n): as ints_set_zeros() of each. */
static void pack_zeros(const ints_map *m, uint64_t r, uint64_t rows, uint32_t g, uint32_t n,
                       const int16_t zero[][CODES_RUN])
{
    const uint32_t used = rows * m->bits == 32 ? UINT32_MAX : (1u << rows * m->bits) - 1;
    const uint32_t mask = (1u << m->bits) - 1, less = taken_off(m) & used;
    uint8_t *p = zero_word_at(m, (m->zero_first + r) * m->bits, g);
    uint32_t word[CODES_RUN] = { 0 };

    for (uint64_t i = 0; i < rows; i++) {
        const unsigned at = bit_in_word(m, i * m->bits);
        for (uint32_t k = 0; k < n; k++) word[k] |= ((uint32_t)zero[i][k] & mask) << at;
    }
    for (uint32_t k = 0; k < n; k++) store_le32(p + 4 * k * m->zero_group, (word[k] - less) & used);
}

void ints_put_zeros(const ints_map *m, uint64_t r, uint64_t rows, uint32_t g, uint32_t n,
                    const int16_t zero[][CODES_RUN])
{
    const uint64_t step = ints_shared_rows(m);
    int column[32];

    for (uint64_t first = 0; first < rows; first += step) {
        const uint64_t some = least(step, rows - first);
        if (has_simple_zeros(m)) {
            pack_zeros(m, r + first, some, g, n, zero + first);
            continue;
        }
        for (uint32_t k = 0; k < n; k++) {
            for (uint64_t i = 0; i < some; i++) column[i] = zero[first + i][k];
            ints_set_zeros(m, r + first, g + k, column, some);
        }
    }
}
