/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_LEVEL_H
#define WEFT_LEVEL_H

/*
 * Levels and scales of a ckks program: the plan that ckks_hoist, ckks_params and ckks_level share.
 *
 * A value is in one of three phases:
 *     DATA     scale about D = 2^precision, ready for everything
 *     PRODUCT  a product of two DATA values that is not rescaled: D^2
 *     WIDE     a plaintext product (or a sum that holds one): D times the `pending` primes to drop
 * and may be asked for in two versions: RAW, as computed, and RES, rescaled to DATA. Rescaling is as
 * late as possible: mul and output want RES, pmac and padd want RES of what is WIDE, the others take
 * RAW. A rotation of a value whose RES is wanted rotates the RES of its operand.
 *
 * Fixed levels: a bootstrap takes RES at level 1 and gives DATA at params.boot_level; mod_raise takes
 * level 0 and gives what is wanted, up to raise_level; the input of a function is at input_level.
 * comb and pmac take any scale; the result of comb, and of a pmac in a function, is WIDE by one prime.
 * A pmac with `keep` is a PRODUCT of scale operand * 2^keep.
 *
 * Scales are exact. D[l] is the canonical scale of DATA at level l:
 *     D[L] = D (L = boot_level, or the level of the input),   D[l-1] = D[l]^2 t / q_l  with the integer t = floor(q_l / D[l]),
 * so that squaring at level l, raise_scale(t) and dropping q_l end at D[l-1] exactly; plaintext scales
 * are solved so that every WIDE value is D[l-k] q_l ... q_(l-k+1), and a DATA value that must meet
 * others at a lower level l is multiplied by round(q D[l] / S) and divided by q, an error of 2^-50.
 */

#include "passes.h"

enum phase { PHASE_DATA, PHASE_PRODUCT, PHASE_WIDE };

struct level_rules {
    double precision;  /* log2 of D */
    double prime_bits; /* log2 of the primes that are dropped */
    uint32_t base;     /* primes that are left at the output */
    uint32_t arcsine;  /* as in struct params */
};

/* One level at which a version of a value is wanted. */
struct want {
    int level;
    bool exact;  /* the canonical scale is needed: it meets other values in a sum */
    uint32_t id; /* of the node in the new program */
    struct want *next;
};

struct value_plan {
    enum phase phase; /* of RAW */
    int pending;      /* primes between RAW and RES */
    struct want *raw, *res;
    bool through; /* RES is made by running the op on RES operands */
    bool force;   /* a sum of unequal scales: all operands are raised to WIDE, */
    bool *early;  /* [num_args] or NULL: these after they were rescaled */
};

struct level_plan {
    struct level_rules rules;
    struct value_plan *at; /* [nodes.len] */
    /* Of functions; all 0 in programs */
    const double *canonical; /* [num_q] scale of DATA at each level; NULL: D[] above */
    double input_scale;      /* of the input, which is DATA; 0: fresh ciphertexts, as below */
    int input_level;         /* where input_scale is given */
    int raise_level;         /* most that mod_raise may raise to; its operand is at level 0 */
    /* The result */
    int top;       /* level of the input: the program needs top + 1 primes */
    int boot_top;  /* highest level at which the result of a bootstrap is wanted; 0: no bootstrap */
    uint32_t over; /* a node that is wanted above the level that it has; NONE: there is none */
    int missing;   /* by so many levels */
    bool input_is_data;    /* else PRODUCT: fresh ciphertexts take the place of squares */
    bool rescales_product; /* some PRODUCT is rescaled or raised: primes need room above D */
};

struct level_rules level_rules_default(uint32_t precision); /* 0: the compiler's choice */
/* ckks_params.c: of a program that bootstraps */
struct level_rules level_rules_boot(const struct opts *o);
/* Primes that an output needs above the rules of headroom, where q_0 has so many bits */
uint32_t level_base(double precision, double q0_bits);
/* As ckks_params wrote them into p->params */
struct level_rules level_rules_of(const struct prog *p);

/* The ring that a program of so many slots and primes is likely to get, for choices that come before
 * ckks_params: primes of 50 bits, special ones from what is left */
struct cost_ring level_guess_ring(uint32_t slots, uint32_t primes);

/* Phases and levels of every value; force and early are kept from an earlier call on the same plan. */
void level_plan(struct level_plan *l, const struct prog *p);
int level_of(const struct level_plan *l,
             uint32_t node); /* highest at which it is computed; -1 unused */

/* Larger primes, where the plan rescales products */
void level_room(struct level_plan *l);

/* The steps of level_plan, for ckks_place, which takes a part of a program at a time: the phase of node i
 * from those of its operands; that a user wants it; what it wants of its operands, when all of its own
 * users have said theirs. */
void level_phase(struct level_plan *l, const struct prog *p, uint32_t i);
void level_want(struct level_plan *l, const struct prog *p, uint32_t i, bool res, int level,
                bool exact);
void level_demand(struct level_plan *l, const struct prog *p, uint32_t i);

/* The user's mistake where the program has no levels yet, or has them (or registers) already */
void level_required(const struct prog *p, const char *pass);
void level_refused(const struct prog *p, const char *pass);

/* The program with levels and scales; p->params must be set. A sum whose operands cannot be brought to
 * one scale for free is forced (at[].force, early) and the plan made again. NULL where that needs more
 * primes than there are: l->top tells how many; or more levels than a bootstrap leaves, the input of a
 * function has or mod_raise may reach: l->over and l->missing. */
struct prog *level_solve(struct level_plan *l, const struct prog *p);

/* ckks_params.c: predicted time with the parameters that ckks_params would choose; INFINITY where it
 * would refuse the program. p stays as it is, but for memory. */
double params_try(const struct prog *p, const struct opts *o);
/* Parameters of a ring that bootstraps and leaves `boot_level` levels, as far as the cost model looks at
 * them: no primes. False where 128 bits do not allow it (any ring if insecure). */
bool params_guess(struct params *q, const struct level_rules *r, uint32_t log_n,
                  uint32_t boot_level, bool insecure);

#endif
