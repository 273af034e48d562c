/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CORE_CORE_H
#define CORE_CORE_H

/*
 * What client and server share: parameters, encoding, packing, files. Nothing here knows a secret.
 *
 * Functions that can fail fill the caller's struct rt_error with one line and return its status;
 * their outputs are then unchanged (files: nothing is left behind).
 */

#include "ring/ring.h"
#include "rt.h"
#include "rt_clear.h"

/* ---- error.c -------------------------------------------------------------------------------- */

/* Writes the message (err may be NULL) and returns status. */
enum rt_status core_fail(struct rt_error *err, enum rt_status status, const char *format, ...)
    RT_PRINTF(3, 4);
enum rt_status core_no_memory(struct rt_error *err, const char *what);

/* ---- ctx.c: parameters -> tables ------------------------------------------------------------- */

struct core_ctx {
    struct ring *ring;
    unsigned alpha; /* primes a digit */
    bool insecure;
    uint64_t fingerprint;
    double log2_q[RING_MAX_PRIMES]; /* log2 of q_0 .. q_level */
    double *embed_re, *embed_im;    /* roots of the embedding, embed.c */
};

/*
 * Checks everything that the interface claims (primes, 128-bit security unless marked insecure,
 * keys, levels, packings, scales) and builds the tables. *out is NULL on error. Messages begin with
 * the model's name.
 */
enum rt_status core_ctx_open(struct core_ctx **out, const struct rt_interface *model,
                             struct rt_error *err);
void core_ctx_close(struct core_ctx *c); /* NULL is allowed */

static inline size_t core_slots(const struct core_ctx *c)
{
    return c->ring->n / 2;
}

/* Relative difference at most 2^-30: how exactly scales must agree. */
bool core_same_scale(double a, double b);

/* ---- embed.c: the canonical embedding -------------------------------------------------------- */

/*
 * Slots <-> coefficients for polynomials in X^(N/2p), p = 2^log_p <= N/2 slots. With z complex of
 * length p and c real of length 2p, c[j] and c[p+j] held as the real and imaginary part of entry j:
 *     z_j = sum_k c_k xi^(5^j k),  xi = exp(2 pi i / 4p).
 * In place; re and im have p entries. core_embed: coefficients -> slots, core_unembed: its inverse.
 */
void core_embed(const struct core_ctx *c, double *re, double *im, unsigned log_p);
void core_unembed(const struct core_ctx *c, double *re, double *im, unsigned log_p);
bool core_embed_init(struct core_ctx *c); /* tables; false: no memory */

/* ---- encode.c -------------------------------------------------------------------------------- */

/*
 * Plaintext in the subring: slots re[j] + i im[j], j < p = 2^log_p <= N/2, repeated to fill the
 * ciphertext, times scale, rounded. out: 2p words a limb of b, evaluation form of size 2p. im may
 * be NULL (zero). work has 2p doubles. RT_ERR_ARGUMENT when a value is not finite or a coefficient
 * reaches 2^100 or half of q_0 .. q_{b.level}. what: names the plaintext in messages.
 */
enum rt_status core_encode(const struct core_ctx *c, uint64_t *out, const double *re,
                           const double *im, unsigned log_p, double scale, struct ring_basis b,
                           double *work, const char *what, struct rt_error *err);

/* The first half of that: the 2p coefficients, not yet rounded; *most: the largest size of one. */
enum rt_status core_encode_real(const struct core_ctx *c, double *out, const double *re,
                                const double *im, unsigned log_p, double scale, unsigned level,
                                double *most, const char *what, struct rt_error *err);

/*
 * Inverse: x in coefficient form over {level, 0} -> p slots. Of a polynomial that is not in the
 * subring, its projection is decoded: the mean over the N/2p repetitions. Coefficients are read as
 * centred integers, exactly for any number of limbs, and rounded once. re and im have p entries.
 */
void core_decode(const struct core_ctx *c, double *re, double *im, const uint64_t *x,
                 unsigned level, double scale, unsigned log_p);

/* log2 of a power of two */
unsigned core_log2(uint64_t x);

/* ---- packing.c ------------------------------------------------------------------------------- */

/* False, and *why (static text), when the descriptor is not a map into n slots; slots: N/2. */
bool core_packing_check(const struct rt_packing *p, size_t slots, const char **why);
void core_packing_at(const struct rt_packing *p, uint32_t c, uint32_t h, uint32_t w, uint32_t *ct,
                     uint32_t *slot);
