/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Bootstraps as they are compiled, on real ciphertexts: how many bits the result has, beside what the noise
 * model says of the very same program and input. A channel of the input is a ciphertext, and each goes
 * through the same two functions.
 */
#include "backends.h"
#include "passes.h"
#include "random_net.h"
#include "rt_client.h"

#include <criterion/criterion.h>
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MOST = 1 << 16 };

struct boot {
    struct arena *a;
    struct prog *p;
    const char *folder;
    uint32_t n, in, out; /* slots; ciphertexts */
    double x[MOST], y[MOST];
};

/* build/weft of the build/tests/property/boot_precision that runs now */
static const char *weft(struct arena *a)
{
    char self[4096];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    cr_assert(n > 0);
    self[n] = 0;
    for (int up = 0; up < 3; up++)
        *strrchr(self, '/') = 0;
    return arena_printf(a, "%s/weft", self);
}

static void run(struct arena *a, const char *folder, const char *command)
{
    int rc = system(
        arena_printf(a, "cd %s && %s >log 2>&1 || { cat log >&2; exit 1; }", folder, command));
    cr_assert(rc == 0, "%s", command);
}

static void add_ones(struct str *s, const char *name, const char *value, uint32_t count)
{
    str_addf(s, "%s [", name);
    for (uint32_t i = 0; i < count; i++)
        str_addf(s, i ? ",%s" : "%s", value);
    str_add(s, "]\n");
}

/* Two ciphertexts as real and imaginary part of one: outputs 2 x and 2 y */
static const char *complex_text(struct arena *a, uint32_t n, double range)
{
    struct str s;
    str_init(&s, a);
    str_addf(&s,
             "# after slot_clean\nweft-ir 1 stage=slot\nmodel \"boot\" hash=00000000000000b1 "
             "input=2x1x%u range=[-1,1] outputs=%u\nmean [0,0]\nstd [1,1]\n"
             "@0 = layout 2x1x%u n=%u g=1,1 t=1,1 pitch=%u block=%u\nprogram\n",
             n, 2 * n, n, n, n, n);
    str_addf(&s, "%%0 = input part=0 layout=@0 : vec %u\n%%1 = input part=1 layout=@0 : vec %u\n",
             n, n);
    str_addf(
        &s,
        "%%2 = times_i %%1 : vec %u\n%%3 = add %%0, %%2 : vec %u\n"
        "%%4 = bootstrap %%3 range=%g complex=1 : vec %u\n%%5 = conj %%4 : vec %u\n"
        "%%6 = add %%4, %%5 : vec %u\n%%7 = sub %%5, %%4 : vec %u\n%%8 = times_i %%7 : vec %u\n"
        "%%9 = output %%6, %%8 layout=@0\n",
        n, n, range, n, n, n, n, n);
    return s.s;
}

/* `length` bootstraps one after the other of each of `in` ciphertexts; the results at the numbers `at` */
static const char *text_of(struct arena *a, uint32_t n, uint32_t in, double range, uint32_t length,
                           const uint32_t *at, uint32_t num_at)
{
    struct str s, outs;
    str_init(&s, a);
    str_init(&outs, a);
    uint32_t out = in * num_at, id = in;
    str_addf(&s,
             "# after slot_clean\nweft-ir 1 stage=slot\nmodel \"boot\" hash=00000000000000b0 "
             "input=%ux1x%u range=[-1,1] outputs=%u\n",
             in, n, out * n);
    add_ones(&s, "mean", "0", in);
    add_ones(&s, "std", "1", in);
    str_addf(&s, "@0 = layout %ux1x%u n=%u g=1,1 t=1,1 pitch=%u block=%u\n", in, n, n, n, n);
    if (out != in)
        str_addf(&s, "@1 = layout %ux1x%u n=%u g=1,1 t=1,1 pitch=%u block=%u\n", out, n, n, n, n);
    str_add(&s, "program\n");
    for (uint32_t i = 0; i < in; i++)
        str_addf(&s, "%%%u = input part=%u layout=@0 : vec %u\n", i, i, n);
    for (uint32_t i = 0; i < in; i++)
        for (uint32_t k = 1, last = i; k <= length; k++) {
            str_addf(&s, "%%%u = bootstrap %%%u range=%g : vec %u\n", id, last, range, n);
            for (uint32_t j = 0; j < num_at; j++)
                if (at[j] == k)
                    str_addf(&outs, outs.len ? ", %%%u" : "%%%u", id);
            last = id++;
        }
    str_addf(&s, "%%%u = output %s layout=@%d\n", id, outs.s, out != in);
    return s.s;
}

