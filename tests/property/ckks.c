/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Laws of the homomorphic operations, on encrypted random vectors against the same in doubles. Each
 * error must stay under ten standard deviations of the noise that the theory predicts (ten, because
 * a slot's noise is a product of Gaussians where it meets the secret, and that has long tails).
 *
 * Deviation a coefficient, for a ternary secret and sigma = 3.2: a fresh ciphertext sigma; rounding
 * after a division sqrt((1 + 2N/3)/12); key switching sqrt(N/12) sigma D/P for every digit, D its
 * product. A vector of n slots is decoded from 2n coefficients, so in slots it grows by sqrt(2n).
 */
#include "rt_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define N_SLOTS 64u

static const struct kit_shape toy = {.log_n = 10,
                                     .q_bits = {50, 40, 40, 40},
                                     .p_bits = {50, 50},
                                     .alpha = 2,
                                     .insecure = 1,
                                     .n = N_SLOTS,
                                     .num_in = 2,
                                     .num_out = 1,
                                     .input_level = 3,
                                     .output_level = 3,
                                     .input_scale = 0x1p40};

static double vx[2][8192], vy[8192], want[8192];

static void draw(uint64_t *rng, uint32_t n, double size)
{
    for (uint32_t i = 0; i < n; i++) {
        vx[0][i] = kit_uniform(rng, -size, size);
        vx[1][i] = kit_uniform(rng, -size, size);
    }
}

/* Ten standard deviations in a slot, of a noise of deviation sigma in the coefficients. */
static double ten(const struct kit *k, double sigma, double scale)
{
    return 10 * sigma * sqrt(2.0 * k->model.input.n) / scale;
}

static double rounding(const struct kit *k)
{
    return sqrt((1 + 2.0 / 3 * ldexp(1, (int)k->model.params.log_n)) / 12);
}

/* digits d, each below 2^digit_bits, times key noise, divided by P of p_bits, and rounded */
static double switching(const struct kit *k, double digits, double digit_bits, double p_bits)
{
    double n = ldexp(1, (int)k->model.params.log_n);
    double key = sqrt(digits * n / 12) * exp2(digit_bits - p_bits) * RING_SIGMA;
    return sqrt(key * key + rounding(k) * rounding(k));
}

/* Runs and compares with want; the inputs are vx[0], vx[1] packed one after the other. */
static void expect(struct kit *k, double bound, int threads)
{
    uint32_t n = k->model.input.n;
    double *x = malloc(2 * n * sizeof *x);
    memcpy(x, vx[0], n * sizeof *x);
    if (k->model.input.num_ct == 2) {
        memcpy(x + n, vx[1], n * sizeof *x);
    }
    struct rt_error err;
    bool ok = kit_run(k, x, vy, threads, &err);
    cr_assert(ok, "%s", err.text);
    double worst = 0;
    for (uint32_t i = 0; i < n; i++) {
        worst = fmax(worst, fabs(vy[i] - want[i]));
    }
    cr_assert_lt(worst, bound, "error %g, bound %g", worst, bound);
    /* a bound that is far from tight tests nothing */
    cr_assert_gt(worst, bound / 200, "error %g, bound %g is too wide", worst, bound);
    cr_log_info("error %g of bound %g", worst, bound);
    free(x);
}

Test(ckks, fresh)
{
    struct kit k;
    kit_make(&k, &toy);
    uint64_t rng = kit_seed();
    draw(&rng, N_SLOTS, 8);
    kit_output(&k, 1, 0x1p40);
    memcpy(want, vx[1], sizeof want);
    expect(&k, ten(&k, RING_SIGMA, 0x1p40), 1);
    kit_drop(&k);
}

Test(ckks, sums_and_differences)
{
    struct kit k;
    kit_make(&k, &toy);
    uint64_t rng = kit_seed();
    draw(&rng, N_SLOTS, 8);
    kit_do(&k, KIT_ADD, 2, 0, 1, 0);   /* x + y */
    kit_do(&k, KIT_ADD, 3, 2, 2, 0);   /* 2x + 2y */
    kit_do(&k, KIT_SUB, 3, 3, 1, 0);   /* 2x + y */
    kit_do(&k, KIT_RAISE, 3, 3, 0, 5); /* the same at 5 times the scale */
    kit_output(&k, 3, 5 * 0x1p40);
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        want[i] = 2 * vx[0][i] + vx[1][i];
    }
    expect(&k, ten(&k, sqrt(5) * RING_SIGMA, 0x1p40), 1);
    kit_drop(&k);
}

