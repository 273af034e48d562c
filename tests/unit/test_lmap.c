/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <criterion/criterion.h>
#include <string.h>

static uint32_t values(struct build *b, uint32_t rank, const int64_t *dims, const double *v)
{
    uint32_t len = 1;
    for (uint32_t i = 0; i < rank; i++) {
        len *= (uint32_t)dims[i];
    }
    build_ints(b, KEY_dims, dims, rank);
    build_reals(b, KEY_data, v, len);
    return build_node(b, OP_values, NULL, 0);
}

static struct lterm plain_term(uint32_t c, uint32_t h, uint32_t w, uint32_t weight)
{
    return (struct lterm){.in_layout = NONE,
                          .in = {c, h, w},
                          .weight = weight,
                          .groups = 1,
                          .stride = {1, 1},
                          .dilation = {1, 1},
                          .up = {1, 1}};
}

/* ---- the definition, by hand ---------------------------------------------------------------- */

static const double row[5] = {1, 2, 3, 4, 5};

static void expect_row(struct lterm t, struct prog *p, uint32_t out_w, const double *want)
{
    struct lmap m = {.out = {1, 1, out_w}, .out_layout = NONE, .num_terms = 1, .term = &t};
    const char *why = "";
    cr_assert(lmap_check(p, &m, &why), "%s", why);
    double y[8] = {0};
    lmap_apply(p, &m, 0, row, y);
    for (uint32_t i = 0; i < out_w; i++) {
        cr_expect_float_eq(y[i], want[i], 1e-15, "output %u is %g, not %g", i, y[i], want[i]);
    }
}

Test(lmap, windows_on_a_row)
{
    struct prog *p = prog_new(arena_new(), STAGE_NN);
    struct build b = build_at(p, NO_LOC, "");
    uint32_t w = values(&b, 4, (int64_t[]){1, 1, 1, 3}, (double[]){1, 10, 100});
    struct lterm t = plain_term(1, 1, 5, w);
    expect_row(t, p, 3, (double[]){321, 432, 543});
    t.pad[2] = t.pad[3] = 1;
    expect_row(t, p, 5, (double[]){210, 321, 432, 543, 54});
    t.wrap = WRAP_CIRCULAR;
    expect_row(t, p, 5, (double[]){215, 321, 432, 543, 154});
    t.wrap = WRAP_ZEROS;
    t.stride[1] = 2;
    expect_row(t, p, 3, (double[]){210, 432, 54});
    t.stride[1] = 1;
    t.dilation[1] = 2;
    expect_row(t, p, 3, (double[]){420, 531, 42});
    t = plain_term(1, 1, 5, w);
    t.pad[2] = -1; /* starts one later */
    expect_row(t, p, 2, (double[]){432, 543});
    t = plain_term(1, 1, 5, values(&b, 4, (int64_t[]){1, 1, 1, 1}, (double[]){1}));
    t.up[1] = 2;
    t.stride[1] = 3;
    expect_row(t, p, 4, (double[]){1, 2, 4, 5}); /* positions 0 3 6 9 of 1122334455 */
}

/* The end of a row continues in the next one, the last in the first. */
Test(lmap, spiral)
{
    struct prog *p = prog_new(arena_new(), STAGE_NN);
    struct build b = build_at(p, NO_LOC, "");
    uint32_t w = values(&b, 4, (int64_t[]){1, 1, 1, 3}, (double[]){1, 0, 100});
    struct lterm t = plain_term(1, 2, 2, w);
    t.pad[2] = t.pad[3] = 1;
    t.wrap = WRAP_SPIRAL;
    struct lmap m = {.out = {1, 2, 2}, .out_layout = NONE, .num_terms = 1, .term = &t};
    double y[4] = {0};
    lmap_apply(p, &m, 0, (double[]){1, 2, 3, 4}, y);
    static const double want[4] = {204, 301, 402, 103};
    for (int i = 0; i < 4; i++) {
        cr_expect_float_eq(y[i], want[i], 0, "%g", y[i]);
    }
}

Test(lmap, groups_and_offsets)
{
    struct prog *p = prog_new(arena_new(), STAGE_NN);
    struct build b = build_at(p, NO_LOC, "");
    struct lterm t = plain_term(
        5, 1, 1,
        values(&b, 4, (int64_t[]){4, 2, 1, 1}, (double[]){1, 10, 1, 100, 1, 1000, 1, 10000}));
    t.groups = 2;
    t.in_from = 1;
    t.out_from = 2;
    struct lmap m = {.out = {7, 1, 1}, .out_layout = NONE, .num_terms = 1, .term = &t};
    double y[7] = {100, 0, 0, 0, 0, 0, 0};
    lmap_apply(p, &m, 0, (double[]){9, 1, 2, 3, 4}, y);
    static const double want[7] = {100, 0, 21, 201, 4003, 40003, 0};
    for (int i = 0; i < 7; i++) {
        cr_expect_float_eq(y[i], want[i], 0, "channel %d: %g", i, y[i]);
    }
}

