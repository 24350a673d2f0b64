/* GPTQ checkpoints, as GPTQModel, AutoGPTQ and AutoRound write them:
 * <module>.qweight .scales .qzeros, and .g_idx.
 *
 * The arrays decide which modules are quantized, and with which bits and groups; the
 * configuration says what the arrays cannot: whether zero points are stored less one (v1) or
 * all is cut in planes, and whether the encoding is meant to be symmetric.  What it says of
 * single modules (overrides.h) has to be true. */
#include "codecs/gptq.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "gptq_module.h"
#include "overrides.h"
#include "perm.h"
#include "reader.h"
#include "tally.h"
#include <string.h>
#include <strings.h>

static const glmq_slot_name slots[] = {
    { "qweight", GLMQ_SLOT_CODES, 1 },
    { "scales", GLMQ_SLOT_SCALES, 1 },
    { "qzeros", GLMQ_SLOT_ZEROS, 1 },
    { "g_idx", GLMQ_SLOT_PERM, 0 },
};

typedef struct glmq_gptq_modules {
    glmq_graph *g;
    const glmq_catalog *cat;
    glmq_override base; /* what quantization_config says of all modules */
    glmq_overrides *overrides;
    uint8_t variant;
    glmq_tally bits, groups;   /* stored unlike the configuration           */
    glmq_tally denied, unsure; /* quantized, though it says they are not    */
    glmq_tally unlike;         /* a pattern of extra_config is not true     */
    const char *denier, *liar;
    const char *last; /* module in `unlike`: once for all that is not so */
} job;

/* ---- the configuration ---- */

/* The text under the first key that is there. */
static const char *first_text(const cJSON *o, const char *const *keys, size_t n)
{
    const cJSON *node = glmq_json_first(o, keys, n);
    return cJSON_IsString(node) ? node->valuestring : "";
}

static glmq_status refuse(const char *what, const char *name, glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s \"%s\" is not read by this version", what, name);
}

/* checkpoint_format of GPTQModel and AutoGPTQ. */
static glmq_status gptq_format(const cJSON *q, uint8_t *variant, glmq_error *err)
{
    static const char *const keys[] = { "checkpoint_format", "format" };
    const char *format = first_text(q, keys, GLMQ_COUNT(keys));

    static const struct {
        const char *word;
        uint8_t variant;
    } known[] = {
        { "", GPTQ_V1 },
        { "gptq", GPTQ_V1 },
        { "gptq_v2", GPTQ_V2 },
        { "gptq_p", GPTQ_PLANAR },
    };

    for (size_t i = 0; i < GLMQ_COUNT(known); i++) {
        if (strcmp(format, known[i].word) != 0) continue;
        *variant = known[i].variant;
        return GLMQ_OK;
    }
    return refuse("GPTQ checkpoint format", format, err);
}

/* packing_format of AutoRound. */
static glmq_status round_format(const cJSON *q, uint8_t *variant, glmq_error *err)
{
    static const char *const keys[] = { "packing_format" };
    static const char *const foreign[] = { "awq", "llm_compressor", "fp8", "mx", "nv", "gguf" };
    const cJSON *sym = cJSON_GetObjectItemCaseSensitive(q, "sym");
    const char *format = first_text(q, keys, 1);
    const char *type = glmq_json_string(q, "data_type");

    if (type && strcmp(type, "int") != 0) return refuse("AutoRound data type", type, err);
    if (!*format) format = cJSON_IsFalse(sym) ? "auto_round" : "auto_round:auto_gptq";
    for (size_t i = 0; i < GLMQ_COUNT(foreign); i++)
        if (strstr(format, foreign[i])) return refuse("AutoRound packing format", format, err);
    if (strncmp(format, "auto_round", 10) != 0)
        return refuse("AutoRound packing format", format, err);
    *variant = strstr(format, "gptq") && !strstr(format, "gptqmodel") ? GPTQ_V1 : GPTQ_V2;
    return GLMQ_OK;
}

static int is_gptq(const char *method)
{
    return strcasecmp(method, "gptq") == 0 || strcasecmp(method, "gptqmodel") == 0;
}

static glmq_status method_format(const cJSON *q, uint8_t *variant, glmq_error *err)
{
    static const char *const keys[] = { "quant_method", "method" };
    const char *method = first_text(q, keys, GLMQ_COUNT(keys));

    if (glmq_is_auto_round(method)) return round_format(q, variant, err);
    if (is_gptq(method) || !*method) /* not stated: old quantize_config.json */
        return gptq_format(q, variant, err);
    return refuse("quantization method", method, err);
}

