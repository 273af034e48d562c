/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_hoist: share decompositions, sink mod_down below sums.
 *
 * Reads     decompose, key_mul, raised_mul, mod_down, pmac, add, padd, add_scalar; phases and levels as level.h predicts them.
 * Writes    the same ops in another order, and lift.
 * Requires  stage ckks without levels.
 * Ensures   equal nodes are one (so a value is decomposed once for all of its rotations); a sum has at
 *           most one mod_down operand per phase; constants are added after sums.
 * Refuses   nothing.
 * Algorithm Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, "Efficient bootstrapping for approximate
 *           homomorphic encryption with non-sparse keys" (EUROCRYPT 2021), double hoisting, as three
 *           rewrites between two runs of common-subexpression elimination:
 *           1. sums of sums become one sum, (x + constant) + y becomes (x + y) + constant; a sum of
 *              products is relinearised once, a sum of rotations of a raised value has one mod_down;
 *           2. plaintext products that share rotated operands take these over QP, and their sum is
 *              divided by P, instead of each operand, where the cost model says so;
 *           3. add(mod_down a, mod_down b, x) becomes add(mod_down(add(a, b)), x).
 * Cost      linear, but for the sorting of operands.
 */
#include "level.h"

#include <math.h>

static bool narrows(const struct prog *p, const struct node *n)
{
    for (uint32_t k = 0; k < n->num_args; k++)
        if (p->nodes.at[n->args[k]].type.n > n->type.n)
            return true;
    return false;
}

static uint32_t *mapped_args(const struct prog *p, const struct node *n, const uint32_t *now)
{
    uint32_t *args = arena_array(p->arena, n->num_args, sizeof *args);
    for (uint32_t k = 0; k < n->num_args; k++)
        args[k] = now[n->args[k]];
    return args;
}

/* The sum of `args`, typed like n */
static uint32_t build_sum(struct build *b, const struct node *n, enum kind kind,
                          const uint32_t *args, uint32_t len)
{
    struct type t = n->type;
    t.kind = kind;
    build_type(b, &t);
    return build_node(b, OP_add, args, len);
}

/* ---- 1. flat sums, constants last ----------------------------------------------------------- */

/* What a node that dissolves into the sum that uses it leaves behind */
struct flat {
    bool dissolves;
    uint32_t *value;    /* new indices */
    uint32_t *constant; /* old indices of padd and add_scalar nodes */
    uint32_t values, constants;
};

static bool adds_constant(const struct node *n)
{
    return n->op == OP_padd || n->op == OP_add_scalar;
}

static void mark_dissolving(const struct prog *p, struct flat *flat)
{
    const struct nodes *nodes = &p->nodes;
    const uint32_t *uses = prog_use_counts(p);
    for (uint32_t i = nodes->len; i-- > 0;) {
        const struct node *n = &nodes->at[i];
        bool sum = n->op == OP_add && !narrows(p, n);
        for (uint32_t k = 0; k < n->num_args; k++) {
            const struct node *x = &nodes->at[n->args[k]];
            bool able = adds_constant(x) || (x->op == OP_add && !narrows(p, x));
            if (able && uses[n->args[k]] == 1 && x->type.n == n->type.n)
                flat[n->args[k]].dissolves = sum || (adds_constant(n) && flat[i].dissolves);
        }
    }
}

static void collect(const struct prog *p, struct flat *flat, uint32_t i, const uint32_t *now)
{
    const struct node *n = &p->nodes.at[i];
    struct flat *f = &flat[i];
    uint32_t values = 0, constants = adds_constant(n);
    for (uint32_t k = 0; k < n->num_args; k++) {
        const struct flat *x = &flat[n->args[k]];
        values += x->dissolves ? x->values : 1;
        constants += x->dissolves ? x->constants : 0;
    }
    f->value = arena_array(p->arena, values, sizeof *f->value);
    f->constant = arena_array(p->arena, constants, sizeof *f->constant);
    for (uint32_t k = 0; k < n->num_args; k++) {
        const struct flat *x = &flat[n->args[k]];
        for (uint32_t j = 0; x->dissolves && j < x->values; j++)
            f->value[f->values++] = x->value[j];
        for (uint32_t j = 0; x->dissolves && j < x->constants; j++)
            f->constant[f->constants++] = x->constant[j];
        if (!x->dissolves)
            f->value[f->values++] = now[n->args[k]];
    }
    if (adds_constant(n))
        f->constant[f->constants++] = i;
}

