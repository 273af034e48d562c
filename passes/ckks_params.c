/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_params: the smallest secure ring and the modulus chain that carries the program.
 *
 * Reads     phases and levels (level.h), options log_n, precision, insecure.
 * Writes    p->params; `by` of every key_mul, now in 1..N/2-1.
 * Requires  stage ckks without levels.
 * Ensures   log2 QP within the table of eprint 2024/463 for 128 bits, or params.insecure.
 * Refuses   programs deeper than the largest secure ring carries (the layer that runs out is named),
 *           a forced ring that is too small or not secure, a precision outside 20..45.
 * Algorithm q_0 has 50 bits; up to 31 bits of precision every linear layer drops one prime of 50
 *           bits, above that two of about `precision` bits. Special primes have 50 bits; digits of
 *           alpha primes need P at least as large as a digit; of all alpha that the modulus bound
 *           allows the one with the cheapest program (cost.c) is taken. Primes are the largest that
 *           are 1 mod 2N, q first.
 * Cost      one run of ckks_level, and one of the cost model for every alpha.
 */
#include "level.h"

#include <math.h>

enum {
    FIRST_LOG_N = 10,
    LAST_LOG_N = 17,
    LEAST_PRECISION = 20,
    MOST_PRECISION = 45,
    SPECIAL_BITS = 50
};

/* Modulus bits of top + 1 primes of Q */
static double chain_bits(const struct level_rules *r, int top)
{
    return SPECIAL_BITS + top * r->prime_bits;
}

/* Special primes that make P at least as large as a digit of alpha primes, q_0 among them */
static uint32_t special_primes(const struct level_rules *r, uint32_t alpha)
{
    return (uint32_t)ceil(chain_bits(r, (int)alpha - 1) / SPECIAL_BITS);
}

static uint32_t most_slots(const struct prog *p)
{
    uint32_t slots = 1;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        slots = p->nodes.at[i].type.n > slots ? p->nodes.at[i].type.n : slots;
    return slots;
}

/* The first node after which more primes are gone than the ring carries */
static const struct node *exhausted(const struct prog *p, const struct level_plan *plan,
                                    int carried)
{
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        int level = level_of(plan, i);
        if (level >= 0 && p->nodes.at[i].op != OP_input &&
            plan->top - level + plan->at[i].pending > carried)
            return &p->nodes.at[i];
    }
    return &p->nodes.at[p->nodes.len - 1];
}

static void refuse_depth(const struct prog *p, const struct level_plan *plan, const struct opts *o,
                         uint32_t log_n)
{
    double room = params_max_log2_qp(log_n) - 2 * SPECIAL_BITS;
    int carried = room < 0 ? 0 : (int)(room / plan->rules.prime_bits);
    const struct node *n = exhausted(p, plan, carried);
    int more = plan->top - carried;
    if (o->log_n)
        diag_fatal(
            n->loc,
            "layer '%s' needs %d level%s more than a ring of degree 2^%u carries at 128 bits "
            "(%d of %d); choose a larger --log-n, or for trials only --insecure",
            n->layer, more, more == 1 ? "" : "s", log_n, carried, plan->top);
    diag_fatal(n->loc,
               "layer '%s' needs %d level%s more than the largest secure ring carries (%d of %d)",
               n->layer, more, more == 1 ? "" : "s", carried, plan->top);
}

/* Sets log_n; `most_bits` becomes the bound on log2 QP. */
static void choose_ring(struct prog *p, const struct level_plan *plan, const struct opts *o,
                        double *most_bits)
{
    uint32_t slots = most_slots(p), log_n = o->log_n ? o->log_n : FIRST_LOG_N;
    double least = chain_bits(&plan->rules, plan->top) + SPECIAL_BITS;
    if (o->log_n && (log_n < FIRST_LOG_N || log_n > LAST_LOG_N))
        diag_fatal(NO_LOC, "--log-n must be from %d to %d, found %u", FIRST_LOG_N, LAST_LOG_N,
                   log_n);
    while (!o->log_n && log_n < LAST_LOG_N &&
           ((1u << (log_n - 1)) < slots || params_max_log2_qp(log_n) < least))
        log_n++;
    if ((1u << (log_n - 1)) < slots)
        diag_fatal(NO_LOC, "vectors of %u slots need a ring of degree %u, but 2^%u is the %s",
                   slots, 2 * slots, log_n, o->log_n ? "one of --log-n" : "largest");
    *most_bits = params_max_log2_qp(log_n);
    p->params.insecure = *most_bits < least;
    if (p->params.insecure && !(o->insecure && o->log_n))
        refuse_depth(p, plan, o, log_n);
    if (p->params.insecure)
        *most_bits = INFINITY;
    p->params.log_n = log_n;
}

