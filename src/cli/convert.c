/* glmq-convert: plans a conversion, prints or runs the plan, and proves the result. */
#include "base/error.h"
#include "base/mem.h"
#include "common.h"
#include "glmq/glmq.h"
#include "imatrix.h"
#include "io/out.h"
#include "models/graph.h"
#include "plan.h"
#include "progress.h"
#include "verify/print.h"
#include "verify/report.h"
#include <errno.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

/* --set, --keep and --recipe, in the order given: the last match wins. */
typedef struct rule {
    glmq_status (*apply)(glmq_recipe *r, const char *text, glmq_error *err);
    const char *option, *text;
} rule;

enum { PLAN_NONE, PLAN_QUICK, PLAN_DEEP };
enum { VERIFY_NONE, VERIFY_DEFAULT, VERIFY_TENSORS };

typedef struct settings {
    glmq_common common;
    const char *to, *write_recipe, *report, *imatrix;
    rule *rules;
    size_t rule_count;
    int plan, verify, transcode, mtp, mla;
    int unpermute, link, direct, resume, overwrite, allow_incomplete;
    uint64_t shard_size;
} settings;

#define FIELD(name) offsetof(settings, name)

static glmq_status take_rule(glmq_args *a, const char *option, const char *text,
                             glmq_status (*apply)(glmq_recipe *, const char *, glmq_error *))
{
    settings *s = a->settings;
    rule *grown = glmq_realloc(s->rules, (s->rule_count + 1) * sizeof *grown);

    if (!grown) return glmq_fail(a->err, GLMQ_E_NOMEM, "--%s", option);
    s->rules = grown;
    s->rules[s->rule_count++] = (rule){ .apply = apply, .option = option, .text = text };
    return GLMQ_OK;
}

static glmq_status take_set(glmq_args *a, const glmq_option *o, const char *value)
{
    return take_rule(a, o->name, value, glmq_recipe_set);
}

static glmq_status take_keep(glmq_args *a, const glmq_option *o, const char *value)
{
    return take_rule(a, o->name, value, glmq_recipe_keep);
}

static glmq_status take_recipe(glmq_args *a, const glmq_option *o, const char *value)
{
    return take_rule(a, o->name, value, glmq_recipe_load);
}

static glmq_status take_verify(glmq_args *a, const glmq_option *o, const char *value)
{
    if (value && strcmp(value, "forward") == 0)
        return glmq_fail(a->err, GLMQ_E_UNSUPPORTED, "--verify=forward: glmq %s cannot do it yet",
                         glmq_version());
    return glmq_take_level(a, o, value);
}

