/* Importance matrices: see imatrix.h. */
#include "imatrix.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/safe.h"
#include "base/strmap.h"
#include "catalog.h"
#include "gguf_kv.h"
#include "models/graph.h"
#include "models/roles.h"
#include <string.h>

struct glmq_imatrix {
    glmq_arena arena;
    const glmq_source *source;
    glmq_catalog *catalog; /* of a GGUF */
    glmq_imatrix_facts facts;
    glmq_imatrix_entry *entries;
    size_t capacity;
    glmq_strmap by_name; /* -> index */
    const char **datasets;
};

static const char sum_tail[] = ".in_sum2", count_tail[] = ".counts", mean_tail[] = ".in_sum";

static glmq_status no_memory(glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_NOMEM, "an importance matrix");
}

/* ---- entries ---- */

static glmq_status add_entry(glmq_imatrix *im, const glmq_imatrix_entry *e, glmq_error *err)
{
    const size_t n = im->facts.entries;
    int added;

    if (n == im->capacity) {
        const size_t more = n ? 2 * n : 64;
        glmq_imatrix_entry *grown = glmq_realloc(im->entries, more * sizeof *grown);
        if (!grown) return no_memory(err);
        im->entries = grown;
        im->capacity = more;
    }
    added = glmq_strmap_add(&im->by_name, e->name, strlen(e->name), n, NULL);
    if (added < 0) return no_memory(err);
    if (!added) return glmq_fail(err, GLMQ_E_FORMAT, "%s: two entries of that name", e->name);
    im->entries[n] = *e;
    for (uint64_t i = 0; i < e->matrices; i++) im->entries[n].unseen += !(e->counts[i] > 0);
    im->facts.unseen += im->entries[n].unseen;
    im->facts.entries++;
    return GLMQ_OK;
}

static glmq_status add_dataset(glmq_imatrix *im, const char *s, size_t len, glmq_error *err)
{
    const size_t n = im->facts.dataset_count;
    const char **grown = glmq_realloc(im->datasets, (n + 1) * sizeof *grown);

    if (!grown) return no_memory(err);
    im->datasets = grown;
    grown[n] = glmq_arena_strndup(&im->arena, s, len);
    if (!grown[n]) return no_memory(err);
    im->facts.dataset_count++;
    return GLMQ_OK;
}

/* ---- GGUF ---- */

static glmq_status read_counts(glmq_imatrix *im, const glmq_array *a, glmq_imatrix_entry *e,
                               glmq_error *err)
{
    float *counts = glmq_arena_alloc(&im->arena, (size_t)a->bytes);

    if (!counts) return no_memory(err);
    GLMQ_TRY(glmq_source_read(im->source, a->file, a->offset, counts, (size_t)a->bytes, err));
    for (uint64_t i = 0; i < e->matrices; i++)
        if (!is_finite_f32(counts[i]))
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: count %" PRIu64 " is no finite number",
                             a->name, i);
    e->counts = counts;
    return GLMQ_OK;
}

/* The array that belongs to `stem` of `len` bytes. */
static const glmq_array *companion(const glmq_catalog *cat, const char *stem, size_t len,
                                   const char *tail)
{
    char name[GLMQ_NAME_MAX + 16];

    if (len > GLMQ_NAME_MAX) return NULL;
    memcpy(name, stem, len);
    strcpy(name + len, tail);
    return glmq_catalog_find(cat, name, strlen(name));
}

static glmq_status check_f32(const glmq_array *a, glmq_error *err)
{
    if (a->dtype == GLMQ_DT_F32 && a->bytes > 0) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s and %" PRIu64 " bytes, expected F32 values",
                     a->name, glmq_dtype_name((glmq_dtype)a->dtype), a->bytes);
}

