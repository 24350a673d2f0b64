/* The journal: text lines, each with its own check, appended and made durable in groups.  A
 * line that was torn by a crash fails its check; it and what follows is cut off. */
#include "convert/journal.h"
#include "base/error.h"
#include "base/mem.h"
#include "io/out.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHECK_DIGITS = 16 };

struct glmq_journal {
    glmq_out *file;
    uint64_t end;      /* bytes that are whole lines */
    glmq_text waiting; /* lines not yet written      */
};

/* ---- results ---- */

glmq_status glmq_results_open(glmq_results *r, const glmq_plan *p, glmq_error *err)
{
    *r = (glmq_results){ 0 };
    r->done = glmq_alloc_zero(p->items.count + 1, sizeof *r->done);
    r->piece = glmq_alloc_zero(p->pieces.count + 1, sizeof *r->piece);
    if (r->done && r->piece) return GLMQ_OK;
    glmq_results_close(r);
    return glmq_fail(err, GLMQ_E_NOMEM, "the results of %zu tensors", p->items.count);
}

void glmq_results_close(glmq_results *r)
{
    glmq_free(r->done);
    glmq_free(r->piece);
    glmq_arena_free(&r->arena);
    *r = (glmq_results){ 0 };
}

/* ---- writing ---- */

static void check_of(const char *line, size_t len, char hex[33])
{
    const glmq_digest d = glmq_hash_of(line, len);
    glmq_digest_hex(&d, hex);
    hex[CHECK_DIGITS] = '\0';
}

static void add_digest(glmq_text *t, const glmq_digest *d)
{
    char hex[33];
    glmq_digest_hex(d, hex);
    glmq_text_add(t, hex);
}

static void print_line(glmq_text *t, const glmq_plan *p, size_t item, const glmq_results *r)
{
    const glmq_item *it = &p->items.at[item];
    const glmq_done *d = &r->done[item];
    glmq_text_printf(t, " item %zu %" PRIu64 " %s ", item, it->bytes,
                     glmq_travel_name((glmq_travel)d->travel));
    add_digest(t, &d->source);
    glmq_text_add(t, " ");
    add_digest(t, &d->result);
    glmq_text_printf(t, " %a %a %a ", d->rmse, d->max_abs, d->snr_db);
    for (uint32_t k = 0; k < it->pieces; k++) {
        if (k) glmq_text_add(t, ",");
        add_digest(t, &r->piece[it->piece + k]);
    }
    glmq_text_printf(t, " %s", d->reason ? d->reason : "-");
}

glmq_status glmq_journal_add(glmq_journal *j, const glmq_plan *p, size_t item,
                             const glmq_results *r, glmq_error *err)
{
    glmq_text line = { 0 };
    char check[33];
    print_line(&line, p, item, r);
    if (!line.failed) {
        check_of(line.data, line.len, check);
        glmq_text_add(&j->waiting, check);
        glmq_text_add_n(&j->waiting, line.data, line.len);
        glmq_text_add(&j->waiting, "\n");
    }
    const int failed = line.failed || j->waiting.failed;
    glmq_text_free(&line);
    return failed ? glmq_fail(err, GLMQ_E_NOMEM, "the journal") : GLMQ_OK;
}

glmq_status glmq_journal_sync(glmq_journal *j, glmq_error *err)
{
    if (j->waiting.len) {
        GLMQ_TRY(glmq_out_write(j->file, j->end, j->waiting.data, j->waiting.len, err));
        j->end += j->waiting.len;
        j->waiting.len = 0;
    }
    return glmq_out_sync(j->file, err);
}

/* ---- opening ---- */

void glmq_journal_close(glmq_journal *j)
{
    if (!j) return;
    glmq_out_close(j->file);
    glmq_text_free(&j->waiting);
    glmq_free(j);
}

/* Opens the file with `keep` bytes of it; what is behind them goes. */
static glmq_status open_file(glmq_journal **out, const char *path, uint64_t keep, glmq_error *err)
{
    glmq_status st;
    glmq_journal *j = glmq_alloc_zero(1, sizeof *j);
    *out = NULL;
    if (!j) return glmq_fail(err, GLMQ_E_NOMEM, "the journal");
    j->end = keep;
    st = glmq_out_open(&j->file, path, keep, err);
    if (st) {
        glmq_journal_close(j);
        return st;
    }
    *out = j;
    return GLMQ_OK;
}

glmq_status glmq_journal_create(glmq_journal **out, const char *path, const glmq_plan *p,
                                glmq_error *err)
{
    glmq_status st;
    GLMQ_TRY(open_file(out, path, 0, err));
    glmq_text_printf(&(*out)->waiting, "glmq-journal 1 %s\n", p->digest);
    st = (*out)->waiting.failed ? glmq_fail(err, GLMQ_E_NOMEM, "the journal")
                                : glmq_journal_sync(*out, err);
    if (st) {
        glmq_journal_close(*out);
        *out = NULL;
    }
    return st;
}

/* ---- reading ---- */

/* The next word, ended by a space; NULL at the end of the line. */
static char *word(char **at)
{
    char *begin = *at, *end;
    if (!begin) return NULL;
    end = strchr(begin, ' ');
    if (!end) return NULL;
    *end = '\0';
    *at = end + 1;
    return begin;
}