static const glmq_option options[] = {
    { "to", 't', "FORMAT[:OPTIONS]", glmq_take_text, FIELD(to), NULL,
      "target, e.g. gguf:Q8_0 (see --list-formats)" },
    { "plan", 0, "[deep]", glmq_take_level, FIELD(plan), "deep",
      "print what would be written; deep: read the scales" },
    { "transcode", 0, "HOW", glmq_take_word, FIELD(transcode), "auto|require|never",
      "move codes as they are: auto, require or never" },
    { "set", 0, "GLOB=ENC", take_set, 0, NULL, "encoding by name or role; the last match wins" },
    { "keep", 0, "GLOB", take_keep, 0, NULL, "keep in the source's precision" },
    { "recipe", 0, "FILE", take_recipe, 0, NULL, "rules of a JSON file, or a preset" },
    { "write-recipe", 0, "FILE", glmq_take_text, FIELD(write_recipe), NULL,
      "save the encodings that were chosen as rules" },
    { "imatrix", 0, "FILE", glmq_take_text, FIELD(imatrix), NULL,
      "importance weights of llama.cpp (.dat, .gguf)" },
    { "unpermute", 0, NULL, glmq_take_flag, FIELD(unpermute), NULL,
      "undo act-order of down_proj by permuting gate and up" },
    { "mtp", 0, "HOW", glmq_take_word, FIELD(mtp), "keep|drop|require",
      "MTP layers: keep (default), drop or require" },
    { "mla", 0, "HOW", glmq_take_word, FIELD(mla), "split|fused",
      "kv_b in GGUF: split (default) or fused" },
    { "shard-size", 0, "SIZE", glmq_take_size, FIELD(shard_size), NULL,
      "of output shards (default 5GB)" },
    { "link", 0, NULL, glmq_take_flag, FIELD(link), NULL, "hard-link files that need no change" },
    { "direct", 0, NULL, glmq_take_flag, FIELD(direct), NULL, "write past the page cache" },
    { "resume", 0, NULL, glmq_take_flag, FIELD(resume), NULL, "go on with an interrupted run" },
    { "overwrite", 0, NULL, glmq_take_flag, FIELD(overwrite), NULL,
      "replace what is at DST, at the very end" },
    { "allow-incomplete", 0, NULL, glmq_take_flag, FIELD(allow_incomplete), NULL,
      "convert what is there of an incomplete source" },
    { "verify", 0, "[tensors]", take_verify, FIELD(verify), "tensors",
      "decode the result and compare it with the source" },
    { "report", 0, "FILE", glmq_take_text, FIELD(report), NULL,
      "write that comparison to FILE.json or FILE.html" },
    { "target-bpw", 0, "X", glmq_take_later, 0, NULL, NULL },
    { "donor", 0, "PATH", glmq_take_later, 0, NULL, NULL },
    { "fix", 0, "LIST", glmq_take_later, 0, NULL, NULL },
    { "fix-metadata", 0, "KEY=VALUE", glmq_take_later, 0, NULL, NULL },
    { "drop-experts", 0, "FILE", glmq_take_later, 0, NULL, NULL },
    { "part", 0, "I/N", glmq_take_later, 0, NULL, NULL },
    { "finalize", 0, NULL, glmq_take_later, 0, NULL, NULL },
    { "device", 0, "WHERE", glmq_take_later, 0, NULL, NULL },
    { "gpu-memory", 0, "SIZE", glmq_take_later, 0, NULL, NULL },
    GLMQ_COMMON_OPTIONS(settings),
};

static const char *option_at(size_t i)
{
    return i < GLMQ_COUNT(options) ? options[i].name : NULL;
}

static const glmq_program program = {
    .name = "glmq-convert",
    .purpose = "convert a GLM checkpoint to another format, exactly where that is possible",
    .operands = "SRC DST --to FORMAT[:OPTIONS]",
    .min_operands = 2,
    .max_operands = 2,
    .options = options,
    .count = GLMQ_COUNT(options),
    .option_at = option_at,
    .examples = {
        { "what would become of each tensor, and how large is the result?",
          "glmq-convert GLM-4.7-GPTQ GLM-4.7.gguf --to gguf --plan=deep" },
        { "convert, and prove that what was promised exact is exact",
          "glmq-convert GLM-4.7-GPTQ GLM-4.7.gguf --to gguf --verify" },
    },
};

/* One conversion, from its checkpoint to its result. */
typedef struct job {
    const settings *s;
    const char *src, *dst;
    glmq_checkpoint source;
    glmq_recipe *recipe;
    glmq_plan *plan;
    glmq_run_result result;
    uint8_t *travel; /* glmq_travel by tensor of the source; TRAVEL_UNKNOWN           */
    glmq_meter meter;
    const volatile int *cancel;
} job;

enum { TRAVEL_UNKNOWN = 255 };

/* ---- planning ---- */

static glmq_status open_recipe(job *j, glmq_error *err)
{
    if (!j->s->to) return glmq_fail(err, GLMQ_E_ARG, "--to FORMAT is missing; see --list-formats");
    GLMQ_TRY(glmq_refuse_later_format("--to", j->s->to, err));
    GLMQ_TRY(glmq_recipe_open(&j->recipe, j->s->to, err));
    for (size_t i = 0; i < j->s->rule_count; i++)
        GLMQ_TRY(j->s->rules[i].apply(j->recipe, j->s->rules[i].text, err));
    return GLMQ_OK;
}

