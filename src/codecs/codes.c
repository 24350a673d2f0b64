/* Fitting a codes view into another encoding: see codes.h.
 *
 * Integers n = q - zero are what must survive.  A symmetric target wants every n in its
 * signed range and recentres each group; one that stores zeros gets codes and zeros moved
 * together by the distance of the two frames' middles; one that stores real offsets (Q4_1)
 * gets -zero * scale where a half holds it.  A view with real offsets is first read as
 * integers: zero = -offset / scale, if that is exact. */
#include "codes.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/num.h"
#include <math.h>
#include <string.h>

static const char *const float_names[FLOAT_KINDS] = { "F16", "BF16", "F32" };

float_kind codes_float_kind(glmq_dtype dtype)
{
    if (dtype == GLMQ_DT_F16) return FLOAT_F16;
    return dtype == GLMQ_DT_BF16 ? FLOAT_BF16 : FLOAT_F32;
}

/* ---- zeros ---- */

/* Integers are moved by this in every group, except by a symmetric target. */
static int frame_shift(const codes_target *to, const glmq_codes *from)
{
    if (to->zeros == CODES_OFFSET && (from->has_offset || from->bits <= to->bits)) return 0;
    return (1 << (to->bits - 1)) - (1 << (from->bits - 1));
}

/* The zero point of source group i (row * groups + group): 0, or -1 where a real offset is
 * no integer multiple of the scale. */
static int source_zero(const glmq_codes *from, uint64_t i, int *zero)
{
    if (!from->has_offset) {
        *zero = from->zero[i];
        return 0;
    }
    const float s = from->scale[i], m = from->offset[i];
    if (m == 0.0f) {
        *zero = 0;
        return 0;
    }
    const float z = rintf(-m / s);
    if (!(fabsf(z) <= 4096.0f) || -z * s != m) return -1;
    *zero = (int)z;
    return 0;
}

/* How far the codes of source group i move. */
static int code_shift(const codes_target *to, const glmq_codes *from, uint64_t i)
{
    int zero = 0;
    if (to->zeros != CODES_MID) return frame_shift(to, from);
    source_zero(from, i, &zero); /* codes_small_run has seen that it exists */
    return (1 << (to->bits - 1)) - zero;
}

/* ---- the whole tensor ---- */

/* Does every group of the permutation have exactly `group` members? */
static glmq_status check_even(const codes_target *to, const glmq_codes *from, uint64_t cols,
                              glmq_error *err)
{
    uint32_t *members = glmq_alloc_zero(from->groups, sizeof *members);
    glmq_status st = GLMQ_OK;

    if (!members) return glmq_fail(err, GLMQ_E_NOMEM, "%u groups", from->groups);
    for (uint64_t c = 0; c < cols; c++) members[from->perm[c]]++;
    for (uint32_t g = 0; g < from->groups && !st; g++)
        if (members[g] != to->group)
            st = glmq_fail(err, GLMQ_E_INEXACT,
                           "group %u of the permuted columns has %u members, and %s needs %u", g,
                           members[g], to->name, to->group);
    glmq_free(members);
    return st;
}

glmq_status codes_fit(const codes_target *to, const glmq_codes *from, glmq_tile t, glmq_error *err)
{
    if (from->kind != GLMQ_CODES_INT)
        return glmq_fail(err, GLMQ_E_INEXACT,
                         "the codes stand for table entries, and %s stores integers", to->name);
    if (!from->perm) return GLMQ_OK;
    if (!to->perm)
        return glmq_fail(err, GLMQ_E_INEXACT,
                         "columns are permuted (act-order) and %s stores them in order", to->name);
    if (from->group != to->group || from->groups != to->groups)
        return glmq_fail(err, GLMQ_E_INEXACT,
                         "columns are permuted (act-order) in %u groups of %u, and %s has %u of %u",
                         from->groups, from->group, to->name, to->groups, to->group);
    return to->even ? check_even(to, from, t.cols, err) : GLMQ_OK;
}

/* ---- scales ---- */

/* Where a target's group lies in the source: groups [*first, *last] of the row. */
static void source_groups(const codes_target *to, const glmq_codes *from, uint64_t cols, uint32_t g,
                          uint32_t *first, uint32_t *last)
{
    const uint64_t begin = (uint64_t)g * to->group;
    uint64_t end = begin + to->group;
    if (end > cols) end = cols;
    *first = (uint32_t)(begin / from->group);
    *last = (uint32_t)((end - 1) / from->group);
}

