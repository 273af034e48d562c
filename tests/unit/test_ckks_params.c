/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"
#include "ir_kit.h"
#include "pass_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/* input, then `squares` squares of it, each in a layer of its own: as many levels */
static struct prog *tower(struct arena *a, uint32_t squares)
{
    struct str s;
    str_init(&s, a);
    str_add(&s, "%0 = input part=0 layout=@0\n");
    for (uint32_t i = 0; i < squares; i++)
        str_addf(&s, "%%%u = mul %%%u, %%%u  # act%u\n", i + 1, i, i, i + 1);
    str_addf(&s, "%%%u = output %%%u layout=@0\n", squares + 1, squares);
    return pkit_run(pkit_program(a, STAGE_SLOT, s.s), "lower_slot_ckks", "ckks_hoist",
                    &(struct opts){0});
}

struct job {
    struct prog *p;
    struct opts o;
};

static void run_params(void *ctx)
{
    struct job *j = ctx;
    j->p = ckks_params(j->p, &j->o);
}

static void check_primes(const struct params *q, double prime_bits)
{
    uint64_t step = (uint64_t)1 << (q->log_n + 1);
    uint64_t all[200];
    uint32_t len = 0;
    double digit = 0, special = 0;
    for (uint32_t i = 0; i < q->num_q; i++) {
        all[len++] = q->q[i];
        cr_assert(fabs(log2((double)q->q[i]) - (i ? prime_bits : 50)) < 0.1, "prime %u is %g bits",
                  i, log2((double)q->q[i]));
        digit += i < q->alpha ? log2((double)q->q[i]) : 0;
    }
    for (uint32_t i = 0; i < q->num_p; i++) {
        all[len++] = q->p[i];
        special += log2((double)q->p[i]);
    }
    cr_assert(special > digit - 0.01, "P has %g bits, a digit %g", special, digit);
    for (uint32_t i = 0; i < len; i++) {
        cr_assert_eq(all[i] % step, 1);
        cr_assert_lt(all[i], (uint64_t)1 << 50);
        for (uint32_t j = 0; j < i; j++)
            cr_assert_neq(all[i], all[j]);
    }
}

/* Each ring up to the deepest program that it carries: (bits - 100) / 50 levels */
Test(ckks_params, smallest_secure_ring)
{
    static const struct {
        uint32_t squares, log_n;
    } want[] = {{1, 13},  {2, 13},  {3, 14},  {6, 14},  {7, 15},
                {15, 15}, {16, 16}, {32, 16}, {33, 17}, {68, 17}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct arena *a = arena_new();
        struct prog *p = ckks_params(tower(a, want[i].squares), &(struct opts){0});
        const struct params *q = &p->params;
        cr_expect_eq(q->log_n, want[i].log_n, "%u squares: 2^%u", want[i].squares, q->log_n);
        cr_expect_eq(q->num_q, want[i].squares + 1);
        cr_expect_leq(params_log2_qp(q), params_max_log2_qp(q->log_n));
        cr_expect_eq(q->lambda_bits, 128);
        cr_expect_not(q->insecure);
        check_primes(q, 50);
        arena_free(a);
    }
}

Test(ckks_params, precision_tiers)
{
    static const struct {
        uint32_t precision;
        double prime_bits;
    } want[] = {{20, 50}, {27, 50}, {31, 50}, {32, 36}, {36, 40}, {45, 49}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct arena *a = arena_new();
        struct prog *p = ckks_params(tower(a, 3), &(struct opts){.precision = want[i].precision});
        cr_expect_eq(p->params.scale, exp2(want[i].precision));
        cr_expect_eq(p->params.input_scale, exp2(want[i].precision));
        check_primes(&p->params, want[i].prime_bits);
        arena_free(a);
    }
}

/* A room for more special primes is used: fewer digits are faster. */
Test(ckks_params, digits_follow_the_room)
{
    struct arena *a = arena_new();
    struct prog *tight = ckks_params(tower(a, 6), &(struct opts){0});
    cr_assert_eq(tight->params.alpha, 1, "430 bits leave one special prime beside 7");
    struct prog *wide = ckks_params(tower(a, 7), &(struct opts){0});
    cr_assert_gt(wide->params.alpha, 1, "868 bits leave nine beside 8");
    arena_free(a);
}

