/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"
#include "pass_kit.h"

#include <criterion/criterion.h>
#include <string.h>

Test(lower_slot_ckks, every_op)
{
    struct prog *p =
        pkit_program(arena_new(), STAGE_SLOT,
                     "%0 = input part=0 layout=@0\n%1 = rot %0 by=5\n%2 = mul %0, %1\n"
                     "%3 = pmac %0, %2 map=&0 out=0 giant=0 in=[0,0] baby=[0,1] period=8\n"
                     "%4 = padd %3 bias=$1 layout=@0 part=0\n%5 = sub %4, %0\n%6 = add %5, %0, %2\n"
                     "%7 = output %6 layout=@0\n");
    p = pkit_run(p, "lower_slot_ckks", "lower_slot_ckks", &(struct opts){0});
    cr_assert_str_eq(pkit_ops_of(p),
                     "input decompose key_mul(-3) mod_down mul decompose key_mul mod_down "
                     "pmac padd sub add output");
    for (uint32_t i = 0; i + 1 < p->nodes.len; i++) {
        const struct type *t = &p->nodes.at[i].type;
        cr_assert(t->kind >= KIND_CT && t->n == 8 && t->level == -1, "%%%u", i);
    }
}

/* Signed, so that vectors of different n share the key; half a turn is positive. */
Test(lower_slot_ckks, rotations)
{
    static const struct {
        int by, want;
    } table[] = {{1, 1},  {3, 3},  {4, 4}, {5, -3},  {7, -1}, {-1, -1},
                 {-4, 4}, {-5, 3}, {9, 1}, {15, -1}, {0, 0},  {8, 0}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct arena *a = arena_new();
        const char *text = arena_printf(
            a, "%%0 = input part=0 layout=@0\n%%1 = rot %%0 by=%d\n%%2 = output %%1 layout=@0\n",
            table[i].by);
        struct prog *p = pkit_run(pkit_program(a, STAGE_SLOT, text), "lower_slot_ckks",
                                  "lower_slot_ckks", &(struct opts){0});
        int64_t by = table[i].want ? node_int(&p->nodes.at[2], KEY_by) : 0;
        cr_expect_eq(by, table[i].want, "rotation by %d: %lld", table[i].by, (long long)by);
        cr_expect_eq(p->nodes.len, table[i].want ? 5 : 2);
        arena_free(a);
    }
}

static void run_lower(void *ctx)
{
    lower_slot_ckks(ctx, &(struct opts){0});
}

Test(lower_slot_ckks, refuses_lin)
{
    struct prog *p = pkit_program(
        arena_new(), STAGE_SLOT,
        "%0 = input part=0 layout=@0\n%1 = lin %0 map=&0 out=0\n%2 = output %1 layout=@0\n");
    struct caught c = ir_catch(run_lower, p);
    cr_assert(c.ended && !c.bug && strstr(c.text, "run slot_bsgs first"), "%s", c.text);
}
