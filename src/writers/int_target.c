/* Integer formats: options of --to, and which encoding each tensor gets.
 *
 * A plain source follows the target: its linears and experts are quantized, the rest stays
 * as it is.  A quantized source leads: what its maker quantized keeps bits, groups and
 * symmetry (unless --to named others), so that the codes move; what its maker kept plain
 * stays plain. */
#include "writers/int_target.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "codecs/codec.h"
#include "models/roles.h"
#include "readers/catalog.h"
#include <string.h>

/* ---- options ---- */

/* Which parameter a word of the options speaks of; enc.c knows what it says. */
static const struct {
    const char *word; /* ends in '=' where a value follows */
    unsigned given;
} speaks_of[] = {
    { "bits=", 1u << GIVEN_BITS },    { "int2", 1u << GIVEN_BITS },
    { "int3", 1u << GIVEN_BITS },     { "int4", 1u << GIVEN_BITS },
    { "int8", 1u << GIVEN_BITS },     { "group=", 1u << GIVEN_GROUP },
    { "channel", 1u << GIVEN_GROUP }, { "tensor", 1u << GIVEN_GROUP },
    { "sym", 1u << GIVEN_ZERO },      { "asym", 1u << GIVEN_ZERO },
};

static int is_word(const char *s, size_t len, const char *word)
{
    const size_t n = strlen(word);
    return word[n - 1] == '=' ? len >= n && strncmp(s, word, n) == 0
                              : len == n && strncmp(s, word, n) == 0;
}

/* Notes what the options name; refuses words of schemes that have no encoder. */
static glmq_status look_over(const glmq_int_format *f, glmq_target *t, const char *options,
                             glmq_error *err)
{
    for (const char *s = options; *s;) {
        const size_t len = strcspn(s, ",");
        for (size_t i = 0; f->refused[i]; i++)
            if (is_word(s, len, f->refused[i]))
                return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: %s is not available; there are %s",
                                 f->name, f->refused[i], f->options);
        for (size_t i = 0; i < sizeof speaks_of / sizeof *speaks_of; i++)
            if (is_word(s, len, speaks_of[i].word)) t->given |= speaks_of[i].given;
        if (is_word(s, len, "rule=peer")) t->rule_peer = 1;
        s += len;
        s += *s == ',';
    }
    return GLMQ_OK;
}

glmq_status glmq_int_target(const glmq_int_format *f, glmq_target *t, const char *options,
                            glmq_error *err)
{
    glmq_text text = { 0 };
    glmq_status st;

    t->file_type = -1;
    t->given = 0;
    GLMQ_TRY(look_over(f, t, options ? options : "", err));
    glmq_text_add(&text, f->name);
    if (options && *options) glmq_text_printf(&text, ":%s", options);
    st = text.failed ? glmq_fail(err, GLMQ_E_NOMEM, "%s: options", f->name)
                     : glmq_encoding_parse(text.data, &t->enc, err);
    t->scale_dtype = t->enc.scale_dtype; /* NONE: not said */
    t->enc.act_order = f->act_order;
    glmq_text_free(&text);
    return st;
}

/* ---- what the source has ---- */

int glmq_tensor_quantized(const glmq_tensor *t)
{
    for (int i = 0; i < t->parts; i++)
        if (glmq_encoding_dtype(&t->part[i].enc) == GLMQ_DT_NONE ||
            glmq_dtype_info_of(glmq_encoding_dtype(&t->part[i].enc))->block > 1)
            return 1;
    return 0;
}

glmq_encoding glmq_tensor_plain(const glmq_tensor *t)
{
    for (int i = 1; i < t->parts; i++)
        if (!glmq_encoding_equal(&t->part[0].enc, &t->part[i].enc))
            return glmq_encoding_of_dtype(GLMQ_DT_F32);
    return t->part[0].enc;
}

/* Integer parameters of each codec whose codes fit an integer format; 0: the encoding's
 * own.  Bits that no integer format has are rounded up: the codes still fit. */
static const struct {
    const char *codec;
    uint8_t bits, stored_zero;
    uint16_t group;
} int_codecs[] = {
    { "gptq", 0, 0, 0 },  { "awq", 0, 0, 0 },   { "ctpack", 0, 0, 0 },
    { "ctint", 0, 0, 0 }, { "q4_0", 4, 0, 32 }, { "q4_1", 4, 1, 32 },
    { "q5_0", 8, 0, 32 }, { "q5_1", 8, 1, 32 }, { "q8_0", 8, 0, 32 },
};

