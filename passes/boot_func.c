/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <math.h>
#include <string.h>

/* ---- the shape of the chain ------------------------------------------------------------------ */

/*
 * EvalMod's first products need the largest scales. Near u = 0, where most of the I are, a rounding
 * error of T_2 = 2 u^2 - 1 stands for one of u^2, and the polynomial's second derivative, (pi K)^2,
 * multiplies it; the error of T_4, whose own derivative by T_2 is 4, counts a quarter of that, and
 * so on. The bits are those with the least error by the noise simulation, of all that fit beside
 * 4 (18) primes for layers.
 */
struct boot_shape boot_shape(uint32_t log_n)
{
    struct boot_shape s = {.q0_bits = 42,
                           .stc_bits = 50,
                           .mod_bits = {42, 42, 43, 43, 46, 48, 47},
                           .mod_levels = BOOT_EVALMOD_LEVELS,
                           .cts_levels = 3,
                           .cts_bits = 38,
                           .sparse_weight = log_n >= 15 ? 32 : 40};
    if (log_n >= 16) { /* a level that costs 40 bits of 1747, and a fifth less time */
        s.cts_levels = 4;
        s.cts_bits = 36;
    }
    return s;
}

/* Two levels more at the lower end, where rounding counts least: as those that were the lowest */
struct boot_shape boot_shape_of(uint32_t log_n, uint32_t arcsine)
{
    struct boot_shape s = boot_shape(log_n);
    if (arcsine == 0)
        return s;
    memmove(s.mod_bits + BOOT_ARCSINE_LEVELS, s.mod_bits, BOOT_EVALMOD_LEVELS * sizeof *s.mod_bits);
    for (uint32_t i = 0; i < BOOT_ARCSINE_LEVELS; i++)
        s.mod_bits[i] = s.mod_bits[BOOT_ARCSINE_LEVELS];
    s.mod_levels = BOOT_MOST_EVALMOD_LEVELS;
    return s;
}

uint32_t boot_evalmod_levels(const struct params *p)
{
    return p->arcsine ? BOOT_MOST_EVALMOD_LEVELS : BOOT_EVALMOD_LEVELS;
}

static uint32_t log2_of(uint32_t n)
{
    uint32_t k = 0;
    while (n >> k > 1)
        k++;
    return k;
}

static double prime(const struct prog *p, uint32_t level)
{
    return (double)p->params.q[level];
}

static struct cost_ring ring_of(const struct prog *p)
{
    return (struct cost_ring){p->params.log_n, p->params.alpha, p->params.num_p};
}

/* ---- from slot nodes to a function with levels ----------------------------------------------- */

static struct prog *new_body(const struct prog *p)
{
    struct prog *q = prog_derive(p, STAGE_SLOT);
    q->is_function = true;
    q->reference = q->packed = (struct nodes){NULL, 0, 0};
    q->funcs = NULL;
    q->num_funcs = 0;
    return q;
}

static uint32_t add_input(struct build *b, uint32_t n)
{
    struct type t = {.kind = KIND_VEC, .layout = NONE, .n = n, .level = -1};
    build_type(b, &t);
    return build_node(b, OP_input, NULL, 0);
}

/* What stands for the maps of one slot, which is its own transform: x at the next level's scale */
static uint32_t rescaled(struct build *b, uint32_t x)
{
    build_reals(b, KEY_factors, (double[]){1}, 1);
    build_real(b, KEY_constant, 0);
    return build1(b, OP_comb, x);
}

/* As ckks_params does in the program */
static void normalise_rotations(struct prog *p)
{
    int64_t slots = (int64_t)1 << (p->params.log_n - 1);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        struct node *n = &p->nodes.at[i];
        if ((n->op == OP_key_mul || n->op == OP_raised_mul) && node_attr(n, KEY_by))
            node_set_int(p, n, KEY_by, node_int(n, KEY_by) & (slots - 1));
    }
}

