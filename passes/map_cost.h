/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_MAP_COST_H
#define WEFT_MAP_COST_H

#include "passes.h"

/* What a linear map between given layouts would cost after slot_bsgs. */
struct map_cost {
    double ns;          /* time of one evaluation */
    uint32_t diagonals; /* plaintext products; 0 where they were too many to enumerate */
    uint32_t rotations; /* hoisted ones and those of sums, the sum over copies included */
};

/* What it depends on: the counts of every way to split offsets that is not worse than another. */
struct map_shape {
    double rects; /* > 0: not enumerated, that many entries */
    uint32_t diagonals, work_slots, out_slots;
    uint32_t in_cts, out_cts; /* ciphertexts that take part */
    uint32_t len;
    struct split_counts {
        uint32_t babies, giants; /* rotations of inputs and of sums */
    } * split;
};

/*
 * Shape of map `map` of p (all layouts set), in arena a. Weights count as dense, so that equal
 * windows have equal shapes. The splits tried are a small part of what slot_bsgs tries: an upper
 * bound that is close.
 */
struct map_shape map_shape(struct prog *p, uint32_t map, struct arena *a);
struct map_cost map_cost(const struct map_shape *s, struct cost_ring r, int level);

#endif
