/* SPDX-License-Identifier: Apache-2.0 */
#ifndef KERNEL_KERNEL_H
#define KERNEL_KERNEL_H

/*
 * The hot loops, each with its whole contract. ref.c is their definition; every variant returns the
 * same words (all results are canonical residues, and no kernel computes in floating point where
 * rounding could show, except as written), so a program's output does not depend on the CPU.
 *
 * Common to all:
 *   - a residue is canonical when it lies in [0, q); outputs are canonical unless said otherwise;
 *   - pointers need 8-byte alignment; 64-byte alignment is faster;
 *   - an output may be the same array as an input of the same length and type, or disjoint from it;
 *     partial overlap is not allowed;
 *   - n is any length >= 1 in pointwise kernels;
 *   - no kernel allocates, locks, or has state.
 */

#include "mod.h"

#define K_MIN_LOG_N  4u
#define K_MAX_LOG_N  17u
#define K_TAIL_WORDS 48u /* words of ntt_table.tail for 64 coefficients */

/*
 * Twiddle table of one prime. psi is a primitive 2N-th root of unity, brv reverses log_n bits:
 *
 *     w[k] = psi^brv(k),  ws[k] = its Shoup word,  k = 0 .. N-1
 *
 * Three facts keep it small, which matters because a program uses many primes and their tables come
 * from memory, not from cache:
 *   - for every power of two M <= N the first M entries are the table of size M for the root
 *     psi^(N/M), so transforms in the subring of polynomials in X^(N/M) need nothing more;
 *   - w[2m-1-i] = -1 / w[m+i] for 0 <= i < m, m a power of two, so the inverse transform reads the
 *     same table backwards;
 *   - w[2k+e] = w[2k] w[e] and w[4k+e] = w[4k] w[e] (bits of k and e are disjoint, so the exponents
 *     add), so three twiddles and the constants w[1], w[2], w[3] serve the seven of three stages.
 * `tail` holds the twiddles of the three last stages once more, in the order in which a vector of
 * eight lanes wants them (only for N >= 64, else NULL): block b = 0 .. N/64-1 has three pairs
 * (8 words of w, 8 words of ws); lane v of them is w[N/8 + 8b+v], w[N/4 + 2(8b+v)],
 * w[N/2 + 4(8b+v)].
 */
struct ntt_table {
    struct modulus mod;
    unsigned log_n;
    uint64_t psi;
    const uint64_t *w;
    const uint64_t *ws;
    const uint64_t *tail;
    uint64_t m_inv[K_MAX_LOG_N + 1u]; /* m_inv[k] = 2^-k mod q */
};

/*
 * One limb of a key switch. Keys are kept for this one use: the limb of a half, b or a, is one
 * sequential stream of blocks of K_KEY_BLOCK = min(N, 32) words; for every stretch of so many
 * coefficients it holds, for each of key_terms digits, that stretch, all canonical and times 2^52
 * mod q (Montgomery's form, which makes the reduction of a sum two multiplications). The halves lie
 * apart: b comes from a file, a from a seed.
 */
#define K_KEY_BLOCK 32u

struct k_switch {
    const uint64_t *const *digit; /* [terms] limbs, canonical */
    const uint64_t *key[2];       /* the limb's streams, b and a: key_terms N words each */
    size_t a_first;               /* the stretch of coefficients that key[1] begins with */
    size_t terms, key_terms;      /* 1 <= terms <= key_terms, terms <= 128 */
    const uint64_t *base[2];      /* limbs added times c, canonical; NULL: nothing to add */
    uint64_t c, cs;               /* canonical, and its Shoup word */
    uint64_t g;                   /* automorphism of the result, odd, in [1, 2N) */
    uint64_t g_inverse;           /* g^-1 mod 2N */
    unsigned log_n;
    size_t origin;           /* the index that word 0 of the outputs has in the limb */
    const uint64_t *next[2]; /* stretches of a key that are wanted after these, or NULL: a hint */
    bool accumulate;         /* add to what is in the outputs, canonical */
    bool far;                /* the result will not be used while it is in cache: a hint */
};

/*
 * Sums of several results on the same two-part operands, K_SUMS results at most: what is read of an
 * operand serves them all.
 */
#define K_SUMS 6u

struct k_sums {
    const uint64_t *const *x[2]; /* [terms] by part */
    const uint64_t *const
        *p; /* [results * terms]: factor of term t for result k at k * terms + t */
    uint64_t *out[K_SUMS][2]; /* by part; disjoint from each other and from all inputs */
    size_t terms;             /* 1 .. 4095 */
    unsigned results;         /* 1 .. K_SUMS */
    unsigned log_run;         /* every value of p serves 2^log_run neighbours */
    bool accumulate;          /* add to what is in out */
    bool far;                 /* as in k_switch */
};

