/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ckks_params: the smallest secure ring and the modulus chain that carries the program.
 *
 * Reads     phases and levels (level.h), options log_n, precision, insecure.
 * Writes    p->params; `by` of every key_mul, now in 1..N/2-1.
 * Requires  stage ckks without levels.
 * Ensures   log2 QP within the table of eprint 2024/463 for 128 bits, or params.insecure.
 * Refuses   programs deeper than the largest secure ring carries (the layer that runs out is named),
 *           a forced ring that is too small or not secure, a precision outside 20..45, bootstraps that
 *           have to leave more levels than --boot-levels says.
 * Algorithm q_0 has 50 bits; up to 31 bits of precision every linear layer drops one prime of 50
 *           bits, above that two of about `precision` bits. Special primes have 50 bits; digits of
 *           alpha primes need P at least as large as a digit; of all alpha that the modulus bound
 *           allows the one with the cheapest program (cost.c) is taken. Primes are the largest that
 *           are 1 mod 2N, q first.
 *           Programs that bootstrap: q_0 of 42 bits, one prime of 50 for SlotToCoeff, as many for layers
 *           as any bootstrap or input must have, then those of EvalMod and of CoeffToSlot, as boot_shape
 *           says. EvalMod has two primes more, for the arcsine, where --boot-precision asks for more bits
 *           than the bend of the sine leaves.
 * Cost      one run of ckks_level, and one of the cost model for every alpha.
 */
#include "level.h"

#include <math.h>
#include <string.h>

#include "boot.h"

enum {
    FIRST_LOG_N = 10,
    LAST_LOG_N = 17,
    LEAST_PRECISION = 20,
    MOST_PRECISION = 45,
    MOST_BOOT_PRECISION = 17, /* of the sine itself */
    SPECIAL_BITS = 50,
    MOST_PRIMES = 160 /* q_0, and 120 of 50 bits or 76 of 45 fit in the largest ring */
};

/* The bits of each prime of Q, from q_0 on, and what a bootstrap takes */
struct chain {
    uint32_t len, boot_level; /* 0: no bootstraps */
    uint32_t bits[MOST_PRIMES];
    struct boot_shape shape;
};

struct level_rules level_rules_boot(const struct opts *o)
{
    struct level_rules r = level_rules_default(o->precision);
    r.base = level_base(r.precision, boot_shape(LAST_LOG_N).q0_bits);
    r.arcsine = o->boot_precision > boot_bend_bits(0) ? 3 : 0;
    return r;
}

static bool bootstraps(const struct prog *p)
{
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].op == OP_bootstrap)
            return true;
    return false;
}

static void add_primes(struct chain *c, uint32_t count, uint32_t bits)
{
    for (uint32_t i = 0; i < count; i++, c->len++)
        if (c->len < MOST_PRIMES)
            c->bits[c->len] = bits;
}

/* Too long a chain keeps its length: it is refused where its bits are summed. */
static struct chain plain_chain(const struct level_rules *r, int top)
{
    struct chain c = {0};
    add_primes(&c, 1, SPECIAL_BITS);
    add_primes(&c, (uint32_t)top, (uint32_t)r->prime_bits);
    return c;
}

static struct chain boot_chain(const struct level_rules *r, uint32_t boot_level, uint32_t log_n)
{
    struct chain c = {.boot_level = boot_level, .shape = boot_shape_of(log_n, r->arcsine)};
    add_primes(&c, 1, c.shape.q0_bits);
    add_primes(&c, 1, c.shape.stc_bits);
    add_primes(&c, boot_level - 1, (uint32_t)r->prime_bits);
    for (uint32_t i = 0; i < c.shape.mod_levels; i++)
        add_primes(&c, 1, c.shape.mod_bits[i]);
    add_primes(&c, c.shape.cts_levels, c.shape.cts_bits);
    return c;
}

static double chain_bits(const struct chain *c)
{
    double sum = 0;
    for (uint32_t i = 0; i < c->len && i < MOST_PRIMES; i++)
        sum += c->bits[i];
    return c->len > MOST_PRIMES ? INFINITY : sum;
}

