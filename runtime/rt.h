/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_RT_H
#define WEFT_RT_H

/*
 * The server's side of Weft's RNS-CKKS runtime: the only header that generated programs include.
 * It declares no secret type, and nothing linked through it can decrypt.
 *
 * A generated program is a table (struct rt_program) and one C function a layer; a layer calls the
 * operations at the end of this file on numbered registers.
 *
 * Conventions. Ring Z[X]/(X^N+1); slots j = 0..N/2-1 are the values at zeta^(5^j). A vector of n <= N/2
 * slots (n a power of two) is repeated to fill the ciphertext. Coefficients are 64-bit words, primes
 * have at most 50 bits. Level l means the limbs q_0..q_l. Rotation by r: out[s] = in[s + r].
 *
 * Files. Everything on disk is one container, little-endian:
 *     0  magic "WEFTFILE"      8  u32 version (2)     12  u32 kind (enum rt_kind)
 *    16  u32 flags (bit 0: insecure parameters)       20  u32 0
 *    24  u64 parameter fingerprint (0 for model data) 32  u64 model hash
 *    40  u64 key id (0 for model data)                48  u64 payload bytes
 *    56  u64 XXH3-64 of bytes 0..55 followed by the payload
 *    64  payload
 * The fingerprint is XXH3-64 of u32 log_n, num_q, num_p, alpha, insecure, sparse_weight, then the u64 q's and p's.
 *
 * Payload of model data (kind 4):
 *     u64 num_values, u64 num_rects, u64 num_plains, u64 0
 *     f64 values[num_values]
 *     struct { u32 slot, rows, cols, row_step, col_step, value; } rects[num_rects]
 *     struct { u64 first_rect; u32 num_rects, n, period; i32 level; u32 extended, dft; f64 scale; } plains[]
 * With dft = 0 a plaintext is the vector of n slots that is the sum of its rectangles: values[value] is added at
 * the positions (slot + r*row_step + c*col_step) mod n, r < rows, c < cols. It repeats with `period`.
 * With dft = first | last << 8 | inverse << 16 it is a diagonal of a factor of the special DFT on n slots
 * (formula: core/dft.c), complex: num_rects is the offset d of the diagonal, first_rect a shift b, and
 * position s holds the entry (out slot (s + b) mod n, in slot (s + b + d) mod n).
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#if defined(__GNUC__)
#define RT_MUST_CHECK   __attribute__((warn_unused_result))
#define RT_PRINTF(a, b) __attribute__((format(printf, a, b)))
#else
#define RT_MUST_CHECK
#define RT_PRINTF(a, b)
#endif

enum rt_status {
    RT_OK,
    RT_ERR_IO,       /* cannot open, read, write, rename */
    RT_ERR_FORMAT,   /* not a Weft file, truncated, checksum, value out of range */
    RT_ERR_MISMATCH, /* good file, but of another kind, model, key or parameter set */
    RT_ERR_MEMORY,
    RT_ERR_ARGUMENT, /* level, scale, register or domain not what the operation needs */
    RT_ERR_RANDOM    /* no system randomness */
};

/* One message, written by whoever found the mistake: "keys.weft: truncated at byte 4096 of 8200". */
struct rt_error {
    enum rt_status status;
    char text[512];
};

enum rt_kind { RT_KIND_SECRET_KEY = 1, RT_KIND_EVAL_KEYS, RT_KIND_CIPHERTEXT, RT_KIND_MODEL_DATA };

struct rt_params {
    uint32_t log_n, num_q, num_p;
    const uint64_t *q, *p;  /* primes = 1 mod 2N, below 2^50; q[0] is the last to go */
    uint32_t alpha;         /* primes a digit in key switching */
    uint32_t insecure;      /* 1: toy parameters */
    uint32_t sparse_weight; /* of the secret under which values are raised; 0: none are */
};

enum rt_key_kind {
    RT_KEY_RELINEARISE, /* s^2 -> s */
    RT_KEY_ROTATE,      /* by 1..N/2-1 */
    RT_KEY_CONJUGATE,
    RT_KEY_ENCAPSULATE, /* s -> sparse secret; limbs q_0 and p_0 only, level 0 */
    RT_KEY_RAISED       /* sparse secret, rotated by `by` (0: not), -> s; one digit */
};
struct rt_key_spec {
    int64_t by;    /* 0 where the kind has no rotation */
    int32_t level; /* limbs q_0..q_level and all of P */
    uint32_t kind; /* enum rt_key_kind */
};

/* Where element (c,h,w) of a tensor lies; formula in runtime/core/packing.c, same as ir/layout.c */
struct rt_packing {
    uint32_t c, h, w, n, g_h, g_w, t_h, t_w, pitch, block, num_ct;
    const uint32_t *perm; /* [c], or NULL: identity */
};

