/* TurboQuant's native checkpoints: N.tq_packed and N.tq_norms for a weight N, and
 * tq_config.json.  (Before 2026-04-10 N lacked its ".weight".)
 *
 * Stored are rows and groups; how many bits an index has follows from the bytes of a group.
 * The config has what no array tells: columns per group, seed, and the true width of a row
 * that was padded to whole groups. */
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "codecs/tq3.h"
#include "reader.h"
#include "tally.h"
#include <string.h>

static const char config_name[] = "tq_config.json";
static const char packed_suffix[] = ".tq_packed";

static const glmq_slot_name slots[] = {
    { "tq_packed", GLMQ_SLOT_CODES, 0 },
    { "tq_norms", GLMQ_SLOT_SCALES, 0 },
};

typedef struct job {
    glmq_graph *g;
    const glmq_catalog *cat;
    char *text; /* of tq_config.json */
    size_t len;
    cJSON *tree;
    const cJSON *config; /* the tree, or the quantization_config of release 0.6.0 */
    const char *file;
    uint64_t bits, group, seed, sensitive_bits; /* 0: no tensor is sensitive */
    const cJSON *patterns;                      /* NULL: the usual ones      */
    glmq_strmap widths;                         /* orig_in_dims              */
    uint64_t compressed;
    glmq_tally other_bits, narrow_norms, leftovers;
} job;

static glmq_status note(glmq_status st, glmq_error *err)
{
    return st ? glmq_fail(err, GLMQ_E_NOMEM, "problems") : GLMQ_OK;
}

/* ---- the configuration ---- */

static int is_named(const glmq_catalog *cat)
{
    const char *method = glmq_json_string(cat->quant, "quant_method");
    return method && strcmp(method, "turboquant") == 0;
}

static glmq_status load_config(job *j, glmq_error *err)
{
    GLMQ_TRY(glmq_catalog_side_file(j->cat->source, config_name, &j->text, &j->len, err));
    if (j->text) {
        GLMQ_TRY(glmq_within(err, glmq_json_parse(&j->tree, j->text, j->len, 0, err), "%s",
                             config_name));
        if (!cJSON_IsObject(j->tree))
            return glmq_fail(err, GLMQ_E_FORMAT, "%s is no JSON object", config_name);
        j->config = j->tree;
        j->file = config_name;
        return GLMQ_OK;
    }
    if (!is_named(j->cat))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s is missing: nothing else says how many columns a group has",
                         config_name);
    j->config = j->cat->quant;
    j->file = j->cat->quant_file;
    return GLMQ_OK;
}

static const cJSON *member(const job *j, const char *key)
{
    const cJSON *node = cJSON_GetObjectItemCaseSensitive(j->config, key);
    return cJSON_IsNull(node) ? NULL : node;
}

static glmq_status read_number(const job *j, const char *key, uint64_t least, uint64_t most,
                               uint64_t *out, glmq_error *err)
{
    const cJSON *node = member(j, key);

    if (!node) return GLMQ_OK;
    if (!glmq_json_u64(node, out) || *out < least || *out > most)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s is no number from %" PRIu64 " to %" PRIu64, key,
                         least, most);
    return GLMQ_OK;
}

/* Seeds have 64 bits, signed ones stand for their two's complement: read off the text. */
static glmq_status read_seed(job *j, glmq_error *err)
{
    glmq_json_member m;
    const char *at;
    int negative;

    j->seed = 42;
    if (!member(j, "quantizer_seed")) return GLMQ_OK;
    if (!j->text || !glmq_json_find(j->text, j->len, "quantizer_seed", &m))
        return read_number(j, "quantizer_seed", 0, UINT64_MAX, &j->seed, err);
    at = j->text + m.value_begin;
    negative = *at == '-';
    j->seed = 0;
    for (at += negative; at < j->text + m.value_end; at++)
        if (*at < '0' || *at > '9' || mul_u64(j->seed, 10, &j->seed) ||
            add_u64(j->seed, (uint64_t)(*at - '0'), &j->seed))
            return glmq_fail(
                err, GLMQ_E_FORMAT, "quantizer_seed %.*s is no whole number of 64 bits",
                (int)(m.value_end - m.value_begin < 40 ? m.value_end - m.value_begin : 40),
                j->text + m.value_begin);
    if (negative) j->seed = 0 - j->seed;
    return GLMQ_OK;
}

