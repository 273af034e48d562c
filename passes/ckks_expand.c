/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_expand: bootstraps become calls of functions that the other passes can see into.
 *
 * Reads     bootstrap nodes with levels, scales and `range`; p->params.
 * Writes    p->funcs: boot_stc_<slots>_<k>, and boot_raise_<slots> or boot_raise_complex_<slots>, one for
 *           each distinct (slots, range, scales); call and relabel in place of bootstrap; add, times_i and
 *           one conjugation around those that two real ciphertexts share.
 * Requires  ckks_level.
 * Ensures   no bootstrap is left; every result has the type of the bootstrap, and the functions
 *           have levels and scales.
 * Refuses   a bootstrap without `range`; ranges too large for the precision of SlotToCoeff.
 * Algorithm boot.h; the functions go through the ordinary slot and ckks passes. Two real bootstraps (boot_pairs)
 *           become one of z = x + i y where the cost model says that this is cheaper, which it is but for
 *           CoeffToSlot and SlotToCoeff of very few slots: then z + conj z = 2 x and i (conj z - z) = 2 y. The
 *           factor 2 is in the scale: z comes at half of it, so that rounding z counts one bit more.
 * Cost      linear, and building the functions.
 */
#include "boot.h"

#include <math.h>

struct made {
    struct boot_kind kind;
    uint32_t stc, raise; /* functions */
};

struct expand {
    const struct prog *in;
    struct prog *out;
    struct made *made;
    uint32_t len, cap, cap_funcs;
};

static struct boot_kind kind_of(const struct prog *p, const struct node *n)
{
    const struct type *x = &p->nodes.at[n->args[0]].type;
    const struct attr *range = node_attr(n, KEY_range);
    if (!range)
        diag_fatal(
            n->loc,
            "layer '%s': the bootstrap has no range: give it range=R with |value| <= R (`weft "
            "build` measures it on sample images)",
            n->layer);
    if (x->level != 1 || n->type.level != (int32_t)p->params.boot_level)
        diag_fatal(n->loc,
                   "layer '%s': a bootstrap goes from level 1 to %u, this one from %d to %d",
                   n->layer, p->params.boot_level, x->level, n->type.level);
    return (struct boot_kind){.n = x->n,
                              .range = range->v.r,
                              .scale = x->scale,
                              .out_scale = n->type.scale,
                              .complex = node_attr(n, KEY_complex) != NULL};
}

/* The function's tables become the program's: it has all that were there, and its own. */
static uint32_t add_func(struct expand *e, const char *name, const struct prog *body)
{
    struct prog *p = e->out;
    p->consts = body->consts;
    p->layouts = body->layouts;
    p->num_layouts = body->num_layouts;
    p->cap_layouts = body->cap_layouts;
    p->maps = body->maps;
    p->num_maps = body->num_maps;
    p->cap_maps = body->cap_maps;
    ARENA_GROW(p->arena, p->funcs, p->num_funcs, e->cap_funcs);
    p->funcs[p->num_funcs] = (struct func){intern(p, name), body->nodes};
    return p->num_funcs++;
}

static char *func_name(struct expand *e, const char *part, uint32_t n, bool numbered)
{
    uint32_t before = 0;
    for (uint32_t i = 0; i < e->len; i++)
        before += e->made[i].kind.n == n;
    return numbered || before > 0 ? arena_printf(e->out->arena, "boot_%s_%u_%u", part, n, before)
                                  : arena_printf(e->out->arena, "boot_%s_%u", part, n);
}

/* Scales that calls accept in each other's place */
static bool same_scale(double a, double b)
{
    return fabs(a - b) <= 0x1p-42 * b;
}

static bool same_kind(const struct boot_kind *a, const struct boot_kind *b)
{
    return a->complex == b->complex && a->n == b->n && a->range == b->range &&
           same_scale(a->scale, b->scale) && same_scale(a->out_scale, b->out_scale);
}

