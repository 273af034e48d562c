/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Evaluation keys. The b halves are used where the file is mapped: they lie there as key switching
 * reads them. The a halves are made of their seeds, once where there is memory to keep them, else
 * every time, a tile at a time: ChaCha20 is about as fast as a disk cache is read.
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

static enum rt_status place(rt_eval *e, const struct core_key_record *records, const char *path,
                            struct rt_error *err)
{
    const struct rt_interface *model = e->program->interface;
    e->keys = sys_alloc_array((size_t)model->num_keys + 1, sizeof *e->keys);
    if (e->keys == NULL) {
        return core_no_memory(err, path);
    }
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
        /* a multiple of 64 */
        k->b = (const uint64_t *)(const void *)(e->key_file.payload + records[i].offset);
        memcpy(k->seed, records[i].seed, sizeof k->seed);
    }
    return RT_OK;
}

static bool residues_ok(const rt_eval *e, const struct eval_key *k)
{
    const struct ring *r = e->ctx->ring;
    size_t words = k->shape.digits * r->n;
    bool good = true;
    for (size_t i = 0; good && i < ring_limbs(k->shape.basis); i++) {
        good = core_residues_ok(k->b + i * words, words, ring_mod(r, k->shape.basis, i)->q);
    }
    return good;
}

static enum rt_status check_keys(rt_eval *e, const char *path, struct rt_error *err)
{
    uint32_t num_keys = e->program->interface->num_keys;
    SYS_PARALLEL_FOR
    for (uint32_t i = 0; i < num_keys; i++) {
        e->keys[i].bad = !residues_ok(e, &e->keys[i]);
    }
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
    enum rt_status status = core_file_open(&e->key_file, path, &want, err);
    if (status != RT_OK) {
        return status;
    }
    e->key_id = e->key_file.header.key_id;
    struct core_key_record *records = sys_alloc_array((size_t)model->num_keys + 1, sizeof *records);
    status = records == NULL ? core_no_memory(err, path)
                             : check_table(e, &e->key_file, path, records, err);
    if (status == RT_OK) {
        status = place(e, records, path, err);
    }
    if (status == RT_OK) {
        status = check_keys(e, path, err);
    }
    sys_free(records);
    return status;
}

static uint64_t half_words(const struct eval_key *k)
{
    return (uint64_t)k->shape.digits * k->shape.poly_words;
}

uint64_t rt_eval_key_words(const rt_eval *e)
{
    uint64_t words = 0;
    for (uint32_t i = 0; i < e->program->interface->num_keys; i++) {
        words += half_words(&e->keys[i]);
    }
    return words;
}

uint64_t rt_eval_keep_keys(rt_eval *e, uint64_t words)
{
    uint64_t kept = 0;
    for (uint32_t i = 0; i < e->program->interface->num_keys; i++) {
        struct eval_key *k = &e->keys[i];
        k->keep = half_words(k) <= words - kept;
        kept += k->keep ? half_words(k) : 0;
    }
    return kept;
}

enum rt_status rt_eval_expand_keys(rt_eval *e, struct rt_error *err)
{
    const struct ring *r = e->ctx->ring;
    uint32_t num_keys = e->program->interface->num_keys;
    size_t digits = 0; /* the most of a key whose half is not kept */
    uint64_t at = 0;
    e->key_memory = sys_alloc_array((size_t)e->key_words + 1, sizeof *e->key_memory);
    if (e->key_memory == NULL) {
        return core_fail(err, RT_ERR_MEMORY, "%s: out of memory: keys need %llu MiB",
                         e->program->interface->name, (unsigned long long)(e->key_words >> 17));
    }
    for (uint32_t i = 0; i < num_keys; i++) {
        struct eval_key *k = &e->keys[i];
        if (k->keep) {
            k->a = e->key_memory + at;
            at += half_words(k);
        } else {
            digits = k->shape.digits > digits ? k->shape.digits : digits;
        }
    }
    SYS_PARALLEL_FOR
    for (uint32_t i = 0; i < num_keys; i++) {
        const struct eval_key *k = &e->keys[i];
        for (size_t limb = 0; k->keep && limb < ring_limbs(k->shape.basis); limb++) {
            uint64_t *to = e->key_memory + (k->a - e->key_memory) + limb * k->shape.digits * r->n;
            core_key_expand(r, to, ring_prime(r, k->shape.basis, limb), k->seed, k->shape.digits,
                            k->shape.digits, 0, r->n);
        }
    }
    size_t piece = r->n < EVAL_KEY_PIECE ? r->n : EVAL_KEY_PIECE;
    e->expanded_words = digits * piece;
    e->expanded = sys_alloc_array(e->slices, (e->expanded_words + 1) * sizeof *e->expanded);
    return e->expanded == NULL ? core_no_memory(err, e->program->interface->name) : RT_OK;
}
