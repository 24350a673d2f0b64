/* Fetch: reads the stored bytes of parts and turns them into tiles of canonical values.
 *
 * A slot that its layout cuts into stripes is read tile by tile; one that it does not is
 * read once when the part is opened.  Nothing is allocated before the file is known to hold
 * the bytes.  A transposed part (k_b of a GGUF) is decoded one head at a time and turned
 * round into the caller's rows. */
#include "fetch.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "codecs/fp4.h"
#include <string.h>

enum { TILE_BYTES = 256 * 1024 }; /* F32 copy of a tile: stays in L2 */

typedef struct {
    void *data;
    size_t capacity;
} buffer;

struct glmq_fetch {
    const glmq_source *src;
    const glmq_part *part;
    glmq_encoding enc; /* as check() resolved it */
    glmq_layout layout;
    int no_codes; /* only what lies in slots beside them is read */
    buffer slot[GLMQ_SLOTS];
};

struct glmq_tensor_fetch {
    const glmq_tensor *t;
    glmq_fetch *part[GLMQ_PARTS_MAX];
    buffer head[GLMQ_PARTS_MAX];   /* transposed parts: one head's values, as stored     */
    uint64_t held[GLMQ_PARTS_MAX]; /* which head `head` holds; UINT64_MAX: none          */
    buffer edge;                   /* rows before the first wanted one of a quantum      */
};

static glmq_status reserve(buffer *b, uint64_t bytes, glmq_error *err)
{
    void *p;

    if (bytes <= b->capacity) return GLMQ_OK;
    if (bytes > SIZE_MAX) return glmq_fail(err, GLMQ_E_LIMIT, "%" PRIu64 " bytes", bytes);
    p = glmq_realloc(b->data, (size_t)bytes);
    if (!p) return glmq_fail(err, GLMQ_E_NOMEM, "buffer of %" PRIu64 " bytes", bytes);
    b->data = p;
    b->capacity = (size_t)bytes;
    return GLMQ_OK;
}

/* ---- one part ---- */

glmq_fetch *glmq_fetch_new(void)
{
    return glmq_alloc_zero(1, sizeof(glmq_fetch));
}

void glmq_fetch_free(glmq_fetch *f)
{
    if (!f) return;
    for (int i = 0; i < GLMQ_SLOTS; i++) glmq_free(f->slot[i].data);
    glmq_free(f);
}

const glmq_encoding *glmq_fetch_encoding(const glmq_fetch *f)
{
    return &f->enc;
}

const glmq_layout *glmq_fetch_layout(const glmq_fetch *f)
{
    return &f->layout;
}

/* Does the slot exist in the layout and in the file, and is it wanted? */
static int is_stored(const glmq_fetch *f, int slot)
{
    if (f->no_codes && slot == GLMQ_SLOT_CODES) return 0;
    return f->layout.slot[slot].dtype != GLMQ_DT_NONE && f->part->span[slot].bytes != 0;
}

/* What messages call a slot. */
static const char *slot_name(int slot)
{
    static const char *const names[GLMQ_SLOTS] = {
        [GLMQ_SLOT_CODES] = "codes",
        [GLMQ_SLOT_SCALES] = "scales",
        [GLMQ_SLOT_ZEROS] = "zero points",
        [GLMQ_SLOT_PERM] = "g_idx",
        [GLMQ_SLOT_SHAPE] = "shape",
        [GLMQ_SLOT_GLOBAL] = "global scale",
        [GLMQ_SLOT_INPUT_SCALE] = "input scale",
        [GLMQ_SLOT_BOOK] = "codebook",
    };
    return names[slot];
}

static glmq_status check_span(const glmq_fetch *f, int slot, glmq_error *err)
{
    const glmq_slot_layout *l = &f->layout.slot[slot];
    const glmq_span *s = &f->part->span[slot];

    if (l->dtype == GLMQ_DT_NONE || (s->bytes == 0 && (l->optional || l->bytes == 0)))
        return GLMQ_OK;
    if (s->bytes != l->bytes)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " bytes, expected %" PRIu64,
                         slot_name(slot), s->bytes, l->bytes);
    if (s->file >= glmq_source_count(f->src) ||
        !in_range(s->offset, s->bytes, glmq_source_size(f->src, s->file)))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: %" PRIu64 " bytes at %" PRIu64 " are not in the file",
                         slot_name(slot), s->bytes, s->offset);
    return GLMQ_OK;
}

