/* safetensors containers: from planned arrays to shards, headers and an index.
 *
 *   file = u64 header bytes | header, padded with spaces to a multiple of 8 | data
 *
 * The header and the order of the data are the reference writer's own (dtype descending,
 * then name by its bytes; "__metadata__" first; compact JSON), so that the same arrays
 * give the same file, byte for byte. */
#include "writers/layout.h"
#include "base/error.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/safe.h"
#include "base/strmap.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const uint64_t shard_default = UINT64_C(5000000000);

/* ---- sizes ---- */

/* Fills bytes of every array; refuses what the container has no word for. */
static glmq_status measure(glmq_plan *p, uint64_t *total, glmq_error *err)
{
    *total = 0;
    for (size_t i = 0; i < p->arrays.count; i++) {
        glmq_plan_array *a = &p->arrays.at[i];
        uint64_t count = 1;
        int over = 0;
        if (!glmq_dtype_info_of(a->dtype)->st_name)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: safetensors has no type %s", a->name,
                             glmq_dtype_name(a->dtype));
        if (!glmq_utf8_valid(a->name, strlen(a->name)))
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: the name is no UTF-8", a->name);
        for (int d = 0; d < a->rank; d++) over |= mul_u64(count, a->dims[d], &count);
        over |= glmq_dtype_bytes(a->dtype, count, &a->bytes);
        if (over || add_u64(*total, a->bytes, total))
            return glmq_fail(err, GLMQ_E_LIMIT, "%s: size overflows 64 bits", a->name);
    }
    return GLMQ_OK;
}

static glmq_status refuse_duplicates(const glmq_plan *p, glmq_error *err)
{
    glmq_strmap seen = { 0 };
    glmq_status st = GLMQ_OK;
    for (size_t i = 0; i < p->arrays.count && !st; i++) {
        const char *name = p->arrays.at[i].name;
        const int fresh = glmq_strmap_add(&seen, name, strlen(name), i, NULL);
        if (fresh < 0)
            st = glmq_fail(err, GLMQ_E_NOMEM, "names of %zu arrays", p->arrays.count);
        else if (!fresh)
            st = glmq_fail(err, GLMQ_E_FORMAT, "%s: two tensors would be stored under this name",
                           name);
    }
    glmq_strmap_free(&seen);
    return st;
}

/* ---- shards ---- */

/* At most the bytes of one array's entry in a header: each byte of a name may be
 * escaped to six, numbers have at most 20 digits. */
static uint64_t entry_bound(const glmq_plan_array *a)
{
    uint64_t name = 0;
    for (const char *s = a->name; *s; s++)
        name += (unsigned char)*s < 0x20 ? 6 : *s == '"' || *s == '\\' ? 2 : 1;
    return name + sizeof "\"\":{\"dtype\":\"F8_E4M3FNUZ\",\"shape\":[],\"data_offsets\":[,]}," +
           21 * (uint64_t)(a->rank + 2);
}

/* Numbers the arrays with shards, in the plan's order: an array that would carry the
 * file over the limit opens the next shard.  Returns how many there are (at least 1). */
static uint32_t assign(glmq_plan *p, uint64_t meta_bytes, uint64_t array_bytes)
{
    const uint64_t limit = p->options.shard_size ? p->options.shard_size : shard_default;
    uint64_t header = 0, data = 0;
    uint32_t shard = 0;
    for (size_t i = 0; i < p->arrays.count; i++) {
        glmq_plan_array *a = &p->arrays.at[i];
        const uint64_t entry = entry_bound(a) + array_bytes;
        const uint64_t frame = 8 + 8 + meta_bytes + header + entry; /* length, padding */
        uint64_t file;
        const int full = frame > GLMQ_HEADER_MAX || add_u64(frame, data, &file) ||
                         add_u64(file, a->bytes, &file) || file > limit;
        if (full && header) {
            shard++;
            header = data = 0;
        }
        a->file = shard;
        header += entry;
        data += a->bytes; /* measure() has bounded the sum */
    }
    return shard + 1;
}

/* ---- one header ---- */

typedef glmq_plan_array *placed;

static int by_container_order(const void *x, const void *y)
{
    const glmq_plan_array *a = *(const placed *)x, *b = *(const placed *)y;
    const int da = glmq_dtype_info_of(a->dtype)->st_order;
    const int db = glmq_dtype_info_of(b->dtype)->st_order;
    if (a->file != b->file) return a->file < b->file ? -1 : 1;
    return da != db ? db - da : strcmp(a->name, b->name);
}

