/* SPDX-License-Identifier: Apache-2.0 */
/* The cleartext functions against the compiler's own definition and against sums done by hand; the
 * packing of both sides, which are written twice, must be one. */
#include "core/core.h"
#include "ir.h"
#include "rt_clear.h"
#include "rt_kit.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static uint32_t pick(uint64_t *rng, uint32_t low, uint32_t high)
{
    return low + (uint32_t)(kit_random(rng) % (high - low + 1));
}

/* A random window that is not empty. */
static bool random_term(uint64_t *rng, struct rt_clear_term *t, struct lterm *l)
{
    memset(t, 0, sizeof *t);
    memset(l, 0, sizeof *l);
    t->groups = pick(rng, 1, 3);
    t->weight_dims[0] = t->groups * pick(rng, 1, 3);
    t->weight_dims[1] = pick(rng, 1, 3);
    t->weight_dims[2] = pick(rng, 1, 4);
    t->weight_dims[3] = pick(rng, 1, 4);
    t->in_from = pick(rng, 0, 2);
    t->out_from = pick(rng, 0, 2);
    t->in[0] = t->in_from + t->groups * t->weight_dims[1] + pick(rng, 0, 1);
    t->in[1] = pick(rng, 1, 7);
    t->in[2] = pick(rng, 1, 7);
    t->out[0] = t->out_from + t->weight_dims[0] + pick(rng, 0, 1);
    t->wrap = (int)pick(rng, 0, 2);
    for (int i = 0; i < 2; i++) {
        t->stride[i] = pick(rng, 1, 3);
        t->dilation[i] = pick(rng, 1, 2);
        t->up[i] = pick(rng, 1, 2);
        t->pad[2 * i] = (int32_t)pick(rng, 0, 3);
        t->pad[2 * i + 1] = (int32_t)pick(rng, 0, 3);
        t->out[1 + i] = window_size(t->in[1 + i] * t->up[i], t->weight_dims[2 + i], t->stride[i],
                                    t->pad[2 * i], t->pad[2 * i + 1], t->dilation[i]);
    }
    l->out_from = t->out_from;
    l->in_from = t->in_from;
    l->groups = t->groups;
    l->wrap = (enum wrap)t->wrap;
    memcpy(l->in, t->in, sizeof l->in);
    memcpy(l->stride, t->stride, sizeof l->stride);
    memcpy(l->dilation, t->dilation, sizeof l->dilation);
    memcpy(l->up, t->up, sizeof l->up);
    memcpy(l->pad, t->pad, sizeof l->pad);
    return t->out[1] != 0 && t->out[2] != 0;
}

Test(clear, map_is_the_compilers)
{
    uint64_t rng = kit_seed();
    unsigned done = 0;
    for (int trial = 0; trial < 400; trial++) {
        struct rt_clear_term t;
        struct lterm l;
        if (!random_term(&rng, &t, &l)) {
            continue;
        }
        struct prog *p = prog_new(arena_new(), STAGE_NN);
        struct build b = build_at(p, NO_LOC, "");
        const uint32_t *d = t.weight_dims;
        uint32_t len = d[0] * d[1] * d[2] * d[3];
        double *values = arena_array(p->arena, len + 3, sizeof *values);
        for (uint32_t i = 0; i < len + 3; i++) {
            values[i] = kit_uniform(&rng, -1, 1);
        }
        t.weight = 3;
        build_ints(&b, KEY_dims, (const int64_t[]){d[0], d[1], d[2], d[3]}, 4);
        build_reals(&b, KEY_data, values + 3, len);
        l.weight = build_node(&b, OP_values, NULL, 0);
        struct lmap m = {{t.out[0], t.out[1], t.out[2]}, NONE, 1, &l, {0, 0, false}};
        size_t in = (size_t)t.in[0] * t.in[1] * t.in[2];
        size_t out = (size_t)t.out[0] * t.out[1] * t.out[2];
        double *x = arena_array(p->arena, in, sizeof *x);
        double *y = arena_array(p->arena, out, sizeof *y);
        double *z = arena_array(p->arena, out, sizeof *z);
        for (size_t i = 0; i < in; i++) {
            x[i] = kit_uniform(&rng, -1, 1);
        }
        for (size_t i = 0; i < out; i++) {
            y[i] = z[i] = kit_uniform(&rng, -1, 1); /* both add */
        }
        lmap_apply(p, &m, 0, x, y);
        rt_clear_map(values, &t, x, z);
        for (size_t i = 0; i < out; i++) {
            cr_assert_lt(fabs(y[i] - z[i]), 1e-12, "trial %d element %zu", trial, i);
        }
        arena_free(p->arena);
        done++;
    }
    cr_assert_gt(done, 200);
}

