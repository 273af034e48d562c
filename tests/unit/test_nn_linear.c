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
TestSuite(nn_linear, .init = setup, .fini = teardown);

#define CONV " stride=[1,1] pad=[1,1,1,1] dilation=[1,1] wrap=zeros "

static struct prog *linear_of(const char *input, uint32_t outputs, const char *body)
{
    struct prog *p = nn_kit(arena, input, outputs, body), *q = nn_kit_run(p, "nn_linear");
    double error = nn_kit_difference(p, q);
    cr_assert_lt(error, 1e-12, "%g", error);
    return q;
}

static const uint32_t *weight_dims(const struct prog *p, const struct lterm *t)
{
    return p->consts.at[t->weight].type.dims;
}

/* Every operator alone is one map of one term. */
static const struct {
    const char *name, *text;
    uint32_t outputs;
} one_map[] = {
    {"conv2d",
     "$0 = fill dims=[4,1,3,2] value=0.3\n"
     "%0 = input\n%1 = conv2d %0 w=$0 stride=[2,1] pad=[1,0,2,1] dilation=[1,2] groups=2 "
     "wrap=spiral\n%2 = output %1\n",
     4 * 2 * 8},
    {"batch_norm",
     "$0 = values dims=[2] data=[0.5,-2]\n$1 = fill dims=[2] value=0.3\n"
     "%0 = input\n%1 = batch_norm %0 gamma=$0 beta=$1 mean=$0 var=$1 eps=0.001\n%2 = output %1\n",
     70},
    {"avg_pool",
     "%0 = input\n%1 = avg_pool %0 kernel=[2,3] stride=[2,2] pad=[1,0,1,1]\n%2 = output %1\n",
     2 * 3 * 4},
    {"global_avg_pool", "%0 = input\n%1 = global_avg_pool %0\n%2 = output %1\n", 2},
    {"upsample_nearest", "%0 = input\n%1 = upsample_nearest %0 factor=[2,3]\n%2 = output %1\n",
     2 * 10 * 21},
    {"linear",
     "$0 = fill dims=[3,70] value=0.01\n%0 = input\n%1 = flatten %0\n%2 = linear %1 w=$0\n%3 = "
     "output %2\n",
     3},
};

Test(nn_linear, every_operator_is_one_term)
{
    for (size_t i = 0; i < sizeof one_map / sizeof *one_map; i++) {
        struct prog *p = linear_of("2x5x7", one_map[i].outputs, one_map[i].text);
        cr_expect_eq(p->nodes.len, 3, "%s", one_map[i].name);
        cr_expect_eq(nn_kit_map(p, 0)->num_terms, 1, "%s", one_map[i].name);
    }
}

Test(nn_linear, flatten_vanishes_in_a_linear_layer)
{
    struct prog *p =
        linear_of("2x5x7", 3,
                  "$0 = values dims=[3] data=[0.1,0.2,0.3]\n$1 = fill dims=[3,70] value=0.05\n"
                  "%0 = input\n%1 = flatten %0\n%2 = poly %1 coeff=$0\n%3 = linear %2 w=$1\n%4 = "
                  "output %3\n");
    const struct lterm *t = &nn_kit_map(p, 0)->term[0];
    cr_assert_eq(nn_kit_count(p, OP_poly), 1);
    cr_assert_eq(weight_dims(p, t)[1], 2);
    cr_assert_eq(weight_dims(p, t)[2], 5);
    cr_assert_eq(weight_dims(p, t)[3], 7);
}

Test(nn_linear, flatten_is_dropped_at_the_output)
{
    struct prog *p = linear_of("2x5x7", 70, "%0 = input\n%1 = flatten %0\n%2 = output %1\n");
    cr_assert_eq(p->nodes.len, 2);
}

Test(nn_linear, constants_behind_a_flatten_need_the_flattened_tensor)
{
    struct prog *p =
        linear_of("2x2x3", 12,
                  "$0 = values dims=[12] data=[0,1,2,3,4,5,6,7,8,9,10,11]\n"
                  "%0 = input\n%1 = flatten %0\n%2 = add_channel %1 bias=$0\n%3 = output %2\n");
    cr_assert_eq(nn_kit_map(p, 0)->out[0], 12);
    cr_assert_eq(nn_kit_map(p, 0)->num_terms, 1);
}

Test(nn_linear, refuses_a_large_flattened_tensor, .exit_code = 1)
{
    diag_set_stream(NULL);
    linear_of("1x17x16", 272,
              "$0 = fill dims=[272] value=1\n%0 = input\n%1 = flatten %0\n%2 = add_channel %1 "
              "bias=$0\n%3 = output %2\n");
}

/* %2 has 2 + 3 + 2 channels */
#define CONCAT_CONSTS                                                                              \
    "$0 = fill dims=[3,2,1,1] value=0.5\n"                                                         \
    "$1 = values dims=[3] data=[0.1,-1,0.7]\n"
