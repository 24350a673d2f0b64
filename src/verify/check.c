/* The full validation of a checkpoint's data. */
#include "check.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "compare.h"
#include "models/roles.h"
#include "ordered.h"
#include "readers/catalog.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One problem of one tensor, from its worker to its turn. */
typedef struct found {
    struct found *next;
    glmq_severity severity;
    const char *code;
    char message[320];
} found;

typedef struct checker {
    glmq_fetch *fetch;
    glmq_tensor_fetch *tensor_fetch;
    uint8_t *buffer;
    size_t capacity;
} checker;

typedef struct run {
    glmq_check *check;
    const glmq_graph *graph;
    const glmq_digest_options *opt;
    checker *checkers;
    int workers;
    found **found; /* by tensor */
} run;

/* ---- the list ---- */

glmq_status glmq_check_add(glmq_check *c, glmq_severity severity, const char *code,
                           const char *tensor, const char *file, const char *format, ...)
{
    char message[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    if (c->count == c->capacity) {
        const size_t capacity = c->capacity ? 2 * c->capacity : 64;
        glmq_problem *grown = glmq_realloc(c->at, capacity * sizeof *grown);
        if (!grown) return GLMQ_E_NOMEM;
        c->at = grown;
        c->capacity = capacity;
    }
    const glmq_problem p = {
        .severity = severity,
        .code = code,
        .tensor = tensor,
        .file = file,
        .message = glmq_arena_strdup(&c->arena, message),
    };
    if (!p.message) return GLMQ_E_NOMEM;
    c->at[c->count++] = p;
    c->errors += severity == GLMQ_ERROR ? 1 : 0;
    return GLMQ_OK;
}

void glmq_check_free(glmq_check *c)
{
    glmq_free(c->at);
    glmq_arena_free(&c->arena);
    *c = (glmq_check){ 0 };
}

static glmq_status find(found **list, glmq_error *err, glmq_severity severity, const char *code,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));

static glmq_status find(found **list, glmq_error *err, glmq_severity severity, const char *code,
                        const char *format, ...)
{
    found *f = glmq_alloc_zero(1, sizeof *f);
    va_list args;

    if (!f) return glmq_fail(err, GLMQ_E_NOMEM, "a problem's text");
    f->severity = severity;
    f->code = code;
    va_start(args, format);
    vsnprintf(f->message, sizeof f->message, format, args);
    va_end(args);
    while (*list) list = &(*list)->next;
    *list = f;
    return GLMQ_OK;
}

/* What the data is to blame for becomes a problem; anything else ends the check. */
static int is_problem(glmq_status st)
{
    return st == GLMQ_E_FORMAT || st == GLMQ_E_LIMIT || st == GLMQ_E_UNSUPPORTED;
}

static void *scratch(checker *c, size_t bytes)
{
    if (bytes > c->capacity) {
        glmq_free(c->buffer);
        c->buffer = glmq_alloc(bytes);
        c->capacity = c->buffer ? bytes : 0;
    }
    return c->buffer;
}

/* ---- scales and zero points of a quantized part ---- */

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

/* Is a code of this group away from its zero point? */
static int has_codes(const glmq_codes *k, uint64_t r, uint32_t group, uint64_t cols)
{
    const uint64_t i = r * k->groups + group;
    for (uint64_t c = 0; c < cols; c++) {
        const uint64_t g = k->perm ? (uint64_t)k->perm[c] : c / k->group;
        if (g == group && k->q[r * cols + c] != k->zero[i]) return 1;
    }
    return 0;
}

static void look_at_tile(scales *s, const glmq_codes *k, uint64_t row, uint64_t rows, uint64_t cols)
{
    for (uint64_t r = 0; r < rows; r++) {
        for (uint32_t g = 0; g < k->groups; g++) {
            const uint64_t i = r * k->groups + g;
            const int unfinite =
                !isfinite(k->scale[i]) || (k->has_offset && !isfinite(k->offset[i]));
            const int idle = !unfinite && k->scale[i] == 0 && !k->has_offset &&
                             k->kind == GLMQ_CODES_INT && has_codes(k, r, g, cols);
            s->unfinite += unfinite ? 1 : 0;
            s->idle += idle ? 1 : 0;
            if (unfinite || idle) note_first(s, row + r, g);
        }
    }
}