/* 1x3 window [1 10 100] on 1 2 3 4, one column of padding on both sides, every border. */
Test(clear, map_by_hand)
{
    static const double values[] = {1, 10, 100};
    static const double x[] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const struct {
        int wrap;
        double want[8];
    } cases[] = {{0, {210, 321, 432, 43, 650, 765, 876, 87}},
                 {1, {214, 321, 432, 143, 658, 765, 876, 587}},
                 {2, {218, 321, 432, 543, 654, 765, 876, 187}}};
    for (size_t i = 0; i < 3; i++) {
        const struct rt_clear_term t = {.in = {1, 2, 4},
                                        .out = {1, 2, 4},
                                        .weight_dims = {1, 1, 1, 3},
                                        .groups = 1,
                                        .stride = {1, 1},
                                        .dilation = {1, 1},
                                        .up = {1, 1},
                                        .pad = {0, 0, 1, 1},
                                        .wrap = cases[i].wrap};
        double y[8] = {0};
        rt_clear_map(values, &t, x, y);
        for (int k = 0; k < 8; k++) {
            cr_assert_eq(y[k], cases[i].want[k], "wrap %zu at %d: %g", i, k, y[k]);
        }
    }
}

Test(clear, bias_poly_and_sums)
{
    static const double values[] = {9, 1, 2, 3, 10, 20, 30};
    double y[4] = {1, 1, 1, 1};
    rt_clear_bias(values, 1, 2, 2, y);
    cr_assert(y[0] == 2 && y[1] == 2 && y[2] == 3 && y[3] == 3);
    static const double x[4] = {0, 1, 2, -1};
    rt_clear_poly(values, 1, 2, false, 2, 2, x, y); /* 1 + 2x + 3x^2 */
    cr_assert(y[0] == 1 && y[1] == 6 && y[2] == 17 && y[3] == 2);
    rt_clear_poly(values, 1, 2, true, 2, 2, x, y); /* 1 + 3x + 20x^2 and 2 + 10x + 30x^2 */
    cr_assert(y[0] == 1 && y[1] == 24 && y[2] == 142 && y[3] == 22);
    static const double a[4] = {1, 2, 3, 4}, b[4] = {5, 7, 11, 13};
    rt_clear_add(4, y, a, b);
    cr_assert(y[0] == 6 && y[3] == 17);
    rt_clear_sub(4, y, a, b);
    cr_assert(y[0] == -4 && y[3] == -9);
    rt_clear_mul(4, y, a, b);
    cr_assert(y[0] == 5 && y[3] == 52);
}

