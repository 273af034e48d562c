/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nn_layout: choose a GIP layout for every tensor.
 *
 * Reads     nn nodes, the shapes of maps and weights (no values), opts.log_n, opts.explain.
 * Writes    type.layout of every tensor; a map record of its own for every map node, with layouts.
 * Requires  stage nn after nn_fold: input, map, add, sub, mul, add_channel, output.
 * Ensures   operands and result of an elementwise operator have the same layout.
 * Refuses   (diag_fatal) a row that fits no ciphertext of the largest ring allowed.
 * Algorithm Generalised interleaved packing (Peregrine, arXiv 2511.18976) per axis. Tensors that
 *           must agree form a class (union-find). Candidates of a class: what keeps the pitch of
 *           its producer (layout_stride), with the block and n of the producer or the smallest;
 *           compact rows; channel-fastest (t_w = C), also pulled back through the next map; small
 *           multiplex factors; interleaving over ciphertexts where one does not hold an image. The
 *           cost of a map between two candidates is map_cost(); products and ciphertexts are priced
 *           at the level that is left. Dynamic programming on the tree "class of the first operand
 *           of the first map into the class", then every class in turn against its neighbours until
 *           nothing improves. Repeated for larger rings while tensors need several ciphertexts; the
 *           cheapest ring's layouts stay.
 * Cost      (maps of different shapes) * candidates^2 enumerations of diagonals.
 */
#include "layout_search.h"

#include <string.h>

/* The map of every map node gets its own record with the chosen layouts. */
static void apply(const struct prog *in, const struct layouts *found, struct prog *q)
{
    uint32_t *now = arena_array(q->arena, in->nodes.len, sizeof *now);
    for (uint32_t i = 0; i < in->nodes.len; i++) {
        const struct node *n = &in->nodes.at[i];
        now[i] = n->op == OP_output ? NONE : prog_add_layout(q, &found->of[i]);
        uint32_t index = prog_copy_node(q, n, n->args);
        struct node *copy = &q->nodes.at[index];
        copy->type.layout = now[i];
        if (n->op != OP_map)
            continue;
        struct lmap m = q->maps[node_int(n, KEY_map)];
        struct lterm *terms = arena_array(q->arena, m.num_terms, sizeof *terms);
        memcpy(terms, m.term, m.num_terms * sizeof *terms);
        for (uint32_t k = 0; k < m.num_terms; k++)
            terms[k].in_layout = now[n->args[k]];
        m.term = terms;
        m.out_layout = now[i];
        node_set_int(q, copy, KEY_map, prog_add_map(q, &m));
    }
}

struct prog *nn_layout(struct prog *in, const struct opts *o)
{
    struct layouts found;
    layout_search(in, o, &found);
    struct prog *q = prog_derive(in, STAGE_NN);
    apply(in, &found, q);
    return prog_compact(q);
}
