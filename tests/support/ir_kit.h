/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_IR_KIT_H
#define TESTS_IR_KIT_H

/* For the tests of ir/: catching diagnostics, random layouts and maps, values of linear maps. */

#include "ir.h"
#include "rt_kit.h" /* kit_seed, kit_random, kit_uniform */

/* Runs f(ctx); what it reported. `ended`: through diag_fatal or BUG. Memory of a run that ended
 * early is lost: tests are processes. */
struct caught {
    bool ended, bug;
    char text[4096];
};
struct caught ir_catch(void (*f)(void *ctx), void *ctx);

/* A number in [low, high]. */
uint32_t ir_pick(uint64_t *rng, uint32_t low, uint32_t high);

/* A constant of random values in [-1, 1]; every `zeros`-th one is 0 (0: none). */
uint32_t ir_random_const(struct build *b, uint64_t *rng, const int64_t *dims, uint32_t rank,
                         uint32_t zeros);

/* A layout for a tensor: interleave and gap up to most_g, most_t; any pitch, any permutation. */
uint32_t ir_random_layout(struct prog *p, uint64_t *rng, const uint32_t dims[3], uint32_t most_g,
                          uint32_t most_t);

/* y = M x through the diagonals of map `map`, split at random into baby and giant steps. x[i] is
 * ciphertext i of all operands in order, y is [ciphertexts of the result][n_out]. */
void ir_apply_diagonals(struct prog *p, uint64_t *rng, uint32_t map, const double *const *x,
                        double *y);

#endif
