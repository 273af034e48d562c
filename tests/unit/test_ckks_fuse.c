/* SPDX-License-Identifier: Apache-2.0 */
#include "pass_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include <string.h>

#define INPUT "%0 = input part=0 layout=@0\n"
#define PMAC  " map=&0 out=0 giant=0 in=[0] baby=[0] period=8\n"

static const struct {
    const char *nodes, *before, *after;
} table[] = {
    /* a sum of rotations, then its rescale */
    {INPUT "%1 = pmac %0" PMAC
           "%2 = rot %1 by=1\n%3 = rot %1 by=2\n%4 = add %2, %3\n%5 = output %4 layout=@0\n",
     "input pmac decompose key_mul(1) key_mul(2) add mod_down rescale(1) output",
     "input pmac decompose key_mul(1) key_mul(2) add mod_down(1) output"},
    /* a product that is multiplied again: the factor moves before the division */
    {INPUT "%1 = mul %0, %0\n%2 = output %1 layout=@0\n",
     "input mul decompose key_mul mod_down raise_scale rescale(1) output",
     "input mul decompose key_mul raise_scale mod_down(1) output"},
    /* a sum with a divided part */
    {INPUT "%1 = pmac %0" PMAC
           "%2 = rot %1 by=1\n%3 = rot %1 by=2\n%4 = add %1, %2, %3\n%5 = output %4 layout=@0\n",
     "input pmac decompose key_mul(1) key_mul(2) add mod_down add rescale(1) output",
     "input pmac decompose key_mul(1) key_mul(2) add lift add mod_down(1) output"},
    /* a divided value that has another use stays */
    {INPUT "%1 = pmac %0" PMAC
           "%2 = rot %1 by=1\n%3 = rot %2 by=1\n%4 = sub %2, %3\n%5 = mul %2, %4\n"
           "%6 = output %5 layout=@0\n",
     "input pmac decompose key_mul(1) mod_down rescale(1) decompose key_mul(1) mod_down sub "
     "rescale(1) mul "
     "decompose key_mul mod_down raise_scale rescale(1) output",
     "input pmac decompose key_mul(1) mod_down rescale(1) decompose key_mul(1) mod_down sub "
     "rescale(1) mul "
     "decompose key_mul raise_scale mod_down(1) output"},
    /* nothing to fuse */
    {INPUT "%1 = pmac %0" PMAC "%2 = output %1 layout=@0\n", "input pmac rescale(1) output",
     "input pmac rescale(1) output"},
};

/* What is fused depends on what sums cost beside transforms: here little, whatever this machine's do */
static void cheap_sums(void)
{
    char path[] = "/tmp/weft_fuse_XXXXXX";
    const char *why = "";
    FILE *f = fdopen(mkstemp(path), "w");
    cr_assert_not_null(f);
    for (int log_n = 12; log_n <= 17; log_n++)
        fprintf(f, "pointwise.%d 1\n", log_n);
    fclose(f);
    bool good = cost_load(path, &why);
    unlink(path);
    cr_assert(good, "%s", why);
}

/* Levels and scales of what remains are the same: those of the output are compared, and the verifier
 * compares the others with their operands. */
Test(ckks_fuse, rewrites)
{
    cheap_sums();
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct arena *a = arena_new();
        struct opts o = {0};
        struct prog *p = pkit_run(pkit_program(a, STAGE_SLOT, table[i].nodes), "lower_slot_ckks",
                                  "ckks_level", &o);
        cr_expect_str_eq(pkit_ops_of(p), table[i].before, "case %zu: %s", i, pkit_ops_of(p));
        struct prog *q = pkit_run(p, "ckks_fuse", "ckks_fuse", &o);
        cr_expect_str_eq(pkit_ops_of(q), table[i].after, "case %zu: %s", i, pkit_ops_of(q));
        const struct type *x = &p->nodes.at[p->nodes.at[p->nodes.len - 1].args[0]].type;
        const struct type *y = &q->nodes.at[q->nodes.at[q->nodes.len - 1].args[0]].type;
        cr_expect_eq(x->level, y->level);
        cr_expect(fabs(x->scale / y->scale - 1) < 0x1p-45, "case %zu: scale %.17g, was %.17g", i,
                  y->scale, x->scale);
        cr_expect_leq(cost_prog(q), cost_prog(p));
        arena_free(a);
    }
}

/* Two values that are rescaled by the same primes from the same scale are summed first. */
Test(ckks_fuse, sums_of_rescaled_values)
{
    static const char nodes[] = INPUT "%1 = pmac %0" PMAC "%2 = output %1 layout=@0\n";
    struct opts o = {0};
    struct prog *p =
        pkit_run(pkit_program(arena_new(), STAGE_SLOT, nodes), "lower_slot_ckks", "ckks_level", &o);
    struct prog *q = prog_derive(p, STAGE_CKKS);
    struct build b = build_like(q, &p->nodes.at[0]);
    uint32_t x = prog_copy_node(q, &p->nodes.at[0], NULL), sum[2];
    for (int k = 0; k < 2; k++) {
        struct node n = p->nodes.at[1];
        node_set_int(q, &n, KEY_giant, k); /* or they would be merged */
        uint32_t pmac = prog_copy_node(q, &n, &x);
        build_int(&b, KEY_drop, 1);
        sum[k] = build1(&b, OP_rescale, pmac);
    }
    uint32_t total = build_node(&b, OP_add, sum, 2);
    prog_copy_node(q, &p->nodes.at[p->nodes.len - 1], &total);
    q = pkit_run(q, "ckks_fuse", "ckks_fuse", &o);
    cr_assert_str_eq(pkit_ops_of(q), "input pmac pmac add rescale(1) output", "%s", pkit_ops_of(q));
}
