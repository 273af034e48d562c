/* SPDX-License-Identifier: Apache-2.0 */

/* Everything but transforms and key switching with AVX-512 IFMA. */
#if defined(__x86_64__)
#include "vec_avx512.h"

/* ---- pointwise */

/* The loop of a pointwise kernel: BODY computes r from a vector at index i with existing lanes k.
 */
#define POINTWISE(BODY)                                                                            \
    for (size_t i = 0; i < n; i += 8) {                                                            \
        __mmask8 k = lanes_of(n - i);                                                              \
        vec r;                                                                                     \
        BODY;                                                                                      \
        store_part(out + i, k, r);                                                                 \
    }
#define AT(p) load_part((p) + i, k)

static void add_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q)
{
    vec vq = all(q);
    POINTWISE(r = once(_mm512_add_epi64(AT(a), AT(b)), vq))
}

/* a - b, or a - b + q when that wraps: the smaller of the two as unsigned words. */
static void sub_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q)
{
    vec vq = all(q);
    POINTWISE(r = _mm512_sub_epi64(AT(a), AT(b)); r = _mm512_min_epu64(r, _mm512_add_epi64(r, vq)))
}

static void neg_avx512(uint64_t *out, const uint64_t *a, size_t n, uint64_t q)
{
    vec vq = all(q);
    POINTWISE(r = once(_mm512_sub_epi64(vq, AT(a)), vq))
}

static void add_const_avx512(uint64_t *out, const uint64_t *a, uint64_t c, size_t n, uint64_t q)
{
    vec vq = all(q);
    vec vc = all(c);
    POINTWISE(r = once(_mm512_add_epi64(AT(a), vc), vq))
}

static void mul_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n,
                       const struct modulus *m)
{
    struct barrett z = barrett_of(m);
    POINTWISE(r = canonical(barrett_mul(AT(a), AT(b), &z), &z.c))
}

/* The product is below 3q before acc < q is added: below 4q. */
static void mul_add_avx512(uint64_t *out, const uint64_t *acc, const uint64_t *a, const uint64_t *b,
                           size_t n, const struct modulus *m)
{
    struct barrett z = barrett_of(m);
    POINTWISE(r = barrett_mul(AT(a), AT(b), &z); r = canonical(_mm512_add_epi64(r, AT(acc)), &z.c))
}

static void mul_const_avx512(uint64_t *out, const uint64_t *a, uint64_t c, uint64_t cs, size_t n,
                             uint64_t q)
{
    struct consts z = consts_of(q);
    vec w = all(c);
    vec ws = all(cs);
    POINTWISE(r = once(mul_w(AT(a), w, ws, &z), z.q))
}

static void mul_const_add_avx512(uint64_t *out, const uint64_t *acc, const uint64_t *a, uint64_t c,
                                 uint64_t cs, size_t n, uint64_t q)
{
    struct consts z = consts_of(q);
    vec w = all(c);
    vec ws = all(cs);
    POINTWISE(r = canonical(_mm512_add_epi64(mul_w(AT(a), w, ws, &z), AT(acc)), &z))
}

static void sub_mul_const_avx512(uint64_t *out, const uint64_t *a, const uint64_t *b, uint64_t c,
                                 uint64_t cs, size_t n, uint64_t q)
{
    struct consts z = consts_of(q);
    vec w = all(c);
    vec ws = all(cs);
    POINTWISE(r = _mm512_sub_epi64(_mm512_add_epi64(AT(a), z.q), AT(b));
              r = once(mul_w(r, w, ws, &z), z.q))
}

/* ---- inner products */

/*
 * lo grows by less than 2^52 a term and hi by less than 2^48, so 4095 terms and a start below 2^52
 * fit in lo; NARROW reduction needs hi + 2^12 < 2^52: 15 terms. Longer sums go on from the reduced
 * value.
 */
#define NARROW_TERMS 15u
#define WIDE_TERMS   4095u

