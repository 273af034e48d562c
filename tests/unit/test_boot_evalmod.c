/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>

/* Errors in units of q_0 for messages of at most q_0 / 2^7, as in the literature on this
 * construction (cosine, double angles, nodes near the integers only). */
struct quality {
    uint32_t degree, doublings, imax;
    double bits;
};

ParameterizedTestParameters(boot_evalmod, quality)
{
    static struct quality q[] = {{63, 1, 15, 24.8}, {63, 1, 13, 35.9}, {63, 1, 12, 43.0},
                                 {55, 1, 11, 35.2}, {31, 2, 11, 23.4}, {31, 3, 15, 35.9},
                                 {23, 3, 11, 27.0}, {15, 4, 11, 21.6}, {127, 0, 15, 49.2}};
    return cr_make_param_array(struct quality, q, sizeof q / sizeof *q);
}

ParameterizedTest(struct quality *q, boot_evalmod, quality)
{
    const struct boot_sine *s = boot_sine(q->degree, q->doublings, q->imax, 7);
    cr_log_info("degree %u, %u doublings, |I| <= %u: %.2f bits, bound %.3f", q->degree,
                q->doublings, q->imax, s->bits, s->bound);
    cr_expect_geq(s->bits, q->bits - 0.2);
    cr_expect_leq(s->bits, q->bits + 4);
    cr_expect_float_eq(s->message_bits, s->bits - 7, 1e-12);
}

static double eval(const struct boot_sine *s, double u)
{
    double v = 0;
    for (uint32_t k = 0; k <= s->degree; k++)
        v += s->coeff[k] * cos(k * acos(u));
    for (uint32_t r = 0; r < s->doublings; r++)
        v = 2 * v * v - 1;
    return v;
}

Test(boot_evalmod, removes_multiples)
{
    const struct boot_sine *s = boot_sine(63, 1, 15, 7);
    for (int i = -15; i <= 15; i++)
        for (double m = -0x1p-7; m <= 0x1p-7; m += 0x1p-12)
            cr_assert_float_eq(eval(s, (i + m) / s->k), sin(2 * M_PI * m), 2 * M_PI * 0x1p-24);
}

Test(boot_evalmod, no_blow_up)
{
    const struct boot_sine *s = boot_sine(63, 1, 15, 7);
    cr_expect_eq(s->k, 15.25);
    for (uint32_t k = 0; k <= 63; k++)
        cr_expect_lt(fabs(s->coeff[k]), 0.3);
    cr_expect_lt(s->bound, 8);
    double most = 0;
    for (double u = -1; u <= 1; u += 0x1p-12)
        most = fmax(most, fabs(eval(s, u)));
    cr_log_info("largest |sine| anywhere: %.3f", most);
    cr_expect_lt(most, 2 * 8 * 8 + 1);
}

Test(boot_evalmod, memo_is_the_fit)
{
    const struct boot_sine *a = boot_sine(31, 2, 11, 7), first = *a;
    for (uint32_t ratio = 5; ratio < 25; ratio++)
        boot_sine(7, 2, 2, ratio);
    const struct boot_sine *b = boot_sine(31, 2, 11, 7);
    for (uint32_t k = 0; k <= 31; k++)
        cr_assert_eq(first.coeff[k], b->coeff[k]);
}

/* log2 of the probability for 2^14 coefficients */
Test(boot_evalmod, failure)
{
    static const struct {
        uint32_t h, imax;
        double log2;
    } row[] = {{24, 9, -29},  {24, 10, -44},  {24, 11, -69}, {28, 11, -42}, {28, 12, -59},
               {28, 13, -88}, {32, 9, -15},   {32, 11, -31}, {32, 12, -42}, {32, 13, -55},
               {32, 14, -75}, {32, 15, -108}, {40, 9, -9},   {40, 12, -27}, {40, 15, -54}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        cr_expect_float_eq(boot_log2_failure(row[i].h, row[i].imax, 0x1p14), row[i].log2, 1,
                           "h %u, |I| <= %u: %.2f", row[i].h, row[i].imax,
                           boot_log2_failure(row[i].h, row[i].imax, 0x1p14));
    cr_expect_eq(boot_log2_failure(30, 15, 0x1p14), -INFINITY, "31 halves cannot exceed 15.5");
    cr_expect_eq(boot_log2_failure(1024, 2, 0x1p16), 0, "a probability is at most one");
}

/* By drawing: P(|I| > 2) for h = 32 */
Test(boot_evalmod, failure_drawn)
{
    uint64_t state = 88172645463325252u, above = 0, draws = 400000;
    for (uint64_t d = 0; d < draws; d++) {
        double sum = 0;
        for (int i = 0; i < 33; i++) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            sum += (double)(state >> 11) * 0x1p-53 - 0.5;
        }
        above += fabs(sum) > 2.5;
    }
    cr_expect_float_eq((double)above / (double)draws, exp2(boot_log2_failure(32, 2, 1)), 0.002);
}
