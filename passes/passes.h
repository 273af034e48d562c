/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_PASSES_H
#define WEFT_PASSES_H

/* The passes: one file a pass, one exported function of the same name. An annotating pass returns
 * its argument, a rebuilding one a new program in the same arena. */

#include "ir.h"

typedef struct prog *pass_fn(struct prog *in, const struct opts *o);
#define PASS(name, from, to, text) struct prog *name(struct prog *in, const struct opts *o);
#include "passes.def"

struct pass_info {
    const char *name, *text;
    enum stage from, to;
    pass_fn *run;
};
extern const struct pass_info pass_info[];
extern const uint32_t num_passes;
uint32_t pass_find(const char *name); /* NONE when there is none */

/* Called after each pass (and its verification); may be NULL. ms: wall time of the pass. */
typedef void pass_hook(void *ctx, const struct pass_info *pass, const struct prog *after,
                       double ms);

/* Run passes [first, last] of the pipeline in order, verifying after each. The program's stage must
 * be the first pass's input stage. */
struct prog *pipeline_run(struct prog *p, uint32_t first, uint32_t last, const struct opts *o,
                          pass_hook *hook, void *ctx);

/* The last pass whose traces the program shows (layouts, parameters, levels, ...); NONE: none. Passes
 * up to it cannot run on it again. */
uint32_t pipeline_ran(const struct prog *p);

/* ---- shared by passes ----------------------------------------------------------------------- */

struct level_plan;
struct cost_ring {
    uint32_t log_n, alpha, num_p;
};

/* slot_bsgs.c, ckks_hoist.c: the passes on the nodes of one program whose ring is known, of a function
 * under construction above all. level [nodes.len]: where each node's operands are, wanted of lin only.
 * rules: levels and phases are planned with what this plan says of them (its at[] is not read). */
struct prog *slot_bsgs_at(struct prog *in, struct cost_ring ring, const int *level);
struct prog *ckks_hoist_at(struct prog *in, struct cost_ring ring, const struct level_plan *rules);

/* cse.c: merge equal PURE nodes, then drop unused ones. Any stage; functions are left alone. */
struct prog *prog_clean(struct prog *in);
/* cse.c: drop constants, layouts and maps that neither nodes nor reference use; numbers change. */
struct prog *prog_compact(struct prog *in);

/* boot_summary.c: the bootstraps of a program after ckks_expand */
struct boot_summary {
    uint32_t bootstraps;     /* that one run makes */
    double log2_failure;     /* of the probability that any of them leaves the range of its sine */
    double sparse_bits;      /* log2 q_0 p_0, */
    double most_sparse_bits; /* and the most with which the sparse secret has 128 bits */
};
struct boot_summary boot_summary(const struct prog *p);

/* ---- cost.c: the one cost model. Figures (nanoseconds, one thread) from cost.def or opts.cost_path */
double cost_ntt(uint32_t log_n);       /* one limb */
double cost_pointwise(uint32_t log_n); /* one limb: add, or multiply */
double cost_mac(uint32_t log_n);       /* one limb of a plaintext or key product */
double cost_decompose(struct cost_ring r, int level);
double cost_key_mul(struct cost_ring r, int level);
double cost_key_mul_add(struct cost_ring r, int level); /* and the sum that takes it */
double cost_mod_down(struct cost_ring r, int level);
double cost_raised_mul(struct cost_ring r, int level);
double cost_rescale(struct cost_ring r, int level);
double cost_pmac(struct cost_ring r, int level, bool extended, uint32_t terms);
/* The same where all plaintexts repeat with `period` slots. Extended products are part of a transform
 * (ckks_group), in which operands come from a cache. */
double cost_pmac_period(struct cost_ring r, int level, bool extended, uint32_t terms,
                        uint32_t period);
/* key_mul, and raised_mul, where only extended products take it: computed inside their transform */
double cost_inner_key_mul(struct cost_ring r, int level);
double cost_inner_raised_mul(struct cost_ring r, int level);
/* ckks node with level known, else 0. A call costs what its function does. */
double cost_node(const struct prog *p, const struct node *n);
double cost_prog(const struct prog *p);
/* The same, with what is added where nothing is kept: passes choose by the kept time */
struct node_ns cost_node_times(const struct prog *p, const struct node *n);
struct node_ns cost_prog_times(const struct prog *p);
double cost_once(struct node_ns ns);                                /* one image */
double cost_served(struct node_ns ns, const struct prog_memory *m); /* an image of several */
/* Read figures (text, "key value" a line); false and *why on a bad file. */
bool cost_load(const char *path, const char **why);

#endif
