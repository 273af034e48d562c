/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"
#include "level.h"
#include "pass_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define INPUT "%0 = input part=0 layout=@0\n"
#define PMAC  " map=&0 out=0 giant=0 in=[0] baby=[0] period=8\n"
#define PADD  " bias=$1 layout=@0 part=0\n"

/* From a slot program to levels; every pass is verified, which compares the scales of sums. */
static struct prog *leveled(const char *nodes, uint32_t precision)
{
    struct opts o = {.precision = precision};
    return pkit_run(pkit_program(arena_new(), STAGE_SLOT, nodes), "lower_slot_ckks", "ckks_level",
                    &o);
}

static const struct type *output_type(const struct prog *p)
{
    const struct node *n = &p->nodes.at[p->nodes.len - 1];
    cr_assert_eq(n->op, OP_output);
    return &p->nodes.at[n->args[0]].type;
}

struct expectation {
    const char *nodes;
    int top;           /* level of the input */
    double input_bits; /* of its scale, in units of the precision */
    uint32_t rescales, raises, drops;
};

/* What is computed, how many primes it takes and which steps between */
static const struct expectation table[] = {
    /* one plaintext product: the fresh ciphertext takes the place of a square */
    {INPUT "%1 = pmac %0" PMAC "%2 = output %1 layout=@0\n", 1, 2, 1, 0, 0},
    /* a product needs its factors rescaled, and then the output does */
    {INPUT "%1 = mul %0, %0\n%2 = output %1 layout=@0\n", 1, 1, 1, 1, 0},
    /* square, plaintext product: one prime for both */
    {INPUT "%1 = mul %0, %0\n%2 = pmac %1" PMAC "%3 = output %2 layout=@0\n", 1, 1, 1, 0, 0},
    /* the schedule of a layer, twice */
    {INPUT "%1 = pmac %0" PMAC "%2 = padd %1" PADD "%3 = mul %2, %2\n%4 = pmac %3" PMAC
           "%5 = output %4 layout=@0\n",
     2, 2, 2, 0, 0},
    /* products of products are raised, so that a large prime can go */
    {INPUT "%1 = mul %0, %0\n%2 = mul %1, %1\n%3 = mul %2, %2\n%4 = output %3 layout=@0\n", 3, 1, 3,
     3, 0},
    /* two plaintext products in a row: the second takes DATA */
    {INPUT "%1 = pmac %0" PMAC "%2 = pmac %1" PMAC "%3 = output %2 layout=@0\n", 2, 2, 2, 0, 0},
    /* a rotation of a sum that is still to be rescaled runs before that */
    {INPUT "%1 = pmac %0" PMAC "%2 = rot %1 by=3\n%3 = add %1, %2\n%4 = output %3 layout=@0\n", 1,
     2, 1, 0, 0},
    /* but what feeds another plaintext product is rescaled once, before its rotations */
    {INPUT "%1 = pmac %0" PMAC "%2 = rot %1 by=1\n%3 = rot %1 by=2\n"
           "%4 = pmac %1, %2, %3 map=&0 out=0 giant=0 in=[0,0,0] baby=[0,1,2] period=8\n%5 = "
           "output %4 layout=@0\n",
     2, 2, 2, 0, 0},
    /* x^2 + x: both are raised to the scale of a plaintext product */
    {INPUT "%1 = mul %0, %0\n%2 = add %1, %0\n%3 = output %2 layout=@0\n", 1, 1, 1, 2, 0},
    /* pmac(x) + x: x is raised, and nothing is rescaled twice */
    {INPUT "%1 = pmac %0" PMAC "%2 = add %1, %0\n%3 = output %2 layout=@0\n", 1, 2, 1, 1, 0},
    /* x^4 + x^2 with x^2 a level above: its scale is brought to that of the lower level */
    {INPUT "%1 = mul %0, %0\n%2 = mul %1, %1\n%3 = mul %2, %2\n%4 = add %3, %1\n%5 = output %4 "
           "layout=@0\n",
     3, 1, 4, 5, 0},
};

