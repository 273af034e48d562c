/* SPDX-License-Identifier: Apache-2.0 */
/* The simulator: every nn op against numbers worked out by hand, packed programs against
 * lmap_apply, and the noise model against its own formulas. */

#include "backends.h"
#include "sim/sim.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static struct prog *new_prog(enum stage stage, uint32_t c, uint32_t h, uint32_t w)
{
    struct prog *p = prog_new(arena_new(), stage);
    p->model.input[0] = c;
    p->model.input[1] = h;
    p->model.input[2] = w;
    p->model.range[1] = 1;
    return p;
}

static uint32_t constant(struct build *b, uint32_t rank, const int64_t *dims, const double *v)
{
    uint32_t len = 1;
    for (uint32_t k = 0; k < rank; k++)
        len *= (uint32_t)dims[k];
    build_ints(b, KEY_dims, dims, rank);
    build_reals(b, KEY_data, v, len);
    return build_node(b, OP_values, NULL, 0);
}
#define DIMS(...)                                                                                  \
    (uint32_t)(sizeof((int64_t[]){__VA_ARGS__}) / 8), (const int64_t[])                            \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define REALS(...)                                                                                 \
    (const double[])                                                                               \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define VECTOR(b, ...)                                                                             \
    constant(b, 1, (const int64_t[]){sizeof(REALS(__VA_ARGS__)) / 8}, REALS(__VA_ARGS__))

static uint32_t input(struct build *b)
{
    return build_node(b, OP_input, NULL, 0);
}

/* Ends the program with node `last` and checks what it computes. */
static void expect(struct build *b, uint32_t last, const double *image, const double *want,
                   uint32_t len)
{
    struct prog *p = b->p;
    uint32_t elements = (uint32_t)type_elements(&p->nodes.at[last].type);
    cr_assert_eq(elements, len, "%u elements, %u expected", elements, len);
    p->model.num_outputs = len;
    build1(b, OP_output, last);
    double *got = arena_array(p->arena, len, sizeof *got);
    sim_run(p, NULL, image, got);
    for (uint32_t k = 0; k < len; k++)
        cr_assert(fabs(got[k] - want[k]) < 1e-12, "element %u: %g, expected %g", k, got[k],
                  want[k]);
    sim_reference(p, image, got);
    for (uint32_t k = 0; k < len; k++)
        cr_assert(fabs(got[k] - want[k]) < 1e-12, "sim_reference, element %u", k);
}
#define EXPECT(b, last, image, ...)                                                                \
    expect(b, last, image, REALS(__VA_ARGS__), (uint32_t)(sizeof(REALS(__VA_ARGS__)) / 8))

static const double NINE[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};

/* ---- conv2d: one row a case ----------------------------------------------------------------- */

struct conv_case {
    const char *name;
    int64_t image[3], weight[4], stride[2], pad[4], dilation[2], groups;
    enum wrap wrap;
    double x[9], w[8], bias;
    uint32_t len;
    double want[9];
};

