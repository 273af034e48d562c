/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The dynamic programme runs over the units from the last to the first, as levels do: a value's level is
 * the highest that its users want. A state at a cut is what the values that cross it must be:
 * bootstrapped (then whatever level is wanted, up to boot_level, is there), or in a phase, wanted RAW at
 * one level and RES at another (level.h). The phase is guessed where the last user of a value is met,
 * and checked where its unit is: both directions of level.h's plan, in one pass over the program.
 * Once a value is bootstrapped, all of its users take the result: to take the operand as well could only
 * raise the level at which that is needed.
 *
 * The cost of a set of bootstraps is additive over units and depends on nothing but the state after them,
 * so that the best of each state is the best altogether (Bellman). Values count once, at the highest
 * level that anyone wants. Where a cut has more than MOST_STATES states the cheapest are kept (beam
 * search): cuts of up to four tensors, as in residual networks, stay far below.
 */
#include "place.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "boot.h"

enum { MOST_UNITS = 5000, MOST_STATES = 10000, MOST_GUESSES = 4096 };

/* ---- units ---------------------------------------------------------------------------------- */

enum root { ROOT_INPUT, ROOT_PRODUCT, ROOT_LINEAR, ROOT_SUM };

struct unit_key {
    const char *layer;
    uint32_t rank;
    uint32_t root; /* enum root, and 8 for rotated inputs */
};

enum { ROTATED = 8 };

/* Parts of a rotation */
static bool is_switch(const struct prog *p, const struct node *n)
{
    const struct node *x = n->num_args ? &p->nodes.at[n->args[0]] : NULL;
    switch (n->op) {
    case OP_lift:
        return true;
    case OP_decompose:
        return x->type.kind == KIND_CT;
    case OP_key_mul:
        return node_attr(n, KEY_by) || node_attr(n, KEY_conjugate);
    case OP_mod_down:
        return x->op == OP_key_mul && (node_attr(x, KEY_by) || node_attr(x, KEY_conjugate));
    default:
        return false;
    }
}

static bool is_product(const struct node *n)
{
    return n->op == OP_mul || n->op == OP_pmac || n->op == OP_comb;
}

/* Rotations of what a linear map takes, not of what it makes */
static bool *find_rotated_inputs(const struct prog *p)
{
    bool *rotated = arena_array(p->arena, p->nodes.len, sizeof *rotated);
    bool *feeds = arena_array(p->arena, p->nodes.len, sizeof *feeds);
    for (uint32_t i = p->nodes.len; i-- > 0;) {
        const struct node *n = &p->nodes.at[i];
        rotated[i] = feeds[i] && is_switch(p, n);
        for (uint32_t k = 0; k < n->num_args; k++)
            feeds[n->args[k]] = feeds[n->args[k]] || n->op == OP_pmac || rotated[i];
    }
    return rotated;
}

/* The key never grows smaller from an operand to its user, and equal keys are one unit: no cycles. */
static struct unit_key key_of(const struct prog *p, uint32_t i, const struct unit_key *key,
                              bool rotated)
{
    const struct node *n = &p->nodes.at[i];
    struct unit_key k = {
        n->layer, 0, is_product(n) ? (n->op == OP_mul ? ROOT_PRODUCT : ROOT_LINEAR) : ROOT_INPUT};
    uint32_t root = ROOT_INPUT;
    for (uint32_t a = 0; a < n->num_args; a++) {
        const struct unit_key *x = &key[n->args[a]];
        bool cross = is_product(n) || x->layer != k.layer || (rotated && !(x->root & ROTATED));
        uint32_t rank = x->rank + cross, from = x->root & ~(uint32_t)ROTATED;
        if (a > 0 && rank == k.rank && from != root)
            root = ROOT_SUM;
        if (a == 0 || rank > k.rank)
            root = a > 0 && from != root ? ROOT_SUM : from;
        else if (rank < k.rank && from != root)
            root = ROOT_SUM;
        k.rank = rank > k.rank ? rank : k.rank;
    }
    if (!is_product(n))
        k.root = root;
    k.root |= rotated ? ROTATED : 0;
    return k;
}

