/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator on complex values: random programs against C99 complex numbers, raising the modulus, calls,
 * and the noise of what bootstraps are made of. */

#include "backends.h"
#include "ir_kit.h"
#include "ir_texts.h"
#include "sim/sim.h"

#include <complex.h>
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { N = 16, STEPS = 12 };

static const char head[] =
    "weft-ir 1 stage=slot\nmodel \"m\" hash=1 input=1x1x16 range=[0,1] outputs=16\n"
    "$0 = values dims=[1,1,1,2] data=[0.5,-2] : const [1,1,1,2]\n$1 = fill dims=[1] value=0.75\n"
    "@0 = layout 1x1x16 n=16 g=1,1 t=1,1 pitch=16 block=16\n"
    "&0 = map 1x1x16 @0\n  term 1x1x16 @0 weight=$0 to=0 from=0 groups=1 stride=[1,1] "
    "dilation=[1,1] up=[1,1] pad=[0,0,0,1] wrap=circular\n"
    "&1 = map 1x1x16 @0\n  term 1x1x16 @0 dft first=2 last=3 inverse=0\n"
    "&2 = map 1x1x16 @0\n  term 1x1x16 @0 dft first=1 last=4 inverse=1\n";

static void dft(uint32_t first, uint32_t last, bool inverse, const double complex *x,
                double complex *y)
{
    struct ldft f = {first, last, inverse};
    for (uint32_t out = 0; out < N; out++) {
        y[out] = 0;
        for (uint32_t in = 0; in < N; in++) {
            double re, im;
            dft_entry(&f, N, out, in, &re, &im);
            y[out] += (re + I * im) * x[in];
        }
    }
}

/* out[s] = 0.5 in[s] - 2 in[s+1]: what map 0 does */
static double complex window(const double complex *x, uint32_t s)
{
    return 0.5 * x[s] - 2 * x[(s + 1) % N];
}

/* Appends a random op on nodes below `next` to the text; its value into y. */
static void random_op(struct str *s, uint64_t *rng, uint32_t next, double complex (*v)[N],
                      double complex *y)
{
    uint32_t a = ir_pick(rng, 0, next - 1), b = ir_pick(rng, 0, next - 1);
    uint32_t op = ir_pick(rng, 0, 13);
    int by = (int)ir_pick(rng, 0, 40) - 20;
    str_addf(s, "%%%u = ", next);
    for (uint32_t k = 0; k < N; k++) {
        uint32_t turned = (k + (uint32_t)(by + 32)) % N;
        double complex value[] = {v[a][k] + v[b][k],
                                  v[a][k] - v[b][k],
                                  v[a][k] * v[b][k] / 8,
                                  v[a][turned],
                                  conj(v[a][k]),
                                  0.5 * v[a][k] - 0.25 * v[b][k] + 0.125,
                                  v[a][k] - 0.375,
                                  0.25 * v[a][k],
                                  I * v[a][k],
                                  v[a][k] + 0.75 * (k == 0) + 0.75 * (k != 0),
                                  window(v[a], k),
                                  window(v[a], k),
                                  0,
                                  0};
        y[k] = value[op];
    }
    switch (op) {
    case 0:
        str_addf(s, "add %%%u, %%%u\n", a, b);
        break;
    case 1:
        str_addf(s, "sub %%%u, %%%u\n", a, b);
        break;
    case 2: /* kept small */
        str_addf(s, "relabel %%%u gain=0.125\n", a);
        for (uint32_t k = 0; k < N; k++) {
            y[k] = v[a][k] / 8;
        }
        break;
    case 3:
        str_addf(s, "rot %%%u by=%d\n", a, by);
        break;
    case 4:
        str_addf(s, "conj %%%u\n", a);
        break;
    case 5:
        str_addf(s, "comb %%%u, %%%u factors=[0.5,-0.25] constant=0.125\n", a, b);
        break;
    case 6:
        str_addf(s, "add_scalar %%%u constant=-0.375\n", a);
        break;
    case 7:
        str_addf(s, "relabel %%%u gain=0.25\n", a);
        break;
    case 8:
        str_addf(s, "times_i %%%u\n", a);
        break;
    case 9:
        str_addf(s, "padd %%%u bias=$1 layout=@0 part=0\n", a);
        break;
    case 10:
        str_addf(s, "lin %%%u map=&0 out=0\n", a);
        break;
    case 11: /* the same map by its diagonals: entry s+1 of the input meets slot s */
        str_addf(s, "pmac %%%u map=&0 out=0 giant=0 in=[0] baby=[0] period=16\n", a);
        for (uint32_t k = 0; k < N; k++) {
            y[k] = 0.5 * v[a][k];
        }
        break;
    case 12:
        str_addf(s, "lin %%%u map=&1 out=0\n", a);
        dft(2, 3, false, v[a], y);
        break;
    default:
        str_addf(s, "lin %%%u map=&2 out=0\n", a);
        dft(1, 4, true, v[a], y);
    }
}

