/* AQLM checkpoints: <module>.codes .codebooks .scales.
 *
 * The arrays say which modules are quantized and how; the configuration must agree.  Its list
 * of what is not quantized names parameters, norms and tables too, and decides nothing. */
#include "codecs/aqlm.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "reader.h"
#include "tally.h"
#include <stdio.h>
#include <string.h>

static const glmq_slot_name slots[] = {
    { "codes", GLMQ_SLOT_CODES, 1 },
    { "codebooks", GLMQ_SLOT_BOOK, 1 },
    { "scales", GLMQ_SLOT_SCALES, 1 },
};

/* What the configuration says, or transformers takes when it says nothing. */
typedef struct {
    const char *key;
    uint64_t usual;
    uint64_t value;
    int stated;
} parameter;

enum { IN_GROUP, OUT_GROUP, CODEBOOKS, BITS, PARAMETERS };

typedef struct shape_list {
    struct shape_list *next;
    aqlm_shape shape;
} shape_list;

typedef struct {
    glmq_graph *g;
    const glmq_catalog *cat;
    parameter p[PARAMETERS];
    glmq_strmap plain;  /* linear_weights_not_to_quantize */
    shape_list *shapes; /* one for all modules of the same geometry */
    glmq_tally unwanted, by_place;
} job;

/* ---- the configuration ---- */

static glmq_status read_plain(job *j, glmq_error *err)
{
    static const char key[] = "linear_weights_not_to_quantize";
    const cJSON *list = cJSON_GetObjectItemCaseSensitive(j->cat->quant, key), *entry;

    if (list && !cJSON_IsNull(list) && !cJSON_IsArray(list))
        return glmq_fail(err, GLMQ_E_FORMAT, "%s is no list", key);
    cJSON_ArrayForEach(entry, list)
    {
        const char *name = cJSON_GetStringValue(entry);
        if (!name) return glmq_fail(err, GLMQ_E_FORMAT, "%s has an entry that is no string", key);
        if (glmq_strmap_add(&j->plain, name, strlen(name), 1, NULL) < 0)
            return glmq_fail(err, GLMQ_E_NOMEM, "%s", key);
    }
    return GLMQ_OK;
}

static glmq_status read_config(job *j, glmq_error *err)
{
    const cJSON *q = j->cat->quant;

    if (!q) {
        if (glmq_graph_note(j->g, GLMQ_WARNING, "config-missing", NULL, NULL,
                            "no quantization config: parameters follow from the arrays"))
            return glmq_fail(err, GLMQ_E_NOMEM, "problems");
        return GLMQ_OK;
    }
    for (int i = 0; i < PARAMETERS; i++) {
        parameter *p = &j->p[i];
        const cJSON *node = cJSON_GetObjectItemCaseSensitive(q, p->key);

        p->value = p->usual;
        p->stated = node && !cJSON_IsNull(node);
        if (p->stated && (!glmq_json_u64(node, &p->value) || p->value == 0))
            return glmq_fail(err, GLMQ_E_FORMAT, "%s is no number above 0", p->key);
    }
    return read_plain(j, err);
}

/* What is stored against what is configured; 0 when there is no configuration. */
static glmq_status agree(const job *j, int which, const glmq_array *a, uint64_t stored,
                         glmq_error *err)
{
    const parameter *p = &j->p[which];

    if (!p->value || p->value == stored) return GLMQ_OK;
    return glmq_fail(
        err, GLMQ_E_FORMAT, "%s is stored for a %s of %" PRIu64 ", the config %s %" PRIu64, a->name,
        p->key, stored, p->stated ? "says" : "does not state it, which means", p->value);
}

/* ---- modules ---- */

static int log2_of(uint64_t n)
{
    int bits = 0;
    while (bits < 63 && UINT64_C(1) << bits < n) bits++;
    return UINT64_C(1) << bits == n ? bits : -1;
}