static struct boot *open_text(struct arena *a, const struct opts *o, const char *text, uint32_t n,
                              uint32_t in, uint32_t out)
{
    struct boot *b = arena_alloc(a, sizeof *b);
    *b = (struct boot){.a = a, .n = n, .in = in, .out = out};
    cr_assert(n * b->out <= MOST);
    b->p = prog_parse(a, "boot", text, strlen(text));
    prog_verify(b->p, NULL);
    b->p = pipeline_run(b->p, pass_find("lower_slot_ckks"), num_passes - 1, o, NULL, NULL);
    b->p->error_bound = 1; /* known: nothing to predict in the build */
    char *folder = arena_strdup(a, "/tmp/weft-boot-XXXXXX");
    cr_assert(mkdtemp(folder) != NULL);
    b->folder = folder;
    struct str s;
    str_init(&s, a);
    str_add(&s, "# after ckks_regs\n");
    prog_print(b->p, &s);
    file_write(arena_printf(a, "%s/net.ir", folder), s.s, s.len);
    return b;
}

static struct boot *open_boot(const struct opts *o, uint32_t n, uint32_t in, double range,
                              uint32_t length, const uint32_t *at, uint32_t num_at)
{
    struct arena *a = arena_new();
    const char *text = text_of(a, n, in, range, length, at, num_at);
    return open_text(a, o, text, n, in, in * num_at);
}

static struct opts toy_options(uint32_t log_n)
{
    return (struct opts){.log_n = log_n, .insecure = log_n != 0, .boot_single = true};
}

static void close_boot(struct boot *b)
{
    run(b->a, b->folder, "rm -rf *");
    rmdir(b->folder);
    arena_free(b->a);
}

/* Compiles; then x -> y: keys, encryption and decryption here, the inference in the server */
static void encrypted(struct boot *b)
{
    struct rt_error err;
    rt_secret *secret;
    struct arena *a = b->a;
    const char *f = b->folder;
    run(a, f, arena_printf(a, "%s build net.ir -o net --keep-c=c -q", weft(a)));
    char *headers = realpath("runtime", NULL);
    cr_assert(headers != NULL, "run it in the project's folder");
    run(a, f, arena_printf(a, "cc -shared -fPIC -I %s c/interface.c -o net.so", headers));
    free(headers);
    void *so = dlopen(arena_printf(a, "%s/net.so", f), RTLD_NOW);
    cr_assert(so != NULL, "%s", dlerror());
    const struct rt_interface *m = dlsym(so, "weft_interface");
    const char *in = arena_printf(a, "%s/in.ct", f), *out = arena_printf(a, "%s/out.ct", f);
    cr_assert(m && m->num_outputs == b->n * b->out);
    cr_assert_eq(rt_keygen(m, f, true, 2, &err), RT_OK, "%s", err.text);
    cr_assert_eq(rt_secret_load(&secret, m, arena_printf(a, "%s/secret.weft", f), &err), RT_OK);
    cr_assert_eq(rt_encrypt(secret, m, b->x, in, &err), RT_OK, "%s", err.text);
    run(a, f, "./net-server infer in.ct --keys eval.weft -o out.ct --threads 2");
    cr_assert_eq(rt_decrypt(secret, m, out, b->y, &err), RT_OK, "%s", err.text);
    rt_secret_free(secret);
    dlclose(so);
}

