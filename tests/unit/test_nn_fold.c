/* SPDX-License-Identifier: Apache-2.0 */
#include "nn_kit.h"

#include <criterion/criterion.h>
#include <string.h>

static struct arena *arena;
static void setup(void)
{
    arena = arena_new();
}
static void teardown(void)
{
    arena_free(arena);
}
TestSuite(nn_fold, .init = setup, .fini = teardown);

/* Two channels, 3 x 3, zero padding; poly coefficients of mixed signs, so that a scale stays
 * behind. */
#define CONSTS                                                                                     \
    "$0 = values dims=[2,2,3,3] "                                                                  \
    "data=[0.1,-0.2,0.3,0.2,0.1,0,-0.1,0.3,0.2,0.1,-0.3,0.2,0.1,0.1,0.2,-0.1,"                     \
    "0.4,0.2,0.1,-0.2,0.1,0.2,-0.1,0,0.1,0.3,0.2,0.1,-0.1,0.2,0.3,-0.1,0.2,0.1,0.1,0.2]\n"         \
    "$1 = values dims=[3,2] data=[0.1,0.2,0.5,0.4,0.2,-0.3]\n"                                     \
    "$2 = values dims=[2] data=[0.7,-1.3]\n"                                                       \
    "$3 = values dims=[2] data=[0.4,0.9]\n"
#define CONV " w=$0 stride=[1,1] pad=[1,1,1,1] dilation=[1,1] groups=1 wrap=zeros"
#define BN   " gamma=$2 beta=$3 mean=$2 var=$3 eps=0.1"

static struct prog *folded(const char *input, uint32_t outputs, const char *body)
{
    struct prog *p = nn_kit(arena, input, outputs, body),
                *q = nn_kit_run(p, "nn_linear,nn_poly,nn_fold");
    double error = nn_kit_difference(p, q);
    cr_assert_lt(error, 1e-12, "%g", error);
    return q;
}

static void expect(const struct prog *p, uint32_t maps, uint32_t depth, uint32_t nodes)
{
    struct str text;
    str_init(&text, arena);
    prog_print(p, &text);
    cr_assert(nn_kit_count(p, OP_map) == maps && nn_kit_depth(p) == depth && p->nodes.len == nodes,
              "%u maps, depth %u, %u nodes:\n%s", nn_kit_count(p, OP_map), nn_kit_depth(p),
              p->nodes.len, text.s);
}

Test(nn_fold, a_residual_block_costs_its_convolutions_and_squares)
{
    struct prog *p =
        folded("2x5x4", 40,
               CONSTS "%0 = input\n%1 = conv2d %0" CONV "\n%2 = batch_norm %1" BN
                      "\n%3 = poly %2 coeff=$1\n"
                      "%4 = conv2d %3" CONV "\n%5 = batch_norm %4" BN "\n%6 = poly %5 coeff=$1\n"
                      "%7 = conv2d %6" CONV "\n%8 = batch_norm %7" BN "\n%9 = add %8, %3\n"
                      "%10 = poly %9 coeff=$1\n%11 = conv2d %10" CONV "\n%12 = output %11\n");
    /* input, four maps, three times square and constant, output */
    expect(p, 4, 7, 12);
    cr_assert_eq(nn_kit_map(p, 2)->num_terms, 2, "the skip is a term");
}

Test(nn_fold, a_preactivation_block_too)
{
    struct prog *p =
        folded("2x5x4", 40,
               CONSTS "%0 = input\n%1 = conv2d %0" CONV "\n"
                      "%2 = batch_norm %1" BN "\n%3 = poly %2 coeff=$1\n%4 = conv2d %3" CONV "\n"
                      "%5 = batch_norm %4" BN "\n%6 = poly %5 coeff=$1\n%7 = conv2d %6" CONV "\n"
                      "%8 = add %7, %1\n%9 = batch_norm %8" BN "\n%10 = poly %9 coeff=$1\n"
                      "%11 = conv2d %10" CONV "\n%12 = add %11, %8\n%13 = output %12\n");
    expect(p, 4, 7, 14);
    cr_assert_eq(nn_kit_map(p, 2)->num_terms, 2);
    cr_assert_eq(nn_kit_map(p, 3)->num_terms, 2);
}

