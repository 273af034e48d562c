/* SPDX-License-Identifier: Apache-2.0 */
#include "backends.h"
#include "passes.h"
#include "pass_kit.h"
#include "random_net.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

/*
 * One map between two layouts, planned. The nn passes are left out, so that the layouts are the
 * test's own: tensors of a channel a slot (fully connected) or of rows and columns.
 */
struct shape {
    uint32_t in[3], out[3];
    struct layout from, to;
    uint32_t weight[4];
    uint32_t stride;
    int32_t pad;
};

static uint32_t add_weight(struct build *b, struct random *r, const uint32_t dims[4], bool zero)
{
    int64_t shape[4];
    uint32_t count = 1;
    for (int k = 0; k < 4; k++) {
        shape[k] = dims[k];
        count *= dims[k];
    }
    double *v = arena_array(b->p->arena, count, sizeof *v);
    for (uint32_t k = 0; k < count; k++)
        v[k] = zero ? 0 : random_real(r, -1, 1);
    build_ints(b, KEY_dims, shape, 4);
    build_reals(b, KEY_data, v, count);
    return build_node(b, OP_values, NULL, 0);
}

static struct prog *one_map(struct arena *a, const struct shape *s, bool zero)
{
    struct prog *p = prog_new(a, STAGE_SLOT);
    struct random r = random_from(7);
    struct build b = build_at(p, NO_LOC, "layer");
    const char *why;
    struct layout from = s->from, to = s->to;
    from.c = s->in[0], from.h = s->in[1], from.w = s->in[2];
    to.c = s->out[0], to.h = s->out[1], to.w = s->out[2];
    cr_assert(layout_finish(&from, &why), "%s", why);
    cr_assert(layout_finish(&to, &why), "%s", why);
    uint32_t in = prog_add_layout(p, &from), out = prog_add_layout(p, &to);
    struct lterm t = {.in_layout = in,
                      .weight = add_weight(&b, &r, s->weight, zero),
                      .groups = 1,
                      .stride = {s->stride, s->stride},
                      .dilation = {1, 1},
                      .up = {1, 1},
                      .pad = {s->pad, s->pad, s->pad, s->pad}};
    struct lmap m = {.out_layout = out, .num_terms = 1, .term = &t};
    memcpy(t.in, s->in, sizeof t.in);
    memcpy(m.out, s->out, sizeof m.out);
    uint32_t map = prog_add_map(p, &m);
    memcpy(p->model.input, s->in, sizeof s->in);
    p->model.range[1] = 1;
    p->model.num_outputs = s->out[0] * s->out[1] * s->out[2];
    double *mean = arena_array(a, s->in[0], sizeof *mean),
           *std = arena_array(a, s->in[0], sizeof *std);
    for (uint32_t c = 0; c < s->in[0]; c++)
        std[c] = 1;
    p->model.mean = mean;
    p->model.std = std;

    uint32_t x[64], y[64];
    for (uint32_t k = 0; k < from.num_ct; k++) {
        build_int(&b, KEY_part, k);
        build_int(&b, KEY_layout, in);
        x[k] = build_node(&b, OP_input, NULL, 0);
    }
    for (uint32_t k = 0; k < to.num_ct; k++) {
        build_int(&b, KEY_map, map);
        build_int(&b, KEY_out, k);
        y[k] = build_node(&b, OP_lin, x, from.num_ct);
    }
    build_int(&b, KEY_layout, out);
    build_node(&b, OP_output, y, to.num_ct);
    prog_verify(p, NULL);
    return p;
}

/* Plans, verifies, and compares values with those of the lin nodes. */
static struct prog *planned(struct prog *p)
{
    struct arena *a = p->arena;
    double *image = random_image(a, p, 3);
    double *want = arena_array(a, p->model.num_outputs, sizeof *want);
    double *got = arena_array(a, p->model.num_outputs, sizeof *got);
    struct prog *q = pkit_run(p, "slot_bsgs", "slot_clean", &(struct opts){0});
    sim_run(p, NULL, image, want);
    sim_run(q, NULL, image, got);
    for (uint32_t i = 0; i < p->model.num_outputs; i++)
        cr_assert(fabs(want[i] - got[i]) < 1e-12, "element %u is %g, not %g", i, got[i], want[i]);
    cr_assert_eq(pkit_count(q, OP_lin), 0);
    return q;
}

#define FLAT(slots)                                                                                \
    {                                                                                              \
        .n = slots, .g_h = 1, .g_w = 1, .t_h = 1, .t_w = 1, .pitch = 1, .block = 1                 \
    }
#define IMAGE(slots, row, area)                                                                    \
    {                                                                                              \
        .n = slots, .g_h = 1, .g_w = 1, .t_h = 1, .t_w = 1, .pitch = row, .block = area            \
    }

