/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <criterion/criterion.h>
#include <math.h>

static const struct cost_ring b15 = {15, 3, 3};

static uint32_t total(const struct boot_groups *g)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < g->len; i++) {
        cr_expect_gt(g->stages[i], 0);
        sum += g->stages[i];
    }
    return sum;
}

Test(boot_dft, groups_hold_all_stages)
{
    for (uint32_t log_slots = 1; log_slots <= 16; log_slots++)
        for (uint32_t groups = 1; groups <= 4; groups++)
            for (int inverse = 0; inverse < 2; inverse++) {
                struct boot_groups g =
                    boot_groups(b15, inverse ? 15 : 1, log_slots, groups, inverse, inverse);
                cr_assert_eq(g.len, groups < log_slots ? groups : log_slots);
                cr_assert_eq(total(&g), log_slots);
                cr_assert(g.cost > 0 && isfinite(g.cost));
            }
}

Test(boot_dft, groups_are_balanced)
{
    struct boot_groups stc = boot_groups(b15, 1, 14, 2, false, false);
    cr_expect(stc.stages[0] >= 6 && stc.stages[0] <= 8, "%u", stc.stages[0]);
    struct boot_groups cts = boot_groups(b15, 15, 14, 3, true, true);
    for (uint32_t i = 0; i < 3; i++)
        cr_expect(cts.stages[i] >= 3 && cts.stages[i] <= 6, "%u", cts.stages[i]);
}

/* One map fewer means far more diagonals. */
Test(boot_dft, more_maps_are_cheaper_for_many_slots)
{
    double one = boot_groups(b15, 1, 14, 1, false, false).cost;
    double two = boot_groups(b15, 1, 14, 2, false, false).cost;
    cr_expect_lt(two, one / 8);
    cr_expect_lt(boot_groups(b15, 12, 14, 3, true, false).cost,
                 boot_groups(b15, 12, 14, 2, true, false).cost);
}

Test(boot_dft, raised_values_are_cheaper_to_rotate)
{
    cr_expect_lt(boot_groups(b15, 15, 14, 3, true, true).cost,
                 boot_groups(b15, 15, 14, 3, true, false).cost);
}

static uint32_t input_of(struct build *b, uint32_t n)
{
    struct type t = {.kind = KIND_VEC, .layout = NONE, .n = n, .level = -1};
    build_type(b, &t);
    return build_node(b, OP_input, NULL, 0);
}

/* SlotToCoeff and back, with different groups: the maps in the order of the nodes */
Test(boot_dft, inverse_undoes_it)
{
    struct arena *a = arena_new();
    struct prog *p = prog_new(a, STAGE_SLOT);
    p->is_function = true;
    struct build b = build_at(p, NO_LOC, "dft");
    uint32_t n = 64, x = input_of(&b, n);
    struct boot_groups out = {.len = 2, .stages = {4, 2}}, back = {.len = 3, .stages = {1, 3, 2}};
    x = boot_dft(&b, x, &out, false, (uint32_t[]){25, 0});
    boot_dft(&b, x, &back, true, NULL);
    double re[64], im[64];
    for (uint32_t i = 0; i < n; i++) {
        re[i] = i + 1;
        im[i] = 0.5 * i;
    }
    uint32_t lins = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *lin = &p->nodes.at[i];
        if (lin->op != OP_lin)
            continue;
        const struct ldft *f = &p->maps[node_int(lin, KEY_map)].dft;
        dft_apply(f, n, re, im);
        cr_expect_eq(node_int_or(lin, KEY_keep, 0), lins == 0 ? 25 : 0);
        cr_expect_eq(f->inverse, lins >= 2);
        if (lins++ == 1)
            cr_expect_gt(fabs(re[1] - 2), 1, "forward alone is no identity");
    }
    cr_expect_eq(lins, 5);
    for (uint32_t i = 0; i < n; i++) {
        cr_expect_float_eq(re[i], i + 1, 1e-12);
        cr_expect_float_eq(im[i], 0.5 * i, 1e-12);
    }
    arena_free(a);
}

Test(boot_dft, equal_factors_are_one_map)
{
    struct arena *a = arena_new();
    struct prog *p = prog_new(a, STAGE_SLOT);
    p->is_function = true;
    struct build b = build_at(p, NO_LOC, "dft");
    uint32_t x = input_of(&b, 16);
    struct boot_groups g = {.len = 2, .stages = {2, 2}};
    boot_dft(&b, x, &g, false, NULL);
    boot_dft(&b, x, &g, false, NULL);
    cr_expect_eq(p->num_maps, 2);
    boot_dft(&b, x, &g, true, NULL);
    cr_expect_eq(p->num_maps, 4);
    arena_free(a);
}
