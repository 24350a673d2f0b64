/* Moving one item.
 *
 * The tensor is walked from its first logical row to its last, in chunks (one read and one
 * write per slot) of tiles (an F32 copy that stays in L2).  Each part of the target goes one of
 * four ways (way.h), and each has its proof: bytes are decoded only for the digest; codes are
 * read out of the target again and compared with the source, code by code, or value by value
 * where the views of their codes differ; of values, and of codes under other scales, the target
 * is decoded for digest and error.
 *
 * Codes may be moved to where one number of the whole matrix is stored as its reciprocal (NVFP4):
 * then the values need not be equal, only as near as that can make them.
 *
 * When codes turn out not to fit, the item starts again through values: the same byte ranges
 * are written over, so a tensor never mixes ways. */
#include "convert/move.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "codecs/transcode.h"
#include "convert/cuts.h"
#include "convert/gauge.h"
#include "convert/move_sizes.h"
#include "convert/permuted.h"
#include "convert/share.h"
#include "convert/way.h"
#include "models/fetch.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct buffer {
    void *data;
    size_t capacity;
} buffer;

/* One part of the target while its item moves. */
typedef struct part_job {
    const glmq_part *to;
    glmq_encoding enc; /* as the result is decoded: a g_idx in order is not followed     */
    glmq_encoding put; /* as codes and values go in: with the scale of the whole tensor  */
    int near;          /* codes under a global scale that is stored as its reciprocal     */
    glmq_layout layout;
    glmq_way way;
    uint8_t from; /* the source part that bytes and codes come from      */
    int whole;    /* stores the tensor's rows as they are                */
    int returned; /* the tile's codes came back out of the target as they were     */
    glmq_stats stats;
    buffer out[GLMQ_SLOTS];
    glmq_hash *hash[GLMQ_SLOTS];
} part_job;

struct glmq_mover {
    const glmq_plan *plan;
    const glmq_item *item;
    const glmq_tensor *tensor;
    const glmq_move_to *to;
    glmq_tensor_fetch *values; /* of tensors in several parts, or cut                 */
    glmq_share *share;         /* looks at the tensors that share a global scale          */
    glmq_fetch *raw[GLMQ_PARTS_MAX];
    const glmq_encoding *enc[GLMQ_PARTS_MAX]; /* of the source parts, as check() resolved it */
    glmq_permuted permuted;          /* --unpermute: the source in its new order, in memory */
    glmq_digest original;            /* … and its digest in the old one                     */
    glmq_bufs chunk[GLMQ_PARTS_MAX]; /* stored bytes of the chunk, per source part        */
    int direct;                      /* one source part with the tensor's rows: decode raw  */
    int proof;                       /* no part goes through values: equal, or it fails     */
    int only_bytes;
    unsigned unfit; /* bit k: part k's codes do not fit; above them: values */
    uint64_t tile_rows, chunk_rows;
    part_job part[GLMQ_PARTS_MAX];
    buffer w, r, g, scratch; /* source values, result values, a part's own rows     */
    glmq_codes moved;        /* the view of the tile whose codes went last          */
    glmq_hash *source, *result;
    glmq_gauge gauge;
    char reason[256];
};

static glmq_status reserve(buffer *b, uint64_t bytes, glmq_error *err)
{
    void *p;
    if (bytes <= b->capacity) return GLMQ_OK;
    if (bytes > SIZE_MAX) return glmq_fail(err, GLMQ_E_LIMIT, "%" PRIu64 " bytes", bytes);
    glmq_free(b->data); /* nothing in it is needed any more */
    b->data = NULL;
    b->capacity = 0;
    p = glmq_alloc((size_t)bytes);
    if (!p) return glmq_fail(err, GLMQ_E_NOMEM, "buffer of %" PRIu64 " bytes", bytes);
    b->data = p;
    b->capacity = (size_t)bytes;
    return GLMQ_OK;
}

/* ---- making ---- */

static int make_part(part_job *j)
{
    for (int s = 0; s < GLMQ_SLOTS; s++) {
        j->hash[s] = glmq_hash_new();
        if (!j->hash[s]) return 1;
    }
    return 0;
}

glmq_mover *glmq_mover_new(const glmq_plan *p)
{
    glmq_mover *m = glmq_alloc_zero(1, sizeof *m);
    int failed = 0;
    if (!m) return NULL;
    m->plan = p;
    m->values = glmq_tensor_fetch_new();
    m->share = glmq_share_new();
    m->source = glmq_hash_new();
    m->result = glmq_hash_new();
    for (int i = 0; i < GLMQ_PARTS_MAX; i++) {
        m->raw[i] = glmq_fetch_new();
        failed |= !m->raw[i] || make_part(&m->part[i]);
    }
    if (failed || !m->values || !m->share || !m->source || !m->result) {
        glmq_mover_free(m);
        return NULL;
    }
    return m;
}

