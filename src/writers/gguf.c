/* GGUF: names, stacks of experts, the two halves of kv_b.
 *
 * Arrays stand in the order of the architecture's name table: what belongs to no layer first,
 * then layer by layer.  The experts of a layer lie in one array [experts, rows, cols], one item
 * each.  kv_b, rows [heads * (nope + v), kv_lora], is cut into
 *   attn_k_b [heads, kv_lora, nope]   each head's first rows, transposed
 *   attn_v_b [heads, v, kv_lora]      the others as they are
 * or, where llama.cpp has such a model (deepseek2), stays whole as attn_kv_b. */
#include "writers/gguf_out.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "codecs/fp4.h"
#include "writers/fp4_scales.h"
#include "writers/int_target.h"
#include "writers/writer.h"
#include <string.h>

/* The tensors of one layer (or of none), by role: the graph is sorted by layer, role, expert. */
typedef struct layer_runs {
    int32_t layer;
    uint32_t first[GLMQ_ROLE_COUNT], count[GLMQ_ROLE_COUNT];
} layer_runs;

static glmq_status no_memory(glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
}

/* ---- arrays ---- */

static glmq_status array_name(const glmq_plan *p, const glmq_name_row *row, int32_t layer,
                              char *name, size_t cap, glmq_error *err)
{
    if (glmq_names_print(p->graph->hp->arch, NAMES_GGUF, row->role, row->split, layer, -1, name,
                         cap))
        return GLMQ_OK;
    return glmq_fail(err, GLMQ_E_UNSUPPORTED, "layer %d: no GGUF name for %s", (int)layer,
                     glmq_role_name(row->role));
}

/* Bytes of rows x cols in a type. */
static glmq_status matrix_bytes(const glmq_encoding *enc, uint64_t rows, uint64_t cols,
                                uint64_t *bytes, glmq_error *err)
{
    glmq_layout l;
    *bytes = 0;
    GLMQ_TRY(enc->codec->layout(enc, rows, cols, &l, err));
    *bytes = l.slot[GLMQ_SLOT_CODES].bytes;
    return GLMQ_OK;
}

static glmq_part part_of(const glmq_encoding *enc, uint64_t rows, uint64_t cols, uint32_t array,
                         uint64_t offset, uint64_t bytes)
{
    glmq_part part = { .enc = *enc,
                       .rows = rows,
                       .cols = cols,
                       .cut = { .heads = 1, .stride = rows, .count = rows } };
    part.span[GLMQ_SLOT_CODES] = (glmq_span){ .offset = offset, .bytes = bytes, .array = array };
    return part;
}

/* ---- scales beside NVFP4 ---- */

/* Does the source have a number for the tensor in this slot?  Codes that come without a global
 * scale get one here, too. */
static int has_number(const glmq_plan *p, uint32_t tensor, int slot)
{
    const glmq_tensor *x = &p->graph->tensors[tensor];
    const fp4_global kind = fp4_global_of(&x->part[0].enc);
    if (slot == GLMQ_SLOT_INPUT_SCALE) return p->want[tensor].input_scalar != 0;
    for (int i = 0; i < x->parts; i++)
        if (x->part[i].span[slot].bytes) return kind != FP4_NOT || x->parts > 1;
    return kind == FP4_NO_GLOBAL;
}

/* An array of n numbers, called as the array of codes `name` with another ending, of which part
 * i gets number i; nothing where a tensor has none. */
static glmq_status place_numbers(glmq_plan *p, const char *name, uint32_t first, uint32_t n,
                                 int slot, const char *ending, uint32_t *array, int *placed,
                                 glmq_error *err)
{
    const size_t len = strlen(name), tail = strlen(".weight");
    char text[160];
    glmq_plan_array a = {
        .name = text, .dtype = GLMQ_DT_F32, .rank = 1, .dims = { n }, .bytes = n * sizeof(float)
    };
    uint32_t have = 0;
    *placed = 0;
    for (uint32_t i = 0; i < n; i++) have += has_number(p, first + i, slot) ? 1 : 0;
    if (have == 0 || (have < n && slot == GLMQ_SLOT_INPUT_SCALE)) return GLMQ_OK;
    if (len <= tail || len + strlen(ending) >= sizeof text) return GLMQ_OK;
    memcpy(text, name, len - tail);
    memcpy(text + len - tail, ending, strlen(ending) + 1);
    *placed = 1;
    return glmq_plan_add_array(p, &a, array, err);
}

typedef struct numbers {
    uint32_t array[2];
    int placed[2];
} numbers;

static const struct {
    int slot;
    const char *ending;
} number_slots[2] = { { GLMQ_SLOT_GLOBAL, ".scale" }, { GLMQ_SLOT_INPUT_SCALE, ".input_scale" } };