/* ---- diagonals, by hand --------------------------------------------------------------------- */

/* 1x4 -> 1x4, kernel (a, b, c) with zero padding, in 4 slots: three diagonals. */
static struct prog *tiny(uint32_t *map, double zero)
{
    struct prog *p = prog_new(arena_new(), STAGE_SLOT);
    struct build b = build_at(p, NO_LOC, "");
    struct layout l = {.c = 1,
                       .h = 1,
                       .w = 4,
                       .n = 4,
                       .g_h = 1,
                       .g_w = 1,
                       .t_h = 1,
                       .t_w = 1,
                       .pitch = 4,
                       .block = 4};
    struct lterm t =
        plain_term(1, 1, 4, values(&b, 4, (int64_t[]){1, 1, 1, 3}, (double[]){2, 3, zero}));
    t.pad[2] = t.pad[3] = 1;
    t.in_layout = prog_add_layout(p, &l);
    struct lmap m = {.out = {1, 1, 4}, .out_layout = t.in_layout, .num_terms = 1, .term = &t};
    *map = prog_add_map(p, &m);
    return p;
}

Test(lmap, three_diagonals)
{
    uint32_t map;
    struct prog *p = tiny(&map, 5);
    struct diagonals d = lmap_diagonals(p, map, true, arena_new());
    cr_assert_eq(d.len, 3);
    static const uint32_t want[3][5] = {/* offset, first out, first in, columns, weight */
                                        {0, 0, 0, 4, 1},
                                        {1, 0, 1, 3, 2},
                                        {3, 1, 0, 3, 0}};
    for (int i = 0; i < 3; i++) {
        const struct diagonal *x = &d.at[i];
        cr_assert_eq(x->num_rects, 1);
        const struct rect *r = x->rects;
        cr_expect(x->offset == want[i][0] && r->out_slot == want[i][1] &&
                      r->in_slot == want[i][2] && r->rows == 1 && r->cols == want[i][3] &&
                      r->col_step == 1 && r->weight == want[i][4],
                  "diagonal %d", i);
    }
    cr_expect_eq(diagonal_find(&d, 0, 0, 1), &d.at[1]);
    cr_expect_null(diagonal_find(&d, 0, 0, 2));
    cr_expect_null(diagonal_find(&d, 1, 0, 0));
}

Test(lmap, zero_weights_are_dropped_when_they_are_known)
{
    uint32_t map;
    struct prog *p = tiny(&map, 0);
    cr_expect_eq(lmap_diagonals(p, map, true, arena_new()).len, 2);
    cr_expect_eq(lmap_diagonals(p, map, false, arena_new()).len, 3);
}

Test(lmap, plaintexts)
{
    uint32_t map;
    struct prog *p = tiny(&map, 5);
    struct diagonals d = lmap_diagonals(p, map, true, arena_new());
    struct build b = build_at(p, NO_LOC, "");
    build_int(&b, KEY_part, 0);
    build_int(&b, KEY_layout, 0);
    uint32_t x = build_node(&b, OP_input, NULL, 0);
    uint32_t args[4] = {x, x, x, x};
    build_int(&b, KEY_map, map);
    build_int(&b, KEY_out, 0);
    build_int(&b, KEY_giant, -1);
    build_ints(&b, KEY_in, (int64_t[]){0, 0, 0, 0}, 4);
    build_ints(&b, KEY_baby, (int64_t[]){1, -2, 0, 3},
               4); /* offsets 0, 1 (mod 4), 3, and 2: absent */
    build_int(&b, KEY_period, 4);
    uint32_t node = build_node(&b, OP_pmac, args, 4);
    double v[16];
    memset(v, 0xff, sizeof v);
    pmac_plaintexts(p, &p->nodes.at[node], &d, v);
    static const double want[16] = {/* at (in slot - baby) mod 4 */ 3,
                                    3,
                                    3,
                                    3,
                                    5,
                                    5,
                                    0,
                                    5,
                                    2,
                                    2,
                                    2,
                                    0,
                                    0,
                                    0,
                                    0,
                                    0};
    for (int i = 0; i < 16; i++) {
        cr_expect_float_eq(v[i], want[i], 0, "plaintext %d slot %d is %g", i / 4, i % 4, v[i]);
    }
}