/* Adds x to a list without repeats; room for it was made before. */
static void add_once(uint32_t *list, uint32_t *len, uint32_t x)
{
    for (uint32_t i = *len; i-- > 0;)
        if (list[i] == x)
            return;
    list[(*len)++] = x;
}

/* Units by first appearance; members, and in `operand` the earlier units with repeats removed */
static void gather(struct place *pl)
{
    struct prog *p = pl->p;
    uint32_t len = p->nodes.len;
    const bool *rotated = find_rotated_inputs(p);
    struct unit_key *key = arena_array(p->arena, len, sizeof *key);
    uint32_t *edges = arena_array(p->arena, len, sizeof *edges);
    struct map ids;
    map_init(&ids, p->arena);
    for (uint32_t i = 0; i < len; i++) {
        key[i] = key_of(p, i, key, rotated[i]);
        bool is_new;
        uint64_t *id = map_put(&ids, &key[i], sizeof key[i], &is_new);
        if (is_new)
            *id = pl->units++;
        pl->unit_of[i] = (uint32_t)*id;
    }
    pl->unit = arena_array(p->arena, pl->units, sizeof *pl->unit);
    for (uint32_t i = 0; i < len; i++) {
        pl->unit[pl->unit_of[i]].nodes++;
        edges[pl->unit_of[i]] += p->nodes.at[i].num_args;
    }
    for (uint32_t u = 0; u < pl->units; u++) {
        struct place_unit *unit = &pl->unit[u];
        unit->node = arena_array(p->arena, unit->nodes, sizeof *unit->node);
        unit->operand = arena_array(p->arena, edges[u], sizeof *unit->operand);
        unit->nodes = 0;
    }
    for (uint32_t i = 0; i < len; i++) {
        const struct node *n = &p->nodes.at[i];
        struct place_unit *unit = &pl->unit[pl->unit_of[i]];
        unit->node[unit->nodes++] = i;
        for (uint32_t k = 0; k < n->num_args; k++)
            if (pl->unit_of[n->args[k]] != pl->unit_of[i])
                add_once(unit->operand, &unit->operands, pl->unit_of[n->args[k]]);
    }
}

/* Of the units whose operands are all there, the one that ends first in the program: near to its order,
 * in which few values are alive. */
static void order(struct place *pl)
{
    struct arena *a = pl->p->arena;
    uint32_t *now = arena_array(a, pl->units, sizeof *now);
    struct place_unit *sorted = arena_array(a, pl->units, sizeof *sorted);
    memset(now, 0xff, pl->units * sizeof *now);
    for (uint32_t k = 0; k < pl->units; k++) {
        uint32_t best = NONE;
        for (uint32_t u = 0; u < pl->units; u++) {
            const struct place_unit *unit = &pl->unit[u];
            bool ready = now[u] == NONE;
            for (uint32_t j = 0; ready && j < unit->operands; j++)
                ready = now[unit->operand[j]] != NONE;
            if (ready && (best == NONE || unit->node[unit->nodes - 1] <
                                              pl->unit[best].node[pl->unit[best].nodes - 1]))
                best = u;
        }
        if (best == NONE)
            BUG("the units of a program are a cycle");
        now[best] = k;
        sorted[k] = pl->unit[best];
    }
    for (uint32_t u = 0; u < pl->units; u++)
        for (uint32_t j = 0; j < sorted[u].operands; j++)
            sorted[u].operand[j] = now[sorted[u].operand[j]];
    for (uint32_t i = 0; i < pl->p->nodes.len; i++)
        pl->unit_of[i] = now[pl->unit_of[i]];
    pl->unit = sorted;
}

