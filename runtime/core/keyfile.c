/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core.h"

#include <string.h>

_Static_assert(sizeof(struct core_key_record) == 64, "the record's layout is the file's");

struct core_key_shape core_key_shape(const struct core_ctx *c, const struct rt_key_spec *spec)
{
    bool encapsulate = spec->kind == RT_KEY_ENCAPSULATE;
    struct core_key_shape s;
    s.basis = (struct ring_basis){(unsigned)spec->level, encapsulate ? 1 : c->ring->n_p};
    s.digits =
        encapsulate || spec->kind == RT_KEY_RAISED ? 1 : ring_digits(s.basis.level, c->alpha);
    s.poly_words = ring_words(c->ring, s.basis);
    return s;
}

uint64_t core_keys_first(const struct rt_interface *model)
{
    return 64 + (uint64_t)model->num_keys * sizeof(struct core_key_record);
}

/* At most 2^14 keys of 2^7 digits of 2^7 limbs of 2^17 words of 2^3 bytes: 2^48 fits. */
uint64_t core_keys_bytes(const struct core_ctx *c, const struct rt_interface *model)
{
    uint64_t bytes = core_keys_first(model);
    for (uint32_t i = 0; i < model->num_keys; i++) {
        struct core_key_shape s = core_key_shape(c, &model->keys[i]);
        bytes += (uint64_t)s.digits * s.poly_words * sizeof(uint64_t);
    }
    return bytes;
}

void core_key_place(uint64_t *stream, const uint64_t *x, unsigned digit, unsigned digits, size_t n)
{
    size_t block = n < K_KEY_BLOCK ? n : K_KEY_BLOCK;
    uint64_t *to = stream + digit * block;
    for (size_t at = 0; at < n; at += block, to += digits * block) {
        memcpy(to, x + at, block * sizeof *x);
    }
}

void core_key_expand(const struct ring *r, uint64_t *stream, size_t prime, const uint8_t *seed,
                     unsigned terms, unsigned digits, size_t first, size_t n)
{
    uint64_t words[RING_UNIFORM_CHUNK];
    for (size_t at = 0; at < n; at += RING_UNIFORM_CHUNK) {
        size_t count = n - at < RING_UNIFORM_CHUNK ? n - at : RING_UNIFORM_CHUNK;
        for (unsigned j = 0; j < terms; j++) {
            ring_uniform_part(r, words, prime, seed, j, first + at, count);
            core_key_place(stream + at * digits, words, j, digits, count);
        }
    }
}
