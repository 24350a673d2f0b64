/* An inspection as text: one screen, or the sections that were asked for. */
#include "base/error.h"
#include "base/mem.h"
#include "common.h"
#include "inspect.h"
#include "meaning.h"
#include "models/hparams.h"
#include "readers/catalog.h"
#include "verify/compare.h"
#include "verify/print.h"
#include <inttypes.h>
#include <string.h>

static const char *const severity_colors[] = { "\x1b[36m", "\x1b[33m", "\x1b[31m" };

/* ---- problems ---- */

static void print_problem(const glmq_problem *p, int colored, FILE *out)
{
    fprintf(out, "%s%s%s ", colored ? severity_colors[p->severity] : "",
            glmq_severity_name(p->severity), colored ? "\x1b[0m" : "");
    fprintf(out, "%s: ", p->code);
    if (p->file) {
        glmq_print_text(p->file, out);
        fputs(": ", out);
    }
    if (p->tensor) {
        glmq_print_text(p->tensor, out);
        fputs(": ", out);
    }
    glmq_print_text(p->message, out);
    fputc('\n', out);
}

enum { PROBLEMS_SHOWN = 8 };

/* The worst first, as many as fit a screen. */
static void print_summary_problems(const glmq_inspection *in, FILE *out)
{
    const glmq_graph *g = in->graph;
    const size_t most = in->verbose ? SIZE_MAX : PROBLEMS_SHOWN;
    const size_t count = glmq_graph_problem_count(g);
    size_t shown = 0;

    fprintf(out, "\nproblems      %" PRIu64 " errors, %" PRIu64 " warnings, %" PRIu64 " notes\n",
            in->facts.problems[GLMQ_ERROR], in->facts.problems[GLMQ_WARNING],
            in->facts.problems[GLMQ_NOTE]);
    for (int severity = GLMQ_ERROR; severity >= GLMQ_NOTE; severity--) {
        for (size_t i = 0; i < count && shown < most; i++) {
            const glmq_problem *p = glmq_graph_problem(g, i);
            if ((int)p->severity != severity) continue;
            fputs("  ", out);
            print_problem(p, glmq_may_paint(out), out);
            shown++;
        }
    }
    if (shown < count) fprintf(out, "  and %zu more: see --check or -v\n", count - shown);
}

static int print_check(const glmq_inspection *in, FILE *out, glmq_error *err)
{
    uint64_t by[3] = { 0 };

    (void)err;
    for (size_t i = 0; i < in->check.count; i++) {
        by[in->check.at[i].severity]++;
        print_problem(&in->check.at[i], glmq_may_paint(out), out);
    }
    fprintf(out,
            "%zu tensors checked: %" PRIu64 " errors, %" PRIu64 " warnings, %" PRIu64 " notes\n",
            glmq_graph_count(in->graph), by[GLMQ_ERROR], by[GLMQ_WARNING], by[GLMQ_NOTE]);
    return 0;
}

/* ---- the screen ---- */

static void print_field(const char *name, FILE *out)
{
    fprintf(out, "%-13s ", name);
}

static void print_model(const glmq_inspection *in, FILE *out)
{
    const glmq_graph *g = in->graph;
    const char *class = glmq_graph_architecture(g), *type = glmq_graph_model_type(g);

    print_field("architecture", out);
    if (class)
        glmq_print_text(class, out);
    else
        fputs("unknown: no config", out);
    if (type) {
        fputs(" (", out);
        glmq_print_text(type, out);
        fputc(')', out);
    }
    fputc('\n', out);
    print_field("format", out);
    fprintf(out, "%s\n", glmq_graph_format(g));
}

static void print_structure(const glmq_inspection *in, FILE *out)
{
    const glmq_hparams *h = in->graph->hp;

    if (!h) return;
    print_field("layers", out);
    fprintf(out, "%" PRIu64 " (%" PRIu64 " dense)", h->layers, h->dense_layers);
    if (in->facts.mtp_layers)
        fprintf(out, " + %" PRIu64 " MTP", in->facts.mtp_layers);
    else if (h->mtp_layers)
        fprintf(out, "; the config says %" PRIu64 " MTP, none is stored", h->mtp_layers);
    fputc('\n', out);
    print_field("experts", out);
    fprintf(out, "%" PRIu64 ", %" PRIu64 " per token, %" PRIu64 " shared\n", h->experts,
            h->experts_used, h->shared_experts);
}

