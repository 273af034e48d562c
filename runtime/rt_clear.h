/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_RT_CLEAR_H
#define WEFT_RT_CLEAR_H

/*
 * The same network on unencrypted numbers, for the all-in-one binary's "cleartext" column and for
 * nothing else. Generated code (model_clear.c) calls these on row-major tensors of doubles, with the
 * weights of the model data file. All functions add nothing of their own: they are definitions.
 */

#include "rt.h"

/* Term of a linear map; the formula is the one of ir/ir.h, struct lterm. */
struct rt_clear_term {
    uint32_t in[3], out[3], weight_dims[4];
    uint64_t weight; /* first value in the data file's value table */
    uint32_t out_from, in_from, groups, stride[2], dilation[2], up[2];
    int32_t pad[4];
    int wrap; /* 0 zeros, 1 circular, 2 spiral */
};

/* The value table of a mapped, checked data file */
typedef struct rt_data rt_data;
RT_MUST_CHECK enum rt_status rt_data_open(rt_data **out, uint64_t model_hash, uint64_t checksum,
                                          const char *path, struct rt_error *err);
void rt_data_close(rt_data *d);
const double *rt_data_values(const rt_data *d, uint64_t *count);

void rt_clear_map(const double *values, const struct rt_clear_term *t, const double *x,
                  double *y); /* y += M x */
void rt_clear_bias(const double *values, uint64_t bias, uint32_t c, uint32_t hw,
                   double *y); /* y[c][..] += bias[c] */
/* y = sum over k <= degree of coeff[k] x^k; coefficients [degree+1], or [degree+1][c] if per_channel */
void rt_clear_poly(const double *values, uint64_t coeff, uint32_t degree, bool per_channel,
                   uint32_t c, uint32_t hw, const double *x, double *y);
void rt_clear_add(size_t n, double *y, const double *a, const double *b);
void rt_clear_sub(size_t n, double *y, const double *a, const double *b);
void rt_clear_mul(size_t n, double *y, const double *a, const double *b);

/* What a debug build (weft build --check) compares: at point i, which rt_check() names, a register is
 * ciphertext `part` of a tensor of the network, at this level and scale. */
struct rt_clear_point {
    const char *layer;
    uint32_t line;
    uint32_t tensor, part, n; /* n: slots of the register */
    const struct rt_packing *packing;
    int32_t level;
    double scale, budget;
};
typedef void rt_clear_hook(void *ctx, uint32_t tensor, const double *value); /* [c][h][w] */

/* Generated: x is the normalised image [c][h][w], y the result [num_outputs]. False: no memory. */
struct rt_clear_program {
    bool (*run)(const double *values, const double *x, double *y);
    /* In debug builds, else NULL and 0: the network as it was packed; every tensor to the hook */
    bool (*trace)(const double *values, const double *x, double *y, rt_clear_hook *hook, void *ctx);
    const struct rt_clear_point *points;
    uint32_t num_points, num_tensors;
};

#endif
