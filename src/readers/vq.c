/* VQ checkpoints: routed experts as codes of codebooks that all modules of a tier share, beside
 * a 4-bit GPTQ spine and plain arrays.
 *
 *   <module>.qweight .scales             vector-quantized (also vq_codes, vq_scales, …)
 *   <module>.qweight .scales .qzeros     GPTQ
 *   <path>.switch_mlp.gate_proj.vq_codes [experts, …]   the layout with stacked experts
 *
 * The configuration says which modules are which and of which tier; where it is silent, shapes
 * tell, and codes tell which codebook they belong to.  A codebook that is nowhere makes the
 * checkpoint incomplete: it is listed, not decoded. */
#include "base/error.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include "gptq_module.h"
#include "tally.h"
#include "vq_books.h"
#include "vq_choice.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CANDIDATES_MAX = 8 };

/* The tensors of one tier, or those that could be of any of several. */
typedef struct use {
    struct use *next;
    vq_book book; /* what the tensors point to */
    vq_tier tier[CANDIDATES_MAX];
    size_t tiers;
    uint64_t tensors;
} use;

typedef struct {
    glmq_graph *g;
    const glmq_catalog *cat;
    vq_config config;
    vq_books books;
    glmq_gptq_modules *gptq;
    use *uses;
    glmq_text missing; /* codebooks */
    glmq_tally silent; /* modules that the configuration does not name */
} job;

/* ---- tiers in use ---- */

static int same_tier(const vq_tier *a, const vq_tier *b)
{
    return a->width == b->width && a->entries == b->entries && a->code_bits == b->code_bits &&
           strcmp(a->bits, b->bits) == 0 && strcmp(a->codebook, b->codebook) == 0;
}

static glmq_status use_of(job *j, const vq_tier *tier, size_t tiers, use **out, glmq_error *err)
{
    use **at = &j->uses;

    for (; *at; at = &(*at)->next) {
        size_t same = 0;
        while (same < tiers && (*at)->tiers == tiers && same_tier(&(*at)->tier[same], &tier[same]))
            same++;
        *out = *at;
        if (same == tiers) return GLMQ_OK;
    }
    *out = *at = glmq_arena_alloc(&j->g->arena, sizeof **at);
    if (!*at) return glmq_fail(err, GLMQ_E_NOMEM, "tiers");
    memcpy((*at)->tier, tier, tiers * sizeof *tier);
    (*at)->tiers = tiers;
    (*at)->book = (vq_book){ .name = tier->codebook,
                             .entries = tier->entries,
                             .width = tier->width,
                             .bits = tier->code_bits };
    return GLMQ_OK;
}

/* ---- shapes ---- */

/* Rows and columns: the model's, or what codes and scales say. */
static glmq_status measure_shape(const job *j, const glmq_module *m, uint64_t group, uint64_t *rows,
                                 uint64_t *cols, glmq_error *err)
{
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES], *scales = m->slot[GLMQ_SLOT_SCALES];
    char a[96], b[96];

    if (codes->rank != 2 || scales->rank != 2 || !codes->dims[0] || !codes->dims[1] ||
        !scales->dims[0] || !scales->dims[1])
        return glmq_fail(err, GLMQ_E_FORMAT, "%s [%s] and %s [%s]: expected two matrices",
                         codes->name, glmq_array_shape(codes, a), scales->name,
                         glmq_array_shape(scales, b));
    if (glmq_hf_module_shape(j->g, m, rows, cols)) return GLMQ_OK;
    *rows = scales->dims[0];
    if (group == 0 || group == UINT64_MAX || mul_u64(scales->dims[1], group, cols))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: the number of columns cannot be told",
                         codes->name);
    return GLMQ_OK;
}

