/* glmq-inspect: what a checkpoint is, holds, and where it is wrong. */
#include "base/error.h"
#include "base/mem.h"
#include "common.h"
#include "dump.h"
#include "facts.h"
#include "glmq/glmq.h"
#include "imatrix.h"
#include "inspect.h"
#include "progress.h"
#include "readers/catalog.h"
#include "verify/compare.h"
#include "verify/digest.h"
#include <stddef.h>
#include <string.h>

typedef struct settings {
    glmq_common common;
    const char *tensors, *digest; /* globs */
    const char *diff, *dump, *out;
    int shards, config, metadata, check, raw;
} settings;

#define FIELD(name) offsetof(settings, name)

static glmq_status take_check(glmq_args *a, const glmq_option *o, const char *value)
{
    if (value)
        return glmq_fail(a->err, GLMQ_E_UNSUPPORTED,
                         "--check=%s: glmq %s has no profiles of loaders yet", value,
                         glmq_version());
    return glmq_take_flag(a, o, value);
}

static const glmq_option options[] = {
    { "tensors", 0, "[GLOB]", glmq_take_glob, FIELD(tensors), NULL,
      "a line per tensor whose name or role matches" },
    { "shards", 0, NULL, glmq_take_flag, FIELD(shards), NULL,
      "the files; with --digest their XXH3-128 too" },
    { "config", 0, NULL, glmq_take_flag, FIELD(config), NULL,
      "the config, with what each value means to glmq" },
    { "metadata", 0, NULL, glmq_take_flag, FIELD(metadata), NULL, "metadata of the containers" },
    { "check", 0, "[]", take_check, FIELD(check), NULL,
      "validate everything (status 5 on errors)" },
    { "digest", 0, "[GLOB]", glmq_take_glob, FIELD(digest), NULL,
      "XXH3-128 of decoded values, by tensor and for the model" },
    { "diff", 0, "OTHER", glmq_take_text, FIELD(diff), NULL,
      "what differs from OTHER, in any format (status 5)" },
    { "dump", 0, "NAME", glmq_take_text, FIELD(dump), NULL, "decode one tensor into -o FILE.npy" },
    { "output", 'o', "FILE", glmq_take_text, FIELD(out), NULL, "where --dump writes" },
    { "raw", 0, NULL, glmq_take_flag, FIELD(raw), NULL,
      "dump the stored bytes: FILE.codes, FILE.scales, …" },
    { "stats", 0, "[GLOB]", glmq_take_later, 0, NULL, NULL },
    { "html", 0, "FILE", glmq_take_later, 0, NULL, NULL },
    GLMQ_COMMON_OPTIONS(settings),
};

static const char *option_at(size_t i)
{
    return i < GLMQ_COUNT(options) ? options[i].name : NULL;
}

static const glmq_program program = {
    .name = "glmq-inspect",
    .purpose = "say what a GLM checkpoint holds, in any format",
    .operands = "PATH",
    .min_operands = 1,
    .max_operands = 1,
    .options = options,
    .count = GLMQ_COUNT(options),
    .option_at = option_at,
    .examples = {
        { "is anything wrong with this download?", "glmq-inspect --check GLM-4.7-GPTQ" },
        { "which tensors are in which encoding?",
          "glmq-inspect --tensors='experts.*' GLM-4.7.gguf" },
    },
};

/* ---- what reads data, before anything is printed ---- */

static void on_thing(void *user, size_t done, size_t total)
{
    glmq_meter_count(user, done, total);
}

static glmq_digest_options read_options(const settings *s, glmq_meter *m)
{
    return (glmq_digest_options){
        .glob = s->digest,
        .jobs = s->common.jobs,
        .memory = s->common.memory,
        .cancel = glmq_catch_signals(),
        .each = on_thing,
        .user = m,
    };
}

static glmq_status take_digests(glmq_inspection *in, const settings *s, glmq_error *err)
{
    const glmq_catalog *cat = in->graph->catalog;
    glmq_meter m;
    const glmq_digest_options opt = read_options(s, &m);
    glmq_status st = GLMQ_OK;

    if (!s->digest) return GLMQ_OK;
    glmq_meter_begin(&m, s->common.progress, s->common.quiet, "hashing");
    m.counts = 1;
    /* With --shards alone it is the files' digests that are asked for. */
    if (s->shards)
        st = glmq_digest_files(glmq_graph_source(in->graph), cat->shards, cat->shard_count, &opt,
                               &in->shard_digests, err);
    if (!st && (!s->shards || s->tensors || s->common.json))
        st = glmq_digest_tensors(in->graph, &opt, &in->tensor_digests, in->model_digest, err);
    glmq_meter_end(&m, st ? err : NULL);
    return st;
}

static glmq_status take_check_result(glmq_inspection *in, const settings *s, glmq_error *err)
{
    glmq_meter m;
    const glmq_digest_options opt = read_options(s, &m);

    if (!s->check) return GLMQ_OK;
    glmq_meter_begin(&m, s->common.progress, s->common.quiet, "checking");
    m.counts = 1;
    const glmq_status st = glmq_check_run(&in->check, in->graph, &opt, err);
    glmq_meter_end(&m, st ? err : NULL);
    in->checked = 1;
    return st;
}

