/* SPDX-License-Identifier: Apache-2.0 */
#include "sys.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#define HUGE_PAGE ((size_t)2 << 20)

void *sys_alloc(size_t bytes)
{
    if (bytes == 0) {
        return NULL;
    }
    size_t align = bytes >= HUGE_PAGE ? HUGE_PAGE : SYS_ALIGN;
    if (bytes > SIZE_MAX - (align - 1)) {
        return NULL;
    }
    size_t rounded = (bytes + SYS_ALIGN - 1) & ~(size_t)(SYS_ALIGN - 1);
    void *p = NULL;
    if (posix_memalign(&p, align, rounded) != 0) {
        return NULL;
    }
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (align == HUGE_PAGE) {
        /* Only advice: a refusal changes speed, not meaning. Whole huge pages only, so that the
         * advice does not spill over other blocks. */
        (void)madvise(p, rounded & ~(HUGE_PAGE - 1), MADV_HUGEPAGE);
    }
#endif
    memset(p, 0, rounded);
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
    free(p);
}

void sys_wipe(void *p, size_t bytes)
{
    if (bytes != 0) {
        sodium_memzero(p, bytes);
    }
}
