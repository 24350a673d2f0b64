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
 * follow from their shapes; the configuration settles what shapes leave open, and is
 * compared with them. */
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "codecs/ctpack.h"
#include "codecs/fp4.h"
#include "perm.h"
#include "fp4_module.h"
#include "fp8_module.h"
#include "reader.h"
#include <stdio.h>
#include <string.h>

static const glmq_slot_name slots[] = {
    { "weight_packed", GLMQ_SLOT_CODES, 0 },     { "weight_scale", GLMQ_SLOT_SCALES, 0 },
    { "weight_zero_point", GLMQ_SLOT_ZEROS, 0 }, { "weight_shape", GLMQ_SLOT_SHAPE, 0 },
    { "weight_g_idx", GLMQ_SLOT_PERM, 0 },       { "weight_global_scale", GLMQ_SLOT_GLOBAL, 0 },
    { "input_scale", GLMQ_SLOT_INPUT_SCALE, 0 }, { "input_global_scale", GLMQ_SLOT_INPUT_SCALE, 0 },
};

enum { GROUPS_MAX = 64 };

typedef enum { STRATEGY_GROUP, STRATEGY_CHANNEL, STRATEGY_TENSOR, STRATEGY_OTHER } strategy;

/* The weights' ARGS of one config group. */
typedef struct {
    const char *name;
    uint64_t bits, group;
    strategy strategy;
    int symmetric;
} scheme;

typedef struct {
    glmq_graph *g;
    const glmq_catalog *cat;
    scheme schemes[GROUPS_MAX];
    size_t count;
    int has_blocks; /* of FP8 weights                                 */
    uint64_t block[2];
    uint64_t fp4_groups; /* group sizes of four-bit floats, as a set of bits              */
    int fake;            /* quantization_status: not compressed yet        */
    uint64_t others;     /* modules that differ from the one scheme        */
    char first[160], why[160];
} job;

/* ---- the configuration ---- */

static glmq_status read_strategy(const cJSON *args, scheme *s, glmq_error *err)
{
    static const struct {
        const char *word;
        strategy strategy;
    } words[] = {
        { "group", STRATEGY_GROUP },
        { "channel", STRATEGY_CHANNEL },
        { "tensor", STRATEGY_TENSOR },
    };
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(args, "group_size");
    const char *word = glmq_json_string(args, "strategy");

    s->group = 0;
    if (glmq_json_u64(size, &s->group)) {
        s->strategy = STRATEGY_GROUP;
        if (s->group == 0 || s->group > UINT32_MAX)
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: group_size %" PRIu64, s->name, s->group);
    } else {
        s->strategy = cJSON_IsNumber(size) ? STRATEGY_CHANNEL : STRATEGY_TENSOR;
    }
    if (!word) return GLMQ_OK;
    s->strategy = STRATEGY_OTHER;
    for (size_t i = 0; i < GLMQ_COUNT(words); i++)
        if (strcmp(word, words[i].word) == 0) s->strategy = words[i].strategy;
    return GLMQ_OK;
}

static int is_fp8(const cJSON *args)
{
    uint64_t bits = 8;
    const cJSON *node = cJSON_GetObjectItemCaseSensitive(args, "num_bits");

    return !node || (glmq_json_u64(node, &bits) && bits == 8);
}

