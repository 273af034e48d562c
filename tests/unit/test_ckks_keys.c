/* SPDX-License-Identifier: Apache-2.0 */
#include "pass_kit.h"

#include <criterion/criterion.h>

#define INPUT "%0 = input part=0 layout=@0\n"

/* Rotations by 1 at two levels, by 2 below, -1 at the bottom; relinearisations at two levels. */
static const char nodes[] =
    INPUT "%1 = rot %0 by=1\n%2 = mul %0, %1\n%3 = rot %2 by=2\n%4 = mul %2, %3\n"
          "%5 = rot %4 by=1\n%6 = rot %4 by=-1\n%7 = add %5, %6\n%8 = output %7 layout=@0\n";

Test(ckks_keys, highest_level_of_use)
{
    struct opts o = {.log_n = 14};
    struct prog *p =
        pkit_run(pkit_program(arena_new(), STAGE_SLOT, nodes), "lower_slot_ckks", "ckks_keys", &o);
    static const struct key_spec want[] = {{KEY_KIND_RELINEARISE, 0, 2},
                                           {KEY_KIND_ROTATE, 1, 2},
                                           {KEY_KIND_ROTATE, 2, 1},
                                           {KEY_KIND_ROTATE, 8191, 1}};
    cr_assert_eq(p->num_keys, sizeof want / sizeof *want, "%u keys", p->num_keys);
    for (uint32_t i = 0; i < p->num_keys; i++) {
        cr_expect_eq(p->keys[i].by, want[i].by, "key %u: by %lld", i, (long long)p->keys[i].by);
        cr_expect_eq(p->keys[i].level, want[i].level, "key %u: level %d", i, p->keys[i].level);
    }
}

Test(ckks_keys, none)
{
    struct prog *p = pkit_program(arena_new(), STAGE_SLOT, INPUT "%1 = output %0 layout=@0\n");
    p = pkit_run(p, "lower_slot_ckks", "ckks_regs", &(struct opts){0});
    cr_assert_eq(p->num_keys, 0);
    cr_assert_eq(p->num_regs, 1);
}
