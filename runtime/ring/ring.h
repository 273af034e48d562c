/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RING_RING_H
#define RING_RING_H

/*
 * Polynomials of Z[X]/(X^N + 1) modulo products of NTT primes.
 *
 * Storage. A polynomial over a basis is limb-major and contiguous: limb i is the N words at i * N.
 * Limbs are q_0 .. q_level and then, for an extended polynomial, p_0 .. p_{special-1}:
 *
 *     | q_0 | q_1 | ... | q_level | p_0 | ... | p_{special-1} |        N words each, canonical
 *
 * So dropping to a lower level means ignoring words at the end of an unextended polynomial, and the
 * limbs that a mod-down removes are always the last ones.
 *
 * Forms. Coefficient form: coefficients in natural order. Evaluation form: word i of a limb is the
 * value at psi^e(i), e(i) = 2 brv(i) + 1, brv on log_n bits (the drawing is in ntt.c). Then
 *   - the evaluation point psi^(5^j) of slot j stands at ring_slot_index(r, j), the one of its
 *     conjugate, psi^(-5^j), at N - 1 - ring_slot_index(r, j);
 *   - a polynomial in X^(N/M), M = 2^log_m (slots periodic with period M/2), is constant on runs of
 *     N/M words, and its M values are the evaluation form of size M of its M coefficients;
 *   - X -> X^g with g = 5^rot rotates slots to the left: new slot j = old slot j + rot;
 *     g = 2N - 1 conjugates every slot.
 *
 * No function allocates except ring_create. Scratch is given by the caller, as many words as the
 * *_scratch_words function of the same name says, aligned like polynomials (64 bytes).
 * Outputs must not overlap inputs unless a function says that they may.
 * Operations run in parallel over limbs; results do not depend on the number of threads.
 * Arguments are trusted (the layer above checks levels once); seeds and secrets are the caller's to
 * wipe.
 */

#include "kernel/kernel.h"

#define RING_MAX_PARTS  3u                 /* of a ciphertext */
#define RING_FAR_BYTES  ((size_t)12 << 20) /* larger results are written past the caches */
#define RING_MAX_PRIMES 128u               /* of q and p together */
#define RING_SIGMA      3.2                /* standard deviation of ring_gaussian */
#define RING_GAUSS_MAX  29                 /* |x| of ring_gaussian never exceeds this: 9 sigma */

enum ring_status {
    RING_OK = 0,
    RING_BAD_DEGREE, /* log_n outside 4 .. 17 */
    RING_BAD_COUNT,  /* no q, or more than RING_MAX_PRIMES primes */
    RING_BAD_PRIME,  /* not a prime below 2^50 that is 1 mod 2N, or listed twice */
    RING_NO_MEMORY
};

/* Which limbs a polynomial has: q_0 .. q_level, p_0 .. p_{special-1}. */
struct ring_basis {
    unsigned level;
    unsigned special;
};

struct ring {
    unsigned log_n;
    size_t n;     /* N = 2^log_n */
    unsigned n_q; /* primes q_0 .. q_{n_q-1} */
    unsigned n_p; /* primes p_0 .. p_{n_p-1} */
    struct kernels k;
    struct ntt_table *ntt; /* n_q + n_p tables, q first; ntt[i].mod is the modulus */
    uint64_t *residue;     /* residue[i * (n_q+n_p) + j] = (prime i) mod (prime j) */
    uint64_t *inverse;     /* inverse[i * (n_q+n_p) + j] = (prime i)^-1 mod (prime j), i != j */
    void *memory;          /* the one block that holds all tables */
};

/* ---- ntt.c: creation */

/*
 * Builds all tables; *out is NULL unless the result is RING_OK. q has n_q >= 1 primes, p has n_p
 * (p may be NULL when n_p == 0). Kernels are chosen by sys_cpu_level().
 */
enum ring_status ring_create(struct ring **out, unsigned log_n, const uint64_t *q, unsigned n_q,
                             const uint64_t *p, unsigned n_p);
