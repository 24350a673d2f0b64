/* compressed-tensors checkpoints (llm-compressor and others): integer weights,
 *   pack-quantized    <module>.weight_packed .weight_scale [.weight_zero_point] .weight_shape
 *   int-quantized     <module>.weight (I8)   .weight_scale [.weight_zero_point]
 * and .weight_g_idx with activation order; FP8 and FP4:
 *   float-quantized, mxfp8-quantized   <module>.weight (E4M3) .weight_scale
 *   nvfp4-pack-quantized               <module>.weight_packed (U8) .weight_scale (E4M3)
 *                                      .weight_global_scale [.input_global_scale]
 *   mxfp4-pack-quantized               <module>.weight_packed (U8) .weight_scale (E8M0 in U8)
 *
 * A module is quantized if and only if these arrays exist.  Bits, groups and zero points
 * follow from their shapes; the configuration (ct_config.h) settles what shapes leave open,
 * and is compared with them.  One checkpoint may hold all of these. */
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "codecs/ctpack.h"
#include "codecs/fp4.h"
#include "ct_config.h"
#include "fp4_module.h"
#include "fp8_module.h"
#include "perm.h"
#include "reader.h"
#include "tally.h"
#include <stdio.h>
#include <string.h>

static const glmq_slot_name slots[] = {
    { "weight_packed", GLMQ_SLOT_CODES, 0 },     { "weight_scale", GLMQ_SLOT_SCALES, 0 },
    { "weight_zero_point", GLMQ_SLOT_ZEROS, 0 }, { "weight_shape", GLMQ_SLOT_SHAPE, 0 },
    { "weight_g_idx", GLMQ_SLOT_PERM, 0 },       { "weight_global_scale", GLMQ_SLOT_GLOBAL, 0 },
    { "input_scale", GLMQ_SLOT_INPUT_SCALE, 0 }, { "input_global_scale", GLMQ_SLOT_INPUT_SCALE, 0 },
};

typedef struct {
    glmq_graph *g;
    const glmq_catalog *cat;
    ct_config config;
    glmq_tally unlike;       /* modules that differ from their scheme          */
    const ct_scheme *scheme; /* of the first of those                          */
    const char *why;         /* in what it differs                             */
    glmq_tally denied;       /* quantized, though the config says they are not */
} job;

static glmq_status read_config(job *j, glmq_error *err)
{
    if (!j->cat->quant &&
        glmq_graph_note(j->g, GLMQ_WARNING, "config-missing", NULL, NULL,
                        "no quantization config: parameters follow from the arrays alone"))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return glmq_within(err, ct_config_open(&j->config, j->cat->quant, err), "%s",
                       j->cat->quant_file ? j->cat->quant_file : "config.json");
}

/* ---- shapes ---- */

/* weight_shape of a module that the model does not know: the only data read here. */
static glmq_status read_shape(const job *j, const glmq_module *m, uint64_t *rows, uint64_t *cols,
                              glmq_error *err)
{
    const glmq_array *a = m->slot[GLMQ_SLOT_SHAPE];
    uint8_t raw[16];
    uint64_t v[2];

    if (!a)
        return glmq_fail_missing(err, GLMQ_E_FORMAT, "%.*s.weight_shape is missing",
                                 (int)m->name_len, m->name);
    if (!((a->dtype == GLMQ_DT_I64 && a->bytes == 16) ||
          (a->dtype == GLMQ_DT_I32 && a->bytes == 8)))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: not two integers", a->name);
    GLMQ_TRY(glmq_source_read(j->cat->source, a->file, a->offset, raw, (size_t)a->bytes, err));
    for (int i = 0; i < 2; i++)
        v[i] = a->dtype == GLMQ_DT_I64 ? load_le64(raw + 8 * i) : load_le32(raw + 4 * i);
    if (v[0] == 0 || v[1] == 0 || v[0] > INT32_MAX || v[1] > INT32_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " x %" PRIu64, a->name, v[0], v[1]);
    *rows = v[0];
    *cols = v[1];
    return GLMQ_OK;
}

/* Rows of the stored codes, and columns: the model's, or weight_shape's. */
static glmq_status measure_shape(const job *j, const glmq_module *m, const glmq_array *codes,
                                 uint64_t *rows, uint64_t *cols, glmq_error *err)
{
    if (codes->rank != 2)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %d dimensions, expected 2", codes->name,
                         codes->rank);
    if (codes == m->plain) {
        *rows = codes->dims[0];
        *cols = codes->dims[1];
    } else if (!glmq_hf_module_shape(j->g, m, rows, cols)) {
        GLMQ_TRY(read_shape(j, m, rows, cols, err));
    }
    if (codes->dims[0] != *rows)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " rows, expected %" PRIu64, codes->name,
                         codes->dims[0], *rows);
    return GLMQ_OK;
}

