/* Hugging Face folders: the arrays of every tensor, and the side files. */
#include "writers/hf.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include "codecs/fp4.h"
#include "codecs/fp8.h"
#include "models/roles.h"
#include "readers/catalog.h"
#include <stdio.h>
#include <string.h>

/* How each codec's slots are called behind the module's name. */
static const struct slots {
    const char *codec;
    const char *suffix[GLMQ_SLOTS];
    unsigned variants; /* a bit for each; 0: all */
} slots[] = {
    { "gptq",
      { [GLMQ_SLOT_CODES] = "qweight",
        [GLMQ_SLOT_SCALES] = "scales",
        [GLMQ_SLOT_ZEROS] = "qzeros",
        [GLMQ_SLOT_PERM] = "g_idx" },
      0 },
    { "awq",
      { [GLMQ_SLOT_CODES] = "qweight",
        [GLMQ_SLOT_SCALES] = "scales",
        [GLMQ_SLOT_ZEROS] = "qzeros" },
      0 },
    { "ctpack",
      { [GLMQ_SLOT_CODES] = "weight_packed",
        [GLMQ_SLOT_SCALES] = "weight_scale",
        [GLMQ_SLOT_ZEROS] = "weight_zero_point",
        [GLMQ_SLOT_PERM] = "weight_g_idx",
        [GLMQ_SLOT_SHAPE] = "weight_shape",
        [GLMQ_SLOT_INPUT_SCALE] = "input_scale" },
      0 },
    { "ctint",
      { [GLMQ_SLOT_CODES] = "weight",
        [GLMQ_SLOT_SCALES] = "weight_scale",
        [GLMQ_SLOT_ZEROS] = "weight_zero_point",
        [GLMQ_SLOT_PERM] = "weight_g_idx",
        [GLMQ_SLOT_INPUT_SCALE] = "input_scale" },
      0 },
    { "vq", { [GLMQ_SLOT_CODES] = "qweight", [GLMQ_SLOT_SCALES] = "scales" }, 0 },
    { "aqlm",
      { [GLMQ_SLOT_CODES] = "codes",
        [GLMQ_SLOT_SCALES] = "scales",
        [GLMQ_SLOT_BOOK] = "codebooks" },
      0 },
    { "tq3",
      { [GLMQ_SLOT_CODES] = "weight.tq_packed", [GLMQ_SLOT_SCALES] = "weight.tq_norms" },
      0 },
    { "fp8",
      { [GLMQ_SLOT_CODES] = "weight",
        [GLMQ_SLOT_SCALES] = "weight_scale",
        [GLMQ_SLOT_INPUT_SCALE] = "input_scale" },
      1u << FP8_SCALE },
    { "fp8",
      { [GLMQ_SLOT_CODES] = "weight",
        [GLMQ_SLOT_SCALES] = "weight_scale_inv",
        [GLMQ_SLOT_INPUT_SCALE] = "input_scale" },
      1u << FP8_SCALE_INV },
    { "fp4",
      { [GLMQ_SLOT_CODES] = "weight",
        [GLMQ_SLOT_SCALES] = "weight_scale",
        [GLMQ_SLOT_GLOBAL] = "weight_scale_2",
        [GLMQ_SLOT_INPUT_SCALE] = "input_scale" },
      1u << FP4_MODELOPT },
    { "fp4",
      { [GLMQ_SLOT_CODES] = "weight_packed",
        [GLMQ_SLOT_SCALES] = "weight_scale",
        [GLMQ_SLOT_GLOBAL] = "weight_global_scale",
        [GLMQ_SLOT_INPUT_SCALE] = "input_global_scale" },
      1u << FP4_CT },
    { "fp4",
      { [GLMQ_SLOT_CODES] = "weight",
        [GLMQ_SLOT_SCALES] = "weight_scale_inv",
        [GLMQ_SLOT_INPUT_SCALE] = "input_scale" },
      1u << FP4_INV },
};

/* ---- texts ---- */

void glmq_hf_add_list(glmq_text *t, const char *key, const char *const *list, size_t count,
                      const char *prefix, const char *indent, int step)
{
    glmq_text_printf(t, "%s\"%s\": [", indent, key);
    for (size_t i = 0; i < count; i++) {
        glmq_text one = { 0 };
        glmq_text_printf(&one, "%s%s", prefix, list[i]);
        glmq_text_printf(t, "%s\n%s%*s", i ? "," : "", indent, step, "");
        if (!one.failed) glmq_json_quote(t, one.data, one.len);
        t->failed |= one.failed;
        glmq_text_free(&one);
    }
    if (count) glmq_text_printf(t, "\n%s", indent);
    glmq_text_add(t, "]");
}

