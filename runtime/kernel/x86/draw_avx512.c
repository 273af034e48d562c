/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Random words and samplers with AVX-512, eight words a vector.
 *
 * ChaCha20 (Bernstein's, 64-bit block number and nonce) runs on 16 blocks at once: vector i holds
 * word i of the state of each of them. libsodium has no AVX-512 code and takes three times as long.
 * As there, nothing depends on a secret but the operands of additions, xors and rotations.
 */
#if defined(__x86_64__)
#include "kernel/kernel.h"

#include <immintrin.h>
#include <string.h>

#define INLINE static inline __attribute__((always_inline))

#define LANES 16u /* blocks at once */

INLINE void quarter(__m512i x[16], int a, int b, int c, int d)
{
    x[a] = _mm512_add_epi32(x[a], x[b]);
    x[d] = _mm512_rol_epi32(_mm512_xor_si512(x[d], x[a]), 16);
    x[c] = _mm512_add_epi32(x[c], x[d]);
    x[b] = _mm512_rol_epi32(_mm512_xor_si512(x[b], x[c]), 12);
    x[a] = _mm512_add_epi32(x[a], x[b]);
    x[d] = _mm512_rol_epi32(_mm512_xor_si512(x[d], x[a]), 8);
    x[c] = _mm512_add_epi32(x[c], x[d]);
    x[b] = _mm512_rol_epi32(_mm512_xor_si512(x[b], x[c]), 7);
}

/* x[i] = word i of 16 blocks -> x[b] = the 16 words of block b. */
INLINE void blocks_of(__m512i x[16])
{
    __m512i t[16];
    for (int i = 0; i < 16; i += 4) { /* 4 x 4 words in each quarter of the vectors */
        __m512i a = _mm512_unpacklo_epi32(x[i], x[i + 1]);
        __m512i b = _mm512_unpackhi_epi32(x[i], x[i + 1]);
        __m512i c = _mm512_unpacklo_epi32(x[i + 2], x[i + 3]);
        __m512i d = _mm512_unpackhi_epi32(x[i + 2], x[i + 3]);
        t[i] = _mm512_unpacklo_epi64(a, c);
        t[i + 1] = _mm512_unpackhi_epi64(a, c);
        t[i + 2] = _mm512_unpacklo_epi64(b, d);
        t[i + 3] = _mm512_unpackhi_epi64(b, d);
    }
    for (int i = 0; i < 4; i++) { /* t[4g + i], quarter k: words 4g .. 4g+3 of block 4k + i */
        __m512i a = _mm512_shuffle_i32x4(t[i], t[i + 4], 0x44);
        __m512i b = _mm512_shuffle_i32x4(t[i], t[i + 4], 0xee);
        __m512i c = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0x44);
        __m512i d = _mm512_shuffle_i32x4(t[i + 8], t[i + 12], 0xee);
        x[i] = _mm512_shuffle_i32x4(a, c, 0x88);
        x[i + 4] = _mm512_shuffle_i32x4(a, c, 0xdd);
        x[i + 8] = _mm512_shuffle_i32x4(b, d, 0x88);
        x[i + 12] = _mm512_shuffle_i32x4(b, d, 0xdd);
    }
}

/* Words 12 and 13 of LANES states, from block number `block` on. */
INLINE void number(__m512i x[2], uint64_t block)
{
    __m512i even = _mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0);
    __m512i first = _mm512_add_epi64(_mm512_set1_epi64((long long)block), even);
    __m512i last = _mm512_add_epi64(first, _mm512_set1_epi64(8));
    x[0] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(first)),
                              _mm512_cvtepi64_epi32(last), 1);
    first = _mm512_srli_epi64(first, 32);
    last = _mm512_srli_epi64(last, 32);
    x[1] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi64_epi32(first)),
                              _mm512_cvtepi64_epi32(last), 1);
}

INLINE void start(__m512i x[16], const uint32_t state[16], uint64_t block)
{
    for (int i = 0; i < 16; i++) {
        x[i] = _mm512_set1_epi32((int)state[i]);
    }
    number(x + 12, block);
}

INLINE void columns(__m512i x[16])
{
    quarter(x, 0, 4, 8, 12);
    quarter(x, 1, 5, 9, 13);
    quarter(x, 2, 6, 10, 14);
    quarter(x, 3, 7, 11, 15);
}

INLINE void diagonals(__m512i x[16])
{
    quarter(x, 0, 5, 10, 15);
    quarter(x, 1, 6, 11, 12);
    quarter(x, 2, 7, 8, 13);
    quarter(x, 3, 4, 9, 14);
}

