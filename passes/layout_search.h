/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_LAYOUT_SEARCH_H
#define WEFT_LAYOUT_SEARCH_H

/* The search behind nn_layout; its specification stands there. */

#include "map_cost.h"

/* ---- layout_class.c: classes of tensors and their candidate layouts -------------------------- */

struct class
{
    uint32_t first; /* its first value: the input or the result of a map */
    uint32_t dims[3];
    uint32_t parent;     /* class of the first operand of the map that makes `first`; NONE: input */
    uint32_t *candidate; /* layouts of the scratch program */
    uint32_t len, cap;
};

struct classes {
    struct prog *p;   /* scratch copy of the program: layouts and map records are free to change */
    uint32_t *of;     /* [nodes.len] class of a value; NONE for outputs */
    struct class *at; /* in order of `first` */
    uint32_t len;
    uint32_t max_slots; /* n of a candidate is at most this */
    enum layout_how how;
};

/* Classes and candidates of program p for ciphertexts of max_slots slots. MULTIPLEXED: one candidate each. */
struct classes find_classes(const struct prog *p, uint32_t max_slots, enum layout_how how);

/* ---- layout_search.c ------------------------------------------------------------------------- */

struct layouts {
    struct layout *of; /* [nodes.len] */
};
void layout_search(struct prog *p, const struct opts *o, struct layouts *found);

#endif
