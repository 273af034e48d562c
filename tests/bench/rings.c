/* SPDX-License-Identifier: Apache-2.0 */

/* Batches of limbs, where tables and data of many primes take turns in the caches; sampling. */
#include "bench.h"
#include "ring/ring.h"
#include "../kernels/random.h"

enum { LIMBS = 12 };

struct ring_state {
    unsigned log_n;
    struct ring *ring;
    struct ring_basis b;
    uint64_t *x, *out;
    int64_t *small;
    uint64_t stream;
};

static const uint8_t seed[SYS_SEED_BYTES] = {7};

static void run_ntt(void *state)
{
    struct ring_state *s = state;
    ring_ntt(s->ring, s->x, s->x, s->b);
}

static void run_intt(void *state)
{
    struct ring_state *s = state;
    ring_intt(s->ring, s->x, s->x, s->b);
}

static void run_add(void *state)
{
    struct ring_state *s = state;
    ring_add(s->ring, s->out, s->out, s->x, s->b);
}

static void run_automorphism(void *state)
{
    struct ring_state *s = state;
    ring_automorphism_eval(s->ring, s->out, s->x, 25, s->b);
}

static void run_uniform(void *state)
{
    struct ring_state *s = state;
    ring_uniform(s->ring, s->out, s->b, seed, s->stream++);
}

static void run_gaussian(void *state)
{
    struct ring_state *s = state;
    ring_gaussian(s->ring, s->small, seed, s->stream++);
}

static void run_ternary(void *state)
{
    struct ring_state *s = state;
    ring_ternary(s->ring, s->small, seed, s->stream++);
}

/*
 * For one limb, or one polynomial of small coefficients: words of the generator for a coefficient
 * (uniform residues keep nearly all words where the prime is just below a power of two).
 */
struct row {
    const char *op;
    void (*run)(void *state);
    bool transform, batch;
    double words, random;
};

static const struct row rows[] = {
    {"ntt_batch", run_ntt, true, true, 2, 0},
    {"intt_batch", run_intt, true, true, 2, 0},
    {"add_batch", run_add, false, true, 3, 0},
    {"automorphism_batch", run_automorphism, false, true, 2, 0},
    {"uniform", run_uniform, false, true, 1, 1},
    {"gaussian", run_gaussian, false, false, 1, 2},
    {"ternary", run_ternary, false, false, 1, 1},
};
enum { NUM_ROWS = sizeof rows / sizeof *rows };

static void make(void *state)
{
    struct ring_state *s = state;
    uint64_t q[LIMBS];
    for (size_t i = 0; i < LIMBS; i++) {
        q[i] = prime_below(i == 0 ? UINT64_C(1) << 50 : q[i - 1], s->log_n);
    }
    if (!sys_random_init() || ring_create(&s->ring, s->log_n, q, LIMBS, NULL, 0) != RING_OK) {
        bench_die("no ring of degree 2^%u", s->log_n);
    }
    s->b = (struct ring_basis){LIMBS - 1, 0};
    size_t words = ring_words(s->ring, s->b);
    s->x = bench_alloc(words);
    s->out = bench_alloc(words);
    s->small = bench_alloc(s->ring->n);
    ring_uniform(s->ring, s->x, s->b, seed, 0);
    ring_uniform(s->ring, s->out, s->b, seed, 1);
}

static void prepare(void *state, const struct bench_case *c)
{
    struct ring_state *s = state;
    k_init(&s->ring->k, c->cpu);
}

static void drop(void *state)
{
    struct ring_state *s = state;
    sys_free(s->x);
    sys_free(s->out);
    sys_free(s->small);
    ring_free(s->ring);
}

/* Time and floor of a batch are for one limb. Transforms read a table of their own for each. */
static struct bench_job job(const struct row *r, unsigned log_n, enum rt_cpu cpu, int threads)
{
    struct bench_job j = {{.op = r->op, .log_n = log_n, .cpu = cpu, .threads = threads}, r->run};
    double bytes = 8 * (double)((size_t)1 << log_n);
    struct work *w = &j.c.work;
    j.c.limbs = r->batch ? LIMBS : 0;
    j.c.count = r->batch ? LIMBS : 1;
    w->butterflies = r->transform ? work_transform(log_n) : 0;
    w->random = bytes * r->random;
    w->bytes = bytes * r->words;
    w->resident = j.c.count * bytes * (r->transform ? 3 : r->words < 3 ? r->words : 2);
    return j;
}

void bench_rings(struct bench *b)
{
    static const struct bench_suite suite = {"rings: a limb of a batch, or a small polynomial",
                                             make, prepare, NULL, drop};
    for (unsigned log_n = b->quick ? 15 : 14; log_n <= (b->quick ? 15 : 16); log_n++) {
        struct bench_job jobs[NUM_ROWS * BENCH_LEVELS * 2];
        size_t num_jobs = 0;
        for (size_t i = 0; i < NUM_ROWS; i++) {
            for (int level = (int)sys_cpu_detect(); level >= 0; level--) {
                bool best = level == (int)sys_cpu_detect();
                if (!best && !rows[i].transform) {
                    continue;
                }
                jobs[num_jobs++] = job(&rows[i], log_n, (enum rt_cpu)level, 1);
                if (rows[i].batch && b->threads > 1 && best) {
                    jobs[num_jobs++] = job(&rows[i], log_n, (enum rt_cpu)level, b->threads);
                }
            }
        }
        struct ring_state s = {.log_n = log_n};
        bench_jobs(b, &suite, &s, jobs, num_jobs);
    }
}
