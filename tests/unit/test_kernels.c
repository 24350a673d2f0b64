/* The hot loops of every instruction-set level against those of the base level, which are the
 * plain functions of base/num.h and *_block.h: the same bits, NaN and minus zero included.
 * Buffers are of exact size: a sanitizer sees a byte read or written behind them. */
#include "codecs/dtype.h"
#include "codecs/kernels.h"
#include "support.h"
#include "base/num.h"
#include "base/safe.h"
#include <math.h>

enum { CHUNK = 256 };

static uint32_t seed;

static uint8_t random_byte(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (uint8_t)(seed >> 24);
}

static void *need(size_t bytes)
{
    void *p = malloc(bytes ? bytes : 1);
    assert_non_null(p);
    memset(p, 0xa5, bytes);
    return p;
}

/* ---- blocks ---- */

/* Where a block has its half; -1: in pieces, or it has none. */
static int scale_at(glmq_dtype dtype)
{
    static const struct {
        glmq_dtype dtype;
        int at;
    } other[] = { { GLMQ_DT_Q2_K, 80 },  { GLMQ_DT_Q3_K, 108 }, { GLMQ_DT_Q6_K, 208 },
                  { GLMQ_DT_Q8_K, -1 },  { GLMQ_DT_IQ1_M, -1 }, { GLMQ_DT_TQ1_0, 52 },
                  { GLMQ_DT_TQ2_0, 64 }, { GLMQ_DT_MXFP4, -1 } };
    for (size_t i = 0; i < sizeof other / sizeof *other; i++)
        if (other[i].dtype == dtype) return other[i].at;
    return 0;
}

/* Random blocks; block i has the half `first` + i where the type has one.  What is added to
 * products is kept finite: of two NaN, C does not say which one a sum keeps. */
static void fill_blocks(glmq_dtype dtype, size_t first, size_t blocks, uint8_t *src)
{
    const size_t bytes = glmq_dtype_info_of(dtype)->bytes;
    const int at = scale_at(dtype);
    for (size_t i = 0; i < blocks * bytes; i++) src[i] = random_byte();
    for (size_t i = 0; at >= 0 && i < blocks; i++)
        store_le16(src + i * bytes + (size_t)at, (uint16_t)(first + i));
    for (size_t i = 0; (dtype == GLMQ_DT_Q4_1 || dtype == GLMQ_DT_Q5_1) && i < blocks; i++)
        src[i * bytes + 3] &= 0xbf;
}

static void compare_blocks(glmq_isa_level level, glmq_dtype dtype, size_t first, size_t blocks)
{
    const glmq_dtype_info *info = glmq_dtype_info_of(dtype);
    const size_t n = blocks * info->block;
    uint8_t *src = need(blocks * info->bytes);
    float *want = need(n * sizeof *want), *got = need(n * sizeof *got);

    fill_blocks(dtype, first, blocks, src);
    glmq_kernels_at(ISA_BASE)->decode[dtype](src, blocks, want);
    glmq_kernels_at(level)->decode[dtype](src, blocks, got);
    for (size_t i = 0; i < n; i++)
        if (bits_from_f32(got[i]) != bits_from_f32(want[i]))
            fail_msg("%s, %s, half %zx: weight %zu is %g (%08x), expected %g (%08x)",
                     glmq_dtype_name(dtype), glmq_isa_name(level), first + i / info->block,
                     i % info->block, (double)got[i], bits_from_f32(got[i]), (double)want[i],
                     bits_from_f32(want[i]));
    free(src);
    free(want);
    free(got);
}

/* Every half as the scale, and runs of a few blocks. */
static void every_level_decodes_blocks_to_the_same_bits(void **state)
{
    int types = 0;
    (void)state;
    for (int d = 0; d < GLMQ_DT_COUNT; d++) {
        if (!glmq_kernels_at(ISA_BASE)->decode[d]) continue;
        types++;
        for (int level = ISA_AVX2; level <= (int)glmq_isa_of_machine(); level++) {
            for (size_t first = 0; first < 65536; first += CHUNK)
                compare_blocks((glmq_isa_level)level, (glmq_dtype)d, first, CHUNK);
            for (size_t blocks = 0; blocks < 9; blocks++)
                compare_blocks((glmq_isa_level)level, (glmq_dtype)d, 0x3400, blocks);
        }
    }
    assert_true(types >= 26);
}

/* ---- plain floats ---- */

