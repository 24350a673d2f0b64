/* Matching and printing names by the architectures' tables.
 *
 * To match, every component of a name that is a number is replaced by a placeholder: the
 * first by {L}, the second by {E}.  What comes out is looked up in a hash of the patterns,
 * so a name costs one pass over its bytes and one look-up, whatever the table's size. */
#include "names.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/strmap.h"
#include <string.h>

struct glmq_names {
    const glmq_arch *arch;
    glmq_strmap rows; /* pattern -> index in arch->names */
};

/* ---- matching ---- */

glmq_names *glmq_names_open(const glmq_arch *arch)
{
    glmq_names *n = glmq_alloc_zero(1, sizeof *n);

    if (!n) return NULL;
    n->arch = arch;
    for (size_t i = 0; arch->names[i].pattern; i++) {
        const char *p = arch->names[i].pattern;
        if (glmq_strmap_add(&n->rows, p, strlen(p), i, NULL) < 0) {
            glmq_names_close(n);
            return NULL;
        }
    }
    return n;
}

void glmq_names_close(glmq_names *n)
{
    if (!n) return;
    glmq_strmap_free(&n->rows);
    glmq_free(n);
}

/* A component that is a decimal number below `limit` without leading zeros: its value,
 * otherwise -1. */
static int32_t component_number(const char *s, size_t len, int32_t limit)
{
    int32_t v = 0;

    if (len == 0 || len > 7 || (len > 1 && s[0] == '0')) return -1;
    for (size_t i = 0; i < len; i++) {
        if (s[i] < '0' || s[i] > '9') return -1;
        v = v * 10 + (s[i] - '0');
    }
    return v < limit ? v : -1;
}

typedef struct {
    char text[GLMQ_NAME_MAX];
    size_t len;
    int32_t number[2];
} normal_name;

static int put(normal_name *n, const char *s, size_t len)
{
    if (len > sizeof n->text - n->len) return 0;
    memcpy(n->text + n->len, s, len);
    n->len += len;
    return 1;
}

/* Splits `name` at its dots; returns 0 when no pattern could be like that (it is too long, or
 * spells a placeholder itself). */
static int normalise(normal_name *n, const char *name, size_t len)
{
    static const int32_t limits[2] = { GLMQ_LAYERS_MAX, GLMQ_EXPERTS_MAX };
    int numbers = 0;

    n->len = 0;
    n->number[0] = n->number[1] = -1;
    if (memchr(name, '{', len)) return 0;
    for (size_t at = 0; at <= len;) {
        const char *dot = memchr(name + at, '.', len - at);
        const size_t part = dot ? (size_t)(dot - name) - at : len - at;
        const int32_t v = numbers < 2 ? component_number(name + at, part, limits[numbers]) : -1;

        if (at && !put(n, ".", 1)) return 0;
        if (v >= 0) {
            if (!put(n, numbers ? "{E}" : "{L}", 3)) return 0;
            n->number[numbers++] = v;
        } else if (!put(n, name + at, part)) {
            return 0;
        }
        at += part + 1;
    }
    return 1;
}

int glmq_names_match(const glmq_names *n, glmq_ecosystem eco, const char *name, size_t len,
                     glmq_name_match *out)
{
    normal_name normal;
    uint64_t i;

    if (!normalise(&normal, name, len)) return 0;
    if (!glmq_strmap_get(&n->rows, normal.text, normal.len, &i)) return 0;
    if (n->arch->names[i].eco != eco) return 0;
    out->row = &n->arch->names[i];
    out->layer = normal.number[0];
    out->expert = normal.number[1];
    return 1;
}

static int ends_with(const char *name, size_t len, const char *suffix)
{
    const size_t n = strlen(suffix);
    return len >= n && memcmp(name + len - n, suffix, n) == 0;
}

int glmq_names_known(const glmq_names *n, const char *name, size_t len)
{
    glmq_name_match m;

    if (glmq_names_match(n, NAMES_HF, name, len, &m)) return 1;
    while (len > 0 && name[len - 1] != '.') len--;
    if (len-- < 2) return 0;
    if (ends_with(name, len, ".weight")) len -= strlen(".weight");
    return glmq_names_match(n, NAMES_HF, name, len, &m);
}

const char *glmq_names_useless(const char *name, size_t len)
{
    static const struct {
        const char *suffix, *why;
    } useless[] = {
        { "rotary_emb.inv_freq", "rotary frequencies are computed from the config" },
        { ".attention.bias", "a causal mask, not a weight" },
        { ".attention.masked_bias", "a causal mask, not a weight" },
    };

    for (size_t i = 0; i < GLMQ_COUNT(useless); i++)
        if (ends_with(name, len, useless[i].suffix)) return useless[i].why;
    return NULL;
}

/* ---- printing ---- */

const glmq_name_row *glmq_names_row(const glmq_arch *arch, glmq_ecosystem eco, glmq_role role,
                                    glmq_split split)
{
    for (const glmq_name_row *r = arch->names; r->pattern; r++)
        if (r->role == role && r->eco == eco && r->split == split && !r->alias) return r;
    return NULL;
}

/* Writes `v` in decimal; returns the bytes, 0 when they do not fit. */
static size_t put_number(char *out, size_t cap, int32_t v)
{
    char digits[12];
    size_t n = 0;

    if (v < 0) return 0;
    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    if (n > cap) return 0;
    for (size_t i = 0; i < n; i++) out[i] = digits[n - 1 - i];
    return n;
}

size_t glmq_names_print(const glmq_arch *arch, glmq_ecosystem eco, glmq_role role, glmq_split split,
                        int32_t layer, int32_t expert, char *out, size_t cap)
{
    const glmq_name_row *row = glmq_names_row(arch, eco, role, split);
    size_t n = 0;

    if (!row || cap == 0) return 0;
    for (const char *p = row->pattern; *p;) {
        if (*p == '{') {
            const size_t wrote = put_number(out + n, cap - 1 - n, p[1] == 'L' ? layer : expert);
            if (wrote == 0) return 0;
            n += wrote;
            p += 3;
        } else {
            if (n + 1 >= cap) return 0;
            out[n++] = *p++;
        }
    }
    out[n] = '\0';
    return n;
}