/* The last value's real parts are the program's output; its imaginary parts those of -i times it. */
static void run_text(const char *text, uint32_t last, bool imaginary, const double *image,
                     double *out)
{
    struct arena *a = arena_new();
    const char *tail = imaginary
                           ? arena_printf(a, "%%%u = times_i %%%u\n%%%u = output %%%u layout=@0\n",
                                          last + 1, last, last + 2, last + 1)
                           : arena_printf(a, "%%%u = output %%%u layout=@0\n", last + 1, last);
    char *whole = arena_printf(a, "%s%s", text, tail);
    struct prog *p = prog_parse(a, "t.ir", whole, strlen(whole));
    prog_verify(p, NULL);
    sim_run(p, NULL, image, out);
    for (uint32_t k = 0; imaginary && k < N; k++) {
        out[k] = -out[k];
    }
    arena_free(a);
}

Test(sim_complex, random_programs)
{
    uint64_t rng = kit_seed();
    for (int trial = 0; trial < 300; trial++) {
        static double complex v[STEPS + 3][N];
        double image[N], re[N], im[N];
        struct str s;
        str_init(&s, arena_new());
        str_addf(&s, "%s%%0 = input part=0 layout=@0\n%%1 = lin %%0 map=&2 out=0\n", head);
        for (uint32_t k = 0; k < N; k++) {
            v[0][k] = image[k] = kit_uniform(&rng, -1, 1);
        }
        dft(1, 4, true, v[0], v[1]);
        for (uint32_t i = 2; i < STEPS; i++) {
            random_op(&s, &rng, i, v, v[i]);
        }
        uint32_t last = STEPS;
        if (trial % 2 == 0) { /* a product, where every value has grown */
            str_addf(&s, "%%%u = mul %%%u, %%1\n", last, last - 1);
            for (uint32_t k = 0; k < N; k++) {
                v[last][k] = v[last - 1][k] * v[1][k];
            }
        } else { /* all diagonals of a factor at once */
            str_addf(&s,
                     "%%%u = rot %%%u by=2\n%%%u = rot %%%u by=4\n%%%u = rot %%%u by=-2\n"
                     "%%%u = rot %%%u by=6\n%%%u = rot %%%u by=-4\n%%%u = rot %%%u by=-6\n"
                     "%%%u = pmac %%%u, %%%u, %%%u, %%%u, %%%u, %%%u, %%%u map=&1 out=0 giant=0 "
                     "in=[0,0,0,0,0,0,0] baby=[0,2,4,6,-2,-4,-6] period=8\n",
                     last, last - 1, last + 1, last - 1, last + 2, last - 1, last + 3, last - 1,
                     last + 4, last - 1, last + 5, last - 1, last + 6, last - 1, last, last + 1,
                     last + 3, last + 2, last + 4, last + 5);
            dft(2, 3, false, v[last - 1], v[last]);
            last += 6;
        }
        run_text(s.s, last, false, image, re);
        run_text(s.s, last, true, image, im);
        const double complex *want = v[STEPS];
        for (uint32_t k = 0; k < N; k++) {
            cr_assert(cabs(re[k] + I * im[k] - want[k]) < 1e-9 * (1 + cabs(want[k])),
                      "slot %u: %g%+gi, wanted %g%+gi\n%s", k, re[k], im[k], creal(want[k]),
                      cimag(want[k]), s.s);
        }
        arena_free(s.a);
    }
}

/*
 * SlotToCoeff, raise, sum over the copies, CoeffToSlot: every value comes back plus whole multiples of the
 * modulus, and real after the sum with the conjugate. The rest of what raising did is in coefficients that
 * the sum over the copies (a trace) removes.
 */
static const char raising[] =
    "weft-ir 1 stage=slot\nmodel \"m\" hash=1 input=1x1x16 range=[0,1] outputs=16\n"
    "@0 = layout 1x1x16 n=16 g=1,1 t=1,1 pitch=16 block=16\n"
    "&0 = map 1x1x16 @0\n  term 1x1x16 @0 dft first=1 last=4 inverse=0\n"
    "&1 = map 1x1x16 @0\n  term 1x1x16 @0 dft first=1 last=4 inverse=1\n"
    "function \"raise\"\n%0 = input : vec 16\n%1 = lin %0 map=&0 out=0\n"
    "%2 = mod_raise %1 slots=64 modulus=0.25\n%3 = rot %2 by=32\n%4 = add %2, %3 : vec 32\n"
    "%5 = rot %4 by=16\n%6 = add %4, %5 : vec 16\n%7 = lin %6 map=&1 out=0\n%8 = conj %7\n"
    "%9 = comb %7, %8 factors=[0.125,0.125] constant=0\n%10 = output %9\n"
    "program\n%0 = input part=0 layout=@0\n%1 = call %0 func=0\n%2 = bootstrap %1\n"
    "%3 = output %2 layout=@0\n";

