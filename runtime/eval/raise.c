/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Raising the modulus under the sparse secret (Bossuat, Troncoso-Pastoriza, Hubaux, ACNS 2022).
 *
 *     CT over q_0  --encapsulate-->  SPARSE over q_0  --mod_raise-->  RAISED over Q_level, c1 over P too
 *     RAISED  --raised_mul, once a rotation-->  CTX: P sigma(value)
 *
 * With z the sparse secret, c0 + c1 z = m modulo q_0. As integers, |c0|, |c1| <= q_0 / 2, they give
 * c0 + c1 z = m + q_0 I, where |I| <= (1 + weight) / 2 and is much smaller as a rule: modulo
 * Q_level this is the message from here on. And c1 is small enough to be the one digit of its own
 * key switch (core.h).
 */
#include "eval/eval.h"

#include <string.h>

/* Limb `to` of the integer polynomial whose residues modulo q_0, in coefficient form, are x. */
static void raise_limb(const struct ring *r, uint64_t *out, const uint64_t *x, size_t to)
{
    struct k_convert k = {
        .x = x, .stride = r->n, .k = 1, .p = r->ntt[0].mod.q, .log_n = r->log_n, .group = 1};
    k.to[0].t = &r->ntt[to];
    k.to[0].work = k.to[0].out = out;
    r->k.convert(&k);
}

/*
 * e->poly: the digit over q_0 p_0, then the switched value, two parts over the same. The key's
 * special prime is p_0 alone, so p_0 and not P is what the base is multiplied by and what is
 * divided by.
 */
void rt_encapsulate(rt_eval *e, uint32_t out, uint32_t in)
{
    static const char op[] = "rt_encapsulate";
    const struct eval_reg *x = rt_eval_in(e, op, in, 1u << EVAL_CT);
    if (x == NULL) {
        return;
    }
    if (x->level != 0) {
        rt_eval_mistake(e, op, "the operand is at level %d, not 0", x->level);
        return;
    }
    const struct eval_key *key = rt_eval_key(e, op, RT_KEY_ENCAPSULATE, 0, 0);
    struct eval_reg *z = rt_eval_out(e, op, out, EVAL_SPARSE, 0);
    if (key == NULL || z == NULL) {
        return;
    }
    const struct ring *r = e->ctx->ring;
    const uint64_t *c1 = x->at + r->n;
    uint64_t *digit = e->poly;
    uint64_t *switched = e->poly + 2 * r->n;
    r->k.intt(switched, c1, &r->ntt[0], r->log_n, 1);
    memcpy(digit, c1, r->n * sizeof *digit);
    raise_limb(r, digit + r->n, switched, r->n_q);
    uint64_t c = r->residue[(size_t)r->n_q * ((size_t)r->n_q + r->n_p)]; /* p_0 mod q_0 */
    uint64_t cs = mod_shoup(c, r->ntt[0].mod.q);
    const struct eval_switch s = {.e = e,
                                  .key = key,
                                  .base = {x->at, NULL},
                                  .c = &c,
                                  .cs = &cs,
                                  .digit = digit,
                                  .digits = 1,
                                  .b = {0, 1},
                                  .out = switched};
    rt_eval_switch(&s);
    uint64_t *const to[2] = {z->at, z->at + r->n};
    const uint64_t *const from[2] = {switched, switched + 2 * r->n};
    for (size_t i = 0; i < 2; i++) {
        ring_mod_down(r, to[i], from[i], s.b, 0, e->scratch);
    }
    eval_set(z, EVAL_SPARSE, 0, x->scale);
}

void rt_mod_raise(rt_eval *e, uint32_t out, uint32_t in, int32_t level)
{
    static const char op[] = "rt_mod_raise";
    const struct eval_reg *x = rt_eval_in(e, op, in, 1u << EVAL_SPARSE);
    if (x == NULL) {
        return;
    }
    const struct ring *r = e->ctx->ring;
    if (level < 0 || level >= (int32_t)r->n_q) {
        rt_eval_mistake(e, op, "there is no level %d", level);
        return;
    }
    if (out == in) {
        rt_eval_mistake(e, op, "result and operand share register %u", out);
        return;
    }
    struct eval_reg *z = rt_eval_out(e, op, out, EVAL_RAISED, level);
    if (z == NULL) {
        return;
    }
    size_t words = rt_eval_part_words(e, EVAL_RAISED, level);
    size_t q_limbs = (size_t)level + 1;
    size_t limbs = 2 * q_limbs + r->n_p; /* of c0, then of c1 */
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < 2; i++) {
        r->k.intt(e->poly + i * r->n, x->at + i * r->n, &r->ntt[0], r->log_n, 1);
    }
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        size_t part = i < q_limbs ? 0 : 1;
        size_t limb = i - part * q_limbs;
        uint64_t *to = z->at + part * words + limb * r->n;
        if (limb == 0) {
            memcpy(to, x->at + part * r->n, r->n * sizeof *to);
        } else {
            raise_limb(r, to, e->poly + part * r->n,
                       limb < q_limbs ? limb : limb - q_limbs + r->n_q);
        }
    }
    eval_set(z, EVAL_RAISED, level, x->scale);
}

void rt_raised_mul(rt_eval *e, uint32_t out, uint32_t in, int64_t by)
{
    static const char op[] = "rt_raised_mul";
    const struct eval_reg *x = rt_eval_in(e, op, in, 1u << EVAL_RAISED);
    if (x == NULL) {
        return;
    }
    if (out == in) {
        rt_eval_mistake(e, op, "result and operand share register %u", out);
        return;
    }
    const struct eval_key *key = rt_eval_key(e, op, RT_KEY_RAISED, by, x->level);
    struct eval_reg *z = rt_eval_out(e, op, out, EVAL_CTX, x->level);
    if (key == NULL || z == NULL) {
        return;
    }
    struct eval_switch s = {.e = e,
                            .key = key,
                            .base = {x->at, NULL},
                            .c = e->p_mod_q,
                            .cs = e->p_shoup,
                            .digit = x->at + rt_eval_part_words(e, EVAL_RAISED, x->level),
                            .digits = 1,
                            .b = eval_basis(e, x),
                            .out = z->at};
    /* two words of a key, a digit, a base and two results */
    s.far = 6 * ring_words(e->ctx->ring, s.b) * sizeof(uint64_t) > 3 * RING_FAR_BYTES;
    rt_eval_switch(&s);
    eval_set(z, EVAL_CTX, x->level, x->scale);
}
