/* SPDX-License-Identifier: Apache-2.0 */
#include "nn_kit.h"

#include <criterion/criterion.h>

static struct arena *arena;
static void setup(void)
{
    arena = arena_new();
}
static void teardown(void)
{
    arena_free(arena);
}
TestSuite(cse, .init = setup, .fini = teardown);

Test(cse, equal_nodes_become_the_first_and_unused_ones_go)
{
    struct prog *p =
        nn_kit(arena, "2x3x3", 18,
               "$0 = values dims=[2] data=[1,2]\n$1 = values dims=[2] data=[1,2.5]\n"
               "%0 = input\n%1 = add_channel %0 bias=$0\n%2 = add_channel %0 bias=$1\n"
               "%3 = mul %1, %0\n%4 = add_channel %0 bias=$0\n%5 = mul %4, %0\n%6 = mul %0, %4\n"
               "%7 = add %3, %5, %6\n%8 = output %7\n");
    struct prog *q = prog_clean(p);
    prog_verify(q, "prog_clean");
    /* %2 is unused, %4 is %1, so %5 is %3; %6 has its operands the other way round */
    cr_assert_eq(q->nodes.len, 6);
    cr_assert_eq(q->nodes.at[4].args[0], q->nodes.at[4].args[1]);
    cr_assert_neq(q->nodes.at[4].args[0], q->nodes.at[4].args[2]);
    cr_assert_lt(nn_kit_difference(p, q), 1e-15);
    cr_assert_eq(prog_clean(q)->nodes.len, q->nodes.len);
}

/* Attributes of every kind tell nodes apart: rotations, lists, reals. */
Test(cse, attributes_count)
{
    struct prog *p = prog_new(arena, STAGE_SLOT);
    struct layout l = {.c = 1,
                       .h = 1,
                       .w = 8,
                       .n = 8,
                       .g_h = 1,
                       .g_w = 1,
                       .t_h = 1,
                       .t_w = 1,
                       .pitch = 8,
                       .block = 8};
    uint32_t id = prog_add_layout(p, &l), args[4];
    struct build b = build_at(p, NO_LOC, "");
    build_int(&b, KEY_part, 0);
    build_int(&b, KEY_layout, id);
    uint32_t x = build_node(&b, OP_input, NULL, 0);
    for (int i = 0; i < 4; i++) {
        build_int(&b, KEY_by, 1 + i / 2);
        args[i] = build1(&b, OP_rot, x);
    }
    uint32_t sum = build_node(&b, OP_add, args, 4);
    build_int(&b, KEY_layout, id);
    build1(&b, OP_output, sum);
    struct prog *q = prog_clean(p);
    cr_assert_eq(nn_kit_count(q, OP_rot), 2);
}

Test(cse, tables_are_compacted)
{
    struct prog *p =
        nn_kit(arena, "2x3x3", 18,
               "$0 = values dims=[2] data=[7,7]\n$1 = values dims=[2,1,1,1] data=[1,2]\n"
               "$2 = c_affine $1 mul=2 add=0\n$3 = values dims=[2] data=[3,4]\n"
               "@0 = layout 2x3x3 n=32 g=1,1 t=1,1 pitch=3 block=16\n"
               "&0 = map 2x3x3\n"
               "  term 2x3x3 weight=$1 to=0 from=0 groups=2 stride=[1,1] dilation=[1,1] up=[1,1] "
               "pad=[0,0,0,0] wrap=zeros\n"
               "&1 = map 2x3x3\n"
               "  term 2x3x3 weight=$2 to=0 from=0 groups=2 stride=[1,1] dilation=[1,1] up=[1,1] "
               "pad=[0,0,0,0] wrap=zeros\n"
               "&2 = map 2x3x3\n"
               "  term 2x3x3 weight=$2 to=0 from=0 groups=2 stride=[1,1] dilation=[1,1] up=[1,1] "
               "pad=[0,0,0,0] wrap=zeros\n"
               "%0 = input\n%1 = map %0 map=&1 bias=$3\n%2 = map %1 map=&2\n%3 = output %2\n");
    struct prog *q = prog_compact(p);
    prog_verify(q, "prog_compact");
    cr_assert_eq(q->consts.len, 3, "$0 is not used, $1 is an operand of $2");
    cr_assert_eq(q->num_layouts, 0);
    cr_assert_eq(q->num_maps, 1, "&1 and &2 are equal");
    cr_assert_lt(nn_kit_difference(p, q), 1e-15);
}
