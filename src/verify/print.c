/* Printing results. */
#include "print.h"
#include "base/json.h"
#include "base/mem.h"
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

/* ---- JSON ---- */

enum { JSON_FLUSH = 1 << 16, LINE_DEPTH = 2 }; /* up to this depth members get lines */

static void json_flush(glmq_json_out *j)
{
    if (j->text.len) fwrite(j->text.data, 1, j->text.len, j->file);
    j->text.len = 0;
}

static void add_quoted(glmq_json_out *j, const char *s)
{
    char escaped[8192];
    const size_t len = strlen(s);

    if (glmq_utf8_valid(s, len)) {
        glmq_json_quote(&j->text, s, len);
        return;
    }
    glmq_escape(escaped, sizeof escaped, s, len); /* JSON text must be UTF-8 */
    glmq_json_quote(&j->text, escaped, strlen(escaped));
}

/* Comma, line feed and key in front of a value. */
static void before_value(glmq_json_out *j, const char *key)
{
    if (j->depth) {
        uint8_t *filled = &j->filled[j->depth - 1];
        if (*filled) glmq_text_add(&j->text, ",");
        if (j->depth <= LINE_DEPTH && !j->flat)
            glmq_text_add(&j->text, j->depth == 1 ? "\n " : "\n  ");
        else if (*filled)
            glmq_text_add(&j->text, " ");
        *filled = 1;
    }
    if (key) {
        glmq_json_quote(&j->text, key, strlen(key));
        glmq_text_add(&j->text, ": ");
    }
    if (j->text.len > JSON_FLUSH) json_flush(j);
}

void glmq_json_begin(glmq_json_out *j, const char *key, char bracket)
{
    before_value(j, key);
    glmq_text_add_n(&j->text, &bracket, 1);
    if (j->depth == GLMQ_JSON_OUT_DEPTH) {
        j->text.failed = 1;
        return;
    }
    j->closing[j->depth] = bracket == '{' ? '}' : ']';
    j->filled[j->depth++] = 0;
}

void glmq_json_end(glmq_json_out *j)
{
    if (!j->depth) return;
    j->depth--;
    if (j->filled[j->depth] && j->depth < LINE_DEPTH && !j->flat)
        glmq_text_add(&j->text, j->depth ? "\n " : "\n");
    glmq_text_add_n(&j->text, &j->closing[j->depth], 1);
}

void glmq_json_str(glmq_json_out *j, const char *key, const char *value)
{
    before_value(j, key);
    if (value)
        add_quoted(j, value);
    else
        glmq_text_add(&j->text, "null");
}

void glmq_json_uint(glmq_json_out *j, const char *key, uint64_t value)
{
    before_value(j, key);
    glmq_text_printf(&j->text, "%" PRIu64, value);
}

void glmq_json_int(glmq_json_out *j, const char *key, int64_t value)
{
    before_value(j, key);
    glmq_text_printf(&j->text, "%" PRId64, value);
}

void glmq_json_real(glmq_json_out *j, const char *key, double value)
{
    before_value(j, key);
    if (isfinite(value))
        glmq_text_printf(&j->text, "%.9g", value);
    else
        glmq_text_add(&j->text, "null");
}

void glmq_json_bool(glmq_json_out *j, const char *key, int value)
{
    before_value(j, key);
    glmq_text_add(&j->text, value ? "true" : "false");
}

void glmq_json_null(glmq_json_out *j, const char *key)
{
    glmq_json_raw(j, key, "null");
}

void glmq_json_raw(glmq_json_out *j, const char *key, const char *json)
{
    before_value(j, key);
    glmq_text_add(&j->text, json);
}

int glmq_json_close(glmq_json_out *j)
{
    glmq_text_add(&j->text, "\n");
    json_flush(j);
    const int failed = j->text.failed || ferror(j->file);
    glmq_text_free(&j->text);
    return failed ? -1 : 0;
}

/* ---- tables ---- */

void glmq_cell(glmq_table *t, const char *format, ...)
{
    char text[512];
    va_list args;

    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    glmq_text_add_n(&t->cells, text, strlen(text) + 1);
    t->count++;
}

void glmq_cell_text(glmq_table *t, const char *s)
{
    char text[4096];

    glmq_escape(text, sizeof text, s, strlen(s));
    glmq_text_add_n(&t->cells, text, strlen(text) + 1);
    t->count++;
}

enum { COLUMNS_MAX = 16 };

static void measure(const glmq_table *t, size_t columns, size_t *width)
{
    const char *cell = t->cells.data;
    for (size_t i = 0; i < t->count; i++) {
        const size_t len = strlen(cell);
        if (len > width[i % columns]) width[i % columns] = len;
        cell += len + 1;
    }
}

/* Spaces go in front of the next cell that is not empty, so that no line ends in them. */
static void print_cell(const char *cell, int right, size_t width, int *spaces, FILE *out)
{
    const size_t len = strlen(cell);
    const int pad = (int)(width - len);

    if (len) {
        fprintf(out, "%*s%s", *spaces + (right ? pad : 0), "", cell);
        *spaces = right ? 0 : pad;
    } else {
        *spaces += (int)width;
    }
}

int glmq_table_print(glmq_table *t, int indent, FILE *out)
{
    size_t width[COLUMNS_MAX] = { 0 };
    const size_t columns = strlen(t->align);
    const char *cell = t->cells.data;
    const int failed = t->cells.failed;
    int spaces = 0;

    if (!failed) measure(t, columns, width);
    for (size_t i = 0; i < t->count && !failed; i++) {
        const size_t c = i % columns;
        spaces = c == 0 ? indent : spaces + 2;
        print_cell(cell, t->align[c] == 'r', width[c], &spaces, out);
        if (c + 1 == columns) fputc('\n', out);
        cell += strlen(cell) + 1;
    }
    glmq_text_free(&t->cells);
    t->cells = (glmq_text){ 0 };
    t->count = 0;
    return failed ? -1 : 0;
}

/* ---- for people ---- */

static glmq_short scaled(uint64_t value, const char *const *units, size_t count)
{
    glmq_short text;
    double x = (double)value;
    size_t u = 0;

    while (x >= 999.5 && u + 1 < count) {
        x /= 1000;
        u++;
    }
    if (u == 0)
        snprintf(text.s, sizeof text.s, "%" PRIu64 "%s%s", value, units[0][0] ? " " : "", units[0]);
    else
        snprintf(text.s, sizeof text.s, "%.*f %s", x < 9.995 ? 2 : x < 99.95 ? 1 : 0, x, units[u]);
    return text;
}

glmq_short glmq_bytes_text(uint64_t bytes)
{
    static const char *const units[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    return scaled(bytes, units, GLMQ_COUNT(units));
}

glmq_short glmq_count_text(uint64_t count)
{
    static const char *const units[] = { "", "thousand", "million", "billion", "trillion" };
    return scaled(count, units, GLMQ_COUNT(units));
}

void glmq_print_text(const char *s, FILE *out)
{
    char text[4096];
    glmq_escape(text, sizeof text, s, strlen(s));
    fputs(text, out);
}
