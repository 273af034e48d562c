/* SPDX-License-Identifier: Apache-2.0 */

/* Operations on whole RNS polynomials: a loop over limbs around one kernel each. */
#include "ring.h"

#include <string.h>

void ring_copy(const struct ring *r, uint64_t *out, const uint64_t *a, struct ring_basis b)
{
    if (out != a) {
        memcpy(out, a, ring_words(r, b) * sizeof *out);
    }
}

void ring_zero(const struct ring *r, uint64_t *out, struct ring_basis b)
{
    memset(out, 0, ring_words(r, b) * sizeof *out);
}

void ring_add(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *y,
              struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        r->k.add(out + at, x + at, y + at, r->n, ring_mod(r, b, i)->q);
    }
}

void ring_sub(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *y,
              struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        r->k.sub(out + at, x + at, y + at, r->n, ring_mod(r, b, i)->q);
    }
}

void ring_neg(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        r->k.neg(out + at, x + at, r->n, ring_mod(r, b, i)->q);
    }
}

void ring_mul(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *y,
              struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        r->k.mul(out + at, x + at, y + at, r->n, ring_mod(r, b, i));
    }
}

void ring_mul_add(const struct ring *r, uint64_t *out, const uint64_t *acc, const uint64_t *x,
                  const uint64_t *y, struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        r->k.mul_add(out + at, acc + at, x + at, y + at, r->n, ring_mod(r, b, i));
    }
}

void ring_mul_sub(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *y,
                  unsigned log_m, struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    unsigned log_run = r->log_n - log_m;
    size_t run = (size_t)1 << log_run;
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        const struct modulus *m = ring_mod(r, b, i);
        const uint64_t *c = y + (i << log_m);
        for (size_t v = 0; v < r->n >> log_run; v++) {
            size_t at = i * r->n + v * run;
            r->k.mul_const(out + at, x + at, c[v], mod_shoup(c[v], m->q), run, m->q);
        }
    }
}

void ring_mul_const(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *c,
                    struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        uint64_t q = ring_mod(r, b, i)->q;
        r->k.mul_const(out + at, x + at, c[i], mod_shoup(c[i], q), r->n, q);
    }
}

void ring_add_const(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *c,
                    struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        r->k.add_const(out + at, x + at, c[i], r->n, ring_mod(r, b, i)->q);
    }
}

/*
 * At psi^(2 brv(i) + 1), X^(N/2) is I (-1)^brv(i) with I = psi^(N/2), and brv(i) is odd exactly in
 * the second half. I is w[1] of the table.
 */
void ring_mul_i(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    size_t half = r->n / 2;
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        const struct ntt_table *t = &r->ntt[ring_prime(r, b, i)];
        uint64_t q = t->mod.q;
        uint64_t minus = q - t->w[1];
        r->k.mul_const(out + at, x + at, t->w[1], t->ws[1], half, q);
        r->k.mul_const(out + at + half, x + at + half, minus, mod_shoup(minus, q), half, q);
    }
}

void ring_residues(const struct ring *r, uint64_t *c, int64_t x, struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    for (size_t i = 0; i < limbs; i++) {
        r->k.from_i64(&c[i], &x, 1, ring_mod(r, b, i));
    }
}

void ring_automorphism_eval(const struct ring *r, uint64_t *out, const uint64_t *x, uint64_t g,
                            struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        r->k.gather(out + at, x + at, g, r->log_n, 0, r->n);
    }
}

/* X^c -> X^(cg); X^N = -1, so the sign is bit log_n of c g mod 2N. Not a hot path. */
void ring_automorphism_coef(const struct ring *r, uint64_t *out, const uint64_t *x, uint64_t g,
                            struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        uint64_t q = ring_mod(r, b, i)->q;
        for (size_t c = 0; c < r->n; c++) {
            uint64_t e = c * g;
            uint64_t v = x[at + c];
            out[at + (e & (r->n - 1))] = (e >> r->log_n) & 1 ? mod_neg(v, q) : v;
        }
    }
}

void ring_mac(const struct ring *r, uint64_t *out, const uint64_t *init, const uint64_t *const *x,
              const uint64_t *const *y, size_t terms, struct ring_basis b, struct ring_basis by)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        size_t j = i <= b.level ? i : i + (by.level - b.level); /* same prime in by */
        r->k.mac(out + at, init != NULL ? init + at : NULL, x, y, terms, at, j * r->n, r->n,
                 ring_mod(r, b, i));
    }
}

void ring_mac_sub(const struct ring *r, uint64_t *out, const uint64_t *init,
                  const uint64_t *const *x, const uint64_t *const *y, size_t terms, unsigned log_m,
                  struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t at = i * r->n;
        r->k.mac_run(out + at, init != NULL ? init + at : NULL, x, y, terms, at, i << log_m,
                     r->log_n - log_m, r->n, ring_mod(r, b, i));
    }
}

void ring_from_i64(const struct ring *r, uint64_t *out, const int64_t *x, unsigned log_m,
                   struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        r->k.from_i64(out + (i << log_m), x, (size_t)1 << log_m, ring_mod(r, b, i));
    }
}

void ring_from_double(const struct ring *r, uint64_t *out, const double *x, unsigned log_m,
                      struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        r->k.from_double(out + (i << log_m), x, (size_t)1 << log_m, ring_mod(r, b, i));
    }
}
