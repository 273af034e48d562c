/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The definition of the special FFT, of the search for the largest coefficient and of the step from
 * reals to residues.
 *
 * Compilers that fuse a product and a sum into one operation unless told otherwise are told here
 * and in the variants: fused and unfused results differ in the last bit. (gcc fuses nothing in ISO
 * C mode, and does not know the pragma.)
 */
#include "kernel.h"

#include <math.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

static void swap(double *x, size_t i, size_t j)
{
    double t = x[i];
    x[i] = x[j];
    x[j] = t;
}

static void bit_reverse(double *re, double *im, unsigned log_p)
{
    size_t p = (size_t)1 << log_p;
    for (size_t i = 1; i < p; i++) {
        size_t j = mod_bitrev((uint32_t)i, log_p);
        if (i < j) {
            swap(re, i, j);
            swap(im, i, j);
        }
    }
}

static void embed_ref(double *re, double *im, const double *root_re, const double *root_im,
                      unsigned log_p)
{
    size_t p = (size_t)1 << log_p;
    bit_reverse(re, im, log_p);
    for (size_t h = 1; h < p; h *= 2) {
        const double *restrict wr = root_re + h;
        const double *restrict wi = root_im + h;
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

static void unembed_ref(double *re, double *im, const double *root_re, const double *root_im,
                        unsigned log_p, double c)
{
    size_t p = (size_t)1 << log_p;
    for (size_t h = p / 2; h >= 1; h /= 2) {
        const double *restrict wr = root_re + h;
        const double *restrict wi = root_im + h;
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
    for (size_t i = 0; i < p; i++) {
        re[i] *= c;
        im[i] *= c;
    }
}

static double largest_ref(const double *x, size_t n)
{
    double largest = 0;
    for (size_t i = 0; i < n; i++) {
        double size = isfinite(x[i]) ? fabs(x[i]) : INFINITY;
        largest = size > largest ? size : largest;
    }
    return largest;
}

/* x mod q, |x| <= 2^50; time does not depend on x. */
static uint64_t signed_residue(int64_t x, const struct modulus *m)
{
    uint64_t sign = 0u - ((uint64_t)x >> 63);
    uint64_t r = mod_reduce52(((uint64_t)x ^ sign) - sign, m);
    return mod_once((r ^ sign) - sign + (m->q & sign), m->q); /* r, or q - r in (0, q] */
}

static void from_double_ref(uint64_t *out, const double *x, size_t n, const struct modulus *m)
{
    /* |x| < 2^100: |h| <= 2^50 and |l| < 2^50. The product h 2^50 and the difference are exact,
     * because both are sums of bits of y; dividing by a power of two is exact too. */
    uint64_t c = mod_reduce52(UINT64_C(1) << 50, m);
    uint64_t cs = mod_shoup(c, m->q);
    for (size_t i = 0; i < n; i++) {
        /* where |x| < 2^52 adding 2^52 in its direction rounds; above that x is an integer */
        double big = copysign(0x1p52, x[i]);
        double y = fabs(x[i]) < 0x1p52 ? (x[i] + big) - big : x[i];
        int64_t high = (int64_t)(y * 0x1p-50);
        int64_t low = (int64_t)(y - (double)high * 0x1p50);
        uint64_t r = mod_mul_shoup(signed_residue(high, m), c, cs, m->q);
        out[i] = mod_add(r, signed_residue(low, m), m->q);
    }
}

void k_real_ref(struct kernels *k)
{
    k->embed = embed_ref;
    k->unembed = unembed_ref;
    k->largest = largest_ref;
    k->from_double = from_double_ref;
}
