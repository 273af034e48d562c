/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_BOOT_H
#define WEFT_BOOT_H

/*
 * What a bootstrap consists of, written in ordinary slot nodes: SlotToCoeff, raising the modulus,
 * CoeffToSlot, and a polynomial that removes the multiples of q_0 that raising leaves (EvalMod).
 *
 *   boot_stc:    x at level 1, scale S  ->  SlotToCoeff  ->  level 0, scale q_0 / (2^RATIO range)
 *   boot_raise:  mod_raise -> sum over the copies -> CoeffToSlot -> real part: u = t / K with
 *                t = m / q_0 + I, |I| <= imax  ->  amplitude * sin(2 pi t)
 *
 * n real values are the first n of 2n coefficients, so one EvalMod does all; n complex ones are all 2n and
 * take two, of u + conj u and -i (u - conj u), of which the second is multiplied by i again. Bossuat,
 * Troncoso-Pastoriza, Hubaux, "Bootstrapping for approximate homomorphic encryption with negligible
 * failure-probability by using sparse-secret encapsulation" (ACNS 2022), SlotToCoeff first.
 */

#include "level.h"

enum {
    BOOT_RATIO = 7, /* log2 of q_0 / largest |message| */
    BOOT_EVALMOD_LEVELS = 7,
    BOOT_ARCSINE_LEVELS = 2, /* more, below these, where params.arcsine is 3 */
    BOOT_MOST_EVALMOD_LEVELS = BOOT_EVALMOD_LEVELS + BOOT_ARCSINE_LEVELS,
    BOOT_MOST_DEGREE = 255,
    BOOT_MOST_GROUPS = 8
};

/* ---- boot_evalmod.c: the approximation ------------------------------------------------------- */

/*
 * sum over k <= degree of coeff[k] T_k(u) ~ cos(2 pi (K u - 1/4) / 2^doublings) for K u within
 * 2^-ratio of an integer of at most imax; after `doublings` steps c -> 2 c^2 - 1: sin(2 pi K u).
 */
struct boot_sine {
    uint32_t degree, doublings, imax, ratio;
    double k; /* imax + 1/4: inputs up to q_0 / 4 stay in [-1, 1] */
    double coeff[BOOT_MOST_DEGREE + 1];
    double bits;         /* -log2 of the largest error of sin / 2 pi: in units of q_0 */
    double message_bits; /* bits - ratio: in units of the largest message */
    double bound;        /* |the polynomial| anywhere in [-1, 1], and its noise gain */
};
/* BUG for a degree above BOOT_MOST_DEGREE. Memoised. */
const struct boot_sine *boot_sine(uint32_t degree, uint32_t doublings, uint32_t imax,
                                  uint32_t ratio);

/* The one for values raised under a secret of `weight` nonzero coefficients: the smallest imax with a failure
 * below 2^-50 in 2^14 coefficients, of 13..15 */
const struct boot_sine *boot_sine_for(uint32_t weight);

/* log2 of (a bound of) the probability that any of `coefficients` multiples of q_0 is above imax under
 * a secret of h nonzero coefficients */
double boot_log2_failure(uint32_t h, uint32_t imax, double coefficients);

/* ---- boot_poly.c: its evaluation ------------------------------------------------------------- */

/* Slot nodes for sum of coeff[k] T_k(x): depth ceil(log2(degree + 1)), counting mul and comb */
uint32_t boot_chebyshev(struct build *b, uint32_t x, const double *coeff, uint32_t degree);
/* amplitude * sin(2 pi K u), doublings levels more */
uint32_t boot_sine_eval(struct build *b, uint32_t u, const struct boot_sine *s, double amplitude);
/* amplitude * (sin + sin^3 / 6), nearly amplitude * 2 pi K u: two levels more than that */
uint32_t boot_arcsine_eval(struct build *b, uint32_t u, const struct boot_sine *s,
                           double amplitude);
