/* SPDX-License-Identifier: Apache-2.0 */

/* How many 52-bit multiply-adds, multiplications of doubles, and bytes of memory AVX-512 gets. */
#include "bench.h"

#if defined(__x86_64__)
#include <immintrin.h>

enum { CHAINS = 12, READS = 8 };

/* One lane-multiplication is half a product: vpmadd52lo or vpmadd52hi. */
double probe_multiply_avx512(size_t rounds)
{
    __m512i x[CHAINS];
    __m512i y = _mm512_set1_epi64(0x5deece66d5d1ell);
    for (size_t c = 0; c < CHAINS; c++) {
        x[c] = _mm512_set1_epi64((long long)c + 1);
    }
    for (size_t i = 0; i < rounds; i++) {
        for (size_t c = 0; c < CHAINS; c += 2) {
            x[c] = _mm512_madd52lo_epu64(x[c], y, y);
            x[c + 1] = _mm512_madd52hi_epu64(x[c + 1], y, y);
        }
    }
    for (size_t c = 1; c < CHAINS; c++) {
        x[0] = _mm512_xor_si512(x[0], x[c]);
    }
    probe_sink = (double)_mm_cvtsi128_si64(_mm512_castsi512_si128(x[0]));
    return (double)rounds * CHAINS * 8;
}

double probe_real_avx512(size_t rounds)
{
    __m512d x[CHAINS];
    __m512d y = _mm512_set1_pd(0.999999);
    for (size_t c = 0; c < CHAINS; c++) {
        x[c] = _mm512_set1_pd(1.0 + (double)c);
    }
    for (size_t i = 0; i < rounds; i++) {
        for (size_t c = 0; c < CHAINS; c++) {
            x[c] = _mm512_fmadd_pd(x[c], y, y);
        }
    }
    for (size_t c = 1; c < CHAINS; c++) {
        x[0] = _mm512_add_pd(x[0], x[c]);
    }
    probe_sink = _mm512_cvtsd_f64(x[0]);
    return (double)rounds * CHAINS * 8;
}

double probe_read_avx512(const uint64_t *at, size_t words, size_t rounds)
{
    __m512i x[READS];
    for (size_t c = 0; c < READS; c++) {
        x[c] = _mm512_setzero_si512();
    }
    for (size_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i + 8 * READS <= words; i += 8 * READS) {
            for (size_t c = 0; c < READS; c++) {
                const void *p = at + i + 8 * c;
                x[c] = _mm512_add_epi64(x[c], _mm512_loadu_si512(p));
            }
        }
    }
    for (size_t c = 1; c < READS; c++) {
        x[0] = _mm512_xor_si512(x[0], x[c]);
    }
    probe_sink = (double)_mm_cvtsi128_si64(_mm512_castsi512_si128(x[0]));
    return (double)rounds * (double)words * sizeof *at;
}
#else
double probe_multiply_avx512(size_t rounds)
{
    return probe_multiply_portable(rounds);
}

double probe_real_avx512(size_t rounds)
{
    return probe_real_portable(rounds);
}

double probe_read_avx512(const uint64_t *at, size_t words, size_t rounds)
{
    return probe_read_portable(at, words, rounds);
}
#endif