/* Bits that are all set in a NaN and in an infinity; 0: the type has none. */
static uint32_t special_bits(glmq_dtype dtype)
{
    switch (dtype) {
    case GLMQ_DT_F16: return 0x7c00;
    case GLMQ_DT_BF16: return 0x7f80;
    case GLMQ_DT_F32: return 0x7f800000;
    case GLMQ_DT_F8_E4M3: return 0x7f;
    default: return 0;
    }
}

static uint32_t number_at(const uint8_t *p, uint64_t each)
{
    return each == 1 ? *p : each == 2 ? load_le16(p) : load_le32(p);
}

/* Without a way out, so that compilers vectorize it. */
static int has_special(const uint8_t *p, uint64_t n, uint64_t each, uint32_t bits)
{
    int found = 0;
    if (each == 1)
        for (uint64_t i = 0; i < n; i++) found |= (p[i] & bits) == bits;
    else if (each == 2)
        for (uint64_t i = 0; i < n; i++) found |= (load_le16(p + 2 * i) & bits) == bits;
    else
        for (uint64_t i = 0; i < n; i++) found |= (load_le32(p + 4 * i) & bits) == bits;
    return found;
}

/* The first scale (or FP8 code) that is NaN or infinite, or n. */
static uint64_t find_nonfinite(const uint8_t *p, glmq_dtype dtype, uint64_t each, uint64_t n)
{
    enum { RUN = 4096 };
    const uint32_t bits = special_bits(dtype);

    for (uint64_t i = 0; bits && i < n; i += RUN) {
        const uint64_t end = n - i < RUN ? n : i + RUN;
        if (!has_special(p + i * each, end - i, each, bits)) continue;
        for (uint64_t k = i; k < end; k++)
            if ((number_at(p + k * each, each) & bits) == bits) return k;
    }
    return n;
}

/* Scale `at` of a slot: by its row, where the slot is stored row by row. */
static glmq_status refuse_scale(const glmq_slot_layout *s, uint64_t at, uint64_t each,
                                glmq_error *err)
{
    const uint64_t per = s->stripe_rows == 1 ? s->stripe_bytes / each : 0;

    if (per == 0) return glmq_fail(err, GLMQ_E_FORMAT, "scale %" PRIu64 " is not finite", at);
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "the scale of row %" PRIu64 ", group %" PRIu64 " is not finite", at / per,
                     at % per);
}

/* `p` holds the bytes of the slot from `off` on. */
static glmq_status check_scales(const glmq_fetch *f, int slot, const uint8_t *p, uint64_t off,
                                uint64_t bytes, glmq_error *err)
{
    const glmq_dtype dtype = f->layout.slot[slot].dtype;
    uint64_t each, bad;

    const int codes = slot == GLMQ_SLOT_CODES && dtype == GLMQ_DT_F8_E4M3;
    if ((slot != GLMQ_SLOT_SCALES && !codes) || glmq_dtype_bytes(dtype, 1, &each) || each == 0)
        return GLMQ_OK;
    bad = find_nonfinite(p, dtype, each, bytes / each);
    if (bad == bytes / each) return GLMQ_OK;
    if (codes)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "code 0x%02x of row %" PRIu64 ", column %" PRIu64 " is not a number",
                         p[bad], (off + bad) / f->part->cols, (off + bad) % f->part->cols);
    return refuse_scale(&f->layout.slot[slot], off / each + bad, each, err);
}

/* Reads bytes [off, off + bytes) of a slot into its buffer. */
static glmq_status read_slot(glmq_fetch *f, int slot, uint64_t off, uint64_t bytes, glmq_error *err)
{
    const glmq_span *s = &f->part->span[slot];

    GLMQ_TRY(reserve(&f->slot[slot], bytes, err));
    GLMQ_TRY(
        glmq_source_read(f->src, s->file, s->offset + off, f->slot[slot].data, (size_t)bytes, err));
    return check_scales(f, slot, f->slot[slot].data, off, bytes, err);
}

