/* SPDX-License-Identifier: Apache-2.0 */
#include "nn_kit.h"

#include "layout_search.h"

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
TestSuite(nn_layout, .init = setup, .fini = teardown);

#define CONV(x, w, stride, pad)                                                                    \
    "conv2d " x " w=" w " stride=[" stride "," stride "] pad=[" pad "," pad "," pad "," pad        \
    "] dilation=[1,1] groups=1 wrap=zeros\n"

static const char lenet[] =
    "$0 = fill dims=[8,1,5,5] value=0.1\n$1 = fill dims=[16,8,5,5] value=0.1\n"
    "$2 = fill dims=[64,256] value=0.1\n$3 = fill dims=[10,64] value=0.1\n"
    "%0 = input\n%1 = " CONV("%0", "$0", "2", "0") "%2 = mul %1, %1\n%3 = " CONV(
        "%2", "$1", "2", "0") "%4 = mul %3, %3\n%5 = flatten %4\n%6 = linear %5 w=$2\n%7 = mul %6, "
                              "%6\n%8 = linear %7 w=$3\n%9 = output %8\n";

static const struct layout *layout_of(const struct prog *p, uint32_t value)
{
    cr_assert_neq(p->nodes.at[value].type.layout, NONE);
    return &p->layouts[p->nodes.at[value].type.layout];
}

/* What the pass promises: every tensor and every map laid out, elementwise operators alike. */
static void check_laid_out(const struct prog *p)
{
    for (uint32_t i = 0; i < p->nodes.len; i++) {
        const struct node *n = &p->nodes.at[i];
        if (n->op == OP_output)
            continue;
        uint32_t own = n->type.layout;
        cr_assert_neq(own, NONE);
        if (n->op == OP_map) {
            const struct lmap *m = &p->maps[node_int(n, KEY_map)];
            cr_assert_eq(m->out_layout, own);
            for (uint32_t k = 0; k < n->num_args; k++)
                cr_assert_eq(m->term[k].in_layout, p->nodes.at[n->args[k]].type.layout);
            for (uint32_t k = 0; k < i; k++)
                cr_assert(p->nodes.at[k].op != OP_map ||
                          node_int(&p->nodes.at[k], KEY_map) != node_int(n, KEY_map));
        } else {
            for (uint32_t k = 0; k < n->num_args; k++)
                cr_assert_eq(p->nodes.at[n->args[k]].type.layout, own);
        }
    }
}

Test(nn_layout, a_small_network_is_one_ciphertext_a_tensor)
{
    struct prog *p =
        nn_kit_run(nn_kit(arena, "1x28x28", 10, lenet), "nn_linear,nn_poly,nn_fold,nn_layout");
    check_laid_out(p);
    cr_assert_eq(p->nodes.len, 9);
    for (uint32_t i = 0; i < 8; i++)
        cr_assert_eq(layout_of(p, i)->num_ct, 1);
    cr_assert_eq(layout_of(p, 0)->n, 1024, "the image, repeated");
    const struct layout *conv1 = layout_of(p, 1);
    cr_assert(conv1->t_h == 2 && conv1->t_w == 2 && conv1->pitch == 28 && conv1->n == 2048,
              "stride 2 keeps the pitch");
    cr_assert_eq(layout_of(p, 5)->n, 64, "a vector takes its own length");
    cr_assert_eq(layout_of(p, 7)->n, 16);
}

static char *text_of(const struct prog *p)
{
    struct str s;
    str_init(&s, arena);
    prog_print(p, &s);
    return s.s;
}

Test(nn_layout, the_same_every_time)
{
    const char *passes = "nn_linear,nn_poly,nn_fold,nn_layout";
    const char *x = text_of(nn_kit_run(nn_kit(arena, "1x28x28", 10, lenet), passes));
    const char *y = text_of(nn_kit_run(nn_kit(arena, "1x28x28", 10, lenet), passes));
    cr_assert_str_eq(x, y);
}

Test(nn_layout, a_residual_join_has_one_layout)
{
    struct prog *p =
        nn_kit(arena, "2x7x5", 2 * 35,
               "$0 = fill dims=[2,2,3,3] value=0.1\n"
               "%0 = input\n%1 = " CONV(
                   "%0", "$0", "1",
                   "1") "%2 = mul %1, %1\n%3 = mul %2, %2\n"
                        "%4 = " CONV("%3", "$0", "1",
                                     "1") "%5 = mul %4, %0\n%6 = add %5, %1\n%7 = output %6\n");
    check_laid_out(nn_kit_run(p, "nn_linear,nn_poly,nn_fold,nn_layout"));
}

static struct prog *with_log_n(uint32_t log_n, const char *input, uint32_t outputs,
                               const char *body)
{
    struct prog *p = nn_kit_run(nn_kit(arena, input, outputs, body), "nn_linear,nn_poly,nn_fold");
    struct opts o = {.log_n = log_n};
    struct prog *q = nn_layout(p, &o);
    prog_verify(q, "nn_layout");
    check_laid_out(q);
    double error = nn_kit_difference(p, nn_kit_run(q, "lower_nn_slot"));
    cr_assert_lt(error, 1e-12, "%g", error);
    return q;
}

