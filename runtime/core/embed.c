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
 * The steps themselves are kernels embed and unembed, with their errors; the roots are computed in
 * long double and rounded once. tests/unit/test_rt_encode.c compares with the sums above in long
 * double, tests/kernels/fft.c each variant with a transform in quadruple precision.
 */
#include "core/core.h"

#include <math.h>

#define PI 3.14159265358979323846264338327950288L

struct point {
    double re, im;
};

/* exp(2 pi i k / len), len a power of two >= 8: angles are folded into the first octant, where the
 * rounding of the argument does least harm, so a quarter turn swaps and negates exactly. */
static struct point unit_root(uint64_t k, uint64_t len)
{
    uint64_t rest = k % (len / 4);
    bool swap = rest > len / 8;
    uint64_t a = swap ? len / 4 - rest : rest;
    long double angle = 2.0L * PI * (long double)a / (long double)len;
    double c = (double)cosl(angle);
    double s = (double)sinl(angle);
    struct point z = swap ? (struct point){s, c} : (struct point){c, s};
    for (uint64_t turn = k % len / (len / 4); turn > 0; turn--) {
        z = (struct point){-z.im, z.re};
    }
    return z;
}

/*
 * Step h. For h >= 4 the second half of it is the first half turned by -i, because 5^(h/2) - 1 is 3
 * times 2h modulo 8h and 5^j is 1 modulo 4.
 */
static void step_roots(double *re, double *im, size_t h)
{
    uint64_t power = 1;
    size_t own = h >= 4 ? h / 2 : h;
    for (size_t j = 0; j < own; j++) {
        struct point z = unit_root(power, 8 * h);
        re[j] = z.re;
        im[j] = z.im;
        power = power * 5 % (8 * h);
    }
    for (size_t j = own; j < h; j++) {
        re[j] = im[j - own];
        im[j] = -re[j - own];
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
        step_roots(c->embed_re + h, c->embed_im + h, h);
    }
    return true;
}

void core_embed(const struct core_ctx *c, double *re, double *im, unsigned log_p)
{
    c->ring->k.embed(re, im, c->embed_re, c->embed_im, log_p);
}

void core_unembed(const struct core_ctx *c, double *re, double *im, unsigned log_p)
{
    c->ring->k.unembed(re, im, c->embed_re, c->embed_im, log_p, 1.0 / (double)((size_t)1 << log_p));
}
