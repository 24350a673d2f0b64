/* Plans: from a graph and a recipe to every byte range of the target, before a weight is read.
 *
 * The steps stand in glmq_plan_open(): ask the rules, let the writer choose and place, make
 * byte ranges of it, judge how each tensor travels, count, and take the digest that is the
 * identity of the run. */
#include "convert/plan.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/safe.h"
#include "codecs/transcode.h"
#include "convert/move.h"
#include "glmq/glmq.h"
#include "readers/catalog.h"
#include "writers/writer.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

static const uint64_t DEFAULT_MEMORY = 2ull << 30;
static const uint64_t DEFAULT_SHARD = 5000000000ull;

static const char *const travel_names[] = { "same-bytes", "same-codes", "same-codes?", "near",
                                            "recode" };

const char *glmq_travel_name(glmq_travel t)
{
    return (size_t)t < GLMQ_COUNT(travel_names) ? travel_names[t] : "?";
}

/* ---- options and destination ---- */

/* Threads whose boxes of writes take at most a quarter of the memory: fewer rather than none. */
static int jobs_that_fit(const glmq_plan_options *o)
{
    const uint64_t fit = o->memory / 4 / GLMQ_OUTBOX_BYTES;
    const int most = fit == 0 ? 1 : fit < GLMQ_JOBS_MAX ? (int)fit : GLMQ_JOBS_MAX;
    return o->jobs < most ? o->jobs : most;
}

static void fill_options(glmq_plan *p, const glmq_plan_options *opt)
{
    if (opt) p->options = *opt;
    if (p->options.memory == 0) p->options.memory = DEFAULT_MEMORY;
    if (p->options.shard_size == 0) p->options.shard_size = DEFAULT_SHARD;
    if (p->options.jobs <= 0) {
        const long n = sysconf(_SC_NPROCESSORS_ONLN);
        p->options.jobs = n < 1 ? 1 : n < GLMQ_JOBS_MAX ? (int)n : GLMQ_JOBS_MAX;
    }
    p->options.jobs = jobs_that_fit(&p->options);
}

static int ends_with(const char *s, const char *suffix)
{
    const size_t n = strlen(s), m = strlen(suffix);
    return n > m && strcasecmp(s + n - m, suffix) == 0;
}

/* A name that ends in .gguf is a file, and only a GGUF goes there. */
static glmq_status set_destination(glmq_plan *p, const char *dst, glmq_error *err)
{
    static const char *const archives[] = { ".tar", ".tar.zst", ".tar.gz", ".zip" };
    size_t len = strlen(dst);
    const int gguf = strcmp(p->target.writer->name, "gguf") == 0 ||
                     (strcmp(p->target.writer->name, "same") == 0 && p->graph->catalog &&
                      p->graph->catalog->container == CONTAINER_GGUF);
    while (len > 1 && dst[len - 1] == '/') len--;
    if (len == 0) return glmq_fail(err, GLMQ_E_ARG, "the destination has no name");
    p->dst = glmq_arena_strndup(&p->arena, dst, len);
    if (!p->dst) return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    for (size_t i = 0; i < GLMQ_COUNT(archives); i++)
        if (ends_with(p->dst, archives[i]))
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: glmq does not write %s archives yet",
                             p->dst, archives[i]);
    if (ends_with(p->dst, ".gguf") && !gguf)
        return glmq_fail(err, GLMQ_E_ARG, "%s: a GGUF file's name, but --to is '%s'", p->dst,
                         p->target.text);
    p->dst_is_file = gguf && ends_with(p->dst, ".gguf") && p->target.split_size == 0;
    return GLMQ_OK;
}

/* ---- choosing ---- */