static glmq_status add_sums(glmq_imatrix *im, const glmq_array *sums, glmq_error *err)
{
    const size_t len = strlen(sums->name) - (sizeof sum_tail - 1);
    const glmq_array *counts = companion(im->catalog, sums->name, len, count_tail);
    glmq_imatrix_entry e = { .values = sums->bytes / 4, .offset = sums->offset, .matrices = 1 };

    GLMQ_TRY(check_f32(sums, err));
    if (!counts)
        return glmq_fail(err, GLMQ_E_FORMAT, "%.*s%s is missing", (int)len, sums->name, count_tail);
    GLMQ_TRY(check_f32(counts, err));
    /* One count serves all matrices of a stack that each token goes through (attn_k_b). */
    if (sums->rank > 1 && counts->bytes > 4) e.matrices = e.values / sums->dims[sums->rank - 1];
    if (counts->bytes / 4 != e.matrices)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " counts, expected %" PRIu64,
                         counts->name, counts->bytes / 4, e.matrices);
    e.name = glmq_arena_strndup(&im->arena, sums->name, len);
    if (!e.name) return no_memory(err);
    GLMQ_TRY(read_counts(im, counts, &e, err));
    return add_entry(im, &e, err);
}

static glmq_status read_keys(glmq_imatrix *im, glmq_error *err)
{
    const glmq_gguf *kv = im->catalog->gguf;
    const glmq_gguf_value *sets = glmq_gguf_get(kv, "imatrix.datasets");
    const char *s = "";
    size_t len = 0;
    uint64_t at = 0;

    if (!glmq_gguf_string(kv, "general.type", &s, &len) || len != 7 || memcmp(s, "imatrix", 7))
        return glmq_fail(err, GLMQ_E_FORMAT, "general.type is not \"imatrix\"");
    if (!glmq_gguf_u64(kv, "imatrix.chunk_count", &im->facts.chunks)) im->facts.chunks = 0;
    if (!glmq_gguf_u64(kv, "imatrix.chunk_size", &im->facts.chunk_size)) im->facts.chunk_size = 0;
    if (!sets || sets->type != GGUF_ARRAY || sets->item != GGUF_STRING) return GLMQ_OK;
    while (glmq_gguf_next_string(sets, &at, &s, &len)) GLMQ_TRY(add_dataset(im, s, len, err));
    return GLMQ_OK;
}

/* Counts without sums are half an entry; sums of the activations themselves are of no use. */
static glmq_status read_gguf(glmq_imatrix *im, glmq_error *err)
{
    im->facts.gguf = 1;
    GLMQ_TRY(read_keys(im, err));
    for (size_t i = 0; i < im->catalog->count; i++) {
        const glmq_array *a = &im->catalog->arrays[i];
        const size_t len = strlen(a->name), tail = sizeof count_tail - 1;

        if (glmq_ends_with(a->name, sum_tail)) {
            GLMQ_TRY(add_sums(im, a, err));
            continue;
        }
        if (glmq_ends_with(a->name, mean_tail)) continue;
        if (!glmq_ends_with(a->name, count_tail))
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: no part of an importance matrix", a->name);
        if (!companion(im->catalog, a->name, len - tail, sum_tail))
            return glmq_fail(err, GLMQ_E_FORMAT, "%.*s%s is missing", (int)(len - tail), a->name,
                             sum_tail);
    }
    return GLMQ_OK;
}

/* ---- .dat ---- */

typedef struct dat {
    const glmq_source *source;
    uint64_t at, size;
} dat;

/* A count that is not negative, and at most `most`. */
static glmq_status take(dat *d, const char *what, uint64_t most, uint64_t *out, glmq_error *err)
{
    uint8_t raw[4];
    int32_t v;

    if (!in_range(d->at, sizeof raw, d->size))
        return glmq_fail(err, GLMQ_E_FORMAT, "the file ends before its %s (offset %" PRIu64 ")",
                         what, d->at);
    GLMQ_TRY(glmq_source_read(d->source, 0, d->at, raw, sizeof raw, err));
    v = (int32_t)load_le32(raw);
    if (v < 0 || (uint64_t)v > most)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s %" PRId32 ", expected 0 to %" PRIu64 " (offset %" PRIu64 ")", what, v,
                         most, d->at);
    d->at += sizeof raw;
    *out = (uint64_t)v;
    return GLMQ_OK;
}

