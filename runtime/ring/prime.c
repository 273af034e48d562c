/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

/* a b mod n for any 64-bit n: only for the primality test, where n has no precomputed constants. */
static uint64_t mul_any(uint64_t a, uint64_t b, uint64_t n)
{
    return (uint64_t)((sys_u128)a * b % n);
}

static uint64_t pow_any(uint64_t a, uint64_t e, uint64_t n)
{
    uint64_t r = 1 % n;
    for (a %= n; e != 0; e >>= 1) {
        if (e & 1) {
            r = mul_any(r, a, n);
        }
        a = mul_any(a, a, n);
    }
    return r;
}

bool prime_is_prime(uint64_t n)
{
    /* The first twelve primes as bases decide every n < 3.3 * 10^24 (Sorenson and Webster 2015). */
    static const uint64_t base[12] = {2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37};
    if (n < 2) {
        return false;
    }
    for (size_t i = 0; i < 12; i++) {
        if (n % base[i] == 0) {
            return n == base[i];
        }
    }
    uint64_t d = n - 1;
    unsigned s = 0;
    while (d % 2 == 0) {
        d /= 2;
        s++;
    }
    for (size_t i = 0; i < 12; i++) {
        uint64_t x = pow_any(base[i], d, n);
        bool passed = x == 1 || x == n - 1;
        for (unsigned j = 1; j < s && !passed; j++) {
            x = mul_any(x, x, n);
            passed = x == n - 1;
        }
        if (!passed) {
            return false;
        }
    }
    return true;
}

uint64_t prime_below(uint64_t bound, unsigned log_n)
{
    uint64_t step = UINT64_C(2) << log_n;
    if (bound > UINT64_C(1) << MOD_MAX_BITS) {
        bound = UINT64_C(1) << MOD_MAX_BITS;
    }
    if (bound < step + 2) {
        return 0;
    }
    /* The largest candidate k step + 1 < bound. */
    for (uint64_t c = (bound - 2) / step * step + 1; c > step; c -= step) {
        if (prime_is_prime(c)) {
            return c;
        }
    }
    return 0;
}

uint64_t prime_above(uint64_t bound, unsigned log_n)
{
    uint64_t step = UINT64_C(2) << log_n;
    uint64_t end = UINT64_C(1) << MOD_MAX_BITS;
    if (bound >= end) {
        return 0;
    }
    /* The smallest candidate k step + 1 > bound, k >= 1. */
    uint64_t k = bound / step;
    if (k * step + 1 <= bound || k == 0) {
        k++;
    }
    for (uint64_t c = k * step + 1; c < end; c += step) {
        if (prime_is_prime(c)) {
            return c;
        }
    }
    return 0;
}

uint64_t prime_root(const struct modulus *m, unsigned log_n)
{
    uint64_t order = UINT64_C(2) << log_n;
    if ((m->q - 1) % order != 0) {
        return 0;
    }
    /* psi has order 2N iff psi^N = -1. Half of all x give one; the bound is for q not prime. */
    for (uint64_t x = 2; x < m->q && x < 1000; x++) {
        uint64_t psi = mod_pow(x, (m->q - 1) / order, m);
        if (mod_pow(psi, order / 2, m) == m->q - 1) {
            return psi;
        }
    }
    return 0;
}
