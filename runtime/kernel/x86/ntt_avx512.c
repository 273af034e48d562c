/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Transforms with 52-bit multiply-add (AVX-512 IFMA): eight words a vector.
 *
 * Plan for size 2^L. The first L - 6 stages go in passes of one to three stages (radix 2, 4, 8),
 * each a load and a store of every word; a pass over a block leaves smaller blocks that are
 * finished one after the other, so that all but the first one or two passes work in the first-level
 * cache. A last radix-8 pass takes blocks of 64 words to blocks of eight; the tail transposes eight
 * of those, so that block v is in lane v, does their three stages, and transposes back.
 *
 *     2^15:  8 | 8 | 8 | 8 | T 8 T         2^16:  4 | 4 | 8 | 8 | 8 | T 8 T
 *
 * A butterfly is a chain of ten cycles and costs about two, so what a pass keeps in flight decides
 * its time: passes and tails work on sixteen vectors, stage by stage. The 64-word pass and the
 * tail could share their registers; measured, that gains nothing.
 *
 * The inverse is the mirror image. It reads the blocks of eight in reversed order, so that lane v
 * of a forward twiddle vector is the one it needs (see struct ntt_table in kernel.h).
 *
 * Ranges. w y mod q is in [0, 2q) for any y < 2^52. There are two versions of each transform:
 *   - tight, q < 2^50: words are in [0, 4q) between forward stages and [0, 2q) between inverse
 *     stages, as in ref.c;
 *   - loose, q < 2^48 (so 16q < 2^52): forward words grow by 2q a stage and are brought below 8q
 *     only at the first stage of a pass (at most three stages: below 14q at its end); inverse words
 *     double a stage from 2q to at most 16q within a radix-8 pass and are brought back below 2q at
 *     its end. Loose words are right modulo 2^52 only: sums and products need no more, and the mask
 *     is left to the few places that compare (forward_start, finish_one, inverse_last).
 */
#if defined(__x86_64__)
#include "ntt_avx512.h"

/* ---- forward */

/* How many stages the next pass takes when `left` stages stand before the last six. */
static unsigned pass_stages(unsigned left)
{
    return left == 1 ? 1 : left % 3 == 0 ? 3 : 2;
}

/* The block of size 2^log whose first twiddle has index k = size / 2^log + (number of the block).
 * narrow: as of load_from. */
INLINE void forward_block(uint64_t *out, const void *in, unsigned log, size_t k,
                          const struct plan *p, int tight, int narrow,
                          void (*next)(uint64_t *, const uint64_t *, unsigned, size_t,
                                       const struct plan *))
{
    const struct finish plain = {NULL, all(0), all(0), false};
    unsigned s = pass_stages(log - 6);
    size_t step = (size_t)1 << (log - s);
    if (s == 3) {
        forward_take8(out, step, in, step, k, p, tight, narrow);
    } else if (s == 2) {
        forward_take4(out, step, in, step, k, p, tight, narrow);
    } else {
        forward_take2(out, step, in, step, k, p, tight, narrow);
    }
    if (log - s == 6) {
        for (size_t i = 0; i < (size_t)1 << s; i += 2) {
            forward_pass64(out + i * step, (k << s) + i, p, tight);
        }
        for (size_t i = 0; i < (size_t)1 << s; i += 2) {
            forward_tails(out + i * step, out + i * step, p, (k << s) + i - p->size / 64, tight,
                          &plain);
        }
        return;
    }
    for (size_t i = 0; i < (size_t)1 << s; i++) {
        next(out + i * step, out + i * step, log - s, (k << s) + i, p);
    }
}

static void forward_tight(uint64_t *out, const uint64_t *in, unsigned log, size_t k,
                          const struct plan *p)
{
    forward_block(out, in, log, k, p, 1, 0, forward_tight);
}

static void forward_loose(uint64_t *out, const uint64_t *in, unsigned log, size_t k,
                          const struct plan *p)
{
    forward_block(out, in, log, k, p, 0, 0, forward_loose);
}

