/* SPDX-License-Identifier: Apache-2.0 */

/* How many multiplications, and bytes of memory, plain C gets. */
#include "bench.h"

enum { CHAINS = 8 };

volatile double probe_sink;

/* 64 by 64 bits to 128, both halves used, in independent chains. */
double probe_multiply_portable(size_t rounds)
{
    uint64_t x[CHAINS];
    for (size_t c = 0; c < CHAINS; c++) {
        x[c] = UINT64_C(0x9e3779b97f4a7c15) + c;
    }
    for (size_t i = 0; i < rounds; i++) {
        for (size_t c = 0; c < CHAINS; c++) {
            sys_u128 p = (sys_u128)x[c] * UINT64_C(0xd1342543de82ef95);
            x[c] = (uint64_t)p ^ (uint64_t)(p >> 64);
        }
    }
    uint64_t sum = 0;
    for (size_t c = 0; c < CHAINS; c++) {
        sum ^= x[c];
    }
    probe_sink = (double)sum;
    return (double)rounds * CHAINS;
}

double probe_real_portable(size_t rounds)
{
    double x[2 * CHAINS];
    for (size_t c = 0; c < 2 * CHAINS; c++) {
        x[c] = 1.0 + (double)c;
    }
    for (size_t i = 0; i < rounds; i++) {
        for (size_t c = 0; c < 2 * CHAINS; c++) {
            x[c] *= 0.999999;
        }
    }
    double sum = 0;
    for (size_t c = 0; c < 2 * CHAINS; c++) {
        sum += x[c];
    }
    probe_sink = (double)sum;
    return (double)rounds * 2 * CHAINS;
}

double probe_read_portable(const uint64_t *at, size_t words, size_t rounds)
{
    uint64_t x[CHAINS] = {0};
    for (size_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i + CHAINS <= words; i += CHAINS) {
            for (size_t c = 0; c < CHAINS; c++) {
                x[c] += at[i + c];
            }
        }
    }
    uint64_t sum = 0;
    for (size_t c = 0; c < CHAINS; c++) {
        sum ^= x[c];
    }
    probe_sink = (double)sum;
    return (double)rounds * (double)words * sizeof *at;
}
