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
 * The 64-word pass and the tail alternate every few blocks instead of sharing registers: eight
 * independent short chains of dependent multiplications run faster than one chain twice as long.
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
 *     its end.
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
 */
INLINE void forward_block(uint64_t *out, const uint64_t *in, unsigned log, size_t k,
                          const struct plan *p, int tight,
                          void (*next)(uint64_t *, const uint64_t *, unsigned, size_t,
                                       const struct plan *))
{
    const struct finish plain = {NULL, all(0), all(0), false};
    if (log == 6) {
        forward_pass8(out, in, 8, k, p, tight);
        forward_tail(out, out, p, k - p->size / 64, tight, &plain);
        return;
    }
    unsigned s = pass_stages(log - 6);
    size_t step = (size_t)1 << (log - s);
    if (s == 3) {
        forward_pass8(out, in, step, k, p, tight);
    } else if (s == 2) {
        forward_pass4(out, in, step, k, p, tight);
    } else {
        forward_pass2(out, in, step, k, p, tight);
    }
    if (log - s == 6) {
        for (size_t i = 0; i < (size_t)1 << s; i++) {
            forward_pass8(out + i * step, out + i * step, 8, (k << s) + i, p, tight);
        }
        for (size_t i = 0; i < (size_t)1 << s; i++) {
            forward_tail(out + i * step, out + i * step, p, (k << s) + i - p->size / 64, tight,
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
    forward_block(out, in, log, k, p, 1, forward_tight);
}

static void forward_loose(uint64_t *out, const uint64_t *in, unsigned log, size_t k,
                          const struct plan *p)
{
    forward_block(out, in, log, k, p, 0, forward_loose);
}

static void ntt_avx512(uint64_t *out, const uint64_t *in, const struct ntt_table *t, unsigned log_m)
{
    if (log_m < 6) {
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

/* ---- inverse */

/* x' = x + y, y' = (y - x) w; x, y < bound, a multiple of q. tight: x' brought below 2q. */
INLINE void inverse(vec *x, vec *y, vec w, vec ws, const struct consts *c, vec bound, int tight)
{
    vec s = _mm512_add_epi64(*x, *y);
    vec d = _mm512_sub_epi64(_mm512_add_epi64(*y, bound), *x);
    *x = tight ? once(s, c->q2) : s;
    *y = mul_w(d, w, ws, c);
}

/*
 * After three loose inverse stages x0 < 16q, x1 < 8q, x2, x3 < 4q and the others < 2q: all below 2q
 * again. Tight stages leave nothing to do.
 */
#define SETTLE(x0, x1, x2, x3, c, tight)                                                           \
    do {                                                                                           \
        if (!(tight)) {                                                                            \
            x0 = once(once(once(x0, (c)->q8), (c)->q4), (c)->q2);                                  \
            x1 = once(once(x1, (c)->q4), (c)->q2);                                                 \
            x2 = once(x2, (c)->q2);                                                                \
            x3 = once(x3, (c)->q2);                                                                \
        }                                                                                          \
    } while (0)

/* Their inverse: W(0) is for the last stage, W(3) .. W(6) for the first. */
#define INVERSE_8(x0, x1, x2, x3, x4, x5, x6, x7, W, c, tight)                                     \
    do {                                                                                           \
        vec bound4 = (tight) ? (c)->q2 : (c)->q4;                                                  \
        vec bound8 = (tight) ? (c)->q2 : (c)->q8;                                                  \
        inverse(&x0, &x1, W(3), c, (c)->q2, tight);                                                \
        inverse(&x2, &x3, W(4), c, (c)->q2, tight);                                                \
        inverse(&x4, &x5, W(5), c, (c)->q2, tight);                                                \
        inverse(&x6, &x7, W(6), c, (c)->q2, tight);                                                \
        inverse(&x0, &x2, W(1), c, bound4, tight);                                                 \
        inverse(&x1, &x3, W(1), c, (c)->q2, tight);                                                \
        inverse(&x4, &x6, W(2), c, bound4, tight);                                                 \
        inverse(&x5, &x7, W(2), c, (c)->q2, tight);                                                \
        inverse(&x0, &x4, W(0), c, bound8, tight);                                                 \
        inverse(&x1, &x5, W(0), c, bound4, tight);                                                 \
        inverse(&x2, &x6, W(0), c, (c)->q2, tight);                                                \
        inverse(&x3, &x7, W(0), c, (c)->q2, tight);                                                \
        SETTLE(x0, x1, x2, x3, c, tight);                                                          \
    } while (0)

INLINE void inverse_times(vec *x, vec *y, vec w, vec ws, size_t e, const struct plan *p, vec bound,
                          int tight)
{
    const struct consts *c = &p->c;
    vec s = _mm512_add_epi64(*x, *y);
    vec d = _mm512_sub_epi64(_mm512_add_epi64(*y, bound), *x);
    *x = tight ? once(s, c->q2) : s;
    *y = mul_w(times(d, e, p), w, ws, c);
}

/* The first three inverse stages of a block of 64 words, [0, 2q) before and after. */
INLINE void inverse_tail(uint64_t *out, const uint64_t *in, const struct plan *p, size_t block,
                         int tight)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    size_t blocks = p->size / 64;
    uint64_t local[K_TAIL_WORDS];
    const uint64_t *tail = local;
    if (p->tail != NULL) {
        tail = p->tail + K_TAIL_WORDS * (blocks - 1 - block);
        if (block + AHEAD < blocks) {
            prefetch(tail - K_TAIL_WORDS * AHEAD, K_TAIL_WORDS);
        }
    } else {
        tail_build(local, w, ws, p->size, blocks - 1 - block);
    }
    /* Rows in reversed order: lane v is the block of eight number 7 - v. */
    vec x7 = load(in), x6 = load(in + 8), x5 = load(in + 16), x4 = load(in + 24);
    vec x3 = load(in + 32), x2 = load(in + 40), x1 = load(in + 48), x0 = load(in + 56);
    TRANSPOSE(x0, x1, x2, x3, x4, x5, x6, x7);
    vec twice = tight ? c->q2 : c->q4;
    vec fourfold = tight ? c->q2 : c->q8;
    inverse_times(&x0, &x1, TAIL(2), 3, p, c->q2, tight);
    inverse_times(&x2, &x3, TAIL(2), 2, p, c->q2, tight);
    inverse_times(&x4, &x5, TAIL(2), 1, p, c->q2, tight);
    inverse(&x6, &x7, TAIL(2), c, c->q2, tight);
    inverse_times(&x0, &x2, TAIL(1), 1, p, twice, tight);
    inverse_times(&x1, &x3, TAIL(1), 1, p, c->q2, tight);
    inverse(&x4, &x6, TAIL(1), c, twice, tight);
    inverse(&x5, &x7, TAIL(1), c, c->q2, tight);
    inverse(&x0, &x4, TAIL(0), c, fourfold, tight);
    inverse(&x1, &x5, TAIL(0), c, twice, tight);
    inverse(&x2, &x6, TAIL(0), c, c->q2, tight);
    inverse(&x3, &x7, TAIL(0), c, c->q2, tight);
    SETTLE(x0, x1, x2, x3, c, tight);
    TRANSPOSE(x0, x1, x2, x3, x4, x5, x6, x7);
    store(out, x7);
    store(out + 8, x6);
    store(out + 16, x5);
    store(out + 24, x4);
    store(out + 32, x3);
    store(out + 40, x2);
    store(out + 48, x1);
    store(out + 56, x0);
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

INLINE void inverse_pass8(uint64_t *a, size_t step, size_t k, const struct plan *p, int tight,
                          int last)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    vec b2 = tight ? c->q2 : c->q4;
    vec b3 = tight ? c->q2 : c->q8;
    for (size_t j = 0; j < step; j += 8, a += 8) {
        vec x0 = load(a), x1 = load(a + step), x2 = load(a + 2 * step), x3 = load(a + 3 * step);
        vec x4 = load(a + 4 * step), x5 = load(a + 5 * step), x6 = load(a + 6 * step);
        vec x7 = load(a + 7 * step);
        if (last) {
            inverse(&x0, &x1, INVERSE_W(3), c, c->q2, tight);
            inverse(&x2, &x3, INVERSE_W(4), c, c->q2, tight);
            inverse(&x4, &x5, INVERSE_W(5), c, c->q2, tight);
            inverse(&x6, &x7, INVERSE_W(6), c, c->q2, tight);
            inverse(&x0, &x2, INVERSE_W(1), c, b2, tight);
            inverse(&x1, &x3, INVERSE_W(1), c, c->q2, tight);
            inverse(&x4, &x6, INVERSE_W(2), c, b2, tight);
            inverse(&x5, &x7, INVERSE_W(2), c, c->q2, tight);
            inverse_last(&x0, &x4, p, b3);
            inverse_last(&x1, &x5, p, b2);
            inverse_last(&x2, &x6, p, c->q2);
            inverse_last(&x3, &x7, p, c->q2);
        } else {
            INVERSE_8(x0, x1, x2, x3, x4, x5, x6, x7, INVERSE_W, c, tight);
        }
        store(a, x0);
        store(a + step, x1);
        store(a + 2 * step, x2);
        store(a + 3 * step, x3);
        store(a + 4 * step, x4);
        store(a + 5 * step, x5);
        store(a + 6 * step, x6);
        store(a + 7 * step, x7);
    }
}

/* Two stages, words in [0, 2q) before and after, in both versions. */
INLINE void inverse_pass4(uint64_t *a, size_t step, size_t k, const struct plan *p, int last)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    for (size_t j = 0; j < step; j += 8, a += 8) {
        vec x0 = load(a), x1 = load(a + step), x2 = load(a + 2 * step), x3 = load(a + 3 * step);
        inverse(&x0, &x1, INVERSE_W(1), c, c->q2, 1);
        inverse(&x2, &x3, INVERSE_W(2), c, c->q2, 1);
        if (last) {
            inverse_last(&x0, &x2, p, c->q2);
            inverse_last(&x1, &x3, p, c->q2);
        } else {
            inverse(&x0, &x2, INVERSE_W(0), c, c->q2, 1);
            inverse(&x1, &x3, INVERSE_W(0), c, c->q2, 1);
        }
        store(a, x0);
        store(a + step, x1);
        store(a + 2 * step, x2);
        store(a + 3 * step, x3);
    }
}

INLINE void inverse_pass2(uint64_t *a, size_t step, size_t k, const struct plan *p, int last)
{
    const struct consts *c = &p->c;
    const uint64_t *w = p->w;
    const uint64_t *ws = p->ws;
    for (size_t j = 0; j < step; j += 8, a += 8) {
        vec x0 = load(a), x1 = load(a + step);
        if (last) {
            inverse_last(&x0, &x1, p, c->q2);
        } else {
            inverse(&x0, &x1, INVERSE_W(0), c, c->q2, 1);
        }
        store(a, x0);
        store(a + step, x1);
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
        for (size_t i = 0; i < (size_t)1 << s; i++) {
            inverse_tail(out + i * step, in + i * step, p, (block << s) + i, tight);
        }
        for (size_t i = 0; i < (size_t)1 << s; i++) {
            inverse_pass8(out + i * step, 8, 2 * (count << s) - 1 - (block << s) - i, p, tight, 0);
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
        inverse_pass4(out, step, k, p, count == 1);
    } else {
        inverse_pass2(out, step, k, p, count == 1);
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
    k->intt = intt_avx512;
}
#else
typedef int k_no_ntt_avx512; /* an empty unit is not C */
#endif
