/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Changes of basis.
 *
 * Let r_0 .. r_{R-1} be the primes of a source (a digit, or the limbs that a mod-down removes),
 * D their product, x in Z/D, and y_j = x (D/r_j)^-1 mod r_j in [0, r_j). Then
 *
 *     sum_j y_j (D/r_j) = x + u D        for the integer u = sum_j y_j/r_j - x/D,
 *
 * so with v = round(sum_j y_j/r_j) the integer
 *
 *     t = sum_j y_j (D/r_j) - v D
 *
 * is the representative of x in [-D/2, D/2]. Modulo another prime it is an inner product of the
 * words y_0 .. y_{R-1}, v with the constants D/r_j and -D: kernel bconv on R + 1 limbs, v being
 * computed once by kernel bconv_quot. v is exact except for x within 2R 2^-49 D of the ends of the
 * interval, where t may be the representative on the other side, which is as good: rounding D/2 up
 * or down.
 *
 * The factor (D/r_j)^-1 goes into the inverse transform's own final constant, so y_j costs nothing
 * beyond that transform. A source of one prime has y_0 = x and needs only kernel recentre.
 *
 * Constants are products of R entries of the ring's tables: a few thousand nanoseconds at most,
 * against N words of work for each of them, so they are not stored for every (level, digit) pair.
 */
#include "ring.h"

#include <string.h>

/* Pieces in which bconv_quot is shared among threads. */
#define QUOT_PIECES 8u

/*
 * The source: primes prime[0 .. count-1] (indices into r->ntt), whose limbs in evaluation form are
 * contiguous at x. Leaves y_0 .. y_{count-1}, v in scratch, N words each; for count == 1 only y_0.
 */
static void source_start(const struct ring *r, const unsigned *prime, unsigned count,
                         const uint64_t *x, uint64_t *scratch)
{
    size_t all = (size_t)r->n_q + r->n_p;
    size_t n = r->n;
    SYS_PARALLEL_FOR
    for (unsigned j = 0; j < count; j++) {
        const struct ntt_table *t = &r->ntt[prime[j]];
        uint64_t c = 1;
        for (unsigned i = 0; i < count; i++) {
            if (i != j) {
                c = mod_mul(c, r->inverse[prime[i] * all + prime[j]], &t->mod);
            }
        }
        r->k.intt(scratch + j * n, x + j * n, t, r->log_n, c);
    }
    if (count == 1) {
        return;
    }
    uint64_t f[RING_MAX_PRIMES];
    unsigned shift[RING_MAX_PRIMES];
    for (unsigned j = 0; j < count; j++) {
        const struct modulus *m = &r->ntt[prime[j]].mod;
        shift[j] = MOD_MAX_BITS - m->bits;
        f[j] = (uint64_t)(((sys_u128)1 << 101) / (m->q << shift[j]));
    }
    size_t piece = n / QUOT_PIECES < 64 ? n : n / QUOT_PIECES;
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < n; i += piece) {
        r->k.bconv_quot(scratch + count * n + i, scratch + i, n, f, shift, count, piece);
    }
}

/* D mod the prime with index `to`. */
static uint64_t source_product(const struct ring *r, const unsigned *prime, unsigned count,
                               size_t to)
{
    size_t all = (size_t)r->n_q + r->n_p;
    uint64_t d = 1;
    for (unsigned j = 0; j < count; j++) {
        d = mod_mul(d, r->residue[prime[j] * all + to], &r->ntt[to].mod);
    }
    return d;
}

/*
 * Target limbs are converted in groups: a tile of the source (R + 1 pieces of 8 KiB) is read once
 * into the nearest cache and used for every limb of the group. Larger groups than this push their
 * own limbs out of the second-level cache before the transform comes.
 */
#define GROUP 4u
#define TILE  1024u

/* Limbs [0, limbs) in groups of this size give every thread something to do. */
static size_t group_size(size_t limbs)
{
    size_t share = limbs / (size_t)sys_threads();
    return share < 1 ? 1 : share < GROUP ? share : GROUP;
}

/*
 * For g < group: t mod the prime to[g] (not one of the source), in evaluation form, at out[g].
 * group <= GROUP.
 */