static void choose_chain(struct prog *p, const struct level_plan *plan)
{
    uint32_t num_q = (uint32_t)plan->top + 1, bits = (uint32_t)plan->rules.prime_bits;
    uint64_t *q = arena_array(p->arena, num_q, sizeof *q);
    if (!params_primes(p->params.log_n, SPECIAL_BITS, NULL, 0, 1, q) ||
        !params_primes(p->params.log_n, bits, q, 1, num_q - 1, q + 1))
        diag_fatal(NO_LOC, "there are not %u primes of %u bits for a ring of degree 2^%u", num_q,
                   bits, p->params.log_n);
    p->params.q = q;
    p->params.num_q = num_q;
}

static void choose_special(struct prog *p, struct prog *leveled, const struct level_rules *rules,
                           double most_bits)
{
    struct params *q = &p->params;
    int top = (int)q->num_q - 1;
    double best = INFINITY;
    for (uint32_t alpha = 1; alpha <= q->num_q; alpha++) {
        uint32_t num_p = special_primes(rules, alpha);
        if (chain_bits(rules, top) + num_p * SPECIAL_BITS > most_bits)
            break;
        leveled->params.alpha = alpha;
        leveled->params.num_p = num_p;
        double cost = cost_prog(leveled);
        if (cost < best) {
            best = cost;
            q->alpha = alpha;
            q->num_p = num_p;
        }
    }
    uint64_t *special = arena_array(p->arena, q->num_p, sizeof *special);
    if (!params_primes(q->log_n, SPECIAL_BITS, q->q, q->num_q, q->num_p, special))
        diag_fatal(NO_LOC, "there are not %u primes of %d bits for a ring of degree 2^%u",
                   q->num_q + q->num_p, SPECIAL_BITS, q->log_n);
    q->p = special;
}

static void explain(const struct prog *p, const struct level_plan *plan)
{
    const struct params *q = &p->params;
    diag_note(NO_LOC,
              "ring degree 2^%u for %u slots and %d levels of %g bits; log2 QP %.1f of %.0f%s",
              q->log_n, most_slots(p), plan->top, plan->rules.prime_bits, params_log2_qp(q),
              params_max_log2_qp(q->log_n), q->insecure ? ": NOT SECURE" : "");
    diag_note(NO_LOC, "key switching: %u special prime%s, digits of %u", q->num_p,
              q->num_p == 1 ? "" : "s", q->alpha);
    diag_note(NO_LOC, "data scale 2^%g: results up to 2^%g fit above it", plan->rules.precision,
              (plan->rules.base - 1) * plan->rules.prime_bits + SPECIAL_BITS - 1 -
                  plan->rules.precision);
}

static void normalise_rotations(struct prog *p)
{
    int64_t slots = (int64_t)1 << (p->params.log_n - 1);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        struct node *n = &p->nodes.at[i];
        if (n->op != OP_key_mul || !node_attr(n, KEY_by))
            continue;
        int64_t by = node_int(n, KEY_by) % slots;
        if (by == 0)
            diag_fatal(n->loc, "%%%u rotates by all %lld slots of the ring, which is nothing", i,
                       (long long)slots);
        node_set_int(p, n, KEY_by, by < 0 ? by + slots : by);
    }
}

struct prog *ckks_params(struct prog *p, const struct opts *o)
{
    level_refused(p, "ckks_params");
    if (o->precision && (o->precision < LEAST_PRECISION || o->precision > MOST_PRECISION))
        diag_fatal(NO_LOC, "--precision must be from %d to %d bits, found %u", LEAST_PRECISION,
                   MOST_PRECISION, o->precision);
    struct level_plan plan = {.rules = level_rules_default(o->precision)};
    struct prog *leveled = NULL;
    double most_bits = 0;
    level_plan(&plan, p);
    while (!leveled) {
        double room = plan.rules.precision + 4; /* raise_scale factors of 16 and more */
        if (plan.rescales_product && plan.rules.prime_bits < room)
            plan.rules.prime_bits = fmin(room, SPECIAL_BITS);
        p->params.scale = exp2(plan.rules.precision);
        choose_ring(p, &plan, o, &most_bits);
        choose_chain(p, &plan);
        plan.at = NULL; /* as ckks_level will see it: nothing is forced yet */
        leveled = level_solve(&plan, p);
    }
    p->params.input_scale = level_input_scale(&plan, p->params.scale);
    choose_special(p, leveled, &plan.rules, most_bits);
    p->params.lambda_bits = p->params.insecure ? 0 : 128;
    normalise_rotations(p);
    if (o->explain)
        explain(p, &plan);
    return p;
}
