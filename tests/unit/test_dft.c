/* SPDX-License-Identifier: Apache-2.0 */
/* Factors of the special DFT against the sum that defines it, and as linear maps. */

#include "ir_kit.h"

#include <complex.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 4096 };

static uint32_t log2_of(uint32_t n)
{
    uint32_t log = 0;
    while (n >> log > 1) {
        log++;
    }
    return log;
}

static uint32_t reversed(uint32_t k, uint32_t bits)
{
    uint32_t r = 0;
    for (uint32_t i = 0; i < bits; i++) {
        r |= (k >> i & 1) << (bits - 1 - i);
    }
    return r;
}

/* Slot j of the polynomial whose coefficients are c, in bit-reversed order: sum c_k xi^(5^j k). */
static void naive(uint32_t n, const double complex *c, double complex *slots)
{
    static double complex root[4 * MOST];
    for (uint32_t k = 0; k < 4 * n; k++) {
        root[k] = cexp(2 * M_PI * I * k / (4. * n));
    }
    uint64_t power = 1; /* 5^j mod 4n */
    for (uint32_t j = 0; j < n; j++, power = 5 * power % (4 * n)) {
        slots[j] = 0;
        for (uint32_t k = 0; k < n; k++) {
            slots[j] += c[reversed(k, log2_of(n))] * root[power * k % (4 * n)];
        }
    }
}

static double uniform(uint64_t *rng)
{
    return kit_uniform(rng, -1, 1);
}

static void apply(const struct ldft *f, uint32_t n, double complex *x)
{
    static double re[MOST], im[MOST];
    for (uint32_t k = 0; k < n; k++) {
        re[k] = creal(x[k]);
        im[k] = cimag(x[k]);
    }
    dft_apply(f, n, re, im);
    for (uint32_t k = 0; k < n; k++) {
        x[k] = re[k] + I * im[k];
    }
}

/* All stages in random groups, or their inverses from the last one back. */
static void apply_groups(uint64_t *rng, uint32_t n, bool inverse, double complex *x)
{
    uint32_t stages = log2_of(n);
    for (uint32_t done = 0; done < stages;) {
        uint32_t take = ir_pick(rng, 1, stages - done);
        struct ldft f = {done + 1, done + take, inverse};
        if (inverse) {
            f.last = stages - done;
            f.first = f.last - take + 1;
        }
        apply(&f, n, x);
        done += take;
    }
}

static void expect_close(const double complex *got, const double complex *want, uint32_t n,
                         const char *what)
{
    for (uint32_t k = 0; k < n; k++) {
        cr_assert(cabs(got[k] - want[k]) < 1e-11 * n, "%s, n = %u, slot %u: %g%+gi, wanted %g%+gi",
                  what, n, k, creal(got[k]), cimag(got[k]), creal(want[k]), cimag(want[k]));
    }
}

Test(dft, all_stages_are_the_special_dft)
{
    static double complex x[MOST], y[MOST], want[MOST];
    uint64_t rng = kit_seed();
    for (uint32_t n = 2; n <= MOST; n *= 2) {
        for (uint32_t k = 0; k < n; k++) {
            x[k] = uniform(&rng) + I * uniform(&rng);
        }
        naive(n, x, want);
        for (int trial = 0; trial < 5; trial++) {
            memcpy(y, x, n * sizeof *y);
            apply_groups(&rng, n, false, y);
            expect_close(y, want, n, "forward");
            apply_groups(&rng, n, true, y);
            expect_close(y, x, n, "back");
        }
    }
}

/* A random factor on n slots */
static struct ldft random_factor(uint64_t *rng, uint32_t n)
{
    struct ldft f = {.inverse = ir_pick(rng, 0, 1)};
    f.first = ir_pick(rng, 1, log2_of(n));
    f.last = ir_pick(rng, f.first, log2_of(n));
    return f;
}

Test(dft, entries_are_the_stages_multiplied)
{
    double complex x[128], want[128];
    uint64_t rng = kit_seed();
    for (uint32_t n = 2; n <= 128; n *= 2) {
        for (int trial = 0; trial < 10; trial++) {
            struct ldft f = random_factor(&rng, n);
            for (uint32_t in = 0; in < n; in++) {
                memset(x, 0, sizeof x);
                x[in] = 1;
                apply(&f, n, x);
                for (uint32_t out = 0; out < n; out++) {
                    double re, im;
                    dft_entry(&f, n, out, in, &re, &im);
                    want[out] = re + I * im;
                    bool nothing = re == 0 && im == 0;
                    double size = ldexp(1, f.inverse ? -(int)(f.last - f.first + 1) : 0);
                    cr_assert(nothing || fabs(hypot(re, im) - size) < 1e-15, "not on the circle");
                }
                expect_close(x, want, n, "column");
            }
        }
    }
}

/* Entries at multiples of an eighth of a turn are exact: plaintexts of 1 and i have no rounding noise. */
Test(dft, exact_roots)
{
    double re, im;
    struct ldft f = {1, 1, false};
    for (uint32_t out = 0; out < 2; out++) {
        dft_entry(&f, 2, out, 0, &re, &im);
        cr_expect(re == 1 && im == 0);
        dft_entry(&f, 2, out, 1, &re, &im); /* exp(i pi / 4), and its negative */
        cr_expect(re == (out ? -M_SQRT1_2 : M_SQRT1_2) && im == re, "%.17g %.17g", re, im);
    }
}

