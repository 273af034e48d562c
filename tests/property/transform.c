/* SPDX-License-Identifier: Apache-2.0 */

/*
 * rt_transform against the operations it stands for, word for word: random transforms of random
 * words. No ciphertext is needed, for the words of all of these are defined whatever they mean.
 */
#include "eval/eval.h"
#include "rt_kit.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define TOP    4
#define BABIES 70u /* more than one group */
#define OUTS   5u
#define KINDS  8u /* of plaintexts, each at three levels, over QP and over Q */
#define LEVELS 3

/* Registers */
enum {
    X0,
    X1,
    D0,
    D1,
    RAISED,
    CTX0,
    CTX1,
    SUM,
    TERM,
    OUT,
    EACH = OUT + OUTS,
    REGS = EACH + BABIES
};

static const int64_t rotations[] = {1, 3, -2, 7};
enum { ROTATIONS = sizeof rotations / sizeof *rotations };

struct bed {
    struct kit kit;
    uint64_t words[REGS];
    rt_eval *e;
};

static void nothing(rt_eval *e)
{
    (void)e;
}

static void make_bed(struct bed *d, unsigned log_n, int threads)
{
    uint32_t n = 1u << (log_n - 1);
    const struct kit_shape shape = {.log_n = log_n,
                                    .q_bits = {50, 49, 40, 40, 45},
                                    .p_bits = {50, 50},
                                    .alpha = 2,
                                    .insecure = 1,
                                    .n = n,
                                    .num_in = 1,
                                    .num_out = 1,
                                    .input_level = TOP,
                                    .output_level = 0,
                                    .input_scale = 0x1p40,
                                    .sparse_weight = 16};
    struct kit *k = &d->kit;
    kit_make(k, &shape);
    k->layer.run = nothing;
    for (unsigned i = 0; i < REGS; i++) {
        d->words[i] = (uint64_t)(TOP + 3) * 3 << log_n;
    }
    k->program.num_regs = REGS;
    k->program.reg_words = d->words;
    for (int i = 0; i < ROTATIONS; i++) {
        int64_t by = (rotations[i] + n) % n;
        kit_key(k, by, TOP - i % 2);
        kit_key_of(k, RT_KEY_RAISED, by, TOP);
    }
    kit_key_of(k, RT_KEY_RAISED, 0, TOP);
    double *v = sys_alloc_array(2 * n, sizeof *v);
    for (uint32_t i = 0; i < 2 * n; i++) {
        v[i] = (double)(i * i % 17) / 8 - 1;
    }
    for (int extended = 1; extended >= 0; extended--) {
        for (int level = TOP; level > TOP - LEVELS; level--) {
            for (uint32_t i = 0; i < KINDS; i++) {
                static const uint32_t share[] = {1, 1, 1, 2, 4, 32, UINT32_MAX, UINT32_MAX};
                uint32_t period = share[i] > n ? 1 : n / share[i];
                /* a vector of `period` values, repeated */
                kit_plain(k, v + i, period, period, level, extended, 0x1p40);
            }
        }
    }
    sys_free(v);
    kit_write_data(k);
    kit_keygen(k, 0);
    char data[128], keys[128];
    struct rt_error err;
    kit_path(k, data, "model.dat");
    kit_path(k, keys, "eval.weft");
    /* every second one makes halves of keys and limbs of plaintexts for each use */
    static unsigned beds;
    struct rt_options options = {.threads = threads, .once = beds++ % 2 == 0};
    cr_assert_eq(rt_eval_open_with(&d->e, &k->program, data, keys, &options, &err), RT_OK, "%s",
                 err.text);
}

static void drop_bed(struct bed *d)
{
    rt_eval_close(d->e);
    kit_drop(&d->kit);
}

static void put(rt_eval *e, uint32_t reg, enum eval_kind kind, int32_t level, uint64_t *random)
{
    struct eval_reg *g = &e->regs[reg];
    eval_set(g, kind, level, 0x1p40);
    const struct ring *r = e->ctx->ring;
    struct ring_basis b = eval_basis(e, g);
    for (size_t part = 0; part < rt_eval_parts(e, kind, level); part++) {
        for (size_t limb = 0; limb < ring_limbs(b); limb++) {
            uint64_t *to = g->at + part * ring_words(r, b) + limb * r->n;
            for (size_t i = 0; i < r->n; i++) {
                to[i] = kit_random(random) % ring_mod(r, b, limb)->q;
            }
        }
    }
}

