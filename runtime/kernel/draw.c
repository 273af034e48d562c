/* SPDX-License-Identifier: Apache-2.0 */

/* The definition of random words and of the samplers that they go into. */
#include "kernel.h"

#include <string.h>

static void expand_ref(uint64_t *out, size_t n, const uint8_t seed[SYS_SEED_BYTES], uint64_t stream,
                       uint64_t block)
{
    sys_expand(out, 64 * n, seed, stream, block);
    for (size_t i = 0; i < 8 * n; i++) { /* from the stream's order of bytes to the machine's */
        uint8_t b[8];
        memcpy(b, &out[i], sizeof b);
        uint64_t low =
            (uint64_t)b[0] | (uint64_t)b[1] << 8 | (uint64_t)b[2] << 16 | (uint64_t)b[3] << 24;
        uint64_t high =
            (uint64_t)b[4] | (uint64_t)b[5] << 8 | (uint64_t)b[6] << 16 | (uint64_t)b[7] << 24;
        out[i] = low | high << 32;
    }
}

static size_t keep_below_ref(uint64_t *out, size_t room, const uint64_t *words, size_t n,
                             uint64_t mask, uint64_t q)
{
    size_t have = 0;
    for (size_t i = 0; i < n && have < room; i++) {
        uint64_t w = words[i] & mask;
        out[have] = w;
        have += w < q;
    }
    return have;
}

static void inverse_cdf_ref(int64_t *out, const uint64_t *words, size_t n, const uint64_t *below,
                            size_t count)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t u = words[i];
        uint64_t size = 0;
        for (size_t k = 0; k < count; k++) {
            /* u >= below[k], from the top bit of the borrow of u - below[k] */
            uint64_t d = u - below[k];
            uint64_t borrow = ((~u & below[k]) | ((~u | below[k]) & d)) >> 63;
            size += 1 - borrow;
        }
        uint64_t sign = 0u - (u & 1);
        out[i] = (int64_t)((size ^ sign) - sign);
    }
}

void k_draw_ref(struct kernels *k)
{
    k->expand = expand_ref;
    k->keep_below = keep_below_ref;
    k->inverse_cdf = inverse_cdf_ref;
}