static void find_outs(struct place *pl)
{
    struct prog *p = pl->p;
    bool *leaves = arena_array(p->arena, p->nodes.len, sizeof *leaves);
    for (uint32_t i = 0; i < p->nodes.len; i++)
        for (uint32_t k = 0; k < p->nodes.at[i].num_args; k++) {
            uint32_t x = p->nodes.at[i].args[k];
            leaves[x] = leaves[x] || pl->unit_of[x] != pl->unit_of[i];
        }
    const bool *rotated = find_rotated_inputs(p);
    for (uint32_t u = 0; u < pl->units; u++) {
        struct place_unit *unit = &pl->unit[u];
        unit->out = arena_array(p->arena, unit->nodes, sizeof *unit->out);
        for (uint32_t k = 0; k < unit->nodes; k++)
            if (leaves[unit->node[k]])
                unit->out[unit->outs++] = unit->node[k];
        unit->bootable = unit->outs > 0;
        for (uint32_t k = 0; k < unit->outs; k++) {
            const struct node *n = &p->nodes.at[unit->out[k]];
            unit->bootable = unit->bootable && n->type.kind == KIND_CT && n->op != OP_input &&
                             !rotated[unit->out[k]];
        }
    }
}

/* ---- phases --------------------------------------------------------------------------------- */

enum { DATA = 0 }; /* phase * 4 + pending; pending is below 4 */

static uint8_t encode_phase(const struct value_plan *v)
{
    return (uint8_t)((uint32_t)v->phase * 4 + (uint32_t)v->pending);
}

static void set_phase(struct level_plan *l, const struct place_unit *unit, uint8_t code)
{
    for (uint32_t k = 0; k < unit->outs; k++) {
        struct value_plan *v = &l->at[unit->out[k]];
        v->phase = (enum phase)(code / 4);
        v->pending = code % 4;
    }
}

static bool has_input(const struct place *pl, const struct place_unit *unit)
{
    for (uint32_t k = 0; k < unit->nodes; k++)
        if (pl->p->nodes.at[unit->node[k]].op == OP_input)
            return true;
    return false;
}

/* What leaves the unit, its operands being in the phases that were set. Where ciphertexts of one tensor
 * differ, the one that needs most primes stands for all. */
static uint8_t run_phases(const struct place *pl, struct level_plan *l, const struct place_unit *u)
{
    uint8_t most = DATA;
    for (uint32_t k = 0; k < u->nodes; k++)
        level_phase(l, pl->p, u->node[k]);
    for (uint32_t k = 0; k < u->outs; k++) {
        uint8_t code = encode_phase(&l->at[u->out[k]]);
        most = code > most ? code : most;
    }
    return most;
}

static void add_phase(struct place_unit *u, uint8_t code)
{
    for (uint32_t k = 0; k < u->phases; k++)
        if (u->phase[k] == code)
            return;
    if (u->phases < sizeof u->phase)
        u->phase[u->phases++] = code;
}

/* All combinations of what the operands may be in, DATA among them where they can be bootstrapped */
static void find_phases(struct place *pl, struct level_plan *l, uint32_t at)
{
    struct place_unit *u = &pl->unit[at];
    uint32_t combinations = 1;
    for (uint32_t k = 0; k < u->operands; k++) {
        const struct place_unit *x = &pl->unit[u->operand[k]];
        combinations *= x->phases + x->bootable;
        if (combinations > MOST_GUESSES)
            combinations = MOST_GUESSES;
    }
    for (uint32_t c = 0; c < combinations; c++) {
        uint32_t rest = c;
        for (uint32_t k = 0; k < u->operands; k++) {
            const struct place_unit *x = &pl->unit[u->operand[k]];
            uint32_t options = x->phases + x->bootable, choice = rest % options;
            rest /= options;
            set_phase(l, x, choice < x->phases ? x->phase[choice] : DATA);
        }
        l->input_is_data = false;
        add_phase(u, run_phases(pl, l, u));
        if (!has_input(pl, u))
            continue;
        l->input_is_data = true;
        add_phase(u, run_phases(pl, l, u));
    }
}

