/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <math.h>
#include <string.h>

/*
 * The polynomial is wanted near the integers j = -imax .. imax of t = K u only: a weighted
 * least-squares fit at Chebyshev nodes of the intervals |t - j| <= eps, whose weights are iterated
 * towards the smallest largest error (Lawson, "Contributions to the theory of linear least maximum
 * approximation", 1961).
 *
 * Narrow intervals determine the coefficients badly: the product of all (u - j/K)^2 is below 2^-60
 * on them. So lambda |c_k| is added as further equations, with the lambda that keeps the
 * coefficients smallest at no loss; what the polynomial does between the intervals is then bounded
 * by sum |c_k|.
 *
 * Condition: Householder QR in long double, unit roundoff 2^-64; with lambda >= 2^-44 the solution
 * is exact to 2^-20 relative to coefficients of at most 1 in directions that do not matter for the
 * values, and the error of the result is measured, not predicted.
 */

enum {
    NODES = 8,  /* of an interval; the polynomial is all but of degree 4 there */
    ROUNDS = 8, /* of reweighting */
    DENSE = 16, /* measuring points of half an interval */
    MEMO = 16
};

static const long double PI = 3.141592653589793238462643383279502884L;
static const double SLACK = 1.0 / 64; /* of eps, for noise */
static const double LOSS = 0.5;       /* bits given away for smaller coefficients */

static void chebyshev_row(long double u, uint32_t degree, long double *row)
{
    row[0] = 1;
    row[1] = u;
    for (uint32_t k = 2; k <= degree; k++)
        row[k] = 2 * u * row[k - 1] - row[k - 2];
}

/* Least squares by reflections: n columns of `rows` and the right-hand side; destroyed. */
static void least_squares(long double *a, uint32_t rows, uint32_t n, long double *c)
{
    for (uint32_t j = 0; j < n; j++) {
        long double *v = a + (size_t)j * rows, rest = 0, norm;
        for (uint32_t i = j + 1; i < rows; i++)
            rest += v[i] * v[i];
        norm = sqrtl(rest + v[j] * v[j]);
        if (v[j] > 0)
            norm = -norm; /* no cancellation in the pivot */
        long double pivot = v[j] - norm, square = pivot * pivot + rest;
        v[j] = norm;
        for (uint32_t k = j + 1; k <= n; k++) {
            long double *x = a + (size_t)k * rows, dot = pivot * x[j];
            for (uint32_t i = j + 1; i < rows; i++)
                dot += v[i] * x[i];
            dot = 2 * dot / square;
            x[j] -= dot * pivot;
            for (uint32_t i = j + 1; i < rows; i++)
                x[i] -= dot * v[i];
        }
    }
    for (uint32_t j = n; j-- > 0;) {
        c[j] = a[(size_t)n * rows + j];
        for (uint32_t k = j + 1; k < n; k++)
            c[j] -= a[(size_t)k * rows + j] * c[k];
        c[j] /= a[(size_t)j * rows + j];
    }
}

struct fit {
    struct boot_sine *s;
    uint32_t points;
    long double *row;    /* [points][degree + 1] */
    long double *target; /* [points] */
    long double *gain;   /* [points]: of an error there, in the result */
    long double *a, *c, *weight;
};

/* With c = cos(theta), the doublings are T_m, m = 2^doublings, and |T_m'(c)| = m |sin(m theta) /
 * sin(theta)|; near the integers sin(m theta) is about +-1. */
static void set_point(struct fit *f, uint32_t i, long double t)
{
    const struct boot_sine *s = f->s;
    long double theta = 2 * PI * (t - 0.25L) / (1 << s->doublings);
    chebyshev_row(t / s->k, s->degree, f->row + (size_t)i * (s->degree + 1));
    f->target[i] = cosl(theta);
    f->gain[i] = 1 / fabsl(sinl(theta));
}

static void set_points(struct fit *f)
{
    int imax = (int)f->s->imax;
    long double eps = ldexpl(1 + SLACK, -(int)f->s->ratio);
    for (int j = -imax; j <= imax; j++)
        for (uint32_t k = 0; k < NODES; k++)
            set_point(f, (uint32_t)(j + imax) * NODES + k,
                      j + eps * cosl(PI * (2 * k + 1) / (2 * NODES)));
}

static long double value(const long double *row, const double *coeff, uint32_t degree)
{
    long double v = 0;
    for (uint32_t k = 0; k <= degree; k++)
        v += row[k] * coeff[k];
    return v;
}

static void reweight(struct fit *f)
{
    uint32_t degree = f->s->degree;
    long double sum = 0;
    for (uint32_t i = 0; i < f->points; i++) {
        long double v = value(f->row + (size_t)i * (degree + 1), f->s->coeff, degree);
        f->weight[i] *= f->gain[i] * fabsl(v - f->target[i]) + 1e-30L;
        sum += f->weight[i];
    }
    for (uint32_t i = 0; i < f->points; i++)
        f->weight[i] *= f->points / sum;
}

static void solve(struct fit *f, long double lambda)
{
    uint32_t n = f->s->degree + 1, rows = f->points + n;
    memset(f->a, 0, (size_t)rows * (n + 1) * sizeof *f->a);
    for (uint32_t i = 0; i < f->points; i++) {
        long double by = sqrtl(f->weight[i]) * f->gain[i];
        for (uint32_t k = 0; k < n; k++)
            f->a[(size_t)k * rows + i] = by * f->row[(size_t)i * n + k];
        f->a[(size_t)n * rows + i] = by * f->target[i];
    }
    for (uint32_t k = 0; k < n; k++)
        f->a[(size_t)k * rows + f->points + k] = lambda * sqrtl(f->points);
    least_squares(f->a, rows, n, f->c);
    for (uint32_t k = 0; k < n; k++)
        f->s->coeff[k] = (double)f->c[k];
}