/* Batch norm and square in front of everything: the scale moves behind the product. */
Test(nn_fold, scales_without_a_map_in_front_move_on)
{
    struct prog *p = folded("2x5x4", 40,
                            CONSTS "%0 = input\n%1 = batch_norm %0" BN "\n%2 = poly %1 coeff=$1\n"
                                   "%3 = conv2d %2" CONV "\n%4 = output %3\n");
    expect(p, 1, 2, 6);
}

Test(nn_fold, quartics_move_on_too)
{
    struct prog *p =
        folded("2x5x4", 40,
               CONSTS "$4 = values dims=[5,2] data=[0.1,0.2,0,0,0.4,0.2,0,0,-0.3,0.2]\n"
                      "%0 = input\n%1 = batch_norm %0" BN "\n%2 = poly %1 coeff=$4\n"
                      "%3 = conv2d %2" CONV "\n%4 = output %3\n");
    expect(p, 1, 3, 8);
}

/* 0.9 / 1e-5 added in front would drown the values */
Test(nn_fold, scales_that_are_too_small_stay)
{
    struct prog *p =
        folded("2x5x4", 40,
               CONSTS "$4 = fill dims=[2] value=1e-5\n"
                      "%0 = input\n%1 = batch_norm %0 gamma=$4 beta=$3 mean=$2 var=$3 eps=0.1\n"
                      "%2 = mul %1, %1\n%3 = conv2d %2" CONV "\n%4 = output %3\n");
    expect(p, 2, 3, 5);
}

Test(nn_fold, pool_and_classifier_are_one_map)
{
    struct prog *p = folded("2x5x4", 3,
                            CONSTS "$4 = values dims=[3,2] data=[0.1,0.2,0.3,0.4,0.5,0.6]\n"
                                   "%0 = input\n%1 = poly %0 coeff=$1\n%2 = global_avg_pool %1\n"
                                   "%3 = flatten %2\n%4 = linear %3 w=$4\n%5 = output %4\n");
    const struct lterm *t = &nn_kit_map(p, 0)->term[0];
    cr_assert_eq(nn_kit_count(p, OP_map), 1);
    cr_assert_eq(p->consts.at[t->weight].type.dims[2], 5);
    cr_assert_eq(p->consts.at[t->weight].type.dims[3], 4);
}

Test(nn_fold, upsampling_goes_into_the_window)
{
    struct prog *p = folded("2x3x4", 2 * 12 * 8,
                            CONSTS "%0 = input\n%1 = upsample_nearest %0 factor=[2,1]\n"
                                   "%2 = upsample_nearest %1 factor=[2,2]\n%3 = conv2d %2" CONV
                                   "\n%4 = output %3\n");
    expect(p, 1, 1, 3);
    cr_assert_eq(nn_kit_map(p, 0)->term[0].up[0], 4);
    cr_assert_eq(nn_kit_map(p, 0)->term[0].up[1], 2);
}

Test(nn_fold, grouped_windows_take_scales_in)
{
    static const char *const weights[] = {
        "$4 = values dims=[4,1,1,1] data=[1,2,3,4]\n",          /* two outputs a channel */
        "$4 = values dims=[4,2,1,1] data=[1,2,3,4,5,6,7,8]\n",  /* groups of two */
        "$4 = values dims=[2,4,1,1] data=[1,2,3,4,5,6,7,8]\n",  /* one group */
        "$4 = values dims=[4,1,1,2] data=[1,2,3,4,5,6,7,8]\n"}; /* depthwise */
    static const uint32_t channels[] = {2, 4, 4, 4}, groups[] = {2, 2, 1, 4}, pad[] = {0, 0, 0, 1},
                          outs[] = {4, 4, 2, 4};
    for (int i = 0; i < 4; i++) {
        const char *coeff = channels[i] == 2
                                ? "$5 = values dims=[3,2] data=[0,0,0,0,1,-1]\n"
                                : "$5 = values dims=[3,4] data=[0,0,0,0,0,0,0,0,1,-1,2,-3]\n";
        struct prog *p = folded(
            arena_printf(arena, "%ux5x4", channels[i]), outs[i] * 20,
            arena_printf(arena,
                         CONSTS "%s%s%%0 = input\n%%1 = poly %%0 coeff=$5\n"
                                "%%2 = conv2d %%1 w=$4 stride=[1,1] pad=[0,0,%u,0] dilation=[1,1] "
                                "groups=%u wrap=zeros\n%%3 = output %%2\n",
                         weights[i], coeff, pad[i], groups[i]));
        cr_expect_eq(nn_kit_count(p, OP_map), 1, "case %d", i);
    }
}

