/* AWQ checkpoints in gemm packing, as AutoAWQ and AutoRound write them:
 * <module>.qweight .scales .qzeros, packed along the output dimension.
 *
 * GPTQ has arrays of the same names; the shapes tell which it is: here a row of codes has an
 * eighth of the columns of a row of scales.  They also say which modules are quantized; the
 * configuration adds the group where shapes leave it open, and whether symmetry is meant. */
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "codecs/codec.h"
#include "overrides.h"
#include "reader.h"
#include "tally.h"
#include <string.h>
#include <strings.h>

static const glmq_slot_name slots[] = {
    { "qweight", GLMQ_SLOT_CODES, 1 },
    { "scales", GLMQ_SLOT_SCALES, 1 },
    { "qzeros", GLMQ_SLOT_ZEROS, 1 },
};

enum { PER_WORD = 8 };

typedef struct {
    glmq_graph *g;
    const glmq_catalog *cat;
    uint64_t group;      /* 0: the whole row, or not stated              */
    glmq_tally others;   /* modules of another group                     */
    glmq_tally unwanted; /* quantized, though the list says they are not */
    const cJSON *plain;  /* modules_to_not_convert                       */
    uint8_t zero_kind;
} job;

/* ---- the configuration ---- */

static const char *text_of(const cJSON *q, const char *a, const char *b)
{
    const char *text = glmq_json_string(q, a);
    if (!text) text = glmq_json_string(q, b);
    return text ? text : "";
}

/* Does the configuration name this format, in whatever version? */
static int is_named(const glmq_catalog *cat)
{
    const char *method = text_of(cat->quant, "quant_method", "method");

    if (strcasecmp(method, "awq") == 0) return 1;
    return glmq_is_auto_round(method) &&
           strstr(text_of(cat->quant, "packing_format", ""), "awq") != NULL;
}

static glmq_status refuse(const char *what, const char *name, glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s \"%s\" is not read by this version", what, name);
}

static glmq_status check_format(const cJSON *q, glmq_error *err)
{
    const char *method = text_of(q, "quant_method", "method");
    const char *packing = text_of(q, "packing_format", ""), *dtype = text_of(q, "pack_dtype", "");
    const char *version = glmq_json_string(q, "version");

    if (!version) version = text_of(q, "format", "checkpoint_format");
    if (glmq_is_auto_round(method)) {
        const char *type = glmq_json_string(q, "data_type");

        if (type && strcmp(type, "int") != 0) return refuse("AutoRound data type", type, err);
        if (strcmp(packing, "auto_round:auto_awq") != 0 && strcmp(packing, "auto_round:awq") != 0)
            return refuse("AutoRound packing format", packing, err);
        version = "";
    }
    if (*version && strcasecmp(version, "gemm") != 0)
        return refuse("AWQ packing version awq", version, err);
    if (*dtype && !strstr(dtype, "int32")) return refuse("pack_dtype", dtype, err);
    return GLMQ_OK;
}

static glmq_status note(job *j, const char *code, const char *text, glmq_error *err)
{
    if (glmq_graph_note(j->g, GLMQ_WARNING, code, NULL, j->cat->quant_file, "%s", text))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

static glmq_status read_config(job *j, glmq_error *err)
{
    const cJSON *q = j->cat->quant;
    const cJSON *zero = cJSON_GetObjectItemCaseSensitive(q, "zero_point");
    const cJSON *sym = cJSON_GetObjectItemCaseSensitive(q, "sym");
    glmq_override said = { .sym = -1 };

    j->zero_kind =
        cJSON_IsFalse(zero) || (!zero && cJSON_IsTrue(sym)) ? GLMQ_ZERO_MID : GLMQ_ZERO_STORED;
    if (!q)
        return note(j, "config-missing",
                    "no quantization config: parameters follow from the arrays", err);
    if (!is_named(j->cat))
        return note(j, "config-method",
                    "the arrays are packed as AWQ does it, which the config does not name", err);
    GLMQ_TRY(check_format(q, err));
    glmq_override_read(q, &said);
    if (said.bits && said.bits != 4)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "AWQ with %" PRIu64 " bits, there are only 4",
                         said.bits);
    j->group = said.group > 0 ? (uint64_t)said.group : 0;
    j->plain = cJSON_GetObjectItemCaseSensitive(q, "modules_to_not_convert");
    return GLMQ_OK;
}

/* ---- modules ---- */

static glmq_status check_arrays(const glmq_module *m, glmq_error *err)
{
    static const int matrices[] = { GLMQ_SLOT_CODES, GLMQ_SLOT_SCALES, GLMQ_SLOT_ZEROS };
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES], *scales = m->slot[GLMQ_SLOT_SCALES];

    for (size_t i = 0; i < GLMQ_COUNT(matrices); i++) {
        const glmq_array *a = m->slot[matrices[i]];
        if (a->rank != 2 || a->dims[0] == 0 || a->dims[1] == 0)
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: not a matrix", a->name);
        if (a != scales && a->dtype != GLMQ_DT_I32)
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected I32", a->name,
                             glmq_dtype_name((glmq_dtype)a->dtype));
    }
    if (scales->dims[1] % PER_WORD || codes->dims[1] != scales->dims[1] / PER_WORD)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: %" PRIu64 " columns for the %" PRIu64 " of %s, expected an eighth",
                         codes->name, codes->dims[1], scales->dims[1], scales->name);
    return GLMQ_OK;
}

