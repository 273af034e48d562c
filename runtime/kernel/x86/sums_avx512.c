/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Sums of several results at once with AVX-512 IFMA. One sum takes two words from memory for every
 * two multiplications, more than the second-level cache has; here a vector of both parts of an
 * operand is multiplied by a word or vector of K plaintexts: 2 + K loads for 4 K multiplications.
 */
#if defined(__x86_64__)
#include "vec_avx512.h"

/* Vectors of a result that are in work, so that 8 to 24 sums hide the latency of each other. */
#define VECTORS(K) ((K) == 1 ? 4 : (K) <= 3 ? 2 : 1)

/* What a vector of operands is multiplied by: 8, 4, 2 words of plaintext, or one for all lanes. */
enum { SPREAD_NONE, SPREAD_TWO, SPREAD_FOUR, SPREAD_RUN };

/* Plaintexts that do not repeat come from memory, more of them at once than the hardware follows:
 * their words are asked for this long before. */
#define PLAIN_AHEAD 32u

INLINE vec spread_words(const uint64_t *p, int spread, unsigned log_run, size_t at)
{
    switch (spread) {
    case SPREAD_NONE:
        return load(p + at);
    case SPREAD_TWO:
        return _mm512_permutexvar_epi64(
            _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0),
            _mm512_castsi256_si512(_mm256_loadu_si256((const void *)(p + (at >> 1)))));
    case SPREAD_FOUR:
        return _mm512_permutexvar_epi64(
            _mm512_set_epi64(1, 1, 1, 1, 0, 0, 0, 0),
            _mm512_castsi128_si512(_mm_loadu_si128((const void *)(p + (at >> 2)))));
    default:
        return all(p[at >> log_run]);
    }
}

/* Bounds of the sums: as of mac (vec_avx512.c). */
INLINE void sums_loop(const struct k_sums *s, size_t n, const struct sum *z, int K, int spread,
                      int wide, bool far)
{
    const int V = VECTORS(K);
    for (size_t i = 0; i < n; i += 8 * (size_t)V) {
        vec hi[K_SUMS][2][4], lo[K_SUMS][2][4];
        for (int k = 0; k < K; k++) {
            for (int h = 0; h < 2; h++) {
                for (int v = 0; v < V; v++) {
                    hi[k][h][v] = z->zero;
                    lo[k][h][v] = s->accumulate ? load(s->out[k][h] + i + 8 * (size_t)v) : z->zero;
                }
            }
        }
        for (size_t t = 0; t < s->terms; t++) {
            vec x[2][4];
            for (int h = 0; h < 2; h++) {
                for (int v = 0; v < V; v++) {
                    x[h][v] = load(s->x[h][t] + i + 8 * (size_t)v);
                }
            }
            for (int k = 0; k < K; k++) {
                const uint64_t *p = s->p[(size_t)k * s->terms + t];
                for (int v = 0; v < V; v++) {
                    size_t at = i + 8 * (size_t)v;
                    vec y = spread_words(p, spread, s->log_run, at);
                    if (spread != SPREAD_RUN && at % (8u << spread) == 0) {
                        _mm_prefetch((const char *)(p + (at >> spread) + PLAIN_AHEAD), _MM_HINT_T0);
                    }
                    for (int h = 0; h < 2; h++) {
                        lo[k][h][v] = _mm512_madd52lo_epu64(lo[k][h][v], x[h][v], y);
                        hi[k][h][v] = _mm512_madd52hi_epu64(hi[k][h][v], x[h][v], y);
                    }
                }
            }
        }
        for (int k = 0; k < K; k++) {
            for (int h = 0; h < 2; h++) {
                for (int v = 0; v < V; v++) {
                    store_far(s->out[k][h] + i + 8 * (size_t)v,
                              sum_reduce(hi[k][h][v], lo[k][h][v], z, wide), far);
                }
            }
        }
    }
}

/* See NARROW in vec_avx512.h: up to 15 terms. */
#define NARROW_TERMS 15u

INLINE void sums_of(const struct k_sums *s, size_t n, const struct sum *z, int K, bool far)
{
    if (s->log_run == 0) {
        sums_loop(s, n, z, K, SPREAD_NONE, 1, far);
    } else if (s->log_run == 1) {
        sums_loop(s, n, z, K, SPREAD_TWO, 1, far);
    } else if (s->log_run == 2) {
        sums_loop(s, n, z, K, SPREAD_FOUR, 1, far);
    } else if (s->terms <= NARROW_TERMS) {
        sums_loop(s, n, z, K, SPREAD_RUN, 0, far);
    } else {
        sums_loop(s, n, z, K, SPREAD_RUN, 1, far);
    }
}

/* Stores past the caches need whole lines. */
static bool lines(const struct k_sums *s)
{
    bool whole = true;
    for (unsigned k = 0; k < s->results; k++) {
        whole &= aligned(s->out[k][0]) && aligned(s->out[k][1]);
    }
    return whole;
}

#define FAR_OR_NOT(K) far ? sums_of(s, n, &z, K, true) : sums_of(s, n, &z, K, false)

static void mac_many_avx512(const struct k_sums *s, size_t n, const struct modulus *m)
{
    if (n % 32 != 0) {
        struct kernels k;
        k_init_avx512(&k);
        k_mac_many_with(&k, s, n, m);
        return;
    }
    struct sum z = sum_of(m);
    bool far = s->far && lines(s);
    switch (s->results) {
    case 1:
        FAR_OR_NOT(1);
        break;
    case 2:
        FAR_OR_NOT(2);
        break;
    case 3:
        FAR_OR_NOT(3);
        break;
    case 4:
        FAR_OR_NOT(4);
        break;
    case 5:
        FAR_OR_NOT(5);
        break;
    default:
        FAR_OR_NOT(6);
        break;
    }
    if (far) {
        _mm_sfence();
    }
}

void k_sums_avx512(struct kernels *k)
{
    k->mac_many = mac_many_avx512;
}
#else
typedef int k_no_sums_avx512; /* an empty unit is not C */
#endif