/* ---- figures --------------------------------------------------------------------------------- */

struct figures {
    double mean, deviation; /* of the error */
};

static struct figures figures_of(const double *y, const double *x, uint32_t n)
{
    double sum = 0, squares = 0;
    for (uint32_t i = 0; i < n; i++) {
        cr_assert(isfinite(y[i]), "slot %u is not finite", i);
        sum += y[i] - x[i];
        squares += (y[i] - x[i]) * (y[i] - x[i]);
    }
    return (struct figures){sum / n, sqrt(squares / n)};
}

/* Bits of |error| / range: a line for the whole, and one for each number of bits */
static void histogram(const char *what, const double *y, const double *x, uint32_t n, double range)
{
    uint32_t count[64] = {0};
    double sum = 0, squares = 0, worst = 63;
    for (uint32_t i = 0; i < n; i++) {
        double bits = fmin(-log2(fabs(y[i] - x[i]) / range + 0x1p-60), 63);
        sum += bits;
        squares += bits * bits;
        worst = fmin(worst, bits);
        count[bits > 0 ? (int)bits : 0]++;
    }
    double mean = sum / n;
    fprintf(stderr, "  %s: %.1f bits on average (deviation %.1f), %.1f of the worst slot\n   ",
            what, mean, sqrt(fmax(squares / n - mean * mean, 0)), worst);
    for (int k = 0; k < 64; k++)
        if (count[k])
            fprintf(stderr, " %d:%u", k, count[k]);
    fprintf(stderr, "\n");
}

enum input { RANDOM, CONSTANT, EXTREME, TWICE, FOUR_TIMES, NUM_INPUTS };
static const char *const input_names[] = {"random", "constant", "extreme", "2 x range",
                                          "4 x range"};

static void fill(enum input kind, double range, double *x, uint32_t n, struct random *r)
{
    for (uint32_t i = 0; i < n; i++) {
        double u = random_real(r, -range, range);
        x[i] = kind == RANDOM     ? u
               : kind == CONSTANT ? range / 3
               : kind == EXTREME  ? copysign(range, u)
               : kind == TWICE    ? 2 * copysign(range, u)
                                  : 4 * copysign(range, u);
    }
}

/* The model: deviation from `exact` and, unless NULL, from b->x over `trials` runs of the simulator, of
 * each ciphertext */
static void model(const struct boot *b, const double *exact, double *noise, double *bends,
                  uint32_t trials)
{
    double *got = arena_array(b->a, (size_t)b->n * b->out, sizeof *got);
    struct sim *s = sim_open(b->p);
    for (uint32_t t = 0; t < trials; t++) {
        struct sim_options o = {.noise = true, .seed = 100 + t};
        sim_image(s, &o, b->x, got);
        for (uint32_t c = 0; c < b->out; c++) {
            size_t at = (size_t)c * b->n;
            noise[c] += pow(figures_of(got + at, exact + at, b->n).deviation, 2) / trials;
            if (bends)
                bends[c] += pow(figures_of(got + at, b->x + at, b->n).deviation, 2) / trials;
        }
    }
    for (uint32_t c = 0; c < b->out; c++) {
        noise[c] = sqrt(noise[c]);
        if (bends)
            bends[c] = sqrt(bends[c]);
    }
    sim_close(s);
}

/* All inputs, each a ciphertext: within the range the result has the bits that the model says, outside
 * it is finite, and as far off as the model says. */
