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

/*
 * The small modulus under which the sparse secret of a bootstrap is a secret (sparse-secret encapsulation,
 * Bossuat, Troncoso-Pastoriza, Hubaux, eprint 2022/024). Own estimate, once, by the formulas of the lattice
 * estimator (github.com/malb/lattice-estimator): primal hybrid attack (nearest plane after guessing zeros,
 * meet in the middle on the rest), geometric series assumption, BKZ costs of MATZOV, "Report on the security
 * of LWE" (2022); sigma = 3.2. Dual hybrid attacks were not run. Bits of security that it gave:
 *
 *     N      weight  log2(q_0 p_0)   bits
 *     2^14     40        100          146
 *     2^15     32        105          152
 *     2^16     32        126          171
 *
 * 121 bits and weight 32 at 2^16 is the published choice of that paper; a larger N or weight is never
 * weaker. Weight 24 at 2^15 and 100 bits gave 128: too near, so there is no row for it.
 */
double params_max_log2_sparse(uint32_t log_n, uint32_t weight)
{
    switch (log_n) {
    case 14:
        return weight >= 40 ? 100 : 0;
    case 15:
        return weight >= 32 ? 105 : 0;
    case 16:
    case 17:
        return weight >= 32 ? 121 : 0;
    default:
        return 0;
    }
}

/* Of programs that bootstrap: the chain has the primes that struct params says, the sparse secret exists. */
static bool bootstrap_check(const struct params *p, const char **why)
{
    if (p->arcsine != 0 && (p->arcsine != 3 || p->boot_level == 0)) {
        *why = "arcsine is 3 in programs that bootstrap and correct the sine, else 0";
        return false;
    }
    if (p->boot_level == 0 && p->sparse_weight == 0) {
        return true;
    }
    if (p->boot_level < 2 || p->boot_level >= p->num_q) {
        *why = "the level after a bootstrap must leave q_0, a prime for SlotToCoeff and one for "
               "layers";
        return false;
    }
    if (p->sparse_weight == 0 || p->sparse_weight > 1u << p->log_n) {
        *why = "the weight of the sparse secret must be from 1 to N";
        return false;
    }
    double small = log2((double)p->q[0]) + log2((double)p->p[0]);
    if (!p->insecure && small > params_max_log2_sparse(p->log_n, p->sparse_weight)) {
        *why = "log2 of q_0 p_0 is too large for 128 bits of security under the sparse secret";
        return false;
    }
    return true;
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
    return bootstrap_check(p, why);
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
