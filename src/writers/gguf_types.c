/* Which GGUF type a tensor gets.
 *
 * A plain source follows llama.cpp's rules for the file type that was asked for (the table
 * `rules`); gguf:auto keeps its floats.  A quantized source leads: what its maker quantized
 * moves to the type that holds its codes (auto), or to the type that was named; what its
 * maker kept plain stays plain.  Vectors, norms and the router are F32 as everywhere. */
#include "base/error.h"
#include "base/mem.h"
#include "codecs/fp4.h"
#include "models/roles.h"
#include "writers/gguf_out.h"
#include "writers/int_target.h"
#include <string.h>
#include <strings.h>

enum { FILE_TYPE_AUTO = -1, BLOCK = 32 };

/* llama.cpp's file types by name, and the type that most of such a file is in; of several file
 * types of one type, llama.cpp's usual one comes first. */
static const struct file_type {
    const char *word;
    int id;
    glmq_dtype dtype;
} file_types[] = {
    { "auto", FILE_TYPE_AUTO, GLMQ_DT_NONE },
    { "F32", 0, GLMQ_DT_F32 },
    { "F16", 1, GLMQ_DT_F16 },
    { "BF16", 32, GLMQ_DT_BF16 },
    { "Q8_0", 7, GLMQ_DT_Q8_0 },
    { "Q5_1", 9, GLMQ_DT_Q5_1 },
    { "Q5_0", 8, GLMQ_DT_Q5_0 },
    { "Q4_1", 3, GLMQ_DT_Q4_1 },
    { "Q4_0", 2, GLMQ_DT_Q4_0 },
    { "Q2_K", 10, GLMQ_DT_Q2_K },
    { "Q3_K_M", 12, GLMQ_DT_Q3_K },
    { "Q3_K_S", 11, GLMQ_DT_Q3_K },
    { "Q3_K_L", 13, GLMQ_DT_Q3_K },
    { "Q3_K", 12, GLMQ_DT_Q3_K },
    { "Q4_K_M", 15, GLMQ_DT_Q4_K },
    { "Q4_K_S", 14, GLMQ_DT_Q4_K },
    { "Q4_K", 15, GLMQ_DT_Q4_K },
    { "Q5_K_M", 17, GLMQ_DT_Q5_K },
    { "Q5_K_S", 16, GLMQ_DT_Q5_K },
    { "Q5_K", 17, GLMQ_DT_Q5_K },
    { "Q6_K", 18, GLMQ_DT_Q6_K },
    { "IQ2_XXS", 19, GLMQ_DT_IQ2_XXS },
    { "IQ2_XS", 20, GLMQ_DT_IQ2_XS },
    { "Q2_K_S", 21, GLMQ_DT_Q2_K },
    { "IQ3_XXS", 23, GLMQ_DT_IQ3_XXS },
    { "IQ1_S", 24, GLMQ_DT_IQ1_S },
    { "IQ4_NL", 25, GLMQ_DT_IQ4_NL },
    { "IQ3_S", 26, GLMQ_DT_IQ3_S },
    { "IQ3_XS", 22, GLMQ_DT_IQ3_S },
    { "IQ3_M", 27, GLMQ_DT_IQ3_S },
    { "IQ2_S", 28, GLMQ_DT_IQ2_S },
    { "IQ2_M", 29, GLMQ_DT_IQ2_S },
    { "IQ4_XS", 30, GLMQ_DT_IQ4_XS },
    { "IQ1_M", 31, GLMQ_DT_IQ1_M },
    { "TQ1_0", 36, GLMQ_DT_TQ1_0 },
    { "TQ2_0", 37, GLMQ_DT_TQ2_0 },
    { "MXFP4_MOE", 38, GLMQ_DT_MXFP4 },
    { "MXFP4", 38, GLMQ_DT_MXFP4 },
    { "NVFP4", 39, GLMQ_DT_NVFP4 },
    { "Q1_0", 40, GLMQ_DT_Q1_0 },
    { "Q2_0", 41, GLMQ_DT_Q2_0 },
};

static int has_encoder(glmq_dtype dtype)
{
    const glmq_encoding e = glmq_encoding_of_dtype(dtype);
    return e.codec && e.codec->encode;
}

int glmq_gguf_file_type(glmq_dtype dtype)
{
    for (size_t i = 1; i < GLMQ_COUNT(file_types); i++)
        if (file_types[i].dtype == dtype) return file_types[i].id;
    return 1; /* llama.cpp's own guess where nothing fits */
}

