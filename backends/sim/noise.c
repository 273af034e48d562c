/* SPDX-License-Identifier: Apache-2.0 */
#include "sim.h"

/*
 * Noise of RNS-CKKS as it is seen in the slots.
 *
 * One rule carries all formulas. Let e be a polynomial with K coefficients that are not fixed at
 * zero, independent, of mean 0 and variance v. Its value at a primitive 2N-th root of unity zeta_j
 * is a sum of K terms of modulus 1, so E|e(zeta_j)|^2 = K v; by the central limit theorem it is
 * close to a complex Gaussian whose real and imaginary parts have variance K v / 2 each, and
 * different slots are uncorrelated (the canonical embedding is orthogonal up to a factor). Slots
 * carry real values: the imaginary part meets them only multiplied by other errors. So what a slot
 * sees is
 *
 *     variance K v / 2 / scale^2.                                                            (1)
 *
 * Between SlotToCoeff and CoeffToSlot of a bootstrap values are complex, and both parts see (1). The
 * imaginary parts of errors from before it need no care: the two transforms and what is between them are
 * additive, so they arrive as imaginary parts, which the sum with the conjugate drops. Not so where a
 * program itself multiplies by i: then the imaginary parts of all its values are carried along.
 *
 * A product a b of polynomials has the value a(zeta_j) b(zeta_j): if b is fixed for the whole run
 * (the secret, the errors of a key) then given b the variance of (1) is multiplied by
 * |b(zeta_j)|^2, which by the same rule is exponentially distributed with mean K v of b. For the
 * secret it is drawn, once a run, and not replaced by its mean: some slots of N/2 are log(N/2)
 * times as noisy as the average, and a bound has to hold for them. A result gathers the errors of
 * hundreds of keys and digits, in which that levels out: there the mean stands.
 *
 * For the same reason it does not matter how a single error is distributed, if only its mean is 0 and its
 * variance is right: it is drawn uniformly, which takes a tenth of the time of a Gaussian.
 *
 * A vector of n slots repeats in all N/2 and is a polynomial in X^(N/2n); an error is not. What is read in the end
 * is the mean of the copies, and a bootstrap takes it too (its sum over rotations): the projection of the error to
 * the 2n coefficients of the subring. Products with what lies in the subring, rotations and key switches keep
 * the other coefficients apart, to first order, so that they are never seen: K = 2n in (1). A program mixes
 * vectors of several n, and one of few slots may be read as one of more: K is 2 max(n, n of the largest
 * vector outside of functions), and every variance is 1 / copies of what all N coefficients give.
 *
 * The approach is that of Costache et al., "On the precision loss in approximate homomorphic
 * encryption", eprint 2022/162; the list of error sources is that of Kim, Papadimitriou, Polyakov,
 * "Approximate homomorphic encryption with reduced approximation error", eprint 2020/1118.
 */

#include <math.h>
#include <string.h>

static const double SIGMA = 3.2; /* of encryption and of keys: RING_SIGMA of the runtime */
static const double SECRET_VARIANCE = 2. / 3;    /* uniform in {-1, 0, 1} */
static const double ROUNDING_VARIANCE = 1. / 12; /* uniform in [-1/2, 1/2] */

/* ---- random numbers: xoshiro256++ of Blackman and Vigna, seeded by splitmix64 --------------- */

