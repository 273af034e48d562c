/* SPDX-License-Identifier: Apache-2.0 */

/* What the machine at hand can do, measured; and the floors that follow. */
#include "bench.h"
#include "kernel/kernel.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static double now(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
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
    double start = now(CLOCK_MONOTONIC);
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) reduction(+ : done)
#endif
    for (int t = 0; t < threads; t++) {
        done += probe_once(p, (size_t)t, rounds);
    }
    return done / (now(CLOCK_MONOTONIC) - start);
}

/* Rounds that take about a millisecond of one thread, whatever else the machine does. */
static size_t enough_rounds(const struct probe *p)
{
    size_t rounds = 0;
    double start;
    double end = 0;
    do {
        rounds = rounds == 0 ? 1 : 2 * rounds;
        start = now(CLOCK_THREAD_CPUTIME_ID);
        (void)probe_once(p, 0, rounds);
        end = now(CLOCK_THREAD_CPUTIME_ID);
    } while (end - start < 1e6 && rounds < (size_t)1 << 40);
    return rounds;
}

/* The best of several runs: a limit is what nothing disturbs. */
static double best_rate(const struct probe *p, int threads, bool quick)
{
    size_t rounds = enough_rounds(p);
    const double enough = quick ? 2e7 : 6e7;
    double best = 0;
    double start = now(CLOCK_MONOTONIC);
    do {
        best = fmax(best, probe_rate(p, threads, rounds));
    } while (now(CLOCK_MONOTONIC) - start < enough);
    return best;
}

/* The generator of one level: there is no simpler measure of it than itself. */
static struct kernels generator;

static double expand(size_t rounds)
{
    static const uint8_t seed[SYS_SEED_BYTES] = {1};
    enum { BLOCKS = 64 };
    uint64_t out[8 * BLOCKS];
    for (size_t i = 0; i < rounds; i++) {
        generator.expand(out, BLOCKS, seed, 0, i * BLOCKS);
    }
    probe_sink = (double)out[0];
    return (double)rounds * sizeof out;
}

/* The data cache of a level (1 ..), from the kernel's table; sysconf is wrong on some machines. */
size_t machine_cache(int level)
{
    static const size_t usual[] = {(size_t)32 << 10, (size_t)512 << 10, (size_t)8 << 20};
    for (int i = 0; i < 8; i++) {
        char line[3][32] = {"", "", ""};
        static const char *const name[3] = {"level", "type", "size"};
        for (int k = 0; k < 3; k++) {
            char path[80];
            (void)snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/%s", i,
                           name[k]);
            FILE *f = fopen(path, "r");
            if (f == NULL || fgets(line[k], sizeof line[k], f) == NULL) {
                line[k][0] = '\0';
            }
            if (f != NULL) {
                (void)fclose(f);
            }
        }
        char *unit;
        size_t size = strtoul(line[2], &unit, 10);
        if (atoi(line[0]) == level && line[1][0] != 'I' && size > 0) {
            return size << (*unit == 'M' ? 20 : 10);
        }
    }
    return usual[level - 1];
}

/* Cores share nothing of this: all threads together are at best as many times one. */
static void measure_arithmetic(struct machine *m, bool quick)
{
    static double (*const multiply[BENCH_LEVELS])(size_t) = {
        probe_multiply_portable, probe_multiply_avx2, probe_multiply_avx512};
    static double (*const real[BENCH_LEVELS])(size_t) = {probe_real_portable, probe_multiply_avx2,
                                                         probe_real_avx512};
    for (int level = 0; level <= (int)sys_cpu_detect(); level++) {
        struct probe p = {multiply[level], NULL, NULL, 0};
        double threads = m->threads;
        m->multiplies[level][0] = best_rate(&p, 1, quick);
        m->multiplies[level][1] = threads * m->multiplies[level][0];
        p.count = real[level];
        m->reals[level][0] = best_rate(&p, 1, quick);
        m->reals[level][1] = threads * m->reals[level][0];
        k_init(&generator, (enum rt_cpu)level);
        p.count = expand;
        m->random[level][0] = best_rate(&p, 1, quick);
        m->random[level][1] = threads * m->random[level][0];
    }
}

static void measure_memory(struct machine *m, int index, int threads, uint64_t *memory,
                           const size_t *words, bool quick)
{
    static double (*const read[BENCH_LEVELS])(const uint64_t *, size_t, size_t) = {
        probe_read_portable, probe_read_avx2, probe_read_avx512};
    for (int i = 0; i < BENCH_MEMORIES; i++) {
        struct probe p = {NULL, read[sys_cpu_detect()], memory, words[i]};
        m->bytes[i][index] = best_rate(&p, threads, quick);
        if (index == 1) {
            double one = m->bytes[i][0];
            m->bytes[i][1] = fmax(m->bytes[i][1], i < BENCH_L3 ? threads * one : one);
        }
    }
}

void machine_measure(struct machine *m, int threads, bool quick)
{
    memset(m, 0, sizeof *m);
    m->threads = threads;
    m->size[BENCH_L1] = machine_cache(1);
    m->size[BENCH_L2] = machine_cache(2);
    m->size[BENCH_L3] = machine_cache(3);
    m->size[BENCH_DRAM] = SIZE_MAX;
    /* half of a core's own caches; of the last one, which is shared, a little more than the one
     * below holds; and of memory twice what the last one holds */
    const size_t words[BENCH_MEMORIES] = {m->size[BENCH_L1] / 16, m->size[BENCH_L2] / 16,
                                          m->size[BENCH_L2] / 2, m->size[BENCH_L3] / 4};
    size_t total = words[BENCH_DRAM] * (size_t)threads;
    uint64_t *memory = bench_alloc(total);
    memset(memory, 1, total * sizeof *memory); /* pages that were never written are all the same */
    measure_arithmetic(m, quick);
    for (int index = 0; index < 2; index++) {
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
        fprintf(out, " random %.1f\n", m->random[sys_cpu_detect()][index]);
    }
}

double machine_floor(const struct machine *m, const struct work *w, enum rt_cpu cpu, int threads)
{
    int index = threads > 1 ? 1 : 0;
    int memory = BENCH_L1;
    while (memory < BENCH_DRAM && w->resident > (double)m->size[memory]) {
        memory++;
    }
    double modular =
        w->butterflies * multiplies[cpu].butterfly + w->products * multiplies[cpu].product +
        w->reductions * multiplies[cpu].reduction + w->scalings * multiplies[cpu].scaling;
    double compute = modular / m->multiplies[cpu][index] + w->reals / m->reals[cpu][index] +
                     w->random / m->random[cpu][index];
    return fmax(compute, w->bytes / m->bytes[memory][index]);
}
