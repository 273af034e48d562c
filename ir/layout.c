/* SPDX-License-Identifier: Apache-2.0 */
#include "ir.h"

#include <stdlib.h>
#include <string.h>

enum { MOST_CIPHERTEXTS = 1 << 20 };

static uint32_t ceil_div(uint32_t a, uint32_t b)
{
    return a / b + (a % b != 0);
}

static int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

/* Largest physical channel number + 1; 0 when perm names a number twice or an impossible one. */
static uint32_t physical_channels(const struct layout *l)
{
    if (!l->perm) {
        return l->c;
    }
    struct arena *a = arena_new();
    uint32_t *sorted = arena_array(a, l->c, sizeof *sorted);
    memcpy(sorted, l->perm, l->c * sizeof *sorted);
    qsort(sorted, l->c, sizeof *sorted, by_value);
    uint32_t top = sorted[l->c - 1];
    bool fits = top < MOST_CHANNELS;
    for (uint32_t i = 1; i < l->c; i++) {
        fits = fits && sorted[i] != sorted[i - 1];
    }
    arena_free(a);
    return fits ? top + 1 : 0;
}

bool layout_finish(struct layout *l, const char **why)
{
    if (l->c == 0 || l->h == 0 || l->w == 0 || l->c > MOST_CHANNELS || l->h > MOST_PIXELS ||
        l->w > MOST_PIXELS || (uint64_t)l->c * l->h * l->w > MOST_ELEMENTS) {
        *why = "the tensor's shape is impossible";
        return false;
    }
    if (l->n == 0 || l->n > MOST_SLOTS || (l->n & (l->n - 1)) != 0) {
        *why = "n must be a power of two up to 131072";
        return false;
    }
    if (l->g_h == 0 || l->g_w == 0 || l->t_h == 0 || l->t_w == 0 || l->g_h > MOST_PIXELS ||
        l->g_w > MOST_PIXELS || l->t_h > l->n || l->t_w > l->n) {
        *why = "g must be at least 1, t from 1 to n";
        return false;
    }
    if (l->block == 0 || l->block > l->n || l->n % l->block != 0) {
        *why = "block must divide n";
        return false;
    }
    uint64_t row = (uint64_t)l->t_w * ceil_div(l->w, l->g_w);
    if (l->pitch < row || l->pitch > MOST_SLOTS) {
        *why = "pitch is smaller than a row";
        return false;
    }
    if (((uint64_t)l->t_h * ceil_div(l->h, l->g_h) - 1) * l->pitch + row > l->block) {
        *why = "block is smaller than an image";
        return false;
    }
    uint32_t channels = physical_channels(l);
    if (channels == 0) {
        *why = "perm must name different channels";
        return false;
    }
    l->m = l->t_h * l->t_w; /* at most block, by the size of an image */
    l->b = l->n / l->block;
    l->cpc = l->b * l->m;
    l->groups = ceil_div(channels, l->cpc);
    uint64_t num_ct = (uint64_t)l->groups * l->g_h * l->g_w; /* below 2^56 */
    if (num_ct > MOST_CIPHERTEXTS) {
        *why = "too many ciphertexts";
        return false;
    }
    l->num_ct = (uint32_t)num_ct;
    return true;
}

void layout_at(const struct layout *l, uint32_t c, uint32_t h, uint32_t w, uint32_t *ct,
               uint32_t *slot)
{
    uint32_t p = l->perm ? l->perm[c] : c;
    uint32_t k = p / l->cpc;
    uint32_t r = p % l->cpc;
    uint32_t beta = r / l->m;
    uint32_t q = r % l->m;
    *ct = (k * l->g_h + h % l->g_h) * l->g_w + w % l->g_w;
    *slot = beta * l->block + (l->t_h * (h / l->g_h) + q / l->t_w) * l->pitch +
            l->t_w * (w / l->g_w) + q % l->t_w;
}

bool layout_inverse(const struct layout *l, uint32_t ct, uint32_t slot, uint32_t *c, uint32_t *h,
                    uint32_t *w)
{
    uint32_t j = ct % l->g_w;
    uint32_t i = ct / l->g_w % l->g_h;
    uint32_t k = ct / l->g_w / l->g_h;
    uint32_t beta = slot / l->block;
    uint32_t row = slot % l->block / l->pitch;
    uint32_t col = slot % l->block % l->pitch;
    uint64_t p = (uint64_t)k * l->cpc + beta * l->m + (row % l->t_h) * l->t_w + col % l->t_w;
    uint64_t y = (uint64_t)(row / l->t_h) * l->g_h + i;
    uint64_t x = (uint64_t)(col / l->t_w) * l->g_w + j;
    if (ct >= l->num_ct || slot >= l->n || y >= l->h || x >= l->w) {
        return false;
    }
    uint32_t logical = 0;
    if (l->perm) {
        while (logical < l->c && l->perm[logical] != p) {
            logical++;
        }
    } else {
        logical = p < l->c ? (uint32_t)p : l->c;
    }
    if (logical == l->c) {
        return false;
    }
    *c = logical;
    *h = (uint32_t)y;
    *w = (uint32_t)x;
    return true;
}

void layout_pack(const struct layout *l, const double *x, double *cts)
{
    memset(cts, 0, (size_t)l->num_ct * l->n * sizeof *cts);
    for (uint32_t c = 0; c < l->c; c++) {
        for (uint32_t h = 0; h < l->h; h++) {
            for (uint32_t w = 0; w < l->w; w++) {
                uint32_t ct, slot;
                layout_at(l, c, h, w, &ct, &slot);
                cts[(size_t)ct * l->n + slot] = *x++;
            }
        }
    }
}

void layout_unpack(const struct layout *l, const double *cts, double *x)
{
    for (uint32_t c = 0; c < l->c; c++) {
        for (uint32_t h = 0; h < l->h; h++) {
            for (uint32_t w = 0; w < l->w; w++) {
                uint32_t ct, slot;
                layout_at(l, c, h, w, &ct, &slot);
                *x++ = cts[(size_t)ct * l->n + slot];
            }
        }
    }
}

void layout_stride(uint32_t g, uint32_t t, uint32_t s, uint32_t *g_out, uint32_t *t_out)
{
    uint32_t a = g;
    uint32_t b = s;
    while (b != 0) {
        uint32_t r = a % b;
        a = b;
        b = r;
    }
    *g_out = g / a;
    *t_out = t * (s / a);
}

bool layout_equal(const struct layout *a, const struct layout *b)
{
    bool same = a->c == b->c && a->h == b->h && a->w == b->w && a->n == b->n && a->g_h == b->g_h &&
                a->g_w == b->g_w && a->t_h == b->t_h && a->t_w == b->t_w && a->pitch == b->pitch &&
                a->block == b->block;
    for (uint32_t c = 0; same && (a->perm || b->perm) && c < a->c; c++) {
        same = (a->perm ? a->perm[c] : c) == (b->perm ? b->perm[c] : c);
    }
    return same;
}
