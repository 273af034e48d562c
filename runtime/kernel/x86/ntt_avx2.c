/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Transforms in double arithmetic, four words a vector (fp_avx2.h). The output array holds doubles
 * between the passes. Plan: one radix-2 pass if the number of stages is odd, radix-4 passes depth
 * first down to blocks of 16 words, whose last four stages are done in registers: two between
 * vectors, a 4x4 transpose, two more, the transpose back. The inverse is the mirror image.
 *
 * Bounds, in units of q, K before a forward pass: x of the first stage is reduced to 1/2, so after
 * it everything is at most 1/2 + 1/2 + K/4; after the second at most 5/4 (1 + K/4) + 1/2, which is
 * 7/4 + 5K/16. K = 4 (the input) gives 3, and 3 gives 2.7: always at most 4. The last two stages use
 * f_mul, with 1 + 3K/8 and then 11/8 (1 + 3K/8) + 1/2 < 4. An inverse pass starts from at most
 * 0.51, sums double to 2.04, products are at most 1/2 + 3/8 * 2.04 < 1.3, and everything is reduced
 * at its end.
 */
#if defined(__x86_64__)
#include "fp_avx2.h"
#include "x86.h"

INLINE fvec load(const uint64_t *p)
{
    return _mm256_castsi256_pd(i_load(p));
}

INLINE void store(uint64_t *p, fvec x)
{
    i_store(p, _mm256_castpd_si256(x));
}

/* out lane u of vector v = in lane v of vector u. */
#define TRANSPOSE(x0, x1, x2, x3)                                                                  \
    do {                                                                                           \
        fvec t0 = _mm256_unpacklo_pd(x0, x1);                                                      \
        fvec t1 = _mm256_unpackhi_pd(x0, x1);                                                      \
        fvec t2 = _mm256_unpacklo_pd(x2, x3);                                                      \
        fvec t3 = _mm256_unpackhi_pd(x2, x3);                                                      \
        x0 = _mm256_permute2f128_pd(t0, t2, 0x20);                                                 \
        x1 = _mm256_permute2f128_pd(t1, t3, 0x20);                                                 \
        x2 = _mm256_permute2f128_pd(t0, t2, 0x31);                                                 \
        x3 = _mm256_permute2f128_pd(t1, t3, 0x31);                                                 \
    } while (0)

/* A twiddle for all lanes. */
struct twiddle {
    fvec w, wq;
};

INLINE struct twiddle twiddle_at(const struct ntt_table *t, size_t k)
{
    struct twiddle r = {f_all((double)t->w[k]), f_ratio(t->ws[k])};
    return r;
}

INLINE void forward(fvec *x, fvec *y, struct twiddle w, const struct fconsts *c)
{
    fvec r = f_mul_w(*y, w.w, w.wq, c);
    *y = _mm256_sub_pd(*x, r);
    *x = _mm256_add_pd(*x, r);
}

INLINE void forward_lanes(fvec *x, fvec *y, fvec w, const struct fconsts *c)
{
    fvec r = f_mul(*y, w, c);
    *y = _mm256_sub_pd(*x, r);
    *x = _mm256_add_pd(*x, r);
}

INLINE void inverse(fvec *x, fvec *y, struct twiddle w, const struct fconsts *c)
{
    fvec d = _mm256_sub_pd(*y, *x);
    *x = _mm256_add_pd(*x, *y);
    *y = f_mul_w(d, w.w, w.wq, c);
}

INLINE void inverse_lanes(fvec *x, fvec *y, fvec w, const struct fconsts *c)
{
    fvec d = _mm256_sub_pd(*y, *x);
    *x = _mm256_add_pd(*x, *y);
    *y = f_mul(d, w, c);
}

/*
 * Twiddles by lane for the four blocks of four words that begin at block 4b: `four` for the stage
 * between halves of such a block, `even` and `odd` for the last stage. Unpacking eight neighbours
 * gives lanes in the order of blocks 0, 2, 1, 3, so that is the order used everywhere here.
 */
struct lane_twiddles {
    fvec four, even, odd;
};

INLINE struct lane_twiddles lanes_at(const struct ntt_table *t, size_t size, size_t b)
{
    ivec lo = i_load(t->w + size / 2 + 8 * b);
    ivec hi = i_load(t->w + size / 2 + 8 * b + 4);
    struct lane_twiddles r;
    r.four = f_from(_mm256_permute4x64_epi64(i_load(t->w + size / 4 + 4 * b), 0xd8));
    r.even = f_from(_mm256_unpacklo_epi64(lo, hi));
    r.odd = f_from(_mm256_unpackhi_epi64(lo, hi));
    return r;
}

