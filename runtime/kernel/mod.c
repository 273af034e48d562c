/* SPDX-License-Identifier: Apache-2.0 */
#include "mod.h"

bool mod_init(struct modulus *m, uint64_t q)
{
    if (q < 3 || q % 2 == 0 || q >> MOD_MAX_BITS != 0) {
        return false;
    }
    m->q = q;
    m->bits = 0;
    while (q >> m->bits != 0) {
        m->bits++;
    }
    m->mu = (uint64_t)(((sys_u128)1 << (m->bits + 50u)) / q);
    m->ones = (UINT64_C(1) << MOD_WORD) / q;
    m->r52 = (UINT64_C(1) << MOD_WORD) % q;
    m->r52s = mod_shoup(m->r52, q);
    m->r104 = (uint64_t)(((sys_u128)1 << (2u * MOD_WORD)) % q);
    m->r104s = mod_shoup(m->r104, q);
    /* Newton: q q = 1 mod 8, and every step doubles the number of right bits: 3, 6, .., 96. */
    uint64_t inv = q;
    for (unsigned i = 0; i < 5; i++) {
        inv *= 2 - q * inv;
    }
    m->inv = inv & MOD_MASK;
    /* 2^-52 = (1 - q inv) / 2^52 + q: q inv = 1 + k 2^52 gives -k, and k < q. */
    m->i52 = q - (uint64_t)((sys_u128)q * m->inv >> MOD_WORD);
    m->i52s = mod_shoup(m->i52, q);
    return true;
}

uint64_t mod_pow(uint64_t a, uint64_t e, const struct modulus *m)
{
    uint64_t r = 1;
    for (; e != 0; e >>= 1) {
        if (e & 1) {
            r = mod_mul(r, a, m);
        }
        a = mod_mul(a, a, m);
    }
    return r;
}

uint64_t mod_inv(uint64_t a, const struct modulus *m)
{
    return mod_pow(a, m->q - 2, m);
}
