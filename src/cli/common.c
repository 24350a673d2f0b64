/* What the three programs share. */
#include "common.h"
#include "base/error.h"
#include "base/mem.h"
#include "glmq/glmq.h"
#include "readers/reader.h"
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int begins_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

/* First bytes of archives: they are told apart from checkpoints by content. */
static const struct magic {
    const char *what;
    uint16_t at, len;
    const char *bytes;
} magics[] = {
    { "a zstd file", 0, 4, "\x28\xb5\x2f\xfd" },
    { "a gzip file", 0, 2, "\x1f\x8b" },
    { "an xz file", 0, 5,
      "\xfd"
      "7zXZ" },
    { "a zip archive", 0, 4, "PK\x03\x04" },
    { "a tar archive", 257, 5, "ustar" },
};

static glmq_status refuse_archive(const glmq_source *src, glmq_error *err)
{
    uint8_t head[264];

    if (!glmq_source_is_file(src) || glmq_source_count(src) != 1) return GLMQ_OK;
    const uint64_t size = glmq_source_size(src, 0);
    const size_t len = size < sizeof head ? (size_t)size : sizeof head;
    GLMQ_TRY(glmq_source_read(src, 0, 0, head, len, err));
    for (size_t i = 0; i < GLMQ_COUNT(magics); i++)
        if (magics[i].at + (size_t)magics[i].len <= len &&
            memcmp(head + magics[i].at, magics[i].bytes, magics[i].len) == 0)
            return glmq_fail(err, GLMQ_E_UNSUPPORTED,
                             "is %s: this version reads folders, .safetensors and .gguf files",
                             magics[i].what);
    return GLMQ_OK;
}

static const char *const url_schemes[] = { "http://", "https://", "hf://" };

static glmq_status refuse_url(const char *path, glmq_error *err)
{
    for (size_t i = 0; i < GLMQ_COUNT(url_schemes); i++)
        if (begins_with(path, url_schemes[i]))
            return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: this version reads local files only",
                             path);
    return GLMQ_OK;
}

/* Formats of the contract that this version does not have, or does not write. */
static const char *const later_formats[] = { "fp8", "tq3", "vq", "aqlm" };

glmq_status glmq_refuse_later_format(const char *option, const char *format, glmq_error *err)
{
    const size_t len = format ? strcspn(format, ":") : 0;

    for (size_t i = 0; format && i < GLMQ_COUNT(later_formats); i++) {
        const char *name = later_formats[i];
        const int read = glmq_reader_find(name) != NULL;

        if (strlen(name) != len || strncmp(format, name, len) != 0) continue;
        if (read && strcmp(option, "--from") == 0) continue;
        return glmq_fail(err, GLMQ_E_UNSUPPORTED, "%s: glmq %s does not %s the format %s yet",
                         option, glmq_version(), read ? "write" : "have", name);
    }
    return GLMQ_OK;
}

/* Removes `len` bytes of the message from `at` on. */
static void cut_message(glmq_error *err, size_t at, size_t len)
{
    memmove(err->msg + at, err->msg + at + len, strlen(err->msg + at + len) + 1);
}

/* "PATH: …" once, whoever said it first; for a single file not its name again. */
static glmq_status name_once(glmq_error *err, glmq_status st, const char *path)
{
    const char *base = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
    const size_t len = strlen(path), base_len = strlen(base);

    if (!st) return st;
    if (strncmp(err->msg, path, len) != 0 || strncmp(err->msg + len, ": ", 2) != 0)
        glmq_within(err, st, "%s", path);
    if (strlen(err->msg) > len + 2 && strncmp(err->msg + len + 2, base, base_len) == 0 &&
        strncmp(err->msg + len + 2 + base_len, ": ", 2) == 0)
        cut_message(err, len + 2, base_len + 2);
    return st;
}

static glmq_status open_both(glmq_checkpoint *c, const char *path, const glmq_graph_options *opt,
                             glmq_error *err)
{
    GLMQ_TRY(refuse_url(path, err));
    GLMQ_TRY(glmq_refuse_later_format("--from", opt->from, err));
    GLMQ_TRY(glmq_source_open(&c->source, path, NULL, err));
    glmq_status st = refuse_archive(c->source, err);
    if (!st) st = glmq_graph_open(&c->graph, c->source, opt, err);
    return name_once(err, st, path);
}

/* The option, or the environment; "" is none. */
static const char *codebooks_folder(const glmq_common *common)
{
    const char *folder = common->vq_codebooks ? common->vq_codebooks : getenv("VQ_CODEBOOKS_DIR");
    return folder && *folder ? folder : NULL;
}

glmq_status glmq_checkpoint_open(glmq_checkpoint *c, const char *path, const char *from,
                                 const glmq_common *common, int allow_incomplete, glmq_error *err)
{
    const glmq_graph_options opt = {
        .from = from,
        .allow_incomplete = allow_incomplete != GLMQ_OPEN_WHOLE,
        .tolerate = allow_incomplete == GLMQ_OPEN_BROKEN,
        .vq_codebooks = codebooks_folder(common),
    };

    *c = (glmq_checkpoint){ 0 };
    const glmq_status st = open_both(c, path, &opt, err);
    if (st) glmq_checkpoint_close(c);
    return st;
}

void glmq_checkpoint_close(glmq_checkpoint *c)
{
    glmq_graph_close(c->graph);
    glmq_source_close(c->source);
    *c = (glmq_checkpoint){ 0 };
}

void glmq_say(const glmq_program *p, const char *format, ...)
{
    va_list args;

    fprintf(stderr, "%s: ", p->name);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

int glmq_finish(const glmq_program *p, glmq_status st, const glmq_error *err)
{
    const int lost = (fflush(stdout) || ferror(stdout)) && errno != EPIPE;

    if (lost) glmq_say(p, "writing to standard output: %s", strerror(errno));
    if (lost && (!st || st == GLMQ_E_IO)) return glmq_exit_status(GLMQ_E_IO);
    if (st && err->msg[0]) glmq_say(p, "%s", err->msg);
    return glmq_exit_status(st);
}

static volatile int cancelled;

static void on_signal(int signal_number)
{
    (void)signal_number;
    __atomic_store_n(&cancelled, 1, __ATOMIC_RELAXED); /* lock-free: fit for a handler */
}

const volatile int *glmq_catch_signals(void)
{
    struct sigaction catch = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

    sigemptyset(&catch.sa_mask);
    sigaction(SIGINT, &catch, NULL);
    sigaction(SIGTERM, &catch, NULL);
    signal(SIGXFSZ, SIG_IGN);
    return &cancelled;
}

const char *glmq_severity_name(glmq_severity severity)
{
    static const char *const names[] = { "note", "warning", "error" };
    return names[severity];
}

int glmq_may_draw(FILE *f)
{
    const char *term = getenv("TERM");
    return isatty(fileno(f)) && term && strcmp(term, "dumb") != 0;
}

int glmq_may_paint(FILE *f)
{
    const char *no = getenv("NO_COLOR");
    return glmq_may_draw(f) && !(no && no[0]);
}
