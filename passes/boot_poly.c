/* SPDX-License-Identifier: Apache-2.0 */
#include "boot.h"

#include <math.h>

/*
 * Paterson and Stockmeyer's method in the Chebyshev basis, of minimal depth: p of degree below 2g, g a
 * power of two, is split by 2 T_g T_k = T_(g+k) + T_(g-k) as
 *     p = 2 T_g q + r,   q = c_g / 2 + sum c_(g+k) T_k,   r = sum over k < g of (c_k - c_(2g-k)) T_k.
 * A part that may have depth D ends as one linear combination (comb, one level) of the T_k, k <= m, where
 * these have depth D - 1 at most; the leading part, whose depth is as small as its degree allows, is
 * split on until then. All products of one depth, and the combination beside them, are operands of
 * one sum: there is one rescaling for each sum, and there need be only one relinearisation.
 *
 * The baby steps m are the power of two with the fewest products. Zero coefficients (odd and even
 * polynomials) take no part, and only those T_k are made that are used.
 *
 * Every product is wanted twice. That costs nothing: the same words at half the scale (relabel).
 */

enum { MOST_TERMS = BOOT_MOST_DEGREE + 1, MOST_PRODUCTS = 16 };

struct poly {
    struct build *b; /* NULL: count only */
    uint32_t babies, products;
    uint32_t power[MOST_TERMS]; /* T_k; NONE: not made */
};

/* One sum under construction */
struct sum {
    uint32_t product[MOST_PRODUCTS], products;
    double factor[MOST_TERMS]; /* of T_k; 0: absent */
    double constant;
};

static uint32_t log2_ceil(uint32_t x)
{
    uint32_t k = 0;
    while (1u << k < x)
        k++;
    return k;
}

/* 2 x y */
static uint32_t twice_product(struct build *b, uint32_t x, uint32_t y)
{
    x = build2(b, OP_mul, x, y);
    build_real(b, KEY_gain, 2);
    return build1(b, OP_relabel, x);
}

static uint32_t product(struct poly *p, uint32_t x, uint32_t y)
{
    p->products++;
    return p->b ? twice_product(p->b, x, y) : 0;
}

static uint32_t scaled(struct poly *p, uint32_t x, double factor)
{
    if (!p->b)
        return 0;
    build_reals(p->b, KEY_factors, &factor, 1);
    build_real(p->b, KEY_constant, 0);
    return build1(p->b, OP_comb, x);
}

/* Halves k = a + b of depth one less; of those, one that needs nothing new, else the equal ones */
static uint32_t larger_half(const struct poly *p, uint32_t k)
{
    uint32_t least = (k + 1) / 2, most = 1u << (log2_ceil(k) - 1);
    for (uint32_t a = least; a <= most; a++)
        if (p->power[a] != NONE && p->power[k - a] != NONE &&
            (2 * a == k || p->power[2 * a - k] != NONE))
            return a;
    return least;
}

/* T_k by 2 T_a T_b = T_(a+b) + T_(a-b) */
static uint32_t power_of(struct poly *p, uint32_t k)
{
    if (p->power[k] != NONE)
        return p->power[k];
    uint32_t a = larger_half(p, k), b = k - a;
    uint32_t x = power_of(p, a), y = power_of(p, b), rest = a == b ? 0 : power_of(p, a - b);
    uint32_t xy = product(p, x, y), v = 0;
    if (p->b && a == b) {
        build_real(p->b, KEY_constant, -1);
        v = build1(p->b, OP_add_scalar, xy);
    } else if (p->b) {
        v = build2(p->b, OP_add, xy, scaled(p, rest, -1));
    }
    return p->power[k] = v;
}

static uint32_t emit_sum(struct poly *p, struct sum *s)
{
    uint32_t part[MOST_PRODUCTS + 1], parts = 0, term[MOST_TERMS], terms = 0;
    double factor[MOST_TERMS];
    for (uint32_t i = 0; i < s->products; i++)
        part[parts++] = s->product[i];
    for (uint32_t k = 1; k < MOST_TERMS; k++)
        if (s->factor[k] != 0) {
            factor[terms] = s->factor[k];
            term[terms++] = power_of(p, k);
        }
    if (!p->b)
        return 0;
    if (terms > 0) {
        build_reals(p->b, KEY_factors, factor, terms);
        build_real(p->b, KEY_constant, s->constant);
        part[parts++] = build_node(p->b, OP_comb, term, terms);
    }
    uint32_t v = parts == 1 ? part[0] : build_node(p->b, OP_add, part, parts);
    if (terms == 0 && s->constant != 0) {
        build_real(p->b, KEY_constant, s->constant);
        v = build1(p->b, OP_add_scalar, v);
    }
    return v;
}