static void print_size(const glmq_inspection *in, FILE *out)
{
    const glmq_facts *f = &in->facts;

    print_field("parameters", out);
    fprintf(out, "%s in %" PRIu64 " tensors\n", glmq_count_text(f->parameters).s, f->tensors);
    print_field("size", out);
    fprintf(out, "%s, %.3f bits per weight\n", glmq_bytes_text(f->bytes).s,
            glmq_bits_per_weight((double)f->bytes, f->parameters));
    print_field("files", out);
    fprintf(out, "%zu with tensors\n", in->graph->catalog->shard_count);
    if (glmq_graph_dropped_count(in->graph)) {
        print_field("not used", out);
        fprintf(out, "%zu stored arrays: see --check\n", glmq_graph_dropped_count(in->graph));
    }
}

static int print_rows(const glmq_facts *f, FILE *out)
{
    static const char *const heads[] = { "role",       "encoding", "tensors",
                                         "parameters", "bits",     "bytes" };
    glmq_table t = { .align = "llrrrr" };

    fputc('\n', out);
    for (size_t i = 0; i < GLMQ_COUNT(heads); i++) glmq_cell(&t, "%s", heads[i]);
    for (size_t i = 0; i < f->count; i++) {
        const glmq_fact_row *r = &f->rows[i];
        glmq_cell(&t, "%s", glmq_role_name(r->role));
        glmq_cell_text(&t, r->encoding);
        glmq_cell(&t, "%" PRIu64, r->tensors);
        glmq_cell(&t, "%" PRIu64, r->parameters);
        glmq_cell(&t, "%.3f", glmq_bits_per_weight((double)r->bytes + r->shared, r->parameters));
        glmq_cell(&t, "%" PRIu64, r->bytes);
    }
    return glmq_table_print(&t, 0, out);
}

static int print_summary(const glmq_inspection *in, FILE *out)
{
    print_model(in, out);
    print_structure(in, out);
    print_size(in, out);
    if (print_rows(&in->facts, out)) return -1;
    print_summary_problems(in, out);
    return 0;
}

/* ---- sections ---- */

static void shape_cell(glmq_table *table, const glmq_tensor *t)
{
    if (t->rank == 1)
        glmq_cell(table, "[%" PRIu64 "]", t->rows * t->cols);
    else
        glmq_cell(table, "[%" PRIu64 ", %" PRIu64 "]", t->rows, t->cols);
}

static void tensor_cells(glmq_table *table, const glmq_inspection *in, size_t i)
{
    const glmq_tensor *t = glmq_graph_tensor(in->graph, i);
    char encoding[GLMQ_ENCODING_TEXT];

    glmq_tensor_encoding_text(t, encoding);
    glmq_cell_text(table, t->name);
    glmq_cell(table, "%s", glmq_role_name(t->role));
    shape_cell(table, t);
    glmq_cell_text(table, encoding);
    glmq_cell(table, "%.3f",
              glmq_bits_per_weight((double)glmq_tensor_bytes(t) + glmq_tensor_shared(t),
                                   glmq_tensor_parameters(t)));
    glmq_cell(table, "%" PRIu64, glmq_tensor_bytes(t));
    glmq_cell_text(table, glmq_tensor_shard(in->graph, t));
    if (in->tensor_digests)
        glmq_cell(table, "%s", in->tensor_digests[i][0] ? in->tensor_digests[i] : "-");
}

static int print_tensors(const glmq_inspection *in, FILE *out, glmq_error *err)
{
    static const char *const heads[] = { "tensor", "role",  "shape", "encoding",
                                         "bits",   "bytes", "file" };
    glmq_table table = { .align = in->tensor_digests ? "llllrrll" : "llllrrl" };

    (void)err;
    for (size_t i = 0; i < GLMQ_COUNT(heads); i++) glmq_cell(&table, "%s", heads[i]);
    if (in->tensor_digests) glmq_cell(&table, "digest");
    for (size_t i = 0; i < glmq_graph_count(in->graph); i++) {
        const glmq_tensor *t = glmq_graph_tensor(in->graph, i);
        if (glmq_is_weight(t) && glmq_tensor_matches(t, in->tensors)) tensor_cells(&table, in, i);
    }
    return glmq_table_print(&table, 0, out);
}

