/* SPDX-License-Identifier: Apache-2.0 */
#include "nn_build.h"

#include <math.h>

const struct type *const_type(const struct prog *p, uint32_t c)
{
    return &p->consts.at[c].type;
}

static uint64_t const_elements(const struct prog *p, uint32_t c)
{
    const struct type *t = const_type(p, c);
    uint64_t n = 1;
    for (uint32_t i = 0; i < t->rank; i++)
        n *= t->dims[i];
    return n;
}

bool const_is_all(struct prog *p, uint32_t c, double v)
{
    const struct node *n = &p->consts.at[c];
    if (n->op == OP_fill)
        return node_real(n, KEY_value) == v;
    const double *x = const_values(p, c);
    uint64_t count = const_elements(p, c);
    for (uint64_t i = 0; i < count; i++)
        if (x[i] != v)
            return false;
    return true;
}

static bool is_fill(const struct prog *p, uint32_t c, double v)
{
    const struct node *n = &p->consts.at[c];
    return n->op == OP_fill && node_real(n, KEY_value) == v;
}

static void build_dims(struct build *b, const uint32_t *dims, uint8_t rank)
{
    int64_t d[4];
    for (uint32_t i = 0; i < rank; i++)
        d[i] = dims[i];
    build_ints(b, KEY_dims, d, rank);
}

uint32_t expr_fill(struct build *b, const uint32_t *dims, uint8_t rank, double value)
{
    build_dims(b, dims, rank);
    build_real(b, KEY_value, value);
    return build_node(b, OP_fill, NULL, 0);
}

uint32_t expr_values(struct build *b, const uint32_t *dims, uint8_t rank, const double *data)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < rank; i++)
        count *= dims[i];
    build_dims(b, dims, rank);
    build_reals(b, KEY_data, data, count);
    return build_node(b, OP_values, NULL, 0);
}

/* Arithmetic on two fills of one shape is a fill; the evaluator would compute the same doubles. */
static bool both_fill(const struct build *b, uint32_t x, uint32_t y, double *u, double *v)
{
    const struct node *n = &b->p->consts.at[x], *m = &b->p->consts.at[y];
    if (n->op != OP_fill || m->op != OP_fill)
        return false;
    *u = node_real(n, KEY_value);
    *v = node_real(m, KEY_value);
    return true;
}

static uint32_t fill_like(struct build *b, uint32_t x, double value)
{
    struct type t = *const_type(b->p, x);
    return expr_fill(b, t.dims, t.rank, value);
}

uint32_t expr_add(struct build *b, uint32_t x, uint32_t y)
{
    double u, v;
    if (both_fill(b, x, y, &u, &v))
        return fill_like(b, x, u + v);
    if (is_fill(b->p, x, 0))
        return y;
    return is_fill(b->p, y, 0) ? x : build2(b, OP_c_add, x, y);
}

uint32_t expr_sub(struct build *b, uint32_t x, uint32_t y)
{
    double u, v;
    if (both_fill(b, x, y, &u, &v))
        return fill_like(b, x, u - v);
    return is_fill(b->p, y, 0) ? x : build2(b, OP_c_sub, x, y);
}

uint32_t expr_mul(struct build *b, uint32_t x, uint32_t y)
{
    double u, v;
    if (both_fill(b, x, y, &u, &v))
        return fill_like(b, x, u * v);
    if (is_fill(b->p, x, 1))
        return y;
    return is_fill(b->p, y, 1) ? x : build2(b, OP_c_mul, x, y);
}

uint32_t expr_div(struct build *b, uint32_t x, uint32_t y)
{
    double u, v;
    if (both_fill(b, x, y, &u, &v) && v != 0)
        return fill_like(b, x, u / v);
    return is_fill(b->p, y, 1) ? x : build2(b, OP_c_div, x, y);
}

uint32_t expr_mul_axis(struct build *b, uint32_t x, uint32_t y, uint32_t axis)
{
    const struct node *n = &b->p->consts.at[x];
    if (is_fill(b->p, y, 1))
        return x;
    /* (x * a) * y along one axis is x * (a * y): keeps a pool's fill visible under its scales */
    if (n->op == OP_c_mul && node_int_or(n, KEY_axis, -1) == (int64_t)axis) {
        uint32_t inner = n->args[0];
        y = expr_mul(b, n->args[1], y);
        x = inner;
    }
    build_int(b, KEY_axis, axis);
    return build2(b, OP_c_mul, x, y);
}

uint32_t expr_affine(struct build *b, uint32_t x, double mul, double add)
{
    const struct node *n = &b->p->consts.at[x];
    if (mul == 1 && add == 0)
        return x;
    if (n->op == OP_fill)
        return fill_like(b, x, mul * node_real(n, KEY_value) + add);
    build_real(b, KEY_mul, mul);
    build_real(b, KEY_add, add);
    return build1(b, OP_c_affine, x);
}

uint32_t expr_pow(struct build *b, uint32_t x, double exponent)
{
    const struct node *n = &b->p->consts.at[x];
    if (exponent == 1)
        return x;
    if (n->op == OP_fill)
        return fill_like(b, x, pow(node_real(n, KEY_value), exponent));
    build_real(b, KEY_exponent, exponent);
    return build1(b, OP_c_pow, x);
}

uint32_t expr_abs(struct build *b, uint32_t x)
{
    const struct node *n = &b->p->consts.at[x];
    if (n->op == OP_fill)
        return fill_like(b, x, fabs(node_real(n, KEY_value)));
    return build1(b, OP_c_abs, x);
}