/* One stretch of at most WIDE_TERMS terms; from is the start value. Four vectors at a time. */
INLINE void mac_stretch(uint64_t *out, const uint64_t *from, const uint64_t *const *a,
                        const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off,
                        size_t n, const struct sum *s, int wide)
{
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        vec h0 = s->zero, h1 = h0, h2 = h0, h3 = h0;
        vec l0 = h0, l1 = h0, l2 = h0, l3 = h0;
        if (from != NULL) {
            l0 = load(from + i);
            l1 = load(from + i + 8);
            l2 = load(from + i + 16);
            l3 = load(from + i + 24);
        }
        for (size_t t = 0; t < terms; t++) {
            const uint64_t *x = a[t] + a_off + i;
            const uint64_t *y = b[t] + b_off + i;
            vec x0 = load(x), x1 = load(x + 8), x2 = load(x + 16), x3 = load(x + 24);
            vec y0 = load(y), y1 = load(y + 8), y2 = load(y + 16), y3 = load(y + 24);
            l0 = _mm512_madd52lo_epu64(l0, x0, y0);
            h0 = _mm512_madd52hi_epu64(h0, x0, y0);
            l1 = _mm512_madd52lo_epu64(l1, x1, y1);
            h1 = _mm512_madd52hi_epu64(h1, x1, y1);
            l2 = _mm512_madd52lo_epu64(l2, x2, y2);
            h2 = _mm512_madd52hi_epu64(h2, x2, y2);
            l3 = _mm512_madd52lo_epu64(l3, x3, y3);
            h3 = _mm512_madd52hi_epu64(h3, x3, y3);
        }
        _mm512_storeu_si512((void *)(out + i), sum_reduce(h0, l0, s, wide));
        _mm512_storeu_si512((void *)(out + i + 8), sum_reduce(h1, l1, s, wide));
        _mm512_storeu_si512((void *)(out + i + 16), sum_reduce(h2, l2, s, wide));
        _mm512_storeu_si512((void *)(out + i + 24), sum_reduce(h3, l3, s, wide));
    }
    for (; i < n; i += 8) {
        __mmask8 k = lanes_of(n - i);
        vec h = s->zero;
        vec l = from != NULL ? load_part(from + i, k) : s->zero;
        for (size_t t = 0; t < terms; t++) {
            vec x = load_part(a[t] + a_off + i, k);
            vec y = load_part(b[t] + b_off + i, k);
            l = _mm512_madd52lo_epu64(l, x, y);
            h = _mm512_madd52hi_epu64(h, x, y);
        }
        store_part(out + i, k, sum_reduce(h, l, s, wide));
    }
}

static void mac_avx512(uint64_t *out, const uint64_t *init, const uint64_t *const *a,
                       const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off, size_t n,
                       const struct modulus *m)
{
    struct sum s = sum_of(m);
    if (terms <= NARROW_TERMS) {
        mac_stretch(out, init, a, b, terms, a_off, b_off, n, &s, 0);
        return;
    }
    for (size_t t = 0; t < terms; t += WIDE_TERMS) {
        size_t count = terms - t < WIDE_TERMS ? terms - t : WIDE_TERMS;
        mac_stretch(out, t == 0 ? init : out, a + t, b + t, count, a_off, b_off, n, &s, 1);
    }
}

/*
 * The broadcast form for runs of at least eight words: one word of b for 8, 16 or 32 words of a, so
 * a quarter of the loads of b. Runs of 8 and 16 broadcast a word for each vector or pair.
 */
INLINE void mac_run_stretch(uint64_t *out, const uint64_t *from, const uint64_t *const *a,
                            const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off,
                            unsigned log_run, size_t n, const struct sum *s, int wide)
{
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        vec h0 = s->zero, h1 = h0, h2 = h0, h3 = h0;
        vec l0 = h0, l1 = h0, l2 = h0, l3 = h0;
        size_t c0 = b_off + (i >> log_run), c1 = b_off + ((i + 8) >> log_run);
        size_t c2 = b_off + ((i + 16) >> log_run), c3 = b_off + ((i + 24) >> log_run);
        if (from != NULL) {
            l0 = load(from + i);
            l1 = load(from + i + 8);
            l2 = load(from + i + 16);
            l3 = load(from + i + 24);
        }
        for (size_t t = 0; t < terms; t++) {
            const uint64_t *x = a[t] + a_off + i;
            const uint64_t *y = b[t];
            vec x0 = load(x), x1 = load(x + 8), x2 = load(x + 16), x3 = load(x + 24);
            vec y0 = all(y[c0]), y1 = all(y[c1]), y2 = all(y[c2]), y3 = all(y[c3]);
            l0 = _mm512_madd52lo_epu64(l0, x0, y0);
            h0 = _mm512_madd52hi_epu64(h0, x0, y0);
            l1 = _mm512_madd52lo_epu64(l1, x1, y1);
            h1 = _mm512_madd52hi_epu64(h1, x1, y1);
            l2 = _mm512_madd52lo_epu64(l2, x2, y2);
            h2 = _mm512_madd52hi_epu64(h2, x2, y2);
            l3 = _mm512_madd52lo_epu64(l3, x3, y3);
            h3 = _mm512_madd52hi_epu64(h3, x3, y3);
        }
        _mm512_storeu_si512((void *)(out + i), sum_reduce(h0, l0, s, wide));
        _mm512_storeu_si512((void *)(out + i + 8), sum_reduce(h1, l1, s, wide));
        _mm512_storeu_si512((void *)(out + i + 16), sum_reduce(h2, l2, s, wide));
        _mm512_storeu_si512((void *)(out + i + 24), sum_reduce(h3, l3, s, wide));
    }
    for (; i < n; i += 8) { /* n is a multiple of 8 here */
        vec h = s->zero;
        vec l = from != NULL ? load(from + i) : s->zero;
        for (size_t t = 0; t < terms; t++) {
            vec x = load(a[t] + a_off + i);
            vec y = all(b[t][b_off + (i >> log_run)]);
            l = _mm512_madd52lo_epu64(l, x, y);
            h = _mm512_madd52hi_epu64(h, x, y);
        }
        _mm512_storeu_si512((void *)(out + i), sum_reduce(h, l, s, wide));
    }
}

