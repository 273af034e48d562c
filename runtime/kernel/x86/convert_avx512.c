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

/*
 * `wide` vectors of sum_j x_j w_j, below 4q, for `count` targets, so that a vector of a source is
 * loaded once for all of them. wide * count is at most 8: so many sums fit the registers.
 */
INLINE void convert_some(uint64_t *const *out, const uint64_t *x, size_t stride, size_t k,
                         const struct target *z, size_t count, size_t wide)
{
    vec hi[8], lo[8];
    vec zero = z[0].mont.zero;
    for (size_t i = 0; i < 8; i++) {
        hi[i] = zero;
    }
    for (size_t from = 0; from < k; from += STRETCH) {
        size_t end = k - from < STRETCH ? k : from + STRETCH;
        const uint64_t *p = x + from * stride;
        for (size_t i = 0; i < 8; i++) {
            lo[i] = zero;
        }
        for (size_t j = from; j < end; j++, p += stride) {
            vec y[8];
            for (size_t v = 0; v < wide; v++) {
                y[v] = load(p + 8 * v);
            }
            for (size_t g = 0; g < count; g++) {
                vec w = all(z[g].w[j]);
                for (size_t v = 0; v < wide; v++) {
                    size_t i = g * wide + v;
                    lo[i] = _mm512_madd52lo_epu64(lo[i], y[v], w);
                    hi[i] = _mm512_madd52hi_epu64(hi[i], y[v], w);
                }
            }
        }
        for (size_t g = 0; g < count; g++) {
            for (size_t v = 0; v < wide; v++) {
                size_t i = g * wide + v;
                hi[i] = reduce_lazy(hi[i], lo[i], &z[g].mont);
                hi[i] = from != 0 ? once(hi[i], z[g].mont.c.q4) : hi[i];
            }
        }
    }
    for (size_t g = 0; g < count; g++) {
        for (size_t v = 0; v < wide; v++) {
            store(out[g] + 8 * v, hi[g * wide + v]);
        }
    }
}

/* 32 words for 1 .. 4 targets. */
INLINE void convert_32(uint64_t *const *out, const uint64_t *x, size_t stride, size_t k,
                       const struct target *z, size_t count)
{
    if (count >= 3) {
        for (size_t v = 0; v < PANEL; v += 16) {
            uint64_t *const to[4] = {out[0] + v, out[1] + v, out[2] + v, out[count - 1] + v};
            if (count == 4) {
                convert_some(to, x + v, stride, k, z, 4, 2);
            } else {
                convert_some(to, x + v, stride, k, z, 3, 2);
            }
        }
    } else if (count == 2) {
        convert_some(out, x, stride, k, z, 2, 4);
    } else {
        convert_some(out, x, stride, k, z, 1, 4);
    }
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

/* The first log_rows stages of a panel, whose rows then go to places ROW words apart. */
INLINE void head_stages(uint64_t *out, uint64_t *a, unsigned log_rows, const struct plan *p,
                        int tight)
{
    size_t words = (size_t)PANEL << log_rows;
    switch (log_rows) {
    case 1:
        forward_move2(out, ROW, a, PANEL, 1, p, tight);
        break;
    case 2:
        forward_move4(out, ROW, a, PANEL, 1, p, tight);
        break;
    case 3:
        forward_move8(out, ROW, a, PANEL, 1, p, tight);
        break;
    case 4:
        forward_pass4(a, a, words / 4, 1, p, tight);
        for (size_t i = 0; i < 4; i++) {
            forward_move4(out + 4 * i * ROW, ROW, a + i * words / 4, PANEL, 4 + i, p, tight);
        }
        break;
    default:
        forward_pass8(a, a, words / 8, 1, p, tight);
        for (size_t i = 0; i < 8; i++) {
            forward_move4(out + 4 * i * ROW, ROW, a + i * words / 8, PANEL, 8 + i, p, tight);
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
        for (size_t j = 0; j < 8; j += 2) {
            forward_pass64(a + 64 * j, 8 * ki + j, p, tight);
        }
        for (size_t j = 0; j < 8; j += 2) {
            size_t at = i * (ROW / 8) + 64 * j;
            struct finish g = f;
            g.minuend = f.minuend != NULL ? f.minuend + at : NULL;
            forward_tails(out + at, a + 64 * j, p, 8 * ki + j - p->size / 64, tight, &g);
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

static row_function *const row_functions[8] = {row_loose,         row_loose_far,    row_loose_sub,
                                               row_loose_sub_far, row_tight,        row_tight_far,
                                               row_tight_sub,     row_tight_sub_far};

static void head(const struct k_convert *s, const struct target *targets, const struct plan *plans)
{
    _Alignas(64) uint64_t panel[K_CONVERT_GROUP][MAX_ROWS * PANEL];
    size_t rows = (size_t)1 << (s->log_n - LOG_ROW);
    vec half = all((s->p - 1) / 2);
    for (size_t column = 0; column < ROW; column += PANEL) {
        for (size_t r = 0; r < rows; r++) {
            const uint64_t *x = s->x + r * ROW + column;
            uint64_t *to[K_CONVERT_GROUP];
            for (unsigned g = 0; g < s->group; g++) {
                to[g] = panel[g] + r * PANEL;
            }
            if (s->k > 1) {
                convert_32(to, x, s->stride, s->k, targets, s->group);
            } else {
                for (unsigned g = 0; g < s->group; g++) {
                    recentre_32(to[g], x, half, &s->to[g].t->mod, &targets[g]);
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
            uint64_t *to = s->to[g].work + column;
            if (s->to[g].t->mod.bits <= 48) {
                head_stages(to, panel[g], s->log_n - LOG_ROW, &plans[g], 0);
            } else {
                head_stages(to, panel[g], s->log_n - LOG_ROW, &plans[g], 1);
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
        unsigned which =
            (s->to[g].t->mod.bits <= 48 ? 0u : 4u) + (minuend != NULL ? 2u : 0u) + past;
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
