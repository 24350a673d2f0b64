/* GGUF -> graph: stacked experts are cut apart, fused rows split, and kv_b put together
 * from its two halves (k_b lies transposed, head by head).  Beside an NVFP4 array X.weight lies
 * its scale, X.scale or X.weight.scale: one number, or one for each expert of a stack; and
 * perhaps X.input_scale likewise. */
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include "reader.h"
#include <stdio.h>
#include <string.h>

typedef struct {
    glmq_graph *g;
    const glmq_catalog *cat;
    const glmq_array *a;
    uint32_t number;
    glmq_name_match m;
    glmq_part all; /* the whole array as a matrix: the last dimension are its columns */
    const glmq_array *global, *input; /* beside it; NULL: not there                    */
} job;

/* ---- the scales beside an array ---- */

static const char *const beside[] = { ".scale", ".weight.scale" };
static const char *const beside_input[] = { ".input_scale", ".weight.input_scale" };

/* The array called `base`, without its ".weight", with an ending. */
static const glmq_array *find_beside(const job *j, const char *const ending[2])
{
    const size_t len = strlen(j->a->name), tail = strlen(".weight");
    char name[128];

    if (len <= tail || strcmp(j->a->name + len - tail, ".weight") != 0) return NULL;
    for (int i = 0; i < 2; i++) {
        const int n =
            snprintf(name, sizeof name, "%.*s%s", (int)(len - tail), j->a->name, ending[i]);
        const glmq_array *a =
            n > 0 && (size_t)n < sizeof name ? glmq_catalog_find(j->cat, name, (size_t)n) : NULL;
        if (a) return a;
    }
    return NULL;
}

/* One number, or one for each matrix of a stack. */
static glmq_status check_beside(const job *j, const glmq_array *s, glmq_error *err)
{
    const uint64_t stack = j->a->rank == 3 ? j->a->dims[0] : 1;

    if (!s) return GLMQ_OK;
    if (s->dtype != GLMQ_DT_F32)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: dtype %s, expected F32", s->name,
                         glmq_dtype_name((glmq_dtype)s->dtype));
    if (s->bytes == sizeof(float) || s->bytes / sizeof(float) == stack) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT, "%s: %" PRIu64 " bytes, expected one F32 or %" PRIu64,
                     s->name, s->bytes, stack);
}

static glmq_status find_scales(job *j, glmq_error *err)
{
    j->global = j->input = NULL;
    if (j->a->dtype != GLMQ_DT_NVFP4) return GLMQ_OK;
    j->global = find_beside(j, beside);
    j->input = find_beside(j, beside_input);
    GLMQ_TRY(check_beside(j, j->global, err));
    return check_beside(j, j->input, err);
}

/* The number for matrix `i` of the array. */
static void attach(const job *j, const glmq_array *s, uint64_t i, int slot, glmq_part *p)
{
    const uint64_t at = s && s->bytes > sizeof(float) ? i * sizeof(float) : 0;

    if (!s) return;
    p->span[slot] =
        (glmq_span){ s->offset + at, sizeof(float), s->file, (uint32_t)(s - j->cat->arrays) };
}

static void attach_scales(const job *j, uint64_t i, glmq_part *p)
{
    attach(j, j->global, i, GLMQ_SLOT_GLOBAL, p);
    attach(j, j->input, i, GLMQ_SLOT_INPUT_SCALE, p);
}

/* Is this array the scale of an NVFP4 array?  Then it comes with that. */
static int is_beside(const job *j)
{
    static const char *const endings[] = { ".weight.input_scale", ".weight.scale", ".input_scale",
                                           ".scale" };
    const size_t len = strlen(j->a->name);
    char name[128];

    for (size_t i = 0; i < GLMQ_COUNT(endings); i++) {
        const size_t tail = strlen(endings[i]);
        const glmq_array *a;
        if (len <= tail || strcmp(j->a->name + len - tail, endings[i]) != 0) continue;
        const int n = snprintf(name, sizeof name, "%.*s.weight", (int)(len - tail), j->a->name);
        a = n > 0 && (size_t)n < sizeof name ? glmq_catalog_find(j->cat, name, (size_t)n) : NULL;
        return a && a->dtype == GLMQ_DT_NVFP4;
    }
    return 0;
}

static size_t number_of(const job *j, const glmq_array *a)
{
    return (size_t)(a - j->cat->arrays);
}

/* Leaves the array out, and what lies beside it. */
static glmq_status leave_out(const job *j, glmq_severity severity, const char *why, glmq_error *err)
{
    glmq_graph_drop(j->g, j->number, why);
    if (j->global) glmq_graph_drop(j->g, number_of(j, j->global), why);
    if (j->input) glmq_graph_drop(j->g, number_of(j, j->input), why);
    if (glmq_graph_note(j->g, severity, "array-dropped", j->a->name, NULL, "%s", why))
        return glmq_fail(err, GLMQ_E_NOMEM, "problems");
    return GLMQ_OK;
}