/* Runs of two or four words: the 8 >> log_run words of b for a vector are loaded and spread. */
INLINE void mac_short_run_stretch(uint64_t *out, const uint64_t *from, const uint64_t *const *a,
                                  const uint64_t *const *b, size_t terms, size_t a_off,
                                  size_t b_off, unsigned log_run, size_t n, const struct sum *s,
                                  int wide)
{
    vec spread = log_run == 1 ? _mm512_set_epi64(3, 3, 2, 2, 1, 1, 0, 0)
                              : _mm512_set_epi64(1, 1, 1, 1, 0, 0, 0, 0);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) { /* eight sums hide the latency of each other */
        vec h[4], l[4];
        for (size_t v = 0; v < 4; v++) {
            h[v] = s->zero;
            l[v] = from != NULL ? load(from + i + 8 * v) : s->zero;
        }
        for (size_t t = 0; t < terms; t++) {
            const uint64_t *x = a[t] + a_off + i;
            const uint64_t *y = b[t] + b_off + (i >> log_run);
            for (size_t v = 0; v < 4; v++) {
                vec w = load_part(y + (8 * v >> log_run), lanes_of(8u >> log_run));
                w = _mm512_permutexvar_epi64(spread, w);
                l[v] = _mm512_madd52lo_epu64(l[v], load(x + 8 * v), w);
                h[v] = _mm512_madd52hi_epu64(h[v], load(x + 8 * v), w);
            }
        }
        for (size_t v = 0; v < 4; v++) {
            store(out + i + 8 * v, sum_reduce(h[v], l[v], s, wide));
        }
    }
    for (; i < n; i += 8) {
        __mmask8 k = lanes_of(n - i);
        __mmask8 bk =
            lanes_of((n - i) >> log_run < 8u >> log_run ? (n - i) >> log_run : 8u >> log_run);
        vec h = s->zero;
        vec l = from != NULL ? load_part(from + i, k) : s->zero;
        for (size_t t = 0; t < terms; t++) {
            vec x = load_part(a[t] + a_off + i, k);
            vec y = load_part(b[t] + b_off + (i >> log_run), bk);
            y = _mm512_permutexvar_epi64(spread, y);
            l = _mm512_madd52lo_epu64(l, x, y);
            h = _mm512_madd52hi_epu64(h, x, y);
        }
        store_part(out + i, k, sum_reduce(h, l, s, wide));
    }
}

/* A single term: Barrett's reduction of the product is half the work of that of a sum. */
static void mac_run_one(uint64_t *out, const uint64_t *init, const uint64_t *a, const uint64_t *b,
                        unsigned log_run, size_t n, const struct modulus *m)
{
    struct barrett z = barrett_of(m);
    size_t run = (size_t)1 << log_run;
    for (size_t i = 0; i < n; i += run) {
        vec y = all(b[i >> log_run]);
        for (size_t j = i; j < i + run; j += 8) {
            vec r = barrett_mul(load(a + j), y, &z);
            if (init != NULL) {
                r = _mm512_add_epi64(r, load(init + j)); /* below 4q */
            }
            store(out + j, canonical(r, &z.c));
        }
    }
}