/* All halves, signalling NaN among them, in runs of `n` that end in the middle of lanes. */
static void compare_widening(const glmq_kernels *k, float_kind kind, size_t n)
{
    uint8_t *src = need(2 * n);
    float *want = need(n * sizeof *want), *got = need(n * sizeof *got);
    for (size_t first = 0; first + n <= 65536; first += n) {
        for (size_t i = 0; i < n; i++) store_le16(src + 2 * i, (uint16_t)(first + i));
        glmq_kernels_at(ISA_BASE)->widen[kind](src, n, want);
        k->widen[kind](src, n, got);
        assert_memory_equal(got, want, n * sizeof *got);
    }
    free(src);
    free(want);
    free(got);
}

/* Four for each number below 65536: a float of any exponent, and those about the middle of two
 * neighbouring halves. */
static float float_of(uint32_t i)
{
    const uint32_t h = i / 4, middle = bits_from_f32(f32_from_f16((uint16_t)h)) + 0x1000;
    return f32_from_bits(i % 4 ? middle + i % 4 - 2 : h << 16 | (h * 40503u & 0xffff));
}

static void compare_narrowing(const glmq_kernels *k, float_kind kind, size_t n)
{
    float *w = need(n * sizeof *w);
    uint8_t *want = need(2 * n), *got = need(2 * n);
    for (uint32_t first = 0; first + n <= 4 * 65536; first += (uint32_t)n) {
        for (uint32_t i = 0; i < n; i++) w[i] = float_of(first + i);
        glmq_kernels_at(ISA_BASE)->narrow[kind](w, n, want);
        k->narrow[kind](w, n, got);
        assert_memory_equal(got, want, 2 * n);
    }
    free(w);
    free(want);
    free(got);
}

static void every_level_converts_halves_to_the_same_bits(void **state)
{
    static const size_t runs[] = { 1, 15, 16, 17, 77, 4096 };
    (void)state;
    for (int level = ISA_AVX2; level <= (int)glmq_isa_of_machine(); level++)
        for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
            for (int kind = FLOAT_F16; kind <= FLOAT_BF16; kind++) {
                const glmq_kernels *k = glmq_kernels_at((glmq_isa_level)level);
                compare_widening(k, (float_kind)kind, runs[i]);
                compare_narrowing(k, (float_kind)kind, runs[i]);
            }
}

/* ---- E4M3 ---- */

static void compare_e4m3(glmq_isa_level level, float s, size_t n)
{
    uint8_t *q = need(n);
    float *want = need(n * sizeof *want), *got = need(n * sizeof *got);
    for (size_t i = 0; i < n; i++) q[i] = (uint8_t)(i + n);
    glmq_kernels_at(ISA_BASE)->scale_e4m3(q, n, s, want);
    glmq_kernels_at(level)->scale_e4m3(q, n, s, got);
    for (size_t i = 0; i < n; i++) {
        const float product = f32_from_e4m3(q[i]) * s;
        assert_int_equal(bits_from_f32(want[i]), bits_from_f32(product));
        if (bits_from_f32(got[i]) != bits_from_f32(want[i]))
            fail_msg("%s: %02x * %a is %a, expected %a", glmq_isa_name(level), q[i], (double)s,
                     (double)got[i], (double)want[i]);
    }
    free(q);
    free(want);
    free(got);
}

/* Every code; scales that make subnormals, and about those that overflow with 2^8. */
static void every_level_scales_e4m3_to_the_same_bits(void **state)
{
    static const float scales[] = { 1,          0.1f,      -0.3f,      0x1.234567p-20f, 0x1p-120f,
                                    0x1p-140f,  0x1p-149f, 0x1.8p118f, 0x1.fffffep118f, 0x1p119f,
                                    0x1.8p120f, 0x1p127f,  0,          -0.0f,           INFINITY };
    (void)state;
    for (int level = ISA_AVX2; level <= (int)glmq_isa_of_machine(); level++)
        for (size_t k = 0; k < sizeof scales / sizeof *scales; k++)
            for (size_t n = 1; n < 300; n = n < 40 ? n + 1 : n + 61) {
                compare_e4m3((glmq_isa_level)level, scales[k], n);
                compare_e4m3((glmq_isa_level)level, scales[k], 256 + n);
            }
}

/* ---- E2M1 ---- */

static float e2m1(unsigned code, int plus_zero)
{
    static const float magnitude[8] = { 0, 0.5f, 1, 1.5f, 2, 3, 4, 6 };
    if (plus_zero && code == 8) return 0;
    return code & 8 ? -magnitude[code & 7] : magnitude[code & 7];
}

