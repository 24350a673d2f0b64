/* A plan as a table, as JSON, as a recipe. */
#include "plan.h"
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "codecs/gptq.h"
#include "glmq/glmq.h"
#include "io/out.h"
#include "verify/print.h"
#include <inttypes.h>
#include <string.h>

void glmq_parts_text(const glmq_part *part, int parts, char *text, size_t cap)
{
    size_t n = glmq_encoding_print(&part[0].enc, text, cap);

    if (parts < 2 || glmq_encoding_equal(&part[0].enc, &part[1].enc) || n + 2 > cap) return;
    text[n++] = '+';
    glmq_encoding_print(&part[1].enc, text + n, cap - n);
}

/* ---- the table by role ---- */

enum { ENC_TEXT = 128 };

typedef struct plan_row {
    glmq_role role;
    char from[ENC_TEXT], to[ENC_TEXT];
    glmq_travel travel;
    const char *reason; /* interned by the plan, or NULL */
    uint64_t tensors, bytes;
} plan_row;

typedef GLMQ_LIST(plan_row) plan_rows;

static const glmq_tensor *tensor_of(const glmq_plan *p, const glmq_item *it)
{
    return &p->graph->tensors[it->tensor];
}

static plan_row row_of(const glmq_plan *p, const glmq_item *it)
{
    const glmq_tensor *t = tensor_of(p, it);
    plan_row row = { .role = t->role,
                     .travel = it->travel,
                     .reason = it->reason,
                     .tensors = 1,
                     .bytes = it->bytes };

    glmq_parts_text(t->part, t->parts, row.from, sizeof row.from);
    glmq_parts_text(it->part, it->parts, row.to, sizeof row.to);
    return row;
}

static int same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static int same_row(const plan_row *a, const plan_row *b)
{
    return a->role == b->role && a->travel == b->travel && strcmp(a->from, b->from) == 0 &&
           strcmp(a->to, b->to) == 0 && same_text(a->reason, b->reason);
}

static int add_row(plan_rows *rows, const plan_row *row)
{
    for (size_t i = 0; i < rows->count; i++) {
        if (!same_row(&rows->at[i], row)) continue;
        rows->at[i].tensors++;
        rows->at[i].bytes += row->bytes;
        return 0;
    }
    if (rows->count == rows->capacity) {
        const size_t capacity = rows->capacity ? 2 * rows->capacity : 64;
        plan_row *grown = glmq_realloc(rows->at, capacity * sizeof *grown);
        if (!grown) return -1;
        rows->at = grown;
        rows->capacity = capacity;
    }
    rows->at[rows->count++] = *row;
    return 0;
}

static void row_cells(glmq_table *t, const char *name, const plan_row *r)
{
    glmq_cell_text(t, name);
    glmq_cell(t, "%s", r->from);
    glmq_cell(t, "%s", r->to);
    glmq_cell(t, "%s", glmq_travel_name(r->travel));
    glmq_cell(t, "%" PRIu64, r->tensors);
    glmq_cell(t, "%" PRIu64, r->bytes);
    glmq_cell_text(t, r->reason ? r->reason : "");
}

static int print_by_role(const glmq_plan *p, glmq_table *t)
{
    plan_rows rows = { 0 };
    int failed = 0;

    for (size_t i = 0; i < p->items.count && !failed; i++) {
        const plan_row row = row_of(p, &p->items.at[i]);
        failed = add_row(&rows, &row);
    }
    for (size_t i = 0; i < rows.count && !failed; i++)
        row_cells(t, glmq_role_name(rows.at[i].role), &rows.at[i]);
    glmq_free(rows.at);
    return failed;
}

static int print_tensors(const glmq_plan *p, int all, FILE *out)
{
    static const char *const heads[] = { "from", "to", "travel", "tensors", "bytes", "why" };
    glmq_table t = { .align = "llllrrl" };
    int failed = 0;

    glmq_cell(&t, all ? "tensor" : "role");
    for (size_t i = 0; i < GLMQ_COUNT(heads); i++) glmq_cell(&t, "%s", heads[i]);
    if (!all) failed = print_by_role(p, &t);
    for (size_t i = 0; all && i < p->items.count; i++) {
        const plan_row row = row_of(p, &p->items.at[i]);
        row_cells(&t, tensor_of(p, &p->items.at[i])->name, &row);
    }
    return glmq_table_print(&t, 0, out) || failed;
}

static int print_files(const glmq_plan *p, FILE *out)
{
    glmq_table t = { .align = "lr" };

    glmq_cell(&t, "file");
    glmq_cell(&t, "bytes");
    for (size_t i = 0; i < glmq_plan_file_count(p); i++) {
        glmq_cell_text(&t, glmq_plan_file_name(p, i));
        glmq_cell(&t, "%" PRIu64, glmq_plan_file_bytes(p, i));
    }
    fputc('\n', out);
    return glmq_table_print(&t, 0, out);
}

enum { LOSSES_SHOWN = 10 };

