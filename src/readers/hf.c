/* What all Hugging Face readers share: arrays grouped by module, plain arrays and quantized
 * modules added to the graph by the name table.
 *
 * One rule decides what is quantized: the arrays that are there.  An array whose suffix is
 * some format's companion ("….weight_scale_inv") is never taken for weights. */
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include "reader.h"
#include <stdio.h>
#include <string.h>

/* ---- suffixes ---- */

/* Where the last component of a name begins; the name itself when it has no dot. */
static const char *leaf_of(const char *name, size_t len)
{
    const char *dot = memrchr(name, '.', len);
    return dot ? dot + 1 : name;
}

int glmq_catalog_has_suffix(const glmq_catalog *cat, const char *suffix, glmq_dtype dtype)
{
    for (size_t i = 0; i < cat->count; i++) {
        const glmq_array *a = &cat->arrays[i];
        if ((dtype == GLMQ_DT_NONE || a->dtype == dtype) &&
            strcmp(leaf_of(a->name, strlen(a->name)), suffix) == 0)
            return 1;
    }
    return 0;
}

/* Companions of formats, and whether this version reads the format. */
static const struct {
    const char *suffix, *format;
    int read;
} companions[] = {
    { "weight_scale_inv", "FP8 blocks", 1 },
    { "activation_scale", "FP8 with static activations", 1 },
    { "weight_scale_2", "ModelOpt NVFP4", 1 },
    { "weight_scale", "a scaled integer, FP8 or FP4 weight", 1 },
    { "weight_zero_point", "compressed-tensors", 1 },
    { "weight_global_scale", "compressed-tensors nvfp4-pack-quantized", 1 },
    { "weight_packed", "compressed-tensors", 1 },
    { "weight_shape", "compressed-tensors", 1 },
    { "weight_g_idx", "compressed-tensors", 1 },
    { "bitmask", "compressed-tensors sparse-bitmask", 0 },
    { "compressed", "compressed-tensors sparse-bitmask", 0 },
    { "row_offsets", "compressed-tensors sparse-bitmask", 0 },
    { "meta", "compressed-tensors marlin-24", 0 },
    { "qweight", "GPTQ or AWQ", 1 },
    { "qzeros", "GPTQ or AWQ", 1 },
    { "scales", "GPTQ, AWQ, VQ or AQLM", 1 },
    { "g_idx", "GPTQ", 1 },
    { "tq_packed", "TQ3", 1 },
    { "tq_norms", "TQ3", 1 },
    { "packed_weight", "a dump of TurboQuant's memory", 0 },
    { "tq_signs1", "a dump of TurboQuant's memory", 0 },
    { "tq_signs2", "a dump of TurboQuant's memory", 0 },
    { "tq_centroids", "a dump of TurboQuant's memory", 0 },
    { "rotation", "TurboQuant with a learned rotation", 0 },
    { "codes", "AQLM", 1 },
    { "codebooks", "AQLM", 1 },
    { "vq_codes", "VQ", 1 },
    { "vq_scales", "VQ", 1 },
    { "trellis", "EXL3", 0 },
    { "suh", "EXL3", 0 },
    { "svh", "EXL3", 0 },
    { "q_weight", "EXL2", 0 },
    { "q_scale", "EXL2", 0 },
    { "absmax", "bitsandbytes", 0 },
    { "quant_map", "bitsandbytes", 0 },
    { "nested_absmax", "bitsandbytes", 0 },
    { "nested_quant_map", "bitsandbytes", 0 },
    { "SCB", "bitsandbytes", 0 },
    { "weight_format", "bitsandbytes", 0 },
    { "W_q", "HQQ", 0 },
    { "gate_up_proj_blocks", "gpt-oss MXFP4", 1 },
    { "gate_up_proj_scales", "gpt-oss MXFP4", 1 },
    { "down_proj_blocks", "gpt-oss MXFP4", 1 },
    { "down_proj_scales", "gpt-oss MXFP4", 1 },
    { "pre_quant_scale", "ModelOpt's AWQ", 0 },
    { "svdquant_lora_a", "ModelOpt's SVDQuant", 0 },
    { "svdquant_lora_b", "ModelOpt's SVDQuant", 0 },
    { "input_global_scale", "compressed-tensors nvfp4-pack-quantized", 1 },
    { "_amax", "a ModelOpt state that was never exported", 0 },
    { "_double_scale", "a ModelOpt state that was never exported", 0 },
};

