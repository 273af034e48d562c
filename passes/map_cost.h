/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_MAP_COST_H
#define WEFT_MAP_COST_H

#include "passes.h"

/* What a linear map between given layouts would cost after slot_bsgs. */
struct map_cost {
    double ns;           /* time of one evaluation */
    uint32_t diagonals;  /* plaintext products; 0 where they were too many to enumerate */
    uint32_t rotations;  /* hoisted ones and those of sums, the sum over copies included */
};

/*
 * Estimate for map `map` of p (all layouts set) in ring r at a level. Weights count as dense, so that equal
 * shapes cost the same. Enumerates the diagonals; the splits tried are a small part of what slot_bsgs
 * tries: an upper bound that is close.
 */
struct map_cost map_cost(struct prog *p, uint32_t map, struct cost_ring r, int level);

#endif
