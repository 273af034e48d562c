/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The ring layer against FLINT: transforms and products against nmod_poly, changes of basis against
 * exact integers, the rest against its definition. SEED=n repeats a run with other numbers.
 */
#include "ring_fixture.h"

#include <flint/fmpz.h>
#include <flint/nmod_poly.h>
#include <flint/ulong_extras.h>
#include <math.h>
#include <string.h>

/* ---- primes */

Test(prime, small_numbers_and_pseudoprimes)
{
    for (uint64_t n = 0; n < 20000; n++) {
        cr_assert_eq(prime_is_prime(n), n_is_prime(n) != 0, "%llu", (unsigned long long)n);
    }
    /* Strong pseudoprimes to the first 1, 2, .. 9 prime bases, a Carmichael number, 2^64 - 59. */
    static const uint64_t odd[] = {2047,
                                   1373653,
                                   25326001,
                                   3215031751u,
                                   2152302898747u,
                                   3474749660383u,
                                   341550071728321u,
                                   3825123056546413051u,
                                   561,
                                   18446744073709551557u,
                                   18446744073709551615u};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        cr_assert_eq(prime_is_prime(odd[i]), n_is_prime(odd[i]) != 0, "%llu",
                     (unsigned long long)odd[i]);
    }
    struct random g = random_start(1);
    for (int i = 0; i < 20000; i++) {
        uint64_t n = random_next(&g) >> random_below(&g, 60);
        cr_assert_eq(prime_is_prime(n), n_is_prime(n) != 0, "%llu", (unsigned long long)n);
    }
}

Test(prime, search_finds_the_nearest)
{
    for (unsigned log_n = 4; log_n <= 17; log_n++) {
        uint64_t step = UINT64_C(2) << log_n;
        for (unsigned bits = log_n + 3; bits <= 50; bits += 3) {
            uint64_t bound = UINT64_C(1) << bits;
            uint64_t below = prime_below(bound, log_n);
            uint64_t want = bound - step + 1;
            while (want > step && !n_is_prime(want)) {
                want -= step;
            }
            cr_assert_eq(below, want > step ? want : 0, "below 2^%u, log_n %u", bits, log_n);
            if (below != 0) {
                uint64_t again = prime_above(below - 1, log_n);
                cr_assert_eq(again, below);
                cr_assert(prime_below(below, log_n) < below);
                if (bits < 50) {
                    uint64_t above = prime_above(below, log_n);
                    uint64_t next = below + step;
                    while (!n_is_prime(next)) {
                        next += step;
                    }
                    cr_assert_eq(above, next);
                }
            }
        }
    }
    cr_assert_eq(prime_below(UINT64_C(1) << 63, 10), prime_below(UINT64_C(1) << 50, 10));
    cr_assert_eq(prime_below(32, 4), 0);
    cr_assert_eq(prime_below(97, 4), 0); /* 33 and 65 are not prime */
    cr_assert_eq(prime_below(98, 4), 97);
    cr_assert_eq(prime_above(0, 4), 97);
    cr_assert_eq(prime_above(UINT64_C(1) << 50, 4), 0);
}

Test(prime, roots_have_the_right_order)
{
    for (unsigned log_n = 4; log_n <= 17; log_n++) {
        struct modulus m;
        cr_assert(mod_init(&m, prime_below(UINT64_C(1) << 45, log_n)));
        uint64_t psi = prime_root(&m, log_n);
        cr_assert_eq(n_powmod2(psi, (slong)1 << log_n, m.q), m.q - 1);
    }
    struct modulus m;
    cr_assert(mod_init(&m, 97));
    cr_assert_eq(prime_root(&m, 5), 0, "97 is not 1 mod 64");
}

/* ---- creation */

