/* Codebooks: arrays [entries, width] of a safetensors file, or PyTorch files. */
#include "vq_books.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/num.h"
#include "codecs/codes.h"
#include "safetensors.h"
#include "torch_pt.h"
#include <stdio.h>
#include <string.h>

enum { FLOATS_MAX = 1 << 26 }; /* of a codebook */

static const char usual_file[] = "vq_codebooks.safetensors";

const char *vq_books_other_file(const vq_config *c)
{
    const char *named = c->codebooks_file;
    return named && strcmp(named, usual_file) != 0 ? named : NULL;
}

/* ---- names ---- */

/* What the quantizer's own files are called, where that says less than d and K. */
static const struct {
    uint32_t width, entries;
    const char *file;
} pt_names[] = {
    { 8, 256, "vq_codebook_d8_k256_m1.pt" },
    { 4, 256, "vq_codebook_d4_better.pt" },
    { 4, 4096, "vq_codebook_d4_k4096_m1.pt" },
};

static const char *special_name(const vq_tier *tier)
{
    for (size_t i = 0; i < GLMQ_COUNT(pt_names); i++)
        if (pt_names[i].width == tier->width && pt_names[i].entries == tier->entries)
            return pt_names[i].file;
    return NULL;
}

static void generic_name(const vq_tier *tier, char *text, size_t cap)
{
    snprintf(text, cap, "vq_codebook_d%u_k%u_m1.pt", tier->width, tier->entries);
}

void vq_pt_name(const vq_tier *tier, char *text, size_t cap)
{
    const char *special = special_name(tier);

    generic_name(tier, text, cap);
    if (special) snprintf(text, cap, "%s", special);
}

static int names_tier(const vq_config *c, const char *name)
{
    for (size_t i = 0; i < c->tiers; i++)
        if (strcmp(c->tier[i].codebook, name) == 0) return 1;
    return 0;
}

int vq_is_book(const vq_config *c, const glmq_array *a)
{
    return glmq_dtype_is_float((glmq_dtype)a->dtype) &&
           (names_tier(c, a->name) || glmq_ends_with(a->name, ".codebook") ||
            glmq_ends_with(a->name, ".codebooks"));
}

/* [K, d], and that with dimensions of 1. */
static int fits(const glmq_array *a, const vq_tier *t)
{
    const uint64_t want[2] = { t->entries, t->width };
    int n = 0;

    if (!glmq_dtype_is_float((glmq_dtype)a->dtype)) return 0;
    for (int i = 0; i < a->rank; i++) {
        if (n < 2 && a->dims[i] == want[n])
            n++;
        else if (a->dims[i] != 1)
            return 0;
    }
    return n == 2;
}

/* ---- values ---- */

/* GLMQ_E_FORMAT: one of them is no finite number. */
static glmq_status to_floats(const uint8_t *p, glmq_dtype dtype, uint64_t n, float *w)
{
    if (glmq_dtype_is_float(dtype))
        glmq_kernels_now()->widen[codes_float_kind(dtype)](p, (size_t)n, w);
    for (uint64_t i = 0; dtype == GLMQ_DT_F64 && i < n; i++) {
        double d;
        memcpy(&d, p + 8 * i, sizeof d);
        w[i] = (float)d;
    }
    for (uint64_t i = 0; i < n; i++)
        if (!is_finite_f32(w[i])) return GLMQ_E_FORMAT;
    return GLMQ_OK;
}

/* Stored floats as the graph's own. */
static glmq_status keep_values(vq_books *b, const uint8_t *p, glmq_dtype dtype, vq_found *f,
                               glmq_error *err)
{
    const uint64_t n = (uint64_t)f->tier->entries * f->tier->width;
    float *w;

    w = glmq_arena_alloc(&b->g->arena, (size_t)n * sizeof *w);
    if (!w) return glmq_fail(err, GLMQ_E_NOMEM, "codebook of %" PRIu64 " floats", n);
    if (to_floats(p, dtype, n, w))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "codebook %s of the tier of %s bits holds what is no finite number",
                         f->array, f->tier->bits);
    f->values = w;
    return GLMQ_OK;
}