/* Special primes that make P at least as large as any digit of alpha primes */
static uint32_t special_primes(const struct chain *c, uint32_t alpha)
{
    uint32_t most = 0;
    for (uint32_t first = 0; first < c->len; first += alpha) {
        uint32_t digit = 0;
        for (uint32_t i = first; i < c->len && i < first + alpha; i++)
            digit += c->bits[i];
        most = digit > most ? digit : most;
    }
    return (most + SPECIAL_BITS - 1) / SPECIAL_BITS;
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

/* What the program asks of its chain: the levels of fresh ciphertexts, or those a bootstrap leaves */
struct demand {
    const struct level_plan *plan;
    uint32_t boot_level; /* 0: no bootstraps */
    bool trial;          /* nothing is fatal */
};

static struct chain chain_of(const struct demand *d, uint32_t log_n)
{
    return d->boot_level ? boot_chain(&d->plan->rules, d->boot_level, log_n)
                         : plain_chain(&d->plan->rules, d->plan->top);
}

static bool ring_carries(const struct demand *d, uint32_t log_n)
{
    struct chain c = chain_of(d, log_n);
    return chain_bits(&c) + SPECIAL_BITS <= params_max_log2_qp(log_n);
}

/* The bootstrap, or the input, of which most levels are wanted */
static const struct node *most_wanted(const struct prog *p, const struct demand *d)
{
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if ((n->op == OP_bootstrap || n->op == OP_input) &&
            level_of(d->plan, i) == (int)d->boot_level)
            return n;
    }
    return &p->nodes.at[p->nodes.len - 1];
}

static void refuse_boot_levels(const struct prog *p, const struct demand *d, uint32_t most)
{
    const struct node *n = most_wanted(p, d);
    diag_fatal(n->loc,
               "layer '%s': what follows needs %u levels, but --boot-levels=%u allows a bootstrap "
               "to leave no more than that: more bootstraps are needed",
               n->layer, d->boot_level - 1, most);
}

static void refuse_boot_depth(const struct prog *p, const struct demand *d, uint32_t log_n)
{
    struct demand fits = *d;
    while (fits.boot_level > 1 && !ring_carries(&fits, log_n))
        fits.boot_level--;
    const struct node *n = most_wanted(p, d);
    if (!ring_carries(&fits, log_n))
        diag_fatal(n->loc,
                   "layer '%s': a ring of degree 2^%u is too small to bootstrap at 128 bits",
                   n->layer, log_n);
    diag_fatal(
        n->loc,
        "layer '%s': what follows needs %u levels, but a bootstrap leaves at most %u in a ring "
        "of degree 2^%u at 128 bits: more bootstraps are needed",
        n->layer, d->boot_level - 1, fits.boot_level - 1, log_n);
}

/* Sets log_n; `most_bits` becomes the bound on log2 QP. False in a trial where there is no such ring. */
static bool choose_ring(struct prog *p, const struct demand *d, const struct opts *o,
                        double *most_bits)
{
    uint32_t slots = most_slots(p), log_n = o->log_n ? o->log_n : FIRST_LOG_N;
    if (o->log_n && (log_n < FIRST_LOG_N || log_n > LAST_LOG_N))
        diag_fatal(NO_LOC, "--log-n must be from %d to %d, found %u", FIRST_LOG_N, LAST_LOG_N,
                   log_n);
    while (!o->log_n && log_n < LAST_LOG_N &&
           ((1u << (log_n - 1)) < slots || !ring_carries(d, log_n)))
        log_n++;
    if ((1u << (log_n - 1)) < slots && d->trial)
        return false;
    if ((1u << (log_n - 1)) < slots)
        diag_fatal(NO_LOC, "vectors of %u slots need a ring of degree %u, but 2^%u is the %s",
                   slots, 2 * slots, log_n, o->log_n ? "one of --log-n" : "largest");
    *most_bits = params_max_log2_qp(log_n);
    p->params.insecure = !ring_carries(d, log_n);
    if (p->params.insecure && !(o->insecure && o->log_n)) {
        if (d->trial)
            return false;
        if (d->boot_level)
            refuse_boot_depth(p, d, log_n);
        refuse_depth(p, d->plan, o, log_n);
    }
    if (p->params.insecure) {
        struct chain c = chain_of(d, log_n);
        if (c.len > MOST_PRIMES && d->trial)
            return false;
        if (c.len > MOST_PRIMES)
            diag_fatal(NO_LOC,
                       "the program needs %u primes: more than %d are not for trials either", c.len,
                       MOST_PRIMES);
        *most_bits = INFINITY;
    }
    p->params.log_n = log_n;
    return true;
}

/* All different, the largest of their bits */
static void choose_chain(struct prog *p, const struct chain *c)
{
    uint64_t *q = arena_array(p->arena, c->len, sizeof *q);
    for (uint32_t i = 0, count; i < c->len; i += count) {
        for (count = 1; i + count < c->len && c->bits[i + count] == c->bits[i];)
            count++;
        if (!params_primes(p->params.log_n, c->bits[i], q, i, count, q + i))
            diag_fatal(NO_LOC, "there are not %u primes of %u bits for a ring of degree 2^%u",
                       i + count, c->bits[i], p->params.log_n);
    }
    p->params.q = q;
    p->params.num_q = c->len;
    p->params.boot_level = c->boot_level;
    p->params.sparse_weight = c->boot_level ? c->shape.sparse_weight : 0;
}

