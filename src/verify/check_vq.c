/* What --check finds in VQ checkpoints, beyond what every format has: codes that cannot be
 * decoded, padding that is not zero, and whether codes and codebooks belong together.
 *
 * Every row of codes is read once, a few at a time.  The sums of V are made per tensor and added
 * up in the order of the tensors, so that they do not depend on the number of threads. */
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "check_parts.h"
#include "codecs/gptq.h"
#include "codecs/vq.h"
#include "compare.h"
#include "ordered.h"
#include <math.h>
#include <string.h>

enum { ROWS = 64, BOOKS_MAX = 64 };

typedef struct pool {
    const vq_book *book;
    double *power;
    vq_power sums;
    uint64_t tensors;
} pool;

typedef struct result {
    vq_power sums;
    uint64_t stray;       /* rows with bits behind their last code               */
    uint64_t runs, words; /* of zero points: words that end in a run of ones      */
    uint64_t first_run;
    char *bad; /* why it cannot be decoded; NULL: it can               */
} result;

typedef struct run {
    glmq_check *check;
    const glmq_graph *graph;
    const glmq_digest_options *opt;
    glmq_fetch **fetch; /* by worker */
    int workers;
    pool pool[BOOKS_MAX];
    size_t pools;
    result *result;    /* by tensor */
    glmq_strmap known; /* tensors with an error of the first pass */
} run;

static const vq_book *book_of(const glmq_part *part)
{
    return part->enc.codec == &glmq_codec_vq ? part->enc.tables : NULL;
}

int glmq_check_lacks_book(const glmq_part *part)
{
    return book_of(part) && !book_of(part)->values;
}

static int is_spine(const glmq_part *part)
{
    return part->enc.codec == &glmq_codec_gptq && part->enc.variant == GPTQ_V1_OR &&
           32 % part->enc.bits == 0;
}

static pool *pool_of(run *r, const vq_book *book)
{
    for (size_t i = 0; i < r->pools; i++)
        if (r->pool[i].book == book) return &r->pool[i];
    return NULL;
}

/* ---- one tensor ---- */

static glmq_status look_at_rows(glmq_fetch *f, const glmq_part *part, const pool *p, result *out,
                                glmq_error *err)
{
    const glmq_encoding *e = glmq_fetch_encoding(f);

    for (uint64_t row = 0; row < part->rows; row += ROWS) {
        const uint64_t rows = part->rows - row < ROWS ? part->rows - row : ROWS;
        const glmq_tile t = { row, rows, part->cols, part->rows };
        glmq_bufs bufs;

        GLMQ_TRY(glmq_fetch_rows(f, row, rows, &bufs, err));
        for (uint64_t r = row; r < row + rows; r++) {
            vq_power_add(&out->sums, p->power, e, &bufs, t, r);
            out->stray += vq_has_stray_bits(e, &bufs, t, r) ? 1 : 0;
        }
    }
    return GLMQ_OK;
}

/* A zero point of 0 is stored as -1, and a packer that ORs fields of -1 into a word fills all of
 * it from there on. */
static glmq_status look_at_zeros(glmq_fetch *f, const glmq_part *part, result *out, glmq_error *err)
{
    const glmq_encoding *e = glmq_fetch_encoding(f);
    const uint64_t bytes = part->span[GLMQ_SLOT_ZEROS].bytes;
    const uint64_t quantum = glmq_fetch_layout(f)->row_quantum;
    glmq_bufs bufs;

    if (e->zero_kind != GLMQ_ZERO_STORED) return GLMQ_OK;
    GLMQ_TRY(glmq_fetch_rows(f, 0, quantum < part->rows ? quantum : part->rows, &bufs, err));
    for (uint64_t i = 0; bufs.buf[GLMQ_SLOT_ZEROS] && i < bytes / 4; i++) {
        const uint32_t word = load_le32(bufs.buf[GLMQ_SLOT_ZEROS] + 4 * i);
        out->words++;
        if (word >> (32 - e->bits) != (1u << e->bits) - 1) continue;
        if (!out->runs++) out->first_run = i;
    }
    return GLMQ_OK;
}