/* ---- tensors ---- */

static const struct slots *slots_of(const glmq_encoding *enc)
{
    for (size_t i = 0; i < GLMQ_COUNT(slots); i++)
        if (strcmp(slots[i].codec, glmq_codec_name(enc->codec)) == 0 &&
            (!slots[i].variants || slots[i].variants >> enc->variant & 1))
            return &slots[i];
    return NULL;
}

/* The shape of a plain tensor: the model's, or for what the model does not know (and for
 * single scales) the one that the source stores. */
static glmq_status plain_dims(const glmq_plan *p, const glmq_tensor *x, glmq_plan_array *a,
                              glmq_error *err)
{
    const glmq_role_class class = glmq_role_class_of(x->role);
    const glmq_catalog *cat = p->graph->catalog;
    a->rank = x->rank == 1 ? 1 : 2;
    a->dims[0] = x->rank == 1 ? x->cols : x->rows;
    a->dims[1] = x->rank == 1 ? 0 : x->cols;
    if ((class != ROLE_OTHER && class != ROLE_SCALE) || x->parts != 1 ||
        cat->container != CONTAINER_SAFETENSORS || x->part[0].span[0].array >= cat->count)
        return GLMQ_OK;
    const glmq_array *from = &cat->arrays[x->part[0].span[0].array];
    if (from->rank > 4)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: %u dimensions, at most 4 can be written",
                         x->name, (unsigned)from->rank);
    a->rank = from->rank;
    for (int d = 0; d < from->rank; d++) a->dims[d] = from->dims[d];
    return GLMQ_OK;
}

/* Scales of the KV cache have a name in each ecosystem: `same` keeps the one they have. */
static const char *plain_name(glmq_plan *p, const glmq_tensor *x)
{
    const glmq_catalog *cat = p->graph->catalog;
    const uint32_t array = x->part[0].span[GLMQ_SLOT_CODES].array;
    const char *dot;
    if (glmq_role_class_of(x->role) != ROLE_SCALE) return x->name;
    if (!p->target.enc.codec && cat->container == CONTAINER_SAFETENSORS && array < cat->count)
        return cat->arrays[array].name;
    dot = strrchr(x->name, '.'); /* ".k_scale" */
    if (p->target.enc.codec != &glmq_codec_fp4 || p->target.enc.variant != FP4_MODELOPT || !dot)
        return x->name;
    return glmq_arena_printf(&p->arena, "%.*s.%c_proj%s", (int)(dot - x->name), x->name, dot[1],
                             dot);
}

static glmq_status plan_plain(glmq_plan *p, uint32_t i, const glmq_layout *l, glmq_part *part,
                              glmq_error *err)
{
    const glmq_tensor *x = &p->graph->tensors[i];
    glmq_plan_array a = { .name = plain_name(p, x), .dtype = l->slot[GLMQ_SLOT_CODES].dtype };
    if (!a.name) return glmq_fail(err, GLMQ_E_NOMEM, "%s", x->name);
    GLMQ_TRY(plain_dims(p, x, &a, err));
    part->span[GLMQ_SLOT_CODES].bytes = l->slot[GLMQ_SLOT_CODES].bytes;
    return glmq_plan_add_array(p, &a, &part->span[GLMQ_SLOT_CODES].array, err);
}

/* Is this slot of the layout to be written?  Optional ones where the source has them. */
static int written(const glmq_layout *l, const glmq_part *from, const glmq_encoding *to, int slot)
{
    if (l->slot[slot].dtype == GLMQ_DT_NONE) return 0;
    return !l->slot[slot].optional || (from->enc.codec == to->codec && from->span[slot].bytes);
}

static glmq_status plan_slot(glmq_plan *p, const glmq_tensor *x, const char *suffix,
                             const glmq_slot_layout *s, glmq_span *span, glmq_error *err)
{
    char name[GLMQ_NAME_MAX + 64];
    const int module = (int)(strlen(x->name) - strlen(".weight"));
    const int len = snprintf(name, sizeof name, "%.*s.%s", module, x->name, suffix);
    glmq_plan_array a = { .name = name, .dtype = s->dtype, .rank = s->rank };
    if (len < 0 || (size_t)len >= sizeof name)
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: the name is too long", x->name);
    for (int d = 0; d < s->rank; d++) a.dims[d] = s->dims[d];
    span->bytes = s->bytes;
    return glmq_plan_add_array(p, &a, &span->array, err);
}