struct place place_open(struct prog *p, const struct level_rules *rules)
{
    struct place pl = {.p = p, .rules = *rules};
    pl.unit_of = arena_array(p->arena, p->nodes.len, sizeof *pl.unit_of);
    gather(&pl);
    if (pl.units > MOST_UNITS) {
        pl.units = 0;
        return pl;
    }
    order(&pl);
    find_outs(&pl);
    struct level_plan l = {.rules = *rules};
    l.at = arena_array(p->arena, p->nodes.len, sizeof *l.at);
    for (uint32_t u = 0; u < pl.units; u++)
        find_phases(&pl, &l, u);
    return pl;
}

/* ---- one unit ------------------------------------------------------------------------------- */

/* What is asked of the values that leave a unit */
enum { EXACT_RAW = 1, EXACT_RES = 2 };
struct want_of {
    uint8_t boot;
    uint8_t phase;
    int8_t raw, res; /* levels; -1: not wanted */
    uint8_t exact;   /* at the canonical scale: EXACT_RAW | EXACT_RES */
};

/* A unit with its surroundings decided: memoised */
struct evaluation {
    bool valid;
    double cost;
    struct want_of *operand; /* [operands], as far as this unit wants it */
};

struct solver {
    const struct place *pl;
    struct arena *a;
    const struct params *q;
    struct prog costed; /* shares all but the nodes, whose types are given levels */
    struct level_plan l;
    const bool *banned;
    struct map memo; /* unit, its want, the operands' boot and phase -> evaluation */
    uint64_t states;
};

static double node_cost(struct prog *costed, const struct level_plan *l, const struct params *q,
                        uint32_t i)
{
    const struct node *n = &costed->nodes.at[i];
    const struct value_plan *v = &l->at[i];
    int level = level_of(l, i);
    double ns = 0;
    if (n->op == OP_bootstrap)
        return level < 0 ? 0 : boot_cost_of(q, n);
    if (level < 0 || n->num_args == 0)
        return 0;
    int32_t *operand = &costed->nodes.at[n->args[0]].type.level, saved = *operand;
    *operand = level;
    ns = cost_node(costed, n);
    *operand = saved;
    if (v->res && !v->through)
        for (int k = 0; k < v->pending; k++)
            ns += cost_rescale((struct cost_ring){q->log_n, q->alpha, q->num_p},
                               v->res->level + v->pending - k);
    return ns;
}

double place_cost(const struct level_plan *l, const struct prog *p, const struct params *q,
                  uint32_t i)
{
    struct prog costed = *p;
    costed.params = *q;
    return node_cost(&costed, l, q, i);
}

static int8_t highest(const struct want *w, int8_t before)
{
    return w && w->level > before ? (int8_t)w->level : before;
}

static bool any_exact(const struct want *w)
{
    for (; w; w = w->next)
        if (w->exact)
            return true;
    return false;
}

/* Of bootstrapping what leaves the unit: ciphertexts of one tensor, of equal slots but in text from elsewhere */
static double outs_cost(const struct solver *s, const struct place_unit *u)
{
    const struct node *at = s->pl->p->nodes.at;
    double ns = 0;
    for (uint32_t k = 0, same; k < u->outs; k += same) {
        uint32_t n = at[u->out[k]].type.n;
        for (same = 1; k + same < u->outs && at[u->out[k + same]].type.n == n;)
            same++;
        ns += boot_cost_many(s->q, n, same, s->pl->pairs);
    }
    return ns;
}

