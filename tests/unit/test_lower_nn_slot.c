/* SPDX-License-Identifier: Apache-2.0 */
#include "nn_kit.h"

#include <criterion/criterion.h>

/* Layouts by hand, two ciphertexts a tensor on one side: the counts of nodes and their order. */
static const char laid_out[] = "$0 = values dims=[2,2,1,1] data=[1,2,3,4]\n"
                               "$1 = values dims=[2] data=[0.5,-1]\n"
                               "@0 = layout 2x3x3 n=16 g=1,1 t=1,1 pitch=3 block=16\n"
                               "@1 = layout 2x3x3 n=32 g=1,1 t=1,1 pitch=4 block=16\n"
                               "&0 = map 2x3x3 @1\n"
                               "  term 2x3x3 @0 weight=$0 to=0 from=0 groups=1 stride=[1,1] "
                               "dilation=[1,1] up=[1,1] pad=[0,0,0,0] wrap=zeros\n"
                               "&1 = map 2x3x3 @0\n"
                               "  term 2x3x3 @1 weight=$0 to=0 from=0 groups=1 stride=[1,1] "
                               "dilation=[1,1] up=[1,1] pad=[0,0,0,0] wrap=zeros\n"
                               "  term 2x3x3 @0 weight=$0 to=0 from=0 groups=1 stride=[1,1] "
                               "dilation=[1,1] up=[1,1] pad=[0,0,0,0] wrap=zeros\n"
                               "%0 = input : tensor 2x3x3 @0\n"
                               "%1 = map %0 map=&0 bias=$1 : tensor 2x3x3 @1\n"
                               "%2 = mul %1, %1 : tensor 2x3x3 @1\n"
                               "%3 = add_channel %2 bias=$1 : tensor 2x3x3 @1\n"
                               "%4 = map %3, %0 map=&1 : tensor 2x3x3 @0\n"
                               "%5 = sub %4, %0 : tensor 2x3x3 @0\n"
                               "%6 = output %5\n";

Test(lower_nn_slot, one_vector_a_ciphertext)
{
    struct arena *a = arena_new();
    struct prog *p = nn_kit(a, "2x3x3", 18, laid_out), *q = nn_kit_run(p, "lower_nn_slot");
    cr_assert_eq(q->stage, STAGE_SLOT);
    cr_assert_eq(nn_kit_count(q, OP_input), 2);
    cr_assert_eq(nn_kit_count(q, OP_lin), 3);
    cr_assert_eq(nn_kit_count(q, OP_padd), 2);
    cr_assert_eq(nn_kit_count(q, OP_mul), 1);
    cr_assert_eq(nn_kit_count(q, OP_sub), 2);
    double error = nn_kit_difference(p, q);
    cr_assert_lt(error, 1e-13, "%g", error);
    for (uint32_t i = 0; i < q->nodes.len; i++) {
        const struct node *n = &q->nodes.at[i];
        if (n->op == OP_lin && node_int(n, KEY_map) == 1)
            cr_assert_eq(n->num_args, 3, "one ciphertext of %%3, two of %%0");
        if (n->op == OP_output)
            cr_assert_eq(n->num_args, 2);
    }
    arena_free(a);
}