static glmq_status open_plan(job *j, glmq_error *err)
{
    const settings *s = j->s;
    const glmq_plan_options opt = {
        .memory = s->common.memory,
        .jobs = s->common.jobs,
        .shard_size = s->shard_size,
        .transcode = (glmq_transcode_mode)s->transcode,
        .mtp = (glmq_mtp_mode)s->mtp,
        .mla = (glmq_mla_mode)s->mla,
        .deep = s->plan == PLAN_DEEP,
        .unpermute = s->unpermute,
        .link = s->link,
    };
    return glmq_plan_open(&j->plan, j->source.graph, j->recipe, j->dst, &opt, err);
}

enum { PROBLEMS_SAID = 10 };

static void say_problem(const glmq_problem *p)
{
    char text[1024];

    glmq_escape(text, sizeof text, p->message, strlen(p->message));
    glmq_say(&program, "%s: %s%s%s", glmq_severity_name(p->severity), p->tensor ? p->tensor : "",
             p->tensor ? ": " : "", text);
}

/* Warnings and errors of the source, so that they are not read only in the manifest. */
static void say_problems(const job *j)
{
    const glmq_graph *g = j->source.graph;
    const int all = j->s->common.verbose;
    size_t said = 0, more = 0;

    for (size_t i = 0; i < glmq_graph_problem_count(g) && !j->s->common.quiet; i++) {
        const glmq_problem *p = glmq_graph_problem(g, i);
        if (p->severity == GLMQ_NOTE && !all) continue;
        if (all || said < PROBLEMS_SAID)
            say_problem(p);
        else
            more++;
        said++;
    }
    if (more) glmq_say(&program, "and %zu more: see glmq-inspect --check", more);
}

static glmq_status print_plan(const job *j, glmq_error *err)
{
    if (j->s->common.json) return glmq_plan_print_json(j->plan, stdout, err);
    return glmq_plan_print(j->plan, j->s->common.verbose, stdout, err);
}

/* ---- running ---- */

/* Remembers how each tensor travelled, for the proof; then draws. */
static void on_progress(void *user, const glmq_progress *p)
{
    job *j = user;

    if (p->event == GLMQ_RUN_TENSOR && p->name && p->travel) {
        const glmq_tensor *t = glmq_graph_find(j->source.graph, p->name);
        for (int k = GLMQ_SAME_BYTES; t && k <= GLMQ_RECODE; k++)
            if (strcmp(p->travel, glmq_travel_name((glmq_travel)k)) == 0)
                j->travel[t - j->source.graph->tensors] = (uint8_t)k;
    }
    glmq_meter_event(&j->meter, p);
}

/* What the plan knows for certain; the run tells the rest. */
static glmq_status open_travel(job *j, glmq_error *err)
{
    const size_t n = glmq_graph_count(j->source.graph);

    j->travel = glmq_alloc(n ? n : 1);
    if (!j->travel) return glmq_fail(err, GLMQ_E_NOMEM, "notes on %zu tensors", n);
    memset(j->travel, TRAVEL_UNKNOWN, n);
    for (size_t i = 0; i < j->plan->items.count; i++) {
        const glmq_item *it = &j->plan->items.at[i];
        if (it->travel != GLMQ_MAYBE_CODES) j->travel[it->tensor] = (uint8_t)it->travel;
    }
    return GLMQ_OK;
}

static glmq_status run(job *j, glmq_error *err)
{
    const glmq_run_options opt = {
        .resume = j->s->resume,
        .overwrite = j->s->overwrite,
        .direct = j->s->direct,
        .progress = on_progress,
        .user = j,
        .cancel = j->cancel,
    };

    GLMQ_TRY(open_travel(j, err));
    glmq_meter_begin(&j->meter, j->s->common.progress, j->s->common.quiet, "converting");
    const glmq_status st = glmq_run(j->plan, &opt, &j->result, err);
    glmq_meter_end(&j->meter, st ? err : NULL);
    return st;
}