/* Columns per scale, as stated or as the scales say; 0 in *out: the whole row. */
static glmq_status measure_group(const glmq_module *m, uint64_t rows, uint64_t cols,
                                 uint64_t stated, uint32_t *out, glmq_error *err)
{
    const glmq_array *scales = m->slot[GLMQ_SLOT_SCALES];
    const uint64_t groups = scales->dims[1];
    const uint64_t group = stated == UINT64_MAX ? cols : stated ? stated : cols / groups;
    char dims[96], hint[64] = "";

    *out = stated == UINT64_MAX ? 0 : (uint32_t)group;
    if (group && group <= UINT32_MAX && cols % group == 0 && groups == cols / group &&
        scales->dims[0] == rows)
        return GLMQ_OK;
    if (groups && cols % groups == 0 && scales->dims[0] == rows)
        snprintf(hint, sizeof hint, "; they would be right for a norm_group of %" PRIu64,
                 cols / groups);
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s [%s]: expected [%" PRIu64 ", %" PRIu64 " / %" PRIu64 "]%s", scales->name,
                     glmq_array_shape(scales, dims), rows, cols, group, hint);
}

/* What the codes would have to be, and what they would be right for. */
static glmq_status refuse_codes(const job *j, const glmq_array *codes, const vq_tier *tier,
                                uint64_t rows, uint64_t cols, glmq_error *err)
{
    const uint64_t words = vq_form_elements(VQ_I32, tier->code_bits, cols / tier->width);
    const int turned = j->config.turned != 0;
    const uint64_t want[2] = { turned ? words : rows, turned ? rows : words };
    char dims[96], hint[96] = "";
    vq_form form;

    if (codes->rank == 2 && codes->dims[0] == want[1] && codes->dims[1] == want[0])
        snprintf(hint, sizeof hint,
                 "; they are stored the other way round, which vq.packing \"%s\" would say",
                 turned ? "lsb-first" : "lsb-first-t");
    for (size_t i = 0; i < j->config.tiers && !hint[0]; i++)
        if (vq_form_of(codes, &j->config.tier[i], rows, cols, turned, &form))
            snprintf(hint, sizeof hint, "; the data would fit the tier of %s bits",
                     j->config.tier[i].bits);
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s: %s [%s], expected I32 [%" PRIu64 ", %" PRIu64
                     "] for %s bits (codes of %u bits, d %u, %" PRIu64 " columns)%s",
                     codes->name, glmq_dtype_name((glmq_dtype)codes->dtype),
                     glmq_array_shape(codes, dims), want[0], want[1], tier->bits, tier->code_bits,
                     tier->width, cols, hint);
}

static glmq_status check_divisible(const glmq_module *m, const vq_tier *t, uint64_t cols,
                                   uint64_t group, glmq_error *err)
{
    const uint64_t g = group ? group : cols;

    if (cols % t->width == 0 && cols % g == 0 && g % t->width == 0) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%.*s: %" PRIu64 " columns, d %u, norm_group %" PRIu64
                     ": d must divide norm_group, and that the columns",
                     (int)m->name_len, m->name, cols, t->width, g);
}

/* ---- vector-quantized modules ---- */

static glmq_status add_vq(job *j, const glmq_module *m, use *u, vq_form form, uint32_t group,
                          uint64_t rows, uint64_t cols, glmq_error *err)
{
    const glmq_encoding e = { .codec = &glmq_codec_vq,
                              .group = group,
                              .group_rows = 1,
                              .bits = u->tier[0].code_bits,
                              .scale_dtype = m->slot[GLMQ_SLOT_SCALES]->dtype,
                              .variant = (uint8_t)form,
                              .tables = &u->book };

    GLMQ_TRY(glmq_hf_add_module(j->g, j->cat, m, &e, rows, cols, err));
    u->book.weights += rows * cols;
    u->tensors++;
    return GLMQ_OK;
}

