/* SPDX-License-Identifier: Apache-2.0 */
#include "backends.h"
#include "boot.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* ---- a program of one bootstrap in a toy ring ------------------------------------------------ */

static void add_primes(struct params *q, uint64_t *at, uint32_t count, uint32_t bits)
{
    cr_assert(params_primes(q->log_n, bits, at, q->num_q, count, at + q->num_q));
    q->num_q += count;
}

static void set_params(struct prog *p, uint32_t log_n, uint32_t layers)
{
    struct params *q = &p->params;
    struct boot_shape s = boot_shape(log_n);
    uint64_t *at = arena_array(p->arena, 64, sizeof *at);
    q->log_n = log_n;
    add_primes(q, at, 1, s.q0_bits);
    add_primes(q, at, 1 + layers, s.stc_bits);
    for (uint32_t i = 0; i < BOOT_EVALMOD_LEVELS; i++)
        add_primes(q, at, 1, s.mod_bits[i]);
    add_primes(q, at, s.cts_levels, s.cts_bits);
    q->q = at;
    q->num_p = q->alpha = 3;
    q->p = at + 32;
    cr_assert(params_primes(log_n, 50, at, q->num_q, 3, at + 32));
    q->scale = q->input_scale = 0x1p30;
    q->insecure = true;
    q->boot_level = 1 + layers;
    q->sparse_weight = s.sparse_weight < 1u << log_n ? s.sparse_weight : 1u << log_n;
}

static const double mean[] = {0}, std[] = {1};

static struct prog *toy(struct arena *a, uint32_t log_n, uint32_t n, double range, uint32_t boots)
{
    struct prog *p = prog_new(a, STAGE_CKKS);
    set_params(p, log_n, 3);
    p->model = (struct model){"toy", 1, {1, 1, n}, {-1, 1}, mean, std, NULL, 0, n};
    struct layout l = {.c = 1,
                       .h = 1,
                       .w = n,
                       .n = n,
                       .g_h = 1,
                       .g_w = 1,
                       .t_h = 1,
                       .t_w = 1,
                       .pitch = n,
                       .block = n};
    uint32_t layout = prog_add_layout(p, &l);
    struct build b = build_at(p, NO_LOC, "toy");
    build_int(&b, KEY_part, 0);
    build_int(&b, KEY_layout, layout);
    uint32_t x = build_node(&b, OP_input, NULL, 0);
    for (uint32_t i = 0; i < boots; i++) {
        b.layer = intern(p, "boot");
        if (range > 0)
            build_real(&b, KEY_range, range);
        x = build1(&b, OP_bootstrap, x);
    }
    build_int(&b, KEY_layout, layout);
    build1(&b, OP_output, x);
    p = ckks_level(p, &(struct opts){0});
    prog_verify(p, "ckks_level");
    return p;
}

static struct prog *expanded(struct arena *a, uint32_t log_n, uint32_t n, double range,
                             uint32_t boots)
{
    struct prog *p = ckks_expand(toy(a, log_n, n, range, boots), &(struct opts){0});
    prog_verify(p, "ckks_expand");
    return p;
}

static double random_unit(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(*state >> 11) * 0x1p-52 - 1;
}

/* What a bootstrap makes of x: the sine bends large values */
static double distorted(double x, double range)
{
    double turn = 2 * M_PI * ldexp(x / range, -BOOT_RATIO);
    double gain = 1 + pow(2 * M_PI * ldexp(1, -BOOT_RATIO - 2), 2) / 10;
    return gain * range * ldexp(sin(turn), BOOT_RATIO) / (2 * M_PI);
}

enum input { ZERO, CONSTANT, EXTREME, RANDOM, BEYOND };

static void fill(enum input kind, double range, double *x, uint32_t n, uint64_t *state)
{
    for (uint32_t i = 0; i < n; i++)
        x[i] = kind == ZERO       ? 0
               : kind == CONSTANT ? range / 3
               : kind == EXTREME  ? (random_unit(state) > 0 ? range : -range)
               : kind == RANDOM   ? range * random_unit(state)
                                  : 20 * range * random_unit(state);
}

/* Bits, relative to the range, to which the program gives the sine of its input */
static double bits_of(struct prog *p, uint32_t n, double range, enum input kind)
{
    uint64_t state = 0x9E3779B97F4A7C15u + kind;
    double *x = arena_array(p->arena, n, sizeof *x), *y = arena_array(p->arena, n, sizeof *y);
    fill(kind, range, x, n, &state);
    sim_run(p, NULL, x, y);
    double worst = 1e-30;
    for (uint32_t i = 0; i < n; i++) {
        cr_assert(isfinite(y[i]));
        worst = fmax(worst, fabs(y[i] - distorted(x[i], range)) / range);
    }
    return -log2(worst);
}

