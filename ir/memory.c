/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

/* The same numbers as in the runtime: RT_DEFAULT_MEMORY (rt.h), other_bytes() (eval/eval.c). */
#define DEFAULT_BUDGET ((uint64_t)11 << 29)
#define PROGRAM_BYTES  ((uint64_t)14 << 20)
enum {
    TABLE_BYTES = 22,      /* of a prime, a coefficient */
    LIMB_BYTES = 16 << 20, /* limbs of plaintexts in work, at most */
    BLOCK_BYTES = 1 << 20, /* coefficients of plaintexts lie in such blocks */
    TILE_WORDS = (1 << 16) + 1024,
    CONVERT_LIMBS = 4, /* targets of a base conversion, a thread */
    THREAD_LIMBS = 4,
    RECORD_BYTES = 64,      /* of a key, beside its halves */
    CALLER_BYTES = 16 << 20 /* left to the server's caller */
};

/* Tables, work and the program itself; scratch is the larger of all digits and all but one prime. */
static uint64_t other_bytes(const struct params *q)
{
    uint64_t n = (uint64_t)1 << q->log_n, primes = (uint64_t)q->num_q + q->num_p;
    uint64_t digits = q->alpha ? (q->num_q + q->alpha - 1) / q->alpha : 0;
    uint64_t up = q->num_q + (q->alpha > 1 ? digits : 0);
    uint64_t scratch = (up > primes ? up : primes) + CONVERT_LIMBS;
    uint64_t words = (scratch + 2 * primes + THREAD_LIMBS) * n + TILE_WORDS;
    return primes * n * TABLE_BYTES + words * sizeof(uint64_t) + PROGRAM_BYTES;
}

/* What divide_memory() (eval/eval.c) keeps: halves of keys first. Keys and plaintexts are small beside the
 * budget, so that it is filled nearly. */
static void share(struct prog_memory *m, uint64_t keys, uint64_t plaintexts)
{
    uint64_t taken = m->least + CALLER_BYTES;
    double room = m->budget > taken ? (double)(m->budget - taken) : 0;
    m->kept_keys = room < (double)keys ? room / (double)keys : 1;
    room -= m->kept_keys * (double)keys;
    m->kept_plaintexts = room < (double)plaintexts ? room / (double)plaintexts : 1;
}

struct prog_memory prog_memory(const struct prog *p)
{
    struct prog_memory m = {.budget = p->max_memory ? p->max_memory : DEFAULT_BUDGET};
    if (p->stage != STAGE_CKKS || p->num_regs == 0) {
        return m;
    }
    struct prog_stats s = prog_stats(p);
    m.keys = s.key_bytes + (uint64_t)RECORD_BYTES * p->num_keys;
    m.plaintexts = (s.plaintext_bytes_least + BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES;
    m.registers = s.register_bytes;
    uint64_t limbs = s.plaintext_limb_bytes < LIMB_BYTES ? s.plaintext_limb_bytes : LIMB_BYTES;
    m.other = other_bytes(&p->params) + limbs;
    m.least = m.keys + m.plaintexts + m.registers + m.other;
    m.all = m.least - limbs + s.key_bytes + s.plaintext_bytes;
    uint64_t most = m.budget > m.least ? m.budget : m.least;
    m.usual = m.all < most ? m.all : most;
    share(&m, s.key_bytes, s.plaintext_bytes);
    return m;
}
