/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_NN_BUILD_H
#define WEFT_NN_BUILD_H

/*
 * What the nn passes share: constant expressions and maps under construction. The expressions
 * simplify themselves where it costs nothing (times one, slice of the whole, reshape to the same
 * shape), so that dumps stay readable. All of them take the location and layer of `b`.
 */

#include "passes.h"

/* ---- constant expressions; the result's shape is that of the first operand ------------------ */

uint32_t expr_fill(struct build *b, const uint32_t *dims, uint8_t rank, double value);
uint32_t expr_values(struct build *b, const uint32_t *dims, uint8_t rank, const double *data);
uint32_t expr_add(struct build *b, uint32_t x, uint32_t y);
uint32_t expr_sub(struct build *b, uint32_t x, uint32_t y);
uint32_t expr_mul(struct build *b, uint32_t x, uint32_t y);
uint32_t expr_div(struct build *b, uint32_t x, uint32_t y);
/* y is a vector that runs along the given axis of x */
uint32_t expr_mul_axis(struct build *b, uint32_t x, uint32_t y, uint32_t axis);
uint32_t expr_affine(struct build *b, uint32_t x, double mul, double add); /* mul * x + add */
uint32_t expr_pow(struct build *b, uint32_t x, double exponent);
uint32_t expr_abs(struct build *b, uint32_t x);
uint32_t expr_sign(struct build *b, uint32_t x);
uint32_t expr_reshape(struct build *b, uint32_t x, const uint32_t *dims, uint8_t rank);
uint32_t expr_slice(struct build *b, uint32_t x, uint32_t axis, uint32_t from, uint32_t count);
/* NONE counts as zero */
uint32_t expr_sum(struct build *b, uint32_t x, uint32_t y);

const struct type *const_type(const struct prog *p, uint32_t c);
/* Evaluates: is every value exactly v? */
bool const_is_all(struct prog *p, uint32_t c, double v);

/* ---- maps under construction ---------------------------------------------------------------- */

struct map_draft {
    struct build *b;
    uint32_t out[3];
    struct lterm *term;
    uint32_t *arg; /* [len] operand of each term */
    uint32_t len, cap_term, cap_arg;
    uint32_t bias; /* constant [C] or NONE */
};

struct map_draft map_draft(struct build *b, const uint32_t out[3]);
/* A 1 x 1 window without stride, padding or upsampling; the caller changes what differs. */
struct lterm lterm_plain(const struct prog *p, uint32_t operand, uint32_t weight, uint32_t groups);
void map_draft_add(struct map_draft *d, const struct lterm *t, uint32_t operand);
void map_draft_bias(struct map_draft *d, uint32_t bias); /* added to what is there */
uint32_t map_draft_build(struct map_draft *d);

/* x times `scale` [C] plus `bias` [C] (or NONE), a depthwise 1 x 1 map */
uint32_t scale_map(struct build *b, uint32_t x, uint32_t scale, uint32_t bias);
uint32_t add_channel(struct build *b, uint32_t x, uint32_t bias);

/* Is node n a map of one term that multiplies every channel by a number (and adds its bias)? */
bool is_scale_map(const struct prog *p, const struct node *n);
/* Is the term such a scaling, up to a nearest-neighbour upsampling? */
bool is_scale_term(const struct prog *p, const struct lmap *m, const struct lterm *t);
const struct lmap *node_map(const struct prog *p, const struct node *n);

#endif
