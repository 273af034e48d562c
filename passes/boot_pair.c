/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <math.h>

/*
 * x + i y through one complex bootstrap shares SlotToCoeff, the raise and CoeffToSlot, and their keys; one
 * conjugation tells x and y apart again.
 *
 * One bootstrap waits at a time. The nodes that depend on it are put off until another of its kind comes that
 * does not; a bootstrap that does depend on it, or is of another kind, ends its wait and waits itself. So
 * pairs never wait for each other, and where nothing is paired the order stays as it is.
 */

/* As closely as level_solve meets a scale */
static bool same_scale(double a, double b)
{
    return fabs(a - b) <= 0x1p-40 * fabs(b);
}

static bool same_kind(const struct prog *p, const struct node *a, const struct node *b)
{
    const struct type *x = &p->nodes.at[a->args[0]].type, *y = &p->nodes.at[b->args[0]].type;
    const struct attr *ra = node_attr(a, KEY_range), *rb = node_attr(b, KEY_range);
    bool same_range = ra && rb ? ra->v.r == rb->v.r : !ra && !rb;
    return same_range && !node_attr(a, KEY_complex) && !node_attr(b, KEY_complex) &&
           a->type.n == b->type.n && x->level == y->level && same_scale(x->scale, y->scale) &&
           a->type.level == b->type.level && same_scale(a->type.scale, b->type.scale);
}

static bool depends(const struct node *n, const uint32_t *on, uint32_t waiting)
{
    for (uint32_t k = 0; k < n->num_args; k++)
        if (n->args[k] == waiting || on[n->args[k]] == waiting)
            return true;
    return false;
}

uint32_t *boot_pairs(const struct prog *p)
{
    uint32_t *pair = arena_array(p->arena, p->nodes.len, sizeof *pair);
    uint32_t *on = arena_array(p->arena, p->nodes.len, sizeof *on), waiting = NONE;
    bool any = false;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        bool late = waiting != NONE && depends(n, on, waiting);
        pair[i] = NONE;
        on[i] = late ? waiting : NONE;
        if (n->op != OP_bootstrap)
            continue;
        on[i] = NONE;
        if (waiting != NONE && !late && same_kind(p, &p->nodes.at[waiting], n)) {
            pair[waiting] = i;
            pair[i] = waiting;
            waiting = NONE;
            any = true;
        } else {
            waiting = i;
        }
    }
    return any ? pair : NULL;
}
