/* The graph: opening, adding tensors, and the public getters.  What makes a graph complete
 * and consistent is in graph_check.c. */
#include "graph.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "readers/gguf_kv.h"
#include "readers/reader.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- opening ---- */

static int known_name(void *user, const char *name, size_t len)
{
    return glmq_names_known(user, name, len);
}

/* The names of the model that config.json speaks of, before the catalog is open: they decide
 * which files the index forgot.  Whatever is wrong with config.json is said later. */
static glmq_status early_names(glmq_graph *g, glmq_error *err)
{
    const glmq_arch *arch = NULL;
    cJSON *config = NULL;
    char *text = NULL;
    size_t len = 0;
    glmq_status st = glmq_catalog_side_file(g->source, "config.json", &text, &len, err);

    if (st || !text) return st == GLMQ_E_NOMEM ? st : GLMQ_OK;
    st = glmq_json_parse(&config, text, len, 0, err);
    glmq_free(text);
    if (st) return st == GLMQ_E_NOMEM ? st : GLMQ_OK;
    if (glmq_json_string(config, "model_type"))
        arch = glmq_arch_by_model_type(glmq_json_string(config, "model_type"));
    cJSON_Delete(config);
    if (!arch) return GLMQ_OK;
    g->names = glmq_names_open(arch);
    return g->names ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "name tables");
}

/* What a GGUF's metadata cannot say follows from the arrays that are there. */
static void infer_from_arrays(glmq_hparams *h, const glmq_catalog *cat)
{
    static const char *const bias[] = { "blk.0.attn_q.bias", "blk.0.attn_qkv.bias" };
    static const char table[] = "token_embd.weight", head[] = "output.weight";
    static const char q_norm[] = "blk.0.attn_q_norm.weight";
    const glmq_array *embed = glmq_catalog_find(cat, table, strlen(table));

    h->attention_bias = 0;
    for (size_t i = 0; i < GLMQ_COUNT(bias); i++)
        if (glmq_catalog_find(cat, bias[i], strlen(bias[i]))) h->attention_bias = 1;
    h->qk_norm = glmq_catalog_find(cat, q_norm, strlen(q_norm)) != NULL;
    h->tied = embed && !glmq_catalog_find(cat, head, strlen(head));
    if (h->vocab == 0 && embed && embed->rank == 2) h->vocab = embed->dims[0];
}

static glmq_status read_hparams(glmq_graph *g, glmq_error *err)
{
    const glmq_catalog *cat = g->catalog;
    glmq_hparams *h;

    if (cat->container != CONTAINER_GGUF && !cat->config)
        return glmq_graph_note(g, GLMQ_NOTE, "architecture-unknown", NULL, NULL,
                               "no config.json: arrays are taken under their own names");
    h = glmq_arena_alloc(&g->arena, sizeof *h);
    if (!h) return glmq_fail(err, GLMQ_E_NOMEM, "hyper-parameters");
    if (cat->container == CONTAINER_GGUF) {
        GLMQ_TRY(glmq_hparams_from_gguf(h, &g->arena, cat->gguf, err));
        infer_from_arrays(h, cat);
    } else {
        GLMQ_TRY(glmq_within(err, glmq_hparams_from_config(h, &g->arena, cat->config, err),
                             "config.json"));
    }
    g->hp = h;
    if (!g->names) g->names = glmq_names_open(h->arch);
    return g->names ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "name tables");
}

static const char *reader_name(size_t i)
{
    return i < glmq_reader_count() ? glmq_reader_at(i)->name : NULL;
}

/* The reader that was asked for is of the container that is there. */
static glmq_status check_container(const glmq_graph *g, glmq_error *err)
{
    if (g->reader->container == g->catalog->container) return GLMQ_OK;
    if (g->catalog->container == CONTAINER_GGUF)
        return glmq_fail(err, GLMQ_E_ARG, "a GGUF is read as \"gguf\" only");
    return glmq_fail(err, GLMQ_E_ARG, "\"%s\" reads GGUF files only", g->reader->name);
}

