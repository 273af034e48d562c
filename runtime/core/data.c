/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core.h"

#include <math.h>
#include <string.h>

#define MAX_SLOTS (UINT32_C(1) << (K_MAX_LOG_N - 1))

struct data_head {
    uint64_t num_values, num_rects, num_plains, zero;
};
_Static_assert(sizeof(struct data_head) == 32 && sizeof(struct core_rect) == 24 &&
                   sizeof(struct core_plain) == 40,
               "the layout is the file's");

static bool power_of_two(uint32_t x)
{
    return x != 0 && (x & (x - 1)) == 0;
}

static bool plain_ok(const struct rt_data *d, const struct core_plain *p)
{
    if (!power_of_two(p->n) || !power_of_two(p->period) || p->period > p->n || p->n > MAX_SLOTS) {
        return false;
    }
    if (p->level < 0 || p->level >= (int32_t)RING_MAX_PRIMES || p->extended > 1 ||
        !isfinite(p->scale) || p->scale <= 0) {
        return false;
    }
    if (p->dft != 0) {
        return core_dft_ok(p);
    }
    if (p->first_rect > d->num_rects || p->num_rects > d->num_rects - p->first_rect) {
        return false;
    }
    for (uint32_t i = 0; i < p->num_rects; i++) {
        const struct core_rect *r = &d->rects[p->first_rect + i];
        /* bounds the work that a small file can ask for */
        if (r->rows == 0 || r->cols == 0 || r->rows > p->n || r->cols > p->n / r->rows ||
            r->value >= d->num_values) {
            return false;
        }
    }
    return true;
}

static enum rt_status check_data(struct rt_data *d, const char *path, struct rt_error *err)
{
    struct data_head h;
    uint64_t left = d->file.header.payload;
    if (left < sizeof h) {
        return core_fail(err, RT_ERR_FORMAT, "%s: too short for model data", path);
    }
    memcpy(&h, d->file.payload, sizeof h);
    left -= sizeof h;
    /* each count is bounded by the bytes that are left before it is multiplied */
    if (h.zero != 0 || h.num_values > left / sizeof *d->values) {
        return core_fail(err, RT_ERR_FORMAT, "%s: value table is longer than the file", path);
    }
    left -= h.num_values * sizeof *d->values;
    if (h.num_rects > left / sizeof *d->rects) {
        return core_fail(err, RT_ERR_FORMAT, "%s: rectangle table is longer than the file", path);
    }
    left -= h.num_rects * sizeof *d->rects;
    if (h.num_plains != left / sizeof *d->plains || left % sizeof *d->plains != 0) {
        return core_fail(err, RT_ERR_FORMAT, "%s: plaintext table does not end with the file",
                         path);
    }
    d->num_values = h.num_values;
    d->num_rects = h.num_rects;
    d->num_plains = h.num_plains;
    /* every table is a multiple of 8 bytes from a 64-byte aligned start, so the casts are aligned
     */
    const uint8_t *at = d->file.payload + sizeof h;
    d->values = (const double *)(const void *)at;
    at += h.num_values * sizeof *d->values;
    d->rects = (const struct core_rect *)(const void *)at;
    at += h.num_rects * sizeof *d->rects;
    d->plains = (const struct core_plain *)(const void *)at;
    for (uint64_t i = 0; i < d->num_values; i++) {
        if (!isfinite(d->values[i])) {
            return core_fail(err, RT_ERR_FORMAT, "%s: value %llu is not finite", path,
                             (unsigned long long)i);
        }
    }
    for (uint64_t i = 0; i < d->num_plains; i++) {
        if (!plain_ok(d, &d->plains[i])) {
            return core_fail(err, RT_ERR_FORMAT, "%s: plaintext %llu is malformed", path,
                             (unsigned long long)i);
        }
    }
    return RT_OK;
}

enum rt_status rt_data_open(rt_data **out, uint64_t model_hash, uint64_t checksum, const char *path,
                            struct rt_error *err)
{
    *out = NULL;
    rt_data *d = sys_alloc(sizeof *d);
    if (d == NULL) {
        return core_no_memory(err, path);
    }
    const struct core_expect want = {RT_KIND_MODEL_DATA, NULL, model_hash, 0};
    enum rt_status status = core_file_open(&d->file, path, &want, err);
    if (status == RT_OK && d->file.header.checksum != checksum) {
        status = core_fail(err, RT_ERR_MISMATCH,
                           "%s: not the data that this program was built with (checksum %016llx, "
                           "expected %016llx)",
                           path, (unsigned long long)d->file.header.checksum,
                           (unsigned long long)checksum);
    }
    if (status == RT_OK) {
        status = check_data(d, path, err);
    }
    if (status != RT_OK) {
        rt_data_close(d);
        return status;
    }
    *out = d;
    return RT_OK;
}

void rt_data_close(rt_data *d)
{
    if (d != NULL) {
        core_file_close(&d->file);
        sys_free(d);
    }
}

const double *rt_data_values(const rt_data *d, uint64_t *count)
{
    if (count != NULL) {
        *count = d->num_values;
    }
    return d->values;
}

bool core_plain_slots(const struct rt_data *d, uint64_t i, double *slots)
{
    const struct core_plain *p = &d->plains[i];
    size_t mask = (size_t)p->n - 1;
    memset(slots, 0, p->n * sizeof *slots);
    for (uint32_t k = 0; k < p->num_rects; k++) {
        const struct core_rect *r = &d->rects[p->first_rect + k];
        double value = d->values[r->value];
        size_t row = r->slot;
        for (uint32_t y = 0; y < r->rows; y++, row += r->row_step) {
            size_t at = row;
            for (uint32_t x = 0; x < r->cols; x++, at += r->col_step) {
                slots[at & mask] += value;
            }
        }
    }
    double largest = 0;
    for (size_t s = 0; s < p->n; s++) {
        largest = fabs(slots[s]) > largest ? fabs(slots[s]) : largest;
    }
    /* Sums of overlapping rectangles may have been rounded in another order in another period. */
    for (size_t s = p->period; s < p->n; s++) {
        if (!(fabs(slots[s] - slots[s & (p->period - 1u)]) <= 1e-9 * largest)) {
            return false;
        }
    }
    return true;
}