static struct prog *parsed(const char *text)
{
    struct prog *p = prog_parse(arena_new(), "t.ir", text, strlen(text));
    prog_verify(p, NULL);
    return p;
}

Test(sim_complex, raising_adds_whole_multiples)
{
    struct prog *p = parsed(raising);
    uint64_t rng = kit_seed();
    double image[N], out[N], again[N], sum = 0, squares = 0;
    enum { RUNS = 2000 };
    struct sim *s = sim_open(p);
    for (int run = 0; run < RUNS; run++) {
        for (uint32_t k = 0; k < N; k++) {
            image[k] = kit_uniform(&rng, -0.1, 0.1);
        }
        struct sim_options o = {.seed = (uint64_t)run};
        sim_image(s, &o, image, out);
        for (uint32_t k = 0; k < N; k++) {
            double multiple = (out[k] - image[k]) / 0.25;
            cr_assert(fabs(multiple - nearbyint(multiple)) < 1e-12, "%.17g", multiple);
            cr_assert(fabs(multiple) < 15.5);
            sum += nearbyint(multiple);
            squares += multiple * multiple;
        }
    }
    sim_image(s, &(struct sim_options){.seed = RUNS - 1}, image, again);
    cr_expect_eq(memcmp(out, again, sizeof out), 0, "not deterministic");
    sim_image(s, &(struct sim_options){.seed = RUNS}, image, again);
    cr_expect_neq(memcmp(out, again, sizeof out), 0, "the same multiples in every run");
    sim_close(s);
    /* Rounding a sum of 32 numbers uniform in [-1/2, 1/2] adds 1/12 to its variance 32/12. */
    double count = RUNS * (double)N, variance = squares / count;
    cr_expect(fabs(variance - 33. / 12) < 0.1, "variance %g", variance);
    cr_expect(fabs(sum / count) < 0.06, "mean %g", sum / count);
}

/* Without raising, a bootstrap's function is the identity; the calling program sees a real value. */
Test(sim_complex, calls_run_the_function)
{
    char text[sizeof raising];
    memcpy(text, raising, sizeof text);
    char *raise = strstr(text, "%2 = mod_raise %1 slots=64 modulus=0.25\n");
    char *rest = raise + strlen("%2 = mod_raise %1 slots=64 modulus=0.25\n");
    struct arena *a = arena_new();
    *raise = '\0';
    char *whole = arena_printf(a,
                               "%s%%2 = relabel %%1 gain=4\n%%3 = conj %%2\n%%4 = conj %%3\n"
                               "%%5 = rot %%4 by=16\n%%6 = add %%5%s",
                               text, strstr(rest, "%6 = add %4, %5") + strlen("%6 = add %4, %5"));
    struct prog *p = parsed(whole);
    double image[N], out[N];
    for (uint32_t k = 0; k < N; k++) {
        image[k] = k * k - 3.5;
    }
    sim_run(p, NULL, image, out);
    for (uint32_t k = 0; k < N; k++) {
        cr_expect(fabs(out[k] - image[k]) < 1e-10, "slot %u: %g", k, out[k]);
    }
    arena_free(a);
}

/* ---- ckks ----------------------------------------------------------------------------------- */

/* Of a program that ends in `last`, at level 2 of the chain of text "boot": the variance of what noise adds,
 * over slots and seeds. Equal seeds raise by equal multiples. */
static double measured(const char *function, double image_value)
{
    const char *text = ir_text("boot");
    const char *from = strstr(text, "key relinearise");
    const char *tables = strstr(text, "@0 = layout");
    const char *functions = strstr(text, "function \"stc\"");
    struct arena *a = arena_new();
    char *whole = arena_printf(a, "%.*s%.*s%s", (int)(from - text), text, (int)(functions - tables),
                               tables, function);
    struct prog *p = prog_parse(a, "t.ir", whole, strlen(whole));
    prog_verify(p, NULL);
    double image[32], exact[32], noisy[32], sum = 0;
    for (uint32_t k = 0; k < 32; k++) {
        image[k] = image_value;
    }
    enum { RUNS = 2000 };
    struct sim *s = sim_open(p);
    for (uint64_t run = 0; run < RUNS; run++) {
        sim_image(s, &(struct sim_options){.seed = run}, image, exact);
        sim_image(s, &(struct sim_options){.seed = run, .noise = true}, image, noisy);
        for (uint32_t k = 0; k < 32; k++) {
            sum += (noisy[k] - exact[k]) * (noisy[k] - exact[k]) / (32. * RUNS);
        }
    }
    sim_close(s);
    arena_free(a);
    return sum;
}

