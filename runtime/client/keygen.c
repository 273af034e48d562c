/* SPDX-License-Identifier: Apache-2.0 */
#include "client/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Work memory is for one key at a time; its limbs are made in parallel. */
struct keygen {
    const struct rt_interface *model;
    rt_secret *secret;
    struct core_key_record *records;
    uint64_t *square; /* s^2, over all primes */
    uint64_t *sparse; /* the secret of raised values, over all primes; NULL: there is none */
    size_t square_words;
    uint64_t p_mod_q[RING_MAX_PRIMES];
    uint8_t noise_seed[SYS_SEED_BYTES]; /* of all errors, wiped */
    uint64_t *b;                        /* the digits of the largest key */
    int64_t *noise;                     /* an error for each digit */
    uint64_t *work;                     /* three limbs for each slice */
    size_t b_words, noise_words, work_words, slices;
};

/* What key `spec` is made of (core.h), over all primes: -a sigma^-1(under) + e + g target. */
struct recipe {
    const uint64_t *under, *target;
    uint64_t galois; /* of sigma^-1; 1: none */
};

static struct recipe recipe_of(const struct keygen *k, const struct rt_key_spec *spec)
{
    const struct ring *r = k->secret->ctx->ring;
    uint64_t *s = k->secret->s;
    switch ((enum rt_key_kind)spec->kind) {
    case RT_KEY_RELINEARISE:
        return (struct recipe){s, k->square, 1};
    case RT_KEY_ROTATE:
        return (struct recipe){s, s, ring_galois(r, -(long)spec->by)};
    case RT_KEY_CONJUGATE:
        return (struct recipe){s, s, 2 * (uint64_t)r->n - 1};
    case RT_KEY_ENCAPSULATE:
        return (struct recipe){k->sparse, s, 1};
    case RT_KEY_RAISED:
        break;
    }
    return (struct recipe){s, k->sparse, ring_galois(r, -(long)spec->by)};
}

/* The factor of the target in digit j modulo q_limb. */
static uint64_t gadget(const struct keygen *k, const struct rt_key_spec *spec, size_t limb,
                       unsigned j)
{
    const struct ring *r = k->secret->ctx->ring;
    switch (spec->kind) {
    case RT_KEY_ENCAPSULATE:
        return r->residue[(size_t)r->n_q * ((size_t)r->n_q + r->n_p)]; /* p_0 mod q_0 */
    case RT_KEY_RAISED:
        return k->p_mod_q[limb];
    default:
        return limb / k->secret->ctx->alpha == j ? k->p_mod_q[limb] : 0;
    }
}

/*
 * Limb `limb` of all b_j of core.h, j < digits, times 2^52: what is drawn is 2^52 a_j. The secrets
 * are stored over all primes; that of limb i of a key at a lower level is found by its prime.
 */
static void make_limb(const struct keygen *k, const struct rt_key_spec *spec, const uint8_t *seed,
                      const struct core_key_shape *shape, size_t limb, uint64_t *work)
{
    const struct ring *r = k->secret->ctx->ring;
    const struct recipe recipe = recipe_of(k, spec);
    size_t prime = ring_prime(r, shape->basis, limb);
    const struct ntt_table *t = &r->ntt[prime];
    uint64_t *rotated = work;
    uint64_t *a = work + r->n;
    uint64_t *out = work + 2 * r->n;
    const uint64_t *s = recipe.under + prime * r->n;
    const uint64_t *target = recipe.target + prime * r->n;
    if (recipe.galois != 1) {
        r->k.gather(rotated, s, recipe.galois, r->log_n, 0, r->n);
        s = rotated;
    }
    for (unsigned j = 0; j < shape->digits; j++) {
        r->k.from_i64(out, k->noise + j * r->n, r->n, &t->mod);
        r->k.ntt(out, out, t, r->log_n);
        uint64_t g = limb <= shape->basis.level ? gadget(k, spec, limb, j) : 0;
        if (g != 0) {
            r->k.mul_const_add(out, out, target, g, mod_shoup(g, t->mod.q), r->n, t->mod.q);
        }
        r->k.mul_const(out, out, t->mod.r52, t->mod.r52s, r->n, t->mod.q);
        ring_uniform_limb(r, a, prime, seed, j);
        r->k.mul(a, a, s, r->n, &t->mod);
        r->k.sub(out, out, a, r->n, t->mod.q);
        core_key_place(k->b + limb * shape->digits * r->n, out, j, shape->digits, r->n);
    }
}