static struct evaluation evaluate(struct solver *s, uint32_t at, struct want_of want,
                                  const struct want_of *operand)
{
    const struct place_unit *u = &s->pl->unit[at];
    struct prog *p = s->pl->p;
    struct level_plan *l = &s->l;
    struct evaluation e = {true, 0, arena_array(s->a, u->operands, sizeof *e.operand)};
    struct arena_mark mark = arena_mark(p->arena);
    for (uint32_t k = 0; k < u->operands; k++) {
        const struct place_unit *x = &s->pl->unit[u->operand[k]];
        set_phase(l, x, operand[k].boot ? DATA : operand[k].phase);
        for (uint32_t j = 0; j < x->outs; j++)
            l->at[x->out[j]].raw = l->at[x->out[j]].res = NULL;
    }
    l->input_is_data = want.phase == DATA;
    uint8_t phase = run_phases(s->pl, l, u);
    e.valid = want.boot || u->outs == 0 || phase == want.phase;
    e.valid = e.valid && !(has_input(s->pl, u) && !l->input_is_data && want.res >= 0);
    for (uint32_t k = 0; k < u->nodes; k++)
        l->at[u->node[k]].raw = l->at[u->node[k]].res = NULL;
    for (uint32_t k = 0; k < u->outs && e.valid; k++) {
        if (want.boot)
            level_want(l, p, u->out[k], true, 1, true);
        if (!want.boot && want.raw >= 0)
            level_want(l, p, u->out[k], false, want.raw, want.exact & EXACT_RAW);
        if (!want.boot && want.res >= 0)
            level_want(l, p, u->out[k], true, want.res, want.exact & EXACT_RES);
    }
    if (want.boot && e.valid)
        e.cost += outs_cost(s, u);
    for (uint32_t k = u->nodes; k-- > 0 && e.valid;) {
        level_demand(l, p, u->node[k]);
        e.cost += node_cost(&s->costed, l, s->q, u->node[k]);
    }
    for (uint32_t k = 0; k < u->operands; k++) {
        const struct place_unit *x = &s->pl->unit[u->operand[k]];
        e.operand[k] = (struct want_of){operand[k].boot, operand[k].phase, -1, -1, 0};
        for (uint32_t j = 0; j < x->outs; j++) {
            const struct value_plan *v = &l->at[x->out[j]];
            e.operand[k].raw = highest(v->raw, e.operand[k].raw);
            e.operand[k].res = highest(v->res, e.operand[k].res);
            e.operand[k].exact |= (uint8_t)((any_exact(v->raw) ? EXACT_RAW : 0) |
                                            (any_exact(v->res) ? EXACT_RES : 0));
        }
    }
    arena_release(p->arena, mark);
    return e;
}

static const struct evaluation *evaluated(struct solver *s, uint32_t at, struct want_of want,
                                          const struct want_of *operand)
{
    const struct place_unit *u = &s->pl->unit[at];
    size_t len = 4 + sizeof want + 2 * (size_t)u->operands;
    uint8_t *key = arena_array(s->a, len, 1);
    memcpy(key, &at, 4);
    memcpy(key + 4, &want, sizeof want);
    for (uint32_t k = 0; k < u->operands; k++) {
        key[4 + sizeof want + 2 * k] = operand[k].boot;
        key[5 + sizeof want + 2 * k] = operand[k].phase;
    }
    bool is_new;
    uint64_t *slot = map_put(&s->memo, key, len, &is_new);
    if (!is_new)
        return (const struct evaluation *)(uintptr_t)*slot;
    struct evaluation *e = arena_alloc(s->a, sizeof *e);
    *e = evaluate(s, at, want, operand);
    *slot = (uint64_t)(uintptr_t)e;
    return e;
}

/* ---- the programme -------------------------------------------------------------------------- */

struct state {
    const struct want_of *want; /* of the units that are alive at the cut */
    double cost;
    uint32_t after; /* the state of the cut behind from which it comes */
};

struct cut {
    uint32_t *alive; /* units, in the order of state.want */
    uint32_t num_alive;
    struct state *state;
    uint32_t states, cap;
};