static glmq_status pick_reader(glmq_graph *g, const char *from, glmq_error *err)
{
    int best = 0;

    if (from) {
        const char *near = glmq_nearest(from, reader_name);

        g->reader = glmq_reader_find(from);
        if (g->reader) return check_container(g, err);
        return glmq_fail(err, GLMQ_E_ARG, "unknown format \"%s\"%s%s%s", from,
                         near ? ", did you mean \"" : "", near ? near : "", near ? "\"" : "");
    }
    for (size_t i = 0; i < glmq_reader_count(); i++) {
        const glmq_reader *r = glmq_reader_at(i);
        const int sure = r->container == g->catalog->container ? r->probe(g->catalog) : 0;

        if (sure > best) {
            best = sure;
            g->reader = r;
        }
    }
    if (g->reader) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_UNSUPPORTED, "no reader knows this format");
}

/* Scales that a format could not keep in their own dtype remember it in the metadata. */
static void read_scale_dtype(glmq_graph *g)
{
    static const char key[] = "glmq.scale_dtype";
    const char *text = NULL;
    size_t len = 0;

    if (g->catalog->container == CONTAINER_GGUF) {
        if (!glmq_gguf_string(g->catalog->gguf, key, &text, &len)) return;
    } else {
        text = glmq_catalog_meta(g->catalog, key);
        if (!text) return;
        len = strlen(text);
    }
    switch (glmq_dtype_from_st(text, len)) {
    case GLMQ_DT_F16: g->source_scale_dtype = GLMQ_DT_F16; break;
    case GLMQ_DT_BF16: g->source_scale_dtype = GLMQ_DT_BF16; break;
    case GLMQ_DT_F32: g->source_scale_dtype = GLMQ_DT_F32; break;
    default: break;
    }
}

static glmq_status take_problems(glmq_graph *g, glmq_error *err)
{
    const glmq_catalog *cat = g->catalog;

    for (size_t i = 0; i < cat->problem_count; i++) {
        const glmq_problem *p = &cat->problems[i];
        if (glmq_graph_note(g, p->severity, p->code, p->tensor, p->file, "%s", p->message))
            return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    }
    return GLMQ_OK;
}

static glmq_status build(glmq_graph *g, const glmq_graph_options *opt, glmq_error *err)
{
    glmq_catalog_options catalog = { .allow_incomplete = g->allow_incomplete };
    size_t count;

    GLMQ_TRY(early_names(g, err));
    catalog.known = g->names ? known_name : NULL;
    catalog.user = g->names;
    GLMQ_TRY(glmq_catalog_open(&g->catalog, g->source, &catalog, err));
    GLMQ_TRY(take_problems(g, err));
    GLMQ_TRY(read_hparams(g, err));
    read_scale_dtype(g);
    count = g->catalog->count;
    g->fate = glmq_alloc_zero(count + 1, sizeof *g->fate);
    g->fate_reason = glmq_alloc_zero(count + 1, sizeof *g->fate_reason);
    if (!g->fate || !g->fate_reason) return glmq_fail(err, GLMQ_E_NOMEM, "%zu arrays", count);
    GLMQ_TRY(pick_reader(g, opt ? opt->from : NULL, err));
    if (g->tolerate) g->catalog->tolerant = g;
    GLMQ_TRY(g->reader->open(g, g->catalog, err));
    g->catalog->tolerant = NULL;
    return glmq_graph_finish(g, err);
}

glmq_status glmq_graph_open(glmq_graph **out, const glmq_source *src, const glmq_graph_options *opt,
                            glmq_error *err)
{
    glmq_graph *g = glmq_alloc_zero(1, sizeof *g);
    glmq_status st;

    *out = NULL;
    if (!g) return glmq_fail(err, GLMQ_E_NOMEM, "graph");
    g->source = src;
    g->arena.block_bytes = 1 << 20;
    g->allow_incomplete = opt && opt->allow_incomplete;
    g->vq_codebooks = opt ? opt->vq_codebooks : NULL;
    g->tolerate = g->allow_incomplete && opt->tolerate;
    st = build(g, opt, err);
    g->vq_codebooks = NULL;
    if (st) {
        glmq_graph_close(g);
        return st;
    }
    *out = g;
    return GLMQ_OK;
}