static int read_number(char **at, uint64_t *n)
{
    const char *w = word(at);
    char *end;
    if (!w || *w < '0' || *w > '9') return -1;
    *n = strtoull(w, &end, 10);
    return *end ? -1 : 0;
}

static int read_float(char **at, double *d)
{
    const char *w = word(at);
    char *end;
    if (!w || !*w) return -1;
    *d = strtod(w, &end);
    return *end ? -1 : 0;
}

static int read_travel(char **at, uint8_t *travel)
{
    const char *w = word(at);
    for (int t = GLMQ_SAME_BYTES; w && t <= GLMQ_RECODE; t++)
        if (strcmp(w, glmq_travel_name((glmq_travel)t)) == 0) {
            *travel = (uint8_t)t;
            return 0;
        }
    return -1;
}

static int read_digest(char **at, glmq_digest *d)
{
    const char *w = word(at);
    return w ? glmq_digest_parse(w, d) : -1;
}

static int read_pieces(char **at, glmq_digest *piece, uint32_t n)
{
    char *w = word(at);
    for (uint32_t k = 0; k < n; k++) {
        char *comma = w ? strchr(w, ',') : NULL;
        if (!w || (k + 1 < n) != (comma != NULL)) return -1;
        if (comma) *comma = '\0';
        if (glmq_digest_parse(w, &piece[k])) return -1;
        w = comma ? comma + 1 : w;
    }
    return w ? 0 : -1;
}

/* Everything behind the check: 0, or -1 when it is no line of this plan. */
static int read_item(char *text, const glmq_plan *p, glmq_results *known)
{
    uint64_t item, bytes;
    glmq_done d = { .finished = 1 };
    const char *w = word(&text);
    if (!w || strcmp(w, "item") || read_number(&text, &item) || item >= p->items.count) return -1;
    if (read_number(&text, &bytes) || bytes != p->items.at[item].bytes) return -1;
    if (read_travel(&text, &d.travel)) return -1;
    if (read_digest(&text, &d.source) || read_digest(&text, &d.result)) return -1;
    if (read_float(&text, &d.rmse) || read_float(&text, &d.max_abs)) return -1;
    if (read_float(&text, &d.snr_db)) return -1;
    if (read_pieces(&text, known->piece + p->items.at[item].piece, p->items.at[item].pieces))
        return -1;
    if (strcmp(text, "-")) {
        d.reason = glmq_arena_strdup(&known->arena, text);
        if (!d.reason) return -1;
    }
    known->done[item] = d;
    return 0;
}

static int read_line(char *line, size_t len, const glmq_plan *p, glmq_results *known)
{
    char check[33];
    if (len < CHECK_DIGITS + 2 || line[len - 1] != '\n') return -1;
    line[len - 1] = '\0';
    check_of(line + CHECK_DIGITS, len - 1 - CHECK_DIGITS, check);
    if (memcmp(line, check, CHECK_DIGITS) || line[CHECK_DIGITS] != ' ') return -1;
    return read_item(line + CHECK_DIGITS + 1, p, known);
}

/* A run that was killed before its first line was whole has done nothing: *fresh. */
static glmq_status check_first(const char *path, const char *line, const glmq_plan *p, int *fresh,
                               glmq_error *err)
{
    char expected[64];
    snprintf(expected, sizeof expected, "glmq-journal 1 %s\n", p->digest);
    *fresh = strlen(line) < strlen(expected) && strncmp(line, expected, strlen(line)) == 0;
    if (*fresh || strcmp(line, expected) == 0) return GLMQ_OK;
    if (strncmp(line, "glmq-journal ", 13))
        return glmq_fail(err, GLMQ_E_EXISTS, "%s: is no journal of glmq", path);
    return glmq_fail(err, GLMQ_E_EXISTS,
                     "%s: the run that began here had another plan: the source, the options or "
                     "glmq's version differ",
                     path);
}

/* Reads what is whole; *keep are its bytes, 0 when not even the first line is there. */
static glmq_status read_all(const char *path, const glmq_plan *p, glmq_results *known,
                            uint64_t *keep, glmq_error *err)
{
    int fresh;
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    glmq_status st = GLMQ_OK;
    FILE *f = fopen(path, "rbe");
    *keep = 0;
    if (!f) return glmq_fail_sys(err, errno, "%s", path);
    n = getline(&line, &capacity, f);
    st = check_first(path, n > 0 ? line : "", p, &fresh, err);
    while (!st && !fresh && n > 0) {
        *keep += (uint64_t)n;
        n = getline(&line, &capacity, f);
        if (n <= 0 || read_line(line, (size_t)n, p, known)) break;
    }
    if (!st && ferror(f)) st = glmq_fail_sys(err, errno, "%s", path);
    free(line);
    fclose(f);
    return st;
}

glmq_status glmq_journal_open(glmq_journal **out, const char *path, const glmq_plan *p,
                              glmq_results *known, glmq_error *err)
{
    uint64_t keep;
    *out = NULL;
    GLMQ_TRY(read_all(path, p, known, &keep, err));
    return keep ? open_file(out, path, keep, err) : glmq_journal_create(out, path, p, err);
}
