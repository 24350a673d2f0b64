/* The configuration of VQ checkpoints.
 *
 * quantization_config is AutoRound's: bits 16 for all, and in extra_config an entry for each
 * quantized module, {"bits":1,"format":"vq","d":8}; 60,000 of them are usual, so they are
 * looked up in hashes.  Published checkpoints say no more than that; the table "vq" beside
 * extra_config adds what otherwise is taken as usual: tiers, names, packing.
 *
 * The layout with stacked experts has its table in config.json itself, with "modules" in place
 * of extra_config. */
#include "vq_config.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/regex.h"
#include "patterns.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct vq_pattern {
    glmq_regex *regex;
    const cJSON *entry;
} vq_pattern;

/* ---- numbers ---- */

static const cJSON *member(const cJSON *o, const char *key)
{
    const cJSON *node = cJSON_GetObjectItemCaseSensitive(o, key);
    return node && !cJSON_IsNull(node) ? node : NULL;
}

/* A whole number from 1 to `most`: 1, 0 when it is absent, -1 when it is something else. */
static int read_count(const cJSON *o, const char *key, uint64_t most, uint64_t *out)
{
    const cJSON *node = member(o, key);
    uint64_t v;

    if (!node) return 0;
    if (!glmq_json_u64(node, &v) || v == 0 || v > most) return -1;
    *out = v;
    return 1;
}

/* Columns per scale: 0 not stated, UINT64_MAX the whole row. */
static uint64_t read_group(const cJSON *o, const char *key)
{
    const cJSON *node = member(o, key);
    uint64_t v = 0;

    if (cJSON_IsNumber(node) && node->valuedouble == -1.0) return UINT64_MAX;
    return glmq_json_u64(node, &v) && v <= UINT32_MAX ? v : 0;
}

static void print_bits(double bits, char text[16])
{
    snprintf(text, 16, "%.6g", bits);
}

/* Bits that K entries need. */
static uint8_t log2_up(uint32_t entries)
{
    uint8_t bits = 0;
    while (bits < 32 && UINT64_C(1) << bits < entries) bits++;
    return bits;
}

/* ---- tiers ---- */

/* As they were published, and what their codebooks are called where nothing says it. */
static const vq_tier usual[] = {
    { "1", 8, 256, 8, "cb1" },
    { "2", 4, 256, 8, "cb2" },
    { "3", 4, 4096, 12, "cb3" },
};

static const vq_tier *find_tier(const vq_tier *list, size_t n, const char *bits, uint32_t width)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].bits, bits) == 0 && (width == 0 || list[i].width == width))
            return &list[i];
    return NULL;
}

static glmq_status bad_tier(const char *where, const char *key, glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_FORMAT, "%s: %s is out of range", where, key);
}

/* Puts d, K, nbits and codebook of an object in the place of what the tier has. */
static glmq_status read_tier(const cJSON *o, const char *where, vq_tier *t, glmq_error *err)
{
    const char *name = glmq_json_string(o, "codebook");
    uint64_t width = t->width, entries = t->entries, bits = 0;
    int given;

    if (read_count(o, "d", 4096, &width) < 0) return bad_tier(where, "d", err);
    given = read_count(o, "K", UINT64_C(1) << VQ_BITS_MAX, &entries);
    if (given < 0 || (given && entries < 2)) return bad_tier(where, "K", err);
    t->width = (uint32_t)width;
    t->entries = (uint32_t)entries;
    if (given) t->code_bits = log2_up(t->entries);
    if (read_count(o, "nbits", VQ_BITS_MAX, &bits) < 0) return bad_tier(where, "nbits", err);
    if (bits) t->code_bits = (uint8_t)bits;
    if (name) t->codebook = name;
    return GLMQ_OK;
}

