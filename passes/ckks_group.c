/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_group: rotations and the plaintext products that take them become one transform.
 *
 * Reads     pmac and its operands, of the program and its functions.
 * Writes    `group` on pmac, key_mul, raised_mul and lift: one number for each transform.
 * Requires  levels; no registers.
 * Ensures   a product is in at most one group; key_mul (of rotations), raised_mul and lift are in the group
 *           of the products that take them if nothing else does: they are computed there and need no
 *           register; no product of a group depends on another, nor groups on each other in a circle.
 * Refuses   programs that have groups already.
 * Algorithm The runtime computes a transform tile by tile, so that a rotated operand meets all of its
 *           plaintexts in the cache and is never written. Products that share an operand are joined
 *           (union-find), if they are of one rank: the number of products on the longest path
 *           to them. Those over Q take what is in registers, which they read once for all of them. A path from group to group raises the rank, which is why there is no circle.
 * Cost      linear.
 */
#include "level.h"

struct groups {
    struct prog *p;
    uint32_t *root; /* [nodes]: union-find over products; NONE for the other nodes */
    uint32_t *rank; /* [nodes] */
    uint32_t
        *inside;  /* [nodes]: uses by products of the one group that uses it; 0 if there are two */
    uint32_t *of; /* [nodes]: root of that group, or NONE */
};

static uint32_t find_root(struct groups *g, uint32_t i)
{
    while (g->root[i] != i) {
        g->root[i] = g->root[g->root[i]];
        i = g->root[i];
    }
    return i;
}

static bool is_product(const struct node *n)
{
    return n->op == OP_pmac;
}

/* What the runtime can compute inside a transform */
static bool is_operand(const struct node *n)
{
    bool rotates = n->op == OP_key_mul && node_int_or(n, KEY_by, 0) != 0 &&
                   node_int_or(n, KEY_conjugate, 0) == 0;
    return rotates || n->op == OP_raised_mul || n->op == OP_lift;
}

static uint32_t find_ranks(struct groups *g)
{
    const struct nodes *nodes = &g->p->nodes;
    uint32_t highest = 0;
    for (uint32_t i = 0; i < nodes->len; i++) {
        const struct node *n = &nodes->at[i];
        for (uint32_t k = 0; k < n->num_args; k++)
            if (g->rank[n->args[k]] > g->rank[i])
                g->rank[i] = g->rank[n->args[k]];
        g->rank[i] += is_product(n);
        highest = g->rank[i] > highest ? g->rank[i] : highest;
    }
    return highest;
}

/* Products by rank, those of one rank in program order; returns how many. */
static uint32_t products_by_rank(const struct groups *g, uint32_t highest, uint32_t **result)
{
    const struct nodes *nodes = &g->p->nodes;
    uint32_t *fill = arena_array(g->p->arena, (size_t)highest + 2, sizeof *fill), len = 0;
    for (uint32_t i = 0; i < nodes->len; i++)
        if (is_product(&nodes->at[i])) {
            fill[g->rank[i] + 1]++;
            len++;
        }
    for (uint32_t r = 1; r <= highest + 1; r++)
        fill[r] += fill[r - 1];
    uint32_t *product = arena_array(g->p->arena, len, sizeof *product);
    for (uint32_t i = 0; i < nodes->len; i++)
        if (is_product(&nodes->at[i]))
            product[fill[g->rank[i]]++] = i;
    *result = product;
    return len;
}

static void join(struct groups *g, const uint32_t *product, uint32_t len)
{
    const struct nodes *nodes = &g->p->nodes;
    uint32_t *last = arena_array(g->p->arena, nodes->len, sizeof *last); /* product of an operand */
    for (uint32_t i = 0; i < nodes->len; i++) {
        last[i] = g->of[i] = NONE;
        g->root[i] = is_product(&nodes->at[i]) ? i : NONE;
    }
    for (uint32_t at = 0; at < len; at++) {
        uint32_t i = product[at];
        const struct node *n = &nodes->at[i];
        for (uint32_t k = 0; k < n->num_args; k++) {
            uint32_t x = n->args[k];
            if (last[x] != NONE && g->rank[last[x]] == g->rank[i])
                g->root[find_root(g, last[x])] = find_root(g, i);
            last[x] = i;
        }
    }
    for (uint32_t at = 0; at < len; at++) {
        uint32_t root = find_root(g, product[at]);
        const struct node *n = &nodes->at[product[at]];
        for (uint32_t k = 0; k < n->num_args; k++) {
            uint32_t x = n->args[k];
            if (g->of[x] == NONE)
                g->of[x] = root;
            g->inside[x] += g->of[x] == root;
        }
    }
}

/* Results of a group are all there before one is used, so that they go to memory and come back: that takes
 * this many operands each, which are in registers anyhow and would otherwise be read for every product. */
enum { ENOUGH_OPERANDS = 4 };

/* A single product of operands that are in registers anyhow stays a pmac. */
static void mark(struct groups *g)
{
    struct nodes *nodes = &g->p->nodes;
    struct arena *a = g->p->arena;
    const uint32_t *uses = prog_use_counts(g->p);
    uint32_t *gain = arena_array(a, nodes->len, sizeof *gain); /* by root: what is worth a group */
    uint32_t *number = arena_array(a, nodes->len, sizeof *number), groups = 0;
    uint32_t *operands = arena_array(a, nodes->len, sizeof *operands); /* by root, of products */
    for (uint32_t i = 0; i < nodes->len; i++) {
        if (!is_operand(&nodes->at[i]) || g->inside[i] != uses[i])
            g->inside[i] = 0;
        if (g->inside[i] > 0)
            gain[g->of[i]] += 2;
        if (g->root[i] != NONE) {
            gain[find_root(g, i)]++;
            operands[find_root(g, i)] += nodes->at[i].num_args;
        }
        number[i] = NONE;
    }
    for (uint32_t i = 0; i < nodes->len; i++) {
        uint32_t root = g->root[i] != NONE ? find_root(g, i) : g->inside[i] > 0 ? g->of[i] : NONE;
        if (root == NONE || gain[root] < 2)
            continue;
        if (nodes->at[root].type.kind == KIND_CT && operands[root] < ENOUGH_OPERANDS * gain[root])
            continue;
        if (number[root] == NONE)
            number[root] = groups++;
        node_set_int(g->p, &nodes->at[i], KEY_group, number[root]);
    }
}

static void group(struct prog *p)
{
    level_required(p, "ckks_group");
    struct groups g = {.p = p};
    g.root = arena_array(p->arena, p->nodes.len, sizeof *g.root);
    g.rank = arena_array(p->arena, p->nodes.len, sizeof *g.rank);
    g.inside = arena_array(p->arena, p->nodes.len, sizeof *g.inside);
    g.of = arena_array(p->arena, p->nodes.len, sizeof *g.of);
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (node_attr(&p->nodes.at[i], KEY_group))
            diag_fatal(p->nodes.at[i].loc, "ckks_group: %%%u is in a group already", i);
    uint32_t *product, len = products_by_rank(&g, find_ranks(&g), &product);
    join(&g, product, len);
    mark(&g);
}

struct prog *ckks_group(struct prog *p, const struct opts *o)
{
    (void)o;
    if (p->num_regs > 0)
        diag_fatal(NO_LOC, "ckks_group: the program has its registers already");
    for (uint32_t f = 0; f < p->num_funcs; f++)
        group(prog_of_func(p, f));
    group(p);
    return p;
}