void core_pack(const struct rt_packing *p, const double *x, double *cts); /* [c][h][w] -> [ct][n] */
void core_unpack(const struct rt_packing *p, const double *cts,
                 double *x); /* [ct][n] -> [c][h][w] */

/* ---- serial.c: the container of rt.h --------------------------------------------------------- */

#define CORE_VERSION       2u
#define CORE_FLAG_INSECURE 1u

struct core_header {
    uint8_t magic[8];
    uint32_t version, kind, flags, zero;
    uint64_t fingerprint, model_hash, key_id, payload, checksum;
};

/* What the reader insists on. */
struct core_expect {
    enum rt_kind kind;
    const struct core_ctx *ctx; /* flags and fingerprint; NULL for model data */
    uint64_t model_hash;
    uint64_t key_id; /* 0: any but 0 (model data: must be 0) */
};

/* A mapped file whose header, length and checksum are right. */
struct core_file {
    struct core_header header;
    const uint8_t *payload; /* 64-byte aligned, header.payload bytes */
    void *map;
    size_t size;
};

enum rt_status core_file_open(struct core_file *f, const char *path, const struct core_expect *want,
                              struct rt_error *err);
void core_file_close(struct core_file *f); /* of a zeroed struct: nothing */
/* The payload's bytes at `at` will not be read again soon: their pages leave the process. */
void core_file_forget(const struct core_file *f, const uint8_t *at, size_t bytes);

/* All of x[0..n) below q? */
bool core_residues_ok(const uint64_t *x, size_t n, uint64_t q);

/*
 * Writes to a temporary name beside `path`. h: kind, flags, fingerprint, model_hash, key_id and the
 * payload's length are the caller's. Secret keys get mode 0600, everything else
 * 0666 less the mask of the process.
 */
struct core_writer;
enum rt_status core_writer_open(struct core_writer **out, const char *path,
                                const struct core_header *h, struct rt_error *err);
enum rt_status core_writer_put(struct core_writer *w, const void *data, size_t bytes,
                               struct rt_error *err);
/* Header and, for keys, fsync: all that can fail but the rename. */
enum rt_status core_writer_finish(struct core_writer *w, struct rt_error *err);
/* Finishes if that was not done, renames, and closes w in any case. */
enum rt_status core_writer_commit(struct core_writer *w, struct rt_error *err);
const char *core_writer_path(const struct core_writer *w);
void core_writer_abandon(struct core_writer *w); /* removes the temporary file; NULL is allowed */

/* ---- ctfile.c: payload of kind 3, ciphertexts ------------------------------------------------ */

/*
 * u32 num_ct, u32 parts (2), i32 level, u32 seeded, f64 scale, 40 bytes 0; then num_ct times
 *     seeded:  32 bytes seed of c1, 32 bytes 0, c0        full:  c0, c1
 * a part being (level + 1) N words in evaluation form. c1 of a seed is ring_uniform(seed, 0).
 */
struct core_ct_spec {
    uint32_t num_ct;
    int32_t level;
    double scale;
};
struct core_ct_file {
    struct core_file file;
    const struct core_ctx *ctx;
    const char *path;
    struct core_ct_spec spec;
    bool seeded;
};
/* The file must hold exactly what spec says. key_id 0: any. */
enum rt_status core_ct_open(struct core_ct_file *f, const char *path, const struct core_ctx *c,
                            uint64_t model_hash, uint64_t key_id, const struct core_ct_spec *spec,
                            struct rt_error *err);
/* Ciphertext i, both parts, to out[2 (level+1) N]; out is written even on error. */
enum rt_status core_ct_read(const struct core_ct_file *f, uint32_t i, uint64_t *out,
                            struct rt_error *err);
void core_ct_close(struct core_ct_file *f);

/* Begins a ciphertext file; core_ct_put then num_ct times, then core_writer_commit. */
enum rt_status core_ct_create(struct core_writer **out, const char *path, const struct core_ctx *c,
                              uint64_t model_hash, uint64_t key_id, const struct core_ct_spec *spec,
                              bool seeded, struct rt_error *err);
/* seed NULL: part[0], part[1]; else the seed and part[0]. */
enum rt_status core_ct_put(struct core_writer *w, const struct core_ctx *c,
                           const struct core_ct_spec *spec, const uint8_t *seed,
                           const uint64_t *const part[2], struct rt_error *err);

/* ---- keyfile.c: payload of kind 2, evaluation keys ------------------------------------------- */