/* After a failure: is there a state to go on from? */
static void say_resumable(const job *j, glmq_status st)
{
    char partial[4096];

    if (!st || st == GLMQ_E_EXISTS || !j->plan || j->s->common.quiet) return;
    if (snprintf(partial, sizeof partial, "%s.partial", j->plan->dst) >= (int)sizeof partial)
        return;
    if (glmq_out_exists(partial))
        glmq_say(&program, "%s.partial keeps what is done: the same command with --resume goes on",
                 j->dst);
}

/* ---- the summary ---- */

static uint64_t exact_count(const glmq_run_result *r)
{
    return r->tensors[GLMQ_SAME_BYTES] + r->tensors[GLMQ_SAME_CODES];
}

static uint64_t inexact_count(const glmq_run_result *r)
{
    return r->tensors[GLMQ_NEAR] + r->tensors[GLMQ_RECODE];
}

/* Tensors whose rows or columns --unpermute moves. */
static size_t permuted_count(const glmq_plan *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->items.count; i++)
        n += p->items.at[i].row_perm || p->items.at[i].col_perm;
    return n;
}

static void print_summary(const job *j, FILE *out)
{
    const size_t permuted = permuted_count(j->plan);
    const glmq_run_result *r = &j->result;
    const uint64_t inexact = inexact_count(r);

    fprintf(out, "%s: %" PRIu64 " tensors, %s\n", j->dst, exact_count(r) + inexact,
            glmq_bytes_text(glmq_plan_write_bytes(j->plan)).s);
    fprintf(out,
            "  %" PRIu64 " same-bytes, %" PRIu64 " same-codes, %" PRIu64 " near, %" PRIu64
            " recode",
            r->tensors[GLMQ_SAME_BYTES], r->tensors[GLMQ_SAME_CODES], r->tensors[GLMQ_NEAR],
            r->tensors[GLMQ_RECODE]);
    if (j->plan->dropped.count) fprintf(out, ", %zu dropped", j->plan->dropped.count);
    if (r->resumed) fprintf(out, " (%" PRIu64 " from an earlier run)", r->resumed);
    fprintf(out, "\n  source %s\n  result %s\n", r->source_digest, r->result_digest);
    if (inexact)
        fprintf(out,
                "  %" PRIu64 " of %" PRIu64 " tensors were encoded anew: the manifest says "
                "which, why, and by how much\n",
                inexact, exact_count(r) + inexact);
    else
        fputs("  not one weight changed\n", out);
    if (permuted)
        fprintf(out,
                "  rows or columns of %zu tensors changed places: the manifest keeps the order\n",
                permuted);
}

static glmq_status print_summary_json(const job *j, const glmq_report *report, glmq_error *err)
{
    const glmq_run_result *r = &j->result;
    glmq_json_out o = { .file = stdout };

    glmq_json_begin(&o, NULL, '{');
    glmq_json_str(&o, "glmq", glmq_version());
    glmq_json_str(&o, "source", j->src);
    glmq_json_str(&o, "result", j->dst);
    glmq_json_begin(&o, "travel", '{');
    for (int k = GLMQ_SAME_BYTES; k <= GLMQ_RECODE; k++)
        if (k != GLMQ_MAYBE_CODES)
            glmq_json_uint(&o, glmq_travel_name((glmq_travel)k), r->tensors[k]);
    glmq_json_end(&o);
    glmq_json_uint(&o, "dropped", j->plan->dropped.count);
    glmq_json_uint(&o, "resumed", r->resumed);
    glmq_json_uint(&o, "write_bytes", glmq_plan_write_bytes(j->plan));
    glmq_json_str(&o, "source_digest", r->source_digest);
    glmq_json_str(&o, "result_digest", r->result_digest);
    glmq_json_bool(&o, "exact", inexact_count(r) == 0);
    if (report) {
        glmq_json_begin(&o, "verify", '{');
        glmq_json_uint(&o, "tensors", report->total.tensors);
        glmq_json_uint(&o, "exact", report->total.exact);
        glmq_json_uint(&o, "differ", report->total.differ);
        glmq_json_uint(&o, "missing", report->total.missing);
        glmq_json_uint(&o, "extra", report->total.extra);
        glmq_json_real(&o, "max_rmse", report->total.max_rmse);
        glmq_json_end(&o);
    }
    glmq_json_end(&o);
    return glmq_json_close(&o) ? glmq_fail(err, GLMQ_E_IO, "writing the summary failed") : GLMQ_OK;
}

