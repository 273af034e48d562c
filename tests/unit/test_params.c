/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* The limits of eprint 2024/463, table 5.2, and nothing outside it. */
Test(params, security_table)
{
    static const double want[] = {0, 26, 53, 106, 214, 430, 868, 1747, 3523, 0};
    for (uint32_t log_n = 9; log_n <= 18; log_n++) {
        cr_expect_float_eq(params_max_log2_qp(log_n), want[log_n - 9], 0, "log_n %u", log_n);
    }
}

static bool divisible(uint64_t q)
{
    for (uint64_t d = 3; d * d <= q; d += 2) {
        if (q % d == 0) {
            return true;
        }
    }
    return false;
}

/* Against trial division: exactly the primes that are 1 mod 2N, from the top. */
Test(params, primes_are_the_largest)
{
    for (uint32_t bits = 20; bits <= 34; bits += 7) {
        uint64_t q[8];
        cr_assert(params_primes(8, bits, NULL, 0, 8, q));
        uint32_t at = 0;
        for (uint64_t x = ((uint64_t)1 << bits) - 511; x >= q[7]; x -= 512) {
            if (!divisible(x)) {
                cr_assert_eq(q[at++], x, "%u bits", bits);
            }
        }
        cr_assert_eq(at, 8);
    }
}

Test(params, used_primes_are_skipped)
{
    uint64_t all[4], rest[2];
    cr_assert(params_primes(13, 50, NULL, 0, 4, all));
    uint64_t used[2] = {all[0], all[2]};
    cr_assert(params_primes(13, 50, used, 2, 2, rest));
    cr_expect_eq(rest[0], all[1]);
    cr_expect_eq(rest[1], all[3]);
}

Test(params, too_few_primes)
{
    uint64_t q[100];
    cr_expect_not(params_primes(13, 14, NULL, 0, 1, q));
    cr_expect_not(params_primes(13, 16, NULL, 0, 100, q));
    cr_expect_not(params_primes(40, 50, NULL, 0, 1, q));
}

static struct params good(uint64_t q[3])
{
    params_primes(13, 40, NULL, 0, 3, q);
    return (struct params){.log_n = 13,
                           .num_q = 2,
                           .num_p = 1,
                           .q = q,
                           .p = q + 2,
                           .alpha = 1,
                           .scale = 1,
                           .input_scale = 1};
}

/* Sparse secrets: eprint 2022/024's own choice at 2^16, less where the ring is smaller, none below. */
Test(params, sparse_secrets)
{
    static const struct {
        uint32_t log_n, weight;
        double want;
    } table[] = {{13, 64, 0},   {14, 39, 0},   {14, 40, 100},  {14, 4096, 100},
                 {15, 31, 0},   {15, 32, 105}, {15, 192, 105}, {16, 31, 0},
                 {16, 32, 121}, {17, 32, 121}, {17, 0, 0},     {18, 32, 0}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        cr_expect_float_eq(params_max_log2_sparse(table[i].log_n, table[i].weight), table[i].want,
                           0, "%u %u", table[i].log_n, table[i].weight);
    }
}

Test(params, check_of_programs_that_bootstrap)
{
    uint64_t q[8], small[1];
    const char *why;
    cr_assert(params_primes(15, 50, NULL, 0, 7, q));
    cr_assert(params_primes(15, 42, NULL, 0, 1, small));
    q[7] = q[0];
    q[0] = small[0];
    struct params p = {.log_n = 15, .num_q = 6, .num_p = 1, .q = q, .p = q + 6, .alpha = 1};
    p.scale = p.input_scale = 0x1p30;
    p.boot_level = 2;
    p.sparse_weight = 32;
    cr_expect(params_check(&p, &why));
    p.sparse_weight = 31;
    cr_expect(!params_check(&p, &why) && strstr(why, "q_0 p_0 is too large"), "%s", why);
    p.insecure = true;
    cr_expect(params_check(&p, &why));
    p.insecure = false;
    p.sparse_weight = 32;
    p.log_n = 14; /* 92 bits, but the weight is too small there */
    cr_expect(!params_check(&p, &why) && strstr(why, "q_0 p_0 is too large"), "%s", why);
    p.sparse_weight = 40;
    cr_expect(params_check(&p, &why));
    p.sparse_weight = 0;
    cr_expect(!params_check(&p, &why) && strstr(why, "weight of the sparse secret"), "%s", why);
    p.sparse_weight = 40;
    p.boot_level = 6;
    cr_expect(!params_check(&p, &why) && strstr(why, "level after a bootstrap"), "%s", why);
    p.boot_level = 0;
    cr_expect(!params_check(&p, &why) && strstr(why, "level after a bootstrap"), "%s", why);
}

Test(params, check)
{
    uint64_t q[3];
    const char *why;
    struct params p = good(q);
    cr_expect(params_check(&p, &why));
    cr_expect_float_eq(params_log2_qp(&p), 120, 1e-3);
    p.log_n = 12; /* 120 bits are too many for N = 4096 */
    cr_expect_not(params_check(&p, &why));
    cr_expect_not_null(strstr(why, "128 bits of security"));
    p.insecure = true;
    cr_expect(params_check(&p, &why));
    p = good(q);
    q[1] += (uint64_t)2 << 13;
    cr_expect_not(params_check(&p, &why), "not prime");
    p = good(q);
    q[1] = q[2];
    cr_expect_not(params_check(&p, &why));
    cr_expect_not_null(strstr(why, "twice"));
    p = good(q);
    p.log_n = 18;
    cr_expect_not(params_check(&p, &why));
    p = good(q);
    p.scale = 0;
    cr_expect_not(params_check(&p, &why));
}
