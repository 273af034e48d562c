/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of values and counts of the layout design: for each operator on each layout, the number
 * of diagonals, of rotations when every diagonal is rotated by itself, and of in-block (baby) and
 * block (giant) rotations when blocks are split off. The counts are those of an independent
 * implementation in Python that enumerates single elements.
 */

#include "ir_kit.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum perm_rule {
    IDENTITY,
    MEMBERS_APART, /* members of a group in equal slots of different ciphertexts */
    STAY,          /* channels stay where they are, or only change their residue */
};

struct oracle_case {
    const char *name;
    uint32_t n, c, h, w, g[2], t[2], pitch; /* pitch 0: tight */
    enum perm_rule in_perm;
    uint32_t out, k[2], s[2];
    int32_t p[2];
    uint32_t d[2], groups, up;
    enum perm_rule out_perm;
    uint32_t cts_in, cts_out, products, naive, baby, giant; /* expected */
};

#define ONE                                                                                        \
    {                                                                                              \
        1, 1                                                                                       \
    }
#define ZERO                                                                                       \
    {                                                                                              \
        0, 0                                                                                       \
    }
#define TWO                                                                                        \
    {                                                                                              \
        2, 2                                                                                       \
    }
/* clang-format off */
static const struct oracle_case table[] = {
    {"3x3 s1, g=2", 64, 1, 16, 16, TWO, ONE, 0, IDENTITY, 1, {3, 3}, ONE, ONE, ONE, 1, 1, IDENTITY, 4, 4, 36, 12, 12, 0},
    {"3x3 s1, g=2, 13x11", 64, 2, 13, 11, TWO, ONE, 0, IDENTITY, 2, {3, 3}, ONE, ONE, ONE, 1, 1, IDENTITY, 8, 8, 144, 24, 24, 0},
    {"3x3 s1, g=4", 64, 1, 32, 32, {4, 4}, ONE, 0, IDENTITY, 1, {3, 3}, ONE, ONE, ONE, 1, 1, IDENTITY, 16, 16, 144, 20, 20, 0},
    {"7x7 s2 p3, g=2 -> 1", 64, 1, 16, 16, TWO, ONE, 0, IDENTITY, 1, {7, 7}, TWO, {3, 3}, ONE, 1, 1, IDENTITY, 4, 1, 49, 45, 45, 0},
    {"3x3 s2, g=2 -> 1", 64, 2, 16, 16, TWO, ONE, 0, IDENTITY, 2, {3, 3}, TWO, ONE, ONE, 1, 1, IDENTITY, 8, 2, 36, 10, 10, 0},
    {"3x3 s2, g=3 -> g/t=3/2", 64, 2, 23, 23, {3, 3}, ONE, 0, IDENTITY, 3, {3, 3}, TWO, ONE, ONE, 1, 1, IDENTITY, 18, 9, 486, 164, 164, 0},
    {"3x3 dilation 2, g=2", 64, 1, 16, 16, TWO, ONE, 0, IDENTITY, 1, {3, 3}, ONE, TWO, TWO, 1, 1, IDENTITY, 4, 4, 36, 32, 32, 0},
    {"5x3, g=(2,1)", 128, 2, 14, 9, {2, 1}, ONE, 0, IDENTITY, 2, {5, 3}, ONE, {2, 1}, ONE, 1, 1, IDENTITY, 2, 2, 60, 34, 16, 2},
    {"3x3 s1, b=4", 256, 4, 8, 8, ONE, ONE, 0, IDENTITY, 4, {3, 3}, ONE, ONE, ONE, 1, 1, IDENTITY, 1, 1, 36, 35, 8, 3},
    {"3x3 s2, t=1 -> 2", 256, 4, 8, 8, ONE, ONE, 0, IDENTITY, 8, {3, 3}, TWO, ONE, ONE, 1, 1, IDENTITY, 1, 1, 64, 63, 15, 3},
    {"3x3 s1, t=2", 256, 16, 4, 4, ONE, TWO, 0, IDENTITY, 16, {3, 3}, ONE, ONE, ONE, 1, 1, IDENTITY, 1, 1, 196, 195, 48, 3},
    {"1x1, t=2", 256, 16, 4, 4, ONE, TWO, 0, IDENTITY, 16, ONE, ONE, ZERO, ONE, 1, 1, IDENTITY, 1, 1, 36, 35, 8, 3},
    {"1x1, g=2", 64, 3, 16, 16, TWO, ONE, 0, IDENTITY, 3, ONE, ONE, ZERO, ONE, 1, 1, IDENTITY, 12, 12, 36, 0, 0, 0},
    {"5x5 valid", 256, 3, 12, 12, ONE, ONE, 0, IDENTITY, 4, {5, 5}, ONE, ZERO, ONE, 1, 1, IDENTITY, 3, 4, 300, 72, 72, 0},
    {"3x3, 5 channels of 7x7", 256, 5, 7, 7, ONE, ONE, 0, IDENTITY, 6, {3, 3}, ONE, ONE, ONE, 1, 1, IDENTITY, 2, 2, 126, 70, 16, 6},
    {"depthwise 3x3 s1, t=2", 256, 16, 4, 4, ONE, TWO, 0, IDENTITY, 16, {3, 3}, ONE, ONE, ONE, 16, 1, STAY, 1, 1, 9, 8, 8, 0},
    {"depthwise 3x3 s2, 4 -> 1", 256, 64, 4, 4, ONE, TWO, 0, IDENTITY, 64, {3, 3}, TWO, ONE, ONE, 64, 1, STAY, 4, 1, 36, 32, 32, 1},
    {"depthwise 3x3 s2, 13x7x7", 256, 13, 7, 7, ONE, ONE, 8, IDENTITY, 13, {3, 3}, TWO, ONE, ONE, 13, 1, STAY, 4, 1, 36, 32, 32, 0},
    {"grouped 3x3, groups=cpc", 128, 8, 5, 5, ONE, ONE, 0, MEMBERS_APART, 8, {3, 3}, ONE, ONE, ONE, 4, 1, STAY, 2, 2, 36, 16, 16, 0},
    {"avg pool 2x2, g=2 -> 1", 64, 3, 16, 16, TWO, ONE, 0, IDENTITY, 3, TWO, TWO, ZERO, ONE, 3, 1, IDENTITY, 12, 3, 12, 0, 0, 0},
    {"nearest x2, g=1 -> 2", 256, 4, 8, 8, ONE, ONE, 0, IDENTITY, 4, ONE, ONE, ZERO, ONE, 4, 2, IDENTITY, 1, 4, 4, 0, 0, 0},
    {"nearest x2, t=2 -> 1", 256, 16, 4, 4, ONE, TWO, 0, IDENTITY, 16, ONE, ONE, ZERO, ONE, 16, 2, STAY, 1, 4, 16, 8, 8, 0},
    {"nearest x2, t=4 -> 2", 256, 64, 2, 2, ONE, {4, 4}, 0, IDENTITY, 64, ONE, ONE, ZERO, ONE, 64, 2, STAY, 1, 4, 16, 8, 8, 0},
};
/* clang-format on */
enum { CASES = sizeof table / sizeof *table };

