/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TESTS_RT_KIT_H
#define TESTS_RT_KIT_H

/*
 * Hand-written programs for the tests of the runtime: a model whose input and output are plain
 * vectors, a builder of model data, and a layer that runs a list of operations.
 */

#include "core/core.h"
#include "rt.h"
#include "rt_client.h"

enum kit_op_kind {
    KIT_DECOMPOSE,
    KIT_KEY_MUL, /* a: digits, b: base, arg: rotation */
    KIT_LIFT,
    KIT_MOD_DOWN, /* arg: drop */
    KIT_RESCALE,  /* arg: drop */
    KIT_DROP_TO,  /* arg: level */
    KIT_RAISE,    /* arg: times */
    KIT_ADD,
    KIT_SUB,
    KIT_MUL,
    KIT_PMAC,       /* arg terms, on registers a, a+1, a+2, a+3, a, ...; b: first plaintext */
    KIT_PADD,       /* a: register, b: plaintext */
    KIT_CONJ_MUL,   /* a: digits, b: base */
    KIT_COMB,       /* arg terms, registers as of a pmac; reals b ..: factors, constant, scale */
    KIT_ADD_SCALAR, /* real b */
    KIT_TIMES_I,
    KIT_RELABEL, /* real b: scale */
    KIT_ENCAPSULATE,
    KIT_MOD_RAISE, /* arg: level */
    KIT_RAISED_MUL /* arg: rotation */
};
struct kit_op {
    enum kit_op_kind op;
    uint32_t out, a, b;
    int64_t arg;
};

#define KIT_REGS   12
#define KIT_OPS    64
#define KIT_KEYS   64
#define KIT_PRIMES 32
#define KIT_TERMS  200 /* of a pmac */
#define KIT_REALS  128

struct kit {
    char dir[64]; /* of its own, below TMPDIR */
    uint64_t q[KIT_PRIMES], p[KIT_PRIMES];
    struct rt_key_spec keys[KIT_KEYS];
    double mean[8], std[8];
    struct rt_interface model;
    uint64_t reg_words[KIT_REGS];
    uint32_t input_regs[8], output_regs[8];
    struct rt_layer layer;
    struct rt_program program;

    double *values;
    struct core_rect *rects;
    struct core_plain *plains;
    size_t num_values, num_rects, num_plains;

    struct kit_op ops[KIT_OPS];
    uint32_t num_ops;
    double reals[KIT_REALS];
    uint32_t num_reals;
};

/* What a kit is made of; bits of the primes, 0 ends a list. */
struct kit_shape {
    uint32_t log_n;
    unsigned q_bits[KIT_PRIMES], p_bits[KIT_PRIMES];
    uint32_t alpha, insecure;
    uint32_t n; /* slots of a vector */
    uint32_t num_in, num_out;
    int32_t input_level, output_level;
    double input_scale; /* output_scale: kit_output */
    uint32_t sparse_weight;
};

/* Fills k, makes its directory. Aborts the test where something is wrong. */
void kit_make(struct kit *k, const struct kit_shape *s);
void kit_drop(struct kit *k); /* removes the directory */
void kit_path(const struct kit *k, char out[128], const char *name);

void kit_key_of(struct kit *k, enum rt_key_kind kind, int64_t by, int32_t level);
void kit_key(struct kit *k, int64_t by, int32_t level); /* by 0: relinearisation, else rotation */
/* Index of a plaintext: v[n], one rectangle a slot. */
uint32_t kit_plain(struct kit *k, const double *v, uint32_t n, uint32_t period, int32_t level,
                   bool extended, double scale);
/* Index of a diagonal of a DFT factor; the fields are those of the file (rt.h). */
uint32_t kit_dft(struct kit *k, uint32_t dft, uint32_t n, uint32_t period, uint32_t diagonal,
                 uint32_t shift, int32_t level, bool extended, double scale);
/* Index of the first of `count` numbers that operations refer to. */
uint32_t kit_reals(struct kit *k, const double *x, uint32_t count);
void kit_do(struct kit *k, enum kit_op_kind op, uint32_t out, uint32_t a, uint32_t b, int64_t arg);
/* Rotation of register a by `by` and mod-down: registers out and work (digits, ctx). */
void kit_rotate(struct kit *k, uint32_t out, uint32_t a, uint32_t digits, int64_t by,
                uint32_t drop);
/* The result is in these registers, at the level of the shape and this scale. */
void kit_output(struct kit *k, uint32_t first, double scale);

/* model.dat from the plaintexts; sets the program's checksum. */
void kit_write_data(struct kit *k);
/* keygen into the directory */
void kit_keygen(struct kit *k, int threads);
/* Everything: data, keys, encrypt x[num_in][n], infer, decrypt to y[num_out][n]. False, and err,
 * when the inference fails; other failures end the test. */
bool kit_run(struct kit *k, const double *x, double *y, int threads, struct rt_error *err);
/* Only the inference, with the files that are there, from in.weft to the file `out`. */
bool kit_infer(struct kit *k, const char *out, int threads, struct rt_error *err);

/* Random numbers for tests; the seed is printed, and taken from SEED when set. */
uint64_t kit_seed(void);
uint64_t kit_random(uint64_t *state);
double kit_uniform(uint64_t *state, double low, double high);

/* Whole files. */
uint8_t *kit_read(const char *path, size_t *size); /* malloc */
void kit_write(const char *path, const uint8_t *data, size_t size);
/* Makes the checksum of a container right again. */
void kit_seal(uint8_t *data, size_t size);
/* Number of entries in the kit's directory. */
unsigned kit_entries(const struct kit *k);

#endif
