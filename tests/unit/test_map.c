/* SPDX-License-Identifier: Apache-2.0 */
#include "ir_kit.h"

#include <criterion/criterion.h>
#include <string.h>

Test(map, holds_what_was_put_in_order)
{
    struct arena *a = arena_new();
    struct map m;
    map_init(&m, a);
    cr_assert_null(map_get(&m, "absent", 6));
    for (uint32_t i = 0; i < 5000; i++) {
        char *key = arena_printf(a, "key %u", i);
        bool is_new;
        uint64_t *v = map_put(&m, key, strlen(key), &is_new);
        cr_assert(is_new);
        cr_assert_eq(*v, 0);
        *v = 7 * i;
    }
    cr_assert_eq(m.len, 5000);
    for (uint32_t i = 0; i < 5000; i++) {
        char *key = arena_printf(a, "key %u", i);
        bool is_new;
        cr_assert_eq(*map_put(&m, key, strlen(key), &is_new), 7 * i);
        cr_assert_not(is_new);
        cr_assert_eq(*map_get(&m, key, strlen(key)), 7 * i);
        cr_assert_eq(m.entry[i].key_len, strlen(key));
        cr_assert_eq(memcmp(m.entry[i].key, key, strlen(key)), 0, "entry %u is out of order", i);
    }
    cr_assert_null(map_get(&m, "key 5000", 8));
}

Test(map, lengths_are_part_of_keys)
{
    struct map m;
    map_init(&m, arena_new());
    bool is_new;
    *map_put(&m, "", 0, &is_new) = 1;
    *map_put(&m, "\0", 1, &is_new) = 2;
    *map_put(&m, "\0\0", 2, &is_new) = 3;
    cr_assert_eq(*map_get(&m, "", 0), 1);
    cr_assert_eq(*map_get(&m, "\0", 1), 2);
    cr_assert_eq(*map_get(&m, "\0\0", 2), 3);
}

/* The published value of XXH3-64 for no input. */
Test(map, hash_is_xxh3)
{
    cr_assert_eq(hash_bytes(NULL, 0, 0), 0x2d06800538d394c2u);
    cr_assert_neq(hash_bytes("a", 1, 0), hash_bytes("a", 1, 1));
}
