/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The inner products of key switching and of ciphertext products with AVX2. Stores past the caches
 * are not worth it here: multiplication is slower than memory.
 */
#if defined(__x86_64__)
#include "place.h"
#include "sum_avx2.h"

/*
 * low + mid 2^26 + high 2^52 = h1 2^104 + h0 2^52 + l (sum_reduce), so with the constants 2^-52, 1
 * and 2^52 in place of 1, 2^52 and 2^104 the same code divides by 2^52.
 */
INLINE struct reducer divider_of(const struct modulus *m)
{
    struct reducer r = {f_consts(m->q),   f_all((double)m->i52), f_ratio(m->i52s), f_all(1.0),
                        f_ratio(m->ones), f_all((double)m->r52), f_ratio(m->r52s)};
    return r;
}

/* The sum of four words of a part, and the base's share of it. */
INLINE void key_finish(uint64_t *out, struct sum sum, const struct k_switch *s, size_t part,
                       size_t i, const struct reducer *r)
{
    ivec total = sum_reduce(sum, r);
    if (s->base[part] != NULL) {
        fvec b =
            f_mul_w(f_from(i_load(s->base[part] + i)), f_all((double)s->c), f_ratio(s->cs), &r->c);
        total = i_from(f_canonical(_mm256_add_pd(b, f_from(total)), &r->c));
    }
    i_store(out, total);
}

/* K_KEY_BLOCK sums of both parts, from coefficient i. */
INLINE void key_block(uint64_t out[2][K_KEY_BLOCK], const struct k_switch *s, size_t i,
                      const struct reducer *r)
{
    for (size_t v = 0; v < K_KEY_BLOCK; v += 4) {
        const uint64_t *b = s->key[0] + s->key_terms * i + v;
        const uint64_t *a = s->key[1] + s->key_terms * (i - s->a_first) + v;
        struct sum sum0 = sum_start(_mm256_setzero_si256());
        struct sum sum1 = sum0;
        for (size_t t = 0; t < s->terms; t++) {
            struct split d = split_of(i_load(s->digit[t] + i + v));
            sum_add(&sum0, d, split_of(i_load(b + t * K_KEY_BLOCK)));
            sum_add(&sum1, d, split_of(i_load(a + t * K_KEY_BLOCK)));
        }
        key_finish(out[0] + v, sum0, s, 0, i + v, r);
        key_finish(out[1] + v, sum1, s, 1, i + v, r);
    }
}

static void key_mac_avx2(uint64_t *out0, uint64_t *out1, const struct k_switch *s, size_t first,
                         size_t n, const struct modulus *m)
{
    if (s->log_n < PLACE_LOG_TILE) {
        struct kernels ref;
        k_init_ref(&ref);
        ref.key_mac(out0, out1, s, first, n, m);
        return;
    }
    struct reducer r = divider_of(m);
    struct place p;
    place_start(&p, s, first);
    for (size_t i = first; i < first + n; i += K_KEY_BLOCK) {
        if (i % PLACE_TILE == 0) {
            place_tile(&p, i);
        }
        uint64_t sum[2][K_KEY_BLOCK];
        key_block(sum, s, i, &r);
        for (size_t v = 0; v < K_KEY_BLOCK; v += 8) {
            const uint64_t(*lane)[8];
            size_t j = place_of(&p, i + v, &lane) - s->origin;
            for (size_t d = 0; d < 8; d++) {
                uint64_t w0 = sum[0][v + (*lane)[d]];
                uint64_t w1 = sum[1][v + (*lane)[d]];
                out0[j + d] = s->accumulate ? mod_add(out0[j + d], w0, m->q) : w0;
                out1[j + d] = s->accumulate ? mod_add(out1[j + d], w1, m->q) : w1;
            }
        }
    }
}

/* Each product is at most 7q/8 in size, their sum 7q/4. */
static void tensor_avx2(uint64_t *const z[3], const uint64_t *const x[2],
                        const uint64_t *const y[2], size_t n, const struct modulus *m, bool far)
{
    struct fconsts c = f_consts(m->q);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        fvec x0 = f_from(i_load(x[0] + i)), x1 = f_from(i_load(x[1] + i));
        fvec y0 = f_from(i_load(y[0] + i)), y1 = f_from(i_load(y[1] + i));
        fvec middle = _mm256_add_pd(f_mul(x0, y1, &c), f_mul(x1, y0, &c));
        i_store(z[0] + i, i_from(f_canonical(f_mul(x0, y0, &c), &c)));
        i_store(z[1] + i, i_from(f_canonical(middle, &c)));
        i_store(z[2] + i, i_from(f_canonical(f_mul(x1, y1, &c), &c)));
    }
    if (i < n) {
        struct kernels ref;
        k_init_ref(&ref);
        uint64_t *const rest_z[3] = {z[0] + i, z[1] + i, z[2] + i};
        const uint64_t *const rest_x[2] = {x[0] + i, x[1] + i};
        const uint64_t *const rest_y[2] = {y[0] + i, y[1] + i};
        ref.tensor(rest_z, rest_x, rest_y, n - i, m, far);
    }
}

static void convert_avx2(const struct k_convert *s)
{
    struct kernels k;
    k_init_ref(&k);
    k_init_avx2(&k);
    k_convert_with(&k, s);
}

void k_switch_avx2(struct kernels *k)
{
    k->convert = convert_avx2;
    k->key_mac = key_mac_avx2;
    k->tensor = tensor_avx2;
}
#else
typedef int k_no_switch_avx2; /* an empty unit is not C */
#endif