static glmq_status look_at(run *r, glmq_fetch *f, const glmq_part *part, result *out,
                           glmq_error *err)
{
    const pool *p = pool_of(r, book_of(part));

    GLMQ_TRY(glmq_fetch_open(f, glmq_graph_source(r->graph), part, err));
    return p ? look_at_rows(f, part, p, out, err) : look_at_zeros(f, part, out, err);
}

static glmq_status check_tensor(void *user, int worker, size_t i, glmq_error *err)
{
    run *r = user;
    const glmq_part *part = glmq_graph_tensor(r->graph, i)->part;
    glmq_error why = { 0 };
    glmq_status st;

    if (!pool_of(r, book_of(part)) && !is_spine(part)) return GLMQ_OK;
    st = look_at(r, r->fetch[worker], part, &r->result[i], &why);
    if (!st) return GLMQ_OK;
    if (!glmq_check_is_problem(st)) return glmq_fail(err, st, "%s", why.msg);
    r->result[i].bad = glmq_strdup(why.msg);
    return r->result[i].bad ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "a problem's text");
}

static uint64_t tensor_peak(void *user, size_t i)
{
    const run *r = user;
    return glmq_fetch_peak(glmq_graph_tensor(r->graph, i)->part, ROWS);
}

/* ---- what it says ---- */

/* The first pass may have said it already. */
static int is_known(const run *r, const char *tensor)
{
    uint64_t ignored;
    return glmq_strmap_get(&r->known, tensor, strlen(tensor), &ignored);
}

static glmq_status tell_tensor(run *r, const glmq_tensor *t, const result *x)
{
    const char *file =
        glmq_source_name(glmq_graph_source(r->graph), t->part[0].span[GLMQ_SLOT_CODES].file);
    glmq_check *c = r->check;

    if (x->bad && !is_known(r, t->name))
        GLMQ_TRY(glmq_check_add(c, GLMQ_ERROR, "bad-tensor", t->name, file, "%s", x->bad));
    if (x->stray)
        GLMQ_TRY(glmq_check_add(c, GLMQ_WARNING, "padding-bits", t->name, file,
                                "%" PRIu64 " rows have bits behind their last code that are not 0",
                                x->stray));
    if (x->runs)
        GLMQ_TRY(glmq_check_add(c, GLMQ_WARNING, "qzeros-run", t->name, file,
                                "suspicious qzeros run of 0x%x: %" PRIu64 " of %" PRIu64
                                " words end in one, the first is number %" PRIu64
                                "; a packer that loses zero points of 0 does that. Decoded as "
                                "stored, as %u",
                                (1u << t->part[0].enc.bits) - 1, x->runs, x->words, x->first_run,
                                1u << t->part[0].enc.bits));
    return GLMQ_OK;
}

static glmq_status take_result(void *user, size_t i, glmq_error *err)
{
    run *r = user;
    const glmq_tensor *t = glmq_graph_tensor(r->graph, i);
    result *x = &r->result[i];
    pool *p = pool_of(r, book_of(t->part));

    if (tell_tensor(r, t, x)) return glmq_fail(err, GLMQ_E_NOMEM, "list of problems");
    if (p && !x->bad) {
        vq_power_join(&p->sums, &x->sums);
        p->tensors++;
    }
    if (r->opt->each) r->opt->each(r->opt->user, i + 1, glmq_graph_count(r->graph));
    return GLMQ_OK;
}

/* V of few groups scatters (measured: by 0.13 for the 512 of one matrix, at one bit): below
 * VQ_POWER_GROUPS the limit gives way by twice what it scatters more. */
static double limit_of(const pool *p)
{
    const double scatter = 2.94 / sqrt((double)p->sums.groups);
    const double usual = 2.94 / sqrt((double)VQ_POWER_GROUPS);
    return vq_power_limit(p->book, &p->sums) + (scatter > usual ? 2 * (scatter - usual) : 0);
}

