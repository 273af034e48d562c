/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Base conversion, transform and last step of mod-down in two walks over memory instead of five.
 *
 * A limb of 2^L words, L >= 13, is a matrix of R = 2^(L-12) rows of 2^12 words. The first L - 12
 * stages of the transform combine words of one column only, the others words of one row only:
 *
 *     head:  panels of 32 columns. For each row and each target prime, 32 words are converted and
 *            put into the target's panel (R x 32 words, near); when all rows are there, the first
 *            stages are done in the panel, which then goes to the work limb. The source is read
 *            once for all targets.
 *     tail:  rows. Twelve stages, the last of which finishes (ntt_avx512.h).
 *
 * Panel words are Cooley-Tukey words as in ntt_avx512.c: stage m of the head is the stage with
 * twiddles w[m+i] of the whole transform, and row r of the tail is block r with first twiddle R + r.
 */
#if defined(__x86_64__)
#include "ntt_avx512.h"

#define LOG_ROW  12u
#define ROW      ((size_t)1 << LOG_ROW)
#define PANEL    32u /* columns */
#define MAX_ROWS (1u << (K_MAX_LOG_N - LOG_ROW))
#define MAX_K    129u

/* Terms until a sum must be reduced: 12/4 q + q, and a start value below 4q, are below 8q. */
#define STRETCH 12u

/* A target's constants: w in Montgomery's form. */
struct target {
    struct mont mont;
    vec shift; /* for k = 1: what negative x get added */
    bool near; /* for k = 1: p <= 4q */
    uint64_t w[MAX_K];
};

static void target_start(struct target *z, const struct k_convert *s, unsigned g)
{
    const struct modulus *m = &s->to[g].t->mod;
    z->mont = mont_of(m);
    if (s->k == 1) {
        z->near = s->p <= 4 * m->q;
        z->shift = all(z->near ? 2 * m->q - s->p : mod_neg(mod_reduce52(s->p, m), m->q));
        return;
    }
    for (size_t j = 0; j < s->k; j++) {
        z->w[j] = mod_mul_shoup(s->to[g].w[j], m->r52, m->r52s, m->q);
    }
}

/* Below 4q, for a sum of at most STRETCH products; with a start value `once` more. */
INLINE vec reduce_lazy(vec hi, vec lo, const struct mont *r)
{
    vec t = _mm512_madd52hi_epu64(r->zero, _mm512_madd52lo_epu64(r->zero, lo, r->inv), r->c.q);
    hi = _mm512_add_epi64(hi, _mm512_srli_epi64(lo, 52));
    return _mm512_sub_epi64(_mm512_add_epi64(hi, r->c.q), t);
}

