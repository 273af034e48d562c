/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

/*
 * The network's operators on [C][H][W] arrays, each from its textbook definition. All but `map`
 * know nothing of linear maps and layouts: they are what the lowering passes are compared with.
 */

#include <math.h>
#include <string.h>

struct shape {
    uint32_t c, h, w;
};

static struct shape shape_of(const struct type *t)
{
    return (struct shape){t->dims[0], t->dims[1], t->dims[2]};
}

static size_t at(struct shape s, uint32_t c, uint32_t h, uint32_t w)
{
    return ((size_t)c * s.h + h) * s.w + w;
}

static const double *constant(struct sim *s, const struct node *n, enum key k)
{
    uint32_t c = node_ref_or_none(n, k);
    return c == NONE ? NULL : const_values(s->p, c);
}

static const uint32_t *constant_dims(const struct sim *s, const struct node *n, enum key k)
{
    return s->p->consts.at[node_int(n, k)].type.dims;
}

/* Index into the H x W plane that position (r, c), possibly outside, reads; -1: nothing. */
static int64_t wrapped(struct shape in, int64_t r, int64_t c, enum wrap wrap)
{
    int64_t h = in.h, w = in.w, flat = r * w + c;
    switch (wrap) {
    case WRAP_CIRCULAR:
        return ((r % h + h) % h) * w + (c % w + w) % w;
    case WRAP_SPIRAL:
        return (flat % (h * w) + h * w) % (h * w);
    default:
        return r < 0 || r >= h || c < 0 || c >= w ? -1 : flat;
    }
}

void sim_op_conv2d(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    struct shape in = shape_of(sim_arg_type(s, n, 0)), out = shape_of(&n->type);
    const double *x = sim_arg(s, n, 0), *w = constant(s, n, KEY_w),
                 *bias = constant(s, n, KEY_bias);
    const uint32_t *dims = constant_dims(s, n, KEY_w);
    uint32_t len;
    const int64_t *stride = node_ints(n, KEY_stride, &len), *pad = node_ints(n, KEY_pad, &len);
    const int64_t *dilation = node_ints(n, KEY_dilation, &len);
    uint32_t per_group = dims[1], outs_per_group = out.c / (uint32_t)node_int(n, KEY_groups);
    enum wrap wrap = (enum wrap)node_int(n, KEY_wrap);
    double *y = sim_result(s, i);

    for (uint32_t o = 0; o < out.c; o++)
        for (uint32_t yh = 0; yh < out.h; yh++)
            for (uint32_t yw = 0; yw < out.w; yw++) {
                double sum = bias ? bias[o] : 0;
                for (uint32_t c = 0; c < per_group; c++)
                    for (uint32_t kh = 0; kh < dims[2]; kh++)
                        for (uint32_t kw = 0; kw < dims[3]; kw++) {
                            int64_t pixel =
                                wrapped(in, yh * stride[0] + kh * dilation[0] - pad[0],
                                        yw * stride[1] + kw * dilation[1] - pad[2], wrap);
                            if (pixel < 0)
                                continue;
                            uint32_t channel = o / outs_per_group * per_group + c;
                            sum += w[(((size_t)o * per_group + c) * dims[2] + kh) * dims[3] + kw] *
                                   x[(size_t)channel * in.h * in.w + (size_t)pixel];
                        }
                y[at(out, o, yh, yw)] = sum;
            }
}

void sim_op_batch_norm(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const double *gamma = constant(s, n, KEY_gamma), *beta = constant(s, n, KEY_beta);
    const double *mean = constant(s, n, KEY_mean), *var = constant(s, n, KEY_var);
    const double *x = sim_arg(s, n, 0);
    struct shape d = shape_of(&n->type);
    double eps = node_real(n, KEY_eps), *y = sim_result(s, i);
    for (uint32_t c = 0; c < d.c; c++)
        for (size_t k = at(d, c, 0, 0); k < at(d, c + 1, 0, 0); k++)
            y[k] = gamma[c] * (x[k] - mean[c]) / sqrt(var[c] + eps) + beta[c];
}

void sim_op_linear(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const double *x = sim_arg(s, n, 0), *w = constant(s, n, KEY_w),
                 *bias = constant(s, n, KEY_bias);
    const uint32_t *dims = constant_dims(s, n, KEY_w);
    double *y = sim_result(s, i);
    for (uint32_t o = 0; o < dims[0]; o++) {
        double sum = bias ? bias[o] : 0;
        for (uint32_t k = 0; k < dims[1]; k++)
            sum += w[(size_t)o * dims[1] + k] * x[k];
        y[o] = sum;
    }
}

