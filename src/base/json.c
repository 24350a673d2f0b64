/* The one door to JSON.  A scanner reads the text once and refuses everything that cJSON
 * would let pass; then cJSON builds the tree; then numbers that are not plain whole ones
 * are marked in the tree, because cJSON keeps only a double of them.
 *
 * The scanner needs no recursion: `open` holds one entry per open object or array.  Keys
 * of the open objects lie on one stack; an object with many keys gets a hash map, so that
 * looking for duplicates stays linear. */
#include "base/json.h"
#include "base/arena.h"
#include "base/error.h"
#include "base/fault.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/strmap.h"
#include <string.h>

enum {
    NUMBER_MAX = 63,    /* cJSON reads no more characters of a number */
    FEW_KEYS = 16,      /* compared one by one; more go into a map    */
    NOT_WHOLE = 1 << 12 /* a bit of cJSON's `type` that cJSON does not use */
};

typedef struct key {
    const char *s;
    size_t len;
} key;

typedef struct level {
    int object;
    size_t first_key;
    glmq_strmap map; /* of this object's keys, once there are many */
} level;

typedef struct scan {
    const char *text, *p, *end;
    unsigned flags;
    glmq_error *err;
    level open[GLMQ_JSON_DEPTH];
    int depth;
    key *keys;
    size_t key_count, key_cap;
    glmq_arena unescaped; /* keys that were written with escapes           */
    size_t *odd;          /* ordinals of the numbers that are not whole    */
    size_t odd_count, odd_cap, numbers;
    size_t values;
} scan;

static glmq_status bad(const scan *s, const char *at, const char *what)
{
    return glmq_fail(s->err, GLMQ_E_FORMAT, "json: %s (offset %zu)", what, (size_t)(at - s->text));
}

static glmq_status no_memory(const scan *s)
{
    return glmq_fail(s->err, GLMQ_E_NOMEM, "json: out of memory (offset %zu)",
                     (size_t)(s->p - s->text));
}

static const char *skip_space(const char *p, const char *end)
{
    while (p < end && (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t')) p++;
    return p;
}

/* ---- strings ---- */

static int hex4(const char *p, unsigned *out)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++) {
        const char c = p[i];
        v <<= 4;
        if (c >= '0' && c <= '9')
            v |= (unsigned)(c - '0');
        else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'))
            v |= (unsigned)((c | 32) - 'a' + 10);
        else
            return -1;
    }
    *out = v;
    return 0;
}

static size_t put_utf8(unsigned c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

/* \uXXXX at p (behind the u), or a pair of them.  Returns the bytes read, or 0 with *why. */
static size_t unicode_escape(const char *p, const char *end, unsigned *c, const char **why)
{
    unsigned low;
    *why = "bad \\u escape";
    if (end - p < 4 || hex4(p, c)) return 0;
    *why = "\\u0000";
    if (*c == 0) return 0;
    if (*c < 0xd800 || *c > 0xdfff) return 4;
    *why = "lone surrogate";
    if (*c > 0xdbff || end - p < 10 || p[4] != '\\' || p[5] != 'u') return 0;
    if (hex4(p + 6, &low) || low < 0xdc00 || low > 0xdfff) return 0;
    *c = 0x10000 + ((*c - 0xd800) << 10) + (low - 0xdc00);
    return 10;
}

/* One escape sequence at p (the backslash): its bytes in out[0..*n).  Returns how many
 * characters it takes, or 0 with *why. */
static size_t escape(const char *p, const char *end, char out[4], size_t *n, const char **why)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *hit;
    unsigned c;
    size_t used;
    *why = "bad escape";
    if (end - p < 2 || !p[1]) return 0;
    if (p[1] == 'u') {
        used = unicode_escape(p + 2, end, &c, why);
        if (!used) return 0;
        *n = put_utf8(c, out);
        return used + 2;
    }
    hit = strchr(from, p[1]);
    if (!hit) return 0;
    out[0] = to[hit - from];
    *n = 1;
    return 2;
}