Test(ckks_params, rotations_are_made_positive)
{
    struct arena *a = arena_new();
    struct prog *p =
        pkit_program(a, STAGE_CKKS,
                     "%0 = input part=0 layout=@0\n%1 = decompose %0\n%2 = key_mul %1, %0 by=-3\n"
                     "%3 = mod_down %2 drop=0\n%4 = key_mul %1, %0 by=2\n%5 = mod_down %4 drop=0\n"
                     "%6 = add %3, %5\n%7 = output %6 layout=@0\n");
    p = ckks_params(p, &(struct opts){.log_n = 14});
    cr_assert_eq(p->params.log_n, 14);
    cr_assert_eq(node_int(&p->nodes.at[2], KEY_by), 8192 - 3);
    cr_assert_eq(node_int(&p->nodes.at[4], KEY_by), 2);
    arena_free(a);
}

Test(ckks_params, toy_rings_are_marked)
{
    struct arena *a = arena_new();
    struct prog *toy = ckks_params(tower(a, 6), &(struct opts){.insecure = true, .log_n = 11});
    cr_expect_eq(toy->params.log_n, 11);
    cr_expect(toy->params.insecure);
    cr_expect_eq(toy->params.lambda_bits, 0);
    struct prog *large = ckks_params(tower(a, 6), &(struct opts){.insecure = true, .log_n = 15});
    cr_expect_not(large->params.insecure, "a ring that is secure is not marked");
    cr_expect_eq(large->params.lambda_bits, 128);
    struct prog *own = ckks_params(tower(a, 6), &(struct opts){.insecure = true});
    cr_expect_eq(own->params.log_n, 14, "without --log-n the ring is a secure one");
    cr_expect_not(own->params.insecure);
    arena_free(a);
}

Test(ckks_params, refusals)
{
    static const struct {
        uint32_t squares;
        struct opts o;
        const char *text;
    } want[] = {
        {69,
         {0},
         "layer 'act69' needs 1 level more than the largest secure ring carries (68 of 69)"},
        {72,
         {.insecure = true},
         "layer 'act69' needs 4 levels more than the largest secure ring carries"},
        {5,
         {.log_n = 13},
         "layer 'act3' needs 3 levels more than a ring of degree 2^13 carries at 128 bits (2 of "
         "5)"},
        {1, {.log_n = 11}, "layer 'act1' needs 1 level more than a ring of degree 2^11"},
        {1, {.log_n = 9}, "--log-n must be from 10 to 17, found 9"},
        {1, {.log_n = 18, .insecure = true}, "--log-n must be from 10 to 17, found 18"},
        {1, {.precision = 19}, "--precision must be from 20 to 45 bits, found 19"},
        {1, {.precision = 46}, "--precision must be from 20 to 45 bits, found 46"},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct job j = {tower(arena_new(), want[i].squares), want[i].o};
        struct caught c = ir_catch(run_params, &j);
        cr_expect(c.ended && !c.bug, "case %zu was accepted", i);
        cr_expect(strstr(c.text, want[i].text), "case %zu: %s", i, c.text);
        diag_reset();
    }
}

Test(ckks_params, ring_must_hold_the_slots)
{
    struct arena *a = arena_new();
    struct job j = {tower(a, 1), {.log_n = 10, .insecure = true}};
    for (uint32_t i = 0; i < j.p->nodes.len; i++)
        j.p->nodes.at[i].type.n = 1024;
    struct caught c = ir_catch(run_params, &j);
    cr_assert(c.ended && !c.bug &&
                  strstr(c.text, "vectors of 1024 slots need a ring of degree 2048"),
              "%s", c.text);
}

/* ---- chains of programs that bootstrap -------------------------------------------------------- */

/* A bootstrap, `after` squares of its result, each in a layer of its own */
static struct prog *boot_tower(struct arena *a, uint32_t after)
{
    struct str s;
    str_init(&s, a);
    str_add(&s, "%0 = input part=0 layout=@0  # in\n%1 = mul %0, %0  # act0\n"
                "%2 = bootstrap %1 range=1  # boot\n");
    for (uint32_t i = 0; i < after; i++)
        str_addf(&s, "%%%u = mul %%%u, %%%u  # act%u\n", i + 3, i + 2, i + 2, i + 1);
    str_addf(&s, "%%%u = output %%%u layout=@0  # out\n", after + 3, after + 2);
    return pkit_run(pkit_program(a, STAGE_SLOT, s.s), "lower_slot_ckks", "ckks_hoist",
                    &(struct opts){0});
}

