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
    const uint64_t *last = x->at + (rt_eval_parts(e, x->kind, x->level) - 1u) *
                                       rt_eval_part_words(e, x->kind, x->level);
    ring_decompose(r, z->at, last, (struct ring_basis){(unsigned)x->level, r->n_p}, e->ctx->alpha,
                   e->scratch, e->slices);
    eval_set(z, EVAL_DIGITS, x->level, x->scale);
}

const struct eval_key *rt_eval_key(rt_eval *e, const char *op, enum rt_key_kind kind, int64_t by,
                                   int32_t level)
{
    for (uint32_t i = 0; i < e->program->interface->num_keys; i++) {
        const struct eval_key *key = &e->keys[i];
        if (key->kind == (uint32_t)kind && key->by == by) {
            if ((int64_t)key->shape.basis.level >= level) {
                return key;
            }
            break;
        }
    }
    rt_eval_mistake(e, op, "no key for %s %lld at level %d", core_key_text((uint32_t)kind),
                    (long long)by, level);
    return NULL;
}

/*
 * P * base + sum_j digit_j * key_j. P * base is there for the parts of the base that were not
 * decomposed, and only modulo the q (P = 0 mod p).
 */
struct k_switch rt_eval_switch_limb(const struct eval_switch *s, size_t limb,
                                    const uint64_t **digit)
{
    const struct ring *r = s->e->ctx->ring;
    const struct eval_key *key = s->key;
    size_t words = ring_words(r, s->b);
    size_t key_limb = limb <= s->b.level ? limb : limb + (key->shape.basis.level - s->b.level);
    for (unsigned j = 0; j < s->digits; j++) {
        digit[j] = s->digit + j * words + limb * r->n;
    }
    if (s->own != NULL && limb <= s->b.level) {
        digit[limb / s->e->ctx->alpha] = s->own + limb * r->n;
    }
    struct k_switch k = {
        .digit = digit,
        .key = {key->b + key_limb * key->shape.digits * r->n,
                key->a != NULL ? key->a + key_limb * key->shape.digits * r->n : NULL},
        .terms = s->digits,
        .key_terms = key->shape.digits,
        .g = key->galois,
        .g_inverse = key->inverse,
        .log_n = r->log_n,
        .accumulate = s->accumulate,
        .far = s->far};
    if (limb <= s->b.level) {
        k.base[0] = s->base[0] + limb * r->n;
        k.base[1] = s->base[1] != NULL ? s->base[1] + limb * r->n : NULL;
        k.c = s->c[limb];
        k.cs = s->cs[limb];
    }
    return k;
}

void rt_eval_switch_expand(const struct eval_switch *s, size_t limb, struct k_switch *k,
                           size_t first, size_t n, uint64_t *work)
{
    if (k->key[1] == NULL) {
        const struct ring *r = s->e->ctx->ring;
        core_key_expand(r, work, ring_prime(r, s->b, limb), s->key->seed, s->digits,
                        s->key->shape.digits, first, n);
        k->key[1] = work;
        k->a_first = first;
    }
}

/* Words [first, first + n) of limb `limb`, before the automorphism. */
static void switch_piece(const struct eval_switch *s, size_t limb, size_t first, size_t n,
                         uint64_t *work)
{
    const struct ring *r = s->e->ctx->ring;
    const uint64_t *digit[RING_MAX_PRIMES];
    struct k_switch k = rt_eval_switch_limb(s, limb, digit);
    rt_eval_switch_expand(s, limb, &k, first, n, work);
    uint64_t *out = s->out + limb * r->n;
    r->k.key_mac(out, out + ring_words(r, s->b), &k, first, n, ring_mod(r, s->b, limb));
}