/*
 * From one source to several primes (see rns.c): source limbs x_0 .. x_{k-1}, `stride` words apart,
 * k <= 129, each word below 2^50.
 */
#define K_CONVERT_GROUP 4u

struct k_convert {
    const uint64_t *x;
    size_t stride, k;
    uint64_t p; /* for k = 1: the prime of x, whose words are canonical */
    unsigned log_n;
    unsigned group; /* targets, 1 .. K_CONVERT_GROUP */
    struct {
        const struct ntt_table *t; /* for N = 2^log_n */
        const uint64_t *w;         /* [k] canonical; not used for k = 1 */
        uint64_t *work, *out;      /* N words each; may be the same */
        const uint64_t *minuend;   /* N words, canonical, or NULL; may be out, not work */
        uint64_t c, cs;            /* with minuend: canonical, and its Shoup word */
    } to[K_CONVERT_GROUP];
    bool far; /* as in k_switch */
};

struct kernels {
    enum rt_cpu level;

    /* ---- number theoretic transform -------------------------------------------------------- */

    /*
     * Forward negacyclic transform of size M = 2^log_m, log_m <= t->log_n, log_m >= 1.
     * in: coefficients a_0 .. a_{M-1} in natural order, each in [0, 4q) (lazy input).
     * out[i] = a(phi^(2 brv(i) + 1)), phi = psi^(N/M), brv on log_m bits. Canonical.
     */
    void (*ntt)(uint64_t *out, const uint64_t *in, const struct ntt_table *t, unsigned log_m);

    /* The same of any integers of 32 bits, mod q, in one pass less. in is disjoint from out. */
    void (*ntt_i32)(uint64_t *out, const int32_t *in, const struct ntt_table *t, unsigned log_m);

    /*
     * Inverse of ntt times a constant: in[i] in [0, 2q) in the order of ntt's output; out holds the
     * coefficients, times c in [0, q), canonical. The factor M^-1 is included: c = 1 is the plain
     * inverse. c costs nothing, and callers that multiply by a constant anyway put it here.
     */
    void (*intt)(uint64_t *out, const uint64_t *in, const struct ntt_table *t, unsigned log_m,
                 uint64_t c);

    /* ---- pointwise; all inputs canonical --------------------------------------------------- */

    void (*add)(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q);
    void (*sub)(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n, uint64_t q);
    void (*neg)(uint64_t *out, const uint64_t *a, size_t n, uint64_t q);
    /* out = a + c, c canonical */
    void (*add_const)(uint64_t *out, const uint64_t *a, uint64_t c, size_t n, uint64_t q);
    /* out = a b */
    void (*mul)(uint64_t *out, const uint64_t *a, const uint64_t *b, size_t n,
                const struct modulus *m);
    /* out = acc + a b; out may be acc */
    void (*mul_add)(uint64_t *out, const uint64_t *acc, const uint64_t *a, const uint64_t *b,
                    size_t n, const struct modulus *m);
    /* out = a c; a may be any word below 2^52; c canonical with Shoup word cs */
    void (*mul_const)(uint64_t *out, const uint64_t *a, uint64_t c, uint64_t cs, size_t n,
                      uint64_t q);
    /* out = acc + a c; a < 2^52; out may be acc */
    void (*mul_const_add)(uint64_t *out, const uint64_t *acc, const uint64_t *a, uint64_t c,
                          uint64_t cs, size_t n, uint64_t q);
    /* out = (a - b) c: the last step of rescaling and mod-down */
    void (*sub_mul_const)(uint64_t *out, const uint64_t *a, const uint64_t *b, uint64_t c,
                          uint64_t cs, size_t n, uint64_t q);

    /* ---- inner products -------------------------------------------------------------------- */

    /*
     * out[i] = init[i] + sum_{t < terms} a[t][a_off + i] * b[t][b_off + i] mod q, 0 <= i < n.
     * init may be NULL (zero) or out. terms >= 1, any number. Inputs canonical. out must not
     * overlap any a[t], b[t].
     */
    void (*mac)(uint64_t *out, const uint64_t *init, const uint64_t *const *a,
                const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off, size_t n,
                const struct modulus *m);

