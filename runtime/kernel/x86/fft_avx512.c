/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The special FFT with AVX-512, eight numbers a vector, the steps of fft.c two at a time; and reals
 * to residues.
 *
 * Write an index of log_p bits as (a, m, c), a and c of three bits. Reversing bits takes entry
 * (a, m, c) to (~c, ~m, ~a), ~ being the reversal: the 8 x 8 tile m, whose rows a lie p/8 apart,
 * becomes the tile ~m transposed, with rows and columns reversed.
 *
 *     tile m              after the reversal             row ~c of tile ~m is a block of eight:
 *     row a: 8 columns c      row ~c: 8 columns ~a       the steps h = 1, 2, 4 stay inside it
 *
 * So before it is transposed, vector e = ~a of a tile holds entry e of eight blocks, and the steps
 * h = 1, 2, 4 are sums and products of whole vectors with the same root for all lanes. Tiles are
 * done in pairs m, ~m, which swap places. The later steps have vectors of neighbours j.
 *
 * Two steps h and 2h share roots: root[2h + h + j] = -i root[2h + j] for h >= 2, because 5^h - 1 is
 * 3 times 4h modulo 16h and 5^j is 1 modulo 4.
 *
 * Large transforms do the steps below CHUNK in pieces that fit the nearest cache.
 */
#if defined(__x86_64__)
#include "kernel/kernel.h"

#include <immintrin.h>
#include <math.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#define INLINE static inline __attribute__((always_inline))

#define LOG_CHUNK 10u /* or one more: an even number of steps is left for the whole */
#define LOG_LEAST 6u  /* a tile */

/* Eight complex numbers. */
struct cvec {
    __m512d re, im;
};

INLINE struct cvec c_load(const double *re, const double *im)
{
    struct cvec x = {_mm512_loadu_pd(re), _mm512_loadu_pd(im)};
    return x;
}

INLINE void c_store(double *re, double *im, struct cvec x)
{
    _mm512_storeu_pd(re, x.re);
    _mm512_storeu_pd(im, x.im);
}

INLINE struct cvec c_all(const double *re, const double *im, size_t i)
{
    struct cvec x = {_mm512_set1_pd(re[i]), _mm512_set1_pd(im[i])};
    return x;
}

INLINE struct cvec c_add(struct cvec x, struct cvec y)
{
    struct cvec z = {_mm512_add_pd(x.re, y.re), _mm512_add_pd(x.im, y.im)};
    return z;
}

INLINE struct cvec c_sub(struct cvec x, struct cvec y)
{
    struct cvec z = {_mm512_sub_pd(x.re, y.re), _mm512_sub_pd(x.im, y.im)};
    return z;
}

INLINE struct cvec c_mul(struct cvec x, struct cvec w)
{
    struct cvec z = {_mm512_sub_pd(_mm512_mul_pd(x.re, w.re), _mm512_mul_pd(x.im, w.im)),
                     _mm512_add_pd(_mm512_mul_pd(x.re, w.im), _mm512_mul_pd(x.im, w.re))};
    return z;
}

/* x conj(w) */
INLINE struct cvec c_mul_conj(struct cvec x, struct cvec w)
{
    struct cvec z = {_mm512_add_pd(_mm512_mul_pd(x.re, w.re), _mm512_mul_pd(x.im, w.im)),
                     _mm512_sub_pd(_mm512_mul_pd(x.im, w.re), _mm512_mul_pd(x.re, w.im))};
    return z;
}

INLINE void forward(struct cvec *a, struct cvec *b, struct cvec w)
{
    struct cvec t = c_mul(*b, w);
    *b = c_sub(*a, t);
    *a = c_add(*a, t);
}

INLINE void backward(struct cvec *a, struct cvec *b, struct cvec w)
{
    struct cvec d = c_sub(*a, *b);
    *a = c_add(*a, *b);
    *b = c_mul_conj(d, w);
}

/* The same with -i w: -i t = (t.im, -t.re). */
INLINE void forward_turned(struct cvec *a, struct cvec *b, struct cvec w)
{
    struct cvec t = c_mul(*b, w);
    struct cvec x = *a;
    a->re = _mm512_add_pd(x.re, t.im);
    a->im = _mm512_sub_pd(x.im, t.re);
    b->re = _mm512_sub_pd(x.re, t.im);
    b->im = _mm512_add_pd(x.im, t.re);
}

/* conj(-i w) d = i conj(w) d */
INLINE void backward_turned(struct cvec *a, struct cvec *b, struct cvec w)
{
    struct cvec d = c_sub(*a, *b);
    *a = c_add(*a, *b);
    b->re = _mm512_sub_pd(_mm512_mul_pd(d.re, w.im), _mm512_mul_pd(d.im, w.re));
    b->im = _mm512_add_pd(_mm512_mul_pd(d.re, w.re), _mm512_mul_pd(d.im, w.im));
}