void ring_free(struct ring *r); /* NULL is allowed */
const char *ring_status_text(enum ring_status s);

static inline size_t ring_limbs(struct ring_basis b)
{
    return (size_t)b.level + 1u + b.special;
}

static inline size_t ring_words(const struct ring *r, struct ring_basis b)
{
    return ring_limbs(b) * r->n;
}

/* Index into r->ntt of limb i of a polynomial over b. */
static inline size_t ring_prime(const struct ring *r, struct ring_basis b, size_t i)
{
    return i <= b.level ? i : r->n_q + (i - b.level - 1u);
}

static inline const struct modulus *ring_mod(const struct ring *r, struct ring_basis b, size_t i)
{
    return &r->ntt[ring_prime(r, b, i)].mod;
}

/* Position in evaluation form of psi^(5^j), j any (taken mod N/2). */
size_t ring_slot_index(const struct ring *r, size_t j);

/* 5^rot mod 2N, in [1, 2N); rot may be negative. */
uint64_t ring_galois(const struct ring *r, long rot);

/* ---- prime.c */

bool prime_is_prime(uint64_t n); /* deterministic Miller-Rabin for all n < 2^64 */

/* The largest prime < bound that is 1 mod 2^(log_n+1), or 0 when there is none. bound <= 2^50. */
uint64_t prime_below(uint64_t bound, unsigned log_n);

/* The smallest prime > bound that is 1 mod 2^(log_n+1) and below 2^50, or 0. */
uint64_t prime_above(uint64_t bound, unsigned log_n);

/*
 * A primitive 2^(log_n+1)-th root of unity mod the prime q = 1 mod 2^(log_n+1): x^((q-1)/2N) for
 * the smallest x = 2, 3, ... that gives one. 0 when there is none (q is not such a prime).
 */
uint64_t prime_root(const struct modulus *m, unsigned log_n);

/* ---- ntt.c: transforms */

/* out may be in. */
void ring_ntt(const struct ring *r, uint64_t *out, const uint64_t *in, struct ring_basis b);
void ring_intt(const struct ring *r, uint64_t *out, const uint64_t *in, struct ring_basis b);

/*
 * The same for polynomials in X^(N/M), M = 2^log_m, 1 <= log_m <= log_n: limbs of M words each,
 * contiguous. Coefficient form: the M coefficients. Evaluation form: the M distinct values, of
 * which value v is the one of words v N/M .. (v+1) N/M - 1 of the full evaluation form.
 */
void ring_ntt_sub(const struct ring *r, uint64_t *out, const uint64_t *in, unsigned log_m,
                  struct ring_basis b);
void ring_intt_sub(const struct ring *r, uint64_t *out, const uint64_t *in, unsigned log_m,
                   struct ring_basis b);
/* Evaluation form of size M -> of size N: repeats every value N/M times. */
void ring_expand_sub(const struct ring *r, uint64_t *out, const uint64_t *in, unsigned log_m,
                     struct ring_basis b);

/* ---- poly.c: whole polynomials; out may be any of the inputs, except in automorphisms */

void ring_copy(const struct ring *r, uint64_t *out, const uint64_t *a, struct ring_basis b);
void ring_zero(const struct ring *r, uint64_t *out, struct ring_basis b);
void ring_add(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *y,
              struct ring_basis b);
void ring_sub(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *y,
              struct ring_basis b);
void ring_neg(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b);
/* Product in evaluation form, word by word. */
void ring_mul(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *y,
              struct ring_basis b);
/* out = acc + x y, evaluation form. */
void ring_mul_add(const struct ring *r, uint64_t *out, const uint64_t *acc, const uint64_t *x,
                  const uint64_t *y, struct ring_basis b);
/* out = x y where y is in evaluation form of size 2^log_m (limbs of 2^log_m words). */
void ring_mul_sub(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *y,
                  unsigned log_m, struct ring_basis b);