/* ---- --to gguf:… ---- */

static const char *const option_words[] = { "split=SIZE", "rule=best", "rule=peer" };

static const char *known_word(size_t i)
{
    const size_t n = GLMQ_COUNT(file_types);
    if (i < n) return file_types[i].word;
    return i - n < GLMQ_COUNT(option_words) ? option_words[i - n] : NULL;
}

static glmq_status set_type(glmq_target *t, const char *word, glmq_error *err)
{
    const char *near;
    for (size_t i = 0; i < GLMQ_COUNT(file_types); i++) {
        const struct file_type *f = &file_types[i];
        if (strcasecmp(word, f->word)) continue;
        if (f->id != FILE_TYPE_AUTO && !has_encoder(f->dtype))
            return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                             "gguf: there is no encoder for %s; there are auto, F32, F16, BF16, "
                             "Q8_0, Q5_1, Q5_0, Q4_1, Q4_0, MXFP4, NVFP4",
                             f->word);
        t->file_type = f->id;
        t->enc = f->dtype ? glmq_encoding_of_dtype(f->dtype) : (glmq_encoding){ 0 };
        return GLMQ_OK;
    }
    near = glmq_nearest(word, known_word);
    return glmq_fail(err, GLMQ_E_ARG, "gguf: unknown option '%s'%s%s%s", word,
                     near ? "; the nearest is '" : "", near ? near : "", near ? "'" : "");
}

static glmq_status set_option(glmq_target *t, const char *word, glmq_error *err)
{
    if (strncmp(word, "split=", 6) == 0) {
        if (glmq_parse_size(word + 6, &t->split_size) || t->split_size == 0)
            return glmq_fail(err, GLMQ_E_ARG, "gguf: split='%s' is no size", word + 6);
        return GLMQ_OK;
    }
    if (strcmp(word, "rule=best") == 0 || strcmp(word, "rule=peer") == 0) {
        t->rule_peer = word[5] == 'p';
        return GLMQ_OK;
    }
    return set_type(t, word, err);
}

glmq_status glmq_gguf_target(glmq_target *t, const char *options, glmq_error *err)
{
    char word[64];
    t->file_type = FILE_TYPE_AUTO;
    t->enc = (glmq_encoding){ 0 };
    for (const char *s = options ? options : ""; *s;) {
        const size_t len = strcspn(s, ",");
        if (len == 0 || len >= sizeof word)
            return glmq_fail(err, GLMQ_E_ARG, "gguf: options '%s'", options);
        memcpy(word, s, len);
        word[len] = '\0';
        GLMQ_TRY(set_option(t, word, err));
        s += len;
        s += *s == ',';
    }
    return GLMQ_OK;
}

/* ---- llama.cpp's rules for a plain source ---- */

enum { BASE_FLOAT = 1, BASE_Q8_0 = 2, BASE_SMALLER = 4, BASE_ANY = 7, BASE_QUANT = 6 };

/* The first row that matches decides; none: the base type.  llama.cpp finds classes by parts
 * of names, so the indexer's attn_k is an attn_k to it.  indexer.proj: it quantizes that too,
 * which harms the choice of positions; below Q8_0 we keep it. */
static const struct type_rule {
    glmq_role role;
    unsigned bases;
    uint32_t experts; /* of the model; 0: any */
    glmq_dtype to;
    const char *reason;
} rules[] = {
    { GLMQ_ROLE_ROUTER, BASE_ANY, 0, GLMQ_DT_F32, NULL },
    { GLMQ_ROLE_INDEXER_WEIGHTS, BASE_FLOAT | BASE_SMALLER, 0, GLMQ_DT_F32, NULL },
    { GLMQ_ROLE_LM_HEAD, BASE_SMALLER, 0, GLMQ_DT_Q8_0,
      "llama.cpp's rule says Q6_K for the output table; Q8_0 is the next type that holds as much" },
    { GLMQ_ROLE_ATTN_V, BASE_QUANT, 8, GLMQ_DT_Q8_0, "llama.cpp's rule for models of 8 experts" },
    { GLMQ_ROLE_ATTN_K, BASE_QUANT, 8, GLMQ_DT_Q8_0, "llama.cpp's rule for models of 8 experts" },
    { GLMQ_ROLE_INDEXER_K, BASE_QUANT, 8, GLMQ_DT_Q8_0,
      "llama.cpp's rule for models of 8 experts" },
};