Test(ckks_level, steps)
{
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        const struct expectation *e = &table[i];
        struct prog *p = leveled(e->nodes, 27);
        const struct type *in = &p->nodes.at[0].type, *out = output_type(p);
        const char *ops = pkit_ops_of(p);
        cr_expect_eq(in->level, e->top, "case %zu: level %d: %s", i, in->level, ops);
        cr_expect_float_eq(log2(in->scale), 27 * e->input_bits, 1e-9, "case %zu: %s", i, ops);
        cr_expect_eq(in->scale, p->params.input_scale, "case %zu", i);
        cr_expect_eq(out->level, 0, "case %zu: %s", i, ops);
        cr_expect(fabs(out->scale / p->params.scale - 1) < 1e-5, "case %zu: scale %g", i,
                  out->scale);
        cr_expect_eq(pkit_count(p, OP_rescale), e->rescales, "case %zu: %s", i, ops);
        cr_expect_eq(pkit_count(p, OP_raise_scale), e->raises, "case %zu: %s", i, ops);
        cr_expect_eq(pkit_count(p, OP_drop_to), e->drops, "case %zu: %s", i, ops);
    }
}

/* Plaintext scales and factors make every scale the one of the plan, at all precisions. */
Test(ckks_level, scales_stay_near_the_data_scale)
{
    static const uint32_t bits[] = {20, 27, 31, 32, 36, 38, 39, 42, 45};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++)
        for (size_t k = 0; k < sizeof bits / sizeof *bits; k++) {
            struct prog *p = leveled(table[i].nodes, bits[k]);
            for (uint32_t j = 0; j < p->nodes.len; j++) {
                const struct node *n = &p->nodes.at[j];
                if (n->op != OP_mul && n->op != OP_output)
                    continue;
                double s = log2(p->nodes.at[n->args[0]].type.scale);
                cr_expect(fabs(s - bits[k]) < 0.3, "case %zu, %u bits: %%%u takes scale 2^%g", i,
                          bits[k], j, s);
            }
            double out = log2(output_type(p)->scale);
            int level = output_type(p)->level;
            cr_expect(out + 11.5 <= 50 || level == 1, "case %zu, %u bits: no room for the result",
                      i, bits[k]);
        }
}

/* A value wanted at two levels: the ciphertext is cut, not computed twice. */
Test(ckks_level, used_at_two_levels)
{
    struct prog *p =
        leveled(INPUT "%1 = mul %0, %0\n%2 = mul %1, %1\n%3 = pmac %2" PMAC "%4 = pmac %0" PMAC
                      "%5 = add %3, %4\n%6 = output %5 layout=@0\n",
                27);
    cr_assert_eq(pkit_count(p, OP_mul), 2, "%s", pkit_ops_of(p));
    cr_assert_eq(pkit_count(p, OP_decompose), 2, "%s", pkit_ops_of(p));
    cr_assert_eq(pkit_count(p, OP_drop_to), 1, "%s", pkit_ops_of(p));
}

/* Operands of one plaintext product at two scales: two products and a sum, nothing approximate. */
Test(ckks_level, products_of_two_scales)
{
    struct prog *p =
        leveled(INPUT "%1 = mul %0, %0\n"
                      "%2 = pmac %0, %1 map=&0 out=0 giant=0 in=[0,0] baby=[0,1] period=8\n"
                      "%3 = output %2 layout=@0\n",
                27);
    cr_assert_eq(pkit_count(p, OP_pmac), 2, "%s", pkit_ops_of(p));
    cr_assert_eq(pkit_count(p, OP_raise_scale), 0, "%s", pkit_ops_of(p));
}

/* ---- bootstraps, and the ops of their functions ---------------------------------------------- */

static const struct node *only(const struct prog *p, enum op op)
{
    const struct node *found = NULL;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].op == op) {
            cr_assert_null(found, "two of '%s'", op_info[op].name);
            found = &p->nodes.at[i];
        }
    cr_assert_not_null(found, "no '%s'", op_info[op].name);
    return found;
}

/* Rescaled to level 1 exactly, back at boot_level, whatever is wanted there */
Test(ckks_level, bootstrap_has_levels_of_its_own)
{
    struct prog *p =
        leveled(INPUT "%1 = mul %0, %0\n%2 = pmac %1" PMAC "%3 = bootstrap %2\n"
                      "%4 = mul %3, %3\n%5 = pmac %4" PMAC "%6 = mul %5, %5\n"
                      "%7 = pmac %6" PMAC "%8 = add %7, %3\n%9 = output %8 layout=@0\n",
                27);
    const struct node *boot = only(p, OP_bootstrap);
    const struct type *x = &p->nodes.at[boot->args[0]].type;
    cr_assert_eq(x->level, 1);
    cr_assert_eq(boot->type.level, (int)p->params.boot_level);
    cr_assert_eq(boot->type.scale, p->params.scale, "the canonical scale is that of boot_level");
    cr_assert(fabs(log2(x->scale) - 27) < 0.01, "operand at scale 2^%g", log2(x->scale));
    cr_assert_eq(p->params.boot_level, 2, "two layers and the last prime");
    cr_assert_eq(output_type(p)->level, 0);
}