/* Are `words` 32-bit words a row of `cols` codes of `bits` bits, as a dense bit stream? */
static int fits(uint64_t words, uint64_t cols, uint64_t bits)
{
    return bits >= 1 && bits <= 8 && ceil_div_u64(cols * bits, 32) == words;
}

/* … or with as many codes in each as it holds whole, where that is not the same? */
static int fits_loosely(uint64_t words, uint64_t cols, uint64_t bits)
{
    return bits >= 3 && bits <= 7 && 32 % bits && ceil_div_u64(cols, 32 / bits) == words;
}

/* Bits of packed codes: the module's scheme's if the width agrees, or else any scheme's, or
 * else the one width that does.  Both packings may have one width: then the release tells. */
static glmq_status measure_bits(const job *j, const ct_scheme *scheme, const glmq_array *codes,
                                uint64_t cols, glmq_encoding *e, glmq_error *err)
{
    static const uint8_t usual[] = { 4, 8, 2, 3, 5, 6, 7, 1 };
    const ct_config *c = &j->config;
    const uint64_t words = codes->dims[1];

    for (size_t i = 0; i <= c->count; i++) {
        const ct_scheme *s = i ? &c->schemes[i - 1] : scheme;
        if (!s || s->type != CT_INT) continue;
        const int dense = fits(words, cols, s->bits), loose = fits_loosely(words, cols, s->bits);
        if (!dense && !loose) continue;
        e->bits = (uint8_t)s->bits;
        if (loose && (!dense || c->loose)) e->variant |= CT_LOOSE;
        return GLMQ_OK;
    }
    for (size_t i = 0; i < GLMQ_COUNT(usual); i++) {
        if (!fits(words, cols, usual[i])) continue;
        e->bits = usual[i];
        return GLMQ_OK;
    }
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s: %" PRIu64 " words are no codes for %" PRIu64 " columns", codes->name,
                     words, cols);
}

/* The scale's shape: [N, G] by group, [N, 1] or [N] by channel, [1] or [] for the tensor. */
static glmq_status measure_groups(const glmq_module *m, uint64_t rows, uint64_t cols,
                                  glmq_encoding *e, glmq_error *err)
{
    const glmq_array *s = m->slot[GLMQ_SLOT_SCALES];
    const uint64_t n = s->rank > 0 ? s->dims[0] : 1, groups = s->rank > 1 ? s->dims[1] : 1;

    if (!glmq_dtype_is_float((glmq_dtype)s->dtype))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected BF16, F16 or F32", s->name,
                         glmq_dtype_name((glmq_dtype)s->dtype));
    e->scale_dtype = s->dtype;
    e->group_rows = 1;
    e->group = 0;
    if (s->rank <= 2 && n == 1 && groups == 1 && (rows > 1 || s->rank < 2)) {
        e->group_rows = 0;
        return GLMQ_OK;
    }
    if (s->rank > 2 || n != rows || groups == 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " x %" PRIu64 " for %" PRIu64 " rows",
                         s->name, n, groups, rows);
    if (groups == 1) return GLMQ_OK;
    if (cols % groups || cols / groups > UINT32_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " groups for %" PRIu64 " columns",
                         s->name, groups, cols);
    e->group = (uint32_t)(cols / groups);
    return GLMQ_OK;
}

static glmq_status measure_zeros(const glmq_module *m, glmq_encoding *e, glmq_error *err)
{
    const glmq_array *z = m->slot[GLMQ_SLOT_ZEROS], *shape = m->slot[GLMQ_SLOT_SHAPE];
    const uint8_t narrow = shape && shape->dtype == GLMQ_DT_I32 ? CT_SHAPE_I32 : 0;

    e->zero_kind = z ? GLMQ_ZERO_STORED : GLMQ_ZERO_MID;
    e->variant |= CT_ZERO_PACKED | narrow;
    if (!z) return GLMQ_OK;
    if (z->dtype != GLMQ_DT_I32 && z->dtype != GLMQ_DT_I8)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected I32 or I8", z->name,
                         glmq_dtype_name((glmq_dtype)z->dtype));
    if (z->dtype == GLMQ_DT_I8) e->variant |= CT_ZERO_I8;
    return GLMQ_OK;
}

/* ---- arrays against the configuration ---- */

