/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Tables and whole-polynomial transforms.
 *
 * The order of the evaluation form, for N = 8 (psi of order 16):
 *
 *     index i            0    1    2    3    4    5    6    7
 *     brv(i)             0    4    2    6    1    5    3    7
 *     exponent 2brv+1    1    9    5   13    3   11    7   15        word i is a(psi^exponent)
 *     runs for M = 4    '------'  '------'  '------'  '------'       polynomials in X^2
 *     runs for M = 2    '----------------'  '----------------'       polynomials in X^4
 *
 * A polynomial b(X^(N/M)) has at word i the value b(phi^(2 brv(i) + 1)), phi = psi^(N/M) of order
 * 2M, which depends on brv(i) mod M only, that is on the high log2(M) bits of i: it is constant on
 * runs of N/M words, and run v holds b(phi^(2 brv_M(v) + 1)), the size-M transform of b in the same
 * order.
 *
 * Slot j is evaluated at psi^(5^j), its conjugate at psi^(-5^j). Since 5^j = 1 mod 4, brv of
 * (5^j - 1)/2 (an even number) lies below N/2: slots fill the first half, and as
 * (2N - 5^j - 1)/2 = N - 1 - (5^j - 1)/2, the conjugates mirror them in the second half.
 */
#include "ring.h"

#include <string.h>

/* Words of w, ws and tail of one prime. */
static size_t table_words(unsigned log_n)
{
    size_t n = (size_t)1 << log_n;
    return 2 * n + (n >= 64 ? n / 64 * K_TAIL_WORDS : 0);
}

/* Fills t with memory of table_words(log_n) words. t->mod is set and t->psi is a primitive root. */
static void table_fill(struct ntt_table *t, unsigned log_n, uint64_t *memory)
{
    size_t n = (size_t)1 << log_n;
    uint64_t q = t->mod.q;
    uint64_t *w = memory;
    uint64_t *ws = memory + n;
    uint64_t *tail = memory + 2 * n;
    uint64_t psis = mod_shoup(t->psi, q);
    uint64_t power = 1;
    for (size_t k = 0; k < n; k++) {
        size_t i = mod_bitrev((uint32_t)k, log_n);
        w[i] = power;
        ws[i] = mod_shoup(power, q);
        power = mod_mul_shoup(power, t->psi, psis, q);
    }
    for (size_t b = 0; b < n / 64; b++) {
        for (size_t v = 0; v < 8; v++) {
            size_t k = n / 8 + 8 * b + v;
            for (size_t p = 0; p < 3; p++) {
                tail[b * K_TAIL_WORDS + p * 16 + v] = w[k << p];
                tail[b * K_TAIL_WORDS + p * 16 + 8 + v] = ws[k << p];
            }
        }
    }
    t->log_n = log_n;
    t->w = w;
    t->ws = ws;
    t->tail = n >= 64 ? tail : NULL;
    uint64_t half = (q + 1) / 2;
    t->m_inv[0] = 1;
    for (unsigned i = 1; i <= K_MAX_LOG_N; i++) {
        t->m_inv[i] = mod_mul(t->m_inv[i - 1], half, &t->mod);
    }
}

static enum ring_status check_primes(struct ring *r, const uint64_t *q, const uint64_t *p)
{
    size_t count = (size_t)r->n_q + r->n_p;
    for (size_t i = 0; i < count; i++) {
        uint64_t c = i < r->n_q ? q[i] : p[i - r->n_q];
        struct ntt_table *t = &r->ntt[i];
        if (!mod_init(&t->mod, c) || c % (2 * r->n) != 1 || !prime_is_prime(c)) {
            return RING_BAD_PRIME;
        }
        for (size_t j = 0; j < i; j++) {
            if (r->ntt[j].mod.q == c) {
                return RING_BAD_PRIME;
            }
        }
        t->psi = prime_root(&t->mod, r->log_n);
        if (t->psi == 0) {
            return RING_BAD_PRIME;
        }
    }
    return RING_OK;
}