static void ntt_avx512(uint64_t *out, const uint64_t *in, const struct ntt_table *t, unsigned log_m)
{
    if (log_m < 7) {
        struct kernels ref;
        k_init_ref(&ref);
        ref.ntt(out, in, t, log_m);
        return;
    }
    struct plan p;
    plan_start(&p, t, log_m);
    if (t->mod.bits <= 48) {
        forward_loose(out, in, log_m, 1, &p);
    } else {
        forward_tight(out, in, log_m, 1, &p);
    }
}

static void ntt_i32_avx512(uint64_t *out, const int32_t *in, const struct ntt_table *t,
                           unsigned log_m)
{
    if (log_m < 7 || t->mod.bits < 32) {
        struct kernels k;
        k_init_ref(&k);
        k_init_avx512(&k);
        k_ntt_i32_with(&k, out, in, t, log_m);
        return;
    }
    struct plan p;
    plan_start(&p, t, log_m);
    if (t->mod.bits <= 48) {
        forward_block(out, in, log_m, 1, &p, 0, 1, forward_loose);
    } else {
        forward_block(out, in, log_m, 1, &p, 1, 1, forward_tight);
    }
}

/* ---- inverse */

/*
 * x' = x + y, y' = (y - x) w; x, y < bound, a multiple of q. tight: x' brought below 2q. Loose
 * words are right modulo 2^52 only, as in the forward transform; nothing compares them before the
 * end.
 */
INLINE void inverse(vec *x, vec *y, vec w, vec ws, const struct consts *c, vec bound, int tight)
{
    vec s = _mm512_add_epi64(*x, *y);
    vec d = _mm512_sub_epi64(_mm512_add_epi64(*y, bound), *x);
    *x = tight ? once(s, c->q2) : s;
    *y = tight ? mul_w(d, w, ws, c) : mul_part(d, w, ws, c);
}

/* The bounds of words that are sums of two and of four; tight words are always below 2q. */
INLINE vec twice(const struct consts *c, int tight)
{
    return tight ? c->q2 : c->q4;
}

INLINE vec fourfold(const struct consts *c, int tight)
{
    return tight ? c->q2 : c->q8;
}

/* The three stages of a radix-8 pass; w is indexed from k, 2k and 4k on. */
INLINE void inverse_8a(vec x[8], size_t k, const struct plan *p, int tight)
{
    const uint64_t *w = p->w + 4 * k, *ws = p->ws + 4 * k;
    inverse(&x[0], &x[1], all(w[3]), all(ws[3]), &p->c, p->c.q2, tight);
    inverse(&x[2], &x[3], all(w[2]), all(ws[2]), &p->c, p->c.q2, tight);
    inverse(&x[4], &x[5], all(w[1]), all(ws[1]), &p->c, p->c.q2, tight);
    inverse(&x[6], &x[7], all(w[0]), all(ws[0]), &p->c, p->c.q2, tight);
}

INLINE void inverse_8b(vec x[8], size_t k, const struct plan *p, int tight)
{
    const uint64_t *w = p->w + 2 * k, *ws = p->ws + 2 * k;
    inverse(&x[0], &x[2], all(w[1]), all(ws[1]), &p->c, twice(&p->c, tight), tight);
    inverse(&x[1], &x[3], all(w[1]), all(ws[1]), &p->c, p->c.q2, tight);
    inverse(&x[4], &x[6], all(w[0]), all(ws[0]), &p->c, twice(&p->c, tight), tight);
    inverse(&x[5], &x[7], all(w[0]), all(ws[0]), &p->c, p->c.q2, tight);
}

/*
 * After three loose stages x0 < 16q, x1 < 8q, x2, x3 < 4q and the others < 2q; all below 2q again.
 */
INLINE void inverse_8c(vec x[8], vec w, vec ws, const struct plan *p, int tight)
{
    inverse(&x[0], &x[4], w, ws, &p->c, fourfold(&p->c, tight), tight);
    inverse(&x[1], &x[5], w, ws, &p->c, twice(&p->c, tight), tight);
    inverse(&x[2], &x[6], w, ws, &p->c, p->c.q2, tight);
    inverse(&x[3], &x[7], w, ws, &p->c, p->c.q2, tight);
    if (!tight) {
        x[0] = settle(x[0], p);
        x[1] = settle(x[1], p);
        x[2] = settle(x[2], p);
        x[3] = settle(x[3], p);
    }
}