static void check_inputs(const struct opts *o, uint32_t n, double least_bits)
{
    static const uint32_t once[] = {1};
    const double range = 2;
    uint64_t seed = random_seed(20261121);
    struct random r = random_from(seed);
    struct boot *b = open_boot(o, n, NUM_INPUTS, range, 1, once, 1);
    double want[NUM_INPUTS] = {0}, bends[NUM_INPUTS] = {0};
    double *exact = arena_array(b->a, (size_t)n * NUM_INPUTS, sizeof *exact);
    for (int k = 0; k < NUM_INPUTS; k++)
        fill((enum input)k, range, b->x + (size_t)k * n, n, &r);
    sim_run(b->p, NULL, b->x, exact);
    encrypted(b);
    model(b, exact, want, bends, n < 64 ? 8 : 1);
    double factor = n < 64 ? 4 : 2; /* so few slots are no exact measure */
    fprintf(stderr, "N = 2^%u, %u slots, %s%s%s\n", b->p->params.log_n, n,
            b->p->params.insecure ? "INSECURE toy parameters" : "128 bits",
            o->boot_single ? "" : ", two ciphertexts a bootstrap",
            b->p->params.arcsine ? ", arcsine" : "");
    for (int k = 0; k < NUM_INPUTS; k++) {
        const double *x = b->x + (size_t)k * n, *y = b->y + (size_t)k * n;
        struct figures noise = figures_of(y, exact + (size_t)k * n, n), error = figures_of(y, x, n);
        histogram(input_names[k], y, x, n, range);
        fprintf(stderr,
                "    noise: deviation 2^%.2f, the model's 2^%.2f; with the bend of the sine 2^%.2f "
                "and 2^%.2f\n",
                log2(noise.deviation), log2(want[k]), log2(error.deviation), log2(bends[k]));
        if (k <= EXTREME) {
            cr_expect(noise.deviation < factor * want[k] && noise.deviation > want[k] / factor,
                      "%u slots, %s: deviation %g, the model says %g", n, input_names[k],
                      noise.deviation, want[k]);
            cr_expect(error.deviation < range * exp2(-least_bits), "%u slots, %s: only %.1f bits",
                      n, input_names[k], -log2(error.deviation / range));
        }
        cr_expect(error.deviation < 1.5 * bends[k] && error.deviation > bends[k] / 1.5,
                  "%u slots, %s: error %g, the model says %g", n, input_names[k], error.deviation,
                  bends[k]);
    }
    double more =
        b->p->params.arcsine ? 2 : 4; /* than a step before; the noise alone is half of that */
    cr_expect(bends[TWICE] > more * bends[RANDOM] && bends[FOUR_TIMES] > 4 * bends[TWICE],
              "the model does not tell of values beyond the range");
    close_boot(b);
}

Test(boot_precision, few_slots, .timeout = 300)
{
    struct opts o = toy_options(12);
    check_inputs(&o, 16, 10);
}

Test(boot_precision, some_slots, .timeout = 300)
{
    struct opts o = toy_options(12);
    check_inputs(&o, 256, 10);
}

Test(boot_precision, all_slots, .timeout = 300)
{
    struct opts o = toy_options(13);
    check_inputs(&o, 4096, 10);
}

Test(boot_precision, secure, .timeout = 600)
{
    struct opts o = toy_options(0);
    check_inputs(&o, 16, 10);
}

Test(boot_precision, pairs, .timeout = 300)
{
    struct opts o = toy_options(12);
    o.boot_single = false;
    check_inputs(&o, 256, 10);
}

Test(boot_precision, arcsine, .timeout = 300)
{
    struct opts o = toy_options(12);
    o.boot_precision = 15;
    check_inputs(&o, 256, 14);
}

Test(boot_precision, arcsine_pairs, .timeout = 300)
{
    struct opts o = toy_options(12);
    o.boot_precision = 15;
    o.boot_single = false;
    check_inputs(&o, 2048, 14);
}

