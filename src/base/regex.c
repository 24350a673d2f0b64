/* PCRE2 behind limits.
 *
 * PCRE2 counts backtracks of one attempt and can stop at a limit, but does not say how many it
 * took.  So a text is tried under small limits first, and pays for the limit that sufficed:
 * the sum is bounded, and the common pattern, which needs next to nothing, pays nearly
 * nothing. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "base/regex.h"
#include "base/error.h"
#include "base/limits.h"
#include "base/mem.h"
#include <pcre2.h>
#include <string.h>

static const uint32_t tiers[] = { 8, 256, 8192, 262144 };

enum { HEAP_KIB = 4096, DEPTH = 10000 }; /* of the frames to go back to */

/* Of all patterns of a config: a thousand of them for sixty thousand names, if they are not
 * ill-natured, which cost 9 each; seconds at worst. */
static const uint64_t budget = 1u << 30;

struct glmq_regex {
    glmq_regex_mode mode;
    uint64_t *steps, own;
    char *pattern;
    pcre2_general_context *memory;
    pcre2_match_context *limits;
    pcre2_match_data *data;
    pcre2_code *code;
};

static void *take(PCRE2_SIZE bytes, void *user)
{
    (void)user;
    return glmq_alloc(bytes);
}

static void give(void *p, void *user)
{
    (void)user;
    glmq_free(p);
}

static glmq_status compile(glmq_regex *re, glmq_error *err)
{
    const uint32_t flags = PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_NEVER_BACKSLASH_C |
                           (re->mode == REGEX_MATCH ? PCRE2_ANCHORED : 0);
    PCRE2_UCHAR text[128];
    PCRE2_SIZE at = 0;
    int code = 0;
    pcre2_compile_context *c = pcre2_compile_context_create(re->memory);

    if (!c) return glmq_fail(err, GLMQ_E_NOMEM, "a pattern");
    pcre2_set_max_pattern_length(c, GLMQ_PATTERN_MAX);
    re->code = pcre2_compile((PCRE2_SPTR)re->pattern, PCRE2_ZERO_TERMINATED, flags, &code, &at, c);
    pcre2_compile_context_free(c);
    if (re->code) return GLMQ_OK;
    if (code == PCRE2_ERROR_HEAP_FAILED) return glmq_fail(err, GLMQ_E_NOMEM, "a pattern");
    pcre2_get_error_message(code, text, sizeof text);
    return glmq_fail(err, GLMQ_E_FORMAT, "pattern \"%.200s\": %s (at byte %zu)", re->pattern,
                     (const char *)text, (size_t)at);
}

static glmq_status make(glmq_regex *re, const char *pattern, glmq_error *err)
{
    re->pattern = glmq_strdup(pattern);
    re->memory = pcre2_general_context_create(take, give, NULL);
    if (!re->pattern || !re->memory) return glmq_fail(err, GLMQ_E_NOMEM, "a pattern");
    GLMQ_TRY(compile(re, err));
    re->limits = pcre2_match_context_create(re->memory);
    re->data = pcre2_match_data_create(1, re->memory);
    if (!re->limits || !re->data) return glmq_fail(err, GLMQ_E_NOMEM, "a pattern");
    pcre2_set_heap_limit(re->limits, HEAP_KIB);
    pcre2_set_depth_limit(re->limits, DEPTH);
    return GLMQ_OK;
}

glmq_status glmq_regex_open(glmq_regex **out, const char *pattern, glmq_regex_mode mode,
                            uint64_t *steps, glmq_error *err)
{
    glmq_regex *re = glmq_alloc_zero(1, sizeof *re);
    glmq_status st;

    *out = NULL;
    if (!re) return glmq_fail(err, GLMQ_E_NOMEM, "a pattern");
    re->mode = mode;
    re->steps = steps ? steps : &re->own;
    st = make(re, pattern, err);
    if (st) {
        glmq_regex_close(re);
        return st;
    }
    *out = re;
    return GLMQ_OK;
}

void glmq_regex_close(glmq_regex *re)
{
    if (!re) return;
    pcre2_match_data_free(re->data);
    pcre2_match_context_free(re->limits);
    pcre2_code_free(re->code);
    pcre2_general_context_free(re->memory);
    glmq_free(re->pattern);
    glmq_free(re);
}

static glmq_status too_costly(const glmq_regex *re, const char *text, size_t len, glmq_error *err)
{
    return glmq_fail(err, GLMQ_E_LIMIT, "pattern \"%.200s\": matching \"%.*s\" takes too long",
                     re->pattern, (int)(len < 200 ? len : 200), text);
}

glmq_status glmq_regex_test(glmq_regex *re, const char *text, size_t len, int *yes, glmq_error *err)
{
    int rc = PCRE2_ERROR_MATCHLIMIT;

    *yes = 0;
    for (size_t i = 0; i < GLMQ_COUNT(tiers) && rc == PCRE2_ERROR_MATCHLIMIT; i++) {
        /* the limit is one of each place where a search begins; most begin nowhere */
        const uint64_t places = re->mode == REGEX_SEARCH && i ? len + 1 : 1;
        *re->steps += (tiers[i] + 1) * places;
        if (*re->steps > budget) return too_costly(re, text, len, err);
        pcre2_set_match_limit(re->limits, tiers[i]);
        rc = pcre2_match(re->code, (PCRE2_SPTR)text, len, 0, 0, re->data, re->limits);
    }
    *yes = rc >= 0;
    if (rc >= 0 || rc == PCRE2_ERROR_NOMATCH) return GLMQ_OK;
    if (rc == PCRE2_ERROR_NOMEMORY) return glmq_fail(err, GLMQ_E_NOMEM, "a pattern");
    return too_costly(re, text, len, err); /* matches, depth or heap */
}

int glmq_regex_literal(const char *pattern, char *out, size_t cap)
{
    size_t n = 0;
    const char *p = pattern;

    if (*p++ != '^') return 0;
    for (; *p && *p != '$'; p++) {
        if (strchr(".^*+?{}[]()|", *p)) return 0;
        if (*p == '\\') { /* of a letter or digit: a class, a reference, … */
            p++;
            if (!*p || *p & 0x80 || (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') ||
                (*p >= 'a' && *p <= 'z'))
                return 0;
        }
        if (n + 1 >= cap) return 0;
        out[n++] = *p;
    }
    if (p[0] != '$' || p[1]) return 0;
    out[n] = '\0';
    return 1;
}
