/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Evaluation keys. Both halves are rearranged into the one stream a limb that key switching reads
 * (struct k_switch), so that the memory's bandwidth is all that a hoisted rotation waits for; the
 * file is not needed after that.
 */
#include "eval/eval.h"

#include <string.h>

/* Is the file's table the one that this program's key generation writes? */
static enum rt_status check_table(rt_eval *e, const struct core_file *f, const char *path,
                                  struct core_key_record *records, struct rt_error *err)
{
    const struct rt_interface *model = e->program->interface;
    uint64_t head[8];
    uint64_t bytes = core_keys_bytes(e->ctx, model);
    if (f->header.payload < sizeof head) {
        return core_fail(err, RT_ERR_FORMAT, "%s: too short for evaluation keys", path);
    }
    memcpy(head, f->payload, sizeof head);
    if (head[0] != model->num_keys || f->header.payload != bytes) {
        return core_fail(err, RT_ERR_FORMAT, "%s: %llu keys in %llu bytes, expected %u in %llu",
                         path, (unsigned long long)head[0], (unsigned long long)f->header.payload,
                         model->num_keys, (unsigned long long)bytes);
    }
    memcpy(records, f->payload + sizeof head, model->num_keys * sizeof *records);
    uint64_t at = core_keys_first(model);
    uint64_t zeros = 0;
    for (size_t i = 1; i < 8; i++) {
        zeros |= head[i];
    }
    for (uint32_t i = 0; i < model->num_keys; i++) {
        const struct core_key_record *k = &records[i];
        struct core_key_shape s = core_key_shape(e->ctx, &model->keys[i]);
        if (k->kind != model->keys[i].kind) {
            return core_fail(err, RT_ERR_FORMAT, "%s: key %u is of kind %llu, expected %u", path, i,
                             (unsigned long long)k->kind, model->keys[i].kind);
        }
        if (k->by != model->keys[i].by || k->level != model->keys[i].level ||
            k->digits != s.digits || k->offset != at || zeros != 0) {
            return core_fail(err, RT_ERR_FORMAT,
                             "%s: key %u is for %s %lld at level %d, expected %lld at %d", path, i,
                             core_key_text(model->keys[i].kind), (long long)k->by, k->level,
                             (long long)model->keys[i].by, model->keys[i].level);
        }
        at += (uint64_t)s.digits * s.poly_words * sizeof(uint64_t);
    }
    return RT_OK;
}

static enum rt_status place(rt_eval *e, const char *path, struct rt_error *err)
{
    const struct rt_interface *model = e->program->interface;
    /* both halves of every b half in the file */
    e->key_words = 2 * (core_keys_bytes(e->ctx, model) - core_keys_first(model)) / sizeof(uint64_t);
    e->keys = sys_alloc_array((size_t)model->num_keys + 1, sizeof *e->keys);
    e->key_memory = sys_alloc_array((size_t)e->key_words + 1, sizeof *e->key_memory);
    if (e->keys == NULL || e->key_memory == NULL) {
        return core_fail(err, RT_ERR_MEMORY, "%s: out of memory: keys need %llu MiB", path,
                         (unsigned long long)(e->key_words >> 17));
    }
    const uint64_t *at = e->key_memory;
    for (uint32_t i = 0; i < model->num_keys; i++) {
        struct eval_key *k = &e->keys[i];
        k->kind = model->keys[i].kind;
        k->by = model->keys[i].by;
        k->galois = ring_galois(e->ctx->ring, (long)k->by);
        k->inverse = ring_galois(e->ctx->ring, -(long)k->by);
        if (k->kind == RT_KEY_CONJUGATE) {
            k->galois = k->inverse = 2 * (uint64_t)e->ctx->ring->n - 1;
        }
        k->shape = core_key_shape(e->ctx, &model->keys[i]);
        k->words = at;
        at += 2 * k->shape.digits * k->shape.poly_words;
    }
    return RT_OK;
}