/* A module that the configuration marks. */
static glmq_status add_marked(job *j, const glmq_module *m, const cJSON *entry, glmq_error *err)
{
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES];
    uint64_t stated, rows, cols;
    uint32_t group;
    vq_tier tier;
    vq_form form;
    use *u;

    GLMQ_TRY(glmq_within(err, vq_config_tier(&j->config, entry, &tier, &stated, err), "%.*s",
                         (int)m->name_len, m->name));
    GLMQ_TRY(measure_shape(j, m, stated, &rows, &cols, err));
    GLMQ_TRY(check_divisible(m, &tier, cols, stated == UINT64_MAX ? 0 : stated, err));
    if (!vq_form_of(codes, &tier, rows, cols, j->config.turned, &form))
        return refuse_codes(j, codes, &tier, rows, cols, err);
    GLMQ_TRY(measure_group(m, rows, cols, stated, &group, err));
    GLMQ_TRY(use_of(j, &tier, 1, &u, err));
    return add_vq(j, m, u, form, group, rows, cols, err);
}

/* One that it does not name: every tier that the codes would fit is a candidate. */
static glmq_status add_silent(job *j, const glmq_module *m, glmq_error *err)
{
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES];
    const uint64_t stated = vq_config_group(&j->config, NULL);
    vq_tier fit[CANDIDATES_MAX];
    vq_form form, first = VQ_I32;
    uint64_t rows, cols;
    uint32_t group;
    size_t n = 0;
    use *u;

    GLMQ_TRY(measure_shape(j, m, stated, &rows, &cols, err));
    GLMQ_TRY(measure_group(m, rows, cols, stated, &group, err));
    for (size_t i = 0; i < j->config.tiers && n < CANDIDATES_MAX; i++) {
        const vq_tier *t = &j->config.tier[i];
        if (!vq_form_of(codes, t, rows, cols, j->config.turned, &form) ||
            (group ? group : cols) % t->width)
            continue;
        if (n == 0) first = form;
        fit[n++] = *t;
    }
    if (n == 0 && j->config.tiers)
        return refuse_codes(j, codes, &j->config.tier[0], rows, cols, err);
    if (n == 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: the configuration has no tier", codes->name);
    glmq_tally_add(&j->silent, m->name, m->name_len);
    GLMQ_TRY(use_of(j, fit, n, &u, err));
    return add_vq(j, m, u, first, group, rows, cols, err);
}

/* ---- stacked experts ---- */

static const char stack[] = ".mlp.switch_mlp.";

static int is_stack(const glmq_module *m)
{
    return memmem(m->name, m->name_len, stack, sizeof stack - 1) != NULL;
}

/* "model.layers.3.mlp.switch_mlp.gate_proj": the role of all experts' matrices in the stack. */
static int match_stack(const job *j, const glmq_module *m, glmq_name_match *out)
{
    static const char one[] = ".mlp.experts.0.";
    const char *at = memmem(m->name, m->name_len, stack, sizeof stack - 1);
    const char *root = memmem(m->name, m->name_len, "model.layers.", 13);
    char name[GLMQ_NAME_MAX];
    int n;

    if (!at || !root || root > at || m->name_len >= sizeof name - sizeof one) return 0;
    n = snprintf(name, sizeof name, "%.*s%s%.*s", (int)(at - root), root, one,
                 (int)(m->name + m->name_len - (at + sizeof stack - 1)), at + sizeof stack - 1);
    return n > 0 && j->g->names && glmq_names_match(j->g->names, NAMES_HF, name, (size_t)n, out) &&
           out->expert == 0;
}

static glmq_status check_stack(const glmq_array *a, glmq_dtype dtype, uint64_t experts,
                               uint64_t rows, uint64_t cols, glmq_error *err)
{
    char dims[96];

    if (a->rank == 3 && a->dims[0] == experts && a->dims[1] == rows && a->dims[2] == cols &&
        (dtype == GLMQ_DT_NONE || a->dtype == dtype))
        return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s: %s [%s], expected [%" PRIu64 ", %" PRIu64 ", %" PRIu64 "]", a->name,
                     glmq_dtype_name((glmq_dtype)a->dtype), glmq_array_shape(a, dims), experts,
                     rows, cols);
}