/* Reads a string at s->p (the quote); the raw inside is *raw. */
static glmq_status scan_string(scan *s, key *raw, int *escaped)
{
    const char *const begin = s->p;
    const char *p = begin + 1, *why;
    unsigned char bits = 0;
    *escaped = 0;
    for (;; p++) {
        char out[4];
        size_t n, used;
        while (p < s->end && (unsigned char)*p >= 0x20 && *p != '"' && *p != '\\')
            bits |= (unsigned char)*p++;
        if (p == s->end) return bad(s, begin, "unterminated string");
        if (*p == '"') break;
        if (*p != '\\') return bad(s, p, "control character in a string");
        used = escape(p, s->end, out, &n, &why);
        if (!used) return bad(s, p, why);
        *escaped = 1;
        p += used - 1;
    }
    *raw = (key){ begin + 1, (size_t)(p - begin - 1) };
    if (bits & 0x80 && !glmq_utf8_valid(raw->s, raw->len))
        return bad(s, begin, "ill-formed UTF-8 in a string");
    s->p = p + 1;
    return GLMQ_OK;
}

/* The inverse of quoting, of a string that was scanned.  `out` holds raw.len bytes. */
static size_t unescape(key raw, char *out)
{
    const char *const end = raw.s + raw.len, *why;
    size_t len = 0;
    for (const char *p = raw.s; p < end;) {
        char bytes[4];
        size_t n;
        if (*p != '\\') {
            out[len++] = *p++;
            continue;
        }
        p += escape(p, end, bytes, &n, &why);
        memcpy(out + len, bytes, n);
        len += n;
    }
    return len;
}

/* ---- keys ---- */

static glmq_status duplicate(const scan *s, key k)
{
    return glmq_fail(s->err, GLMQ_E_FORMAT, "json: duplicate key \"%.*s\" (offset %zu)",
                     k.len > 200 ? 200 : (int)k.len, k.s, (size_t)(s->p - s->text));
}

static glmq_status push_key(scan *s, key k)
{
    if (s->key_count == s->key_cap) {
        const size_t cap = s->key_cap ? s->key_cap * 2 : 64;
        key *wide = glmq_realloc(s->keys, cap * sizeof *wide);
        if (!wide) return no_memory(s);
        s->keys = wide;
        s->key_cap = cap;
    }
    s->keys[s->key_count++] = k;
    return GLMQ_OK;
}

/* Moves an object's keys into its map, when they became many. */
static glmq_status keys_to_map(scan *s, level *l)
{
    for (size_t i = l->first_key; i < s->key_count; i++)
        if (glmq_strmap_add(&l->map, s->keys[i].s, s->keys[i].len, 0, NULL) < 0)
            return no_memory(s);
    s->key_count = l->first_key;
    return GLMQ_OK;
}

static glmq_status add_key(scan *s, level *l, key k)
{
    if (l->map.count) {
        const int added = glmq_strmap_add(&l->map, k.s, k.len, 0, NULL);
        if (added < 0) return no_memory(s);
        if (l->map.count > GLMQ_ARRAYS_MAX)
            return glmq_fail(s->err, GLMQ_E_LIMIT, "json: an object of more than %d members",
                             GLMQ_ARRAYS_MAX);
        return added ? GLMQ_OK : duplicate(s, k);
    }
    for (size_t i = l->first_key; i < s->key_count; i++)
        if (s->keys[i].len == k.len && memcmp(s->keys[i].s, k.s, k.len) == 0)
            return duplicate(s, k);
    GLMQ_TRY(push_key(s, k));
    return s->key_count - l->first_key > FEW_KEYS ? keys_to_map(s, l) : GLMQ_OK;
}

static glmq_status scan_key(scan *s)
{
    level *l = &s->open[s->depth - 1];
    int escaped;
    key k;
    if (s->p == s->end || *s->p != '"') return bad(s, s->p, "expected a key");
    GLMQ_TRY(scan_string(s, &k, &escaped));
    if (!(s->flags & GLMQ_JSON_ALLOW_DUPLICATES)) {
        if (escaped) {
            char *plain = glmq_arena_alloc(&s->unescaped, k.len);
            if (!plain) return no_memory(s);
            k = (key){ plain, unescape(k, plain) };
        }
        GLMQ_TRY(add_key(s, l, k));
    }
    s->p = skip_space(s->p, s->end);
    if (s->p == s->end || *s->p != ':') return bad(s, s->p, "expected ':'");
    s->p = skip_space(s->p + 1, s->end);
    return GLMQ_OK;
}

