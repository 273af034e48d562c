/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_slot_ckks: packed vectors become ciphertexts, key switching becomes visible.
 *
 * Reads     rot, conj, mul, mod_raise and the ops that both stages share; of the functions too.
 * Writes    rot -> decompose, key_mul by, mod_down;  conj -> the same with conjugate=1;
 *           mul -> mul, decompose, key_mul, mod_down; a relabel of it is done before;
 *           mod_raise -> encapsulate, mod_raise; a rot of it -> raised_mul by, mod_down; its other
 *           uses -> one raised_mul, mod_down; the others one to one.
 * Requires  stage slot without lin.
 * Ensures   stage ckks; no levels, scales or parameters yet. `by` is in (-n/2, n/2], so that equal
 *           rotations of vectors of different n are one key; ckks_params makes it 1..N/2-1.
 * Refuses   nothing.
 * Cost      linear.
 */
#include "passes.h"

struct lowering {
    const struct prog *in;
    struct prog *out;
    uint32_t *now;
    uint32_t *raised;  /* [nodes of in] the RAISED value of a mod_raise node, else NONE */
    uint32_t *product; /* [nodes of in] the CT3 value of a mul node, else NONE */
};

static uint32_t divide(struct build *b, uint32_t x)
{
    build_int(b, KEY_drop, 0);
    return build1(b, OP_mod_down, x);
}

enum change { RELINEARISE, ROTATE, CONJUGATE };

static uint32_t switch_key(struct build *b, uint32_t x, enum change change, int64_t by)
{
    uint32_t digits = build1(b, OP_decompose, x);
    if (change == ROTATE)
        build_int(b, KEY_by, by);
    if (change == CONJUGATE)
        build_int(b, KEY_conjugate, 1);
    return divide(b, build2(b, OP_key_mul, digits, x));
}

/* Back under the dense secret */
static uint32_t switch_raised(struct build *b, uint32_t raised, int64_t by)
{
    if (by != 0)
        build_int(b, KEY_by, by);
    return divide(b, build1(b, OP_raised_mul, raised));
}

static uint32_t lower_mod_raise(struct lowering *l, struct build *b, uint32_t i, uint32_t x)
{
    struct node raise = l->in->nodes.at[i];
    x = build1(b, OP_encapsulate, x);
    raise.type.kind = KIND_RAISED;
    l->raised[i] = prog_copy_node(l->out, &raise, &x);
    return NONE; /* built by the first use that does not rotate it */
}

static uint32_t operand(struct lowering *l, uint32_t x)
{
    if (l->now[x] == NONE) {
        struct build b = build_like(l->out, &l->in->nodes.at[x]);
        l->now[x] = switch_raised(&b, l->raised[x], 0);
    }
    return l->now[x];
}

static uint32_t lower_rot(struct lowering *l, struct build *b, const struct node *rot)
{
    int64_t n = rot->type.n, by = node_int(rot, KEY_by) % n;
    uint32_t x = rot->args[0], raised = l->raised[x];
    by += by < 0 ? n : 0;
    if (by == 0)
        return operand(l, x);
    by = by > n / 2 ? by - n : by;
    return raised == NONE ? switch_key(b, operand(l, x), ROTATE, by) : switch_raised(b, raised, by);
}

/* Before key switching, so that nothing stands between mod_down and rescale */
static uint32_t relabel_product(struct lowering *l, struct build *b, const struct node *n)
{
    build_real(b, KEY_gain, node_real(n, KEY_gain));
    return switch_key(b, build1(b, OP_relabel, l->product[n->args[0]]), RELINEARISE, 0);
}

static uint32_t lower_node(struct lowering *l, uint32_t i)
{
    const struct node *n = &l->in->nodes.at[i];
    struct build b = build_like(l->out, n);
    if (n->op == OP_lin)
        diag_fatal(n->loc, "lower_slot_ckks: %%%u is a 'lin': run slot_bsgs first", i);
    if (n->op == OP_rot)
        return lower_rot(l, &b, n);
    if (n->op == OP_relabel && l->product[n->args[0]] != NONE)
        return relabel_product(l, &b, n);
    uint32_t *args = arena_array(l->in->arena, n->num_args, sizeof *args);
    for (uint32_t k = 0; k < n->num_args; k++)
        args[k] = operand(l, n->args[k]);
    if (n->op == OP_conj)
        return switch_key(&b, args[0], CONJUGATE, 0);
    if (n->op == OP_mul)
        return switch_key(&b, l->product[i] = build2(&b, OP_mul, args[0], args[1]), RELINEARISE, 0);
    if (n->op == OP_mod_raise)
        return lower_mod_raise(l, &b, i, args[0]);
    struct node copy = *n;
    if (copy.type.kind == KIND_VEC)
        copy.type.kind = KIND_CT;
    return prog_copy_node(l->out, &copy, args);
}

static struct prog *lower(struct prog *in)
{
    uint32_t len = in->nodes.len;
    struct lowering l = {.in = in, .out = prog_derive(in, STAGE_CKKS)};
    l.now = arena_array(in->arena, len, sizeof *l.now);
    l.raised = arena_array(in->arena, len, sizeof *l.raised);
    l.product = arena_array(in->arena, len, sizeof *l.product);
    for (uint32_t i = 0; i < len; i++) {
        l.raised[i] = l.product[i] = NONE;
        l.now[i] = lower_node(&l, i);
    }
    return l.out;
}

struct prog *lower_slot_ckks(struct prog *in, const struct opts *o)
{
    (void)o;
    struct prog *p = lower(in);
    p->funcs = arena_array(in->arena, in->num_funcs, sizeof *p->funcs);
    for (uint32_t f = 0; f < in->num_funcs; f++)
        p->funcs[f] = (struct func){in->funcs[f].name, lower(prog_of_func(in, f))->nodes};
    return p;
}
