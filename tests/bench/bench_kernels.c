/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Times of the hot kernels: a table of op, n, bits of q, CPU level, median nanoseconds. Arguments:
 * none.
 */
#include "../kernels/random.h"
#include "ring/ring.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define RUNS 61

struct bench {
    const struct kernels *k;
    const struct ntt_table *t;
    size_t n;
    uint64_t *out;
    const uint64_t *in[16];
    uint64_t w[16];
};

static void run_ntt(struct bench *b)
{
    b->k->ntt(b->out, b->out, b->t, b->t->log_n);
}
static void run_intt(struct bench *b)
{
    b->k->intt(b->out, b->out, b->t, b->t->log_n, 1);
}
static void run_add(struct bench *b)
{
    b->k->add(b->out, b->in[0], b->in[1], b->n, b->t->mod.q);
}
static void run_mul(struct bench *b)
{
    b->k->mul(b->out, b->in[0], b->in[1], b->n, &b->t->mod);
}
static void run_mul_const(struct bench *b)
{
    uint64_t c = b->t->w[1];
    b->k->mul_const(b->out, b->in[0], c, b->t->ws[1], b->n, b->t->mod.q);
}
static void run_sub_mul_const(struct bench *b)
{
    b->k->sub_mul_const(b->out, b->in[0], b->in[1], b->t->w[1], b->t->ws[1], b->n, b->t->mod.q);
}
static void run_mac(struct bench *b)
{
    b->k->mac(b->out, NULL, b->in, b->in + 8, 8, 0, 0, b->n, &b->t->mod);
}
static void run_mac_run(struct bench *b)
{
    b->k->mac_run(b->out, NULL, b->in, b->in + 8, 8, 0, 0, 6, b->n, &b->t->mod);
}
static void run_bconv(struct bench *b)
{
    b->k->bconv(b->out, b->in[0], b->n, b->w, 4, b->n, &b->t->mod);
}
static void run_recentre(struct bench *b)
{
    b->k->recentre(b->out, b->in[0], b->t->mod.q, b->n, &b->t->mod);
}
static void run_gather(struct bench *b)
{
    b->k->gather(b->out, b->in[0], 5, b->t->log_n, 0, b->n);
}
static void run_from_i64(struct bench *b)
{
    b->k->from_i64(b->out, (const int64_t *)b->in[0], b->n, &b->t->mod);
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(void (*f)(struct bench *), struct bench *b)
{
    double time[RUNS];
    f(b);
    for (int i = 0; i < RUNS; i++) {
        double start = now_ns();
        for (int c = 0; c < 8; c++) {
            f(b);
        }
        time[i] = (now_ns() - start) / 8;
    }
    qsort(time, RUNS, sizeof *time, by_value);
    return time[RUNS / 2];
}

static void table(unsigned log_n, unsigned bits)
{
    static const struct {
        const char *name;
        void (*f)(struct bench *);
    } op[] = {
        {"ntt", run_ntt},
        {"intt", run_intt},
        {"add", run_add},
        {"mul", run_mul},
        {"mul_const", run_mul_const},
        {"sub_mul_const", run_sub_mul_const},
        {"mac x8", run_mac},
        {"mac_run x8", run_mac_run},
        {"bconv x4", run_bconv},
        {"recentre", run_recentre},
        {"gather", run_gather},
        {"from_i64", run_from_i64},
    };
    uint64_t q = prime_below(UINT64_C(1) << bits, log_n);
    struct ring *r = NULL;
    if (ring_create(&r, log_n, &q, 1, NULL, 0) != RING_OK) {
        return;
    }
    uint64_t *memory = sys_alloc_array(17 * r->n, sizeof *memory);
    if (memory == NULL) {
        ring_free(r);
        return;
    }
    struct random g = random_start(0);
    struct bench b = {NULL, &r->ntt[0], r->n, memory, {NULL}, {0}};
    for (size_t i = 0; i < 17 * r->n; i++) {
        memory[i] = random_below(&g, q);
    }
    for (size_t i = 0; i < 16; i++) {
        b.in[i] = memory + (i + 1) * r->n;
        b.w[i] = random_below(&g, q);
    }
    for (size_t i = 0; i < sizeof op / sizeof *op; i++) {
        for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
            struct kernels k;
            k_init(&k, (enum rt_cpu)level);
            b.k = &k;
            printf("%-14s n=2^%u q<2^%u %-9s %10.0f ns\n", op[i].name, log_n, bits,
                   sys_cpu_name(k.level), median(op[i].f, &b));
            fflush(stdout);
        }
    }
    sys_free(memory);
    ring_free(r);
}

int main(void)
{
    table(14, 50);
    table(15, 50);
    table(15, 45);
    table(16, 50);
    table(16, 45);
    return 0;
}
