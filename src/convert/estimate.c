/* How long a run would take: the source's speed from reading a little of it, the processor's
 * from moving that little in memory, and a cautious figure for what cannot be tried without
 * writing, the disk. */
#include "base/hash.h"
#include "base/mem.h"
#include "convert/plan.h"
#include <time.h>

enum { SAMPLE_BYTES = 1 << 20, ROUNDS_MAX = 64 };

static const double SAMPLE_SECONDS = 0.1;
static const double DISK_BYTES_PER_SECOND = 500e6; /* a SATA solid-state disk              */
static const double ITEM_SECONDS = 20e-6;          /* opening, journal, per item           */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* Seconds per byte of reading item data, spread over the plan; 0 when nothing can be read. */
static double read_cost(const glmq_plan *p, uint8_t *buf)
{
    const double begin = now();
    double bytes = 0;
    for (size_t i = 0; i < ROUNDS_MAX && i < p->items.count && now() - begin < SAMPLE_SECONDS;
         i++) {
        const size_t at = p->items.count / ROUNDS_MAX * i + (p->items.count < ROUNDS_MAX ? i : 0);
        const glmq_span *s =
            &p->graph->tensors[p->items.at[at].tensor].part[0].span[GLMQ_SLOT_CODES];
        const size_t n = s->bytes < SAMPLE_BYTES ? (size_t)s->bytes : SAMPLE_BYTES;
        if (glmq_source_read(p->graph->source, s->file, s->offset, buf, n, NULL)) return 0;
        bytes += (double)n;
    }
    return bytes > 0 ? (now() - begin) / bytes : 0;
}

/* Seconds of one thread per value: decoded, hashed, compared; encoded where it must be. */
static double value_cost(const glmq_plan *p, uint8_t *buf)
{
    const size_t n = SAMPLE_BYTES / sizeof(float);
    const double begin = now();
    double values = 0;
    glmq_hash *h = glmq_hash_new();
    (void)p;
    while (h && values < 1e9 && now() - begin < SAMPLE_SECONDS) {
        glmq_hash_add_values(h, (const float *)(const void *)buf, n);
        values += (double)n;
    }
    glmq_hash_free(h);
    return values > 0 ? (now() - begin) / values : 0;
}

double glmq_plan_estimate(const glmq_plan *p)
{
    /* measured against the digest of a value: an exact move takes about three times as long
     * (decode, decode back, compare), an encoder six times */
    enum { EXACT = 3, RECODED = 6 };
    double work = 0, disk, value, read;
    uint8_t *buf = glmq_alloc_zero(1, SAMPLE_BYTES);
    if (!buf) return 0;
    value = value_cost(p, buf);
    read = read_cost(p, buf);
    glmq_free(buf);
    for (size_t i = 0; i < p->items.count; i++) {
        const glmq_item *it = &p->items.at[i];
        const glmq_tensor *t = &p->graph->tensors[it->tensor];
        const double n = (double)t->rows * (double)t->cols;
        work += ITEM_SECONDS + n * value * (it->travel == GLMQ_RECODE ? RECODED : EXACT);
    }
    work /= p->options.jobs;
    disk = (double)p->write_bytes / DISK_BYTES_PER_SECOND + (double)p->read_bytes * read;
    return work > disk ? work : disk;
}
