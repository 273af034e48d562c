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
    cr_assert_leq(pkit_count(p, OP_rot), 28, "%u rotations", pkit_count(p, OP_rot));
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

/* ---- factors of the DFT --------------------------------------------------------------------- */

/* A vector of n reals through factors of the DFT. Lines use layout @0 and the maps &0 ... */
static struct prog *dft_program(struct arena *a, uint32_t n, const char *maps, const char *nodes)
{
    const char *text =
        arena_printf(a,
                     "weft-ir 1 stage=slot\nmodel \"dft\" hash=0000000000000001 input=1x1x%u "
                     "range=[-1,1] outputs=%u\nmean [0]\nstd [1]\n"
                     "@0 = layout 1x1x%u n=%u g=1,1 t=1,1 pitch=%u block=%u\n%s"
                     "%%0 = input part=0 layout=@0\n%s",
                     n, n, n, n, n, n, maps, nodes);
    struct prog *p = prog_parse(a, "dft", text, strlen(text));
    prog_verify(p, NULL);
    return p;
}

static const char *dft_map(struct arena *a, uint32_t k, uint32_t n, uint32_t first, uint32_t last,
                           int inverse)
{
    return arena_printf(a,
                        "&%u = map 1x1x%u @0\n  term 1x1x%u @0 dft first=%u last=%u inverse=%d\n",
                        k, n, n, first, last, inverse);
}

/* Complex values of every node; what the image holds and what raising gives are random numbers. */
struct vec {
    double *re, *im;
};

static struct vec vec_new(struct arena *a, uint32_t n, struct random *r)
{
    struct vec v = {arena_array(a, n, sizeof(double)), arena_array(a, n, sizeof(double))};
    for (uint32_t s = 0; r && s < n; s++) {
        v.re[s] = random_real(r, -1, 1);
        v.im[s] = random_real(r, -1, 1);
    }
    return v;
}

/* out[s] += p[s] x[s], complex */
static void add_product(struct vec out, const double *re, const double *im, struct vec x,
                        uint32_t n)
{
    for (uint32_t s = 0; s < n; s++) {
        out.re[s] += re[s] * x.re[s] - im[s] * x.im[s];
        out.im[s] += re[s] * x.im[s] + im[s] * x.re[s];
    }
}

static struct vec pmac_value(struct prog *p, const struct node *n, const struct vec *at)
{
    struct arena *a = p->arena;
    uint32_t slots = n->type.n;
    struct diagonals d = lmap_diagonals(p, (uint32_t)node_int(n, KEY_map), true, a);
    double *re = arena_array(a, (size_t)n->num_args * slots, sizeof *re);
    double *im = arena_array(a, (size_t)n->num_args * slots, sizeof *im);
    pmac_plaintexts_complex(p, n, &d, re, im);
    struct vec v = vec_new(a, slots, NULL);
    for (uint32_t k = 0; k < n->num_args; k++)
        add_product(v, re + (size_t)k * slots, im + (size_t)k * slots, at[n->args[k]], slots);
    return v;
}

static struct vec node_value(struct prog *p, const struct node *n, const struct vec *at)
{
    struct random r = random_from(5);
    uint32_t slots = n->type.n;
    if (n->op == OP_input || n->op == OP_mod_raise)
        return vec_new(p->arena, slots, &r);
    if (n->op == OP_pmac)
        return pmac_value(p, n, at);
    struct vec v = vec_new(p->arena, slots, NULL), x = at[n->args[0]];
    if (n->op == OP_lin) {
        memcpy(v.re, x.re, slots * sizeof *v.re);
        memcpy(v.im, x.im, slots * sizeof *v.im);
        dft_apply(&p->maps[node_int(n, KEY_map)].dft, slots, v.re, v.im);
        return v;
    }
    int64_t by = n->op == OP_rot ? node_int(n, KEY_by) : 0;
    for (uint32_t k = 0; k < n->num_args; k++) {
        uint32_t period = p->nodes.at[n->args[k]].type.n;
        for (uint32_t s = 0; s < slots; s++) {
            v.re[s] += at[n->args[k]].re[(s + by) & (period - 1)];
            v.im[s] += at[n->args[k]].im[(s + by) & (period - 1)];
        }
    }
    return v;
}

static struct vec value(struct prog *p)
{
    struct vec *at = arena_array(p->arena, p->nodes.len, sizeof *at);
    for (uint32_t i = 0; i + 1 < p->nodes.len; i++)
        at[i] = node_value(p, &p->nodes.at[i], at);
    return at[p->nodes.at[p->nodes.len - 1].args[0]];
}

static struct prog *planned_dft(struct prog *p, struct cost_ring ring, const int *level)
{
    uint32_t slots = p->nodes.at[p->nodes.len - 2].type.n;
    struct prog *q = slot_bsgs_at(p, ring, level);
    prog_verify(q, "slot_bsgs");
    struct vec want = value(p), got = value(q);
    for (uint32_t s = 0; s < slots; s++)
        cr_assert(hypot(want.re[s] - got.re[s], want.im[s] - got.im[s]) < 1e-11,
                  "slot %u is %g + %gi, not %g + %gi", s, got.re[s], got.im[s], want.re[s],
                  want.im[s]);
    return q;
}

static uint32_t products(const struct prog *p)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < p->nodes.len; i++)
        sum += p->nodes.at[i].op == OP_pmac ? p->nodes.at[i].num_args : 0;
    return sum;
}

