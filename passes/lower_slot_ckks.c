/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_slot_ckks: packed vectors become ciphertexts, key switching becomes visible.
 *
 * Reads     rot, mul and the ops that both stages share.
 * Writes    rot -> decompose, key_mul by, mod_down;  mul -> mul, decompose, key_mul, mod_down; the
 *           others one to one.
 * Requires  stage slot without lin.
 * Ensures   stage ckks; no levels, scales or parameters yet. `by` is in (-n/2, n/2], so that equal
 *           rotations of vectors of different n are one key; ckks_params makes it 1..N/2-1.
 * Refuses   nothing.
 * Cost      linear.
 */
#include "passes.h"

static uint32_t switch_key(struct build *b, uint32_t x, int64_t by)
{
    uint32_t digits = build1(b, OP_decompose, x);
    if (by != 0)
        build_int(b, KEY_by, by);
    uint32_t product = build2(b, OP_key_mul, digits, x);
    build_int(b, KEY_drop, 0);
    return build1(b, OP_mod_down, product);
}

static uint32_t lower_rot(struct build *b, const struct node *rot, uint32_t x)
{
    int64_t n = rot->type.n, by = node_int(rot, KEY_by) % n;
    by += by < 0 ? n : 0;
    if (by == 0)
        return x;
    return switch_key(b, x, by > n / 2 ? by - n : by);
}

struct prog *lower_slot_ckks(struct prog *in, const struct opts *o)
{
    (void)o;
    const struct nodes *nodes = &in->nodes;
    struct prog *p = prog_derive(in, STAGE_CKKS);
    uint32_t *now = arena_array(in->arena, nodes->len, sizeof *now);
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        struct build b = build_like(p, n);
        uint32_t *args = arena_array(in->arena, n->num_args, sizeof *args);
        for (uint32_t k = 0; k < n->num_args; k++)
            args[k] = now[n->args[k]];
        if (n->op == OP_lin)
            diag_fatal(n->loc, "lower_slot_ckks: %%%u is a 'lin': run slot_bsgs first", i);
        if (n->op == OP_rot) {
            now[i] = lower_rot(&b, n, args[0]);
            continue;
        }
        if (n->op == OP_mul) {
            now[i] = switch_key(&b, build2(&b, OP_mul, args[0], args[1]), 0);
            continue;
        }
        now[i] = prog_copy_node(p, n, args);
        if (n->type.kind == KIND_VEC)
            p->nodes.at[now[i]].type.kind = KIND_CT;
    }
    return p;
}
