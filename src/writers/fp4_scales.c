/* The scales of whole NVFP4 tensors: read, turned over, made common, noted.  See fp4_scales.h. */
#include "writers/fp4_scales.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "codecs/fp4.h"
#include "convert/share.h"
#include "readers/catalog.h"
#include "readers/gguf_kv.h"
#include "readers/modelopt.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char KEY[] = "glmq.nvfp4_scalars", INPUT_KEY[] = "glmq.nvfp4_input_scalars",
                  KIND_KEY[] = "glmq.nvfp4_scalars_kind";

enum { DIGITS = 8 };

static const char *kind_word(fp4_global kind)
{
    return kind == FP4_DIVIDES ? "divisor" : "multiplier";
}

/* What is known of one tensor of the source. */
typedef struct known {
    uint32_t global, input;      /* as stored; 0: not stored                                     */
    uint32_t noted, noted_input; /* what the metadata say it was of the other kind; 0: nothing */
    fp4_global kind;             /* of both; FP4_NOT: no NVFP4                                   */
} known;

typedef struct job {
    glmq_plan *p;
    known *of;
    glmq_fp4_scales *out;
    glmq_strmap layers; /* of ModelOpt's config                                            */
} job;

static fp4_global other(fp4_global kind)
{
    return kind == FP4_DIVIDES ? FP4_MULTIPLIES : FP4_DIVIDES;
}

/* The tensor is to be NVFP4 in the target. */
static int is_wanted(const glmq_plan *p, size_t i)
{
    return !p->want[i].dropped && fp4_has_global(&p->want[i].enc);
}

/* ---- reading ---- */

static glmq_status read_scale(const job *j, const glmq_tensor *t, const glmq_span *s,
                              const char *what, uint32_t *bits, glmq_error *err)
{
    uint8_t raw[4];

    *bits = 0;
    if (s->bytes != sizeof raw) return GLMQ_OK;
    GLMQ_TRY(glmq_source_read(j->p->graph->source, s->file, s->offset, raw, sizeof raw, err));
    *bits = load_le32(raw);
    if (fp4_is_scale(*bits)) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT, "%s: its %s %g is no finite positive number", t->name,
                     what, (double)f32_from_bits(*bits));
}

/* ModelOpt's NVFP4 with FP8 activations keeps the scale of FP8. */
static int has_fp8_activations(const job *j, const glmq_tensor *t)
{
    const char *algo = glmq_modelopt_algo(j->p->graph->catalog);

    if (j->layers.count && glmq_ends_with(t->name, ".weight"))
        glmq_modelopt_layer(&j->layers, t->name, strlen(t->name) - strlen(".weight"), &algo);
    return algo && strcasestr(algo, "FP8") != NULL;
}

static glmq_status read_tensor(const job *j, size_t i, glmq_error *err)
{
    const glmq_tensor *t = &j->p->graph->tensors[i];
    const glmq_encoding *e = &t->part[0].enc;
    known *k = &j->of[i];
    const int fp8 = e->codec == &glmq_codec_fp8;

    if (fp4_has_global(e)) {
        k->kind = fp4_global_of(e);
        GLMQ_TRY(
            read_scale(j, t, &t->part[0].span[GLMQ_SLOT_GLOBAL], "global scale", &k->global, err));
        if (!k->global) k->global = bits_from_f32(1.0f);
    }
    if (t->parts != 1 || (!fp8 && !fp4_has_global(e))) return GLMQ_OK;
    GLMQ_TRY(read_scale(j, t, &t->part[0].span[GLMQ_SLOT_INPUT_SCALE], "activation scale",
                        &k->input, err));
    if (k->input && (fp8 || (k->kind == FP4_MULTIPLIES && has_fp8_activations(j, t))))
        k->input = bits_from_f32(f32_from_bits(k->input) * 448.0f / 2688.0f);
    return GLMQ_OK;
}

static glmq_status read_tensors(job *j, glmq_error *err)
{
    glmq_status st = glmq_modelopt_layers(j->p->graph->catalog, &j->layers, err);

    for (size_t i = 0; i < j->p->graph->count && !st; i++)
        if (is_wanted(j->p, i)) st = read_tensor(j, i, err);
    glmq_strmap_free(&j->layers);
    return st;
}

/* ---- the metadata of the source ---- */

typedef struct named {
    const char *name;
    uint32_t tensor;
} named;

static int by_name(const void *a, const void *b)
{
    return strcmp(((const named *)a)->name, ((const named *)b)->name);
}