glmq_status glmq_hf_refuse_companion(const glmq_array *a, glmq_error *err)
{
    const char *leaf = leaf_of(a->name, strlen(a->name));

    for (size_t i = 0; i < GLMQ_COUNT(companions); i++)
        if (strcmp(leaf, companions[i].suffix) == 0)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: belongs to %s, %s", a->name,
                             companions[i].format,
                             companions[i].read ? "which the other arrays are not of"
                                                : "which this version does not read");
    if (strstr(a->name, "weight_quantizer.") || strstr(a->name, ".quant_state."))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: the state of a quantizer", a->name);
    return GLMQ_OK;
}

/* ---- modules ---- */

typedef struct {
    glmq_module *at;
    size_t count;
    glmq_strmap by_name;
} modules;

static const glmq_slot_name *slot_of(const glmq_slot_name *slots, size_t n, const char *suffix)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(slots[i].suffix, suffix) == 0) return &slots[i];
    return NULL;
}

/* The module called name[0..len), made if it is new. */
static glmq_status module_of(modules *list, const char *name, size_t len, glmq_module **out,
                             glmq_error *err)
{
    uint64_t i = list->count;
    const int added = glmq_strmap_add(&list->by_name, name, len, i, &i);

    if (added < 0) return glmq_fail(err, GLMQ_E_NOMEM, "%zu modules", list->count);
    if (added) {
        list->at[list->count].name = name;
        list->at[list->count].name_len = len;
        list->count++;
    }
    *out = &list->at[i];
    return GLMQ_OK;
}

/* Formats that hang their suffix on the weight ("….q_proj.weight.tq_packed") speak of the same
 * module. */
static size_t without_weight(const char *name, size_t len)
{
    static const char weight[] = ".weight";
    const size_t tail = sizeof weight - 1;
    return len > tail && memcmp(name + len - tail, weight, tail) == 0 ? len - tail : len;
}

static glmq_status group_array(modules *list, const glmq_array *a, const glmq_slot_name *slots,
                               size_t n, glmq_error *err)
{
    const size_t len = strlen(a->name);
    const char *leaf = leaf_of(a->name, len);
    const size_t stem = leaf > a->name ? (size_t)(leaf - a->name) - 1 : 0;
    const glmq_slot_name *s = stem ? slot_of(slots, n, leaf) : NULL;
    glmq_module *m = NULL;

    if (s) {
        GLMQ_TRY(module_of(list, a->name, without_weight(a->name, stem), &m, err));
        if (m->slot[s->slot])
            return glmq_fail(err, GLMQ_E_FORMAT, "%s and %s are the same thing twice",
                             m->slot[s->slot]->name, a->name);
        m->slot[s->slot] = a;
        m->quantized = 1;
        return GLMQ_OK;
    }
    GLMQ_TRY(module_of(list, a->name, stem && strcmp(leaf, "weight") == 0 ? stem : len, &m, err));
    if (m->plain)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s and %s are the same thing twice", m->plain->name,
                         a->name);
    m->plain = a;
    return GLMQ_OK;
}

static glmq_status check_module(const glmq_module *m, const glmq_slot_name *slots, size_t n,
                                glmq_error *err)
{
    if (!m->quantized) return GLMQ_OK;
    if (m->plain && m->slot[GLMQ_SLOT_CODES])
        return glmq_fail(err, GLMQ_E_FORMAT, "both %s and %s are stored", m->plain->name,
                         m->slot[GLMQ_SLOT_CODES]->name);
    for (size_t i = 0; i < n; i++)
        if (slots[i].required && !m->slot[slots[i].slot])
            return glmq_fail_missing(err, GLMQ_E_FORMAT, "%.*s.%s is missing", (int)m->name_len,
                                     m->name, slots[i].suffix);
    return GLMQ_OK;
}

/* Any of a module's arrays: they are all in one file, but where shards end. */
static const glmq_array *first_array(const glmq_module *m)
{
    int i = 0;

    if (m->plain) return m->plain;
    while (i < GLMQ_SLOTS - 1 && !m->slot[i]) i++;
    return m->slot[i];
}

static glmq_status name_file(const glmq_catalog *cat, const glmq_module *m, glmq_status st,
                             glmq_error *err)
{
    if (glmq_source_is_file(cat->source)) return st; /* its path stands before everything */
    return glmq_within(err, st, "%s", glmq_source_name(cat->source, first_array(m)->file));
}

