/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Pointwise kernels, inner products and base conversion with AVX2 and FMA, four words a vector.
 * Products are in doubles (fp_avx2.h); sums of products in integers, with operands split at 26
 * bits. The last one to three words of a length go through ref.c. gather and the conversions from
 * integers stay with ref.c: AVX2 has nothing that makes them faster.
 */
#if defined(__x86_64__)
#include "sum_avx2.h"

/* x < 2^63; x - m if that is not negative, else x: blendv looks at the sign bit. */
INLINE ivec i_once(ivec x, ivec m)
{
    ivec d = _mm256_sub_epi64(x, m);
    return _mm256_castpd_si256(
        _mm256_blendv_pd(_mm256_castsi256_pd(d), _mm256_castsi256_pd(x), _mm256_castsi256_pd(d)));
}

/* Runs BODY (which sets r at index i) for whole vectors and leaves i at the first word after them.
 */
#define POINTWISE(BODY)                                                                            \
    size_t i = 0;                                                                                  \
    for (; i + 4 <= n; i += 4) {                                                                   \
        ivec r;                                                                                    \
        BODY;                                                                                      \
        i_store(out + i, r);                                                                       \
    }
#define AT(p) i_load((p) + i)
/* The rest by ref.c. */
#define REST(CALL)                                                                                 \
    if (i < n) {                                                                                   \
        struct kernels ref;                                                                        \
        k_init_ref(&ref);                                                                          \
        ref.CALL;                                                                                  \
    }

static void add_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q)
{
    ivec vq = i_all(q);
    POINTWISE(r = i_once(_mm256_add_epi64(AT(a), AT(b)), vq))
    REST(add(out + i, a + i, b + i, n - i, q))
}

static void sub_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q)
{
    ivec vq = i_all(q);
    POINTWISE(r = i_once(_mm256_sub_epi64(_mm256_add_epi64(AT(a), vq), AT(b)), vq))
    REST(sub(out + i, a + i, b + i, n - i, q))
}

static void neg_avx2(uint64_t *out, const uint64_t *a, size_t n, uint64_t q)
{
    ivec vq = i_all(q);
    POINTWISE(r = i_once(_mm256_sub_epi64(vq, AT(a)), vq))
    REST(neg(out + i, a + i, n - i, q))
}

static void add_const_avx2(uint64_t *out, const uint64_t *a, uint64_t c, size_t n, uint64_t q)
{
    ivec vq = i_all(q);
    ivec vc = i_all(c);
    POINTWISE(r = i_once(_mm256_add_epi64(AT(a), vc), vq))
    REST(add_const(out + i, a + i, c, n - i, q))
}

/* Canonical factors: k = 1, |product| <= 7q/8. */
static void mul_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n,
                     const struct modulus *m)
{
    struct fconsts c = f_consts(m->q);
    POINTWISE(r = i_from(f_canonical(f_mul(f_from(AT(a)), f_from(AT(b)), &c), &c)))
    REST(mul(out + i, a + i, b + i, n - i, m))
}

static void mul_add_avx2(uint64_t *out, const uint64_t *acc, const uint64_t *a, const uint64_t *b,
                         size_t n, const struct modulus *m)
{
    struct fconsts c = f_consts(m->q);
    POINTWISE(fvec p = f_mul(f_from(AT(a)), f_from(AT(b)), &c);
              r = i_from(f_canonical(_mm256_add_pd(p, f_from(AT(acc))), &c)))
    REST(mul_add(out + i, acc + i, a + i, b + i, n - i, m))
}

/*
 * a < 2^52 is not bounded by a few q when q is small, so the analysis is in absolute terms: with wq
 * within 2^-53 of c/q, b is within 1/2 + a 2^-52 <= 3/2 of the quotient, |r| <= 3q/2.
 */
static void mul_const_avx2(uint64_t *out, const uint64_t *a, uint64_t c, uint64_t cs, size_t n,
                           uint64_t q)
{
    struct fconsts z = f_consts(q);
    fvec w = f_all((double)c);
    fvec wq = f_ratio(cs);
    POINTWISE(r = i_from(f_canonical(f_mul_w(f_from(AT(a)), w, wq, &z), &z)))
    REST(mul_const(out + i, a + i, c, cs, n - i, q))
}