/* lin_level: of the first lin node's operands, one less for each further one if `falling` */
static struct prog *finish(struct prog *p, const struct level_plan *rules, int lin_level,
                           bool falling)
{
    int *level = arena_array(p->arena, p->nodes.len, sizeof *level);
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        level[i] = lin_level;
        if (falling && p->nodes.at[i].op == OP_lin)
            lin_level--;
    }
    p = prog_clean(slot_bsgs_at(p, ring_of(p), level));
    p = lower_slot_ckks(p, &(struct opts){0});
    p = ckks_hoist_at(p, ring_of(p), rules);
    normalise_rotations(p);
    struct level_plan plan = *rules;
    plan.at = NULL;
    struct prog *leveled = level_solve(&plan, p);
    if (!leveled)
        BUG("bootstrapping needs %d levels more than its chain has", plan.missing);
    return prog_clean(leveled);
}

/* ---- SlotToCoeff ----------------------------------------------------------------------------- */

/*
 * All maps share q_1: the plaintext scales multiply to q_1 S_0 / S. A plaintext of period p has 2 p
 * nonzero coefficients, each rounded with variance 1/12, so that its slots are off by sqrt(2 p /
 * 12) / scale against weights of size 1. The bits are dealt out so that all maps are off by the
 * same: bits[i] - log2 sqrt(2 p_i / 12) = the precision, relative to the root mean square.
 */
struct deal {
    struct boot_groups groups;
    uint32_t keep[BOOT_MOST_GROUPS]; /* 0 for the last */
    double precision;
};

static struct deal deal_bits(struct cost_ring r, uint32_t log_slots, uint32_t groups, double bits)
{
    struct deal d = {.groups = boot_groups(r, 1, log_slots, groups, false, false)};
    double loss[BOOT_MOST_GROUPS], sum = 0;
    uint32_t last = 0;
    for (uint32_t i = 0; i < d.groups.len; i++) {
        last += d.groups.stages[i];
        loss[i] = (last + 1 - log2(12)) / 2;
        sum += loss[i];
    }
    d.precision = (bits - sum) / d.groups.len;
    for (uint32_t i = 0; i + 1 < d.groups.len; i++) {
        double keep = round(d.precision + loss[i]);
        d.keep[i] = (uint32_t)fmin(fmax(keep, 1), 50);
    }
    return d;
}

enum { MOST_STAGES = 8, STC_MOST_MAPS = 3 };
static const double ENOUGH_BITS = 19, LEAST_BITS = 10;

/* The cheapest of those precise enough, else the most precise */
static struct deal deal(struct cost_ring r, uint32_t log_slots, double bits)
{
    uint32_t first = (log_slots + MOST_STAGES - 1) / MOST_STAGES;
    struct deal best = deal_bits(r, log_slots, first, bits);
    for (uint32_t g = first + 1; g <= STC_MOST_MAPS && g <= log_slots; g++) {
        struct deal d = deal_bits(r, log_slots, g, bits);
        if (best.precision < ENOUGH_BITS
                ? d.precision > best.precision
                : d.precision >= ENOUGH_BITS && d.groups.cost < best.groups.cost)
            best = d;
    }
    return best;
}

double boot_stc_scale(const struct prog *p, const struct boot_kind *k)
{
    return ldexp(prime(p, 0), -BOOT_RATIO) / k->range;
}