/* SlotToCoeff knows nothing of what comes after it. */
static uint32_t find_stc(const struct expand *e, const struct boot_kind *k)
{
    for (uint32_t i = 0; i < e->len; i++) {
        const struct boot_kind *x = &e->made[i].kind;
        if (x->n == k->n && x->range == k->range && same_scale(x->scale, k->scale))
            return e->made[i].stc;
    }
    return NONE;
}

static const struct made *make(struct expand *e, const struct boot_kind *k, struct loc loc)
{
    for (uint32_t i = 0; i < e->len; i++)
        if (same_kind(&e->made[i].kind, k))
            return &e->made[i];
    struct made m = {.kind = *k};
    const char *stc = func_name(e, "stc", k->n, true);
    const char *raise = func_name(e, k->complex ? "raise_complex" : "raise", k->n, false);
    m.stc = find_stc(e, k);
    if (m.stc == NONE)
        m.stc = add_func(e, stc, boot_stc(e->out, k, stc, loc));
    m.raise = add_func(e, raise, boot_raise(e->out, k, raise));
    ARENA_GROW(e->out->arena, e->made, e->len, e->cap);
    e->made[e->len] = m;
    return &e->made[e->len++];
}

static uint32_t relabel(struct build *b, uint32_t x, double scale)
{
    build_real(b, KEY_gain, b->p->nodes.at[x].type.scale / scale);
    return build1(b, OP_relabel, x);
}

static uint32_t call(struct build *b, uint32_t x, uint32_t func)
{
    build_int(b, KEY_func, func);
    return build1(b, OP_call, x);
}

static uint32_t expand_kind(struct expand *e, struct build *b, const struct boot_kind *k,
                            uint32_t x)
{
    const struct made *m = make(e, k, b->loc);
    x = call(b, x, m->stc);
    x = relabel(b, x, boot_raise_scale(e->out, k->n));
    x = call(b, x, m->raise);
    return relabel(b, x, k->out_scale);
}

static uint32_t expand(struct expand *e, const struct node *n, uint32_t x)
{
    struct boot_kind k = kind_of(e->in, n);
    struct build b = build_like(e->out, n);
    return expand_kind(e, &b, &k, x);
}

static uint32_t conjugated(struct build *b, uint32_t x)
{
    uint32_t digits = build1(b, OP_decompose, x);
    build_int(b, KEY_conjugate, 1);
    x = build2(b, OP_key_mul, digits, x);
    build_int(b, KEY_drop, 0);
    return build1(b, OP_mod_down, x);
}

/* x[0] and x[1] become their bootstraps; n: that of one of them */
static void expand_pair(struct expand *e, const struct node *n, uint32_t *x)
{
    struct boot_kind k = kind_of(e->in, n);
    struct build b = build_like(e->out, n);
    k.complex = true;
    k.out_scale /= 2;
    uint32_t z = build2(&b, OP_add, x[0], build1(&b, OP_times_i, x[1]));
    z = expand_kind(e, &b, &k, z);
    uint32_t mirrored = conjugated(&b, z);
    x[0] = relabel(&b, build2(&b, OP_add, z, mirrored), n->type.scale);
    x[1] = build1(&b, OP_times_i, build2(&b, OP_sub, mirrored, z));
    x[1] = relabel(&b, x[1], n->type.scale);
}

static bool pays(const struct params *q, uint32_t n)
{
    return boot_cost_pair(q, n) < 2 * boot_cost(q, n);
}

/* NULL: nothing is paired */
static uint32_t *choose_pairs(const struct prog *p, const struct opts *o)
{
    uint32_t *pair = o->boot_single ? NULL : boot_pairs(p);
    for (uint32_t i = 0; pair && i < p->nodes.len; i++)
        if (pair[i] != NONE && !pays(&p->params, p->nodes.at[i].type.n))
            pair[i] = NONE;
    return pair;
}

static void check_chain(const struct prog *p, const struct node *n)
{
    const struct params *q = &p->params;
    if (q->boot_level < 1 || q->sparse_weight == 0 ||
        q->num_q <= q->boot_level + boot_evalmod_levels(q))
        diag_fatal(n->loc,
                   "layer '%s': the parameters leave no levels to bootstrap: run ckks_params",
                   n->layer);
}

