/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <flint/ulong_extras.h>
#include <math.h>

double params_max_log2_qp(uint32_t log_n)
{
    static const double table[] = {26, 53, 106, 214, 430, 868, 1747, 3523}; /* log_n 10..17 */
    return log_n >= 10 && log_n <= 17 ? table[log_n - 10] : 0;
}

double params_log2_qp(const struct params *p)
{
    double sum = 0;
    for (uint32_t i = 0; i < p->num_q; i++) {
        sum += log2((double)p->q[i]);
    }
    for (uint32_t i = 0; i < p->num_p; i++) {
        sum += log2((double)p->p[i]);
    }
    return sum;
}

bool params_check(const struct params *p, const char **why)
{
    if (p->log_n < 2 || p->log_n > 17 || p->num_q == 0 || p->num_p == 0 || p->alpha == 0) {
        *why = "the ring degree or a modulus is missing";
        return false;
    }
    if (!(p->scale > 0) || !(p->input_scale > 0)) {
        *why = "scales must be positive";
        return false;
    }
    uint64_t step = (uint64_t)1 << (p->log_n + 1);
    for (uint32_t i = 0; i < p->num_q + p->num_p; i++) {
        uint64_t x = i < p->num_q ? p->q[i] : p->p[i - p->num_q];
        if (x >= (uint64_t)1 << 50 || x % step != 1 || !n_is_prime(x)) {
            *why = "a modulus is no prime of at most 50 bits that is 1 mod 2N";
            return false;
        }
        for (uint32_t j = 0; j < i; j++) {
            if (x == (j < p->num_q ? p->q[j] : p->p[j - p->num_q])) {
                *why = "a prime is used twice";
                return false;
            }
        }
    }
    if (!p->insecure && params_log2_qp(p) > params_max_log2_qp(p->log_n)) {
        *why = "log2 QP is too large for 128 bits of security";
        return false;
    }
    return true;
}

bool params_primes(uint32_t log_n, uint32_t bits, const uint64_t *used, uint32_t num_used,
                   uint32_t count, uint64_t *out)
{
    if (log_n > 30 || bits > 62 || bits <= log_n + 1) {
        return count == 0;
    }
    uint64_t step = (uint64_t)1 << (log_n + 1);
    uint64_t q = ((uint64_t)1 << bits) - step + 1; /* the largest that is 1 mod 2N */
    uint32_t found = 0;
    for (; found < count && q > step; q -= step) {
        bool fresh = true;
        for (uint32_t i = 0; i < num_used; i++) {
            fresh = fresh && used[i] != q;
        }
        if (fresh && n_is_prime(q)) { /* FLINT: a proof below 2^64, not a probability */
            out[found++] = q;
        }
    }
    return found == count;
}
