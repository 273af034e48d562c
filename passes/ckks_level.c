/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_level: rescaling, levels and exact scales.
 *
 * Reads     a ckks program with parameters and without levels.
 * Writes    rescale, raise_scale, drop_to; pt_scale of every pmac; level and scale of every node.
 * Requires  ckks_params (the chain is as long as the plan of level.h needs).
 * Ensures   operands of sums have equal levels and scales within 2^-34; the scale of every value is
 *           the quotient of integers and D that its ops say, in double precision; the output is at the
 *           scale D of the last primes.
 * Refuses   a chain that is too short for the program (IR text from elsewhere).
 * Algorithm level.h: levels as late as possible (each value at the lowest level that all its uses
 *           allow), rescaling as late as possible, plaintext scales solved as in Kim, Papadimitriou
 *           and Polyakov, "Approximate homomorphic encryption with reduced approximation error"
 *           (CT-RSA 2022). A sum whose operands cannot be made equal for free is raised to the WIDE
 *           phase and the plan repeated; marks only grow, so this ends.
 * Cost      linear in nodes times levels, for each repetition.
 */
#include "level.h"

struct prog *ckks_level(struct prog *in, const struct opts *o)
{
    (void)o;
    level_refused(in, "ckks_level");
    if (in->params.log_n == 0)
        diag_fatal(NO_LOC, "ckks_level: the program has no parameters: run ckks_params first");
    struct level_plan plan = {.rules = level_rules_of(in)};
    struct prog *out = level_solve(&plan, in);
    if (!out)
        diag_fatal(NO_LOC, "ckks_level: the program needs %d primes, its parameters have %u",
                   plan.top + 1, in->params.num_q);
    return prog_clean(out);
}
