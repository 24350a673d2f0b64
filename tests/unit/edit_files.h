/* Checkpoints taken apart and put together again otherwise: a folder's config.json and
 * safetensors arrays, changed as the test likes. */
#ifndef TESTS_EDIT_FILES_H
#define TESTS_EDIT_FILES_H

#include "base/json.h"
#include "base/safe.h"
#include "glmq/glmq.h"
#include "io/out.h"
#include "models/graph.h"
#include "support.h"
#include <inttypes.h>

typedef struct edited_array {
    char name[200], dtype[12];
    int rank;
    uint64_t dims[4];
    uint8_t *data;
    size_t bytes;
} edited_array;

typedef struct edited {
    edited_array *at;
    size_t count;
    cJSON *config;
    char folder[256]; /* where it was written */
} edited;

static inline edited_array *edit_add(edited *e, const char *name, const char *dtype, int rank,
                                     const uint64_t dims[4], const void *data, size_t bytes)
{
    edited_array *a;

    e->at = realloc(e->at, (e->count + 1) * sizeof *e->at);
    assert_non_null(e->at);
    a = &e->at[e->count++];
    memset(a, 0, sizeof *a);
    snprintf(a->name, sizeof a->name, "%s", name);
    snprintf(a->dtype, sizeof a->dtype, "%s", dtype);
    a->rank = rank;
    for (int i = 0; i < rank; i++) a->dims[i] = dims[i];
    a->data = malloc(bytes + 1);
    assert_non_null(a->data);
    if (data) memcpy(a->data, data, bytes);
    if (!data) memset(a->data, 0, bytes);
    a->bytes = bytes;
    return a;
}

static inline void edit_load_file(edited *e, const char *folder, const char *name)
{
    char path[1024];
    size_t len;
    char *text;
    cJSON *header = NULL;
    const cJSON *a;

    snprintf(path, sizeof path, "%s/%s", folder, name);
    text = slurp(path, &len);
    assert_int_equal(glmq_json_parse(&header, text + 8, (size_t)load_le64(text), 0, NULL), GLMQ_OK);
    cJSON_ArrayForEach(a, header)
    {
        const cJSON *shape = cJSON_GetObjectItem(a, "shape");
        const cJSON *off = cJSON_GetObjectItem(a, "data_offsets");
        uint64_t dims[4], begin = 0, end = 0;
        const int rank = cJSON_GetArraySize(shape);

        if (strcmp(a->string, "__metadata__") == 0) continue;
        assert_true(rank <= 4);
        for (int i = 0; i < rank; i++) glmq_json_u64(cJSON_GetArrayItem(shape, i), &dims[i]);
        glmq_json_u64(cJSON_GetArrayItem(off, 0), &begin);
        glmq_json_u64(cJSON_GetArrayItem(off, 1), &end);
        edit_add(e, a->string, cJSON_GetStringValue(cJSON_GetObjectItem(a, "dtype")), rank, dims,
                 text + 8 + load_le64(text) + begin, (size_t)(end - begin));
    }
    cJSON_Delete(header);
    free(text);
}

/* config.json and model.safetensors of a folder. */
static inline edited edit_load(const char *folder)
{
    edited e = { 0 };
    char path[1024];
    size_t len;
    char *text;

    snprintf(path, sizeof path, "%s/config.json", folder);
    text = slurp(path, &len);
    assert_int_equal(glmq_json_parse(&e.config, text, len, 0, NULL), GLMQ_OK);
    free(text);
    edit_load_file(&e, folder, "model.safetensors");
    return e;
}

static inline edited_array *edit_find(edited *e, const char *name)
{
    for (size_t i = 0; i < e->count; i++)
        if (strcmp(e->at[i].name, name) == 0) return &e->at[i];
    fail_msg("no array %s", name);
    return NULL;
}

static inline void edit_drop(edited *e, const char *name)
{
    edited_array *a = edit_find(e, name);

    free(a->data);
    *a = e->at[--e->count];
}

