/* SPDX-License-Identifier: Apache-2.0 */
/*
 * lower_nn_slot: tensors become packed vectors, maps become linear transforms.
 *
 * Reads     nn nodes, the layouts of their types and maps.
 * Writes    one vec a ciphertext of every tensor: input, lin, padd, add, sub, mul, output.
 * Requires  stage nn after nn_layout: every tensor and every map has layouts, operands and result
 *           of an elementwise operator the same one.
 * Ensures   stage slot; slots that hold no element stay zero.
 * Refuses   nothing.
 * Algorithm Node by node: a map is one `lin` a result ciphertext over all ciphertexts of all
 *           operands in order, its bias a padd behind.
 * Cost      linear in the number of ciphertexts, times the operands of a map.
 */
#include "passes.h"

#include <string.h>

struct lower {
    struct prog *in, *p;
    uint32_t **vec; /* [in->nodes.len] the ciphertexts of an old value */
    struct build b;
};

static uint32_t layout_of(const struct lower *s, uint32_t value)
{
    uint32_t l = s->in->nodes.at[value].type.layout;
    if (l == NONE)
        BUG("%%%u has no layout", value);
    return l;
}

static uint32_t parts_of(const struct lower *s, uint32_t value)
{
    return s->in->layouts[layout_of(s, value)].num_ct;
}

static uint32_t padd(struct lower *s, uint32_t x, uint32_t bias, uint32_t layout, uint32_t part)
{
    build_int(&s->b, KEY_bias, bias);
    build_int(&s->b, KEY_layout, layout);
    build_int(&s->b, KEY_part, part);
    return build1(&s->b, OP_padd, x);
}

static void lower_map(struct lower *s, const struct node *n, uint32_t value)
{
    uint32_t layout = layout_of(s, value), total = 0;
    uint32_t bias = node_ref_or_none(n, KEY_bias);
    for (uint32_t k = 0; k < n->num_args; k++)
        total += parts_of(s, n->args[k]);
    uint32_t *args = arena_array(s->p->arena, total, sizeof *args);
    total = 0;
    for (uint32_t k = 0; k < n->num_args; k++) {
        uint32_t parts = parts_of(s, n->args[k]);
        memcpy(args + total, s->vec[n->args[k]], parts * sizeof *args);
        total += parts;
    }
    for (uint32_t i = 0; i < parts_of(s, value); i++) {
        build_int(&s->b, KEY_map, node_int(n, KEY_map));
        build_int(&s->b, KEY_out, i);
        uint32_t v = build_node(&s->b, OP_lin, args, total);
        s->vec[value][i] = bias == NONE ? v : padd(s, v, bias, layout, i);
    }
}

static void lower_elementwise(struct lower *s, const struct node *n, uint32_t value)
{
    uint32_t *args = arena_array(s->p->arena, n->num_args, sizeof *args);
    for (uint32_t i = 0; i < parts_of(s, value); i++) {
        for (uint32_t k = 0; k < n->num_args; k++) {
            if (layout_of(s, n->args[k]) != layout_of(s, value))
                BUG("operand %%%u of %%%u has another layout", n->args[k], value);
            args[k] = s->vec[n->args[k]][i];
        }
        s->vec[value][i] = build_node(&s->b, (enum op)n->op, args, n->num_args);
    }
}

static void lower_node(struct lower *s, uint32_t value)
{
    const struct node *n = &s->in->nodes.at[value];
    s->b = build_like(s->p, n);
    if (n->op == OP_output) {
        uint32_t x = n->args[0];
        build_int(&s->b, KEY_layout, layout_of(s, x));
        build_node(&s->b, OP_output, s->vec[x], parts_of(s, x));
        return;
    }
    uint32_t layout = layout_of(s, value), parts = parts_of(s, value);
    s->vec[value] = arena_array(s->p->arena, parts, sizeof *s->vec[value]);
    switch ((enum op)n->op) {
    case OP_input:
        for (uint32_t i = 0; i < parts; i++) {
            build_int(&s->b, KEY_part, i);
            build_int(&s->b, KEY_layout, layout);
            s->vec[value][i] = build_node(&s->b, OP_input, NULL, 0);
        }
        break;
    case OP_map:
        lower_map(s, n, value);
        break;
    case OP_add_channel:
        for (uint32_t i = 0; i < parts; i++)
            s->vec[value][i] =
                padd(s, s->vec[n->args[0]][i], (uint32_t)node_int(n, KEY_bias), layout, i);
        break;
    case OP_add:
    case OP_sub:
    case OP_mul:
        lower_elementwise(s, n, value);
        break;
    default:
        BUG("'%s' is left at the end of stage nn", op_info[n->op].name);
    }
}

struct prog *lower_nn_slot(struct prog *in, const struct opts *o)
{
    struct lower s = {.in = in, .p = prog_derive(in, STAGE_SLOT)};
    if (o->check)
        s.p->packed = in->nodes;
    s.vec = arena_array(in->arena, in->nodes.len, sizeof *s.vec);
    for (uint32_t i = 0; i < in->nodes.len; i++)
        lower_node(&s, i);
    return s.p;
}
