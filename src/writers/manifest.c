/* The manifest is rendered twice: once to count its bytes, once to write them, so that its
 * file is reserved like every other and a large model's manifest is never held in memory. */
#include "writers/manifest.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "glmq/glmq.h"
#include "io/out.h"
#include "models/roles.h"
#include "writers/writer.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FLUSH_BYTES = 64 * 1024 };

typedef struct sink {
    glmq_text text;
    glmq_out *file; /* NULL: only count */
    uint64_t bytes;
    glmq_status status;
    glmq_error *err;
} sink;

static void flush(sink *s)
{
    if (!s->status && s->text.failed) s->status = glmq_fail(s->err, GLMQ_E_NOMEM, "the manifest");
    if (!s->status && s->file && s->text.len)
        s->status = glmq_out_write(s->file, s->bytes, s->text.data, s->text.len, s->err);
    s->bytes += s->text.len;
    s->text.len = 0;
}

static void flush_if_long(sink *s)
{
    if (s->text.len >= FLUSH_BYTES) flush(s);
}

/* ---- values ---- */

static void add_string(sink *s, const char *key, const char *value)
{
    glmq_text_printf(&s->text, "\"%s\":", key);
    if (value)
        glmq_json_quote(&s->text, value, strlen(value));
    else
        glmq_text_add(&s->text, "null");
}

static void add_digest(sink *s, const char *key, const glmq_digest *d)
{
    char hex[33];
    glmq_digest_hex(d, hex);
    glmq_text_printf(&s->text, "\"%s\":\"%s\"", key, hex);
}

/* The shortest text that reads back the same; null for what JSON cannot say. */
static void add_number(sink *s, const char *key, double d)
{
    char text[40];
    int digits = 15;
    if (!isfinite(d)) {
        glmq_text_printf(&s->text, "\"%s\":null", key);
        return;
    }
    do snprintf(text, sizeof text, "%.*g", digits, d);
    while (digits++ < 17 && strtod(text, NULL) != d);
    glmq_text_printf(&s->text, "\"%s\":%s", key, text);
}

static void add_order(sink *s, const char *key, const int32_t *order, uint64_t n)
{
    if (!order) return;
    glmq_text_printf(&s->text, ",\"%s\":[", key);
    for (uint64_t i = 0; i < n; i++) {
        glmq_text_printf(&s->text, "%s%d", i ? "," : "", order[i]);
        flush_if_long(s);
    }
    glmq_text_add(&s->text, "]");
}

/* ---- tensors ---- */

static void add_encodings(sink *s, const char *key, const glmq_part *part, uint8_t n)
{
    char text[2 * 160 + 2];
    size_t len = glmq_encoding_print(&part[0].enc, text, 160);
    if (n > 1 && !glmq_encoding_equal(&part[0].enc, &part[1].enc)) {
        text[len++] = '+';
        glmq_encoding_print(&part[1].enc, text + len, 160);
    }
    add_string(s, key, text);
}

static void add_pieces(sink *s, const glmq_plan *p, const glmq_item *it, const glmq_results *r)
{
    glmq_text_add(&s->text, ",\"pieces\":[");
    for (uint32_t k = 0; k < it->pieces; k++) {
        const glmq_piece *c = &p->pieces.at[it->piece + k];
        glmq_text_add(&s->text, k ? ",{" : "{");
        add_string(s, "array", p->arrays.at[c->array].name);
        glmq_text_add(&s->text, ",");
        add_string(s, "file", p->files.at[c->file].name);
        glmq_text_printf(&s->text, ",\"offset\":%" PRIu64 ",\"bytes\":%" PRIu64 ",", c->offset,
                         c->bytes);
        add_digest(s, "xxh3", &r->piece[it->piece + k]);
        glmq_text_add(&s->text, "}");
    }
    glmq_text_add(&s->text, "]");
}

/* What a "same-codes?" hung on is of no interest once it is settled. */
static const char *reason_of(const glmq_plan *p, const glmq_item *it, const glmq_done *d)
{
    if (d->reason) return d->reason;
    return it->travel == GLMQ_MAYBE_CODES ? p->want[it->tensor].reason : it->reason;
}

