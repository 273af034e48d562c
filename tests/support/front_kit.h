/* SPDX-License-Identifier: Apache-2.0 */
#ifndef FRONT_KIT_H
#define FRONT_KIT_H

/* Helpers for tests of the front end: diagnostics are caught instead of ending the process. */

#include "compiler.h"

/* Runs f(a, ctx). True when it ended through diag_fatal(), diag_check() or (then *bug) BUG(). *said
 * is all that it reported, warnings too, in the arena. */
bool front_catch(struct arena *a, void (*f)(struct arena *a, void *ctx), void *ctx, bool *bug,
                 const char **said);

/* The program of a model given as text, files looked for in `folder` ("" or "dir/"); NULL and the
 * reports in *said when it is refused. A BUG() fails the calling test. */
struct prog *front_model(struct arena *a, const char *folder, const char *text, const char **said);
struct yaml *front_yaml(struct arena *a, const char *text, const char **said);

/* Writes a safetensors file of F32 tensors with the values 1/8, 2/8, ... and returns its folder
 * (with the slash): a temporary one that is removed at exit. */
struct front_tensor {
    const char *name;
    uint32_t rank, dims[4];
};
const char *front_weights(const char *file, const struct front_tensor *t, uint32_t num);

#endif
