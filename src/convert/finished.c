#include "convert/finished.h"
#include "base/json.h"
#include "base/mem.h"
#include "writers/manifest.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

enum { HEAD_BYTES = 64 * 1024 }; /* of a manifest, up to its first tensor: paths and options */

/* ---- files ---- */

static int has_size(const char *path, uint64_t bytes)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == bytes;
}

static int all_files_there(const glmq_plan *p)
{
    int there = 1;

    if (p->dst_is_file) return has_size(p->dst, glmq_plan_file_bytes(p, 0));
    for (size_t i = 0; there && i < glmq_plan_file_count(p); i++) {
        glmq_text path = { 0 };
        glmq_text_printf(&path, "%s/%s", p->dst, glmq_plan_file_name(p, i));
        there = !path.failed && has_size(path.data, glmq_plan_file_bytes(p, i));
        glmq_text_free(&path);
    }
    return there;
}

/* ---- the manifest ---- */

/* Its beginning, made whole: as if there were no tensors. */
static int read_head(const char *path, glmq_text *head)
{
    FILE *f = fopen(path, "rbe");
    char *text = f ? glmq_alloc(HEAD_BYTES + 1) : NULL, *end = NULL;

    if (text) {
        text[fread(text, 1, HEAD_BYTES, f)] = '\0';
        end = strstr(text, GLMQ_MANIFEST_TENSORS);
    }
    if (end) glmq_text_printf(head, "%.*s%s]}", (int)(end - text), text, GLMQ_MANIFEST_TENSORS);
    glmq_free(text);
    if (f) fclose(f);
    return end && !head->failed;
}

static int take_digest(const cJSON *root, const char *path, char out[33])
{
    const char *hex = glmq_json_string(root, path);
    if (!hex || strlen(hex) != 32) return 0;
    memcpy(out, hex, 33);
    return 1;
}

static int take_result(const glmq_plan *p, const cJSON *root, glmq_run_result *out)
{
    const char *plan = glmq_json_string(root, "plan");
    const cJSON *travel = glmq_json_get(root, "result.travel");
    uint64_t all = 0;

    if (!plan || strcmp(plan, p->digest)) return 0;
    *out = (glmq_run_result){ .resumed = p->items.count };
    for (int t = 0; t <= GLMQ_RECODE; t++) {
        const cJSON *n = cJSON_GetObjectItemCaseSensitive(travel, glmq_travel_name((glmq_travel)t));
        if (n && !glmq_json_u64(n, &out->tensors[t])) return 0;
        all += out->tensors[t];
    }
    return all == p->items.count && take_digest(root, "source.digest", out->source_digest) &&
           take_digest(root, "result.digest", out->result_digest);
}

int glmq_finished(const glmq_plan *p, glmq_run_result *out)
{
    glmq_text path = { 0 }, head = { 0 };
    cJSON *root = NULL;
    int is = 0;

    glmq_text_printf(&path, "%s%c%s", p->dst, p->dst_is_file ? '.' : '/', GLMQ_MANIFEST_NAME);
    if (!path.failed && all_files_there(p) && read_head(path.data, &head) &&
        !glmq_json_parse(&root, head.data, strlen(head.data), 0, NULL))
        is = take_result(p, root, out);
    cJSON_Delete(root);
    glmq_text_free(&path);
    glmq_text_free(&head);
    return is;
}
