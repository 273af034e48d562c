/* SPDX-License-Identifier: Apache-2.0 */

/* Every hot loop of runtime/kernel at every CPU level, on one limb, one thread. */
#include "bench.h"
#include "kernel/kernel.h"
#include "ring/ring.h"
#include "../kernels/random.h"

enum {
    MAC_TERMS = 8,
    CONVERT_TERMS = 4, /* a digit of three primes and the quotient */
    LOG_RUN = 5,       /* period 512 at N = 2^15 */
    INPUTS = 2 * MAC_TERMS
};

struct kernel_state {
    unsigned log_n, bits;
    struct kernels k;
    struct ring *ring;
    const struct ntt_table *t;
    uint64_t *memory, *out;
    const uint64_t *in[INPUTS];
    double *real;
    uint64_t c, cs, w[CONVERT_TERMS];
    unsigned shift[CONVERT_TERMS];
    size_t n;
};

#define RUN(name)  static void run_##name(void *state)
#define OPEN_STATE struct kernel_state *s = state

RUN(ntt)
{
    OPEN_STATE;
    s->k.ntt(s->out, s->out, s->t, s->log_n);
}

RUN(intt)
{
    OPEN_STATE;
    s->k.intt(s->out, s->out, s->t, s->log_n, s->c);
}

RUN(add)
{
    OPEN_STATE;
    s->k.add(s->out, s->in[0], s->in[1], s->n, s->t->mod.q);
}

RUN(sub)
{
    OPEN_STATE;
    s->k.sub(s->out, s->in[0], s->in[1], s->n, s->t->mod.q);
}

RUN(neg)
{
    OPEN_STATE;
    s->k.neg(s->out, s->in[0], s->n, s->t->mod.q);
}

RUN(add_const)
{
    OPEN_STATE;
    s->k.add_const(s->out, s->in[0], s->c, s->n, s->t->mod.q);
}

RUN(mul)
{
    OPEN_STATE;
    s->k.mul(s->out, s->in[0], s->in[1], s->n, &s->t->mod);
}

RUN(mul_add)
{
    OPEN_STATE;
    s->k.mul_add(s->out, s->in[2], s->in[0], s->in[1], s->n, &s->t->mod);
}

RUN(mul_const)
{
    OPEN_STATE;
    s->k.mul_const(s->out, s->in[0], s->c, s->cs, s->n, s->t->mod.q);
}

RUN(mul_const_add)
{
    OPEN_STATE;
    s->k.mul_const_add(s->out, s->in[1], s->in[0], s->c, s->cs, s->n, s->t->mod.q);
}

RUN(sub_mul_const)
{
    OPEN_STATE;
    s->k.sub_mul_const(s->out, s->in[0], s->in[1], s->c, s->cs, s->n, s->t->mod.q);
}

RUN(mac)
{
    OPEN_STATE;
    s->k.mac(s->out, NULL, s->in, s->in + MAC_TERMS, MAC_TERMS, 0, 0, s->n, &s->t->mod);
}

RUN(mac_run)
{
    OPEN_STATE;
    s->k.mac_run(s->out, NULL, s->in, s->in + MAC_TERMS, MAC_TERMS, 0, 0, LOG_RUN, s->n,
                 &s->t->mod);
}

RUN(bconv)
{
    OPEN_STATE;
    s->k.bconv(s->out, s->in[0], s->n, s->w, CONVERT_TERMS, s->n, &s->t->mod);
}

RUN(bconv_quot)
{
    OPEN_STATE;
    s->k.bconv_quot(s->out, s->in[0], s->n, s->w, s->shift, CONVERT_TERMS, s->n);
}

RUN(recentre)
{
    OPEN_STATE;
    s->k.recentre(s->out, s->in[0], s->t->mod.q, s->n, &s->t->mod);
}

RUN(gather)
{
    OPEN_STATE;
    s->k.gather(s->out, s->in[0], 5, s->log_n, 0, s->n);
}

RUN(from_i64)
{
    OPEN_STATE;
    s->k.from_i64(s->out, (const int64_t *)s->in[0], s->n, &s->t->mod);
}

RUN(from_i32)
{
    OPEN_STATE;
    s->k.from_i32(s->out, (const int32_t *)(const void *)s->in[0], s->n, &s->t->mod);
}

RUN(from_double)
{
    OPEN_STATE;
    s->k.from_double(s->out, s->real, s->n, &s->t->mod);
}

/*
 * Counts for one word, beside the transforms' butterflies. words: read and written.
 *   - mul, mul_add: a product and the reduction of one sum;
 *   - mac: `terms` products, one reduction; each word of the plaintext of mac_run serves a run;
 *   - bconv_quot: the upper half of a product only, without reduction (half a product);
 *   - recentre: a scaling by one. from_i32 the same; a 64-bit integer and a real are two words.
 */
struct row {
    const char *op;
    void (*run)(void *state);
    double products, reductions, scalings, words;
    unsigned terms, log_run;
    bool transform;
};