/* A module that cannot be read, where that is to be told and not to end it all. */
static glmq_status leave_out(const glmq_catalog *cat, const glmq_module *m, glmq_status st,
                             glmq_error *err)
{
    glmq_graph *g = cat->tolerant;
    const glmq_array *first = first_array(m);
    char name[320];

    for (int i = 0; i < GLMQ_SLOTS; i++) {
        if (!m->slot[i]) continue;
        if (g->fate[m->slot[i] - cat->arrays] == FATE_UNKNOWN)
            glmq_graph_drop(g, (size_t)(m->slot[i] - cat->arrays), "its tensor cannot be read");
    }
    if (m->plain && g->fate[m->plain - cat->arrays] == FATE_UNKNOWN)
        glmq_graph_drop(g, (size_t)(m->plain - cat->arrays), "it cannot be read");
    glmq_module_text(m, name, sizeof name - sizeof ".weight");
    if (m->quantized && !glmq_ends_with(name, ".weight")) strcat(name, ".weight");
    return glmq_graph_leave_out(g, m->quantized ? name : first->name,
                                glmq_source_name(cat->source, first->file), st, err);
}

/* Tolerant of modules that cannot be read, unless none can. */
static glmq_status each_module(const glmq_catalog *cat, const modules *list,
                               const glmq_slot_name *slots, size_t n,
                               glmq_status (*each)(void *, const glmq_module *, glmq_error *),
                               void *user, glmq_error *err)
{
    glmq_status st = GLMQ_OK;
    size_t bad = 0;

    for (size_t i = 0; i < list->count; i++) {
        const glmq_module *m = &list->at[i];

        st = check_module(m, slots, n, err);
        if (!st) st = each(user, m, err);
        if (!st) continue;
        /* codes without their scales: not of a format that nobody reads */
        if (st == GLMQ_E_UNSUPPORTED && !m->quantized && !glmq_hf_refuse_companion(m->plain, NULL))
            st = GLMQ_E_FORMAT;
        if (!cat->tolerant || ++bad == list->count) return name_file(cat, m, st, err);
        GLMQ_TRY(leave_out(cat, m, st, err));
    }
    return GLMQ_OK;
}

glmq_status glmq_modules_each(const glmq_catalog *cat, const glmq_slot_name *slots, size_t n,
                              glmq_status (*each)(void *user, const glmq_module *m,
                                                  glmq_error *err),
                              void *user, glmq_error *err)
{
    modules list = { .at = glmq_alloc_zero(cat->count + 1, sizeof *list.at) };
    glmq_status st = GLMQ_OK;

    if (!list.at) return glmq_fail(err, GLMQ_E_NOMEM, "%zu modules", cat->count);
    for (size_t i = 0; i < cat->count && !st; i++)
        st = group_array(&list, &cat->arrays[i], slots, n, err);
    if (!st) st = each_module(cat, &list, slots, n, each, user, err);
    glmq_strmap_free(&list.by_name);
    glmq_free(list.at);
    return st;
}

void glmq_module_text(const glmq_module *m, char *text, size_t cap)
{
    const size_t n = m->name_len < cap ? m->name_len : cap - 1;

    memcpy(text, m->name, n);
    text[n] = '\0';
}

/* Does `entry` lie in the name, from one dot (or end) to another? */
static int has_components(const char *name, size_t len, const char *entry)
{
    const size_t n = strlen(entry);
    const char *end = name + len, *dot;

    for (const char *p = name; n && (size_t)(end - p) >= n; p = dot + 1) {
        if (memcmp(p, entry, n) == 0 && (p + n == end || p[n] == '.')) return 1;
        dot = memchr(p, '.', (size_t)(end - p));
        if (!dot) return 0;
    }
    return 0;
}

int glmq_module_listed(const glmq_module *m, const cJSON *list)
{
    const cJSON *entry;

    cJSON_ArrayForEach(entry, list)
    {
        if (cJSON_IsString(entry) && has_components(m->name, m->name_len, entry->valuestring))
            return 1;
    }
    return 0;
}

/* ---- plain arrays ---- */

static uint32_t number_of(const glmq_catalog *cat, const glmq_array *a)
{
    return (uint32_t)(a - cat->arrays);
}

glmq_span glmq_hf_span(const glmq_catalog *cat, const glmq_array *a)
{
    return (glmq_span){ a->offset, a->bytes, a->file, number_of(cat, a) };
}