struct prog *boot_stc(const struct prog *p, const struct boot_kind *k, const char *name,
                      struct loc loc)
{
    struct prog *q = new_body(p);
    struct build b = build_at(q, NO_LOC, name);
    double *canonical = arena_array(p->arena, p->params.num_q, sizeof *canonical);
    canonical[0] = boot_stc_scale(p, k);
    canonical[1] = k->scale;
    if (!(canonical[0] < prime(p, 0)))
        diag_fatal(loc,
                   "values of at most %g are too small to bootstrap: scale them up in the layer "
                   "before, or give a range above 2^-%d",
                   k->range, BOOT_RATIO);
    double bits = log2(prime(p, 1)) + log2(canonical[0]) - log2(k->scale);
    uint32_t x = add_input(&b, k->n), log_slots = log2_of(k->n);
    if (log_slots == 0) {
        x = rescaled(&b, x);
    } else {
        struct deal d = deal(ring_of(p), log_slots, bits);
        if (!(d.precision >= LEAST_BITS))
            diag_fatal(loc,
                       "values of up to %g are too large to bootstrap at a scale of 2^%.0f: scale "
                       "them down in the layer before, or ask for less --precision",
                       k->range, log2(k->scale));
        x = boot_dft(&b, x, &d.groups, false, d.keep);
    }
    build1(&b, OP_output, x);
    struct level_plan plan = {.rules = {log2(k->scale), log2(prime(p, 1)), 1, 0},
                              .canonical = canonical,
                              .input_scale = k->scale,
                              .input_level = 1};
    return finish(q, &plan, 1, false);
}

/* ---- mod_raise, CoeffToSlot, EvalMod --------------------------------------------------------- */

/* log2 of the copies that each step of the trace adds up: the first adds rotations of the raised
 * value, which is one digit each, the others ordinary ones. */
static uint32_t trace_steps(struct cost_ring r, int level, uint32_t log_copies, uint32_t *step)
{
    enum { MOST = 20, MOST_STEP = 4 };
    double best[MOST] = {0};
    uint32_t take[MOST] = {0};
    double fixed = cost_decompose(r, level) + cost_mod_down(r, level);
    for (uint32_t k = 1; k <= log_copies; k++) {
        best[k] = INFINITY;
        for (uint32_t s = 1; s <= k && s <= MOST_STEP; s++) {
            double keys = (1u << s) - 1;
            double turn = k == log_copies ? keys * cost_raised_mul(r, level)
                                          : fixed + keys * cost_key_mul(r, level);
            if (turn + best[k - s] < best[k]) {
                best[k] = turn + best[k - s];
                take[k] = s;
            }
        }
    }
    uint32_t steps = 0;
    for (uint32_t k = log_copies; k > 0; k -= take[k])
        step[steps++] = take[k];
    return steps;
}

/* The sum of all rotations by multiples of n: N/2n times the part of the value that repeats with n,
 * and nothing of the rest. A step makes the period shorter, so that all rotations are within it. */
static uint32_t emit_trace(struct build *b, uint32_t x, uint32_t n, int level)
{
    struct prog *p = b->p;
    struct type t = p->nodes.at[x].type;
    uint32_t step[20], log_copies = log2_of(t.n / n);
    uint32_t steps = trace_steps(ring_of(p), level, log_copies, step);
    for (uint32_t i = 0; i < steps; i++) {
        uint32_t part[16] = {x}, count = 1u << step[i];
        t.n /= count;
        for (uint32_t k = 1; k < count; k++) {
            build_int(b, KEY_by, (int64_t)k * t.n);
            part[k] = build1(b, OP_rot, x);
        }
        build_type(b, &t);
        x = build_node(b, OP_add, part, count);
    }
    return x;
}

static uint32_t cts_groups(const struct prog *p, uint32_t n)
{
    uint32_t primes = p->params.num_q - 1 - p->params.boot_level - boot_evalmod_levels(&p->params);
    uint32_t log_slots = log2_of(n);
    return primes < log_slots ? primes : log_slots;
}

/*
 * DATA scales. EvalMod: c[l-1] = c[l]^2 / (2 q_l), so that products, all of which are doubled by
 * reading them at half their scale, and combinations beside them, are at one scale; c doubles its
 * distance from 2 q at every level downwards, so it is fixed at the lowest and halves it upwards. CoeffToSlot: evenly from the scale of the raised value to that
 * of EvalMod, so that all plaintexts are equally precise.
 */
static double *raise_scales(const struct prog *p, uint32_t top, double raised)
{
    double *c = arena_array(p->arena, p->params.num_q, sizeof *c);
    uint32_t low = p->params.boot_level, mid = low + boot_evalmod_levels(&p->params);
    c[low] = prime(p, low + 1);
    for (uint32_t l = low + 1; l <= mid; l++)
        c[l] = sqrt(2 * c[l - 1] * prime(p, l));
    for (uint32_t l = mid + 1; l <= top; l++)
        c[l] = c[mid] * pow(raised / c[mid], (double)(l - mid) / (top - mid));
    return c;
}

