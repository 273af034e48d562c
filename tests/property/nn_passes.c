/* SPDX-License-Identifier: Apache-2.0 */
#include "backends.h"
#include "nn_kit.h"
#include "random_net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/*
 * Every nn pass, and the lowering to slots, computes what the random network before it did; so does
 * the reference that nn_linear keeps. The depth never grows behind nn_poly, and dumps read back.
 */

static double largest(const double *x, uint32_t len)
{
    double m = 1e-3;
    for (uint32_t i = 0; i < len; i++)
        m = fabs(x[i]) > m ? fabs(x[i]) : m;
    return m;
}

static void check_equal(const char *what, uint64_t seed, const double *want, const double *got,
                        uint32_t len)
{
    double scale = largest(want, len);
    for (uint32_t i = 0; i < len; i++)
        cr_assert(fabs(want[i] - got[i]) <= 1e-9 * scale,
                  "%s, SEED=%llu: element %u is %.17g, not %.17g", what, (unsigned long long)seed,
                  i, got[i], want[i]);
}

static void check_text(struct arena *a, const struct prog *p)
{
    struct str once, twice;
    str_init(&once, a);
    str_init(&twice, a);
    prog_print(p, &once);
    prog_print(prog_parse(a, "dump", once.s, once.len), &twice);
    cr_assert(once.len == twice.len && !memcmp(once.s, twice.s, once.len),
              "dump does not read back:\n%s\n%s", once.s, twice.s);
}

static void only_ops(const struct prog *p, const char *pass, const enum op *ops, uint32_t len)
{
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        bool allowed = false;
        for (uint32_t k = 0; k < len; k++)
            allowed = allowed || p->nodes.at[i].op == ops[k];
        cr_assert(allowed, "%s leaves %s", pass, op_info[p->nodes.at[i].op].name);
    }
}

static void check_net(uint64_t seed, const struct random_net *limits)
{
    static const enum op after_linear[] = {OP_input, OP_map, OP_poly,        OP_add,
                                           OP_sub,   OP_mul, OP_add_channel, OP_output};
    static const enum op after_poly[] = {OP_input, OP_map,         OP_add,   OP_sub,
                                         OP_mul,   OP_add_channel, OP_output};
    struct arena *a = arena_new();
    struct prog *p = random_net(a, seed, limits);
    struct opts o = {0};
    prog_verify(p, "random_net");
    check_text(a, p);
    uint32_t outputs = p->model.num_outputs, before = 0;
    double *image = random_image(a, p, seed), *want = arena_array(a, outputs, sizeof *want);
    double *got = arena_array(a, outputs, sizeof *got);
    sim_run(p, NULL, image, want);
    for (uint32_t i = 0; i <= pass_find("lower_nn_slot"); i++) {
        p = pass_info[i].run(p, &o);
        prog_verify(p, pass_info[i].name);
        check_text(a, p);
        sim_run(p, NULL, image, got);
        check_equal(pass_info[i].name, seed, want, got, outputs);
        sim_reference(p, image, got);
        check_equal("reference", seed, want, got, outputs);
        if (i == pass_find("nn_linear"))
            only_ops(p, "nn_linear", after_linear, sizeof after_linear / sizeof *after_linear);
        if (i == pass_find("nn_poly")) {
            only_ops(p, "nn_poly", after_poly, sizeof after_poly / sizeof *after_poly);
            before = nn_kit_depth(p);
        }
        if (i == pass_find("nn_fold"))
            cr_assert(nn_kit_depth(p) <= before,
                      "SEED=%llu: nn_fold makes the program deeper: %u, was %u",
                      (unsigned long long)seed, nn_kit_depth(p), before);
    }
    arena_free(a);
}

Test(nn_passes, random_networks)
{
    uint64_t seed = random_seed(1);
    uint32_t trials = random_trials(200);
    for (uint32_t i = 0; i < trials; i++)
        check_net(seed + i, NULL);
}

Test(nn_passes, random_plain_networks)
{
    uint64_t seed = random_seed(5);
    struct random_net limits = {
        .plain = true, .max_layers = 14, .max_elements = 600, .max_degree = 4};
    uint32_t trials = random_trials(60);
    for (uint32_t i = 0; i < trials; i++)
        check_net(seed + i, &limits);
}
