/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Hybrid key switching in its three visible steps: decompose, key_mul, and mod_down (arith.c).
 * The keys are stored so that the inner product is taken on the digits as they are, and the
 * rotation permutes its two results (core.h). So digits are made once and serve any number of
 * rotations.
 */
#include "eval/eval.h"

#include <string.h>

void rt_decompose(rt_eval *e, uint32_t out, uint32_t in)
{
    static const char op[] = "rt_decompose";
    const struct eval_reg *x = rt_eval_in(e, op, in, 1u << EVAL_CT | 1u << EVAL_CT3);
    if (x == NULL) {
        return;
    }
    if (out == in) {
        rt_eval_mistake(e, op, "result and operand share register %u", out);
        return;
    }
    struct eval_reg *z = rt_eval_out(e, op, out, EVAL_DIGITS, x->level);
    if (z == NULL) {
        return;
    }
    const struct ring *r = e->ctx->ring;
    unsigned alpha = e->ctx->alpha;
    unsigned level = (unsigned)x->level;
    const uint64_t *last = x->at + (rt_eval_parts(e, x->kind, x->level) - 1u) *
                                       rt_eval_part_words(e, x->kind, x->level);
    struct ring_basis b = {level, r->n_p};
    for (unsigned j = 0; j < ring_digits(level, alpha); j++) {
        ring_mod_up(r, z->at + j * ring_words(r, b), last, b, j * alpha,
                    ring_digit_count(level, alpha, j), e->scratch);
    }
    eval_set(z, EVAL_DIGITS, x->level, x->scale);
}

static const struct eval_key *find_key(const rt_eval *e, int64_t by)
{
    for (uint32_t i = 0; i < e->program->interface->num_keys; i++) {
        if (e->keys[i].by == by) {
            return &e->keys[i];
        }
    }
    return NULL;
}

/* One switched value, for the loop over limbs. */
struct switching {
    const rt_eval *e;
    const struct eval_key *key;
    const struct eval_reg *base;
    const uint64_t *digit[RING_MAX_PRIMES];   /* polynomials over b */
    const uint64_t *half[2][RING_MAX_PRIMES]; /* of the key: b, a; over the key's basis */
    unsigned digits;
    struct ring_basis b;
    uint64_t *out;
};

/*
 * Limb `limb` of part 0 or 1:  P * base + sum_j digit_j * key_j, then the automorphism. P * base is
 * there for the parts of the base that were not decomposed, and only modulo the q (P = 0 mod p).
 * work: N words.
 */
static void switch_limb(const struct switching *s, unsigned part, size_t limb, uint64_t *work)
{
    const struct ring *r = s->e->ctx->ring;
    size_t n = r->n;
    const struct modulus *m = ring_mod(r, s->b, limb);
    size_t key_limb = limb <= s->b.level ? limb : limb + (s->key->shape.basis.level - s->b.level);
    uint64_t *out = s->out + (part * ring_limbs(s->b) + limb) * n;
    uint64_t *sum = s->key->by == 0 ? out : work;
    bool has_base = limb <= s->b.level && (part == 0 || s->key->by == 0);
    if (has_base) {
        const uint64_t *x = s->base->at + (part * ((size_t)s->b.level + 1) + limb) * n;
        r->k.mul_const(sum, x, s->e->p_mod_q[limb], s->e->p_shoup[limb], n, m->q);
    }
    r->k.mac(sum, has_base ? sum : NULL, s->digit, s->half[part], s->digits, limb * n, key_limb * n,
             n, m);
    if (sum != out) {
        r->k.gather(out, sum, s->key->galois, r->log_n, 0, n);
    }
}

static void switch_all(const struct switching *s)
{
    const rt_eval *e = s->e;
    size_t limbs = ring_limbs(s->b);
    /* slices own a limb of e->poly each */
    SYS_PARALLEL_FOR
    for (size_t slice = 0; slice < e->slices; slice++) {
        for (size_t i = slice; i < 2 * limbs; i += e->slices) {
            switch_limb(s, i >= limbs, i % limbs, e->poly + slice * e->ctx->ring->n);
        }
    }
}

void rt_key_mul(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base, int64_t by)
{
    static const char op[] = "rt_key_mul";
    const struct eval_reg *d = rt_eval_in(e, op, digits, 1u << EVAL_DIGITS);
    const struct eval_reg *x = rt_eval_in(e, op, base, by == 0 ? 1u << EVAL_CT3 : 1u << EVAL_CT);
    if (d == NULL || x == NULL) {
        return;
    }
    if (d->level != x->level) {
        rt_eval_mistake(e, op, "digits at level %d of a value at level %d", d->level, x->level);
        return;
    }
    const struct eval_key *key = find_key(e, by);
    if (key == NULL || (int64_t)key->shape.basis.level < x->level) {
        rt_eval_mistake(e, op, "no key for %s %lld at level %d",
                        by == 0 ? "relinearisation, step" : "rotation", (long long)by, x->level);
        return;
    }
    if (out == digits || out == base) {
        rt_eval_mistake(e, op, "result and operand share register %u", out);
        return;
    }
    struct eval_reg *z = rt_eval_out(e, op, out, EVAL_CTX, x->level);
    if (z == NULL) {
        return;
    }
    struct switching s;
    s.e = e;
    s.key = key;
    s.base = x;
    s.b = eval_basis(e, d);
    s.digits = ring_digits(s.b.level, e->ctx->alpha);
    s.out = z->at;
    for (unsigned j = 0; j < s.digits; j++) {
        s.digit[j] = d->at + j * ring_words(e->ctx->ring, s.b);
        s.half[0][j] = key->b + j * key->shape.poly_words;
        s.half[1][j] = key->a + j * key->shape.poly_words;
    }
    switch_all(&s);
    eval_set(z, EVAL_CTX, x->level, x->scale);
}

/* In place the parts grow and the second moves up, so it goes first, through e->poly. */
void rt_lift(rt_eval *e, uint32_t out, uint32_t in)
{
    static const char op[] = "rt_lift";
    const struct eval_reg *x = rt_eval_in(e, op, in, 1u << EVAL_CT);
    if (x == NULL) {
        return;
    }
    struct eval_reg *z = rt_eval_out(e, op, out, EVAL_CTX, x->level);
    if (z == NULL) {
        return;
    }
    const struct ring *r = e->ctx->ring;
    struct ring_basis b = {(unsigned)x->level, r->n_p};
    size_t words_in = rt_eval_part_words(e, EVAL_CT, x->level);
    size_t words_out = ring_words(r, b);
    for (size_t i = 2; i-- > 0;) {
        const uint64_t *from = x->at + i * words_in;
        if (out == in) {
            memcpy(e->poly, from, words_in * sizeof *from);
            from = e->poly;
        }
        ring_mul_p(r, z->at + i * words_out, from, b);
    }
    eval_set(z, EVAL_CTX, x->level, x->scale);
}