/* Floats: only a block's size cannot be told from the arrays. */
static glmq_status read_fp8(job *j, const cJSON *group, const cJSON *args, glmq_error *err)
{
    const cJSON *size = cJSON_GetObjectItemCaseSensitive(args, "block_structure");
    const char *word = glmq_json_string(args, "strategy");
    uint64_t block[2] = { 128, 128 };

    if (word && strcmp(word, "group") == 0) {
        block[0] = 1;
        size = cJSON_GetObjectItemCaseSensitive(args, "group_size");
        if (!glmq_json_u64(size, &block[1])) block[1] = 0;
    } else if (cJSON_IsArray(size)) {
        if (cJSON_GetArraySize(size) != 2 ||
            !glmq_json_u64(cJSON_GetArrayItem(size, 0), &block[0]) ||
            !glmq_json_u64(cJSON_GetArrayItem(size, 1), &block[1]))
            block[0] = 0;
    } else if (!word || strcmp(word, "block") != 0) {
        return GLMQ_OK;
    }
    if (block[0] == 0 || block[0] > UINT16_MAX || block[1] == 0 || block[1] > UINT32_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: the blocks are not two sizes", group->string);
    if (j->has_blocks && (j->block[0] != block[0] || j->block[1] != block[1]))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: FP8 in blocks of two sizes", group->string);
    j->has_blocks = 1;
    memcpy(j->block, block, sizeof block);
    return GLMQ_OK;
}

/* Four-bit floats: 16 columns to a scale, or 32. */
static glmq_status read_fp4(job *j, const cJSON *group, const cJSON *args, glmq_error *err)
{
    const cJSON *node = cJSON_GetObjectItemCaseSensitive(args, "num_bits");
    uint64_t bits = 0, size = 0;

    if (!glmq_json_u64(node, &bits) || bits != 4)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "%s: compressed-tensors floats of %" PRIu64 " bits are not read by this "
                         "version",
                         group->string, bits);
    node = cJSON_GetObjectItemCaseSensitive(args, "group_size");
    if (!glmq_json_u64(node, &size) || (size != 16 && size != 32))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: group_size %" PRIu64 ", expected 16 or 32",
                         group->string, size);
    j->fp4_groups |= UINT64_C(1) << size;
    return GLMQ_OK;
}

static glmq_status read_scheme(job *j, const cJSON *group, glmq_error *err)
{
    static const char *const formats[] = {
        "pack-quantized",       "int-quantized",   "naive-quantized",
        "float-quantized",      "mxfp8-quantized", "nvfp4-pack-quantized",
        "mxfp4-pack-quantized", "dense",           "mixed-precision",
    };
    const cJSON *args = cJSON_GetObjectItemCaseSensitive(group, "weights");
    const cJSON *sym = cJSON_GetObjectItemCaseSensitive(args, "symmetric");
    const char *type = glmq_json_string(args, "type");
    const char *format = glmq_json_string(group, "format");
    int known = format == NULL;
    scheme *s;

    if (!cJSON_IsObject(args)) return GLMQ_OK;
    if (j->count == GROUPS_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "more than %d config groups", GROUPS_MAX);
    for (size_t i = 0; i < GLMQ_COUNT(formats) && !known; i++)
        known = strcmp(format, formats[i]) == 0;
    if (!known)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "%s: compressed-tensors format \"%s\" is not read by this version",
                         group->string, format);
    if (type && strcmp(type, "float") == 0 && is_fp8(args)) return read_fp8(j, group, args, err);
    if (type && strcmp(type, "float") == 0) return read_fp4(j, group, args, err);
    if (type && strcmp(type, "int") != 0)
        return glmq_fail(
            err, GLMQ_E_UNSUPPORTED,
            "%s: compressed-tensors weights of type \"%s\" are not read by this version",
            group->string, type);
    s = &j->schemes[j->count];
    *s = (scheme){ .name = group->string, .symmetric = !cJSON_IsFalse(sym) };
    if (!glmq_json_u64(cJSON_GetObjectItemCaseSensitive(args, "num_bits"), &s->bits)) s->bits = 8;
    GLMQ_TRY(read_strategy(args, s, err));
    j->count++;
    return GLMQ_OK;
}

/* A group may be a preset's name with a list of targets. */
static glmq_status read_preset(job *j, const cJSON *group, glmq_error *err)
{
    static const scheme presets[] = {
        { "W4A16", 4, 128, STRATEGY_GROUP, 1 }, { "W4A16_ASYM", 4, 128, STRATEGY_GROUP, 0 },
        { "W8A16", 8, 128, STRATEGY_GROUP, 1 }, { "W8A8", 8, 0, STRATEGY_CHANNEL, 1 },
        { "INT8", 8, 0, STRATEGY_CHANNEL, 1 },  { "W4AFP8", 4, 128, STRATEGY_GROUP, 1 },
        { "W4A8", 4, 128, STRATEGY_GROUP, 1 },
    };

    if (strcmp(group->string, "FP8_BLOCK") == 0) {
        j->has_blocks = 1;
        j->block[0] = j->block[1] = 128;
    }
    if (strncmp(group->string, "NVFP4", 5) == 0 || strncmp(group->string, "MXFP4", 5) == 0) {
        j->fp4_groups |= UINT64_C(1) << (group->string[0] == 'N' ? 16 : 32);
        return GLMQ_OK;
    }
    if (strcmp(group->string, "FP8") == 0 || strncmp(group->string, "FP8_", 4) == 0) return GLMQ_OK;
    for (size_t i = 0; i < GLMQ_COUNT(presets); i++) {
        if (strcmp(group->string, presets[i].name) != 0) continue;
        if (j->count == GROUPS_MAX)
            return glmq_fail(err, GLMQ_E_LIMIT, "more than %d config groups", GROUPS_MAX);
        j->schemes[j->count++] = presets[i];
        return GLMQ_OK;
    }
    return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                     "compressed-tensors preset \"%s\" is not read by this version", group->string);
}

