/* SPDX-License-Identifier: Apache-2.0 */
#include "client/client.h"

#include <math.h>
#include <string.h>

/* Everything that one encryption needs; one block, wiped at the end. */
struct encryption {
    double *image; /* normalised */
    double *slots; /* [num_ct][n] */
    double *work;  /* 2 n */
    uint64_t *c0, *a, *small;
    int64_t *noise;
};

/* (raw - mean) / std. A value outside the model's range is the caller's to judge. */
static enum rt_status normalise(const struct rt_interface *model, const double *image, double *out,
                                struct rt_error *err)
{
    const struct rt_packing *in = &model->input;
    size_t plane = (size_t)in->h * in->w;
    for (size_t i = 0; i < in->c * plane; i++) {
        size_t c = i / plane;
        if (!isfinite(image[i])) {
            return core_fail(err, RT_ERR_ARGUMENT,
                             "image: the value at channel %zu, row %zu, column %zu is not finite",
                             c, i % plane / in->w, i % in->w);
        }
        out[i] = (image[i] - model->mean[c]) / model->std[c];
    }
    return RT_OK;
}

/* c0 = -a s + m + e, a from a fresh seed. */
static enum rt_status encrypt_one(const rt_secret *s, const struct encryption *e, uint32_t ct,
                                  const struct rt_interface *model, uint8_t *seed,
                                  struct rt_error *err)
{
    const struct ring *r = s->ctx->ring;
    const struct ring_basis b = {(unsigned)model->input_level, 0};
    uint32_t n = model->input.n;
    unsigned log_p = core_log2(n);
    enum rt_status status = core_encode(s->ctx, e->small, e->slots + (size_t)ct * n, NULL, log_p,
                                        model->input_scale, b, e->work, "image", err);
    if (status != RT_OK) {
        return status;
    }
    uint8_t noise_seed[SYS_SEED_BYTES];
    sys_random(noise_seed, sizeof noise_seed);
    sys_random(seed, SYS_SEED_BYTES);
    rt_client_noise(r, e->c0, b, noise_seed, 0, e->noise);
    sys_wipe(noise_seed, sizeof noise_seed);
    ring_uniform(r, e->a, b, seed, 0);
    ring_mul(r, e->a, e->a, s->s, b); /* limb i of s is that of q_i */
    ring_sub(r, e->c0, e->c0, e->a, b);
    ring_expand_sub(r, e->a, e->small, log_p + 1, b);
    ring_add(r, e->c0, e->c0, e->a, b);
    return RT_OK;
}

static enum rt_status write_all(const rt_secret *s, const struct encryption *e,
                                const struct rt_interface *model, const char *path,
                                struct rt_error *err)
{
    const struct core_ct_spec spec = {model->input.num_ct, model->input_level, model->input_scale};
    struct core_writer *w;
    enum rt_status status =
        core_ct_create(&w, path, s->ctx, model->model_hash, s->key_id, &spec, true, err);
    if (status != RT_OK) {
        return status;
    }
    for (uint32_t i = 0; status == RT_OK && i < spec.num_ct; i++) {
        uint8_t seed[SYS_SEED_BYTES];
        status = encrypt_one(s, e, i, model, seed, err);
        if (status == RT_OK) {
            const uint64_t *const part[2] = {e->c0, NULL};
            status = core_ct_put(w, s->ctx, &spec, seed, part, err);
        }
    }
    if (status != RT_OK) {
        core_writer_abandon(w);
        return status;
    }
    return core_writer_commit(w, err);
}

enum rt_status rt_encrypt(const rt_secret *s, const struct rt_interface *model, const double *image,
                          const char *ct_path, struct rt_error *err)
{
    enum rt_status status = rt_client_same_model(s, model, err);
    if (status != RT_OK) {
        return status;
    }
    const struct ring *r = s->ctx->ring;
    const struct rt_packing *in = &model->input;
    size_t words = ((size_t)model->input_level + 1) * r->n;
    size_t pixels = (size_t)in->c * in->h * in->w;
    size_t slots = (size_t)in->num_ct * in->n;
    struct encryption e;
    e.image = sys_alloc_array(pixels, sizeof *e.image);
    e.slots = sys_alloc_array(slots, sizeof *e.slots);
    e.work = sys_alloc_array(2 * (size_t)in->n, sizeof *e.work);
    e.c0 = sys_alloc_array(words, sizeof *e.c0);
    e.a = sys_alloc_array(words, sizeof *e.a);
    e.small = sys_alloc_array(words, sizeof *e.small);
    e.noise = sys_alloc_array(r->n, sizeof *e.noise);
    if (e.image == NULL || e.slots == NULL || e.work == NULL || e.c0 == NULL || e.a == NULL ||
        e.small == NULL || e.noise == NULL) {
        status = core_no_memory(err, "encryption");
    } else {
        status = normalise(model, image, e.image, err);
        if (status == RT_OK) {
            core_pack(in, e.image, e.slots);
            status = write_all(s, &e, model, ct_path, err);
        }
    }
    rt_client_free(e.image, pixels * sizeof *e.image);
    rt_client_free(e.slots, slots * sizeof *e.slots);
    rt_client_free(e.work, 2 * (size_t)in->n * sizeof *e.work);
    rt_client_free(e.c0, words * sizeof *e.c0);
    rt_client_free(e.a, words * sizeof *e.a);
    rt_client_free(e.small, words * sizeof *e.small);
    rt_client_free(e.noise, r->n * sizeof *e.noise);
    return status;
}
