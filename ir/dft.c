/* SPDX-License-Identifier: Apache-2.0 */
#include "dft.h"

#include <math.h>
#include <string.h>

/*
 * Factors of the special DFT (struct ldft in ir.h). Stage t mixes the slots that differ in bit t - 1 only:
 *
 *                     in bit 0    in bit 1
 *     out bit 0          1         w_t(j)              j = slot mod 2^(t-1)
 *     out bit 1          1        -w_t(j)
 *
 * Stages first..last rewrite the bits first-1..last-1 one by one, lowest first, so there is one path from
 * an in slot to an out slot, or none where they differ elsewhere. When stage t acts, the bits below t - 1
 * are those of the out slot already: its j is out mod 2^(t-1). So an entry is the product, over the bits
 * that are set in the in slot, of +-w_t(out mod 2^(t-1)): one root of unity of order 4 2^last, its
 * exponent computed in integers.
 *
 * A stage is sqrt(2) times a unitary matrix: its inverse is its conjugate transpose over 2.
 */

static uint32_t log2_of(uint32_t n)
{
    uint32_t log = 0;
    while (n >> log > 1) {
        log++;
    }
    return log;
}

/* exp(2 pi i k / order) for k <= order / 8 */
static void first_octant(uint64_t k, uint64_t order, double *c, double *s)
{
    double angle = 2 * M_PI * (double)k / (double)order;
    *c = cos(angle);
    *s = sin(angle);
    if (8 * k == order) {
        *c = *s = M_SQRT1_2;
    }
}

/* What many entries of one factor share: the first octant of its roots, and powers of 5 */
struct roots {
    double (*octant)[2];          /* [order / 8 + 1] */
    uint32_t low[256], high[256]; /* 5^j and 5^(256 j) mod 2^32 */
};

static void make_roots(struct roots *r, uint64_t order, struct arena *a)
{
    uint32_t low = 1, high = 1;
    for (uint32_t j = 0; j < 256; j++, low *= 5) {
        r->low[j] = low;
    }
    for (uint32_t j = 0; j < 256; j++, high *= low) {
        r->high[j] = high;
    }
    r->octant = arena_array(a, order / 8 + 1, sizeof *r->octant);
    for (uint64_t k = 0; k <= order / 8; k++) {
        first_octant(k, order, &r->octant[k][0], &r->octant[k][1]);
    }
}

/*
 * exp(2 pi i k / order), order a power of two from 8: exact where a part is 0 or 1 or the two are equal.
 * Roots of that order may be given.
 */
static void root_of_unity(const struct roots *r, uint64_t k, uint64_t order, double *re, double *im)
{
    uint64_t eighth = order / 8;
    uint64_t octant = k / eighth % 8;
    uint64_t rest = k % eighth;
    if (octant & 1) { /* measured from the end of the octant: angles of at most pi / 4 */
        rest = eighth - rest;
    }
    double c, s;
    if (r) {
        c = r->octant[rest][0];
        s = r->octant[rest][1];
    } else {
        first_octant(rest, order, &c, &s);
    }
    bool swap = ((octant + 1) & 2) != 0; /* octants 1, 2, 5, 6: nearer to the imaginary axis */
    *re = swap ? s : c;
    *im = swap ? c : s;
    *re = octant >= 2 && octant < 6 ? -*re : *re;
    *im = octant >= 4 ? -*im : *im;
}

/* 5^j mod 2^32; the group has order 2^30 */
static uint32_t power_of_5(const struct roots *r, uint32_t j)
{
    if (r && j < 1u << 16) {
        return r->low[j & 255] * r->high[j >> 8];
    }
    uint32_t result = 1;
    for (uint32_t square = 5; j != 0; j >>= 1, square *= square) {
        result *= j & 1 ? square : 1;
    }
    return result;
}

/* Entry of the factor itself */
static void forward_entry(const struct roots *r, const struct ldft *f, uint32_t out, uint32_t in,
                          double *re, double *im)
{
    uint32_t inside = (1u << f->last) - (1u << (f->first - 1));
    if (((out ^ in) & ~inside) != 0) {
        *re = *im = 0;
        return;
    }
    uint32_t order = 4u << f->last; /* at most 2^19 */
    uint32_t exponent = 0;
    for (uint32_t t = f->first; t <= f->last; t++) {
        uint32_t bit = 1u << (t - 1);
        if (in & bit) {
            exponent += (power_of_5(r, out & (bit - 1)) & (8 * bit - 1)) << (f->last - t);
            exponent += out & bit ? order / 2 : 0;
        }
    }
    root_of_unity(r, exponent & (order - 1), order, re, im);
}

static void entry(const struct roots *r, const struct ldft *f, uint32_t n, uint32_t out_slot,
                  uint32_t in_slot, double *re, double *im)
{
    out_slot &= n - 1;
    in_slot &= n - 1;
    if (!f->inverse) {
        forward_entry(r, f, out_slot, in_slot, re, im);
        return;
    }
    forward_entry(r, f, in_slot, out_slot, re, im);
    double share = 1 / (double)(1u << (f->last - f->first + 1)); /* 1 / 2 a stage */
    *re = *re * share;
    *im = -*im * share;
}

void dft_entry(const struct ldft *f, uint32_t n, uint32_t out_slot, uint32_t in_slot, double *re,
               double *im)
{
    entry(NULL, f, n, out_slot, in_slot, re, im);
}

uint32_t dft_period(const struct ldft *f, uint32_t n)
{
    return f->last < log2_of(n) ? 1u << f->last : n;
}