/* Things that change the meaning of the arrays. */
static glmq_status refuse_others(const glmq_catalog *cat, const cJSON *q, glmq_error *err)
{
    static const char *const pack[] = { "pack_dtype" };
    const char *dtype = first_text(q, pack, 1);
    const cJSON *entry;

    if (cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(q, "is_marlin_format")))
        return refuse("GPTQ checkpoint format", "marlin", err);
    if (*dtype && !strstr(dtype, "int32")) return refuse("pack_dtype", dtype, err);
    cJSON_ArrayForEach(entry, cJSON_GetObjectItemCaseSensitive(q, "extra_config"))
    {
        const char *format = glmq_json_string(entry, "format");
        if (format && strcmp(format, "vq") == 0) return refuse("module format", "vq", err);
    }
    if (cJSON_IsObject(glmq_json_get(cat->config, "vq"))) return refuse("format", "vq", err);
    return GLMQ_OK;
}

/* The copies of the configuration that some tools leave beside config.json. */
static glmq_status compare_copy(glmq_graph *g, const glmq_catalog *cat, const char *file,
                                const glmq_override *base, glmq_error *err)
{
    glmq_override copy = { .sym = -1 };
    cJSON *q = NULL;
    char *text = NULL;
    size_t len = 0;
    glmq_status st = GLMQ_OK;

    if (cat->quant_file && strcmp(cat->quant_file, file) == 0) return GLMQ_OK;
    GLMQ_TRY(glmq_catalog_side_file(cat->source, file, &text, &len, err));
    if (!text) return GLMQ_OK;
    st = glmq_json_parse(&q, text, len, 0, err);
    if (st == GLMQ_E_NOMEM) goto done;
    if (!st) {
        glmq_override_read(q, &copy);
        if (copy.bits != base->bits || copy.group != base->group || copy.sym != base->sym)
            st = glmq_graph_note(g, GLMQ_WARNING, "config-copy", NULL, file,
                                 "differs from the quantization_config of config.json, which "
                                 "counts");
    } else {
        st = GLMQ_OK; /* a copy that cannot be read says nothing */
    }
done:
    cJSON_Delete(q);
    glmq_free(text);
    return st ? glmq_fail(err, st, "problems") : GLMQ_OK;
}

static glmq_status read_config(job *j, glmq_error *err)
{
    const cJSON *q = j->cat->quant;
    const char *file = j->cat->quant_file ? j->cat->quant_file : "config.json";

    j->base = (glmq_override){ .sym = -1 };
    j->variant = GPTQ_V1;
    GLMQ_TRY(glmq_within(err, glmq_overrides_open(&j->overrides, j->cat, q, err), "%s", file));
    if (!q) {
        if (glmq_graph_note(j->g, GLMQ_WARNING, "config-missing", NULL, NULL,
                            "no quantization config: zero points are taken as stored less one"))
            return glmq_fail(err, GLMQ_E_NOMEM, "problems");
        return GLMQ_OK;
    }
    GLMQ_TRY(glmq_within(err, refuse_others(j->cat, q, err), "%s", file));
    GLMQ_TRY(glmq_within(err, method_format(q, &j->variant, err), "%s", file));
    glmq_override_read(q, &j->base);
    if (j->base.sym < 0 && glmq_graph_note(j->g, GLMQ_WARNING, "config-sym", NULL, file,
                                           "sym is not stated, taken as true"))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    GLMQ_TRY(compare_copy(j->g, j->cat, "quantize_config.json", &j->base, err));
    return compare_copy(j->g, j->cat, "quantization_config.json", &j->base, err);
}

/* ---- modules ---- */

/* The arrays are [words, N], [G, N] and [G, …]; anything else is refused here by name. */
static glmq_status check_ranks(const glmq_module *m, glmq_error *err)
{
    static const int matrices[] = { GLMQ_SLOT_CODES, GLMQ_SLOT_SCALES, GLMQ_SLOT_ZEROS };
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES], *scales = m->slot[GLMQ_SLOT_SCALES];

    for (size_t i = 0; i < GLMQ_COUNT(matrices); i++) {
        const glmq_array *a = m->slot[matrices[i]];
        if (a->rank != 2 || a->dims[0] == 0 || a->dims[1] == 0)
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: not a matrix", a->name);
    }
    if (codes->dtype != GLMQ_DT_I32)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected I32", codes->name,
                         glmq_dtype_name((glmq_dtype)codes->dtype));
    if (!glmq_dtype_is_float((glmq_dtype)scales->dtype))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected F16, BF16 or F32",
                         scales->name, glmq_dtype_name((glmq_dtype)scales->dtype));
    return GLMQ_OK;
}