static unsigned base_class(glmq_dtype base)
{
    if (glmq_dtype_info_of(base)->block == 1) return BASE_FLOAT;
    return base == GLMQ_DT_Q8_0 ? BASE_Q8_0 : BASE_SMALLER;
}

static int has_output(const glmq_graph *g)
{
    for (size_t i = 0; i < g->count && g->tensors[i].layer < 0; i++)
        if (g->tensors[i].role == GLMQ_ROLE_LM_HEAD) return 1;
    return 0;
}

/* Files of four-bit floats: llama.cpp's rule for MXFP4 is that what it multiplies by experts or
 * heads is in that type, and everything else in Q8_0; tables are so under NVFP4, too. */
static glmq_dtype real_base(const glmq_tensor *x, glmq_dtype base)
{
    const glmq_role_class class = glmq_role_class_of(x->role);
    if (base == GLMQ_DT_MXFP4 && class != ROLE_EXPERT && x->role != GLMQ_ROLE_ATTN_KV_B)
        return GLMQ_DT_Q8_0;
    return base == GLMQ_DT_NVFP4 && class == ROLE_TABLE ? GLMQ_DT_Q8_0 : base;
}

/* The type of a plain tensor under a named file type. */
static glmq_dtype by_rule(const glmq_graph *g, const glmq_tensor *x, glmq_dtype base,
                          const char **reason)
{
    glmq_role role = x->role;
    base = real_base(x, base);
    if (role == GLMQ_ROLE_EMBED && !has_output(g)) role = GLMQ_ROLE_LM_HEAD; /* tied */
    for (size_t i = 0; i < GLMQ_COUNT(rules); i++) {
        const struct type_rule *r = &rules[i];
        if (r->role != role || !(r->bases & base_class(base))) continue;
        if (r->experts && r->experts != g->hp->experts) continue;
        if (r->to != base) *reason = r->reason;
        return r->to;
    }
    return base;
}

/* ---- a quantized source ---- */

/* Roles, as bits, whose NVFP4 scale llama.cpp multiplies in.  It looks for the scale beside more
 * of them and then forgets it, which gives a file that loads and computes nonsense; and of an
 * MTP layer it refuses any. */
#define BIT(role) (UINT64_C(1) << GLMQ_ROLE_##role)
_Static_assert(GLMQ_ROLE_COUNT <= 64, "roles fit a word");
static const struct scaled {
    const char *arch;
    uint64_t roles;
} scaled[] = {
    { "glm-dsa", BIT(ATTN_O) | BIT(MLP_GATE) | BIT(MLP_UP) | BIT(MLP_DOWN) | BIT(EXPERTS_GATE) |
                     BIT(EXPERTS_UP) | BIT(EXPERTS_DOWN) | BIT(SHARED_GATE) | BIT(SHARED_UP) |
                     BIT(SHARED_DOWN) },
    { "glm4moe", BIT(ATTN_Q) | BIT(ATTN_K) | BIT(ATTN_V) | BIT(ATTN_O) },
    { "deepseek2", BIT(ATTN_O) },
};

static int is_scaled(const glmq_graph *g, const glmq_tensor *x)
{
    for (size_t i = 0; i < GLMQ_COUNT(scaled); i++)
        if (strcmp(scaled[i].arch, g->hp->arch->gguf) == 0)
            return !x->mtp && (scaled[i].roles >> x->role & 1);
    return 0;
}

/* The type that holds four-bit floats and their scales; where llama.cpp would lose the scale,
 * one that holds the numbers. */
static glmq_dtype holding_fp4(const glmq_graph *g, const glmq_tensor *x, const glmq_encoding *e,
                              uint64_t cols, const char **reason)
{
    const glmq_role role = x->role;
    const int attention = role < GLMQ_ROLE_MLP_GATE;
    if (fp4_global_of(e) == FP4_NO_GLOBAL) return GLMQ_DT_MXFP4;
    if (cols % glmq_dtype_info_of(GLMQ_DT_NVFP4)->block) {
        *reason = "the columns do not fill blocks of 64";
        return GLMQ_DT_BF16;
    }
    if (is_scaled(g, x)) return GLMQ_DT_NVFP4;
    *reason = "llama.cpp does not multiply by the scale that NVFP4 has beside this tensor "
              "(gguf:NVFP4 keeps it all the same)";
    return attention ? GLMQ_DT_BF16 : GLMQ_DT_Q8_0;
}

