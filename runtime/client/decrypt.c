/* SPDX-License-Identifier: Apache-2.0 */
#include "client/client.h"

#include <math.h>
#include <string.h>

/* slots[num_ct][n] of every ciphertext; ct and imag are work. */
static enum rt_status decrypt_all(const rt_secret *s, const struct core_ct_file *f, uint32_t n,
                                  uint64_t *ct, double *imag, double *slots, struct rt_error *err)
{
    const struct ring *r = s->ctx->ring;
    const struct ring_basis b = {(unsigned)f->spec.level, 0};
    for (uint32_t i = 0; i < f->spec.num_ct; i++) {
        enum rt_status status = core_ct_read(f, i, ct, err);
        if (status != RT_OK) {
            return status;
        }
        ring_mul_add(r, ct, ct, ct + ring_words(r, b), s->s, b);
        ring_intt(r, ct, ct, b);
        core_decode(s->ctx, slots + (size_t)i * n, imag, ct, b.level, f->spec.scale, core_log2(n));
    }
    return RT_OK;
}

enum rt_status rt_decrypt(const rt_secret *s, const struct rt_interface *model, const char *ct_path,
                          double *result, struct rt_error *err)
{
    enum rt_status status = rt_client_same_model(s, model, err);
    if (status != RT_OK) {
        return status;
    }
    const struct rt_packing *o = &model->output;
    const struct core_ct_spec spec = {o->num_ct, model->output_level, model->output_scale};
    struct core_ct_file f;
    status = core_ct_open(&f, ct_path, s->ctx, model->model_hash, s->key_id, &spec, err);
    if (status != RT_OK) {
        return status;
    }
    size_t ct_bytes = 2 * ((size_t)spec.level + 1) * s->ctx->ring->n * sizeof(uint64_t);
    size_t slots_bytes = ((size_t)o->num_ct + 1) * o->n * sizeof(double);
    size_t plain_bytes = (size_t)model->num_outputs * sizeof(double);
    uint64_t *ct = sys_alloc(ct_bytes);
    double *slots = sys_alloc(slots_bytes);
    double *plain = sys_alloc(plain_bytes);
    if (ct == NULL || slots == NULL || plain == NULL) {
        status = core_no_memory(err, ct_path);
    } else {
        double *imag = slots + (size_t)o->num_ct * o->n;
        status = decrypt_all(s, &f, o->n, ct, imag, slots, err);
    }
    if (status == RT_OK) {
        core_unpack(o, slots, plain);
        memcpy(result, plain, plain_bytes);
    }
    rt_client_free(ct, ct_bytes);
    rt_client_free(slots, slots_bytes);
    rt_client_free(plain, plain_bytes);
    core_ct_close(&f);
    return status;
}

static double largest_difference(const struct rt_packing *p, const double *want,
                                 const double *slots, uint32_t n)
{
    uint32_t len = n > p->n ? n : p->n;
    double worst = 0;
    for (uint32_t k = 0; k < len; k++) {
        double d = fabs(slots[k % n] - want[k % p->n]);
        worst = d <= worst ? worst : d; /* NaN is worst */
    }
    return worst;
}

enum rt_status rt_decrypt_compare(const rt_secret *s, const struct rt_interface *model,
                                  const struct rt_view *value, double scale, uint32_t n,
                                  const struct rt_packing *packing, uint32_t part,
                                  const double *tensor, double *error, struct rt_error *err)
{
    enum rt_status status = rt_client_same_model(s, model, err);
    if (status != RT_OK) {
        return status;
    }
    const struct ring *r = s->ctx->ring;
    const struct ring_basis b = {(unsigned)value->level, 0};
    const char *why;
    if (value->level < 0 || (unsigned)value->level >= r->n_q || n == 0 || (n & (n - 1)) != 0 ||
        n > core_slots(s->ctx) || !core_packing_check(packing, core_slots(s->ctx), &why) ||
        part >= packing->num_ct) {
        return core_fail(err, RT_ERR_ARGUMENT, "%s: there is no such check", model->name);
    }
    size_t poly_bytes = ring_words(r, b) * sizeof(uint64_t), slots_bytes = 2 * n * sizeof(double);
    size_t want_bytes = (size_t)packing->num_ct * packing->n * sizeof(double);
    uint64_t *poly = sys_alloc(poly_bytes);
    double *slots = sys_alloc(slots_bytes), *want = sys_alloc(want_bytes);
    if (poly == NULL || slots == NULL || want == NULL) {
        status = core_no_memory(err, model->name);
    } else {
        ring_mul_add(r, poly, value->part[0], value->part[1], s->s, b);
        ring_intt(r, poly, poly, b);
        core_decode(s->ctx, slots, slots + n, poly, b.level, scale, core_log2(n));
        core_pack(packing, tensor, want);
        *error = largest_difference(packing, want + (size_t)part * packing->n, slots, n);
    }
    rt_client_free(poly, poly_bytes);
    rt_client_free(slots, slots_bytes);
    rt_client_free(want, want_bytes);
    return status;
}