/* bits, group, group_rows, zero_kind and act_order of `from` into *to; 0 when it has none. */
static int int_params(const glmq_encoding *from, glmq_encoding *to)
{
    const char *name = glmq_codec_name(from->codec);
    for (size_t i = 0; i < sizeof int_codecs / sizeof *int_codecs; i++) {
        if (strcmp(int_codecs[i].codec, name) != 0) continue;
        if (int_codecs[i].bits) {
            to->bits = int_codecs[i].bits;
            to->group = int_codecs[i].group;
            to->group_rows = 1;
            to->zero_kind = int_codecs[i].stored_zero ? GLMQ_ZERO_STORED : GLMQ_ZERO_MID;
            return 1;
        }
        if (from->group_rows > 1) return 0; /* blocks: no integer format here has them */
        to->bits = from->bits > 4 ? 8 : from->bits < 2 ? 2 : from->bits;
        to->group = from->group;
        to->group_rows = from->group_rows;
        to->zero_kind = from->zero_kind;
        if (from->group && from->act_order == GLMQ_ACT_ORDER) to->act_order = GLMQ_ACT_ORDER;
        return 1;
    }
    return 0;
}

/* The dtype of the scales a quantized encoding stores. */
static uint8_t scales_of(const glmq_encoding *enc)
{
    if (glmq_encoding_dtype(enc) != GLMQ_DT_NONE) return GLMQ_DT_F16; /* a GGUF block */
    if (!enc->codec->get_codes) return GLMQ_DT_BF16; /* no integers: its scales say nothing */
    return enc->scale_dtype ? enc->scale_dtype : GLMQ_DT_F16;
}

/* A GGUF holds norms, biases and routers in F32 whatever the model had.  Are all values of
 * such an island of the model's own dtype?  Then that is what it had, or might as well have. */
static int is_island(const glmq_graph *g, const glmq_tensor *x)
{
    const glmq_role_class class = glmq_role_class_of(x->role);
    return g->catalog->container == CONTAINER_GGUF && x->parts == 1 &&
           glmq_encoding_dtype(&x->part[0].enc) == GLMQ_DT_F32 &&
           (class == ROLE_NORM || class == ROLE_BIAS || class == ROLE_ROUTER);
}

/* F16 where the token table is, which a GGUF keeps as it was; else BF16. */
static glmq_dtype model_dtype(const glmq_graph *g)
{
    for (size_t i = 0; i < g->count; i++) {
        const glmq_tensor *x = &g->tensors[i];
        if (x->role != GLMQ_ROLE_EMBED) continue;
        return glmq_encoding_dtype(&x->part[0].enc) == GLMQ_DT_F16 ? GLMQ_DT_F16 : GLMQ_DT_BF16;
    }
    return GLMQ_DT_BF16;
}

static int holds(glmq_dtype dtype, uint32_t bits)
{
    float f, back;
    if (dtype == GLMQ_DT_BF16) return (bits & 0xffff) == 0;
    memcpy(&f, &bits, sizeof f);
    back = f32_from_f16(f16_from_f32(f));
    return memcmp(&back, &f, sizeof f) == 0;
}

/* *to: the model's dtype if that holds all values of an island, else NONE. */
static glmq_status narrow(const glmq_graph *g, const glmq_tensor *x, glmq_dtype *to,
                          glmq_error *err)
{
    enum { CHUNK = 16384 };
    const glmq_span *s = &x->part[0].span[GLMQ_SLOT_CODES];
    const glmq_dtype dtype = model_dtype(g);
    uint8_t *chunk = glmq_alloc(CHUNK);
    glmq_status st = GLMQ_OK;
    int yes = 1;
    if (!chunk) return glmq_fail(err, GLMQ_E_NOMEM, "%s", x->name);
    for (uint64_t at = 0; at < s->bytes && yes && !st; at += CHUNK) {
        const size_t n = s->bytes - at < CHUNK ? (size_t)(s->bytes - at) : CHUNK;
        st = glmq_source_read(g->source, s->file, s->offset + at, chunk, n, err);
        for (size_t i = 0; i + 4 <= n && !st; i += 4) yes &= holds(dtype, load_le32(chunk + i));
    }
    glmq_free(chunk);
    *to = yes ? dtype : GLMQ_DT_NONE;
    return st;
}

/* ---- the choice ---- */

static int fits(const glmq_encoding *enc, const glmq_tensor *x)
{
    glmq_layout l;
    return enc->codec->layout(enc, x->rows, x->cols, &l, NULL) == GLMQ_OK;
}

/* Ends every row in a group with fewer columns than the others. */
static int ends_short(const glmq_encoding *enc, const glmq_tensor *x)
{
    return enc->group && x->cols % enc->group;
}

static void stay(glmq_want *want, const glmq_tensor *x, const char *reason)
{
    want->enc =
        glmq_tensor_quantized(x) ? glmq_encoding_of_dtype(GLMQ_DT_F32) : glmq_tensor_plain(x);
    if (reason) want->reason = reason;
}

