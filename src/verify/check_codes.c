/* The stored parts of quantized tensors: is every companion finite, in range, and not zero
 * where the codes are not?
 *
 * Scales in an array of their own are looked at as they are stored, before anything decodes
 * with them; then the codes view says which scale belongs to which codes. */
#include "base/error.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "check_parts.h"
#include "readers/catalog.h"
#include <math.h>
#include <string.h>

/* ---- scales in the codes view ---- */

typedef struct scales {
    uint64_t unfinite, idle; /* idle: scale 0 under codes that are not zero               */
    uint64_t first_row, first_group;
} scales;

static void note_first(scales *s, uint64_t row, uint64_t group)
{
    if (s->unfinite + s->idle > 1) return;
    s->first_row = row;
    s->first_group = group;
}

/* Does this code stand for another number than zero? */
static int is_code(const glmq_codes *k, uint64_t i, uint8_t q)
{
    return k->kind == GLMQ_CODES_INT ? q != k->zero[i] : k->lut[q] != 0;
}

static int has_codes(const glmq_codes *k, uint64_t r, uint32_t group, uint64_t cols)
{
    const uint64_t i = r * k->groups + group;
    const uint64_t begin = k->perm ? 0 : (uint64_t)group * k->group;
    const uint64_t end = k->perm || cols - begin < k->group ? cols : begin + k->group;

    for (uint64_t c = begin; c < end; c++)
        if ((!k->perm || (uint64_t)k->perm[c] == group) && is_code(k, i, k->q[r * cols + c]))
            return 1;
    return 0;
}

/* Rows [row, row + rows) of a tile share one row of scales. */
static void look_at_band(scales *s, const glmq_codes *k, glmq_tile t, uint64_t row, uint64_t rows)
{
    for (uint32_t g = 0; g < k->groups; g++) {
        const uint64_t i = row * k->groups + g;
        const int unfinite = !isfinite(k->scale[i]) || (k->has_offset && !isfinite(k->offset[i]));
        int idle = 0;

        if (!unfinite && k->scale[i] == 0 && !k->has_offset)
            for (uint64_t r = row; r < row + rows && !idle; r++) idle = has_codes(k, r, g, t.cols);
        s->unfinite += unfinite ? 1 : 0;
        s->idle += idle ? 1 : 0;
        if (unfinite || idle) note_first(s, t.row + row, g);
    }
}

static void look_at_tile(scales *s, const glmq_codes *k, glmq_tile t, uint64_t band)
{
    for (uint64_t r = 0; r < t.rows; r += band)
        look_at_band(s, k, t, r, band < t.rows - r ? band : t.rows - r);
}

/* Groups of an act-order tensor that have more or fewer members than the format counts on. */
static glmq_status look_at_order(const glmq_codes *k, uint64_t cols, glmq_found **list,
                                 glmq_error *err)
{
    const uint64_t size = ceil_div_u64(cols, k->groups);
    uint64_t *members = glmq_alloc_zero(k->groups, sizeof *members);
    uint64_t uneven = 0;

    if (!members) return glmq_fail(err, GLMQ_E_NOMEM, "members of %u groups", k->groups);
    for (uint64_t c = 0; c < cols; c++) members[k->perm[c]]++;
    for (uint32_t g = 0; g < k->groups; g++) uneven += members[g] != size ? 1 : 0;
    glmq_free(members);
    if (!uneven || cols % k->groups) return GLMQ_OK;
    return glmq_found_add(list, err, GLMQ_WARNING, "uneven-groups",
                          "%" PRIu64 " of %u groups of g_idx do not have %" PRIu64 " columns",
                          uneven, k->groups, size);
}

static int has_one_scale(const glmq_layout *l)
{
    const glmq_slot_layout *s = &l->slot[GLMQ_SLOT_SCALES];
    uint64_t n = s->dtype != GLMQ_DT_NONE;

    for (int d = 0; d < s->rank; d++) n *= s->dims[d] == 1;
    return n == 1;
}