/* Zero and offset of one target group, from source group i. */
static glmq_status take_zero(const codes_target *to, const glmq_codes *from, uint64_t i,
                             uint64_t row, uint32_t g, codes_small *out, uint32_t k,
                             glmq_error *err)
{
    const float s = from->scale[i];
    int zero;

    out->zero[k] = (int16_t)(1 << (to->bits - 1));
    out->offset[k] = 0;
    if (to->zeros == CODES_OFFSET && from->has_offset) {
        out->offset[k] = from->offset[i];
        return GLMQ_OK;
    }
    if (source_zero(from, i, &zero))
        return glmq_fail(err, GLMQ_E_INEXACT,
                         "offset %.9g of row %" PRIu64
                         ", group %u is no multiple of its scale %.9g",
                         (double)from->offset[i], row, g, (double)s);
    if (to->zeros == CODES_MID) return GLMQ_OK; /* the codes are recentred instead */
    zero += frame_shift(to, from);
    out->zero[k] = (int16_t)zero;
    if (to->zeros == CODES_OFFSET)
        out->offset[k] = 0.0f - (float)zero * s; /* exact; +0 for a zero of 0 */
    else if (zero < 0 || zero >= 1 << to->bits)
        return glmq_fail(err, GLMQ_E_INEXACT,
                         "zero point %d of row %" PRIu64 ", group %u does not fit %u bits", zero,
                         row, g, to->bits);
    return GLMQ_OK;
}

/* A target group that spans several of the source: they must agree. */
static glmq_status check_joined(const codes_target *to, const glmq_codes *from, uint64_t r,
                                uint64_t row, uint32_t first, uint32_t last, glmq_error *err)
{
    const float *s = from->scale + r * from->groups;

    for (uint32_t g = first + 1; g <= last; g++) {
        const uint64_t i = r * from->groups;
        if (bits_from_f32(s[g]) != bits_from_f32(s[first]))
            return glmq_fail(err, GLMQ_E_INEXACT,
                             "scales %.9g and %.9g of row %" PRIu64
                             ", groups %u and %u would share one group of %u",
                             (double)s[first], (double)s[g], row, first, g, to->group);
        if (from->has_offset ? from->offset[i + g] != from->offset[i + first]
                             : to->zeros != CODES_MID && from->zero[i + g] != from->zero[i + first])
            return glmq_fail(err, GLMQ_E_INEXACT,
                             "zero points of row %" PRIu64
                             ", groups %u and %u differ and would share one group of %u",
                             row, first, g, to->group);
    }
    return GLMQ_OK;
}

/* Rounds to the target's type; every value must come back with the same bits. */
static glmq_status narrow_exactly(float_kind kind, const float *v, uint32_t n, uint8_t *stored,
                                  const char *what, uint64_t row, uint32_t g, glmq_error *err)
{
    const glmq_kernels *k = glmq_kernels_now();
    float back[CODES_RUN];
    uint32_t bad = 0;

    k->narrow[kind](v, n, stored);
    k->widen[kind](stored, n, back);
    for (uint32_t i = 0; i < n; i++)
        bad |= (uint32_t)(bits_from_f32(back[i]) != bits_from_f32(v[i])) | !is_finite_f32(v[i]);
    if (!bad) return GLMQ_OK;
    for (uint32_t i = 0; i < n; i++) {
        if (!is_finite_f32(v[i]))
            return glmq_fail(err, GLMQ_E_INEXACT, "%s of row %" PRIu64 ", group %u is not finite",
                             what, row, g + i);
        if (bits_from_f32(back[i]) != bits_from_f32(v[i]))
            return glmq_fail(err, GLMQ_E_INEXACT,
                             "%s %.9g of row %" PRIu64 ", group %u has no exact %s", what,
                             (double)v[i], row, g + i, float_names[kind]);
    }
    return GLMQ_OK;
}

/* Scales as they are, and zeros in another frame: the common case, one pass.  0: it is not, or a
 * zero does not fit. */
static int fill_plain_run(const codes_target *to, const glmq_codes *from, uint64_t r, uint32_t g,
                          uint32_t n, codes_small *out)
{
    const uint64_t first = r * from->groups + g;
    const int16_t middle = (int16_t)(1 << (to->bits - 1)), outside = (int16_t)(-2 * middle);
    const int16_t shift = (int16_t)frame_shift(to, from);
    int16_t bad = 0;

    if (to->zeros == CODES_OFFSET || from->has_offset || to->group != from->group) return 0;
    memcpy(out->scale, from->scale + first, n * sizeof *out->scale);
    if (to->zeros == CODES_MID) { /* the codes are recentred instead */
        for (uint32_t k = 0; k < n; k++) out->zero[k] = middle;
        return 1;
    }
    for (uint32_t k = 0; k < n; k++) {
        out->zero[k] = (int16_t)(from->zero[first + k] + shift);
        bad |= out->zero[k] & outside;
    }
    return !bad;
}

static glmq_status fill_run(const codes_target *to, const glmq_codes *from, glmq_tile t, uint64_t r,
                            uint32_t g, uint32_t n, codes_small *out, glmq_error *err)
{
    const uint64_t row = t.row + r;

    for (uint32_t k = 0; k < n; k++) {
        uint32_t first = g + k, last = first;
        if (!from->perm) source_groups(to, from, t.cols, g + k, &first, &last);
        if (last > first) GLMQ_TRY(check_joined(to, from, r, row, first, last, err));
        out->scale[k] = from->scale[r * from->groups + first];
        GLMQ_TRY(take_zero(to, from, r * from->groups + first, row, g + k, out, k, err));
    }
    return GLMQ_OK;
}