static glmq_status check_size(const vq_tier *t, glmq_error *err)
{
    if ((uint64_t)t->entries * t->width <= FLOATS_MAX) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_LIMIT, "codebook %s: %u entries of %u", t->codebook, t->entries,
                     t->width);
}

static glmq_status keep_name(vq_books *b, const char *text, const char **out, glmq_error *err)
{
    *out = glmq_arena_strdup(&b->g->arena, text);
    return *out ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "a name");
}

static glmq_status load_array(vq_books *b, const glmq_source *src, const glmq_array *a, vq_found *f,
                              glmq_error *err)
{
    uint8_t *p;
    glmq_status st;

    GLMQ_TRY(check_size(f->tier, err));
    GLMQ_TRY(keep_name(b, a->name, &f->array, err));
    p = glmq_alloc((size_t)a->bytes);
    if (!p) return glmq_fail(err, GLMQ_E_NOMEM, "%s: %" PRIu64 " bytes", a->name, a->bytes);
    st = glmq_source_read(src, a->file, a->offset, p, (size_t)a->bytes, err);
    if (!st) st = keep_values(b, p, (glmq_dtype)a->dtype, f, err);
    glmq_free(p);
    f->bytes = a->bytes;
    return st;
}

/* ---- a list of arrays ---- */

typedef struct place {
    const glmq_source *src;
    const char *file; /* NULL: the shards */
    const glmq_array *arrays;
    size_t count;
    uint8_t in_shard, outside;
} place;

static glmq_status refuse_size(const glmq_array *a, const vq_tier *t, glmq_error *err)
{
    char dims[96];

    return glmq_fail(err, GLMQ_E_FORMAT,
                     "codebook %s is %s [%s], the tier of %s bits has %u entries of %u floats",
                     a->name, glmq_dtype_name((glmq_dtype)a->dtype), glmq_array_shape(a, dims),
                     t->bits, t->entries, t->width);
}

static glmq_status take(vq_books *b, const place *p, const glmq_array *a, const vq_tier *tier,
                        vq_found *found, size_t *count, glmq_error *err)
{
    vq_found *f = &found[*count];

    *f = (vq_found){ .tier = tier, .in_shard = p->in_shard, .outside = p->outside };
    GLMQ_TRY(keep_name(b, p->file ? p->file : glmq_source_name(p->src, a->file), &f->file, err));
    GLMQ_TRY(load_array(b, p->src, a, f, err));
    ++*count;
    return GLMQ_OK;
}

/* By its name; or else all that could be it, and that no other tier calls its own. */
static glmq_status search(vq_books *b, const place *p, const vq_tier *tier, vq_found *found,
                          size_t *count, glmq_error *err)
{
    for (size_t i = 0; i < p->count; i++) {
        const glmq_array *a = &p->arrays[i];
        if (strcmp(a->name, tier->codebook) != 0) continue;
        if (!fits(a, tier)) return refuse_size(a, tier, err);
        return take(b, p, a, tier, found, count, err);
    }
    for (size_t i = 0; i < p->count && *count < VQ_FOUND_MAX; i++) {
        const glmq_array *a = &p->arrays[i];
        if (fits(a, tier) && !names_tier(b->config, a->name) &&
            (!p->in_shard || vq_is_book(b->config, a)))
            GLMQ_TRY(take(b, p, a, tier, found, count, err));
    }
    return GLMQ_OK;
}

