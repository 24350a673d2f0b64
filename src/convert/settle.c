/* A deep plan: every "same-codes?" is settled by trying it, before anything is written.  The
 * same code asks here that moves later, so that the run cannot come to another answer; where
 * codes go along whatever they are, only scales and zero points are read. */
#include "base/error.h"
#include "base/mem.h"
#include "convert/ask.h"
#include "convert/move.h"
#include "convert/plan.h"
#include <pthread.h>

typedef struct settling {
    glmq_plan *plan;
    pthread_mutex_t lock; /* over everything below, and the plan's strings */
    size_t next;
    uint64_t free_bytes; /* of the memory budget */
    pthread_cond_t freed;
    glmq_status status;
    glmq_error err;
} settling;

/* The next item that is open, with its memory taken; 0 when there is none, or all is lost. */
static int take(settling *s, size_t *item)
{
    int found = 0;
    pthread_mutex_lock(&s->lock);
    while (!s->status && s->next < s->plan->items.count && !found) {
        *item = s->next++;
        found = s->plan->items.at[*item].travel == GLMQ_MAYBE_CODES;
    }
    while (found && s->free_bytes < s->plan->items.at[*item].peak)
        pthread_cond_wait(&s->freed, &s->lock);
    if (found) s->free_bytes -= s->plan->items.at[*item].peak;
    pthread_mutex_unlock(&s->lock);
    return found;
}

static void give(settling *s, size_t item, glmq_status st, glmq_travel travel, const char *why,
                 const glmq_error *err)
{
    glmq_item *it = &s->plan->items.at[item];
    pthread_mutex_lock(&s->lock);
    s->free_bytes += it->peak;
    pthread_cond_broadcast(&s->freed);
    if (!st) {
        it->travel = travel;
        it->reason = s->plan->want[it->tensor].reason; /* no longer what it hung on */
        if (!it->reason && why[0]) it->reason = glmq_plan_intern(s->plan, why);
        if (!it->reason && why[0]) st = GLMQ_E_NOMEM;
    }
    if (st && !s->status) {
        s->status = st;
        s->err = *err;
    }
    pthread_mutex_unlock(&s->lock);
}

static void *work(void *arg)
{
    settling *s = arg;
    size_t item = 0;
    glmq_asker *a = glmq_asker_new(s->plan);
    glmq_mover *m = glmq_mover_new(s->plan);
    while (take(s, &item)) {
        glmq_error err = { 0 };
        char why[160] = "";
        glmq_travel travel = GLMQ_RECODE;
        glmq_status st = GLMQ_OK;
        if (!a || !m)
            st = glmq_fail(&err, GLMQ_E_NOMEM, "the deep plan");
        else if (!glmq_ask(a, item, why, &travel))
            st = glmq_move_probe(m, item, why, &travel, &err);
        give(s, item, st, travel, why, &err);
    }
    glmq_asker_free(a);
    glmq_mover_free(m);
    return NULL;
}

/* The main thread works too, so no thread at all would do. */
static void work_together(settling *s)
{
    pthread_t thread[64];
    int n = 0;
    while (n < s->plan->options.jobs - 1 && n < 64 && !pthread_create(&thread[n], NULL, work, s))
        n++;
    work(s);
    while (n > 0) pthread_join(thread[--n], NULL);
}

glmq_status glmq_plan_settle(glmq_plan *p, glmq_error *err)
{
    const uint64_t base = glmq_run_base_bytes(p);
    settling s = {
        .plan = p,
        .lock = PTHREAD_MUTEX_INITIALIZER,
        .freed = PTHREAD_COND_INITIALIZER,
        .free_bytes = p->options.memory > base ? p->options.memory - base : 0,
    };
    work_together(&s);
    if (s.status && err) *err = s.err;
    return s.status;
}
