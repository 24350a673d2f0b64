/* A run: threads take items from a queue, a committer makes them durable and then known.
 *
 *   workers    take the next item and its memory from the budget; move it; hand it over
 *   prefetch   walks the queue ahead of them and tells the system what will be read
 *   committer  every second, or every 256 MiB: syncs the files that were touched, then writes
 *              the journal's lines.  A line never comes before its bytes.
 *
 * One mutex guards all that is shared; no item is touched by two threads. */
#include "glmq/run.h"
#include "base/error.h"
#include "base/mem.h"
#include "convert/journal.h"
#include "convert/place.h"
#include "convert/plan.h"
#include "writers/manifest.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const uint64_t GROUP_BYTES = 256ull << 20; /* durable at least every so many bytes    */
static const uint64_t AHEAD_BYTES = 64ull << 20;  /* how far the prefetch goes ahead         */
enum { HASH_BYTES = 1 << 20, HELD_MAX = 8 };

typedef struct queued {
    uint64_t bytes, offset;
    uint32_t file, item;
} queued;

typedef struct run {
    const glmq_plan *plan;
    const glmq_run_options *opt;
    glmq_place place;
    glmq_journal *journal;
    glmq_results results;
    glmq_move_to to;
    queued *queue;

    pthread_mutex_t lock; /* over everything below                                     */
    pthread_cond_t room;  /* memory was given back, or the run stops                   */
    pthread_cond_t work;  /* for the committer: items wait, or the workers are done    */
    pthread_cond_t moved; /* for the prefetch: the queue went on                       */
    size_t next;          /* of the queue                                              */
    size_t asked;         /* of the queue: read ahead up to here                       */
    uint64_t ahead;       /* bytes of what lies between the two                        */
    uint64_t free_bytes;
    uint32_t *waiting; /* items that are written, but not yet in the journal        */
    size_t waiting_count;
    uint64_t waiting_bytes;
    uint32_t *left; /* items that still miss, per file                           */
    int workers_done;
    int stop; /* also read without the lock                                */
    glmq_status status;
    glmq_error err;
    uint64_t done_bytes, resumed;
    uint64_t tensors[GLMQ_RECODE + 1];
    double began;
} run;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* The first failure stops everybody.  Under the lock. */
static void fail(run *r, glmq_status st, const glmq_error *err)
{
    if (!r->status) {
        r->status = st;
        r->err = *err;
    }
    __atomic_store_n(&r->stop, 1, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&r->room);
    pthread_cond_broadcast(&r->work);
    pthread_cond_broadcast(&r->moved);
}

static int cancelled(const run *r)
{
    return r->opt->cancel && __atomic_load_n(r->opt->cancel, __ATOMIC_RELAXED);
}

/* Under the lock: one call at a time. */
static void tell(const run *r, int event, const char *name, const char *travel)
{
    glmq_progress p = { .done_bytes = r->done_bytes,
                        .total_bytes = r->plan->write_bytes,
                        .name = name,
                        .travel = travel,
                        .seconds = now() - r->began };
    if (!r->opt->progress) return;
    switch (event) {
    case GLMQ_RUN_START: p.event = GLMQ_RUN_START; break;
    case GLMQ_RUN_TENSOR: p.event = GLMQ_RUN_TENSOR; break;
    case GLMQ_RUN_SHARD: p.event = GLMQ_RUN_SHARD; break;
    default: p.event = GLMQ_RUN_DONE; break;
    }
    r->opt->progress(r->opt->user, &p);
}

/* ---- the queue ---- */

static int by_size_then_place(const void *a, const void *b)
{
    const queued *x = a, *y = b;
    if (x->bytes != y->bytes) return x->bytes > y->bytes ? -1 : 1;
    if (x->file != y->file) return x->file < y->file ? -1 : 1;
    if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
    return x->item < y->item ? -1 : x->item > y->item;
}