void rt_eval_switch(const struct eval_switch *s)
{
    const struct ring *r = s->e->ctx->ring;
    size_t limbs = ring_limbs(s->b);
    /* pieces of a limb, so that a few limbs keep all threads busy to the end */
    size_t piece = r->n < EVAL_KEY_PIECE ? r->n : EVAL_KEY_PIECE;
    size_t pieces = r->n / piece;
    size_t slices = s->e->slices;
    atomic_size_t next = 0;
    SYS_PARALLEL_FOR
    for (size_t slice = 0; slice < slices; slice++) {
        size_t i;
        while ((i = sys_next(&next)) < limbs * pieces) {
            switch_piece(s, i / pieces, i % pieces * piece, piece,
                         s->e->expanded + slice * s->e->expanded_words);
        }
    }
}

/* The register of a key product; NULL: a mistake is kept. */
static struct eval_reg *key_mul_out(rt_eval *e, const char *op, uint32_t out,
                                    const struct eval_reg *x, bool accumulate)
{
    if (!accumulate) {
        return rt_eval_out(e, op, out, EVAL_CTX, x->level);
    }
    const struct eval_reg *z = rt_eval_in(e, op, out, 1u << EVAL_CTX);
    if (z != NULL && (z->level != x->level || !core_same_scale(z->scale, x->scale))) {
        rt_eval_mistake(e, op,
                        "the sum is at level %d and scale %.17g, the product at %d and %.17g",
                        z->level, z->scale, x->level, x->scale);
        return NULL;
    }
    return z == NULL ? NULL : &e->regs[out];
}

static void key_mul(rt_eval *e, const char *op, uint32_t out, uint32_t digits, uint32_t base,
                    enum rt_key_kind kind, int64_t by, bool accumulate)
{
    bool three = kind == RT_KEY_RELINEARISE;
    const struct eval_reg *d = rt_eval_in(e, op, digits, 1u << EVAL_DIGITS);
    const struct eval_reg *x = rt_eval_in(e, op, base, three ? 1u << EVAL_CT3 : 1u << EVAL_CT);
    if (d == NULL || x == NULL) {
        return;
    }
    if (d->level != x->level) {
        rt_eval_mistake(e, op, "digits at level %d of a value at level %d", d->level, x->level);
        return;
    }
    const struct eval_key *key = rt_eval_key(e, op, kind, by, x->level);
    if (key == NULL) {
        return;
    }
    if (out == digits || out == base) {
        rt_eval_mistake(e, op, "result and operand share register %u", out);
        return;
    }
    struct eval_reg *z = key_mul_out(e, op, out, x, accumulate);
    if (z == NULL) {
        return;
    }
    struct eval_switch s;
    s.e = e;
    s.key = key;
    s.base[0] = x->at;
    s.base[1] = three ? x->at + rt_eval_part_words(e, x->kind, x->level) : NULL;
    s.c = e->p_mod_q;
    s.cs = e->p_shoup;
    s.b = eval_basis(e, d);
    s.digits = ring_digits(s.b.level, e->ctx->alpha);
    s.digit = d->at;
    s.own = x->at + (three ? 2 : 1) * rt_eval_part_words(e, x->kind, x->level);
    s.out = z->at;
    s.accumulate = accumulate;
    /* What passes through the caches meanwhile is mostly keys and digits: 3 words for each digit. */
    size_t traffic = (3 * (size_t)s.digits + 2) * ring_words(e->ctx->ring, s.b) * sizeof(uint64_t);
    s.far = traffic > 3 * RING_FAR_BYTES;
    rt_eval_switch(&s);
    eval_set(z, EVAL_CTX, x->level, x->scale);
}

void rt_key_mul(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base, int64_t by)
{
    key_mul(e, "rt_key_mul", out, digits, base, by == 0 ? RT_KEY_RELINEARISE : RT_KEY_ROTATE, by,
            false);
}

void rt_key_mul_add(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base, int64_t by)
{
    key_mul(e, "rt_key_mul_add", out, digits, base, by == 0 ? RT_KEY_RELINEARISE : RT_KEY_ROTATE,
            by, true);
}

void rt_conj_mul(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base)
{
    key_mul(e, "rt_conj_mul", out, digits, base, RT_KEY_CONJUGATE, 0, false);
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