static glmq_status finish_tier(const vq_tier *t, const char *where, glmq_error *err)
{
    if (t->width == 0) return glmq_fail(err, GLMQ_E_FORMAT, "%s: d is not stated", where);
    if (t->entries == 0) return glmq_fail(err, GLMQ_E_FORMAT, "%s: K is not stated", where);
    if (log2_up(t->entries) > t->code_bits)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %u entries for codes of %u bits", where,
                         t->entries, t->code_bits);
    return GLMQ_OK;
}

/* K of a tier that only its bits and d are known of: 2^(bits * d), where that is a number. */
static void derive_entries(double bits, vq_tier *t)
{
    const double code_bits = bits * t->width;

    if (t->entries || t->width == 0 || code_bits != floor(code_bits) || code_bits < 1 ||
        code_bits > VQ_BITS_MAX)
        return;
    t->code_bits = (uint8_t)code_bits;
    t->entries = 1u << t->code_bits;
}

/* The name of a codebook that has none: "cb" and the bits. */
static glmq_status name_codebook(const vq_config *c, vq_tier *t, glmq_error *err)
{
    if (!t->codebook) t->codebook = glmq_arena_printf(c->arena, "cb%s", t->bits);
    return t->codebook ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "a codebook's name");
}

/* The bits of a tier: stated, or its key if that is a number ("1.50" is "1.5"). */
static void read_bits(const cJSON *stated, const char *key, char text[16])
{
    char *end;
    const double value = strtod(key, &end);

    snprintf(text, 16, "%.15s", key);
    if (cJSON_IsNumber(stated))
        print_bits(stated->valuedouble, text);
    else if (end > key && !*end)
        print_bits(value, text);
}

static glmq_status add_tier(vq_config *c, const cJSON *o, glmq_error *err)
{
    char where[64];
    vq_tier t = { .width = 0 };
    const cJSON *bits = member(o, "bits");

    snprintf(where, sizeof where, "vq.tiers.%.32s", o->string);
    if (!cJSON_IsObject(o)) return glmq_fail(err, GLMQ_E_FORMAT, "%s is no object", where);
    if (c->tiers == VQ_TIERS_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "more than %d vq.tiers", VQ_TIERS_MAX);
    read_bits(bits, o->string, t.bits);
    GLMQ_TRY(read_tier(o, where, &t, err));
    derive_entries(atof(t.bits), &t);
    GLMQ_TRY(finish_tier(&t, where, err));
    GLMQ_TRY(name_codebook(c, &t, err));
    c->tier[c->tiers++] = t;
    return GLMQ_OK;
}

static glmq_status read_tiers(vq_config *c, glmq_error *err)
{
    const cJSON *tiers = member(c->table, "tiers"), *o;

    if (tiers && !cJSON_IsObject(tiers))
        return glmq_fail(err, GLMQ_E_FORMAT, "vq.tiers is no object");
    cJSON_ArrayForEach(o, tiers) GLMQ_TRY(add_tier(c, o, err));
    for (size_t i = 0; i < GLMQ_COUNT(usual) && !tiers; i++) c->tier[c->tiers++] = usual[i];
    return GLMQ_OK;
}

glmq_status vq_config_tier(const vq_config *c, const cJSON *entry, vq_tier *tier, uint64_t *group,
                           glmq_error *err)
{
    const cJSON *bits = member(entry, "bits");
    const vq_tier *known;
    uint64_t width = 0;
    char where[48], text[16];

    if (!bits) bits = member(entry, "vq_bits");
    if (!cJSON_IsNumber(bits) || !(bits->valuedouble > 0) || bits->valuedouble > VQ_BITS_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "its vq entry states no bits");
    if (read_count(entry, "d", 4096, &width) < 0) return bad_tier("its vq entry", "d", err);
    print_bits(bits->valuedouble, text);
    snprintf(where, sizeof where, "its vq entry of %s bits", text);
    known = find_tier(c->tier, c->tiers, text, (uint32_t)width);
    if (!known && find_tier(c->tier, c->tiers, text, 0) && !member(entry, "K") &&
        member(c->table, "tiers"))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s has d %" PRIu64 ", the tier of these bits has d %u", where, width,
                         find_tier(c->tier, c->tiers, text, 0)->width);
    *tier = known ? *known : (vq_tier){ .width = (uint32_t)width };
    memcpy(tier->bits, text, sizeof text);
    GLMQ_TRY(read_tier(entry, where, tier, err));
    derive_entries(bits->valuedouble, tier);
    GLMQ_TRY(finish_tier(tier, where, err));
    *group = vq_config_group(c, entry);
    return name_codebook(c, tier, err);
}

