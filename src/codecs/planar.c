/* Planar packing: see planar.h. */
#include "planar.h"
#include "base/safe.h"
#include <string.h>

/* Widths of the planes, low to high. */
static const uint8_t planes[9][3] = {
    [3] = { 2, 1 },
    [5] = { 4, 1 },
    [6] = { 4, 2 },
    [7] = { 4, 2, 1 },
};

/* The codes of one word of a plane. */
static void add_word(uint32_t word, unsigned width, unsigned shift, uint8_t *q)
{
    const uint32_t mask = (1u << width) - 1;
    for (unsigned j = 0; j < 32 / width; j++)
        q[j] = (uint8_t)(q[j] | (word >> width * j & mask) << shift);
}

void planar_unpack(const uint8_t *src, size_t n, unsigned bits, uint8_t *q)
{
    memset(q, 0, n);
    for (size_t run = 0; run < n; run += PLANAR_RUN)
        for (unsigned p = 0, shift = 0; p < 3 && planes[bits][p]; shift += planes[bits][p++])
            for (unsigned i = 0; i < planes[bits][p]; i++, src += 4)
                add_word(load_le32(src), planes[bits][p], shift,
                         q + run + 32 / planes[bits][p] * i);
}

static uint32_t make_word(const uint8_t *q, unsigned width, unsigned shift)
{
    const uint32_t mask = (1u << width) - 1;
    uint32_t word = 0;
    for (unsigned j = 0; j < 32 / width; j++) word |= ((uint32_t)q[j] >> shift & mask) << width * j;
    return word;
}

void planar_pack(const uint8_t *q, size_t n, unsigned bits, uint8_t *dst)
{
    for (size_t run = 0; run < n; run += PLANAR_RUN)
        for (unsigned p = 0, shift = 0; p < 3 && planes[bits][p]; shift += planes[bits][p++])
            for (unsigned i = 0; i < planes[bits][p]; i++, dst += 4)
                store_le32(dst,
                           make_word(q + run + 32 / planes[bits][p] * i, planes[bits][p], shift));
}

unsigned planar_code(const uint8_t *src, uint64_t stride, unsigned bits, unsigned i)
{
    unsigned code = 0;
    for (unsigned p = 0, shift = 0, word = 0; p < 3 && planes[bits][p]; p++) {
        const unsigned width = planes[bits][p], at = i * width;
        const uint32_t v = load_le32(src + 4 * (word + at / 32) * stride);
        code |= (v >> at % 32 & ((1u << width) - 1)) << shift;
        shift += width;
        word += width;
    }
    return code;
}