static void mac_run_avx512(uint64_t *out, const uint64_t *init, const uint64_t *const *a,
                           const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off,
                           unsigned log_run, size_t n, const struct modulus *m)
{
    if (log_run == 0) {
        mac_avx512(out, init, a, b, terms, a_off, b_off, n, m);
        return;
    }
    if (terms == 1 && log_run >= 3) {
        mac_run_one(out, init, a[0] + a_off, b[0] + b_off, log_run, n, m);
        return;
    }
    struct sum s = sum_of(m);
    for (size_t t = 0; t < terms; t += WIDE_TERMS) {
        size_t count = terms - t < WIDE_TERMS ? terms - t : WIDE_TERMS;
        const uint64_t *from = t == 0 ? init : out;
        if (log_run == 1) {
            mac_short_run_stretch(out, from, a + t, b + t, count, a_off, b_off, 1, n, &s, 1);
        } else if (log_run == 2) {
            mac_short_run_stretch(out, from, a + t, b + t, count, a_off, b_off, 2, n, &s, 1);
        } else if (terms <= NARROW_TERMS) {
            mac_run_stretch(out, from, a + t, b + t, count, a_off, b_off, log_run, n, &s, 0);
        } else {
            mac_run_stretch(out, from, a + t, b + t, count, a_off, b_off, log_run, n, &s, 1);
        }
    }
}

/* ---- change of base */

/*
 * hi grows by at most 2^50 a term (x < 2^52, w < 2^50): 129 terms stay below 2^58, lo below 2^60.
 * NARROW needs hi + 2^8 < 2^52: three terms.
 */
INLINE void bconv_loop(uint64_t *out, const uint64_t *x, size_t stride, const uint64_t *w, size_t k,
                       size_t n, const struct sum *s, int wide)
{
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        vec h0 = s->zero, h1 = h0, h2 = h0, h3 = h0;
        vec l0 = h0, l1 = h0, l2 = h0, l3 = h0;
        const uint64_t *p = x + i;
        for (size_t j = 0; j < k; j++, p += stride) {
            vec y = all(w[j]);
            vec x0 = load(p), x1 = load(p + 8), x2 = load(p + 16), x3 = load(p + 24);
            l0 = _mm512_madd52lo_epu64(l0, x0, y);
            h0 = _mm512_madd52hi_epu64(h0, x0, y);
            l1 = _mm512_madd52lo_epu64(l1, x1, y);
            h1 = _mm512_madd52hi_epu64(h1, x1, y);
            l2 = _mm512_madd52lo_epu64(l2, x2, y);
            h2 = _mm512_madd52hi_epu64(h2, x2, y);
            l3 = _mm512_madd52lo_epu64(l3, x3, y);
            h3 = _mm512_madd52hi_epu64(h3, x3, y);
        }
        _mm512_storeu_si512((void *)(out + i), sum_reduce(h0, l0, s, wide));
        _mm512_storeu_si512((void *)(out + i + 8), sum_reduce(h1, l1, s, wide));
        _mm512_storeu_si512((void *)(out + i + 16), sum_reduce(h2, l2, s, wide));
        _mm512_storeu_si512((void *)(out + i + 24), sum_reduce(h3, l3, s, wide));
    }
    for (; i < n; i += 8) {
        __mmask8 lanes = lanes_of(n - i);
        vec h = s->zero;
        vec l = s->zero;
        for (size_t j = 0; j < k; j++) {
            vec v = load_part(x + j * stride + i, lanes);
            l = _mm512_madd52lo_epu64(l, v, all(w[j]));
            h = _mm512_madd52hi_epu64(h, v, all(w[j]));
        }
        store_part(out + i, lanes, sum_reduce(h, l, s, wide));
    }
}

static void bconv_avx512(uint64_t *out, const uint64_t *x, size_t stride, const uint64_t *w,
                         size_t k, size_t n, const struct modulus *m)
{
    struct sum s = sum_of(m);
    if (k <= 3) {
        bconv_loop(out, x, stride, w, k, n, &s, 0);
    } else {
        bconv_loop(out, x, stride, w, k, n, &s, 1);
    }
}

static void bconv_quot_avx512(uint64_t *out, const uint64_t *x, size_t stride, const uint64_t *f,
                              const unsigned *shift, size_t k, size_t n)
{
    for (size_t i = 0; i < n; i += 8) {
        __mmask8 lanes = lanes_of(n - i);
        vec sum = all(UINT64_C(1) << 48);
        for (size_t j = 0; j < k; j++) {
            vec v = load_part(x + j * stride + i, lanes);
            v = _mm512_sll_epi64(v, _mm_cvtsi32_si128((int)shift[j]));
            sum = _mm512_madd52hi_epu64(sum, v, all(f[j]));
        }
        store_part(out + i, lanes, _mm512_srli_epi64(sum, 49));
    }
}

