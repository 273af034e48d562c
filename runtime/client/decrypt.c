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