static glmq_status read_patterns(job *j, glmq_error *err)
{
    const cJSON *node = member(j, "sensitive_patterns"), *entry;

    GLMQ_TRY(read_number(j, "sensitive_bits", 1, TQ3_BITS_MAX, &j->sensitive_bits, err));
    j->patterns = node;
    if (!node || cJSON_IsString(node) || !j->sensitive_bits) return GLMQ_OK;
    if (!cJSON_IsArray(node))
        return glmq_fail(err, GLMQ_E_FORMAT, "sensitive_patterns is no list of strings");
    cJSON_ArrayForEach(entry, node)
    {
        if (!cJSON_IsString(entry))
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "sensitive_patterns has an entry that is no string");
    }
    return GLMQ_OK;
}

static glmq_status read_widths(job *j, glmq_error *err)
{
    const cJSON *map = member(j, "orig_in_dims"), *entry;

    if (map && !cJSON_IsObject(map))
        return glmq_fail(err, GLMQ_E_FORMAT, "orig_in_dims is no object");
    cJSON_ArrayForEach(entry, map)
    {
        uint64_t width;
        if (!glmq_json_u64(entry, &width) || width == 0)
            return glmq_fail(err, GLMQ_E_FORMAT, "orig_in_dims: the width of %s is no number",
                             entry->string);
        if (glmq_strmap_add(&j->widths, entry->string, strlen(entry->string), width, NULL) < 0)
            return glmq_fail(err, GLMQ_E_NOMEM, "orig_in_dims");
    }
    return GLMQ_OK;
}

static glmq_status read_config(job *j, glmq_error *err)
{
    const cJSON *format = member(j, "format");

    j->bits = 3;
    j->group = 128;
    if (format && (!cJSON_IsString(format) || strcmp(format->valuestring, "tq3_native") != 0))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "format %.100s, expected tq3_native",
                         cJSON_IsString(format) ? format->valuestring : "is no string");
    GLMQ_TRY(read_number(j, "bits", 1, TQ3_BITS_MAX, &j->bits, err));
    GLMQ_TRY(read_number(j, "group_size", TQ3_GROUP_MIN, TQ3_GROUP_MAX, &j->group, err));
    if (j->group & (j->group - 1))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "group_size %" PRIu64
                         " is no power of two: padded rotations lose what cannot be restored",
                         j->group);
    GLMQ_TRY(read_seed(j, err));
    GLMQ_TRY(read_patterns(j, err));
    return read_widths(j, err);
}

static glmq_status note_config(const job *j, glmq_error *err)
{
    glmq_status st = GLMQ_OK;

    if (!member(j, "group_size"))
        st = glmq_graph_note(j->g, GLMQ_WARNING, "config-group", NULL, j->file,
                             "no group_size: taken as 128");
    if (!st && j->seed != 42)
        st = glmq_graph_note(j->g, GLMQ_WARNING, "config-seed", NULL, j->file,
                             "the seed is %" PRIu64 ", which serving engines ignore: they take 42",
                             j->seed);
    if (!st && j->text && j->cat->quant && !is_named(j->cat))
        st = glmq_graph_note(j->g, GLMQ_WARNING, "config-method", NULL, j->cat->quant_file,
                             "its quantization config is ignored, %s is there", config_name);
    return note(st, err);
}

/* ---- modules ---- */

static glmq_status check_arrays(const glmq_array *codes, const glmq_array *norms, glmq_error *err)
{
    const glmq_array *const both[] = { codes, norms };

    for (size_t i = 0; i < GLMQ_COUNT(both); i++)
        if (both[i]->rank != 2 || both[i]->dims[0] == 0 || both[i]->dims[1] == 0)
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: not a matrix", both[i]->name);
    if (codes->dtype != GLMQ_DT_U8)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected U8", codes->name,
                         glmq_dtype_name((glmq_dtype)codes->dtype));
    if (!glmq_dtype_is_float((glmq_dtype)norms->dtype))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected F32", norms->name,
                         glmq_dtype_name((glmq_dtype)norms->dtype));
    return GLMQ_OK;
}

/* Width and shape of the codes, by the bytes that a group takes.  `told` is the config's width:
 * of a byte for each index it alone says which are in use. */
