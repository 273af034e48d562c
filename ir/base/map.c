/* SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <string.h>
#include <xxhash.h>

uint64_t hash_bytes(const void *data, size_t n, uint64_t seed)
{
    return XXH3_64bits_withSeed(data, n, seed);
}

void map_init(struct map *m, struct arena *a)
{
    *m = (struct map){.a = a};
}

/* The bucket that holds the key, or the empty one where it belongs. Linear probing. */
static uint32_t *find(const struct map *m, const void *key, size_t key_len, uint64_t hash)
{
    uint32_t mask = m->num_buckets - 1;
    for (uint32_t i = (uint32_t)hash & mask;; i = (i + 1) & mask) {
        uint32_t *b = &m->bucket[i];
        if (*b == 0) {
            return b;
        }
        const struct map_entry *e = &m->entry[*b - 1];
        if (e->hash == hash && e->key_len == key_len &&
            (key_len == 0 || memcmp(e->key, key, key_len) == 0)) {
            return b;
        }
    }
}

static void rehash(struct map *m)
{
    m->num_buckets = m->num_buckets ? 2 * m->num_buckets : 16;
    m->bucket = arena_array(m->a, m->num_buckets, sizeof *m->bucket);
    uint32_t mask = m->num_buckets - 1;
    for (uint32_t k = 0; k < m->len; k++) {
        uint32_t i = (uint32_t)m->entry[k].hash & mask;
        while (m->bucket[i] != 0) {
            i = (i + 1) & mask;
        }
        m->bucket[i] = k + 1;
    }
}

uint64_t *map_put(struct map *m, const void *key, size_t key_len, bool *is_new)
{
    if ((uint64_t)m->len * 4 >= (uint64_t)m->num_buckets * 3) {
        rehash(m);
    }
    uint64_t hash = hash_bytes(key, key_len, 0);
    uint32_t *b = find(m, key, key_len, hash);
    *is_new = *b == 0;
    if (*is_new) {
        ARENA_GROW(m->a, m->entry, m->len, m->cap);
        m->entry[m->len] = (struct map_entry){key, key_len, hash, 0};
        *b = ++m->len;
    }
    return &m->entry[*b - 1].value;
}

const uint64_t *map_get(const struct map *m, const void *key, size_t key_len)
{
    if (m->len == 0) {
        return NULL;
    }
    uint32_t b = *find(m, key, key_len, hash_bytes(key, key_len, 0));
    return b == 0 ? NULL : &m->entry[b - 1].value;
}