/* [M, 2^b, out, in] */
static glmq_status measure_books(const job *j, const glmq_array *books, aqlm_shape *s,
                                 glmq_error *err)
{
    const int bits = books->rank == 4 ? log2_of(books->dims[1]) : -1;
    char dims[96];

    if (bits < 1 || bits > AQLM_BITS_MAX || !books->dims[0] || books->dims[0] > AQLM_FLOATS_MAX ||
        !books->dims[2] || books->dims[2] > UINT32_MAX || !books->dims[3] ||
        books->dims[3] > UINT32_MAX)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s [%s]: expected [codebooks, 2^bits, rows, columns]",
                         books->name, glmq_array_shape(books, dims));
    *s = (aqlm_shape){ .books = (uint32_t)books->dims[0],
                       .bits = (uint8_t)bits,
                       .out = (uint32_t)books->dims[2],
                       .in = (uint32_t)books->dims[3],
                       .book_dtype = books->dtype };
    GLMQ_TRY(agree(j, CODEBOOKS, books, s->books, err));
    GLMQ_TRY(agree(j, BITS, books, s->bits, err));
    GLMQ_TRY(agree(j, OUT_GROUP, books, s->out, err));
    return agree(j, IN_GROUP, books, s->in, err);
}

/* [rows/out, columns/in, M]; the CPU kernels of the package turn the first two round. */
static glmq_status measure_codes(const job *j, const glmq_module *m, aqlm_shape *s, uint64_t *rows,
                                 uint64_t *cols, glmq_error *err)
{
    const glmq_array *codes = m->slot[GLMQ_SLOT_CODES];
    const int known = glmq_hf_module_shape(j->g, m, rows, cols);
    char dims[96];
    uint64_t down, across;

    s->code_dtype = codes->dtype;
    if (codes->rank != 3)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s [%s]: expected three dimensions", codes->name,
                         glmq_array_shape(codes, dims));
    if (!known && (mul_u64(codes->dims[0], s->out, rows) || mul_u64(codes->dims[1], s->in, cols)))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s [%s]", codes->name, glmq_array_shape(codes, dims));
    down = *rows / s->out;
    across = *cols / s->in;
    if (*rows % s->out == 0 && *cols % s->in == 0 && codes->dims[2] == s->books) {
        if (codes->dims[0] == down && codes->dims[1] == across) return GLMQ_OK;
        if (codes->dims[0] == across && codes->dims[1] == down)
            return glmq_fail(err, GLMQ_E_FORMAT,
                             "%s [%s]: expected [%" PRIu64 ", %" PRIu64
                             ", %u]: it was saved after a forward pass on a CPU, which turns codes "
                             "round; its first two dimensions must be exchanged",
                             codes->name, glmq_array_shape(codes, dims), down, across, s->books);
    }
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s [%s]: expected [%" PRIu64 " / %u, %" PRIu64 " / %u, %u]", codes->name,
                     glmq_array_shape(codes, dims), *rows, s->out, *cols, s->in, s->books);
}

/* One for each group of rows, or (never exported, but possible) one for each place. */
static glmq_status measure_scales(job *j, const glmq_module *m, aqlm_shape *s, uint64_t rows,
                                  uint64_t cols, glmq_error *err)
{
    const glmq_array *a = m->slot[GLMQ_SLOT_SCALES];
    const uint64_t down = rows / s->out, across = cols / s->in;
    uint64_t rest = 1;
    char dims[96];

    for (int i = 2; i < a->rank; i++) rest |= a->dims[i];
    if (a->rank >= 1 && a->dims[0] == down && rest == 1) {
        const uint64_t second = a->rank > 1 ? a->dims[1] : 1;
        s->by_place = second != 1;
        if (second == across && s->by_place) glmq_tally_add(&j->by_place, m->name, m->name_len);
        if (second == 1 || second == across) return GLMQ_OK;
    }
    return glmq_fail(err, GLMQ_E_FORMAT, "%s [%s]: expected [%" PRIu64 ", 1, 1, 1]", a->name,
                     glmq_array_shape(a, dims), down);
}

static glmq_status keep_shape(job *j, const aqlm_shape *s, const aqlm_shape **out, glmq_error *err)
{
    shape_list *l = j->shapes;

    while (l && !glmq_codec_aqlm.same_tables(&l->shape, s)) l = l->next;
    if (!l) {
        l = glmq_arena_alloc(&j->g->arena, sizeof *l);
        if (!l) return glmq_fail(err, GLMQ_E_NOMEM, "geometries");
        *l = (shape_list){ j->shapes, *s };
        j->shapes = l;
    }
    *out = &l->shape;
    return GLMQ_OK;
}

