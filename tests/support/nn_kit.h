/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_NN_KIT_H
#define TESTS_NN_KIT_H

/* For the tests of the nn passes: small programs from text, values, counts. */

#include "passes.h"

/* A program at stage nn: input is "2x5x7", body its constants, maps and nodes as text. */
struct prog *nn_kit(struct arena *a, const char *input, uint32_t outputs, const char *body);
/* The named passes one after the other, comma-separated, each verified. */
struct prog *nn_kit_run(struct prog *p, const char *passes);
/* Largest difference between the results of two programs on three random images, relative to the
 * largest result. */
double nn_kit_difference(struct prog *p, struct prog *q);

uint32_t nn_kit_count(const struct prog *p, enum op op);
uint32_t nn_kit_depth(const struct prog *p); /* maps and products on the longest path */
/* The k-th map of the program in order of nodes */
const struct lmap *nn_kit_map(const struct prog *p, uint32_t k);

#endif