static void expect_ratio(const char *what, double got, double want)
{
    cr_expect(got / want > 0.9 && got / want < 1.1, "%s: variance %g, wanted %g", what, got, want);
}

static const double RING_N = 64, Q0 = 1073741441, P0 = 35184372088321, SCALE = 34359726112;

/* At level 0 of scale 32 q_0: encapsulate, raise, come back. */
Test(sim_complex, noise_of_raising)
{
    double got =
        measured("function \"raise\"\n%0 = input : ct 32 L=0 S=34359726112\n%1 = encapsulate %0\n"
                 "%2 = mod_raise %1 slots=32 modulus=0.03125 to=2\n%3 = raised_mul %2 by=1\n"
                 "%4 = mod_down %3 drop=0\n%5 = output %4\nprogram\n"
                 "%0 = input part=0 layout=@0 : ct 32 L=0 S=34359726112\n%1 = call %0 func=0\n"
                 "%2 = output %1 layout=@0\n",
                 0);
    double want = sim_var_fresh(RING_N, SCALE) + sim_var_encoding(RING_N, SCALE) +
                  sim_var_digit(RING_N, SCALE, log2(Q0), log2(P0)) +
                  sim_var_mod_down(RING_N, SCALE, 4, 2) + /* the sparse secret has weight 4 */
                  sim_var_digit(RING_N, SCALE, log2(Q0), log2(P0)) +
                  sim_var_mod_down(RING_N, SCALE, 2 * RING_N / 3, 2);
    expect_ratio("raising", got, want);
}

/* Complex plaintexts at a scale so small that their rounding is all there is */
Test(sim_complex, noise_of_complex_plaintexts)
{
    double got =
        measured("%0 = input part=0 layout=@0 : ct 32 L=2 S=1125899906842624\n"
                 "%1 = pmac %0 map=&0 out=0 giant=0 in=[0] baby=[0] period=8 pt_scale=1024\n"
                 "%2 = output %1 layout=@0\n",
                 3);
    expect_ratio("complex plaintexts", got, 9 * sim_var_encoding_complex(2 * 8, 1024));
    expect_ratio("half of real ones", sim_var_encoding_complex(16, 1024),
                 sim_var_encoding(16, 1024) / 2);
}

/* Rounded factors and constants are known: the error is exactly theirs. */
Test(sim_complex, noise_of_constants)
{
    static const char *const ops[] = {
        "comb %0 factors=[0.3] constant=0.7 to_scale=3377699720527872",
        "add_scalar %0 constant=0.7",
    };
    struct arena *a = arena_new();
    double scale = 0x1p50;
    double factor = 1 / 3. - 0.3; /* to three times the scale: 0.9 becomes 1 */
    double fresh = sim_var_fresh(RING_N, scale) + sim_var_encoding(RING_N, scale);
    double got =
        measured(arena_printf(a,
                              "%%0 = input part=0 layout=@0 : ct 32 L=2 S=1125899906842624\n"
                              "%%1 = %s\n%%2 = output %%1 layout=@0\n",
                              ops[0]),
                 2);
    expect_ratio("comb", got, 4 * factor * factor);
    got = measured(arena_printf(a,
                                "%%0 = input part=0 layout=@0 : ct 32 L=2 S=4\n"
                                "%%1 = %s\n%%2 = output %%1 layout=@0\n",
                                ops[1]),
                   2);
    fresh = sim_var_fresh(RING_N, 4) + sim_var_encoding(RING_N, 4);
    double constant = 0.75 - 0.7; /* at scale 4 */
    expect_ratio("add_scalar", got, fresh + constant * constant);
    arena_free(a);
}

/* The whole of text "boot", with noise: runs, and is the same twice. */
Test(sim_complex, bound_of_a_program_with_functions)
{
    struct prog *p = parsed(ir_text("boot"));
    double bound = sim_error_bound(p, NULL, 0);
    cr_expect_eq(bound, 0);
    double image[32] = {0}, a[32], b[32];
    struct sim_options o = {.noise = true, .seed = 5};
    sim_run(p, &o, image, a);
    sim_run(p, &o, image, b);
    cr_expect_eq(memcmp(a, b, sizeof a), 0);
    o.seed = 6;
    sim_run(p, &o, image, b);
    cr_expect_neq(memcmp(a, b, sizeof a), 0);
}