/* Product, relinearised, then divided by P and one prime in one rounding; and by two steps. */
Test(ckks, products)
{
    for (int fused = 0; fused < 2; fused++) {
        struct kit k;
        kit_make(&k, &toy);
        kit_key(&k, 0, 3);
        uint64_t rng = kit_seed();
        draw(&rng, N_SLOTS, 2);
        kit_do(&k, KIT_MUL, 2, 0, 1, 0);
        kit_do(&k, KIT_DECOMPOSE, 3, 2, 0, 0);
        kit_do(&k, KIT_KEY_MUL, 4, 3, 2, 0);
        if (fused) {
            kit_do(&k, KIT_MOD_DOWN, 4, 4, 0, 1);
        } else {
            kit_do(&k, KIT_MOD_DOWN, 5, 4, 0, 0);
            kit_do(&k, KIT_RESCALE, 4, 5, 0, 1);
        }
        double scale = 0x1p80 / (double)k.q[3];
        kit_output(&k, 4, scale);
        k.model.output_level = 2;
        for (uint32_t i = 0; i < N_SLOTS; i++) {
            want[i] = vx[0][i] * vx[1][i];
        }
        /* x e_y + y e_x: slots of about 2 times noises of relative scale 1 */
        double noise = hypot(2 * sqrt(2) * RING_SIGMA, rounding(&k));
        expect(&k, ten(&k, noise, scale), 1);
        kit_drop(&k);
    }
}

Test(ckks, squares)
{
    struct kit k;
    kit_make(&k, &toy);
    kit_key(&k, 0, 3);
    uint64_t rng = kit_seed();
    draw(&rng, N_SLOTS, 2);
    kit_do(&k, KIT_MUL, 2, 1, 1, 0);
    kit_do(&k, KIT_RESCALE, 2, 2, 0, 1); /* before relinearising: three parts */
    kit_do(&k, KIT_DECOMPOSE, 3, 2, 0, 0);
    kit_do(&k, KIT_KEY_MUL, 4, 3, 2, 0); /* a key made for level 3, used at level 2 */
    kit_do(&k, KIT_MOD_DOWN, 4, 4, 0, 0);
    double scale = 0x1p80 / (double)k.q[3];
    kit_output(&k, 4, scale);
    k.model.output_level = 2;
    for (uint32_t i = 0; i < N_SLOTS; i++) {
        want[i] = vx[1][i] * vx[1][i];
    }
    /* the rounding of part 2 meets s^2, of deviation (2/3) sqrt(N) a coefficient and a longer tail
     */
    double n = 1024;
    double third = 4 * sqrt(n / 12) * 2.0 / 3 * sqrt(n);
    double noise =
        sqrt(64 * RING_SIGMA * RING_SIGMA + 2 * rounding(&k) * rounding(&k) + third * third);
    expect(&k, ten(&k, noise, scale), 1);
    kit_drop(&k);
}