void glmq_mover_free(glmq_mover *m)
{
    if (!m) return;
    for (int i = 0; i < GLMQ_PARTS_MAX; i++) {
        glmq_fetch_free(m->raw[i]);
        for (int s = 0; s < GLMQ_SLOTS; s++) {
            glmq_free(m->part[i].out[s].data);
            glmq_hash_free(m->part[i].hash[s]);
        }
    }
    glmq_tensor_fetch_free(m->values);
    glmq_share_free(m->share);
    glmq_hash_free(m->source);
    glmq_hash_free(m->result);
    glmq_permuted_close(&m->permuted);
    glmq_free(m->w.data);
    glmq_free(m->r.data);
    glmq_free(m->g.data);
    glmq_free(m->scratch.data);
    glmq_free(m);
}

/* ---- opening ---- */

static glmq_status open_source(glmq_mover *m, glmq_error *err)
{
    const glmq_source *src = m->plan->graph->source;
    const glmq_tensor *t = m->tensor;
    m->direct = glmq_tensor_direct(t);
    if (glmq_item_permuted(m->item)) {
        const glmq_part *from = &m->plan->original->tensors[m->item->tensor].part[0];
        m->enc[0] = &m->permuted.enc;
        return glmq_permuted_open(&m->permuted, m->raw[0], src, from, &t->part[0],
                                  m->item->row_perm, m->item->col_perm, &m->original, err);
    }
    if (!m->direct) GLMQ_TRY(glmq_tensor_fetch_open(m->values, src, t, err));
    for (uint8_t i = 0; i < t->parts; i++) {
        GLMQ_TRY(glmq_fetch_check_input(src, &t->part[i], err)); /* also where it is dropped */
        GLMQ_TRY(glmq_fetch_open(m->raw[i], src, &t->part[i], err));
        m->enc[i] = glmq_fetch_encoding(m->raw[i]);
    }
    return GLMQ_OK;
}

/* No layout has an activation scale: it is carried, or is what the plan has worked out. */
static glmq_status carry_input_scale(glmq_mover *m, part_job *j, glmq_error *err)
{
    const glmq_span *from = &m->tensor->part[j->from].span[GLMQ_SLOT_INPUT_SCALE];
    const glmq_span *to = &j->to->span[GLMQ_SLOT_INPUT_SCALE];
    const uint32_t scalar = m->plan->want[m->item->tensor].input_scalar;
    if (!to->bytes || (!scalar && from->bytes != to->bytes)) return GLMQ_OK;
    GLMQ_TRY(reserve(&j->out[GLMQ_SLOT_INPUT_SCALE], to->bytes, err));
    if (scalar && to->bytes == sizeof scalar) {
        store_le32(j->out[GLMQ_SLOT_INPUT_SCALE].data, scalar);
        return GLMQ_OK;
    }
    return glmq_source_read(m->plan->graph->source, from->file, from->offset,
                            j->out[GLMQ_SLOT_INPUT_SCALE].data, (size_t)to->bytes, err);
}

static glmq_status open_part(glmq_mover *m, uint8_t k, glmq_error *err)
{
    part_job *j = &m->part[k];
    j->whole = glmq_cut_is_whole(j->to, m->tensor->rows);
    j->enc = j->to->enc;
    if (j->enc.act_order == GLMQ_ACT_TRIVIAL) j->enc.act_order = GLMQ_ACT_NONE;
    for (int s = 0; s < GLMQ_SLOTS; s++) {
        const uint64_t n =
            glmq_slot_buffer(&j->layout.slot[s], glmq_part_rows(m->tensor, j->to, m->chunk_rows));
        glmq_hash_reset(j->hash[s]);
        if (!j->to->span[s].bytes) continue;
        GLMQ_TRY(reserve(&j->out[s], n, err));
        if (n) memset(j->out[s].data, 0, (size_t)n); /* packed words are filled bit by bit */
    }
    return carry_input_scale(m, j, err);
}