static glmq_status measure(const glmq_array *codes, const glmq_array *norms, uint64_t told,
                           glmq_encoding *e, glmq_error *err)
{
    const uint64_t rows = norms->dims[0], groups = norms->dims[1], count = rows * groups;
    const uint64_t each = codes->bytes / count;

    for (unsigned b = 1; b <= TQ3_BITS_MAX && each; b++)
        if (tq3_group_bytes(e->group, b) == each) e->bits = (uint8_t)b;
    if (!e->bits && each == e->group) {
        e->bits = (uint8_t)told;
        e->variant = TQ3_BYTES;
    }
    if (codes->bytes % count || !e->bits)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: %" PRIu64 " bytes for %" PRIu64 " groups of %u: no width fits",
                         codes->name, codes->bytes, count, e->group);
    if (codes->dims[0] == count) return GLMQ_OK;
    if (codes->dims[0] != rows)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: %" PRIu64 " rows, expected %" PRIu64 " or %" PRIu64, codes->name,
                         codes->dims[0], count, rows);
    e->variant |= TQ3_BY_ROW;
    return GLMQ_OK;
}

/* The name under which the config knows a weight: that of the codes without suffix, and
 * likewise with ".weight". */
static int stored_width(const job *j, const glmq_array *codes, uint64_t *width)
{
    const size_t len = strlen(codes->name) - strlen(packed_suffix);
    char name[1024 + sizeof ".weight"];

    if (glmq_strmap_get(&j->widths, codes->name, len, width)) return 1;
    if (len > sizeof name - sizeof ".weight") return 0;
    memcpy(name, codes->name, len);
    memcpy(name + len, ".weight", sizeof ".weight");
    return glmq_strmap_get(&j->widths, name, len + sizeof ".weight" - 1, width);
}

/* Columns: the model's, which what is stored must fit; for what the model does not know those
 * of the config, or all that is stored. */
static glmq_status find_width(const job *j, const glmq_module *m, uint64_t *cols, glmq_error *err)
{
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES], *norms = m->slot[GLMQ_SLOT_SCALES];
    const uint64_t rows = norms->dims[0], groups = norms->dims[1];
    uint64_t want_rows, want_cols, width;
    const int listed = stored_width(j, codes, &width);

    if (mul_u64(groups, j->group, cols))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: %" PRIu64 " groups", norms->name, groups);
    if (listed && ceil_div_u64(width, j->group) != groups)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: orig_in_dims says %" PRIu64 " columns, stored are %" PRIu64
                         " groups of %" PRIu64,
                         codes->name, width, groups, j->group);
    if (!glmq_hf_module_shape(j->g, m, &want_rows, &want_cols)) {
        if (listed) *cols = width;
        return GLMQ_OK;
    }
    if (rows != want_rows || groups != ceil_div_u64(want_cols, j->group))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: %" PRIu64 " x %" PRIu64 " groups of %" PRIu64 ", expected %" PRIu64
                         " x %" PRIu64 " weights",
                         norms->name, rows, groups, j->group, want_rows, want_cols);
    if (listed && width != want_cols)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: orig_in_dims says %" PRIu64 " columns, the model %" PRIu64,
                         codes->name, width, want_cols);
    *cols = want_cols;
    return GLMQ_OK;
}

static int is_sensitive(const job *j, const char *name)
{
    static const char *const usual[] = { "o_proj", "down_proj" };
    const cJSON *entry;

    if (!j->sensitive_bits) return 0;
    if (!j->patterns) return strstr(name, usual[0]) || strstr(name, usual[1]);
    if (cJSON_IsString(j->patterns)) return strstr(name, j->patterns->valuestring) != NULL;
    cJSON_ArrayForEach(entry, j->patterns)
    {
        if (strstr(name, entry->valuestring)) return 1;
    }
    return 0;
}

