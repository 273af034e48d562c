/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_BACKENDS_H
#define WEFT_BACKENDS_H

/* What a program is turned into: its meaning (sim), C (c), pictures (dot). */

#include "ir.h"

#ifndef WEFT_VERSION /* the Makefile says it */
#define WEFT_VERSION "0.1.0"
#endif

/* ---- sim/: runs any stage in doubles; the meaning of every op ------------------------------- */

/* Called after each node with its value(s): TENSOR [C][H][W], else the n slots. May be NULL. */
typedef void sim_hook(void *ctx, uint32_t index, const struct node *n, const double *value, size_t len);

struct sim_options {
    bool noise;       /* ckks: add Gaussian errors of the modelled variances (rounding, key switching, encoding) */
    uint64_t seed;    /* of the noise */
    sim_hook *hook;
    void *ctx;
};
/* image: normalised [C][H][W]; result: [num_outputs]. o may be NULL. Prepared state (diagonals,
 * plaintexts) is rebuilt on every call unless a struct sim is used. */
void sim_run(struct prog *p, const struct sim_options *o, const double *image, double *result);

/* For many images: prepares plaintexts once. Lives in its own arena. */
struct sim *sim_open(struct prog *p);
void sim_image(struct sim *s, const struct sim_options *o, const double *image, double *result);
void sim_close(struct sim *s);

/* The reference network (prog.reference, or an nn-stage program itself) straight from the definitions. */
void sim_reference(struct prog *p, const double *image, double *result);

/* Predicted bound of |result - clear result|: six standard deviations of the noise simulation over
 * `trials` images, the images drawn uniformly from the input range (fixed seed) unless given. */
double sim_error_bound(struct prog *p, const double *const *images, uint32_t trials);

/* ---- c/ ------------------------------------------------------------------------------------- */

struct c_output {
    struct str model_c;      /* the server's program: one function a layer */
    struct str interface_c;  /* what client and server share: parameters, packing, labels */
    struct str clear_c;      /* the network on plain numbers, for the all-in-one binary */
    struct str data;         /* model data file, bytes (runtime/rt.h) */
};
/*
 * p: ckks stage after ckks_regs. node_ns: predicted time of every node, [p->nodes.len] (the cost model
 * is not for backends to see), or NULL. Deterministic; the text names neither paths nor times.
 *
 * The files define `const struct rt_program weft_program` (model_c), `const struct rt_interface
 * weft_interface` (interface_c) and `const struct rt_clear_program weft_clear` (clear_c; its `run` is
 * NULL when the program carries no reference network).
 */
void c_emit(struct prog *p, const double *node_ns, struct c_output *out, struct arena *a);

/* ---- dot/ ----------------------------------------------------------------------------------- */
void dot_emit(const struct prog *p, struct str *out);

#endif