static glmq_status add_stack(job *j, const glmq_module *m, const cJSON *entry, glmq_error *err)
{
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES], *scales = m->slot[GLMQ_SLOT_SCALES];
    glmq_part p = { .enc = { .codec = &glmq_codec_vq, .group_rows = 1, .variant = VQ_I32 } };
    uint64_t rows, cols, experts, stated;
    glmq_name_match match;
    glmq_layout l;
    uint8_t rank;
    vq_tier tier;
    use *u;

    if (!match_stack(j, m, &match) ||
        !glmq_role_shape(j->g->hp, match.row->role, &rank, &rows, &cols))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%.*s: stacked experts of no known name",
                         (int)m->name_len, m->name);
    experts = glmq_hparams_experts(j->g->hp, match.layer);
    GLMQ_TRY(glmq_within(err, vq_config_tier(&j->config, entry, &tier, &stated, err), "%.*s",
                         (int)m->name_len, m->name));
    if (!stated) stated = 128;
    GLMQ_TRY(check_divisible(m, &tier, cols, stated == UINT64_MAX ? 0 : stated, err));
    if (stated == UINT64_MAX) stated = cols;
    GLMQ_TRY(check_stack(codes, GLMQ_DT_I32, experts, rows,
                         vq_form_elements(VQ_I32, tier.code_bits, cols / tier.width), err));
    GLMQ_TRY(check_stack(scales, GLMQ_DT_NONE, experts, rows, cols / stated, err));
    GLMQ_TRY(use_of(j, &tier, 1, &u, err));
    u->book.weights += experts * rows * cols;
    u->tensors += experts;
    p.enc.group = (uint32_t)stated;
    p.enc.bits = tier.code_bits;
    p.enc.scale_dtype = scales->dtype;
    p.enc.tables = &u->book;
    p.cols = cols;
    if (mul_u64(experts, rows, &p.rows))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: too many rows", codes->name);
    GLMQ_TRY(p.enc.codec->layout(&p.enc, p.rows, cols, &l, err));
    p.span[GLMQ_SLOT_CODES] = glmq_hf_span(j->cat, codes);
    p.span[GLMQ_SLOT_SCALES] = glmq_hf_span(j->cat, scales);
    return glmq_hf_add_stack(j->g, &match, &p, experts, rows, err);
}

/* ---- any module ---- */

/* What is stored of a module that is marked, and is not what it should be. */
static glmq_status refuse_marked(const glmq_module *m, glmq_error *err)
{
    char text[512] = "";
    size_t n = 0;

    for (int i = 0; i <= GLMQ_SLOTS; i++) {
        const glmq_array *a = i < GLMQ_SLOTS ? m->slot[i] : m->plain;
        const int more =
            a ? snprintf(text + n, sizeof text - n, "%s%s", n ? ", " : "", a->name) : 0;
        if (more > 0) n = n + (size_t)more < sizeof text ? n + (size_t)more : sizeof text - 1;
    }
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%.*s: marked as vq in the config, which is codes and scales and nothing "
                     "else; stored are %s",
                     (int)m->name_len, m->name, text);
}

/* A codebook among the shards is carried under its own name. */
static glmq_status add_book(job *j, const glmq_array *a, glmq_error *err)
{
    const uint64_t cols = a->rank ? a->dims[a->rank - 1] : 0;
    glmq_part p = { .enc = glmq_encoding_of_dtype((glmq_dtype)a->dtype), .cols = cols };
    uint64_t each;

    if (a->rank < 2 || cols == 0 || glmq_dtype_bytes((glmq_dtype)a->dtype, cols, &each))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: a codebook, but no matrix", a->name);
    p.rows = a->bytes / each;
    p.span[GLMQ_SLOT_CODES] = glmq_hf_span(j->cat, a);
    GLMQ_TRY(glmq_graph_add_other(j->g, a->name, 2, &p, err));
    j->g->tensors[j->g->count - 1].role = GLMQ_ROLE_CODEBOOK;
    return GLMQ_OK;
}

