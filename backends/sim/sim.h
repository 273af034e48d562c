/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_SIM_H
#define WEFT_SIM_H

/* The simulator's own interface: sim.c (driver), nn.c, packed.c and boot.c (one function an op), noise.c. */

#include "backends.h"

struct sim_rng {
    uint64_t s[4];
    bool has_spare;
    double spare; /* second normal of a pair */
};

enum { SIM_LANES = 4, SIM_MOST_LOG_COPIES = 18 };

/* Deviations of rounding errors: roots of the means over copies of 1 + S, and of 1 + S + S^2 */
struct sim_rounding {
    double *at[2][SIM_MOST_LOG_COPIES];
    bool known[2][SIM_MOST_LOG_COPIES];
};

struct sim {
    struct arena *arena;
    struct prog *p;
    const struct nodes *nodes; /* the program's, or its reference network's */
    uint32_t *last_use;        /* [nodes.len] index of the last node that reads the value */
    double **value;            /* [nodes.len] NULL when not computed or given back */
    double **imag;             /* [nodes.len] imaginary parts of packed values; NULL: all zero */
    /* Values that only move slots share the buffers of another node: slot k is its slot k + turned. */
    uint32_t *holder;    /* [nodes.len] whose buffers they are */
    uint32_t *holds;     /* [nodes.len] values that are in the buffers of this node */
    uint32_t *turned;    /* [nodes.len] */
    double **squares[2]; /* [nodes.len] of real and imaginary parts: noise.c; NULL: not known */
    double *
        *plain; /* [nodes.len] pmac of a DFT factor: [num_args][period]; padd: [n of its layout] */
    double **plain_imag;   /* [nodes.len] of pmac nodes of DFT factors, else NULL */
    struct diagonals *lin; /* [num_maps] of maps that lin and pmac nodes use */
    struct sim **func;     /* [num_funcs] */
    struct sim *caller;    /* of a function while it runs, else NULL */
    uint32_t call;         /* the caller's node */
    uint32_t
        *plain_len; /* [num_maps] period of the plaintexts of pmac nodes: nw, or a DFT factor's */
    struct sim_pool {
        size_t len;
        void *head; /* unused buffers, linked through their first word */
    } pool[64];
    uint32_t num_pools;

    /* of the images in work */
    uint32_t lanes; /* how many: slot k of image j is at [k * lanes + j] */
    const double *const *images;
    double *const *results;
    bool noise;
    struct sim_rng rng;
    struct sim_rng multiples; /* of q_0, that mod_raise adds */
    double *secret;           /* [N/2][lanes] |s(zeta_j)|^2 of secrets drawn for these images */
    double *sparse;           /* [N/2][lanes] of the sparse ones */
    struct sim_rounding *rounding;
    uint32_t mixed; /* most slots of a vector outside of functions */
    bool imaginary; /* errors of imaginary parts count outside of functions too */
};

/* ---- sim.c */
size_t sim_value_len(const struct type *t);
/* Operand k of node i, slots rotated by `by`, is its value. */
void sim_share(struct sim *s, uint32_t i, uint32_t k, int64_t by);
/* The value gets buffers of its own, to be changed. */
void sim_own(struct sim *s, uint32_t i);
/* Room for len numbers, whatever they are, and its end. */
double *sim_buffer(struct sim *s, size_t len);
void sim_free_buffer(struct sim *s, size_t len, double **at);
/* The value buffer of node i, zeroed. */
double *sim_result(struct sim *s, uint32_t i);
/* Its imaginary parts: as they are, or zeroed where there were none. */
double *sim_imag(struct sim *s, uint32_t i);
/* Forgets imaginary parts that are all zero. */
void sim_real(struct sim *s, uint32_t i);
/* Node i runs function f on its operand. */
void sim_function(struct sim *s, uint32_t i, uint32_t f);
static inline const struct node *sim_node(const struct sim *s, uint32_t i)
{
    return &s->nodes->at[i];
}
/* Numbers in the value of a node of that type */
static inline size_t sim_len(const struct sim *s, const struct type *t)
{
    return sim_value_len(t) * s->lanes;
}
/* Operands of all nodes but pmac and those that share are not turned. */
static inline const double *sim_arg(const struct sim *s, const struct node *n, uint32_t k)
{
    return s->value[n->args[k]];
}
static inline const double *sim_arg_imag(const struct sim *s, const struct node *n, uint32_t k)
{
    return s->imag[n->args[k]];
}
static inline const struct type *sim_arg_type(const struct sim *s, const struct node *n, uint32_t k)
{
    return &s->nodes->at[n->args[k]].type;
}

/* ---- noise.c */
void sim_seed(struct sim_rng *r, uint64_t seed);
double sim_uniform(struct sim_rng *r); /* [0, 1) */
double sim_normal(struct sim_rng *r);
void sim_noise_begin(struct sim *s, uint64_t seed);
/* Adds the error of node i, whose exact value has just been computed, to the value. */
void sim_noise(struct sim *s, uint32_t i);

/* Variances, in units of the slot value squared, of the real part of one slot; the derivations are
 * in noise.c. n_coeffs: coefficients that are not zero (N, or 2p for a vector of period p). */
double sim_var_encoding(double n_coeffs, double scale);
double sim_var_fresh(double ring_n, double scale);
double sim_var_mod_down(double ring_n, double scale, double secret, uint32_t parts);
double sim_var_digit(double ring_n, double scale, double log2_digit, double log2_p);
double sim_var_encoding_complex(double n_coeffs, double scale);

/* ---- packed.c: dft_apply() on the lanes of n slots */
void sim_transform(struct sim *s, const struct ldft *f, uint32_t n, double *re, double *im);

/* ---- nn.c, packed.c, boot.c: one function a row of ops.def that is not a constant. Called with the
 * operands' values in place; sets the value of node i with sim_result() (output: s->result). */
typedef void sim_op(struct sim *s, uint32_t i);
#define SIM_DECLARE_C(name)
#define SIM_DECLARE_N(name)                                    sim_op sim_op_##name;
#define SIM_DECLARE_NSK(name)                                  sim_op sim_op_##name;
#define SIM_DECLARE_S(name)                                    sim_op sim_op_##name;
#define SIM_DECLARE_SK(name)                                   sim_op sim_op_##name;
#define SIM_DECLARE_K(name)                                    sim_op sim_op_##name;
#define OP(name, stages, operands, result, attrs, flags, call) SIM_DECLARE_##stages(name)
#include "ops.def"

#endif