static const struct conv_case conv_cases[] = {
    {"plain with bias",
     {1, 3, 3},
     {1, 1, 2, 2},
     {1, 1},
     {0, 0, 0, 0},
     {1, 1},
     1,
     WRAP_ZEROS,
     {1, 2, 3, 4, 5, 6, 7, 8, 9},
     {1, 2, 3, 4},
     0.5,
     4,
     {37.5, 47.5, 67.5, 77.5}},
    {"stride and asymmetric padding",
     {1, 3, 3},
     {1, 1, 2, 2},
     {2, 2},
     {1, 0, 0, 1},
     {1, 1},
     1,
     WRAP_ZEROS,
     {1, 2, 3, 4, 5, 6, 7, 8, 9},
     {1, 2, 3, 4},
     0,
     4,
     {11, 9, 67, 33}},
    {"circular",
     {1, 3, 3},
     {1, 1, 1, 2},
     {1, 1},
     {0, 0, 0, 1},
     {1, 1},
     1,
     WRAP_CIRCULAR,
     {1, 2, 3, 4, 5, 6, 7, 8, 9},
     {1, 10},
     0,
     9,
     {21, 32, 13, 54, 65, 46, 87, 98, 79}},
    {"spiral",
     {1, 3, 3},
     {1, 1, 1, 2},
     {1, 1},
     {0, 0, 0, 1},
     {1, 1},
     1,
     WRAP_SPIRAL,
     {1, 2, 3, 4, 5, 6, 7, 8, 9},
     {1, 10},
     0,
     9,
     {21, 32, 43, 54, 65, 76, 87, 98, 19}},
    {"circular to the left and up",
     {1, 2, 2},
     {1, 1, 2, 2},
     {1, 1},
     {1, 0, 1, 0},
     {1, 1},
     1,
     WRAP_CIRCULAR,
     {1, 2, 3, 4},
     {1, 0, 0, 10},
     0,
     4,
     {14, 23, 32, 41}},
    {"groups and dilation",
     {2, 1, 3},
     {2, 1, 1, 2},
     {1, 1},
     {0, 0, 0, 0},
     {1, 2},
     2,
     WRAP_ZEROS,
     {1, 2, 3, 4, 5, 6},
     {1, 1, 2, -1},
     0,
     2,
     {4, 2}},
    {"channels",
     {2, 1, 2},
     {2, 2, 1, 1},
     {1, 1},
     {0, 0, 0, 0},
     {1, 1},
     1,
     WRAP_ZEROS,
     {1, 2, 3, 4},
     {1, 10, 100, 1000},
     0,
     4,
     {31, 42, 3100, 4200}},
};

Test(sim, conv2d)
{
    for (size_t i = 0; i < sizeof conv_cases / sizeof *conv_cases; i++) {
        const struct conv_case *c = &conv_cases[i];
        struct prog *p =
            new_prog(STAGE_NN, (uint32_t)c->image[0], (uint32_t)c->image[1], (uint32_t)c->image[2]);
        struct build b = build_at(p, NO_LOC, c->name);
        uint32_t w = constant(&b, 4, c->weight, c->w);
        uint32_t bias = constant(&b, 1, c->weight, (const double[]){c->bias, c->bias});
        uint32_t x = input(&b);
        build_int(&b, KEY_w, w);
        build_int(&b, KEY_bias, bias);
        build_ints(&b, KEY_stride, c->stride, 2);
        build_ints(&b, KEY_pad, c->pad, 4);
        build_ints(&b, KEY_dilation, c->dilation, 2);
        build_int(&b, KEY_groups, c->groups);
        build_int(&b, KEY_wrap, c->wrap);
        expect(&b, build1(&b, OP_conv2d, x), c->x, c->want, c->len);
        arena_free(p->arena);
    }
}

/* ---- the other nn ops ----------------------------------------------------------------------- */

Test(sim, batch_norm)
{
    struct prog *p = new_prog(STAGE_NN, 2, 1, 2);
    struct build b = build_at(p, NO_LOC, "bn");
    uint32_t gamma = VECTOR(&b, 2, 3), beta = VECTOR(&b, 1, 0), mean = VECTOR(&b, 3, 1);
    uint32_t var = VECTOR(&b, 3.75, 0), x = input(&b);
    build_int(&b, KEY_gamma, gamma);
    build_int(&b, KEY_beta, beta);
    build_int(&b, KEY_mean, mean);
    build_int(&b, KEY_var, var);
    build_real(&b, KEY_eps, 0.25);
    EXPECT(&b, build1(&b, OP_batch_norm, x), REALS(1, 2, 3, 4), -1, 0, 12, 18);
}

Test(sim, linear)
{
    struct prog *p = new_prog(STAGE_NN, 2, 1, 1);
    struct build b = build_at(p, NO_LOC, "fc");
    uint32_t w = constant(&b, DIMS(2, 2), REALS(1, 2, 3, 4)), bias = VECTOR(&b, 10, 20);
    uint32_t x = input(&b);
    build_int(&b, KEY_w, w);
    build_int(&b, KEY_bias, bias);
    EXPECT(&b, build1(&b, OP_linear, x), REALS(1, 2), 15, 31);
}