    /*
     * The same where every value of b serves 2^log_run neighbours:
     * out[i] = init[i] + sum_t a[t][a_off + i] * b[t][b_off + (i >> log_run)] mod q.
     * n is a multiple of 2^log_run.
     */
    void (*mac_run)(uint64_t *out, const uint64_t *init, const uint64_t *const *a,
                    const uint64_t *const *b, size_t terms, size_t a_off, size_t b_off,
                    unsigned log_run, size_t n, const struct modulus *m);

    /*
     * The same for several results: for k < results, parts h = 0, 1 and 0 <= i < n
     *     out[k][h][i] = (accumulate ? out[k][h][i] : 0)
     *                    + sum_t x[h][t][i] * p[k * terms + t][i >> log_run] mod q.
     */
    void (*mac_many)(const struct k_sums *s, size_t n, const struct modulus *m);

    /*
     * Both parts of one limb of a key switch: for parts h = 0, 1 and first <= i < first + n
     *     s_h[i] = base_h[i] c + sum_t digit[t][i] key_{t,h}[i] 2^-52 mod q,
     *     out_h[j - origin] = (accumulate ? out_h[j - origin] : 0) + s_h[i] mod q
     * where perm(j) = i (see gather; for g = 1, j = i).
     * out_h is that stretch of a limb, from origin, where the n words are written; disjoint from all
     * inputs. first and n are multiples of K_KEY_BLOCK, or 0 and N < K_KEY_BLOCK.
     */
    void (*key_mac)(uint64_t *out0, uint64_t *out1, const struct k_switch *s, size_t first,
                    size_t n, const struct modulus *m);

    /*
     * Product of two linear polynomials: z0 = x0 y0, z1 = x0 y1 + x1 y0, z2 = x1 y1. The z are
     * disjoint from each other and from x and y; x and y may be the same. far: as in k_switch.
     */
    void (*tensor)(uint64_t *const z[3], const uint64_t *const x[2], const uint64_t *const y[2],
                   size_t n, const struct modulus *m, bool far);

    /* ---- change of base -------------------------------------------------------------------- */

    /*
     * out[i] = sum_{j < k} x[j * stride + i] * w[j] mod q: one output prime of a fast base
     * conversion. 1 <= k <= 129, x < 2^52, w canonical mod q (no Shoup words). out disjoint from x.
     */
    void (*bconv)(uint64_t *out, const uint64_t *x, size_t stride, const uint64_t *w, size_t k,
                  size_t n, const struct modulus *m);

    /*
     * Quotient of the same conversion: out[i] = round(sum_j x[j * stride + i] / p_j) for canonical
     * x_j in [0, p_j), in fixed point: with s_j = 50 - bits_j and f_j = floor(2^101 / (p_j 2^s_j)),
     *
     *     out[i] = (sum_j floor((x_j << s_j) f_j / 2^52) + 2^48) >> 49.
     *
     * The sum is the true one times 2^49 less at most 2k, so the result is exact unless the true
     * sum is within 2k * 2^-49 above a half-integer; then it may be one too small. f[j] = f_j <
     * 2^52, shift[j] = s_j. 1 <= k <= 128. out in [0, k]. out disjoint from x.
     */
    void (*bconv_quot)(uint64_t *out, const uint64_t *x, size_t stride, const uint64_t *f,
                       const unsigned *shift, size_t k, size_t n);

    /*
     * Centred reduction of one prime's residues into another: x in [0, p) stands for x when
     * x <= (p-1)/2 and for x - p otherwise; out is that integer mod q.
     */
    void (*recentre)(uint64_t *out, const uint64_t *x, uint64_t p, size_t n,
                     const struct modulus *m);

    /*
     * Base conversion, transform and last step of a mod-down at once: for each target
     *     y = bconv(x, w), or recentre(x) for k = 1,       in its prime;
     *     out = ntt(y), or (minuend - ntt(y)) c.
     * work is overwritten. x is disjoint from all others, and targets are disjoint from each other.
     */
    void (*convert)(const struct k_convert *s);

    /* ---- automorphism ---------------------------------------------------------------------- */

    /*
     * X -> X^g on the evaluation form: out[i - first] = in[perm(i)] for first <= i < first + n,
     * where 2 brv(perm(i)) + 1 = g (2 brv(i) + 1) mod 2N, N = 2^log_n. g odd, in [1, 2N). `in` is a
     * whole limb; out is disjoint from it. first and n are multiples of 8. Blocks of 2^k indices (k
     * <= log_n) go to blocks of 2^k indices, so tiles read whole cache lines.
     */
    void (*gather)(uint64_t *out, const uint64_t *in, uint64_t g, unsigned log_n, size_t first,
                   size_t n);