static glmq_status take_text(dat *d, glmq_arena *arena, const char *what, uint64_t most, char **out,
                             glmq_error *err)
{
    const uint64_t left = d->size > d->at + 4 ? d->size - d->at - 4 : 0;
    uint64_t len = 0;

    GLMQ_TRY(take(d, what, left < most ? left : most, &len, err));
    *out = glmq_arena_alloc(arena, (size_t)len + 1);
    if (!*out) return no_memory(err);
    GLMQ_TRY(glmq_source_read(d->source, 0, d->at, *out, (size_t)len, err));
    if (memchr(*out, '\0', (size_t)len))
        return glmq_fail(err, GLMQ_E_FORMAT, "a zero byte in a name (offset %" PRIu64 ")", d->at);
    d->at += len;
    return GLMQ_OK;
}

static glmq_status take_entry(glmq_imatrix *im, dat *d, glmq_error *err)
{
    glmq_imatrix_entry e = { .matrices = 1 };
    float *calls = glmq_arena_alloc(&im->arena, sizeof *calls);
    uint64_t n;
    char *name;

    if (!calls) return no_memory(err);
    GLMQ_TRY(take_text(d, &im->arena, "length of a name", GLMQ_NAME_MAX, &name, err));
    if (!*name) return glmq_fail(err, GLMQ_E_FORMAT, "an entry without a name");
    GLMQ_TRY(glmq_within(err, take(d, "number of calls", INT32_MAX, &n, err), "%s", name));
    *calls = n ? (float)n : 1.0f; /* no calls: the values are what they are */
    GLMQ_TRY(glmq_within(
        err, take(d, "number of values", (d->size - d->at - 4) / 4, &e.values, err), "%s", name));
    if (e.values == 0) return glmq_fail(err, GLMQ_E_FORMAT, "%s: an entry without values", name);
    e.name = name;
    e.counts = calls;
    e.offset = d->at;
    d->at += 4 * e.values;
    return add_entry(im, &e, err);
}

static glmq_status read_dat(glmq_imatrix *im, glmq_error *err)
{
    dat d = { .source = im->source, .size = glmq_source_size(im->source, 0) };
    uint64_t n;
    char *name;

    GLMQ_TRY(take(&d, "number of entries", GLMQ_ARRAYS_MAX, &n, err));
    if (n == 0) return glmq_fail(err, GLMQ_E_FORMAT, "an importance matrix without entries");
    for (uint64_t i = 0; i < n; i++)
        GLMQ_TRY(glmq_within(err, take_entry(im, &d, err), "entry %" PRIu64, i));
    if (d.at == d.size) return GLMQ_OK; /* older writers end here */
    GLMQ_TRY(take(&d, "number of chunks", INT32_MAX, &im->facts.chunks, err));
    if (d.at == d.size) return GLMQ_OK;
    GLMQ_TRY(take_text(&d, &im->arena, "length of the data set's name", 1 << 16, &name, err));
    if (d.at != d.size)
        return glmq_fail(err, GLMQ_E_FORMAT, "%" PRIu64 " bytes behind its end", d.size - d.at);
    return *name ? add_dataset(im, name, strlen(name), err) : GLMQ_OK;
}

/* ---- opening ---- */

static glmq_status look_for_magic(const glmq_source *src, int *gguf, glmq_error *err)
{
    uint8_t magic[4];

    *gguf = 0;
    if (glmq_source_size(src, 0) < sizeof magic) return GLMQ_OK;
    GLMQ_TRY(glmq_source_read(src, 0, 0, magic, sizeof magic, err));
    *gguf = memcmp(magic, "GGUF", sizeof magic) == 0;
    return GLMQ_OK;
}

/* general.type = "imatrix" among the first keys, where its writers put it. */
static int says_imatrix(const uint8_t *head, size_t len)
{
    static const char key[] = "general.type\x08\0\0\0\x07\0\0\0\0\0\0\0imatrix";
    return memmem(head, len, key, sizeof key - 1) != NULL;
}

/* No magic: a plausible number of entries, and a first one with the name of a weight. */
static int looks_like_dat(const uint8_t *head, size_t len, uint64_t size)
{
    static const char tail[] = ".weight";
    const size_t tail_len = sizeof tail - 1;
    uint32_t entries, name;

    if (len < 16) return 0;
    entries = load_le32(head);
    name = load_le32(head + 4);
    if (entries == 0 || entries > GLMQ_ARRAYS_MAX || name < tail_len || name > GLMQ_NAME_MAX ||
        16 + (uint64_t)name > len || memcmp(head + 8 + name - tail_len, tail, tail_len) != 0)
        return 0;
    return load_le32(head + 12 + name) <= size / 4;
}