static void add_tensor(sink *s, const glmq_plan *p, size_t i, const glmq_results *r)
{
    const glmq_item *it = &p->items.at[i];
    const glmq_tensor *t = &p->graph->tensors[it->tensor];
    const glmq_done *d = &r->done[i];
    glmq_text_add(&s->text, i ? ",\n{" : "\n{");
    add_string(s, "name", t->name);
    glmq_text_add(&s->text, ",");
    add_string(s, "role", glmq_role_name(t->role));
    glmq_text_add(&s->text, ",");
    add_encodings(s, "from", t->part, t->parts);
    glmq_text_add(&s->text, ",");
    add_encodings(s, "to", it->part, it->parts);
    glmq_text_add(&s->text, ",");
    add_string(s, "travel", glmq_travel_name((glmq_travel)d->travel));
    glmq_text_add(&s->text, ",");
    add_string(s, "reason", reason_of(p, it, d));
    glmq_text_add(&s->text, ",");
    add_string(s, "rule", it->rule);
    glmq_text_add(&s->text, ",");
    add_digest(s, "source_digest", &d->source);
    glmq_text_add(&s->text, ",");
    add_digest(s, "result_digest", &d->result);
    glmq_text_add(&s->text, ",");
    add_number(s, "rmse", d->rmse);
    glmq_text_add(&s->text, ",");
    add_number(s, "max_abs", d->max_abs);
    glmq_text_add(&s->text, ",");
    add_number(s, "snr_db", d->snr_db);
    add_order(s, "row_permutation", it->row_perm, t->rows);
    add_order(s, "column_permutation", it->col_perm, t->cols);
    add_pieces(s, p, it, r);
    glmq_text_add(&s->text, "}");
    flush_if_long(s);
}

/* ---- the rest ---- */

static void add_options(sink *s, const glmq_plan *p)
{
    static const char *const transcode[] = { "auto", "require", "never" };
    static const char *const mtp[] = { "keep", "drop", "require" };
    static const char *const mla[] = { "split", "fused" };
    glmq_text_add(&s->text, "\"options\":{");
    add_string(s, "to", p->target.text);
    glmq_text_add(&s->text, ",");
    add_string(s, "transcode", transcode[p->options.transcode]);
    glmq_text_add(&s->text, ",");
    add_string(s, "mtp", mtp[p->options.mtp]);
    glmq_text_add(&s->text, ",");
    add_string(s, "mla", mla[p->options.mla]);
    glmq_text_printf(&s->text, ",\"unpermute\":%s,\"shard_size\":%" PRIu64 "},\n",
                     p->options.unpermute ? "true" : "false", p->options.shard_size);
}

/* How many tensors travelled in which way. */
static void add_travels(sink *s, const glmq_plan *p, const glmq_results *r)
{
    uint64_t count[GLMQ_RECODE + 1] = { 0 };
    for (size_t i = 0; i < p->items.count; i++) count[r->done[i].travel]++;
    glmq_text_add(&s->text, ",\"travel\":{");
    for (int t = 0, any = 0; t <= GLMQ_RECODE; t++)
        if (t != GLMQ_MAYBE_CODES) /* is settled */
            glmq_text_printf(&s->text, "%s\"%s\":%" PRIu64, any++ ? "," : "",
                             glmq_travel_name((glmq_travel)t), count[t]);
    glmq_text_add(&s->text, "}");
}

static void add_head(sink *s, const glmq_plan *p, const glmq_results *r, const char *source,
                     const char *result)
{
    glmq_text_printf(&s->text, "{\"glmq\":\"%s\",\n\"source\":{", GLMQ_VERSION);
    add_string(s, "path", glmq_source_path(p->graph->source));
    glmq_text_add(&s->text, ",");
    add_string(s, "format", glmq_graph_format(p->graph));
    glmq_text_add(&s->text, ",");
    add_string(s, "digest", source);
    glmq_text_add(&s->text, "},\n\"result\":{");
    add_string(s, "format", p->target.writer->name);
    glmq_text_add(&s->text, ",");
    add_string(s, "digest", result);
    glmq_text_printf(&s->text, ",\"tensors\":%zu,\"bytes\":%" PRIu64, p->items.count,
                     p->write_bytes);
    add_travels(s, p, r);
    glmq_text_add(&s->text, "},\n");
    add_string(s, "plan", p->digest);
    glmq_text_add(&s->text, ",\n");
    add_options(s, p);
}

static void add_files(sink *s, const glmq_plan *p, const glmq_digest *file)
{
    glmq_text_add(&s->text, "],\n\"files\":[");
    for (size_t i = 0; i < glmq_plan_file_count(p); i++) {
        glmq_text_add(&s->text, i ? ",\n{" : "\n{");
        add_string(s, "file", glmq_plan_file_name(p, i));
        glmq_text_printf(&s->text, ",\"bytes\":%" PRIu64 ",", glmq_plan_file_bytes(p, i));
        add_digest(s, "xxh3", &file[i]);
        glmq_text_add(&s->text, "}");
        flush_if_long(s);
    }
}

static void add_dropped(sink *s, const glmq_dropped *d, int *any)
{
    glmq_text_add(&s->text, (*any)++ ? ",\n{" : "\n{");
    add_string(s, "name", d->name);
    glmq_text_add(&s->text, ",");
    add_string(s, "reason", d->reason);
    glmq_text_add(&s->text, "}");
    flush_if_long(s);
}

/* Arrays that the graph left behind, then tensors that the plan did. */
static void add_all_dropped(sink *s, const glmq_plan *p)
{
    int any = 0;
    glmq_text_add(&s->text, "],\n\"dropped\":[");
    for (size_t i = 0; i < glmq_graph_dropped_count(p->graph); i++)
        add_dropped(s, glmq_graph_dropped(p->graph, i), &any);
    for (size_t i = 0; i < p->dropped.count; i++) add_dropped(s, &p->dropped.at[i], &any);
}

