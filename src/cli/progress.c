/* Progress on stderr. */
#include "progress.h"
#include "base/mem.h"
#include "verify/print.h"
#include <inttypes.h>
#include <math.h>
#include <time.h>

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

void glmq_meter_begin(glmq_meter *m, int mode, int quiet, const char *verb)
{
    *m = (glmq_meter){ .mode = mode, .verb = verb, .started = now() };
    if (mode == PROGRESS_AUTO) m->mode = glmq_may_draw(stderr) ? PROGRESS_BAR : PROGRESS_NONE;
    if (quiet && m->mode == PROGRESS_BAR) m->mode = PROGRESS_NONE;
}

static double seconds_left(const glmq_meter *m, double at)
{
    const double spent = at - m->started;
    if (!m->done || m->done > m->total) return m->total > m->done ? NAN : 0;
    return spent * (double)(m->total - m->done) / (double)m->done;
}

static void print_time(double s, FILE *out)
{
    if (!isfinite(s) || s > 360000)
        fputs("--:--", out);
    else if (s >= 3600)
        fprintf(out, "%d:%02d:%02d", (int)s / 3600, (int)s / 60 % 60, (int)s % 60);
    else
        fprintf(out, "%02d:%02d", (int)s / 60, (int)s % 60);
}

enum { BAR_CELLS = 30 };

/* "converting [#####-----]  52 %  1.53 GB/s  00:12 left" */
static void draw(glmq_meter *m, int bytes)
{
    const double at = now(), spent = at - m->started;
    const double part = m->total ? (double)m->done / (double)m->total : 1;
    const int cells = (int)(part * BAR_CELLS);

    if (at - m->shown < 0.1 && m->done < m->total) return;
    m->shown = at;
    m->open = 1;
    fprintf(stderr, "\r%s [", m->verb);
    for (int i = 0; i < BAR_CELLS; i++) fputc(i < cells ? '#' : '-', stderr);
    fprintf(stderr, "] %3d %%", (int)(part * 100));
    if (bytes && spent > 0)
        fprintf(stderr, "  %s/s", glmq_bytes_text((uint64_t)((double)m->done / spent)).s);
    fputs("  ", stderr);
    print_time(seconds_left(m, at), stderr);
    fputs(" left \x1b[K", stderr);
    fflush(stderr);
}

static const char *const event_names[] = {
    [GLMQ_RUN_START] = "start",
    [GLMQ_RUN_TENSOR] = "tensor",
    [GLMQ_RUN_SHARD] = "shard",
    [GLMQ_RUN_DONE] = "done",
};

/* One object on one line. */
static void tell(const glmq_meter *m, const char *event, const char *name, const char *travel,
                 const char *message)
{
    glmq_json_out j = { .file = stderr, .flat = 1 };

    glmq_json_begin(&j, NULL, '{');
    glmq_json_str(&j, "event", event);
    if (name) glmq_json_str(&j, "name", name);
    if (travel) glmq_json_str(&j, "travel", travel);
    if (message) glmq_json_str(&j, "message", message);
    glmq_json_uint(&j, "done_bytes", m->done);
    glmq_json_uint(&j, "total_bytes", m->total);
    glmq_json_real(&j, "eta_s", seconds_left(m, now()));
    glmq_json_end(&j);
    glmq_json_close(&j);
}

void glmq_meter_event(void *user, const glmq_progress *p)
{
    glmq_meter *m = user;

    m->done = p->done_bytes;
    m->total = p->total_bytes;
    if (m->mode == PROGRESS_JSON)
        tell(m, event_names[p->event], p->name, p->travel, NULL);
    else if (m->mode == PROGRESS_BAR)
        draw(m, 1);
}

/* Work that is counted, not measured: its bytes are null. */
static void tell_count(const glmq_meter *m, const char *event)
{
    glmq_json_out j = { .file = stderr, .flat = 1 };

    glmq_json_begin(&j, NULL, '{');
    glmq_json_str(&j, "event", event);
    glmq_json_str(&j, "doing", m->verb);
    glmq_json_uint(&j, "done", m->done);
    glmq_json_uint(&j, "total", m->total);
    glmq_json_real(&j, "done_bytes", NAN);
    glmq_json_real(&j, "total_bytes", NAN);
    glmq_json_real(&j, "eta_s", seconds_left(m, now()));
    glmq_json_end(&j);
    glmq_json_close(&j);
}

void glmq_meter_count(glmq_meter *m, uint64_t done, uint64_t total)
{
    const int first = !m->total;

    m->total = total;
    if (m->mode == PROGRESS_JSON && m->counts && first) tell_count(m, "start");
    m->done = done;
    if (m->mode == PROGRESS_JSON && m->counts && done) tell_count(m, "tensor");
    if (m->mode == PROGRESS_BAR) draw(m, 0);
}

void glmq_meter_end(glmq_meter *m, const glmq_error *err)
{
    if (m->open) fputs("\r\x1b[K", stderr);
    m->open = 0;
    if (!err && m->mode == PROGRESS_JSON && m->counts) tell_count(m, "done");
    if (err && err->status && m->mode == PROGRESS_JSON) tell(m, "error", NULL, NULL, err->msg);
    fflush(stderr);
}

void glmq_report_meter_add(void *user, const glmq_difference *d)
{
    glmq_report_meter *m = user;

    glmq_report_add(m->report, d);
    m->done++;
    glmq_meter_count(&m->meter, m->done < m->total ? m->done : m->total, m->total);
}