/* What both sides know of a model: no weights. Generated as `weft_interface`. */
struct rt_interface {
    const char *name, *version; /* model, and the compiler that made it */
    uint64_t model_hash;
    struct rt_params params;
    double lambda, log2_qp; /* bits of security (0: none claimed); log2 of the modulus */
    const struct rt_key_spec *keys;
    uint32_t num_keys;
    struct rt_packing input, output;
    double input_scale, output_scale;
    int32_t input_level, output_level;
    double range[2];          /* raw value of byte 0 and of byte 255 */
    const double *mean, *std; /* [input.c]; the network sees (raw - mean) / std */
    uint32_t num_outputs;
    const char *const *labels; /* [num_outputs], or NULL */
    double error_bound;        /* predicted max |logit error|, 0 if unknown */
    double depth;              /* levels consumed */
    uint64_t max_memory; /* of the server unless its caller says: bytes; 0: RT_DEFAULT_MEMORY */
    /* Predicted bytes of the server's process with one thread: one image, several within max_memory, several
     * with all kept; 0: unknown */
    uint64_t memory_once, memory_server, memory_all;
};

typedef struct rt_eval rt_eval;

struct rt_layer {
    const char *name; /* of the model file */
    uint32_t line;    /* of the model file */
    void (*run)(rt_eval *e);
    double predicted_ns; /* cost model, one thread: weights the progress line */
    uint32_t row;        /* of the program's rows; several layers may share one */
};

/* What the compiler expected of a layer of the model file, or of the bootstraps after it */
struct rt_row {
    const char *name;
    uint32_t line, bootstrap; /* bootstrap: 0 or 1 */
    double predicted_ns;      /* where all that is computed is kept */
    int32_t level_in, level_out;
    double scale_bits; /* log2 of the scale of its result */
    uint32_t rotations, key_switches, decompositions, plain_products;
    uint32_t offsets;     /* different rotations between operand and result of its linear map */
    uint32_t period;      /* of its plaintexts, in slots; 0: none */
    uint32_t ciphertexts; /* of its result; of bootstraps, how many */
    double fill;          /* share of the slots of its result that hold the tensor */
    double keys_ns, plaintexts_ns; /* predicted beside, where these are made again for every use */
};

struct rt_program {
    const struct rt_interface *interface;
    uint64_t data_checksum; /* the container checksum of the data file it was built with */
    uint32_t num_regs;
    const uint64_t *reg_words; /* capacity of every register in 64-bit words */
    const struct rt_layer *layers;
    uint32_t num_layers;
    /* [num_ct of the packing]; an input that no operation reads has UINT32_MAX */
    const uint32_t *input_regs, *output_regs;
    const struct rt_row *rows;
    uint32_t num_rows;
};

/* ---- life cycle --------------------------------------------------------------------------- */

/*
 * Everything is allocated and all plaintexts are encoded here. data_path: the model data file.
 * keys_path: evaluation keys, mapped. On error *out is NULL and err says why. threads 0: all.
 *
 * Halves of keys and limbs of plaintexts that are computed (most of the memory) are kept where they
 * fit into max_memory, else made again for every use; results are the same, bit for bit. With less
 * than the least that is needed the error names that. The interface's max_memory and the default are
 * exceeded where less is not possible.
 */
#define RT_DEFAULT_MEMORY ((uint64_t)11 << 29) /* 5.5 GiB */
struct rt_options {
    int threads;
    uint64_t max_memory; /* bytes of the whole process; 0: what the interface says */
    bool once;           /* for one image: what pays only when used again is not kept */
};
RT_MUST_CHECK enum rt_status rt_eval_open_with(rt_eval **out, const struct rt_program *program,
                                               const char *data_path, const char *keys_path,
                                               const struct rt_options *options,
                                               struct rt_error *err);
/* With that number of threads, and nothing else said. */
RT_MUST_CHECK enum rt_status rt_eval_open(rt_eval **out, const struct rt_program *program,
                                          const char *data_path, const char *keys_path, int threads,
                                          struct rt_error *err);
void rt_eval_close(rt_eval *e);

/* Called before each layer with the share of predicted time done (0..1); may be NULL. */
typedef void rt_progress(void *ctx, const struct rt_layer *layer, double done);

/* Encrypted image in, encrypted result out (written to a temporary name, then renamed). */
RT_MUST_CHECK enum rt_status rt_infer(rt_eval *e, const char *ct_in, const char *ct_out,
                                      rt_progress *progress, void *ctx, struct rt_error *err);

struct rt_memory {
    uint64_t key_bytes;       /* mapped file and halves that are kept */
    uint64_t plaintext_bytes; /* coefficients and limbs that are kept */
    uint64_t register_bytes;
    uint64_t other_bytes;              /* tables, work, the program itself */
    double kept_keys, kept_plaintexts; /* shares, in bytes, of what is computed of them */
};
struct rt_memory rt_eval_memory(const rt_eval *e);
uint64_t rt_eval_key_id(const rt_eval *e);

/* A look at what a register holds after a layer, for debug builds (weft build --check): rt_check() calls the
 * hook, if there is one, and stops the program when it returns false. */
