/* SPDX-License-Identifier: Apache-2.0 */
#ifndef WEFT_RT_CLIENT_H
#define WEFT_RT_CLIENT_H

/*
 * The client's side: keys, encryption, decryption. Nothing here needs the weights. Secret material
 * is wiped before it is freed; the secret key's file has mode 0600. All files are written to a
 * temporary name and renamed, so that a failure leaves nothing half-written.
 */

#include "rt.h"

/* Makes DIR (if needed) with `secret.weft` (0600) and `eval.weft` (the evaluation keys that the
 * program uses, seeded: only the halves that cannot be regenerated). Refuses to overwrite a
 * secret key unless force. */
RT_MUST_CHECK enum rt_status rt_keygen(const struct rt_interface *model, const char *dir,
                                       bool force, int threads, struct rt_error *err);

typedef struct rt_secret rt_secret;
RT_MUST_CHECK enum rt_status rt_secret_load(rt_secret **out, const struct rt_interface *model,
                                            const char *path, struct rt_error *err);
void rt_secret_free(rt_secret *s); /* wipes */
uint64_t rt_secret_key_id(const rt_secret *s);

/* image: [c][h][w] raw values (the interface's range); normalised, packed, encoded and encrypted
 * under the secret key (c1 is a seed: half the bytes). */
RT_MUST_CHECK enum rt_status rt_encrypt(const rt_secret *s, const struct rt_interface *model,
                                        const double *image, const char *ct_path,
                                        struct rt_error *err);

/* result: [num_outputs]. A ciphertext of another model, key or level is refused. */
RT_MUST_CHECK enum rt_status rt_decrypt(const rt_secret *s, const struct rt_interface *model,
                                        const char *ct_path, double *result, struct rt_error *err);

/* How far a register (rt_eval_watch) is from ciphertext `part` of a tensor [c][h][w] packed by `packing`: the
 * largest difference of its n slots, read at `scale`. For debug builds. */
RT_MUST_CHECK enum rt_status rt_decrypt_compare(const rt_secret *s,
                                                const struct rt_interface *model,
                                                const struct rt_view *value, double scale,
                                                uint32_t n, const struct rt_packing *packing,
                                                uint32_t part, const double *tensor, double *error,
                                                struct rt_error *err);

#endif