Test(sim, avg_pool_counts_padding)
{
    struct prog *p = new_prog(STAGE_NN, 1, 3, 3);
    struct build b = build_at(p, NO_LOC, "pool");
    uint32_t x = input(&b);
    build_ints(&b, KEY_kernel, (const int64_t[]){2, 2}, 2);
    build_ints(&b, KEY_stride, (const int64_t[]){2, 2}, 2);
    build_ints(&b, KEY_pad, (const int64_t[]){0, 1, 0, 1}, 4);
    EXPECT(&b, build1(&b, OP_avg_pool, x), NINE, 3, 2.25, 3.75, 2.25);
}

Test(sim, global_avg_pool)
{
    struct prog *p = new_prog(STAGE_NN, 2, 2, 2);
    struct build b = build_at(p, NO_LOC, "pool");
    EXPECT(&b, build1(&b, OP_global_avg_pool, input(&b)), NINE, 2.5, 6.5);
}

Test(sim, upsample_nearest)
{
    struct prog *p = new_prog(STAGE_NN, 2, 1, 2);
    struct build b = build_at(p, NO_LOC, "up");
    uint32_t x = input(&b);
    build_ints(&b, KEY_factor, (const int64_t[]){2, 3}, 2);
    EXPECT(&b, build1(&b, OP_upsample_nearest, x), NINE, 1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2, 3, 3,
           3, 4, 4, 4, 3, 3, 3, 4, 4, 4);
}

Test(sim, concat_and_flatten)
{
    struct prog *p = new_prog(STAGE_NN, 1, 1, 2);
    struct build b = build_at(p, NO_LOC, "cat");
    uint32_t x = input(&b), sum = build2(&b, OP_add, x, x);
    uint32_t cat = build_node(&b, OP_concat, (const uint32_t[]){x, sum, x}, 3);
    cr_assert_eq(p->nodes.at[cat].type.dims[0], 3);
    EXPECT(&b, build1(&b, OP_flatten, cat), NINE, 1, 2, 2, 4, 1, 2);
}

Test(sim, poly)
{
    struct prog *p = new_prog(STAGE_NN, 2, 1, 2);
    struct build b = build_at(p, NO_LOC, "act");
    uint32_t shared = VECTOR(&b, 1, 2, 3);
    uint32_t own = constant(&b, DIMS(2, 2), REALS(1, 2, 10, 100)), x = input(&b);
    build_int(&b, KEY_coeff, shared);
    uint32_t y = build1(&b, OP_poly, x); /* 1 + 2x + 3x^2: 6 17 34 57 */
    build_int(&b, KEY_coeff, own);
    EXPECT(&b, build1(&b, OP_poly, y), NINE, 61, 171, 3402, 5702);
}

Test(sim, sums_and_products)
{
    struct prog *p = new_prog(STAGE_NN, 2, 1, 1);
    struct build b = build_at(p, NO_LOC, "mix");
    uint32_t bias = VECTOR(&b, 100, 200), x = input(&b);
    uint32_t three = build_node(&b, OP_add, (const uint32_t[]){x, x, x}, 3);
    uint32_t six = build2(&b, OP_mul, three, build2(&b, OP_sub, three, x)); /* 6 x^2 */
    build_int(&b, KEY_bias, bias);
    EXPECT(&b, build1(&b, OP_add_channel, six), REALS(2, 3), 124, 254);
}

/* ---- packed vectors ------------------------------------------------------------------------- */

static uint32_t row_layout(struct prog *p, uint32_t c, uint32_t h, uint32_t w, uint32_t n)
{
    struct layout l = {.c = c, .h = h, .w = w, .n = n, .g_h = 1, .g_w = 1, .t_h = 1, .t_w = 1};
    l.pitch = w;
    for (l.block = n; l.block / 2 >= h * w; l.block /= 2)
        ;
    return prog_add_layout(p, &l);
}

static uint32_t packed_input(struct build *b, uint32_t layout, uint32_t part)
{
    build_int(b, KEY_part, part);
    build_int(b, KEY_layout, layout);
    return input(b);
}

