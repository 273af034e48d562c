/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_PROPERTY_RING_FIXTURE_H
#define TESTS_PROPERTY_RING_FIXTURE_H

/* What the tests of the ring layer share: a ring, its randomness, and comparison with a message. */
#include "../kernels/random.h"
#include "ring/ring.h"

#include <criterion/criterion.h>

struct fixture {
    struct ring *r;
    struct random g;
};

/* A ring with n_q primes below 2^bits (mixed sizes: every third one is five bits shorter) and n_p.
 */
static inline struct fixture start(unsigned log_n, unsigned bits, unsigned n_q, unsigned n_p,
                                   uint64_t test)
{
    uint64_t prime[RING_MAX_PRIMES];
    uint64_t at[2] = {UINT64_C(1) << bits, UINT64_C(1) << (bits - 5)};
    for (unsigned i = 0; i < n_q + n_p; i++) {
        uint64_t *below = &at[i % 3 == 2];
        *below = prime_below(*below, log_n);
        prime[i] = *below;
        cr_assert_neq(prime[i], 0);
    }
    struct fixture f = {NULL, random_start(test)};
    enum ring_status s = ring_create(&f.r, log_n, prime, n_q, prime + n_q, n_p);
    cr_assert_eq(s, RING_OK, "%s", ring_status_text(s));
    return f;
}

static inline uint64_t *words(size_t count)
{
    uint64_t *p = sys_alloc_array(count, sizeof *p);
    cr_assert_not_null(p);
    return p;
}

static inline uint64_t *random_poly(struct fixture *f, struct ring_basis b)
{
    uint64_t *x = words(ring_words(f->r, b));
    for (size_t i = 0; i < ring_limbs(b); i++) {
        for (size_t c = 0; c < f->r->n; c++) {
            x[i * f->r->n + c] = random_below(&f->g, ring_mod(f->r, b, i)->q);
        }
    }
    return x;
}

static inline void expect_equal(const struct fixture *f, const uint64_t *got, const uint64_t *want,
                                size_t count, const char *what)
{
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(got[i], want[i], "%s: word %zu is %llu, not %llu (log_n %u, SEED=%llu)", what,
                     i, (unsigned long long)got[i], (unsigned long long)want[i], f->r->log_n,
                     (unsigned long long)f->g.seed);
    }
}

#endif