/* The code of column c of a group. */
static unsigned code_of(const fp4_run *r, const uint8_t *q, size_t c)
{
    if (r->halves) return c < r->group / 2 ? q[c] & 15 : q[c - r->group / 2] >> 4;
    return q[c / 2] >> 4 * (c % 2) & 15;
}

static void compare_fp4(glmq_isa_level level, fp4_run r)
{
    static const float scales[] = { 1, 0.1f, 0x1.8p-130f, 0x1p-149f, 0x1.8p126f, 0x1.9p20f };
    const size_t blocks = (r.groups + r.per - 1) / r.per, last = (r.groups - 1) % r.per;
    const size_t bytes = (blocks - 1) * r.block + last * r.each + r.group / 2;
    uint8_t *codes = need(bytes);
    float *w = need(r.groups * r.group * sizeof *w), *s = need(r.groups * sizeof *s);

    for (size_t i = 0; i < bytes; i++) codes[i] = random_byte();
    for (size_t g = 0; g < r.groups; g++) s[g] = scales[g % (sizeof scales / sizeof *scales)];
    r.codes = codes;
    glmq_kernels_at(level)->scale_fp4(&r, s, w);
    for (size_t i = 0; i < r.groups * r.group; i++) {
        const size_t g = i / r.group;
        const uint8_t *q = codes + g / r.per * r.block + g % r.per * r.each;
        const float want = e2m1(code_of(&r, q, i % r.group), r.plus_zero) * s[g];
        if (bits_from_f32(w[i]) != bits_from_f32(want))
            fail_msg("%s: weight %zu of group %zu is %a, expected %a", glmq_isa_name(level),
                     i % r.group, g, (double)w[i], (double)want);
    }
    free(codes);
    free(w);
    free(s);
}

/* As GGUF and as Hugging Face checkpoints store them, with whole and broken last blocks. */
static void every_level_scales_groups_of_e2m1(void **state)
{
    static const fp4_run runs[] = {
        { .block = 17, .per = 1, .group = 32, .halves = 1, .plus_zero = 1 },
        { .block = 36, .each = 8, .per = 4, .group = 16, .halves = 1, .plus_zero = 1 },
        { .block = 8, .per = 1, .group = 16, .plus_zero = 1 },
        { .block = 8, .per = 1, .group = 16 },
        { .block = 16, .per = 1, .group = 32 },
    };
    (void)state;
    for (int level = ISA_BASE; level <= (int)glmq_isa_of_machine(); level++)
        for (size_t i = 0; i < sizeof runs / sizeof *runs; i++)
            for (size_t groups = 1; groups < 70; groups++) {
                fp4_run r = runs[i];
                r.groups = groups;
                compare_fp4((glmq_isa_level)level, r);
            }
}

/* ---- integer codes ---- */

enum { GROUPS = 3, LANES = 16 };

static const unsigned widths[] = { 2, 3, 4, 8 };

/* Code i of the stream. */
static unsigned code_at(const uint8_t *src, unsigned bits, size_t i)
{
    unsigned v = 0;
    for (size_t k = 0; k < bits; k++)
        v |= (unsigned)(src[(i * bits + k) / 8] >> (i * bits + k) % 8 & 1) << k;
    return v;
}

static void random_bytes(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++) p[i] = random_byte();
}

static void assert_weight(float got, unsigned code, int zero, float s)
{
    const float want = (float)((int)code - zero) * s;
    if (bits_from_f32(got) != bits_from_f32(want))
        fail_msg("(%u - %d) * %a is %a, expected %a", code, zero, (double)s, (double)got,
                 (double)want);
}

static void check_streams(const glmq_kernels *k, unsigned bits, size_t group, size_t step)
{
    const size_t n = GROUPS * group;
    uint8_t *src = need(n * bits / 8);
    float *w = need(n * sizeof *w), *s = need(GROUPS * step * sizeof *s);
    int32_t *zero = need(GROUPS * step * sizeof *zero);

    random_bytes(src, n * bits / 8);
    for (size_t g = 0; g < GROUPS * step; g++) {
        s[g] = ldexpf((float)random_byte() - 128, -(int)random_byte() % 160);
        zero[g] = random_byte() % (1 << bits) + 1;
    }
    k->stream_groups[bits](src, GROUPS, group, zero, s, step, w);
    for (size_t i = 0; i < n; i++)
        assert_weight(w[i], code_at(src, bits, i), zero[i / group * step], s[i / group * step]);
    free(src);
    free(w);
    free(s);
    free(zero);
}

