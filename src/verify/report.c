/* Collecting a comparison, and telling it as text or JSON. */
#include "report.h"
#include "base/error.h"
#include "base/mem.h"
#include "glmq/glmq.h"
#include "io/out.h"
#include "print.h"
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const char *const level_names[] = { "bytes", "codes", "values" };

/* ---- collecting ---- */

/* "f16" or, for a tensor in two encodings, "f32+q8_0". */
static char *encoding_text(glmq_report *r, const glmq_tensor *t)
{
    char text[256] = "";
    size_t n = 0;

    if (t) n = glmq_encoding_print(&t->part[0].enc, text, sizeof text);
    if (t && t->parts > 1 && n + 1 < sizeof text &&
        !glmq_encoding_equal(&t->part[0].enc, &t->part[1].enc)) {
        text[n++] = '+';
        glmq_encoding_print(&t->part[1].enc, text + n, sizeof text - n);
    }
    return glmq_arena_strdup(&r->arena, text);
}

static glmq_report_role *role_of(glmq_report *r, glmq_role role, const char *from, const char *to)
{
    for (size_t i = 0; i < r->role_count; i++) {
        glmq_report_role *x = &r->roles[i];
        if (x->role == role && strcmp(x->from, from) == 0 && strcmp(x->to, to) == 0) return x;
    }
    if (r->role_count == r->role_capacity) {
        const size_t capacity = r->role_capacity ? 2 * r->role_capacity : 64;
        glmq_report_role *grown = glmq_realloc(r->roles, capacity * sizeof *grown);
        if (!grown) return NULL;
        r->roles = grown;
        r->role_capacity = capacity;
    }
    r->roles[r->role_count] =
        (glmq_report_role){ .role = role, .from = from, .to = to, .min_cosine = 1 };
    return &r->roles[r->role_count++];
}

static void add_to_role(glmq_report_role *role, const glmq_difference *d)
{
    role->tensors++;
    role->exact += d->exact ? 1 : 0;
    if (!d->compared) return;
    if (d->rmse > role->max_rmse) role->max_rmse = d->rmse;
    if (d->relative_rmse > role->max_relative) role->max_relative = d->relative_rmse;
    if (d->max_abs > role->max_abs) role->max_abs = d->max_abs;
    if (d->cosine < role->min_cosine) role->min_cosine = d->cosine;
}

static glmq_report_row *new_row(glmq_report *r)
{
    if (r->count == r->capacity) {
        const size_t capacity = r->capacity ? 2 * r->capacity : 256;
        glmq_report_row *grown = glmq_realloc(r->rows, capacity * sizeof *grown);
        if (!grown) return NULL;
        r->rows = grown;
        r->capacity = capacity;
    }
    r->rows[r->count] = (glmq_report_row){ 0 };
    return &r->rows[r->count++];
}

void glmq_report_add(void *user, const glmq_difference *d)
{
    glmq_report *r = user;
    const glmq_tensor *t = d->a ? d->a : d->b;
    glmq_report_row *row = r->failed ? NULL : new_row(r);

    r->failed = 1; /* until everything below went well */
    if (!row) return;
    row->d = *d;
    row->from = encoding_text(r, d->a);
    row->to = encoding_text(r, d->b);
    if (d->note) row->d.note = glmq_arena_strdup(&r->arena, d->note);
    if (!row->from || !row->to || (d->note && !row->d.note)) return;
    if (!d->missing && !d->extra) {
        glmq_report_role *role = role_of(r, t ? t->role : GLMQ_ROLE_OTHER, row->from, row->to);
        if (!role) return;
        add_to_role(role, d);
    }
    if (r->max_rmse_allowed >= 0 && d->compared && !d->exact &&
        (!(d->rmse <= r->max_rmse_allowed) || d->nonfinite_a != d->nonfinite_b))
        r->over++;
    r->failed = 0;
}

void glmq_report_free(glmq_report *r)
{
    glmq_free(r->rows);
    glmq_free(r->roles);
    glmq_arena_free(&r->arena);
    *r = (glmq_report){ 0 };
}

int glmq_report_passes(const glmq_report *r)
{
    const glmq_verify_result *t = &r->total;
    const uint64_t uncompared = t->tensors - t->missing - t->extra;
    uint64_t rows = 0;

    if (t->missing || t->extra) return 0;
    if (r->max_rmse_allowed < 0) return t->differ == 0;
    for (size_t i = 0; i < r->count; i++) rows += r->rows[i].d.compared ? 1 : 0;
    return r->over == 0 && rows == uncompared; /* unlike shapes pass no threshold */
}

/* ---- text ---- */

static void number_cell(glmq_table *t, double x)
{
    if (isinf(x))
        glmq_cell(t, "%s", x > 0 ? "inf" : "-inf");
    else
        glmq_cell(t, "%.3g", x);
}

static const char *or_dash(const char *s)
{
    return s[0] ? s : "-";
}

/* Stored bytes are the same or not: they have no errors to sum. */
static int has_errors(const glmq_report *r)
{
    return r->level != GLMQ_VERIFY_BYTES;
}