/* AWQ packs along N: as many rows as there are columns, an eighth of the columns. */
static glmq_status check_width(const glmq_module *m, glmq_error *err)
{
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES], *scales = m->slot[GLMQ_SLOT_SCALES];

    if (codes->dims[1] == scales->dims[1]) return GLMQ_OK;
    if (!m->slot[GLMQ_SLOT_PERM] && codes->dims[1] == scales->dims[1] / 8)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: AWQ packing beside modules of GPTQ",
                         codes->name);
    return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " columns, %s has %" PRIu64, codes->name,
                     codes->dims[1], scales->name, scales->dims[1]);
}

static int is_width(uint64_t bits)
{
    return bits >= 2 && bits <= 8;
}

/* Do `words` 32-bit words hold just `cols` codes of `bits` bits? */
static int fits(uint64_t words, uint64_t cols, uint64_t bits)
{
    return is_width(bits) && ceil_div_u64(cols * bits, 32) == words;
}

static void remember(glmq_tally *t, const glmq_module *m)
{
    glmq_tally_add(t, m->name, m->name_len);
}

/* An entry for some modules is not true of one of them.  AutoRound itself stores modules that
 * it adds at the end (MTP) without a look at its patterns: those are only noted. */
static glmq_status untrue(job *j, const glmq_module *m, const glmq_array *a,
                          const glmq_override *says, const char *what, int64_t want,
                          uint64_t stored, glmq_error *err)
{
    if (says->searched) {
        if (!j->unlike.count) j->liar = says->key;
        if (j->last != m->name) remember(&j->unlike, m);
        j->last = m->name;
        return GLMQ_OK;
    }
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s: its shape is that of %s %" PRIu64 ", the config says %" PRId64
                     " (\"%.200s\")",
                     a->name, what, stored, want, says->key);
}

/* The width of `cols` codes: what the configuration says if it fits. */
static glmq_status measure_bits(const job *j, const glmq_override *says, const glmq_array *codes,
                                uint64_t cols, uint64_t *bits, glmq_error *err)
{
    const uint8_t usual[] = { 4, 8, 2, 3, 5, 6, 7 };

    *bits = says->bits && !says->plain ? says->bits : j->base.bits;
    if (fits(codes->dims[0], cols, *bits)) return GLMQ_OK;
    for (size_t i = 0; i < GLMQ_COUNT(usual); i++) {
        *bits = usual[i];
        if (fits(codes->dims[0], cols, *bits)) return GLMQ_OK;
    }
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s: %" PRIu64 " rows of 32 bits are no codes for %" PRIu64 " columns",
                     codes->name, codes->dims[0], cols);
}

/* Bits and columns: from the model's shape, or else from the zero points, which pack N. */
static glmq_status measure(const job *j, const glmq_override *says, const glmq_module *m,
                           uint64_t *bits, uint64_t *cols, glmq_error *err)
{
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES], *zeros = m->slot[GLMQ_SLOT_ZEROS];
    const uint64_t rows = codes->dims[1];
    uint64_t stored, want_rows;

    if (mul_u64(codes->dims[0], 32, &stored))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: too many rows", codes->name);
    if (glmq_hf_module_shape(j->g, m, &want_rows, cols)) {
        if (want_rows == rows) return measure_bits(j, says, codes, *cols, bits, err);
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " columns, expected %" PRIu64,
                         codes->name, rows, want_rows);
    }
    if (mul_u64(zeros->dims[1], 32, bits))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: too many columns", zeros->name);
    if (rows % 32 == 0 && *bits % rows == 0)
        *bits /= rows;
    else
        *bits = says->bits && !says->plain ? says->bits : j->base.bits;
    if (!is_width(*bits) || stored % *bits)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: the number of bits cannot be told", codes->name);
    *cols = stored / *bits;
    return GLMQ_OK;
}

/* Is the row, or its run of columns, of the size that the configuration says? */
static int is_group(int64_t group, uint64_t cols, uint64_t groups)
{
    if (group < 0) return groups == 1;
    return group > 0 && ceil_div_u64(cols, (uint64_t)group) == groups;
}

/* Columns per scale: the configuration's if the number of groups fits it, else what the
 * arrays say.  0 stands for the whole row. */