Test(sim, rotation_is_cyclic)
{
    static const struct {
        int64_t by;
        double want[4];
    } cases[] = {{1, {2, 3, 4, 1}}, {-1, {4, 1, 2, 3}}, {6, {3, 4, 1, 2}}, {4, {1, 2, 3, 4}}};
    for (size_t k = 0; k < sizeof cases / sizeof *cases; k++) {
        struct prog *p = new_prog(STAGE_SLOT, 1, 1, 4);
        p->model.num_outputs = 4;
        struct build b = build_at(p, NO_LOC, "rot");
        uint32_t l = row_layout(p, 1, 1, 4, 4), x = packed_input(&b, l, 0);
        build_int(&b, KEY_by, cases[k].by);
        x = build1(&b, OP_rot, x);
        build_int(&b, KEY_layout, l);
        build1(&b, OP_output, x);
        double got[4];
        sim_run(p, NULL, NINE, got);
        for (int j = 0; j < 4; j++)
            cr_assert_eq(got[j], cases[k].want[j], "by %d, slot %d", (int)cases[k].by, j);
        arena_free(p->arena);
    }
}

/* Sums of vectors of 2 and 4 slots: the short one repeats. */
Test(sim, short_vectors_repeat)
{
    struct prog *p = new_prog(STAGE_SLOT, 1, 1, 2);
    p->model.num_outputs = 4;
    struct build b = build_at(p, NO_LOC, "mixed");
    uint32_t small = row_layout(p, 1, 1, 2, 2), wide = row_layout(p, 4, 1, 1, 4);
    uint32_t bias = VECTOR(&b, 10, 20, 30, 40), x = packed_input(&b, small, 0);
    build_int(&b, KEY_bias, bias);
    build_int(&b, KEY_layout, wide);
    build_int(&b, KEY_part, 0);
    uint32_t y = build1(&b, OP_padd, x);   /* 11 22 31 42 */
    uint32_t z = build2(&b, OP_mul, y, x); /* 11 44 31 84 */
    uint32_t s = build2(&b, OP_sub, z, x); /* 10 42 30 82 */
    build_int(&b, KEY_layout, wide);
    build1(&b, OP_output, s);
    double got[4], want[4] = {10, 42, 30, 82};
    sim_run(p, NULL, NINE, got);
    for (int k = 0; k < 4; k++)
        cr_assert_eq(got[k], want[k], "slot %d: %g", k, got[k]);
}

struct map_case {
    const char *name;
    uint32_t in[3], n_in, out[3], n_out, weight[4], stride, pad;
    enum wrap wrap;
};
static const struct map_case map_cases[] = {
    {"same size", {2, 4, 4}, 32, {2, 4, 4}, 32, {2, 2, 3, 3}, 1, 1, WRAP_ZEROS},
    {"stride", {2, 5, 5}, 64, {3, 3, 3}, 64, {3, 2, 3, 3}, 2, 1, WRAP_ZEROS},
    {"circular", {1, 4, 4}, 16, {2, 4, 4}, 32, {2, 1, 3, 3}, 1, 1, WRAP_CIRCULAR},
    {"many rows to few", {2, 4, 4}, 32, {3, 1, 1}, 4, {3, 2, 4, 4}, 1, 0, WRAP_ZEROS},
    {"few to many", {3, 1, 1}, 4, {20, 1, 1}, 32, {20, 3, 1, 1}, 1, 0, WRAP_ZEROS},
    {"two ciphertexts in, three out", {4, 4, 4}, 32, {6, 4, 4}, 32, {6, 4, 3, 3}, 1, 1, WRAP_ZEROS},
};

static double *random_values(struct prog *p, size_t len, struct sim_rng *rng)
{
    double *v = arena_array(p->arena, len, sizeof *v);
    for (size_t k = 0; k < len; k++)
        v[k] = 2 * sim_uniform(rng) - 1;
    return v;
}

/* input -> map -> output as a program of stage slot, its linear part by `lower` */
typedef uint32_t lower_fn(struct build *b, uint32_t map, uint32_t out, const uint32_t *x,
                          uint32_t num_x);

static uint32_t lower_lin(struct build *b, uint32_t map, uint32_t out, const uint32_t *x,
                          uint32_t num_x)
{
    build_int(b, KEY_map, map);
    build_int(b, KEY_out, out);
    return build_node(b, OP_lin, x, num_x);
}