static const struct boot_sine *sine_of(const struct prog *p)
{
    uint32_t weight = p->params.sparse_weight;
    return boot_sine_for(weight ? weight : boot_shape(p->params.log_n).sparse_weight);
}

/*
 * value = gain * sin(2 pi value / period), nearly: 1 / slope, and what the cubic term takes from
 * values that are uniform up to 1/4 of the range (it was rounded up to a power of two, and has a
 * margin): of x - x^3 / 6 on [-a, a] the least-squares slope is 1 - a^2 / 10. That is 2^-16 off for
 * small values. With the arcsine there is nothing to make up for.
 */
static double sine_gain(double period, uint32_t arcsine)
{
    if (arcsine)
        return period / (2 * M_PI);
    double a = 2 * M_PI * ldexp(1, -BOOT_RATIO - 2);
    return period / (2 * M_PI) * (1 + a * a / 10);
}

double boot_raise_scale(const struct prog *p, uint32_t n)
{
    return 2 * sine_of(p)->k * prime(p, 0) * ((1u << (p->params.log_n - 1)) / n);
}

/* The multiples of q_0 in the real slots u taken away */
static uint32_t emit_evalmod(struct build *b, uint32_t u, double amplitude)
{
    const struct boot_sine *s = sine_of(b->p);
    return b->p->params.arcsine ? boot_arcsine_eval(b, u, s, amplitude)
                                : boot_sine_eval(b, u, s, amplitude);
}

struct prog *boot_raise(const struct prog *p, const struct boot_kind *k, const char *name)
{
    struct prog *q = new_body(p);
    struct build b = build_at(q, NO_LOC, name);
    uint32_t n = k->n, low = p->params.boot_level, groups = cts_groups(p, n);
    uint32_t top = low + boot_evalmod_levels(&p->params) + (groups > 0 ? groups : 1),
             slots = 1u << (p->params.log_n - 1);
    double raised = boot_raise_scale(p, n), q0 = prime(p, 0);
    double *canonical = raise_scales(p, top, raised);

    uint32_t x = add_input(&b, n);
    build_int(&b, KEY_slots, slots);
    build_real(&b, KEY_modulus, q0 / raised);
    x = build1(&b, OP_mod_raise, x);
    x = emit_trace(&b, x, n, (int)top);
    struct boot_groups g = boot_groups(ring_of(p), (int)top, log2_of(n), groups, true, n == slots);
    x = groups > 0 ? boot_dft(&b, x, &g, true, NULL) : rescaled(&b, x);
    double amplitude =
        k->out_scale / canonical[low] * sine_gain(q0 / boot_stc_scale(p, k), p->params.arcsine);
    uint32_t mirrored = build1(&b, OP_conj, x), real = build2(&b, OP_add, x, mirrored);
    uint32_t y = emit_evalmod(&b, real, amplitude);
    if (k->complex) {
        uint32_t imag = build1(&b, OP_times_i, build2(&b, OP_sub, mirrored, x));
        imag = emit_evalmod(&b, imag, amplitude);
        y = build2(&b, OP_add, y, build1(&b, OP_times_i, imag));
    }
    build1(&b, OP_output, y);
    struct level_plan plan = {.rules = {log2(canonical[low]), log2(prime(p, low + 1)), low + 1, 0},
                              .canonical = canonical,
                              .input_scale = raised,
                              .input_level = 0,
                              .raise_level = (int)p->params.num_q - 1};
    return finish(q, &plan, (int)top, true);
}

/* ---- cost ------------------------------------------------------------------------------------ */

struct cost_key {
    uint32_t log_n, alpha, num_p, num_q, boot_level, arcsine, n, complex;
};

