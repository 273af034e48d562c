/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The definition of every kernel, in portable C. Written to be read first and to be fast second;
 * the contracts are in kernel.h.
 */
#include "kernel.h"

#include <string.h>

/* ---- transforms */

/*
 * Cooley-Tukey, natural order in, bit-reversed out (Harvey's lazy form). Stage m = 1, 2, .., M/2
 * splits each of the m polynomials mod X^(2t) - w^2 into remainders mod X^t - w and X^t + w:
 *
 *     x' = x + w y,   y' = x - w y      with w = psi^brv(m+i) for polynomial i, t = M / 2m
 *
 * Ranges: before each stage values are in [0, 4q). x is brought to [0, 2q); y < 4q < 2^52 is a
 * valid Shoup operand, so w y is in [0, 2q); x' = x + wy and y' = x - wy + 2q are in [0, 4q) again.
 */
static void ntt_ref(uint64_t *out, const uint64_t *in, const struct ntt_table *t, unsigned log_m)
{
    size_t size = (size_t)1 << log_m;
    uint64_t q = t->mod.q;
    uint64_t q2 = 2 * q;
    if (out != in) {
        memcpy(out, in, size * sizeof *out);
    }
    size_t half = size / 2;
    for (size_t m = 1; m < size; m *= 2, half /= 2) {
        for (size_t i = 0; i < m; i++) {
            uint64_t w = t->w[m + i];
            uint64_t ws = t->ws[m + i];
            uint64_t *x = out + 2 * i * half;
            uint64_t *y = x + half;
            for (size_t j = 0; j < half; j++) {
                uint64_t u = mod_once(x[j], q2);
                uint64_t v = mod_mul_shoup_lazy(y[j], w, ws, q);
                x[j] = u + v;
                y[j] = u + q2 - v;
            }
        }
    }
    for (size_t i = 0; i < size; i++) {
        out[i] = mod_once(mod_once(out[i], q2), q);
    }
}

/*
 * Gentleman-Sande, the stages of ntt_ref undone in reverse order:
 *
 *     x' = x + y,   y' = (x - y) / w = (y - x) w[2m-1-i]
 *
 * without the factors 1/2, which are collected in the final multiplication by c / M.
 * Ranges: before each stage [0, 2q); x + y < 4q is brought to [0, 2q); y - x + 2q < 4q < 2^52 is a
 * valid Shoup operand.
 */
static void intt_ref(uint64_t *out, const uint64_t *in, const struct ntt_table *t, unsigned log_m,
                     uint64_t c)
{
    size_t size = (size_t)1 << log_m;
    uint64_t q = t->mod.q;
    uint64_t q2 = 2 * q;
    if (out != in) {
        memcpy(out, in, size * sizeof *out);
    }
    size_t half = 1;
    for (size_t m = size / 2; m >= 1; m /= 2, half *= 2) {
        for (size_t i = 0; i < m; i++) {
            uint64_t w = t->w[2 * m - 1 - i];
            uint64_t ws = t->ws[2 * m - 1 - i];
            uint64_t *x = out + 2 * i * half;
            uint64_t *y = x + half;
            for (size_t j = 0; j < half; j++) {
                uint64_t u = x[j];
                uint64_t v = y[j];
                x[j] = mod_once(u + v, q2);
                y[j] = mod_mul_shoup_lazy(v + q2 - u, w, ws, q);
            }
        }
    }
    uint64_t f = mod_mul(c, t->m_inv[log_m], &t->mod);
    uint64_t fs = mod_shoup(f, q);
    for (size_t i = 0; i < size; i++) {
        out[i] = mod_mul_shoup(out[i], f, fs, q);
    }
}

/* ---- pointwise */

static void add_ref(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = mod_add(a[i], b[i], q);
    }
}

static void sub_ref(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = mod_sub(a[i], b[i], q);
    }
}