void glmq_graph_close(glmq_graph *g)
{
    if (!g) return;
    glmq_strmap_free(&g->by_name);
    glmq_strmap_free(&g->unreadable);
    glmq_names_close(g->names);
    glmq_catalog_close(g->catalog);
    glmq_free(g->tensors);
    glmq_free(g->problems);
    glmq_free(g->dropped);
    glmq_free(g->fate);
    glmq_free(g->fate_reason);
    glmq_arena_free(&g->arena);
    glmq_free(g);
}

/* ---- what cannot be read ---- */

glmq_status glmq_graph_leave_out(glmq_graph *g, const char *name, const char *file, glmq_status st,
                                 glmq_error *err)
{
    const char *kept;

    if (st != GLMQ_E_FORMAT && st != GLMQ_E_LIMIT) return st;
    kept = glmq_arena_strdup(&g->arena, name);
    if (!kept || glmq_strmap_add(&g->unreadable, kept, strlen(kept), 0, NULL) < 0 ||
        glmq_graph_note(g, GLMQ_ERROR, err->code ? err->code : "bad-tensor", name, file, "%s",
                        err->msg))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

/* ---- adding: for readers ---- */

/* Room for one more element of a growing list. */
static glmq_status grow(void **list, size_t count, size_t *capacity, size_t each, glmq_error *err)
{
    size_t more = *capacity ? *capacity * 2 : 64;
    void *p;

    if (count < *capacity) return GLMQ_OK;
    p = glmq_realloc(*list, more * each);
    if (!p) return glmq_fail(err, GLMQ_E_NOMEM, "list of %zu", more);
    *list = p;
    *capacity = more;
    return GLMQ_OK;
}

/* Logical name of a tensor: the Hugging Face row, with ".weight" for modules. */
static glmq_status make_name(glmq_graph *g, glmq_role role, int32_t layer, int32_t expert,
                             const char **out, glmq_error *err)
{
    const glmq_arch *arch = g->hp->arch;
    const glmq_name_row *row = glmq_names_row(arch, NAMES_HF, role, SPLIT_NONE);
    char text[256];
    size_t n = glmq_names_print(arch, NAMES_HF, role, SPLIT_NONE, layer, expert, text,
                                sizeof text - sizeof ".weight");

    if (n == 0)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s has no tensor of role %s", arch->model_type,
                         glmq_role_name(role));
    if (!row->leaf) {
        memcpy(text + n, ".weight", sizeof ".weight");
        n += sizeof ".weight" - 1;
    }
    *out = glmq_arena_strndup(&g->arena, text, n);
    return *out ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "tensor name");
}

/* Logical shape of what a cut matrix is a part of. */
static glmq_status logical_shape(const glmq_part *p, uint64_t *rows, uint64_t *cols,
                                 glmq_error *err)
{
    const glmq_cut *c = &p->cut;
    uint64_t stored;

    *cols = c->transposed ? p->rows / c->heads : p->cols;
    if (mul_u64(c->heads, c->stride, rows) || !in_range(c->first, c->count, c->stride) ||
        mul_u64(c->heads, c->transposed ? *cols : c->count, &stored) || stored != p->rows ||
        (c->transposed && p->cols != c->count))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "a matrix of %" PRIu64 " x %" PRIu64 " is no %" PRIu64 " heads of %" PRIu64
                         " rows",
                         p->rows, p->cols, c->heads, c->count);
    return GLMQ_OK;
}

static void mark_used(glmq_graph *g, const glmq_part *p)
{
    for (int i = 0; i < GLMQ_SLOTS; i++)
        if (p->span[i].bytes && p->span[i].array < g->catalog->count)
            g->fate[p->span[i].array] = FATE_USED;
}