Test(nn_fold, differences_of_maps_are_one_map)
{
    struct prog *p = folded("2x5x4", 40,
                            CONSTS "%0 = input\n%1 = conv2d %0" CONV "\n%2 = batch_norm %0" BN
                                   "\n%3 = sub %2, %1\n%4 = output %3\n");
    expect(p, 1, 1, 3);
}

/* The product is as deep as the sum: as a term of a map it would cost a level more. */
Test(nn_fold, deep_operands_stay_outside)
{
    struct prog *p = folded("2x5x4", 40,
                            CONSTS "%0 = input\n%1 = mul %0, %0\n%2 = conv2d %0" CONV
                                   "\n%3 = batch_norm %0" BN "\n"
                                   "%4 = add %1, %2, %3\n%5 = sub %4, %1\n%6 = output %5\n");
    cr_assert_eq(nn_kit_depth(p), 1);
    cr_assert_eq(nn_kit_count(p, OP_map), 1);
    cr_assert_eq(nn_kit_map(p, 0)->num_terms, 2);
}

/* Two readers of a convolution behind different scales, one of them on the longest path: it alone
 * gets a copy of the convolution. */
Test(nn_fold, maps_are_computed_twice_only_for_depth)
{
    struct prog *p = folded(
        "2x5x4", 40,
        CONSTS "$4 = values dims=[3,2] data=[0,0,0.2,0.3,0.4,0]\n" /* z (a z + b) */
               "%0 = input\n%1 = conv2d %0" CONV "\n%2 = poly %1 coeff=$4\n%3 = output %2\n");
    expect(p, 2, 2, 5);
    p = folded(
        "2x5x4", 40,
        CONSTS
        "$4 = values dims=[3,2] data=[0,0,0.2,0.3,0.4,0]\n"
        "%0 = input\n%1 = conv2d %0" CONV "\n%2 = poly %1 coeff=$4\n%3 = conv2d %0" CONV "\n"
        "%4 = mul %3, %3\n%5 = mul %4, %4\n%6 = mul %5, %5\n%7 = add %6, %2\n%8 = output %7\n");
    /* the long path is 4 deep in any case: z is one map for both, a z + b stays a scale of it */
    expect(p, 2, 4, 9);
}

Test(nn_fold, what_changes_nothing_vanishes)
{
    struct prog *p = folded(
        "2x5x4", 40,
        CONSTS "$4 = fill dims=[2,1,1,1] value=1\n"
               "%0 = input\n"
               "%1 = conv2d %0 w=$4 stride=[1,1] pad=[0,0,0,0] dilation=[1,1] groups=2 wrap=zeros\n"
               "%2 = add %1\n%3 = add_channel %2 bias=$3\n%4 = add_channel %3 bias=$2\n"
               "%5 = output %4\n");
    expect(p, 0, 0, 3);
}

Test(nn_fold, unused_constants_and_maps_are_dropped)
{
    struct prog *p = folded("2x5x4", 40,
                            CONSTS "%0 = input\n%1 = conv2d %0" CONV
                                   "\n%2 = add_channel %1 bias=$3\n%3 = output %2\n");
    cr_assert_eq(p->consts.len, 2);
    cr_assert_eq(p->num_maps, 1, "the reference shares it");
}