static glmq_status choose_one(glmq_plan *p, const glmq_tensor *t, glmq_want *want, glmq_error *err)
{
    GLMQ_TRY(glmq_recipe_apply(p->recipe, p->graph, t, want, err));
    if (t->mtp && p->options.mtp == GLMQ_MTP_DROP) {
        want->dropped = 1;
        want->reason = "--mtp=drop";
    } else if (t->role == GLMQ_ROLE_CODEBOOK && strcmp(p->target.writer->name, "same") != 0) {
        want->dropped = 1;
        want->reason = "a codebook, which no tensor of the target uses";
    } else {
        GLMQ_TRY(p->target.writer->choose(&p->target, p->graph, t, want, err));
    }
    if (want->reason) want->reason = glmq_plan_intern(p, want->reason);
    if (!want->dropped) return GLMQ_OK;
    return glmq_plan_drop(p, t->name, want->reason ? want->reason : "no place in the target", err);
}

static glmq_status choose(glmq_plan *p, glmq_error *err)
{
    const glmq_graph *g = p->graph;
    size_t mtp = 0;
    GLMQ_TRY(glmq_recipe_check(p->recipe, g, err));
    p->want = glmq_arena_alloc(&p->arena, (g->count ? g->count : 1) * sizeof *p->want);
    if (!p->want) return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    for (size_t i = 0; i < g->count; i++) {
        mtp += g->tensors[i].mtp;
        GLMQ_TRY(glmq_within(err, choose_one(p, &g->tensors[i], &p->want[i], err), "%s",
                             g->tensors[i].name));
    }
    if (p->options.mtp == GLMQ_MTP_REQUIRE && mtp == 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "--mtp=require: the source has no MTP layer");
    return GLMQ_OK;
}

/* Only compressed-tensors' own config can say that layers differ in their experts, and only
 * `same` keeps that config. */
static glmq_status check_layer_experts(const glmq_plan *p, glmq_error *err)
{
    const glmq_hparams *h = p->graph->hp;
    if (!h || !h->layer_experts || strcmp(p->target.writer->name, "same") == 0) return GLMQ_OK;
    for (uint64_t i = 0; i < h->layers; i++)
        if (h->layer_sparse[i] && h->layer_experts[i] != h->experts)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                             "layer %" PRIu64 " has %" PRIu64 " experts, the model %" PRIu64
                             ": no target but 'same' can say so",
                             i, h->layer_experts[i], h->experts);
    return GLMQ_OK;
}

/* Every tensor is written once, or dropped for a reason. */
static glmq_status check_conservation(const glmq_plan *p, glmq_error *err)
{
    const glmq_graph *g = p->graph;
    glmq_status st = GLMQ_OK;
    uint8_t *seen = glmq_alloc_zero(g->count ? g->count : 1, 1);
    if (!seen) return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    for (size_t i = 0; i < p->items.count && !st; i++)
        if (seen[p->items.at[i].tensor]++)
            st = glmq_fail(err, GLMQ_E_ARG, "%s: planned twice",
                           g->tensors[p->items.at[i].tensor].name);
    for (size_t i = 0; i < g->count && !st; i++)
        if (seen[i] == p->want[i].dropped)
            st = glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: %s", g->tensors[i].name,
                           seen[i] ? "dropped, and planned all the same"
                                   : "the target's writer has no place for it");
    glmq_free(seen);
    return st;
}

/* ---- travel ---- */

static int all_plain(const glmq_part *part, uint8_t n)
{
    for (uint8_t i = 0; i < n; i++)
        if (!glmq_encoding_is_plain(&part[i].enc)) return 0;
    return 1;
}

/* One target part, from each source part that reaches it; the worst counts. */
static glmq_travel judge_part(const glmq_plan *p, const glmq_tensor *t, const glmq_item *it,
                              uint8_t part, char why[160])
{
    glmq_travel worst = GLMQ_SAME_BYTES;
    for (uint8_t i = 0; i < t->parts; i++) {
        char reason[160] = "";
        glmq_travel one;
        if (t->parts == it->parts && i != part) continue;
        one = glmq_transcode_judge(&t->part[i], &it->part[part], reason);
        if (one == GLMQ_NEAR && p->want[it->tensor].rescaled)
            one = GLMQ_MAYBE_CODES;
        else if (one == GLMQ_NEAR && p->want[it->tensor].exact_scale)
            one = GLMQ_SAME_CODES;
        if (one <= worst) continue;
        worst = one;
        memcpy(why, reason, sizeof reason);
    }
    return worst;
}

