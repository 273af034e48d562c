/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Plaintexts where they are used. A plaintext in the subring of 2p coefficients is a few KiB of
 * integers, and its limbs are as much for each prime: often ten times the memory. Making a limb costs a
 * transform of 2p points, little beside the products with all its N/2p repetitions.
 */
#include "eval/eval.h"

size_t rt_eval_plain_room(const rt_eval *e, const struct eval_plain *p)
{
    (void)e;
    /* the line is what plain_words (data.c) adds, for the same reason */
    return p->at != NULL ? 0 : (((size_t)1 << p->log_m) + 7) / 8 * 8 + EVAL_LINE_WORDS;
}

void rt_eval_limbs_start(rt_eval *e, struct eval_limbs *l, struct ring_basis b, size_t limb)
{
    *l = (struct eval_limbs){.b = b, .limb = limb};
    e->limb_use++;
}

void rt_eval_limbs_add(rt_eval *e, struct eval_limbs *l, uint64_t plain)
{
    struct eval_plain *p = &e->plains[plain];
    if (p->at != NULL || p->use == e->limb_use) {
        return;
    }
    p->use = e->limb_use;
    p->limb = e->limb_memory + l->words;
    l->words += rt_eval_plain_room(e, p);
    e->limb_plains[l->count++] = (uint32_t)plain;
}

void rt_eval_limbs_make(rt_eval *e, const struct eval_limbs *l)
{
    const struct ring *r = e->ctx->ring;
    const struct ntt_table *t = &r->ntt[ring_prime(r, l->b, l->limb)];
    SYS_PARALLEL_FOR
    for (size_t i = 0; i < l->count; i++) {
        const struct eval_plain *p = &e->plains[e->limb_plains[i]];
        rt_eval_plain_make(e, p, e->limb_memory + (p->limb - e->limb_memory), t);
    }
}

void rt_eval_plain_make(const rt_eval *e, const struct eval_plain *p, uint64_t *out,
                        const struct ntt_table *t)
{
    const struct kernels *k = &e->ctx->ring->k;
    if (p->narrow != NULL) {
        k->ntt_i32(out, p->narrow, t, p->log_m);
        return;
    }
    k->from_double(out, p->wide, (size_t)1 << p->log_m, &t->mod);
    k->ntt(out, out, t, p->log_m);
}