/* ---- arrays ---- */

/* The array as a matrix: all but the last dimension counted together as rows. */
static glmq_status whole_part(job *j, glmq_error *err)
{
    const glmq_array *a = j->a;
    uint64_t rows = 1;

    memset(&j->all, 0, sizeof j->all);
    j->all.enc = glmq_encoding_of_dtype((glmq_dtype)a->dtype);
    if (!j->all.enc.codec)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: type %s is not read by this version",
                         a->name, glmq_dtype_name((glmq_dtype)a->dtype));
    for (int i = 0; i + 1 < a->rank; i++)
        if (mul_u64(rows, a->dims[i], &rows))
            return glmq_fail(err, GLMQ_E_LIMIT, "%s: too many rows", a->name);
    j->all.rows = rows;
    j->all.cols = a->rank ? a->dims[a->rank - 1] : 1;
    if (rows == 0 || j->all.cols == 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "%s: it holds no elements", a->name);
    j->all.span[GLMQ_SLOT_CODES] = (glmq_span){ a->offset, a->bytes, a->file, j->number };
    return GLMQ_OK;
}

static glmq_status expect(const job *j, uint64_t rows, uint64_t cols, glmq_error *err)
{
    if (j->all.rows == rows && j->all.cols == cols) return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_FORMAT,
                     "%s: %" PRIu64 " x %" PRIu64 ", expected %" PRIu64 " x %" PRIu64, j->a->name,
                     j->all.rows, j->all.cols, rows, cols);
}

static glmq_status add_rows(job *j, glmq_role role, int64_t expert, uint64_t row, uint64_t rows,
                            uint8_t rank, glmq_error *err)
{
    glmq_part p = j->all;

    GLMQ_TRY(glmq_within(err, glmq_part_slice(&p, row, rows, err), "%s", j->a->name));
    attach_scales(j, (uint64_t)expert, &p);
    return glmq_graph_add(j->g, role, j->m.layer, (int32_t)expert, rank, &p, err);
}

/* ---- how one array becomes tensors ---- */

static glmq_status add_one(job *j, glmq_error *err)
{
    const glmq_role role = j->m.row->role;
    uint64_t rows, cols;
    uint8_t rank = j->all.rows == 1 ? 1 : 2;

    /* a matrix of one row has lost a dimension on its way */
    if (glmq_role_shape(j->g->hp, role, &rank, &rows, &cols) && rank == 1 && j->all.rows != 1)
        return expect(j, rows, cols, err);
    attach_scales(j, 0, &j->all);
    return glmq_graph_add(j->g, role, j->m.layer, j->m.expert, rank, &j->all, err);
}

/* Stacked experts; ffn_gate_up_exps has 2I rows per expert, gate first. */
static glmq_status add_experts(job *j, glmq_error *err)
{
    const int both = j->m.row->split == SPLIT_EXPERTS_GATE_UP;
    const uint64_t experts = glmq_hparams_experts(j->g->hp, j->m.layer);
    const uint64_t stored = j->a->rank == 3 ? j->a->dims[0] : 1;
    const uint64_t per = j->all.rows / stored;

    if (stored != experts || (both && per % 2))
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: %" PRIu64 " experts of %" PRIu64 " rows, expected %" PRIu64
                         " experts",
                         j->a->name, stored, per, experts);
    for (uint64_t e = 0; e < stored; e++) {
        const uint64_t rows = both ? per / 2 : per;

        GLMQ_TRY(add_rows(j, j->m.row->role, (int64_t)e, e * per, rows, 2, err));
        if (both)
            GLMQ_TRY(add_rows(j, GLMQ_ROLE_EXPERTS_UP, (int64_t)e, e * per + rows, rows, 2, err));
    }
    return GLMQ_OK;
}

/* q, k and v rows one after the other; of biases, elements. */
static glmq_status add_qkv(job *j, glmq_error *err)
{
    static const glmq_role weights[] = { GLMQ_ROLE_ATTN_Q, GLMQ_ROLE_ATTN_K, GLMQ_ROLE_ATTN_V };
    static const glmq_role biases[] = { GLMQ_ROLE_ATTN_Q_BIAS, GLMQ_ROLE_ATTN_K_BIAS,
                                        GLMQ_ROLE_ATTN_V_BIAS };
    const glmq_hparams *h = j->g->hp;
    const int bias = j->m.row->role == GLMQ_ROLE_ATTN_Q_BIAS;
    const uint64_t parts[] = { h->heads * h->head_dim, h->kv_heads * h->head_dim,
                               h->kv_heads * h->head_dim };
    const uint64_t all = parts[0] + parts[1] + parts[2];
    uint64_t row = 0;

    GLMQ_TRY(bias ? expect(j, 1, all, err) : expect(j, all, h->hidden, err));
    if (bias) { /* one element a row, so that rows can be cut */
        j->all.rows = all;
        j->all.cols = 1;
    }
    for (size_t i = 0; i < GLMQ_COUNT(parts); i++) {
        glmq_part p = j->all;

        GLMQ_TRY(glmq_within(err, glmq_part_slice(&p, row, parts[i], err), "%s", j->a->name));
        attach_scales(j, 0, &p);
        row += parts[i];
        if (bias) {
            p.rows = 1;
            p.cols = parts[i];
            p.cut = (glmq_cut){ 1, 1, 0, 1, 0 };
        }
        GLMQ_TRY(glmq_graph_add(j->g, bias ? biases[i] : weights[i], j->m.layer, -1, bias ? 1 : 2,
                                &p, err));
    }
    return GLMQ_OK;
}