static void check_boot_chain(const struct params *q, uint32_t prime_bits)
{
    struct boot_shape s = boot_shape_of(q->log_n, q->arcsine);
    cr_assert_eq(q->num_q, q->boot_level + 1 + s.mod_levels + s.cts_levels);
    cr_expect_eq(s.mod_levels, boot_evalmod_levels(q));
    double sum = 0;
    for (uint32_t l = 0; l < q->num_q; l++) {
        uint32_t mod = l - q->boot_level - 1;
        uint32_t bits = l == 0                              ? s.q0_bits
                        : l == 1                            ? s.stc_bits
                        : l <= q->boot_level                ? prime_bits
                        : l <= q->boot_level + s.mod_levels ? s.mod_bits[mod]
                                                            : s.cts_bits;
        double found = log2((double)q->q[l]);
        cr_expect(fabs(found - bits) < 0.01, "q_%u has %g bits, not %u", l, found, bits);
        cr_expect_eq(q->q[l] % ((uint64_t)2 << q->log_n), 1);
        for (uint32_t k = 0; k < l; k++)
            cr_expect_neq(q->q[l], q->q[k], "q_%u and q_%u are equal", k, l);
        sum += found;
    }
    for (uint32_t k = 0; k < q->num_p; k++)
        sum += log2((double)q->p[k]);
    cr_expect(sum <= params_max_log2_qp(q->log_n), "log2 QP is %g", sum);
    cr_expect_float_eq(sum, params_log2_qp(q), 1e-9);
    cr_expect_eq(q->sparse_weight, s.sparse_weight);
    double sparse = log2((double)q->q[0]) + log2((double)q->p[0]);
    cr_expect(sparse <= params_max_log2_sparse(q->log_n, q->sparse_weight), "log2 q_0 p_0 is %g",
              sparse);
    const char *why;
    cr_expect(params_check(q, &why), "%s", why);
}

Test(ckks_params, boot_chains)
{
    static const struct {
        uint32_t after, log_n, boot_level;
    } want[] = {{1, 15, 2}, {2, 15, 2}, {3, 15, 3}, {5, 15, 5}, {12, 16, 12}, {19, 16, 19}};
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct arena *a = arena_new();
        struct prog *p = ckks_params(boot_tower(a, want[i].after), &(struct opts){0});
        cr_expect_eq(p->params.boot_level, want[i].boot_level, "%u squares: %u", want[i].after,
                     p->params.boot_level);
        cr_expect_eq(p->params.log_n, want[i].log_n, "%u squares: 2^%u", want[i].after,
                     p->params.log_n);
        cr_expect_eq(p->params.lambda_bits, 128);
        check_boot_chain(&p->params, 50);
        p = ckks_level(p, &(struct opts){0});
        prog_verify(p, "ckks_level");
        arena_free(a);
    }
}

Test(ckks_params, boot_chain_of_another_precision)
{
    struct arena *a = arena_new();
    struct opts o = {.precision = 36};
    struct prog *p = ckks_params(boot_tower(a, 2), &o);
    check_boot_chain(&p->params, 40);
    p = ckks_level(p, &o);
    prog_verify(p, "ckks_level");
    arena_free(a);
}

/* The arcsine's two levels where they are asked for, at 128 bits, and only there */
Test(ckks_params, boot_chains_of_more_precision)
{
    for (uint32_t bits = 11; bits <= 12; bits++) {
        struct arena *a = arena_new();
        struct opts o = {.boot_precision = bits};
        struct prog *p = ckks_params(boot_tower(a, 2), &o);
        cr_expect_eq(p->params.arcsine, bits > 11 ? 3 : 0);
        cr_expect_eq(p->params.log_n, 15);
        cr_expect_eq(p->params.lambda_bits, 128);
        check_boot_chain(&p->params, 50);
        p = ckks_level(p, &o);
        prog_verify(p, "ckks_level");
        arena_free(a);
    }
}

Test(ckks_params, refuses_too_long_a_way_between_bootstraps)
{
    struct job j = {boot_tower(arena_new(), 9), {.log_n = 15}};
    struct caught c = ir_catch(run_params, &j);
    cr_expect(c.ended && !c.bug, "accepted");
    cr_expect(
        strstr(c.text, "layer 'boot': what follows needs 8 levels, but a bootstrap leaves at most"),
        "%s", c.text);
    diag_reset();
    struct job small = {boot_tower(arena_new(), 1), {.log_n = 14}};
    c = ir_catch(run_params, &small);
    cr_expect(c.ended && strstr(c.text, "2^14 is too small to bootstrap at 128 bits"), "%s",
              c.text);
    diag_reset();
}
