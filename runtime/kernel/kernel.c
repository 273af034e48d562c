/* SPDX-License-Identifier: Apache-2.0 */
#include "kernel.h"

void k_init(struct kernels *k, enum rt_cpu level)
{
    enum rt_cpu best = sys_cpu_detect();
    if (level > best) {
        level = best;
    }
    k->level = level;
    k_init_ref(k);
    k_real_ref(k);
    k_draw_ref(k);
#if defined(__x86_64__)
    if (level < RT_CPU_AVX2) {
        return;
    }
    k_init_avx2(k);
    k_real_avx2(k);
    k_draw_avx2(k);
    if (level < RT_CPU_AVX512IFMA) {
        return;
    }
    k_init_avx512(k);
    k_real_avx512(k);
    k_draw_avx512(k);
#endif
}

/* x + q lies in [0, 2q) where q has 32 bits or more, and ntt takes lazy words. */
void k_ntt_i32_with(const struct kernels *k, uint64_t *out, const int32_t *in,
                    const struct ntt_table *t, unsigned log_m)
{
    size_t n = (size_t)1 << log_m;
    if (t->mod.bits < 32) {
        k->from_i32(out, in, n, &t->mod);
    } else {
        for (size_t i = 0; i < n; i++) {
            out[i] = t->mod.q + (uint64_t)(int64_t)in[i];
        }
    }
    k->ntt(out, out, t, log_m);
}

/* Tiles of the source (8 KiB a limb) are used for all targets while they are near. */
#define TILE 1024u

void k_convert_with(const struct kernels *k, const struct k_convert *s)
{
    size_t n = (size_t)1 << s->log_n;
    size_t tile = n < TILE ? n : TILE;
    for (size_t i = 0; i < n; i += tile) {
        for (unsigned g = 0; g < s->group; g++) {
            const struct modulus *m = &s->to[g].t->mod;
            if (s->k == 1) {
                k->recentre(s->to[g].work + i, s->x + i, s->p, tile, m);
            } else {
                k->bconv(s->to[g].work + i, s->x + i, s->stride, s->to[g].w, s->k, tile, m);
            }
        }
    }
    for (unsigned g = 0; g < s->group; g++) {
        const struct ntt_table *t = s->to[g].t;
        if (s->to[g].minuend == NULL) {
            k->ntt(s->to[g].out, s->to[g].work, t, s->log_n);
        } else {
            k->ntt(s->to[g].work, s->to[g].work, t, s->log_n);
            k->sub_mul_const(s->to[g].out, s->to[g].minuend, s->to[g].work, s->to[g].c, s->to[g].cs,
                             n, t->mod.q);
        }
    }
}

void k_mac_many_with(const struct kernels *k, const struct k_sums *s, size_t n,
                     const struct modulus *m)
{
    for (size_t i = 0; i < s->results; i++) {
        for (size_t part = 0; part < 2; part++) {
            uint64_t *out = s->out[i][part];
            k->mac_run(out, s->accumulate ? out : NULL, s->x[part], s->p + i * s->terms, s->terms,
                       0, 0, s->log_run, n, m);
        }
    }
}