static struct layout input_layout(struct prog *p, const struct oracle_case *k)
{
    struct layout l = {.c = k->c,
                       .h = k->h,
                       .w = k->w,
                       .n = k->n,
                       .g_h = k->g[0],
                       .g_w = k->g[1],
                       .t_h = k->t[0],
                       .t_w = k->t[1]};
    uint32_t rows = (l.h + l.g_h - 1) / l.g_h;
    uint32_t row = l.t_w * ((l.w + l.g_w - 1) / l.g_w);
    l.pitch = k->pitch ? k->pitch : row;
    l.block = l.n;
    while (l.block / 2 >= (l.t_h * rows - 1) * l.pitch + row) {
        l.block /= 2;
    }
    if (k->in_perm == MEMBERS_APART) {
        uint32_t *perm = arena_array(p->arena, l.c, sizeof *perm);
        uint32_t members = k->c / k->groups;
        for (uint32_t c = 0; c < l.c; c++) {
            perm[c] = c % members * k->groups + c / members;
        }
        l.perm = perm;
    }
    return l;
}

/* Channel order after a stride that repacks s*s ciphertexts into one, or an upsampling that does the
 * reverse, without moving channels; `o` has its t set. */
static const uint32_t *stay(struct prog *p, const struct oracle_case *k, const struct layout *in,
                            const struct layout *o)
{
    uint32_t *perm = arena_array(p->arena, in->c, sizeof *perm);
    uint32_t m2 = o->t_h * o->t_w;
    for (uint32_t c = 0; c < in->c; c++) {
        uint32_t x = in->perm ? in->perm[c] : c;
        uint32_t group = x / in->cpc;
        uint32_t beta = x % in->cpc / in->m;
        uint32_t row = x % in->m / in->t_w;
        uint32_t col = x % in->m % in->t_w;
        if (k->up > 1) {
            group = (group * k->up + row / o->t_h) * k->up + col / o->t_w;
            row %= o->t_h;
            col %= o->t_w;
        } else {
            uint32_t kappa = group % (k->s[0] * k->s[1]);
            group /= k->s[0] * k->s[1];
            row += in->t_h * (kappa / k->s[1]);
            col += in->t_w * (kappa % k->s[1]);
        }
        perm[c] = (group * in->b + beta) * m2 + row * o->t_w + col;
    }
    return perm;
}