/* Every rotation step, at every level from that of its key down, one decomposition for several. */
Test(ckks, rotations)
{
    static const int64_t steps[] = {1, 2, 5, 31, 63, 64, 200, 511};
    for (int32_t level = 0; level < 4; level++) {
        for (size_t s = 0; s < sizeof steps / sizeof *steps; s++) {
            struct kit k;
            kit_make(&k, &toy);
            kit_key(&k, 7, 3);
            kit_key(&k, steps[s], level < 2 ? level + 1 : level);
            uint64_t rng = kit_seed() + s;
            draw(&rng, N_SLOTS, 8);
            kit_do(&k, KIT_DROP_TO, 2, 0, 0, level);
            kit_do(&k, KIT_DECOMPOSE, 3, 2, 0, 0);
            kit_do(&k, KIT_KEY_MUL, 4, 3, 2, 7);
            kit_do(&k, KIT_KEY_MUL, 5, 3, 2, steps[s]);
            kit_do(&k, KIT_ADD, 5, 5, 4, 0); /* still extended */
            kit_do(&k, KIT_LIFT, 2, 2, 0, 0);
            kit_do(&k, KIT_SUB, 5, 5, 2, 0);
            kit_do(&k, KIT_MOD_DOWN, 5, 5, 0, 0);
            kit_output(&k, 5, 0x1p40);
            k.model.output_level = level;
            for (uint32_t i = 0; i < N_SLOTS; i++) {
                want[i] =
                    vx[0][(i + (uint32_t)steps[s]) % N_SLOTS] + vx[0][(i + 7) % N_SLOTS] - vx[0][i];
            }
            double noise = hypot(sqrt(3) * RING_SIGMA, switching(&k, 2 * (level / 2 + 1), 90, 100));
            expect(&k, ten(&k, noise, 0x1p40), 1);
            kit_drop(&k);
        }
    }
}

/* Digits made at level 3, used at lower levels, are digits there. */
Test(ckks, digits_drop)
{
    for (int32_t level = 0; level < 4; level++) {
        struct kit k;
        kit_make(&k, &toy);
        kit_key(&k, 3, 3);
        uint64_t rng = kit_seed();
        draw(&rng, N_SLOTS, 8);
        kit_do(&k, KIT_DECOMPOSE, 3, 0, 0, 0);
        kit_do(&k, KIT_DROP_TO, 3, 3, 0, level);
        kit_do(&k, KIT_DROP_TO, 2, 0, 0, level);
        kit_do(&k, KIT_KEY_MUL, 4, 3, 2, 3);
        kit_do(&k, KIT_MOD_DOWN, 4, 4, 0, 0);
        kit_output(&k, 4, 0x1p40);
        k.model.output_level = level;
        for (uint32_t i = 0; i < N_SLOTS; i++) {
            want[i] = vx[0][(i + 3) % N_SLOTS];
        }
        expect(&k, ten(&k, hypot(RING_SIGMA, switching(&k, level / 2 + 1, 90, 100)), 0x1p40), 1);
        kit_drop(&k);
    }
}

/* sum of plaintext * register for ciphertexts and extended ciphertexts, every period, some mixed.
 */
Test(ckks, plaintext_products)
{
    enum { TERMS = 4 };
    for (int extended = 0; extended < 2; extended++) {
        for (uint32_t period = 1; period <= 128; period *= 2) {
            struct kit k;
            kit_make(&k, &toy);
            kit_key(&k, 1, 3);
            uint64_t rng = kit_seed() + period;
            draw(&rng, N_SLOTS, 4);
            static double weight[TERMS][N_SLOTS];
            for (uint32_t t = 0; t < TERMS; t++) {
                uint32_t own =
                    period > N_SLOTS || t == 2 ? N_SLOTS : period; /* one full in the middle */
                for (uint32_t i = 0; i < N_SLOTS; i++) {
                    weight[t][i] = i < own ? kit_uniform(&rng, -1, 1) : weight[t][i - own];
                }
                (void)kit_plain(&k, weight[t], N_SLOTS, own, 3, extended, 0x1p40);
            }
            kit_do(&k, KIT_ADD, 2, 0, 1, 0);
            kit_do(&k, KIT_SUB, 3, 0, 1, 0);
            for (uint32_t i = 0; extended && i < 4; i++) {
                kit_do(&k, KIT_LIFT, i, i, 0, 0);
            }
            kit_do(&k, KIT_PMAC, 5, 0, 0, TERMS);
            kit_do(&k, extended ? KIT_MOD_DOWN : KIT_RESCALE, 5, 5, 0, 1);
            double scale = 0x1p80 / (double)k.q[3];
            kit_output(&k, 5, scale);
            k.model.output_level = 2;
            for (uint32_t i = 0; i < N_SLOTS; i++) {
                double a = vx[0][i], b = vx[1][i];
                want[i] = weight[0][i] * a + weight[1][i] * b + weight[2][i] * (a + b) +
                          weight[3][i] * (a - b);
            }
            double noise = hypot(sqrt(6) * RING_SIGMA, rounding(&k));
            expect(&k, ten(&k, noise, scale), 1);
            kit_drop(&k);
        }
    }
}