/* x mod q below 2q; when x > (p-1)/2, minus p mod q: below 2q + q - 0. */
static void recentre_avx512(uint64_t *out, const uint64_t *x, uint64_t p, size_t n,
                            const struct modulus *m)
{
    struct consts z = consts_of(m->q);
    vec one = all(1);
    vec ones = all(m->ones);
    vec half = all((p - 1) / 2);
    vec minus_p = all(mod_neg(mod_reduce52(p, m), m->q));
    POINTWISE(vec v = AT(x); r = mul_w(v, one, ones, &z);
              r = _mm512_mask_add_epi64(r, _mm512_cmpgt_epu64_mask(v, half), r, minus_p);
              r = canonical(r, &z))
}

/* ---- automorphism */

/* As in ref.c; the eight places of a block for each h are one permutation vector. */
static void gather_avx512(uint64_t *out, const uint64_t *in, uint64_t g, unsigned log_n,
                          size_t first, size_t n)
{
    static const unsigned brv3[8] = {0, 4, 2, 6, 1, 5, 3, 7};
    uint64_t place[8][8];
    for (uint64_t h = 0; h < 8; h++) {
        for (size_t v = 0; v < 8; v++) {
            place[h][v] = brv3[(h + g * brv3[v]) % 8];
        }
    }
    unsigned shift = log_n + 1 - 3;
    uint64_t low = (UINT64_C(1) << shift) - 1;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t e = g * (2 * (uint64_t)mod_bitrev((uint32_t)(first + i), log_n) + 1);
        const uint64_t *block = in + mod_bitrev((uint32_t)((e & low) >> 1), log_n);
        vec v = _mm512_permutexvar_epi64(load(place[(e >> shift) & 7]), load(block));
        _mm512_storeu_si512((void *)(out + i), v);
    }
}

/* ---- integers */

/* |x| = h 2^52 + l, h < 2^12: h r52 + l below 4q, made canonical, then q - r for negative x. */
INLINE vec from_signed(vec x, const struct sum *s)
{
    __mmask8 negative = _mm512_movepi64_mask(x);
    vec mag = _mm512_abs_epi64(x); /* 2^63 for the smallest integer, as an unsigned word */
    vec r = mul_w(_mm512_and_si512(mag, s->c.mask), s->one, s->ones, &s->c);
    r = _mm512_add_epi64(r, mul_w(_mm512_srli_epi64(mag, 52), s->r52, s->r52s, &s->c));
    r = canonical(r, &s->c);
    return once(_mm512_mask_sub_epi64(r, negative, s->c.q, r), s->c.q);
}

static void from_i64_avx512(uint64_t *out, const int64_t *x, size_t n, const struct modulus *m)
{
    struct sum s = sum_of(m);
    const uint64_t *bits = (const uint64_t *)x;
    POINTWISE(r = from_signed(AT(bits), &s))
}

static void from_i32_avx512(uint64_t *out, const int32_t *x, size_t n, const struct modulus *m)
{
    struct sum s = sum_of(m);
    POINTWISE(r = from_signed(_mm512_cvtepi32_epi64(_mm256_maskz_loadu_epi32(k, x + i)), &s))
}

void k_init_avx512(struct kernels *k)
{
    k_ntt_avx512(k);
    k_switch_avx512(k);
    k_convert_avx512(k);
    k_sums_avx512(k);
    k->add = add_avx512;
    k->sub = sub_avx512;
    k->neg = neg_avx512;
    k->add_const = add_const_avx512;
    k->mul = mul_avx512;
    k->mul_add = mul_add_avx512;
    k->mul_const = mul_const_avx512;
    k->mul_const_add = mul_const_add_avx512;
    k->sub_mul_const = sub_mul_const_avx512;
    k->mac = mac_avx512;
    k->mac_run = mac_run_avx512;
    k->bconv = bconv_avx512;
    k->bconv_quot = bconv_quot_avx512;
    k->recentre = recentre_avx512;
    k->gather = gather_avx512;
    k->from_i64 = from_i64_avx512;
    k->from_i32 = from_i32_avx512;
}
#else
typedef int k_no_avx512; /* an empty unit is not C */
#endif
