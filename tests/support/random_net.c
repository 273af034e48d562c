/* SPDX-License-Identifier: Apache-2.0 */
#include "random_net.h"

#include <math.h>
#include <stdlib.h>

#include "backends.h"

/* ---- numbers --------------------------------------------------------------------------------- */

struct random random_from(uint64_t seed)
{
    struct random r = {(seed + 1) * 0x9e3779b97f4a7c15U};
    for (int i = 0; i < 4; i++)
        random_u64(&r);
    return r;
}

uint64_t random_u64(struct random *r)
{
    r->state ^= r->state >> 12;
    r->state ^= r->state << 25;
    r->state ^= r->state >> 27;
    return r->state * 0x2545f4914f6cdd1dU;
}

uint32_t random_below(struct random *r, uint32_t n)
{
    return (uint32_t)((random_u64(r) >> 32) * n >> 32);
}

uint32_t random_range(struct random *r, uint32_t lo, uint32_t hi)
{
    return lo + random_below(r, hi - lo + 1);
}

bool random_chance(struct random *r, uint32_t percent)
{
    return random_below(r, 100) < percent;
}

double random_real(struct random *r, double lo, double hi)
{
    return lo + (hi - lo) * ((double)(random_u64(r) >> 11) * 0x1p-53);
}

static uint64_t from_environment(const char *name, uint64_t otherwise)
{
    const char *text = getenv(name);
    return text ? strtoull(text, NULL, 0) : otherwise;
}

