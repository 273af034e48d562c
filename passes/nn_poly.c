/* SPDX-License-Identifier: Apache-2.0 */
/*
 * nn_poly: polynomial activations become products of minimal depth.
 *
 * Reads     poly nodes; the values of their coefficients, to see which are zero and of which sign.
 * Writes    mul, map, add, sub, add_channel. All coefficients stay symbolic constants.
 * Requires  stage nn, after nn_linear.
 * Ensures   no poly is left. Depth, counting the maps in front and behind as free (nn_fold composes
 *           them with the neighbours): 1 for degree 2, 2 for 3 and 4, 3 for 5 to 8.
 * Refuses   (diag_fatal) a degree above 8.
 * Algorithm Degree 2^k with leads that are not negligible: the stored value is u = k z with
 *           k = |lead|^(1/degree) per channel, so that the lead is s = +-1 and needs no product of
 *           its own; with h = degree/2
 *               s p = u^h (u^h + s A(u)) + s B(u),      A, B of degree < h
 *           and behind it a map s, unless all signs agree: + needs none, - is B - u^h (u^h - A).
 *           Degree 2 takes the linear term into u as well:
 *               u = k z + s b / (2k),   s p = u^2 + s c - b^2 / (4k^2)
 *           Constants are added before s, so that a zero-padded convolution can take s in.
 *           Leads that are zero or negligible in a channel: p = z^h (lead z^h + ...) + ... with the
 *           lead multiplied into the innermost factor z, a second affine copy of z in place of a
 *           level. Other degrees: split at the largest power of two, p = u^h hi(u) + lo(u)
 *           (Paterson and Stockmeyer, SIAM J. Comput. 2, 1973).
 * Cost      linear; evaluates the coefficient tensors.
 */
#include "nn_build.h"

#include <math.h>

enum { MAX_DEGREE = 8 };

/* A lead is negligible when some c_j / k^j exceeds this: u would be that much smaller than the
 * other terms of the sum and lose as many bits. */
static const double MAX_RATIO = 64;

struct poly {
    struct build *b;
    uint32_t c;                     /* channels */
    uint32_t coeff[MAX_DEGREE + 1]; /* constants [c]; NONE: zero in every channel */
    uint32_t degree;
    uint32_t power[4]; /* value of u^(2^i), NONE before it is needed */
};

/* sum of factor_i * scaled_i + sum of plain_i + bias */
struct sum {
    uint32_t scaled[4], factor[4], num_scaled;
    uint32_t plain[4], num_plain;
    uint32_t bias;
};

static uint32_t power_of(struct poly *q, uint32_t log2)
{
    for (uint32_t i = 1; i <= log2; i++)
        if (q->power[i] == NONE)
            q->power[i] = build2(q->b, OP_mul, q->power[i - 1], q->power[i - 1]);
    return q->power[log2];
}

static uint32_t log2_floor(uint32_t x)
{
    uint32_t r = 0;
    while (x >>= 1)
        r++;
    return r;
}

static uint32_t emit_sum(struct poly *q, const struct sum *s)
{
    uint32_t part[5], parts = 0;
    for (uint32_t i = 0; i < s->num_plain; i++)
        part[parts++] = s->plain[i];
    if (s->num_scaled) {
        struct map_draft d = map_draft(q->b, q->b->p->nodes.at[s->scaled[0]].type.dims);
        for (uint32_t i = 0; i < s->num_scaled; i++) {
            uint32_t w = expr_reshape(q->b, s->factor[i], (uint32_t[]){q->c, 1, 1, 1}, 4);
            struct lterm t = lterm_plain(q->b->p, s->scaled[i], w, q->c);
            map_draft_add(&d, &t, s->scaled[i]);
        }
        map_draft_bias(&d, s->bias);
        part[parts++] = map_draft_build(&d);
    }
    uint32_t r = NONE;
    if (parts == 0) {
        r = build2(q->b, OP_sub, q->power[0], q->power[0]);
    } else {
        r = parts == 1 ? part[0] : build_node(q->b, OP_add, part, parts);
    }
    return s->num_scaled || s->bias == NONE ? r : add_channel(q->b, r, s->bias);
}

static uint32_t eval(struct poly *q, const uint32_t *coeff, uint32_t degree);