/* Some files carry kv_b whole and in halves: the whole one is taken. */
static int has_whole_kv_b(const job *j)
{
    char name[64];
    const size_t n = glmq_names_print(j->g->hp->arch, NAMES_GGUF, GLMQ_ROLE_ATTN_KV_B, SPLIT_NONE,
                                      j->m.layer, -1, name, sizeof name);
    return n && glmq_catalog_find(j->cat, name, n);
}

static glmq_status add_kv_half(job *j, glmq_error *err)
{
    static const char why[] = "the same weights are stored whole as attn_kv_b";
    const glmq_hparams *h = j->g->hp;
    const int k = j->m.row->split == SPLIT_K_B;
    const uint64_t count = k ? h->qk_nope : h->v_head;

    if (has_whole_kv_b(j)) return leave_out(j, GLMQ_WARNING, why, err);
    GLMQ_TRY(k ? expect(j, h->heads * h->kv_lora, h->qk_nope, err)
               : expect(j, h->heads * h->v_head, h->kv_lora, err));
    j->all.cut = (glmq_cut){ .heads = h->heads,
                             .stride = h->qk_nope + h->v_head,
                             .first = k ? 0 : h->qk_nope,
                             .count = count,
                             .transposed = k };
    attach_scales(j, 0, &j->all);
    return glmq_graph_add(j->g, GLMQ_ROLE_ATTN_KV_B, j->m.layer, -1, 2, &j->all, err);
}

static glmq_status add_known(job *j, glmq_error *err)
{
    switch (j->m.row->split) {
    case SPLIT_NONE: return add_one(j, err);
    case SPLIT_EXPERTS:
    case SPLIT_EXPERTS_GATE_UP: return add_experts(j, err);
    case SPLIT_QKV: return add_qkv(j, err);
    case SPLIT_K_B:
    case SPLIT_V_B: return add_kv_half(j, err);
    }
    return GLMQ_OK;
}

/* ---- arrays that are no tensor of the model ---- */

static int ends_with(const char *s, const char *tail)
{
    const size_t n = strlen(s), m = strlen(tail);
    return n >= m && strcmp(s + n - m, tail) == 0;
}

static glmq_status add_unknown(job *j, glmq_error *err)
{
    static const char *const scales[] = { ".scale", ".input_scale" };

    for (size_t i = 0; i < GLMQ_COUNT(scales); i++)
        if (ends_with(j->a->name, scales[i]))
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: a scale beside no NVFP4 tensor",
                             j->a->name);
    if (j->a->rank > 2)
        return leave_out(j, GLMQ_WARNING, "an unknown array of more than two dimensions", err);
    attach_scales(j, 0, &j->all);
    return glmq_graph_add_other(j->g, j->a->name, j->a->rank == 2 ? 2 : 1, &j->all, err);
}

static glmq_status add_array(job *j, glmq_error *err)
{
    const size_t len = strlen(j->a->name);
    const char *why = glmq_names_useless(j->a->name, len);

    if (is_beside(j)) return GLMQ_OK; /* comes with the array it belongs to */
    GLMQ_TRY(find_scales(j, err));
    if (why) return leave_out(j, GLMQ_NOTE, why, err);
    GLMQ_TRY(whole_part(j, err));
    if (glmq_names_match(j->g->names, NAMES_GGUF, j->a->name, len, &j->m)) return add_known(j, err);
    return add_unknown(j, err);
}

/* ---- the reader ---- */

static int gguf_probe(const glmq_catalog *cat)
{
    (void)cat;
    return 100;
}

static glmq_status gguf_open(glmq_graph *g, const glmq_catalog *cat, glmq_error *err)
{
    job j = { .g = g, .cat = cat };

    for (size_t i = 0; i < cat->count; i++) {
        j.a = &cat->arrays[i];
        j.number = (uint32_t)i;
        GLMQ_TRY(add_array(&j, err));
    }
    return GLMQ_OK;
}

const glmq_reader glmq_reader_gguf = {
    .name = "gguf",
    .about = "GGUF, one file or split",
    .container = CONTAINER_GGUF,
    .probe = gguf_probe,
    .open = gguf_open,
};