static void mul_const_add_avx2(uint64_t *out, const uint64_t *acc, const uint64_t *a, uint64_t c,
                               uint64_t cs, size_t n, uint64_t q)
{
    struct fconsts z = f_consts(q);
    fvec w = f_all((double)c);
    fvec wq = f_ratio(cs);
    POINTWISE(fvec p = f_mul_w(f_from(AT(a)), w, wq, &z);
              r = i_from(f_canonical(_mm256_add_pd(p, f_from(AT(acc))), &z)))
    REST(mul_const_add(out + i, acc + i, a + i, c, cs, n - i, q))
}

static void sub_mul_const_avx2(uint64_t *out, const uint64_t *a, const uint64_t *b, uint64_t c,
                               uint64_t cs, size_t n, uint64_t q)
{
    struct fconsts z = f_consts(q);
    fvec w = f_all((double)c);
    fvec wq = f_ratio(cs);
    POINTWISE(fvec d = _mm256_sub_pd(f_from(AT(a)), f_from(AT(b)));
              r = i_from(f_canonical(f_mul_w(d, w, wq, &z), &z)))
    REST(sub_mul_const(out + i, a + i, b + i, c, cs, n - i, q))
}

/* ---- sums of products */

/* Whole vectors of at most SUM_TERMS terms; the word of b for index i is b_off + (i >> log_run). */
INLINE size_t mac_stretch(uint64_t *out, const uint64_t *from, const uint64_t *const *a,
                          const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off,
                          unsigned log_run, size_t n, const struct reducer *r)
{
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        ivec zero = _mm256_setzero_si256();
        struct sum s0 = sum_start(from != NULL ? i_load(from + i) : zero);
        struct sum s1 = sum_start(from != NULL ? i_load(from + i + 4) : zero);
        for (size_t t = 0; t < terms; t++) {
            const uint64_t *x = a[t] + a_off + i;
            const uint64_t *y = b[t] + b_off;
            struct split y0, y1;
            if (log_run == 0) {
                y0 = split_of(i_load(y + i));
                y1 = split_of(i_load(y + i + 4));
            } else if (log_run == 1) {
                struct split w = split_of(i_load(y + (i >> 1)));
                y0.low = _mm256_permute4x64_epi64(w.low, 0x50); /* words 0, 0, 1, 1 */
                y0.high = _mm256_permute4x64_epi64(w.high, 0x50);
                y1.low = _mm256_permute4x64_epi64(w.low, 0xfa); /* words 2, 2, 3, 3 */
                y1.high = _mm256_permute4x64_epi64(w.high, 0xfa);
            } else {
                y0 = split_of(i_all(y[i >> log_run]));
                y1 = log_run == 2 ? split_of(i_all(y[(i + 4) >> log_run])) : y0;
            }
            sum_add(&s0, split_of(i_load(x)), y0);
            sum_add(&s1, split_of(i_load(x + 4)), y1);
        }
        i_store(out + i, sum_reduce(s0, r));
        i_store(out + i + 4, sum_reduce(s1, r));
    }
    return i;
}

static void mac_any(uint64_t *out, const uint64_t *init, const uint64_t *const *a,
                    const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off,
                    unsigned log_run, size_t n, const struct modulus *m)
{
    struct reducer r = reducer_of(m);
    size_t done = 0;
    for (size_t t = 0; t < terms; t += SUM_TERMS) {
        size_t count = terms - t < SUM_TERMS ? terms - t : SUM_TERMS;
        const uint64_t *from = t == 0 ? init : out;
        if (log_run == 0) {
            done = mac_stretch(out, from, a + t, b + t, count, a_off, b_off, 0, n, &r);
        } else if (log_run == 1) {
            done = mac_stretch(out, from, a + t, b + t, count, a_off, b_off, 1, n, &r);
        } else if (log_run == 2) {
            done = mac_stretch(out, from, a + t, b + t, count, a_off, b_off, 2, n, &r);
        } else {
            done = mac_stretch(out, from, a + t, b + t, count, a_off, b_off, log_run, n, &r);
        }
    }
    if (done <
        n) { /* n is a multiple of the run, so `done`, a multiple of 8 <= n, is one too or 0 */
        struct kernels ref;
        k_init_ref(&ref);
        ref.mac_run(out + done, init != NULL ? init + done : NULL, a, b, terms, a_off + done,
                    b_off + (done >> log_run), log_run, n - done, m);
    }
}

static void mac_avx2(uint64_t *out, const uint64_t *init, const uint64_t *const *a,
                     const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off, size_t n,
                     const struct modulus *m)
{
    mac_any(out, init, a, b, terms, a_off, b_off, 0, n, m);
}