/* Limb i times c[i], c[i] canonical mod limb i's prime. Either form. */
void ring_mul_const(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *c,
                    struct ring_basis b);
/* Evaluation form: adds the constant polynomial c, given by its residue in each limb. */
void ring_add_const(const struct ring *r, uint64_t *out, const uint64_t *x, const uint64_t *c,
                    struct ring_basis b);
/* Evaluation form: times X^(N/2), which multiplies every slot by the imaginary unit. */
void ring_mul_i(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b);
/* Residues of a signed integer in each limb, c[i] = x mod prime. */
void ring_residues(const struct ring *r, uint64_t *c, int64_t x, struct ring_basis b);

/* X -> X^g, g odd in [1, 2N). out is disjoint from x. */
void ring_automorphism_eval(const struct ring *r, uint64_t *out, const uint64_t *x, uint64_t g,
                            struct ring_basis b);
void ring_automorphism_coef(const struct ring *r, uint64_t *out, const uint64_t *x, uint64_t g,
                            struct ring_basis b);

/*
 * out = init + sum_t x[t] y[t] in evaluation form, all over b, out written once. init may be NULL
 * or out. y[t] may be over a wider basis by (by.level >= b.level, by.special >= b.special), as a
 * key made for a higher level is: limbs are matched by prime.
 */
void ring_mac(const struct ring *r, uint64_t *out, const uint64_t *init, const uint64_t *const *x,
              const uint64_t *const *y, size_t terms, struct ring_basis b, struct ring_basis by);
/* The same for y[t] in evaluation form of size 2^log_m, over b. */
void ring_mac_sub(const struct ring *r, uint64_t *out, const uint64_t *init,
                  const uint64_t *const *x, const uint64_t *const *y, size_t terms, unsigned log_m,
                  struct ring_basis b);

/* Signed or real coefficients -> coefficient form (n words a limb; log_m <= log_n for subrings). */
void ring_from_i64(const struct ring *r, uint64_t *out, const int64_t *x, unsigned log_m,
                   struct ring_basis b);
void ring_from_double(const struct ring *r, uint64_t *out, const double *x, unsigned log_m,
                      struct ring_basis b);

/* ---- rns.c: changes of basis; evaluation form in, evaluation form out */

/*
 * Mod-up of the digit q_first .. q_{first+count-1}: with D their product, takes the integer
 * polynomial d = x mod D with coefficients in [-D/2, D/2] and writes d over the whole basis b.
 * Reads only limbs first .. first+count-1 of x (limb i at x + i * N), so x may have any level that
 * contains them. Limbs inside the digit are copied. first+count-1 <= b.level.
 * Exact: the quotient of the base conversion is subtracted (see rns.c), no multiple of D remains.
 * With first = 0 and count = l+1 it raises a polynomial of level l to basis b (mod-raise).
 */
void ring_mod_up(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b,
                 unsigned first, unsigned count, uint64_t *scratch);
size_t ring_mod_up_scratch_words(const struct ring *r, unsigned count);

/* Digits of at most alpha primes at a level: digit j is first = j alpha, count as returned. */
static inline unsigned ring_digits(unsigned level, unsigned alpha)
{
    return level / alpha + 1u;
}

static inline unsigned ring_digit_count(unsigned level, unsigned alpha, unsigned j)
{
    unsigned left = level + 1u - j * alpha;
    return left < alpha ? left : alpha;
}

/*
 * Mod-down and rescale in one: divides x (over b) by D = p_0 .. p_{special-1} q_{level-drop+1} ..
 * q_level and rounds each coefficient to the nearest integer; out is over {level - drop, 0}.
 * special + drop >= 1, drop <= level.
 */
void ring_mod_down(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b,
                   unsigned drop, uint64_t *scratch);
size_t ring_mod_down_scratch_words(const struct ring *r, struct ring_basis b, unsigned drop);

/* Division by the last `drop` primes at once, rounded: ring_mod_down with no special primes. */
void ring_rescale(const struct ring *r, uint64_t *out, const uint64_t *x, unsigned level,
                  unsigned drop, uint64_t *scratch);