static glmq_status measure_group(job *j, const glmq_override *says, const glmq_module *m,
                                 uint64_t cols, uint32_t *group, glmq_error *err)
{
    const glmq_array *scales = m->slot[GLMQ_SLOT_SCALES];
    const uint64_t groups = scales->dims[0];
    const int64_t want = says->group && !says->plain ? says->group : j->base.group;

    if (is_group(want, cols, groups))
        *group = want > 0 ? (uint32_t)want : 0;
    else if (groups == 1)
        *group = 0;
    else if (cols % groups == 0 && cols / groups <= UINT32_MAX)
        *group = (uint32_t)(cols / groups);
    else
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " groups for %" PRIu64 " columns",
                         scales->name, groups, cols);
    if (says->group && !says->plain && !is_group(says->group, cols, groups))
        return untrue(j, m, scales, says, "group_size", says->group, *group ? *group : cols, err);
    return GLMQ_OK;
}

/* Symmetric says the configuration, for all or for this module.  Where it makes exceptions the
 * zeros of the first group are asked too: no two tools read the patterns alike. */
static glmq_status measure_zeros(const job *j, const glmq_override *says, const glmq_module *m,
                                 uint64_t cols, glmq_encoding *e, glmq_error *err)
{
    const glmq_array *zeros = m->slot[GLMQ_SLOT_ZEROS];
    const uint64_t rows = m->slot[GLMQ_SLOT_CODES]->dims[1];
    const uint64_t words = ceil_div_u64(rows * e->bits, 32);
    const int sym = says->sym >= 0 ? says->sym : j->base.sym;
    glmq_encoding one = *e;
    glmq_bufs bufs = { 0 };
    uint8_t *row;
    glmq_status st;

    e->zero_kind = sym == 0 ? GLMQ_ZERO_STORED : GLMQ_ZERO_MID;
    if (sym == 0 || !glmq_overrides_asym(j->overrides) || zeros->dtype != GLMQ_DT_I32 ||
        zeros->dims[1] != words)
        return GLMQ_OK;
    row = glmq_alloc((size_t)words * 4);
    if (!row) return glmq_fail(err, GLMQ_E_NOMEM, "%s", zeros->name);
    st = glmq_source_read(j->cat->source, zeros->file, zeros->offset, row, (size_t)words * 4, err);
    bufs.buf[GLMQ_SLOT_ZEROS] = row;
    one.zero_kind = GLMQ_ZERO_MID;
    one.group = 0;
    if (!st) st = one.codec->check(&one, &bufs, rows, cols, err);
    glmq_free(row);
    e->zero_kind = one.zero_kind;
    return st ? glmq_within(err, st, "%s", zeros->name) : GLMQ_OK;
}

/* What differs from the configuration's words for all modules is noted. */
static void compare(job *j, const glmq_module *m, const glmq_override *says, const glmq_encoding *e)
{
    const int quantized = says->key && !says->plain;

    if (!(quantized && says->bits) && j->base.bits && j->base.bits != e->bits)
        remember(&j->bits, m);
    if (!(quantized && says->group) && j->base.group > 0 && e->group != 0 &&
        e->group != (uint32_t)j->base.group)
        remember(&j->groups, m);
    if (!says->plain) return;
    if (strcmp(says->key, "modules_in_block_to_quantize") == 0) {
        remember(&j->unsure, m); /* some tools list the attention alone */
        return;
    }
    if (!j->denied.count) j->denier = says->key;
    remember(&j->denied, m);
}

/* 5, 6 and 7 bits have no other packing; 2, 4 and 8 are one plane, which is v2. */
static uint8_t variant_of(const job *j, uint64_t bits)
{
    if (bits >= 5 && bits <= 7) return GPTQ_PLANAR;
    return j->variant == GPTQ_PLANAR && bits != 3 ? GPTQ_V2 : j->variant;
}

static glmq_status add_quantized(job *j, const glmq_module *m, const glmq_override *says,
                                 glmq_error *err)
{
    glmq_encoding e = { .codec = &glmq_codec_gptq, .group_rows = 1 };
    uint64_t bits = 0, cols = 0;

    GLMQ_TRY(check_ranks(m, err));
    GLMQ_TRY(check_width(m, err));
    GLMQ_TRY(measure(j, says, m, &bits, &cols, err));
    if (says->bits && !says->plain && says->bits != bits)
        GLMQ_TRY(
            untrue(j, m, m->slot[GLMQ_SLOT_CODES], says, "bits", (int64_t)says->bits, bits, err));
    e.bits = (uint8_t)bits;
    e.variant = variant_of(j, bits);
    GLMQ_TRY(measure_group(j, says, m, cols, &e.group, err));
    e.scale_dtype = m->slot[GLMQ_SLOT_SCALES]->dtype;
    GLMQ_TRY(measure_zeros(j, says, m, cols, &e, err));
    GLMQ_TRY(glmq_perm_look(j->cat, m->slot[GLMQ_SLOT_PERM], cols, e.group, &e.act_order, err));
    compare(j, m, says, &e);
    return glmq_hf_add_module(j->g, j->cat, m, &e, m->slot[GLMQ_SLOT_CODES]->dims[1], cols, err);
}