static uint32_t position(const struct cut *c, uint32_t unit)
{
    for (uint32_t i = 0; i < c->num_alive; i++)
        if (c->alive[i] == unit)
            return i;
    return NONE;
}

/* The cut before unit `at`, from the one behind it */
static struct cut cut_before(struct solver *s, const struct cut *behind, uint32_t at)
{
    const struct place_unit *u = &s->pl->unit[at];
    struct cut c = {.alive = arena_array(s->a, behind->num_alive + u->operands, sizeof *c.alive)};
    for (uint32_t i = 0; i < behind->num_alive; i++)
        if (behind->alive[i] != at)
            c.alive[c.num_alive++] = behind->alive[i];
    for (uint32_t k = 0; k < u->operands; k++)
        add_once(c.alive, &c.num_alive, u->operand[k]);
    return c;
}

static void keep_state(struct solver *s, struct cut *c, struct map *seen, struct want_of *want,
                       double cost, uint32_t after)
{
    bool is_new;
    uint64_t *slot = map_put(seen, want, c->num_alive * sizeof *want, &is_new);
    if (is_new) {
        *slot = c->states;
        ARENA_GROW(s->a, c->state, c->states, c->cap);
        c->state[c->states++] = (struct state){want, cost, after};
    } else if (cost < c->state[*slot].cost) {
        c->state[*slot].cost = cost;
        c->state[*slot].after = after;
    }
}

/* Joins what one unit wants with what was wanted before; false above the highest level. */
static bool join(const struct solver *s, struct want_of *all, const struct want_of *one)
{
    int top = (int)s->q->boot_level, pending = all->boot ? 0 : all->phase % 4;
    all->raw = one->raw > all->raw ? one->raw : all->raw;
    all->res = one->res > all->res ? one->res : all->res;
    if (all->raw > top || all->res + pending > top)
        return false;
    all->exact |= one->exact;
    if (all->boot)
        *all = (struct want_of){true, DATA, -1, -1, 0};
    return true;
}

/* One state behind the unit with one guess for each operand that it meets first */
static void step(struct solver *s, const struct cut *behind, struct cut *c, struct map *seen,
                 uint32_t at, uint32_t from, uint32_t guess)
{
    const struct place_unit *u = &s->pl->unit[at];
    const struct state *b = &behind->state[from];
    struct want_of own = {0, DATA, -1, -1, 0};
    struct want_of *want = arena_array(s->a, c->num_alive, sizeof *want);
    struct want_of *operand = arena_array(s->a, u->operands, sizeof *operand);
    for (uint32_t i = 0; i < behind->num_alive; i++) {
        uint32_t to = position(c, behind->alive[i]);
        if (to == NONE)
            own = b->want[i];
        else
            want[to] = b->want[i];
    }
    for (uint32_t k = 0; k < u->operands; k++) {
        const struct place_unit *x = &s->pl->unit[u->operand[k]];
        struct want_of *w = &want[position(c, u->operand[k])];
        if (position(behind, u->operand[k]) == NONE) {
            uint32_t options = x->phases + x->bootable, choice = guess % options;
            guess /= options;
            bool boot = choice >= x->phases;
            if (boot && s->banned && s->banned[u->operand[k]])
                return;
            *w = (struct want_of){boot, boot ? DATA : x->phase[choice], -1, -1, 0};
        }
        operand[k] = *w;
    }
    const struct evaluation *e = evaluated(s, at, own, operand);
    bool fits = e->valid;
    for (uint32_t k = 0; k < u->operands && fits; k++)
        fits = join(s, &want[position(c, u->operand[k])], &e->operand[k]);
    if (fits)
        keep_state(s, c, seen, want, b->cost + e->cost, from);
}

static int by_cost(const void *pa, const void *pb)
{
    const struct state *a = pa, *b = pb;
    return a->cost < b->cost     ? -1
           : a->cost > b->cost   ? 1
           : a->after < b->after ? -1
                                 : a->after > b->after;
}

