/* SPDX-License-Identifier: Apache-2.0 */
/* How one way of computing a network compares with the network on plain numbers. */
#include "compiler.h"

#include <inttypes.h>
#include <math.h>

uint32_t score_top(const double *v, uint32_t len)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < len; i++) {
        best = v[i] > v[best] ? i : best;
    }
    return best;
}

double score_margin(const double *v, uint32_t len)
{
    uint32_t best = score_top(v, len);
    double margin = INFINITY;
    for (uint32_t i = 0; i < len; i++) {
        margin = i == best ? margin : fmin(margin, v[best] - v[i]);
    }
    return margin;
}

void score_error(struct score *s, double error)
{
    error = fabs(error);
    int bin =
        error > 0 ? (int)fmax(fmin(floor(log2(error)), SCORE_MOST - 1), SCORE_LEAST) : SCORE_LEAST;
    s->bin[isfinite(error) ? bin - SCORE_LEAST : SCORE_BINS - 1]++;
    s->max_error = error <= s->max_error || isnan(s->max_error) ? s->max_error : error;
    s->sum_error += error;
    s->values++;
}

void score_class(struct score *s, uint32_t label, uint32_t top, uint32_t clear_top, double margin)
{
    s->images++;
    s->right += top == label;
    s->clear_right += clear_top == label;
    s->agree += top == clear_top;
    if (top != clear_top) {
        s->worst_margin = fmax(s->worst_margin, margin);
    }
}

void score_add(struct score *s, uint32_t label, const double *result, const double *clear,
               uint32_t len)
{
    score_class(s, label, score_top(result, len), score_top(clear, len), score_margin(clear, len));
    for (uint32_t i = 0; i < len; i++) {
        score_error(s, result[i] - clear[i]);
    }
}

double score_percent(uint64_t part, uint64_t all)
{
    return all ? 100.0 * (double)part / (double)all : 0;
}

/* Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927) */
void score_interval(uint64_t part, uint64_t all, double *low, double *high)
{
    const double z = 1.959963984540054; /* 97.5 % of a normal distribution lie below */
    double n = (double)all, share = (double)part / n, square = z * z / n;
    double middle = (share + square / 2) / (1 + square);
    double half = z / (1 + square) * sqrt(share * (1 - share) / n + square / n / 4);
    *low = part == 0 ? 0 : middle - half;
    *high = part == all ? 1 : middle + half;
}
