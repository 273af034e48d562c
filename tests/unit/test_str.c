/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct str empty(void)
{
    struct str s;
    str_init(&s, arena_new());
    return s;
}

Test(str, grows)
{
    struct str s = empty();
    for (int i = 0; i < 1000; i++) {
        str_addf(&s, "%d,", i);
    }
    cr_assert_eq(s.len, strlen(s.s));
    cr_assert(strncmp(s.s, "0,1,2,", 6) == 0);
    cr_assert_str_eq(s.s + s.len - 8, "998,999,");
}

Test(str, long_formats_are_not_cut)
{
    struct str s = empty();
    str_addf(&s, "%0*d", 1000, 7);
    cr_assert_eq(s.len, 1000);
    cr_assert_eq(s.s[999], '7');
}

Test(str, bytes_may_be_zero)
{
    struct str s = empty();
    str_addn(&s, "a\0b", 3);
    cr_assert_eq(s.len, 3);
    cr_assert_eq(memcmp(s.s, "a\0b", 4), 0);
}

Test(str, doubles_are_short)
{
    static const struct {
        double x;
        const char *text;
    } table[] = {{0.1, "0.1"},
                 {1e-5, "1e-05"},
                 {0, "0"},
                 {-0.0, "-0"},
                 {1, "1"},
                 {0x1p40, "1099511627776"},
                 {1.0 / 3, "0.3333333333333333"},
                 {0.1 + 0.2, "0.30000000000000004"},
                 {1e300, "1e+300"},
                 {5e-324, "4.94065645841247e-324"},
                 {(double)NAN, "nan"},
                 {-(double)INFINITY, "-inf"},
                 {100000, "100000"}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct str s = empty();
        str_add_double(&s, table[i].x);
        cr_expect_str_eq(s.s, table[i].text);
    }
}

Test(str, doubles_read_back_to_the_same_bits)
{
    uint64_t rng = kit_seed();
    for (int i = 0; i < 100000; i++) {
        uint64_t bits = kit_random(&rng);
        double x, y;
        memcpy(&x, &bits, sizeof x);
        if (!isfinite(x)) {
            continue;
        }
        struct str s = empty();
        str_add_double(&s, x);
        y = strtod(s.s, NULL);
        cr_assert_eq(memcmp(&x, &y, sizeof x), 0, "%s", s.s);
        arena_free(s.a);
    }
}
