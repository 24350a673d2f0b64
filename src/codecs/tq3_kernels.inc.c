/* The hot loops of TurboQuant, a part of kernels.inc.c.
 *
 * A block of up to TQ3_BLOCK weights lives in registers: indices are spread over lanes, looked up
 * in a book that is one register (two with AVX2 and 4 bits), and the stages of the transform
 * that stay inside of a register are a shuffle, an addition and a subtraction.  Longer groups
 * finish in memory, stages and rounding in the order of tq3_block.h. */
#include "tq3_block.h"

#if defined(__AVX512BW__) || defined(__AVX2__)
#include <immintrin.h>

#ifdef __AVX512BW__
enum { TQ3_LANES = 16 };
typedef __m512 tq3_lanes;
#define TQ3_LOAD  _mm512_loadu_ps
#define TQ3_STORE _mm512_storeu_ps
#define TQ3_ADD   _mm512_add_ps
#define TQ3_SUB   _mm512_sub_ps
#define TQ3_MUL   _mm512_mul_ps
#define TQ3_DIV   _mm512_div_ps
#define TQ3_ALL   _mm512_set1_ps
#define TQ3_XOR   _mm512_xor_ps

/* What takes `bits` bits from place `shift` of a register's lanes on, and their bytes. */
typedef struct tq3_spread {
    __m512i bytes, shift;
    tq3_lanes book;
} tq3_spread;

static inline tq3_spread tq3_spread_of(const tq3_rotation *r)
{
    uint8_t bytes[4 * TQ3_LANES];
    uint32_t shift[TQ3_LANES];
    for (unsigned l = 0; l < TQ3_LANES; l++) {
        const unsigned half = l < 8 ? 0 : r->stored_bits; /* 8 indices are `bits` bytes */
        shift[l] = l % 8 * r->stored_bits;
        for (unsigned i = 0; i < 4; i++) bytes[4 * l + i] = (uint8_t)((half + i) & 7);
    }
    return (tq3_spread){ _mm512_loadu_si512(bytes), _mm512_loadu_si512(shift), TQ3_LOAD(r->book) };
}

/* 16 indices out of 8 bytes at p.  Higher bits of a lane are others' indices: the look-up
 * takes the lowest four, and the book repeats. */
static inline tq3_lanes tq3_look_up(const tq3_spread *s, const uint8_t *p)
{
    const __m512i v = _mm512_set1_epi64((long long)load_le64(p));
    const __m512i i = _mm512_srlv_epi32(_mm512_shuffle_epi8(v, s->bytes), s->shift);
    return _mm512_permutexvar_ps(i, s->book);
}

/* Sign bits of the lanes whose number has this bit. */
static inline tq3_lanes tq3_odd_lanes(int bit)
{
    const __m512i l = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_castsi512_ps(
        _mm512_maskz_set1_epi32(_mm512_test_epi32_mask(l, _mm512_set1_epi32(bit)), INT32_MIN));
}

/* One register's own stages: pairs 1, 2, 4, 8 apart.  a - b is a + (-b), to the bit. */
static inline tq3_lanes tq3_within(tq3_lanes v)
{
    v = TQ3_ADD(_mm512_permute_ps(v, 0xb1), TQ3_XOR(v, tq3_odd_lanes(1)));
    v = TQ3_ADD(_mm512_permute_ps(v, 0x4e), TQ3_XOR(v, tq3_odd_lanes(2)));
    v = TQ3_ADD(_mm512_shuffle_f32x4(v, v, 0xb1), TQ3_XOR(v, tq3_odd_lanes(4)));
    return TQ3_ADD(_mm512_shuffle_f32x4(v, v, 0x4e), TQ3_XOR(v, tq3_odd_lanes(8)));
}

#else
enum { TQ3_LANES = 8 };
typedef __m256 tq3_lanes;
#define TQ3_LOAD  _mm256_loadu_ps
#define TQ3_STORE _mm256_storeu_ps
#define TQ3_ADD   _mm256_add_ps
#define TQ3_SUB   _mm256_sub_ps
#define TQ3_MUL   _mm256_mul_ps
#define TQ3_DIV   _mm256_div_ps
#define TQ3_ALL   _mm256_set1_ps
#define TQ3_XOR   _mm256_xor_ps

typedef struct tq3_spread {
    __m256i shift;
    tq3_lanes low, high; /* of the book */
} tq3_spread;

static inline tq3_spread tq3_spread_of(const tq3_rotation *r)
{
    uint32_t shift[TQ3_LANES];
    for (unsigned l = 0; l < TQ3_LANES; l++) shift[l] = l * r->stored_bits;
    return (tq3_spread){ _mm256_loadu_si256((const __m256i *)shift), TQ3_LOAD(r->book),
                         TQ3_LOAD(r->book + 8) };
}

