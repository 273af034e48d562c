/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Random polynomials. All of them are functions of (seed, stream): equal on every machine.
 * Small polynomials are secrets: their loops have no branch and no address that depends on a value.
 */
#include "ring.h"

#define CHUNK        RING_UNIFORM_CHUNK /* words drawn at a time */
#define CHUNK_BLOCKS (CHUNK / 8u)       /* ChaCha20 blocks of 64 bytes in them */
#define LIMB_BLOCKS  40u /* log2 of the distance between two limbs' parts of a stream */
#define PART_BLOCKS  20u /* the same of two chunks of a limb */

/* Rejection: a masked word is kept when below q > 2^(bits-1), so at least half are kept; of primes
 * close to 2^bits nearly all, and then the second draw of a chunk is rare. */
static void uniform_chunk(const struct ring *r, uint64_t *out, size_t n, size_t prime,
                          const uint8_t seed[SYS_SEED_BYTES], uint64_t stream, uint64_t block)
{
    uint64_t q = r->ntt[prime].mod.q;
    uint64_t mask = (UINT64_C(1) << r->ntt[prime].mod.bits) - 1;
    uint64_t words[CHUNK];
    for (size_t have = 0; have < n;) {
        size_t blocks = (n - have + 7) / 8;
        r->k.expand(words, blocks, seed, stream, block);
        have += r->k.keep_below(out + have, n - have, words, 8 * blocks, mask, q);
        block += blocks;
    }
}

void ring_uniform_part(const struct ring *r, uint64_t *out, size_t prime,
                       const uint8_t seed[SYS_SEED_BYTES], uint64_t stream, size_t first, size_t n)
{
    for (size_t at = first; at < first + n; at += CHUNK) {
        size_t left = first + n - at;
        uint64_t block = (uint64_t)prime << LIMB_BLOCKS | (uint64_t)(at / CHUNK) << PART_BLOCKS;
        uniform_chunk(r, out + (at - first), left < CHUNK ? left : CHUNK, prime, seed, stream,
                      block);
    }
}

void ring_uniform_limb(const struct ring *r, uint64_t *out, size_t prime,
                       const uint8_t seed[SYS_SEED_BYTES], uint64_t stream)
{
    ring_uniform_part(r, out, prime, seed, stream, 0, r->n);
}

void ring_uniform(const struct ring *r, uint64_t *out, struct ring_basis b,
                  const uint8_t seed[SYS_SEED_BYTES], uint64_t stream)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        ring_uniform_limb(r, out + i * r->n, ring_prime(r, b, i), seed, stream);
    }
}

/* floor(k w / 2^64): uniform in [0, k) for a uniform word w but for a bias below k 2^-64. */
static uint64_t scale(uint64_t w, uint64_t k)
{
    return (uint64_t)(((sys_u128)w * k) >> 64);
}

void ring_ternary(const struct ring *r, int64_t *out, const uint8_t seed[SYS_SEED_BYTES],
                  uint64_t stream)
{
    uint64_t words[CHUNK];
    for (size_t i = 0; i < r->n; i++) {
        if (i % CHUNK == 0) {
            r->k.expand(words, CHUNK_BLOCKS, seed, stream, i / CHUNK * CHUNK_BLOCKS);
        }
        out[i] = (int64_t)scale(words[i % CHUNK], 3) - 1;
    }
    sys_wipe(words, sizeof words);
}

/*
 * Selection sampling (Knuth 3.4.2 S): coefficient i is taken with probability (still needed) /
 * (still to come), which gives every set of `weight` positions the same probability. Bit 0 of the
 * word is the sign; `scale` looks at the high bits.
 */
void ring_ternary_sparse(const struct ring *r, int64_t *out, size_t weight,
                         const uint8_t seed[SYS_SEED_BYTES], uint64_t stream)
{
    uint64_t words[CHUNK];
    uint64_t need = weight;
    for (size_t i = 0; i < r->n; i++) {
        if (i % CHUNK == 0) {
            r->k.expand(words, CHUNK_BLOCKS, seed, stream, i / CHUNK * CHUNK_BLOCKS);
        }
        uint64_t w = words[i % CHUNK];
        uint64_t take = (scale(w, r->n - i) - need) >> 63; /* 1 iff scale < need */
        out[i] = (int64_t)take * (1 - 2 * (int64_t)(w & 1));
        need -= take;
    }
    sys_wipe(words, sizeof words);
}

/*
 * below[k] = floor(2^64 Pr(|x| <= k)) for the discrete Gaussian of standard deviation 3.2:
 * Pr(0) = 1/S, Pr(|x| = k) = 2 exp(-k^2 / 20.48) / S, S = 1 + 2 sum_k exp(-k^2 / 20.48).
 * Pr(|x| <= 29) rounds to 1. tests/property/sample.c computes the table again.
 */
static const uint64_t below[RING_GAUSS_MAX] = {
    0x1fea5680c943e4b0u, 0x5cb44ba804dffedbu, 0x9135c4d05c7b7376u, 0xba57841bcdf2a20bu,
    0xd790d2950c5f9b9du, 0xea65b131d3a32bb3u, 0xf5672d9301ebf596u, 0xfb3c9d1ece2fd4e0u,
    0xfe0a92ac2a14b256u, 0xff439d33f1b7ed22u, 0xffbf67e0151e6730u, 0xffebcdef92fad1b1u,
    0xfffa3f2b66e57a6bu, 0xfffe81efef5db8c7u, 0xffffa5cc5a0afde0u, 0xffffeca0755450e9u,
    0xfffffc3757334e87u, 0xffffff5402819ca5u, 0xffffffe43f1474eeu, 0xfffffffbee4603e8u,
    0xffffffff753fa8e4u, 0xffffffffef36f19cu, 0xfffffffffe27edf2u, 0xffffffffffd0e913u,
    0xfffffffffffbbc47u, 0xffffffffffffa63fu, 0xfffffffffffff94du, 0xffffffffffffff8bu,
    0xfffffffffffffff8u,
};

uint64_t ring_gaussian_table(unsigned k)
{
    return below[k];
}

void ring_gaussian(const struct ring *r, int64_t *out, const uint8_t seed[SYS_SEED_BYTES],
                   uint64_t stream)
{
    uint64_t words[CHUNK];
    for (size_t i = 0; i < r->n; i += CHUNK) {
        r->k.expand(words, CHUNK_BLOCKS, seed, stream, i / CHUNK * CHUNK_BLOCKS);
        r->k.inverse_cdf(out + i, words, r->n - i < CHUNK ? r->n - i : CHUNK, below,
                         RING_GAUSS_MAX);
    }
    sys_wipe(words, sizeof words);
}