/* ---- --verify ---- */

/* Is this difference what the run said it would be?  Tensors that travelled exactly must be
 * exact, those that were dropped may be missing. */
static int as_promised(const job *j, const glmq_difference *d)
{
    if (d->exact) return 1;
    if (d->extra || !d->a) return 0;
    const size_t i = (size_t)(d->a - j->source.graph->tensors);
    if (d->missing) return j->plan->want[i].dropped;
    if (!d->compared) return 0;
    return j->travel[i] != GLMQ_SAME_BYTES && j->travel[i] != GLMQ_SAME_CODES;
}

static glmq_status check_promises(const job *j, const glmq_report *r, glmq_error *err)
{
    const char *first = NULL;
    uint64_t broken = 0;

    for (size_t i = 0; i < r->count; i++) {
        if (as_promised(j, &r->rows[i].d)) continue;
        if (!broken++) first = r->rows[i].d.name;
    }
    if (!broken) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_MISMATCH,
                     "%s: %s: not as converted (%" PRIu64 " tensors in all): the result is damaged",
                     j->dst, first, broken);
}

static glmq_status compare_result(job *j, const glmq_graph *result, glmq_report *r, glmq_error *err)
{
    glmq_report_meter tee = { .report = r, .total = glmq_graph_count(j->source.graph) };
    const glmq_verify_options opt = {
        .level = GLMQ_VERIFY_VALUES,
        .jobs = j->s->common.jobs,
        .memory = j->s->common.memory,
        .each = glmq_report_meter_add,
        .user = &tee,
        .cancel = j->cancel,
    };

    glmq_meter_begin(&tee.meter, j->s->common.progress, j->s->common.quiet, "verifying");
    const glmq_status st = glmq_verify(j->source.graph, result, &opt, &r->total, err);
    glmq_meter_end(&tee.meter, st ? err : NULL);
    if (!st && r->failed) return glmq_fail(err, GLMQ_E_NOMEM, "the report");
    return st;
}

static int ends_in(const char *path, const char *end)
{
    const size_t n = strlen(path), m = strlen(end);
    return n > m && strcmp(path + n - m, end) == 0;
}

/* A line when nothing differs, else by how much. */
static int print_comparison(const glmq_report *r, int verbose, FILE *out)
{
    if (verbose || r->total.exact != r->total.tensors) {
        fputc('\n', out);
        return glmq_report_text(r, verbose, out);
    }
    fprintf(out, "  verified: %" PRIu64 " tensors decoded and compared, all exact\n",
            r->total.tensors);
    return 0;
}

static glmq_status verify_result(job *j, glmq_report *r, glmq_error *err)
{
    const settings *s = j->s;
    glmq_checkpoint result = { 0 };

    *r = (glmq_report){
        .level = GLMQ_VERIFY_VALUES, .source = j->src, .result = j->dst, .max_rmse_allowed = -1
    };
    GLMQ_TRY(glmq_checkpoint_open(&result, j->plan->dst, NULL, &s->common, 1, err));
    glmq_status st = compare_result(j, result.graph, r, err);
    if (!st && !s->common.json && !s->common.quiet &&
        print_comparison(r, s->common.verbose, stdout))
        st = glmq_fail(err, GLMQ_E_IO, "writing the report failed");
    if (!st && s->report) st = glmq_report_save(r, s->report, ends_in(s->report, ".html"), err);
    if (!st) st = check_promises(j, r, err);
    glmq_checkpoint_close(&result);
    return st;
}

/* ---- all of it ---- */

