/* SPDX-License-Identifier: Apache-2.0 */

/* The inner products of key switching and of ciphertext products with AVX-512 IFMA. */
#if defined(__x86_64__)
#include "place.h"
#include "vec_avx512.h"

/* ---- key switch */

/*
 * The start value, below 2q, is not divided by 2^52: it is added to hi. The result is then below
 * T q / 4 + 3q, at most 8q for T = 20.
 */
#define STRETCH 20u

/*
 * Keys come from memory and digits often do; the hardware loses the many streams at every page. So
 * words are asked for some stretches of K_KEY_BLOCK before they are needed, about 12 KiB, which is
 * what memory delivers in two or three times its latency; each stream in its own order: key and
 * digits in turn were no better than no requests at all.
 */
#define AHEAD(TERMS) ((TERMS) < 8 ? 16 / (TERMS) : 2)

INLINE void fetch_ahead(const struct k_switch *s, size_t i, size_t end)
{
    size_t at = i + AHEAD(s->terms) * K_KEY_BLOCK;
    for (size_t part = 0; part < 2; part++) {
        size_t first = part == 0 ? 0 : s->a_first;
        const uint64_t *key = s->key[part] + s->key_terms * (at - first);
        if (at >= end && s->next[part] != NULL) {
            key = s->next[part] + s->key_terms * (at - end);
        } else if (at >= end) {
            continue;
        }
        for (size_t v = 0; v < s->terms * K_KEY_BLOCK; v += 8) {
            _mm_prefetch((const char *)(key + v), _MM_HINT_T0);
        }
    }
    for (size_t t = 0; t < s->terms && at < end; t++) {
        for (size_t v = 0; v < K_KEY_BLOCK; v += 8) {
            _mm_prefetch((const char *)(s->digit[t] + at + v), _MM_HINT_T0);
        }
    }
}

/* Eight sums: four vectors of both parts. */
struct sums {
    vec hi[2][4], lo[2][4];
};

INLINE void sums_start(struct sums *a, const struct k_switch *s, size_t i, const struct mont *r)
{
    for (int part = 0; part < 2; part++) {
        for (int v = 0; v < 4; v++) {
            a->hi[part][v] = r->zero;
            a->lo[part][v] = r->zero;
        }
        if (s->base[part] != NULL) {
            vec c = all(s->c);
            vec cs = all(s->cs);
            for (int v = 0; v < 4; v++) {
                a->hi[part][v] = mul_w(load(s->base[part] + i + 8 * (size_t)v), c, cs, &r->c);
            }
        }
    }
}

INLINE void key_mac_loop(uint64_t *const out[2], const struct k_switch *s, size_t first, size_t n,
                         const struct modulus *m, bool accumulate, bool far)
{
    struct mont r = mont_of(m);
    vec q = all(m->q);
    struct place p;
    place_start(&p, s, first);
    for (size_t i = first; i < first + n; i += K_KEY_BLOCK) {
        if (i % PLACE_TILE == 0) {
            place_tile(&p, i);
        }
        struct sums a;
        fetch_ahead(s, i, first + n);
        sums_start(&a, s, i, &r);
        const uint64_t *key0 = s->key[0] + s->key_terms * i;
        const uint64_t *key1 = s->key[1] + s->key_terms * (i - s->a_first);
        for (size_t t = 0; t < s->terms; t++, key0 += K_KEY_BLOCK, key1 += K_KEY_BLOCK) {
            const uint64_t *x = s->digit[t] + i;
            for (int v = 0; v < 4; v++) {
                vec d = load(x + 8 * (size_t)v);
                vec b = load(key0 + 8 * (size_t)v);
                vec k = load(key1 + 8 * (size_t)v);
                a.lo[0][v] = _mm512_madd52lo_epu64(a.lo[0][v], d, b);
                a.hi[0][v] = _mm512_madd52hi_epu64(a.hi[0][v], d, b);
                a.lo[1][v] = _mm512_madd52lo_epu64(a.lo[1][v], d, k);
                a.hi[1][v] = _mm512_madd52hi_epu64(a.hi[1][v], d, k);
            }
            if (t % STRETCH == STRETCH - 1) {
                for (int v = 0; v < 8; v++) {
                    a.hi[v / 4][v % 4] = mont_reduce(a.hi[v / 4][v % 4], a.lo[v / 4][v % 4], &r);
                    a.lo[v / 4][v % 4] = r.zero;
                }
            }
        }
        for (size_t v = 0; v < 4; v++) {
            const uint64_t(*lanes)[8];
            size_t j = place_of(&p, i + 8 * v, &lanes) - s->origin;
            vec lane = load(*lanes);
            for (size_t part = 0; part < 2; part++) {
                vec w = mont_reduce(a.hi[part][v], a.lo[part][v], &r);
                w = _mm512_permutexvar_epi64(lane, w);
                if (accumulate) {
                    w = _mm512_add_epi64(w, load(out[part] + j));
                    w = _mm512_min_epu64(w, _mm512_sub_epi64(w, q));
                }
                store_far(out[part] + j, w, far);
            }
        }
    }
}

