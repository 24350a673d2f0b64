/* Tensors that share one global scale: who they are, and what they have in common.
 *
 * Each of them looks at all of them for itself: reading twice (from the page cache) is simpler
 * than keeping three tensors in memory, and an item stays the work of one worker. */
#include "convert/share.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "codecs/fp4.h"
#include "models/fetch.h"
#include "models/roles.h"
#include <math.h>
#include <string.h>

/* ModelOpt calibrates together what reads one input, which is more than engines fuse (and than
 * llm-compressor does). */
static const struct {
    uint8_t count;
    glmq_role role[GLMQ_SHARE_MAX];
} one_input[] = {
    { 4,
      { GLMQ_ROLE_ATTN_Q_A, GLMQ_ROLE_ATTN_KV_A, GLMQ_ROLE_INDEXER_K, GLMQ_ROLE_INDEXER_WEIGHTS } },
    { 2, { GLMQ_ROLE_ATTN_Q_B, GLMQ_ROLE_INDEXER_Q_B } },
};

/* ---- who ---- */

static int is_among(const glmq_role *list, uint8_t count, glmq_role role)
{
    for (uint8_t k = 0; k < count; k++)
        if (list[k] == role) return 1;
    return 0;
}

/* The roles that share a scale with `role`, itself among them; NULL: none do. */
static const glmq_role *sharers(glmq_role role, int by_input, uint8_t *count)
{
    const glmq_fused *f;

    for (size_t i = 0; by_input && i < GLMQ_COUNT(one_input); i++) {
        *count = one_input[i].count;
        if (is_among(one_input[i].role, *count, role)) return one_input[i].role;
    }
    for (size_t i = 0; (f = glmq_fused_at(i)) != NULL; i++) {
        *count = f->count;
        if (is_among(f->role, f->count, role)) return f->role;
    }
    return NULL;
}

size_t glmq_share_members(const glmq_plan *p, size_t i, const glmq_encoding *to, int fused,
                          uint32_t member[GLMQ_SHARE_MAX])
{
    const glmq_graph *g = p->graph;
    const int by_input = !fused && fp4_global_of(to) != FP4_DIVIDES;
    uint8_t count = 0;
    const glmq_role *role = sharers(g->tensors[i].role, by_input, &count);
    size_t n = 0;

    for (uint8_t k = 0; role && k < count; k++) {
        const size_t other =
            glmq_graph_find_role(g, g->tensors[i].layer, role[k], g->tensors[i].expert);
        if (other < g->count && !p->want[other].dropped &&
            fp4_global_of(&p->want[other].enc) == fp4_global_of(to))
            member[n++] = (uint32_t)other;
    }
    if (n == 0) member[n++] = (uint32_t)i;
    return n;
}

/* ---- looking ---- */

struct glmq_share {
    glmq_tensor_fetch *values;
    glmq_fetch *codes;
    void *data;
    size_t capacity;
};

glmq_share *glmq_share_new(void)
{
    glmq_share *s = glmq_alloc_zero(1, sizeof *s);
    if (!s) return NULL;
    s->values = glmq_tensor_fetch_new();
    s->codes = glmq_fetch_new();
    if (s->values && s->codes) return s;
    glmq_share_free(s);
    return NULL;
}

void glmq_share_free(glmq_share *s)
{
    if (!s) return;
    glmq_tensor_fetch_free(s->values);
    glmq_fetch_free(s->codes);
    glmq_free(s->data);
    glmq_free(s);
}

static glmq_status reserve(glmq_share *s, uint64_t bytes, glmq_error *err)
{
    if (bytes <= s->capacity) return GLMQ_OK;
    glmq_free(s->data);
    s->capacity = 0;
    s->data = bytes <= SIZE_MAX ? glmq_alloc((size_t)bytes) : NULL;
    if (!s->data) return glmq_fail(err, GLMQ_E_NOMEM, "buffer of %" PRIu64 " bytes", bytes);
    s->capacity = (size_t)bytes;
    return GLMQ_OK;
}

static glmq_status amax_of(glmq_share *s, const glmq_plan *p, const glmq_tensor *t, float *amax,
                           glmq_error *err)
{
    const uint64_t tile = glmq_tensor_tile_rows(t);

    GLMQ_TRY(reserve(s, tile * t->cols * sizeof(float), err));
    GLMQ_TRY(glmq_tensor_fetch_open(s->values, p->original->source, t, err));
    for (uint64_t row = 0; row < t->rows; row += tile) {
        const uint64_t n = t->rows - row < tile ? t->rows - row : tile;
        const float *w = s->data;
        uint32_t most = bits_from_f32(*amax);
        GLMQ_TRY(glmq_tensor_fetch_rows(s->values, row, n, s->data, err));
        for (uint64_t i = 0; i < n * t->cols; i++) {
            const uint32_t mag = bits_from_f32(w[i]) & 0x7fffffff;
            most = mag > most ? mag : most;
        }
        *amax = f32_from_bits(most);
    }
    return GLMQ_OK;
}

