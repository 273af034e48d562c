/* SPDX-License-Identifier: Apache-2.0 */
#include "sys.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define HUGE_PAGE  ((size_t)2 << 20)
#define SMALL_PAGE ((size_t)4 << 10)

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#endif

/* The SYS_ALIGN bytes in front of every block: how it was got. */
struct head {
    void *base;
    size_t mapped; /* bytes at base; 0: from malloc */
};
_Static_assert(sizeof(struct head) <= SYS_ALIGN, "the head has its place");

static struct head *head_of(void *p)
{
    return (struct head *)(void *)((unsigned char *)p - SYS_ALIGN);
}

/* Large blocks come from the system: their pages are zero, and each is first touched, and cleared,
 * by the thread that uses it. (A sanitizer wants to see them, so it gets malloc's.) */
#if defined(__linux__) && defined(MADV_HUGEPAGE) && !defined(SANITIZED)
static void *map(size_t rounded)
{
    if (rounded > SIZE_MAX / 2) {
        return NULL;
    }
    size_t bytes = rounded + 2 * HUGE_PAGE; /* room for the head and to align */
    unsigned char *base =
        mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) {
        return NULL;
    }
    size_t past = ((uintptr_t)base + SYS_ALIGN) % HUGE_PAGE;
    unsigned char *p = base + SYS_ALIGN + (past == 0 ? 0 : HUGE_PAGE - past);
    /* Only advice: a refusal changes speed, not meaning. Whole huge pages only, so that the end of
     * a block does not take a huge page for a few bytes. */
    (void)madvise(p, rounded & ~(HUGE_PAGE - 1), MADV_HUGEPAGE);
    *head_of(p) = (struct head){base, bytes};
    return p;
}

static void unmap(const struct head *h)
{
    (void)munmap(h->base, h->mapped);
}
#else
static void *map(size_t rounded)
{
    (void)rounded;
    return NULL;
}

static void unmap(const struct head *h)
{
    (void)h;
}
#endif

void *sys_alloc(size_t bytes)
{
    if (bytes == 0 || bytes > SIZE_MAX - 2 * SYS_ALIGN) {
        return NULL;
    }
    size_t rounded = (bytes + SYS_ALIGN - 1) & ~(size_t)(SYS_ALIGN - 1);
    void *p = rounded >= HUGE_PAGE ? map(rounded) : NULL;
    if (p != NULL) {
        return p;
    }
    void *base = NULL;
    if (posix_memalign(&base, SYS_ALIGN, rounded + SYS_ALIGN) != 0) {
        return NULL;
    }
    memset(base, 0, rounded + SYS_ALIGN);
    p = (unsigned char *)base + SYS_ALIGN;
    head_of(p)->base = base;
    return p;
}

void *sys_alloc_array(size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        return NULL;
    }
    return sys_alloc(count * size);
}

void sys_free(void *p)
{
    if (p == NULL) {
        return;
    }
    struct head h = *head_of(p);
    if (h.mapped != 0) {
        unmap(&h);
    } else {
        free(h.base);
    }
}

void sys_touch(void *p, size_t bytes)
{
    SYS_PARALLEL_FOR
    for (size_t at = 0; at < bytes; at += HUGE_PAGE) {
        size_t left = bytes - at < HUGE_PAGE ? bytes - at : HUGE_PAGE;
        for (size_t i = 0; i < left; i += SMALL_PAGE) {
            *((volatile unsigned char *)p + at + i) = 0;
        }
    }
}

void sys_wipe(void *p, size_t bytes)
{
    if (bytes != 0) {
        sodium_memzero(p, bytes);
    }
}