static glmq_status add_quantized(job *j, const glmq_module *m, glmq_error *err)
{
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES], *norms = m->slot[GLMQ_SLOT_SCALES];
    glmq_encoding e = { .codec = &glmq_codec_tq3, .group_rows = 1, .seed = j->seed };
    uint64_t cols = 0, told;

    if (!codes || !norms)
        return glmq_fail_missing(err, GLMQ_E_FORMAT, "%s is stored without its %s",
                                 codes ? codes->name : norms->name,
                                 codes ? "tq_norms" : "tq_packed");
    GLMQ_TRY(check_arrays(codes, norms, err));
    e.group = (uint32_t)j->group;
    e.scale_dtype = norms->dtype;
    told = is_sensitive(j, codes->name) ? j->sensitive_bits : j->bits;
    GLMQ_TRY(measure(codes, norms, told, &e, err));
    GLMQ_TRY(find_width(j, m, &cols, err));
    if (e.bits != told) glmq_tally_add(&j->other_bits, codes->name, strlen(codes->name));
    if (norms->dtype != GLMQ_DT_F32)
        glmq_tally_add(&j->narrow_norms, norms->name, strlen(norms->name));
    j->compressed++;
    return glmq_hf_add_module(j->g, j->cat, m, &e, norms->dims[0], cols, err);
}

/* Scales of the FP8 checkpoint that this one was made from: its writer took no notice. */
static int is_leftover(const char *name)
{
    return glmq_ends_with(name, ".weight_scale_inv") || glmq_ends_with(name, ".weight_scale") ||
           glmq_ends_with(name, ".input_scale");
}

static glmq_status add_module(void *user, const glmq_module *m, glmq_error *err)
{
    job *j = user;

    if (m->quantized) return add_quantized(j, m, err);
    if (!is_leftover(m->plain->name)) return glmq_hf_add_plain(j->g, j->cat, m->plain, err);
    if (!glmq_ends_with(m->plain->name, ".input_scale"))
        glmq_tally_add(&j->leftovers, m->plain->name, strlen(m->plain->name));
    glmq_graph_drop(j->g, (size_t)(m->plain - j->cat->arrays),
                    "a scale of the checkpoint that this one was made from");
    return GLMQ_OK;
}

static glmq_status note_modules(const job *j, glmq_error *err)
{
    const glmq_array *left =
        glmq_catalog_find(j->cat, j->leftovers.first, strlen(j->leftovers.first));
    uint64_t promised;
    glmq_status st = GLMQ_OK;

    GLMQ_TRY(glmq_tally_note(&j->other_bits, j->g, GLMQ_WARNING, "config-bits", j->file, err,
                             "have another width than the config says; theirs counts"));
    if (j->narrow_norms.count)
        st = glmq_graph_note(j->g, GLMQ_WARNING, "norms-narrow", j->narrow_norms.first, NULL,
                             "%" PRIu64 " arrays of norms are not F32, as no known writer has it",
                             j->narrow_norms.count);
    if (!st && j->leftovers.count)
        st = glmq_graph_note(j->g, GLMQ_WARNING, "scale-leftover", j->leftovers.first,
                             left ? glmq_source_name(j->cat->source, left->file) : NULL,
                             "%" PRIu64 " scales of an FP8 source are left over and ignored: what "
                             "they belong to was probably quantized without them",
                             j->leftovers.count);
    if (!st && glmq_json_u64(member(j, "compressed_layers"), &promised) &&
        promised != j->compressed)
        st = glmq_graph_note(j->g, GLMQ_WARNING, "config-count", NULL, j->file,
                             "compressed_layers is %" PRIu64 ", %" PRIu64 " are there", promised,
                             j->compressed);
    return note(st, err);
}

/* ---- the reader ---- */

static int tq3_probe(const glmq_catalog *cat)
{
    if (glmq_source_find(cat->source, config_name) >= 0 || is_named(cat)) return 98;
    return glmq_catalog_has_suffix(cat, packed_suffix + 1, GLMQ_DT_NONE) ? 96 : 0;
}

static glmq_status read_all(job *j, glmq_error *err)
{
    GLMQ_TRY(load_config(j, err));
    GLMQ_TRY(glmq_within(err, read_config(j, err), "%s", j->file));
    GLMQ_TRY(note_config(j, err));
    GLMQ_TRY(glmq_modules_each(j->cat, slots, GLMQ_COUNT(slots), add_module, j, err));
    return note_modules(j, err);
}

static glmq_status tq3_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    job j = { .g = g, .cat = cat };
    glmq_status st;

    st = read_all(&j, err);
    glmq_strmap_free(&j.widths);
    cJSON_Delete(j.tree);
    glmq_free(j.text);
    return st;
}

const glmq_reader glmq_reader_tq3 = {
    .name = "tq3",
    .about = "TurboQuant native safetensors, 2 to 4 bits",
    .probe = tq3_probe,
    .open = tq3_open,
};