glmq_status glmq_share_amax(glmq_share *s, const glmq_plan *p, size_t i, const glmq_encoding *to,
                            glmq_stats *stats, glmq_error *err)
{
    uint32_t member[GLMQ_SHARE_MAX];
    const size_t n = glmq_share_members(p, i, to, 0, member);

    stats->amax = 0;
    stats->bf16 = glmq_encoding_dtype(&p->original->tensors[i].part[0].enc) == GLMQ_DT_BF16;
    for (size_t k = 0; k < n; k++) {
        const glmq_tensor *t = &p->original->tensors[member[k]];
        GLMQ_TRY(glmq_within(err, amax_of(s, p, t, &stats->amax, err), "%s", t->name));
    }
    return GLMQ_OK;
}

/* ---- codes without a global scale ---- */

static int has_codes(const uint8_t *q, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (q[i] & 7) return 1;
    return 0;
}

/* The largest block scale under which there is something. */
static glmq_status largest_scale(glmq_share *s, const glmq_plan *p, const glmq_tensor *t,
                                 float *most, glmq_error *err)
{
    const glmq_part *part = &t->part[0];
    const uint64_t tile = glmq_tensor_tile_rows(t);
    const uint32_t groups = glmq_encoding_groups(&part->enc, part->cols);
    const uint64_t small = tile * groups;
    glmq_codes c = { 0 };

    if (t->parts != 1 || fp4_global_of(&part->enc) != FP4_NO_GLOBAL) return GLMQ_OK;
    GLMQ_TRY(reserve(s, small * (2 * sizeof(float) + sizeof(int16_t)) + tile * part->cols, err));
    c.scale = s->data;
    c.offset = c.scale + small;
    c.zero = (int16_t *)(void *)(c.offset + small);
    c.q = (uint8_t *)(c.zero + small);
    GLMQ_TRY(glmq_fetch_open(s->codes, p->original->source, part, err));
    for (uint64_t row = 0; row < part->rows; row += tile) {
        const uint64_t n = part->rows - row < tile ? part->rows - row : tile;
        glmq_bufs bufs;
        GLMQ_TRY(glmq_fetch_rows(s->codes, row, n, &bufs, err));
        part->enc.codec->get_codes(glmq_fetch_encoding(s->codes), &bufs,
                                   (glmq_tile){ row, n, part->cols, part->rows }, &c);
        for (uint64_t g = 0; g < n * groups; g++)
            if (c.scale[g] > *most && has_codes(c.q + g * c.group, c.group)) *most = c.scale[g];
    }
    return GLMQ_OK;
}

glmq_status glmq_share_scalar(glmq_share *s, const glmq_plan *p, size_t i, glmq_encoding *to,
                              glmq_error *err)
{
    const glmq_tensor *own = &p->original->tensors[i];
    const fp4_global kind = fp4_global_of(to);
    uint32_t member[GLMQ_SHARE_MAX];
    float most = 0;
    size_t n;

    if (!fp4_has_global(to) || own->parts != 1 || fp4_global_of(&own->part[0].enc) != FP4_NO_GLOBAL)
        return GLMQ_OK;
    n = glmq_share_members(p, i, to, 0, member);
    for (size_t k = 0; k < n; k++) {
        const glmq_tensor *t = &p->original->tensors[member[k]];
        GLMQ_TRY(glmq_within(err, largest_scale(s, p, t, &most, err), "%s", t->name));
    }
    if (most == 0) most = 256;
    to->scalar = bits_from_f32(kind == FP4_MULTIPLIES ? most / 256 : 256 / most);
    return GLMQ_OK;
}

/* ---- memory ---- */

uint64_t glmq_share_peak(const glmq_plan *p, const glmq_item *it)
{
    const glmq_encoding *to = &it->part[0].enc;
    uint32_t member[GLMQ_SHARE_MAX];
    uint64_t peak = 0;
    size_t n;

    if (!fp4_has_global(to)) return 0;
    n = glmq_share_members(p, it->tensor, to, 0, member);
    for (size_t k = 0; k < n; k++) {
        const glmq_tensor *t = &p->original->tensors[member[k]];
        const uint64_t tile = glmq_tensor_tile_rows(t);
        uint64_t one = 2 * tile * t->cols * sizeof(float);
        for (uint8_t i = 0; i < t->parts; i++) one += glmq_fetch_peak(&t->part[i], tile);
        if (one > peak) peak = one;
    }
    return peak;
}