static void put_inputs(rt_eval *e, int32_t level, uint64_t *random)
{
    put(e, X0, EVAL_CT, level, random);
    put(e, X1, EVAL_CT, level, random);
    put(e, D0, EVAL_DIGITS, level, random);
    put(e, D1, EVAL_DIGITS, level, random);
    put(e, RAISED, EVAL_RAISED, level, random);
    put(e, CTX0, EVAL_CTX, level, random);
    put(e, CTX1, EVAL_CTX, level, random);
    for (uint32_t i = 0; i < OUTS; i++) {
        put(e, OUT + i, EVAL_CTX, level, random); /* what was there does not matter */
    }
}

static struct rt_baby draw_baby(const struct bed *d, int32_t level, bool extended, uint64_t *random)
{
    uint32_t n = d->kit.model.input.n;
    uint32_t key = (uint32_t)(kit_random(random) % ROTATIONS);
    key = level == TOP ? key & ~1u : key; /* the others do not reach it */
    int64_t by = (rotations[key] + n) % n;
    uint32_t which = (uint32_t)(kit_random(random) % 2);
    switch (extended ? kit_random(random) % 8 : 0) {
    case 0:
        return (struct rt_baby){UINT32_MAX, X0 + which, 0};
    case 1:
        return (struct rt_baby){UINT32_MAX, CTX0 + which, 0};
    case 2:
        return (struct rt_baby){UINT32_MAX, RAISED, which == 0 ? 0 : by};
    default:
        return (struct rt_baby){D0 + which, X0 + which, by};
    }
}

/* rt_key_mul_add against the sum of two products that are equal. */
static void check_key_mul_add(rt_eval *e, uint32_t product, const struct rt_baby *y)
{
    rt_key_mul(e, SUM, y->digits, y->base, y->by);
    rt_key_mul_add(e, SUM, y->digits, y->base, y->by);
    rt_add(e, TERM, product, product);
    cr_assert_eq(e->error.status, RT_OK, "%s", e->error.text);
    const struct eval_reg *got = &e->regs[SUM];
    size_t words = 2 * rt_eval_part_words(e, EVAL_CTX, got->level);
    for (size_t i = 0; i < words; i++) {
        cr_assert_eq(got->at[i], e->regs[TERM].at[i], "rt_key_mul_add: word %zu", i);
    }
}

/* Register `out`: what the operand stands for. */
static uint32_t separate(rt_eval *e, uint32_t out, const struct rt_baby *y, bool extended)
{
    if (y->digits != UINT32_MAX) {
        rt_key_mul(e, out, y->digits, y->base, y->by);
        check_key_mul_add(e, out, y);
    } else if (y->base == RAISED) {
        rt_raised_mul(e, out, RAISED, y->by);
    } else if (y->base < D0 && extended) {
        rt_lift(e, out, y->base);
    } else {
        return y->base;
    }
    return out;
}

static void check(struct bed *d, uint32_t k, const uint32_t *each, uint32_t count,
                  const uint32_t *plain, int32_t level)
{
    rt_eval *e = d->e;
    bool any = false;
    for (uint32_t i = 0; i < count; i++) {
        if (plain[i] != UINT32_MAX) {
            rt_pmac(e, any ? TERM : SUM, &each[i], 1, plain[i]);
            if (any) {
                rt_add(e, SUM, SUM, TERM);
            }
            any = true;
        }
    }
    cr_assert_eq(e->error.status, RT_OK, "%s", e->error.text);
    const struct eval_reg *got = &e->regs[OUT + k];
    const struct eval_reg *want = &e->regs[SUM];
    cr_assert_eq(got->kind, want->kind);
    cr_assert_eq(got->level, level);
    cr_assert_eq(got->scale, want->scale);
    size_t words = 2 * rt_eval_part_words(e, (enum eval_kind)want->kind, level);
    for (size_t i = 0; i < words; i++) {
        cr_assert_eq(got->at[i], want->at[i],
                     "cpu %d, %u slices, level %d, %u operands: result %u word %zu",
                     (int)e->ctx->ring->k.level, e->slices, level, count, k, i);
    }
}