INLINE void inverse_times(vec *x, vec *y, vec w, vec ws, size_t e, const struct plan *p, vec bound,
                          int tight)
{
    const struct consts *c = &p->c;
    vec s = _mm512_add_epi64(*x, *y);
    vec d = times(_mm512_sub_epi64(_mm512_add_epi64(*y, bound), *x), e, p);
    *x = tight ? once(s, c->q2) : s;
    *y = tight ? mul_w(d, w, ws, c) : mul_part(d, w, ws, c);
}

INLINE void inverse_tail_a(vec x[8], const uint64_t *tail, const struct plan *p, int tight)
{
    vec w = load(tail + 32), ws = load(tail + 40);
    inverse_times(&x[0], &x[1], w, ws, 3, p, p->c.q2, tight);
    inverse_times(&x[2], &x[3], w, ws, 2, p, p->c.q2, tight);
    inverse_times(&x[4], &x[5], w, ws, 1, p, p->c.q2, tight);
    inverse(&x[6], &x[7], w, ws, &p->c, p->c.q2, tight);
}

INLINE void inverse_tail_b(vec x[8], const uint64_t *tail, const struct plan *p, int tight)
{
    vec w = load(tail + 16), ws = load(tail + 24);
    inverse_times(&x[0], &x[2], w, ws, 1, p, twice(&p->c, tight), tight);
    inverse_times(&x[1], &x[3], w, ws, 1, p, p->c.q2, tight);
    inverse(&x[4], &x[6], w, ws, &p->c, twice(&p->c, tight), tight);
    inverse(&x[5], &x[7], w, ws, &p->c, p->c.q2, tight);
}

/* Rows in reversed order: lane v is the block of eight number 7 - v. */
INLINE void inverse_load(vec x[8], const uint64_t *in)
{
    x[7] = load(in);
    x[6] = load(in + 8);
    x[5] = load(in + 16);
    x[4] = load(in + 24);
    x[3] = load(in + 32);
    x[2] = load(in + 40);
    x[1] = load(in + 48);
    x[0] = load(in + 56);
    TRANSPOSE(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]);
}

INLINE void inverse_store(uint64_t *out, vec x[8])
{
    TRANSPOSE(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7]);
    store(out, x[7]);
    store(out + 8, x[6]);
    store(out + 16, x[5]);
    store(out + 24, x[4]);
    store(out + 32, x[3]);
    store(out + 40, x[2]);
    store(out + 48, x[1]);
    store(out + 56, x[0]);
}

/* The twiddles of a block: those of the forward block that mirrors it. */
INLINE const uint64_t *inverse_tail_of(uint64_t local[K_TAIL_WORDS], const struct plan *p,
                                       size_t block)
{
    size_t mirror = p->size / 64 - 1 - block;
    if (p->tail == NULL) {
        tail_build(local, p->w, p->ws, p->size, mirror);
        return local;
    }
    const uint64_t *tail = p->tail + K_TAIL_WORDS * mirror;
    if (mirror >= AHEAD) {
        prefetch(tail - K_TAIL_WORDS * AHEAD, K_TAIL_WORDS);
    }
    return tail;
}

/* The first three inverse stages of two neighbouring blocks of 64 words. */
INLINE void inverse_tails(uint64_t *out, const uint64_t *in, const struct plan *p, size_t block,
                          int tight)
{
    uint64_t local[2][K_TAIL_WORDS];
    const uint64_t *s = inverse_tail_of(local[0], p, block);
    const uint64_t *t = inverse_tail_of(local[1], p, block + 1);
    vec x[8], y[8];
    inverse_load(x, in);
    inverse_load(y, in + 64);
    inverse_tail_a(x, s, p, tight);
    inverse_tail_a(y, t, p, tight);
    inverse_tail_b(x, s, p, tight);
    inverse_tail_b(y, t, p, tight);
    inverse_8c(x, load(s), load(s + 8), p, tight);
    inverse_8c(y, load(t), load(t + 8), p, tight);
    inverse_store(out, x);
    inverse_store(out + 64, y);
}