/* More terms than are handed to the kernel at a time. */
Test(ckks, many_terms)
{
    enum { TERMS = 150 };
    struct kit k;
    kit_make(&k, &toy);
    uint64_t rng = kit_seed();
    draw(&rng, N_SLOTS, 1);
    kit_do(&k, KIT_ADD, 2, 0, 1, 0);
    kit_do(&k, KIT_SUB, 3, 0, 1, 0);
    memset(want, 0, sizeof want);
    for (uint32_t t = 0; t < TERMS; t++) {
        double weight[N_SLOTS];
        for (uint32_t i = 0; i < N_SLOTS; i++) {
            double a = vx[0][i], b = vx[1][i];
            const double x[4] = {a, b, a + b, a - b};
            weight[i] = kit_uniform(&rng, -1, 1);
            want[i] += weight[i] * x[t % 4];
        }
        (void)kit_plain(&k, weight, N_SLOTS, N_SLOTS, 3, false, 0x1p40);
    }
    kit_do(&k, KIT_PMAC, 5, 0, 0, TERMS);
    kit_do(&k, KIT_RESCALE, 5, 5, 0, 1);
    double scale = 0x1p80 / (double)k.q[3];
    kit_output(&k, 5, scale);
    k.model.output_level = 2;
    expect(&k, ten(&k, hypot(sqrt(TERMS * 1.5) * RING_SIGMA, rounding(&k)), scale), 1);
    kit_drop(&k);
}

Test(ckks, plaintext_sums)
{
    for (uint32_t period = 1; period <= N_SLOTS; period *= 2) {
        for (int extended = 0; extended < 2; extended++) {
            struct kit k;
            kit_make(&k, &toy);
            uint64_t rng = kit_seed() + period;
            draw(&rng, N_SLOTS, 4);
            double add[N_SLOTS];
            for (uint32_t i = 0; i < N_SLOTS; i++) {
                add[i] = i < period ? kit_uniform(&rng, -4, 4) : add[i - period];
                want[i] = vx[0][i] + add[i];
            }
            uint32_t p = kit_plain(&k, add, N_SLOTS, period, 3, false, 0x1p40);
            if (extended) {
                kit_do(&k, KIT_LIFT, 2, 0, 0, 0);
                kit_do(&k, KIT_PADD, 2, 2, p, 0);
                kit_do(&k, KIT_MOD_DOWN, 3, 2, 0, 0);
            } else {
                kit_do(&k, KIT_PADD, 3, 0, p, 0);
            }
            kit_output(&k, 3, 0x1p40);
            expect(&k, ten(&k, hypot(RING_SIGMA, extended ? rounding(&k) : 0), 0x1p40), 1);
            kit_drop(&k);
        }
    }
}

