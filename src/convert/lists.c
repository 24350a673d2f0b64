/* The plan's lists: what writers put into a plan, and how it becomes exact.
 *
 * Writers add files, arrays and items in any order that suits them; a span of an item's part
 * names its array and an offset inside it.  glmq_plan_resolve() turns that into byte ranges of
 * files and proves that every array is filled, once and whole. */
#include "base/error.h"
#include "base/mem.h"
#include "base/safe.h"
#include "convert/plan.h"
#include <stdlib.h>
#include <string.h>

/* Room for one more element of a list; 1 when out of memory. */
static int grow(void **at, size_t *capacity, size_t count, size_t each)
{
    const size_t wide = *capacity ? *capacity * 2 : 64;
    void *p;
    if (count < *capacity) return 0;
    if (wide > SIZE_MAX / each) return 1;
    p = glmq_realloc(*at, wide * each);
    if (!p) return 1;
    *at = p;
    *capacity = wide;
    return 0;
}

/* Appends `value`; 1 when out of memory. */
#define PUSH(list, ...)                                                                            \
    (grow((void **)&(list).at, &(list).capacity, (list).count, sizeof *(list).at)                  \
         ? 1                                                                                       \
         : ((list).at[(list).count++] = (__VA_ARGS__), 0))

static glmq_status no_memory(glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_NOMEM, "the plan");
}

/* ---- names in the target ---- */

static const char *const reserved[] = { "journal", "lock", "glmq-manifest.json" };

static int is_reserved(const char *name)
{
    for (size_t i = 0; i < GLMQ_COUNT(reserved); i++)
        if (strcmp(name, reserved[i]) == 0) return 1;
    return 0;
}

/* Claims a name of the target; *kept is a copy in the arena. */
static glmq_status claim(glmq_plan *p, const char *name, const char **kept, glmq_error *err)
{
    int fresh;
    if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return glmq_fail(err, GLMQ_E_FORMAT, "'%s' is no name for a file of the target", name);
    if (is_reserved(name))
        return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                         "the target would hold a file '%s', a name of glmq's own", name);
    *kept = glmq_arena_strdup(&p->arena, name);
    if (!*kept) return no_memory(err);
    fresh = glmq_strmap_add(&p->names, *kept, strlen(*kept), 0, NULL);
    if (fresh < 0) return no_memory(err);
    if (!fresh)
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "the target would hold two files '%s'", name);
    return GLMQ_OK;
}

/* ---- for writers ---- */

const char *glmq_plan_intern(glmq_plan *p, const char *s)
{
    const size_t len = strlen(s);
    uint64_t at;
    char *copy;
    if (glmq_strmap_get(&p->strings, s, len, &at)) return (const char *)(uintptr_t)at;
    copy = glmq_arena_strndup(&p->arena, s, len);
    if (!copy || glmq_strmap_add(&p->strings, copy, len, (uintptr_t)copy, NULL) < 0) return NULL;
    return copy;
}

glmq_status glmq_plan_add_file(glmq_plan *p, const char *name, glmq_file_kind kind, uint32_t *file,
                               glmq_error *err)
{
    glmq_plan_file add = { .kind = kind };
    GLMQ_TRY(claim(p, name, &add.name, err));
    if (PUSH(p->files, add)) return no_memory(err);
    *file = (uint32_t)(p->files.count - 1);
    return GLMQ_OK;
}

glmq_status glmq_plan_add_array(glmq_plan *p, const glmq_plan_array *a, uint32_t *array,
                                glmq_error *err)
{
    glmq_plan_array add = *a;
    if (p->arrays.count >= UINT32_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "more than %u arrays", UINT32_MAX);
    add.name = glmq_arena_strdup(&p->arena, a->name);
    if (!add.name || PUSH(p->arrays, add)) return no_memory(err);
    *array = (uint32_t)(p->arrays.count - 1);
    return GLMQ_OK;
}

