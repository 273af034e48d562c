/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_RANDOM_NET_H
#define WEFT_RANDOM_NET_H

/*
 * Random small networks at stage nn, for property tests: odd sizes, strides, paddings, dilations,
 * groups, all three kinds of wrap, pools, upsampling, concat, sums, products, batch norms,
 * polynomials of every degree with inconvenient coefficients. All constants are inline. Values stay
 * near [-2, 2] for images in [-1, 1].
 */

#include "ir.h"

/* xorshift64*: the same numbers everywhere */
struct random {
    uint64_t state;
};
struct random random_from(uint64_t seed);
uint64_t random_u64(struct random *r);
uint32_t random_below(struct random *r, uint32_t n);               /* 0 .. n-1 */
uint32_t random_range(struct random *r, uint32_t lo, uint32_t hi); /* lo .. hi */
bool random_chance(struct random *r, uint32_t percent);
double random_real(struct random *r, double lo, double hi);

struct random_net {
    uint32_t max_layers;   /* 0: 8 */
    uint32_t max_elements; /* of a tensor; 0: 1200 */
    uint32_t max_depth;    /* maps and products on a path, a little pessimistic; 0: no limit */
    uint32_t max_degree;   /* of polynomials; 0: 8 */
    bool plain;            /* only what a YAML model can say: no mul, sub, add_channel, maps */
};
/* The same seed and limits give the same program. limits may be NULL. */
struct prog *random_net(struct arena *a, uint64_t seed, const struct random_net *limits);

/* An image for it: uniform in [-1, 1], [C][H][W] in arena a */
double *random_image(struct arena *a, const struct prog *p, uint64_t seed);

/* SEED from the environment, else the default; printed to stderr */
uint64_t random_seed(uint64_t otherwise);
/* TRIALS from the environment, else the default */
uint32_t random_trials(uint32_t otherwise);

/* Is there a value in the answer that is the same whatever the image? The C backend refuses a network
 * in which a whole ciphertext of them is. */
bool random_constant(struct arena *a, struct prog *p, uint64_t seed);

#endif