glmq_status glmq_fetch_check_input(const glmq_source *src, const glmq_part *part, glmq_error *err)
{
    const glmq_span *s = &part->span[GLMQ_SLOT_INPUT_SCALE];
    uint8_t raw[4];

    if (s->bytes != sizeof raw || !fp4_has_global(&part->enc)) return GLMQ_OK;
    GLMQ_TRY(glmq_source_read(src, s->file, s->offset, raw, sizeof raw, err));
    if (fp4_is_scale(load_le32(raw))) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT, "its %s %g is no finite positive number",
                     slot_name(GLMQ_SLOT_INPUT_SCALE), (double)f32_from_bits(load_le32(raw)));
}

static glmq_status open_part(glmq_fetch *f, const glmq_source *src, const glmq_part *part,
                             int no_codes, glmq_error *err)
{
    glmq_bufs whole = { .row0 = 0 };

    f->src = src;
    f->part = part;
    f->no_codes = no_codes;
    f->enc = part->enc;
    GLMQ_TRY(f->enc.codec->layout(&f->enc, part->rows, part->cols, &f->layout, err));
    if (f->layout.row_quantum == 0) f->layout.row_quantum = 1;
    for (int i = 0; i < GLMQ_SLOTS; i++) GLMQ_TRY(check_span(f, i, err));
    for (int i = 0; i < GLMQ_SLOTS; i++) {
        if (!is_stored(f, i) || f->layout.slot[i].stripe_rows) continue;
        GLMQ_TRY(read_slot(f, i, 0, part->span[i].bytes, err));
        whole.buf[i] = f->slot[i].data;
    }
    if (!f->enc.codec->check) return GLMQ_OK;
    return f->enc.codec->check(&f->enc, &whole, part->rows, part->cols, err);
}

glmq_status glmq_fetch_open(glmq_fetch *f, const glmq_source *src, const glmq_part *part,
                            glmq_error *err)
{
    return open_part(f, src, part, 0, err);
}

glmq_status glmq_fetch_open_small(glmq_fetch *f, const glmq_source *src, const glmq_part *part,
                                  glmq_error *err)
{
    return open_part(f, src, part, 1, err);
}

glmq_status glmq_fetch_rows(glmq_fetch *f, uint64_t row, uint64_t rows, glmq_bufs *out,
                            glmq_error *err)
{
    const glmq_tile tile = { row, rows, f->part->cols, f->part->rows };

    memset(out, 0, sizeof *out);
    out->row0 = row;
    if (!in_range(row, rows, f->part->rows) || row % f->layout.row_quantum)
        return glmq_fail(err, GLMQ_E_ARG, "rows %" PRIu64 " and %" PRIu64 " more of %" PRIu64, row,
                         rows, f->part->rows);
    for (int i = 0; i < GLMQ_SLOTS; i++) {
        uint64_t off, bytes;

        if (!is_stored(f, i)) continue;
        if (f->layout.slot[i].stripe_rows) {
            glmq_slot_range(&f->layout.slot[i], row, rows, &off, &bytes);
            GLMQ_TRY(read_slot(f, i, off, bytes, err));
        }
        out->buf[i] = f->slot[i].data;
    }
    if (!f->enc.codec->check_rows || rows == 0) return GLMQ_OK;
    return f->enc.codec->check_rows(&f->enc, out, tile, err);
}

glmq_status glmq_fetch_stored(glmq_fetch *f, uint64_t row, uint64_t rows, float *w, glmq_error *err)
{
    glmq_bufs bufs;
    const glmq_tile tile = { row, rows, f->part->cols, f->part->rows };

    if (rows == 0) return GLMQ_OK;
    GLMQ_TRY(glmq_fetch_rows(f, row, rows, &bufs, err));
    f->enc.codec->decode(&f->enc, &bufs, tile, w);
    return GLMQ_OK;
}

/* ---- a tensor ---- */

glmq_tensor_fetch *glmq_tensor_fetch_new(void)
{
    glmq_tensor_fetch *f = glmq_alloc_zero(1, sizeof *f);

    if (!f) return NULL;
    for (int i = 0; i < GLMQ_PARTS_MAX; i++) {
        f->part[i] = glmq_fetch_new();
        if (!f->part[i]) {
            glmq_tensor_fetch_free(f);
            return NULL;
        }
    }
    return f;
}

void glmq_tensor_fetch_free(glmq_tensor_fetch *f)
{
    if (!f) return;
    for (int i = 0; i < GLMQ_PARTS_MAX; i++) {
        glmq_fetch_free(f->part[i]);
        glmq_free(f->head[i].data);
    }
    glmq_free(f->edge.data);
    glmq_free(f);
}

