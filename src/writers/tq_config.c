/* tq_config.json of a TurboQuant checkpoint that is copied: it counts the packed weights and
 * names those whose width is no multiple of the group, so it is written anew where fused
 * experts were taken apart, names completed or tensors left out.  Otherwise it goes along as
 * it is. */
#include "base/error.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/safe.h"
#include "readers/catalog.h"
#include "writers/hf.h"
#include <stdio.h>
#include <string.h>

static const char config_name[] = "tq_config.json";

static int is_packed(const glmq_plan *p, size_t i)
{
    return !p->want[i].dropped && p->want[i].enc.codec == &glmq_codec_tq3;
}

/* Is the tensor stored by itself, under its own name? */
static int is_itself(const glmq_plan *p, const glmq_tensor *x)
{
    const glmq_span *s = &x->part[0].span[GLMQ_SLOT_CODES];
    const char *stored = p->graph->catalog->arrays[s->array].name;
    const size_t len = strlen(x->name);

    return strncmp(stored, x->name, len) == 0 && strcmp(stored + len, ".tq_packed") == 0;
}

/* Packed tensors of the target; *same: each of them is stored so in the source. */
static uint64_t count_packed(const glmq_plan *p, int *same)
{
    uint64_t n = 0;

    *same = 1;
    for (size_t i = 0; i < p->graph->count; i++) {
        if (!is_packed(p, i)) continue;
        *same &= is_itself(p, &p->graph->tensors[i]);
        n++;
    }
    return n;
}

/* "{…}" of the names and widths of padded tensors; empty: there are none. */
static void list_widths(const glmq_plan *p, glmq_text *out)
{
    for (size_t i = 0; i < p->graph->count; i++) {
        const glmq_tensor *x = &p->graph->tensors[i];

        if (!is_packed(p, i) || x->cols % p->want[i].enc.group == 0) continue;
        glmq_text_add(out, out->len ? ",\n    " : "{\n    ");
        glmq_json_quote(out, x->name, strlen(x->name));
        glmq_text_printf(out, ": %" PRIu64, x->cols);
    }
    if (out->len) glmq_text_add(out, "\n  }");
}

static glmq_status write_anew(glmq_plan *p, glmq_text *text, uint64_t count, glmq_error *err)
{
    glmq_text widths = { 0 };
    char number[24];
    glmq_status st;

    snprintf(number, sizeof number, "%" PRIu64, count);
    st = glmq_json_splice(text, "compressed_layers", number, err);
    list_widths(p, &widths);
    if (!st && widths.failed) st = glmq_fail(err, GLMQ_E_NOMEM, "%s", config_name);
    if (!st) st = glmq_json_splice(text, "orig_in_dims", widths.len ? widths.data : NULL, err);
    if (!st) st = glmq_plan_add_text(p, config_name, text->data, text->len, err);
    glmq_text_free(&widths);
    return st;
}

/* Does the file say something else than what will be stored? */
static int is_stale(const char *data, size_t len, uint64_t count)
{
    glmq_json_member m;
    char number[24];
    const int n = snprintf(number, sizeof number, "%" PRIu64, count);

    return glmq_json_find(data, len, "compressed_layers", &m) &&
           (m.value_end - m.value_begin != (size_t)n ||
            memcmp(data + m.value_begin, number, (size_t)n) != 0);
}

glmq_status glmq_hf_plan_tq_config(glmq_plan *p, glmq_error *err)
{
    int same;
    const uint64_t count = count_packed(p, &same);
    glmq_text text = { 0 };
    char *data = NULL;
    size_t len = 0;
    glmq_status st;

    if (count == 0) return GLMQ_OK;
    GLMQ_TRY(glmq_catalog_side_file(p->graph->source, config_name, &data, &len, err));
    if (!data) return GLMQ_OK; /* config.json says it */
    glmq_text_add_n(&text, data, len);
    if (text.failed)
        st = glmq_fail(err, GLMQ_E_NOMEM, "%s", config_name);
    else
        st = same && !is_stale(data, len, count) ? GLMQ_OK : write_anew(p, &text, count, err);
    glmq_text_free(&text);
    glmq_free(data);
    return st;
}