/* The last stage with the final factor: x' = (x + y) f, y' = (y - x) w f, canonical. */
INLINE void inverse_last(vec *x, vec *y, const struct plan *p, vec bound)
{
    const struct consts *c = &p->c;
    vec s = _mm512_add_epi64(*x, *y);
    vec d = _mm512_sub_epi64(_mm512_add_epi64(*y, bound), *x);
    *x = once(mul_w(s, all(p->f), all(p->fs), c), c->q);
    *y = once(mul_w(d, all(p->g), all(p->gs), c), c->q);
}

INLINE void inverse_8last(vec x[8], const struct plan *p, int tight)
{
    inverse_last(&x[0], &x[4], p, fourfold(&p->c, tight));
    inverse_last(&x[1], &x[5], p, twice(&p->c, tight));
    inverse_last(&x[2], &x[6], p, p->c.q2);
    inverse_last(&x[3], &x[7], p, p->c.q2);
}

/* In place; step is a multiple of 16. */
INLINE void inverse_pass8(uint64_t *a, size_t step, size_t k, const struct plan *p, int tight,
                          int last)
{
    for (size_t j = 0; j < step; j += 16, a += 16) {
        vec x[8], y[8];
        load_rows(x, a, step);
        load_rows(y, a + 8, step);
        inverse_8a(x, k, p, tight);
        inverse_8a(y, k, p, tight);
        inverse_8b(x, k, p, tight);
        inverse_8b(y, k, p, tight);
        if (last) {
            inverse_8last(x, p, tight);
            inverse_8last(y, p, tight);
        } else {
            inverse_8c(x, all(p->w[k]), all(p->ws[k]), p, tight);
            inverse_8c(y, all(p->w[k]), all(p->ws[k]), p, tight);
        }
        store_rows(a, step, x);
        store_rows(a + 8, step, y);
    }
}

/* Two neighbouring blocks of 64 words; their twiddles begin with k and k - 1. */
INLINE void inverse_pass64(uint64_t *a, size_t k, const struct plan *p, int tight)
{
    vec x[8], y[8];
    load_rows(x, a, 8);
    load_rows(y, a + 64, 8);
    inverse_8a(x, k, p, tight);
    inverse_8a(y, k - 1, p, tight);
    inverse_8b(x, k, p, tight);
    inverse_8b(y, k - 1, p, tight);
    inverse_8c(x, all(p->w[k]), all(p->ws[k]), p, tight);
    inverse_8c(y, all(p->w[k - 1]), all(p->ws[k - 1]), p, tight);
    store_rows(a, 8, x);
    store_rows(a + 64, 8, y);
}

/* Two stages; step is a multiple of 32. */
INLINE void inverse_pass4(uint64_t *a, size_t step, size_t k, const struct plan *p, int tight,
                          int last)
{
    const struct consts *c = &p->c;
    for (size_t j = 0; j < step; j += 32, a += 32) {
        vec x[16];
        for (size_t v = 0; v < 16; v++) {
            x[v] = load(a + v / 4 * step + v % 4 * 8);
        }
        vec w0 = all(p->w[2 * k + 1]), w0s = all(p->ws[2 * k + 1]);
        vec w1 = all(p->w[2 * k]), w1s = all(p->ws[2 * k]);
        for (size_t v = 0; v < 4; v++) {
            inverse(&x[v], &x[v + 4], w0, w0s, c, c->q2, tight);
            inverse(&x[v + 8], &x[v + 12], w1, w1s, c, c->q2, tight);
        }
        vec w = all(p->w[k]), ws = all(p->ws[k]);
        for (size_t v = 0; v < 8; v++) {
            vec bound = v < 4 ? twice(c, tight) : c->q2;
            if (last) {
                inverse_last(&x[v], &x[v + 8], p, bound);
            } else {
                inverse(&x[v], &x[v + 8], w, ws, c, bound, tight);
                x[v] = tight ? x[v] : settle(x[v], p);
            }
        }
        for (size_t v = 0; v < 16; v++) {
            store(a + v / 4 * step + v % 4 * 8, x[v]);
        }
    }
}