enum ring_status ring_create(struct ring **out, unsigned log_n, const uint64_t *q, unsigned n_q,
                             const uint64_t *p, unsigned n_p)
{
    *out = NULL;
    if (log_n < K_MIN_LOG_N || log_n > K_MAX_LOG_N) {
        return RING_BAD_DEGREE;
    }
    if (n_q == 0 || n_q > RING_MAX_PRIMES || n_p > RING_MAX_PRIMES - n_q || q == NULL ||
        (p == NULL && n_p != 0)) {
        return RING_BAD_COUNT;
    }
    size_t count = (size_t)n_q + n_p;
    struct ring *r = sys_alloc(sizeof *r);
    if (r == NULL) {
        return RING_NO_MEMORY;
    }
    r->log_n = log_n;
    r->n = (size_t)1 << log_n;
    r->n_q = n_q;
    r->n_p = n_p;
    r->ntt = sys_alloc_array(count, sizeof *r->ntt);
    if (r->ntt == NULL) {
        ring_free(r);
        return RING_NO_MEMORY;
    }
    enum ring_status status = check_primes(r, q, p);
    if (status != RING_OK) {
        ring_free(r);
        return status;
    }
    size_t words = table_words(log_n);
    uint64_t *memory = sys_alloc_array(count * words + 2 * count * count, sizeof *memory);
    r->memory = memory;
    if (memory == NULL) {
        ring_free(r);
        return RING_NO_MEMORY;
    }
    k_init(&r->k, sys_cpu_level());
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < count; i++) {
        table_fill(&r->ntt[i], log_n, memory + i * words);
    }
    r->residue = memory + count * words;
    r->inverse = r->residue + count * count;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < count; j++) {
            const struct modulus *m = &r->ntt[j].mod;
            uint64_t c = mod_reduce52(r->ntt[i].mod.q, m);
            r->residue[i * count + j] = c;
            r->inverse[i * count + j] = i == j ? 0 : mod_inv(c, m);
        }
    }
    *out = r;
    return RING_OK;
}

void ring_free(struct ring *r)
{
    if (r != NULL) {
        sys_free(r->memory);
        sys_free(r->ntt);
        sys_free(r);
    }
}

const char *ring_status_text(enum ring_status s)
{
    switch (s) {
    case RING_OK:
        return "ok";
    case RING_BAD_DEGREE:
        return "ring degree is not a power of two between 2^4 and 2^17";
    case RING_BAD_COUNT:
        return "wrong number of primes";
    case RING_BAD_PRIME:
        return "modulus is not a distinct prime below 2^50 that is 1 mod 2N";
    case RING_NO_MEMORY:
        return "out of memory";
    }
    return "unknown status";
}

size_t ring_slot_index(const struct ring *r, size_t j)
{
    uint64_t e = ring_galois(r, (long)(j % (r->n / 2)));
    return mod_bitrev((uint32_t)((e - 1) / 2), r->log_n);
}

uint64_t ring_galois(const struct ring *r, long rot)
{
    long order = (long)(r->n / 2); /* of 5 in the units mod 2N */
    rot %= order;
    if (rot < 0) {
        rot += order;
    }
    uint64_t mask = 2 * (uint64_t)r->n - 1;
    uint64_t g = 1;
    uint64_t square = 5;
    for (unsigned long e = (unsigned long)rot; e != 0; e >>= 1) {
        if (e & 1) {
            g = g * square & mask;
        }
        square = square * square & mask;
    }
    return g;
}

void ring_ntt_sub(const struct ring *r, uint64_t *out, const uint64_t *in, unsigned log_m,
                  struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        r->k.ntt(out + (i << log_m), in + (i << log_m), &r->ntt[ring_prime(r, b, i)], log_m);
    }
}

void ring_intt_sub(const struct ring *r, uint64_t *out, const uint64_t *in, unsigned log_m,
                   struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        r->k.intt(out + (i << log_m), in + (i << log_m), &r->ntt[ring_prime(r, b, i)], log_m, 1);
    }
}

void ring_ntt(const struct ring *r, uint64_t *out, const uint64_t *in, struct ring_basis b)
{
    ring_ntt_sub(r, out, in, r->log_n, b);
}

void ring_intt(const struct ring *r, uint64_t *out, const uint64_t *in, struct ring_basis b)
{
    ring_intt_sub(r, out, in, r->log_n, b);
}

void ring_expand_sub(const struct ring *r, uint64_t *out, const uint64_t *in, unsigned log_m,
                     struct ring_basis b)
{
    size_t limbs = ring_limbs(b);
    unsigned log_run = r->log_n - log_m;
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < limbs; i++) {
        for (size_t c = 0; c < r->n; c++) {
            out[i * r->n + c] = in[(i << log_m) + (c >> log_run)];
        }
    }
}