enum { CHECK_TILE_BYTES = 1 << 20 };

static glmq_status look_at_codes(glmq_checker *c, const glmq_part *part, scales *s,
                                 glmq_found **list, glmq_error *err)
{
    const glmq_encoding *enc = glmq_fetch_encoding(c->fetch);
    const uint64_t quantum = glmq_fetch_layout(c->fetch)->row_quantum;
    const uint32_t groups = glmq_encoding_groups(enc, part->cols);
    const uint64_t step = quantum ? quantum : 1;
    uint64_t band = enc->group_rows > 1 ? enc->group_rows : 1; /* rows per scale */
    uint64_t tile = ceil_div_u64(CHECK_TILE_BYTES, part->cols);

    tile = ceil_div_u64(tile, step) * step;
    if (tile > part->rows) tile = part->rows;
    if (has_one_scale(glmq_fetch_layout(c->fetch))) band = tile;
    const size_t floats = (size_t)(tile * groups) * sizeof(float);
    uint8_t *at = glmq_checker_scratch(c, 3 * floats + (size_t)(tile * part->cols));
    if (!at) return glmq_fail(err, GLMQ_E_NOMEM, "codes of %" PRIu64 " rows", tile);
    glmq_codes k = { .scale = (float *)(void *)at,
                     .offset = (float *)(void *)(at + floats),
                     .zero = (int16_t *)(void *)(at + 2 * floats),
                     .q = at + 3 * floats };
    for (uint64_t row = 0; row < part->rows; row += tile) {
        const uint64_t rows = tile < part->rows - row ? tile : part->rows - row;
        const glmq_tile t = { .row = row, .rows = rows, .cols = part->cols, .of_rows = part->rows };
        glmq_bufs bufs;
        GLMQ_TRY(glmq_fetch_rows(c->fetch, row, rows, &bufs, err));
        enc->codec->get_codes(enc, &bufs, t, &k);
        k.groups = groups;
        look_at_tile(s, &k, t, band);
        if (row == 0 && k.perm) GLMQ_TRY(look_at_order(&k, part->cols, list, err));
    }
    return GLMQ_OK;
}

static glmq_status tell_scales(const scales *s, glmq_found **list, glmq_error *err)
{
    if (s->unfinite)
        GLMQ_TRY(glmq_found_add(list, err, GLMQ_ERROR, "scale-not-finite",
                                "%" PRIu64 " scales are NaN or infinite; the first at row %" PRIu64
                                ", group %" PRIu64,
                                s->unfinite, s->first_row, s->first_group));
    if (s->idle)
        GLMQ_TRY(glmq_found_add(list, err, GLMQ_WARNING, "scale-zero",
                                "%" PRIu64
                                " scales are 0 though codes of their group are not; the first at "
                                "row %" PRIu64 ", group %" PRIu64,
                                s->idle, s->first_row, s->first_group));
    return GLMQ_OK;
}

/* ---- scales as they are stored ---- */

typedef float (*read_float)(const uint8_t *p);

static float read_f32(const uint8_t *p)
{
    return f32_from_bits(load_le32(p));
}

static float read_f16(const uint8_t *p)
{
    return f32_from_f16(load_le16(p));
}

static float read_bf16(const uint8_t *p)
{
    return f32_from_bf16(load_le16(p));
}

static float read_e4m3(const uint8_t *p)
{
    return f32_from_e4m3(*p);
}

static float read_e8m0(const uint8_t *p)
{
    return f32_from_e8m0(*p);
}

static const struct {
    glmq_dtype dtype;
    size_t bytes;
    read_float read;
} floats_known[] = {
    { GLMQ_DT_F32, 4, read_f32 },      { GLMQ_DT_F16, 2, read_f16 },
    { GLMQ_DT_BF16, 2, read_bf16 },    { GLMQ_DT_F8_E4M3, 1, read_e4m3 },
    { GLMQ_DT_F8_E8M0, 1, read_e8m0 },
};