/* Adds the polynomial coeff[0..degree], degree <= 7, in depth ceil(log2(degree + 1)). */
static void eval_into(struct poly *q, struct sum *s, const uint32_t *coeff, uint32_t degree)
{
    while (degree > 0 && coeff[degree] == NONE)
        degree--;
    if (degree == 0) {
        s->bias = expr_sum(q->b, s->bias, coeff[0]);
        return;
    }
    uint32_t log2 = log2_floor(degree), h = 1U << log2;
    if (degree == h) {
        s->factor[s->num_scaled] = coeff[h];
        s->scaled[s->num_scaled++] = power_of(q, log2);
    } else {
        uint32_t hi = eval(q, coeff + h, degree - h);
        s->plain[s->num_plain++] = build2(q->b, OP_mul, power_of(q, log2), hi);
    }
    eval_into(q, s, coeff, h - 1);
}

static uint32_t eval(struct poly *q, const uint32_t *coeff, uint32_t degree)
{
    struct sum s = {.bias = NONE};
    eval_into(q, &s, coeff, degree);
    return emit_sum(q, &s);
}

/* Degree 2^k with any leads: u^h * (the same for the upper half) + lower half. */
static uint32_t eval_any_lead(struct poly *q, const uint32_t *coeff, uint32_t degree)
{
    if (degree == 1)
        return eval(q, coeff, 1);
    uint32_t h = degree / 2, hi = eval_any_lead(q, coeff + h, h);
    struct sum s = {.bias = NONE};
    s.plain[s.num_plain++] = build2(q->b, OP_mul, power_of(q, log2_floor(h)), hi);
    eval_into(q, &s, coeff, h - 1);
    return emit_sum(q, &s);
}

/* ---- leads of absolute value one ------------------------------------------------------------ */

enum signs { ALL_PLUS, ALL_MINUS, MIXED };

static enum signs signs_of(struct poly *q)
{
    const double *lead = const_values(q->b->p, q->coeff[q->degree]);
    uint32_t plus = 0;
    for (uint32_t c = 0; c < q->c; c++)
        plus += lead[c] > 0;
    return plus == q->c ? ALL_PLUS : plus == 0 ? ALL_MINUS : MIXED;
}

static uint32_t sign_vector(struct poly *q, enum signs signs)
{
    if (signs == MIXED)
        return expr_sign(q->b, q->coeff[q->degree]);
    return expr_fill(q->b, &q->c, 1, signs == ALL_PLUS ? 1 : -1);
}

static bool leads_carry(struct poly *q)
{
    const double *lead = const_values(q->b->p, q->coeff[q->degree]);
    for (uint32_t j = 0; j < q->degree; j++) {
        if (q->coeff[j] == NONE && j > 0)
            continue;
        const double *v = j > 0 ? const_values(q->b->p, q->coeff[j]) : NULL;
        for (uint32_t c = 0; c < q->c; c++) {
            double k = pow(fabs(lead[c]), 1.0 / q->degree);
            if (lead[c] == 0 || (v && !(fabs(v[c]) <= MAX_RATIO * pow(k, j))))
                return false;
        }
    }
    return true;
}

static uint32_t without_zeros(struct poly *q, uint32_t c)
{
    return c == NONE || const_is_all(q->b->p, c, 0) ? NONE : c;
}

/* u = scale * x + bias, or x itself where that changes nothing */
static void store_scaled(struct poly *q, uint32_t scale, uint32_t bias)
{
    if (bias != NONE || !const_is_all(q->b->p, scale, 1))
        q->power[0] = scale_map(q->b, q->power[0], scale, bias);
}

static uint32_t with_sign(struct poly *q, uint32_t value, enum signs signs)
{
    return signs == ALL_PLUS ? value : scale_map(q->b, value, sign_vector(q, signs), NONE);
}

static uint32_t square(struct poly *q)
{
    struct build *b = q->b;
    uint32_t a = q->coeff[2], size = expr_abs(b, a), k = expr_pow(b, size, 0.5);
    enum signs signs = signs_of(q);
    uint32_t s = sign_vector(q, signs), shift = NONE, rest = q->coeff[0];
    if (rest != NONE)
        rest = expr_mul(b, rest, s);
    if (q->coeff[1] != NONE) {
        uint32_t lin = q->coeff[1];
        shift = expr_affine(b, expr_div(b, expr_mul(b, lin, s), k), 0.5, 0);
        uint32_t removed = expr_affine(b, expr_div(b, expr_mul(b, lin, lin), size), -0.25, 0);
        rest = without_zeros(q, expr_sum(b, rest, removed));
    }
    store_scaled(q, k, shift);
    uint32_t y = power_of(q, 1);
    if (rest != NONE)
        y = add_channel(b, y, rest);
    return with_sign(q, y, signs);
}