static uint8_t scale_dtype(const glmq_int_format *f, const glmq_target *t, const glmq_graph *g,
                           const glmq_tensor *x)
{
    const glmq_encoding *from = &x->part[0].enc;
    if (t->scale_dtype) return t->scale_dtype;
    if (f->scale_dtype) return f->scale_dtype;
    if (g->source_scale_dtype) return g->source_scale_dtype;
    return glmq_encoding_is_plain(from) ? (uint8_t)glmq_encoding_dtype(from) : scales_of(from);
}

/* A module of loaders that can be quantized at all: a matrix with a ".weight" that is no
 * look-up table of tokens. */
static int quantizable(const glmq_tensor *x)
{
    const size_t len = strlen(x->name);
    return x->rank == 2 && len > 7 && strcmp(x->name + len - 7, ".weight") == 0 &&
           x->role != GLMQ_ROLE_EMBED && x->role != GLMQ_ROLE_MTP_EMBED;
}

/* A tensor that the source stores as codes. */
static void follow_source(const glmq_int_format *f, const glmq_target *t, const glmq_graph *g,
                          const glmq_tensor *x, glmq_want *want)
{
    const int keep = want->kind == WANT_KEEP;
    glmq_encoding e = t->enc;
    e.scale_dtype = scale_dtype(f, t, g, x);
    if (!quantizable(x)) {
        stay(want, x, "no loader takes a quantized one: F32 holds its values");
        return;
    }
    if (x->parts > 1) {
        stay(want, x, "stored in two halves, one of them transposed: F32 holds both exactly");
        return;
    }
    if (f->floats) {
        want->enc = t->enc;
        if (!fits(&want->enc, x)) stay(want, x, "its columns do not fill the groups: F32 holds it");
        return;
    }
    if (!int_params(&x->part[0].enc, &e)) want->reason = "not integers with a scale per group";
    if (!keep && t->given & 1u << GIVEN_BITS) e.bits = t->enc.bits;
    if (!keep && t->given & 1u << GIVEN_ZERO) e.zero_kind = t->enc.zero_kind;
    if (!keep && t->given & 1u << GIVEN_GROUP) {
        if (e.group != t->enc.group) e.act_order = f->act_order; /* other groups */
        e.group = t->enc.group;
        e.group_rows = t->enc.group_rows;
    }
    if (!f->whole_tensor) e.group_rows = 1;
    if (f->whole_tensor && e.group > x->cols && e.group == x->part[0].enc.group)
        e.group = 0; /* its one group is the row */
    if (f->only_bits && e.bits != f->only_bits) {
        if (e.bits > f->only_bits && !want->reason) want->reason = "the format has fewer bits";
        e.bits = f->only_bits;
    }
    if (f->no_order && e.act_order == GLMQ_ACT_ORDER) {
        if (!want->reason) want->reason = f->order_note;
        e.act_order = f->act_order;
    }
    want->enc = e;
    if (e.act_order == GLMQ_ACT_ORDER && !want->reason) want->reason = f->order_note;
    if (ends_short(&e, x) && (f->whole_groups || e.group != x->part[0].enc.group))
        stay(want, x, "its columns are no multiple of the group: F32 holds its values");
    else if (!fits(&e, x))
        stay(want, x, "its shape does not fill the packing: F32 holds its values");
}

/* A tensor that the source stores plain. */
static void quantize(const glmq_int_format *f, const glmq_target *t, const glmq_graph *g,
                     const glmq_tensor *x, glmq_want *want)
{
    glmq_encoding e = t->enc;
    if (!f->floats) e.scale_dtype = scale_dtype(f, t, g, x);
    want->enc = e;
    if (ends_short(&e, x))
        stay(want, x, "its columns are no multiple of the group");
    else if (!fits(&e, x))
        stay(want, x, "its shape does not fill the packing");
}

/* What a rule names: completed by what the rule's text cannot know. */
static void obey(const glmq_int_format *f, const glmq_target *t, const glmq_graph *g,
                 const glmq_tensor *x, glmq_want *want)
{
    glmq_encoding from = { 0 };
    if (want->enc.codec != t->enc.codec) return; /* plain, or fit() refuses it */
    if (f->floats) {
        want->enc.variant = t->enc.variant;
        return;
    }
    want->enc.variant = t->enc.variant; /* one for the whole checkpoint */
    if (!want->enc.scale_dtype) want->enc.scale_dtype = scale_dtype(f, t, g, x);
    want->enc.act_order = f->act_order;
    if (x->parts == 1 && int_params(&x->part[0].enc, &from) && from.act_order &&
        from.group == want->enc.group && !f->no_order)
        want->enc.act_order = GLMQ_ACT_ORDER;
}

