/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_X86_PLACE_H
#define KERNEL_X86_PLACE_H

/* Where a word goes under an automorphism, eight words at a time. */
#include "kernel/kernel.h"

/*
 * Source word i goes to j with 2 brv(j) + 1 = h (2 brv(i) + 1) mod 2N, h = g^-1. Tiles of 2^9 words
 * go to tiles, blocks of eight to blocks. With i = tile + 8 b + v, b < 64, v < 8,
 *
 *     2 brv(i) + 1 = e0 + 2^(L-8) brv6(b) + 2^(L-2) brv3(v),      e0 = 2 brv(tile) + 1 < 2^(L-8)
 *     e = h (e0 + 2^(L-8) brv6(b)):   bits 1 .. L-9 name the target tile (the same for all b),
 *         bits L-8 .. L-3 the block in it, bits L-2 .. L, added to h brv3(v), the lane.
 *
 * Lane d of the target block is lane v of the source with e_high + h brv3(v) = brv3(d) mod 8, that
 * is brv3(v) = g (brv3(d) - e_high).
 */
#define PLACE_LOG_TILE 9u
#define PLACE_TILE     ((size_t)1 << PLACE_LOG_TILE)

static const uint8_t place_brv3[8] = {0, 4, 2, 6, 1, 5, 3, 7};
#define PLACE_8(x) x, (x) + 32, (x) + 16, (x) + 48, (x) + 8, (x) + 40, (x) + 24, (x) + 56
static const uint8_t place_brv6[64] = {PLACE_8(0), PLACE_8(4), PLACE_8(2), PLACE_8(6),
                                       PLACE_8(1), PLACE_8(5), PLACE_8(3), PLACE_8(7)};

struct place {
    uint64_t lane[8][8]; /* for each e_high */
    uint64_t e, step;    /* of the tile; for each unit of brv6(b) */
    uint64_t h;
    size_t tile; /* target */
    unsigned log_n;
};

static inline void place_tile(struct place *p, size_t tile)
{
    p->e = p->h * (2 * (uint64_t)mod_bitrev((uint32_t)tile, p->log_n) + 1);
    uint64_t low = p->e & ((UINT64_C(1) << (p->log_n - 8)) - 1);
    p->tile = mod_bitrev((uint32_t)(low >> 1), p->log_n);
}

static inline void place_start(struct place *p, const struct k_switch *s, size_t first)
{
    for (unsigned high = 0; high < 8; high++) {
        for (unsigned d = 0; d < 8; d++) {
            p->lane[high][d] = place_brv3[s->g * (place_brv3[d] + 8u - high) % 8];
        }
    }
    p->h = s->g_inverse;
    p->log_n = s->log_n;
    p->step = p->h << (s->log_n - 8);
    place_tile(p, first / PLACE_TILE * PLACE_TILE);
}

/* For the eight source words from i on, in the tile of place_tile: the target block, and (*lane)[d]
 * is the source lane of its word d. */
static inline size_t place_of(const struct place *p, size_t i, const uint64_t (**lane)[8])
{
    uint64_t e = p->e + p->step * place_brv6[i % PLACE_TILE / 8];
    *lane = &p->lane[(e >> (p->log_n - 2)) & 7];
    return p->tile + 8 * (size_t)place_brv6[(e >> (p->log_n - 8)) & 63];
}

#endif
