/* SPDX-License-Identifier: Apache-2.0 */
#include "backends.h"
#include "passes.h"
#include "random_net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/*
 * The whole pipeline on random small networks: the simulator agrees with the naive reference after every
 * pass, and a program that was written as text after any pass and read back ends in the same C, byte by byte.
 */

static const struct random_net LIMITS = {
    .max_layers = 6, .max_elements = 700, .max_depth = 12, .max_degree = 4};

static void check_equal(const char *pass, uint64_t seed, const double *want, const double *got,
                        uint32_t len)
{
    double scale = 1e-3;
    for (uint32_t i = 0; i < len; i++) {
        scale = fmax(scale, fabs(want[i]));
    }
    for (uint32_t i = 0; i < len; i++) {
        cr_assert(fabs(want[i] - got[i]) <= 1e-9 * scale,
                  "after %s, SEED=%llu: element %u is %.17g, not %.17g", pass,
                  (unsigned long long)seed, i, got[i], want[i]);
    }
}

static struct prog *through_text(const struct prog *p, struct arena *a)
{
    struct str text;
    str_init(&text, a);
    prog_print(p, &text);
    return prog_parse(a, "dump.ir", text.s, text.len);
}

static void check_net(uint64_t seed)
{
    struct arena *a = arena_new();
    struct prog *p = random_net(a, seed, &LIMITS);
    struct opts o = {0};
    uint32_t len = p->model.num_outputs;
    double *image = random_image(a, p, seed), *want = arena_array(a, len, sizeof *want);
    double *got = arena_array(a, len, sizeof *got);
    sim_run(p, NULL, image, want);
    for (uint32_t i = 0; i < num_passes; i++) {
        p = pass_info[i].run(p, &o);
        prog_verify(p, pass_info[i].name);
        uint32_t ran = pipeline_ran(p);
        cr_assert(ran != NONE && ran <= i, "after %s, SEED=%llu: the program shows %s",
                  pass_info[i].name, (unsigned long long)seed,
                  ran == NONE ? "nothing" : pass_info[ran].name);
        sim_run(p, NULL, image, got);
        check_equal(pass_info[i].name, seed, want, got, len);
    }
    sim_reference(p, image, got);
    check_equal("all passes, the reference", seed, want, got, len);
    arena_free(a);
}

static bool same(const struct str *x, const struct str *y)
{
    return x->len == y->len && !memcmp(x->s, y->s, x->len);
}

static bool check_restart(uint64_t seed)
{
    struct arena *a = arena_new();
    struct opts o = {0};
    struct c_output direct, restarted;
    struct prog *p = random_net(a, seed, &LIMITS);
    if (random_constant(a, p, seed)) {
        arena_free(a);
        return false;
    }
    c_emit(pipeline_run(p, 0, num_passes - 1, &o, NULL, NULL), NULL, &direct, a);
    for (uint32_t stop = 0; stop < num_passes; stop++) {
        p = random_net(a, seed, &LIMITS);
        p = through_text(pipeline_run(p, 0, stop, &o, NULL, NULL), a);
        if (stop + 1 < num_passes) {
            p = pipeline_run(p, stop + 1, num_passes - 1, &o, NULL, NULL);
        }
        c_emit(p, NULL, &restarted, a);
        cr_assert(same(&direct.model_c, &restarted.model_c) &&
                      same(&direct.interface_c, &restarted.interface_c) &&
                      same(&direct.clear_c, &restarted.clear_c) &&
                      same(&direct.data, &restarted.data),
                  "SEED=%llu: restarted after %s, the C differs", (unsigned long long)seed,
                  pass_info[stop].name);
    }
    arena_free(a);
    return true;
}

Test(pipeline, every_stage_agrees_with_the_reference, .timeout = 600)
{
    uint64_t seed = random_seed(20261121);
    uint32_t trials = random_trials(200);
    for (uint32_t i = 0; i < trials; i++) {
        check_net(seed + i);
    }
}

Test(pipeline, a_restart_from_text_ends_in_the_same_c, .timeout = 600)
{
    uint64_t seed = random_seed(7);
    uint32_t trials = random_trials(20);
    for (uint32_t done = 0; done < trials; seed++) {
        done += check_restart(seed);
    }
}
