/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The special FFT: evaluation of real polynomials of degree < 2p at the orbit xi^(5^j), j < p, of
 * one root xi of X^2p + 1. The other p roots are the conjugates: p complex values say everything.
 *
 * Let u_k = c_k + i c_{p+k}, k < p. Because xi^(5^j p) = i for every j (5^j = 1 mod 4),
 *     z_j = sum_{k<p} u_k xi^(5^j k),
 * a transform of p complex numbers. Split k into even and odd: with xi' = xi^2, the root for p/2,
 *     z_j       = E_j + xi^(5^j) O_j,        E, O the transforms of size p/2 of the even and odd u,
 *     z_{j+p/2} = E_j - xi^(5^j) O_j,        j < p/2,
 * since 5^(p/2) = 1 mod 2p and = 2p + 1 mod 4p. So:
 *
 *     u --bit reversal--> size 2 --> size 4 --> ... --> size p = z          (the inverse runs back)
 *
 * The stage of size 2h needs xi_h^(5^j), j < h, xi_h = exp(2 pi i / 8h). These stand at
 * embed_re/im[h .. 2h): one table of N/2 numbers serves every size.
 *
 * Errors: every stage adds a relative 2^-53 or two, 16 stages at most; tests/unit/test_rt_encode.c
 * compares with the sums above in long double.
 */
#include "core/core.h"

#include <math.h>

#define PI 3.14159265358979323846264338327950288L

/* exp(2 pi i k / len), len a power of two >= 8: angles are folded into the first octant, where the
 * rounding of the argument does least harm. */
static void unit_root(uint64_t k, uint64_t len, double *re, double *im)
{
    k %= len;
    uint64_t quarter = k / (len / 4);
    uint64_t rest = k % (len / 4);
    bool swap = rest > len / 8;
    uint64_t a = swap ? len / 4 - rest : rest;
    long double angle = 2.0L * PI * (long double)a / (long double)len;
    double c = (double)cosl(angle);
    double s = (double)sinl(angle);
    double x = swap ? s : c;
    double y = swap ? c : s;
    switch (quarter) {
    case 0:
        *re = x, *im = y;
        break;
    case 1:
        *re = -y, *im = x;
        break;
    case 2:
        *re = -x, *im = -y;
        break;
    default:
        *re = y, *im = -x;
        break;
    }
}

bool core_embed_init(struct core_ctx *c)
{
    size_t slots = core_slots(c);
    c->embed_re = sys_alloc_array(slots, sizeof *c->embed_re);
    c->embed_im = sys_alloc_array(slots, sizeof *c->embed_im);
    if (c->embed_re == NULL || c->embed_im == NULL) {
        return false;
    }
    for (size_t h = 1; h < slots; h *= 2) {
        uint64_t power = 1;
        for (size_t j = 0; j < h; j++) {
            unit_root(power, 8 * h, &c->embed_re[h + j], &c->embed_im[h + j]);
            power = power * 5 % (8 * h);
        }
    }
    return true;
}

static void bit_reverse(double *re, double *im, unsigned log_p)
{
    size_t p = (size_t)1 << log_p;
    for (size_t i = 1; i < p; i++) {
        size_t j = mod_bitrev((uint32_t)i, log_p);
        if (i < j) {
            double t = re[i];
            re[i] = re[j];
            re[j] = t;
            t = im[i];
            im[i] = im[j];
            im[j] = t;
        }
    }
}

void core_embed(const struct core_ctx *c, double *re, double *im, unsigned log_p)
{
    size_t p = (size_t)1 << log_p;
    bit_reverse(re, im, log_p);
    for (size_t h = 1; h < p; h *= 2) {
        const double *restrict wr = c->embed_re + h;
        const double *restrict wi = c->embed_im + h;
        for (size_t block = 0; block < p; block += 2 * h) {
            double *restrict ar = re + block;
            double *restrict ai = im + block;
            double *restrict br = ar + h;
            double *restrict bi = ai + h;
            for (size_t j = 0; j < h; j++) {
                double tr = br[j] * wr[j] - bi[j] * wi[j];
                double ti = br[j] * wi[j] + bi[j] * wr[j];
                br[j] = ar[j] - tr;
                bi[j] = ai[j] - ti;
                ar[j] += tr;
                ai[j] += ti;
            }
        }
    }
}

void core_unembed(const struct core_ctx *c, double *re, double *im, unsigned log_p)
{
    size_t p = (size_t)1 << log_p;
    for (size_t h = p / 2; h >= 1; h /= 2) {
        const double *restrict wr = c->embed_re + h;
        const double *restrict wi = c->embed_im + h;
        for (size_t block = 0; block < p; block += 2 * h) {
            double *restrict ar = re + block;
            double *restrict ai = im + block;
            double *restrict br = ar + h;
            double *restrict bi = ai + h;
            for (size_t j = 0; j < h; j++) {
                double dr = ar[j] - br[j];
                double di = ai[j] - bi[j];
                ar[j] += br[j];
                ai[j] += bi[j];
                br[j] = dr * wr[j] + di * wi[j];
                bi[j] = di * wr[j] - dr * wi[j];
            }
        }
    }
    bit_reverse(re, im, log_p);
    double inverse = 1.0 / (double)p;
    for (size_t i = 0; i < p; i++) {
        re[i] *= inverse;
        im[i] *= inverse;
    }
}