/* The type that holds these integers, scales and zeros, where there is one. */
static glmq_dtype holding(const glmq_graph *g, const glmq_tensor *x, const glmq_encoding *e,
                          uint64_t cols, const char **reason)
{
    const uint64_t group = e->group ? e->group : cols;
    if (fp4_global_of(e) != FP4_NOT) return holding_fp4(g, x, e, cols, reason);
    if (e->act_order == GLMQ_ACT_ORDER) {
        *reason = "act-order: the groups are no runs of columns";
        return GLMQ_DT_Q8_0;
    }
    if (group % BLOCK) {
        *reason = "groups are no multiple of 32 columns, recoded";
        return GLMQ_DT_Q8_0;
    }
    if (e->zero_kind == GLMQ_ZERO_MID && e->bits == 4) return GLMQ_DT_Q4_0;
    return GLMQ_DT_Q8_0;
}

/* Which half of kv_b a stored matrix of the target is. */
static const glmq_part *source_part(const glmq_tensor *x, glmq_gguf_half half)
{
    for (int i = 0; i < x->parts; i++)
        if (x->part[i].cut.transposed == (half == GGUF_K_B)) return &x->part[i];
    return NULL;
}

/* gguf:auto, and --keep: the same numbers as the source has. */
static glmq_dtype as_source(const glmq_graph *g, const glmq_tensor *x, glmq_gguf_half half,
                            uint64_t cols, const char **reason)
{
    const glmq_part *from = source_part(x, half);
    glmq_dtype dtype;
    if (!glmq_tensor_quantized(x)) {
        const int kept = g->catalog && g->catalog->container == CONTAINER_GGUF;
        if (glmq_role_class_of(x->role) == ROLE_ROUTER && !kept) return GLMQ_DT_F32;
        return glmq_encoding_dtype(from && x->parts > 1 ? &from->enc : &x->part[0].enc);
    }
    if (!from || (half == GGUF_WHOLE && x->parts > 1)) {
        *reason = "stored the other way round: only F32 holds the decoded values";
        return GLMQ_DT_F32;
    }
    dtype = glmq_encoding_dtype(&from->enc);
    return dtype ? dtype : holding(g, x, &from->enc, cols, reason);
}

/* ---- the choice ---- */

static int is_nvfp4(const glmq_tensor *x)
{
    return fp4_has_global(&x->part[x->parts - 1].enc);
}

/* What is to be said of NVFP4 codes that keep their type whatever llama.cpp makes of them. */
static const char *lost_scale(const glmq_graph *g, const glmq_tensor *x)
{
    if (is_scaled(g, x)) return NULL;
    return "with a scale beside it, as glmq reads it: llama.cpp refuses the file, or loses the "
           "scale";
}

static glmq_dtype by_default(const glmq_target *t, const glmq_graph *g, const glmq_tensor *x,
                             glmq_gguf_half half, uint64_t cols, const char **reason)
{
    const glmq_dtype base =
        t->file_type == FILE_TYPE_AUTO ? GLMQ_DT_NONE : glmq_encoding_dtype(&t->enc);
    if (!base) return as_source(g, x, half, cols, reason);
    if (!g->quantized || base_class(base) == BASE_FLOAT) return by_rule(g, x, base, reason);
    if (!glmq_tensor_quantized(x)) return as_source(g, x, half, cols, reason);
    if (base == GLMQ_DT_NVFP4 && half == GGUF_K_B && is_nvfp4(x))
        return as_source(g, x, half, cols, reason);
    if (base == GLMQ_DT_NVFP4 && is_nvfp4(x)) *reason = lost_scale(g, x);
    return base;
}

