/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Model data -> coefficients of plaintexts; those for which there is memory then become limbs in
 * evaluation form, each exactly as long as its period needs (the others: expand.c).
 */
#include "eval/eval.h"

#include <stdio.h>
#include <string.h>

/* What the programs of these parameters can use; the rest was checked by rt_data_open. */
static enum rt_status check_plain(const rt_eval *e, const struct core_plain *p, uint64_t i,
                                  const char *path, struct rt_error *err)
{
    const struct ring *r = e->ctx->ring;
    if (p->n > r->n / 2 || p->level >= (int32_t)r->n_q || (p->extended != 0 && r->n_p == 0)) {
        return core_fail(err, RT_ERR_MISMATCH,
                         "%s: plaintext %llu (%u slots, level %d) does not fit the parameters",
                         path, (unsigned long long)i, p->n, p->level);
    }
    return RT_OK;
}

static struct ring_basis plain_basis(const rt_eval *e, const struct eval_plain *p)
{
    return (struct ring_basis){(unsigned)p->level, p->extended ? e->ctx->ring->n_p : 0};
}

static enum rt_status place(rt_eval *e, const rt_data *d, const char *path, struct rt_error *err)
{
    if (d->num_plains > UINT32_MAX - 1) {
        return core_fail(err, RT_ERR_MISMATCH, "%s: too many plaintexts", path);
    }
    for (uint64_t i = 0; i < d->num_plains; i++) {
        enum rt_status status = check_plain(e, &d->plains[i], i, path, err);
        if (status != RT_OK) {
            return status;
        }
    }
    e->plains = sys_alloc_array((size_t)d->num_plains + 1, sizeof *e->plains);
    if (e->plains == NULL) {
        return core_no_memory(err, path);
    }
    e->num_plains = d->num_plains;
    for (uint64_t i = 0; i < d->num_plains; i++) {
        const struct core_plain *p = &d->plains[i];
        struct eval_plain *to = &e->plains[i];
        to->log_m = core_log2(p->period) + 1;
        to->level = p->level;
        to->extended = p->extended != 0;
        to->scale = p->scale;
    }
    return RT_OK;
}

/* ---- coefficients ------------------------------------------------------------------------------ */

/* Memory of a slice: in blocks, each with the one before it in its first word. */
struct pool {
    uint64_t *block;
    size_t used, words; /* of the block */
    uint64_t all;       /* of all blocks */
};

#define POOL_WORDS ((size_t)1 << 17)

static uint64_t *pool_take(struct pool *p, size_t words)
{
    words = (words + 7) / 8 * 8;
    if (p->block == NULL || words > p->words - p->used) {
        size_t size = (words > POOL_WORDS ? words : POOL_WORDS) + 8;
        uint64_t *block = sys_alloc_array(size, sizeof *block);
        if (block == NULL) {
            return NULL;
        }
        memcpy(block, &p->block, sizeof p->block);
        *p = (struct pool){block, 8, size, p->all + size};
    }
    p->used += words;
    return p->block + p->used - words;
}

static void free_blocks(uint64_t *block)
{
    while (block != NULL) {
        uint64_t *next;
        memcpy(&next, block, sizeof next);
        sys_free(block);
        block = next;
    }
}

struct slice {
    struct pool pool;
    struct rt_error error;
    uint64_t failed;
};

/* Work: 2 N doubles, for real parts, imaginary parts and the encoding. Integers of 31 bits are kept as
 * such; as kernel from_double, rounding is to even. */
static enum rt_status encode_one(rt_eval *e, const rt_data *d, uint64_t i, double *work,
                                 struct slice *slice, const char *path)
{
    const struct core_plain *p = &d->plains[i];
    struct eval_plain *to = &e->plains[i];
    size_t slots = core_slots(e->ctx);
    double *re = work;
    double *im = NULL;
    if (p->dft != 0) {
        im = work + slots;
        core_dft_slots(p, re, im);
    } else if (!core_plain_slots(d, i, re)) {
        return core_fail(&slice->error, RT_ERR_FORMAT,
                         "%s: plaintext %llu does not repeat with period %u", path,
                         (unsigned long long)i, p->period);
    }
    char what[400];
    (void)snprintf(what, sizeof what, "%s: plaintext %llu", path, (unsigned long long)i);
    double *x = work + 2 * slots;
    double most;
    enum rt_status status = core_encode_real(e->ctx, x, re, im, core_log2(p->period), p->scale,
                                             (unsigned)p->level, &most, what, &slice->error);
    if (status != RT_OK) {
        return status;
    }
    size_t m = (size_t)1 << to->log_m;
    bool narrow = most < 0x1p30;
    uint64_t *words = pool_take(&slice->pool, narrow ? (m + 1) / 2 : m);
    if (words == NULL) {
        return core_no_memory(&slice->error, what);
    }
    if (!narrow) {
        to->wide = memcpy(words, x, m * sizeof *x);
        return RT_OK;
    }
    /* x + 3 2^51 rounds x to an integer, as long as it is small, and has it in its lowest bits */
    int32_t *integers = (int32_t *)(void *)words;
    for (size_t k = 0; k < m; k++) {
        double shifted = x[k] + 0x1.8p52;
        uint64_t bits;
        memcpy(&bits, &shifted, sizeof bits);
        integers[k] = (int32_t)(uint32_t)bits;
    }
    to->narrow = integers;
    return RT_OK;
}