/* Encodings without an encoder: what is not copied byte for byte cannot be made. */
static glmq_status check_encoder(const glmq_plan *p, const glmq_item *it, const glmq_part *to,
                                 glmq_travel travel, const char *why, glmq_error *err)
{
    char text[128];
    if (to->enc.codec->encode) return GLMQ_OK;
    if (travel == GLMQ_SAME_BYTES && !it->row_perm && !it->col_perm) return GLMQ_OK;
    glmq_encoding_print(&to->enc, text, sizeof text);
    return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                     "%s: there is no encoder for %s: it can be decoded, and copied as it is, but "
                     "this would take encoding (%s)",
                     p->graph->tensors[it->tensor].name, text, *why ? why : "in another order");
}

static glmq_status judge(glmq_plan *p, glmq_item *it, glmq_error *err)
{
    const glmq_tensor *t = &p->graph->tensors[it->tensor];
    const glmq_want *want = &p->want[it->tensor];
    const int plain = all_plain(t->part, t->parts);
    char why[160] = "";
    it->travel = GLMQ_SAME_BYTES;
    for (uint8_t k = 0; k < it->parts; k++) {
        char reason[160] = "";
        glmq_travel one = judge_part(p, t, it, k, reason);
        if (p->options.transcode == GLMQ_TRANSCODE_NEVER && one != GLMQ_RECODE &&
            !(plain && all_plain(it->part, it->parts)) &&
            !glmq_encoding_is_plain(&it->part[k].enc)) {
            one = GLMQ_RECODE;
            snprintf(reason, sizeof reason, "--transcode=never");
        }
        GLMQ_TRY(check_encoder(p, it, &it->part[k], one, reason, err));
        if (one <= it->travel) continue;
        it->travel = one;
        memcpy(why, reason, sizeof why);
    }
    if (it->travel == GLMQ_SAME_BYTES && (it->row_perm || it->col_perm)) {
        it->travel = GLMQ_SAME_CODES;
        snprintf(why, sizeof why, "in another order");
    }
    it->rule = want->rule;
    it->reason = want->reason;
    if (!it->reason && why[0]) it->reason = glmq_plan_intern(p, why);
    if (!it->reason && why[0]) return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    return GLMQ_OK;
}

/* Plain floats that lose bits: listed, whatever the values turn out to be. */
static glmq_status note_narrowed(glmq_plan *p, const glmq_item *it, glmq_error *err)
{
    const glmq_tensor *t = &p->graph->tensors[it->tensor];
    const glmq_encoding *from = &t->part[0].enc, *to = &it->part[0].enc;
    glmq_narrowed *at;
    if (it->travel < GLMQ_MAYBE_CODES || !glmq_encoding_is_plain(from) ||
        !glmq_encoding_is_plain(to))
        return GLMQ_OK;
    if (p->narrowed.count == p->narrowed.capacity) {
        const size_t capacity = p->narrowed.capacity ? p->narrowed.capacity * 2 : 64;
        at = glmq_realloc(p->narrowed.at, capacity * sizeof *at);
        if (!at) return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
        p->narrowed.at = at;
        p->narrowed.capacity = capacity;
    }
    at = &p->narrowed.at[p->narrowed.count++];
    *at = (glmq_narrowed){ t->name, glmq_dtype_name(glmq_encoding_dtype(from)),
                           glmq_dtype_name(glmq_encoding_dtype(to)) };
    return GLMQ_OK;
}

static glmq_status judge_all(glmq_plan *p, glmq_error *err)
{
    for (size_t i = 0; i < p->items.count; i++) GLMQ_TRY(judge(p, &p->items.at[i], err));
    if (p->options.deep || p->options.transcode == GLMQ_TRANSCODE_REQUIRE)
        GLMQ_TRY(glmq_plan_settle(p, err));
    for (size_t i = 0; i < p->items.count; i++) GLMQ_TRY(note_narrowed(p, &p->items.at[i], err));
    return GLMQ_OK;
}

