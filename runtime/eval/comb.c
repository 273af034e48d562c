/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Linear combinations with constants, and operations on all slots alike.
 *
 * A factor is an integer: nearest to factor * (scale of the result) / (scale of the operand), so
 * that operands of any scales meet in one sum, and no plaintext is needed. A constant in every slot
 * is a constant polynomial, the same number at every point of the evaluation form.
 */
#include "eval/eval.h"

#include <math.h>

#define GROUP       32u   /* terms handed to the kernel at a time: residues on the stack */
#define TILE        2048u /* words */
#define FACTOR_BITS 62

/* The integer x (|x| < 2^1023) modulo m: x = y 2^e with |y| < 2^53, and both are exact. */
static uint64_t integer_residue(double x, const struct modulus *m)
{
    int e;
    double y = ldexp(frexp(fabs(x), &e), 53);
    e -= 53; /* negative only where y 2^e is an integer below 2^53 */
    uint64_t v = e < 0 ? (uint64_t)fabs(x) : mod_reduce64((uint64_t)y, m);
    v = e < 0 ? mod_reduce64(v, m) : mod_mul(v, mod_pow(2, (uint64_t)e, m), m);
    return x < 0 ? mod_neg(v, m->q) : v;
}

/*
 * Residues of the integer nearest to constant * scale, times P where the value is extended (it
 * stands for P times itself): what is added to part 0. P = 0 modulo the p, so those limbs get
 * nothing.
 */
static bool constant_residues(rt_eval *e, const char *op, uint64_t *c, double constant,
                              double scale, enum eval_kind kind, int32_t level)
{
    const struct ring *r = e->ctx->ring;
    double x = nearbyint(constant * scale);
    double bits = e->ctx->log2_q[level] - 1;
    if (!isfinite(x) || log2(fabs(x)) >= bits) { /* log2 0 is -infinity */
        rt_eval_mistake(e, op, "the constant %g at scale %g does not fit the %.1f bits of level %d",
                        constant, scale, bits, level);
        return false;
    }
    for (size_t i = 0; i <= (size_t)level; i++) {
        const struct modulus *m = &r->ntt[i].mod;
        c[i] = integer_residue(x, m);
        if (kind == EVAL_CTX) {
            c[i] = mod_mul_shoup(c[i], e->p_mod_q[i], e->p_shoup[i], m->q);
        }
    }
    return true;
}

/* Several terms, the first of all or more of them. */
struct comb {
    const uint64_t *x[GROUP];
    uint64_t factor[GROUP][RING_MAX_PRIMES]; /* residues over the basis */
    size_t count;
    const uint64_t *constant; /* [level + 1], or NULL */
};

/* out (+)= the terms, `parts` polynomials over b; the constant joins part 0. */
static void add_group(const rt_eval *e, const struct comb *g, struct ring_basis b, unsigned parts,
                      uint64_t *out, bool accumulate)
{
    const struct ring *r = e->ctx->ring;
    unsigned log_tile = r->n < TILE ? r->log_n : core_log2(TILE);
    size_t tile = (size_t)1 << log_tile;
    size_t tiles = r->n >> log_tile;
    size_t words = ring_words(r, b);
    const uint64_t *factor[GROUP];
    for (size_t t = 0; t < g->count; t++) {
        factor[t] = g->factor[t];
    }
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < parts * ring_limbs(b) * tiles; i++) {
        size_t part = i / tiles / ring_limbs(b);
        size_t limb = i / tiles % ring_limbs(b);
        size_t at = part * words + limb * r->n + i % tiles * tile;
        const struct modulus *m = ring_mod(r, b, limb);
        uint64_t *to = out + at;
        r->k.mac_run(to, accumulate ? to : NULL, g->x, factor, g->count, at, limb, log_tile, tile,
                     m);
        if (g->constant != NULL && part == 0 && limb <= b.level) {
            r->k.add_const(to, to, g->constant[limb], tile, m->q);
        }
    }
}

/* False, and the mistake is kept, when the factor is too large. */
static bool factor_residues(rt_eval *e, const char *op, uint64_t *c, double factor, double scale,
                            const struct eval_reg *x)
{
    double exact = nearbyint(factor * scale / x->scale);
    if (!(fabs(exact) < ldexp(1, FACTOR_BITS))) {
        rt_eval_mistake(e, op, "the factor %g from scale %g to %g is no integer below 2^%d", factor,
                        x->scale, scale, FACTOR_BITS);
        return false;
    }
    ring_residues(e->ctx->ring, c, (int64_t)exact, eval_basis(e, x));
    return true;
}

/* Operands of one kind and level; `out` may be the only one. */
static bool check_terms(rt_eval *e, const char *op, uint32_t out, const uint32_t *in,
                        uint32_t count)
{
    if (count == 0) {
        rt_eval_mistake(e, op, "no terms");
        return false;
    }
    const struct eval_reg *first = NULL;
    for (uint32_t t = 0; t < count; t++) {
        const struct eval_reg *x = rt_eval_in(e, op, in[t], EVAL_ANY);
        if (x == NULL) {
            return false;
        }
        first = t == 0 ? x : first;
        if (out == in[t] && count > 1) {
            rt_eval_mistake(e, op, "result and operand share register %u", out);
            return false;
        }
        if (x->kind != first->kind || x->level != first->level) {
            rt_eval_mistake(e, op, "term %u is of another kind or level than term 0", t);
            return false;
        }
    }
    return true;
}