/* The arrays beside `name`, which holds tensors first … first + n - 1. */
static glmq_status place_beside(glmq_plan *p, const char *name, const glmq_encoding *enc,
                                uint32_t first, uint32_t n, numbers *out, glmq_error *err)
{
    *out = (numbers){ 0 };
    if (glmq_encoding_dtype(enc) != GLMQ_DT_NVFP4) return GLMQ_OK;
    for (int i = 0; i < 2; i++)
        GLMQ_TRY(place_numbers(p, name, first, n, number_slots[i].slot, number_slots[i].ending,
                               &out->array[i], &out->placed[i], err));
    return GLMQ_OK;
}

static void set_beside(const numbers *b, uint64_t i, glmq_part *part)
{
    for (int k = 0; k < 2; k++)
        if (b->placed[k])
            part->span[number_slots[k].slot] = (glmq_span){ .offset = i * sizeof(float),
                                                            .bytes = sizeof(float),
                                                            .array = b->array[k] };
}

/* ---- arrays of their own ---- */

/* A tensor that is an array of its own. */
static glmq_status place_one(glmq_plan *p, const glmq_name_row *row, uint32_t tensor,
                             const glmq_encoding *enc, glmq_error *err)
{
    const glmq_tensor *x = &p->graph->tensors[tensor];
    char name[128];
    glmq_plan_array a = { .name = name, .dtype = glmq_encoding_dtype(enc), .rank = x->rank };
    glmq_part part;
    numbers beside;
    uint32_t array = 0;
    GLMQ_TRY(array_name(p, row, x->layer, name, sizeof name, err));
    GLMQ_TRY(matrix_bytes(enc, x->rows, x->cols, &a.bytes, err));
    a.dims[0] = x->rank == 1 ? x->cols : x->rows;
    a.dims[1] = x->rank == 1 ? 0 : x->cols;
    GLMQ_TRY(glmq_plan_add_array(p, &a, &array, err));
    GLMQ_TRY(place_beside(p, name, enc, tensor, 1, &beside, err));
    part = part_of(enc, x->rows, x->cols, array, 0, a.bytes);
    set_beside(&beside, 0, &part);
    return glmq_plan_add_item(p, tensor, &part, 1, err);
}

/* ---- stacks ---- */

/* One type for all experts: the widest that any of them needs. */
static glmq_status stack_type(glmq_plan *p, uint32_t first, uint32_t n, glmq_encoding *out,
                              glmq_error *err)
{
    glmq_dtype widest = glmq_encoding_dtype(&p->want[first].enc);
    const char *reason;
    for (uint32_t i = 1; i < n; i++)
        widest = glmq_gguf_wider(widest, glmq_encoding_dtype(&p->want[first + i].enc));
    *out = glmq_encoding_of_dtype(widest);
    reason = glmq_plan_intern(p, "all experts of a stack have one type: another one needs it");
    if (!reason) return no_memory(err);
    for (uint32_t i = 0; i < n; i++) {
        glmq_want *w = &p->want[first + i];
        if (glmq_encoding_equal(&w->enc, out)) continue;
        w->enc = *out;
        w->reason = reason;
    }
    return GLMQ_OK;
}

/* Experts 0 … n-1, all there and of one shape. */
static glmq_status check_stack(const glmq_plan *p, uint32_t first, uint32_t n, glmq_error *err)
{
    const glmq_tensor *x = &p->graph->tensors[first];
    const uint64_t expected = glmq_hparams_experts(p->graph->hp, x->layer);
    if (n != expected)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: layer %d has %u of %" PRIu64 " experts, a GGUF stacks all of them",
                         x->name, (int)x->layer, n, expected);
    for (uint32_t i = 0; i < n; i++)
        if (x[i].expert != (int32_t)i || x[i].rows != x->rows || x[i].cols != x->cols ||
            p->want[first + i].dropped)
            return glmq_fail(err, GLMQ_E_FORMAT, "%s: does not stack with %s", x[i].name, x->name);
    return GLMQ_OK;
}

static glmq_status place_stack(glmq_plan *p, const glmq_name_row *row, uint32_t first, uint32_t n,
                               glmq_error *err)
{
    const glmq_tensor *x = &p->graph->tensors[first];
    char name[128];
    glmq_encoding enc;
    glmq_plan_array a = { .name = name, .rank = 3, .dims = { n, x->rows, x->cols } };
    numbers beside;
    uint64_t each = 0;
    uint32_t array = 0;
    GLMQ_TRY(check_stack(p, first, n, err));
    GLMQ_TRY(stack_type(p, first, n, &enc, err));
    GLMQ_TRY(array_name(p, row, x->layer, name, sizeof name, err));
    GLMQ_TRY(matrix_bytes(&enc, x->rows, x->cols, &each, err));
    a.dtype = glmq_encoding_dtype(&enc);
    if (mul_u64(each, n, &a.bytes))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: %u matrices of %" PRIu64 " bytes", name, n, each);
    GLMQ_TRY(glmq_plan_add_array(p, &a, &array, err));
    GLMQ_TRY(place_beside(p, name, &enc, first, n, &beside, err));
    for (uint32_t i = 0; i < n; i++) {
        glmq_part part = part_of(&enc, x->rows, x->cols, array, i * each, each);
        part.enc.scalar = p->want[first + i].enc.scalar;
        set_beside(&beside, i, &part);
        GLMQ_TRY(glmq_plan_add_item(p, first + i, &part, 1, err));
    }
    return GLMQ_OK;
}