/* One giant step: the offset is split so that both steps are not zero. */
static uint32_t lower_pmac(struct build *b, uint32_t map, uint32_t out, const uint32_t *x,
                           uint32_t num_x)
{
    struct prog *p = b->p;
    struct arena *scratch = arena_new();
    struct diagonals d = lmap_diagonals(p, map, true, scratch);
    uint32_t *args = arena_array(scratch, d.len, sizeof *args), len = 0;
    int64_t *in = arena_array(scratch, d.len, sizeof *in);
    int64_t *baby = arena_array(scratch, d.len, sizeof *baby), giant = 3;
    (void)num_x;
    for (uint32_t k = 0; k < d.len; k++) {
        if (d.at[k].out_ct != out)
            continue;
        in[len] = d.at[k].in_ct;
        baby[len] = (int64_t)d.at[k].offset - giant;
        build_int(b, KEY_by, baby[len]);
        args[len] = build1(b, OP_rot, x[d.at[k].in_ct]);
        len++;
    }
    build_int(b, KEY_map, map);
    build_int(b, KEY_out, out);
    build_int(b, KEY_giant, giant);
    build_ints(b, KEY_in, in, len);
    build_ints(b, KEY_baby, baby, len);
    build_int(b, KEY_period, d.nw);
    uint32_t y = build_node(b, OP_pmac, args, len);
    build_int(b, KEY_by, giant);
    y = build1(b, OP_rot, y);
    for (uint32_t n = d.nw; n > d.n_out; n /= 2) {
        build_int(b, KEY_by, n / 2);
        uint32_t other = build1(b, OP_rot, y);
        struct type half = p->nodes.at[y].type;
        half.n = n / 2;
        build_type(b, &half);
        y = build2(b, OP_add, y, other);
    }
    arena_free(scratch);
    return y;
}

/* Five multiples of an image: a group side by side, and one that is left. The program is linear. */
static void check_side_by_side(struct sim *s, const double *image, const double *want)
{
    enum { IMAGES = 5 };
    struct prog *p = s->p;
    size_t pixels = (size_t)p->model.input[0] * p->model.input[1] * p->model.input[2];
    const double *x[IMAGES];
    double *y[IMAGES];
    for (uint32_t i = 0; i < IMAGES; i++) {
        double *mine = arena_array(p->arena, pixels, sizeof *mine);
        for (size_t k = 0; k < pixels; k++)
            mine[k] = (i + 1) * image[k];
        x[i] = mine;
        y[i] = arena_array(p->arena, p->model.num_outputs, sizeof *y[i]);
    }
    sim_images(s, NULL, x, y, IMAGES);
    for (uint32_t i = 0; i < IMAGES; i++)
        for (uint32_t k = 0; k < p->model.num_outputs; k++)
            cr_assert(fabs(y[i][k] - (i + 1) * want[k]) < 1e-11, "image %u, element %u", i, k);
}

static void check_map(const struct map_case *c, lower_fn *lower, struct sim_rng *rng)
{
    struct prog *p = new_prog(STAGE_SLOT, c->in[0], c->in[1], c->in[2]);
    p->model.num_outputs = c->out[0] * c->out[1] * c->out[2];
    struct build b = build_at(p, NO_LOC, c->name);
    uint32_t from = row_layout(p, c->in[0], c->in[1], c->in[2], c->n_in);
    uint32_t to = row_layout(p, c->out[0], c->out[1], c->out[2], c->n_out);
    int64_t dims[4];
    size_t weights = 1;
    for (int k = 0; k < 4; k++) {
        dims[k] = c->weight[k];
        weights *= c->weight[k];
    }
    int32_t pad = (int32_t)c->pad;
    struct lterm term = {.in_layout = from,
                         .in = {c->in[0], c->in[1], c->in[2]},
                         .weight = constant(&b, 4, dims, random_values(p, weights, rng)),
                         .groups = 1,
                         .stride = {c->stride, c->stride},
                         .dilation = {1, 1},
                         .up = {1, 1},
                         .pad = {pad, pad, pad, pad},
                         .wrap = c->wrap};
    struct lmap m = {.out = {c->out[0], c->out[1], c->out[2]}, .out_layout = to, .num_terms = 1};
    m.term = &term;
    uint32_t map = prog_add_map(p, &m), x[8], y[8];
    for (uint32_t k = 0; k < p->layouts[from].num_ct; k++)
        x[k] = packed_input(&b, from, k);
    for (uint32_t k = 0; k < p->layouts[to].num_ct; k++)
        y[k] = lower(&b, map, k, x, p->layouts[from].num_ct);
    build_int(&b, KEY_layout, to);
    build_node(&b, OP_output, y, p->layouts[to].num_ct);

    double *image = random_values(p, (size_t)c->in[0] * c->in[1] * c->in[2], rng);
    double *want = arena_array(p->arena, p->model.num_outputs, sizeof *want);
    double *got = arena_array(p->arena, p->model.num_outputs, sizeof *got);
    lmap_apply(p, &p->maps[map], 0, image, want);
    struct sim *s = sim_open(p);
    for (int twice = 0; twice < 2; twice++) { /* prepared state must survive an image */
        sim_image(s, NULL, image, got);
        for (uint32_t k = 0; k < p->model.num_outputs; k++)
            cr_assert(fabs(got[k] - want[k]) < 1e-12, "%s, element %u: %g, expected %g", c->name, k,
                      got[k], want[k]);
    }
    check_side_by_side(s, image, want);
    sim_close(s);
    arena_free(p->arena);
}