/* Why a scheme does not describe the arrays; NULL when it does.  One group that spans the
 * row is what a channel is. */
static const char *disagrees(const ct_scheme *s, const glmq_encoding *e, uint64_t cols)
{
    const uint64_t group = e->group ? e->group : cols;
    const uint64_t want = s->group < cols ? s->group : cols; /* a short row is one group */

    if (s->type != CT_INT) return "type";
    if (s->bits != e->bits) return "bits";
    if (s->strategy == STRATEGY_GROUP && want != group) return "group size";
    if (s->strategy == STRATEGY_CHANNEL && (e->group || !e->group_rows)) return "strategy";
    if (s->strategy == STRATEGY_TENSOR && e->group_rows) return "strategy";
    if (s->strategy == STRATEGY_OTHER) return "strategy";
    if (!s->symmetric && e->zero_kind == GLMQ_ZERO_MID) return "symmetry: no zero points stored";
    return NULL;
}

static void remember(job *j, const glmq_module *m, const ct_scheme *s, const char *why)
{
    glmq_tally_add(&j->unlike, m->name, m->name_len);
    if (j->unlike.count > 1) return;
    j->scheme = s;
    j->why = why;
}

/* Any scheme but `not_this` that describes the arrays. */
static const ct_scheme *other_scheme(const job *j, const ct_scheme *not_this,
                                     const glmq_encoding *e, uint64_t cols)
{
    for (size_t i = 0; i < j->config.count; i++) {
        const ct_scheme *s = &j->config.schemes[i];
        if (s != not_this && !disagrees(s, e, cols)) return s;
    }
    return NULL;
}

static int lacks_zeros(const ct_scheme *s, const glmq_encoding *e)
{
    return s && s->type == CT_INT && !s->symmetric && e->zero_kind == GLMQ_ZERO_MID;
}

/* The module's scheme should describe its arrays; some other must, where there are several. */
static glmq_status compare(job *j, const glmq_module *m, const ct_scheme *scheme, glmq_encoding *e,
                           uint64_t cols, glmq_error *err)
{
    const ct_scheme *only = j->config.count == 1 ? &j->config.schemes[0] : NULL;
    const char *why = scheme ? disagrees(scheme, e, cols) : NULL;
    const ct_scheme *s = scheme && !why ? scheme : other_scheme(j, scheme, e, cols);

    if (s && s->strategy == STRATEGY_GROUP) e->group = (uint32_t)s->group;
    if (why && (s || only)) remember(j, m, scheme, why);
    if (s || j->config.count == 0) return GLMQ_OK;
    if (lacks_zeros(only ? only : scheme, e))
        return glmq_fail_missing(err, GLMQ_E_FORMAT,
                                 "%.*s.weight_zero_point is missing, the config says "
                                 "asymmetric",
                                 (int)m->name_len, m->name);
    if (!only)
        return glmq_fail(err, GLMQ_E_FORMAT, "%.*s: no config group describes its arrays",
                         (int)m->name_len, m->name);
    if (!why) remember(j, m, only, disagrees(only, e, cols));
    return GLMQ_OK;
}

/* Old releases stored zero points of symmetric modules too, all in the middle.  Others are a
 * contradiction: some loaders look at them, some do not.  The first row's tell. */
static glmq_status doubt_zeros(job *j, const glmq_module *m, const ct_scheme *scheme,
                               const glmq_encoding *e, uint64_t cols, glmq_error *err)
{
    const glmq_array *z = m->slot[GLMQ_SLOT_ZEROS];
    const size_t width = e->variant & CT_ZERO_I8 ? 1 : 4;
    const uint32_t mask = (1u << e->bits) - 1, middle = width == 1 ? 0 : 1u << (e->bits - 1);
    uint8_t row[4096];
    uint64_t n = z && z->rank == 2 ? z->dims[1] : 1;
    uint32_t off = 0;

    if (!z || !scheme || !scheme->symmetric || disagrees(scheme, e, cols)) return GLMQ_OK;
    if (n > z->bytes / width) n = z->bytes / width;
    if (n > sizeof row / width) n = sizeof row / width;
    GLMQ_TRY(glmq_source_read(j->cat->source, z->file, z->offset, row, (size_t)n * width, err));
    for (size_t i = 0; i < n; i++)
        off |= (width == 1 ? row[i] : load_le32(row + 4 * i) & mask) ^ middle;
    if (off) remember(j, m, scheme, "symmetry: zero points are stored");
    return GLMQ_OK;
}

/* ---- modules ---- */

