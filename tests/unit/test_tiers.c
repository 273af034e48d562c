/* SPDX-License-Identifier: Apache-2.0 */
/* The precision that a build takes: raised where it has to be, and only where it may. */
#include "backends.h"
#include "compiler.h"
#include "front_kit.h"
#include "passes.h"

#include <criterion/criterion.h>
#include <string.h>

static const char lenet[] = "examples/lenet_mnist/model.yaml";
static const char images[] = "examples/lenet_mnist/test_100.bin";

struct job {
    struct cli cli;
    struct driver d;
    struct prog *p;
};

static void compile(struct arena *a, void *ctx)
{
    struct job *j = ctx;
    j->cli.input = j->cli.input ? j->cli.input : lenet;
    j->d = driver_open(&j->cli, a);
    uint32_t next;
    struct prog *p = driver_load(&j->d, &next);
    j->p = driver_compile(&j->d, p, next);
}

static const char *compiled(struct arena *a, struct job *j)
{
    bool bug;
    const char *said;
    cr_assert_not(front_catch(a, compile, j, &bug, &said), "%s", said);
    return said;
}

Test(tiers, default_is_the_first)
{
    struct arena *a = arena_new();
    struct job j = {.cli = {.images = images}};
    const char *said = compiled(a, &j);
    cr_expect_str_empty(said);
    cr_expect_eq(precision_bits(j.p), 27);
    cr_expect_eq(boot_precision_bits(j.p), 0);
    cr_expect_eq(j.p->agreement.images, 100);
    cr_expect_not(j.p->agreement.drawn);
    cr_expect(j.p->agreement.changed > 0 && j.p->agreement.changed < 1e-4, "%g",
              j.p->agreement.changed);
    cr_expect_gt(j.p->error_bound, 0);
    arena_free(a);
}

Test(tiers, first_that_is_good_enough)
{
    struct arena *a = arena_new();
    struct job j = {.cli = {.images = images, .agreement = 99.9999}};
    j.cli.opts.explain = true;
    const char *said = compiled(a, &j);
    cr_expect_eq(precision_bits(j.p), 32, "found %u", (unsigned)precision_bits(j.p));
    cr_expect_lt(j.p->agreement.changed, 1e-6);
    cr_expect_eq(j.d.cli->opts.precision, 32, "the driver goes on with it");
    cr_expect(strstr(said, "precision of 27 bits: 99.999"), "%s", said);
    cr_expect(strstr(said, "precision of 32 bits: 99.99999"), "%s", said);
    cr_expect(strstr(said, "precision of 36 bits: not needed"), "%s", said);
    cr_expect_not(strstr(said, "warning"), "%s", said);
    arena_free(a);
}

Test(tiers, the_best_with_a_warning_where_none_is)
{
    struct arena *a = arena_new();
    struct job j = {.cli = {.images = images, .agreement = 100}};
    const char *said = compiled(a, &j);
    cr_expect_geq(precision_bits(j.p), 36);
    cr_expect(strstr(said, "less than 100 %: that is the best there is"), "%s", said);
    arena_free(a);
}

Test(tiers, an_option_is_not_overruled)
{
    struct arena *a = arena_new();
    struct job j = {.cli = {.images = images, .agreement = 99.9999}};
    j.cli.opts.precision = 27;
    const char *said = compiled(a, &j);
    cr_expect_eq(precision_bits(j.p), 27);
    cr_expect(strstr(said, "warning: 99.999"), "%s", said);
    cr_expect_not(strstr(said, "best"), "%s", said);
    cr_expect_eq(j.p->agreement.images, 100, "it is judged all the same");
    arena_free(a);
}

Test(tiers, without_images_nothing_is_judged)
{
    struct arena *a = arena_new();
    struct job j = {.d = {0}};
    const char *said = compiled(a, &j);
    cr_expect_str_empty(said);
    cr_expect_eq(precision_bits(j.p), 27);
    cr_expect_not(j.p->agreement.judged);
    arena_free(a);
}

/* Which of the two is faster is for the cost model to say. */
Test(tiers, high_degrees_are_also_planned_with_narrow_primes)
{
    struct arena *a = arena_new();
    struct job j = {.cli = {.input = "examples/resnet20_cifar10/degree4/model.yaml",
                            .images = "examples/resnet20_cifar10/test_100.bin"}};
    j.cli.opts.explain = true;
    const char *said = compiled(a, &j);
    cr_expect(strstr(said, "precision of 27 bits, bootstraps 11 bits: "), "%s", said);
    cr_expect(strstr(said, "precision of 32 bits, bootstraps 11 bits: "), "%s", said);
    cr_expect_not(strstr(said, "bootstraps 17 bits: "), "%s", said);
    cr_expect_lt(j.p->agreement.changed, 1e-3);
    cr_expect_eq(boot_precision_bits(j.p), 11);
    arena_free(a);
}

/* Asked for by name, random images have to do. */
Test(tiers, random_images_where_agreement_is_given)
{
    struct arena *a = arena_new();
    struct job j = {.cli = {.agreement = 50}};
    compiled(a, &j);
    cr_expect(j.p->agreement.judged);
    cr_expect(j.p->agreement.images == 0 || j.p->agreement.drawn);
    arena_free(a);
}

/* The simulated program of a higher tier is that much nearer to the network. */
Test(tiers, what_is_raised_is_more_precise)
{
    struct arena *a = arena_new();
    struct job low = {.cli = {.images = images}};
    struct job high = {.cli = {.images = images, .agreement = 99.9999}};
    compiled(a, &low);
    compiled(a, &high);
    cr_expect_lt(high.p->error_bound, low.p->error_bound / 16, "%g, %g", high.p->error_bound,
                 low.p->error_bound);
    arena_free(a);
}