static glmq_status reserve_values(glmq_mover *m, glmq_error *err)
{
    const uint64_t bytes = m->tile_rows * m->tensor->cols * sizeof(float);
    GLMQ_TRY(reserve(&m->w, bytes, err));
    GLMQ_TRY(reserve(&m->r, bytes, err));
    GLMQ_TRY(reserve(&m->g, bytes, err));
    for (uint8_t k = 0; k < m->item->parts; k++) {
        const part_job *j = &m->part[k];
        if (j->way != WAY_CODES) continue;
        GLMQ_TRY(reserve(
            &m->scratch,
            glmq_transcode_scratch(m->enc[j->from], &j->to->enc, m->tile_rows, m->tensor->cols),
            err));
    }
    return GLMQ_OK;
}

/* ---- one tile ---- */

static glmq_tile tile_of(const glmq_part *p, uint64_t row, uint64_t rows)
{
    return (glmq_tile){ row, rows, p->cols, p->rows };
}

/* The target part's buffers, of which the cut ones begin at stored row `row0`. */
static glmq_bufs out_bufs(const part_job *j, uint64_t row0)
{
    glmq_bufs b = { .row0 = row0 };
    for (int s = 0; s < GLMQ_SLOTS; s++)
        if (j->to->span[s].bytes) b.buf[s] = j->out[s].data;
    return b;
}

static glmq_status read_values(glmq_mover *m, uint64_t row, uint64_t n, float *w, glmq_error *err)
{
    const glmq_encoding *enc;
    if (!m->direct) return glmq_tensor_fetch_rows(m->values, row, n, w, err);
    enc = m->enc[0];
    enc->codec->decode(enc, &m->chunk[0], tile_of(&m->tensor->part[0], row, n), w);
    return GLMQ_OK;
}

/* A copy of plain floats, or a widening one, carries what is not finite along. */
static int carries_nonfinite(const glmq_mover *m, const part_job *j)
{
    const glmq_dtype to = glmq_encoding_dtype(&j->to->enc);
    if (!glmq_encoding_is_plain(&j->to->enc)) return 0;
    return to == GLMQ_DT_F32 || to == glmq_encoding_dtype(&m->tensor->part[j->from].enc);
}

static glmq_status check_finite(const glmq_mover *m, const float *w, uint64_t row, uint64_t n,
                                glmq_error *err)
{
    const size_t count = (size_t)(n * m->tensor->cols), bad = glmq_find_nonfinite(w, count);
    if (bad == count) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "the weight in row %" PRIu64 ", column %" PRIu64 " is not finite",
                     row + bad / m->tensor->cols, bad % m->tensor->cols);
}

/* Codes of logical rows [row, row + n): in one go, or head by head into a part that has only
 * some rows of each. */
static glmq_status move_codes(glmq_mover *m, part_job *j, glmq_bufs *out, uint64_t row, uint64_t n,
                              glmq_error *err)
{
    const glmq_tensor *t = m->tensor;
    const glmq_part *from = &t->part[j->from];
    const glmq_encoding *enc = m->enc[j->from];
    const glmq_bufs *in = &m->chunk[j->from];
    const uint64_t to_row = glmq_cut_row(j->to, t->rows, t->cols, row);
    const glmq_cut *cut = &j->to->cut;
    j->returned = 0;
    if (glmq_cut_equal(&from->cut, cut)) {
        const uint64_t rows = glmq_cut_row(j->to, t->rows, t->cols, row + n) - to_row;
        const glmq_tile tile = tile_of(j->to, to_row, rows);
        GLMQ_TRY(glmq_transcode_tile(enc, in, &j->put, out, tile_of(from, to_row, rows), tile,
                                     m->scratch.data, &m->moved, err));
        if (!m->to->probe)
            j->returned =
                glmq_transcode_returned(enc, &j->enc, out, tile, m->scratch.data, &m->moved);
        return GLMQ_OK;
    }
    for (uint64_t at = 0; at < n; at += cut->stride)
        GLMQ_TRY(glmq_transcode_tile(
            enc, in, &j->put, out, tile_of(from, row + at + cut->first, cut->count),
            tile_of(j->to, to_row + at / cut->stride * cut->count, cut->count), m->scratch.data,
            &m->moved, err));
    return GLMQ_OK;
}

static glmq_status encode(glmq_mover *m, part_job *j, glmq_bufs *out, uint64_t row, uint64_t n,
                          glmq_error *err)
{
    const glmq_tensor *t = m->tensor;
    const uint64_t to_row = glmq_cut_row(j->to, t->rows, t->cols, row);
    const uint64_t rows = glmq_cut_row(j->to, t->rows, t->cols, row + n) - to_row;
    const float *w = m->w.data;
    if (!carries_nonfinite(m, j)) GLMQ_TRY(check_finite(m, w, row, n, err));
    if (!j->whole) {
        glmq_cut_gather(j->to, t->cols, n, w, m->g.data);
        w = m->g.data;
    }
    j->put.codec->encode(&j->put, &j->stats, tile_of(j->to, to_row, rows), w, out);
    return GLMQ_OK;
}