/* Four-bit floats: groups of 16 are NVFP4, groups of 32 MXFP4, and the config must know of them. */
static glmq_status add_fp4(job *j, const glmq_module *m, const ct_scheme *scheme, glmq_error *err)
{
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES], *scales = m->slot[GLMQ_SLOT_SCALES];
    const uint8_t dtype = scales ? scales->dtype : GLMQ_DT_NONE;
    const uint64_t group = dtype == GLMQ_DT_F8_E4M3 ? 16 : dtype == GLMQ_DT_U8 ? 32 : 0;
    int known = j->config.count == 0 || !group;

    for (size_t i = 0; i < j->config.count && !known; i++)
        known = j->config.schemes[i].type == CT_FP4 && j->config.schemes[i].group == group;
    if (!known)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: four-bit floats in groups of %" PRIu64 ", the config has none",
                         codes->name, group);
    if (scheme && scheme->type != CT_FP4)
        remember(j, m, scheme, "type");
    else if (scheme && group && scheme->group != group)
        remember(j, m, scheme, "group size");
    return glmq_hf_add_fp4(j->g, j->cat, m, codes, FP4_CT, err);
}

/* A weight still in floats: its quantization parameters say nothing about what is stored. */
static glmq_status add_fake(job *j, const glmq_module *m, glmq_error *err)
{
    for (int i = 0; i < GLMQ_SLOTS; i++)
        if (m->slot[i])
            GLMQ_TRY(glmq_hf_drop(j->g, j->cat, m->slot[i], GLMQ_NOTE,
                                  "a quantization parameter of a weight stored in floats", err));
    return glmq_hf_add_plain(j->g, j->cat, m->plain, err);
}

static glmq_status add_integers(job *j, const glmq_module *m, const ct_scheme *scheme,
                                const glmq_array *codes, glmq_error *err)
{
    const int packed = codes != m->plain;
    glmq_encoding e = { .codec = packed ? &glmq_codec_ctpack : &glmq_codec_ctint, .bits = 8 };
    glmq_module whole = *m;
    uint64_t rows, cols;

    if (packed && codes->dtype != GLMQ_DT_I32)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected I32", codes->name,
                         glmq_dtype_name((glmq_dtype)codes->dtype));
    if (!m->slot[GLMQ_SLOT_SCALES])
        return glmq_fail_missing(err, GLMQ_E_FORMAT, "%.*s.weight_scale is missing",
                                 (int)m->name_len, m->name);
    if (packed && !m->slot[GLMQ_SLOT_SHAPE])
        return glmq_fail_missing(err, GLMQ_E_FORMAT, "%.*s.weight_shape is missing",
                                 (int)m->name_len, m->name);
    GLMQ_TRY(measure_shape(j, m, codes, &rows, &cols, err));
    if (packed) GLMQ_TRY(measure_bits(j, scheme, codes, cols, &e, err));
    if (!packed && scheme && scheme->type == CT_INT && scheme->bits >= 2 && scheme->bits < 8)
        e.bits = (uint8_t)scheme->bits; /* fewer bits, a byte each all the same */
    GLMQ_TRY(measure_groups(m, rows, cols, &e, err));
    GLMQ_TRY(measure_zeros(m, &e, err));
    GLMQ_TRY(glmq_perm_look(j->cat, m->slot[GLMQ_SLOT_PERM], cols, e.group, &e.act_order, err));
    GLMQ_TRY(compare(j, m, scheme, &e, cols, err));
    GLMQ_TRY(doubt_zeros(j, m, scheme, &e, cols, err));
    whole.slot[GLMQ_SLOT_CODES] = codes;
    return glmq_hf_add_module(j->g, j->cat, &whole, &e, rows, cols, err);
}

/* Activation parameters beside weights: they change no weight. */
static int is_activation(const char *name)
{
    static const char *const leaves[] = { ".output_scale", ".input_zero_point",
                                          ".output_zero_point", ".k_zero_point", ".v_zero_point" };

    for (size_t i = 0; i < GLMQ_COUNT(leaves); i++)
        if (glmq_ends_with(name, leaves[i])) return 1;
    return 0;
}

static glmq_status add_plain(job *j, const glmq_array *a, glmq_error *err)
{
    if (!is_activation(a->name)) return glmq_hf_add_unscaled(j->g, j->cat, a, "weight_scale", err);
    return glmq_hf_drop(j->g, j->cat, a, GLMQ_NOTE, "a parameter of activations, no weight", err);
}

static int is_fp8(const glmq_array *a)
{
    return a && (a->dtype == GLMQ_DT_F8_E4M3 || a->dtype == GLMQ_DT_F8_E5M2);
}