static void explain(const struct expand *e)
{
    const struct params *q = &e->in->params;
    const struct boot_sine *s = boot_sine_for(q->sparse_weight);
    for (uint32_t i = 0; i < e->len; i++) {
        const struct made *m = &e->made[i];
        diag_note(NO_LOC,
                  "%s, %s: %u slots up to %g, %.0f + %.0f ms; a wrong result in one of 2^%.0f runs",
                  e->out->funcs[m->stc].name, e->out->funcs[m->raise].name, m->kind.n,
                  m->kind.range, cost_prog(prog_of_func(e->out, m->stc)) * 1e-6,
                  cost_prog(prog_of_func(e->out, m->raise)) * 1e-6,
                  -boot_log2_failure(q->sparse_weight, s->imax,
                                     m->kind.complex ? 2. * m->kind.n : m->kind.n));
    }
    if (e->len == 0)
        return;
    struct boot_summary all = boot_summary(e->out);
    diag_note(NO_LOC,
              "bootstraps: %u in all; a multiple of q_0 beyond the sine's range, and so a wrong "
              "result, in one of 2^%.1f runs",
              all.bootstraps, -all.log2_failure);
    diag_note(NO_LOC,
              "bootstraps: sine of degree %u, %u doubling, %s2^-%.1f of the range off; values near "
              "the range are bent by 2^-%.1f of it",
              s->degree, s->doublings, q->arcsine ? "arcsine of degree 3, " : "", s->message_bits,
              boot_bend_bits(q->arcsine));
}

/* Nothing where an operand, or the other of a pair, is not there yet: the second of a pair brings all that
 * waited for it. */
static void emit(struct expand *e, uint32_t *now, const uint32_t *pair, uint32_t i)
{
    const struct node *n = &e->in->nodes.at[i];
    uint32_t *args = arena_array(e->in->arena, n->num_args, sizeof *args);
    for (uint32_t k = 0; k < n->num_args; k++) {
        args[k] = now[n->args[k]];
        if (args[k] == NONE)
            return;
    }
    if (n->op != OP_bootstrap || !pair || pair[i] == NONE) {
        now[i] = n->op == OP_bootstrap ? expand(e, n, args[0]) : prog_copy_node(e->out, n, args);
        return;
    }
    uint32_t first = pair[i];
    if (first > i)
        return;
    uint32_t x[2] = {now[e->in->nodes.at[first].args[0]], args[0]};
    expand_pair(e, n, x);
    now[first] = x[0];
    now[i] = x[1];
    for (uint32_t k = first + 1; k < i; k++)
        if (now[k] == NONE)
            emit(e, now, pair, k);
}

struct prog *ckks_expand(struct prog *in, const struct opts *o)
{
    bool any = false;
    for (uint32_t i = 0; i < in->nodes.len; i++)
        if (in->nodes.at[i].op == OP_bootstrap) {
            check_chain(in, &in->nodes.at[i]);
            any = true;
        }
    if (!any)
        return in;
    level_required(in, "ckks_expand");
    struct expand e = {.in = in, .out = prog_derive(in, STAGE_CKKS)};
    e.out->funcs = NULL;
    e.out->num_funcs = 0;
    for (uint32_t f = 0; f < in->num_funcs; f++) {
        ARENA_GROW(in->arena, e.out->funcs, e.out->num_funcs, e.cap_funcs);
        e.out->funcs[e.out->num_funcs++] = in->funcs[f];
    }
    const uint32_t *pair = choose_pairs(in, o);
    uint32_t *now = arena_array(in->arena, in->nodes.len, sizeof *now);
    for (uint32_t i = 0; i < in->nodes.len; i++)
        now[i] = NONE;
    for (uint32_t i = 0; i < in->nodes.len; i++)
        emit(&e, now, pair, i);
    if (o->explain)
        explain(&e);
    return e.out;
}
