/* SPDX-License-Identifier: Apache-2.0 */

/* Every hot loop of runtime/kernel at every CPU level, on one limb, one thread. */
#include "bench.h"
#include "kernel/kernel.h"
#include "ring/ring.h"
#include "../kernels/random.h"

enum {
    MAC_TERMS = 8,
    CONVERT_TERMS = 4, /* a digit of three primes and the quotient */
    DIGITS = 3,
    INPUTS = 2 * MAC_TERMS,
    OUTPUTS = K_CONVERT_GROUP, /* the largest number of limbs that a kernel writes */
    MANY = OUTPUTS / 2,        /* results of two parts */
    THRESHOLDS = 29            /* as for the Gaussian */
};

static const uint8_t seed[SYS_SEED_BYTES] = {3};

struct kernel_state {
    unsigned log_n, bits;
    struct kernels k;
    struct ring *ring;
    const struct ntt_table *t;
    uint64_t *memory;
    uint64_t *out[OUTPUTS];
    const uint64_t *in[INPUTS];
    double *real;  /* n */
    double *zeros; /* 2 n: transforms leave them, so they neither overflow nor fade */
    uint64_t c, cs, w[CONVERT_TERMS], below[THRESHOLDS];
    unsigned shift[CONVERT_TERMS];
    struct k_switch key;
    struct k_convert convert;
    size_t n;
};

#define RUN(name)  static void run_##name(void *state)
#define OPEN_STATE struct kernel_state *s = state

RUN(ntt)
{
    OPEN_STATE;
    s->k.ntt(s->out[0], s->out[0], s->t, s->log_n);
}

RUN(intt)
{
    OPEN_STATE;
    s->k.intt(s->out[0], s->out[0], s->t, s->log_n, s->c);
}

RUN(add)
{
    OPEN_STATE;
    s->k.add(s->out[0], s->in[0], s->in[1], s->n, s->t->mod.q);
}

RUN(sub)
{
    OPEN_STATE;
    s->k.sub(s->out[0], s->in[0], s->in[1], s->n, s->t->mod.q);
}

RUN(neg)
{
    OPEN_STATE;
    s->k.neg(s->out[0], s->in[0], s->n, s->t->mod.q);
}

RUN(add_const)
{
    OPEN_STATE;
    s->k.add_const(s->out[0], s->in[0], s->c, s->n, s->t->mod.q);
}

RUN(mul)
{
    OPEN_STATE;
    s->k.mul(s->out[0], s->in[0], s->in[1], s->n, &s->t->mod);
}

RUN(mul_add)
{
    OPEN_STATE;
    s->k.mul_add(s->out[0], s->in[2], s->in[0], s->in[1], s->n, &s->t->mod);
}

RUN(mul_const)
{
    OPEN_STATE;
    s->k.mul_const(s->out[0], s->in[0], s->c, s->cs, s->n, s->t->mod.q);
}

RUN(mul_const_add)
{
    OPEN_STATE;
    s->k.mul_const_add(s->out[0], s->in[1], s->in[0], s->c, s->cs, s->n, s->t->mod.q);
}

RUN(sub_mul_const)
{
    OPEN_STATE;
    s->k.sub_mul_const(s->out[0], s->in[0], s->in[1], s->c, s->cs, s->n, s->t->mod.q);
}

RUN(mac)
{
    OPEN_STATE;
    s->k.mac(s->out[0], NULL, s->in, s->in + MAC_TERMS, MAC_TERMS, 0, 0, s->n, &s->t->mod);
}

static void mac_run(struct kernel_state *s, unsigned log_run)
{
    s->k.mac_run(s->out[0], NULL, s->in, s->in + MAC_TERMS, MAC_TERMS, 0, 0, log_run, s->n,
                 &s->t->mod);
}

/* The plaintext repeats twice, four times, 32 times. */
RUN(mac_run_2)
{
    mac_run(state, 1);
}

RUN(mac_run_4)
{
    mac_run(state, 2);
}

RUN(mac_run_32)
{
    mac_run(state, 5);
}