static int print_roles(const glmq_report *r, FILE *out)
{
    static const char *const heads[] = { "role",     "from",     "to",      "tensors",   "exact",
                                         "max rmse", "relative", "max abs", "min cosine" };
    const size_t columns = has_errors(r) ? GLMQ_COUNT(heads) : 5;
    glmq_table t = { .align = has_errors(r) ? "lllrrrrrr" : "lllrr" };

    for (size_t i = 0; i < columns; i++) glmq_cell(&t, "%s", heads[i]);
    for (size_t i = 0; i < r->role_count; i++) {
        const glmq_report_role *x = &r->roles[i];
        glmq_cell(&t, "%s", glmq_role_name(x->role));
        glmq_cell_text(&t, or_dash(x->from));
        glmq_cell_text(&t, or_dash(x->to));
        glmq_cell(&t, "%" PRIu64, x->tensors);
        glmq_cell(&t, "%" PRIu64, x->exact);
        if (!has_errors(r)) continue;
        number_cell(&t, x->max_rmse);
        number_cell(&t, x->max_relative);
        number_cell(&t, x->max_abs);
        glmq_cell(&t, "%.6f", x->min_cosine);
    }
    return glmq_table_print(&t, 0, out);
}

/* Worst first: what could not be compared, then by relative error; ties by name. */
static int by_error(const void *x, const void *y)
{
    const glmq_difference *a = &(*(const glmq_report_row *const *)x)->d;
    const glmq_difference *b = &(*(const glmq_report_row *const *)y)->d;

    if (a->compared != b->compared) return a->compared - b->compared;
    if (a->relative_rmse > b->relative_rmse) return -1;
    if (a->relative_rmse < b->relative_rmse) return 1;
    return strcmp(a->name, b->name);
}

static const char *row_note(const glmq_difference *d)
{
    if (d->missing) return "missing";
    if (d->extra) return "extra";
    return d->note ? d->note : "";
}

static void print_row(glmq_table *t, const glmq_report *r, const glmq_report_row *row)
{
    const glmq_difference *d = &row->d;

    glmq_cell_text(t, d->name);
    if (!has_errors(r)) {
        glmq_cell_text(t, row_note(d));
        return;
    }
    if (d->compared && !d->missing && !d->extra) {
        number_cell(t, d->rmse);
        number_cell(t, d->relative_rmse);
        number_cell(t, d->max_abs);
        glmq_cell(t, "%.6f", d->cosine);
        number_cell(t, d->snr_db);
    } else {
        for (int i = 0; i < 5; i++) glmq_cell(t, "-");
    }
    glmq_cell_text(t, row_note(d));
}

enum { WORST_SHOWN = 10 };

static int print_rows(const glmq_report *r, int all, FILE *out)
{
    static const char *const heads[] = { "tensor", "rmse",   "relative", "max abs",
                                         "cosine", "snr dB", "note" };
    glmq_table t = { .align = has_errors(r) ? "lrrrrrl" : "ll" };
    const glmq_report_row **list = glmq_alloc(r->count * sizeof *list + 1);
    size_t n = 0;

    if (!list) return -1;
    for (size_t i = 0; i < r->count; i++)
        if (all || !r->rows[i].d.exact) list[n++] = &r->rows[i];
    if (!all) qsort(list, n, sizeof *list, by_error);
    const size_t shown = all || n < WORST_SHOWN ? n : WORST_SHOWN;
    for (size_t i = 0; i < GLMQ_COUNT(heads); i++)
        if (has_errors(r) || !i || i + 1 == GLMQ_COUNT(heads)) glmq_cell(&t, "%s", heads[i]);
    for (size_t i = 0; i < shown; i++) print_row(&t, r, list[i]);
    glmq_free(list);
    if (!n) {
        glmq_text_free(&t.cells);
        return 0;
    }
    fputc('\n', out);
    const int failed = glmq_table_print(&t, 0, out);
    if (n > shown) fprintf(out, "and %zu more\n", n - shown);
    return failed;
}

static void print_total(const glmq_report *r, FILE *out)
{
    const glmq_verify_result *t = &r->total;

    fprintf(out,
            "\n%" PRIu64 " %s: %" PRIu64 " exact, %" PRIu64 " differ, %" PRIu64 " missing, %" PRIu64
            " extra\n",
            t->tensors, r->level == GLMQ_VERIFY_BYTES ? "arrays" : "tensors", t->exact, t->differ,
            t->missing, t->extra);
    if (r->max_rmse_allowed >= 0)
        fprintf(out, "%" PRIu64 " over --max-rmse %.9g\n", r->over, r->max_rmse_allowed);
    if (r->level == GLMQ_VERIFY_VALUES)
        fprintf(out, "source  %s\nresult  %s\n", t->digest_a, t->digest_b);
    if (t->exact == t->tensors)
        fprintf(out, "not one %s differs\n", r->level == GLMQ_VERIFY_BYTES ? "byte" : "weight");
}

int glmq_report_text(const glmq_report *r, int all, FILE *out)
{
    if (r->failed || print_roles(r, out) || print_rows(r, all, out)) return -1;
    print_total(r, out);
    return ferror(out) ? -1 : 0;
}