/* Both parts arrive where they were, each with the bits that the model says. */
static void check_complex(const struct opts *o, uint32_t n)
{
    const double range = 2;
    struct random r = random_from(random_seed(20261122));
    struct arena *a = arena_new();
    struct boot *b = open_text(a, o, complex_text(a, n, range), n, 2, 2);
    double *exact = arena_array(a, 2 * (size_t)n, sizeof *exact), want[2] = {0};
    fill(RANDOM, range, b->x, n, &r);
    fill(EXTREME, range, b->x + n, n, &r);
    sim_run(b->p, NULL, b->x, exact);
    encrypted(b);
    model(b, exact, want, NULL, n < 64 ? 8 : 1);
    fprintf(stderr, "N = 2^%u, %u complex slots, %s\n", b->p->params.log_n, n,
            b->p->params.insecure ? "INSECURE toy parameters" : "128 bits");
    for (int k = 0; k < 2; k++) {
        double *x = b->x + (size_t)k * n, *y = b->y + (size_t)k * n, *z = exact + (size_t)k * n;
        struct figures noise = figures_of(y, z, n);
        cr_expect(noise.deviation < 4 * want[k] && noise.deviation > want[k] / 4,
                  "part %d: deviation %g, the model says %g", k, noise.deviation, want[k]);
        for (uint32_t i = 0; i < n; i++)
            y[i] /= 2;
        histogram(k ? "imaginary, extreme" : "real, random", y, x, n, range);
        fprintf(stderr, "    noise: deviation 2^%.2f, the model's 2^%.2f\n",
                log2(noise.deviation / 2), log2(want[k] / 2));
        double error = figures_of(y, x, n).deviation;
        cr_expect(error < range * 0x1p-10, "part %d: only %.1f bits", k, -log2(error / range));
    }
    close_boot(b);
}

Test(boot_precision, complex_slots, .timeout = 300)
{
    struct opts o = toy_options(12);
    check_complex(&o, 256);
}

Test(boot_precision, all_complex_slots, .timeout = 300)
{
    struct opts o = toy_options(12);
    check_complex(&o, 2048);
}

Test(boot_precision, complex_secure, .timeout = 600)
{
    struct opts o = toy_options(0);
    check_complex(&o, 16);
}

/* Fifty times in a row: independent errors grow with the square root, a drift would with the number. */
Test(boot_precision, fifty_in_a_row, .timeout = 600)
{
    enum { SLOTS = 256 };
    static const uint32_t at[] = {1, 10, 50};
    const double range = 2;
    struct random r = random_from(random_seed(20261121));
    struct opts o = toy_options(12);
    struct boot *b = open_boot(&o, SLOTS, 1, range, 50, at, 3);
    static double exact[3 * SLOTS];
    double want[3] = {0};
    for (uint32_t i = 0; i < SLOTS; i++)
        b->x[i] = random_real(&r, -range / 4, range / 4);
    sim_run(b->p, NULL, b->x, exact);
    encrypted(b);
    model(b, exact, want, NULL, 1);
    struct figures f[3];
    for (int k = 0; k < 3; k++) {
        char what[32];
        snprintf(what, sizeof what, "after %u", at[k]);
        f[k] = figures_of(b->y + k * SLOTS, exact + k * SLOTS, SLOTS);
        histogram(what, b->y + k * SLOTS, b->x, SLOTS, range);
        fprintf(stderr, "    noise: mean %.2g, deviation 2^%.2f, the model's 2^%.2f\n", f[k].mean,
                log2(f[k].deviation), log2(want[k]));
        cr_expect(f[k].deviation < 2 * want[k] && f[k].deviation > want[k] / 2,
                  "after %u: deviation %g, the model says %g", at[k], f[k].deviation, want[k]);
        cr_expect(f[k].deviation < 1.5 * sqrt(at[k]) * f[0].deviation,
                  "after %u: deviation %g, %g after one", at[k], f[k].deviation, f[0].deviation);
        cr_expect(fabs(f[k].mean) < 6 * f[k].deviation / sqrt(SLOTS), "after %u: the mean is %g",
                  at[k], f[k].mean);
    }
    close_boot(b);
}
