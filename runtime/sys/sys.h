/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SYS_SYS_H
#define SYS_SYS_H

/*
 * What the runtime needs from the machine: aligned memory, the CPU level, random bytes, threads.
 * Nothing here knows what a polynomial is.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The only place that names the compiler's 128-bit type. */
__extension__ typedef unsigned __int128 sys_u128;
__extension__ typedef __int128 sys_i128;

/* ---- mem.c */

#define SYS_ALIGN 64u

/*
 * `bytes` of zeroed memory aligned to SYS_ALIGN, or NULL when there is none (also when `bytes` is 0
 * or the rounding up would overflow). Blocks of at least 2 MiB are fresh pages of the system, where
 * possible aligned to 2 MiB and huge; a page is cleared when it is first touched, see sys_touch.
 * Free with sys_free (NULL is allowed).
 */
void *sys_alloc(size_t bytes);
void sys_free(void *p);

/* Touches the pages of a block that is still zero, with all threads: for memory that is to be there
 * before time counts. */
void sys_touch(void *p, size_t bytes);

/* sys_alloc of count * size bytes; NULL when the product overflows. */
void *sys_alloc_array(size_t count, size_t size);

/* Overwrites with zeros in a way that the compiler may not remove. p may be NULL when bytes == 0.
 */
void sys_wipe(void *p, size_t bytes);

/* ---- cpu.c */

enum rt_cpu {
    RT_CPU_PORTABLE = 0,  /* plain C */
    RT_CPU_AVX2 = 1,      /* AVX2 and FMA */
    RT_CPU_AVX512IFMA = 2 /* AVX-512 F, DQ, VL, IFMA (and level 1) */
};

/* What the machine can do. */
enum rt_cpu sys_cpu_detect(void);

/*
 * The level to use: what the machine can do, lowered by sys_cpu_limit or, when that was not called,
 * by the environment variable WEFT_CPU = portable | avx2 | avx512 (another value is ignored).
 * Never above sys_cpu_detect().
 */
enum rt_cpu sys_cpu_level(void);

/* For tests: use at most `level` from now on. Not to be called while other threads create rings. */
void sys_cpu_limit(enum rt_cpu level);

/* "portable", "avx2", "avx512". */
const char *sys_cpu_name(enum rt_cpu level);

/* ---- rng.c */

#define SYS_SEED_BYTES 32u

/*
 * False when the system's random source cannot be had. Call once before the other two; sys_expand
 * works without it, but several times slower (libsodium picks its vector code here).
 */
bool sys_random_init(void);

/* `bytes` of randomness fit for keys. */
void sys_random(void *out, size_t bytes);

/*
 * Deterministic expansion (ChaCha20, key = seed, nonce = stream, little endian): writes the `bytes`
 * bytes that start at 64-byte block number `block` of the stream. Equal arguments give equal bytes
 * on every machine, and parts can be had in any order.
 */
void sys_expand(void *out, size_t bytes, const uint8_t seed[SYS_SEED_BYTES], uint64_t stream,
                uint64_t block);

/* ---- thread.c */

/*
 * SYS_PARALLEL_FOR stands in front of a `for` whose iterations are independent and write disjoint
 * memory, so that the result is the same for every number of threads. Without OpenMP it is nothing.
 */
#ifdef _OPENMP
#define SYS_PARALLEL_FOR _Pragma("omp parallel for schedule(dynamic, 1)")
#else
#define SYS_PARALLEL_FOR
#endif

/*
 * The next item of a common counter, for loops with memory of their own: each takes items until there
 * are no more, so that one whose core has other work to do does fewer.
 */
static inline size_t sys_next(atomic_size_t *next)
{
    return atomic_fetch_add_explicit(next, 1, memory_order_relaxed);
}

/* Threads that a parallel loop will use; 1 without OpenMP. */
int sys_threads(void);
/* Ask for `count` threads (at least 1); without OpenMP it does nothing. */
void sys_set_threads(int count);

#endif