/* All b halves in the order of the file. */
static enum rt_status write_halves(struct keygen *k, struct core_writer *w, struct rt_error *err)
{
    const struct ring *r = k->secret->ctx->ring;
    uint64_t stream = 0; /* of an error, another for every digit of every key */
    for (uint32_t key = 0; key < k->model->num_keys; key++) {
        const struct rt_key_spec *spec = &k->model->keys[key];
        const struct core_key_shape shape = core_key_shape(k->secret->ctx, spec);
        SYS_PARALLEL_FOR
        for (unsigned j = 0; j < shape.digits; j++) {
            ring_gaussian(r, k->noise + j * r->n, k->noise_seed, stream + j);
        }
        stream += shape.digits;
        size_t limbs = ring_limbs(shape.basis);
        SYS_PARALLEL_FOR
        for (size_t slice = 0; slice < k->slices; slice++) {
            for (size_t limb = slice; limb < limbs; limb += k->slices) {
                make_limb(k, spec, k->records[key].seed, &shape, limb, k->work + slice * 3 * r->n);
            }
        }
        size_t words = shape.digits * shape.poly_words;
        enum rt_status status = core_writer_put(w, k->b, words * sizeof *k->b, err);
        if (status != RT_OK) {
            return status;
        }
    }
    return RT_OK;
}

static struct core_header header(const struct keygen *k, enum rt_kind kind, uint64_t payload)
{
    struct core_header h;
    memset(&h, 0, sizeof h);
    h.kind = (uint32_t)kind;
    h.flags = k->secret->ctx->insecure ? CORE_FLAG_INSECURE : 0;
    h.fingerprint = k->secret->ctx->fingerprint;
    h.model_hash = k->model->model_hash;
    h.key_id = k->secret->key_id;
    h.payload = payload;
    return h;
}

static enum rt_status write_eval(struct keygen *k, const char *path, struct core_writer **w,
                                 struct rt_error *err)
{
    const struct core_ctx *ctx = k->secret->ctx;
    uint64_t at = core_keys_first(k->model);
    for (uint32_t i = 0; i < k->model->num_keys; i++) {
        struct core_key_shape s = core_key_shape(ctx, &k->model->keys[i]);
        k->records[i].by = k->model->keys[i].by;
        k->records[i].level = k->model->keys[i].level;
        k->records[i].kind = k->model->keys[i].kind;
        k->records[i].digits = s.digits;
        k->records[i].offset = at;
        sys_random(k->records[i].seed, sizeof k->records[i].seed);
        at += (uint64_t)s.digits * s.poly_words * sizeof(uint64_t);
    }
    struct core_header h = header(k, RT_KIND_EVAL_KEYS, core_keys_bytes(ctx, k->model));
    enum rt_status status = core_writer_open(w, path, &h, err);
    const uint64_t head[8] = {k->model->num_keys, 0, 0, 0, 0, 0, 0, 0};
    if (status == RT_OK) {
        status = core_writer_put(*w, head, sizeof head, err);
    }
    if (status == RT_OK) {
        status = core_writer_put(*w, k->records, k->model->num_keys * sizeof *k->records, err);
    }
    if (status == RT_OK) {
        status = write_halves(k, *w, err);
    }
    return status == RT_OK ? core_writer_finish(*w, err) : status;
}

