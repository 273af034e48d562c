/* SPDX-License-Identifier: Apache-2.0 */
#include "pass_kit.h"

#include <criterion/criterion.h>

static struct prog *run(struct arena *a, const char *nodes)
{
    return pkit_run(pkit_program(a, STAGE_SLOT, nodes), "lower_slot_ckks", "ckks_group",
                    &(struct opts){0});
}

/* Products that are in a group, and how many groups these are */
static uint32_t grouped(const struct prog *p, enum kind kind, uint32_t *groups)
{
    uint32_t count = 0;
    int64_t highest = -1;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if (n->op != OP_pmac || n->type.kind != kind || !node_attr(n, KEY_group))
            continue;
        count++;
        int64_t g = node_int(n, KEY_group);
        highest = g > highest ? g : highest;
    }
    *groups = (uint32_t)(highest + 1);
    return count;
}

/* Multiples of the input are over Q whatever costs say; `products` of four of them, summed */
static const char *products_of_multiples(struct arena *a, uint32_t products)
{
    struct str s;
    str_init(&s, a);
    str_add(&s, "%0 = input part=0 layout=@0  # in\n");
    for (uint32_t i = 1; i <= 4; i++)
        str_addf(&s, "%%%u = add %%%u, %%0  # l\n", i, i - 1);
    uint32_t next = 5;
    struct str sum;
    str_init(&sum, a);
    for (uint32_t k = 0; k < products; k++, next += 2) {
        str_addf(&s,
                 "%%%u = pmac %%1, %%2, %%3, %%4 map=&0 out=0 giant=%u in=[0,0,0,0] "
                 "baby=[0,1,2,3] period=8  # l\n%%%u = rot %%%u by=%u  # l\n",
                 next, k + 1, next + 1, next, k + 1);
        str_addf(&sum, k ? ", %%%u" : "%%%u", next + 1);
    }
    str_addf(&s, "%%%u = add %s  # l\n%%%u = output %%%u layout=@0\n", next, sum.s, next + 1, next);
    return s.s;
}

Test(ckks_group, products_over_q_share_their_operands)
{
    struct arena *a = arena_new();
    uint32_t groups;
    struct prog *p = run(a, products_of_multiples(a, 3));
    cr_assert_eq(grouped(p, KIND_CT, &groups), 3);
    cr_assert_eq(groups, 1);
    arena_free(a);
}

/* One product has nobody to share with. */
Test(ckks_group, a_single_product_stays)
{
    struct arena *a = arena_new();
    uint32_t groups;
    struct prog *p = run(a, "%0 = input part=0 layout=@0  # in\n"
                            "%1 = pmac %0 map=&0 out=0 giant=1 in=[0] baby=[0] period=8  # l\n"
                            "%2 = rot %1 by=1  # l\n"
                            "%3 = output %2 layout=@0\n");
    cr_assert_eq(grouped(p, KIND_CT, &groups), 0);
    arena_free(a);
}

/* Few operands each are read from the caches; results that wait for each other would leave these. */
Test(ckks_group, few_operands_are_not_worth_it)
{
    struct arena *a = arena_new();
    uint32_t groups;
    struct prog *p = run(a, "%0 = input part=0 layout=@0  # in\n"
                            "%1 = pmac %0 map=&0 out=0 giant=1 in=[0] baby=[0] period=8  # l\n"
                            "%2 = rot %1 by=1  # l\n"
                            "%3 = pmac %0 map=&0 out=0 giant=2 in=[0] baby=[0] period=8  # l\n"
                            "%4 = rot %3 by=2  # l\n"
                            "%5 = add %2, %4  # l\n"
                            "%6 = output %5 layout=@0\n");
    cr_assert_eq(grouped(p, KIND_CT, &groups), 0);
    arena_free(a);
}
