/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The special FFT with AVX2, four numbers a vector, and reals to residues. fft_avx512.c explains
 * the transform; here tiles are 4 x 4 and hold the steps h = 1 and 2.
 */
#if defined(__x86_64__)
#include "fp_avx2.h"
#include "kernel/kernel.h"

#include <math.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#define LOG_CHUNK 10u /* or one more: an even number of steps is left for the whole */
#define LOG_LEAST 4u  /* a tile */

/* Four complex numbers. */
struct cvec {
    fvec re, im;
};

INLINE struct cvec c_load(const double *re, const double *im)
{
    struct cvec x = {_mm256_loadu_pd(re), _mm256_loadu_pd(im)};
    return x;
}

INLINE void c_store(double *re, double *im, struct cvec x)
{
    _mm256_storeu_pd(re, x.re);
    _mm256_storeu_pd(im, x.im);
}

INLINE struct cvec c_all(const double *re, const double *im, size_t i)
{
    struct cvec x = {_mm256_set1_pd(re[i]), _mm256_set1_pd(im[i])};
    return x;
}

INLINE struct cvec c_add(struct cvec x, struct cvec y)
{
    struct cvec z = {_mm256_add_pd(x.re, y.re), _mm256_add_pd(x.im, y.im)};
    return z;
}

INLINE struct cvec c_sub(struct cvec x, struct cvec y)
{
    struct cvec z = {_mm256_sub_pd(x.re, y.re), _mm256_sub_pd(x.im, y.im)};
    return z;
}

INLINE struct cvec c_mul(struct cvec x, struct cvec w)
{
    struct cvec z = {_mm256_sub_pd(_mm256_mul_pd(x.re, w.re), _mm256_mul_pd(x.im, w.im)),
                     _mm256_add_pd(_mm256_mul_pd(x.re, w.im), _mm256_mul_pd(x.im, w.re))};
    return z;
}

/* x conj(w) */
INLINE struct cvec c_mul_conj(struct cvec x, struct cvec w)
{
    struct cvec z = {_mm256_add_pd(_mm256_mul_pd(x.re, w.re), _mm256_mul_pd(x.im, w.im)),
                     _mm256_sub_pd(_mm256_mul_pd(x.im, w.re), _mm256_mul_pd(x.re, w.im))};
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
    a->re = _mm256_add_pd(x.re, t.im);
    a->im = _mm256_sub_pd(x.im, t.re);
    b->re = _mm256_sub_pd(x.re, t.im);
    b->im = _mm256_add_pd(x.im, t.re);
}

/* conj(-i w) d = i conj(w) d */
INLINE void backward_turned(struct cvec *a, struct cvec *b, struct cvec w)
{
    struct cvec d = c_sub(*a, *b);
    *a = c_add(*a, *b);
    b->re = _mm256_sub_pd(_mm256_mul_pd(d.re, w.im), _mm256_mul_pd(d.im, w.re));
    b->im = _mm256_add_pd(_mm256_mul_pd(d.re, w.re), _mm256_mul_pd(d.im, w.im));
}

/* ---- the steps h = 1, 2 and the reversal of bits */

INLINE void transpose(fvec x[4])
{
    fvec t0 = _mm256_unpacklo_pd(x[0], x[1]);
    fvec t1 = _mm256_unpackhi_pd(x[0], x[1]);
    fvec t2 = _mm256_unpacklo_pd(x[2], x[3]);
    fvec t3 = _mm256_unpackhi_pd(x[2], x[3]);
    x[0] = _mm256_permute2f128_pd(t0, t2, 0x20);
    x[1] = _mm256_permute2f128_pd(t1, t3, 0x20);
    x[2] = _mm256_permute2f128_pd(t0, t2, 0x31);
    x[3] = _mm256_permute2f128_pd(t1, t3, 0x31);
}

INLINE void transpose_both(struct cvec x[4])
{
    fvec re[4] = {x[0].re, x[1].re, x[2].re, x[3].re};
    fvec im[4] = {x[0].im, x[1].im, x[2].im, x[3].im};
    transpose(re);
    transpose(im);
    for (int i = 0; i < 4; i++) {
        x[i].re = re[i];
        x[i].im = im[i];
    }
}

static const size_t reversed[4] = {0, 2, 1, 3};

/* Where a transform's tiles are and what its steps multiply by. */
struct plan {
    double *re, *im;
    const double *wr, *wi;
    size_t row;      /* p/4 */
    unsigned middle; /* bits of m */
    fvec c;
};

INLINE void tile_load(struct cvec x[4], const double *re, const double *im, size_t row)
{
    for (size_t i = 0; i < 4; i++) {
        x[i] = c_load(re + reversed[i] * row, im + reversed[i] * row);
    }
}

INLINE void tile_store(double *re, double *im, size_t row, const struct cvec x[4])
{
    for (size_t i = 0; i < 4; i++) {
        c_store(re + reversed[i] * row, im + reversed[i] * row, x[i]);
    }
}

INLINE void tile_forward(struct cvec x[4], const struct plan *f)
{
    forward(&x[0], &x[1], c_all(f->wr, f->wi, 1));
    forward(&x[2], &x[3], c_all(f->wr, f->wi, 1));
    forward(&x[0], &x[2], c_all(f->wr, f->wi, 2));
    forward(&x[1], &x[3], c_all(f->wr, f->wi, 3));
    transpose_both(x);
}

