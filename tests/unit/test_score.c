/* SPDX-License-Identifier: Apache-2.0 */
#include <criterion/criterion.h>
#include <math.h>

#include "compiler.h"

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-4;
}

/* Values of Wilson's interval from R: binom::binom.wilson(x, n) */
Test(score, interval)
{
    static const struct {
        uint64_t part, all;
        double low, high;
    } want[] = {{5, 10, 0.236593, 0.763407},
                {0, 10, 0, 0.277533},
                {10, 10, 0.722467, 1},
                {98, 100, 0.929980, 0.994498}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        double low, high;
        score_interval(want[i].part, want[i].all, &low, &high);
        cr_assert(near(low, want[i].low) && near(high, want[i].high), "%zu: %g to %g", i, low,
                  high);
    }
}

Test(score, counts)
{
    struct score s = {0};
    const double clear[3] = {1, 3, 2.5}, same[3] = {1, 3.25, 2.5}, other[3] = {1, 3, 3.5};
    score_add(&s, 1, same, clear, 3);
    score_add(&s, 2, other, clear, 3);
    cr_assert(s.images == 2 && s.right == 2 && s.clear_right == 1 && s.agree == 1);
    cr_assert(s.values == 6 && s.max_error == 1 && s.sum_error == 1.25);
    cr_assert(s.worst_margin == 0.5);
    cr_assert(s.bin[0] == 4, "no error at all");
    cr_assert(s.bin[-2 - SCORE_LEAST] == 1, "0.25 is from 2^-2 on");
    cr_assert(s.bin[0 - SCORE_LEAST] == 1, "1 is from 2^0 on");
}

Test(score, not_a_number)
{
    struct score s = {0};
    score_error(&s, NAN);
    score_error(&s, 0.5);
    cr_assert(isnan(s.max_error));
    cr_assert(s.bin[SCORE_BINS - 1] == 1);
}