/* Groups of an act-order tensor that have more or fewer members than the format counts on. */
static glmq_status look_at_order(const glmq_codes *k, uint64_t cols, found **list, glmq_error *err)
{
    const uint64_t size = ceil_div_u64(cols, k->groups);
    uint64_t *members = glmq_alloc_zero(k->groups, sizeof *members);
    uint64_t uneven = 0;

    if (!members) return glmq_fail(err, GLMQ_E_NOMEM, "members of %u groups", k->groups);
    for (uint64_t c = 0; c < cols; c++) members[k->perm[c]]++;
    for (uint32_t g = 0; g < k->groups; g++) uneven += members[g] != size ? 1 : 0;
    glmq_free(members);
    if (!uneven || cols % k->groups) return GLMQ_OK;
    return find(list, err, GLMQ_WARNING, "uneven-groups",
                "%" PRIu64 " of %u groups of g_idx do not have %" PRIu64 " columns", uneven,
                k->groups, size);
}

enum { CHECK_TILE_BYTES = 1 << 20 };

static glmq_status look_at_codes(checker *c, const glmq_part *part, scales *s, found **list,
                                 glmq_error *err)
{
    const glmq_encoding *enc = glmq_fetch_encoding(c->fetch);
    const uint64_t quantum = glmq_fetch_layout(c->fetch)->row_quantum;
    const uint32_t groups = glmq_encoding_groups(enc, part->cols);
    const uint64_t step = quantum ? quantum : 1;
    uint64_t tile = ceil_div_u64(CHECK_TILE_BYTES, part->cols);

    tile = ceil_div_u64(tile, step) * step;
    if (tile > part->rows) tile = part->rows;
    const size_t floats = (size_t)(tile * groups) * sizeof(float);
    uint8_t *at = scratch(c, 3 * floats + (size_t)(tile * part->cols));
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
        look_at_tile(s, &k, row, rows, part->cols);
        if (row == 0 && k.perm) GLMQ_TRY(look_at_order(&k, part->cols, list, err));
    }
    return GLMQ_OK;
}

static glmq_status tell_scales(const scales *s, found **list, glmq_error *err)
{
    if (s->unfinite)
        GLMQ_TRY(find(list, err, GLMQ_ERROR, "scale-not-finite",
                      "%" PRIu64 " scales are NaN or infinite; the first at row %" PRIu64
                      ", group %" PRIu64,
                      s->unfinite, s->first_row, s->first_group));
    if (s->idle)
        GLMQ_TRY(find(list, err, GLMQ_WARNING, "scale-zero",
                      "%" PRIu64 " scales are 0 though codes of their group are not; the first at "
                      "row %" PRIu64 ", group %" PRIu64,
                      s->idle, s->first_row, s->first_group));
    return GLMQ_OK;
}

/* A stored float of one of the three plain types; NaN for any other. */
static double plain_value(glmq_dtype dtype, const uint8_t *p)
{
    float f = NAN;

    if (dtype == GLMQ_DT_F32) memcpy(&f, p, sizeof f);
    if (dtype == GLMQ_DT_BF16) f = f32_from_bf16(load_le16(p));
    if (dtype == GLMQ_DT_F16) f = f32_from_f16(load_le16(p));
    return (double)f;
}

static size_t float_bytes(glmq_dtype dtype)
{
    if (dtype == GLMQ_DT_F32) return 4;
    return dtype == GLMQ_DT_F16 || dtype == GLMQ_DT_BF16 ? 2 : 0;
}

enum { SLOT_CHUNK = 1 << 20 };

typedef struct slot_scan {
    uint64_t count, unfinite, unpositive, negative, first; /* first that is not finite     */
} slot_scan;

/* Looks at every float of a stored slot. */
static glmq_status scan_slot(checker *c, const glmq_graph *g, const glmq_span *span,
                             slot_scan *scan, glmq_error *err)
{
    const glmq_dtype dtype = (glmq_dtype)g->catalog->arrays[span->array].dtype;
    const size_t each = float_bytes(dtype);
    uint8_t *bytes = scratch(c, SLOT_CHUNK);

    if (!bytes) return glmq_fail(err, GLMQ_E_NOMEM, "a buffer of %d bytes", SLOT_CHUNK);
    for (uint64_t off = 0; each && off < span->bytes; off += SLOT_CHUNK) {
        const uint64_t left = span->bytes - off;
        const size_t len = left < SLOT_CHUNK ? (size_t)left : (size_t)SLOT_CHUNK;
        GLMQ_TRY(glmq_source_read(glmq_graph_source(g), span->file, span->offset + off, bytes, len,
                                  err));
        for (size_t i = 0; i + each <= len; i += each, scan->count++) {
            const double x = plain_value(dtype, bytes + i);
            if (!isfinite(x) && !scan->unfinite++) scan->first = scan->count;
            scan->unpositive += x > 0 ? 0 : 1;
            scan->negative += x < 0;
        }
    }
    return GLMQ_OK;
}