/* What was stored, as values in logical order. */
static void decode_back(glmq_mover *m, part_job *j, const glmq_bufs *out, uint64_t row, uint64_t n)
{
    const glmq_tensor *t = m->tensor;
    const uint64_t to_row = glmq_cut_row(j->to, t->rows, t->cols, row);
    const uint64_t rows = glmq_cut_row(j->to, t->rows, t->cols, row + n) - to_row;
    float *g = j->whole ? m->r.data : m->g.data;
    j->enc.codec->decode(&j->enc, out, tile_of(j->to, to_row, rows), g);
    if (!j->whole) glmq_cut_scatter(j->to, t->cols, n, g, m->r.data);
}

/* One part of one tile; `chunk_row` is where the buffers begin. */
static glmq_status part_tile(glmq_mover *m, part_job *j, uint64_t chunk_row, uint64_t row,
                             uint64_t n, glmq_error *err)
{
    const glmq_tensor *t = m->tensor;
    glmq_bufs out = out_bufs(j, glmq_cut_row(j->to, t->rows, t->cols, chunk_row));
    glmq_status st;
    if (j->way == WAY_BYTES) return GLMQ_OK;
    if (j->way == WAY_VALUES) {
        GLMQ_TRY(encode(m, j, &out, row, n, err));
        decode_back(m, j, &out, row, n);
        return GLMQ_OK;
    }
    st = move_codes(m, j, &out, row, n, err);
    if (st == GLMQ_E_INEXACT) m->unfit |= 1u << (j - m->part);
    if (!st && !m->to->probe && (!j->returned || !m->proof)) decode_back(m, j, &out, row, n);
    return st;
}

/* Large weights that came back as something else: F16, or the target's F16 scales, end at
 * 65504.  Encoders stop there, so only the values tell. */
static glmq_status check_overflow(const glmq_mover *m, uint64_t row, size_t count, glmq_error *err)
{
    const float *w = m->w.data, *r = m->r.data;
    const size_t lost = glmq_find_lost(w, r, count);
    if (lost == count) return GLMQ_OK;
    return glmq_fail(
        err, GLMQ_E_INEXACT,
        "the weight in row %" PRIu64 ", column %" PRIu64 " overflows the target: %g became %g",
        row + lost / m->tensor->cols, lost % m->tensor->cols, (double)w[lost], (double)r[lost]);
}

/* Is every part moved by its bytes or codes, or to floats that hold any value? */
static int is_near(const glmq_mover *m)
{
    int near = 0;
    for (uint8_t k = 0; k < m->item->parts; k++) {
        const part_job *j = &m->part[k];
        if (j->way == WAY_SCALES) return 0;
        if (j->way == WAY_VALUES && glmq_encoding_dtype(&j->to->enc) != GLMQ_DT_F32) return 0;
        near |= j->near && j->way == WAY_CODES;
    }
    return near;
}

static glmq_status check_near(glmq_mover *m, const float *w, const float *r, size_t count,
                              glmq_error *err)
{
    const size_t far = m->to->probe ? count : glmq_find_far(w, r, count);
    if (far == count) return GLMQ_OK;
    for (uint8_t k = 0; k < m->item->parts; k++)
        if (m->part[k].near) m->unfit |= 1u << k;
    return glmq_fail(err, GLMQ_E_INEXACT, "the same codes are %g in the target, not %g",
                     (double)r[far], (double)w[far]);
}

static int all_returned(const glmq_mover *m)
{
    for (uint8_t k = 0; k < m->item->parts; k++)
        if (m->part[k].way != WAY_BYTES && !m->part[k].returned) return 0;
    return 1;
}

/* What the target holds against what the source held. */
static glmq_status judge_tile(glmq_mover *m, uint64_t row, uint64_t n, glmq_error *err)
{
    const size_t count = (size_t)(n * m->tensor->cols);
    const float *w = m->w.data, *r = m->r.data;
    if (!m->proof) {
        glmq_hash_add_values(m->result, r, count);
        glmq_gauge_add(&m->gauge, w, r, count);
        if (is_near(m)) return check_near(m, w, r, count, err);
        if (m->to->probe && !glmq_values_equal(w, r, count)) m->unfit |= 1u << GLMQ_PARTS_MAX;
        return check_overflow(m, row, count, err);
    }
    if (m->to->probe || all_returned(m) || glmq_values_equal(w, r, count)) return GLMQ_OK;
    for (uint8_t k = 0; k < m->item->parts; k++)
        if (m->part[k].way == WAY_CODES) m->unfit |= 1u << k;
    return glmq_fail(err, GLMQ_E_INEXACT, "the target decodes the same codes to other values");
}

