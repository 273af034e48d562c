/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core.h"

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