static int by_key(const void *x, const void *y)
{
    return strcmp(((const glmq_st_meta *)x)->key, ((const glmq_st_meta *)y)->key);
}

/* {"__metadata__":{…} with the keys sorted, "format":"pt" among them; still open. */
static glmq_status open_header(glmq_text *head, const glmq_st_meta *meta, size_t n, glmq_error *err)
{
    glmq_st_meta *all = glmq_alloc((n + 1) * sizeof *all);
    if (!all) return glmq_fail(err, GLMQ_E_NOMEM, "%zu metadata keys", n);
    if (n) memcpy(all, meta, n * sizeof *all);
    all[n] = (glmq_st_meta){ "format", "pt" };
    qsort(all, n + 1, sizeof *all, by_key);
    glmq_text_add(head, "{\"__metadata__\":{");
    for (size_t i = 0; i <= n; i++) {
        if (i) glmq_text_add(head, ",");
        glmq_json_quote(head, all[i].key, strlen(all[i].key));
        glmq_text_add(head, ":");
        glmq_json_quote(head, all[i].value, strlen(all[i].value));
    }
    glmq_text_add(head, "}");
    glmq_free(all);
    return head->failed ? glmq_fail(err, GLMQ_E_NOMEM, "%zu metadata keys", n) : GLMQ_OK;
}

static void add_entry(glmq_text *head, const glmq_plan_array *a, uint64_t begin)
{
    glmq_text_add(head, ",");
    glmq_json_quote(head, a->name, strlen(a->name));
    glmq_text_printf(head, ":{\"dtype\":\"%s\",\"shape\":[", glmq_dtype_info_of(a->dtype)->st_name);
    for (int d = 0; d < a->rank; d++)
        glmq_text_printf(head, "%s%" PRIu64, d ? "," : "", a->dims[d]);
    glmq_text_printf(head, "],\"data_offsets\":[%" PRIu64 ",%" PRIu64 "]}", begin,
                     begin + a->bytes);
}

/* The metadata of all shards, and those of each. */
typedef struct metadata {
    const glmq_st_meta *all;
    size_t count;
    const glmq_st_shard_meta *each; /* NULL: there are none */
} metadata;

/* The opened header of one shard. */
static glmq_status open_shard(glmq_text *head, const glmq_plan *p, const metadata *m,
                              uint32_t shard, glmq_error *err)
{
    glmq_st_meta *list = glmq_alloc((m->count + 3) * sizeof *list);
    glmq_text value[2] = { { 0 }, { 0 } };
    size_t n = m->count;
    glmq_status st = list ? GLMQ_OK : glmq_fail(err, GLMQ_E_NOMEM, "%zu metadata keys", n);

    if (!st && n) memcpy(list, m->all, n * sizeof *list);
    if (!st && m->each) st = m->each->value(m->each->user, p, shard, value, err);
    for (int i = 0; i < 2 && !st; i++)
        if (value[i].len) list[n++] = (glmq_st_meta){ m->each->key[i], value[i].data };
    if (!st) st = open_header(head, list, n, err);
    glmq_text_free(&value[0]);
    glmq_text_free(&value[1]);
    glmq_free(list);
    return st;
}

/* Writes the header of `count` arrays that lie in `file` into the plan and sets their
 * places.  `meta` is the opened header. */
static glmq_status seal(glmq_plan *p, uint32_t file, placed *arrays, size_t count,
                        const glmq_text *meta, glmq_error *err)
{
    glmq_plan_file *f = &p->files.at[file];
    glmq_text head = { 0 };
    uint64_t data = 0;

    glmq_text_add_n(&head, meta->data, meta->len);
    for (size_t i = 0; i < count; i++) {
        add_entry(&head, arrays[i], data);
        arrays[i]->offset = data;
        data += arrays[i]->bytes;
    }
    glmq_text_add(&head, "}");
    while (!head.failed && head.len % 8) glmq_text_add(&head, " ");
    if (head.len > GLMQ_HEADER_MAX) {
        glmq_text_free(&head);
        return glmq_fail(err, GLMQ_E_LIMIT, "%s: a header over %d bytes", f->name, GLMQ_HEADER_MAX);
    }
    f->header = head.failed ? NULL : glmq_arena_alloc(&p->arena, head.len + 8);
    if (!f->header) {
        glmq_text_free(&head);
        return glmq_fail(err, GLMQ_E_NOMEM, "%s: header of %zu arrays", f->name, count);
    }
    store_le64(f->header, head.len);
    memcpy(f->header + 8, head.data, head.len);
    f->header_bytes = head.len + 8;
    f->bytes = f->header_bytes + data;
    for (size_t i = 0; i < count; i++) {
        arrays[i]->file = file;
        arrays[i]->offset += f->header_bytes;
    }
    glmq_text_free(&head);
    return GLMQ_OK;
}

