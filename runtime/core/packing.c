/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Where element (c,h,w) of a tensor lies. The formula is the one of the compiler's layouts:
 *
 *     p = perm[c];  k = p / cpc;  r = p % cpc;  beta = r / m;  q = r % m
 *     a_h = q / t_w;  a_w = q % t_w
 *     i = h % g_h;  y = h / g_h;  j = w % g_w;  x = w / g_w
 *     ct   = (k * g_h + i) * g_w + j
 *     slot = beta * block + (t_h * y + a_h) * pitch + (t_w * x + a_w)
 *
 * with m = t_h t_w channels a block, b = n / block blocks, cpc = b m channels a ciphertext.
 */
#include "core/core.h"

#include <string.h>

/* Factors are at most 2^17 once checked, so 64-bit products of three do not overflow. */
#define SIZE_LIMIT (UINT32_C(1) << 17)

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
    return (a + b - 1) / b;
}

bool core_packing_check(const struct rt_packing *p, size_t slots, const char **why)
{
    const uint32_t factor[] = {p->n, p->g_h, p->g_w, p->t_h, p->t_w, p->pitch, p->block, p->num_ct};
    for (size_t i = 0; i < sizeof factor / sizeof *factor; i++) {
        if (factor[i] == 0 || factor[i] > SIZE_LIMIT) {
            *why = "a factor is zero or too large";
            return false;
        }
    }
    if (p->c == 0 || p->h == 0 || p->w == 0 || p->c > SIZE_LIMIT || p->h > SIZE_LIMIT ||
        p->w > SIZE_LIMIT || (uint64_t)p->c * p->h > UINT32_MAX / p->w) {
        *why = "the tensor is empty or too large";
        return false;
    }
    if ((p->n & (p->n - 1)) != 0 || p->n > slots) {
        *why = "n is not a power of two of at most N/2";
        return false;
    }
    if (p->n % p->block != 0) {
        *why = "the block does not divide n";
        return false;
    }
    uint64_t m = (uint64_t)p->t_h * p->t_w;
    uint64_t cpc = m * (p->n / p->block);
    uint64_t groups = ceil_div(p->c, cpc);
    uint64_t rows = ceil_div(p->h, p->g_h) * p->t_h;
    uint64_t cols = ceil_div(p->w, p->g_w) * p->t_w;
    if (cols > p->pitch || (rows - 1) * p->pitch + cols > p->block) {
        *why = "a channel does not fit its block";
        return false;
    }
    if (groups * p->g_h * p->g_w != p->num_ct) {
        *why = "the number of ciphertexts is not what the layout gives";
        return false;
    }
    for (uint32_t c = 0; p->perm != NULL && c < p->c; c++) {
        if (p->perm[c] >= p->c) {
            *why = "the channel permutation leaves the channels";
            return false;
        }
    }
    return true;
}

void core_packing_at(const struct rt_packing *p, uint32_t c, uint32_t h, uint32_t w, uint32_t *ct,
                     uint32_t *slot)
{
    uint32_t m = p->t_h * p->t_w;
    uint32_t cpc = m * (p->n / p->block);
    uint32_t channel = p->perm != NULL ? p->perm[c] : c;
    uint32_t r = channel % cpc;
    uint32_t q = r % m;
    *ct = (channel / cpc * p->g_h + h % p->g_h) * p->g_w + w % p->g_w;
    *slot = r / m * p->block + (p->t_h * (h / p->g_h) + q / p->t_w) * p->pitch +
            p->t_w * (w / p->g_w) + q % p->t_w;
}

void core_pack(const struct rt_packing *p, const double *x, double *cts)
{
    memset(cts, 0, (size_t)p->num_ct * p->n * sizeof *cts);
    for (uint32_t c = 0; c < p->c; c++) {
        for (uint32_t h = 0; h < p->h; h++) {
            for (uint32_t w = 0; w < p->w; w++) {
                uint32_t ct, slot;
                core_packing_at(p, c, h, w, &ct, &slot);
                cts[(size_t)ct * p->n + slot] = *x++;
            }
        }
    }
}

void core_unpack(const struct rt_packing *p, const double *cts, double *x)
{
    for (uint32_t c = 0; c < p->c; c++) {
        for (uint32_t h = 0; h < p->h; h++) {
            for (uint32_t w = 0; w < p->w; w++) {
                uint32_t ct, slot;
                core_packing_at(p, c, h, w, &ct, &slot);
                *x++ = cts[(size_t)ct * p->n + slot];
            }
        }
    }
}