/* ---- forward */

static void forward_16(uint64_t *a, const struct ntt_table *t, size_t size, size_t b,
                       const struct fconsts *c)
{
    size_t k = size / 16 + b;
    struct twiddle w0 = twiddle_at(t, k);
    struct twiddle w1 = twiddle_at(t, 2 * k);
    struct twiddle w2 = twiddle_at(t, 2 * k + 1);
    struct lane_twiddles l = lanes_at(t, size, b);
    fvec x0 = f_reduce(load(a), c), x1 = f_reduce(load(a + 4), c);
    fvec x2 = load(a + 8), x3 = load(a + 12);
    forward(&x0, &x2, w0, c);
    forward(&x1, &x3, w0, c);
    forward(&x0, &x1, w1, c);
    forward(&x2, &x3, w2, c);
    TRANSPOSE(x0, x2, x1, x3); /* vector v of this order is now word v of each block */
    x0 = f_reduce(x0, c);
    x2 = f_reduce(x2, c);
    forward_lanes(&x0, &x1, l.four, c);
    forward_lanes(&x2, &x3, l.four, c);
    forward_lanes(&x0, &x2, l.even, c);
    forward_lanes(&x1, &x3, l.odd, c);
    x0 = f_canonical(x0, c);
    x1 = f_canonical(x1, c);
    x2 = f_canonical(x2, c);
    x3 = f_canonical(x3, c);
    TRANSPOSE(x0, x2, x1, x3);
    i_store(a, i_from(x0));
    i_store(a + 4, i_from(x1));
    i_store(a + 8, i_from(x2));
    i_store(a + 12, i_from(x3));
}

static void forward_block(uint64_t *a, unsigned log, size_t k, const struct ntt_table *t,
                          size_t size, const struct fconsts *c)
{
    if (log == 4) {
        forward_16(a, t, size, k - size / 16, c);
        return;
    }
    if (log % 2 == 1) {
        size_t step = (size_t)1 << (log - 1);
        struct twiddle w = twiddle_at(t, k);
        for (size_t j = 0; j < step; j += 4) {
            fvec x = f_reduce(load(a + j), c), y = load(a + step + j);
            forward(&x, &y, w, c);
            store(a + j, x);
            store(a + step + j, y);
        }
        forward_block(a, log - 1, 2 * k, t, size, c);
        forward_block(a + step, log - 1, 2 * k + 1, t, size, c);
        return;
    }
    size_t step = (size_t)1 << (log - 2);
    struct twiddle w0 = twiddle_at(t, k);
    struct twiddle w1 = twiddle_at(t, 2 * k);
    struct twiddle w2 = twiddle_at(t, 2 * k + 1);
    for (uint64_t *p = a; p < a + step; p += 4) {
        fvec x0 = f_reduce(load(p), c), x1 = f_reduce(load(p + step), c);
        fvec x2 = load(p + 2 * step), x3 = load(p + 3 * step);
        forward(&x0, &x2, w0, c);
        forward(&x1, &x3, w0, c);
        forward(&x0, &x1, w1, c);
        forward(&x2, &x3, w2, c);
        store(p, x0);
        store(p + step, x1);
        store(p + 2 * step, x2);
        store(p + 3 * step, x3);
    }
    for (size_t i = 0; i < 4; i++) {
        forward_block(a + i * step, log - 2, 4 * k + i, t, size, c);
    }
}

static void ntt_avx2(uint64_t *out, const uint64_t *in, const struct ntt_table *t, unsigned log_m)
{
    if (log_m < 4) {
        struct kernels ref;
        k_init_ref(&ref);
        ref.ntt(out, in, t, log_m);
        return;
    }
    size_t size = (size_t)1 << log_m;
    struct fconsts c = f_consts(t->mod.q);
    for (size_t i = 0; i < size; i += 4) {
        store(out + i, f_from(i_load(in + i)));
    }
    forward_block(out, log_m, 1, t, size, &c);
}

static void ntt_i32_avx2(uint64_t *out, const int32_t *in, const struct ntt_table *t,
                         unsigned log_m)
{
    struct kernels k;
    k_init_ref(&k);
    k.ntt = ntt_avx2;
    k_ntt_i32_with(&k, out, in, t, log_m);
}

/* ---- inverse */

/* Block b of 16 words. Rows are taken in reversed order, so lanes meet the mirrored block's
 * twiddles. */
