/* MXFP4 checkpoints as transformers writes them for gpt-oss: the experts of a layer in
 *
 *   <experts>.<proj>_blocks   U8 [E, out, K/32, 16]     two codes to a byte, low nibble first
 *   <experts>.<proj>_scales   U8 [E, out, K/32]         E8M0
 *
 * and every other array as it is.  Under the same name: the MXFP4 of ModelOpt,
 * compressed-tensors and DeepSeek, each read by its own reader. */
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include "codecs/fp4.h"
#include "modelopt.h"
#include "reader.h"
#include <string.h>

enum { GROUP = 32, GROUP_BYTES = 16 };

static const char BLOCKS[] = "_blocks", SCALES[] = "_scales";

typedef struct {
    glmq_graph *g;
    const glmq_catalog *cat;
} job;

/* The array called like `a`, with another ending; NULL: there is none. */
static const glmq_array *sibling(const job *j, const glmq_array *a, const char *from,
                                 const char *to)
{
    const size_t n = strlen(a->name) - strlen(from);
    char name[GLMQ_NAME_MAX + 16];

    if (n + strlen(to) >= sizeof name) return NULL;
    memcpy(name, a->name, n);
    memcpy(name + n, to, strlen(to));
    return glmq_catalog_find(j->cat, name, n + strlen(to));
}

static glmq_status check_shapes(const glmq_array *b, const glmq_array *s, glmq_error *err)
{
    if (!s) return glmq_fail_missing(err, GLMQ_E_FORMAT, "%s: its scales are missing", b->name);
    if (b->dtype != GLMQ_DT_U8 || b->rank != 4 || b->dims[3] != GROUP_BYTES)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: no U8 of shape [experts, rows, groups, 16]",
                         b->name);
    if (s->dtype != GLMQ_DT_U8 || s->rank != 3 || s->dims[0] != b->dims[0] ||
        s->dims[1] != b->dims[1] || s->dims[2] != b->dims[2])
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: no U8 of shape [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", s->name,
                         b->dims[0], b->dims[1], b->dims[2]);
    if (b->dims[0] > GLMQ_EXPERTS_MAX || b->dims[2] > INT32_MAX / GROUP)
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: too large", b->name);
    return GLMQ_OK;
}

/* One tensor per expert; of gate and up together, the rows of gate come first. */
static glmq_status add_experts(const job *j, const glmq_array *b, const glmq_name_match *m,
                               glmq_error *err)
{
    const glmq_array *s = sibling(j, b, BLOCKS, SCALES);
    const int both = m->row->split == SPLIT_EXPERTS_GATE_UP;
    glmq_part all = { .enc = fp4_mxfp4(FP4_BLOCKS) };
    uint64_t per;

    GLMQ_TRY(check_shapes(b, s, err));
    per = b->dims[1];
    if ((both && per % 2) || mul_u64(b->dims[0], per, &all.rows))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " experts of %" PRIu64 " rows", b->name,
                         b->dims[0], per);
    all.cols = b->dims[2] * GROUP;
    all.span[GLMQ_SLOT_CODES] = glmq_hf_span(j->cat, b);
    all.span[GLMQ_SLOT_SCALES] = glmq_hf_span(j->cat, s);
    return glmq_hf_add_stack(j->g, m, &all, b->dims[0], both ? per / 2 : per, err);
}

/* Is the array called like a stack of experts, with this ending? */
static int is_stack(const job *j, const glmq_array *a, const char *ending, glmq_name_match *m)
{
    return glmq_ends_with(a->name, ending) && j->g->names &&
           glmq_names_match(j->g->names, NAMES_HF, a->name, strlen(a->name) - strlen(ending), m) &&
           m->row->split != SPLIT_NONE;
}

static glmq_status add_array(const job *j, const glmq_array *a, glmq_error *err)
{
    glmq_name_match m;

    if (glmq_ends_with(a->name, SCALES) && sibling(j, a, SCALES, BLOCKS)) return GLMQ_OK;
    if (is_stack(j, a, SCALES, &m))
        return glmq_fail_missing(err, GLMQ_E_FORMAT, "%s: its blocks are missing", a->name);
    if (!glmq_ends_with(a->name, BLOCKS)) return glmq_hf_add_plain(j->g, j->cat, a, err);
    if (!is_stack(j, a, BLOCKS, &m))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: no experts of this model", a->name);
    return add_experts(j, a, &m, err);
}

/* A stack that cannot be read, where that is to be told and not to end it all. */
static glmq_status leave_out(const job *j, const glmq_array *a, glmq_status st, glmq_error *err)
{
    const glmq_array *s = glmq_ends_with(a->name, BLOCKS) ? sibling(j, a, BLOCKS, SCALES) : NULL;
    const char *file = glmq_source_name(j->cat->source, a->file);

    if (!j->cat->tolerant)
        return glmq_source_is_file(j->cat->source) ? st : glmq_within(err, st, "%s", file);
    GLMQ_TRY(glmq_graph_leave_out(j->g, a->name, file, st, err));
    glmq_graph_drop(j->g, (size_t)(a - j->cat->arrays), "it cannot be read");
    if (s) glmq_graph_drop(j->g, (size_t)(s - j->cat->arrays), "its blocks cannot be read");
    return GLMQ_OK;
}

static glmq_status open_stacks(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    const job j = { .g = g, .cat = cat };

    for (size_t i = 0; i < cat->count; i++) {
        const glmq_array *a = &cat->arrays[i];
        const glmq_status st = add_array(&j, a, err);
        if (st) GLMQ_TRY(leave_out(&j, a, st, err));
    }
    return GLMQ_OK;
}

/* ---- the reader ---- */

/* `rank` 0: of whatever shape. */
static int has_stacks(const glmq_catalog *cat, const char *ending, int rank)
{
    for (size_t i = 0; i < cat->count; i++)
        if (glmq_ends_with(cat->arrays[i].name, ending) &&
            (rank == 0 || cat->arrays[i].rank == rank))
            return 1;
    return 0;
}

static int mxfp4_probe(const glmq_catalog *cat)
{
    const char *algo = glmq_modelopt_algo(cat),
               *method = glmq_json_string(cat->quant, "quant_method");

    if (has_stacks(cat, BLOCKS, 4)) return 92;
    if (method && strcmp(method, "mxfp4") == 0) return 92;
    return glmq_modelopt_is(cat) && algo && strcasestr(algo, "MXFP4") ? 96 : 0;
}

static glmq_status mxfp4_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    if (has_stacks(cat, BLOCKS, 0) || has_stacks(cat, SCALES, 0)) return open_stacks(g, cat, err);
    if (glmq_catalog_has_suffix(cat, "weight_packed", GLMQ_DT_NONE))
        return glmq_reader_ct.open(g, cat, err);
    if (glmq_catalog_has_suffix(cat, "weight_scale_inv", GLMQ_DT_NONE))
        return glmq_reader_fp8.open(g, cat, err);
    return glmq_modelopt_open(g, cat, err);
}

const glmq_reader glmq_reader_mxfp4 = {
    .name = "mxfp4",
    .about = "MXFP4 safetensors: gpt-oss blocks, ModelOpt, compressed-tensors",
    .probe = mxfp4_probe,
    .open = mxfp4_open,
};