/* What all bootstraps cost with the digits at hand */
static double boots_cost(const struct prog *p, const uint32_t *pairs)
{
    double ns = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if (n->op != OP_bootstrap)
            continue;
        bool paired = pairs && pairs[i] != NONE;
        ns += paired ? boot_cost_many(&p->params, n->type.n, 2, true) / 2
                     : boot_cost_of(&p->params, n);
    }
    return ns;
}

static double sparse_bits(const struct params *q)
{
    return log2((double)q->q[0]) + log2((double)q->p[0]);
}

/* Digits; the time that they take */
static double choose_digits(struct params *q, struct prog *leveled, const struct chain *c,
                            double most_bits, const struct opts *o)
{
    double best = INFINITY;
    const uint32_t *pairs = o->boot_single ? NULL : boot_pairs(leveled);
    for (uint32_t alpha = 1; alpha <= q->num_q; alpha++) {
        uint32_t num_p = special_primes(c, alpha);
        if (chain_bits(c) + num_p * SPECIAL_BITS > most_bits)
            continue;
        leveled->params.alpha = alpha;
        leveled->params.num_p = num_p;
        double cost = cost_prog(leveled) + boots_cost(leveled, pairs);
        if (cost < best) {
            best = cost;
            q->alpha = alpha;
            q->num_p = num_p;
        }
    }
    return best;
}

static void choose_special(struct prog *p, double most_bits)
{
    struct params *q = &p->params;
    uint64_t *special = arena_array(p->arena, q->num_p, sizeof *special);
    if (!params_primes(q->log_n, SPECIAL_BITS, q->q, q->num_q, q->num_p, special))
        diag_fatal(NO_LOC, "there are not %u primes of %d bits for a ring of degree 2^%u",
                   q->num_q + q->num_p, SPECIAL_BITS, q->log_n);
    q->p = special;
    if (!q->insecure && params_log2_qp(q) > most_bits)
        BUG("log2 QP is %.6f, above %g", params_log2_qp(q), most_bits);
    if (!q->insecure && q->boot_level &&
        sparse_bits(q) > params_max_log2_sparse(q->log_n, q->sparse_weight))
        BUG("log2 q_0 p_0 is %.6f, too much for the sparse secret", sparse_bits(q));
}

static void explain_boot(const struct prog *p, const struct chain *c)
{
    const struct params *q = &p->params;
    const struct boot_shape *s = &c->shape;
    uint32_t mod_bits = 0;
    for (uint32_t i = 0; i < s->mod_levels; i++)
        mod_bits += s->mod_bits[i];
    diag_note(NO_LOC,
              "chain: %u (q_0) + %u (SlotToCoeff) + %u x %u (layers) + %u (EvalMod) + %u x %u "
              "(CoeffToSlot) + %u x %d (special) bits",
              s->q0_bits, s->stc_bits, c->boot_level - 1, c->boot_level > 1 ? c->bits[2] : 0,
              mod_bits, s->cts_levels, s->cts_bits, q->num_p, SPECIAL_BITS);
    diag_note(NO_LOC, "sparse secret of weight %u: log2 q_0 p_0 %.1f of %.0f", q->sparse_weight,
              sparse_bits(q), params_max_log2_sparse(q->log_n, q->sparse_weight));
}