/* Padding counts as zeros and the divisor is the kernel's size, wherever the window lies. */
void sim_op_avg_pool(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    struct shape in = shape_of(sim_arg_type(s, n, 0)), out = shape_of(&n->type);
    const double *x = sim_arg(s, n, 0);
    uint32_t len;
    const int64_t *kernel = node_ints(n, KEY_kernel, &len),
                  *stride = node_ints(n, KEY_stride, &len);
    const int64_t *pad = node_ints(n, KEY_pad, &len);
    double *y = sim_result(s, i);
    for (uint32_t c = 0; c < out.c; c++)
        for (uint32_t yh = 0; yh < out.h; yh++)
            for (uint32_t yw = 0; yw < out.w; yw++) {
                double sum = 0;
                for (int64_t kh = 0; kh < kernel[0]; kh++)
                    for (int64_t kw = 0; kw < kernel[1]; kw++) {
                        int64_t pixel = wrapped(in, yh * stride[0] + kh - pad[0],
                                                yw * stride[1] + kw - pad[2], WRAP_ZEROS);
                        if (pixel >= 0)
                            sum += x[(size_t)c * in.h * in.w + (size_t)pixel];
                    }
                y[at(out, c, yh, yw)] = sum / ((double)kernel[0] * (double)kernel[1]);
            }
}

void sim_op_global_avg_pool(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    struct shape in = shape_of(sim_arg_type(s, n, 0));
    const double *x = sim_arg(s, n, 0);
    double *y = sim_result(s, i);
    for (uint32_t c = 0; c < in.c; c++) {
        double sum = 0;
        for (size_t k = at(in, c, 0, 0); k < at(in, c + 1, 0, 0); k++)
            sum += x[k];
        y[c] = sum / ((double)in.h * in.w);
    }
}

void sim_op_upsample_nearest(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    struct shape in = shape_of(sim_arg_type(s, n, 0)), out = shape_of(&n->type);
    const double *x = sim_arg(s, n, 0);
    uint32_t len;
    const int64_t *factor = node_ints(n, KEY_factor, &len);
    double *y = sim_result(s, i);
    for (uint32_t c = 0; c < out.c; c++)
        for (uint32_t h = 0; h < out.h; h++)
            for (uint32_t w = 0; w < out.w; w++)
                y[at(out, c, h, w)] =
                    x[at(in, c, h / (uint32_t)factor[0], w / (uint32_t)factor[1])];
}

void sim_op_flatten(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const double *x = sim_arg(s, n, 0);
    memcpy(sim_result(s, i), x, sim_value_len(&n->type) * sizeof *x);
}

void sim_op_concat(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    double *y = sim_result(s, i);
    for (uint32_t k = 0; k < n->num_args; k++) {
        size_t len = sim_value_len(sim_arg_type(s, n, k));
        memcpy(y, sim_arg(s, n, k), len * sizeof *y);
        y += len;
    }
}

void sim_op_poly(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const struct type *ct = &s->p->consts.at[node_int(n, KEY_coeff)].type;
    const double *x = sim_arg(s, n, 0), *coeff = constant(s, n, KEY_coeff);
    struct shape d = shape_of(&n->type);
    uint32_t terms = ct->dims[0];
    bool per_channel = ct->rank == 2;
    double *y = sim_result(s, i);
    for (uint32_t c = 0; c < d.c; c++)
        for (size_t k = at(d, c, 0, 0); k < at(d, c + 1, 0, 0); k++) {
            double sum = 0, power = 1;
            for (uint32_t t = 0; t < terms; t++, power *= x[k])
                sum += (per_channel ? coeff[(size_t)t * d.c + c] : coeff[t]) * power;
            y[k] = sum;
        }
}

static void add_bias(struct shape d, const double *bias, double *y)
{
    for (uint32_t c = 0; c < d.c; c++)
        for (size_t k = at(d, c, 0, 0); k < at(d, c + 1, 0, 0); k++)
            y[k] += bias[c];
}

void sim_op_map(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const struct lmap *m = &s->p->maps[node_int(n, KEY_map)];
    const double *bias = constant(s, n, KEY_bias);
    double *y = sim_result(s, i);
    for (uint32_t k = 0; k < n->num_args; k++)
        lmap_apply(s->p, m, k, sim_arg(s, n, k), y);
    if (bias)
        add_bias(shape_of(&n->type), bias, y);
}

void sim_op_add_channel(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    const double *x = sim_arg(s, n, 0);
    double *y = sim_result(s, i);
    memcpy(y, x, sim_value_len(&n->type) * sizeof *y);
    add_bias(shape_of(&n->type), constant(s, n, KEY_bias), y);
}
