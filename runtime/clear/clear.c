/* SPDX-License-Identifier: Apache-2.0 */
#include "rt_clear.h"

/* A virtual (row, column) of the operand after upsampling -> where it is read, or nowhere. */
static bool wrap_position(const struct rt_clear_term *t, int64_t *row, int64_t *col)
{
    int64_t rows = (int64_t)t->in[1] * t->up[0];
    int64_t cols = (int64_t)t->in[2] * t->up[1];
    int64_t flat;
    switch (t->wrap) {
    case 1:
        *row = (*row % rows + rows) % rows;
        *col = (*col % cols + cols) % cols;
        return true;
    case 2:
        flat = *row * cols + *col;
        flat = (flat % (rows * cols) + rows * cols) % (rows * cols);
        *row = flat / cols;
        *col = flat % cols;
        return true;
    default:
        return *row >= 0 && *row < rows && *col >= 0 && *col < cols;
    }
}

/* One element of the result: the window around (y, x) over the channels of the group of o. */
static double window(const double *values, const struct rt_clear_term *t, const double *in,
                     uint32_t o, uint32_t y, uint32_t x)
{
    const uint32_t *dims = t->weight_dims; /* [Ct][Cg][KH][KW] */
    uint32_t group = o / (dims[0] / t->groups);
    double sum = 0;
    for (uint32_t cl = 0; cl < dims[1]; cl++) {
        size_t c = (size_t)t->in_from + (size_t)group * dims[1] + cl;
        const double *w = values + t->weight + ((size_t)o * dims[1] + cl) * dims[2] * dims[3];
        for (uint32_t kh = 0; kh < dims[2]; kh++) {
            for (uint32_t kw = 0; kw < dims[3]; kw++, w++) {
                int64_t row = (int64_t)y * t->stride[0] + (int64_t)kh * t->dilation[0] - t->pad[0];
                int64_t col = (int64_t)x * t->stride[1] + (int64_t)kw * t->dilation[1] - t->pad[2];
                if (wrap_position(t, &row, &col)) {
                    size_t h = (size_t)(row / t->up[0]);
                    size_t v = (size_t)(col / t->up[1]);
                    sum += *w * in[(c * t->in[1] + h) * t->in[2] + v];
                }
            }
        }
    }
    return sum;
}

void rt_clear_map(const double *values, const struct rt_clear_term *t, const double *x, double *y)
{
    for (uint32_t o = 0; o < t->weight_dims[0]; o++) {
        double *plane = y + ((size_t)t->out_from + o) * t->out[1] * t->out[2];
        for (uint32_t r = 0; r < t->out[1]; r++) {
            for (uint32_t s = 0; s < t->out[2]; s++) {
                *plane++ += window(values, t, x, o, r, s);
            }
        }
    }
}

void rt_clear_bias(const double *values, uint64_t bias, uint32_t c, uint32_t hw, double *y)
{
    for (uint32_t i = 0; i < c; i++) {
        for (uint32_t j = 0; j < hw; j++) {
            *y++ += values[bias + i];
        }
    }
}

void rt_clear_poly(const double *values, uint64_t coeff, uint32_t degree, bool per_channel,
                   uint32_t c, uint32_t hw, const double *x, double *y)
{
    size_t step = per_channel ? c : 1; /* from one power's coefficient to the next */
    for (uint32_t i = 0; i < c; i++) {
        const double *first = values + coeff + (per_channel ? i : 0);
        for (uint32_t j = 0; j < hw; j++) {
            double sum = 0;
            for (uint32_t k = degree + 1; k-- > 0;) {
                sum = sum * *x + first[k * step];
            }
            *y++ = sum;
            x++;
        }
    }
}

void rt_clear_add(size_t n, double *y, const double *a, const double *b)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] + b[i];
    }
}

void rt_clear_sub(size_t n, double *y, const double *a, const double *b)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] - b[i];
    }
}

void rt_clear_mul(size_t n, double *y, const double *a, const double *b)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] * b[i];
    }
}
