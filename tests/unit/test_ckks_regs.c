/* SPDX-License-Identifier: Apache-2.0 */
#include "pass_kit.h"

#include <criterion/criterion.h>
#include <string.h>

#define INPUT "%0 = input part=0 layout=@0  # in\n"

static struct prog *run(struct arena *a, const char *nodes)
{
    return pkit_run(pkit_program(a, STAGE_SLOT, nodes), "lower_slot_ckks", "ckks_regs",
                    &(struct opts){0});
}

static uint64_t total_words(const struct prog *p)
{
    uint64_t sum = 0;
    for (uint32_t k = 0; k < p->num_regs; k++)
        sum += p->reg_words[k];
    return sum;
}

/* A chain lives in as few buffers as its widest step: product and digits, or digits, product and result. */
Test(ckks_regs, chains_reuse)
{
    struct arena *a = arena_new();
    struct str s;
    str_init(&s, a);
    str_add(&s, INPUT);
    for (int i = 1; i <= 20; i++)
        str_addf(&s, "%%%d = rot %%%d by=1  # l\n", i, i - 1);
    str_add(&s, "%21 = output %20 layout=@0\n");
    struct prog *p = run(a, s.s);
    cr_assert_leq(p->num_regs, 3, "%u registers", p->num_regs);
    arena_free(a);
}

/* A sum of many rotations of sums is accumulated: its memory does not grow with their number. */
Test(ckks_regs, sums_accumulate)
{
    uint64_t words[2];
    for (int size = 0; size < 2; size++) {
        struct arena *a = arena_new();
        struct str s, sum;
        str_init(&s, a), str_init(&sum, a);
        str_add(&s, INPUT);
        str_add(&sum, "");
        uint32_t terms = size ? 7 : 3, next = 1;
        for (uint32_t k = 0; k < terms; k++, next += 2) {
            str_addf(&s, "%%%u = pmac %%0 map=&0 out=0 giant=%u in=[0] baby=[0] period=8  # l\n",
                     next, k + 1);
            str_addf(&s, "%%%u = rot %%%u by=%u  # l\n", next + 1, next, k + 1);
            str_addf(&sum, k ? ", %%%u" : "%%%u", next + 1);
        }
        str_addf(&s, "%%%u = add %s  # l\n%%%u = output %%%u layout=@0\n", next, sum.s, next + 1,
                 next);
        struct prog *p = run(a, s.s);
        cr_assert_eq(pkit_count(p, OP_add), terms - 1, "sums of two");
        words[size] = total_words(p);
        arena_free(a);
    }
    cr_assert_eq(words[0], words[1], "%llu words for 3 terms, %llu for 7",
                 (unsigned long long)words[0], (unsigned long long)words[1]);
}

/* All inputs are read before the first layer runs: they come first and have registers of their own. */
Test(ckks_regs, inputs_first)
{
    struct arena *a = arena_new();
    struct prog *p =
        run(a, "%0 = input part=0 layout=@0\n%1 = mul %0, %0  # a\n%2 = output %1 layout=@0\n");
    struct prog *q = prog_derive(p, STAGE_CKKS);
    uint32_t x = prog_copy_node(q, &p->nodes.at[0], NULL), args[2] = {x, x};
    struct build b = build_at(q, NO_LOC, "a");
    uint32_t sum = build_node(&b, OP_add, args, 2);
    struct node late = p->nodes.at[0];
    node_set_int(q, &late, KEY_part, 0);
    args[0] = prog_copy_node(q, &late, NULL);
    args[1] = sum;
    sum = build_node(&b, OP_add, args, 2);
    for (uint32_t i = 0; i < q->nodes.len; i++)
        q->nodes.at[i].reg = NONE;
    struct node out = p->nodes.at[p->nodes.len - 1];
    prog_copy_node(q, &out, &sum);
    q = ckks_regs(q, &(struct opts){0});
    cr_assert_str_eq(pkit_ops_of(q), "input input add add output", "%s", pkit_ops_of(q));
    cr_assert_neq(q->nodes.at[0].reg, q->nodes.at[1].reg);
    arena_free(a);
}

/* Two layers whose nodes alternate are put together where nothing forces them apart. */
Test(ckks_regs, layers_stay_together)
{
    struct arena *a = arena_new();
    struct prog *p =
        run(a, INPUT "%1 = rot %0 by=1  # one\n%2 = rot %0 by=2  # two\n%3 = mul %1, %1  # one\n"
                     "%4 = mul %2, %2  # two\n%5 = mul %3, %3  # one\n%6 = mul %4, %4  # two\n"
                     "%7 = add %5, %6  # sum\n%8 = output %7 layout=@0  # out\n");
    uint32_t changes = 0;
    for (uint32_t i = 1; i < p->nodes.len; i++)
        changes += strcmp(p->nodes.at[i].layer, p->nodes.at[i - 1].layer) != 0;
    cr_assert_leq(changes, 4, "%u changes of layer", changes);
    arena_free(a);
}

/* Never in place: decompose, key_mul, mul, pmac (rt.h). The verifier checks it; here it could go wrong. */
Test(ckks_regs, results_apart)
{
    struct arena *a = arena_new();
    struct prog *p = run(
        a, INPUT
        "%1 = mul %0, %0  # l\n%2 = pmac %1 map=&0 out=0 giant=0 in=[0] baby=[0] period=8  # l\n"
        "%3 = padd %2 bias=$1 layout=@0 part=0  # l\n%4 = output %3 layout=@0\n");
    uint32_t shared = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        bool apart =
            n->op == OP_mul || n->op == OP_decompose || n->op == OP_key_mul || n->op == OP_pmac;
        for (uint32_t k = 0; k < n->num_args && n->type.kind != KIND_NONE; k++) {
            bool same = p->nodes.at[n->args[k]].reg == n->reg;
            cr_assert(!apart || !same, "%%%u overwrites its operand", i);
            shared += same;
        }
    }
    cr_assert_gt(shared, 0, "nothing is done in place");
    arena_free(a);
}