/* 8 indices out of 4 bytes at p; books of 8 numbers repeat, so that `high` is `low`. */
static inline tq3_lanes tq3_look_up(const tq3_spread *s, const uint8_t *p)
{
    const __m256i i = _mm256_srlv_epi32(_mm256_set1_epi32((int)load_le32(p)), s->shift);
    const tq3_lanes top = _mm256_castsi256_ps(_mm256_slli_epi32(i, 28)); /* bit 3 is the sign */
    return _mm256_blendv_ps(_mm256_permutevar8x32_ps(s->low, i),
                            _mm256_permutevar8x32_ps(s->high, i), top);
}

static inline tq3_lanes tq3_odd_lanes(int b)
{
    const __m256i l = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    const __m256i bit = _mm256_and_si256(l, _mm256_set1_epi32(b));
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_cmpgt_epi32(bit, _mm256_setzero_si256()),
                                                _mm256_set1_epi32(INT32_MIN)));
}

/* One register's own stages: pairs 1, 2, 4 apart.  a - b is a + (-b), to the bit. */
static inline tq3_lanes tq3_within(tq3_lanes v)
{
    v = TQ3_ADD(_mm256_permute_ps(v, 0xb1), TQ3_XOR(v, tq3_odd_lanes(1)));
    v = TQ3_ADD(_mm256_permute_ps(v, 0x4e), TQ3_XOR(v, tq3_odd_lanes(2)));
    return TQ3_ADD(_mm256_permute2f128_ps(v, v, 1), TQ3_XOR(v, tq3_odd_lanes(4)));
}
#endif

enum { TQ3_BLOCK = 256, TQ3_REGISTERS = TQ3_BLOCK / TQ3_LANES };

static inline tq3_lanes tq3_sign_bits(const uint32_t *s)
{
    return TQ3_LOAD((const float *)(const void *)s);
}

/* Registers h apart, of n; both are constants, so that all of it is straight code. */
static inline void tq3_stage(tq3_lanes *v, size_t n, size_t h)
{
    for (size_t k = 0; k < n / 2 && h < n; k++) {
        const size_t j = 2 * (k & ~(h - 1)) | (k & (h - 1));
        const tq3_lanes a = v[j], b = v[j + h];
        v[j] = TQ3_ADD(a, b);
        v[j + h] = TQ3_SUB(a, b);
    }
}

/* n registers: look-up and the stages among them. */
static inline void tq3_block(const tq3_spread *s, const uint8_t *p, size_t each, const uint32_t *s2,
                             tq3_lanes *v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        v[i] = tq3_within(TQ3_XOR(tq3_look_up(s, p + i * each), tq3_sign_bits(s2 + i * TQ3_LANES)));
    tq3_stage(v, n, 1);
    tq3_stage(v, n, 2);
    tq3_stage(v, n, 4);
    tq3_stage(v, n, 8);
    tq3_stage(v, n, 16);
}

static inline tq3_lanes tq3_finish(tq3_lanes v, tq3_lanes root, const uint32_t *s1, tq3_lanes norm)
{
    return TQ3_MUL(TQ3_XOR(TQ3_DIV(v, root), tq3_sign_bits(s1)), norm);
}

/* Groups of n registers, n a constant. */
static inline void tq3_short(const tq3_rotation *r, const uint8_t *packed, const float *norm,
                             size_t groups, float *w, size_t n)
{
    const tq3_spread s = tq3_spread_of(r);
    const size_t each = TQ3_LANES / 8 * (size_t)r->stored_bits, bytes = tq3_bytes(r);
    const tq3_lanes root = TQ3_ALL(r->root);
    for (size_t g = 0; g < groups; g++) {
        tq3_lanes v[TQ3_REGISTERS];
        const tq3_lanes length = TQ3_ALL(norm[g]);
        tq3_block(&s, packed + g * bytes, each, r->s2, v, n);
        for (size_t i = 0; i < n; i++)
            TQ3_STORE(w + (g * n + i) * TQ3_LANES,
                      tq3_finish(v[i], root, r->s1 + i * TQ3_LANES, length));
    }
}

/* A stage of pairs that are a register apart, or further. */
static inline void tq3_far_stage(float *v, size_t group, size_t h)
{
    for (size_t i = 0; i < group; i += 2 * h)
        for (size_t j = i; j < i + h; j += TQ3_LANES) {
            const tq3_lanes a = TQ3_LOAD(v + j), b = TQ3_LOAD(v + j + h);
            TQ3_STORE(v + j, TQ3_ADD(a, b));
            TQ3_STORE(v + j + h, TQ3_SUB(a, b));
        }
}

