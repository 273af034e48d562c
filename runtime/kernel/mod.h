/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_MOD_H
#define KERNEL_MOD_H

/*
 * Modular arithmetic on 64-bit words for odd moduli q < 2^50.
 *
 * Words are at most 52 bits wide wherever they are multiplied, because the fastest multiplier of
 * the machines that matter (AVX-512 IFMA) multiplies 52 by 52 bits. All variants of a kernel, plain
 * C included, use the same 52-bit constants, so there is one set of tables.
 *
 * "Shoup pair" of a constant c in [0, q): (c, cs) with cs = floor(c * 2^52 / q) < 2^52.
 */

#include "sys/sys.h"

#define MOD_MAX_BITS 50u
#define MOD_WORD     52u
#define MOD_MASK     ((UINT64_C(1) << MOD_WORD) - 1u)

struct modulus {
    uint64_t q;           /* odd, 3 <= q < 2^50 */
    unsigned bits;        /* 2^(bits-1) < q < 2^bits */
    uint64_t mu;          /* floor(2^(bits+50) / q), in (2^50, 2^51]: Barrett's constant */
    uint64_t ones;        /* floor(2^52 / q): Shoup word of 1, for reducing a 52-bit word */
    uint64_t r52, r52s;   /* 2^52 mod q and its Shoup word */
    uint64_t r104, r104s; /* 2^104 mod q and its Shoup word */
    uint64_t inv;         /* q^-1 mod 2^52: Montgomery's constant */
    uint64_t i52, i52s;   /* 2^-52 mod q and its Shoup word */
};

/* floor(c * 2^52 / q) for c < q. */
static inline uint64_t mod_shoup(uint64_t c, uint64_t q)
{
    return (uint64_t)(((sys_u128)c << MOD_WORD) / q);
}

/* Fills m for q; false when q is even, below 3 or not below 2^50. */
bool mod_init(struct modulus *m, uint64_t q);

/* a < 2q -> [0, q) */
static inline uint64_t mod_once(uint64_t a, uint64_t q)
{
    uint64_t d = a - q; /* wraps iff a < q: then bit 63 is set, for a, q < 2^63 */
    return d + (q & (0u - (d >> 63)));
}

/* a, b in [0, q) -> [0, q) */
static inline uint64_t mod_add(uint64_t a, uint64_t b, uint64_t q)
{
    return mod_once(a + b, q);
}

static inline uint64_t mod_sub(uint64_t a, uint64_t b, uint64_t q)
{
    return mod_once(a + q - b, q);
}

/* a in [0, q) -> [0, q); -0 = 0 */
static inline uint64_t mod_neg(uint64_t a, uint64_t q)
{
    return mod_once(q - a, q);
}

/*
 * a * c mod q in [0, 2q), for a < 2^52 and the Shoup pair (c, cs).
 * With h = floor(a cs / 2^52): a c / q - a/2^52 - 1 < h <= a c / q, so 0 <= a c - h q < 2q.
 */
static inline uint64_t mod_mul_shoup_lazy(uint64_t a, uint64_t c, uint64_t cs, uint64_t q)
{
    uint64_t h = (uint64_t)(((sys_u128)a * cs) >> MOD_WORD);
    return a * c - h * q; /* both products wrap; the difference is small, so it is exact */
}

/* The same, in [0, q). */
static inline uint64_t mod_mul_shoup(uint64_t a, uint64_t c, uint64_t cs, uint64_t q)
{
    return mod_once(mod_mul_shoup_lazy(a, c, cs, q), q);
}

/* a < 2^52 -> a mod q in [0, q). */
static inline uint64_t mod_reduce52(uint64_t a, const struct modulus *m)
{
    return mod_mul_shoup(a, 1u, m->ones, m->q);
}

/* Any 64-bit word -> [0, q): a = a1 2^52 + a0. */
static inline uint64_t mod_reduce64(uint64_t a, const struct modulus *m)
{
    uint64_t hi = mod_mul_shoup(a >> MOD_WORD, m->r52, m->r52s, m->q);
    return mod_add(hi, mod_reduce52(a & MOD_MASK, m), m->q);
}

/* Any 128-bit word -> [0, q): a = a2 2^104 + a1 2^52 + a0, a2 < 2^24. */
static inline uint64_t mod_reduce128(sys_u128 a, const struct modulus *m)
{
    uint64_t a0 = (uint64_t)a & MOD_MASK;
    uint64_t a1 = (uint64_t)(a >> MOD_WORD) & MOD_MASK;
    uint64_t a2 = (uint64_t)(a >> (2u * MOD_WORD));
    uint64_t s = mod_add(mod_mul_shoup(a1, m->r52, m->r52s, m->q), mod_reduce52(a0, m), m->q);
    return mod_add(s, mod_mul_shoup(a2, m->r104, m->r104s, m->q), m->q);
}

/*
 * a < 2^114 -> a 2^-52 mod q in [0, q): with f = a q^-1 mod 2^52, a - f q is divisible by 2^52, and
 * the quotient is the difference of the high parts, because the low parts agree.
 */
static inline uint64_t mod_montgomery128(sys_u128 a, const struct modulus *m)
{
    uint64_t f = ((uint64_t)a * m->inv) & MOD_MASK;
    uint64_t high = (uint64_t)(a >> MOD_WORD);                    /* below 2^62 */
    uint64_t less = (uint64_t)(((sys_u128)f * m->q) >> MOD_WORD); /* below q */
    return mod_reduce64(high + m->q - less, m);
}

/* Any a, b -> a b mod q in [0, q). */
static inline uint64_t mod_mul(uint64_t a, uint64_t b, const struct modulus *m)
{
    return mod_reduce128((sys_u128)a * b, m);
}

/* a in [0, q), e any -> a^e mod q; time depends on e only. */
uint64_t mod_pow(uint64_t a, uint64_t e, const struct modulus *m);

/* q prime, a in [1, q) -> a^-1 mod q (Fermat). */
uint64_t mod_inv(uint64_t a, const struct modulus *m);

/* The low `bits` bits of x in reversed order; bits <= 32. */
static inline uint32_t mod_bitrev(uint32_t x, unsigned bits)
{
    x = ((x >> 1) & 0x55555555u) | ((x & 0x55555555u) << 1);
    x = ((x >> 2) & 0x33333333u) | ((x & 0x33333333u) << 2);
    x = ((x >> 4) & 0x0f0f0f0fu) | ((x & 0x0f0f0f0fu) << 4);
    x = ((x >> 8) & 0x00ff00ffu) | ((x & 0x00ff00ffu) << 8);
    x = (x >> 16) | (x << 16);
    return bits == 0 ? 0 : x >> (32u - bits);
}

#endif