/* "a.b.c" of the config; a member's own name may hold dots when it is the last. */
static inline cJSON *edit_config(edited *e, const char *path)
{
    cJSON *at = e->config;
    char part[64];

    while (at && *path) {
        const size_t n = strcspn(path, ".");
        cJSON *whole = cJSON_GetObjectItemCaseSensitive(at, path);

        if (whole) return whole;
        snprintf(part, sizeof part, "%.*s", (int)n, path);
        at = cJSON_GetObjectItemCaseSensitive(at, part);
        path += path[n] ? n + 1 : n;
    }
    return at;
}

/* Arrays [first, end) as a file of the folder. */
static inline void edit_write_file(const edited *e, size_t first, size_t end, const char *name)
{
    glmq_text head = { 0 };
    char path[1024], prefix[8];
    size_t at = 0;
    FILE *f;

    glmq_text_add(&head, "{");
    for (size_t i = first; i < end; i++) {
        const edited_array *a = &e->at[i];

        glmq_text_printf(&head, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i > first ? "," : "",
                         a->name, a->dtype);
        for (int d = 0; d < a->rank; d++)
            glmq_text_printf(&head, "%s%" PRIu64, d ? "," : "", a->dims[d]);
        glmq_text_printf(&head, "],\"data_offsets\":[%zu,%zu]}", at, at + a->bytes);
        at += a->bytes;
    }
    glmq_text_add(&head, "}");
    assert_false(head.failed);
    store_le64(prefix, head.len);
    snprintf(path, sizeof path, "%s/%s", e->folder, name);
    f = fopen(path, "wb");
    assert_non_null(f);
    fwrite(prefix, 1, 8, f);
    fwrite(head.data, 1, head.len, f);
    for (size_t i = first; i < end; i++) fwrite(e->at[i].data, 1, e->at[i].bytes, f);
    assert_int_equal(fclose(f), 0);
    glmq_text_free(&head);
}

static inline void edit_write_config(edited *e)
{
    char *text = cJSON_Print(e->config);

    write_file(e->folder, "config.json", text, strlen(text));
    cJSON_free(text);
}

/* Into a fresh folder. */
static inline void edit_write(edited *e)
{
    fresh_folder(e->folder);
    edit_write_config(e);
    edit_write_file(e, 0, e->count, "model.safetensors");
}

static inline void edit_close(edited *e)
{
    for (size_t i = 0; i < e->count; i++) free(e->at[i].data);
    free(e->at);
    cJSON_Delete(e->config);
    if (e->folder[0]) glmq_out_remove_tree(e->folder, NULL);
    memset(e, 0, sizeof *e);
}

/* A checkpoint, opened. */
typedef struct opened_graph {
    glmq_source *src;
    glmq_graph *g;
    glmq_status status;
    glmq_error err;
} opened_graph;

static inline opened_graph graph_open(const char *path, const char *codebooks, int incomplete)
{
    const glmq_graph_options opt = { .allow_incomplete = incomplete, .vq_codebooks = codebooks };
    opened_graph o = { 0 };

    if (glmq_source_open(&o.src, path, NULL, &o.err)) fail_msg("%s", o.err.msg);
    o.status = glmq_graph_open(&o.g, o.src, &opt, &o.err);
    return o;
}

static inline void graph_shut(opened_graph *o)
{
    glmq_graph_close(o->g);
    glmq_source_close(o->src);
}

static inline const glmq_problem *graph_problem(const opened_graph *o, const char *code)
{
    for (size_t i = 0; i < glmq_graph_problem_count(o->g); i++)
        if (strcmp(glmq_graph_problem(o->g, i)->code, code) == 0)
            return glmq_graph_problem(o->g, i);
    return NULL;
}

/* What opening the edited checkpoint says; "" when it opens. */
static inline const char *edit_refusal(edited *e, glmq_status *status)
{
    static char text[1024];
    opened_graph o;

    edit_write(e);
    o = graph_open(e->folder, NULL, 0);
    *status = o.status;
    snprintf(text, sizeof text, "%s", o.status ? o.err.msg : "");
    graph_shut(&o);
    return text;
}
#endif
