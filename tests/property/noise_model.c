/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The simulator's noise formulas against the runtime: variance over all N/2 slots and several keys
 * of what encryption, encoding, rounding and key switching do to a vector. In each case one source
 * is made to dwarf the others, or the others are added from their own formula. A factor of two in a
 * formula (a forgotten real part, a forgotten symmetry) fails.
 */
#include "ir.h"
#include "rt_kit.h"
#include "sim/sim.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { LOG_N = 11, SLOTS = 1 << (LOG_N - 1), KEYS = 6 };
static const double N = 2 * SLOTS;

static struct kit_shape shape(unsigned special_bits)
{
    return (struct kit_shape){.log_n = LOG_N,
                              .q_bits = {50, 40, 40},
                              .p_bits = {special_bits},
                              .alpha = 1,
                              .insecure = 1,
                              .n = SLOTS,
                              .num_in = 1,
                              .num_out = 1,
                              .input_level = 2,
                              .output_level = 2,
                              .input_scale = 0x1p40};
}

/* Runs and returns the mean of |result - want|^2. */
static double run(struct kit *k, const double *x, const double *want)
{
    static double y[SLOTS];
    struct rt_error err;
    bool ok = kit_run(k, x, y, 1, &err);
    cr_assert(ok, "%s", err.text);
    double sum = 0;
    for (int i = 0; i < SLOTS; i++)
        sum += (y[i] - want[i]) * (y[i] - want[i]);
    kit_drop(k);
    return sum / SLOTS;
}

/* |s(zeta)|^2 weights the slots unevenly: six keys of 1024 slots estimate to a few percent. */
static void compare(const char *what, double measured, double model)
{
    double ratio = measured / KEYS / model;
    cr_log_info("%s: measured %.3f of the model", what, ratio);
    cr_assert(ratio > 0.8 && ratio < 1.25, "%s: measured %.3f of the model's variance", what,
              ratio);
}

static double x[SLOTS], v[SLOTS], want[SLOTS];

static void draw(uint64_t *rng, double *to)
{
    for (int i = 0; i < SLOTS; i++)
        to[i] = kit_uniform(rng, -1, 1);
}

Test(noise_model, fresh)
{
    uint64_t rng = kit_seed();
    double sum = 0;
    for (int key = 0; key < KEYS; key++) {
        struct kit k;
        struct kit_shape s = shape(50);
        kit_make(&k, &s);
        draw(&rng, x);
        kit_output(&k, 0, 0x1p40);
        sum += run(&k, x, x);
    }
    compare("fresh", sum, sim_var_fresh(N, 0x1p40) + sim_var_encoding(N, 0x1p40));
}

/* Plaintexts of full and of short period at a scale so small that their rounding is all there is */
Test(noise_model, encoding)
{
    uint64_t rng = kit_seed();
    for (uint32_t period = SLOTS; period >= 256; period /= 4) {
        double sum = 0;
        for (int key = 0; key < KEYS; key++) {
            struct kit k;
            struct kit_shape s = shape(50);
            kit_make(&k, &s);
            draw(&rng, x);
            draw(&rng, v);
            double power = 0;
            for (uint32_t i = 0; i < SLOTS; i++) {
                v[i] = v[i % period];
                want[i] = x[i] * v[i];
                power += x[i] * x[i] / SLOTS;
            }
            uint32_t plain = kit_plain(&k, v, SLOTS, period, 2, false, 0x1p10);
            kit_do(&k, KIT_PMAC, 1, 0, plain, 1);
            kit_output(&k, 1, 0x1p50);
            sum += run(&k, x, want) / power;
        }
        compare("encoding", sum, sim_var_encoding(2 * period, 0x1p10));
    }
}

Test(noise_model, rescale)
{
    uint64_t rng = kit_seed();
    double sum = 0, scale = 0;
    for (int key = 0; key < KEYS; key++) {
        struct kit k;
        struct kit_shape s = shape(50);
        kit_make(&k, &s);
        draw(&rng, x);
        kit_do(&k, KIT_RAISE, 1, 0, 0, 1 << 20);
        kit_do(&k, KIT_RESCALE, 1, 1, 0, 1);
        scale = 0x1p60 / (double)k.q[2];
        kit_output(&k, 1, scale);
        k.model.output_level = 1;
        sum += run(&k, x, x);
    }
    /* the mean over secrets of the formula, which is linear in |s|^2 */
    compare("rescale", sum, sim_var_mod_down(N, scale, 2 * N / 3, 2));
}