size_t ring_rescale_scratch_words(const struct ring *r, unsigned level, unsigned drop);

/*
 * The same in the form that ciphertexts need, on several threads: `slices` loops run at the same
 * time, each with working memory of its own in scratch.
 *
 * ring_decompose: ring_mod_up of every digit of at most alpha primes of x, which has level b.level;
 * digit j at out + j * ring_words(b). Its own limbs, those of primes j * alpha and following, are not
 * written: they are those of x, and a copy would be a sixth of the traffic.
 * ring_mod_down_parts: ring_mod_down of x[i] to out[i], i < parts <= RING_MAX_PARTS. out[i] may be
 * x[i]; otherwise outputs are disjoint from inputs.
 */
void ring_decompose(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b,
                    unsigned alpha, uint64_t *scratch, unsigned slices);
size_t ring_decompose_scratch_words(const struct ring *r, unsigned level, unsigned alpha,
                                    unsigned slices);
void ring_mod_down_parts(const struct ring *r, uint64_t *const *out, const uint64_t *const *x,
                         unsigned parts, struct ring_basis b, unsigned drop, uint64_t *scratch,
                         unsigned slices);
size_t ring_mod_down_parts_scratch_words(const struct ring *r, struct ring_basis b, unsigned parts,
                                         unsigned drop, unsigned slices);

/* x over {level, 0} -> x * P over {level, special}: the special limbs are zero. */
void ring_mul_p(const struct ring *r, uint64_t *out, const uint64_t *x, struct ring_basis b);
/* c[i] = p_0 ... p_{special-1} mod q_i, i <= b.level (what ring_mul_p multiplies by). */
void ring_p_residues(const struct ring *r, uint64_t *c, struct ring_basis b);

/* ---- sample.c */

/*
 * Uniform residues, limb by limb. Words 512 c .. of the limb of prime number m (r->ntt order) are
 * drawn from blocks m * 2^40 + c * 2^20 .. of the stream, so a polynomial at a lower level, or with
 * fewer special primes, has the same words in the limbs they share, and any chunk can be drawn
 * alone. One (seed, stream) pair per polynomial.
 */
#define RING_UNIFORM_CHUNK 512u
void ring_uniform(const struct ring *r, uint64_t *out, struct ring_basis b,
                  const uint8_t seed[SYS_SEED_BYTES], uint64_t stream);
/* The limb of one prime (index in r->ntt order) of the same polynomial. */
void ring_uniform_limb(const struct ring *r, uint64_t *out, size_t prime,
                       const uint8_t seed[SYS_SEED_BYTES], uint64_t stream);
/* Words first .. first + n - 1 of that limb: multiples of RING_UNIFORM_CHUNK, or the whole limb. */
void ring_uniform_part(const struct ring *r, uint64_t *out, size_t prime,
                       const uint8_t seed[SYS_SEED_BYTES], uint64_t stream, size_t first, size_t n);

/* N coefficients, uniform in {-1, 0, 1}. Constant time. One (seed, stream) pair per call. */
void ring_ternary(const struct ring *r, int64_t *out, const uint8_t seed[SYS_SEED_BYTES],
                  uint64_t stream);
/* N coefficients in {-1, 0, 1}, exactly `weight` <= N of them not zero, uniform. Constant time. */
void ring_ternary_sparse(const struct ring *r, int64_t *out, size_t weight,
                         const uint8_t seed[SYS_SEED_BYTES], uint64_t stream);
/* N coefficients, discrete Gaussian of RING_SIGMA, |x| <= RING_GAUSS_MAX. Constant time. */
void ring_gaussian(const struct ring *r, int64_t *out, const uint8_t seed[SYS_SEED_BYTES],
                   uint64_t stream);
/* floor(2^64 Pr(|x| <= k)) as ring_gaussian uses it, k < RING_GAUSS_MAX. */
uint64_t ring_gaussian_table(unsigned k);

#endif