static void one(struct bed *d, uint32_t count, uint32_t num_out, int32_t level, unsigned missing,
                bool extended, uint64_t *random)
{
    rt_eval *e = d->e;
    struct rt_baby baby[BABIES];
    uint32_t plain[OUTS * BABIES], out[OUTS], each[BABIES];
    unsigned plains = (unsigned)(TOP - level + (extended ? 0 : LEVELS)) * KINDS;
    put_inputs(e, level, random);
    for (uint32_t i = 0; i < count; i++) {
        baby[i] = draw_baby(d, level, extended, random);
    }
    for (uint32_t k = 0; k < num_out; k++) {
        out[k] = OUT + k;
        unsigned kinds = 1 + (unsigned)(kit_random(random) % KINDS);
        for (uint32_t i = 0; i < count; i++) {
            bool none = kit_random(random) % 8 < missing;
            plain[k * count + i] =
                none ? UINT32_MAX
                     : (uint32_t)(plains + kit_random(random) % kinds);
        }
        uint32_t there = (uint32_t)(kit_random(random) % count);
        plain[k * count + there] = plains;
    }
    rt_transform(e, out, num_out, baby, count, plain);
    cr_assert_eq(e->error.status, RT_OK, "%s", e->error.text);
    for (uint32_t i = 0; i < count; i++) {
        each[i] = separate(e, EACH + i, &baby[i], extended);
    }
    for (uint32_t k = 0; k < num_out; k++) {
        check(d, k, each, count, plain + k * count, level);
    }
}

static void random_transforms(unsigned log_n, int threads, unsigned rounds)
{
    struct bed d;
    uint64_t random = kit_seed() + log_n;
    make_bed(&d, log_n, threads);
    cr_assert_eq(d.e->slices, (unsigned)threads);
    for (int cpu = (int)sys_cpu_detect(); cpu >= 0; cpu--) {
        k_init(&d.e->ctx->ring->k, (enum rt_cpu)cpu);
        for (unsigned i = 0; i < rounds; i++) {
            int32_t level = TOP - (int32_t)(i % LEVELS);
            uint32_t most = i % 4 == 3 ? BABIES : 24;
            uint32_t count = 1 + (uint32_t)(kit_random(&random) % most);
            uint32_t num_out = 1 + (uint32_t)(kit_random(&random) % OUTS);
            bool extended = i % 3 != 2;
            one(&d, count, num_out, level, (unsigned)(kit_random(&random) % 9), extended, &random);
        }
        one(&d, BABIES, 1, TOP - 1, 0, true, &random);
        one(&d, BABIES, OUTS, TOP - 1, 0, false, &random);
    }
    drop_bed(&d);
}

Test(transform, below_a_tile)
{
    random_transforms(5, 1, 12);
    random_transforms(8, 2, 12);
}

Test(transform, one_tile)
{
    random_transforms(9, 2, 12);
}

Test(transform, several_tiles)
{
    random_transforms(11, 1, 8);
    random_transforms(13, 2, 4);
}

/* ---- what it refuses ---------------------------------------------------------------------------- */

