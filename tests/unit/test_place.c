/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"
#include "pass_kit.h"
#include "place.h"
#include "random_net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define INPUT "%0 = input part=0 layout=@0  # in\n"
#define PMAC  " map=&0 out=0 giant=0 in=[0] baby=[0] period=8"

/* A text of slot nodes, each of a layer of its own, to hoisted ciphertexts */
static struct prog *hoisted(struct arena *a, const char *nodes)
{
    return pkit_run(pkit_program(a, STAGE_SLOT, nodes), "lower_slot_ckks", "ckks_hoist",
                    &(struct opts){0});
}

static struct level_rules rules_for(const struct prog *p)
{
    struct level_plan plan = {.rules = level_rules_default(0)};
    plan.rules.base = level_base(plan.rules.precision, 42);
    level_plan(&plan, p);
    level_room(&plan);
    return plan.rules;
}

/* `len` layers of random kinds on random earlier values, most of them near. The input is used once: by
 * a plaintext product, with which its phase makes no difference. */
static const char *random_layers(struct arena *a, struct random *r, uint32_t len)
{
    struct str s;
    str_init(&s, a);
    str_add(&s, INPUT "%1 = pmac %0" PMAC "  # l1\n");
    for (uint32_t i = 2; i <= len; i++) {
        uint32_t near = i > 3 ? 3 : i - 1;
        uint32_t x = i - 1, y = i - 1 - random_below(r, near);
        switch (random_below(r, 6)) {
        case 0:
            str_addf(&s, "%%%u = mul %%%u, %%%u  # l%u\n", i, x, y, i);
            break;
        case 1:
            str_addf(&s, "%%%u = add %%%u, %%%u  # l%u\n", i, x, y, i);
            break;
        case 2:
            str_addf(&s, "%%%u = rot %%%u by=1  # l%u\n", i, x, i);
            break;
        case 3:
            str_addf(&s, "%%%u = mul %%%u, %%%u  # l%u\n", i, x, x, i);
            break;
        default:
            str_addf(&s, "%%%u = pmac %%%u" PMAC "  # l%u\n", i, x, i);
        }
    }
    str_addf(&s, "%%%u = output %%%u layout=@0  # out\n", len + 1, len);
    return s.s;
}

/* Of one set of bootstraps, by levels and costs of the whole program; INFINITY where it has too few */
static double cost_of_set(const struct place *pl, const struct params *q, const bool *boot)
{
    struct prog *p = place_insert(pl, boot);
    struct level_plan plan = {.rules = pl->rules};
    level_plan(&plan, p);
    if (plan.top > (int)q->boot_level || plan.boot_top > (int)q->boot_level)
        return INFINITY;
    double ns = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        ns += place_cost(&plan, p, q, i);
    return ns;
}

struct best {
    double cost;
    uint32_t boots;
};

static struct best all_sets(const struct place *pl, const struct params *q, const bool *banned)
{
    struct arena *a = pl->p->arena;
    uint32_t *able = arena_array(a, pl->units, sizeof *able), ables = 0;
    struct best best = {INFINITY, 0};
    bool *boot = arena_array(a, pl->units, sizeof *boot);
    for (uint32_t u = 0; u < pl->units; u++)
        if (pl->unit[u].bootable && !(banned && banned[u]))
            able[ables++] = u;
    cr_assert_leq(ables, 14);
    for (uint32_t set = 0; set < 1u << ables; set++) {
        struct arena_mark mark = arena_mark(a);
        uint32_t boots = 0;
        for (uint32_t k = 0; k < ables; k++) {
            boot[able[k]] = set >> k & 1;
            boots += set >> k & 1;
        }
        double cost = cost_of_set(pl, q, boot);
        if (cost < best.cost)
            best = (struct best){cost, boots};
        arena_release(a, mark);
    }
    return best;
}

