/* SPDX-License-Identifier: Apache-2.0 */
#include "pass_kit.h"

#include <criterion/criterion.h>
#include <string.h>

#define INPUT "%0 = input part=0 layout=@0\n"

static struct prog *hoisted(const char *nodes)
{
    return pkit_run(pkit_program(arena_new(), STAGE_SLOT, nodes), "lower_slot_ckks", "ckks_hoist",
                    &(struct opts){0});
}

Test(ckks_hoist, rewrites)
{
    static const struct {
        const char *nodes, *want;
    } table[] = {
        /* one decomposition for all rotations, one division for their sum */
        {INPUT
         "%1 = rot %0 by=1\n%2 = rot %0 by=2\n%3 = add %0, %1, %2\n%4 = output %3 layout=@0\n",
         "input decompose key_mul(1) key_mul(2) add mod_down add output"},
        /* sums of sums are one */
        {INPUT "%1 = rot %0 by=1\n%2 = add %0, %1\n%3 = rot %0 by=2\n%4 = add %2, %3\n%5 = output "
               "%4 layout=@0\n",
         "input decompose key_mul(1) key_mul(2) add mod_down add output"},
        /* unless they are used otherwise */
        {INPUT "%1 = rot %0 by=1\n%2 = add %0, %1\n%3 = rot %2 by=2\n%4 = add %2, %3\n%5 = output "
               "%4 layout=@0\n",
         "input decompose key_mul(1) mod_down add decompose key_mul(2) mod_down add output"},
        /* constants come after sums */
        {INPUT "%1 = rot %0 by=1\n%2 = padd %0 bias=$1 layout=@0 part=0\n%3 = rot %0 by=2\n%4 = "
               "add %1, %2, %3\n"
               "%5 = output %4 layout=@0\n",
         "input decompose key_mul(1) key_mul(2) add mod_down add padd output"},
        /* a rotated value that has another use keeps its own division */
        {INPUT "%1 = rot %0 by=1\n%2 = rot %0 by=2\n%3 = add %0, %1, %2\n%4 = mul %1, %3\n%5 = "
               "output %4 layout=@0\n",
         "input decompose key_mul(1) mod_down key_mul(2) mod_down add mul decompose key_mul "
         "mod_down output"},
        /* equal rotations are one, full turns are none */
        {INPUT "%1 = rot %0 by=3\n%2 = rot %0 by=-5\n%3 = rot %0 by=8\n%4 = add %1, %2, %3\n%5 = "
               "output %4 layout=@0\n",
         "input decompose key_mul(3) mod_down add output"},
        /* scalars too */
        {INPUT "%1 = rot %0 by=1\n%2 = add_scalar %0 constant=2\n%3 = rot %0 by=2\n%4 = "
               "add %1, %2, %3\n%5 = output %4 layout=@0\n",
         "input decompose key_mul(1) key_mul(2) add mod_down add add_scalar output"},
        /* sub is left alone */
        {INPUT "%1 = rot %0 by=1\n%2 = rot %0 by=2\n%3 = sub %1, %2\n%4 = output %3 layout=@0\n",
         "input decompose key_mul(1) mod_down key_mul(2) mod_down sub output"},
        /* a sum of products is relinearised once */
        {INPUT "%1 = rot %0 by=1\n%2 = mul %0, %0\n%3 = mul %0, %1\n%4 = add %2, %3, %0\n%5 = "
               "output %4 layout=@0\n",
         "input decompose key_mul(1) mod_down mul mul add decompose key_mul mod_down add output"},
        /* one that has another use is not part of it */
        {INPUT "%1 = mul %0, %0\n%2 = add %1, %0\n%3 = mul %2, %1\n%4 = add %3, %1\n%5 = "
               "output %4 layout=@0\n",
         "input mul decompose key_mul mod_down add mul decompose key_mul mod_down add output"},
        /* products at different scales are not summed before the division */
        {INPUT "%1 = mul %0, %0\n%2 = rot %0 by=1\n%3 = add %1, %2\n%4 = output %3 layout=@0\n",
         "input mul decompose key_mul mod_down decompose key_mul(1) mod_down add output"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const char *ops = pkit_ops_of(hoisted(table[i].nodes));
        cr_expect_str_eq(ops, table[i].want, "case %zu: %s", i, ops);
    }
}

/* `babies` rotations of the input enter `giants` plaintext products, which are rotated and summed. */
static struct prog *transform(uint32_t babies, uint32_t giants)
{
    struct arena *a = arena_new();
    struct str s, args, in, baby, sum;
    str_init(&s, a), str_init(&args, a), str_init(&in, a), str_init(&baby, a), str_init(&sum, a);
    str_add(&s, INPUT);
    str_add(&args, "%0"), str_add(&in, "0"), str_add(&baby, "0"), str_add(&sum, "");
    uint32_t next = 1;
    for (uint32_t b = 1; b < babies; b++, next++) {
        str_addf(&s, "%%%u = rot %%0 by=%u\n", next, b);
        str_addf(&args, ", %%%u", next);
        str_add(&in, ",0");
        str_addf(&baby, ",%u", b);
    }
    for (uint32_t g = 0; g < giants; g++) {
        str_addf(&s, "%%%u = pmac %s map=&0 out=0 giant=%u in=[%s] baby=[%s] period=8\n", next,
                 args.s, g, in.s, baby.s);
        if (g) {
            next++;
            str_addf(&s, "%%%u = rot %%%u by=%u\n", next, next - 1, g);
        }
        str_addf(&sum, g ? ", %%%u" : "%%%u", next++);
    }
    str_addf(&s, "%%%u = add %s\n%%%u = output %%%u layout=@0\n", next, sum.s, next + 1, next);
    return hoisted(s.s);
}

/* Many babies and few giants: products over QP. The other way round: each baby is divided. */
Test(ckks_hoist, double_hoisting_by_cost)
{
    struct prog *p = transform(8, 2);
    cr_assert_eq(pkit_count(p, OP_key_mul), 8);
    cr_assert_eq(pkit_count(p, OP_decompose), 2);
    cr_assert_eq(pkit_count(p, OP_mod_down), 2, "one before the giant step, one of the sum: %s",
                 pkit_ops_of(p));
    cr_assert_eq(pkit_count(p, OP_lift), 1, "the baby that is not rotated");
    p = transform(2, 7);
    cr_assert_eq(pkit_count(p, OP_key_mul), 7);
    cr_assert_eq(pkit_count(p, OP_mod_down), 2, "one baby, one sum: %s", pkit_ops_of(p));
    cr_assert_eq(pkit_count(p, OP_lift), 0);
}

/* A product that feeds another one is rescaled in between, so it must not enter it over QP. */
Test(ckks_hoist, chained_products)
{
    struct prog *p = hoisted(
        INPUT "%1 = rot %0 by=1\n%2 = rot %0 by=2\n%3 = rot %0 by=3\n"
              "%4 = pmac %0, %1, %2, %3 map=&0 out=0 giant=0 in=[0,0,0,0] baby=[0,1,2,3] period=8\n"
              "%5 = rot %4 by=1\n%6 = rot %4 by=2\n%7 = rot %4 by=3\n"
              "%8 = pmac %4, %5, %6, %7 map=&0 out=0 giant=0 in=[0,0,0,0] baby=[0,1,2,3] period=8\n"
              "%9 = output %8 layout=@0\n");
    cr_assert_eq(pkit_count(p, OP_lift), 2, "%s", pkit_ops_of(p));
    p = pkit_run(p, "ckks_params", "ckks_regs", &(struct opts){0});
    cr_assert_eq(p->nodes.at[0].type.level, 2);
}

/* The trace of a raised value is one sum over QP; plaintext products take what it and further rotations
 * are before their divisions. */
Test(ckks_hoist, raised)
{
    struct arena *a = arena_new();
    struct prog *p = pkit_program(
        a, STAGE_SLOT,
        INPUT "%1 = mod_raise %0 slots=16 modulus=1\n%2 = rot %1 by=8\n%3 = add %1, %2 : vec 8\n"
              "%4 = rot %1 by=1\n%5 = rot %1 by=9\n%6 = add %4, %5 : vec 8\n"
              "%7 = pmac %3, %6 map=&0 out=0 giant=0 in=[0,0] baby=[0,1] period=8\n"
              "%8 = output %7 layout=@0\n");
    p = pkit_run(p, "lower_slot_ckks", "ckks_hoist", &(struct opts){0});
    cr_assert_str_eq(pkit_ops_of(p), "input encapsulate mod_raise raised_mul(8) raised_mul add "
                                     "raised_mul(1) raised_mul(-7) add pmac mod_down output");
}