static glmq_status make_queue(run *r, glmq_error *err)
{
    const glmq_plan *p = r->plan;
    r->queue = glmq_alloc((p->items.count + 1) * sizeof *r->queue);
    r->waiting = glmq_alloc((p->items.count + 1) * sizeof *r->waiting);
    r->left = glmq_alloc_zero(p->files.count + 1, sizeof *r->left);
    if (!r->queue || !r->waiting || !r->left) return glmq_fail(err, GLMQ_E_NOMEM, "the queue");
    for (size_t i = 0; i < p->items.count; i++) {
        const glmq_item *it = &p->items.at[i];
        const glmq_span *s = &p->graph->tensors[it->tensor].part[0].span[GLMQ_SLOT_CODES];
        r->queue[i] = (queued){ it->bytes, s->offset, s->file, (uint32_t)i };
    }
    for (size_t i = 0; i < p->pieces.count; i++) r->left[p->pieces.at[i].file]++;
    qsort(r->queue, p->items.count, sizeof *r->queue, by_size_then_place);
    return GLMQ_OK;
}

static uint64_t source_bytes(const run *r, uint32_t item)
{
    return glmq_tensor_bytes(&r->plan->graph->tensors[r->plan->items.at[item].tensor]);
}

/* Under the lock: is there an item, but no memory for it yet? */
static int lacks_memory(const run *r)
{
    return !r->stop && r->next < r->plan->items.count &&
           r->free_bytes < r->plan->items.at[r->queue[r->next].item].peak;
}

/* The next item, with its memory; 0 when there is none or the run stops, or when memory is
 * lacking that a caller who does not `wait` may have himself. */
static int take(run *r, uint32_t *item, int wait)
{
    int found = 0;
    pthread_mutex_lock(&r->lock);
    while (wait && lacks_memory(r)) pthread_cond_wait(&r->room, &r->lock);
    if (!r->stop && r->next < r->plan->items.count && !lacks_memory(r)) {
        *item = r->queue[r->next].item;
        r->free_bytes -= r->plan->items.at[*item].peak;
        if (r->next++ < r->asked) r->ahead -= source_bytes(r, *item);
        if (r->ahead < AHEAD_BYTES / 2) pthread_cond_signal(&r->moved);
        found = 1;
    }
    pthread_mutex_unlock(&r->lock);
    return found;
}

/* Counts an item as done.  Under the lock. */
static void count_done(run *r, uint32_t item)
{
    const glmq_item *it = &r->plan->items.at[item];
    const uint8_t travel = r->results.done[item].travel;
    r->tensors[travel]++;
    r->done_bytes += it->bytes;
    tell(r, GLMQ_RUN_TENSOR, r->plan->graph->tensors[it->tensor].name,
         glmq_travel_name((glmq_travel)travel));
    for (uint32_t k = 0; k < it->pieces; k++) {
        const uint32_t f = r->plan->pieces.at[it->piece + k].file;
        if (--r->left[f] == 0) tell(r, GLMQ_RUN_SHARD, r->plan->files.at[f].name, NULL);
    }
}

/* Gives an item's memory back, and the item to the committer, or its failure to the run. */
static void give(run *r, uint32_t item, glmq_status st, int resumed, const glmq_done *done,
                 glmq_error *err)
{
    const glmq_item *it = &r->plan->items.at[item];
    pthread_mutex_lock(&r->lock);
    r->free_bytes += it->peak;
    pthread_cond_broadcast(&r->room);
    if (!st && !resumed) {
        glmq_done *at = &r->results.done[item];
        *at = *done;
        if (done->reason) at->reason = glmq_arena_strdup(&r->results.arena, done->reason);
        if (done->reason && !at->reason) st = glmq_fail(err, GLMQ_E_NOMEM, "the results");
    }
    if (st) {
        fail(r, st, err);
    } else {
        r->resumed += (uint64_t)resumed;
        if (!resumed) {
            r->waiting[r->waiting_count++] = item;
            r->waiting_bytes += it->bytes;
            if (r->waiting_bytes >= GROUP_BYTES) pthread_cond_signal(&r->work);
        }
        count_done(r, item);
    }
    pthread_mutex_unlock(&r->lock);
}

/* ---- workers ---- */