Test(ring, refuses_bad_parameters)
{
    struct ring *r = NULL;
    uint64_t a = prime_below(UINT64_C(1) << 50, 6);
    uint64_t b = prime_below(a, 6);
    uint64_t q[3] = {a, b, a};
    cr_assert_eq(ring_create(&r, 3, q, 1, NULL, 0), RING_BAD_DEGREE);
    cr_assert_eq(ring_create(&r, 18, q, 1, NULL, 0), RING_BAD_DEGREE);
    cr_assert_eq(ring_create(&r, 6, q, 0, NULL, 0), RING_BAD_COUNT);
    cr_assert_eq(ring_create(&r, 6, q, 1, NULL, 1), RING_BAD_COUNT);
    cr_assert_eq(ring_create(&r, 6, q, RING_MAX_PRIMES, q, 1), RING_BAD_COUNT);
    cr_assert_eq(ring_create(&r, 6, q, 3, NULL, 0), RING_BAD_PRIME); /* twice */
    cr_assert_eq(ring_create(&r, 6, q, 2, q, 1), RING_BAD_PRIME);    /* q again among p */
    uint64_t bad[] = {0, 1, 2, 129, a + 2, (UINT64_C(1) << 50) + 129, 97};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(ring_create(&r, 6, &bad[i], 1, NULL, 0), RING_BAD_PRIME, "%zu", i);
        cr_assert_null(r);
    }
    cr_assert_eq(ring_create(&r, 6, q, 1, q + 1, 1), RING_OK);
    ring_free(r);
    ring_free(NULL);
}

/* ---- transforms */

Test(ring, ntt_evaluates_in_the_stated_order)
{
    for (unsigned log_n = 4; log_n <= 12; log_n++) {
        struct fixture f = start(log_n, 50, 2, 1, log_n);
        struct ring_basis b = {1, 1};
        size_t n = f.r->n;
        uint64_t *x = random_poly(&f, b);
        uint64_t *y = words(ring_words(f.r, b));
        ring_ntt(f.r, y, x, b);
        for (size_t i = 0; i < ring_limbs(b); i++) {
            const struct ntt_table *t = &f.r->ntt[ring_prime(f.r, b, i)];
            nmod_poly_t a;
            nmod_poly_init(a, t->mod.q);
            for (size_t c = 0; c < n; c++) {
                nmod_poly_set_coeff_ui(a, (slong)c, x[i * n + c]);
            }
            for (size_t c = 0; c < n; c += 1 + n / 128) {
                size_t brv = 0;
                for (unsigned k = 0; k < log_n; k++) {
                    brv |= (c >> k & 1) << (log_n - 1 - k);
                }
                uint64_t point = n_powmod2(t->psi, (slong)(2 * brv + 1), t->mod.q);
                cr_assert_eq(y[i * n + c], nmod_poly_evaluate_nmod(a, point),
                             "log_n %u limb %zu word %zu SEED=%llu", log_n, i, c,
                             (unsigned long long)f.g.seed);
            }
            nmod_poly_clear(a);
        }
        ring_intt(f.r, y, y, b);
        expect_equal(&f, y, x, ring_words(f.r, b), "inverse");
        sys_free(x);
        sys_free(y);
        ring_free(f.r);
    }
}

Test(ring, product_is_negacyclic)
{
    for (unsigned log_n = 4; log_n <= 16; log_n += log_n < 10 ? 1 : 3) {
        for (unsigned bits = 25; bits <= 50; bits += 5) {
            struct fixture f = start(log_n, bits, 1, 0, 100 + log_n);
            struct ring_basis b = {0, 0};
            size_t n = f.r->n;
            uint64_t *x = random_poly(&f, b);
            uint64_t *y = random_poly(&f, b);
            uint64_t *want = words(n);
            nmod_poly_t u, v;
            nmod_poly_init(u, f.r->ntt[0].mod.q);
            nmod_poly_init(v, f.r->ntt[0].mod.q);
            for (size_t c = n; c-- > 0;) {
                nmod_poly_set_coeff_ui(u, (slong)c, x[c]);
                nmod_poly_set_coeff_ui(v, (slong)c, y[c]);
            }
            nmod_poly_mul(u, u, v);
            for (size_t c = 0; c < n; c++) {
                want[c] = n_submod(nmod_poly_get_coeff_ui(u, (slong)c),
                                   nmod_poly_get_coeff_ui(u, (slong)(c + n)), f.r->ntt[0].mod.q);
            }
            ring_ntt(f.r, x, x, b);
            ring_ntt(f.r, y, y, b);
            ring_mul(f.r, x, x, y, b);
            ring_intt(f.r, x, x, b);
            expect_equal(&f, x, want, n, "product");
            nmod_poly_clear(u);
            nmod_poly_clear(v);
            sys_free(x);
            sys_free(y);
            sys_free(want);
            ring_free(f.r);
        }
    }
}