/* In place, one term: kernel mac_run does not do that. */
static void scale_in_place(rt_eval *e, struct eval_reg *z, const struct comb *g)
{
    const struct ring *r = e->ctx->ring;
    struct ring_basis b = eval_basis(e, z);
    size_t words = ring_words(r, b);
    unsigned parts = rt_eval_parts(e, z->kind, z->level);
    for (size_t i = 0; i < parts; i++) {
        ring_mul_const(r, z->at + i * words, z->at + i * words, g->factor[0], b);
    }
    ring_add_const(r, z->at, z->at, g->constant, (struct ring_basis){b.level, 0});
}

void rt_comb(rt_eval *e, uint32_t out, const uint32_t *in, const double *factors, uint32_t count,
             double constant, double scale)
{
    static const char op[] = "rt_comb";
    uint64_t added[RING_MAX_PRIMES];
    if (e->error.status != RT_OK || !check_terms(e, op, out, in, count)) {
        return;
    }
    const struct eval_reg *x = &e->regs[in[0]];
    enum eval_kind kind = x->kind;
    int32_t level = x->level;
    struct eval_reg *z = rt_eval_out(e, op, out, kind, level);
    if (z == NULL || !rt_eval_scale(e, op, scale) ||
        !constant_residues(e, op, added, constant, scale, kind, level)) {
        return;
    }
    struct ring_basis b = eval_basis(e, x);
    struct comb g;
    for (uint32_t done = 0; done < count; done += (uint32_t)g.count) {
        g.count = count - done < GROUP ? count - done : GROUP;
        g.constant = done + g.count == count ? added : NULL;
        for (size_t t = 0; t < g.count; t++) {
            const struct eval_reg *y = &e->regs[in[done + t]];
            g.x[t] = y->at;
            if (!factor_residues(e, op, g.factor[t], factors[done + t], scale, y)) {
                return;
            }
        }
        if (out == in[0]) {
            scale_in_place(e, z, &g);
        } else {
            add_group(e, &g, b, rt_eval_parts(e, kind, level), z->at, done != 0);
        }
    }
    eval_set(z, kind, level, scale);
}

/* Register `in` to register `out`, as it is. NULL: a mistake is kept. */
static struct eval_reg *copy(rt_eval *e, const char *op, uint32_t out, uint32_t in, unsigned kinds)
{
    const struct eval_reg *x = rt_eval_in(e, op, in, kinds);
    struct eval_reg *z = x != NULL ? rt_eval_out(e, op, out, x->kind, x->level) : NULL;
    if (z == NULL) {
        return NULL;
    }
    struct ring_basis b = eval_basis(e, x);
    size_t words = ring_words(e->ctx->ring, b);
    if (z != x) {
        unsigned parts = rt_eval_parts(e, x->kind, x->level);
        for (size_t i = 0; i < parts; i++) {
            ring_copy(e->ctx->ring, z->at + i * words, x->at + i * words, b);
        }
        eval_set(z, x->kind, x->level, x->scale);
    }
    return z;
}

void rt_add_scalar(rt_eval *e, uint32_t out, uint32_t in, double constant)
{
    static const char op[] = "rt_add_scalar";
    uint64_t c[RING_MAX_PRIMES];
    const struct eval_reg *x = rt_eval_in(e, op, in, EVAL_ANY);
    if (x == NULL || !constant_residues(e, op, c, constant, x->scale, x->kind, x->level)) {
        return;
    }
    struct eval_reg *z = copy(e, op, out, in, EVAL_ANY);
    if (z != NULL) {
        ring_add_const(e->ctx->ring, z->at, z->at, c, (struct ring_basis){(unsigned)z->level, 0});
    }
}

void rt_times_i(rt_eval *e, uint32_t out, uint32_t in)
{
    static const char op[] = "rt_times_i";
    const struct eval_reg *x = rt_eval_in(e, op, in, EVAL_ANY);
    struct eval_reg *z = x != NULL ? rt_eval_out(e, op, out, x->kind, x->level) : NULL;
    if (z == NULL) {
        return;
    }
    struct ring_basis b = eval_basis(e, x);
    size_t words = ring_words(e->ctx->ring, b);
    unsigned parts = rt_eval_parts(e, x->kind, x->level);
    for (size_t i = 0; i < parts; i++) {
        ring_mul_i(e->ctx->ring, z->at + i * words, x->at + i * words, b);
    }
    eval_set(z, x->kind, x->level, x->scale);
}

void rt_relabel(rt_eval *e, uint32_t out, uint32_t in, double scale)
{
    static const char op[] = "rt_relabel";
    if (e->error.status != RT_OK || !rt_eval_scale(e, op, scale)) {
        return;
    }
    struct eval_reg *z = copy(e, op, out, in, EVAL_ANY | 1u << EVAL_SPARSE | 1u << EVAL_RAISED);
    if (z != NULL) {
        z->scale = scale;
    }
}