/* Is what the journal says of a piece what lies in the output? */
static glmq_status verify_piece(run *r, const glmq_piece *c, const glmq_digest *expected,
                                uint8_t *buf, glmq_hash *h, int *same, glmq_error *err)
{
    glmq_out *file = r->place.file[c->file];
    glmq_digest d;
    *same = 0;
    if (!file) return GLMQ_OK; /* linked: proved again */
    glmq_hash_reset(h);
    for (uint64_t at = 0; at < c->bytes;) {
        const uint64_t left = c->bytes - at;
        const size_t n = left < HASH_BYTES ? (size_t)left : HASH_BYTES;
        if (cancelled(r)) return glmq_fail(err, GLMQ_E_CANCELLED, "interrupted");
        GLMQ_TRY(glmq_out_read(file, c->offset + at, buf, n, err));
        glmq_hash_add(h, buf, n);
        at += n;
    }
    d = glmq_hash_get(h);
    *same = glmq_digest_equal(&d, expected);
    return GLMQ_OK;
}

/* An item of the journal: re-hashed, never trusted. */
static glmq_status verify_item(run *r, uint32_t item, uint8_t *buf, glmq_hash *h, int *same,
                               glmq_error *err)
{
    const glmq_item *it = &r->plan->items.at[item];
    *same = r->results.done[item].finished;
    for (uint32_t k = 0; k < it->pieces && *same; k++)
        GLMQ_TRY(verify_piece(r, &r->plan->pieces.at[it->piece + k],
                              &r->results.piece[it->piece + k], buf, h, same, err));
    return GLMQ_OK;
}

/* An item that is moved, of which bytes still wait to be written.  Few: until they are, nobody
 * counts them, and a run that is to stop goes on. */
typedef struct held {
    uint32_t item;
    glmq_done done;
} held;

typedef struct worker {
    run *run;
    glmq_mover *mover;
    glmq_hash *hash;
    uint8_t *buf;
    glmq_move_to to;
    held held[HELD_MAX];
    size_t held_count;
} worker;

/* Their last bytes are written, or `st` says why not. */
static void give_held(worker *w, glmq_status st, glmq_error *err)
{
    for (size_t i = 0; i < w->held_count; i++)
        give(w->run, w->held[i].item, st, 0, &w->held[i].done, err);
    w->held_count = 0;
}

static void finish_held(worker *w)
{
    glmq_error err = { 0 };
    const glmq_status st = glmq_outbox_flush(w->to.box, &err);
    give_held(w, st, &err);
}

static void work_on(worker *w, uint32_t item)
{
    run *r = w->run;
    const glmq_item *it = &r->plan->items.at[item];
    glmq_done done = { 0 };
    glmq_error err = { 0 };
    int same = 0;
    glmq_status st = verify_item(r, item, w->buf, w->hash, &same, &err);
    if (!st && !same)
        st = glmq_move(w->mover, item, &w->to, &done, &r->results.piece[it->piece], &err);
    if (st || same) {
        give(r, item, st, same, &done, &err);
        return;
    }
    w->held[w->held_count++] = (held){ item, done };
    if (glmq_outbox_is_empty(w->to.box))
        give_held(w, GLMQ_OK, &err);
    else if (w->held_count == HELD_MAX || done.reason) /* the reason is the mover's */
        finish_held(w);
}

static void work_off(worker *w)
{
    uint32_t item = 0;
    for (;;) {
        if (take(w->run, &item, !w->held_count))
            work_on(w, item);
        else if (w->held_count)
            finish_held(w);
        else
            return;
    }
}

static void *work(void *arg)
{
    run *r = arg;
    worker w = { .run = r,
                 .mover = glmq_mover_new(r->plan),
                 .hash = glmq_hash_new(),
                 .buf = glmq_alloc(HASH_BYTES),
                 .to = r->to };
    w.to.box = glmq_outbox_new();
    if (w.mover && w.hash && w.buf && w.to.box) {
        work_off(&w);
    } else {
        glmq_error err;
        const glmq_status st = glmq_fail(&err, GLMQ_E_NOMEM, "a worker");
        pthread_mutex_lock(&r->lock);
        fail(r, st, &err);
        pthread_mutex_unlock(&r->lock);
    }
    glmq_mover_free(w.mover);
    glmq_hash_free(w.hash);
    glmq_outbox_free(w.to.box);
    glmq_free(w.buf);
    return NULL;
}