/* comb takes any scales to the wide one of its level: the sum with a product needs no raise_scale */
Test(ckks_level, comb_joins_a_product)
{
    struct prog *p = pkit_program(arena_new(), STAGE_SLOT,
                                  INPUT "%1 = mul %0, %0\n"
                                        "%2 = comb %1, %0 factors=[2,-1] constant=0.5\n"
                                        "%3 = mul %1, %1\n%4 = add %3, %2\n"
                                        "%5 = output %4 layout=@0\n");
    p = pkit_run(p, "lower_slot_ckks", "ckks_hoist", &(struct opts){0});
    enum { TOP = 2 };
    /* D[l-1] = D[l]^2 / q_l: products and combs have one scale */
    static const uint64_t q[TOP + 1] = {1099510054913, 1099507695617, 1099506515969};
    double canonical[TOP + 1];
    canonical[TOP] = 0x1p40;
    for (int l = TOP; l > 0; l--)
        canonical[l - 1] = canonical[l] * (canonical[l] / (double)q[l]);
    p->params = (struct params){.log_n = 15,
                                .num_q = TOP + 1,
                                .num_p = 1,
                                .q = q,
                                .p = q,
                                .alpha = 1,
                                .scale = 0x1p40,
                                .input_scale = 0x1p40,
                                .insecure = true};
    struct level_plan plan = {
        .rules = {40, 40, 1, 0}, .canonical = canonical, .input_scale = 0x1p40, .input_level = TOP};
    struct prog *out = level_solve(&plan, p);
    cr_assert_not_null(out, "top %d over %u missing %d", plan.top, plan.over, plan.missing);
    const char *ops = pkit_ops_of(out);
    const struct node *comb = only(out, OP_comb);
    cr_assert_eq(comb->type.level, 1, "%s", ops);
    cr_assert_float_eq(comb->type.scale / (canonical[0] * (double)q[1]), 1, 1e-12);
    cr_assert_eq(out->nodes.at[0].type.scale, 0x1p40);
    cr_assert_eq(out->nodes.at[0].type.level, TOP);
    for (uint32_t i = 0; i < out->nodes.len; i++)
        if (out->nodes.at[i].op == OP_raise_scale)
            cr_assert_neq(out->nodes.at[i].args[0], (uint32_t)(comb - out->nodes.at), "%s", ops);
    /* an input one level lower does not do, and the plan says by how much */
    plan.at = NULL;
    plan.input_level = TOP - 1;
    cr_assert_null(level_solve(&plan, p));
    cr_assert_eq(plan.over, 0);
    cr_assert_eq(plan.missing, 1);
}

/* A kept plaintext scale makes a product that the next map takes as it is. */
Test(ckks_level, kept_plaintext_scales)
{
    struct prog *p =
        leveled(INPUT "%1 = pmac %0 map=&0 out=0 giant=0 in=[0] baby=[0] period=8 keep=20\n"
                      "%2 = pmac %1" PMAC "%3 = output %2 layout=@0\n",
                27);
    const struct node *first = &p->nodes.at[1];
    cr_assert_eq(first->op, OP_pmac, "%s", pkit_ops_of(p));
    cr_assert_eq(node_real(first, KEY_pt_scale), 0x1p20);
    cr_assert_eq(first->type.scale, p->nodes.at[0].type.scale * 0x1p20);
    cr_assert_eq(node_int(first, KEY_keep), 20);
    cr_assert_eq(pkit_count(p, OP_rescale), 1, "%s", pkit_ops_of(p));
}

/* ---- refusals: text that did not come from ckks_params --------------------------------------- */

static struct prog *under_test;

static void run_level(void *ctx)
{
    (void)ctx;
    ckks_level(under_test, &(struct opts){0});
}

Test(ckks_level, refuses_a_short_chain)
{
    struct prog *p = pkit_program(arena_new(), STAGE_SLOT, table[4].nodes);
    under_test = pkit_run(p, "lower_slot_ckks", "ckks_hoist", &(struct opts){0});
    struct caught none = ir_catch(run_level, NULL);
    cr_assert(none.ended && !none.bug && strstr(none.text, "no parameters"), "%s", none.text);
    under_test = pkit_run(under_test, "ckks_params", "ckks_params", &(struct opts){0});
    under_test->params.num_q--;
    struct caught shorter = ir_catch(run_level, NULL);
    cr_assert(shorter.ended && !shorter.bug &&
                  strstr(shorter.text, "needs 4 primes, its parameters have 3"),
              "%s", shorter.text);
}
