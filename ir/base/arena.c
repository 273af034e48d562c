/* SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <stdlib.h>
#include <string.h>

enum { ALIGN = 16, FIRST_BLOCK = 64 << 10, LARGEST_BLOCK = 8 << 20 };

/* `dirty` is the high-water mark: bytes beyond it are still the zeros of calloc(). */
struct block {
    struct block *before;
    size_t used, dirty, size;
    _Alignas(ALIGN) unsigned char data[];
};

struct arena {
    struct block *last;
    size_t next_size;
    struct arena *first_child, *next_sibling;
};

_Static_assert(_Alignof(max_align_t) >= ALIGN, "calloc aligns blocks");

static void *or_fatal(void *p)
{
    if (!p) {
        diag_fatal(NO_LOC, "out of memory");
    }
    return p;
}

struct arena *arena_new(void)
{
    struct arena *a = or_fatal(calloc(1, sizeof *a));
    a->next_size = FIRST_BLOCK;
    return a;
}

struct arena *arena_child(struct arena *parent)
{
    struct arena *a = arena_new();
    a->next_sibling = parent->first_child;
    parent->first_child = a;
    return a;
}

void arena_free(struct arena *a)
{
    if (!a) {
        return;
    }
    for (struct arena *c = a->first_child, *next; c; c = next) {
        next = c->next_sibling;
        arena_free(c);
    }
    for (struct block *b = a->last, *before; b; b = before) {
        before = b->before;
        free(b);
    }
    free(a);
}

static struct block *add_block(struct arena *a, size_t n)
{
    size_t size = n > a->next_size ? n : a->next_size;
    if (size > SIZE_MAX - sizeof(struct block)) {
        or_fatal(NULL);
    }
    if (a->next_size < LARGEST_BLOCK) {
        a->next_size *= 2;
    }
    struct block *b = or_fatal(calloc(1, sizeof *b + size));
    b->before = a->last;
    b->size = size;
    a->last = b;
    return b;
}

void *arena_alloc(struct arena *a, size_t n)
{
    if (n > SIZE_MAX - ALIGN) {
        or_fatal(NULL);
    }
    n = n == 0 ? ALIGN : (n + ALIGN - 1) / ALIGN * ALIGN;
    struct block *b = a->last;
    if (!b || b->size - b->used < n) {
        b = add_block(a, n);
    }
    unsigned char *p = b->data + b->used;
    if (b->used < b->dirty) {
        size_t old = b->dirty - b->used;
        memset(p, 0, old < n ? old : n);
    }
    b->used += n;
    if (b->dirty < b->used) {
        b->dirty = b->used;
    }
    return p;
}

void *arena_array(struct arena *a, size_t count, size_t size)
{
    if (size != 0 && count > SIZE_MAX / size) {
        or_fatal(NULL);
    }
    return arena_alloc(a, count * size);
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *copy = arena_alloc(a, n + 1);
    arena_copy_(copy, s, n);
    return copy;
}

char *arena_strdup(struct arena *a, const char *s)
{
    return arena_strndup(a, s, strlen(s));
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    if (n < 0) {
        BUG("bad format '%s'", fmt);
    }
    char *s = arena_alloc(a, (size_t)n + 1);
    vsnprintf(s, (size_t)n + 1, fmt, again);
    va_end(again);
    return s;
}

size_t arena_bytes(const struct arena *a)
{
    size_t sum = 0;
    for (const struct block *b = a->last; b; b = b->before) {
        sum += b->used;
    }
    for (const struct arena *c = a->first_child; c; c = c->next_sibling) {
        sum += arena_bytes(c);
    }
    return sum;
}

struct arena_mark arena_mark(struct arena *a)
{
    return (struct arena_mark){a->last, a->last ? a->last->used : 0};
}

void arena_release(struct arena *a, struct arena_mark m)
{
    while (a->last && a->last != m.block) {
        struct block *before = a->last->before;
        free(a->last);
        a->last = before;
    }
    if (a->last) {
        a->last->used = m.used;
    } else if (m.block) {
        BUG("arena_release: the mark is not of this arena");
    }
}

void arena_copy_(void *dst, const void *src, size_t n)
{
    if (n != 0) {
        memcpy(dst, src, n);
    }
}