glmq_status glmq_tensor_fetch_open(glmq_tensor_fetch *f, const glmq_source *src,
                                   const glmq_tensor *t, glmq_error *err)
{
    f->t = t;
    for (int i = 0; i < t->parts; i++) {
        const glmq_part *p = &t->part[i];

        f->held[i] = UINT64_MAX;
        GLMQ_TRY(glmq_within(err, glmq_fetch_open(f->part[i], src, p, err), "%s", t->name));
        if (p->cut.transposed)
            GLMQ_TRY(reserve(&f->head[i], t->cols * p->cut.count * sizeof(float), err));
    }
    return GLMQ_OK;
}

/* Stored rows from any row on: those that share the first one's quantum go through `edge`. */
static glmq_status read_stored(glmq_tensor_fetch *f, int part, uint64_t row, uint64_t rows,
                               float *w, glmq_error *err)
{
    glmq_fetch *p = f->part[part];
    const uint64_t quantum = p->layout.row_quantum, cols = p->part->cols;
    const uint64_t before = row % quantum;

    if (before) {
        const uint64_t wanted = rows < quantum - before ? rows : quantum - before;

        GLMQ_TRY(reserve(&f->edge, quantum * cols * sizeof(float), err));
        GLMQ_TRY(glmq_fetch_stored(p, row - before, before + wanted, f->edge.data, err));
        memcpy(w, (float *)f->edge.data + before * cols, (size_t)(wanted * cols) * sizeof(float));
        row += wanted;
        rows -= wanted;
        w += wanted * cols;
    }
    return glmq_fetch_stored(p, row, rows, w, err);
}

/* Rows [first, first + rows) of one head of a transposed part, turned round. */
static glmq_status read_transposed(glmq_tensor_fetch *f, int part, uint64_t head, uint64_t first,
                                   uint64_t rows, float *w, glmq_error *err)
{
    const uint64_t cols = f->t->cols, count = f->t->part[part].cut.count;
    const float *stored = f->head[part].data;

    if (f->held[part] != head) {
        f->held[part] = UINT64_MAX;
        GLMQ_TRY(read_stored(f, part, head * cols, cols, f->head[part].data, err));
        f->held[part] = head;
    }
    for (uint64_t c = 0; c < cols; c++)
        for (uint64_t r = 0; r < rows; r++) w[r * cols + c] = stored[c * count + first + r];
    return GLMQ_OK;
}

/* What part `part` holds of logical rows [row, row + rows). */
static glmq_status read_part(glmq_tensor_fetch *f, int part, uint64_t row, uint64_t rows, float *w,
                             glmq_error *err)
{
    const glmq_cut *cut = &f->t->part[part].cut;
    const uint64_t end = row + rows;

    for (uint64_t h = row / cut->stride; h < cut->heads && h * cut->stride < end; h++) {
        const uint64_t begin = h * cut->stride + cut->first;
        const uint64_t lo = row > begin ? row : begin;
        const uint64_t hi = end < begin + cut->count ? end : begin + cut->count;
        float *to = w + (lo - row) * f->t->cols;

        if (lo >= hi) continue;
        if (cut->transposed)
            GLMQ_TRY(read_transposed(f, part, h, lo - begin, hi - lo, to, err));
        else
            GLMQ_TRY(read_stored(f, part, h * cut->count + (lo - begin), hi - lo, to, err));
    }
    return GLMQ_OK;
}

glmq_status glmq_tensor_fetch_rows(glmq_tensor_fetch *f, uint64_t row, uint64_t rows, float *w,
                                   glmq_error *err)
{
    if (!in_range(row, rows, f->t->rows))
        return glmq_fail(err, GLMQ_E_ARG, "%s: rows %" PRIu64 " and %" PRIu64 " more of %" PRIu64,
                         f->t->name, row, rows, f->t->rows);
    if (rows == 0) return GLMQ_OK;
    for (int i = 0; i < f->t->parts; i++)
        GLMQ_TRY(glmq_within(err, read_part(f, i, row, rows, w, err), "%s", f->t->name));
    return GLMQ_OK;
}

/* ---- sizes ---- */

static uint64_t quantum_of(const glmq_part *p)
{
    glmq_layout l;

    if (p->enc.codec->layout(&p->enc, p->rows, p->cols, &l, NULL) || l.row_quantum == 0) return 1;
    return l.row_quantum;
}