/* 32 words of sum_j x_j w_j, below 4q. */
INLINE void convert_32(uint64_t *out, const uint64_t *x, size_t stride, size_t k,
                       const struct target *z)
{
    const struct mont *r = &z->mont;
    vec h0 = r->zero, h1 = h0, h2 = h0, h3 = h0;
    for (size_t from = 0; from < k; from += STRETCH) {
        vec l0 = r->zero, l1 = l0, l2 = l0, l3 = l0;
        size_t end = k - from < STRETCH ? k : from + STRETCH;
        const uint64_t *p = x + from * stride;
        for (size_t j = from; j < end; j++, p += stride) {
            vec y = all(z->w[j]);
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
        h0 = reduce_lazy(h0, l0, r);
        h1 = reduce_lazy(h1, l1, r);
        h2 = reduce_lazy(h2, l2, r);
        h3 = reduce_lazy(h3, l3, r);
        if (from != 0) {
            h0 = once(h0, r->c.q4);
            h1 = once(h1, r->c.q4);
            h2 = once(h2, r->c.q4);
            h3 = once(h3, r->c.q4);
        }
    }
    store(out, h0);
    store(out + 8, h1);
    store(out + 16, h2);
    store(out + 24, h3);
}

/*
 * 32 words of the centred x. For p <= 4q, x <= (p-1)/2 is below 2q as it is, and larger ones become
 * x - p + 2q > 0. Otherwise x mod q below 2q, and q - p mod q more where x is negative: below 3q.
 */
INLINE void recentre_32(uint64_t *out, const uint64_t *x, vec half, const struct modulus *m,
                        const struct target *z)
{
    for (size_t v = 0; v < 32; v += 8) {
        vec y = load(x + v);
        __mmask8 negative = _mm512_cmpgt_epu64_mask(y, half);
        vec r = z->near ? y : mul_w(y, all(1), all(m->ones), &z->mont.c);
        store(out + v, _mm512_mask_add_epi64(r, negative, r, z->shift));
    }
}

/* The first log_rows stages, in place in a panel. */
INLINE void head_stages(uint64_t *a, unsigned log_rows, const struct plan *p, int tight)
{
    size_t words = (size_t)PANEL << log_rows;
    switch (log_rows) {
    case 1:
        forward_pass2(a, a, words / 2, 1, p, tight);
        break;
    case 2:
        forward_pass4(a, a, words / 4, 1, p, tight);
        break;
    case 3:
        forward_pass8(a, a, words / 8, 1, p, tight);
        break;
    case 4:
        forward_pass4(a, a, words / 4, 1, p, tight);
        for (size_t i = 0; i < 4; i++) {
            forward_pass4(a + i * words / 4, a + i * words / 4, words / 16, 4 + i, p, tight);
        }
        break;
    default:
        forward_pass8(a, a, words / 8, 1, p, tight);
        for (size_t i = 0; i < 8; i++) {
            forward_pass4(a + i * words / 8, a + i * words / 8, words / 32, 8 + i, p, tight);
        }
        break;
    }
}

/* Row r: the last twelve stages, from `in` by way of `near` (ROW words) to out. */
INLINE void row_stages(uint64_t *out, const uint64_t *in, uint64_t *near, size_t r,
                       const struct plan *p, int tight, struct finish f)
{
    size_t k = (p->size >> LOG_ROW) + r;
    forward_pass8(near, in, ROW / 8, k, p, tight);
    for (size_t i = 0; i < 8; i++) {
        uint64_t *a = near + i * (ROW / 8);
        size_t ki = 8 * k + i;
        forward_pass8(a, a, 64, ki, p, tight);
        for (size_t j = 0; j < 8; j++) {
            forward_pass8(a + 64 * j, a + 64 * j, 8, 8 * ki + j, p, tight);
        }
        for (size_t j = 0; j < 8; j++) {
            size_t at = i * (ROW / 8) + 64 * j;
            struct finish g = f;
            g.minuend = f.minuend != NULL ? f.minuend + at : NULL;
            forward_tail(out + at, a + 64 * j, p, 8 * ki + j - p->size / 64, tight, &g);
        }
    }
}

#define ROW_STAGES(name, tight, sub, far)                                                          \
    static void name(uint64_t *out, const uint64_t *in, uint64_t *near, size_t r,                  \
                     const struct plan *p, const struct finish *f)                                 \
    {                                                                                              \
        struct finish g = {(sub) ? f->minuend : NULL, f->c, f->cs, far};                           \
        row_stages(out, in, near, r, p, tight, g);                                                 \
    }
ROW_STAGES(row_loose, 0, 0, false)
ROW_STAGES(row_loose_far, 0, 0, true)
ROW_STAGES(row_loose_sub, 0, 1, false)
ROW_STAGES(row_loose_sub_far, 0, 1, true)
ROW_STAGES(row_tight, 1, 0, false)
ROW_STAGES(row_tight_far, 1, 0, true)
ROW_STAGES(row_tight_sub, 1, 1, false)
ROW_STAGES(row_tight_sub_far, 1, 1, true)

typedef void row_function(uint64_t *out, const uint64_t *in, uint64_t *near, size_t r,
                          const struct plan *p, const struct finish *f);

static row_function *const row_functions[8] = {row_loose,     row_loose_far,    row_loose_sub,
                                               row_loose_sub_far, row_tight,    row_tight_far,
                                               row_tight_sub, row_tight_sub_far};

static void head(const struct k_convert *s, const struct target *targets, const struct plan *plans)
{
    _Alignas(64) uint64_t panel[K_CONVERT_GROUP][MAX_ROWS * PANEL];
    size_t rows = (size_t)1 << (s->log_n - LOG_ROW);
    vec half = all((s->p - 1) / 2);
    for (size_t column = 0; column < ROW; column += PANEL) {
        for (size_t r = 0; r < rows; r++) {
            const uint64_t *x = s->x + r * ROW + column;
            for (unsigned g = 0; g < s->group; g++) {
                uint64_t *to = panel[g] + r * PANEL;
                if (s->k == 1) {
                    recentre_32(to, x, half, &s->to[g].t->mod, &targets[g]);
                } else {
                    convert_32(to, x, s->stride, s->k, &targets[g]);
                }
            }
            /* the next panel of this row, as long as all of it is likely to stay */
            for (size_t j = 0; j < s->k; j++) {
                const uint64_t *next = x + j * s->stride + PANEL;
                for (size_t v = 0; v < PANEL; v += 8) {
                    _mm_prefetch((const char *)(next + v), _MM_HINT_T1);
                }
            }
        }
        for (unsigned g = 0; g < s->group; g++) {
            if (s->to[g].t->mod.bits <= 48) {
                head_stages(panel[g], s->log_n - LOG_ROW, &plans[g], 0);
            } else {
                head_stages(panel[g], s->log_n - LOG_ROW, &plans[g], 1);
            }
            for (size_t r = 0; r < rows; r++) {
                for (size_t v = 0; v < PANEL; v += 8) {
                    store(s->to[g].work + r * ROW + column + v, load(panel[g] + r * PANEL + v));
                }
            }
        }
    }
}

static void convert_avx512(const struct k_convert *s)
{
    if (s->log_n <= LOG_ROW) {
        struct kernels k;
        k_init_ref(&k);
        k_init_avx512(&k);
        k_convert_with(&k, s);
        return;
    }
    struct target targets[K_CONVERT_GROUP];
    struct plan plans[K_CONVERT_GROUP];
    for (unsigned g = 0; g < s->group; g++) {
        target_start(&targets[g], s, g);
        plan_start(&plans[g], s->to[g].t, s->log_n);
    }
    head(s, targets, plans);
    _Alignas(64) uint64_t near[ROW];
    bool far = false;
    for (unsigned g = 0; g < s->group; g++) {
        uint64_t *out = s->to[g].out;
        const uint64_t *minuend = s->to[g].minuend;
        bool past = s->far && aligned(out) && out != s->to[g].work;
        far = far || past;
        unsigned which = (s->to[g].t->mod.bits <= 48 ? 0u : 4u) + (minuend != NULL ? 2u : 0u) + past;
        for (size_t r = 0; r < (size_t)1 << (s->log_n - LOG_ROW); r++) {
            struct finish f = {minuend != NULL ? minuend + r * ROW : NULL, all(s->to[g].c),
                               all(s->to[g].cs), past};
            row_functions[which](out + r * ROW, s->to[g].work + r * ROW, near, r, &plans[g], &f);
        }
    }
    if (far) {
        _mm_sfence();
    }
}

void k_convert_avx512(struct kernels *k)
{
    k->convert = convert_avx512;
}
#else
typedef int k_no_convert_avx512; /* an empty unit is not C */
#endif
