/* SPDX-License-Identifier: Apache-2.0 */
#include "client/client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* One polynomial b_j of one key: the unit of parallel work. */
struct job {
    const struct rt_key_spec *spec;
    const uint8_t *seed; /* of the key */
    struct core_key_shape shape;
    unsigned digit;
    uint64_t stream;    /* of its noise, another for every job */
    uint64_t *b, *work; /* poly_words each */
    int64_t *noise;     /* N */
};

struct keygen {
    const struct rt_interface *model;
    rt_secret *secret;
    struct core_key_record *records;
    uint64_t *square; /* s^2, over all primes */
    size_t square_words;
    uint8_t noise[SYS_SEED_BYTES]; /* seed of all errors, wiped */
    struct job *jobs;
    size_t num_jobs; /* made at a time */
    uint64_t *job_words;
    size_t words_per_job;
};

/*
 * b_j of core.h. The secret is stored over all primes; that of limb i of a key at a lower level is
 * found by its prime.
 */
static void make_digit(const struct keygen *k, const struct job *j)
{
    const struct ring *r = k->secret->ctx->ring;
    struct ring_basis b = j->shape.basis;
    unsigned alpha = k->secret->ctx->alpha;
    unsigned first = j->digit * alpha;
    unsigned last = first + ring_digit_count(b.level, alpha, j->digit);
    uint64_t p_mod_q[RING_MAX_PRIMES];
    ring_p_residues(r, p_mod_q, b);
    rt_client_noise(r, j->b, b, k->noise, j->stream, j->noise);
    ring_uniform(r, j->work, b, j->seed, j->digit);
    uint64_t inverse_step = ring_galois(r, -(long)j->spec->by);
    uint64_t *rotated = (uint64_t *)(void *)j->noise; /* the noise is in b by now */
    for (size_t limb = 0; limb < ring_limbs(b); limb++) {
        size_t prime = ring_prime(r, b, limb);
        const struct modulus *m = &r->ntt[prime].mod;
        uint64_t *out = j->b + limb * r->n;
        uint64_t *a = j->work + limb * r->n;
        const uint64_t *s = k->secret->s + prime * r->n;
        const uint64_t *target = j->spec->by == 0 ? k->square + prime * r->n : s;
        if (j->spec->by != 0) {
            r->k.gather(rotated, s, inverse_step, r->log_n, 0, r->n);
            s = rotated;
        }
        r->k.mul(a, a, s, r->n, m);
        r->k.sub(out, out, a, r->n, m->q);
        if (limb >= first && limb < last) {
            uint64_t g = p_mod_q[limb];
            r->k.mul_const_add(out, out, target, g, mod_shoup(g, m->q), r->n, m->q);
        }
    }
    sys_wipe(j->work, j->shape.poly_words * sizeof *j->work);
    sys_wipe(j->noise, r->n * sizeof *j->noise);
}

/* All b halves in the order of the file, num_jobs at a time. */
static enum rt_status write_halves(struct keygen *k, struct core_writer *w, struct rt_error *err)
{
    uint32_t key = 0;
    unsigned digit = 0;
    uint64_t stream = 0;
    while (key < k->model->num_keys) {
        size_t count = 0;
        while (count < k->num_jobs && key < k->model->num_keys) {
            struct job *j = &k->jobs[count++];
            j->spec = &k->model->keys[key];
            j->seed = k->records[key].seed;
            j->shape = core_key_shape(k->secret->ctx, j->spec);
            j->digit = digit++;
            j->stream = stream++;
            if (digit == j->shape.digits) {
                digit = 0;
                key++;
            }
        }
        SYS_PARALLEL_FOR
        for (size_t i = 0; i < count; i++) {
            make_digit(k, &k->jobs[i]);
        }
        for (size_t i = 0; i < count; i++) {
            const struct job *j = &k->jobs[i];
            enum rt_status status =
                core_writer_put(w, j->b, j->shape.poly_words * sizeof *j->b, err);
            if (status != RT_OK) {
                return status;
            }
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

/* Memory for the jobs and s^2. */
static enum rt_status prepare(struct keygen *k, struct rt_error *err)
{
    const struct ring *r = k->secret->ctx->ring;
    struct ring_basis all = {r->n_q - 1, r->n_p};
    size_t words = ring_words(r, all);
    k->num_jobs = 2 * (size_t)sys_threads();
    k->words_per_job = 2 * words + r->n;
    k->square_words = words;
    k->records = sys_alloc_array((size_t)k->model->num_keys + 1, sizeof *k->records);
    k->square = sys_alloc_array(words, sizeof *k->square);
    k->jobs = sys_alloc_array(k->num_jobs, sizeof *k->jobs);
    k->job_words = sys_alloc_array(k->num_jobs, k->words_per_job * sizeof *k->job_words);
    if (k->records == NULL || k->square == NULL || k->jobs == NULL || k->job_words == NULL) {
        return core_no_memory(err, "key generation");
    }
    for (size_t i = 0; i < k->num_jobs; i++) {
        k->jobs[i].b = k->job_words + i * k->words_per_job;
        k->jobs[i].work = k->jobs[i].b + words;
        k->jobs[i].noise = (int64_t *)(void *)(k->jobs[i].work + words);
    }
    ring_mul(r, k->square, k->secret->s, k->secret->s, all);
    sys_random(k->noise, sizeof k->noise);
    return RT_OK;
}

static void release(struct keygen *k)
{
    rt_client_free(k->square, k->square_words * sizeof *k->square);
    rt_client_free(k->job_words, k->num_jobs * k->words_per_job * sizeof *k->job_words);
    sys_free(k->records);
    sys_free(k->jobs);
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
    if (mkdir(dir, 0700) != 0 && errno != EEXIST) {
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
    return status;
}
