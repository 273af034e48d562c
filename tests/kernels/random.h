/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_KERNELS_RANDOM_H
#define TESTS_KERNELS_RANDOM_H

/*
 * Reproducible randomness for tests: splitmix64 from the environment variable SEED (any strtoull
 * number), else from a fixed default. Every failure message prints the seed.
 */
#include <stdint.h>
#include <stdlib.h>

struct random {
    uint64_t seed;
    uint64_t state;
};

/* A generator of its own for each test, so that tests do not depend on their order. */
static inline struct random random_start(uint64_t test_number)
{
    const char *text = getenv("SEED");
    uint64_t seed = text != NULL ? strtoull(text, NULL, 0) : UINT64_C(20240917);
    struct random g = {seed, seed * UINT64_C(0x9e3779b97f4a7c15) + (test_number << 40)};
    return g;
}

static inline uint64_t random_next(struct random *g)
{
    uint64_t z = g->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* In [0, k), k >= 1; the bias does not matter here. */
static inline uint64_t random_below(struct random *g, uint64_t k)
{
    return random_next(g) % k;
}

#endif