/* The results share all operands and all plaintexts here, so as to need no more memory. */
RUN(mac_many)
{
    OPEN_STATE;
    const uint64_t *p[MANY * MAC_TERMS];
    for (size_t i = 0; i < MANY * MAC_TERMS; i++) {
        p[i] = s->in[MAC_TERMS + i % MAC_TERMS];
    }
    struct k_sums sums = {
        .x = {s->in, s->in}, .p = p, .terms = MAC_TERMS, .results = MANY, .log_run = 5};
    for (size_t i = 0; i < MANY; i++) {
        sums.out[i][0] = s->out[2 * i];
        sums.out[i][1] = s->out[2 * i + 1];
    }
    s->k.mac_many(&sums, s->n, &s->t->mod);
}

RUN(key_mac)
{
    OPEN_STATE;
    s->k.key_mac(s->out[0], s->out[1], &s->key, 0, s->n, &s->t->mod);
}

RUN(tensor)
{
    OPEN_STATE;
    s->k.tensor(s->out, s->in, s->in + 2, s->n, &s->t->mod, false);
}

RUN(convert)
{
    OPEN_STATE;
    s->k.convert(&s->convert);
}

RUN(embed)
{
    OPEN_STATE;
    s->k.embed(s->zeros, s->zeros + s->n / 2, s->real, s->real + s->n / 2, s->log_n - 1);
}

RUN(unembed)
{
    OPEN_STATE;
    s->k.unembed(s->zeros, s->zeros + s->n / 2, s->real, s->real + s->n / 2, s->log_n - 1, 1);
}

RUN(largest)
{
    OPEN_STATE;
    probe_sink = s->k.largest(s->real, s->n);
}

RUN(expand)
{
    OPEN_STATE;
    s->k.expand(s->out[0], s->n / 8, seed, 0, 0);
}

RUN(keep_below)
{
    OPEN_STATE;
    uint64_t q = s->t->mod.q;
    probe_sink = (double)s->k.keep_below(s->out[0], s->n, s->in[0], s->n,
                                         (UINT64_C(1) << s->t->mod.bits) - 1, q);
}

RUN(inverse_cdf)
{
    OPEN_STATE;
    s->k.inverse_cdf((int64_t *)s->out[0], s->in[0], s->n, s->below, THRESHOLDS);
}

RUN(bconv)
{
    OPEN_STATE;
    s->k.bconv(s->out[0], s->in[0], s->n, s->w, CONVERT_TERMS, s->n, &s->t->mod);
}

RUN(bconv_quot)
{
    OPEN_STATE;
    s->k.bconv_quot(s->out[0], s->in[0], s->n, s->w, s->shift, CONVERT_TERMS, s->n);
}

RUN(recentre)
{
    OPEN_STATE;
    s->k.recentre(s->out[0], s->in[0], s->t->mod.q, s->n, &s->t->mod);
}

RUN(gather)
{
    OPEN_STATE;
    s->k.gather(s->out[0], s->in[0], 5, s->log_n, 0, s->n);
}

RUN(from_i64)
{
    OPEN_STATE;
    s->k.from_i64(s->out[0], (const int64_t *)s->in[0], s->n, &s->t->mod);
}

RUN(from_i32)
{
    OPEN_STATE;
    s->k.from_i32(s->out[0], (const int32_t *)(const void *)s->in[0], s->n, &s->t->mod);
}

RUN(ntt_i32)
{
    OPEN_STATE;
    s->k.ntt_i32(s->out[0], (const int32_t *)(const void *)s->in[0], s->t, s->log_n);
}

RUN(from_double)
{
    OPEN_STATE;
    s->k.from_double(s->out[0], s->real, s->n, &s->t->mod);
}

/*
 * Counts for one word, beside the transforms' butterflies. words: read and written.
 *   - mul, mul_add: a product and the reduction of one sum;
 *   - mac: `terms` products, one reduction; each word of the plaintext of mac_run serves a run;
 *   - mac_many: the same for both parts of MANY results, the operands read once;
 *   - key_mac: both halves of `terms` digits, and the base times a constant;
 *   - tensor: four products, three sums;
 *   - bconv_quot: the upper half of a product only, without reduction (half a product);
 *   - recentre: a scaling by one. from_i32 the same; a 64-bit integer and a real are two words;
 *   - convert: for one target a sum of `terms` products and a transform; the source is shared;
 *   - embed, unembed: 1/2 log2 (N/2) complex products for each of N/2 numbers;
 *   - expand: the rate of this kernel is itself the measure.
 */