Test(transform, refuses)
{
    struct bed d;
    uint64_t random = kit_seed();
    make_bed(&d, 9, 1);
    rt_eval *e = d.e;
    put_inputs(e, TOP, &random);
    const struct rt_baby good[2] = {{D0, X0, 1}, {UINT32_MAX, X0, 0}};
    const uint32_t outs[2] = {OUT, OUT + 1};
    const uint32_t plain[4] = {0, 1, 2, UINT32_MAX};
    enum { LEVEL_BELOW = KINDS };
    struct {
        const char *what;
        uint32_t outs[2];
        struct rt_baby baby[2];
        uint32_t plain[4], count, num_out;
    } bad[] = {
        {"no operands", {OUT, OUT + 1}, {{0}}, {0}, 0, 2},
        {"no results", {OUT, OUT + 1}, {good[0], good[1]}, {0, 1, 2, 3}, 2, 0},
        {"a result twice", {OUT, OUT}, {good[0], good[1]}, {0, 1, 2, 3}, 2, 2},
        {"result is base", {OUT, X0}, {good[0], good[1]}, {0, 1, 2, 3}, 2, 2},
        {"result is digits", {D0, OUT}, {good[0], good[1]}, {0, 1, 2, 3}, 2, 2},
        {"no such result", {OUT, REGS}, {good[0], good[1]}, {0, 1, 2, 3}, 2, 2},
        {"no such base", {OUT, OUT + 1}, {good[0], {UINT32_MAX, REGS, 0}}, {0, 1, 2, 3}, 2, 2},
        {"no such digits", {OUT, OUT + 1}, {good[0], {REGS, X0, 1}}, {0, 1, 2, 3}, 2, 2},
        {"not digits", {OUT, OUT + 1}, {good[0], {X1, X0, 1}}, {0, 1, 2, 3}, 2, 2},
        {"digits of what", {OUT, OUT + 1}, {good[0], {D0, CTX0, 1}}, {0, 1, 2, 3}, 2, 2},
        {"no key", {OUT, OUT + 1}, {good[0], {D0, X0, 5}}, {0, 1, 2, 3}, 2, 2},
        {"key too low", {OUT, OUT + 1}, {good[0], {D0, X0, 3}}, {0, 1, 2, 3}, 2, 2},
        {"rotated by 0", {OUT, OUT + 1}, {good[0], {D0, X0, 0}}, {0, 1, 2, 3}, 2, 2},
        {"rotated CT", {OUT, OUT + 1}, {good[0], {UINT32_MAX, X0, 1}}, {0, 1, 2, 3}, 2, 2},
        {"rotated CTX", {OUT, OUT + 1}, {good[0], {UINT32_MAX, CTX0, 1}}, {0, 1, 2, 3}, 2, 2},
        {"no raised key", {OUT, OUT + 1}, {good[0], {UINT32_MAX, RAISED, 9}}, {0, 1, 2, 3}, 2, 2},
        {"other level", {OUT, OUT + 1}, {good[0], {UINT32_MAX, X1, 0}}, {0, 1, 2, 3}, 2, 2},
        {"digits' level", {OUT, OUT + 1}, {good[0], {D1, X0, 1}}, {0, 1, 2, 3}, 2, 2},
        {"other scale", {OUT, OUT + 1}, {good[0], {UINT32_MAX, CTX1, 0}}, {0, 1, 2, 3}, 2, 2},
        {"no such plaintext", {OUT, OUT + 1}, {good[0], good[1]}, {0, 1, 2, 1000}, 2, 2},
        {"plaintext's level", {OUT, OUT + 1}, {good[0], good[1]}, {0, 1, LEVEL_BELOW, 3}, 2, 2},
        {"empty sum", {OUT, OUT + 1}, {good[0], good[1]}, {0, 1, UINT32_MAX, UINT32_MAX}, 2, 2},
    };
    put(e, X1, EVAL_CT, TOP - 1, &random);
    put(e, D1, EVAL_DIGITS, TOP - 1, &random);
    e->regs[CTX1].scale = 0x1p41;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        memset(&e->error, 0, sizeof e->error);
        rt_transform(e, bad[i].outs, bad[i].num_out, bad[i].baby, bad[i].count, bad[i].plain);
        cr_assert_eq(e->error.status, RT_ERR_ARGUMENT, "%s", bad[i].what);
        cr_assert(strstr(e->error.text, "rt_transform") != NULL, "%s", e->error.text);
    }
    /* after a mistake nothing is done */
    e->regs[OUT].kind = EVAL_EMPTY;
    rt_transform(e, outs, 2, good, 2, plain);
    cr_assert_eq(e->regs[OUT].kind, EVAL_EMPTY);
    memset(&e->error, 0, sizeof e->error);
    rt_transform(e, outs, 2, good, 2, plain);
    cr_assert_eq(e->error.status, RT_OK, "%s", e->error.text);
    drop_bed(&d);
}