glmq_status glmq_plan_add_item(glmq_plan *p, uint32_t tensor, const glmq_part *parts, uint8_t n,
                               glmq_error *err)
{
    glmq_item add = { .tensor = tensor, .parts = n };
    if (n == 0 || n > GLMQ_PARTS_MAX || tensor >= p->graph->count)
        return glmq_fail(err, GLMQ_E_ARG, "an item of %u parts for tensor %u", n, tensor);
    add.part = glmq_arena_alloc(&p->arena, n * sizeof *parts);
    if (!add.part) return no_memory(err);
    memcpy(add.part, parts, n * sizeof *parts);
    if (p->row_perm) add.row_perm = p->row_perm[tensor];
    if (p->col_perm) add.col_perm = p->col_perm[tensor];
    return PUSH(p->items, add) ? no_memory(err) : GLMQ_OK;
}

glmq_status glmq_plan_add_text(glmq_plan *p, const char *name, const char *data, size_t len,
                               glmq_error *err)
{
    glmq_plan_text add = { .len = len };
    GLMQ_TRY(claim(p, name, &add.name, err));
    add.data = glmq_arena_strndup(&p->arena, data, len);
    if (!add.data || PUSH(p->texts, add)) return no_memory(err);
    return GLMQ_OK;
}

glmq_status glmq_plan_add_copy(glmq_plan *p, uint32_t source_file, const char *name,
                               glmq_error *err)
{
    glmq_plan_copy add = { .file = source_file };
    if (strcmp(name, "glmq-manifest.json") == 0) return GLMQ_OK;
    if (source_file >= glmq_source_count(p->graph->source))
        return glmq_fail(err, GLMQ_E_ARG, "source file %u of %zu", source_file,
                         glmq_source_count(p->graph->source));
    GLMQ_TRY(claim(p, name, &add.name, err));
    add.bytes = glmq_source_size(p->graph->source, source_file);
    return PUSH(p->copies, add) ? no_memory(err) : GLMQ_OK;
}

glmq_status glmq_plan_drop(glmq_plan *p, const char *name, const char *reason, glmq_error *err)
{
    glmq_dropped add = { .reason = glmq_plan_intern(p, reason) };
    add.name = glmq_arena_strdup(&p->arena, name);
    if (!add.name || !add.reason || PUSH(p->dropped, add)) return no_memory(err);
    return GLMQ_OK;
}

/* ---- spans ---- */

/* Slot `s` of a part: where it lies in the files.  `filled` counts each array's bytes. */
static glmq_status resolve_slot(glmq_plan *p, glmq_span *span, uint64_t bytes, uint64_t *filled,
                                glmq_error *err)
{
    const glmq_plan_array *a;
    if (span->array >= p->arrays.count)
        return glmq_fail(err, GLMQ_E_ARG, "array %u of %zu", span->array, p->arrays.count);
    a = &p->arrays.at[span->array];
    if ((span->bytes && span->bytes != bytes) || !in_range(span->offset, bytes, a->bytes))
        return glmq_fail(err, GLMQ_E_ARG,
                         "%s: %" PRIu64 " bytes at %" PRIu64 " planned (given as %" PRIu64
                         "), the array has %" PRIu64,
                         a->name, bytes, span->offset, span->bytes, a->bytes);
    if (a->file >= p->files.count || !in_range(a->offset, a->bytes, p->files.at[a->file].bytes))
        return glmq_fail(err, GLMQ_E_ARG, "%s: planned outside its file", a->name);
    span->bytes = bytes;
    span->file = a->file;
    span->offset += a->offset;
    filled[span->array] += bytes;
    return GLMQ_OK;
}