enum extra { NOTHING, TRANSFORM, TARGETS, FFT };
struct row {
    const char *op;
    void (*run)(void *state);
    double products, reductions, scalings, random, words;
    unsigned terms, log_run;
    enum extra extra;
};

static const struct row rows[] = {
    {"ntt", run_ntt, 0, 0, 0, 0, 2, 0, 0, TRANSFORM},
    {"ntt_i32", run_ntt_i32, 0, 0, 0, 0, 1.5, 0, 0, TRANSFORM},
    {"intt", run_intt, 0, 0, 0, 0, 2, 0, 0, TRANSFORM},
    {"add", run_add, 0, 0, 0, 0, 3, 0, 0, NOTHING},
    {"sub", run_sub, 0, 0, 0, 0, 3, 0, 0, NOTHING},
    {"neg", run_neg, 0, 0, 0, 0, 2, 0, 0, NOTHING},
    {"add_const", run_add_const, 0, 0, 0, 0, 2, 0, 0, NOTHING},
    {"mul", run_mul, 1, 1, 0, 0, 3, 0, 0, NOTHING},
    {"mul_add", run_mul_add, 1, 1, 0, 0, 4, 0, 0, NOTHING},
    {"mul_const", run_mul_const, 0, 0, 1, 0, 2, 0, 0, NOTHING},
    {"mul_const_add", run_mul_const_add, 0, 0, 1, 0, 3, 0, 0, NOTHING},
    {"sub_mul_const", run_sub_mul_const, 0, 0, 1, 0, 3, 0, 0, NOTHING},
    {"mac", run_mac, MAC_TERMS, 1, 0, 0, 2 * MAC_TERMS + 1, MAC_TERMS, 0, NOTHING},
    {"mac_run", run_mac_run_2, MAC_TERMS, 1, 0, 0, MAC_TERMS + 1, MAC_TERMS, 1, NOTHING},
    {"mac_run", run_mac_run_4, MAC_TERMS, 1, 0, 0, MAC_TERMS + 1, MAC_TERMS, 2, NOTHING},
    {"mac_run", run_mac_run_32, MAC_TERMS, 1, 0, 0, MAC_TERMS + 1, MAC_TERMS, 5, NOTHING},
    {"mac_many", run_mac_many, 2.0 * MANY *MAC_TERMS, 2.0 * MANY, 0, 0, MAC_TERMS + 2.0 * MANY,
     MAC_TERMS, 5, NOTHING},
    {"key_mac", run_key_mac, 2 * DIGITS, 2, 1, 0, 3 * DIGITS + 3, DIGITS, 0, NOTHING},
    {"tensor", run_tensor, 4, 3, 0, 0, 7, 0, 0, NOTHING},
    {"bconv", run_bconv, CONVERT_TERMS, 1, 0, 0, CONVERT_TERMS + 1, CONVERT_TERMS, 0, NOTHING},
    {"bconv_quot", run_bconv_quot, CONVERT_TERMS / 2.0, 0, 0, 0, CONVERT_TERMS + 1, CONVERT_TERMS,
     0, NOTHING},
    {"recentre", run_recentre, 0, 0, 1, 0, 2, 0, 0, NOTHING},
    {"convert", run_convert, CONVERT_TERMS, 1, 0, 0, 1 + (double)CONVERT_TERMS / K_CONVERT_GROUP,
     CONVERT_TERMS, 0, TARGETS},
    {"gather", run_gather, 0, 0, 0, 0, 2, 0, 0, NOTHING},
    {"from_i64", run_from_i64, 0, 0, 2, 0, 2, 0, 0, NOTHING},
    {"from_i32", run_from_i32, 0, 0, 1, 0, 1.5, 0, 0, NOTHING},
    {"from_double", run_from_double, 0, 0, 2, 0, 2, 0, 0, NOTHING},
    {"embed", run_embed, 0, 0, 0, 0, 3, 0, 0, FFT},
    {"unembed", run_unembed, 0, 0, 0, 0, 3, 0, 0, FFT},
    {"largest", run_largest, 0, 0, 0, 0, 1, 0, 0, NOTHING},
    {"expand", run_expand, 0, 0, 0, 8, 1, 0, 0, NOTHING},
    {"keep_below", run_keep_below, 0, 0, 0, 0, 2, 0, 0, NOTHING},
    {"inverse_cdf", run_inverse_cdf, 0, 0, 0, 0, 2, 0, 0, NOTHING},
};
enum { NUM_ROWS = sizeof rows / sizeof *rows, MAC_RUNS = 3 };
_Static_assert(NUM_ROWS - (MAC_RUNS - 1) ==
                   (sizeof(struct kernels) - offsetof(struct kernels, ntt)) /
                       sizeof(void (*)(void)),
               "every kernel has a row");

