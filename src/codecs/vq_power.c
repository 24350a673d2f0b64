/* The statistic V: do codes and codebook belong together?  See vq.h. */
#include "vq.h"
#include <math.h>

void vq_power_table(const vq_book *book, double *power)
{
    double mean = 0;

    for (uint32_t k = 0; k < book->entries; k++) {
        power[k] = 0;
        for (uint32_t i = 0; i < book->width; i++) {
            const double v = (double)book->values[(uint64_t)k * book->width + i];
            power[k] += v * v;
        }
        mean += power[k];
    }
    mean /= book->entries;
    for (uint32_t k = 0; k < book->entries; k++) power[k] -= mean;
}

void vq_power_add(vq_power *p, const double *power, const glmq_encoding *e, const glmq_bufs *b,
                  glmq_tile t, uint64_t row)
{
    const vq_book *book = e->tables;
    const uint64_t codes = t.cols / book->width, per = codes / glmq_encoding_groups(e, t.cols);
    uint64_t left = per;
    uint16_t q[VQ_RUN];
    double sum = 0;

    for (uint64_t c = 0; c < codes; c += VQ_RUN) {
        const size_t n = codes - c < VQ_RUN ? (size_t)(codes - c) : (size_t)VQ_RUN;
        vq_get_codes(e, b, t, row, c, n, q);
        for (size_t i = 0; i < n; i++) {
            const double x = q[i] < book->entries ? power[q[i]] : 0;
            sum += x;
            p->code_sum += x;
            p->code_squares += x * x;
            if (--left) continue;
            p->sum += sum;
            p->squares += sum * sum;
            p->groups++;
            sum = 0;
            left = per;
        }
    }
    p->codes += codes;
}

void vq_power_join(vq_power *p, const vq_power *more)
{
    p->sum += more->sum;
    p->squares += more->squares;
    p->code_sum += more->code_sum;
    p->code_squares += more->code_squares;
    p->groups += more->groups;
    p->codes += more->codes;
}

static double variance(double sum, double squares, uint64_t n)
{
    const double mean = sum / (double)n;
    return squares / (double)n - mean * mean;
}

double vq_power_value(const vq_power *p)
{
    double of_groups, of_codes;

    if (p->groups < 2) return NAN;
    of_groups = variance(p->sum, p->squares, p->groups);
    of_codes = variance(p->code_sum, p->code_squares, p->codes);
    if (!(of_codes > 0)) return NAN;
    return of_groups / ((double)p->codes / (double)p->groups * of_codes);
}

/* Measured on right data: 0.10 at 3 bits, 0.2 to 0.4 at 2, 0.57 to 0.84 from 1.25 to 1.6; at 1 bit
 * 0.88 of entries of 8, 0.95 to 1 of shorter ones.  On wrong data about 1.  The one entry of a
 * group that has no more varies from group to group as entries do. */
double vq_power_limit(const vq_book *book, const vq_power *p)
{
    const double bits = log2((double)book->entries) / book->width;

    if (p->groups == 0 || p->codes / p->groups < 2) return (double)INFINITY;
    if (bits >= 2) return 0.6;
    if (bits >= 1.25) return 0.9;
    return bits >= 1 && book->width >= 8 ? 0.93 : (double)INFINITY;
}