/* ---- the steps h = 1, 2, 4 and the reversal of bits */

INLINE void transpose(__m512d x[8])
{
    __m512d t[8], u[8];
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm512_unpacklo_pd(x[i], x[i + 1]);
        t[i + 1] = _mm512_unpackhi_pd(x[i], x[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) { /* pairs of 128 bits: even ones, odd ones */
        u[i] = _mm512_shuffle_f64x2(t[i], t[i + 2], 0x88);
        u[i + 1] = _mm512_shuffle_f64x2(t[i + 1], t[i + 3], 0x88);
        u[i + 2] = _mm512_shuffle_f64x2(t[i], t[i + 2], 0xdd);
        u[i + 3] = _mm512_shuffle_f64x2(t[i + 1], t[i + 3], 0xdd);
    }
    for (int i = 0; i < 4; i++) {
        x[i] = _mm512_shuffle_f64x2(u[i], u[i + 4], 0x88);
        x[i + 4] = _mm512_shuffle_f64x2(u[i], u[i + 4], 0xdd);
    }
}

INLINE void transpose_both(struct cvec x[8])
{
    __m512d t[8];
    for (int i = 0; i < 8; i++) {
        t[i] = x[i].re;
    }
    transpose(t);
    for (int i = 0; i < 8; i++) {
        x[i].re = t[i];
        t[i] = x[i].im;
    }
    transpose(t);
    for (int i = 0; i < 8; i++) {
        x[i].im = t[i];
    }
}

static const size_t reversed[8] = {0, 4, 2, 6, 1, 5, 3, 7};

/* Where a transform's tiles are and what its steps multiply by. */
struct plan {
    double *re, *im;
    const double *wr, *wi;
    size_t row;      /* p/8 */
    unsigned middle; /* bits of m */
    __m512d c;
};

INLINE void tile_load(struct cvec x[8], const double *re, const double *im, size_t row)
{
    for (size_t i = 0; i < 8; i++) {
        x[i] = c_load(re + reversed[i] * row, im + reversed[i] * row);
    }
}

INLINE void tile_store(double *re, double *im, size_t row, const struct cvec x[8])
{
    for (size_t i = 0; i < 8; i++) {
        c_store(re + reversed[i] * row, im + reversed[i] * row, x[i]);
    }
}

INLINE void tile_forward(struct cvec x[8], const struct plan *f)
{
    for (size_t i = 0; i < 8; i += 2) {
        forward(&x[i], &x[i + 1], c_all(f->wr, f->wi, 1));
    }
    for (size_t i = 0; i < 8; i += 4) {
        forward(&x[i], &x[i + 2], c_all(f->wr, f->wi, 2));
        forward(&x[i + 1], &x[i + 3], c_all(f->wr, f->wi, 3));
    }
    for (size_t i = 0; i < 4; i++) {
        forward(&x[i], &x[i + 4], c_all(f->wr, f->wi, 4 + i));
    }
    transpose_both(x);
}

INLINE void tile_backward(struct cvec x[8], const struct plan *f)
{
    transpose_both(x);
    for (size_t i = 0; i < 4; i++) {
        backward(&x[i], &x[i + 4], c_all(f->wr, f->wi, 4 + i));
    }
    for (size_t i = 0; i < 8; i += 4) {
        backward(&x[i], &x[i + 2], c_all(f->wr, f->wi, 2));
        backward(&x[i + 1], &x[i + 3], c_all(f->wr, f->wi, 3));
    }
    for (size_t i = 0; i < 8; i += 2) {
        backward(&x[i], &x[i + 1], c_all(f->wr, f->wi, 1));
    }
    for (size_t i = 0; i < 8; i++) {
        x[i].re = _mm512_mul_pd(x[i].re, f->c);
        x[i].im = _mm512_mul_pd(x[i].im, f->c);
    }
}

/* Tile m to the place of tile ~m and the other way round; the first waits in memory of its own,
 * there are not registers for two. */
INLINE void tiles(const struct plan *f, int back)
{
    double wait_re[64], wait_im[64];
    for (size_t m = 0; m < f->row / 8; m++) {
        size_t other = mod_bitrev((uint32_t)m, f->middle);
        if (other < m) {
            continue;
        }
        struct cvec x[8];
        tile_load(x, f->re + 8 * m, f->im + 8 * m, f->row);
        if (back) {
            tile_backward(x, f);
        } else {
            tile_forward(x, f);
        }
        if (other == m) {
            tile_store(f->re + 8 * m, f->im + 8 * m, f->row, x);
            continue;
        }
        tile_store(wait_re, wait_im, 8, x);
        tile_load(x, f->re + 8 * other, f->im + 8 * other, f->row);
        if (back) {
            tile_backward(x, f);
        } else {
            tile_forward(x, f);
        }
        tile_store(f->re + 8 * m, f->im + 8 * m, f->row, x);
        tile_load(x, wait_re, wait_im, 8);
        tile_store(f->re + 8 * other, f->im + 8 * other, f->row, x);
    }
}

/* ---- the other steps */

INLINE void one_step(double *re, double *im, size_t size, size_t h, const struct plan *f, int back)
{
    for (size_t block = 0; block < size; block += 2 * h) {
        for (size_t j = block; j < block + h; j += 8) {
            struct cvec w = c_load(f->wr + h + (j - block), f->wi + h + (j - block));
            struct cvec a = c_load(re + j, im + j);
            struct cvec b = c_load(re + j + h, im + j + h);
            if (back) {
                backward(&a, &b, w);
            } else {
                forward(&a, &b, w);
            }
            c_store(re + j, im + j, a);
            c_store(re + j + h, im + j + h, b);
        }
    }
}

/* Steps h and 2h, in the order of the direction. */
INLINE void two_steps(double *re, double *im, size_t size, size_t h, const struct plan *f, int back)
{
    for (size_t block = 0; block < size; block += 4 * h) {
        for (size_t j = 0; j < h; j += 8) {
            double *r = re + block + j;
            double *i = im + block + j;
            struct cvec w = c_load(f->wr + h + j, f->wi + h + j);
            struct cvec v = c_load(f->wr + 2 * h + j, f->wi + 2 * h + j);
            struct cvec x0 = c_load(r, i);
            struct cvec x1 = c_load(r + h, i + h);
            struct cvec x2 = c_load(r + 2 * h, i + 2 * h);
            struct cvec x3 = c_load(r + 3 * h, i + 3 * h);
            if (back) {
                backward(&x0, &x2, v);
                backward_turned(&x1, &x3, v);
                backward(&x0, &x1, w);
                backward(&x2, &x3, w);
            } else {
                forward(&x0, &x1, w);
                forward(&x2, &x3, w);
                forward(&x0, &x2, v);
                forward_turned(&x1, &x3, v);
            }
            c_store(r, i, x0);
            c_store(r + h, i + h, x1);
            c_store(r + 2 * h, i + 2 * h, x2);
            c_store(r + 3 * h, i + 3 * h, x3);
        }
    }
}

/* Steps 8 .. chunk/2 of each piece. Of an odd number of steps the smallest is alone. */
INLINE void pieces(const struct plan *f, size_t p, unsigned log_chunk, int back)
{
    size_t chunk = (size_t)1 << log_chunk;
    size_t first = log_chunk % 2 == 0 ? 16 : 8;
    for (size_t at = 0; at < p; at += chunk) {
        double *re = f->re + at;
        double *im = f->im + at;
        if (back) {
            for (size_t h = chunk / 4; h >= first; h /= 4) {
                two_steps(re, im, chunk, h, f, 1);
            }
        }
        if (first == 16) {
            one_step(re, im, chunk, 8, f, back);
        }
        if (!back) {
            for (size_t h = first; h < chunk; h *= 4) {
                two_steps(re, im, chunk, h, f, 0);
            }
        }
    }
}

/* The steps of the whole are an even number. */
static unsigned chunk_of(unsigned log_p)
{
    return log_p <= LOG_CHUNK + 1 ? log_p : LOG_CHUNK + log_p % 2;
}

static struct plan plan_of(double *re, double *im, const double *root_re, const double *root_im,
                           unsigned log_p, double c)
{
    struct plan f = {
        re, im, root_re, root_im, (size_t)1 << (log_p - 3), log_p - 6, _mm512_set1_pd(c)};
    return f;
}

static void embed_avx512(double *re, double *im, const double *root_re, const double *root_im,
                         unsigned log_p)
{
    if (log_p < LOG_LEAST) {
        struct kernels ref;
        k_real_ref(&ref);
        ref.embed(re, im, root_re, root_im, log_p);
        return;
    }
    struct plan f = plan_of(re, im, root_re, root_im, log_p, 1.0);
    size_t p = (size_t)1 << log_p;
    unsigned log_chunk = chunk_of(log_p);
    tiles(&f, 0);
    pieces(&f, p, log_chunk, 0);
    for (size_t h = (size_t)1 << log_chunk; h < p; h *= 4) {
        two_steps(re, im, p, h, &f, 0);
    }
}

static void unembed_avx512(double *re, double *im, const double *root_re, const double *root_im,
                           unsigned log_p, double c)
{
    if (log_p < LOG_LEAST) {
        struct kernels ref;
        k_real_ref(&ref);
        ref.unembed(re, im, root_re, root_im, log_p, c);
        return;
    }
    struct plan f = plan_of(re, im, root_re, root_im, log_p, c);
    size_t p = (size_t)1 << log_p;
    unsigned log_chunk = chunk_of(log_p);
    for (size_t h = p / 4; h >= (size_t)1 << log_chunk; h /= 4) {
        two_steps(re, im, p, h, &f, 1);
    }
    pieces(&f, p, log_chunk, 1);
    tiles(&f, 1);
}

/* Without its sign a double is ordered as a word; the words of infinity and NaN are the largest. */
static double largest_avx512(const double *x, size_t n)
{
    __m512i top = _mm512_setzero_si512();
    __m512i size = _mm512_set1_epi64(INT64_MAX);
    for (size_t i = 0; i < n; i += 8) {
        unsigned lanes = n - i >= 8 ? 0xffu : (1u << (n - i)) - 1u;
        __m512i v = _mm512_maskz_loadu_epi64((__mmask8)lanes, (const void *)(x + i));
        top = _mm512_max_epu64(top, _mm512_and_si512(v, size));
    }
    uint64_t most = _mm512_reduce_max_epu64(top);
    union {
        uint64_t word;
        double real;
    } u = {most};
    return most >= UINT64_C(0x7ff0000000000000) ? INFINITY : u.real;
}

/* y w - b q for w < q and b = y (w/q) rounded, wq = w/q to within 2^-53; |y| <= 2^50. */
INLINE __m512d product(__m512d y, __m512d w, __m512d wq, __m512d q)
{
    __m512d h = _mm512_mul_pd(y, w);
    __m512d l = _mm512_fmsub_pd(y, w, h);
    __m512d b = _mm512_roundscale_pd(_mm512_mul_pd(y, wq), 0x08);
    return _mm512_add_pd(_mm512_fnmadd_pd(b, q, h), l);
}

/*
 * In doubles, which take fewer operations here than 52-bit integers; fp_avx2.h shows why all of it
 * is exact. Each product is within 3q/4 (1/2 and at most 2^50 2^-52 from the errors of b), so their
 * sum is within 3q/2, is q/2 and a little after it is reduced, and the negative ones get q added.
 */
static void from_double_avx512(uint64_t *out, const double *x, size_t n, const struct modulus *m)
{
    uint64_t c50 = mod_reduce52(UINT64_C(1) << 50, m);
    double ratio = ((double)mod_shoup(c50, m->q) + 0.5) * 0x1p-52;
    __m512d w = _mm512_set1_pd((double)c50);
    __m512d wq = _mm512_set1_pd(ratio);
    __m512d one = _mm512_set1_pd(1.0);
    __m512d ones = _mm512_set1_pd(((double)m->ones + 0.5) * 0x1p-52);
    __m512d q = _mm512_set1_pd((double)m->q);
    __m512d zero = _mm512_setzero_pd();
    __m512d down = _mm512_set1_pd(0x1p-50);
    __m512d up = _mm512_set1_pd(0x1p50);
    for (size_t i = 0; i < n; i += 8) {
        __mmask8 lanes = (__mmask8)(n - i >= 8 ? 0xffu : (1u << (n - i)) - 1u);
        __m512d y = _mm512_roundscale_pd(_mm512_maskz_loadu_pd(lanes, x + i), 0x08); /* nearest */
        __m512d h = _mm512_roundscale_pd(_mm512_mul_pd(y, down), 0x0b);              /* trunc */
        __m512d l = _mm512_fnmadd_pd(h, up, y);
        __m512d r = _mm512_add_pd(product(h, w, wq, q), product(l, one, ones, q));
        r = _mm512_fnmadd_pd(_mm512_roundscale_pd(_mm512_mul_pd(r, ones), 0x08), q, r);
        r = _mm512_mask_add_pd(r, _mm512_cmp_pd_mask(r, zero, _CMP_LT_OQ), r, q);
        _mm512_mask_storeu_epi64((void *)(out + i), lanes, _mm512_cvtpd_epi64(r));
    }
}

void k_real_avx512(struct kernels *k)
{
    k->embed = embed_avx512;
    k->unembed = unembed_avx512;
    k->largest = largest_avx512;
    k->from_double = from_double_avx512;
}
#else
typedef int k_no_fft_avx512; /* an empty unit is not C */
#endif
