/* SPDX-License-Identifier: Apache-2.0 */

/* How many fused multiply-adds of doubles, and bytes of memory, AVX2 gets: its kernels compute
 * residues in doubles. */
#include "bench.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 12, READS = 8 };

double probe_multiply_avx2(size_t rounds)
{
    __m256d x[CHAINS];
    __m256d y = _mm256_set1_pd(0.999999);
    for (size_t c = 0; c < CHAINS; c++) {
        x[c] = _mm256_set1_pd(1.0 + (double)c);
    }
    for (size_t i = 0; i < rounds; i++) {
        for (size_t c = 0; c < CHAINS; c++) {
            x[c] = _mm256_fmadd_pd(x[c], y, y);
        }
    }
    for (size_t c = 1; c < CHAINS; c++) {
        x[0] = _mm256_add_pd(x[0], x[c]);
    }
    probe_sink = _mm256_cvtsd_f64(x[0]);
    return (double)rounds * CHAINS * 4;
}

double probe_read_avx2(const uint64_t *at, size_t words, size_t rounds)
{
    __m256i x[READS];
    for (size_t c = 0; c < READS; c++) {
        x[c] = _mm256_setzero_si256();
    }
    for (size_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i + 4 * READS <= words; i += 4 * READS) {
            for (size_t c = 0; c < READS; c++) {
                const void *p = at + i + 4 * c;
                x[c] = _mm256_add_epi64(x[c], _mm256_loadu_si256((const __m256i *)p));
            }
        }
    }
    for (size_t c = 1; c < READS; c++) {
        x[0] = _mm256_xor_si256(x[0], x[c]);
    }
    probe_sink = (double)_mm256_extract_epi64(x[0], 0);
    return (double)rounds * (double)words * sizeof *at;
}
#else
double probe_multiply_avx2(size_t rounds)
{
    return probe_multiply_portable(rounds);
}

double probe_read_avx2(const uint64_t *at, size_t words, size_t rounds)
{
    return probe_read_portable(at, words, rounds);
}
#endif
