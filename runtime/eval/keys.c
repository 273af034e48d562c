/* SPDX-License-Identifier: Apache-2.0 */

/* Evaluation keys: the b halves stay in the mapped file, the a halves are expanded into memory. */
#include "eval/eval.h"

#include <string.h>

/* Is the file's table the one that this program's key generation writes? */
static enum rt_status check_table(rt_eval *e, const char *path, struct core_key_record *records,
                                  struct rt_error *err)
{
    const struct rt_interface *model = e->program->interface;
    const struct core_file *f = &e->key_file;
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
        if (k->by != model->keys[i].by || k->level != model->keys[i].level ||
            k->digits != s.digits || k->offset != at || k->zero != 0 || zeros != 0) {
            return core_fail(err, RT_ERR_FORMAT,
                             "%s: key %u is for rotation %lld at level %d, expected %lld at %d",
                             path, i, (long long)k->by, k->level, (long long)model->keys[i].by,
                             model->keys[i].level);
        }
        at += (uint64_t)s.digits * s.poly_words * sizeof(uint64_t);
    }
    return RT_OK;
}

static enum rt_status place(rt_eval *e, const struct core_key_record *records, const char *path,
                            struct rt_error *err)
{
    const struct rt_interface *model = e->program->interface;
    e->a_words = (core_keys_bytes(e->ctx, model) - core_keys_first(model)) / sizeof(uint64_t);
    e->keys = sys_alloc_array((size_t)model->num_keys + 1, sizeof *e->keys);
    e->a_memory = sys_alloc_array((size_t)e->a_words + 1, sizeof *e->a_memory);
    if (e->keys == NULL || e->a_memory == NULL) {
        return core_fail(err, RT_ERR_MEMORY, "%s: out of memory: keys need %llu MiB", path,
                         (unsigned long long)(e->a_words >> 17));
    }
    const uint64_t *a = e->a_memory;
    for (uint32_t i = 0; i < model->num_keys; i++) {
        struct eval_key *k = &e->keys[i];
        k->by = model->keys[i].by;
        k->galois = ring_galois(e->ctx->ring, (long)k->by);
        k->shape = core_key_shape(e->ctx, &model->keys[i]);
        k->b = (const uint64_t *)(const void *)(e->key_file.payload + records[i].offset);
        k->a = a;
        a += k->shape.digits * k->shape.poly_words;
    }
    return RT_OK;
}

/* Checks the b half and expands the a half of every digit; false where a residue is too large. */
static bool load_key(rt_eval *e, const struct eval_key *k, const uint8_t *seed)
{
    const struct ring *r = e->ctx->ring;
    size_t limbs = ring_limbs(k->shape.basis);
    unsigned char bad[RING_MAX_PRIMES] = {0};
    SYS_PARALLEL_FOR
    for (unsigned j = 0; j < k->shape.digits; j++) {
        uint64_t *a = e->a_memory + (k->a - e->a_memory) + j * k->shape.poly_words;
        ring_uniform(r, a, k->shape.basis, seed, j);
        for (size_t i = 0; i < limbs; i++) {
            const uint64_t *b = k->b + j * k->shape.poly_words + i * r->n;
            if (!core_residues_ok(b, r->n, ring_mod(r, k->shape.basis, i)->q)) {
                bad[j] = 1;
            }
        }
    }
    return memchr(bad, 1, sizeof bad) == NULL;
}

static enum rt_status load_all(rt_eval *e, const struct core_key_record *records, const char *path,
                               struct rt_error *err)
{
    uint32_t num_keys = e->program->interface->num_keys;
    SYS_PARALLEL_FOR
    for (uint32_t i = 0; i < num_keys; i++) {
        e->keys[i].bad = !load_key(e, &e->keys[i], records[i].seed);
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
    struct core_key_record *records = sys_alloc_array((size_t)model->num_keys + 1, sizeof *records);
    if (records == NULL) {
        return core_no_memory(err, path);
    }
    status = check_table(e, path, records, err);
    if (status == RT_OK) {
        status = place(e, records, path, err);
    }
    if (status == RT_OK) {
        status = load_all(e, records, path, err);
    }
    sys_free(records);
    return status;
}