/* Things that change the stored weights or the forward pass beyond our codecs. */
static glmq_status refuse_others(const cJSON *q, glmq_error *err)
{
    static const char *const refused[] = {
        "marlin-24",
        "sparse-bitmask",
        "sparse-24-bitmask",
        "mxfp6-pack-quantized",
    };
    const char *format = glmq_json_string(q, "format");
    const char *sparse = glmq_json_string(q, "sparsity_config.format");
    const cJSON *transforms = glmq_json_get(q, "transform_config.config_groups");

    for (size_t i = 0; format && i < GLMQ_COUNT(refused); i++)
        if (strcmp(format, refused[i]) == 0)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                             "compressed-tensors format \"%s\" is not read by this version",
                             format);
    if (sparse && strcmp(sparse, "dense") != 0)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "compressed-tensors sparsity \"%s\" is not read by this version", sparse);
    if (transforms && transforms->child)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "compressed-tensors transform_config changes the forward pass, it is not "
                         "read here");
    return GLMQ_OK;
}

static glmq_status read_config(job *j, glmq_error *err)
{
    const cJSON *q = j->cat->quant, *group;
    const char *status = glmq_json_string(q, "quantization_status");
    const char *format = glmq_json_string(q, "format");

    if (!q) {
        if (glmq_graph_note(j->g, GLMQ_WARNING, "config-missing", NULL, NULL,
                            "no quantization config: parameters follow from the arrays alone"))
            return glmq_fail(err, GLMQ_E_NOMEM, "problems");
        return GLMQ_OK;
    }
    GLMQ_TRY(refuse_others(q, err));
    j->fake = (status && strcmp(status, "compressed") != 0) ||
              (format && (strcmp(format, "fakequant") == 0 || strcmp(format, "dense") == 0));
    cJSON_ArrayForEach(group, cJSON_GetObjectItemCaseSensitive(q, "config_groups"))
    {
        if (cJSON_IsObject(group)) GLMQ_TRY(read_scheme(j, group, err));
        if (cJSON_IsArray(group)) GLMQ_TRY(read_preset(j, group, err));
    }
    return GLMQ_OK;
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
        return glmq_fail(err, GLMQ_E_FORMAT, "%.*s.weight_shape is missing", (int)m->name_len,
                         m->name);
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

/* Bits of packed codes: a scheme's if the width agrees, else the one width that does. */
static glmq_status measure_bits(const job *j, const glmq_array *codes, uint64_t cols, uint8_t *bits,
                                glmq_error *err)
{
    static const uint8_t usual[] = { 4, 8, 2, 3, 5, 6, 7, 1 };
    const uint64_t words = codes->dims[1];

    for (size_t i = 0; i < j->count; i++) {
        const uint64_t b = j->schemes[i].bits;

        if (fits(words, cols, b)) {
            *bits = (uint8_t)b;
            return GLMQ_OK;
        }
        if (b >= 3 && b <= 7 && ceil_div_u64(cols, 32 / b) == words)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                             "%s: %" PRIu64 "-bit codes as packed before compressed-tensors 0.17",
                             codes->name, b);
    }
    for (size_t i = 0; i < GLMQ_COUNT(usual); i++) {
        if (!fits(words, cols, usual[i])) continue;
        *bits = usual[i];
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

    if (s->dtype != GLMQ_DT_F16 && s->dtype != GLMQ_DT_BF16 && s->dtype != GLMQ_DT_F32)
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
    e->variant = CT_ZERO_PACKED | narrow;
    if (!z) return GLMQ_OK;
    if (z->dtype != GLMQ_DT_I32 && z->dtype != GLMQ_DT_I8)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected I32 or I8", z->name,
                         glmq_dtype_name((glmq_dtype)z->dtype));
    if (z->dtype == GLMQ_DT_I8) e->variant = CT_ZERO_I8 | narrow;
    return GLMQ_OK;
}

