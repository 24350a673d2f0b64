/* FP8 checkpoints as DeepSeek's tools and others write them: <module>.weight in E4M3 with
 * .weight_scale_inv or .weight_scale (either multiplies), and .input_scale where activations
 * have a fixed one.
 *
 * A weight is quantized if and only if a scale lies beside it.  The blocks are those of the
 * config, or 128 x 128: the last ones may be short, so the grid does not tell. */
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "codecs/fp4.h"
#include "codecs/fp8.h"
#include "fp4_module.h"
#include "fp8_module.h"
#include "modelopt.h"
#include "tally.h"
#include <string.h>

static const glmq_slot_name slots[] = {
    { "weight_scale_inv", GLMQ_SLOT_SCALES, 0 },
    { "weight_scale", GLMQ_SLOT_SCALES, 0 },
    { "input_scale", GLMQ_SLOT_INPUT_SCALE, 0 },
    { "activation_scale", GLMQ_SLOT_INPUT_SCALE, 0 },
};

enum { USUAL_BLOCK = 128 };

typedef struct {
    glmq_graph *g;
    const glmq_catalog *cat;
    const char *scale;  /* what scales are called */
    uint64_t block[2];  /* rows, columns */
    const cJSON *plain; /* modules that the config says are not converted */
    glmq_tally unwanted;
} job;

/* ---- the configuration ---- */

static glmq_status read_blocks(job *j, const cJSON *q, glmq_error *err)
{
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(q, "weight_block_size");

    if (!size || cJSON_IsNull(size)) return GLMQ_OK;
    if (cJSON_GetArraySize(size) != 2 ||
        !glmq_json_u64(cJSON_GetArrayItem(size, 0), &j->block[0]) ||
        !glmq_json_u64(cJSON_GetArrayItem(size, 1), &j->block[1]) || j->block[0] == 0 ||
        j->block[1] == 0 || j->block[0] > UINT16_MAX || j->block[1] > UINT32_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "weight_block_size is not two sizes");
    return GLMQ_OK;
}

static glmq_status read_config(job *j, glmq_error *err)
{
    static const char *const lists[] = { "modules_to_not_convert", "ignored_layers", "ignore",
                                         "exclude_modules" };
    const cJSON *q = j->cat->quant;
    const char *fmt = glmq_json_string(q, "fmt");

    j->block[0] = j->block[1] = USUAL_BLOCK;
    if (!q) {
        if (glmq_graph_note(j->g, GLMQ_WARNING, "config-missing", NULL, NULL,
                            "no quantization config: blocks are taken as 128 x 128"))
            return glmq_fail(err, GLMQ_E_NOMEM, "problems");
        return GLMQ_OK;
    }
    if (fmt && strcmp(fmt, "e4m3") != 0 && strcmp(fmt, "float8_e4m3fn") != 0)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "FP8 format \"%s\" is not read by this version",
                         fmt);
    for (size_t i = 0; i < GLMQ_COUNT(lists) && !j->plain; i++) {
        const cJSON *list = cJSON_GetObjectItemCaseSensitive(q, lists[i]);
        if (cJSON_IsArray(list)) j->plain = list;
    }
    return read_blocks(j, q, err);
}

/* ---- modules ---- */

static glmq_status add_module(void *user, const glmq_module *m, glmq_error *err)
{
    job *j = user;
    const glmq_array *scales = m->slot[GLMQ_SLOT_SCALES];
    const glmq_array *input = m->slot[GLMQ_SLOT_INPUT_SCALE];

    if (!m->quantized) return glmq_hf_add_unscaled(j->g, j->cat, m->plain, j->scale, err);
    if (!m->plain)
        return glmq_fail_missing(err, GLMQ_E_FORMAT, "%s: its weight is missing",
                                 scales ? scales->name : input->name);
    if (!scales && m->plain->dtype != GLMQ_DT_F8_E4M3) {
        GLMQ_TRY(glmq_hf_drop(j->g, j->cat, input, GLMQ_NOTE,
                              "an activation scale of a weight stored in floats", err));
        return glmq_hf_add_plain(j->g, j->cat, m->plain, err);
    }
    if (glmq_module_listed(m, j->plain)) glmq_tally_add(&j->unwanted, m->name, m->name_len);
    if (m->plain->dtype == GLMQ_DT_I8) /* experts of DeepSeek's in four bits */
        return glmq_hf_add_fp4(j->g, j->cat, m, m->plain, FP4_INV, err);
    return glmq_hf_add_fp8(j->g, j->cat, m, j->block, err);
}

/* ---- one module; also of compressed-tensors ---- */