static int is_stopped(const glmq_move_to *to)
{
    return (to->cancel && __atomic_load_n(to->cancel, __ATOMIC_RELAXED)) ||
           (to->stop && __atomic_load_n(to->stop, __ATOMIC_RELAXED));
}

/* Where a whole matrix moves as codes, its values come from those that moved. */
static int values_from_codes(const glmq_mover *m)
{
    return m->direct && !m->to->probe && m->item->parts == 1 && m->part[0].way == WAY_CODES &&
           glmq_cut_equal(&m->tensor->part[0].cut, &m->part[0].to->cut);
}

/* Where the codes are the proof, nobody looks at the values but the hash: a few rows at a time,
 * in the nearest cache, one place for all. */
static glmq_status late_values(glmq_mover *m, uint64_t row, uint64_t n, glmq_error *err)
{
    enum { NEAR_BYTES = 16 * 1024 };
    const uint64_t cols = m->tensor->cols, fit = NEAR_BYTES / (cols * sizeof(float));
    const uint64_t step = !m->proof || !all_returned(m) ? n : fit ? fit : 1;
    float *w = m->w.data;
    for (uint64_t r = 0, some; r < n; r += some) {
        some = n - r < step ? n - r : step;
        if (glmq_transcode_values(m->enc[0], cols, &m->moved, r, some, w)) {
            glmq_hash_add(m->source, w, (size_t)(some * cols) * sizeof *w);
        } else { /* never after the first: it is the encoding's answer */
            some = n;
            GLMQ_TRY(read_values(m, row, n, w, err));
            glmq_hash_add_values(m->source, w, (size_t)(n * cols));
        }
    }
    return GLMQ_OK;
}

static glmq_status do_tile(glmq_mover *m, uint64_t chunk_row, uint64_t row, uint64_t n,
                           glmq_error *err)
{
    const size_t count = (size_t)(n * m->tensor->cols);
    const int late = values_from_codes(m);
    if (is_stopped(m->to)) return glmq_fail(err, GLMQ_E_CANCELLED, "interrupted");
    if (!late && (!m->to->probe || !m->proof)) {
        GLMQ_TRY(read_values(m, row, n, m->w.data, err));
        glmq_hash_add_values(m->source, m->w.data, count);
    }
    if (m->only_bytes) return GLMQ_OK;
    if (m->item->parts > 1) memcpy(m->r.data, m->w.data, count * sizeof(float));
    for (uint8_t k = 0; k < m->item->parts; k++)
        GLMQ_TRY(part_tile(m, &m->part[k], chunk_row, row, n, err));
    if (late) GLMQ_TRY(late_values(m, row, n, err));
    return judge_tile(m, row, n, err);
}

/* ---- one chunk ---- */

/* Rows of some heads, for a part that is cut out of a matrix stored row by row. */
static void copy_heads(glmq_mover *m, part_job *j, uint64_t row, uint64_t n)
{
    const glmq_bufs *in = &m->chunk[j->from];
    const glmq_cut *cut = &j->to->cut;
    for (int s = 0; s < GLMQ_SLOTS; s++) {
        const uint64_t each = j->layout.slot[s].stripe_bytes;
        uint8_t *to = j->out[s].data;
        if (!j->to->span[s].bytes) continue;
        for (uint64_t at = cut->first; at < n; at += cut->stride) {
            memcpy(to, in->buf[s] + (row + at - in->row0) * each, (size_t)(cut->count * each));
            to += cut->count * each;
        }
    }
}

static glmq_status put(glmq_mover *m, part_job *j, int slot, uint64_t off, const void *data,
                       uint64_t bytes, glmq_error *err)
{
    const glmq_span *span = &j->to->span[slot];
    glmq_out *file = m->to->probe ? NULL : m->to->file[span->file];
    if (m->to->probe) return GLMQ_OK;
    glmq_hash_add(j->hash[slot], data, (size_t)bytes);
    if (!file) return GLMQ_OK;
    return glmq_outbox_write(m->to->box, file, span->offset + off, data, (size_t)bytes, err);
}

/* Slot data as it goes out: the target's buffer, or the source's bytes themselves. */
static const uint8_t *slot_data(const glmq_mover *m, const part_job *j, int slot)
{
    if (j->way == WAY_BYTES && slot != GLMQ_SLOT_INPUT_SCALE &&
        glmq_cut_equal(&j->to->cut, &m->tensor->part[j->from].cut))
        return m->chunk[j->from].buf[slot];
    return j->out[slot].data;
}