Test(lmap, bias_vectors)
{
    struct prog *p = prog_new(arena_new(), STAGE_SLOT);
    struct build b = build_at(p, NO_LOC, "");
    uint64_t rng = kit_seed();
    uint32_t dims[3] = {5, 4, 7};
    uint32_t id = ir_random_layout(p, &rng, dims, 3, 3);
    uint32_t bias = values(&b, 1, (int64_t[]){5}, (double[]){1, 2, 3, 4, 5});
    double x[5 * 4 * 7];
    for (int i = 0; i < 5 * 4 * 7; i++) {
        x[i] = i / 28 + 1;
    }
    const struct layout *l = &p->layouts[id];
    double *want = arena_array(p->arena, (size_t)l->num_ct * l->n, sizeof *want);
    double *got = arena_array(p->arena, l->n, sizeof *got);
    layout_pack(l, x, want);
    for (uint32_t part = 0; part < l->num_ct; part++) {
        struct attr attrs[] = {{.key = KEY_bias, .v.i = bias},
                               {.key = KEY_layout, .v.i = id},
                               {.key = KEY_part, .v.i = part}};
        struct node padd = {.op = OP_padd, .num_attrs = 3, .attrs = attrs};
        padd_plaintext(p, &padd, got);
        cr_expect_arr_eq(got, want + (size_t)part * l->n, l->n * sizeof *got, "part %u", part);
    }
}

/* ---- refusals ------------------------------------------------------------------------------- */

Test(lmap, impossible_maps)
{
    struct prog *p = prog_new(arena_new(), STAGE_NN);
    struct build b = build_at(p, NO_LOC, "");
    double ones[64] = {1};
    uint32_t w = values(&b, 4, (int64_t[]){4, 2, 3, 3}, (double[72]){0});
    uint32_t flat = values(&b, 1, (int64_t[]){4}, ones);
    struct layout l = {.c = 1,
                       .h = 1,
                       .w = 4,
                       .n = 4,
                       .g_h = 1,
                       .g_w = 1,
                       .t_h = 1,
                       .t_w = 1,
                       .pitch = 4,
                       .block = 4};
    uint32_t other = prog_add_layout(p, &l);
    const struct lterm good = plain_term(2, 5, 6, w);
    const struct lmap fits = {.out = {4, 3, 4}, .out_layout = NONE, .num_terms = 1};
    enum { CASES = 17 };
    struct lterm t[CASES];
    struct lmap m[CASES];
    for (int i = 0; i < CASES; i++) {
        t[i] = good;
        m[i] = fits;
        m[i].term = &t[i];
    }
    const char *want[CASES] = {NULL};
    int i = 0;
    want[i++] = "";
    m[i].num_terms = 0, want[i++] = "from 1 to 65536 terms";
    m[i].out[1] = 0, want[i++] = "impossible shape 4x0x4";
    t[i].in[0] = UINT32_MAX, want[i++] = "impossible shape";
    t[i].weight = 7, want[i++] = "no constant $7";
    t[i].weight = flat, want[i++] = "not of rank 4";
    t[i].groups = 3, want[i++] = "4 output channels do not divide into 3 groups";
    t[i].groups = 0, want[i++] = "into 0 groups";
    t[i].out_from = 1, want[i++] = "channels 1 to 5 are outside the result";
    t[i].in_from = 1, want[i++] = "channels 1 to 3 are outside the operand";
    t[i].in_from = UINT32_MAX, want[i++] = "outside the operand";
    t[i].stride[0] = 0, want[i++] = "stride, dilation or up";
    t[i].up[1] = 1u << 31, want[i++] = "stride, dilation or up";
    t[i].pad[3] = INT32_MIN, want[i++] = "padding is impossible";
    t[i].pad[3] = 1, want[i++] = "the window makes 5 columns, the result has 4";
    t[i].in_layout = 9, want[i++] = "no layout @9";
    t[i].in_layout = other, want[i++] = "layout @0 is for 1x1x4, not for 2x5x6";
    cr_assert_eq(i, CASES);
    for (i = 0; i < CASES; i++) {
        const char *why = "";
        cr_expect_eq(lmap_check(p, &m[i], &why), i == 0, "case %d", i);
        cr_expect_not_null(strstr(why, want[i]), "case %d: wanted '%s', found '%s'", i, want[i],
                           why);
    }
}