static uint64_t splitmix(uint64_t *x)
{
    uint64_t z = *x += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

void sim_seed(struct sim_rng *r, uint64_t seed)
{
    for (int k = 0; k < 4; k++)
        r->s[k] = splitmix(&seed);
    r->has_spare = false;
}

static uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

static uint64_t next(struct sim_rng *r)
{
    uint64_t *s = r->s, result = rotl(s[0] + s[3], 23) + s[0], t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

double sim_uniform(struct sim_rng *r)
{
    return (double)(next(r) >> 11) * 0x1p-53;
}

/* Marsaglia's polar method */
double sim_normal(struct sim_rng *r)
{
    if (r->has_spare) {
        r->has_spare = false;
        return r->spare;
    }
    double u, v, q;
    do {
        u = 2 * sim_uniform(r) - 1;
        v = 2 * sim_uniform(r) - 1;
        q = u * u + v * v;
    } while (q >= 1 || q <= 0);
    double f = sqrt(-2 * log(q) / q);
    r->spare = v * f;
    r->has_spare = true;
    return u * f;
}

/* |complex Gaussian|^2 of mean 1 */
static double exponential(struct sim_rng *r)
{
    return -log1p(-sim_uniform(r));
}

/* ---- variances ------------------------------------------------------------------------------ */

/*
 * Rounding to integers when a vector is encoded. A vector of period p is a polynomial in X^(N/2p):
 * only 2p coefficients can be wrong. Its slots are real, so m(1/X) = m(X), coefficient N-k is the
 * negative of coefficient k, and so are their roundings: the error is real as well, and the slot
 * sees all of K v and not the half of (1).
 */
double sim_var_encoding(double n_coeffs, double scale)
{
    return n_coeffs * ROUNDING_VARIANCE / (scale * scale);
}

/*
 * A vector that is not real has no such symmetry: its rounding error is complex, and each part sees the half
 * of it, as in (1). The product with a slot x has variance |x|^2 times this in each part: turning a complex
 * Gaussian does not change it.
 */
double sim_var_encoding_complex(double n_coeffs, double scale)
{
    return sim_var_encoding(n_coeffs, scale) / 2;
}

/* Encryption under the secret key: c0 + c1 s = m + e exactly, e Gaussian: (1) with v = sigma^2. */
double sim_var_fresh(double ring_n, double scale)
{
    return ring_n * SIGMA * SIGMA / 2 / (scale * scale);
}

/*
 * Dividing all parts by D (special primes, rescaled primes) and rounding to nearest: part k gets an
 * error r_k uniform in [-1/2, 1/2] that decryption multiplies by s^k. With S = |s(zeta_j)|^2:
 *     variance (N/12) (1 + S [+ S^2 for three parts]) / 2 / scale^2;
 * on average, for two parts, the textbook's (N/12)(1 + 2N/3)/2 / scale^2. The scale is the
 * result's. `secret` is S.
 */
double sim_var_mod_down(double ring_n, double scale, double secret, uint32_t parts)
{
    double sum = 0, power = 1;
    for (uint32_t k = 0; k < parts; k++, power *= secret)
        sum += power;
    return ring_n * ROUNDING_VARIANCE / 2 / (scale * scale) * sum;
}

/*
 * Key switching adds sum over digits of d_i e_i, and the result counts P times the value. Digit d_i
 * has coefficients uniform in [-D_i/2, D_i/2] (mod-up is exact and centred), variance D_i^2 / 12;
 * e_i is fixed with the key, of mean |e_i(zeta_j)|^2 = N sigma^2. One digit, on average over keys:
 *     variance N D^2/12 * N sigma^2 / P^2 / 2 / scale^2.
 */
double sim_var_digit(double ring_n, double scale, double log2_digit, double log2_p)
{
    double ratio = exp2(log2_digit - log2_p);
    return ring_n * ROUNDING_VARIANCE * ratio * ratio * ring_n * SIGMA * SIGMA / 2 /
           (scale * scale);
}

/* ---- per op ---------------------------------------------------------------------------------- */

static double ring_degree(const struct sim *s)
{
    return ldexp(1, (int)s->p->params.log_n);
}

/* How many copies of node n's slots the mean is taken over */
static uint32_t copies_of(const struct sim *s, const struct node *n)
{
    uint32_t slots = n->type.n > s->mixed ? n->type.n : s->mixed;
    return (1u << (s->p->params.log_n - 1)) / slots;
}

static uint32_t most_slots(const struct nodes *nodes)
{
    uint32_t most = 1;
    for (uint32_t i = 0; i < nodes->len; i++)
        most = nodes->at[i].type.n > most ? nodes->at[i].type.n : most;
    return most;
}

static bool multiplies_by_i(const struct nodes *nodes)
{
    for (uint32_t i = 0; i < nodes->len; i++)
        if (nodes->at[i].op == OP_times_i)
            return true;
    return false;
}

/* Mean over the copies of slot j of |s(zeta)|^2, of one lane */
static double secret_at(const struct sim *s, const double *secret, uint32_t j, uint32_t lane,
                        uint32_t copies)
{
    uint32_t slots = 1u << (s->p->params.log_n - 1), n = slots / copies;
    double sum = 0;
    for (uint32_t k = j % n; k < slots; k += n)
        sum += secret[(size_t)k * s->lanes + lane];
    return sum / copies;
}

/* Per slot and lane sqrt(1 + S), with three parts sqrt(1 + S + S^2): means over the copies of slots */
static const double *rounding_deviations(struct sim *s, uint32_t copies, uint32_t parts)
{
    uint32_t log = 0, slots = 1u << (s->p->params.log_n - 1);
    while (1u << log < copies)
        log++;
    double **at = &s->rounding->at[parts - 2][log];
    size_t len = (size_t)slots / copies * s->lanes, all = (size_t)slots * s->lanes;
    if (s->rounding->known[parts - 2][log])
        return *at;
    if (!*at)
        *at = arena_array(s->arena, (size_t)slots / copies * SIM_LANES, sizeof **at);
    for (size_t j = 0; j < len; j++) {
        double sum = 0;
        for (size_t k = j; k < all; k += len)
            sum += s->secret[k] + (parts == 3 ? s->secret[k] * s->secret[k] : 0);
        (*at)[j] = sqrt(1 + sum / copies);
    }
    s->rounding->known[parts - 2][log] = true;
    return *at;
}

void sim_noise_begin(struct sim *s, uint64_t seed)
{
    const struct params *q = &s->p->params;
    if (s->p->stage != STAGE_CKKS || q->log_n == 0)
        diag_fatal(NO_LOC, "the noise model needs a ckks program with parameters");
    size_t slots = (size_t)1 << (q->log_n - 1);
    if (!s->secret) {
        s->secret = arena_array(s->arena, slots * SIM_LANES, sizeof *s->secret);
        s->sparse = arena_array(s->arena, slots * SIM_LANES, sizeof *s->sparse);
        s->rounding = arena_alloc(s->arena, sizeof *s->rounding);
    }
    memset(s->rounding->known, 0, sizeof s->rounding->known);
    s->mixed = most_slots(s->nodes);
    s->imaginary = multiplies_by_i(s->nodes);
    sim_seed(&s->rng, seed);
    for (size_t k = 0; k < slots * s->lanes; k++)
        s->secret[k] = SECRET_VARIANCE * ring_degree(s) * exponential(&s->rng);
    for (size_t k = 0; k < slots * s->lanes && q->sparse_weight != 0;
         k++) /* K v of (1) is the weight */
        s->sparse[k] = q->sparse_weight * exponential(&s->rng);
}

/* y[k] += error of deviation factor * deviation[k % period] */
static void add_errors(struct sim *s, double *y, size_t len, const double *deviation, size_t period,
                       double factor)
{
    double unit = factor * sqrt(3) * 0x1p-31; /* uniform in +-sqrt(3) has variance 1 */
    struct sim_rng r = s->rng;
    for (size_t from = 0; from < len; from += period) {
        size_t part = len - from < period ? len - from : period;
        for (size_t k = 0; k < part; k += 2) {
            uint64_t bits = next(&r);
            y[from + k] += unit * deviation[k] * ((int32_t)bits + 0.5);
            if (k + 1 < part)
                y[from + k + 1] += unit * deviation[k + 1] * ((int32_t)(bits >> 32) + 0.5);
        }
    }
    s->rng = r;
}

static void add_uniform_variance(struct sim *s, double *y, size_t len, double variance)
{
    enum { PERIOD = 64 };
    static const double ones[PERIOD] = {
#define ONES 1, 1, 1, 1, 1, 1, 1, 1
        ONES, ONES, ONES, ONES, ONES, ONES, ONES, ONES};
#undef ONES
    add_errors(s, y, len, ones, PERIOD, sqrt(variance));
}

static double log2_p(const struct params *q)
{
    double sum = 0;
    for (uint32_t k = 0; k < q->num_p; k++)
        sum += log2((double)q->p[k]);
    return sum;
}

static void noise_input(struct sim *s, uint32_t i, double *y)
{
    const struct node *n = sim_node(s, i);
    if (s->caller)
        return; /* no new ciphertext */
    double big_n = ring_degree(s), scale = n->type.scale;
    add_uniform_variance(s, y, sim_len(s, &n->type),
                         sim_var_fresh(big_n, scale) / copies_of(s, n) +
                             sim_var_encoding(2. * n->type.n, scale));
}

static void noise_key_mul(struct sim *s, uint32_t i, double *y)
{
    const struct node *n = sim_node(s, i);
    const struct params *q = &s->p->params;
    double big_n = ring_degree(s), special = log2_p(q), digit = 0, variance = 0;
    for (uint32_t k = 0; k <= (uint32_t)n->type.level; k++) {
        digit += log2((double)q->q[k]);
        if ((k + 1) % q->alpha != 0 && k != (uint32_t)n->type.level)
            continue;
        variance += sim_var_digit(big_n, n->type.scale, digit, special);
        digit = 0;
    }
    add_uniform_variance(s, y, sim_len(s, &n->type), variance / copies_of(s, n));
}

/*
 * RAISED ciphertexts need no digits: c1 has integers of at most q_0 / 2 and is the one digit itself, so
 * that what its key adds is c1 e, to P times the value.
 */
static void noise_raised_mul(struct sim *s, uint32_t i, double *y)
{
    const struct node *n = sim_node(s, i);
    const struct params *q = &s->p->params;
    double variance =
        sim_var_digit(ring_degree(s), n->type.scale, log2((double)q->q[0]), log2_p(q));
    add_uniform_variance(s, y, sim_len(s, &n->type), variance / copies_of(s, n));
}

/*
 * To the sparse secret: one digit c1 modulo q_0 on a key over q_0 p_0, then division by p_0. The rounding
 * is decrypted with the sparse secret: (N/12)(1 + S) / 2 with S of mean h, the rounding error of
 * sim_var_mod_down(). Raising the modulus itself is exact.
 */
static void noise_encapsulate(struct sim *s, uint32_t i, double *y)
{
    const struct node *n = sim_node(s, i);
    const struct params *q = &s->p->params;
    double big_n = ring_degree(s), scale = n->type.scale;
    double digit = sim_var_digit(big_n, scale, log2((double)q->q[0]), log2((double)q->p[0]));
    uint32_t copies = copies_of(s, n);
    for (uint32_t j = 0; j < n->type.n; j++)
        for (uint32_t lane = 0; lane < s->lanes; lane++) {
            double secret = secret_at(s, s->sparse, j, lane, copies);
            double variance = digit + sim_var_mod_down(big_n, scale, secret, 2);
            y[(size_t)j * s->lanes + lane] += sqrt(variance / copies) * sim_normal(&s->rng);
        }
}

/* Factors are integers f scale / (scale of the operand), rounded as rt_comb() does: no need to guess. */
static void noise_comb(struct sim *s, uint32_t i, bool imag)
{
    const struct node *n = sim_node(s, i);
    const double *factors = node_attr(n, KEY_factors)->v.reals;
    double *y = imag ? s->imag[i] : s->value[i];
    for (uint32_t k = 0; k < n->num_args; k++) {
        double from = sim_arg_type(s, n, k)->scale, exact = factors[k] * n->type.scale / from;
        double error = (nearbyint(exact) - exact) * from / n->type.scale;
        const double *x = imag ? sim_arg_imag(s, n, k) : sim_arg(s, n, k);
        for (size_t j = 0, len = sim_len(s, sim_arg_type(s, n, k)); x && j < sim_len(s, &n->type);
             j++)
            y[j] += error * x[j % len];
    }
}

/* The constant of comb and add_scalar: one coefficient, known too */
static void noise_constant(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    double exact = node_real(n, KEY_constant) * n->type.scale;
    double error = (nearbyint(exact) - exact) / n->type.scale;
    for (size_t j = 0; j < sim_len(s, &n->type); j++)
        s->value[i][j] += error;
}

static void noise_rounding(struct sim *s, uint32_t i, double *y)
{
    const struct node *n = sim_node(s, i);
    uint32_t parts = n->type.kind == KIND_CT3 ? 3 : 2;
    double scale = n->type.scale;
    if (n->type.kind == KIND_CTX)
        scale *= exp2(log2_p(&s->p->params));
    uint32_t copies = copies_of(s, n);
    size_t period = (size_t)1 << (s->p->params.log_n - 1);
    double variance = sim_var_mod_down(ring_degree(s), scale, 0, 2); /* of S = 0 */
    add_errors(s, y, sim_len(s, &n->type), rounding_deviations(s, copies, parts),
               period / copies * s->lanes, sqrt(variance / copies));
}

/* Squares of a value's real or imaginary parts: [n], means over the images; NULL where all are zero */
static const double *squares_of(struct sim *s, uint32_t x, bool imag)
{
    const double *v = imag ? s->imag[x] : s->value[x];
    double **at = &s->squares[imag][x];
    uint32_t n = sim_node(s, x)->type.n, lanes = s->lanes;
    if (*at || !v)
        return *at;
    *at = sim_buffer(s, n);
    for (size_t k = 0; k < n; k++) {
        double sum = 0;
        for (uint32_t j = 0; j < lanes; j++)
            sum += v[k * lanes + j] * v[k * lanes + j];
        (*at)[k] = sum / lanes;
    }
    return *at;
}

/* sum[k] += squares of operand x at slot k */
static void add_squares(struct sim *s, uint32_t x, bool imag, double *sum, uint32_t len)
{
    const double *square = squares_of(s, x, imag);
    uint32_t n = sim_node(s, x)->type.n;
    for (uint32_t k = 0, part; square && k < len; k += part) {
        uint32_t from = (k + s->turned[x]) % n;
        part = len - k < n - from ? len - k : n - from;
        for (uint32_t j = 0; j < part; j++)
            sum[k + j] += square[from + j];
    }
}

/* Each plaintext is off by its own rounding, which the operand's slot multiplies: a real one multiplies
 * the operand's real and imaginary parts apart. */
static void noise_pmac(struct sim *s, uint32_t i, bool imag)
{
    const struct node *n = sim_node(s, i);
    bool complex_plain = s->plain_imag[i] != NULL;
    double coeffs = 2. * (double)node_int(n, KEY_period), scale = node_real(n, KEY_pt_scale);
    double variance =
        complex_plain ? sim_var_encoding_complex(coeffs, scale) : sim_var_encoding(coeffs, scale);
    size_t len = sim_len(s, &n->type), lanes = s->lanes;
    double *sum = sim_buffer(s, n->type.n), *deviation = sim_buffer(s, len);
    memset(sum, 0, n->type.n * sizeof *sum);
    for (uint32_t k = 0; k < n->num_args; k++) {
        if (complex_plain || !imag)
            add_squares(s, n->args[k], false, sum, n->type.n);
        if (complex_plain || imag)
            add_squares(s, n->args[k], true, sum, n->type.n);
    }
    for (size_t k = 0; k < len; k++)
        deviation[k] = sqrt(sum[k / lanes]);
    add_errors(s, imag ? s->imag[i] : s->value[i], len, deviation, len, sqrt(variance));
    sim_free_buffer(s, n->type.n, &sum);
    sim_free_buffer(s, len, &deviation);
}

static void noise_padd(struct sim *s, uint32_t i, double *y)
{
    const struct node *n = sim_node(s, i);
    uint32_t period = s->p->layouts[node_int(n, KEY_layout)].n;
    add_uniform_variance(s, y, sim_len(s, &n->type), sim_var_encoding(2. * period, n->type.scale));
}

/* What a node adds to the real or to the imaginary parts; the two are independent. */
static void noise_part(struct sim *s, uint32_t i, bool imag)
{
    double *y = imag ? s->imag[i] : s->value[i];
    switch (sim_node(s, i)->op) {
    case OP_input:
        noise_input(s, i, y);
        break;
    case OP_key_mul:
        noise_key_mul(s, i, y);
        break;
    case OP_raised_mul:
        noise_raised_mul(s, i, y);
        break;
    case OP_encapsulate:
        noise_encapsulate(s, i, y);
        break;
    case OP_mod_down:
    case OP_rescale:
        noise_rounding(s, i, y);
        break;
    case OP_pmac:
        noise_pmac(s, i, imag);
        break;
    case OP_comb:
        noise_comb(s, i, imag);
        break;
    case OP_padd: /* a real plaintext: its error is real */
        if (!imag)
            noise_padd(s, i, y);
        break;
    default: /* exact on coefficients */
        break;
    }
}

/* Whether the op's result has an error of its own */
static bool adds_noise(enum op op)
{
    switch (op) {
    case OP_key_mul:
    case OP_raised_mul:
    case OP_encapsulate:
    case OP_mod_down:
    case OP_rescale:
        return true;
    default: /* exact, or no op that shares its operand's buffers */
        return false;
    }
}

void sim_noise(struct sim *s, uint32_t i)
{
    const struct node *n = sim_node(s, i);
    if (n->type.kind == KIND_NONE)
        return;
    if (n->type.level < 0 || !(n->type.scale > 0))
        diag_fatal(n->loc, "the noise model needs a program with levels and scales");
    if (adds_noise(n->op))
        sim_own(s, i);
    noise_part(s, i, false);
    if (s->imaginary && !s->caller)
        sim_imag(s, i);
    if (s->imag[i])
        noise_part(s, i, true);
    if (n->op == OP_comb || n->op == OP_add_scalar)
        noise_constant(s, i);
}