static glmq_status add_module(void *user, const glmq_module *m, glmq_error *err)
{
    job *j = user;
    glmq_override says;

    if (!m->quantized) return glmq_hf_add_plain(j->g, j->cat, m->plain, err);
    GLMQ_TRY(glmq_overrides_of(j->overrides, m, &says, err));
    return add_quantized(j, m, &says, err);
}

/* ---- the reader ---- */

static int gptq_probe(const glmq_catalog *cat)
{
    const char *method = glmq_json_string(cat->quant, "quant_method");

    if (glmq_catalog_has_suffix(cat, "qweight", GLMQ_DT_NONE)) return 90;
    return method && (is_gptq(method) || glmq_is_auto_round(method)) ? 50 : 0;
}

/* What was counted, one problem each. */
static glmq_status note_all(const job *j, glmq_error *err)
{
    const char *file = j->cat->quant_file;

    GLMQ_TRY(glmq_tally_note(&j->bits, j->g, GLMQ_WARNING, "config-bits", file, err,
                             "are not stored in the %" PRIu64 " bits of the config", j->base.bits));
    GLMQ_TRY(glmq_tally_note(&j->groups, j->g, GLMQ_WARNING, "config-group", file, err,
                             "do not have the config's groups of %" PRId64, j->base.group));
    GLMQ_TRY(glmq_tally_note(&j->denied, j->g, GLMQ_WARNING, "config-modules", file, err,
                             "are quantized, which the config denies (\"%s\")", j->denier));
    GLMQ_TRY(glmq_tally_note(&j->unlike, j->g, GLMQ_WARNING, "config-mismatch", file, err,
                             "are not stored as the config says (\"%s\")", j->liar));
    return glmq_tally_note(&j->unsure, j->g, GLMQ_NOTE, "config-modules", file, err,
                           "are quantized, though modules_in_block_to_quantize does not name them");
}

/* ---- modules beside those of another format ---- */

glmq_status glmq_gptq_begin(glmq_gptq_modules **out, glmq_graph *g, const glmq_catalog *cat,
                            glmq_error *err)
{
    const char *format = glmq_json_string(cat->quant, "packing_format");
    job *j = glmq_alloc_zero(1, sizeof *j);
    glmq_status st;

    *out = j;
    if (!j) return glmq_fail(err, GLMQ_E_NOMEM, "modules of GPTQ");
    *j = (job){ .g = g, .cat = cat, .base = { .sym = -1 }, .variant = GPTQ_V1 };
    st = glmq_overrides_open(&j->overrides, cat, NULL, err);
    if (!st && format) st = round_format(cat->quant, &j->variant, err);
    if (j->variant == GPTQ_V1) j->variant = GPTQ_V1_OR;
    glmq_override_read(cat->quant, &j->base);
    return st;
}

glmq_status glmq_gptq_add(glmq_gptq_modules *modules, const glmq_module *m, const cJSON *entry,
                          int searched, glmq_error *err)
{
    glmq_override says = { .sym = -1 };

    for (size_t i = 0; i < GLMQ_COUNT(slots); i++)
        if (slots[i].required && !m->slot[slots[i].slot])
            return glmq_fail_missing(err, GLMQ_E_FORMAT, "%.*s.%s is missing", (int)m->name_len,
                                     m->name, slots[i].suffix);
    if (entry) glmq_override_read(entry, &says);
    if (entry) says.key = entry->string;
    says.searched = searched;
    return add_quantized(modules, m, &says, err);
}

glmq_status glmq_gptq_finish(const glmq_gptq_modules *modules, glmq_error *err)
{
    return note_all(modules, err);
}

void glmq_gptq_end(glmq_gptq_modules *modules)
{
    if (modules) glmq_overrides_close(modules->overrides);
    glmq_free(modules);
}

static glmq_status gptq_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    job j = { .g = g, .cat = cat };
    glmq_status st;

    st = read_config(&j, err);
    if (!st) st = glmq_modules_each(cat, slots, GLMQ_COUNT(slots), add_module, &j, err);
    if (!st) st = note_all(&j, err);
    glmq_overrides_close(j.overrides);
    return st;
}

const glmq_reader glmq_reader_gptq = {
    .name = "gptq",
    .about = "GPTQ and AutoRound safetensors",
    .probe = gptq_probe,
    .open = gptq_open,
};