static glmq_status search_file(vq_books *b, const glmq_source *src, const char *name, int outside,
                               const vq_tier *tier, vq_found *found, size_t *count, glmq_error *err)
{
    const long file = name ? glmq_source_find(src, name) : -1;
    glmq_st_header h = { 0 };
    glmq_status st;

    if (file < 0 || *count) return GLMQ_OK;
    st = glmq_st_header_read(&h, src, (uint32_t)file, err);
    if (!st) {
        const place p = { src, name, h.arrays, h.count, 0, (uint8_t)outside };
        st = glmq_within(err, search(b, &p, tier, found, count, err), "%s", name);
    }
    glmq_st_header_free(&h);
    return st;
}

/* ---- PyTorch files ---- */

static glmq_status load_pt(vq_books *b, const uint8_t *file, size_t len, const vq_tier *tier,
                           vq_found *f, glmq_error *err)
{
    glmq_torch_array a;

    GLMQ_TRY(glmq_torch_find(file, len, tier->entries, tier->width, &a, err));
    f->bytes = a.bytes;
    return keep_values(b, a.data, a.dtype, f, err);
}

static glmq_status search_pt(vq_books *b, const char *name, const vq_tier *tier, vq_found *found,
                             size_t *count, glmq_error *err)
{
    const long file = name ? glmq_source_find(b->folder, name) : -1;
    vq_found *f = &found[0];
    uint64_t size;
    uint8_t *bytes;
    glmq_status st;

    if (file < 0 || *count) return GLMQ_OK;
    GLMQ_TRY(check_size(tier, err));
    size = glmq_source_size(b->folder, (size_t)file);
    if (size > GLMQ_TORCH_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: %" PRIu64 " bytes, at most %d", name, size,
                         GLMQ_TORCH_MAX);
    *f = (vq_found){ .tier = tier, .outside = 1, .array = tier->codebook };
    GLMQ_TRY(keep_name(b, name, &f->file, err));
    bytes = glmq_alloc((size_t)size + 1);
    if (!bytes) return glmq_fail(err, GLMQ_E_NOMEM, "%s: %" PRIu64 " bytes", name, size);
    st = glmq_source_read(b->folder, (size_t)file, 0, bytes, (size_t)size, err);
    if (!st) st = load_pt(b, bytes, (size_t)size, tier, f, err);
    glmq_free(bytes);
    if (st) return glmq_within(err, st, "%s", name);
    ++*count;
    return GLMQ_OK;
}

/* ---- the search ---- */

static glmq_status search_folder(vq_books *b, const vq_tier *tier, vq_found *found, size_t *count,
                                 glmq_error *err)
{
    char generic[64];

    generic_name(tier, generic, sizeof generic);
    GLMQ_TRY(search_file(b, b->folder, b->config->codebooks_file, 1, tier, found, count, err));
    GLMQ_TRY(search_file(b, b->folder, usual_file, 1, tier, found, count, err));
    GLMQ_TRY(search_pt(b, special_name(tier), tier, found, count, err));
    return search_pt(b, generic, tier, found, count, err);
}

glmq_status vq_books_find(vq_books *b, const vq_tier *tier, vq_found found[VQ_FOUND_MAX],
                          size_t *count, glmq_error *err)
{
    const glmq_source *src = b->cat->source;
    const place shards = { src, NULL, b->cat->arrays, b->cat->count, 1, 0 };

    *count = 0;
    GLMQ_TRY(search_file(b, src, b->config->codebooks_file, 0, tier, found, count, err));
    GLMQ_TRY(search_file(b, src, usual_file, 0, tier, found, count, err));
    if (!*count) GLMQ_TRY(search(b, &shards, tier, found, count, err));
    if (*count || !b->g->vq_codebooks) return GLMQ_OK;
    if (!b->folder)
        GLMQ_TRY(glmq_within(err, glmq_source_open(&b->folder, b->g->vq_codebooks, NULL, err),
                             "--vq-codebooks"));
    return glmq_within(err, search_folder(b, tier, found, count, err), "%s", b->g->vq_codebooks);
}

void vq_books_close(vq_books *b)
{
    glmq_source_close(b->folder);
    b->folder = NULL;
}