/* Two vectors out of full size, secure parameters: N = 2^13, log2 QP = 199. */
static const struct kit_shape secure = {.log_n = 13,
                                        .q_bits = {50, 45, 45},
                                        .p_bits = {50},
                                        .alpha = 1,
                                        .insecure = 0,
                                        .n = 4096,
                                        .num_in = 2,
                                        .num_out = 1,
                                        .input_level = 2,
                                        .output_level = 0,
                                        .input_scale = 0x1p45};

/* (x * y) rotated by 17, times full weights, plus a constant */
static void small_network(struct kit *k, uint64_t *rng)
{
    static double weight[4096], bias[4096];
    draw(rng, 4096, 1);
    kit_key(k, 0, 2);
    kit_key(k, 17, 1);
    for (uint32_t i = 0; i < 4096; i++) {
        weight[i] = kit_uniform(rng, -1, 1);
        bias[i] = kit_uniform(rng, -1, 1);
        double z = vx[0][(i + 17) % 4096] * vx[1][(i + 17) % 4096];
        want[i] = weight[i] * z + bias[i];
    }
    kit_do(k, KIT_MUL, 2, 0, 1, 0);
    kit_do(k, KIT_DECOMPOSE, 3, 2, 0, 0);
    kit_do(k, KIT_KEY_MUL, 4, 3, 2, 0);
    kit_do(k, KIT_MOD_DOWN, 4, 4, 0, 1);
    double scale = 0x1p90 / (double)k->q[2];
    kit_do(k, KIT_DECOMPOSE, 3, 4, 0, 0);
    kit_do(k, KIT_KEY_MUL, 5, 3, 4, 17);
    uint32_t w = kit_plain(k, weight, 4096, 4096, 1, true, (double)k->q[1]);
    kit_do(k, KIT_PMAC, 6, 5, w, 1);
    kit_do(k, KIT_MOD_DOWN, 6, 6, 0, 1);
    uint32_t b = kit_plain(k, bias, 4096, 4096, 0, false, scale);
    kit_do(k, KIT_PADD, 6, 6, b, 0);
    kit_output(k, 6, scale);
}

static double network_bound(const struct kit *k)
{
    double key = switching(k, 1, 50, 50); /* the digit of q_0 outweighs the others */
    double noise = sqrt(2 * RING_SIGMA * RING_SIGMA + 2 * rounding(k) * rounding(k) + key * key);
    return ten(k, noise, k->model.output_scale);
}

Test(ckks, secure_parameters)
{
    struct kit k;
    kit_make(&k, &secure);
    uint64_t rng = kit_seed();
    small_network(&k, &rng);
    expect(&k, network_bound(&k), 0);
    kit_drop(&k);
}

/* The same keys and the same ciphertext: the same bytes out at one, two and three threads. */
Test(ckks, threads_do_not_matter)
{
    struct kit k;
    kit_make(&k, &secure);
    uint64_t rng = kit_seed();
    small_network(&k, &rng);
    expect(&k, network_bound(&k), 2);
    char data[128], keys[128], in[128], out[128];
    kit_path(&k, data, "model.dat");
    kit_path(&k, keys, "eval.weft");
    kit_path(&k, in, "in.weft");
    kit_path(&k, out, "out.weft");
    size_t size;
    uint8_t *first = kit_read(out, &size);
    for (int threads = 1; threads <= 3; threads++) {
        struct rt_error err;
        rt_eval *e;
        cr_assert_eq(rt_eval_open(&e, &k.program, data, keys, threads, &err), RT_OK, "%s",
                     err.text);
        for (int again = 0; again < 2; again++) {
            cr_assert_eq(rt_infer(e, in, out, NULL, NULL, &err), RT_OK, "%s", err.text);
            size_t now;
            uint8_t *bytes = kit_read(out, &now);
            cr_assert_eq(now, size);
            cr_assert_eq(memcmp(bytes, first, size), 0, "%d threads", threads);
            free(bytes);
        }
        rt_eval_close(e);
    }
    free(first);
    kit_drop(&k);
}