/* Groups that do not fit: blocks of them, then the stages between blocks in memory. */
static inline void tq3_long(const tq3_rotation *r, const uint8_t *packed, const float *norm,
                            size_t groups, float *w)
{
    const tq3_spread s = tq3_spread_of(r);
    const size_t each = TQ3_LANES / 8 * (size_t)r->stored_bits, bytes = tq3_bytes(r);
    const tq3_lanes root = TQ3_ALL(r->root);
    for (size_t g = 0; g < groups; g++, w += r->group, packed += bytes) {
        const tq3_lanes length = TQ3_ALL(norm[g]);
        for (size_t b = 0; b < r->group; b += TQ3_BLOCK) {
            tq3_lanes v[TQ3_REGISTERS];
            tq3_block(&s, packed + b / TQ3_LANES * each, each, r->s2 + b, v, TQ3_REGISTERS);
            for (size_t i = 0; i < TQ3_REGISTERS; i++) TQ3_STORE(w + b + i * TQ3_LANES, v[i]);
        }
        for (size_t h = TQ3_BLOCK; h < r->group; h *= 2) tq3_far_stage(w, r->group, h);
        for (size_t j = 0; j < r->group; j += TQ3_LANES)
            TQ3_STORE(w + j, tq3_finish(TQ3_LOAD(w + j), root, r->s1 + j, length));
    }
}

static void tq3_groups(const tq3_rotation *r, const uint8_t *packed, const float *norm,
                       size_t groups, float *w)
{
    switch (r->group / TQ3_LANES) { /* constants: the loops over registers unroll */
    case 1: tq3_short(r, packed, norm, groups, w, 1); break;
    case 2: tq3_short(r, packed, norm, groups, w, 2); break;
    case 4: tq3_short(r, packed, norm, groups, w, 4); break;
    case 8: tq3_short(r, packed, norm, groups, w, 8); break;
    case 16: tq3_short(r, packed, norm, groups, w, 16); break;
    default: tq3_long(r, packed, norm, groups, w); break;
    }
}

/* Look-ups read ahead: the last group is read from a copy. */
static void tq3_decode(const tq3_rotation *r, const uint8_t *packed, const float *norm,
                       size_t groups, float *w)
{
    uint8_t last[TQ3_GROUP_MAX / 2 + 8] = { 0 };
    const size_t bytes = tq3_bytes(r);
    if (r->stored_bits > 4 || r->group < TQ3_LANES) {
        for (size_t g = 0; g < groups; g++)
            tq3_decode_group(r, packed + g * bytes, norm[g], w + g * r->group);
        return;
    }
    if (groups == 0) return;
    tq3_groups(r, packed, norm, groups - 1, w);
    memcpy(last, packed + (groups - 1) * bytes, bytes);
    tq3_groups(r, last, norm + groups - 1, 1, w + (groups - 1) * r->group);
}

/* In memory: registers by themselves, then registers among each other. */
static void tq3_turn(float *v, uint32_t group)
{
    if (group < TQ3_LANES) {
        tq3_transform(v, group);
        return;
    }
    for (size_t i = 0; i < group; i += TQ3_LANES) TQ3_STORE(v + i, tq3_within(TQ3_LOAD(v + i)));
    for (size_t h = TQ3_LANES; h < group; h *= 2) tq3_far_stage(v, group, h);
}

#undef TQ3_LOAD
#undef TQ3_STORE
#undef TQ3_ADD
#undef TQ3_SUB
#undef TQ3_MUL
#undef TQ3_DIV
#undef TQ3_ALL
#undef TQ3_XOR

#else

static void tq3_decode(const tq3_rotation *r, const uint8_t *packed, const float *norm,
                       size_t groups, float *w)
{
    for (size_t g = 0; g < groups; g++)
        tq3_decode_group(r, packed + g * tq3_bytes(r), norm[g], w + g * r->group);
}

static void tq3_turn(float *v, uint32_t group)
{
    tq3_transform(v, group);
}
#endif

static void tq3_encode(const tq3_rotation *r, const float *bounds, const float *w, size_t groups,
                       uint8_t *packed, float *norm)
{
    float v[TQ3_GROUP_MAX];
    for (size_t g = 0; g < groups; g++) {
        const float length = tq3_unit(r, w + g * r->group, v);
        tq3_turn(v, r->group);
        tq3_store(r, bounds, v, packed + g * tq3_bytes(r));
        tq3_turn(v, r->group);
        norm[g] = tq3_norm(r, v, length);
    }
}
