/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Diagonals of factors of the special DFT (struct ldft in ir/ir.h has the same words).
 *
 * Stage t = 1 .. log2 n, with h = 2^(t-1), j = s mod h and w_t(j) = exp(2 pi i (5^j mod 4 2^t) / (4
 * 2^t)):
 *     out[s]     = in[s] + w_t(j) in[s + h]
 *     out[s + h] = in[s] - w_t(j) in[s + h]            for s mod 2h < h
 * The factor F is stage `last` o ... o stage `first`; `inverse`: F^-1.
 *
 * A stage changes one bit of the index, bit t-1. So there is one path at most from in slot v to out
 * slot u: none when they differ in a bit that no stage changes, and otherwise the one on which
 * stage t goes from bit t-1 of v to bit t-1 of u. Up to there the lower bits are those of u
 * already, hence j = u mod h, and
 *     F[u][v] = product, over the t with bit t-1 of v set, of (bit t-1 of u ? -1 : 1) w_t(u mod h).
 * That is one root of unity of order 4 2^last. Its exponent is added up exactly and its value is
 * rounded once. A stage times its conjugate transpose is 2, so F^-1[u][v] = conj(F[v][u]) /
 * 2^(last-first+1).
 *
 * Both depend on u and v = u + d by way of the low `last` bits of u alone, the question whether
 * there is a path included: a diagonal repeats with 2^last.
 */
#include "core/core.h"

#include <math.h>

#define PI 3.14159265358979323846

struct factor {
    unsigned first, last;
    bool inverse;
};

static struct factor factor_of(uint32_t dft)
{
    return (struct factor){dft & 0xffu, dft >> 8 & 0xffu, dft >> 16 != 0};
}

bool core_dft_ok(const struct core_plain *p)
{
    struct factor f = factor_of(p->dft);
    return p->dft >> 17 == 0 && f.first >= 1 && f.first <= f.last && f.last <= core_log2(p->n) &&
           p->period >> f.last != 0 && p->first_rect < p->n && p->num_rects < p->n;
}

/*
 * exp(2 pi i e / len), len = 2^log_len >= 8, e < len. Angles are folded into the first octant, so
 * that quarter turns swap and negate exactly; sin and cos err by less than one unit in the last
 * place.
 */
static void root_of_unity(uint32_t e, unsigned log_len, double *re, double *im)
{
    uint32_t quarter = UINT32_C(1) << (log_len - 2);
    uint32_t rest = e & (quarter - 1);
    bool swap = rest > quarter / 2;
    double angle = PI / 2 * (double)(swap ? quarter - rest : rest) / (double)quarter;
    double c = cos(angle);
    double s = sin(angle);
    double x = swap ? s : c;
    double y = swap ? c : s;
    switch (e >> (log_len - 2)) {
    case 0:
        *re = x;
        *im = y;
        break;
    case 1:
        *re = -y;
        *im = x;
        break;
    case 2:
        *re = -x;
        *im = -y;
        break;
    default:
        *re = y;
        *im = -x;
        break;
    }
}

/*
 * The exponent of F[u][v], of 4 2^last to a turn. power[t] is 5^(u mod 2^(t-1)) modulo 2^32, of
 * which the low t + 2 bits count: shifted up by last - t they are the high ones of the exponent, so
 * one mask does.
 */
static uint32_t exponent(const struct factor *f, uint32_t u, uint32_t v, const uint32_t *power)
{
    uint32_t e = 0;
    for (unsigned t = f->first; t <= f->last; t++) {
        uint32_t set = v >> (t - 1) & 1;
        uint32_t minus = u >> (t - 1) & 1;
        uint32_t one = (power[t] << (f->last - t)) + (minus << (f->last + 1));
        e += one & (0u - set);
    }
    return e & ((UINT32_C(4) << f->last) - 1);
}

/* power[t] of exponent() for the index x; for a factor's stages. */
static void powers_of(const struct factor *f, uint32_t x, uint32_t *power)
{
    for (unsigned t = f->first; t <= f->last; t++) {
        uint32_t left = x & ((UINT32_C(1) << (t - 1)) - 1);
        uint32_t square = 5;
        for (power[t] = 1; left != 0; left >>= 1, square *= square) {
            power[t] *= left & 1 ? square : 1;
        }
    }
}

/* For x + 1, given those for x. */
static void powers_next(const struct factor *f, uint32_t x, uint32_t *power)
{
    for (unsigned t = f->first; t <= f->last; t++) {
        uint32_t wraps = (x + 1) & ((UINT32_C(1) << (t - 1)) - 1);
        power[t] = wraps == 0 ? 1 : power[t] * 5;
    }
}

void core_dft_slots(const struct core_plain *p, double *re, double *im)
{
    struct factor f = factor_of(p->dft);
    uint32_t mask = p->n - 1;
    uint32_t u = (uint32_t)p->first_rect;
    uint32_t v = (u + p->num_rects) & mask;
    /* bits that stages change */
    uint32_t mixed = ((UINT32_C(1) << f.last) - 1) & ~((UINT32_C(1) << (f.first - 1)) - 1);
    double c = f.inverse ? ldexp(1, -(int)(f.last - f.first + 1)) : 1;
    uint32_t power[32];
    powers_of(&f, f.inverse ? v : u, power);
    for (uint32_t s = 0; s < p->period; s++) {
        re[s] = im[s] = 0;
        if (((u ^ v) & ~mixed) == 0) {
            uint32_t e = f.inverse ? exponent(&f, v, u, power) : exponent(&f, u, v, power);
            root_of_unity(e, f.last + 2, &re[s], &im[s]);
            re[s] *= c;
            im[s] *= f.inverse ? -c : c;
        }
        powers_next(&f, f.inverse ? v : u, power); /* a stage's h divides n: wrapping is harmless */
        u = (u + 1) & mask;
        v = (v + 1) & mask;
    }
}