/* The programme finds what trying everything finds, in the same time and with the same levels. */
Test(place, against_all_sets)
{
    uint64_t seed = random_seed(1);
    uint32_t trials = random_trials(60), booted = 0, impossible = 0, several = 0;
    for (uint32_t t = 0; t < trials; t++) {
        struct arena *a = arena_new();
        struct random r = random_from(seed + t);
        const char *text = random_layers(a, &r, random_range(&r, 5, 12));
        struct prog *p = hoisted(a, text);
        struct level_rules rules = rules_for(p);
        struct place pl = place_open(p, &rules);
        struct params q;
        cr_assert(params_guess(&q, &rules, 15, random_range(&r, 2, 5), false));
        bool *boot = arena_array(a, pl.units, sizeof *boot), *banned = NULL;
        if (random_chance(&r, 30)) {
            banned = arena_array(a, pl.units, sizeof *banned);
            for (uint32_t u = 0; u < pl.units; u++)
                banned[u] = random_chance(&r, 30);
        }
        double found = place_solve(&pl, &q, banned, boot, NULL);
        struct best want = all_sets(&pl, &q, banned);
        if (want.cost == INFINITY) {
            cr_assert_eq(found, INFINITY, "SEED=%llu TRIALS=1:\n%s", (unsigned long long)(seed + t),
                         text);
            impossible++;
            continue;
        }
        cr_assert(fabs(found / want.cost - 1) < 1e-9, "SEED=%llu TRIALS=1: %.9g, not %.9g\n%s",
                  (unsigned long long)(seed + t), found, want.cost, text);
        double set = cost_of_set(&pl, &q, boot);
        cr_assert(fabs(set / found - 1) < 1e-9,
                  "SEED=%llu TRIALS=1: the set costs %.9g, not %.9g\n%s",
                  (unsigned long long)(seed + t), set, found, text);
        booted += want.boots > 0;
        several += want.boots > 1;
        arena_free(a);
    }
    if (trials >= 60)
        cr_assert(booted > 20 && several > 8 && impossible < trials / 2,
                  "%u with bootstraps, %u with several, %u without solution", booted, several,
                  impossible);
}

/* ---- the pass ------------------------------------------------------------------------------- */

static uint32_t boots_of(const struct prog *p)
{
    return pkit_count(p, OP_bootstrap);
}

static struct prog *tower(struct arena *a, uint32_t squares)
{
    struct str s;
    str_init(&s, a);
    str_add(&s, INPUT);
    for (uint32_t i = 1; i <= squares; i++)
        str_addf(&s, "%%%u = mul %%%u, %%%u  # act%u\n", i, i - 1, i - 1, i);
    str_addf(&s, "%%%u = output %%%u layout=@0  # out\n", squares + 1, squares);
    return hoisted(a, s.s);
}

Test(place, auto_never_always)
{
    struct arena *a = arena_new();
    struct prog *p = tower(a, 8);
    cr_expect_eq(ckks_place(p, &(struct opts){0}), p, "8 squares are faster than any bootstrap");
    struct opts never = {.bootstrap = BOOTSTRAP_NEVER}, always = {.bootstrap = BOOTSTRAP_ALWAYS};
    struct prog *forced = ckks_place(p, &always);
    cr_expect_gt(boots_of(forced), 0);
    cr_expect_eq(ckks_place(forced, &always), forced, "what has bootstraps is left as it is");
    struct prog *deep = tower(a, 80);
    cr_expect_eq(ckks_place(deep, &never), deep);
    cr_expect_gt(boots_of(ckks_place(deep, &(struct opts){0})), 2, "no ring has 80 levels");
    cr_expect_eq(boots_of(ckks_place(tower(a, 1), &always)), 0, "nothing to shorten");
    arena_free(a);
}

/* What the programme counts on is what the pass after next finds: no bootstrap lacks levels. */
Test(place, levels_agree)
{
    static const uint32_t bits[] = {0, 23, 31, 36, 45};
    uint64_t seed = random_seed(500);
    uint32_t trials = random_trials(40), booted = 0;
    for (uint32_t t = 0; t < trials; t++) {
        struct arena *a = arena_new();
        struct random r = random_from(seed + t);
        const char *text = random_layers(a, &r, random_range(&r, 8, 40));
        struct opts o = {.bootstrap = BOOTSTRAP_ALWAYS, .precision = bits[t % 5]};
        struct prog *p = ckks_place(hoisted(a, text), &o);
        prog_verify(p, "ckks_place");
        uint32_t boots = boots_of(p);
        booted += boots > 0;
        p = ckks_params(p, &o);
        p = ckks_level(p, &o);
        prog_verify(p, "ckks_level");
        cr_expect_eq(boots_of(p), boots, "SEED=%llu TRIALS=1", (unsigned long long)(seed + t));
        if (boots)
            cr_expect_leq(p->params.log_n, 16, "SEED=%llu TRIALS=1",
                          (unsigned long long)(seed + t));
        for (uint32_t i = 0; i < p->nodes.len; i++) {
            const struct node *n = &p->nodes.at[i];
            if (n->op != OP_bootstrap)
                continue;
            cr_expect_eq(p->nodes.at[n->args[0]].type.level, 1);
            cr_expect_eq(n->type.level, (int)p->params.boot_level);
        }
        arena_free(a);
    }
    cr_expect(trials < 40 || booted > 20, "%u with bootstraps", booted);
}