/* ---- tests ----------------------------------------------------------------------------------- */

Test(ckks_expand, gives_the_input_back)
{
    static const struct {
        uint32_t log_n, n;
        double range;
    } row[] = {{5, 16, 1},   {6, 2, 1},     {7, 1, 2},    {9, 16, 0.25},
               {10, 64, 16}, {11, 1024, 1}, {13, 256, 4}, {13, 4096, 1}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        struct arena *a = arena_new();
        struct prog *p = expanded(a, row[i].log_n, row[i].n, row[i].range, 1);
        for (enum input kind = ZERO; kind <= RANDOM; kind++) {
            double bits = bits_of(p, row[i].n, row[i].range, kind);
            cr_expect_gt(bits, 17.5, "2^%u, %u slots, input %u: %.2f bits", row[i].log_n, row[i].n,
                         kind, bits);
        }
        arena_free(a);
    }
}

/* Errors of many bootstraps in a row add up, and no more: root mean square against the input */
Test(ckks_expand, many_in_a_row_under_noise)
{
    enum { N = 256 };
    double rms[2];
    for (int many = 0; many < 2; many++) {
        struct arena *a = arena_new();
        struct prog *p = expanded(a, 10, N, 1, many ? 50 : 1);
        double x[N], y[N], sum = 0;
        uint64_t state = 11;
        fill(RANDOM, 1. / 8, x, N, &state);
        sim_run(p, &(struct sim_options){.noise = true, .seed = 1}, x, y);
        for (uint32_t i = 0; i < N; i++)
            sum += (y[i] - x[i]) * (y[i] - x[i]);
        rms[many] = sqrt(sum / N);
        cr_log_info("%d bootstraps: %.2f bits", many ? 50 : 1, -log2(rms[many]));
        arena_free(a);
    }
    cr_expect_lt(rms[0], 0x1p-16);
    cr_expect_lt(rms[1], 50 * rms[0]);
}

Test(ckks_expand, out_of_range_stays_finite)
{
    struct arena *a = arena_new();
    struct prog *p = expanded(a, 9, 256, 1, 1);
    double x[256], y[256];
    uint64_t state = 3;
    fill(BEYOND, 1, x, 256, &state);
    x[0] = 0.5;
    sim_run(p, NULL, x, y);
    for (uint32_t i = 0; i < 256; i++)
        cr_expect_lt(fabs(y[i]), 64, "%g gives %g", x[i], y[i]);
    cr_expect_float_eq(y[0], distorted(0.5, 1), 0x1p-17,
                       "others out of range leave this one alone");
    arena_free(a);
}

Test(ckks_expand, equal_bootstraps_share_functions)
{
    struct arena *a = arena_new();
    struct prog *p = expanded(a, 8, 64, 1, 3);
    cr_expect_eq(p->num_funcs, 2);
    cr_expect_str_eq(p->funcs[0].name, "boot_stc_64_0");
    cr_expect_str_eq(p->funcs[1].name, "boot_raise_64");
    uint32_t calls = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        cr_expect_neq(n->op, OP_bootstrap);
        calls += n->op == OP_call;
        if (n->op == OP_call)
            cr_expect_str_eq(n->layer, "boot");
    }
    cr_expect_eq(calls, 6);
    arena_free(a);
}

Test(ckks_expand, text_reads_back)
{
    struct arena *a = arena_new();
    struct prog *p = expanded(a, 8, 32, 2, 1);
    struct str once, twice;
    str_init(&once, a);
    str_init(&twice, a);
    prog_print(p, &once);
    prog_print(prog_parse(a, "text", once.s, once.len), &twice);
    cr_expect_str_eq(once.s, twice.s);
    arena_free(a);
}

/* Seven levels of EvalMod, one for each CoeffToSlot map; raising goes no higher than it must. */
Test(ckks_expand, levels)
{
    struct arena *a = arena_new();
    struct prog *p = expanded(a, 9, 128, 1, 1);
    const struct nodes *raise = &p->funcs[1].nodes;
    uint32_t multiplications = 0;
    for (uint32_t i = 0; i < raise->len; i++) {
        const struct node *n = &raise->at[i];
        multiplications += n->op == OP_mul;
        if (n->op == OP_mod_raise)
            cr_expect_eq(n->type.level, (int)p->params.num_q - 1);
        if (n->op == OP_output)
            cr_expect_eq(raise->at[n->args[0]].type.level, (int)p->params.boot_level);
    }
    cr_expect_eq(multiplications, 19);
    cr_expect_eq(p->params.num_q - 1 - p->params.boot_level, BOOT_EVALMOD_LEVELS + 3);
    for (uint32_t f = 0; f < 2; f++)
        for (uint32_t i = 0; i < p->funcs[f].nodes.len; i++)
            cr_assert_neq(p->funcs[f].nodes.at[i].op, OP_lin);
    arena_free(a);
}