/* ---- numbers and words ---- */

static const char *digits(const char *p, const char *end)
{
    while (p < end && *p >= '0' && *p <= '9') p++;
    return p;
}

/* Up to 2^53, where every whole number is a double. */
static int is_whole(const char *p, size_t len)
{
    static const char most[] = "9007199254740992";
    const size_t n = sizeof most - 1;
    if (len != n) return len < n;
    return memcmp(p, most, n) <= 0;
}

static glmq_status remember_odd(scan *s)
{
    if (s->odd_count == s->odd_cap) {
        const size_t cap = s->odd_cap ? s->odd_cap * 2 : 64;
        size_t *wide = glmq_realloc(s->odd, cap * sizeof *wide);
        if (!wide) return no_memory(s);
        s->odd = wide;
        s->odd_cap = cap;
    }
    s->odd[s->odd_count++] = s->numbers;
    return GLMQ_OK;
}

static glmq_status scan_number(scan *s)
{
    const char *const begin = s->p, *p = begin + (*begin == '-'), *q = digits(p, s->end);
    const size_t whole = (size_t)(q - p);
    if (!whole || (*p == '0' && whole > 1)) return bad(s, begin, "malformed number");
    if (q < s->end && *q == '.') {
        p = q + 1;
        q = digits(p, s->end);
        if (p == q) return bad(s, begin, "malformed number");
    }
    if (q < s->end && (*q | 32) == 'e') {
        p = q + 1;
        if (p < s->end && (*p == '+' || *p == '-')) p++;
        q = digits(p, s->end);
        if (p == q) return bad(s, begin, "malformed number");
    }
    if (q - begin > NUMBER_MAX) return bad(s, begin, "number of more than 63 characters");
    if ((size_t)(q - begin) != whole || !is_whole(begin, whole)) GLMQ_TRY(remember_odd(s));
    s->numbers++;
    s->p = q;
    return GLMQ_OK;
}

static glmq_status scan_word(scan *s)
{
    static const char *const words[] = { "true", "false", "null" };
    for (size_t i = 0; i < GLMQ_COUNT(words); i++) {
        const size_t n = strlen(words[i]);
        if ((size_t)(s->end - s->p) >= n && memcmp(s->p, words[i], n) == 0) {
            s->p += n;
            return GLMQ_OK;
        }
    }
    return bad(s, s->p, "expected a value");
}

/* ---- structure ---- */

static void close_level(scan *s)
{
    level *l = &s->open[--s->depth];
    if (!l->object) return;
    s->key_count = l->first_key;
    glmq_strmap_free(&l->map);
}

static glmq_status open_level(scan *s, int object)
{
    if (s->depth == GLMQ_JSON_DEPTH)
        return glmq_fail(s->err, GLMQ_E_FORMAT, "json: depth %d, at most %d (offset %zu)",
                         s->depth + 1, GLMQ_JSON_DEPTH, (size_t)(s->p - s->text));
    s->open[s->depth++] = (level){ .object = object, .first_key = s->key_count };
    s->p = skip_space(s->p + 1, s->end);
    return GLMQ_OK;
}

/* Behind a value: closes what ends here, and goes to the next value if there is one.
 * *done: the outermost value is complete. */
static glmq_status after_value(scan *s, int *done)
{
    while (s->depth) {
        const int object = s->open[s->depth - 1].object;
        s->p = skip_space(s->p, s->end);
        if (s->p == s->end) return bad(s, s->p, "the text ends too early");
        if (*s->p == ',') {
            s->p = skip_space(s->p + 1, s->end);
            return object ? scan_key(s) : GLMQ_OK;
        }
        if (*s->p != (object ? '}' : ']'))
            return bad(s, s->p, object ? "expected ',' or '}'" : "expected ',' or ']'");
        s->p++;
        close_level(s);
    }
    *done = 1;
    return GLMQ_OK;
}