#define CONCAT_NODES                                                                               \
    "%0 = input\n"                                                                                 \
    "%1 = conv2d %0 w=$0 stride=[1,1] pad=[0,0,0,0] dilation=[1,1] groups=1 wrap=zeros\n"          \
    "%2 = concat %0, %1, %0\n"

Test(nn_linear, concat_becomes_terms_of_its_reader)
{
    struct prog *p = linear_of("2x5x7", 4 * 35,
                               CONCAT_CONSTS "$2 = fill dims=[4,7,3,3] value=0.1\n" CONCAT_NODES
                                             "%3 = poly %2 coeff=$1\n%4 = conv2d %3 w=$2" CONV
                                             "groups=1\n%5 = output %4\n");
    cr_assert_eq(nn_kit_count(p, OP_map), 2);
    cr_assert_eq(nn_kit_count(p, OP_poly), 2, "equal parts are one node");
    const struct lmap *m = nn_kit_map(p, 1);
    cr_assert_eq(m->num_terms, 3);
    cr_assert_eq(weight_dims(p, &m->term[0])[1], 2);
    cr_assert_eq(weight_dims(p, &m->term[1])[1], 3);
}

Test(nn_linear, per_channel_constants_are_sliced)
{
    linear_of(
        "2x5x7", 7 * 35,
        CONCAT_CONSTS
        "$2 = values dims=[7] data=[1,2,3,4,5,6,7]\n$3 = fill dims=[7] value=0.9\n"
        "$4 = values dims=[2,7] data=[1,2,3,4,5,6,7,0.1,0.2,0.3,0.4,0.5,0.6,0.7]\n" CONCAT_NODES
        "%3 = batch_norm %2 gamma=$2 beta=$2 mean=$2 var=$3 eps=0.1\n%4 = poly %3 coeff=$4\n"
        "%5 = add_channel %4 bias=$2\n%6 = output %5\n");
}

Test(nn_linear, groups_that_straddle_parts_are_cut)
{
    struct prog *p =
        linear_of("2x5x7", 14 * 35,
                  CONCAT_CONSTS "$2 = fill dims=[14,1,3,3] value=0.1\n" CONCAT_NODES
                                "%3 = conv2d %2 w=$2" CONV "groups=7\n%4 = output %3\n");
    cr_assert_eq(nn_kit_map(p, 1)->num_terms, 3);
    p = linear_of("2x5x7", 6 * 35,
                  CONCAT_CONSTS "$2 = values dims=[6,3,1,1] "
                                "data=[1,2,3,4,5,6,7,8,9,-1,-2,-3,-4,-5,-6,-7,-8,-9]\n" CONCAT_NODES
                                "%3 = concat %2, %0\n"
                                "%4 = conv2d %3 w=$2 stride=[1,1] pad=[0,0,0,0] dilation=[1,1] "
                                "groups=3 wrap=zeros\n%5 = output %4\n");
    /* parts 0-1, 2-4, 5-6, 7-8 and groups 0-2, 3-5, 6-8 meet in six places */
    cr_assert_eq(nn_kit_map(p, 1)->num_terms, 6);
}

Test(nn_linear, concat_is_one_tensor_where_it_must_be)
{
    struct prog *p = linear_of("2x5x7", 7 * 35, CONCAT_CONSTS CONCAT_NODES "%3 = output %2\n");
    const struct lmap *m = nn_kit_map(p, 1);
    cr_assert_eq(m->num_terms, 3);
    cr_assert_eq(m->term[1].out_from, 2);
    cr_assert_eq(m->term[2].out_from, 5);
}

Test(nn_linear, sums_of_equally_cut_tensors_stay_cut)
{
    struct prog *p =
        linear_of("2x5x7", 70 + 70,
                  "%0 = input\n%1 = mul %0, %0\n%2 = concat %0, %1\n%3 = concat %1, %0\n"
                  "%4 = sub %2, %3\n%5 = output %4\n");
    cr_assert_eq(nn_kit_count(p, OP_sub), 2);
    cr_assert_eq(nn_kit_count(p, OP_map), 1);
}

Test(nn_linear, the_reference_is_set_once)
{
    struct prog *p = linear_of("2x5x7", 2, "%0 = input\n%1 = global_avg_pool %0\n%2 = output %1\n");
    cr_assert_eq(p->reference.len, 3);
    struct prog *q = nn_kit_run(nn_kit_run(p, "nn_poly,nn_fold"), "nn_linear");
    cr_assert_eq(q->reference.len, 3);
    q = nn_kit_run(q, "nn_layout");
    const struct node *n = &q->reference.at[1];
    cr_assert_eq(q->maps[node_int(n, KEY_map)].out_layout, NONE);
}
