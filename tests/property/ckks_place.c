/* SPDX-License-Identifier: Apache-2.0 */
#include "backends.h"
#include "ir_kit.h"
#include "passes.h"
#include "random_net.h"

#include <criterion/criterion.h>
#include <math.h>

/* Random networks, forced to bootstrap: the same values, all ciphertexts of a tensor or none, and levels
 * that the chain has. */

struct front {
    struct prog *p;
    const struct opts *o;
};

static void run_front(void *ctx)
{
    struct front *f = ctx;
    f->p = pipeline_run(f->p, 0, pass_find("ckks_hoist"), f->o, NULL, NULL);
}

static void check_values(struct prog *p, uint64_t seed, const double *image, const double *want,
                         double size)
{
    double *got = arena_array(p->arena, p->model.num_outputs, sizeof *got);
    sim_run(p, NULL, image, got);
    for (uint32_t i = 0; i < p->model.num_outputs; i++)
        cr_assert(fabs(want[i] - got[i]) <= 1e-9 * size,
                  "SEED=%llu TRIALS=1: element %u is %g, not %g", (unsigned long long)seed, i,
                  got[i], want[i]);
}

/* The bootstraps of the network; NONE where it was refused */
static uint32_t check_net(uint64_t seed, const struct opts *o)
{
    struct arena *a = arena_new();
    struct random_net limits = {.max_depth = 14, .max_layers = 12};
    struct prog *p = random_net(a, seed, &limits);
    uint32_t outputs = p->model.num_outputs, boots = 0;
    double *image = random_image(a, p, seed), *want = arena_array(a, outputs, sizeof *want);
    struct front front = {p, o};
    struct caught refused = ir_catch(run_front, &front);
    cr_assert(!refused.bug, "SEED=%llu TRIALS=1: %s", (unsigned long long)seed, refused.text);
    if (refused.ended)
        return NONE;
    p = front.p;
    sim_reference(p, image, want);
    double size = 1e-3;
    for (uint32_t i = 0; i < outputs; i++)
        size = fmax(size, fabs(want[i]));
    uint32_t place = pass_find("ckks_place");
    p = pipeline_run(p, place, place, o, NULL, NULL);
    check_values(p, seed, image, want, size);
    p = pipeline_run(p, place + 1, pass_find("ckks_level"), o, NULL, NULL);
    check_values(p, seed, image, want, size);
    for (uint32_t i = 0; i < p->nodes.len; i++)
        boots += p->nodes.at[i].op == OP_bootstrap;
    arena_free(a);
    return boots;
}

Test(ckks_place, random_networks)
{
    static const uint32_t bits[] = {0, 0, 31, 38};
    uint64_t seed = random_seed(3000);
    uint32_t trials = random_trials(40), booted = 0, refused = 0;
    for (uint32_t t = 0; t < trials; t++) {
        struct opts o = {.bootstrap = BOOTSTRAP_ALWAYS, .precision = bits[t % 4]};
        uint32_t boots = check_net(seed + t, &o);
        refused += boots == NONE;
        booted += boots != NONE && boots > 0;
    }
    cr_assert(trials < 40 || (booted >= trials / 3 && refused <= trials / 10),
              "%u of %u with bootstraps, %u refused", booted, trials, refused);
}