/* Each slice takes every slices-th plaintext and has memory and an error of its own; the error that
 * is reported is that of the first plaintext that has one, whatever the number of threads. */
static enum rt_status encode_all(rt_eval *e, const rt_data *d, const char *path,
                                 struct rt_error *err)
{
    size_t n = e->ctx->ring->n;
    size_t count = e->slices;
    struct slice *slices = sys_alloc_array(count, sizeof *slices);
    double *work = sys_alloc_array(count, 2 * n * sizeof *work);
    e->coefficients = sys_alloc_array(count, sizeof *e->coefficients);
    if (slices == NULL || work == NULL || e->coefficients == NULL) {
        sys_free(slices);
        sys_free(work);
        return core_no_memory(err, path);
    }
    SYS_PARALLEL_FOR
    for (size_t s = 0; s < count; s++) {
        slices[s].failed = UINT64_MAX;
        for (uint64_t i = s; i < d->num_plains; i += count) {
            if (encode_one(e, d, i, work + s * 2 * n, &slices[s], path) != RT_OK) {
                slices[s].failed = i;
                break;
            }
        }
    }
    const struct slice *first = &slices[0];
    for (size_t s = 0; s < count; s++) {
        first = slices[s].failed < first->failed ? &slices[s] : first;
        e->coefficients[s] = slices[s].pool.block;
        e->coefficient_words += slices[s].pool.all;
    }
    enum rt_status status = RT_OK;
    if (first->failed != UINT64_MAX) {
        status = core_fail(err, first->error.status, "%s", first->error.text);
    }
    sys_free(slices);
    sys_free(work);
    return status;
}

enum rt_status rt_eval_load_data(rt_eval *e, const char *path, struct rt_error *err)
{
    rt_data *d;
    enum rt_status status =
        rt_data_open(&d, e->program->interface->model_hash, e->program->data_checksum, path, err);
    if (status != RT_OK) {
        return status;
    }
    status = place(e, d, path, err);
    if (status == RT_OK) {
        status = encode_all(e, d, path, err);
    }
    rt_data_close(d);
    return status;
}

/* ---- limbs ------------------------------------------------------------------------------------- */

/* In whole cache lines and one more, for most are powers of two and many are read together: at
 * distances that are multiples of 4 KiB they would all fight for the same lines of a cache. */
static uint64_t plain_words(const rt_eval *e, const struct eval_plain *p)
{
    uint64_t words = ring_limbs(plain_basis(e, p)) << p->log_m;
    return ((words + 7) & ~UINT64_C(7)) + EVAL_LINE_WORDS;
}

uint64_t rt_eval_plain_words(const rt_eval *e)
{
    uint64_t words = 0;
    for (uint64_t i = 0; i < e->num_plains; i++) {
        words += plain_words(e, &e->plains[i]);
    }
    return words;
}

uint64_t rt_eval_keep_plains(rt_eval *e, uint64_t words)
{
    uint64_t kept = 0;
    for (uint64_t i = 0; i < e->num_plains; i++) {
        uint64_t need = plain_words(e, &e->plains[i]);
        e->plains[i].keep = need <= words - kept;
        kept += e->plains[i].keep ? need : 0;
    }
    return kept;
}

enum rt_status rt_eval_expand_plains(rt_eval *e, struct rt_error *err)
{
    uint64_t at = 0;
    bool all = true;
    e->plain_memory = sys_alloc_array((size_t)e->plain_words + 1, sizeof *e->plain_memory);
    if (e->plain_memory == NULL) {
        return core_fail(err, RT_ERR_MEMORY, "%s: out of memory: plaintexts need %llu MiB",
                         e->program->interface->name, (unsigned long long)(e->plain_words >> 17));
    }
    for (uint64_t i = 0; i < e->num_plains; i++) {
        struct eval_plain *p = &e->plains[i];
        all &= p->keep;
        if (p->keep) {
            p->at = e->plain_memory + at;
            at += plain_words(e, p);
        }
    }
    SYS_PARALLEL_FOR
    for (size_t s = 0; s < e->slices; s++) {
        for (uint64_t i = s; i < e->num_plains; i += e->slices) {
            const struct eval_plain *p = &e->plains[i];
            struct ring_basis b = plain_basis(e, p);
            uint64_t *to = e->plain_memory + (p->keep ? p->at - e->plain_memory : 0);
            for (size_t limb = 0; p->keep && limb < ring_limbs(b); limb++) {
                rt_eval_plain_make(e, p, to + (limb << p->log_m),
                                   &e->ctx->ring->ntt[ring_prime(e->ctx->ring, b, limb)]);
            }
        }
    }
    if (all) {
        rt_eval_forget_coefficients(e);
        return RT_OK;
    }
    e->limb_words = EVAL_LIMB_WORDS;
    e->limb_memory = sys_alloc_array(e->limb_words, sizeof *e->limb_memory);
    e->limb_plains = sys_alloc_array(EVAL_LIMB_PLAINS, sizeof *e->limb_plains);
    return e->limb_memory == NULL || e->limb_plains == NULL
               ? core_no_memory(err, e->program->interface->name)
               : RT_OK;
}

void rt_eval_forget_coefficients(rt_eval *e)
{
    for (size_t s = 0; e->coefficients != NULL && s < e->slices; s++) {
        free_blocks(e->coefficients[s]);
    }
    sys_free(e->coefficients);
    e->coefficients = NULL;
    e->coefficient_words = 0;
}