INLINE void tile_backward(struct cvec x[4], const struct plan *f)
{
    transpose_both(x);
    backward(&x[0], &x[2], c_all(f->wr, f->wi, 2));
    backward(&x[1], &x[3], c_all(f->wr, f->wi, 3));
    backward(&x[0], &x[1], c_all(f->wr, f->wi, 1));
    backward(&x[2], &x[3], c_all(f->wr, f->wi, 1));
    for (size_t i = 0; i < 4; i++) {
        x[i].re = _mm256_mul_pd(x[i].re, f->c);
        x[i].im = _mm256_mul_pd(x[i].im, f->c);
    }
}

/* Tile m to the place of tile ~m and the other way round; the first waits in memory of its own,
 * there are not registers for two. */
INLINE void tiles(const struct plan *f, int back)
{
    double wait_re[16], wait_im[16];
    for (size_t m = 0; m < f->row / 4; m++) {
        size_t other = mod_bitrev((uint32_t)m, f->middle);
        if (other < m) {
            continue;
        }
        struct cvec x[4];
        tile_load(x, f->re + 4 * m, f->im + 4 * m, f->row);
        if (back) {
            tile_backward(x, f);
        } else {
            tile_forward(x, f);
        }
        if (other == m) {
            tile_store(f->re + 4 * m, f->im + 4 * m, f->row, x);
            continue;
        }
        tile_store(wait_re, wait_im, 4, x);
        tile_load(x, f->re + 4 * other, f->im + 4 * other, f->row);
        if (back) {
            tile_backward(x, f);
        } else {
            tile_forward(x, f);
        }
        tile_store(f->re + 4 * m, f->im + 4 * m, f->row, x);
        tile_load(x, wait_re, wait_im, 4);
        tile_store(f->re + 4 * other, f->im + 4 * other, f->row, x);
    }
}

/* ---- the other steps */

INLINE void one_step(double *re, double *im, size_t size, size_t h, const struct plan *f, int back)
{
    for (size_t block = 0; block < size; block += 2 * h) {
        for (size_t j = block; j < block + h; j += 4) {
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
        for (size_t j = 0; j < h; j += 4) {
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

/* Steps 4 .. chunk/2 of each piece. Of an odd number of steps the smallest is alone. */
INLINE void pieces(const struct plan *f, size_t p, unsigned log_chunk, int back)
{
    size_t chunk = (size_t)1 << log_chunk;
    size_t first = log_chunk % 2 == 0 ? 4 : 8;
    for (size_t at = 0; at < p; at += chunk) {
        double *re = f->re + at;
        double *im = f->im + at;
        if (back) {
            for (size_t h = chunk / 4; h >= first; h /= 4) {
                two_steps(re, im, chunk, h, f, 1);
            }
        }
        if (first == 8) {
            one_step(re, im, chunk, 4, f, back);
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
        re, im, root_re, root_im, (size_t)1 << (log_p - 2), log_p - 4, _mm256_set1_pd(c)};
    return f;
}

static void embed_avx2(double *re, double *im, const double *root_re, const double *root_im,
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

static void unembed_avx2(double *re, double *im, const double *root_re, const double *root_im,
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
static double largest_avx2(const double *x, size_t n)
{
    ivec size = i_all(INT64_MAX);
    ivec top = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        ivec v = _mm256_and_si256(_mm256_castpd_si256(_mm256_loadu_pd(x + i)), size);
        ivec more = _mm256_cmpgt_epi64(v, top); /* no sign bits are set */
        top = _mm256_blendv_epi8(top, v, more);
    }
    double lane[4];
    _mm256_storeu_pd(lane, _mm256_castsi256_pd(top));
    struct kernels ref;
    k_real_ref(&ref);
    return fmax(ref.largest(lane, 4), ref.largest(x + i, n - i));
}

/*
 * Both parts of a number (kernel.h) times their constants, each within 3q/2 as in vec_avx2.c's
 * mul_const: |h| <= 2^50 and |l| < 2^50 are smaller than the words there, of either sign.
 */
static void from_double_avx2(uint64_t *out, const double *x, size_t n, const struct modulus *m)
{
    struct fconsts c = f_consts(m->q);
    uint64_t c50 = mod_reduce52(UINT64_C(1) << 50, m);
    fvec w = f_all((double)c50);
    fvec ws = f_ratio(mod_shoup(c50, m->q));
    fvec one = f_all(1.0);
    fvec ones = f_ratio(m->ones);
    size_t i = 0;
    for (; i + 4 <= n; i += 4) {
        fvec y = f_round(_mm256_loadu_pd(x + i));
        fvec h = _mm256_mul_pd(y, f_all(0x1p-50));
        h = _mm256_round_pd(h, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC);
        fvec l = _mm256_sub_pd(y, _mm256_mul_pd(h, f_all(0x1p50)));
        fvec r = _mm256_add_pd(f_mul_w(h, w, ws, &c), f_mul_w(l, one, ones, &c));
        i_store(out + i, i_from(f_canonical(r, &c)));
    }
    if (i < n) {
        struct kernels ref;
        k_real_ref(&ref);
        ref.from_double(out + i, x + i, n - i, m);
    }
}

void k_real_avx2(struct kernels *k)
{
    k->embed = embed_avx2;
    k->unembed = unembed_avx2;
    k->largest = largest_avx2;
    k->from_double = from_double_avx2;
}
#else
typedef int k_no_fft_avx2; /* an empty unit is not C */
#endif