Test(ring, subring_values_stand_in_runs)
{
    for (unsigned log_n = 4; log_n <= 9; log_n++) {
        struct fixture f = start(log_n, 50, 3, 2, 200 + log_n);
        struct ring_basis b = {2, 1};
        size_t n = f.r->n;
        size_t limbs = ring_limbs(b);
        uint64_t *other = random_poly(&f, b);
        uint64_t *full = words(limbs * n);
        uint64_t *got = words(limbs * n);
        for (unsigned log_m = 1; log_m <= log_n; log_m++) {
            size_t m = (size_t)1 << log_m;
            uint64_t *sub = words(limbs * m);
            memset(full, 0, limbs * n * sizeof *full);
            for (size_t i = 0; i < limbs; i++) {
                for (size_t c = 0; c < m; c++) {
                    uint64_t v = random_below(&f.g, ring_mod(f.r, b, i)->q);
                    sub[i * m + c] = v;
                    full[i * n + c * (n / m)] = v;
                }
            }
            uint64_t *back = words(limbs * m);
            ring_ntt_sub(f.r, back, sub, log_m, b);
            ring_ntt(f.r, full, full, b);
            ring_expand_sub(f.r, got, back, log_m, b);
            expect_equal(&f, got, full, limbs * n, "expanded");
            ring_mul_sub(f.r, got, other, back, log_m, b);
            ring_mul(f.r, full, other, full, b);
            expect_equal(&f, got, full, limbs * n, "broadcast product");
            const uint64_t *xs[2] = {other, got};
            const uint64_t *ys[2] = {back, back};
            uint64_t *sum = words(limbs * n);
            ring_mac_sub(f.r, sum, NULL, xs, ys, 2, log_m, b);
            ring_mul_sub(f.r, got, got, back, log_m, b);
            ring_add(f.r, got, got, full, b);
            expect_equal(&f, sum, got, limbs * n, "broadcast sum of products");
            ring_intt_sub(f.r, back, back, log_m, b);
            expect_equal(&f, back, sub, limbs * m, "inverse of size M");
            sys_free(sub);
            sys_free(back);
            sys_free(sum);
        }
        sys_free(other);
        sys_free(full);
        sys_free(got);
        ring_free(f.r);
    }
}

/* ---- automorphisms and slots */

Test(ring, automorphism_is_substitution)
{
    for (unsigned log_n = 4; log_n <= 13; log_n += 3) {
        struct fixture f = start(log_n, 50, 2, 1, 300 + log_n);
        struct ring_basis b = {1, 1};
        size_t n = f.r->n;
        size_t count = ring_words(f.r, b);
        uint64_t *x = random_poly(&f, b);
        uint64_t *y = words(count);
        uint64_t *z = words(count);
        uint64_t *want = words(count);
        for (int trial = 0; trial < 20; trial++) {
            uint64_t g = trial == 0 ? 2 * n - 1 : trial == 1 ? 5 : 2 * random_below(&f.g, n) + 1;
            for (size_t i = 0; i < ring_limbs(b); i++) {
                uint64_t q = ring_mod(f.r, b, i)->q;
                for (size_t c = 0; c < n; c++) {
                    size_t e = c * g % (2 * n);
                    uint64_t v = x[i * n + c];
                    want[i * n + e % n] = e < n ? v : n_negmod(v, q);
                }
            }
            ring_automorphism_coef(f.r, y, x, g, b);
            expect_equal(&f, y, want, count, "coefficient form");
            ring_ntt(f.r, y, x, b);
            ring_automorphism_eval(f.r, z, y, g, b);
            ring_intt(f.r, z, z, b);
            expect_equal(&f, z, want, count, "evaluation form");
        }
        sys_free(x);
        sys_free(y);
        sys_free(z);
        sys_free(want);
        ring_free(f.r);
    }
}