/* Random descriptors, good and bad: both sides judge and place alike. */
Test(packing, is_the_compilers)
{
    uint64_t rng = kit_seed();
    unsigned good = 0, bad = 0;
    for (int trial = 0; trial < 30000; trial++) {
        uint32_t perm[8];
        struct layout l;
        memset(&l, 0, sizeof l);
        l.c = pick(&rng, 1, 8);
        l.h = pick(&rng, 1, 6);
        l.w = pick(&rng, 1, 6);
        l.n = 1u << pick(&rng, 0, 9);
        l.g_h = pick(&rng, 1, 2);
        l.g_w = pick(&rng, 1, 2);
        l.t_h = pick(&rng, 1, 2);
        l.t_w = pick(&rng, 1, 2);
        l.pitch = pick(&rng, 1, 14);
        l.block = 1u << pick(&rng, 2, 8);
        for (uint32_t i = 0; i < l.c; i++) {
            uint32_t j = pick(&rng, 0, i);
            perm[i] = perm[j];
            perm[j] = i;
        }
        l.perm = kit_random(&rng) % 2 ? perm : NULL;
        const char *why;
        bool ok = layout_finish(&l, &why);
        struct rt_packing p = {l.c,   l.h,   l.w,     l.n,     l.g_h,    l.g_w,
                               l.t_h, l.t_w, l.pitch, l.block, l.num_ct, l.perm};
        if (!ok) {
            bad++;
            cr_assert(!core_packing_check(&p, 512, &why), "only the compiler refuses it");
            continue;
        }
        good++;
        cr_assert(core_packing_check(&p, 512, &why), "%s", why);
        size_t slots = (size_t)l.num_ct * l.n, elements = (size_t)l.c * l.h * l.w;
        double *x = malloc(elements * sizeof *x), *y = malloc(elements * sizeof *y);
        double *s = malloc(slots * sizeof *s), *t = malloc(slots * sizeof *t);
        for (size_t i = 0; i < elements; i++) {
            x[i] = (double)i + 1;
        }
        layout_pack(&l, x, s);
        core_pack(&p, x, t);
        cr_assert_eq(memcmp(s, t, slots * sizeof *s), 0);
        core_unpack(&p, t, y);
        cr_assert_eq(memcmp(x, y, elements * sizeof *x), 0, "two elements share a slot");
        free(x), free(y), free(s), free(t);
    }
    cr_assert(good > 500 && bad > 500, "%u good, %u bad", good, bad);
}

Test(packing, refusals)
{
    static const uint32_t outside[2] = {0, 2};
    static const struct {
        struct rt_packing p;
        const char *why;
    } cases[] = {
        {{1, 4, 4, 16, 1, 1, 1, 1, 4, 16, 1, NULL}, NULL},
        {{1, 4, 4, 0, 1, 1, 1, 1, 4, 16, 1, NULL}, "zero"},
        {{1, 4, 4, 16, 1, 1, 1, 1, 4, 0, 1, NULL}, "zero"},
        {{1, 4, 4, 16, 1, 1, UINT32_MAX, 1, 4, 16, 1, NULL}, "too large"},
        {{0, 4, 4, 16, 1, 1, 1, 1, 4, 16, 1, NULL}, "empty"},
        {{65536, 65536, 4, 16, 1, 1, 1, 1, 4, 16, 1, NULL}, "too large"},
        {{1, 4, 4, 24, 1, 1, 1, 1, 4, 24, 1, NULL}, "power of two"},
        {{1, 4, 4, 1024, 1, 1, 1, 1, 4, 16, 1, NULL}, "power of two of at most"},
        {{1, 4, 4, 16, 1, 1, 1, 1, 4, 12, 1, NULL}, "does not divide"},
        {{1, 4, 4, 16, 1, 1, 1, 1, 3, 16, 1, NULL}, "does not fit its block"},
        {{1, 4, 4, 16, 1, 1, 1, 1, 5, 16, 1, NULL}, "does not fit its block"},
        {{2, 4, 4, 16, 1, 1, 1, 1, 4, 16, 1, NULL}, "number of ciphertexts"},
        {{2, 2, 2, 16, 1, 1, 1, 1, 4, 8, 1, outside}, "permutation"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *why = "";
        bool ok = core_packing_check(&cases[i].p, 512, &why);
        cr_assert_eq(ok, cases[i].why == NULL, "case %zu: %s", i, why);
        cr_assert(ok || strstr(why, cases[i].why) != NULL, "case %zu: %s", i, why);
    }
}