/* A slot that is copied keeps the dimensions it has: tools differ in [N] and [N, 1], and in
 * whether one number is a list. */
static void keep_dims(const glmq_plan *p, const glmq_part *from, const glmq_encoding *to, int slot,
                      glmq_slot_layout *s)
{
    const glmq_catalog *cat = p->graph->catalog;
    const glmq_span *span = &from->span[slot];
    const glmq_array *a =
        span->bytes && span->array < cat->count ? &cat->arrays[span->array] : NULL;
    if (!a || cat->container != CONTAINER_SAFETENSORS || !glmq_encoding_equal(&from->enc, to) ||
        a->bytes != s->bytes || a->dtype != s->dtype || a->rank > GLMQ_COUNT(s->dims))
        return;
    s->rank = a->rank;
    for (int d = 0; d < a->rank; d++) s->dims[d] = a->dims[d];
}

/* The activation scale of NVFP4 is one F32 number, as its global scale is. */
static glmq_status plan_number(glmq_plan *p, const glmq_tensor *x, const struct slots *names,
                               glmq_part *part, glmq_error *err)
{
    const glmq_slot_layout s = { GLMQ_DT_F32, .rank = part->enc.variant == FP4_CT, .dims = { 1 },
                                 .bytes = sizeof(float) };
    return plan_slot(p, x, names->suffix[GLMQ_SLOT_INPUT_SCALE], &s,
                     &part->span[GLMQ_SLOT_INPUT_SCALE], err);
}

/* An activation scale is no weight, so no layout has it: it goes along as it is stored.  Only
 * with the target `same`, which keeps the config that says what it is for; and to NVFP4 where
 * all tensors have one. */
static glmq_status plan_input_scale(glmq_plan *p, const glmq_tensor *x, const struct slots *names,
                                    glmq_part *part, glmq_error *err)
{
    const glmq_catalog *cat = p->graph->catalog;
    const glmq_span *from = &x->part[0].span[GLMQ_SLOT_INPUT_SCALE];
    const char *suffix = names->suffix[GLMQ_SLOT_INPUT_SCALE];
    glmq_slot_layout s = { 0 };
    if (p->input_scales && p->want[x - p->graph->tensors].input_scalar)
        return plan_number(p, x, names, part, err);
    if (p->target.enc.codec || !suffix || !from->bytes || from->array >= cat->count) return GLMQ_OK;
    const glmq_array *a = &cat->arrays[from->array];
    if (a->rank > GLMQ_COUNT(s.dims)) return GLMQ_OK;              /* listed as dropped */
    if (strrchr(a->name, '.')) suffix = strrchr(a->name, '.') + 1; /* tools differ */
    s.dtype = (glmq_dtype)a->dtype;
    s.rank = a->rank;
    s.bytes = a->bytes;
    for (int d = 0; d < a->rank; d++) s.dims[d] = a->dims[d];
    return plan_slot(p, x, suffix, &s, &part->span[GLMQ_SLOT_INPUT_SCALE], err);
}

/* The last component of a name: with the target `same`, of the array that the source has.  One
 * that holds more than the tensor (stacked experts) cannot be kept as it is. */
static glmq_status slot_suffix(const glmq_plan *p, const glmq_tensor *x, const struct slots *names,
                               int slot, const char **suffix, glmq_error *err)
{
    const glmq_catalog *cat = p->graph->catalog;
    const glmq_span *from = &x->part[0].span[slot];

    *suffix = names->suffix[slot];
    if (!*suffix)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: %s has no name for slot %d", x->name,
                         names->codec, slot);
    if (p->target.enc.codec || strcmp(names->codec, "vq") != 0 || !from->bytes ||
        from->array >= cat->count)
        return GLMQ_OK;
    if (cat->arrays[from->array].bytes != from->bytes)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "%s: the experts stacked in %s cannot be kept as they are", x->name,
                         cat->arrays[from->array].name);
    if (strrchr(cat->arrays[from->array].name, '.'))
        *suffix = strrchr(cat->arrays[from->array].name, '.') + 1;
    return GLMQ_OK;
}

/* ---- stacks of gpt-oss ---- */