int glmq_imatrix_probe(const glmq_source *src)
{
    enum { HEAD = 4096 };
    uint8_t head[HEAD];
    size_t len;

    if (!glmq_source_is_file(src) || glmq_source_count(src) == 0) return 0;
    len = glmq_source_size(src, 0) < HEAD ? (size_t)glmq_source_size(src, 0) : HEAD;
    if (glmq_source_read(src, 0, 0, head, len, NULL)) return 0;
    if (len >= 4 && memcmp(head, "GGUF", 4) == 0) return says_imatrix(head, len);
    return looks_like_dat(head, len, glmq_source_size(src, 0));
}

static glmq_status read_file(glmq_imatrix *im, glmq_error *err)
{
    glmq_status st;
    int gguf;

    if (!glmq_source_is_file(im->source) || glmq_source_count(im->source) == 0)
        return glmq_fail(err, GLMQ_E_ARG, "%s: an importance matrix is one file",
                         glmq_source_path(im->source));
    GLMQ_TRY(look_for_magic(im->source, &gguf, err));
    if (gguf) {
        GLMQ_TRY(glmq_catalog_open(&im->catalog, im->source, NULL, err)); /* it names the file */
        st = read_gguf(im, err);
    } else {
        st = read_dat(im, err);
    }
    if (!st && im->facts.entries == 0)
        st = glmq_fail(err, GLMQ_E_FORMAT, "an importance matrix without entries");
    im->facts.datasets = im->datasets;
    return glmq_within(err, st, "%s", glmq_source_path(im->source));
}

glmq_status glmq_imatrix_open(glmq_imatrix **out, const glmq_source *src, glmq_error *err)
{
    glmq_imatrix *im = glmq_alloc_zero(1, sizeof *im);
    glmq_status st;

    *out = NULL;
    if (!im) return no_memory(err);
    im->source = src;
    st = read_file(im, err);
    if (st) {
        glmq_imatrix_close(im);
        return st;
    }
    *out = im;
    return GLMQ_OK;
}

void glmq_imatrix_close(glmq_imatrix *im)
{
    if (!im) return;
    glmq_catalog_close(im->catalog);
    glmq_strmap_free(&im->by_name);
    glmq_free(im->entries);
    glmq_free(im->datasets);
    glmq_arena_free(&im->arena);
    glmq_free(im);
}

const glmq_imatrix_facts *glmq_imatrix_facts_of(const glmq_imatrix *im)
{
    return &im->facts;
}

const glmq_imatrix_entry *glmq_imatrix_at(const glmq_imatrix *im, size_t i)
{
    return i < im->facts.entries ? &im->entries[i] : NULL;
}

const glmq_imatrix_entry *glmq_imatrix_find(const glmq_imatrix *im, const char *name)
{
    uint64_t i;
    return glmq_strmap_get(&im->by_name, name, strlen(name), &i) ? &im->entries[i] : NULL;
}

/* ---- values ---- */

glmq_status glmq_imatrix_read(const glmq_imatrix *im, const glmq_imatrix_entry *e, uint64_t first,
                              uint64_t n, float *out, glmq_error *err)
{
    const uint64_t cols = e->values / e->matrices;

    if (!in_range(first, n, e->values))
        return glmq_fail(err, GLMQ_E_ARG, "%s: values %" PRIu64 " to %" PRIu64 " of %" PRIu64,
                         e->name, first, first + n, e->values);
    GLMQ_TRY(
        glmq_source_read(im->source, 0, e->offset + 4 * first, out, (size_t)n * sizeof *out, err));
    for (uint64_t i = 0; i < n; i++) {
        const float count = e->counts[(first + i) / cols], mean = out[i] / count;
        if (!is_finite_f32(out[i]) || out[i] < 0 || (count > 0 && !is_finite_f32(mean)))
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "%s: value %" PRIu64 " is negative or no finite number", e->name,
                             first + i);
        out[i] = count > 0 ? mean : 1.0f;
    }
    return GLMQ_OK;
}