/* Scales in an array of their own: *usable 0 when the tensor cannot be decoded with them. */
static glmq_status look_at_stored_scales(checker *c, const glmq_graph *g, const glmq_part *part,
                                         int *usable, found **list, glmq_error *err)
{
    slot_scan scan = { 0 };

    *usable = 1;
    if (!part->span[GLMQ_SLOT_SCALES].bytes) return GLMQ_OK;
    GLMQ_TRY(scan_slot(c, g, &part->span[GLMQ_SLOT_SCALES], &scan, err));
    if (scan.negative && part->enc.codec == &glmq_codec_tq3)
        GLMQ_TRY(find(list, err, GLMQ_WARNING, "norm-negative",
                      "%" PRIu64 " of %" PRIu64 " norms of groups are negative", scan.negative,
                      scan.count));
    if (!scan.unfinite) return GLMQ_OK;
    *usable = 0;
    return find(list, err, GLMQ_ERROR, "scale-not-finite",
                "%" PRIu64 " of %" PRIu64
                " scales are NaN or infinite; the first is number %" PRIu64,
                scan.unfinite, scan.count, scan.first);
}

/* Scales that glmq carries but never decodes with: finite and positive all the same. */
static glmq_status look_at_carried(checker *c, const glmq_graph *g, const glmq_span *span,
                                   const char *what, found **list, glmq_error *err)
{
    slot_scan scan = { 0 };

    if (!span->bytes) return GLMQ_OK;
    GLMQ_TRY(scan_slot(c, g, span, &scan, err));
    if (!scan.unfinite && !scan.unpositive) return GLMQ_OK;
    return find(list, err, GLMQ_ERROR, "scale-not-positive",
                "%" PRIu64 " of %" PRIu64 " values of its %s are not finite and positive",
                scan.unfinite > scan.unpositive ? scan.unfinite : scan.unpositive, scan.count,
                what);
}

/* Rows whose codes only the codec can judge. */
static glmq_status look_at_rows(checker *c, const glmq_part *part, glmq_error *err)
{
    const uint64_t quantum = glmq_fetch_layout(c->fetch)->row_quantum;
    const uint64_t tile =
        ceil_div_u64(ceil_div_u64(CHECK_TILE_BYTES, part->cols), quantum) * quantum;

    for (uint64_t row = 0; row < part->rows; row += tile) {
        const uint64_t rows = tile < part->rows - row ? tile : part->rows - row;
        glmq_bufs bufs;
        GLMQ_TRY(glmq_fetch_rows(c->fetch, row, rows, &bufs, err));
    }
    return GLMQ_OK;
}

/* What opening and reading the codes finds, as problems of the tensor. */
static glmq_status look_at_part(checker *c, const glmq_graph *g, const glmq_part *part,
                                found **list, glmq_error *err)
{
    scales s = { 0 };

    GLMQ_TRY(glmq_fetch_open(c->fetch, glmq_graph_source(g), part, err));
    const glmq_encoding *enc = glmq_fetch_encoding(c->fetch);
    if (glmq_encoding_is_plain(enc) || !enc->codec) return GLMQ_OK;
    if (!enc->codec->get_codes)
        return enc->codec->check_rows ? look_at_rows(c, part, err) : GLMQ_OK;
    GLMQ_TRY(look_at_codes(c, part, &s, list, err));
    return tell_scales(&s, list, err);
}

static glmq_status check_part(checker *c, const glmq_graph *g, const glmq_part *part, found **list,
                              glmq_error *err)
{
    int usable;

    GLMQ_TRY(look_at_stored_scales(c, g, part, &usable, list, err));
    if (usable) {
        const glmq_status st = look_at_part(c, g, part, list, err);
        if (!is_problem(st)) GLMQ_TRY(st);
        if (st) GLMQ_TRY(find(list, err, GLMQ_ERROR, "bad-tensor", "%s", err->msg));
    }
    return look_at_carried(c, g, &part->span[GLMQ_SLOT_INPUT_SCALE], "input scale", list, err);
}