static void fill(struct kernel_state *s)
{
    uint64_t q = s->t->mod.q;
    struct random g = random_start(0);
    for (size_t i = 0; i < (OUTPUTS + INPUTS) * s->n; i++) {
        s->memory[i] = random_below(&g, q);
    }
    for (size_t i = 0; i < s->n; i++) {
        s->real[i] = (double)random_next(&g) * 0x1p-4 - 0x1p59;
    }
    s->c = random_below(&g, q);
    s->cs = mod_shoup(s->c, q);
    for (size_t i = 0; i < CONVERT_TERMS; i++) {
        s->w[i] = random_below(&g, q);
    }
    for (size_t i = 0; i < THRESHOLDS; i++) {
        s->below[i] = UINT64_MAX / (THRESHOLDS + 1) * (i + 1);
    }
}

static void make(void *state)
{
    OPEN_STATE;
    uint64_t q = prime_below(UINT64_C(1) << s->bits, s->log_n);
    if (ring_create(&s->ring, s->log_n, &q, 1, NULL, 0) != RING_OK) {
        bench_die("no ring of degree 2^%u", s->log_n);
    }
    s->n = s->ring->n;
    s->t = &s->ring->ntt[0];
    s->memory = bench_alloc((OUTPUTS + INPUTS + 3) * s->n);
    for (size_t i = 0; i < OUTPUTS; i++) {
        s->out[i] = s->memory + i * s->n;
    }
    for (size_t i = 0; i < INPUTS; i++) {
        s->in[i] = s->memory + (OUTPUTS + i) * s->n;
    }
    s->real = (double *)(void *)(s->memory + (OUTPUTS + INPUTS) * s->n);
    s->zeros = s->real + s->n;
    fill(s);
    s->key = (struct k_switch){.digit = s->in,
                               .key = {s->in[DIGITS], s->in[2 * DIGITS]},
                               .terms = DIGITS,
                               .key_terms = DIGITS,
                               .base = {s->in[INPUTS - 1], NULL},
                               .c = s->c,
                               .cs = s->cs,
                               .g = ring_galois(s->ring, 7),
                               .g_inverse = ring_galois(s->ring, -7),
                               .log_n = s->log_n};
    s->convert = (struct k_convert){.x = s->in[0],
                                    .stride = s->n,
                                    .k = CONVERT_TERMS,
                                    .log_n = s->log_n,
                                    .group = K_CONVERT_GROUP};
    for (size_t i = 0; i < K_CONVERT_GROUP; i++) {
        s->convert.to[i].t = s->t;
        s->convert.to[i].w = s->w;
        s->convert.to[i].work = s->out[i];
        s->convert.to[i].out = s->out[i];
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
    j.c.bits = r->extra == TRANSFORM ? bits : 0;
    j.c.terms = r->terms;
    j.c.count = r->extra == TARGETS ? K_CONVERT_GROUP : 1;
    w->butterflies = r->extra == TRANSFORM || r->extra == TARGETS ? work_transform(log_n) : 0;
    w->products = n * r->products;
    w->reductions = n * r->reductions;
    w->scalings = n * r->scalings;
    w->reals = r->extra == FFT ? 4 * n / 4 * (log_n - 1) : 0;
    w->random = n * r->random;
    w->bytes = 8 * n * r->words;
    if (r->log_run != 0) {
        j.c.period = 1u << (log_n - r->log_run - 1);
        w->bytes += 8 * n * r->terms / (1u << r->log_run);
    }
    w->resident = w->bytes * j.c.count;
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
                if (bits == 47 && rows[i].extra != TRANSFORM) {
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