uint64_t vq_config_group(const vq_config *c, const cJSON *entry)
{
    uint64_t group = read_group(entry, "norm_group");

    if (!group && (!c->norm_group || vq_entry_is_marked(c, entry)))
        group = read_group(entry, "group_size");
    if (!group) group = c->norm_group;
    return group ? group : read_group(c->quant, "group_size");
}

/* ---- entries ---- */

static const char *layers_tail(const char *name, size_t len)
{
    static const char mark[] = ".layers.";
    const char *at = memmem(name, len, mark, sizeof mark - 1), *p;

    if (!at) return NULL;
    at += sizeof mark - 1;
    for (p = at; p < name + len && *p >= '0' && *p <= '9'; p++) continue;
    return p > at && p + 1 < name + len && *p == '.' ? at : NULL;
}

/* A regular expression, of the whole path.  What is none, though it looks like one, is a name
 * that no module has. */
static glmq_status add_pattern(vq_config *c, const cJSON *e, glmq_error *err)
{
    glmq_text whole = { 0 };
    glmq_error why = { 0 };
    glmq_regex *regex = NULL;
    glmq_status st;

    glmq_text_printf(&whole, "(?:%s)\\Z", e->string);
    st = whole.failed ? glmq_fail(&why, GLMQ_E_NOMEM, "a pattern")
                      : glmq_regex_open(&regex, whole.data, REGEX_MATCH, &c->steps, &why);
    glmq_text_free(&whole);
    if (st == GLMQ_E_FORMAT) return GLMQ_OK;
    if (st) return glmq_fail(err, st, "%s", why.msg);
    c->pattern[c->patterns++] = (vq_pattern){ regex, e };
    return GLMQ_OK;
}

static glmq_status add_entry(vq_config *c, const cJSON *e, glmq_error *err)
{
    const size_t len = strlen(e->string);
    const char *tail = layers_tail(e->string, len);
    const uint64_t number = c->entries;

    if (glmq_key_is_pattern(e->string)) return add_pattern(c, e, err);
    c->entry[c->entries++] = e;
    if (glmq_strmap_add(&c->by_name, e->string, len, number, NULL) < 0 ||
        (tail &&
         glmq_strmap_add(&c->by_tail, tail, len - (size_t)(tail - e->string), number, NULL) < 0))
        return glmq_fail(err, GLMQ_E_NOMEM, "%zu modules", c->entries);
    return GLMQ_OK;
}

static glmq_status read_entries(vq_config *c, glmq_error *err)
{
    const cJSON *list = member(c->table, "modules"), *e;
    size_t n = 0, patterns = 0;

    if (!list) list = member(c->quant, "extra_config");
    if (list && !cJSON_IsObject(list))
        return glmq_fail(err, GLMQ_E_FORMAT, "extra_config is no object");
    cJSON_ArrayForEach(e, list) n++;
    cJSON_ArrayForEach(e, list) patterns += glmq_key_is_pattern(e->string) ? 1 : 0;
    c->entry = glmq_alloc_zero(n + 1, sizeof *c->entry);
    c->pattern = glmq_alloc_zero(patterns + 1, sizeof *c->pattern);
    if (!c->entry || !c->pattern) return glmq_fail(err, GLMQ_E_NOMEM, "%zu modules", n);
    cJSON_ArrayForEach(e, list) GLMQ_TRY(add_entry(c, e, err));
    return GLMQ_OK;
}