/* A stack can only be kept as a whole. */
static glmq_status check_stack(const glmq_plan *p, uint32_t array, glmq_error *err)
{
    const glmq_graph *g = p->graph;
    for (size_t i = 0; i < g->count; i++) {
        const glmq_part *from = &g->tensors[i].part[0];
        if (from->span[GLMQ_SLOT_CODES].array != array &&
            from->span[GLMQ_SLOT_SCALES].array != array)
            continue;
        if (p->want[i].dropped || !glmq_encoding_equal(&p->want[i].enc, &from->enc))
            return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                             "%s: one of the experts stacked in %s, which are kept all or none",
                             g->tensors[i].name, g->catalog->arrays[array].name);
    }
    return GLMQ_OK;
}

/* The array of the target that is the source's `from`: made for the first of its experts. */
static glmq_status stack_of(glmq_plan *p, uint32_t from, uint32_t *array, glmq_error *err)
{
    const glmq_array *a = &p->graph->catalog->arrays[from];
    glmq_plan_array to = { .name = a->name, .dtype = (glmq_dtype)a->dtype, .rank = a->rank };

    for (size_t i = p->arrays.count; i > 0; i--) {
        if (strcmp(p->arrays.at[i - 1].name, a->name) != 0) continue;
        *array = (uint32_t)(i - 1);
        return GLMQ_OK;
    }
    GLMQ_TRY(check_stack(p, from, err));
    for (int d = 0; d < a->rank; d++) to.dims[d] = a->dims[d];
    return glmq_plan_add_array(p, &to, array, err);
}

/* An expert stays where it lies in the source's stacks of codes and scales. */
static glmq_status plan_stacked(glmq_plan *p, const glmq_tensor *x, glmq_part *part,
                                glmq_error *err)
{
    static const int both[] = { GLMQ_SLOT_CODES, GLMQ_SLOT_SCALES };
    for (size_t i = 0; i < GLMQ_COUNT(both); i++) {
        const glmq_span *from = &x->part[0].span[both[i]];
        glmq_span *to = &part->span[both[i]];
        GLMQ_TRY(stack_of(p, from->array, &to->array, err));
        to->offset = from->offset - p->graph->catalog->arrays[from->array].offset;
        to->bytes = from->bytes;
    }
    return GLMQ_OK;
}

static int is_stacked(const glmq_tensor *x, const glmq_encoding *to)
{
    return to->codec == &glmq_codec_fp4 && to->variant == FP4_BLOCKS && x->parts == 1 &&
           glmq_encoding_equal(&x->part[0].enc, to);
}

/* ---- one tensor ---- */

static glmq_status plan_codes(glmq_plan *p, uint32_t i, const glmq_layout *l, glmq_part *part,
                              glmq_error *err)
{
    const glmq_tensor *x = &p->graph->tensors[i];
    const struct slots *names = slots_of(&part->enc);
    const size_t len = strlen(x->name);
    const char *suffix;
    if (is_stacked(x, &part->enc)) return plan_stacked(p, x, part, err);
    if (!names || x->rank != 2 || len <= 7 || strcmp(x->name + len - 7, ".weight") != 0)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: cannot be stored as %s in safetensors",
                         x->name, glmq_codec_name(part->enc.codec));
    for (int s = 0; s < GLMQ_SLOTS; s++) {
        if (!written(l, &x->part[0], &part->enc, s)) continue;
        glmq_slot_layout slot = l->slot[s];
        keep_dims(p, &x->part[0], &part->enc, s, &slot);
        GLMQ_TRY(slot_suffix(p, x, names, s, &suffix, err));
        GLMQ_TRY(plan_slot(p, x, suffix, &slot, &part->span[s], err));
    }
    return plan_input_scale(p, x, names, part, err);
}

/* Activation scales belong to the source's kernels: said to be dropped where the target has
 * no place for them. */
static glmq_status drop_lost(glmq_plan *p, const glmq_tensor *x, const glmq_part *to,
                             glmq_error *err)
{
    const glmq_catalog *cat = p->graph->catalog;
    for (int i = 0; i < x->parts; i++) {
        const glmq_span *s = &x->part[i].span[GLMQ_SLOT_INPUT_SCALE];
        if (!s->bytes || to->span[GLMQ_SLOT_INPUT_SCALE].bytes || s->array >= cat->count) continue;
        GLMQ_TRY(glmq_plan_drop(p, cat->arrays[s->array].name,
                                "an activation scale: the target's encoding has no place for it",
                                err));
    }
    return GLMQ_OK;
}