static void neg_ref(uint64_t *out, const uint64_t *a, size_t n, uint64_t q)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = mod_neg(a[i], q);
    }
}

static void add_const_ref(uint64_t *out, const uint64_t *a, uint64_t c, size_t n, uint64_t q)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = mod_add(a[i], c, q);
    }
}

static void mul_ref(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n,
                    const struct modulus *m)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = mod_mul(a[i], b[i], m);
    }
}

static void mul_add_ref(uint64_t *out, const uint64_t *acc, const uint64_t *a, const uint64_t *b,
                        size_t n, const struct modulus *m)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = mod_reduce128((sys_u128)a[i] * b[i] + acc[i], m);
    }
}

static void mul_const_ref(uint64_t *out, const uint64_t *a, uint64_t c, uint64_t cs, size_t n,
                          uint64_t q)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = mod_mul_shoup(a[i], c, cs, q);
    }
}

static void mul_const_add_ref(uint64_t *out, const uint64_t *acc, const uint64_t *a, uint64_t c,
                              uint64_t cs, size_t n, uint64_t q)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = mod_add(acc[i], mod_mul_shoup(a[i], c, cs, q), q);
    }
}

static void sub_mul_const_ref(uint64_t *out, const uint64_t *a, const uint64_t *b, uint64_t c,
                              uint64_t cs, size_t n, uint64_t q)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = mod_mul_shoup(a[i] + q - b[i], c, cs, q); /* in (0, 2q): a valid operand */
    }
}

/* ---- inner products */

/*
 * Products are below 2^100, so 2^27 of them fit in a 128-bit sum beside a reduced value; the sum is
 * reduced that often, which in practice is once.
 */
#define TERMS_BETWEEN_REDUCTIONS ((size_t)1 << 27)

static void mac_run_ref(uint64_t *out, const uint64_t *init, const uint64_t *const *a,
                        const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off,
                        unsigned log_run, size_t n, const struct modulus *m)
{
    for (size_t i = 0; i < n; i++) {
        sys_u128 sum = init != NULL ? init[i] : 0;
        for (size_t t = 0; t < terms; t++) {
            sum += (sys_u128)a[t][a_off + i] * b[t][b_off + (i >> log_run)];
            if ((t + 1) % TERMS_BETWEEN_REDUCTIONS == 0) {
                sum = mod_reduce128(sum, m);
            }
        }
        out[i] = mod_reduce128(sum, m);
    }
}

static void mac_ref(uint64_t *out, const uint64_t *init, const uint64_t *const *a,
                    const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off, size_t n,
                    const struct modulus *m)
{
    mac_run_ref(out, init, a, b, terms, a_off, b_off, 0, n, m);
}

static void mac_many_ref(const struct k_sums *s, size_t n, const struct modulus *m)
{
    struct kernels k;
    k.mac_run = mac_run_ref;
    k_mac_many_with(&k, s, n, m);
}

static void tensor_ref(uint64_t *const z[3], const uint64_t *const x[2], const uint64_t *const y[2],
                       size_t n, const struct modulus *m, bool far)
{
    (void)far;
    for (size_t i = 0; i < n; i++) {
        sys_u128 middle = (sys_u128)x[0][i] * y[1][i] + (sys_u128)x[1][i] * y[0][i]; /* < 2^101 */
        z[0][i] = mod_mul(x[0][i], y[0][i], m);
        z[1][i] = mod_reduce128(middle, m);
        z[2][i] = mod_mul(x[1][i], y[1][i], m);
    }
}

/* ---- change of base */

static void bconv_ref(uint64_t *out, const uint64_t *x, size_t stride, const uint64_t *w, size_t k,
                      size_t n, const struct modulus *m)
{
    for (size_t i = 0; i < n; i++) {
        sys_u128 sum = 0; /* at most 129 * 2^102 */
        for (size_t j = 0; j < k; j++) {
            sum += (sys_u128)x[j * stride + i] * w[j];
        }
        out[i] = mod_reduce128(sum, m);
    }
}

