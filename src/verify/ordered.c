/* Ordered work: one mutex, one condition.  Things are large (a tensor, a file), so the lock
 * is taken a few times per thing and never inside one. */
#include "ordered.h"
#include "base/error.h"
#include "base/mem.h"
#include <pthread.h>
#include <unistd.h>

enum { WORKERS_MAX = 256 };

typedef struct ordered {
    const glmq_ordered *job;
    pthread_mutex_t lock;
    pthread_cond_t room;  /* budget was given back, or the run stopped                 */
    uint8_t *finished;    /* per thing                                                */
    size_t next, emitted; /* next to hand out; all before `emitted` are passed on      */
    int emitting;         /* a thread is inside done()                                 */
    uint64_t memory, used;
    size_t failed_at; /* the first thing that failed; SIZE_MAX: none               */
    glmq_status status;
    glmq_error error;
} ordered;

typedef struct worker {
    ordered *o;
    int number;
    pthread_t thread;
} worker;

int glmq_workers(int jobs, size_t count)
{
    long n = jobs > 0 ? jobs : sysconf(_SC_NPROCESSORS_ONLN);
    if (n < 1) n = 1;
    if (n > WORKERS_MAX) n = WORKERS_MAX;
    if ((size_t)n > count) n = count ? (long)count : 1;
    return (int)n;
}

/* Keeps the failure that comes first in order.  Locked. */
static void fail_at(ordered *o, size_t i, glmq_status st, const glmq_error *err)
{
    if (i >= o->failed_at) return;
    o->failed_at = i;
    o->status = st;
    o->error = *err;
    pthread_cond_broadcast(&o->room);
}

/* Waits for a thing and the memory for it; returns 0 when there is none.  Locked. */
static int take(ordered *o, size_t *i, uint64_t *peak)
{
    const glmq_ordered *job = o->job;
    glmq_error err = { .status = GLMQ_OK };

    if (job->cancel && *job->cancel && o->next < job->count)
        fail_at(o, o->next, glmq_fail(&err, GLMQ_E_CANCELLED, "interrupted"), &err);
    if (o->next >= job->count || o->failed_at != SIZE_MAX) return 0;
    *i = o->next++;
    *peak = job->peak ? job->peak(job->user, *i) : 0;
    if (*peak > o->memory) {
        fail_at(o, *i,
                glmq_fail(&err, GLMQ_E_ARG,
                          "needs %" PRIu64 " bytes of memory, --memory is %" PRIu64, *peak,
                          o->memory),
                &err);
        return 0;
    }
    while (o->used + *peak > o->memory && o->failed_at > *i) pthread_cond_wait(&o->room, &o->lock);
    if (o->failed_at < *i) return 0;
    o->used += *peak;
    return 1;
}

/* Passes on what is finished, in order.  Locked, but not while done() runs. */
static void emit(ordered *o)
{
    const glmq_ordered *job = o->job;

    if (o->emitting) return;
    o->emitting = 1;
    while (o->emitted < job->count && o->finished[o->emitted] && o->emitted < o->failed_at) {
        const size_t i = o->emitted;
        glmq_error err = { .status = GLMQ_OK };
        pthread_mutex_unlock(&o->lock);
        const glmq_status st = job->done ? job->done(job->user, i, &err) : GLMQ_OK;
        pthread_mutex_lock(&o->lock);
        o->emitted++;
        if (st) fail_at(o, i, st, &err);
    }
    o->emitting = 0;
}

static void *work(void *arg)
{
    const worker *w = arg;
    ordered *o = w->o;
    size_t i;
    uint64_t peak;

    pthread_mutex_lock(&o->lock);
    while (take(o, &i, &peak)) {
        glmq_error err = { .status = GLMQ_OK };
        pthread_mutex_unlock(&o->lock);
        const glmq_status st = o->job->work(o->job->user, w->number, i, &err);
        pthread_mutex_lock(&o->lock);
        o->used -= peak;
        o->finished[i] = st == GLMQ_OK;
        if (st) fail_at(o, i, st, &err);
        pthread_cond_broadcast(&o->room);
        emit(o);
    }
    pthread_mutex_unlock(&o->lock);
    return NULL;
}

/* Starts what it can: fewer threads are slower, not wrong.  Worker 0 is the caller. */
static void run_workers(ordered *o, worker *workers)
{
    int started = 1;

    for (int n = 0; n < o->job->workers; n++) workers[n] = (worker){ .o = o, .number = n };
    while (started < o->job->workers &&
           pthread_create(&workers[started].thread, NULL, work, &workers[started]) == 0)
        started++;
    work(&workers[0]);
    for (int n = 1; n < started; n++) pthread_join(workers[n].thread, NULL);
}

glmq_status glmq_ordered_run(const glmq_ordered *job, glmq_error *err)
{
    ordered o = {
        .job = job,
        .memory = job->memory ? job->memory : UINT64_C(2) << 30,
        .failed_at = SIZE_MAX,
    };
    worker *workers = glmq_alloc_zero((size_t)job->workers, sizeof *workers);

    o.finished = glmq_alloc_zero(job->count ? job->count : 1, 1);
    if (!workers || !o.finished) {
        glmq_free(workers);
        glmq_free(o.finished);
        return glmq_fail(err, GLMQ_E_NOMEM, "bookkeeping for %zu tensors", job->count);
    }
    pthread_mutex_init(&o.lock, NULL);
    pthread_cond_init(&o.room, NULL);
    run_workers(&o, workers);
    pthread_cond_destroy(&o.room);
    pthread_mutex_destroy(&o.lock);
    glmq_free(workers);
    glmq_free(o.finished);
    if (o.status && err) *err = o.error;
    return o.status;
}