static glmq_status add_piece(glmq_plan *p, size_t item, uint8_t part, uint8_t slot, glmq_error *err)
{
    glmq_item *it = &p->items.at[item];
    const glmq_span *span = &it->part[part].span[slot];
    const glmq_piece add = {
        .offset = span->offset,
        .bytes = span->bytes,
        .item = (uint32_t)item,
        .array = span->array,
        .file = span->file,
        .part = part,
        .slot = slot,
    };
    if (PUSH(p->pieces, add)) return no_memory(err);
    it->pieces++;
    return add_u64(it->bytes, span->bytes, &it->bytes)
               ? glmq_fail(err, GLMQ_E_LIMIT, "size overflows 64 bits")
               : GLMQ_OK;
}

static glmq_status resolve_part(glmq_plan *p, size_t item, uint8_t part, uint64_t *filled,
                                glmq_error *err)
{
    glmq_part *q = &p->items.at[item].part[part];
    glmq_layout layout;
    GLMQ_TRY(q->enc.codec->layout(&q->enc, q->rows, q->cols, &layout, err));
    for (uint8_t s = 0; s < GLMQ_SLOTS; s++) {
        const glmq_slot_layout *l = &layout.slot[s];
        const int carried = s == GLMQ_SLOT_INPUT_SCALE && q->span[s].bytes; /* in no layout */
        const int stored = l->dtype != GLMQ_DT_NONE && (!l->optional || q->span[s].bytes);
        if (!stored && !carried) {
            q->span[s] = (glmq_span){ 0 };
            continue;
        }
        GLMQ_TRY(resolve_slot(p, &q->span[s], carried ? q->span[s].bytes : l->bytes, filled, err));
        GLMQ_TRY(add_piece(p, item, part, s, err));
    }
    return GLMQ_OK;
}

/* Pieces by place: file, then offset. */
static int by_place(const void *a, const void *b)
{
    const glmq_piece *x = *(const glmq_piece *const *)a, *y = *(const glmq_piece *const *)b;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* No two pieces may share a byte. */
static glmq_status check_overlap(glmq_plan *p, glmq_error *err)
{
    glmq_status st = GLMQ_OK;
    const glmq_piece **order = glmq_alloc(p->pieces.count * sizeof *order);
    if (!order) return no_memory(err);
    for (size_t i = 0; i < p->pieces.count; i++) order[i] = &p->pieces.at[i];
    qsort(order, p->pieces.count, sizeof *order, by_place);
    for (size_t i = 1; i < p->pieces.count && !st; i++) {
        const glmq_piece *a = order[i - 1], *b = order[i];
        if (a->file == b->file && a->offset + a->bytes > b->offset)
            st = glmq_fail(err, GLMQ_E_ARG, "%s and %s: planned over each other",
                           p->arrays.at[a->array].name, p->arrays.at[b->array].name);
    }
    glmq_free(order);
    return st;
}

static glmq_status resolve_all(glmq_plan *p, uint64_t *filled, glmq_error *err)
{
    for (size_t i = 0; i < p->items.count; i++) {
        glmq_item *it = &p->items.at[i];
        it->piece = (uint32_t)p->pieces.count;
        for (uint8_t k = 0; k < it->parts; k++)
            GLMQ_TRY(glmq_within(err, resolve_part(p, i, k, filled, err), "%s",
                                 p->graph->tensors[it->tensor].name));
    }
    for (size_t i = 0; i < p->arrays.count; i++)
        if (filled[i] != p->arrays.at[i].bytes)
            return glmq_fail(err, GLMQ_E_ARG,
                             "%s: %" PRIu64 " of %" PRIu64 " bytes are planned for",
                             p->arrays.at[i].name, filled[i], p->arrays.at[i].bytes);
    return GLMQ_OK;
}

glmq_status glmq_plan_resolve(glmq_plan *p, glmq_error *err)
{
    glmq_status st;
    uint64_t *filled = glmq_alloc_zero(p->arrays.count ? p->arrays.count : 1, sizeof *filled);
    if (!filled) return no_memory(err);
    st = resolve_all(p, filled, err);
    glmq_free(filled);
    return st ? st : check_overlap(p, err);
}