uint32_t expr_sign(struct build *b, uint32_t x)
{
    const struct node *n = &b->p->consts.at[x];
    if (n->op == OP_fill) {
        double v = node_real(n, KEY_value);
        return fill_like(b, x, (v > 0) - (v < 0));
    }
    return build1(b, OP_c_sign, x);
}

uint32_t expr_reshape(struct build *b, uint32_t x, const uint32_t *dims, uint8_t rank)
{
    const struct node *n = &b->p->consts.at[x];
    if (n->op == OP_fill)
        return expr_fill(b, dims, rank, node_real(n, KEY_value));
    if (n->op == OP_c_reshape)
        return expr_reshape(b, n->args[0], dims, rank);
    bool same = n->type.rank == rank;
    for (uint32_t i = 0; same && i < rank; i++)
        same = n->type.dims[i] == dims[i];
    if (same)
        return x;
    build_dims(b, dims, rank);
    return build1(b, OP_c_reshape, x);
}

uint32_t expr_slice(struct build *b, uint32_t x, uint32_t axis, uint32_t from, uint32_t count)
{
    const struct node *n = &b->p->consts.at[x];
    if (from == 0 && count == n->type.dims[axis])
        return x;
    if (n->op == OP_fill) {
        uint32_t dims[4] = {n->type.dims[0], n->type.dims[1], n->type.dims[2], n->type.dims[3]};
        dims[axis] = count;
        return expr_fill(b, dims, n->type.rank, node_real(n, KEY_value));
    }
    build_int(b, KEY_axis, axis);
    build_int(b, KEY_from, from);
    build_int(b, KEY_count, count);
    return build1(b, OP_c_slice, x);
}

uint32_t expr_sum(struct build *b, uint32_t x, uint32_t y)
{
    if (x == NONE)
        return y;
    return y == NONE ? x : expr_add(b, x, y);
}

/* ---- maps ----------------------------------------------------------------------------------- */

struct map_draft map_draft(struct build *b, const uint32_t out[3])
{
    return (struct map_draft){.b = b, .out = {out[0], out[1], out[2]}, .bias = NONE};
}

struct lterm lterm_plain(const struct prog *p, uint32_t operand, uint32_t weight, uint32_t groups)
{
    const uint32_t *in = p->nodes.at[operand].type.dims;
    return (struct lterm){.in_layout = NONE,
                          .in = {in[0], in[1], in[2]},
                          .weight = weight,
                          .groups = groups,
                          .stride = {1, 1},
                          .dilation = {1, 1},
                          .up = {1, 1},
                          .wrap = WRAP_ZEROS};
}

void map_draft_add(struct map_draft *d, const struct lterm *t, uint32_t operand)
{
    struct arena *a = d->b->p->arena;
    uint32_t len = d->len;
    ARENA_GROW(a, d->term, len, d->cap_term);
    ARENA_GROW(a, d->arg, len, d->cap_arg);
    d->term[len] = *t;
    d->term[len].in_layout = NONE;
    d->arg[len] = operand;
    d->len = len + 1;
}

void map_draft_bias(struct map_draft *d, uint32_t bias)
{
    d->bias = expr_sum(d->b, d->bias, bias);
}

uint32_t map_draft_build(struct map_draft *d)
{
    struct lmap m = {.out = {d->out[0], d->out[1], d->out[2]},
                     .out_layout = NONE,
                     .num_terms = d->len,
                     .term = d->term};
    build_int(d->b, KEY_map, prog_add_map(d->b->p, &m));
    if (d->bias != NONE)
        build_int(d->b, KEY_bias, d->bias);
    return build_node(d->b, OP_map, d->arg, d->len);
}

uint32_t scale_map(struct build *b, uint32_t x, uint32_t scale, uint32_t bias)
{
    const uint32_t *dims = b->p->nodes.at[x].type.dims;
    uint32_t out[3] = {dims[0], dims[1], dims[2]};
    uint32_t weight = expr_reshape(b, scale, (uint32_t[]){out[0], 1, 1, 1}, 4);
    struct lterm t = lterm_plain(b->p, x, weight, out[0]);
    struct map_draft d = map_draft(b, out);
    map_draft_add(&d, &t, x);
    map_draft_bias(&d, bias);
    return map_draft_build(&d);
}

uint32_t add_channel(struct build *b, uint32_t x, uint32_t bias)
{
    build_int(b, KEY_bias, bias);
    return build1(b, OP_add_channel, x);
}

const struct lmap *node_map(const struct prog *p, const struct node *n)
{
    return &p->maps[node_int(n, KEY_map)];
}

bool is_scale_term(const struct prog *p, const struct lmap *m, const struct lterm *t)
{
    const struct type *w = const_type(p, t->weight);
    for (int i = 0; i < 4; i++)
        if (t->pad[i] != 0)
            return false;
    return w->dims[0] == t->in[0] && w->dims[1] == 1 && w->dims[2] == 1 && w->dims[3] == 1 &&
           t->groups == t->in[0] && m->out[0] == t->in[0] && t->out_from == 0 && t->in_from == 0 &&
           t->stride[0] == 1 && t->stride[1] == 1 && m->out[1] == t->in[1] * t->up[0] &&
           m->out[2] == t->in[2] * t->up[1];
}

bool is_scale_map(const struct prog *p, const struct node *n)
{
    if (n->op != OP_map || n->num_args != 1)
        return false;
    const struct lmap *m = node_map(p, n);
    return is_scale_term(p, m, &m->term[0]) && m->term[0].up[0] == 1 && m->term[0].up[1] == 1;
}