static void bconv_quot_ref(uint64_t *out, const uint64_t *x, size_t stride, const uint64_t *f,
                           const unsigned *shift, size_t k, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t sum = (uint64_t)1 << 48;
        for (size_t j = 0; j < k; j++) {
            sum += (uint64_t)(((sys_u128)(x[j * stride + i] << shift[j]) * f[j]) >> MOD_WORD);
        }
        out[i] = sum >> 49;
    }
}

static void recentre_ref(uint64_t *out, const uint64_t *x, uint64_t p, size_t n,
                         const struct modulus *m)
{
    uint64_t p_mod_q = mod_reduce52(p, m);
    uint64_t half = (p - 1) / 2;
    for (size_t i = 0; i < n; i++) {
        uint64_t negative = (half - x[i]) >> 63; /* 1 iff x > half */
        out[i] = mod_sub(mod_reduce52(x[i], m), p_mod_q & (0u - negative), m->q);
    }
}

static void convert_ref(const struct k_convert *s)
{
    size_t n = (size_t)1 << s->log_n;
    for (unsigned g = 0; g < s->group; g++) {
        const struct ntt_table *t = s->to[g].t;
        uint64_t *work = s->to[g].work;
        uint64_t *out = s->to[g].out;
        if (s->k == 1) {
            recentre_ref(work, s->x, s->p, n, &t->mod);
        } else {
            bconv_ref(work, s->x, s->stride, s->to[g].w, s->k, n, &t->mod);
        }
        if (s->to[g].minuend == NULL) {
            ntt_ref(out, work, t, s->log_n);
        } else {
            ntt_ref(work, work, t, s->log_n);
            sub_mul_const_ref(out, s->to[g].minuend, work, s->to[g].c, s->to[g].cs, n, t->mod.q);
        }
    }
}

/* ---- automorphism */

/*
 * Indices are read in blocks of eight. With i = 8 B + v the exponent is
 *     e(i) = 2 brv(i) + 1 = e0(B) + (2N/8) brv3(v),        e0(B) = e(8 B) < 2N/8,
 * so with h = floor(g e0 / (2N/8)) mod 8
 *     g e(i) mod 2N = (g e0 mod 2N/8) + (2N/8) ((h + g brv3(v)) mod 8):
 * the low part names the source block, the high three bits the place in it.
 */
static void gather_ref(uint64_t *out, const uint64_t *in, uint64_t g, unsigned log_n, size_t first,
                       size_t n)
{
    static const unsigned brv3[8] = {0, 4, 2, 6, 1, 5, 3, 7};
    uint64_t eighth = (UINT64_C(1) << (log_n + 1)) / 8;
    for (size_t i = 0; i < n; i += 8) {
        uint64_t e0 = 2 * (uint64_t)mod_bitrev((uint32_t)(first + i), log_n) + 1;
        uint64_t e = g * e0;
        uint64_t h = e / eighth;
        const uint64_t *block = in + mod_bitrev((uint32_t)((e % eighth - 1) / 2), log_n);
        for (size_t v = 0; v < 8; v++) {
            out[i + v] = block[brv3[(h + g * brv3[v]) % 8]];
        }
    }
}

/* A word of the result; base may be NULL. Key words carry 2^52; a sum is below 2^7 2^100. */
static uint64_t key_word(sys_u128 sum, const uint64_t *base, size_t i, const struct k_switch *s,
                         const struct modulus *m)
{
    uint64_t r = mod_montgomery128(sum, m);
    return base == NULL ? r : mod_add(r, mod_mul_shoup(base[i], s->c, s->cs, m->q), m->q);
}

/*
 * perm(j) = i is 2 brv(i) + 1 = g (2 brv(j) + 1), so j comes from the inverse of g, as in gather_ref
 * for blocks of eight.
 */