/* ---- vectors: norms, biases, the routing bias, KV-cache scales ---- */

static int by_value(const void *x, const void *y)
{
    const float a = *(const float *)x, b = *(const float *)y;
    return a < b ? -1 : a > b;
}

/* The routing bias decides which experts run by differences in its last bits: rounded to BF16
 * once, most of its values coincide. */
static glmq_status check_router_bias(const glmq_tensor *t, float *w, size_t n, found **list,
                                     glmq_error *err)
{
    const glmq_dtype dtype = glmq_encoding_dtype(&t->part[0].enc);
    size_t distinct = 1, rounded = 0;

    if (dtype != GLMQ_DT_F32)
        return find(list, err, GLMQ_ERROR, "router-bias-dtype",
                    "the routing bias is stored as %s, expected F32: its low bits are lost",
                    glmq_dtype_name(dtype));
    for (size_t i = 0; i < n; i++)
        rounded +=
            f32_from_bf16(bf16_from_f32(w[i])) == w[i] || f32_from_f16(f16_from_f32(w[i])) == w[i];
    qsort(w, n, sizeof *w, by_value);
    for (size_t i = 1; i < n; i++) distinct += w[i] != w[i - 1];
    if (rounded < n || n < 2 || distinct == 1) return GLMQ_OK;
    if (distinct < n)
        return find(list, err, GLMQ_ERROR, "router-bias-collapsed",
                    "%zu values, %zu distinct, each exactly a 16-bit float: the routing bias was "
                    "rounded once",
                    n, distinct);
    return find(list, err, GLMQ_WARNING, "router-bias-rounded",
                "each of the %zu values is exactly a 16-bit float: the routing bias may have been "
                "rounded",
                n);
}

static glmq_status look_at_vector(const glmq_tensor *t, float *w, size_t n, found **list,
                                  glmq_error *err)
{
    const int scale = !glmq_is_weight(t);
    size_t unfinite = 0, unpositive = 0;

    for (size_t i = 0; i < n; i++) {
        unfinite += isfinite(w[i]) ? 0 : 1;
        unpositive += w[i] > 0 ? 0 : 1;
    }
    if (unfinite)
        return find(list, err, GLMQ_ERROR, "value-not-finite",
                    "%zu of %zu values are NaN or infinite", unfinite, n);
    if (scale && unpositive)
        return find(list, err, GLMQ_ERROR, "scale-not-positive",
                    "%zu of %zu values are not positive", unpositive, n);
    if (t->role == GLMQ_ROLE_ROUTER_BIAS) return check_router_bias(t, w, n, list, err);
    return GLMQ_OK;
}

enum { VECTOR_MAX = 1 << 22 };

static glmq_status check_vector(checker *c, const glmq_graph *g, const glmq_tensor *t, found **list,
                                glmq_error *err)
{
    const uint64_t n = t->rows * t->cols;
    float *w;
    glmq_status st;

    if (t->rank != 1 || n > VECTOR_MAX) return GLMQ_OK;
    w = scratch(c, (size_t)n * sizeof *w);
    if (!w) return glmq_fail(err, GLMQ_E_NOMEM, "%" PRIu64 " values", n);
    st = glmq_tensor_fetch_open(c->tensor_fetch, glmq_graph_source(g), t, err);
    if (!st) st = glmq_tensor_fetch_rows(c->tensor_fetch, 0, t->rows, w, err);
    if (is_problem(st)) return GLMQ_OK; /* check_part has said it */
    GLMQ_TRY(st);
    return look_at_vector(t, w, (size_t)n, list, err);
}

/* ---- a tensor ---- */

static glmq_status check_tensor(void *user, int worker, size_t i, glmq_error *err)
{
    run *r = user;
    checker *c = &r->checkers[worker];
    const glmq_tensor *t = glmq_graph_tensor(r->graph, i);
    found **list = &r->found[i];

    for (int p = 0; p < t->parts; p++) GLMQ_TRY(check_part(c, r->graph, &t->part[p], list, err));
    if (t->role == GLMQ_ROLE_ROUTER && !glmq_encoding_is_plain(&t->part[0].enc))
        GLMQ_TRY(find(list, err, GLMQ_WARNING, "router-quantized",
                      "the router is quantized, which costs more than any other tensor"));
    return check_vector(c, r->graph, t, list, err);
}