Test(noise_model, key_switching)
{
    uint64_t rng = kit_seed();
    double sum = 0, model = 0;
    for (int key = 0; key < KEYS; key++) {
        struct kit k;
        struct kit_shape s = shape(50);
        kit_make(&k, &s);
        kit_key(&k, 1, 2);
        draw(&rng, x);
        for (uint32_t i = 0; i < SLOTS; i++)
            want[i] = x[(i + 1) % SLOTS];
        kit_rotate(&k, 2, 0, 1, 1, 0);
        kit_output(&k, 2, 0x1p40);
        sum += run(&k, x, want);
        double log2_p = log2((double)k.p[0]);
        model = 0;
        for (int i = 0; i < 3; i++) /* one prime a digit */
            model += sim_var_digit(N, 0x1p40, log2((double)k.q[i]), log2_p);
    }
    compare("key switching", sum,
            model + sim_var_fresh(N, 0x1p40) + sim_var_encoding(N, 0x1p40) +
                sim_var_mod_down(N, 0x1p40, 2 * N / 3, 2));
}

/* Diagonals of a DFT factor: errors of complex plaintexts, of which the real slots see the real part */
Test(noise_model, complex_encoding)
{
    uint64_t rng = kit_seed();
    for (uint32_t last = 10; last >= 6; last -= 2) {
        struct ldft f = {1, last, false};
        double sum = 0;
        for (int key = 0; key < KEYS; key++) {
            struct kit k;
            struct kit_shape s = shape(50);
            kit_make(&k, &s);
            draw(&rng, x);
            double power = 0;
            for (uint32_t i = 0; i < SLOTS; i++) {
                double re, im;
                dft_entry(&f, SLOTS, i, (i + 3) % SLOTS, &re, &im);
                want[i] = re * x[i];
                power += x[i] * x[i] / SLOTS;
            }
            uint32_t plain =
                kit_dft(&k, f.first | f.last << 8, SLOTS, 1u << last, 3, 0, 2, false, 0x1p10);
            kit_do(&k, KIT_PMAC, 1, 0, plain, 1);
            kit_output(&k, 1, 0x1p50);
            sum += run(&k, x, want) / power;
        }
        compare("complex encoding", sum, sim_var_encoding_complex(2 << last, 0x1p10));
    }
}

/*
 * To the sparse secret, up to level 2 and back under the dense secret. Modulo q_0 alone the multiples of q_0
 * vanish again, so that the message and its errors can be read at level 0. With q_0 of 50 bits beside a
 * special prime of 50 the digits are most of it, with 36 bits the roundings are.
 */
Test(noise_model, raising)
{
    enum { WEIGHT = 32 };
    uint64_t rng = kit_seed();
    for (unsigned bits = 50; bits >= 36; bits -= 14) {
        double sum = 0, model = 0, scale = ldexp(1, (int)bits - 10);
        for (int key = 0; key < KEYS; key++) {
            struct kit k;
            struct kit_shape s = shape(50);
            s.q_bits[0] = bits;
            s.sparse_weight = WEIGHT;
            s.input_scale = scale;
            kit_make(&k, &s);
            kit_key_of(&k, RT_KEY_ENCAPSULATE, 0, 0);
            kit_key_of(&k, RT_KEY_RAISED, 1, 2);
            draw(&rng, x);
            for (uint32_t i = 0; i < SLOTS; i++)
                want[i] = x[(i + 1) % SLOTS];
            kit_do(&k, KIT_DROP_TO, 1, 0, 0, 0);
            kit_do(&k, KIT_ENCAPSULATE, 2, 1, 0, 0);
            kit_do(&k, KIT_MOD_RAISE, 3, 2, 0, 2);
            kit_do(&k, KIT_RAISED_MUL, 4, 3, 0, 1);
            kit_do(&k, KIT_MOD_DOWN, 1, 4, 0, 0);
            kit_do(&k, KIT_DROP_TO, 1, 1, 0, 0);
            kit_output(&k, 1, scale);
            k.model.output_level = 0;
            sum += run(&k, x, want);
            double digit = sim_var_digit(N, scale, log2((double)k.q[0]), log2((double)k.p[0]));
            model = 2 * digit + sim_var_fresh(N, scale) + sim_var_encoding(N, scale) +
                    sim_var_mod_down(N, scale, WEIGHT, 2) +
                    sim_var_mod_down(N, scale, 2 * N / 3, 2);
        }
        compare("raising", sum, model);
    }
}
