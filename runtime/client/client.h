/* SPDX-License-Identifier: Apache-2.0 */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

/* The folder's own interface: the only objects in which a secret key exists. */

#include "core/core.h"
#include "rt_client.h"

struct rt_secret {
    struct core_ctx *ctx;
    uint64_t model_hash, key_id;
    uint64_t *s; /* evaluation form over all q and all p; wiped before it is freed */
};

/*
 * While a secret is in memory the process leaves no core dump and cannot be traced by its user's
 * other processes. Calls nest; the last end restores the traceability (not the core size limit).
 */
void rt_client_guard_begin(void);
void rt_client_guard_end(void);

/*
 * Ternary coefficients -> rt_secret with tables for `model`. The coefficients stay the caller's to
 * wipe. Begins a guard that rt_secret_free ends.
 */
enum rt_status rt_client_secret_make(rt_secret **out, struct core_ctx *ctx, uint64_t model_hash,
                                     uint64_t key_id, const int8_t *coefficients,
                                     struct rt_error *err);

/* Was the secret loaded for this model? */
enum rt_status rt_client_same_model(const rt_secret *s, const struct rt_interface *model,
                                    struct rt_error *err);

/* Wipes and frees; NULL is allowed. */
void rt_client_free(void *p, size_t bytes);

/* Discrete Gaussian of the ring's sigma, evaluation form over b. work: N words, wiped. */
void rt_client_noise(const struct ring *r, uint64_t *out, struct ring_basis b,
                     const uint8_t seed[SYS_SEED_BYTES], uint64_t stream, int64_t *work);

#endif