static void explain(const struct prog *p, const struct level_plan *plan, const struct chain *c)
{
    const struct params *q = &p->params;
    diag_note(NO_LOC,
              "ring degree 2^%u for %u slots and %d levels of %g bits; log2 QP %.1f of %.0f%s",
              q->log_n, most_slots(p), plan->top, plan->rules.prime_bits, params_log2_qp(q),
              params_max_log2_qp(q->log_n), q->insecure ? ": NOT SECURE" : "");
    diag_note(NO_LOC, "key switching: %u special prime%s, digits of %u", q->num_p,
              q->num_p == 1 ? "" : "s", q->alpha);
    double bits = 0;
    for (uint32_t i = 0; i < plan->rules.base; i++)
        bits += c->bits[i];
    diag_note(NO_LOC, "data scale 2^%g: results up to 2^%g fit above it", plan->rules.precision,
              bits - 1 - plan->rules.precision);
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

static double input_scale(const struct prog *leveled)
{
    for (uint32_t i = 0; i < leveled->nodes.len; i++)
        if (leveled->nodes.at[i].op == OP_input)
            return leveled->nodes.at[i].type.scale;
    return leveled->params.scale;
}

/* Levels that a bootstrap must leave, q_0 and that of SlotToCoeff among them; it only grows. */
static uint32_t boot_demand(const struct level_plan *plan, uint32_t before)
{
    int need = plan->top > plan->boot_top ? plan->top : plan->boot_top;
    need = need < 2 ? 2 : need;
    return (uint32_t)need > before ? (uint32_t)need : before;
}

/* Ring, chain and scales, and the program with levels; NULL in a trial where no ring carries it */
static struct prog *choose(struct prog *p, const struct opts *o, struct level_plan *plan,
                           struct chain *chain, double *most_bits, bool trial)
{
    struct demand d = {plan, 0, trial};
    struct prog *leveled = NULL;
    bool boots = bootstraps(p);
    plan->rules = boots ? level_rules_boot(o) : level_rules_default(o->precision);
    p->params.arcsine = plan->rules.arcsine;
    level_plan(plan, p);
    while (!leveled) {
        level_room(plan);
        uint32_t demanded = boots ? boot_demand(plan, d.boot_level) : 0;
        if (boots && demanded == d.boot_level)
            BUG("no levels for a chain that leaves %u levels", demanded);
        d.boot_level = demanded;
        bool too_many = boots && o->boot_levels && demanded - 1 > o->boot_levels;
        if (too_many && trial)
            return NULL;
        if (too_many)
            refuse_boot_levels(p, &d, o->boot_levels);
        p->params.scale = exp2(plan->rules.precision);
        if (!choose_ring(p, &d, o, most_bits))
            return NULL;
        *chain = chain_of(&d, p->params.log_n);
        choose_chain(p, chain);
        plan->at = NULL; /* as ckks_level will see it: nothing is forced yet */
        leveled = level_solve(plan, p);
    }
    return leveled;
}

double params_try(const struct prog *p, const struct opts *o)
{
    struct prog copy = *p;
    struct level_plan plan = {0};
    struct chain chain = {0};
    double most_bits = 0;
    struct prog *leveled = choose(&copy, o, &plan, &chain, &most_bits, true);
    return leveled ? choose_digits(&copy.params, leveled, &chain, most_bits, o) : INFINITY;
}

/* The digits are those that leave about half as many special primes as there are others. */
bool params_guess(struct params *q, const struct level_rules *r, uint32_t log_n,
                  uint32_t boot_level, bool insecure)
{
    struct chain c = boot_chain(r, boot_level, log_n);
    double most = insecure ? INFINITY : params_max_log2_qp(log_n);
    *q = (struct params){.log_n = log_n,
                         .num_q = c.len,
                         .boot_level = boot_level,
                         .sparse_weight = c.shape.sparse_weight,
                         .arcsine = r->arcsine};
    if (c.len > MOST_PRIMES)
        return false;
    for (uint32_t alpha = 1; alpha <= (c.len + 1) / 2; alpha++) {
        uint32_t num_p = special_primes(&c, alpha);
        if (chain_bits(&c) + num_p * SPECIAL_BITS > most)
            break;
        q->alpha = alpha;
        q->num_p = num_p;
    }
    return q->alpha > 0;
}

struct prog *ckks_params(struct prog *p, const struct opts *o)
{
    level_refused(p, "ckks_params");
    if (o->precision && (o->precision < LEAST_PRECISION || o->precision > MOST_PRECISION))
        diag_fatal(NO_LOC, "--precision must be from %d to %d bits, found %u", LEAST_PRECISION,
                   MOST_PRECISION, o->precision);
    if (o->boot_precision > MOST_BOOT_PRECISION)
        diag_fatal(NO_LOC, "--boot-precision must be at most %d bits, found %u",
                   MOST_BOOT_PRECISION, o->boot_precision);
    struct level_plan plan = {0};
    struct chain chain = {0};
    double most_bits = 0;
    struct prog *leveled = choose(p, o, &plan, &chain, &most_bits, false);
    p->params.input_scale = input_scale(leveled);
    choose_digits(&p->params, leveled, &chain, most_bits, o);
    choose_special(p, most_bits);
    p->params.lambda_bits = p->params.insecure ? 0 : 128;
    normalise_rotations(p);
    if (o->explain)
        explain(p, &plan, &chain);
    if (o->explain && chain.boot_level)
        explain_boot(p, &chain);
    return p;
}