/* A report that cannot be written is told before hours of work, not after. */
static glmq_status check_folder(const char *path, glmq_error *err)
{
    const char *slash = strrchr(path, '/');
    char *folder = slash ? glmq_strdup(path) : NULL;
    glmq_status st = GLMQ_OK;

    if (slash && !folder) return glmq_fail(err, GLMQ_E_NOMEM, "%s", path);
    if (slash) folder[slash > path ? slash - path : 1] = '\0';
    if (access(slash ? folder : ".", W_OK | X_OK)) st = glmq_fail_sys(err, errno, "%s", path);
    glmq_free(folder);
    return st;
}

static glmq_status check_settings(const settings *s, glmq_error *err)
{
    if (s->plan && (s->verify || s->report))
        return glmq_fail(err, GLMQ_E_ARG, "--plan writes nothing that --%s could look at",
                         s->verify ? "verify" : "report");
    if (s->report && !ends_in(s->report, ".html") && !ends_in(s->report, ".json"))
        return glmq_fail(err, GLMQ_E_ARG, "--report: '%s' ends neither in .json nor in .html",
                         s->report);
    if (s->report) GLMQ_TRY(check_folder(s->report, err));
    if (s->report && !s->overwrite && glmq_out_exists(s->report))
        return glmq_fail(err, GLMQ_E_EXISTS, "%s: exists; --overwrite replaces it", s->report);
    if (s->write_recipe && !s->overwrite && glmq_out_exists(s->write_recipe))
        return glmq_fail(err, GLMQ_E_EXISTS, "%s: exists; --overwrite replaces it",
                         s->write_recipe);
    return GLMQ_OK;
}

static glmq_status prepare(job *j, glmq_error *err)
{
    GLMQ_TRY(check_settings(j->s, err));
    GLMQ_TRY(open_recipe(j, err));
    GLMQ_TRY(glmq_checkpoint_open(&j->source, j->src, j->s->common.from, &j->s->common,
                                  j->s->allow_incomplete, err));
    say_problems(j);
    if (j->s->imatrix)
        GLMQ_TRY(glmq_imatrix_consider(&program, j->s->imatrix, j->source.graph, j->s->common.quiet,
                                       err));
    GLMQ_TRY(open_plan(j, err));
    return j->s->write_recipe ? glmq_plan_save_recipe(j->plan, j->s->write_recipe, err) : GLMQ_OK;
}

static glmq_status run_and_tell(job *j, glmq_error *err)
{
    const int verify = j->s->verify || j->s->report;
    glmq_report report = { 0 };
    glmq_status st = run(j, err);

    if (st) {
        say_resumable(j, st);
        return st;
    }
    if (!j->s->common.json && !j->s->common.quiet) print_summary(j, stdout);
    if (verify) st = verify_result(j, &report, err);
    if (j->s->common.json && (!st || st == GLMQ_E_MISMATCH)) {
        const glmq_status told = print_summary_json(j, verify ? &report : NULL, st ? NULL : err);
        if (!st) st = told;
    }
    glmq_report_free(&report);
    return st;
}

static glmq_status convert(job *j, glmq_error *err)
{
    GLMQ_TRY(prepare(j, err));
    return j->s->plan ? print_plan(j, err) : run_and_tell(j, err);
}

int main(int argc, char **argv)
{
    settings s = { 0 };
    glmq_error err = { .status = GLMQ_OK };
    glmq_args args = { .program = &program, .settings = &s, .err = &err };

    glmq_status st = glmq_args_parse(&args, argc, argv);
    if (!st && !args.finished) {
        job j = {
            .s = &s, .src = args.operand[0], .dst = args.operand[1], .cancel = glmq_catch_signals()
        };
        st = convert(&j, &err);
        glmq_plan_close(j.plan);
        glmq_recipe_close(j.recipe);
        glmq_checkpoint_close(&j.source);
        glmq_free(j.travel);
    }
    glmq_free(s.rules);
    return glmq_finish(&program, st, &err);
}