/* Limb i of half `part` of digit j (N words at x) to its blocks, times 2^52. */
static void arrange(const rt_eval *e, const struct eval_key *k, size_t i, unsigned j, unsigned part,
                    const uint64_t *x)
{
    const struct ring *r = e->ctx->ring;
    const struct modulus *m = ring_mod(r, k->shape.basis, i);
    size_t block = r->n < K_KEY_BLOCK ? r->n : K_KEY_BLOCK;
    size_t step = 2 * (size_t)k->shape.digits * block;
    uint64_t *to = e->key_memory + (k->words - e->key_memory) + i * (r->n / block) * step;
    for (size_t at = 0; at < r->n; at += block) {
        r->k.mul_const(to + (2 * j + part) * block, x + at, m->r52, m->r52s, block, m->q);
        to += step;
    }
}

/* Checks the b half (digits of poly_words at b) and expands the a half; false where a residue is
 * too large. work: one limb. */
static bool load_key(const rt_eval *e, const struct eval_key *k, const uint64_t *b,
                     const uint8_t *seed, uint64_t *work)
{
    const struct ring *r = e->ctx->ring;
    struct ring_basis basis = k->shape.basis;
    bool good = true;
    for (size_t i = 0; good && i < ring_limbs(basis); i++) {
        size_t prime = ring_prime(r, basis, i);
        for (unsigned j = 0; good && j < k->shape.digits; j++) {
            const uint64_t *limb = b + j * k->shape.poly_words + i * r->n;
            good = core_residues_ok(limb, r->n, r->ntt[prime].mod.q);
            arrange(e, k, i, j, 0, limb);
            ring_uniform_limb(r, work, prime, seed, j);
            arrange(e, k, i, j, 1, work);
        }
    }
    return good;
}

/* A limb of memory for each slice of the keys. What of the file is done with is let go of. */
static enum rt_status load_all(rt_eval *e, const struct core_file *f,
                               const struct core_key_record *records, const char *path,
                               struct rt_error *err)
{
    const struct ring *r = e->ctx->ring;
    uint32_t num_keys = e->program->interface->num_keys;
    uint64_t *work = sys_alloc_array(e->slices, r->n * sizeof *work);
    if (work == NULL) {
        return core_no_memory(err, path);
    }
    SYS_PARALLEL_FOR
    for (size_t slice = 0; slice < e->slices; slice++) {
        for (size_t i = slice; i < num_keys; i += e->slices) {
            const uint8_t *b = f->payload + records[i].offset; /* a multiple of 64 */
            struct eval_key *k = &e->keys[i];
            k->bad = !load_key(e, k, (const uint64_t *)(const void *)b, records[i].seed,
                               work + slice * r->n);
            core_file_forget(f, b, k->shape.digits * k->shape.poly_words * sizeof(uint64_t));
        }
    }
    sys_free(work);
    for (uint32_t i = 0; i < num_keys; i++) {
        if (e->keys[i].bad) {
            return core_fail(err, RT_ERR_FORMAT,
                             "%s: key %u has a residue that is not below its prime", path, i);
        }
    }
    return RT_OK;
}

enum rt_status rt_eval_load_keys(rt_eval *e, const char *path, struct rt_error *err)
{
    const struct rt_interface *model = e->program->interface;
    const struct core_expect want = {RT_KIND_EVAL_KEYS, e->ctx, model->model_hash, 0};
    struct core_file f;
    enum rt_status status = core_file_open(&f, path, &want, err);
    if (status != RT_OK) {
        return status;
    }
    e->key_id = f.header.key_id;
    struct core_key_record *records = sys_alloc_array((size_t)model->num_keys + 1, sizeof *records);
    status = records == NULL ? core_no_memory(err, path) : check_table(e, &f, path, records, err);
    if (status == RT_OK) {
        status = place(e, path, err);
    }
    if (status == RT_OK) {
        status = load_all(e, &f, records, path, err);
    }
    sys_free(records);
    core_file_close(&f);
    return status;
}