uint64_t random_seed(uint64_t otherwise)
{
    uint64_t seed = from_environment("SEED", otherwise);
    fprintf(stderr, "SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

uint32_t random_trials(uint32_t otherwise)
{
    return (uint32_t)from_environment("TRIALS", otherwise);
}

/* ---- the network under construction ---------------------------------------------------------- */

/* A flattened tensor that is used as such has at most so many pixels (nn_linear). */
enum { MAX_VALUES = 64, MAX_FLATTENED = 256 };

struct net {
    struct random r;
    struct random_net limit;
    struct build b;
    uint32_t value[MAX_VALUES], depth[MAX_VALUES];
    uint32_t len;
};

static const uint32_t *dims_of(const struct net *n, uint32_t i)
{
    return n->b.p->nodes.at[n->value[i]].type.dims;
}

static uint32_t random_const(struct net *n, const int64_t *dims, uint32_t rank, double lo,
                             double hi)
{
    uint32_t count = 1;
    for (uint32_t i = 0; i < rank; i++)
        count *= (uint32_t)dims[i];
    double *v = arena_array(n->b.p->arena, count, sizeof *v);
    for (uint32_t i = 0; i < count; i++)
        v[i] = random_real(&n->r, lo, hi);
    build_ints(&n->b, KEY_dims, dims, rank);
    build_reals(&n->b, KEY_data, v, count);
    return build_node(&n->b, OP_values, NULL, 0);
}

static uint32_t random_vector(struct net *n, uint32_t len, double lo, double hi)
{
    return random_const(n, (int64_t[]){len}, 1, lo, hi);
}

static bool push(struct net *n, uint32_t value, uint32_t depth)
{
    n->value[n->len] = value;
    n->depth[n->len++] = depth;
    return true;
}

static bool too_deep(const struct net *n, uint32_t depth)
{
    return n->limit.max_depth && depth > n->limit.max_depth;
}

static bool too_large(const struct net *n, uint64_t c, uint64_t h, uint64_t w)
{
    return c == 0 || h == 0 || w == 0 || c * h * w > n->limit.max_elements;
}

/* ---- layers; each takes value x and returns false where it does not fit ---------------------- */

static void pair_attr(struct net *n, enum key k, uint32_t a, uint32_t b)
{
    build_ints(&n->b, k, (int64_t[]){a, b}, 2);
}

static bool add_conv(struct net *n, uint32_t x)
{
    struct random *r = &n->r;
    const uint32_t *d = dims_of(n, x);
    uint32_t c = d[0], k[2], s[2], dil[2], out[2];
    int64_t pad[4];
    for (uint32_t i = 0; i < 2; i++) {
        k[i] = random_range(r, 1, random_chance(r, 70) ? 3 : 5);
        s[i] = random_chance(r, 60) ? 1 : random_range(r, 1, 3);
        dil[i] = random_chance(r, 80) ? 1 : 2;
        bool same = random_chance(r, 60);
        pad[2 * i] = same ? (k[i] - 1) * dil[i] / 2 : random_below(r, 3);
        pad[2 * i + 1] = random_chance(r, 80) ? pad[2 * i] : random_below(r, 3);
        out[i] =
            window_size(d[1 + i], k[i], s[i], (int32_t)pad[2 * i], (int32_t)pad[2 * i + 1], dil[i]);
    }
    uint32_t groups = 1;
    if (random_chance(r, 40))
        do
            groups = random_range(r, 1, c);
        while (c % groups);
    uint32_t outs = groups * random_range(r, 1, groups > 3 ? 2 : 5), depth = n->depth[x] + 1;
    if (too_large(n, outs, out[0], out[1]) || too_deep(n, depth))
        return false;
    double size = 1.4 / sqrt((double)k[0] * k[1] * (c / groups));
    uint32_t w = random_const(n, (int64_t[]){outs, c / groups, k[0], k[1]}, 4, -size, size);
    uint32_t bias = random_chance(r, 60) ? random_vector(n, outs, -0.3, 0.3) : NONE;
    build_int(&n->b, KEY_w, w);
    if (bias != NONE)
        build_int(&n->b, KEY_bias, bias);
    pair_attr(n, KEY_stride, s[0], s[1]);
    pair_attr(n, KEY_dilation, dil[0], dil[1]);
    build_ints(&n->b, KEY_pad, pad, 4);
    build_int(&n->b, KEY_groups, groups);
    build_int(&n->b, KEY_wrap, random_chance(r, 70) ? WRAP_ZEROS : random_range(r, 1, 2));
    return push(n, build1(&n->b, OP_conv2d, n->value[x]), depth);
}

static bool add_batch_norm(struct net *n, uint32_t x)
{
    uint32_t c = dims_of(n, x)[0], depth = n->depth[x] + 1;
    if (too_deep(n, depth))
        return false;
    uint32_t gamma = random_vector(n, c, random_chance(&n->r, 50) ? 0.5 : -1.2, 1.2);
    uint32_t beta = random_vector(n, c, -0.3, 0.3), mean = random_vector(n, c, -0.3, 0.3);
    uint32_t var = random_vector(n, c, 0.7, 2);
    build_int(&n->b, KEY_gamma, gamma);
    build_int(&n->b, KEY_beta, beta);
    build_int(&n->b, KEY_mean, mean);
    build_int(&n->b, KEY_var, var);
    build_real(&n->b, KEY_eps, 1e-5);
    return push(n, build1(&n->b, OP_batch_norm, n->value[x]), depth);
}

static bool add_flatten(struct net *n, uint32_t x)
{
    return push(n, build1(&n->b, OP_flatten, n->value[x]), n->depth[x]);
}

static bool add_linear(struct net *n, uint32_t x)
{
    const uint32_t *d = dims_of(n, x);
    uint32_t outs = random_range(&n->r, 1, 12), depth = n->depth[x] + 1;
    if (too_deep(n, depth))
        return false;
    uint32_t ins = d[0] * d[1] * d[2], value = n->value[x];
    if (d[1] * d[2] > 1) {
        value = build1(&n->b, OP_flatten, value);
        if (d[1] * d[2] <= MAX_FLATTENED)
            push(n, value, n->depth[x]);
    }
    double size = 1.4 / sqrt(ins);
    uint32_t w = random_const(n, (int64_t[]){outs, ins}, 2, -size, size);
    uint32_t bias = random_chance(&n->r, 60) ? random_vector(n, outs, -0.3, 0.3) : NONE;
    build_int(&n->b, KEY_w, w);
    if (bias != NONE)
        build_int(&n->b, KEY_bias, bias);
    return push(n, build1(&n->b, OP_linear, value), depth);
}

static bool add_pool(struct net *n, uint32_t x)
{
    struct random *r = &n->r;
    const uint32_t *d = dims_of(n, x);
    uint32_t depth = n->depth[x] + 1, k[2], s[2], out[2];
    int64_t pad[4];
    if (too_deep(n, depth))
        return false;
    if (random_chance(r, 30))
        return push(n, build1(&n->b, OP_global_avg_pool, n->value[x]), depth);
    for (uint32_t i = 0; i < 2; i++) {
        k[i] = random_range(r, 1, 3);
        s[i] = random_chance(r, 60) ? k[i] : random_range(r, 1, 3);
        pad[2 * i] = random_below(r, k[i]);
        pad[2 * i + 1] = random_below(r, k[i]);
        out[i] = window_size(d[1 + i], k[i], s[i], (int32_t)pad[2 * i], (int32_t)pad[2 * i + 1], 1);
    }
    if (too_large(n, d[0], out[0], out[1]))
        return false;
    pair_attr(n, KEY_kernel, k[0], k[1]);
    pair_attr(n, KEY_stride, s[0], s[1]);
    build_ints(&n->b, KEY_pad, pad, 4);
    return push(n, build1(&n->b, OP_avg_pool, n->value[x]), depth);
}

static bool add_upsample(struct net *n, uint32_t x)
{
    const uint32_t *d = dims_of(n, x);
    uint32_t f[2] = {random_range(&n->r, 1, 3), random_range(&n->r, 1, 3)}, depth = n->depth[x] + 1;
    if (too_large(n, d[0], d[1] * f[0], d[2] * f[1]) || too_deep(n, depth))
        return false;
    pair_attr(n, KEY_factor, f[0], f[1]);
    return push(n, build1(&n->b, OP_upsample_nearest, n->value[x]), depth);
}

/* Coefficients that a normalisation of the lead can trip over */
static void random_coefficients(struct net *n, double *v, uint32_t degree, uint32_t width)
{
    struct random *r = &n->r;
    uint32_t style = random_below(r, 6);
    double scale = 0.6;
    for (uint32_t k = 0; k <= degree; k++, scale *= 0.7)
        for (uint32_t c = 0; c < width; c++) {
            double x = random_real(r, 0.1, 1) * scale;
            v[k * width + c] = random_chance(r, 50) ? -x : x;
        }
    for (uint32_t k = 0; k < degree; k++)
        if (random_chance(r, 30))
            for (uint32_t c = 0; c < width; c++)
                v[k * width + c] = 0;
    for (uint32_t c = 0; c < width; c++) {
        double *lead = &v[degree * width + c];
        if (style == 0 || style == 1)
            *lead = style ? -fabs(*lead) : fabs(*lead);
        else if (style == 2 && random_chance(r, 50))
            *lead = random_chance(r, 50) ? 0 : 1e-7;
    }
    if (style == 3)
        for (uint32_t i = 0; i < (degree + 1) * width; i++)
            v[i] = i / width == degree && degree <= 4 ? 1 : 0;
}

static uint32_t levels_of(uint32_t degree)
{
    uint32_t levels = 0;
    while (1U << levels <= degree)
        levels++;
    return levels + 1;
}

static bool add_poly(struct net *n, uint32_t x)
{
    uint32_t degree = random_range(&n->r, 1, n->limit.max_degree), c = dims_of(n, x)[0];
    bool per_channel = random_chance(&n->r, 60);
    uint32_t width = per_channel ? c : 1, depth = n->depth[x] + levels_of(degree);
    if (too_deep(n, depth))
        return false;
    double *v = arena_array(n->b.p->arena, (size_t)(degree + 1) * width, sizeof *v);
    random_coefficients(n, v, degree, width);
    build_ints(&n->b, KEY_dims, (int64_t[]){degree + 1, c}, per_channel ? 2 : 1);
    build_reals(&n->b, KEY_data, v, (degree + 1) * width);
    build_int(&n->b, KEY_coeff, build_node(&n->b, OP_values, NULL, 0));
    return push(n, build1(&n->b, OP_poly, n->value[x]), depth);
}

static bool add_concat(struct net *n, uint32_t x)
{
    uint32_t args[4] = {n->value[x]}, len = 1, depth = n->depth[x], c = dims_of(n, x)[0];
    const uint32_t *d = dims_of(n, x);
    for (uint32_t i = n->len; i-- > 0 && len < 4;) {
        const uint32_t *e = dims_of(n, i);
        if (e[1] != d[1] || e[2] != d[2] || i == x || random_chance(&n->r, 30))
            continue;
        args[len++] = n->value[i];
        c += e[0];
        depth = n->depth[i] > depth ? n->depth[i] : depth;
    }
    if (len == 1 || too_large(n, c, d[1], d[2]) || too_deep(n, depth + 1))
        return false;
    return push(n, build_node(&n->b, OP_concat, args, len), depth + 1);
}

static bool add_binary(struct net *n, uint32_t x)
{
    const uint32_t *d = dims_of(n, x);
    enum op op = n->limit.plain || random_chance(&n->r, 70) ? OP_add
                 : random_chance(&n->r, 50)                 ? OP_sub
                                                            : OP_mul;
    for (uint32_t tries = 0; tries < 8; tries++) {
        uint32_t y = random_below(&n->r, n->len);
        const uint32_t *e = dims_of(n, y);
        uint32_t depth = (n->depth[y] > n->depth[x] ? n->depth[y] : n->depth[x]) + 1;
        if (e[0] != d[0] || e[1] != d[1] || e[2] != d[2] || too_deep(n, depth) ||
            (y == x && n->limit.plain))
            continue;
        return push(n, build2(&n->b, op, n->value[x], n->value[y]), depth);
    }
    return false;
}

static bool add_constant(struct net *n, uint32_t x)
{
    uint32_t bias = random_vector(n, dims_of(n, x)[0], -0.4, 0.4);
    build_int(&n->b, KEY_bias, bias);
    return push(n, build1(&n->b, OP_add_channel, n->value[x]), n->depth[x]);
}

static bool add_layer(struct net *n, uint32_t x)
{
    uint32_t which = random_below(&n->r, 100);
    if (which < 32)
        return add_conv(n, x);
    if (which < 52)
        return add_poly(n, x);
    if (which < 62)
        return add_batch_norm(n, x);
    if (which < 68)
        return add_pool(n, x);
    if (which < 72)
        return add_upsample(n, x);
    if (which < 80)
        return add_concat(n, x);
    if (which < 91)
        return add_binary(n, x);
    if (which < 94)
        return n->limit.plain ? add_conv(n, x) : add_constant(n, x);
    if (which < 96)
        return dims_of(n, x)[1] * dims_of(n, x)[2] <= MAX_FLATTENED && add_flatten(n, x);
    return add_linear(n, x);
}

struct prog *random_net(struct arena *a, uint64_t seed, const struct random_net *limits)
{
    struct net n = {.r = random_from(seed)};
    if (limits)
        n.limit = *limits;
    if (!n.limit.max_layers)
        n.limit.max_layers = 8;
    if (!n.limit.max_elements)
        n.limit.max_elements = 1200;
    if (!n.limit.max_degree)
        n.limit.max_degree = 8;
    static const uint32_t odd[][2] = {{5, 7},  {13, 9}, {8, 8}, {1, 6},
                                      {11, 4}, {7, 7},  {1, 1}, {16, 16}};
    struct prog *p = prog_new(a, STAGE_NN);
    const uint32_t *size = odd[random_below(&n.r, 8)];
    do
        p->model.input[0] = random_range(&n.r, 1, 4);
    while (p->model.input[0] * size[0] * size[1] > n.limit.max_elements && size[0] > 1 &&
           (size = odd[random_below(&n.r, 8)]));
    p->model.input[1] = size[0];
    p->model.input[2] = size[1];
    p->model.name = "random";
    p->model.range[1] = 1;
    double *mean = arena_array(a, 4, sizeof *mean), *std = arena_array(a, 4, sizeof *std);
    for (int i = 0; i < 4; i++)
        std[i] = 1;
    p->model.mean = mean;
    p->model.std = std;
    n.b = build_at(p, NO_LOC, "input");
    push(&n, build_node(&n.b, OP_input, NULL, 0), 0);

    uint32_t layers = random_range(&n.r, 1, n.limit.max_layers), tries = 0;
    for (uint32_t i = 0; i < layers && n.len + 2 < MAX_VALUES && tries < 10 * layers; tries++) {
        uint32_t x = random_chance(&n.r, 80) ? n.len - 1 : random_below(&n.r, n.len);
        n.b = build_at(p, NO_LOC, arena_printf(a, "layer%u", i));
        i += add_layer(&n, x);
    }
    p->model.num_outputs = (uint32_t)type_elements(&p->nodes.at[n.value[n.len - 1]].type);
    n.b = build_at(p, NO_LOC, "output");
    build1(&n.b, OP_output, n.value[n.len - 1]);
    return p;
}

double *random_image(struct arena *a, const struct prog *p, uint64_t seed)
{
    struct random r = random_from(seed);
    const uint32_t *d = p->model.input;
    size_t len = (size_t)d[0] * d[1] * d[2];
    double *x = arena_array(a, len, sizeof *x);
    for (size_t i = 0; i < len; i++)
        x[i] = random_real(&r, -1, 1);
    return x;
}

bool random_constant(struct arena *a, struct prog *p, uint64_t seed)
{
    uint32_t len = p->model.num_outputs;
    double *one = arena_array(a, len, sizeof *one), *two = arena_array(a, len, sizeof *two);
    sim_run(p, NULL, random_image(a, p, seed), one);
    sim_run(p, NULL, random_image(a, p, seed + 1), two);
    for (uint32_t i = 0; i < len; i++)
        if (one[i] == two[i])
            return true;
    return false;
}