glmq_status glmq_int_choose(const glmq_int_format *f, const glmq_target *t, const glmq_graph *g,
                            const glmq_tensor *x, glmq_want *want, glmq_error *err)
{
    const glmq_role_class class = glmq_role_class_of(x->role);
    glmq_dtype had = GLMQ_DT_NONE;
    if (want->kind != WANT_ENC && is_island(g, x)) GLMQ_TRY(narrow(g, x, &had, err));
    if (class == ROLE_ROUTER_BIAS)
        want->enc = glmq_encoding_of_dtype(GLMQ_DT_F32);
    else if (had != GLMQ_DT_NONE)
        want->enc = glmq_encoding_of_dtype(had);
    else if (want->kind == WANT_ENC)
        obey(f, t, g, x, want);
    else if (glmq_tensor_quantized(x))
        follow_source(f, t, g, x, want);
    else if (want->kind == WANT_KEEP || g->quantized || !quantizable(x) ||
             (class != ROLE_LINEAR && class != ROLE_EXPERT))
        stay(want, x, NULL);
    else
        quantize(f, t, g, x, want);
    return GLMQ_OK;
}

/* ---- the refusal ---- */

static glmq_status fit_one(const glmq_int_format *f, const glmq_target *t, const glmq_tensor *x,
                           const glmq_encoding *e, glmq_error *err)
{
    const glmq_dtype dtype = glmq_encoding_dtype(e);
    char text[128];
    glmq_layout l;
    if (e->codec != t->enc.codec) {
        glmq_encoding_print(e, text, sizeof text);
        if (dtype == GLMQ_DT_NONE || !glmq_dtype_info_of(dtype)->st_name)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: a %s checkpoint cannot store %s",
                             x->name, f->name, text);
        return GLMQ_OK;
    }
    if (!quantizable(x))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: no loader of %s takes a quantized %s",
                         x->name, f->name, glmq_role_name(x->role));
    if (f->whole_groups && ends_short(e, x))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "%s: %" PRIu64 " columns are no multiple of the group of %" PRIu32
                         ", and no loader of %s takes a shorter one",
                         x->name, x->cols, e->group, f->name);
    return glmq_within(err, e->codec->layout(e, x->rows, x->cols, &l, err), "%s", x->name);
}

/* A quantized checkpoint in which nothing is quantized is not what anybody asked for. */
static glmq_status check_some(const glmq_plan *p, glmq_error *err)
{
    const glmq_tensor *left = NULL;
    char text[128];
    for (size_t i = 0; i < p->graph->count; i++) {
        const glmq_want *want = &p->want[i];
        if (want->dropped) continue;
        if (want->enc.codec == p->target.enc.codec) return GLMQ_OK;
        if (!left && want->kind == WANT_DEFAULT && want->reason) left = &p->graph->tensors[i];
    }
    if (!left && !p->graph->hp)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "no config.json says which tensors are linear layers: nothing to quantize "
                         "but by --set");
    if (!left) return GLMQ_OK; /* all kept by rules */
    glmq_encoding_print(&p->target.enc, text, sizeof text);
    return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                     "no tensor can be stored as %s: %s, the first, has %" PRIu64
                     " rows and %" PRIu64 " columns; choose another group or other bits",
                     text, left->name, left->rows, left->cols);
}

glmq_status glmq_int_fit(const glmq_int_format *f, const glmq_plan *p, glmq_error *err)
{
    for (size_t i = 0; i < p->graph->count; i++) {
        glmq_status st;
        if (p->want[i].dropped) continue;
        st = fit_one(f, &p->target, &p->graph->tensors[i], &p->want[i].enc, err);
        if (st == GLMQ_E_FORMAT) { /* the target's limit, not the source's fault */
            st = GLMQ_E_UNSUPPORTED;
            if (err) err->status = st;
        }
        if (st) return st;
    }
    return check_some(p, err);
}

/* ---- provenance ---- */

const char *glmq_int_scale_note(const glmq_plan *p)
{
    uint8_t was = 0;
    int differs = 0;
    for (size_t i = 0; i < p->graph->count; i++) {
        const glmq_tensor *x = &p->graph->tensors[i];
        const glmq_encoding *to = &p->want[i].enc;
        uint8_t had;
        if (p->want[i].dropped || x->parts != 1 || !glmq_tensor_quantized(x)) continue;
        if (glmq_encoding_dtype(to) != GLMQ_DT_NONE) continue; /* stored plain */
        if (x->part[0].enc.codec && !x->part[0].enc.codec->get_codes) continue;
        had = p->graph->source_scale_dtype ? p->graph->source_scale_dtype
                                           : scales_of(&x->part[0].enc);
        if (was && was != had) return NULL; /* no one answer */
        was = had;
        differs |= had != to->scale_dtype;
    }
    return differs ? glmq_dtype_name((glmq_dtype)was) : NULL;
}