Test(ring, slots_rotate_conjugate_and_meet_i)
{
    struct fixture f = start(8, 50, 2, 0, 400);
    struct ring_basis b = {1, 0};
    size_t n = f.r->n;
    size_t half = n / 2;
    uint64_t *x = random_poly(&f, b); /* evaluation form */
    uint64_t *y = words(2 * n);
    uint64_t *z = words(2 * n);
    for (long rot = -200; rot <= 200; rot += 37) {
        ring_automorphism_eval(f.r, y, x, ring_galois(f.r, rot), b);
        for (size_t j = 0; j < half; j++) {
            long from = ((long)j + rot) % (long)half;
            size_t k = (size_t)(from < 0 ? from + (long)half : from);
            size_t to_at = ring_slot_index(f.r, j);
            size_t from_at = ring_slot_index(f.r, k);
            cr_assert_eq(y[to_at], x[from_at]);
            cr_assert_eq(y[n + n - 1 - to_at], x[n + n - 1 - from_at]);
        }
    }
    ring_automorphism_eval(f.r, y, x, 2 * n - 1, b);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(y[i], x[n - 1 - i]);
    }
    /* Slot 0 of X is psi, slot j is psi^(5^j); X^(N/2) multiplies every slot by the same root. */
    memset(z, 0, 2 * n * sizeof *z);
    z[1] = z[n + 1] = 1;
    ring_ntt(f.r, z, z, b);
    for (size_t j = 0; j < half; j++) {
        uint64_t q = f.r->ntt[0].mod.q;
        uint64_t want = n_powmod2(f.r->ntt[0].psi, (slong)ring_galois(f.r, (long)j), q);
        cr_assert_eq(z[ring_slot_index(f.r, j)], want);
    }
    memset(z, 0, 2 * n * sizeof *z);
    z[half] = z[n + half] = 1;
    ring_ntt(f.r, z, z, b);
    ring_mul(f.r, z, z, x, b);
    ring_mul_i(f.r, y, x, b);
    expect_equal(&f, y, z, 2 * n, "times X^(N/2)");
    cr_assert_eq(z[ring_slot_index(f.r, 3)],
                 n_mulmod2(x[ring_slot_index(f.r, 3)], f.r->ntt[0].w[1], f.r->ntt[0].mod.q));
    sys_free(x);
    sys_free(y);
    sys_free(z);
    ring_free(f.r);
}

/* ---- changes of basis */

/* Residues of v mod each prime of limbs [from, to) of basis b, at coefficient c. */
static void put(const struct ring *r, uint64_t *x, struct ring_basis b, size_t from, size_t to,
                size_t c, const fmpz_t v)
{
    for (size_t i = from; i < to; i++) {
        x[i * r->n + c] = fmpz_fdiv_ui(v, ring_mod(r, b, i)->q);
    }
}

/* A random integer in [0, d), or one of the corners of that range when pick is small. */
static void sample(fmpz_t v, const fmpz_t d, struct random *g, size_t pick)
{
    static const int corner[][2] = {{0, 0}, {0, 1}, {1, -1}, {2, -1}, {2, 0}, {2, 1}, {2, 2}};
    if (pick < sizeof corner / sizeof *corner) {
        if (corner[pick][0] == 0) {
            fmpz_zero(v);
        } else {
            fmpz_fdiv_q_ui(v, d, (ulong)corner[pick][0]);
        }
        fmpz_add_si(v, v, corner[pick][1]);
    } else {
        fmpz_zero(v);
        for (size_t bits = fmpz_bits(d) + 64; bits > 0; bits -= bits < 60 ? bits : 60) {
            fmpz_mul_2exp(v, v, 60);
            fmpz_add_ui(v, v, random_next(g) >> 4);
        }
    }
    fmpz_mod(v, v, d);
}

static void centre(fmpz_t v, const fmpz_t d)
{
    fmpz_t half;
    fmpz_init(half);
    fmpz_fdiv_q_2exp(half, d, 1);
    if (fmpz_cmp(v, half) > 0) {
        fmpz_sub(v, v, d);
    }
    fmpz_clear(half);
}