/* --transcode=require: refuses before anything is written, naming the first. */
static glmq_status check_required(const glmq_plan *p, glmq_error *err)
{
    enum { NAMED = 3 };
    char list[768] = "";
    size_t n = 0, len = 0;
    if (p->options.transcode != GLMQ_TRANSCODE_REQUIRE) return GLMQ_OK;
    for (size_t i = 0; i < p->items.count; i++) {
        const glmq_item *it = &p->items.at[i];
        if (it->travel != GLMQ_RECODE || n++ >= NAMED || len >= sizeof list) continue;
        len += (size_t)snprintf(list + len, sizeof list - len, "%s%s (%s)", len ? "; " : "",
                                p->graph->tensors[it->tensor].name,
                                it->reason ? it->reason : "other values");
    }
    if (n == 0) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_INEXACT,
                     "--transcode=require: %zu of %zu tensors would be recoded: %s%s", n,
                     p->items.count, list, n > NAMED ? "; …" : "");
}

/* ---- counting ---- */

static int descending(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x > y ? -1 : x < y;
}

/* The `jobs` largest items at once, on top of what the run always needs. */
static glmq_status count_peak(glmq_plan *p, glmq_error *err)
{
    const uint64_t base = glmq_run_base_bytes(p);
    const uint64_t room = p->options.memory > base ? p->options.memory - base : 0;
    uint64_t sum = 0;
    uint64_t *peaks = glmq_alloc((p->items.count ? p->items.count : 1) * sizeof *peaks);
    if (!peaks) return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    for (size_t i = 0; i < p->items.count; i++) peaks[i] = p->items.at[i].peak;
    qsort(peaks, p->items.count, sizeof *peaks, descending);
    for (size_t i = 0; i < p->items.count && i < (size_t)p->options.jobs; i++) {
        if (add_u64(sum, peaks[i], &sum)) sum = UINT64_MAX;
        if (sum > room) sum = i ? room : sum;
    }
    glmq_free(peaks);
    if (add_u64(base, sum, &p->peak_bytes)) p->peak_bytes = UINT64_MAX;
    return GLMQ_OK;
}

static glmq_status check_peaks(glmq_plan *p, glmq_error *err)
{
    const uint64_t base = glmq_run_base_bytes(p);
    for (size_t i = 0; i < p->items.count; i++) {
        glmq_item *it = &p->items.at[i];
        uint64_t need;
        it->peak = glmq_move_peak(p, it);
        if (add_u64(it->peak, base, &need)) need = UINT64_MAX;
        if (need > p->options.memory)
            return glmq_fail(err, GLMQ_E_ARG,
                             "%s: needs %" PRIu64 " bytes of memory, --memory allows %" PRIu64,
                             p->graph->tensors[it->tensor].name, need, p->options.memory);
    }
    return count_peak(p, err);
}

static glmq_status count_bytes(glmq_plan *p, glmq_error *err)
{
    int over = 0;
    for (size_t i = 0; i < p->items.count; i++)
        over |= add_u64(p->read_bytes, glmq_tensor_bytes(&p->graph->tensors[p->items.at[i].tensor]),
                        &p->read_bytes);
    for (size_t i = 0; i < p->copies.count; i++)
        over |= add_u64(p->read_bytes, p->copies.at[i].bytes, &p->read_bytes);
    for (size_t i = 0; i < glmq_plan_file_count(p); i++)
        over |= add_u64(p->write_bytes, glmq_plan_file_bytes(p, i), &p->write_bytes);
    return over ? glmq_fail(err, GLMQ_E_LIMIT, "sizes overflow 64 bits") : GLMQ_OK;
}

/* ---- digest ---- */