static uint32_t quartic_or_octic(struct poly *q)
{
    struct build *b = q->b;
    uint32_t h = q->degree / 2, size = expr_abs(b, q->coeff[q->degree]);
    enum signs signs = signs_of(q);
    uint32_t s = sign_vector(q, signs), coeff[MAX_DEGREE];
    bool lower = false;
    for (uint32_t j = 1; j < h; j++)
        lower = lower || q->coeff[j] != NONE;
    bool subtract = signs == ALL_MINUS && lower;

    for (uint32_t j = 0; j < q->degree; j++) {
        coeff[j] = q->coeff[j];
        if (coeff[j] == NONE)
            continue;
        if (j > 0)
            coeff[j] = expr_mul(b, coeff[j], expr_pow(b, size, -(double)j / q->degree));
        if (signs != ALL_PLUS && !(subtract && j < h))
            coeff[j] = expr_mul(b, coeff[j], s);
    }
    store_scaled(q, expr_pow(b, size, 1.0 / q->degree), NONE);
    uint32_t high = power_of(q, log2_floor(h));
    struct sum inner = {.bias = NONE}, outer = {.bias = NONE};
    inner.plain[inner.num_plain++] = high;
    eval_into(q, &inner, coeff + h, h - 1);
    uint32_t product = build2(b, OP_mul, high, emit_sum(q, &inner));
    if (subtract) {
        eval_into(q, &outer, coeff, h - 1);
        return build2(b, OP_sub, emit_sum(q, &outer), product);
    }
    outer.plain[outer.num_plain++] = product;
    eval_into(q, &outer, coeff, h - 1);
    return with_sign(q, emit_sum(q, &outer), signs);
}

static uint32_t eval_top(struct poly *q)
{
    bool power_of_two = (q->degree & (q->degree - 1)) == 0;
    if (q->degree < 2 || !power_of_two)
        return eval(q, q->coeff, q->degree);
    if (!leads_carry(q))
        return eval_any_lead(q, q->coeff, q->degree);
    return q->degree == 2 ? square(q) : quartic_or_octic(q);
}

/* Coefficient k as a vector over the channels; NONE if it is zero everywhere. */
static uint32_t coefficient(struct poly *q, uint32_t coeff, uint32_t k)
{
    struct build *b = q->b;
    const struct node *n = &b->p->consts.at[coeff];
    if (n->type.rank == 1 && n->op == OP_values) {
        double v = const_values(b->p, coeff)[k];
        return v == 0 ? NONE : expr_fill(b, &q->c, 1, v);
    }
    uint32_t rank = n->type.rank, row = expr_slice(b, coeff, 0, k, 1);
    if (rank == 1) {
        uint32_t ones = expr_fill(b, (uint32_t[]){1, q->c}, 2, 1);
        row = expr_mul_axis(b, ones, row, 0);
    }
    return without_zeros(q, expr_reshape(b, row, &q->c, 1));
}

static uint32_t expand(struct build *b, const struct node *n, uint32_t x)
{
    uint32_t coeff = (uint32_t)node_int(n, KEY_coeff);
    struct poly q = {.b = b, .c = n->type.dims[0], .power = {x, NONE, NONE, NONE}};
    uint32_t count = const_type(b->p, coeff)->dims[0];
    if (count > MAX_DEGREE + 1)
        diag_fatal(n->loc, "polynomial of degree %u in layer '%s'; at most %d is supported",
                   count - 1, n->layer, MAX_DEGREE);
    for (uint32_t k = 0; k < count; k++)
        q.coeff[k] = coefficient(&q, coeff, k);
    for (q.degree = count - 1; q.degree > 0 && q.coeff[q.degree] == NONE;)
        q.degree--;
    return eval_top(&q);
}

struct prog *nn_poly(struct prog *in, const struct opts *o)
{
    (void)o;
    struct prog *p = prog_derive(in, STAGE_NN);
    uint32_t *now = arena_array(in->arena, in->nodes.len, sizeof *now);
    for (uint32_t i = 0; i < in->nodes.len; i++) {
        const struct node *n = &in->nodes.at[i];
        if (n->op == OP_poly) {
            struct build b = build_like(p, n);
            now[i] = expand(&b, n, now[n->args[0]]);
            continue;
        }
        uint32_t *args = arena_array(in->arena, n->num_args, sizeof *args);
        for (uint32_t k = 0; k < n->num_args; k++)
            args[k] = now[n->args[k]];
        now[i] = prog_copy_node(p, n, args);
    }
    return prog_compact(prog_clean(p));
}