static uint64_t test_seed(void)
{
    const char *text = getenv("SEED");
    uint64_t seed = text ? strtoull(text, NULL, 0) : 1;
    fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

Test(sim, lin_is_the_map)
{
    struct sim_rng rng;
    sim_seed(&rng, test_seed());
    for (size_t k = 0; k < sizeof map_cases / sizeof *map_cases; k++)
        check_map(&map_cases[k], lower_lin, &rng);
}

Test(sim, pmac_is_the_map)
{
    struct sim_rng rng;
    sim_seed(&rng, test_seed());
    for (size_t k = 0; k < sizeof map_cases / sizeof *map_cases; k++)
        check_map(&map_cases[k], lower_pmac, &rng);
}

static void count_values(void *ctx, uint32_t index, const struct node *n, const double *value,
                         size_t len)
{
    uint32_t *seen = ctx;
    (void)index;
    if (n->op == OP_add) {
        cr_assert_eq(len, 2);
        cr_assert_eq(value[1], 4);
    }
    ++*seen;
}

Test(sim, hook_sees_every_value)
{
    struct prog *p = new_prog(STAGE_NN, 2, 1, 1);
    p->model.num_outputs = 2;
    struct build b = build_at(p, NO_LOC, "");
    uint32_t x = input(&b);
    build1(&b, OP_output, build2(&b, OP_add, x, x));
    uint32_t seen = 0;
    double got[2];
    sim_run(p, &(struct sim_options){.hook = count_values, .ctx = &seen}, REALS(1, 2), got);
    cr_assert_eq(seen, 2);
}

/* ---- noise ---------------------------------------------------------------------------------- */

static double square(double x)
{
    return x * x;
}

Test(noise, formulas)
{
    double n = 16384, scale = 0x1p40;
    /* the rounding of a real vector is real: N/12 */
    cr_assert_float_eq(sim_var_encoding(n, 1), n / 12, 1e-9);
    cr_assert_float_eq(sim_var_fresh(n, 1), n * 3.2 * 3.2 / 2, 1e-6);
    /* two parts at the mean of |s|^2 = 2N/3: the textbook's N/12 (1 + 2N/3) / 2 */
    cr_assert_float_eq(sim_var_mod_down(n, 1, 2 * n / 3, 2) / (n / 24 * (1 + 2 * n / 3)), 1, 1e-12);
    cr_assert_gt(sim_var_mod_down(n, 1, 2 * n / 3, 3), 1000 * sim_var_mod_down(n, 1, 2 * n / 3, 2));
    /* a digit as large as P: N/12 * N sigma^2 / 2 */
    cr_assert_float_eq(sim_var_digit(n, 1, 100, 100) / (n / 24 * n * 3.2 * 3.2), 1, 1e-12);
    cr_assert_float_eq(sim_var_digit(n, 1, 100, 110) / sim_var_digit(n, 1, 100, 100), 0x1p-20,
                       1e-12);
    cr_assert_float_eq(sim_var_encoding(n, scale) * square(scale) / sim_var_encoding(n, 1), 1,
                       1e-12);
    cr_assert_float_eq(
        sim_var_mod_down(n, scale, 5, 2) * square(scale) / sim_var_mod_down(n, 1, 5, 2), 1, 1e-12);
}

Test(noise, generator)
{
    struct sim_rng r;
    sim_seed(&r, test_seed());
    double sum = 0, squares = 0, fourth = 0, uniform = 0;
    const int count = 200000;
    for (int k = 0; k < count; k++) {
        double x = sim_normal(&r), u = sim_uniform(&r);
        cr_assert(u >= 0 && u < 1);
        sum += x;
        squares += x * x;
        fourth += x * x * x * x;
        uniform += u;
    }
    /* five standard deviations of each estimate */
    cr_assert_float_eq(sum / count, 0, 5 / sqrt(count));
    cr_assert_float_eq(squares / count, 1, 5 * sqrt(2.0 / count));
    cr_assert_float_eq(fourth / count, 3, 5 * sqrt(96.0 / count));
    cr_assert_float_eq(uniform / count, 0.5, 5 * sqrt(1.0 / 12 / count));
}

/* input at `scale`, then (rounded) a rescale by q[1], output; n slots of ring 2^13 */
static double measured_variance(double scale, bool rescaled)
{
    enum { SLOTS = 4096 };
    struct prog *p = new_prog(STAGE_CKKS, 1, 1, SLOTS);
    uint64_t q[2], special[1];
    p->params = (struct params){.log_n = 13, .num_q = 2, .num_p = 1, .alpha = 1};
    cr_assert(params_primes(13, 40, NULL, 0, 2, q));
    cr_assert(params_primes(13, 45, NULL, 0, 1, special));
    p->params.q = q;
    p->params.p = special;
    p->model.num_outputs = SLOTS;
    struct build b = build_at(p, NO_LOC, "noise");
    uint32_t l = row_layout(p, 1, 1, SLOTS, SLOTS);
    struct type fresh = {
        .kind = KIND_CT, .layout = NONE, .n = SLOTS, .level = rescaled ? 1 : 0, .scale = scale};
    build_type(&b, &fresh);
    uint32_t x = packed_input(&b, l, 0);
    if (rescaled) {
        build_int(&b, KEY_drop, 1);
        x = build1(&b, OP_rescale, x);
    }
    build_int(&b, KEY_layout, l);
    build1(&b, OP_output, x);

    double *image = arena_array(p->arena, SLOTS, sizeof *image), sum = 0;
    double *got = arena_array(p->arena, SLOTS, sizeof *got);
    struct sim *s = sim_open(p);
    const uint32_t trials = 8;
    for (uint32_t t = 0; t < trials; t++) {
        struct sim_options o = {.noise = true, .seed = 7 + t};
        sim_image(s, &o, image, got);
        for (uint32_t k = 0; k < SLOTS; k++)
            sum += square(got[k] * p->nodes.at[x].type.scale);
    }
    sim_close(s);
    arena_free(p->arena);
    return sum / (SLOTS * trials);
}

/* In units of coefficients: encryption and encoding are the same at every scale. */
Test(noise, fresh_ciphertext)
{
    double want = 8192 * 3.2 * 3.2 / 2 + 8192 / 12.0;
    cr_assert_float_eq(measured_variance(0x1p30, false) / want, 1, 0.05);
    cr_assert_float_eq(measured_variance(0x1p20, false) / want, 1, 0.05);
}

/* After division by a 40-bit prime only the rounding is left, averaged over eight secrets. */
Test(noise, rescale)
{
    double want = 8192 / 24.0 * (1 + 2 * 8192 / 3.0);
    cr_assert_float_eq(measured_variance(0x1p70, true) / want, 1, 0.1);
}

/* input -> rotation by 1 -> output at level 3 of four 40-bit primes, two a digit */
static double rotation_variance(uint32_t special_bits)
{
    enum { SLOTS = 2048 };
    struct prog *p = new_prog(STAGE_CKKS, 1, 1, SLOTS);
    uint64_t q[4], special[2];
    p->params = (struct params){.log_n = 12, .num_q = 4, .num_p = 2, .alpha = 2};
    cr_assert(params_primes(12, 40, NULL, 0, 4, q));
    cr_assert(params_primes(12, special_bits, q, 4, 2, special));
    p->params.q = q;
    p->params.p = special;
    p->model.num_outputs = SLOTS;
    struct build b = build_at(p, NO_LOC, "noise");
    uint32_t l = row_layout(p, 1, 1, SLOTS, SLOTS);
    struct type fresh = {.kind = KIND_CT, .layout = NONE, .n = SLOTS, .level = 3, .scale = 0x1p40};
    build_type(&b, &fresh);
    uint32_t x = packed_input(&b, l, 0), digits = build1(&b, OP_decompose, x);
    build_int(&b, KEY_by, 1);
    x = build2(&b, OP_key_mul, digits, x);
    build_int(&b, KEY_drop, 0);
    x = build1(&b, OP_mod_down, x);
    build_int(&b, KEY_layout, l);
    build1(&b, OP_output, x);

    double *image = arena_array(p->arena, SLOTS, sizeof *image), sum = 0;
    double *got = arena_array(p->arena, SLOTS, sizeof *got);
    struct sim *s = sim_open(p);
    const uint32_t trials = 16;
    for (uint32_t t = 0; t < trials; t++) {
        struct sim_options o = {.noise = true, .seed = 70 + t};
        sim_image(s, &o, image, got);
        for (uint32_t k = 0; k < SLOTS; k++)
            sum += square(got[k] * fresh.scale);
    }
    sim_close(s);
    arena_free(p->arena);
    return sum / (SLOTS * trials);
}

Test(noise, key_switching)
{
    double n = 4096, fixed = n * 3.2 * 3.2 / 2 + n / 12 + n / 24 * (1 + 2 * n / 3);
    /* digits as large as P: two terms that dwarf the rest */
    double want = fixed + 2 * (n / 24 * n * 3.2 * 3.2);
    cr_assert_float_eq(rotation_variance(40) / want, 1, 0.1);
    /* P larger by 2^20: encryption and rounding only */
    cr_assert_float_eq(rotation_variance(50) / fixed, 1, 0.1);
}

Test(noise, bound_is_six_standard_deviations)
{
    struct prog *p = new_prog(STAGE_CKKS, 1, 1, 4);
    uint64_t q[1];
    p->params = (struct params){.log_n = 13, .num_q = 1, .alpha = 1};
    cr_assert(params_primes(13, 40, NULL, 0, 1, q));
    p->params.q = q;
    p->model.num_outputs = 4;
    struct build b = build_at(p, NO_LOC, "bound");
    uint32_t l = row_layout(p, 1, 1, 4, 4);
    struct type fresh = {.kind = KIND_CT, .layout = NONE, .n = 4, .level = 0, .scale = 0x1p30};
    build_type(&b, &fresh);
    uint32_t x = packed_input(&b, l, 0);
    build_int(&b, KEY_layout, l);
    build1(&b, OP_output, x);
    struct prog *nn = prog_derive(p, STAGE_NN);
    b = build_at(nn, NO_LOC, "bound");
    build1(&b, OP_output, input(&b));
    p->reference = nn->nodes;

    /* the mean of 1024 copies of the four slots: 8 of the 8192 coefficients */
    double six = 6 * sqrt(8 * 3.2 * 3.2 / 2 + 8 / 12.0) / 0x1p30;
    double bound = sim_error_bound(p, NULL, 200);
    /* the worst of four slots, each estimated to 1 / sqrt(400) */
    cr_assert(bound > six * 0.9 && bound < six * 1.3, "%g, %g", bound, six);
    cr_assert_eq(bound, sim_error_bound(p, NULL, 200));
}

Test(noise, without_parameters_is_refused, .exit_code = 1)
{
    struct prog *p = new_prog(STAGE_NN, 1, 1, 1);
    p->model.num_outputs = 1;
    struct build b = build_at(p, NO_LOC, "");
    build1(&b, OP_output, input(&b));
    double got[1];
    sim_run(p, &(struct sim_options){.noise = true}, NINE, got);
}