static void check_mod_up(struct fixture *f, struct ring_basis b, unsigned first, unsigned count)
{
    const struct ring *r = f->r;
    size_t n = r->n;
    size_t total = ring_words(r, b);
    uint64_t *x = words(total);
    uint64_t *y = words(total);
    uint64_t *want = words(total);
    uint64_t *other = words(total); /* the representative D away */
    uint64_t *scratch = words(ring_mod_up_scratch_words(r, count));
    fmpz_t d, v;
    fmpz_init_set_ui(d, 1);
    fmpz_init(v);
    for (unsigned j = first; j < first + count; j++) {
        fmpz_mul_ui(d, d, r->ntt[j].mod.q);
    }
    for (size_t c = 0; c < n; c++) {
        sample(v, d, &f->g, c);
        put(r, x, b, first, first + count, c, v);
        centre(v, d);
        put(r, want, b, 0, ring_limbs(b), c, v);
        if (fmpz_sgn(v) < 0) {
            fmpz_add(v, v, d);
        } else {
            fmpz_sub(v, v, d);
        }
        put(r, other, b, 0, ring_limbs(b), c, v);
    }
    ring_ntt(r, x, x, b);
    ring_mod_up(r, y, x, b, first, count, scratch);
    ring_intt(r, y, y, b);
    for (size_t i = 0; i < ring_limbs(b); i++) {
        for (size_t c = 0; c < n; c++) {
            /* Samples 3 .. 6 are within two of D/2: both sides are right (see rns.c), unless the
             * digit is one prime, which is exact. */
            bool either = c >= 3 && c <= 6 && count > 1;
            size_t at = i * n + c;
            cr_assert(y[at] == want[at] || (either && y[at] == other[at]),
                      "digit %u+%u level %u special %u limb %zu coefficient %zu SEED=%llu", first,
                      count, b.level, b.special, i, c, (unsigned long long)f->g.seed);
        }
    }
    fmpz_clear(d);
    fmpz_clear(v);
    sys_free(x);
    sys_free(y);
    sys_free(want);
    sys_free(other);
    sys_free(scratch);
}

Test(ring, mod_up_is_exact)
{
    for (unsigned bits = 20; bits <= 50; bits += 10) {
        struct fixture f = start(6, bits, 7, 3, 500 + bits);
        for (unsigned level = 0; level < 7; level++) {
            for (unsigned special = 0; special <= 3; special++) {
                for (unsigned first = 0; first <= level; first++) {
                    for (unsigned count = 1; first + count <= level + 1; count++) {
                        check_mod_up(&f, (struct ring_basis){level, special}, first, count);
                    }
                }
            }
        }
        ring_free(f.r);
    }
    struct fixture f = start(10, 50, 40, 8, 599);
    check_mod_up(&f, (struct ring_basis){39, 8}, 8, 24);
    ring_free(f.r);
}

static void check_mod_down(struct fixture *f, struct ring_basis b, unsigned drop)
{
    const struct ring *r = f->r;
    size_t n = r->n;
    size_t left = b.level + 1 - drop;
    uint64_t *x = words(ring_words(r, b));
    uint64_t *y = words(left * n);
    uint64_t *want = words(left * n);
    uint64_t *scratch = words(ring_mod_down_scratch_words(r, b, drop));
    struct ring_basis low = {b.level - drop, 0};
    fmpz_t d, all, v, t;
    fmpz_init_set_ui(d, 1);
    fmpz_init_set_ui(all, 1);
    fmpz_init(v);
    fmpz_init(t);
    for (size_t i = 0; i < ring_limbs(b); i++) {
        fmpz_mul_ui(i < left ? all : d, i < left ? all : d, ring_mod(r, b, i)->q);
    }
    for (size_t c = 0; c < n; c++) {
        /* v = high D + t, t in [0, D) from the corners; rounded quotient high or high + 1 */
        sample(t, d, &f->g, c);
        sample(v, all, &f->g, c % 5 == 0 ? c / 5 : 99);
        fmpz_mul(v, v, d);
        fmpz_add(v, v, t);
        put(r, x, b, 0, ring_limbs(b), c, v);
        centre(t, d);
        fmpz_sub(v, v, t);
        fmpz_divexact(v, v, d);
        put(r, want, low, 0, left, c, v);
    }
    ring_ntt(r, x, x, b);
    ring_mod_down(r, y, x, b, drop, scratch);
    ring_intt(r, y, y, low);
    for (size_t i = 0; i < left; i++) {
        uint64_t q = ring_mod(r, low, i)->q;
        for (size_t c = 0; c < n; c++) {
            bool either = c >= 3 && c <= 6 && drop + b.special > 1;
            uint64_t got = y[i * n + c];
            uint64_t exact = want[i * n + c];
            bool near = got == n_addmod(exact, 1, q) || got == n_submod(exact, 1, q);
            cr_assert(got == exact || (either && near),
                      "level %u special %u drop %u limb %zu coefficient %zu SEED=%llu", b.level,
                      b.special, drop, i, c, (unsigned long long)f->g.seed);
        }
    }
    fmpz_clear(d);
    fmpz_clear(all);
    fmpz_clear(v);
    fmpz_clear(t);
    sys_free(x);
    sys_free(y);
    sys_free(want);
    sys_free(scratch);
}

