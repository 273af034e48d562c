/* SPDX-License-Identifier: Apache-2.0 */

/* What the machine at hand can do, measured; and the floors that follow. */
#include "bench.h"

#include <math.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/*
 * Machine multiplications for each modular step, by CPU level:
 *   - portable, 64 x 64 -> 128 bits: a butterfly or a scaling is Shoup's three; a product in a
 *     128-bit sum is one; reducing the sum takes a quotient and its product with q;
 *   - avx2, doubles: four for a product with a constant (y w and its error, the quotient, its
 *     product with q); a product in a sum is four of 26 by 26 bits; the sum's upper half times 2^52
 *     is four and the lower half needs a quotient and its product;
 *   - avx512, 52 bits: Shoup's three again, where products come in halves; a product in a sum is
 *     its two halves; the reduction is Shoup's three for the upper half and two for the lower.
 */
static const struct {
    double butterfly, product, reduction, scaling;
} multiplies[BENCH_LEVELS] = {
    [RT_CPU_PORTABLE] = {3, 1, 2, 3},
    [RT_CPU_AVX2] = {4, 4, 6, 4},
    [RT_CPU_AVX512IFMA] = {3, 2, 5, 3},
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* One probe: either kind. */
struct probe {
    double (*count)(size_t rounds);
    double (*read)(const uint64_t *at, size_t words, size_t rounds);
    uint64_t *memory; /* `words` for each thread */
    size_t words;
};

static double probe_once(const struct probe *p, size_t thread, size_t rounds)
{
    return p->read != NULL ? p->read(p->memory + thread * p->words, p->words, rounds)
                           : p->count(rounds);
}

/* Per nanosecond, all threads together. */
static double probe_rate(const struct probe *p, int threads, size_t rounds)
{
    double done = 0;
    double start = now();
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) reduction(+ : done)
#endif
    for (int t = 0; t < threads; t++) {
        done += probe_once(p, (size_t)t, rounds);
    }
    return done / (now() - start);
}

/* The best of several runs of at least a millisecond: a limit is what nothing disturbs. */
static double best_rate(const struct probe *p, int threads, bool quick)
{
    size_t rounds = 1;
    double start = now();
    (void)probe_rate(p, threads, rounds);
    while (now() - start < 1e6 && rounds < (size_t)1 << 40) {
        rounds *= 2;
        start = now();
        (void)probe_rate(p, threads, rounds);
    }
    double best = 0;
    for (int i = 0; i < (quick ? 7 : 25); i++) {
        best = fmax(best, probe_rate(p, threads, rounds));
    }
    return best;
}

static double expand(size_t rounds)
{
    static const uint8_t seed[SYS_SEED_BYTES] = {1};
    static _Thread_local uint8_t out[4096];
    for (size_t i = 0; i < rounds; i++) {
        sys_expand(out, sizeof out, seed, 0, i);
    }
    return (double)rounds * sizeof out;
}

static size_t cache_size(int name, size_t otherwise)
{
    long bytes = sysconf(name);
    return bytes > 0 ? (size_t)bytes : otherwise;
}

static void measure_arithmetic(struct machine *m, int index, int threads, bool quick)
{
    static double (*const multiply[BENCH_LEVELS])(size_t) = {
        probe_multiply_portable, probe_multiply_avx2, probe_multiply_avx512};
    static double (*const real[BENCH_LEVELS])(size_t) = {probe_real_portable, probe_multiply_avx2,
                                                         probe_real_avx512};
    for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
        struct probe p = {multiply[level], NULL, NULL, 0};
        m->multiplies[level][index] = best_rate(&p, threads, quick);
        p.count = real[level];
        m->reals[level][index] = best_rate(&p, threads, quick);
    }
    struct probe p = {expand, NULL, NULL, 0};
    m->random[index] = best_rate(&p, threads, quick);
}

static void measure_memory(struct machine *m, int index, int threads, uint64_t *memory,
                           const size_t *words, bool quick)
{
    static double (*const read[BENCH_LEVELS])(const uint64_t *, size_t, size_t) = {
        probe_read_portable, probe_read_avx2, probe_read_avx512};
    for (int i = 0; i < BENCH_MEMORIES; i++) {
        struct probe p = {NULL, read[sys_cpu_detect()], memory, words[i]};
        m->bytes[i][index] = best_rate(&p, threads, quick);
    }
}

void machine_measure(struct machine *m, int threads, bool quick)
{
    memset(m, 0, sizeof *m);
    m->threads = threads;
    m->size[BENCH_L1] = cache_size(_SC_LEVEL1_DCACHE_SIZE, (size_t)32 << 10);
    m->size[BENCH_L2] = cache_size(_SC_LEVEL2_CACHE_SIZE, (size_t)512 << 10);
    m->size[BENCH_L3] = cache_size(_SC_LEVEL3_CACHE_SIZE, (size_t)8 << 20);
    m->size[BENCH_DRAM] = SIZE_MAX;
    /* well inside a cache, and well outside the one below; all threads fit in the shared one */
    const size_t words[BENCH_MEMORIES] = {m->size[BENCH_L1] / 16, m->size[BENCH_L2] / 16,
                                          m->size[BENCH_L3] / 32 / (size_t)threads,
                                          m->size[BENCH_L3] / 8 * 4};
    uint64_t *memory = bench_alloc(words[BENCH_DRAM] * (size_t)threads);
    for (int index = 0; index < 2; index++) {
        measure_arithmetic(m, index, index == 0 ? 1 : threads, quick);
        measure_memory(m, index, index == 0 ? 1 : threads, memory, words, quick);
    }
    sys_free(memory);
}

void machine_print(const struct machine *m, FILE *out)
{
    static const char *const memory[BENCH_MEMORIES] = {"L1", "L2", "L3", "memory"};
    for (int index = 0; index < (m->threads > 1 ? 2 : 1); index++) {
        fprintf(out, "%d thread%s: multiplications a nanosecond", index == 0 ? 1 : m->threads,
                index == 0 ? "" : "s");
        for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
            fprintf(out, "%s %s %.1f (doubles %.1f)", level == 0 ? "" : ",",
                    sys_cpu_name((enum rt_cpu)level), m->multiplies[level][index],
                    m->reals[level][index]);
        }
        fprintf(out, "\n          gigabytes a second");
        for (int i = 0; i < BENCH_MEMORIES; i++) {
            fprintf(out, " %s %.0f,", memory[i], m->bytes[i][index]);
        }
        fprintf(out, " random %.1f\n", m->random[index]);
    }
}

double machine_floor(const struct machine *m, const struct work *w, enum rt_cpu cpu, int threads)
{
    int index = threads > 1 ? 1 : 0;
    int memory = BENCH_L1;
    while (memory < BENCH_DRAM && w->resident > (double)m->size[memory]) {
        memory++;
    }
    double modular = w->butterflies * multiplies[cpu].butterfly +
                     w->products * multiplies[cpu].product +
                     w->reductions * multiplies[cpu].reduction +
                     w->scalings * multiplies[cpu].scaling;
    double compute = modular / m->multiplies[cpu][index] + w->reals / m->reals[cpu][index] +
                     w->random / m->random[index];
    return fmax(compute, w->bytes / m->bytes[memory][index]);
}