/* How far the largest values are from where they belong, in bits of the range; arcsine: 0 or 3 */
double boot_bend_bits(uint32_t arcsine);

/* ---- boot_dft.c: CoeffToSlot and SlotToCoeff -------------------------------------------------- */

/* Stages of the special DFT that one linear map takes together, in the order of application */
struct boot_groups {
    uint32_t len;
    uint32_t stages[BOOT_MOST_GROUPS];
    double cost; /* predicted, in ns */
};

/*
 * The cheapest way to make `groups` maps of log_slots stages. inverse: CoeffToSlot, whose first map acts
 * on a raised value (rotations of one digit, no giant steps) when `raised`, at level `level` and then one
 * lower each; else all are at level `level`.
 */
struct boot_groups boot_groups(struct cost_ring r, int level, uint32_t log_slots, uint32_t groups,
                               bool inverse, bool raised);
/* All stages, as lin nodes; map i keeps keep[i] bits of plaintext scale unless 0 (or keep is NULL). */
uint32_t boot_dft(struct build *b, uint32_t x, const struct boot_groups *g, bool inverse,
                  const uint32_t *keep);

/* ---- boot_func.c: the functions --------------------------------------------------------------- */

/* Primes and the secret that bootstrapping asks for in a ring of degree 2^log_n: chain q_0, q_1 for
 * SlotToCoeff, layers, EvalMod from its lowest level up, cts_levels of CoeffToSlot */
struct boot_shape {
    uint32_t q0_bits, stc_bits, mod_bits[BOOT_MOST_EVALMOD_LEVELS], cts_levels, cts_bits,
        sparse_weight;
    uint32_t mod_levels;
};
struct boot_shape boot_shape(uint32_t log_n); /* without the arcsine */
struct boot_shape boot_shape_of(uint32_t log_n, uint32_t arcsine);
uint32_t boot_evalmod_levels(const struct params *p);

/* Predicted nanoseconds of one bootstrap of n slots: both functions are built and priced. Memoised. Needs
 * log_n, alpha, num_p, num_q, boot_level and arcsine; q may be NULL. */
double boot_cost(const struct params *p, uint32_t n);
/* Of two real ciphertexts in one complex bootstrap, and of `count` ciphertexts in the cheapest way */
double boot_cost_pair(const struct params *p, uint32_t n);
double boot_cost_of(const struct params *p, const struct node *bootstrap);
double boot_cost_many(const struct params *p, uint32_t n, uint32_t count, bool pairs);
/* Less than that for any n, known at once: the key switching of EvalMod */
double boot_cost_least(const struct params *p);

/* Equal kinds share their functions. */
struct boot_kind {
    uint32_t n;       /* slots */
    double range;     /* |value| <= range */
    double scale;     /* of the operand, at level 1 */
    double out_scale; /* of the result, at params.boot_level */
    bool complex;
};

/*
 * Function programs (prog_derive of p with is_function) with levels and scales. p: parameters chosen.
 *   boot_stc    level 1, scale k->scale -> level 0, scale boot_stc_scale(): slot values whose
 *               coefficients are the operand's slots
 *   boot_raise  level 0, scale boot_raise_scale() (the same coefficients, relabelled) -> level boot_level
 *               and a scale of its own, relabelled to out_scale: the operand's slots again
 */
struct prog *boot_stc(const struct prog *p, const struct boot_kind *k, const char *name,
                      struct loc loc);
struct prog *boot_raise(const struct prog *p, const struct boot_kind *k, const char *name);
double boot_stc_scale(const struct prog *p, const struct boot_kind *k);
double boot_raise_scale(const struct prog *p, uint32_t n);

/* ---- boot_pair.c: two real ciphertexts in one complex bootstrap ------------------------------- */

/* Of each bootstrap the one that shares its functions' call, NONE if none: of equal slots, range, level and
 * scale, real, and neither depends on the other. NULL where none is paired. */
uint32_t *boot_pairs(const struct prog *p);

#endif