static void more_cells(glmq_table *t, size_t count, size_t shown, const char *what)
{
    if (count <= shown) return;
    glmq_cell(t, "%s", what);
    glmq_cell(t, "and %zu more", count - shown);
    glmq_cell(t, "%s", "");
}

static int print_losses(const glmq_plan *p, int all, FILE *out)
{
    const size_t most = all ? SIZE_MAX : LOSSES_SHOWN;
    glmq_table t = { .align = "lll" };

    if (!p->dropped.count && !p->narrowed.count) return 0;
    for (size_t i = 0; i < p->dropped.count && i < most; i++) {
        glmq_cell(&t, "dropped");
        glmq_cell_text(&t, p->dropped.at[i].name);
        glmq_cell_text(&t, p->dropped.at[i].reason);
    }
    more_cells(&t, p->dropped.count, most, "dropped");
    for (size_t i = 0; i < p->narrowed.count && i < most; i++) {
        glmq_cell(&t, "narrowed");
        glmq_cell_text(&t, p->narrowed.at[i].name);
        glmq_cell(&t, "%s to %s", p->narrowed.at[i].from, p->narrowed.at[i].to);
    }
    more_cells(&t, p->narrowed.count, most, "narrowed");
    fputc('\n', out);
    return glmq_table_print(&t, 0, out);
}

static void print_costs(const glmq_plan *p, FILE *out)
{
    const double s = glmq_plan_estimate(p);

    fprintf(out,
            "\nreads %" PRIu64 " bytes, writes %" PRIu64 " bytes, needs at most %s of memory\n",
            p->read_bytes, p->write_bytes, glmq_bytes_text(p->peak_bytes).s);
    if (s < 90)
        fprintf(out, "about %.1f s on this machine\n", s);
    else
        fprintf(out, "about %.0f min on this machine\n", s / 60);
}

static glmq_status printed(int failed, FILE *out, glmq_error *err)
{
    if (failed) return glmq_fail(err, GLMQ_E_NOMEM, "printing the plan");
    return ferror(out) ? glmq_fail(err, GLMQ_E_IO, "printing the plan") : GLMQ_OK;
}

glmq_status glmq_plan_print(const glmq_plan *p, int all, FILE *out, glmq_error *err)
{
    const int failed =
        print_tensors(p, all, out) || print_files(p, out) || print_losses(p, all, out);

    if (!failed) print_costs(p, out);
    return printed(failed, out, err);
}

/* ---- JSON ---- */

static void json_item(glmq_json_out *j, const glmq_plan *p, const glmq_item *it)
{
    const glmq_tensor *t = tensor_of(p, it);
    char text[2 * ENC_TEXT];

    glmq_json_begin(j, NULL, '{');
    glmq_json_str(j, "name", t->name);
    glmq_json_str(j, "role", glmq_role_name(t->role));
    glmq_parts_text(t->part, t->parts, text, sizeof text);
    glmq_json_str(j, "from", text);
    glmq_parts_text(it->part, it->parts, text, sizeof text);
    glmq_json_str(j, "to", text);
    glmq_json_str(j, "travel", glmq_travel_name(it->travel));
    glmq_json_str(j, "reason", it->reason);
    glmq_json_str(j, "rule", it->rule);
    glmq_json_uint(j, "bytes", it->bytes);
    glmq_json_end(j);
}

static void json_losses(glmq_json_out *j, const glmq_plan *p)
{
    glmq_json_begin(j, "dropped", '[');
    for (size_t i = 0; i < p->dropped.count; i++) {
        glmq_json_begin(j, NULL, '{');
        glmq_json_str(j, "name", p->dropped.at[i].name);
        glmq_json_str(j, "reason", p->dropped.at[i].reason);
        glmq_json_end(j);
    }
    glmq_json_end(j);
    glmq_json_begin(j, "narrowed", '[');
    for (size_t i = 0; i < p->narrowed.count; i++) {
        glmq_json_begin(j, NULL, '{');
        glmq_json_str(j, "name", p->narrowed.at[i].name);
        glmq_json_str(j, "from", p->narrowed.at[i].from);
        glmq_json_str(j, "to", p->narrowed.at[i].to);
        glmq_json_end(j);
    }
    glmq_json_end(j);
}

glmq_status glmq_plan_print_json(const glmq_plan *p, FILE *out, glmq_error *err)
{
    glmq_json_out j = { .file = out };

    glmq_json_begin(&j, NULL, '{');
    glmq_json_begin(&j, "files", '[');
    for (size_t i = 0; i < glmq_plan_file_count(p); i++) {
        glmq_json_begin(&j, NULL, '{');
        glmq_json_str(&j, "file", glmq_plan_file_name(p, i));
        glmq_json_uint(&j, "bytes", glmq_plan_file_bytes(p, i));
        glmq_json_end(&j);
    }
    glmq_json_end(&j);
    glmq_json_begin(&j, "tensors", '[');
    for (size_t i = 0; i < p->items.count; i++) json_item(&j, p, &p->items.at[i]);
    glmq_json_end(&j);
    json_losses(&j, p);
    glmq_json_uint(&j, "peak_bytes", p->peak_bytes);
    glmq_json_uint(&j, "read_bytes", p->read_bytes);
    glmq_json_uint(&j, "write_bytes", p->write_bytes);
    glmq_json_real(&j, "estimated_s", glmq_plan_estimate(p));
    glmq_json_end(&j);
    return printed(glmq_json_close(&j), out, err);
}

