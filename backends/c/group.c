/* SPDX-License-Identifier: Apache-2.0 */
#include "c.h"

/*
 * The nodes of one group, which stand side by side (ckks_regs), as the tables of rt_transform: a row for
 * each operand, and for each result the plaintexts of the rows. Plaintexts are numbered in the order of the
 * nodes, so those of a group follow each other.
 */

#include <string.h>

static bool same_group(const struct node *a, const struct node *b)
{
    return node_attr(a, KEY_group) && node_attr(b, KEY_group) &&
           node_int(a, KEY_group) == node_int(b, KEY_group);
}

bool c_group_ends(const struct nodes *nodes, uint32_t i)
{
    return i + 1 >= nodes->len || !same_group(&nodes->at[i], &nodes->at[i + 1]);
}

static struct c_row row_of(const struct nodes *nodes, uint32_t x)
{
    const struct node *n = &nodes->at[x];
    struct c_row row = {.node = x, .digits = NONE, .base = x};
    if (!node_attr(n, KEY_group) || n->op == OP_pmac)
        return row;
    row.by = node_int_or(n, KEY_by, 0);
    row.base = n->args[n->op == OP_key_mul];
    if (n->op == OP_key_mul)
        row.digits = n->args[0];
    return row;
}

/* The row of operand x that result `out` has no plaintext for yet; num_rows where a new one is needed */
static uint32_t free_row(const struct c_group *g, const uint32_t *plain, uint32_t x)
{
    uint32_t k = 0;
    while (k < g->num_rows && (g->row[k].node != x || plain[k] != NONE))
        k++;
    return k;
}

/* Rows in the order of first use, which is that of the plaintexts. A product that takes an operand twice,
 * with two plaintexts, makes it two rows. */
struct c_group c_group(const struct nodes *nodes, uint32_t last, const uint32_t *first_plain,
                       struct arena *a)
{
    struct c_group g = {0};
    uint32_t first = last, most = 0;
    while (first > 0 && same_group(&nodes->at[first - 1], &nodes->at[last]))
        first--;
    for (uint32_t i = first; i <= last; i++)
        most += nodes->at[i].op == OP_pmac ? nodes->at[i].num_args : 0;
    g.out = arena_array(a, last - first + 1, sizeof *g.out);
    g.row = arena_array(a, most, sizeof *g.row);
    for (uint32_t i = first; i <= last; i++)
        if (nodes->at[i].op == OP_pmac)
            g.out[g.num_out++] = i;

    uint32_t **plain = arena_array(a, g.num_out, sizeof *plain);
    for (uint32_t k = 0; k < g.num_out; k++) {
        const struct node *n = &nodes->at[g.out[k]];
        plain[k] = arena_array(a, most, sizeof **plain);
        memset(plain[k], 0xff, most * sizeof **plain);
        for (uint32_t j = 0; j < n->num_args; j++) {
            uint32_t row = free_row(&g, plain[k], n->args[j]);
            if (row == g.num_rows)
                g.row[g.num_rows++] = row_of(nodes, n->args[j]);
            plain[k][row] = first_plain[g.out[k]] + j;
        }
    }
    g.plain = arena_array(a, (size_t)g.num_out * g.num_rows, sizeof *g.plain);
    for (uint32_t k = 0; k < g.num_out; k++)
        memcpy(g.plain + (size_t)k * g.num_rows, plain[k], g.num_rows * sizeof *g.plain);
    return g;
}