static glmq_status write_stripes(glmq_mover *m, part_job *j, uint64_t row, uint64_t n,
                                 glmq_error *err)
{
    const glmq_tensor *t = m->tensor;
    const uint64_t to_row = glmq_cut_row(j->to, t->rows, t->cols, row);
    const uint64_t rows = glmq_cut_row(j->to, t->rows, t->cols, row + n) - to_row;
    for (int s = 0; s < GLMQ_SLOTS; s++) {
        uint64_t off, bytes;
        if (!j->to->span[s].bytes || !j->layout.slot[s].stripe_rows) continue;
        glmq_slot_range(&j->layout.slot[s], to_row, rows, &off, &bytes);
        GLMQ_TRY(put(m, j, s, off, slot_data(m, j, s), bytes, err));
    }
    return GLMQ_OK;
}

/* The codec's own check of what was written, as a reader would make it: among other things
 * that the zeros of a symmetric tensor, and a g_idx which should be in order, are. */
static glmq_status check_written(part_job *j, glmq_error *err)
{
    glmq_encoding enc = j->to->enc;
    glmq_bufs whole = { .row0 = 0 };
    for (int s = 0; s < GLMQ_SLOTS; s++)
        if (j->to->span[s].bytes && !j->layout.slot[s].stripe_rows) whole.buf[s] = j->out[s].data;
    if (j->way == WAY_BYTES || !enc.codec->check) return GLMQ_OK;
    GLMQ_TRY(enc.codec->check(&enc, &whole, j->to->rows, j->to->cols, err));
    if (enc.zero_kind != j->to->enc.zero_kind)
        return glmq_fail(err, GLMQ_E_MISMATCH,
                         "the zero points that were written are not constant");
    if (enc.act_order == GLMQ_ACT_NONE || j->to->enc.act_order != GLMQ_ACT_TRIVIAL) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_MISMATCH, "the g_idx that was written is not in order");
}

/* Slots that cannot be cut were held until now. */
static glmq_status write_whole(glmq_mover *m, part_job *j, glmq_error *err)
{
    GLMQ_TRY(check_written(j, err));
    for (int s = 0; s < GLMQ_SLOTS; s++)
        if (j->to->span[s].bytes && !j->layout.slot[s].stripe_rows)
            GLMQ_TRY(put(m, j, s, 0, slot_data(m, j, s), j->to->span[s].bytes, err));
    return GLMQ_OK;
}

static glmq_status read_chunk(glmq_mover *m, uint64_t row, uint64_t n, glmq_error *err)
{
    const glmq_tensor *t = m->tensor;
    unsigned needed = m->direct ? 1 : 0;
    if (glmq_item_permuted(m->item)) {
        m->chunk[0] = m->permuted.bufs;
        return GLMQ_OK;
    }
    for (uint8_t k = 0; k < m->item->parts; k++)
        if (m->part[k].way != WAY_VALUES) needed |= 1u << m->part[k].from;
    for (uint8_t i = 0; i < t->parts; i++) {
        const uint64_t first = glmq_cut_row(&t->part[i], t->rows, t->cols, row);
        const uint64_t end = glmq_cut_row(&t->part[i], t->rows, t->cols, row + n);
        if (needed & 1u << i)
            GLMQ_TRY(glmq_fetch_rows(m->raw[i], first, end - first, &m->chunk[i], err));
    }
    return GLMQ_OK;
}

static glmq_status do_chunk(glmq_mover *m, uint64_t row, uint64_t n, glmq_error *err)
{
    GLMQ_TRY(read_chunk(m, row, n, err));
    for (uint64_t at = 0; at < n; at += m->tile_rows)
        GLMQ_TRY(do_tile(m, row, row + at, n - at < m->tile_rows ? n - at : m->tile_rows, err));
    for (uint8_t k = 0; k < m->item->parts; k++) {
        part_job *j = &m->part[k];
        if (j->way == WAY_BYTES && !glmq_cut_equal(&j->to->cut, &m->tensor->part[j->from].cut))
            copy_heads(m, j, row, n);
        GLMQ_TRY(write_stripes(m, j, row, n, err));
    }
    return GLMQ_OK;
}

/* ---- one item ---- */

/* What the ways of all parts together mean. */
static void sum_up_ways(glmq_mover *m)
{
    m->proof = m->only_bytes = 1;
    for (uint8_t k = 0; k < m->item->parts; k++) {
        m->proof &= m->part[k].way < WAY_VALUES && !m->part[k].near;
        m->only_bytes &= m->part[k].way == WAY_BYTES;
    }
}