Test(ring, mod_down_and_rescale_round)
{
    for (unsigned bits = 20; bits <= 50; bits += 10) {
        struct fixture f = start(6, bits, 7, 3, 600 + bits);
        for (unsigned level = 0; level < 7; level++) {
            for (unsigned special = 0; special <= 3; special++) {
                for (unsigned drop = special == 0 ? 1 : 0; drop <= level; drop++) {
                    check_mod_down(&f, (struct ring_basis){level, special}, drop);
                }
            }
        }
        ring_free(f.r);
    }
    struct fixture f = start(10, 50, 24, 12, 699);
    check_mod_down(&f, (struct ring_basis){23, 12}, 2);
    /* ring_rescale is the same function */
    struct ring_basis b = {5, 0};
    uint64_t *x = random_poly(&f, b);
    uint64_t *y = words(4 * f.r->n);
    uint64_t *z = words(4 * f.r->n);
    uint64_t *scratch = words(ring_rescale_scratch_words(f.r, 5, 2));
    ring_rescale(f.r, y, x, 5, 2, scratch);
    ring_mod_down(f.r, z, x, b, 2, scratch);
    expect_equal(&f, y, z, 4 * f.r->n, "rescale");
    sys_free(x);
    sys_free(y);
    sys_free(z);
    sys_free(scratch);
    ring_free(f.r);
}

/* Multiplying by P and dividing again is the identity; digits cover all limbs once. */
Test(ring, mul_p_and_digits)
{
    struct fixture f = start(7, 48, 5, 3, 700);
    struct ring_basis b = {4, 3};
    struct ring_basis low = {4, 0};
    uint64_t *x = random_poly(&f, low);
    uint64_t *up = words(ring_words(f.r, b));
    uint64_t *y = words(ring_words(f.r, low));
    uint64_t *scratch = words(ring_mod_down_scratch_words(f.r, b, 0));
    ring_mul_p(f.r, up, x, b);
    ring_mod_down(f.r, y, up, b, 0, scratch);
    expect_equal(&f, y, x, ring_words(f.r, low), "x P / P");
    for (unsigned level = 0; level < 12; level++) {
        for (unsigned alpha = 1; alpha < 8; alpha++) {
            unsigned covered = 0;
            for (unsigned j = 0; j < ring_digits(level, alpha); j++) {
                cr_assert_eq(covered, j * alpha);
                cr_assert_gt(ring_digit_count(level, alpha, j), 0);
                cr_assert_leq(ring_digit_count(level, alpha, j), alpha);
                covered += ring_digit_count(level, alpha, j);
            }
            cr_assert_eq(covered, level + 1);
        }
    }
    sys_free(x);
    sys_free(up);
    sys_free(y);
    sys_free(scratch);
    ring_free(f.r);
}

/* ---- whole polynomials */

Test(ring, arithmetic_word_by_word)
{
    struct fixture f = start(5, 50, 4, 2, 800);
    struct ring_basis b = {2, 2};
    struct ring_basis wide = {3, 2};
    size_t n = f.r->n;
    size_t count = ring_words(f.r, b);
    uint64_t *x = random_poly(&f, b);
    uint64_t *y = random_poly(&f, b);
    uint64_t *key = random_poly(&f, wide);
    uint64_t *out[8];
    for (int i = 0; i < 8; i++) {
        out[i] = words(count);
    }
    uint64_t c[RING_MAX_PRIMES];
    ring_residues(f.r, c, -123456789012345678, b);
    ring_add(f.r, out[0], x, y, b);
    ring_sub(f.r, out[1], x, y, b);
    ring_neg(f.r, out[2], x, b);
    ring_mul_add(f.r, out[3], y, x, y, b);
    ring_mul_const(f.r, out[4], x, c, b);
    ring_add_const(f.r, out[5], x, c, b);
    const uint64_t *xs[3] = {x, y, x};
    const uint64_t *keys[3] = {key, key, key};
    ring_mac(f.r, out[6], y, xs, keys, 3, b, wide);
    ring_copy(f.r, out[7], x, b);
    for (size_t i = 0; i < ring_limbs(b); i++) {
        uint64_t q = ring_mod(f.r, b, i)->q;
        size_t wide_limb = i <= 2 ? i : i + 1;
        cr_assert_eq(ring_mod(f.r, wide, wide_limb)->q, q);
        for (size_t k = 0; k < n; k++) {
            size_t at = i * n + k;
            uint64_t u = x[at];
            uint64_t v = y[at];
            uint64_t w = key[wide_limb * n + k];
            cr_assert_eq(out[0][at], n_addmod(u, v, q));
            cr_assert_eq(out[1][at], n_submod(u, v, q));
            cr_assert_eq(out[2][at], n_negmod(u, q));
            cr_assert_eq(out[3][at], n_addmod(v, n_mulmod2(u, v, q), q));
            uint64_t r = n_negmod(UINT64_C(123456789012345678) % q, q);
            cr_assert_eq(c[i], r);
            cr_assert_eq(out[4][at], n_mulmod2(u, r, q));
            cr_assert_eq(out[5][at], n_addmod(u, r, q));
            uint64_t s = n_addmod(n_addmod(u, u, q), v, q);
            cr_assert_eq(out[6][at], n_addmod(v, n_mulmod2(s, w, q), q));
            cr_assert_eq(out[7][at], u);
        }
    }
    ring_zero(f.r, out[7], b);
    for (size_t at = 0; at < count; at++) {
        cr_assert_eq(out[7][at], 0);
    }
    for (int i = 0; i < 8; i++) {
        sys_free(out[i]);
    }
    sys_free(x);
    sys_free(y);
    sys_free(key);
    ring_free(f.r);
}