static struct layout output_layout(struct prog *p, const struct oracle_case *k,
                                   const struct layout *in, const struct lmap *m)
{
    struct layout o = {.c = m->out[0],
                       .h = m->out[1],
                       .w = m->out[2],
                       .n = k->n,
                       .pitch = in->pitch,
                       .block = in->block};
    layout_stride(k->g[0], k->t[0], k->s[0], &o.g_h, &o.t_h);
    layout_stride(k->g[1], k->t[1], k->s[1], &o.g_w, &o.t_w);
    if (k->up > 1) {
        bool gaps = k->t[0] > 1;
        o.g_h = o.g_w = gaps ? 1 : k->up;
        o.t_h = o.t_w = gaps ? k->t[0] / k->up : 1;
    }
    o.perm = k->out_perm == STAY ? stay(p, k, in, &o) : NULL;
    return o;
}

static uint32_t build_map(struct prog *p, const struct oracle_case *k, uint64_t *rng)
{
    struct build b = build_at(p, NO_LOC, k->name);
    struct layout in = input_layout(p, k);
    struct lterm t = {.in = {k->c, k->h, k->w},
                      .groups = k->groups,
                      .stride = {k->s[0], k->s[1]},
                      .dilation = {k->d[0], k->d[1]},
                      .up = {k->up, k->up},
                      .pad = {k->p[0], k->p[0], k->p[1], k->p[1]}};
    int64_t dims[4] = {k->out, k->c / k->groups, k->k[0], k->k[1]};
    t.weight = ir_random_const(&b, rng, dims, 4, 0);
    t.in_layout = prog_add_layout(p, &in);
    struct lmap m = {.out = {k->out}, .num_terms = 1, .term = &t};
    for (uint32_t i = 0; i < 2; i++) {
        m.out[1 + i] =
            window_size(t.in[1 + i] * k->up, k->k[i], k->s[i], k->p[i], k->p[i], k->d[i]);
    }
    struct layout out = output_layout(p, k, &p->layouts[t.in_layout], &m);
    m.out_layout = prog_add_layout(p, &out);
    return prog_add_map(p, &m);
}

/* Number of set flags of a table that the diagonals mark. */
static uint32_t marked(const bool *flag, size_t len)
{
    uint32_t sum = 0;
    for (size_t i = 0; i < len; i++) {
        sum += flag[i];
    }
    return sum;
}

static void check_counts(const struct oracle_case *k, const struct layout *in,
                         const struct layout *out, const struct diagonals *d)
{
    struct arena *a = arena_new();
    bool *naive = arena_array(a, (size_t)in->num_ct * k->n, 1);
    bool *baby = arena_array(a, (size_t)in->num_ct * k->n, 1);
    bool *giant = arena_array(a, (size_t)out->num_ct * in->b, 1);
    for (uint32_t i = 0; i < d->len; i++) {
        const struct diagonal *x = &d->at[i];
        uint32_t blocks = (x->offset + in->block / 2) / in->block % in->b;
        uint32_t rest = (x->offset - blocks * in->block) & (k->n - 1);
        naive[(size_t)x->in_ct * k->n + x->offset] = x->offset != 0;
        baby[(size_t)x->in_ct * k->n + rest] = rest != 0;
        giant[(size_t)x->out_ct * in->b + blocks] = blocks != 0;
    }
    cr_expect_eq(d->len, k->products, "%s: %u products, not %u", k->name, d->len, k->products);
    uint32_t rotations[3] = {marked(naive, (size_t)in->num_ct * k->n),
                             marked(baby, (size_t)in->num_ct * k->n),
                             marked(giant, (size_t)out->num_ct * in->b)};
    cr_expect_eq(rotations[0], k->naive, "%s: %u rotations, not %u", k->name, rotations[0],
                 k->naive);
    cr_expect_eq(rotations[1], k->baby, "%s: %u baby steps, not %u", k->name, rotations[1],
                 k->baby);
    cr_expect_eq(rotations[2], k->giant, "%s: %u giant steps, not %u", k->name, rotations[2],
                 k->giant);
    arena_free(a);
}

ParameterizedTestParameters(layout_oracle, values_and_counts)
{
    int *index = cr_malloc(CASES * sizeof *index);
    for (int i = 0; i < CASES; i++) {
        index[i] = i;
    }
    return cr_make_param_array(int, index, CASES);
}