static uint64_t tensor_peak(void *user, size_t i)
{
    const run *r = user;
    const glmq_tensor *t = glmq_graph_tensor(r->graph, i);
    uint64_t peak = 4 * (uint64_t)CHECK_TILE_BYTES;

    for (int p = 0; p < t->parts; p++)
        peak += glmq_fetch_peak(&t->part[p], glmq_tensor_tile_rows(t));
    return peak;
}

static glmq_status take_found(void *user, size_t i, glmq_error *err)
{
    run *r = user;
    const glmq_tensor *t = glmq_graph_tensor(r->graph, i);
    const glmq_source *src = glmq_graph_source(r->graph);
    const char *file = glmq_source_name(src, t->part[0].span[GLMQ_SLOT_CODES].file);

    for (found *f = r->found[i]; f; f = f->next)
        if (glmq_check_add(r->check, f->severity, f->code, t->name, file, "%s", f->message))
            return glmq_fail(err, GLMQ_E_NOMEM, "list of problems");
    if (r->opt->each) r->opt->each(r->opt->user, i + 1, glmq_graph_count(r->graph));
    return GLMQ_OK;
}

/* ---- the whole ---- */

static glmq_status open_run(run *r, glmq_error *err)
{
    const size_t n = glmq_graph_count(r->graph);

    r->workers = glmq_workers(r->opt->jobs, n);
    r->checkers = glmq_alloc_zero((size_t)r->workers, sizeof *r->checkers);
    r->found = glmq_alloc_zero(n ? n : 1, sizeof *r->found);
    if (!r->checkers || !r->found) return glmq_fail(err, GLMQ_E_NOMEM, "lists for %zu tensors", n);
    for (int i = 0; i < r->workers; i++) {
        r->checkers[i].fetch = glmq_fetch_new();
        r->checkers[i].tensor_fetch = glmq_tensor_fetch_new();
        if (!r->checkers[i].fetch || !r->checkers[i].tensor_fetch)
            return glmq_fail(err, GLMQ_E_NOMEM, "%d buffers", r->workers);
    }
    return GLMQ_OK;
}

static void close_run(run *r)
{
    for (int i = 0; r->checkers && i < r->workers; i++) {
        glmq_fetch_free(r->checkers[i].fetch);
        glmq_tensor_fetch_free(r->checkers[i].tensor_fetch);
        glmq_free(r->checkers[i].buffer);
    }
    for (size_t i = 0; r->found && i < glmq_graph_count(r->graph); i++) {
        while (r->found[i]) {
            found *next = r->found[i]->next;
            glmq_free(r->found[i]);
            r->found[i] = next;
        }
    }
    glmq_free(r->checkers);
    glmq_free(r->found);
}

static glmq_status take_known(glmq_check *c, const glmq_graph *g, glmq_error *err)
{
    for (size_t i = 0; i < glmq_graph_problem_count(g); i++) {
        const glmq_problem *p = glmq_graph_problem(g, i);
        if (glmq_check_add(c, p->severity, p->code, p->tensor, p->file, "%s", p->message))
            return glmq_fail(err, GLMQ_E_NOMEM, "list of problems");
    }
    for (size_t i = 0; i < glmq_graph_dropped_count(g); i++) {
        const glmq_dropped *d = glmq_graph_dropped(g, i);
        if (glmq_check_add(c, GLMQ_NOTE, "array-not-used", d->name, NULL, "%s", d->reason))
            return glmq_fail(err, GLMQ_E_NOMEM, "list of problems");
    }
    return GLMQ_OK;
}

glmq_status glmq_check_run(glmq_check *c, const glmq_graph *g, const glmq_digest_options *opt,
                           glmq_error *err)
{
    run r = { .check = c, .graph = g, .opt = opt };
    glmq_status st = take_known(c, g, err);

    if (!st) st = glmq_check_lists(c, g, err);
    if (!st) st = open_run(&r, err);
    if (!st) {
        const glmq_ordered job = {
            .count = glmq_graph_count(g),
            .workers = r.workers,
            .memory = opt->memory,
            .peak = tensor_peak,
            .work = check_tensor,
            .done = take_found,
            .user = &r,
            .cancel = opt->cancel,
        };
        st = glmq_ordered_run(&job, err);
    }
    close_run(&r);
    return st;
}
