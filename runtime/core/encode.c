/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core.h"

#include <math.h>
#include <string.h>

/* kernel from_double takes |x| < 2^100 */
#define COEFFICIENT_BITS 100.0

unsigned core_log2(uint64_t x)
{
    unsigned log = 0;
    while (x > 1) {
        x >>= 1;
        log++;
    }
    return log;
}

enum rt_status core_encode_real(const struct core_ctx *c, double *out, const double *re,
                                const double *im, unsigned log_p, double scale, unsigned level,
                                double *most, const char *what, struct rt_error *err)
{
    size_t p = (size_t)1 << log_p;
    /* X^(N/2p): the first p coefficients are the real parts, the last p the imaginary parts */
    double *x = out;
    double *y = out + p;
    memcpy(x, re, p * sizeof *x);
    if (im != NULL) {
        memcpy(y, im, p * sizeof *y);
    } else {
        memset(y, 0, p * sizeof *y);
    }
    const struct ring *r = c->ring;
    r->k.unembed(x, y, c->embed_re, c->embed_im, log_p, scale / (double)p);
    double largest = r->k.largest(out, 2 * p);
    if (!isfinite(largest)) {
        return core_fail(err, RT_ERR_ARGUMENT, "%s: a value is not finite", what);
    }
    /* log2_q is exact to 2^-40 or so; a coefficient that near to q/2 is wrong in any case */
    double bits = c->log2_q[level] - 1.0;
    bits = bits < COEFFICIENT_BITS ? bits : COEFFICIENT_BITS;
    if (largest >= exp2(bits)) {
        return core_fail(err, RT_ERR_ARGUMENT,
                         "%s: a coefficient of 2^%.1f does not fit the %.1f bits of level %u", what,
                         log2(largest), bits, level);
    }
    *most = largest;
    return RT_OK;
}

enum rt_status core_encode(const struct core_ctx *c, uint64_t *out, const double *re,
                           const double *im, unsigned log_p, double scale, struct ring_basis b,
                           double *work, const char *what, struct rt_error *err)
{
    double largest;
    enum rt_status status =
        core_encode_real(c, work, re, im, log_p, scale, b.level, &largest, what, err);
    if (status != RT_OK) {
        return status;
    }
    const struct ring *r = c->ring;
    size_t p = (size_t)1 << log_p;
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        const struct ntt_table *t = &r->ntt[ring_prime(r, b, i)];
        uint64_t *limb = out + i * 2 * p;
        r->k.from_double(limb, work, 2 * p, &t->mod);
        r->k.ntt(limb, limb, t, log_p + 1);
    }
    return RT_OK;
}

/*
 * The centred integer with residues x[0], x[stride] ..., rounded to a double. Balanced mixed radix
 * (Garner):
 *     x = d_0 + q_0 (d_1 + q_1 (d_2 + ...)),   |d_i| <= (q_i - 1) / 2,
 * represents exactly the integers of |x| <= (Q - 1)/2, so no comparison with Q is needed and an x
 * of few digits has zeros above them. Horner from the top: where the sum so far, s, is not zero,
 * |q_i s| >= q_i > 2 |d_i|, so nothing cancels and each of the few roundings is relative to |x|.
 */
static double centred(const struct ring *r, const uint64_t *x, size_t stride, unsigned level)
{
    size_t all = (size_t)r->n_q + r->n_p;
    int64_t digit[RING_MAX_PRIMES];
    for (unsigned i = 0; i <= level; i++) {
        const struct modulus *m = &r->ntt[i].mod;
        uint64_t v = x[i * stride];
        for (unsigned j = 0; j < i; j++) {
            uint64_t d = digit[j] < 0 ? mod_neg(mod_reduce64((uint64_t)-digit[j], m), m->q)
                                      : mod_reduce64((uint64_t)digit[j], m);
            v = mod_mul(mod_sub(v, d, m->q), r->inverse[j * all + i], m);
        }
        digit[i] = v > m->q / 2 ? (int64_t)v - (int64_t)m->q : (int64_t)v;
    }
    double s = 0;
    for (unsigned i = level + 1; i-- > 0;) {
        s = s * (double)r->ntt[i].mod.q + (double)digit[i];
    }
    return s;
}

void core_decode(const struct core_ctx *c, double *re, double *im, const uint64_t *x,
                 unsigned level, double scale, unsigned log_p)
{
    const struct ring *r = c->ring;
    size_t p = (size_t)1 << log_p;
    size_t step = r->n >> (log_p + 1);
    double inverse = 1.0 / scale;
    SYS_PARALLEL_FOR
    for (size_t half = 0; half < 2; half++) {
        double *to = half == 0 ? re : im;
        for (size_t i = 0; i < p; i++) {
            to[i] = centred(r, x + (half * p + i) * step, r->n, level) * inverse;
        }
    }
    core_embed(c, re, im, log_p);
}