static void inverse_16(uint64_t *out, const uint64_t *in, const struct ntt_table *t, size_t size,
                       size_t b, const struct fconsts *c)
{
    size_t mirror = size / 16 - 1 - b;
    size_t k = 2 * (size / 16) - 1 - b;
    struct twiddle w0 = twiddle_at(t, k);
    struct twiddle w1 = twiddle_at(t, 2 * k + 1);
    struct twiddle w2 = twiddle_at(t, 2 * k);
    struct lane_twiddles l = lanes_at(t, size, mirror);
    fvec x0 = f_reduce(f_from(i_load(in + 12)), c), x1 = f_reduce(f_from(i_load(in + 8)), c);
    fvec x2 = f_reduce(f_from(i_load(in + 4)), c), x3 = f_reduce(f_from(i_load(in)), c);
    TRANSPOSE(x0, x2, x1, x3);
    inverse_lanes(&x0, &x2, l.odd, c);
    inverse_lanes(&x1, &x3, l.even, c);
    inverse_lanes(&x0, &x1, l.four, c);
    inverse_lanes(&x2, &x3, l.four, c);
    TRANSPOSE(x0, x2, x1, x3);
    x0 = f_reduce(x0, c);
    x1 = f_reduce(x1, c);
    x2 = f_reduce(x2, c);
    x3 = f_reduce(x3, c);
    inverse(&x3, &x2, w1, c);
    inverse(&x1, &x0, w2, c);
    inverse(&x3, &x1, w0, c);
    inverse(&x2, &x0, w0, c);
    store(out, f_reduce(x3, c));
    store(out + 4, f_reduce(x2, c));
    store(out + 8, f_reduce(x1, c));
    store(out + 12, f_reduce(x0, c));
}

/* Block number `block` of size 2^log; leaves doubles of at most 0.51 q. */
static void inverse_block(uint64_t *out, const uint64_t *in, unsigned log, size_t block,
                          const struct ntt_table *t, size_t size, const struct fconsts *c)
{
    if (log == 4) {
        inverse_16(out, in, t, size, block, c);
        return;
    }
    size_t k = 2 * (size >> log) - 1 - block;
    if (log % 2 == 1) {
        size_t step = (size_t)1 << (log - 1);
        struct twiddle w = twiddle_at(t, k);
        inverse_block(out, in, log - 1, 2 * block, t, size, c);
        inverse_block(out + step, in + step, log - 1, 2 * block + 1, t, size, c);
        for (size_t j = 0; j < step; j += 4) {
            fvec x = load(out + j), y = load(out + step + j);
            inverse(&x, &y, w, c);
            store(out + j, f_reduce(x, c));
            store(out + step + j, f_reduce(y, c));
        }
        return;
    }
    size_t step = (size_t)1 << (log - 2);
    for (size_t i = 0; i < 4; i++) {
        inverse_block(out + i * step, in + i * step, log - 2, 4 * block + i, t, size, c);
    }
    struct twiddle w0 = twiddle_at(t, k);
    struct twiddle w1 = twiddle_at(t, 2 * k + 1);
    struct twiddle w2 = twiddle_at(t, 2 * k);
    for (uint64_t *p = out; p < out + step; p += 4) {
        fvec x0 = load(p), x1 = load(p + step), x2 = load(p + 2 * step), x3 = load(p + 3 * step);
        inverse(&x0, &x1, w1, c);
        inverse(&x2, &x3, w2, c);
        inverse(&x0, &x2, w0, c);
        inverse(&x1, &x3, w0, c);
        store(p, f_reduce(x0, c));
        store(p + step, f_reduce(x1, c));
        store(p + 2 * step, f_reduce(x2, c));
        store(p + 3 * step, f_reduce(x3, c));
    }
}

static void intt_avx2(uint64_t *out, const uint64_t *in, const struct ntt_table *t, unsigned log_m,
                      uint64_t constant)
{
    if (log_m < 4) {
        struct kernels ref;
        k_init_ref(&ref);
        ref.intt(out, in, t, log_m, constant);
        return;
    }
    size_t size = (size_t)1 << log_m;
    struct fconsts c = f_consts(t->mod.q);
    inverse_block(out, in, log_m, 0, t, size, &c);
    fvec f = f_all((double)mod_mul(constant, t->m_inv[log_m], &t->mod));
    for (size_t i = 0; i < size; i += 4) {
        i_store(out + i, i_from(f_canonical(f_mul(load(out + i), f, &c), &c)));
    }
}

void k_ntt_avx2(struct kernels *k)
{
    k->ntt = ntt_avx2;
    k->ntt_i32 = ntt_i32_avx2;
    k->intt = intt_avx2;
}
#else
typedef int k_no_ntt_avx2; /* an empty unit is not C */
#endif
