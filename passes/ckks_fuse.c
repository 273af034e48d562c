/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_fuse: one rounding for mod_down and rescale.
 *
 * Reads     rescale nodes and what they rescale, where that has no other use; of functions too.
 * Writes    mod_down with a larger `drop`, lift, sums over QP, rescale of sums.
 * Requires  levels and scales.
 * Ensures   levels and scales of all remaining values are unchanged.
 * Refuses   nothing.
 * Algorithm rescale(mod_down(x))           -> mod_down(x) with drop       (2 l transforms fewer)
 *           rescale(raise_scale(mod_down(x))) likewise, the factor before the division
 *           rescale(add(mod_down(x), y))   -> mod_down(add(x, lift y))    where cheaper by cost
 *           add(rescale(x), rescale(y))    -> rescale(add(x, y))          of equal level and scale
 * Cost      linear.
 */
#include "level.h"

#include <math.h>

struct fuse {
    struct prog *in, *out;
    const uint32_t *uses; /* of `in` */
    uint32_t *now;
};

static const struct node *old_node(const struct fuse *f, uint32_t i)
{
    return &f->in->nodes.at[i];
}

/* Nobody but the node at hand uses i: it vanishes when that node does without it. */
static bool vanishes(const struct fuse *f, uint32_t i, enum op op)
{
    return f->uses[i] == 1 && old_node(f, i)->op == op;
}

static uint32_t build_mod_down(struct build *b, uint32_t x, int64_t drop)
{
    build_int(b, KEY_drop, drop);
    return build1(b, OP_mod_down, x);
}

static uint32_t source_of(const struct fuse *f, uint32_t i)
{
    return f->now[old_node(f, i)->args[0]];
}

static double node_cost(struct fuse *f, uint32_t id)
{
    return cost_node(f->out, &f->out->nodes.at[id]);
}

/* rescale(add(mod_down(x), y, ...)): both ways are built, the dearer one is left unused. */
static uint32_t fuse_sum(struct fuse *f, const struct node *rescale, uint32_t plain)
{
    const struct node *sum = old_node(f, rescale->args[0]);
    struct build b = build_like(f->out, rescale);
    uint32_t *args = arena_array(f->in->arena, sum->num_args, sizeof *args);
    double extended_cost = 0,
           plain_cost = node_cost(f, plain) + node_cost(f, f->now[rescale->args[0]]);
    bool any = false;
    for (uint32_t k = 0; k < sum->num_args; k++) {
        uint32_t x = sum->args[k];
        if (vanishes(f, x, OP_mod_down) && node_int(old_node(f, x), KEY_drop) == 0) {
            any = true;
            args[k] = source_of(f, x);
            plain_cost += node_cost(f, f->now[x]);
            continue;
        }
        args[k] = build1(&b, OP_lift, f->now[x]);
        extended_cost += node_cost(f, args[k]);
    }
    if (!any)
        return plain;
    struct type t = f->out->nodes.at[args[0]].type;
    t.n = sum->type.n;
    build_type(&b, &t);
    uint32_t extended = build_node(&b, OP_add, args, sum->num_args);
    uint32_t down = build_mod_down(&b, extended, node_int(rescale, KEY_drop));
    extended_cost += node_cost(f, extended) + node_cost(f, down);
    return extended_cost < plain_cost ? down : plain;
}

static uint32_t fuse_rescale(struct fuse *f, const struct node *n)
{
    uint32_t x = n->args[0];
    if (vanishes(f, x, OP_mod_down)) {
        struct build b = build_like(f->out, n);
        return build_mod_down(&b, source_of(f, x),
                              node_int(old_node(f, x), KEY_drop) + node_int(n, KEY_drop));
    }
    if (vanishes(f, x, OP_raise_scale) && vanishes(f, old_node(f, x)->args[0], OP_mod_down)) {
        struct build b = build_like(f->out, n);
        uint32_t down = old_node(f, x)->args[0];
        build_int(&b, KEY_times, node_int(old_node(f, x), KEY_times));
        uint32_t raised = build1(&b, OP_raise_scale, source_of(f, down));
        return build_mod_down(&b, raised,
                              node_int(old_node(f, down), KEY_drop) + node_int(n, KEY_drop));
    }
    uint32_t plain = prog_copy_node(f->out, n, &f->now[x]);
    return vanishes(f, x, OP_add) && n->type.kind == KIND_CT ? fuse_sum(f, n, plain) : plain;
}

static bool sums_rescaled(const struct fuse *f, const struct node *n)
{
    const struct node *first = old_node(f, n->args[0]);
    for (uint32_t k = 0; k < n->num_args; k++) {
        const struct node *x = old_node(f, n->args[k]);
        if (!vanishes(f, n->args[k], OP_rescale) ||
            node_int(x, KEY_drop) != node_int(first, KEY_drop))
            return false;
        double a = old_node(f, x->args[0])->type.scale, b = old_node(f, first->args[0])->type.scale;
        if (fabs(a / b - 1) > 0x1p-34)
            return false;
    }
    return n->num_args > 1;
}

static uint32_t fuse_add(struct fuse *f, const struct node *n, const uint32_t *args)
{
    if (!sums_rescaled(f, n))
        return prog_copy_node(f->out, n, args);
    struct build b = build_like(f->out, n);
    uint32_t *x = arena_array(f->in->arena, n->num_args, sizeof *x);
    for (uint32_t k = 0; k < n->num_args; k++)
        x[k] = source_of(f, n->args[k]);
    struct type t = f->out->nodes.at[x[0]].type;
    t.n = n->type.n;
    build_type(&b, &t);
    uint32_t sum = build_node(&b, OP_add, x, n->num_args);
    build_int(&b, KEY_drop, node_int(old_node(f, n->args[0]), KEY_drop));
    return build1(&b, OP_rescale, sum);
}

static struct prog *fuse(struct prog *in)
{
    level_required(in, "ckks_fuse");
    const struct nodes *nodes = &in->nodes;
    struct fuse f = {in, prog_derive(in, in->stage), prog_use_counts(in), NULL};
    f.now = arena_array(in->arena, nodes->len, sizeof *f.now);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        uint32_t *args = arena_array(in->arena, n->num_args, sizeof *args);
        for (uint32_t k = 0; k < n->num_args; k++)
            args[k] = f.now[n->args[k]];
        if (n->op == OP_rescale)
            f.now[i] = fuse_rescale(&f, n);
        else if (n->op == OP_add)
            f.now[i] = fuse_add(&f, n, args);
        else
            f.now[i] = prog_copy_node(f.out, n, args);
    }
    return prog_clean(f.out);
}

struct prog *ckks_fuse(struct prog *in, const struct opts *o)
{
    (void)o;
    if (in->num_regs > 0)
        diag_fatal(NO_LOC, "ckks_fuse: the program has its registers already");
    struct prog *p = fuse(in);
    p->funcs = arena_array(in->arena, in->num_funcs, sizeof *p->funcs);
    for (uint32_t f = 0; f < in->num_funcs; f++)
        p->funcs[f] = (struct func){in->funcs[f].name, fuse(prog_of_func(in, f))->nodes};
    return p;
}