static uint32_t eval(struct poly *p, const double *coeff, uint32_t degree, uint32_t depth);

static bool fits(const struct poly *p, uint32_t degree, uint32_t depth)
{
    bool power_of_two = (degree & (degree - 1)) == 0;
    return (degree <= p->babies || power_of_two) && log2_ceil(degree) + 1 <= depth;
}

/* Adds coeff[0..degree], degree < 2^depth, to a sum of that depth */
static void eval_into(struct poly *p, struct sum *s, const double *coeff, uint32_t degree,
                      uint32_t depth)
{
    double rest[MOST_TERMS], high[MOST_TERMS];
    for (uint32_t k = 0; k <= degree; k++)
        rest[k] = coeff[k];
    for (; degree > 0; degree--) {
        if (rest[degree] == 0)
            continue;
        if (degree <= p->babies && fits(p, degree, depth))
            break;
        uint32_t g = 1u << (log2_ceil(degree + 1) - 1);
        if (degree == g && fits(p, degree, depth)) {
            s->factor[g] += rest[g];
            continue;
        }
        high[0] = rest[g] / 2;
        for (uint32_t k = 1; k <= degree - g; k++) {
            high[k] = rest[g + k];
            rest[g - k] -= rest[g + k];
        }
        uint32_t q = eval(p, high, degree - g, depth - 1), t = power_of(p, g);
        if (s->products == MOST_PRODUCTS)
            BUG("a sum of more than %d products", MOST_PRODUCTS);
        s->product[s->products++] = product(p, t, q);
        degree = g;
    }
    for (uint32_t k = 1; k <= degree; k++)
        s->factor[k] += rest[k];
    s->constant += rest[0];
}

static uint32_t eval(struct poly *p, const double *coeff, uint32_t degree, uint32_t depth)
{
    struct sum s = {.products = 0};
    eval_into(p, &s, coeff, degree, depth);
    return emit_sum(p, &s);
}

static struct poly new_poly(struct build *b, uint32_t x, uint32_t babies)
{
    struct poly p = {.b = b, .babies = babies};
    for (uint32_t k = 0; k < MOST_TERMS; k++)
        p.power[k] = NONE;
    p.power[1] = x;
    return p;
}

uint32_t boot_chebyshev(struct build *b, uint32_t x, const double *coeff, uint32_t degree)
{
    while (degree > 0 && coeff[degree] == 0)
        degree--;
    if (degree == 0 || degree > BOOT_MOST_DEGREE)
        BUG("a Chebyshev series of degree %u", degree);
    uint32_t depth = log2_ceil(degree + 1), best = 2, least = UINT32_MAX;
    for (uint32_t babies = 2; babies <= 32; babies *= 2) {
        struct poly count = new_poly(NULL, 0, babies);
        eval(&count, coeff, degree, depth);
        if (count.products < least) {
            least = count.products;
            best = babies;
        }
    }
    struct poly p = new_poly(b, x, best);
    return eval(&p, coeff, degree, depth);
}

/* c_r of amplitude A^(1/2^r) instead of 1 turns c -> 2 c^2 - 1 into c_i -> 2 c_i^2 -
 * A^(1/2^(r-i-1)) */
uint32_t boot_sine_eval(struct build *b, uint32_t u, const struct boot_sine *s, double amplitude)
{
    double coeff[MOST_TERMS], size = pow(amplitude, ldexp(1, -(int)s->doublings));
    for (uint32_t k = 0; k <= s->degree; k++)
        coeff[k] = size * s->coeff[k];
    uint32_t v = boot_chebyshev(b, u, coeff, s->degree);
    for (uint32_t i = 0; i < s->doublings; i++) {
        size *= size;
        v = twice_product(b, v, v);
        build_real(b, KEY_constant, -size);
        v = build1(b, OP_add_scalar, v);
    }
    return v;
}

/*
 * arcsin s = s + s^3 / 6 + O(s^5). With y = a s: 2 y (2 y^2 + 12 a^2) = 24 a^3 (s + s^3 / 6), two products and no
 * factor of its own; an error of y counts 24 a^2.
 */
uint32_t boot_arcsine_eval(struct build *b, uint32_t u, const struct boot_sine *s, double amplitude)
{
    double a = cbrt(amplitude / 24);
    uint32_t y = boot_sine_eval(b, u, s, a), w = twice_product(b, y, y);
    build_real(b, KEY_constant, 12 * a * a);
    return twice_product(b, y, build1(b, OP_add_scalar, w));
}

/* sin x - x is -x^3 / 6; with the cubic term, -3 x^5 / 40 */
double boot_bend_bits(uint32_t arcsine)
{
    double x = 2 * acos(-1) * ldexp(1, -BOOT_RATIO), square = x * x;
    return -log2(arcsine ? 3 * square * square / 40 : square / 6);
}
