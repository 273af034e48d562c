/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_EVAL_H
#define WEFT_EVAL_H

/* weft eval: eval.c (the command), eval_state.c (what can be resumed), eval_run.c (the program that works
 * on encrypted images), eval_report.c. */

#include "compiler.h"

struct eval {
    const struct cli *cli;
    struct arena *a;
    struct driver d;
    struct prog *p;
    struct images images;
    uint64_t key;     /* of the work: a state of other work is refused */
    const char *path; /* of the state */
    struct score simulated, encrypted;
    struct score clear;   /* only classes */
    double infer_seconds; /* of all encrypted images */
    struct survey survey;
    double saved;     /* when the state was written */
    const char *what; /* being done, for the progress line */
    double began;
    uint64_t from; /* images that were done when it began */
};

/* ---- eval_state.c */
void eval_save(struct eval *e);
void eval_load(struct eval *e); /* --resume; refuses the state of other work */

/* ---- eval.c */
void eval_begin(struct eval *e, const char *what, uint64_t from);
/* After each image: progress, the state now and then; ends the program when the user interrupted it. */
void eval_step(struct eval *e, uint64_t done, uint64_t all);

/* ---- eval_run.c: encrypted images [first, end) through the program */
void eval_encrypted(struct eval *e, uint64_t end);
/* --program: there, and of this model */
void eval_check_program(struct eval *e);

/* ---- eval_report.c */
void eval_report(const struct eval *e);
void eval_json(const struct eval *e, struct str *out);

#endif