/* ---- arrays against the configuration ---- */

/* Why a scheme does not describe the arrays; NULL when it does.  One group that spans the
 * row is what a channel is. */
static const char *disagrees(const scheme *s, const glmq_encoding *e, uint64_t cols)
{
    const uint64_t group = e->group ? e->group : cols;
    const uint64_t want = s->group < cols ? s->group : cols; /* a short row is one group */

    if (s->bits != e->bits) return "bits";
    if (s->strategy == STRATEGY_GROUP && want != group) return "group size";
    if (s->strategy == STRATEGY_CHANNEL && (e->group || !e->group_rows)) return "strategy";
    if (s->strategy == STRATEGY_TENSOR && e->group_rows) return "strategy";
    if (s->strategy == STRATEGY_OTHER) return "strategy";
    if (!s->symmetric && e->zero_kind == GLMQ_ZERO_MID) return "symmetry: no zero points stored";
    return NULL;
}

static glmq_status compare(job *j, const glmq_module *m, glmq_encoding *e, uint64_t cols,
                           glmq_error *err)
{
    const char *why = NULL;

    for (size_t i = 0; i < j->count; i++) {
        why = disagrees(&j->schemes[i], e, cols);
        if (why) continue;
        if (j->schemes[i].strategy == STRATEGY_GROUP) e->group = (uint32_t)j->schemes[i].group;
        return GLMQ_OK;
    }
    if (j->count == 0) return GLMQ_OK;
    if (j->count > 1)
        return glmq_fail(err, GLMQ_E_FORMAT, "%.*s: no config group describes its arrays",
                         (int)m->name_len, m->name);
    if (!j->schemes[0].symmetric && e->zero_kind == GLMQ_ZERO_MID)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%.*s.weight_zero_point is missing, the config says "
                         "asymmetric",
                         (int)m->name_len, m->name);
    if (j->others++ == 0) {
        snprintf(j->first, sizeof j->first, "%.*s", (int)(m->name_len < 150 ? m->name_len : 150),
                 m->name);
        snprintf(j->why, sizeof j->why, "%s", why);
    }
    return GLMQ_OK;
}

/* ---- modules ---- */

/* Four-bit floats, which the config must know of. */
static glmq_status add_fp4(job *j, const glmq_module *m, glmq_error *err)
{
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES], *scales = m->slot[GLMQ_SLOT_SCALES];
    const unsigned group = scales && scales->dtype == GLMQ_DT_F8_E4M3 ? 16 : 32;

    if (scales && j->fp4_groups && !(j->fp4_groups >> group & 1))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: four-bit floats in groups of %u, the config has none", codes->name,
                         group);
    return glmq_hf_add_fp4(j->g, j->cat, m, codes, FP4_CT, err);
}

/* A weight still in floats: its quantization parameters say nothing about what is stored. */
static glmq_status add_fake(job *j, const glmq_module *m, glmq_error *err)
{
    for (int i = 0; i < GLMQ_SLOTS; i++) {
        const glmq_array *a = m->slot[i];

        if (!a) continue;
        glmq_graph_drop(j->g, (size_t)(a - j->cat->arrays),
                        "a quantization parameter of a weight stored in floats");
        if (glmq_graph_note(j->g, GLMQ_NOTE, "array-dropped", a->name, NULL,
                            "the weight is stored in floats"))
            return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    }
    return glmq_hf_add_plain(j->g, j->cat, m->plain, err);
}