/* ---- kv_b ---- */

/* A reason that was found while placing goes into the plan's arena. */
static glmq_status keep_reason(glmq_plan *p, glmq_want *want, glmq_error *err)
{
    if (!want->reason) return GLMQ_OK;
    want->reason = glmq_plan_intern(p, want->reason);
    return want->reason ? GLMQ_OK : no_memory(err);
}

/* One half as an array [heads, rows, cols]. */
static glmq_status place_half(glmq_plan *p, glmq_split split, const glmq_tensor *x,
                              const glmq_encoding *enc, const glmq_cut *cut, glmq_part *part,
                              glmq_error *err)
{
    const uint32_t tensor = (uint32_t)(x - p->graph->tensors);
    numbers beside;
    const glmq_name_row row = { .role = x->role, .split = split };
    const uint64_t each = cut->transposed ? x->cols : cut->count;
    const uint64_t cols = cut->transposed ? cut->count : x->cols;
    char name[128];
    glmq_plan_array a = { .name = name,
                          .dtype = glmq_encoding_dtype(enc),
                          .rank = 3,
                          .dims = { cut->heads, each, cols } };
    uint32_t array = 0;
    uint64_t rows;
    if (mul_u64(cut->heads, each, &rows))
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: rows overflow 64 bits", x->name);
    GLMQ_TRY(array_name(p, &row, x->layer, name, sizeof name, err));
    GLMQ_TRY(matrix_bytes(enc, rows, cols, &a.bytes, err));
    GLMQ_TRY(glmq_plan_add_array(p, &a, &array, err));
    GLMQ_TRY(place_beside(p, name, enc, tensor, 1, &beside, err));
    *part = part_of(enc, rows, cols, array, 0, a.bytes);
    part->cut = *cut;
    set_beside(&beside, 0, part);
    return GLMQ_OK;
}

static glmq_status place_kv_b(glmq_plan *p, uint32_t tensor, glmq_error *err)
{
    const glmq_hparams *h = p->graph->hp;
    const glmq_tensor *x = &p->graph->tensors[tensor];
    const uint64_t stride = h->qk_nope + h->v_head;
    const glmq_cut k = { h->heads, stride, 0, h->qk_nope, 1 };
    const glmq_cut v = { h->heads, stride, h->qk_nope, h->v_head, 0 };
    glmq_want *want = &p->want[tensor];
    glmq_want k_want = *want;
    glmq_part parts[GLMQ_PARTS_MAX];
    if (k.heads * stride != x->rows)
        return glmq_fail(err, GLMQ_E_FORMAT,
                         "%s: %" PRIu64 " rows, expected %" PRIu64 " heads of %" PRIu64, x->name,
                         x->rows, k.heads, stride);
    GLMQ_TRY(glmq_gguf_choose_half(&p->target, p->graph, x, GGUF_K_B, &k_want, err));
    GLMQ_TRY(place_half(p, SPLIT_K_B, x, &k_want.enc, &k, &parts[0], err));
    GLMQ_TRY(place_half(p, SPLIT_V_B, x, &want->enc, &v, &parts[1], err));
    if (!want->reason) want->reason = k_want.reason;
    GLMQ_TRY(keep_reason(p, want, err));
    return glmq_plan_add_item(p, tensor, parts, GLMQ_PARTS_MAX, err);
}

static glmq_status place_fused_kv_b(glmq_plan *p, const glmq_name_row *row, uint32_t tensor,
                                    glmq_error *err)
{
    glmq_want *want = &p->want[tensor];
    const glmq_tensor *x = &p->graph->tensors[tensor];
    GLMQ_TRY(glmq_gguf_choose_half(&p->target, p->graph, x, GGUF_WHOLE, want, err));
    GLMQ_TRY(keep_reason(p, want, err));
    return place_one(p, row, tensor, &want->enc, err);
}

/* ---- the plan ---- */

