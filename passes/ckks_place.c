/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_place: where the levels do not suffice, bootstraps.
 *
 * Reads     the whole program; phases and levels as level.h predicts them, times from cost.c.
 * Writes    bootstrap nodes, without `range`.
 * Requires  stage ckks without levels. A program that has bootstraps already is left as it is.
 * Ensures   every ciphertext of a tensor is bootstrapped or none; the program fits a chain that
 *           ckks_params can make, if any does.
 * Refuses   nothing: what cannot be carried is refused by ckks_params, which names the layer.
 * Algorithm For every ring and every number of levels that a bootstrap may leave there, the cheapest
 *           placement (place.c: an exact dynamic programme; a beam search where a cut of the program
 *           has too many states). The best few are given real parameters, scales and digits, and the
 *           fastest of them stays, or the program without bootstraps (--bootstrap=auto). That is also
 *           taken at once where it is faster than the fastest bootstrap.
 * Cost      states of a cut times what its unit may find its operands in, for each ring and length.
 */
#include "place.h"

#include <math.h>
#include <stdlib.h>

#include "boot.h"

enum {
    FIRST_LOG_N = 10,
    LAST_LOG_N = 17,
    MOST_LEVELS = 40,  /* that a bootstrap leaves: more never pay */
    DENSE_LEVELS = 10, /* every number up to here is tried, then every other */
    MOST_CANDIDATES = 256,
    MOST_TRIALS = 4
};

struct candidate {
    struct params q;
    double cost;
    bool *boot;
};

static bool has_bootstraps(const struct prog *p)
{
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].op == OP_bootstrap)
            return true;
    return false;
}

static uint32_t least_log_n(const struct prog *p)
{
    uint32_t log_n = FIRST_LOG_N;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        while (log_n < LAST_LOG_N && p->nodes.at[i].type.n > 1u << (log_n - 1))
            log_n++;
    return log_n;
}

static struct level_rules rules_of(const struct prog *p, const struct opts *o)
{
    struct level_plan plan = {.rules = level_rules_boot(o)};
    level_plan(&plan, p);
    level_room(&plan);
    return plan.rules;
}

static bool toy(const struct opts *o)
{
    return o->insecure && o->log_n;
}

/* The cheapest bootstrap that there is in any ring, or less if `bound`; INFINITY: none */
static double least_boot(const struct level_rules *r, const struct opts *o, uint32_t first,
                         uint32_t last, bool bound)
{
    double least = INFINITY;
    struct params q;
    for (uint32_t log_n = first; log_n <= last; log_n++)
        if (params_guess(&q, r, log_n, 2, toy(o)))
            least = fmin(least, bound ? boot_cost_least(&q) : boot_cost(&q, 1));
    return least;
}

static bool any(const bool *set, uint32_t len)
{
    for (uint32_t i = 0; i < len; i++)
        if (set[i])
            return true;
    return false;
}

static int by_cost(const void *pa, const void *pb)
{
    const struct candidate *a = pa, *b = pb;
    if (a->cost != b->cost)
        return a->cost < b->cost ? -1 : 1;
    return a->q.num_q < b->q.num_q ? -1 : a->q.num_q > b->q.num_q;
}

static uint32_t find_candidates(struct place *pl, const struct opts *o, uint32_t first,
                                uint32_t last, struct candidate *found)
{
    uint32_t len = 0, most = o->boot_levels ? o->boot_levels + 1 : MOST_LEVELS;
    for (uint32_t log_n = first; log_n <= last; log_n++) {
        struct candidate c;
        for (uint32_t top = 2; top <= most && len < MOST_CANDIDATES; top++) {
            if (!params_guess(&c.q, &pl->rules, log_n, top, toy(o)))
                break;
            if (top > DENSE_LEVELS && top % 2 != 0 && top != most)
                continue;
            c.boot = arena_array(pl->p->arena, pl->units, sizeof *c.boot);
            c.cost = place_solve(pl, &c.q, NULL, c.boot, NULL);
            if (c.cost < INFINITY && !any(c.boot, pl->units))
                break; /* and so with all longer chains */
            if (c.cost < INFINITY)
                found[len++] = c;
        }
    }
    qsort(found, len, sizeof *found, by_cost);
    return len;
}

/* ---- --explain ------------------------------------------------------------------------------ */

static const struct node *last_out(const struct place *pl, uint32_t unit)
{
    const struct place_unit *u = &pl->unit[unit];
    return &pl->p->nodes.at[u->out[u->outs - 1]];
}