/* One value, or the opening of one.  *inside: its first member comes next. */
static glmq_status scan_value(scan *s, int *inside)
{
    int escaped;
    key k;
    *inside = 0;
    s->values++;
    if (s->p == s->end) return bad(s, s->p, "the text ends too early");
    switch (*s->p) {
    case '"': return scan_string(s, &k, &escaped);
    case '{':
    case '[': *inside = 1; return open_level(s, *s->p == '{');
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9': return scan_number(s);
    default: return scan_word(s);
    }
}

/* Behind an opening bracket: 1 when it closes at once. */
static int closes_at_once(scan *s)
{
    const char close = s->open[s->depth - 1].object ? '}' : ']';
    if (s->p == s->end || *s->p != close) return 0;
    s->p++;
    close_level(s);
    return 1;
}

static glmq_status scan_all(scan *s)
{
    int done = 0, inside;
    s->p = skip_space(s->text, s->end);
    while (!done) {
        GLMQ_TRY(scan_value(s, &inside));
        if (inside && !closes_at_once(s)) {
            if (s->open[s->depth - 1].object) GLMQ_TRY(scan_key(s));
            continue;
        }
        GLMQ_TRY(after_value(s, &done));
    }
    s->p = skip_space(s->p, s->end);
    return s->p == s->end ? GLMQ_OK : bad(s, s->p, "trailing text");
}

static void scan_free(scan *s)
{
    while (s->depth) close_level(s);
    glmq_free(s->keys);
    glmq_free(s->odd);
    glmq_arena_free(&s->unescaped);
}

/* Numbers come in the tree in the order of the text. */
static void mark_odd(cJSON *node, const scan *s, size_t *number, size_t *next)
{
    for (; node && *next < s->odd_count; node = node->next) {
        if (cJSON_IsNumber(node)) {
            if (*number == s->odd[*next]) {
                node->type |= NOT_WHOLE;
                ++*next;
            }
            ++*number;
        }
        mark_odd(node->child, s, number, next);
    }
}

/* Whatever the status, *s is to be freed. */
static glmq_status scan_text(scan *s, const char *text, size_t len, unsigned flags, glmq_error *err)
{
    *s = (scan){ .text = text, .p = text, .end = text + len, .flags = flags, .err = err };
    if (len > GLMQ_HEADER_MAX)
        return glmq_fail(err, GLMQ_E_LIMIT, "json: %zu bytes, at most %d", len, GLMQ_HEADER_MAX);
    return scan_all(s);
}

glmq_status glmq_json_check(const char *text, size_t len, unsigned flags, glmq_error *err)
{
    scan s;
    const glmq_status st = scan_text(&s, text, len, flags, err);
    scan_free(&s);
    return st;
}

static glmq_status build_tree(cJSON **out, const scan *s, glmq_error *err)
{
    const size_t len = (size_t)(s->end - s->text);
    size_t number = 0, next = 0;
    if (s->values > GLMQ_JSON_VALUES)
        return glmq_fail(err, GLMQ_E_LIMIT, "json: %zu values, at most %d", s->values,
                         GLMQ_JSON_VALUES);
    *out = glmq_fault() ? NULL : cJSON_ParseWithLength(s->text, len);
    if (!*out) /* what the scan accepts, cJSON accepts */
        return glmq_fail(err, GLMQ_E_NOMEM, "json: out of memory for the tree of %zu bytes", len);
    mark_odd(*out, s, &number, &next);
    return GLMQ_OK;
}

glmq_status glmq_json_parse(cJSON **out, const char *text, size_t len, unsigned flags,
                            glmq_error *err)
{
    scan s;
    glmq_status st;
    *out = NULL;
    st = scan_text(&s, text, len, flags, err);
    if (!st) st = build_tree(out, &s, err);
    scan_free(&s);
    return st;
}

/* ---- lookups ---- */

static const cJSON *child_of(const cJSON *node, const char *name, size_t len)
{
    for (node = node->child; node; node = node->next)
        if (node->string && strncmp(node->string, name, len) == 0 && !node->string[len])
            return node;
    return NULL;
}

