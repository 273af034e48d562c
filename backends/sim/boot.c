/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

/* Raising the modulus, and calls of the functions that bootstraps are made of. */

#include <math.h>

enum { LARGEST_MULTIPLE = 15, DEFAULT_WEIGHT = 32, MANY_TERMS = 128 };

/*
 * The multiple of q_0 in one coefficient. Decryption under a secret of h nonzero coefficients adds h
 * coefficients of c1 to one of c0, all uniform modulo q_0: with U the sum of h independent numbers uniform
 * in [-1/2, 1/2] (Irwin-Hall), c0 + c1 s = m + q_0 I makes I the integer nearest to U (m is small beside
 * q_0). Beyond 15 it is wrong in truth too, with a probability that boot_log2_failure() bounds.
 */
static double multiple(struct sim_rng *r, uint32_t weight)
{
    double sum;
    do {
        sum = weight > MANY_TERMS ? sqrt(weight / 12.) * sim_normal(r) : 0;
        for (uint32_t k = 0; k < weight && weight <= MANY_TERMS; k++)
            sum += sim_uniform(r) - 0.5;
    } while (fabs(sum) >= LARGEST_MULTIPLE + 0.5);
    return nearbyint(sum);
}

void sim_op_mod_raise(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    uint32_t chosen = s->p->params.sparse_weight, weight = chosen ? chosen : DEFAULT_WEIGHT;
    uint32_t slots = n->type.n;
    double modulus = node_real(n, KEY_modulus);
    size_t len = sim_len(s, &n->type), x_len = sim_len(s, sim_arg_type(s, n, 0));
    const double *x = sim_arg(s, n, 0), *x_imag = sim_arg_imag(s, n, 0);
    double *re = sim_result(s, i), *im = sim_imag(s, i);
    for (size_t k = 0; k < len; k++) {
        re[k] = x[k % x_len];
        im[k] = x_imag ? x_imag[k % x_len] : 0;
    }
    struct ldft all = {1, 0, true};
    while (slots >> all.last > 1)
        all.last++;
    if (slots > 1)
        sim_transform(s, &all, slots, re, im);
    /* now coefficients x_k + i x_(slots + k), in an order that is no matter */
    for (size_t k = 0; k < len; k++) {
        re[k] += modulus * multiple(&s->multiples, weight);
        im[k] += modulus * multiple(&s->multiples, weight);
    }
    all.inverse = false;
    if (slots > 1)
        sim_transform(s, &all, slots, re, im);
}

void sim_op_call(struct sim *s, uint32_t i)
{
    sim_function(s, i, (uint32_t)node_int(sim_node(s, i), KEY_func));
}