Test(ckks_expand, refuses_an_unknown_range, .exit_code = 1)
{
    expanded(arena_new(), 8, 32, 0, 1);
}

Test(ckks_expand, refuses_values_beyond_the_chain, .exit_code = 1)
{
    expanded(arena_new(), 8, 32, 0x1p50, 1);
}

Test(ckks_expand, refuses_values_below_the_chain, .exit_code = 1)
{
    expanded(arena_new(), 8, 32, 0x1p-7, 1);
}

/* The one factor of a single slot's SlotToCoeff is above 2^62 where data scales are small. */
Test(ckks_expand, one_slot_at_a_small_scale)
{
    struct arena *a = arena_new();
    struct prog *p = toy(a, 8, 1, 1, 1);
    p->nodes.at[0].type.scale = p->params.scale = p->params.input_scale = 0x1p20;
    p = ckks_expand(p, &(struct opts){0});
    prog_verify(p, "ckks_expand");
    for (uint32_t f = 0; f < p->num_funcs; f++)
        for (uint32_t i = 0; i < p->funcs[f].nodes.len; i++) {
            const struct node *n = &p->funcs[f].nodes.at[i];
            if (n->op != OP_comb)
                continue;
            const struct attr *factors = node_attr(n, KEY_factors);
            for (uint32_t k = 0; k < n->num_args; k++) {
                double by = n->type.scale / p->funcs[f].nodes.at[n->args[k]].type.scale;
                cr_expect_lt(fabs(factors->v.reals[k]) * by, 0x1p62);
            }
        }
    double bits = bits_of(p, 1, 1, RANDOM);
    cr_expect_gt(bits, 8, "%.2f bits", bits);
    arena_free(a);
}

/* Single-digit keys for raised values, at the top; the key to the sparse secret at level 0 only */
Test(ckks_expand, later_passes_take_it)
{
    struct arena *a = arena_new();
    struct prog *p = expanded(a, 9, 64, 1, 1);
    pass_fn *const pass[] = {ckks_fuse, ckks_keys, ckks_regs};
    static const char *const name[] = {"ckks_fuse", "ckks_keys", "ckks_regs"};
    for (int i = 0; i < 3; i++) {
        p = pass[i](p, &(struct opts){0});
        prog_verify(p, name[i]);
    }
    uint32_t kinds[NUM_KEY_KINDS] = {0};
    for (uint32_t i = 0; i < p->num_keys; i++) {
        kinds[p->keys[i].kind]++;
        if (p->keys[i].kind == KEY_KIND_ENCAPSULATE)
            cr_expect_eq(p->keys[i].level, 0);
        if (p->keys[i].kind == KEY_KIND_RAISED)
            cr_expect_eq(p->keys[i].level, (int)p->params.num_q - 1);
    }
    cr_expect_eq(kinds[KEY_KIND_ENCAPSULATE], 1);
    cr_expect_eq(kinds[KEY_KIND_CONJUGATE], 1);
    cr_expect_eq(kinds[KEY_KIND_RELINEARISE], 1);
    cr_expect_gt(kinds[KEY_KIND_RAISED], 3);
    double bits = bits_of(p, 64, 1, RANDOM);
    cr_expect_gt(bits, 16.5, "after all passes: %.2f bits", bits);
    arena_free(a);
}

Test(ckks_expand, leaves_others_alone)
{
    struct arena *a = arena_new();
    struct prog *p = toy(a, 8, 32, 1, 0);
    cr_expect_eq(ckks_expand(p, &(struct opts){0}), p);
    arena_free(a);
}

/* The chain of 2^14 reals at N = 2^15 */
Test(ckks_expand, cost)
{
    struct params q = {.log_n = 15, .num_q = 16, .num_p = 3, .alpha = 3, .boot_level = 5};
    double full = boot_cost(&q, 1u << 14), sparse = boot_cost(&q, 1u << 10);
    cr_log_info("%.1f ms, of 2^10 slots %.1f ms", full / 1e6, sparse / 1e6);
    cr_expect_lt(sparse, full);
    cr_expect_eq(boot_cost(&q, 1u << 14), full);
    cr_expect_lt(boot_cost_least(&q), boot_cost(&q, 1));
    cr_expect_gt(boot_cost_least(&q), boot_cost(&q, 1) / 8);
    q.num_q = 18;
    q.boot_level = 7;
    cr_expect_gt(boot_cost(&q, 1u << 14), full);
}