static enum rt_status write_secret(const struct keygen *k, const char *path,
                                   const int8_t *coefficients, struct core_writer **w,
                                   struct rt_error *err)
{
    size_t n = k->secret->ctx->ring->n;
    const uint64_t head[8] = {n, 0, 0, 0, 0, 0, 0, 0};
    struct core_header h = header(k, RT_KIND_SECRET_KEY, sizeof head + n);
    enum rt_status status = core_writer_open(w, path, &h, err);
    if (status == RT_OK) {
        status = core_writer_put(*w, head, sizeof head, err);
    }
    if (status == RT_OK) {
        status = core_writer_put(*w, coefficients, n, err);
    }
    return status == RT_OK ? core_writer_finish(*w, err) : status;
}

/* The second secret, from a seed that nobody keeps. It exists in this memory only. */
static enum rt_status draw_sparse(struct keygen *k, struct rt_error *err)
{
    const struct ring *r = k->secret->ctx->ring;
    struct ring_basis all = {r->n_q - 1, r->n_p};
    int64_t *coefficients = sys_alloc_array(r->n, sizeof *coefficients);
    k->sparse = sys_alloc_array(k->square_words, sizeof *k->sparse);
    if (coefficients == NULL || k->sparse == NULL) {
        sys_free(coefficients);
        return core_no_memory(err, "key generation");
    }
    (void)mlock(k->sparse, k->square_words * sizeof *k->sparse); /* as in secret.c */
    uint8_t seed[SYS_SEED_BYTES];
    sys_random(seed, sizeof seed);
    ring_ternary_sparse(r, coefficients, k->model->params.sparse_weight, seed, 0);
    sys_wipe(seed, sizeof seed);
    ring_from_i64(r, k->sparse, coefficients, r->log_n, all);
    ring_ntt(r, k->sparse, k->sparse, all);
    rt_client_free(coefficients, r->n * sizeof *coefficients);
    return RT_OK;
}

/* Memory, s^2, the sparse secret and the constants. */
static enum rt_status prepare(struct keygen *k, struct rt_error *err)
{
    const struct ring *r = k->secret->ctx->ring;
    struct ring_basis all = {r->n_q - 1, r->n_p};
    size_t digits = 0;
    for (uint32_t i = 0; i < k->model->num_keys; i++) {
        struct core_key_shape s = core_key_shape(k->secret->ctx, &k->model->keys[i]);
        size_t words = s.digits * s.poly_words;
        digits = s.digits > digits ? s.digits : digits;
        k->b_words = words > k->b_words ? words : k->b_words;
    }
    k->square_words = ring_words(r, all);
    k->slices = (size_t)sys_threads();
    k->noise_words = digits * r->n;
    k->work_words = k->slices * 3 * r->n;
    k->records = sys_alloc_array((size_t)k->model->num_keys + 1, sizeof *k->records);
    k->square = sys_alloc_array(k->square_words, sizeof *k->square);
    k->b = sys_alloc_array(k->b_words + 1, sizeof *k->b);
    k->noise = sys_alloc_array(k->noise_words + 1, sizeof *k->noise);
    k->work = sys_alloc_array(k->work_words, sizeof *k->work);
    if (k->records == NULL || k->square == NULL || k->b == NULL || k->noise == NULL ||
        k->work == NULL) {
        return core_no_memory(err, "key generation");
    }
    ring_mul(r, k->square, k->secret->s, k->secret->s, all);
    ring_p_residues(r, k->p_mod_q, all);
    sys_random(k->noise_seed, sizeof k->noise_seed);
    return k->model->params.sparse_weight == 0 ? RT_OK : draw_sparse(k, err);
}

static void release(struct keygen *k)
{
    if (k->sparse != NULL) {
        size_t bytes = k->square_words * sizeof *k->sparse;
        sys_wipe(k->sparse, bytes);
        (void)munlock(k->sparse, bytes); /* not before it is wiped */
        sys_free(k->sparse);
    }
    rt_client_free(k->square, k->square_words * sizeof *k->square);
    rt_client_free(k->noise, k->noise_words * sizeof *k->noise);
    rt_client_free(k->work, k->work_words * sizeof *k->work);
    rt_client_free(k->b, k->b_words * sizeof *k->b);
    sys_free(k->records);
    rt_secret_free(k->secret);
    sys_wipe(k, sizeof *k);
}