/* The scale of the whole tensor, where it takes a look at all that share it. */
static glmq_status look_ahead(glmq_mover *m, part_job *j, glmq_error *err)
{
    j->stats = (glmq_stats){ 0 };
    j->put = j->to->enc;
    j->put.rescale = j->way == WAY_SCALES;
    if (j->way == WAY_BYTES || j->put.scalar) return GLMQ_OK;
    if (j->way == WAY_CODES)
        return glmq_share_scalar(m->share, m->plan, m->item->tensor, &j->put, err);
    if (!(j->put.codec->needs & GLMQ_NEEDS_AMAX)) return GLMQ_OK;
    return glmq_share_amax(m->share, m->plan, m->item->tensor, &j->put, &j->stats, err);
}

static glmq_status walk(glmq_mover *m, glmq_error *err)
{
    const glmq_tensor *t = m->tensor;
    sum_up_ways(m);
    for (uint8_t k = 0; k < m->item->parts; k++) GLMQ_TRY(look_ahead(m, &m->part[k], err));
    glmq_hash_reset(m->source);
    glmq_hash_reset(m->result);
    m->gauge = (glmq_gauge){ 0 };
    m->unfit = 0;
    for (uint8_t k = 0; k < m->item->parts; k++) GLMQ_TRY(open_part(m, k, err));
    for (uint64_t row = 0; row < t->rows; row += m->chunk_rows) {
        const uint64_t left = t->rows - row;
        GLMQ_TRY(do_chunk(m, row, left < m->chunk_rows ? left : m->chunk_rows, err));
        if (m->unfit) return GLMQ_OK; /* a probe has its answer */
    }
    for (uint8_t k = 0; k < m->item->parts; k++) GLMQ_TRY(write_whole(m, &m->part[k], err));
    return GLMQ_OK;
}

/* The next best way: codes of NVFP4 stay, where a global scale is forced upon them. */
static glmq_way next_way(const glmq_mover *m, const part_job *j)
{
    const int forced = m->plan->want[m->item->tensor].rescaled && j->to->enc.scalar;
    return j->way == WAY_CODES && forced ? WAY_SCALES : WAY_VALUES;
}

/* Walks until it works out: parts whose codes do not fit go another way the next time. */
static glmq_status walk_until_fit(glmq_mover *m, glmq_error *err)
{
    for (;;) {
        glmq_error why;
        const glmq_status st = walk(m, &why);
        if (st != GLMQ_E_INEXACT || !m->unfit ||
            m->plan->options.transcode == GLMQ_TRANSCODE_REQUIRE || m->to->probe) {
            if (st && err) *err = why;
            return st;
        }
        snprintf(m->reason, sizeof m->reason, "%.255s", why.msg);
        for (uint8_t k = 0; k < m->item->parts; k++) {
            if (!(m->unfit & 1u << k)) continue;
            if (!m->part[k].to->enc.codec->encode) {
                if (err) *err = why;
                return st;
            }
            m->part[k].way = next_way(m, &m->part[k]);
            m->part[k].near = 0;
        }
    }
}

static glmq_travel settled(const glmq_mover *m, int exact)
{
    if (m->only_bytes && !glmq_item_permuted(m->item)) return GLMQ_SAME_BYTES;
    if (!exact && is_near(m)) return GLMQ_NEAR;
    if (!exact || m->item->travel == GLMQ_RECODE) return GLMQ_RECODE; /* as the plan has it */
    for (uint8_t k = 0; k < m->item->parts; k++)
        if (m->part[k].way >= WAY_VALUES && !glmq_encoding_is_plain(&m->part[k].to->enc))
            return GLMQ_RECODE;
    return m->item->travel == GLMQ_SAME_BYTES && !glmq_item_permuted(m->item) ? GLMQ_SAME_BYTES
                                                                              : GLMQ_SAME_CODES;
}

/* Why a plain float that was worth trying lost bits after all. */
static void narrowing_reason(const glmq_mover *m, char why[160])
{
    const glmq_encoding *to = &m->item->part[0].enc;
    if (glmq_encoding_is_plain(to))
        snprintf(why, 160, "some values need more bits than %s has",
                 glmq_dtype_name(glmq_encoding_dtype(to)));
}