/* What the row of the name table says about this layer's tensors. */
static glmq_status place_row(glmq_plan *p, const glmq_name_row *row, const layer_runs *runs,
                             glmq_error *err)
{
    const uint32_t first = runs->first[row->role], n = runs->count[row->role];
    const int fused = p->options.mla == GLMQ_MLA_FUSED;
    if (n == 0 || p->want[first].dropped) return GLMQ_OK;
    if (row->split == SPLIT_EXPERTS) return place_stack(p, row, first, n, err);
    if (row->split == SPLIT_K_B) return fused ? GLMQ_OK : place_kv_b(p, first, err);
    if (row->split == SPLIT_V_B) return GLMQ_OK; /* with K_B */
    if (row->role == GLMQ_ROLE_ATTN_KV_B)
        return fused ? place_fused_kv_b(p, row, first, err) : GLMQ_OK;
    return place_one(p, row, first, &p->want[first].enc, err);
}

static glmq_status place_layer(glmq_plan *p, const layer_runs *runs, glmq_error *err)
{
    for (const glmq_name_row *row = p->graph->hp->arch->names; row->pattern; row++)
        if (row->eco == NAMES_GGUF && !row->alias) GLMQ_TRY(place_row(p, row, runs, err));
    return GLMQ_OK;
}

static glmq_status place_all(glmq_plan *p, glmq_error *err)
{
    const glmq_graph *g = p->graph;
    glmq_status st = GLMQ_OK;
    layer_runs *runs = glmq_alloc(sizeof *runs);
    if (!runs) return no_memory(err);
    for (size_t i = 0, end; i < g->count && !st; i = end) {
        memset(runs, 0, sizeof *runs);
        runs->layer = g->tensors[i].layer;
        for (end = i; end < g->count && g->tensors[end].layer == runs->layer; end++) {
            const glmq_role role = g->tensors[end].role;
            if (runs->count[role]++ == 0) runs->first[role] = (uint32_t)end;
        }
        st = place_layer(p, runs, err);
    }
    glmq_free(runs);
    return st;
}

static int keeps_mtp(const glmq_plan *p)
{
    for (size_t i = 0; i < p->graph->count; i++)
        if (p->graph->tensors[i].mtp && !p->want[i].dropped) return 1;
    return 0;
}

/* The file's name: that of DST, with .gguf behind it where DST is a folder. */
static const char *file_name(glmq_plan *p)
{
    const char *slash = strrchr(p->dst, '/');
    const char *base = slash ? slash + 1 : p->dst;
    const size_t len = strlen(base), ending = len > 5 && !strcmp(base + len - 5, ".gguf") ? 5 : 0;
    if (len == 0 || !strcmp(base, ".") || !strcmp(base, "..")) return "model.gguf";
    return glmq_arena_printf(&p->arena, "%.*s.gguf", (int)(len - ending), base);
}

static glmq_status fit(const glmq_plan *p, glmq_error *err)
{
    const glmq_hparams *h = p->graph->hp;
    if (!h)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "a GGUF needs the model's config.json, the source has none");
    if (p->options.mla == GLMQ_MLA_FUSED && h->arch->dsa)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "--mla=fused: llama.cpp's %s knows only attn_k_b and attn_v_b",
                         h->arch->gguf);
    return GLMQ_OK;
}

static glmq_status plan(glmq_plan *p, glmq_error *err)
{
    const int keep =
        (keeps_mtp(p) ? GLMQ_GGUF_KEEP_MTP : 0) |
        (p->options.mla == GLMQ_MLA_FUSED && p->graph->hp->arch->mla ? GLMQ_GGUF_FUSED_KV_B : 0);
    const char *name = p->dst_is_file ? NULL : file_name(p);
    glmq_gguf_kv kv = { 0 };
    glmq_fp4_scales scales;
    glmq_status st;
    if (p->dst_is_file) {
        const char *slash = strrchr(p->dst, '/');
        name = slash ? slash + 1 : p->dst; /* as it was given, in whatever case */
    }
    if (!name) return no_memory(err);
    st = glmq_fp4_plan_scales(p, FP4_FOR_GGUF, &scales, err);
    if (!st) st = place_all(p, err);
    if (!st) st = glmq_gguf_metadata(p, keep, &kv, err);
    if (!st) st = glmq_fp4_put_kv(p, &scales, &kv, err);
    if (!st) st = glmq_gguf_layout(p, name, p->target.split_size, &kv, err);
    glmq_text_free(&kv.data);
    return st;
}

const glmq_writer glmq_writer_gguf = {
    .name = "gguf",
    .about = "GGUF for llama.cpp",
    .options = "auto, or a file type or type (F32 F16 BF16 Q8_0 Q5_1 Q5_0 Q4_1 Q4_0 MXFP4 NVFP4); "
               "split=SIZE",
    .target = glmq_gguf_target,
    .choose = glmq_gguf_choose,
    .fit = fit,
    .plan = plan,
};
