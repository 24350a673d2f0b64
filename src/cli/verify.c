/* glmq-verify: says whether two checkpoints hold the same model, or by how much not. */
#include "base/error.h"
#include "base/mem.h"
#include "common.h"
#include "glmq/glmq.h"
#include "io/out.h"
#include "progress.h"
#include "verify/report.h"
#include <stddef.h>

typedef struct settings {
    glmq_common common;
    int level;       /* glmq_verify_level */
    double max_rmse; /* negative: none    */
    const char *only, *html;
} settings;

#define FIELD(name) offsetof(settings, name)

static const glmq_option options[] = {
    { "level", 0, "LEVEL", glmq_take_word, FIELD(level), "bytes|codes|values",
      "bytes (stored arrays), codes, or values (default)" },
    { "max-rmse", 0, "X", glmq_take_real, FIELD(max_rmse), NULL,
      "pass when no tensor's RMSE is over X" },
    { "tensors", 0, "GLOB", glmq_take_text, FIELD(only), NULL,
      "compare only these names or roles" },
    { "html", 0, "FILE", glmq_take_text, FIELD(html), NULL, "write the report as a page too" },
    { "forward", 0, NULL, glmq_take_later, 0, NULL, NULL },
    { "device", 0, "WHERE", glmq_take_later, 0, NULL, NULL },
    { "gpu-memory", 0, "SIZE", glmq_take_later, 0, NULL, NULL },
    { "tokens", 0, "FILE", glmq_take_later, 0, NULL, NULL },
    { "text", 0, "FILE", glmq_take_later, 0, NULL, NULL },
    { "random", 0, "N", glmq_take_later, 0, NULL, NULL },
    { "layers", 0, "A-B", glmq_take_later, 0, NULL, NULL },
    { "mtp", 0, NULL, glmq_take_later, 0, NULL, NULL },
    { "max-kl", 0, "X", glmq_take_later, 0, NULL, NULL },
    { "min-top1", 0, "Y", glmq_take_later, 0, NULL, NULL },
    { "logits", 0, "FILE", glmq_take_later, 0, NULL, NULL },
    GLMQ_COMMON_OPTIONS(settings),
};

static const char *option_at(size_t i)
{
    return i < GLMQ_COUNT(options) ? options[i].name : NULL;
}

static const glmq_program program = {
    .name = "glmq-verify",
    .purpose = "compare the weights of two checkpoints, in whatever formats",
    .operands = "SRC DST",
    .min_operands = 2,
    .max_operands = 2,
    .options = options,
    .count = GLMQ_COUNT(options),
    .option_at = option_at,
    .examples = {
        { "has this GGUF the very weights of that GPTQ checkpoint?",
          "glmq-verify GLM-4.7-GPTQ GLM-4.7.gguf" },
        { "may no tensor be further off than this?",
          "glmq-verify --max-rmse 1e-3 --json GLM-5 GLM-5-Q8_0.gguf" },
    },
};

static glmq_status print_report(const glmq_report *r, const settings *s, glmq_error *err)
{
    const int failed = s->common.json ? glmq_report_json(r, stdout)
                                      : glmq_report_text(r, s->common.verbose, stdout);
    if (failed) return glmq_fail(err, GLMQ_E_IO, "writing the report failed");
    return s->html ? glmq_report_save(r, s->html, 1, err) : GLMQ_OK;
}

static glmq_status compare(const glmq_graph *a, const glmq_graph *b, const settings *s,
                           glmq_report *report, glmq_error *err)
{
    glmq_report_meter tee = { .report = report };
    const glmq_verify_options opt = {
        .level = (glmq_verify_level)s->level,
        .jobs = s->common.jobs,
        .memory = s->common.memory,
        .glob = s->only,
        .each = glmq_report_meter_add,
        .user = &tee,
        .cancel = glmq_catch_signals(),
    };

    glmq_meter_begin(&tee.meter, s->common.progress, s->common.quiet, "comparing");
    tee.meter.counts = 1;
    tee.total = glmq_graph_count(a);
    const glmq_status st = glmq_verify(a, b, &opt, &report->total, err);
    glmq_meter_end(&tee.meter, st ? err : NULL);
    GLMQ_TRY(st);
    if (report->failed) return glmq_fail(err, GLMQ_E_NOMEM, "the report");
    if (s->only && !report->total.tensors)
        return glmq_fail(err, GLMQ_E_ARG, "--tensors: '%s' matches no tensor or role", s->only);
    return GLMQ_OK;
}

/* What both sides lack cannot differ: so an incomplete side is named. */
static void say_incomplete(const glmq_graph *g, const char *path, const settings *s)
{
    size_t errors = 0;

    for (size_t i = 0; i < glmq_graph_problem_count(g); i++)
        errors += glmq_graph_problem(g, i)->severity == GLMQ_ERROR ? 1 : 0;
    if (errors && !s->common.quiet)
        glmq_say(&program, "%s: %zu problems, see glmq-inspect --check", path, errors);
}

static glmq_status verify(const glmq_args *args, const settings *s, glmq_error *err)
{
    glmq_report report = { .level = (glmq_verify_level)s->level,
                           .source = args->operand[0],
                           .result = args->operand[1],
                           .max_rmse_allowed = s->max_rmse };
    glmq_checkpoint a = { 0 }, b = { 0 };

    if (s->html && glmq_out_exists(s->html))
        return glmq_fail(err, GLMQ_E_EXISTS, "%s: exists", s->html);
    glmq_status st = glmq_checkpoint_open(&a, args->operand[0], s->common.from, &s->common, 1, err);
    if (!st) st = glmq_checkpoint_open(&b, args->operand[1], NULL, &s->common, 1, err);
    if (!st) {
        say_incomplete(a.graph, args->operand[0], s);
        say_incomplete(b.graph, args->operand[1], s);
    }
    if (!st) st = compare(a.graph, b.graph, s, &report, err);
    if (!st) st = print_report(&report, s, err);
    if (!st && !glmq_report_passes(&report)) {
        st = GLMQ_E_MISMATCH;
        err->msg[0] = '\0'; /* the report has said it */
    }
    glmq_report_free(&report);
    glmq_checkpoint_close(&b);
    glmq_checkpoint_close(&a);
    return st;
}

int main(int argc, char **argv)
{
    settings s = { .level = GLMQ_VERIFY_VALUES, .max_rmse = -1 };
    glmq_error err = { .status = GLMQ_OK };
    glmq_args args = { .program = &program, .settings = &s, .err = &err };

    glmq_status st = glmq_args_parse(&args, argc, argv);
    if (!st && !args.finished) st = verify(&args, &s, &err);
    return glmq_finish(&program, st, &err);
}