/* ---- the index ---- */

static int by_name(const void *x, const void *y)
{
    return strcmp((*(const placed *)x)->name, (*(const placed *)y)->name);
}

static glmq_status add_index(glmq_plan *p, placed *arrays, size_t count, uint64_t total,
                             glmq_error *err)
{
    glmq_text t = { 0 };
    glmq_status st;
    qsort(arrays, count, sizeof *arrays, by_name);
    glmq_text_printf(&t,
                     "{\n  \"metadata\": {\n    \"total_size\": %" PRIu64 "\n  },\n"
                     "  \"weight_map\": {",
                     total);
    for (size_t i = 0; i < count; i++) {
        const glmq_plan_array *a = arrays[i];
        glmq_text_add(&t, i ? ",\n    " : "\n    ");
        glmq_json_quote(&t, a->name, strlen(a->name));
        glmq_text_printf(&t, ": \"%s\"", p->files.at[a->file].name);
    }
    glmq_text_add(&t, "\n  }\n}\n");
    st = t.failed ? glmq_fail(err, GLMQ_E_NOMEM, "index of %zu arrays", count)
                  : glmq_plan_add_text(p, "model.safetensors.index.json", t.data, t.len, err);
    glmq_text_free(&t);
    return st;
}

/* ---- the whole ---- */

static glmq_status seal_shard(glmq_plan *p, uint32_t shard, uint32_t file, placed *arrays,
                              size_t count, const metadata *meta, glmq_error *err)
{
    glmq_text head = { 0 };
    glmq_status st = open_shard(&head, p, meta, shard, err);
    if (!st) st = seal(p, file, arrays, count, &head, err);
    glmq_text_free(&head);
    return st;
}

/* Makes the files of `shards` shards.  `arrays` are sorted by shard; an array's `file` is
 * its shard until seal() makes it a file of the plan. */
static glmq_status seal_all(glmq_plan *p, uint32_t shards, placed *arrays, size_t count,
                            const metadata *meta, glmq_error *err)
{
    size_t at = 0;
    for (uint32_t s = 0; s < shards; s++) {
        char name[64] = "model.safetensors";
        size_t end = at;
        uint32_t file;
        while (end < count && arrays[end]->file == s) end++;
        if (shards > 1)
            snprintf(name, sizeof name, "model-%05" PRIu32 "-of-%05" PRIu32 ".safetensors", s + 1,
                     shards);
        GLMQ_TRY(glmq_plan_add_file(p, name, FILE_SAFETENSORS, &file, err));
        GLMQ_TRY(seal_shard(p, s, file, arrays + at, end - at, meta, err));
        at = end;
    }
    return GLMQ_OK;
}

glmq_status glmq_safetensors_layout(glmq_plan *p, const glmq_st_meta *meta, size_t n,
                                    glmq_error *err)
{
    return glmq_safetensors_layout_with(p, meta, n, NULL, err);
}

glmq_status glmq_safetensors_layout_with(glmq_plan *p, const glmq_st_meta *meta, size_t n,
                                         const glmq_st_shard_meta *per_shard, glmq_error *err)
{
    const metadata all = { meta, n, per_shard };
    const size_t count = p->arrays.count;
    glmq_text head = { 0 };
    placed *arrays = NULL;
    uint32_t shards;
    uint64_t total;
    glmq_status st;

    GLMQ_TRY(measure(p, &total, err));
    GLMQ_TRY(refuse_duplicates(p, err));
    st = open_header(&head, meta, n, err);
    if (st) goto done;
    shards = assign(p, head.len, per_shard ? per_shard->array_bytes : 0);
    arrays = glmq_alloc(count * sizeof *arrays);
    if (!arrays) {
        st = glmq_fail(err, GLMQ_E_NOMEM, "order of %zu arrays", count);
        goto done;
    }
    for (size_t i = 0; i < count; i++) arrays[i] = &p->arrays.at[i];
    qsort(arrays, count, sizeof *arrays, by_container_order);
    st = seal_all(p, shards, arrays, count, &all, err);
    if (!st && shards > 1) st = add_index(p, arrays, count, total, err);
done:
    glmq_free(arrays);
    glmq_text_free(&head);
    return st;
}