/* One scale and zero for the tensor: this row's must be the first row's. */
static glmq_status check_one(const codes_target *to, const glmq_codes *from, glmq_tile t,
                             uint64_t r, const codes_small *row, glmq_error *err)
{
    codes_small first;

    if (bits_from_f32(row->scale[0]) != bits_from_f32(from->scale[0]))
        return glmq_fail(err, GLMQ_E_INEXACT,
                         "scales %.9g of row %" PRIu64 " and %.9g of row %" PRIu64
                         " differ, and %s has one for the tensor",
                         (double)from->scale[0], t.row, (double)row->scale[0], t.row + r, to->name);
    GLMQ_TRY(take_zero(to, from, 0, t.row, 0, &first, 0, err));
    if (first.zero[0] == row->zero[0]) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_INEXACT,
                     "zero points %d of row %" PRIu64 " and %d of row %" PRIu64
                     " differ, and %s has one for the tensor",
                     first.zero[0], t.row, row->zero[0], t.row + r, to->name);
}

glmq_status codes_small_run(const codes_target *to, const glmq_codes *from, glmq_tile t, uint64_t r,
                            uint32_t g, uint32_t n, codes_small *out, glmq_error *err)
{
    const uint64_t row = t.row + r;

    if (!fill_plain_run(to, from, r, g, n, out)) GLMQ_TRY(fill_run(to, from, t, r, g, n, out, err));
    if (to->one_scale) GLMQ_TRY(check_one(to, from, t, r, out, err));
    GLMQ_TRY(narrow_exactly(to->scale, out->scale, n, out->stored_scale, "scale", row, g, err));
    if (to->zeros != CODES_OFFSET) return GLMQ_OK;
    return narrow_exactly(to->scale, out->offset, n, out->stored_offset, "offset", row, g, err);
}

/* ---- codes ---- */

/* The source's codes of columns [col, col + n) of row r; out of a stream they are unpacked. */
static const uint8_t *source_codes(const glmq_codes *from, glmq_tile t, uint64_t r, uint64_t col,
                                   size_t n, uint8_t *room)
{
    const uint64_t at = r * t.cols + col;
    if (!from->stream) return from->q + at;
    glmq_kernels_now()->unpack[from->bits](from->stream + at * from->bits / 8, n, room);
    return room;
}

static glmq_status bad_code(const codes_target *to, const uint8_t *q, uint64_t row, uint64_t col,
                            size_t n, int add, glmq_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const int v = q[i] + add;
        if (v < 0 || v >= 1 << to->bits)
            return glmq_fail(err, GLMQ_E_INEXACT,
                             "code %d of row %" PRIu64 ", column %" PRIu64
                             " does not fit the %u bits of %s",
                             v - (1 << (to->bits - 1)), row, col + i, to->bits, to->name);
    }
    return GLMQ_OK;
}

/* n codes from column `col` of a row on. */
static glmq_status shift_run(const codes_target *to, const uint8_t *q, uint64_t row, uint64_t col,
                             size_t n, int add, uint8_t *out, glmq_error *err)
{
    if (!glmq_kernels_now()->shift(q, n, add, (1 << to->bits) - 1, out)) return GLMQ_OK;
    return bad_code(to, q, row, col, n, add, err);
}

/* One distance for all groups? */
static int is_one_shift(const codes_target *to, const glmq_codes *from)
{
    return to->zeros != CODES_MID || (from->no_zero && !from->has_offset);
}

int codes_unchanged(const codes_target *to, const glmq_codes *from)
{
    return is_one_shift(to, from) && from->bits <= to->bits && code_shift(to, from, 0) == 0;
}

glmq_status codes_row(const codes_target *to, const glmq_codes *from, glmq_tile t, uint64_t r,
                      uint64_t col, size_t n, uint8_t *room, const uint8_t **q, glmq_error *err)
{
    const uint64_t base = r * from->groups, row = t.row + r;
    uint8_t unpacked[CODES_CHUNK];
    const uint8_t *was;

    if (codes_unchanged(to, from)) {
        *q = source_codes(from, t, r, col, n, room);
        return GLMQ_OK;
    }
    *q = room;
    was = source_codes(from, t, r, col, n, unpacked);
    if (is_one_shift(to, from))
        return shift_run(to, was, row, col, n, code_shift(to, from, base), room, err);
    for (size_t i = 0, run; i < n; i += run) {
        const uint64_t c = col + i, g = from->perm ? (uint64_t)from->perm[c] : c / from->group;
        run = from->perm ? 1 : (size_t)((g + 1) * from->group - c);
        if (run > n - i) run = n - i;
        GLMQ_TRY(
            shift_run(to, was + i, row, c, run, code_shift(to, from, base + g), room + i, err));
    }
    return GLMQ_OK;
}