/* 512 slots in a ring of 1024: channels and rows spread over ciphertexts. */
Test(nn_layout, a_small_ring_takes_several_ciphertexts)
{
    const char *body = "$0 = fill dims=[6,3,3,3] value=0.1\n%0 = input\n%1 = " CONV(
        "%0", "$0", "2", "1") "%2 = mul %1, %1\n%3 = output %2\n";
    struct prog *p = with_log_n(10, "3x20x20", 600, body);
    for (uint32_t i = 0; i < 3; i++)
        cr_assert_leq(layout_of(p, i)->n, 512);
    cr_assert_geq(layout_of(p, 0)->num_ct, 3);
}

Test(nn_layout, an_image_larger_than_a_ciphertext_is_interleaved)
{
    struct prog *p = with_log_n(10, "1x40x40", 400,
                                "$0 = fill dims=[1,1,3,3] value=0.1\n%0 = input\n%1 = " CONV(
                                    "%0", "$0", "2", "1") "%2 = output %1\n");
    cr_assert_geq(layout_of(p, 0)->g_h, 2);
    cr_assert_leq(layout_of(p, 0)->n, 512);
}

/* A stride that does not divide the width: 7 columns become 4 two slots apart, and need a pitch
 * of 8. */
Test(nn_layout, odd_widths_find_a_common_pitch)
{
    struct prog *p =
        with_log_n(0, "1x13x7", 4 * 4 * 2,
                   "$0 = fill dims=[4,1,3,3] value=0.1\n$1 = fill dims=[4,4,3,3] value=0.2\n"
                   "%0 = input\n%1 = " CONV("%0", "$0", "2", "1") "%2 = mul %1, %1\n%3 = " CONV(
                       "%2", "$1", "2", "1") "%4 = output %3\n");
    const struct layout *a = layout_of(p, 0), *b = layout_of(p, 1);
    cr_assert(a->pitch == 8 && b->pitch == 8, "%u %u", a->pitch, b->pitch);
}

/* ---- candidates ----------------------------------------------------------------------------- */

Test(nn_layout, candidates_are_valid_and_different)
{
    struct prog *p = nn_kit_run(nn_kit(arena, "1x28x28", 10, lenet), "nn_linear,nn_poly,nn_fold");
    struct classes s = find_classes(p, 8192, LAYOUT_SEARCH);
    cr_assert_eq(s.len, 5, "a map's result and its square are one class");
    for (uint32_t i = 0; i < s.len; i++) {
        const struct class *c = &s.at[i];
        cr_assert_gt(c->len, 1);
        for (uint32_t k = 0; k < c->len; k++) {
            const struct layout *l = &s.p->layouts[c->candidate[k]];
            cr_assert(l->c == c->dims[0] && l->h == c->dims[1] && l->w == c->dims[2] &&
                      l->n <= 8192);
            for (uint32_t j = 0; j < k; j++)
                cr_assert_neq(c->candidate[j], c->candidate[k]);
        }
    }
}

/* Lee et al.: the picture's pitch and block stay, a stride leaves gaps that other channels fill. */
Test(nn_layout, multiplexed_keeps_pitch_and_block)
{
    struct prog *p = nn_kit_run(
        nn_kit(arena, "3x32x32", 64 * 8 * 8,
               "$0 = fill dims=[16,3,3,3] value=0.1\n$1 = fill dims=[32,16,3,3] value=0.1\n"
               "$2 = fill dims=[64,32,3,3] value=0.1\n"
               "%0 = input\n%1 = " CONV("%0", "$0", "1", "1") "%2 = mul %1, %1\n%3 = " CONV(
                   "%2", "$1", "2", "1") "%4 = mul %3, %3\n%5 = " CONV("%4", "$2", "2",
                                                                       "1") "%6 = output %5\n"),
        "nn_linear,nn_poly,nn_fold");
    struct classes s = find_classes(p, 16384, LAYOUT_MULTIPLEXED);
    cr_assert_eq(s.len, 4);
    for (uint32_t i = 0; i < s.len; i++) {
        const struct layout *l = &s.p->layouts[s.at[i].candidate[0]];
        uint32_t gap = i < 2 ? 1 : i == 2 ? 2 : 4;
        cr_expect_eq(s.at[i].len, 1);
        cr_expect(l->pitch == 32 && l->block == 1024 && l->num_ct == 1, "%u: pitch %u block %u", i,
                  l->pitch, l->block);
        cr_expect(l->t_h == gap && l->t_w == gap && l->g_h == 1 && l->g_w == 1, "%u", i);
    }
    struct opts o = {.layout = LAYOUT_MULTIPLEXED};
    check_laid_out(nn_layout(p, &o));
}