enum { SLOT_CHUNK = 1 << 20 };

typedef struct slot_scan {
    uint64_t count, unfinite, zero, negative, first; /* first: the first that is not finite */
} slot_scan;

static void scan_floats(slot_scan *scan, read_float read, size_t each, const uint8_t *p, size_t len)
{
    for (size_t i = 0; i + each <= len; i += each, scan->count++) {
        const float x = read(p + i);
        if (!isfinite(x) && !scan->unfinite++) scan->first = scan->count;
        scan->zero += x == 0 ? 1 : 0;
        scan->negative += x < 0 ? 1 : 0;
    }
}

/* Looks at every float of a stored slot; of other types, at nothing. */
static glmq_status scan_slot(glmq_checker *c, const glmq_span *span, slot_scan *scan,
                             glmq_error *err)
{
    const glmq_dtype dtype = (glmq_dtype)c->graph->catalog->arrays[span->array].dtype;
    uint8_t *bytes;
    size_t k = 0;

    while (k < GLMQ_COUNT(floats_known) && floats_known[k].dtype != dtype) k++;
    if (k == GLMQ_COUNT(floats_known) || !span->bytes) return GLMQ_OK;
    bytes = glmq_checker_scratch(c, SLOT_CHUNK);
    if (!bytes) return glmq_fail(err, GLMQ_E_NOMEM, "a buffer of %d bytes", SLOT_CHUNK);
    for (uint64_t off = 0; off < span->bytes; off += SLOT_CHUNK) {
        const uint64_t left = span->bytes - off;
        const size_t len = left < SLOT_CHUNK ? (size_t)left : (size_t)SLOT_CHUNK;
        GLMQ_TRY(glmq_source_read(glmq_graph_source(c->graph), span->file, span->offset + off,
                                  bytes, len, err));
        scan_floats(scan, floats_known[k].read, floats_known[k].bytes, bytes, len);
    }
    return GLMQ_OK;
}

/* Scales that nothing should decode with. */
static glmq_status tell_stored(const slot_scan *scan, glmq_found **list, glmq_error *err)
{
    if (!scan->unfinite) return GLMQ_OK;
    return glmq_found_add(list, err, GLMQ_ERROR, "scale-not-finite",
                          "%" PRIu64 " of %" PRIu64
                          " scales are NaN or infinite; the first is number %" PRIu64,
                          scan->unfinite, scan->count, scan->first);
}

/* Codes that point into a book are never zero, and a group of zeros is scaled by 0: but when
 * all groups are, nothing is left of the tensor.  What scales them is a norm. */
static glmq_status tell_norms(const slot_scan *scan, const glmq_part *part, glmq_found **list,
                              glmq_error *err)
{
    if (part->enc.codec->get_codes || !scan->count) return GLMQ_OK;
    if (scan->negative)
        GLMQ_TRY(glmq_found_add(list, err, GLMQ_WARNING, "norm-negative",
                                "%" PRIu64 " of %" PRIu64 " norms of groups are negative",
                                scan->negative, scan->count));
    if (scan->zero < scan->count) return GLMQ_OK;
    return glmq_found_add(list, err, GLMQ_WARNING, "scale-zero", "all %" PRIu64 " scales are 0",
                          scan->count);
}

/* One value for the tensor or its activations: finite and positive, or it is of no use. */
static glmq_status look_at_single(glmq_checker *c, const glmq_span *span, const char *what,
                                  glmq_found **list, glmq_error *err)
{
    slot_scan scan = { 0 };

    if (!span->bytes) return GLMQ_OK;
    GLMQ_TRY(scan_slot(c, span, &scan, err));
    if (!scan.unfinite && !scan.zero && !scan.negative) return GLMQ_OK;
    return glmq_found_add(list, err, GLMQ_ERROR, "scale-not-positive",
                          "%" PRIu64 " of %" PRIu64 " values of its %s are not finite and positive",
                          scan.unfinite + scan.zero + scan.negative, scan.count, what);
}

/* ---- a part ---- */