ParameterizedTest(int *index, layout_oracle, values_and_counts)
{
    const struct oracle_case *k = &table[*index];
    uint64_t rng = kit_seed();
    struct arena *a = arena_new();
    struct prog *p = prog_new(a, STAGE_SLOT);
    uint32_t map = build_map(p, k, &rng);
    const struct lmap *m = &p->maps[map];
    const struct layout *in = &p->layouts[m->term[0].in_layout];
    const struct layout *out = &p->layouts[m->out_layout];
    cr_expect_eq(in->num_ct, k->cts_in, "%s: %u input ciphertexts", k->name, in->num_ct);
    cr_expect_eq(out->num_ct, k->cts_out, "%s: %u output ciphertexts", k->name, out->num_ct);
    struct diagonals d = lmap_diagonals(p, map, true, a);
    check_counts(k, in, out, &d);

    size_t len = (size_t)k->c * k->h * k->w;
    double *x = arena_array(a, len, sizeof *x);
    for (size_t i = 0; i < len; i++) {
        x[i] = kit_uniform(&rng, -1, 1);
    }
    double *packed = arena_array(a, (size_t)in->num_ct * k->n, sizeof *packed);
    layout_pack(in, x, packed);
    const double **cts = arena_array(a, in->num_ct, sizeof *cts);
    for (uint32_t i = 0; i < in->num_ct; i++) {
        cts[i] = packed + (size_t)i * k->n;
    }
    size_t slots = (size_t)out->num_ct * k->n;
    double *y = arena_array(a, (size_t)out->c * out->h * out->w, sizeof *y);
    double *want = arena_array(a, slots, sizeof *want);
    double *got = arena_array(a, slots, sizeof *got);
    lmap_apply(p, m, 0, x, y);
    layout_pack(out, y, want);
    ir_apply_diagonals(p, &rng, map, cts, got);
    for (size_t s = 0; s < slots; s++) {
        cr_assert_lt(fabs(got[s] - want[s]), 1e-9, "%s: slot %zu is %g, should be %g", k->name, s,
                     got[s], want[s]);
    }
    arena_free(a);
}

/* The closed form behind the table: (g + K - 1)^2 - g^2 rotations for each channel group. */
Test(layout_oracle, interleaving_saves_rotations)
{
    for (uint32_t g = 2; g <= 8; g++) {
        for (uint32_t k = 3; k <= 7; k += 2) {
            uint64_t rng = g;
            struct arena *a = arena_new();
            struct prog *p = prog_new(a, STAGE_SLOT);
            int32_t pad = (int32_t)(k / 2);
            struct oracle_case c = {"square", 1024, 1,      8 * g, 8 * g,      {g, g}, ONE, 0,
                                    IDENTITY, 1,    {k, k}, ONE,   {pad, pad}, ONE,    1,   1,
                                    IDENTITY, 0,    0,      0,     0,          0,      0};
            struct diagonals d = lmap_diagonals(p, build_map(p, &c, &rng), false, a);
            bool *seen = arena_array(a, (size_t)g * g * c.n, 1);
            for (uint32_t i = 0; i < d.len; i++) {
                seen[(size_t)d.at[i].in_ct * c.n + d.at[i].offset] = d.at[i].offset != 0;
            }
            cr_expect_eq(marked(seen, (size_t)g * g * c.n), (g + k - 1) * (g + k - 1) - g * g,
                         "g=%u K=%u", g, k);
            arena_free(a);
        }
    }
}

/* 64 -> 64 channels, 3x3, on 8x8, in the layout of a third-stage ResNet: quick enough to be asked often. */
Test(layout_oracle, a_large_layer_takes_milliseconds)
{
    uint64_t rng = 1;
    struct arena *a = arena_new();
    struct prog *p = prog_new(a, STAGE_SLOT);
    struct oracle_case c = {"64 to 64", 4096, 64,     8,   8,   ONE, {4, 4}, 0,
                            IDENTITY,   64,   {3, 3}, ONE, ONE, ONE, 1,      1,
                            IDENTITY,   0,    0,      0,   0,   0,   0};
    uint32_t map = build_map(p, &c, &rng);
    struct timespec t0, t1;
    timespec_get(&t0, TIME_UTC);
    struct diagonals d = lmap_diagonals(p, map, true, a);
    timespec_get(&t1, TIME_UTC);
    double ms = (double)(t1.tv_sec - t0.tv_sec) * 1e3 + (double)(t1.tv_nsec - t0.tv_nsec) * 1e-6;
    printf("%u diagonals in %.1f ms\n", d.len, ms);
    cr_expect_eq(d.len, 4 * 15 * 15, "%u diagonals", d.len); /* blocks times ((K+1)t - 1)^2 */
    cr_expect_lt(ms, 2000);
    arena_free(a);
}
