/* The one door to JSON: cJSON behind a strict check of what cJSON lets pass, and
 * splicing, which edits a text without re-printing it.
 *
 * Why strict: cJSON accepts trailing text, a BOM, numbers like 01 or 1., raw control
 * characters, duplicate keys, and cuts strings at \u0000.  All of these are refused
 * (GLMQ_E_FORMAT, with the offset).  Depth is limited by GLMQ_JSON_DEPTH.
 * Why splicing: cJSON prints 1.0 as 1, and current transformers refuse an int where a
 * config class says float. */
#ifndef GLMQ_BASE_JSON_H
#define GLMQ_BASE_JSON_H

#include "glmq/error.h"
#include "text.h"
#include <cjson/cJSON.h>
#include <stddef.h>
#include <stdint.h>

enum { GLMQ_JSON_ALLOW_DUPLICATES = 1 }; /* flags */

/* Parses exactly `len` bytes (leading and trailing JSON white space is fine).  The
 * result is the caller's (cJSON_Delete).  Duplicate keys of one object, compared after
 * unescaping, are an error that names the key. */
glmq_status glmq_json_parse(cJSON **out, const char *text, size_t len, unsigned flags,
                            glmq_error *err);

/* Accepts exactly what glmq_json_parse accepts, but builds no tree: a tree takes up to 40
 * times the bytes of its text. */
glmq_status glmq_json_check(const char *text, size_t len, unsigned flags, glmq_error *err);

/* Lookups.  `path` is "a.b.c"; NULL when absent.  Linear: for small objects. */
const cJSON *glmq_json_get(const cJSON *root, const char *path);
const char *glmq_json_string(const cJSON *root, const char *path); /* NULL: absent, or no string */

/* The member under the first of `n` keys that is there and not null; NULL: none is. */
const cJSON *glmq_json_first(const cJSON *o, const char *const *keys, size_t n);

/* A whole number 0 … 2^53, written without fraction or exponent: returns 1, or 0. */
int glmq_json_u64(const cJSON *node, uint64_t *out);

/* Appends `s` as a JSON string with its quotes. */
void glmq_json_quote(glmq_text *t, const char *s, size_t len);

/* Where a member of an object lies in a text that glmq_json_parse accepted: from the
 * first byte of its key's quote to behind its value. */
typedef struct glmq_json_member {
    size_t begin, end; /* the member: key, colon, value               */
    size_t value_begin, value_end;
} glmq_json_member;

/* Walks the members of an object: *at begins as 0.  Returns 1 and the next member, or 0 at
 * the end and when the text is no object. */
int glmq_json_next(const char *text, size_t len, size_t *at, glmq_json_member *out);

/* The string that begins with the quote at `quote`, unescaped: at most `cap` bytes of it go
 * to `out`.  Returns its length, which is less than that of the text. */
size_t glmq_json_unescape(const char *quote, char *out, size_t cap);

/* Finds the top-level member `key`; returns 1 or 0. */
int glmq_json_find(const char *text, size_t len, const char *key, glmq_json_member *out);

/* Sets the top-level member `key` to the JSON text `value` (replaced in place, or put
 * last), or removes it when `value` is NULL.  Everything else keeps its bytes. */
glmq_status glmq_json_splice(glmq_text *text, const char *key, const char *value, glmq_error *err);
#endif