Test(ring, doubles_become_their_integers)
{
    struct fixture f = start(10, 50, 3, 0, 900);
    struct ring_basis b = {2, 0};
    size_t n = f.r->n;
    double *x = sys_alloc_array(n, sizeof *x);
    cr_assert_not_null(x);
    static const double corner[] = {
        0.0,   0.5,     1.5,    2.5,          -0.5,        -1.5,
        0.499, -0.501,  0x1p50, -0x1p50,      0x1p52,      0x1p52 + 1,
        1e15,  -0x1p62, 0x1p63, -0x1p64,      0x1.8p99,    -0x1.fffffffffffffp99,
        1e-30, -1e-30,  0x1p49, 0x1p51 + 0.5, 0x1p51 + 1.5};
    size_t corners = sizeof corner / sizeof *corner;
    for (size_t i = 0; i < n; i++) {
        double mantissa = (double)(random_next(&f.g) >> 11);
        double sign = random_next(&f.g) & 1 ? 1.0 : -1.0;
        x[i] = i < corners ? corner[i] : sign * ldexp(mantissa, (int)random_below(&f.g, 106) - 59);
    }
    uint64_t *y = words(3 * n);
    ring_from_double(f.r, y, x, 10, b);
    fmpz_t v;
    fmpz_init(v);
    for (size_t i = 0; i < 3; i++) {
        for (size_t c = 0; c < n; c++) {
            fmpz_set_d(v, rint(x[c])); /* exact */
            cr_assert_eq(y[i * n + c], fmpz_fdiv_ui(v, ring_mod(f.r, b, i)->q), "%a mod limb %zu",
                         x[c], i);
        }
    }
    fmpz_clear(v);
    sys_free(x);
    sys_free(y);
    ring_free(f.r);
}

/* ---- threads */

Test(ring, results_do_not_depend_on_threads)
{
    struct fixture f = start(11, 50, 6, 2, 1300);
    struct ring_basis b = {5, 2};
    size_t count = ring_words(f.r, b);
    uint64_t *x = random_poly(&f, b);
    uint64_t *up[3];
    uint64_t *down[3];
    uint64_t *scratch = words(ring_mod_down_scratch_words(f.r, b, 1));
    static const int threads[3] = {1, 2, 5};
    for (int i = 0; i < 3; i++) {
        sys_set_threads(threads[i]);
        up[i] = words(count);
        down[i] = words(count);
        ring_mod_up(f.r, up[i], x, b, 1, 2, scratch);
        ring_mod_down(f.r, down[i], up[i], b, 1, scratch);
        expect_equal(&f, up[i], up[0], count, "mod-up");
        expect_equal(&f, down[i], down[0], count, "mod-down");
    }
    for (int i = 0; i < 3; i++) {
        sys_free(up[i]);
        sys_free(down[i]);
    }
    sys_free(x);
    sys_free(scratch);
    ring_free(f.r);
}
