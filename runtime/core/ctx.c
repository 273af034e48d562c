/* SPDX-License-Identifier: Apache-2.0 */
#include "core/core.h"

#include <math.h>
#include <string.h>
#include <xxhash.h>

#define SCALE_TOLERANCE 0x1p-30
#define MAX_KEYS        16384u

/*
 * Largest log2(QP) for 128-bit classical security, uniform ternary secret, sigma = 3.19: Bossuat et
 * al., "Security Guidelines for Implementing Homomorphic Encryption", eprint 2024/463, table 5.2.
 */
#define FIRST_LOG_N 10u
static const double max_log2_qp[] = {26, 53, 106, 214, 430, 868, 1747, 3523};
#define LAST_LOG_N (FIRST_LOG_N + sizeof max_log2_qp / sizeof *max_log2_qp - 1)

bool core_same_scale(double a, double b)
{
    return fabs(a - b) <= SCALE_TOLERANCE * fabs(a);
}

/* XXH3-64 of u32 log_n, num_q, num_p, alpha, insecure, sparse_weight and the primes, unpadded. */
static uint64_t fingerprint(const struct rt_params *p)
{
    uint8_t bytes[6 * sizeof(uint32_t) + RING_MAX_PRIMES * sizeof(uint64_t)];
    const uint32_t head[6] = {p->log_n, p->num_q,    p->num_p,
                              p->alpha, p->insecure, p->sparse_weight};
    size_t q_bytes = p->num_q * sizeof *p->q;
    size_t p_bytes = p->num_p * sizeof *p->p;
    memcpy(bytes, head, sizeof head);
    memcpy(bytes + sizeof head, p->q, q_bytes);
    if (p_bytes != 0) {
        memcpy(bytes + sizeof head + q_bytes, p->p, p_bytes);
    }
    return XXH3_64bits(bytes, sizeof head + q_bytes + p_bytes);
}

/*
 * Largest log2(q_0 p_0), the only modulus at which the sparse secret encrypts, for 128-bit
 * classical security with at least `weight` coefficients that are not zero: an own estimate (primal
 * hybrid attack with Babai and meet in the middle, geometric series assumption, costs as in the
 * MATZOV report of 2022), from which the numbers keep a distance. tests/unit/test_rt_eval.c
 * compares with ir/params.c.
 */
static const struct {
    uint32_t log_n, weight;
    double most;
} sparse_bounds[] = {{14, 40, 100}, {15, 32, 105}, {16, 32, 121}, {17, 32, 121}};

static enum rt_status check_sparse(const struct rt_interface *model, struct rt_error *err)
{
    const struct rt_params *p = &model->params;
    double bits = log2((double)p->q[0]) + (p->num_p != 0 ? log2((double)p->p[0]) : 0);
    for (size_t i = 0; i < sizeof sparse_bounds / sizeof *sparse_bounds; i++) {
        if (p->log_n == sparse_bounds[i].log_n && p->sparse_weight >= sparse_bounds[i].weight &&
            bits <= sparse_bounds[i].most) {
            return RT_OK;
        }
    }
    return core_fail(
        err, RT_ERR_ARGUMENT,
        "%s: a secret of weight %u at N = 2^%u does not give 128 bits of security with "
        "log2 q_0 p_0 = %.2f",
        model->name, p->sparse_weight, p->log_n, bits);
}

static enum rt_status check_security(const struct rt_interface *model, struct rt_error *err)
{
    const struct rt_params *p = &model->params;
    double bits = 0;
    for (uint32_t i = 0; i < p->num_q + p->num_p; i++) {
        bits += log2((double)(i < p->num_q ? p->q[i] : p->p[i - p->num_q]));
    }
    if (p->insecure != 0) {
        return RT_OK;
    }
    double most =
        p->log_n >= FIRST_LOG_N && p->log_n <= LAST_LOG_N ? max_log2_qp[p->log_n - FIRST_LOG_N] : 0;
    if (bits > most) {
        return core_fail(err, RT_ERR_ARGUMENT,
                         "%s: log2 QP is %.2f, but N = 2^%u gives 128 bits of security up to %.0f "
                         "only (eprint 2024/463)",
                         model->name, bits, p->log_n, most);
    }
    return p->sparse_weight == 0 ? RT_OK : check_sparse(model, err);
}

static const char *const key_text[] = {
    [RT_KEY_RELINEARISE] = "relinearisation, step", [RT_KEY_ROTATE] = "rotation",
    [RT_KEY_CONJUGATE] = "conjugation, step",       [RT_KEY_ENCAPSULATE] = "encapsulation, step",
    [RT_KEY_RAISED] = "a raised value, step",
};
_Static_assert(sizeof key_text / sizeof *key_text == CORE_KEY_KINDS, "one text a kind");

const char *core_key_text(uint32_t kind)
{
    return kind < CORE_KEY_KINDS ? key_text[kind] : "an unknown purpose, step";
}

static bool key_ok(const struct rt_params *p, const struct rt_key_spec *k)
{
    int64_t slots = INT64_C(1) << (p->log_n - 1);
    bool level = k->level >= 0 && k->level < (int64_t)p->num_q && p->num_p != 0;
    switch (k->kind) {
    case RT_KEY_RELINEARISE:
    case RT_KEY_CONJUGATE:
        return level && k->by == 0;
    case RT_KEY_ROTATE:
        return level && k->by > 0 && k->by < slots;
    case RT_KEY_ENCAPSULATE: /* q_0 p_0 and nothing else: what check_sparse looks at */
        return level && k->by == 0 && k->level == 0 && p->sparse_weight != 0;
    case RT_KEY_RAISED:
        return level && k->by >= 0 && k->by < slots && p->sparse_weight != 0;
    default:
        return false;
    }
}