static glmq_status plan_tensor(glmq_plan *p, uint32_t i, glmq_error *err)
{
    const glmq_tensor *x = &p->graph->tensors[i];
    glmq_part part = { .enc = p->want[i].enc, .rows = x->rows, .cols = x->cols };
    glmq_layout l = { 0 };

    part.cut = (glmq_cut){ .heads = 1, .stride = x->rows, .count = x->rows };
    if (!part.enc.codec)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: nothing writes its encoding", x->name);
    GLMQ_TRY(glmq_within(err, part.enc.codec->layout(&part.enc, x->rows, x->cols, &l, err), "%s",
                         x->name));
    if (glmq_encoding_dtype(&part.enc) != GLMQ_DT_NONE)
        GLMQ_TRY(plan_plain(p, i, &l, &part, err));
    else
        GLMQ_TRY(plan_codes(p, i, &l, &part, err));
    GLMQ_TRY(drop_lost(p, x, &part, err));
    return glmq_plan_add_item(p, i, &part, 1, err);
}

glmq_status glmq_hf_plan_tensors(glmq_plan *p, glmq_error *err)
{
    for (size_t i = 0; i < p->graph->count; i++)
        if (!p->want[i].dropped) GLMQ_TRY(plan_tensor(p, (uint32_t)i, err));
    return GLMQ_OK;
}

/* ---- side files ---- */

static const uint64_t side_file_max = 100000000;

/* Files that do not travel: weights, what speaks of the source's encoding or of its files,
 * and what is written anew.  '*' as in a glob. */
static const struct stays {
    const char *glob;
    int encoding; /* speaks of the encoding: travels where the encoding stays the same */
} stays[] = {
    { "*.safetensors", 0 },
    { "*.gguf", 0 },
    { "*.bin", 0 },
    { "*.pt", 0 },
    { "*.pth", 0 },
    { "*.index.json", 0 },
    { "config.json", 0 },
    { "glmq-manifest.json", 0 },
    { "README.md", 0 },
    { ".*", 0 },
    { "quantize_config.json", 1 },
    { "quant_config.json", 1 },
    { "quantization_config.json", 1 },
    { "hf_quant_config.json", 1 },
    { "recipe.yaml", 1 },
    { "tq_config.json", 1 },
};

static int travels(const glmq_catalog *cat, const char *name, const glmq_hf_config *config)
{
    if (glmq_catalog_has_role(cat, name)) return config->quant == HF_QUANT_KEEP;
    for (size_t i = 0; i < GLMQ_COUNT(stays); i++)
        if (glmq_glob(stays[i].glob, name))
            return stays[i].encoding && config->quant == HF_QUANT_KEEP;
    return 1;
}

/* Names that a run needs for itself. */
static int is_runs_own(const char *name)
{
    return strcmp(name, "journal") == 0 || strcmp(name, "lock") == 0;
}

static glmq_status carry_files(glmq_plan *p, const glmq_hf_config *config, glmq_error *err)
{
    const glmq_source *src = p->graph->source;
    for (size_t i = 0; i < glmq_source_count(src); i++) {
        const char *name = glmq_source_name(src, i);
        uint64_t planned;
        if (!travels(p->graph->catalog, name, config)) continue;
        if (glmq_strmap_get(&p->names, name, strlen(name), &planned)) continue; /* written anew */
        if (is_runs_own(name))
            GLMQ_TRY(glmq_plan_drop(p, name, "a side file with a name of glmq's own", err));
        else if (glmq_source_size(src, i) >= side_file_max)
            GLMQ_TRY(glmq_plan_drop(p, name, "a side file of 100 MB or more", err));
        else
            GLMQ_TRY(glmq_plan_add_copy(p, (uint32_t)i, name, err));
    }
    return GLMQ_OK;
}

glmq_status glmq_hf_plan_side_files(glmq_plan *p, const glmq_hf_config *config, glmq_error *err)
{
    glmq_text text = { 0 };
    glmq_status st = glmq_hf_config_text(&text, p, config, err);
    if (!st && text.len) st = glmq_plan_add_text(p, "config.json", text.data, text.len, err);
    glmq_text_free(&text);
    if (st) return st;
    if (p->graph->catalog->gguf) return glmq_hf_plan_gguf_files(p, err);
    /* beside one loose file may lie anything: only a folder's files belong together */
    return glmq_source_is_file(p->graph->source) ? GLMQ_OK : carry_files(p, config, err);
}