static glmq_status add_integers(job *j, const glmq_module *m, const glmq_array *codes,
                                glmq_error *err)
{
    const int packed = codes != m->plain;
    glmq_encoding e = { .codec = packed ? &glmq_codec_ctpack : &glmq_codec_ctint, .bits = 8 };
    glmq_module whole = *m;
    uint64_t rows, cols;

    if (packed && codes->dtype != GLMQ_DT_I32)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected I32", codes->name,
                         glmq_dtype_name((glmq_dtype)codes->dtype));
    if (!m->slot[GLMQ_SLOT_SCALES])
        return glmq_fail(err, GLMQ_E_FORMAT, "%.*s.weight_scale is missing", (int)m->name_len,
                         m->name);
    GLMQ_TRY(measure_shape(j, m, codes, &rows, &cols, err));
    if (packed) GLMQ_TRY(measure_bits(j, codes, cols, &e.bits, err));
    if (!packed && j->count == 1 && j->schemes[0].bits >= 1 && j->schemes[0].bits < 8)
        e.bits = (uint8_t)j->schemes[0].bits; /* fewer bits, a byte each all the same */
    GLMQ_TRY(measure_groups(m, rows, cols, &e, err));
    GLMQ_TRY(measure_zeros(m, &e, err));
    GLMQ_TRY(glmq_perm_look(j->cat, m->slot[GLMQ_SLOT_PERM], cols, e.group, &e.act_order, err));
    GLMQ_TRY(compare(j, m, &e, cols, err));
    whole.slot[GLMQ_SLOT_CODES] = codes;
    return glmq_hf_add_module(j->g, j->cat, &whole, &e, rows, cols, err);
}

/* Activation parameters beside weights: they change no weight. */
static int is_activation(const char *name)
{
    static const char *const leaves[] = { ".output_scale", ".input_zero_point",
                                          ".output_zero_point", ".k_zero_point", ".v_zero_point" };
    const size_t len = strlen(name);

    for (size_t i = 0; i < GLMQ_COUNT(leaves); i++) {
        const size_t n = strlen(leaves[i]);
        if (len > n && strcmp(name + len - n, leaves[i]) == 0) return 1;
    }
    return 0;
}

static glmq_status add_plain(job *j, const glmq_array *a, glmq_error *err)
{
    if (!is_activation(a->name)) return glmq_hf_add_plain(j->g, j->cat, a, err);
    glmq_graph_drop(j->g, (size_t)(a - j->cat->arrays), "a parameter of activations, no weight");
    if (glmq_graph_note(j->g, GLMQ_NOTE, "array-dropped", a->name, NULL,
                        "a parameter of activations, no weight"))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

static glmq_status add_module(void *user, const glmq_module *m, glmq_error *err)
{
    job *j = user;
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES];
    int i = 0;

    if (!m->quantized) return add_plain(j, m->plain, err);
    if (codes && (codes->dtype == GLMQ_DT_U8 || m->slot[GLMQ_SLOT_GLOBAL]))
        return add_fp4(j, m, err);
    if (codes) return add_integers(j, m, codes, err);
    if (m->plain && (m->plain->dtype == GLMQ_DT_F8_E4M3 || m->plain->dtype == GLMQ_DT_F8_E5M2))
        return glmq_hf_add_fp8(j->g, j->cat, m, j->has_blocks ? j->block : NULL, err);
    if (m->plain && m->plain->dtype == GLMQ_DT_I8) return add_integers(j, m, m->plain, err);
    while (!m->slot[i]) i++;
    if (!m->plain)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: its weight is missing", m->slot[i]->name);
    if (!j->fake && m->slot[GLMQ_SLOT_SCALES])
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

    if (cat->container != CONTAINER_SAFETENSORS) return 0;
    if (glmq_catalog_has_suffix(cat, "weight_packed", GLMQ_DT_NONE)) return 90;
    if (named) return 60;
    return glmq_catalog_has_suffix(cat, "weight", GLMQ_DT_I8) &&
                   glmq_catalog_has_suffix(cat, "weight_scale", GLMQ_DT_NONE)
               ? 40
               : 0;
}

static glmq_status ct_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    job j = { .g = g, .cat = cat };

    if (cat->container != CONTAINER_SAFETENSORS)
        return glmq_fail(err, GLMQ_E_ARG, "a GGUF is read as \"gguf\" only");
    GLMQ_TRY(glmq_within(err, read_config(&j, err), "%s",
                         cat->quant_file ? cat->quant_file : "config.json"));
    GLMQ_TRY(glmq_modules_each(cat, slots, GLMQ_COUNT(slots), add_module, &j, err));
    if (j.others && glmq_graph_note(g, GLMQ_WARNING, "config-mismatch", NULL, cat->quant_file,
                                    "%s and %" PRIu64 " others do not agree with %s in %s", j.first,
                                    j.others - 1, j.schemes[0].name, j.why))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

const glmq_reader glmq_reader_ct = {
    .name = "compressed-tensors",
    .about = "compressed-tensors safetensors: integers, FP8, NVFP4, MXFP4",
    .probe = ct_probe,
    .open = ct_open,
};
