/* SPDX-License-Identifier: Apache-2.0 */
/* The expected share of changed answers against drawing the noise many times. */
#include "backends.h"
#include "compiler.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CLASSES = 5, MOST = 4000 };

static double clear_values[MOST][CLASSES], noisy_values[MOST][CLASSES];
static double *clear_rows[MOST], *noisy_rows[MOST];
static uint64_t state;

static double uniform(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return ((double)((z ^ z >> 31) >> 11) + 0.5) * 0x1p-53;
}

static double normal(void)
{
    return sqrt(-2 * log(uniform())) * cos(2 * acos(-1) * uniform());
}

static void seed(void)
{
    const char *given = getenv("SEED");
    state = given ? strtoull(given, NULL, 0) : 20240607;
    cr_log_info("SEED=%llu", (unsigned long long)state);
}

/* Answers of deviation `spread`, errors of `deviation` times 1, 1.5, ... */
static struct sim_trials draw(uint32_t count, uint32_t trials, double spread, double deviation)
{
    for (uint32_t i = 0; i < count; i++) {
        clear_rows[i] = clear_values[i];
        noisy_rows[i] = noisy_values[i];
        for (uint32_t k = 0; k < CLASSES; k++) {
            clear_values[i][k] = spread * normal();
            noisy_values[i][k] = clear_values[i][k] + deviation * (1 + 0.5 * k) * normal();
        }
    }
    return (struct sim_trials){CLASSES, count, trials, clear_rows, noisy_rows};
}

static double drawn_share(const struct sim_trials *t, uint32_t times, double deviation)
{
    uint64_t changed = 0;
    for (uint32_t i = 0; i < t->count; i++) {
        for (uint32_t n = 0; n < times; n++) {
            double v[CLASSES];
            for (uint32_t k = 0; k < CLASSES; k++) {
                v[k] = t->clear[i][k] + deviation * (1 + 0.5 * k) * normal();
            }
            changed += score_top(v, CLASSES) != score_top(t->clear[i], CLASSES);
        }
    }
    return (double)changed / ((double)t->count * times);
}

/*
 * Deviations known well. The mean deviation as the least of a pair costs up to a half, and where
 * noise is large the sum over classes counts answers that several overtake.
 */
Test(agreement, share_that_drawing_finds)
{
    static const double deviation[] = {0.3, 0.03, 0.003}, most[] = {1.8, 1.5, 1.5};
    seed();
    for (size_t i = 0; i < sizeof deviation / sizeof *deviation; i++) {
        struct sim_trials t = draw(MOST, MOST, 1, deviation[i]);
        double found = drawn_share(&t, 100, deviation[i]), predicted = agreement_changed(&t);
        cr_expect(predicted > 0.95 * found && predicted < most[i] * found,
                  "deviation %g: %g predicted, %g drawn", deviation[i], predicted, found);
    }
}

/* 24 images and 4 noisy ones, as a build has: the mean over many such builds */
Test(agreement, few_images_on_average)
{
    enum { BUILDS = 2000 };
    const double deviation = 0.01;
    seed();
    double sum = 0, below = 0;
    struct sim_trials all = draw(MOST, MOST, 1, deviation);
    double truth = drawn_share(&all, 100, deviation);
    for (uint32_t i = 0; i < BUILDS; i++) {
        struct sim_trials t = draw(24, 4, 1, deviation);
        double predicted = agreement_changed(&t);
        sum += predicted;
        below += predicted < truth / 4;
    }
    double mean = sum / BUILDS;
    cr_expect(mean > truth && mean < 2.5 * truth, "%g on average, %g is true", mean, truth);
    cr_expect(below < 0.02 * BUILDS, "%g of %d builds see less than a quarter", below, BUILDS);
}

Test(agreement, mean_of_the_tail_is_its_integral)
{
    static const double ends[] = {1e-6, 9e-5, 1.1e-4, 0.1, 1, 5, 1000};
    enum { STEPS = 200000 };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        double sum = 0;
        for (uint32_t k = 0; k < STEPS; k++) {
            sum += erfc(ends[i] * (k + 0.5) / STEPS / sqrt(2)) / 2 / STEPS;
        }
        double found = agreement_mean_tail(ends[i]);
        cr_expect(fabs(found / sum - 1) < 1e-5, "to %g: %g, integral %g", ends[i], found, sum);
    }
}

Test(agreement, equal_answers_are_a_coin)
{
    seed();
    struct sim_trials t = draw(9, 4, 0, 1);
    double changed = agreement_changed(&t);
    cr_expect(changed > 0.5 && changed <= 1, "%g", changed);
}

Test(agreement, without_errors_nothing_changes)
{
    seed();
    struct sim_trials t = draw(9, 4, 1, 0);
    cr_expect_eq(agreement_changed(&t), 0);
}

/* A bias of one class counts as an error. */
Test(agreement, a_bias_counts)
{
    seed();
    struct sim_trials t = draw(100, 4, 1, 0);
    for (uint32_t i = 0; i < 4; i++) {
        noisy_values[i][2] += 0.5;
    }
    double changed = agreement_changed(&t);
    cr_expect(changed > 0.05, "%g", changed);
}

Test(agreement, one_class_never_changes_and_no_numbers_say_nothing)
{
    seed();
    struct sim_trials t = draw(9, 4, 1, 1);
    t.outputs = 1;
    cr_expect_eq(agreement_changed(&t), 0);
    t = draw(9, 4, 1, 1);
    noisy_values[2][1] = INFINITY;
    cr_expect(isnan(agreement_changed(&t)), "out of range");
    t = draw(9, 0, 1, 1);
    cr_expect(isnan(agreement_changed(&t)), "no noisy image");
}

Test(agreement, percent_is_never_rounded_up)
{
    struct arena *a = arena_new();
    static const struct {
        double changed;
        const char *text;
    } table[] = {{0, "100 %"},           {0.5, "50.00 %"},       {1e-3, "99.90 %"},
                 {0.0012345, "99.87 %"}, {2.1e-4, "99.979 %"},   {9.9999e-5, "99.9900 %"},
                 {6.5e-6, "99.99935 %"}, {1e-12, "99.999999 %"}, {1, "0.00 %"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *text = agreement_percent(table[i].changed, a);
        cr_expect_str_eq(text, table[i].text, "%g: %s", table[i].changed, text);
    }
    arena_free(a);
}