/* ---- prefetch ---- */

static void prefetch_item(const run *r, uint32_t item)
{
    const glmq_tensor *t = &r->plan->graph->tensors[r->plan->items.at[item].tensor];
    for (uint8_t i = 0; i < t->parts; i++)
        for (int s = 0; s < GLMQ_SLOTS; s++) {
            const glmq_span *span = &t->part[i].span[s];
            const uint64_t n = span->bytes < AHEAD_BYTES ? span->bytes : AHEAD_BYTES;
            if (n) glmq_source_prefetch(r->plan->graph->source, span->file, span->offset, n);
        }
}

/* Stays about AHEAD_BYTES in front of the workers; they wake it when half of that is left. */
static void *prefetch(void *arg)
{
    run *r = arg;
    pthread_mutex_lock(&r->lock);
    for (;;) {
        if (r->asked < r->next) {
            r->asked = r->next;
            r->ahead = 0;
        }
        if (r->stop || r->asked >= r->plan->items.count) break;
        if (r->ahead >= AHEAD_BYTES) {
            pthread_cond_wait(&r->moved, &r->lock);
            continue;
        }
        const uint32_t item = r->queue[r->asked++].item;
        r->ahead += source_bytes(r, item);
        pthread_mutex_unlock(&r->lock);
        prefetch_item(r, item);
        pthread_mutex_lock(&r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- committer ---- */

/* Makes the items durable and lists them.  Without the lock: they are nobody else's now. */
static glmq_status commit_group(run *r, const uint32_t *item, size_t n, uint8_t *touched,
                                glmq_error *err)
{
    const glmq_plan *p = r->plan;
    memset(touched, 0, p->files.count);
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < p->items.at[item[i]].pieces; k++)
            touched[p->pieces.at[p->items.at[item[i]].piece + k].file] = 1;
    for (size_t f = 0; f < p->files.count; f++)
        if (touched[f] && r->place.file[f]) GLMQ_TRY(glmq_out_sync(r->place.file[f], err));
    for (size_t i = 0; i < n; i++)
        GLMQ_TRY(glmq_journal_add(r->journal, p, item[i], &r->results, err));
    return n ? glmq_journal_sync(r->journal, err) : GLMQ_OK;
}

/* Sleeps until a second has passed, enough bytes wait, or the workers are done. */
static void wait_for_group(run *r)
{
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec++;
    while (!r->workers_done && r->waiting_bytes < GROUP_BYTES)
        if (pthread_cond_timedwait(&r->work, &r->lock, &until)) return;
}

static void *commit(void *arg)
{
    run *r = arg;
    uint32_t *group = glmq_alloc((r->plan->items.count + 1) * sizeof *group);
    uint8_t *touched = glmq_alloc(r->plan->files.count + 1);
    glmq_error err;
    glmq_status st = group && touched ? GLMQ_OK : glmq_fail(&err, GLMQ_E_NOMEM, "the journal");
    int last = 0;
    pthread_mutex_lock(&r->lock);
    while (!st && !last) {
        size_t n;
        wait_for_group(r);
        last = r->workers_done;
        n = r->waiting_count;
        memcpy(group, r->waiting, n * sizeof *group);
        r->waiting_count = 0;
        r->waiting_bytes = 0;
        pthread_mutex_unlock(&r->lock);
        st = commit_group(r, group, n, touched, &err);
        pthread_mutex_lock(&r->lock);
    }
    if (st) fail(r, st, &err);
    pthread_mutex_unlock(&r->lock);
    glmq_free(group);
    glmq_free(touched);
    return NULL;
}

/* ---- the run ---- */

static int start_thread(pthread_t *t, void *(*f)(void *), run *r)
{
    return pthread_create(t, NULL, f, r) == 0;
}

static glmq_status run_threads(run *r, glmq_error *err)
{
    pthread_t thread[GLMQ_JOBS_MAX], ahead, committer;
    int n = 0, has_ahead;
    if (!start_thread(&committer, commit, r))
        return glmq_fail(err, GLMQ_E_NOMEM, "a thread for the journal");
    has_ahead = start_thread(&ahead, prefetch, r);
    while (n < r->plan->options.jobs - 1 && start_thread(&thread[n], work, r)) n++;
    work(r); /* this thread works too */
    while (n > 0) pthread_join(thread[--n], NULL);
    pthread_mutex_lock(&r->lock);
    r->workers_done = 1;
    r->next = r->plan->items.count;
    pthread_cond_broadcast(&r->work);
    pthread_cond_broadcast(&r->moved);
    pthread_mutex_unlock(&r->lock);
    pthread_join(committer, NULL);
    if (has_ahead) pthread_join(ahead, NULL);
    if (r->status && err) *err = r->err;
    return r->status;
}

static glmq_status open_journal(run *r, glmq_error *err)
{
    char *path = glmq_place_path(&r->place, "journal");
    glmq_status st;
    if (!path) return glmq_fail(err, GLMQ_E_NOMEM, "a path");
    st = r->place.resumed ? glmq_journal_open(&r->journal, path, r->plan, &r->results, err)
                          : glmq_journal_create(&r->journal, path, r->plan, err);
    glmq_free(path);
    return st;
}

static glmq_status fill_result(const run *r, glmq_run_result *out, glmq_error *err)
{
    if (!out) return GLMQ_OK;
    *out = (glmq_run_result){ .resumed = r->resumed };
    memcpy(out->tensors, r->tensors, sizeof out->tensors);
    return glmq_manifest_model_digests(r->plan, &r->results, out->source_digest, out->result_digest,
                                       err);
}

static glmq_status carry_out(run *r, glmq_run_result *result, glmq_error *err)
{
    const uint64_t base = glmq_run_base_bytes(r->plan);
    GLMQ_TRY(glmq_results_open(&r->results, r->plan, err));
    GLMQ_TRY(make_queue(r, err));
    GLMQ_TRY(open_journal(r, err));
    GLMQ_TRY(glmq_place_files(&r->place, r->opt, err));
    r->to = (glmq_move_to){ .file = r->place.file, .cancel = r->opt->cancel, .stop = &r->stop };
    r->free_bytes = r->plan->options.memory > base ? r->plan->options.memory - base : 0;
    tell(r, GLMQ_RUN_START, NULL, NULL);
    GLMQ_TRY(run_threads(r, err));
    GLMQ_TRY(glmq_place_commit(&r->place, r->opt, &r->results, err));
    r->done_bytes = r->plan->write_bytes;
    tell(r, GLMQ_RUN_DONE, NULL, NULL);
    return fill_result(r, result, err);
}

/* The source is what it is: the same options meet the same malformed tensor again. */
static int fails_again(glmq_status st)
{
    return st == GLMQ_E_FORMAT || st == GLMQ_E_LIMIT || st == GLMQ_E_UNSUPPORTED ||
           st == GLMQ_E_INEXACT;
}

glmq_status glmq_run(const glmq_plan *plan, const glmq_run_options *opt, glmq_run_result *result,
                     glmq_error *err)
{
    static const glmq_run_options defaults;
    glmq_status st;
    run r = {
        .plan = plan,
        .opt = opt ? opt : &defaults,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .room = PTHREAD_COND_INITIALIZER,
        .work = PTHREAD_COND_INITIALIZER,
        .moved = PTHREAD_COND_INITIALIZER,
        .began = now(),
    };
    st = glmq_place_open(&r.place, plan, r.opt, err);
    if (!st && r.place.finished) {
        if (result) *result = r.place.found;
        r.done_bytes = plan->write_bytes;
        tell(&r, GLMQ_RUN_DONE, NULL, NULL);
        glmq_place_close(&r.place);
    } else if (!st) {
        st = carry_out(&r, result, err);
        glmq_journal_close(r.journal);
        if (fails_again(st)) glmq_place_abandon(&r.place);
        glmq_place_close(&r.place);
    }
    glmq_results_close(&r.results);
    glmq_free(r.queue);
    glmq_free(r.waiting);
    glmq_free(r.left);
    return st;
}