struct rt_view {
    const uint64_t *part[2]; /* evaluation form, limbs q_0 .. q_level */
    int32_t level;
    double scale;
};
typedef bool rt_check_hook(void *ctx, uint32_t point, const struct rt_view *value);
void rt_eval_watch(rt_eval *e, rt_check_hook *hook, void *ctx); /* NULL: nobody looks */
void rt_check(rt_eval *e, uint32_t reg, uint32_t point);

/* ---- operations, called by generated code --------------------------------------------------
 * Registers are given by number. Preconditions (level, scale within 2^-30, parts, domain, key
 * present, capacity) are always checked; the first violation is kept (op named) and everything
 * after it does nothing: rt_infer() then returns it. Values are in evaluation (NTT) form.
 * `out` may equal an input unless said otherwise. */

void rt_decompose(rt_eval *e, uint32_t out, uint32_t in); /* out != in */
/* base is what the digits were made of, unchanged since: they leave out what it holds */
void rt_key_mul(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base,
                int64_t by); /* by 0: relinearise; out != inputs */
void rt_lift(rt_eval *e, uint32_t out, uint32_t in);
void rt_mod_down(rt_eval *e, uint32_t out, uint32_t in, uint32_t drop);
void rt_rescale(rt_eval *e, uint32_t out, uint32_t in, uint32_t drop);
void rt_drop_to(rt_eval *e, uint32_t out, uint32_t in, int32_t level);
void rt_raise_scale(rt_eval *e, uint32_t out, uint32_t in, int64_t times); /* 1 <= times < 2^50 */
/* out += the result of rt_key_mul; out: CTX of its level and scale, none of the inputs */
void rt_key_mul_add(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base, int64_t by);
void rt_add(rt_eval *e, uint32_t out, uint32_t a, uint32_t b);
void rt_sub(rt_eval *e, uint32_t out, uint32_t a, uint32_t b);
void rt_mul(rt_eval *e, uint32_t out, uint32_t a, uint32_t b); /* 3 parts; out != inputs */
/* out = sum over i < count of plaintext (first + i) * register in[i]; out is none of the inputs */
void rt_pmac(rt_eval *e, uint32_t out, const uint32_t *in, uint32_t count, uint32_t first);
void rt_padd(rt_eval *e, uint32_t out, uint32_t in, uint32_t plain);
/* Complex conjugation, else as rt_key_mul */
void rt_conj_mul(rt_eval *e, uint32_t out, uint32_t digits, uint32_t base);
/* out = sum over i of factors[i] * register in[i], plus constant in every slot, at scale `scale`: register i
 * times the integer nearest to factors[i] * scale / its scale (below 2^62). Equal levels. out is none of
 * the inputs unless count is 1. */
void rt_comb(rt_eval *e, uint32_t out, const uint32_t *in, const double *factors, uint32_t count,
             double constant, double scale);
void rt_add_scalar(rt_eval *e, uint32_t out, uint32_t in, double constant);
void rt_times_i(rt_eval *e, uint32_t out, uint32_t in);
/* The same coefficients, read at another scale */
void rt_relabel(rt_eval *e, uint32_t out, uint32_t in, double scale);
/* Bootstrapping (Bossuat, Troncoso-Pastoriza, Hubaux, "Bootstrapping for approximate homomorphic encryption
 * with negligible failure-probability by using sparse-secret encapsulation", ACNS 2022). At level 0 to the
 * sparse secret; its residues modulo q_0, centred, as integers modulo Q_level P; and back to the secret
 * with a rotation, as P times the value. */
void rt_encapsulate(rt_eval *e, uint32_t out, uint32_t in);
void rt_mod_raise(rt_eval *e, uint32_t out, uint32_t in, int32_t level); /* out != in */
void rt_raised_mul(rt_eval *e, uint32_t out, uint32_t in, int64_t by);   /* by 0: none; out != in */

/* One operand of a linear transform. digits UINT32_MAX: base is CT (times P, as rt_lift), RAISED (as
 * rt_raised_mul by `by`) or CTX (as it is); by 0 unless RAISED. Else as rt_key_mul(digits, base, by), by
 * not 0. */
struct rt_baby {
    uint32_t digits, base;
    int64_t by;
};
/* A whole linear transform with double hoisting (Bossuat, Mouchet, Troncoso-Pastoriza, Hubaux, EUROCRYPT
 * 2021; the order of the loops is ours: runtime/eval/transform.c): for k < num_out
 *     out[k] = sum over i < count of plaintext plain[k * count + i] (UINT32_MAX: none) * baby[i].
 * The same words as of rt_key_mul, rt_lift, rt_raised_mul and rt_pmac, but the operands are never written to
 * memory. The results are CTX registers, all distinct and none of the inputs; all operands are at one level
 * and scale, the plaintexts of a result, at least one, are extended, at that level and of one scale. Where the
 * plaintexts are not extended, all operands are CT as they are, and so are the results. Any
 * count; up to 64 operands cost one pass over the results, each further 64 another. */
void rt_transform(rt_eval *e, const uint32_t *out, uint32_t num_out, const struct rt_baby *baby,
                  uint32_t count, const uint32_t *plain);

#endif