glmq_status glmq_gguf_choose_half(const glmq_target *t, const glmq_graph *g, const glmq_tensor *x,
                                  glmq_gguf_half half, glmq_want *want, glmq_error *err)
{
    const uint64_t cols = half == GGUF_K_B ? g->hp->qk_nope : x->cols;
    glmq_dtype dtype = GLMQ_DT_NONE;
    char text[128];
    if (want->kind == WANT_ENC) dtype = glmq_encoding_dtype(&want->enc);
    if (want->kind == WANT_ENC && want->enc.codec == &glmq_codec_fp4) { /* "nvfp4", "mxfp4" */
        dtype = fp4_global_of(&want->enc) == FP4_NO_GLOBAL ? GLMQ_DT_MXFP4 : GLMQ_DT_NVFP4;
        want->enc = glmq_encoding_of_dtype(dtype);
    }
    if (want->kind == WANT_ENC && (!want->enc.codec || glmq_dtype_info_of(dtype)->ggml_id < 0)) {
        glmq_encoding_print(&want->enc, text, sizeof text);
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "a GGUF cannot store %s", text);
    }
    if (x->rank == 1 || !glmq_role_is_matrix(x->role)) {
        if (want->kind == WANT_ENC && dtype != GLMQ_DT_F32)
            want->reason = "vectors are F32 in a GGUF";
        dtype = GLMQ_DT_F32;
    } else if (want->kind == WANT_DEFAULT) {
        dtype = by_default(t, g, x, half, cols, &want->reason);
    } else if (want->kind == WANT_KEEP) {
        dtype = as_source(g, x, half, cols, &want->reason);
    }
    if (cols % glmq_dtype_info_of(dtype)->block) {
        dtype = GLMQ_DT_F16;
        want->reason = "the columns do not fill the type's blocks: F16, as llama.cpp does";
    }
    want->enc = glmq_encoding_of_dtype(dtype);
    if (want->enc.codec) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_UNSUPPORTED, "there is no codec for %s", glmq_dtype_name(dtype));
}

/* What llama.cpp's model has no tensor for is left out where it changes nothing, and
 * refused where it does: it counts the tensors and loads no file that has one too many. */
static glmq_status drop(const glmq_graph *g, const glmq_tensor *x, glmq_want *want, glmq_error *err)
{
    const glmq_hparams *h = g->hp;
    const int indexer = x->role >= GLMQ_ROLE_INDEXER_Q_B && x->role <= GLMQ_ROLE_INDEXER_WEIGHTS;
    want->dropped = 1;
    if (glmq_role_class_of(x->role) == ROLE_SCALE) {
        want->reason = "llama.cpp has no place for scales of the KV cache";
    } else if (x->role == GLMQ_ROLE_OTHER) {
        want->reason = "not a tensor of this architecture: llama.cpp would refuse the file";
    } else if (indexer && x->layer >= 0 && (uint64_t)x->layer < h->layers && h->indexer_full &&
               !h->indexer_full[x->layer]) {
        want->reason =
            "a shared layer's own indexer is never used: llama.cpp would refuse the file";
    } else {
        char name[128];
        const glmq_split split = x->role == GLMQ_ROLE_ATTN_KV_B ? SPLIT_K_B
                                 : x->expert >= 0               ? SPLIT_EXPERTS
                                                                : SPLIT_NONE;
        want->dropped = 0;
        if (!glmq_names_print(h->arch, NAMES_GGUF, x->role, split, x->layer, -1, name, sizeof name))
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "llama.cpp's %s has no %s", h->arch->gguf,
                             glmq_role_name(x->role));
    }
    return GLMQ_OK;
}

glmq_status glmq_gguf_choose(const glmq_target *t, const glmq_graph *g, const glmq_tensor *x,
                             glmq_want *want, glmq_error *err)
{
    const glmq_gguf_half half = x->role == GLMQ_ROLE_ATTN_KV_B ? GGUF_V_B : GGUF_WHOLE;
    if (!g->hp)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "a GGUF needs the model's config.json, the source has none");
    GLMQ_TRY(drop(g, x, want, err));
    if (want->dropped) return GLMQ_OK;
    return glmq_gguf_choose_half(t, g, x, half, want, err);
}

/* ---- stacks ---- */

/* From narrow to wide: each can stand in for those before it. */
static const glmq_dtype by_width[] = { GLMQ_DT_Q4_0, GLMQ_DT_Q4_1, GLMQ_DT_Q5_0, GLMQ_DT_Q5_1,
                                       GLMQ_DT_Q8_0, GLMQ_DT_F16,  GLMQ_DT_BF16, GLMQ_DT_F32 };

static size_t width_of(glmq_dtype d)
{
    for (size_t i = 0; i < GLMQ_COUNT(by_width); i++)
        if (by_width[i] == d) return i;
    return GLMQ_COUNT(by_width); /* a type that only fits itself */
}

glmq_dtype glmq_gguf_wider(glmq_dtype a, glmq_dtype b)
{
    const size_t wa = width_of(a), wb = width_of(b);
    if (a == b) return a;
    if (wa == GLMQ_COUNT(by_width) || wb == GLMQ_COUNT(by_width)) return GLMQ_DT_F32;
    if ((a == GLMQ_DT_F16 && b == GLMQ_DT_BF16) || (a == GLMQ_DT_BF16 && b == GLMQ_DT_F16))
        return GLMQ_DT_F32; /* neither holds the other */
    return wa > wb ? a : b;
}