glmq_status glmq_imatrix_check(const glmq_imatrix *im, glmq_error *err)
{
    enum { CHUNK = 16384 };
    float *values = glmq_alloc(CHUNK * sizeof *values);
    glmq_status st = GLMQ_OK;

    if (!values) return no_memory(err);
    for (size_t i = 0; i < im->facts.entries && !st; i++) {
        const glmq_imatrix_entry *e = &im->entries[i];
        for (uint64_t at = 0; at < e->values && !st; at += CHUNK) {
            const uint64_t n = e->values - at < CHUNK ? e->values - at : CHUNK;
            st = glmq_imatrix_read(im, e, at, n, values, err);
        }
    }
    glmq_free(values);
    return glmq_within(err, st, "%s", glmq_source_path(im->source));
}

/* ---- beside a model ---- */

const glmq_imatrix_entry *glmq_imatrix_of(const glmq_imatrix *im, const glmq_graph *g,
                                          const glmq_tensor *t, uint64_t *first)
{
    const glmq_split split = t->expert >= 0 ? SPLIT_EXPERTS : SPLIT_NONE;
    char name[GLMQ_NAME_MAX];
    const glmq_imatrix_entry *e;
    size_t len;

    *first = 0;
    if (!g->hp || t->rank != 2) return NULL;
    len = glmq_names_print(g->hp->arch, NAMES_GGUF, t->role, split, t->layer, t->expert, name,
                           sizeof name);
    if (len == 0 || len >= sizeof name) return NULL;
    e = glmq_imatrix_find(im, name);
    if (!e || t->expert < 0) return e;
    *first = (uint64_t)t->expert * t->cols;
    return in_range(*first, t->cols, e->values) ? e : NULL;
}

/* How many values an entry of this name must have; 0: the model has no such tensor. */
static uint64_t values_of(const glmq_graph *g, const glmq_name_match *m)
{
    const glmq_hparams *h = g->hp;
    uint64_t rows, cols;
    uint8_t rank;

    if (m->layer >= 0 && (uint64_t)m->layer >= h->layers + h->mtp_layers) return 0;
    if (!glmq_role_shape(h, m->row->role, &rank, &rows, &cols) || rank != 2) return 0;
    if (m->row->split == SPLIT_EXPERTS || m->row->split == SPLIT_EXPERTS_GATE_UP)
        return glmq_hparams_experts(h, m->layer) * cols;
    if (m->row->split == SPLIT_K_B) return h->heads * h->qk_nope;
    return m->row->split == SPLIT_V_B ? h->heads * cols : cols;
}

/* What llama.cpp never weighs is not looked at. */
static glmq_status fit_entry(const glmq_graph *g, const glmq_imatrix_entry *e,
                             glmq_imatrix_fit *out, glmq_error *err)
{
    glmq_name_match m;
    const int known = glmq_names_match(g->names, NAMES_GGUF, e->name, strlen(e->name), &m);
    const uint64_t want = known ? values_of(g, &m) : 0;

    if (want == 0 && out->unknown++ == 0) out->stranger = e->name;
    if (want == 0 || want == e->values || m.row->role == GLMQ_ROLE_EMBED) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s: %" PRIu64 " values, the model's tensor needs %" PRIu64, e->name,
                     e->values, want);
}

static int is_weighed(const glmq_tensor *t)
{
    const glmq_role_class class = glmq_role_class_of(t->role);
    return class == ROLE_LINEAR || class == ROLE_EXPERT;
}

glmq_status glmq_imatrix_fit_model(const glmq_imatrix *im, const glmq_graph *g,
                                   glmq_imatrix_fit *out, glmq_error *err)
{
    *out = (glmq_imatrix_fit){ 0 };
    if (!g->hp)
        return glmq_fail(err, GLMQ_E_ARG, "%s: no config says to what its entries belong",
                         glmq_source_path(im->source));
    for (size_t i = 0; i < im->facts.entries; i++)
        GLMQ_TRY(glmq_within(err, fit_entry(g, &im->entries[i], out, err), "%s",
                             glmq_source_path(im->source)));
    for (size_t i = 0; i < g->count; i++) {
        const glmq_tensor *t = &g->tensors[i];
        uint64_t first;
        if (!is_weighed(t) || t->role == GLMQ_ROLE_ATTN_KV_B) continue;
        out->tensors++;
        out->covered += glmq_imatrix_of(im, g, t, &first) != NULL;
    }
    return GLMQ_OK;
}
