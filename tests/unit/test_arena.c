/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

Test(arena, memory_is_zero_and_aligned)
{
    struct arena *a = arena_new();
    uint64_t rng = kit_seed();
    for (int i = 0; i < 2000; i++) {
        size_t n = kit_random(&rng) % 5000;
        unsigned char *p = arena_alloc(a, n);
        cr_assert_eq((uintptr_t)p % 16, 0);
        for (size_t k = 0; k < n; k++) {
            cr_assert_eq(p[k], 0, "byte %zu of %zu", k, n);
        }
        memset(p, 0xa5, n);
    }
    arena_free(a);
}

Test(arena, released_memory_is_zero_again)
{
    struct arena *a = arena_new();
    memset(arena_alloc(a, 100), 0xa5, 100);
    for (int round = 0; round < 3; round++) {
        struct arena_mark mark = arena_mark(a);
        size_t before = arena_bytes(a);
        for (size_t n = 1; n < 300000; n *= 3) {
            unsigned char *p = arena_alloc(a, n);
            for (size_t k = 0; k < n; k++) {
                cr_assert_eq(p[k], 0, "byte %zu of %zu in round %d", k, n, round);
            }
            memset(p, 0xa5, n);
        }
        cr_assert_gt(arena_bytes(a), before);
        arena_release(a, mark);
        cr_assert_eq(arena_bytes(a), before);
    }
    arena_free(a);
}

Test(arena, release_to_the_empty_arena)
{
    struct arena *a = arena_new();
    struct arena_mark mark = arena_mark(a);
    arena_alloc(a, 1 << 20);
    arena_release(a, mark);
    cr_assert_eq(arena_bytes(a), 0);
    arena_alloc(a, 1);
    arena_free(a);
}

Test(arena, marks_do_not_reach_children)
{
    struct arena *a = arena_new();
    struct arena *child = arena_child(a);
    struct arena_mark mark = arena_mark(a);
    char *kept = arena_strdup(child, "kept");
    arena_strdup(a, "lost");
    arena_release(a, mark);
    cr_assert_str_eq(kept, "kept");
    cr_assert_eq(arena_bytes(a), 16, "the child's bytes are counted with its parent's");
    arena_free(a);
}

Test(arena, a_product_that_overflows_is_refused, .exit_code = 1)
{
    diag_set_stream(NULL);
    arena_array(arena_new(), SIZE_MAX / 4, 8);
}

Test(arena, a_size_that_overflows_is_refused, .exit_code = 1)
{
    diag_set_stream(NULL);
    arena_alloc(arena_new(), SIZE_MAX - 3);
}

Test(arena, grow_keeps_the_elements)
{
    struct arena *a = arena_new();
    uint32_t *v = NULL;
    uint32_t len = 0, cap = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        ARENA_GROW(a, v, len, cap);
        v[len++] = i * i;
    }
    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert_eq(v[i], i * i);
    }
    arena_free(a);
}

Test(arena, text)
{
    struct arena *a = arena_new();
    cr_assert_str_eq(arena_printf(a, "%s %d", "x", 7), "x 7");
    cr_assert_str_eq(arena_strndup(a, "abcdef", 3), "abc");
    cr_assert_str_eq(arena_strdup(a, ""), "");
    arena_free(a);
}