static enum rt_status check_keys(const struct rt_interface *model, struct rt_error *err)
{
    if (model->num_keys > MAX_KEYS) {
        return core_fail(err, RT_ERR_ARGUMENT, "%s: %u keys", model->name, model->num_keys);
    }
    for (uint32_t i = 0; i < model->num_keys; i++) {
        const struct rt_key_spec *k = &model->keys[i];
        if (!key_ok(&model->params, k)) {
            return core_fail(err, RT_ERR_ARGUMENT, "%s: no key for %s %lld at level %d exists",
                             model->name, core_key_text(k->kind), (long long)k->by, k->level);
        }
        for (uint32_t j = 0; j < i; j++) {
            if (model->keys[j].kind == k->kind && model->keys[j].by == k->by) {
                return core_fail(err, RT_ERR_ARGUMENT, "%s: two keys for %s %lld", model->name,
                                 core_key_text(k->kind), (long long)k->by);
            }
        }
    }
    return RT_OK;
}

static enum rt_status check_end(const struct rt_interface *model, const char *end,
                                const struct rt_packing *packing, int32_t level, double scale,
                                struct rt_error *err)
{
    const char *why;
    if (!core_packing_check(packing, (size_t)1 << (model->params.log_n - 1), &why)) {
        return core_fail(err, RT_ERR_ARGUMENT, "%s: %s packing: %s", model->name, end, why);
    }
    if (level < 0 || level >= (int64_t)model->params.num_q || !isfinite(scale) || scale <= 0) {
        return core_fail(err, RT_ERR_ARGUMENT, "%s: %s level %d, scale %g is impossible",
                         model->name, end, level, scale);
    }
    return RT_OK;
}

static enum rt_status check_interface(const struct rt_interface *model, struct rt_error *err)
{
    enum rt_status status = check_keys(model, err);
    if (status == RT_OK) {
        status =
            check_end(model, "input", &model->input, model->input_level, model->input_scale, err);
    }
    if (status == RT_OK) {
        status = check_end(model, "output", &model->output, model->output_level,
                           model->output_scale, err);
    }
    const struct rt_packing *o = &model->output;
    if (status == RT_OK && (uint64_t)o->c * o->h * o->w != model->num_outputs) {
        status = core_fail(err, RT_ERR_ARGUMENT, "%s: %u outputs in a packing of %ux%ux%u",
                           model->name, model->num_outputs, o->c, o->h, o->w);
    }
    for (uint32_t c = 0; status == RT_OK && c < model->input.c; c++) {
        if (!isfinite(model->mean[c]) || !isfinite(model->std[c]) || model->std[c] == 0) {
            status = core_fail(err, RT_ERR_ARGUMENT, "%s: bad mean or std of channel %u",
                               model->name, c);
        }
    }
    return status;
}

static enum rt_status make_ring(struct core_ctx *c, const struct rt_interface *model,
                                struct rt_error *err)
{
    const struct rt_params *p = &model->params;
    enum ring_status made = ring_create(&c->ring, p->log_n, p->q, p->num_q, p->p, p->num_p);
    if (made != RING_OK) {
        return core_fail(err, made == RING_NO_MEMORY ? RT_ERR_MEMORY : RT_ERR_ARGUMENT, "%s: %s",
                         model->name, ring_status_text(made));
    }
    double bits = 0;
    for (uint32_t i = 0; i < p->num_q; i++) {
        bits += log2((double)p->q[i]);
        c->log2_q[i] = bits;
    }
    c->alpha = p->alpha;
    c->insecure = p->insecure != 0;
    c->fingerprint = fingerprint(p);
    return core_embed_init(c) ? RT_OK : core_no_memory(err, model->name);
}

enum rt_status core_ctx_open(struct core_ctx **out, const struct rt_interface *model,
                             struct rt_error *err)
{
    *out = NULL;
    const struct rt_params *p = &model->params;
    if (p->log_n < K_MIN_LOG_N || p->log_n > K_MAX_LOG_N) {
        return core_fail(err, RT_ERR_ARGUMENT, "%s: ring degree 2^%u, not 2^%u .. 2^%u",
                         model->name, p->log_n, K_MIN_LOG_N, K_MAX_LOG_N);
    }
    if (p->num_q == 0 || p->num_q > RING_MAX_PRIMES || p->num_p > RING_MAX_PRIMES - p->num_q ||
        p->alpha == 0 || p->alpha > RING_MAX_PRIMES || p->insecure > 1) {
        return core_fail(err, RT_ERR_ARGUMENT, "%s: %u + %u primes, digits of %u", model->name,
                         p->num_q, p->num_p, p->alpha);
    }
    if (p->sparse_weight > UINT32_C(1) << p->log_n) {
        return core_fail(err, RT_ERR_ARGUMENT,
                         "%s: a secret of weight %u has more than N coefficients", model->name,
                         p->sparse_weight);
    }
    enum rt_status status = check_security(model, err);
    if (status == RT_OK) {
        status = check_interface(model, err);
    }
    if (status != RT_OK) {
        return status;
    }
    struct core_ctx *c = sys_alloc(sizeof *c);
    if (c == NULL) {
        return core_no_memory(err, model->name);
    }
    status = make_ring(c, model, err);
    if (status != RT_OK) {
        core_ctx_close(c);
        return status;
    }
    *out = c;
    return RT_OK;
}

void core_ctx_close(struct core_ctx *c)
{
    if (c != NULL) {
        ring_free(c->ring);
        sys_free(c->embed_re);
        sys_free(c->embed_im);
        sys_free(c);
    }
}