const cJSON *glmq_json_get(const cJSON *root, const char *path)
{
    while (root && *path) {
        const size_t len = strcspn(path, ".");
        root = child_of(root, path, len);
        path += len + (path[len] == '.');
    }
    return root;
}

const char *glmq_json_string(const cJSON *root, const char *path)
{
    return cJSON_GetStringValue(glmq_json_get(root, path));
}

const cJSON *glmq_json_first(const cJSON *o, const char *const *keys, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const cJSON *node = cJSON_GetObjectItemCaseSensitive(o, keys[i]);
        if (node && !cJSON_IsNull(node)) return node;
    }
    return NULL;
}

int glmq_json_u64(const cJSON *node, uint64_t *out)
{
    double v;
    if (!node || !cJSON_IsNumber(node) || node->type & NOT_WHOLE) return 0;
    v = node->valuedouble;
    if (!(v >= 0 && v <= 9007199254740992.0)) return 0;
    *out = (uint64_t)v;
    return (double)*out == v;
}

void glmq_json_quote(glmq_text *t, const char *s, size_t len)
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    size_t done = 0;
    glmq_text_add(t, "\"");
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)s[i];
        const char *hit;
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        glmq_text_add_n(t, s + done, i - done);
        hit = c ? strchr(from, c) : NULL;
        if (hit)
            glmq_text_printf(t, "\\%c", to[hit - from]);
        else
            glmq_text_printf(t, "\\u%04x", c);
        done = i + 1;
    }
    if (len > done) glmq_text_add_n(t, s + done, len - done);
    glmq_text_add(t, "\"");
}

/* ---- splicing: only on texts that the scanner accepted ---- */

static const char *string_end(const char *p)
{
    for (p++; *p != '"'; p++)
        if (*p == '\\') p++;
    return p + 1;
}