static glmq_status push(glmq_graph *g, const glmq_tensor *like, const glmq_part *part,
                        glmq_error *err)
{
    glmq_tensor *t;

    GLMQ_TRY(grow((void **)&g->tensors, g->count, &g->capacity, sizeof *g->tensors, err));
    t = &g->tensors[g->count];
    *t = *like;
    t->parts = 1;
    t->part = glmq_arena_alloc(&g->arena, sizeof *t->part);
    if (!t->part) return glmq_fail(err, GLMQ_E_NOMEM, "%s", t->name);
    *t->part = *part;
    if (part->cut.heads == 0) t->part->cut = (glmq_cut){ 1, part->rows, 0, part->rows, 0 };
    GLMQ_TRY(glmq_within(err, logical_shape(t->part, &t->rows, &t->cols, err), "%s", t->name));
    mark_used(g, t->part);
    g->count++;
    return GLMQ_OK;
}

glmq_status glmq_graph_add(glmq_graph *g, glmq_role role, int32_t layer, int32_t expert,
                           uint8_t rank, const glmq_part *part, glmq_error *err)
{
    glmq_tensor t = { .role = role, .layer = layer, .expert = expert, .rank = rank };

    t.mtp = layer >= 0 && (uint64_t)layer >= g->hp->layers;
    GLMQ_TRY(make_name(g, role, layer, expert, &t.name, err));
    return push(g, &t, part, err);
}

/* A loose file has no tables to tell roles by, but what must stay F32 is known by its name. */
static glmq_role loose_role(const glmq_graph *g, const char *name, uint8_t rank)
{
    static const char bias[] = ".e_score_correction_bias";
    const size_t n = strlen(name), m = sizeof bias - 1;
    return !g->hp && rank == 1 && n > m && strcmp(name + n - m, bias) == 0 ? GLMQ_ROLE_ROUTER_BIAS
                                                                           : GLMQ_ROLE_OTHER;
}

glmq_status glmq_graph_add_other(glmq_graph *g, const char *name, uint8_t rank,
                                 const glmq_part *part, glmq_error *err)
{
    glmq_tensor t = { .role = loose_role(g, name, rank), .layer = -1, .expert = -1, .rank = rank };

    t.name = glmq_arena_strdup(&g->arena, name);
    if (!t.name) return glmq_fail(err, GLMQ_E_NOMEM, "%s", name);
    return push(g, &t, part, err);
}

glmq_status glmq_part_slice(glmq_part *part, uint64_t row, uint64_t rows, glmq_error *err)
{
    const uint64_t end = row + rows;
    glmq_layout l;

    GLMQ_TRY(part->enc.codec->layout(&part->enc, part->rows, part->cols, &l, err));
    for (int i = 0; i < GLMQ_SLOTS; i++) {
        const glmq_slot_layout *s = &l.slot[i];
        uint64_t off, bytes;

        if (part->span[i].bytes == 0) continue;
        if (s->stripe_rows == 0 || row % s->stripe_rows ||
            (end != part->rows && end % s->stripe_rows))
            return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                             "slot %d cannot be cut at rows %" PRIu64 " and %" PRIu64, i, row, end);
        glmq_slot_range(s, row, rows, &off, &bytes);
        part->span[i].offset += off;
        part->span[i].bytes = bytes;
    }
    part->rows = rows;
    part->cut = (glmq_cut){ 1, rows, 0, rows, 0 };
    return GLMQ_OK;
}

void glmq_graph_drop(glmq_graph *g, size_t array, const char *reason)
{
    g->fate[array] = FATE_DROPPED;
    g->fate_reason[array] = reason;
}

/* NULL stays NULL; 0 when out of memory. */
static int copy_text(glmq_arena *a, const char *s, const char **out)
{
    *out = s ? glmq_arena_strdup(a, s) : NULL;
    return !s || *out;
}