/*
 * u64 num_keys, 56 bytes 0; one record a key; then the b halves: key by key, limbs q_0 .. q_level and
 * all p, each as struct k_switch wants it: for every 32 coefficients (N, where that is less) these
 * words of all digits, one digit after the other, in evaluation form, times 2^52. So a server uses
 * the file as it lies in memory.
 *
 * Key k of digits j = 0 .. ceil((level+1)/alpha)-1:  2^52 a_j = ring_uniform(seed_k, stream j),
 *     b_j = -a_j s' + e_j + g_j t,     g_j = P mod q_i for i in digit j, else 0,
 * for relinearisation s' = s and t = s^2; for a rotation by r and for conjugation s' = sigma^-1(s)
 * and t = s, sigma: X -> X^(5^r) and X -> X^-1. So with d_j the digits of c1,
 *     sum_j d_j (b_j + a_j s') = P c1 s + small, and sigma of it is P sigma(c1) sigma(s):
 * the inner product is taken on digits as they are, and two polynomials are permuted at the end.
 *
 * Programs that bootstrap have a second secret z, of which only sparse_weight coefficients are not
 * zero. It is drawn by key generation and forgotten there. Keys have one digit:
 *     RT_KEY_ENCAPSULATE, over q_0 p_0:     b = -a z + e + p_0 s
 *     RT_KEY_RAISED by r, over Q_level P:   b = -a s' + e + P z,    s' = sigma^-1(s)
 * z encrypts in the first only. As few of its coefficients are not zero, that is safe for a small
 * modulus only (ctx.c): this key must not have another limb. In the second z is the message. A
 * ciphertext (c0, c1) under z modulo q_0, read as integers, is one modulo Q_level whose c1 is small
 * and so is itself the digit:
 *     (P sigma(c0) + sigma(c1 b), sigma(c1 a)) is P sigma(c0 + c1 z) + small under s.
 */
struct core_key_record {
    int64_t by;
    int32_t level;
    uint32_t digits;
    uint64_t offset; /* of the b halves, bytes from the start of the payload */
    uint8_t seed[SYS_SEED_BYTES];
    uint64_t kind; /* enum rt_key_kind */
};

struct core_key_shape {
    struct ring_basis basis;
    unsigned digits;
    size_t poly_words; /* of one digit's b */
};
/* How messages name it, a step following: "rotation" */
#define CORE_KEY_KINDS (RT_KEY_RAISED + 1u)
const char *core_key_text(uint32_t kind);
struct core_key_shape core_key_shape(const struct core_ctx *c, const struct rt_key_spec *spec);
/* Bytes of the whole payload. */
uint64_t core_keys_bytes(const struct core_ctx *c, const struct rt_interface *model);
uint64_t core_keys_first(const struct rt_interface *model); /* offset of the first b half */
/* Words x[0..n) of limb and digit, from coefficient `first`, to their places in the limb's stream of
 * `digits` digits that begins with coefficient `first`. n: multiple of K_KEY_BLOCK, or N. */
void core_key_place(uint64_t *stream, const uint64_t *x, unsigned digit, unsigned digits, size_t n);
/* That stream of the a half for the first `terms` of the digits: coefficients first .. first + n - 1,
 * multiples of RING_UNIFORM_CHUNK or the whole limb. prime: index in r->ntt order. */
void core_key_expand(const struct ring *r, uint64_t *stream, size_t prime, const uint8_t *seed,
                     unsigned terms, unsigned digits, size_t first, size_t n);

/* ---- data.c: payload of kind 4, model data (layout in rt.h) ---------------------------------- */

struct core_rect {
    uint32_t slot, rows, cols, row_step, col_step, value;
};
struct core_plain {
    uint64_t first_rect;
    uint32_t num_rects, n, period;
    int32_t level;
    uint32_t extended, dft;
    double scale;
};
struct rt_data {
    struct core_file file;
    uint64_t num_values, num_rects, num_plains;
    const double *values;
    const struct core_rect *rects;
    const struct core_plain *plains;
};
/* The vector of plaintext i, which has dft = 0: slots has plains[i].n entries. False when it does
 * not repeat with its period. */
bool core_plain_slots(const struct rt_data *d, uint64_t i, double *slots);

/* ---- dft.c: factors of the special DFT ------------------------------------------------------- */

/* Of a record with dft != 0: every field in range, period included? */
bool core_dft_ok(const struct core_plain *p);
/* The first p->period positions of the diagonal; core_dft_ok(p). */
void core_dft_slots(const struct core_plain *p, double *re, double *im);

#endif