INLINE void inverse_pass2(uint64_t *a, size_t step, size_t k, const struct plan *p, int tight,
                          int last)
{
    const struct consts *c = &p->c;
    vec w = all(p->w[k]), ws = all(p->ws[k]);
    for (size_t j = 0; j < step; j += 32) {
        for (size_t v = j; v < j + 32; v += 8) {
            vec x = load(a + v), y = load(a + step + v);
            if (last) {
                inverse_last(&x, &y, p, c->q2);
            } else {
                inverse(&x, &y, w, ws, c, c->q2, tight);
                x = tight ? x : settle(x, p);
            }
            store(a + v, x);
            store(a + step + v, y);
        }
    }
}

/* Block number `block` of size 2^log, the mirror image of forward_block. */
INLINE void inverse_block(uint64_t *out, const uint64_t *in, unsigned log, size_t block,
                          const struct plan *p, int tight,
                          void (*before)(uint64_t *, const uint64_t *, unsigned, size_t,
                                         const struct plan *))
{
    unsigned s = pass_stages(log - 6);
    size_t step = (size_t)1 << (log - s);
    size_t count = p->size >> log; /* blocks of this size */
    if (log - s == 6) {
        for (size_t i = 0; i < (size_t)1 << s; i += 2) {
            inverse_tails(out + i * step, in + i * step, p, (block << s) + i, tight);
        }
        for (size_t i = 0; i < (size_t)1 << s; i += 2) {
            inverse_pass64(out + i * step, 2 * (count << s) - 1 - (block << s) - i, p, tight);
        }
    } else {
        for (size_t i = 0; i < (size_t)1 << s; i++) {
            before(out + i * step, in + i * step, log - s, (block << s) + i, p);
        }
    }
    size_t k = 2 * count - 1 - block;
    if (s == 3) {
        if (count == 1) {
            inverse_pass8(out, step, k, p, tight, 1);
        } else {
            inverse_pass8(out, step, k, p, tight, 0);
        }
    } else if (s == 2) {
        inverse_pass4(out, step, k, p, tight, count == 1);
    } else {
        inverse_pass2(out, step, k, p, tight, count == 1);
    }
}

static void inverse_tight(uint64_t *out, const uint64_t *in, unsigned log, size_t block,
                          const struct plan *p)
{
    inverse_block(out, in, log, block, p, 1, inverse_tight);
}

static void inverse_loose(uint64_t *out, const uint64_t *in, unsigned log, size_t block,
                          const struct plan *p)
{
    inverse_block(out, in, log, block, p, 0, inverse_loose);
}

static void intt_avx512(uint64_t *out, const uint64_t *in, const struct ntt_table *t,
                        unsigned log_m, uint64_t constant)
{
    /* Size 64 has no pass for the final factor after its radix-8 pass; the plain version does it.
     */
    if (log_m < 7) {
        struct kernels ref;
        k_init_ref(&ref);
        ref.intt(out, in, t, log_m, constant);
        return;
    }
    struct plan p;
    plan_start(&p, t, log_m);
    uint64_t q = t->mod.q;
    p.f = mod_mul(constant, t->m_inv[log_m], &t->mod);
    p.fs = mod_shoup(p.f, q);
    p.g = mod_mul(p.f, t->w[1], &t->mod);
    p.gs = mod_shoup(p.g, q);
    if (t->mod.bits <= 48) {
        inverse_loose(out, in, log_m, 0, &p);
    } else {
        inverse_tight(out, in, log_m, 0, &p);
    }
}

void k_ntt_avx512(struct kernels *k)
{
    k->ntt = ntt_avx512;
    k->ntt_i32 = ntt_i32_avx512;
    k->intt = intt_avx512;
}
#else
typedef int k_no_ntt_avx512; /* an empty unit is not C */
#endif
