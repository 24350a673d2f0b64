/* Printing results: JSON that streams, tables that line up, sizes for people. */
#ifndef GLMQ_VERIFY_PRINT_H
#define GLMQ_VERIFY_PRINT_H

#include "base/text.h"
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* ---- JSON, written as it comes ---- */

enum { GLMQ_JSON_OUT_DEPTH = 16 };

typedef struct glmq_json_out {
    FILE *file;
    glmq_text text; /* not yet written                                  */
    int depth;
    char closing[GLMQ_JSON_OUT_DEPTH];
    uint8_t filled[GLMQ_JSON_OUT_DEPTH]; /* this level has a member                      */
    int flat;                            /* all on one line                                  */
} glmq_json_out;                         /* { .file = stdout } is ready */

/* Opens an object '{' or an array '['; `key` NULL inside arrays and at the top. */
void glmq_json_begin(glmq_json_out *j, const char *key, char bracket);
void glmq_json_end(glmq_json_out *j);
void glmq_json_str(glmq_json_out *j, const char *key, const char *value); /* NULL: null */
void glmq_json_uint(glmq_json_out *j, const char *key, uint64_t value);
void glmq_json_int(glmq_json_out *j, const char *key, int64_t value);
void glmq_json_real(glmq_json_out *j, const char *key, double value); /* not finite: null */
void glmq_json_bool(glmq_json_out *j, const char *key, int value);
void glmq_json_null(glmq_json_out *j, const char *key);
void glmq_json_raw(glmq_json_out *j, const char *key, const char *json);
/* Writes what is left and a line feed.  -1: out of memory or a write failed. */
int glmq_json_close(glmq_json_out *j);

/* ---- tables ---- */

typedef struct glmq_table {
    const char *align; /* a letter per column: l or r                                   */
    glmq_text cells;   /* one after the other, each terminated                          */
    size_t count;
} glmq_table; /* { .align = "lrr" } is ready */

void glmq_cell(glmq_table *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Text from a file: escaped. */
void glmq_cell_text(glmq_table *t, const char *s);
/* Prints the rows, each behind `indent` spaces, and forgets them.  -1: out of memory. */
int glmq_table_print(glmq_table *t, int indent, FILE *out);

/* ---- for people ---- */

typedef struct glmq_short {
    char s[32];
} glmq_short;
glmq_short glmq_bytes_text(uint64_t bytes); /* "1.53 GB"            */
glmq_short glmq_count_text(uint64_t count); /* "355 billion"        */
/* Prints text that came from a file: control characters escaped. */
void glmq_print_text(const char *s, FILE *out);
#endif
