/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <math.h>

/*
 * Stages a..b of the DFT on n slots, as one map, have 2^(b-a+2) - 1 diagonals at multiples of
 * 2^(a-1), or 2^(b-a+1) where b is the last stage (offsets are modulo n). More maps have fewer
 * diagonals in all, but a level or a share of a prime each; how many there can be follows from the
 * chain, which stages go together is chosen here by what slot_bsgs will make of them. Diagonals
 * repeat with 2^b.
 */

static double map_cost_of(struct cost_ring r, int level, uint32_t log_slots, uint32_t first,
                          uint32_t last, bool raised)
{
    uint32_t reach = 1u << (last - first + 1), len = last == log_slots ? reach : 2 * reach - 1;
    uint32_t period = 1u << last;
    double decompose = cost_decompose(r, level), key = cost_key_mul(r, level);
    double down = cost_mod_down(r, level), best = INFINITY;
    double turn = raised ? cost_raised_mul(r, level) : key;
    double hoisted_turn = raised ? cost_inner_raised_mul(r, level) : cost_inner_key_mul(r, level);
    for (uint32_t babies = 1; babies < 2 * len; babies *= 2) {
        double inner = fmin(babies, len) - 1, outer = ceil((double)len / babies) - 1;
        double common = (inner > 0 && !raised ? decompose : 0) + outer * (decompose + key);
        double single = inner * (turn + down) + cost_pmac_period(r, level, false, len, period) +
                        (outer > 0 ? down : 0);
        double hoisted = inner * hoisted_turn + outer * down +
                         cost_pmac_period(r, level, true, len, period) + down;
        best = fmin(best, common + fmin(single, hoisted));
    }
    return best;
}

struct choice {
    struct cost_ring ring;
    int level;
    uint32_t log_slots, groups;
    bool inverse, raised;
    struct boot_groups now, best;
    double best_cost;
};

/* `done` stages are in maps already, those of cost `cost` */
static void choose(struct choice *c, uint32_t done, double cost)
{
    uint32_t left = c->log_slots - done, maps = c->groups - c->now.len;
    if (maps == 0) {
        if (left == 0 && cost < c->best_cost) {
            c->best_cost = cost;
            c->best = c->now;
        }
        return;
    }
    int level = c->level - (c->inverse ? (int)c->now.len : 0);
    bool raised = c->raised && c->now.len == 0;
    for (uint32_t g = maps == 1 ? left : 1; g + maps - 1 <= left; g++) {
        uint32_t first = c->inverse ? left - g + 1 : done + 1;
        c->now.stages[c->now.len++] = g;
        choose(c, done + g,
               cost + map_cost_of(c->ring, level, c->log_slots, first, first + g - 1, raised));
        c->now.len--;
    }
}

struct boot_groups boot_groups(struct cost_ring r, int level, uint32_t log_slots, uint32_t groups,
                               bool inverse, bool raised)
{
    groups = groups < log_slots ? groups : log_slots;
    groups = groups < BOOT_MOST_GROUPS ? groups : BOOT_MOST_GROUPS;
    struct choice c = {.ring = r, .level = level, .log_slots = log_slots, .groups = groups};
    c.inverse = inverse;
    c.raised = raised;
    c.best_cost = INFINITY;
    choose(&c, 0, 0);
    c.best.cost = c.best_cost;
    return c.best;
}

static uint32_t slots_in_order(struct prog *p, uint32_t n)
{
    struct layout l = {.c = 1,
                       .h = 1,
                       .w = n,
                       .n = n,
                       .g_h = 1,
                       .g_w = 1,
                       .t_h = 1,
                       .t_w = 1,
                       .pitch = n,
                       .block = n};
    return prog_add_layout(p, &l);
}

static bool same_factor(const struct lmap *m, uint32_t layout, const struct ldft *f)
{
    return m->dft.first == f->first && m->dft.last == f->last && m->dft.inverse == f->inverse &&
           m->out_layout == layout;
}

static uint32_t factor(struct prog *p, uint32_t n, const struct ldft *f)
{
    uint32_t layout = slots_in_order(p, n);
    for (uint32_t i = 0; i < p->num_maps; i++)
        if (same_factor(&p->maps[i], layout, f))
            return i;
    struct lterm t = {.in_layout = layout,
                      .in = {1, 1, n},
                      .weight = NONE,
                      .groups = 1,
                      .stride = {1, 1},
                      .dilation = {1, 1},
                      .up = {1, 1}};
    struct lmap m = {.out = {1, 1, n}, .out_layout = layout, .num_terms = 1, .term = &t, .dft = *f};
    return prog_add_map(p, &m);
}

uint32_t boot_dft(struct build *b, uint32_t x, const struct boot_groups *g, bool inverse,
                  const uint32_t *keep)
{
    uint32_t n = b->p->nodes.at[x].type.n, left = 0, done = 0;
    while (n >> left > 1)
        left++;
    for (uint32_t i = 0; i < g->len; i++) {
        uint32_t stages = g->stages[i];
        struct ldft f = {done + 1, done + stages, inverse};
        if (inverse)
            f = (struct ldft){left - stages + 1, left, inverse};
        build_int(b, KEY_map, factor(b->p, n, &f));
        build_int(b, KEY_out, 0);
        if (keep && keep[i] != 0)
            build_int(b, KEY_keep, keep[i]);
        x = build1(b, OP_lin, x);
        done += stages;
        left -= stages;
    }
    if (left != 0)
        BUG("%u of the DFT's stages are in no map", left);
    return x;
}