static void apply_stage(uint32_t t, bool inverse, uint32_t n, double *re, double *im)
{
    uint32_t h = 1u << (t - 1);
    uint32_t exponent = 1;
    for (uint32_t j = 0; j < h; j++, exponent *= 5) {
        double wr, wi;
        root_of_unity(NULL, exponent & (8 * h - 1), 8 * h, &wr, &wi);
        for (uint32_t s = j; s < n; s += 2 * h) {
            double ar = re[s];
            double ai = im[s];
            double br = re[s + h];
            double bi = im[s + h];
            if (inverse) {
                double dr = (ar - br) / 2;
                double di = (ai - bi) / 2;
                re[s] = (ar + br) / 2;
                im[s] = (ai + bi) / 2;
                re[s + h] = wr * dr + wi * di;
                im[s + h] = wr * di - wi * dr;
            } else {
                double dr = wr * br - wi * bi;
                double di = wr * bi + wi * br;
                re[s] = ar + dr;
                im[s] = ai + di;
                re[s + h] = ar - dr;
                im[s + h] = ai - di;
            }
        }
    }
}

void dft_apply(const struct ldft *f, uint32_t n, double *re, double *im)
{
    for (uint32_t i = 0; i <= f->last - f->first; i++) {
        apply_stage(f->inverse ? f->last - i : f->first + i, f->inverse, n, re, im);
    }
}

/* ---- as a linear map ------------------------------------------------------------------------- */

#define FAIL(...) (*why = arena_printf(p->arena, __VA_ARGS__), false)

/* Slot s holds column s, and there is nothing else. */
static bool slots_in_order(const struct prog *p, uint32_t layout, uint32_t n, const char **why)
{
    if (layout == NONE) {
        return true;
    }
    if (layout >= p->num_layouts) {
        return FAIL("there is no layout @%u", layout);
    }
    const struct layout *l = &p->layouts[layout];
    uint32_t ct = 1;
    uint32_t slot = 1;
    bool shape = l->c == 1 && l->h == 1 && l->w == n && l->n == n && l->g_w == 1 && l->t_w == 1;
    if (shape) {
        layout_at(l, 0, 0, 0, &ct, &slot);
    }
    return (shape && ct == 0 && slot == 0) ||
           FAIL("a DFT factor of %u slots needs them in order, layout @%u is another", n, layout);
}

bool dft_check(const struct prog *p, const struct lmap *m, const char **why)
{
    uint32_t n = m->out[2];
    if (m->num_terms != 1 || m->term[0].weight != NONE) {
        return FAIL("a DFT factor has one term and no weight");
    }
    const uint32_t *in = m->term[0].in;
    if (m->out[0] != 1 || m->out[1] != 1 || n < 2 || n > MOST_PIXELS || (n & (n - 1)) != 0 ||
        in[0] != 1 || in[1] != 1 || in[2] != n) {
        return FAIL("a DFT factor takes 1x1xn to 1x1xn, n a power of two");
    }
    if (m->dft.first == 0 || m->dft.first > m->dft.last || m->dft.last > log2_of(n)) {
        return FAIL("stages %u to %u of the DFT are not among 1 to %u", m->dft.first, m->dft.last,
                    log2_of(n));
    }
    return slots_in_order(p, m->out_layout, n, why) &&
           slots_in_order(p, m->term[0].in_layout, n, why);
}

#undef FAIL

/*
 * in - out = sum over the factor's bits of d_t 2^(t-1), every d_t in {-1, 0, 1}: k 2^(first-1) with
 * |k| < 2^stages, all of them. Where n = 2^last, k and k - 2^stages are one offset modulo n.
 */
struct diagonals dft_diagonals(const struct prog *p, const struct lmap *m, struct arena *a)
{
    uint32_t n = p->layouts[m->out_layout].n;
    uint32_t step = 1u << (m->dft.first - 1);
    uint32_t reach = 1u << (m->dft.last - m->dft.first + 1);
    bool whole = step * reach == n;
    uint32_t len = whole ? reach : 2 * reach - 1;
    struct diagonal *d = arena_array(a, len, sizeof *d);
    for (uint32_t i = 0; i < len; i++) {
        /* 0 .. reach-1, then n - (reach-1) .. n - 1 in steps */
        d[i].offset = i < reach ? i * step : n - (len - i) * step;
    }
    return (struct diagonals){.nw = n, .n_out = n, .len = len, .at = d};
}

void pmac_plaintexts_complex(struct prog *p, const struct node *pmac, const struct diagonals *d,
                             double *re, double *im)
{
    const struct lmap *m = &p->maps[node_int(pmac, KEY_map)];
    size_t size = (size_t)pmac->num_args * d->nw;
    memset(im, 0, size * sizeof *im);
    if (m->dft.first == 0) {
        pmac_plaintexts(p, pmac, d, re);
        return;
    }
    memset(re, 0, size * sizeof *re);
    uint32_t period = dft_period(&m->dft, d->nw);
    struct arena *scratch = arena_new();
    struct roots roots;
    make_roots(&roots, (uint64_t)4 << m->dft.last, scratch);
    for (uint32_t i = 0; i < pmac->num_args; i++, re += d->nw, im += d->nw) {
        struct pmac_entry e = pmac_entry(p, pmac, i, d);
        for (uint32_t s = 0; e.diagonal && s < d->nw; s++) {
            if (s >= period) {
                re[s] = re[s - period];
                im[s] = im[s - period];
                continue;
            }
            uint32_t in = s - e.shift; /* modulo n in dft_entry */
            entry(&roots, &m->dft, d->nw, in - e.diagonal->offset, in, &re[s], &im[s]);
        }
    }
    arena_free(scratch);
}