static struct prog *flatten(struct prog *in)
{
    const struct nodes *nodes = &in->nodes;
    struct prog *p = prog_derive(in, in->stage);
    uint32_t *now = arena_array(in->arena, nodes->len, sizeof *now);
    struct flat *flat = arena_array(in->arena, nodes->len, sizeof *flat);
    mark_dissolving(in, flat);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        if (n->op != OP_add && !adds_constant(n)) {
            now[i] = prog_copy_node(p, n, mapped_args(in, n, now));
            continue;
        }
        collect(in, flat, i, now);
        if (flat[i].dissolves)
            continue;
        struct build b = build_like(p, n);
        now[i] = flat[i].values == 1
                     ? flat[i].value[0]
                     : build_sum(&b, n, n->type.kind, flat[i].value, flat[i].values);
        for (uint32_t k = 0; k < flat[i].constants; k++)
            now[i] = prog_copy_node(p, &nodes->at[flat[i].constant[k]], &now[i]);
    }
    return p;
}

/* ---- 1. one relinearisation for each sum ---------------------------------------------------- */

/* The CT3 value whose relinearisation, used nowhere else, operand x of sum n is; NONE: it is none */
static uint32_t relinearised(const struct prog *p, const uint32_t *uses, const struct node *n,
                             uint32_t x)
{
    const struct node *down = &p->nodes.at[x];
    uint32_t here = 0;
    for (uint32_t k = 0; k < n->num_args; k++)
        here += n->args[k] == x;
    if (down->op != OP_mod_down || uses[x] != here)
        return NONE;
    const struct node *key = &p->nodes.at[down->args[0]];
    if (key->op != OP_key_mul || uses[down->args[0]] != 1 ||
        p->nodes.at[key->args[1]].type.kind != KIND_CT3)
        return NONE;
    return key->args[1];
}

static uint32_t relinearise(struct build *b, uint32_t x)
{
    uint32_t digits = build1(b, OP_decompose, x);
    x = build2(b, OP_key_mul, digits, x);
    build_int(b, KEY_drop, 0);
    return build1(b, OP_mod_down, x);
}

static uint32_t relinearise_sum(struct prog *in, struct prog *out, const uint32_t *uses,
                                const uint32_t *now, const struct node *n)
{
    struct build b = build_like(out, n);
    uint32_t *args = mapped_args(in, n, now), rests = 0, products = 0;
    uint32_t *product = arena_array(in->arena, n->num_args, sizeof *product);
    for (uint32_t k = 0; k < n->num_args; k++)
        products += relinearised(in, uses, n, n->args[k]) != NONE;
    if (products < 2)
        return prog_copy_node(out, n, args);
    products = 0;
    for (uint32_t k = 0; k < n->num_args; k++) {
        uint32_t x = relinearised(in, uses, n, n->args[k]);
        if (x != NONE)
            product[products++] = now[x];
        else
            args[rests++] = args[k];
    }
    uint32_t sum = relinearise(&b, build_sum(&b, n, KIND_CT3, product, products));
    args[rests++] = sum;
    return rests == 1 ? sum : build_sum(&b, n, KIND_CT, args, rests);
}

static struct prog *relinearise_sums(struct prog *in)
{
    const struct nodes *nodes = &in->nodes;
    struct prog *p = prog_derive(in, in->stage);
    const uint32_t *uses = prog_use_counts(in);
    uint32_t *now = arena_array(in->arena, nodes->len, sizeof *now);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        now[i] = n->op == OP_add && n->type.kind == KIND_CT && !narrows(in, n)
                     ? relinearise_sum(in, p, uses, now, n)
                     : prog_copy_node(p, n, mapped_args(in, n, now));
    }
    return prog_clean(p);
}

/* ---- 2. plaintext products over QP ---------------------------------------------------------- */

struct hoist {
    const struct prog *p;
    const struct level_plan *plan;
    struct cost_ring ring;
    const uint32_t *uses;
    uint32_t *group;  /* [nodes]: union-find over pmac nodes; NONE for the others */
    uint32_t *inside; /* [nodes]: uses of an operand by products of its group */
    double *gain;     /* [nodes]: ns saved by extending the group of this root */
};

static uint32_t root(struct hoist *h, uint32_t i)
{
    while (h->group[i] != i) {
        h->group[i] = h->group[h->group[i]];
        i = h->group[i];
    }
    return i;
}

/* A value that was computed over QP and divided by P: its extended form is free */
static bool is_divided(const struct prog *p, uint32_t i)
{
    const struct node *n = &p->nodes.at[i];
    return n->op == OP_mod_down && node_int(n, KEY_drop) == 0;
}