static void measure(struct boot_sine *s)
{
    long double row[BOOT_MOST_DEGREE + 1], worst = 0, eps = ldexpl(1, -(int)s->ratio);
    int imax = (int)s->imax;
    for (int j = -imax; j <= imax; j++)
        for (int k = -DENSE; k <= DENSE; k++) {
            long double t = j + eps * k / DENSE;
            chebyshev_row(t / s->k, s->degree, row);
            long double v = value(row, s->coeff, s->degree);
            for (uint32_t r = 0; r < s->doublings; r++)
                v = 2 * v * v - 1;
            worst = fmaxl(worst, fabsl(v - sinl(2 * PI * t)) / (2 * PI));
        }
    s->bits = (double)-log2l(worst);
    s->message_bits = s->bits - s->ratio;
    s->bound = 0;
    for (uint32_t k = 0; k <= s->degree; k++)
        s->bound += fabs(s->coeff[k]);
}

/* The most precise of all rounds for one lambda */
static struct boot_sine fit_with(struct fit *f, long double lambda)
{
    struct boot_sine best = {.bits = -INFINITY};
    for (uint32_t i = 0; i < f->points; i++)
        f->weight[i] = 1;
    for (int round = 0; round < ROUNDS; round++) {
        solve(f, lambda);
        measure(f->s);
        if (f->s->bits > best.bits)
            best = *f->s;
        reweight(f);
    }
    return best;
}

static void fit(struct boot_sine *s)
{
    struct arena *scratch = arena_new();
    size_t n = s->degree + 1, points = (2 * (size_t)s->imax + 1) * NODES;
    struct fit f = {.s = s, .points = (uint32_t)points};
    f.row = arena_array(scratch, points * n, sizeof *f.row);
    f.target = arena_array(scratch, points, sizeof *f.target);
    f.gain = arena_array(scratch, points, sizeof *f.gain);
    f.weight = arena_array(scratch, points, sizeof *f.weight);
    f.a = arena_array(scratch, (points + n) * (n + 1), sizeof *f.a);
    f.c = arena_array(scratch, n, sizeof *f.c);
    set_points(&f);

    static const int log2_lambda[] = {-20, -24, -28, -36, -44};
    enum { TRIES = sizeof log2_lambda / sizeof *log2_lambda };
    struct boot_sine tried[TRIES];
    double most = -INFINITY;
    for (int i = 0; i < TRIES; i++) {
        tried[i] = fit_with(&f, ldexpl(1, log2_lambda[i]));
        most = fmax(most, tried[i].bits);
    }
    int chosen = -1;
    for (int i = 0; i < TRIES; i++)
        if (tried[i].bits >= most - LOSS && (chosen < 0 || tried[i].bound < tried[chosen].bound))
            chosen = i;
    *s = tried[chosen];
    arena_free(scratch);
}

const struct boot_sine *boot_sine(uint32_t degree, uint32_t doublings, uint32_t imax,
                                  uint32_t ratio)
{
    static struct boot_sine memo[MEMO];
    static uint32_t len, next;
    if (degree < 1 || degree > BOOT_MOST_DEGREE || doublings > 8 || imax > 64 || ratio < 2 ||
        ratio > 30)
        BUG("no sine of degree %u, %u doublings, %u periods, ratio %u", degree, doublings, imax,
            ratio);
    for (uint32_t i = 0; i < len; i++)
        if (memo[i].degree == degree && memo[i].doublings == doublings && memo[i].imax == imax &&
            memo[i].ratio == ratio)
            return &memo[i];
    struct boot_sine *s = &memo[next];
    next = (next + 1) % MEMO;
    len += len < MEMO;
    *s = (struct boot_sine){
        .degree = degree, .doublings = doublings, .imax = imax, .ratio = ratio, .k = imax + 0.25};
    fit(s);
    return s;
}

/* Degrees with the depth of EvalMod, one doubling, and 17 bits of the largest message */
const struct boot_sine *boot_sine_for(uint32_t weight)
{
    static const struct {
        uint32_t imax, degree;
    } kinds[] = {{13, 55}, {14, 59}, {15, 63}};
    enum { KINDS = sizeof kinds / sizeof *kinds };
    uint32_t k = 0;
    while (k + 1 < KINDS && boot_log2_failure(weight, kinds[k].imax, 0x1p14) > -50)
        k++;
    return boot_sine(kinds[k].degree, 1, kinds[k].imax, BOOT_RATIO);
}

/*
 * A coefficient of c_0 + c_1 s, in units of q_0, is a sum of h + 1 independent uniform numbers of
 * [-1/2, 1/2] (plus the message); I is the integer next to it, so that |I| > imax where the sum is beyond
 * imax + 1/2. With n = h + 1 and x = n/2 - (imax + 1/2) the tail of one side is the Irwin-Hall sum
 *     1/n! * sum over i <= x of (-1)^i C(n, i) (x - i)^n.
 * For x <= n/4, which all of ours are, its first terms dominate: no cancellation to speak of.
 */
double boot_log2_failure(uint32_t h, uint32_t imax, double coefficients)
{
    long double n = h + 1.0L, x = n / 2 - (imax + 0.5L), sum = 0, choose = 1;
    if (x <= 0)
        return -INFINITY;
    for (uint32_t i = 0; i <= (uint32_t)x; i++) {
        long double term = choose * powl((x - i) / x, n);
        sum += i % 2 ? -term : term;
        choose *= (n - i) / (i + 1);
    }
    long double log2_tail = n * log2l(x) + log2l(sum) - lgammal(n + 1) / logl(2);
    return fmin(0, (double)log2_tail + 1 + log2(coefficients));
}