static void mac_run_avx2(uint64_t *out, const uint64_t *init, const uint64_t *const *a,
                         const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off,
                         unsigned log_run, size_t n, const struct modulus *m)
{
    mac_any(out, init, a, b, terms, a_off, b_off, log_run, n, m);
}

static void mac_many_avx2(const struct k_sums *s, size_t n, const struct modulus *m)
{
    struct kernels k;
    k_init_ref(&k);
    k.mac_run = mac_run_avx2;
    k_mac_many_with(&k, s, n, m);
}

/* ---- change of base */

static void bconv_avx2(uint64_t *out, const uint64_t *x, size_t stride, const uint64_t *w, size_t k,
                       size_t n, const struct modulus *m)
{
    struct reducer z = reducer_of(m);
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        struct sum s0 = sum_start(_mm256_setzero_si256());
        struct sum s1 = s0;
        const uint64_t *p = x + i;
        for (size_t j = 0; j < k; j++, p += stride) {
            struct split y = split_of(i_all(w[j]));
            sum_add(&s0, split_of(i_load(p)), y);
            sum_add(&s1, split_of(i_load(p + 4)), y);
        }
        i_store(out + i, sum_reduce(s0, &z));
        i_store(out + i + 4, sum_reduce(s1, &z));
    }
    REST(bconv(out + i, x + i, stride, w, k, n - i, m))
}

/* floor(x y / 2^52) = x1 y1 + floor((x0 y1 + x1 y0 + floor(x0 y0 / 2^26)) / 2^26). */
static void bconv_quot_avx2(uint64_t *out, const uint64_t *x, size_t stride, const uint64_t *f,
                            const unsigned *shift, size_t k, size_t n)
{
    POINTWISE(r = i_all(UINT64_C(1) << 48); for (size_t j = 0; j < k; j++) {
        ivec v = _mm256_sll_epi64(i_load(x + j * stride + i), _mm_cvtsi32_si128((int)shift[j]));
        struct split a = split_of(v);
        struct split b = split_of(i_all(f[j]));
        ivec mid = _mm256_srli_epi64(_mm256_mul_epu32(a.low, b.low), 26);
        mid = _mm256_add_epi64(mid, _mm256_mul_epu32(a.low, b.high));
        mid = _mm256_add_epi64(mid, _mm256_mul_epu32(a.high, b.low));
        r = _mm256_add_epi64(r, _mm256_mul_epu32(a.high, b.high));
        r = _mm256_add_epi64(r, _mm256_srli_epi64(mid, 26));
    } r = _mm256_srli_epi64(r, 49))
    REST(bconv_quot(out + i, x + i, stride, f, shift, k, n - i))
}

/* The centred integer itself, |v| <= 2^49, times 1 mod q as in mul_const. */
static void recentre_avx2(uint64_t *out, const uint64_t *x, uint64_t p, size_t n,
                          const struct modulus *m)
{
    struct fconsts c = f_consts(m->q);
    fvec one = f_all(1.0);
    fvec ones = f_ratio(m->ones);
    fvec half = f_all((double)((p - 1) / 2));
    fvec vp = f_all((double)p);
    POINTWISE(fvec v = f_from(AT(x));
              v = _mm256_sub_pd(v, _mm256_and_pd(_mm256_cmp_pd(v, half, _CMP_GT_OQ), vp));
              r = i_from(f_canonical(f_mul_w(v, one, ones, &c), &c)))
    REST(recentre(out + i, x + i, p, n - i, m))
}

void k_init_avx2(struct kernels *k)
{
    k_ntt_avx2(k);
    k_switch_avx2(k);
    k->add = add_avx2;
    k->sub = sub_avx2;
    k->neg = neg_avx2;
    k->add_const = add_const_avx2;
    k->mul = mul_avx2;
    k->mul_add = mul_add_avx2;
    k->mul_const = mul_const_avx2;
    k->mul_const_add = mul_const_add_avx2;
    k->sub_mul_const = sub_mul_const_avx2;
    k->mac = mac_avx2;
    k->mac_run = mac_run_avx2;
    k->mac_many = mac_many_avx2;
    k->bconv = bconv_avx2;
    k->bconv_quot = bconv_quot_avx2;
    k->recentre = recentre_avx2;
}
#else
typedef int k_no_avx2; /* an empty unit is not C */
#endif