static glmq_status take_diff(glmq_inspection *in, const settings *s, glmq_checkpoint *other,
                             glmq_error *err)
{
    glmq_report_meter tee = { .report = &in->diff, .total = glmq_graph_count(in->graph) };
    const glmq_verify_options opt = {
        .level = GLMQ_VERIFY_VALUES,
        .jobs = s->common.jobs,
        .memory = s->common.memory,
        .each = glmq_report_meter_add,
        .user = &tee,
        .cancel = glmq_catch_signals(),
    };

    if (!s->diff) return GLMQ_OK;
    in->diff = (glmq_report){
        .level = GLMQ_VERIFY_VALUES, .source = in->path, .result = s->diff, .max_rmse_allowed = -1
    };
    GLMQ_TRY(glmq_checkpoint_open(other, s->diff, NULL, &s->common, 1, err));
    glmq_meter_begin(&tee.meter, s->common.progress, s->common.quiet, "comparing");
    tee.meter.counts = 1;
    const glmq_status st = glmq_verify(in->graph, other->graph, &opt, &in->diff.total, err);
    glmq_meter_end(&tee.meter, st ? err : NULL);
    if (!st && in->diff.failed) return glmq_fail(err, GLMQ_E_NOMEM, "the differences");
    in->diffed = 1;
    return st;
}

/* ---- --dump ---- */

/* The nearest name by edit distance is too slow over 60,000: the one with the longest common
 * beginning will do. */
static const char *similar_name(const glmq_graph *g, const char *name)
{
    const char *best = NULL;
    size_t most = 0;

    for (size_t i = 0; i < glmq_graph_count(g); i++) {
        const char *other = glmq_graph_tensor(g, i)->name;
        size_t n = 0;
        while (name[n] && name[n] == other[n]) n++;
        if (n > most) {
            most = n;
            best = other;
        }
    }
    return best;
}

static glmq_status dump(const glmq_graph *g, const settings *s, glmq_error *err)
{
    const glmq_tensor *t = glmq_graph_find(g, s->dump);

    if (!t) {
        const char *near = similar_name(g, s->dump);
        return glmq_fail(err, GLMQ_E_ARG, "--dump: no tensor is called '%s'%s%s%s", s->dump,
                         near ? "; the nearest is '" : "", near ? near : "", near ? "'" : "");
    }
    if (s->raw) return glmq_dump_stored(g, t, s->out, err);
    GLMQ_TRY(glmq_dump_values(g, t, s->out, err));
    printf("%s\n", s->out);
    return GLMQ_OK;
}

/* ---- all of it ---- */

static glmq_status check_settings(const settings *s, glmq_error *err)
{
    if (s->dump && !s->out) return glmq_fail(err, GLMQ_E_ARG, "--dump needs -o FILE");
    if (s->out && !s->dump) return glmq_fail(err, GLMQ_E_ARG, "-o is for --dump NAME");
    if (s->raw && !s->dump) return glmq_fail(err, GLMQ_E_ARG, "--raw is for --dump NAME");
    return GLMQ_OK;
}

static glmq_status check_glob(const glmq_graph *g, const char *option, const char *glob,
                              glmq_error *err)
{
    if (!glob || strcmp(glob, "*") == 0) return GLMQ_OK;
    for (size_t i = 0; i < glmq_graph_count(g); i++)
        if (glmq_tensor_matches(glmq_graph_tensor(g, i), glob)) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_ARG, "--%s: '%s' matches no tensor or role", option, glob);
}

static glmq_status gather_and_print(glmq_inspection *in, const settings *s, glmq_checkpoint *other,
                                    glmq_error *err)
{
    GLMQ_TRY(check_glob(in->graph, "tensors", s->tensors, err));
    GLMQ_TRY(check_glob(in->graph, "digest", s->digest, err));
    GLMQ_TRY(glmq_facts_open(&in->facts, in->graph, err));
    GLMQ_TRY(take_digests(in, s, err));
    GLMQ_TRY(take_check_result(in, s, err));
    GLMQ_TRY(take_diff(in, s, other, err));
    in->tensors = s->tensors;
    in->digest = s->digest;
    in->shards = s->shards;
    in->config = s->config;
    in->metadata = s->metadata;
    in->verbose = s->common.verbose;
    GLMQ_TRY(s->common.json ? glmq_inspection_json(in, stdout, err)
                            : glmq_inspection_text(in, stdout, err));
    if ((in->checked && in->check.errors) || (in->diffed && !glmq_report_passes(&in->diff))) {
        err->msg[0] = '\0'; /* what was printed says it */
        return GLMQ_E_MISMATCH;
    }
    return GLMQ_OK;
}

static glmq_status inspect(const char *path, const settings *s, glmq_error *err)
{
    glmq_inspection in = { .path = path };
    glmq_checkpoint c = { 0 }, other = { 0 };
    glmq_status st = check_settings(s, err);
    int done = 0;

    if (!st && !s->common.from) st = glmq_imatrix_show(path, s->common.json, s->check, &done, err);
    if (st || done) return st;
    st = glmq_checkpoint_open(&c, path, s->common.from, &s->common,
                              s->check ? GLMQ_OPEN_BROKEN : GLMQ_OPEN_INCOMPLETE, err);
    in.graph = c.graph;
    if (!st) st = s->dump ? dump(c.graph, s, err) : gather_and_print(&in, s, &other, err);
    glmq_inspection_free(&in);
    glmq_checkpoint_close(&other);
    glmq_checkpoint_close(&c);
    return st;
}

int main(int argc, char **argv)
{
    settings s = { 0 };
    glmq_error err = { .status = GLMQ_OK };
    glmq_args args = { .program = &program, .settings = &s, .err = &err };

    glmq_status st = glmq_args_parse(&args, argc, argv);
    if (!st && !args.finished) st = inspect(args.operand[0], &s, &err);
    return glmq_finish(&program, st, &err);
}