/* Writers list parameters ("model.norm.weight"), or modules, or both. */
static int is_listed(const job *j, const glmq_module *m)
{
    char name[512];
    uint64_t ignored;
    const int n = snprintf(name, sizeof name, "%.*s.weight", (int)m->name_len, m->name);

    return n > 0 && (size_t)n < sizeof name &&
           (glmq_strmap_get(&j->plain, name, (size_t)n, &ignored) ||
            glmq_strmap_get(&j->plain, name, m->name_len, &ignored));
}

static glmq_status add_module(void *user, const glmq_module *m, glmq_error *err)
{
    static const char training[] = ".quantized_weight";
    const size_t tail = sizeof training - 1;
    job *j = user;
    glmq_encoding e = { .codec = &glmq_codec_aqlm, .group_rows = 1 };
    const aqlm_shape *kept = NULL;
    aqlm_shape s;
    uint64_t rows, cols;

    if (!m->quantized) return glmq_hf_add_plain(j->g, j->cat, m->plain, err);
    if (m->name_len > tail && memcmp(m->name + m->name_len - tail, training, tail) == 0)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "%.*s: the state of AQLM's training, not an exported checkpoint",
                         (int)m->name_len, m->name);
    GLMQ_TRY(measure_books(j, m->slot[GLMQ_SLOT_BOOK], &s, err));
    GLMQ_TRY(measure_codes(j, m, &s, &rows, &cols, err));
    GLMQ_TRY(measure_scales(j, m, &s, rows, cols, err));
    GLMQ_TRY(keep_shape(j, &s, &kept, err));
    e.bits = s.bits;
    e.scale_dtype = m->slot[GLMQ_SLOT_SCALES]->dtype;
    e.tables = kept;
    if (is_listed(j, m)) glmq_tally_add(&j->unwanted, m->name, m->name_len);
    return glmq_hf_add_module(j->g, j->cat, m, &e, rows, cols, err);
}

/* ---- the reader ---- */

static int aqlm_probe(const glmq_catalog *cat)
{
    const char *method = glmq_json_string(cat->quant, "quant_method");

    if (method && strcmp(method, "aqlm") == 0) return 98;
    return glmq_catalog_has_suffix(cat, "codebooks", GLMQ_DT_NONE) &&
                   glmq_catalog_has_suffix(cat, "codes", GLMQ_DT_NONE)
               ? 96
               : 0;
}

static glmq_status note_all(const job *j, glmq_error *err)
{
    GLMQ_TRY(glmq_tally_note(&j->unwanted, j->g, GLMQ_WARNING, "config-modules", j->cat->quant_file,
                             err, "are quantized, which the config denies"));
    return glmq_tally_note(&j->by_place, j->g, GLMQ_WARNING, "scale-per-place", NULL, err,
                           "have a scale for each group of inputs, which no exporter writes; each "
                           "is used for its group");
}

static glmq_status aqlm_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    job j = { .g = g,
              .cat = cat,
              .p = { [IN_GROUP] = { .key = "in_group_size", .usual = 8 },
                     [OUT_GROUP] = { .key = "out_group_size", .usual = 1 },
                     [CODEBOOKS] = { .key = "num_codebooks", .usual = 1 },
                     [BITS] = { .key = "nbits_per_codebook", .usual = 16 } } };
    glmq_status st;

    st = glmq_within(err, read_config(&j, err), "%s",
                     cat->quant_file ? cat->quant_file : "config.json");
    if (!st) st = glmq_modules_each(cat, slots, GLMQ_COUNT(slots), add_module, &j, err);
    if (!st) st = note_all(&j, err);
    glmq_strmap_free(&j.plain);
    return st;
}

const glmq_reader glmq_reader_aqlm = {
    .name = "aqlm",
    .about = "AQLM safetensors: additive codebooks of each matrix",
    .probe = aqlm_probe,
    .open = aqlm_open,
};