static void every_level_scales_streams_to_the_same_bits(void **state)
{
    (void)state;
    for (int level = ISA_BASE; level <= (int)glmq_isa_of_machine(); level++)
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            const glmq_kernels *k = glmq_kernels_at((glmq_isa_level)level);
            if (!k->stream_groups[widths[i]]) continue;
            for (size_t group = 16; group <= 160; group += 16)
                for (size_t step = 1; step < 4; step++) check_streams(k, widths[i], group, step);
        }
}

static void every_level_scales_signed_bytes_to_the_same_bits(void **state)
{
    enum { GROUP = 48, N = GROUPS * GROUP };
    static const float s[GROUPS] = { 0.1f, -0x1p-140f, 3e38f };
    static const int32_t zero[GROUPS] = { 128, 0, 255 };
    uint8_t *src = need(N);
    float *w = need(N * sizeof *w);

    (void)state;
    random_bytes(src, N);
    for (int level = ISA_BASE; level <= (int)glmq_isa_of_machine(); level++) {
        const glmq_kernels *k = glmq_kernels_at((glmq_isa_level)level);
        if (!k->signed_groups) continue;
        k->signed_groups(src, GROUPS, GROUP, zero, s, 1, w);
        for (size_t i = 0; i < N; i++)
            assert_weight(w[i], (unsigned)((int8_t)src[i] + 128), zero[i / GROUP], s[i / GROUP]);
    }
    free(src);
    free(w);
}

static void every_level_scales_nibbles_to_the_same_bits(void **state)
{
    enum { GROUP = 48, N = GROUPS * GROUP };
    static const float s[GROUPS] = { 0.1f, -0x1p-140f, 3e38f };
    static const int32_t zero[GROUPS] = { 0, 15, 7 };
    uint32_t *word = need(N * sizeof *word);
    float *w = need(N * sizeof *w);

    (void)state;
    random_bytes((uint8_t *)word, N * sizeof *word);
    for (int level = ISA_BASE; level <= (int)glmq_isa_of_machine(); level++) {
        const glmq_kernels *k = glmq_kernels_at((glmq_isa_level)level);
        for (unsigned at = 0; k->nibble_groups && at < 32; at += 4) {
            k->nibble_groups(word, at, GROUPS, GROUP, zero, s, 1, w);
            for (size_t i = 0; i < N; i++)
                assert_weight(w[i], word[i] >> at & 15, zero[i / GROUP], s[i / GROUP]);
        }
    }
    free(word);
    free(w);
}

/* 16 rows; words of neighbouring rows side by side, as the file has them. */
static void check_turned(const glmq_kernels *k, unsigned bits, size_t cols, size_t apart)
{
    const size_t words = (cols * bits + 31) / 32;
    uint8_t *stream = need(LANES * words * 4), *src = need((words - 1) * 4 * apart + 4 * LANES);
    uint32_t *group = need(cols * sizeof *group);
    float *zero = need(GROUPS * LANES * sizeof *zero), *s = need(GROUPS * LANES * sizeof *s);
    float *w = need(LANES * cols * sizeof *w);

    random_bytes(stream, LANES * words * 4);
    for (size_t i = 0; i < LANES * words; i++)
        memcpy(src + 4 * (i % words * apart + i / words), stream + 4 * i, 4);
    for (size_t c = 0; c < cols; c++) group[c] = random_byte() % GROUPS;
    for (size_t i = 0; i < GROUPS * LANES; i++) {
        zero[i] = (float)(random_byte() % (1 << bits));
        s[i] = ((float)random_byte() - 128) * 0.01f;
    }
    k->turned[bits](src, 4 * apart, cols, group, zero, s, w, cols);
    for (size_t i = 0; i < LANES * cols; i++) {
        const size_t at = LANES * group[i % cols] + i / cols;
        assert_weight(w[i], code_at(stream + i / cols * words * 4, bits, i % cols), (int)zero[at],
                      s[at]);
    }
    free(stream);
    free(src);
    free(group);
    free(zero);
    free(s);
    free(w);
}

static void every_level_turns_columns_to_the_same_bits(void **state)
{
    (void)state;
    for (int level = ISA_BASE; level <= (int)glmq_isa_of_machine(); level++)
        for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
            const glmq_kernels *k = glmq_kernels_at((glmq_isa_level)level);
            if (!k->turned[widths[i]]) continue;
            for (size_t cols = 16; cols <= 96; cols += 16) {
                check_turned(k, widths[i], cols, LANES);
                check_turned(k, widths[i], cols, 24);
            }
        }
}

