/* SPDX-License-Identifier: Apache-2.0 */

/* Sums, products and changes of level or scale: everything but key switching and plaintexts. */
#include "eval/eval.h"

#include <string.h>

typedef void ring_binary(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *y,
                         struct ring_basis b);

static void add_or_sub(rt_eval *e, const char *op, ring_binary *f, uint32_t out, uint32_t a,
                       uint32_t b)
{
    const struct eval_reg *x = rt_eval_in(e, op, a, EVAL_ANY);
    const struct eval_reg *y = rt_eval_in(e, op, b, EVAL_ANY);
    if (x == NULL || y == NULL || !rt_eval_same(e, op, x, y)) {
        return;
    }
    struct eval_reg *z = rt_eval_out(e, op, out, x->kind, x->level);
    if (z == NULL) {
        return;
    }
    size_t words = rt_eval_part_words(e, x->kind, x->level);
    unsigned parts = rt_eval_parts(e, x->kind, x->level);
    for (size_t i = 0; i < parts; i++) {
        f(e->ctx->ring, z->at + i * words, x->at + i * words, y->at + i * words, eval_basis(e, x));
    }
    eval_set(z, x->kind, x->level, x->scale);
}

void rt_add(rt_eval *e, uint32_t out, uint32_t a, uint32_t b)
{
    add_or_sub(e, "rt_add", ring_add, out, a, b);
}

void rt_sub(rt_eval *e, uint32_t out, uint32_t a, uint32_t b)
{
    add_or_sub(e, "rt_sub", ring_sub, out, a, b);
}

/* (x0 + x1 s)(y0 + y1 s), limb by limb while the words are near. */
void rt_mul(rt_eval *e, uint32_t out, uint32_t a, uint32_t b)
{
    static const char op[] = "rt_mul";
    const struct eval_reg *x = rt_eval_in(e, op, a, 1u << EVAL_CT);
    const struct eval_reg *y = rt_eval_in(e, op, b, 1u << EVAL_CT);
    if (x == NULL || y == NULL) {
        return;
    }
    if (x->level != y->level) {
        rt_eval_mistake(e, op, "operands at levels %d and %d", x->level, y->level);
        return;
    }
    if (out == a || out == b) {
        rt_eval_mistake(e, op, "result and operand share register %u", out);
        return;
    }
    double scale = x->scale * y->scale;
    struct eval_reg *z = rt_eval_out(e, op, out, EVAL_CT3, x->level);
    if (z == NULL || !rt_eval_scale(e, op, scale)) {
        return;
    }
    const struct ring *r = e->ctx->ring;
    size_t n = r->n;
    size_t limbs = (size_t)x->level + 1;
    size_t part = limbs * n;
    bool far = 3 * part * sizeof *z->at > RING_FAR_BYTES;
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        const uint64_t *const xs[2] = {x->at + i * n, x->at + part + i * n};
        const uint64_t *const ys[2] = {y->at + i * n, y->at + part + i * n};
        uint64_t *const zs[3] = {z->at + i * n, z->at + part + i * n, z->at + 2 * part + i * n};
        r->k.tensor(zs, xs, ys, n, &r->ntt[i].mod, far);
    }
    eval_set(z, EVAL_CT3, x->level, scale);
}

/*
 * Division by P (of an extended value) and by the last `drop` primes. In place the first part stays
 * where it is; the others move towards the start, over words that may not have been read yet, so
 * they go by way of e->poly.
 */
