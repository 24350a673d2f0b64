/* Text buffers and the few text tools that several files need. */
#include "base/text.h"
#include "base/mem.h"
#include "base/safe.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Makes room for `more` bytes and a terminator; 0 when it is there. */
static int reserve(glmq_text *t, size_t more)
{
    size_t cap = t->cap ? t->cap : 256;
    char *data;
    if (t->failed) return 1;
    if (more < t->cap - t->len) return 0; /* cap 0 and len 0: never true */
    if (more >= SIZE_MAX / 4 - t->len) {
        t->failed = 1;
        return 1;
    }
    while (cap <= t->len + more) cap *= 2;
    data = glmq_realloc(t->data, cap);
    if (!data) {
        t->failed = 1;
        return 1;
    }
    t->data = data;
    t->cap = cap;
    return 0;
}

void glmq_text_add_n(glmq_text *t, const void *s, size_t n)
{
    if (reserve(t, n)) return;
    if (n) memcpy(t->data + t->len, s, n);
    t->len += n;
    t->data[t->len] = '\0';
}

void glmq_text_add(glmq_text *t, const char *s)
{
    glmq_text_add_n(t, s, strlen(s));
}

void glmq_text_printf(glmq_text *t, const char *format, ...)
{
    va_list args;
    int len;
    if (reserve(t, 120)) return; /* most lines fit at once */
    va_start(args, format);
    len = vsnprintf(t->data + t->len, t->cap - t->len, format, args);
    va_end(args);
    if (len < 0) {
        t->failed = 1;
    } else if ((size_t)len < t->cap - t->len) {
        t->len += (size_t)len;
        return;
    }
    t->data[t->len] = '\0';
    if (t->failed || reserve(t, (size_t)len)) return;
    va_start(args, format);
    vsnprintf(t->data + t->len, t->cap - t->len, format, args);
    va_end(args);
    t->len += (size_t)len;
}

void glmq_text_free(glmq_text *t)
{
    glmq_free(t->data);
    *t = (glmq_text){ 0 };
}

/* Only the last '*' is ever retried: the time is bounded by |glob| * |s|. */
int glmq_glob(const char *glob, const char *s)
{
    const char *star = NULL, *resume = NULL;
    while (*s) {
        if (*glob == '*') {
            star = glob++;
            resume = s;
        } else if (*glob == '?' || *glob == *s) {
            glob++;
            s++;
        } else if (star) {
            glob = star + 1;
            s = ++resume;
        } else {
            return 0;
        }
    }
    while (*glob == '*') glob++;
    return *glob == '\0';
}

/* Length of the well-formed UTF-8 character at s (1..4), or 0. */
static size_t utf8_length(const unsigned char *s, size_t len)
{
    /* The second byte's range depends on the first: no overlong forms, no surrogates,
     * nothing above U+10FFFF. */
    const unsigned char c = s[0];
    const unsigned char low = c == 0xe0 ? 0xa0 : c == 0xf0 ? 0x90 : 0x80;
    const unsigned char high = c == 0xed ? 0x9f : c == 0xf4 ? 0x8f : 0xbf;
    const size_t n = c < 0x80 ? 1 : c < 0xc2 ? 0 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : c < 0xf5 ? 4 : 0;
    if (n <= 1) return n;
    if (n > len || s[1] < low || s[1] > high) return 0;
    for (size_t i = 2; i < n; i++)
        if ((s[i] & 0xc0) != 0x80) return 0;
    return n;
}

int glmq_utf8_valid(const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    for (size_t i = 0; i < len;) {
        size_t n;
        /* eight ASCII bytes at a time */
        if (len - i >= 8 && !(load_le64(p + i) & 0x8080808080808080u)) {
            i += 8;
            continue;
        }
        n = utf8_length(p + i, len - i);
        if (!n) return 0;
        i += n;
    }
    return 1;
}

/* C0, DEL, and the C1 controls U+0080..U+009F, which terminals obey as well. */
static int is_control(const unsigned char *p, size_t n)
{
    return n == 1 ? p[0] < 0x20 || p[0] == 0x7f : n == 2 && p[0] == 0xc2 && p[1] < 0xa0;
}

size_t glmq_escape(char *dst, size_t cap, const char *s, size_t len)
{
    const unsigned char *p = (const unsigned char *)s;
    size_t used = 0;
    if (!cap) return 0;
    for (size_t i = 0; i < len;) {
        const size_t n = utf8_length(p + i, len - i);
        if (n && !is_control(p + i, n)) {
            if (n >= cap - used) break;
            memcpy(dst + used, p + i, n);
            used += n;
            i += n;
        } else {
            if (4 >= cap - used) break;
            snprintf(dst + used, 5, "\\x%02x", p[i]);
            used += 4;
            i++;
        }
    }
    dst[used] = '\0';
    return used;
}

enum { NEAREST_MAX = 64 };

/* Edit distance of two words shorter than NEAREST_MAX. */
static size_t distance(const char *a, size_t alen, const char *b, size_t blen)
{
    size_t row[NEAREST_MAX];
    for (size_t j = 0; j <= blen; j++) row[j] = j;
    for (size_t i = 1; i <= alen; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= blen; j++) {
            const size_t swap = diagonal + (a[i - 1] != b[j - 1]);
            const size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = swap < step ? swap : step;
        }
    }
    return row[blen];
}

const char *glmq_nearest(const char *word, const char *(*at)(size_t i))
{
    const size_t len = strlen(word);
    size_t least = len / 3 + 2; /* further away is no suggestion */
    const char *best = NULL, *candidate;
    if (len >= NEAREST_MAX) return NULL;
    for (size_t i = 0; (candidate = at(i)) != NULL; i++) {
        const size_t clen = strlen(candidate);
        size_t d;
        if (clen >= NEAREST_MAX) continue;
        d = distance(word, len, candidate, clen);
        if (d < least && d < clen) {
            least = d;
            best = candidate;
        }
    }
    return best;
}

static const struct unit {
    const char *name;
    uint64_t bytes;
} units[] = {
    { "", 1 },
    { "B", 1 },
    { "K", 1000 },
    { "KB", 1000 },
    { "KiB", 1024 },
    { "M", 1000000 },
    { "MB", 1000000 },
    { "MiB", 1048576 },
    { "G", 1000000000 },
    { "GB", 1000000000 },
    { "GiB", 1073741824 },
    { "T", 1000000000000 },
    { "TB", 1000000000000 },
    { "TiB", 1099511627776 },
};

int glmq_parse_size(const char *s, uint64_t *bytes)
{
    uint64_t n = 0;
    if (*s < '0' || *s > '9') return -1;
    for (; *s >= '0' && *s <= '9'; s++)
        if (mul_u64(n, 10, &n) || add_u64(n, (uint64_t)(*s - '0'), &n)) return -1;
    for (size_t i = 0; i < GLMQ_COUNT(units); i++)
        if (strcmp(s, units[i].name) == 0) return mul_u64(n, units[i].bytes, bytes) ? -1 : 0;
    return -1;
}