/* Columns per scale: the configuration's if it gives this number of groups, else what the
 * arrays say.  0 stands for the whole row. */
static glmq_status measure_group(job *j, const glmq_module *m, uint32_t *group, glmq_error *err)
{
    const uint64_t groups = m->slot[GLMQ_SLOT_SCALES]->dims[0];
    const uint64_t cols = m->slot[GLMQ_SLOT_CODES]->dims[0];

    if (j->group && ceil_div_u64(cols, j->group) == groups) {
        *group = (uint32_t)j->group;
        return GLMQ_OK;
    }
    if (cols % groups || cols / groups > UINT32_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " groups for %" PRIu64 " columns",
                         m->slot[GLMQ_SLOT_SCALES]->name, groups, cols);
    *group = groups == 1 ? 0 : (uint32_t)(cols / groups);
    if (j->group) glmq_tally_add(&j->others, m->name, m->name_len);
    return GLMQ_OK;
}

static glmq_status add_module(void *user, const glmq_module *m, glmq_error *err)
{
    job *j = user;
    glmq_encoding e = { .codec = &glmq_codec_awq, .group_rows = 1, .bits = 4 };
    uint64_t rows, cols, want_rows, want_cols;

    if (!m->quantized) return glmq_hf_add_plain(j->g, j->cat, m->plain, err);
    GLMQ_TRY(check_arrays(m, err));
    rows = m->slot[GLMQ_SLOT_SCALES]->dims[1];
    cols = m->slot[GLMQ_SLOT_CODES]->dims[0];
    if (glmq_hf_module_shape(j->g, m, &want_rows, &want_cols) &&
        (rows != want_rows || cols != want_cols))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%.*s: %" PRIu64 " x %" PRIu64 ", expected %" PRIu64 " x %" PRIu64,
                         (int)m->name_len, m->name, rows, cols, want_rows, want_cols);
    GLMQ_TRY(measure_group(j, m, &e.group, err));
    e.scale_dtype = m->slot[GLMQ_SLOT_SCALES]->dtype;
    e.zero_kind = j->zero_kind;
    if (glmq_module_listed(m, j->plain)) glmq_tally_add(&j->unwanted, m->name, m->name_len);
    return glmq_hf_add_module(j->g, j->cat, m, &e, rows, cols, err);
}

/* ---- the reader ---- */

/* The first "….qweight" and the scales beside it: packed along the output dimension? */
static int is_packed_so(const glmq_catalog *cat)
{
    static const char codes[] = "qweight";
    const size_t tail = sizeof codes - 1;

    for (size_t i = 0; i < cat->count; i++) {
        const glmq_array *a = &cat->arrays[i], *scales;
        const size_t len = strlen(a->name);
        char name[1024];

        if (a->rank != 2 || len <= tail || len >= sizeof name ||
            strcmp(a->name + len - tail, codes) != 0 || a->name[len - tail - 1] != '.')
            continue;
        memcpy(name, a->name, len - tail);
        memcpy(name + len - tail, "g_idx", 6);
        if (glmq_catalog_find(cat, name, len - tail + 5)) return 0;
        memcpy(name + len - tail, "scales", 7);
        scales = glmq_catalog_find(cat, name, len - tail + 6);
        return scales && scales->rank == 2 && scales->dims[1] / PER_WORD == a->dims[1] &&
               scales->dims[1] % PER_WORD == 0;
    }
    return 0;
}

static int awq_probe(const glmq_catalog *cat)
{
    if (is_packed_so(cat)) return 95;
    return is_named(cat) ? 92 : 0;
}

static glmq_status awq_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    job j = { .g = g, .cat = cat };

    GLMQ_TRY(glmq_within(err, read_config(&j, err), "%s",
                         cat->quant_file ? cat->quant_file : "config.json"));
    GLMQ_TRY(glmq_modules_each(cat, slots, GLMQ_COUNT(slots), add_module, &j, err));
    GLMQ_TRY(glmq_tally_note(&j.others, g, GLMQ_WARNING, "config-group", cat->quant_file, err,
                             "do not have the config's groups of %" PRIu64, j.group));
    return glmq_tally_note(&j.unwanted, g, GLMQ_WARNING, "config-modules", cat->quant_file, err,
                           "are quantized, which the config denies");
}

const glmq_reader glmq_reader_awq = {
    .name = "awq",
    .about = "AWQ safetensors, gemm packing",
    .probe = awq_probe,
    .open = awq_open,
};