static void divide(rt_eval *e, const char *op, uint32_t out, uint32_t in, uint32_t drop,
                   unsigned kinds)
{
    const struct eval_reg *x = rt_eval_in(e, op, in, kinds);
    if (x == NULL) {
        return;
    }
    const struct ring *r = e->ctx->ring;
    struct ring_basis b = eval_basis(e, x);
    if (drop > b.level || drop + b.special == 0) {
        rt_eval_mistake(e, op, "cannot drop %u primes at level %u", drop, b.level);
        return;
    }
    enum eval_kind kind = x->kind == EVAL_CTX ? EVAL_CT : x->kind;
    double scale = x->scale;
    for (uint32_t i = 0; i < drop; i++) {
        scale /= (double)r->ntt[b.level - i].mod.q;
    }
    int32_t level = x->level - (int32_t)drop;
    struct eval_reg *z = rt_eval_out(e, op, out, kind, level);
    if (z == NULL || !rt_eval_scale(e, op, scale)) {
        return;
    }
    size_t words_in = rt_eval_part_words(e, x->kind, x->level);
    size_t words_out = rt_eval_part_words(e, kind, level);
    unsigned parts = rt_eval_parts(e, kind, level);
    const uint64_t *from[RING_MAX_PARTS];
    uint64_t *to[RING_MAX_PARTS];
    for (size_t i = 0; i < parts; i++) {
        from[i] = x->at + i * words_in;
        to[i] = out == in && i > 0 ? e->poly + (i - 1) * words_out : z->at + i * words_out;
    }
    unsigned step = parts;
    while (step > 1 &&
           ring_mod_down_parts_scratch_words(r, b, step, drop, e->slices) > e->scratch_words) {
        step--;
    }
    for (unsigned i = 0; i < parts; i += step) {
        unsigned count = parts - i < step ? parts - i : step;
        ring_mod_down_parts(r, to + i, from + i, count, b, drop, e->scratch, e->slices);
    }
    if (out == in) {
        memcpy(z->at + words_out, e->poly, (parts - 1) * words_out * sizeof *z->at);
    }
    eval_set(z, kind, level, scale);
}

void rt_mod_down(rt_eval *e, uint32_t out, uint32_t in, uint32_t drop)
{
    divide(e, "rt_mod_down", out, in, drop, 1u << EVAL_CTX);
}

void rt_rescale(rt_eval *e, uint32_t out, uint32_t in, uint32_t drop)
{
    if (drop == 0) {
        rt_eval_mistake(e, "rt_rescale", "nothing to drop");
        return;
    }
    divide(e, "rt_rescale", out, in, drop, 1u << EVAL_CT | 1u << EVAL_CT3);
}

/*
 * Digits may lose limbs too: a digit d_j = x mod (its primes) is still x modulo those that are
 * left, which is all that the key switch needs.
 */
void rt_drop_to(rt_eval *e, uint32_t out, uint32_t in, int32_t level)
{
    static const char op[] = "rt_drop_to";
    const struct eval_reg *x = rt_eval_in(e, op, in, EVAL_ANY | 1u << EVAL_DIGITS);
    if (x == NULL) {
        return;
    }
    if (level < 0 || level > x->level) {
        rt_eval_mistake(e, op, "from level %d to %d", x->level, level);
        return;
    }
    struct eval_reg *z = rt_eval_out(e, op, out, x->kind, level);
    if (z == NULL) {
        return;
    }
    struct ring_basis b = eval_basis(e, x);
    size_t n = e->ctx->ring->n;
    size_t q_words = ((size_t)level + 1) * n;
    size_t words_in = rt_eval_part_words(e, x->kind, x->level);
    size_t words_out = rt_eval_part_words(e, x->kind, level);
    unsigned parts = rt_eval_parts(e, x->kind, level);
    /* in place, every part moves towards the start or stays */
    for (size_t i = 0; i < parts; i++) {
        uint64_t *to = z->at + i * words_out;
        const uint64_t *from = x->at + i * words_in;
        memmove(to, from, q_words * sizeof *to);
        memmove(to + q_words, from + ((size_t)b.level + 1) * n, b.special * n * sizeof *to);
    }
    eval_set(z, x->kind, level, x->scale);
}

void rt_raise_scale(rt_eval *e, uint32_t out, uint32_t in, int64_t times)
{
    static const char op[] = "rt_raise_scale";
    const struct eval_reg *x = rt_eval_in(e, op, in, EVAL_ANY);
    if (x == NULL) {
        return;
    }
    if (times < 1 || times >= INT64_C(1) << MOD_MAX_BITS) {
        rt_eval_mistake(e, op, "factor %lld", (long long)times);
        return;
    }
    double scale = x->scale * (double)times;
    struct eval_reg *z = rt_eval_out(e, op, out, x->kind, x->level);
    if (z == NULL || !rt_eval_scale(e, op, scale)) {
        return;
    }
    const struct ring *r = e->ctx->ring;
    struct ring_basis b = eval_basis(e, x);
    uint64_t c[RING_MAX_PRIMES];
    ring_residues(r, c, times, b);
    size_t words = ring_words(r, b);
    unsigned parts = rt_eval_parts(e, x->kind, x->level);
    for (size_t i = 0; i < parts; i++) {
        ring_mul_const(r, z->at + i * words, x->at + i * words, c, b);
    }
    eval_set(z, x->kind, x->level, scale);
}