static void key_mac_ref(uint64_t *out0, uint64_t *out1, const struct k_switch *s, size_t first,
                        size_t n, const struct modulus *m)
{
    static const unsigned brv3[8] = {0, 4, 2, 6, 1, 5, 3, 7};
    uint64_t eighth = (UINT64_C(2) << s->log_n) / 8;
    size_t block = (size_t)1 << s->log_n < K_KEY_BLOCK ? (size_t)1 << s->log_n : K_KEY_BLOCK;
    for (size_t i = first; i < first + n; i += 8) {
        uint64_t e = s->g_inverse * (2 * (uint64_t)mod_bitrev((uint32_t)i, s->log_n) + 1);
        size_t to = mod_bitrev((uint32_t)((e % eighth - 1) / 2), s->log_n);
        const uint64_t *b = s->key[0] + i / block * block * s->key_terms + i % block;
        const uint64_t *a = s->key[1] + (i / block * block - s->a_first) * s->key_terms + i % block;
        for (size_t v = 0; v < 8; v++) {
            sys_u128 sum0 = 0;
            sys_u128 sum1 = 0;
            for (size_t t = 0; t < s->terms; t++) {
                uint64_t d = s->digit[t][i + v];
                sum0 += (sys_u128)d * b[t * block + v];
                sum1 += (sys_u128)d * a[t * block + v];
            }
            size_t j = to + brv3[(e / eighth + s->g_inverse * brv3[v]) % 8] - s->origin;
            uint64_t w0 = key_word(sum0, s->base[0], i + v, s, m);
            uint64_t w1 = key_word(sum1, s->base[1], i + v, s, m);
            out0[j] = s->accumulate ? mod_add(out0[j], w0, m->q) : w0;
            out1[j] = s->accumulate ? mod_add(out1[j], w1, m->q) : w1;
        }
    }
}

/* ---- integers */

static void from_i64_ref(uint64_t *out, const int64_t *x, size_t n, const struct modulus *m)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t sign = 0u - ((uint64_t)x[i] >> 63);   /* all ones iff x < 0 */
        uint64_t mag = ((uint64_t)x[i] ^ sign) - sign; /* |x| <= 2^63 */
        uint64_t r = mod_reduce64(mag, m);
        out[i] = mod_once((r ^ sign) - sign + (m->q & sign), m->q); /* r, or q - r in (0, q] */
    }
}

static void from_i32_ref(uint64_t *out, const int32_t *x, size_t n, const struct modulus *m)
{
    for (size_t i = 0; i < n; i++) {
        int64_t wide = x[i];
        from_i64_ref(out + i, &wide, 1, m);
    }
}

static void ntt_i32_ref(uint64_t *out, const int32_t *in, const struct ntt_table *t, unsigned log_m)
{
    from_i32_ref(out, in, (size_t)1 << log_m, &t->mod);
    ntt_ref(out, out, t, log_m);
}

void k_init_ref(struct kernels *k)
{
    k->ntt = ntt_ref;
    k->ntt_i32 = ntt_i32_ref;
    k->intt = intt_ref;
    k->add = add_ref;
    k->sub = sub_ref;
    k->neg = neg_ref;
    k->add_const = add_const_ref;
    k->mul = mul_ref;
    k->mul_add = mul_add_ref;
    k->mul_const = mul_const_ref;
    k->mul_const_add = mul_const_add_ref;
    k->sub_mul_const = sub_mul_const_ref;
    k->mac = mac_ref;
    k->mac_run = mac_run_ref;
    k->mac_many = mac_many_ref;
    k->key_mac = key_mac_ref;
    k->tensor = tensor_ref;
    k->bconv = bconv_ref;
    k->bconv_quot = bconv_quot_ref;
    k->recentre = recentre_ref;
    k->convert = convert_ref;
    k->gather = gather_ref;
    k->from_i64 = from_i64_ref;
    k->from_i32 = from_i32_ref;
}