/* Group g has codes 0..15 in the low nibbles of 16 bytes, 16..31 in the high ones. */
static void every_level_turns_halves_to_streams_and_back(void **state)
{
    enum { SOME = 5, STRIDE = 18 };
    uint8_t src[SOME * STRIDE], stream[SOME * 16], back[SOME * STRIDE];

    (void)state;
    random_bytes(src, sizeof src);
    for (int level = ISA_BASE; level <= (int)glmq_isa_of_machine(); level++) {
        const glmq_kernels *k = glmq_kernels_at((glmq_isa_level)level);
        k->halves_to_stream(src, STRIDE, SOME, stream);
        for (int g = 0; g < SOME; g++)
            for (int i = 0; i < 32; i++)
                assert_int_equal(stream[g * 16 + i / 2] >> i % 2 * 4 & 15,
                                 src[g * STRIDE + i % 16] >> i / 16 * 4 & 15);
        for (int g = 0; g < SOME; g++)
            memcpy(back + g * STRIDE + 16, src + g * STRIDE + 16, STRIDE - 16);
        k->halves_from_stream(stream, SOME, back, STRIDE);
        assert_memory_equal(back, src, sizeof src);
    }
}

static void every_level_turns_nibbles_to_streams_and_back(void **state)
{
    static const uint8_t order[8] = { 0, 4, 1, 5, 2, 6, 3, 7 };
    enum { MOST = 264, STRIDE = 3, ROW = MOST / 2 + 4 };
    uint8_t *src = need(4 * MOST * STRIDE), *back = need(4 * MOST * STRIDE), dst[8 * ROW];

    (void)state;
    random_bytes(src, 4 * MOST * STRIDE);
    for (int level = ISA_BASE; level <= (int)glmq_isa_of_machine(); level++)
        for (size_t cols = 8; cols <= MOST; cols += 64) {
            const glmq_kernels *k = glmq_kernels_at((glmq_isa_level)level);
            memset(dst, 0xee, sizeof dst);
            k->nibbles_to_streams(src, STRIDE, cols, order, dst, ROW);
            for (size_t r = 0; r < 8; r++) {
                for (size_t c = 0; c < cols; c++)
                    assert_int_equal(dst[r * ROW + c / 2] >> c % 2 * 4 & 15,
                                     load_le32(src + 4 * c * STRIDE) >> 4 * order[r] & 15);
                assert_int_equal(dst[r * ROW + cols / 2], 0xee);
            }
            memcpy(back, src, 4 * MOST * STRIDE);
            for (size_t c = 0; c < cols; c++) store_le32(back + 4 * c * STRIDE, 0);
            k->nibbles_from_streams(dst, ROW, cols, order, back, STRIDE);
            assert_memory_equal(back, src, 4 * MOST * STRIDE);
        }
    free(src);
    free(back);
}

static void every_level_transposes(void **state)
{
    static const uint8_t untouched[4] = { 0xee, 0xee, 0xee, 0xee };
    uint8_t *src = need(4 * 40 * 40), *dst = need(4 * 40 * 40);

    (void)state;
    random_bytes(src, 4 * 40 * 40);
    for (int level = ISA_BASE; level <= (int)glmq_isa_of_machine(); level++)
        for (size_t each = 2; each <= 4; each += 2)
            for (size_t rows = 1; rows <= 40; rows += 3)
                for (size_t cols = 1; cols <= 40; cols += 13) {
                    const glmq_kernels *k = glmq_kernels_at((glmq_isa_level)level);
                    memset(dst, 0xee, 4 * 40 * 40);
                    k->transpose[each](src, 40, rows, cols, dst, 40);
                    for (size_t i = 0; i < 40 * 40; i++) {
                        const uint8_t *was = src + each * (i % 40 * 40 + i / 40);
                        const int in = i / 40 < cols && i % 40 < rows;
                        assert_memory_equal(dst + each * i, in ? was : untouched, each);
                    }
                }
    free(src);
    free(dst);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_level_decodes_blocks_to_the_same_bits),
        cmocka_unit_test(every_level_converts_halves_to_the_same_bits),
        cmocka_unit_test(every_level_scales_e4m3_to_the_same_bits),
        cmocka_unit_test(every_level_scales_streams_to_the_same_bits),
        cmocka_unit_test(every_level_scales_signed_bytes_to_the_same_bits),
        cmocka_unit_test(every_level_scales_nibbles_to_the_same_bits),
        cmocka_unit_test(every_level_turns_columns_to_the_same_bits),
        cmocka_unit_test(every_level_turns_halves_to_streams_and_back),
        cmocka_unit_test(every_level_turns_nibbles_to_streams_and_back),
        cmocka_unit_test(every_level_transposes),
        cmocka_unit_test(every_level_scales_groups_of_e2m1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