static int print_shards(const glmq_inspection *in, FILE *out, glmq_error *err)
{
    const glmq_catalog *cat = in->graph->catalog;
    const glmq_source *src = glmq_graph_source(in->graph);
    glmq_table table = { .align = in->shard_digests ? "lrrl" : "lrr" };

    (void)err;
    glmq_cell(&table, "file");
    glmq_cell(&table, "bytes");
    glmq_cell(&table, "tensors");
    if (in->shard_digests) glmq_cell(&table, "xxh3-128");
    for (size_t i = 0; i < cat->shard_count; i++) {
        glmq_cell_text(&table, glmq_source_name(src, cat->shards[i]));
        glmq_cell(&table, "%" PRIu64, glmq_source_size(src, cat->shards[i]));
        glmq_cell(&table, "%" PRIu64, in->facts.shard_tensors[cat->shards[i]]);
        if (in->shard_digests) glmq_cell(&table, "%s", in->shard_digests[i]);
    }
    return glmq_table_print(&table, 0, out);
}

enum { VALUE_SHOWN = 60 };

/* "key  value  meaning", long values cut. */
static void setting_cells(void *user, const glmq_setting *s)
{
    glmq_table *table = user;
    const size_t len = strlen(s->value);

    glmq_cell_text(table, s->key);
    if (len <= VALUE_SHOWN) {
        glmq_cell_text(table, s->value);
    } else {
        char cut[VALUE_SHOWN + 8];
        size_t n = VALUE_SHOWN;
        while (n && ((unsigned char)s->value[n] & 0xc0) == 0x80) n--; /* not inside a character */
        snprintf(cut, sizeof cut, "%.*s…", (int)n, s->value);
        glmq_cell_text(table, cut);
    }
}

static void config_cells(void *user, const glmq_setting *s)
{
    setting_cells(user, s);
    glmq_cell(user, "%s", s->meaning ? s->meaning : "carried, no meaning to glmq");
}

static void metadata_cells(void *user, const glmq_setting *s)
{
    glmq_cell_text(user, s->file ? s->file : s->type ? s->type : "");
    setting_cells(user, s);
}

static int print_config(const glmq_inspection *in, FILE *out, glmq_error *err)
{
    glmq_table table = { .align = "lll" };
    const glmq_status st = glmq_each_setting(in->graph, config_cells, &table, err);
    return glmq_table_print(&table, 0, out) || st;
}

static int print_metadata(const glmq_inspection *in, FILE *out, glmq_error *err)
{
    glmq_table table = { .align = "lll" };
    const glmq_status st = glmq_each_metadata(in->graph, metadata_cells, &table, err);
    return glmq_table_print(&table, 0, out) || st;
}

/* Lines that hash to the model's digest when they are sorted, then that digest. */
static int print_digests(const glmq_inspection *in, FILE *out, glmq_error *err)
{
    (void)err;
    for (size_t i = 0; i < glmq_graph_count(in->graph); i++) {
        if (!in->tensor_digests[i][0]) continue;
        glmq_print_text(glmq_graph_tensor(in->graph, i)->name, out);
        fprintf(out, "\t%s\n", in->tensor_digests[i]);
    }
    if (in->model_digest[0]) fprintf(out, "model\t%s\n", in->model_digest);
    return 0;
}

static int print_diff(const glmq_inspection *in, FILE *out, glmq_error *err)
{
    (void)err;
    return glmq_report_text(&in->diff, in->verbose, out);
}

/* The sections asked for, a blank line between them. */
static int print_sections(const glmq_inspection *in, FILE *out, int *printed, glmq_error *err)
{
    const struct {
        int asked;
        int (*print)(const glmq_inspection *in, FILE *out, glmq_error *err);
    } sections[] = {
        { in->shards, print_shards },
        { in->config, print_config },
        { in->metadata, print_metadata },
        { in->tensors != NULL, print_tensors },
        { in->tensor_digests && !in->tensors, print_digests },
        { in->checked, print_check },
        { in->diffed, print_diff },
    };
    int failed = 0;

    for (size_t i = 0; i < GLMQ_COUNT(sections) && !failed; i++) {
        if (!sections[i].asked) continue;
        if ((*printed)++) fputc('\n', out);
        failed = sections[i].print(in, out, err);
    }
    return failed;
}

glmq_status glmq_inspection_text(const glmq_inspection *in, FILE *out, glmq_error *err)
{
    int printed = 0;
    int failed = print_sections(in, out, &printed, err);

    if (!printed) failed = print_summary(in, out);
    if (failed) return glmq_fail(err, GLMQ_E_NOMEM, "printing what was found");
    return ferror(out) ? glmq_fail(err, GLMQ_E_IO, "writing failed") : GLMQ_OK;
}

void glmq_inspection_free(glmq_inspection *in)
{
    glmq_facts_close(&in->facts);
    glmq_free(in->tensor_digests);
    glmq_free(in->shard_digests);
    glmq_check_free(&in->check);
    glmq_report_free(&in->diff);
}