static const struct row rows[] = {
    {"ntt", run_ntt, 0, 0, 0, 2, 0, 0, true},
    {"intt", run_intt, 0, 0, 0, 2, 0, 0, true},
    {"add", run_add, 0, 0, 0, 3, 0, 0, false},
    {"sub", run_sub, 0, 0, 0, 3, 0, 0, false},
    {"neg", run_neg, 0, 0, 0, 2, 0, 0, false},
    {"add_const", run_add_const, 0, 0, 0, 2, 0, 0, false},
    {"mul", run_mul, 1, 1, 0, 3, 0, 0, false},
    {"mul_add", run_mul_add, 1, 1, 0, 4, 0, 0, false},
    {"mul_const", run_mul_const, 0, 0, 1, 2, 0, 0, false},
    {"mul_const_add", run_mul_const_add, 0, 0, 1, 3, 0, 0, false},
    {"sub_mul_const", run_sub_mul_const, 0, 0, 1, 3, 0, 0, false},
    {"mac", run_mac, MAC_TERMS, 1, 0, 2 * MAC_TERMS + 1, MAC_TERMS, 0, false},
    {"mac_run", run_mac_run, MAC_TERMS, 1, 0, MAC_TERMS + 1, MAC_TERMS, LOG_RUN, false},
    {"bconv", run_bconv, CONVERT_TERMS, 1, 0, CONVERT_TERMS + 1, CONVERT_TERMS, 0, false},
    {"bconv_quot", run_bconv_quot, CONVERT_TERMS / 2.0, 0, 0, CONVERT_TERMS + 1, CONVERT_TERMS, 0,
     false},
    {"recentre", run_recentre, 0, 0, 1, 2, 0, 0, false},
    {"gather", run_gather, 0, 0, 0, 2, 0, 0, false},
    {"from_i64", run_from_i64, 0, 0, 2, 2, 0, 0, false},
    {"from_i32", run_from_i32, 0, 0, 1, 1.5, 0, 0, false},
    {"from_double", run_from_double, 0, 0, 2, 2, 0, 0, false},
};
enum { NUM_ROWS = sizeof rows / sizeof *rows };

static void make(void *state)
{
    OPEN_STATE;
    uint64_t q = prime_below(UINT64_C(1) << s->bits, s->log_n);
    if (ring_create(&s->ring, s->log_n, &q, 1, NULL, 0) != RING_OK) {
        bench_die("no ring of degree 2^%u", s->log_n);
    }
    s->n = s->ring->n;
    s->t = &s->ring->ntt[0];
    s->memory = bench_alloc((INPUTS + 2) * s->n);
    struct random g = random_start(0);
    for (size_t i = 0; i < (INPUTS + 1) * s->n; i++) {
        s->memory[i] = random_below(&g, q);
    }
    s->out = s->memory;
    for (size_t i = 0; i < INPUTS; i++) {
        s->in[i] = s->memory + (i + 1) * s->n;
    }
    s->real = (double *)(void *)(s->memory + (INPUTS + 1) * s->n);
    for (size_t i = 0; i < s->n; i++) {
        s->real[i] = (double)random_next(&g) * 0x1p-4 - 0x1p59;
    }
    s->c = random_below(&g, q);
    s->cs = mod_shoup(s->c, q);
    for (size_t i = 0; i < CONVERT_TERMS; i++) {
        s->w[i] = random_below(&g, q);
    }
}

static void prepare(void *state, const struct bench_case *c)
{
    OPEN_STATE;
    k_init(&s->k, c->cpu);
}

static void drop(void *state)
{
    OPEN_STATE;
    sys_free(s->memory);
    ring_free(s->ring);
}

static struct bench_job job(const struct row *r, unsigned log_n, unsigned bits, enum rt_cpu cpu)
{
    struct bench_job j = {{.op = r->op, .log_n = log_n, .cpu = cpu, .threads = 1}, r->run};
    double n = (double)((size_t)1 << log_n);
    struct work *w = &j.c.work;
    j.c.bits = r->transform ? bits : 0;
    j.c.terms = r->terms;
    w->butterflies = r->transform ? work_transform(log_n) : 0;
    w->products = n * r->products;
    w->reductions = n * r->reductions;
    w->scalings = n * r->scalings;
    w->bytes = 8 * n * r->words;
    if (r->log_run != 0) {
        j.c.period = 1u << (log_n - LOG_RUN - 1);
        w->bytes += 8 * n * r->terms / (1u << LOG_RUN);
    }
    w->resident = w->bytes;
    return j;
}

void bench_kernels(struct bench *b)
{
    static const struct bench_suite suite = {"kernels: one limb", make, prepare, NULL, drop};
    unsigned first = b->quick ? 15 : 14;
    unsigned last = b->quick ? 15 : 16;
    for (unsigned log_n = first; log_n <= last; log_n++) {
        /* 47 bits leave room for lazier transforms; the others do not care */
        for (unsigned bits = 50; bits >= 47; bits -= 3) {
            struct bench_job jobs[NUM_ROWS * BENCH_LEVELS];
            size_t num_jobs = 0;
            for (size_t i = 0; i < NUM_ROWS; i++) {
                if (bits == 47 && !rows[i].transform) {
                    continue;
                }
                for (int level = (int)sys_cpu_detect(); level >= 0; level--) {
                    jobs[num_jobs++] = job(&rows[i], log_n, bits, (enum rt_cpu)level);
                }
            }
            struct kernel_state s = {.log_n = log_n, .bits = bits};
            bench_jobs(b, &suite, &s, jobs, num_jobs);
        }
    }
}