static struct prog *dft_program(const struct ldft *f, uint32_t n)
{
    struct prog *p = prog_new(arena_new(), STAGE_SLOT);
    struct layout l = {.c = 1, .h = 1, .w = n, .n = n, .g_h = 1, .g_w = 1};
    l.t_h = l.t_w = 1;
    l.pitch = l.block = n;
    struct lterm t = {.in = {1, 1, n}, .weight = NONE, .groups = 1};
    t.in_layout = prog_add_layout(p, &l);
    struct lmap m = {
        .out = {1, 1, n}, .out_layout = t.in_layout, .num_terms = 1, .term = &t, .dft = *f};
    prog_add_map(p, &m);
    return p;
}

Test(dft, diagonals_are_those_that_are_not_zero)
{
    uint64_t rng = kit_seed();
    for (uint32_t n = 2; n <= 256; n *= 2) {
        for (int trial = 0; trial < 10; trial++) {
            struct ldft f = random_factor(&rng, n);
            struct prog *p = dft_program(&f, n);
            struct diagonals d = lmap_diagonals(p, 0, trial & 1, p->arena);
            uint32_t period = dft_period(&f, n);
            cr_assert(d.nw == n && d.n_out == n);
            cr_assert_eq(period, f.last < log2_of(n) ? 1u << f.last : n);
            uint32_t at = 0;
            for (uint32_t offset = 0; offset < n; offset++) {
                bool nothing = true;
                for (uint32_t out = 0; out < n; out++) {
                    double re, im, re2, im2;
                    dft_entry(&f, n, out, (out + offset) % n, &re, &im);
                    dft_entry(&f, n, (out + period) % n, (out + period + offset) % n, &re2, &im2);
                    nothing = nothing && re == 0 && im == 0;
                    cr_assert(re == re2 && im == im2, "does not repeat with %u", period);
                }
                if (nothing) {
                    cr_assert_null(diagonal_find(&d, 0, 0, offset));
                    continue;
                }
                cr_assert(at < d.len && d.at[at].offset == offset, "n %u, stages %u..%u: offset %u",
                          n, f.first, f.last, offset);
                cr_assert_eq(diagonal_find(&d, 0, 0, offset), &d.at[at]);
                cr_assert(d.at[at].num_rects == 0 && d.at[at].out_ct == 0 && d.at[at].in_ct == 0);
                at++;
            }
            cr_assert_eq(at, d.len);
            arena_free(p->arena);
        }
    }
}

/* fold-free form of ir.h: sum over g of rot_g(sum over b of plaintext * rot_b(x)) */
Test(dft, plaintexts_of_baby_and_giant_steps)
{
    uint64_t rng = kit_seed();
    for (uint32_t n = 2; n <= 128; n *= 2) {
        for (int trial = 0; trial < 10; trial++) {
            struct ldft f = random_factor(&rng, n);
            struct prog *p = dft_program(&f, n);
            struct diagonals d = lmap_diagonals(p, 0, true, p->arena);
            double complex x[128], y[128] = {0};
            for (uint32_t k = 0; k < n; k++) {
                x[k] = uniform(&rng) + I * uniform(&rng);
            }
            for (uint32_t i = 0; i < d.len; i++) {
                int64_t giant = (int64_t)ir_pick(&rng, 0, 2 * n) - n;
                int64_t baby = (int64_t)d.at[i].offset - giant;
                struct attr attrs[6] = {{.key = KEY_map, .v.i = 0},
                                        {.key = KEY_out, .v.i = 0},
                                        {.key = KEY_giant, .v.i = giant},
                                        {.key = KEY_in, .len = 1, .v.ints = (int64_t[]){0}},
                                        {.key = KEY_baby, .len = 1, .v.ints = &baby},
                                        {.key = KEY_period, .v.i = n}};
                struct node pmac = {.op = OP_pmac, .num_attrs = 6, .num_args = 1, .attrs = attrs};
                double re[128], im[128];
                pmac_plaintexts_complex(p, &pmac, &d, re, im);
                for (uint32_t k = 0; k < n; k++) {
                    uint32_t s = (uint32_t)((k + giant) & (n - 1));
                    y[k] += (re[s] + I * im[s]) * x[(s + baby) & (n - 1)];
                }
            }
            apply(&f, n, x);
            expect_close(y, x, n, "diagonals");
            arena_free(p->arena);
        }
    }
}

/* The complex form of an ordinary map is the real one. */
Test(dft, real_maps_have_no_imaginary_part)
{
    static const char text[] =
        "weft-ir 1 stage=slot\nmodel \"m\" hash=1 input=1x1x4 range=[0,1] outputs=4\n"
        "$0 = fill dims=[1,1,1,2] value=3\n@0 = layout 1x1x4 n=4 g=1,1 t=1,1 pitch=4 block=4\n"
        "&0 = map 1x1x4 @0\n  term 1x1x4 @0 weight=$0 to=0 from=0 groups=1 stride=[1,1] "
        "dilation=[1,1] up=[1,1] pad=[0,0,0,1] wrap=zeros\n%0 = input part=0 layout=@0\n"
        "%1 = pmac %0, %0 map=&0 out=0 giant=0 in=[0,0] baby=[0,1] period=4\n";
    struct prog *p = prog_parse(arena_new(), "t.ir", text, strlen(text));
    struct diagonals d = lmap_diagonals(p, 0, true, p->arena);
    double re[8], im[8], want[8];
    pmac_plaintexts_complex(p, &p->nodes.at[1], &d, re, im);
    pmac_plaintexts(p, &p->nodes.at[1], &d, want);
    double sum = 0;
    for (int k = 0; k < 8; k++) {
        cr_expect(re[k] == want[k] && im[k] == 0);
        sum += re[k];
    }
    cr_expect_float_eq(sum, 3 * 7, 0);
}