/* ---- a recipe ---- */

/* Codecs whose encodings have a word of their own on the command line. */
static const struct {
    const char *codec, *word, *bits;
} spellings[] = {
    { "gptq", "gptq", "bits=" },
    { "ctpack", "compressed-tensors", "int" },
};

/* An encoding as --set takes it.  0: it has no such text. */
static int spell(const glmq_encoding *enc, char *text, size_t cap)
{
    const char *name = enc->codec ? glmq_codec_name(enc->codec) : "";
    const int tensor = enc->group == 0 && enc->group_rows == 0;
    glmq_encoding parsed;
    char group[32];

    glmq_encoding_print(enc, text, cap);
    snprintf(group, sizeof group, "group=%ld", enc->group ? (long)enc->group : -1L);
    for (size_t i = 0; i < GLMQ_COUNT(spellings); i++)
        if (strcmp(name, spellings[i].codec) == 0)
            snprintf(text, cap, "%s:%s%d,%s,%s,scale=%s%s", spellings[i].word, spellings[i].bits,
                     enc->bits, tensor ? "tensor" : group,
                     enc->zero_kind == GLMQ_ZERO_MID ? "sym" : "asym",
                     glmq_dtype_name((glmq_dtype)enc->scale_dtype),
                     i == 0 ? enc->variant == GPTQ_V1 ? ",v1" : ",v2" : "");
    return enc->codec && enc->act_order != GLMQ_ACT_ORDER &&
           glmq_encoding_parse(text, &parsed, NULL) == GLMQ_OK;
}

/* What a rule must say to get this item's encoding again: the encoding, or "same" where it
 * has no word; NULL where neither is true (a tensor in two encodings: its target's default). */
static const char *rule_to(const glmq_plan *p, const glmq_item *it, char *text, size_t cap)
{
    const glmq_part *from = &tensor_of(p, it)->part[0], *to = &it->part[0];

    if (it->parts > 1) return NULL;
    if (spell(&to->enc, text, cap)) return text;
    return glmq_encoding_equal(&from->enc, &to->enc) ? "same" : NULL;
}

static void add_recipe_rule(glmq_text *t, const char *key, const char *value, const char *to)
{
    glmq_text_add(t, t->len ? ",\n    { \"" : "    { \"");
    glmq_text_add(t, key);
    glmq_text_add(t, "\": ");
    glmq_json_quote(t, value, strlen(value));
    glmq_text_add(t, ", \"to\": ");
    glmq_json_quote(t, to, strlen(to));
    glmq_text_add(t, " }");
}

/* Per role what its first tensor gets, then one rule for each tensor that gets another. */
static void add_rules(const glmq_plan *p, glmq_text *t)
{
    char of_role[GLMQ_ROLE_COUNT][ENC_TEXT] = { { 0 } };
    char text[ENC_TEXT];

    for (size_t i = 0; i < p->items.count; i++) {
        const glmq_role role = tensor_of(p, &p->items.at[i])->role;
        const char *to = rule_to(p, &p->items.at[i], text, sizeof text);
        if (!to || of_role[role][0]) continue;
        snprintf(of_role[role], sizeof of_role[role], "%s", to);
        add_recipe_rule(t, "role", glmq_role_name(role), to);
    }
    for (size_t i = 0; i < p->items.count; i++) {
        const glmq_tensor *x = tensor_of(p, &p->items.at[i]);
        const char *to = rule_to(p, &p->items.at[i], text, sizeof text);
        if (!to) to = "default";
        if (of_role[x->role][0] && strcmp(of_role[x->role], to) != 0)
            add_recipe_rule(t, "name", x->name, to);
    }
}

glmq_status glmq_plan_save_recipe(const glmq_plan *p, const char *path, glmq_error *err)
{
    glmq_text rules = { 0 }, file = { 0 };
    glmq_status st;

    add_rules(p, &rules);
    glmq_text_add(&file, "{\n  \"to\": ");
    glmq_json_quote(&file, p->target.text, strlen(p->target.text));
    glmq_text_printf(&file, ",\n  \"rules\": [\n%s\n  ]\n}\n", rules.data ? rules.data : "");
    st = rules.failed || file.failed ? glmq_fail(err, GLMQ_E_NOMEM, "%s: the recipe", path)
                                     : glmq_out_file(path, file.data, file.len, err);
    glmq_text_free(&rules);
    glmq_text_free(&file);
    return st;
}