glmq_status glmq_graph_note(glmq_graph *g, glmq_severity severity, const char *code,
                            const char *tensor, const char *file, const char *format, ...)
{
    glmq_problem p = { .severity = severity };
    char text[1024];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (grow((void **)&g->problems, g->problem_count, &g->problem_capacity, sizeof p, NULL) ||
        !copy_text(&g->arena, code, &p.code) || !copy_text(&g->arena, tensor, &p.tensor) ||
        !copy_text(&g->arena, file, &p.file) || !copy_text(&g->arena, text, &p.message))
        return GLMQ_E_NOMEM;
    g->problems[g->problem_count++] = p;
    return GLMQ_OK;
}

/* ---- the public face ---- */

const glmq_source *glmq_graph_source(const glmq_graph *g)
{
    return g->source;
}

const char *glmq_graph_format(const glmq_graph *g)
{
    return g->reader->name;
}

const char *glmq_graph_architecture(const glmq_graph *g)
{
    return g->hp ? g->hp->arch->hf_class : "unknown";
}

const char *glmq_graph_model_type(const glmq_graph *g)
{
    return g->hp ? g->hp->arch->model_type : "unknown";
}

size_t glmq_graph_count(const glmq_graph *g)
{
    return g->count;
}

const glmq_tensor *glmq_graph_tensor(const glmq_graph *g, size_t i)
{
    return i < g->count ? &g->tensors[i] : NULL;
}

void glmq_tensor_files(const glmq_graph *g, const glmq_tensor *t, char *text, size_t cap)
{
    uint32_t seen[GLMQ_PARTS_MAX * GLMQ_SLOTS];
    size_t files = 0, n = 0;

    text[0] = '\0';
    for (size_t i = 0; i < (size_t)t->parts * GLMQ_SLOTS; i++) {
        const glmq_span *s = &t->part[i / GLMQ_SLOTS].span[i % GLMQ_SLOTS];
        size_t k = 0;

        if (s->bytes == 0) continue;
        while (k < files && seen[k] != s->file) k++;
        if (k < files || n >= cap) continue;
        seen[files++] = s->file;
        n += (size_t)snprintf(text + n, cap - n, "%s%s", n ? ", " : "",
                              glmq_source_name(g->source, s->file));
    }
}

static int compare_place(const glmq_tensor *t, int32_t layer, glmq_role role, int32_t expert)
{
    if (t->layer != layer) return t->layer < layer ? -1 : 1;
    if (t->role != role) return t->role < role ? -1 : 1;
    return t->expert < expert ? -1 : t->expert > expert;
}

size_t glmq_graph_find_role(const glmq_graph *g, int32_t layer, glmq_role role, int32_t expert)
{
    size_t low = 0, high = g->count;

    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (compare_place(&g->tensors[mid], layer, role, expert) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low < g->count && compare_place(&g->tensors[low], layer, role, expert) == 0 ? low
                                                                                       : g->count;
}

const glmq_tensor *glmq_graph_find(const glmq_graph *g, const char *name)
{
    uint64_t i;
    return glmq_strmap_get(&g->by_name, name, strlen(name), &i) ? &g->tensors[i] : NULL;
}

size_t glmq_graph_problem_count(const glmq_graph *g)
{
    return g->problem_count;
}

const glmq_problem *glmq_graph_problem(const glmq_graph *g, size_t i)
{
    return i < g->problem_count ? &g->problems[i] : NULL;
}

size_t glmq_graph_dropped_count(const glmq_graph *g)
{
    return g->dropped_count;
}

const glmq_dropped *glmq_graph_dropped(const glmq_graph *g, size_t i)
{
    return i < g->dropped_count ? &g->dropped[i] : NULL;
}

uint64_t glmq_tensor_bytes(const glmq_tensor *t)
{
    uint64_t bytes = 0;

    for (int i = 0; i < t->parts; i++)
        for (int s = 0; s < GLMQ_SLOTS; s++) bytes += t->part[i].span[s].bytes;
    return bytes;
}
