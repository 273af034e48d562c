/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_PLACE_H
#define WEFT_PLACE_H

/*
 * Where bootstraps go: the exact dynamic programme of ckks_place.
 *
 * Nodes are gathered in units, which form a graph without cycles: nodes of one layer that no product
 * and no rotated input separates. What leaves a unit are the ciphertexts of one tensor, and these are
 * bootstrapped together or not at all.
 */

#include "level.h"

struct place_unit {
    uint32_t *node; /* members in program order */
    uint32_t nodes;
    uint32_t *out; /* members that later units use */
    uint32_t outs;
    uint32_t *operand; /* earlier units whose values are used */
    uint32_t operands;
    bool bootable;
    uint8_t phase[4]; /* the phases that what leaves it may be in, as encoded in place.c */
    uint32_t phases;
};

struct place {
    struct prog *p;
    struct level_rules rules;
    struct place_unit *unit; /* in an order of execution */
    uint32_t units;
    uint32_t *unit_of; /* [nodes] */
    bool pairs;        /* two ciphertexts in one bootstrap where that is cheaper */
};

/* p: a ckks program without levels and bootstraps. No units where there are more than 5000. */
struct place place_open(struct prog *p, const struct level_rules *rules);

/*
 * The cheapest set of units to bootstrap with parameters q: boot[units] becomes true for these, and none
 * of the `banned` (or NULL) ones is. Its cost in nanoseconds; INFINITY where there is none.
 * *states: how many were looked at, for tests and --explain.
 */
double place_solve(struct place *pl, const struct params *q, const bool *banned, bool *boot,
                   uint64_t *states);

/* The program with these bootstraps */
struct prog *place_insert(const struct place *pl, const bool *boot);

/* Time of node i where `l` has it; of a bootstrap, by boot_cost */
double place_cost(const struct level_plan *l, const struct prog *p, const struct params *q,
                  uint32_t i);

#endif