/* There and back: stages 1..3 and 4..6, then their inverses, are the identity. The low stages have 15
 * diagonals that repeat with 8 slots, the high ones 8 that do not. */
Test(slot_bsgs, dft_factors)
{
    struct arena *a = arena_new();
    const char *maps =
        arena_printf(a, "%s%s%s%s", dft_map(a, 0, 64, 1, 3, 0), dft_map(a, 1, 64, 4, 6, 0),
                     dft_map(a, 2, 64, 4, 6, 1), dft_map(a, 3, 64, 1, 3, 1));
    struct prog *p = dft_program(a, 64, maps,
                                 "%1 = lin %0 map=&0 out=0 keep=25\n%2 = lin %1 map=&1 out=0\n"
                                 "%3 = lin %2 map=&2 out=0\n%4 = lin %3 map=&3 out=0\n"
                                 "%5 = output %4 layout=@0\n");
    const int level[] = {1, 1, 1, 1, 1, 1};
    struct prog *q = planned_dft(p, (struct cost_ring){13, 1, 1}, level);
    cr_assert_eq(products(q), 15 + 8 + 8 + 15, "%u products", products(q));
    for (uint32_t i = 0; i < q->nodes.len; i++) {
        const struct node *n = &q->nodes.at[i];
        if (n->op != OP_pmac)
            continue;
        int64_t map = node_int(n, KEY_map);
        cr_expect_eq(node_int(n, KEY_period), map % 3 ? 64 : 8);
        cr_expect_eq(node_int_or(n, KEY_keep, 0), map == 0 ? 25 : 0);
    }
}

/* SlotToCoeff of 2^14 slots at level 1 with three special primes: 255 diagonals are 16 x 16. */
Test(slot_bsgs, dft_at_a_given_level)
{
    struct arena *a = arena_new();
    struct prog *p = dft_program(a, 1u << 14, dft_map(a, 0, 1u << 14, 1, 7, 0),
                                 "%1 = lin %0 map=&0 out=0\n%2 = output %1 layout=@0\n");
    const int level[] = {1, 1, 1};
    struct prog *q = planned_dft(p, (struct cost_ring){15, 3, 3}, level);
    cr_assert_eq(products(q), 255, "%u products", products(q));
    uint32_t babies = 0, giants = pkit_count(q, OP_pmac);
    for (uint32_t i = 0; i < q->nodes.len; i++)
        babies += q->nodes.at[i].op == OP_rot && q->nodes.at[i].args[0] == 0;
    cr_assert(babies >= 15 && babies <= 64 && giants >= 4 && giants <= 17, "%u babies, %u giants",
              babies, giants);
}

static const char raising[] = "%1 = mod_raise %0 slots=16384 modulus=1\n";

/* A raised value is rotated without decomposition: many babies, at most one giant step. */
Test(slot_bsgs, raised)
{
    struct arena *a = arena_new();
    struct prog *p = dft_program(
        a, 1u << 14, dft_map(a, 0, 1u << 14, 10, 14, 1),
        arena_printf(a, "%s%%2 = lin %%1 map=&0 out=0\n%%3 = output %%2 layout=@0\n", raising));
    const int level[] = {1, 0, 15, 15};
    struct prog *q = planned_dft(p, (struct cost_ring){15, 3, 3}, level);
    uint32_t sums = pkit_count(q, OP_pmac), rotations = pkit_count(q, OP_rot);
    cr_assert(products(q) == 32 &&
                  ((sums == 1 && rotations == 31) || (sums == 2 && rotations == 16)),
              "%u sums, %u rotations", sums, rotations);
}

/* Where fewer values than slots are raised, babies of the trace are sums of rotations of the raised
 * value, and are divided once, over QP with the plaintexts. */
Test(slot_bsgs, babies_of_a_trace)
{
    struct arena *a = arena_new();
    struct prog *p =
        dft_program(a, 1u << 13, dft_map(a, 0, 1u << 13, 9, 13, 1),
                    arena_printf(a,
                                 "%s%%2 = rot %%1 by=8192\n%%3 = add %%1, %%2 : vec 8192\n"
                                 "%%4 = lin %%3 map=&0 out=0\n%%5 = output %%4 layout=@0\n",
                                 raising));
    const int level[] = {1, 0, 15, 15, 15, 15};
    struct prog *q = planned_dft(p, (struct cost_ring){15, 3, 3}, level);
    uint32_t sums = pkit_count(q, OP_pmac),
             raised = 1; /* rotations of the raised value: and itself */
    for (uint32_t i = 0; i < q->nodes.len; i++)
        raised += q->nodes.at[i].op == OP_rot && q->nodes.at[i].args[0] == 1;
    cr_assert_eq(raised, 64 / sums, "%u sums, %u rotations", sums, raised);
    q = pkit_run(q, "slot_clean", "ckks_hoist", &(struct opts){0});
    cr_assert_eq(pkit_count(q, OP_decompose), sums - 1);
    cr_assert_eq(pkit_count(q, OP_raised_mul), 64 / sums);
    cr_assert_eq(pkit_count(q, OP_mod_down), sums);
    for (uint32_t i = 0; i < q->nodes.len; i++)
        if (q->nodes.at[i].op == OP_pmac)
            cr_assert_eq(q->nodes.at[i].type.kind, KIND_CTX);
}