static void key_mac_avx512(uint64_t *out0, uint64_t *out1, const struct k_switch *s, size_t first,
                           size_t n, const struct modulus *m)
{
    if (s->log_n < PLACE_LOG_TILE) {
        struct kernels ref;
        k_init_ref(&ref);
        ref.key_mac(out0, out1, s, first, n, m);
        return;
    }
    uint64_t *const out[2] = {out0, out1};
    if (s->accumulate) { /* the result's lines come through the caches anyway */
        key_mac_loop(out, s, first, n, m, true, false);
    } else if (s->far && aligned(out0) && aligned(out1)) {
        key_mac_loop(out, s, first, n, m, false, true);
        _mm_sfence();
    } else {
        key_mac_loop(out, s, first, n, m, false, false);
    }
}

/* ---- products of ciphertexts */

/*
 * As barrett_mul, for the sum of two products p < 2 q^2 < 2^(2 b2 + 1): u = floor(p / 2^(b2-1)) is
 * below 2^(b2+2), mu = floor(2^(b2+51) / q) < 2^52, h = floor(u mu / 2^52), p/q - h < 1 + 1 + 1, so
 * the result is in [0, 3q) again.
 */
INLINE vec barrett_sum(vec hi, vec lo, vec mu, __m128i right, __m128i left, const struct consts *c)
{
    vec zero = _mm512_setzero_si512();
    hi = _mm512_add_epi64(hi, _mm512_srli_epi64(lo, 52));
    lo = _mm512_and_si512(lo, c->mask);
    vec u = _mm512_or_si512(_mm512_sll_epi64(hi, left), _mm512_srl_epi64(lo, right));
    vec h = _mm512_madd52hi_epu64(zero, u, mu);
    return _mm512_and_si512(_mm512_madd52lo_epu64(lo, h, c->nq), c->mask);
}

INLINE void tensor_loop(uint64_t *const z[3], const uint64_t *const x[2],
                        const uint64_t *const y[2], size_t n, const struct modulus *m, bool far)
{
    struct barrett b = barrett_of(m);
    vec mu = all((uint64_t)(((sys_u128)1 << (m->bits + 51u)) / m->q));
    __m128i right = _mm_cvtsi32_si128((int)m->bits - 1);
    __m128i left = _mm_cvtsi32_si128(53 - (int)m->bits);
    for (size_t i = 0; i < n; i += 8) {
        __mmask8 k = lanes_of(n - i);
        vec x0 = load_part(x[0] + i, k), x1 = load_part(x[1] + i, k);
        vec y0 = load_part(y[0] + i, k), y1 = load_part(y[1] + i, k);
        vec hi = _mm512_madd52hi_epu64(_mm512_madd52hi_epu64(b.zero, x0, y1), x1, y0);
        vec lo = _mm512_madd52lo_epu64(_mm512_madd52lo_epu64(b.zero, x0, y1), x1, y0);
        vec z0 = canonical(barrett_mul(x0, y0, &b), &b.c);
        vec z1 = canonical(barrett_sum(hi, lo, mu, right, left, &b.c), &b.c);
        vec z2 = canonical(barrett_mul(x1, y1, &b), &b.c);
        if (far && k == 0xff) {
            store_far(z[0] + i, z0, true);
            store_far(z[1] + i, z1, true);
            store_far(z[2] + i, z2, true);
        } else {
            store_part(z[0] + i, k, z0);
            store_part(z[1] + i, k, z1);
            store_part(z[2] + i, k, z2);
        }
    }
}

static void tensor_avx512(uint64_t *const z[3], const uint64_t *const x[2],
                          const uint64_t *const y[2], size_t n, const struct modulus *m, bool far)
{
    if (far && aligned(z[0]) && aligned(z[1]) && aligned(z[2])) {
        tensor_loop(z, x, y, n, m, true);
        _mm_sfence();
    } else {
        tensor_loop(z, x, y, n, m, false);
    }
}

void k_switch_avx512(struct kernels *k)
{
    k->key_mac = key_mac_avx512;
    k->tensor = tensor_avx512;
}
#else
typedef int k_no_switch_avx512; /* an empty unit is not C */
#endif