/* Fresh secret: coefficients (int8_t[N], the caller's to wipe) and its rt_secret. */
static enum rt_status draw_secret(rt_secret **out, const struct rt_interface *model,
                                  int8_t **coefficients, struct rt_error *err)
{
    struct core_ctx *ctx;
    enum rt_status status = core_ctx_open(&ctx, model, err);
    if (status != RT_OK) {
        return status;
    }
    size_t n = ctx->ring->n;
    *coefficients = sys_alloc(n);
    int64_t *wide = sys_alloc_array(n, sizeof *wide);
    if (*coefficients == NULL || wide == NULL) {
        status = core_no_memory(err, "key generation");
    } else {
        uint8_t seed[SYS_SEED_BYTES];
        sys_random(seed, sizeof seed);
        ring_ternary(ctx->ring, wide, seed, 0);
        sys_wipe(seed, sizeof seed);
        for (size_t i = 0; i < n; i++) {
            (*coefficients)[i] = (int8_t)wide[i];
        }
        uint64_t id = 0;
        while (id == 0) {
            sys_random(&id, sizeof id);
        }
        status = rt_client_secret_make(out, ctx, model->model_hash, id, *coefficients, err);
    }
    rt_client_free(wide, n * sizeof *wide);
    if (status != RT_OK) {
        core_ctx_close(ctx);
    }
    return status;
}

static enum rt_status generate(const struct rt_interface *model, const char *secret_path,
                               const char *eval_path, struct rt_error *err)
{
    struct keygen k;
    memset(&k, 0, sizeof k);
    k.model = model;
    int8_t *coefficients = NULL;
    struct core_writer *eval = NULL;
    struct core_writer *secret = NULL;
    enum rt_status status = draw_secret(&k.secret, model, &coefficients, err);
    if (status == RT_OK) {
        status = prepare(&k, err);
    }
    if (status == RT_OK) {
        status = write_eval(&k, eval_path, &eval, err);
    }
    if (status == RT_OK) {
        status = write_secret(&k, secret_path, coefficients, &secret, err);
    }
    /* Both files are complete under their temporary names before either gets its own. */
    if (status == RT_OK) {
        status = core_writer_commit(secret, err);
        secret = NULL;
    }
    if (status == RT_OK) {
        status = core_writer_commit(eval, err);
        eval = NULL;
    }
    core_writer_abandon(eval);
    core_writer_abandon(secret);
    rt_client_free(coefficients, (size_t)1 << model->params.log_n);
    release(&k);
    return status;
}

enum rt_status rt_keygen(const struct rt_interface *model, const char *dir, bool force, int threads,
                         struct rt_error *err)
{
    if (!sys_random_init()) {
        return core_fail(err, RT_ERR_RANDOM, "%s: no system randomness", model->name);
    }
    if (threads > 0) {
        sys_set_threads(threads);
    }
    bool made = mkdir(dir, 0700) == 0;
    if (!made && errno != EEXIST) {
        return core_fail(err, RT_ERR_IO, "%s: cannot make the directory: %s", dir, strerror(errno));
    }
    size_t room = strlen(dir) + sizeof "/secret.weft";
    char *secret_path = sys_alloc(2 * room);
    if (secret_path == NULL) {
        return core_no_memory(err, dir);
    }
    char *eval_path = secret_path + room;
    (void)snprintf(secret_path, room, "%s/secret.weft", dir);
    (void)snprintf(eval_path, room, "%s/eval.weft", dir);
    enum rt_status status;
    if (!force && access(secret_path, F_OK) == 0) {
        status = core_fail(err, RT_ERR_ARGUMENT,
                           "%s: exists; a secret key is replaced only when forced", secret_path);
    } else {
        rt_client_guard_begin();
        status = generate(model, secret_path, eval_path, err);
        rt_client_guard_end();
    }
    sys_free(secret_path);
    if (status != RT_OK && made) {
        (void)rmdir(dir);
    }
    return status;
}
