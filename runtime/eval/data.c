/* SPDX-License-Identifier: Apache-2.0 */

/* Model data -> plaintexts in evaluation form, each exactly as long as its period needs. */
#include "eval/eval.h"

#include <stdio.h>

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

static struct ring_basis plain_basis(const rt_eval *e, const struct core_plain *p)
{
    return (struct ring_basis){(unsigned)p->level, p->extended != 0 ? e->ctx->ring->n_p : 0};
}

/* In whole cache lines and one more, for most are powers of two and many are read together: at
 * distances that are multiples of 4 KiB they would all fight for the same lines of a cache. */
static uint64_t plain_words(const rt_eval *e, const struct core_plain *p)
{
    uint64_t words = (uint64_t)2 * p->period * ring_limbs(plain_basis(e, p));
    return ((words + 7) & ~UINT64_C(7)) + EVAL_LINE_WORDS;
}

static enum rt_status place(rt_eval *e, const rt_data *d, const char *path, struct rt_error *err)
{
    uint64_t words = 0;
    for (uint64_t i = 0; i < d->num_plains; i++) {
        const struct core_plain *p = &d->plains[i];
        enum rt_status status = check_plain(e, p, i, path, err);
        if (status != RT_OK) {
            return status;
        }
        /* at most 2^25 words each, and a record is 40 bytes of a file that exists: no overflow */
        words += plain_words(e, p);
    }
    e->plains = sys_alloc_array((size_t)d->num_plains + 1, sizeof *e->plains);
    e->plain_memory = sys_alloc_array((size_t)words + 1, sizeof *e->plain_memory);
    if (e->plains == NULL || e->plain_memory == NULL) {
        return core_fail(err, RT_ERR_MEMORY, "%s: out of memory: plaintexts need %llu MiB", path,
                         (unsigned long long)(words >> 17));
    }
    e->num_plains = d->num_plains;
    e->plain_words = words;
    uint64_t at = 0;
    for (uint64_t i = 0; i < d->num_plains; i++) {
        const struct core_plain *p = &d->plains[i];
        struct eval_plain *to = &e->plains[i];
        to->at = e->plain_memory + at;
        to->log_m = core_log2(p->period) + 1;
        to->level = p->level;
        to->extended = p->extended != 0;
        to->scale = p->scale;
        at += plain_words(e, p);
    }
    return RT_OK;
}

/* work: 2 N doubles, for real parts, imaginary parts and the encoding. */
static enum rt_status encode_one(rt_eval *e, const rt_data *d, uint64_t i, double *work,
                                 const char *path, struct rt_error *err)
{
    const struct core_plain *p = &d->plains[i];
    size_t slots = core_slots(e->ctx);
    double *re = work;
    double *im = NULL;
    if (p->dft != 0) {
        im = work + slots;
        core_dft_slots(p, re, im);
    } else if (!core_plain_slots(d, i, re)) {
        return core_fail(err, RT_ERR_FORMAT, "%s: plaintext %llu does not repeat with period %u",
                         path, (unsigned long long)i, p->period);
    }
    char what[400];
    (void)snprintf(what, sizeof what, "%s: plaintext %llu", path, (unsigned long long)i);
    uint64_t *out = e->plain_memory + (e->plains[i].at - e->plain_memory);
    return core_encode(e->ctx, out, re, im, core_log2(p->period), p->scale, plain_basis(e, p),
                       work + 2 * slots, what, err);
}

/* Each slice takes every slices-th plaintext and has memory and an error of its own; the error that
 * is reported is that of the first plaintext that has one, whatever the number of threads. */
static enum rt_status encode_all(rt_eval *e, const rt_data *d, const char *path,
                                 struct rt_error *err)
{
    struct slice {
        struct rt_error error;
        uint64_t failed;
    };
    size_t n = e->ctx->ring->n;
    size_t count = e->slices;
    struct slice *slices = sys_alloc_array(count, sizeof *slices);
    double *work = sys_alloc_array(count, 2 * n * sizeof *work);
    if (slices == NULL || work == NULL) {
        sys_free(slices);
        sys_free(work);
        return core_no_memory(err, path);
    }
    SYS_PARALLEL_FOR
    for (size_t s = 0; s < count; s++) {
        double *mine = work + s * 2 * n;
        slices[s].failed = UINT64_MAX;
        for (uint64_t i = s; i < d->num_plains; i += count) {
            if (encode_one(e, d, i, mine, path, &slices[s].error) != RT_OK) {
                slices[s].failed = i;
                break;
            }
        }
    }
    const struct slice *first = &slices[0];
    for (size_t s = 1; s < count; s++) {
        first = slices[s].failed < first->failed ? &slices[s] : first;
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
