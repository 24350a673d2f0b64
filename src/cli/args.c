/* The parser: walks argv once and hands every option to the `take` of its table row. */
#include "args.h"
#include "base/error.h"
#include "base/mem.h"
#include "base/text.h"
#include "glmq/glmq.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The contract's exit statuses, by glmq_status. */
static const int exit_statuses[] = {
    [GLMQ_OK] = 0,        [GLMQ_E_IO] = 1,       [GLMQ_E_NOMEM] = 1,  [GLMQ_E_DEVICE] = 1,
    [GLMQ_E_ARG] = 2,     [GLMQ_E_FORMAT] = 3,   [GLMQ_E_LIMIT] = 3,  [GLMQ_E_UNSUPPORTED] = 4,
    [GLMQ_E_INEXACT] = 4, [GLMQ_E_MISMATCH] = 5, [GLMQ_E_EXISTS] = 6, [GLMQ_E_CANCELLED] = 130,
};

int glmq_exit_status(glmq_status status)
{
    return (size_t)status < GLMQ_COUNT(exit_statuses) ? exit_statuses[status] : 1;
}

static void *field_of(glmq_args *a, const glmq_option *o)
{
    return (char *)a->settings + o->field;
}

static glmq_status bad_value(glmq_args *a, const glmq_option *o, const char *value,
                             const char *expected)
{
    return glmq_fail(a->err, GLMQ_E_ARG, "--%s: '%s' is not %s", o->name, value, expected);
}

glmq_status glmq_take_flag(glmq_args *a, const glmq_option *o, const char *value)
{
    (void)value;
    *(int *)field_of(a, o) = 1;
    return GLMQ_OK;
}

glmq_status glmq_take_more(glmq_args *a, const glmq_option *o, const char *value)
{
    (void)value;
    *(int *)field_of(a, o) += 1;
    return GLMQ_OK;
}

glmq_status glmq_take_text(glmq_args *a, const glmq_option *o, const char *value)
{
    *(const char **)field_of(a, o) = value;
    return GLMQ_OK;
}

glmq_status glmq_take_glob(glmq_args *a, const glmq_option *o, const char *value)
{
    *(const char **)field_of(a, o) = value ? value : "*";
    return GLMQ_OK;
}

glmq_status glmq_take_count(glmq_args *a, const glmq_option *o, const char *value)
{
    char *end;
    errno = 0;
    const long n = strtol(value, &end, 10);
    if (end == value || *end || errno || n < 1 || n > 4096)
        return bad_value(a, o, value, "a number from 1 to 4096");
    *(int *)field_of(a, o) = (int)n;
    return GLMQ_OK;
}

glmq_status glmq_take_size(glmq_args *a, const glmq_option *o, const char *value)
{
    uint64_t bytes;
    if (glmq_parse_size(value, &bytes) || bytes == 0)
        return bad_value(a, o, value, "a size (bytes, or with K, M, G, T, KiB, MiB, GiB, TiB)");
    *(uint64_t *)field_of(a, o) = bytes;
    return GLMQ_OK;
}

glmq_status glmq_take_real(glmq_args *a, const glmq_option *o, const char *value)
{
    char *end;
    const double x = strtod(value, &end);
    if (end == value || *end || !isfinite(x) || x < 0)
        return bad_value(a, o, value, "a number of 0 or more");
    *(double *)field_of(a, o) = x;
    return GLMQ_OK;
}

/* Which of "a|b|c" is `value`?  -1: none. */
static int word_index(const char *words, const char *value)
{
    const size_t len = strlen(value);
    for (int i = 0;; i++) {
        const size_t n = strcspn(words, "|");
        if (n == len && memcmp(words, value, n) == 0) return i;
        if (!words[n]) return -1;
        words += n + 1;
    }
}

glmq_status glmq_take_word(glmq_args *a, const glmq_option *o, const char *value)
{
    const int i = word_index(o->words, value);
    if (i < 0)
        return glmq_fail(a->err, GLMQ_E_ARG, "--%s: '%s' is none of %s", o->name, value, o->words);
    *(int *)field_of(a, o) = i;
    return GLMQ_OK;
}

glmq_status glmq_take_level(glmq_args *a, const glmq_option *o, const char *value)
{
    int i = -1;
    if (value) {
        i = word_index(o->words, value);
        if (i < 0)
            return glmq_fail(a->err, GLMQ_E_ARG, "--%s: '%s' is none of %s", o->name, value,
                             o->words);
    }
    *(int *)field_of(a, o) = 2 + i;
    return GLMQ_OK;
}

glmq_status glmq_take_later(glmq_args *a, const glmq_option *o, const char *value)
{
    (void)value;
    return glmq_fail(a->err, GLMQ_E_UNSUPPORTED, "--%s: glmq %s does not have this option yet",
                     o->name, glmq_version());
}

glmq_status glmq_take_help(glmq_args *a, const glmq_option *o, const char *value)
{
    (void)o, (void)value;
    glmq_print_help(a->program, stdout);
    a->finished = 1;
    return GLMQ_OK;
}

glmq_status glmq_take_version(glmq_args *a, const glmq_option *o, const char *value)
{
    (void)o, (void)value;
    printf("%s %s\n", a->program->name, glmq_version());
    a->finished = 1;
    return GLMQ_OK;
}