static void source_to(const struct ring *r, const unsigned *prime, unsigned count, const size_t *to,
                      uint64_t *const *out, size_t group, const uint64_t *scratch)
{
    size_t all = (size_t)r->n_q + r->n_p;
    if (count == 1) {
        for (size_t g = 0; g < group; g++) {
            const struct modulus *m = &r->ntt[to[g]].mod;
            r->k.recentre(out[g], scratch, r->ntt[prime[0]].mod.q, r->n, m);
            r->k.ntt(out[g], out[g], &r->ntt[to[g]], r->log_n);
        }
        return;
    }
    uint64_t w[GROUP][RING_MAX_PRIMES + 1];
    for (size_t g = 0; g < group; g++) {
        const struct modulus *m = &r->ntt[to[g]].mod;
        uint64_t d = source_product(r, prime, count, to[g]);
        for (unsigned j = 0; j < count; j++) {
            w[g][j] = mod_mul(d, r->inverse[prime[j] * all + to[g]], m);
        }
        w[g][count] = mod_neg(d, m->q);
    }
    size_t tile = r->n < TILE ? r->n : TILE;
    for (size_t i = 0; i < r->n; i += tile) {
        for (size_t g = 0; g < group; g++) {
            r->k.bconv(out[g] + i, scratch + i, r->n, w[g], (size_t)count + 1, tile,
                       &r->ntt[to[g]].mod);
        }
    }
    for (size_t g = 0; g < group; g++) {
        r->k.ntt(out[g], out[g], &r->ntt[to[g]], r->log_n);
    }
}

void ring_mod_up(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b,
                 unsigned first, unsigned count, uint64_t *scratch)
{
    unsigned prime[RING_MAX_PRIMES];
    for (unsigned j = 0; j < count; j++) {
        prime[j] = first + j;
    }
    source_start(r, prime, count, x + first * r->n, scratch);
    size_t limbs = ring_limbs(b);
    size_t step = group_size(limbs);
    SYS_PARALLEL_FOR
    for (size_t start = 0; start < limbs; start += step) {
        size_t to[GROUP];
        uint64_t *limb[GROUP];
        size_t group = 0;
        for (size_t i = start; i < start + step && i < limbs; i++) {
            if (i >= first && i < (size_t)first + count) {
                memcpy(out + i * r->n, x + i * r->n, r->n * sizeof *out);
            } else {
                to[group] = ring_prime(r, b, i);
                limb[group++] = out + i * r->n;
            }
        }
        source_to(r, prime, count, to, limb, group, scratch);
    }
}

size_t ring_mod_up_scratch_words(const struct ring *r, unsigned count)
{
    return ((size_t)count + 1) * r->n;
}

/* t = x mod D centred, so x - t is divisible by D and (x - t) / D is x / D rounded. */
void ring_mod_down(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b,
                   unsigned drop, uint64_t *scratch)
{
    unsigned prime[RING_MAX_PRIMES];
    unsigned count = drop + b.special;
    size_t left = (size_t)b.level + 1 - drop;
    for (unsigned j = 0; j < count; j++) {
        prime[j] = (unsigned)ring_prime(r, b, left + j);
    }
    source_start(r, prime, count, x + left * r->n, scratch);
    size_t step = group_size(left);
    SYS_PARALLEL_FOR
    for (size_t start = 0; start < left; start += step) {
        size_t to[GROUP];
        uint64_t *limb[GROUP];
        size_t group = 0;
        for (size_t i = start; i < start + step && i < left; i++) {
            to[group] = i;
            limb[group++] = out + i * r->n;
        }
        source_to(r, prime, count, to, limb, group, scratch);
        for (size_t g = 0; g < group; g++) {
            const struct modulus *m = &r->ntt[to[g]].mod;
            uint64_t c = mod_inv(source_product(r, prime, count, to[g]), m);
            r->k.sub_mul_const(limb[g], x + to[g] * r->n, limb[g], c, mod_shoup(c, m->q), r->n,
                               m->q);
        }
    }
}

size_t ring_mod_down_scratch_words(const struct ring *r, struct ring_basis b, unsigned drop)
{
    return ((size_t)drop + b.special + 1) * r->n;
}

void ring_rescale(const struct ring *r, uint64_t *out, const uint64_t *x, unsigned level,
                  unsigned drop, uint64_t *scratch)
{
    ring_mod_down(r, out, x, (struct ring_basis){level, 0}, drop, scratch);
}

size_t ring_rescale_scratch_words(const struct ring *r, unsigned level, unsigned drop)
{
    return ring_mod_down_scratch_words(r, (struct ring_basis){level, 0}, drop);
}

void ring_p_residues(const struct ring *r, uint64_t *c, struct ring_basis b)
{
    unsigned prime[RING_MAX_PRIMES];
    for (unsigned j = 0; j < b.special; j++) {
        prime[j] = r->n_q + j;
    }
    for (unsigned i = 0; i <= b.level; i++) {
        c[i] = source_product(r, prime, b.special, i);
    }
}

void ring_mul_p(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b)
{
    uint64_t c[RING_MAX_PRIMES];
    ring_p_residues(r, c, b);
    ring_mul_const(r, out, x, c, (struct ring_basis){b.level, 0});
    memset(out + ((size_t)b.level + 1) * r->n, 0, b.special * r->n * sizeof *out);
}