static void fill_done(glmq_mover *m, glmq_done *done, glmq_digest *piece)
{
    int exact;
    *done = (glmq_done){ .finished = 1, .snr_db = (double)INFINITY };
    done->source = glmq_hash_get(m->source);
    done->result = m->proof ? done->source : glmq_hash_get(m->result);
    exact = glmq_digest_equal(&done->source, &done->result);
    if (!exact) glmq_gauge_read(&m->gauge, &done->rmse, &done->max_abs, &done->snr_db);
    done->travel = (uint8_t)settled(m, exact);
    if (glmq_item_permuted(m->item)) done->source = m->original;
    if (done->travel == GLMQ_RECODE && m->item->travel == GLMQ_MAYBE_CODES && !m->reason[0])
        narrowing_reason(m, m->reason);
    if (done->travel == GLMQ_RECODE && m->reason[0]) done->reason = m->reason;
    for (uint8_t k = 0; k < m->item->parts; k++)
        for (int s = 0; s < GLMQ_SLOTS; s++)
            if (m->part[k].to->span[s].bytes) *piece++ = glmq_hash_get(m->part[k].hash[s]);
}

static void choose_way(const glmq_mover *m, part_job *j, uint8_t k)
{
    const glmq_choice c = glmq_way_choose(m->plan, m->item, k, &j->layout);
    j->way = c.way;
    j->from = c.from;
    j->near = c.near;
}

static glmq_status start(glmq_mover *m, size_t i, const glmq_move_to *to, glmq_error *err)
{
    m->item = &m->plan->items.at[i];
    m->tensor = &m->plan->graph->tensors[m->item->tensor];
    m->to = to;
    m->reason[0] = '\0';
    m->tile_rows =
        glmq_move_tile_rows(m->tensor, glmq_cut_step(m->tensor, m->item->part, m->item->parts));
    m->chunk_rows = glmq_move_chunk_rows(m->tensor, m->item, m->tile_rows);
    GLMQ_TRY(open_source(m, err));
    for (uint8_t k = 0; k < m->item->parts; k++) {
        part_job *j = &m->part[k];
        j->to = &m->item->part[k];
        GLMQ_TRY(j->to->enc.codec->layout(&j->to->enc, j->to->rows, j->to->cols, &j->layout, err));
        if (j->layout.row_quantum == 0) j->layout.row_quantum = 1;
        choose_way(m, j, k);
        if (j->way == WAY_VALUES && !j->to->enc.codec->encode) /* the plan refuses it by name */
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "there is no encoder for %s",
                             glmq_codec_name(j->to->enc.codec));
    }
    return reserve_values(m, err);
}

static glmq_status move(glmq_mover *m, size_t i, const glmq_move_to *to, glmq_done *done,
                        glmq_digest *piece, glmq_error *err)
{
    GLMQ_TRY(start(m, i, to, err));
    GLMQ_TRY(walk_until_fit(m, err));
    fill_done(m, done, piece);
    if (done->travel == GLMQ_RECODE && m->plan->options.transcode == GLMQ_TRANSCODE_REQUIRE)
        return glmq_fail(err, GLMQ_E_INEXACT, "the target cannot hold the same values");
    return GLMQ_OK;
}

/* Names the tensor, unless the reading of several parts has done so, and where what is stored
 * is wrong the files that it is in. */
static glmq_status name_tensor(const glmq_mover *m, glmq_status st, glmq_error *err)
{
    const char *name = m->tensor->name;
    char files[256];

    if (!st) return st;
    if (!err || strncmp(err->msg, name, strlen(name)) != 0) glmq_within(err, st, "%s", name);
    if (st != GLMQ_E_FORMAT) return st;
    glmq_tensor_files(m->plan->graph, m->tensor, files, sizeof files);
    return glmq_within(err, st, "%s", files);
}

glmq_status glmq_move(glmq_mover *m, size_t i, const glmq_move_to *to, glmq_done *done,
                      glmq_digest *piece, glmq_error *err)
{
    return name_tensor(m, move(m, i, to, done, piece, err), err);
}

glmq_status glmq_move_probe(glmq_mover *m, size_t i, char why[160], glmq_travel *travel,
                            glmq_error *err)
{
    const glmq_move_to to = { .probe = 1 };
    glmq_error inner;
    glmq_status st = start(m, i, &to, err);
    *travel = GLMQ_RECODE;
    why[0] = '\0';
    if (st) return name_tensor(m, st, err);
    st = walk(m, &inner);
    if (st == GLMQ_E_INEXACT) {
        snprintf(why, 160, "%.159s", inner.msg);
        return GLMQ_OK;
    }
    if (st) {
        if (err) *err = inner;
        return name_tensor(m, st, err);
    }
    if (m->unfit)
        narrowing_reason(m, why);
    else
        *travel = is_near(m) ? GLMQ_NEAR : GLMQ_SAME_CODES;
    return GLMQ_OK;
}
