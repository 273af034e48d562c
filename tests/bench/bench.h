/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_BENCH_BENCH_H
#define TESTS_BENCH_BENCH_H

/*
 * Times of the runtime's operations beside the least time that the machine could need for them.
 *
 * The floor of an operation is what its arithmetic and its bytes need where nothing else costs
 * anything: the modular multiplications, counted as machine multiplications of the CPU level in
 * use, at the rate at which one core was measured to do these; the bytes at the rate at which the
 * nearest memory that holds them was measured to deliver them. The larger of the two counts.
 * Additions, minima, masks, shuffles and transposes are free. So are extra passes over memory.
 */

#include "sys/sys.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

enum { BENCH_LEVELS = RT_CPU_AVX512IFMA + 1 };

/* ---- machine.c ------------------------------------------------------------------------------- */

/* What an operation cannot do without. */
struct work {
    double butterflies; /* of transforms: a product with a constant, lazily reduced */
    double products;    /* of two words, added to a sum that is not reduced */
    double reductions;  /* of such a sum to one word */
    double scalings;    /* products with a constant, reduced */
    double reals;       /* multiplications of doubles */
    double random;      /* bytes of the generator */
    double bytes;       /* read or written, each once */
    double resident;    /* bytes in use when the operation is repeated: says which memory serves */
};

enum { BENCH_L1, BENCH_L2, BENCH_L3, BENCH_DRAM, BENCH_MEMORIES };

/* Rates, a nanosecond. Second index: 0 one thread, 1 all of them together. */
struct machine {
    double multiplies[BENCH_LEVELS][2]; /* lanes of the level's own modular multiplier */
    double reals[BENCH_LEVELS][2];      /* lanes of the level's multiplier of doubles */
    double random[BENCH_LEVELS][2];     /* bytes, of the level's own generator */
    double bytes[BENCH_MEMORIES][2];    /* read from a memory */
    size_t size[BENCH_MEMORIES];        /* of a core's share of a cache; the last: no limit */
    int threads;
};

size_t machine_cache(int level); /* bytes, as one core sees it */
/* Takes about a second. */
void machine_measure(struct machine *m, int threads, bool quick);
void machine_print(const struct machine *m, FILE *out);
/* Nanoseconds; threads is 1 or m->threads. */
double machine_floor(const struct machine *m, const struct work *w, enum rt_cpu cpu, int threads);

/* One transform of a limb of 2^log_m words: M/2 log2 M butterflies. */
static inline double work_transform(unsigned log_m)
{
    return (double)((size_t)1 << log_m) / 2 * log_m;
}

/* probe_*.c: `rounds` rounds of multiplications or reads; the number of lanes or bytes done. */
extern volatile double probe_sink; /* written so that nothing is removed as unused */
double probe_multiply_portable(size_t rounds);
double probe_real_portable(size_t rounds);
double probe_read_portable(const uint64_t *at, size_t words, size_t rounds);
double probe_multiply_avx2(size_t rounds);
double probe_read_avx2(const uint64_t *at, size_t words, size_t rounds);
double probe_multiply_avx512(size_t rounds);
double probe_real_avx512(size_t rounds);
double probe_read_avx512(const uint64_t *at, size_t words, size_t rounds);

/* ---- measure.c ------------------------------------------------------------------------------- */

/* One row. Zero where a field means nothing. */
struct bench_case {
    const char *op;
    unsigned log_n;
    unsigned limbs, special; /* of the operand; special primes of the switching keys */
    unsigned bits;           /* of the primes */
    unsigned terms;          /* of a sum of products */
    unsigned period;         /* of a plaintext, in slots */
    enum rt_cpu cpu;
    int threads;
    double count;     /* operations that one run does (0: one); all times are for one operation */
    struct work work; /* of one operation */
};

struct timing {
    double median, low, high, least; /* nanoseconds: quartiles, and the fastest run */
    unsigned runs;
    unsigned dropped; /* samples that other programs interrupted */
};

struct bench_row {
    struct bench_case c;
    struct timing t;
    double floor;
};

struct bench {
    /* options */
    const char *filter; /* NULL: all */
    bool list, quick, cpu_clock;
    int threads;    /* all of them */
    double seconds; /* for the runs of a row; 0: as quick says */
    /* state */
    struct machine machine;
    bool measured; /* the machine */
    struct bench_row *rows;
    size_t num_rows, room;
    const char *title; /* of the table that is being printed */
    void *pattern;     /* regex_t */
};

/* Time of one call of run(state), after warming up. */
struct timing bench_time(const struct bench *b, void (*run)(void *state), void *state);

struct bench_job {
    struct bench_case c;
    void (*run)(void *state);
};

/*
 * A group of jobs that share a state. make (may be NULL) builds it when at least one job is wanted,
 * prepare (may be NULL) sets it up for a job, check (may be NULL) must be true after the job ran.
 */
struct bench_suite {
    const char *title;
    void (*make)(void *state);
    void (*prepare)(void *state, const struct bench_case *c);
    bool (*check)(void *state);
    void (*drop)(void *state);
};
void bench_jobs(struct bench *b, const struct bench_suite *s, void *state,
                const struct bench_job *jobs, size_t num_jobs);

/* Name of a row: "key_switch/2^15/6+3/avx512/1"; parts after the operation that say nothing are
 * left out. The filter is matched against it. */
void bench_name(const struct bench_case *c, char out[128]);

/* An array of objects. False and a message on stderr when it cannot be written. */
bool bench_write_json(const struct bench *b, const char *path);

/* Ends the program with a message: our mistake, or no memory. */
_Noreturn void bench_die(const char *format, ...);
void *bench_alloc(size_t words); /* 64-bit words, never NULL */

/* ---- the suites ------------------------------------------------------------------------------ */

void bench_kernels(struct bench *b);  /* kernels.c: runtime/kernel, every level */
void bench_rings(struct bench *b);    /* rings.c: batches of limbs, sampling */
void bench_programs(struct bench *b); /* programs.c: what programs, clients and loaders do */
void bench_boots(struct bench *b);    /* boots.c: compiled bootstraps */

/* cost.c: the figures of the cost model, to passes/cost.def (a name that ends in .def) or to a file
 * for the compiler's --cost. */
bool bench_cost(struct bench *b, const char *path);

#endif
