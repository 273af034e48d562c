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
TestSuite(nn_poly, .init = setup, .fini = teardown);

/* conv - poly - conv, both with zero padding: what the poly leaves in front and behind must fold
 * into them */
static struct prog *between_convs(const char *coeff)
{
    return nn_kit(
        arena, "2x4x5", 2 * 20,
        arena_printf(arena,
                     "$0 = values dims=[2,2,2,2] "
                     "data=[0.3,0.1,-0.2,0.4,0.5,-0.1,0.2,0.3,0.1,0.2,-0.4,0.1,0.3,0.3,0.2,-0.5]\n"
                     "$1 = values dims=[2] data=[0.2,-0.3]\n"
                     "$2 = values %s\n"
                     "%%0 = input\n"
                     "%%1 = conv2d %%0 w=$0 stride=[1,1] pad=[1,0,0,1] dilation=[1,1] groups=1 "
                     "wrap=zeros bias=$1\n"
                     "%%2 = poly %%1 coeff=$2\n"
                     "%%3 = conv2d %%2 w=$0 stride=[1,1] pad=[1,0,0,1] dilation=[1,1] groups=1 "
                     "wrap=zeros bias=$1\n"
                     "%%4 = output %%3\n",
                     coeff));
}

/* levels: of the poly alone, everything else folded; maps: after nn_fold, the two convs included */
static const struct {
    const char *coeff;
    uint32_t levels, products, maps;
} cases[] = {
    {"dims=[2] data=[0.5,2]", 0, 0, 2}, /* affine: into the first conv */
    {"dims=[3] data=[0,0,1]", 1, 1, 2}, /* a square is a product */
    {"dims=[3] data=[0.1,0.5,0.2]", 1, 1, 2},
    {"dims=[3] data=[0.1,0.5,-0.2]", 1, 1, 2},               /* sign in the second conv */
    {"dims=[3,2] data=[0.1,0.2,0.5,0.3,-0.2,0.4]", 1, 1, 2}, /* mixed signs */
    {"dims=[3,2] data=[0.1,0.2,0.5,0.3,0,0.4]", 1, 1,
     3}, /* no lead in one channel: z (a z + b) + c */
    {"dims=[3,2] data=[0.1,0.2,0.5,0.3,1e-9,0.4]", 1, 1, 3}, /* a negligible one */
    {"dims=[3,2] data=[0.1,0.2,0,0,0,0.4]", 1, 1, 3},        /* one channel is constant */
    {"dims=[3] data=[0,50,1]", 1, 1, 2},
    {"dims=[3] data=[0,70,1]", 1, 1, 3},              /* beyond MAX_RATIO */
    {"dims=[4] data=[0.1,0.2,0.3,0.4]", 2, 2, 4},     /* w (c3 u + c2) + c1 u + c0 */
    {"dims=[5] data=[0.1,0.5,0.3,0,-0.02]", 2, 2, 3}, /* B.3: one map for the linear term */
    {"dims=[5] data=[0.1,0.5,0.3,0,0.02]", 2, 2, 3},
    {"dims=[5] data=[0.1,0,0.3,0,-0.02]", 2, 2, 2}, /* even: none */
    {"dims=[5,2] data=[0.1,0,0.5,0.1,0.3,0.2,0,0,-0.02,0.03]", 2, 2, 3},
    {"dims=[5] data=[0.1,0.5,0.3,0.1,-0.02]", 2, 2, 4},
    {"dims=[5,2] data=[0.1,0,0.5,0.1,0.3,0.2,0,0,0,0.03]", 2, 3,
     4}, /* a zero lead: one more product, no level */
    {"dims=[6] data=[0.1,0.2,0.3,0.1,0.1,0.05]", 3, 4, 5},
    {"dims=[7] data=[0.1,0.2,0.3,0.1,0.1,0.05,0.02]", 3, 4, 5},
    {"dims=[8] data=[0.1,0.2,0.3,0.1,0.1,0.05,0.02,0.02]", 3, 5, 6},
    {"dims=[9] data=[0.1,0.2,0.3,0.1,0.1,0.05,0.02,0.02,0.01]", 3, 5, 6},
    {"dims=[9] data=[0.1,0.2,0.3,0.1,0.1,0.05,0.02,0.02,-0.01]", 3, 5, 6},
    {"dims=[9] data=[0,0,0,0,0,0,0,0,1]", 3, 3, 2},
};

Test(nn_poly, levels_products_and_maps)
{
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct prog *p = between_convs(cases[i].coeff), *q = nn_kit_run(p, "nn_linear,nn_poly");
        cr_expect_eq(nn_kit_count(q, OP_poly), 0);
        double error = nn_kit_difference(p, q);
        cr_expect_lt(error, 1e-12, "%s: %g", cases[i].coeff, error);
        q = nn_kit_run(q, "nn_fold");
        error = nn_kit_difference(p, q);
        cr_expect_lt(error, 1e-12, "%s, folded: %g", cases[i].coeff, error);
        cr_expect_eq(nn_kit_depth(q), 2 + cases[i].levels, "%s: depth %u", cases[i].coeff,
                     nn_kit_depth(q));
        cr_expect_eq(nn_kit_count(q, OP_mul), cases[i].products, "%s: %u products", cases[i].coeff,
                     nn_kit_count(q, OP_mul));
        cr_expect_eq(nn_kit_count(q, OP_map), cases[i].maps, "%s: %u maps", cases[i].coeff,
                     nn_kit_count(q, OP_map));
    }
}

/* All coefficients but the constant zero: the value does not depend on the input, and has no
 * weight. */
Test(nn_poly, a_constant)
{
    struct prog *p = between_convs("dims=[3] data=[0.7,0,0]"),
                *q = nn_kit_run(p, "nn_linear,nn_poly");
    cr_assert_lt(nn_kit_difference(p, q), 1e-12);
    cr_assert_eq(nn_kit_count(q, OP_mul), 0);
}

Test(nn_poly, coefficients_from_a_tensor_stay_symbolic)
{
    /* c_affine stands for anything that is not inline */
    struct prog *p =
        nn_kit(arena, "2x4x5", 40,
               "$0 = values dims=[3] data=[0.1,0.5,0.2]\n$1 = c_affine $0 mul=2 add=0.1\n"
               "%0 = input\n%1 = poly %0 coeff=$1\n%2 = output %1\n");
    struct prog *q = nn_kit_run(p, "nn_linear,nn_poly");
    cr_assert_lt(nn_kit_difference(p, q), 1e-12);
    bool sliced = false;
    for (uint32_t i = 0; i < q->consts.len; i++)
        sliced = sliced || q->consts.at[i].op == OP_c_slice;
    cr_assert(sliced);
}

Test(nn_poly, refuses_degree_nine, .exit_code = 1)
{
    diag_set_stream(NULL);
    nn_kit_run(between_convs("dims=[10] data=[1,1,1,1,1,1,1,1,1,1]"), "nn_linear,nn_poly");
}
