/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What a compiled bootstrap does, counted while it runs: its calls of the operations that matter come
 * here first (the Makefile renames them in the generated sources). Counts as in programs.c, of the
 * registers' levels; every polynomial of a key and every plaintext comes from memory, all else may
 * stay in caches.
 */
#include "bench.h"
#include "boots.h"
#include "eval/eval.h"

#include <math.h>
#include <string.h>

/* The generated sources call these by the names of rt.h. */
void boot_decompose(rt_eval *e, uint32_t out, uint32_t in);
void boot_key_mul(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base, int64_t by);
void boot_key_mul_add(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base, int64_t by);
void boot_conj_mul(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base);
void boot_mod_down(rt_eval *e, uint32_t out, uint32_t in, uint32_t drop);
void boot_rescale(rt_eval *e, uint32_t out, uint32_t in, uint32_t drop);
void boot_mul(rt_eval *e, uint32_t out, uint32_t a, uint32_t b);
void boot_pmac(rt_eval *e, uint32_t out, const uint32_t *in, uint32_t count, uint32_t first);
void boot_encapsulate(rt_eval *e, uint32_t out, uint32_t in);
void boot_mod_raise(rt_eval *e, uint32_t out, uint32_t in, int32_t level);
void boot_raised_mul(rt_eval *e, uint32_t out, uint32_t in, int64_t by);
void boot_transform(rt_eval *e, const uint32_t *out, uint32_t num_out, const struct rt_baby *baby,
                    uint32_t count, const uint32_t *plain);

static struct boot_counts now;

void boot_count_start(void)
{
    memset(&now, 0, sizeof now);
}

struct boot_counts boot_count(const rt_eval *e)
{
    struct boot_counts c = now;
    unsigned log_n = e->ctx->ring->log_n;
    c.work.butterflies = c.ntts * work_transform(log_n);
    c.work.bytes =
        c.key_polys * 8 * ldexp(1, (int)log_n) + (double)rt_eval_memory(e).plaintext_bytes;
    c.work.resident = INFINITY;
    return c;
}

static double words(const rt_eval *e)
{
    return ldexp(1, (int)e->ctx->ring->log_n);
}

static double limbs_of(const rt_eval *e, uint32_t reg)
{
    const struct eval_reg *r = &e->regs[reg];
    bool extended = r->kind == EVAL_CTX || r->kind == EVAL_RAISED || r->kind == EVAL_DIGITS;
    return r->level + 1 + (extended ? (double)e->ctx->ring->n_p : 0);
}

static void sums(const rt_eval *e, double products, double reductions, double scalings)
{
    now.work.products += products * words(e);
    now.work.reductions += reductions * words(e);
    now.work.scalings += scalings * words(e);
}

/* `gone` limbs of a polynomial to `left` others */
static void convert(const rt_eval *e, double gone, double left)
{
    now.ntts += gone + left;
    if (gone > 1)
        sums(e, gone * left, left, gone);
}

static void divide(const rt_eval *e, double gone, double left)
{
    for (int part = 0; part < 2; part++) {
        convert(e, gone, left);
        sums(e, 0, 0, left);
    }
}

static double alpha(const rt_eval *e)
{
    return e->program->interface->params.alpha;
}

/* The switch of a value at `level`, digits and all, over Q_level P */
static void key_product(const rt_eval *e, int level, double digits)
{
    double all = level + 1 + (double)e->ctx->ring->n_p;
    now.keys++;
    now.key_polys += 2 * digits * all;
    sums(e, 2 * digits * all, 2 * all, 0);
}

static double digits_of(const rt_eval *e, uint32_t reg)
{
    return ceil((e->regs[reg].level + 1) / alpha(e));
}

void boot_decompose(rt_eval *e, uint32_t out, uint32_t in)
{
    double l = e->regs[in].level + 1;
    for (double at = 0; at < l; at += alpha(e)) {
        double own = fmin(alpha(e), l - at);
        now.ntts += l + e->ctx->ring->n_p;
        sums(e, own * (l + e->ctx->ring->n_p - own), l + e->ctx->ring->n_p - own, own);
    }
    rt_decompose(e, out, in);
}

void boot_key_mul(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base, int64_t by)
{
    key_product(e, e->regs[digits].level, digits_of(e, digits));
    rt_key_mul(e, out, digits, base, by);
}

void boot_key_mul_add(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base, int64_t by)
{
    key_product(e, e->regs[digits].level, digits_of(e, digits));
    rt_key_mul_add(e, out, digits, base, by);
}

void boot_conj_mul(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base)
{
    key_product(e, e->regs[digits].level, digits_of(e, digits));
    rt_conj_mul(e, out, digits, base);
}

void boot_raised_mul(rt_eval *e, uint32_t out, uint32_t in, int64_t by)
{
    key_product(e, e->regs[in].level, 1);
    rt_raised_mul(e, out, in, by);
}

void boot_mod_down(rt_eval *e, uint32_t out, uint32_t in, uint32_t drop)
{
    divide(e, (double)e->ctx->ring->n_p + drop, e->regs[in].level + 1. - drop);
    rt_mod_down(e, out, in, drop);
}

void boot_rescale(rt_eval *e, uint32_t out, uint32_t in, uint32_t drop)
{
    divide(e, drop, e->regs[in].level + 1. - drop);
    rt_rescale(e, out, in, drop);
}

/* Three products if the operands are one */
void boot_mul(rt_eval *e, uint32_t out, uint32_t a, uint32_t b)
{
    double l = e->regs[a].level + 1;
    sums(e, (a == b ? 3 : 4) * l, 3 * l, 0);
    rt_mul(e, out, a, b);
}

void boot_pmac(rt_eval *e, uint32_t out, const uint32_t *in, uint32_t count, uint32_t first)
{
    double limbs = limbs_of(e, in[0]);
    now.plain_products += count;
    sums(e, 2 * limbs * count, 2 * limbs, 0);
    rt_pmac(e, out, in, count, first);
}

/* Key switching over q_0 and p_0 */
void boot_encapsulate(rt_eval *e, uint32_t out, uint32_t in)
{
    now.ntts += 2;
    now.keys++;
    now.key_polys += 4;
    sums(e, 4, 4, 0);
    divide(e, 1, 1);
    rt_encapsulate(e, out, in);
}

void boot_mod_raise(rt_eval *e, uint32_t out, uint32_t in, int32_t level)
{
    now.ntts += 2 + 2. * level + e->ctx->ring->n_p;
    rt_mod_raise(e, out, in, level);
}

void boot_transform(rt_eval *e, const uint32_t *out, uint32_t num_out, const struct rt_baby *baby,
                    uint32_t count, const uint32_t *plain)
{
    int level = e->regs[baby[0].base].level;
    double all = level + 1 + (double)e->ctx->ring->n_p;
    double terms = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (baby[i].digits != UINT32_MAX)
            key_product(e, level, digits_of(e, baby[i].digits));
        else if (e->regs[baby[i].base].kind == EVAL_RAISED)
            key_product(e, level, 1);
    }
    for (size_t i = 0; i < (size_t)num_out * count; i++)
        terms += plain[i] != UINT32_MAX;
    now.plain_products += terms;
    sums(e, 2 * all * terms, 2 * all * num_out, 0);
    rt_transform(e, out, num_out, baby, count, plain);
}