INLINE void finish(uint64_t *out, __m512i x[16], const uint32_t state[16], uint64_t block)
{
    __m512i numbers[2];
    number(numbers, block);
    for (int i = 0; i < 16; i++) {
        __m512i from = i == 12 || i == 13 ? numbers[i - 12] : _mm512_set1_epi32((int)state[i]);
        x[i] = _mm512_add_epi32(x[i], from);
    }
    blocks_of(x);
    for (int i = 0; i < 16; i++) {
        _mm512_storeu_si512((void *)(out + 8 * i), x[i]);
    }
}

/* LANES blocks from number `block` on; state: the 16 words, of which 12 and 13 are not used. */
INLINE void chacha(uint64_t *out, const uint32_t state[16], uint64_t block)
{
    __m512i x[16];
    start(x, state, block);
    for (int i = 0; i < 10; i++) {
        columns(x);
        diagonals(x);
    }
    finish(out, x, state, block);
}

/* Twice as many: the four chains of one set wait for their own results half of the time, and two
 * sets are all 32 registers. */
INLINE void chacha_two(uint64_t *out, const uint32_t state[16], uint64_t block)
{
    __m512i x[16], y[16];
    start(x, state, block);
    start(y, state, block + LANES);
    for (int i = 0; i < 10; i++) {
        columns(x);
        columns(y);
        diagonals(x);
        diagonals(y);
    }
    finish(out, x, state, block);
    finish(out + 8 * LANES, y, state, block + LANES);
}

static void expand_avx512(uint64_t *out, size_t n, const uint8_t seed[SYS_SEED_BYTES],
                          uint64_t stream, uint64_t block)
{
    uint32_t state[16] = {0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u};
    memcpy(state + 4, seed, SYS_SEED_BYTES);
    state[14] = (uint32_t)stream;
    state[15] = (uint32_t)(stream >> 32);
    for (; n >= 2 * LANES; n -= 2 * LANES, block += 2 * LANES, out += 16 * LANES) {
        chacha_two(out, state, block);
    }
    for (; n >= LANES; n -= LANES, block += LANES, out += 8 * LANES) {
        chacha(out, state, block);
    }
    if (n != 0) {
        uint64_t rest[8 * LANES];
        chacha(rest, state, block);
        memcpy(out, rest, 64 * n);
        sys_wipe(rest, sizeof rest);
    }
    sys_wipe(state, sizeof state);
}

/* Lanes that are kept move together in a register and a whole vector is stored, while there is room
 * for one: storing only the lanes that are kept takes many times longer. */
static size_t keep_below_avx512(uint64_t *out, size_t room, const uint64_t *words, size_t n,
                                uint64_t mask, uint64_t q)
{
    __m512i vmask = _mm512_set1_epi64((long long)mask);
    __m512i vq = _mm512_set1_epi64((long long)q);
    size_t have = 0;
    size_t i = 0;
    for (; i + 8 <= n && have + 8 <= room; i += 8) {
        __m512i w = _mm512_and_si512(_mm512_loadu_si512((const void *)(words + i)), vmask);
        __mmask8 keep = _mm512_cmplt_epu64_mask(w, vq);
        _mm512_storeu_si512((void *)(out + have), _mm512_maskz_compress_epi64(keep, w));
        have += (size_t)__builtin_popcount(keep);
    }
    struct kernels ref;
    k_draw_ref(&ref);
    return have + ref.keep_below(out + have, room - have, words + i, n - i, mask, q);
}

static void inverse_cdf_avx512(int64_t *out, const uint64_t *words, size_t n, const uint64_t *below,
                               size_t count)
{
    __m512i one = _mm512_set1_epi64(1);
    __m512i zero = _mm512_setzero_si512();
    for (size_t i = 0; i < n; i += 8) {
        __mmask8 lanes = (__mmask8)(n - i >= 8 ? 0xffu : (1u << (n - i)) - 1u);
        __m512i u = _mm512_maskz_loadu_epi64(lanes, (const void *)(words + i));
        __m512i size = zero;
        for (size_t k = 0; k < count; k++) {
            __m512i step = _mm512_set1_epi64((long long)below[k]);
            size = _mm512_mask_add_epi64(size, _mm512_cmpge_epu64_mask(u, step), size, one);
        }
        __mmask8 odd = _mm512_test_epi64_mask(u, one);
        size = _mm512_mask_sub_epi64(size, odd, zero, size);
        _mm512_mask_storeu_epi64((void *)(out + i), lanes, size);
    }
}

void k_draw_avx512(struct kernels *k)
{
    k->expand = expand_avx512;
    k->keep_below = keep_below_avx512;
    k->inverse_cdf = inverse_cdf_avx512;
}
#else
typedef int k_no_draw_avx512; /* an empty unit is not C */
#endif