/* ---- JSON ---- */

static void json_statistics(glmq_json_out *j, const glmq_difference *d)
{
    glmq_json_real(j, "rmse", d->rmse);
    glmq_json_real(j, "relative_rmse", d->relative_rmse);
    glmq_json_real(j, "max_abs", d->max_abs);
    glmq_json_uint(j, "max_index", d->max_index);
    glmq_json_real(j, "cosine", d->cosine);
    glmq_json_real(j, "snr_db", d->snr_db);
    if (d->nonfinite_a || d->nonfinite_b) {
        glmq_json_uint(j, "source_nonfinite", d->nonfinite_a);
        glmq_json_uint(j, "result_nonfinite", d->nonfinite_b);
    }
}

static void json_row(glmq_json_out *j, const glmq_report *r, const glmq_report_row *row)
{
    const glmq_difference *d = &row->d;
    const glmq_tensor *t = d->a ? d->a : d->b;

    glmq_json_begin(j, NULL, '{');
    glmq_json_str(j, "name", d->name);
    glmq_json_str(j, "role", t ? glmq_role_name(t->role) : NULL);
    glmq_json_str(j, "from", row->from[0] ? row->from : NULL);
    glmq_json_str(j, "to", row->to[0] ? row->to : NULL);
    glmq_json_bool(j, "exact", d->exact);
    if (d->missing || d->extra) glmq_json_bool(j, d->missing ? "missing" : "extra", 1);
    if (d->compared && r->level != GLMQ_VERIFY_BYTES) json_statistics(j, d);
    if (d->digest_a[0]) {
        glmq_json_str(j, "source_digest", d->digest_a);
        glmq_json_str(j, "result_digest", d->digest_b);
    }
    if (d->note) glmq_json_str(j, "note", d->note);
    glmq_json_end(j);
}

static void json_role(glmq_json_out *j, const glmq_report_role *x)
{
    glmq_json_begin(j, NULL, '{');
    glmq_json_str(j, "role", glmq_role_name(x->role));
    glmq_json_str(j, "from", x->from);
    glmq_json_str(j, "to", x->to);
    glmq_json_uint(j, "tensors", x->tensors);
    glmq_json_uint(j, "exact", x->exact);
    glmq_json_real(j, "max_rmse", x->max_rmse);
    glmq_json_real(j, "max_relative_rmse", x->max_relative);
    glmq_json_real(j, "max_abs", x->max_abs);
    glmq_json_real(j, "min_cosine", x->min_cosine);
    glmq_json_end(j);
}

static void json_total(glmq_json_out *j, const glmq_report *r)
{
    const glmq_verify_result *t = &r->total;

    glmq_json_str(j, "source", r->source);
    glmq_json_str(j, "result", r->result);
    glmq_json_str(j, "level", level_names[r->level]);
    glmq_json_bool(j, "passed", glmq_report_passes(r));
    glmq_json_uint(j, "tensors", t->tensors);
    glmq_json_uint(j, "exact", t->exact);
    glmq_json_uint(j, "differ", t->differ);
    glmq_json_uint(j, "missing", t->missing);
    glmq_json_uint(j, "extra", t->extra);
    glmq_json_real(j, "max_rmse", t->max_rmse);
    glmq_json_real(j, "max_abs", t->max_abs);
    glmq_json_real(j, "min_cosine", t->min_cosine);
    glmq_json_real(j, "max_rmse_allowed", r->max_rmse_allowed < 0 ? NAN : r->max_rmse_allowed);
    glmq_json_str(j, "source_digest", t->digest_a[0] ? t->digest_a : NULL);
    glmq_json_str(j, "result_digest", t->digest_b[0] ? t->digest_b : NULL);
}

int glmq_report_json_members(const glmq_report *r, glmq_json_out *j)
{
    if (r->failed) return -1;
    json_total(j, r);
    glmq_json_begin(j, "roles", '[');
    for (size_t i = 0; i < r->role_count; i++) json_role(j, &r->roles[i]);
    glmq_json_end(j);
    glmq_json_begin(j, "results", '[');
    for (size_t i = 0; i < r->count; i++) json_row(j, r, &r->rows[i]);
    glmq_json_end(j);
    return 0;
}

int glmq_report_json(const glmq_report *r, FILE *out)
{
    glmq_json_out j = { .file = out };

    glmq_json_begin(&j, NULL, '{');
    glmq_json_str(&j, "glmq", glmq_version());
    const int failed = glmq_report_json_members(r, &j);
    glmq_json_end(&j);
    return glmq_json_close(&j) || failed ? -1 : 0;
}

glmq_status glmq_report_save(const glmq_report *r, const char *path, int html, glmq_error *err)
{
    char *text = NULL;
    size_t len = 0;
    FILE *f = open_memstream(&text, &len);
    int failed = !f;

    if (f) failed = html ? glmq_report_html(r, f) : glmq_report_json(r, f);
    if (f && fclose(f)) failed = 1;
    const glmq_status st = failed ? glmq_fail(err, GLMQ_E_NOMEM, "%s: the report", path)
                                  : glmq_out_file(path, text, len, err);
    free(text);
    return st;
}