static const char *layers_of(const struct place *pl, const bool *set, const bool *but)
{
    struct str s;
    str_init(&s, pl->p->arena);
    for (uint32_t u = 0; u < pl->units; u++)
        if (set[u] && !but[u])
            str_addf(&s, "%s'%s'", s.len ? ", " : "", last_out(pl, u)->layer);
    return s.len ? s.s : "fewer places";
}

/* Highest level at which any of the unit's bootstrapped values is used */
static int level_needed(const struct place *pl, const struct candidate *c, uint32_t unit)
{
    struct prog *p = place_insert(pl, c->boot);
    struct level_plan plan = {.rules = pl->rules};
    level_plan(&plan, p);
    int need = 0;
    for (uint32_t i = 0, boots = 0, before = 0; i < p->nodes.len; i++) {
        if (p->nodes.at[i].op != OP_bootstrap) {
            before++;
            continue;
        }
        boots++;
        if (pl->unit_of[before - 1] == unit && level_of(&plan, i) > need)
            need = level_of(&plan, i);
    }
    return need;
}

static void explain_one(struct place *pl, const struct candidate *c, uint32_t unit)
{
    const struct node *n = last_out(pl, unit);
    uint32_t outs = pl->unit[unit].outs;
    bool *banned = arena_array(pl->p->arena, pl->units, sizeof *banned);
    bool *other = arena_array(pl->p->arena, pl->units, sizeof *other);
    banned[unit] = true;
    double cost = place_solve(pl, &c->q, banned, other, NULL);
    diag_note(
        n->loc,
        "bootstrap of %u ciphertext%s after layer '%s': one level is left, what follows up to "
        "the next bootstrap or the output needs %d (a bootstrap leaves %u)",
        outs, outs == 1 ? "" : "s", n->layer, level_needed(pl, c, unit), c->q.boot_level);
    if (cost < INFINITY)
        diag_note(n->loc, "  the next best place costs %.3f s more: %s instead",
                  (cost - c->cost) * 1e-9, layers_of(pl, other, c->boot));
    else
        diag_note(n->loc, "  no other place will do");
}

static void explain(struct place *pl, const struct candidate *c, double ns, double leveled)
{
    const char *without = leveled < INFINITY ? arena_printf(pl->p->arena, "%.3f s", leveled * 1e-9)
                                             : "not possible in any ring that is allowed";
    if (!c) {
        diag_note(NO_LOC, "no bootstraps: %.3f s without%s", leveled * 1e-9,
                  ns < INFINITY ? arena_printf(pl->p->arena, ", %.3f s with", ns * 1e-9) : "");
        return;
    }
    diag_note(NO_LOC, "bootstraps: %.3f s; without them %s", ns * 1e-9, without);
    for (uint32_t u = 0; u < pl->units; u++)
        if (c->boot[u])
            explain_one(pl, c, u);
}

/* ---- the pass ------------------------------------------------------------------------------- */

struct prog *ckks_place(struct prog *in, const struct opts *o)
{
    level_refused(in, "ckks_place");
    if (o->bootstrap == BOOTSTRAP_NEVER || has_bootstraps(in))
        return in;
    uint32_t first = o->log_n ? o->log_n : least_log_n(in);
    uint32_t last = o->log_n ? o->log_n : LAST_LOG_N;
    if (first < least_log_n(in) || last > LAST_LOG_N)
        return in; /* ckks_params says why */
    bool always = o->bootstrap == BOOTSTRAP_ALWAYS;
    double leveled = params_try(in, o);
    struct level_rules rules = rules_of(in, o);
    for (int bound = 1; bound >= 0 && !always; bound--)
        if (leveled <= least_boot(&rules, o, first, last, bound))
            return in;
    struct place pl = place_open(in, &rules);
    pl.pairs = !o->boot_single;
    struct candidate *c = arena_array(in->arena, MOST_CANDIDATES, sizeof *c), *best = NULL;
    uint32_t len = find_candidates(&pl, o, first, last, c);
    struct prog *chosen = in;
    double ns = INFINITY;
    for (uint32_t i = 0; i < len && i < MOST_TRIALS; i++) {
        struct prog *p = place_insert(&pl, c[i].boot);
        double found = params_try(p, o);
        if (!(found < ns))
            continue;
        ns = found;
        best = &c[i];
        chosen = p;
    }
    if (!always && leveled <= ns)
        best = NULL;
    if (o->explain && (best || leveled < INFINITY))
        explain(&pl, best, ns, leveled);
    return best ? prog_clean(chosen) : in;
}