static glmq_status tell_pool(const run *r, const pool *p, glmq_error *err)
{
    const double v = vq_power_value(&p->sums);

    if (isnan(v) || v <= limit_of(p)) return GLMQ_OK;
    if (glmq_check_add(r->check, GLMQ_WARNING, "codebook-mismatch", NULL, NULL,
                       "V is %.3f over %" PRIu64 " groups of the %" PRIu64
                       " tensors of %.3g bits, at most %.2f was to be expected: mismatch of layout "
                       "or codebook %s suspected",
                       v, p->sums.groups, p->tensors,
                       log2((double)p->book->entries) / p->book->width,
                       vq_power_limit(p->book, &p->sums), p->book->name))
        return glmq_fail(err, GLMQ_E_NOMEM, "list of problems");
    return GLMQ_OK;
}

/* ---- the whole ---- */

/* *any: there is something to look at. */
static glmq_status open_pools(run *r, int *any, glmq_error *err)
{
    *any = 0;
    for (size_t i = 0; i < glmq_graph_count(r->graph); i++) {
        const glmq_part *part = glmq_graph_tensor(r->graph, i)->part;
        const vq_book *book = book_of(part);
        pool *p = &r->pool[r->pools];

        *any |= is_spine(part) || (book && book->values);
        if (!book || !book->values || pool_of(r, book) || r->pools == BOOKS_MAX) continue;
        p->book = book;
        p->power = glmq_alloc(book->entries * sizeof *p->power);
        if (!p->power) return glmq_fail(err, GLMQ_E_NOMEM, "codebook %s", book->name);
        vq_power_table(book, p->power);
        r->pools++;
    }
    return GLMQ_OK;
}

static glmq_status open_run(run *r, glmq_error *err)
{
    const size_t n = glmq_graph_count(r->graph);

    for (size_t i = 0; i < r->check->count; i++) {
        const glmq_problem *p = &r->check->at[i];
        if (p->tensor && p->severity == GLMQ_ERROR &&
            glmq_strmap_add(&r->known, p->tensor, strlen(p->tensor), 1, NULL) < 0)
            return glmq_fail(err, GLMQ_E_NOMEM, "names of tensors");
    }
    r->workers = glmq_workers(r->opt->jobs, n);
    r->fetch = glmq_alloc_zero((size_t)r->workers, sizeof *r->fetch);
    r->result = glmq_alloc_zero(n ? n : 1, sizeof *r->result);
    if (!r->fetch || !r->result) return glmq_fail(err, GLMQ_E_NOMEM, "results of %zu tensors", n);
    for (int i = 0; i < r->workers; i++) {
        r->fetch[i] = glmq_fetch_new();
        if (!r->fetch[i]) return glmq_fail(err, GLMQ_E_NOMEM, "%d buffers", r->workers);
    }
    return GLMQ_OK;
}

static void close_run(run *r)
{
    for (int i = 0; r->fetch && i < r->workers; i++) glmq_fetch_free(r->fetch[i]);
    for (size_t i = 0; r->result && i < glmq_graph_count(r->graph); i++)
        glmq_free(r->result[i].bad);
    for (size_t i = 0; i < r->pools; i++) glmq_free(r->pool[i].power);
    glmq_free(r->fetch);
    glmq_free(r->result);
    glmq_strmap_free(&r->known);
}

static glmq_status walk(run *r, glmq_error *err)
{
    const glmq_ordered job = {
        .count = glmq_graph_count(r->graph),
        .workers = r->workers,
        .memory = r->opt->memory,
        .peak = tensor_peak,
        .work = check_tensor,
        .done = take_result,
        .user = r,
        .cancel = r->opt->cancel,
    };

    GLMQ_TRY(glmq_ordered_run(&job, err));
    for (size_t i = 0; i < r->pools; i++) GLMQ_TRY(tell_pool(r, &r->pool[i], err));
    return GLMQ_OK;
}

glmq_status glmq_check_vq(glmq_check *c, const glmq_graph *g, const glmq_digest_options *opt,
                          glmq_error *err)
{
    run r = { .check = c, .graph = g, .opt = opt };
    int any;
    glmq_status st = open_pools(&r, &any, err);

    if (!st && any) {
        st = open_run(&r, err);
        if (!st) st = walk(&r, err);
    }
    close_run(&r);
    return st;
}