static glmq_status add_unquantized(job *j, const glmq_module *m, const cJSON *entry,
                                   glmq_error *err)
{
    static const char order[] = "the quantizer's order of columns; g_idx says the same";
    const glmq_array *a = m->plain;

    if (vq_entry_is_marked(&j->config, entry)) return refuse_marked(m, err);
    if (vq_is_book(&j->config, a)) return add_book(j, a, err);
    if (glmq_ends_with(a->name, ".perm") && a->rank == 1)
        return glmq_hf_drop(j->g, j->cat, a, GLMQ_NOTE, order, err);
    return glmq_hf_add_plain(j->g, j->cat, a, err);
}

/* A pattern that marks as vq what is GPTQ is too wide, no more. */
static glmq_status match_pattern(job *j, const glmq_module *m, int alone, const cJSON **entry,
                                 glmq_error *err)
{
    GLMQ_TRY(vq_config_match(&j->config, m->name, m->name_len, entry, err));
    if (!alone && vq_entry_is_marked(&j->config, *entry)) *entry = NULL;
    return GLMQ_OK;
}

static glmq_status add_module(void *user, const glmq_module *m, glmq_error *err)
{
    job *j = user;
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES];
    const cJSON *entry = vq_config_find(&j->config, m->name, m->name_len);
    const int searched = !entry;
    int alone = codes && m->slot[GLMQ_SLOT_SCALES];

    if (!m->quantized) return add_unquantized(j, m, entry, err);
    for (int i = 0; i < GLMQ_SLOTS; i++)
        alone &= !m->slot[i] || i == GLMQ_SLOT_CODES || i == GLMQ_SLOT_SCALES;
    if (searched) GLMQ_TRY(match_pattern(j, m, alone, &entry, err));
    if (vq_entry_is_marked(&j->config, entry)) {
        if (!alone || m->plain) return refuse_marked(m, err);
        return is_stack(m) ? add_stack(j, m, entry, err) : add_marked(j, m, entry, err);
    }
    if (alone && !entry) return add_silent(j, m, err);
    return glmq_gptq_add(j->gptq, m, entry, searched, err);
}

/* ---- codebooks ---- */

/* Tensors were added for the first candidate: brings them to the one that is meant. */
static void settle_tensors(job *j, const use *u, const vq_tier *tier)
{
    for (size_t i = 0; i < j->g->count; i++) {
        glmq_part *p = j->g->tensors[i].part;
        vq_form form;

        if (p->enc.tables != &u->book || same_tier(tier, &u->tier[0])) continue;
        if (vq_form_of(&j->cat->arrays[p->span[GLMQ_SLOT_CODES].array], tier, p->rows, p->cols,
                       p->enc.variant == VQ_TURNED, &form))
            p->enc.variant = (uint8_t)form;
        p->enc.bits = tier->code_bits;
    }
}

static void settle(job *j, use *u, const vq_found *f)
{
    settle_tensors(j, u, f->tier);
    u->book.name = f->tier->codebook;
    u->book.entries = f->tier->entries;
    u->book.width = f->tier->width;
    u->book.bits = f->tier->code_bits;
    u->book.values = f->values;
    u->book.bytes = f->bytes;
}

/* A codebook that cannot be had: a problem of an incomplete checkpoint, else an error once all
 * of them are known. */
