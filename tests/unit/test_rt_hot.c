/* SPDX-License-Identifier: Apache-2.0 */

/*
 * No operation allocates: malloc and its kin, and mmap, are counted while the layer of a program that
 * uses every operation runs. The layer runs twice, because the first parallel loop of a process
 * creates its threads. Under a sanitizer, which has an allocator of its own, only mmap is seen.
 */
#include "rt_kit.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif

static atomic_bool counting;
static atomic_ulong calls;

static void count(void)
{
    if (atomic_load(&counting)) {
        atomic_fetch_add(&calls, 1);
    }
}

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
    count();
    /* The kernel returns the address as a long, or -1 by way of syscall(). */
    return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

#ifndef SANITIZED
/* The C library's own names of its allocator. */
void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t items, size_t bytes);
void *__libc_realloc(void *p, size_t bytes);
void *__libc_memalign(size_t align, size_t bytes);

void *malloc(size_t bytes)
{
    count();
    return __libc_malloc(bytes);
}

void *calloc(size_t items, size_t bytes)
{
    count();
    return __libc_calloc(items, bytes);
}

void *realloc(void *p, size_t bytes)
{
    count();
    return __libc_realloc(p, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    count();
    return __libc_memalign(align, bytes);
}

int posix_memalign(void **out, size_t align, size_t bytes)
{
    count();
    *out = __libc_memalign(align, bytes);
    return *out == NULL ? ENOMEM : 0;
}
#endif

static void (*layer)(rt_eval *e);

static void run_twice(rt_eval *e)
{
    layer(e);
    atomic_store(&counting, true);
    layer(e);
    atomic_store(&counting, false);
}

#ifndef SANITIZED
static void run_with_allocation(rt_eval *e)
{
    layer(e);
    atomic_store(&counting, true);
    sys_free(sys_alloc(100));
    sys_free(sys_alloc((size_t)4 << 20));
    atomic_store(&counting, false);
}
#endif

/* Registers 0 and 1 hold the input and are not changed. */
static void make(struct kit *k, unsigned log_n)
{
    const struct kit_shape shape = {.log_n = log_n,
                                    .q_bits = {50, 50, 40, 40, 40},
                                    .p_bits = {50, 50},
                                    .alpha = 2,
                                    .insecure = 1,
                                    .n = 64,
                                    .num_in = 2,
                                    .num_out = 1,
                                    .input_level = 4,
                                    .output_level = 2,
                                    .input_scale = 0x1p40,
                                    .sparse_weight = 32};
    kit_make(k, &shape);
    kit_key(k, 0, 4);
    kit_key(k, 3, 4);
    kit_key_of(k, RT_KEY_CONJUGATE, 0, 4);
    kit_key_of(k, RT_KEY_ENCAPSULATE, 0, 0);
    kit_key_of(k, RT_KEY_RAISED, 3, 4);
    uint32_t reals = kit_reals(k, (const double[]){1, 0.5, 0.25, 0x1p40, 0x1p40}, 5);
    double v[64];
    for (int i = 0; i < 64; i++) {
        v[i] = i % 8;
    }
    uint32_t w = kit_plain(k, v, 64, 8, 3, true, 0x1p40);
    kit_plain(k, v, 64, 64, 3, true, 0x1p40);
    double q[5];
    for (int i = 0; i < 5; i++) {
        q[i] = (double)k->q[i];
    }
    double scale = 0x1p80 / q[4]; /* of the product, and of the plaintext added to it */
    uint32_t b = kit_plain(k, v, 64, 64, 3, false, scale);
    kit_do(k, KIT_DROP_TO, 2, 0, 0, 0);
    kit_do(k, KIT_ENCAPSULATE, 2, 2, 0, 0);
    kit_do(k, KIT_MOD_RAISE, 3, 2, 0, 4);
    kit_do(k, KIT_RAISED_MUL, 4, 3, 0, 3);
    kit_do(k, KIT_COMB, 2, 0, reals, 2);
    kit_do(k, KIT_COMB, 2, 2, reals + 1, 1);
    kit_do(k, KIT_ADD_SCALAR, 2, 2, reals, 0);
    kit_do(k, KIT_TIMES_I, 2, 2, 0, 0);
    kit_do(k, KIT_DECOMPOSE, 3, 2, 0, 0);
    kit_do(k, KIT_CONJ_MUL, 4, 3, 2, 0);
    kit_do(k, KIT_RELABEL, 5, 4, reals + 4, 0);
    kit_do(k, KIT_MUL, 2, 0, 1, 0);
    kit_do(k, KIT_DECOMPOSE, 3, 2, 0, 0);
    kit_do(k, KIT_KEY_MUL, 4, 3, 2, 0);
    kit_do(k, KIT_MOD_DOWN, 4, 4, 0, 1); /* level 3, in place */
    kit_do(k, KIT_PADD, 4, 4, b, 0);
    kit_do(k, KIT_DECOMPOSE, 3, 4, 0, 0);
    kit_do(k, KIT_KEY_MUL, 5, 3, 4, 3);
    kit_do(k, KIT_LIFT, 6, 4, 0, 0);
    kit_do(k, KIT_ADD, 5, 5, 6, 0);
    kit_do(k, KIT_SUB, 6, 5, 6, 0);
    kit_do(k, KIT_LIFT, 7, 4, 0, 0);
    kit_do(k, KIT_LIFT, 8, 4, 0, 0);
    kit_do(k, KIT_PMAC, 9, 5, w, 2);
    kit_do(k, KIT_MOD_DOWN, 9, 9, 0, 0);
    kit_do(k, KIT_RAISE, 9, 9, 0, 3);
    kit_do(k, KIT_RESCALE, 9, 9, 0, 1); /* level 2 */
    kit_do(k, KIT_DROP_TO, 4, 9, 0, 2);
    kit_output(k, 4, scale * 0x1p40 * 3 / q[3]);
}

static unsigned long allocations(unsigned log_n, int threads, void (*run)(rt_eval *))
{
    struct kit k;
    make(&k, log_n);
    layer = k.layer.run;
    k.layer.run = run;
    double x[2 * 64], y[64];
    for (int i = 0; i < 2 * 64; i++) {
        x[i] = (i % 5) / 5.0;
    }
    struct rt_error err;
    atomic_store(&calls, 0);
    cr_assert(kit_run(&k, x, y, threads, &err), "%s", err.text);
    kit_drop(&k);
    return atomic_load(&calls);
}

Test(hot_path, does_not_allocate)
{
#ifdef __clang__
    cr_skip_test("LLVM's OpenMP allocates in parallel regions: counted with gcc");
#endif
    for (unsigned log_n = 10; log_n <= 14; log_n += 2) {
        for (int threads = 1; threads <= 3; threads++) {
            cr_expect_eq(allocations(log_n, threads, run_twice), 0, "2^%u, %d threads", log_n,
                         threads);
        }
    }
}

/* The count would see one. */
Test(hot_path, allocation_is_noticed)
{
#ifdef SANITIZED
    printf("not counted under a sanitizer: malloc\n");
#else
    cr_expect_eq(allocations(10, 1, run_with_allocation), 2);
#endif
}