/* The canonical text goes into the hash line by line. */
static void line(glmq_hash *h, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void line(glmq_hash *h, const char *format, ...)
{
    char text[2048];
    va_list args;
    int n;
    va_start(args, format);
    n = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (n > 0) glmq_hash_add(h, text, (size_t)n < sizeof text ? (size_t)n : sizeof text - 1);
    glmq_hash_add(h, "\n", 1);
}

static void line_data(glmq_hash *h, const char *name, const void *data, size_t len)
{
    const glmq_digest d = glmq_hash_of(data, len);
    char hex[33];
    glmq_digest_hex(&d, hex);
    line(h, "%s %zu %s", name, len, hex);
}

/* Everything of a file before its first array: its header. */
static glmq_status digest_headers(const glmq_plan *p, glmq_hash *h, glmq_error *err)
{
    const glmq_catalog *cat = p->graph->catalog;
    const glmq_source *src = p->graph->source;
    uint8_t *buf = glmq_alloc(1 << 16);
    glmq_status st = buf ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    for (size_t i = 0; cat && i < cat->count && !st; i++) {
        const glmq_array *a = &cat->arrays[i];
        if (i && cat->arrays[i - 1].file == a->file) continue;
        for (uint64_t at = 0; at < a->offset && !st;) {
            const uint64_t left = a->offset - at;
            const size_t n = left < 1 << 16 ? (size_t)left : 1 << 16;
            st = glmq_source_read(src, a->file, at, buf, n, err);
            if (!st) glmq_hash_add(h, buf, n);
            at += n;
        }
    }
    glmq_free(buf);
    return st;
}

static void digest_source(const glmq_plan *p, glmq_hash *h)
{
    const glmq_source *src = p->graph->source;
    line(h, "glmq plan 1 %s", GLMQ_VERSION);
    for (size_t i = 0; i < glmq_source_count(src); i++)
        line(h, "source %s %" PRIu64 " %" PRId64, glmq_source_name(src, i),
             glmq_source_size(src, i), glmq_source_stamp(src, i));
    if (p->graph->tables[0]) line(h, "tables %s", p->graph->tables); /* may lie elsewhere */
    line(h, "options %s %d %d %d %d", p->target.text, (int)p->options.transcode,
         (int)p->options.mtp, (int)p->options.mla, p->options.unpermute);
}

static void digest_files(const glmq_plan *p, glmq_hash *h)
{
    for (size_t i = 0; i < p->files.count; i++) {
        const glmq_plan_file *f = &p->files.at[i];
        line(h, "file %d %" PRIu64, (int)f->kind, f->bytes);
        line_data(h, f->name, f->header, (size_t)f->header_bytes);
    }
    for (size_t i = 0; i < p->texts.count; i++)
        line_data(h, p->texts.at[i].name, p->texts.at[i].data, p->texts.at[i].len);
    for (size_t i = 0; i < p->copies.count; i++)
        line(h, "copy %u %s", p->copies.at[i].file, p->copies.at[i].name);
    for (size_t i = 0; i < p->dropped.count; i++)
        line(h, "drop %s %s", p->dropped.at[i].name, p->dropped.at[i].reason);
}

static void digest_items(const glmq_plan *p, glmq_hash *h)
{
    char from[160], to[160];
    for (size_t i = 0; i < p->items.count; i++) {
        const glmq_item *it = &p->items.at[i];
        const glmq_tensor *t = &p->graph->tensors[it->tensor];
        glmq_encoding_print(&t->part[0].enc, from, sizeof from);
        glmq_encoding_print(&it->part[0].enc, to, sizeof to);
        line(h, "item %s %s %s %s %s", t->name, from, to, it->rule ? it->rule : "",
             it->reason ? it->reason : "");
        if (it->row_perm) line_data(h, "rows", it->row_perm, t->rows * sizeof *it->row_perm);
        if (it->col_perm) line_data(h, "cols", it->col_perm, t->cols * sizeof *it->col_perm);
    }
    for (size_t i = 0; i < p->pieces.count; i++) {
        const glmq_piece *c = &p->pieces.at[i];
        line(h, "piece %u %u %u %" PRIu64 " %" PRIu64, c->item, c->slot, c->file, c->offset,
             c->bytes);
    }
}

static glmq_status take_digest(glmq_plan *p, glmq_error *err)
{
    glmq_status st;
    glmq_digest d;
    glmq_hash *h = glmq_hash_new();
    if (!h) return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    digest_source(p, h);
    digest_files(p, h);
    digest_items(p, h);
    st = digest_headers(p, h, err);
    d = glmq_hash_get(h);
    glmq_digest_hex(&d, p->digest);
    glmq_hash_free(h);
    return st;
}

/* ---- open ---- */

static glmq_status make(glmq_plan *p, const char *dst, glmq_error *err)
{
    const glmq_writer *w = p->target.writer;
    GLMQ_TRY(set_destination(p, dst, err));
    if (p->options.unpermute) GLMQ_TRY(glmq_plan_unpermute(p, err));
    GLMQ_TRY(check_layer_experts(p, err));
    GLMQ_TRY(choose(p, err));
    if (w->fit) GLMQ_TRY(w->fit(p, err));
    GLMQ_TRY(w->plan(p, err));
    GLMQ_TRY(check_conservation(p, err));
    GLMQ_TRY(glmq_plan_resolve(p, err));
    GLMQ_TRY(check_peaks(p, err));
    GLMQ_TRY(judge_all(p, err));
    GLMQ_TRY(check_required(p, err));
    GLMQ_TRY(count_bytes(p, err));
    if (p->dst_is_file && (p->files.count != 1 || p->texts.count || p->copies.count))
        return glmq_fail(err, GLMQ_E_ARG, "%s: a single file was asked for, %zu are needed", p->dst,
                         glmq_plan_file_count(p));
    return take_digest(p, err);
}

glmq_status glmq_plan_open(glmq_plan **out, const glmq_graph *g, const glmq_recipe *r,
                           const char *dst, const glmq_plan_options *opt, glmq_error *err)
{
    glmq_status st;
    glmq_plan *p = glmq_alloc_zero(1, sizeof *p);
    *out = NULL;
    if (!p) return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    p->graph = p->original = g;
    p->recipe = r;
    p->target = *glmq_recipe_target(r);
    fill_options(p, opt);
    st = make(p, dst, err);
    if (st) {
        glmq_plan_close(p);
        return st;
    }
    *out = p;
    return GLMQ_OK;
}

void glmq_plan_close(glmq_plan *p)
{
    if (!p) return;
    glmq_free(p->files.at);
    glmq_free(p->arrays.at);
    glmq_free(p->items.at);
    glmq_free(p->pieces.at);
    glmq_free(p->texts.at);
    glmq_free(p->copies.at);
    glmq_free(p->dropped.at);
    glmq_free(p->narrowed.at);
    glmq_strmap_free(&p->strings);
    glmq_strmap_free(&p->names);
    glmq_arena_free(&p->arena);
    glmq_free(p);
}

/* ---- looking ---- */

/* Files with tensors, then texts, then side files. */
size_t glmq_plan_file_count(const glmq_plan *p)
{
    return p->files.count + p->texts.count + p->copies.count;
}

const char *glmq_plan_file_name(const glmq_plan *p, size_t i)
{
    if (i < p->files.count) return p->files.at[i].name;
    i -= p->files.count;
    if (i < p->texts.count) return p->texts.at[i].name;
    i -= p->texts.count;
    return i < p->copies.count ? p->copies.at[i].name : NULL;
}

uint64_t glmq_plan_file_bytes(const glmq_plan *p, size_t i)
{
    if (i < p->files.count) return p->files.at[i].bytes;
    i -= p->files.count;
    if (i < p->texts.count) return p->texts.at[i].len;
    i -= p->texts.count;
    return i < p->copies.count ? p->copies.at[i].bytes : 0;
}

uint64_t glmq_plan_write_bytes(const glmq_plan *p)
{
    return p->write_bytes;
}

uint64_t glmq_plan_read_bytes(const glmq_plan *p)
{
    return p->read_bytes;
}

uint64_t glmq_plan_peak_bytes(const glmq_plan *p)
{
    return p->peak_bytes;
}

const char *glmq_plan_digest(const glmq_plan *p)
{
    return p->digest;
}