static glmq_status miss(job *j, const char *code, const char *text, glmq_error *err)
{
    if (!j->g->allow_incomplete)
        glmq_text_printf(&j->missing, "%s%s", j->missing.len ? "; " : "", text);
    else if (glmq_graph_note(j->g, GLMQ_ERROR, code, NULL, NULL, "%s", text))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

static glmq_status miss_book(job *j, const use *u, glmq_error *err)
{
    const vq_tier *t = &u->tier[0];
    const char *named = vq_books_other_file(&j->config);
    const char *folder = j->g->vq_codebooks;
    char text[900], pt[64];
    size_t n;

    vq_pt_name(t, pt, sizeof pt);
    n = (size_t)snprintf(text, sizeof text,
                         "codebook %s of the %" PRIu64 " tensors of %s bits is missing: %u entries "
                         "(K) of %u floats (d)",
                         t->codebook, u->tensors, t->bits, t->entries, t->width);
    if (n < sizeof text)
        snprintf(text + n, sizeof text - n,
                 "; it is neither in %.100s%svq_codebooks.safetensors, nor in the shards, nor %s "
                 "in %.300s%s",
                 named ? named : "", named ? ", " : "", pt,
                 folder ? folder : "a folder given with ", folder ? "" : "--vq-codebooks");
    return miss(j, "missing-codebook", text, err);
}

static glmq_status refuse_missing(job *j, glmq_error *err)
{
    glmq_status st = GLMQ_OK;

    if (j->missing.failed) st = glmq_fail(err, GLMQ_E_NOMEM, "missing codebooks");
    if (!st && j->missing.len) st = glmq_fail(err, GLMQ_E_FORMAT, "%s", j->missing.data);
    return st;
}

static glmq_status tell_choice(job *j, const use *u, const vq_found *f, const double *v, size_t n,
                               int best, uint64_t groups, glmq_error *err)
{
    char text[900];
    size_t len =
        (size_t)snprintf(text, sizeof text,
                         "%" PRIu64 " tensors of %s bits: the config does not say which of %zu "
                         "codebooks is theirs; over %" PRIu64 " groups",
                         u->tensors, u->tier[0].bits, n, groups);

    for (size_t i = 0; i < n && len < sizeof text - 1; i++)
        len += (size_t)snprintf(text + len, sizeof text - len, "%s V is %.3f with %.60s of %.60s",
                                i ? "," : "", v[i], f[i].array, f[i].file);
    if (best < 0) return miss(j, "ambiguous-codebook", text, err);
    if (len < sizeof text - 1)
        snprintf(text + len, sizeof text - len, ": the codes belong to %.60s", f[best].array);
    if (glmq_graph_note(j->g, GLMQ_WARNING, "codebook-chosen", NULL, f[best].file, "%s", text))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

static glmq_status choose_book(job *j, use *u, const vq_found *f, size_t n, glmq_error *err)
{
    double v[CANDIDATES_MAX * VQ_FOUND_MAX];
    uint64_t groups = 0;
    int best;

    for (size_t i = 0; i < n; i++) {
        uint64_t of = 0;
        GLMQ_TRY(vq_choice_measure(j->g, j->cat, &u->book, &f[i], &v[i], &of, err));
        groups = of > groups ? of : groups;
    }
    best = vq_choice_best(f, v, n);
    GLMQ_TRY(tell_choice(j, u, f, v, n, best, groups, err));
    if (best >= 0) settle(j, u, &f[best]);
    return GLMQ_OK;
}

static glmq_status find_book(job *j, use *u, glmq_error *err)
{
    vq_found found[CANDIDATES_MAX * VQ_FOUND_MAX];
    size_t n = 0;

    for (size_t i = 0; i < u->tiers; i++) {
        size_t more;
        GLMQ_TRY(vq_books_find(&j->books, &u->tier[i], &found[n], &more, err));
        n += more;
    }
    if (n == 0) return miss_book(j, u, err);
    if (n > 1) return choose_book(j, u, found, n, err);
    settle(j, u, &found[0]);
    if (!found[0].outside) return GLMQ_OK;
    if (glmq_graph_note(j->g, GLMQ_NOTE, "codebook-outside", NULL, found[0].file,
                        "codebook %s is not in the checkpoint: taken from %s", u->book.name,
                        j->g->vq_codebooks))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

/* Codebooks may lie outside of the source: they are part of what it is all the same. */
static glmq_status digest_books(job *j, glmq_error *err)
{
    glmq_hash *h = glmq_hash_new();
    glmq_digest d;

    if (!h) return glmq_fail(err, GLMQ_E_NOMEM, "digest of the codebooks");
    for (const use *u = j->uses; u; u = u->next)
        if (u->book.values)
            glmq_hash_add_values(h, u->book.values, (size_t)u->book.entries * u->book.width);
    d = glmq_hash_get(h);
    glmq_digest_hex(&d, j->g->tables);
    glmq_hash_free(h);
    return GLMQ_OK;
}

/* ---- the reader ---- */

static int vq_probe(const glmq_catalog *cat)
{
    const char *method = glmq_json_string(cat->quant, "quant_method");

    if (method && strcmp(method, "aqlm") == 0) return 0;
    if (vq_config_speaks(cat) || glmq_catalog_has_suffix(cat, "vq_codes", GLMQ_DT_NONE)) return 98;
    return method && strncmp(method, "autoround_mixed", 15) == 0 ? 60 : 0;
}

static glmq_status read_modules(job *j, glmq_error *err)
{
    const glmq_slot_name slots[] = {
        { j->config.codes_suffix ? j->config.codes_suffix : "qweight", GLMQ_SLOT_CODES, 0 },
        { j->config.scales_suffix ? j->config.scales_suffix : "scales", GLMQ_SLOT_SCALES, 0 },
        { "qweight", GLMQ_SLOT_CODES, 0 },
        { "vq_codes", GLMQ_SLOT_CODES, 0 },
        { "codes", GLMQ_SLOT_CODES, 0 },
        { "scales", GLMQ_SLOT_SCALES, 0 },
        { "vq_scales", GLMQ_SLOT_SCALES, 0 },
        { "qzeros", GLMQ_SLOT_ZEROS, 0 },
        { "g_idx", GLMQ_SLOT_PERM, 0 },
    };

    if (glmq_catalog_has_suffix(j->cat, "biases", GLMQ_DT_NONE))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "the other modules are in MLX's affine quantization (weight, scales, "
                         "biases), which this version does not read");
    return glmq_modules_each(j->cat, slots, GLMQ_COUNT(slots), add_module, j, err);
}

static glmq_status read_all(job *j, glmq_error *err)
{
    GLMQ_TRY(vq_config_open(&j->config, j->cat, &j->g->arena, err));
    j->books = (vq_books){ .g = j->g, .cat = j->cat, .config = &j->config };
    GLMQ_TRY(glmq_gptq_begin(&j->gptq, j->g, j->cat, err));
    GLMQ_TRY(read_modules(j, err));
    GLMQ_TRY(glmq_gptq_finish(j->gptq, err));
    for (use *u = j->uses; u; u = u->next) GLMQ_TRY(find_book(j, u, err));
    GLMQ_TRY(refuse_missing(j, err));
    if (j->uses) GLMQ_TRY(digest_books(j, err));
    return glmq_tally_note(&j->silent, j->g, GLMQ_WARNING, "config-silent", j->config.file, err,
                           "are vector-quantized, which the config does not say");
}

static glmq_status vq_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    job j = { .g = g, .cat = cat };
    glmq_status st;

    st = read_all(&j, err);
    glmq_text_free(&j.missing);
    glmq_gptq_end(j.gptq);
    vq_books_close(&j.books);
    vq_config_close(&j.config);
    return st;
}

const glmq_reader glmq_reader_vq = {
    .name = "vq",
    .about = "mixed-bit vector quantization with shared codebooks, safetensors",
    .probe = vq_probe,
    .open = vq_open,
};