/* Rows whose codes only the codec can judge. */
static glmq_status look_at_rows(glmq_checker *c, const glmq_part *part, glmq_error *err)
{
    const uint64_t quantum = glmq_fetch_layout(c->fetch)->row_quantum;
    const uint64_t most = ceil_div_u64(CHECK_TILE_BYTES, part->cols);
    const uint64_t tile = ceil_div_u64(most, quantum) * quantum;

    for (uint64_t row = 0; row < part->rows; row += tile) {
        const uint64_t rows = tile < part->rows - row ? tile : part->rows - row;
        glmq_bufs bufs;
        GLMQ_TRY(glmq_fetch_rows(c->fetch, row, rows, &bufs, err));
    }
    return GLMQ_OK;
}

/* What opening and reading the codes finds, as problems of the tensor. */
static glmq_status look_at_part(glmq_checker *c, const glmq_part *part, glmq_found **list,
                                glmq_error *err)
{
    scales s = { 0 };

    GLMQ_TRY(glmq_fetch_open(c->fetch, glmq_graph_source(c->graph), part, err));
    const glmq_encoding *enc = glmq_fetch_encoding(c->fetch);
    if (glmq_encoding_is_plain(enc) || !enc->codec) return GLMQ_OK;
    if (!enc->codec->get_codes)
        return enc->codec->check_rows ? look_at_rows(c, part, err) : GLMQ_OK;
    GLMQ_TRY(look_at_codes(c, part, &s, list, err));
    return tell_scales(&s, list, err);
}

/* Keeps the scale of the whole tensor: engines want it equal in what they fuse. */
static glmq_status take_global(glmq_checker *c, const glmq_part *part, glmq_checked *out,
                               glmq_error *err)
{
    const glmq_span *span = &part->span[GLMQ_SLOT_GLOBAL];
    uint8_t raw[4];
    glmq_layout l;

    if (!part->enc.codec || part->enc.codec->layout(&part->enc, part->rows, part->cols, &l, NULL))
        return GLMQ_OK;
    out->has_global = l.slot[GLMQ_SLOT_GLOBAL].dtype == GLMQ_DT_F32;
    out->global = 1;
    if (!out->has_global || span->bytes != sizeof raw) return GLMQ_OK;
    GLMQ_TRY(glmq_source_read(glmq_graph_source(c->graph), span->file, span->offset, raw,
                              sizeof raw, err));
    out->global = read_f32(raw);
    return GLMQ_OK;
}

/* What the codec refuses: for its scales, by what it says, or for anything else. */
static glmq_status tell_refusal(const slot_scan *scan, glmq_found **list, glmq_error *err)
{
    const int bad = scan->zero + scan->negative && strstr(err->msg, "scale");

    return glmq_found_add(list, err, GLMQ_ERROR, bad ? "scale-not-positive" : "bad-tensor", "%s",
                          err->msg);
}

glmq_status glmq_check_part(glmq_checker *c, const glmq_part *part, glmq_checked *out, int *usable,
                            glmq_error *err)
{
    glmq_found **list = &out->found;
    slot_scan scan = { 0 };

    GLMQ_TRY(scan_slot(c, &part->span[GLMQ_SLOT_SCALES], &scan, err));
    GLMQ_TRY(tell_stored(&scan, list, err));
    GLMQ_TRY(look_at_single(c, &part->span[GLMQ_SLOT_GLOBAL], "global scale", list, err));
    GLMQ_TRY(look_at_single(c, &part->span[GLMQ_SLOT_INPUT_SCALE], "input scale", list, err));
    GLMQ_TRY(take_global(c, part, out, err));
    *usable = scan.unfinite == 0;
    if (!*usable) return GLMQ_OK;
    const glmq_status st = look_at_part(c, part, list, err);
    *usable = st == GLMQ_OK;
    if (!st) return tell_norms(&scan, part, list, err);
    return glmq_check_is_problem(st) ? tell_refusal(&scan, list, err) : st;
}
