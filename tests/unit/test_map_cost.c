/* SPDX-License-Identifier: Apache-2.0 */
#include "map_cost.h"

#include "nn_kit.h"

#include <criterion/criterion.h>
#include <math.h>

/* The counts of diagonals and key switches that the layouts are chosen for. */

struct side {
    uint32_t dims[3], n, t[2], pitch, block;
};

struct window {
    uint32_t kernel, stride, pad;
};

static struct map_shape shape_of(struct arena *a, struct side in, struct side out, struct window w)
{
    struct prog *p = prog_new(a, STAGE_NN);
    struct build b = build_at(p, NO_LOC, "");
    build_ints(&b, KEY_dims, (int64_t[]){out.dims[0], in.dims[0], w.kernel, w.kernel}, 4);
    build_real(&b, KEY_value, 1);
    uint32_t weight = build_node(&b, OP_fill, NULL, 0), id[2];
    struct side side[2] = {in, out};
    for (int i = 0; i < 2; i++) {
        const struct side *s = &side[i];
        struct layout l = {.c = s->dims[0],
                           .h = s->dims[1],
                           .w = s->dims[2],
                           .n = s->n,
                           .g_h = 1,
                           .g_w = 1,
                           .t_h = s->t[0],
                           .t_w = s->t[1],
                           .pitch = s->pitch,
                           .block = s->block};
        id[i] = prog_add_layout(p, &l);
    }
    int32_t pad = (int32_t)w.pad;
    struct lterm t = {.in_layout = id[0],
                      .in = {in.dims[0], in.dims[1], in.dims[2]},
                      .weight = weight,
                      .groups = 1,
                      .stride = {w.stride, w.stride},
                      .dilation = {1, 1},
                      .up = {1, 1},
                      .pad = {pad, pad, pad, pad}};
    struct lmap m = {.out = {out.dims[0], out.dims[1], out.dims[2]},
                     .out_layout = id[1],
                     .num_terms = 1,
                     .term = &t};
    return map_shape(p, prog_add_map(p, &m), a);
}

static const struct {
    const char *name;
    struct side in, out;
    struct window w;
    uint32_t diagonals, key_switches; /* at most that many babies + giants */
} cases[] = {
    /* ResNet-20, raster and multiplexed: the counts of the packing literature */
    {"3->16",
     {{3, 32, 32}, 4096, {1, 1}, 32, 1024},
     {{16, 32, 32}, 16384, {1, 1}, 32, 1024},
     {3, 1, 1},
     36,
     20},
    {"16->16",
     {{16, 32, 32}, 16384, {1, 1}, 32, 1024},
     {{16, 32, 32}, 16384, {1, 1}, 32, 1024},
     {3, 1, 1},
     144,
     39},
    {"16->32 s2",
     {{16, 32, 32}, 16384, {1, 1}, 32, 1024},
     {{32, 16, 16}, 8192, {2, 2}, 32, 1024},
     {3, 2, 1},
     128,
     36},
    {"32->32",
     {{32, 16, 16}, 8192, {2, 2}, 32, 1024},
     {{32, 16, 16}, 8192, {2, 2}, 32, 1024},
     {3, 1, 1},
     392,
     62},
    {"64->64",
     {{64, 8, 8}, 4096, {4, 4}, 32, 1024},
     {{64, 8, 8}, 4096, {4, 4}, 32, 1024},
     {3, 1, 1},
     900,
     64},
    /* channel-fastest: K ((K+1) C - 1) offsets */
    {"16->16 channels fastest",
     {{16, 32, 32}, 16384, {1, 16}, 512, 16384},
     {{16, 32, 32}, 16384, {1, 16}, 512, 16384},
     {3, 1, 1},
     189,
     46},
    /* a classifier: as many diagonals as result slots, then a sum over copies */
    {"256->10", {{256, 1, 1}, 256, {1, 1}, 1, 1}, {{10, 1, 1}, 16, {1, 1}, 1, 1}, {1, 1, 0}, 16, 6},
};

Test(map_cost, counts_of_known_layers)
{
    struct arena *a = arena_new();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct map_shape s = shape_of(a, cases[i].in, cases[i].out, cases[i].w);
        uint32_t least = UINT32_MAX;
        for (uint32_t k = 0; k < s.len; k++)
            if (s.split[k].babies + s.split[k].giants < least)
                least = s.split[k].babies + s.split[k].giants;
        cr_expect_eq(s.diagonals, cases[i].diagonals, "%s: %u diagonals", cases[i].name,
                     s.diagonals);
        cr_expect_leq(least, cases[i].key_switches, "%s: %u key switches", cases[i].name, least);
    }
    arena_free(a);
}

Test(map_cost, only_splits_that_pay_are_kept)
{
    struct arena *a = arena_new();
    struct map_shape s = shape_of(a, cases[3].in, cases[3].out, cases[3].w);
    for (uint32_t i = 0; i < s.len; i++)
        for (uint32_t k = 0; k < s.len; k++)
            cr_assert(i == k || s.split[i].babies < s.split[k].babies ||
                      s.split[i].giants < s.split[k].giants);
    arena_free(a);
}

/* A change of pitch on a large map is priced without being enumerated, and prohibitively. */
Test(map_cost, mismatched_pitches_cost_most)
{
    struct arena *a = arena_new();
    struct cost_ring ring = {14, 2, 2};
    struct side raster = cases[1].in, wide = raster;
    wide.t[1] = 16;
    wide.pitch = 512;
    wide.block = 16384;
    struct map_shape other = shape_of(a, raster, wide, cases[1].w),
                     same = shape_of(a, raster, raster, cases[1].w);
    cr_assert_gt(other.rects, 0);
    cr_assert_gt(map_cost(&other, ring, 3).ns, 10 * map_cost(&same, ring, 3).ns);
    arena_free(a);
}

Test(map_cost, grows_with_the_level)
{
    struct arena *a = arena_new();
    struct map_shape s = shape_of(a, cases[1].in, cases[1].out, cases[1].w);
    double last = 0;
    for (int level = 0; level < 10; level++) {
        double ns = map_cost(&s, (struct cost_ring){15, 2, 2}, level).ns;
        cr_assert_gt(ns, last);
        last = ns;
    }
    arena_free(a);
}
