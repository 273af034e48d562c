/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_PASS_KIT_H
#define TESTS_PASS_KIT_H

/* Small hand-written programs for the tests of the slot and ckks passes. */

#include "passes.h"

/*
 * The program of these nodes, one a line. They may use: layout @0 (1x1x8, 8 slots), layout @1 (1x1x1,
 * 1 slot), map &0 (@0 -> @0, one weight), constants $0 [1,1,1,1] and $1 [1]. Types and the input's
 * attributes may be left out: every line is `%N = op args attributes` and is completed by inference.
 */
struct prog *pkit_program(struct arena *a, enum stage stage, const char *nodes);

/* The ops in order, with the attributes that tell them apart:
 * "input decompose key_mul(3) mod_down(1) output" */
const char *pkit_ops_of(const struct prog *p);

/* Runs the passes from `first` to `last`, verifying after each. */
struct prog *pkit_run(struct prog *p, const char *first, const char *last, const struct opts *o);

uint32_t pkit_count(const struct prog *p, enum op op);

#endif