    /* ---- integers and reals to residues ----------------------------------------------------- */

    /* out = x mod q, any x. Time does not depend on x. */
    void (*from_i64)(uint64_t *out, const int64_t *x, size_t n, const struct modulus *m);
    void (*from_i32)(uint64_t *out, const int32_t *x, size_t n, const struct modulus *m);

    /*
     * out = rint(x) mod q for finite |x| < 2^100, rounding to the nearest integer, ties to even:
     * y = rint(x), h = trunc(y 2^-50), l = y - h 2^50 (exact), h 2^50 + l mod q.
     */
    void (*from_double)(uint64_t *out, const double *x, size_t n, const struct modulus *m);

    /* ---- reals ------------------------------------------------------------------------------- */

    /*
     * The special FFT (core/embed.c says what it is for) on p = 2^log_p complex numbers, log_p <=
     * K_MAX_LOG_N - 1, in place; re and im are disjoint. root_re[h + j] + i root_im[h + j], for h a
     * power of two below p and 0 <= j < h, is exp(2 pi i 5^j / 8h); roots that differ by a quarter
     * turn are to be the same two doubles with swapped places and signs. embed reverses the bits of
     * the indices and then, for h = 1, 2, .. p/2, does in every block of 2h entries, j < h,
     *     t = root[h + j] b,  (a, b) = (a + t, a - t)       a at j, b at h + j of the block.
     * unembed undoes the steps in the opposite order, (a, b) = (a + b, conj(root[h + j]) (a - b)),
     * and multiplies the result by c; c = 1/p makes it the inverse.
     *
     * A complex product is two rounded products and one rounded sum or difference for each part, no
     * fused operations: every variant returns equal numbers (a zero may have another sign). A step
     * adds a relative error of at most 2^-51 to the Euclidean norm of the vector, the roots' own
     * rounding included: in all log_p 2^-51.
     */
    void (*embed)(double *re, double *im, const double *root_re, const double *root_im,
                  unsigned log_p);
    void (*unembed)(double *re, double *im, const double *root_re, const double *root_im,
                    unsigned log_p, double c);

    /* The largest |x[i]|; infinity when an x[i] is not finite. */
    double (*largest)(const double *x, size_t n);

    /* ---- random words and what is made of them ---------------------------------------------- */

    /*
     * The 8 n words, little endian, of the n 64-byte blocks from number `block` on of the stream
     * that sys_expand defines.
     */
    void (*expand)(uint64_t *out, size_t n, const uint8_t seed[SYS_SEED_BYTES], uint64_t stream,
                   uint64_t block);

    /*
     * Appends to out those words & mask that are below q, in their order, until `room` of them are
     * there or the n words are used up; returns how many were appended. mask = 2^bits - 1. May
     * write any of out[0 .. room). The words are public: time depends on them.
     */
    size_t (*keep_below)(uint64_t *out, size_t room, const uint64_t *words, size_t n, uint64_t mask,
                         uint64_t q);

    /*
     * out[i] = (number of k < count with words[i] >= below[k]), negated when words[i] is odd. (That
     * the lowest bit counts in the comparison too shows with probability count 2^-64.) count <
     * 2^31. Time does not depend on the words. out is disjoint from words.
     */
    void (*inverse_cdf)(int64_t *out, const uint64_t *words, size_t n, const uint64_t *below,
                        size_t count);
};

/* Fills k with the best variants up to `level` (lowered to what the machine has). */
void k_init(struct kernels *k, enum rt_cpu level);

/* These by way of the other kernels of k: for variants that have nothing better. */
void k_ntt_i32_with(const struct kernels *k, uint64_t *out, const int32_t *in,
                    const struct ntt_table *t, unsigned log_m);
void k_convert_with(const struct kernels *k, const struct k_convert *s);
void k_mac_many_with(const struct kernels *k, const struct k_sums *s, size_t n,
                     const struct modulus *m);

/* Used by k_init: each overrides what it has. They exist where they can be compiled. */
void k_init_ref(struct kernels *k);
void k_init_avx2(struct kernels *k);
void k_init_avx512(struct kernels *k);
void k_real_ref(struct kernels *k); /* fft.c: reals; the same for the others */
void k_real_avx2(struct kernels *k);
void k_real_avx512(struct kernels *k);
void k_draw_ref(struct kernels *k); /* draw.c: random words and samples */
void k_draw_avx2(struct kernels *k);
void k_draw_avx512(struct kernels *k);

#endif