static uint64_t gcd_of(uint64_t a, uint64_t b)
{
    while (b) {
        const uint64_t r = a % b;
        a = b;
        b = r;
    }
    return a;
}

uint64_t glmq_tensor_tile_rows(const glmq_tensor *t)
{
    const uint64_t row_bytes = t->cols * sizeof(float);
    uint64_t step = 1, rows = row_bytes ? TILE_BYTES / row_bytes : 1;

    for (int i = 0; i < t->parts; i++) {
        const glmq_part *p = &t->part[i];
        uint64_t q = p->cut.heads == 1 && p->cut.count == t->rows ? quantum_of(p) : p->cut.stride;

        if (q == 0) q = 1;
        if (mul_u64(step / gcd_of(step, q), q, &step) || step > t->rows) step = t->rows;
    }
    if (step == 0) step = 1;
    rows = rows < step ? step : rows / step * step;
    return t->rows && rows > t->rows ? t->rows : rows;
}

uint64_t glmq_fetch_peak(const glmq_part *part, uint64_t tile_rows)
{
    glmq_layout l;
    uint64_t peak = 0;

    if (part->enc.codec->layout(&part->enc, part->rows, part->cols, &l, NULL)) return 0;
    if (part->cut.transposed) { /* one head at a time, and its values */
        tile_rows = part->cut.heads ? part->rows / part->cut.heads : part->rows;
        peak += tile_rows * part->cols * sizeof(float);
    }
    if (tile_rows > part->rows) tile_rows = part->rows;
    for (int i = 0; i < GLMQ_SLOTS; i++) {
        uint64_t off, bytes = part->span[i].bytes;

        if (l.slot[i].dtype == GLMQ_DT_NONE || bytes == 0) continue;
        if (l.slot[i].stripe_rows) glmq_slot_range(&l.slot[i], 0, tile_rows, &off, &bytes);
        peak += bytes;
    }
    if (l.row_quantum > 1) peak += l.row_quantum * part->cols * sizeof(float);
    return peak;
}

/* ---- the public face: glmq/graph.h ---- */

glmq_status glmq_tensor_decode(const glmq_graph *g, const glmq_tensor *t, uint64_t row,
                               uint64_t rows, float *out, glmq_error *err)
{
    glmq_tensor_fetch *f = glmq_tensor_fetch_new();
    glmq_status st;

    if (!f) return glmq_fail(err, GLMQ_E_NOMEM, "%s", t->name);
    st = glmq_tensor_fetch_open(f, glmq_graph_source(g), t, err);
    if (!st) st = glmq_tensor_fetch_rows(f, row, rows, out, err);
    glmq_tensor_fetch_free(f);
    return st;
}

static glmq_status hash_rows(glmq_tensor_fetch *f, const glmq_tensor *t, glmq_hash *h, float *w,
                             uint64_t step, glmq_error *err)
{
    for (uint64_t row = 0; row < t->rows; row += step) {
        const uint64_t rows = t->rows - row < step ? t->rows - row : step;

        GLMQ_TRY(glmq_tensor_fetch_rows(f, row, rows, w, err));
        glmq_hash_add_values(h, w, (size_t)(rows * t->cols));
    }
    return GLMQ_OK;
}

glmq_status glmq_tensor_digest(const glmq_graph *g, const glmq_tensor *t, char hex[33],
                               glmq_error *err)
{
    const uint64_t step = glmq_tensor_tile_rows(t);
    glmq_tensor_fetch *f = glmq_tensor_fetch_new();
    glmq_hash *h = glmq_hash_new();
    float *w = glmq_alloc((size_t)(step * t->cols) * sizeof(float));
    glmq_status st = GLMQ_OK;
    glmq_digest d;

    hex[0] = '\0';
    if (!f || !h || !w) st = glmq_fail(err, GLMQ_E_NOMEM, "%s", t->name);
    if (!st) st = glmq_tensor_fetch_open(f, glmq_graph_source(g), t, err);
    if (!st) st = hash_rows(f, t, h, w, step, err);
    if (!st) {
        d = glmq_hash_get(h);
        glmq_digest_hex(&d, hex);
    }
    glmq_free(w);
    glmq_hash_free(h);
    glmq_tensor_fetch_free(f);
    return st;
}