/* Behind the value at p; brackets inside strings do not count. */
static const char *value_end(const char *p, const char *end)
{
    size_t depth = 0;
    while (p < end) {
        if (*p == '"') {
            p = string_end(p);
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (*p == '}' || *p == ']') {
            if (!depth) return p;
            depth--;
            p++;
        } else if (!depth) {
            while (p < end && !strchr(",]} \n\r\t", *p)) p++;
            return p;
        } else {
            p++;
        }
        if (!depth && (p[-1] == '"' || p[-1] == '}' || p[-1] == ']')) return p;
    }
    return p;
}

/* Does the raw key, unescaped, equal `name`? */
static int key_equals(key raw, const char *name)
{
    const char *const end = raw.s + raw.len, *why;
    const size_t len = strlen(name);
    size_t done = 0;
    for (const char *p = raw.s; p < end;) {
        char bytes[4] = { *p };
        size_t n = 1;
        p += *p == '\\' ? escape(p, end, bytes, &n, &why) : 1;
        if (n > len - done || memcmp(name + done, bytes, n) != 0) return 0;
        done += n;
    }
    return done == len;
}

/* The member at or behind p; 0 at the end of the object. */
static int next_member(const char *text, const char *p, const char *end, glmq_json_member *m)
{
    p = skip_space(p, end);
    if (p < end && *p == ',') p = skip_space(p + 1, end);
    if (p >= end || *p != '"') return 0;
    m->begin = (size_t)(p - text);
    p = skip_space(string_end(p), end);
    p = skip_space(p + 1, end); /* the colon */
    m->value_begin = (size_t)(p - text);
    p = value_end(p, end);
    m->value_end = m->end = (size_t)(p - text);
    return 1;
}

/* Behind the opening brace of the outermost object, or NULL. */
static const char *object_begin(const char *text, const char *end)
{
    const char *p = skip_space(text, end);
    return p < end && *p == '{' ? p + 1 : NULL;
}

int glmq_json_next(const char *text, size_t len, size_t *at, glmq_json_member *out)
{
    const char *const end = text + len, *const begin = object_begin(text, end);
    if (!begin || !next_member(text, *at ? text + *at : begin, end, out)) return 0;
    *at = out->end;
    return 1;
}

size_t glmq_json_unescape(const char *quote, char *out, size_t cap)
{
    const char *const end = string_end(quote) - 1, *why;
    size_t len = 0;
    for (const char *p = quote + 1; p < end;) {
        char bytes[4] = { *p };
        size_t n = 1;
        p += *p == '\\' ? escape(p, end, bytes, &n, &why) : 1;
        for (size_t i = 0; i < n; i++, len++)
            if (len < cap) out[len] = bytes[i];
    }
    return len;
}

int glmq_json_find(const char *text, size_t len, const char *name, glmq_json_member *out)
{
    const char *const end = text + len, *p = object_begin(text, end);
    glmq_json_member m;
    while (p && next_member(text, p, end, &m)) {
        const char *quote = text + m.begin;
        const key raw = { quote + 1, (size_t)(string_end(quote) - quote) - 2 };
        if (key_equals(raw, name)) {
            *out = m;
            return 1;
        }
        p = text + m.end;
    }
    return 0;
}

/* The new text is text[0..from) + middle + text[to..len). */
static glmq_status replace(glmq_text *text, size_t from, size_t to, const glmq_text *middle,
                           glmq_error *err)
{
    glmq_text fresh = { 0 };
    glmq_text_add_n(&fresh, text->data, from);
    if (middle->len) glmq_text_add_n(&fresh, middle->data, middle->len);
    glmq_text_add_n(&fresh, text->data + to, text->len - to);
    if (fresh.failed || middle->failed) {
        glmq_text_free(&fresh);
        return glmq_fail(err, GLMQ_E_NOMEM, "json: out of memory to edit %zu bytes", text->len);
    }
    glmq_text_free(text);
    *text = fresh;
    return GLMQ_OK;
}

/* Removes a member with the comma that is no longer needed. */
static glmq_status remove_member(glmq_text *text, const glmq_json_member *m, glmq_error *err)
{
    const char *const end = text->data + text->len, *p = object_begin(text->data, end);
    const glmq_text nothing = { 0 };
    glmq_json_member before = { 0 }, at, next;
    while (next_member(text->data, p, end, &at) && at.begin < m->begin) {
        before = at;
        p = text->data + at.end;
    }
    if (next_member(text->data, text->data + m->end, end, &next))
        return replace(text, m->begin, next.begin, &nothing, err);
    return replace(text, before.end ? before.end : m->begin, m->end, &nothing, err);
}

/* Puts a member last, spaced as the last one is. */
static glmq_status append_member(glmq_text *text, const char *name, const char *value,
                                 glmq_error *err)
{
    const char *const end = text->data + text->len, *const begin = object_begin(text->data, end);
    const char *p = begin;
    glmq_json_member at;
    glmq_text put = { 0 };
    glmq_status st;
    size_t members = 0;

    while (next_member(text->data, p, end, &at)) {
        p = text->data + at.end;
        members++;
    }
    if (members) { /* white space in front of the last key */
        size_t from = at.begin;
        while (from && strchr(" \n\r\t", text->data[from - 1])) from--;
        glmq_text_add(&put, ",");
        glmq_text_add_n(&put, text->data + from, at.begin - from);
    }
    glmq_json_quote(&put, name, strlen(name));
    glmq_text_add(&put, ": ");
    glmq_text_add(&put, value);
    st = replace(text, (size_t)(p - text->data), (size_t)(p - text->data), &put, err);
    glmq_text_free(&put);
    return st;
}

glmq_status glmq_json_splice(glmq_text *text, const char *key_name, const char *value,
                             glmq_error *err)
{
    glmq_json_member m;
    if (!text->data || !object_begin(text->data, text->data + text->len))
        return glmq_fail(err, GLMQ_E_FORMAT, "json: \"%s\" set in a text that is no object",
                         key_name);
    if (glmq_json_find(text->data, text->len, key_name, &m)) {
        const glmq_text put = { .data = (char *)(uintptr_t)value,
                                .len = value ? strlen(value) : 0 };
        if (value) return replace(text, m.value_begin, m.value_end, &put, err);
        return remove_member(text, &m, err);
    }
    return value ? append_member(text, key_name, value, err) : GLMQ_OK;
}
