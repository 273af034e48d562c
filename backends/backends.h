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
typedef void sim_hook(void *ctx, uint32_t index, const struct node *n, const double *value,
                      size_t len);

struct sim_options {
    bool
        noise; /* ckks: add Gaussian errors of the modelled variances (rounding, key switching, encoding) */
    uint64_t seed; /* of the noise */
    sim_hook *hook;
    void *ctx;
    bool
        any_order; /* the hook may be called by several threads, one at a time, images in any order */
};
/* image: normalised [C][H][W]; result: [num_outputs]. o may be NULL. Prepared state (diagonals,
 * plaintexts) is rebuilt on every call unless a struct sim is used. */
void sim_run(struct prog *p, const struct sim_options *o, const double *image, double *result);

/* For many images: prepares plaintexts once. Lives in its own arena. */
struct sim *sim_open(struct prog *p);
void sim_image(struct sim *s, const struct sim_options *o, const double *image, double *result);
/* The same of a network of stage nn that the program carries: sim_reference_nodes(), or packed */
struct sim *sim_open_network(struct prog *p, const struct nodes *nodes);
/* `count` images, faster than one after the other. The hook gets several at once: value k of image j of
 * them at [k * lanes + j], len counts all. */
void sim_images(struct sim *s, const struct sim_options *o, const double *const *images,
                double *const *results, uint32_t count);
void sim_close(struct sim *s);

/* Nodes of the reference network: prog.reference, or those of an nn-stage program itself. */
const struct nodes *sim_reference_nodes(const struct prog *p);
/* The reference network (prog.reference, or an nn-stage program itself) straight from the definitions. */
void sim_reference(struct prog *p, const double *image, double *result);

/* What `count` images give on the reference network, and the first `trials` of them with noise (ckks). Images
 * are drawn uniformly from the input range (fixed seed) where none are given. */
struct sim_trials {
    uint32_t outputs, count, trials;
    double **clear, **noisy; /* [count], [trials] */
};
struct sim_trials sim_trials(struct prog *p, const double *const *images, uint32_t count,
                             uint32_t trials, struct arena *a);
/* Predicted bound of |result - clear result|: six standard deviations of the result that is most wrong; 0: not
 * known, some left the range of numbers */
double sim_trials_bound(const struct sim_trials *t);
/* Both, of `trials` images */
double sim_error_bound(struct prog *p, const double *const *images, uint32_t trials);

/* ---- c/ ------------------------------------------------------------------------------------- */

struct c_output {
    struct str model_c;     /* the server's program: one function a layer */
    struct str interface_c; /* what client and server share: parameters, packing, labels */
    struct str clear_c;     /* the network on plain numbers, for the all-in-one binary */
    struct str data;        /* model data file, bytes (runtime/rt.h) */
};
/*
 * p: ckks stage after ckks_regs. node_ns: predicted time of every node, [p->nodes.len] (the cost model
 * is not for backends to see), or NULL. Deterministic; the text names neither paths nor times.
 *
 * The files define `const struct rt_program weft_program` (model_c), `const struct rt_interface
 * weft_interface` (interface_c) and `const struct rt_clear_program weft_clear` (clear_c; its `run` is
 * NULL when the program carries no reference network).
 */
void c_emit(struct prog *p, const struct node_ns *node_ns, struct c_output *out, struct arena *a);

/*
 * What the layers of a ckks program take. A row is a layer, or the bootstraps after it; steps are the
 * functions of the C program in the order in which they run, several a row where the schedule comes back.
 */
struct layer_row {
    const char *layer; /* "program": nodes of no layer */
    struct loc loc;
    bool bootstrap;
    struct node_ns ns; /* predicted; 0 without node_ns */
    int32_t level_in, level_out;
    double scale_bits; /* log2 of the scale of the result */
    uint32_t rotations;
    uint32_t key_switches; /* products with a key: rotations, relinearisations, ... */
    uint32_t decompositions;
    uint32_t pt_products;
    uint32_t offsets; /* different rotations between operand and result of its maps */
    uint32_t period;  /* of its plaintexts, the longest; 0: it has none */
    uint32_t num_ct;  /* of its result; of bootstraps, how many */
    double fill;      /* share of their slots that hold the tensor */
};
struct layer_step {
    uint32_t first,
        last; /* nodes; those before `first` and after the last step belong to this one */
    uint32_t row;
};
struct layer_rows {
    struct layer_row *row;
    struct layer_step *step;
    uint32_t len, num_steps;
};
struct layer_rows c_layer_rows(const struct prog *p, const struct node_ns *node_ns,
                               struct arena *a);

/* ---- dot/ ----------------------------------------------------------------------------------- */
void dot_emit(const struct prog *p, struct str *out);

#endif
