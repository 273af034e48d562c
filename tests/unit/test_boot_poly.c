/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>

/* The nodes on one number, with the levels that they take */
struct run {
    double value[400];
    int depth[400];
    uint32_t products, combinations;
};

static double real_of(const struct node *n, enum key k)
{
    return node_real(n, k);
}

static void run_node(const struct prog *p, uint32_t i, struct run *r)
{
    const struct node *n = &p->nodes.at[i];
    double v = 0;
    int depth = 0;
    for (uint32_t k = 0; k < n->num_args; k++)
        depth = r->depth[n->args[k]] > depth ? r->depth[n->args[k]] : depth;
    switch (n->op) {
    case OP_mul:
        v = r->value[n->args[0]] * r->value[n->args[1]];
        depth++;
        r->products++;
        break;
    case OP_comb:
        v = real_of(n, KEY_constant);
        for (uint32_t k = 0; k < n->num_args; k++)
            v += node_attr(n, KEY_factors)->v.reals[k] * r->value[n->args[k]];
        depth++;
        r->combinations++;
        break;
    case OP_add:
        for (uint32_t k = 0; k < n->num_args; k++)
            v += r->value[n->args[k]];
        break;
    case OP_relabel:
        v = real_of(n, KEY_gain) * r->value[n->args[0]];
        break;
    case OP_add_scalar:
        v = r->value[n->args[0]] + real_of(n, KEY_constant);
        break;
    default:
        cr_assert_fail("unexpected '%s'", op_info[n->op].name);
    }
    r->value[i] = v;
    r->depth[i] = depth;
}

static struct run run(const struct prog *p, double x)
{
    struct run r = {.value = {x}};
    cr_assert_lt(p->nodes.len, 400);
    for (uint32_t i = 1; i < p->nodes.len; i++)
        run_node(p, i, &r);
    return r;
}

static struct prog *with_input(struct arena *a, struct build *b)
{
    struct prog *p = prog_new(a, STAGE_SLOT);
    p->is_function = true;
    *b = build_at(p, NO_LOC, "polynomial");
    struct type t = {.kind = KIND_VEC, .layout = NONE, .n = 4, .level = -1};
    build_type(b, &t);
    build_node(b, OP_input, NULL, 0);
    return p;
}

static double random_unit(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return (double)(*state >> 11) * 0x1p-52 - 1;
}

static int log2_ceil(uint32_t x)
{
    int k = 0;
    while (1u << k < x)
        k++;
    return k;
}

static double direct(const double *c, uint32_t degree, double x)
{
    double v = 0;
    for (uint32_t k = 0; k <= degree; k++)
        v += c[k] * cos(k * acos(x));
    return v;
}

enum parity { EVERY, ODD, EVEN };

/* Products of a polynomial of this degree; its values are compared with the definition. */
static uint32_t products_of(uint32_t degree, enum parity parity, uint64_t seed)
{
    struct arena *a = arena_new();
    struct build b;
    struct prog *p = with_input(a, &b);
    double c[BOOT_MOST_DEGREE + 1];
    for (uint32_t k = 0; k <= degree; k++)
        c[k] = parity != EVERY && (k % 2 == 1) != (parity == ODD) ? 0 : random_unit(&seed);
    uint32_t y = boot_chebyshev(&b, 0, c, degree);
    cr_assert_eq(y, p->nodes.len - 1);
    struct run r = {.products = 0};
    for (int i = 0; i <= 40; i++) {
        double x = i / 20.0 - 1;
        r = run(p, x);
        cr_assert_float_eq(r.value[y], direct(c, degree, x), 1e-12 * (degree + 1),
                           "degree %u at %g: %g", degree, x, r.value[y] - direct(c, degree, x));
    }
    cr_expect_eq(r.depth[y], log2_ceil(degree + 1), "degree %u has depth %d", degree, r.depth[y]);
    arena_free(a);
    return r.products;
}

Test(boot_poly, every_degree_is_right_and_shallow)
{
    for (uint32_t degree = 1; degree <= 127; degree++)
        products_of(degree, EVERY, 77 + degree);
    products_of(BOOT_MOST_DEGREE, EVERY, 5);
}

Test(boot_poly, odd_and_even)
{
    for (uint32_t degree = 1; degree <= 127; degree++)
        products_of(degree, degree % 2 ? ODD : EVEN, 99 + degree);
}

Test(boot_poly, number_of_products)
{
    static const struct {
        uint32_t degree;
        enum parity parity;
        uint32_t most;
    } row[] = {{3, EVERY, 2},   {7, EVERY, 5},   {15, EVERY, 8},  {31, EVERY, 13},
               {59, EVERY, 16}, {61, EVERY, 17}, {63, EVERY, 18}, {127, EVERY, 27},
               {7, ODD, 5},     {31, ODD, 12},   {62, EVEN, 14}};
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        uint32_t found = products_of(row[i].degree, row[i].parity, 1);
        cr_expect_leq(found, row[i].most, "degree %u: %u", row[i].degree, found);
    }
}

Test(boot_poly, sine_of_an_amplitude)
{
    for (uint32_t doublings = 0; doublings <= 3; doublings++) {
        struct arena *a = arena_new();
        struct build b;
        struct prog *p = with_input(a, &b);
        const struct boot_sine *s = boot_sine(31, doublings, 2, 7);
        double amplitude = 0.0123;
        uint32_t y = boot_sine_eval(&b, 0, s, amplitude);
        for (double t = -2; t <= 2; t += 1) {
            struct run r = run(p, (t + 0x1p-8) / s->k);
            cr_expect_float_eq(r.value[y], amplitude * sin(2 * M_PI * 0x1p-8), 1e-9);
            cr_expect_eq(r.depth[y], 5 + (int)doublings);
        }
        arena_free(a);
    }
}

/* What B15 and B16 run */
Test(boot_poly, default_evalmod)
{
    struct arena *a = arena_new();
    struct build b;
    struct prog *p = with_input(a, &b);
    const struct boot_sine *s = boot_sine_for(32);
    uint32_t y = boot_sine_eval(&b, 0, s, 1);
    struct run r = run(p, 0.5);
    cr_expect_eq(r.depth[y], BOOT_EVALMOD_LEVELS);
    cr_expect_eq(r.products, 16);
    arena_free(a);
}
