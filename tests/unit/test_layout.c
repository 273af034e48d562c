/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <criterion/criterion.h>
#include <string.h>

/* Slots of small layouts, written down by hand: which element (channel, row, column) lies where. */
Test(layout, plain)
{
    struct layout l = {.c = 2,
                       .h = 2,
                       .w = 3,
                       .n = 16,
                       .g_h = 1,
                       .g_w = 1,
                       .t_h = 1,
                       .t_w = 1,
                       .pitch = 3,
                       .block = 8};
    const char *why;
    cr_assert(layout_finish(&l, &why));
    cr_expect_eq(l.m, 1);
    cr_expect_eq(l.b, 2);
    cr_expect_eq(l.cpc, 2);
    cr_expect_eq(l.num_ct, 1);
    uint32_t ct, slot;
    layout_at(&l, 1, 1, 2, &ct, &slot);
    cr_expect_eq(ct, 0);
    cr_expect_eq(slot, 8 + 3 + 2);
}

Test(layout, interleaved_with_gaps)
{
    /* g = 2x1: even and odd rows in different ciphertexts; t = 1x2: two channels side by side */
    uint32_t perm[3] = {2, 0, 1};
    struct layout l = {.c = 3,
                       .h = 3,
                       .w = 2,
                       .n = 8,
                       .g_h = 2,
                       .g_w = 1,
                       .t_h = 1,
                       .t_w = 2,
                       .pitch = 4,
                       .block = 8,
                       .perm = perm};
    const char *why;
    cr_assert(layout_finish(&l, &why));
    cr_expect_eq(l.m, 2);
    cr_expect_eq(l.groups, 2);
    cr_expect_eq(l.num_ct, 4);
    static const uint32_t table[][5] = {
        /* c h w -> ct slot */
        {1, 0, 0, 0, 0}, {1, 0, 1, 0, 2}, {1, 2, 1, 0, 6}, {1, 1, 0, 1, 0},
        {2, 0, 0, 0, 1}, {2, 2, 1, 0, 7}, {0, 0, 0, 2, 0}, {0, 1, 1, 3, 2},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint32_t ct, slot;
        layout_at(&l, table[i][0], table[i][1], table[i][2], &ct, &slot);
        cr_expect_eq(ct, table[i][3], "row %zu", i);
        cr_expect_eq(slot, table[i][4], "row %zu", i);
    }
}

/* The channel is the fastest digit: one block, t_w = C. */
Test(layout, channel_fastest)
{
    struct layout l = {.c = 16,
                       .h = 32,
                       .w = 32,
                       .n = 16384,
                       .g_h = 1,
                       .g_w = 1,
                       .t_h = 1,
                       .t_w = 16,
                       .pitch = 512,
                       .block = 16384};
    const char *why;
    cr_assert(layout_finish(&l, &why));
    uint32_t ct, slot;
    layout_at(&l, 5, 7, 9, &ct, &slot);
    cr_expect_eq(slot, (7 * 32 + 9) * 16 + 5);
    cr_expect_eq(l.num_ct, 1);
}

Test(layout, stride)
{
    static const uint32_t table[][5] = {/* g t s -> g' t' */ {1, 1, 2, 1, 2},
                                        {2, 1, 2, 1, 1},
                                        {3, 1, 2, 3, 2},
                                        {4, 1, 2, 2, 1},
                                        {4, 3, 6, 2, 9},
                                        {1, 2, 1, 1, 2}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        uint32_t g, t;
        layout_stride(table[i][0], table[i][1], table[i][2], &g, &t);
        cr_expect(g == table[i][3] && t == table[i][4], "row %zu: %u %u", i, g, t);
    }
}

Test(layout, impossible_descriptors)
{
    static const uint32_t twice[2] = {1, 1};
    const struct layout good = {.c = 2,
                                .h = 2,
                                .w = 3,
                                .n = 16,
                                .g_h = 1,
                                .g_w = 1,
                                .t_h = 1,
                                .t_w = 1,
                                .pitch = 3,
                                .block = 8};
    struct layout l[14];
    for (int i = 0; i < 14; i++) {
        l[i] = good;
    }
    l[0].c = 0;
    l[1].h = MOST_PIXELS + 1;
    l[2].n = 24;
    l[3].n = 2 * MOST_SLOTS;
    l[4].g_h = 0;
    l[5].t_w = 0;
    l[6].t_h = UINT32_MAX;
    l[7].pitch = 2;
    l[8].pitch = UINT32_MAX;
    l[9].block = 4;
    l[10].block = 0;
    l[11].block = 32;
    l[12].perm = twice;
    l[13].g_h = l[13].g_w = MOST_PIXELS;
    for (int i = 0; i < 14; i++) {
        const char *why = "";
        cr_expect_not(layout_finish(&l[i], &why), "case %d", i);
        cr_expect_gt(strlen(why), 10, "case %d", i);
    }
    struct layout g = good;
    const char *why;
    cr_expect(layout_finish(&g, &why));
}

/* layout_inverse is the inverse, on every slot of random layouts; packing puts 0 everywhere else. */
Test(layout, inverse_and_packing)
{
    uint64_t rng = kit_seed();
    for (int trial = 0; trial < 200; trial++) {
        struct arena *a = arena_new();
        struct prog *p = prog_new(a, STAGE_NN);
        uint32_t dims[3] = {ir_pick(&rng, 1, 9), ir_pick(&rng, 1, 9), ir_pick(&rng, 1, 9)};
        uint32_t id = ir_random_layout(p, &rng, dims, 3, 3);
        const struct layout *l = &p->layouts[id];
        size_t len = (size_t)dims[0] * dims[1] * dims[2];
        double *x = arena_array(a, len, sizeof *x);
        double *back = arena_array(a, len, sizeof *x);
        for (size_t i = 0; i < len; i++) {
            x[i] = (double)(i + 1);
        }
        double *cts = arena_array(a, (size_t)l->num_ct * l->n, sizeof *cts);
        memset(cts, 0x5a, (size_t)l->num_ct * l->n * sizeof *cts);
        layout_pack(l, x, cts);
        layout_unpack(l, cts, back);
        cr_assert_eq(memcmp(x, back, len * sizeof *x), 0);
        size_t found = 0;
        for (uint32_t ct = 0; ct < l->num_ct; ct++) {
            for (uint32_t s = 0; s < l->n; s++) {
                uint32_t c, h, w;
                double v = cts[(size_t)ct * l->n + s];
                if (layout_inverse(l, ct, s, &c, &h, &w)) {
                    cr_assert_float_eq(v, x[(c * dims[1] + h) * dims[2] + w], 0);
                    found++;
                } else {
                    cr_assert_float_eq(v, 0, 0, "slot %u of ciphertext %u is not clean", s, ct);
                }
            }
        }
        cr_assert_eq(found, len);
        uint32_t c, h, w;
        cr_assert_not(layout_inverse(l, l->num_ct, 0, &c, &h, &w));
        cr_assert_not(layout_inverse(l, 0, l->n, &c, &h, &w));
        arena_free(a);
    }
}