static uint32_t from_hex(const char *hex)
{
    uint32_t bits = 0;
    for (int i = 0; i < DIGITS; i++) {
        const char c = hex[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) return 0;
        bits = bits << 4 | (uint32_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return bits;
}

/* A note counts only if it gives the number that is stored. */
static void take_note(uint32_t bits, uint32_t stored, uint32_t *noted)
{
    if (fp4_is_scale(bits) && stored && bits_from_f32(1.0f / f32_from_bits(bits)) == stored)
        *noted = bits;
}

/* `text` has 8 digits for each of the n tensors. */
static void take_notes(const job *j, const char *text, size_t len, const named *list, size_t n,
                       int input)
{
    if (!text || len != n * DIGITS) return;
    for (size_t i = 0; i < n; i++) {
        known *k = &j->of[list[i].tensor];
        const uint32_t bits = from_hex(text + i * DIGITS);
        if (input)
            take_note(bits, k->input, &k->noted_input);
        else
            take_note(bits, k->global, &k->noted);
    }
}

/* The NVFP4 tensors whose global scale lies in a file (any: UINT32_MAX), by name. */
static size_t list_tensors(const job *j, uint32_t file, named *list)
{
    const glmq_graph *g = j->p->graph;
    size_t n = 0;

    for (size_t i = 0; i < g->count; i++) {
        const glmq_span *s = &g->tensors[i].part[0].span[GLMQ_SLOT_GLOBAL];
        if (j->of[i].kind != FP4_NOT && s->bytes && (file == UINT32_MAX || s->file == file))
            list[n++] = (named){ g->tensors[i].name, (uint32_t)i };
    }
    qsort(list, n, sizeof *list, by_name);
    return n;
}

static const char *meta_of(const glmq_catalog *cat, uint32_t file, const char *key)
{
    for (size_t i = 0; i < cat->meta_count; i++)
        if (cat->meta[i].file == file && strcmp(cat->meta[i].key, key) == 0)
            return cat->meta[i].value;
    return NULL;
}

static fp4_global kind_stored(const job *j, const named *list, size_t n)
{
    return n ? j->of[list[0].tensor].kind : FP4_NOT;
}

static void read_shard_notes(const job *j, uint32_t file, named *list)
{
    const glmq_catalog *cat = j->p->graph->catalog;
    const char *kind = meta_of(cat, file, KIND_KEY), *text = meta_of(cat, file, KEY);
    const char *input = meta_of(cat, file, INPUT_KEY);
    size_t n;

    if (!kind || !text) return;
    n = list_tensors(j, file, list);
    if (strcmp(kind, kind_word(other(kind_stored(j, list, n)))) != 0) return;
    take_notes(j, text, strlen(text), list, n, 0);
    take_notes(j, input, input ? strlen(input) : 0, list, n, 1);
}

static void read_gguf_notes(const job *j, named *list)
{
    const glmq_gguf *kv = j->p->graph->catalog->gguf;
    const char *kind, *text;
    size_t kind_len, len, n;

    if (!glmq_gguf_string(kv, KIND_KEY, &kind, &kind_len) || kind_len != strlen("divisor") ||
        memcmp(kind, "divisor", kind_len) != 0)
        return;
    n = list_tensors(j, UINT32_MAX, list);
    if (glmq_gguf_string(kv, KEY, &text, &len)) take_notes(j, text, len, list, n, 0);
    if (glmq_gguf_string(kv, INPUT_KEY, &text, &len)) take_notes(j, text, len, list, n, 1);
}

static glmq_status read_notes(const job *j, glmq_error *err)
{
    const glmq_graph *g = j->p->graph;
    named *list = glmq_alloc((g->count + 1) * sizeof *list);

    if (!list) return glmq_fail(err, GLMQ_E_NOMEM, "%zu tensors", g->count);
    if (g->catalog->gguf) read_gguf_notes(j, list);
    for (size_t i = 0; i < g->catalog->shard_count && !g->catalog->gguf; i++)
        read_shard_notes(j, g->catalog->shards[i], list);
    glmq_free(list);
    return GLMQ_OK;
}

/* ---- choosing ---- */

/* The number to store as `to`, and what to note of the one that was. */
static uint32_t turn(uint32_t bits, fp4_global from, fp4_global to, uint32_t noted, uint32_t *note)
{
    *note = 0;
    if (from == to) {
        *note = noted;
        return bits;
    }
    if (noted) return noted; /* it was of this kind once */
    *note = bits;
    return fp4_reciprocal(bits, to);
}

/* Two powers of two are each other's reciprocal without any rounding. */
static int is_exact(uint32_t a, uint32_t b)
{
    return (a & 0x7fffff) == 0 && (b & 0x7fffff) == 0 && a >> 23 && b >> 23 &&
           (a >> 23) + (b >> 23) == 2 * 127;
}

/* The scale of a GGUF is nobody's but its own; everything else is what serving engines load. */
static void choose_globals(const job *j)
{
    for (size_t i = 0; i < j->p->graph->count; i++) {
        const known *k = &j->of[i];
        glmq_want *w = &j->p->want[i];
        const fp4_global to = fp4_global_of(&w->enc);
        uint32_t bits;
        if (!is_wanted(j->p, i) || k->kind == FP4_NOT) continue;
        bits = turn(k->global, k->kind, to, k->noted, &j->out->origin[i]);
        w->enc.scalar = k->kind == to ? 0 : bits;
        w->exact_scale = k->kind != to && is_exact(k->global, bits);
    }
}

static int has_inputs(const job *j)
{
    int any = 0;

    for (size_t i = 0; i < j->p->graph->count; i++) {
        if (!is_wanted(j->p, i)) continue;
        if (!j->of[i].input) return 0;
        any = 1;
    }
    return any;
}

static void choose_inputs(const job *j)
{
    for (size_t i = 0; i < j->p->graph->count; i++) {
        const known *k = &j->of[i];
        glmq_want *w = &j->p->want[i];
        const fp4_global from = k->kind == FP4_NOT ? FP4_MULTIPLIES : k->kind;
        uint32_t bits;
        if (!is_wanted(j->p, i) || !k->input) continue;
        bits =
            turn(k->input, from, fp4_global_of(&w->enc), k->noted_input, &j->out->origin_input[i]);
        if (j->p->input_scales) w->input_scalar = bits;
        if (k->kind == FP4_NOT) j->out->origin_input[i] = 0;
    }
}

/* ---- one scale for what is fused ---- */

/* The target's number of a tensor whose codes are moved; 0: they are not. */
static uint32_t chosen(const job *j, uint32_t i)
{
    if (j->of[i].kind == FP4_NOT) return 0;
    return j->p->want[i].enc.scalar ? j->p->want[i].enc.scalar : j->of[i].global;
}

/* More range is more of what multiplies and less of what divides. */
static int is_wider(uint32_t a, uint32_t b, fp4_global kind)
{
    return kind == FP4_DIVIDES ? a < b : a > b;
}

static glmq_status unify(const job *j, const uint32_t *member, size_t n, glmq_error *err)
{
    const fp4_global kind = fp4_global_of(&j->p->want[member[0]].enc);
    uint32_t widest = chosen(j, member[0]);
    int differ = 0;
    const char *reason;

    for (size_t k = 0; k < n; k++) {
        const uint32_t bits = chosen(j, member[k]);
        if (!bits) return GLMQ_OK; /* one of them is encoded anew */
        differ |= bits != widest;
        if (is_wider(bits, widest, kind)) widest = bits;
    }
    if (!differ) return GLMQ_OK;
    reason = glmq_plan_intern(j->p, "serving engines fuse it with tensors of another global scale: "
                                    "all get the widest");
    if (!reason) return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
    for (size_t k = 0; k < n; k++) {
        glmq_want *w = &j->p->want[member[k]];
        if (chosen(j, member[k]) == widest) continue;
        w->enc.scalar = widest;
        w->rescaled = 1;
        w->reason = reason;
        j->out->origin[member[k]] = 0;
    }
    return GLMQ_OK;
}

static glmq_status unify_all(const job *j, glmq_error *err)
{
    for (size_t i = 0; i < j->p->graph->count; i++) {
        uint32_t member[GLMQ_SHARE_MAX];
        size_t n;
        const fp4_global to = fp4_global_of(&j->p->want[i].enc);
        const glmq_codec *codec = j->p->graph->tensors[i].part[0].enc.codec;
        if (!is_wanted(j->p, i) || j->of[i].kind == FP4_NOT) continue;
        if (j->of[i].kind == to && codec == j->p->want[i].enc.codec) continue; /* its own kind */
        n = glmq_share_members(j->p, i, &j->p->want[i].enc, 1, member);
        if (n > 1 && member[0] == i) GLMQ_TRY(unify(j, member, n, err));
    }
    return GLMQ_OK;
}

/* ---- all of it ---- */

static void choose_kind(const job *j)
{
    fp4_global to = FP4_NOT;
    int any = 0;

    for (size_t i = 0; i < j->p->graph->count; i++) {
        if (is_wanted(j->p, i)) to = fp4_global_of(&j->p->want[i].enc);
        any |= j->out->origin[i] || j->out->origin_input[i];
    }
    j->out->kind = any ? kind_word(other(to)) : NULL;
}

glmq_status glmq_fp4_plan_scales(glmq_plan *p, enum glmq_fp4_for what, glmq_fp4_scales *out,
                                 glmq_error *err)
{
    const size_t n = p->graph->count + 1;
    job j = { .p = p, .of = glmq_arena_alloc(&p->arena, n * sizeof *j.of), .out = out };

    *out = (glmq_fp4_scales){ .origin = glmq_arena_alloc(&p->arena, n * sizeof *out->origin),
                              .origin_input =
                                  glmq_arena_alloc(&p->arena, n * sizeof *out->origin_input) };
    if (!j.of || !out->origin || !out->origin_input)
        return glmq_fail(err, GLMQ_E_NOMEM, "scales of %zu tensors", n);
    GLMQ_TRY(read_tensors(&j, err));
    GLMQ_TRY(read_notes(&j, err));
    choose_globals(&j);
    out->inputs = has_inputs(&j);
    p->input_scales = out->inputs && what != FP4_FOR_COPY;
    if (out->inputs) choose_inputs(&j);
    if (what == FP4_FOR_ENGINES) GLMQ_TRY(unify_all(&j, err));
    choose_kind(&j);
    return GLMQ_OK;
}

/* ---- into the metadata of the target ---- */

/* Tensors of the plan with a global scale in a file (any: UINT32_MAX), by name. */
static size_t list_planned(const glmq_plan *p, uint32_t file, named *list)
{
    size_t n = 0;

    for (size_t i = 0; i < p->items.count; i++) {
        const glmq_item *it = &p->items.at[i];
        for (uint8_t k = 0; k < it->parts; k++) {
            const glmq_span *s = &it->part[k].span[GLMQ_SLOT_GLOBAL];
            if (!s->bytes || (file != UINT32_MAX && p->arrays.at[s->array].file != file)) continue;
            list[n++] = (named){ p->graph->tensors[it->tensor].name, it->tensor };
            break;
        }
    }
    qsort(list, n, sizeof *list, by_name);
    return n;
}

static void add_digits(glmq_text *t, const named *list, size_t n, const uint32_t *bits)
{
    for (size_t i = 0; i < n; i++) glmq_text_printf(t, "%08x", (unsigned)bits[list[i].tensor]);
}

/* Both lists of a file; the texts are the caller's. */
static glmq_status write_notes(const glmq_plan *p, const glmq_fp4_scales *s, uint32_t file,
                               glmq_text *globals, glmq_text *inputs, glmq_error *err)
{
    named *list = glmq_alloc((p->items.count + 1) * sizeof *list);
    size_t n;

    if (!list) return glmq_fail(err, GLMQ_E_NOMEM, "scales of %zu tensors", p->items.count);
    n = list_planned(p, file, list);
    add_digits(globals, list, n, s->origin);
    if (s->inputs) add_digits(inputs, list, n, s->origin_input);
    glmq_free(list);
    return globals->failed || inputs->failed
               ? glmq_fail(err, GLMQ_E_NOMEM, "scales of %zu tensors", n)
               : GLMQ_OK;
}

static glmq_status shard_meta(const void *user, const glmq_plan *p, uint32_t shard,
                              glmq_text value[2], glmq_error *err)
{
    return write_notes(p, user, shard, &value[0], &value[1], err);
}

glmq_status glmq_fp4_layout(glmq_plan *p, const glmq_fp4_scales *s, const glmq_st_meta *meta,
                            size_t n, glmq_error *err)
{
    const glmq_st_shard_meta per_shard = {
        .key = { KEY, INPUT_KEY }, .value = shard_meta, .user = s, .array_bytes = 2 * DIGITS
    };
    glmq_st_meta *all = glmq_arena_alloc(&p->arena, (n + 1) * sizeof *all);

    if (!all) return glmq_fail(err, GLMQ_E_NOMEM, "%zu metadata keys", n);
    if (n) memcpy(all, meta, n * sizeof *all);
    if (!s->kind) return glmq_safetensors_layout(p, all, n, err);
    all[n] = (glmq_st_meta){ KIND_KEY, s->kind };
    return glmq_safetensors_layout_with(p, all, n + 1, &per_shard, err);
}

glmq_status glmq_fp4_put_kv(const glmq_plan *p, const glmq_fp4_scales *s, glmq_gguf_kv *kv,
                            glmq_error *err)
{
    glmq_text globals = { 0 }, inputs = { 0 };
    glmq_status st = GLMQ_OK;

    if (!s->kind) return GLMQ_OK;
    st = write_notes(p, s, UINT32_MAX, &globals, &inputs, err);
    if (!st && globals.len) {
        glmq_gguf_put_string(kv, KEY, globals.data, globals.len);
        if (inputs.len) glmq_gguf_put_string(kv, INPUT_KEY, inputs.data, inputs.len);
        glmq_gguf_put_string(kv, KIND_KEY, s->kind, strlen(s->kind));
    }
    glmq_text_free(&globals);
    glmq_text_free(&inputs);
    return st;
}