static struct cut before(struct solver *s, const struct cut *behind, uint32_t at)
{
    const struct place_unit *u = &s->pl->unit[at];
    struct cut c = cut_before(s, behind, at);
    uint32_t guesses = 1;
    for (uint32_t k = 0; k < u->operands; k++) {
        const struct place_unit *x = &s->pl->unit[u->operand[k]];
        if (position(behind, u->operand[k]) == NONE && guesses < MOST_GUESSES)
            guesses *= x->phases + x->bootable;
    }
    struct map seen;
    map_init(&seen, s->a);
    for (uint32_t i = 0; i < behind->states; i++)
        for (uint32_t g = 0; g < guesses; g++)
            step(s, behind, &c, &seen, at, i, g);
    s->states += c.states;
    if (c.states > MOST_STATES) {
        qsort(c.state, c.states, sizeof *c.state, by_cost);
        c.states = MOST_STATES;
    }
    return c;
}

double place_solve(struct place *pl, const struct params *q, const bool *banned, bool *boot,
                   uint64_t *states)
{
    struct solver s = {.pl = pl, .a = arena_new(), .q = q, .costed = *pl->p, .banned = banned};
    uint32_t len = pl->p->nodes.len;
    s.costed.params = *q;
    s.costed.nodes.at = arena_array(s.a, len, sizeof *s.costed.nodes.at);
    memcpy(s.costed.nodes.at, pl->p->nodes.at, len * sizeof *s.costed.nodes.at);
    s.l.rules = pl->rules;
    s.l.at = arena_array(s.a, len, sizeof *s.l.at);
    map_init(&s.memo, s.a);
    struct cut *cut = arena_array(s.a, (size_t)pl->units + 1, sizeof *cut);
    struct state end = {arena_array(s.a, 1, sizeof *end.want), 0, NONE};
    cut[pl->units] = (struct cut){.state = &end, .states = 1};
    for (uint32_t u = pl->units; u-- > 0;)
        cut[u] = before(&s, &cut[u + 1], u);
    double cost = cut[0].states ? cut[0].state[0].cost : INFINITY;
    memset(boot, 0, pl->units * sizeof *boot);
    for (uint32_t u = 0, at = 0; u < pl->units && cut[0].states; u++) {
        const struct state *x = &cut[u].state[at];
        for (uint32_t i = 0; i < cut[u].num_alive; i++)
            if (x->want[i].boot)
                boot[cut[u].alive[i]] = true;
        at = x->after;
    }
    if (states)
        *states = s.states;
    arena_free(s.a);
    return cost;
}

struct prog *place_insert(const struct place *pl, const bool *boot)
{
    const struct nodes *nodes = &pl->p->nodes;
    struct prog *out = prog_derive(pl->p, STAGE_CKKS);
    uint32_t *now = arena_array(pl->p->arena, nodes->len, sizeof *now);
    uint32_t *fresh = arena_array(pl->p->arena, nodes->len, sizeof *fresh);
    bool *leaves = arena_array(pl->p->arena, nodes->len, sizeof *leaves);
    for (uint32_t u = 0; u < pl->units; u++)
        for (uint32_t k = 0; boot[u] && k < pl->unit[u].outs; k++)
            leaves[pl->unit[u].out[k]] = true;
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        uint32_t *args = arena_array(pl->p->arena, n->num_args, sizeof *args);
        for (uint32_t k = 0; k < n->num_args; k++) {
            uint32_t x = n->args[k];
            args[k] = leaves[x] && pl->unit_of[x] != pl->unit_of[i] ? fresh[x] : now[x];
        }
        now[i] = prog_copy_node(out, n, args);
        struct build b = build_like(out, n);
        if (leaves[i])
            fresh[i] = build1(&b, OP_bootstrap, now[i]);
    }
    return out;
}
