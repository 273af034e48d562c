/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slot_clean: merge equal nodes, drop unused ones.
 *
 * Reads     slot nodes, of functions too.
 * Writes    a program without doubles: rotations that several linear transforms share are one node.
 * Requires  stage slot.
 * Ensures   every node is used, no two PURE nodes are equal.
 * Refuses   nothing.
 * Algorithm hash-consing in program order, then a backward sweep (cse.c).
 * Cost      linear in the text of the program.
 */
#include "passes.h"

struct prog *slot_clean(struct prog *in, const struct opts *o)
{
    (void)o;
    struct prog *p = prog_clean(in);
    p->funcs = arena_array(in->arena, in->num_funcs, sizeof *p->funcs);
    for (uint32_t f = 0; f < in->num_funcs; f++)
        p->funcs[f] = (struct func){in->funcs[f].name, prog_clean(prog_of_func(in, f))->nodes};
    return p;
}