glmq_status glmq_take_formats(glmq_args *a, const glmq_option *o, const char *value)
{
    (void)o, (void)value;
    glmq_print_formats(stdout);
    a->finished = 1;
    return GLMQ_OK;
}

glmq_status glmq_take_man(glmq_args *a, const glmq_option *o, const char *value)
{
    (void)o, (void)value;
    glmq_print_man(a->program, stdout);
    a->finished = 1;
    return GLMQ_OK;
}

glmq_status glmq_take_completion(glmq_args *a, const glmq_option *o, const char *value)
{
    (void)o, (void)value;
    glmq_print_completion(a->program, stdout);
    a->finished = 1;
    return GLMQ_OK;
}

static int arg_is_optional(const glmq_option *o)
{
    return o->arg && o->arg[0] == '[';
}

static const glmq_option *find_long(const glmq_program *p, const char *name, size_t len)
{
    for (size_t i = 0; i < p->count; i++)
        if (strlen(p->options[i].name) == len && memcmp(p->options[i].name, name, len) == 0)
            return &p->options[i];
    return NULL;
}

static const glmq_option *find_letter(const glmq_program *p, char letter)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->options[i].letter == letter) return &p->options[i];
    return NULL;
}

/* The one option that begins so; NULL: none, or several. */
static const char *only_completion(const glmq_program *p, const char *name, size_t len)
{
    const char *only = NULL;

    for (size_t i = 0; len && i < p->count; i++) {
        if (strncmp(p->options[i].name, name, len)) continue;
        if (only) return NULL;
        only = p->options[i].name;
    }
    return only;
}

static glmq_status unknown_option(glmq_args *a, const char *name, size_t len)
{
    char word[64];
    const char *near;

    if (len >= sizeof word) len = sizeof word - 1;
    memcpy(word, name, len);
    word[len] = '\0';
    near = only_completion(a->program, word, len);
    if (!near) near = glmq_nearest(word, a->program->option_at);
    if (near)
        return glmq_fail(a->err, GLMQ_E_ARG, "unknown option --%s; did you mean --%s?", word, near);
    return glmq_fail(a->err, GLMQ_E_ARG, "unknown option --%s; see --help", word);
}

/* One "--name" or "--name=value"; `next` is the following word or NULL.  *used: whether it
 * was taken as the argument. */
static glmq_status take_long(glmq_args *a, const char *word, const char *next, int *used)
{
    const size_t len = strcspn(word, "=");
    const glmq_option *o = find_long(a->program, word, len);
    const char *value = word[len] ? word + len + 1 : NULL;

    if (!o) return unknown_option(a, word, len);
    if (o->take == glmq_take_later) return o->take(a, o, NULL);
    if (!o->arg && value) return glmq_fail(a->err, GLMQ_E_ARG, "--%s takes no argument", o->name);
    if (o->arg && !value && !arg_is_optional(o)) {
        if (!next) return glmq_fail(a->err, GLMQ_E_ARG, "--%s needs %s", o->name, o->arg);
        value = next;
        *used = 1;
    }
    return o->take(a, o, value);
}

/* A word of single letters: "-q", "-qv", "-oFILE", "-o FILE". */
static glmq_status take_letters(glmq_args *a, const char *word, const char *next, int *used)
{
    for (; *word && !a->finished; word++) {
        const glmq_option *o = find_letter(a->program, *word);
        if (!o) return glmq_fail(a->err, GLMQ_E_ARG, "unknown option -%c; see --help", *word);
        if (!o->arg || arg_is_optional(o)) {
            GLMQ_TRY(o->take(a, o, NULL));
            continue;
        }
        if (word[1]) return o->take(a, o, word + 1);
        if (!next) return glmq_fail(a->err, GLMQ_E_ARG, "-%c needs %s", *word, o->arg);
        *used = 1;
        return o->take(a, o, next);
    }
    return GLMQ_OK;
}

static glmq_status take_operand(glmq_args *a, const char *word)
{
    if (!*word)
        return glmq_fail(a->err, GLMQ_E_ARG, "an operand is empty; usage: %s [options] %s",
                         a->program->name, a->program->operands);
    if (a->operands == a->program->max_operands)
        return glmq_fail(a->err, GLMQ_E_ARG, "'%s' is one operand too many; usage: %s [options] %s",
                         word, a->program->name, a->program->operands);
    a->operand[a->operands++] = word;
    return GLMQ_OK;
}

glmq_status glmq_args_parse(glmq_args *a, int argc, char **argv)
{
    int only_operands = 0;

    for (int i = 1; i < argc && !a->finished; i++) {
        const char *word = argv[i];
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        int used = 0;
        if (only_operands || word[0] != '-' || !word[1]) {
            GLMQ_TRY(take_operand(a, word));
        } else if (strcmp(word, "--") == 0) {
            only_operands = 1;
        } else if (word[1] == '-') {
            GLMQ_TRY(take_long(a, word + 2, next, &used));
        } else {
            GLMQ_TRY(take_letters(a, word + 1, next, &used));
        }
        i += used;
    }
    if (!a->finished && a->operands < a->program->min_operands)
        return glmq_fail(a->err, GLMQ_E_ARG, "usage: %s [options] %s (see --help)",
                         a->program->name, a->program->operands);
    return GLMQ_OK;
}