int vq_entry_is_marked(const vq_config *c, const cJSON *entry)
{
    const char *format = glmq_json_string(entry, "format");
    return (format && strcmp(format, "vq") == 0) ||
           (entry && member(entry, "vq_bits") && member(c->table, "modules"));
}

const cJSON *vq_config_find(const vq_config *c, const char *name, size_t len)
{
    const char *tail = layers_tail(name, len);
    uint64_t i;

    if (glmq_strmap_get(&c->by_name, name, len, &i)) return c->entry[i];
    if (tail && glmq_strmap_get(&c->by_tail, tail, len - (size_t)(tail - name), &i))
        return c->entry[i];
    return NULL;
}

glmq_status vq_config_match(vq_config *c, const char *name, size_t len, const cJSON **out,
                            glmq_error *err)
{
    *out = NULL;
    for (size_t i = 0; i < c->patterns && !*out; i++) {
        int yes = 0;
        const glmq_status st = glmq_regex_test(c->pattern[i].regex, name, len, &yes, err);
        if (st) return glmq_within(err, st, "%s", c->file);
        if (yes) *out = c->pattern[i].entry;
    }
    return GLMQ_OK;
}

/* ---- the whole ---- */

static glmq_status read_packing(vq_config *c, glmq_error *err)
{
    const char *packing = glmq_json_string(c->table, "packing");

    c->turned = packing && strcmp(packing, "lsb-first-t") == 0;
    if (!packing || c->turned || strcmp(packing, "lsb-first") == 0) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_UNSUPPORTED, "vq.packing \"%.60s\" is not read by this version",
                     packing);
}

static glmq_status read_file_name(vq_config *c, glmq_error *err)
{
    c->codebooks_file = glmq_json_string(c->table, "codebooks_file");
    if (!c->codebooks_file ||
        (!strpbrk(c->codebooks_file, "/\\") && !strstr(c->codebooks_file, "..")))
        return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT, "vq.codebooks_file \"%.100s\" is no plain file name",
                     c->codebooks_file);
}

glmq_status vq_config_open(vq_config *c, const glmq_catalog *cat, glmq_arena *arena,
                           glmq_error *err)
{
    *c = (vq_config){ .arena = arena, .quant = cat->quant, .file = "config.json" };
    if (cat->quant && cat->quant_file) c->file = cat->quant_file;
    c->table = member(c->quant, "vq");
    if (!c->table && member(member(cat->config, "vq"), "modules")) {
        c->table = member(cat->config, "vq");
        c->file = "config.json";
    }
    if (c->table && !cJSON_IsObject(c->table))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: vq is no object", c->file);
    c->codes_suffix = glmq_json_string(c->table, "codes_suffix");
    c->scales_suffix = glmq_json_string(c->table, "scales_suffix");
    c->norm_group = read_group(c->table, "norm_group");
    GLMQ_TRY(glmq_within(err, read_packing(c, err), "%s", c->file));
    GLMQ_TRY(glmq_within(err, read_file_name(c, err), "%s", c->file));
    GLMQ_TRY(glmq_within(err, read_tiers(c, err), "%s", c->file));
    return glmq_within(err, read_entries(c, err), "%s", c->file);
}

void vq_config_close(vq_config *c)
{
    for (size_t i = 0; i < c->patterns; i++) glmq_regex_close(c->pattern[i].regex);
    glmq_free(c->pattern);
    glmq_free(c->entry);
    glmq_strmap_free(&c->by_name);
    glmq_strmap_free(&c->by_tail);
}

int vq_config_speaks(const glmq_catalog *cat)
{
    const cJSON *e;

    if (member(cat->quant, "vq") || member(member(cat->config, "vq"), "modules")) return 1;
    cJSON_ArrayForEach(e, member(cat->quant, "extra_config"))
    {
        const char *format = glmq_json_string(e, "format");
        if (format && strcmp(format, "vq") == 0) return 1;
    }
    return 0;
}