/* 256 diagonals: babies and giants near the square root, not 255 rotations */
Test(slot_bsgs, fully_connected)
{
    struct shape s = {{256, 1, 1}, {256, 1, 1}, FLAT(256), FLAT(256), {256, 256, 1, 1}, 1, 0};
    struct prog *p = planned(one_map(arena_new(), &s, false));
    cr_assert_leq(pkit_count(p, OP_rot), 48, "%u rotations", pkit_count(p, OP_rot));
    cr_assert_geq(pkit_count(p, OP_rot), 30);
    cr_assert_gt(pkit_count(p, OP_pmac), 1);
}

/* 1024 inputs, 16 results: 16 diagonals and the sum of 64 copies, which has n of the result */
Test(slot_bsgs, sum_of_copies)
{
    struct shape s = {{1024, 1, 1}, {16, 1, 1}, FLAT(1024), FLAT(16), {16, 1024, 1, 1}, 1, 0};
    struct prog *p = planned(one_map(arena_new(), &s, false));
    uint32_t products = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        products += p->nodes.at[i].op == OP_pmac ? p->nodes.at[i].num_args : 0;
    cr_assert_eq(products, 16, "%u products", products);
    cr_assert_leq(pkit_count(p, OP_rot), 6 + 15, "%u rotations", pkit_count(p, OP_rot));
    const struct node *out = &p->nodes.at[p->nodes.len - 1];
    cr_assert_eq(p->nodes.at[out->args[0]].op, OP_add);
    cr_assert_eq(p->nodes.at[out->args[0]].type.n, 16);
}

/* 8 channels of 16x16 in one ciphertext: 9 taps times 8 blocks are 72 diagonals. Eight taps and seven
 * blocks are the fewest rotations; hoisted ones are cheap enough to take a few more. */
Test(slot_bsgs, convolution)
{
    struct shape s = {
        {8, 16, 16}, {8, 16, 16}, IMAGE(2048, 16, 256), IMAGE(2048, 16, 256), {8, 8, 3, 3}, 1, 1};
    struct prog *p = planned(one_map(arena_new(), &s, false));
    cr_assert_leq(pkit_count(p, OP_rot), 24, "%u rotations", pkit_count(p, OP_rot));
    cr_assert_geq(pkit_count(p, OP_rot), 8 + 7);
}

/* The rotations of an input serve all result ciphertexts. */
Test(slot_bsgs, babies_are_shared)
{
    struct shape one = {
        {1, 16, 16}, {1, 16, 16}, IMAGE(256, 16, 256), IMAGE(256, 16, 256), {1, 1, 3, 3}, 1, 1};
    struct shape four = {
        {1, 16, 16}, {4, 16, 16}, IMAGE(256, 16, 256), IMAGE(256, 16, 256), {4, 1, 3, 3}, 1, 1};
    struct prog *p = planned(one_map(arena_new(), &one, false));
    struct prog *q = planned(one_map(arena_new(), &four, false));
    cr_assert_leq(pkit_count(p, OP_rot), 8);
    cr_assert_eq(pkit_count(q, OP_rot), 8, "%u rotations for four results", pkit_count(q, OP_rot));
    cr_assert_eq(pkit_count(q, OP_pmac), 4);
}

/* Channels fastest: weights repeat with a row. */
Test(slot_bsgs, periods)
{
    struct shape s = {{4, 8, 8},
                      {4, 8, 8},
                      {.n = 256, .g_h = 1, .g_w = 1, .t_h = 1, .t_w = 4, .pitch = 32, .block = 256},
                      {.n = 256, .g_h = 1, .g_w = 1, .t_h = 1, .t_w = 4, .pitch = 32, .block = 256},
                      {4, 4, 1, 3},
                      1,
                      0};
    s.out[2] = 6; /* no padding: columns 0..5 */
    struct prog *p = planned(one_map(arena_new(), &s, false));
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].op == OP_pmac)
            cr_expect_eq(node_int(&p->nodes.at[i], KEY_period), 32, "%%%u", i);
}

/* Weights that are all zero: still a value, and it is zero. */
Test(slot_bsgs, zero_map)
{
    struct shape s = {{8, 4, 4}, {8, 4, 4}, IMAGE(128, 4, 16), IMAGE(128, 4, 16), {8, 8, 3, 3},
                      1,         1};
    struct prog *p = planned(one_map(arena_new(), &s, true));
    cr_assert_eq(pkit_count(p, OP_rot), 0);
    cr_assert_eq(pkit_count(p, OP_pmac), 1);
    for (uint32_t i = 0; i < p->nodes.len; i++)
        if (p->nodes.at[i].op == OP_pmac)
            cr_assert_eq(node_int(&p->nodes.at[i], KEY_period), 1);
    pkit_run(p, "lower_slot_ckks", "ckks_regs", &(struct opts){0});
}
