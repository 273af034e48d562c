/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The secret key: payload of kind 1 is u64 N, 56 bytes 0, then N bytes in {-1, 0, 1}.
 * Its coefficients are stored, not a seed: a seed of the secret is never on disk.
 */
#include "client/client.h"

#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>

static atomic_int guards;
static atomic_int was_dumpable = 1;

void rt_client_guard_begin(void)
{
    if (atomic_fetch_add(&guards, 1) == 0) {
        atomic_store(&was_dumpable, prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
        (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
        struct rlimit none;
        if (getrlimit(RLIMIT_CORE, &none) == 0) {
            none.rlim_cur = 0;
            (void)setrlimit(RLIMIT_CORE, &none);
        }
    }
}

void rt_client_guard_end(void)
{
    if (atomic_fetch_sub(&guards, 1) == 1 && atomic_load(&was_dumpable) == 1) {
        (void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    }
}

void rt_client_free(void *p, size_t bytes)
{
    if (p != NULL) {
        sys_wipe(p, bytes);
        sys_free(p);
    }
}

static struct ring_basis whole(const struct ring *r)
{
    return (struct ring_basis){r->n_q - 1, r->n_p};
}

enum rt_status rt_client_secret_make(rt_secret **out, struct core_ctx *ctx, uint64_t model_hash,
                                     uint64_t key_id, const int8_t *coefficients,
                                     struct rt_error *err)
{
    const struct ring *r = ctx->ring;
    size_t words = ring_words(r, whole(r));
    rt_secret *s = sys_alloc(sizeof *s);
    uint64_t *wide = sys_alloc_array(words, sizeof *wide);
    int64_t *work = sys_alloc_array(r->n, sizeof *work);
    if (s == NULL || wide == NULL || work == NULL) {
        sys_free(s);
        sys_free(wide);
        sys_free(work);
        return core_no_memory(err, "secret key");
    }
    rt_client_guard_begin();
    (void)mlock(wide, words * sizeof *wide); /* where the limit on locked memory allows it */
    for (size_t i = 0; i < r->n; i++) {
        work[i] = coefficients[i];
    }
    ring_from_i64(r, wide, work, r->log_n, whole(r));
    ring_ntt(r, wide, wide, whole(r));
    rt_client_free(work, r->n * sizeof *work);
    *s = (struct rt_secret){ctx, model_hash, key_id, wide};
    *out = s;
    return RT_OK;
}

void rt_secret_free(rt_secret *s)
{
    if (s == NULL) {
        return;
    }
    size_t bytes = ring_words(s->ctx->ring, whole(s->ctx->ring)) * sizeof *s->s;
    sys_wipe(s->s, bytes);
    (void)munlock(s->s, bytes); /* not before it is wiped */
    sys_free(s->s);
    core_ctx_close(s->ctx);
    rt_client_free(s, sizeof *s);
    rt_client_guard_end();
}

enum rt_status rt_client_same_model(const rt_secret *s, const struct rt_interface *model,
                                    struct rt_error *err)
{
    return s->model_hash == model->model_hash
               ? RT_OK
               : core_fail(err, RT_ERR_MISMATCH, "%s: the secret key was loaded for another model",
                           model->name);
}

uint64_t rt_secret_key_id(const rt_secret *s)
{
    return s->key_id;
}

/* The payload's own rules; f is a checked container. */
static enum rt_status check_payload(const struct core_file *f, const char *path, size_t n,
                                    struct rt_error *err)
{
    uint64_t head[8];
    if (f->header.payload != sizeof head + n) {
        return core_fail(err, RT_ERR_FORMAT, "%s: %llu bytes of key, %zu expected", path,
                         (unsigned long long)f->header.payload, sizeof head + n);
    }
    memcpy(head, f->payload, sizeof head);
    uint64_t bad = head[0] ^ n;
    for (size_t i = 1; i < 8; i++) {
        bad |= head[i];
    }
    /* no branch on a coefficient: bit 2 and above of c + 1, or both low bits, mean c is no trit */
    const uint8_t *c = f->payload + sizeof head;
    for (size_t i = 0; i < n; i++) {
        uint8_t t = (uint8_t)(c[i] + 1u);
        bad |= (uint64_t)(t & 0xfcu) | (t & (t >> 1) & 1u);
    }
    return bad == 0 ? RT_OK : core_fail(err, RT_ERR_FORMAT, "%s: malformed secret key", path);
}

enum rt_status rt_secret_load(rt_secret **out, const struct rt_interface *model, const char *path,
                              struct rt_error *err)
{
    *out = NULL;
    if (!sys_random_init()) {
        return core_fail(err, RT_ERR_RANDOM, "%s: no system randomness", model->name);
    }
    struct core_ctx *ctx;
    enum rt_status status = core_ctx_open(&ctx, model, err);
    if (status != RT_OK) {
        return status;
    }
    rt_client_guard_begin(); /* the mapping is secret too */
    struct core_file f;
    const struct core_expect want = {RT_KIND_SECRET_KEY, ctx, model->model_hash, 0};
    status = core_file_open(&f, path, &want, err);
    if (status == RT_OK) {
        status = check_payload(&f, path, ctx->ring->n, err);
    }
    if (status == RT_OK) {
        status = rt_client_secret_make(out, ctx, model->model_hash, f.header.key_id,
                                       (const int8_t *)f.payload + 64, err);
    }
    core_file_close(&f);
    rt_client_guard_end();
    if (status != RT_OK) {
        core_ctx_close(ctx);
    }
    return status;
}

void rt_client_noise(const struct ring *r, uint64_t *out, struct ring_basis b,
                     const uint8_t seed[SYS_SEED_BYTES], uint64_t stream, int64_t *work)
{
    ring_gaussian(r, work, seed, stream);
    ring_from_i64(r, out, work, r->log_n, b);
    ring_ntt(r, out, out, b);
    sys_wipe(work, r->n * sizeof *work);
}