/* A block's size: the module's scheme's, or that of whatever scheme has blocks. */
static glmq_status add_fp8(job *j, const glmq_module *m, const ct_scheme *scheme, glmq_error *err)
{
    const ct_scheme *s = scheme && scheme->type == CT_FP8 ? scheme : NULL;

    if (scheme && !s) remember(j, m, scheme, "type");
    for (size_t i = 0; i < j->config.count && !s; i++)
        if (j->config.schemes[i].type == CT_FP8) s = &j->config.schemes[i];
    return glmq_hf_add_fp8(j->g, j->cat, m, s && s->block[0] ? s->block : NULL, err);
}

/* The scheme of a quantized module.  One that the config ignores, or names nowhere, is noted:
 * what is stored decides. */
static glmq_status find_scheme(job *j, const glmq_module *m, const ct_scheme **scheme,
                               glmq_error *err)
{
    glmq_name_match match;
    const int known =
        j->g->names && glmq_names_match(j->g->names, NAMES_HF, m->name, m->name_len, &match);
    int ignored;

    GLMQ_TRY(
        ct_config_scheme(&j->config, m, known ? match.row->role : GLMQ_ROLE_OTHER, scheme, err));
    GLMQ_TRY(ct_config_ignores(&j->config, m, &ignored, err));
    if (!ignored && (*scheme || !j->config.targeted || !j->config.count)) return GLMQ_OK;
    glmq_tally_add(&j->denied, m->name, m->name_len);
    return GLMQ_OK;
}

static glmq_status add_module(void *user, const glmq_module *m, glmq_error *err)
{
    job *j = user;
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES];
    const ct_scheme *scheme = NULL;
    int i = 0;

    if (!m->quantized) return add_plain(j, m->plain, err);
    if (!codes && m->plain && m->plain->dtype == GLMQ_DT_I8) codes = m->plain;
    if (codes || is_fp8(m->plain)) GLMQ_TRY(find_scheme(j, m, &scheme, err));
    if (codes && (codes->dtype == GLMQ_DT_U8 || m->slot[GLMQ_SLOT_GLOBAL]))
        return add_fp4(j, m, scheme, err);
    if (codes) return add_integers(j, m, scheme, codes, err);
    if (is_fp8(m->plain)) return add_fp8(j, m, scheme, err);
    while (!m->slot[i]) i++;
    if (!m->plain)
        return glmq_fail_missing(err, GLMQ_E_FORMAT, "%s: its weight is missing", m->slot[i]->name);
    if (!j->config.fake && m->slot[GLMQ_SLOT_SCALES])
        return glmq_fail(err, GLMQ_E_FORMAT, "both %s in %s and %s are stored", m->plain->name,
                         glmq_dtype_name((glmq_dtype)m->plain->dtype),
                         m->slot[GLMQ_SLOT_SCALES]->name);
    return add_fake(j, m, err);
}

/* ---- the reader ---- */

static int ct_probe(const glmq_catalog *cat)
{
    const char *method = glmq_json_string(cat->quant, "quant_method");
    const int named = method && strcmp(method, "compressed-tensors") == 0;

    if (glmq_catalog_has_suffix(cat, "weight_packed", GLMQ_DT_NONE)) return 90;
    if (named) return 60;
    return glmq_catalog_has_suffix(cat, "weight", GLMQ_DT_I8) &&
                   glmq_catalog_has_suffix(cat, "weight_scale", GLMQ_DT_NONE)
               ? 40
               : 0;
}

static glmq_status note_all(const job *j, glmq_error *err)
{
    const char *file = j->cat->quant_file;

    GLMQ_TRY(glmq_tally_note(&j->unlike, j->g, GLMQ_WARNING, "config-mismatch", file, err,
                             "do not agree with %s in %s", j->scheme ? j->scheme->name : "",
                             j->why));
    return glmq_tally_note(&j->denied, j->g, GLMQ_WARNING, "config-modules", file, err,
                           "are quantized, which the config denies");
}

static glmq_status ct_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    job j = { .g = g, .cat = cat };
    glmq_status st;

    st = read_config(&j, err);
    if (!st) st = glmq_modules_each(cat, slots, GLMQ_COUNT(slots), add_module, &j, err);
    if (!st) st = note_all(&j, err);
    ct_config_close(&j.config);
    return st;
}

const glmq_reader glmq_reader_ct = {
    .name = "compressed-tensors",
    .about = "compressed-tensors safetensors: integers, FP8, NVFP4, MXFP4",
    .probe = ct_probe,
    .open = ct_open,
};