/* Blocks of the grid's shape, else a scale for each row, else one for all. */
static glmq_status measure(const glmq_array *w, const glmq_array *s, const uint64_t block[2],
                           glmq_encoding *e, glmq_error *err)
{
    const uint64_t rows = w->dims[0], cols = w->dims[1];
    const int spread = s->rank == 4 && s->dims[1] == 1 && s->dims[3] == 1; /* ModelOpt's blocks */
    const uint64_t down = s->rank > 0 ? s->dims[0] : 1;
    const uint64_t across = s->rank > 1 ? s->dims[spread ? 2 : 1] : 1;
    const int flat = s->rank <= 2;

    e->group = 0;
    e->group_rows = 1;
    if ((s->rank == 2 || spread) && block && down == ceil_div_u64(rows, block[0]) &&
        across == ceil_div_u64(cols, block[1])) {
        e->group_rows = (uint16_t)block[0];
        e->group = (uint32_t)block[1];
        return GLMQ_OK;
    }
    if (flat && across == 1 && down == 1) {
        e->group_rows = 0;
        return GLMQ_OK;
    }
    if (flat && across == 1 && down == rows) return GLMQ_OK;
    if (block)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: %" PRIu64 " x %" PRIu64 " scales for %" PRIu64 " x %" PRIu64
                         " weights in blocks of %" PRIu64 " x %" PRIu64,
                         s->name, down, across, rows, cols, block[0], block[1]);
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s: %" PRIu64 " x %" PRIu64 " scales for %" PRIu64 " x %" PRIu64 " weights",
                     s->name, down, across, rows, cols);
}

glmq_status glmq_hf_add_fp8(glmq_graph *g, const glmq_catalog *cat, const glmq_module *m,
                            const uint64_t block[2], glmq_error *err)
{
    const glmq_array *w = m->plain, *s = m->slot[GLMQ_SLOT_SCALES];
    glmq_encoding e = { .codec = &glmq_codec_fp8, .bits = 8 };
    glmq_module whole = *m;
    size_t len;

    if (!s)
        return glmq_fail_missing(err, GLMQ_E_FORMAT, "%s: FP8 without a scale beside it", w->name);
    if (w->dtype == GLMQ_DT_F8_E5M2 || w->dtype == GLMQ_DT_F8_E4M3FNUZ ||
        w->dtype == GLMQ_DT_F8_E5M2FNUZ)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: FP8 of type %s is not read by this version",
                         w->name, glmq_dtype_name((glmq_dtype)w->dtype));
    if (w->dtype != GLMQ_DT_F8_E4M3)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected F8_E4M3 with %s", w->name,
                         glmq_dtype_name((glmq_dtype)w->dtype), s->name);
    if (w->rank != 2)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %d dimensions, expected 2", w->name, w->rank);
    GLMQ_TRY(measure(w, s, block, &e, err));
    len = strlen(s->name);
    e.scale_dtype = s->dtype;
    e.variant = len > 4 && strcmp(s->name + len - 4, "_inv") == 0 ? FP8_SCALE_INV : FP8_SCALE;
    whole.slot[GLMQ_SLOT_CODES] = w;
    return glmq_hf_add_module(g, cat, &whole, &e, w->dims[0], w->dims[1], err);
}

/* ---- the reader ---- */

/* ModelOpt's and compressed-tensors' formats have scales of the same name. */
static int fp8_probe(const glmq_catalog *cat)
{
    const char *method = glmq_json_string(cat->quant, "quant_method");

    if (method && strcmp(method, "fp8") == 0) return 85;
    if (glmq_modelopt_is(cat)) return 60; /* where none of its other formats is there */
    if (glmq_catalog_has_suffix(cat, "weight_scale_inv", GLMQ_DT_NONE)) return 70;
    return !method && glmq_catalog_has_suffix(cat, "weight", GLMQ_DT_F8_E4M3) &&
                   glmq_catalog_has_suffix(cat, "weight_scale", GLMQ_DT_NONE) &&
                   !glmq_catalog_has_suffix(cat, "weight_scale_2", GLMQ_DT_NONE)
               ? 55
               : 0;
}

static glmq_status fp8_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    job j = { .g = g, .cat = cat };

    if (glmq_modelopt_is(cat)) return glmq_modelopt_open(g, cat, err);
    j.scale = glmq_catalog_has_suffix(cat, "weight_scale", GLMQ_DT_NONE) ? "weight_scale"
                                                                         : "weight_scale_inv";
    GLMQ_TRY(glmq_within(err, read_config(&j, err), "%s",
                         cat->quant_file ? cat->quant_file : "config.json"));
    GLMQ_TRY(glmq_modules_each(cat, slots, GLMQ_COUNT(slots), add_module, &j, err));
    return glmq_tally_note(&j.unwanted, g, GLMQ_WARNING, "config-modules", cat->quant_file, err,
                           "are quantized, which the config denies");
}

const glmq_reader glmq_reader_fp8 = {
    .name = "fp8",
    .about = "FP8 safetensors: E4M3 in blocks, by channel or by tensor",
    .probe = fp8_probe,
    .open = fp8_open,
};