static void join_groups(struct hoist *h)
{
    const struct nodes *nodes = &h->p->nodes;
    uint32_t *first = arena_array(h->p->arena, nodes->len, sizeof *first);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        h->group[i] = n->op == OP_pmac && n->type.kind == KIND_CT ? i : NONE;
        first[i] = NONE;
        for (uint32_t k = 0; h->group[i] != NONE && k < n->num_args; k++) {
            uint32_t x = n->args[k];
            h->inside[x]++;
            if (!is_divided(h->p, x))
                continue;
            if (first[x] == NONE)
                first[x] = i;
            h->group[root(h, i)] = root(h, first[x]);
        }
    }
}

/* Divisions by P that stay after the products of group g are extended: all but those that
 * merge in a sum which is divided anyhow. */
static void count_divisions(struct hoist *h)
{
    const struct nodes *nodes = &h->p->nodes;
    bool *in_sum = arena_array(h->p->arena, nodes->len, sizeof *in_sum);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        if (n->op != OP_add)
            continue;
        uint32_t product = NONE;
        bool divided = false;
        for (uint32_t k = 0; k < n->num_args; k++) {
            uint32_t x = n->args[k];
            if (h->uses[x] != 1)
                continue;
            divided = divided || is_divided(h->p, x);
            if (h->group[x] == NONE)
                continue;
            product = x;
            in_sum[x] = true;
        }
        if (product != NONE && !divided)
            h->gain[root(h, product)] -= cost_mod_down(h->ring, level_of(h->plan, product));
    }
    for (uint32_t i = 0; i < nodes->len; i++)
        if (h->group[i] != NONE && !in_sum[i])
            h->gain[root(h, i)] -= cost_mod_down(h->ring, level_of(h->plan, i));
}

/* What a rotation that only one group takes costs less inside its transform (ckks_group) */
static double inner_gain(const struct hoist *h, uint32_t divided)
{
    uint32_t x = h->p->nodes.at[divided].args[0];
    const struct node *n = &h->p->nodes.at[x];
    int level = level_of(h->plan, divided);
    if (h->uses[x] != 1)
        return 0;
    if (n->op == OP_raised_mul)
        return cost_raised_mul(h->ring, level) - cost_inner_raised_mul(h->ring, level);
    if (n->op == OP_key_mul && node_int_or(n, KEY_by, 0) != 0)
        return cost_key_mul(h->ring, level) - cost_inner_key_mul(h->ring, level);
    return 0;
}

static void count_gains(struct hoist *h)
{
    const struct nodes *nodes = &h->p->nodes;
    bool *seen = arena_array(h->p->arena, nodes->len, sizeof *seen);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        if (h->group[i] == NONE)
            continue;
        int level = level_of(h->plan, i);
        double *gain = &h->gain[root(h, i)];
        uint32_t period = (uint32_t)node_int(n, KEY_period);
        *gain -= cost_pmac_period(h->ring, level, true, n->num_args, period) -
                 cost_pmac_period(h->ring, level, false, n->num_args, period);
        for (uint32_t k = 0; k < n->num_args; k++) {
            uint32_t x = n->args[k];
            if (seen[x])
                continue;
            seen[x] = true;
            if (!is_divided(h->p, x))
                *gain -= 2 * (level + 1) * cost_pointwise(h->ring.log_n);
            else if (h->inside[x] == h->uses[x])
                *gain += cost_mod_down(h->ring, level) + inner_gain(h, x);
        }
    }
    count_divisions(h);
}

static struct prog *extend_products(struct prog *in, const struct level_plan *plan,
                                    struct cost_ring ring)
{
    const struct nodes *nodes = &in->nodes;
    struct hoist h = {.p = in, .plan = plan, .ring = ring, .uses = prog_use_counts(in)};
    h.group = arena_array(in->arena, nodes->len, sizeof *h.group);
    h.inside = arena_array(in->arena, nodes->len, sizeof *h.inside);
    h.gain = arena_array(in->arena, nodes->len, sizeof *h.gain);
    join_groups(&h);
    count_gains(&h);

    struct prog *p = prog_derive(in, in->stage);
    uint32_t *now = arena_array(in->arena, nodes->len, sizeof *now);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        uint32_t *args = mapped_args(in, n, now);
        if (h.group[i] == NONE || !(h.gain[root(&h, i)] > 0)) {
            now[i] = prog_copy_node(p, n, args);
            continue;
        }
        struct build b = build_like(p, n);
        for (uint32_t k = 0; k < n->num_args; k++)
            args[k] = is_divided(in, n->args[k]) ? now[nodes->at[n->args[k]].args[0]]
                                                 : build1(&b, OP_lift, args[k]);
        struct node extended = *n;
        extended.type.kind = KIND_CTX;
        uint32_t product = prog_copy_node(p, &extended, args);
        build_int(&b, KEY_drop, 0);
        now[i] = build1(&b, OP_mod_down, product);
    }
    return p;
}