glmq_status glmq_hf_drop(glmq_graph *g, const glmq_catalog *cat, const glmq_array *a,
                         glmq_severity severity, const char *reason, glmq_error *err)
{
    glmq_graph_drop(g, number_of(cat, a), reason);
    if (glmq_graph_note(g, severity, "array-dropped", a->name, NULL, "%s", reason))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

/* The row for an array: modules by their name without ".weight", leaves as they are. */
static int match_plain(const glmq_graph *g, const char *name, glmq_name_match *out)
{
    static const char weight[] = ".weight";
    const size_t len = strlen(name), tail = sizeof weight - 1;

    if (!g->names) return 0;
    if (len > tail && strcmp(name + len - tail, weight) == 0 &&
        glmq_names_match(g->names, NAMES_HF, name, len - tail, out) && !out->row->leaf)
        return 1;
    return glmq_names_match(g->names, NAMES_HF, name, len, out) && out->row->leaf;
}

/* The array as one matrix; 0 when it has more than two dimensions. */
static int as_matrix(const glmq_array *a, uint8_t *rank, uint64_t *rows, uint64_t *cols)
{
    *rank = a->rank == 2 ? 2 : 1;
    *rows = a->rank == 2 ? a->dims[0] : 1;
    *cols = a->rank == 0 ? 1 : a->dims[a->rank - 1];
    return a->rank <= 2;
}

static void whole_part(const glmq_catalog *cat, const glmq_array *a, uint64_t rows, uint64_t cols,
                       glmq_part *p)
{
    memset(p, 0, sizeof *p);
    p->enc = glmq_encoding_of_dtype((glmq_dtype)a->dtype);
    p->rows = rows;
    p->cols = cols;
    p->span[GLMQ_SLOT_CODES] = glmq_hf_span(cat, a);
}

static glmq_status add_rows(glmq_graph *g, glmq_role role, const glmq_name_match *m, int64_t expert,
                            const glmq_part *all, uint64_t row, uint64_t rows, glmq_error *err)
{
    glmq_part p = *all;

    GLMQ_TRY(glmq_part_slice(&p, row, rows, err));
    return glmq_graph_add(g, role, m->layer, (int32_t)expert, 2, &p, err);
}

glmq_status glmq_hf_add_stack(glmq_graph *g, const glmq_name_match *m, const glmq_part *all,
                              uint64_t experts, uint64_t per, glmq_error *err)
{
    const int both = m->row->split == SPLIT_EXPERTS_GATE_UP;

    for (uint64_t e = 0; e < experts; e++) {
        const uint64_t row = e * (both ? 2 * per : per);
        GLMQ_TRY(add_rows(g, m->row->role, m, (int64_t)e, all, row, per, err));
        if (both)
            GLMQ_TRY(add_rows(g, GLMQ_ROLE_EXPERTS_UP, m, (int64_t)e, all, row + per, per, err));
    }
    return GLMQ_OK;
}

/* [E, rows, cols], or [E, 2I, cols] with gate rows first: one tensor per expert. */
static glmq_status add_experts(glmq_graph *g, const glmq_catalog *cat, const glmq_array *a,
                               const glmq_name_match *m, glmq_error *err)
{
    const int both = m->row->split == SPLIT_EXPERTS_GATE_UP;
    uint64_t all, per;
    glmq_part p;

    if (a->rank != 3 || (both && a->dims[1] % 2) || a->dims[0] > GLMQ_EXPERTS_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: not of shape [experts, %srows, columns]", a->name,
                         both ? "2 * " : "");
    per = both ? a->dims[1] / 2 : a->dims[1];
    if (mul_u64(a->dims[0], a->dims[1], &all))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: too many rows", a->name);
    whole_part(cat, a, all, a->dims[2], &p);
    return glmq_hf_add_stack(g, m, &p, a->dims[0], per, err);
}

static glmq_status add_unknown(glmq_graph *g, const glmq_catalog *cat, const glmq_array *a,
                               glmq_error *err)
{
    uint64_t rows, cols;
    uint8_t rank;
    glmq_part p;

    if (!as_matrix(a, &rank, &rows, &cols))
        return glmq_hf_drop(g, cat, a, GLMQ_WARNING, "an unknown array of more than two dimensions",
                            err);
    whole_part(cat, a, rows, cols, &p);
    return glmq_graph_add_other(g, a->name, rank, &p, err);
}

glmq_status glmq_hf_add_plain(glmq_graph *g, const glmq_catalog *cat, const glmq_array *a,
                              glmq_error *err)
{
    const char *why = glmq_names_useless(a->name, strlen(a->name));
    const glmq_encoding enc = glmq_encoding_of_dtype((glmq_dtype)a->dtype);
    glmq_name_match m;
    uint64_t rows, cols;
    uint8_t rank;
    glmq_part p;
    int known;

    if (why) return glmq_hf_drop(g, cat, a, GLMQ_NOTE, why, err);
    GLMQ_TRY(glmq_hf_refuse_companion(a, err));
    known = match_plain(g, a->name, &m);
    if (a->bytes == 0 && !known)
        return glmq_hf_drop(g, cat, a, GLMQ_NOTE, "it holds no elements", err);
    if (!enc.codec || !glmq_encoding_is_plain(&enc)) {
        /* In a model a matrix of codes is somebody's weight; in a loose file only its name says
         * so, and a list of anything else is still worth showing. */
        if (known || (a->rank > 1 && (g->hp || glmq_ends_with(a->name, ".weight"))))
            return glmq_fail_missing(err, GLMQ_E_UNSUPPORTED,
                                     "%s: %s without the arrays of a known format", a->name,
                                     glmq_dtype_name((glmq_dtype)a->dtype));
        return glmq_hf_drop(g, cat, a, GLMQ_WARNING, "an unknown array of a type that is no weight",
                            err);
    }
    if (!known) return add_unknown(g, cat, a, err);
    if (m.row->split != SPLIT_NONE) return add_experts(g, cat, a, &m, err);
    if (!as_matrix(a, &rank, &rows, &cols))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %d dimensions", a->name, a->rank);
    whole_part(cat, a, rows, cols, &p);
    return glmq_graph_add(g, m.row->role, m.layer, m.expert, rank, &p, err);
}

glmq_status glmq_hf_add_unscaled(glmq_graph *g, const glmq_catalog *cat, const glmq_array *a,
                                 const char *scale, glmq_error *err)
{
    const int codes = a->dtype == GLMQ_DT_F8_E4M3 || a->dtype == GLMQ_DT_I8;
    const size_t len = strlen(a->name);

    if (!codes || a->rank != 2 || !glmq_ends_with(a->name, ".weight"))
        return glmq_hf_add_plain(g, cat, a, err);
    return glmq_fail_missing(err, GLMQ_E_FORMAT, "%.*s%s is missing, the weight is %s",
                             (int)(len - strlen("weight")), a->name, scale,
                             glmq_dtype_name((glmq_dtype)a->dtype));
}

/* ---- quantized modules ---- */

/* Tensors that one stored matrix of a module holds, one below the other. */
static uint64_t stacked(const glmq_graph *g, const glmq_name_match *m)
{
    const uint64_t experts = glmq_hparams_experts(g->hp, m->layer);

    if (m->row->split == SPLIT_EXPERTS) return experts;
    return m->row->split == SPLIT_EXPERTS_GATE_UP ? 2 * experts : 1;
}

int glmq_hf_module_shape(const glmq_graph *g, const glmq_module *m, uint64_t *rows, uint64_t *cols)
{
    glmq_name_match match;
    uint8_t rank;

    if (!g->names || !glmq_names_match(g->names, NAMES_HF, m->name, m->name_len, &match) ||
        (match.row->leaf && match.row->split == SPLIT_NONE) ||
        !glmq_role_shape(g->hp, match.row->role, &rank, rows, cols))
        return 0;
    if (match.row->role == GLMQ_ROLE_ROUTER) *rows = glmq_hparams_experts(g->hp, match.layer);
    return rank == 2 && !mul_u64(*rows, stacked(g, &match), rows) && *rows != 0;
}

static const char *join_dims(const uint64_t *dims, int rank, const char *between, char *text,
                             size_t cap)
{
    size_t n = 0;

    text[0] = '\0';
    for (int i = 0; i < rank && n < cap; i++) {
        const int wrote = snprintf(text + n, cap - n, "%s%" PRIu64, i ? between : "", dims[i]);
        n += wrote > 0 ? (size_t)wrote : 0;
    }
    return text;
}

const char *glmq_array_shape(const glmq_array *a, char text[96])
{
    return join_dims(a->dims, a->rank, ", ", text, 96);
}

/* "2 x 3" */
static const char *print_dims(const uint64_t *dims, int rank, char *text, size_t cap)
{
    return rank ? join_dims(dims, rank, " x ", text, cap) : "scalar";
}

/* Equal but for dimensions of 1: [N, 1] and [N], [1] and []. */
static int same_dims(const uint64_t *a, int an, const uint64_t *b, int bn)
{
    int i = 0, j = 0;

    for (;;) {
        while (i < an && a[i] == 1) i++;
        while (j < bn && b[j] == 1) j++;
        if (i == an || j == bn) return i == an && j == bn;
        if (a[i++] != b[j++]) return 0;
    }
}

static glmq_status check_slot(const glmq_module *m, int slot, const glmq_slot_layout *want,
                              glmq_error *err)
{
    const glmq_array *a = m->slot[slot];
    char have_text[96], want_text[96];

    if (want->dtype == GLMQ_DT_NONE) {
        if (!a || slot == GLMQ_SLOT_INPUT_SCALE) return GLMQ_OK;
        return glmq_fail(err, GLMQ_E_FORMAT, "%s does not belong to this encoding", a->name);
    }
    if (!a) {
        if (want->optional) return GLMQ_OK;
        return glmq_fail_missing(err, GLMQ_E_FORMAT, "%.*s lacks its array of %s %s",
                                 (int)m->name_len, m->name, glmq_dtype_name(want->dtype),
                                 print_dims(want->dims, want->rank, want_text, sizeof want_text));
    }
    if (a->dtype != want->dtype)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected %s", a->name,
                         glmq_dtype_name((glmq_dtype)a->dtype), glmq_dtype_name(want->dtype));
    if (!same_dims(a->dims, a->rank, want->dims, want->rank) || a->bytes != want->bytes)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: shape %s, expected %s", a->name,
                         print_dims(a->dims, a->rank, have_text, sizeof have_text),
                         print_dims(want->dims, want->rank, want_text, sizeof want_text));
    return GLMQ_OK;
}

