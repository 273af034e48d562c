/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Random polynomials: determinism and ranges exactly, distributions within six standard deviations,
 * the Gaussian table word by word against a computation with 256-bit fractions.
 */
#include "ring_fixture.h"

#include <flint/fmpz.h>
#include <math.h>
#include <string.h>

Test(sample, uniform_is_in_range_seeded_and_level_independent)
{
    struct fixture f = start(12, 50, 4, 2, 1000);
    struct ring_basis wide = {3, 2};
    struct ring_basis low = {1, 1};
    size_t n = f.r->n;
    uint8_t seed[SYS_SEED_BYTES] = {7};
    uint64_t *x = words(ring_words(f.r, wide));
    uint64_t *y = words(ring_words(f.r, wide));
    ring_uniform(f.r, x, wide, seed, 5);
    ring_uniform(f.r, y, low, seed, 5);
    expect_equal(&f, y, x, 2 * n, "q limbs of a lower level");
    expect_equal(&f, y + 2 * n, x + 4 * n, n, "special limb of a lower level");
    for (size_t i = 0; i < ring_limbs(wide); i++) {
        uint64_t q = ring_mod(f.r, wide, i)->q;
        double mean = 0;
        unsigned quarter[4] = {0};
        for (size_t c = 0; c < n; c++) {
            cr_assert_lt(x[i * n + c], q);
            double u = (double)x[i * n + c] / (double)q;
            mean += u / (double)n;
            quarter[(int)(4 * u)]++;
        }
        /* Standard deviation of the mean is 0.289 / 64; of a quarter's count is 27.7. */
        cr_assert_float_eq(mean, 0.5, 0.03);
        for (int k = 0; k < 4; k++) {
            cr_assert_float_eq(quarter[k], 1024.0, 170.0);
        }
    }
    ring_uniform(f.r, y, wide, seed, 6);
    cr_assert_neq(memcmp(x, y, n * sizeof *x), 0, "another stream");
    seed[31] = 1;
    ring_uniform(f.r, y, wide, seed, 5);
    cr_assert_neq(memcmp(x, y, n * sizeof *x), 0, "another seed");
    cr_assert_neq(memcmp(x, x + n, n * sizeof *x), 0, "another limb");
    sys_free(x);
    sys_free(y);
    ring_free(f.r);
}

Test(sample, ternary_counts)
{
    struct fixture f = start(14, 40, 1, 0, 1100);
    size_t n = f.r->n;
    int64_t *s = sys_alloc_array(n, sizeof *s);
    int64_t *s2 = sys_alloc_array(n, sizeof *s);
    cr_assert(s != NULL && s2 != NULL);
    uint8_t seed[SYS_SEED_BYTES] = {9};
    size_t count[3] = {0};
    ring_ternary(f.r, s, seed, 1);
    for (size_t i = 0; i < n; i++) {
        cr_assert(s[i] >= -1 && s[i] <= 1);
        count[s[i] + 1]++;
    }
    for (int k = 0; k < 3; k++) {
        cr_assert_float_eq((double)count[k], (double)n / 3, 360.0); /* 6 standard deviations */
    }
    ring_ternary(f.r, s2, seed, 1);
    cr_assert_eq(memcmp(s, s2, n * sizeof *s), 0);
    ring_ternary(f.r, s2, seed, 2);
    cr_assert_neq(memcmp(s, s2, n * sizeof *s), 0);
    static const size_t weight[] = {0, 1, 32, 192, 8192, 16384};
    for (size_t k = 0; k < sizeof weight / sizeof *weight; k++) {
        size_t ones = 0;
        size_t low_half = 0;
        size_t plus = 0;
        ring_ternary_sparse(f.r, s, weight[k], seed, 10 + k);
        for (size_t i = 0; i < n; i++) {
            cr_assert(s[i] >= -1 && s[i] <= 1);
            ones += s[i] != 0;
            low_half += s[i] != 0 && i < n / 2;
            plus += s[i] == 1;
        }
        cr_assert_eq(ones, weight[k]);
        double sd = 0.5 * sqrt((double)weight[k]);
        cr_assert_float_eq((double)low_half, (double)weight[k] / 2, 6 * sd + 0.6);
        cr_assert_float_eq((double)plus, (double)weight[k] / 2, 6 * sd + 0.6);
    }
    sys_free(s);
    sys_free(s2);
    ring_free(f.r);
}

/* exp(-1/20.48) = exp(-25/512) by its series, in units of 2^-256; then powers k^2. */
Test(sample, gaussian_table_and_moments)
{
    fmpz_t one, e, term, power, sum, total;
    fmpz_t rho[60];
    fmpz_init(one);
    fmpz_init(e);
    fmpz_init(term);
    fmpz_init(power);
    fmpz_init(sum);
    fmpz_init(total);
    fmpz_one(one);
    fmpz_mul_2exp(one, one, 256);
    fmpz_set(term, one);
    for (int k = 1; k < 80; k++) {
        fmpz_add(e, e, term);
        fmpz_mul_si(term, term, -25);
        fmpz_tdiv_q_ui(term, term, (ulong)(512 * k));
    }
    for (int k = 0; k < 60; k++) {
        fmpz_init_set(rho[k], one);
        for (int c = 0; c < k * k; c++) {
            fmpz_mul(rho[k], rho[k], e);
            fmpz_fdiv_q_2exp(rho[k], rho[k], 256);
        }
        fmpz_addmul_ui(total, rho[k], k == 0 ? 1 : 2);
    }
    for (unsigned k = 0; k < RING_GAUSS_MAX; k++) {
        fmpz_addmul_ui(sum, rho[k], k == 0 ? 1 : 2);
        fmpz_mul_2exp(power, sum, 64);
        fmpz_fdiv_q(power, power, total);
        cr_assert_eq(fmpz_get_ui(power), ring_gaussian_table(k), "entry %u", k);
    }
    struct fixture f = start(16, 40, 1, 0, 1200);
    size_t n = f.r->n;
    int64_t *s = sys_alloc_array(n, sizeof *s);
    cr_assert_not_null(s);
    uint8_t seed[SYS_SEED_BYTES] = {11};
    ring_gaussian(f.r, s, seed, 3);
    double mean = 0;
    double square = 0;
    size_t count[4] = {0};
    for (size_t i = 0; i < n; i++) {
        cr_assert(s[i] >= -RING_GAUSS_MAX && s[i] <= RING_GAUSS_MAX);
        mean += (double)s[i] / (double)n;
        square += (double)(s[i] * s[i]) / (double)n;
        if (s[i] >= 0 && s[i] < 4) {
            count[s[i]]++;
        }
    }
    cr_assert_float_eq(mean, 0.0, 6 * 3.2 / 256);
    cr_assert_float_eq(square, 10.24, 6 * 10.24 * 1.4143 / 256);
    double s_total = fmpz_get_d(total);
    for (int k = 0; k < 4; k++) {
        double p = fmpz_get_d(rho[k]) / s_total;
        cr_assert_float_eq((double)count[k], p * (double)n, 6 * sqrt(p * (double)n));
    }
    sys_free(s);
    ring_free(f.r);
    for (int k = 0; k < 60; k++) {
        fmpz_clear(rho[k]);
    }
    fmpz_clear(one);
    fmpz_clear(e);
    fmpz_clear(term);
    fmpz_clear(power);
    fmpz_clear(sum);
    fmpz_clear(total);
}