/* ---- 3. one division by P for each sum ------------------------------------------------------ */

static bool same_phase(const struct level_plan *plan, uint32_t a, uint32_t b)
{
    return plan->at[a].phase == plan->at[b].phase && plan->at[a].pending == plan->at[b].pending;
}

struct sinking {
    struct prog *in, *out;
    struct level_plan plan;
    const uint32_t *uses;
    uint32_t *now;
    bool only_raised; /* quotients of raised_mul only */
};

/* Whether operand x of a sum can leave its mod_down to the sum */
static bool sinks(const struct sinking *s, uint32_t x)
{
    const struct nodes *nodes = &s->in->nodes;
    return s->uses[x] == 1 && is_divided(s->in, x) &&
           (!s->only_raised || nodes->at[nodes->at[x].args[0]].op == OP_raised_mul);
}

static uint32_t sink_sum(struct sinking *s, uint32_t i)
{
    const struct node *n = &s->in->nodes.at[i];
    struct build b = build_like(s->out, n);
    struct arena *a = s->in->arena;
    uint32_t *rest = arena_array(a, n->num_args, sizeof *rest), rests = 0;
    uint32_t *inner = arena_array(a, n->num_args, sizeof *inner);
    bool *done = arena_array(a, n->num_args, sizeof *done);
    for (uint32_t k = 0; k < n->num_args; k++) {
        if (done[k])
            continue;
        uint32_t inners = 0;
        for (uint32_t j = k; j < n->num_args && sinks(s, n->args[k]); j++)
            if (sinks(s, n->args[j]) && same_phase(&s->plan, n->args[k], n->args[j])) {
                done[j] = true;
                inner[inners++] = s->out->nodes.at[s->now[n->args[j]]].args[0];
            }
        if (inners < 2) {
            rest[rests++] = s->now[n->args[k]];
            continue;
        }
        struct node wide = *n; /* only the outermost sum may be the one that repeats sooner */
        if (rests > 0 || inners < n->num_args)
            wide.type.n = s->out->nodes.at[s->now[n->args[k]]].type.n;
        uint32_t sum = build_sum(&b, &wide, KIND_CTX, inner, inners);
        build_int(&b, KEY_drop, 0);
        rest[rests++] = build1(&b, OP_mod_down, sum);
    }
    return rests == 1 ? rest[0] : build_sum(&b, n, KIND_CT, rest, rests);
}

static struct prog *sink_divisions(struct prog *in, const struct level_plan *rules,
                                   bool only_raised)
{
    const struct nodes *nodes = &in->nodes;
    struct sinking s = {.in = in,
                        .out = prog_derive(in, in->stage),
                        .plan = *rules,
                        .uses = prog_use_counts(in),
                        .now = arena_array(in->arena, nodes->len, sizeof *s.now),
                        .only_raised = only_raised};
    s.plan.at = NULL;
    level_plan(&s.plan, in);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        bool sum = n->op == OP_add && n->type.kind == KIND_CT && n->num_args > 1;
        s.now[i] = sum ? sink_sum(&s, i) : prog_copy_node(s.out, n, mapped_args(in, n, s.now));
    }
    return s.out;
}

static bool any_raised(const struct prog *p)
{
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].op == OP_raised_mul)
            return true;
    return false;
}

struct prog *ckks_hoist_at(struct prog *in, struct cost_ring ring, const struct level_plan *rules)
{
    struct prog *p = relinearise_sums(flatten(prog_clean(in)));
    if (any_raised(p))
        p = sink_divisions(p, rules, true);
    struct level_plan plan = *rules;
    plan.at = NULL;
    level_plan(&plan, p);
    if (ring.log_n == 0) {
        uint32_t slots = 1;
        for (uint32_t i = 0; i < p->nodes.len; i++)
            slots = p->nodes.at[i].type.n > slots ? p->nodes.at[i].type.n : slots;
        ring = level_guess_ring(slots, (uint32_t)plan.top + 1);
    }
    p = extend_products(p, &plan, ring);
    return prog_clean(sink_divisions(prog_clean(p), rules, false));
}

struct prog *ckks_hoist(struct prog *in, const struct opts *o)
{
    level_refused(in, "ckks_hoist");
    struct level_plan rules = {.rules = level_rules_default(o->precision)};
    return ckks_hoist_at(in, (struct cost_ring){0}, &rules);
}