static glmq_status add_other_module(glmq_graph *g, const glmq_module *m, const glmq_part *p,
                                    glmq_error *err)
{
    const char *name = glmq_arena_printf(&g->arena, "%.*s.weight", (int)m->name_len, m->name);

    if (!name) return glmq_fail(err, GLMQ_E_NOMEM, "module name");
    return glmq_graph_add_other(g, name, 2, p, err);
}

static glmq_status add_fused(glmq_graph *g, const glmq_module *m, const glmq_name_match *match,
                             const glmq_part *p, glmq_error *err)
{
    const uint64_t n = stacked(g, match);

    if (n == 0 || p->rows % n)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%.*s: %" PRIu64 " rows for %" PRIu64 " experts of layer %d",
                         (int)m->name_len, m->name, p->rows,
                         glmq_hparams_experts(g->hp, match->layer), match->layer);
    return glmq_within(
        err,
        glmq_hf_add_stack(g, match, p, glmq_hparams_experts(g->hp, match->layer), p->rows / n, err),
        "%.*s", (int)m->name_len, m->name);
}

glmq_status glmq_hf_add_module(glmq_graph *g, const glmq_catalog *cat, const glmq_module *m,
                               const glmq_encoding *enc, uint64_t rows, uint64_t cols,
                               glmq_error *err)
{
    glmq_part p = { .enc = *enc, .rows = rows, .cols = cols };
    glmq_name_match match;
    glmq_layout l;

    GLMQ_TRY(glmq_within(err, enc->codec->layout(enc, rows, cols, &l, err), "%.*s",
                         (int)m->name_len, m->name));
    for (int i = 0; i < GLMQ_SLOTS; i++) {
        GLMQ_TRY(check_slot(m, i, &l.slot[i], err));
        if (m->slot[i]) p.span[i] = glmq_hf_span(cat, m->slot[i]);
    }
    if (!g->names || !glmq_names_match(g->names, NAMES_HF, m->name, m->name_len, &match))
        return add_other_module(g, m, &p, err);
    if (match.row->split != SPLIT_NONE) return add_fused(g, m, &match, &p, err);
    if (match.row->leaf)
        return glmq_fail(err, GLMQ_E_FORMAT, "%.*s: no matrix of the model, but quantized",
                         (int)m->name_len, m->name);
    return glmq_graph_add(g, match.row->role, match.layer, match.expert, 2, &p, err);
}
