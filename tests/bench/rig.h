/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_BENCH_RIG_H
#define TESTS_BENCH_RIG_H

/* A ring with keys, plaintexts, an open program and a client: all that the operations need. */

#include "bench.h"
#include "eval/eval.h"
#include "rt_kit.h"

enum {
    RIG_LEVELS = 3,
    RIG_TERMS = 8,     /* plaintexts of a kind */
    RIG_PERIOD = 512,  /* slots of the periodic ones */
    RIG_OUT_LIMBS = 2, /* of a result that a client decrypts */
    RIG_BABIES = 24,   /* rotations of a linear transform, and its results */
    RIG_RESULTS = 6
};

/* Registers. The first four hold ciphertexts that nothing overwrites. */
enum {
    RIG_X,
    RIG_Y,
    RIG_INPUTS = 4,
    RIG_CT3 = RIG_INPUTS,
    RIG_DIGITS,
    RIG_CTX,
    RIG_OUT,
    RIG_REGS,
    RIG_RESULT = RIG_REGS, /* these with linear transforms only */
    RIG_BABY = RIG_RESULT + RIG_RESULTS,
    RIG_ALL_REGS = RIG_BABY + RIG_BABIES
};

struct rig_level {
    unsigned limbs; /* 0 ends the list; the first is the longest */
    bool every_cpu; /* or the best level only */
};

struct rig_config {
    unsigned log_n, limbs, special, alpha;
    struct rig_level levels[RIG_LEVELS];
    bool transforms; /* linear transforms, at the first level, and nothing else */
};

struct rig {
    const struct rig_config *config;
    /* While one rotation key of a level is used the others push it out of the caches, as in a
     * program with many rotations. */
    unsigned num_keys[RIG_LEVELS];
    struct kit kit;
    uint64_t words[RIG_ALL_REGS];
    rt_secret *secret;
    rt_eval *e;
    const struct ring *ring;
    char file[2][128];                /* encrypted by the client; result of the program */
    double *slots, *imaginary, *work; /* N/2, N/2, N */
    uint64_t *poly;                   /* over all q */
    /* of the job that is running */
    unsigned at; /* level of the list */
    unsigned limbs;
    unsigned key;
    bool failed;
};

/* Bytes of one rotation key, and how many of them the level `at` gets. */
double rig_key_bytes(const struct rig_config *c, unsigned limbs);
unsigned rig_keys(const struct rig_config *c, unsigned at);
unsigned rig_digits(const struct rig_config *c, unsigned limbs);

void rig_make(void *rig);
void rig_prepare(void *rig, const struct bench_case *c);
bool rig_check(void *rig);
void rig_drop(void *rig);

/* The rotation whose turn it is. */
int64_t rig_next_key(struct rig *r);
/* First of the RIG_TERMS plaintexts of a level that are full, or periodic; the one to add. */
uint32_t rig_full(const struct rig *r);
uint32_t rig_periodic(const struct rig *r);
uint32_t rig_addend(const struct rig *r);
/* Baby i of a linear transform rotates by rig_baby(i). Its plaintexts stand for results, then babies. */
int64_t rig_baby(unsigned i);
uint32_t rig_transform(bool periodic);

extern const double rig_scale; /* of all ciphertexts and plaintexts */

#endif