/* Stands for a chain that is not chosen yet: powers of two in place of primes */
static void guess_chain(struct prog *p)
{
    struct params *q = &p->params;
    struct boot_shape s = boot_shape_of(q->log_n, q->arcsine);
    uint64_t *prime_of = arena_array(p->arena, q->num_q, sizeof *prime_of);
    for (uint32_t l = 0; l < q->num_q; l++) {
        uint32_t mod = l - q->boot_level - 1;
        uint32_t bits = l == 0               ? s.q0_bits
                        : l <= q->boot_level ? s.stc_bits
                        : mod < s.mod_levels ? s.mod_bits[mod]
                                             : s.cts_bits;
        prime_of[l] = (uint64_t)1 << bits;
    }
    q->q = prime_of;
}

static double build_cost(const struct params *params, uint32_t n, bool complex)
{
    struct arena *a = arena_new();
    struct prog *p = prog_new(a, STAGE_CKKS);
    p->params = *params;
    p->params.scale = params->scale > 0 ? params->scale : 0x1p27;
    if (!p->params.q)
        guess_chain(p);
    struct boot_kind k = {.n = n,
                          .range = 1,
                          .scale = p->params.scale,
                          .out_scale = p->params.scale,
                          .complex = complex};
    double ns = cost_prog(boot_stc(p, &k, "boot", NO_LOC)) + cost_prog(boot_raise(p, &k, "boot"));
    arena_free(a);
    return ns;
}

double boot_cost_least(const struct params *p)
{
    /* from the lowest level up: the doubling and the T_k that every evaluation has, a sum a level */
    static const uint32_t switches[BOOT_EVALMOD_LEVELS] = {1, 1, 2, 2, 5, 3, 1};
    struct cost_ring r = {p->log_n, p->alpha, p->num_p};
    double ns = cost_raised_mul(r, (int)p->num_q - 1);
    for (int i = 0; i < BOOT_EVALMOD_LEVELS; i++) {
        int level = (int)p->boot_level + 1 + i;
        ns += switches[i] *
              (cost_decompose(r, level) + cost_key_mul(r, level) + cost_mod_down(r, level));
    }
    return ns;
}

static double cost_of(const struct params *p, uint32_t n, bool complex)
{
    enum { MEMO = 256 };
    static struct cost_key memo[MEMO];
    static double cost[MEMO];
    static uint32_t len, next;
    struct cost_key key = {p->log_n,      p->alpha,   p->num_p, p->num_q,
                           p->boot_level, p->arcsine, n,        complex};
    if (p->num_q <= p->boot_level + boot_evalmod_levels(p) || p->boot_level < 1 || n == 0 ||
        log2_of(n) + 1 > p->log_n)
        BUG("no bootstrap of %u slots from level %u of %u", n, p->boot_level, p->num_q);
    for (uint32_t i = 0; i < len; i++)
        if (memcmp(&memo[i], &key, sizeof key) == 0)
            return cost[i];
    uint32_t at = next;
    next = (next + 1) % MEMO;
    len += len < MEMO;
    memo[at] = key;
    cost[at] = build_cost(p, n, complex);
    return cost[at];
}

double boot_cost(const struct params *p, uint32_t n)
{
    return cost_of(p, n, false);
}

double boot_cost_pair(const struct params *p, uint32_t n)
{
    struct cost_ring r = {p->log_n, p->alpha, p->num_p};
    int level = (int)p->boot_level;
    return cost_of(p, n, true) + cost_decompose(r, level) + cost_key_mul(r, level) +
           cost_mod_down(r, level);
}

double boot_cost_of(const struct params *p, const struct node *bootstrap)
{
    return cost_of(p, bootstrap->type.n, node_attr(bootstrap, KEY_complex) != NULL);
}

double boot_cost_many(const struct params *p, uint32_t n, uint32_t count, bool pairs)
{
    double one = boot_cost(p, n), all = count * one;
    return pairs && count > 1 ? fmin(all, count / 2 * boot_cost_pair(p, n) + count % 2 * one) : all;
}