/* Plain floats that did lose bits: those that merely could have are exact, and not here. */
static void add_narrowed(sink *s, const glmq_plan *p, const glmq_results *r)
{
    int any = 0;
    size_t at = 0;
    glmq_text_add(&s->text, "],\n\"narrowed\":[");
    for (size_t i = 0; i < p->items.count && at < p->narrowed.count; i++) {
        const glmq_narrowed *n = &p->narrowed.at[at]; /* in the order of the items */
        if (n->name != p->graph->tensors[p->items.at[i].tensor].name) continue;
        at++;
        if (r->done[i].travel != GLMQ_RECODE) continue;
        glmq_text_add(&s->text, any++ ? ",\n{" : "\n{");
        add_string(s, "name", n->name);
        glmq_text_add(&s->text, ",");
        add_string(s, "from", n->from);
        glmq_text_add(&s->text, ",");
        add_string(s, "to", n->to);
        glmq_text_add(&s->text, ",\"reason\":\"some values need more bits than the target has\"}");
        flush_if_long(s);
    }
    glmq_text_add(&s->text, "]}\n");
}

/* ---- digests ---- */

typedef struct placed {
    uint64_t offset;
    uint32_t file, piece;
} placed;

static int by_place(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

static void digest_files(const glmq_plan *p, const glmq_results *r, const placed *order,
                         glmq_hash *h, glmq_digest *file)
{
    size_t at = 0;
    for (size_t f = 0; f < p->files.count; f++) {
        glmq_hash_reset(h);
        glmq_hash_add(h, p->files.at[f].header, (size_t)p->files.at[f].header_bytes);
        for (; at < p->pieces.count && order[at].file == f; at++)
            glmq_hash_add(h, r->piece[order[at].piece].bytes, sizeof r->piece->bytes);
        file[f] = glmq_hash_get(h);
    }
}

glmq_status glmq_manifest_file_digests(const glmq_plan *p, const glmq_results *r, glmq_digest *file,
                                       glmq_error *err)
{
    glmq_hash *h = glmq_hash_new();
    placed *order = glmq_alloc((p->pieces.count + 1) * sizeof *order);
    glmq_status st = h && order ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "the manifest");
    if (!st) {
        for (size_t i = 0; i < p->pieces.count; i++)
            order[i] = (placed){ p->pieces.at[i].offset, p->pieces.at[i].file, (uint32_t)i };
        qsort(order, p->pieces.count, sizeof *order, by_place);
        digest_files(p, r, order, h, file);
    }
    glmq_free(order);
    glmq_hash_free(h);
    return st;
}

glmq_status glmq_manifest_model_digests(const glmq_plan *p, const glmq_results *r, char source[33],
                                        char result[33], glmq_error *err)
{
    glmq_digest d;
    glmq_digest_entry *entries = glmq_alloc((p->items.count + 1) * sizeof *entries);
    if (!entries) return glmq_fail(err, GLMQ_E_NOMEM, "the manifest");
    for (int side = 0; side < 2; side++) {
        size_t n = 0;
        for (size_t i = 0; i < p->items.count; i++) {
            const glmq_tensor *t = &p->graph->tensors[p->items.at[i].tensor];
            if (glmq_role_class_of(t->role) == ROLE_SCALE) continue; /* no weight */
            entries[n].name = t->name;
            glmq_digest_hex(side ? &r->done[i].result : &r->done[i].source, entries[n++].hex);
        }
        d = glmq_digest_model(entries, n);
        glmq_digest_hex(&d, side ? result : source);
    }
    glmq_free(entries);
    return GLMQ_OK;
}

/* ---- writing ---- */

static glmq_status render(sink *s, const glmq_plan *p, const glmq_results *r,
                          const glmq_digest *file, const char *source, const char *result)
{
    s->bytes = 0;
    add_head(s, p, r, source, result);
    glmq_text_add(&s->text, GLMQ_MANIFEST_TENSORS);
    for (size_t i = 0; i < p->items.count && !s->status; i++) add_tensor(s, p, i, r);
    add_files(s, p, file);
    add_all_dropped(s, p);
    add_narrowed(s, p, r);
    flush(s);
    return s->status;
}

glmq_status glmq_manifest_write(const char *path, const glmq_plan *p, const glmq_results *r,
                                const glmq_digest *file, glmq_error *err)
{
    sink s = { .err = err };
    char source[33], result[33];
    glmq_status st = glmq_manifest_model_digests(p, r, source, result, err);
    if (!st) st = render(&s, p, r, file, source, result);
    if (!st) st = glmq_out_open(&s.file, path, s.bytes, err);
    if (!st) st = render(&s, p, r, file, source, result);
    if (!st) st = glmq_out_sync(s.file, err);
    glmq_out_close(s.file);
    glmq_text_free(&s.text);
    return st;
}
